// random.c: the op `random`: uniform numbers of a counter-based generator (Philox4x32-10, Salmon et
// al. 2011).
//
// Element e of the stream (seed, step, site) is a function of these four numbers alone. 64 elements
// make a group, drawn from 16 counters of four words each, so that neighbours in memory are
// neighbours in a register:
//
//   element in the group    0 .. 15    16 .. 31    32 .. 47    48 .. 63
//   word of the output      0          1           2           3
//   counter - 16 * group    0 .. 15    0 .. 15     0 .. 15     0 .. 15

#include "vector.h"

enum { RANDOM_GROUP = 64, RANDOM_COUNTERS = 16 };

#define PHILOX_MULTIPLY_0 0xD2511F53u
#define PHILOX_MULTIPLY_1 0xCD9E8D57u
#define PHILOX_KEY_0 0x9E3779B9u
#define PHILOX_KEY_1 0xBB67AE85u

typedef struct PhiloxKey {
    uint32_t step, site, key0, key1;
} PhiloxKey;

HELPER PhiloxKey philox_key(int64_t seed, int64_t step, int32_t site)
{
    uint64_t s = (uint64_t)seed, t = (uint64_t)step;
    return (PhiloxKey){(uint32_t)t, (uint32_t)site, (uint32_t)s,
                       (uint32_t)(s >> 32) ^ (uint32_t)(t >> 32)};
}

SHARED void aml_shared_random_f32(float *out, int64_t begin, int64_t end, int64_t seed,
                                  int64_t step, int32_t site);
SHARED void aml_shared_random_f64(double *out, int64_t begin, int64_t end, int64_t seed,
                                  int64_t step, int32_t site);
TEMPLATE void aml_random_group_f32(float *out, int64_t group, int64_t seed, int64_t step,
                                   int32_t site);
TEMPLATE void aml_random_group_f64(double *out, int64_t group, int64_t seed, int64_t step,
                                   int32_t site);
TEMPLATE float aml_random_one_f32(int64_t element, int64_t seed, int64_t step, int32_t site);
TEMPLATE double aml_random_one_f64(int64_t element, int64_t seed, int64_t step, int32_t site);

// Ten rounds on the four words of one block.
HELPER void philox_block(uint32_t word[4], uint32_t key0, uint32_t key1)
{
    UNROLL for (int round = 0; round < 10; round++)
    {
        uint64_t p0 = (uint64_t)PHILOX_MULTIPLY_0 * word[0],
                 p1 = (uint64_t)PHILOX_MULTIPLY_1 * word[2];
        uint32_t w0 = (uint32_t)(p1 >> 32) ^ word[1] ^ key0,
                 w2 = (uint32_t)(p0 >> 32) ^ word[3] ^ key1;
        word[0] = w0, word[1] = (uint32_t)p1, word[2] = w2, word[3] = (uint32_t)p0;
        key0 += PHILOX_KEY_0, key1 += PHILOX_KEY_1;
    }
}

// The same for F64_LANES blocks. A word is the low half of a 64-bit lane, the high half may hold
// anything: the 32 x 32 -> 64 bit multiplication that every level has reads low halves only.
HELPER void philox_blocks(u64v word[4], uint32_t key0, uint32_t key1)
{
    const uint64_t low = 0xffffffffu;
    UNROLL for (int round = 0; round < 10; round++)
    {
        u64v p0 = (word[0] & low) * (uint64_t)PHILOX_MULTIPLY_0,
             p1 = (word[2] & low) * (uint64_t)PHILOX_MULTIPLY_1;
        u64v w0 = (p1 >> 32) ^ word[1] ^ (uint64_t)key0, w2 = (p0 >> 32) ^ word[3] ^ (uint64_t)key1;
        word[0] = w0, word[1] = p1, word[2] = w2, word[3] = p0;
        key0 += PHILOX_KEY_0, key1 += PHILOX_KEY_1;
    }
}

