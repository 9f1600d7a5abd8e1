// freeze.c: functions of a deployed program.
//
// In a training program weights are parameters (rows of the state table) and options are scalars. A
// deployed program has neither: each such parameter becomes a constant here, before the passes run,
// so that everything that depends only on weights is computed now and matrix products find their
// operand packed.

#include "link/link.h"

#include "aml/text.h"

#include <string.h>

#include "diag/diag.h"

static const DType dtype_of[] = {
    [AML_F32] = DTYPE_F32,   [AML_F64] = DTYPE_F64, [AML_F16] = DTYPE_F16,
    [AML_BF16] = DTYPE_BF16, [AML_I8] = DTYPE_I8,   [AML_U8] = DTYPE_U8,
    [AML_I32] = DTYPE_I32,   [AML_I64] = DTYPE_I64, [AML_BOOL] = DTYPE_BOOL};

// Elements of a whole tensor live as long as the compilation (a checkpoint that stays open).
static void param_to_constant(IrFunction *fn, int index, const void *at, bool splat)
{
    Inst *param = fn->param.at[index];
    Arena *arena = fn->cx->arena;
    size_t bytes =
        splat ? (size_t)dtype_info[param->type.dtype].bytes : (size_t)type_bytes(param->type);

    if (param->uses > 0) {
        Attr attr[1] = {{.data = {.splat = splat,
                                  .bytes = bytes,
                                  .at = splat ? arena_copy(arena, at, bytes) : at}}};
        Inst *constant =
            fn->first
                ? ir_insert_before(fn->first, OP_constant, NULL, 0, attr, param->type, param->span)
                : ir_append(fn, OP_constant, NULL, 0, attr, param->type, param->span);
        constant->name = param->name;
        ir_replace_uses(fn, param, constant);
    }
    ir_drop_param(fn, index);
}

static const Weight *find_weight(const Weight *weight, int weights, const char *name)
{
    for (int i = 0; i < weights; i++)
        if (strcmp(weight[i].name, name) == 0)
            return &weight[i];
    return NULL;
}

static const char *weight_shape(Arena *arena, aml_dtype dtype, aml_shape shape)
{
    return type_text(arena, type_make(dtype_of[dtype], shape.rank, shape.dim));
}

// The checkpoint's tensor for one of a row of the state table, or NULL after reporting that there
// is none that fits.
static const Weight *weight_of(Cx *cx, const ProgramState *state, const aml_tensor_info *info,
                               const Weight *weight, int weights, Span span)
{
    const Weight *found = find_weight(weight, weights, info->name);
    const char *expected = weight_shape(cx->arena, info->dtype, info->shape);
    const char *there = found ? weight_shape(cx->arena, found->dtype, found->shape) : NULL;
    if (found && strcmp(there, expected) == 0)
        return found;
    if (found)
        report(cx, span, checkpoint_differs, info->name, expected, there);
    else
        report(cx, span, checkpoint_lacks, info->name, expected);
    note(cx, state->span, "'%s' is declared here", info->name);
    help(cx, "train again: the model has changed since the checkpoint was written");
    return NULL;
}

// The elements of a row of the state table: the checkpoint's tensors one after the other. NULL
// after a report.
static const void *row_elements(Cx *cx, const ProgramState *state, const Weight *weight,
                                int weights, Span span)
{
    int64_t parts = aml_state_parts(&state->info);
    char name[1024], *all = NULL;
    for (int64_t part = 0; part < parts; part++) {
        aml_tensor_info tensor;
        aml_state_part(&state->info, part, &tensor, name, sizeof name);
        const Weight *found = weight_of(cx, state, &tensor, weight, weights, span);
        if (!found)
            return NULL;
        if (parts == 1)
            return found->at;
        size_t bytes =
            (size_t)aml_shape_elements(&tensor.shape) * (size_t)aml_dtype_bytes(tensor.dtype);
        if (!all)
            all = arena_alloc(cx->arena, bytes * (size_t)parts);
        memcpy(all + bytes * (size_t)part, found->at, bytes);
    }
    return all;
}

