// hash.h: SHA-256 of what comes piece by piece: nettle's sha256_init and sha256_update, then
// amli_hash_finish.

#ifndef AMLI_HASH_H
#define AMLI_HASH_H

#include <nettle/sha2.h>

#include "runtime/base/base.h"

void amli_hash_finish(struct sha256_ctx *hash, char text[AMLI_HASH_TEXT]);

#endif
