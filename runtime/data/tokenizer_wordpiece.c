// WordPiece (Schuster and Nakajima 2012, as in BERT): a word is the longest token that it begins
// with, then the longest continuing one, and so on; if that fails anywhere, the word is unknown.

#include "runtime/data/pieces.h"

static void piece(amli_pieces *pieces, const char *text, size_t length)
{
    const aml_vocabulary *head = pieces->head;
    const amli_trie *trie = &pieces->trie;
    const char *prefix = amli_section_text(pieces, head->prefix);
    size_t characters = 0, before = pieces->tokens;
    bool joins = false;
    for (size_t i = 0; i < length; i++)
        characters += ((unsigned char)text[i] & 0xC0) != 0x80;
    bool known = characters <= (size_t)head->most_characters;
    uint32_t inside = 0; // where continuing pieces begin
    for (uint32_t i = 0; i < head->prefix.count && (i == 0 || inside); i++)
        inside = amli_trie_child(trie, inside, (unsigned char)prefix[i]);
    for (size_t at = 0; known && at < length;) {
        uint32_t node = at && head->prefix.count ? inside : 0;
        size_t end = at;
        int32_t token = -1;
        if (at && head->prefix.count && !inside)
            node = UINT32_MAX;
        for (size_t i = at; i < length && node != UINT32_MAX; i++) {
            if ((node = amli_trie_child(trie, node, (unsigned char)text[i])) == 0)
                break;
            if (trie->node[node].token >= 0) {
                token = trie->node[node].token;
                end = i + 1;
            }
        }
        known = token >= 0;
        if (known)
            amli_pieces_push(pieces, token);
        at = end;
    }
    if (!known) {
        pieces->tokens = before;
        amli_pieces_unknown(pieces, text, length, &joins);
    }
}

AMLI_PIECES_ENGINE(wordpiece, piece);
