// shapes_test: products with epilogues, folds, softmax, optimizer steps and data movement, over
// sizes that fill vectors exactly, almost and not at all, compiled for each processor level,
// against the reference.
//
// Each program is written once with names for its sizes (M, N, K) and its float type (T).

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "harness.h"

typedef struct Template {
    const char *name, *text;
    bool large; // is divided among threads at the largest sizes
} Template;

static const Template templates[] = {
    {"bias_relu",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[K, N]\n%2 = parameter : T[N]\n"
     "%3 = dot %0, %1 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M, N]\n%4 = "
     "broadcast %2 axes=[1] : T[M, N]\n"
     "%5 = add %3, %4 : T[M, N]\n%6 = constant value=splat(0) : T[M, N]\n%7 = max %5, %6 : T[M, "
     "N]\n"
     "%8 = lt %5, %6 : bool[M, N]\nresult %7\nresult %8\n",
     true},
    {"left_transposed",
     "%0 = parameter : T[K, M]\n%1 = parameter : T[K, N]\n"
     "%2 = dot %0, %1 contract_a=[0] contract_b=[0] batch_a=[] batch_b=[] : T[M, N]\nresult %2\n",
     true},
    {"right_transposed",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[N, K]\n%2 = parameter : bool[M, N]\n"
     "%3 = dot %0, %1 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, N]\n"
     "%4 = constant value=splat(0.5) : T[M, N]\n%5 = select %2, %3, %4 : T[M, N]\nresult "
     "%5\nresult %3\n",
     true},
    {"both_transposed",
     "%0 = parameter : T[K, M]\n%1 = parameter : T[N, K]\n%2 = transpose %0 permutation=[1, 0] : "
     "T[M, K]\n"
     "%3 = transpose %1 permutation=[1, 0] : T[K, N]\n"
     "%4 = dot %2, %3 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M, N]\nresult %4\n",
     true},
    {"batched",
     "%0 = parameter : T[3, M, K]\n%1 = parameter : T[3, N, K]\n%2 = parameter : T[3, N]\n"
     "%3 = dot %0, %1 contract_a=[2] contract_b=[2] batch_a=[0] batch_b=[0] : T[3, M, N]\n"
     "%4 = broadcast %2 axes=[0, 2] : T[3, M, N]\n%5 = mul %3, %4 : T[3, M, N]\nresult %5\n",
     true},
    {"heads",
     "%0 = parameter : T[M, 2, K]\n%1 = parameter : T[N, 2, K]\n"
     "%2 = dot %0, %1 contract_a=[2] contract_b=[2] batch_a=[1] batch_b=[1] : T[2, M, N]\nresult "
     "%2\n",
     true},
    {"columns_do_not_collapse",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[2, K, N]\n"
     "%2 = dot %0, %1 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, 2, N]\n"
     "%3 = exp %2 : T[M, 2, N]\n%4 = neg %2 : T[M, 2, N]\nresult %4\n",
     true},
    {"matrix_vector",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[K]\n%2 = parameter : T[M]\n"
     "%3 = dot %0, %1 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M]\n%4 = add %3, %2 "
     ": T[M]\nresult %4\n",
     false},
    {"outer",
     "%0 = parameter : T[M]\n%1 = parameter : T[N]\n"
     "%2 = dot %0, %1 contract_a=[] contract_b=[] batch_a=[] batch_b=[] : T[M, N]\nresult %2\n",
     false},
    {"constant_right",
     "%0 = parameter : T[M, 3]\n%1 = constant value=dense(1, 2, 3, 4, 5, 6) : T[3, 2]\n"
     "%2 = dot %0, %1 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M, 2]\nresult %2\n",
     false},
    {"same_operand",
     "%0 = parameter : T[M, K]\n"
     "%1 = dot %0, %0 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, M]\nresult %1\n",
     false},
    {"extremes_with_nan", // of roots, some of them of negative numbers
     "%0 = parameter : T[M, N]\n%1 = constant value=splat(0.95) : T[M, N]\n%2 = add %0, %1 : T[M, "
     "N]\n%3 = sqrt %2 : T[M, N]\n%4 = reduce %3 with=max axes=[1] : T[M]\n%5 = reduce %3 with=min "
     "axes=[1] : T[M]\n%6 = reduce %3 with=max axes=[0] : T[N]\n%7 = reduce %3 with=min axes=[0, "
     "1] "
     ": T[]\nresult %4\nresult %5\nresult %6\nresult %7\n",
     true},
    {"softmax",
     "%0 = parameter : T[M, N]\n%1 = reduce %0 with=max axes=[1] : T[M]\n%2 = broadcast %1 "
     "axes=[0] : T[M, N]\n"
     "%3 = sub %0, %2 : T[M, N]\n%4 = exp %3 : T[M, N]\n%5 = reduce %4 with=sum axes=[1] : T[M]\n"
     "%6 = broadcast %5 axes=[0] : T[M, N]\n%7 = div %4, %6 : T[M, N]\n%8 = log %5 : T[M]\n%9 = "
     "add %8, %1 : T[M]\n"
     "result %7\nresult %9\n",
     true},
    {"layer_norm",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[N]\n%2 = reduce %0 with=sum axes=[1] : T[M]\n"
     "%3 = constant value=splat(0.0078125) : T[M]\n%4 = mul %2, %3 : T[M]\n%5 = reshape %4 : T[M, "
     "1]\n"
     "%6 = broadcast %5 axes=[0, 1] : T[M, N]\n%7 = sub %0, %6 : T[M, N]\n%8 = mul %7, %7 : T[M, "
     "N]\n"
     "%9 = reduce %8 with=sum axes=[1] : T[M]\n%10 = constant value=splat(1) : T[M]\n%11 = add %9, "
     "%10 : T[M]\n"
     "%12 = sqrt %11 : T[M]\n%13 = broadcast %12 axes=[0] : T[M, N]\n%14 = div %7, %13 : T[M, N]\n"
     "%15 = broadcast %1 axes=[1] : T[M, N]\n%16 = mul %14, %15 : T[M, N]\nresult %16\nresult %4\n",
     true},
    {"rows_of_16_bits", // each ends where the next one begins, perhaps another thread's
     "%0 = parameter : T[M, N]\n%1 = reduce %0 with=max axes=[1] : T[M]\n%2 = broadcast %1 "
     "axes=[0] : T[M, N]\n%3 = sub %0, %2 : T[M, N]\n%4 = exp %3 : T[M, N]\n%5 = cast %4 : "
     "bf16[M, N]\n%6 = le %0, %2 : bool[M, N]\nresult %5\nresult %6\n",
     true},
    {"column_statistics",
     "%0 = parameter : T[M, N]\n%1 = reduce %0 with=sum axes=[0] : T[N]\n%2 = mul %0, %0 : T[M, "
     "N]\n"
     "%3 = reduce %2 with=max axes=[0] : T[N]\n%4 = broadcast %1 axes=[1] : T[M, N]\n%5 = sub %0, "
     "%4 : T[M, N]\n"
     "result %1\nresult %3\nresult %5\n",
     true},
    {"wide_column_sum",
     "%0 = parameter : T[M, 803]\n%1 = reduce %0 with=sum axes=[0] : T[803]\nresult %1\n", true},
    {"fold_all",
     "%0 = parameter : T[M, N]\n%1 = parameter : bool[M, N]\n%2 = constant value=splat(0.25) : "
     "T[M, N]\n"
     "%3 = select %1, %0, %2 : T[M, N]\n%4 = reduce %3 with=sum axes=[0, 1] : T[]\n%5 = reduce %3 "
     "with=min axes=[0, 1] : T[]\n"
     "%6 = add %4, %5 : T[]\n%7 = broadcast %6 axes=[] : T[M, N]\n%8 = add %0, %7 : T[M, "
     "N]\nresult %8\nresult %6\n",
     true},
    {"middle_axis",
     "%0 = parameter : T[M, K, N]\n%1 = reduce %0 with=sum axes=[1] : T[M, N]\n%2 = reduce %0 "
     "with=max axes=[0, 2] : T[K]\n"
     "result %1\nresult %2\n",
     true},
    {"folds_of_bool",
     "%0 = parameter : bool[M, N]\n%1 = reduce %0 with=any axes=[1] : bool[M]\n%2 = reduce %0 "
     "with=all axes=[0] : bool[N]\n"
     "%3 = cast %0 : i32[M, N]\n%4 = reduce %3 with=sum axes=[0, 1] : i32[]\nresult %1\nresult "
     "%2\nresult %4\n",
     false},
    {"adamw",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[M, N]\n%2 = parameter : T[K, N] state(0)\n%3 = "
     "parameter : T[K, N] state(1)\n"
     "%4 = parameter : T[K, N] state(2)\n%5 = parameter : T[] scalar(0)\n"
     "%6 = dot %0, %1 contract_a=[0] contract_b=[0] batch_a=[] batch_b=[] : T[K, N]\n"
     "%7 = dot %1, %2 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, K]\n"
     "%8 = constant value=splat(0.5) : T[K, N]\n%9 = mul %3, %8 : T[K, N]\n%10 = add %9, %6 : T[K, "
     "N]\n%11 = mul %6, %6 : T[K, N]\n"
     "%12 = mul %4, %8 : T[K, N]\n%13 = add %12, %11 : T[K, N]\n%14 = abs %13 : T[K, N]\n%15 = "
     "sqrt %14 : T[K, N]\n"
     "%16 = constant value=splat(1) : T[K, N]\n%17 = add %15, %16 : T[K, N]\n%18 = div %10, %17 : "
     "T[K, N]\n"
     "%19 = broadcast %5 axes=[] : T[K, N]\n%20 = mul %18, %19 : T[K, N]\n%21 = sub %2, %20 : T[K, "
     "N]\n"
     "result %21 state(0)\nresult %10 state(1)\nresult %13 state(2)\nresult %7\n",
     true},
    {"moves",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[N, M]\n%2 = transpose %1 permutation=[1, 0] : "
     "T[M, N]\n%3 = add %0, %2 : T[M, N]\n"
     "%4 = concat %3, %0 axis=0 : T[2M, N]\n%5 = concat %3, %0, %2 axis=1 : T[M, 3N]\n%6 = "
     "constant value=splat(2) : T[]\n"
     "%7 = pad %3, %6 low=[1, 2] high=[0, 3] : T[1M, 5N]\n%8 = sqrt %4 : T[2M, N]\nresult "
     "%4\nresult %5\nresult %7\n",
     false},
    {"rows",
     "%0 = parameter : T[M, N]\n%1 = parameter : i32[K]\n%2 = parameter : T[K, N]\n%3 = gather %0, "
     "%1 axis=0 : T[K, N]\n"
     "%4 = mul %3, %2 : T[K, N]\n%5 = scatter_add %0, %1, %2 axis=0 : T[M, N]\n%6 = argmax %0 "
     "axis=1 : i32[M]\n"
     "%7 = argmax %0 axis=0 : i32[N]\n%8 = iota axis=1 : i64[M, N]\nresult %4\nresult %5\nresult "
     "%6\nresult %7\nresult %8\n",
     true},
    {"draws",
     "%0 = parameter : i64[] scalar(0)\n%1 = parameter : i64[] scalar(1)\n%2 = random %0, %1 "
     "site=7 : f32[M, N]\n"
     "%3 = random %1, %0 site=3 : f64[K, N]\nresult %2\nresult %3\n",
     false},
    {"math",
     "%0 = parameter : T[M, N]\n%1 = tanh %0 : T[M, N]\n%2 = erf %1 : T[M, N]\n%3 = sigmoid %2 : "
     "T[M, N]\n%4 = exp %3 : T[M, N]\n"
     "%5 = log %4 : T[M, N]\n%6 = sin %5 : T[M, N]\n%7 = cos %6 : T[M, N]\n%8 = pow %4, %7 : T[M, "
     "N]\n%9 = reshape %8 : T[MN]\n"
     "%10 = floor %0 : T[M, N]\n%11 = round %0 : T[M, N]\nresult %9\nresult %10\nresult %11\n",
     true},
    {"turns",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[4, N, N]\n%2 = parameter : T[N]\n"
     "%3 = loop %0, %1, %2 count=4 carried=1 sliced=1 body={\n%4 = parameter : i64[]\n%5 = "
     "parameter : T[M, N]\n%6 = parameter : T[N, N]\n"
     "%7 = parameter : T[N]\n%8 = dot %5, %6 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : "
     "T[M, N]\n"
     "%9 = broadcast %7 axes=[1] : T[M, N]\n%10 = add %8, %9 : T[M, N]\n%11 = tanh %10 : T[M, N]\n"
     "%12 = reduce %11 with=sum axes=[0] : T[N]\nresult %11\nresult %12\n} : T[M, N], T[4, N]\n"
     "%13 = get %3 index=0 : T[M, N]\n%14 = get %3 index=1 : T[4, N]\nresult %13\nresult %14\n",
     true},
    {"same_matrix_each_turn",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[4, M, N]\n%2 = parameter : T[N, N]\n"
     "%3 = parameter : T[N, N]\n%4 = parameter : T[N]\n"
     "%5 = loop %0, %1, %2, %3, %4 count=4 carried=1 sliced=1 body={\n%6 = parameter : i64[]\n"
     "%7 = parameter : T[M, N]\n%8 = parameter : T[M, N]\n%9 = parameter : T[N, N]\n"
     "%10 = parameter : T[N, N]\n%11 = parameter : T[N]\n"
     "%12 = dot %7, %9 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M, N]\n"
     "%13 = broadcast %11 axes=[1] : T[M, N]\n%14 = add %12, %13 : T[M, N]\n"
     "%15 = add %14, %8 : T[M, N]\n%16 = tanh %15 : T[M, N]\n"
     "%17 = dot %16, %10 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, N]\n"
     "%18 = constant value=splat(0.001953125) : T[M, N]\n%19 = mul %17, %18 : T[M, N]\n"
     "result %19\nresult %16\n} : T[M, N], T[4, M, N]\n"
     "%20 = get %5 index=0 : T[M, N]\n%21 = get %5 index=1 : T[4, M, N]\nresult %20\nresult "
     "%21\n",
     true},
    {"panels",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[3, K, 64]\n%2 = parameter : T[M]\n"
     "%3 = dot %0, %1 contract_a=[1] contract_b=[1] batch_a=[] batch_b=[] : T[M, 3, 64]\n"
     "%4 = broadcast %2 axes=[0] : T[M, 3, 64]\n%5 = mul %3, %4 : T[M, 3, 64]\nresult %5\n",
     true},
    {"pieces",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[M, 3N]\n"
     "%2 = slice %1 start=[0, 0] stop=[M, N] step=[1, 1] : T[M, N]\n%3 = tanh %2 : T[M, N]\n"
     "%4 = mul %0, %3 : T[M, N]\n%5 = neg %0 : T[M, N]\n"
     "%6 = concat %4, %0, %5 axis=1 : T[M, 3N]\n%7 = concat %4, %5 axis=0 : T[2M, N]\n"
     "%8 = add %6, %1 : T[M, 3N]\n%9 = sub %4, %5 : T[M, N]\n%10 = concat %5, %5, %2 axis=1 : T[M, "
     "3N]\n"
     "result %6\nresult %7\nresult %8\nresult %9\nresult %10\n",
     true},
    {"pieces_between",
     "%0 = parameter : T[K, M, N]\n%1 = parameter : T[M, N]\n%2 = broadcast %1 axes=[1, 2] : T[K, "
     "M, N]\n"
     "%3 = mul %0, %2 : T[K, M, N]\n%4 = add %0, %2 : T[K, M, N]\n%5 = concat %3, %4 axis=1 : T[K, "
     "2M, N]\n"
     "%6 = floor %0 : T[K, M, N]\n%7 = cast %6 : i32[K, M, N]\n%8 = le %0, %2 : bool[K, M, N]\n"
     "%9 = cast %8 : i32[K, M, N]\n%10 = concat %7, %9, %7 axis=2 : i32[K, M, 3N]\n"
     "%11 = not %8 : bool[K, M, N]\n%12 = concat %8, %11 axis=1 : bool[K, 2M, N]\n"
     "result %5\nresult %10\nresult %12\n",
     true},
    {"pieces_of_products",
     "%0 = parameter : T[M, K]\n%1 = parameter : T[K, N]\n%2 = parameter : T[M, N]\n"
     "%3 = dot %0, %1 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : T[M, N]\n"
     "%4 = add %3, %2 : T[M, N]\n%5 = neg %2 : T[M, N]\n%6 = reduce %5 with=sum axes=[1] : T[M]\n"
     "%7 = broadcast %6 axes=[0] : T[M, N]\n%8 = mul %5, %7 : T[M, N]\n"
     "%9 = concat %4, %5, %8 axis=1 : T[M, 3N]\n%10 = concat %8, %5 axis=0 : T[2M, N]\n"
     "result %9\nresult %10\n",
     true},
    {"pieces_of_turns",
     "%0 = parameter : T[M, N]\n%1 = parameter : T[4, M, N]\n"
     "%2 = loop %0, %1 count=4 carried=1 sliced=1 body={\n%3 = parameter : i64[]\n"
     "%4 = parameter : T[M, N]\n%5 = parameter : T[M, N]\n%6 = sigmoid %4 : T[M, N]\n"
     "%7 = mul %6, %5 : T[M, N]\n%8 = concat %6, %7, %4 axis=1 : T[M, 3N]\n"
     "result %7\nresult %8\n} : T[M, N], T[4, M, 3N]\n"
     "%9 = get %2 index=0 : T[M, N]\n%10 = get %2 index=1 : T[4, M, 3N]\nresult %9\nresult %10\n",
     true},
    {"states_change_places",
     "%0 = parameter : T[M, N] state(0)\n%1 = parameter : T[M, N] state(1)\n%2 = parameter : T[M, "
     "N] state(2)\n"
     "%3 = add %0, %1 : T[M, N]\n%4 = transpose %0 permutation=[1, 0] : T[N, M]\n%5 = neg %4 : "
     "T[N, M]\n"
     "result %1 state(0)\nresult %0 state(1)\nresult %3 state(2)\nresult %2\nresult %5\n",
     false},
    {"old_state_after_new",
     "%0 = parameter : T[M, N] state(0)\n%1 = neg %0 : T[M, N]\n%2 = reduce %1 with=sum axes=[0] : "
     "T[N]\n"
     "%3 = broadcast %2 axes=[1] : T[M, N]\n%4 = mul %0, %3 : T[M, N]\n%5 = reduce %0 with=max "
     "axes=[1] : T[M]\n"
     "result %1 state(0)\nresult %4\nresult %5\nresult %1\n",
     false},
};

