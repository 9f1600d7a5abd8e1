#include "harness.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "passes/pass.h"
#include "tiles/amx.h"

static int count_slots(const IrFunction *fn, SlotKind kind, bool results)
{
    int count = 0;
    if (!results) {
        for (int i = 0; i < fn->param.count; i++)
            if (fn->param_slot.at[i].kind == kind && fn->param_slot.at[i].index >= count)
                count = fn->param_slot.at[i].index + 1;
        return count;
    }
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == kind && fn->result.at[i].slot.index >= count)
            count = fn->result.at[i].slot.index + 1;
    return count;
}

static void bind_slots(IrFunction *fn)
{
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_VALUE) {
            SlotKind kind = fn->param.at[i]->type.rank ? SLOT_INPUT : SLOT_SCALAR;
            DType dtype = fn->param.at[i]->type.dtype;
            if (kind == SLOT_SCALAR && dtype != DTYPE_I64 && dtype != DTYPE_I32 &&
                dtype != DTYPE_BOOL && dtype != DTYPE_F32 && dtype != DTYPE_F64)
                kind = SLOT_INPUT;
            int index = count_slots(fn, kind, false);
            fn->param_slot.at[i] = (Slot){kind, index};
        }
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_VALUE) {
            int index = count_slots(fn, SLOT_OUTPUT, true);
            fn->result.at[i].slot = (Slot){SLOT_OUTPUT, index};
        }
}

static void lay_out_state(Cx *cx, Case *c)
{
    int before = count_slots(c->fn, SLOT_STATE, false),
        after = count_slots(c->fn, SLOT_STATE, true);
    c->states = before > after ? before : after;
    size_t *bytes = NEW_ARRAY(cx->arena, size_t, c->states + 1);
    c->state_offset = NEW_ARRAY(cx->arena, size_t, c->states + 1);
    for (int i = 0; i < c->fn->param.count; i++)
        if (c->fn->param_slot.at[i].kind == SLOT_STATE)
            bytes[c->fn->param_slot.at[i].index] = (size_t)type_bytes(c->fn->param.at[i]->type);
    for (int i = 0; i < c->fn->result.count; i++)
        if (c->fn->result.at[i].slot.kind == SLOT_STATE)
            bytes[c->fn->result.at[i].slot.index] =
                (size_t)type_bytes(c->fn->result.at[i].value->type);
    for (int i = 0; i < c->states; i++) {
        c->state_offset[i] = c->state_bytes;
        c->state_bytes += (bytes[i] + 63) / 64 * 64;
    }
}

void case_prepare(Cx *cx, Case *c, IrModule *module, IrFunction *fn, const char *symbol)
{
    *c = (Case){.fn = fn};
    bind_slots(fn);
    IrModule *apart = ir_module_new(cx);
    c->reference = ir_clone_function(fn, apart, sym_of(cx, "reference"));
    (void)module;
    c->entry.ir = fn;
    c->entry.symbol = symbol;
    lay_out_state(cx, c);
}

#define LEVEL_AMX "x86-64-v4-amx"
static bool emulates;

bool level_can_run(const char *cpu)
{
    const char *lacks = NULL;
    if (strcmp(cpu, "x86-64-v3-vnni") == 0 && !__builtin_cpu_supports("avxvnni"))
        lacks = "AVX-VNNI";
    if (strcmp(cpu, LEVEL_AMX) == 0 && !__builtin_cpu_supports("avx512vnni"))
        lacks = "AVX-512 with VNNI";
    if (lacks)
        printf("this machine has no %s\n", lacks);
    if (!lacks && strcmp(cpu, LEVEL_AMX) == 0)
        emulates = amx_begin();
    return !lacks;
}

bool level_used_tiles(const char *cpu, bool bytes)
{
    static long before[2];
    long last = before[bytes];
    before[bytes] = amx_count(bytes);
    return strcmp(cpu, LEVEL_AMX) != 0 || !emulates || before[bytes] > last;
}

