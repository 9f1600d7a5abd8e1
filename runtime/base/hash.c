// SHA-256 of what is in memory.

#include <nettle/sha2.h>

#include "runtime/base/base.h"
#include "runtime/base/hash.h"

void amli_hash_finish(struct sha256_ctx *hash, char text[AMLI_HASH_TEXT])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    text[AMLI_HASH_TEXT - 1] = 0;
}

void amli_hash(const void *bytes, size_t length, char text[AMLI_HASH_TEXT])
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, length, bytes);
    amli_hash_finish(&hash, text);
}
