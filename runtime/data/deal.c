// Rows dealt to parts.
//
// The rows of each class are shuffled by (seed, class) and dealt to the parts in order. How many
// each part gets: its quota is share * rows; everyone gets the whole number below, and what is left
// over goes to the largest remainders (the first part wins a tie). The remainders are carried from
// class to class, so that each class is within one row of its quota and each part as a whole is as
// well.
//
// Groups are indivisible: the largest first (of equal ones in shuffled order), each to the part
// that lacks most of what the group has. What a part lacks of a class is counted in shares of the
// class, so that rare classes count as much as frequent ones. With equal shares and no classes this
// is the usual greedy partition: the largest group to the lightest part.

#include <math.h>
#include <stdlib.h>

#include "runtime/data/deal.h"

void amli_deal_rest(int64_t rows, int parts, const double quota[], int64_t given[], int64_t now[],
                    double remainder[])
{
    int64_t left = rows;
    for (int i = 0; i < parts; i++) {
        double due = quota[i] - (double)given[i];
        int64_t whole = due > 0 ? (int64_t)floor(due + 1e-9) : 0;
        now[i] = whole < left ? whole : left;
        left -= now[i];
        remainder[i] = due - (double)now[i];
    }
    while (left > 0) {
        int best = 0;
        for (int i = 1; i < parts; i++)
            if (remainder[i] > remainder[best] + 1e-9)
                best = i;
        now[best]++;
        remainder[best] -= 1;
        left--;
    }
    for (int i = 0; i < parts; i++)
        given[i] += now[i];
}

static int64_t label_of(const int64_t *label, int64_t row)
{
    return label ? label[row] : 0;
}

// The positions 0..count-1 ordered by label, each label's in their order; start[k] is the first of
// label k. A counting sort.
static void order_by(const int64_t *label, const int64_t row[], int64_t count, int64_t labels,
                     int64_t order[], int64_t start[])
{
    for (int64_t i = 0; i < count; i++)
        start[label_of(label, row[i]) + 2]++;
    for (int64_t k = 0; k < labels; k++)
        start[k + 2] += start[k + 1];
    for (int64_t i = 0; i < count; i++)
        order[start[label_of(label, row[i]) + 1]++] = i;
}

static aml_status deal_rows(const amli_labels *labels, const int64_t row[], int64_t count,
                            const double share[], int parts, int64_t seed, uint64_t stream,
                            int32_t part_of[], aml_error *error)
{
    int64_t strata = labels->stratum ? labels->strata : 1;
    int64_t *order = malloc((size_t)(count + 1) * sizeof *order),
            *start = calloc((size_t)strata + 2, sizeof *start),
            *given = calloc((size_t)parts + 1, sizeof *given),
            *now = calloc((size_t)parts + 1, sizeof *now);
    double *quota = calloc((size_t)parts + 1, sizeof *quota),
           *remainder = calloc((size_t)parts + 1, sizeof *remainder);
    bool complete = order && start && given && now && quota && remainder;
    if (complete)
        order_by(labels->stratum, row, count, strata, order, start);
    for (int64_t k = 0; k < strata && complete; k++) {
        int64_t first = start[k], rows = start[k + 1] - first;
        for (int i = 0; i < parts; i++)
            quota[i] = share[i] * (double)(first + rows);
        amli_shuffle(order + first, rows, seed, (stream << 32) + (uint64_t)k, AMLI_USE_SPLIT);
        amli_deal_rest(rows, parts, quota, given, now, remainder);
        int64_t at = first;
        for (int i = 0; i < parts; i++)
            for (int64_t j = 0; j < now[i]; j++)
                part_of[order[at++]] = i;
    }
    free(order), free(start), free(given), free(now), free(quota), free(remainder);
    return complete ? AML_OK : amli_no_memory(error, (size_t)count * sizeof(int64_t), "the split");
}

// ---- groups

typedef struct Group {
    double weight; // the length of its vector of shares of the classes
    int64_t place; // in shuffled order
    int64_t first, rows;
} Group;

