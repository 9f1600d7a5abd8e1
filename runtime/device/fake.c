// A device with an address space of its own, in host memory.
//
// A memory is the host address with its upper half changed so that it is no address of the machine:
// reading it faults at once. The pages themselves are closed (PROT_NONE) except while the device
// copies or runs, so a host pointer that leaked faults as well.

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/device/device.h"

#define FAKE_BITS 0x5A5A000000000000u

typedef struct Block {
    struct Block *next;
    char *at;
    size_t bytes, mapped;
    amli_purpose purpose;
} Block;

typedef struct Fake {
    amli_device device;
    Block *blocks;
} Fake;

static aml_status fake_open(const amli_device_kind *kind, int threads, amli_device **out,
                            aml_error *error)
{
    *out = NULL;
    Fake *fake = calloc(1, sizeof *fake);
    if (!fake)
        return amli_no_memory(error, sizeof *fake, "the device");
    fake->device.kind = kind;
    aml_status status = amli_pool_new(threads, &fake->device.pool, error);
    if (status) {
        free(fake);
        return status;
    }
    *out = &fake->device;
    return AML_OK;
}

static Block *block_of(Fake *fake, amli_memory memory)
{
    for (Block *block = fake->blocks; block; block = block->next)
        if (((uintptr_t)block->at ^ FAKE_BITS) == memory)
            return block;
    return NULL;
}

static aml_status fake_allocate(amli_device *device, amli_purpose purpose, size_t bytes,
                                amli_memory *out, aml_error *error)
{
    Fake *fake = (Fake *)device;
    *out = 0;
    if (bytes > SIZE_MAX / 2)
        return amli_no_memory(error, bytes, "the device");
    Block *block = malloc(sizeof *block);
    if (!block)
        return amli_no_memory(error, sizeof *block, "the device");
    size_t mapped = bytes ? (bytes + 4095) / 4096 * 4096 : 4096;
    char *at = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        free(block);
        return amli_no_memory(error, bytes, "the device");
    }
    *block = (Block){fake->blocks, at, bytes, mapped, purpose};
    fake->blocks = block;
    amli_account(device, purpose, bytes, true);
    *out = (uintptr_t)at ^ FAKE_BITS;
    return AML_OK;
}

static void fake_release(amli_device *device, amli_memory memory)
{
    Fake *fake = (Fake *)device;
    for (Block **at = &fake->blocks; *at; at = &(*at)->next) {
        Block *block = *at;
        if (((uintptr_t)block->at ^ FAKE_BITS) != memory)
            continue;
        *at = block->next;
        amli_account(device, block->purpose, block->bytes, false);
        munmap(block->at, block->mapped);
        free(block);
        return;
    }
}

static void fake_close(amli_device *device)
{
    Fake *fake = (Fake *)device;
    while (fake->blocks)
        fake_release(device, (uintptr_t)fake->blocks->at ^ FAKE_BITS);
    amli_pool_free(device->pool);
    free(fake);
}

static bool open_pages(Block *block, bool open)
{
    return mprotect(block->at, block->mapped, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
}

static aml_status copy(amli_device *device, amli_memory memory, size_t offset, void *to,
                       const void *from, size_t bytes, aml_error *error)
{
    Block *block = block_of((Fake *)device, memory);
    if (!block || offset > block->bytes || bytes > block->bytes - offset)
        return amli_fail(error, AML_INTERNAL, "copy of %zu bytes at %zu outside of device memory",
                         bytes, offset);
    if (!open_pages(block, true))
        return amli_fail(error, AML_NO_MEMORY, "device memory cannot be opened");
    if (to)
        memcpy(to, block->at + offset, bytes);
    else
        memcpy(block->at + offset, from, bytes);
    open_pages(block, false);
    return AML_OK;
}

static aml_status fake_upload(amli_device *device, amli_memory to, size_t offset, const void *from,
                              size_t bytes, aml_error *error)
{
    return bytes ? copy(device, to, offset, NULL, from, bytes, error) : AML_OK;
}

static aml_status fake_download(amli_device *device, amli_memory from, size_t offset, void *to,
                                size_t bytes, aml_error *error)
{
    return bytes ? copy(device, from, offset, to, NULL, bytes, error) : AML_OK;
}

static void *fake_host_view(amli_device *device, amli_memory memory)
{
    (void)device, (void)memory;
    return NULL;
}

static void *inside(amli_memory memory)
{
    return memory ? (void *)(uintptr_t)(memory ^ FAKE_BITS) : NULL;
}

enum { MOST_ARGUMENTS = 64, MOST_ROWS = 4096 };

static aml_status fake_run(amli_device *device, const aml_function *function,
                           const amli_launch *launch, aml_error *error)
{
    Fake *fake = (Fake *)device;
    void *input[MOST_ARGUMENTS], *output[MOST_ARGUMENTS], *row[MOST_ROWS];
    if (function->inputs > MOST_ARGUMENTS || function->outputs > MOST_ARGUMENTS)
        return amli_fail(error, AML_INVALID, "%s has more than %d arguments", function->name,
                         MOST_ARGUMENTS);
    int64_t used = 0;
    for (int i = 0; i < function->inputs; i++) {
        int64_t rows = function->input[i].rows ? function->input[i].shape.dim[0] : 0;
        if (rows > MOST_ROWS - used)
            return amli_fail(error, AML_INVALID, "%s reads more than %d rows", function->name,
                             MOST_ROWS);
        const amli_memory *table = (const amli_memory *)(uintptr_t)launch->input[i];
        input[i] = rows ? (void *)(row + used) : inside(launch->input[i]);
        for (int64_t k = 0; k < rows; k++)
            row[used++] = inside(table[k]);
    }
    for (int i = 0; i < function->outputs; i++)
        output[i] = inside(launch->output[i]);
    for (Block *block = fake->blocks; block; block = block->next)
        if (!open_pages(block, true))
            return amli_fail(error, AML_NO_MEMORY, "device memory cannot be opened");
    aml_call call = {
        .state = inside(launch->state),
        .arena = inside(launch->arena),
        .input = input,
        .output = output,
        .scalar = launch->scalar,
        .parallel = amli_pool_threads(device->pool) > 1 ? amli_pool_for : NULL,
        .pool = device->pool,
        .watch = device->watch,
        .watcher = device->watcher,
    };
    function->run(&call);
    for (Block *block = fake->blocks; block; block = block->next)
        open_pages(block, false);
    return AML_OK;
}

static aml_status fake_finish(amli_device *device, aml_error *error)
{
    (void)device, (void)error;
    return AML_OK;
}

static size_t fake_capacity(amli_device *device)
{
    (void)device;
    return (size_t)1 << 30;
}

const amli_device_kind amli_device_fake = {
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .allocate = fake_allocate,
    .release = fake_release,
    .upload = fake_upload,
    .download = fake_download,
    .host_view = fake_host_view,
    .run = fake_run,
    .finish = fake_finish,
    .capacity = fake_capacity,
};
