// tables.c: the tables of aml/program.h.
//
// Each field is named where it gets its value, so that a table stays right when one is added to
// program.h. What a row points to is written before the row that points to it; an array of nothing
// is a null pointer. `amlc build --emit=program` shows the tables as C text.

#include "link/link.h"

#include <math.h>
#include <string.h>

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

const char *table_text(TableWriter *writer, const char *text)
{
    if (!text)
        return "0";
    Buffer out = {.arena = writer->cx->arena};
    buffer_text(&out, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\' || *at == '?')
            buffer_printf(&out, "\\%c", *at);
        else if (*at >= ' ' && *at < 127)
            buffer_append(&out, (const char *)at, 1);
        else
            buffer_printf(&out, "\\%03o", *at);
    }
    buffer_text(&out, "\"");
    return out.text;
}

const char *table_real(TableWriter *writer, double value)
{
    if (isnan(value))
        return "__builtin_nan(\"\")";
    if (isinf(value))
        return value > 0 ? "__builtin_inf()" : "-__builtin_inf()";
    const char *text = arena_printf(writer->cx->arena, "%.17g", value);
    return strpbrk(text, ".e") ? text : arena_printf(writer->cx->arena, "%s.0", text);
}

static void put_tensor(TableRow *row, const aml_tensor_info *of)
{
    TableRef names = table_class_names(row->writer, of);
    TEXT(row, aml_tensor_info, name, of->name);
    WHOLE(row, aml_tensor_info, dtype, of->dtype);
    WHOLE(row, aml_tensor_info, shape.rank, of->shape.rank);
    WHOLES(row, aml_tensor_info, shape.dim, of->shape.dim, of->shape.rank);
    WHOLE(row, aml_tensor_info, classes, of->classes);
    POINT(row, aml_tensor_info, class_name, names);
    WHOLE(row, aml_tensor_info, rows, of->rows);
}

// In a row that has such a field.
#define TENSOR(row, Type, field, of)                                                               \
    do {                                                                                           \
        TableRow inner_ = OPEN(row, Type, field);                                                  \
        put_tensor(&inner_, (of));                                                                 \
        CLOSE(row, field, &inner_);                                                                \
    } while (0)
#define FUNCTION(row, Type, field, entry, prefix)                                                  \
    do {                                                                                           \
        TableRow inner_ = OPEN(row, Type, field);                                                  \
        row_function(&inner_, (entry), (prefix));                                                  \
        CLOSE(row, field, &inner_);                                                                \
    } while (0)
#define QUANTITY(row, Type, field, of)                                                             \
    do {                                                                                           \
        REAL(row, Type, field.value, (of).value);                                                  \
        WHOLE(row, Type, field.unit, (of).unit);                                                   \
        WHOLE(row, Type, field.option, (of).option);                                               \
    } while (0)

const char *table_name(TableWriter *writer, const char *prefix, const char *what)
{
    return arena_printf(writer->cx->arena, "%s_%s_%d", prefix, what, writer->arrays++);
}

static TableRef tensor_array(TableWriter *writer, const aml_tensor_info *at, int count,
                             const char *prefix, const char *what)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, what), aml_tensor_info, count);
    for (int i = 0; i < count; i++)
        put_tensor(table_next(&array), &at[i]);
    return table_end_array(&array);
}

static TableRef scalar_array(TableWriter *writer, const Entry *entry, const char *prefix)
{
    TableArray array = TABLE_ARRAY(writer, table_name(writer, prefix, "scalar"), aml_scalar_info,
                                   entry->scalar.count);
    for (int i = 0; i < entry->scalar.count; i++) {
        const aml_scalar_info *info = &entry->scalar.at[i];
        TableRow *row = table_next(&array);
        WHOLE(row, aml_scalar_info, kind, info->kind);
        WHOLE(row, aml_scalar_info, index, info->index);
        WHOLE(row, aml_scalar_info, dtype, info->dtype);
    }
    return table_end_array(&array);
}

