// Philox4x32-10 (Salmon et al., 2011): a random number is a function of a counter and a key, so
// nothing has to be saved but the position.

#include "runtime/base/base.h"

void amli_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t result[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0],
             k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    result[0] = c0;
    result[1] = c1;
    result[2] = c2;
    result[3] = c3;
}

void amli_shuffle(int64_t *order, int64_t count, int64_t seed, uint64_t stream, uint32_t use)
{
    uint32_t key[2] = {(uint32_t)(uint64_t)seed, (uint32_t)((uint64_t)seed >> 32) ^ use};
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t counter[4] = {(uint32_t)(uint64_t)i, (uint32_t)((uint64_t)i >> 32),
                               (uint32_t)stream, (uint32_t)(stream >> 32)};
        uint32_t word[4];
        amli_philox(counter, key, word);
        uint64_t bits = word[0] | (uint64_t)word[1] << 32;
        int64_t j = (int64_t)(((unsigned __int128)bits * (uint64_t)(i + 1)) >> 64);
        int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
