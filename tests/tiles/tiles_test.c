// tiles_test: tile instructions do what Intel's manual says, whoever does them: the processor, or
// the emulation that other tests of AMX rely on. Results are compared with sums written out here,
// and with values whose rounding shows in which order they were added.

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "tiles/amx.h"

typedef struct Config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} Config;

// Sums in tile 0, the left side in tile 3, the right side in tile 5.
static Config config_of(int m, int n, int k)
{
    Config config = {.palette = 1};
    config.rows[0] = config.rows[3] = (uint8_t)m;
    config.rows[5] = (uint8_t)k;
    config.row_bytes[0] = config.row_bytes[5] = (uint16_t)(4 * n);
    config.row_bytes[3] = (uint16_t)(4 * k);
    return config;
}

static void configure(const Config *config)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*config));
}

static void release(void)
{
    __asm__ volatile("tilerelease");
}

#define LOAD(tile, at, step)                                                                       \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile                                            \
                     :                                                                             \
                     : "r"(at), "r"((int64_t)(step))                                               \
                     : "memory")
#define STORE(tile, at, step)                                                                      \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)"                                        \
                     :                                                                             \
                     : "r"(at), "r"((int64_t)(step))                                               \
                     : "memory")
#define MULTIPLY(name) __asm__ volatile(name " %tmm5, %tmm3, %tmm0")

static uint32_t noise_state = 5;
static uint32_t noise(void)
{
    return (noise_state = noise_state * 1664525u + 1013904223u) >> 16;
}

// Rows are further apart than they are long; what lies between must stay.
static void fill(uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)noise();
}

// ---- bytes

static int32_t byte_sum(const uint8_t *left, const uint8_t *right, int column, int k,
                        bool left_signed, bool right_signed)
{
    int32_t sum = 0;
    for (int p = 0; p < 4 * k; p++) {
        int a = left[p], b = right[p / 4 * 80 + 4 * column + p % 4];
        a -= left_signed && a > 127 ? 256 : 0;
        b -= right_signed && b > 127 ? 256 : 0;
        sum += a * b;
    }
    return sum;
}

static void check_bytes(int m, int n, int k, int kind)
{
    uint8_t left[16][72], right[16][80];
    int32_t sums[16][20], before[16][20];
    fill(left[0], sizeof left);
    fill(right[0], sizeof right);
    fill((uint8_t *)sums[0], sizeof sums);
    memcpy(before, sums, sizeof before);
    Config config = config_of(m, n, k);
    configure(&config);
    LOAD(0, sums, sizeof sums[0]);
    LOAD(3, left, sizeof left[0]);
    LOAD(5, right, sizeof right[0]);
    switch (kind) {
    case 0:
        MULTIPLY("tdpbuud");
        break;
    case 1:
        MULTIPLY("tdpbusd");
        break;
    case 2:
        MULTIPLY("tdpbsud");
        break;
    default:
        MULTIPLY("tdpbssd");
    }
    STORE(0, sums, sizeof sums[0]);
    release();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 20; j++) {
            uint32_t expected = (uint32_t)before[i][j];
            if (i < m && j < n)
                expected += (uint32_t)byte_sum(left[i], right[0], j, k, kind & 2, kind & 1);
            CHECK_INT((uint32_t)sums[i][j], expected);
        }
}

TEST(bytes)
{
    for (int kind = 0; kind < 4; kind++) {
        check_bytes(16, 16, 16, kind);
        check_bytes(1, 1, 1, kind);
        for (int i = 0; i < 20; i++)
            check_bytes(1 + (int)noise() % 16, 1 + (int)noise() % 16, 1 + (int)noise() % 16, kind);
    }
}

// ---- bf16

static uint16_t bf16_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (uint16_t)(bits >> 16);
}

