// compiled_test: compiled code of every op and type against the reference kernels, on the operands
// of golden.ir: edge values, several shapes. Nothing is folded: the operands become inputs.
//
// Usage: compiled_test golden.ir [CPU]

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/harness.h"

enum { GROUP = 64, MOST_SAME = 3 };

typedef struct Golden {
    IrFunction *source; // with its operands as constants
    Case compiled;
    void **in;
} Golden;

// The constants above the first other instruction become inputs.
static void lift(Cx *cx, IrModule *module, Golden *golden, const char *symbol)
{
    IrFunction *from = golden->source,
               *fn = ir_function_new(cx, module, sym_of(cx, symbol), from->span);
    Inst **twin = NEW_ARRAY(cx->arena, Inst *, from->next_id + 1);
    const Inst *inst = from->first;
    golden->in = NEW_ARRAY(cx->arena, void *, from->next_id + 1);
    for (int i = 0; inst && inst->op == OP_constant; inst = inst->next, i++) {
        twin[inst->id] = ir_param(fn, inst->type, (Slot){SLOT_INPUT, i}, NULL, inst->span);
        golden->in[i] = (void *)(uintptr_t)inst->attr[0].data.at;
    }
    for (; inst; inst = inst->next) {
        Inst **in = NEW_ARRAY(cx->arena, Inst *, inst->inputs + 1);
        for (int i = 0; i < inst->inputs; i++)
            in[i] = twin[inst->input[i]->id];
        if (inst->op != OP_constant) // the expected result stays behind
            twin[inst->id] = ir_clone_into(fn, inst, in);
    }
    ir_result(fn, twin[from->result.at[0].value->id], (Slot){SLOT_OUTPUT, 0}, NULL);
    case_prepare(cx, &golden->compiled, module, fn, symbol);
}

static double shown(Type type, const void *at, int64_t i)
{
    bool real = dtype_info[type.dtype].kind == KIND_FLOAT;
    return real ? element_real(type.dtype, at, i) : (double)element_whole(type.dtype, at, i);
}

// `sums`: products or elements were added up, and may have cancelled: the error is relative to the
// terms.
static bool agrees(Type type, const void *a, const void *b, int64_t i, bool sums)
{
    static const double tolerance[DTYPE_COUNT] = {
        [DTYPE_F32] = 1e-6, [DTYPE_F64] = 1e-13, [DTYPE_F16] = 1e-3, [DTYPE_BF16] = 8e-3};
    // Results that would be subnormal are zero (codegen/mode.c); f16's are multiples of 2^-24.
    static const double smallest[DTYPE_COUNT] = {[DTYPE_F32] = 0x1p-126,
                                                 [DTYPE_F64] = 0x1p-1022,
                                                 [DTYPE_F16] = 0x1p-24,
                                                 [DTYPE_BF16] = 0x1p-126};
    if (dtype_info[type.dtype].kind != KIND_FLOAT)
        return element_whole(type.dtype, a, i) == element_whole(type.dtype, b, i);
    double left = element_real(type.dtype, a, i), right = element_real(type.dtype, b, i);
    double slack = sums ? (dtype_info[type.dtype].bytes == 2 ? 3e-2 : 1e-5) * (1 + fabs(right)) : 0;
    return left == right || (isnan(left) && isnan(right)) ||
           fabs(left - right) <= tolerance[type.dtype] * fabs(right) + smallest[type.dtype] + slack;
}

static bool has_sums(const IrFunction *fn)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        if (inst->op == OP_dot || inst->op == OP_conv || inst->op == OP_conv_input ||
            inst->op == OP_conv_weight || inst->op == OP_attend || inst->op == OP_attend_back ||
            inst->op == OP_attend_cached || inst->op == OP_dot_stored || inst->op == OP_reduce ||
            inst->op == OP_scatter_add || inst->op == OP_add_along || inst->op == OP_cumulate ||
            inst->op == OP_loop)
            return true;
    return false;
}

static void *lined_up(Cx *cx, size_t bytes) // as the runtime's buffers are
{
    char *at = arena_alloc(cx->arena, bytes + 2 * AML_ALIGNMENT);
    return at + (AML_ALIGNMENT - (uintptr_t)at % AML_ALIGNMENT) % AML_ALIGNMENT;
}

