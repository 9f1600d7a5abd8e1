// linker.c: the linker, called as the C compiler would call it.
//
// Between amlc and the linker the compiler starts two programs, one after the other, when all code
// is there and nothing else is left to do. So it is asked beforehand what it would call
// (`cc -###`), while LLVM compiles; then the linker is called with these words. Libraries are named
// by their files, as the linker would find them: it reads all folders of libraries first, which
// takes longer than reading the libraries. Where an answer is not understood, the compiler links.

#include "link/link.h"

#include <string.h>
#include <unistd.h>

typedef Vec(const char *) Words;

// The line of the command begins with a space, as no other does.
static const char *command_line(const char *answer)
{
    const char *found = NULL;
    for (const char *line = answer; *line; line = strchrnul(line, '\n'), line += *line == '\n')
        if (*line == ' ')
            found = line;
    return found;
}

// A word with characters that a shell would read stands in quotes, with `\` before such a one.
static Words words_of(Cx *cx, const char *line)
{
    Words words = {0};
    for (const char *at = line + strspn(line, " "); *at && *at != '\n'; at += strspn(at, " ")) {
        Buffer word = {.arena = cx->arena};
        bool quoted = false;
        buffer_text(&word, "");
        for (; *at && *at != '\n' && (quoted || *at != ' '); at++) {
            if (*at == '"') {
                quoted = !quoted;
                continue;
            }
            at += *at == '\\' && at[1];
            buffer_append(&word, at, 1);
        }
        vec_push(cx->arena, &words, word.text);
    }
    return words;
}

// The file that the linker takes for -lNAME or -l:FILE; NULL: none.
static const char *library_file(Cx *cx, const Words *folders, const char *name)
{
    for (int i = 0; i < folders->count; i++)
        for (int archive = 0; archive < 2; archive++) {
            const char *ending = archive ? "a" : "so",
                       *file = *name == ':'
                                   ? arena_printf(cx->arena, "%s/%s", folders->at[i], name + 1)
                                   : arena_printf(cx->arena, "%s/lib%s.%s", folders->at[i], name,
                                                  ending);
            if (access(file, R_OK) == 0)
                return file;
        }
    return NULL;
}

static bool begins(const char *word, const char *with)
{
    return strncmp(word, with, strlen(with)) == 0;
}

const char *const *linker_command(Cx *cx, const char *answer, const char *linker,
                                  const char *inputs, const char *const input[], int count)
{
    const char *line = command_line(answer);
    if (!line)
        return NULL;
    Words said = words_of(cx, line), folders = {0}, command = {0};
    const char *slash = said.count ? strrchr(said.at[0], '/') : NULL;
    if (!slash || (strcmp(slash, "/collect2") != 0 && !begins(slash, "/ld")))
        return NULL;
    for (int i = 1; i < said.count; i++)
        if (begins(said.at[i], "-L"))
            vec_push(cx->arena, &folders, said.at[i] + 2);
    bool has_inputs = false;
    vec_push(cx->arena, &command, linker);
    for (int i = 1; i < said.count; i++) {
        const char *word = said.at[i];
        if (begins(word, "-plugin") || strcmp(word, "-static") == 0 ||
            strcmp(word, "-Bstatic") == 0)
            return NULL;
        if (begins(word, "-L") || begins(word, "-fuse-ld="))
            continue;
        if (strcmp(word, inputs) == 0) {
            has_inputs = true;
            for (int k = 0; k < count; k++)
                vec_push(cx->arena, &command, input[k]);
            continue;
        }
        if (begins(word, "-l"))
            word = library_file(cx, &folders, word + 2);
        if (!word)
            return NULL;
        vec_push(cx->arena, &command, word);
    }
    vec_push(cx->arena, &command, NULL);
    return has_inputs ? command.at : NULL;
}
