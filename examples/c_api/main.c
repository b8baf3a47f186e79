/* Classifies with pare from C, in two threads that share one model.
 *
 *   classify MODEL      (.pare or .onnx, one float input)
 *
 * Each thread fills the input with its own pattern, runs it and prints the largest output. */
#include <pare/pare.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Worker {
    pthread_t thread;
    pare_model *model;
    int number, failed;
} Worker;

static int check(int code, const pare_error *e) {
    if (code) fprintf(stderr, "error %d: %s\n", code, e->message);
    return code;
}

static int classify(Worker *w, pare_context *c, float *data, pare_tensor *x) {
    pare_error e;
    pare_tensor y;
    size_t n = 1;
    for (int i = 0; i < x->rank; i++) n *= (size_t)x->dims[i];
    for (size_t i = 0; i < n; i++) data[i] = (float)((i * 31 + (size_t)w->number * 7) % 17) / 17.0f;
    x->data = data;
    if (check(pare_set_input(c, 0, x, &e), &e) || check(pare_run(c, &e), &e) ||
        check(pare_get_output(c, 0, &y, &e), &e))
        return 1;
    const float *scores = y.data;
    size_t best = 0, count = y.bytes / sizeof *scores;
    for (size_t i = 1; i < count; i++)
        if (scores[i] > scores[best]) best = i;
    printf("thread %d: class %zu, score %.4f\n", w->number, best, (double)scores[best]);
    return 0;
}

static void *work(void *arg) {
    Worker *w = arg;
    pare_error e;
    pare_context *c = NULL;
    pare_tensor x;
    w->failed = 1;
    if (pare_input_info(w->model, 0, &x) || x.type != PARE_FLOAT32) {
        fputs("the model's first input is not float32\n", stderr);
        return NULL;
    }
    size_t n = 1;
    for (int i = 0; i < x.rank; i++) {
        if (x.dims[i] < 0) x.dims[i] = 1;
        n *= (size_t)x.dims[i];
    }
    float *data = malloc(n * sizeof *data);
    if (data && !check(pare_context_new(w->model, 1, &c, &e), &e)) w->failed = classify(w, c, data, &x);
    pare_context_free(c);
    free(data);
    return NULL;
}

int main(int argc, char **argv) {
    pare_error e;
    pare_model *model;
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL\n", argv[0]);
        return 2;
    }
    if (check(pare_model_load(argv[1], &model, &e), &e)) return e.code;
    printf("pare %s, input '%s', output '%s'\n", pare_version(), pare_input_name(model, 0), pare_output_name(model, 0));
    Worker workers[2];
    int failed = 0;
    for (int i = 0; i < 2; i++) {
        workers[i] = (Worker){.model = model, .number = i};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) return 5;
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(workers[i].thread, NULL);
        failed |= workers[i].failed;
    }
    pare_model_free(model);
    return failed;
}
