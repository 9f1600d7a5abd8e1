// The columns of a source as the compiler sees them: see aml/columns.h.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aml/columns.h"
#include "runtime/data/source.h"

struct aml_columns {
    aml_source source;
    char *path;
    char **name; // names[count] in one allocation each
    int64_t names, columns;
    char **text; // of the last category that was asked for, and of those before
    int64_t texts, room;
    const char **order; // which of them the last answer has
};

static const amli_source_kind *kind_of(aml_source_kind kind)
{
    return kind == AML_SOURCE_CSV     ? &amli_source_csv
           : kind == AML_SOURCE_JSONL ? &amli_source_jsonl
                                      : NULL;
}

bool aml_columns_known(aml_source_kind kind)
{
    return kind_of(kind) != NULL;
}

// A reading of the source with these fields, which the caller closes.
static aml_status begin(const aml_columns *columns, const aml_dataset *dataset,
                        const amli_load *load, const size_t *unit_bytes, bool *on_demand,
                        amli_reading **out, aml_error *error)
{
    amli_reading *reading = *out = calloc(1, sizeof *reading);
    if (!reading)
        return amli_no_memory(error, sizeof *reading, columns->path);
    *reading = (amli_reading){.dataset = dataset,
                              .source = &dataset->source,
                              .load = load,
                              .kind = kind_of(columns->source.kind),
                              .unit_bytes = unit_bytes,
                              .on_demand = on_demand};
    if ((size_t)snprintf(reading->file[0].path, PATH_MAX, "%s", columns->path) >= PATH_MAX)
        return amli_fail(error, AML_INVALID, "the path %s is too long", columns->path);
    return reading->kind->open(reading, error);
}

static void end(amli_reading *reading)
{
    if (!reading)
        return;
    reading->kind->close(reading);
    free(reading->file[0].text);
    free(reading);
}

// A cell's text with "" as ".
static char *text_of(const amli_cell *cell)
{
    char *text = malloc(cell->length + 1), *to = text;
    for (size_t i = 0; text && i < cell->length; i++) {
        *to++ = cell->at[i];
        i += cell->doubled && cell->at[i] == '"';
    }
    if (text)
        *to = 0;
    return text;
}

aml_status aml_columns_open(const aml_source *source, const char *path, aml_columns **out,
                            aml_error *error)
{
    *out = NULL;
    aml_columns *columns = calloc(1, sizeof *columns);
    if (!columns || !(columns->path = strdup(path))) {
        free(columns);
        return amli_no_memory(error, sizeof *columns, path);
    }
    columns->source = *source;
    columns->columns = -1;
    const aml_dataset dataset = {.name = "", .source = *source};
    const amli_load load = {.names_only = true};
    const size_t none = 0;
    bool no = false;
    amli_reading *reading;
    aml_status status = begin(columns, &dataset, &load, &none, &no, &reading, error);
    if (!status) {
        int64_t count;
        const amli_cell *name = reading->kind->names(reading, &count);
        columns->columns = source->kind == AML_SOURCE_CSV ? count : -1;
        columns->name = name ? calloc((size_t)count + 1, sizeof *columns->name) : NULL;
        for (int64_t i = 0; columns->name && i < count && !status; i++) {
            columns->name[i] = text_of(&name[i]);
            columns->names = i + 1;
            if (!columns->name[i])
                status = amli_no_memory(error, name[i].length, path);
        }
    }
    end(reading);
    if (status) {
        aml_columns_close(columns);
        return status;
    }
    *out = columns;
    return AML_OK;
}

void aml_columns_close(aml_columns *columns)
{
    if (!columns)
        return;
    for (int64_t i = 0; i < columns->names; i++)
        free(columns->name[i]);
    for (int64_t i = 0; i < columns->texts; i++)
        free(columns->text[i]);
    free(columns->name), free(columns->text), free(columns->order), free(columns->path);
    free(columns);
}

int64_t aml_columns_count(const aml_columns *columns)
{
    return columns->columns;
}

const char *const *aml_columns_names(const aml_columns *columns, int64_t *count)
{
    *count = columns->names;
    return (const char *const *)columns->name;
}

// ---- vocabularies

// The texts so far: numbers of them in a table of open addressing, twice as large as they are many.
typedef struct Found {
    int64_t *slot, slots, first; // slot: number + 1, 0: free; first: of the field's texts
} Found;

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 1469598103934665603u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash ^ hash >> 29;
}

static bool resize(const aml_columns *columns, Found *found)
{
    int64_t slots = found->slots ? found->slots * 2 : 256;
    int64_t *slot = calloc((size_t)slots, sizeof *slot);
    if (!slot)
        return false;
    for (int64_t i = found->first; i < columns->texts; i++) {
        uint64_t at = hash_of(columns->text[i]) % (uint64_t)slots;
        while (slot[at])
            at = (at + 1) % (uint64_t)slots;
        slot[at] = i + 1;
    }
    free(found->slot);
    found->slot = slot;
    found->slots = slots;
    return true;
}

