// Training samples drawn by class or by weight.
//
// balanced   every draw takes a class, each as likely as the others, and a row of it. With
//            replacement; an epoch is as long as the training part.
// weighted   every draw takes a row with a probability that is proportional to its weight. As
// above. over       an epoch has as many samples of each class as the largest has rows: all rows of
// a class
//            as often as they go, and for what is missing some of them, other ones in each epoch.
// under      an epoch has as many samples of each class as the smallest has rows, other ones in
// each
//            epoch, none twice.
// smote      as over, with samples between two rows in place of repeated rows; see smote.c.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/drawing.h"

// One number for each row of the training part: element 0 of a prepared field.
static aml_status read_values(const amli_samples *samples, int output, void *pool, double value[],
                              aml_error *error)
{
    enum { AT_ONCE = 256 };
    const aml_tensor_info *info = &samples->dataset->prepare.output[output];
    size_t bytes = amli_tensor_bytes(info);
    int64_t rows = samples->split.rows[AML_PART_TRAIN];
    char *some = malloc(AT_ONCE * bytes + 1);
    void **to = calloc((size_t)samples->outputs + 1, sizeof *to);
    aml_status status =
        some && to ? AML_OK : amli_no_memory(error, AT_ONCE * bytes, "the sampling");
    for (int64_t at = 0; at < rows && !status; at += AT_ONCE) {
        int64_t now = rows - at < AT_ONCE ? rows - at : AT_ONCE;
        to[output] = some;
        status = amli_samples_batch(samples, samples->split.row[AML_PART_TRAIN] + at, now, NULL,
                                    pool, to, error);
        for (int64_t i = 0; i < now && !status; i++)
            value[at + i] = amli_element(info->dtype, some + (size_t)i * bytes, 0);
    }
    free(some), free(to);
    return status;
}

// Positions by class: a counting sort. Classes without rows are left out.
static aml_status order_classes(amli_drawing *drawing, const double value[], int64_t classes,
                                aml_error *error)
{
    int64_t *count = calloc((size_t)classes + 2, sizeof *count);
    drawing->of_class = malloc((size_t)(drawing->rows + 1) * sizeof(int64_t));
    drawing->start = calloc((size_t)classes + 2, sizeof(int64_t));
    drawing->bytes += (size_t)(drawing->rows + classes) * sizeof(int64_t);
    if (!count || !drawing->of_class || !drawing->start) {
        free(count);
        return amli_no_memory(error, drawing->bytes, "the sampling");
    }
    for (int64_t i = 0; i < drawing->rows; i++)
        count[(int64_t)value[i]]++;
    int64_t at = 0;
    drawing->least = INT64_MAX;
    for (int64_t k = 0; k < classes; k++) {
        int64_t rows = count[k];
        count[k] = at;
        if (rows == 0)
            continue;
        drawing->start[drawing->groups++] = at;
        at += rows;
        drawing->most = rows > drawing->most ? rows : drawing->most;
        drawing->least = rows < drawing->least ? rows : drawing->least;
    }
    drawing->start[drawing->groups] = at;
    for (int64_t i = 0; i < drawing->rows; i++)
        drawing->of_class[count[(int64_t)value[i]]++] = i;
    free(count);
    drawing->scratch = malloc((size_t)(drawing->most + 1) * sizeof(int64_t));
    drawing->bytes += (size_t)drawing->most * sizeof(int64_t);
    return drawing->scratch ? AML_OK : amli_no_memory(error, drawing->bytes, "the sampling");
}

static aml_status sum_weights(amli_drawing *drawing, const amli_samples *samples, double value[],
                              aml_error *error)
{
    const aml_sampling *how = drawing->how;
    double sum = 0;
    for (int64_t i = 0; i < drawing->rows; i++) {
        double weight = how->weights > 0 ? how->weight[(int64_t)value[i]] : value[i];
        if (!(weight >= 0) || !isfinite(weight))
            return amli_fail(error, AML_BAD_DATA,
                             "row %lld of the data has the weight %g in '%s': expected a finite "
                             "number that is not negative",
                             (long long)samples->split.row[AML_PART_TRAIN][i] + 1, weight, how->by);
        value[i] = sum += weight;
    }
    if (!(sum > 0) || !isfinite(sum))
        return amli_fail(error, AML_BAD_DATA,
                         "the weights of the rows to train on ('%s') add up to %g", how->by, sum);
    drawing->until = value;
    drawing->bytes += (size_t)drawing->rows * sizeof(double);
    return AML_OK;
}

