// The state table as files know it: a row that holds the turns of a repeated part is one tensor for
// each turn, contiguous in the arena and named as if the part had been written out.
//
//   body.#.up.weight f32[48, 128, 512]      body.0.up.weight f32[128, 512]
//                                           body.1.up.weight f32[128, 512] ...

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/store.h"

int64_t aml_state_parts(const aml_state_info *state)
{
    int64_t parts = 1;
    for (int i = 0; i < state->stack; i++)
        parts *= state->tensor.shape.dim[i];
    return parts;
}

void aml_state_part(const aml_state_info *state, int64_t part, aml_tensor_info *tensor, char *name,
                    size_t room)
{
    int stack = state->stack;
    int64_t turn[AML_MAX_RANK] = {0};
    *tensor = state->tensor;
    tensor->shape = (aml_shape){.rank = state->tensor.shape.rank - stack};
    for (int i = 0; i < tensor->shape.rank; i++)
        tensor->shape.dim[i] = state->tensor.shape.dim[stack + i];
    for (int i = stack - 1; i >= 0; i--) {
        turn[i] = part % state->tensor.shape.dim[i];
        part /= state->tensor.shape.dim[i];
    }
    size_t used = 0;
    int level = 0;
    for (const char *c = state->tensor.name; *c && used + 1 < room; c++) {
        if (*c != '#' || level >= stack)
            name[used++] = *c;
        else
            used += (size_t)snprintf(name + used, room - used, "%lld", (long long)turn[level++]);
    }
    if (room > 0)
        name[used < room ? used : room - 1] = 0;
    tensor->name = name;
}

enum { TURN_DIGITS = 20 };

static size_t name_room(const aml_state_info *state)
{
    return strlen(state->tensor.name) + (size_t)state->stack * TURN_DIGITS + 1;
}

aml_status amli_rows_make(const aml_job *job, unsigned roles, amli_rows *rows, aml_error *error)
{
    size_t count = 0, text = 0;
    for (int i = 0; i < job->states; i++)
        if (roles >> job->state[i].role & 1) {
            size_t parts = (size_t)aml_state_parts(&job->state[i]);
            count += parts;
            text += parts * name_room(&job->state[i]);
        }
    *rows = (amli_rows){.at = calloc(count + 1, sizeof *rows->at), .text = malloc(text + 1)};
    if (!rows->at || !rows->text) {
        amli_rows_free(rows);
        return amli_no_memory(error, count * sizeof *rows->at + text, "the list of states");
    }
    char *name = rows->text;
    for (int i = 0; i < job->states; i++) {
        const aml_state_info *state = &job->state[i];
        int64_t parts = roles >> state->role & 1 ? aml_state_parts(state) : 0;
        for (int64_t part = 0; part < parts; part++) {
            aml_state_info *row = &rows->at[rows->count++];
            *row = (aml_state_info){.role = state->role};
            aml_state_part(state, part, &row->tensor, name, name_room(state));
            name += strlen(name) + 1;
            row->offset = state->offset + (size_t)part *
                                              (size_t)aml_shape_elements(&row->tensor.shape) *
                                              aml_dtype_bytes(state->tensor.dtype);
        }
    }
    return AML_OK;
}

void amli_rows_free(amli_rows *rows)
{
    free(rows->at);
    free(rows->text);
    *rows = (amli_rows){0};
}
