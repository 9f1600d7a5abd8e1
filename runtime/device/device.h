// device/: where tensors live and compiled functions run.
//
// Memory of a device is named by an amli_memory, which means something to that device only: jobs,
// data and checkpoints move bytes with upload and download and never look inside. cpu.c is the host
// itself; fake.c is a device in host memory whose addresses fault when the host touches them, which
// is how tests prove that nobody does.
//
// A device is used by one thread at a time.

#ifndef AMLI_DEVICE_H
#define AMLI_DEVICE_H

#include "runtime/base/base.h"
#include "runtime/pool/pool.h"

typedef uint64_t amli_memory; // 0: none

// What memory is for; each is accounted by itself, so that it can be compared with the plan.
typedef enum { AMLI_FOR_STATE, AMLI_FOR_ARENA, AMLI_FOR_BATCH, AMLI_PURPOSES } amli_purpose;

// One activation of a compiled function: aml_call with device memory.
typedef struct amli_launch {
    amli_memory state, arena;
    // As many as the function declares. An input that is taken row by row (aml_tensor_info.rows) is
    // the address, on the host, of a table of the rows' amli_memory.
    const amli_memory *input, *output;
    const aml_value *scalar;
} amli_launch;

typedef struct amli_device amli_device;

typedef struct amli_device_kind amli_device_kind;
struct amli_device_kind {
    const char *name;
    aml_status (*open)(const amli_device_kind *kind, int threads, amli_device **out,
                       aml_error *error);
    void (*close)(amli_device *device); // gives back everything that is still allocated
    // Zeroed memory, aligned to AML_ALIGNMENT. `bytes` may be 0.
    aml_status (*allocate)(amli_device *device, amli_purpose purpose, size_t bytes,
                           amli_memory *out, aml_error *error);
    void (*release)(amli_device *device, amli_memory memory);
    aml_status (*upload)(amli_device *device, amli_memory to, size_t offset, const void *from,
                         size_t bytes, aml_error *error);
    aml_status (*download)(amli_device *device, amli_memory from, size_t offset, void *to,
                           size_t bytes, aml_error *error);
    // Where the host may write `memory` itself, or NULL: upload has to be used.
    void *(*host_view)(amli_device *device, amli_memory memory);
    aml_status (*run)(amli_device *device, const aml_function *function, const amli_launch *launch,
                      aml_error *error);
    aml_status (*finish)(amli_device *device,
                         aml_error *error);  // waits for everything that was started
    size_t (*capacity)(amli_device *device); // bytes of memory in all
};

struct amli_device {
    const amli_device_kind *kind;
    amli_pool *pool;
    const void *weights; // of a deployed program whose weights are in a file; NULL: inside
    aml_watch *watch;    // told about each kernel of functions that can be watched; NULL: nobody
    void *watcher;
    const void *const *soon;         // what is read after a function: see aml_call; NULL: not known
    size_t allocated[AMLI_PURPOSES]; // bytes as asked for, now
    size_t peak;                     // the largest sum of them
};

extern const amli_device_kind amli_device_cpu;
extern const amli_device_kind amli_device_fake;

// account.c: what every device does with its figures
void amli_account(amli_device *device, amli_purpose purpose, size_t bytes, bool taken);

#endif
