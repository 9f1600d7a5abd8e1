// Failures and the texts of the public types.

#include <stdio.h>
#include <string.h>

#include "runtime/base/base.h"

// Lists are one text each, with zeros between: pointers would have to be relocated.
static const char status_names[] =
#define STATUS(NAME, exit_code, meaning) #NAME "\0"
#include "aml/status.def"
#undef STATUS
    "UNKNOWN";
static const char status_meanings[] =
#define STATUS(NAME, exit_code, meaning) meaning "\0"
#include "aml/status.def"
#undef STATUS
    "unknown status";
static const uint8_t exit_codes[] = {
#define STATUS(NAME, exit_code, meaning) [AML_##NAME] = exit_code,
#include "aml/status.def"
#undef STATUS
    101};

static const char dtype_names[] =
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) #name "\0"
#include "dtypes.def"
#undef DTYPE
    "unknown";
static const uint8_t dtype_bytes[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) [AML_##NAME] = bytes,
#include "dtypes.def"
#undef DTYPE
    0};

static int at_most(unsigned value, size_t rows)
{
    return value < rows ? (int)value : (int)rows - 1;
}

const char *amli_listed(const char *list, int index)
{
    while (index > 0)
        index -= !*list++;
    return list;
}

const char *aml_status_name(aml_status status)
{
    return amli_listed(status_names, at_most((unsigned)status, sizeof exit_codes));
}

const char *aml_status_meaning(aml_status status)
{
    return amli_listed(status_meanings, at_most((unsigned)status, sizeof exit_codes));
}

int aml_status_exit_code(aml_status status)
{
    return exit_codes[at_most((unsigned)status, sizeof exit_codes)];
}

const char *aml_dtype_name(aml_dtype dtype)
{
    return amli_listed(dtype_names, at_most((unsigned)dtype, sizeof dtype_bytes));
}

size_t aml_dtype_bytes(aml_dtype dtype)
{
    return dtype_bytes[at_most((unsigned)dtype, sizeof dtype_bytes)];
}

int64_t aml_shape_elements(const aml_shape *shape)
{
    int64_t count = 1;
    if (shape->rank < 0 || shape->rank > AML_MAX_RANK)
        return -1;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dim[i] < 0 || __builtin_mul_overflow(count, shape->dim[i], &count))
            return -1;
    return count;
}

const char *aml_shape_text(aml_dtype dtype, const aml_shape *shape, char *text, size_t room)
{
    int length = snprintf(text, room, "%s[", aml_dtype_name(dtype));
    for (int i = 0; i < shape->rank && length >= 0 && (size_t)length < room; i++)
        length += snprintf(text + length, room - (size_t)length, "%s%lld", i ? ", " : "",
                           (long long)shape->dim[i]);
    if (length >= 0 && (size_t)length < room)
        snprintf(text + length, room - (size_t)length, "]");
    return text;
}

aml_status amli_fail(aml_error *error, aml_status status, const char *format, ...)
{
    if (error) {
        va_list args;
        va_start(args, format);
        error->status = status;
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return status;
}

aml_status amli_no_memory(aml_error *error, size_t bytes, const char *what)
{
    return amli_fail(error, AML_NO_MEMORY, "no memory for %s (%zu bytes)", what, bytes);
}

aml_status amli_prefix(aml_error *error, const char *format, ...)
{
    if (!error)
        return AML_INTERNAL;
    char old[AML_ERROR_ROOM];
    memcpy(old, error->text, sizeof old);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof error->text)
        snprintf(error->text + length, sizeof error->text - (size_t)length, ": %s", old);
    return error->status;
}
