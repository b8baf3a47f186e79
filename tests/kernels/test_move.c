/* Data movement (bit for bit), resizing and reductions against scalar oracles. */
#include "kernel_test.h"

#include "kernels/cpu/move/move.h"
#include "kernels/cpu/move/reduce.h"
#include "kernels/cpu/move/resize.h"

static const Move MOVES[] = {
    {.rank = 0},
    {.rank = 1, .dims = {1}, .to_stride = {1}, .from_stride = {1}},
    {.rank = 1, .dims = {100001}, .to_stride = {1}, .from_stride = {1}},
    {.rank = 1, .dims = {1001}, .to_stride = {2}, .from_stride = {3}},
    {.rank = 2, .dims = {17, 31}, .to_stride = {1, 17}, .from_stride = {31, 1}},
    {.rank = 2, .dims = {16, 16}, .to_stride = {1, 16}, .from_stride = {16, 1}},
    {.rank = 2, .dims = {3, 5000}, .to_stride = {1, 5}, .from_stride = {5000, 1}},
    {.rank = 2, .dims = {5000, 3}, .to_stride = {1, 5001}, .from_stride = {7, 1}},
    {.rank = 2, .dims = {3, 2503}, .to_stride = {1, 3}, .from_stride = {2600, 1}},
    {.rank = 2, .dims = {2503, 3}, .to_stride = {1, 2700}, .from_stride = {3, 1}},
    {.rank = 2, .dims = {250, 129}, .to_stride = {1, 250}, .from_stride = {129, 1}},
    {.rank = 4, .dims = {2, 3, 5, 7}, .to_stride = {105, 1, 21, 3}, .from_stride = {105, 35, 7, 1}},
    {.rank = 4, .dims = {2, 1, 9, 33}, .to_stride = {1000, 7, 100, 1}, .from_stride = {297, 297, 33, 1}},
    {.rank = 6,
     .dims = {2, 3, 4, 5, 2, 2},
     .to_stride = {240, 80, 20, 1, 10, 5},
     .from_stride = {240, 80, 20, 4, 2, 1}},
    {.rank = 5, .dims = {3, 2, 6, 2, 4}, .to_stride = {96, 48, 4, 24, 1}, .from_stride = {96, 48, 8, 4, 1}},
    {.rank = 4, .dims = {2, 6, 5, 8}, .to_stride = {240, 40, 8, 1}, .from_stride = {240, 8, 48, 1}},
    {.rank = 2, .dims = {40, 40}, .to_stride = {40, 1}, .from_stride = {0, 1}},
    {.rank = 2, .dims = {40, 40}, .to_stride = {40, 1}, .from_stride = {1, 0}},
    {.rank = 3, .dims = {10, 20, 2}, .to_stride = {40, 2, 1}, .from_stride = {2, 20, 1}}};

static size_t extent(const Move *m, const int64_t *stride) {
    int64_t last = 0;
    for (int32_t d = 0; d < m->rank; d++) last += (m->dims[d] - 1) * stride[d];
    return (size_t)last + 1;
}

static void oracle_move(const Move *m, char *to, const char *from) {
    int64_t n = 1;
    for (int32_t d = 0; d < m->rank; d++) n *= m->dims[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, a = 0, b = 0;
        for (int32_t d = m->rank - 1; d >= 0; d--) {
            a += rest % m->dims[d] * m->to_stride[d];
            b += rest % m->dims[d] * m->from_stride[d];
            rest /= m->dims[d];
        }
        memcpy(to + a * m->elem_bytes, from + b * m->elem_bytes, (size_t)m->elem_bytes);
    }
}

