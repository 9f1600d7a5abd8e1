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

AMLI_PIECES_ENGINE(words, piece);
