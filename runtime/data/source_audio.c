// Sounds: each file of a folder is a sample.

#include <stdlib.h>
#include <string.h>

#include "runtime/data/files.h"
#include "runtime/data/sound.h"

static aml_status open_audio(amli_reading *reading, aml_error *error)
{
    static const char *const ending[] = {".wav", ".flac", ".aif", ".aiff", ".ogg", NULL};
    amli_files *files;
    bool has_sound = false;
    for (int i = 0; i < reading->dataset->fields; i++) {
        const aml_tensor_info *tensor = &reading->dataset->field[i].tensor;
        int part = reading->dataset->field[i].part;
        has_sound = has_sound || part == FILES_CONTENT;
        if ((part == FILES_CONTENT && (tensor->dtype != AML_F32 || tensor->shape.rank != 1)) ||
            (part == FILES_LENGTH && tensor->shape.rank != 0))
            return amli_fail(error, AML_INTERNAL, "the field '%s' does not hold a sound",
                             tensor->name);
    }
    if (!has_sound)
        return amli_fail(error, AML_INVALID, "%s: expected a field with the samples, found none",
                         reading->source->place);
    return amli_files_open(reading, ending, "sounds (.wav, .flac, .aiff, .ogg)", amli_is_sound,
                           &files, error);
}

static amli_row sound_at(const amli_reading *reading, void *own, int64_t row, void *const to[],
                         aml_error *error)
{
    const amli_files *files = reading->own;
    const aml_files *source = reading->source->files;
    char path[PATH_MAX];
    const char *bytes = NULL;
    size_t length = 0;
    aml_status status = amli_files_read(reading, row, to, path, &bytes, &length, error);
    if (!status && bytes) {
        const aml_dataset *dataset = reading->dataset;
        int64_t samples = dataset->field[files->content].tensor.shape.dim[0];
        const amli_sound_rule rule = {source->rate, samples, source->middle};
        void *sound = to[files->content];
        float *room = sound ? sound : malloc((size_t)samples * sizeof *room);
        int64_t used = 0;
        status = room ? amli_sound_read(own, bytes, length, &rule, room, &used, error)
                      : amli_no_memory(error, (size_t)samples * sizeof *room, "a sound");
        if (status)
            amli_prefix(error, "%s", path);
        else if (files->length >= 0 && to[files->length])
            memcpy(to[files->length], &used, reading->unit_bytes[files->length]);
        if (!sound)
            free(room);
    }
    amli_files_done(reading, bytes);
    return !status ? AMLI_ROW_READ : status == AML_BAD_DATA ? AMLI_ROW_BAD : AMLI_ROW_FAILED;
}

static void *thread_new(const amli_reading *reading)
{
    (void)reading;
    return calloc(1, sizeof(amli_sound_decoder));
}

static void thread_free(void *own)
{
    amli_sound_end(own);
    free(own);
}

const amli_source_kind amli_source_audio = {.name = "audio",
                                            .open = open_audio,
                                            .close = amli_files_close,
                                            .recognize = amli_is_sound,
                                            .by_path = true,
                                            .fingerprint = amli_files_fingerprint,
                                            .rows = amli_files_rows,
                                            .at = sound_at,
                                            .thread_new = thread_new,
                                            .thread_free = thread_free};
