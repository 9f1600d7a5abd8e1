// conv.c: convolutions by the C template of kernels/cpu, specialised. The weights are brought into
// the order in which they are read: when compiling if they are constant, else by a kernel of its
// own that runs first.

#include <string.h>

#include "codegen/emit.h"

static LLVMValueRef offset_pointer(Emit *e, LLVMValueRef base, LLVMValueRef count, int64_t bytes)
{
    LLVMValueRef offset = LLVMBuildMul(e->b, count, whole(e->g, bytes), "");
    return LLVMBuildInBoundsGEP2(e->b, e->g->i8, base, &offset, 1, "");
}

// The parts begin..end of a kernel as its work from..to, of which a part has `chunk`.
void conv_divided(Kernel *k, int64_t chunk, int64_t all, LLVMValueRef *from, LLVMValueRef *to)
{
    Emit *e = &k->emit;
    *from = whole(e->g, 0);
    *to = whole(e->g, all);
    if (k->parts == 1)
        return;
    *from = LLVMBuildMul(e->b, k->begin, whole(e->g, chunk), "");
    LLVMValueRef stop = LLVMBuildMul(e->b, k->end, whole(e->g, chunk), "");
    *to = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntULT, stop, *to, ""), stop, *to, "");
}

static int add_axes(Codegen *g, LLVMValueRef arg[], int count, const int64_t size[AML_CONV_AXES])
{
    for (int axis = 0; axis < AML_CONV_AXES; axis++)
        arg[count++] = whole(g, size[axis]);
    return count;
}

static void call_named(Emit *e, const char *name, LLVMValueRef arg[], int count)
{
    LLVMValueRef function = template_function(e->g, name);
    if (LLVMCountParams(function) != (unsigned)count)
        bug(e->g->cx, (Span){0}, "'%s' takes %u arguments, not %d", name, LLVMCountParams(function),
            count);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(function), function, arg, (unsigned)count, "");
}

static void call_template(Emit *e, const char *stem, int bytes, bool quads, int half,
                          LLVMValueRef arg[], int count)
{
    char name[32];
    const char *kind = quads ? "quads" : half == AML_HALF_PAIRS ? "pairs" : "f32";
    snprintf(name, sizeof name, "%s_%s", stem, bytes == 8 ? "f64" : kind);
    call_named(e, name, arg, count);
}

// ---- weights ------------------------------------------------------------------------------------

static size_t table_bytes(const AmlConv *c)
{
    return sizeof(int64_t) * (AML_CONV_TABLE + 2 * (size_t)c->taps);
}

static const int64_t *table_of(Codegen *g, const AmlConv *c)
{
    int64_t *table = arena_alloc(g->arena, table_bytes(c));
    memset(table, 0, table_bytes(c));
    aml_conv_table(c, table);
    return table;
}

// Code for a processor with shorter registers reads the weights that are packed for the longer ones
// of another object of the program, if it can: they are in the program once then. `wide` is the
// other one's plan, by which they are packed, or c's own.
static void share_weights(Codegen *g, const Inst *conv, AmlConv *c, AmlConv *wide)
{
    AmlConv other;
    if (g->shared && g->shared->lanes > g->lanes &&
        conv_shape(conv, g->shared->lanes * 4, false, &other)) {
        AmlConv narrow = *c; // three registers are no piece of four
        narrow.most_vectors = 2;
        bool shares = aml_conv_share(c, &other);
        if (!shares && c->last && aml_conv_plan(&narrow) &&
            narrow.copy_bytes * (size_t)narrow.parts <= c->copy_bytes * (size_t)c->parts &&
            aml_conv_share(&narrow, &other)) {
            *c = narrow;
            shares = true;
        }
        if (shares) {
            *wide = other;
            return;
        }
    }
    *wide = *c;
}

static int64_t panels_of(const AmlConv *c)
{
    return c->groups * aml_ceil_div(c->to, aml_conv_panel(c));
}

// Of one group of the weights in memory: where each channel is by itself, all of them are packed as
// the results of one group.
static int64_t results_of(const AmlConv *c)
{
    return c->depth ? c->depth : c->to;
}

