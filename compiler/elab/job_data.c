// job_data.c: `dataset` blocks: the source, the fields with their columns, the split, and the
// functions that prepare a sample.

#include "elab/job.h"

#include "elab/fit.h"
#include "elab/internal.h"

#include <string.h>

DataBlock *data_block(Jobs *jobs, const Node *node)
{
    for (int i = 0; i < jobs->data.count; i++)
        if (jobs->data.at[i]->node == node)
            return jobs->data.at[i];
    return NULL;
}

// How many columns a field needs by its type. A window of w rows is [w] of one column, [w, k] of k.
static int64_t columns_needed(const TypeValue *type, int64_t window)
{
    int64_t width = 1;
    for (int i = window > 0 && type->rank > 0 && type->dim[0] == window; i < type->rank; i++)
        width *= type->dim[i];
    return width;
}

// columns("a", to: "d"): as many as the field needs; that they are so many in the file is found out
// where its header is read.
static bool read_named_range(Jobs *jobs, const Node *field, Value value, int64_t window,
                             aml_field *out)
{
    Value range = record_item(jobs, value, "range"), to = record_item(jobs, value, "to");
    TypeValue type;
    Env *env = env_new(jobs->e, NULL, field->span.file);
    if (!elab_type(jobs->e, env, cell_type_node(jobs, field->as.data.type, CELL_NUMBER, 1), &type))
        return false;
    out->column = value_plain_text(range);
    out->last_column = value_plain_text(to);
    out->count = (int32_t)columns_needed(&type, window);
    if (out->last_column)
        return true;
    report(jobs->cx, field->as.data.value->span, columns_end, field->as.data.name, out->column);
    help(jobs->cx, "write columns(\"%s\", to: \"...\"), or column(\"%s\") for one", out->column,
         out->column);
    return false;
}

// Where a field comes from in a csv file: column(...) or columns(...).
static bool read_columns(Jobs *jobs, const Node *field, Value value, int64_t window, aml_field *out)
{
    const Node *node = field->as.data.value;
    Sym kind = value_word(record_item(jobs, value, "columns"));
    Value name = record_item(jobs, value, "name"), range = record_item(jobs, value, "range");
    bool positions = value_is(range, VALUE_RANGE);
    int64_t first = positions ? range.as.range.start : -1,
            last = positions ? range.as.range.stop : -1;
    enum { MOST_COLUMNS = 1 << 24 };
    if (kind && strcmp(kind, "one") == 0 && value_plain_text(name)) {
        out->column = value_plain_text(name);
        out->count = 1;
    } else if (kind && strcmp(kind, "one") == 0 && value_is(name, VALUE_INT) &&
               name.as.whole >= 0 && name.as.whole < MOST_COLUMNS) {
        out->first = (int32_t)name.as.whole;
        out->count = 1;
    } else if (kind && strcmp(kind, "range") == 0 && first >= 0 && last >= first &&
               last < MOST_COLUMNS) {
        out->first = (int32_t)first;
        out->count = (int32_t)(last - first + 1);
    } else if (kind && strcmp(kind, "range") == 0 && value_plain_text(range)) {
        return read_named_range(jobs, field, value, window, out);
    } else if (kind && strcmp(kind, "one") == 0 && value_is(name, VALUE_INT)) {
        report(jobs->cx, node->span, setting_range, "column", "a position from 0 or a name",
               value_show(jobs->e, name));
        return false;
    } else {
        report(jobs->cx, node->span, field_source, field->as.data.name,
               source_expected(AML_SOURCE_CSV), value_show(jobs->e, value));
        return false;
    }
    return true;
}

static bool field_width(Jobs *jobs, const Node *field, const TypeValue *type, int64_t window,
                        int64_t *width)
{
    *width = columns_needed(type, window);
    if (window == 0 || (type->rank > 0 && type->dim[0] == window))
        return true;
    report(jobs->cx, field->as.data.type->span, field_window, field->as.data.name,
           span_text(jobs, field->as.data.type->span), (long long)window);
    help(jobs->cx, "its first size is the window: [%lld], or [%lld, k] of k columns",
         (long long)window, (long long)window);
    return false;
}

