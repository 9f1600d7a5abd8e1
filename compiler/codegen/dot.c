// dot.c: matrix products by the C template of kernels/cpu, specialised: every size, stride and tile
// is a constant, and the epilogue is a function that receives a vector of results and stores what
// the fused body makes of it.

#include <string.h>

#include "codegen/emit.h"

bool dot_plan_for(const Codegen *g, const Inst *dot, bool packed, DotShape *shape)
{
    if (!dot_shape(dot, shape) || (inst_sums_bytes(dot) && !dot_quads(shape)))
        return false;
    body_dot_panels(dot, shape);
    shape->dot.bytes = dtype_info[dot->type.dtype].bytes;
    shape->dot.lanes = g->lanes * 4 / shape->dot.bytes;
    shape->dot.b_packed = packed;
    shape->dot.looped = shape->loops > 0;
    shape->dot.half = half_of(product_half(dot));
    bool tiles = g->tiles && dot_in_tiles(&shape->dot, shape->dot.half, inst_sums_bytes(dot));
    if (shape->dot.half == AML_HALF_BF16 && (g->pairs || tiles))
        shape->dot.half = AML_HALF_PAIRS;
    shape->dot.tiles = tiles;
    aml_dot_plan(&shape->dot);
    return true;
}

// Where a sum is short, the epilogue is a good part of a tile's time; if it is a few instructions,
// its code may exist once for each register of the tile.
static bool epilogue_direct(const Product *p)
{
    enum { SHORT_SUM = 192, LEAST_WORK = 1 << 18, MOST_OPERATIONS = 8 };
    const AmlDot *dot = &p->shape.dot;
    bool tiles = (dot->method & AML_DOT_METHOD) <= AML_DOT_TILES_PACKED;
    if (dot->half == AML_HALF_PAIRS || inst_sums_bytes(p->dot) || !tiles || dot->n == 1 ||
        dot->k > SHORT_SUM || aml_dot_work(dot) < LEAST_WORK)
        return false;
    int operations = 0;
    for (const Inst *inst = p->body->first; inst; inst = inst->next) {
        Op op = inst->op;
        if (op == OP_add || op == OP_sub || op == OP_mul || op == OP_max || op == OP_lt)
            operations++;
        else if (op != OP_dot && op != OP_broadcast && !op_has(op, LEAF))
            return false;
    }
    return operations <= MOST_OPERATIONS;
}

// A product that makes many rows of results is long enough to ask for memory that the caller will
// read next, and its sums are short: it waits for nothing else.
bool dot_asks_ahead(const Codegen *g, Inst *dot, IrFunction *body, bool packed)
{
    enum { LEAST_ROWS = 256, LEAST_COLUMNS = AML_SOON_BYTES / 4 };
    Product product = {.body = body, .dot = dot}, *p = &product;
    return dot_plan_for(g, p->dot, packed, &p->shape) && !p->shape.loops &&
           p->dot->type.dtype == DTYPE_F32 && p->shape.dot.m >= LEAST_ROWS &&
           p->shape.dot.n >= LEAST_COLUMNS && epilogue_direct(p);
}

// With loops around the product the outermost one is divided, otherwise the product itself.
static int64_t loop_parts(const DotShape *shape, int64_t *chunk)
{
    double work = 2.0 * (double)shape->dot.m * (double)shape->dot.n * (double)shape->dot.k;
    for (int i = 0; i < shape->loops; i++)
        work *= (double)shape->extent[i];
    int64_t extent = shape->extent[0], wanted = work < 400000 ? 1 : (int64_t)(work / 200000);
    wanted = wanted > DOT_MOST_PARTS ? DOT_MOST_PARTS : wanted;
    *chunk = aml_ceil_div(extent, wanted);
    return aml_ceil_div(extent, *chunk);
}

