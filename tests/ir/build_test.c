// build_test: functions made and changed by hand keep their invariants, and the verifier sees every
// one that is broken.

#include "check.h"
#include "ir/support.h"
#include "passes/pass.h"

typedef struct Sample {
    Cx *cx;
    IrModule *module;
    IrFunction *fn;
    Inst *a, *b, *sum, *product;
} Sample;

// sum = a + b, product = sum * a; result: product
static Sample sample_new(void)
{
    Sample s = {.cx = cx_new()};
    int64_t dim[] = {2, 3};
    Type type = type_make(DTYPE_F32, 2, dim);
    s.module = ir_module_new(s.cx);
    s.fn = ir_function_new(s.cx, s.module, sym_of(s.cx, "f"), (Span){0});
    s.a = ir_param(s.fn, type, (Slot){SLOT_STATE, 0}, NULL, (Span){0});
    s.b = ir_param(s.fn, type, (Slot){SLOT_INPUT, 0}, NULL, (Span){0});
    s.sum = ir_binary(s.fn, OP_add, s.a, s.b, (Span){0});
    s.product = ir_binary(s.fn, OP_mul, s.sum, s.a, (Span){0});
    ir_result(s.fn, s.product, (Slot){SLOT_STATE, 0}, NULL);
    return s;
}

#define CHECK_BROKEN(sample, words)                                                                \
    do {                                                                                           \
        const char *why_ = ir_verify((sample).cx->arena, (sample).module);                         \
        if (!why_ || !strstr(why_, (words)))                                                       \
            CHECK_FAIL("the verifier says \"%s\", expected \"%s\"", why_ ? why_ : "nothing",       \
                       (words));                                                                   \
    } while (0)

TEST(well_formed)
{
    Sample s = sample_new();
    CHECK(ir_verify(s.cx->arena, s.module) == NULL);
    CHECK_INT(s.a->uses, 2);
    CHECK_INT(s.sum->uses, 1);
    CHECK_INT(s.product->uses, 1);
    cx_free(s.cx);
}

TEST(wrong_use_count)
{
    Sample s = sample_new();
    s.sum->uses++;
    CHECK_BROKEN(s, "1 readers, 2 are recorded");
    cx_free(s.cx);
}

TEST(wrong_type)
{
    Sample s = sample_new();
    s.sum->type.dim[1] = 4;
    CHECK_BROKEN(s, "result 0 is f32[2, 3], recorded is f32[2, 4]");
    cx_free(s.cx);
}

TEST(read_before_definition)
{
    Sample s = sample_new();
    s.sum->input[1] = s.product;
    CHECK_BROKEN(s, "reads a value that is not defined before it");
    cx_free(s.cx);
}

TEST(value_of_another_function)
{
    Sample s = sample_new(), other = sample_new();
    s.sum->input[1] = other.b;
    CHECK_BROKEN(s, "not defined before it");
    cx_free(s.cx);
    cx_free(other.cx);
}

TEST(number_used_twice)
{
    Sample s = sample_new();
    s.product->id = s.sum->id;
    CHECK_BROKEN(s, "its number is not unique");
    cx_free(s.cx);
}

TEST(broken_list)
{
    Sample s = sample_new();
    s.product->prev = NULL;
    CHECK_BROKEN(s, "the list of instructions is broken");
    cx_free(s.cx);
}

TEST(state_written_twice)
{
    Sample s = sample_new();
    ir_result(s.fn, s.sum, (Slot){SLOT_STATE, 0}, NULL);
    CHECK_BROKEN(s, "two results are bound to one slot");
    cx_free(s.cx);
}

TEST(body_with_two_owners)
{
    Sample s = sample_new();
    IrFunction *body = ir_function_new(s.cx, NULL, NULL, (Span){0});
    Inst *in = ir_param(body, s.a->type, (Slot){0}, NULL, (Span){0});
    ir_result(body, ir_unary(body, OP_neg, in, (Span){0}), (Slot){0}, NULL);
    Attr attr = {.function = body};
    Inst *fused = ir_append(s.fn, OP_fused, &s.a, 1, &attr, (Type){0}, (Span){0});
    CHECK(ir_verify(s.cx->arena, s.module) == NULL);
    CHECK(inst_nested(fused) == body && body->parent == s.fn);
    body->parent = NULL;
    CHECK_BROKEN(s, "its body is not its own");
    cx_free(s.cx);
}