bool freeze_weights(Cx *cx, IrFunction *fn, const ProgramJob *job, const Weight *weight,
                    int weights, Span span)
{
    bool good = true;
#define FROZEN(slot)                                                                               \
    ((slot).kind == SLOT_STATE && job->state.at[(slot).index].info.role != AML_ROLE_CACHE)
    const void **elements = NEW_ARRAY(cx->arena, const void *, fn->param.count + 1);
    for (int i = 0; i < fn->param.count; i++)
        if (FROZEN(fn->param_slot.at[i])) {
            elements[i] =
                row_elements(cx, &job->state.at[fn->param_slot.at[i].index], weight, weights, span);
            good = elements[i] && good;
        }
    if (!good)
        return false;
    for (int i = fn->param.count - 1; i >= 0; i--)
        if (FROZEN(fn->param_slot.at[i]))
            param_to_constant(fn, i, elements[i], false);
    for (int i = fn->result.count - 1; i >= 0;
         i--) // running statistics do not move when predicting
        if (FROZEN(fn->result.at[i].slot)) {
            fn->result.at[i].value->uses--;
            memmove(&fn->result.at[i], &fn->result.at[i + 1],
                    sizeof fn->result.at[0] * (size_t)(fn->result.count - i - 1));
            fn->result.count--;
        }
#undef FROZEN
    return true;
}

// Scalars of the running program: options keep their defaults, counters are 0.
void freeze_scalars(IrFunction *fn, Entry *entry, const Program *program)
{
    int positions = 0;
    for (int i = fn->param.count - 1; i >= 0; i--) {
        if (fn->param_slot.at[i].kind != SLOT_SCALAR)
            continue;
        const aml_scalar_info *info = &entry->scalar.at[fn->param_slot.at[i].index];
        if (info->kind == AML_SCALAR_POSITION) {
            fn->param_slot.at[i].index = 0;
            positions = 1;
            continue;
        }
        DType dtype = fn->param.at[i]->type.dtype;
        double real = 0;
        if (info->kind == AML_SCALAR_OPTION) {
            const aml_option *option = &program->option.at[info->index];
            bool whole = option->type == AML_OPTION_BOOL || option->type == AML_OPTION_INT;
            real = whole ? (double)option->value.whole : option->value.real;
        }
        union {
            float f32;
            double f64;
            int32_t i32;
            int64_t i64;
            uint8_t b;
        } element = {.i64 = 0};
        switch (dtype) {
        case DTYPE_F32:
            element.f32 = (float)real;
            break;
        case DTYPE_F64:
            element.f64 = real;
            break;
        case DTYPE_I32:
            element.i32 = (int32_t)real;
            break;
        case DTYPE_I64:
            element.i64 = (int64_t)real;
            break;
        case DTYPE_BOOL:
            element.b = real != 0;
            break;
        case DTYPE_F16:
        case DTYPE_BF16:
        case DTYPE_I8:
        case DTYPE_U8:
        case DTYPE_COUNT:
            bug(fn->cx, fn->span, "a scalar argument of type %s", dtype_info[dtype].name);
        }
        param_to_constant(fn, i, &element, true);
    }
    entry->scalar.count = positions;
    if (positions)
        entry->scalar.at[0] = (aml_scalar_info){AML_SCALAR_POSITION, 0, AML_I64};
}

static int tensor_named(const Entry *entry, const char *name)
{
    for (int i = 0; i < entry->input.count; i++)
        if (strcmp(entry->input.at[i].name, name) == 0)
            return i;
    return -1;
}

// What was fitted on the training rows is a constant; it is in the checkpoint under its name.
static bool freeze_statistics(Cx *cx, IrFunction *fn, const ProgramDataset *data,
                              const Weight *weight, int weights, Span span)
{
    bool good = true;
    for (int p = fn->param.count - 1; p >= 0; p--) {
        int index = fn->param_slot.at[p].index - data->table.fields;
        if (fn->param_slot.at[p].kind != SLOT_INPUT || index < 0)
            continue;
        ProgramState state = {.info = {.tensor = data->statistic.at[index].tensor},
                              .span = data->statistic_span.at[index]};
        bool read = fn->param.at[p]->uses > 0;
        const void *at = read ? row_elements(cx, &state, weight, weights, span) : NULL;
        good = good && (at || !read);
        if (at)
            param_to_constant(fn, p, at, false);
        else if (!read)
            ir_drop_param(fn, p);
    }
    return good;
}

