// driver.h: the command line of amlc and what its verbs share.
//
// A verb is a function from a Command to an exit code: 0 success, 1 the user's input is wrong, 2
// wrong command line (101, a bug, comes from bug()). Data goes to stdout, messages go to stderr.

#ifndef AML_DRIVER_H
#define AML_DRIVER_H

#include "base/base.h"
#include "compile.h"
#include "diag/diag.h"
#include "link/link.h"

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
    Vec(const char *) rest;           // what stands after `--`
    Vec(const char *) define;         // the -D as they were given
    const char *option[OPTION_COUNT]; // NULL: not given; "" for a flag
    MessageFormat format;
    bool color;
} Command;

#define VERB(name, arguments, least, most, meaning) int verb_##name(Command *command);
#include "commands.def"

// driver.c
//
// Prints "amlc: error: ..." (or "warning", "note") to stderr.
void say(const Command *command, const char *severity, const char *format, ...) AML_PRINTF(3, 4);

// driver_compile.c: the stages in order.
//
// Prints what was reported so far, where and how the command line asks. Returns EXIT_INPUT if there
// were errors.
int finish_diagnostics(Command *command);
// Loads and elaborates the file. NULL after errors (reported, not yet printed).
Program *compile_front(Command *command, const char *path);
// Passes and code of everything but the deploy blocks; emit_text as for codegen_emit.
bool generate_program(Command *command, Program *program, const char *emit_text,
                      ObjectCode *object);
void drop_deploy_functions(Program *program); // from the module: they have no weights yet
bool compile_program(Command *command, Program *program, const char *output); // the same, linked
Target target_of(const Command *command);
const char *program_name(Cx *cx, const char *path); // digits of some/folder/digits.aml
// Where the executable goes by default: the program's name; NAME-train if a deploy block has that
// name and will want it.
const char *default_output(const Program *program);
const char *source_path_text(Cx *cx, const Program *program,
                             const aml_text *text); // options at their defaults

// driver_fit.c: `report --fit`. An exit code.
int report_fit(Command *command, const Program *program);

// driver.c
// Files that `load` names: their headers are compared with the model while compiling, if they are
// there; the program does it again when it starts.
void check_weights_files(Cx *cx, const Program *program);
const char *size_text(Cx *cx, double bytes); // 12.5 KiB
double seconds_now(void);

// driver_prune.c: makes the program that of a pruned model, by the plan in the file `path`. False
// after an error.
// The same plan, before anything is elaborated: who teaches.
void prune_teaching(Command *command);
bool prune_program(Command *command, Program *program, const char *path);

// driver_deploy.c: the deploy block `deploy` of a loaded program. An exit code; figures go to
// stderr.
typedef struct DeployRequest {
    const char *source; // the .aml file
    const char *output; // the executable; NAME.so and NAME.h go beside it
    const char *runs;   // the folder of the runs
    const char *data;   // rows to compare with; NULL: the data set's own
} DeployRequest;
int deploy_block(Command *command, Program *program, const ProgramDeploy *deploy,
                 const DeployRequest *request);

#endif
