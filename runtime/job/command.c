// The command line: a verb, then options in any order. Options of the program and of every program
// are looked up in one place, so both have the same errors.

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/job/job.h"

enum {
#define VERB(NAME, name, arguments, least, most, meaning) NAME = 1 << AMLI_VERB_##NAME,
#include "runtime/job/verbs.def"
#undef VERB
};

typedef enum {
#define OPTION(name, argument, verbs, meaning) OPTION_##name,
#include "runtime/job/options.def"
#undef OPTION
    OPTIONS
} Option;

static const struct {
    const char *name, *argument;
    unsigned verbs;
} option_info[OPTIONS] = {
#define OPTION(name, argument, verbs, meaning) [OPTION_##name] = {#name, argument, verbs},
#include "runtime/job/options.def"
#undef OPTION
};

static const struct {
    const char *name, *arguments;
    int least, most;
} verb_info[AMLI_VERBS] = {
#define VERB(NAME, name, arguments, least, most, meaning)                                          \
    [AMLI_VERB_##NAME] = {#name, arguments, least, most},
#include "runtime/job/verbs.def"
#undef VERB
};

static const char *type_text(aml_option_type type)
{
    switch (type) {
    case AML_OPTION_BOOL:
        return "true or false";
    case AML_OPTION_INT:
        return "a whole number";
    case AML_OPTION_REAL:
        return "a number";
    case AML_OPTION_TEXT:
        return "a text";
    case AML_OPTION_DURATION:
        return "a duration, such as \"10 epochs\", \"500 steps\" or \"30 min\"";
    case AML_OPTION_FRACTION:
        return "a fraction, such as 5% or 0.05";
    case AML_OPTION_BYTES:
        return "a size, such as \"256 KiB\"";
    }
    return "a value";
}

static aml_status bad_value(const aml_option *option, const char *text, const char *why,
                            aml_error *error)
{
    return amli_fail(error, AML_USAGE, "--%s: expected %s, found \"%s\"%s%s (declared at %s)",
                     option->name, type_text(option->type), text, why ? ": " : "", why ? why : "",
                     option->place ? option->place : "?");
}

aml_status amli_set_option(amli_command *command, int index, const char *text, aml_error *error)
{
    const aml_option *option = &command->program->option[index];
    double number = 0;
    aml_unit unit = AML_UNIT_NONE;
    bool is_number = amli_parse_quantity(text, &number, &unit);
    aml_value *value = &command->value[index];
    switch (option->type) {
    case AML_OPTION_TEXT:
        command->text[index] = text;
        break;
    case AML_OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return bad_value(option, text, NULL, error);
        value->whole = text[0] == 't';
        break;
    case AML_OPTION_INT:
        if (!is_number || unit != AML_UNIT_NONE || number != floor(number) ||
            fabs(number) > 9007199254740992.0)
            return bad_value(option, text, NULL, error);
        value->whole = (int64_t)number;
        break;
    case AML_OPTION_REAL:
        if (!is_number || (unit != AML_UNIT_NONE && unit != AML_UNIT_FRACTION))
            return bad_value(option, text, NULL, error);
        value->real = number;
        break;
    case AML_OPTION_DURATION:
        if (!is_number)
            return bad_value(option, text, NULL, error);
        if (unit != AML_UNIT_STEPS && unit != AML_UNIT_EPOCHS && unit != AML_UNIT_SECONDS)
            return bad_value(option, text,
                             unit == AML_UNIT_NONE ? "a unit is missing" : "it has another unit",
                             error);
        if (!(number >= 0))
            return bad_value(option, text, "it is negative", error);
        value->real = number;
        command->unit[index] = unit;
        break;
    case AML_OPTION_FRACTION:
        if (!is_number || (unit != AML_UNIT_NONE && unit != AML_UNIT_FRACTION))
            return bad_value(option, text, NULL, error);
        value->real = number;
        break;
    case AML_OPTION_BYTES:
        if (!is_number || (unit != AML_UNIT_NONE && unit != AML_UNIT_BYTES) || !(number >= 0))
            return bad_value(option, text, NULL, error);
        value->real = number;
        break;
    }
    command->given[index] = text;
    return AML_OK;
}

// Option names are equal whether they are written with '-' or '_'.
static bool same_name(const char *a, size_t length, const char *b)
{
    if (strlen(b) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((a[i] == '-' ? '_' : a[i]) != b[i])
            return false;
    return true;
}

static aml_status unknown_option(const amli_command *command, const char *name, size_t length,
                                 const char *value, aml_error *error)
{
    const aml_program *program = command->program;
    for (int i = 0; i < program->fixeds; i++)
        if (same_name(name, length, program->fixed[i].name))
            return amli_fail(
                error, AML_USAGE,
                "--%.*s: %s is a const, fixed at %s when this program was built: it is %s\n"
                "help: build it with another value: amlc build %s -D %s=%s",
                (int)length, name, program->fixed[i].name, program->fixed[i].place,
                program->fixed[i].value, program->source, program->fixed[i].name,
                value ? value : "VALUE");
    const char **names = calloc((size_t)program->options + OPTIONS, sizeof *names);
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)length, name);
    for (char *c = word; *c; c++)
        if (*c == '-')
            *c = '_';
    const char *near = NULL;
    if (names) {
        int count = 0;
        for (int i = 0; i < program->options; i++)
            names[count++] = program->option[i].name;
        for (int i = 0; i < OPTIONS; i++)
            if (option_info[i].verbs >> command->verb & 1)
                names[count++] = option_info[i].name;
        near = amli_closest(word, names, count);
    }
    aml_status status =
        amli_fail(error, AML_USAGE, "unknown option --%.*s%s%s%s", (int)length, name,
                  near ? "\nhelp: did you mean --" : "",
                  near ? near : "\nhelp: `help` lists all options", near ? "?" : "");
    free(names);
    return status;
}