int64_t dot_parts(const Codegen *g, const Inst *dot, bool packed)
{
    DotShape shape;
    int64_t chunk;
    if (!dot_plan_for(g, dot, packed, &shape))
        bug(g->cx, dot->span, "a product that is none of matrices");
    return shape.loops ? loop_parts(&shape, &chunk) : shape.dot.parts;
}

// ---- the epilogue -------------------------------------------------------------------------------

static void group_index(Emit *e, const Product *p, unsigned cuts, int first, int axes, Index at,
                        Index out[])
{
    if (axes == 0)
        return;
    bool cut = false;
    for (int i = first; i + 1 < first + axes; i++)
        cut |= cuts >> i & 1;
    if (cut) {
        index_split(e, at, axes, p->dot->type.dim + first, out + first);
        return;
    }
    for (int i = first; i < first + axes - 1; i++)
        out[i] = index_of(whole(e->g, 0), 0);
    out[first + axes - 1] = at;
}

static LLVMValueRef from_context(Emit *e, const Product *p, LLVMValueRef context, int field)
{
    LLVMTypeRef type = LLVMStructGetTypeAtIndex(p->context, (unsigned)field);
    return LLVMBuildLoad2(e->b, type,
                          LLVMBuildStructGEP2(e->b, p->context, context, (unsigned)field, ""), "");
}

static int operand_of(const Kernel *k, LLVMValueRef formal)
{
    for (int i = 0; i < k->operand.count; i++)
        if (k->operand.at[i].formal == formal)
            return i;
    bug(k->g->cx, k->inst->span, "an operand that the kernel does not have");
}

int64_t dot_asks_every(const IrFunction *fn, const Inst *dot)
{
    DotShape shape;
    int64_t pieces = 1;
    while (fn->parent)
        fn = fn->parent;
    for (int i = 0; i < fn->param.count; i++) {
        SlotKind kind = fn->param_slot.at[i].kind;
        Type type = fn->param.at[i]->type;
        if ((kind != SLOT_INPUT && kind != SLOT_ROWS) || type.rank == 0)
            continue;
        int64_t rows = type.dim[0], bytes = type_bytes(type) / rows;
        if (bytes >= AML_SOON_BYTES)
            pieces += rows * aml_ceil_div(bytes, AML_SOON_BYTES);
    }
    dot_shape(dot, &shape);
    return shape.dot.m >= 4 * pieces ? 4 : shape.dot.m >= 2 * pieces ? 2 : 1;
}

// Each vector of a row asks for another line of the memory at one address.
static void ask_ahead(Emit *e, const Product *p, LLVMValueRef context, LLVMValueRef row,
                      LLVMValueRef column)
{
    Codegen *g = e->g;
    LLVMBasicBlockRef behind = NULL;
    if (p->soon_every > 1) { // known when compiling, since tiles have as many rows
        LLVMValueRef function = LLVMGetBasicBlockParent(LLVMGetInsertBlock(e->b)),
                     rest = LLVMBuildAnd(e->b, row, whole(g, p->soon_every - 1), "");
        LLVMBasicBlockRef asks = LLVMAppendBasicBlockInContext(g->llvm, function, "");
        behind = LLVMAppendBasicBlockInContext(g->llvm, function, "");
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, rest, whole(g, 0), ""), asks, behind);
        LLVMPositionBuilderAtEnd(e->b, asks);
        row = LLVMBuildUDiv(e->b, row, whole(g, p->soon_every), "");
    }
    LLVMValueRef table = from_context(e, p, context, operand_of(p->k, p->soon)),
                 which = LLVMBuildAnd(e->b, row, whole(g, AML_SOON - 1), ""),
                 bytes = LLVMBuildMul(e->b, column, whole(g, 4), ""),
                 line = LLVMBuildAnd(e->b, bytes, whole(g, AML_SOON_BYTES - 1), "");
    LLVMValueRef place = LLVMBuildInBoundsGEP2(e->b, g->ptr, table, &which, 1, ""),
                 base = LLVMBuildLoad2(e->b, g->ptr, place, "");
    emit_prefetch(e, LLVMBuildGEP2(e->b, g->i8, base, &line, 1, ""), SECOND_LEVEL);
    if (behind) {
        LLVMBuildBr(e->b, behind);
        LLVMPositionBuilderAtEnd(e->b, behind);
    }
}

