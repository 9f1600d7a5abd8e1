// collect.c: adds up what the instructions of each function cost and where.

#include <stdlib.h>
#include <string.h>

#include "passes/fuse.h"
#include "report/report.h"

#include "aml/text.h"

static Place place_of(const Report *report, Span span)
{
    return span.file ? source_place(report->cx, span) : (Place){0};
}

// ---- by line -----------------------------------------------------------------------------------

static ReportLine *line_at(Arena *arena, ReportLineList *list, Place place)
{
    for (int i = 0; i < list->count; i++) {
        ReportLine *line = &list->at[i];
        bool same_file = line->path == place.path ||
                         (line->path && place.path && !strcmp(line->path, place.path));
        if (line->line == place.line && same_file)
            return line;
    }
    ReportLine line = {.path = place.path, .line = place.line};
    vec_push(arena, list, line);
    return &list->at[list->count - 1];
}

// `times`: how often the instructions run. Inside a fused body only operations count: what it
// computes on the way is not stored, and the fused instruction itself knows what it reads and
// writes.
static void add_function(const Report *report, ReportPhase *phase, const IrFunction *fn,
                         double times, bool stored)
{
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        Cost cost = inst_cost(inst);
        double bytes = stored ? cost.bytes * times : 0;
        if (inst->op == OP_fused || inst->op == OP_loop) {
            bool counted = inst->op == OP_loop && inst->attr[0].whole != LOOP_NO_LIMIT;
            double turns = counted ? times * (double)inst->attr[0].whole : times;
            if (inst->op == OP_loop)
                bytes = 0;
            add_function(report, phase, inst_nested(inst), turns, inst->op == OP_loop);
            cost.flops = 0;
        }
        double flops = cost.flops * times;
        phase->flops += flops;
        phase->bytes += bytes;
        if (flops > 0 || bytes > 0) {
            ReportLine *line =
                line_at(report->cx->arena, &phase->line, place_of(report, inst->span));
            line->flops += flops;
            line->bytes += bytes;
        }
    }
}

static int by_parameters(const void *left, const void *right)
{
    const ReportLine *a = left, *b = right;
    return a->parameters != b->parameters ? (a->parameters < b->parameters ? 1 : -1)
                                          : a->line - b->line;
}

static int by_operations(const void *left, const void *right)
{
    const ReportLine *a = left, *b = right;
    if (a->flops != b->flops)
        return a->flops < b->flops ? 1 : -1;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    int path = strcmp(a->path ? a->path : "", b->path ? b->path : "");
    return path ? path : a->line - b->line;
}

// ---- memory ------------------------------------------------------------------------------------

static Type type_of_result(const Inst *inst, int index)
{
    return inst->results > 1 ? inst->result_type[index] : inst->type;
}

// The position of an instruction's last reader; readers of its `get`s read it. A result is read at
// the end.
static void find_last_readers(IrFunction *fn)
{
    int64_t position = 1;
    for (Inst *inst = fn->first; inst; inst = inst->next, position++) {
        inst->mark = position;
        for (int i = 0; i < inst->inputs; i++)
            for (Inst *from = inst->input[i];; from = from->input[0]) {
                from->mark = position;
                if (from->op != OP_get && !inst_is_alias(from)) // both name memory of their input
                    break;
            }
    }
    for (int i = 0; i < fn->result.count; i++)
        fn->result.at[i].value->mark = position;
}

static int by_bytes(const void *left, const void *right)
{
    const ReportTensor *a = left, *b = right;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->place.line - b->place.line;
}

// A value that was written over one that died there (a kernel working in place) takes its place in
// the list.
static void add_alive(const Report *report, ReportPhase *phase, ReportTensor tensor)
{
    for (int i = 0; i < phase->alive.count; i++)
        if (phase->alive.at[i].offset == tensor.offset) {
            phase->alive.at[i] = tensor;
            return;
        }
    vec_push(report->cx->arena, &phase->alive, tensor);
}

