// What a deployed program is given as the file of its weights: any bytes but those that it was made
// with are refused, by the executable with an error that names the file, and by the library.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aml/weights.h"
#include "runtime/artifact/serving.h"
#include "runtime/base/hash.h"

enum { CONSTANTS = 192, WHOLE = sizeof(aml_weights_head) + CONSTANTS };

static aml_weights_file description(char hash[AMLI_HASH_TEXT], uint8_t whole[WHOLE])
{
    struct sha256_ctx context;
    for (int i = 0; i < CONSTANTS; i++)
        whole[sizeof(aml_weights_head) + i] = (uint8_t)(i * 37);
    sha256_init(&context);
    sha256_update(&context, CONSTANTS, whole + sizeof(aml_weights_head));
    amli_hash_finish(&context, hash);
    return (aml_weights_file){.name = "tiny.weights",
                              .bytes = WHOLE,
                              .hash = hash,
                              .model = "tiny",
                              .levels = "x86-64-v4,x86-64-v3",
                              .check = aml_weights_check,
                              .map = aml_weights_map};
}

// The file of `path` is mapped or refused, and which of the two was to be expected.
static void look(const aml_weights_file *file, const char *path, const void *data, size_t size,
                 bool right)
{
    aml_error error = {0};
    amli_mapped_weights found = {0};
    aml_status status = aml_weights_map(file, path, &found, &error);
    if ((status == AML_OK) != right || file->check(file, data, size) != right)
        abort();
    if (status && (!strstr(error.text, path) || found.at))
        abort(); // an error says which file it is about
    if (!status && (found.bytes != size || memcmp(found.at, data, size) != 0))
        abort();
    if (!status)
        munmap((void *)(uintptr_t)found.at, found.bytes);
}

static void give(const aml_weights_file *file, const void *data, size_t size, bool right)
{
    char path[32];
    int memory = memfd_create("weights", MFD_CLOEXEC);
    if (memory < 0 || write(memory, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    look(file, path, data, size, right);
    close(memory);
}

// Each byte of the head with another value, and each length below the whole one.
static void every_byte(const aml_weights_file *file, const uint8_t whole[WHOLE])
{
    uint8_t other[WHOLE + 1] = {0};
    memcpy(other, whole, WHOLE);
    give(file, other, WHOLE, true);
    give(file, other, WHOLE + 1, false);
    for (int i = 0; i < WHOLE; i++) {
        give(file, whole, (size_t)i, false);
        for (int bit = 0; bit < 8; bit++) {
            other[i] ^= (uint8_t)(1 << bit);
            give(file, other, WHOLE, false);
            other[i] ^= (uint8_t)(1 << bit);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool begun;
    static char hash[AMLI_HASH_TEXT];
    static uint8_t whole[WHOLE];
    aml_weights_file file = description(hash, whole);
    aml_weights_head head;
    aml_weights_describe(&file, &head);
    memcpy(whole, &head, sizeof head);
    if (!begun)
        every_byte(&file, whole);
    begun = true;
    give(&file, data, size, size == WHOLE && memcmp(data, whole, WHOLE) == 0);
    // the same with a head that is right as far as the input does not say otherwise
    uint8_t mixed[WHOLE];
    memcpy(mixed, whole, WHOLE);
    for (size_t i = 0; i < size && i < WHOLE; i++)
        mixed[i] ^= data[i];
    give(&file, mixed, WHOLE, memcmp(mixed, whole, WHOLE) == 0);
    return 0;
}
