/* Matrix products, normalizations, softmax, reductions and selections: hand-checked values and shapes with symbols. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/op_case.h"

#define F(...) ((const float[]){__VA_ARGS__})
#define I(...) ((const int64_t[]){__VA_ARGS__})

static void matmul_broadcasts_batches(void **state) {
    (void)state;
    OpCase c = op_case("", "MatMul", 1);
    op_in(&c, ELEM_F32, "2,1,1,2", F(1, 2, 3, 4));
    op_in(&c, ELEM_F32, "2,2,1", F(1, 10, 100, 1000));
    op_ready(&c);
    op_expect(&c, 0, ELEM_F32, "2,2,1,1", F(21, 2100, 43, 4300), 0);
    op_case_free(&c);
    OpCase v = op_case("", "MatMul", 1); /* vector by matrix: the row's dim disappears */
    op_in(&v, ELEM_I32, "2", (const int32_t[]){INT32_MAX, 1});
    op_in(&v, ELEM_I32, "2,2", (const int32_t[]){1, 2, 1, 3});
    op_ready(&v);
    op_expect(&v, 0, ELEM_I32, "2", (const int32_t[]){INT32_MIN, 1}, 0); /* wraps */
    op_case_free(&v);
}

static void matmul_types(void **state) {
    (void)state;
    OpCase c = op_case("", "MatMul", 1);
    op_in_type(&c, ELEM_F32, "B,12,T,64");
    op_in_type(&c, ELEM_F32, "B,12,64,T");
    op_ready(&c);
    op_expect_type(&c, 0, "float32[B,12,T,T]");
    op_case_free(&c);
    OpCase e = op_case("", "MatMul", 1);
    op_in_type(&e, ELEM_F32, "N,4");
    op_in_type(&e, ELEM_F32, "5,6");
    op_ready(&e);
    op_expect_error(&e, STATUS_INVALID, "inner dims differ: 4 and 5");
    op_case_free(&e);
}

static void gemm_transposes_and_scales(void **state) {
    (void)state;
    OpCase c = op_case("", "Gemm", 1);
    op_in(&c, ELEM_F32, "3,1", F(1, 2, 3));
    op_in(&c, ELEM_F32, "2,3", F(1, 10, 100, 4, 5, 6));
    op_in(&c, ELEM_F32, "1,1", F(2));
    op_ready(&c);
    op_int(&c, "transA", 1);
    op_int(&c, "transB", 1);
    op_float(&c, "alpha", 0.5f);
    op_float(&c, "beta", 3);
    op_expect(&c, 0, ELEM_F32, "1,2", F(166.5f, 22), 0);
    op_case_free(&c);
    OpCase b = op_case("", "Gemm", 1);
    op_in(&b, ELEM_F32, "1,1", F(1));
    op_in(&b, ELEM_F32, "1,2", F(1, 2));
    op_in(&b, ELEM_F32, "3", F(1, 2, 3));
    op_ready(&b);
    op_expect_error(&b, STATUS_INVALID, "does not broadcast");
    op_case_free(&b);
}

static void batch_normalization(void **state) {
    (void)state;
    OpCase c = op_case("", "BatchNormalization", 1);
    op_in(&c, ELEM_F32, "1,2,2", F(1, 2, 3, 4));
    op_in(&c, ELEM_F32, "2", F(2, 1));
    op_in(&c, ELEM_F32, "2", F(0, 10));
    op_in(&c, ELEM_F32, "2", F(1, 3));
    op_in(&c, ELEM_F32, "2", F(4, 1));
    op_ready(&c);
    op_float(&c, "epsilon", 0);
    op_expect(&c, 0, ELEM_F32, "1,2,2", F(0, 1, 10, 11), 0);
    op_case_free(&c);
}