void row_function(TableRow *row, const Entry *entry, const char *prefix)
{
    TableWriter *writer = row->writer;
    if (!entry->ir)
        return;
    for (int i = 0; i < entry->ir->param.count; i++) {
        Slot slot = entry->ir->param_slot.at[i];
        if (slot.kind == SLOT_ROWS)
            entry->input.at[slot.index].rows = true;
    }
    TEXT(row, aml_function, name, entry->symbol);
    if (!writer->image)
        TOP("void %s(const aml_call *call);\n", entry->symbol);
    SYMBOL(row, aml_function, run, entry->symbol);
    WHOLE(row, aml_function, arena_bytes, (int64_t)entry->arena_bytes);
    WHOLE(row, aml_function, inputs, entry->input.count);
    WHOLE(row, aml_function, outputs, entry->output.count);
    WHOLE(row, aml_function, scalars, entry->scalar.count);
    POINT(row, aml_function, input,
          tensor_array(writer, entry->input.at, entry->input.count, prefix, "input"));
    POINT(row, aml_function, output,
          tensor_array(writer, entry->output.at, entry->output.count, prefix, "output"));
    POINT(row, aml_function, scalar, scalar_array(writer, entry, prefix));
    REAL(row, aml_function, flops, entry->flops);
    row_kernels(row, entry, table_name(writer, prefix, "kernel"));
}

const char *table_function(TableWriter *writer, const Entry *entry, const char *prefix)
{
    TableRow row = table_lone_row(writer);
    row_function(&row, entry, prefix);
    return table_row_text(&row);
}

TableRef table_field_array(TableWriter *writer, const aml_field *field, int count,
                           const char *prefix)
{
    TableArray array = TABLE_ARRAY(writer, table_name(writer, prefix, "field"), aml_field, count);
    for (int i = 0; i < count; i++) {
        TableRow *row = table_next(&array);
        TENSOR(row, aml_field, tensor, &field[i].tensor);
        TEXT(row, aml_field, place, table_place(field[i].place));
        TEXT(row, aml_field, column, field[i].column);
        TEXT(row, aml_field, last_column, field[i].last_column);
        TEXT(row, aml_field, key, field[i].key);
        WHOLE(row, aml_field, first, field[i].first);
        WHOLE(row, aml_field, count, field[i].count);
        WHOLE(row, aml_field, part, field[i].part);
        POINT(row, aml_field, rule, table_cell_rule(writer, &field[i]));
        WHOLE(row, aml_field, label, field[i].label);
    }
    return table_end_array(&array);
}

static void put_parts(TableRow *row, const aml_text *text, const char *prefix)
{
    TableWriter *writer = row->writer;
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, "text"), aml_text_part, text->parts);
    for (int i = 0; i < text->parts; i++) {
        TableRow *part = table_next(&array);
        TEXT(part, aml_text_part, text, text->part[i].text);
        WHOLE(part, aml_text_part, option, text->part[i].option);
    }
    WHOLE(row, aml_text, parts, text->parts);
    POINT(row, aml_text, part, table_end_array(&array));
}

static const char *source_reader(aml_source_kind kind)
{
    static const char *const name[] = {
        "",
#define SOURCE(NAME, name, files, libraries, meaning) #name,
#include "aml/source.def"
#undef SOURCE
    };
    return name[kind];
}

const char *statistic_libraries(const ProgramDataset *data)
{
    // The reference LAPACK: it has no threads. xerbla_ is that of runtime/data/fortran.c.
    for (int i = 0; i < data->statistic.count; i++)
        if (data->statistic.at[i].kind == AML_STATISTIC_COMPONENTS)
            return "-Wl,-u,xerbla_ -l:lapack/liblapack.a -l:blas/libblas.a";
    return "";
}

const char *source_libraries(aml_source_kind kind)
{
    static const char *const libraries[] = {
        "",
#define SOURCE(NAME, name, files, libraries, meaning) libraries,
#include "aml/source.def"
#undef SOURCE
    };
    return libraries[kind];
}