// Asks for the line that an element is in. It may lie behind the end, so its address is not
// computed `inbounds`.
static void ask_element(Emit *e, Type type, LLVMValueRef base, LLVMValueRef place, CacheAsk ask)
{
    emit_prefetch(e, LLVMBuildGEP2(e->b, memory_type(e->g, type.dtype, 1), base, &place, 1, ""),
                  ask);
}

// What the epilogue reads at the place of what it makes, a residual, lies in as many pages as a
// tile has rows, more than the processor follows by itself: that of so many elements later is asked
// for, of tensors of at least so many bytes.
static void ask_along(Emit *e, const Product *p, const Index at[], int64_t later, int64_t least)
{
    for (int i = 0; i < p->body->param.count; i++) {
        const Inst *param = p->body->param.at[i];
        const Source *source = param->note;
        if (source->by_value || source->rows || !shape_equal(param->type, p->dot->type) ||
            type_bytes(param->type) < least || param == body_operand(p->dot, 0) ||
            param == body_operand(p->dot, 1))
            continue;
        Index place = index_add_constant(e, index_position(e, param->type, at), later);
        ask_element(e, param->type, source->base, place.at, FIRST_LEVEL);
    }
}

// Where a result of the epilogue is stored.
static Index stored_at(Emit *e, const Inst *result, const Index at[])
{
    const Inst *made = body_made(result);
    return made == result ? index_position(e, result->type, at)
                          : index_in_panels(e, made->type, at);
}

// No lanes (AML_DOT_TOUCH): asks for what is written at this place, and for what is read there.
static void touch_results(Emit *e, const Product *p, LLVMValueRef function,
                          LLVMValueRef const result[], const Index at[])
{
    Codegen *g = e->g;
    LLVMBasicBlockRef touches = LLVMAppendBasicBlockInContext(g->llvm, function, ""),
                      computes = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMValueRef context = LLVMGetParam(function, 0), lanes = LLVMGetParam(function, 3),
                 none = LLVMConstInt(g->i32, 0, 0);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, lanes, none, ""), touches, computes);
    LLVMPositionBuilderAtEnd(e->b, touches);
    for (int i = 0; i < p->body->result.count; i++) {
        const Inst *inst = p->body->result.at[i].value;
        ask_element(e, inst->type, from_context(e, p, context, operand_of(p->k, result[i])),
                    stored_at(e, inst, at).at, TO_WRITE);
    }
    ask_along(e, p, at, 0, 0);
    LLVMBuildRetVoid(e->b);
    LLVMPositionBuilderAtEnd(e->b, computes);
}

static LLVMTypeRef epilogue_type(const Product *p)
{
    Codegen *g = p->k->g;
    LLVMTypeRef scalar = register_type(g, p->dot->type.dtype, 1);
    LLVMTypeRef types[] = {g->ptr, g->i64, g->i64, g->i32,
                           LLVMVectorType(scalar, (unsigned)p->lanes)};
    return LLVMFunctionType(g->none, types, 5, 0);
}

static int count_sums(const IrFunction *body)
{
    int count = 0;
    for (int i = 0; i < body->result.count; i++)
        count += body->result.at[i].value->op == OP_reduce;
    return count;
}

