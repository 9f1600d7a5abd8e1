// job_compress.c: `quantize` and `prune` of a deploy block. The functions of stdlib/jobs.aml that
// they are written with return records, which are read here.

#include "elab/job.h"

#include <string.h>

#include "stored.h"

enum { DEFAULT_FIDELITY = 36 }; // dB

static bool is_word(Jobs *jobs, Value record, const char *item, const char *word)
{
    Sym found = value_word(record_item(jobs, record, item));
    return found && strcmp(found, word) == 0;
}

static double number_of(Jobs *jobs, Value record, const char *item)
{
    Value value = record_item(jobs, record, item);
    return value_is(value, VALUE_REAL)       ? value.as.real
           : value_is(value, VALUE_INT)      ? (double)value.as.whole
           : value_is(value, VALUE_QUANTITY) ? value.as.quantity.value
                                             : 0;
}

// The setting's record, in which `name` says of which kind it is; none: the block does not ask.
static bool read_record(Jobs *jobs, const Setting *setting, const char *name, Value *out)
{
    *out = setting_eval(jobs, setting, name);
    if (value_is(*out, VALUE_FUNCTION)) // int8 is short for int8()
        *out = elab_call(jobs->e, *out, NULL, NULL, 0, setting->span);
    if (value_is(*out, VALUE_POISON))
        return false;
    if (value_is(*out, VALUE_NONE) ||
        (value_is(*out, VALUE_RECORD) && record_get(*out, job_word(jobs, name))))
        return true;
    setting_wrong(jobs, setting, name, NULL, *out);
    return false;
}

static bool range_wrong(Jobs *jobs, const Setting *setting, const char *name, const char *expected,
                        Value record, const char *item)
{
    report(jobs->cx, setting->span, setting_range, name, expected,
           value_show(jobs->e, record_item(jobs, record, item)));
    return false;
}

static Ranges ranges_of(Jobs *jobs, Value record)
{
    static const char *const word[] = {[RANGES_MIN_MAX] = "min_max",
                                       [RANGES_PERCENTILE] = "percentile",
                                       [RANGES_ENTROPY] = "entropy",
                                       [RANGES_MSE] = "mse",
                                       [RANGES_LEARNED] = "learned"};
    for (size_t i = 0; i < COUNT_OF(word); i++)
        if (is_word(jobs, record, "ranges", word[i]))
            return (Ranges)i;
    return RANGES_MIN_MAX;
}

// Of the weights, when they are quantized together with what they are multiplied with.
static bool read_bits(Jobs *jobs, const Setting *setting, Value record, int *bits)
{
    *bits = (int)number_of(jobs, record, "weight_bits");
    return *bits == 8 || *bits == 4 ||
           range_wrong(jobs, setting, "weight_bits of int8", "8 or 4", record, "weight_bits");
}

// A training learns the ranges, and always has a scale for each channel.
static bool no_meaning(Jobs *jobs, const Setting *setting, Value record, const char *where,
                       bool trains)
{
    static const char *const item[] = {"calibrate", "group", "fidelity"};
    for (size_t i = 0; i < COUNT_OF(item); i++)
        if (!value_is(record_item(jobs, record, item[i]), VALUE_NONE)) {
            report(jobs->cx, setting->span, learned_ranges, item[i], where);
            return true;
        }
    Ranges ranges = ranges_of(jobs, record);
    const char *wrong = is_word(jobs, record, "weights", "per_tensor") ? "weights: per_tensor"
                        : ranges != RANGES_MIN_MAX && !(trains && ranges == RANGES_LEARNED)
                            ? "ranges"
                        : record_item(jobs, record, "equalize").as.whole     ? "equalize"
                        : record_item(jobs, record, "weights_only").as.whole ? "weights_only"
                                                                             : NULL;
    if (wrong)
        report(jobs->cx, setting->span, learned_ranges, wrong, where);
    return wrong != NULL;
}

bool read_rounding(Jobs *jobs, Node *node, Rounding *out)
{
    Setting setting = setting_of(jobs, node, "quantize");
    Value record;
    if (!read_record(jobs, &setting, "quantize", &record))
        return false;
    if (value_is(record, VALUE_NONE))
        return true;
    bool ends = is_word(jobs, record, "keep", "ends");
    *out = (Rounding){.span = setting.span,
                      .keep_first = ends || is_word(jobs, record, "keep", "first"),
                      .keep_last = ends || is_word(jobs, record, "keep", "last"),
                      .learned = ranges_of(jobs, record) == RANGES_LEARNED};
    return !no_meaning(jobs, &setting, record, "in a training", true) &&
           read_bits(jobs, &setting, record, &out->bits);
}

