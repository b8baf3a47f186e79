// ctest: tsan
/* The drivers on the reference backend: the same results in the same order at any number of threads. */
#include "calib/evaluate.h"
#include "frontend/npz.h"

#include "data/scratch.h"

#include <math.h>

enum { SAMPLES = 101, CLASSES = 7 };

static const char MODEL_A[] = "graph \"a\" opset 17 {\n"
                              "  input %x : float32[N,7]\n"
                              "  const %k : float32[1] = {1.0}\n"
                              "  %h : ? = Mul(%x, %k)\n"
                              "  %y : ? = Relu(%h)\n"
                              "  output %y\n"
                              "}\n";
/* Adds to class 0: some samples change their mind. */
static const char MODEL_B[] = "graph \"b\" opset 17 {\n"
                              "  input %x : float32[N,7]\n"
                              "  const %k : float32[7] = {0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0}\n"
                              "  %h : ? = Add(%x, %k)\n"
                              "  %y : ? = Relu(%h)\n"
                              "  output %y\n"
                              "}\n";

typedef struct Model {
    Graph *g;
    Plan *plan;
    EvalModel m;
    ValueId h;
} Model;

static float data[SAMPLES][CLASSES];
static int64_t labels[SAMPLES];

static void write_data(const char *name, bool with_labels) {
    NpzWriter *w;
    Tensor t, l;
    for (int i = 0; i < SAMPLES; i++) {
        for (int c = 0; c < CLASSES; c++) data[i][c] = (float)((i * 37 + c * 53) % 101) / 100;
        labels[i] = metric_argmax(data[i], CLASSES);
        if (i % 5 == 0) labels[i] = (labels[i] + 1) % CLASSES;
    }
    assert_ok(tensor_view(&t, ELEM_F32, 2, (int64_t[]){SAMPLES, CLASSES}, data));
    assert_ok(tensor_view(&l, ELEM_I64, 1, (int64_t[]){SAMPLES}, labels));
    assert_ok(npz_writer_open(scratch_path(name), true, &w));
    assert_ok(npz_write(w, "x", &t));
    if (with_labels) assert_ok(npz_write(w, "labels", &l));
    assert_ok(npz_writer_close(w));
}

static Model open_model(const char *text, Dataset *ds) {
    Model m = {0};
    Type types[1];
    assert_ok(graph_parse(text, strlen(text), NULL, "test", &m.g));
    assert_ok(graph_infer(m.g));
    assert_ok(dataset_types(ds, types, NULL));
    m.h = graph_find_value(m.g, "h");
    ValueId taps[] = {m.h, m.g->inputs[0], m.g->outputs[0]};
    const Backend *ref = backend_find("ref");
    assert_non_null(ref);
    PlanOptions o = {.threads = 1, .inputs = types, .taps = taps, .n_taps = 3};
    assert_ok(ref->plan(m.g, &o, &m.plan));
    m.m = (EvalModel){ref, m.plan, 1, 1, NULL};
    return m;
}

static void close_model(Model *m) {
    m->m.backend->plan_free(m->plan);
    graph_free(m->g);
}

static Dataset *open_data(const char *name, int64_t batch) {
    DataInput in = {"x", {.kind = TYPE_TENSOR, .elem = ELEM_F32, .rank = 2, .dims = {SYM_FIRST, CLASSES}}};
    DataOptions o = {.batch = batch};
    Dataset *ds;
    assert_ok(dataset_open(scratch_path(name), &o, &in, 1, &ds));
    return ds;
}

typedef struct Seen {
    int64_t n;
    SampleRecord records[SAMPLES];
    int64_t done;
    int stop_at;
    volatile int cancel;
} Seen;

static void on_record(void *ctx, const SampleRecord *r) {
    Seen *s = ctx;
    s->records[s->n++] = *r;
}

static void on_progress(void *ctx, int64_t done, int64_t total) {
    Seen *s = ctx;
    assert_int_equal(done, s->done + 1);
    assert_true(done <= total);
    s->done = done;
    if (s->stop_at && done >= s->stop_at) __atomic_store_n(&s->cancel, 1, __ATOMIC_RELAXED);
}

