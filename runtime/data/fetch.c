// Fields that are decoded when they are asked for: pictures, rows of files larger than memory.
//
// A table holds no rows of such a field; the kind of source gives them by number, to any thread. If
// all of them fit into the source's budget they are kept once they were decoded: the cache is a
// column like that of any other field, with a byte for each row that says whether it is there.
//
//     EMPTY --(one thread takes it)--> FILLING --> READY
//
// Whoever finds a row FILLING decodes it for itself instead of waiting. What is decoded depends on
// the row alone, so it makes no difference who did it, and when.

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/source.h"

enum { EMPTY, FILLING, READY };

aml_status amli_fetch_cache(amli_table *table, size_t most, aml_error *error)
{
    size_t units = (size_t)(amli_table_units(table)), one = 0, all;
    for (int i = 0; i < table->fields; i++)
        one += table->on_demand[i] ? table->unit_bytes[i] : 0;
    if (one == 0 || __builtin_mul_overflow(one, units, &all) || all > most)
        return AML_OK;
    table->cached = calloc(units + 1, sizeof *table->cached);
    table->decode_ns = calloc(1, sizeof *table->decode_ns);
    if (!table->cached || !table->decode_ns)
        return amli_no_memory(error, units, "the data");
    for (int i = 0; i < table->fields; i++) {
        if (!table->on_demand[i])
            continue;
        size_t bytes = units * table->unit_bytes[i];
        table->field[i] = malloc(bytes ? bytes : 1); // pages come with the first row that is put in
        if (!table->field[i])
            return amli_no_memory(error, bytes, "the data");
    }
    table->bytes += units + all;
    return AML_OK;
}

aml_status amli_fetch_new(const amli_table *table, amli_fetch *fetch, aml_error *error)
{
    size_t fields = (size_t)table->fields + 1;
    *fetch = (amli_fetch){.table = table,
                          .room = calloc(fields, sizeof *fetch->room),
                          .to = calloc(fields, sizeof *fetch->to)};
    if (!fetch->room || !fetch->to)
        return amli_no_memory(error, fields * sizeof *fetch->to, "a sample");
    for (int i = 0; i < table->fields; i++) {
        if (!table->on_demand[i])
            continue;
        fetch->room[i] = malloc(table->row_bytes[i] + 1);
        if (!fetch->room[i])
            return amli_no_memory(error, table->row_bytes[i], "a sample");
    }
    for (int which = 0; which < AMLI_ORIGINS; which++) {
        const amli_reading *reading = table->reading[which];
        const amli_source_kind *kind = reading ? reading->kind : NULL;
        if (!kind || !kind->thread_new)
            continue;
        fetch->own[which] = kind->thread_new(reading);
        if (!fetch->own[which])
            return amli_no_memory(error, sizeof *fetch, kind->name);
    }
    return AML_OK;
}

void amli_fetch_free(amli_fetch *fetch)
{
    const amli_table *table = fetch->table;
    for (int i = 0; table && fetch->room && i < table->fields; i++)
        free(fetch->room[i]);
    for (int which = 0; which < AMLI_ORIGINS; which++)
        if (fetch->own[which])
            table->reading[which]->kind->thread_free(fetch->own[which]);
    free(fetch->room);
    free(fetch->to);
    *fetch = (amli_fetch){0};
}

// Decodes the fields of a row that are given on demand to fetch->to.
static aml_status decode(amli_fetch *fetch, int64_t unit, aml_error *error)
{
    const amli_table *table = fetch->table;
    int which = 0;
    int64_t row = unit;
    for (; which + 1 < AMLI_ORIGINS && row >= table->units[which]; which++)
        row -= table->units[which];
    const amli_reading *reading = table->reading[which];
    row = table->kept ? table->kept[unit] : row;
    amli_row result = reading->kind->at(reading, fetch->own[which], row, fetch->to, error);
    return result == AMLI_ROW_READ ? AML_OK : AML_BAD_DATA;
}

static void place(amli_fetch *fetch, char *const base[], int64_t unit)
{
    const amli_table *table = fetch->table;
    for (int i = 0; i < table->fields; i++)
        fetch->to[i] = table->on_demand[i] ? base[i] + (size_t)unit * table->unit_bytes[i] : NULL;
}

// Whether the row is in the cache, or was put there now.
static bool in_cache(amli_fetch *fetch, int64_t unit, aml_status *status, aml_error *error)
{
    const amli_table *table = fetch->table;
    uint8_t state = atomic_load_explicit(&table->cached[unit], memory_order_acquire);
    if (state == READY)
        return true;
    uint8_t expected = EMPTY;
    if (state == FILLING ||
        !atomic_compare_exchange_strong(&table->cached[unit], &expected, FILLING))
        return false;
    place(fetch, (char *const *)table->field, unit);
    double begin = amli_seconds();
    *status = decode(fetch, unit, error);
    atomic_fetch_add_explicit(table->decode_ns, (int64_t)(1e9 * (amli_seconds() - begin)),
                              memory_order_relaxed);
    atomic_store_explicit(&table->cached[unit], *status ? EMPTY : READY, memory_order_release);
    return !*status;
}

aml_status amli_fetch_sample(amli_fetch *fetch, int64_t row, const void *in[], aml_error *error)
{
    const amli_table *table = fetch->table;
    aml_status status = AML_OK;
    bool demands = false, is_cached = table->cached != NULL;
    for (int i = 0; i < table->fields; i++) {
        demands = demands || table->on_demand[i];
        in[i] = table->on_demand[i] ? fetch->room[i] : amli_table_at(table, i, row);
    }
    int64_t first = amli_table_unit(table, row);
    for (int64_t k = 0; demands && is_cached && k < table->window && !status; k++)
        is_cached = in_cache(fetch, first + k, &status, error);
    if (status || !demands)
        return status;
    if (is_cached) {
        for (int i = 0; i < table->fields; i++)
            if (table->on_demand[i])
                in[i] = amli_table_at(table, i, row);
        return AML_OK;
    }
    for (int64_t k = 0; k < table->window && !status; k++) {
        place(fetch, fetch->room, k);
        status = decode(fetch, first + k, error);
    }
    return status;
}
