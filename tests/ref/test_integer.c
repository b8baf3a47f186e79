/* pare's integer ops against docs/numerics.md, worked out by hand, with saturation at both ends and ties; and the
 * standard quantization ops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

static void q_conv_rounds_ties_to_even(void **state) {
    (void)state;
    /* codes minus 10: 1 3 5 -1 -3 -5 */
    ir_expect("const %a : uint8[1,1,6] = {11, 13, 15, 9, 7, 5}\n"
              "const %b : int8[1,1,1] = {1}\n"
              "const %c : int32[1] = {0}\n"
              "const %d : float32[1] = {0.5}\n"
              "%y : ? = pare.QConv(%a, %b, %c, %d) {x_zero_point=10, y_elem=3, y_zero_point=100, lo=-128, hi=127}",
              "int8[1,1,6] = {100, 102, 102, 100, 98, 98}", 0);
}

static void q_conv_saturates_and_clamps(void **state) {
    (void)state;
    /* channel 1: acc -32505, 32775, 7 */
    ir_expect("const %a : uint8[1,2,3] = {255, 0, 128, 255, 0, 128}\n"
              "const %b : int8[2,2,1] = {127, 127, -128, -128}\n"
              "const %c : int32[2] = {0, 7}\n"
              "const %d : float32[2] = {1.0, 0.001}\n"
              "%y : ? = pare.QConv(%a, %b, %c, %d) {x_zero_point=128, y_elem=2, y_zero_point=20, lo=10, hi=200}",
              "uint8[1,2,3] = {200, 10, 20, 10, 53, 20}", 0);
}

static void q_conv_pads_with_the_zero_point(void **state) {
    (void)state;
    /* padding stands for the zero point, so it adds nothing */
    ir_expect("const %a : uint8[1,1,1] = {7}\n"
              "const %b : int8[1,1,3] = {100, 1, 100}\n"
              "const %c : int32[1] = {3}\n"
              "const %d : float32[1] = {1.0}\n"
              "%y : ? = pare.QConv(%a, %b, %c, %d) {pads=[1, 1], x_zero_point=5, y_elem=1, y_zero_point=0, lo=0, hi=0}",
              "float32[1,1,1] = {5.0}", 0);
}

static void q_conv_types(void **state) {
    (void)state;
    ir_expect_type("input %a : uint8[N,8,H,W]\n"
                   "input %b : int8[16,2,3,3]\n"
                   "input %c : int32[16]\n"
                   "input %d : float32[16]\n"
                   "%y : ? = pare.QConv(%a, %b, %c, %d) {group=4, pads=[1, 1, 1, 1], y_elem=3}",
                   "int8[N,16,H,W]");
    ir_expect_error("input %a : float32[N,8,H,W]\n"
                    "input %b : int8[16,8,3,3]\n"
                    "input %c : int32[16]\n"
                    "input %d : float32[16]\n"
                    "%y : ? = pare.QConv(%a, %b, %c, %d)",
                    STATUS_INVALID, "must be uint8 or int8, it is float32");
}

static void q_conv_converts_the_accumulator_first(void **state) {
    (void)state;
    /* 2^24 + 1 has no float; the nearest even is 2^24 */
    ir_expect("const %a : uint8[1,1,1] = {1}\n"
              "const %b : int8[1,1,1] = {1}\n"
              "const %c : int32[1] = {16777216}\n"
              "const %d : float32[1] = {1.0}\n"
              "%y : ? = pare.QConv(%a, %b, %c, %d) {y_elem=1, y_zero_point=0, lo=0, hi=0}",
              "float32[1,1,1] = {16777216.0}", 0);
}

static void q_matmul_with_both_zero_points(void **state) {
    (void)state;
    /* b - 3 = [-3 252; -1 0], a + 1 = [-127 128; 1 2]; acc with bias: 353 -32104 95 152 */
    ir_expect("const %a : int8[2,2] = {-128, 127, 0, 1}\n"
              "const %b : uint8[2,2] = {0, 255, 2, 3}\n"
              "const %c : int32[2] = {100, -100}\n"
              "const %d : float32[1] = {0.25}\n"
              "%y : ? = pare.QMatMul(%a, %b, %c, %d) {trans_b=0, a_zero_point=-1, b_zero_point=3, y_elem=3, "
              "y_zero_point=-3, lo=-128, hi=127}",
              "int8[2,2] = {85, -128, 21, 35}", 0);
    ir_expect("const %a : int8[2,2] = {-128, 127, 0, 1}\n"
              "const %b : uint8[2,2] = {0, 2, 255, 3}\n"
              "const %c : int32[2] = {100, -100}\n"
              "const %d : float32[1] = {0.25}\n"
              "%y : ? = pare.QMatMul(%a, %b, %c, %d) {trans_b=1, a_zero_point=-1, b_zero_point=3, y_elem=3, "
              "y_zero_point=-3, lo=-128, hi=127}",
              "int8[2,2] = {85, -128, 21, 35}", 0);
}

