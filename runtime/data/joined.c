// The texts of a folder as one.

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "aml/utf8.h"
#include "aml/words.h"
#include "runtime/data/folder.h"

typedef struct Joined {
    const char *root;
    bool utf8;
    int64_t files;
    amli_buffer text;
} Joined;

static bool is_text(const char *name, const struct stat *info, const void *own)
{
    static const char *const ending[] = {".txt", ".text", ".md", NULL};
    (void)own;
    return S_ISREG(info->st_mode) && amli_has_ending(name, ending);
}

static aml_status check_utf8(const char *path, const char *text, size_t length, aml_error *error)
{
    long long line = 1, column = 1;
    uint32_t code = 0;
    for (size_t at = 0, step; at < length; at += step, column++) {
        step = aml_utf8_read((const unsigned char *)text + at, length - at, &code);
        if (step == 0)
            return amli_fail(error, AML_BAD_DATA,
                             "%s:%lld:%lld: expected UTF-8 text, found the byte 0x%02x", path, line,
                             column, (unsigned)(unsigned char)text[at]);
        if (code == '\n') {
            line++;
            column = 0;
        }
    }
    return AML_OK;
}

static aml_status take(const char *path, const struct stat *info, void *own, aml_error *error)
{
    Joined *joined = own;
    char whole[PATH_MAX], *text = NULL;
    size_t length = 0;
    (void)info;
    aml_status status = amli_join(whole, sizeof whole, joined->root, path, error);
    if (!status)
        status = amli_read_file(whole, &text, &length, error);
    size_t mark = !status && joined->utf8 ? aml_utf8_mark(text, length) : 0;
    if (!status && joined->utf8)
        status = check_utf8(whole, text + mark, length - mark, error);
    if (!status) {
        amli_buffer_add(&joined->text, text + mark, length - mark);
        if (length > mark && text[length - 1] != '\n')
            amli_buffer_add(&joined->text, "\n", 1);
        joined->files++;
    }
    free(text);
    return status                ? status
           : joined->text.failed ? amli_no_memory(error, joined->text.length, joined->root)
                                 : AML_OK;
}

aml_status aml_texts_read(const char *path, bool utf8, char **text, size_t *length,
                          aml_error *error)
{
    struct stat info;
    *text = NULL;
    *length = 0;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return amli_read_file(path, text, length, error);
    Joined joined = {.root = path, .utf8 = utf8};
    amli_walk walk = {.root = path, .wants = is_text, .take = take, .own = &joined};
    amli_buffer_add(&joined.text, "", 0);
    aml_status status = amli_walk_folder(&walk, "", error);
    if (!status && joined.files == 0) {
        char found[AMLI_OTHERS_TEXT];
        amli_walk_others(&walk, found);
        status =
            amli_fail(error, AML_BAD_DATA, "%s: expected texts (.txt, .md), found %s", path, found);
    }
    if (status || joined.text.failed) {
        amli_buffer_free(&joined.text);
        return status ? status : amli_no_memory(error, joined.text.length, path);
    }
    *length = joined.text.length;
    *text = joined.text.text;
    return AML_OK;
}
