// job_cell.c: how the cells of a column become numbers: column(...)'s settings, categories with
// their vocabulary, and what is said about the columns of a file that is there.
//
// The size of a vocabulary is a shape, so it is read when the program is compiled, from the
// training file that the source names by default; the program carries it.

#include "elab/job.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 1 << 16 };

// ---- the columns of the source's file

// NULL: the file is not there, or cannot be looked at.
static aml_columns *columns_of(Jobs *jobs, DataBlock *block, const aml_source *source,
                               aml_header header, const char **why)
{
    *why = NULL;
    const char *path = block->source.path;
    if (!path || !aml_columns_known(source->kind))
        return NULL;
    aml_source form = *source;
    form.header = header;
    aml_error *error = arena_alloc(jobs->arena, sizeof *error);
    aml_columns *columns = NULL;
    if (aml_columns_open(&form, path, &columns, error))
        *why = arena_text(jobs->arena, error->text, strlen(error->text));
    return columns;
}

// By which name a field finds its values; NULL: by position.
static const char *name_of(const aml_field *field)
{
    return field->key ? field->key : field->column;
}

static void note_names(Jobs *jobs, const DataBlock *block, const char *missing,
                       const aml_columns *columns)
{
    enum { MOST_SHOWN = 400 };
    int64_t count;
    const char *const *name = aml_columns_names(columns, &count);
    Buffer list = {.arena = jobs->arena};
    buffer_text(&list, "");
    for (int64_t i = 0; i < count && list.length < MOST_SHOWN; i++)
        buffer_printf(&list, "%s%s", i ? ", " : "", name[i]);
    note(jobs->cx, block->source.span, "%s has the columns %s%s", block->source.named, list.text,
         list.length < MOST_SHOWN ? "" : ", ...");
    const char *near = closest_name(missing, (const char **)(uintptr_t)name, (int)count);
    if (near)
        help(jobs->cx, "did you mean \"%s\"?", near);
}

static int64_t column_named(const char *wanted, const char *const name[], int64_t names)
{
    for (int64_t i = 0; wanted && name && i < names; i++)
        if (strcmp(name[i], wanted) == 0)
            return i;
    return -1;
}

// The column that a field reads first; -1: it has a name, and the names are not known.
static int64_t first_column(const aml_field *field, const char *const name[], int64_t names)
{
    return field->column ? column_named(field->column, name, names) : field->first;
}

static bool only_presence(const aml_field *field)
{
    return field->rule && field->rule->kind == AML_CELL_PRESENT;
}

// `name` of the file's columns, NULL if they are not known.
static void warn_overlap(Jobs *jobs, const DataBlock *block, const aml_dataset *table,
                         const char *const name[], int64_t names)
{
    for (int i = 0; i < table->fields; i++)
        for (int j = 0; j < i; j++) {
            const aml_field *a = &table->field[j], *b = &table->field[i];
            int64_t a_first = first_column(a, name, names), a_end = a_first + a->count;
            int64_t b_first = first_column(b, name, names), b_end = b_first + b->count;
            bool same = a_first >= 0 && b_first >= 0 && a_first < b_end && b_first < a_end;
            bool ranges = a->count > 1 || b->count > 1;
            if (!same || !ranges || only_presence(a) || only_presence(b))
                continue; // one column may well be read as two things
            report(jobs->cx, block->place.at[i], columns_overlap, a->tensor.name, b->tensor.name,
                   (int)(a_first > b_first ? a_first : b_first),
                   (int)(a_end < b_end ? a_end : b_end) - 1);
            note(jobs->cx, block->place.at[j], "'%s' reads them here", a->tensor.name);
            const aml_field *named = a->column ? a : b;
            if (named->column)
                note(jobs->cx, block->source.span, "\"%s\" is column %lld of %s", named->column,
                     (long long)first_column(named, name, names), block->source.named);
            return;
        }
}

