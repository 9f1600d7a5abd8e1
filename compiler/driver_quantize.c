// driver_quantize.c: quantization of a deployed program: samples from the training program,
// calibration, what each layer costs and saves, and how much accuracy is lost.

#include "driver_deploy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aml/packed.h"
#include "quant/rounding.h"

enum { LEAST_SAMPLES = 8, MEASURED_SAMPLES = 10000 };

// ---- samples

// Prepared samples of a part, as the training program reads them.
bool deploy_samples(Deployment *d, const char *part, int64_t most, QuantSamples *out,
                    aml_tensors **tensors)
{
    Cx *cx = d->cx;
    const char *reference = deploy_reference(d);
    const char *path = arena_printf(cx->arena, "%s/samples.safetensors", d->folder);
    if (!reference)
        return false;
    const char *argv[] = {reference,
                          "data",
                          "samples",
                          "--job",
                          d->job->table.name,
                          "--part",
                          part,
                          "--samples",
                          arena_printf(cx->arena, "%lld", (long long)most),
                          "--output",
                          path,
                          NULL};
    ProcessResult done = process_run(cx, argv, NULL, PROCESS_CAPTURE_BOTH);
    aml_error error = {0};
    aml_status status = done.code ? AML_BAD_DATA : aml_tensors_open(path, tensors, &error);
    unlink(path);
    if (status) {
        say(d->command, "error", "the %s samples of '%s' cannot be read: %s", part,
            d->data->table.name, done.code ? done.output : error.text);
        return false;
    }
    *out = (QuantSamples){*tensors, 0};
    if (aml_tensors_count(*tensors) > 0)
        out->count = aml_tensors_info(*tensors, 0)->shape.dim[0];
    return out->count > 0;
}

// The prepared field that holds the class to predict; -1: there is none.
static int label_of(const Deployment *d, const QuantSamples *samples)
{
    for (int i = 0; i < d->data->prepare.output.count; i++) {
        const aml_tensor_info *info = &d->data->prepare.output.at[i];
        if (info->classes > 0 && info->shape.rank == 0 && strcmp(info->name, "y") == 0)
            return aml_tensors_find(samples->tensors, "y");
    }
    return -1;
}

static int64_t label_at(const QuantSamples *samples, int label, int64_t index)
{
    const aml_tensor_info *info = aml_tensors_info(samples->tensors, label);
    return element_whole((DType)info->dtype, aml_tensors_data(samples->tensors, label), index);
}

static void check_classes(Deployment *d, const QuantSamples *samples)
{
    int label = label_of(d, samples);
    if (label < 0)
        return;
    int64_t first = label_at(samples, label, 0);
    for (int64_t i = 1; i < samples->count; i++)
        if (label_at(samples, label, i) != first)
            return;
    report(d->cx, d->deploy->quantize.span, calibration_one_class, (long long)samples->count,
           (long long)first);
}

// ---- the report

// How the range of a layer in a loop is to be understood; NULL: it is in none.
static const char *turns_text(const Deployment *d, const QuantLayer *layer)
{
    return layer->loop ? arena_printf(d->cx->arena, "one range for all %lld turns of a loop",
                                      (long long)quant_turns(layer->loop))
                       : NULL;
}

static const char *remark_text(const Deployment *d, const QuantLayer *layer)
{
    return layer->kept       ? arena_printf(d->cx->arena, "  stays f32: %s", layer->kept)
           : layer->bits > 0 ? arena_printf(d->cx->arena, "  %.2f bits a weight", layer->bits)
           : layer->loop     ? arena_printf(d->cx->arena, "  %s", turns_text(d, layer))
                             : "";
}

static void print_report(const Deployment *d)
{
    fprintf(stderr, "  %-24s %10s %10s %11s %9s %10s %10s\n", "layer", "from", "to", "weights dB",
            "result dB", "f32 bytes", "bytes");
    for (int i = 0; i < d->plan.layer.count; i++) {
        const QuantLayer *layer = &d->plan.layer.at[i];
        const QuantSite *site = &d->plan.site.at[layer->site];
        fprintf(stderr, "  %-24s %10.4g %10.4g %11.1f %9.1f %10lld %10lld%s\n", layer->name,
                site->low, site->high, layer->weight_error, layer->error,
                (long long)layer->bytes_before, (long long)layer->bytes_after,
                remark_text(d, layer));
    }
    if (d->plan.looped > 0)
        fprintf(
            stderr,
            "  %d product%s in loops stay%s f32: with weights of each turn, in a loop in a loop, "
            "or in one that leaves out turns\n",
            d->plan.looped, d->plan.looped == 1 ? "" : "s", d->plan.looped == 1 ? "s" : "");
    if (d->plan.others > 0)
        fprintf(stderr, "  %d other product%s without constant weights stay%s f32\n",
                d->plan.others, d->plan.others == 1 ? "" : "s", d->plan.others == 1 ? "s" : "");
}