static void put_source(TableRow *row, const ProgramDataset *dataset, int which, const char *prefix)
{
    static const char *const name[] = {"source", "test", "valid"};
    const aml_source *const all[] = {&dataset->table.source, &dataset->table.test,
                                     &dataset->table.valid},
                            *of = all[which];
    TableWriter *writer = row->writer;
    Arena *arena = writer->cx->arena;
    if (of->kind == AML_SOURCE_NONE)
        return;
    prefix = arena_printf(arena, "%s_%s", prefix, name[which]);
    WHOLE(row, aml_source, kind, of->kind);
    SYMBOL(row, aml_source, reader,
           arena_printf(arena, "&amli_source_%s", source_reader(of->kind)));
    TEXT(row, aml_source, place, table_place(of->place));
    for (int i = 0; i < AML_SOURCE_FILES; i++) {
        TableRow file = row_open(row, offsetof(aml_source, file) + sizeof(aml_text) * (size_t)i);
        put_parts(&file, &of->file[i], arena_printf(arena, "%s%d", prefix, i));
        row_close(row, arena_printf(arena, "file[%d]", i), &file);
    }
    WHOLE(row, aml_source, separator, of->separator);
    WHOLE(row, aml_source, header, of->header);
    WHOLE(row, aml_source, comment, of->comment);
    WHOLE(row, aml_source, literal_quotes, of->literal_quotes);
    WHOLE(row, aml_source, keeps_nan, of->keeps_nan);
    WHOLE(row, aml_source, memory_bytes, (int64_t)of->memory_bytes);
    WHOLE(row, aml_source, rows, of->rows);
    WHOLE(row, aml_source, seed, of->seed);
    FUNCTION(row, aml_source, generate, &dataset->generate[which], prefix);
    POINT(row, aml_source, tokenizer, table_tokenizer(writer, of->tokenizer));
    WHOLE(row, aml_source, resize, of->resize);
    WHOLE(row, aml_source, background, of->background);
    WHOLE(row, aml_source, most_pixels, of->most_pixels);
    WHOLE(row, aml_source, classes, of->classes);
    POINT(row, aml_source, class_name,
          table_texts(writer, table_name(writer, prefix, "class"), of->class_name, of->classes));
    POINT(row, aml_source, files, table_files(writer, of->files));
    TEXT(row, aml_source, column[0], of->column[0]);
    TEXT(row, aml_source, column[1], of->column[1]);
    WHOLE(row, aml_source, cache_bytes, (int64_t)of->cache_bytes);
}

static TableRef options(TableWriter *writer, const Program *program)
{
    TableArray array = TABLE_ARRAY(writer, "options", aml_option, program->option.count);
    for (int i = 0; i < program->option.count; i++) {
        const aml_option *option = &program->option.at[i];
        TableRow *row = table_next(&array);
        TEXT(row, aml_option, name, option->name);
        TEXT(row, aml_option, doc, option->doc);
        TEXT(row, aml_option, place, table_place(option->place));
        WHOLE(row, aml_option, type, option->type);
        if (option->type == AML_OPTION_BOOL || option->type == AML_OPTION_INT)
            WHOLE(row, aml_option, value.whole, option->value.whole);
        else
            REAL(row, aml_option, value.real, option->value.real);
        WHOLE(row, aml_option, unit, option->unit);
        TEXT(row, aml_option, text, option->text);
    }
    return table_end_array(&array);
}

static TableRef fixed_values(TableWriter *writer, const Program *program)
{
    TableArray array = TABLE_ARRAY(writer, "fixeds", aml_fixed, program->fixed.count);
    for (int i = 0; i < program->fixed.count; i++) {
        const aml_fixed *fixed = &program->fixed.at[i];
        TableRow *row = table_next(&array);
        TEXT(row, aml_fixed, name, fixed->name);
        TEXT(row, aml_fixed, doc, fixed->doc);
        TEXT(row, aml_fixed, place, table_place(fixed->place));
        TEXT(row, aml_fixed, value, fixed->value);
    }
    return table_end_array(&array);
}

static TableRef effective_settings(TableWriter *writer, const Program *program)
{
    TableArray array = TABLE_ARRAY(writer, "effectives", aml_effective, program->effective.count);
    for (int i = 0; i < program->effective.count; i++) {
        const aml_effective *setting = &program->effective.at[i];
        TableRow *row = table_next(&array);
        TEXT(row, aml_effective, block, setting->block);
        TEXT(row, aml_effective, setting, setting->setting);
        TEXT(row, aml_effective, value, setting->value);
        TEXT(row, aml_effective, origin, table_place(setting->origin));
    }
    return table_end_array(&array);
}

