// leaves.c: values that come from nowhere, and random numbers.

#include <string.h>

#include "kernel.h"

// The value was put into in[0] by the caller.
void ref_parameter(const RefCall *call)
{
    memcpy(call->out[0], call->in[0], (size_t)type_bytes(call->out_type[0]));
}

void ref_constant(const RefCall *call)
{
    Type type = call->out_type[0];
    IrData data = call->attr[0].data;
    for (int64_t i = 0; i < type_elements(type); i++)
        element_copy(type.dtype, call->out[0], i, data.at, data.splat ? 0 : i);
}

void ref_iota(const RefCall *call)
{
    Type type = call->out_type[0];
    int64_t index[IR_MAX_RANK];
    for (int64_t i = 0; i < type_elements(type); i++) {
        shape_index(type, i, index);
        element_set_whole(type.dtype, call->out[0], i, index[call->attr[0].whole]);
    }
}

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC 2011):
// ten rounds of two 32x32 bit products whose halves are crossed and mixed with a key that moves on
// by a constant each round.
void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k[2] = {key[0], key[1]};
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = UINT64_C(0xD2511F53) * c[0], product1 = UINT64_C(0xCD9E8D57) * c[2];
        uint32_t next[4] = {(uint32_t)(product1 >> 32) ^ c[1] ^ k[0], (uint32_t)product1,
                            (uint32_t)(product0 >> 32) ^ c[3] ^ k[1], (uint32_t)product0};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }
    memcpy(out, c, sizeof c);
}

uint32_t random_word(int64_t seed, int64_t step, int64_t site, int64_t element)
{
    uint64_t at = (uint64_t)(element / 64 * 16 + element % 16);
    uint32_t counter[4] = {(uint32_t)at, (uint32_t)(at >> 32), (uint32_t)(uint64_t)step,
                           (uint32_t)site};
    uint32_t key[2] = {(uint32_t)(uint64_t)seed,
                       (uint32_t)((uint64_t)seed >> 32) ^ (uint32_t)((uint64_t)step >> 32)};
    uint32_t out[4];
    philox(counter, key, out);
    return out[element % 64 / 16];
}

void ref_random(const RefCall *call)
{
    Type type = call->out_type[0];
    int64_t seed = element_whole(DTYPE_I64, call->in[0], 0),
            step = element_whole(DTYPE_I64, call->in[1], 0);
    for (int64_t i = 0; i < type_elements(type); i++) {
        uint32_t word = random_word(seed, step, call->attr[0].whole, i);
        element_set_real(type.dtype, call->out[0], i,
                         type.dtype == DTYPE_F32 ? (word >> 8) * 0x1p-24 : word * 0x1p-32);
    }
}