// The key of a field in an object, or the array in an archive: of the field's own name if nothing
// is said.
static bool read_key(Jobs *jobs, const Node *field, Value value, aml_source_kind kind,
                     aml_field *out)
{
    const Node *node = field->as.data.value;
    Value name = record_item(jobs, value, "name");
    out->key = node ? value_plain_text(name) : field->as.data.name;
    if (out->key && *out->key)
        return true;
    if (!value_is(value, VALUE_POISON))
        report(jobs->cx, node->span, field_source, field->as.data.name, source_expected(kind),
               value_show(jobs->e, value));
    return false;
}

// Which part of the source a field reads.
static bool read_place(Jobs *jobs, Node *field, const TypeValue *type, const DataBlock *block,
                       Value value, const aml_source *source, aml_field *out)
{
    aml_source_kind kind = source->kind;
    Node *node = field->as.data.value;
    Sym word = node && node->kind == NODE_Name ? node->as.name.name : NULL;
    int64_t needed;
    if (!field_width(jobs, field, type, block->source.window, &needed))
        return false;
    if (kind == AML_SOURCE_JSONL || kind == AML_SOURCE_NPZ) {
        out->first = block->columns;
        out->count = (int32_t)needed;
        return read_key(jobs, field, value, kind, out);
    }
    if (source->files) {
        out->first = block->columns;
        out->count = (int32_t)needed;
        return files_place(jobs, field, type, source, env_new(jobs->e, NULL, field->span.file),
                           &out->part);
    }
    if (kind != AML_SOURCE_CSV) {
        int part = source_part(kind, node ? word : field->as.data.name);
        bool by_name = kind == AML_SOURCE_SYNTHETIC;
        out->first = block->columns;
        out->count = (int32_t)needed;
        out->part = by_name ? 0 : part;
        if (by_name ? !node : part >= 0)
            return true;
        report(jobs->cx, node ? node->span : field->span, field_source, field->as.data.name,
               source_expected(kind), node ? span_text(jobs, node->span) : "nothing");
        return false;
    }
    if (!node) { // the column of the field's own name
        out->column = field->as.data.name;
        out->count = 1;
    } else if (value_is(value, VALUE_POISON) ||
               !read_columns(jobs, field, value, block->source.window, out)) {
        return false;
    }
    if (out->count == needed)
        return true;
    report(jobs->cx, node ? node->span : field->span, field_columns, field->as.data.name,
           span_text(jobs, field->as.data.type->span), (long long)needed, (long long)out->count);
    note(jobs->cx, field->as.data.type->span, "this is what the field should be");
    return false;
}

static bool has_texts(aml_source_kind kind)
{
    return kind == AML_SOURCE_CSV || kind == AML_SOURCE_TEXTS || kind == AML_SOURCE_JSONL ||
           kind == AML_SOURCE_SHARDS;
}

// Where the text of a field is: a column, a key, or the file itself.
static bool text_place(Jobs *jobs, const Node *field, Value place, const DataSource *source,
                       aml_source_kind kind, aml_field *out)
{
    return kind == AML_SOURCE_TEXTS || kind == AML_SOURCE_SHARDS ? true
           : kind == AML_SOURCE_JSONL ? read_key(jobs, field, place, kind, out)
                                      : read_columns(jobs, field, place, source->window, out);
}

