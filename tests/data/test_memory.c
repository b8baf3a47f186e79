/* Each allocation of a whole session fails in turn: an error of memory (or success, where the allocation was not vital,
 * as for syncing a folder), and nothing leaks (AddressSanitizer tells). */
#include "calib/cache.h"
#include "calib/evaluate.h"
#include "calib/range.h"
#include "frontend/npz.h"

#include "data/scratch.h"

static const char MODEL[] = "graph \"a\" opset 17 {\n"
                            "  input %x : float32[N,3,8,8]\n"
                            "  %y : ? = Relu(%x)\n"
                            "  output %y\n"
                            "}\n";

static Status write_and_read_arrays(void) {
    NpzWriter *w = NULL;
    Tensor t = {0};
    TRY(tensor_new(&t, ELEM_F32, 2, (int64_t[]){4, 6}));
    Status s = npz_writer_open(scratch_path("m.npz"), true, &w);
    if (!s) {
        s = npz_append(w, "x", &t);
        if (!s) s = npz_write(w, "other", &t);
        if (s)
            npz_writer_abort(w);
        else
            s = npz_writer_close(w);
    }
    DataInput in = {"x", {.kind = TYPE_TENSOR, .elem = ELEM_F32, .rank = 2, .dims = {SYM_FIRST, 6}}};
    DataOptions o = {.samples = 3};
    Dataset *ds = NULL, *a = NULL, *b = NULL;
    char hex[65];
    if (!s) s = dataset_open(scratch_path("m.npz"), &o, &in, 1, &ds);
    if (!s) s = dataset_read(ds, 2, &t, NULL, NULL);
    if (!s) s = dataset_key(ds, hex);
    if (!s) s = dataset_split(ds, 0.5, 0, &a, &b);
    dataset_free(ds);
    dataset_free(a);
    dataset_free(b);
    tensor_free(&t);
    return s;
}

static Status calibrate_images(Dataset *ds, const Graph *g, Observer **observer) {
    const Backend *ref = backend_find("ref");
    Type types[1];
    Plan *plan = NULL;
    TRY(dataset_types(ds, types, NULL));
    PlanOptions po = {.threads = 1, .inputs = types, .taps = &g->inputs[0], .n_taps = 1};
    TRY(ref->plan(g, &po, &plan));
    EvalModel m = {ref, plan, 1, 1, NULL};
    Watch w = {g->inputs[0], 1, 3};
    EvalResult r;
    Status s = calibrate(&m, &w, 1, ds, &(RunOptions){.threads = 1}, observer);
    if (!s) s = evaluate(&m, &m, ds, &(RunOptions){.threads = 1}, NULL, NULL, &r);
    ref->plan_free(plan);
    return s;
}

static Status use_cache(Observer *o) {
    static const CacheKey KEY = {"a", "b"};
    CacheEntry e = {"v", o}, *back = NULL;
    int n = 0;
    float lo, hi;
    RangeOptions opt = {CALIBRATOR_MSE, 0, {ELEM_U8, false, false}};
    TRY(range_choose(o, &opt, "v", &lo, &hi));
    TRY(cache_save(scratch_path("c.json"), &KEY, &e, 1));
    TRY(cache_load(scratch_path("c.json"), &KEY, &back, &n));
    cache_free(back, n);
    return NULL;
}

static Graph *graph; /* made once: its memory is tested elsewhere */

static Status images(void) {
    Dataset *ds = NULL;
    Observer *o = NULL;
    DataOptions d = {.image = {.resize = 9, .crop = 8}};
    Status s = dataset_open_graph(scratch_path("images"), &d, graph, &ds);
    if (!s) s = calibrate_images(ds, graph, &o);
    if (!s) s = use_cache(o);
    observer_free(o);
    dataset_free(ds);
    return s;
}

static void fail_each(Status (*scenario)(void)) {
    uint64_t before = mem_count();
    assert_ok(scenario());
    uint64_t total = mem_count() - before;
    int failures = 0;
    /* Every one in the first part, then samples. */
    for (uint64_t n = 1; n <= total; n += n < 150 ? 1 : 7) {
        mem_fail_at(n);
        Status s = scenario();
        mem_fail_at(0);
        failures += s != NULL;
        if (s && status_code(s) != STATUS_ENVIRONMENT)
            fail_msg("allocation %llu of %llu: %s", (unsigned long long)n, (unsigned long long)total, status_text(s));
        status_free(s);
    }
    assert_true(failures > 20);
}

static void arrays_without_memory(void **state) {
    (void)state;
    fail_each(write_and_read_arrays);
}

static void images_without_memory(void **state) {
    (void)state;
    static const char *const FILES[] = {"rgb420.jpg", "palette.png"};
    scratch_folder("images");
    for (int i = 0; i < 2; i++) {
        char from[512], to[64], data[4096];
        snprintf(from, sizeof from, "%s/tests/fuzz/corpus/image/%s", PARE_SOURCE_DIR, FILES[i]);
        snprintf(to, sizeof to, "images/%s", FILES[i]);
        FILE *f = fopen(from, "rb");
        assert_non_null(f);
        scratch_write(to, data, fread(data, 1, sizeof data, f));
        fclose(f);
    }
    assert_ok(graph_parse(MODEL, strlen(MODEL), NULL, "test", &graph));
    assert_ok(graph_infer(graph));
    fail_each(images);
    graph_free(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_without_memory),
        cmocka_unit_test(images_without_memory),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
