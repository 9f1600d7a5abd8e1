// expand.c: the effective program as text: every option, constant and setting with its value and
// where it came from.

#include "elab/job.h"

#include "aml/text.h"

#include <string.h>

static void print_doc(const char *doc, const char *indent, FILE *out)
{
    while (doc && *doc) {
        const char *end = strchr(doc, '\n');
        int length = end ? (int)(end - doc) : (int)strlen(doc);
        fprintf(out, "%s/// %.*s\n", indent, length, doc);
        doc = end ? end + 1 : NULL;
    }
}

static void print_option(const Program *program, const aml_option *option, FILE *out)
{
    print_doc(option->doc, "", out);
    fprintf(out, "option %s = ", option->name);
    switch (option->type) {
    case AML_OPTION_BOOL:
        fprintf(out, "%s", option->value.whole ? "true" : "false");
        break;
    case AML_OPTION_INT:
        fprintf(out, "%lld", (long long)option->value.whole);
        break;
    case AML_OPTION_REAL:
        fprintf(out, "%.9g", option->value.real);
        break;
    case AML_OPTION_TEXT:
        fprintf(out, "\"%s\"", option->text ? option->text : "");
        break;
    case AML_OPTION_FRACTION:
        fprintf(out, "%.9g%%", option->value.real * 100);
        break;
    case AML_OPTION_BYTES:
        fprintf(out, "%.17g B", option->value.real);
        break;
    case AML_OPTION_DURATION:
        fprintf(out, "%.9g %s", option->value.real,
                option->unit == AML_UNIT_EPOCHS    ? "epochs"
                : option->unit == AML_UNIT_SECONDS ? "s"
                                                   : "steps");
        break;
    }
    fprintf(out, "    // default at %s; ./%s --%s\n", option->place,
            program->table.name ? program->table.name : "program", option->name);
}

static void print_figures(const Program *program, const char *block, FILE *out)
{
    for (int i = 0; i < program->job.count; i++) {
        const ProgramJob *job = &program->job.at[i];
        if (strcmp(block, sym_printf(program->cx, "%s %s",
                                     job->table.kind == AML_JOB_TRAIN ? "train" : "evaluate",
                                     job->table.name)) != 0)
            continue;
        for (int s = 0; s < job->state.count; s++) {
            const aml_state_info *info = &job->state.at[s].info;
            static const char *const role[] = {"weight", "state", "optimizer", "metric"};
            int64_t parts = aml_state_parts(info);
            for (int64_t part = 0; part < parts; part++) {
                aml_tensor_info tensor;
                char name[1024], type[160];
                aml_state_part(info, part, &tensor, name, sizeof name);
                aml_shape_text(tensor.dtype, &tensor.shape, type, sizeof type);
                fprintf(out, "  // %-9s %s: %s\n", role[info->role], name, type);
            }
        }
    }
}

void expand_print(Cx *cx, Program *program, FILE *out)
{
    (void)cx;
    fprintf(out, "aml 1\n\n");
    for (int i = 0; i < program->fixed.count; i++) {
        const aml_fixed *fixed = &program->fixed.at[i];
        print_doc(fixed->doc, "", out);
        fprintf(out, "const %s = %s    // %s\n", fixed->name, fixed->value, fixed->place);
    }
    for (int i = 0; i < program->option.count; i++)
        print_option(program, &program->option.at[i], out);
    const char *block = NULL;
    for (int i = 0; i < program->effective.count; i++) {
        const aml_effective *row = &program->effective.at[i];
        if (!block || strcmp(block, row->block) != 0) {
            if (block) {
                print_figures(program, block, out);
                fprintf(out, "}\n");
            }
            fprintf(out, "\n%s {\n", row->block);
            block = row->block;
        }
        fprintf(out, "  %s: %s    // %s\n", row->setting, row->value, row->origin);
    }
    if (block) {
        print_figures(program, block, out);
        fprintf(out, "}\n");
    }
}
