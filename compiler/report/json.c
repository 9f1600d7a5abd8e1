// json.c: the report for programs. Keys are words, sizes are bytes, places are "path:line".

#include <jansson.h>
#include <stdlib.h>

#include "report/report.h"

static json_t *place_json(const Report *report, const char *path, int line)
{
    return path ? json_string(arena_printf(report->cx->arena, "%s:%d", path, line)) : json_null();
}

static json_t *shape_json(Type type)
{
    json_t *shape = json_array();
    for (int axis = 0; axis < type.rank; axis++)
        json_array_append_new(shape, json_integer(type.dim[axis]));
    return shape;
}

static json_t *phase_json(const Report *report, const ReportPhase *phase)
{
    json_t *lines = json_array(), *alive = json_array();
    for (int i = 0; i < phase->line.count; i++) {
        const ReportLine *line = &phase->line.at[i];
        json_array_append_new(lines, json_pack("{s:o, s:f, s:f}", "place",
                                               place_json(report, line->path, line->line), "flops",
                                               line->flops, "bytes", line->bytes));
    }
    for (int i = 0; i < phase->alive.count; i++) {
        const ReportTensor *tensor = &phase->alive.at[i];
        json_array_append_new(
            alive, json_pack("{s:s, s:o, s:I, s:s?, s:o}", "dtype",
                             dtype_info[tensor->type.dtype].name, "shape", shape_json(tensor->type),
                             "bytes", (json_int_t)tensor->bytes, "name", tensor->name, "place",
                             place_json(report, tensor->place.path, tensor->place.line)));
    }
    return json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:o, s:o, s:o}", "phase", phase->name, "flops",
                     phase->flops, "bytes", phase->bytes, "state_bytes",
                     (json_int_t)phase->state_bytes, "buffer_bytes",
                     (json_int_t)phase->buffer_bytes, "temporary_bytes",
                     (json_int_t)phase->temporary_bytes, "peak",
                     place_json(report, phase->peak.path, phase->peak.line), "alive_at_peak", alive,
                     "lines", lines);
}

static json_t *block_json(const Report *report, const ReportBlock *block)
{
    json_t *states = json_array(), *phases = json_array(), *lines = json_array();
    for (int i = 0; i < block->line.count; i++) {
        const ReportLine *line = &block->line.at[i];
        json_array_append_new(lines, json_pack("{s:o, s:I, s:I}", "place",
                                               place_json(report, line->path, line->line),
                                               "parameters", (json_int_t)line->parameters, "bytes",
                                               (json_int_t)line->bytes));
    }
    for (int i = 0; i < block->state.count; i++) {
        const ReportState *state = &block->state.at[i];
        json_array_append_new(
            states, json_pack("{s:s?, s:s, s:s, s:o, s:I, s:o}", "name", state->name, "role",
                              state->role, "dtype", dtype_info[state->type.dtype].name, "shape",
                              shape_json(state->type), "bytes", (json_int_t)type_bytes(state->type),
                              "place", place_json(report, state->place.path, state->place.line)));
    }
    for (int i = 0; i < block->phase.count; i++)
        json_array_append_new(phases, phase_json(report, &block->phase.at[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "kind", block->kind, "name",
                     block->name, "parameters", (json_int_t)block->parameters, "batch",
                     (json_int_t)block->batch, "lines", lines, "states", states, "phases", phases);
}

void report_json(const Report *report, Buffer *out)
{
    json_t *blocks = json_array();
    for (int i = 0; i < report->block.count; i++)
        json_array_append_new(blocks, block_json(report, &report->block.at[i]));
    json_t *root = json_pack("{s:s?, s:o}", "source", report->source, "blocks", blocks);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    buffer_text(out, text ? text : "{}");
    buffer_text(out, "\n");
    free(text);
}
