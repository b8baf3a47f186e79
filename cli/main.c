/* The program: finds the command, runs it, prints its error, exits with its code. */
#include "cli/args.h"
#include "cli/session.h"
#include "ir/file.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef PARE_VERSION
#define PARE_VERSION "unknown"
#endif

const Command commands[] = {
#define COMMAND(name, summary, example) {#name, summary, example, cmd_##name},
#include "cli/commands.def"
#undef COMMAND
};
const int n_commands = sizeof commands / sizeof *commands;

volatile int session_cancel;

/* The first Ctrl-C asks the work to stop; whatever stands half written goes at once, so that a second one, or work that
 * does not look at the flag for long, leaves nothing behind either. */
static void on_interrupt(int sig) {
    file_unlink_temporaries();
    (void)sig;
    if (session_cancel) _exit(STATUS_INTERRUPTED);
    session_cancel = 1;
    alarm(2);
}

static void on_alarm(int sig) {
    (void)sig;
    file_unlink_temporaries();
    static const char text[] = "pare: interrupted\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(STATUS_INTERRUPTED);
    _exit(STATUS_INTERRUPTED);
}

static void catch_signals(void) {
    struct sigaction a = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    a.sa_handler = on_alarm;
    sigaction(SIGALRM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void print_usage(FILE *to) {
    fputs("pare makes trained ONNX models smaller and faster, and shows what that cost in accuracy.\n\n", to);
    for (int i = 0; i < n_commands; i++) fprintf(to, "  pare %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\n'pare COMMAND --help' tells the options of a command. Exit codes: 0 done, 1 a gate or --max-drop was not "
          "met,\n"
          "2 usage, 3 invalid input, 4 unsupported, 5 environment, 6 inconclusive, 130 interrupted.\n",
          to);
}

int main(int argc, char **argv) {
    catch_signals();
    if (argc < 2) {
        print_usage(stderr);
        return STATUS_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_usage(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("pare " PARE_VERSION);
        return 0;
    }
    const Command *c = command_find(argv[1]);
    if (!c) {
        fprintf(stderr, "pare: there is no command '%s'; see 'pare --help'\n", argv[1]);
        return STATUS_USAGE;
    }
    Status s = c->run(argc - 1, argv + 1);
    if (!s) s = file_check_maps();
    int code = status_code(s);
    if (session_cancel && code) code = STATUS_INTERRUPTED;
    if (code == STATUS_INTERRUPTED)
        fputs("pare: interrupted\n", stderr);
    else if (s)
        fprintf(stderr, "pare: %s\n", status_text(s));
    status_free(s);
    if (fflush(stdout) && !code) code = STATUS_ENVIRONMENT;
    return code;
}
