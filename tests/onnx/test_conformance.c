/* Conformance: the backend tests of the ONNX project, on every backend.
 *
 * Data: $PARE_DATA/onnx_backend_tests.tar.xz, unpacked once into the build folder. tests/onnx/status.txt has one line a
 * test, "FOLDER/NAME: pass" or "FOLDER/NAME: unsupported: REASON"; any difference fails. `--update` rewrites the file
 * (and still fails for results that are neither).
 *
 * Each data set is run as inputs, which checks values against the recorded outputs, and as constants, which checks that
 * the shape rules agree with the recorded types when all content is known; both again after the default pipeline of
 * passes, which as constants folds all that can be folded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/backend.h"
#include "frontend/onnx_model.h"
#include "passes/pass.h"

#define STATUS_FILE PARE_SOURCE_DIR "/tests/onnx/status.txt"
#define DATA_DIR    PARE_BUILD_DIR "/onnx_backend_tests"
#define ARCHIVE     "onnx_backend_tests.tar.xz"

static const char *const folders[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};
enum { N_FOLDERS = sizeof folders / sizeof *folders, MAX_TESTS = 4096, MAX_VALUES = 64, SKIPPED = 77 };

static char *names[MAX_TESTS]; /* "node/test_abs" */
static int n_names;
static bool update;

/* ---- data ---- */

static bool exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static bool run_program(const char *program, const char *a, const char *b, const char *c, const char *d) {
    pid_t pid = fork();
    if (pid == 0) {
        execlp(program, program, a, b, c, d, (char *)NULL);
        _exit(127);
    }
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Unpacks beside and renames, so that an interrupted run leaves nothing half. */
static bool unpack(const char *archive) {
    char fresh[4096];
    snprintf(fresh, sizeof fresh, "%s.%ld", DATA_DIR, (long)getpid());
    return run_program("mkdir", "-p", fresh, NULL, NULL) && run_program("tar", "-xJf", archive, "-C", fresh) &&
           rename(fresh, DATA_DIR) == 0;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list_tests(void) {
    for (int f = 0; f < N_FOLDERS; f++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", DATA_DIR, folders[f]);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            snprintf(path, sizeof path, "%s/%s/%s/model.onnx", DATA_DIR, folders[f], e->d_name);
            if (e->d_name[0] == '.' || !exists(path) || n_names == MAX_TESTS) continue;
            snprintf(path, sizeof path, "%s/%s", folders[f], e->d_name);
            names[n_names++] = mem_strdup(path);
        }
        if (d) closedir(d);
    }
    qsort(names, (size_t)n_names, sizeof *names, compare_names);
}

/* ---- one data set ---- */

typedef struct DataSet {
    Tensor in[MAX_VALUES], out[MAX_VALUES];
    uint32_t n_in, n_out;
} DataSet;

static void free_set(DataSet *s) {
    for (uint32_t i = 0; i < s->n_in; i++) tensor_free(&s->in[i]);
    for (uint32_t i = 0; i < s->n_out; i++) tensor_free(&s->out[i]);
}

static Status load_tensors(const char *set, const char *what, Tensor *t, uint32_t *n) {
    for (*n = 0; *n < MAX_VALUES; ++*n) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s_%u.pb", set, what, *n);
        if (!exists(path)) return NULL;
        TRY(onnx_load_tensor(path, &t[*n]));
    }
    return NULL;
}

static bool has_random(const Graph *g) {
    for (uint32_t i = 0; i < g->n_order; i++) {
        if (g->nodes[g->order[i]].op->flags & OPF_RANDOM) return true;
    }
    return false;
}

/* The runner of the ONNX project allows 1e-3 relative, 1e-7 absolute; recorded zeros of transforms carry a little more
 * noise than that, and a bfloat16 gets an ulp. */
static bool close_enough(const Tensor *got, const Tensor *want, int64_t i) {
    if (!elem_is_float(want->elem)) return tensor_get_i64(got, i) == tensor_get_i64(want, i);
    double a = tensor_get_f64(got, i), b = tensor_get_f64(want, i);
    double relative = want->elem == ELEM_BF16 ? 0x1p-7 : 1e-3;
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-6 + relative * fabs(b);
}

static Status compare(const Tensor *got, const Tensor *want, uint32_t k, bool values) {
    char a[160], b[160];
    Type have = tensor_type(got), need = tensor_type(want);
    if (!type_equal(&have, &need)) {
        return status_make(STATUS_INTERNAL, "output %u is %s, expected %s", k, tensor_describe(got, a, sizeof a),
                           tensor_describe(want, b, sizeof b));
    }
    for (int64_t i = 0; values && i < tensor_count(want); i++) {
        if (close_enough(got, want, i)) continue;
        return status_make(STATUS_INTERNAL, "output %u, element %lld is %.9g, expected %.9g", k, (long long)i,
                           tensor_get_f64(got, i), tensor_get_f64(want, i));
    }
    return NULL;
}

