// table_text.c: tokenizers as tables. The image of a tokenizer with pieces, which may be megabytes,
// is a file that the assembler puts in.

#include "link/link.h"

#include "aml/vocabulary.h"
#include "text/text.h"

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

static const char *engine(const aml_vocabulary *image)
{
    static const char *const name[] = {
#define TOKENS(NAME, name, meaning) #name,
#include "aml/tokens.def"
#undef TOKENS
    };
    return name[image->model];
}

static void write_image(TableWriter *writer, const aml_tokenizer *of, int number)
{
    const aml_vocabulary *image = of->image;
    TOP("extern const struct aml_vocabulary tokenizer_image%d;\n"
        "extern const struct amli_token_engine amli_tokens_%s;\n",
        number, engine(image));
    if (image->flags & AML_VOCABULARY_UNICODE)
        TOP("extern const struct amli_token_unicode amli_unicode_utf8proc;\n");
    if (image->flags & AML_VOCABULARY_REGEX)
        TOP("extern const struct amli_token_patterns amli_patterns_pcre2;\n");
    TOP("__asm__(\".section .rodata\\n.balign 64\\ntokenizer_image%d:\\n"
        ".incbin \\\"tokenizer%d.bin\\\"\\n.previous\\n\");\n",
        number, number);
}

const char *table_tokenizer(TableWriter *writer, const aml_tokenizer *of)
{
    Arena *arena = writer->cx->arena;
    if (!of)
        return "0";
    for (int i = 0; i < writer->tokenizer.count; i++)
        if (writer->tokenizer.at[i] == of)
            return arena_printf(arena, "&tokenizer%d", i);
    int number = writer->tokenizer.count;
    vec_push(arena, &writer->tokenizer, of);
    if (of->image)
        write_image(writer, of, number);
    if (of->code) {
        TOP("static const uint32_t code%d[] = {", number);
        for (int i = 0; i < of->vocab; i++)
            TOP("%s%u,", i % 16 ? " " : "\n    ", (unsigned)of->code[i]);
        TOP("\n};\n");
    }
    TOP("static const aml_tokenizer tokenizer%d = {.kind = (aml_tokenizer_kind)%d, .vocab = %d",
        number, of->kind, of->vocab);
    if (of->code)
        TOP(", .code = code%d", number);
    if (of->image)
        TOP(",\n    .image = &tokenizer_image%d, .hash = %s, .engine = &amli_tokens_%s%s%s", number,
            table_text(writer, sha256_hex(writer->cx, of->image, of->image->bytes)),
            engine(of->image),
            of->image->flags & AML_VOCABULARY_REGEX ? ", .pattern = &amli_patterns_pcre2" : "",
            of->image->flags & AML_VOCABULARY_UNICODE ? ", .unicode = &amli_unicode_utf8proc" : "");
    TOP("};\n");
    return arena_printf(arena, "&tokenizer%d", number);
}

const char *table_text_rule(TableWriter *writer, const aml_text_rule *of)
{
    if (!of)
        return "";
    const char *tokenizer = table_tokenizer(writer, of->tokenizer);
    int number = writer->arrays++;
    TOP("extern const struct amli_cell_decoder amli_text_cells;\nstatic const aml_text_rule "
        "text_rule_%d = {.tokenizer = %s, .tokens = %lld, .pad = %d, .special = %d, .keeps_end = "
        "%d, .must_fit = %d, .counts = %d};\n",
        number, tokenizer, (long long)of->tokens, of->pad, of->special, of->keeps_end, of->must_fit,
        of->counts);
    return arena_printf(writer->cx->arena,
                        ",\n    .decoder = &amli_text_cells, .text = &text_rule_%d", number);
}

static const char *names(TableWriter *writer, const char *const at[], int count, const char *what,
                         int number)
{
    const char *name = arena_printf(writer->cx->arena, "%s_%d", what, number);
    if (count == 0)
        return "0";
    TOP("static const char *const %s[] = {", name);
    for (int i = 0; i < count; i++)
        TOP("%s%s", i ? ", " : "", table_text(writer, at[i]));
    TOP("};\n");
    return name;
}

const char *table_files(TableWriter *writer, const aml_files *of)
{
    Arena *arena = writer->cx->arena;
    if (!of)
        return "0";
    int number = writer->arrays++;
    const char *part = names(writer, of->part, of->parts, "part", number);
    Buffer keep = {.arena = arena};
    buffer_text(&keep, "");
    for (int i = 0; i < of->keeps; i++)
        buffer_printf(&keep, "    {%d, %lldll, %lldll, %d, %s},\n", of->keep[i].part,
                      (long long)of->keep[i].low, (long long)of->keep[i].high, of->keep[i].texts,
                      names(writer, of->keep[i].text, of->keep[i].texts, "kept", writer->arrays++));
    if (of->keeps)
        TOP("static const aml_name_keep keep_%d[] = {\n%s};\n", number, keep.text);
    TOP("static const aml_files files_%d = {.name = %s, .list = %s, .parts = %d, .part = %s, "
        ".keeps = %d, "
        ".keep = %s, .rate = %lld, .middle = %d};\n",
        number, table_text(writer, of->name), table_text(writer, of->list), of->parts, part,
        of->keeps, of->keeps ? arena_printf(arena, "keep_%d", number) : "0", (long long)of->rate,
        of->middle);
    return arena_printf(arena, "&files_%d", number);
}

const char *tokenizer_libraries(Cx *cx, const Tables *tables)
{
    bool unicode = false, patterns = false;
    for (int i = 0; i < tables->images; i++) {
        const aml_vocabulary *image = tables->image[i];
        unicode |= image && (image->flags & AML_VOCABULARY_UNICODE);
        patterns |= image && (image->flags & AML_VOCABULARY_REGEX);
    }
    return arena_printf(cx->arena, "%s%s", unicode ? " -l:libutf8proc.a" : "",
                        patterns ? " -l:libpcre2-8.a" : "");
}

// The images that the program carries.
Tables table_end(TableWriter *writer)
{
    Arena *arena = writer->cx->arena;
    int count = writer->tokenizer.count;
    const aml_vocabulary **image = NEW_ARRAY(arena, const aml_vocabulary *, count + 1);
    for (int i = 0; i < count; i++) {
        image[i] = writer->tokenizer.at[i]->image;
        if (image[i] && writer->spells_nothing)
            image[i] = vocabulary_without_spelling(arena, image[i]);
    }
    return (Tables){.text = writer->top.text, .image = image, .images = count};
}
