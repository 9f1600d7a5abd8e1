// Byte-pair encoding (Sennrich et al. 2016): a piece begins as its bytes or characters; of all
// neighbours that may be merged, those earliest in the list are, the leftmost first, until none
// may.
//
// Short pieces look through their few neighbours each time. For long ones, which would take time
// with the square of their length, the neighbours wait in a heap.

#include "runtime/data/pieces.h"

#include <limits.h>
#include <string.h>

enum { SHORT = 48 };

typedef struct Symbol {
    int32_t token;
    int32_t next, before; // -1: none
    int32_t rank, merged; // of this symbol with the next; rank INT32_MAX: they do not merge
} Symbol;

// The merge among items begin .. end. One function for each size of numbers.
#define FIND(name, Number)                                                                         \
    static void name(const aml_vocabulary *head, uint32_t hash, Symbol *symbol, int32_t right)     \
    {                                                                                              \
        const Number *at = aml_vocabulary_at(head, head->pair_at);                                 \
        const Number *items = aml_vocabulary_at(head, head->pair);                                 \
        Number first = (Number)symbol->token, second = (Number)right;                              \
        for (uint32_t i = at[hash]; i < at[hash + 1]; i++) {                                       \
            const Number *item = items + (size_t)i * head->pair_numbers;                           \
            if (item[AML_PAIR_LEFT] != first || item[AML_PAIR_RIGHT] != second)                    \
                continue;                                                                          \
            symbol->rank = (int32_t)item[AML_PAIR_RANK];                                           \
            symbol->merged = head->pair_numbers > AML_PAIR_TOKEN                                   \
                                 ? (int32_t)item[AML_PAIR_TOKEN]                                   \
                                 : symbol->rank + head->pair_first;                                \
            return;                                                                                \
        }                                                                                          \
    }
FIND(find_short, uint16_t)
FIND(find_long, uint32_t)

static void pair(const amli_pieces *pieces, Symbol *symbol, int32_t at)
{
    const aml_vocabulary *head = pieces->head;
    int32_t next = symbol[at].next;
    symbol[at].rank = INT32_MAX;
    if (next < 0 || head->pair.count == 0 || symbol[at].token < 0 || symbol[next].token < 0)
        return;
    uint32_t hash = aml_pair_hash(head, symbol[at].token, symbol[next].token);
    if (head->pair_bytes == sizeof(uint16_t))
        find_short(head, hash, &symbol[at], symbol[next].token);
    else
        find_long(head, hash, &symbol[at], symbol[next].token);
}

static void merge(const amli_pieces *pieces, Symbol *symbol, int32_t at)
{
    int32_t gone = symbol[at].next, next = symbol[gone].next;
    symbol[at].token = symbol[at].merged;
    symbol[at].next = next;
    symbol[gone].token = -1;
    symbol[gone].rank = INT32_MAX;
    if (next >= 0)
        symbol[next].before = at;
    pair(pieces, symbol, at);
    if (symbol[at].before >= 0)
        pair(pieces, symbol, symbol[at].before);
}

static void merge_few(const amli_pieces *pieces, Symbol *symbol)
{
    for (;;) {
        int32_t best = -1, rank = INT32_MAX;
        for (int32_t i = 0; i >= 0; i = symbol[i].next)
            if (symbol[i].rank < rank) {
                rank = symbol[i].rank;
                best = i;
            }
        if (best < 0)
            return;
        merge(pieces, symbol, best);
    }
}

// ---- many: a heap of (rank, position); entries whose symbol has changed meanwhile are passed over

typedef struct Waiting {
    int32_t rank, at;
} Waiting;