static bool read_field(Jobs *jobs, Node *field, Value place, const aml_dataset *table,
                       DataBlock *block, aml_field *out, Column *column)
{
    Env *env = env_new(jobs->e, NULL, field->span.file);
    TypeValue type;
    const aml_tokenizer *tokenizer = table->source.tokenizer;
    bool has_images = image_source(table->source.kind);
    if (value_is(place, VALUE_POISON)) // its mistake was told; what it would have named is missing
        return false;
    if (has_images && !image_names(jobs, env, field, table))
        return false;
    if (tokenizer)
        env_bind(jobs->e, env, job_word(jobs, "vocab"), value_int(tokenizer->vocab));
    if (has_texts(table->source.kind) && is_text_place(jobs, place)) {
        bool counts = !value_is(record_item(jobs, place, "counted"), VALUE_NONE);
        bool in_file = table->source.kind == AML_SOURCE_TEXTS;
        out->first = block->columns;
        out->part = in_file && counts; // the content, and its length
        if ((!counts && !text_place(jobs, field, place, &block->source, table->source.kind, out)) ||
            !read_text_field(jobs, field, place, table->field, table->fields, block->source.window,
                             out, column))
            return false;
        block->columns += out->count;
        return true;
    }
    CellType cells = CELL_NUMBER;
    Node *stated = field->as.data.type;
    bool is_csv = table->source.kind == AML_SOURCE_CSV;
    if ((is_csv || table->source.kind == AML_SOURCE_JSONL) && !value_is(place, VALUE_POISON)) {
        cells = cell_type(jobs, field, place);
        if (is_csv && field->as.data.value &&
            !read_columns(jobs, field, place, block->source.window, out))
            return false;
        if (!is_csv && !read_key(jobs, field, place, AML_SOURCE_JSONL, out))
            return false;
        if (is_csv && !field->as.data.value) // the column of the field's own name
            out->column = field->as.data.name, out->count = 1;
        out->count = is_csv ? out->count : 1;
        if (!read_cells(jobs, field, place, cells, table, block, out))
            return false;
        stated = cell_type_node(jobs, stated, cells, out->tensor.classes);
    }
    const aml_tensor_info named = out->tensor; // its classes
    if (!elab_type(jobs->e, env, stated, &type))
        return false;
    if (tokenizer && !text_field(jobs, field, &type, block->source.window, tokenizer))
        return false;
    if (type.dtype >= DTYPE_COUNT || (!type.castable && type.classes == 0)) {
        report(jobs->cx, field->as.data.type->span, field_type, field->as.data.name,
               arena_printf(jobs->arena, "%s data", source_name(table->source.kind)),
               span_text(jobs, field->as.data.type->span));
        return false;
    }
    column->name = field->as.data.name;
    column->type = type_make(type.dtype, type.rank, type.dim);
    column->classes = type.classes;
    column->class_name = named.class_name;
    if (cells == CELL_CATEGORY && type.classes != named.classes) {
        report(jobs->cx, field->as.data.type->span, class_names, field->as.data.name,
               (long long)type.classes, (long long)named.classes);
        return false;
    }
    if (cells == CELL_PRESENT && type.dtype != DTYPE_BOOL) {
        report(jobs->cx, field->as.data.type->span, field_type, field->as.data.name,
               "what says whether there is a value (bool)", span_text(jobs, stated->span));
        return false;
    }
    out->tensor = tensor_info(jobs, column->type, column->classes, column->name);
    out->tensor.class_name = named.class_name;
    out->place = job_place(jobs, field->span);
    if (!read_place(jobs, field, &type, block, place, &table->source, out))
        return false;
    if (has_images && !image_field(jobs, field, &type, &table->source, out->part))
        return false;
    if (has_images && type.classes > 0)
        column->class_name = out->tensor.class_name = table->source.class_name;
    block->columns += out->count;
    return true;
}

// Windows overlap: dealt at random, the parts would share rows.
static bool read_order(Jobs *jobs, Node *node, const DataBlock *block, bool *by_time)
{
    Setting setting = setting_item(jobs, node, "split", "by");
    Sym word = value_word(setting_eval(jobs, &setting, "split.by"));
    bool windows = block->source.window > 0;
    *by_time = word ? strcmp(word, "time") == 0 : windows;
    if (!word || *by_time || !windows || block->source.stride >= block->source.window)
        return true;
    report(jobs->cx, setting.span, split_overlaps, (long long)block->source.window,
           (long long)block->source.stride);
    help(jobs->cx, "write `by: time`, or a `stride` of at least the window");
    return false;
}

// The field that an item of the split names. -1 after a report.
static int split_field(Jobs *jobs, const Setting *setting, Value value, const DataBlock *block)
{
    const char *candidates[64];
    int count = 0;
    Sym word = value_word(value);
    for (int i = 0; i < block->field.count; i++) {
        if (word && block->field.at[i].name == word)
            return i;
        if (count < 64)
            candidates[count++] = block->field.at[i].name;
    }
    report(jobs->cx, setting->span, not_in_block, word ? word : value_show(jobs->e, value),
           "field");
    const char *near = word ? closest_name(word, candidates, count) : NULL;
    if (near)
        help(jobs->cx, "did you mean `%s`?", near);
    return -1;
}