static bool foreign(Jobs *jobs, const Setting *setting, const char *item, const char *whose)
{
    report(jobs->cx, setting->span, foreign_rounding, item, whose);
    return false;
}

static bool read_stored_integers(Jobs *jobs, const Setting *setting, Value record,
                                 QuantizeSetting *out)
{
    static const char *const of_activations =
        "activations that are rounded, and here weights alone are";
    Value group = record_item(jobs, record, "group"),
          calibrate = record_item(jobs, record, "calibrate");
    int bits = 8;
    if (!read_bits(jobs, setting, record, &bits))
        return false;
    out->form = bits == 8 ? STORED_BYTES : STORED_NIBBLES;
    out->bits = bits;
    out->samples = (int64_t)number_of(jobs, record, "samples");
    out->asymmetric = record_item(jobs, record, "symmetric").as.whole == 0;
    out->compensated = is_word(jobs, record, "rounding", "compensated");
    if (is_word(jobs, record, "weights", "per_tensor"))
        return foreign(jobs, setting, "weights: per_tensor", of_activations);
    if (ranges_of(jobs, record) != RANGES_MIN_MAX)
        return foreign(jobs, setting, "ranges", of_activations);
    if (!is_word(jobs, record, "keep", "nothing"))
        return foreign(jobs, setting, "keep", of_activations);
    if (!value_is(record_item(jobs, record, "fidelity"), VALUE_NONE))
        return foreign(jobs, setting, "fidelity", of_activations);
    if (record_item(jobs, record, "equalize").as.whole)
        return foreign(jobs, setting, "equalize", of_activations);
    if (value_is(group, VALUE_INT) &&
        (group.as.whole < 8 || group.as.whole > STORED_MOST_GROUP || group.as.whole % 8))
        return range_wrong(jobs, setting, "group", "a multiple of 8 from 8 to 16384", record,
                           "group");
    out->group = value_is(group, VALUE_INT) ? group.as.whole : 0;
    if (out->samples < 1)
        return range_wrong(jobs, setting, "samples", "at least 1", record, "samples");
    if (!out->compensated && !value_is(calibrate, VALUE_NONE))
        return foreign(jobs, setting, "calibrate", "rounding: compensated");
    if (!out->compensated)
        return true;
    if (value_is(calibrate, VALUE_NONE)) {
        report(jobs->cx, setting->span, compensation_missing);
        return false;
    }
    DataBlock *block = data_value(jobs, setting, "calibrate", calibrate, true, &out->part);
    out->dataset = block ? block->index : -1;
    return block != NULL;
}

// Weights alone. False: `record` asks for something else.
static bool read_stored(Jobs *jobs, const Setting *setting, Value record, QuantizeSetting *out,
                        bool *good)
{
    bool bf16 = is_word(jobs, record, "quantize", "bf16"),
         f16 = is_word(jobs, record, "quantize", "f16");
    *out = (QuantizeSetting){.span = setting->span, .weights_only = true, .dataset = -1};
    *good = true;
    if (bf16 || f16) {
        out->form = bf16 ? STORED_BF16 : STORED_F16;
        out->bits = 16;
        return true;
    }
    if (record_item(jobs, record, "weights_only").as.whole != 0) {
        *good = read_stored_integers(jobs, setting, record, out);
        return true;
    }
    static const char *const alone = "weights alone (weights_only: true)";
    bool groups = !value_is(record_item(jobs, record, "group"), VALUE_NONE),
         zeros = record_item(jobs, record, "symmetric").as.whole == 0,
         compensated = is_word(jobs, record, "rounding", "compensated");
    if (groups || zeros || compensated)
        *good = foreign(jobs, setting,
                        groups  ? "group"
                        : zeros ? "symmetric: false"
                                : "rounding: compensated",
                        alone);
    return groups || zeros || compensated;
}

