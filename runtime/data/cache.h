// cache.h: decoded samples that live from run to run.

#ifndef AMLI_CACHE_H
#define AMLI_CACHE_H

#include "runtime/data/data.h"

// Takes the rows of a table, which has a cache in memory, from the file that an earlier process left
// for the same data and fields, if there is one.
void amli_cache_open(amli_table *table, const aml_dataset *dataset);

// How many rows came from the file, and which file that is.
int64_t amli_cache_loaded(const amli_table *table, const char **path);

// Leaves a file, if that saves time. No other thread uses the table any more.
void amli_cache_close(amli_table *table);

#endif
