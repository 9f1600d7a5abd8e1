// driver_compare.h: csv texts side by side.

#ifndef AML_DRIVER_COMPARE_H
#define AML_DRIVER_COMPARE_H

#include "aml/program.h"
#include "base/base.h"

// As a data set says how its rows are written.
typedef struct CsvForm {
    char separator;
    char comment;        // lines that begin with it are passed over; 0: there are none
    bool literal_quotes; // a quote is a character like others
} CsvForm;

typedef struct CsvRow {
    Vec(const char *) cell;
} CsvRow;
// The record at *at, which moves behind it; without cells if there is none any more.
CsvRow csv_next(Cx *cx, const char **at, const CsvForm *form);
// The first records of a text.
const char *csv_head(Cx *cx, const char *text, int records, const CsvForm *form);
int csv_column(CsvRow header, const char *name); // -1: none of that name

typedef struct Comparison {
    int rows;
    double worst;       // the largest difference of two numbers
    double noise;       // root mean square of the differences, of that of the numbers
    int wholes, others; // whole numbers and texts, and how many of them differ
    int ties;           // of those: where two classes have the same share within the tolerance
    const char *wrong;  // NULL: everything agrees
} Comparison;
// `tolerance`: of numbers, relative to 1 + their magnitude. 0: values were rounded to bytes on the
// way.
Comparison compare_predictions(Cx *cx, const char *expected, const char *found, double tolerance);

// The share of rows whose "prediction" is the class that `label` reads from `rows`, which have
// names of columns above them or not. -1 if that cannot be told.
double accuracy_of(Cx *cx, const char *predictions, const char *rows, const CsvForm *form,
                   bool has_header, const aml_field *label);

#endif