static TableRef statistics(TableWriter *writer, const ProgramDataset *dataset, const char *prefix)
{
    TableArray array = TABLE_ARRAY(writer, table_name(writer, prefix, "statistic"), aml_statistic,
                                   dataset->statistic.count);
    for (int i = 0; i < dataset->statistic.count; i++) {
        const aml_statistic *of = &dataset->statistic.at[i];
        TableRow *row = table_next(&array);
        TENSOR(row, aml_statistic, tensor, &of->tensor);
        TEXT(row, aml_statistic, place, table_place(of->place));
        WHOLE(row, aml_statistic, kind, of->kind);
        WHOLE(row, aml_statistic, level, of->level);
        WHOLE(row, aml_statistic, output, of->output);
        WHOLE(row, aml_statistic, quantiles, of->quantiles);
        POINT(row, aml_statistic, quantile,
              table_values(writer, table_name(writer, prefix, "quantile"), TABLE_DOUBLE,
                           of->quantile, of->quantiles));
        if (of->kind == AML_STATISTIC_COMPONENTS)
            SYMBOL(row, aml_statistic, eigenvectors, "aml_eigenvectors_lapack");
    }
    return table_end_array(&array);
}

static TableRef fits(TableWriter *writer, const ProgramDataset *dataset, const char *data_prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, data_prefix, "fit"), aml_fit, dataset->fit.count);
    for (int i = 0; i < dataset->fit.count; i++) {
        const ProgramFit *of = &dataset->fit.at[i];
        const char *prefix = arena_printf(writer->cx->arena, "%s_fit%d", data_prefix, i);
        TableRow *row = table_next(&array);
        WHOLE(row, aml_fit, first, of->first);
        WHOLE(row, aml_fit, accumulators, of->accumulators);
        FUNCTION(row, aml_fit, start, &of->start, prefix);
        FUNCTION(row, aml_fit, step, &of->step, prefix);
        FUNCTION(row, aml_fit, finish, &of->finish, prefix);
    }
    return table_end_array(&array);
}

static TableRef cleans(TableWriter *writer, const aml_dataset *of, const char *prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, "clean"), aml_clean, of->cleans);
    for (int i = 0; i < of->cleans; i++) {
        const aml_clean *clean = &of->clean[i];
        TableRow *row = table_next(&array);
        WHOLE(row, aml_clean, kind, clean->kind);
        WHOLE(row, aml_clean, then, clean->then);
        WHOLE(row, aml_clean, by, clean->by);
        REAL(row, aml_clean, limit, clean->limit);
        REAL(row, aml_clean, low, clean->low);
        REAL(row, aml_clean, high, clean->high);
        WHOLE(row, aml_clean, fields, clean->fields);
        POINT(row, aml_clean, field,
              table_values(writer, table_name(writer, prefix, "cleaned"), TABLE_INT32, clean->field,
                           clean->fields));
        TEXT(row, aml_clean, place, table_place(clean->place));
    }
    return table_end_array(&array);
}

