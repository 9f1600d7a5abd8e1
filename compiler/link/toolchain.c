// toolchain.c: the system's C compiler as linker, and as compiler of C text.
//
// Everything is made in a temporary folder and moved to its place when it is complete, so that a
// failed build never leaves half a program. The flags below are what makes the result reproducible
// and small.

#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aml/packed.h"
#include "aml/vocabulary.h"
#include "aml_link.h" // generated: AML_LINK_FLAGS, what a sanitized runtime needs
#include "base/embedded.h"

#ifndef AML_DEFAULT_CC
#define AML_DEFAULT_CC "cc"
#endif

extern const AmlEmbedded aml_program_headers[]; // aml/program.h and what it includes
extern const AmlEmbedded aml_layout[];          // executable.ld

Toolchain toolchain_find(Cx *cx)
{
    Toolchain found = {0};
    const char *named = getenv("AML_CC");
    found.compiler = named && *named ? named : AML_DEFAULT_CC;

    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    const char *candidate[] = {
        arena_printf(cx->arena, "%s/libaml_runtime.a", self),            // the build folder
        arena_printf(cx->arena, "%s/../lib/aml/libaml_runtime.a", self), // an installation
    };
    const char *runtime = getenv("AML_RUNTIME");
    if (runtime && *runtime) {
        found.runtime = access(runtime, R_OK) == 0 ? runtime : NULL;
        found.searched = runtime;
        return found;
    }
    for (size_t i = 0; i < COUNT_OF(candidate) && !found.runtime; i++)
        if (access(candidate[i], R_OK) == 0)
            found.runtime = candidate[i];
    found.searched = arena_printf(cx->arena, "%s and %s", candidate[0], candidate[1]);
    return found;
}

Toolchain toolchain_find_cross(Cx *cx)
{
    Toolchain host = toolchain_find(cx), found = {0};
    const char *named = getenv("AML_CC_AARCH64"),
               *slash = host.runtime ? strrchr(host.runtime, '/') : NULL;
    found.compiler = named && *named ? named : "aarch64-linux-gnu-gcc";
    found.searched =
        arena_printf(cx->arena, "%.*slibaml_runtime_aarch64.a",
                     slash ? (int)(slash - host.runtime) + 1 : 0, slash ? host.runtime : "");
    found.runtime = access(found.searched, R_OK) == 0 ? found.searched : NULL;
    found.whole = *AML_CROSS_LIBRARIES;
    return found;
}

static const char *write_file(Cx *cx, const char *path, const void *at, size_t length)
{
    FILE *file = fopen(path, "wbe");
    if (!file)
        return arena_printf(cx->arena, "cannot write %s: %s", path, strerror(errno));
    bool good = fwrite(at, 1, length, file) == length;
    good = fclose(file) == 0 && good;
    return good ? NULL : arena_printf(cx->arena, "writing %s failed: %s", path, strerror(errno));
}

typedef struct Workplace {
    Cx *cx;
    const char *folder;
    Vec(const char *) made; // in the order in which they were made
    bool cross;             // the compiler is one for another machine
} Workplace;

static const char *place_file(Workplace *place, const char *name, const void *at, size_t length)
{
    const char *path = arena_printf(place->cx->arena, "%s/%s", place->folder, name);
    vec_push(place->cx->arena, &place->made, path);
    return write_file(place->cx, path, at, length);
}

static void leave(Workplace *place)
{
    for (int i = place->made.count - 1; i >= 0; i--)
        remove(place->made.at[i]);
    rmdir(place->folder);
}

// Moves a finished file to where the user wants it: a copy beside it, then a rename, which is
// atomic.
static const char *move_into_place(Cx *cx, const char *from, const LinkRequest *request,
                                   bool laid_out)
{
    bool runs = request->kind == LINK_EXECUTABLE || request->kind == LINK_SHARED;
    mode_t mode = runs ? 0755 : 0644;
    const char *output = request->output;
    char *content;
    size_t length;
    if (!file_read(cx->scratch, from, (size_t)1 << 31, &content, &length))
        return arena_printf(cx->arena, "cannot read %s: %s", from, strerror(errno));
    if (laid_out)
        length = layout_finish(cx, content, length, request->tables.unpacks);
    const char *partial = arena_printf(cx->arena, "%s.%ld.part", output, (long)getpid());
    const char *wrong = write_file(cx, partial, content, length);
    if (!wrong && (chmod(partial, mode) != 0 || rename(partial, output) != 0)) {
        wrong = arena_printf(cx->arena, "cannot write %s: %s", output, strerror(errno));
        unlink(partial);
    }
    return wrong;
}

