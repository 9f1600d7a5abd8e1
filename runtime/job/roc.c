// The exact area under the ROC curve: the probability that a row of the class scores above a row of
// another, ties counting half. Sorting by score gives it from the sum of ranks, with the mean rank
// for equal scores.

#include <math.h>
#include <stdlib.h>

#include "runtime/job/job.h"

typedef struct Ranking {
    const float *score;
    int64_t stride;
} Ranking;

static int compare_scores(const void *a, const void *b, void *opaque)
{
    const Ranking *ranking = opaque;
    float x = ranking->score[*(const int64_t *)a * ranking->stride],
          y = ranking->score[*(const int64_t *)b * ranking->stride];
    return (x > y) - (x < y);
}

double amli_roc_auc(const float *score, int64_t stride, const int32_t *label, int32_t target,
                    int64_t rows, int64_t *order)
{
    Ranking ranking = {score, stride};
    int64_t positives = 0;
    for (int64_t i = 0; i < rows; i++) {
        order[i] = i;
        positives += label[i] == target;
        if (isnan(score[i * stride]))
            return NAN;
    }
    if (positives == 0 || positives == rows)
        return NAN;
    qsort_r(order, (size_t)rows, sizeof *order, compare_scores, &ranking);
    double above = 0;
    int64_t negatives_below = 0;
    for (int64_t i = 0; i < rows;) {
        int64_t end = i, here = 0;
        while (end < rows && score[order[end] * stride] == score[order[i] * stride])
            here += label[order[end++]] == target;
        int64_t others = end - i - here;
        above += (double)here * ((double)negatives_below + 0.5 * (double)others);
        negatives_below += others;
        i = end;
    }
    return above / ((double)positives * (double)(rows - positives));
}

// All (row, class) pairs as one ranking: the pair is positive where the class is the row's.
static double micro(const float *score, const int32_t *label, int64_t rows, int64_t classes)
{
    int64_t pairs = rows * classes;
    int64_t *order = malloc((size_t)pairs * sizeof *order);
    int32_t *is_label = malloc((size_t)pairs * sizeof *is_label);
    double area = NAN;
    if (order && is_label) {
        for (int64_t i = 0; i < pairs; i++)
            is_label[i] = label[i / classes] == i % classes;
        area = amli_roc_auc(score, 1, is_label, 1, pairs, order);
    }
    free(order), free(is_label);
    return area;
}

double amli_roc_auc_finish(aml_finish finish, const float *score, const int32_t *label,
                           int64_t rows, int64_t classes)
{
    if (rows == 0)
        return NAN;
    if (finish == AML_FINISH_ROC_AUC_MICRO && classes > 1)
        return micro(score, label, rows, classes);
    int64_t *order = malloc((size_t)rows * sizeof *order);
    if (!order)
        return NAN;
    double sum = 0, weights = 0;
    // one score a row is that of class 1
    for (int64_t k = classes == 1 ? 1 : 0; k < (classes == 1 ? 2 : classes); k++) {
        int64_t count = 0;
        for (int64_t i = 0; i < rows; i++)
            count += label[i] == k;
        if (count == 0 || count == rows)
            continue; // such a class has no curve
        double weight = finish == AML_FINISH_ROC_AUC_WEIGHTED ? (double)count : 1;
        sum += weight * amli_roc_auc(classes == 1 ? score : score + k, classes, label, (int32_t)k,
                                     rows, order);
        weights += weight;
    }
    free(order);
    return weights > 0 ? sum / weights : NAN;
}
