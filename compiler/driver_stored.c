// driver_stored.c: weights alone in small integers or halves: the functions of a deployed program,
// and the report.

#include "driver_deploy.h"

#include <stdio.h>

#include "quant/rounding.h"
#include "stored.h"

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

bool deploy_store(Deployment *d, IrFunction *const fn[], int count, const StoredInputs *inputs)
{
    Cx *cx = d->cx;
    StoredRule rule = rule_of(&d->deploy->quantize);
    StoredReport rows = {0};
    for (int i = 0; i < count; i++) {
        StoredReport again = {0};
        fn[i]->mixed = DTYPE_F32; // what is stored is rounded coarser than operands would be
        if (stored_insert(fn[i], &rule, inputs, i ? &again : &rows) > 0)
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
