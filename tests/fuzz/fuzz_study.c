// The results of trainings that a cross-validation reads back: any two texts give statistics or an
// error. The texts are the input before and behind its first NUL.

#include <stdlib.h>
#include <string.h>

#include "runtime/job/study.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const aml_job job = {.name = "fuzz"};
    static const double share[] = {0.5};
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size, second = nul ? size - first - 1 : 0;
    const struct {
        const char *text;
        size_t length;
    } part[2] = {{(const char *)data, first}, {nul ? (const char *)nul + 1 : "", second}};
    json_t *result[2] = {0};
    bool good = true;
    for (int i = 0; i < 2; i++) {
        aml_error error = {0};
        if (amli_study_read("fuzz.json", part[i].text, part[i].length, &result[i], &error)) {
            good = false;
            if (!error.text[0])
                __builtin_trap();
        }
    }
    for (int shares = 0; shares < 2 && good; shares++) {
        amli_study study = {.job = &job,
                            .trained = &job,
                            .part = AML_PART_TEST,
                            .folds = 2,
                            .shares = shares,
                            .share = share,
                            .result = result};
        json_t *all = amli_study_json(&study);
        char *text = json_dumps(all, 0);
        if (!text)
            __builtin_trap();
        free(text);
        json_decref(all);
    }
    json_decref(result[0]);
    json_decref(result[1]);
    return 0;
}
