// sound_tool FILE RATE SAMPLES [middle]: prints how many samples come from the sound, then all of
// them; or what is wrong.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data/sound.h"

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    aml_error error = {0};
    char *bytes = NULL;
    size_t length = 0;
    amli_sound_decoder decoder = {0};
    const amli_sound_rule rule = {strtol(argv[2], NULL, 10), strtol(argv[3], NULL, 10), argc > 4};
    float *to = malloc((size_t)rule.samples * sizeof *to + 1);
    int64_t used = 0;
    aml_status status = to ? amli_read_file(argv[1], &bytes, &length, &error) : AML_NO_MEMORY;
    for (int i = 0; i < 2 && !status; i++) // the second time with what is left of the first
        status = amli_sound_read(&decoder, bytes, length, &rule, to, &used, &error);
    if (status)
        printf("%s\n", error.text);
    else
        printf("%lld\n", (long long)used);
    for (int64_t i = 0; i < rule.samples && !status; i++)
        printf("%.9g\n", (double)to[i]);
    amli_sound_end(&decoder);
    free(bytes), free(to);
    return status != AML_OK;
}
