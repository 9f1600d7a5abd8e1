// Sound files, by libsndfile.
//
// It is lenient: of a file that is cut off it gives what is there. So the sizes that a wav file
// states are compared with the file first, and frames that are missing at the end are an error.

#include "runtime/data/sound.h"

#include <math.h>
#include <sndfile.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHANNELS = 64, LEAST_RATE = 100, MOST_RATE = 1000000 };
#define MOST_FRAMES ((int64_t)1 << 28)

bool amli_is_sound(const char *text, size_t length)
{
    return length >= 12 && ((memcmp(text, "RIFF", 4) == 0 && memcmp(text + 8, "WAVE", 4) == 0) ||
                            memcmp(text, "fLaC", 4) == 0 ||
                            (memcmp(text, "FORM", 4) == 0 && (memcmp(text + 8, "AIFF", 4) == 0 ||
                                                              memcmp(text + 8, "AIFC", 4) == 0)) ||
                            memcmp(text, "OggS", 4) == 0);
}

void amli_sound_end(amli_sound_decoder *decoder)
{
    amli_resampler_end(&decoder->resampler);
    free(decoder->room);
    *decoder = (amli_sound_decoder){0};
}

// ---- the file in memory

typedef struct Memory {
    const char *bytes;
    sf_count_t length, at;
} Memory;

static sf_count_t memory_length(void *self)
{
    return ((const Memory *)self)->length;
}

static sf_count_t memory_seek(sf_count_t offset, int whence, void *self)
{
    Memory *memory = self;
    sf_count_t from = whence == SEEK_CUR ? memory->at : whence == SEEK_END ? memory->length : 0;
    if (offset >= -from && offset <= memory->length - from)
        memory->at = from + offset;
    return memory->at;
}

static sf_count_t memory_read(void *to, sf_count_t count, void *self)
{
    Memory *memory = self;
    sf_count_t left = memory->length - memory->at;
    count = count < left ? count : left;
    memcpy(to, memory->bytes + memory->at, (size_t)count);
    memory->at += count;
    return count;
}

static sf_count_t memory_write(const void *from, sf_count_t count, void *self)
{
    (void)from, (void)count, (void)self;
    return 0;
}

static sf_count_t memory_tell(void *self)
{
    return ((const Memory *)self)->at;
}

// ---- what a wav file says of itself

static uint32_t four(const char *at)
{
    const unsigned char *byte = (const unsigned char *)at;
    return byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16 | (uint32_t)byte[3] << 24;
}

static aml_status check_wav(const char *bytes, size_t length, aml_error *error)
{
    bool has_format = false;
    for (size_t at = 12; at + 8 <= length;) {
        uint32_t size = four(bytes + at + 4);
        bool is_data = memcmp(bytes + at, "data", 4) == 0;
        if (size > length - at - 8)
            return amli_fail(error, AML_BAD_DATA,
                             "expected %u bytes of %s behind offset %zu, found %zu: the file is "
                             "cut off",
                             (unsigned)size, is_data ? "samples" : "data", at + 8, length - at - 8);
        if (memcmp(bytes + at, "fmt ", 4) == 0) {
            has_format = true;
            if (size < 16)
                return amli_fail(error, AML_BAD_DATA,
                                 "expected 16 bytes that describe the sound at offset %zu, found "
                                 "%u",
                                 at + 8, (unsigned)size);
            const unsigned char *said = (const unsigned char *)bytes + at + 8;
            int channels = said[2] | said[3] << 8;
            if (channels < 1 || channels > MOST_CHANNELS)
                return amli_fail(error, AML_BAD_DATA,
                                 "expected 1 to %d channels at offset %zu, found %d", MOST_CHANNELS,
                                 at + 10, channels);
        }
        if (is_data)
            return has_format ? AML_OK
                              : amli_fail(error, AML_BAD_DATA,
                                          "expected a description of the sound (\"fmt \") before "
                                          "the samples at offset %zu",
                                          at);
        at += 8 + (size_t)size + (size & 1);
    }
    return amli_fail(error, AML_BAD_DATA, "expected samples (\"data\"), found none in %zu bytes",
                     length);
}

// ---- reading