bool read_quantize(Jobs *jobs, Node *node, const TrainBlock *train, QuantizeSetting *out)
{
    Setting setting = setting_of(jobs, node, "quantize");
    Value record;
    bool good;
    if (!read_record(jobs, &setting, "quantize", &record))
        return false;
    if (value_is(record, VALUE_NONE))
        return true;
    if (!train)
        return false; // its mistakes were reported
    if (train->rounding.span.file) {
        *out = (QuantizeSetting){.span = setting.span,
                                 .keep_first = train->rounding.keep_first,
                                 .keep_last = train->rounding.keep_last,
                                 .samples = 64,
                                 .dataset = train->data->index,
                                 .part = AML_PART_TRAIN,
                                 .bits = train->rounding.bits,
                                 .learned = true};
        return !no_meaning(jobs, &setting, record, "where the training has learned the ranges",
                           false);
    }
    if (read_stored(jobs, &setting, record, out, &good))
        return good;
    Value calibrate = record_item(jobs, record, "calibrate");
    bool ends = is_word(jobs, record, "keep", "ends");
    *out = (QuantizeSetting){.span = setting.span,
                             .ranges = ranges_of(jobs, record),
                             .per_tensor = is_word(jobs, record, "weights", "per_tensor"),
                             .equalize = record_item(jobs, record, "equalize").as.whole != 0,
                             .keep_first = ends || is_word(jobs, record, "keep", "first"),
                             .keep_last = ends || is_word(jobs, record, "keep", "last"),
                             .keep_below = number_of(jobs, record, "keep_below"),
                             .samples = (int64_t)number_of(jobs, record, "samples"),
                             .dataset = -1,
                             .bits = 8};
    if (!read_bits(jobs, &setting, record, &out->bits))
        return false;
    if (out->ranges == RANGES_LEARNED)
        return foreign(jobs, &setting, "ranges: learned", "a training with `quantize`");
    if (out->samples < 1)
        return range_wrong(jobs, &setting, "samples of int8", "at least 1", record, "samples");
    out->fidelity = DEFAULT_FIDELITY;
    if (!value_is(record_item(jobs, record, "fidelity"), VALUE_NONE)) {
        out->fidelity = number_of(jobs, record, "fidelity");
        if (!(out->fidelity >= 1 && out->fidelity <= 99))
            return range_wrong(jobs, &setting, "fidelity", "from 1 to 99 decibels", record,
                               "fidelity");
    }
    if (value_is(calibrate, VALUE_NONE)) {
        report(jobs->cx, setting.span, calibration_missing, node->as.job.name);
        help(jobs->cx, "name the samples that the ranges are taken from: int8(calibrate: "
                       "digits.train)");
        return false;
    }
    DataBlock *block = data_value(jobs, &setting, "calibrate", calibrate, true, &out->part);
    out->dataset = block ? block->index : -1;
    return block != NULL;
}

bool read_prune(Jobs *jobs, Node *node, PruneSetting *out)
{
    Setting setting = setting_of(jobs, node, "prune");
    Value record;
    if (!read_record(jobs, &setting, "prune", &record))
        return false;
    if (value_is(record, VALUE_NONE))
        return true;
    if (!is_word(jobs, record, "prune", "channels")) {
        setting_wrong(jobs, &setting, "prune", "channels(30%)", record);
        help(jobs->cx,
             "weights become zero while training: `train ... { prune: magnitude(80%%) }`");
        return false;
    }
    *out = (PruneSetting){.span = setting.span,
                          .by = is_word(jobs, record, "by", "l1")   ? PRUNE_L1
                                : is_word(jobs, record, "by", "l2") ? PRUNE_L2
                                                                    : PRUNE_ERROR,
                          .even = is_word(jobs, record, "spread", "even"),
                          .as_they_are = record_item(jobs, record, "reconstruct").as.whole == 0,
                          .share = number_of(jobs, record, "share"),
                          .finetune = {.option = -1},
                          .rate = number_of(jobs, record, "rate"),
                          .distill = number_of(jobs, record, "distill")};
    if (!(out->share > 0) || !(out->share < 1))
        return range_wrong(jobs, &setting, "the share to prune", "more than 0% and less than 100%",
                           record, "share");
    if (!(out->rate > 0) || !(out->rate <= 1))
        return range_wrong(jobs, &setting, "rate of channels", "more than 0% and at most 100%",
                           record, "rate");
    if (!(out->distill >= 0) || !(out->distill <= 1))
        return range_wrong(jobs, &setting, "distill of channels", "from 0% to 100%", record,
                           "distill");
    Value finetune = record_item(jobs, record, "finetune");
    if (value_is(finetune, VALUE_QUANTITY))
        out->finetune = (aml_quantity){finetune.as.quantity.value, finetune.as.quantity.unit,
                                       finetune.as.quantity.option};
    if (out->finetune.option >= 0 || out->finetune.value < 0)
        return range_wrong(jobs, &setting, "finetune",
                           "a duration that is known when the program is compiled", record,
                           "finetune");
    return true;
}
