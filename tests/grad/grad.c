// Every gradient rule against central differences, in f64, through the reference interpreter; then
// the gradient of the gradient, the same way. The functions are in rules.aml.

#include "elab/elab.h"
#include "sema/sema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PARAMS = 4 };

typedef struct Case {
    Node *fn;
    char rule[32];
    double low, high, step;
    int params;
    TypeValue type[MOST_PARAMS];
} Case;

// A traced function of the case's parameters, `weight` (the result's shape), and for the second
// order one direction for each float parameter.
typedef struct Traced {
    IrFunction *fn;
    int inputs, outputs;
    Type input[3 * MOST_PARAMS], output[1 + MOST_PARAMS];
} Traced;

static int failures;
static uint64_t random_state = 12345;

static double random_unit(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(random_state >> 11) / 9007199254740992.0;
}

static bool is_float(Type type)
{
    return dtype_info[type.dtype].kind == KIND_FLOAT;
}

static Type param_type(const Case *c, int i)
{
    return type_make(c->type[i].dtype, c->type[i].rank, c->type[i].dim);
}

static Inst *weighted_sum(Elab *e, Value result, Value weight)
{
    Value product = elab_binary(e, OPER_MUL, result, weight, (Span){0});
    Value args[] = {product};
    Value sum = elab_call(e, value_function(e, elab_std_function(e, "sum"), NULL), args, NULL, 1,
                          (Span){0});
    return value_is(sum, VALUE_TENSOR) ? sum.as.tensor.inst : NULL;
}

// order 1: outputs are the weighted sum and its gradients. order 2: the sum over all first
// gradients times their directions, and the gradients of that.
static bool trace_case(Elab *e, const Case *c, int order, Type result_type, Traced *out)
{
    char name[64];
    Value args[MOST_PARAMS], direction[MOST_PARAMS];
    Inst *wrt[MOST_PARAMS], *slope[MOST_PARAMS], *second[MOST_PARAMS];
    int count = 0;
    *out = (Traced){0};
    snprintf(name, sizeof name, "%s_%d_%d", c->fn->as.fn.name, order, e->module->function.count);
    Trace *trace = elab_trace_begin(e, sym_of(e->cx, name), c->fn->span);
    for (int i = 0; i < c->params; i++) {
        out->input[out->inputs++] = param_type(c, i);
        args[i] = elab_trace_input(e, param_type(c, i), c->type[i].classes, sym_of(e->cx, "x"),
                                   c->fn->span);
        if (is_float(param_type(c, i)))
            wrt[count++] = args[i].as.tensor.inst;
    }
    Value result = elab_call(e, value_function(e, c->fn, NULL), args, NULL, c->params, c->fn->span);
    if (!value_is(result, VALUE_TENSOR)) {
        elab_trace_end(e, trace);
        return false;
    }
    if (order == 0) {
        elab_trace_output(e, result.as.tensor.inst, sym_of(e->cx, "result"));
        out->output[out->outputs++] = result.as.tensor.inst->type;
        out->fn = elab_trace_end(e, trace);
        return out->fn != NULL;
    }
    out->input[out->inputs++] = result_type;
    Value weight = elab_trace_input(e, result_type, 0, sym_of(e->cx, "weight"), c->fn->span);
    Inst *value = weighted_sum(e, result, weight);
    if (!value || !gradient_of(e, value, wrt, count, slope, c->fn->span))
        return false;
    if (order == 2) {
        Value sum = value_real(0);
        for (int i = 0; i < count; i++) {
            out->input[out->inputs++] = wrt[i]->type;
            direction[i] =
                elab_trace_input(e, wrt[i]->type, 0, sym_of(e->cx, "direction"), c->fn->span);
            Inst *along = weighted_sum(e, value_tensor(slope[i]), direction[i]);
            sum = elab_binary(e, OPER_ADD, sum, value_tensor(along), c->fn->span);
        }
        value = sum.as.tensor.inst;
        if (!gradient_of(e, value, wrt, count, second, c->fn->span))
            return false;
    }
    elab_trace_output(e, value, sym_of(e->cx, "value"));
    out->output[out->outputs++] = value->type;
    for (int i = 0; i < count; i++) {
        Inst *gradient = order == 1 ? slope[i] : second[i];
        elab_trace_output(e, gradient, sym_of(e->cx, "gradient"));
        out->output[out->outputs++] = gradient->type;
    }
    out->fn = elab_trace_end(e, trace);
    return out->fn != NULL;
}

static void evaluate(const Traced *traced, void *const in[], void *const out[])
{
    void *param[3 * MOST_PARAMS], *result[1 + MOST_PARAMS];
    for (int i = 0; i < traced->fn->param.count; i++)
        param[i] = in[traced->fn->param_slot.at[i].index];
    for (int i = 0; i < traced->fn->result.count; i++)
        result[i] = out[traced->fn->result.at[i].slot.index];
    ir_evaluate(traced->fn, param, result);
}

