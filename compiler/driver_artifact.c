// driver_artifact.c: the files of a deployed model: code for each level of processors, the
// executable, and libraries with what tools need to use them.

#include "driver_deploy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "aml/packed.h"

// ---- code

static const char *symbol_at(Cx *cx, const char *symbol, int level)
{
    return level ? sym_printf(cx, "%s_l%d", symbol, level) : symbol;
}

bool deploy_is_cross(const ProgramDeploy *deploy)
{
    return deploy->target.count == 1 && strcmp(deploy->target.at[0], TARGET_CROSS) == 0;
}

void deploy_targets(Deployment *d, bool bytes, Targets *out)
{
    Cx *cx = d->cx;
    const char *asked = d->command->option[OPTION_TARGET];
    if (asked) {
        vec_push(cx->arena, out, asked);
        return;
    }
    if (deploy_is_cross(d->deploy)) { // what is compared has registers of the same size
        vec_push(cx->arena, out, d->crossing ? TARGET_CROSS : "x86-64-v2");
        return;
    }
    for (int i = 0; i < d->deploy->target.count; i++) {
        const char *name = d->deploy->target.at[i];
        int at = out->count;
        vec_push(cx->arena, out, name);
        for (; at > 0 && target_rank(out->at[at - 1]) > target_rank(name); at--)
            out->at[at] = out->at[at - 1];
        out->at[at] = name;
    }
    if (out->count)
        return;
    // products of bytes are several times faster where the processor has an instruction for them
    if (bytes)
        vec_push(cx->arena, out, "x86-64-v4-vnni");
    vec_push(cx->arena, out, "x86-64-v3");
}

Shared deploy_begin_weights(const Deployment *d)
{
    static const aml_weights_head head;
    Shared shared = {.beside = d->deploy->weights_beside, .file = {.arena = d->cx->arena}};
    if (shared.beside)
        buffer_append(&shared.file, (const char *)&head, sizeof head);
    return shared;
}

void deploy_end_weights(Deployment *d, Shared *shared, const Targets *target)
{
    Artifact *artifact = &d->artifact;
    Arena *arena = d->cx->arena;
    if (!shared->beside)
        return;
    Buffer levels = {.arena = arena};
    for (int i = 0; i < target->count; i++)
        buffer_printf(&levels, "%s%s", i ? "," : "", target->at[i]);
    aml_weights_head head;
    artifact->weights_file = arena_printf(arena, "%s.weights", artifact->name);
    artifact->weights_file_bytes = shared->file.length;
    artifact->weights_file_hash =
        sha256_hex(d->cx, shared->file.text + sizeof head, shared->file.length - sizeof head);
    artifact->weights_levels = levels.text;
    aml_weights_describe(&(aml_weights_file){.bytes = artifact->weights_file_bytes,
                                             .hash = artifact->weights_file_hash,
                                             .model = artifact->name,
                                             .levels = levels.text},
                         &head);
    memcpy(shared->file.text, &head, sizeof head);
    d->weights = shared->file.text;
}

// Which outputs of prepare are fields as they are.
static const signed char *given_of(Cx *cx, const Entry *prepare)
{
    const IrFunction *fn = prepare->ir;
    signed char *given = NEW_ARRAY(cx->arena, signed char, prepare->output.count + 1);
    memset(given, -1, (size_t)prepare->output.count + 1);
    for (int i = 0; i < fn->result.count; i++)
        for (int k = 0; k < fn->param.count; k++)
            if (fn->result.at[i].slot.kind == SLOT_OUTPUT &&
                fn->param_slot.at[k].kind == SLOT_INPUT &&
                fn->result.at[i].value == fn->param.at[k] && fn->param_slot.at[k].index < 128)
                given[fn->result.at[i].slot.index] = (signed char)fn->param_slot.at[k].index;
    return given;
}

static bool compile_level(Deployment *d, const Artifact *from, ArtifactLevel *level,
                          const Target *target, ObjectCode *object)
{
    Cx *cx = d->cx;
    Vec(EmitEntry) list = {0};
    int number = target->shared ? target->shared->objects : 0;
    level->prepare = from->prepare;
    level->given = given_of(cx, &from->prepare);
    for (int i = 0; i < from->predict.count; i++)
        vec_push(cx->arena, &level->predict, from->predict.at[i]);
    vec_push(cx->arena, &list, ((EmitEntry){&level->prepare, NULL}));
    for (int i = 0; i < level->predict.count; i++)
        vec_push(cx->arena, &list, ((EmitEntry){&level->predict.at[i], NULL}));
    for (int i = 0; i < list.count; i++) { // generating code changes a function
        Entry *entry = list.at[i].entry;
        entry->symbol = symbol_at(cx, entry->symbol, number);
        entry->ir = ir_clone_function(entry->ir, NULL, sym_of(cx, entry->symbol));
    }
    if (!codegen_emit(cx, d->program->module, list.at, list.count, *target, NULL, object))
        return false;
    level->cpu_level = object->cpu_level;
    level->cpu_features = object->cpu_features;
    level->stored = object->stored;
    level->expand = object->expand;
    level->stored_bytes = object->stored_bytes;
    level->stored_length = object->stored_length;
    level->stored_plain = object->stored_plain;
    level->stored_data = object->stored_data;
    return true;
}