static bool comes_before(Waiting a, Waiting b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_add(Waiting *heap, size_t *count, Waiting entry)
{
    size_t i = (*count)++;
    for (; i > 0 && comes_before(entry, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = entry;
}

static Waiting heap_take(Waiting *heap, size_t *count)
{
    Waiting first = heap[0], last = heap[--*count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *count; i = child) {
        child += child + 1 < *count && comes_before(heap[child + 1], heap[child]);
        if (!comes_before(heap[child], last))
            break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return first;
}

// A merge adds at most two entries, and there are at most count - 1 merges.
static void merge_many(const amli_pieces *pieces, Symbol *symbol, size_t count, Waiting *heap)
{
    size_t waiting = 0;
    for (size_t i = 0; i < count; i++)
        if (symbol[i].rank != INT32_MAX)
            heap_add(heap, &waiting, (Waiting){symbol[i].rank, (int32_t)i});
    while (waiting > 0) {
        Waiting best = heap_take(heap, &waiting);
        Symbol *at = &symbol[best.at];
        if (at->token < 0 || at->rank != best.rank)
            continue;
        merge(pieces, symbol, best.at);
        if (at->rank != INT32_MAX)
            heap_add(heap, &waiting, (Waiting){at->rank, best.at});
        if (at->before >= 0 && symbol[at->before].rank != INT32_MAX)
            heap_add(heap, &waiting, (Waiting){symbol[at->before].rank, at->before});
    }
}

// ---- the symbols that a piece begins with

// The token of one character, with the prefix that continuing ones and the suffix that last ones
// have.
static int32_t character(const amli_pieces *pieces, const char *text, size_t length, bool first,
                         bool last)
{
    const aml_vocabulary *head = pieces->head;
    char whole[4 + 64];
    size_t used = 0;
    if (!first && head->prefix.count && head->prefix.count <= 32) {
        memcpy(whole, amli_section_text(pieces, head->prefix), head->prefix.count);
        used = head->prefix.count;
    }
    memcpy(whole + used, text, length);
    used += length;
    if (last && head->suffix.count && head->suffix.count <= 32) {
        memcpy(whole + used, amli_section_text(pieces, head->suffix), head->suffix.count);
        used += head->suffix.count;
    }
    return amli_trie_find(&pieces->trie, 0, whole, used);
}

typedef struct Work {
    Symbol *symbol;
    Waiting *heap;
} Work;

static bool work_for(amli_pieces *pieces, size_t symbols, Work *work)
{
    size_t bytes = (symbols + 1) * (sizeof(Symbol) + 4 * sizeof(Waiting));
    char *memory = bytes < INT32_MAX ? amli_pieces_work(pieces, bytes) : NULL;
    pieces->failed |= !memory;
    *work = (Work){(Symbol *)(void *)memory,
                   (Waiting *)(void *)(memory + (symbols + 1) * sizeof(Symbol))};
    return memory != NULL;
}

static void merge_all(amli_pieces *pieces, Work *work, size_t count)
{
    Symbol *symbol = work->symbol;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        symbol[i].before = (int32_t)i - 1;
        symbol[i].next = i + 1 < count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < count; i++)
        pair(pieces, symbol, (int32_t)i);
    if (count <= SHORT)
        merge_few(pieces, symbol);
    else
        merge_many(pieces, symbol, count, work->heap);
}

// Symbols that are no tokens are told apart by their numbers: -2 - position in the piece.
static void emit(amli_pieces *pieces, const Symbol *symbol, size_t count)
{
    for (int32_t i = count ? 0 : -1; i >= 0; i = symbol[i].next)
        amli_pieces_push(pieces, symbol[i].token);
}

static void bytes_piece(amli_pieces *pieces, const char *text, size_t length)
{
    const int32_t *byte = aml_vocabulary_at(pieces->head, pieces->head->byte);
    Work work;
    if (!work_for(pieces, length, &work))
        return;
    for (size_t i = 0; i < length; i++)
        work.symbol[i].token = byte[(unsigned char)text[i]];
    merge_all(pieces, &work, length);
    emit(pieces, work.symbol, length);
}

static void piece(amli_pieces *pieces, const char *text, size_t length)
{
    const aml_vocabulary *head = pieces->head;
    if (head->flags & AML_VOCABULARY_WHOLE_FIRST) {
        int32_t whole = amli_trie_find(&pieces->trie, 0, text, length);
        if (whole >= 0) {
            amli_pieces_push(pieces, whole);
            return;
        }
    }
    if (head->flags & AML_VOCABULARY_BYTE_LEVEL) {
        bytes_piece(pieces, text, length);
        return;
    }
    // characters; unknown ones are made tokens first, which may be those of their bytes
    Work work;
    if (!work_for(pieces, length, &work))
        return;
    size_t before = pieces->tokens, count = 0;
    bool joins = false;
    for (size_t at = 0; at < length;) {
        size_t begin = at;
        amli_next_code(text, length, &at);
        int32_t token = character(pieces, text + begin, at - begin, begin == 0, at == length);
        if (token >= 0) {
            amli_pieces_push(pieces, token);
            joins = false;
        } else {
            amli_pieces_unknown(pieces, text + begin, at - begin, &joins);
        }
    }
    count = pieces->tokens - before;
    for (size_t i = 0; i < count; i++)
        work.symbol[i].token = pieces->token[before + i];
    pieces->tokens = before;
    merge_all(pieces, &work, count);
    emit(pieces, work.symbol, count);
}

AMLI_PIECES_ENGINE(bpe, piece);
