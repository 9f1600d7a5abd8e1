// decode.h: from a model of sequences to a function of one more element.
//
// A model that gives scores [1, t, k] for tokens [1, t] computes everything again for each token
// that is generated. decode_derive makes a function that computes one position, at `position`, and
// keeps what later positions will ask for in caches: states that begin as zeros.

#ifndef AML_ELAB_DECODE_H
#define AML_ELAB_DECODE_H

#include "ir/ir.h"

typedef struct DecodeCache {
    Type type;
    const char *name; // of the instruction whose results it keeps, for people
    Span span;
} DecodeCache;

typedef struct Decode {
    IrFunction *fn;         // NULL: it cannot be derived, `why` at `where`
    Vec(DecodeCache) cache; // in the order of their state rows, which begin at first_row
    bool exact;
    const char *why;
    Span where;
} Decode;

// `forward`: its input 0 is i32[1, t], its result is [1, t, k], other parameters are weights and
// scalars. The function has the same states and scalars, the input i32[1, 1], one scalar more (the
// position, i64) behind the others, and the result [k]. It agrees with forward at every position if
// position 0, 1, 2, ... are given one after the other.
//
// With a width above 1 its input is i32[1, width], tokens from the position on, and its result that
// of the last of them; it fills the same caches. Unless it is `exact`, there may be fewer tokens,
// at least one: the others are negative.
Decode decode_derive(Cx *cx, IrModule *module, const IrFunction *forward, Sym name, int first_row,
                     int64_t width);

#endif
