/* Text tests: every case of tests/ir/ *.ir.
 *
 *   # case: name
 *   graph … { … }
 *   # pass: fold,cse            (absent: the graph is only parsed and printed)
 *   # >>> expected graph        (or "# >>> error": a part of the error's message on the lines below)
 *   graph … { … }
 *
 * After a pipeline the result must also compute the same as the original on random inputs. `--update` rewrites the
 * expected parts with what came out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/pass.h"
#include "support/equiv.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CASES = 1000 };

typedef struct Case {
    char *title; /* file: name */
    const char *file;
    char *head, *graph, *pipeline, *expected, *actual; /* head: comments and "# case:" line as they stand */
    bool expect_error;
} Case;

static Case cases[MAX_CASES];
static int n_cases;

static char *read_all(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    Buf b = {0};
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_append(&b, chunk, n);
    fclose(f);
    buf_append(&b, "", 0);
    return b.data ? b.data : mem_strdup("");
}

static char *copy_range(const char *from, const char *to) {
    size_t n = (size_t)(to - from);
    char *s = mem_alloc(n + 1);
    memcpy(s, from, n);
    s[n] = 0;
    return s;
}

static const char *line_end(const char *p) {
    p += strcspn(p, "\n");
    return *p ? p + 1 : p;
}

/* The start of the first line in [p, end) that begins with `mark`; end when there is none. */
static const char *find_line(const char *p, const char *end, const char *mark) {
    for (; p < end; p = line_end(p))
        if (!strncmp(p, mark, strlen(mark))) return p;
    return end;
}

static void add_case(const char *file, const char *p, const char *end) {
    assert_true(n_cases < MAX_CASES);
    Case *c = &cases[n_cases++];
    const char *name = p + strlen("# case:");
    name += strspn(name, " ");
    const char *body = find_line(p, end, "graph "), *pass = find_line(body, end, "# pass:");
    const char *mark = find_line(body, end, "# >>> ");
    char title[512];
    snprintf(title, sizeof title, "%s: %.*s", strrchr(file, '/') + 1, (int)strcspn(name, "\n"), name);
    c->title = mem_strdup(title);
    c->file = file;
    c->head = copy_range(p, body);
    c->graph = copy_range(body, pass < mark ? pass : mark);
    if (pass < mark) {
        pass += strlen("# pass:");
        pass += strspn(pass, " ");
        c->pipeline = copy_range(pass, pass + strcspn(pass, "\n"));
    }
    c->expect_error = !strncmp(mark, "# >>> error", 11);
    c->expected = copy_range(mark < end ? line_end(mark) : end, end);
}

static void add_file(const char *path) {
    char *text = read_all(path);
    assert_non_null(text);
    const char *end = text + strlen(text);
    const char *p = find_line(text, end, "# case:");
    while (p < end) {
        const char *next = find_line(line_end(p), end, "# case:");
        add_case(path, p, next);
        p = next;
    }
    mem_free(text);
}

static char *strip(char *s) {
    size_t n = strlen(s);
    while (n && (s[n - 1] == '\n' || s[n - 1] == ' ')) s[--n] = 0;
    return s;
}

/* ---- running ---- */

static Status run_passes(const Case *c, const Graph *before, Graph *g) {
    TRY(pipeline_run(g, c->pipeline, &(PipelineOptions){.verify = true}));
    EquivOptions o = {.seed = 1, .tolerance = 1e-5, .other_dims = 3, .max_int = 2};
    return status_context(equiv_check(before, g, &o, NULL), "the result computes something else");
}

static Status produce(const Case *c, Buf *out) {
    Graph *g, *before = NULL;
    TRY(graph_parse(c->graph, strlen(c->graph), NULL, c->file, &g));
    Status st = NULL;
    if (c->pipeline) {
        st = graph_parse(c->graph, strlen(c->graph), NULL, c->file, &before);
        if (!st) st = graph_infer(before);
        if (!st) st = run_passes(c, before, g);
    }
    if (!st) st = graph_print(g, out, NULL);
    graph_free(before);
    graph_free(g);
    return st;
}

/* print(parse(x)) == x for what the printer wrote; constants in the side file cannot be read back here. */
static void assert_reparses(const Case *c, const char *text) {
    if (strstr(text, "= @-:")) return;
    Graph *g;
    Status st = graph_parse(text, strlen(text), NULL, c->file, &g);
    if (st) fail_msg("the printed graph does not parse: %s", status_text(st));
    Buf again = {0};
    assert_null(graph_print(g, &again, NULL));
    assert_string_equal(again.data, text);
    buf_free(&again);
    graph_free(g);
}

static void run_case(void **state) {
    Case *c = *state;
    Buf out = {0};
    Status st = produce(c, &out);
    if (st && !c->expect_error) {
        print_error("%s\n", status_text(st));
        status_free(st);
        buf_free(&out);
        fail();
    }
    if (!st) assert_reparses(c, out.data);
    c->actual = mem_strdup(st ? status_text(st) : out.data);
    status_free(st);
    buf_free(&out);
    if (c->expect_error ? st && strstr(c->actual, strip(c->expected)) != NULL
                        : !strcmp(strip(c->expected), strip(c->actual)))
        return;
    fail_msg("expected:\n%s\nfound:\n%s", c->expected, c->actual);
}

/* ---- update ---- */

static void write_case(FILE *f, const Case *c) {
    char *graph = strip(mem_strdup(c->graph));
    fprintf(f, "%s%s\n", c->head, graph);
    if (c->pipeline) fprintf(f, "# pass: %s\n", c->pipeline);
    fprintf(f, "# >>> %s\n%s\n\n", c->expect_error ? "error" : "expected graph",
            c->expect_error || !c->actual ? strip(c->expected) : strip(c->actual));
    mem_free(graph);
}

static void update_files(void) {
    for (int i = 0; i < n_cases;) {
        const char *file = cases[i].file;
        FILE *f = fopen(file, "wb");
        for (; i < n_cases && cases[i].file == file; i++)
            if (f) write_case(f, &cases[i]);
        if (f) fclose(f);
    }
}

static int is_ir(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 3 && !strcmp(e->d_name + n - 3, ".ir");
}

int main(int argc, char **argv) {
    static char paths[64][512];
    struct dirent **names;
    int n_files = scandir(PARE_SOURCE_DIR "/tests/ir", &names, is_ir, alphasort);
    for (int i = 0; i < n_files && i < 64; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", PARE_SOURCE_DIR "/tests/ir", names[i]->d_name);
        add_file(paths[i]);
        free(names[i]);
    }
    if (n_files >= 0) free(names);
    static struct CMUnitTest tests[MAX_CASES];
    int n = 0;
    const char *only = argc > 1 && strcmp(argv[1], "--update") ? argv[1] : "";
    for (int i = 0; i < n_cases; i++)
        if (strstr(cases[i].title, only))
            tests[n++] = (struct CMUnitTest){.name = cases[i].title, .test_func = run_case, .initial_state = &cases[i]};
    int failed = _cmocka_run_group_tests("text", tests, (size_t)n, NULL, NULL);
    if (argc > 1 && !strcmp(argv[1], "--update")) update_files();
    for (int i = 0; i < n_cases; i++) {
        Case *c = &cases[i];
        char *owned[] = {c->title, c->head, c->graph, c->pipeline, c->expected, c->actual};
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++) mem_free(owned[k]);
    }
    return n && !failed ? 0 : 1;
}
