// Uses the shared library of digits_f32 as a C or C++ program would. Reads rows of 64 numbers from
// stdin, predicts them in one call, one by one, and in two threads at once, and prints prediction
// and probabilities as csv. Counts what is allocated while predicting: nothing may be.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits_f32.h"

enum { MOST = 512 };

static float pixel[MOST * 64];
static long rows;

#ifdef COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
static long allocations;
void *malloc(size_t bytes)
{
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes)
{
    __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(count, bytes);
}
#else
static const long allocations = 0;
#endif

struct answer {
    char *memory;
    digits_f32_context *context;
    int32_t prediction[MOST];
    float probability[MOST * 10];
    int code;
};

static void *predict_all(void *data)
{
    struct answer *answer = (struct answer *)data;
    for (int turn = 0; turn < 20 && answer->code == 0; turn++)
        answer->code = digits_f32_predict(answer->context, rows, pixel, answer->prediction,
                                          answer->probability);
    return NULL;
}

static struct answer *answer_new(void)
{
    struct answer *answer = (struct answer *)calloc(1, sizeof *answer);
    size_t bytes = digits_f32_context_bytes();
    answer->memory = (char *)malloc(bytes + 1) + 1; // any alignment will do
    answer->code = digits_f32_init(answer->memory, bytes, &answer->context);
    if (answer->code != 0) {
        fprintf(stderr, "init: %s\n", digits_f32_message(answer->code));
        exit(1);
    }
    return answer;
}

static void answer_free(struct answer *answer)
{
    free(answer->memory - 1);
    free(answer);
}

int main(void)
{
    while (rows < MOST) {
        int got = 0;
        for (int i = 0; i < 64; i++)
            got += scanf("%f", &pixel[rows * 64 + i]) == 1;
        if (got != 64)
            break;
        rows++;
    }
    struct answer *all = answer_new(), *single = answer_new(), *other = answer_new();
    digits_f32_context *none = NULL;
    if (digits_f32_init(all->memory, 16, &none) == 0 || none != NULL)
        return fprintf(stderr, "16 bytes are enough for a context?\n"), 1;
    if (digits_f32_init(all->memory, digits_f32_context_bytes(), &all->context) != 0)
        return 1;
    if (digits_f32_predict(all->context, -1, pixel, all->prediction, all->probability) == 0)
        return fprintf(stderr, "a negative number of rows is accepted\n"), 1;

    long before = allocations;
    all->code = digits_f32_predict(all->context, rows, pixel, all->prediction, all->probability);
    for (long i = 0; i < rows && single->code == 0; i++)
        single->code = digits_f32_predict(single->context, 1, pixel + i * 64,
                                          &single->prediction[i], &single->probability[i * 10]);
    long allocated = allocations - before;
    if (digits_f32_predict(all->context, rows, pixel, NULL, NULL) != 0)
        return 1;

    pthread_t thread[2];
    struct answer *threaded[2] = {other, answer_new()};
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, predict_all, threaded[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 2; i++)
        if (threaded[i]->code != 0 ||
            memcmp(threaded[i]->prediction, all->prediction, sizeof all->prediction) != 0)
            return fprintf(stderr, "a thread predicts something else\n"), 1;
    if (all->code != 0 || single->code != 0 ||
        memcmp(all->prediction, single->prediction, sizeof all->prediction) != 0)
        return fprintf(stderr, "one by one is something else\n"), 1;
    if (allocated != 0)
        return fprintf(stderr, "%ld allocations while predicting\n", allocated), 1;

    for (long i = 0; i < rows; i++) {
        printf("%d", (int)all->prediction[i]);
        for (int k = 0; k < 10; k++)
            printf(",%.9g", (double)all->probability[i * 10 + k]);
        printf("\n");
    }
    const digits_f32_info *info = digits_f32_describe();
    fprintf(stderr, "%s %lld %s\n", info->name, (long long)info->parameters, info->weights_hash);
    answer_free(all), answer_free(single), answer_free(other), answer_free(threaded[1]);
    return 0;
}
