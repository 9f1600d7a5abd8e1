// A source as columns of typed fields.

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/data/cache.h"
#include "runtime/data/source.h"
#include "runtime/pool/pool.h"

size_t amli_tensor_bytes(const aml_tensor_info *tensor)
{
    int64_t count = aml_shape_elements(&tensor->shape);
    return count < 0 ? 0 : (size_t)count * aml_dtype_bytes(tensor->dtype);
}

const aml_source *amli_source_of(const aml_dataset *dataset, amli_origin origin)
{
    return origin == AMLI_FROM_SOURCE ? &dataset->source
           : origin == AMLI_FROM_TEST ? &dataset->test
                                      : &dataset->valid;
}

int64_t amli_table_units(const amli_table *table)
{
    int64_t units = 0;
    for (int i = 0; i < AMLI_ORIGINS; i++)
        units += table->units[i];
    return units;
}

amli_origin amli_table_origin(const amli_table *table, int64_t row)
{
    int origin = 0;
    for (; origin + 1 < AMLI_ORIGINS && row >= table->origin_rows[origin]; origin++)
        row -= table->origin_rows[origin];
    return (amli_origin)origin;
}

int64_t amli_table_unit(const amli_table *table, int64_t row)
{
    int64_t unit = 0;
    for (int i = 0; i + 1 < AMLI_ORIGINS && row >= table->origin_rows[i]; i++) {
        row -= table->origin_rows[i];
        unit += table->units[i];
    }
    return unit + row * table->stride;
}

const void *amli_table_at(const amli_table *table, int field, int64_t row)
{
    return (const char *)table->field[field] +
           (size_t)amli_table_unit(table, row) * table->unit_bytes[field];
}

static aml_status set_capacity(amli_table *table, int64_t *capacity, int64_t more_rows,
                               aml_error *error)
{
    for (int i = 0; i < table->fields; i++) {
        size_t bytes;
        if (table->on_demand[i])
            continue;
        if (__builtin_mul_overflow((size_t)more_rows, table->unit_bytes[i], &bytes))
            return amli_no_memory(error, SIZE_MAX, "the data");
        void *more = realloc(table->field[i], bytes ? bytes : 1);
        if (!more)
            return amli_no_memory(error, bytes, "the data");
        table->field[i] = more;
    }
    *capacity = more_rows;
    return AML_OK;
}

static aml_status grow(amli_table *table, int64_t *capacity, aml_error *error)
{
    return set_capacity(table, capacity, *capacity ? *capacity * 2 : 1024, error);
}

// A bad row: the answer is AML_OK if it is passed over.
static aml_status refuse(const amli_reading *reading, amli_table *table, const char *hint,
                         aml_error *error)
{
    const amli_load *load = reading->load;
    table->bad++;
    bool stops = reading->dataset->on_bad == AML_ON_BAD_ERROR || load->is_argument;
    if (load->check_all || !stops) {
        if (load->on_bad_row)
            load->on_bad_row(load->self, error->text);
        return AML_OK;
    }
    if (!hint)
        return error->status;
    aml_error bad = *error;
    return amli_fail(error, bad.status, "%s%s", bad.text, hint);
}

static aml_status read_rows(amli_reading *reading, const amli_source_kind *kind, amli_table *table,
                            amli_origin origin, int64_t *capacity, aml_error *error)
{
    void **to = calloc((size_t)table->fields + 1, sizeof *to);
    aml_status status = to ? AML_OK : amli_no_memory(error, sizeof *to, "the data");
    while (!status) {
        int64_t unit = amli_table_units(table);
        if (unit == *capacity && (status = grow(table, capacity, error)))
            break;
        for (int i = 0; i < table->fields; i++)
            to[i] = (char *)table->field[i] + (size_t)unit * table->unit_bytes[i];
        aml_error bad;
        const char *hint = reading->hint;
        amli_row row = kind->next(reading, to, &bad);
        if (row == AMLI_ROW_END)
            break;
        reading->hint = NULL;
        if (row == AMLI_ROW_READ)
            table->units[origin]++;
        else if (row == AMLI_ROW_BAD)
            status = refuse(reading, table, hint, &bad);
        else
            status = AML_BAD_DATA;
        if (status && error)
            *error = bad;
    }
    free(to);
    return status;
}

