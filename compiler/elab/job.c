// job.c: from a resolved program to a Program: options, constants, and every block in the order in
// which they need each other: data sets, trainings, evaluations, deployments.

#include "elab/job.h"

#include <string.h>

static void options_record(Jobs *jobs)
{
    for (int i = 0; i < jobs->e->option.count; i++) {
        const OptionEntry *entry = &jobs->e->option.at[i];
        const AstOption *node = &entry->node->as.option;
        aml_option option = {.name = node->name,
                             .doc = node->doc,
                             .place = job_place(jobs, node->name_span),
                             .type = entry->type};
        Value value = entry->value;
        switch (value.kind) {
        case VALUE_BOOL:
        case VALUE_INT:
            option.value.whole = value.as.whole;
            if (entry->type == AML_OPTION_REAL)
                option.value.real = (double)value.as.whole;
            break;
        case VALUE_REAL:
            option.value.real = value.as.real;
            break;
        case VALUE_QUANTITY:
            option.value.real = value.as.quantity.value;
            option.unit = value.as.quantity.unit;
            break;
        case VALUE_TEXT:
            option.text = value_plain_text(value);
            break;
        case VALUE_POISON:
        case VALUE_NONE:
        case VALUE_SYMBOL:
        case VALUE_LIST:
        case VALUE_TUPLE:
        case VALUE_RECORD:
        case VALUE_RANGE:
        case VALUE_FUNCTION:
        case VALUE_TYPE:
        case VALUE_DECLARATION:
        case VALUE_INSTANCE:
        case VALUE_TENSOR:
        case VALUE_MEAN:
        case VALUE_TREE:
        case VALUE_CELL:
        case VALUE_JOB:
        case VALUE_OPTION:
        case VALUE_LATER:
        case VALUE_DIM:
        case VALUE_HOLE:
        case VALUE_REST:
            bug(jobs->cx, node->name_span, "an option with a default that is %s",
                value_what(jobs->e, value));
        }
        vec_push(jobs->arena, &jobs->program->option, option);
    }
}

static void constants_record(Jobs *jobs)
{
    for (int i = 0; i < jobs->unit->file.count; i++) {
        const UnitFile *file = jobs->unit->file.at[i];
        for (int d = 0; !file->is_std && d < file->ast->as.file.decls.count; d++) {
            Node *node = file->ast->as.file.decls.at[d];
            if (node->kind != NODE_Const)
                continue;
            Value value = elab_declaration(jobs->e, node);
            aml_fixed fixed = {node->as.constant.name, node->as.constant.doc,
                               job_place(jobs, node->as.constant.name_span),
                               value_show(jobs->e, value)};
            vec_push(jobs->arena, &jobs->program->fixed, fixed);
        }
    }
}

static size_t align_up(size_t bytes)
{
    return (bytes + AML_ALIGNMENT - 1) / AML_ALIGNMENT * AML_ALIGNMENT;
}

// Where each state lives in its job's arena: in the order of the table, each aligned.
void program_layout(Program *program)
{
    for (int i = 0; i < program->job.count; i++) {
        ProgramJob *job = &program->job.at[i];
        size_t offset = 0;
        for (int s = 0; s < job->state.count; s++) {
            aml_state_info *info = &job->state.at[s].info;
            int64_t elements = 1;
            for (int d = 0; d < info->tensor.shape.rank; d++)
                elements *= info->tensor.shape.dim[d];
            info->offset = offset;
            offset =
                align_up(offset + (size_t)elements * (size_t)dtype_info[info->tensor.dtype].bytes);
        }
        job->table.state_bytes = offset;
    }
}

static bool is_kind(const Node *job, const char *kind)
{
    return strcmp(job->as.job.kind, kind) == 0;
}

Program *elaborate(Cx *cx, Unit *unit)
{
    return elaborate_in(cx, unit, DTYPE_F32);
}

Program *elaborate_in(Cx *cx, Unit *unit, DType real)
{
    Program *program = NEW(cx->arena, Program);
    program->cx = cx;
    program->module = ir_module_new(cx);
    program->table.doc = unit->main->ast->as.file.doc;
    Elab *e = elab_new(cx, unit, program->module);
    Jobs jobs = {.e = e,
                 .cx = cx,
                 .arena = cx->arena,
                 .program = program,
                 .unit = unit,
                 .stand_in = {.kind = AML_TOKENIZER_BYTES, .vocab = MADE_UP_TOKENS}};
    e->job_data = &jobs;
    e->job_member = data_member;
    e->real = real;
    elab_globals(e);
    static const struct {
        const char *kind;
        bool (*run)(Jobs *jobs, Node *node);
    } order[] = {
        {"dataset", job_dataset},   {"train", job_train},   {"evaluate", job_evaluate},
        {"generate", job_generate}, {"deploy", job_deploy},
    };
    for (size_t k = 0; k < COUNT_OF(order); k++)
        for (int i = 0; i < unit->job.count; i++)
            if (is_kind(unit->job.at[i], order[k].kind))
                order[k].run(&jobs, unit->job.at[i]);
    elab_check_unused(e);
    if (diag_errors(cx) > 0)
        return NULL;
    options_record(&jobs);
    constants_record(&jobs);
    program_layout(program);
    e->job_data = NULL;
    return program;
}