typedef struct Sizes {
    int m, n, k;
} Sizes;

static void put_size(Buffer *out, const char **at, Sizes sizes)
{
    static const struct {
        const char *name;
        int times_m, times_n, plus;
    } products[] = {{"2M", 2, 0, 0}, {"3N", 0, 3, 0}, {"1M", 1, 0, 1}, {"5N", 0, 1, 5}};
    if (strncmp(*at, "MN", 2) == 0) {
        buffer_printf(out, "%d", sizes.m * sizes.n);
        *at += 2;
        return;
    }
    for (size_t i = 0; i < COUNT_OF(products); i++)
        if (strncmp(*at, products[i].name, 2) == 0) {
            buffer_printf(out, "%d",
                          products[i].times_m * sizes.m + products[i].times_n * sizes.n +
                              products[i].plus);
            *at += 2;
            return;
        }
    if (**at == 'M' || **at == 'N' || **at == 'K')
        buffer_printf(out, "%d", **at == 'M' ? sizes.m : **at == 'N' ? sizes.n : sizes.k);
    else
        buffer_append(out, *at, 1);
    ++*at;
}

static void put_function(Buffer *out, const Template *template, int index, Sizes sizes,
                         const char *type, bool mixed)
{
    buffer_printf(out, "function @f%d%s {\n", index, mixed ? " mixed" : "");
    for (const char *at = template->text; *at;) {
        if (*at == 'T') {
            buffer_text(out, type);
            at++;
        } else {
            put_size(out, &at, sizes);
        }
    }
    buffer_text(out, "}\n");
}

