// SIGINT and SIGTERM.

#include <stddef.h>
#include <unistd.h>

#include "runtime/job/job.h"

static volatile sig_atomic_t seen;

static void note(int number)
{
    if (seen)
        _exit(128 + number);
    seen = number;
}

static void install(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void amli_signals_begin(void)
{
    seen = 0;
    install(note);
}

void amli_signals_end(void)
{
    install(SIG_DFL);
}

int amli_signal_seen(void)
{
    return seen;
}