static aml_status make_room(amli_sound_decoder *decoder, size_t floats, aml_error *error)
{
    if (floats <= decoder->floats)
        return AML_OK;
    free(decoder->room);
    decoder->room = malloc(floats * sizeof *decoder->room);
    decoder->floats = decoder->room ? floats : 0;
    return decoder->room ? AML_OK
                         : amli_no_memory(error, floats * sizeof *decoder->room, "a sound");
}

// All frames of the file, mixed to one channel, in decoder->room.
static aml_status decode(amli_sound_decoder *decoder, SNDFILE *file, const SF_INFO *info,
                         aml_error *error)
{
    if (info->channels < 1 || info->channels > MOST_CHANNELS)
        return amli_fail(error, AML_BAD_DATA, "expected 1 to %d channels, found %d", MOST_CHANNELS,
                         info->channels);
    if (info->samplerate < LEAST_RATE || info->samplerate > MOST_RATE)
        return amli_fail(error, AML_BAD_DATA, "expected a rate of %d to %d Hz, found %d",
                         LEAST_RATE, MOST_RATE, info->samplerate);
    if (info->frames < 1 || info->frames > MOST_FRAMES / info->channels)
        return amli_fail(error, AML_BAD_DATA, "expected 1 to %lld samples, found %lld",
                         (long long)(MOST_FRAMES / info->channels), (long long)info->frames);
    aml_status status = make_room(decoder, (size_t)info->frames * (size_t)info->channels, error);
    if (status)
        return status;
    sf_count_t got = sf_readf_float(file, decoder->room, info->frames);
    if (got != info->frames)
        return amli_fail(error, AML_BAD_DATA, "expected %lld samples, found %lld: %s",
                         (long long)info->frames, (long long)got,
                         sf_error(file) ? sf_strerror(file) : "the file is cut off");
    for (sf_count_t i = 0; i < info->frames && info->channels > 1; i++) {
        double sum = 0;
        for (int c = 0; c < info->channels; c++)
            sum += (double)decoder->room[i * info->channels + c];
        decoder->room[i] = (float)(sum / info->channels);
    }
    for (sf_count_t i = 0; i < info->frames; i++)
        if (!isfinite(decoder->room[i]))
            return amli_fail(error, AML_BAD_DATA, "sample %lld is not a finite number",
                             (long long)i + 1);
    return AML_OK;
}

static aml_status fit(amli_sound_decoder *decoder, int64_t frames, int64_t rate,
                      const amli_sound_rule *rule, float *to, int64_t *used, aml_error *error)
{
    bool changes = rate != rule->rate;
    aml_status status =
        changes ? amli_resampler_set(&decoder->resampler, rate, rule->rate, error) : AML_OK;
    if (status)
        return status;
    int64_t there = changes ? amli_resampled(&decoder->resampler, frames) : frames;
    int64_t taken = there < rule->samples ? there : rule->samples;
    int64_t first = rule->middle ? (there - taken) / 2 : 0;
    if (changes)
        amli_resample(&decoder->resampler, decoder->room, frames, first, to, taken);
    else
        memcpy(to, decoder->room + first, (size_t)taken * sizeof *to);
    for (int64_t i = taken; i < rule->samples; i++)
        to[i] = 0;
    *used = taken;
    return AML_OK;
}

aml_status amli_sound_read(amli_sound_decoder *decoder, const char *bytes, size_t length,
                           const amli_sound_rule *rule, float *to, int64_t *used, aml_error *error)
{
    if (!amli_is_sound(bytes, length))
        return amli_fail(error, AML_BAD_DATA, "expected a sound (wav, flac, aiff or ogg), found %s",
                         length ? "something else" : "an empty file");
    if (memcmp(bytes, "RIFF", 4) == 0) {
        aml_status status = check_wav(bytes, length, error);
        if (status)
            return status;
    }
    Memory memory = {bytes, (sf_count_t)length, 0};
    SF_VIRTUAL_IO access = {memory_length, memory_seek, memory_read, memory_write, memory_tell};
    SF_INFO info = {0};
    SNDFILE *file = sf_open_virtual(&access, SFM_READ, &info, &memory);
    if (!file)
        return amli_fail(error, AML_BAD_DATA, "the sound cannot be decoded: %s", sf_strerror(NULL));
    aml_status status = decode(decoder, file, &info, error);
    sf_close(file);
    return status ? status : fit(decoder, info.frames, info.samplerate, rule, to, used, error);
}
