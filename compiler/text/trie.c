// trie.c: texts as a double array: a node's child by byte b is at base + b, and says in `check`
// whose child it is. Keys are sorted, so the keys below a node are a range.

#include "text/text.h"

#include <stdlib.h>
#include <string.h>

typedef struct Trie {
    Arena *arena;
    const TrieKey *key;
    TrieNodes *node;
    uint32_t search; // places below are nearly all taken
} Trie;

#define FREE UINT32_MAX

static int compare(const void *a, const void *b)
{
    const TrieKey *x = a, *y = b;
    size_t length = x->text.length < y->text.length ? x->text.length : y->text.length;
    int order = length ? memcmp(x->text.at, y->text.at, length) : 0;
    if (order != 0)
        return order;
    return (x->text.length > y->text.length) - (x->text.length < y->text.length);
}

static void reach(Trie *trie, uint32_t count)
{
    while ((uint32_t)trie->node->count < count) {
        const aml_trie_node empty = {0, FREE, -1};
        vec_push(trie->arena, trie->node, empty);
    }
}

static bool is_free(Trie *trie, uint32_t at)
{
    reach(trie, at + 1);
    return trie->node->at[at].check == FREE;
}

// The lowest base for which all children find a free place.
static uint32_t find_base(Trie *trie, const unsigned char byte[], int count)
{
    uint32_t taken = 0, first = trie->search > byte[0] ? trie->search : byte[0] + 1u;
    for (uint32_t at = first;; at++) {
        if (!is_free(trie, at)) {
            taken++;
            continue;
        }
        uint32_t base = at - byte[0];
        int fit = 1;
        while (fit < count && is_free(trie, base + byte[fit]))
            fit++;
        if (fit < count)
            continue;
        // where hardly a place was free, nobody has to look again
        if (taken > 64 && taken >= (at - first) / 20 * 19)
            trie->search = at;
        return base;
    }
}

static void grow(Trie *trie, uint32_t node, int from, int to, size_t depth)
{
    unsigned char byte[256];
    int begin[257], count = 0;
    if (from < to && trie->key[from].text.length == depth)
        trie->node->at[node].token = trie->key[from++].token;
    for (int i = from; i < to; i++) {
        unsigned char next = (unsigned char)trie->key[i].text.at[depth];
        if (count == 0 || byte[count - 1] != next) {
            byte[count] = next;
            begin[count++] = i;
        }
    }
    if (count == 0)
        return;
    begin[count] = to;
    uint32_t base = find_base(trie, byte, count);
    trie->node->at[node].base = base;
    for (int i = 0; i < count; i++)
        trie->node->at[base + byte[i]].check = node;
    for (int i = 0; i < count; i++)
        grow(trie, base + byte[i], begin[i], begin[i + 1], depth + 1);
}

bool trie_build(Arena *arena, TrieKey *key, int count, TrieNodes *out, const TrieKey *same[2])
{
    Trie trie = {arena, key, out, 1};
    *out = (TrieNodes){0};
    if (count == 0)
        return true;
    qsort(key, (size_t)count, sizeof *key, compare);
    for (int i = 1; i < count; i++)
        if (compare(&key[i - 1], &key[i]) == 0) {
            same[0] = &key[i - 1];
            same[1] = &key[i];
            return false;
        }
    reach(&trie, 1);
    out->at[0].check = 0;
    out->at[0].base = 1;
    grow(&trie, 0, 0, count, 0);
    return true;
}
