/* Matrix products, normalizations, softmax, reductions and selections: hand-checked values and shapes with symbols. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

static void matmul_broadcasts_batches(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,1,1,2] = {1.0, 2.0, 3.0, 4.0}\n"
              "const %b : float32[2,2,1] = {1.0, 10.0, 100.0, 1000.0}\n"
              "%y : ? = MatMul(%a, %b)",
              "float32[2,2,1,1] = {21.0, 2100.0, 43.0, 4300.0}", 0);
    /* vector by matrix: the row's dim disappears; wraps */
    ir_expect("const %a : int32[2] = {2147483647, 1}\n"
              "const %b : int32[2,2] = {1, 2, 1, 3}\n"
              "%y : ? = MatMul(%a, %b)",
              "int32[2] = {-2147483648, 1}", 0);
}

static void matmul_types(void **state) {
    (void)state;
    ir_expect_type("input %a : float32[B,12,T,64]\n"
                   "input %b : float32[B,12,64,T]\n"
                   "%y : ? = MatMul(%a, %b)",
                   "float32[B,12,T,T]");
    ir_expect_error("input %a : float32[N,4]\n"
                    "input %b : float32[5,6]\n"
                    "%y : ? = MatMul(%a, %b)",
                    STATUS_INVALID, "inner dims differ: 4 and 5");
}

static void gemm_transposes_and_scales(void **state) {
    (void)state;
    ir_expect("const %a : float32[3,1] = {1.0, 2.0, 3.0}\n"
              "const %b : float32[2,3] = {1.0, 10.0, 100.0, 4.0, 5.0, 6.0}\n"
              "const %c : float32[1,1] = {2.0}\n"
              "%y : ? = Gemm(%a, %b, %c) {transA=1, transB=1, alpha=0.5, beta=3.0}",
              "float32[1,2] = {166.5, 22.0}", 0);
    ir_expect_error("const %a : float32[1,1] = {1.0}\n"
                    "const %b : float32[1,2] = {1.0, 2.0}\n"
                    "const %c : float32[3] = {1.0, 2.0, 3.0}\n"
                    "%y : ? = Gemm(%a, %b, %c)",
                    STATUS_INVALID, "does not broadcast");
}

static void batch_normalization(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,2,2] = {1.0, 2.0, 3.0, 4.0}\n"
              "const %b : float32[2] = {2.0, 1.0}\n"
              "const %c : float32[2] = {0.0, 10.0}\n"
              "const %d : float32[2] = {1.0, 3.0}\n"
              "const %e : float32[2] = {4.0, 1.0}\n"
              "%y : ? = BatchNormalization(%a, %b, %c, %d, %e) {epsilon=0.0}",
              "float32[1,2,2] = {0.0, 1.0, 10.0, 11.0}", 0);
}

static void layer_normalization(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,2] = {1.0, 3.0, 5.0, 5.0}\n"
              "const %b : float32[2] = {2.0, 3.0}\n"
              "const %c : float32[2] = {0.5, 0.0}\n"
              "%y : ?, %r : ?, %s : ? = LayerNormalization(%a, %b, %c) {epsilon=1e-12}",
              "float32[2,2] = {-1.5, 3.0, 0.5, 0.0}", 1e-06);
    ir_expect("const %a : float32[2,2] = {1.0, 3.0, 5.0, 5.0}\n"
              "const %b : float32[2] = {2.0, 3.0}\n"
              "const %c : float32[2] = {0.5, 0.0}\n"
              "%q : ?, %y : ?, %s : ? = LayerNormalization(%a, %b, %c) {epsilon=1e-12}",
              "float32[2,1] = {2.0, 5.0}", 0);
    ir_expect("const %a : float32[2,2] = {1.0, 3.0, 5.0, 5.0}\n"
              "const %b : float32[2] = {2.0, 3.0}\n"
              "const %c : float32[2] = {0.5, 0.0}\n"
              "%q : ?, %r : ?, %y : ? = LayerNormalization(%a, %b, %c) {epsilon=1e-12}",
              "float32[2,1] = {1.0, 1000000.0}", 1);
    ir_expect_type("input %a : float32[N,T,384]\n"
                   "input %b : float32[384]\n"
                   "%y : ?, %r : ? = LayerNormalization(%a, %b)",
                   "float32[N,T,384]");
    ir_expect_type("input %a : float32[N,T,384]\n"
                   "input %b : float32[384]\n"
                   "%q : ?, %y : ? = LayerNormalization(%a, %b)",
                   "float32[N,T,1]");
}

static void softmax_is_stable(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,2] = {1000.0, 0.0, 1000.0, 0.6931472}\n"
              "%y : ? = Softmax(%a) {axis=0}",
              "float32[2,2] = {0.5, 0.33333334, 0.5, 0.6666667}", 1e-06);
    ir_expect_error("input %a : float32[2,2]\n"
                    "%y : ? = Softmax(%a) {axis=2}",
                    STATUS_INVALID, "axis 2 is outside");
}

static void lp_normalization_of_zero_is_zero(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,2] = {3.0, 4.0, 0.0, 0.0}\n"
              "%y : ? = LpNormalization(%a)",
              "float32[2,2] = {0.6, 0.8, 0.0, 0.0}", 1e-06);
}

