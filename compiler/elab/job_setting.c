// job_setting.c: the settings of a block, each looked up in the block and else in its schema.
//
// What a setting's type says is checked in one of two places: types that the language knows (int,
// duration, fraction, enumerations, lists of those) by the evaluator, types that only blocks have
// (a model, a checkpoint, a data set's part) by the code that uses the setting.

#include "elab/job.h"

#include "elab/internal.h"

#include <math.h>
#include <string.h>

// Types that stand only in schemas, with what to say of them.
static const struct {
    const char *name, *expected;
} block_types[] = {
    {"model", "a model, such as Mlp()"},
    {"loss", "a loss, such as cross_entropy"},
    {"optimizer", "an optimizer, such as adamw(lr: 1e-3)"},
    {"models", "a record of models"},
    {"optimizers", "a record of optimizers"},
    {"metrics", "a record of metrics, such as { accuracy: accuracy() }"},
    {"dataset", "a data set"},
    {"part", "a part of a data set, such as digits.test"},
    {"checkpoint", "a checkpoint of a training, such as digits_mlp.best"},
    {"source", "a source of data, such as csv(\"file.csv\")"},
    {"clip", "norm(limit), value(limit), adaptive(limit) or a function of gradients and model"},
    {"precision", "f32, f64, mixed(bf16) or mixed(f16)"},
    {"sampling", "balanced(), weighted(by: w), over_sampled(), under_sampled() or smote()"},
    {"penalty", "l1(strength), l2(strength) or a function of the model"},
    {"averaging", "ema(0.999), swa(after: 75%) or a function of average, value and step"},
    {"stop", "early(on: metric, patience: 10 epochs)"},
    {"keep", "last(n) or best(n, on: metric)"},
    {"on_bad", "error_row() or skip(limit: 0.1%)"},
    {"cleaning", "a list of rules, such as [duplicates()]"},
    {"quantize", "int8(...)"},
    {"prune", "channels(...)"},
    {"target", "cpu(\"x86-64-v3\")"},
    {"generate", "a generate block"},
};

Sym job_word(Jobs *jobs, const char *word)
{
    return sym_of(jobs->cx, word);
}

Sym value_word(Value value)
{
    return value_is(value, VALUE_SYMBOL) ? value.as.symbol : value_plain_text(value);
}

Value record_item(Jobs *jobs, Value record, const char *name)
{
    const Value *item = record_get(record, sym_of(jobs->cx, name));
    return item ? *item : value_none();
}

const char *job_place(Jobs *jobs, Span span)
{
    Place place = source_place(jobs->cx, span);
    const char *slash = strrchr(place.path, '/');
    return arena_printf(jobs->arena, "%s:%d", slash ? slash + 1 : place.path, place.line);
}

const char *span_text(Jobs *jobs, Span span)
{
    const SourceFile *file = source_file(jobs->cx, span.file);
    Buffer text = {.arena = jobs->arena};
    bool blank = false;
    buffer_text(&text, "");
    for (uint32_t i = span.start; i < span.end && i < file->length; i++) {
        char c = file->text[i];
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
            blank = true;
            continue;
        }
        if (blank && text.length > 0)
            buffer_append(&text, " ", 1);
        blank = false;
        buffer_append(&text, &c, 1);
    }
    return text.text;
}

static const Node *block_schema(Jobs *jobs, const Node *job)
{
    return unit_schema(jobs->unit, job->as.job.kind);
}

Setting setting_of(Jobs *jobs, Node *job, const char *name)
{
    Sym symbol = sym_of(jobs->cx, name);
    Node *written = job_setting(job, symbol);
    Node *entry = schema_entry(block_schema(jobs, job), symbol);
    Setting setting = {.type = entry ? entry->as.entry.type : NULL, .span = job->as.job.name_span};
    if (written) {
        setting.value = written->as.setting.value;
        setting.span = setting.value->span;
        setting.written = true;
        setting.env = env_new(jobs->e, NULL, written->span.file);
    } else if (entry && entry->as.entry.value) {
        setting.value = entry->as.entry.value;
        setting.env = env_new(jobs->e, NULL, entry->span.file);
    }
    return setting;
}

static Node *record_setting(const Node *record, Sym name)
{
    for (int i = 0; record->kind == NODE_Record && i < record->as.record.items.count; i++) {
        Node *item = record->as.record.items.at[i];
        if (item->kind == NODE_Setting && item->as.setting.name == name)
            return item;
    }
    return NULL;
}