bool freeze_prepare(Cx *cx, const Program *program, IrModule *module, const ProgramDataset *data,
                    const Entry *predict, const Weight *weight, int weights, Span span,
                    Artifact *out)
{
    const Entry *from = &data->prepare;
    IrFunction *fn = ir_clone_function(from->ir, module, sym_printf(cx, "%s_prepare", out->name));
    out->prepare = (Entry){.ir = fn, .symbol = fn->name};
    for (int i = 0; i < from->scalar.count; i++)
        vec_push(cx->arena, &out->prepare.scalar, from->scalar.at[i]);

    // outputs: those that predict reads, in its order
    Vec(IrResult) kept = {0};
    for (int i = 0; i < predict->input.count; i++)
        vec_push(cx->arena, &kept, (IrResult){0});
    for (int i = 0; i < fn->result.count; i++) {
        IrResult *result = &fn->result.at[i];
        const aml_tensor_info *info = &from->output.at[result->slot.index];
        int position = tensor_named(predict, info->name);
        if (position < 0)
            result->value->uses--;
        else
            kept.at[position] = *result;
    }
    for (int i = 0; i < kept.count; i++) {
        vec_push(cx->arena, &out->prepare.output, from->output.at[kept.at[i].slot.index]);
        kept.at[i].slot.index = i;
        fn->result.at[i] = kept.at[i];
    }
    fn->result.count = kept.count;

    freeze_scalars(fn, &out->prepare, program);
    ir_drop_dead(fn);
    if (!freeze_statistics(cx, fn, data, weight, weights, span))
        return false;

    // inputs: the fields that are still read
    Vec(aml_field) field = {0};
    int *moved = NEW_ARRAY(cx->arena, int, data->table.fields + 1);
    for (int i = 0; i < data->table.fields; i++) {
        bool read = false;
        for (int p = 0; p < fn->param.count; p++)
            read |= fn->param_slot.at[p].kind == SLOT_INPUT && fn->param_slot.at[p].index == i &&
                    fn->param.at[p]->uses > 0;
        moved[i] = read ? field.count : -1;
        if (read) {
            vec_push(cx->arena, &field, data->table.field[i]);
            vec_push(cx->arena, &out->prepare.input, from->input.at[i]);
        }
    }
    for (int p = fn->param.count - 1; p >= 0; p--) {
        int to = moved[fn->param_slot.at[p].index];
        if (to < 0)
            ir_drop_param(fn, p);
        else
            fn->param_slot.at[p].index = to;
    }
    out->field = field.at;
    out->fields = field.count;
    return true;
}

// ---- labels

// Marks what `inst` is computed from.
static void mark_inputs(Inst *inst)
{
    if (inst->mark)
        return;
    inst->mark = 1;
    for (int i = 0; i < inst->inputs; i++)
        mark_inputs(inst->input[i]);
}

void find_labels(Program *program)
{
    for (int d = 0; d < program->dataset.count; d++) {
        ProgramDataset *data = &program->dataset.at[d];
        IrFunction *fn = data->prepare.ir;
        bool predicted = false;
        for (int p = 0; p < fn->param.count; p++)
            fn->param.at[p]->mark = 0;
        for (Inst *inst = fn->first; inst; inst = inst->next)
            inst->mark = 0;
        for (int j = 0; j < program->job.count; j++) {
            const ProgramJob *job = &program->job.at[j];
            if (!job->predict.ir || job->table.data != d)
                continue;
            predicted = true;
            for (int r = 0; r < fn->result.count; r++)
                if (tensor_named(&job->predict,
                                 data->prepare.output.at[fn->result.at[r].slot.index].name) >= 0)
                    mark_inputs(fn->result.at[r].value);
        }
        aml_field *field = arena_copy(program->cx->arena, data->table.field,
                                      sizeof *field * (size_t)data->table.fields);
        for (int i = 0; i < data->table.fields; i++)
            field[i].label = predicted;
        for (int p = 0; p < fn->param.count; p++)
            if (fn->param_slot.at[p].kind == SLOT_INPUT && fn->param.at[p]->mark &&
                fn->param_slot.at[p].index < data->table.fields)
                field[fn->param_slot.at[p].index].label = false;
        data->table.field = field;
    }
}
