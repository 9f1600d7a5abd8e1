// Whether this CPU can run the program's code.

#include <stdio.h>
#include <string.h>

#include "runtime/base/base.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EAX, EBX, ECX, EDX };
enum { LEAF_1, LEAF_7, LEAF_7_1, LEAF_EXTENDED, LEAVES };
// What the operating system has to save when it switches threads: nothing, registers of 256 bits,
// of 512 bits, tiles. The bits of XCR0 that it must have enabled.
enum { SAVE_NONE, SAVE_YMM, SAVE_ZMM, SAVE_TILE };
static const uint32_t saved_bits[] = {0, 0x6, 0xe6, 0x60000};

// CPUID: leaf, register, bit. Names are no pointers, which would have to be relocated.
static const struct {
    char name[19];
    uint8_t leaf, where, bit, saved;
} features[] = {
    {"sse3", LEAF_1, ECX, 0, SAVE_NONE},
    {"ssse3", LEAF_1, ECX, 9, SAVE_NONE},
    {"fma", LEAF_1, ECX, 12, SAVE_YMM},
    {"cx16", LEAF_1, ECX, 13, SAVE_NONE},
    {"sse4.1", LEAF_1, ECX, 19, SAVE_NONE},
    {"sse4.2", LEAF_1, ECX, 20, SAVE_NONE},
    {"movbe", LEAF_1, ECX, 22, SAVE_NONE},
    {"popcnt", LEAF_1, ECX, 23, SAVE_NONE},
    {"aes", LEAF_1, ECX, 25, SAVE_NONE},
    {"avx", LEAF_1, ECX, 28, SAVE_YMM},
    {"f16c", LEAF_1, ECX, 29, SAVE_YMM},
    {"sse2", LEAF_1, EDX, 26, SAVE_NONE},
    {"bmi", LEAF_7, EBX, 3, SAVE_NONE},
    {"avx2", LEAF_7, EBX, 5, SAVE_YMM},
    {"bmi2", LEAF_7, EBX, 8, SAVE_NONE},
    {"avx512f", LEAF_7, EBX, 16, SAVE_ZMM},
    {"avx512dq", LEAF_7, EBX, 17, SAVE_ZMM},
    {"avx512ifma", LEAF_7, EBX, 21, SAVE_ZMM},
    {"avx512cd", LEAF_7, EBX, 28, SAVE_ZMM},
    {"avx512bw", LEAF_7, EBX, 30, SAVE_ZMM},
    {"avx512vl", LEAF_7, EBX, 31, SAVE_ZMM},
    {"avx512vbmi", LEAF_7, ECX, 1, SAVE_ZMM},
    {"avx512vbmi2", LEAF_7, ECX, 6, SAVE_ZMM},
    {"gfni", LEAF_7, ECX, 8, SAVE_NONE},
    {"vaes", LEAF_7, ECX, 9, SAVE_YMM},
    {"vpclmulqdq", LEAF_7, ECX, 10, SAVE_YMM},
    {"avx512vnni", LEAF_7, ECX, 11, SAVE_ZMM},
    {"avx512bitalg", LEAF_7, ECX, 12, SAVE_ZMM},
    {"avx512vpopcntdq", LEAF_7, ECX, 14, SAVE_ZMM},
    {"avx512vp2intersect", LEAF_7, EDX, 8, SAVE_ZMM},
    {"amx-bf16", LEAF_7, EDX, 22, SAVE_TILE},
    {"avx512fp16", LEAF_7, EDX, 23, SAVE_ZMM},
    {"amx-tile", LEAF_7, EDX, 24, SAVE_TILE},
    {"amx-int8", LEAF_7, EDX, 25, SAVE_TILE},
    {"avxvnni", LEAF_7_1, EAX, 4, SAVE_YMM},
    {"avx512bf16", LEAF_7_1, EAX, 5, SAVE_ZMM},
    {"avxifma", LEAF_7_1, EAX, 23, SAVE_YMM},
    {"lzcnt", LEAF_EXTENDED, ECX, 5, SAVE_NONE},
};