static void check_move(Move m, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(m.rank, m.elem_bytes);
    const size_t nt = extent(&m, m.to_stride) * (size_t)m.elem_bytes + 64;
    const size_t nf = extent(&m, m.from_stride) * (size_t)m.elem_bytes;
    char *from = (char *)test_bytes(&seed, nf), *want = test_alloc(nt);
    oracle_move(&m, want, from);
    move_prepare(&m, isa);
    for (int t = 0; t < TEST_TEAMS; t++) {
        char *to = test_alloc(nt);
        move_run(&m, to, from, teams[t]);
        assert_memory_equal(to, want, nt);
        free(to);
    }
    free(from), free(want);
}

static void test_moves(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("move", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (int32_t bytes = 1; bytes <= 8; bytes *= 2) {
            for (size_t k = 0; k < COUNT_OF(MOVES); k++) {
                Move m = MOVES[k];
                m.elem_bytes = bytes;
                check_move(m, isa[i], teams);
            }
            Move m;
            move_nchw_to_nhwc(&m, 2, 19, 143, 24, bytes);
            check_move(m, isa[i], teams);
            move_nhwc_to_nchw(&m, 2, 70, 65, 71, bytes);
            check_move(m, isa[i], teams);
            move_from_permutation(&m, 5, (int64_t[]){2, 3, 7, 1, 8}, (int32_t[]){4, 1, 0, 3, 2}, bytes);
            check_move(m, isa[i], teams);
        }
    test_teams_free(teams);
}

static void test_layout(void **state) {
    (void)state;
    const uint8_t x[6] = {0, 1, 2, 10, 11, 12}; /* 2 channels of 3 pixels */
    uint8_t y[9] = {9, 9, 9, 9, 9, 9, 9, 9, 9};
    const uint8_t want[9] = {0, 10, 9, 1, 11, 9, 2, 12, 9};
    Move m;
    move_nchw_to_nhwc(&m, 1, 2, 3, 3, 1);
    move_prepare(&m, isa_mask());
    move_run(&m, y, x, NULL);
    assert_memory_equal(y, want, sizeof want);
    const Move hole = {.rank = 2, .elem_bytes = 2, .dims = {2, 2}, .to_stride = {4, 1}};
    uint16_t z[8] = {0};
    move_fill(&hole, z, &(uint16_t){513});
    const uint16_t filled[8] = {513, 513, 0, 0, 513, 513, 0, 0};
    assert_memory_equal(z, filled, sizeof filled);
}

static void test_gather(void **state) {
    (void)state;
    const int64_t index[] = {4, 0, -1, 2, -5};
    assert_true(gather_check(index, 5, 5));
    assert_false(gather_check(index, 5, 4));
    assert_false(gather_check((const int64_t[]){5}, 1, 5));
    uint64_t seed = test_seed(1, 1);
    uint8_t *x = test_bytes(&seed, 2 * 5 * 13);
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    for (int t = 0; t < TEST_TEAMS; t++) {
        uint8_t y[2 * 5 * 13];
        gather_run(y, x, index, 2, 5, 5, 13, teams[t]);
        for (size_t i = 0; i < 10; i++) {
            const int64_t row = (index[i % 5] + 5) % 5 + (int64_t)(i / 5) * 5;
            assert_memory_equal(y + i * 13, x + row * 13, 13);
        }
    }
    test_teams_free(teams);
    free(x);
}

/* One axis of the ONNX definition, in double. */
static double oracle_source(const Resize *r, bool vertical, int32_t i) {
    const double in = vertical ? r->h : r->w, out = vertical ? r->oh : r->ow, x = i;
    const double given = (double)(vertical ? r->scale_h : r->scale_w), scale = given > 0 ? given : out / in;
    const double start = (double)r->roi[vertical ? 0 : 1], end = (double)r->roi[vertical ? 2 : 3];
    switch (r->coord) {
    case RESIZE_HALF_PIXEL:
        return (x + 0.5) / scale - 0.5;
    case RESIZE_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - out / (scale * in)) + (x + 0.5) / scale - 0.5;
    case RESIZE_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case RESIZE_ALIGN_CORNERS:
        return out > 1 ? x * (in - 1) / (out - 1) : 0;
    case RESIZE_ASYMMETRIC:
        return x / scale;
    default:
        return out > 1 ? start * (in - 1) + x * (end - start) * (in - 1) / (out - 1) : 0.5 * (start + end) * (in - 1);
    }
}

