// driver.h: the command line of amlc and what its verbs share.
//
// A verb is a function from a Command to an exit code: 0 success, 1 the user's input is wrong, 2 wrong command line
// (101, a bug, comes from bug()). Data goes to stdout, messages go to stderr.

#ifndef AML_DRIVER_H
#define AML_DRIVER_H

#include "base/base.h"
#include "compile.h"
#include "diag/diag.h"

enum { EXIT_OK = 0, EXIT_INPUT = 1, EXIT_USAGE = 2 };

typedef enum Verb {
#define VERB(name, arguments, least, most, meaning) VERB_##name,
#include "commands.def"
    VERB_COUNT
} Verb;

typedef enum OptionId {
#define OPTION(NAME, name, letter, value, verbs, meaning) OPTION_##NAME,
#include "commands.def"
    OPTION_COUNT
} OptionId;

typedef struct Command {
    Cx *cx;
    Verb verb;
    Vec(const char *) argument;
    Vec(const char *) rest;             // what stands after `--`
    Vec(const char *) define;           // the -D as they were given
    const char *option[OPTION_COUNT];   // NULL: not given; "" for a flag
    MessageFormat format;
    bool color;
} Command;

#define VERB(name, arguments, least, most, meaning) int verb_##name(Command *command);
#include "commands.def"

// driver.c
//
// Prints "amlc: error: ..." (or "warning", "note") to stderr.
void say(const Command *command, const char *severity, const char *format, ...) AML_PRINTF(3, 4);
#define AMLC_VERSION "0.1.0"

// driver_compile.c: the stages in order.
//
// Prints what was reported so far, where and how the command line asks. Returns EXIT_INPUT if there were errors.
int finish_diagnostics(Command *command);
// Loads and elaborates the file. NULL after errors (reported, not yet printed).
Program *compile_front(Command *command, const char *path);
// Passes, code and link of everything but the deploy blocks, into `output`. False after telling why.
bool compile_program(Command *command, Program *program, const char *output);
const char *program_name(Cx *cx, const char *path);     // digits of some/folder/digits.aml
const char *join_path(Cx *cx, const char *folder, const char *name);
// The data files that the program names, as found (beside the source, here, under $AML_DATA), or NULL where missing.
const char *find_data(Cx *cx, const char *path);
const char *source_path_text(Cx *cx, const Program *program, const aml_text *text); // options at their defaults

// driver_deploy.c: one deploy block. `quiet` leaves out the table of figures.
int deploy_block(Command *command, const char *file, const char *name, const char *output, const char *runs);

// process.c (link/): see link/link.h
#endif