const char *cases_load(Cx *cx, IrModule *module, Case *cases, int count, const char *cpu)
{
    EmitEntry *entries = NEW_ARRAY(cx->arena, EmitEntry, count);
    for (int i = 0; i < count; i++)
        entries[i] = (EmitEntry){&cases[i].entry, cases[i].state_offset};
    ObjectCode object;
    Target target = {.cpu = cpu, .position_independent = true};
    if (!codegen_emit(cx, module, entries, count, target, NULL, &object))
        return "codegen_emit failed";
    char folder[] = "/tmp/aml-codegen-XXXXXX";
    if (!mkdtemp(folder))
        return "no temporary folder";
    char *library = arena_printf(cx->arena, "%s/code.so", folder);
    for (int i = 0; i < object.files; i++) {
        FILE *file = fopen(arena_printf(cx->arena, "%s/code%d.o", folder, i), "wb");
        if (!file ||
            fwrite(object.file[i].at, 1, object.file[i].length, file) != object.file[i].length ||
            fclose(file) != 0)
            return "the object cannot be written";
    }
    if (system(arena_printf(cx->arena, "cc -shared -o %s %s/code*.o -lm", library, folder)) != 0)
        return "the object cannot be linked";
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return arena_printf(cx->arena, "the library cannot be loaded: %s", dlerror());
    if (!getenv("AML_KEEP"))
        (void)!system(arena_printf(cx->arena, "rm -r %s", folder));
    for (int i = 0; i < count; i++) {
        *(void **)&cases[i].run = dlsym(handle, cases[i].entry.symbol);
        if (!cases[i].run)
            return arena_printf(cx->arena, "there is no %s in the object", cases[i].entry.symbol);
    }
    return NULL;
}

// ---- running ------------------------------------------------------------------------------------

static void backwards(void *pool, int64_t parts, aml_parallel_body *body, void *data)
{
    ++*(int *)pool;
    for (int64_t i = parts - 1; i >= 0; i--)
        body(data, i, i + 1);
}

static void uneven(void *pool, int64_t parts, aml_parallel_body *body, void *data)
{
    ++*(int *)pool;
    int64_t middle = parts / 3;
    body(data, middle, parts);
    if (middle)
        body(data, 0, middle);
}

enum { GUARD = 256 };

static char *guarded(Cx *cx, size_t bytes)
{
    char *at = arena_alloc(cx->arena, bytes + 2 * GUARD + 64);
    at += GUARD + (64 - (uintptr_t)at % 64) % 64;
    memset(at - GUARD / 2, 0x5a, GUARD / 2);
    memset(at, 0xff, bytes);
    memset(at + bytes, 0x5a, GUARD / 2);
    return at;
}

static bool intact(const char *at, size_t bytes)
{
    for (int i = 1; i <= GUARD / 2; i++)
        if (at[-i] != 0x5a || at[bytes + (size_t)i - 1] != 0x5a)
            return false;
    return true;
}

typedef struct Run {
    char *state, *arena;
    void **input, **output;
    aml_value *scalar;
} Run;

static void *value_at(const Case *c, const Run *run, Slot slot, bool result)
{
    if (slot.kind == SLOT_STATE)
        return run->state + c->state_offset[slot.index];
    return result ? run->output[slot.index] : run->input[slot.index];
}

static Run make_run(Cx *cx, const Case *c, void *const in[])
{
    Run run = {.state = guarded(cx, c->state_bytes), .arena = guarded(cx, c->entry.arena_bytes)};
    int inputs = count_slots(c->fn, SLOT_INPUT, false),
        outputs = count_slots(c->fn, SLOT_OUTPUT, true);
    run.input = NEW_ARRAY(cx->arena, void *, inputs + 1);
    run.output = NEW_ARRAY(cx->arena, void *, outputs + 1);
    run.scalar = NEW_ARRAY(cx->arena, aml_value, count_slots(c->fn, SLOT_SCALAR, false) + 1);
    for (int i = 0; i < c->fn->param.count; i++) {
        Slot slot = c->fn->param_slot.at[i];
        Type type = c->fn->param.at[i]->type;
        if (slot.kind == SLOT_SCALAR) {
            if (dtype_info[type.dtype].kind == KIND_FLOAT)
                run.scalar[slot.index].real = element_real(type.dtype, in[i], 0);
            else
                run.scalar[slot.index].whole = element_whole(type.dtype, in[i], 0);
            continue;
        }
        if (slot.kind == SLOT_INPUT)
            run.input[slot.index] = guarded(cx, (size_t)type_bytes(type));
        memcpy(value_at(c, &run, slot, false), in[i], (size_t)type_bytes(type));
    }
    for (int i = 0; i < c->fn->result.count; i++)
        if (c->fn->result.at[i].slot.kind == SLOT_OUTPUT)
            run.output[c->fn->result.at[i].slot.index] =
                guarded(cx, (size_t)type_bytes(c->fn->result.at[i].value->type));
    return run;
}