static double pixel(const Resize *r, const float *x, int32_t n, double iy, double ix, int32_t c) {
    const double y = fmin(fmax(iy, 0), r->h - 1), u = fmin(fmax(ix, 0), r->w - 1);
    return (double)x[(((size_t)n * (size_t)r->h + (size_t)y) * (size_t)r->w + (size_t)u) * r->x_ld + (size_t)c];
}

static double oracle_nearest(double x, ResizeNearest mode) {
    const double low = floor(x), part = x - low;
    if (mode == RESIZE_FLOOR) return low;
    if (mode == RESIZE_CEIL) return part > 0 ? low + 1 : low;
    if (part == 0.5) return mode == RESIZE_ROUND_PREFER_FLOOR ? low : low + 1;
    return part < 0.5 ? low : low + 1;
}

static double oracle_resize(const Resize *r, const float *x, int32_t n, int32_t oy, int32_t ox, int32_t c) {
    const double sy = oracle_source(r, true, oy), sx = oracle_source(r, false, ox);
    if (r->coord == RESIZE_TF_CROP_AND_RESIZE && (sy < 0 || sy > r->h - 1 || sx < 0 || sx > r->w - 1))
        return (double)r->extrapolation;
    if (!r->linear) return pixel(r, x, n, oracle_nearest(sy, r->nearest), oracle_nearest(sx, r->nearest), c);
    const double y0 = floor(sy), x0 = floor(sx), fy = sy - y0, fx = sx - x0;
    const double top = (1 - fx) * pixel(r, x, n, y0, x0, c) + fx * pixel(r, x, n, y0, x0 + 1, c);
    const double low = (1 - fx) * pixel(r, x, n, y0 + 1, x0, c) + fx * pixel(r, x, n, y0 + 1, x0 + 1, c);
    return (1 - fy) * top + fy * low;
}

static void check_resize(Resize r, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(r.h, r.ow);
    r.x_ld = (size_t)r.c + 1, r.y_ld = (size_t)r.c + 2, r.elem_bytes = 4;
    r.rows = test_alloc((size_t)r.oh * sizeof *r.rows), r.cols = test_alloc((size_t)r.ow * sizeof *r.cols);
    float *x = test_floats(&seed, (size_t)(r.n * r.h * r.w) * r.x_ld, -2.0f, 2.0f);
    resize_prepare(&r, isa);
    for (int t = 0; t < TEST_TEAMS; t++) {
        float *y = test_alloc((size_t)(r.n * r.oh * r.ow) * r.y_ld * sizeof *y);
        resize_run(&r, x, y, teams[t]);
        for (int32_t i = 0; i < r.n * r.oh * r.ow * r.c; i++) {
            const int32_t c = i % r.c, p = i / r.c, ox = p % r.ow, oy = p / r.ow % r.oh, n = p / r.ow / r.oh;
            const double want = oracle_resize(&r, x, n, oy, ox, c);
            const float got = y[(size_t)p * r.y_ld + (size_t)c];
            if (!test_near(got, want, 2e-6))
                fail_msg("resize coord %d linear %d at %d %d: %g, not %g", r.coord, r.linear, oy, ox, (double)got,
                         want);
        }
        free(y);
    }
    free(r.rows), free(r.cols), free(x);
}