static float float_of(uint16_t bf16)
{
    uint32_t bits = (uint32_t)bf16 << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static float flushed(float value)
{
    return fabsf(value) < 0x1p-126f ? copysignf(0, value) : value;
}

// One result from k pairs, each a left one and a right one, and the sum before.
static float multiply_pairs(const float pair[][4], int k, float before)
{
    uint16_t left[32] = {0}, right[16][2];
    for (int p = 0; p < k; p++) {
        for (int i = 0; i < 2; i++) {
            left[2 * p + i] = bf16_of(pair[p][i]);
            right[p][i] = bf16_of(pair[p][2 + i]);
        }
    }
    Config config = config_of(1, 1, k);
    configure(&config);
    LOAD(0, &before, 4);
    LOAD(3, left, 64);
    LOAD(5, right, 4);
    MULTIPLY("tdpbf16ps");
    float sum;
    STORE(0, &sum, 4);
    release();
    return sum;
}

TEST(order_of_sums)
{
    // first halves alone: 2^24 + 1 rounds to 2^24, and then nothing is left
    static const float lost[][4] = {{0x1p24f, 0, 1, 0}, {1, 0, 1, 0}, {-0x1p24f, 0, 1, 0}};
    CHECK_CLOSE(multiply_pairs(lost, 3, 5), 5, 0);
    // a one among the second halves meets other ones first
    static const float apart[][4] = {{0x1p24f, 1, 1, 1}, {-0x1p24f, 1, 1, 1}};
    CHECK_CLOSE(multiply_pairs(apart, 2, 5), 7, 0);
    // both sums meet before they are added to what was there
    static const float late[][4] = {{0x1p24f, 1, 1, 1}};
    CHECK_CLOSE(multiply_pairs(late, 1, -0x1p24f), 0, 0);
    // to even: 2^24 + 3 is between 2^24 + 2 and 2^24 + 4
    static const float even[][4] = {{3, 0, 1, 0}};
    CHECK_CLOSE(multiply_pairs(even, 1, 0x1p24f), 0x1p24 + 4, 0);
}

TEST(denormals_are_zero)
{
    static const float small[][4] = {{0x1p-130f, 0, 0x1p100f, 0}};
    CHECK_CLOSE(multiply_pairs(small, 1, 0), 0, 0); // an operand
    static const float under[][4] = {{0x1p-100f, 0, 0x1p-30f, 0}};
    CHECK_CLOSE(multiply_pairs(under, 1, 0), 0, 0); // a product
    static const float zero[][4] = {{0, 0, 0, 0}};
    CHECK_CLOSE(multiply_pairs(zero, 1, 0x1p-130f), 0, 0); // what was there
    static const float least[][4] = {{0x1p-100f, 0, 0x1p-26f, 0}};
    CHECK_CLOSE(multiply_pairs(least, 1, 0), 0x1p-126, 0); // and nothing that is normal
    static const float infinite[][4] = {{INFINITY, 0, 1, 0}, {0, INFINITY, 0, 0}};
    CHECK(isinf(multiply_pairs(infinite, 1, 1)) && isnan(multiply_pairs(infinite, 2, 1)));
}

static void check_bf16(int m, int n, int k)
{
    uint16_t left[16][34], right[16][34];
    float sums[16][18], before[16][18];
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 34; j++) {
            left[i][j] = (uint16_t)((noise() & 0x83ff) | 0x3e00);
            right[i][j] = (uint16_t)((noise() & 0x83ff) | 0x3e00);
        }
        for (int j = 0; j < 18; j++)
            sums[i][j] = before[i][j] = (float)noise() / 512 - 64;
    }
    Config config = config_of(m, n, k);
    configure(&config);
    LOAD(0, sums, sizeof sums[0]);
    LOAD(3, left, sizeof left[0]);
    LOAD(5, right, sizeof right[0]);
    MULTIPLY("tdpbf16ps");
    STORE(0, sums, sizeof sums[0]);
    release();
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 18; j++) {
            float even = 0, odd = 0, expected = before[i][j];
            for (int p = 0; p < k && i < m && j < n; p++) {
                even = flushed(fmaf(float_of(left[i][2 * p]), float_of(right[p][2 * j]), even));
                odd =
                    flushed(fmaf(float_of(left[i][2 * p + 1]), float_of(right[p][2 * j + 1]), odd));
            }
            expected += even + odd;
            CHECK_CLOSE(sums[i][j], expected, 0);
        }
}

TEST(bf16)
{
    check_bf16(16, 16, 16);
    check_bf16(1, 1, 1);
    for (int i = 0; i < 20; i++)
        check_bf16(1 + (int)noise() % 16, 1 + (int)noise() % 16, 1 + (int)noise() % 16);
}

// ---- memory and configuration

