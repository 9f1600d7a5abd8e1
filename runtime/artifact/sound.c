// A sound as input of a deployed program: what amli_picture_files is for pictures.

#include <string.h>

#include "runtime/artifact/serving.h"
#include "runtime/data/sound.h"

typedef struct Sound {
    const char *path, *bytes;
    size_t length;
    amli_sound_decoder decoder;
} Sound;
_Static_assert(sizeof(Sound) <= READER_ROOM, "");

static aml_status open_sound(const aml_artifact *artifact, const char *path, const char *bytes,
                             size_t length, void *own, int64_t *rows, aml_error *error)
{
    (void)artifact, (void)error;
    *(Sound *)own = (Sound){path, bytes, length, {{0}, NULL, 0}};
    *rows = 1;
    return AML_OK;
}

// The field of rank 1 is the sound; one of rank 0 is how many of its samples are there.
static aml_status read_sound(const aml_artifact *artifact, void *own, int64_t row,
                             void *const field[], aml_error *error)
{
    Sound *sound = own;
    int64_t used = 0;
    (void)row;
    for (int i = 0; i < artifact->fields; i++) {
        const aml_tensor_info *tensor = &artifact->field[i].tensor;
        if (tensor->dtype != AML_F32 || tensor->shape.rank != 1)
            continue;
        const amli_sound_rule rule = {artifact->rate, tensor->shape.dim[0], artifact->middle};
        aml_status status = amli_sound_read(&sound->decoder, sound->bytes, sound->length, &rule,
                                            field[i], &used, error);
        if (status)
            return amli_prefix(error, "%s", sound->path);
    }
    for (int i = 0; i < artifact->fields; i++)
        if (artifact->field[i].tensor.shape.rank == 0)
            memcpy(field[i], &used, aml_dtype_bytes(artifact->field[i].tensor.dtype));
    return AML_OK;
}

static void end_sound(void *own)
{
    amli_sound_end(&((Sound *)own)->decoder);
}

static const char *const endings[] = {".wav", ".flac", ".aiff", ".aif", ".ogg", NULL};
const amli_file_reader amli_sound_files = {"sounds (WAV, FLAC, AIFF, OGG)",
                                           endings,
                                           amli_is_sound,
                                           open_sound,
                                           read_sound,
                                           end_sound,
                                           amli_walk_files};
