// job_clean.c: `clean:` of a data set: rules by which rows are left out or told about.

#include "elab/job.h"

#include "elab/internal.h"

#include <math.h>
#include <string.h>

static const char *const kind_name[] = {
    [AML_CLEAN_DUPLICATES] = "duplicates",  [AML_CLEAN_NEAR_DUPLICATES] = "near_duplicates",
    [AML_CLEAN_MISSING] = "missing_values", [AML_CLEAN_OUTLIERS] = "outliers",
    [AML_CLEAN_RANGE] = "value_range",
};

static int word_index(Value word, const char *const name[], int count)
{
    Sym text = value_word(word);
    for (int i = 0; text && i < count; i++)
        if (name[i] && strcmp(text, name[i]) == 0)
            return i;
    return -1;
}

static int field_named(const DataBlock *block, Sym name)
{
    for (int i = 0; i < block->field.count; i++)
        if (block->field.at[i].name == name)
            return i;
    return -1;
}

// Numbers that have a meaning as such: no classes, no truth values.
static bool is_number(const Column *column)
{
    return column->classes == 0 && column->type.dtype != DTYPE_BOOL;
}

static bool is_float(const Column *column)
{
    return dtype_info[column->type.dtype].kind == KIND_FLOAT;
}

// Whether a rule of this kind says anything about such a field.
static bool suits(aml_clean_kind kind, const Column *column)
{
    switch (kind) {
    case AML_CLEAN_DUPLICATES:
    case AML_CLEAN_NEAR_DUPLICATES:
        return true;
    case AML_CLEAN_MISSING:
        return is_float(column);
    case AML_CLEAN_OUTLIERS:
    case AML_CLEAN_RANGE:
        return is_number(column);
    }
    return false;
}

static bool unknown_field(Jobs *jobs, const DataBlock *block, Sym name, Span span)
{
    const char **candidates = NEW_ARRAY(jobs->arena, const char *, block->field.count + 1);
    for (int i = 0; i < block->field.count; i++)
        candidates[i] = block->field.at[i].name;
    if (diag_errors(jobs->cx) > 0) // a name that is nowhere was reported
        return false;
    report(jobs->cx, span, not_in_block, name, "field");
    const char *near = closest_name(name, candidates, block->field.count);
    if (near)
        help(jobs->cx, "did you mean `%s`?", near);
    return false;
}

// The fields that a rule is about: those that are named, else all that it suits.
static bool read_fields(Jobs *jobs, const DataBlock *block, Value on, Span span, aml_clean *clean)
{
    Vec(int32_t) field = {0};
    Value one = on; // a single name
    ValueList names = {0};
    if (value_is(on, VALUE_LIST))
        names = on.as.list;
    else if (!value_is(on, VALUE_NONE))
        names = (ValueList){1, &one};
    for (int i = 0; i < names.count; i++) {
        if (value_is(names.at[i], VALUE_POISON))
            return false;
        Sym name = value_word(names.at[i]);
        int index = name ? field_named(block, name) : -1;
        if (index < 0)
            return unknown_field(jobs, block, name ? name : value_show(jobs->e, names.at[i]), span);
        const Column *column = &block->field.at[index];
        if (!suits(clean->kind, column)) {
            report(jobs->cx, span, clean_field, kind_name[clean->kind],
                   clean->kind == AML_CLEAN_MISSING ? "floats" : "numbers", name,
                   type_text(jobs->arena, column->type));
            return false;
        }
        vec_push(jobs->arena, &field, index);
    }
    for (int i = 0; value_is(on, VALUE_NONE) && i < block->field.count; i++)
        if (suits(clean->kind, &block->field.at[i]))
            vec_push(jobs->arena, &field, i);
    if (field.count == 0) {
        report(jobs->cx, span, clean_field, kind_name[clean->kind],
               clean->kind == AML_CLEAN_MISSING ? "floats" : "numbers", "the data set", "none");
        return false;
    }
    clean->field = field.at;
    clean->fields = field.count;
    return true;
}

static bool read_rule(Jobs *jobs, const DataBlock *block, const Setting *setting, Value rule,
                      Span span, aml_clean *clean)
{
    static const char *const then_name[] = {
        [AML_THEN_DROP] = "drop", [AML_THEN_FLAG] = "flag", [AML_THEN_ERROR] = "error"};
    static const char *const by_name[] = {[AML_BY_IQR] = "iqr", [AML_BY_Z_SCORE] = "z_score"};
    int kind = word_index(record_item(jobs, rule, "clean"), kind_name, COUNT_OF(kind_name));
    int then = word_index(record_item(jobs, rule, "action"), then_name, COUNT_OF(then_name));
    int by = word_index(record_item(jobs, rule, "by"), by_name, COUNT_OF(by_name));
    if (kind < 0 || then < 0) {
        setting_wrong(jobs, setting, "clean", "a list of rules, such as [duplicates()]", rule);
        return false;
    }
    Value limit = record_item(jobs, rule, "limit"), low = record_item(jobs, rule, "low"),
          high = record_item(jobs, rule, "high");
    *clean = (aml_clean){.kind = (aml_clean_kind)kind,
                         .then = (aml_then)then,
                         .by = by < 0 ? AML_BY_IQR : (aml_by)by,
                         .place = job_place(jobs, span),
                         .limit = value_is_number(limit) ? value_number(limit) : 0,
                         .low = value_is_number(low) ? value_number(low) : -INFINITY,
                         .high = value_is_number(high) ? value_number(high) : INFINITY};
    return read_fields(jobs, block, record_item(jobs, rule, "on"), span, clean);
}

bool read_clean(Jobs *jobs, Node *node, const DataBlock *block, aml_dataset *table)
{
    Setting setting = setting_of(jobs, node, "clean");
    Value value = setting_eval(jobs, &setting, "clean");
    Vec(aml_clean) rules = {0};
    if (value_is(value, VALUE_POISON))
        return false;
    if (!value_is(value, VALUE_LIST)) {
        setting_wrong(jobs, &setting, "clean", "a list of rules, such as [duplicates()]", value);
        return false;
    }
    for (int i = 0; i < value.as.list.count; i++) {
        aml_clean clean;
        const NodeList *items =
            setting.value->kind == NODE_List ? &setting.value->as.list.items : NULL;
        Span span = items && i < items->count ? items->at[i]->span : setting.span;
        if (!read_rule(jobs, block, &setting, value.as.list.at[i], span, &clean))
            return false;
        vec_push(jobs->arena, &rules, clean);
    }
    if (rules.count > 0 && table->window > 0) {
        report(jobs->cx, setting.span, clean_windows);
        return false;
    }
    table->clean = rules.at;
    table->cleans = rules.count;
    return true;
}
