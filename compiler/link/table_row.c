// table_row.c: rows of tables, field by field, either as C text or in memory (image.c). So each
// field is named once, and its place, its size and its text follow from that.

#include "link/link.h"

#include <string.h>

#define TOP(...) buffer_printf(&writer->top, __VA_ARGS__)

TableRow table_lone_row(TableWriter *writer)
{
    TableRow row = {.writer = writer, .text = {.arena = writer->cx->arena}};
    buffer_text(&row.text, "");
    return row;
}

const char *table_row_text(const TableRow *row)
{
    return arena_printf(row->writer->cx->arena, "{%s}", row->text.length ? row->text.text : "0");
}

TableArray table_array(TableWriter *writer, const char *name, const char *type, size_t size,
                       int64_t count)
{
    TableArray array = {.writer = writer,
                        .type = type,
                        .size = size,
                        .count = count,
                        .name = name,
                        .rows = {.arena = writer->cx->arena},
                        .row = table_lone_row(writer)};
    if (writer->image && count)
        array.block = image_block(writer->image, NULL, size * (size_t)count, sizeof(void *));
    return array;
}

static void end_row(TableArray *array)
{
    if (!array->writer->image && array->begun)
        buffer_printf(&array->rows, "    %s,\n", table_row_text(&array->row));
}

TableRow *table_next(TableArray *array)
{
    end_row(array);
    array->row = table_lone_row(array->writer);
    array->row.at = (ImagePlace){array->block, array->size * (size_t)array->begun++};
    return &array->row;
}

TableRef table_end_array(TableArray *array)
{
    TableWriter *writer = array->writer;
    if (!array->count)
        return (TableRef){0};
    end_row(array);
    if (!writer->image)
        TOP("static const %s %s[] = {\n%s};\n", array->type, array->name, array->rows.text);
    return (TableRef){array->name, {array->block, 0}};
}

TableRef table_values(TableWriter *writer, const char *name, TableValue kind, const void *at,
                      int64_t count)
{
    static const char *const type[] = {"int32_t", "uint32_t", "double"};
    static const size_t size[] = {sizeof(int32_t), sizeof(uint32_t), sizeof(double)};
    if (count == 0)
        return (TableRef){0};
    if (writer->image) {
        int block = image_block(writer->image, NULL, size[kind] * (size_t)count, size[kind]);
        ImagePlace place = {block, 0};
        memcpy(image_at(writer->image, place), at, size[kind] * (size_t)count);
        return (TableRef){name, place};
    }
    TOP("static const %s %s[] = {", type[kind], name);
    for (int64_t i = 0; i < count; i++)
        switch (kind) {
        case TABLE_INT32:
            TOP("%s%d", i ? ", " : "", ((const int32_t *)at)[i]);
            break;
        case TABLE_UINT32:
            TOP("%s%uu", i ? ", " : "", ((const uint32_t *)at)[i]);
            break;
        case TABLE_DOUBLE:
            TOP("%s%s", i ? ", " : "", table_real(writer, ((const double *)at)[i]));
            break;
        }
    TOP("};\n");
    return (TableRef){name, {0}};
}

TableRef table_texts(TableWriter *writer, const char *name, const char *const at[], int64_t count)
{
    if (count == 0)
        return (TableRef){0};
    if (writer->image) {
        int block = image_block(writer->image, NULL, sizeof *at * (size_t)count, sizeof(void *));
        for (int64_t i = 0; i < count; i++)
            if (at[i])
                image_text(writer->image, (ImagePlace){block, sizeof *at * (size_t)i}, at[i]);
        return (TableRef){name, {block, 0}};
    }
    TOP("static const char *const %s[] = {", name);
    for (int64_t i = 0; i < count; i++)
        TOP("%s%s", i ? ", " : "", table_text(writer, at[i]));
    TOP("};\n");
    return (TableRef){name, {0}};
}

// ---- fields

static ImagePlace inside(const TableRow *row, size_t offset)
{
    return (ImagePlace){row->at.block, row->at.offset + offset};
}

static void put(TableRow *row, const char *field, const char *value)
{
    buffer_printf(&row->text, "%s.%s = %s", row->text.length ? ", " : "", field, value);
}

void row_whole(TableRow *row, const char *field, size_t offset, size_t size, int64_t value)
{
    Image *image = row->writer->image;
    if (image) // the low bytes come first
        memcpy(image_at(image, inside(row, offset)), &value, size);
    else
        put(row, field,
            arena_printf(row->writer->cx->arena, "%lld%s", (long long)value,
                         size == sizeof value ? "ll" : ""));
}

void row_wholes(TableRow *row, const char *field, size_t offset, size_t size, const void *at,
                int count)
{
    Image *image = row->writer->image;
    if (image) {
        memcpy(image_at(image, inside(row, offset)), at, size * (size_t)count);
        return;
    }
    Buffer list = {.arena = row->writer->cx->arena};
    buffer_text(&list, "{");
    for (int i = 0; i < count; i++)
        buffer_printf(&list, "%s%lld", i ? ", " : "",
                      size == sizeof(int64_t) ? (long long)((const int64_t *)at)[i]
                                              : (long long)((const int32_t *)at)[i]);
    if (count) {
        buffer_text(&list, "}");
        put(row, field, list.text);
    }
}

void row_real(TableRow *row, const char *field, size_t offset, double value)
{
    Image *image = row->writer->image;
    if (image)
        memcpy(image_at(image, inside(row, offset)), &value, sizeof value);
    else
        put(row, field, table_real(row->writer, value));
}

void row_text(TableRow *row, const char *field, size_t offset, const char *text)
{
    Image *image = row->writer->image;
    if (!text)
        return;
    if (image)
        image_text(image, inside(row, offset), text);
    else
        put(row, field, table_text(row->writer, text));
}

void row_point(TableRow *row, const char *field, size_t offset, TableRef to)
{
    Image *image = row->writer->image;
    if (!to.name)
        return;
    if (image)
        image_point(image, inside(row, offset), to.at);
    else
        put(row, field, to.name);
}

void row_symbol(TableRow *row, const char *field, size_t offset, const char *symbol)
{
    Image *image = row->writer->image;
    if (image)
        image_symbol(image, inside(row, offset), *symbol == '&' ? symbol + 1 : symbol);
    else
        put(row, field, symbol);
}

TableRow row_open(TableRow *row, size_t offset)
{
    TableRow inner = table_lone_row(row->writer);
    inner.at = inside(row, offset);
    return inner;
}

void row_close(TableRow *row, const char *field, const TableRow *inner)
{
    if (!row->writer->image)
        put(row, field, table_row_text(inner));
}
