// pool/: threads that help a compiled function.
//
// amli_pool_for has the type aml_parallel_for. The thread that calls it works as well; helpers are
// created at the first call that has something to share, spin briefly for the next one and then
// sleep. One loop runs at a time: a nested call, or one from a second thread, is done by its caller
// alone.

#ifndef AMLI_POOL_H
#define AMLI_POOL_H

#include "runtime/base/base.h"

typedef struct amli_pool amli_pool;

// A pool of `threads` threads with the caller's own. The caller frees it when no loop is running.
aml_status amli_pool_new(int threads, amli_pool **out, aml_error *error);
void amli_pool_free(amli_pool *pool); // NULL is allowed

int amli_pool_threads(const amli_pool *pool); // as asked for
int amli_pool_helpers(const amli_pool *pool); // created so far

void amli_pool_for(void *pool, int64_t parts, aml_parallel_body *body, void *data);

int amli_usable_cpus(void); // that this process may run on

#endif