static void q_matmul_without_bias_or_multiplier(void **state) {
    (void)state;
    ir_expect("const %a : uint8[1,2] = {255, 255}\n"
              "const %b : uint8[2,1] = {255, 255}\n"
              "const %d : float32[1] = {1.0}\n"
              "%y : ? = pare.QMatMul(%a, %b, _, %d) {y_elem=1, y_zero_point=0, lo=0, hi=0}",
              "float32[1,1] = {130050.0}", 0);
    /* modulo 2^32 */
    ir_expect("const %a : int8[1,1] = {-128}\n"
              "const %b : int8[1,1] = {-128}\n"
              "const %c : int32[1] = {2147467264}\n"
              "const %d : float32[1] = {1.0}\n"
              "%y : ? = pare.QMatMul(%a, %b, %c, %d) {y_elem=6}",
              "int32[1,1] = {-2147483648}", 0);
    ir_expect_error("input %a : uint8[1,2]\n"
                    "input %b : uint8[2,1]\n"
                    "%y : ? = pare.QMatMul(%a, %b)",
                    STATUS_INVALID, "required input 3");
}

static void q_add_and_q_mul_broadcast_and_saturate(void **state) {
    (void)state;
    /* -64 - 128, 63.5 + 127, -128, 1 + 127 */
    ir_expect("const %a : uint8[2,2] = {0, 255, 128, 130}\n"
              "const %b : int8[2] = {-128, 127}\n"
              "%y : ? = pare.QAdd(%a, %b) {a_zero_point=128, a_mult=0.5, b_mult=1.0, y_elem=2, y_zero_point=128, lo=0, "
              "hi=255}",
              "uint8[2,2] = {0, 255, 0, 255}", 0);
    /* acc 16770, -16380, -260 */
    ir_expect("const %a : int8[3] = {-128, 127, 3}\n"
              "const %b : int8[1] = {-128}\n"
              "%y : ? = pare.QMul(%a, %b) {a_zero_point=1, b_zero_point=2, mult=0.005, y_elem=3, y_zero_point=5, "
              "lo=-100, hi=127}",
              "int8[3] = {89, -77, 4}", 0);
}

static void q_lut_indexes_by_bits(void **state) {
    (void)state;
    Buf b = {0};
    buf_puts(&b, "const %a : int8[4] = {0, 1, -1, -128}\nconst %b : uint8[256] = {255");
    for (int i = 1; i < 256; i++) buf_printf(&b, ", %d", 255 - i);
    buf_puts(&b, "}\n%y : ? = pare.QLut(%a, %b)");
    assert_false(b.failed);
    ir_expect(b.data, "uint8[4] = {255, 254, 0, 127}", 0);
    buf_free(&b);
}

static void q_average_pools(void **state) {
    (void)state;
    /* sums 4 49 63 over 2 3 2 */
    ir_expect("const %a : uint8[1,1,5] = {10, 14, 25, 40, 43}\n"
              "%y : ? = pare.QAveragePool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=0, "
              "x_zero_point=10, mult=0.6666667, y_elem=2, y_zero_point=0, lo=0, hi=255}",
              "uint8[1,1,3] = {1, 11, 21}", 0);
    /* over 3 3 3 */
    ir_expect("const %a : uint8[1,1,5] = {10, 14, 25, 40, 43}\n"
              "%y : ? = pare.QAveragePool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1, "
              "x_zero_point=10, mult=0.6666667, y_elem=2, y_zero_point=0, lo=0, hi=255}",
              "uint8[1,1,3] = {1, 11, 14}", 0);
    /* 254 gives 127, -0.5 gives 0 */
    ir_expect(
        "const %a : uint8[1,2,1,2] = {255, 255, 0, 1}\n"
        "%y : ? = pare.QGlobalAveragePool(%a) {x_zero_point=1, mult=0.5, y_elem=3, y_zero_point=0, lo=-128, hi=127}",
        "int8[1,2,1,1] = {127, 0}", 0);
}

