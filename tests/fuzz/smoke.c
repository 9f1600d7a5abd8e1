// smoke.c: a fuzz target without libFuzzer: every seed as it is, then mutations drawn from a fixed
// sequence. Whatever crashes, traps or is noticed by a sanitizer ends the program; the input is
// kept in the file named by the first argument.
//
// Usage: fuzz_NAME KEPT SECONDS SEED...

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Text {
    uint8_t *at;
    size_t size;
} Text;

static Text read_seed(const char *path)
{
    FILE *file = fopen(path, "rb");
    Text text = {malloc(1 << 16), 0};
    if (!file || !text.at) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    text.size = fread(text.at, 1, 1 << 16, file);
    fclose(file);
    return text;
}

static uint64_t next(uint64_t *state) // splitmix64
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void run(const char *kept, Text text)
{
    FILE *file = fopen(kept, "wb");
    if (file) {
        fwrite(text.at, 1, text.size, file);
        fclose(file);
    }
    uint8_t *exact = malloc(text.size ? text.size : 1); // so that one byte too far is noticed
    memcpy(exact, text.at, text.size);
    LLVMFuzzerTestOneInput(exact, text.size);
    free(exact);
}

static void mutate(Text *text, const Text *other, uint64_t *chance)
{
    static const char *const piece[] = {"(",     ")",  "{",  "}",    "[",
                                        "]",     ",",  ":",  "=",    "<-",
                                        "|>",    "..", "-1", "0",    "9223372036854775807",
                                        "1e999", "\"", "\n", "\xff", "_",
                                        "x",     "%",  "//", "@",    "let ",
                                        "fn ",   "if "};
    size_t room = 1 << 16;
    for (uint64_t turns = 1 + next(chance) % 4; turns > 0; turns--) {
        size_t at = text->size ? next(chance) % text->size : 0, length = next(chance) % 24;
        switch (next(chance) % 5) {
        case 0: // one byte
            if (text->size)
                text->at[at] ^= (uint8_t)(1u << next(chance) % 8);
            break;
        case 1: // leave out
            if (at + length < text->size) {
                memmove(text->at + at, text->at + at + length, text->size - at - length);
                text->size -= length;
            }
            break;
        case 2: { // a piece of syntax
            const char *more = piece[next(chance) % (sizeof piece / sizeof *piece)];
            length = strlen(more);
            if (text->size + length < room) {
                memmove(text->at + at + length, text->at + at, text->size - at);
                memcpy(text->at + at, more, length);
                text->size += length;
            }
            break;
        }
        case 3: // cut
            if (next(chance) % 4 == 0)
                text->size = at;
            break;
        default: { // a piece of another seed
            size_t from = other->size ? next(chance) % other->size : 0;
            length = length * 4 < other->size - from ? length * 4 : other->size - from;
            if (text->size + length < room) {
                memmove(text->at + at + length, text->at + at, text->size - at);
                memcpy(text->at + at, other->at + from, length);
                text->size += length;
            }
        }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: %s KEPT SECONDS SEED...\n", argv[0]);
        return 2;
    }
    int seeds = argc - 3;
    Text *seed = calloc((size_t)seeds, sizeof *seed), work = {malloc(1 << 16), 0};
    time_t end = time(NULL) + atol(argv[2]);
    uint64_t chance = 1;
    long runs = 0;
    for (int i = 0; i < seeds; i++, runs++) {
        seed[i] = read_seed(argv[3 + i]);
        run(argv[1], seed[i]);
    }
    while (time(NULL) < end) {
        const Text *from = &seed[next(&chance) % (uint64_t)seeds];
        memcpy(work.at, from->at, from->size);
        work.size = from->size;
        mutate(&work, &seed[next(&chance) % (uint64_t)seeds], &chance);
        run(argv[1], work);
        runs++;
    }
    printf("%ld inputs\n", runs);
    for (int i = 0; i < seeds; i++)
        free(seed[i].at);
    free(seed);
    free(work.at);
    remove(argv[1]);
    return 0;
}