// Adds to the sums of this row, a register each until the last of the row's elements are here: its
// columns come from left to right.
static void add_to_sums(Emit *e, const Product *p, LLVMValueRef function,
                        LLVMValueRef const value[], LLVMValueRef const result[])
{
    Codegen *g = e->g;
    DType dtype = p->dot->type.dtype;
    LLVMTypeRef type = register_type(g, dtype, e->lanes);
    LLVMValueRef context = LLVMGetParam(function, 0), row = LLVMGetParam(function, 1),
                 none = LLVMConstNull(type);
    LLVMValueRef sums = from_context(e, p, context, p->k->operand.count + p->shape.loops);
    int count = 0, *which = NEW_ARRAY(g->arena, int, p->body->result.count);
    for (int i = 0; i < p->body->result.count; i++)
        if (p->body->result.at[i].value->op == OP_reduce)
            which[count++] = i;
    LLVMValueRef *sum = NEW_ARRAY(g->arena, LLVMValueRef, count),
                 *slot = NEW_ARRAY(g->arena, LLVMValueRef, count);
    LLVMValueRef first = LLVMBuildMul(e->b, row, whole(g, count), "");
    for (int i = 0; i < count; i++) {
        LLVMValueRef at = LLVMBuildAdd(e->b, first, whole(g, i), ""), add = value[which[i]];
        if (e->mask)
            add = LLVMBuildSelect(e->b, e->mask, add, none, "");
        slot[i] = LLVMBuildInBoundsGEP2(e->b, type, sums, &at, 1, "");
        sum[i] = LLVMBuildLoad2(e->b, type, slot[i], "");
        sum[i] = emit_reducer(e, REDUCE_SUM, dtype, sum[i], add);
        LLVMBuildStore(e->b, sum[i], slot[i]);
    }
    LLVMValueRef lanes = LLVMBuildZExt(e->b, LLVMGetParam(function, 3), g->i64, ""),
                 end = LLVMBuildAdd(e->b, LLVMGetParam(function, 2), lanes, ""),
                 last = LLVMBuildICmp(e->b, LLVMIntEQ, end, whole(g, p->shape.dot.n), "");
    LLVMBasicBlockRef store = LLVMAppendBasicBlockInContext(g->llvm, function, ""),
                      behind = LLVMAppendBasicBlockInContext(g->llvm, function, "");
    LLVMBuildCondBr(e->b, last, store, behind);
    LLVMPositionBuilderAtEnd(e->b, store);
    LLVMValueRef image = from_context(e, p, context, p->k->operand.count);
    LLVMValueRef at = LLVMBuildMul(e->b, image, whole(g, p->dot->type.dim[1]), "");
    at = LLVMBuildAdd(e->b, at, row, "");
    for (int i = 0; i < count; i++) {
        LLVMValueRef out = from_context(e, p, context, operand_of(p->k, result[which[i]]));
        out = LLVMBuildInBoundsGEP2(e->b, memory_type(g, dtype, 1), out, &at, 1, "");
        LLVMBuildStore(e->b, emit_horizontal(e, REDUCE_SUM, dtype, sum[i]), out);
        LLVMBuildStore(e->b, none, slot[i]); // of the next image
    }
    LLVMBuildBr(e->b, behind);
    LLVMPositionBuilderAtEnd(e->b, behind);
}

// The first `lanes` (i32) of a register.
static LLVMValueRef some_lanes(Emit *e, LLVMValueRef lanes)
{
    LLVMValueRef order[64];
    for (int i = 0; i < e->lanes; i++)
        order[i] = LLVMConstInt(e->g->i32, (unsigned)i, 0);
    return LLVMBuildICmp(e->b, LLVMIntULT, LLVMConstVector(order, (unsigned)e->lanes),
                         lanes_splat(e, lanes), "");
}

