// amlc: the compiler of AML. The command line is data (commands.def); this file reads it and calls
// the verb.

#include "driver.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct VerbInfo {
    const char *name, *arguments;
    int least, most;
    const char *meaning;
    int (*run)(Command *command);
} VerbInfo;

static const VerbInfo verb_info[VERB_COUNT] = {
#define VERB(name, arguments, least, most, meaning)                                                \
    [VERB_##name] = {#name, arguments, least, most, meaning, verb_##name},
#include "commands.def"
};

typedef struct OptionInfo {
    const char *name;
    char letter;
    const char *value;
    unsigned verbs; // a bit per Verb; 0: only without a verb
    const char *meaning;
} OptionInfo;

#define V(name) (1u << VERB_##name)
#define ALL_VERBS (~0u)
static const OptionInfo option_info[OPTION_COUNT] = {
#define OPTION(NAME, name, letter, value, verbs, meaning)                                          \
    [OPTION_##NAME] = {name, letter, value, verbs, meaning},
#include "commands.def"
};
#undef V
#undef ALL_VERBS

void say(const Command *command, const char *severity, const char *format, ...)
{
    const char *color = strcmp(severity, "error") == 0     ? "31"
                        : strcmp(severity, "warning") == 0 ? "33"
                                                           : "36";

    if (command->color)
        fprintf(stderr, "amlc: \033[1;%sm%s\033[0m: ", color, severity);
    else
        fprintf(stderr, "amlc: %s: ", severity);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

// ---- help

static void show_options(unsigned verb)
{
    printf("\nOptions:\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        const OptionInfo *option = &option_info[i];
        if (verb ? !(option->verbs & verb) : option->verbs != 0 && option->verbs != ~0u)
            continue;
        char left[64], letter[8] = "    ";
        if (option->letter)
            snprintf(letter, sizeof letter, "-%c, ", option->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->value ? "=" : "",
                 option->value ? option->value : "");
        printf("  %-30s %s\n", left, option->meaning);
    }
}

static void show_help(void)
{
    printf("amlc " AML_VERSION_TEXT
           ": the compiler of AML, a language for whole model pipelines\n\n"
           "Usage: amlc VERB [ARGUMENTS] [OPTIONS]\n\nVerbs:\n");
    for (int i = 0; i < VERB_COUNT; i++)
        printf("  %-8s %-30s %s\n", verb_info[i].name, verb_info[i].arguments,
               verb_info[i].meaning);
    show_options(0);
    printf(
        "\n`amlc VERB --help` shows the options of a verb.\n"
        "Exit codes: 0 success, 1 the input is wrong, 2 wrong command line, 101 a bug in amlc.\n");
}

static void show_verb_help(Verb verb)
{
    const VerbInfo *info = &verb_info[verb];
    printf("Usage: amlc %s %s [OPTIONS]\n\n%c%s.\n", info->name, info->arguments,
           info->meaning[0] - 'a' + 'A', info->meaning + 1);
    show_options(1u << verb);
}

// ---- parsing

static int wrong(const Command *command, const char *format, const char *found, const char *closest)
{
    char text[512];
    // format is one of this file's literals
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, format, found);
#pragma GCC diagnostic pop
    if (closest)
        say(command, "error", "%s; did you mean '%s'?", text, closest);
    else
        say(command, "error", "%s; see `amlc --help`", text);
    return EXIT_USAGE;
}

static int unknown_option(const Command *command, const char *found, size_t length, unsigned verb)
{
    const char *names[OPTION_COUNT];
    int count = 0;
    for (int i = 0; i < OPTION_COUNT; i++)
        if (!verb || (option_info[i].verbs & verb))
            names[count++] = option_info[i].name;
    char word[128];
    snprintf(word, sizeof word, "%.*s", (int)(length < 127 ? length : 127), found);
    const char *closest = length > 1 ? closest_name(word, names, count) : NULL;
    char shown[140];
    snprintf(shown, sizeof shown, "%s%s", length > 1 ? "--" : "-", word);
    if (closest) {
        say(command, "error", "unknown option %s; did you mean --%s?", shown, closest);
        return EXIT_USAGE;
    }
    return wrong(command, "unknown option %s", shown, NULL);
}

static int one_of(const char *value, const char *const names[], int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    return -1;
}

static int bad_value(const Command *command, const char *option, const char *value,
                     const char *const names[], int count)
{
    char list[256] = "";
    for (int i = 0; i < count; i++) {
        strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, names[i], sizeof list - strlen(list) - 1);
    }
    const char *closest = closest_name(value, names, count);
    say(command, "error", "--%s is one of %s, not '%s'%s%s%s", option, list, value,
        closest ? "; did you mean '" : "", closest ? closest : "", closest ? "'?" : "");
    return EXIT_USAGE;
}

static int check_values(Command *command)
{
    static const char *const when[] = {"auto", "always", "never"};

    const char *color = command->option[OPTION_COLOR];
    if (color) {
        int which = one_of(color, when, COUNT_OF(when));
        if (which < 0)
            return bad_value(command, "color", color, when, COUNT_OF(when));
        if (which > 0)
            command->color = which == 1;
    }
    const char *format = command->option[OPTION_FORMAT];
    if (format) {
        int which = one_of(format, message_format_name, FORMAT_COUNT);
        if (which < 0)
            return bad_value(command, "message-format", format, message_format_name, FORMAT_COUNT);
        command->format = (MessageFormat)which;
    }
    static const char *const cpus[] = {TARGET_LEVELS};
    const char *target = command->option[OPTION_TARGET];
    if (target && one_of(target, cpus, COUNT_OF(cpus)) < 0)
        return bad_value(command, "target", target, cpus, COUNT_OF(cpus));
    static const char *const stages[] = {"tokens", "ast", "ir", "llvm", "asm", "program"};
    const char *emit = command->option[OPTION_EMIT];
    if (emit && one_of(emit, stages, COUNT_OF(stages)) < 0 && strncmp(emit, "ir:", 3) != 0)
        return bad_value(command, "emit", emit, stages, COUNT_OF(stages));
    for (int i = 0; i < command->define.count; i++) {
        const char *equals = strchr(command->define.at[i], '=');
        if (!equals || equals == command->define.at[i])
            return wrong(command, "-D needs NAME=VALUE, found '%s'", command->define.at[i], NULL);
        Define define = {sym_intern(command->cx, command->define.at[i],
                                    (size_t)(equals - command->define.at[i])),
                         equals + 1, false};
        vec_push(command->cx->arena, &command->cx->define, define);
    }
    return EXIT_OK;
}

static int not_for_verb(const Command *command, OptionId id)
{
    const char *verb = verb_info[command->verb].name;
    say(command, "error", "`amlc %s` has no option --%s; see `amlc %s --help`", verb,
        option_info[id].name, verb);
    return EXIT_USAGE;
}

static int set_option(Command *command, OptionId id, const char *value)
{
    if (id == OPTION_DEFINE)
        vec_push(command->cx->arena, &command->define, value);
    else
        command->option[id] = value;
    return EXIT_OK;
}

// One word that begins with '-'. *next is the index of the following word; it moves if the option
// takes it as its value.
static int parse_option(Command *command, int argc, char **argv, int *next, unsigned verb)
{
    const char *word = argv[*next - 1];
    const char *value = NULL, *name = word + 2;
    size_t length = strcspn(name, "=");
    int id = -1;

    if (word[1] == '-') {
        for (int i = 0; i < OPTION_COUNT; i++)
            if (strlen(option_info[i].name) == length &&
                strncmp(option_info[i].name, name, length) == 0)
                id = i;
        if (name[length] == '=')
            value = name + length + 1;
    } else {
        name = word + 1;
        length = 1;
        for (int i = 0; i < OPTION_COUNT; i++)
            if (option_info[i].letter && option_info[i].letter == word[1])
                id = i;
        if (word[1] && word[2]) {
            value = word + 2;
            if (id >= 0 && !option_info[id].value)
                return wrong(command, "unknown option '%s'", word, NULL);
        }
    }
    if (id < 0)
        return unknown_option(command, name, length, verb);
    const OptionInfo *option = &option_info[id];
    if (verb && !(option->verbs & verb))
        return not_for_verb(command, (OptionId)id);
    if (!option->value && value)
        return wrong(command, "--%s takes no value", option->name, NULL);
    if (option->value && !value) {
        if (*next >= argc) {
            say(command, "error", "--%s needs a value: %s", option->name, option->value);
            return EXIT_USAGE;
        }
        value = argv[(*next)++];
    }
    return set_option(command, (OptionId)id, value ? value : "");
}

static int list_ops(void)
{
    for (int i = 0; i < OP_COUNT; i++) {
        char inputs[16];
        snprintf(inputs, sizeof inputs, op_info[i].inputs < 0 ? "any" : "%d", op_info[i].inputs);
        printf("%-14s %-4s %s\n", op_info[i].name, inputs, op_info[i].meaning);
    }
    return EXIT_OK;
}

static int find_verb(const Command *command, const char *word, Verb *verb)
{
    const char *names[VERB_COUNT];
    for (int i = 0; i < VERB_COUNT; i++) {
        names[i] = verb_info[i].name;
        if (strcmp(word, names[i]) == 0) {
            *verb = (Verb)i;
            return EXIT_OK;
        }
    }
    return wrong(command, "unknown verb '%s'", word, closest_name(word, names, VERB_COUNT));
}

static int drive(Command *command, int argc, char **argv)
{
    unsigned verb = 0;
    for (int next = 1; next < argc;) {
        const char *word = argv[next++];
        if (strcmp(word, "--") == 0 && verb) {
            while (next < argc)
                vec_push(command->cx->arena, &command->rest, argv[next++]);
        } else if (word[0] == '-' && word[1]) {
            if (!verb && strcmp(word, "--version") == 0)
                return verb_version(command);
            int code = parse_option(command, argc, argv, &next, verb);
            if (code != EXIT_OK)
                return code;
        } else if (!verb) {
            int code = find_verb(command, word, &command->verb);
            if (code != EXIT_OK)
                return code;
            verb = 1u << command->verb;
        } else {
            vec_push(command->cx->arena, &command->argument, word);
        }
    }
    int code = check_values(command);
    if (code != EXIT_OK)
        return code;
    if (command->option[OPTION_LIST_OPS])
        return list_ops();
    if (!verb) {
        bool asked = command->option[OPTION_HELP] != NULL;
        if (!asked)
            return wrong(command, "no verb was given%s", "", NULL);
        show_help();
        return EXIT_OK;
    }
    const VerbInfo *info = &verb_info[command->verb];
    for (int i = 0; i < OPTION_COUNT; i++)
        if (command->option[i] && !(option_info[i].verbs & verb))
            return not_for_verb(command, (OptionId)i);
    if (command->option[OPTION_HELP]) {
        show_verb_help(command->verb);
        return EXIT_OK;
    }
    if (command->option[OPTION_NO_CACHE])
        setenv("AML_OBJECTS", "no", 1); // for the stages that are processes of their own, too
    int count = command->argument.count;
    if (count < info->least || (info->most >= 0 && count > info->most)) {
        say(command, "error", "`amlc %s` needs %s, found %d argument%s", info->name,
            *info->arguments ? info->arguments : "no arguments", count, count == 1 ? "" : "s");
        return EXIT_USAGE;
    }
    return info->run(command);
}

int main(int argc, char **argv)
{
    // LLVM takes and gives back much memory in small pieces: not a page at a time, and none before
    // the end.
    mallopt(M_TOP_PAD, 4 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    Cx *cx = cx_new();
    Command command = {.cx = cx, .format = FORMAT_HUMAN};
    const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");
    command.color = isatty(STDERR_FILENO) && !(no_color && *no_color) &&
                    !(terminal && strcmp(terminal, "dumb") == 0);
    int code = drive(&command, argc, argv);
    if (fflush(stdout) != 0 && code == EXIT_OK) {
        say(&command, "error", "writing to stdout failed");
        code = EXIT_INPUT;
    }
    cx_free(cx);
    return code;
}
