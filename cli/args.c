#include "cli/args.h"

#include "ir/file.h"
#include "ir/mem.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Command *command_find(const char *name) {
    for (int i = 0; i < n_commands; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

Status args_require(const Command *c, const char *flag, const char *value) {
    if (value && *value) return NULL;
    return status_make(STATUS_USAGE, "%s needs %s; see 'pare %s --help'", c->name, flag, c->name);
}

/* ---- one value ---- */

static Status bad_value(const Option *o, const char *text, const char *expected) {
    return status_make(STATUS_USAGE, "%s: '%s' is not %s", o->name, text, expected);
}

static Status set_reals(const Option *o, const char *text) {
    RealList *list = o->to;
    list->n = 0;
    for (const char *p = text;;) {
        char *end;
        float v = strtof(p, &end);
        if (end == p || !isfinite(v) || list->n == 4)
            return bad_value(o, text, "one to four numbers with commas between them");
        list->v[list->n++] = v;
        if (!*end) return NULL;
        if (*end != ',') return bad_value(o, text, "one to four numbers with commas between them");
        p = end + 1;
    }
}

static Status set_value(const Option *o, const char *text) {
    char *end;
    errno = 0;
    switch (o->kind) {
    case OPT_FLAG:
        *(bool *)o->to = true;
        return NULL;
    case OPT_STRING:
        *(const char **)o->to = text;
        return *text ? NULL : status_make(STATUS_USAGE, "%s: the value is empty", o->name);
    case OPT_INT: {
        long long v = strtoll(text, &end, 10);
        if (errno || end == text || *end) return bad_value(o, text, "a whole number");
        *(int64_t *)o->to = v;
        return NULL;
    }
    case OPT_REAL: {
        double v = strtod(text, &end);
        if (errno || end == text || *end || !isfinite(v)) return bad_value(o, text, "a number");
        *(double *)o->to = v;
        return NULL;
    }
    case OPT_REALS:
        return set_reals(o, text);
    case OPT_LIST: {
        StringList *list = o->to;
        if (list->n == (int)(sizeof list->v / sizeof *list->v))
            return status_make(STATUS_USAGE, "%s is given more than %d times", o->name, list->n);
        list->v[list->n++] = text;
        return NULL;
    }
    }
    return NULL;
}

/* ---- the table of one command: its own options and the common ones ---- */

enum { MAX_OPTIONS = 96, N_COMMON = 7 };

typedef struct Table {
    Option options[MAX_OPTIONS];
    bool given[MAX_OPTIONS];
    int n;
} Table;

static void fill_table(Table *t, const Option *options, int n, CommonFlags *c) {
    const Option common[N_COMMON] = {
        {"--threads", NULL, OPT_INT, &c->threads, "N", "threads (default: all cores this process may use)"},
        {"--seed", NULL, OPT_INT, &c->seed, "N", "of every random choice (default 0)"},
        {"--json", NULL, OPT_STRING, &c->json, "FILE", "results for a machine; - is standard output"},
        {"--config", NULL, OPT_STRING, &c->config, "FILE", "JSON object of options; the command line wins over it"},
        {"--quiet", "-q", OPT_FLAG, &c->quiet, NULL, "no progress and no summary"},
        {"--verbose", "-v", OPT_FLAG, &c->verbose, NULL, "what every pass and step did"},
        {"--help", "-h", OPT_FLAG, &c->help, NULL, "this text"},
    };
    t->n = 0;
    for (int i = 0; i < n && i < MAX_OPTIONS - N_COMMON; i++) t->options[t->n++] = options[i];
    for (int i = 0; i < N_COMMON; i++) t->options[t->n++] = common[i];
}

static int find_option(const Table *t, const char *name, size_t len) {
    for (int i = 0; i < t->n; i++) {
        const Option *o = &t->options[i];
        if (strlen(o->name) == len && !strncmp(o->name, name, len)) return i;
        if (o->alias && strlen(o->alias) == len && !strncmp(o->alias, name, len)) return i;
    }
    return -1;
}

static void print_help(const Command *c, const Table *t) {
    printf("pare %s: %s\n\n", c->name, c->summary);
    for (int i = 0; i < t->n; i++) {
        const Option *o = &t->options[i];
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", o->name, o->alias ? ", " : "", o->alias ? o->alias : "",
                 o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-26s %s\n", left, o->help);
    }
    printf("\nexample: %s\n", c->example);
}

static Status unknown(const Command *c, const Table *t, const char *arg) {
    size_t best = 0;
    const char *near = NULL;
    for (int i = 0; i < t->n; i++) { /* the option with the longest common beginning is the likely typing error */
        size_t k = 0;
        while (arg[k] && arg[k] == t->options[i].name[k]) k++;
        if (k > best) best = k, near = t->options[i].name;
    }
    return best > 3 ? status_make(STATUS_USAGE, "%s has no option '%s' (is %s meant?); see 'pare %s --help'", c->name,
                                  arg, near, c->name)
                    : status_make(STATUS_USAGE, "%s has no option '%s'; see 'pare %s --help'", c->name, arg, c->name);
}

static Status parse_line(const Command *c, Table *t, int argc, char **argv, StringList *positional) {
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (arg[0] != '-' || !arg[1]) {
            if (!positional || positional->n == 64)
                return status_make(STATUS_USAGE,
                                   "%s: what is '%s' for? Every argument belongs to a flag; see 'pare %s --help'",
                                   c->name, arg, c->name);
            positional->v[positional->n++] = arg;
            continue;
        }
        const char *eq = !strncmp(arg, "--", 2) ? strchr(arg, '=') : NULL;
        int k = find_option(t, arg, eq ? (size_t)(eq - arg) : strlen(arg));
        if (k < 0) return unknown(c, t, arg);
        const Option *o = &t->options[k];
        t->given[k] = true;
        const char *value = eq ? eq + 1 : "";
        if (o->kind == OPT_FLAG && eq) return status_make(STATUS_USAGE, "%s takes no value", o->name);
        if (o->kind != OPT_FLAG && !eq) {
            if (i + 1 == argc) return status_make(STATUS_USAGE, "%s needs a value (%s)", o->name, o->arg);
            value = argv[++i];
        }
        TRY(set_value(o, value));
    }
    return NULL;
}

