// tables.c: the tables of aml/program.h as C text.
//
// Every initialiser names its fields, so the text stays right when a field is added to program.h,
// and it can be read: `amlc build --emit=program`. Arrays are written before the table that points
// to them; an empty one is a null pointer.

#include "link/link.h"

#include <math.h>
#include <string.h>

static const char *const dtype_constant[] = {"AML_F32", "AML_F64", "AML_F16", "AML_BF16", "AML_I8",
                                             "AML_U8",  "AML_I32", "AML_I64", "AML_BOOL"};
static const char *const scalar_constant[] = {
    "AML_SCALAR_STEP",     "AML_SCALAR_TOTAL_STEPS", "AML_SCALAR_EPOCH_STEPS", "AML_SCALAR_SEED",
    "AML_SCALAR_POSITION", "AML_SCALAR_SAMPLE",      "AML_SCALAR_OPTION",      "AML_SCALAR_LIMIT",
    "AML_SCALAR_MEASURED", "AML_SCALAR_RATE"};
static const char *const role_constant[] = {
    "AML_ROLE_WEIGHT", "AML_ROLE_STATE", "AML_ROLE_OPTIMIZER", "AML_ROLE_METRIC", "AML_ROLE_CACHE"};

_Static_assert(COUNT_OF(dtype_constant) == DTYPE_COUNT, "one name a dtype");
_Static_assert(COUNT_OF(scalar_constant) == AML_SCALAR_RATE + 1, "one name a scalar kind");
_Static_assert(COUNT_OF(role_constant) == AML_ROLES, "one name a role");

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

static const char *shape(TableWriter *writer, const aml_shape *of)
{
    Buffer out = {.arena = writer->cx->arena};
    buffer_printf(&out, "{%d, {", of->rank);
    for (int i = 0; i < of->rank; i++)
        buffer_printf(&out, "%s%lld", i ? ", " : "", (long long)of->dim[i]);
    buffer_text(&out, of->rank ? "}}" : "0}}");
    return out.text;
}

static const char *tensor(TableWriter *writer, const aml_tensor_info *of)
{
    const char *names = table_class_names(writer, of);
    return arena_printf(
        writer->cx->arena, "{.name = %s, .dtype = %s, .shape = %s, .classes = %lld%s%s%s}",
        table_text(writer, of->name), dtype_constant[of->dtype], shape(writer, &of->shape),
        (long long)of->classes, names ? ", .class_name = " : "", names ? names : "",
        of->rows ? ", .rows = true" : "");
}

static const char *array_name(TableWriter *writer, const char *prefix, const char *what)
{
    return arena_printf(writer->cx->arena, "%s_%s_%d", prefix, what, writer->arrays++);
}

static const char *tensor_array(TableWriter *writer, const aml_tensor_info *at, int count,
                                const char *prefix, const char *what)
{
    if (count == 0)
        return "0";
    const char *name = array_name(writer, prefix, what);
    for (int i = 0; i < count; i++)
        table_class_names(writer, &at[i]);
    TOP("static const aml_tensor_info %s[] = {\n", name);
    for (int i = 0; i < count; i++)
        TOP("    %s,\n", tensor(writer, &at[i]));
    TOP("};\n");
    return name;
}

static const char *place(TableWriter *writer, const char *text)
{
    return table_text(writer, table_place(text));
}

