// support.h: what tests of the IR share: modules from text, and the comparison of two functions by
// running both.

#ifndef AML_TEST_IR_SUPPORT_H
#define AML_TEST_IR_SUPPORT_H

#include "ir/ir.h"

// A generator for tests: fixed by its seed on every machine.
typedef struct Draw {
    uint64_t state;
} Draw;
uint64_t draw_bits(Draw *draw);
int64_t draw_below(Draw *draw, int64_t limit); // 0..limit-1

// Reads IR text. NULL if it is ill-formed; *messages is what was reported (in cx->arena).
IrModule *module_from_text(Cx *cx, const char *path, const char *text, size_t length,
                           const char **messages);
const char *module_text(Cx *cx, IrModule *module);

// Fills a dense buffer with values that suit the type: small quarters, small integers.
void fill_values(Draw *draw, Type type, void *buffer);

// Runs both functions on the same values. NULL if all results agree: integers exactly, floats up to
// `tolerance` relative to 1 + |value|. Otherwise a sentence (in cx->arena).
const char *functions_differ(Cx *cx, IrFunction *a, IrFunction *b, uint64_t seed, double tolerance);

// A random well-formed function of about `size` instructions, called @random.
IrModule *random_module(Cx *cx, uint64_t seed, int size);

#endif