static void put_dataset(TableRow *row, const ProgramDataset *dataset, const char *prefix)
{
    TableWriter *writer = row->writer;
    const aml_dataset *table = &dataset->table;
    TEXT(row, aml_dataset, name, table->name);
    TEXT(row, aml_dataset, doc, table->doc);
    TEXT(row, aml_dataset, place, table_place(table->place));
    TableRow main_source = OPEN(row, aml_dataset, source), test = OPEN(row, aml_dataset, test),
             valid = OPEN(row, aml_dataset, valid);
    put_source(&main_source, dataset, 0, prefix);
    put_source(&test, dataset, 1, prefix);
    put_source(&valid, dataset, 2, prefix);
    CLOSE(row, source, &main_source);
    CLOSE(row, test, &test);
    CLOSE(row, valid, &valid);
    WHOLE(row, aml_dataset, window, table->window);
    WHOLE(row, aml_dataset, stride, table->stride);
    WHOLE(row, aml_dataset, apart, table->apart);
    WHOLE(row, aml_dataset, fields, table->fields);
    POINT(row, aml_dataset, field, table_field_array(writer, table->field, table->fields, prefix));
    REAL(row, aml_dataset, split.train, table->split.train);
    REAL(row, aml_dataset, split.valid, table->split.valid);
    REAL(row, aml_dataset, split.test, table->split.test);
    WHOLE(row, aml_dataset, split.seed, table->split.seed);
    WHOLE(row, aml_dataset, split.stratify, table->split.stratify);
    TEXT(row, aml_dataset, split.group, table->split.group);
    WHOLE(row, aml_dataset, split.by_time, table->split.by_time);
    WHOLE(row, aml_dataset, on_bad, table->on_bad);
    REAL(row, aml_dataset, skip_limit, table->skip_limit);
    FUNCTION(row, aml_dataset, prepare, &dataset->prepare, prefix);
    FUNCTION(row, aml_dataset, augment, &dataset->augment, prefix);
    WHOLE(row, aml_dataset, cleans, table->cleans);
    POINT(row, aml_dataset, clean, cleans(writer, table, prefix));
    WHOLE(row, aml_dataset, statistics, dataset->statistic.count);
    POINT(row, aml_dataset, statistic, statistics(writer, dataset, prefix));
    WHOLE(row, aml_dataset, fits, dataset->fit.count);
    POINT(row, aml_dataset, fit, fits(writer, dataset, prefix));
}

static TableRef datasets(TableWriter *writer, const Program *program)
{
    TableArray array = TABLE_ARRAY(writer, "datasets", aml_dataset, program->dataset.count);
    for (int i = 0; i < program->dataset.count; i++)
        put_dataset(table_next(&array), &program->dataset.at[i],
                    arena_printf(writer->cx->arena, "data%d", i));
    return table_end_array(&array);
}

static TableRef states(TableWriter *writer, const ProgramJob *job, const char *prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, "state"), aml_state_info, job->state.count);
    for (int i = 0; i < job->state.count; i++) {
        const aml_state_info *info = &job->state.at[i].info;
        TableRow *row = table_next(&array);
        TENSOR(row, aml_state_info, tensor, &info->tensor);
        WHOLE(row, aml_state_info, role, info->role);
        WHOLE(row, aml_state_info, offset, (int64_t)info->offset);
        WHOLE(row, aml_state_info, stack, info->stack);
    }
    return table_end_array(&array);
}

static TableRef metrics(TableWriter *writer, const ProgramJob *job, const char *prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, "metric"), aml_metric, job->metric.count);
    for (int i = 0; i < job->metric.count; i++) {
        const aml_metric *metric = &job->metric.at[i];
        TableRow *row = table_next(&array);
        TEXT(row, aml_metric, name, metric->name);
        WHOLE(row, aml_metric, finish, metric->finish);
        WHOLE(row, aml_metric, output, metric->output);
        WHOLES(row, aml_metric, collect, metric->collect, 2);
        WHOLE(row, aml_metric, lower_is_better, metric->lower_is_better);
    }
    return table_end_array(&array);
}

void row_generation(TableRow *row, const aml_generation *of)
{
    WHOLE(row, aml_generation, context, of->context);
    WHOLE(row, aml_generation, cached, of->cached);
    WHOLE(row, aml_generation, exact, of->exact);
    REAL(row, aml_generation, temperature, of->temperature);
    WHOLE(row, aml_generation, top_k, of->top_k);
    REAL(row, aml_generation, top_p, of->top_p);
    WHOLE(row, aml_generation, length, of->length);
    TEXT(row, aml_generation, prompt, of->prompt);
}

const char *table_generation(TableWriter *writer, const aml_generation *of)
{
    TableRow row = table_lone_row(writer);
    row_generation(&row, of);
    return table_row_text(&row);
}

static TableRef load_rules(TableWriter *writer, const aml_load *load, const char *prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, prefix, "rules"), aml_load_rule, load->rules);
    for (int i = 0; i < load->rules; i++) {
        const aml_load_rule *rule = &load->rule[i];
        TableRow *row = table_next(&array);
        TEXT(row, aml_load_rule, model, rule->model);
        TEXT(row, aml_load_rule, file, rule->file);
        WHOLE(row, aml_load_rule, axes, rule->axes);
        WHOLES(row, aml_load_rule, axis, rule->axis, rule->axes);
    }
    return table_end_array(&array);
}