static const char *object_name(Cx *cx, int index)
{
    return arena_printf(cx->arena, "code%d.o", index);
}

// What a library exports: for the linker, and for objcopy.
static const char *place_exports(Workplace *place, const LinkRequest *request)
{
    Buffer map = {.arena = place->cx->arena}, list = {.arena = place->cx->arena};
    buffer_text(&map, "{ global:");
    buffer_text(&list, "");
    for (const char *const *function = request->exports; *function; function++) {
        buffer_printf(&map, " %s_%s;", request->name, *function);
        buffer_printf(&list, "%s_%s\n", request->name, *function);
    }
    buffer_text(&map, " local: *; };\n");
    const char *wrong = place_file(place, "exports.map", map.text, map.length);
    return wrong ? wrong : place_file(place, "exports.txt", list.text, list.length);
}

// executable.ld with what is an address in one of its two places; the mark of the other one is left
// empty.
static const char *place_layout(Workplace *place, bool packs)
{
    static const char *const words[] = {"*(.data.rel.ro .data.rel.ro.*)",
                                        "QUAD(0) *(.data.rel.ro .data.rel.ro.*)"};
    const char *rest = (const char *)aml_layout[0].at, *end = rest + aml_layout[0].length;
    Buffer out = {.arena = place->cx->arena};
    buffer_text(&out, "");
    for (int i = 0; i < 2; i++) {
        const char *mark = i ? "ADDRESSES_PACKED" : "ADDRESSES_ONCE";
        const char *at = memmem(rest, (size_t)(end - rest), mark, strlen(mark));
        if (!at)
            return "executable.ld lacks a place for addresses";
        buffer_append(&out, rest, (size_t)(at - rest));
        buffer_text(&out, packs == (i == 1) ? words[i] : "");
        rest = at + strlen(mark);
    }
    buffer_append(&out, rest, (size_t)(end - rest));
    return place_file(place, aml_layout[0].name, out.text, out.length);
}

static const char *place_inputs(Workplace *place, const LinkRequest *request)
{
    const ObjectFile *tables = &request->tables.object;
    if (tables->length)
        return place_file(place, "tables.o", tables->at, tables->length);
    const char *aml = arena_printf(place->cx->arena, "%s/aml", place->folder);
    if (mkdir(aml, 0700) != 0)
        return arena_printf(place->cx->arena, "cannot make %s: %s", aml, strerror(errno));
    vec_push(place->cx->arena, &place->made, aml);
    const char *wrong = NULL;
    for (const AmlEmbedded *file = aml_program_headers; file->name && !wrong; file++)
        wrong = place_file(place, file->name, file->at, file->length);
    if (!wrong && request->header)
        wrong = place_file(place, request->header_name, request->header, strlen(request->header));
    if (!wrong)
        wrong = place_layout(place, request->tables.unpacks);
    if (!wrong && request->exports)
        wrong = place_exports(place, request);
    if (!wrong)
        wrong = place_file(place, "tables.c", request->tables.text, strlen(request->tables.text));
    for (int i = 0; i < request->tables.images && !wrong; i++) {
        const aml_vocabulary *image = request->tables.image[i];
        if (image)
            wrong = place_file(place, arena_printf(place->cx->arena, "tokenizer%d.bin", i), image,
                               image->bytes);
    }
    return wrong;
}

static const char *place_objects(Workplace *place, const ObjectCode *object)
{
    const char *wrong = NULL;
    for (int i = 0; i < object->files && !wrong; i++)
        wrong = place_file(place, object_name(place->cx, i), object->file[i].at,
                           object->file[i].length);
    return wrong;
}

typedef Vec(const char *) Words;
#define ARG(text) vec_push(place->cx->arena, words, (text))

static Process start_tool(Workplace *place, const char *tool, const Words *words)
{
    Arena *arena = place->cx->arena;
    Words argv = {0};
    vec_push(arena, &argv, tool);
    for (int i = 0; i < words->count; i++)
        vec_push(arena, &argv, words->at[i]);
    vec_push(arena, &argv, NULL);
    return process_start(argv.at, place->folder, PROCESS_CAPTURE_BOTH);
}

