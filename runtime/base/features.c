// Whether this CPU can run the program's code.

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "runtime/base/base.h"

enum { EAX, EBX, ECX, EDX };
// What the operating system has to save when it switches threads.
enum { SAVE_NONE = 0, SAVE_YMM = 0x6, SAVE_ZMM = 0xe6, SAVE_TILE = 0x60000 };

// CPUID: leaf, subleaf, register, bit; and the bits of XCR0 that the system must have enabled.
static const struct {
    const char *name;
    uint32_t leaf, subleaf;
    int where, bit;
    uint64_t saved;
} features[] = {
    {"sse3", 1, 0, ECX, 0, SAVE_NONE},
    {"ssse3", 1, 0, ECX, 9, SAVE_NONE},
    {"fma", 1, 0, ECX, 12, SAVE_YMM},
    {"cx16", 1, 0, ECX, 13, SAVE_NONE},
    {"sse4.1", 1, 0, ECX, 19, SAVE_NONE},
    {"sse4.2", 1, 0, ECX, 20, SAVE_NONE},
    {"movbe", 1, 0, ECX, 22, SAVE_NONE},
    {"popcnt", 1, 0, ECX, 23, SAVE_NONE},
    {"aes", 1, 0, ECX, 25, SAVE_NONE},
    {"avx", 1, 0, ECX, 28, SAVE_YMM},
    {"f16c", 1, 0, ECX, 29, SAVE_YMM},
    {"sse2", 1, 0, EDX, 26, SAVE_NONE},
    {"bmi", 7, 0, EBX, 3, SAVE_NONE},
    {"avx2", 7, 0, EBX, 5, SAVE_YMM},
    {"bmi2", 7, 0, EBX, 8, SAVE_NONE},
    {"avx512f", 7, 0, EBX, 16, SAVE_ZMM},
    {"avx512dq", 7, 0, EBX, 17, SAVE_ZMM},
    {"avx512ifma", 7, 0, EBX, 21, SAVE_ZMM},
    {"avx512cd", 7, 0, EBX, 28, SAVE_ZMM},
    {"avx512bw", 7, 0, EBX, 30, SAVE_ZMM},
    {"avx512vl", 7, 0, EBX, 31, SAVE_ZMM},
    {"avx512vbmi", 7, 0, ECX, 1, SAVE_ZMM},
    {"avx512vbmi2", 7, 0, ECX, 6, SAVE_ZMM},
    {"gfni", 7, 0, ECX, 8, SAVE_NONE},
    {"vaes", 7, 0, ECX, 9, SAVE_YMM},
    {"vpclmulqdq", 7, 0, ECX, 10, SAVE_YMM},
    {"avx512vnni", 7, 0, ECX, 11, SAVE_ZMM},
    {"avx512bitalg", 7, 0, ECX, 12, SAVE_ZMM},
    {"avx512vpopcntdq", 7, 0, ECX, 14, SAVE_ZMM},
    {"avx512vp2intersect", 7, 0, EDX, 8, SAVE_ZMM},
    {"amx-bf16", 7, 0, EDX, 22, SAVE_TILE},
    {"avx512fp16", 7, 0, EDX, 23, SAVE_ZMM},
    {"amx-tile", 7, 0, EDX, 24, SAVE_TILE},
    {"amx-int8", 7, 0, EDX, 25, SAVE_TILE},
    {"avxvnni", 7, 1, EAX, 4, SAVE_YMM},
    {"avx512bf16", 7, 1, EAX, 5, SAVE_ZMM},
    {"avxifma", 7, 1, EAX, 23, SAVE_YMM},
    {"lzcnt", 0x80000001u, 0, ECX, 5, SAVE_NONE},
};

static uint64_t saved_by_system(void)
{
    uint32_t r[4];
    if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] >> 27 & 1)) // OSXSAVE
        return 0;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

static bool has_feature(const char *name, size_t length)
{
    for (size_t i = 0; i < AMLI_COUNT(features); i++) {
        if (strlen(features[i].name) != length || memcmp(features[i].name, name, length) != 0)
            continue;
        uint32_t r[4];
        if (!__get_cpuid_count(features[i].leaf, features[i].subleaf, &r[EAX], &r[EBX], &r[ECX],
                               &r[EDX]))
            return false;
        return (r[features[i].where] >> features[i].bit & 1) &&
               (saved_by_system() & features[i].saved) == features[i].saved;
    }
    return false; // what is not known cannot be said to be there
}

aml_status amli_check_cpu(const char *level, const char *list, aml_error *error)
{
    char missing[512];
    int used = 0;
    for (const char *at = list ? list : ""; *at;) {
        size_t length = strcspn(at, ",");
        const char *name = at;
        size_t size = length;
        if (size && *name == '+')
            name++, size--;
        if (size && *name != '-' && !has_feature(name, size) && used >= 0 &&
            (size_t)used < sizeof missing)
            used += snprintf(missing + used, sizeof missing - (size_t)used, "%s%.*s",
                             used ? ", " : "", (int)size, name);
        at += length + (at[length] == ',');
    }
    if (used == 0)
        return AML_OK;
    return amli_fail(
        error, AML_BAD_CPU,
        "this program was compiled for the CPU level %s, and this machine's CPU lacks %s\n"
        "help: build it on this machine, or for an older level: target: cpu(\"x86-64-v2\")",
        level ? level : "native", missing);
}
