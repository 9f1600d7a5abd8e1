// base/: memory, text, names, source files. Everything else in the compiler includes this first.
//
// The idea: one Cx is one compilation. It owns one arena that lives until the end and one scratch
// arena that is emptied after each pass; nothing is freed piecemeal. There are no globals, so
// fuzzers, tests and the language server run many compilations in one process, one after the other
// or one per thread.

#ifndef AML_BASE_H
#define AML_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define AML_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define AML_NORETURN __attribute__((noreturn))

typedef struct Cx Cx;

// ---- arena.c: memory that goes away all at once ------------------------------------------------

typedef struct Arena Arena;

Arena *arena_new(void);
void arena_free(Arena *arena);
void arena_reset(Arena *arena); // everything allocated so far goes away, the blocks are kept
void arena_trim(Arena *arena);  // gives back the memory that is not in use
void *
arena_alloc(Arena *arena,
            size_t bytes); // zeroed, aligned to 16; never NULL (out of memory ends the process)
void *arena_copy(Arena *arena, const void *from, size_t bytes);
char *arena_text(Arena *arena, const char *from, size_t length); // a NUL-terminated copy
char *arena_printf(Arena *arena, const char *format, ...) AML_PRINTF(2, 3);
char *arena_vprintf(Arena *arena, const char *format, va_list args) AML_PRINTF(2, 0);
// format.c: vsnprintf, but quick for formats of strings and whole numbers alone.
int format_text(char *to, size_t room, const char *format, va_list args) AML_PRINTF(3, 0);

#define NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define NEW_ARRAY(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (size_t)(count)))

// ---- vec.c: arrays that grow in an arena -------------------------------------------------------

// A growable array: `Vec(Node *) list = {0}; vec_push(arena, &list, node); list.at[i]; list.count`.
#define Vec(type)                                                                                  \
    struct {                                                                                       \
        type *at;                                                                                  \
        int count;                                                                                 \
        int capacity;                                                                              \
    }
#define vec_push(arena, vec, item)                                                                 \
    ((vec)->count == (vec)->capacity                                                               \
         ? (void)((vec)->at = vec_grow((arena), (vec)->at, &(vec)->capacity, (vec)->count,         \
                                       sizeof *(vec)->at))                                         \
         : (void)0,                                                                                \
     (void)((vec)->at[(vec)->count++] = (item)))
void *vec_grow(Arena *arena, void *at, int *capacity, int count, size_t size);

// A text under construction, always NUL-terminated. `text` is never NULL after the first append.
typedef struct Buffer {
    Arena *arena;
    char *text;
    size_t length, capacity;
} Buffer;
void buffer_append(Buffer *buffer, const char *text, size_t length);
void buffer_text(Buffer *buffer, const char *text);
void buffer_printf(Buffer *buffer, const char *format, ...) AML_PRINTF(2, 3);

// ---- names.c: interned names and maps ----------------------------------------------------------

// An interned, NUL-terminated text: equal names are equal pointers. NULL means "no name".
typedef const char *Sym;

Sym sym_intern(Cx *cx, const char *text, size_t length);
Sym sym_of(Cx *cx, const char *text); // the same for a NUL-terminated text
Sym sym_printf(Cx *cx, const char *format, ...) AML_PRINTF(2, 3);

// From name to pointer, in insertion order. A zeroed Map is empty.
typedef struct Map {
    Sym *key;
    void **value;
    int count, capacity;
    int *slot;
    int slots;
} Map;
void *map_get(const Map *map, Sym key);                     // NULL if absent
void map_put(Arena *arena, Map *map, Sym key, void *value); // replaces

// The candidate closest to `word` (restricted Damerau-Levenshtein distance, at most a third of its
// length), or NULL.
const char *closest_name(const char *word, const char *const candidates[], int count);

// ---- source.c: source files and places in them -------------------------------------------------

// A range of bytes in one file. file 0 is "nowhere" (made by the compiler).
typedef struct Span {
    uint32_t file;
    uint32_t start, end;
} Span;

static inline Span span_join(Span a, Span b)
{
    if (a.file == 0)
        return b;
    if (b.file != a.file)
        return a;
    return (Span){a.file, a.start < b.start ? a.start : b.start, a.end > b.end ? a.end : b.end};
}

typedef struct SourceFile {
    const char *path; // as the user named it; "<std>/nn/dense.aml" for the standard library
    const char *text; // NUL-terminated, `length` bytes before the NUL
    size_t length;
    bool is_std;        // part of the standard library
    Vec(uint32_t) line; // byte offset at which each line begins; empty until a place is asked for
} SourceFile;

// The line and column (both from 1, columns in Unicode code points) at which `span` begins.
typedef struct Place {
    const char *path;
    int line, column;
} Place;

// Copies text, unless it is the library's, which lives as long as amlc.
uint32_t source_add(Cx *cx, const char *path, const char *text, size_t length, bool is_std);
const SourceFile *source_file(const Cx *cx, uint32_t file);
Place source_place(const Cx *cx, Span span);
Span source_line_span(const Cx *cx,
                      Span span); // the whole first line of `span`, without the newline

// Reads a whole file. False with errno set if it cannot be read or is larger than `limit` bytes
// (EFBIG).
bool file_read(Arena *arena, const char *path, size_t limit, char **text, size_t *length);

const char *path_inside(Cx *cx, const char *folder, const char *name);
// A data file as a program finds it: beside the source, in the current folder, under $AML_DATA.
// NULL if it is in none of them.
const char *find_data(Cx *cx, const char *path);

// ---- cx.c: a compilation -----------------------------------------------------------------------

// What `-D name=value` said; `used` is set by the first const of that name.
typedef struct Define {
    Sym name;
    const char *value;
    bool used;
} Define;

// A stage of the compilation and how long it took.
typedef struct Lap {
    const char *name;
    double seconds;   // that passed; negative: a part of the next stage, in several threads
    double processor; // seconds of processor time, with those of processes that ended
    int64_t peak;     // MiB of memory at most until then
} Lap;

struct DiagState; // diag/diag.h
struct IrModule;  // ir/ir.h

// A train block whose model learns this share of its loss from a teacher of its own kind, the names
// of whose states begin with TEACHER and a dot, and whose rates are so much of what it says.
typedef struct Teaching {
    const char *job; // NULL: none
    double share;    // 0: no teacher
    double rate;
} Teaching;
#define TEACHER "(whole)"

struct Cx {
    Arena *arena;             // lives as long as the compilation
    Arena *scratch;           // emptied after each pass
    Vec(SourceFile *) source; // by file number; [0] is "nowhere"
    Map symbol;               // the interner's table
    struct DiagState *diag;
    Vec(Define) define;
    const char *source_dir; // folder of the main file
    const char *batch_of;   // a train block that is compiled with another batch; NULL: none
    int64_t batch;
    Teaching teaching;
    bool without_data; // sizes that missing data would give are made up: nothing is built
    Vec(Lap) lap;
    double lap_at; // when the last lap ended; 0: nobody asks
    double lap_processor;
};

Cx *cx_new(void);
void cx_free(Cx *cx);

// ---- lap.c: where the time goes. Without lap_start the others do nothing.

void lap_start(Cx *cx);
void lap_end(Cx *cx, const char *name); // the time since the last lap belongs to `name`
void lap_part(Cx *cx, const char *name, double processor); // of the stage that ends next
double lap_thread(void); // seconds of processor time of this thread
void lap_print(const Cx *cx, FILE *out);

#endif
