// The toy program as an executable; `toy data-file PATH ROWS` writes its data.

#include <stdlib.h>
#include <string.h>

#include "toy.h"

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "data-file") == 0) {
        toy_write_data(argv[2], atoi(argv[3]));
        return 0;
    }
    return aml_program_main(&toy_program, argc, argv);
}
