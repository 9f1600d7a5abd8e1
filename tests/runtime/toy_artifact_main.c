// The deployed toy.

#include "toy.h"

int main(int argc, char **argv)
{
    return aml_artifact_main(&toy_artifact, argc, argv);
}