static const char *finish_tool(Workplace *place, const char *tool, Process process)
{
    Cx *cx = place->cx;
    ProcessResult ended = process_finish(cx, process);
    if (ended.code == 127 && ended.length == 0 && place->cross)
        return arena_printf(cx->arena,
                            "the C compiler for aarch64 '%s' could not be started; install one "
                            "(apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross) or name "
                            "another in AML_CC_AARCH64",
                            tool);
    if (ended.code == 127 && ended.length == 0)
        return arena_printf(cx->arena,
                            "the C compiler '%s' could not be started; install one (apt-get "
                            "install gcc) or name another in AML_CC",
                            tool);
    if (ended.code != 0)
        return arena_printf(
            cx->arena, "the C compiler '%s' failed with code %d:\n%s%s", tool, ended.code,
            ended.output,
            place->cross && strstr(ended.output, "cannot find -l")
                ? "\nan executable for aarch64 is linked with static libraries for it "
                  "(apt-get install libc6-dev-arm64-cross; for tokenizers of "
                  "pieces libutf8proc-dev:arm64 libpcre2-dev:arm64)"
                : "");
    return NULL;
}

static const char *run_tool(Workplace *place, const char *tool, const Words *words)
{
    return finish_tool(place, tool, start_tool(place, tool, words));
}

// Whether the linker is binutils' own, which understands executable.ld: the compiler that a user or
// a sanitizer names has a linker of its own choice.
static bool links_by_layout(const LinkRequest *request, const Toolchain *tools)
{
    return request->kind == LINK_EXECUTABLE && request->small && !request->cross &&
           !*AML_LINK_FLAGS && strcmp(tools->compiler, AML_DEFAULT_CC) == 0;
}

static Process start_tables(Workplace *place, const LinkRequest *request, const Toolchain *tools)
{
    Words list = {0}, *words = &list;
    if (request->tables.object.length)
        return (Process){-1, -1};
    vec_push(place->cx->arena, &place->made,
             arena_printf(place->cx->arena, "%s/tables.o", place->folder));
    ARG("-std=gnu11"), ARG("-O1"), ARG("-g0"), ARG("-fPIC"), ARG("-w"), ARG("-I.");
    ARG("-fno-ident"), ARG("-fno-asynchronous-unwind-tables"), ARG("-ffunction-sections"),
        ARG("-fdata-sections");
    if (links_by_layout(request, tools))
        ARG("-DAML_LAID_OUT");
    ARG("tables.c"), ARG("-c"), ARG("-o"), ARG("tables.o");
    return start_tool(place, tools->compiler, words);
}

static const char *on_path(Cx *cx, const char *name)
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t length = strcspn(at, ":");
        const char *file = arena_printf(cx->arena, "%.*s/%s", (int)length, at, name);
        if (length && access(file, X_OK) == 0)
            return file;
        at += length + (at[length] == ':');
    }
    return NULL;
}

// gold links a training program in half the time of binutils' other linker. The compiler that a
// user or a sanitizer names has a linker of its own choice. gold does not find an archive by the
// end of its path (lapack/liblapack.a).
static const char *gold_for(Cx *cx, const LinkRequest *request, const Toolchain *tools)
{
    bool may = !request->cross && !request->small && !*AML_LINK_FLAGS &&
               strcmp(tools->compiler, AML_DEFAULT_CC) == 0 &&
               !(request->libraries && strchr(request->libraries, '/'));
    return may ? on_path(cx, "ld.gold") : NULL;
}

// A file in the folder of the runtime, or NULL.
static const char *beside_runtime(Cx *cx, const Toolchain *tools, const char *name)
{
    const char *slash = strrchr(tools->runtime, '/'),
               *file = arena_printf(cx->arena, "%.*s/%s", (int)(slash ? slash - tools->runtime : 1),
                                    slash ? tools->runtime : ".", name);
    return access(file, R_OK) == 0 ? file : NULL;
}

static void add_objects(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                        Words *words)
{
    ARG("tables.o");
    for (int i = 0; i < request->object->files; i++)
        ARG(object_name(place->cx, i));
    const char *first = request->small    ? beside_runtime(place->cx, tools, "libaml_small.a")
                        : request->trains ? beside_runtime(place->cx, tools, "aml_training.o")
                                          : NULL;
    if (first)
        ARG(first);
    ARG(tools->runtime);
}

