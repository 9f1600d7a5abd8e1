// builtin.h: what the builtin_*.c files share.

#ifndef AML_BUILTIN_H
#define AML_BUILTIN_H

#include "elab/internal.h"

#define BUILTIN(name, params, meaning) BuiltinRun builtin_##name;
#include "elab/builtins.def"
#undef BUILTIN

Value builtin_bad(Elab *e, const char *name, Span span, const char *why); // reports, gives poison
Inst *builtin_tensor(Elab *e, Value value, const char *name, Span span);  // NULL after a report
bool builtin_type(Elab *e, Value value, TypeValue *type, const char *name, Span span);
bool builtin_axes(Elab *e, Value axis, Value axes, int rank, const char *name, IntList *out,
                  Span span);

#endif
