// tokenizer_tool: tokenizers from the command line, for tests and the benchmark.
//
//   tokenizer_tool check KIND FILE... GOLDEN.json    compares with what another implementation gave
//   tokenizer_tool speed KIND FILE... TEXT           MB/s of encoding, the best of five
//   tokenizer_tool why KIND FILE...                  what is wrong with the files
//
// KIND is gpt2 (vocab.json merges.txt), bert (vocab.txt), cased (vocab.txt) or json
// (tokenizer.json).

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/data/tokenizer.h"
#include "text/text.h"

extern const amli_token_engine amli_tokens_words, amli_tokens_wordpiece, amli_tokens_bpe,
    amli_tokens_unigram;
extern const amli_token_patterns amli_patterns_pcre2;

static Bytes read_whole(Arena *arena, const char *path)
{
    char *text;
    size_t length;
    if (!file_read(arena, path, (size_t)1 << 30, &text, &length)) {
        perror(path);
        exit(2);
    }
    return (Bytes){text, length};
}

static const aml_tokenizer *read_files(Arena *arena, char **argv, int *used, const char **why)
{
    const aml_tokenizer *found = NULL;
    const char *kind = argv[0];
    *used = 2;
    if (strcmp(kind, "gpt2") == 0) {
        found =
            read_gpt2(arena, read_whole(arena, argv[1]), read_whole(arena, argv[2]), false, why);
        *used = 3;
    } else if (strcmp(kind, "json") == 0) {
        found = read_tokenizer_json(arena, read_whole(arena, argv[1]), why);
    } else {
        found = read_bert(arena, read_whole(arena, argv[1]), strcmp(kind, "bert") == 0, why);
    }
    if (!found)
        return NULL;
    static const amli_token_engine *const engine[] = {
#define TOKENS(NAME, name, meaning) &amli_tokens_##name,
#include "aml/tokens.def"
#undef TOKENS
    };
    aml_tokenizer *ready = NEW(arena, aml_tokenizer);
    *ready = *found;
    ready->engine = engine[found->image->model];
    ready->pattern = found->image->flags & AML_VOCABULARY_REGEX ? &amli_patterns_pcre2 : NULL;
    ready->unicode = found->image->flags & AML_VOCABULARY_UNICODE ? &amli_unicode_utf8proc : NULL;
    return ready;
}

static int failures;

static void complain(const char *text, const json_t *expected, const int32_t *token, int count)
{
    char *ids = json_dumps(expected, JSON_COMPACT | JSON_ENCODE_ANY);
    printf("FAIL %.200s\n  expected %.800s\n  found    [", text, ids);
    for (int i = 0; i < count && i < 100; i++)
        printf("%s%d", i ? "," : "", token[i]);
    printf("]\n");
    free(ids);
    failures++;
}

static void check_decoded(const aml_tokenizer *tokenizer, const json_t *item, const char *name,
                          bool keeps_special)
{
    const json_t *expected = json_object_get(item, name), *ids = json_object_get(item, "ids"), *id;
    amli_decoder decoder;
    amli_buffer out = {0};
    size_t i;
    if (!expected || amli_decoder_open(&decoder, tokenizer, NULL))
        return;
    decoder.keeps_special = keeps_special;
    amli_buffer_add(&out, "", 0);
    json_array_foreach(ids, i, id)
    {
        size_t length = amli_decode_token(&decoder, (int32_t)json_integer_value(id));
        amli_buffer_add(&out, decoder.text, length);
    }
    size_t length = amli_decode_end(&decoder);
    amli_buffer_add(&out, decoder.text, length);
    amli_decoder_close(&decoder);
    if (json_string_length(expected) != out.length ||
        memcmp(json_string_value(expected), out.text, out.length) != 0) {
        printf("FAIL %s of %.100s\n  expected %s\n  found    %s\n", name,
               json_string_value(json_object_get(item, "text")), json_string_value(expected),
               out.text);
        failures++;
    }
    amli_buffer_free(&out);
}

static int check(const aml_tokenizer *tokenizer, const char *path)
{
    json_error_t problem;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &problem), *item;
    size_t i, k;
    amli_encoder encoder;
    aml_error error = {0};
    if (!root || amli_encoder_open(&encoder, tokenizer, &error)) {
        printf("FAIL %s: %s %s\n", path, root ? "" : problem.text, error.text);
        return 1;
    }
    json_array_foreach(root, i, item)
    {
        const json_t *text = json_object_get(item, "text"), *ids = json_object_get(item, "ids");
        int32_t *token = malloc((json_string_length(text) * 8 + 64) * sizeof *token);
        int count = 0;
        amli_encoder_begin(&encoder, "text", json_string_value(text), json_string_length(text));
        for (int32_t next; !amli_encode(&encoder, &next, &error) && next >= 0;)
            token[count++] = next;
        bool same = json_array_size(ids) == (size_t)count && !error.text[0];
        for (k = 0; same && k < (size_t)count; k++)
            same = json_integer_value(json_array_get(ids, k)) == token[k];
        if (!same)
            complain(error.text[0] ? error.text : json_string_value(text), ids, token, count);
        error.text[0] = 0;
        free(token);
        check_decoded(tokenizer, item, "decoded", false);
        check_decoded(tokenizer, item, "decoded_special", true);
    }
    amli_encoder_close(&encoder);
    printf("%zu texts, %d differ\n", json_array_size(root), failures);
    json_decref(root);
    return failures != 0;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int speed(const aml_tokenizer *tokenizer, Bytes text)
{
    amli_encoder encoder;
    aml_error error;
    double best = 1e30;
    long long tokens = 0;
    if (amli_encoder_open(&encoder, tokenizer, &error))
        return 1;
    for (int round = 0; round < 5; round++) {
        double begin = now();
        tokens = 0;
        // line by line, as a data set of texts is read
        for (size_t at = 0; at < text.length;) {
            const char *end = memchr(text.at + at, '\n', text.length - at);
            size_t length = (end ? (size_t)(end - text.at) : text.length) - at;
            amli_encoder_begin(&encoder, "text", text.at + at, length);
            for (int32_t next; !amli_encode(&encoder, &next, &error) && next >= 0;)
                tokens++;
            at += length + 1;
        }
        double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    amli_encoder_close(&encoder);
    printf("{\"mb_per_s\": %.2f, \"tokens\": %lld}\n", (double)text.length / 1e6 / best, tokens);
    return 0;
}

int main(int argc, char **argv)
{
    Arena *arena = arena_new();
    const char *why = NULL;
    int used, code = 2;
    if (argc < 4)
        return 2;
    const aml_tokenizer *tokenizer = read_files(arena, argv + 2, &used, &why);
    if (!tokenizer) {
        printf("%s\n", why);
        code = strcmp(argv[1], "why") != 0;
    } else if (strcmp(argv[1], "check") == 0 && argc > used + 2) {
        code = check(tokenizer, argv[used + 2]);
    } else if (strcmp(argv[1], "speed") == 0 && argc > used + 2) {
        code = speed(tokenizer, read_whole(arena, argv[used + 2]));
    } else {
        printf("vocabulary of %d tokens, %u bytes\n", tokenizer->vocab, tokenizer->image->bytes);
        code = strcmp(argv[1], "why") == 0;
    }
    arena_free(arena);
    return code;
}
