// Whether a file has the weights that a deployed program was compiled for.

#include <string.h>

#include "aml/artifact.h"
#include "runtime/base/hash.h"

bool aml_weights_check(const aml_weights_file *file, const void *at, size_t bytes)
{
    struct sha256_ctx hash;
    char text[AMLI_HASH_TEXT];
    if (!at || bytes != file->bytes)
        return false;
    sha256_init(&hash);
    sha256_update(&hash, bytes, at);
    amli_hash_finish(&hash, text);
    return strcmp(text, file->hash) == 0;
}
