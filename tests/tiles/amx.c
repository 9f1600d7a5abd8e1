// amx.c: decoding and doing tile instructions.
//
//   instruction  C4 | R X B  00010 | 0 vvvv 0 pp | opcode | ModRM, then SIB and displacement
//
// R, X, B and vvvv are stored inverted. The opcode with pp (none, 66, F3, F2) is the instruction.

#include "amx.h"

#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

typedef struct Config { // as ldtilecfg reads it
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} Config;

typedef struct Tiles {
    Config config;
    uint8_t tile[TILES][ROWS][ROW_BYTES];
} Tiles;

static _Thread_local Tiles tiles __attribute__((tls_model("initial-exec")));
static atomic_long products[2];

// Only what may be called in a handler.
static _Noreturn void refuse(const char *what, const uint8_t *code)
{
    char line[256];
    int length =
        snprintf(line, sizeof line, "tile instruction at %p: %s\n", (const void *)code, what);
    (void)!write(STDERR_FILENO, line, (size_t)length);
    abort();
}

// ---- decoding

typedef enum Prefix { P_NONE, P_66, P_F3, P_F2 } Prefix;

typedef struct Decoded {
    const uint8_t *code;
    int length;
    uint8_t opcode;
    Prefix prefix;
    int reg, rm, third; // tiles
    bool memory;        // rm is none: base and step instead
    uint8_t *base;
    int64_t step; // the scaled index register; 0: there is none
} Decoded;

static int64_t gpr(const ucontext_t *context, int number)
{
    static const int place[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    return context->uc_mcontext.gregs[place[number]];
}

static void decode_memory(Decoded *d, const ucontext_t *context, int mode, bool x, bool b)
{
    const uint8_t *at = d->code + 5;
    int base = d->rm, index = 4, shift = 0;
    if (d->rm == 4) { // SIB
        base = *at & 7;
        index = *at >> 3 & 7;
        shift = *at >> 6;
        at++;
    }
    int64_t address = 0;
    int32_t displacement = 0;
    bool absolute = mode == 0 && base == 5;
    if (absolute && d->rm != 4)
        refuse("relative to the instruction pointer, which compilers do not make here", d->code);
    if (!absolute)
        address = gpr(context, base | (b ? 8 : 0));
    if (mode == 1) {
        displacement = (int8_t)*at++;
    } else if (mode == 2 || absolute) {
        memcpy(&displacement, at, 4);
        at += 4;
    }
    index |= x ? 8 : 0;
    if (index != 4)
        d->step = (int64_t)((uint64_t)gpr(context, index) << shift);
    d->base = (uint8_t *)(uintptr_t)(uint64_t)(address + displacement);
    d->length = (int)(at - d->code);
}

// False: it is no tile instruction.
static bool decode(Decoded *d, const ucontext_t *context)
{
    const uint8_t *code = d->code;
    if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || (code[2] & 0x84))
        return false;
    d->prefix = (Prefix)(code[2] & 3);
    d->third = ~code[2] >> 3 & 15;
    d->opcode = code[3];
    if (d->opcode != 0x49 && d->opcode != 0x4b && d->opcode != 0x5c && d->opcode != 0x5e)
        return false;
    int mode = code[4] >> 6;
    d->reg = (code[4] >> 3 & 7) | (code[1] & 0x80 ? 0 : 8);
    d->rm = code[4] & 7;
    d->length = 5;
    d->memory = mode != 3;
    bool x = !(code[1] & 0x40), b = !(code[1] & 0x20);
    if (d->memory)
        decode_memory(d, context, mode, x, b);
    else
        d->rm |= b ? 8 : 0;
    return true;
}

// ---- what the instructions do

// The rows and the bytes of a row of a tile that is configured.
static int rows_of(const Decoded *d, int tile)
{
    if (tile >= TILES || tiles.config.palette != 1 || !tiles.config.rows[tile])
        refuse("a tile that is not configured", d->code);
    return tiles.config.rows[tile];
}