static void epilogue_elements(Emit *e, Product *p, LLVMValueRef function,
                              LLVMValueRef const result[])
{
    Codegen *g = e->g;
    LLVMValueRef context = LLVMGetParam(function, 0), value = LLVMGetParam(function, 4);
    bool column_vector = p->shape.dot.n == 1;
    unsigned cuts = body_cuts(p->body, &p->space);
    for (int i = 0; i < p->body->param.count; i++) {
        Source *source = p->body->param.at[i]->note, *inside = NEW(g->arena, Source);
        *inside = *source;
        inside->base = from_context(e, p, context, operand_of(p->k, source->base));
        p->body->param.at[i]->note = inside;
    }
    Source *seed = NEW(g->arena, Source);
    seed->seed[0] = column_vector ? LLVMBuildExtractElement(e->b, value, whole(g, 0), "") : value;
    p->dot->note = seed;
    e->lanes = column_vector ? 1 : p->lanes;
    if (!column_vector && (p->ragged || p->shape.dot.n % p->lanes)) {
        e->mask = some_lanes(e, LLVMGetParam(function, 3));
        e->unknown = p->apart;
    }

    if (p->soon)
        ask_ahead(e, p, context, LLVMGetParam(function, 1), LLVMGetParam(function, 2));
    Type space = p->dot->type;
    Index at[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++)
        at[i] = index_of(whole(g, 0), 0);
    for (int i = 0; i < p->shape.loops; i++) {
        LLVMValueRef turn = from_context(e, p, context, p->k->operand.count + i);
        int axes = p->shape.loop_axes[i];
        group_index(e, p, cuts, p->shape.loop_axis[i] - axes + 1, axes, index_of(turn, 0), at);
    }
    int columns = p->shape.column_axes, rows = p->shape.row_axes;
    group_index(e, p, cuts, space.rank - columns - p->shape.panel_axes - rows, rows,
                index_of(LLVMGetParam(function, 1), 0), at);
    LLVMValueRef column = LLVMGetParam(function, 2);
    group_index(e, p, cuts, space.rank - columns, columns,
                p->dot->op == OP_dot ? index_of_whole(column) : index_of(column, 1), at);
    enum { LATER = 64, NEAR = 256 * 1024 };
    if (p->touches)
        touch_results(e, p, function, result, at);
    else if (count_sums(p->body))
        ask_along(e, p, at, LATER, 0);
    else if (p->below)
        ask_along(e, p, at, p->below * p->shape.dot.n, NEAR);
    memo_begin(e, p->body);
    LLVMValueRef *values = NEW_ARRAY(g->arena, LLVMValueRef, p->body->result.count + 1);
    for (int i = 0; i < p->body->result.count; i++) {
        Inst *inst = body_made(p->body->result.at[i].value);
        values[i] = element(e, inst->op == OP_reduce ? inst->input[0] : inst, at);
    }
    for (int i = 0; i < p->body->result.count; i++) {
        const Inst *inst = p->body->result.at[i].value;
        LLVMValueRef base = from_context(e, p, context, operand_of(p->k, result[i]));
        if (inst->op != OP_reduce)
            store_element(e, inst->type.dtype, base, stored_at(e, inst, at), values[i]);
    }
    if (count_sums(p->body))
        add_to_sums(e, p, function, values, result);
}

