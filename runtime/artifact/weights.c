// Whether a file has the weights that a deployed program was compiled for.

#include <string.h>

#include "aml/weights.h"
#include "runtime/base/hash.h"

_Static_assert(sizeof(aml_weights_head) == 256 && sizeof(aml_weights_head) % AML_ALIGNMENT == 0,
               "constants follow the head without a gap");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the head is copied as it is");

static void copy_text(char *to, size_t room, const char *text)
{
    memcpy(to, text, strnlen(text, room - 1));
}

void aml_weights_describe(const aml_weights_file *file, aml_weights_head *out)
{
    *out = (aml_weights_head){.magic = {'A', 'M', 'L', 'W', 'T', 'S', '\r', '\n'},
                              .version = AML_WEIGHTS_VERSION,
                              .head_bytes = sizeof *out,
                              .bytes = file->bytes};
    memcpy(out->hash, file->hash, strnlen(file->hash, sizeof out->hash));
    copy_text(out->levels, sizeof out->levels, file->levels);
    copy_text(out->model, sizeof out->model, file->model);
}

static bool has_hash(const char *at, size_t bytes, const char *expected)
{
    struct sha256_ctx hash;
    char text[AMLI_HASH_TEXT];
    sha256_init(&hash);
    sha256_update(&hash, bytes, (const uint8_t *)at);
    amli_hash_finish(&hash, text);
    return strcmp(text, expected) == 0;
}

aml_weights_problem aml_weights_examine(const aml_weights_file *file, const void *at, size_t bytes)
{
    aml_weights_head found, wanted;
    if (!at || bytes < sizeof found)
        return AML_WEIGHTS_SHORT;
    memcpy(&found, at, sizeof found);
    aml_weights_describe(file, &wanted);
    if (memcmp(found.magic, wanted.magic, sizeof found.magic) != 0)
        return AML_WEIGHTS_FOREIGN;
    if (found.version != wanted.version || found.head_bytes != wanted.head_bytes)
        return AML_WEIGHTS_FORM;
    if (strncmp(found.model, wanted.model, sizeof found.model) != 0)
        return AML_WEIGHTS_NAMED;
    if (strncmp(found.levels, wanted.levels, sizeof found.levels) != 0)
        return AML_WEIGHTS_LEVEL;
    if (found.bytes != wanted.bytes || memcmp(found.hash, wanted.hash, sizeof found.hash) != 0)
        return AML_WEIGHTS_BUILD;
    if (memcmp(&found, &wanted, sizeof found) != 0)
        return AML_WEIGHTS_HEAD;
    if (bytes != file->bytes)
        return AML_WEIGHTS_CUT;
    return has_hash((const char *)at + sizeof found, bytes - sizeof found, file->hash)
               ? AML_WEIGHTS_GOOD
               : AML_WEIGHTS_DAMAGED;
}

bool aml_weights_check(const aml_weights_file *file, const void *at, size_t bytes)
{
    return aml_weights_examine(file, at, bytes) == AML_WEIGHTS_GOOD;
}