static LLVMValueRef packed_constant(Frame *f, const AmlConv *c, const int64_t *table,
                                    const Inst *weights)
{
    Codegen *g = f->g;
    size_t bytes;
    const void *at = constant_bytes(g, weights, &bytes);
    if (c->side && g->makes)
        return made_weights(f, c, at);
    void *packed = arena_alloc(g->arena, c->packed_bytes);
    if (c->last) {
        aml_conv_last_pack(c, at, packed);
        return read_only(f, packed, c->packed_bytes);
    }
    if (c->in_tiles) {
        aml_conv_tiles_pack(0, aml_conv_tiles_blocks(c), 4, false, c->channels, c->from, c->to,
                            c->taps, table, at, packed);
        return read_only(f, packed, c->packed_bytes);
    }
    if (c->quads) {
        int64_t results = c->groups * c->to;
        void *quads = arena_alloc(g->arena, (size_t)(4 * results * c->from * c->taps));
        aml_quads_of_weights(results, c->channels, c->taps, at, quads);
        at = quads;
    }
    aml_conv_pack(0, panels_of(c), c->bytes, c->input, c->from, results_of(c), c->taps,
                  aml_conv_panel(c), aml_conv_all(c->phases), table, at, packed);
    return read_only(f, packed, c->packed_bytes);
}

static void pack_weights(Frame *f, const Inst *inst, const AmlConv *c, LLVMValueRef table,
                         LLVMValueRef weights, LLVMValueRef packed)
{
    int64_t panels = c->in_tiles ? aml_conv_tiles_blocks(c) : panels_of(c);
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, c->packed_bytes > 128 * 1024 && panels > 1 ? panels : 1);
    buffer_text(&k->key, "pack");
    int from = kernel_operand(k, weights), to = kernel_operand(k, packed),
        rows = kernel_operand(k, table);
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    Codegen *g = f->g;
    LLVMValueRef begin, end;
    conv_divided(k, 1, panels, &begin, &end);
    LLVMValueRef arg[16] = {k->operand.at[from].formal, k->operand.at[to].formal,
                            k->operand.at[rows].formal};
    int count = 3;
    bool pairs = c->half == AML_HALF_PAIRS;
    if (c->in_tiles) {
        int64_t const size[] = {c->input, c->channels, c->from, c->to, c->taps};
        for (size_t i = 0; i < COUNT_OF(size); i++)
            arg[count++] = whole(g, size[i]);
        arg[count++] = begin;
        arg[count++] = end;
        call_named(&k->emit, "aml_shared_conv_tiles_pack", arg, count);
        kernel_close(k);
        return;
    }
    if (c->half && !pairs)
        arg[count++] = whole(g, c->half);
    arg[count++] = whole(g, c->input);
    arg[count++] = whole(g, pairs ? c->channels : c->from);
    arg[count++] = whole(g, results_of(c));
    arg[count++] = whole(g, c->taps);
    arg[count++] = whole(g, aml_conv_panel(c));
    arg[count++] = whole(g, aml_conv_all(c->phases));
    arg[count++] = begin;
    arg[count++] = end;
    if (c->half && !pairs)
        call_named(&k->emit, "aml_shared_conv_pack_half", arg, count);
    else
        call_template(&k->emit, "aml_shared_conv_pack", c->bytes, false, c->half, arg, count);
    kernel_close(k);
}

// ---- conv, conv_input ---------------------------------------------------------------------------