LLVMValueRef product_epilogue(Product *p, LLVMValueRef const result[])
{
    Codegen *g = p->k->g;
    LLVMValueRef function =
        LLVMAddFunction(g->module, "aml_epilogue", epilogue_type(p)); // its name is made unique
    LLVMSetLinkage(function, LLVMInternalLinkage);
    static const char *const attributes[] = {"nounwind", "alwaysinline", NULL};
    function_attributes(g, function, attributes);
    Emit emit = {.g = g, .b = LLVMCreateBuilderInContext(g->llvm)};
    LLVMPositionBuilderAtEnd(emit.b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    epilogue_elements(&emit, p, function, result);
    LLVMBuildRetVoid(emit.b);
    LLVMDisposeBuilder(emit.b);
    return function;
}

// ---- the prologue -------------------------------------------------------------------------------

static bool is_made_of(const Inst *made, const Inst *param)
{
    for (int i = 0; i < made->inputs; i++)
        if (made->input[i] == param || is_made_of(made->input[i], param))
            return true;
    return false;
}

// The image of a convolution, from one position of a channel on, and zeros in the lanes beyond
// those asked for, which are what lies around it. Positions are one axis: all that
// is read is as large as the image, or the same for all of them.
static void prologue_elements(Emit *e, Product *p, LLVMValueRef function, Inst *made)
{
    enum { LATER = 1024 }; // elements
    Codegen *g = e->g;
    LLVMValueRef context = LLVMGetParam(function, 0), position = LLVMGetParam(function, 3);
    for (int i = 0; i < p->body->param.count; i++) {
        Source *source = p->body->param.at[i]->note, *inside = NEW(g->arena, Source);
        *inside = *source;
        inside->base = from_context(e, p, context, operand_of(p->k, source->base));
        p->body->param.at[i]->note = inside;
    }
    e->lanes = p->lanes;
    e->mask = some_lanes(e, LLVMGetParam(function, 4));
    Index at[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++)
        at[i] = index_of(whole(g, 0), 0);
    at[0] = index_of(LLVMGetParam(function, 1), 0);
    at[1] = index_of(LLVMGetParam(function, 2), 0);
    at[made->type.rank - 1] = index_of(position, 1);
    for (int i = 0; i < p->body->param.count; i++) {
        const Inst *param = p->body->param.at[i];
        const Source *source = param->note;
        if (!shape_equal(param->type, made->type) || !is_made_of(made, param))
            continue;
        Index place = index_add_constant(e, index_position(e, param->type, at), LATER);
        ask_element(e, param->type, source->base, place.at, FIRST_LEVEL);
    }
    memo_begin(e, p->body);
    LLVMValueRef value = element(e, made, at);
    LLVMBuildRet(e->b, LLVMBuildSelect(e->b, e->mask, value, LLVMConstNull(LLVMTypeOf(value)), ""));
}

LLVMValueRef product_prologue(Product *p)
{
    Codegen *g = p->k->g;
    if (!inst_has_prologue(p->dot))
        return NULL;
    Inst *made = p->dot->input[0];
    LLVMTypeRef vector = LLVMVectorType(register_type(g, made->type.dtype, 1), (unsigned)p->lanes);
    LLVMTypeRef types[] = {g->ptr, g->i64, g->i64, g->i64, g->i32};
    LLVMValueRef function = LLVMAddFunction(g->module, "aml_prologue",
                                            LLVMFunctionType(vector, types, COUNT_OF(types), 0));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    static const char *const attributes[] = {"nounwind", "alwaysinline", NULL};
    function_attributes(g, function, attributes);
    Emit emit = {.g = g, .b = LLVMCreateBuilderInContext(g->llvm)};
    LLVMPositionBuilderAtEnd(emit.b, LLVMAppendBasicBlockInContext(g->llvm, function, ""));
    void **note = NEW_ARRAY(g->arena, void *, p->body->param.count + 1);
    for (int i = 0; i < p->body->param.count; i++)
        note[i] = p->body->param.at[i]->note;
    prologue_elements(&emit, p, function, made);
    for (int i = 0; i < p->body->param.count; i++)
        p->body->param.at[i]->note = note[i];
    LLVMDisposeBuilder(emit.b);
    return function;
}

// ---- the product --------------------------------------------------------------------------------

void dot_turn_emit(Frame *f, Inst *inst, const Inst *dot)
{
    Codegen *g = f->g;
    DotShape shape;
    const Buffered *place = inst->note;
    if (!dot_plan_for(g, dot, false, &shape) || !shape.dot.turned_bytes)
        return;
    enum { ROWS = 32 }; // of a part
    Kernel kernel, *k = &kernel;
    int64_t chunk = aml_ceil_div(aml_ceil_div(shape.dot.m, ROWS), DOT_MOST_PARTS) * ROWS;
    kernel_begin(k, f, inst, aml_ceil_div(shape.dot.m, chunk));
    buffer_text(&k->key, "turn");
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    const Inst *left = body_operand(dot, 0); // the body's parameter
    int from = kernel_operand(k, value_pointer(f, inst->input[left->attr[0].whole])),
        to = kernel_operand(k, frame_pointer(f, &memory));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Emit *e = &k->emit;
    LLVMValueRef begin = whole(g, 0), end = whole(g, shape.dot.m);
    if (k->parts > 1) {
        begin = LLVMBuildMul(e->b, k->begin, whole(g, chunk), "");
        LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(g, chunk), "");
        end = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, end, ""), stop, end, "");
    }
    LLVMValueRef arg[] = {k->operand.at[from].formal,
                          whole(g, shape.dot.a_k),
                          whole(g, shape.dot.k),
                          whole(g, aml_dot_turned_step(&shape.dot)),
                          k->operand.at[to].formal,
                          begin,
                          end};
    LLVMValueRef function = template_function(g, "aml_shared_dot_turn");
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    kernel_close(k);
}