const char *table_function(TableWriter *writer, const Entry *entry, const char *prefix)
{
    if (!entry->ir)
        return "{0}";
    Arena *arena = writer->cx->arena;
    for (int i = 0; i < entry->ir->param.count; i++) {
        Slot slot = entry->ir->param_slot.at[i];
        if (slot.kind == SLOT_ROWS)
            entry->input.at[slot.index].rows = true;
    }
    const char *input = tensor_array(writer, entry->input.at, entry->input.count, prefix, "input");
    const char *output =
        tensor_array(writer, entry->output.at, entry->output.count, prefix, "output");
    const char *scalar = "0";
    if (entry->scalar.count) {
        scalar = array_name(writer, prefix, "scalar");
        TOP("static const aml_scalar_info %s[] = {\n", scalar);
        for (int i = 0; i < entry->scalar.count; i++) {
            const aml_scalar_info *info = &entry->scalar.at[i];
            TOP("    {.kind = %s, .index = %d, .dtype = %s},\n", scalar_constant[info->kind],
                info->index, dtype_constant[info->dtype]);
        }
        TOP("};\n");
    }
    const char *kernels = table_kernels(writer, entry, array_name(writer, prefix, "kernel"));
    TOP("void %s(const aml_call *call);\n", entry->symbol);
    return arena_printf(
        arena,
        "{.name = %s, .run = %s, .arena_bytes = %zuu, .inputs = %d, .outputs = %d, .scalars = %d, "
        ".input = %s, .output = %s, .scalar = %s, .flops = %s%s}",
        table_text(writer, entry->symbol), entry->symbol, entry->arena_bytes, entry->input.count,
        entry->output.count, entry->scalar.count, input, output, scalar,
        table_real(writer, entry->flops), kernels);
}

const char *table_field_array(TableWriter *writer, const aml_field *field, int count,
                              const char *prefix)
{
    if (count == 0)
        return "0";
    const char *name = array_name(writer, prefix, "field"),
               **rule = NEW_ARRAY(writer->cx->arena, const char *, count);
    for (int i = 0; i < count; i++) {
        table_class_names(writer, &field[i].tensor);
        rule[i] = table_cell_rule(writer, &field[i]);
    }
    TOP("static const aml_field %s[] = {\n", name);
    for (int i = 0; i < count; i++)
        TOP("    {.tensor = %s, .place = %s, .column = %s, .last_column = %s, .key = %s, .first = "
            "%d, .count = %d, "
            ".part = "
            "%d, .rule = %s, .label = %d},\n",
            tensor(writer, &field[i].tensor), place(writer, field[i].place),
            table_text(writer, field[i].column), table_text(writer, field[i].last_column),
            table_text(writer, field[i].key), field[i].first, field[i].count, field[i].part,
            rule[i], field[i].label);
    TOP("};\n");
    return name;
}

static const char *text_parts(TableWriter *writer, const aml_text *text, const char *prefix)
{
    if (text->parts == 0)
        return "{0}";
    const char *name = array_name(writer, prefix, "text");
    TOP("static const aml_text_part %s[] = {\n", name);
    for (int i = 0; i < text->parts; i++)
        TOP("    {.text = %s, .option = %d},\n", table_text(writer, text->part[i].text),
            text->part[i].option);
    TOP("};\n");
    return arena_printf(writer->cx->arena, "{.parts = %d, .part = %s}", text->parts, name);
}

