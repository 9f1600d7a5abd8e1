// Samples between two of a class (Chawla et al., 2002, Journal of Artificial Intelligence Research
// 16).
//
// A class that lacks n rows to be as large as the largest gets n samples. Sample i of class g is
// a + u * (b - a): a is a row of the class, b one of its `neighbours` nearest rows of the same
// class (by Euclidean distance over all prepared fields that are floats, in f64; of equally near
// ones the earlier rows), u is uniform in [0, 1). All three come from Philox with the counter {i,
// g, 0, 0}. Fields that are not floats are those of a. A class with fewer rows than that has fewer
// neighbours, and one with a single row none: its rows are repeated.

#include <stdlib.h>
#include <string.h>

#include "runtime/data/drawing.h"

// The rows of one class as points: every float field, one after the other, in f64.
typedef struct Points {
    int64_t count, size;
    double *at;
} Points;

static bool is_real(const aml_tensor_info *info)
{
    return info->dtype == AML_F32 || info->dtype == AML_F64;
}

static aml_status read_points(const amli_samples *samples, const amli_drawing *drawing, int64_t g,
                              Points *points, aml_error *error)
{
    const aml_function *prepare = &samples->dataset->prepare;
    int64_t first = drawing->start[g];
    *points = (Points){.count = drawing->start[g + 1] - first};
    for (int i = 0; i < samples->outputs; i++)
        if (is_real(&prepare->output[i]))
            points->size += aml_shape_elements(&prepare->output[i].shape);
    size_t bytes = (size_t)(points->count * points->size) * sizeof(double);
    points->at = malloc(bytes + 1);
    if (!points->at)
        return amli_no_memory(error, bytes, "the neighbours of samples");
    double *at = points->at;
    for (int64_t p = 0; p < points->count; p++) {
        int64_t row = samples->split.row[AML_PART_TRAIN][drawing->of_class[first + p]];
        for (int i = 0; i < samples->outputs; i++) {
            const char *field = samples->column[i] + (size_t)row * samples->row_bytes[i];
            int64_t elements =
                is_real(&prepare->output[i]) ? aml_shape_elements(&prepare->output[i].shape) : 0;
            for (int64_t k = 0; k < elements; k++)
                *at++ = amli_element(prepare->output[i].dtype, field, k);
        }
    }
    return AML_OK;
}

typedef struct Near {
    double distance; // squared
    int64_t point;
} Near;

// The `wanted` nearest points of one, nearest first, by insertion.
static void find_neighbours(const Points *points, int64_t of, Near near[], int64_t wanted)
{
    int64_t found = 0;
    const double *a = points->at + of * points->size;
    for (int64_t p = 0; p < points->count; p++) {
        const double *b = points->at + p * points->size;
        double distance = 0;
        for (int64_t k = 0; k < points->size; k++)
            distance += (a[k] - b[k]) * (a[k] - b[k]);
        if (p == of || (found == wanted && distance >= near[wanted - 1].distance))
            continue;
        int64_t at = found < wanted ? found++ : wanted - 1;
        for (; at > 0 && near[at - 1].distance > distance; at--)
            near[at] = near[at - 1];
        near[at] = (Near){distance, p};
    }
}

static int64_t below(int64_t count, uint32_t word)
{
    return (int64_t)((uint64_t)word * (uint64_t)count >> 32);
}

// The samples that class g lacks. A point's neighbours are looked for when it is first drawn.
static aml_status make_class(amli_samples *samples, const amli_drawing *drawing, int64_t g,
                             int64_t seed, aml_error *error)
{
    Points points;
    int64_t first = drawing->start[g], rows = drawing->start[g + 1] - first;
    int64_t wanted = drawing->how->neighbours < rows - 1 ? drawing->how->neighbours : rows - 1;
    if (rows == drawing->most)
        return AML_OK;
    aml_status status = read_points(samples, drawing, g, &points, error);
    Near *near = calloc((size_t)(rows * (wanted + 1)) + 1, sizeof *near);
    bool *known = calloc((size_t)rows + 1, sizeof *known);
    if (!status && (!near || !known))
        status = amli_no_memory(error, (size_t)(rows * wanted) * sizeof *near,
                                "the neighbours of samples");
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)((uint64_t)seed >> 32) ^ AMLI_USE_SMOTE};
    const int64_t *row = samples->split.row[AML_PART_TRAIN], *of = drawing->of_class + first;
    for (int64_t i = 0; i < drawing->most - rows && !status; i++) {
        uint32_t counter[4] = {(uint32_t)i, (uint32_t)g, 0, 0}, word[4];
        amli_philox(counter, key, word);
        int64_t a = below(rows, word[0]), b = a;
        if (wanted > 0 && !known[a]) {
            find_neighbours(&points, a, near + a * wanted, wanted);
            known[a] = true;
        }
        if (wanted > 0)
            b = near[a * wanted + below(wanted, word[1])].point;
        samples->blend[samples->blends++] =
            (amli_blend){row[of[a]], row[of[b]], (double)word[2] * 0x1p-32};
    }
    free(near), free(known), free(points.at);
    return status;
}

aml_status amli_smote(amli_samples *samples, amli_drawing *drawing, int64_t seed, aml_error *error)
{
    if (samples->table)
        return amli_fail(error, AML_INVALID,
                         "smote looks at all prepared samples, and these are too large to be kept "
                         "in memory\nhelp: over_sampled() repeats samples instead");
    int64_t made = drawing->epoch - drawing->rows;
    size_t bytes = (size_t)made * sizeof *samples->blend;
    samples->blend = malloc(bytes + 1);
    samples->blends = 0;
    drawing->row = malloc((size_t)(drawing->epoch + 1) * sizeof *drawing->row);
    if (!samples->blend || !drawing->row)
        return amli_no_memory(error, bytes, "the samples that are made");
    samples->bytes += bytes;
    drawing->bytes += (size_t)drawing->epoch * sizeof *drawing->row;
    aml_status status = AML_OK;
    for (int64_t g = 0; g < drawing->groups && !status; g++)
        status = make_class(samples, drawing, g, seed, error);
    memcpy(drawing->row, samples->split.row[AML_PART_TRAIN],
           (size_t)drawing->rows * sizeof *drawing->row);
    for (int64_t i = 0; i < made; i++)
        drawing->row[drawing->rows + i] = samples->rows + i;
    return status;
}