static void emit_call(Kernel *k, const AmlConv *c, LLVMValueRef source, LLVMValueRef packed,
                      LLVMValueRef copy, LLVMValueRef table, LLVMValueRef image_at,
                      LLVMValueRef prologue, LLVMValueRef epilogue, LLVMValueRef context)
{
    Codegen *g = k->g;
    LLVMValueRef arg[64];
    int count = 0;
    if (c->kept)
        arg[count++] = whole(g, c->kept);
    LLVMValueRef const pointer[] = {source, packed, copy, table, image_at};
    for (size_t i = 0; i < COUNT_OF(pointer); i++)
        arg[count++] = pointer[i];
    arg[count++] = whole(g, c->groups);
    arg[count++] = whole(g, c->channels);
    arg[count++] = whole(g, c->from);
    arg[count++] = whole(g, c->to);
    arg[count++] = whole(g, c->taps);
    count = add_axes(g, arg, count, c->source);
    count = add_axes(g, arg, count, c->result);
    count = add_axes(g, arg, count, c->phases);
    count = add_axes(g, arg, count, c->base);
    count = add_axes(g, arg, count, c->step);
    count = add_axes(g, arg, count, c->origin);
    count = add_axes(g, arg, count, c->copy);
    arg[count++] = whole(g, c->direct);
    arg[count++] = whole(g, c->block_axis);
    arg[count++] = whole(g, c->block_rows);
    arg[count++] = whole(g, c->blocks);
    arg[count++] = whole(g, c->vectors);
    arg[count++] = whole(g, c->pitch);
    arg[count++] = whole(g, c->tile_rows);
    arg[count++] = whole(g, c->tile_columns);
    arg[count++] = whole(g, c->half);
    arg[count++] = whole(g, c->depth);
    arg[count++] = whole(g, 1);
    conv_divided(k, c->unit_chunk, c->images * c->groups * c->blocks, &arg[count], &arg[count + 1]);
    count += 2;
    if (!c->quads && c->half != AML_HALF_PAIRS)
        arg[count++] = prologue;
    arg[count++] = epilogue;
    arg[count++] = context;
    const char *stem = c->kept ? "aml_conv_kept" : c->in_tiles ? "aml_conv_tiles" : "aml_conv";
    call_template(&k->emit, stem, c->bytes, c->quads, c->half, arg, count);
}

static void emit_rows(Kernel *k, const AmlConv *c, LLVMValueRef source, LLVMValueRef packed,
                      LLVMValueRef copy, LLVMValueRef table, LLVMValueRef image_at,
                      LLVMValueRef prologue, LLVMValueRef epilogue, LLVMValueRef context)
{
    Codegen *g = k->g;
    LLVMValueRef arg[64] = {source, packed, copy, table, image_at};
    const int64_t first[] = {c->groups, c->channels, c->from, c->to, c->taps};
    const int64_t rest[] = {c->direct,    c->block_rows,   c->blocks, c->lined,
                            c->tile_rows, c->tile_columns, c->half};
    int count = 5;
    for (size_t i = 0; i < COUNT_OF(first); i++)
        arg[count++] = whole(g, first[i]);
    count = add_axes(g, arg, count, c->source);
    count = add_axes(g, arg, count, c->result);
    count = add_axes(g, arg, count, c->base);
    count = add_axes(g, arg, count, c->origin);
    count = add_axes(g, arg, count, c->copy);
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(g, rest[i]);
    conv_divided(k, c->unit_chunk, c->images * c->groups * c->blocks, &arg[count], &arg[count + 1]);
    count += 2;
    if (c->half != AML_HALF_PAIRS)
        arg[count++] = prologue;
    arg[count++] = epilogue;
    arg[count++] = context;
    call_template(&k->emit, "aml_conv_rows", c->bytes, false, c->half, arg, count);
}

static int add_epilogue(Kernel *k, const AmlConv *c, LLVMValueRef arg[], int count,
                        LLVMValueRef epilogue, LLVMValueRef context)
{
    int64_t units = c->images * (c->depth ? 1 : c->groups) * c->blocks * c->pieces;
    conv_divided(k, c->unit_chunk, units, &arg[count], &arg[count + 1]);
    arg[count + 2] = epilogue;
    arg[count + 3] = context;
    return count + 4;
}

static void emit_winograd(Kernel *k, const AmlConv *c, LLVMValueRef source, LLVMValueRef packed,
                          LLVMValueRef scratch, LLVMValueRef epilogue, LLVMValueRef context)
{
    const int64_t size[] = {c->side,      c->from,        c->to,     c->source[1], c->source[2],
                            c->result[1], c->result[2],   c->low[1], c->low[2],    c->tiles[0],
                            c->tiles[1],  c->block_tiles, c->blocks, c->vectors,   c->pitch,
                            c->tile_rows, c->pieces,      c->asks};
    LLVMValueRef arg[32] = {source, packed, scratch};
    int count = 3;
    for (size_t i = 0; i < COUNT_OF(size); i++)
        arg[count++] = whole(k->g, size[i]);
    call_named(&k->emit, "aml_conv_winograd", arg,
               add_epilogue(k, c, arg, count, epilogue, context));
}