static void layer_normalization(void **state) {
    (void)state;
    OpCase c = op_case("", "LayerNormalization", 3);
    op_in(&c, ELEM_F32, "2,2", F(1, 3, 5, 5));
    op_in(&c, ELEM_F32, "2", F(2, 3));
    op_in(&c, ELEM_F32, "2", F(0.5f, 0));
    op_ready(&c);
    op_float(&c, "epsilon", 1e-12f);
    op_expect(&c, 0, ELEM_F32, "2,2", F(-1.5f, 3, 0.5f, 0), 1e-6);
    op_expect(&c, 1, ELEM_F32, "2,1", F(2, 5), 0);
    op_expect(&c, 2, ELEM_F32, "2,1", F(1, 1e6f), 1);
    op_case_free(&c);
    OpCase t = op_case("", "LayerNormalization", 2);
    op_in_type(&t, ELEM_F32, "N,T,384");
    op_in_type(&t, ELEM_F32, "384");
    op_ready(&t);
    op_expect_type(&t, 0, "float32[N,T,384]");
    op_expect_type(&t, 1, "float32[N,T,1]");
    op_case_free(&t);
}

static void softmax_is_stable(void **state) {
    (void)state;
    OpCase c = op_case("", "Softmax", 1);
    op_in(&c, ELEM_F32, "2,2", F(1000, 0, 1000, 0.6931472f));
    op_ready(&c);
    op_int(&c, "axis", 0);
    op_expect(&c, 0, ELEM_F32, "2,2", F(0.5f, 1.0f / 3, 0.5f, 2.0f / 3), 1e-6);
    op_case_free(&c);
    OpCase e = op_case("", "Softmax", 1);
    op_in_type(&e, ELEM_F32, "2,2");
    op_ready(&e);
    op_int(&e, "axis", 2);
    op_expect_error(&e, STATUS_INVALID, "axis 2 is outside");
    op_case_free(&e);
}

static void lp_normalization_of_zero_is_zero(void **state) {
    (void)state;
    OpCase c = op_case("", "LpNormalization", 1);
    op_in(&c, ELEM_F32, "2,2", F(3, 4, 0, 0));
    op_ready(&c);
    op_expect(&c, 0, ELEM_F32, "2,2", F(0.6f, 0.8f, 0, 0), 1e-6);
    op_case_free(&c);
}