// ---- rows by their number

// A range of rows that one thread reads into their places.
typedef struct Ranges {
    const amli_reading *reading;
    amli_table *table;
    int64_t rows, before; // of this source, of those before it
    bool checks;          // fields on demand are decoded as well, and thrown away
    atomic_bool stopped;  // some row is not sound: all are read again, in their order
} Ranges;

enum { RANGE = 4096 };

typedef struct Reader {
    void *own;
    void **to;
    char **room; // for fields on demand
} Reader;

static void reader_free(const amli_reading *reading, const amli_table *table, Reader *reader)
{
    for (int i = 0; i < table->fields && reader->room; i++)
        free(reader->room[i]);
    free(reader->room), free(reader->to);
    if (reader->own)
        reading->kind->thread_free(reader->own);
}

// False: no memory.
static bool reader_new(const amli_reading *reading, const amli_table *table, bool checks,
                       Reader *reader)
{
    const amli_source_kind *kind = reading->kind;
    reader->own = kind->thread_new ? kind->thread_new(reading) : NULL;
    reader->to = calloc((size_t)table->fields + 1, sizeof *reader->to);
    reader->room = calloc((size_t)table->fields + 1, sizeof *reader->room);
    bool complete = reader->to && reader->room && (reader->own || !kind->thread_new);
    for (int i = 0; i < table->fields && complete && checks; i++)
        if (table->on_demand[i])
            complete = (reader->room[i] = malloc(table->unit_bytes[i] + 1)) != NULL;
    return complete;
}

static amli_row read_one(const amli_reading *reading, const amli_table *table, Reader *reader,
                         int64_t row, int64_t unit, aml_error *error)
{
    for (int i = 0; i < table->fields; i++)
        reader->to[i] = table->on_demand[i]
                            ? reader->room[i]
                            : (char *)table->field[i] + (size_t)unit * table->unit_bytes[i];
    return reading->kind->at(reading, reader->own, row, reader->to, error);
}

static void read_ranges(void *data, int64_t begin, int64_t end)
{
    Ranges *ranges = data;
    Reader reader;
    aml_error *unwanted = malloc(sizeof *unwanted);
    bool good = reader_new(ranges->reading, ranges->table, ranges->checks, &reader) && unwanted;
    int64_t row = begin * RANGE, last = end * RANGE < ranges->rows ? end * RANGE : ranges->rows;
    for (; row < last && good && !atomic_load_explicit(&ranges->stopped, memory_order_relaxed);
         row++)
        good = read_one(ranges->reading, ranges->table, &reader, row, ranges->before + row,
                        unwanted) == AMLI_ROW_READ;
    if (!good)
        atomic_store(&ranges->stopped, true);
    reader_free(ranges->reading, ranges->table, &reader);
    free(unwanted);
}

// Reads all rows with several threads if all of them are sound; otherwise nothing happened.
static bool read_at_once(amli_reading *reading, amli_table *table, int64_t rows, amli_origin origin)
{
    Ranges ranges = {.reading = reading,
                     .table = table,
                     .rows = rows,
                     .before = amli_table_units(table),
                     .checks = reading->kind->checks};
    amli_pool *pool;
    if (rows < 2 * RANGE || amli_pool_new(reading->load->threads, &pool, NULL))
        return false;
    amli_pool_for(pool, (rows + RANGE - 1) / RANGE, read_ranges, &ranges);
    amli_pool_free(pool);
    if (ranges.stopped)
        return false;
    table->units[origin] += rows;
    return true;
}

