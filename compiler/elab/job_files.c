// job_files.c: folders in which each file is a sample: what their names are like, which of them are
// samples, and which part of a name a field is.

#include "elab/job.h"

#include <string.h>

enum { FIRST_PART = 2, MOST_PARTS = AML_SOURCE_PARTS - FIRST_PART }; // behind content and length

static bool part_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// "{digit}_{n}.wav": NULL, or what is wrong with it.
static const char *read_pattern(Jobs *jobs, const char *pattern, aml_files *out)
{
    Vec(const char *) part = {0};
    for (const char *at = pattern; *at; at++) {
        if (*at == '}')
            return "a } without a {";
        if (*at != '{')
            continue;
        const char *begin = ++at;
        while (part_letter(*at))
            at++;
        if (*at != '}' || at == begin)
            return "expected {name}, of letters, digits and _";
        if (at[1] == '{')
            return "expected something between two parts, which else would have no border";
        const char *name = arena_text(jobs->arena, begin, (size_t)(at - begin));
        for (int i = 0; i < part.count; i++)
            if (strcmp(part.at[i], name) == 0)
                return arena_printf(jobs->arena, "{%s} is there twice", name);
        if (part.count == MOST_PARTS)
            return arena_printf(jobs->arena, "it has more than %d parts", MOST_PARTS);
        vec_push(jobs->arena, &part, name);
    }
    if (part.count == 0)
        return "it has no part, such as {label}";
    out->name = pattern;
    out->parts = part.count;
    out->part = part.at;
    return NULL;
}

static int part_index(const aml_files *files, const char *name)
{
    for (int i = 0; i < files->parts; i++)
        if (strcmp(files->part[i], name) == 0)
            return i;
    return -1;
}

static bool keep_texts(Jobs *jobs, Value list, aml_name_keep *out)
{
    Vec(const char *) text = {0};
    for (int i = 0; i < list.as.list.count; i++) {
        Sym word = value_plain_text(list.as.list.at[i]);
        if (!word)
            return false;
        vec_push(jobs->arena, &text, word);
    }
    out->texts = text.count;
    out->text = text.at;
    return text.count > 0;
}

static bool keep_item(Jobs *jobs, Value value, aml_name_keep *out)
{
    Sym text = value_plain_text(value);
    if (value_is(value, VALUE_LIST))
        return keep_texts(jobs, value, out);
    if (text) {
        const char **one = NEW(jobs->arena, const char *);
        *one = text;
        out->texts = 1;
        out->text = one;
        return true;
    }
    if (value_is(value, VALUE_INT)) {
        out->low = out->high = value.as.whole;
        return true;
    }
    Value low = record_item(jobs, value, "start"), high = record_item(jobs, value, "stop");
    if (value_is(value, VALUE_RANGE)) {
        low = value_int(value.as.range.start);
        high = value_int(value.as.range.stop);
    }
    out->low = value_is(low, VALUE_INT) ? low.as.whole : 0;
    out->high = value_is(high, VALUE_INT) ? high.as.whole : -1;
    return out->high >= out->low;
}

static bool read_keep(Jobs *jobs, const Setting *setting, Value keep, aml_files *files)
{
    if (value_is(keep, VALUE_NONE))
        return true;
    bool good = value_is(keep, VALUE_RECORD);
    int count = good ? keep.as.record->count : 0;
    aml_name_keep *out = NEW_ARRAY(jobs->arena, aml_name_keep, count + 1);
    for (int i = 0; i < count && good; i++) {
        out[i].part = part_index(files, keep.as.record->name[i]);
        if (out[i].part < 0) {
            report(jobs->cx, setting->span, not_in_block, keep.as.record->name[i],
                   "part of the name");
            return false;
        }
        good = keep_item(jobs, keep.as.record->at[i], &out[i]);
    }
    if (!good)
        report(jobs->cx, setting->span, name_keep, value_show(jobs->e, keep));
    files->keeps = count;
    files->keep = out;
    return good;
}