TEST(addresses)
{
    uint8_t in[4096], out[16][64];
    fill(in, sizeof in);
    Config config = config_of(3, 4, 2);
    configure(&config);
    const uint8_t *base = in + 512;
#define CHECK_ROWS(from, step)                                                                     \
    do {                                                                                           \
        memset(out, 0, sizeof out);                                                                \
        STORE(0, out, 64);                                                                         \
        for (int i = 0; i < 3; i++)                                                                \
            CHECK(memcmp(out[i], (from) + i * (step), 16) == 0 && out[i][16] == 0);                \
        CHECK(out[3][0] == 0);                                                                     \
    } while (0)
    __asm__ volatile("tileloadd 16(%0,%1,4), %%tmm0" : : "r"(base), "r"(20l) : "memory");
    CHECK_ROWS(base + 16, 80);
    __asm__ volatile("tileloaddt1 -16(%0,%1,2), %%tmm0" : : "r"(base), "r"(-20l) : "memory");
    CHECK_ROWS(base - 16, -40);
    __asm__ volatile("tileloadd 1000(%0), %%tmm0" : : "r"(base) : "memory"); // one row, again
    CHECK_ROWS(base + 1000, 0);
    register const uint8_t *r13 __asm__("r13") = base;
    register long r12 __asm__("r12") = 9;
    __asm__ volatile("tileloadd (%0,%1,8), %%tmm0" : : "r"(r13), "r"(r12) : "memory");
    CHECK_ROWS(base, 72);
    register long r15 __asm__("r15") = 33;
    register const uint8_t *r14 __asm__("r14") = base;
    __asm__ volatile("tileloadd -300(%0,%1,1), %%tmm0" : : "r"(r14), "r"(r15) : "memory");
    CHECK_ROWS(base - 300, 33);
    __asm__ volatile("tilezero %tmm0");
    STORE(0, out, 64);
    for (int i = 0; i < 3 * 64; i++)
        CHECK(i % 64 >= 16 || out[i / 64][i % 64] == 0);
    release();
}

TEST(configuration)
{
    Config config = config_of(3, 4, 2), found;
    memset(&found, 0xff, sizeof found);
    configure(&config);
    __asm__ volatile("sttilecfg %0" : "=m"(found));
    CHECK(memcmp(&config, &found, sizeof config) == 0);
    uint8_t in[16][64], out[16][64];
    fill(in[0], sizeof in);
    LOAD(0, in, 64);
    configure(&config); // tiles are zero afterwards
    STORE(0, out, 64);
    CHECK(out[0][0] == 0 && out[2][15] == 0);
    release();
    static const Config none;
    __asm__ volatile("sttilecfg %0" : "=m"(found));
    CHECK(memcmp(&none, &found, sizeof none) == 0);
}

static void *other_thread(void *data)
{
    check_bf16(16, 16, 16);
    (void)data;
    return NULL;
}

TEST(threads)
{
    uint8_t in[16][64], out[16][64];
    fill(in[0], sizeof in);
    Config config = config_of(16, 16, 16);
    configure(&config);
    LOAD(0, in, 64);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    STORE(0, out, 64);
    release();
    CHECK(memcmp(in, out, sizeof in) == 0);
}

// ---- what is refused

static void wrong_configuration(void)
{
    Config config = config_of(17, 4, 2);
    configure(&config);
}

static void not_configured(void)
{
    Config config = config_of(3, 4, 2);
    configure(&config);
    __asm__ volatile("tilezero %tmm1");
}

static void sizes_apart(void)
{
    Config config = config_of(3, 4, 2);
    config.rows[5] = 3;
    configure(&config);
    MULTIPLY("tdpbssd");
}

static void used_twice(void)
{
    Config config = config_of(16, 16, 16);
    configure(&config);
    // tdpbssd %tmm5, %tmm5, %tmm0, which assemblers refuse
    __asm__ volatile(".byte 0xc4, 0xe2, 0x53, 0x5e, 0xc5");
}

static bool ends_the_process(void (*wrong)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        wrong();
        _exit(0);
    }
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child &&
           (WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

TEST(refused)
{
    CHECK(ends_the_process(wrong_configuration));
    CHECK(ends_the_process(not_configured));
    CHECK(ends_the_process(sizes_apart));
    CHECK(ends_the_process(used_twice));
}

int main(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        printf("this machine has no FMA, which the emulation is made with\n");
        return 77;
    }
    bool emulated = amx_begin();
    RUN(bytes);
    RUN(order_of_sums);
    RUN(denormals_are_zero);
    RUN(bf16);
    RUN(addresses);
    RUN(configuration);
    RUN(threads);
    RUN(refused);
    if (emulated && (amx_count(false) == 0 || amx_count(true) == 0)) {
        printf("FAIL tiles: nothing was emulated\n");
        return 1;
    }
    CHECK_SUMMARY();
}
