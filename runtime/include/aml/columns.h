// aml/columns.h: what is in the columns of a source, for the compiler: their names, and the texts
// of a category.
//
// A file is never trusted: what is wrong with it is an error that says where. An object is used by
// one thread at a time.

#ifndef AML_COLUMNS_H
#define AML_COLUMNS_H

#include "aml/program.h"
#include "aml/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aml_columns aml_columns;

// Whether the columns of such a source can be looked at.
bool aml_columns_known(aml_source_kind kind);

// Reads the beginning of a file as `source` says; its header is YES or NO. The caller closes *out,
// which is NULL after a failure.
aml_status aml_columns_open(const aml_source *source, const char *path, aml_columns **out,
                            aml_error *error);
void aml_columns_close(aml_columns *columns); // NULL is allowed

int64_t aml_columns_count(const aml_columns *columns); // -1: rows need not have the same ones
const char *const *aml_columns_names(const aml_columns *columns,
                                     int64_t *count); // NULL: they have none

// The different texts that a field's cells have, without missing values: as numbers if all of them
// are whole numbers, else by their bytes. AML_BAD_DATA if there are more than `most`, or none. The
// texts live as long as `columns`.
aml_status aml_columns_texts(aml_columns *columns, const aml_field *field, int64_t most,
                             const char *const **text, int64_t *count, aml_error *error);

// The class that a field of one class reads from a cell's text. False: the text is none.
bool aml_columns_class(const aml_field *field, const char *text, int64_t *class_);

// Whether it is a format of dates: of %Y %y %m %b %B %d %a %A %H %I %M %S %f %p %z and %%.
bool aml_time_format(const char *format);

#ifdef __cplusplus
}
#endif

#endif