static TableRef loads(TableWriter *writer, const ProgramJob *job, const char *job_prefix)
{
    TableArray array =
        TABLE_ARRAY(writer, table_name(writer, job_prefix, "loads"), aml_load, job->load.count);
    for (int i = 0; i < job->load.count; i++) {
        const aml_load *load = &job->load.at[i];
        const char *prefix = arena_printf(writer->cx->arena, "%s_load%d", job_prefix, i);
        TableRow *row = table_next(&array), path = OPEN(row, aml_load, path);
        TEXT(row, aml_load, place, table_place(load->place));
        TEXT(row, aml_load, below, load->below);
        put_parts(&path, &load->path, prefix);
        CLOSE(row, path, &path);
        TEXT(row, aml_load, job, load->job);
        WHOLE(row, aml_load, which, load->which);
        WHOLE(row, aml_load, rules, load->rules);
        POINT(row, aml_load, rule, load_rules(writer, load, prefix));
        WHOLE(row, aml_load, missings, load->missings);
        POINT(row, aml_load, missing,
              table_texts(writer, table_name(writer, prefix, "missing"), load->missing,
                          load->missings));
        WHOLE(row, aml_load, unuseds, load->unuseds);
        POINT(
            row, aml_load, unused,
            table_texts(writer, table_name(writer, prefix, "unused"), load->unused, load->unuseds));
    }
    return table_end_array(&array);
}

static void put_sampling(TableRow *row, const aml_sampling *of, const char *prefix)
{
    TableWriter *writer = row->writer;
    if (of->kind == AML_SAMPLING_EPOCHS)
        return;
    WHOLE(row, aml_sampling, kind, of->kind);
    TEXT(row, aml_sampling, by, of->by);
    WHOLE(row, aml_sampling, neighbours, of->neighbours);
    WHOLE(row, aml_sampling, weights, of->weights);
    POINT(row, aml_sampling, weight,
          table_values(writer, table_name(writer, prefix, "class_weights"), TABLE_DOUBLE,
                       of->weight, of->weights));
}