static void quantize_rounds_and_saturates(void **state) {
    (void)state;
    ir_expect("const %a : float32[7] = {0.25, 0.75, -0.25, 1000000000.0, -1000000000.0, inf, nan}\n"
              "const %b : float32[] = {0.5}\n"
              "const %c : int8[] = {3}\n"
              "%y : ? = QuantizeLinear(%a, %b, %c)",
              "int8[7] = {3, 5, 3, 127, -128, 127, 3}", 0);
}

static void quantize_per_axis_and_blocked(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,2] = {1.0, 1.0, 1.0, 1.0}\n"
              "const %b : float32[2] = {0.5, 0.25}\n"
              "const %c : uint8[2] = {0, 100}\n"
              "%y : ? = QuantizeLinear(%a, %b, %c)",
              "uint8[2,2] = {2, 104, 2, 104}", 0);
    /* 7 -8 -1 1 in blocks of two */
    ir_expect("const %a : int4[1,4] = {7, -8, -1, 1}\n"
              "const %b : float32[1,2] = {1.0, 10.0}\n"
              "%y : ? = DequantizeLinear(%a, %b) {block_size=2}",
              "float32[1,4] = {7.0, -8.0, -10.0, 10.0}", 0);
    ir_expect_error("const %a : int8[1,4] = {1, 2, 3, 4}\n"
                    "const %b : float32[3] = {1.0, 10.0, 100.0}\n"
                    "%y : ? = DequantizeLinear(%a, %b)",
                    STATUS_INVALID, "there are 3 scales, axis 1 has 4 elements");
}

static void qlinear_conv_equals_its_parts(void **state) {
    (void)state;
    /* 63.5 (rounds up to even), -64, -126.5, 128.5 */
    ir_expect("const %a : uint8[1,1,2] = {255, 0}\n"
              "const %b : float32[] = {0.1}\n"
              "const %c : uint8[] = {128}\n"
              "const %d : int8[2,1,1] = {100, -100}\n"
              "const %e : float32[2] = {0.01, 0.02}\n"
              "const %f : int8[2] = {0, 0}\n"
              "const %g : float32[] = {0.2}\n"
              "const %h : uint8[] = {10}\n"
              "const %i : int32[2] = {0, 50}\n"
              "%y : ? = QLinearConv(%a, %b, %c, %d, %e, %f, %g, %h, %i)",
              "uint8[1,2,2] = {74, 0, 0, 138}", 0);
}

static void integer_products(void **state) {
    (void)state;
    ir_expect("const %a : uint8[2,2] = {11, 7, 3, 10}\n"
              "const %b : int8[2,1] = {1, -4}\n"
              "const %c : uint8[] = {12}\n"
              "%y : ? = MatMulInteger(%a, %b, %c)",
              "int32[2,1] = {19, -1}", 0);
    ir_expect("const %a : uint8[1,1,2] = {2, 3}\n"
              "const %b : uint8[1,1,2] = {4, 5}\n"
              "const %c : uint8[] = {1}\n"
              "const %d : uint8[] = {3}\n"
              "%y : ? = ConvInteger(%a, %b, %c, %d) {pads=[1, 0]}",
              "int32[1,1,2] = {2, 5}", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q_conv_rounds_ties_to_even),
        cmocka_unit_test(q_conv_saturates_and_clamps),
        cmocka_unit_test(q_conv_pads_with_the_zero_point),
        cmocka_unit_test(q_conv_types),
        cmocka_unit_test(q_conv_converts_the_accumulator_first),
        cmocka_unit_test(q_matmul_with_both_zero_points),
        cmocka_unit_test(q_matmul_without_bias_or_multiplier),
        cmocka_unit_test(q_add_and_q_mul_broadcast_and_saturate),
        cmocka_unit_test(q_lut_indexes_by_bits),
        cmocka_unit_test(q_average_pools),
        cmocka_unit_test(quantize_rounds_and_saturates),
        cmocka_unit_test(quantize_per_axis_and_blocked),
        cmocka_unit_test(qlinear_conv_equals_its_parts),
        cmocka_unit_test(integer_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