static void evaluates_in_order(void **state) {
    (void)state;
    write_data("d.npz", true);
    for (int64_t batch = 1; batch <= 8; batch += 7)
        for (int threads = 1; threads <= 5; threads += 2) {
            static Seen seen;
            seen = (Seen){0};
            Dataset *ds = open_data("d.npz", batch);
            Model a = open_model(MODEL_A, ds), b = open_model(MODEL_B, ds);
            RunOptions o = {.threads = threads, .progress = on_progress, .progress_ctx = &seen};
            EvalResult r;
            assert_ok(evaluate(&a.m, &b.m, ds, &o, on_record, &seen, &r));
            int64_t agree = 0, right_a = 0, right_b = 0, both = 0;
            double noise = 0;
            for (int i = 0; i < SAMPLES; i++) {
                float shifted[CLASSES];
                memcpy(shifted, data[i], sizeof shifted);
                shifted[0] += 0.5f;
                int64_t pa = metric_argmax(data[i], CLASSES), pb = metric_argmax(shifted, CLASSES);
                const SampleRecord *s = &seen.records[i];
                assert_true(s->read * batch + s->row == i);
                assert_true(s->label == labels[i] && s->pred_a == pa && s->pred_b == pb);
                agree += pa == pb;
                right_a += pa == labels[i];
                right_b += pb == labels[i];
                both += pa == labels[i] && pb == labels[i];
                noise += 0.25;
            }
            assert_true(agree > 20 && agree < SAMPLES && both < right_b);
            assert_int_equal(seen.n, SAMPLES);
            assert_int_equal(seen.done, dataset_reads(ds));
            assert_int_equal(r.samples, SAMPLES);
            assert_int_equal(r.correct_a, right_a);
            assert_int_equal(r.correct_b, right_b);
            assert_int_equal(r.paired.agree, agree);
            assert_int_equal(r.paired.both, both);
            assert_int_equal(r.paired.only_a, right_a - both);
            assert_int_equal(r.paired.only_b, right_b - both);
            assert_int_equal(r.paired.both + r.paired.only_a + r.paired.only_b + r.paired.neither, SAMPLES);
            assert_true(fabs(r.first_output.noise - noise) < 1e-4);
            assert_int_equal(r.first_output.count, SAMPLES * CLASSES);
            static ErrorSums first[2];
            if (threads == 1) first[batch > 1] = r.first_output;
            assert_memory_equal(&first[batch > 1], &r.first_output, sizeof r.first_output);
            close_model(&a);
            close_model(&b);
            dataset_free(ds);
        }
}

static void wrong_labels_are_named(void **state) {
    (void)state;
    write_data("d.npz", true);
    DataInput in = {"x", {.kind = TYPE_TENSOR, .elem = ELEM_F32, .rank = 2, .dims = {SYM_FIRST, CLASSES}}};
    DataOptions d = {.label_offset = 1};
    Dataset *ds;
    assert_ok(dataset_open(scratch_path("d.npz"), &d, &in, 1, &ds));
    int first = 0;
    while (labels[first] + 1 < CLASSES) first++;
    char want[64];
    snprintf(want, sizeof want, "sample %d: expected a label from 0 to 6", first);
    for (int threads = 1; threads <= 3; threads++) {
        Model a = open_model(MODEL_A, ds);
        EvalResult r;
        assert_fails(evaluate(&a.m, NULL, ds, &(RunOptions){.threads = threads}, NULL, NULL, &r), STATUS_INVALID, want);
        close_model(&a);
    }
    dataset_free(ds);
}

static void without_labels(void **state) {
    (void)state;
    write_data("u.npz", false);
    Dataset *ds = open_data("u.npz", 1);
    Model a = open_model(MODEL_A, ds), b = open_model(MODEL_A, ds);
    EvalResult r;
    assert_ok(evaluate(&a.m, &b.m, ds, &(RunOptions){.threads = 2}, NULL, NULL, &r));
    assert_false(r.has_labels);
    assert_int_equal(r.paired.agree, SAMPLES);
    assert_int_equal(r.paired.samples, SAMPLES);
    assert_true(r.first_output.noise == 0);
    close_model(&a);
    close_model(&b);
    dataset_free(ds);
}

typedef struct Outputs {
    int64_t next;
    int fail_at;
} Outputs;

static Status on_output(void *ctx, int64_t index, int64_t valid, const int64_t *label, const Tensor *t) {
    Outputs *o = ctx;
    assert_int_equal(index, o->next++);
    assert_int_equal(valid, 1);
    assert_int_equal(label[0], labels[index]);
    assert_memory_equal(t->data, data[index], sizeof data[index]);
    return index == o->fail_at ? status_make(STATUS_GATE, "enough") : NULL;
}

static void outputs_in_order(void **state) {
    (void)state;
    write_data("d.npz", true);
    Dataset *ds = open_data("d.npz", 1);
    Model a = open_model(MODEL_A, ds);
    for (int threads = 1; threads <= 4; threads++) {
        Outputs o = {0, -1};
        assert_ok(run_dataset(&a.m, ds, &(RunOptions){.threads = threads}, on_output, &o));
        assert_int_equal(o.next, SAMPLES);
        o = (Outputs){0, 40};
        assert_fails(run_dataset(&a.m, ds, &(RunOptions){.threads = threads}, on_output, &o), STATUS_GATE, "enough");
        assert_int_equal(o.next, 41);
    }
    close_model(&a);
    dataset_free(ds);
}