Setting setting_item(Jobs *jobs, Node *job, const char *name, const char *item)
{
    Setting whole = setting_of(jobs, job, name);
    Setting found = {.span = whole.span};
    Sym symbol = sym_of(jobs->cx, item);
    if (!whole.type || whole.type->kind != NODE_RecordType)
        return found;
    for (int i = 0; i < whole.type->as.rectype.params.count; i++) {
        Node *param = whole.type->as.rectype.params.at[i];
        if (param->as.param.name != symbol)
            continue;
        found.type = param->as.param.type;
        found.value = param->as.param.value;
        found.env = env_new(jobs->e, NULL, param->span.file);
    }
    Node *written = whole.value ? record_setting(whole.value, symbol) : NULL;
    if (written) {
        found.value = written->as.setting.value;
        found.span = found.value->span;
        found.written = whole.written;
        found.env = whole.env;
    }
    return found;
}

static const char *type_name(const Node *type)
{
    return type && type->kind == NODE_Type && type->as.type.name ? type->as.type.name : "";
}

static const char *block_type(const Node *type)
{
    for (size_t i = 0; i < COUNT_OF(block_types); i++)
        if (strcmp(type_name(type), block_types[i].name) == 0)
            return block_types[i].expected;
    return NULL;
}

Value setting_eval(Jobs *jobs, const Setting *setting, const char *name)
{
    if (!setting->value)
        return value_none();
    if (setting->value->kind == NODE_None)
        return value_none();
    const char *type = type_name(setting->type);
    bool word = strcmp(type, "word") == 0,
         choice =
             setting->type && setting->type->kind == NODE_OneOf &&
             setting->value->kind == NODE_Name &&
             oneof_has(setting->type, setting->value->as.name.name); // `size` is a function too
    if ((word && setting->value->kind == NODE_Name) || choice)
        return value_symbol(setting->value->as.name.name);
    if (!setting->type || word || block_type(setting->type) ||
        setting->type->kind == NODE_RecordType)
        return elab_eval(jobs->e, setting->env, setting->value);
    return elab_eval_as(jobs->e, setting->env, setting->value, setting->type,
                        arena_printf(jobs->arena, "the setting '%s'", name));
}

void setting_wrong(Jobs *jobs, const Setting *setting, const char *name, const char *expected,
                   Value found)
{
    if (value_is(found, VALUE_POISON) || (value_is(found, VALUE_NONE) && !setting->value))
        return; // reported already: by what failed, or as a missing setting
    const char *wanted = expected ? expected : block_type(setting->type);
    report(jobs->cx, setting->span, setting_type, name, wanted ? wanted : "of another type",
           value_what(jobs->e, found));
}

bool setting_misspelled(Jobs *jobs, const Node *job, const char *name)
{
    return job_misspells(jobs->cx, job, block_schema(jobs, job), sym_of(jobs->cx, name));
}

bool setting_whole(Jobs *jobs, Node *job, const char *name, int64_t least, int64_t *out)
{
    Setting setting = setting_of(jobs, job, name);
    Value value = setting_eval(jobs, &setting, name);
    if (!value_is(value, VALUE_INT)) {
        setting_wrong(jobs, &setting, name, "a whole number", value);
        return false;
    }
    if (value.as.whole < least || value.as.whole > INT64_C(1) << 40) {
        report(jobs->cx, setting.span, setting_range, name,
               arena_printf(jobs->arena, "at least %lld and not absurdly large", (long long)least),
               value_show(jobs->e, value));
        return false;
    }
    *out = value.as.whole;
    return true;
}

bool setting_quantity(Jobs *jobs, const Setting *setting, const char *name, aml_quantity *out)
{
    Value value = setting_eval(jobs, setting, name);
    *out = (aml_quantity){0, AML_UNIT_STEPS, -1};
    if (value_is(value, VALUE_NONE))
        return true;
    if (value_is(value, VALUE_OPTION)) {
        const OptionEntry *option = &jobs->e->option.at[value.as.option];
        if (value_is(option->value, VALUE_QUANTITY)) {
            *out = (aml_quantity){option->value.as.quantity.value, option->value.as.quantity.unit,
                                  value.as.option};
            return true;
        }
    }
    if (!value_is(value, VALUE_QUANTITY) ||
        (value.as.quantity.unit != AML_UNIT_STEPS && value.as.quantity.unit != AML_UNIT_EPOCHS &&
         value.as.quantity.unit != AML_UNIT_SECONDS)) {
        setting_wrong(jobs, setting, name,
                      "a duration, such as `10 epochs`, `500 steps` or `30 min`", value);
        return false;
    }
    double amount = value.as.quantity.value;
    if (value.as.quantity.option < 0 && (!(amount > 0) || amount > 1e15)) {
        report(jobs->cx, setting->span, setting_range, name, "more than nothing",
               value_show(jobs->e, value));
        return false;
    }
    *out = (aml_quantity){amount, value.as.quantity.unit, value.as.quantity.option};
    return true;
}

