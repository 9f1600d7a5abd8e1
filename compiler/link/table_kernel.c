// table_kernel.c: kernels of a function that may be watched. Their texts are one, and each is
// written once: a table without pointers is shorter, and needs no work when the program starts.

#include "link/link.h"

#include <string.h>

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

typedef struct Texts {
    TableWriter *writer;
    Map known;   // to the place of a text
    Buffer out;  // C literals
    size_t next; // place; 0 is none
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
    known = texts->next;
    map_put(cx->arena, &texts->known, key, (void *)known);
    buffer_printf(&texts->out, "    %s \"\\0\"\n", table_text(texts->writer, text));
    texts->next += strlen(text) + 1;
    return (unsigned)known;
}

const char *table_place(const char *text)
{
    const char *slash = text && text[0] != '<' ? strrchr(text, '/') : NULL;
    return slash ? slash + 1 : text;
}

const char *table_kernels(TableWriter *writer, const Entry *entry, const char *name)
{
    Arena *arena = writer->cx->arena;
    Texts texts = {.writer = writer, .out = {.arena = arena}, .next = 1};
    if (entry->kernel.count == 0)
        return "";
    buffer_text(&texts.out, "    \"\\0\"\n");
    TOP("static const aml_kernel_result %s_result[] = {", name);
    for (int i = 0; i < entry->kernel.count; i++)
        for (int k = 0; k < entry->kernel.at[i].results; k++) {
            const EntryResult *result = &entry->kernel.at[i].result[k];
            TOP("{%d, %u, %lldll}, ", result->dtype, text_at(&texts, table_place(result->place)),
                (long long)result->elements);
        }
    TOP("};\nstatic const aml_kernel %s[] = {\n", name);
    for (int i = 0, first = 0; i < entry->kernel.count; i++) {
        const EntryKernel *kernel = &entry->kernel.at[i];
        TOP("    {.place = %u, .lines = %u, .what = %u, .weight = %u, .results = %d, .first = %d, "
            ".flops = %s, .bytes = %s, .loop = %d},\n",
            text_at(&texts, table_place(kernel->place)), text_at(&texts, kernel->lines),
            text_at(&texts, kernel->what), text_at(&texts, kernel->weight), kernel->results, first,
            table_real(writer, kernel->flops), table_real(writer, kernel->bytes), kernel->loop);
        first += kernel->results;
    }
    TOP("};\nstatic const char %s_text[] =\n%s;\n", name, texts.out.text);
    return arena_printf(arena,
                        ", .kernels = %d, .kernel = %s, .result = %s_result, .text = %s_text",
                        entry->kernel.count, name, name, name);
}
