/* Command-line options: tables of options, parsing, --config files, --help. */
#ifndef PARE_CLI_ARGS_H
#define PARE_CLI_ARGS_H

#include "ir/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum OptionKind {
    OPT_FLAG,   /* bool */
    OPT_STRING, /* const char * */
    OPT_INT,    /* int64_t */
    OPT_REAL,   /* double */
    OPT_REALS,  /* RealList: "127.5" or "1,2,3" */
    OPT_LIST    /* StringList: may be repeated */
} OptionKind;

typedef struct RealList {
    float v[4];
    int n;
} RealList;

typedef struct StringList {
    const char *v[64];
    int n;
} StringList;

typedef struct Option {
    const char *name;  /* "--samples" or "-m" */
    const char *alias; /* other spelling or NULL */
    OptionKind kind;
    void *to;
    const char *arg; /* what stands for the value in --help: "FILE", "N"; NULL for flags */
    const char *help;
} Option;

typedef struct Command {
    const char *name, *summary, *example;
    Status (*run)(int argc, char **argv);
} Command;
#define COMMAND(name, summary, example) Status cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND
extern const Command commands[];
extern const int n_commands;

/* Options that every command has. */
typedef struct CommonFlags {
    const char *json, *config;
    bool quiet, help;
    bool verbose;
    int64_t seed, threads;
} CommonFlags;

/* Parses argv[1…] of a command against `options` (n_options) and the common ones, then fills in from --config what the
 * command line left out. Strings point into argv or live as long as the process. *help: --help was given and printed.
 * STATUS_USAGE names the flag; `positional` (may be NULL) takes arguments without a dash. */
PARE_NODISCARD Status args_parse(const Command *c, int argc, char **argv, const Option *options, int n_options,
                                 CommonFlags *common, StringList *positional, bool *help);
const Command *command_find(const char *name);
/* STATUS_USAGE unless `value` was given. */
PARE_NODISCARD Status args_require(const Command *c, const char *flag, const char *value);

#define N_OPTIONS(a) ((int)(sizeof(a) / sizeof *(a)))

#endif