// Compares the gradients that the function returns with differences of its first output. NULL, or
// what is wrong.
static const char *compare(Arena *arena, const Case *c, const Traced *traced)
{
    void *in[3 * MOST_PARAMS], *out[1 + MOST_PARAMS], *unused[1 + MOST_PARAMS];
    for (int i = 0; i < traced->inputs; i++) {
        int64_t count = type_elements(traced->input[i]);
        in[i] = arena_alloc(arena, (size_t)type_bytes(traced->input[i]) + 8);
        for (int64_t j = 0; j < count; j++) {
            if (traced->input[i].dtype == DTYPE_F64)
                ((double *)in[i])[j] = i < c->params ? c->low + (c->high - c->low) * random_unit()
                                                     : 2 * random_unit() - 1;
            else
                ((int32_t *)in[i])[j] = (int32_t)(random_unit() * (double)c->type[i].classes);
        }
    }
    for (int i = 0; i < traced->outputs; i++) {
        out[i] = arena_alloc(arena, (size_t)type_bytes(traced->output[i]) + 8);
        unused[i] = arena_alloc(arena, (size_t)type_bytes(traced->output[i]) + 8);
    }
    evaluate(traced, in, out);
    for (int p = 0, g = 0; p < c->params; p++) {
        if (!is_float(traced->input[p]))
            continue;
        const double *gradient = out[1 + g++];
        double *x = in[p];
        for (int64_t j = 0; j < type_elements(traced->input[p]); j++) {
            const double step = c->step, kept = x[j];
            x[j] = kept + step;
            evaluate(traced, in, unused);
            double above = *(double *)unused[0];
            x[j] = kept - step;
            evaluate(traced, in, unused);
            double below = *(double *)unused[0];
            x[j] = kept;
            double expected = (above - below) / (2 * step);
            if (!(fabs(gradient[j] - expected) <= 1e-6 + 1e-6 * fabs(expected)))
                return arena_printf(arena,
                                    "argument %d, element %lld: gradient %.12g, differences %.12g",
                                    p, (long long)j, gradient[j], expected);
        }
    }
    return NULL;
}

static bool read_case(Elab *e, Node *fn, Case *c)
{
    Env *env = env_new(e, NULL, fn->span.file);
    c->fn = fn;
    c->params = fn->as.fn.params.count;
    c->step = 1e-5;
    if (c->params > MOST_PARAMS || sscanf(fn->as.fn.doc, " %31[a-z_]: %lf to %lf, step %lf",
                                          c->rule, &c->low, &c->high, &c->step) < 3)
        return false;
    for (int i = 0; i < c->params; i++)
        if (!elab_type(e, env, fn->as.fn.params.at[i]->as.param.type, &c->type[i]))
            return false;
    return true;
}

static void run_case(Elab *e, Node *fn, Map *covered)
{
    Case c;
    Traced result, first, second;
    Arena *arena = e->cx->arena;
    const char *wrong = NULL, *name = fn->as.fn.name;
    if (!read_case(e, fn, &c))
        wrong =
            "its documentation does not say `RULE: LOW to HIGH`, or its parameters have no sizes";
    else if (!trace_case(e, &c, 0, (Type){0}, &result))
        wrong = "it could not be traced";
    else if (!trace_case(e, &c, 1, result.output[0], &first))
        wrong = "its gradient could not be traced";
    else if (!trace_case(e, &c, 2, result.output[0], &second))
        wrong = "the gradient of its gradient could not be traced";
    else {
        map_put(arena, covered, sym_of(e->cx, c.rule), fn);
        wrong = compare(arena, &c, &first);
        if (wrong)
            wrong = arena_printf(arena, "gradient: %s", wrong);
        else if ((wrong = compare(arena, &c, &second)))
            wrong = arena_printf(arena, "gradient of the gradient: %s", wrong);
    }
    if (wrong)
        printf("FAIL %s: %s\n", name, wrong);
    else
        printf("PASS %s\n", name);
    failures += wrong != NULL;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    Cx *cx = cx_new();
    Unit *unit = unit_load(cx, argv[1]);
    Elab *e = NULL;
    if (unit && diag_errors(cx) == 0) {
        Map covered = {0};
        e = elab_new(cx, unit, ir_module_new(cx));
        e->real = DTYPE_F64;
        elab_globals(e);
        NodeList *decls = &unit->main->ast->as.file.decls;
        for (int i = 0; i < decls->count; i++)
            if (decls->at[i]->kind == NODE_Fn && decls->at[i]->as.fn.doc)
                run_case(e, decls->at[i], &covered);
        unit_read_library(unit);
        for (int f = 0; f < unit->file.count; f++) {
            const NodeList *all = &unit->file.at[f]->ast->as.file.decls;
            for (int i = 0; i < all->count; i++) {
                if (all->at[i]->kind != NODE_Grad)
                    continue;
                bool good = map_get(&covered, all->at[i]->as.grad.name) != NULL;
                printf("%s rule_%s%s\n", good ? "PASS" : "FAIL", all->at[i]->as.grad.name,
                       good ? "" : ": no function in rules.aml checks it");
                failures += !good;
            }
        }
    }
    diag_print(cx, stdout, FORMAT_HUMAN, false);
    if (!e || diag_errors(cx) > 0) {
        printf("FAIL no_diagnostics: rules.aml is not accepted\n");
        failures++;
    }
    cx_free(cx);
    return failures ? 1 : 0;
}
