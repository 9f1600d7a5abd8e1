// Runs a deployed library `net` for inference.py: reads a sample from a file, writes what is predicted for it to
// another one, says {} when it is ready, and answers each number on standard input with the seconds of processor time
// that so many predictions took.
//
// SAMPLE: the type of the fields; ROWS: samples at once; OUTPUTS: how many floats come out; CLASSES: the model is a classifier.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

#ifndef ROWS
#define ROWS 1
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int count, char **argument)
{
    void *memory = malloc(net_context_bytes());
    net_context *context;
    FILE *file = count == 3 ? fopen(argument[1], "rb") : NULL;
    if (!file || net_init(memory, net_context_bytes(), &context) != 0)
        return 1;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    SAMPLE *sample = malloc(bytes);
    static float output[OUTPUTS];
    rewind(file);
    if (fread(sample, 1, bytes, file) != bytes)
        return 1;
    fclose(file);
#ifdef CLASSES
    int32_t class[ROWS];
#define PREDICT() net_predict(context, ROWS, sample, class, output)
#else
#define PREDICT() net_predict(context, ROWS, sample, output)
#endif
    if (PREDICT() != 0 || !(file = fopen(argument[2], "wb")) || fwrite(output, sizeof(float), OUTPUTS, file) != OUTPUTS ||
        fclose(file) != 0)
        return 1;
    puts("{}");
    fflush(stdout);
    for (char line[32]; fgets(line, sizeof line, stdin);) {
        double before = now();
        for (long i = atol(line); i > 0; i--)
            if (PREDICT() != 0)
                return 1;
        printf("%.9f\n", now() - before);
        fflush(stdout);
    }
    return 0;
}
