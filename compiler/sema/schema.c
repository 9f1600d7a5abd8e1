// schema.c: blocks against the schema of their kind. Whether a value fits its setting's type is
// elaboration's business; here it is about names: of kinds, of settings, of the entries of
// record-valued settings.

#include "sema/sema.h"

#include <string.h>

static void report_unknown_kind(Unit *unit, const Node *job)
{
    Cx *cx = unit->cx;
    NameList kinds = {0};
    Buffer list = {.arena = cx->scratch};
    for (int i = 0; i < unit->schema.count; i++) {
        vec_push(cx->scratch, &kinds, unit->schema.key[i]);
        buffer_printf(&list, "%s%s", i ? ", " : "", unit->schema.key[i]);
    }
    report(cx, job->as.job.kind_span, unknown_kind, job->as.job.kind);
    static const char *const words[] = {"fn",        "model", "loss",  "metric",
                                        "optimizer", "grad",  "const", "option"};
    const char *closest = closest_name(job->as.job.kind, kinds.at, kinds.count);
    if (!closest)
        closest = closest_name(job->as.job.kind, words, COUNT_OF(words));
    if (closest)
        help(cx, "did you mean `%s`?", closest);
    else
        help(cx, "the kinds are: %s", list.text ? list.text : "none");
}

static void report_unknown_setting(Unit *unit, const Node *schema, const Node *setting)
{
    Cx *cx = unit->cx;
    NameList names = {0};
    Buffer list = {.arena = cx->scratch};
    for (int i = 0; i < schema->as.schema.settings.count; i++) {
        Sym name = schema->as.schema.settings.at[i]->as.entry.name;
        vec_push(cx->scratch, &names, name);
        buffer_printf(&list, "%s%s", i ? ", " : "", name);
    }
    report(cx, setting->as.setting.name_span, unknown_setting, schema->as.schema.name,
           setting->as.setting.name);
    const char *closest = closest_name(setting->as.setting.name, names.at, names.count);
    if (closest)
        help(cx, "did you mean `%s`?", closest);
    else
        help(cx, "the settings are: %s", list.text ? list.text : "none");
}

// `validate: 3 steps`: the entries of a setting are looked up where they are written, so they must
// be written.
static void report_no_record(Unit *unit, const Node *setting, const Node *type)
{
    Cx *cx = unit->cx;
    const Node *value = setting->as.setting.value;
    const char *text = source_file(cx, value->span.file)->text + value->span.start;
    int length = (int)strcspn(text, "\n");
    if ((uint32_t)length > value->span.end - value->span.start)
        length = (int)(value->span.end - value->span.start);
    Buffer list = {.arena = cx->scratch};
    for (int i = 0; i < type->as.rectype.params.count; i++)
        buffer_printf(&list, "%s%s: ...", i ? ", " : "",
                      type->as.rectype.params.at[i]->as.param.name);
    Sym name = setting->as.setting.name;
    report(cx, value->span, setting_type, name, "a record of settings in braces",
           arena_printf(cx->scratch, "`%.*s`", length, text));
    if (type->as.rectype.params.count == 1)
        help(cx, "write `%s: { %s: %.*s }`", name, type->as.rectype.params.at[0]->as.param.name,
             length, text);
    else
        help(cx, "write `%s: { %s }`, of these what is needed", name, list.text);
}

// `checkpoint: { evry: 1 epoch }`: the keys of a record against the record type.
static void check_keys(Unit *unit, const Node *setting, const Node *type)
{
    Cx *cx = unit->cx;
    if (!type || type->kind != NODE_RecordType || setting->as.setting.value->kind == NODE_Error)
        return;
    if (setting->as.setting.value->kind != NODE_Record) {
        report_no_record(unit, setting, type);
        return;
    }
    const NodeList *items = &setting->as.setting.value->as.record.items;
    for (int i = 0; i < items->count; i++) {
        Sym key = items->at[i]->as.setting.name;
        NameList names = {0};
        Buffer list = {.arena = cx->scratch};
        bool known = false;
        for (int k = 0; k < type->as.rectype.params.count; k++) {
            Sym name = type->as.rectype.params.at[k]->as.param.name;
            vec_push(cx->scratch, &names, name);
            buffer_printf(&list, "%s%s", k ? ", " : "", name);
            known = known || name == key;
        }
        if (known)
            continue;
        report(cx, items->at[i]->as.setting.name_span, unknown_key, setting->as.setting.name, key);
        const char *closest = closest_name(key, names.at, names.count);
        if (closest)
            help(cx, "did you mean `%s`?", closest);
        else
            help(cx, "it may have: %s", list.text);
    }
}

