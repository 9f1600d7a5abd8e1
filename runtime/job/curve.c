// Exact areas under curves, from all rows of an evaluation.
//
// ROC: the probability that a row of the class scores above a row of another, ties counting half.
// Sorting by score gives it from the sum of ranks, with the mean rank for equal scores. Precision
// and recall: the mean of the precision over the rows of the class, each at the threshold of its
// own score (average precision); rows of equal score come in together.

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

// Fills `order` with the rows, lowest score first, and counts those of the class. False if a score
// is not a number.
static bool rank_rows(Ranking ranking, const int32_t *label, int32_t target, int64_t rows,
                      int64_t *order, int64_t *positives)
{
    *positives = 0;
    for (int64_t i = 0; i < rows; i++) {
        order[i] = i;
        *positives += label[i] == target;
        if (isnan(ranking.score[i * ranking.stride]))
            return false;
    }
    qsort_r(order, (size_t)rows, sizeof *order, compare_scores, &ranking);
    return true;
}

double amli_roc_auc(const float *score, int64_t stride, const int32_t *label, int32_t target,
                    int64_t rows, int64_t *order)
{
    int64_t positives;
    if (!rank_rows((Ranking){score, stride}, label, target, rows, order, &positives) ||
        positives == 0 || positives == rows)
        return NAN;
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

double amli_average_precision(const float *score, int64_t stride, const int32_t *label,
                              int32_t target, int64_t rows, int64_t *order)
{
    int64_t positives;
    if (!rank_rows((Ranking){score, stride}, label, target, rows, order, &positives) ||
        positives == 0)
        return NAN;
    double sum = 0;
    int64_t found = 0;
    for (int64_t i = rows; i > 0;) { // from the highest score down
        int64_t begin = i, here = 0;
        while (begin > 0 && score[order[begin - 1] * stride] == score[order[i - 1] * stride])
            here += label[order[--begin]] == target;
        found += here;
        sum += (double)here * (double)found / (double)(rows - begin);
        i = begin;
    }
    return sum / (double)positives;
}

typedef double Area(const float *score, int64_t stride, const int32_t *label, int32_t target,
                    int64_t rows, int64_t *order);

// All (row, class) pairs as one ranking: the pair is positive where the class is the row's.
static double micro(Area *area, const float *score, const int32_t *label, int64_t rows,
                    int64_t classes)
{
    int64_t pairs = rows * classes;
    int64_t *order = malloc((size_t)pairs * sizeof *order);
    int32_t *is_label = malloc((size_t)pairs * sizeof *is_label);
    double found = NAN;
    if (order && is_label) {
        for (int64_t i = 0; i < pairs; i++)
            is_label[i] = label[i / classes] == i % classes;
        found = area(score, 1, is_label, 1, pairs, order);
    }
    free(order), free(is_label);
    return found;
}

double amli_curve_finish(aml_finish finish, const float *score, const int32_t *label, int64_t rows,
                         int64_t classes)
{
    if (rows == 0)
        return NAN;
    bool precision = finish == AML_FINISH_PR_AUC_MACRO || finish == AML_FINISH_PR_AUC_MICRO ||
                     finish == AML_FINISH_PR_AUC_WEIGHTED;
    Area *area = precision ? amli_average_precision : amli_roc_auc;
    if ((finish == AML_FINISH_ROC_AUC_MICRO || finish == AML_FINISH_PR_AUC_MICRO) && classes > 1)
        return micro(area, score, label, rows, classes);
    bool weighted = finish == AML_FINISH_ROC_AUC_WEIGHTED || finish == AML_FINISH_PR_AUC_WEIGHTED;
    int64_t *order = malloc((size_t)rows * sizeof *order);
    if (!order)
        return NAN;
    double sum = 0, weights = 0;
    // one score a row is that of class 1
    for (int64_t k = classes == 1 ? 1 : 0; k < (classes == 1 ? 2 : classes); k++) {
        int64_t count = 0;
        for (int64_t i = 0; i < rows; i++)
            count += label[i] == k;
        if (count == 0 || (count == rows && !precision))
            continue; // such a class has no curve
        double weight = weighted ? (double)count : 1;
        sum += weight *
               area(classes == 1 ? score : score + k, classes, label, (int32_t)k, rows, order);
        weights += weight;
    }
    free(order);
    return weights > 0 ? sum / weights : NAN;
}