static Status run_on(const Backend *b, const Graph *g, const DataSet *s) {
    Type types[MAX_VALUES];
    Tensor out[MAX_VALUES];
    PlanOptions o = {.threads = 1, .inputs = types};
    Plan *plan = NULL;
    Context *context = NULL;
    for (uint32_t i = 0; i < s->n_in; i++) types[i] = tensor_type(&s->in[i]);
    Status st = b->plan(g, &o, &plan);
    if (!st) st = b->context(plan, &context);
    if (!st) st = b->run(context, s->in, out);
    bool values = !has_random(g);
    for (uint32_t k = 0; !st && k < s->n_out; k++) st = compare(&out[k], &s->out[k], k, values);
    if (context) b->context_free(context);
    if (plan) b->plan_free(plan);
    return st;
}

/* Values on every backend. */
static Status run_values(const Graph *g, const DataSet *s) {
    for (int i = 0; i < backend_count(); i++) {
        const Backend *b = backend_at(i);
        TRY(status_context(run_on(b, g, s), "on the backend %s", b->name));
    }
    return NULL;
}

static Status check_types(const Graph *g, const DataSet *s) {
    for (uint32_t k = 0; k < s->n_out; k++) {
        const Type *t = &g->values[g->outputs[k]].type;
        const Tensor *want = &s->out[k];
        bool agrees = t->kind == TYPE_UNKNOWN || (t->elem == want->elem && (t->rank < 0 || t->rank == want->rank));
        for (int d = 0; agrees && t->kind == TYPE_TENSOR && d < t->rank; d++)
            agrees = DIM_IS_SYM(t->dims[d]) || t->dims[d] == want->dims[d];
        char text[160];
        if (!agrees)
            return status_make(STATUS_INTERNAL, "the type inferred for output %u is not %s", k,
                               tensor_describe(want, text, sizeof text));
    }
    return NULL;
}

/* Shape rules with all content known. */
static Status run_types(const Graph *g, const DataSet *s) {
    Graph *fixed;
    TRY(graph_clone(g, &fixed));
    Status st = NULL;
    for (uint32_t i = 0; !st && i < s->n_in; i++)
        st = graph_make_constant(fixed, fixed->inputs[i], tensor_ref(&s->in[i]));
    if (!st) st = graph_bind(fixed, NULL, NULL);
    if (!st) st = check_types(fixed, s);
    graph_free(fixed);
    return st;
}

/* Values after the default pipeline, with the inputs as they are or as constants of the graph. */
static Status run_optimized(const Graph *g, const DataSet *s, bool constant) {
    Graph *copy;
    TRY(graph_clone(g, &copy));
    DataSet rest = *s;
    Status st = NULL;
    for (uint32_t i = 0; constant && !st && i < s->n_in; i++) {
        copy->values[copy->inputs[i]].is_input = false;
        st = graph_make_constant(copy, copy->inputs[i], tensor_ref(&s->in[i]));
    }
    if (constant) copy->n_inputs = rest.n_in = 0;
    if (!st) st = pipeline_run(copy, PIPELINE_OPTIMIZE, &(PipelineOptions){.verify = true});
    if (!st) st = run_values(copy, &rest);
    graph_free(copy);
    return status_context(st, constant ? "as constants, optimized" : "optimized");
}

/* The files of other kinds of values are not read. */
static Status tensors_only(const Graph *g) {
    bool all = true;
    for (uint32_t i = 0; i < g->n_inputs; i++) all = all && g->values[g->inputs[i]].type.kind == TYPE_TENSOR;
    for (uint32_t i = 0; i < g->n_outputs; i++) all = all && g->values[g->outputs[i]].type.kind == TYPE_TENSOR;
    return all ? NULL : status_make(STATUS_UNSUPPORTED, "an input or output is a sequence or optional");
}

static Status run_set(const Graph *g, const char *path) {
    DataSet s = {.n_in = 0};
    Status st = load_tensors(path, "input", s.in, &s.n_in);
    if (!st) st = load_tensors(path, "output", s.out, &s.n_out);
    if (!st && (s.n_in != g->n_inputs || s.n_out != g->n_outputs)) {
        st = status_make(STATUS_INTERNAL, "the data set has %u inputs and %u outputs, the model %u and %u", s.n_in,
                         s.n_out, g->n_inputs, g->n_outputs);
    }
    if (!st) st = run_values(g, &s);
    if (!st) st = run_types(g, &s);
    if (!st) st = run_optimized(g, &s, false);
    if (!st) st = run_optimized(g, &s, true);
    free_set(&s);
    return st;
}

