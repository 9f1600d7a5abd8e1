// names.c: interned names, maps, and the name that was probably meant.

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_bytes(const char *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static uint64_t hash_sym(Sym key)
{
    uint64_t bits = (uint64_t)(uintptr_t)key >> 4; // names are aligned to 16
    return bits * 0x9e3779b97f4a7c15u >> 20;
}

// slot[i] is 1 + the index of an entry, or 0; entries are found by linear probing from their hash.
// The interner is a Map as well, only hashed by text: `by_text`.
static void map_rehash(Arena *arena, Map *map, bool by_text)
{
    map->slots = map->slots ? map->slots * 2 : 16;
    map->slot = NEW_ARRAY(arena, int, map->slots);
    for (int i = 0; i < map->count; i++) {
        uint64_t hash =
            by_text ? hash_bytes(map->key[i], strlen(map->key[i])) : hash_sym(map->key[i]);
        int at = (int)(hash & (uint64_t)(map->slots - 1));
        while (map->slot[at])
            at = (at + 1) & (map->slots - 1);
        map->slot[at] = i + 1;
    }
}

static void map_append(Arena *arena, Map *map, Sym key, void *value, bool by_text)
{
    if (map->count == map->capacity) {
        int capacity = map->capacity;
        map->key = vec_grow(arena, map->key, &capacity, map->count, sizeof *map->key);
        map->value = vec_grow(arena, map->value, &map->capacity, map->count, sizeof *map->value);
    }
    map->key[map->count] = key;
    map->value[map->count] = value;
    map->count++;
    if (map->count * 2 > map->slots) {
        map_rehash(arena, map, by_text);
        return;
    }
    uint64_t hash = by_text ? hash_bytes(key, strlen(key)) : hash_sym(key);
    int at = (int)(hash & (uint64_t)(map->slots - 1));
    while (map->slot[at])
        at = (at + 1) & (map->slots - 1);
    map->slot[at] = map->count;
}

static int map_find(const Map *map, Sym key)
{
    if (map->slots == 0)
        return -1;
    int at = (int)(hash_sym(key) & (uint64_t)(map->slots - 1));
    for (; map->slot[at]; at = (at + 1) & (map->slots - 1))
        if (map->key[map->slot[at] - 1] == key)
            return map->slot[at] - 1;
    return -1;
}

void *map_get(const Map *map, Sym key)
{
    int index = map_find(map, key);
    return index < 0 ? NULL : map->value[index];
}

void map_put(Arena *arena, Map *map, Sym key, void *value)
{
    int index = map_find(map, key);
    if (index >= 0)
        map->value[index] = value;
    else
        map_append(arena, map, key, value, false);
}

Sym sym_intern(Cx *cx, const char *text, size_t length)
{
    Map *table = &cx->symbol;
    if (table->slots > 0) {
        int at = (int)(hash_bytes(text, length) & (uint64_t)(table->slots - 1));
        for (; table->slot[at]; at = (at + 1) & (table->slots - 1)) {
            Sym known = table->key[table->slot[at] - 1];
            if (strncmp(known, text, length) == 0 && known[length] == 0)
                return known;
        }
    }
    Sym made = arena_text(cx->arena, text, length);
    map_append(cx->arena, table, made, NULL, true);
    return made;
}

Sym sym_of(Cx *cx, const char *text)
{
    return sym_intern(cx, text, strlen(text));
}

Sym sym_printf(Cx *cx, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(cx->scratch, format, args);
    va_end(args);
    return sym_of(cx, text);
}

// ---- did you mean

#define LONGEST_WORD 64

// Restricted Damerau-Levenshtein distance: insert, drop, replace, or swap two neighbours. Three
// rows of the usual table.
static int edit_distance(const char *a, int length_a, const char *b, int length_b)
{
    int rows[3][LONGEST_WORD + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= length_b; j++)
        above[j] = j;
    memcpy(before, above, sizeof rows[0]);
    for (int i = 1; i <= length_a; i++) {
        row[0] = i;
        for (int j = 1; j <= length_b; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        int *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[length_b];
}

const char *closest_name(const char *word, const char *const candidates[], int count)
{
    size_t length = strlen(word);
    if (length < 2 || length > LONGEST_WORD)
        return NULL;
    const char *best = NULL;
    int limit = length < 3 ? 1 : (int)length / 3, best_distance = limit + 1;
    for (int i = 0; i < count; i++) {
        size_t other = candidates[i] ? strlen(candidates[i]) : 0;
        if (other < 2 || other > LONGEST_WORD || strcmp(candidates[i], word) == 0)
            continue;
        int distance = edit_distance(word, (int)length, candidates[i], (int)other);
        if (distance < best_distance) {
            best_distance = distance;
            best = candidates[i];
        }
    }
    return best;
}
