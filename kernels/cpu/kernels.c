// kernels.c: all templates as one translation unit, so that a vector width is one file of bitcode.

#include "dot.c"
#include "conv.c"
#include "conv_pairs.c"
#include "conv_along.c"
#include "conv_last.c"
#include "depthwise.c"
#ifdef AML_QUADS // where a program has products of bytes: a file of bitcode of its own
#include "quads.c"
#include "conv_sized.c"
#include "stored.c"
#endif
#include "attend.c"
#include "attend_pairs.c"
#include "attend_cached.c"
#include "random.c"
#include "math.c"
#include "convert.c"
#include "sort.c"
