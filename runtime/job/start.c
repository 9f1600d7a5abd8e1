// start.c: the main function of a compiled program. Its table is the one symbol of the object that
// the compiler makes of tables.

#include "aml/program.h"

extern const aml_program amli_program;

int main(int argc, char **argv)
{
    return aml_program_main(&amli_program, argc, argv);
}