static void emit_depth(Kernel *k, const AmlConv *c, LLVMValueRef source, LLVMValueRef packed,
                       LLVMValueRef epilogue, LLVMValueRef context)
{
    LLVMValueRef arg[32] = {source, packed, whole(k->g, c->depth)};
    const int64_t *const pairs[] = {c->source, c->result, c->kernel,
                                    c->stride, c->low,    c->dilation};
    int count = 3;
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        for (int axis = 1; axis < AML_CONV_AXES; axis++)
            arg[count++] = whole(k->g, pairs[i][axis]);
    const int64_t rest[] = {c->block_rows, c->blocks, c->tile_columns, c->whole,
                            c->together,   c->first,  c->behind};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(k->g, rest[i]);
    call_named(&k->emit, "aml_conv_depth", arg, add_epilogue(k, c, arg, count, epilogue, context));
}

static void emit_last(Kernel *k, const AmlConv *c, LLVMValueRef source, LLVMValueRef packed,
                      LLVMValueRef copy, LLVMValueRef table, LLVMValueRef epilogue,
                      LLVMValueRef context)
{
    Codegen *g = k->g;
    LLVMValueRef arg[64] = {source, packed, copy, table};
    const int64_t first[] = {c->last, c->groups, c->from, c->to, c->taps};
    const int64_t rest[] = {c->place,      c->plane,        c->split,  c->together, c->direct,
                            c->block_axis, c->block_rows,   c->blocks, c->vectors,  c->pitch,
                            c->tile_rows,  c->tile_columns, c->pieces, c->asks};
    int count = 4;
    for (size_t i = 0; i < COUNT_OF(first); i++)
        arg[count++] = whole(g, first[i]);
    count = add_axes(g, arg, count, c->source);
    count = add_axes(g, arg, count, c->result);
    count = add_axes(g, arg, count, c->step);
    count = add_axes(g, arg, count, c->origin);
    count = add_axes(g, arg, count, c->copy);
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(g, rest[i]);
    call_named(&k->emit, "aml_conv_last", arg, add_epilogue(k, c, arg, count, epilogue, context));
}

// What lies in memory of what is convolved, a parameter of the body: what a prologue makes it of,
// if there is one.
static const Inst *stored_operand(const Inst *conv)
{
    if (!inst_has_prologue(conv))
        return product_stored(conv->input[0]);
    const IrFunction *body = conv->function;
    for (int i = 0; i < body->param.count; i++)
        if (shape_equal(body->param.at[i]->type, conv->input[0]->type))
            return body->param.at[i];
    bug(body->cx, conv->span, "a prologue that reads no image");
}

static void emit_body_of(Kernel *k, IrFunction *body, Inst *conv, const AmlConv *c,
                         LLVMValueRef const result[], LLVMValueRef packed, LLVMValueRef copy,
                         LLVMValueRef table, bool sized)
{
    Product product = {.k = k,
                       .body = body,
                       .space = body_analyse(body),
                       .dot = conv,
                       .lanes = c->lanes,
                       .ragged = true},
            *p = &product;
    p->shape = (DotShape){.loops = 1,
                          .loop_axis = {0},
                          .loop_axes = {1},
                          .row_axes = 1,
                          .column_axes = conv->type.rank - 2};
    p->shape.dot.n = aml_conv_all(c->result);
    if (c->last) { // rows are positions, columns channels
        p->shape = (DotShape){.row_axes = conv->type.rank - 1, .column_axes = 1};
        p->shape.dot.n = c->depth ? c->depth : c->groups * c->to;
        p->ragged = !c->depth && c->to % c->lanes;
    }
    const Source *source = stored_operand(conv)->note;
    if (k->parts > 1 && c->copy_bytes)
        copy = offset_pointer(&k->emit, copy, k->begin, (int64_t)c->copy_bytes);
    if (sized) {
        conv_sized_call(p, c, result, table, source->base, packed, copy);
        return;
    }
    LLVMValueRef from = source->base, context = product_context(p);
    LLVMValueRef prologue = product_prologue(p), epilogue = product_epilogue(p, result);
    if (!prologue)
        prologue = LLVMConstNull(k->g->ptr);
    if (c->side)
        emit_winograd(k, c, from, packed, copy, epilogue, context);
    else if (c->last && c->depth)
        emit_depth(k, c, from, packed, epilogue, context);
    else if (c->last)
        emit_last(k, c, from, packed, copy, table, epilogue, context);
    else if (c->lined)
        emit_rows(k, c, from, packed, copy, table, product_field(p, context, k->operand.count),
                  prologue, epilogue, context);
    else
        emit_call(k, c, from, packed, copy, table, product_field(p, context, k->operand.count),
                  prologue, epilogue, context);
}

