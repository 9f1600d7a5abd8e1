// ranges.c: which range of an activation 256 bytes stand for. A wider range rounds more coarsely, a
// narrower one clips; the rules differ in how they weigh one against the other.

#include "quant/quant.h"

#include <math.h>

enum { STEPS = 64, LEVELS = 256 };

void quant_byte_scale(double low, double high, double *scale, int *zero)
{
    low = low < 0 ? low : 0; // 0 is a byte: padding and ReLU need it
    high = high > 0 ? high : 0;
    *scale = high > low ? (high - low) / (LEVELS - 1) : 1;
    *zero = (int)lround(-low / *scale);
}

static double bin_width(const Histogram *h)
{
    return (h->high - h->low) / QUANT_BINS;
}

static double bin_center(const Histogram *h, int bin)
{
    return h->low + (bin + 0.5) * bin_width(h);
}

// At each end, one element in 10,000 is left out.
static void percentile(const Histogram *h, double *low, double *high)
{
    int64_t all = 0, seen = 0;
    for (int i = 0; i < QUANT_BINS; i++)
        all += h->count[i];
    double most = (double)all / 10000;
    int first = 0, last = QUANT_BINS - 1;
    while (first < last && (double)(seen + h->count[first]) <= most)
        seen += h->count[first++];
    for (seen = 0; last > first && (double)(seen + h->count[last]) <= most; last--)
        seen += h->count[last];
    *low = h->low + first * bin_width(h);
    *high = h->low + (last + 1) * bin_width(h);
}

// The mean square error of bytes for low..high.
static double square_error(const Histogram *h, double low, double high)
{
    double scale, sum = 0;
    int zero;
    quant_byte_scale(low, high, &scale, &zero);
    for (int i = 0; i < QUANT_BINS; i++) {
        double x = bin_center(h, i), q = round(x / scale) + zero;
        q = q < 0 ? 0 : q > LEVELS - 1 ? LEVELS - 1 : q;
        double error = (q - zero) * scale - x;
        // inside of a bin values are spread evenly: the error of rounding, if that is finer
        double finer = error * error + (fabs(error) < scale ? scale * scale / 12 : 0);
        sum += (double)h->count[i] * finer;
    }
    return sum;
}

// The divergence of what bytes for low..high keep of the distribution: outliers go to the border
// bins of the true one, and the bins that share a byte get the same share of its count.
static double divergence(const Histogram *h, double low, double high)
{
    double scale, kept[LEVELS] = {0}, filled[LEVELS] = {0}, all = 0, sum = 0;
    int zero, first = QUANT_BINS, last = -1;
    quant_byte_scale(low, high, &scale, &zero);
    for (int i = 0; i < QUANT_BINS; i++) {
        double x = bin_center(h, i);
        all += (double)h->count[i];
        if (x < low || x > high)
            continue;
        first = i < first ? i : first;
        last = i;
        int byte = (int)fmin(fmax(round(x / scale) + zero, 0), LEVELS - 1);
        kept[byte] += (double)h->count[i];
        filled[byte] += h->count[i] > 0;
    }
    double outside[2] = {0}, inside = 0;
    for (int i = 0; i < QUANT_BINS; i++)
        if (i < first || i > last)
            outside[i > last] += (double)h->count[i];
        else
            inside += (double)h->count[i];
    for (int i = first; i <= last && inside > 0; i++) {
        double p = (double)h->count[i];
        int byte = (int)fmin(fmax(round(bin_center(h, i) / scale) + zero, 0), LEVELS - 1);
        double q = h->count[i] ? kept[byte] / filled[byte] / inside : 0;
        p += (i == first ? outside[0] : 0) + (i == last ? outside[1] : 0);
        p /= all;
        if (p > 0)
            sum += p * log(p / (q > 1e-12 ? q : 1e-12));
    }
    return last < first ? INFINITY : sum;
}

void quant_range(Ranges rule, const Histogram *h, double *low, double *high)
{
    *low = h->low;
    *high = h->high;
    if (rule == RANGES_MIN_MAX || !(h->high > h->low))
        return;
    if (rule == RANGES_PERCENTILE) {
        percentile(h, low, high);
        return;
    }
    double best = INFINITY, narrow_low = h->low, narrow_high = h->high;
    for (int i = STEPS; i >= STEPS / 8; i--) {
        double share = (double)i / STEPS;
        double error = rule == RANGES_MSE ? square_error(h, h->low * share, h->high * share)
                                          : divergence(h, h->low * share, h->high * share);
        if (error < best) {
            best = error;
            narrow_low = h->low * share;
            narrow_high = h->high * share;
        }
    }
    *low = narrow_low;
    *high = narrow_high;
}