// `group: patient`: rows with the same value are in the same part.
static bool read_group(Jobs *jobs, Node *node, const DataBlock *block, bool by_time,
                       aml_split *split)
{
    Setting group = setting_item(jobs, node, "split", "group");
    Value value = setting_eval(jobs, &group, "split.group");
    if (value_is(value, VALUE_NONE))
        return true;
    int index = split_field(jobs, &group, value, block);
    if (index < 0)
        return false;
    const Column *column = &block->field.at[index];
    if (by_time || block->source.window > 0) {
        report(jobs->cx, group.span, split_by_time, "group");
        return false;
    }
    bool whole = dtype_info[column->type.dtype].kind == KIND_INT ||
                 dtype_info[column->type.dtype].kind == KIND_BOOL;
    if (!whole || column->type.rank != 0) {
        report(jobs->cx, group.span, setting_range, "split.group",
               "a field that is one whole number or one class",
               arena_printf(jobs->arena, "'%s', which is %s", column->name,
                            type_text(jobs->arena, column->type)));
        return false;
    }
    split->group = column->name;
    return true;
}

static bool read_split(Jobs *jobs, Node *node, ProgramDataset *data, DataBlock *block)
{
    static const char *const part[] = {NULL, "train", "valid", "test"};
    double sum = 0;
    bool good = true;
    block->part[0] = 1;
    for (int i = 1; i < 4; i++) {
        Setting setting = setting_item(jobs, node, "split", part[i]);
        const char *name = sym_printf(jobs->cx, "split.%s", part[i]);
        good &= setting_number(jobs, &setting, name, &block->part[i]);
        if (good && (block->part[i] < 0 || block->part[i] > 1)) {
            report(jobs->cx, setting.span, setting_range, name, "0% to 100%",
                   arena_printf(jobs->arena, "%g%%", block->part[i] * 100));
            good = false;
        }
        sum += block->part[i];
    }
    if (good && sum > 1 + 1e-9) {
        Setting whole = setting_of(jobs, node, "split");
        report(jobs->cx, whole.span, split_too_large, sum * 100);
        good = false;
    }
    Setting seed = setting_item(jobs, node, "split", "seed");
    Value seed_value = setting_eval(jobs, &seed, "split.seed");
    bool by_time = false;
    good &= read_order(jobs, node, block, &by_time);
    Setting stratify = setting_item(jobs, node, "split", "stratify");
    Value stratify_value = setting_eval(jobs, &stratify, "split.stratify");
    aml_split *split = &data->table.split;
    *split = (aml_split){.train = block->part[1],
                         .valid = block->part[2],
                         .test = block->part[3],
                         .stratify = -1,
                         .by_time = by_time};
    if (value_is(seed_value, VALUE_INT))
        split->seed = seed_value.as.whole;
    else if (!value_is(seed_value, VALUE_NONE)) {
        setting_wrong(jobs, &seed, "split.seed", "a whole number", seed_value);
        good = false;
    }
    good &= read_group(jobs, node, block, by_time, split);
    if (value_is(stratify_value, VALUE_NONE))
        return good;
    split->stratify = split_field(jobs, &stratify, stratify_value, block);
    if (split->stratify < 0)
        return false;
    if (by_time) {
        report(jobs->cx, stratify.span, split_by_time, "stratify");
        return false;
    }
    const Column *column = &block->field.at[split->stratify];
    if (column->classes == 0 || column->type.rank != 0) {
        report(jobs->cx, stratify.span, setting_range, "split.stratify",
               "a field that is one class",
               arena_printf(jobs->arena, "'%s', which is %s", column->name,
                            type_text(jobs->arena, column->type)));
        return false;
    }
    return good;
}

static bool read_on_bad(Jobs *jobs, Node *node, aml_dataset *table)
{
    Setting setting = setting_of(jobs, node, "on_bad");
    Value value = setting_eval(jobs, &setting, "on_bad");
    Sym kind = value_word(record_item(jobs, value, "on_bad"));
    if (kind && strcmp(kind, "error") == 0)
        return true;
    if (!kind || strcmp(kind, "skip") != 0) {
        setting_wrong(jobs, &setting, "on_bad", NULL, value);
        return false;
    }
    Value limit = record_item(jobs, value, "limit");
    if (table->window > 0) {
        report(jobs->cx, setting.span, setting_range, "on_bad",
               "error_row() for windows of rows, which need every row", "skip(...)");
        return false;
    }
    table->on_bad = AML_ON_BAD_SKIP;
    table->skip_limit = value_is(limit, VALUE_QUANTITY) ? limit.as.quantity.value
                        : value_is_number(limit)        ? value_number(limit)
                                                        : 0;
    return true;
}