// Adds a text if it is a new one. False: no memory.
static bool add(aml_columns *columns, Found *found, const amli_cell *cell)
{
    if ((columns->texts - found->first) * 2 >= found->slots && !resize(columns, found))
        return false;
    char *text = text_of(cell);
    if (!text)
        return false;
    uint64_t at = hash_of(text) % (uint64_t)found->slots;
    for (; found->slot[at]; at = (at + 1) % (uint64_t)found->slots)
        if (strcmp(columns->text[found->slot[at] - 1], text) == 0) {
            free(text);
            return true;
        }
    if (columns->texts == columns->room) {
        int64_t room = columns->room ? columns->room * 2 : 64;
        char **more = realloc(columns->text, (size_t)room * sizeof *more);
        if (!more) {
            free(text);
            return false;
        }
        columns->text = more;
        columns->room = room;
    }
    columns->text[columns->texts++] = text;
    found->slot[at] = columns->texts;
    return true;
}

static bool is_whole(const char *text, long long *value)
{
    char *end;
    size_t length = strspn(text + (*text == '-'), "0123456789");
    *value = strtoll(text, &end, 10);
    return length > 0 && length <= 18 && !*end;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_value(const void *a, const void *b)
{
    long long x, y;
    is_whole(*(const char *const *)a, &x);
    is_whole(*(const char *const *)b, &y);
    return x < y ? -1 : x > y ? 1 : by_bytes(a, b);
}

static aml_status collect(aml_columns *columns, amli_reading *reading, const aml_field *field,
                          int64_t most, Found *found, aml_error *error)
{
    void *own = reading->kind->thread_new(reading);
    amli_cell *cell = calloc((size_t)field->count + 1, sizeof *cell);
    aml_status status = own && cell ? AML_OK : amli_no_memory(error, sizeof *cell, columns->path);
    int64_t rows = reading->kind->rows(reading);
    for (int64_t row = 0; row < rows && !status; row++) {
        amli_row result = reading->kind->texts(reading, own, row, cell, error);
        if (result == AMLI_ROW_BAD) // the program says what is wrong with it
            continue;
        if (result != AMLI_ROW_READ)
            status = AML_BAD_DATA;
        for (int k = 0; k < field->count && !status; k++) {
            amli_cell_trim(field->rule, &cell[k]);
            if (amli_cell_absent(field->rule, &cell[k]))
                continue;
            if (!add(columns, found, &cell[k]))
                status = amli_no_memory(error, cell[k].length, columns->path);
            else if (columns->texts - found->first > most)
                status = amli_fail(error, AML_BAD_DATA,
                                   "%s: the field '%s' has more than %lld different texts",
                                   columns->path, field->tensor.name, (long long)most);
        }
    }
    if (own)
        reading->kind->thread_free(own);
    free(cell);
    return status;
}

aml_status aml_columns_texts(aml_columns *columns, const aml_field *field, int64_t most,
                             const char *const **text, int64_t *count, aml_error *error)
{
    const aml_dataset dataset = {
        .name = "", .source = columns->source, .fields = 1, .field = field};
    const amli_load load = {.labels_may_be_absent = false};
    const size_t bytes = (size_t)field->count;
    bool no = false;
    amli_reading *reading;
    Found found = {.first = columns->texts};
    aml_status status = begin(columns, &dataset, &load, &bytes, &no, &reading, error);
    if (!status)
        status = collect(columns, reading, field, most, &found, error);
    end(reading);
    free(found.slot);
    *count = columns->texts - found.first;
    if (!status && *count == 0)
        status = amli_fail(error, AML_BAD_DATA, "%s: the field '%s' has missing values only",
                           columns->path, field->tensor.name);
    if (status)
        return status;
    const char **order = realloc(columns->order, (size_t)*count * sizeof *order);
    if (!order)
        return amli_no_memory(error, (size_t)*count * sizeof *order, columns->path);
    columns->order = order;
    bool whole = true;
    long long value;
    for (int64_t i = 0; i < *count; i++) {
        order[i] = columns->text[found.first + i];
        whole = whole && is_whole(order[i], &value);
    }
    qsort(order, (size_t)*count, sizeof *order, whole ? by_value : by_bytes);
    *text = order;
    return AML_OK;
}

bool aml_columns_class(const aml_field *field, const char *text, int64_t *class_)
{
    const amli_cell cell = {.at = text, .length = strlen(text)};
    char element[sizeof(int64_t)] = {0}, expected[128];
    if (aml_dtype_bytes(field->tensor.dtype) > sizeof element ||
        !amli_decode(&field->tensor, field->rule, &cell, element, expected, sizeof expected))
        return false;
    *class_ = (int64_t)amli_element(field->tensor.dtype, element, 0);
    return true;
}