static void put_functions(TableRow *row, const ProgramJob *job, const char *job_prefix)
{
#define JOB_FUNCTION(field)                                                                        \
    FUNCTION(row, aml_job, field, &job->field,                                                     \
             arena_printf(row->writer->cx->arena, "%s_" #field, job_prefix))
    JOB_FUNCTION(init);
    JOB_FUNCTION(step);
    JOB_FUNCTION(metrics_reset);
    JOB_FUNCTION(eval);
    JOB_FUNCTION(eval_one);
    JOB_FUNCTION(metrics_value);
    JOB_FUNCTION(predict);
    JOB_FUNCTION(validated);
    JOB_FUNCTION(decode);
    JOB_FUNCTION(prompt);
#undef JOB_FUNCTION
}

// When a training ends, what it keeps, what it does about bad steps.
static void put_course(TableRow *row, const aml_job *table)
{
    QUANTITY(row, aml_job, length, table->length);
    WHOLE(row, aml_job, seed, table->seed);
    QUANTITY(row, aml_job, validate_every, table->validate_every);
    QUANTITY(row, aml_job, checkpoint_every, table->checkpoint_every);
    WHOLE(row, aml_job, keep_last, table->keep_last);
    WHOLE(row, aml_job, keep_best, table->keep_best);
    WHOLE(row, aml_job, keep_metric, table->keep_metric);
    WHOLE(row, aml_job, stop_metric, table->stop_metric);
    QUANTITY(row, aml_job, stop_patience, table->stop_patience);
    REAL(row, aml_job, stop_min_delta, table->stop_min_delta);
    WHOLE(row, aml_job, stop_reaches, table->stop_reaches);
    REAL(row, aml_job, stop_reach, table->stop_reach);
    WHOLE(row, aml_job, stop_restores, table->stop_restores);
    WHOLE(row, aml_job, guard, table->guard);
    WHOLE(row, aml_job, guard_limit, table->guard_limit);
    REAL(row, aml_job, skip_outliers, table->skip_outliers);
}

static void put_job(TableRow *row, const ProgramJob *job, const char *prefix)
{
    TableWriter *writer = row->writer;
    const aml_job *table = &job->table;
    WHOLE(row, aml_job, kind, table->kind);
    TEXT(row, aml_job, name, table->name);
    TEXT(row, aml_job, doc, table->doc);
    TEXT(row, aml_job, place, table_place(table->place));
    WHOLE(row, aml_job, data, table->data);
    WHOLE(row, aml_job, part, table->part);
    WHOLE(row, aml_job, batch, table->batch);
    WHOLE(row, aml_job, states, job->state.count);
    POINT(row, aml_job, state, states(writer, job, prefix));
    WHOLE(row, aml_job, state_bytes, (int64_t)table->state_bytes);
    put_functions(row, job, prefix);
    WHOLE(row, aml_job, loads, job->load.count);
    POINT(row, aml_job, load, loads(writer, job, prefix));
    WHOLE(row, aml_job, has_loss, table->has_loss);
    WHOLE(row, aml_job, metrics, job->metric.count);
    POINT(row, aml_job, metric, metrics(writer, job, prefix));
    put_course(row, table);
    TableRow drawing = OPEN(row, aml_job, sampling), generation = OPEN(row, aml_job, generation);
    put_sampling(&drawing, &table->sampling, prefix);
    CLOSE(row, sampling, &drawing);
    WHOLE(row, aml_job, folds, table->folds);
    WHOLE(row, aml_job, shares, table->shares);
    POINT(row, aml_job, share,
          table_values(writer, table_name(writer, prefix, "shares"), TABLE_DOUBLE, table->share,
                       table->shares));
    WHOLE(row, aml_job, model_job, table->model_job);
    WHOLE(row, aml_job, which, table->which);
    row_generation(&generation, &table->generation);
    CLOSE(row, generation, &generation);
}

static TableRef jobs(TableWriter *writer, const Program *program)
{
    TableArray array = TABLE_ARRAY(writer, "jobs", aml_job, program->job.count);
    for (int i = 0; i < program->job.count; i++)
        put_job(table_next(&array), &program->job.at[i],
                arena_printf(writer->cx->arena, "job%d", i));
    return table_end_array(&array);
}

Tables tables_of_program(Cx *cx, Program *program, const ObjectCode *object, const char *source_dir,
                         bool as_text)
{
    Image image = {.cx = cx};
    TableWriter writer_of = {.cx = cx,
                             .image = as_text ? NULL : &image,
                             .top = {.arena = cx->arena}},
                *writer = &writer_of;
    const aml_program *table = &program->table;

    TOP("// The tables of a program compiled by %s.\n#include \"aml/program.h\"\n\n",
        table->compiler);
    TableArray array = TABLE_ARRAY(writer, "program", aml_program, 1);
    TableRow *row = table_next(&array);
    WHOLE(row, aml_program, abi, AML_PROGRAM_ABI);
    TEXT(row, aml_program, name, table->name);
    TEXT(row, aml_program, doc, table->doc);
    TEXT(row, aml_program, source, table_place(table->source));
    TEXT(row, aml_program, source_dir, source_dir);
    TEXT(row, aml_program, source_hash, table->source_hash);
    TEXT(row, aml_program, compiler, table->compiler);
    TEXT(row, aml_program, cpu_level, object->cpu_level);
    TEXT(row, aml_program, cpu_features, object->cpu_features);
    WHOLE(row, aml_program, options, program->option.count);
    POINT(row, aml_program, option, options(writer, program));
    WHOLE(row, aml_program, fixeds, program->fixed.count);
    POINT(row, aml_program, fixed, fixed_values(writer, program));
    WHOLE(row, aml_program, effectives, program->effective.count);
    POINT(row, aml_program, effective, effective_settings(writer, program));
    WHOLE(row, aml_program, datasets, program->dataset.count);
    POINT(row, aml_program, dataset, datasets(writer, program));
    WHOLE(row, aml_program, jobs, program->job.count);
    POINT(row, aml_program, job, jobs(writer, program));
    TableRef made = table_end_array(&array);
    Tables tables = table_end(writer);
    if (!as_text)
        tables.object = image_object(&image, "amli_program", made.at.block);
    return tables;
}