static aml_status whole_number(const char *name, const char *text, int64_t least, int64_t *out,
                               aml_error *error)
{
    double number;
    aml_unit unit;
    if (!amli_parse_quantity(text, &number, &unit) || unit != AML_UNIT_NONE ||
        number != floor(number) || number < (double)least || number > 9007199254740992.0)
        return amli_fail(error, AML_USAGE,
                         "--%s: expected a whole number of at least %lld, found \"%s\"", name,
                         (long long)least, text);
    *out = (int64_t)number;
    return AML_OK;
}

// A number of at least 0; a share is above 0 and at most 1, or a percentage.
static aml_status real_number(const char *name, const char *text, bool share, double *out,
                              aml_error *error)
{
    double number;
    aml_unit unit;
    bool good = amli_parse_quantity(text, &number, &unit) && isfinite(number) &&
                (unit == AML_UNIT_NONE || (share && unit == AML_UNIT_FRACTION));
    if (!good || (share ? !(number > 0 && number <= 1) : !(number >= 0)))
        return amli_fail(error, AML_USAGE, "--%s: expected %s, found \"%s\"", name,
                         share ? "a share above 0 and at most 1, such as 0.9 or 90%"
                               : "a number that is not negative",
                         text);
    *out = number;
    return AML_OK;
}

static aml_status time_limit(const char *text, double *out, aml_error *error)
{
    aml_unit unit;
    if (!amli_parse_quantity(text, out, &unit) || unit != AML_UNIT_SECONDS || !(*out > 0))
        return amli_fail(
            error, AML_USAGE,
            "--time-limit: expected a time, such as \"30 min\" or \"2 h\", found \"%s\"", text);
    return AML_OK;
}