// The columns of a list that the data set asks for: those of part("...") and of `keep`.
static bool list_parts(Jobs *jobs, const Setting *setting, const Node *dataset, Value keep,
                       aml_files *out)
{
    Vec(const char *) part = {0};
    int kept = value_is(keep, VALUE_RECORD) ? keep.as.record->count : 0,
        fields = dataset->as.job.items.count;
    for (int i = 0; i < fields + kept; i++) {
        Sym name = i < kept ? keep.as.record->name[i] : NULL;
        Node *field = i < kept ? NULL : dataset->as.job.items.at[i - kept];
        if (field && field->kind == NODE_Field && field->as.data.value &&
            field->as.data.value->kind != NODE_Name) {
            Env *env = env_new(jobs->e, NULL, field->span.file);
            name = value_plain_text(
                record_item(jobs, elab_eval(jobs->e, env, field->as.data.value), "part"));
        }
        for (int k = 0; k < part.count && name; k++)
            name = strcmp(part.at[k], name) == 0 ? NULL : name;
        if (name)
            vec_push(jobs->arena, &part, name);
    }
    out->part = part.at;
    out->parts = part.count;
    if (part.count <= MOST_PARTS)
        return true;
    report(jobs->cx, setting->span, setting_range, "columns of the list that are read",
           arena_printf(jobs->arena, "%d at most", MOST_PARTS),
           arena_printf(jobs->arena, "%d", part.count));
    return false;
}

aml_files *list_settings(Jobs *jobs, const Setting *setting, const Node *dataset, Value record)
{
    aml_files *files = NEW(jobs->arena, aml_files);
    Value keep = record_item(jobs, record, "keep"), list = record_item(jobs, record, "list");
    files->name = "";
    files->list = value_plain_text(list);
    if (!files->list || !*files->list) {
        report(jobs->cx, setting->span, setting_type, "file", "the name of a column",
               value_what(jobs->e, list));
        return NULL;
    }
    return list_parts(jobs, setting, dataset, keep, files) && read_keep(jobs, setting, keep, files)
               ? files
               : NULL;
}

aml_files *files_settings(Jobs *jobs, const Setting *setting, Value record)
{
    aml_files *files = NEW(jobs->arena, aml_files);
    Value name = record_item(jobs, record, "name");
    const char *pattern = value_plain_text(name);
    if (!pattern) {
        report(jobs->cx, setting->span, setting_type, "name", "a pattern of names",
               value_what(jobs->e, name));
        return NULL;
    }
    const char *why = read_pattern(jobs, pattern, files);
    if (why) {
        report(jobs->cx, setting->span, name_pattern, pattern, why);
        return NULL;
    }
    return read_keep(jobs, setting, record_item(jobs, record, "keep"), files) ? files : NULL;
}

// ---- fields

static bool is_whole(const TypeValue *type)
{
    return type->rank == 0 && (type->classes > 0 || type->dtype == DTYPE_I32 ||
                               type->dtype == DTYPE_I64 || type->dtype == DTYPE_U8);
}

static bool wrong_type(Jobs *jobs, const Node *field, const char *expected)
{
    report(jobs->cx, field->as.data.type->span, files_field, field->as.data.name, expected,
           span_text(jobs, field->as.data.type->span));
    return false;
}

bool files_place(Jobs *jobs, const Node *field, const TypeValue *type, const aml_source *source,
                 Env *env, int32_t *part)
{
    Node *node = field->as.data.value;
    bool is_name = !node || node->kind == NODE_Name;
    Sym word = !node ? field->as.data.name : is_name ? node->as.name.name : NULL;
    *part = source_part(source->kind, word);
    if (*part == 0)
        return type->dtype == DTYPE_F32 && type->rank == 1 && type->dim[0] > 0 && type->classes == 0
                   ? true
                   : wrong_type(jobs, field, "f32[n], a sound of n samples");
    if (*part == 1)
        return is_whole(type) ? true : wrong_type(jobs, field, "a whole number, such as i32");
    Value value = is_name ? value_none() : elab_eval(jobs->e, env, node);
    Sym name = value_plain_text(record_item(jobs, value, "part"));
    if (value_is(value, VALUE_POISON))
        return false;
    if (!name) {
        report(jobs->cx, node ? node->span : field->span, field_source, field->as.data.name,
               source_expected(source->kind), node ? span_text(jobs, node->span) : "nothing");
        return false;
    }
    int index = part_index(source->files, name);
    if (index < 0) {
        report(jobs->cx, node->span, not_in_block, name, "part of the name");
        const char *near = closest_name(name, source->files->part, source->files->parts);
        if (near)
            help(jobs->cx, "did you mean `part(\"%s\")`?", near);
        return false;
    }
    *part = FIRST_PART + index;
    return is_whole(type) ? true
                          : wrong_type(jobs, field, "a class, or a whole number such as i32");
}