static void check_some(const char *cpu, Sizes sizes, const char *type, bool mixed, double tolerance)
{
    Cx *cx = cx_new();
    Buffer text = {.arena = cx->arena};
    const char *messages = "";
    for (size_t i = 0; i < COUNT_OF(templates); i++)
        put_function(&text, &templates[i], (int)i, sizes, type, mixed);
    IrModule *module = module_from_text(cx, "shapes.ir", text.text, text.length, &messages);
    Case cases[COUNT_OF(templates)];
    const char *why = module ? NULL : messages;
    for (size_t i = 0; i < COUNT_OF(templates) && module; i++)
        case_prepare(cx, &cases[i], module, module->function.at[i],
                     arena_printf(cx->arena, "f%zu", i));
    if (!why)
        passes_run(cx, module, "fuse", NULL, NULL);
    if (!why)
        why = cases_load(cx, module, cases, COUNT_OF(templates), cpu);
    for (size_t i = 0; i < COUNT_OF(templates) && !why; i++) {
        // What is rounded again in the next turn may be rounded the other way.
        bool again = mixed && (strcmp(templates[i].name, "turns") == 0 ||
                               strcmp(templates[i].name, "same_matrix_each_turn") == 0);
        const char *differs = case_check(cx, &cases[i], 17, again ? 2e-2 : tolerance);
        if (differs)
            why = arena_printf(cx->arena, "%s: %s", templates[i].name, differs);
    }
    char shown[512];
    snprintf(shown, sizeof shown, "%s", why ? why : "");
    cx_free(cx);
    if (why)
        CHECK_FAIL("%s %s %dx%dx%d: %s", cpu, type, sizes.m, sizes.n, sizes.k, shown);
}

