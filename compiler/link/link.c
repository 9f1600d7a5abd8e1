// link.c: a training program.

#include "link/link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The real path of `path`'s folder, or of the current one.
static const char *real_folder(Cx *cx, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *folder = !slash          ? "."
                         : slash == path ? "/"
                                         : arena_text(cx->arena, path, (size_t)(slash - path));
    char *real = realpath(folder, NULL);
    const char *result = real ? arena_text(cx->arena, real, strlen(real)) : folder;
    free(real);
    return result;
}

static bool holds(const char *outer, const char *inner)
{
    size_t length = strlen(outer);
    if (strcmp(outer, "/") == 0)
        return true;
    return strncmp(outer, inner, length) == 0 && (inner[length] == '/' || inner[length] == 0);
}

static const char *relative(Cx *cx, const char *from, const char *to)
{
    size_t same = 0;
    for (size_t i = 0;; i++) { // the length of the common folders
        bool end_from = from[i] == '/' || !from[i], end_to = to[i] == '/' || !to[i];
        if (end_from && end_to)
            same = i;
        if (!from[i] || !to[i] || from[i] != to[i])
            break;
    }
    Buffer out = {.arena = cx->arena};
    buffer_text(&out, "");
    for (const char *at = from + same; *at; at++)
        if (*at == '/' && at[1])
            buffer_text(&out, out.length ? "/.." : "..");
    const char *rest = to + same;
    while (*rest == '/')
        rest++;
    if (*rest)
        buffer_printf(&out, "%s%s", out.length ? "/" : "", rest);
    return out.length ? out.text : ".";
}

const char *portable_source_dir(Cx *cx, const char *source_path, const char *output)
{
    const char *source = real_folder(cx, source_path), *target = real_folder(cx, output);
    const char *here = real_folder(cx, "x");
    bool related = holds(source, target) || holds(target, source);
    bool both_from_here = source_path[0] != '/' && holds(here, target);

    return related || both_from_here ? relative(cx, target, source) : source;
}

struct ProgramLink {
    LinkRequest request;
    Link *link;
};

ProgramLink *link_begin(Cx *cx, Program *program, const ObjectCode *object, const char *output)
{
    const char *source_dir = portable_source_dir(cx, program->table.source, output);
    Buffer libraries = {.arena = cx->arena};
    buffer_text(&libraries, "");
    for (int i = 0; i < program->dataset.count; i++)
        buffer_printf(&libraries, "%s %s %s %s ",
                      source_libraries(program->dataset.at[i].table.source.kind),
                      source_libraries(program->dataset.at[i].table.test.kind),
                      source_libraries(program->dataset.at[i].table.valid.kind),
                      statistic_libraries(&program->dataset.at[i]));
    ProgramLink *made = NEW(cx->arena, ProgramLink);
    made->request =
        (LinkRequest){.tables = tables_of_program(cx, program, object, source_dir, false),
                      .object = object,
                      .libraries = libraries.text,
                      .output = output,
                      .trains = true};
    made->link = toolchain_begin(cx, &made->request);
    return made;
}

bool link_finish(ProgramLink *link, bool good)
{
    const char *wrong = toolchain_finish(link->link, good);
    if (wrong && good)
        fprintf(stderr, "amlc: error: %s\n", wrong);
    return good && !wrong;
}