static void keep_report(Deployment *d)
{
    for (int i = 0; i < d->plan.layer.count; i++) {
        const QuantLayer *layer = &d->plan.layer.at[i];
        const QuantSite *site = &d->plan.site.at[layer->site];
        aml_layer_report row = {.name = layer->name,
                                .form = turns_text(d, layer),
                                .kept = layer->kept,
                                .low = site->low,
                                .high = site->high,
                                .weights_db = layer->weight_error,
                                .result_db = layer->error,
                                .bytes_before = layer->bytes_before,
                                .bytes_after = layer->bytes_after};
        vec_push(d->cx->arena, &d->artifact.layer, row);
    }
}

size_t deploy_constant_bytes(const IrFunction *fn, bool stored)
{
    size_t bytes = 0;
    for (const Inst *inst = fn->first; inst; inst = inst->next) {
        if (inst_nested(inst))
            bytes += deploy_constant_bytes(inst_nested(inst), stored);
        else if (inst->op == OP_constant && !inst->attr[0].data.splat)
            bytes += stored ? stored_length(inst->attr[0].data.at, (size_t)type_bytes(inst->type))
                            : (size_t)type_bytes(inst->type);
    }
    return bytes;
}

// ---- weights that are packed

// Whether the executable will have its constants packed (link/artifact.c) and its weights can be
// rounded for that. Of sparse weights only those that are left are stored anyway, one by one.
static bool packs(const Deployment *d)
{
    size_t bytes = deploy_constant_bytes(d->artifact.predict.at[0].ir, false);
    int64_t weights = 0, zeros = 0;
    for (int i = 0; i < d->plan.layer.count; i++) {
        const Inst *constant = d->plan.layer.at[i].constant;
        int64_t elements = type_elements(constant->type);
        const float *at = constant->attr[0].data.at;
        bytes -= (size_t)elements * 3; // of four
        weights += elements;
        for (int64_t k = 0; k < elements; k++)
            zeros += at[k] == 0;
    }
    IrFunction *fn = d->artifact.predict.at[0].ir;
    for (const Inst *inst = fn->first; inst; inst = inst->next)
        bytes -= stored_is_table(fn, inst) ? (size_t)type_bytes(inst->type) / 3 * 2 : 0;
    const QuantizeSetting *setting = &d->deploy->quantize;
    return setting->bits == 8 && !setting->learned && deploy_emits(d, DEPLOY_EXECUTABLE) &&
           !deploy_is_cross(d->deploy) && !d->deploy->weights_beside && bytes < PACKED_MOST &&
           zeros < weights / 3;
}

// ---- quantization

// Tables whose rows are looked up have 8 bits as well.
static void store_tables(Deployment *d)
{
    StoredReport rows = {0};
    StoredRounded rounded = {0};
    for (int i = 0; i < d->artifact.predict.count; i++)
        stored_tables(d->artifact.predict.at[i].ir, &rounded, &rows);
    for (int i = 0; i < rows.layer.count; i++) {
        const aml_layer_report *row = &rows.layer.at[i];
        fprintf(stderr, "  %-24s %10.4g %10.4g %11.1f %9s %10lld %10lld  %s%s\n", row->name,
                row->low, row->high, row->weights_db, "-", (long long)row->bytes_before,
                (long long)row->bytes_after,
                row->kept ? "stays f32: " : "a table: ", row->kept ? row->kept : row->form);
        vec_push(d->cx->arena, &d->artifact.layer, *row);
    }
}

static bool calibrate(Deployment *d, const QuantSamples *samples)
{
    Cx *cx = d->cx;
    const QuantizeSetting *setting = &d->deploy->quantize;
    if (!setting->learned && samples->count < LEAST_SAMPLES) {
        report(cx, setting->span, calibration_small, LEAST_SAMPLES, (long long)samples->count);
        return false;
    }
    if (!setting->learned)
        check_classes(d, samples);
    const Entry *entry = &d->artifact.predict.at[0];
    quant_layers(entry->ir, &d->plan);
    if (d->plan.layer.count == 0) {
        report(cx, setting->span, nothing_to_quantize, d->job->table.name);
        return false;
    }
    d->plan.packs = packs(d);
    if (setting->learned) {
        QuantRanges ranges = {cx,
                              aml_checkpoint_weights(d->finetuned ? d->finetuned : d->checkpoint)};
        quant_learned_ranges(&ranges, &d->plan);
    }
    const char *wrong =
        quant_calibrate(cx, entry->ir, entry, setting, samples, d->folder, &d->plan);
    if (wrong)
        report(cx, setting->span, calibration_failed, wrong);
    return !wrong;
}