static void add_results(const Report *report, ReportPhase *phase, const Inst *inst)
{
    const Buffered *buffered = inst->note;
    const Inst *whole = inst->op == OP_attend_back ? attend_back_whole(inst) : NULL;
    for (int i = 0; i < (whole ? 1 : inst->results); i++) {
        const Buffered *one = inst->results > 1 ? buffered->result[i] : buffered;
        Type type = whole ? whole->type : type_of_result(inst, i);
        ReportTensor tensor = {type, (size_t)type_bytes(type), one->offset, inst->name,
                               place_of(report, inst->span)};
        if (one->kind == PLACE_ARENA)
            add_alive(report, phase, tensor);
    }
}

static void find_alive(const Report *report, ReportPhase *phase, IrFunction *fn, const Inst *peak)
{
    find_last_readers(fn);
    int64_t position = 1, at = 0;
    for (const Inst *inst = fn->first; inst && !at; inst = inst->next, position++)
        if (inst == peak)
            at = position;
    position = 1;
    for (const Inst *inst = fn->first; inst && position <= at; inst = inst->next, position++) {
        const Buffered *buffered = inst->note;
        if (!buffered || inst->mark < at || inst->op == OP_get || inst_is_alias(inst))
            continue;
        add_results(report, phase, inst);
        if (position != at || !buffered->scratch_bytes)
            continue;
        size_t bytes = buffered->scratch_bytes;
        ReportTensor scratch = {{.dtype = DTYPE_U8, .rank = 1, .dim = {(int64_t)bytes}},
                                bytes,
                                buffered->scratch_offset,
                                "work space of the kernel",
                                place_of(report, inst->span)};
        add_alive(report, phase, scratch);
    }
    if (phase->alive.count)
        qsort(phase->alive.at, (size_t)phase->alive.count, sizeof phase->alive.at[0], by_bytes);
}

