// Weights from a file that another program wrote: names are mapped, axes exchanged, floats
// converted.
//
// Loading is total: each weight has to be found and each tensor of the file used, except for what
// the program names. What the check passes is what is loaded.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/checkpoint/store.h"

enum { MOST_STARS = 8, NAME_ROOM = 512, SHOWN = 8 };

typedef struct Stars { // what each `*` of a pattern stands for
    int count;
    const char *at[MOST_STARS];
    size_t length[MOST_STARS];
} Stars;

// With `whole`, the pattern is all of the text; otherwise the text may go on with a '.'.
static bool fits(const char *pattern, const char *text, bool whole, Stars *stars)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern != '*') {
            if (*pattern != *text)
                return false;
            continue;
        }
        int star = stars->count++;
        for (size_t length = 0;; length++) {
            Stars rest = *stars;
            if (fits(pattern + 1, text + length, whole, &rest)) {
                if (star < MOST_STARS)
                    rest.at[star] = text, rest.length[star] = length;
                *stars = rest;
                return true;
            }
            if (!text[length])
                return false;
        }
    }
    return *text == 0 || (!whole && *text == '.');
}

static bool fits_any(const char *const pattern[], int count, const char *text)
{
    bool found = false;
    for (int i = 0; i < count && !found; i++)
        found = fits(pattern[i], text, false, &(Stars){0});
    return found;
}

static void fill(const char *pattern, const Stars *stars, char name[NAME_ROOM])
{
    size_t used = 0;
    int star = 0;
    for (; *pattern && used + 1 < NAME_ROOM; pattern++) {
        if (*pattern != '*') {
            name[used++] = *pattern;
            continue;
        }
        int at = star++;
        size_t length = at < stars->count && at < MOST_STARS ? stars->length[at] : 0;
        for (size_t i = 0; i < length && used + 1 < NAME_ROOM; i++)
            name[used++] = stars->at[at][i];
    }
    name[used] = 0;
}

// The name in the file for a path, and the entry of the map that says so (NULL: none).
static const aml_load_rule *file_name(const aml_load *load, const char *path, char name[NAME_ROOM])
{
    for (int i = 0; i < load->rules; i++) {
        Stars stars = {0};
        if (!fits(load->rule[i].model, path, true, &stars))
            continue;
        fill(load->rule[i].file, &stars, name);
        return &load->rule[i];
    }
    snprintf(name, NAME_ROOM, "%s", path);
    return NULL;
}

// A state's path below the model that is loaded; NULL if it is not below it.
static const char *path_below(const aml_load *load, const char *path)
{
    size_t length = load->below ? strlen(load->below) : 0;
    if (length == 0)
        return path;
    bool inside = strncmp(path, load->below, length) == 0 && path[length] == '.';
    return inside ? path + length + 1 : NULL;
}

static bool is_float(aml_dtype dtype)
{
    return dtype == AML_F32 || dtype == AML_F64 || dtype == AML_F16 || dtype == AML_BF16;
}

static bool same_form(const aml_tensor_info *ours, const aml_tensor_info *theirs,
                      const aml_load_rule *rule)
{
    int rank = ours->shape.rank;
    bool turned = rule && rule->axes > 0;
    if (theirs->shape.rank != rank || (turned && rule->axes != rank) ||
        (ours->dtype != theirs->dtype && !(is_float(ours->dtype) && is_float(theirs->dtype))))
        return false;
    for (int i = 0; i < rank; i++)
        if (ours->shape.dim[i] != theirs->shape.dim[turned ? rule->axis[i] : i])
            return false;
    return true;
}

typedef struct Complaint {
    char text[AML_ERROR_ROOM / 2];
    size_t used;
    int count;
} Complaint;

static char *next_line(Complaint *complaint, size_t *room)
{
    bool full = complaint->used + 2 >= sizeof complaint->text;
    *room = full ? 0 : sizeof complaint->text - complaint->used;
    return ++complaint->count > SHOWN || full ? NULL : complaint->text + complaint->used;
}

static void complain_form(Complaint *complaint, const aml_tensor_info *ours,
                          const aml_tensor_info *theirs)
{
    char a[160], b[160];
    size_t room;
    char *line = next_line(complaint, &room);
    if (!line)
        return;
    bool turned = ours->shape.rank == 2 && theirs->shape.rank == 2 &&
                  ours->shape.dim[0] == theirs->shape.dim[1] &&
                  ours->shape.dim[1] == theirs->shape.dim[0];
    complaint->used +=
        (size_t)snprintf(line, room, "\n  %.150s is %s, '%.150s' of the file is %s%s", ours->name,
                         aml_shape_text(ours->dtype, &ours->shape, a, sizeof a), theirs->name,
                         aml_shape_text(theirs->dtype, &theirs->shape, b, sizeof b),
                         turned ? "; the axes [1, 0] in its entry of `map` exchange them" : "");
}