bool deploy_compile(Deployment *d, ObjectCode *object)
{
    Cx *cx = d->cx;
    Targets target = {0};
    Vec(ObjectFile) file = {0};
    bool beside = d->deploy->weights_beside;
    Shared shared = deploy_begin_weights(d);
    bool bytes = false;
    for (int i = 0; i < d->artifact.predict.count; i++)
        bytes |= codegen_sums_bytes(d->artifact.predict.at[i].ir);
    deploy_targets(d, bytes, &target);
    d->artifact.level.count = 0;
    for (int i = 0; i < target.count; i++) {
        Target one = target_of(d->command);
        ArtifactLevel level = {0};
        one.cpu = target.at[i];
        one.shared = target.count > 1 || beside ? &shared : NULL;
        one.stores = d->stores;
        one.makes = !beside || d->deploy->small;
        one.makes_all = d->deploy->small;
        one.small = d->deploy->small || d->artifact.weights_bytes < PACKED_MOST;
        if (!compile_level(d, &d->artifact, &level, &one, object))
            return false;
        for (int k = 0; k < object->files; k++)
            vec_push(cx->arena, &file, object->file[k]);
        vec_push(cx->arena, &d->artifact.level, level);
    }
    object->files = file.count;
    object->file = file.at;
    deploy_end_weights(d, &shared, &target);
    return true;
}

// ---- files

const char *deploy_beside(Deployment *d, const char *file)
{
    const char *slash = strrchr(d->request->output, '/');
    if (!slash)
        return file;
    return arena_printf(d->cx->arena, "%.*s/%s", (int)(slash - d->request->output),
                        d->request->output, file);
}

bool deploy_write_text(Deployment *d, const char *path, const char *text)
{
    return deploy_write(d, path, text, strlen(text));
}

bool deploy_write(Deployment *d, const char *path, const void *at, size_t bytes)
{
    FILE *file = fopen(path, "we");
    bool good = file && fwrite(at, 1, bytes, file) == bytes;
    good = file && fclose(file) == 0 && good;
    if (!good)
        say(d->command, "error", "cannot write %s: %s", path, strerror(errno));
    return good;
}

static bool told(Deployment *d, const char *wrong)
{
    if (wrong)
        say(d->command, "error", "%s", wrong);
    return wrong != NULL;
}

bool deploy_emits(const Deployment *d, DeployForm form)
{
    return d->deploy->emit >> form & 1;
}

bool deploy_write_weights(Deployment *d)
{
    const Artifact *artifact = &d->artifact;
    if (!artifact->weights_file)
        return true;
    const char *path =
        deploy_emits(d, DEPLOY_EXECUTABLE) && (d->crossing || !deploy_is_cross(d->deploy))
            ? deploy_beside(d, artifact->weights_file)
            : arena_printf(d->cx->arena, "%s/%s", d->folder, artifact->weights_file);
    if (!deploy_write(d, path, d->weights, artifact->weights_file_bytes))
        return false;
    d->weights_path = path;
    return true;
}

bool deploy_link_executable(Deployment *d, const ObjectCode *object, const char *path)
{
    if (d->crossing) {
        LinkRequest request = {.kind = LINK_EXECUTABLE,
                               .tables = tables_of_artifact(d->cx, &d->artifact),
                               .object = object,
                               .cross = true,
                               .output = path};
        return !told(d, toolchain_link(d->cx, &request));
    }
    // What reads files by their kind knows pictures as well as sounds; where unused functions
    // cannot be left out, as with a sanitizer, the decoders of both are wanted.
    const char *libraries =
        arena_printf(d->cx->arena, "%s %s", source_libraries(d->artifact.source->kind),
                     source_libraries(AML_SOURCE_IMAGES));
    LinkRequest request = {.kind = LINK_EXECUTABLE,
                           .tables = tables_of_artifact(d->cx, &d->artifact),
                           .object = object,
                           .libraries = libraries,
                           .small = true,
                           .output = path};
    return !told(d, toolchain_link(d->cx, &request));
}

bool deploy_executable(Deployment *d, const ObjectCode *object)
{
    d->executable = deploy_emits(d, DEPLOY_EXECUTABLE) && !deploy_is_cross(d->deploy)
                        ? d->request->output
                        : arena_printf(d->cx->arena, "%s/deployed", d->folder);
    return deploy_write_weights(d) && deploy_link_executable(d, object, d->executable);
}