// `fn prepare(s)` in a data set: only the functions that the kind knows are ever called.
static void check_function(Unit *unit, const Node *schema, const Node *fn)
{
    Cx *cx = unit->cx;
    const NodeList *known = &schema->as.schema.functions;
    NameList names = {0};
    Buffer list = {.arena = cx->scratch};
    for (int i = 0; i < known->count; i++) {
        const Node *declared = known->at[i];
        vec_push(cx->scratch, &names, declared->as.fn.name);
        buffer_printf(&list, "%s%s", i ? ", " : "", declared->as.fn.name);
        if (declared->as.fn.name != fn->as.fn.name)
            continue;
        if (declared->as.fn.params.count != fn->as.fn.params.count) {
            report(cx, fn->as.fn.name_span, block_function, fn->as.fn.name, schema->as.schema.name,
                   declared->as.fn.params.count, fn->as.fn.params.count);
            diag_silence(cx, DIAG_missing_argument, fn->as.fn.name_span);
            diag_silence(cx, DIAG_extra_argument, fn->as.fn.name_span);
            if (declared->as.fn.doc)
                help(cx, "`%s`: %s", fn->as.fn.name, declared->as.fn.doc);
        }
        return;
    }
    report(cx, fn->as.fn.name_span, unknown_function, schema->as.schema.name, fn->as.fn.name);
    const char *closest = closest_name(fn->as.fn.name, names.at, names.count);
    if (closest)
        help(cx, "did you mean `%s`?", closest);
    else if (known->count > 0)
        help(cx, "it may have: %s; other functions stand outside of blocks", list.text);
    else
        help(cx, "functions stand outside of it");
}

bool job_misspells(Cx *cx, const Node *job, const Node *schema, Sym name)
{
    NameList names = {0};
    for (int i = 0; i < schema->as.schema.settings.count; i++)
        vec_push(cx->scratch, &names, schema->as.schema.settings.at[i]->as.entry.name);
    for (int i = 0; i < job->as.job.items.count; i++) {
        const Node *item = job->as.job.items.at[i];
        if (item->kind != NODE_Setting || schema_entry(schema, item->as.setting.name))
            continue;
        const char *closest = closest_name(item->as.setting.name, names.at, names.count);
        if (closest && strcmp(closest, name) == 0)
            return true;
    }
    return false;
}

// All of them in one report: they have one place.
static void report_missing(Unit *unit, const Node *job, const Node *schema)
{
    Cx *cx = unit->cx;
    UnitFile *file = unit_file(unit, job->span.file);
    Vec(const Node *) missing = {0};
    Buffer list = {.arena = cx->scratch};
    for (int i = 0; i < schema->as.schema.settings.count; i++) {
        const Node *entry = schema->as.schema.settings.at[i];
        if (entry->as.entry.value || job_setting(job, entry->as.entry.name))
            continue;
        if (map_get(&file->lost, entry->as.entry.name)) {
            diag_silence(cx, DIAG_setting_missing, job->as.job.name_span);
            continue;
        }
        if (job_misspells(cx, job, schema, entry->as.entry.name))
            continue;
        buffer_printf(&list, "%s%s", missing.count ? "', '" : "", entry->as.entry.name);
        vec_push(cx->scratch, &missing, entry);
    }
    if (missing.count == 0)
        return;
    report(cx, job->as.job.name_span, setting_missing, job->as.job.kind, list.text);
    for (int i = 0; i < missing.count; i++)
        if (missing.at[i]->as.entry.doc)
            help(cx, "`%s`: %s", missing.at[i]->as.entry.name, missing.at[i]->as.entry.doc);
}

static void check_job(Unit *unit, const Node *job)
{
    Cx *cx = unit->cx;
    const Node *schema = unit_schema(unit, job->as.job.kind);
    if (!schema) {
        report_unknown_kind(unit, job);
        return;
    }
    bool has_fields = strcmp(job->as.job.kind, "dataset") == 0;
    for (int i = 0; i < job->as.job.items.count; i++) {
        const Node *item = job->as.job.items.at[i];
        Sym name = declaration_name(item);
        for (int k = 0; k < i; k++)
            if (job->as.job.items.at[k]->kind == item->kind &&
                declaration_name(job->as.job.items.at[k]) == name) {
                if (item->kind == NODE_Setting)
                    report(cx, declaration_span(item), duplicate_setting, name);
                else
                    report(cx, declaration_span(item), duplicate_member, name);
                note(cx, declaration_span(job->as.job.items.at[k]), "it stands here first");
                break;
            }
        if (item->kind == NODE_Field && !has_fields) {
            report(cx, item->span, wrong_item, job->as.job.kind, "field");
            help(cx, "fields belong to a `dataset`");
        }
        if (item->kind == NODE_Fn)
            check_function(unit, schema, item);
        if (item->kind != NODE_Setting)
            continue;
        const Node *entry = schema_entry(schema, name);
        if (entry)
            check_keys(unit, item, entry->as.entry.type);
        else
            report_unknown_setting(unit, schema, item);
    }
    report_missing(unit, job, schema);
}

void unit_check_jobs(Unit *unit)
{
    for (int i = 0; i < unit->job.count; i++)
        check_job(unit, unit->job.at[i]);
}
