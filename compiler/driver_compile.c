// driver_compile.c: the stages one after the other.

#include "driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aml/vocabulary.h"

int finish_diagnostics(Command *command)
{
    bool to_stdout = command->format == FORMAT_JSON || command->format == FORMAT_SARIF ||
                     command->format == FORMAT_GITHUB;
    diag_print(command->cx, to_stdout ? stdout : stderr, command->format, command->color);
    return diag_errors(command->cx) ? EXIT_INPUT : EXIT_OK;
}

const char *program_name(Cx *cx, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t length = strlen(base);
    if (length > 4 && strcmp(base + length - 4, ".aml") == 0)
        length -= 4;
    return arena_text(cx->arena, base, length);
}

const char *default_output(const Program *program)
{
    for (int i = 0; i < program->deploy.count; i++)
        if (strcmp(program->deploy.at[i].name, program->table.name) == 0)
            return arena_printf(program->cx->arena, "%s-train", program->table.name);
    return program->table.name;
}

const char *source_path_text(Cx *cx, const Program *program, const aml_text *text)
{
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    for (int i = 0; i < text->parts; i++) {
        const char *part = text->part[i].option < 0 ? text->part[i].text
                                                    : program->option.at[text->part[i].option].text;
        buffer_text(&out, part ? part : "");
    }
    return out.text;
}

// Everything that was read to make the program, in order: what it does follows from these bytes. Of
// a text its vocabulary, of a category the names of its classes.
static const char *hash_sources(Cx *cx, const Program *program)
{
    Buffer all = {.arena = cx->arena};
    buffer_text(&all, "");
    for (int i = 1; i < cx->source.count; i++) {
        const SourceFile *file = cx->source.at[i];
        buffer_printf(&all, "%zu\n", file->length);
        buffer_append(&all, file->text, file->length);
    }
    for (int i = 0; i < program->dataset.count; i++) {
        const aml_dataset *table = &program->dataset.at[i].table;
        const aml_tokenizer *tokenizer = table->source.tokenizer;
        for (int f = 0; f < table->fields; f++)
            for (int64_t k = 0;
                 table->field[f].tensor.class_name && k < table->field[f].tensor.classes; k++)
                buffer_printf(&all, "%s\n", table->field[f].tensor.class_name[k]);
        if (tokenizer && tokenizer->code)
            buffer_append(&all, (const char *)tokenizer->code,
                          sizeof *tokenizer->code * (size_t)tokenizer->vocab);
        if (tokenizer && tokenizer->image)
            buffer_append(&all, (const char *)tokenizer->image, tokenizer->image->bytes);
    }
    for (int i = 0; i < program->dataset.count; i++)
        for (int k = 0; k < program->dataset.at[i].table.fields; k++) {
            const aml_cell_rule *rule = program->dataset.at[i].table.field[k].rule;
            if (rule && rule->text && rule->text->tokenizer->image)
                buffer_append(&all, (const char *)rule->text->tokenizer->image,
                              rule->text->tokenizer->image->bytes);
        }
    return sha256_hex(cx, all.text, all.length);
}

Program *compile_front(Command *command, const char *path)
{
    Cx *cx = command->cx;
    if (command->option[OPTION_TIMING])
        lap_start(cx);
    Unit *unit = unit_load(cx, path);
    lap_end(cx, "read and resolve");
    prune_teaching(command);
    Program *program = unit ? elaborate(cx, unit) : NULL;
    lap_end(cx, "elaborate");

    if (!program || diag_errors(cx))
        return NULL;
    find_labels(program);
    program->table.abi = AML_PROGRAM_ABI;
    program->table.source = path;
    program->table.name = program_name(cx, path);
    program->table.compiler = "amlc " AML_VERSION_TEXT;
    program->table.source_hash = hash_sources(cx, program);
    return program;
}

// ---- functions to code

typedef Vec(EmitEntry) EmitList;

static void emit_entry(Cx *cx, EmitList *list, Entry *entry, const size_t *state_offset)
{
    if (entry->ir)
        vec_push(cx->arena, list, ((EmitEntry){entry, state_offset}));
}

