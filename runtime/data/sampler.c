// The order of training.

#include <stdlib.h>

#include "runtime/data/drawing.h"

aml_status amli_sampler_new(const int64_t *row, int64_t count, int64_t offsets, int64_t seed,
                            amli_sampler *sampler, aml_error *error)
{
    *sampler =
        (amli_sampler){.row = row, .count = count, .offsets = offsets, .seed = seed, .epoch = -1};
    if (count <= 0)
        return amli_fail(error, AML_BAD_DATA, "no rows to train on");
    sampler->order = malloc((size_t)count * sizeof *sampler->order);
    if (!sampler->order)
        return amli_no_memory(error, (size_t)count * sizeof *sampler->order,
                              "the order of training");
    return AML_OK;
}

void amli_sampler_free(amli_sampler *sampler)
{
    free(sampler->order);
    *sampler = (amli_sampler){0};
}

static int64_t offset_of(const amli_sampler *sampler, int64_t epoch)
{
    if (sampler->offsets <= 1)
        return 0;
    uint64_t seed = (uint64_t)sampler->seed;
    uint32_t counter[4] = {(uint32_t)epoch, (uint32_t)((uint64_t)epoch >> 32), 0, 0}, word[4];
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ AMLI_USE_OFFSET};
    amli_philox(counter, key, word);
    return (int64_t)(((uint64_t)word[0] << 32 | word[1]) % (uint64_t)sampler->offsets);
}

aml_status amli_sampler_draw(amli_sampler *sampler, const amli_drawing *drawing, aml_error *error)
{
    sampler->drawing = drawing;
    sampler->count = drawing->epoch;
    sampler->offsets = 1;
    if (drawing->row)
        sampler->row = drawing->row;
    free(sampler->order);
    sampler->order = malloc((size_t)sampler->count * sizeof *sampler->order + 1);
    return sampler->order ? AML_OK
                          : amli_no_memory(error, (size_t)sampler->count * sizeof *sampler->order,
                                           "the order of training");
}

static void begin_epoch(amli_sampler *sampler, int64_t epoch)
{
    const amli_drawing *drawing = sampler->drawing;
    if (drawing && !drawing->row)
        amli_drawing_list(drawing, sampler->seed, epoch, sampler->order);
    for (int64_t k = 0; k < sampler->count && !(drawing && !drawing->row); k++)
        sampler->order[k] = k;
    amli_shuffle(sampler->order, sampler->count, sampler->seed, (uint64_t)epoch, AMLI_USE_EPOCH);
    sampler->epoch = epoch;
    sampler->offset = offset_of(sampler, epoch);
}

void amli_sampler_pick(amli_sampler *sampler, int64_t position, int64_t count, int64_t row[])
{
    bool is_free = sampler->drawing && amli_drawing_is_free(sampler->drawing);
    for (int64_t i = 0; i < count; i++, position++) {
        if (is_free) {
            row[i] = sampler->row[amli_draw(sampler->drawing, sampler->seed, position)];
            continue;
        }
        int64_t epoch = position / sampler->count;
        if (epoch != sampler->epoch)
            begin_epoch(sampler, epoch);
        row[i] = sampler->row[sampler->order[position % sampler->count]] + sampler->offset;
    }
}

int64_t amli_sampler_shard(amli_sampler *sampler, int64_t step, int64_t batch, int rank, int ranks,
                           int64_t *first, int64_t row[])
{
    int64_t end = batch * (rank + 1) / ranks;
    *first = batch * rank / ranks;
    amli_sampler_pick(sampler, step * batch + *first, end - *first, row);
    return end - *first;
}