// What the compiler is given to link an executable or a shared library of `inputs`.
static void add_whole(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                      const Words *inputs, Words *words)
{
    Cx *cx = place->cx;
    bool gold = gold_for(cx, request, tools) != NULL;
    for (int i = 0; i < inputs->count; i++)
        ARG(inputs->at[i]);
    Buffer libraries = {.arena = cx->arena};
    buffer_text(&libraries, request->libraries ? request->libraries : "");
    buffer_text(&libraries, tokenizer_libraries(cx, &request->tables));
    buffer_text(&libraries, request->cross ? " " AML_CROSS_LIBRARIES : "");
    for (char *rest, *name = strtok_r(libraries.text, " ", &rest); name;
         name = strtok_r(NULL, " ", &rest))
        ARG(name);
    if (!request->cross)
        ARG("-l:libjansson.a"), ARG("-l:libnettle.a"), ARG("-lpthread");
    else if (request->kind == LINK_EXECUTABLE)
        ARG("-static"), ARG("-lpthread"); // where it will run is not known
    if (request->kind == LINK_SHARED) {
        ARG("-shared"), ARG("-Wl,--version-script=exports.map");
        ARG(arena_printf(cx->arena, "-Wl,-soname,lib%s.so", request->name));
    }
    if (*AML_LINK_FLAGS && !request->cross)
        ARG(AML_LINK_FLAGS);
    ARG("-lm"), ARG("-s"), ARG("-Wl,--gc-sections"), ARG("-Wl,--build-id=none"),
        ARG("-Wl,--as-needed");
    ARG("-Wl,-z,noexecstack"), ARG("-Wl,-z,now"), ARG("-Wl,-O1");
    if (links_by_layout(request, tools)) { // its last headers are made by layout_finish
        ARG("-Wl,-T,executable.ld"), ARG("-Wl,-z,norelro"), ARG("-Wl,-z,max-page-size=4096");
        ARG(arena_printf(cx->arena, "-Wl,--defsym=PACKED_MOST=%d", PACKED_MOST));
        ARG("-Wl,--no-eh-frame-hdr"), ARG("-Wl,--no-ld-generated-unwind-info");
        // constructors of C++, profiles and the like need start files; main needs one alone
        ARG("-nostartfiles"), ARG("-l:Scrt1.o");
    } else {
        ARG("-Wl,-z,relro");
    }
    ARG(gold ? "-fuse-ld=gold" : "-Wl,-z,noseparate-code"); // what gold does anyway
    // No input is one of link-time optimisation; asking whether it is takes a sixth of a link. The
    // shared libgcc is a text that names libraries without their folders.
    if (gold)
        ARG("-fno-use-linker-plugin"), ARG("-static-libgcc");
    ARG("-o"), ARG("result");
}

#define INPUTS "inputs.o" // stands for all of them while they are not known

// Asks the compiler how it would link, if amlc can do it then by itself.
static Process ask_how(Workplace *place, const LinkRequest *request, const Toolchain *tools)
{
    Words inputs = {0}, list = {0}, *words = &list;
    if (request->kind != LINK_EXECUTABLE || !gold_for(place->cx, request, tools) ||
        place_file(place, INPUTS, "", 0))
        return (Process){-1, -1};
    vec_push(place->cx->arena, &inputs, INPUTS);
    ARG("-###");
    add_whole(place, request, tools, &inputs, words);
    return start_tool(place, tools->compiler, words);
}

// Whether the linker made the program; if not, the compiler says what is wrong.
static bool link_alone(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                       const Words *inputs, const char *answer)
{
    Cx *cx = place->cx;
    const char *gold = answer ? gold_for(cx, request, tools) : NULL;
    if (!gold)
        return false;
    const char *const *command =
        linker_command(cx, answer, gold, INPUTS, inputs->at, inputs->count);
    return command && process_run(cx, command, place->folder, PROCESS_CAPTURE_BOTH).code == 0;
}

static const char *link_whole(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                              const char *answer)
{
    Words inputs = {0}, list = {0};
    add_objects(place, request, tools, &inputs);
    if (link_alone(place, request, tools, &inputs, answer))
        return NULL;
    add_whole(place, request, tools, &inputs, &list);
    return run_tool(place, tools->compiler, &list);
}

// binutils of the compiler, which may be one for another machine.
static const char *tool_of(Workplace *place, const Toolchain *tools, const char *name)
{
    Cx *cx = place->cx;
    ProcessResult found = process_run(
        cx,
        (const char *const[]){tools->compiler, arena_printf(cx->arena, "-print-prog-name=%s", name),
                              NULL},
        place->folder, PROCESS_CAPTURE);
    size_t length = found.code == 0 ? strcspn(found.output, "\n") : 0;
    return length ? arena_text(cx->arena, found.output, length) : name;
}

