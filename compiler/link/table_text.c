// table_text.c: tokenizers as tables. The image of a tokenizer with pieces, which may be megabytes,
// is a file that the assembler puts in where tables are C text.

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

static const aml_vocabulary *image_of(const TableWriter *writer, const aml_tokenizer *of)
{
    return of->image && writer->spells_nothing
               ? vocabulary_without_spelling(writer->cx->arena, of->image)
               : of->image;
}

static TableRef write_image(TableWriter *writer, const aml_tokenizer *of, int number)
{
    const aml_vocabulary *image = of->image;
    const char *name = arena_printf(writer->cx->arena, "tokenizer_image%d", number);
    if (writer->image) {
        image = image_of(writer, of);
        return (TableRef){name,
                          {image_block(writer->image, image, image->bytes, AML_ALIGNMENT), 0}};
    }
    TOP("extern const struct aml_vocabulary %s;\n"
        "extern const struct amli_token_engine amli_tokens_%s;\n",
        name, engine(image));
    if (image->flags & AML_VOCABULARY_UNICODE)
        TOP("extern const struct amli_token_unicode amli_unicode_utf8proc;\n");
    if (image->flags & AML_VOCABULARY_REGEX)
        TOP("extern const struct amli_token_patterns amli_patterns_pcre2;\n");
    TOP("__asm__(\".section .rodata\\n.balign 64\\ntokenizer_image%d:\\n"
        ".incbin \\\"tokenizer%d.bin\\\"\\n.previous\\n\");\n",
        number, number);
    return (TableRef){arena_printf(writer->cx->arena, "&%s", name), {0}};
}

TableRef table_tokenizer(TableWriter *writer, const aml_tokenizer *of)
{
    Arena *arena = writer->cx->arena;
    if (!of)
        return (TableRef){0};
    for (int i = 0; i < writer->tokenizer.count; i++)
        if (writer->tokenizer.at[i] == of)
            return *writer->tokenizer_ref.at[i];
    int number = writer->tokenizer.count;
    TableRef *ref = NEW(arena, TableRef), image = {0}, code = {0};
    vec_push(arena, &writer->tokenizer, of);
    vec_push(arena, &writer->tokenizer_ref, ref);
    if (of->image)
        image = write_image(writer, of, number);
    if (of->code)
        code = table_values(writer, arena_printf(arena, "code%d", number), TABLE_UINT32, of->code,
                            of->vocab);
    TableArray array =
        TABLE_ARRAY(writer, arena_printf(arena, "tokenizer%d", number), aml_tokenizer, 1);
    TableRow *row = table_next(&array);
    WHOLE(row, aml_tokenizer, kind, of->kind);
    WHOLE(row, aml_tokenizer, vocab, of->vocab);
    POINT(row, aml_tokenizer, code, code);
    POINT(row, aml_tokenizer, image, image);
    if (of->image) {
        TEXT(row, aml_tokenizer, hash, sha256_hex(writer->cx, of->image, of->image->bytes));
        SYMBOL(row, aml_tokenizer, engine,
               arena_printf(arena, "&amli_tokens_%s", engine(of->image)));
        if (of->image->flags & AML_VOCABULARY_REGEX)
            SYMBOL(row, aml_tokenizer, pattern, "&amli_patterns_pcre2");
        if (of->image->flags & AML_VOCABULARY_UNICODE)
            SYMBOL(row, aml_tokenizer, unicode, "&amli_unicode_utf8proc");
    }
    *ref = table_end_array(&array);
    return *ref;
}

TableRef table_text_rule(TableWriter *writer, const aml_text_rule *of)
{
    if (!of)
        return (TableRef){0};
    TableRef tokenizer = table_tokenizer(writer, of->tokenizer);
    TableArray array = TABLE_ARRAY(writer, table_name(writer, "text", "rule"), aml_text_rule, 1);
    TableRow *row = table_next(&array);
    POINT(row, aml_text_rule, tokenizer, tokenizer);
    WHOLE(row, aml_text_rule, tokens, of->tokens);
    WHOLE(row, aml_text_rule, pad, of->pad);
    WHOLE(row, aml_text_rule, special, of->special);
    WHOLE(row, aml_text_rule, keeps_end, of->keeps_end);
    WHOLE(row, aml_text_rule, must_fit, of->must_fit);
    WHOLE(row, aml_text_rule, counts, of->counts);
    return table_end_array(&array);
}

TableRef table_files(TableWriter *writer, const aml_files *of)
{
    if (!of)
        return (TableRef){0};
    TableRef part = table_texts(writer, table_name(writer, "files", "part"), of->part, of->parts);
    TableArray keeps =
        TABLE_ARRAY(writer, table_name(writer, "files", "keep"), aml_name_keep, of->keeps);
    for (int i = 0; i < of->keeps; i++) {
        const aml_name_keep *keep = &of->keep[i];
        TableRef texts =
            table_texts(writer, table_name(writer, "files", "kept"), keep->text, keep->texts);
        TableRow *row = table_next(&keeps);
        WHOLE(row, aml_name_keep, part, keep->part);
        WHOLE(row, aml_name_keep, low, keep->low);
        WHOLE(row, aml_name_keep, high, keep->high);
        WHOLE(row, aml_name_keep, texts, keep->texts);
        POINT(row, aml_name_keep, text, texts);
    }
    TableRef keep = table_end_array(&keeps);
    TableArray array = TABLE_ARRAY(writer, table_name(writer, "files", "names"), aml_files, 1);
    TableRow *row = table_next(&array);
    TEXT(row, aml_files, name, of->name);
    TEXT(row, aml_files, list, of->list);
    WHOLE(row, aml_files, parts, of->parts);
    POINT(row, aml_files, part, part);
    WHOLE(row, aml_files, keeps, of->keeps);
    POINT(row, aml_files, keep, keep);
    WHOLE(row, aml_files, rate, of->rate);
    WHOLE(row, aml_files, middle, of->middle);
    return table_end_array(&array);
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
    for (int i = 0; i < count; i++)
        image[i] = image_of(writer, writer->tokenizer.at[i]);
    return (Tables){.text = writer->top.text, .image = image, .images = count};
}