static const char *check_guards(Cx *cx, const Case *c, const Run *run, void *const in[])
{
    if (!intact(run->state, c->state_bytes))
        return "wrote outside of the state";
    if (!intact(run->arena, c->entry.arena_bytes))
        return "wrote outside of the arena";
    for (int i = 0; i < c->fn->param.count; i++) {
        Slot slot = c->fn->param_slot.at[i];
        size_t bytes = (size_t)type_bytes(c->fn->param.at[i]->type);
        if (slot.kind == SLOT_INPUT && (!intact(run->input[slot.index], bytes) ||
                                        memcmp(run->input[slot.index], in[i], bytes) != 0))
            return arena_printf(cx->arena, "changed parameter %d", i);
    }
    for (int i = 0; i < c->fn->result.count; i++) {
        Slot slot = c->fn->result.at[i].slot;
        if (slot.kind == SLOT_OUTPUT &&
            !intact(run->output[slot.index], (size_t)type_bytes(c->fn->result.at[i].value->type)))
            return arena_printf(cx->arena, "wrote outside of result %d", i);
    }
    return NULL;
}

static const char *compare(Cx *cx, Type type, const void *found, const void *expected,
                           double tolerance)
{
    double unit = type.dtype == DTYPE_F16 ? 2e-3 : type.dtype == DTYPE_BF16 ? 1.6e-2 : 0;
    for (int64_t i = 0; i < type_elements(type); i++) {
        if (dtype_info[type.dtype].kind != KIND_FLOAT) {
            if (element_whole(type.dtype, found, i) != element_whole(type.dtype, expected, i))
                return arena_printf(cx->arena, "element %lld of %s is %lld, expected %lld",
                                    (long long)i, type_text(cx->arena, type),
                                    (long long)element_whole(type.dtype, found, i),
                                    (long long)element_whole(type.dtype, expected, i));
            continue;
        }
        double a = element_real(type.dtype, found, i), b = element_real(type.dtype, expected, i);
        if (isnan(a) && isnan(b))
            continue;
        if (a != b && !(fabs(a - b) <= (tolerance + unit) * (1 + fabs(b))))
            return arena_printf(cx->arena, "element %lld of %s is %.9g, expected %.9g",
                                (long long)i, type_text(cx->arena, type), a, b);
    }
    return NULL;
}

const char *case_check(Cx *cx, Case *c, uint64_t seed, double tolerance)
{
    Draw draw = {seed};
    int params = c->fn->param.count, results = c->fn->result.count;
    void **in = NEW_ARRAY(cx->arena, void *, params + 1),
         **out = NEW_ARRAY(cx->arena, void *, results + 1);
    for (int i = 0; i < params; i++) {
        in[i] = arena_alloc(cx->arena, (size_t)type_bytes(c->fn->param.at[i]->type));
        fill_values(&draw, c->fn->param.at[i]->type, in[i]);
    }
    for (int i = 0; i < results; i++)
        out[i] = arena_alloc(cx->arena, (size_t)type_bytes(c->reference->result.at[i].value->type));
    ir_evaluate(c->reference, in, out);

    aml_parallel_for *const ways[] = {NULL, backwards, uneven};
    Run first = {0};
    for (size_t way = 0; way < COUNT_OF(ways); way++) {
        Run run = make_run(cx, c, in);
        int used = 0;
        aml_call call = {.state = run.state,
                         .arena = run.arena,
                         .input = run.input,
                         .output = run.output,
                         .scalar = run.scalar,
                         .parallel = ways[way],
                         .pool = &used};
        c->run(&call);
        const char *why = check_guards(cx, c, &run, in);
        if (way == 0)
            first = run;
        for (int i = 0; i < results && !why; i++) {
            Type type = c->reference->result.at[i].value->type;
            Slot slot = c->fn->result.at[i].slot;
            const void *found = value_at(c, &run, slot, true);
            if (way == 0)
                why = compare(cx, type, found, out[i], tolerance);
            else if (memcmp(found, value_at(c, &first, slot, true), (size_t)type_bytes(type)) != 0)
                why = "other bits when the parts run in another order";
            if (why)
                why = arena_printf(cx->arena, "result %d: %s", i, why);
        }
        if (why)
            return why;
    }
    return NULL;
}