// Applies an option that every program has. `text` is NULL where it has no argument.
static aml_status apply(amli_command *command, Option option, const char *text, aml_error *error)
{
    int64_t number;
    aml_status status = AML_OK;
    switch (option) {
    case OPTION_threads:
        status = whole_number("threads", text, 1, &number, error);
        if (!status && number > 4096)
            status =
                amli_fail(error, AML_USAGE, "--threads: expected at most 4096, found \"%s\"", text);
        command->threads = status ? 0 : (int)number;
        break;
    case OPTION_seed:
        status = whole_number("seed", text, 0, &command->seed, error);
        command->has_seed = true;
        break;
    case OPTION_resume:
        command->resume = true;
        command->resume_run = text;
        break;
    case OPTION_find_lr:
        command->find_lr = true;
        command->find_range = text;
        break;
    case OPTION_folds:
        status = whole_number("folds", text, 2, &command->folds, error);
        if (!status && command->folds > 1000)
            status =
                amli_fail(error, AML_USAGE, "--folds: expected at most 1000, found \"%s\"", text);
        break;
    case OPTION_shared:
        command->shared = true;
        break;
    case OPTION_no_cache:
        command->no_cache = true;
        break;
    case OPTION_all:
        command->all = true;
        break;
    case OPTION_curve:
        command->curve = text;
        break;
    case OPTION_prompt:
        command->prompt = text;
        break;
    case OPTION_score:
        command->score = text;
        break;
    case OPTION_length:
        status = whole_number("length", text, 1, &command->length, error);
        break;
    case OPTION_top_k:
        status = whole_number("top_k", text, 1, &command->top_k, error);
        break;
    case OPTION_temperature:
        status = real_number("temperature", text, false, &command->temperature, error);
        break;
    case OPTION_top_p:
        status = real_number("top_p", text, true, &command->top_p, error);
        break;
    case OPTION_loaders:
        status = whole_number("loaders", text, 0, &number, error);
        if (!status && number > 4096)
            status =
                amli_fail(error, AML_USAGE, "--loaders: expected at most 4096, found \"%s\"", text);
        command->loaders = status ? -1 : (int)number;
        break;
    case OPTION_overfit:
        status = whole_number("overfit", text, 1, &command->overfit, error);
        break;
    case OPTION_steps:
        status = whole_number("steps", text, 0, &command->steps, error);
        command->has_steps = true;
        break;
    case OPTION_checkpoint:
        command->checkpoint = text;
        break;
    case OPTION_job:
        command->job = text;
        break;
    case OPTION_part:
        command->part = text;
        break;
    case OPTION_samples:
        status = whole_number("samples", text, 1, &command->samples, error);
        break;
    case OPTION_output:
        command->output = text;
        break;
    case OPTION_held_out:
        status = whole_number("held_out", text, 1, &command->held_out, error);
        break;
    case OPTION_runs:
        command->runs = text;
        break;
    case OPTION_json:
        command->json = true;
        break;
    case OPTION_prepared:
        command->prepared = true;
        break;
    case OPTION_tensorboard:
        command->tensorboard = true;
        break;
    case OPTION_profile:
        command->profile = true;
        break;
    case OPTION_time_limit:
        status = time_limit(text, &command->time_limit, error);
        break;
    case OPTION_quiet:
        command->quiet = true;
        break;
    case OPTION_help:
        command->help = true;
        break;
    case OPTIONS:
        break;
    }
    return status;
}

static aml_status find_verb(amli_command *command, const char *text, aml_error *error)
{
    const char *names[AMLI_VERBS];
    for (int i = 0; i < AMLI_VERBS; i++) {
        names[i] = verb_info[i].name;
        if (strcmp(names[i], text) == 0) {
            command->verb = (amli_verb)i;
            return AML_OK;
        }
    }
    const aml_program *program = command->program;
    for (int i = 0; i < program->jobs; i++)
        if (program->job[i].kind == AML_JOB_GENERATE && strcmp(program->job[i].name, text) == 0) {
            command->verb = AMLI_VERB_GENERATE;
            command->argument = program->job[i].name;
            return AML_OK;
        }
    const char *near = amli_closest(text, names, AMLI_VERBS);
    for (int i = 0; i < program->jobs && !near; i++)
        if (program->job[i].kind == AML_JOB_GENERATE)
            near = amli_closest(text, &program->job[i].name, 1);
    return amli_fail(error, AML_USAGE, "unknown verb \"%s\"%s%s%s", text,
                     near ? "\nhelp: did you mean " : "\nhelp: `help` lists all verbs",
                     near ? near : "", near ? "?" : "");
}

static bool is_job(const aml_program *program, const char *name)
{
    for (int i = 0; i < program->jobs; i++)
        if (strcmp(program->job[i].name, name) == 0)
            return true;
    return false;
}