static void reduce_over_given_axes(void **state) {
    (void)state;
    static const struct {
        const char *op;
        float want[2];
    } cases[] = {{"ReduceSum", {9, 12}},
                 {"ReduceMean", {3, 4}},
                 {"ReduceMax", {5, 6}},
                 {"ReduceMin", {1, 2}},
                 {"ReduceProd", {15, 48}},
                 {"ReduceL1", {9, 12}},
                 {"ReduceL2", {5.9160798f, 7.4833148f}},
                 {"ReduceSumSquare", {35, 56}},
                 {"ReduceLogSum", {2.1972246f, 2.4849066f}},
                 {"ReduceLogSumExp", {5.1429316f, 6.1429316f}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OpCase c = op_case("", cases[i].op, 1);
        op_in(&c, ELEM_F32, "1,3,2", F(1, 2, 3, 4, 5, 6));
        op_const(&c, ELEM_I64, "2", I(-2, 0));
        op_ready(&c);
        op_int(&c, "keepdims", 0);
        op_expect(&c, 0, ELEM_F32, "2", cases[i].want, 1e-5);
        op_case_free(&c);
    }
}

static void reduce_integers_and_empty_sets(void **state) {
    (void)state;
    OpCase c = op_case("", "ReduceSum", 1);
    op_in(&c, ELEM_I64, "2", I(INT64_MAX, 2));
    op_ready(&c);
    op_expect(&c, 0, ELEM_I64, "1", I(INT64_MIN + 1), 0);
    op_case_free(&c);
    OpCase m = op_case("", "ReduceMax", 1);
    op_in(&m, ELEM_I32, "0", NULL);
    op_ready(&m);
    op_expect(&m, 0, ELEM_I32, "1", (const int32_t[]){INT32_MIN}, 0);
    op_case_free(&m);
    OpCase u = op_case("", "ReduceMin", 1);
    op_in(&u, ELEM_U64, "2", ((const uint64_t[]){UINT64_MAX, 7}));
    op_ready(&u);
    op_expect(&u, 0, ELEM_U64, "1", ((const uint64_t[]){7}), 0);
    op_case_free(&u);
    OpCase d = op_case("", "ReduceMean", 1);
    op_in(&d, ELEM_I32, "0", NULL);
    op_ready(&d);
    op_expect_error(&d, STATUS_INVALID, "mean of no integers");
    op_case_free(&d);
}

static void reduce_types(void **state) {
    (void)state;
    OpCase c = op_case("", "ReduceMean", 1);
    op_in_type(&c, ELEM_F32, "N,C,H,W");
    op_const(&c, ELEM_I64, "2", I(2, 3));
    op_ready(&c);
    op_expect_type(&c, 0, "float32[N,C,1,1]");
    op_case_free(&c);
    OpCase n = op_case("", "ReduceMean", 1); /* no axes, and they mean nothing */
    op_in_type(&n, ELEM_F32, "N,C");
    op_ready(&n);
    op_int(&n, "noop_with_empty_axes", 1);
    op_expect_type(&n, 0, "float32[N,C]");
    op_case_free(&n);
    OpCase a = op_case("", "ArgMax", 1);
    op_in_type(&a, ELEM_F32, "N,C,H");
    op_ready(&a);
    op_int(&a, "axis", 1);
    op_int(&a, "keepdims", 0);
    op_expect_type(&a, 0, "int64[N,H]");
    op_case_free(&a);
}

static void arg_max_takes_the_first_of_equals(void **state) {
    (void)state;
    for (int last = 0; last < 2; last++) {
        OpCase c = op_case("", "ArgMax", 1);
        op_in(&c, ELEM_F32, "2,3", F(1, 5, 5, -1, -2, -1));
        op_ready(&c);
        op_int(&c, "axis", 1);
        op_int(&c, "select_last_index", last);
        op_expect(&c, 0, ELEM_I64, "2,1", last ? I(2, 2) : I(1, 0), 0);
        op_case_free(&c);
    }
}

static void top_k_orders_negatives_and_ties(void **state) {
    (void)state;
    OpCase c = op_case("", "TopK", 2);
    op_in(&c, ELEM_F32, "1,5", F(-1, 2, -3, 2, -0.5f));
    op_const(&c, ELEM_I64, "1", I(4));
    op_ready(&c);
    op_expect(&c, 0, ELEM_F32, "1,4", F(2, 2, -0.5f, -1), 0);
    op_expect(&c, 1, ELEM_I64, "1,4", I(1, 3, 4, 0), 0);
    op_case_free(&c);
    OpCase s = op_case("", "TopK", 2);
    op_in(&s, ELEM_I8, "3", (const int8_t[]){5, -128, 0});
    op_const(&s, ELEM_I64, "1", I(2));
    op_ready(&s);
    op_int(&s, "largest", 0);
    op_expect(&s, 0, ELEM_I8, "2", (const int8_t[]){-128, 0}, 0);
    op_expect(&s, 1, ELEM_I64, "2", I(1, 2), 0);
    op_case_free(&s);
    OpCase e = op_case("", "TopK", 2);
    op_in_type(&e, ELEM_F32, "N,3");
    op_const(&e, ELEM_I64, "1", I(4));
    op_ready(&e);
    op_expect_error(&e, STATUS_INVALID, "k is 4, axis 1 has only 3");
    op_case_free(&e);
}

static void cum_sum_from_the_end(void **state) {
    (void)state;
    OpCase c = op_case("", "CumSum", 1);
    op_in(&c, ELEM_F32, "2,3", F(1, 2, 3, 4, 5, 6));
    op_const(&c, ELEM_I64, "", I(1));
    op_ready(&c);
    op_int(&c, "exclusive", 1);
    op_int(&c, "reverse", 1);
    op_expect(&c, 0, ELEM_F32, "2,3", F(5, 3, 0, 11, 6, 0), 0);
    op_case_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_broadcasts_batches),
        cmocka_unit_test(matmul_types),
        cmocka_unit_test(gemm_transposes_and_scales),
        cmocka_unit_test(batch_normalization),
        cmocka_unit_test(layer_normalization),
        cmocka_unit_test(softmax_is_stable),
        cmocka_unit_test(lp_normalization_of_zero_is_zero),
        cmocka_unit_test(reduce_over_given_axes),
        cmocka_unit_test(reduce_integers_and_empty_sets),
        cmocka_unit_test(reduce_types),
        cmocka_unit_test(arg_max_takes_the_first_of_equals),
        cmocka_unit_test(top_k_orders_negatives_and_ties),
        cmocka_unit_test(cum_sum_from_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