// The record a sample function returned as outputs of its entry.
static bool sample_outputs(Jobs *jobs, Tracing *tracing, const char *name, Span span, Value sample,
                           const ColumnList *in, Value result, ColumnList *out)
{
    if (value_is(result, VALUE_POISON))
        return false;
    if (!value_is(result, VALUE_RECORD) || result.as.record->count == 0) {
        report(jobs->cx, span, prepare_result, name, value_what(jobs->e, result));
        return false;
    }
    for (int i = 0; i < result.as.record->count; i++) {
        Value item = result.as.record->at[i];
        if (value_is(item, VALUE_POISON))
            return false;
        Inst *inst = elab_tensor(jobs->e, item, jobs->e->real, span);
        if (!inst)
            return false;
        int64_t classes = value_is(item, VALUE_TENSOR) ? item.as.tensor.classes : 0;
        Column column = {result.as.record->name[i], inst->type, classes, NULL};
        for (int f = 0; f < in->count; f++) // a field as it is keeps the names of its classes
            if (sample.as.record->at[f].kind == VALUE_TENSOR &&
                sample.as.record->at[f].as.tensor.inst == inst)
                column.class_name = in->at[f].class_name;
        int output = entry_output(tracing, inst, classes, column.name);
        tracing->entry->output.at[output].class_name = column.class_name;
        vec_push(jobs->arena, out, column);
    }
    return true;
}

static bool sample_function(Jobs *jobs, Node *node, Node *fn, const char *name, Entry *entry,
                            const ColumnList *in, ColumnList *out)
{
    Span span = fn ? fn->span : node->as.job.name_span;
    Tracing tracing = entry_begin(jobs, entry, node->as.job.name, name, span);
    tracing.trace->per_sample = true;
    if (jobs->e->fitting)
        jobs->e->fitting->trace = tracing.trace;
    Value sample = batch_inputs(&tracing, in, 0, span);
    Value result = sample;
    if (fn)
        result =
            elab_call(jobs->e, value_function(jobs->e, fn, env_new(jobs->e, NULL, node->span.file)),
                      &sample, NULL, 1, fn->as.fn.name_span);
    if (!sample_outputs(jobs, &tracing, fn ? name : node->as.job.name, span, sample, in, result,
                        out)) {
        entry_drop(&tracing);
        return false;
    }
    if (jobs->e->fitting)
        fit_results(jobs, jobs->e->fitting, in->count, entry);
    return entry_end(&tracing);
}

static bool check_prepared(Jobs *jobs, Node *fn, const DataBlock *block)
{
    Buffer names = {.arena = jobs->arena};
    buffer_text(&names, "");
    for (int i = 0; i < block->prepared.count; i++) {
        if (strcmp(block->prepared.at[i].name, "x") == 0)
            return true;
        buffer_printf(&names, "%s'%s'", i ? ", " : "", block->prepared.at[i].name);
    }
    report(jobs->cx, fn ? fn->span : block->node->as.job.name_span, prepare_no_input,
           fn ? fn->as.fn.name : "the data set", names.text);
    return false;
}

// What prepare makes of a sample is computed once, and again in the deployed program: nothing of a
// run may go in. The rows of a synthetic source may be random: with its own seed, by their number.
static bool check_constant(Jobs *jobs, Span span, const char *name, const Entry *entry)
{
    bool is_source = strcmp(name, "prepare") != 0;
    for (int i = 0; i < entry->scalar.count; i++) {
        const aml_scalar_info *scalar = &entry->scalar.at[i];
        if (is_source && (scalar->kind == AML_SCALAR_SEED || scalar->kind == AML_SCALAR_SAMPLE))
            continue;
        const char *what = is_source ? "the step" : "the step or a random number";
        if (scalar->kind == AML_SCALAR_OPTION)
            what = arena_printf(jobs->arena, "the option '%s'",
                                jobs->e->option.at[scalar->index].node->as.option.name);
        report(jobs->cx, span, prepare_varies, name, what);
        return false;
    }
    return true;
}

static bool check_augmented(Jobs *jobs, Node *fn, const ColumnList *prepared,
                            const ColumnList *augmented)
{
    for (int i = 0; i < prepared->count; i++) {
        const Column *want = &prepared->at[i];
        const Column *found = i < augmented->count ? &augmented->at[i] : NULL;
        if (found && found->name == want->name && type_equal(found->type, want->type))
            continue;
        report(jobs->cx, fn->span, augment_result, want->name, type_text(jobs->arena, want->type),
               found ? arena_printf(jobs->arena, "'%s' as %s", found->name,
                                    type_text(jobs->arena, found->type))
                     : "nothing");
        return false;
    }
    return true;
}