// One option at argv[*at]; leaves *at at the last argument that it took.
static aml_status parse_option(amli_command *command, int argc, char **argv, int *at,
                               aml_error *error)
{
    const aml_program *program = command->program;
    const char *name = strcmp(argv[*at], "-h") == 0   ? "help"
                       : strcmp(argv[*at], "-o") == 0 ? "output"
                                                      : NULL,
               *inline_value = NULL;
    size_t length;
    if (name) {
        length = strlen(name);
    } else {
        if (argv[*at][1] != '-')
            return amli_fail(error, AML_USAGE, "unknown option %s\nhelp: options begin with --",
                             argv[*at]);
        name = argv[*at] + 2;
        length = strcspn(name, "=");
        inline_value = name[length] ? name + length + 1 : NULL;
    }
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    bool of_verb = false; // a generation's own options come first, as its block's settings do
    for (int i = 0; i < OPTIONS && command->verb == AMLI_VERB_GENERATE; i++)
        of_verb |= same_name(name, length, option_info[i].name) &&
                   (option_info[i].verbs >> command->verb & 1);
    for (int i = 0; i < program->options && !of_verb; i++) {
        if (!same_name(name, length, program->option[i].name))
            continue;
        const char *text = inline_value ? inline_value : next;
        bool is_flag = program->option[i].type == AML_OPTION_BOOL;
        if (is_flag && !inline_value &&
            (!next || (strcmp(next, "true") != 0 && strcmp(next, "false") != 0)))
            return amli_set_option(command, i, "true", error);
        if (!text)
            return amli_fail(error, AML_USAGE, "--%s needs %s behind it", program->option[i].name,
                             type_text(program->option[i].type));
        *at += !inline_value;
        return amli_set_option(command, i, text, error);
    }
    for (int i = 0; i < OPTIONS; i++) {
        if (!same_name(name, length, option_info[i].name))
            continue;
        if (!(option_info[i].verbs >> command->verb & 1))
            return amli_fail(error, AML_USAGE, "--%s does not belong to %s", option_info[i].name,
                             verb_info[command->verb].name);
        const char *argument = option_info[i].argument;
        if (!argument && inline_value)
            return amli_fail(error, AML_USAGE, "--%s takes no value, found \"%s\"",
                             option_info[i].name, inline_value);
        if (!argument)
            return apply(command, (Option)i, NULL, error);
        bool optional = argument[0] == '[';
        if (!inline_value && (!next || (optional && (next[0] == '-' || is_job(program, next))))) {
            if (optional)
                return apply(command, (Option)i, NULL, error);
            return amli_fail(error, AML_USAGE, "--%s needs %s behind it", option_info[i].name,
                             argument);
        }
        *at += !inline_value;
        return apply(command, (Option)i, inline_value ? inline_value : next, error);
    }
    return unknown_option(command, name, length,
                          inline_value             ? inline_value
                          : next && next[0] != '-' ? next
                                                   : NULL,
                          error);
}

aml_status amli_command_parse(const aml_program *program, int argc, char **argv,
                              amli_command *command, aml_error *error)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    *command = (amli_command){.program = program,
                              .loaders = -1,
                              .name = slash      ? slash + 1
                                      : argc > 0 ? argv[0]
                                                 : program->name,
                              .verb = AMLI_VERB_HELP,
                              .temperature = -1,
                              .top_p = -1,
                              .runs = "runs"};
    size_t options = (size_t)program->options + 1;
    command->value = calloc(options, sizeof *command->value);
    command->unit = calloc(options, sizeof *command->unit);
    command->text = calloc(options, sizeof *command->text);
    command->given = calloc(options, sizeof *command->given);
    if (!command->value || !command->unit || !command->text || !command->given)
        return amli_no_memory(error, options * sizeof *command->value, "the options");
    for (int i = 0; i < program->options; i++) {
        command->value[i] = program->option[i].value;
        command->unit[i] = program->option[i].unit;
        command->text[i] = program->option[i].text;
    }
    if (argc < 2)
        return AML_OK;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        command->help = true;
        return AML_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        command->verb = AMLI_VERB_VERSION;
        return AML_OK;
    }
    if (argv[1][0] == '-')
        return amli_fail(error, AML_USAGE, "expected a verb before %s, such as `%s train %s`",
                         argv[1], command->name, argv[1]);
    aml_status status = find_verb(command, argv[1], error);
    int arguments = command->argument != NULL; // the name of a generate block is a verb
    bool only_arguments = false;
    for (int at = 2; at < argc && !status; at++) {
        if (!only_arguments && strcmp(argv[at], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && argv[at][0] == '-' && argv[at][1]) {
            status = parse_option(command, argc, argv, &at, error);
        } else if (++arguments > verb_info[command->verb].most) {
            status =
                amli_fail(error, AML_USAGE, "%s takes %s, found \"%s\" as well",
                          verb_info[command->verb].name,
                          verb_info[command->verb].most ? "one argument" : "no argument", argv[at]);
        } else if (command->verb == AMLI_VERB_DATA && arguments == 2) {
            status =
                strcmp(command->argument, "head") == 0
                    ? whole_number("data head", argv[at], 1, &command->head, error)
                    : amli_fail(error, AML_USAGE, "data %s takes nothing, found \"%s\" as well",
                                command->argument, argv[at]);
        } else {
            command->argument = argv[at];
        }
    }
    if (!status && !command->help && arguments < verb_info[command->verb].least)
        status = amli_fail(error, AML_USAGE, "%s needs %s behind it", verb_info[command->verb].name,
                           verb_info[command->verb].arguments);
    if (!status && !command->help && command->verb == AMLI_VERB_PREDICT &&
        (arguments == 0) == (command->held_out == 0))
        status = amli_fail(error, AML_USAGE,
                           arguments ? "predict takes FILE or --held_out N, not both"
                                     : "predict needs FILE behind it, or --held_out N");
    return status;
}