static Status run_one(const char *name) {
    char path[4096];
    Graph *g;
    snprintf(path, sizeof path, "%s/%s/model.onnx", DATA_DIR, name);
    TRY(onnx_load(path, NULL, &g));
    Status st = tensors_only(g);
    for (int i = 0; !st; i++) {
        snprintf(path, sizeof path, "%s/%s/test_data_set_%d", DATA_DIR, name, i);
        if (!exists(path)) break;
        st = run_set(g, path);
    }
    graph_free(g);
    return st;
}

/* ---- status lines ---- */

/* What stands behind the file's name in a message. */
static const char *behind_path(const char *text) {
    static const char *const ends[] = {".onnx: ", ".pb: "};
    for (int i = 0; i < 2; i++) {
        const char *p = strstr(text, ends[i]);
        if (p) return p + strlen(ends[i]);
    }
    return text;
}

/* The reason of an unsupported test without paths and node names: "op ai.onnx.Adam (opset 1); op …". */
static void describe(Status s, char *buf, size_t cap) {
    bool refused = status_code(s) == STATUS_UNSUPPORTED;
    const char *text = s ? behind_path(status_text(s)) : "pass", *list = refused ? strchr(text, '\n') : NULL;
    snprintf(buf, cap, "%s%s", !s ? "" : refused ? "unsupported: " : "FAILED: ", list ? "" : text);
    for (const char *line = list ? list + 1 : ""; *line;) {
        size_t len = strcspn(line, "\n"), shown = len, skip = strspn(line, " "), at = strlen(buf);
        const char *node = strstr(line, ": node");
        if (node && node < line + len) shown = (size_t)(node - line);
        if (shown > skip)
            snprintf(buf + at, cap - at, "%s%.*s", line == list + 1 ? "" : "; ", (int)(shown - skip), line + skip);
        line += len + (line[len] == '\n');
    }
}

static char *read_status_file(void) {
    FILE *f = fopen(STATUS_FILE, "rb");
    Buf b = {0};
    char chunk[4096];
    for (size_t n; f && (n = fread(chunk, 1, sizeof chunk, f)) > 0;) buf_append(&b, chunk, n);
    if (f) fclose(f);
    return b.data ? b.data : mem_strdup("");
}

/* Whether `line` (with its newline) is one of the file's. */
static bool recorded(const char *file, const char *line) {
    size_t n = strlen(line);
    for (const char *p = file; (p = strstr(p, line)); p += n) {
        if (p == file || p[-1] == '\n') return true;
    }
    return false;
}

static void conformance(void **state) {
    (void)state;
    char *before = read_status_file();
    Buf after = {0};
    int different = 0, failed = 0, lines = 0;
    for (int i = 0; i < n_names; i++) {
        char result[900], line[1200];
        Status s = run_one(names[i]);
        describe(s, result, sizeof result);
        snprintf(line, sizeof line, "%s: %s\n", names[i], result);
        bool bad = s && status_code(s) != STATUS_UNSUPPORTED, changed = !recorded(before, line);
        if (bad || (changed && !update)) print_error("%s", line);
        failed += bad;
        different += changed;
        if (!bad) buf_puts(&after, line);
        status_free(s);
    }
    for (const char *p = before; (p = strchr(p, '\n')); p++) lines++;
    if (update) {
        FILE *f = fopen(STATUS_FILE, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(after.data, 1, after.len, f), after.len);
        assert_int_equal(fclose(f), 0);
    } else if (different || lines != n_names) {
        fail_msg("%d of %d results differ from %s, which has %d lines (--update rewrites it)", different, n_names,
                 STATUS_FILE, lines);
    }
    buf_free(&after);
    mem_free(before);
    assert_int_equal(failed, 0);
}

static int no_data(const char *why) {
    print_message("%s\n", why);
    const char *required = getenv("PARE_REQUIRE_DATA");
    return required && strcmp(required, "1") == 0 ? 1 : SKIPPED;
}

int main(int argc, char **argv) {
    const char *data = getenv("PARE_DATA");
    char archive[4096];
    update = argc > 1 && strcmp(argv[1], "--update") == 0;
    if (!exists(DATA_DIR)) {
        if (!data || !*data) return no_data("PARE_DATA is not set");
        snprintf(archive, sizeof archive, "%s/%s", data, ARCHIVE);
        if (!exists(archive)) return no_data("$PARE_DATA/" ARCHIVE " is missing");
        if (!unpack(archive)) return no_data("$PARE_DATA/" ARCHIVE " cannot be unpacked");
    }
    list_tests();
    const struct CMUnitTest tests[] = {cmocka_unit_test(conformance)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < n_names; i++) mem_free(names[i]);
    return failed;
}