// The function that makes the rows of a synthetic source: its outputs are the fields, in order.
static bool generate_entry(Jobs *jobs, Node *node, const DataBlock *block, const DataSource *source,
                           const char *name, Entry *entry)
{
    Elab *e = jobs->e;
    if (!value_is(source->generate, VALUE_FUNCTION))
        return true;
    Tracing tracing = entry_begin(jobs, entry, node->as.job.name, name, source->span);
    tracing.trace->per_sample = true;
    Value row = value_tensor(elab_scalar(e, AML_SCALAR_SAMPLE, 0, DTYPE_I64, source->span));
    Value result = elab_call(e, source->generate, &row, NULL, 1, source->span);
    bool good = !value_is(result, VALUE_POISON);
    if (good && !value_is(result, VALUE_RECORD)) {
        report(jobs->cx, source->span, prepare_result, name, value_what(e, result));
        good = false;
    }
    for (int i = 0; good && i < block->field.count; i++) {
        const Column *field = &block->field.at[i];
        const Value *value = record_get(result, field->name);
        Inst *inst = value ? elab_tensor(e, *value, field->type.dtype, source->span) : NULL;
        // a whole number is one of any width, and its range is checked when the row is read
        if (inst && dtype_info[inst->type.dtype].kind == dtype_info[field->type.dtype].kind)
            inst = elab_cast(e, inst, field->type.dtype, source->span);
        good = inst && type_equal(inst->type, field->type);
        if (good)
            entry_output(&tracing, inst, field->classes, field->name);
        else if (!value || inst)
            report(jobs->cx, source->span, generated_field, field->name,
                   type_text(jobs->arena, field->type),
                   inst ? type_text(jobs->arena, inst->type) : "nothing");
    }
    if (!good) {
        entry_drop(&tracing);
        return false;
    }
    return entry_end(&tracing) && check_constant(jobs, source->span, "synthetic", entry);
}

// The source of a part has what the fields of the other one need. Its classes are those of the
// other one, whichever of them it has folders of.
static bool same_kind(Jobs *jobs, DataBlock *block, const aml_dataset *table, aml_source *source,
                      const DataSource *own, aml_part part)
{
    if (source->kind == AML_SOURCE_NONE)
        return true;
    block->part[part] = 1;
    source->classes = table->source.classes;
    source->class_name = table->source.class_name;
    if (source->kind == table->source.kind && own->window == block->source.window &&
        own->stride == block->source.stride)
        return true;
    report(jobs->cx, own->span, test_source_differs, part == AML_PART_TEST ? "test" : "validation");
    note(jobs->cx, block->source.span, "this is the other source");
    return false;
}

static bool read_sources(Jobs *jobs, Node *node, aml_dataset *table, DataBlock *block)
{
    bool good = read_source(jobs, node, "source", &table->source, &block->source);
    good &= read_source(jobs, node, "test", &table->test, &block->test);
    good &= read_source(jobs, node, "valid", &table->valid, &block->valid);
    table->window = block->source.window;
    table->stride = block->source.stride;
    table->apart = block->source.apart;
    return good && same_kind(jobs, block, table, &table->test, &block->test, AML_PART_TEST) &&
           same_kind(jobs, block, table, &table->valid, &block->valid, AML_PART_VALID);
}

static bool augment_entry(Jobs *jobs, Node *node, Node *augment, const DataBlock *block,
                          Entry *entry)
{
    ColumnList augmented = {0};
    jobs->e->training = true;
    bool good =
        sample_function(jobs, node, augment, "augment", entry, &block->prepared, &augmented) &&
        check_augmented(jobs, augment, &block->prepared, &augmented);
    jobs->e->training = false;
    return good;
}