// An image's sums are made by one part.
static void divide_images(AmlConv *c)
{
    c->unit_chunk = aml_ceil_div(c->unit_chunk, c->blocks) * c->blocks;
    c->parts = aml_ceil_div(c->images * c->groups * c->blocks, c->unit_chunk);
}

void conv_emit(Frame *f, Inst *inst, Inst *conv)
{
    Codegen *g = f->g;
    IrFunction *body = inst->attr[0].function;
    AmlConv c;
    if (!(g->tiles && conv_tiles_shape(conv, &c)) && !conv_shape(conv, g->lanes * 4, g->pairs, &c))
        bug(g->cx, conv->span, "a convolution without code was left");
    if (body_analyse(body).folded)
        divide_images(&c);
    const Inst *own = product_stored(conv->input[1]); // the body's parameter
    const Inst *weights = inst->input[own->attr[0].whole];
    bool constant = value_origin(weights)->op == OP_constant && !c.half;
    AmlConv stored = c;
    if (constant && !c.in_tiles)
        share_weights(g, conv, &c, &stored);
    LLVMValueRef table;
    const int64_t *rows = table_of(g, &c);
    bool sized = constant && conv_sized_fits(g, &c);
    table = sized ? conv_sized_constant(g, &c, rows) : constant_pointer(g, rows, table_bytes(&c));
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    LLVMValueRef packed = constant ? packed_constant(f, &stored, rows, value_origin(weights))
                                   : frame_pointer(f, &memory);
    if (!constant)
        pack_weights(f, inst, &c, table, value_pointer(f, weights), packed);
    memory.offset += c.last ? 0 : (c.packed_bytes + 63) / 64 * 64;

    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, c.parts);
    buffer_text(&k->key, constant ? "packed" : "");
    int *operand = NEW_ARRAY(g->arena, int, inst->inputs + 1),
        *output = NEW_ARRAY(g->arena, int, inst->results + 1);
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        bool is_weights = own == body->param.at[i] && own->uses == 1;
        operand[i] = kernel_operand(k, is_weights           ? packed
                                       : in->type.rank == 0 ? scalar_value(f, in)
                                                            : value_pointer(f, in));
    }
    int ready = kernel_operand(k, packed), taps = kernel_operand(k, table),
        copy = c.copy_bytes ? kernel_operand(k, frame_pointer(f, &memory)) : -1;
    for (int i = 0; i < inst->results; i++)
        output[i] = kernel_operand(k, result_pointer(f, inst, i));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    for (int i = 0; i < inst->inputs; i++) {
        Source *source = NEW(g->arena, Source);
        source->base = k->operand.at[operand[i]].formal;
        source->by_value = inst->input[i]->type.rank == 0;
        body->param.at[i]->note = source;
    }
    LLVMValueRef *result = NEW_ARRAY(g->arena, LLVMValueRef, inst->results + 1);
    for (int i = 0; i < inst->results; i++)
        result[i] = k->operand.at[output[i]].formal;
    emit_body_of(k, body, conv, &c, result, k->operand.at[ready].formal,
                 copy >= 0 ? k->operand.at[copy].formal : LLVMConstNull(g->ptr),
                 k->operand.at[taps].formal, sized);
    kernel_close(k);
}

// ---- conv_weight --------------------------------------------------------------------------------

// Behind the operands in arg.
static void emit_along(Kernel *k, const AmlConvWeight *c, LLVMValueRef arg[], int count)
{
    const int64_t first[] = {c->images, c->groups, c->split, c->from, c->to};
    const int64_t *const pairs[] = {c->source, c->result, c->kernel,
                                    c->stride, c->low,    c->dilation};
    const int64_t rest[] = {c->direct,        c->along,        c->channel_chunk,
                            c->channel_parts, c->block_images, c->copy_elements};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        arg[count++] = whole(k->g, first[i]);
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        for (int axis = 1; axis < AML_CONV_AXES; axis++)
            arg[count++] = whole(k->g, pairs[i][axis]);
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(k->g, rest[i]);
    conv_divided(k, c->part_chunk, c->parts, &arg[count], &arg[count + 1]);
    call_named(&k->emit, "aml_conv_along", arg, count + 2);
}