LLVMValueRef product_field(Product *p, LLVMValueRef context, int field)
{
    return LLVMBuildStructGEP2(p->k->emit.b, p->context, context, (unsigned)field, "");
}

LLVMValueRef product_context(Product *p)
{
    Kernel *k = p->k;
    int count = k->operand.count + p->shape.loops, sums = count_sums(p->body);
    LLVMTypeRef *types = NEW_ARRAY(k->g->arena, LLVMTypeRef, count + 1);
    for (int i = 0; i < count; i++)
        types[i] = i < k->operand.count ? k->operand.at[i].type : k->g->i64;
    if (sums)
        types[count++] = k->g->ptr;
    p->context = LLVMStructTypeInContext(k->g->llvm, types, (unsigned)count, 0);
    LLVMValueRef context = LLVMBuildAlloca(k->emit.b, p->context, "");
    for (int i = 0; i < k->operand.count; i++)
        LLVMBuildStore(k->emit.b, k->operand.at[i].formal, product_field(p, context, i));
    if (sums) { // registers, of memory apart: what has a variable index is not taken to pieces
        LLVMTypeRef type = register_type(k->g, p->dot->type.dtype, p->lanes);
        int64_t registers = p->dot->type.dim[1] * sums;
        LLVMValueRef memory =
            LLVMBuildAlloca(k->emit.b, LLVMArrayType2(type, (uint64_t)registers), "");
        int64_t bytes = registers * p->lanes * (int64_t)dtype_info[p->dot->type.dtype].bytes;
        LLVMBuildMemSet(k->emit.b, memory, LLVMConstNull(k->g->i8), whole(k->g, bytes), 64);
        LLVMSetAlignment(memory, 64);
        LLVMBuildStore(k->emit.b, memory, product_field(p, context, count - 1));
    }
    return context;
}

