// profile.h: where the time of a training goes (profile.c).

#ifndef AMLI_PROFILE_H
#define AMLI_PROFILE_H

#include "runtime/job/job.h"

#define AMLI_PROFILE_FILE "profile.json"

typedef enum {
    AMLI_PROFILE_BATCH,
    AMLI_PROFILE_CHECKPOINT,
    AMLI_PROFILE_FUNCTION, // a compiled function that is not watched
    AMLI_PROFILE_PARTS
} amli_profile_kind;

// Measures from now on. *out is to be freed even after a failure.
aml_status amli_profile_new(const aml_job *job, amli_device *device, amli_profile **out,
                            aml_error *error);
void amli_profile_free(amli_profile *profile); // NULL is allowed

// Around a call of a compiled function; one that is not the job's step or eval is a part.
void amli_profile_begin(amli_profile *profile, const aml_function *function);
void amli_profile_end(amli_profile *profile);

// Something else that took from `begin` to now. NULL is allowed.
void amli_profile_part(amli_profile *profile, amli_profile_kind kind, double begin);

// A table of the slowest lines; `end` is when the training ended.
void amli_profile_print(const amli_profile *profile, double end, FILE *out);

// All lines, and the first kernels one by one, in the format of Chrome's trace viewer.
aml_status amli_profile_write(const amli_profile *profile, double end, const char *folder,
                              aml_error *error);

#endif
