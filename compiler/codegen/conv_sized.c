// conv_sized.c: convolutions of bytes by code that layers have in common
// (kernels/cpu/conv_sized.h).

#include <string.h>

#include "codegen/emit.h"
#include "cpu/conv_sized.h"

// Of registers of eight lanes tiles are smaller and instructions of bytes more, so what is around
// them costs a quarter of the time.
bool conv_sized_fits(const Codegen *g, const AmlConv *c)
{
    return g->bytes && g->lanes == 16 && aml_conv_is_sized(c);
}

LLVMValueRef conv_sized_constant(Codegen *g, const AmlConv *c, const int64_t *table)
{
    size_t bytes = aml_conv_sized_bytes(c);
    AmlConvSized *sizes = arena_alloc(g->arena, bytes);
    aml_conv_sized(c, table, sizes);
    return constant_pointer(g, sizes, bytes);
}

static LLVMValueRef new_function(Codegen *g, const char *name, LLVMTypeRef type)
{
    LLVMValueRef function = LLVMAddFunction(g->module, name, type);
    static const char *const attributes[] = {"nounwind", "noinline", NULL};
    function_attributes(g, function, attributes);
    return function;
}

// The sums of a tile of this shape: one function, in whichever piece is the first that needs it.
static LLVMValueRef tile_function(Codegen *g, const AmlConv *c)
{
    char name[96];
    snprintf(name, sizeof name, "aml_conv_tile_%s%d_%d_%d", g->prefix, (int)c->vectors,
             (int)c->tile_rows, (int)c->tile_columns);
    Sym key = sym_of(g->cx, name);
    LLVMValueRef made = map_get(&g->kernel, key);
    if (made)
        return function_here(g, made);
    LLVMTypeRef types[] = {g->ptr, g->ptr, g->ptr, g->ptr};
    LLVMValueRef function = new_function(g, name, LLVMFunctionType(g->none, types, 4, 0)),
                 body = template_function(g, "aml_conv_sized_tile_quads");
    LLVMSetVisibility(function, LLVMHiddenVisibility);
    const int64_t known[] = {c->vectors, c->tile_rows, c->tile_columns};
    LLVMValueRef arg[4 + COUNT_OF(known)];
    for (unsigned i = 0; i < 4; i++)
        arg[i] = LLVMGetParam(function, i);
    for (unsigned i = 0; i < COUNT_OF(known); i++)
        arg[4 + i] = whole(g, known[i]);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(g->llvm);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    LLVMBuildCall2(b, LLVMGlobalGetValueType(body), body, arg, COUNT_OF(arg), "");
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
    map_put(g->arena, &g->kernel, key, function);
    return function;
}

// void lines(context, row, column, lines, lanes, sums): the epilogue of each of `lines` registers.
static LLVMValueRef lines_function(Product *p, LLVMValueRef const result[])
{
    Codegen *g = p->k->g;
    LLVMTypeRef types[] = {g->ptr, g->i64, g->i64, g->i64, g->i64, g->ptr},
                sums = LLVMVectorType(register_type(g, p->dot->type.dtype, 1), (unsigned)p->lanes);
    LLVMValueRef epilogue = product_epilogue(p, result),
                 function = new_function(g, "aml_lines", LLVMFunctionType(g->none, types, 6, 0));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    if (g->small)
        function_short(g, function);
    unsigned noalias = LLVMGetEnumAttributeKindForName("noalias", 7);
    for (LLVMAttributeIndex i = 1; i <= 6; i += 5)
        LLVMAddAttributeAtIndex(function, i, LLVMCreateEnumAttribute(g->llvm, noalias, 0));
    Emit emit = {.g = g, .b = LLVMCreateBuilderInContext(g->llvm), .lanes = 1}, *e = &emit;
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    LLVMValueRef lanes = LLVMBuildTrunc(e->b, LLVMGetParam(function, 4), g->i32, "");
    Loop loop = loop_begin(e, whole(g, 0), LLVMGetParam(function, 3), 1);
    LLVMValueRef at = LLVMBuildInBoundsGEP2(e->b, sums, LLVMGetParam(function, 5), &loop.at, 1, ""),
                 row = LLVMBuildAdd(e->b, LLVMGetParam(function, 1), loop.at, "");
    LLVMValueRef arg[] = {LLVMGetParam(function, 0), row, LLVMGetParam(function, 2), lanes,
                          LLVMBuildLoad2(e->b, sums, at, "")};
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(epilogue), epilogue, arg, COUNT_OF(arg), "");
    loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    LLVMDisposeBuilder(e->b);
    return function;
}

void conv_sized_call(Product *p, const AmlConv *c, LLVMValueRef const result[], LLVMValueRef sizes,
                     LLVMValueRef source, LLVMValueRef packed, LLVMValueRef copy)
{
    Kernel *k = p->k;
    Codegen *g = k->g;
    p->apart = true;
    function_short(g, k->function);
    LLVMValueRef context = product_context(p), begin, end,
                 function = template_function(g, "aml_shared_conv_sized_quads");
    conv_divided(k, c->unit_chunk, c->images * c->groups * c->blocks, &begin, &end);
    LLVMValueRef arg[] = {sizes,
                          source,
                          packed,
                          copy,
                          product_field(p, context, k->operand.count),
                          begin,
                          end,
                          tile_function(g, c),
                          lines_function(p, result),
                          context};
    LLVMBuildCall2(k->emit.b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
}