void drop_deploy_functions(Program *program)
{
    IrModule *module = program->module;
    int kept = 0;
    for (int i = 0; i < module->function.count; i++) {
        bool deployed = false;
        for (int d = 0; d < program->deploy.count; d++)
            for (int p = 0; p < program->deploy.at[d].predict.count; p++)
                deployed |= program->deploy.at[d].predict.at[p].ir == module->function.at[i];
        if (!deployed)
            module->function.at[kept++] = module->function.at[i];
    }
    module->function.count = kept;
}

static EmitList entries_of(Program *program)
{
    Cx *cx = program->cx;
    EmitList list = {0};
    for (int i = 0; i < program->dataset.count; i++) {
        emit_entry(cx, &list, &program->dataset.at[i].prepare, NULL);
        emit_entry(cx, &list, &program->dataset.at[i].augment, NULL);
        for (size_t k = 0; k < COUNT_OF(program->dataset.at[i].generate); k++)
            emit_entry(cx, &list, &program->dataset.at[i].generate[k], NULL);
        for (int f = 0; f < program->dataset.at[i].fit.count; f++) {
            ProgramFit *fit = &program->dataset.at[i].fit.at[f];
            emit_entry(cx, &list, &fit->start, NULL);
            emit_entry(cx, &list, &fit->step, NULL);
            emit_entry(cx, &list, &fit->finish, NULL);
        }
    }
    for (int i = 0; i < program->job.count; i++) {
        ProgramJob *job = &program->job.at[i];
        size_t *offset = NEW_ARRAY(cx->arena, size_t, job->state.count + 1);
        for (int s = 0; s < job->state.count; s++)
            offset[s] = job->state.at[s].info.offset;
        Entry *entry[] = {&job->init,     &job->step,          &job->metrics_reset, &job->eval,
                          &job->eval_one, &job->metrics_value, &job->predict,       &job->validated,
                          &job->decode,   &job->prompt};
        job->step.watched = job->eval.watched = job->table.kind == AML_JOB_TRAIN;
        for (size_t e = 0; e < COUNT_OF(entry); e++)
            emit_entry(cx, &list, entry[e], offset);
    }
    return list;
}

Target target_of(const Command *command)
{
    const char *cpu = command->option[OPTION_TARGET], *objects = getenv("AML_OBJECTS");
    return (Target){.cpu = cpu ? cpu : "native",
                    .position_independent = true,
                    .keeps_objects = !objects || strcmp(objects, "no") != 0};
}

static bool generate(Command *command, Program *program, const char *emit_text, Target target,
                     ObjectCode *object)
{
    drop_deploy_functions(program);
    const char *pruned = command->option[OPTION_PRUNED];
    if (pruned && !prune_program(command, program, pruned))
        return false;
    EmitList list = entries_of(program);
    bool good = passes_run(command->cx, program->module, NULL, NULL, NULL);
    if (diag_errors(command->cx)) { // a budget of memory that cannot be met
        finish_diagnostics(command);
        return false;
    }
    return good && codegen_emit(command->cx, program->module, list.at, list.count, target,
                                emit_text, object);
}

// Of a program that trains, which is for one level of processors.
static Target training_target(const Command *command)
{
    Target target = target_of(command);
    target.one_level = true;
    return target;
}

bool generate_program(Command *command, Program *program, const char *emit_text, ObjectCode *object)
{
    return generate(command, program, emit_text, training_target(command), object);
}

typedef struct Building {
    Program *program;
    const char *output;
    ObjectCode object;
    ProgramLink *link; // from the moment when the tables are known
} Building;

static void planned(void *data)
{
    Building *b = data;
    b->link = link_begin(b->program->cx, b->program, &b->object, b->output);
}

bool compile_program(Command *command, Program *program, const char *output)
{
    Building building = {.program = program, .output = output};
    Target target = training_target(command);
    target.planned = planned;
    target.data = &building;
    bool good = generate(command, program, NULL, target, &building.object);
    if (building.link)
        good = link_finish(building.link, good);
    lap_end(command->cx, "link");
    lap_print(command->cx, stderr);
    return good;
}
