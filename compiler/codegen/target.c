// target.c: which processor is compiled for.
//
// Code is made for one of a few levels, never for one model: `native` is the highest level that
// this machine has. So a program that was built on one machine runs on every other of that level,
// and the same source gives the same bytes. Levels with VNNI (products of bytes) are of use to
// programs that have such products: `native` does not mean them for any other.
//
// The level with AMX has products of bytes and of bf16 in tiles (kernels/cpu/dot_tiles.h): `native`
// means it for programs that have either, where the system lets this process use tiles.
//
// Two instructions are beyond the levels, and `native` uses them in programs of mixed precision
// only; a stated level never has them. vcvtneps2bf16 rounds to bf16, in place of seven others.
// vdpbf16ps multiplies pairs of bf16: on AMD (Zen 4 and later) it does twice the multiply-adds of
// an f32 instruction at the same rate, on Intel it is half as fast as f32. So it is used on AMD;
// without it and AMX bf16 is widened to f32.

#include <string.h>

#include "aml/program.h"
#include "codegen/emit.h"

static const char x86[] = "x86_64-unknown-linux-gnu", arm[] = "aarch64-unknown-linux-gnu";

// `quick`: code that is made quickly, of functions that do little but call.
LLVMTargetMachineRef target_machine(const char *triple, const char *cpu, const char *features,
                                    bool quick)
{
    char *message = NULL;
    LLVMTargetRef target;
    if (LLVMGetTargetFromTriple(triple, &target, &message)) {
        LLVMDisposeMessage(message);
        return NULL;
    }
    return LLVMCreateTargetMachine(target, triple, cpu, features,
                                   quick ? LLVMCodeGenLevelNone : LLVMCodeGenLevelDefault,
                                   LLVMRelocPIC, LLVMCodeModelDefault);
}

bool targets_aarch64(const Codegen *g)
{
    return strncmp(g->triple, "aarch64", 7) == 0;
}

typedef struct Level {
    const char *name;
    int lanes;
    const char *features; // what a program checks at its start, in LLVM's names
    const char *cpu;      // what LLVM is told: a processor,
    const char *more;     // and what it has beyond that
    bool tiles;
} Level;

#define V4 "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,"
#define V3 "avx2,fma,bmi,bmi2,f16c,movbe,popcnt"
#define AMX "amx-tile,amx-int8,amx-bf16"
static const Level levels[] = {
    // the best first
    {"x86-64-v4-amx", 16, V4 V3 ",avx512vnni," AMX, "x86-64-v4",
     "+avx512vnni,+amx-tile,+amx-int8,+amx-bf16", true},
    {"x86-64-v4-vnni", 16, V4 V3 ",avx512vnni", "x86-64-v4", "+avx512vnni", false},
    {"x86-64-v3-vnni", 8, V3 ",avxvnni", "x86-64-v3", "+avxvnni", false},
    {"x86-64-v4", 16, V4 V3, "x86-64-v4", "", false},
    {"x86-64-v3", 8, V3, "x86-64-v3", "", false},
    {"x86-64-v2", 4, "sse4.1,sse4.2,ssse3,popcnt", "x86-64-v2", "", false},
    {TARGET_CROSS, 4, "neon", "generic", "", false}, // of deployed libraries only
};
#undef V4
#undef V3
#undef AMX

int target_rank(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(levels); i++)
        if (strcmp(levels[i].name, name) == 0)
            return (int)i;
    return -1;
}

static bool has_feature(const char *list, const char *name, size_t length)
{
    for (const char *at = list; (at = strstr(at, name)); at += length) {
        bool begins = at > list && at[-1] == '+' && (at == list + 1 || at[-2] == ',');
        if (begins && strlen(at) >= length && (at[length] == 0 || at[length] == ','))
            return true;
    }
    return false;
}

static bool host_has(Arena *arena, const char *host, const Level *level)
{
    for (const char *at = level->features; *at;) {
        size_t length = strcspn(at, ",");
        if (!has_feature(host, arena_text(arena, at, length), length))
            return false;
        at += length + (at[length] == ',');
    }
    return !level->tiles || aml_cpu_has(level->features); // the system has to give them
}

// `native` is a level with more than the plain ones only if the program has a use for it.
static bool is_of_use(const Level *level, bool mixed, bool bytes)
{
    return !*level->more || bytes || (level->tiles && mixed);
}

bool target_find(Cx *cx, const char *name, bool mixed, bool bytes, TargetInfo *out)
{
    bool native = strcmp(name, "native") == 0;
    char *host = native ? LLVMGetHostCPUFeatures() : NULL;
    const Level *found = NULL;
    for (size_t i = 0; i < COUNT_OF(levels) && !found; i++)
        if (native
                ? strcmp(levels[i].name, TARGET_CROSS) != 0 &&
                      is_of_use(&levels[i], mixed, bytes) && host_has(cx->scratch, host, &levels[i])
                : strcmp(levels[i].name, name) == 0)
            found = &levels[i];
    bool pairs = false, rounds = false;
    if (host) {
        char *model = LLVMGetHostCPUName();
        rounds = mixed && found && found->lanes == 16 && !*found->more &&
                 has_feature(host, "avx512bf16", 10);
        pairs = rounds && strncmp(model, "znver", 5) == 0;
        LLVMDisposeMessage(model);
        LLVMDisposeMessage(host);
    }
    if (!found)
        return false;
    *out = (TargetInfo){.triple = strcmp(found->name, TARGET_CROSS) == 0 ? arm : x86,
                        .cpu = found->cpu,
                        .features = rounds ? "+avx512bf16" : found->more,
                        .level = found->name,
                        .needed = rounds ? arena_printf(cx->arena, "%s,avx512bf16", found->features)
                                         : found->features,
                        .lanes = found->lanes,
                        .pairs = pairs,
                        .rounds = rounds,
                        .tiles = found->tiles};
    return true;
}
