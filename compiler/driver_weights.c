// driver_weights.c: weights alone in small integers or halves: the functions of a deployed program,
// and the report.

#include "driver_deploy.h"

#include <stdio.h>

#include "quant/rounding.h"
#include "stored.h"

enum { MEASURED_TOKENS = 4096 };

static StoredRule rule_of(const QuantizeSetting *setting)
{
    return (StoredRule){.form = setting->form,
                        .group = setting->group,
                        .asymmetric = setting->asymmetric,
                        .compensated = setting->compensated};
}

static void print_report(const StoredReport *report)
{
    int64_t before = 0, after = 0;
    fprintf(stderr, "  %-24s %10s %10s %8s %9s %11s %11s  %s\n", "weights", "from", "to", "SQNR dB",
            "result dB", "f32 bytes", "bytes", "stored as");
    for (int i = 0; i < report->layer.count; i++) {
        const aml_layer_report *layer = &report->layer.at[i];
        char result[16] = "-";
        if (layer->result_db > 0)
            snprintf(result, sizeof result, "%.1f", layer->result_db);
        fprintf(stderr, "  %-24s %10.4g %10.4g %8.1f %9s %11lld %11lld  %s\n", layer->name,
                layer->low, layer->high, layer->weights_db, result, (long long)layer->bytes_before,
                (long long)layer->bytes_after, layer->kept ? layer->kept : layer->form);
        before += layer->bytes_before;
        after += layer->bytes_after;
    }
    fprintf(stderr, "  %-24s %50lld %11lld  %.1f%%\n", "together", (long long)before,
            (long long)after, before ? 100 * (double)after / (double)before : 0);
}

// What products are given on the samples that the block names; NULL after an error.
static const StoredInputs *measure_inputs(Deployment *d, const StoredRun run[], int runs)
{
    Cx *cx = d->cx;
    const QuantizeSetting *setting = &d->deploy->quantize;
    StoredInputs *inputs = NEW(cx->arena, StoredInputs);
    QuantSamples samples;
    aml_tensors *tensors = NULL;
    if (setting->dataset != d->job->table.data) {
        report(cx, setting->span, calibration_foreign,
               d->program->dataset.at[setting->dataset].table.name, d->data->table.name);
        return NULL;
    }
    if (!deploy_samples(d, deploy_part_name(setting->part), setting->samples, &samples, &tensors))
        return NULL;
    const char *wrong = stored_inputs(cx, run, runs, &samples, MEASURED_TOKENS, d->folder, inputs);
    aml_tensors_close(tensors);
    if (wrong)
        report(cx, setting->span, calibration_failed, wrong);
    return wrong ? NULL : inputs;
}

bool deploy_store(Deployment *d, const StoredRun run[], int count, int measured)
{
    Cx *cx = d->cx;
    StoredRule rule = rule_of(&d->deploy->quantize);
    StoredReport rows = {0};
    StoredRounded rounded = {0};
    const StoredInputs *inputs = NULL;
    if (rule.compensated && !(inputs = measure_inputs(d, run, measured)))
        return false;
    for (int i = 0; i < count; i++) {
        StoredReport again = {0};
        run[i].fn->mixed = DTYPE_F32; // what is stored is rounded coarser than operands would be
        if (stored_insert(run[i].fn, &rule, inputs, &rounded, i ? &again : &rows) > 0)
            continue;
        report(cx, d->deploy->quantize.span, nothing_to_store, d->job->table.name);
        return false;
    }
    fprintf(stderr, "weights of %s alone as %s\n", d->deploy->name,
            stored_form_text(cx->arena, &rule));
    print_report(&rows);
    d->artifact.layer.count = 0;
    for (int i = 0; i < rows.layer.count; i++)
        vec_push(cx->arena, &d->artifact.layer, rows.layer.at[i]);
    return true;
}
