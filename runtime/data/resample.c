// Another rate, by a filter of sinc with a Kaiser window.
//
// With from / to = rates without a common divisor, the sound is thought of with to - 1 zeros
// between any two samples, a low-pass filter runs over it, and every from-th value is taken:
//
//     out[m] = sum over k of in[k] * tap[m * from - k * to + half]
//
// The filter passes what both rates can carry, has 10 zero crossings on each side and a Kaiser
// window of beta 5; it is scaled to leave a constant as it is. These are the sizes that SciPy's
// resample_poly has, which gives the same samples.

#include "runtime/data/sound.h"

#include <math.h>
#include <stdlib.h>

enum { CROSSINGS = 10, MOST_TAPS = 1 << 24 };
#define BETA 5.0

static double bessel(double x) // modified, of the first kind, order 0
{
    double sum = 1, term = 1;
    for (int k = 1; k < 60 && term > 1e-17 * sum; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

static int64_t divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

aml_status amli_resampler_set(amli_resampler *resampler, int64_t from, int64_t to, aml_error *error)
{
    int64_t common = divisor(from, to);
    from /= common;
    to /= common;
    if (resampler->tap && resampler->from == from && resampler->to == to)
        return AML_OK;
    int64_t larger = from > to ? from : to, half = CROSSINGS * larger;
    if (larger > MOST_TAPS / (4 * CROSSINGS))
        return amli_fail(error, AML_BAD_DATA,
                         "the rates %lld and %lld have too little in common to change one into the "
                         "other",
                         (long long)(from * common), (long long)(to * common));
    size_t taps = (size_t)(2 * half + 1);
    double *tap = malloc(taps * sizeof *tap), sum = 0;
    if (!tap)
        return amli_no_memory(error, taps * sizeof *tap, "a filter");
    const double pi = 3.14159265358979323846;
    for (int64_t i = 0; i < (int64_t)taps; i++) {
        double x = (double)(i - half) / (double)larger, share = (double)(i - half) / (double)half;
        double sinc = i == half ? 1 : sin(pi * x) / (pi * x);
        tap[i] = sinc * bessel(BETA * sqrt(fmax(1 - share * share, 0))) / bessel(BETA);
        sum += tap[i];
    }
    for (size_t i = 0; i < taps; i++)
        tap[i] *= (double)to / sum;
    free(resampler->tap);
    *resampler = (amli_resampler){from, to, half, tap};
    return AML_OK;
}

void amli_resampler_end(amli_resampler *resampler)
{
    free(resampler->tap);
    *resampler = (amli_resampler){0};
}

int64_t amli_resampled(const amli_resampler *resampler, int64_t samples)
{
    int64_t whole = samples / resampler->from, rest = samples % resampler->from;
    return whole * resampler->to + (rest * resampler->to + resampler->from - 1) / resampler->from;
}

void amli_resample(const amli_resampler *resampler, const float in[], int64_t samples,
                   int64_t first, float out[], int64_t count)
{
    int64_t from = resampler->from, to = resampler->to, half = resampler->half;
    for (int64_t i = 0; i < count; i++) {
        int64_t middle = (first + i) * from; // in samples with zeros between
        int64_t low = middle - half > 0 ? (middle - half + to - 1) / to : 0;
        int64_t high = (middle + half) / to;
        double sum = 0;
        if (high > samples - 1)
            high = samples - 1;
        for (int64_t k = low; k <= high; k++)
            sum += (double)in[k] * resampler->tap[middle - k * to + half];
        out[i] = (float)sum;
    }
}