TEST(calls_itself)
{
    Sample s = sample_new();
    IrFunction *g = ir_function_new(s.cx, s.module, sym_of(s.cx, "g"), (Span){0});
    Inst *in = ir_param(g, s.a->type, (Slot){0}, NULL, (Span){0});
    ir_result(g, ir_unary(g, OP_neg, in, (Span){0}), (Slot){0}, NULL);
    Attr attr = {.function = g};
    ir_append(g, OP_call, &in, 1, &attr, (Type){0}, (Span){0});
    CHECK_BROKEN(s, "a function calls itself");
    cx_free(s.cx);
}

TEST(call_of_a_bound_function)
{
    Sample s = sample_new();
    IrFunction *g = ir_function_new(s.cx, s.module, sym_of(s.cx, "g"), (Span){0});
    Inst *in[] = {ir_param(g, s.a->type, (Slot){0}, NULL, (Span){0}), NULL};
    in[1] = in[0];
    Attr attr = {.function = s.fn};
    ir_result(g, ir_append(g, OP_call, in, 2, &attr, (Type){0}, (Span){0}), (Slot){0}, NULL);
    CHECK_BROKEN(s, "calls @f, which is bound to buffers");
    cx_free(s.cx);
}

TEST(replace_and_remove)
{
    Sample s = sample_new();
    Inst *before = ir_insert_before(s.product, OP_neg, &s.b, 1, NULL, (Type){0}, (Span){0});
    CHECK(before->prev == s.sum && before->next == s.product);
    ir_replace_uses(s.fn, s.sum, before);
    CHECK_INT(s.sum->uses, 0);
    CHECK_INT(before->uses, 1);
    ir_remove(s.fn, s.sum);
    CHECK_INT(s.a->uses, 1);
    CHECK_INT(s.b->uses, 1);
    CHECK(s.fn->first == before);
    ir_replace_uses(s.fn, s.product, s.a);
    CHECK(s.fn->result.at[0].value == s.a);
    CHECK(ir_verify(s.cx->arena, s.module) == NULL);
    cx_free(s.cx);
}

TEST(clone_computes_the_same)
{
    Cx *cx = cx_new();
    for (uint64_t seed = 1; seed < 40; seed++) {
        IrModule *module = random_module(cx, seed, 30);
        IrFunction *copy = ir_clone_function(module->function.at[0], module, sym_of(cx, "copy"));
        CHECK(ir_verify(cx->arena, module) == NULL);
        CHECK(functions_differ(cx, module->function.at[0], copy, seed, 0) == NULL);
    }
    cx_free(cx);
}

TEST(costs)
{
    Cx *cx = cx_new();
    const char *messages,
        *text =
            "function @f {\n"
            "  %0 = parameter : f32[8, 4]\n"
            "  %1 = parameter : f32[4, 3]\n"
            "  %2 = dot %0, %1 contract_a=[1] contract_b=[0] batch_a=[] batch_b=[] : f32[8, 3]\n"
            "  %3 = reduce %2 with=sum axes=[0] : f32[3]\n"
            "  %4 = reshape %3 : f32[1, 3]\n"
            "  %5 = loop %4 count=5 carried=1 sliced=0 body={\n"
            "    %6 = parameter : i64[]\n"
            "    %7 = parameter : f32[1, 3]\n"
            "    %8 = exp %7 : f32[1, 3]\n"
            "    result %8\n"
            "  } : f32[1, 3]\n"
            "  result %5\n"
            "}\n";
    IrModule *module = module_from_text(cx, "costs.ir", text, strlen(text), &messages);
    CHECK(module != NULL);
    const Inst *inst = module->function.at[0]->first;
    CHECK_CLOSE(inst_cost(inst).flops, 2 * 8 * 4 * 3, 0);
    CHECK_CLOSE(inst_cost(inst).bytes, 4 * (8 * 4 + 4 * 3 + 8 * 3), 0);
    CHECK_CLOSE(inst_cost(inst->next).flops, 24, 0);
    CHECK_CLOSE(inst_cost(inst->next->next).bytes, 0, 0);
    CHECK_CLOSE(inst_cost(inst->next->next->next).flops, 5 * 3, 0);
    cx_free(cx);
}

int main(void)
{
    RUN(well_formed);
    RUN(wrong_use_count);
    RUN(wrong_type);
    RUN(read_before_definition);
    RUN(value_of_another_function);
    RUN(number_used_twice);
    RUN(broken_list);
    RUN(state_written_twice);
    RUN(body_with_two_owners);
    RUN(calls_itself);
    RUN(call_of_a_bound_function);
    RUN(replace_and_remove);
    RUN(clone_computes_the_same);
    RUN(costs);
    CHECK_SUMMARY();
}