// Says which of the fields' columns are not in the file, and which two fields read.
void check_columns(Jobs *jobs, DataBlock *block, const aml_dataset *table)
{
    bool by_name = false;
    for (int i = 0; i < table->fields; i++)
        by_name = by_name || name_of(&table->field[i]);
    aml_header stated = table->source.header, header = stated != AML_HEADER_AUTO ? stated
                                                       : by_name                 ? AML_HEADER_YES
                                                                                 : AML_HEADER_NO;
    const char *why;
    aml_columns *columns = columns_of(jobs, block, &table->source, header, &why);
    bool is_csv = table->source.kind == AML_SOURCE_CSV;
    if (!columns) { // the program says what is wrong with the file
        if (is_csv)
            warn_overlap(jobs, block, table, NULL, 0);
        return;
    }
    int64_t count, width = aml_columns_count(columns);
    const char *const *name = aml_columns_names(columns, &count);
    if (is_csv)
        warn_overlap(jobs, block, table, name, name ? count : 0);
    for (int i = 0; i < table->fields; i++) {
        const aml_field *field = &table->field[i];
        int64_t first = column_named(field->column, name, count),
                last = column_named(field->last_column, name, count);
        bool first_found = !field->column || !name || first >= 0,
             last_found = !field->last_column || !name || last >= 0;
        if (!first_found && width < 0) // rows need not have the same keys
            continue;
        if (!first_found || !last_found) {
            const char *missing = first_found ? field->last_column : field->column;
            report(jobs->cx, block->place.at[i], column_unknown, block->source.named, missing);
            note_names(jobs, block, missing, columns);
        } else if (name && field->last_column && last - first + 1 != field->count) {
            report(jobs->cx, block->place.at[i], columns_between, field->tensor.name, field->count,
                   block->source.named, (long long)(last < first ? 0 : last - first + 1),
                   field->column, field->last_column);
        } else if (!name_of(field) && width >= 0 && field->first + field->count > width) {
            report(jobs->cx, block->place.at[i], column_range, field->tensor.name, field->first,
                   field->first + field->count - 1, block->source.named, (long long)width - 1);
        }
    }
    aml_columns_close(columns);
}

// ---- the settings of a column

typedef struct Cells {
    Jobs *jobs;
    Node *field;
    Value place; // what column(...) made
    const aml_dataset *table;
    DataBlock *block;
    aml_field *out;
    aml_cell_rule *rule;
} Cells;

static Value item(const Cells *cells, const char *name)
{
    return record_item(cells->jobs, cells->place, name);
}

static Span span_of(const Cells *cells)
{
    const Node *node = cells->field->as.data.value;
    return node ? node->span : cells->field->span;
}

static bool misfit(const Cells *cells, const char *setting, const char *expected, Value found)
{
    report(cells->jobs->cx, span_of(cells), cell_setting, setting, cells->field->as.data.name,
           expected, value_show(cells->jobs->e, found));
    return false;
}