static size_t aligned(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

static size_t buffer_bytes(const Entry *entry)
{
    size_t bytes = 0;
    const IrFunction *fn = entry->ir;
    for (int i = 0; i < fn->param.count; i++)
        if (fn->param_slot.at[i].kind == SLOT_INPUT || fn->param_slot.at[i].kind == SLOT_ROWS)
            bytes += aligned((size_t)type_bytes(fn->param.at[i]->type));
    for (int i = 0; i < fn->result.count; i++)
        if (fn->result.at[i].slot.kind == SLOT_OUTPUT)
            bytes += aligned((size_t)type_bytes(fn->result.at[i].value->type));
    return bytes;
}

// ---- blocks ------------------------------------------------------------------------------------

static void add_phase(const Report *report, ReportBlock *block, const char *name,
                      const char *meaning, const Entry *entry, size_t state_bytes)
{
    if (!entry->ir)
        return;
    Plan plan = plan_function(report->cx, entry->ir);
    ReportPhase phase = {.name = name,
                         .meaning = meaning,
                         .state_bytes = state_bytes,
                         .buffer_bytes = buffer_bytes(entry),
                         .temporary_bytes = plan.arena_bytes};
    add_function(report, &phase, entry->ir, 1, true);
    if (plan.peak_at) {
        phase.peak = place_of(report, plan.peak_at->span);
        find_alive(report, &phase, entry->ir, plan.peak_at);
    }
    if (phase.line.count)
        qsort(phase.line.at, (size_t)phase.line.count, sizeof phase.line.at[0], by_operations);
    vec_push(report->cx->arena, &block->phase, phase);
}

static const char *role_name(aml_role role)
{
    switch (role) {
    case AML_ROLE_WEIGHT:
        return "weight";
    case AML_ROLE_STATE:
        return "state";
    case AML_ROLE_OPTIMIZER:
        return "optimizer";
    case AML_ROLE_METRIC:
        return "metric";
    case AML_ROLE_CACHE:
        return "cache";
    case AML_ROLES:
        break;
    }
    return "?";
}

static Type type_of_info(const aml_tensor_info *info)
{
    return type_make((DType)info->dtype, info->shape.rank, info->shape.dim);
}

// The tensors that a row is for people: one for each turn of a repeated part.
static void add_parts(const Report *report, ReportBlock *block, const aml_state_info *info,
                      ReportState row)
{
    int64_t parts = aml_state_parts(info);
    for (int64_t part = 0; part < parts; part++) {
        aml_tensor_info tensor;
        char name[1024];
        aml_state_part(info, part, &tensor, name, sizeof name);
        row.name = arena_text(report->cx->arena, name, strlen(name));
        row.type = type_of_info(&tensor);
        vec_push(report->cx->arena, &block->state, row);
    }
}

static size_t add_states(const Report *report, ReportBlock *block, const ProgramJob *job)
{
    size_t bytes = 0;
    for (int i = 0; i < job->state.count; i++) {
        const ProgramState *state = &job->state.at[i];
        ReportState row = {state->info.tensor.name, role_name(state->info.role),
                           type_of_info(&state->info.tensor), place_of(report, state->span)};
        bytes += aligned((size_t)type_bytes(row.type));
        add_parts(report, block, &state->info, row);
        if (state->info.role == AML_ROLE_WEIGHT) {
            block->parameters += type_elements(row.type);
            ReportLine *line = line_at(report->cx->arena, &block->line, row.place);
            line->parameters += (double)type_elements(row.type);
            line->bytes += (double)type_bytes(row.type);
        }
    }
    if (block->line.count)
        qsort(block->line.at, (size_t)block->line.count, sizeof block->line.at[0], by_parameters);
    return bytes;
}

static void add_dataset(Report *report, const ProgramDataset *dataset)
{
    ReportBlock block = {.kind = "dataset", .name = dataset->table.name};
    add_phase(report, &block, "prepare", "one row of the data", &dataset->prepare, 0);
    add_phase(report, &block, "augment", "one prepared row, in training", &dataset->augment, 0);
    vec_push(report->cx->arena, &report->block, block);
}

static void add_job(Report *report, const ProgramJob *job)
{
    ReportBlock block = {.kind = job->table.kind == AML_JOB_TRAIN ? "train" : "evaluate",
                         .name = job->table.name,
                         .batch = job->table.batch};
    size_t bytes = add_states(report, &block, job);
    add_phase(report, &block, "init", "once, before the first step", &job->init, bytes);
    add_phase(report, &block, "step", "one optimizer step: forward, backward, update", &job->step,
              bytes);
    add_phase(report, &block, "eval", "one batch: loss and metrics", &job->eval, bytes);
    add_phase(report, &block, "metrics", "once, after an evaluation", &job->metrics_value, bytes);
    add_phase(report, &block, "predict", "one sample", &job->predict, bytes);
    vec_push(report->cx->arena, &report->block, block);
}

static void add_deploy(Report *report, Program *program, const ProgramDeploy *deploy)
{
    ReportBlock block = {.kind = "deploy", .name = deploy->name};
    const ProgramJob *job =
        deploy->job >= 0 && deploy->job < program->job.count ? &program->job.at[deploy->job] : NULL;
    for (int i = 0; i < deploy->predict.count && i < deploy->batch.count; i++) {
        size_t weights = 0;
        const IrFunction *fn = deploy->predict.at[i].ir;
        for (int k = 0; fn && k < fn->param.count; k++)
            if (fn->param_slot.at[k].kind == SLOT_STATE)
                weights += aligned((size_t)type_bytes(fn->param.at[k]->type));
        const char *name =
            arena_printf(report->cx->arena, "predict %lld", (long long)deploy->batch.at[i]);
        add_phase(report, &block, name, "one batch of so many samples; the state is the weights",
                  &deploy->predict.at[i], weights);
    }
    if (job)
        for (int i = 0; i < job->state.count; i++)
            if (job->state.at[i].info.role == AML_ROLE_WEIGHT)
                block.parameters += type_elements(type_of_info(&job->state.at[i].info.tensor));
    vec_push(report->cx->arena, &report->block, block);
}

Report *report_collect(Cx *cx, Program *program)
{
    Report *report = NEW(cx->arena, Report);
    report->cx = cx;
    report->source = program->table.source;
    for (int i = 0; i < program->dataset.count; i++)
        add_dataset(report, &program->dataset.at[i]);
    for (int i = 0; i < program->job.count; i++)
        add_job(report, &program->job.at[i]);
    for (int i = 0; i < program->deploy.count; i++)
        add_deploy(report, program, &program->deploy.at[i]);
    return report;
}

void report_program(Cx *cx, Program *program, bool json, Buffer *out)
{
    const Report *report = report_collect(cx, program);
    if (json)
        report_json(report, out);
    else
        report_text(report, out);
}