// "adult/0.standardize": what a checkpoint of a training holds of its data, which is no weight.
static bool is_statistic(const char *name)
{
    const char *slash = strchr(name, '/');
    size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;
    return digits > 0 && slash[1 + digits] == '.' && !strpbrk(slash + 1 + digits + 1, "./");
}

static aml_status check(const aml_load *load, const amli_rows *rows, const aml_tensors *tensors,
                        const char *file, bool used[], aml_error *error)
{
    Complaint complaint = {.used = 0};
    char name[NAME_ROOM], a[160];
    size_t room;
    for (int i = 0; i < rows->count; i++) {
        const aml_tensor_info *ours = &rows->at[i].tensor;
        const char *path = path_below(load, ours->name);
        if (!path)
            continue;
        const aml_load_rule *rule = file_name(load, path, name);
        int32_t at = aml_tensors_find(tensors, name);
        if (at >= 0) {
            used[at] = true;
            if (!same_form(ours, aml_tensors_info(tensors, at), rule))
                complain_form(&complaint, ours, aml_tensors_info(tensors, at));
            continue;
        }
        if (fits_any(load->missing, load->missings, path))
            continue;
        char *line = next_line(&complaint, &room);
        if (line)
            complaint.used +=
                (size_t)snprintf(line, room, "\n  %.150s (%s) is not in the file%s%.150s%s",
                                 ours->name, aml_shape_text(ours->dtype, &ours->shape, a, sizeof a),
                                 rule ? " as '" : "", rule ? name : "", rule ? "'" : "");
    }
    for (int32_t at = 0; at < aml_tensors_count(tensors); at++) {
        const aml_tensor_info *theirs = aml_tensors_info(tensors, at);
        if (used[at] || fits_any(load->unused, load->unuseds, theirs->name) ||
            is_statistic(theirs->name))
            continue;
        char *line = next_line(&complaint, &room);
        if (line)
            complaint.used += (size_t)snprintf(
                line, room, "\n  '%.150s' of the file (%s) is used by nothing", theirs->name,
                aml_shape_text(theirs->dtype, &theirs->shape, a, sizeof a));
    }
    if (complaint.count == 0)
        return AML_OK;
    char more[40] = "";
    if (complaint.count > SHOWN)
        snprintf(more, sizeof more, "\n  and %d more", complaint.count - SHOWN);
    return amli_fail(error, AML_BAD_CHECKPOINT,
                     "%s does not fit the model (%s)%s%s\nhelp: `map` gives other names and axes, "
                     "`missing` and `unused` name what may be left out",
                     file, load->place ? load->place : "?", complaint.text, more);
}

#define SAVED (1u << AML_ROLE_WEIGHT | 1u << AML_ROLE_STATE)

aml_status aml_load_check(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                          const char *name, aml_error *error)
{
    amli_rows rows;
    aml_status status = amli_rows_make(job, SAVED, &rows, error);
    if (status)
        return status;
    bool *used = calloc((size_t)aml_tensors_count(tensors) + 1, sizeof *used);
    status = used ? check(load, &rows, tensors, name, used, error)
                  : amli_no_memory(error, (size_t)aml_tensors_count(tensors), name);
    free(used);
    amli_rows_free(&rows);
    return status;
}

// ---- reading ------------------------------------------------------------------------------------

static double element(aml_dtype dtype, const char *at)
{
    union {
        float f32;
        double f64;
        _Float16 f16;
        uint16_t half;
    } value = {.f64 = 0};
    memcpy(&value, at, aml_dtype_bytes(dtype));
    if (dtype == AML_F64)
        return value.f64;
    if (dtype == AML_F16)
        return (double)value.f16;
    if (dtype == AML_BF16) {
        uint32_t bits = (uint32_t)value.half << 16;
        memcpy(&value.f32, &bits, sizeof value.f32);
    }
    return (double)value.f32;
}

static void convert_element(aml_dtype to_type, char *to, aml_dtype from_type, const char *from)
{
    double value = element(from_type, from);
    float single = (float)value;
    if (to_type == from_type)
        memcpy(to, from, aml_dtype_bytes(to_type));
    else if (to_type == AML_F64)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &single, sizeof single);
}

// The file's tensor in our type and order of axes.
static void convert(const aml_tensor_info *ours, const aml_tensor_info *theirs,
                    const aml_load_rule *rule, const char *from, char *to)
{
    int rank = ours->shape.rank;
    int64_t stride[AML_MAX_RANK], step[AML_MAX_RANK], index[AML_MAX_RANK] = {0}, all = 1;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = all;
        all *= theirs->shape.dim[i];
    }
    for (int i = 0; i < rank; i++)
        step[i] = stride[rule && rule->axes ? rule->axis[i] : i];
    size_t in = aml_dtype_bytes(theirs->dtype), out = aml_dtype_bytes(ours->dtype);
    for (int64_t at = 0; at < all; at++) {
        int64_t source = 0;
        for (int i = 0; i < rank; i++)
            source += index[i] * step[i];
        convert_element(ours->dtype, to + (size_t)at * out, theirs->dtype,
                        from + (size_t)source * in);
        for (int i = rank - 1; i >= 0 && ++index[i] == ours->shape.dim[i]; i--)
            index[i] = 0;
    }
}