// Those fields that are not given on demand, and all of them where bad rows are passed over or
// everything is checked. The kind's numbers of the rows that are left are kept if they are others.
static aml_status read_by_number(amli_reading *reading, const amli_source_kind *kind,
                                 amli_table *table, amli_origin origin, int64_t *capacity,
                                 aml_error *error)
{
    const amli_load *load = reading->load;
    int64_t rows = kind->rows(reading), before = amli_table_units(table);
    bool all = load->check_all || reading->dataset->on_bad == AML_ON_BAD_SKIP, demands = false;
    aml_status status = AML_OK;
    for (int i = 0; i < table->fields; i++)
        demands = demands || table->on_demand[i];
    if (before + rows > *capacity)
        status = set_capacity(table, capacity, before + rows, error);
    if (!status && !(all && demands) && load->threads > 1 &&
        read_at_once(reading, table, rows, origin))
        return AML_OK;
    Reader reader = {0};
    if (!status && !reader_new(reading, table, all || kind->checks, &reader))
        status = amli_no_memory(error, sizeof reader, "the data");
    if (!status && all && demands) {
        int64_t *kept = realloc(table->kept, (size_t)(before + rows + 1) * sizeof *kept);
        table->kept = kept ? kept : table->kept;
        status = kept ? AML_OK : amli_no_memory(error, (size_t)rows * sizeof *kept, "the data");
    }
    for (int64_t row = 0; row < rows && !status; row++) {
        int64_t unit = amli_table_units(table);
        aml_error bad;
        amli_row result = read_one(reading, table, &reader, row, unit, &bad);
        if (result == AMLI_ROW_READ) {
            if (table->kept)
                table->kept[unit] = row;
            table->units[origin]++;
            continue;
        }
        const char *hint = row == 0 ? reading->hint : NULL;
        status = result == AMLI_ROW_BAD ? refuse(reading, table, hint, &bad) : AML_BAD_DATA;
        if (status && error)
            *error = bad;
    }
    reader_free(reading, table, &reader);
    return status;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static aml_status read_files(amli_reading *reading, const char *const named[], aml_error *error)
{
    const amli_load *load = reading->load;
    aml_status status = AML_OK;
    for (int i = 0; i < AML_SOURCE_FILES && !status; i++) {
        amli_source_file *file = &reading->file[i];
        if (!named[i])
            continue;
        bool is_input = load->is_argument && strcmp(named[i], "-") == 0;
        bool by_path = reading->source->reader && reading->source->reader->by_path;
        if (!load->is_argument)
            status =
                amli_locate(named[i], load->source_dir, reading->source->place, file->path, error);
        else if ((size_t)snprintf(file->path, PATH_MAX, "%s",
                                  is_input ? "standard input" : named[i]) >= PATH_MAX)
            status = amli_fail(error, AML_INVALID, "the path %s is too long", named[i]);
        if (!status && reading->source->reader && reading->source->reader->read && !is_input)
            status = reading->source->reader->read(reading, file->path, &file->text, &file->length,
                                                   error);
        else if (!status && !(by_path && (!load->is_argument || is_folder(file->path))))
            status = is_input ? amli_read_descriptor(STDIN_FILENO, file->path, &file->text,
                                                     &file->length, error)
                              : amli_read_file(file->path, &file->text, &file->length, error);
    }
    return status;
}

// A file of the command line may hold the samples of any source as csv, the fields one after the
// other.
static const amli_source_kind *kind_to_read(const amli_reading *reading)
{
    const amli_source_kind *kind = reading->source->reader;
    const amli_source_file *file = &reading->file[0];
    bool is_csv = reading->load->is_argument && file->text &&
                  !(kind && kind->recognize && kind->recognize(file->text, file->length));
    return is_csv ? &amli_source_csv : kind;
}

// The hash of the source's files; of its rows where it has none.
static void fingerprint(const amli_reading *reading, const amli_table *table, int64_t before,
                        char text[AMLI_HASH_TEXT])
{
    char all[2 * AML_SOURCE_FILES * AMLI_HASH_TEXT], one[AMLI_HASH_TEXT];
    int files = 0;
    size_t used = 0;
    for (int i = 0; i < AML_SOURCE_FILES; i++)
        if (reading->file[i].text) {
            amli_hash(reading->file[i].text, reading->file[i].length, one);
            memcpy(all + used, one, AMLI_HASH_TEXT - 1);
            used += AMLI_HASH_TEXT - 1;
            files++;
        }
    if (files == 1) {
        memcpy(text, one, AMLI_HASH_TEXT);
        return;
    }
    amli_hash(all, used, text);
    for (int i = 0; i < table->fields && files == 0; i++) {
        if (table->on_demand[i])
            continue;
        size_t bytes = table->unit_bytes[i];
        int64_t rows = amli_table_units(table) - before;
        amli_hash((const char *)table->field[i] + (size_t)before * bytes, (size_t)rows * bytes,
                  one);
        memcpy(all, text, AMLI_HASH_TEXT - 1);
        memcpy(all + AMLI_HASH_TEXT - 1, one, AMLI_HASH_TEXT - 1);
        amli_hash(all, 2 * (AMLI_HASH_TEXT - 1), text);
    }
}

static void end_reading(amli_reading *reading)
{
    if (reading->kind)
        reading->kind->close(reading);
    for (int i = 0; i < AML_SOURCE_FILES; i++)
        free(reading->file[i].text);
    free(reading);
}

static aml_status read_source(amli_table *table, const aml_dataset *dataset, amli_origin origin,
                              const amli_load *load, char hash[AMLI_HASH_TEXT], int64_t *capacity,
                              aml_error *error)
{
    const aml_source *source = amli_source_of(dataset, origin);
    amli_reading *reading = calloc(1, sizeof *reading); // the paths are too large for the stack
    if (!reading)
        return amli_no_memory(error, sizeof *reading, "the data");
    *reading = (amli_reading){.dataset = dataset,
                              .source = source,
                              .load = load,
                              .unit_bytes = table->unit_bytes,
                              .on_demand = table->on_demand};
    int64_t before = amli_table_units(table);
    aml_status status = read_files(reading, load->file[origin], error);
    const amli_source_kind *kind = reading->kind = status ? NULL : kind_to_read(reading);
    if (!status && !kind)
        status = amli_fail(error, AML_INTERNAL, "the data set '%s' has no source", dataset->name);
    if (!status && origin == AMLI_FROM_SOURCE)
        snprintf(table->path, sizeof table->path, "%s",
                 reading->file[0].path[0] ? reading->file[0].path : source->place);
    if (!status)
        status = kind->open(reading, error);
    if (!status)
        status = kind->rows ? read_by_number(reading, kind, table, origin, capacity, error)
                            : read_rows(reading, kind, table, origin, capacity, error);
    if (!status && kind->fingerprint)
        status = kind->fingerprint(reading, hash, error);
    else if (!status)
        fingerprint(reading, table, before, hash);
    bool demands = false;
    table->sampled = table->sampled || reading->sampled;
    for (int i = 0; i < table->fields; i++)
        demands = demands || table->on_demand[i];
    if (!status && demands) {
        reading->load = NULL;
        table->reading[origin] = reading;
    } else {
        end_reading(reading);
    }
    return status;
}

static bool is_text(const aml_field *field)
{
    return field->rule && field->rule->kind == AML_CELL_TEXT;
}

static aml_status check_fields(const aml_dataset *dataset, aml_error *error)
{
    int64_t window = dataset->window > 0 ? dataset->window : 1;
    for (int i = 0; i < dataset->fields; i++)
        if ((!is_text(&dataset->field[i]) && aml_shape_elements(&dataset->field[i].tensor.shape) !=
                                                 dataset->field[i].count * window) ||
            dataset->field[i].part < 0 || dataset->field[i].part >= AML_SOURCE_PARTS)
            return amli_fail(error, AML_INTERNAL,
                             "the field '%s' has a shape of %lld elements and reads %d columns",
                             dataset->field[i].tensor.name,
                             (long long)aml_shape_elements(&dataset->field[i].tensor.shape),
                             dataset->field[i].count);
    return AML_OK;
}

static int64_t windows(const amli_table *table, int64_t units)
{
    return units < table->window ? 0 : (units - table->window) / table->stride + 1;
}

static aml_status check_rows(const amli_table *table, const aml_dataset *dataset,
                             const amli_load *load, aml_error *error)
{
    int64_t all = amli_table_units(table) + table->bad;
    if (!load->check_all && table->bad > 0 &&
        (double)table->bad > dataset->skip_limit * (double)all)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: %lld of %lld rows are bad, and at most %g%% may be skipped "
                         "(%s)\nhelp: `data check` lists them",
                         table->path, (long long)table->bad, (long long)all,
                         dataset->skip_limit * 100, dataset->place);
    if (table->rows > 0 || (load->check_all && table->bad > 0))
        return AML_OK;
    const char *what = dataset->source.kind == AML_SOURCE_TEXT ? "tokens" : "rows";
    if (table->units[0] > 0)
        return amli_fail(error, AML_BAD_DATA,
                         "%s: expected at least the %lld %s of one window, found %lld", table->path,
                         (long long)table->window, what, (long long)table->units[0]);
    return amli_fail(error, AML_BAD_DATA, "%s: expected %s, found none%s", table->path, what,
                     dataset->source.kind == AML_SOURCE_CSV ? " behind the header" : "");
}

