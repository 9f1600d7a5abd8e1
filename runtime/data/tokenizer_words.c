// Words: a piece is a token, or it is unknown.

#include "runtime/data/pieces.h"

static void piece(amli_pieces *pieces, const char *text, size_t length)
{
    int32_t token = amli_trie_find(&pieces->trie, 0, text, length);
    bool joins = false;
    if (token >= 0)
        amli_pieces_push(pieces, token);
    else
        amli_pieces_unknown(pieces, text, length, &joins);
}

const amli_token_engine amli_tokens_words = {"words",
                                             amli_pieces_open,
                                             amli_pieces_close,
                                             amli_pieces_encode,
                                             amli_pieces_next,
                                             amli_pieces_decode,
                                             piece};
