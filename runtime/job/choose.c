// Which token comes next: a draw from the scores of a model, in f64.
//
// The probabilities are those of softmax(score / temperature). top_k keeps the k most likely, top_p
// then the fewest of the most likely that have p of the probability; what is kept is drawn from in
// the order of tokens by one uniform number of Philox, keyed by the seed and counted by the
// position: nothing else decides. Among equal scores the lower token counts as the more likely.

#include <math.h>
#include <stdlib.h>

#include "runtime/job/job.h"

static double uniform(int64_t seed, int64_t position)
{
    uint32_t counter[4] = {(uint32_t)position, (uint32_t)((uint64_t)position >> 32), 0, 0}, word[4];
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)((uint64_t)seed >> 32) ^ AMLI_USE_CHOICE};
    amli_philox(counter, key, word);
    uint64_t bits = (uint64_t)word[0] << 32 | word[1];
    return (double)(bits >> 11) * 0x1p-53;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// The smallest weight that is kept, and how many of exactly that weight are.
typedef struct Cut {
    double least;
    int64_t equal;
} Cut;

static Cut find_cut(const amli_choice *how, const double weight[], int64_t count, double sorted[])
{
    int64_t kept = how->top_k > 0 && how->top_k < count ? how->top_k : count;
    if (kept == count && how->top_p >= 1)
        return (Cut){-1, 0};
    for (int64_t i = 0; i < count; i++)
        sorted[i] = weight[i];
    qsort(sorted, (size_t)count, sizeof *sorted, descending);
    double sum = 0, so_far = 0;
    for (int64_t i = 0; i < kept; i++)
        sum += sorted[i];
    int64_t last = 0;
    while (last < kept - 1 && (so_far += sorted[last]) < how->top_p * sum)
        last++;
    Cut cut = {sorted[last], 0};
    for (int64_t i = last; i >= 0 && sorted[i] == cut.least; i--)
        cut.equal++;
    return cut;
}

int64_t amli_choose(const amli_choice *how, const float score[], int64_t count, int64_t position,
                    double work[])
{
    int64_t best = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(score[i]))
            return -1;
        if (score[i] > score[best])
            best = i;
    }
    if (how->temperature <= 0)
        return best;
    double *weight = work, sum = 0;
    for (int64_t i = 0; i < count; i++)
        weight[i] = exp(((double)score[i] - (double)score[best]) / how->temperature);
    Cut cut = find_cut(how, weight, count, work + count);
    for (int64_t i = 0, equal = 0; i < count; i++) {
        if (weight[i] < cut.least || (weight[i] == cut.least && equal++ >= cut.equal))
            weight[i] = 0;
        sum += weight[i];
    }
    double until = uniform(how->seed, position) * sum;
    int64_t chosen = best;
    for (int64_t i = 0; i < count; i++) {
        if (weight[i] <= 0)
            continue;
        chosen = i;
        until -= weight[i];
        if (until < 0)
            break;
    }
    return chosen;
}
