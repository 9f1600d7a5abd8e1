// driver_compare.h: csv texts side by side.

#ifndef AML_DRIVER_COMPARE_H
#define AML_DRIVER_COMPARE_H

#include "base/base.h"

typedef struct CsvRow {
    Vec(const char *) cell;
} CsvRow;
CsvRow csv_next(Cx *cx, const char **at,
                char separator); // the record at *at, which moves behind it
const char *csv_head(Cx *cx, const char *text, int records); // the first records of a text
int csv_column(CsvRow header, const char *name);             // -1: none of that name

typedef struct Comparison {
    int rows;
    double worst;       // the largest difference of two numbers
    int wholes, others; // whole numbers, and how many of them differ
    const char *wrong;  // NULL: everything agrees
} Comparison;
// `tolerance`: of numbers, relative to 1 + their magnitude. 0: values were rounded to bytes on the
// way.
Comparison compare_predictions(Cx *cx, const char *expected, const char *found, double tolerance);

// The share of rows whose "prediction" is the label, which stands in column `label_name` or, if
// that is NULL, at `label_position` of `rows`. -1 if that cannot be told.
double accuracy_of(Cx *cx, const char *predictions, const char *rows, char separator,
                   const char *label_name, int label_position);

#endif