// To `row` and, if it is an average, to the weight that it is the average of.
static aml_status upload(const amli_rows *trained, const aml_state_info *row, const char *bytes,
                         size_t length, amli_device *device, amli_memory state, aml_error *error)
{
    aml_status status = device->kind->upload(device, state, row->offset, bytes, length, error);
    size_t name = strlen(row->tensor.name);
    for (int i = 0; i < trained->count && !status; i++) {
        const char *other = trained->at[i].tensor.name;
        if (strncmp(other, row->tensor.name, name) == 0 && strcmp(other + name, ".raw") == 0)
            status =
                device->kind->upload(device, state, trained->at[i].offset, bytes, length, error);
    }
    return status;
}

aml_status amli_load_file(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                          const char *name, amli_device *device, amli_memory state,
                          aml_error *error)
{
    aml_status status = aml_load_check(job, load, tensors, name, error);
    amli_rows rows = {0}, trained = {0};
    char in_file[NAME_ROOM];
    if (!status)
        status = amli_rows_make(job, SAVED, &rows, error);
    if (!status)
        status = amli_rows_make(job, 1u << AML_ROLE_OPTIMIZER, &trained, error);
    for (int i = 0; i < rows.count && !status; i++) {
        const aml_tensor_info *ours = &rows.at[i].tensor;
        const char *path = path_below(load, ours->name);
        if (!path)
            continue;
        const aml_load_rule *rule = file_name(load, path, in_file);
        int32_t at = aml_tensors_find(tensors, in_file);
        if (at < 0)
            continue;
        size_t length = (size_t)aml_shape_elements(&ours->shape) * aml_dtype_bytes(ours->dtype);
        char *bytes = malloc(length + 1);
        if (!bytes) {
            status = amli_no_memory(error, length, ours->name);
            break;
        }
        convert(ours, aml_tensors_info(tensors, at), rule, aml_tensors_data(tensors, at), bytes);
        status = upload(&trained, &rows.at[i], bytes, length, device, state, error);
        free(bytes);
    }
    amli_rows_free(&rows);
    amli_rows_free(&trained);
    return status;
}

// ---- telling ------------------------------------------------------------------------------------

// Names after a heading, the first few of them.
static void put_name(amli_buffer *out, int64_t *count, const char *heading, const char *name)
{
    enum { NAMES = 6 };
    if (++*count <= NAMES)
        amli_buffer_printf(out, "%s%s", *count == 1 ? heading : ", ", name);
    else if (*count == NAMES + 1)
        amli_buffer_printf(out, ", ...");
}

aml_status amli_load_summary(const aml_job *job, const aml_load *load, const aml_tensors *tensors,
                             amli_buffer *out, aml_error *error)
{
    amli_rows rows;
    char name[NAME_ROOM];
    int64_t read = 0, converted = 0, kept = 0, unused = 0;
    amli_buffer names = {0};
    aml_status status = amli_rows_make(job, SAVED, &rows, error);
    bool *used = calloc((size_t)aml_tensors_count(tensors) + 1, sizeof *used);
    if (!status && !used)
        status = amli_no_memory(error, (size_t)aml_tensors_count(tensors), "the names of weights");
    for (int i = 0; i < rows.count && !status; i++) {
        const aml_tensor_info *ours = &rows.at[i].tensor;
        const char *path = path_below(load, ours->name);
        if (path)
            file_name(load, path, name);
        int32_t at = path ? aml_tensors_find(tensors, name) : -1;
        if (at >= 0) {
            used[at] = true;
            read++;
            converted += aml_tensors_info(tensors, at)->dtype != ours->dtype;
        } else if (path) {
            put_name(&names, &kept, "; not in it and left as they begin: ", ours->name);
        }
    }
    for (int32_t at = 0; at < aml_tensors_count(tensors) && !status; at++)
        if (!used[at])
            put_name(&names, &unused,
                     "; in it and used by nothing: ", aml_tensors_info(tensors, at)->name);
    amli_buffer_printf(out, "%lld tensors", (long long)read);
    if (converted)
        amli_buffer_printf(out, ", %lld of them of another type", (long long)converted);
    amli_buffer_add(out, names.text ? names.text : "", names.failed ? 0 : names.length);
    out->failed = out->failed || names.failed;
    amli_buffer_free(&names);
    free(used);
    amli_rows_free(&rows);
    return status;
}
