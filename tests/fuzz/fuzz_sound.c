// Sounds: any bytes give finite samples or an error.

#include <math.h>
#include <string.h>

#include "runtime/data/sound.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { SAMPLES = 64 };
    static const amli_sound_rule rule[] = {{8000, SAMPLES, false}, {16000, SAMPLES, true}};
    amli_sound_decoder decoder = {0};
    for (size_t i = 0; i < AMLI_COUNT(rule); i++) {
        aml_error error = {0};
        float sound[SAMPLES];
        int64_t used = -1;
        if (amli_sound_read(&decoder, (const char *)data, size, &rule[i], sound, &used, &error)) {
            if (!error.text[0])
                __builtin_trap();
            continue;
        }
        if (used < 0 || used > SAMPLES)
            __builtin_trap();
        for (int k = 0; k < SAMPLES; k++)
            if (!isfinite(sound[k]))
                __builtin_trap();
    }
    amli_sound_end(&decoder);
    return 0;
}