static void stops_when_asked(void **state) {
    (void)state;
    write_data("d.npz", true);
    Dataset *ds = open_data("d.npz", 1);
    Model a = open_model(MODEL_A, ds);
    for (int threads = 1; threads <= 3; threads++) {
        static Seen seen;
        seen = (Seen){.stop_at = 10};
        RunOptions o = {threads, on_progress, &seen, &seen.cancel};
        EvalResult r;
        assert_fails(evaluate(&a.m, NULL, ds, &o, NULL, NULL, &r), STATUS_INTERRUPTED, "interrupted");
        assert_true(seen.done < SAMPLES);
    }
    close_model(&a);
    dataset_free(ds);
}

static void calibration_sees_every_value(void **state) {
    (void)state;
    write_data("d.npz", true);
    Dataset *ds = open_data("d.npz", 1);
    Model b = open_model(MODEL_B, ds);
    Watch watches[] = {{b.h, 1, CLASSES}, {b.g->inputs[0], 0, 0}, {b.g->outputs[0], 0, 0}};
    Observer *want, *got[3];
    assert_ok(observer_new(CLASSES, &want));
    for (int i = 0; i < SAMPLES; i++) {
        float x[CLASSES];
        memcpy(x, data[i], sizeof x);
        x[0] += 0.5f;
        assert_ok(observer_add(want, x, 1, CLASSES, 1));
    }
    for (int threads = 1; threads <= 4; threads++) {
        assert_ok(calibrate(&b.m, watches, 3, ds, &(RunOptions){.threads = threads}, got));
        assert_memory_equal(got[0]->positive, want->positive, 2 * OBSERVER_BINS * sizeof(uint64_t));
        assert_int_equal(got[0]->calls, SAMPLES);
        assert_true(got[0]->sum_max == want->sum_max && got[0]->max == want->max);
        for (int c = 0; c < CLASSES; c++) assert_true(got[0]->channel[c].sum == want->channel[c].sum);
        assert_int_equal(got[1]->count, SAMPLES * CLASSES);
        assert_true(got[1]->max == 1 && got[2]->max == want->max);
        for (int i = 0; i < 3; i++) observer_free(got[i]);
    }
    watches[0].channels = 5;
    assert_fails(calibrate(&b.m, watches, 3, ds, &(RunOptions){.threads = 2}, got), STATUS_INVALID, "5 channels");
    assert_null(got[0]);
    observer_free(want);
    close_model(&b);
    dataset_free(ds);
}

static void layers_are_compared(void **state) {
    (void)state;
    write_data("d.npz", true);
    Dataset *ds = open_data("d.npz", 1);
    Model a = open_model(MODEL_A, ds), b = open_model(MODEL_B, ds);
    TapPair pairs[] = {{a.h, b.h, "h"}, {a.g->inputs[0], b.g->inputs[0], "x"}};
    ErrorSums want = {0}, got[2];
    for (int i = 0; i < SAMPLES; i++) {
        float x[CLASSES];
        memcpy(x, data[i], sizeof x);
        x[0] += 0.5f;
        error_add(&want, x, data[i], CLASSES);
    }
    for (int threads = 1; threads <= 3; threads++) {
        assert_ok(evaluate_layers(&a.m, &b.m, pairs, 2, ds, &(RunOptions){.threads = threads}, got));
        assert_memory_equal(&got[0], &want, sizeof want);
        assert_true(got[1].noise == 0 && got[1].count == SAMPLES * CLASSES);
    }
    close_model(&a);
    close_model(&b);
    dataset_free(ds);
}

static void the_first_bad_sample_is_reported(void **state) {
    (void)state;
    write_data("n.npz", true);
    Tensor t;
    assert_ok(tensor_view(&t, ELEM_F32, 2, (int64_t[]){SAMPLES, CLASSES}, data));
    data[33][2] = data[34][0] = data[35][1] = NAN;
    assert_ok(npy_write(scratch_path("n.npy"), &t));
    DataInput in = {"x", {.kind = TYPE_TENSOR, .elem = ELEM_F32, .rank = 2, .dims = {SYM_FIRST, CLASSES}}};
    DataOptions d = {.reject_nan = true};
    Dataset *ds;
    assert_ok(dataset_open(scratch_path("n.npy"), &d, &in, 1, &ds));
    Model a = open_model(MODEL_A, ds);
    Watch w = {a.h, 0, 0};
    Observer *got;
    for (int threads = 1; threads <= 4; threads++)
        assert_fails(calibrate(&a.m, &w, 1, ds, &(RunOptions){.threads = threads}, &got), STATUS_INVALID, "sample 33:");
    close_model(&a);
    dataset_free(ds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(evaluates_in_order),  cmocka_unit_test(wrong_labels_are_named),
        cmocka_unit_test(without_labels),      cmocka_unit_test(outputs_in_order),
        cmocka_unit_test(stops_when_asked),    cmocka_unit_test(calibration_sees_every_value),
        cmocka_unit_test(layers_are_compared), cmocka_unit_test(the_first_bad_sample_is_reported),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
