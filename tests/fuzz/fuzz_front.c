// From text to optimised IR: any program is refused with diagnostics or gives functions that
// verify.

#include "compile.h"
#include "diag/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Cx *cx = cx_new();
    Unit *unit = unit_load_text(cx, "fuzz.aml", (const char *)data, size);
    Program *program = unit ? elaborate(cx, unit) : NULL;
    if (program && !diag_errors(cx))
        passes_run(cx, program->module, NULL, NULL, NULL);
    FILE *nowhere = fopen("/dev/null", "w");
    diag_print(cx, nowhere, FORMAT_HUMAN, true);
    fclose(nowhere);
    cx_free(cx);
    return 0;
}
