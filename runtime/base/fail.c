// Failures and the texts of the public types.

#include <stdio.h>
#include <string.h>

#include "runtime/base/base.h"

static const struct {
    const char *name, *meaning;
    int exit_code;
} status_info[] = {
#define STATUS(NAME, exit_code, meaning) [AML_##NAME] = {#NAME, meaning, exit_code},
#include "aml/status.def"
#undef STATUS
};

static const struct {
    const char *name;
    size_t bytes;
} dtype_info[] = {
#define DTYPE(NAME, name, ctype, bytes, kind, safetensors) [AML_##NAME] = {#name, bytes},
#include "dtypes.def"
#undef DTYPE
};

const char *aml_status_name(aml_status status)
{
    return (unsigned)status < AMLI_COUNT(status_info) ? status_info[status].name : "UNKNOWN";
}

const char *aml_status_meaning(aml_status status)
{
    return (unsigned)status < AMLI_COUNT(status_info) ? status_info[status].meaning
                                                      : "unknown status";
}

int aml_status_exit_code(aml_status status)
{
    return (unsigned)status < AMLI_COUNT(status_info) ? status_info[status].exit_code : 101;
}

const char *aml_dtype_name(aml_dtype dtype)
{
    return (unsigned)dtype < AMLI_COUNT(dtype_info) ? dtype_info[dtype].name : "unknown";
}

size_t aml_dtype_bytes(aml_dtype dtype)
{
    return (unsigned)dtype < AMLI_COUNT(dtype_info) ? dtype_info[dtype].bytes : 0;
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