static aml_status read_all(amli_table *table, const aml_dataset *dataset, const amli_load *load,
                           aml_error *error)
{
    int64_t capacity = 0;
    aml_status status = AML_OK;
    for (int i = 0; i < AMLI_ORIGINS && !status; i++) {
        char both[2 * AMLI_HASH_TEXT];
        bool first = i == AMLI_FROM_SOURCE;
        if (!first &&
            (load->is_argument || amli_source_of(dataset, (amli_origin)i)->kind == AML_SOURCE_NONE))
            continue;
        memcpy(both, table->fingerprint, AMLI_HASH_TEXT - 1);
        status =
            read_source(table, dataset, (amli_origin)i, load,
                        first ? table->fingerprint : both + AMLI_HASH_TEXT - 1, &capacity, error);
        if (!first && !status)
            amli_hash(both, 2 * (AMLI_HASH_TEXT - 1), table->fingerprint);
        table->origin_rows[i] = windows(table, table->units[i]);
        table->rows += table->origin_rows[i];
    }
    table->source_rows = table->origin_rows[AMLI_FROM_SOURCE];
    return status ? status : check_rows(table, dataset, load, error);
}

aml_status amli_table_load(const aml_dataset *dataset, const amli_load *load, amli_table **out,
                           aml_error *error)
{
    *out = NULL;
    aml_status status = check_fields(dataset, error);
    if (status)
        return status;
    amli_table *table = calloc(1, sizeof *table);
    if (!table)
        return amli_no_memory(error, sizeof *table, "the data");
    size_t fields = (size_t)dataset->fields + 1;
    table->fields = dataset->fields;
    table->window = dataset->window > 0 ? dataset->window : 1;
    table->stride = dataset->stride > 0 ? dataset->stride : 1;
    table->apart = dataset->apart > 0 ? dataset->apart : 1;
    table->field = calloc(fields, sizeof *table->field);
    table->row_bytes = calloc(fields, sizeof *table->row_bytes);
    table->unit_bytes = calloc(fields, sizeof *table->unit_bytes);
    table->on_demand = calloc(fields, sizeof *table->on_demand);
    if (!table->field || !table->row_bytes || !table->unit_bytes || !table->on_demand)
        status = amli_no_memory(error, fields * sizeof *table->field, "the data");
    for (int i = 0; i < dataset->fields && !status; i++) {
        table->row_bytes[i] = amli_tensor_bytes(&dataset->field[i].tensor);
        table->unit_bytes[i] = table->row_bytes[i] / (size_t)table->window;
    }
    if (!status)
        status = read_all(table, dataset, load, error);
    for (int i = 0; i < table->fields && !status; i++) {
        if (table->on_demand[i])
            continue;
        size_t bytes = (size_t)(amli_table_units(table)) * table->unit_bytes[i];
        void *fitting = realloc(table->field[i], bytes ? bytes : 1);
        table->field[i] = fitting ? fitting : table->field[i];
        table->bytes += bytes;
    }
    if (!status)
        status =
            amli_fetch_cache(table, load->is_argument ? 0 : dataset->source.cache_bytes, error);
    if (status) {
        amli_table_free(table);
        return status;
    }
    if (table->cached && load->keeps_cache && !load->check_all && !table->sampled)
        amli_cache_open(table, dataset);
    *out = table;
    return AML_OK;
}

void amli_table_free(amli_table *table)
{
    if (!table)
        return;
    amli_cache_close(table);
    free((void *)table->decode_ns);
    for (int i = 0; i < table->fields && table->field; i++)
        free(table->field[i]);
    free(table->field);
    for (int i = 0; i < AMLI_ORIGINS; i++)
        if (table->reading[i])
            end_reading(table->reading[i]);
    free(table->row_bytes);
    free(table->unit_bytes);
    free(table->on_demand);
    free(table->kept);
    free(table->cached);
    free(table);
}
