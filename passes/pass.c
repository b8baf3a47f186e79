/* The table of passes and the runner of pipelines. */
#include "passes/pass.h"
#include "passes/passes.h"

#include <string.h>

static const Pass table[] = {
#define PASS(name, run, doc, keys) {name, doc, run},
#include "passes/passes.def"
#undef PASS
};
/* Options that each pass knows, separated by blanks; beside the table because pass.h leaves them out. */
static const char *const known_keys[] = {
#define PASS(name, run, doc, keys) keys,
#include "passes/passes.def"
#undef PASS
};
enum { N_PASSES = sizeof table / sizeof *table };

int pass_count(void) { return N_PASSES; }
const Pass *pass_at(int i) { return i >= 0 && i < N_PASSES ? &table[i] : NULL; }

const Pass *pass_find(const char *name) {
    for (int i = 0; i < N_PASSES; i++)
        if (!strcmp(table[i].name, name)) return &table[i];
    return NULL;
}

const char *pass_option(const PassOptions *o, const char *key, const char *deflt) {
    for (int i = 0; i < o->n; i++)
        if (!strcmp(o->keys[i], key)) return o->values[i];
    return deflt;
}

/* ---- pipeline text ---- */

enum { MAX_KEYS = 32 };

/* One step "name(key=value,key)"; the strings are in the arena of the run. */
typedef struct Step {
    const Pass *pass;
    const char *keys[MAX_KEYS], *values[MAX_KEYS];
    int n;
} Step;

static Status unknown_pass(const char *name) {
    Buf names = {0};
    for (int i = 0; i < N_PASSES; i++) buf_printf(&names, "%s%s", i ? ", " : "", table[i].name);
    Status st =
        status_make(STATUS_USAGE, "there is no pass '%s'; the passes are: %s", name, names.data ? names.data : "");
    buf_free(&names);
    return st;
}

static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (strcspn(p, " ") == n && !strncmp(p, word, n)) return n > 0;
    return false;
}

static Status add_option(Arena *a, Step *s, char *text) {
    if (s->n == MAX_KEYS)
        return status_make(STATUS_USAGE, "pass '%s' has more than %d options", s->pass->name, MAX_KEYS);
    char *eq = strchr(text, '=');
    if (eq) *eq = 0;
    const char *known = known_keys[s->pass - table];
    if (!has_word(known, text))
        return status_make(STATUS_USAGE, "pass '%s' has no option '%s'; it has: %s", s->pass->name, text,
                           *known ? known : "none");
    s->keys[s->n] = text;
    s->values[s->n++] = eq ? eq + 1 : arena_strdup(a, "");
    return NULL;
}

/* Reads one step and moves *text behind it and its comma. */
static Status parse_step(Arena *a, const char **text, Step *s) {
    const char *p = *text + strspn(*text, " ");
    size_t len = strcspn(p, "(,");
    char *name = arena_strndup(a, p, len);
    TRY_ALLOC(name);
    while (len && name[len - 1] == ' ') name[--len] = 0;
    p += strcspn(p, "(,");
    *s = (Step){.pass = pass_find(name)};
    if (!s->pass) return unknown_pass(name);
    if (*p == '(') {
        size_t n = strcspn(++p, ")");
        if (!p[n]) return status_make(STATUS_USAGE, "pass '%s': its options have no closing ')'", name);
        char *options = arena_strndup(a, p, n), *save = NULL;
        TRY_ALLOC(options);
        for (char *t = strtok_r(options, ", ", &save); t; t = strtok_r(NULL, ", ", &save)) TRY(add_option(a, s, t));
        p += n + 1;
        p += strspn(p, " ");
    }
    if (*p && *p != ',') return status_make(STATUS_USAGE, "expected ',' after pass '%s', found '%s'", name, p);
    *text = *p ? p + 1 : p;
    return NULL;
}

/* ---- the runner ---- */

static int64_t constant_bytes(const Graph *g) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < g->n_values; i++)
        if (g->values[i].constant) sum += (int64_t)g->values[i].constant->bytes;
    return sum;
}

static Status run_nested(Graph *g, const Pass *pass, const PassOptions *o, PassStats *stats) {
    TRY(pass->run(g, o, stats));
    TRY(graph_sort(g));
    FOR_NODES (g, id, n) {
        (void)id;
        for (int i = 0; i < n->n_attrs; i++)
            if (n->attrs[i].kind == ATTR_GRAPH) TRY(run_nested(n->attrs[i].g, pass, o, stats));
    }
    graph_eliminate_dead(g);
    return NULL;
}

static Status run_step(Graph *g, const Step *s, const PipelineOptions *o) {
    PassOptions options = {s->keys, s->values, s->n, o->env};
    PassStats stats = {0};
    int64_t bytes = constant_bytes(g);
    uint32_t nodes = g->n_order;
    TRY(run_nested(g, s->pass, &options, &stats));
    TRY(graph_infer(g));
    if (o->verify) TRY(graph_verify(g));
    stats.nodes_removed = nodes > g->n_order ? nodes - g->n_order : 0;
    stats.bytes_saved = bytes - constant_bytes(g);
    if (o->stats) o->stats(o->ctx, s->pass->name, &stats);
    if (o->dump && o->dump_after && !strcmp(o->dump_after, s->pass->name)) o->dump(o->ctx, s->pass->name, g);
    return NULL;
}

static Status run_text(Arena *a, Graph *g, const char *text, const PipelineOptions *o) {
    for (const char *p = text; *p;) { /* all of the text is checked before anything runs */
        Step s;
        TRY(parse_step(a, &p, &s));
    }
    TRY(graph_infer(g));
    while (*text) {
        Step s;
        TRY(parse_step(a, &text, &s));
        TRY(status_context(run_step(g, &s, o), "pass '%s'", s.pass->name));
    }
    return NULL;
}

Status pipeline_run(Graph *g, const char *text, const PipelineOptions *o) {
    Arena *a = arena_new();
    TRY_ALLOC(a);
    Status st = run_text(a, g, text, o);
    arena_free(a);
    return st;
}

const char PIPELINE_OPTIMIZE[] = "fold,dce,cse,recognize,fuse,layout,cse,select,layout,fold,recognize,fuse,fold,cse";
