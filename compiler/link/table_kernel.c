// table_kernel.c: kernels of a function that may be watched. Their texts are one, and each is
// written once: a table without pointers is shorter, and needs no work when the program starts.

#include "link/link.h"

#include <string.h>

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

typedef struct Texts {
    TableWriter *writer;
    Map known;  // to the place of a text; 0 is none
    Buffer out; // with the zeros behind them
} Texts;

static unsigned text_at(Texts *texts, const char *text)
{
    Cx *cx = texts->writer->cx;
    if (!text)
        return 0;
    Sym key = sym_of(cx, text);
    uintptr_t known = (uintptr_t)map_get(&texts->known, key);
    if (known)
        return (unsigned)known;
    known = texts->out.length;
    map_put(cx->arena, &texts->known, key, (void *)known);
    buffer_append(&texts->out, text, strlen(text) + 1);
    return (unsigned)known;
}

static TableRef end_texts(Texts *texts, const char *name)
{
    TableWriter *writer = texts->writer;
    const char *at = texts->out.text, *end = at + texts->out.length;
    if (writer->image)
        return (TableRef){name, {image_block(writer->image, at, texts->out.length, 1), 0}};
    TOP("static const char %s[] =\n", name);
    for (; at < end; at += strlen(at) + 1)
        TOP("    %s%s\n", table_text(writer, at), at + strlen(at) + 1 < end ? " \"\\0\"" : ";");
    return (TableRef){name, {0}};
}

const char *table_place(const char *text)
{
    const char *slash = text && text[0] != '<' ? strrchr(text, '/') : NULL;
    return slash ? slash + 1 : text;
}

void row_kernels(TableRow *row, const Entry *entry, const char *name)
{
    TableWriter *writer = row->writer;
    Arena *arena = writer->cx->arena;
    Texts texts = {.writer = writer, .out = {.arena = arena}};
    int results = 0;
    if (entry->kernel.count == 0)
        return;
    buffer_append(&texts.out, "", 1);
    for (int i = 0; i < entry->kernel.count; i++)
        results += entry->kernel.at[i].results;
    TableArray result = TABLE_ARRAY(writer, arena_printf(arena, "%s_result", name),
                                    aml_kernel_result, results),
               kernels = TABLE_ARRAY(writer, name, aml_kernel, entry->kernel.count);
    for (int i = 0, first = 0; i < entry->kernel.count; i++) {
        const EntryKernel *kernel = &entry->kernel.at[i];
        for (int k = 0; k < kernel->results; k++) {
            TableRow *one = table_next(&result);
            WHOLE(one, aml_kernel_result, dtype, kernel->result[k].dtype);
            WHOLE(one, aml_kernel_result, place,
                  text_at(&texts, table_place(kernel->result[k].place)));
            WHOLE(one, aml_kernel_result, elements, kernel->result[k].elements);
        }
        TableRow *one = table_next(&kernels);
        WHOLE(one, aml_kernel, place, text_at(&texts, table_place(kernel->place)));
        WHOLE(one, aml_kernel, lines, text_at(&texts, kernel->lines));
        WHOLE(one, aml_kernel, what, text_at(&texts, kernel->what));
        WHOLE(one, aml_kernel, weight, text_at(&texts, kernel->weight));
        WHOLE(one, aml_kernel, results, kernel->results);
        WHOLE(one, aml_kernel, first, first);
        REAL(one, aml_kernel, flops, kernel->flops);
        REAL(one, aml_kernel, bytes, kernel->bytes);
        WHOLE(one, aml_kernel, loop, kernel->loop);
        first += kernel->results;
    }
    WHOLE(row, aml_function, kernels, entry->kernel.count);
    POINT(row, aml_function, kernel, table_end_array(&kernels));
    POINT(row, aml_function, result, table_end_array(&result));
    POINT(row, aml_function, text, end_texts(&texts, arena_printf(arena, "%s_text", name)));
}