aml_status amli_drawing_new(const amli_samples *samples, const aml_sampling *how, void *pool,
                            amli_drawing **out, aml_error *error)
{
    *out = NULL;
    int output = amli_sample_output(samples->dataset, how->by);
    if (output < 0)
        return amli_fail(error, AML_INTERNAL, "sampling by '%s', which prepare does not give",
                         how->by);
    amli_drawing *drawing = calloc(1, sizeof *drawing);
    int64_t rows = samples->split.rows[AML_PART_TRAIN];
    double *value = malloc((size_t)(rows + 1) * sizeof *value);
    if (!drawing || !value) {
        free(drawing), free(value);
        return amli_no_memory(error, (size_t)rows * sizeof *value, "the sampling");
    }
    *drawing = (amli_drawing){.how = how, .rows = rows, .epoch = rows};
    aml_status status = read_values(samples, output, pool, value, error);
    if (!status && how->kind == AML_SAMPLING_WEIGHTED)
        status = sum_weights(drawing, samples, value, error);
    else if (!status)
        status =
            order_classes(drawing, value, samples->dataset->prepare.output[output].classes, error);
    if (!drawing->until)
        free(value);
    if (how->kind == AML_SAMPLING_OVER || how->kind == AML_SAMPLING_SMOTE)
        drawing->epoch = drawing->groups * drawing->most;
    else if (how->kind == AML_SAMPLING_UNDER && rows > 0)
        drawing->epoch = drawing->groups * drawing->least;
    if (status) {
        amli_drawing_free(drawing);
        return status;
    }
    *out = drawing;
    return AML_OK;
}

void amli_drawing_free(amli_drawing *drawing)
{
    if (!drawing)
        return;
    free(drawing->of_class), free(drawing->start), free(drawing->until), free(drawing->scratch);
    free(drawing->row);
    free(drawing);
}

bool amli_drawing_is_free(const amli_drawing *drawing)
{
    return drawing->how->kind == AML_SAMPLING_BALANCED ||
           drawing->how->kind == AML_SAMPLING_WEIGHTED;
}

static int64_t below(int64_t count, uint32_t high, uint32_t low)
{
    uint64_t bits = (uint64_t)high << 32 | low;
    return (int64_t)(((unsigned __int128)bits * (uint64_t)count) >> 64);
}

int64_t amli_draw(const amli_drawing *drawing, int64_t seed, int64_t number)
{
    uint32_t counter[4] = {(uint32_t)number, (uint32_t)((uint64_t)number >> 32), 0, 0}, word[4];
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)((uint64_t)seed >> 32) ^ AMLI_USE_DRAW};
    amli_philox(counter, key, word);
    if (drawing->how->kind == AML_SAMPLING_BALANCED) {
        int64_t class = below(drawing->groups, word[0], word[1]);
        int64_t first = drawing->start[class];
        return drawing
            ->of_class[first + below(drawing->start[class + 1] - first, word[2], word[3])];
    }
    double total = drawing->until[drawing->rows - 1];
    double at = ((double)((uint64_t)word[0] << 21 | word[1] >> 11) * 0x1p-53) * total;
    int64_t low = 0, high = drawing->rows - 1; // the first position whose sum is above `at`
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (drawing->until[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void amli_drawing_list(const amli_drawing *drawing, int64_t seed, int64_t epoch, int64_t list[])
{
    int64_t each = drawing->how->kind == AML_SAMPLING_UNDER ? drawing->least : drawing->most;
    for (int64_t g = 0; g < drawing->groups; g++) {
        int64_t first = drawing->start[g], rows = drawing->start[g + 1] - first;
        memcpy(drawing->scratch, drawing->of_class + first, (size_t)rows * sizeof(int64_t));
        amli_shuffle(drawing->scratch, rows, seed, (uint64_t)epoch << 24 ^ (uint64_t)g,
                     AMLI_USE_DRAW);
        for (int64_t i = 0; i < each; i++)
            *list++ = drawing->scratch[i % rows];
    }
}

aml_status amli_samples_draw(amli_samples *samples, const aml_sampling *how, int64_t seed,
                             void *pool, aml_error *error)
{
    if (how->kind == AML_SAMPLING_EPOCHS || samples->split.rows[AML_PART_TRAIN] == 0)
        return AML_OK;
    amli_drawing *drawing;
    aml_status status = amli_drawing_new(samples, how, pool, &drawing, error);
    if (status)
        return status;
    samples->drawing = drawing;
    if (how->kind == AML_SAMPLING_SMOTE)
        status = amli_smote(samples, drawing, seed, error);
    samples->bytes += drawing->bytes;
    return status;
}

int64_t amli_epoch_samples(const amli_samples *samples)
{
    return samples->drawing ? samples->drawing->epoch : samples->split.rows[AML_PART_TRAIN];
}
