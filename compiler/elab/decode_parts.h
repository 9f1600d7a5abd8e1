// decode_parts.h: what the files of decode.c share.
//
//   decode.c        what is asked for is made: leaves, operations, caches, attention, the function
//   decode_flat.c   forward without calls, and where time goes in it
//   decode_loop.c   loops that carry slices, and loops through time
//   decode_known.c  what is known of elements beyond the position

#ifndef AML_ELAB_DECODE_PARTS_H
#define AML_ELAB_DECODE_PARTS_H

#include "elab/decode.h"
#include "elab/decode_known.h"

// The attributes of a loop, in the order of ops.def.
enum { LOOP_COUNT, LOOP_CARRIED, LOOP_SLICED, LOOP_BODY, LOOP_REVERSE, LOOP_GUARD };

enum { WHOLE = -1, WAYS = IR_MAX_RANK + 1 };
typedef enum { NEW_PART, BUSY, DONE } PartState;

// A result of a loop of forward.
typedef struct LoopResult {
    bool depends;
    unsigned times;
} LoopResult;

typedef struct Asked { // an instruction of forward, asked for in each of its ways
    PartState state[WAYS];
    Part part[WAYS];
    bool depends;       // on the tokens
    unsigned times;     // bit a: axis a is one of time
    LoopResult *result; // of a loop, or of attention
    PartState made;     // whether the loop was derived
    Inst *loop;
} Asked;

typedef struct Cached {
    Inst *param, *update;
    const Inst *reader; // the cache is needed if it is: the update, or the loop that makes it
    const Inst *of;
} Cached;

// An input of a derived loop that is the same in each turn.
typedef struct Rest {
    Inst *param, *outside;
} Rest;

typedef struct Deriving Deriving;
struct Deriving {
    Cx *cx;
    Arena *arena;
    const IrFunction *from; // forward without calls, or the body of a loop in it
    IrFunction *fn;
    int64_t width; // of a slice
    bool turns;    // a loop takes as many turns as a slice is wide
    bool attends;  // calls of causal attention are still there
    DType mixed;   // what operands of contractions are rounded to
    Asked *asked;  // by id
    Part *param;   // of each parameter of `from` that is there; others are made when asked for
    Inst *position, *index;
    Inst *last; // of several tokens, its place in the slice
    Vec(Cached) cached;
    const char *why;
    Span where;
    // of a body
    Deriving *outer;
    const Inst *loop;
    Vec(Rest) rest;
};

// ---- decode.c
// The value of forward as a whole (WHOLE), or its slice along `axis`.
Part decode_ask(Deriving *d, const Inst *inst, int axis);
// No part: why is remembered, the first time.
Part decode_refused(Deriving *d, const Inst *inst, const char *why);
Inst *decode_positions(Deriving *d, Span span); // the position, or those of a slice
bool *decode_needed(Deriving *d);               // which instructions of a function its results need
void decode_drop_dead(IrFunction *fn);

// ---- decode_flat.c
// `attends`: calls of causal attention stay.
IrFunction *decode_flat(Cx *cx, const IrFunction *fn, bool attends);
// Which instructions depend on the tokens, and along which axes time goes.
void decode_find_times(Asked *asked, const IrFunction *fn);
void decode_add_times(Asked *to, bool depends, unsigned times);
bool decode_in_time(const Asked *asked, const Inst *loop); // whether a loop goes through time
int decode_only_axis(unsigned times);                      // WHOLE: there is none, or several

// ---- decode_loop.c
Part decode_loop(Deriving *d, const Inst *inst, int axis); // what a loop carries, at the position

#endif