// The arguments prologue and context.
static int add_prologue(Kernel *k, const AmlConvWeight *c, const Inst *inst, Inst *conv,
                        const int operand[], LLVMValueRef arg[], int count)
{
    Codegen *g = k->g;
    arg[count] = arg[count + 1] = LLVMConstNull(g->ptr);
    if (inst == conv)
        return count + 2;
    IrFunction *body = inst->attr[0].function;
    Product product = {
        .k = k, .body = body, .space = body_analyse(body), .dot = conv, .lanes = c->lanes};
    for (int i = 0; i < inst->inputs; i++) {
        Source *source = NEW(g->arena, Source);
        source->base = k->operand.at[operand[i]].formal;
        source->by_value = inst->input[i]->type.rank == 0;
        body->param.at[i]->note = source;
    }
    arg[count + 1] = product_context(&product);
    arg[count] = product_prologue(&product);
    return count + 2;
}

void conv_weight_emit(Frame *f, Inst *inst, Inst *conv)
{
    Codegen *g = f->g;
    AmlConvWeight c;
    if (!conv_weight_shape(conv, g->lanes * 4, g->pairs, &c))
        bug(g->cx, inst->span, "a convolution without code was left");
    if (c.depthwise) {
        depthwise_weight_emit(f, inst, &c);
        return;
    }
    const Buffered *place = inst->note;
    Buffered memory = {.kind = PLACE_ARENA, .offset = place->scratch_offset};
    Kernel kernel, *k = &kernel;
    kernel_begin(k, f, inst, aml_ceil_div(c.parts, c.part_chunk));
    int *operand = NEW_ARRAY(g->arena, int, inst->inputs + 1);
    for (int i = 0; i < inst->inputs; i++) {
        Inst *in = inst->input[i];
        operand[i] =
            kernel_operand(k, in->type.rank == 0 ? scalar_value(f, in) : value_pointer(f, in));
    }
    bool alone = inst == conv;
    int x = operand[alone ? 0 : stored_operand(conv)->attr[0].whole],
        dy = operand[alone ? 1 : conv->input[1]->attr[0].whole],
        scratch = kernel_operand(k, frame_pointer(f, &memory)),
        out = kernel_operand(k, value_pointer(f, inst));
    if (!kernel_open(k)) {
        kernel_close(k);
        return;
    }
    LLVMValueRef own = k->operand.at[scratch].formal, arg[64];
    if (k->parts > 1)
        own = offset_pointer(&k->emit, own, k->begin, (int64_t)c.scratch_bytes);
    int count = 0;
    arg[count++] = k->operand.at[x].formal;
    arg[count++] = k->operand.at[dy].formal;
    arg[count++] = own;
    arg[count++] = k->operand.at[out].formal;
    if (c.along) {
        emit_along(k, &c, arg, count);
        kernel_close(k);
        return;
    }
    const int64_t first[] = {c.images, c.groups, c.split, c.from, c.to};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        arg[count++] = whole(g, first[i]);
    count = add_axes(g, arg, count, c.source);
    count = add_axes(g, arg, count, c.result);
    count = add_axes(g, arg, count, c.kernel);
    count = add_axes(g, arg, count, c.stride);
    count = add_axes(g, arg, count, c.low);
    count = add_axes(g, arg, count, c.dilation);
    count = add_axes(g, arg, count, c.copy);
    const int64_t rest[] = {
        c.direct,        c.block_axis,      c.block_rows, c.blocks,        c.block_positions,
        c.vectors,       c.tile_channels,   c.tile_rows,  c.channel_chunk, c.channel_parts,
        c.copy_elements, c.turned_elements, c.half};
    for (size_t i = 0; i < COUNT_OF(rest); i++)
        arg[count++] = whole(g, rest[i]);
    conv_divided(k, c.part_chunk, c.parts, &arg[count], &arg[count + 1]);
    count += 2;
    if (c.half != AML_HALF_PAIRS)
        count = add_prologue(k, &c, inst, conv, operand, arg, count);
    call_template(&k->emit, "aml_conv_weight", c.bytes, false, c.half, arg, count);
    kernel_close(k);
}