void amli_command_free(amli_command *command)
{
    free(command->value);
    free(command->unit);
    free(command->text);
    free(command->given);
    *command = (amli_command){0};
}

aml_status amli_text_value(const amli_command *command, const aml_text *text, char value[PATH_MAX],
                           aml_error *error)
{
    size_t used = 0;
    value[0] = 0;
    for (int i = 0; i < text->parts; i++) {
        const char *part =
            text->part[i].option >= 0 ? command->text[text->part[i].option] : text->part[i].text;
        size_t length = part ? strlen(part) : 0;
        if (used + length >= PATH_MAX)
            return amli_fail(error, AML_INVALID, "the path %.200s%.200s... is too long", value,
                             part ? part : "");
        memcpy(value + used, part ? part : "", length + (part != NULL));
        used += length;
    }
    return AML_OK;
}

void amli_quantity_value(const amli_command *command, const aml_quantity *quantity, double *value,
                         aml_unit *unit)
{
    *value = quantity->value;
    *unit = quantity->unit;
    if (quantity->option < 0)
        return;
    const aml_option *option = &command->program->option[quantity->option];
    bool whole = option->type == AML_OPTION_INT || option->type == AML_OPTION_BOOL;
    *value = whole ? (double)command->value[quantity->option].whole
                   : command->value[quantity->option].real;
    *unit = command->unit[quantity->option];
}

static const char *const kind_name[] = {
    [AML_JOB_TRAIN] = "train", [AML_JOB_EVALUATE] = "evaluate", [AML_JOB_GENERATE] = "generate"};

const char *amli_job_kind(const aml_job *job)
{
    return kind_name[job->kind];
}

aml_status amli_find_job(const amli_command *command, aml_job_kind kind, const char *name,
                         const aml_job **out, aml_error *error)
{
    const aml_program *program = command->program;
    const char *what = kind_name[kind];
    const char **names = calloc((size_t)program->jobs + 1, sizeof *names);
    int count = 0;
    char list[1024] = "";
    size_t used = 0;
    *out = NULL;
    if (!names)
        return amli_no_memory(error, (size_t)program->jobs, "the names of jobs");
    for (int i = 0; i < program->jobs; i++) {
        if (program->job[i].kind != kind)
            continue;
        if (!name || strcmp(program->job[i].name, name) == 0)
            *out = &program->job[i];
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "",
                                     program->job[i].name);
        names[count++] = program->job[i].name;
    }
    const char *near = name ? amli_closest(name, names, count) : NULL;
    aml_status status = AML_OK;
    if (count == 0)
        status =
            amli_fail(error, AML_USAGE, "this program has no %s block (%s)", what, program->source);
    else if (name && !*out)
        status = amli_fail(error, AML_USAGE, "there is no %s block \"%s\"; there is %s%s%s%s", what,
                           name, list, near ? "\nhelp: did you mean " : "", near ? near : "",
                           near ? "?" : "");
    else if (!name && count > 1)
        status =
            amli_fail(error, AML_USAGE, "this program has several %s blocks: say which of %s%s",
                      what, list, command->verb == AMLI_VERB_PREDICT ? " with --job NAME" : "");
    free(names);
    if (status)
        *out = NULL;
    return status;
}
