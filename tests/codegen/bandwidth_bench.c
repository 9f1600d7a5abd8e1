// bandwidth_bench: how fast compiled loop nests go through memory, and how fast this core does at
// best, in the same run. Never a pass/fail test.
//
// Usage: bandwidth_bench [MEBIBYTES [ROUNDS]]. One line of JSON: for each nest the bytes that it
// reads and writes, and its seconds; for plain copies of C the same. The tensors have that many
// MiB; 64, the default, do not fit into a cache.

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

typedef float Vector __attribute__((vector_size(16)));

static const double LEAST = 0.05; // seconds that a measurement takes

typedef struct Nest {
    const char *name, *text; // R rows of 1024
    int reads, writes;       // of the tensor
} Nest;

static const Nest nests[] = {
    {"scale",
     "%0 = parameter : f32[R, 1024]\n%1 = constant value=splat(0.5) : f32[R, 1024]\n"
     "%2 = mul %0, %1 : f32[R, 1024]\nresult %2\n",
     1, 1},
    {"gelu of a sum",
     "%0 = parameter : f32[R, 1024]\n%1 = parameter : f32[R, 1024]\n%2 = add %0, %1 : f32[R, "
     "1024]\n"
     "%3 = constant value=splat(0.70710678) : f32[R, 1024]\n%4 = mul %2, %3 : f32[R, 1024]\n"
     "%5 = erf %4 : f32[R, 1024]\n%6 = constant value=splat(1) : f32[R, 1024]\n"
     "%7 = add %5, %6 : f32[R, 1024]\n%8 = constant value=splat(0.5) : f32[R, 1024]\n"
     "%9 = mul %2, %8 : f32[R, 1024]\n%10 = mul %9, %7 : f32[R, 1024]\nresult %10\n",
     2, 1},
    {"softmax",
     "%0 = parameter : f32[R, 1024]\n%1 = reduce %0 with=max axes=[1] : f32[R]\n"
     "%2 = broadcast %1 axes=[0] : f32[R, 1024]\n%3 = sub %0, %2 : f32[R, 1024]\n"
     "%4 = exp %3 : f32[R, 1024]\n%5 = reduce %4 with=sum axes=[1] : f32[R]\n"
     "%6 = broadcast %5 axes=[0] : f32[R, 1024]\n%7 = div %4, %6 : f32[R, 1024]\nresult %7\n",
     1, 1},
    {"layer norm",
     "%0 = parameter : f32[R, 1024]\n%1 = parameter : f32[1024]\n%2 = parameter : f32[1024]\n"
     "%3 = reduce %0 with=sum axes=[1] : f32[R]\n%4 = constant value=splat(0.0009765625) : f32[R]\n"
     "%5 = mul %3, %4 : f32[R]\n%6 = broadcast %5 axes=[0] : f32[R, 1024]\n"
     "%7 = sub %0, %6 : f32[R, 1024]\n%8 = mul %7, %7 : f32[R, 1024]\n"
     "%9 = reduce %8 with=sum axes=[1] : f32[R]\n%10 = mul %9, %4 : f32[R]\n"
     "%11 = constant value=splat(0.00001) : f32[R]\n%12 = add %10, %11 : f32[R]\n"
     "%13 = sqrt %12 : f32[R]\n%14 = broadcast %13 axes=[0] : f32[R, 1024]\n"
     "%15 = div %7, %14 : f32[R, 1024]\n%16 = broadcast %1 axes=[1] : f32[R, 1024]\n"
     "%17 = mul %15, %16 : f32[R, 1024]\n%18 = broadcast %2 axes=[1] : f32[R, 1024]\n"
     "%19 = add %17, %18 : f32[R, 1024]\nresult %19\n",
     1, 1},
    {"column sum",
     "%0 = parameter : f32[R, 1024]\n%1 = reduce %0 with=sum axes=[0] : f32[1024]\nresult %1\n", 1,
     0},
};

// Of this thread: what else runs on the machine does not count.
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static float *filled(size_t bytes)
{
    float *at = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    for (size_t i = 0; at && i < bytes / sizeof *at; i++)
        at[i] = (float)(i % 1000) * 0.002f - 1;
    if (!at)
        exit(1);
    return at;
}

// What memory and caches give: each in registers of 16 bytes and, where the processor has them, of
// 64; results in ordinary and in streaming stores. The fastest of a kind is what a nest is compared
// with.
typedef void Copy(float *to, const float *a, const float *b, size_t count);
typedef float Wide __attribute__((vector_size(64)));
#define WIDE __attribute__((target("avx512f")))

#define READ(NAME, VECTOR, ATTRIBUTES)                                                             \
    ATTRIBUTES static void NAME(float *to, const float *a, const float *b, size_t count)           \
    {                                                                                              \
        enum { LANES = sizeof(VECTOR) / 4 };                                                       \
        VECTOR sum[8] = {{b[0]}};                                                                  \
        for (size_t i = 0; i < count; i += 8 * LANES)                                              \
            for (size_t k = 0; k < 8; k++)                                                         \
                sum[k] += *(const VECTOR *)(const void *)(a + i + LANES * k);                      \
        for (size_t k = 0; k < 8; k++)                                                             \
            *(VECTOR *)(void *)(to + LANES * k) = sum[k];                                          \
    }

// RESULT is made of the registers x of a and y of b, and STORE(place, register) puts it away.
#define COPY(NAME, VECTOR, ATTRIBUTES, RESULT, STORE)                                              \
    ATTRIBUTES static void NAME(float *to, const float *a, const float *b, size_t count)           \
    {                                                                                              \
        enum { LANES = sizeof(VECTOR) / 4 };                                                       \
        (void)b;                                                                                   \
        for (size_t i = 0; i < count; i += 4 * LANES)                                              \
            for (size_t k = i; k < i + 4 * LANES; k += LANES)                                      \
                STORE(to + k, RESULT(*(const VECTOR *)(const void *)(a + k),                       \
                                     *(const VECTOR *)(const void *)(b + k)));                     \
        _mm_sfence();                                                                              \
    }