static void reduce_over_given_axes(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceSum(%a, %b) {keepdims=0}",
              "float32[2] = {9.0, 12.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceMean(%a, %b) {keepdims=0}",
              "float32[2] = {3.0, 4.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceMax(%a, %b) {keepdims=0}",
              "float32[2] = {5.0, 6.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceMin(%a, %b) {keepdims=0}",
              "float32[2] = {1.0, 2.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceProd(%a, %b) {keepdims=0}",
              "float32[2] = {15.0, 48.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceL1(%a, %b) {keepdims=0}",
              "float32[2] = {9.0, 12.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceL2(%a, %b) {keepdims=0}",
              "float32[2] = {5.91608, 7.483315}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceSumSquare(%a, %b) {keepdims=0}",
              "float32[2] = {35.0, 56.0}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceLogSum(%a, %b) {keepdims=0}",
              "float32[2] = {2.1972246, 2.4849067}", 1e-05);
    ir_expect("const %a : float32[1,3,2] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[2] = {-2, 0}\n"
              "%y : ? = ReduceLogSumExp(%a, %b) {keepdims=0}",
              "float32[2] = {5.1429315, 6.1429315}", 1e-05);
}

static void reduce_signs_and_infinities(void **state) {
    (void)state;
    ir_expect("const %x : float32[2] = {-1.0, 2.0}\n%y : ? = ReduceL1(%x)", "float32[1] = {3.0}", 0);
    ir_expect("const %x : float32[2] = {-inf, -inf}\n%y : ? = ReduceLogSumExp(%x)", "float32[1] = {-inf}", 0);
    ir_expect("const %x : float32[2] = {1000.0, 1000.0}\n%y : ? = ReduceLogSumExp(%x)", "float32[1] = {1000.69315}",
              1e-3);
    ir_expect("const %x : float32[2] = {nan, 1.0}\n%y : ? = ReduceMax(%x)", "float32[1] = {nan}", 0);
}

static void reduce_integers_and_empty_sets(void **state) {
    (void)state;
    ir_expect("const %a : int64[2] = {9223372036854775807, 2}\n"
              "%y : ? = ReduceSum(%a)",
              "int64[1] = {-9223372036854775807}", 0);
    ir_expect("const %a : int32[0] = {}\n"
              "%y : ? = ReduceMax(%a)",
              "int32[1] = {-2147483648}", 0);
    ir_expect("const %a : uint64[2] = {18446744073709551615, 7}\n"
              "%y : ? = ReduceMin(%a)",
              "uint64[1] = {7}", 0);
    ir_expect_error("const %a : int32[0] = {}\n"
                    "%y : ? = ReduceMean(%a)",
                    STATUS_INVALID, "mean of no integers");
}

static void reduce_types(void **state) {
    (void)state;
    ir_expect_type("input %a : float32[N,C,H,W]\n"
                   "const %b : int64[2] = {2, 3}\n"
                   "%y : ? = ReduceMean(%a, %b)",
                   "float32[N,C,1,1]");
    /* no axes, and they mean nothing */
    ir_expect_type("input %a : float32[N,C]\n"
                   "%y : ? = ReduceMean(%a) {noop_with_empty_axes=1}",
                   "float32[N,C]");
    ir_expect_type("input %a : float32[N,C,H]\n"
                   "%y : ? = ArgMax(%a) {axis=1, keepdims=0}",
                   "int64[N,H]");
}

static void arg_max_takes_the_first_of_equals(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,3] = {1.0, 5.0, 5.0, -1.0, -2.0, -1.0}\n"
              "%y : ? = ArgMax(%a) {axis=1, select_last_index=0}",
              "int64[2,1] = {1, 0}", 0);
    ir_expect("const %a : float32[2,3] = {1.0, 5.0, 5.0, -1.0, -2.0, -1.0}\n"
              "%y : ? = ArgMax(%a) {axis=1, select_last_index=1}",
              "int64[2,1] = {2, 2}", 0);
}

static void top_k_orders_negatives_and_ties(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,5] = {-1.0, 2.0, -3.0, 2.0, -0.5}\n"
              "const %b : int64[1] = {4}\n"
              "%y : ?, %r : ? = TopK(%a, %b)",
              "float32[1,4] = {2.0, 2.0, -0.5, -1.0}", 0);
    ir_expect("const %a : float32[1,5] = {-1.0, 2.0, -3.0, 2.0, -0.5}\n"
              "const %b : int64[1] = {4}\n"
              "%q : ?, %y : ? = TopK(%a, %b)",
              "int64[1,4] = {1, 3, 4, 0}", 0);
    ir_expect("const %a : int8[3] = {5, -128, 0}\n"
              "const %b : int64[1] = {2}\n"
              "%y : ?, %r : ? = TopK(%a, %b) {largest=0}",
              "int8[2] = {-128, 0}", 0);
    ir_expect("const %a : int8[3] = {5, -128, 0}\n"
              "const %b : int64[1] = {2}\n"
              "%q : ?, %y : ? = TopK(%a, %b) {largest=0}",
              "int64[2] = {1, 2}", 0);
    ir_expect_error("input %a : float32[N,3]\n"
                    "const %b : int64[1] = {4}\n"
                    "%y : ?, %r : ? = TopK(%a, %b)",
                    STATUS_INVALID, "k is 4, axis 1 has only 3");
}

static void cum_sum_from_the_end(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,3] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\n"
              "const %b : int64[] = {1}\n"
              "%y : ? = CumSum(%a, %b) {exclusive=1, reverse=1}",
              "float32[2,3] = {5.0, 3.0, 0.0, 11.0, 6.0, 0.0}", 0);
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
        cmocka_unit_test(reduce_signs_and_infinities),
        cmocka_unit_test(reduce_integers_and_empty_sets),
        cmocka_unit_test(reduce_types),
        cmocka_unit_test(arg_max_takes_the_first_of_equals),
        cmocka_unit_test(top_k_orders_negatives_and_ties),
        cmocka_unit_test(cum_sum_from_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