static int by_weight(const void *a, const void *b)
{
    const Group *x = a, *y = b;
    if (x->weight < y->weight || x->weight > y->weight)
        return x->weight < y->weight ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

typedef struct Dealing {
    const amli_labels *labels;
    const int64_t *row;
    int64_t *order; // positions, group by group
    int64_t strata;
    double *total;    // rows of each class
    double *lacks;    // [part][class], in shares of the class
    double *of_group; // rows of each class of one group
} Dealing;

static void count_classes(const Dealing *dealing, const Group *group)
{
    for (int64_t i = 0; i < group->rows; i++)
        dealing->of_group[label_of(dealing->labels->stratum,
                                   dealing->row[dealing->order[group->first + i]])] += 1;
}

static void clear_classes(const Dealing *dealing, const Group *group)
{
    for (int64_t i = 0; i < group->rows; i++)
        dealing->of_group[label_of(dealing->labels->stratum,
                                   dealing->row[dealing->order[group->first + i]])] = 0;
}

static double weigh(const Dealing *dealing, const Group *group)
{
    double sum = 0;
    count_classes(dealing, group);
    for (int64_t k = 0; k < dealing->strata; k++)
        if (dealing->of_group[k] > 0) {
            double share = dealing->of_group[k] / dealing->total[k];
            sum += share * share;
        }
    clear_classes(dealing, group);
    return sum;
}

static int place(const Dealing *dealing, const Group *group, const double share[], int parts)
{
    int best = -1;
    double most = 0;
    count_classes(dealing, group);
    for (int p = 0; p < parts; p++) {
        double score = 0;
        for (int64_t k = 0; k < dealing->strata; k++)
            if (dealing->of_group[k] > 0)
                score += dealing->of_group[k] / dealing->total[k] *
                         dealing->lacks[p * dealing->strata + k];
        if (share[p] > 0 && (best < 0 || score > most + 1e-12))
            best = p, most = score;
    }
    for (int64_t k = 0; k < dealing->strata; k++)
        if (dealing->of_group[k] > 0)
            dealing->lacks[best * dealing->strata + k] -= dealing->of_group[k] / dealing->total[k];
    clear_classes(dealing, group);
    return best;
}

static aml_status deal_groups(const amli_labels *labels, const int64_t row[], int64_t count,
                              const double share[], int parts, int64_t seed, uint64_t stream,
                              int32_t part_of[], aml_error *error)
{
    int64_t strata = labels->stratum ? labels->strata : 1, groups = labels->groups, used = 0;
    int64_t *start = calloc((size_t)groups + 2, sizeof *start),
            *shuffled = malloc((size_t)(groups + 1) * sizeof *shuffled);
    Group *group = calloc((size_t)groups + 1, sizeof *group);
    Dealing dealing = {.labels = labels,
                       .row = row,
                       .strata = strata,
                       .order = malloc((size_t)(count + 1) * sizeof(int64_t)),
                       .total = calloc((size_t)strata + 1, sizeof(double)),
                       .lacks = calloc((size_t)(strata * parts) + 1, sizeof(double)),
                       .of_group = calloc((size_t)strata + 1, sizeof(double))};
    bool complete = start && shuffled && group && dealing.order && dealing.total && dealing.lacks &&
                    dealing.of_group;
    if (complete) {
        order_by(labels->group, row, count, groups, dealing.order, start);
        for (int64_t i = 0; i < count; i++)
            dealing.total[label_of(labels->stratum, row[i])] += 1;
        for (int p = 0; p < parts; p++)
            for (int64_t k = 0; k < strata; k++)
                dealing.lacks[p * strata + k] = share[p];
        for (int64_t g = 0; g < groups; g++)
            shuffled[g] = g;
        amli_shuffle(shuffled, groups, seed, stream << 32, AMLI_USE_SPLIT);
        for (int64_t place_of = 0; place_of < groups; place_of++) {
            int64_t g = shuffled[place_of];
            if (start[g + 1] == start[g])
                continue;
            group[used] =
                (Group){.place = place_of, .first = start[g], .rows = start[g + 1] - start[g]};
            group[used].weight = weigh(&dealing, &group[used]);
            used++;
        }
        qsort(group, (size_t)used, sizeof *group, by_weight);
    }
    for (int64_t g = 0; g < used && complete; g++) {
        int part = place(&dealing, &group[g], share, parts);
        for (int64_t i = 0; i < group[g].rows; i++)
            part_of[dealing.order[group[g].first + i]] = part;
    }
    free(start), free(shuffled), free(group), free(dealing.order), free(dealing.total);
    free(dealing.lacks), free(dealing.of_group);
    return complete ? AML_OK : amli_no_memory(error, (size_t)count * sizeof(int64_t), "the split");
}

aml_status amli_deal(const amli_labels *labels, const int64_t row[], int64_t count,
                     const double share[], int parts, int64_t seed, uint64_t stream,
                     int32_t part_of[], aml_error *error)
{
    return labels->group
               ? deal_groups(labels, row, count, share, parts, seed, stream, part_of, error)
               : deal_rows(labels, row, count, share, parts, seed, stream, part_of, error);
}
