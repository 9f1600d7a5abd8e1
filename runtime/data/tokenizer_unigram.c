// Unigram (Kudo 2018, as in SentencePiece): of all ways to write a piece in tokens the most likely
// one, found from left to right (Viterbi). What no token begins with is unknown, at a price.

#include "runtime/data/pieces.h"

typedef struct Best {
    double score; // of the best way to get here
    uint32_t from;
    int32_t token;
    bool reached;
} Best;

static void offer(Best *best, double score, uint32_t from, int32_t token)
{
    if (!best->reached || score > best->score)
        *best = (Best){score, from, token, true};
}

static void find_best(const amli_pieces *pieces, const char *text, size_t length, Best *best)
{
    const aml_vocabulary *head = pieces->head;
    const double *score = aml_vocabulary_at(head, head->score);
    const amli_trie *trie = &pieces->trie;
    best[0] = (Best){0, 0, -1, true};
    for (size_t i = 1; i <= length; i++)
        best[i] = (Best){0};
    for (size_t at = 0, end; at < length; at = end) {
        double here = best[at].score;
        uint32_t node = 0;
        bool single = false;
        end = at;
        amli_next_code(text, length, &end);
        for (size_t i = at; i < length; i++) {
            if ((node = amli_trie_child(trie, node, (unsigned char)text[i])) == 0)
                break;
            int32_t token = trie->node[node].token;
            if (token < 0)
                continue;
            offer(&best[i + 1], here + score[token], (uint32_t)at, token);
            single |= i + 1 == end;
        }
        if (!single)
            offer(&best[end], here + head->unknown_score, (uint32_t)at, -1);
    }
}

static void piece(amli_pieces *pieces, const char *text, size_t length)
{
    Best *best = length < UINT32_MAX ? amli_pieces_work(pieces, (length + 1) * sizeof *best) : NULL;
    pieces->failed |= !best;
    if (!best)
        return;
    find_best(pieces, text, length, best);
    // the way back turns the links around: `from` of where a token begins becomes where it ends
    int32_t unknown = pieces->head->role[AML_TOKEN_UNKNOWN];
    uint32_t to = (uint32_t)length, above = 0;
    int32_t token = -1;
    for (uint32_t at = to; at > 0;) {
        uint32_t from = best[at].from;
        int32_t mine = best[at].token;
        best[at].from = above;
        best[at].token = token;
        above = at;
        token = mine;
        at = from;
    }
    best[0].from = above;
    best[0].token = token;
    bool joins = false;
    for (uint32_t at = 0; at < to;) {
        uint32_t end = best[at].from;
        int32_t mine = best[at].token;
        if (mine < 0 || mine == unknown) {
            bool fuses = pieces->head->flags & AML_VOCABULARY_FUSE_UNKNOWN;
            while (fuses && end < to && (best[end].token < 0 || best[end].token == unknown))
                end = best[end].from;
            joins = false;
            amli_pieces_unknown(pieces, text + at, end - at, &joins);
        } else {
            amli_pieces_push(pieces, mine);
        }
        at = end;
    }
}

AMLI_PIECES_ENGINE(unigram, piece);
