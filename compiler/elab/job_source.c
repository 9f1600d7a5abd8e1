// job_source.c: where a data set's samples come from: one function a kind of source.

#include "elab/job.h"

#include <string.h>

// What reading a source's settings needs.
typedef struct Reading {
    Jobs *jobs;
    Node *node; // the block
    const Setting *setting;
    const char *name; // source or test
    Value value;      // the record that csv(...), idx(...) made
    aml_source *source;
    DataSource *out;
} Reading;

static bool wrong(Reading *r)
{
    setting_wrong(r->jobs, r->setting, r->name, NULL, r->value);
    return false;
}

static Value item(Reading *r, const char *name)
{
    return record_item(r->jobs, r->value, name);
}

static bool read_path(Reading *r, const char *name, int file)
{
    Value path = item(r, name);
    if (!value_is(path, VALUE_TEXT))
        return wrong(r);
    r->source->file[file] = job_text(r->jobs, path);
    return true;
}

static bool read_whole(Reading *r, const char *name, int64_t least, int64_t most, int64_t *out)
{
    Value value = item(r, name);
    if (value_is(value, VALUE_INT) && value.as.whole >= least && value.as.whole <= most) {
        *out = value.as.whole;
        return true;
    }
    report(r->jobs->cx, r->setting->span, setting_range, name,
           arena_printf(r->jobs->arena, "%lld to %lld", (long long)least, (long long)most),
           value_show(r->jobs->e, value));
    return false;
}

// ---- one function a kind: false after a report

enum { MOST_ROWS = 1 << 30 };

// What csv and jsonl have in common.
static bool read_text_form(Reading *r)
{
    Value memory = item(r, "memory"), comment = item(r, "comment");
    r->out->missing = item(r, "missing");
    if (value_is(memory, VALUE_QUANTITY) && memory.as.quantity.value >= 0)
        r->source->memory_bytes = (size_t)memory.as.quantity.value;
    Sym mark = value_plain_text(comment);
    if (mark && strlen(mark) == 1 && mark[0] != '"' && mark[0] > ' ')
        r->source->comment = mark[0];
    else if (!value_is(comment, VALUE_NONE)) {
        report(r->jobs->cx, r->setting->span, setting_range, "comment", "one character",
               value_show(r->jobs->e, comment));
        return false;
    }
    r->out->named = text_default(r->jobs, item(r, "path"));
    r->out->path = find_data(r->jobs->cx, r->out->named);
    return true;
}

static bool read_csv(Reading *r)
{
    Jobs *jobs = r->jobs;
    aml_source *source = r->source;
    if (!read_path(r, "path", 0))
        return false;
    Sym separator = value_plain_text(item(r, "separator"));
    if (!separator || strlen(separator) != 1 || separator[0] == '"' || separator[0] == '\n' ||
        separator[0] == '\r') {
        report(jobs->cx, r->setting->span, setting_range, "separator",
               "one character other than a quote or a line end",
               value_show(jobs->e, item(r, "separator")));
        return false;
    }
    if (!read_text_form(r))
        return false;
    Sym header = value_word(item(r, "header")), quotes = value_word(item(r, "quotes"));
    source->literal_quotes = quotes && strcmp(quotes, "no") == 0;
    source->separator = separator[0];
    source->header = !header || strcmp(header, "auto") == 0 ? AML_HEADER_AUTO
                     : strcmp(header, "yes") == 0           ? AML_HEADER_YES
                                                            : AML_HEADER_NO;
    if (value_is(item(r, "window"), VALUE_NONE))
        return true;
    return read_whole(r, "window", 1, MOST_ROWS, &r->out->window) &&
           read_whole(r, "stride", 1, MOST_ROWS, &r->out->stride);
}

static bool read_idx(Reading *r)
{
    if (!read_path(r, "images", 0))
        return false;
    return value_is(item(r, "labels"), VALUE_NONE) || read_path(r, "labels", 1);
}

static bool read_synthetic(Reading *r)
{
    Value seed = item(r, "seed");
    r->out->generate = item(r, "sample");
    if (!value_is(r->out->generate, VALUE_FUNCTION) || !value_is(seed, VALUE_INT))
        return wrong(r);
    r->source->seed = seed.as.whole;
    return read_whole(r, "count", 1, MOST_ROWS, &r->source->rows);
}

