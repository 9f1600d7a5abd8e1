// Uses the library of a deployed generate block as a C or C++ program would: reads tokens from
// stdin, shows them to two contexts in turns, and prints the likeliest next token and its score.

#include <stdio.h>
#include <stdlib.h>

#include "small.h"

int main(void)
{
    float score[2][SMALL_VOCAB];
    small_context *context[2];
    char *memory[2];
    for (int i = 0; i < 2; i++) {
        memory[i] = (char *)malloc(small_context_bytes() + 1);
        if (small_init(memory[i] + i, small_context_bytes(), &context[i]))
            return 1;
    }
    if (small_init(memory[0], 10, &context[1]) == 0 || context[1])
        return 2;
    if (small_init(memory[1] + 1, small_context_bytes(), &context[1]))
        return 3;
    if (small_token(context[0], SMALL_VOCAB, score[0]) == 0 ||
        small_token(context[0], -1, score[0]) == 0)
        return 4;
    int token, seen = 0;
    while (scanf("%d", &token) == 1 && seen < SMALL_CONTEXT) {
        for (int i = 0; i < 2; i++)
            if (small_token(context[i], token, score[i]))
                return 5;
        int best = 0;
        for (int v = 0; v < SMALL_VOCAB; v++) {
            if (score[0][v] != score[1][v])
                return 6;
            best = score[0][v] > score[0][best] ? v : best;
        }
        printf("%d %.9g\n", best, (double)score[0][best]);
        seen++;
    }
    while (seen++ < SMALL_CONTEXT)
        if (small_token(context[0], 0, NULL))
            return 7;
    if (small_token(context[0], 0, NULL) == 0) // the context is full
        return 8;
    small_reset(context[0]);
    if (small_token(context[0], 0, score[0]) || !*small_message(1))
        return 9;
    printf("%s %lld\n", small_describe()->name, (long long)small_describe()->parameters);
    free(memory[0]);
    free(memory[1]);
    return 0;
}
