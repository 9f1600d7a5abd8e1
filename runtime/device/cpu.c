// The host as a device: a memory is a pointer. Each allocation is its own mapping, so it is zeroed,
// page-aligned, and costs physical memory only where it was touched. The kernel is asked to put
// large ones into pages of 2 MiB: a step walks through them from end to end, and with pages of
// 4 KiB much of its time would go into looking up where they are.

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/device/device.h"

typedef struct Block {
    struct Block *next;
    void *at;
    size_t bytes;
    amli_purpose purpose;
} Block;

typedef struct Cpu {
    amli_device device;
    Block *blocks;
    const void *nothing_soon[AML_SOON]; // memory that is there, so that asking for it costs little
} Cpu;

static aml_status cpu_open(const amli_device_kind *kind, int threads, amli_device **out,
                           aml_error *error)
{
    *out = NULL;
    Cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return amli_no_memory(error, sizeof *cpu, "the device");
    cpu->device.kind = kind;
    for (int i = 0; i < AML_SOON; i++)
        cpu->nothing_soon[i] = cpu;
    aml_status status = amli_pool_new(threads, &cpu->device.pool, error);
    if (status) {
        free(cpu);
        return status;
    }
    *out = &cpu->device;
    return AML_OK;
}

static const size_t small_page = 4096, large_page = (size_t)2 << 20;

static size_t mapped_bytes(size_t bytes)
{
    return bytes ? (bytes + small_page - 1) / small_page * small_page : small_page;
}

static void *map_zeros(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

// Memory that begins with a large page, or NULL.
static void *map_large(size_t bytes)
{
#ifdef MADV_HUGEPAGE
    char *at = bytes < 8 * large_page ? NULL : map_zeros(bytes + large_page - small_page);
    if (!at)
        return NULL;
    size_t before = (large_page - (uintptr_t)at % large_page) % large_page;
    size_t behind = large_page - small_page - before;
    if (before > 0)
        munmap(at, before);
    if (behind > 0)
        munmap(at + before + bytes, behind);
    madvise(at + before, bytes, MADV_HUGEPAGE); // a kernel that has none gives small ones
    return at + before;
#else
    (void)bytes;
    return NULL;
#endif
}

static aml_status cpu_allocate(amli_device *device, amli_purpose purpose, size_t bytes,
                               amli_memory *out, aml_error *error)
{
    Cpu *cpu = (Cpu *)device;
    *out = 0;
    if (bytes > SIZE_MAX / 2)
        return amli_no_memory(error, bytes, "the device");
    Block *block = malloc(sizeof *block);
    if (!block)
        return amli_no_memory(error, sizeof *block, "the device");
    void *at = map_large(mapped_bytes(bytes));
    if (!at)
        at = map_zeros(mapped_bytes(bytes));
    if (!at) {
        free(block);
        return amli_no_memory(error, bytes, "the device");
    }
    *block = (Block){cpu->blocks, at, bytes, purpose};
    cpu->blocks = block;
    amli_account(device, purpose, bytes, true);
    *out = (uintptr_t)at;
    return AML_OK;
}

static void cpu_release(amli_device *device, amli_memory memory)
{
    Cpu *cpu = (Cpu *)device;
    for (Block **at = &cpu->blocks; *at; at = &(*at)->next) {
        Block *block = *at;
        if ((uintptr_t)block->at != memory)
            continue;
        *at = block->next;
        amli_account(device, block->purpose, block->bytes, false);
        munmap(block->at, mapped_bytes(block->bytes));
        free(block);
        return;
    }
}

static void cpu_close(amli_device *device)
{
    Cpu *cpu = (Cpu *)device;
    while (cpu->blocks)
        cpu_release(device, (uintptr_t)cpu->blocks->at);
    amli_pool_free(device->pool);
    free(cpu);
}

static aml_status cpu_upload(amli_device *device, amli_memory to, size_t offset, const void *from,
                             size_t bytes, aml_error *error)
{
    (void)device, (void)error;
    memcpy((char *)(uintptr_t)to + offset, from, bytes);
    return AML_OK;
}

static aml_status cpu_download(amli_device *device, amli_memory from, size_t offset, void *to,
                               size_t bytes, aml_error *error)
{
    (void)device, (void)error;
    memcpy(to, (const char *)(uintptr_t)from + offset, bytes);
    return AML_OK;
}

static void *cpu_host_view(amli_device *device, amli_memory memory)
{
    (void)device;
    return (void *)(uintptr_t)memory;
}

static aml_status cpu_run(amli_device *device, const aml_function *function,
                          const amli_launch *launch, aml_error *error)
{
    (void)error;
    _Static_assert(sizeof(amli_memory) == sizeof(void *), "on the host a memory is a pointer");
    aml_call call = {
        .state = (void *)(uintptr_t)launch->state,
        .arena = (void *)(uintptr_t)launch->arena,
        .input = (void *const *)launch->input,
        .output = (void *const *)launch->output,
        .scalar = launch->scalar,
        .parallel = amli_pool_threads(device->pool) > 1 ? amli_pool_for : NULL,
        .pool = device->pool,
        .watch = device->watch,
        .watcher = device->watcher,
        .weights = device->weights,
        .soon = device->soon ? device->soon : ((const Cpu *)device)->nothing_soon,
    };
    function->run(&call);
    return AML_OK;
}

static aml_status cpu_finish(amli_device *device, aml_error *error)
{
    (void)device, (void)error;
    return AML_OK;
}

static size_t cpu_capacity(amli_device *device)
{
    (void)device;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages * (size_t)page : 0;
}

const amli_device_kind amli_device_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .host_view = cpu_host_view,
    .run = cpu_run,
    .finish = cpu_finish,
    .capacity = cpu_capacity,
};