// A sample is a window of tokens, of which the last is only a target. Samples begin where the
// targets of the one before end: an epoch has every token as a target once.
static bool read_text(Reading *r)
{
    if (!read_path(r, "path", 0) || !read_whole(r, "window", 2, MOST_ROWS, &r->out->window))
        return false;
    r->out->stride = 1;
    r->out->apart = r->out->window - 1;
    r->source->tokenizer = text_tokenizer(r->jobs, r->node);
    return r->source->tokenizer != NULL;
}

static bool read_jsonl(Reading *r)
{
    return read_path(r, "path", 0) && read_text_form(r);
}

static bool read_windows(Reading *r)
{
    Value memory = item(r, "memory"), nan = item(r, "nan");
    Sym word = value_word(nan);
    r->source->keeps_nan = word && strcmp(word, "keep") == 0;
    if (value_is(memory, VALUE_QUANTITY) && memory.as.quantity.value >= 0)
        r->source->memory_bytes = (size_t)memory.as.quantity.value;
    if (value_is(item(r, "window"), VALUE_NONE))
        return true;
    return read_whole(r, "window", 1, MOST_ROWS, &r->out->window) &&
           read_whole(r, "stride", 1, MOST_ROWS, &r->out->stride);
}

static bool read_npy(Reading *r)
{
    if (!read_path(r, "values", 0))
        return false;
    return (value_is(item(r, "labels"), VALUE_NONE) || read_path(r, "labels", 1)) &&
           read_windows(r);
}

static bool read_npz(Reading *r)
{
    return read_path(r, "path", 0) && read_windows(r);
}

static bool read_images(Reading *r)
{
    return read_path(r, "path", 0) && image_settings(r->jobs, r->setting, r->value, r->source);
}

static bool read_image_list(Reading *r)
{
    static const char *const part[] = {"image", "label"};
    for (int i = 0; i < 2; i++) {
        r->source->column[i] = value_plain_text(item(r, part[i]));
        if (!r->source->column[i])
            return wrong(r);
    }
    return read_images(r);
}

static bool read_shards(Reading *r)
{
    Sym label = value_plain_text(item(r, "label"));
    bool known = label && (strcmp(label, "cls") == 0 || strcmp(label, "txt") == 0 ||
                           (strncmp(label, "json.", 5) == 0 && label[5]));
    if (!known) {
        report(r->jobs->cx, r->setting->span, setting_range, "label",
               "\"cls\", \"txt\" or \"json.KEY\"", value_show(r->jobs->e, item(r, "label")));
        return false;
    }
    bool stated = !value_is(item(r, "text"), VALUE_NONE);
    Sym text = stated                      ? value_plain_text(item(r, "text"))
               : strcmp(label, "txt") == 0 ? "text"
                                           : "txt";
    if (!text || !*text || strchr(text, '/') || strcmp(text, label) == 0) {
        report(r->jobs->cx, r->setting->span, setting_range, "text",
               "the ending of the texts' names, such as \"txt\", and not that of the labels",
               value_show(r->jobs->e, item(r, "text")));
        return false;
    }
    r->source->column[0] = text;
    r->source->column[1] = label;
    return read_images(r);
}

static bool read_audio(Reading *r)
{
    int64_t rate;
    Value cache = item(r, "cache");
    if (!read_path(r, "path", 0) || !read_whole(r, "rate", 100, 1000000, &rate))
        return false;
    if (!value_is(cache, VALUE_QUANTITY) || cache.as.quantity.unit != AML_UNIT_BYTES)
        return wrong(r);
    r->source->cache_bytes = (size_t)cache.as.quantity.value;
    bool listed = !value_is(item(r, "list"), VALUE_NONE);
    aml_files *files = listed ? list_settings(r->jobs, r->setting, r->node, r->value)
                              : files_settings(r->jobs, r->setting, r->value);
    if (!files)
        return false;
    Sym take = value_word(item(r, "take"));
    files->rate = rate;
    files->middle = take && strcmp(take, "middle") == 0;
    r->source->files = files;
    return true;
}

