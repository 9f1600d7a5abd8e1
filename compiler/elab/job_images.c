// job_images.c: pictures as data: their settings, and the names of their classes.
//
// The classes of images("folder") are its folders, in the order of their names. If the folder is
// there when the program is compiled, their number is known then (NAME.classes) and the names go
// into the program, which compares them with what it finds when it runs.

#include "elab/job.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MADE_UP_CLASSES = 7, MOST_CLASSES = 100000, MOST_SIDE = 1 << 14, MOST_PIXELS = 1 << 30 };

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The folders in a folder, sorted; none if it is not there.
static void folder_names(Jobs *jobs, const char *path, aml_source *source)
{
    DIR *folder = opendir(path);
    if (!folder)
        return;
    Vec(const char *) name = {0};
    for (struct dirent *entry; (entry = readdir(folder)) && name.count < MOST_CLASSES;) {
        struct stat info;
        const char *inner = arena_printf(jobs->arena, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(inner, &info) == 0 && S_ISDIR(info.st_mode))
            vec_push(jobs->arena, &name,
                     arena_text(jobs->arena, entry->d_name, strlen(entry->d_name)));
    }
    closedir(folder);
    if (name.count)
        qsort(name.at, (size_t)name.count, sizeof *name.at, compare_texts);
    source->classes = name.count;
    source->class_name = name.at;
}

// classes: ["cat", "dog"].
static bool listed_names(Jobs *jobs, const Setting *setting, Value value, aml_source *source)
{
    Vec(const char *) name = {0};
    for (int i = 0; value_is(value, VALUE_LIST) && i < value.as.list.count; i++) {
        Sym text = value_plain_text(value.as.list.at[i]);
        for (int k = 0; k < name.count && text; k++)
            text = strcmp(name.at[k], text) == 0 ? NULL : text;
        if (!text)
            break;
        vec_push(jobs->arena, &name, text);
    }
    if (value_is(value, VALUE_LIST) && name.count == value.as.list.count && name.count > 0) {
        source->classes = name.count;
        source->class_name = name.at;
        return true;
    }
    report(jobs->cx, setting->span, setting_range, "classes",
           "a list of different names of classes", value_show(jobs->e, value));
    return false;
}

static bool whole_setting(Jobs *jobs, const Setting *setting, Value record, const char *name,
                          int64_t least, int64_t most, int64_t *out)
{
    Value value = record_item(jobs, record, name);
    bool is_bytes = value_is(value, VALUE_QUANTITY) && value.as.quantity.unit == AML_UNIT_BYTES;
    *out = is_bytes                     ? (int64_t)value.as.quantity.value
           : value_is(value, VALUE_INT) ? value.as.whole
                                        : -1;
    if (*out >= least && *out <= most)
        return true;
    report(jobs->cx, setting->span, setting_range, name,
           arena_printf(jobs->arena, "%lld to %lld", (long long)least, (long long)most),
           value_show(jobs->e, value));
    return false;
}

bool image_source(aml_source_kind kind)
{
    return kind == AML_SOURCE_IMAGES || kind == AML_SOURCE_IMAGE_LIST || kind == AML_SOURCE_SHARDS;
}

bool image_settings(Jobs *jobs, const Setting *setting, Value record, aml_source *source)
{
    int64_t background, cache;
    if (!whole_setting(jobs, setting, record, "background", 0, 255, &background) ||
        !whole_setting(jobs, setting, record, "pixels", 1, MOST_PIXELS, &source->most_pixels) ||
        !whole_setting(jobs, setting, record, "cache", 0, INT64_MAX, &cache))
        return false;
    Sym resize = value_word(record_item(jobs, record, "resize"));
    source->resize = !resize || strcmp(resize, "crop") == 0 ? AML_RESIZE_CROP
                     : strcmp(resize, "fit") == 0           ? AML_RESIZE_FIT
                                                            : AML_RESIZE_STRETCH;
    source->background = (int32_t)background;
    source->cache_bytes = (size_t)cache;
    Value classes = record_item(jobs, record, "classes");
    if (!value_is(classes, VALUE_NONE))
        return listed_names(jobs, setting, classes, source);
    const char *path = text_default(jobs, record_item(jobs, record, "path"));
    const char *found = source->kind == AML_SOURCE_IMAGES ? find_data(jobs->cx, path) : NULL;
    if (found)
        folder_names(jobs, found, source);
    return true;
}