// A list of texts, or one text. Numbers are taken as they are written in a file.
static bool read_texts(const Cells *cells, const char *name, Value value, const char *const **out,
                       int64_t *count)
{
    const Value *at = value_is(value, VALUE_LIST) ? value.as.list.at : &value;
    *count = value_is(value, VALUE_NONE)   ? 0
             : value_is(value, VALUE_LIST) ? value.as.list.count
                                           : 1;
    const char **text = NEW_ARRAY(cells->jobs->arena, const char *, *count + 1);
    for (int64_t i = 0; i < *count; i++) {
        text[i] = value_is(at[i], VALUE_INT) ? value_show(cells->jobs->e, at[i])
                                             : value_plain_text(at[i]);
        if (!text[i])
            return misfit(cells, name, "a text or a list of texts", value);
    }
    *out = text;
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Names the classes: in their order, with the order by bytes for the lookup.
static bool name_classes(const Cells *cells, const char *const text[], int64_t count)
{
    Arena *arena = cells->jobs->arena;
    int64_t classes = count + cells->rule->unknown;
    const char **name = NEW_ARRAY(arena, const char *, classes),
               **sorted = NEW_ARRAY(arena, const char *, count);
    int32_t *order = NEW_ARRAY(arena, int32_t, count);
    for (int64_t i = 0; i < count; i++)
        name[i] = sorted[i] = arena_text(arena, text[i], strlen(text[i]));
    if (cells->rule->unknown)
        name[count] = "unknown";
    qsort(sorted, (size_t)count, sizeof *sorted, by_bytes);
    for (int64_t i = 0; i + 1 < count; i++)
        if (strcmp(sorted[i], sorted[i + 1]) == 0) {
            report(cells->jobs->cx, span_of(cells), cell_setting, "values",
                   cells->field->as.data.name, "different texts",
                   arena_printf(arena, "\"%s\" twice", sorted[i]));
            return false;
        }
    for (int64_t i = 0; i < count; i++) // the names are found again by their addresses
        for (int64_t low = 0, high = count; low < high;) {
            int64_t middle = (low + high) / 2;
            int way = strcmp(name[i], sorted[middle]);
            if (way == 0) {
                order[middle] = (int32_t)i;
                break;
            }
            low = way > 0 ? middle + 1 : low;
            high = way > 0 ? high : middle;
        }
    cells->rule->order = order;
    cells->out->tensor.class_name = name;
    cells->out->tensor.classes = classes;
    return true;
}

// Classes for those of a file that is not here: as many as the field says, or 7.
static bool made_up_classes(const Cells *cells)
{
    Jobs *jobs = cells->jobs;
    const Node *stated = cells->field->as.data.type;
    const char *source = cells->block->source.named;
    TypeValue type = {0};
    int64_t count = 7;
    if (stated->kind == NODE_Type && strcmp(stated->as.type.name, "class") == 0) {
        if (!elab_type(jobs->e, env_new(jobs->e, NULL, cells->field->span.file),
                       (Node *)(uintptr_t)stated, &type))
            return false;
        count = type.classes - cells->rule->unknown;
    }
    const char **name = NEW_ARRAY(jobs->arena, const char *, count > 0 ? count : 1);
    for (int64_t i = 0; i < count; i++)
        name[i] = arena_printf(jobs->arena, "value %lld", (long long)i);
    report(jobs->cx, span_of(cells), stands_in,
           arena_printf(jobs->arena, "\"%s\"", source ? source : "the source"),
           arena_printf(jobs->arena, "%lld classes", (long long)count));
    return name_classes(cells, name, count);
}

// The vocabulary of the training file. A `fill` that is not in it is one more class.
static bool read_vocabulary(const Cells *cells)
{
    Jobs *jobs = cells->jobs;
    const char *field = cells->field->as.data.name, *why;
    bool named = name_of(cells->out) != NULL;
    aml_header stated = cells->table->source.header, header = stated != AML_HEADER_AUTO ? stated
                                                              : named || cells->block->by_name
                                                                  ? AML_HEADER_YES
                                                                  : AML_HEADER_NO;
    if (!cells->block->source.path && jobs->cx->without_data)
        return made_up_classes(cells);
    if (!cells->block->source.path) {
        report(jobs->cx, span_of(cells), vocabulary_missing, field,
               cells->block->source.named ? cells->block->source.named : "the source");
        help(jobs->cx, "values: [\"...\", \"...\"] names the classes without the file");
        return false;
    }
    aml_columns *columns = columns_of(jobs, cells->block, &cells->table->source, header, &why);
    aml_error *error = arena_alloc(jobs->arena, sizeof *error);
    const char *const *text = NULL, *const * names;
    int64_t count = 0, width = 0;
    bool unknown_column = false;
    if (columns && named && (names = aml_columns_names(columns, &width)) &&
        (aml_columns_count(columns) >= 0 || !cells->rule->fill)) {
        unknown_column = true;
        for (int64_t i = 0; i < width; i++)
            unknown_column = unknown_column && strcmp(names[i], name_of(cells->out)) != 0;
    }
    if (unknown_column) {
        report(jobs->cx, span_of(cells), column_unknown, cells->block->source.named,
               name_of(cells->out));
        note_names(jobs, cells->block, name_of(cells->out), columns);
    } else if (columns &&
               aml_columns_texts(columns, cells->out, MOST_NAMES, &text, &count, error)) {
        why = error->text;
    }
    bool good = text && !unknown_column;
    if (good && cells->rule->fill) {
        bool known = false;
        for (int64_t i = 0; i < count; i++)
            known = known || strcmp(text[i], cells->rule->fill) == 0;
        const char **more = NEW_ARRAY(jobs->arena, const char *, count + 1);
        memcpy(more, text, sizeof *more * (size_t)count);
        more[count] = cells->rule->fill;
        good = name_classes(cells, more, known ? count : count + 1);
    } else if (good) {
        good = name_classes(cells, text, count);
    } else if (!unknown_column) {
        report(jobs->cx, span_of(cells), vocabulary_unfit, field, why ? why : "");
    }
    aml_columns_close(columns);
    return good;
}

static bool read_category(const Cells *cells)
{
    Value values = item(cells, "values");
    const char *const *text;
    int64_t count;
    Sym unknown = value_word(item(cells, "unknown"));
    cells->rule->kind = AML_CELL_CATEGORY;
    cells->rule->unknown = unknown && strcmp(unknown, "own_class") == 0;
    if (value_is(values, VALUE_NONE))
        return read_vocabulary(cells);
    if (!read_texts(cells, "values", values, &text, &count))
        return false;
    if (count == 0 || count > MOST_NAMES)
        return misfit(cells, "values", "1 to 65536 texts", values);
    const char *fill = cells->rule->fill;
    bool known = !fill;
    for (int64_t i = 0; i < count; i++)
        known = known || strcmp(text[i], fill) == 0;
    if (!known)
        return misfit(cells, "fill", "one of its values", item(cells, "fill"));
    return name_classes(cells, text, count);
}

static bool read_fill(const Cells *cells, CellType type)
{
    Value fill = item(cells, "fill");
    Jobs *jobs = cells->jobs;
    if (value_is(fill, VALUE_NONE))
        return true;
    Sym word = value_word(fill);
    if (type == CELL_NUMBER && fill.kind == VALUE_SYMBOL && word && strcmp(word, "nan") == 0)
        cells->rule->fill = "nan";
    else if (type == CELL_NUMBER && value_is(fill, VALUE_BOOL))
        cells->rule->fill = fill.as.whole ? "1" : "0";
    else if (type == CELL_NUMBER && value_is(fill, VALUE_INT))
        cells->rule->fill = arena_printf(jobs->arena, "%lld", (long long)fill.as.whole);
    else if (type == CELL_NUMBER && value_is_number(fill))
        cells->rule->fill = arena_printf(jobs->arena, "%.17g", value_number(fill));
    else if (type != CELL_NUMBER && value_plain_text(fill))
        cells->rule->fill = value_plain_text(fill);
    else
        return misfit(cells, "fill",
                      type == CELL_NUMBER ? "a number, or nan"
                      : type == CELL_DATE ? "the text of a date"
                                          : "a text",
                      fill);
    return true;
}

// What is written and means nothing for the field.
static bool refuse_others(const Cells *cells, CellType type)
{
    static const struct {
        const char *name;
        CellType with;
    } only[] = {{"values", CELL_CATEGORY}, {"ending", CELL_CATEGORY}, {"format", CELL_DATE}};
    for (size_t i = 0; i < COUNT_OF(only); i++)
        if (only[i].with != type && !value_is(item(cells, only[i].name), VALUE_NONE))
            return misfit(cells, only[i].name,
                          only[i].with == CELL_DATE ? "nothing: the field is no date"
                                                    : "nothing: the field is no category",
                          item(cells, only[i].name));
    Sym unknown = value_word(item(cells, "unknown"));
    if (type != CELL_CATEGORY && unknown && strcmp(unknown, "error") != 0)
        return misfit(cells, "unknown", "nothing: the field is no category",
                      item(cells, "unknown"));
    return true;
}

static bool read_format(const Cells *cells)
{
    Value format = item(cells, "format");
    cells->rule->kind = AML_CELL_TIME;
    if (value_is(format, VALUE_NONE))
        return true;
    cells->rule->format = value_plain_text(format);
    if (!cells->rule->format || !aml_time_format(cells->rule->format))
        return misfit(cells, "format",
                      "a text with %Y or %y and others of %m %b %B %d %a %A %H %I %M %S %f %p %z",
                      format);
    return true;
}

CellType cell_type(Jobs *jobs, const Node *field, Value place)
{
    const Node *type = field->as.data.type;
    const char *name = type->kind == NODE_Type ? type->as.type.name : "";
    Value present = record_item(jobs, place, "present");
    return value_is(present, VALUE_BOOL) && present.as.whole ? CELL_PRESENT
           : strcmp(name, "category") == 0                   ? CELL_CATEGORY
           : strcmp(name, "date") == 0                       ? CELL_DATE
           : strcmp(name, "class") == 0 && !value_is(record_item(jobs, place, "values"), VALUE_NONE)
               ? CELL_CATEGORY
               : CELL_NUMBER;
}

bool read_cells(Jobs *jobs, Node *field, Value place, CellType type, const aml_dataset *table,
                DataBlock *block, aml_field *out)
{
    aml_cell_rule rule = {.kind = AML_CELL_NUMBER, .read = amli_read_by_rule};
    Cells cells = {jobs, field, place, table, block, out, &rule};
    Value missing = item(&cells, "missing");
    const char *const *text;
    int64_t count;
    if (value_is(missing, VALUE_NONE))
        missing = block->source.missing;
    if (!read_texts(&cells, "missing", missing, &text, &count))
        return false;
    rule.missing = text; // the empty text is missing anyway
    for (int64_t i = 0; i < count; i++)
        if (*text[i])
            ((const char **)(uintptr_t)text)[rule.missings++] = text[i];
    if (!refuse_others(&cells, type) || !read_fill(&cells, type))
        return false;
    if (!value_is(item(&cells, "ending"), VALUE_NONE)) {
        rule.ending = value_plain_text(item(&cells, "ending"));
        if (!rule.ending)
            return misfit(&cells, "ending", "a text", item(&cells, "ending"));
    }
    out->tensor.name = field->as.data.name;
    aml_cell_rule *kept = NEW(jobs->arena, aml_cell_rule);
    cells.rule = kept;
    *kept = rule;
    out->rule = kept;
    bool good = true;
    switch (type) {
    case CELL_CATEGORY:
        good = read_category(&cells);
        break;
    case CELL_DATE:
        good = read_format(&cells);
        break;
    case CELL_PRESENT:
        kept->kind = AML_CELL_PRESENT;
        break;
    case CELL_NUMBER:
        if (rule.missings == 0 && !rule.fill)
            out->rule = NULL;
        break;
    }
    return good;
}

// The type that the field's stands for: class(k) for a category, i64 for a date.
Node *cell_type_node(Jobs *jobs, const Node *type, CellType kind, int64_t classes)
{
    bool named = type->kind == NODE_Type;
    bool category = named && strcmp(type->as.type.name, "category") == 0;
    if (!named || (!category && kind != CELL_DATE))
        return (Node *)(uintptr_t)type;
    Node *plain = node_new(jobs->cx, NODE_Type, type->span);
    plain->as.type = type->as.type;
    plain->as.type.name = job_word(jobs, category ? "class" : "i64");
    if (category) {
        Node *size = node_new(jobs->cx, NODE_Integer, type->span);
        size->as.integer.value = classes;
        plain->as.type.args = (NodeList){0};
        vec_push(jobs->arena, &plain->as.type.args, size);
    }
    return plain;
}

int64_t field_classes(Jobs *jobs, Node *dataset, Sym field)
{
    const DataBlock *block = data_block(jobs, dataset);
    for (int i = 0; block && i < block->field.count; i++)
        if (block->field.at[i].name == field)
            return block->field.at[i].classes;
    return 0;
}
