// buffer.c: texts under construction.

#include "base/base.h"

#include <string.h>

// Makes room for `more` bytes and the NUL.
static void buffer_reserve(Buffer *buffer, size_t more)
{
    if (buffer->text && buffer->capacity - buffer->length > more)
        return;
    size_t capacity = buffer->capacity ? buffer->capacity * 2 : 64;
    while (capacity - buffer->length <= more)
        capacity *= 2;
    char *text = arena_alloc(buffer->arena, capacity);
    if (buffer->length > 0)
        memcpy(text, buffer->text, buffer->length);
    buffer->text = text;
    buffer->capacity = capacity;
}

void buffer_append(Buffer *buffer, const char *text, size_t length)
{
    buffer_reserve(buffer, length);
    if (length > 0)
        memcpy(buffer->text + buffer->length, text, length);
    buffer->length += length;
    buffer->text[buffer->length] = 0;
}

void buffer_text(Buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_printf(Buffer *buffer, const char *format, ...)
{
    char small[256]; // most texts are short, and need not be made twice
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = format_text(small, sizeof small, format, args);
    if (length >= 0 && (size_t)length < sizeof small) {
        buffer_append(buffer, small, (size_t)length);
    } else if (length >= 0) {
        buffer_reserve(buffer, (size_t)length);
        format_text(buffer->text + buffer->length, (size_t)length + 1, format, again);
        buffer->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}