static LLVMValueRef advance(Emit *e, LLVMValueRef base, LLVMValueRef turn, int64_t bytes)
{
    LLVMValueRef offset = LLVMBuildMul(e->b, turn, whole(e->g, bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, base, &offset, 1, "");
}

void dot_emit(Kernel *k, IrFunction *body, LLVMValueRef const result[], LLVMValueRef scratch,
              LLVMValueRef soon, int64_t soon_every, bool packed)
{
    Codegen *g = k->g;
    Emit *e = &k->emit;
    Product product = {.k = k,
                       .body = body,
                       .space = body_analyse(body),
                       .soon = soon,
                       .soon_every = soon_every},
            *p = &product;
    p->dot = p->space.dot;
    dot_plan_for(g, p->dot, packed, &p->shape);
    p->lanes = p->shape.dot.lanes;
    const AmlDot *dot = &p->shape.dot;
    p->below = packed && !p->shape.loops && !p->shape.panel_axes && dot->m > dot->tile_rows
                   ? dot->tile_rows
                   : 0;
    int64_t direct = epilogue_direct(p) ? AML_DOT_DIRECT : 0;
    p->touches = !direct && !inst_sums_bytes(p->dot) &&
                 aml_dot_touches(dot, (double)type_bytes(p->dot->type));
    int64_t touch = p->touches ? AML_DOT_TOUCH : 0;
    bool packed_panels = (dot->method & AML_DOT_METHOD) == AML_DOT_TILES_PACKED;

    Source *left = body_operand(p->dot, 0)->note, *right = body_operand(p->dot, 1)->note;
    int64_t bytes = dot->half ? 2 : dot->bytes;
    bool pairs = dot->half == AML_HALF_PAIRS;
    LLVMValueRef a = left->base, b = right->base;
    LLVMValueRef context = product_context(p), epilogue = product_epilogue(p, result);
    LLVMValueRef begin = whole(g, 0), end = whole(g, dot->parts);
    Loop loop[IR_MAX_RANK];
    int64_t each = ((int64_t)dot->scratch_bytes + 63) / 64 * 64;
    if (dot->turned_bytes) { // by dot_turn_emit
        a = scratch;
        scratch = advance(e, scratch, whole(g, 1), (int64_t)dot->turned_bytes);
    }
    if (k->parts > 1 && each)
        scratch = advance(e, scratch, k->begin, each);
    if (k->parts > 1 && !p->shape.loops) {
        begin = k->begin;
        end = k->end;
    }
    for (int i = 0; i < p->shape.loops; i++) {
        LLVMValueRef from = whole(g, 0), to = whole(g, p->shape.extent[i]);
        if (i == 0 && k->parts > 1) {
            int64_t chunk;
            loop_parts(&p->shape, &chunk);
            from = LLVMBuildMul(e->b, k->begin, whole(g, chunk), "");
            LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(g, chunk), "");
            to = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, to, ""), stop, to, "");
        }
        loop[i] = loop_begin(e, from, to, 1);
        LLVMBuildStore(e->b, loop[i].at, product_field(p, context, k->operand.count + i));
        a = advance(e, a, loop[i].at, p->shape.a_step[i] * bytes);
        b = advance(e, b, loop[i].at, p->shape.b_step[i] * bytes);
    }
    int64_t a_row = dot->turned_bytes ? aml_dot_turned_step(dot) : dot->a_row,
            a_k = dot->turned_bytes ? 1 : dot->a_k;
    if (left->rows) // which of the two steps is from row to row of what lies in memory
        *(p->dot->attr[0].list.at[0] == 0 ? &a_k : &a_row) = AML_DOT_TABLE;
    LLVMValueRef arg[] = {
        a,
        b,
        scratch,
        whole(g, dot->m),
        whole(g, dot->n),
        whole(g, dot->k),
        whole(g, a_row),
        whole(g, a_k),
        whole(g, packed_panels ? dot->panel : dot->b_k),
        whole(g, dot->b_column),
        whole(g, dot->half && !pairs ? dot->half | direct : dot->method | direct | touch),
        whole(g, dot->tile_rows),
        whole(g, dot->tile_vectors),
        whole(g, dot->k_block),
        whole(g, dot->row_block),
        whole(g, dot->part_rows),
        whole(g, dot->part_columns),
        begin,
        end,
        epilogue,
        context};
    bool quads = inst_sums_bytes(p->dot);
    const char *name = dot->tiles        ? quads ? "aml_dot_tiles_quads" : "aml_dot_tiles_pairs"
                       : pairs           ? "aml_dot_pairs"
                       : dot->half       ? "aml_dot_half"
                       : quads           ? "aml_dot_quads"
                       : dot->bytes == 8 ? "aml_dot_f64"
                                         : "aml_dot_f32";
    LLVMValueRef function = template_function(g, name);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, COUNT_OF(arg), "");
    for (int i = p->shape.loops - 1; i >= 0; i--)
        loop_end(e, &loop[i]);
}