static const char *run(Cx *cx, Golden *golden)
{
    Case *c = &golden->compiled;
    Type type = c->reference->result.at[0].value->type;
    void *expected = lined_up(cx, (size_t)type_bytes(type)),
         *found = lined_up(cx, (size_t)type_bytes(type));
    int params = c->fn->param.count;
    void **in = NEW_ARRAY(cx->arena, void *, params + 1);
    for (int i = 0; i < params; i++) {
        size_t size = (size_t)type_bytes(c->fn->param.at[i]->type);
        in[i] = memcpy(lined_up(cx, size), golden->in[i], size);
    }
    ir_evaluate(c->reference, in, &expected);
    aml_call call = {.arena = lined_up(cx, c->entry.arena_bytes), .input = in, .output = &found};
    c->run(&call);
    bool sums = has_sums(c->reference);
    for (int64_t i = 0; i < type_elements(type); i++) {
        if (agrees(type, found, expected, i, sums))
            continue;
        Buffer operands = {.arena = cx->arena};
        buffer_text(&operands, "");
        for (int k = 0; k < params; k++)
            if (shape_equal(c->fn->param.at[k]->type, type))
                buffer_printf(&operands, " %.17g", shown(c->fn->param.at[k]->type, in[k], i));
        return arena_printf(cx->arena, "element %lld is %.17g, expected %.17g; operands:%s",
                            (long long)i, shown(type, found, i), shown(type, expected, i),
                            operands.text);
    }
    return NULL;
}

static int stem_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (int)(dot - name) : 0;
}

static bool test_group(const char *path, const char *text, size_t length, const char *cpu,
                       int first, bool *more)
{
    Cx *cx = cx_new();
    const char *messages;
    IrModule *golden = module_from_text(cx, path, text, length, &messages),
             *module = ir_module_new(cx);
    Golden chosen[GROUP];
    Case cases[GROUP];
    int seen = 0, count = 0;
    bool good = golden != NULL;
    *more = false;
    for (int i = 0; golden && i < golden->function.count; i++) {
        const char *name = golden->function.at[i]->name;
        if (!strchr(name, '.')) {
            vec_push(cx->arena, &module->function, golden->function.at[i]); // called by another
            continue;
        }
        if (atoi(strrchr(name, '.') + 1) > MOST_SAME || seen++ < first)
            continue;
        if (count == GROUP) {
            *more = true;
            break;
        }
        chosen[count].source = golden->function.at[i];
        lift(cx, module, &chosen[count], arena_printf(cx->arena, "case%d", count));
        cases[count] = chosen[count].compiled;
        count++;
    }
    if (golden)
        passes_run(cx, module, NULL, NULL, NULL);
    const char *why = golden ? cases_load(cx, module, cases, count, cpu) : messages;
    if (why) {
        printf("FAIL compiled: cases from %d: %s\n", first, why);
        good = false;
    }
    for (int i = 0; i < count && !why; i++) {
        chosen[i].compiled = cases[i];
        const char *name = chosen[i].source->name, *wrong = run(cx, &chosen[i]);
        if (wrong)
            printf("FAIL %s: %s\n", name, wrong);
        else if (i + 1 == count || stem_length(chosen[i + 1].source->name) != stem_length(name) ||
                 strncmp(name, chosen[i + 1].source->name, (size_t)stem_length(name)) != 0)
            printf("PASS %.*s\n", stem_length(name), name);
        good = good && !wrong;
    }
    fflush(stdout);
    cx_free(cx);
    return good;
}

int main(int argc, char **argv)
{
    Cx *cx = cx_new();
    char *text = NULL;
    size_t length = 0;
    if (argc < 2 || !file_read(cx->arena, argv[1], 1 << 26, &text, &length)) {
        printf("FAIL compiled: %s cannot be read\n", argc > 1 ? argv[1] : "golden.ir");
        return 1;
    }
    bool good = true, more = true;
    for (int first = 0; more; first += GROUP)
        good =
            test_group(argv[1], text, length, argc > 2 ? argv[2] : "native", first, &more) && good;
    cx_free(cx);
    return !good;
}