// The counters first .. first + F64_LANES of a group.
HELPER void philox_group_part(u64v word[4], int64_t group, int first, PhiloxKey key)
{
    u64v lane;
    UNROLL for (int i = 0; i < F64_LANES; i++) lane[i] = (uint64_t)(first + i);
    u64v counter = lane + (uint64_t)group * RANDOM_COUNTERS;
    word[0] = counter;
    word[1] = counter >> 32;
    word[2] = (u64v){} + (uint64_t)key.step;
    word[3] = (u64v){} + (uint64_t)key.site;
    philox_blocks(word, key.key0, key.key1);
}

SHARED void aml_shared_random_f32(float *out, int64_t begin, int64_t end, int64_t seed,
                                  int64_t step, int32_t site)
{
    // The generator is much code: one call, for whole groups and for a cut one.
    float last[RANDOM_GROUP];
    NO_UNROLL for (int64_t element = begin; element < end; element += RANDOM_GROUP)
    {
        int64_t left = end - element;
        bool cut = left < RANDOM_GROUP;
        float *to = out + (element - begin);
        aml_random_group_f32(cut ? last : to, element / RANDOM_GROUP, seed, step, site);
        NO_UNROLL for (int64_t i = 0; cut && i < left; i++) to[i] = last[i];
    }
}

SHARED void aml_shared_random_f64(double *out, int64_t begin, int64_t end, int64_t seed,
                                  int64_t step, int32_t site)
{
    double last[RANDOM_GROUP]; // one call, as above
    NO_UNROLL for (int64_t element = begin; element < end; element += RANDOM_GROUP)
    {
        int64_t left = end - element;
        bool cut = left < RANDOM_GROUP;
        double *to = out + (element - begin);
        aml_random_group_f64(cut ? last : to, element / RANDOM_GROUP, seed, step, site);
        NO_UNROLL for (int64_t i = 0; cut && i < left; i++) to[i] = last[i];
    }
}

TEMPLATE void aml_random_group_f32(float *out, int64_t group, int64_t seed, int64_t step,
                                   int32_t site)
{
    typedef float half __attribute__((vector_size(F64_LANES * 4)));
    typedef int32_t half_int __attribute__((vector_size(F64_LANES * 4)));
    PhiloxKey key = philox_key(seed, step, site);
    UNROLL for (int first = 0; first < RANDOM_COUNTERS; first += F64_LANES)
    {
        u64v word[4];
        philox_group_part(word, group, first, key);
        UNROLL for (int w = 0; w < 4; w++)
        {
            half_int bits = __builtin_convertvector((word[w] & 0xffffffffu) >> 8, half_int);
            half value = __builtin_convertvector(bits, half) * 0x1p-24f;
            __builtin_memcpy(out + w * RANDOM_COUNTERS + first, &value, sizeof value);
        }
    }
}

TEMPLATE void aml_random_group_f64(double *out, int64_t group, int64_t seed, int64_t step,
                                   int32_t site)
{
    PhiloxKey key = philox_key(seed, step, site);
    UNROLL for (int first = 0; first < RANDOM_COUNTERS; first += F64_LANES)
    {
        u64v word[4];
        philox_group_part(word, group, first, key);
        UNROLL for (int w = 0; w < 4; w++)
        {
            // The bits of 2^52 + word are the word below the exponent of 2^52.
            u64v bits = (word[w] & 0xffffffffu) | 0x4330000000000000u;
            f64v value = ((f64v)bits - 0x1p52) * 0x1p-32;
            f64_store(out + w * RANDOM_COUNTERS + first, value);
        }
    }
}

HELPER uint32_t random_word(int64_t element, PhiloxKey key)
{
    uint64_t counter = (uint64_t)(element / RANDOM_GROUP) * RANDOM_COUNTERS +
                       (uint64_t)(element % RANDOM_COUNTERS);
    uint32_t word[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), key.step, key.site};
    philox_block(word, key.key0, key.key1);
    return word[element % RANDOM_GROUP / RANDOM_COUNTERS];
}

TEMPLATE float aml_random_one_f32(int64_t element, int64_t seed, int64_t step, int32_t site)
{
    return (float)(random_word(element, philox_key(seed, step, site)) >> 8) * 0x1p-24f;
}

TEMPLATE double aml_random_one_f64(int64_t element, int64_t seed, int64_t step, int32_t site)
{
    return (double)random_word(element, philox_key(seed, step, site)) * 0x1p-32;
}
