// text.c: the report as tables for people.

#include <string.h>

#include "report/report.h"

// 1234567 as "1,234,567".
static const char *grouped(Arena *arena, double value)
{
    const char *digits = arena_printf(arena, "%.0f", value);
    size_t length = strlen(digits);
    Buffer out = {.arena = arena};
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            buffer_text(&out, ",");
        buffer_append(&out, digits + i, 1);
    }
    return out.text;
}

static const char *size_text(Arena *arena, double bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t i = 0;
    while (bytes >= 1024 && i + 1 < COUNT_OF(unit)) {
        bytes /= 1024;
        i++;
    }
    return arena_printf(arena, i ? "%.1f %s" : "%.0f %s", bytes, unit[i]);
}

static const char *place_text(Arena *arena, const char *path, int line)
{
    return path ? arena_printf(arena, "%s:%d", path, line) : "(compiler)";
}

static void put_states(const Report *report, const ReportBlock *block, Buffer *out)
{
    Arena *arena = report->cx->arena;
    if (!block->state.count)
        return;
    buffer_printf(out, "\n  %-28s %-10s %-18s %12s %12s  %s\n", "state", "role", "type", "elements",
                  "bytes", "declared");
    for (int i = 0; i < block->state.count; i++) {
        const ReportState *state = &block->state.at[i];
        buffer_printf(out, "  %-28s %-10s %-18s %12s %12s  %s\n", state->name ? state->name : "",
                      state->role, type_text(arena, state->type),
                      grouped(arena, (double)type_elements(state->type)),
                      size_text(arena, (double)type_bytes(state->type)),
                      place_text(arena, state->place.path, state->place.line));
    }
}

static void put_parameters(const Report *report, const ReportBlock *block, Buffer *out)
{
    Arena *arena = report->cx->arena;
    if (!block->line.count)
        return;
    buffer_printf(out, "\n  %-34s %14s %6s %12s\n", "line", "parameters", "", "bytes");
    for (int i = 0; i < block->line.count; i++) {
        const ReportLine *line = &block->line.at[i];
        buffer_printf(out, "  %-34s %14s %5.1f%% %12s\n", place_text(arena, line->path, line->line),
                      grouped(arena, line->parameters),
                      100 * line->parameters / (double)block->parameters,
                      size_text(arena, line->bytes));
    }
}

static void put_phase(const Report *report, const ReportPhase *phase, Buffer *out)
{
    Arena *arena = report->cx->arena;
    size_t total = phase->state_bytes + phase->buffer_bytes + phase->temporary_bytes;
    buffer_printf(out, "\n  %s: %s\n", phase->name, phase->meaning);
    buffer_printf(out, "    operations %s, memory traffic %s\n", grouped(arena, phase->flops),
                  size_text(arena, phase->bytes));
    buffer_printf(out, "    memory %s: state %s, inputs and outputs %s, temporaries %s\n",
                  size_text(arena, (double)total), size_text(arena, (double)phase->state_bytes),
                  size_text(arena, (double)phase->buffer_bytes),
                  size_text(arena, (double)phase->temporary_bytes));
    if (phase->line.count) {
        buffer_printf(out, "    %-32s %14s %6s %12s\n", "line", "operations", "", "traffic");
        for (int i = 0; i < phase->line.count; i++) {
            const ReportLine *line = &phase->line.at[i];
            double share = phase->flops > 0 ? 100 * line->flops / phase->flops : 0;
            buffer_printf(out, "    %-32s %14s %5.1f%% %12s\n",
                          place_text(arena, line->path, line->line), grouped(arena, line->flops),
                          share, size_text(arena, line->bytes));
        }
    }
    if (phase->alive.count) {
        buffer_printf(out, "    temporaries alive at the peak, %s:\n",
                      place_text(arena, phase->peak.path, phase->peak.line));
        for (int i = 0; i < phase->alive.count; i++) {
            const ReportTensor *tensor = &phase->alive.at[i];
            buffer_printf(out, "      %-18s %12s  %s%s%s\n", type_text(arena, tensor->type),
                          size_text(arena, (double)tensor->bytes),
                          place_text(arena, tensor->place.path, tensor->place.line),
                          tensor->name ? "  " : "", tensor->name ? tensor->name : "");
        }
    }
}

void report_text(const Report *report, Buffer *out)
{
    Arena *arena = report->cx->arena;
    for (int i = 0; i < report->block.count; i++) {
        const ReportBlock *block = &report->block.at[i];
        buffer_printf(out, "%s%s %s", i ? "\n" : "", block->kind, block->name);
        if (block->parameters)
            buffer_printf(out, ": %s parameters", grouped(arena, (double)block->parameters));
        if (block->batch)
            buffer_printf(out, ", batch %lld", (long long)block->batch);
        buffer_text(out, "\n");
        put_parameters(report, block, out);
        put_states(report, block, out);
        for (int k = 0; k < block->phase.count; k++)
            put_phase(report, &block->phase.at[k], out);
    }
}