static const char *text_list(TableWriter *writer, const char *const at[], int count,
                             const char *prefix, const char *what)
{
    if (count == 0)
        return "0";
    const char *name = array_name(writer, prefix, what);
    TOP("static const char *const %s[] = {", name);
    for (int i = 0; i < count; i++)
        TOP("%s%s", i ? ", " : "", table_text(writer, at[i]));
    TOP("};\n");
    return name;
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

static const char *source(TableWriter *writer, const ProgramDataset *dataset, int which,
                          const char *prefix)
{
    static const char *const name[] = {"source", "test", "valid"};
    const aml_source *const all[] = {&dataset->table.source, &dataset->table.test,
                                     &dataset->table.valid},
                            *of = all[which];
    Arena *arena = writer->cx->arena;
    if (of->kind == AML_SOURCE_NONE)
        return "{0}";
    Buffer files = {.arena = arena};
    buffer_text(&files, "");
    prefix = arena_printf(arena, "%s_%s", prefix, name[which]);
    const char *classes = text_list(writer, of->class_name, of->classes, prefix, "class");
    for (int i = 0; i < AML_SOURCE_FILES; i++)
        buffer_printf(&files, "%s%s", i ? ", " : "",
                      text_parts(writer, &of->file[i], arena_printf(arena, "%s%d", prefix, i)));
    return arena_printf(arena,
                        "{.kind = (aml_source_kind)%d, .reader = &amli_source_%s, .place = %s, "
                        ".file = {%s}, .separator = %d, "
                        ".header = (aml_header)%d, .comment = %d, .literal_quotes = %d, "
                        ".keeps_nan = %d, .memory_bytes = %zuu, .rows = %lldll, .seed = %lldll, "
                        ".generate = %s, .tokenizer = %s,\n      .resize = (aml_resize)%d, "
                        ".background = %d, .most_pixels = %lldll, .classes = %d, .class_name = %s, "
                        ".files = %s, .column = {%s, %s}, .cache_bytes = %zuu}",
                        of->kind, source_reader(of->kind), place(writer, of->place), files.text,
                        of->separator, of->header, of->comment, of->literal_quotes, of->keeps_nan,
                        of->memory_bytes, (long long)of->rows, (long long)of->seed,
                        table_function(writer, &dataset->generate[which], prefix),
                        table_tokenizer(writer, of->tokenizer), of->resize, of->background,
                        (long long)of->most_pixels, of->classes, classes,
                        table_files(writer, of->files), table_text(writer, of->column[0]),
                        table_text(writer, of->column[1]), of->cache_bytes);
}

static const char *quantity(TableWriter *writer, aml_quantity of)
{
    return arena_printf(writer->cx->arena, "{%s, (aml_unit)%d, %d}", table_real(writer, of.value),
                        of.unit, of.option);
}

static void write_options(TableWriter *writer, Program *program)
{
    if (program->option.count == 0)
        return;
    TOP("static const aml_option options[] = {\n");
    for (int i = 0; i < program->option.count; i++) {
        const aml_option *option = &program->option.at[i];
        bool whole = option->type == AML_OPTION_BOOL || option->type == AML_OPTION_INT;
        TOP("    {.name = %s, .doc = %s, .place = %s, .type = (aml_option_type)%d, .value = {",
            table_text(writer, option->name), table_text(writer, option->doc),
            place(writer, option->place), option->type);
        if (whole)
            TOP(".whole = %lldll", (long long)option->value.whole);
        else
            TOP(".real = %s", table_real(writer, option->value.real));
        TOP("}, .unit = (aml_unit)%d, .text = %s},\n", option->unit,
            table_text(writer, option->text));
    }
    TOP("};\n");
}

static void write_settings(TableWriter *writer, Program *program)
{
    if (program->fixed.count) {
        TOP("static const aml_fixed fixeds[] = {\n");
        for (int i = 0; i < program->fixed.count; i++) {
            const aml_fixed *fixed = &program->fixed.at[i];
            TOP("    {.name = %s, .doc = %s, .place = %s, .value = %s},\n",
                table_text(writer, fixed->name), table_text(writer, fixed->doc),
                place(writer, fixed->place), table_text(writer, fixed->value));
        }
        TOP("};\n");
    }
    if (program->effective.count) {
        TOP("static const aml_effective effectives[] = {\n");
        for (int i = 0; i < program->effective.count; i++) {
            const aml_effective *setting = &program->effective.at[i];
            TOP("    {.block = %s, .setting = %s, .value = %s, .origin = %s},\n",
                table_text(writer, setting->block), table_text(writer, setting->setting),
                table_text(writer, setting->value), place(writer, setting->origin));
        }
        TOP("};\n");
    }
}

static const char *const statistic_constant[] = {"AML_STATISTIC_FOLD", "AML_STATISTIC_QUANTILES",
                                                 "AML_STATISTIC_MODE", "AML_STATISTIC_ROWS",
                                                 "AML_STATISTIC_COMPONENTS"};
_Static_assert(COUNT_OF(statistic_constant) == AML_STATISTIC_COMPONENTS + 1, "one name a kind");

static const char *statistics(TableWriter *writer, const ProgramDataset *dataset,
                              const char *prefix)
{
    if (dataset->statistic.count == 0)
        return "0";
    Buffer rows = {.arena = writer->cx->arena};
    buffer_text(&rows, "");
    for (int i = 0; i < dataset->statistic.count; i++) {
        const aml_statistic *of = &dataset->statistic.at[i];
        const char *quantile = "0";
        if (of->quantiles) {
            quantile = array_name(writer, prefix, "quantile");
            TOP("static const double %s[] = {", quantile);
            for (int q = 0; q < of->quantiles; q++)
                TOP("%s%s", q ? ", " : "", table_real(writer, of->quantile[q]));
            TOP("};\n");
        }
        buffer_printf(&rows,
                      "    {.tensor = %s, .place = %s, .kind = %s, .level = %d, .output = %d, "
                      ".quantiles = %d, .quantile = %s, .eigenvectors = %s},\n",
                      tensor(writer, &of->tensor), place(writer, of->place),
                      statistic_constant[of->kind], of->level, of->output, of->quantiles, quantile,
                      of->kind == AML_STATISTIC_COMPONENTS ? "aml_eigenvectors_lapack" : "0");
    }
    const char *name = array_name(writer, prefix, "statistic");
    TOP("static const aml_statistic %s[] = {\n%s};\n", name, rows.text);
    return name;
}

static const char *fits(TableWriter *writer, const ProgramDataset *dataset, const char *data_prefix)
{
    if (dataset->fit.count == 0)
        return "0";
    Buffer rows = {.arena = writer->cx->arena};
    buffer_text(&rows, "");
    for (int i = 0; i < dataset->fit.count; i++) {
        const ProgramFit *of = &dataset->fit.at[i];
        const char *prefix = arena_printf(writer->cx->arena, "%s_fit%d", data_prefix, i);
        const char *start = table_function(writer, &of->start, prefix),
                   *step = table_function(writer, &of->step, prefix),
                   *finish = table_function(writer, &of->finish, prefix);
        buffer_printf(&rows,
                      "    {.first = %d, .accumulators = %d,\n     .start = %s,\n     .step = "
                      "%s,\n     .finish = %s},\n",
                      of->first, of->accumulators, start, step, finish);
    }
    const char *name = array_name(writer, data_prefix, "fit");
    TOP("static const aml_fit %s[] = {\n%s};\n", name, rows.text);
    return name;
}

static const char *cleans(TableWriter *writer, const aml_dataset *of, const char *prefix)
{
    if (of->cleans == 0)
        return "0";
    Buffer rows = {.arena = writer->cx->arena};
    buffer_text(&rows, "");
    for (int i = 0; i < of->cleans; i++) {
        const aml_clean *clean = &of->clean[i];
        const char *field = array_name(writer, prefix, "cleaned");
        TOP("static const int32_t %s[] = {", field);
        for (int k = 0; k < clean->fields; k++)
            TOP("%s%d", k ? ", " : "", clean->field[k]);
        TOP("};\n");
        buffer_printf(&rows,
                      "    {.kind = (aml_clean_kind)%d, .then = (aml_then)%d, .by = (aml_by)%d, "
                      ".limit = %s, .low = %s, .high = %s, .fields = %d, .field = %s, .place = "
                      "%s},\n",
                      clean->kind, clean->then, clean->by, table_real(writer, clean->limit),
                      table_real(writer, clean->low), table_real(writer, clean->high),
                      clean->fields, field, place(writer, clean->place));
    }
    const char *name = array_name(writer, prefix, "clean");
    TOP("static const aml_clean %s[] = {\n%s};\n", name, rows.text);
    return name;
}

static void write_datasets(TableWriter *writer, Program *program)
{
    Buffer rows = {.arena = writer->cx->arena};
    buffer_text(&rows, "static const aml_dataset datasets[] = {\n");
    for (int i = 0; i < program->dataset.count; i++) {
        const ProgramDataset *dataset = &program->dataset.at[i];
        const aml_dataset *table = &dataset->table;
        const char *prefix = arena_printf(writer->cx->arena, "data%d", i);
        const char *field = table_field_array(writer, table->field, table->fields, prefix);
        const char *main_source = source(writer, dataset, 0, prefix),
                   *test = source(writer, dataset, 1, prefix),
                   *valid = source(writer, dataset, 2, prefix);
        const char *prepare = table_function(writer, &dataset->prepare, prefix);
        const char *augment = table_function(writer, &dataset->augment, prefix);
        const char *clean = cleans(writer, table, prefix);
        const char *statistic = statistics(writer, dataset, prefix),
                   *fit = fits(writer, dataset, prefix);
        buffer_printf(&rows,
                      "    {.name = %s, .doc = %s, .place = %s,\n     .source = %s,\n     .test = "
                      "%s,\n     .valid = %s,\n     .window = %lldll, .stride = %lldll, .apart = "
                      "%lldll, .fields = "
                      "%d, .field = %s,\n",
                      table_text(writer, table->name), table_text(writer, table->doc),
                      place(writer, table->place), main_source, test, valid,
                      (long long)table->window, (long long)table->stride, (long long)table->apart,
                      table->fields, field);
        buffer_printf(&rows,
                      "     .split = {.train = %s, .valid = %s, .test = %s, .seed = %lldll, "
                      ".stratify = %d, .group = %s, .by_time = %d},\n",
                      table_real(writer, table->split.train),
                      table_real(writer, table->split.valid), table_real(writer, table->split.test),
                      (long long)table->split.seed, table->split.stratify,
                      table_text(writer, table->split.group), table->split.by_time);
        buffer_printf(&rows,
                      "     .on_bad = (aml_on_bad)%d, .skip_limit = %s,\n     .prepare = %s,\n     "
                      ".augment = %s,\n     .cleans = %d, .clean = %s, .statistics = %d, "
                      ".statistic = %s, .fits = %d, .fit "
                      "= %s},\n",
                      table->on_bad, table_real(writer, table->skip_limit), prepare, augment,
                      table->cleans, clean, dataset->statistic.count, statistic, dataset->fit.count,
                      fit);
    }
    if (program->dataset.count)
        TOP("%s};\n", rows.text);
}

static const char *states(TableWriter *writer, const ProgramJob *job, const char *prefix)
{
    if (job->state.count == 0)
        return "0";
    const char *name = array_name(writer, prefix, "state");
    TOP("static const aml_state_info %s[] = {\n", name);
    for (int i = 0; i < job->state.count; i++) {
        const aml_state_info *info = &job->state.at[i].info;
        TOP("    {.tensor = %s, .role = %s, .offset = %zuu, .stack = %d},\n",
            tensor(writer, &info->tensor), role_constant[info->role], info->offset, info->stack);
    }
    TOP("};\n");
    return name;
}

static const char *metrics(TableWriter *writer, const ProgramJob *job, const char *prefix)
{
    if (job->metric.count == 0)
        return "0";
    const char *name = array_name(writer, prefix, "metric");
    TOP("static const aml_metric %s[] = {\n", name);
    for (int i = 0; i < job->metric.count; i++) {
        const aml_metric *metric = &job->metric.at[i];
        TOP("    {.name = %s, .finish = (aml_finish)%d, .output = %d, .collect = {%d, %d}, "
            ".lower_is_better = %d},\n",
            table_text(writer, metric->name), metric->finish, metric->output, metric->collect[0],
            metric->collect[1], metric->lower_is_better);
    }
    TOP("};\n");
    return name;
}

const char *table_generation(TableWriter *writer, const aml_generation *of)
{
    return arena_printf(
        writer->cx->arena,
        "{.context = %lld, .cached = %d, .exact = %d, .temperature = %s, .top_k = %lld, "
        ".top_p = %s, .length = %lld, .prompt = %s}",
        (long long)of->context, of->cached, of->exact, table_real(writer, of->temperature),
        (long long)of->top_k, table_real(writer, of->top_p), (long long)of->length,
        table_text(writer, of->prompt));
}

static const char *load_rules(TableWriter *writer, const aml_load *load, const char *prefix)
{
    if (load->rules == 0)
        return "0";
    const char *name = array_name(writer, prefix, "rules");
    TOP("static const aml_load_rule %s[] = {\n", name);
    for (int r = 0; r < load->rules; r++) {
        TOP("    {%s, %s, %d, {", table_text(writer, load->rule[r].model),
            table_text(writer, load->rule[r].file), load->rule[r].axes);
        for (int a = 0; a < (load->rule[r].axes ? load->rule[r].axes : 1); a++)
            TOP("%s%d", a ? ", " : "", load->rule[r].axis[a]);
        TOP("}},\n");
    }
    TOP("};\n");
    return name;
}

static const char *loads(TableWriter *writer, const ProgramJob *job, const char *job_prefix)
{
    if (job->load.count == 0)
        return "0";
    Buffer rows = {.arena = writer->cx->arena};
    const char *name = array_name(writer, job_prefix, "loads");
    for (int i = 0; i < job->load.count; i++) {
        const aml_load *load = &job->load.at[i];
        const char *prefix = arena_printf(writer->cx->arena, "%s_load%d", job_prefix, i);
        const char *rule = load_rules(writer, load, prefix),
                   *path = text_parts(writer, &load->path, prefix),
                   *missing = text_list(writer, load->missing, load->missings, prefix, "missing"),
                   *unused = text_list(writer, load->unused, load->unuseds, prefix, "unused");
        buffer_printf(&rows,
                      "    {.place = %s, .below = %s, .path = %s, .rules = %d, .rule = %s,\n"
                      "     .job = %s, .which = (aml_which)%d,\n"
                      "     .missings = %d, .missing = %s, .unuseds = %d, .unused = %s},\n",
                      place(writer, load->place), table_text(writer, load->below), path,
                      load->rules, rule, table_text(writer, load->job), (int)load->which,
                      load->missings, missing, load->unuseds, unused);
    }
    TOP("static const aml_load %s[] = {\n%s};\n", name, rows.text);
    return name;
}

static const char *reals(TableWriter *writer, const double at[], int count, const char *prefix,
                         const char *what)
{
    if (count == 0)
        return "0";
    const char *name = array_name(writer, prefix, what);
    TOP("static const double %s[] = {", name);
    for (int i = 0; i < count; i++)
        TOP("%s%s", i ? ", " : "", table_real(writer, at[i]));
    TOP("};\n");
    return name;
}

static const char *sampling(TableWriter *writer, const aml_sampling *of, const char *prefix)
{
    if (of->kind == AML_SAMPLING_EPOCHS)
        return "{0}";
    const char *weight = reals(writer, of->weight, of->weights, prefix, "class_weights");
    return arena_printf(writer->cx->arena,
                        "{.kind = (aml_sampling_kind)%d, .by = %s, .neighbours = %lldll, "
                        ".weights = %d, .weight = %s}",
                        of->kind, table_text(writer, of->by), (long long)of->neighbours,
                        of->weights, weight);
}

static void write_jobs(TableWriter *writer, Program *program)
{
    Buffer rows = {.arena = writer->cx->arena};
    buffer_text(&rows, "static const aml_job jobs[] = {\n");
    for (int i = 0; i < program->job.count; i++) {
        ProgramJob *job = &program->job.at[i];
        const aml_job *table = &job->table;
        const char *prefix = arena_printf(writer->cx->arena, "job%d", i);
        const struct {
            const char *name;
            const Entry *entry;
        } function[] = {{"init", &job->init},
                        {"step", &job->step},
                        {"metrics_reset", &job->metrics_reset},
                        {"eval", &job->eval},
                        {"eval_one", &job->eval_one},
                        {"metrics_value", &job->metrics_value},
                        {"predict", &job->predict},
                        {"validated", &job->validated},
                        {"decode", &job->decode},
                        {"prompt", &job->prompt}};
        const char *state = states(writer, job, prefix), *metric = metrics(writer, job, prefix),
                   *load = loads(writer, job, prefix);
        buffer_printf(&rows,
                      "    {.kind = (aml_job_kind)%d, .name = %s, .doc = %s, .place = %s, .data = "
                      "%d, .part = (aml_part)%d, .batch = %lld,\n",
                      table->kind, table_text(writer, table->name), table_text(writer, table->doc),
                      place(writer, table->place), table->data, table->part,
                      (long long)table->batch);
        buffer_printf(&rows, "     .states = %d, .state = %s, .state_bytes = %zuu,\n",
                      job->state.count, state, table->state_bytes);
        for (size_t f = 0; f < COUNT_OF(function); f++) {
            const char *text =
                table_function(writer, function[f].entry,
                               arena_printf(writer->cx->arena, "%s_%s", prefix, function[f].name));
            buffer_printf(&rows, "     .%s = %s,\n", function[f].name, text);
        }
        buffer_printf(&rows, "     .loads = %d, .load = %s,\n", job->load.count, load);
        buffer_printf(&rows, "     .has_loss = %d, .metrics = %d, .metric = %s,\n", table->has_loss,
                      job->metric.count, metric);
        buffer_printf(
            &rows,
            "     .length = %s, .seed = %lldll, .validate_every = %s, .checkpoint_every = %s,\n",
            quantity(writer, table->length), (long long)table->seed,
            quantity(writer, table->validate_every), quantity(writer, table->checkpoint_every));
        buffer_printf(&rows,
                      "     .keep_last = %d, .keep_best = %d, .keep_metric = %d, .stop_metric = "
                      "%d, .stop_patience = %s, .stop_min_delta = %s,\n     .stop_reaches = %d, "
                      ".stop_reach = %s, .stop_restores = %d,\n",
                      table->keep_last, table->keep_best, table->keep_metric, table->stop_metric,
                      quantity(writer, table->stop_patience),
                      table_real(writer, table->stop_min_delta), table->stop_reaches,
                      table_real(writer, table->stop_reach), table->stop_restores);
        buffer_printf(
            &rows, "     .guard = (aml_guard)%d, .guard_limit = %lldll, .skip_outliers = %s,\n",
            table->guard, (long long)table->guard_limit, table_real(writer, table->skip_outliers));
        buffer_printf(&rows, "     .sampling = %s,\n", sampling(writer, &table->sampling, prefix));
        buffer_printf(&rows, "     .folds = %d, .shares = %d, .share = %s,\n", table->folds,
                      table->shares, reals(writer, table->share, table->shares, prefix, "shares"));
        buffer_printf(&rows, "     .model_job = %d, .which = (aml_which)%d, .generation = %s},\n",
                      table->model_job, table->which, table_generation(writer, &table->generation));
    }
    if (program->job.count)
        TOP("%s};\n", rows.text);
}

Tables tables_of_program(Cx *cx, Program *program, const ObjectCode *object, const char *source_dir)
{
    TableWriter writer_of = {.cx = cx, .top = {.arena = cx->arena}}, *writer = &writer_of;
    const aml_program *table = &program->table;

    TOP("// The tables of a program compiled by %s.\n#include \"aml/program.h\"\n\n",
        table->compiler);
    write_options(writer, program);
    write_settings(writer, program);
    write_datasets(writer, program);
    write_jobs(writer, program);
    TOP("static const aml_program program = {\n    .abi = AML_PROGRAM_ABI, .name = %s, .doc = "
        "%s,\n    .source = %s, .source_dir = %s,\n",
        table_text(writer, table->name), table_text(writer, table->doc),
        place(writer, table->source), table_text(writer, source_dir));
    TOP("    .source_hash = %s, .compiler = %s,\n    .cpu_level = %s, .cpu_features = %s,\n",
        table_text(writer, table->source_hash), table_text(writer, table->compiler),
        table_text(writer, object->cpu_level), table_text(writer, object->cpu_features));
    const struct {
        const char *name, *array;
        int count;
    } list[] = {{"option", "options", program->option.count},
                {"fixed", "fixeds", program->fixed.count},
                {"effective", "effectives", program->effective.count},
                {"dataset", "datasets", program->dataset.count},
                {"job", "jobs", program->job.count}};
    for (size_t i = 0; i < COUNT_OF(list); i++)
        TOP("    .%ss = %d, .%s = %s,\n", list[i].name, list[i].count, list[i].name,
            list[i].count ? list[i].array : "0");
    TOP("};\n\nint main(int argc, char **argv)\n{\n    return aml_program_main(&program, argc, "
        "argv);\n}\n");
    return table_end(writer);
}