// What the fields' places are, in a source of columns.
static void eval_places(Jobs *jobs, Node *node, aml_source_kind kind, DataBlock *block)
{
    for (int i = 0; i < node->as.job.items.count; i++) {
        Node *item = node->as.job.items.at[i];
        if (item->kind != NODE_Field)
            continue;
        Value place = value_none();
        const Node *where = item->as.data.value;
        bool has_places = kind == AML_SOURCE_CSV || kind == AML_SOURCE_TEXTS ||
                          kind == AML_SOURCE_JSONL || kind == AML_SOURCE_NPZ ||
                          (kind == AML_SOURCE_SHARDS && where && where->kind != NODE_Name);
        if (has_places && item->as.data.value)
            place =
                elab_eval(jobs->e, env_new(jobs->e, NULL, item->span.file), item->as.data.value);
        block->by_name = block->by_name || !item->as.data.value ||
                         value_plain_text(record_item(jobs, place, "name"));
        vec_push(jobs->arena, &block->cell, place);
    }
}

static bool prepare_entry(Jobs *jobs, Node *node, Node *prepare, DataBlock *block,
                          ProgramDataset *data)
{
    Fitting fitting = {.dataset = node->as.job.name};
    jobs->e->fitting = &fitting;
    bool good = sample_function(jobs, node, prepare, "prepare", &data->prepare, &block->field,
                                &block->prepared) &&
                check_prepared(jobs, prepare, block);
    jobs->e->fitting = NULL;
    good = good &&
           (!prepare || check_constant(jobs, prepare->as.fn.name_span, "prepare", &data->prepare));
    if (good && fitting.statistic.count > 0)
        fit_close(jobs, &fitting, data);
    return good;
}

// The words of its texts are counted before any type asks for the size of their vocabulary.
static bool count_words(Jobs *jobs, Node *node, const DataBlock *block)
{
    int field = 0;
    bool good = true;
    for (int i = 0; i < node->as.job.items.count; i++) {
        Node *item = node->as.job.items.at[i];
        if (item->kind != NODE_Field)
            continue;
        Value place = block->cell.at[field++];
        if (is_words_place(jobs, place))
            good &= words_tokenizer(jobs, node, item, place) != NULL;
    }
    return good;
}

// Whether the split asks for this field.
static bool split_reads(Jobs *jobs, Node *node, const Node *field)
{
    static const char *const item[] = {"stratify", "group"};
    for (size_t i = 0; i < COUNT_OF(item); i++) {
        Setting setting = setting_item(jobs, node, "split", item[i]);
        Sym word = value_word(setting_eval(jobs, &setting, item[i]));
        if (word && word == field->as.data.name)
            return true;
    }
    return false;
}

bool split_of_text(Jobs *jobs, Node *node, Node *text, Value place, aml_dataset *table,
                   const char **path, const char **named)
{
    DataBlock block = {.node = node};
    ProgramDataset data = {.span = node->as.job.name_span};
    Vec(aml_field) fields = {0};
    data.table.name = node->as.job.name;
    data.table.place = job_place(jobs, node->as.job.name_span);
    bool good = read_source(jobs, node, "source", &data.table.source, &block.source);
    *table = data.table;
    if (!good || !has_texts(data.table.source.kind))
        return good;
    eval_places(jobs, node, data.table.source.kind, &block);
    int read = -1;
    for (int i = 0; i < node->as.job.items.count && good; i++) {
        Node *item = node->as.job.items.at[i];
        if (item->kind != NODE_Field || (++read, item == text) || !split_reads(jobs, node, item))
            continue;
        aml_field field = {0};
        Column column = {0};
        good = read_field(jobs, item, block.cell.at[read], &data.table, &block, &field, &column);
        vec_push(jobs->arena, &fields, field);
        vec_push(jobs->arena, &block.field, column);
    }
    good = good && read_split(jobs, node, &data, &block) && read_on_bad(jobs, node, &data.table);
    aml_field field = {.first = block.columns, .count = 1, .place = job_place(jobs, text->span)};
    field.tensor.name = text->as.data.name;
    good = good && text_place(jobs, text, place, &block.source, data.table.source.kind, &field);
    vec_push(jobs->arena, &fields, field);
    data.table.field = fields.at;
    data.table.fields = fields.count;
    *table = data.table;
    Setting setting = setting_of(jobs, node, "source");
    Value source = setting_eval(jobs, &setting, "source");
    *named = text_default(jobs, record_item(jobs, source, "path"));
    *path = find_data(jobs->cx, *named);
    return good;
}