bool setting_number(Jobs *jobs, const Setting *setting, const char *name, double *out)
{
    Value value = setting_eval(jobs, setting, name);
    if (value_is(value, VALUE_INT))
        *out = (double)value.as.whole;
    else if (value_is(value, VALUE_REAL))
        *out = value.as.real;
    else if (value_is(value, VALUE_QUANTITY) && value.as.quantity.option < 0)
        *out = value.as.quantity.value;
    else {
        setting_wrong(jobs, setting, name, "a number that is known when the program is compiled",
                      value);
        return false;
    }
    return true;
}

aml_text job_text(Jobs *jobs, Value text)
{
    aml_text_part *part = NEW_ARRAY(jobs->arena, aml_text_part, text.as.text.parts + 1);
    for (int i = 0; i < text.as.text.parts; i++)
        part[i] = (aml_text_part){text.as.text.part[i].text, text.as.text.part[i].option};
    return (aml_text){text.as.text.parts, part};
}

// ---- effective settings

static bool shows_as_value(const Node *type)
{
    static const char *const simple[] = {"int",      "float",    "bool", "string",
                                         "duration", "fraction", "size"};
    if (!type || type->kind == NODE_OneOf)
        return true;
    if (type->kind == NODE_ListType)
        return true;
    for (size_t i = 0; i < COUNT_OF(simple); i++)
        if (strcmp(type_name(type), simple[i]) == 0)
            return true;
    return false;
}

static void effective(Jobs *jobs, Node *job, const char *name, const Setting *setting)
{
    if (!setting->value)
        return;
    const char *text = span_text(jobs, setting->value->span);
    if (shows_as_value(setting->type)) {
        Value value = setting_eval(jobs, setting, name);
        bool plain = value_is_static(value) && !value_is(value, VALUE_POISON);
        if (plain && !(value_is(value, VALUE_QUANTITY) && value.as.quantity.option >= 0) &&
            !value_is(value, VALUE_TEXT))
            text = value_show(jobs->e, value);
        if (plain && value_is(value, VALUE_REAL) &&
            strcmp(type_name(setting->type), "fraction") == 0)
            text = value_show(jobs->e, value_quantity(value.as.real, AML_UNIT_FRACTION));
    }
    aml_effective row = {
        .block = sym_printf(jobs->cx, "%s %s", job->as.job.kind, job->as.job.name),
        .setting = sym_of(jobs->cx, name),
        .value = text,
        .origin = setting->written ? job_place(jobs, setting->span) : "default",
    };
    vec_push(jobs->arena, &jobs->program->effective, row);
}

void settings_record(Jobs *jobs, Node *job)
{
    const Node *schema = block_schema(jobs, job);
    for (int i = 0; schema && i < schema->as.schema.settings.count; i++) {
        const Node *entry = schema->as.schema.settings.at[i];
        if (entry->kind != NODE_Entry)
            continue;
        const char *name = entry->as.entry.name;
        const Node *type = entry->as.entry.type;
        if (type->kind != NODE_RecordType) {
            Setting setting = setting_of(jobs, job, name);
            effective(jobs, job, name, &setting);
            continue;
        }
        for (int j = 0; j < type->as.rectype.params.count; j++) {
            const char *item = type->as.rectype.params.at[j]->as.param.name;
            Setting setting = setting_item(jobs, job, name, item);
            effective(jobs, job, sym_printf(jobs->cx, "%s.%s", name, item), &setting);
        }
    }
    for (int i = 0; i < job->as.job.items.count; i++) {
        Node *item = job->as.job.items.at[i];
        if (item->kind != NODE_Field)
            continue;
        Span span =
            span_join(item->as.data.type->span,
                      item->as.data.value ? item->as.data.value->span : item->as.data.type->span);
        aml_effective row = {
            .block = sym_printf(jobs->cx, "%s %s", job->as.job.kind, job->as.job.name),
            .setting = sym_printf(jobs->cx, "field %s", item->as.data.name),
            .value = span_text(jobs, span),
            .origin = job_place(jobs, item->span),
        };
        vec_push(jobs->arena, &jobs->program->effective, row);
    }
}