static int bytes_of(const Decoded *d, int tile)
{
    rows_of(d, tile);
    return tiles.config.row_bytes[tile];
}

static void load_config(const Decoded *d)
{
    Config config;
    memcpy(&config, d->base, sizeof config);
    memset(&tiles, 0, sizeof tiles);
    if (config.palette == 0)
        return;
    bool good = config.palette == 1 && config.start_row == 0;
    for (int i = 0; i < 14; i++)
        good &= config.reserved[i] == 0;
    for (int i = 0; i < 16; i++) {
        bool none = config.rows[i] == 0;
        good &= config.rows[i] <= ROWS && config.row_bytes[i] <= ROW_BYTES;
        good &= none == (config.row_bytes[i] == 0) && (i < TILES || none);
    }
    if (!good)
        refuse("a bad configuration", d->code);
    tiles.config = config;
}

static void load_tile(const Decoded *d)
{
    int rows = rows_of(d, d->reg), bytes = bytes_of(d, d->reg);
    memset(tiles.tile[d->reg], 0, sizeof tiles.tile[0]);
    for (int i = 0; i < rows; i++)
        memcpy(tiles.tile[d->reg][i], d->base + i * d->step, (size_t)bytes);
}

static void store_tile(const Decoded *d)
{
    int rows = rows_of(d, d->reg), bytes = bytes_of(d, d->reg);
    for (int i = 0; i < rows; i++)
        memcpy(d->base + i * d->step, tiles.tile[d->reg][i], (size_t)bytes);
}

// Rows, columns and depth, in words of 32 bits.
typedef struct Sizes {
    int m, n, k;
} Sizes;

static Sizes sizes_of(const Decoded *d)
{
    int sum = d->reg, left = d->rm, right = d->third;
    Sizes s = {rows_of(d, sum), bytes_of(d, sum) / 4, bytes_of(d, left) / 4};
    if (sum == left || sum == right || left == right)
        refuse("a tile is used twice", d->code);
    if (bytes_of(d, sum) % 4 || bytes_of(d, left) % 4 || rows_of(d, left) != s.m ||
        bytes_of(d, right) != 4 * s.n || rows_of(d, right) != s.k)
        refuse("the sizes of three tiles do not fit together", d->code);
    return s;
}