// `%` is the name of the model.
static const char pkg_config[] = "prefix=${pcfiledir}\n"
                                 "\n"
                                 "Name: %\n"
                                 "Description: the deployed model %\n"
                                 "Version: 1\n"
                                 "Cflags: -I${prefix}\n"
                                 "Libs: -L${prefix} -l%\n"
                                 "Libs.private: -lm\n";
static const char cmake_package[] =
    "# find_package(% CONFIG PATHS this/folder) gives %::% and the forms that are here: %::shared, "
    "%::static.\n"
    "if(NOT TARGET %::%)\n"
    "  if(EXISTS \"${CMAKE_CURRENT_LIST_DIR}/lib%.so\")\n"
    "    add_library(%::shared SHARED IMPORTED)\n"
    "    set_target_properties(%::shared PROPERTIES IMPORTED_LOCATION "
    "\"${CMAKE_CURRENT_LIST_DIR}/lib%.so\" IMPORTED_SONAME lib%.so\n"
    "                          INTERFACE_INCLUDE_DIRECTORIES \"${CMAKE_CURRENT_LIST_DIR}\")\n"
    "  endif()\n"
    "  if(EXISTS \"${CMAKE_CURRENT_LIST_DIR}/lib%.a\")\n"
    "    add_library(%::static STATIC IMPORTED)\n"
    "    set_target_properties(%::static PROPERTIES IMPORTED_LOCATION "
    "\"${CMAKE_CURRENT_LIST_DIR}/lib%.a\" IMPORTED_LINK_INTERFACE_LANGUAGES C\n"
    "                          INTERFACE_INCLUDE_DIRECTORIES \"${CMAKE_CURRENT_LIST_DIR}\" "
    "INTERFACE_LINK_LIBRARIES m)\n"
    "  endif()\n"
    "  add_library(%::% INTERFACE IMPORTED)\n"
    "  if(TARGET %::shared)\n"
    "    set_target_properties(%::% PROPERTIES INTERFACE_LINK_LIBRARIES %::shared)\n"
    "  else()\n"
    "    set_target_properties(%::% PROPERTIES INTERFACE_LINK_LIBRARIES %::static)\n"
    "  endif()\n"
    "endif()\n";

static const char *with_name(Deployment *d, const char *text)
{
    Buffer out = {.arena = d->cx->arena};
    buffer_text(&out, "");
    for (; *text; text++)
        *text == '%' ? buffer_text(&out, d->artifact.name) : buffer_append(&out, text, 1);
    return out.text;
}

static bool write_packages(Deployment *d)
{
    Arena *arena = d->cx->arena;
    const char *name = d->artifact.name;
    return deploy_write_text(d, deploy_beside(d, arena_printf(arena, "%s.pc", name)),
                             with_name(d, pkg_config)) &&
           deploy_write_text(d, deploy_beside(d, arena_printf(arena, "%s-config.cmake", name)),
                             with_name(d, cmake_package));
}

bool deploy_link_libraries(Deployment *d, const ObjectCode *object, LibraryText text)
{
    static const struct {
        DeployForm form;
        LinkKind kind;
        const char *file;
    } made[] = {{DEPLOY_SHARED_LIBRARY, LINK_SHARED, "lib%.so"},
                {DEPLOY_STATIC_LIBRARY, LINK_ARCHIVE, "lib%.a"},
                {DEPLOY_OBJECT, LINK_OBJECT, "%.o"}};
    Cx *cx = d->cx;
    const char *name = d->artifact.name;
    LinkRequest request = {.header_name = arena_printf(cx->arena, "%s.h", name),
                           .header = text.header,
                           .tables = text.tables,
                           .object = object,
                           .cross = d->crossing,
                           .name = name,
                           .exports = text.functions};
    bool libraries =
             deploy_emits(d, DEPLOY_SHARED_LIBRARY) || deploy_emits(d, DEPLOY_STATIC_LIBRARY),
         any = libraries || deploy_emits(d, DEPLOY_OBJECT);
    if (any && d->artifact.weights_file && !deploy_emits(d, DEPLOY_EXECUTABLE) &&
        !deploy_write(d, deploy_beside(d, d->artifact.weights_file), d->weights,
                      d->artifact.weights_file_bytes))
        return false;
    for (size_t i = 0; i < COUNT_OF(made); i++) {
        if (!deploy_emits(d, made[i].form))
            continue;
        request.kind = made[i].kind;
        request.output = deploy_beside(d, with_name(d, made[i].file));
        if (told(d, toolchain_link(cx, &request)))
            return false;
    }
    if ((any || deploy_emits(d, DEPLOY_C_HEADER)) &&
        !deploy_write_text(d, deploy_beside(d, request.header_name), request.header))
        return false;
    return !libraries || write_packages(d);
}

bool deploy_libraries(Deployment *d, const ObjectCode *object)
{
    return deploy_link_libraries(d, object,
                                 (LibraryText){.header = library_header(d->cx, &d->artifact),
                                               .tables = library_source(d->cx, &d->artifact),
                                               .functions = library_functions()});
}