static void check_all(const char *cpu, Sizes sizes, const char *type, double tolerance)
{
    check_some(cpu, sizes, type, false, tolerance);
}

static const char *test_cpu;

TEST(f32_small)
{
    check_all(test_cpu, (Sizes){1, 1, 1}, "f32", 1e-5);
    check_all(test_cpu, (Sizes){7, 10, 1}, "f32", 1e-5);
}
TEST(f32_vectors)
{
    check_all(test_cpu, (Sizes){64, 64, 63}, "f32", 3e-5);
    check_all(test_cpu, (Sizes){10, 128, 64}, "f32", 3e-5);
}
TEST(f32_rests)
{
    check_all(test_cpu, (Sizes){63, 65, 64}, "f32", 3e-5);
    check_all(test_cpu, (Sizes){65, 7, 10}, "f32", 3e-5);
}
TEST(f32_large)
{
    check_all(test_cpu, (Sizes){150, 310, 90}, "f32", 2e-4);
    check_all(test_cpu, (Sizes){900, 65, 3}, "f32", 2e-4);
}
TEST(f64)
{
    check_all(test_cpu, (Sizes){7, 65, 10}, "f64", 1e-12);
    check_all(test_cpu, (Sizes){64, 10, 63}, "f64", 1e-12);
}
TEST(f64_large)
{
    check_all(test_cpu, (Sizes){90, 301, 150}, "f64", 1e-11);
}
TEST(f16)
{
    check_all(test_cpu, (Sizes){7, 10, 3}, "f16", 3e-2);
    check_all(test_cpu, (Sizes){33, 35, 20}, "f16", 3e-2);
}
TEST(bf16)
{
    check_all(test_cpu, (Sizes){10, 7, 3}, "bf16", 2e-1);
}
// Rows whose rest is one element: nothing may be written behind it.
TEST(one_element_of_two_bytes)
{
    check_all(test_cpu, (Sizes){6, 17, 3}, "bf16", 3e-1);
    check_all(test_cpu, (Sizes){6, 17, 3}, "f16", 5e-2);
}

// Operands of products rounded to bf16, stored so, and multiplied as the processor does it best.
TEST(mixed)
{
    check_some(test_cpu, (Sizes){10, 128, 64}, "f32", true, 3e-5);
    check_some(test_cpu, (Sizes){63, 65, 64}, "f32", true, 3e-5);
    check_some(test_cpu, (Sizes){65, 33, 131}, "f32", true, 3e-5);
    check_some(test_cpu, (Sizes){150, 310, 90}, "f32", true, 2e-4);
    CHECK(level_used_tiles(test_cpu, false));
}

int main(int argc, char **argv)
{
    test_cpu = argc > 1 ? argv[1] : "native";
    if (!level_can_run(test_cpu))
        return 77;
    if (strcmp(test_cpu, "x86-64-v4-amx") == 0) { // which differs from others in nothing else
        RUN(mixed);
        CHECK_SUMMARY();
    }
    RUN(f32_small);
    RUN(f32_vectors);
    RUN(f32_rests);
    RUN(f32_large);
    RUN(f64);
    RUN(f64_large);
    RUN(f16);
    RUN(bf16);
    RUN(one_element_of_two_bytes);
    RUN(mixed);
    CHECK_SUMMARY();
}
