// Texts of a table as tokens: what a field with the rule TEXT is made of.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aml/vocabulary.h"
#include "runtime/data/csv.h"
#include "runtime/data/tokenizer.h"

// What one thread works with.
typedef struct Own {
    amli_encoder encoder;
    int32_t *token;
    int64_t tokens, room;
    char *plain; // a text without doubled quotes
    size_t plain_room;
} Own;

static void close_text(void *of)
{
    Own *own = of;
    amli_encoder_close(&own->encoder);
    free(own->token), free(own->plain);
    free(own);
}

static void *open_text(const aml_field *field)
{
    Own *own = calloc(1, sizeof *own);
    if (own && amli_encoder_open(&own->encoder, field->rule->text->tokenizer, NULL)) {
        close_text(own);
        own = NULL;
    }
    return own;
}

static bool undouble(Own *own, const amli_cell *cell, const char **at, size_t *length)
{
    *at = cell->at;
    *length = cell->length;
    if (!cell->doubled)
        return true;
    if (cell->length > own->plain_room) {
        free(own->plain);
        own->plain = malloc(cell->length);
        own->plain_room = own->plain ? cell->length : 0;
        if (!own->plain)
            return false;
    }
    size_t used = 0;
    for (size_t i = 0; i < cell->length; i++) {
        own->plain[used++] = cell->at[i];
        i += cell->at[i] == '"' && i + 1 < cell->length && cell->at[i + 1] == '"';
    }
    *at = own->plain;
    *length = used;
    return true;
}

static bool push(Own *own, int32_t token)
{
    if (own->tokens == own->room) {
        int64_t room = own->room ? 2 * own->room : 256;
        int32_t *more = realloc(own->token, (size_t)room * sizeof *more);
        if (!more)
            return false;
        own->token = more;
        own->room = room;
    }
    own->token[own->tokens++] = token;
    return true;
}

static bool encode(Own *own, const char *at, size_t length, char *expected, size_t room)
{
    aml_error *error = malloc(sizeof *error);
    own->tokens = 0;
    amli_encoder_begin(&own->encoder, "text", at, length);
    bool good = error != NULL;
    while (good) {
        int32_t token;
        if (amli_encode(&own->encoder, &token, error)) {
            const char *colon = strstr(error->text, ": ");
            snprintf(expected, room, "a text that has tokens (%.80s)",
                     colon ? colon + 2 : error->text);
            good = false;
        } else if (token < 0) {
            break;
        } else if (!push(own, token)) {
            snprintf(expected, room, "a text that fits into memory");
            good = false;
        }
    }
    free(error);
    return good;
}

// before, tokens, after, padding. What does not fit is left out of the tokens.
static void write_tokens(const aml_text_rule *rule, const Own *own, int32_t to[])
{
    const aml_vocabulary *image = rule->tokenizer->image;
    bool special = rule->special && image;
    int64_t before = special ? image->before.count : 0, after = special ? image->after.count : 0;
    int64_t room = rule->tokens - before - after, at = 0;
    int64_t taken = own->tokens < room ? own->tokens : room;
    const int32_t *token = own->token + (rule->keeps_end ? own->tokens - taken : 0);
    for (int64_t i = 0; i < before; i++)
        to[at++] = ((const int32_t *)aml_vocabulary_at(image, image->before))[i];
    for (int64_t i = 0; i < taken; i++)
        to[at++] = token[i];
    for (int64_t i = 0; i < after; i++)
        to[at++] = ((const int32_t *)aml_vocabulary_at(image, image->after))[i];
    while (at < rule->tokens)
        to[at++] = rule->pad;
}

static bool decode_text(void *of, const aml_field *field, const amli_cell *cell, void *to,
                        char *expected, size_t room)
{
    Own *own = of;
    const aml_text_rule *rule = field->rule->text;
    const aml_vocabulary *image = rule->tokenizer->image;
    const char *at;
    size_t length;
    if (!undouble(own, cell, &at, &length)) {
        snprintf(expected, room, "a text that fits into memory");
        return false;
    }
    if (!encode(own, at, length, expected, room))
        return false;
    int64_t around = rule->special && image ? image->before.count + image->after.count : 0;
    int64_t all = own->tokens + around;
    if (all > rule->tokens && rule->must_fit) {
        snprintf(expected, room, "a text of at most %lld tokens, not one of %lld",
                 (long long)rule->tokens, (long long)all);
        return false;
    }
    if (rule->counts) {
        int64_t count = all < rule->tokens ? all : rule->tokens;
        memcpy(to, &count, aml_dtype_bytes(field->tensor.dtype)); // little-endian
    } else {
        write_tokens(rule, own, to);
    }
    return true;
}

const amli_cell_decoder amli_text_cells = {decode_text, open_text, close_text};
