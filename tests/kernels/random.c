// The generator gives the published numbers of Philox4x32-10, the documented place of every
// element, and the same numbers however the range is cut.

#include "../check.h"
#include "guarded.h"
#include "kernels.c"

// Philox4x32-10 written down once more, in the plainest way.
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c[4], k[2] = {key[0], key[1]};
    memcpy(c, counter, sizeof c);
    for (int round = 0; round < 10; round++) {
        uint64_t a = c[0] * 0xD2511F53ull, b = c[2] * 0xCD9E8D57ull;
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9u, k[1] += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

// Known answers of Random123: counter, key, output.
static const uint32_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
     0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

TEST(published_numbers)
{
    for (int i = 0; i < 3; i++) {
        uint32_t plain[4], block[4];
        u64v blocks[4];
        philox(known[i], known[i] + 4, plain);
        memcpy(block, known[i], sizeof block);
        philox_block(block, known[i][4], known[i][5]);
        for (int w = 0; w < 4; w++)
            blocks[w] = (u64v){} + (uint64_t)known[i][w];
        philox_blocks(blocks, known[i][4], known[i][5]);
        for (int w = 0; w < 4; w++) {
            CHECK_INT(plain[w], known[i][6 + w]);
            CHECK_INT(block[w], known[i][6 + w]);
            for (int lane = 0; lane < F64_LANES; lane++)
                CHECK_INT((uint32_t)blocks[w][lane], known[i][6 + w]);
        }
    }
}

static uint32_t word_of_element(int64_t e, int64_t seed, int64_t step, int32_t site)
{
    uint64_t index = (uint64_t)(e / 64) * 16 + (uint64_t)(e % 16);
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)step,
                           (uint32_t)site};
    uint32_t key[2] = {(uint32_t)seed,
                       (uint32_t)((uint64_t)seed >> 32) ^ (uint32_t)((uint64_t)step >> 32)};
    uint32_t out[4];
    philox(counter, key, out);
    return out[e % 64 / 16];
}

TEST(every_element_is_where_it_should_be)
{
    static const int64_t seeds[] = {0, 1, -1, 0x123456789abcdef0},
                         steps[] = {0, 1, 0x100000001, -5};
    static const int64_t begins[] = {0, 64, 640, 64 * 0x10000000ll, 64 * 0x3fffffffffll};
    for (int i = 0; i < 4 * 4 * 5; i++) {
        int64_t seed = seeds[i % 4], step = steps[i / 4 % 4], begin = begins[i / 16];
        int32_t site = i * 7 - 3;
        for (int64_t count = 0; count < 200; count += count < 70 ? 1 : 13) {
            Guarded guard32, guard64;
            float *f32 = guarded_new(&guard32, (size_t)count * 4, true);
            double *f64 = guarded_new(&guard64, (size_t)count * 8, true);
            aml_shared_random_f32(f32, begin, begin + count, seed, step, site);
            aml_shared_random_f64(f64, begin, begin + count, seed, step, site);
            for (int64_t e = 0; e < count; e++) {
                uint32_t word = word_of_element(begin + e, seed, step, site);
                CHECK((double)f32[e] == (word >> 8) * 0x1p-24);
                CHECK(f64[e] == word * 0x1p-32);
                CHECK(aml_random_one_f32(begin + e, seed, step, site) == f32[e]);
                CHECK(aml_random_one_f64(begin + e, seed, step, site) == f64[e]);
            }
            guarded_free(&guard32), guarded_free(&guard64);
        }
    }
}

TEST(numbers_are_uniform)
{
    enum { COUNT = 1 << 20, CELLS = 256 };
    static float values[COUNT];
    static int cells[CELLS];
    aml_shared_random_f32(values, 0, COUNT, 42, 7, 3);
    double sum = 0, square = 0, chi = 0;
    for (int i = 0; i < COUNT; i++) {
        CHECK(values[i] >= 0 && values[i] < 1);
        sum += (double)values[i], square += (double)values[i] * (double)values[i];
        cells[(int)(values[i] * CELLS)]++;
    }
    for (int i = 0; i < CELLS; i++)
        chi += (cells[i] - COUNT / CELLS) * (double)(cells[i] - COUNT / CELLS) / (COUNT / CELLS);
    CHECK_CLOSE(sum / COUNT, 0.5, 0.0015);
    CHECK_CLOSE(square / COUNT, 1.0 / 3, 0.0015);
    CHECK_CLOSE(chi, CELLS - 1, 110);
}

int main(void)
{
    if (!processor_can_run()) {
        printf("SKIP random_v%d: this processor lacks the level\n", AML_WIDTH);
        return 0;
    }
    RUN(published_numbers);
    RUN(every_element_is_where_it_should_be);
    RUN(numbers_are_uniform);
    CHECK_SUMMARY();
}
