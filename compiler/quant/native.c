// native.c: functions that amlc runs itself: compiled for this machine, linked, loaded.

#include "quant/quant.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/link.h"

static const char *write_object(Cx *cx, const char *path, ObjectFile object)
{
    FILE *file = fopen(path, "wbe");
    bool good = file && fwrite(object.at, 1, object.length, file) == object.length;
    good = file && fclose(file) == 0 && good;
    return good ? NULL : arena_printf(cx->arena, "cannot write %s: %s", path, strerror(errno));
}

static const char *link_library(Cx *cx, const ObjectCode *object, const char *folder,
                                const char *library)
{
    Vec(const char *) argv = {0};
    vec_push(cx->arena, &argv, toolchain_find(cx).compiler);
    vec_push(cx->arena, &argv, "-shared");
    vec_push(cx->arena, &argv, "-o");
    vec_push(cx->arena, &argv, library);
    const char *wrong = NULL;
    for (int i = 0; i < object->files && !wrong; i++) {
        const char *path = arena_printf(cx->arena, "%s/native%d.o", folder, i);
        wrong = write_object(cx, path, object->file[i]);
        vec_push(cx->arena, &argv, path);
    }
    vec_push(cx->arena, &argv, "-lm");
    vec_push(cx->arena, &argv, NULL);
    if (!wrong) {
        ProcessResult done = process_run(cx, argv.at, NULL, PROCESS_CAPTURE_BOTH);
        if (done.code != 0)
            wrong = arena_printf(cx->arena, "the linker failed with code %d:\n%s", done.code,
                                 done.output ? done.output : "");
    }
    for (int i = 0; i < object->files; i++)
        unlink(argv.at[4 + i]);
    return wrong;
}

static void *buffer_new(size_t bytes)
{
    void *at =
        aligned_alloc(AML_ALIGNMENT, (bytes + AML_ALIGNMENT) / AML_ALIGNMENT * AML_ALIGNMENT);
    if (at)
        memset(at, 0, bytes);
    return at;
}

static const char *make_buffers(const IrFunction *fn, size_t arena_bytes, Native *out)
{
    out->inputs = fn->param.count;
    out->outputs = fn->result.count;
    out->input = calloc((size_t)out->inputs + 1, sizeof(void *));
    out->output = calloc((size_t)out->outputs + 1, sizeof(void *));
    out->input_bytes = calloc((size_t)out->inputs + 1, sizeof(size_t));
    out->output_bytes = calloc((size_t)out->outputs + 1, sizeof(size_t));
    out->arena = buffer_new(arena_bytes);
    bool good = out->input && out->output && out->input_bytes && out->output_bytes && out->arena;
    for (int i = 0; i < out->inputs && good; i++) {
        int index = fn->param_slot.at[i].index;
        out->input_bytes[index] = (size_t)type_bytes(fn->param.at[i]->type);
        good = (out->input[index] = buffer_new(out->input_bytes[index])) != NULL;
    }
    for (int i = 0; i < out->outputs && good; i++) {
        int index = fn->result.at[i].slot.index;
        out->output_bytes[index] = (size_t)type_bytes(fn->result.at[i].value->type);
        good = (out->output[index] = buffer_new(out->output_bytes[index])) != NULL;
    }
    return good ? NULL : "there is not enough memory to run the model";
}

const char *native_open(Cx *cx, IrFunction *fn, const char *folder, Native *out)
{
    *out = (Native){0};
    IrModule *module = ir_module_new(cx);
    vec_push(cx->arena, &module->function, fn);
    if (!passes_run(cx, module, NULL, NULL, NULL))
        return "the passes failed";
    Entry entry = {.ir = fn, .symbol = "aml_native"};
    EmitEntry list = {&entry, NULL};
    ObjectCode object = {0};
    if (!codegen_emit(cx, module, &list, 1, (Target){.cpu = "native"}, NULL, &object))
        return "code generation failed";
    // a name of its own: dlopen gives the library back that it has under a name already
    const char *library = arena_printf(cx->arena, "%s/native-%p.so", folder, (void *)out);
    const char *wrong = link_library(cx, &object, folder, library);
    if (wrong)
        return wrong;
    out->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    unlink(library);
    if (!out->library)
        return arena_printf(cx->arena, "the compiled model cannot be loaded: %s", dlerror());
    *(void **)&out->run = dlsym(out->library, entry.symbol);
    return out->run ? make_buffers(fn, entry.arena_bytes, out)
                    : "the compiled model has no entry point";
}

void native_run(Native *native)
{
    aml_call call = {.arena = native->arena, .input = native->input, .output = native->output};
    native->run(&call);
}

void native_close(Native *native)
{
    for (int i = 0; i < native->inputs && native->input; i++)
        free(native->input[i]);
    for (int i = 0; i < native->outputs && native->output; i++)
        free(native->output[i]);
    free(native->input), free(native->output);
    free(native->input_bytes), free(native->output_bytes);
    free(native->arena);
    if (native->library)
        dlclose(native->library);
    *native = (Native){0};
}

static bool take_input(const QuantSamples *samples, const aml_tensor_info *input, int64_t first,
                       void *to)
{
    int at = aml_tensors_find(samples->tensors, input->name);
    const aml_tensor_info *all = at < 0 ? NULL : aml_tensors_info(samples->tensors, at);
    if (!all || all->dtype != input->dtype || all->shape.rank != input->shape.rank)
        return false;
    size_t row = aml_dtype_bytes(input->dtype);
    for (int i = 1; i < input->shape.rank; i++) {
        if (all->shape.dim[i] != input->shape.dim[i])
            return false;
        row *= (size_t)input->shape.dim[i];
    }
    const char *data = aml_tensors_data(samples->tensors, at);
    for (int64_t i = 0; i < input->shape.dim[0]; i++)
        memcpy((char *)to + (size_t)i * row, data + (size_t)((first + i) % samples->count) * row,
               row);
    return true;
}

const char *quant_take(Cx *cx, const QuantSamples *samples, const Entry *entry, int64_t first,
                       Native *native)
{
    for (int i = 0; i < entry->input.count; i++)
        if (!take_input(samples, &entry->input.at[i], first, native->input[i]))
            return arena_printf(cx->arena, "the samples have no field '%s' of the right shape",
                                entry->input.at[i].name);
    return NULL;
}
