// toy.h: a program as the compiler would write it, by hand: softmax regression of 4 numbers to 3
// classes with momentum, a running mean, metrics of every kind, and options of every type. toy.csv
// (see toy_write_data) is its data.

#ifndef TOY_H
#define TOY_H

#include "aml/artifact.h"
#include "aml/program.h"

enum { TOY_BATCH = 16, TOY_IN = 4, TOY_CLASSES = 3 };

extern const aml_program toy_program;
extern const aml_artifact toy_artifact;

// `rows` rows of made-up data with a header; the same for the same rows.
void toy_write_data(const char *path, int rows);

#endif