static void test_resize(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("resize", isa);
    const int32_t sizes[][5] = {
        {5, 7, 10, 14, 3}, {8, 8, 3, 5, 17}, {4, 4, 4, 4, 16}, {6, 5, 1, 1, 33}, {1, 1, 6, 4, 5}};
    for (size_t i = 0; i < n_isa; i++)
        for (size_t s = 0; s < COUNT_OF(sizes); s++)
            for (int coord = 0; coord <= RESIZE_TF_CROP_AND_RESIZE; coord++)
                for (int mode = 0; mode < 5; mode++) {
                    Resize r = {.n = 2, .h = sizes[s][0], .w = sizes[s][1], .oh = sizes[s][2], .ow = sizes[s][3]};
                    r.c = sizes[s][4], r.linear = mode == 4, r.coord = (ResizeCoord)coord;
                    r.nearest = (ResizeNearest)(mode % 4), r.extrapolation = 7.5f;
                    memcpy(r.roi, (const float[]){-0.25f, 0.125f, 0.75f, 1.25f}, sizeof r.roi);
                    if (mode == 1) r.scale_h = (float)r.oh / (float)r.h + 0.05f;
                    check_resize(r, isa[i], teams);
                }
    test_teams_free(teams);
}

static double oracle_reduce(ReduceKind kind, const float *x, int64_t n, int64_t step) {
    double sum = 0, squares = 0, magnitude = 0, max = -INFINITY, min = INFINITY, prod = 1;
    bool nan = false;
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i * step];
        sum += v, squares += v * v, magnitude += fabs(v), prod *= v;
        max = v > max ? v : max, min = v < min ? v : min;
        nan |= v != v;
    }
    const double all[REDUCE_KINDS] = {sum,     sum / (double)n, nan ? NAN : max, nan ? NAN : min,
                                      squares, magnitude,       sqrt(squares),   prod};
    return all[kind];
}

static void check_reduce(Reduce r, uint32_t isa, bool special, Team *teams[]) {
    uint64_t seed = test_seed(r.len, r.inner);
    const size_t nx = (size_t)(r.outer * r.len * r.inner), ny = (size_t)(r.outer * r.inner);
    float *x = test_floats(&seed, nx, r.kind == REDUCE_PROD ? 0.99f : -1.0f, r.kind == REDUCE_PROD ? 1.01f : 2.0f);
    if (special) x[nx / 2] = NAN, x[nx - 1] = INFINITY, x[0] = -INFINITY;
    float *first = test_alloc((ny + 1) * sizeof *first);
    reduce_prepare(&r, isa);
    for (int t = 0; t < TEST_TEAMS; t++) {
        float *y = t ? test_alloc((ny + 1) * sizeof *y) : first;
        reduce_run(&r, x, y, teams[t]);
        for (int64_t i = 0; i < (int64_t)ny; i++) {
            const float *column = x + i / r.inner * r.len * r.inner + i % r.inner;
            const double want = oracle_reduce(r.kind, column, r.len, r.inner);
            if (!test_near(y[i], want, 1e-6 + 2e-9 * (double)r.len))
                fail_msg("reduce %d len %d inner %d: %.9g, not %.9g", r.kind, (int)r.len, (int)r.inner, (double)y[i],
                         want);
        }
        assert_memory_equal(y, first, (ny + 1) * sizeof *y);
        if (t) free(y);
    }
    free(x), free(first);
}

static void test_reduce(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("reduce", isa);
    const int64_t lengths[] = {1, 3, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 257, 1000, 5003, 70001};
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(lengths); k++)
            for (int kind = 0; kind < REDUCE_KINDS; kind++)
                for (int v = 0; v < 3; v++) {
                    Reduce r = {.kind = (ReduceKind)kind, .outer = 3, .len = lengths[k], .inner = 1};
                    if (v == 1) r.inner = 1 + lengths[k] % 35;
                    if (kind == REDUCE_PROD && lengths[k] > 1000) continue;
                    check_reduce(r, isa[i], v == 2 && lengths[k] > 8, teams);
                }
    test_teams_free(teams);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_moves), cmocka_unit_test(test_layout),
                                       cmocka_unit_test(test_gather), cmocka_unit_test(test_resize),
                                       cmocka_unit_test(test_reduce)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