bool job_dataset(Jobs *jobs, Node *node)
{
    Arena *arena = jobs->arena;
    DataBlock *block = NEW(arena, DataBlock);
    ProgramDataset data = {.span = node->as.job.name_span};
    Vec(aml_field) fields = {0};

    data.table.name = node->as.job.name;
    data.table.doc = node->as.job.doc;
    data.table.place = job_place(jobs, node->as.job.name_span);
    bool has_source = read_sources(jobs, node, &data.table, block), good = has_source;
    int fields_read = -1;
    if (has_source)
        eval_places(jobs, node, data.table.source.kind, block);
    has_source = good = has_source && count_words(jobs, node, block);
    for (int i = 0; i < node->as.job.items.count && has_source; i++) {
        Node *item = node->as.job.items.at[i];
        if (item->kind != NODE_Field)
            continue;
        aml_field field = {0};
        Column column = {0};
        if (!read_field(jobs, item, block->cell.at[++fields_read], &data.table, block, &field,
                        &column)) {
            good = false;
            continue;
        }
        vec_push(arena, &fields, field);
        data.table.field = fields.at; // a later field may name an earlier one
        data.table.fields = fields.count;
        vec_push(arena, &block->place,
                 item->as.data.value ? item->as.data.value->span : item->span);
        vec_push(arena, &block->field, column);
    }
    data.table.fields = fields.count;
    data.table.field = fields.at;
    if (has_source)
        check_columns(jobs, block, &data.table);
    block->node = node;
    double test = block->part[AML_PART_TEST], valid = block->part[AML_PART_VALID];
    good = good && read_split(jobs, node, &data, block);
    if (test > 0)
        block->part[AML_PART_TEST] = 1;
    if (valid > 0)
        block->part[AML_PART_VALID] = 1;
    good = read_on_bad(jobs, node, &data.table) && good;
    good = good && read_clean(jobs, node, block, &data.table);
    jobs->e->training = false;
    jobs->e->table = NULL;
    Node *prepare = job_function(node, job_word(jobs, "prepare"));
    Node *augment = job_function(node, job_word(jobs, "augment"));
    good = good && generate_entry(jobs, node, block, &block->source, "source", &data.generate[0]) &&
           generate_entry(jobs, node, block, &block->test, "test", &data.generate[1]) &&
           generate_entry(jobs, node, block, &block->valid, "valid", &data.generate[2]);
    good = good && prepare_entry(jobs, node, prepare, block, &data);
    good = good && (!augment || augment_entry(jobs, node, augment, block, &data.augment));
    settings_record(jobs, node);
    if (!good)
        return false;
    block->index = jobs->program->dataset.count;
    vec_push(arena, &jobs->program->dataset, data);
    vec_push(arena, &jobs->data, block);
    return true;
}

DataBlock *data_setting(Jobs *jobs, const Setting *setting, const char *name, bool with_part,
                        aml_part *part)
{
    return data_value(jobs, setting, name, setting_eval(jobs, setting, name), with_part, part);
}

DataBlock *data_value(Jobs *jobs, const Setting *setting, const char *name, Value value,
                      bool with_part, aml_part *part)
{
    static const char *const parts[] = {"all", "train", "valid", "test"};
    if (!value_is(value, VALUE_JOB) || strcmp(value.as.job.node->as.job.kind, "dataset") != 0 ||
        (!with_part && value.as.job.part)) {
        setting_wrong(jobs, setting, name, NULL, value);
        return NULL;
    }
    DataBlock *block = data_block(jobs, value.as.job.node); // NULL: its mistakes were reported
    *part = AML_PART_ALL;
    Sym word = value.as.job.part;
    for (int i = 0; word && i < 4; i++)
        if (strcmp(word, parts[i]) == 0)
            *part = (aml_part)i;
    if (word && *part == AML_PART_ALL && strcmp(word, "all") != 0) {
        report(jobs->cx, setting->span, no_test_part, value.as.job.node->as.job.name, word);
        help(jobs->cx, "a data set has the parts train, valid, test and all");
        return NULL;
    }
    return block;
}

bool data_part(Jobs *jobs, const DataBlock *block, const Setting *setting, aml_part part)
{
    static const char *const parts[] = {"all", "train", "valid", "test"};
    if (block->part[part] != 0)
        return true;
    Node *split = job_setting(block->node, job_word(jobs, "split"));
    report(jobs->cx, setting->span, no_test_part, block->node->as.job.name, parts[part]);
    note(jobs->cx, split ? split->span : block->node->as.job.name_span,
         "the split gives it no samples");
    return false;
}
