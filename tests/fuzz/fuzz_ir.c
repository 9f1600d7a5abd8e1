// The IR's text: any bytes are refused with diagnostics or give a module that verifies and survives
// printing, parsing and the passes.

#include <string.h>

#include "compile.h"
#include "diag/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Cx *cx = cx_new();
    IrModule *module = ir_parse(cx, source_add(cx, "fuzz.ir", (const char *)data, size, false));
    if (module) {
        Buffer once = {.arena = cx->arena}, twice = {.arena = cx->arena};
        buffer_text(&once, "");
        buffer_text(&twice, "");
        ir_print(module, &once);
        IrModule *again = ir_parse(cx, source_add(cx, "again.ir", once.text, once.length, false));
        if (!again)
            __builtin_trap();
        ir_print(again, &twice);
        if (strcmp(once.text, twice.text) != 0)
            __builtin_trap();
        passes_run(cx, module, NULL, NULL, NULL);
    }
    cx_free(cx);
    return 0;
}
