// kernels.c: all templates as one translation unit, so that a vector width is one file of bitcode.

#include "dot.c"
#include "conv.c"
#include "random.c"
#include "math.c"
#include "convert.c"
#include "sort.c"
