// ./prog help: every verb, every option with its type, default and documentation, and every const
// with where it was fixed.

#include <string.h>

#include "runtime/job/job.h"

static const char *option_type(aml_option_type type)
{
    switch (type) {
    case AML_OPTION_BOOL:
        return "bool";
    case AML_OPTION_INT:
        return "int";
    case AML_OPTION_REAL:
        return "float";
    case AML_OPTION_TEXT:
        return "string";
    case AML_OPTION_DURATION:
        return "duration";
    case AML_OPTION_FRACTION:
        return "fraction";
    case AML_OPTION_BYTES:
        return "bytes";
    }
    return "?";
}

static const char *default_text(const aml_option *option, char *text, size_t room)
{
    char number[40];
    switch (option->type) {
    case AML_OPTION_BOOL:
        return option->value.whole ? "true" : "false";
    case AML_OPTION_INT:
        snprintf(text, room, "%lld", (long long)option->value.whole);
        break;
    case AML_OPTION_TEXT:
        snprintf(text, room, "\"%s\"", option->text ? option->text : "");
        break;
    case AML_OPTION_REAL:
    case AML_OPTION_FRACTION:
        amli_real_text(option->value.real, text, room);
        break;
    case AML_OPTION_DURATION:
        snprintf(text, room, "%s %s", amli_real_text(option->value.real, number, sizeof number),
                 amli_unit_text(option->unit));
        break;
    case AML_OPTION_BYTES:
        amli_bytes_text(option->value.real, text, room);
        break;
    }
    return text;
}

// The first line of a documentation comment.
static void print_doc(FILE *out, const char *doc)
{
    if (doc && *doc)
        fprintf(out, "  %.*s", (int)strcspn(doc, "\n"), doc);
}

void amli_help(const aml_program *program, const char *name, FILE *out)
{
    fprintf(out, "%s: ", program->name);
    if (program->doc && *program->doc)
        fprintf(out, "%s\n", program->doc);
    else
        fprintf(out, "compiled from %s\n", program->source);
    fprintf(out, "\nusage: %s VERB [options]\n\n", name);
#define VERB(NAME, text, arguments, least, most, meaning)                                          \
    fprintf(out, "  %-9s %-8s %s\n", #text, arguments, meaning);
#include "runtime/job/verbs.def"
#undef VERB
    if (program->jobs) {
        fprintf(out, "\njobs\n");
        for (int i = 0; i < program->jobs; i++) {
            const aml_job *job = &program->job[i];
            fprintf(out, "  %-8s %-20s", amli_job_kind(job), job->name);
            print_doc(out, job->doc);
            fprintf(out, "  (%s)\n", job->place ? job->place : "?");
        }
    }
    if (program->options) {
        fprintf(out, "\noptions of this program\n");
        for (int i = 0; i < program->options; i++) {
            char text[512];
            const aml_option *option = &program->option[i];
            int used = fprintf(out, "  --%s %s", option->name, option_type(option->type));
            fprintf(out, "%*s= %s", used < 26 ? 26 - used : 1, "",
                    default_text(option, text, sizeof text));
            print_doc(out, option->doc);
            fprintf(out, "  (%s)\n", option->place ? option->place : "?");
        }
    }
    if (program->fixeds) {
        fprintf(out, "\nfixed when it was built (amlc build %s -D name=value)\n", program->source);
        for (int i = 0; i < program->fixeds; i++) {
            int used = fprintf(out, "  %s", program->fixed[i].name);
            fprintf(out, "%*s= %s", used < 26 ? 26 - used : 1, "", program->fixed[i].value);
            print_doc(out, program->fixed[i].doc);
            fprintf(out, "  (%s)\n", program->fixed[i].place ? program->fixed[i].place : "?");
        }
    }
    fprintf(out, "\noptions of every program\n");
#define OPTION(option, argument, verbs, meaning)                                                   \
    {                                                                                              \
        const char *argument_text = argument;                                                      \
        int used = fprintf(out, "  --%s %s", #option, argument_text ? argument_text : "");         \
        fprintf(out, "%*s%s\n", used < 26 ? 26 - used : 1, "", meaning);                           \
    }
#include "runtime/job/options.def"
#undef OPTION
    fprintf(out, "\nexit codes: 0 done; 1 wrong data, checkpoint or setting; 2 wrong command line; "
                 "130 or 143 interrupted after a "
                 "complete checkpoint\n");
}
