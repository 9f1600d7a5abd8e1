// decode_known.h: what decode.c knows of the values that it derives.

#ifndef AML_ELAB_DECODE_KNOWN_H
#define AML_ELAB_DECODE_KNOWN_H

#include "ir/ir.h"

// What is known of the elements beyond the position along one axis.
typedef enum Beyond {
    BEYOND_SAME,    // like the elements before: they are known
    BEYOND_UNKNOWN, // finite, and else nothing
    BEYOND_ZERO,
    BEYOND_LOW, // at most LOW: of no weight in a softmax
    BEYOND_FALSE,
    BEYOND_TRUE
} Beyond;

#define LOW (-1e9)

// What is known of a value's elements, beside those beyond the position: that they count.
typedef enum Form { FORM_NONE, FORM_INDEX, FORM_POSITION } Form;

typedef struct Part {
    Inst *inst; // NULL: it cannot be had
    uint8_t beyond[IR_MAX_RANK];
    Form form; // INDEX: the index along `axis` plus `offset`; POSITION: the position plus it
    int axis;
    double offset;
} Part;

// The axis of input `operand` that becomes `axis` of the result; -1: none does. `axis` of the
// result may come from several inputs.
int decode_axis(const Inst *inst, int operand, int axis);
bool decode_understands(const Inst *inst); // decode_axis says everything of such an operation
bool decode_passes_on(const Inst *inst,
                      int axis);      // a slice of the result needs only slices of inputs
bool beyond_is_valid(Beyond beyond);  // the elements are what they are in `forward`
bool part_is_known(const Part *part); // along all axes
Beyond part_beyond(const Inst *inst, const Part in[], int axis);
const char *part_check_folds(const Inst *inst,
                             const Part in[]); // NULL, or why a fold is not allowed
void part_set_form(const Inst *inst, const Part in[], Part *out);

#endif
