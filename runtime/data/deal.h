// deal.h: rows dealt to parts.
//
//   deal.c    to shares of them: by class, by group, or both
//   labels.c  classes and groups of the rows of a table
//
// split.c (see data.h) makes parts, folds and shares of the training part of it.

#ifndef AMLI_DEAL_H
#define AMLI_DEAL_H

#include "runtime/base/base.h"

// What is known of each row of a source. The arrays belong to the caller.
typedef struct amli_labels {
    const int64_t *stratum; // its class in 0..strata-1; NULL: all rows are of one
    int64_t strata;
    const int64_t *group; // its group in 0..groups-1: rows of a group stay together; NULL: each row
                          // is one
    int64_t groups;
} amli_labels;

// A part of a cross-validation or of a learning curve. All zero: the split as it is.
typedef struct amli_fold {
    int32_t index, count; // fold index of 0..count-1 is held out; count 0: no folds
    aml_part part;        // TEST: as the test part, and all other rows train and validate, in the
                   // proportions of the split; VALID: as the validation part, and the split's
                   // test part is left alone
    double share; // of the training part that is trained on; 0: all
} amli_fold;

// Deals `rows` more rows so that given[] stays closest to quota[] (both totals so far): now[i] of
// them go to part i. `remainder` is scratch.
void amli_deal_rest(int64_t rows, int parts, const double quota[], int64_t given[], int64_t now[],
                    double remainder[]);

// Deals row[0..count-1] to `parts` parts whose shares add up to 1: part_of[i] is the part of
// row[i]. Exact counts by largest remainder, per class where there are classes. With groups: the
// largest groups first, each to the part that lacks most. The same (seed, stream) deals the same.
aml_status amli_deal(const amli_labels *labels, const int64_t row[], int64_t count,
                     const double share[], int parts, int64_t seed, uint64_t stream,
                     int32_t part_of[], aml_error *error);

#endif