// What cpuid and xgetbv say. Each cpuid may be a trap into a hypervisor, so it is asked once for
// each leaf.
typedef struct Processor {
    uint32_t leaf[LEAVES][4]; // of 1, 7, 7 subleaf 1, 0x80000001
    uint64_t saved;
} Processor;

static Processor processor_ask(void)
{
    static const uint32_t leaf[LEAVES] = {1, 7, 7, 0x80000001u}, subleaf[LEAVES] = {0, 0, 1, 0};
    Processor processor = {0};
    for (int i = 0; i < LEAVES; i++) {
        uint32_t *r = processor.leaf[i];
        if (!__get_cpuid_count(leaf[i], subleaf[i], &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
            memset(r, 0, sizeof processor.leaf[i]);
    }
    if (processor.leaf[0][ECX] >> 27 & 1) { // OSXSAVE
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        processor.saved = low | (uint64_t)high << 32;
    }
    return processor;
}

// Linux gives a process room for the contents of tiles when it asks for that, which makes each
// thread's saved registers 8 KiB larger; asking again does nothing. Threads have it from then on.
static bool may_use_tiles(void)
{
    enum { ASK_FOR_STATE = 0x1023, TILES = 18 };
    return syscall(SYS_arch_prctl, ASK_FOR_STATE, TILES) == 0;
}

static bool has_feature(const Processor *processor, const char *name, size_t length)
{
    for (size_t i = 0; i < AMLI_COUNT(features); i++) {
        if (strlen(features[i].name) != length || memcmp(features[i].name, name, length) != 0)
            continue;
        const uint32_t *r = processor->leaf[features[i].leaf];
        return (r[features[i].where] >> features[i].bit & 1) &&
               (processor->saved & saved_bits[features[i].saved]) ==
                   saved_bits[features[i].saved] &&
               (features[i].saved != SAVE_TILE || may_use_tiles());
    }
    return false; // what is not known cannot be said to be there
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

// Bits of AT_HWCAP. The rest of ARMv8-A is there always.
static const struct {
    const char *name;
    int bit;
} features[] = {{"neon", 1}, {"dotprod", 20}};

typedef struct Processor {
    unsigned long capabilities;
} Processor;

static Processor processor_ask(void)
{
    return (Processor){getauxval(AT_HWCAP)};
}

static bool has_feature(const Processor *processor, const char *name, size_t length)
{
    for (size_t i = 0; i < AMLI_COUNT(features); i++)
        if (strlen(features[i].name) == length && memcmp(features[i].name, name, length) == 0)
            return processor->capabilities >> features[i].bit & 1;
    return false;
}
#endif

// The next name of the list at *at that this processor lacks, with its length; NULL: there is none.
static const char *next_missing(const Processor *processor, const char **at, size_t *length)
{
    while (**at) {
        const char *name = *at;
        *length = strcspn(name, ",");
        *at = name + *length + (name[*length] == ',');
        if (*length && !has_feature(processor, name, *length))
            return name;
    }
    return NULL;
}

bool aml_cpu_has(const char *list)
{
    Processor processor = processor_ask();
    size_t length;
    return !list || !next_missing(&processor, &list, &length);
}

aml_status amli_check_cpu(const char *level, const char *list, aml_error *error)
{
    Processor processor = processor_ask();
    char missing[512];
    size_t used = 0, length;
    for (const char *at = list ? list : "", *name; (name = next_missing(&processor, &at, &length));)
        if (used + length + 3 < sizeof missing)
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s%.*s",
                                     used ? ", " : "", (int)length, name);
    if (used == 0)
        return AML_OK;
    return amli_fail(
        error, AML_BAD_CPU,
        "this program was compiled for the CPU level %s, and this machine's CPU or system lacks "
        "%s\n"
        "help: build it on this machine, or for an older level: target: cpu(\"x86-64-v2\")",
        level ? level : "native", missing);
}