// The linker joins the tables, the code and what they need of the runtime; what they do not need is
// left out, and names that are not exported become local: two models fit into one program.
static const char *link_object(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                               const char *output)
{
    Cx *cx = place->cx;
    Words join = {0}, hide = {0}, *words = &join;
    vec_push(cx->arena, &place->made, arena_printf(cx->arena, "%s/joined.o", place->folder));
    ARG("-r"), ARG("-nostdlib"), ARG("-Wl,--gc-sections"), ARG("-Wl,--build-id=none");
    ARG("-Wl,--force-group-allocation"); // two libraries must not share what is local in each
    for (const char *const *function = request->exports; *function; function++)
        ARG(arena_printf(cx->arena, "-Wl,-u,%s_%s", request->name, *function));
    add_objects(place, request, tools, words);
    if (!request->cross || *AML_CROSS_LIBRARIES)
        ARG("-l:libnettle.a");
    ARG("-o"), ARG("joined.o");
    words = &hide;
    ARG("--keep-global-symbols=exports.txt"), ARG("--strip-unneeded"), ARG("joined.o"), ARG(output);
    const char *wrong = run_tool(place, tools->compiler, &join);
    return wrong ? wrong : run_tool(place, tool_of(place, tools, "objcopy"), &hide);
}

static const char *run_tools(Workplace *place, const LinkRequest *request, const Toolchain *tools,
                             const char *answer)
{
    Cx *cx = place->cx;
    const char *result = arena_printf(cx->arena, "%s/result", place->folder), *wrong = NULL;
    vec_push(cx->arena, &place->made, result);
    switch (request->kind) {
    case LINK_EXECUTABLE:
    case LINK_SHARED:
        wrong = link_whole(place, request, tools, answer);
        break;
    case LINK_OBJECT:
        wrong = link_object(place, request, tools, "result");
        break;
    case LINK_ARCHIVE: {
        const char *member = arena_printf(cx->arena, "%s.o", request->name);
        Words list = {0}, *words = &list;
        vec_push(cx->arena, &place->made, arena_printf(cx->arena, "%s/%s", place->folder, member));
        ARG("rcsD"), ARG("result"), ARG(member);
        wrong = link_object(place, request, tools, member);
        if (!wrong)
            wrong = run_tool(place, tool_of(place, tools, "ar"), words);
        break;
    }
    }
    return wrong ? wrong : move_into_place(cx, result, request, links_by_layout(request, tools));
}
#undef ARG

struct Link {
    Workplace place;
    const LinkRequest *request;
    Toolchain tools;
    Process tables; // the compiler of the tables
    Process asked;  // how to link
    const char *wrong;
};

static const char *begin(Link *link)
{
    Cx *cx = link->place.cx;
    const LinkRequest *request = link->request;
    Toolchain *tools = &link->tools;
    if (!tools->runtime)
        return arena_printf(
            cx->arena,
            "libaml_runtime.a was not found (looked for %s); `amlc doctor` checks an installation",
            tools->searched);
    struct stat info;
    if (stat(request->output, &info) == 0 && S_ISDIR(info.st_mode))
        return arena_printf(cx->arena, "%s is a folder; name a file with -o", request->output);

    const char *temporary = getenv("TMPDIR");
    char *folder =
        arena_printf(cx->arena, "%s/amlc-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(folder))
        return arena_printf(cx->arena, "cannot make a temporary folder %s: %s", folder,
                            strerror(errno));
    link->place.folder = folder;
    link->place.cross = request->cross;
    if (tools->runtime[0] != '/') {
        char *real = realpath(tools->runtime, NULL); // the compiler runs in the temporary folder
        if (real)
            tools->runtime = arena_text(cx->arena, real, strlen(real));
        free(real);
    }
    const char *wrong = place_inputs(&link->place, request);
    if (!wrong) {
        link->tables = start_tables(&link->place, request, tools);
        link->asked = ask_how(&link->place, request, tools);
    }
    return wrong;
}

Link *toolchain_begin(Cx *cx, const LinkRequest *request)
{
    Link *link = NEW(cx->arena, Link);
    *link = (Link){.place.cx = cx,
                   .request = request,
                   .tools = request->cross ? toolchain_find_cross(cx) : toolchain_find(cx)};
    link->wrong = begin(link);
    return link;
}

const char *toolchain_finish(Link *link, bool good)
{
    const char *wrong = link->wrong;
    if (good && !wrong)
        wrong = place_objects(&link->place, link->request->object);
    const char *answer = NULL;
    if (!link->wrong) { // they were started
        ProcessResult asked = process_finish(link->place.cx, link->asked);
        answer = asked.code == 0 ? asked.output : NULL;
        const char *said = NULL;
        if (!link->request->tables.object.length)
            said = finish_tool(&link->place, link->tools.compiler, link->tables);
        wrong = wrong ? wrong : said;
    }
    if (good && !wrong)
        wrong = run_tools(&link->place, link->request, &link->tools, answer);
    if (link->place.folder)
        leave(&link->place);
    return wrong;
}

const char *toolchain_link(Cx *cx, const LinkRequest *request)
{
    return toolchain_finish(toolchain_begin(cx, request), true);
}