const char *deploy_part_name(aml_part part)
{
    static const char *const name[] = {"train", "train", "valid", "test"};
    return name[part];
}

bool deploy_quantize(Deployment *d)
{
    Cx *cx = d->cx;
    const QuantizeSetting *setting = &d->deploy->quantize;
    if (setting->dataset != d->job->table.data) {
        report(cx, setting->span, calibration_foreign,
               d->program->dataset.at[setting->dataset].table.name, d->data->table.name);
        return false;
    }
    for (int i = 0; i < d->artifact.predict.count; i++) {
        freeze_loops(d->artifact.predict.at[i].ir, true);
        quant_fold_norms(d->artifact.predict.at[i].ir);
        if (setting->equalize)
            d->plan.equalized = quant_equalize(d->artifact.predict.at[i].ir);
    }
    QuantSamples samples;
    aml_tensors *tensors = NULL;
    bool good =
        deploy_samples(d, deploy_part_name(setting->part), setting->samples, &samples, &tensors) &&
        calibrate(d, &samples);
    int64_t used = good ? samples.count : 0;
    aml_tensors_close(tensors);
    if (!good)
        return false;
    if (!d->exact)
        d->exact = ir_clone_function(d->artifact.predict.at[0].ir, NULL, sym_of(cx, "exact"));
    for (int i = 0; i < d->artifact.predict.count; i++)
        if (!quant_insert(d->artifact.predict.at[i].ir, &d->plan))
            bug(cx, setting->span, "the function for a batch of %lld has other layers",
                (long long)d->artifact.batch.at[i]);
    if (setting->learned)
        fprintf(stderr, "quantized %s with the ranges that %s has learned\n", d->deploy->name,
                d->job->table.name);
    else
        fprintf(stderr, "quantized %s with ranges of %lld samples of %s.%s\n", d->deploy->name,
                (long long)used, d->data->table.name, deploy_part_name(setting->part));
    print_report(d);
    if (setting->equalize)
        fprintf(stderr, "  equalized: %d pair%s of layers\n", d->plan.equalized,
                d->plan.equalized == 1 ? "" : "s");
    keep_report(d);
    store_tables(d);
    d->rounded = ir_clone_function(d->artifact.predict.at[0].ir, NULL, sym_of(cx, "rounded"));
    return true;
}

// ---- accuracy

static int output_named(const Entry *entry, const char *name)
{
    for (int i = 0; i < entry->output.count; i++)
        if (strcmp(entry->output.at[i].name, name) == 0)
            return i;
    return -1;
}

// The share of samples whose class `fn` predicts; negative after an error.
static double share_right(Deployment *d, IrFunction *fn, const QuantSamples *samples, int label)
{
    Native native;
    const Entry *entry = &d->artifact.predict.at[0];
    int output = output_named(entry, "prediction");
    const char *wrong = native_open(d->cx, fn, d->folder, &native);
    int64_t batch = entry->input.at[0].shape.dim[0], right = 0;
    for (int64_t first = 0; first < samples->count && !wrong; first += batch) {
        wrong = quant_take(d->cx, samples, entry, first, &native);
        if (wrong)
            break;
        native_run(&native);
        for (int64_t i = 0; i < batch && first + i < samples->count; i++)
            right += element_whole((DType)entry->output.at[output].dtype, native.output[output],
                                   i) == label_at(samples, label, first + i);
    }
    native_close(&native);
    if (wrong)
        say(d->command, "error", "the accuracy cannot be measured: %s", wrong);
    return wrong ? -1 : (double)right / (double)samples->count;
}

bool deploy_accuracy(Deployment *d, double *before, double *after)
{
    QuantSamples samples;
    aml_tensors *tensors = NULL;
    const Entry *entry = &d->artifact.predict.at[0];
    *before = *after = -1;
    if (!deploy_samples(d, "held_out", MEASURED_SAMPLES, &samples, &tensors))
        return false;
    int label = label_of(d, &samples), output = output_named(entry, "prediction");
    bool good = true;
    if (label >= 0 && output >= 0 && entry->output.at[output].classes > 0) {
        *before = share_right(d, ir_clone_function(d->exact, NULL, sym_of(d->cx, "before")),
                              &samples, label);
        *after = share_right(d, ir_clone_function(d->rounded, NULL, sym_of(d->cx, "after")),
                             &samples, label);
        good = *before >= 0 && *after >= 0;
        fprintf(stderr,
                "  accuracy on %lld samples that were held out: %.2f%% (before %s: %.2f%%)\n",
                (long long)samples.count, 100 * *after,
                d->deploy->prune.span.file ? "pruning" : "rounding", 100 * *before);
    }
    aml_tensors_close(tensors);
    return good;
}
