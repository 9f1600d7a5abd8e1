// sound.h: a sound file as samples of one channel at one rate.
//
//   sound.c      decoding (libsndfile: wav, flac, aiff, ogg), mixing
//   resample.c   another rate

#ifndef AMLI_SOUND_H
#define AMLI_SOUND_H

#include "runtime/base/base.h"

// A filter that turns one rate into another: kept from one sound to the next.
typedef struct amli_resampler {
    int64_t from, to; // rates divided by their greatest common divisor
    int64_t half;     // taps on each side of the middle
    double *tap;      // 2 * half + 1
} amli_resampler;

// Taps for these rates. AML_BAD_DATA if they have so little in common that the filter would be
// huge.
aml_status amli_resampler_set(amli_resampler *resampler, int64_t from, int64_t to,
                              aml_error *error);
void amli_resampler_end(amli_resampler *resampler);
int64_t amli_resampled(const amli_resampler *resampler, int64_t samples); // how many become of them
// out[0..count] are the samples from number `first` on.
void amli_resample(const amli_resampler *resampler, const float in[], int64_t samples,
                   int64_t first, float out[], int64_t count);

typedef struct amli_sound_rule {
    int64_t rate, samples;
    bool middle; // of a longer sound the middle is taken, not the beginning
} amli_sound_rule;

// What a thread needs.
typedef struct amli_sound_decoder {
    amli_resampler resampler;
    float *room; // the decoded sound
    size_t floats;
} amli_sound_decoder;
void amli_sound_end(amli_sound_decoder *decoder);

// Reads a sound into `to` (rule->samples of it, silence behind a shorter one); *length is how many
// come from the sound. AML_BAD_DATA: `error` says what is wrong, without the file's name.
aml_status amli_sound_read(amli_sound_decoder *decoder, const char *bytes, size_t length,
                           const amli_sound_rule *rule, float *to, int64_t *used, aml_error *error);
bool amli_is_sound(const char *text, size_t length);

#endif