// Products of the first halves of pairs are summed apart from those of the second; both sums are
// added up and then added to what was there. Every step rounds to nearest even, and denormals are
// zero, before and after.
__attribute__((target("avx2,fma"))) static void multiply_bf16(const Decoded *d)
{
    Sizes s = sizes_of(d);
    unsigned mode = _mm_getcsr();
    _mm_setcsr(0x1f80 | 0x8000 | 0x0040); // exceptions masked, denormals to zero both ways
    for (int row = 0; row < s.m; row++) {
        __m256 even[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, odd[2] = {even[0], even[0]};
        for (int p = 0; p < s.k; p++) {
            uint32_t pair;
            memcpy(&pair, tiles.tile[d->rm][row] + 4 * p, 4);
            __m256 first = _mm256_castsi256_ps(_mm256_set1_epi32((int)(pair << 16)));
            __m256 second = _mm256_castsi256_ps(_mm256_set1_epi32((int)(pair & 0xffff0000)));
            for (int i = 0; i < 2; i++) {
                __m256i right =
                    _mm256_loadu_si256((const __m256i *)(tiles.tile[d->third][p] + 32 * i));
                __m256i high = _mm256_and_si256(right, _mm256_set1_epi32((int)0xffff0000));
                even[i] = _mm256_fmadd_ps(first, _mm256_castsi256_ps(_mm256_slli_epi32(right, 16)),
                                          even[i]);
                odd[i] = _mm256_fmadd_ps(second, _mm256_castsi256_ps(high), odd[i]);
            }
        }
        float out[16];
        memcpy(out, tiles.tile[d->reg][row], sizeof out);
        for (int i = 0; i < 2; i++)
            _mm256_storeu_ps(out + 8 * i, _mm256_add_ps(_mm256_loadu_ps(out + 8 * i),
                                                        _mm256_add_ps(even[i], odd[i])));
        memset(tiles.tile[d->reg][row], 0, ROW_BYTES);
        memcpy(tiles.tile[d->reg][row], out, (size_t)s.n * 4);
    }
    _mm_setcsr(mode);
}

// Sums of four products of bytes, with no more than what 32 bits hold.
static void multiply_bytes(const Decoded *d)
{
    Sizes s = sizes_of(d);
    bool left_signed = d->prefix == P_F2 || d->prefix == P_F3;
    bool right_signed = d->prefix == P_F2 || d->prefix == P_66;
    for (int row = 0; row < s.m; row++) {
        uint32_t sum[16];
        memcpy(sum, tiles.tile[d->reg][row], sizeof sum);
        for (int p = 0; p < 4 * s.k; p++) {
            uint8_t byte = tiles.tile[d->rm][row][p];
            int left = left_signed ? (int8_t)byte : byte;
            const uint8_t *right = tiles.tile[d->third][p / 4] + p % 4;
            for (int column = 0; column < s.n; column++) {
                uint8_t other = right[4 * column];
                sum[column] += (uint32_t)(left * (right_signed ? (int8_t)other : other));
            }
        }
        memset(tiles.tile[d->reg][row], 0, ROW_BYTES);
        memcpy(tiles.tile[d->reg][row], sum, (size_t)s.n * 4);
    }
}

// False: there is no such instruction.
static bool run(const Decoded *d)
{
    switch (d->opcode) {
    case 0x49:
        if (d->memory && d->prefix == P_NONE && d->reg == 0)
            load_config(d);
        else if (d->memory && d->prefix == P_66 && d->reg == 0)
            memcpy(d->base, &tiles.config, sizeof tiles.config);
        else if (!d->memory && d->prefix == P_NONE && d->reg == 0 && d->rm == 0)
            memset(&tiles, 0, sizeof tiles); // tilerelease
        else if (!d->memory && d->prefix == P_F2 && d->rm == 0 && rows_of(d, d->reg))
            memset(tiles.tile[d->reg], 0, sizeof tiles.tile[0]);
        else
            return false;
        return true;
    case 0x4b: // tileloadd, tileloaddt1, tilestored
        if (!d->memory || d->rm != 4 || d->prefix == P_NONE)
            return false;
        if (d->prefix == P_F3)
            store_tile(d);
        else
            load_tile(d);
        return true;
    case 0x5c:
        if (d->memory || d->prefix != P_F3)
            return false;
        multiply_bf16(d);
        break;
    default: // 0x5e
        if (d->memory)
            return false;
        multiply_bytes(d);
    }
    atomic_fetch_add_explicit(&products[d->opcode == 0x5e], 1, memory_order_relaxed);
    return true;
}

static struct sigaction before; // who else handles SIGILL

static void handle(int signal, siginfo_t *info, void *data)
{
    ucontext_t *context = data;
    Decoded decoded = {
        .code = (const uint8_t *)(uintptr_t)(uint64_t)context->uc_mcontext.gregs[REG_RIP]};
    (void)signal, (void)info;
    if (decode(&decoded, context) && run(&decoded)) {
        context->uc_mcontext.gregs[REG_RIP] += decoded.length;
        return;
    }
    sigaction(SIGILL, &before, NULL); // refused once more, by whoever was asked before
}

// CPUID says that there are tiles, their products of bf16 and of bytes, and the system gives them.
static bool processor_has(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (~d >> 22 & 1) || (~d >> 24 & 3))
        return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool amx_begin(void)
{
    static bool begun, emulates;
    if (begun)
        return emulates;
    begun = true;
    emulates = !processor_has();
    if (!emulates)
        return false;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGILL, &action, &before) != 0)
        abort();
    return true;
}

long amx_count(bool bytes)
{
    return atomic_load(&products[bytes]);
}
