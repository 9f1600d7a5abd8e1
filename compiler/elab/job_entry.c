// job_entry.c: tracing one compiled function of a job and writing down what it reads and returns.

#include "elab/job.h"

#include "elab/internal.h"

#include <string.h>

aml_tensor_info tensor_info(Jobs *jobs, Type type, int64_t classes, const char *name)
{
    aml_tensor_info info = {
        .name = sym_of(jobs->cx, name), .dtype = (aml_dtype)type.dtype, .classes = classes};
    info.shape.rank = type.rank;
    memcpy(info.shape.dim, type.dim, sizeof type.dim[0] * (size_t)type.rank);
    return info;
}

Type batched(Type type, int64_t batch)
{
    int64_t dim[IR_MAX_RANK] = {batch};
    int rank = type.rank < IR_MAX_RANK ? type.rank : IR_MAX_RANK - 1;
    for (int i = 0; i < rank; i++)
        dim[i + 1] = type.dim[i];
    return type_make(type.dtype, rank + 1, dim);
}

Tracing entry_begin(Jobs *jobs, Entry *entry, const char *block, const char *function, Span span)
{
    *entry = (Entry){0};
    entry->symbol = sym_printf(jobs->cx, "aml_%s_%s", block, function);
    Trace *trace = elab_trace_begin(jobs->e, sym_printf(jobs->cx, "%s_%s", block, function), span);
    trace->fn->mixed = jobs->e->mixed;
    return (Tracing){jobs, trace, entry};
}

Value entry_input(Tracing *tracing, Type type, int64_t classes, Sym name, Span span)
{
    Jobs *jobs = tracing->jobs;
    Value value = elab_trace_input(jobs->e, type, classes, name, span);
    vec_push(jobs->arena, &tracing->entry->input, tensor_info(jobs, type, classes, name));
    return value;
}

int entry_output(Tracing *tracing, Inst *value, int64_t classes, const char *name)
{
    Jobs *jobs = tracing->jobs;
    int index = elab_trace_output(jobs->e, value, sym_of(jobs->cx, name));
    vec_push(jobs->arena, &tracing->entry->output, tensor_info(jobs, value->type, classes, name));
    return index;
}

bool entry_end(Tracing *tracing)
{
    Jobs *jobs = tracing->jobs;
    Trace *trace = tracing->trace;
    tracing->entry->ir = elab_trace_end(jobs->e, trace);
    for (int i = 0; i < trace->scalar.count; i++) // complete only now: the end may add some
        vec_push(jobs->arena, &tracing->entry->scalar, trace->scalar.at[i]);
    if (trace->balance)
        vec_push(jobs->arena, &tracing->entry->input,
                 tensor_info(jobs, trace->balance->type, 0,
                             sym_printf(jobs->cx, "%s.balance", trace->balanced)));
    return tracing->entry->ir != NULL;
}

void entry_drop(Tracing *tracing)
{
    elab_trace_end(tracing->jobs->e, tracing->trace);
    *tracing->entry = (Entry){0};
}

// Samples are f32; a job of a wider precision computes with them in its own.
Value in_precision(Jobs *jobs, Value value, Span span)
{
    Inst *inst = value.as.tensor.inst;
    if (jobs->e->real != DTYPE_F64 || inst->type.dtype != DTYPE_F32)
        return value;
    return value_tensor(elab_cast(jobs->e, inst, DTYPE_F64, span));
}

Value batch_inputs(Tracing *tracing, const ColumnList *columns, int64_t batch, Span span)
{
    for (int i = 0; i < columns->count; i++)
        if (columns->at[i].classes > 0 && strcmp(columns->at[i].name, "y") == 0) {
            tracing->trace->balanced = columns->at[i].name;
            tracing->trace->balanced_classes = columns->at[i].classes;
        }
    return column_inputs(tracing, columns, batch, span);
}

Value column_inputs(Tracing *tracing, const ColumnList *columns, int64_t batch, Span span)
{
    Jobs *jobs = tracing->jobs;
    Sym *name = NEW_ARRAY(jobs->arena, Sym, columns->count + 1);
    Value *at = NEW_ARRAY(jobs->arena, Value, columns->count + 1);
    for (int i = 0; i < columns->count; i++) {
        const Column *column = &columns->at[i];
        Type type = batch > 0 ? batched(column->type, batch) : column->type;
        name[i] = column->name;
        at[i] = in_precision(jobs, entry_input(tracing, type, column->classes, column->name, span),
                             span);
    }
    return value_record(jobs->e, columns->count, name, at);
}