static bool read_texts(Reading *r)
{
    Value cache = item(r, "cache");
    if (!read_path(r, "path", 0))
        return false;
    if (!value_is(cache, VALUE_QUANTITY) || cache.as.quantity.unit != AML_UNIT_BYTES)
        return wrong(r);
    r->source->cache_bytes = (size_t)cache.as.quantity.value;
    r->source->files = files_settings(r->jobs, r->setting, r->value);
    return r->source->files != NULL;
}

static const struct {
    const char *name;
    aml_source_kind kind;
    bool (*read)(Reading *r);
    const char *expected; // what a field may be
    const char *part[AML_SOURCE_FILES];
} source_info[] = {
    [AML_SOURCE_NONE] = {"", AML_SOURCE_NONE, NULL, "", {NULL}},
    [AML_SOURCE_CSV] = {"csv", AML_SOURCE_CSV, read_csv, "column(...) or columns(...)", {NULL}},
    [AML_SOURCE_IDX] = {"idx", AML_SOURCE_IDX, read_idx, "images or labels", {"images", "labels"}},
    [AML_SOURCE_IMAGES] =
        {"images", AML_SOURCE_IMAGES, read_images, "image or label", {"image", "label"}},
    [AML_SOURCE_IMAGE_LIST] = {"image_list",
                               AML_SOURCE_IMAGE_LIST,
                               read_image_list,
                               "image or label",
                               {"image", "label"}},
    [AML_SOURCE_JSONL] = {"jsonl", AML_SOURCE_JSONL, read_jsonl, "column(\"a.b\")", {NULL}},
    [AML_SOURCE_NPY] = {"npy", AML_SOURCE_NPY, read_npy, "values or labels", {"values", "labels"}},
    [AML_SOURCE_NPZ] = {"npz", AML_SOURCE_NPZ, read_npz, "array(\"x\")", {NULL}},
    [AML_SOURCE_SHARDS] = {"shards",
                           AML_SOURCE_SHARDS,
                           read_shards,
                           "image, label or tokens(contents(), ...)",
                           {"image", "label"}},
    [AML_SOURCE_AUDIO] = {"audio",
                          AML_SOURCE_AUDIO,
                          read_audio,
                          "samples, length or part(\"...\")",
                          {"samples", "length"}},
    [AML_SOURCE_TEXTS] = {"texts",
                          AML_SOURCE_TEXTS,
                          read_texts,
                          "tokens(contents(), ...), token_count(\"...\") or part(\"...\")",
                          {NULL}},
    [AML_SOURCE_SYNTHETIC] = {"synthetic",
                              AML_SOURCE_SYNTHETIC,
                              read_synthetic,
                              "nothing (what the source's function returns)",
                              {NULL}},
    [AML_SOURCE_TEXT] = {"text", AML_SOURCE_TEXT, read_text, "tokens", {"tokens"}},
};
_Static_assert(COUNT_OF(source_info) == AML_SOURCE_KINDS, "one row a kind of source");

const char *source_name(aml_source_kind kind)
{
    return source_info[kind].name;
}

const char *source_expected(aml_source_kind kind)
{
    return source_info[kind].expected;
}

int source_part(aml_source_kind kind, Sym word)
{
    for (int i = 0; i < AML_SOURCE_FILES; i++)
        if (word && source_info[kind].part[i] && strcmp(source_info[kind].part[i], word) == 0)
            return i;
    return -1;
}

bool read_source(Jobs *jobs, Node *node, const char *name, aml_source *source, DataSource *out)
{
    Setting setting = setting_of(jobs, node, name);
    Value value = setting_eval(jobs, &setting, name);
    *source = (aml_source){.kind = AML_SOURCE_NONE};
    *out = (DataSource){.span = setting.span, .generate = value_none(), .missing = value_none()};
    if (value_is(value, VALUE_NONE)) {
        if (strcmp(name, "source") != 0)
            return true;
        if (diag_errors(jobs->cx) == 0)
            report(jobs->cx, node->as.job.name_span, setting_missing, "dataset", name);
        return false;
    }
    Reading reading = {jobs, node, &setting, name, value, source, out};
    Sym kind = value_word(record_item(jobs, value, "source"));
    for (size_t i = 1; kind && i < COUNT_OF(source_info); i++)
        if (strcmp(source_info[i].name, kind) == 0) {
            source->kind = source_info[i].kind;
            source->place = job_place(jobs, setting.span);
            return source_info[i].read(&reading);
        }
    return wrong(&reading);
}