/* ---- --config ---- */

/* Strings that options point to after the file is gone; as long as the process. */
static Arena *kept;

static const char *keep(const char *text) {
    if (!kept) kept = arena_new();
    return kept && text ? arena_strdup(kept, text) : NULL;
}

/* The value as the text that the command line would have; NULL for kinds that have none. The process keeps it. */
static const char *json_text(const json_t *v) {
    if (json_is_string(v)) return keep(json_string_value(v));
    char *text = json_is_number(v) ? json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17)) : NULL;
    const char *copy = keep(text);
    free(text);
    return copy;
}

static Status config_value(const Option *o, const char *path, const json_t *v) {
    if (o->kind == OPT_FLAG) {
        if (!json_is_boolean(v)) return status_make(STATUS_USAGE, "%s: %s must be true or false", path, o->name);
        *(bool *)o->to = json_is_true(v);
        return NULL;
    }
    if (json_is_array(v)) {
        Buf joined = {0};
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *text = json_text(json_array_get(v, i));
            if (!text) {
                buf_free(&joined);
                return status_make(STATUS_USAGE, "%s: %s must hold strings or numbers", path, o->name);
            }
            if (o->kind == OPT_LIST)
                TRY(set_value(o, text));
            else
                buf_printf(&joined, "%s%s", i ? "," : "", text);
        }
        if (o->kind == OPT_LIST) return NULL;
        const char *all = joined.failed ? NULL : keep(joined.data);
        buf_free(&joined);
        return all ? set_value(o, all) : status_make(STATUS_USAGE, "%s: %s is an empty list", path, o->name);
    }
    const char *text = json_text(v);
    if (!text) return status_make(STATUS_USAGE, "%s: %s must be a string or a number", path, o->name);
    return set_value(o, text);
}

static Status read_config(const Command *c, Table *t, const char *path) {
    Blob *file;
    TRY(file_map(path, &file));
    json_error_t e;
    json_t *root = json_loadb((const char *)file->data, file->size, JSON_REJECT_DUPLICATES, &e);
    blob_unref(file);
    if (!json_is_object(root)) {
        json_decref(root);
        return status_make(STATUS_INVALID, "%s: line %d: %s; a JSON object of options is expected", path, e.line,
                           e.text);
    }
    Status s = NULL;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        char name[80];
        snprintf(name, sizeof name, "%s%s", strlen(key) == 1 ? "-" : "--", key);
        int k = find_option(t, name, strlen(name));
        if (k < 0)
            s = status_context(unknown(c, t, name), "%s", path);
        else if (!t->given[k])
            s = config_value(&t->options[k], path, value);
        if (s) break;
    }
    json_decref(root);
    return s;
}

Status args_parse(const Command *c, int argc, char **argv, const Option *options, int n_options, CommonFlags *common,
                  StringList *positional, bool *help) {
    Table t = {0};
    fill_table(&t, options, n_options, common);
    *help = false;
    TRY(parse_line(c, &t, argc, argv, positional));
    if (common->help) {
        print_help(c, &t);
        *help = true;
        return NULL;
    }
    if (common->config) TRY(read_config(c, &t, common->config));
    if (common->threads < 0 || common->threads > 256)
        return status_make(STATUS_USAGE, "--threads must be between 1 and 256");
    if (common->seed < 0) return status_make(STATUS_USAGE, "--seed must not be negative");
    return NULL;
}