// How many classes the missing folder of a data set is taken to have.
static Value made_up(Jobs *jobs, const char *dataset, Span span)
{
    report(jobs->cx, span, stands_in, arena_printf(jobs->arena, "the folder of '%s'", dataset),
           arena_printf(jobs->arena, "%d classes", MADE_UP_CLASSES));
    return value_int(MADE_UP_CLASSES);
}

bool image_names(Jobs *jobs, Env *env, const Node *field, const aml_dataset *data)
{
    const Node *type = field->as.data.type;
    if (data->source.classes) {
        env_bind(jobs->e, env, job_word(jobs, "classes"), value_int(data->source.classes));
    } else if (strstr(span_text(jobs, type->span), "(classes)") && jobs->cx->without_data) {
        env_bind(jobs->e, env, job_word(jobs, "classes"), made_up(jobs, data->name, type->span));
    } else if (strstr(span_text(jobs, type->span), "(classes)")) {
        report(jobs->cx, type->span, no_folder_classes, data->name);
        help(jobs->cx, "class(5) needs no folder when the program is compiled");
        return false;
    }
    return true;
}

bool image_field(Jobs *jobs, const Node *field, const TypeValue *type, const aml_source *source,
                 int part)
{
    const Node *stated = field->as.data.type;
    bool sized = true;
    for (int i = 0; i < type->rank; i++)
        sized = sized && type->dim[i] >= 1 && type->dim[i] <= MOST_SIDE;
    if (part == 0) {
        bool fits =
            type->dtype == DTYPE_U8 && type->classes == 0 && sized &&
            (type->rank == 2 || (type->rank == 3 && (type->dim[2] == 1 || type->dim[2] == 3)));
        if (fits)
            return true;
        report(jobs->cx, stated->span, image_field, field->as.data.name,
               span_text(jobs, stated->span));
        help(jobs->cx,
             "u8[height, width, 3] has red, green and blue, u8[height, width] gray levels");
        return false;
    }
    if (type->classes > 0 && type->rank == 0 &&
        (source->classes == 0 || type->classes == source->classes))
        return true;
    if (type->classes == 0 || type->rank != 0) {
        report(jobs->cx, stated->span, label_field, field->as.data.name,
               span_text(jobs, stated->span));
        return false;
    }
    report(jobs->cx, stated->span, folder_classes, field->as.data.name, (long long)type->classes,
           source->classes);
    Buffer names = {.arena = jobs->arena};
    for (int i = 0; i < source->classes && i < 8; i++)
        buffer_printf(&names, "%s%s", i ? ", " : "", source->class_name[i]);
    note(jobs->cx, stated->span, "they are %s%s", names.text, source->classes > 8 ? ", ..." : "");
    return false;
}

bool image_classes(Jobs *jobs, Node *dataset, int64_t *classes)
{
    Setting setting = setting_of(jobs, dataset, "source");
    Value value = setting_eval(jobs, &setting, "source");
    Sym kind = value_word(record_item(jobs, value, "source"));
    bool is_folder = kind && strcmp(kind, "images") == 0;
    aml_source source = {.kind = is_folder ? AML_SOURCE_IMAGES : AML_SOURCE_IMAGE_LIST};
    if (!kind || (!is_folder && strcmp(kind, "image_list") != 0 && strcmp(kind, "shards") != 0))
        return false;
    if (!image_settings(jobs, &setting, value, &source))
        return true;
    *classes = source.classes;
    return true;
}

Value data_member(Elab *e, Node *job, Sym part, Span span)
{
    Jobs *jobs = e->job_data;
    int64_t classes = -1;
    int errors = diag_errors(e->cx);
    if (strcmp(job->as.job.kind, "dataset") != 0 || strcmp(part, "classes") != 0 ||
        !image_classes(jobs, job, &classes))
        return text_member(e, job, part, span);
    if (classes > 0)
        return value_int(classes);
    if (diag_errors(e->cx) == errors && e->cx->without_data) {
        return made_up(jobs, job->as.job.name, elab_span(e, span));
    }
    if (diag_errors(e->cx) == errors)
        report(e->cx, elab_span(e, span), no_folder_classes, job->as.job.name);
    return value_poison();
}