#define HALF(x, y) ((x)*0.5f)
#define SUM(x, y) ((x) + (y))
#define STORE_16(at, x) (*(Vector *)(void *)(at) = (x))
#define STORE_64(at, x) (*(Wide *)(void *)(at) = (x))
#define STREAM_16(at, x) _mm_stream_ps(at, (__m128)(x))
#define STREAM_64(at, x) _mm512_stream_ps(at, (__m512)(x))

READ(read_one, Vector, )
READ(read_wide, Wide, WIDE)
COPY(scale_one, Vector, , HALF, STORE_16)
COPY(scale_streaming, Vector, , HALF, STREAM_16)
COPY(scale_wide, Wide, WIDE, HALF, STORE_64)
COPY(scale_wide_streaming, Wide, WIDE, HALF, STREAM_64)
COPY(add_two, Vector, , SUM, STORE_16)
COPY(add_streaming, Vector, , SUM, STREAM_16)
COPY(add_wide, Wide, WIDE, SUM, STORE_64)
COPY(add_wide_streaming, Wide, WIDE, SUM, STREAM_64)

static const struct {
    const char *name;
    Copy *copy;
    int reads, writes;
    bool wide;
} copies[] = {{"read", read_one, 1, 0, false},
              {"read, wide", read_wide, 1, 0, true},
              {"copy", scale_one, 1, 1, false},
              {"copy, streaming", scale_streaming, 1, 1, false},
              {"copy, wide", scale_wide, 1, 1, true},
              {"copy, wide, streaming", scale_wide_streaming, 1, 1, true},
              {"two to one", add_two, 2, 1, false},
              {"two to one, streaming", add_streaming, 2, 1, false},
              {"two to one, wide", add_wide, 2, 1, true},
              {"two to one, wide, streaming", add_wide_streaming, 2, 1, true}};

// Whether the processor can run number i of nests and copies.
static bool runs(int i)
{
    return i < (int)COUNT_OF(nests) || !copies[i - (int)COUNT_OF(nests)].wide ||
           __builtin_cpu_supports("avx512f");
}

static void put_text(Buffer *out, const Nest *nest, int index, size_t rows)
{
    buffer_printf(out, "function @f%d {\n", index);
    for (const char *at = nest->text; *at; at++) {
        if (at[0] == '[' && at[1] == 'R') {
            buffer_printf(out, "[%zu", rows);
            at++;
        } else {
            buffer_append(out, at, 1);
        }
    }
    buffer_text(out, "}\n");
}

int main(int argc, char **argv)
{
    size_t bytes = (size_t)(argc > 1 ? atof(argv[1]) * 1048576 : 64 << 20) / 4096 * 4096;
    int rounds = argc > 2 ? atoi(argv[2]) : 15;
    enum { NESTS = COUNT_OF(nests), COPIES = COUNT_OF(copies) };
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *why = "";
    for (int i = 0; i < NESTS; i++)
        put_text(&text, &nests[i], i, bytes / 4096);
    IrModule *module = module_from_text(cx, "nests.ir", text.text, text.length, &why);
    Case cases[NESTS];
    for (int i = 0; module && i < NESTS; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%d", i));
    if (module) {
        passes_run(cx, module, NULL, NULL, NULL);
        why = cases_load(cx, module, cases, NESTS, "native");
    }
    if (why) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    void *input[] = {filled(bytes), filled(bytes), filled(4096)}, *output[] = {filled(bytes)};
    double best[NESTS + COPIES];
    for (int i = 0; i < NESTS + COPIES; i++)
        best[i] = 1e9;
    size_t together = bytes < (8 << 20) ? (8 << 20) / bytes : 1; // between two looks at the clock
    for (int round = 0; round < rounds; round++) // everybody in turns; the best was not disturbed
        for (int place = 0; place < NESTS + COPIES; place++) {
            int i = round % 2 == 0 ? place : NESTS + COPIES - 1 - place; // forwards and backwards
            if (!runs(i))
                continue;
            void *vectors[] = {input[0], input[2], input[2]};
            aml_call call = {.arena = NULL,
                             .input = i < NESTS && nests[i].reads == 1 ? vectors : input,
                             .output = output};
            char *arena = i < NESTS ? (char *)filled(cases[i].entry.arena_bytes + 64) : NULL;
            call.arena = arena;
            double begin = now(), taken;
            size_t turns = 0;
            do {
                for (size_t turn = 0; turn < together; turn++) {
                    if (i < NESTS)
                        cases[i].run(&call);
                    else
                        copies[i - NESTS].copy(output[0], input[0], input[1],
                                               bytes / sizeof(float));
                }
                turns += together;
                taken = now() - begin;
            } while (taken < LEAST);
            taken /= (double)turns;
            free(arena);
            best[i] = taken < best[i] ? taken : best[i];
        }
    printf("{\"mebibytes\": %g", (double)bytes / 1048576);
    for (int i = 0; i < NESTS + COPIES; i++) {
        if (!runs(i))
            continue;
        int moved = i < NESTS ? nests[i].reads + nests[i].writes
                              : copies[i - NESTS].reads + copies[i - NESTS].writes;
        printf(", \"%s\": {\"bytes\": %.0f, \"seconds\": %.9f}",
               i < NESTS ? nests[i].name : copies[i - NESTS].name, (double)moved * (double)bytes,
               best[i]);
    }
    puts("}");
    cx_free(cx);
    return 0;
}
