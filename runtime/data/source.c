// The kinds of sources.

#include "runtime/data/source.h"

#define SOURCE(NAME, name, files, meaning) extern const amli_source_kind amli_source_##name;
#include "aml/source.def"
#undef SOURCE

const amli_source_kind *amli_source_kind_of(aml_source_kind kind)
{
    static const amli_source_kind *const of[] = {
        NULL,
#define SOURCE(NAME, name, files, meaning) &amli_source_##name,
#include "aml/source.def"
#undef SOURCE
    };
    return (size_t)kind < AMLI_COUNT(of) ? of[kind] : NULL;
}
