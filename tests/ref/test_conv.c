/* Convolutions and pools: hand-checked values, shapes with symbols, attributes that models get wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

static void conv_with_bias_pads_and_stride(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,1,3,3] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0}\n"
              "const %b : float32[1,1,2,2] = {1.0, 10.0, 100.0, 1000.0}\n"
              "const %c : float32[1] = {0.5}\n"
              "%y : ? = Conv(%a, %b, %c) {pads=[1, 1, 0, 0], strides=[2, 2]}",
              "float32[1,1,2,2] = {1000.5, 3200.5, 7040.5, 9865.5}", 0);
}

static void conv_groups_and_dilation(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,2,4] = {1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0}\n"
              "const %b : float32[2,1,2] = {1.0, -1.0, 2.0, 1.0}\n"
              "%y : ? = Conv(%a, %b) {group=2, dilations=[2]}",
              "float32[1,2,2] = {-2.0, -2.0, 50.0, 80.0}", 0);
}

static void conv_same_pads_put_the_odd_one_where_asked(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,1,3] = {1.0, 2.0, 3.0}\n"
              "const %b : float32[1,1,2] = {1.0, 10.0}\n"
              "%y : ? = Conv(%a, %b) {auto_pad=\"SAME_UPPER\"}",
              "float32[1,1,3] = {21.0, 32.0, 3.0}", 0);
    ir_expect("const %a : float32[1,1,3] = {1.0, 2.0, 3.0}\n"
              "const %b : float32[1,1,2] = {1.0, 10.0}\n"
              "%y : ? = Conv(%a, %b) {auto_pad=\"SAME_LOWER\"}",
              "float32[1,1,3] = {10.0, 21.0, 32.0}", 0);
}

static void conv_of_float16_and_float64(void **state) {
    (void)state;
    ir_expect("const %a : float16[1,1,2] = {1.0, 2.0}\n"
              "const %b : float16[1,1,1] = {3.0}\n"
              "%y : ? = Conv(%a, %b)",
              "float16[1,1,2] = {3.0, 6.0}", 0);
    ir_expect("const %a : float64[1,1,1] = {0.3333333333333333}\n"
              "const %b : float64[1,1,1] = {3.0}\n"
              "%y : ? = Conv(%a, %b)",
              "float64[1,1,1] = {1.0}", 1e-15);
}

static void conv_carries_symbols(void **state) {
    (void)state;
    ir_expect_type("input %a : float32[N,3,H,W]\n"
                   "input %b : float32[64,3,3,3]\n"
                   "%y : ? = Conv(%a, %b) {pads=[1, 1, 1, 1]}",
                   "float32[N,64,H,W]");
    ir_expect_type("input %a : float32[N,3,H,224]\n"
                   "input %b : float32[64,3,3,3]\n"
                   "%y : ? = Conv(%a, %b) {auto_pad=\"SAME_UPPER\", strides=[2, 2]}",
                   "float32[N,64,(H ^/ 2),112]");
    ir_expect_type("input %a : float32[...]\n"
                   "input %b : float32[64,3,3,3]\n"
                   "%y : ? = Conv(%a, %b)",
                   "float32[...]");
}

static void conv_refuses_what_does_not_fit(void **state) {
    (void)state;
    ir_expect_error("input %a : float32[1,3,8,8]\n"
                    "input %b : float32[4,2,3,3]\n"
                    "%y : ? = Conv(%a, %b)",
                    STATUS_INVALID, "made for 2 input channels, the input has 3");
    ir_expect_error("input %a : float32[1,2,2,2]\n"
                    "input %b : float32[4,2,3,3]\n"
                    "%y : ? = Conv(%a, %b)",
                    STATUS_INVALID, "larger than the padded input");
    ir_expect_error("input %a : float32[1,2,8,8]\n"
                    "input %b : float32[4,2,3,3]\n"
                    "%y : ? = Conv(%a, %b) {strides=[0, 1]}",
                    STATUS_INVALID, "strides");
    ir_expect_error("input %a : float32[1,2,8,8]\n"
                    "input %b : float32[4,2,3,3]\n"
                    "%y : ? = Conv(%a, %b) {group=0}",
                    STATUS_INVALID, "group must be positive");
    /* 2^31 cells of padding on three axes */
    ir_expect_error(
        "const %a : float32[1,1,1,1,1] = {1.0}\n"
        "const %b : float32[1,1,1,1,1] = {1.0}\n"
        "%y : ? = Conv(%a, %b) {pads=[2147483647, 2147483647, 2147483647, 2147483647, 2147483647, 2147483647]}",
        STATUS_INVALID, "too large");
}

static void conv_transpose_spreads(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,1,2] = {1.0, 2.0}\n"
              "const %b : float32[1,2,3] = {1.0, 10.0, 100.0, 2.0, 20.0, 200.0}\n"
              "const %c : float32[2] = {0.0, 1.0}\n"
              "%y : ? = ConvTranspose(%a, %b, %c) {strides=[2], output_padding=[1]}",
              "float32[1,2,6] = {1.0, 10.0, 102.0, 20.0, 200.0, 0.0, 3.0, 21.0, 205.0, 41.0, 401.0, 1.0}", 0);
    ir_expect_type("input %a : float32[N,16,H,W]\n"
                   "input %b : float32[16,8,4,4]\n"
                   "%y : ? = ConvTranspose(%a, %b) {strides=[2, 2], pads=[1, 1, 1, 1], group=2}",
                   "float32[N,16,(H * 2),(W * 2)]");
}

static void max_pool_with_indices_and_ceil(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,2,3,3] = {1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 8.0, 7.0, 6.0, 5.0, "
              "4.0, 3.0, 2.0, 1.0}\n"
              "%y : ?, %r : ? = MaxPool(%a) {kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1}",
              "float32[1,2,2,2] = {9.0, 5.0, 7.0, 8.0, 9.0, 7.0, 3.0, 1.0}", 0);
    ir_expect("const %a : float32[1,2,3,3] = {1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 8.0, 7.0, 6.0, 5.0, "
              "4.0, 3.0, 2.0, 1.0}\n"
              "%q : ?, %y : ? = MaxPool(%a) {kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1}",
              "int64[1,2,2,2] = {1, 5, 7, 8, 9, 11, 15, 17}", 0);
}

static void max_pool_of_int8_pads_with_the_lowest(void **state) {
    (void)state;
    ir_expect("const %a : int8[1,1,2] = {-128, -7}\n"
              "%y : ? = MaxPool(%a) {kernel_shape=[2], pads=[1, 1]}",
              "int8[1,1,3] = {-128, -7, -7}", 0);
}

static void max_pool_passes_nan(void **state) {
    (void)state;
    ir_expect("const %x : float32[1,1,3] = {1.0, nan, 2.0}\n%y : ? = MaxPool(%x) {kernel_shape=[2]}",
              "float32[1,1,2] = {nan, nan}", 0);
}

static void conv_transpose_groups(void **state) {
    (void)state;
    ir_expect("const %x : float32[1,2,1] = {1.0, 10.0}\nconst %w : float32[2,2,1] = {1.0, 2.0, 3.0, 4.0}\n"
              "%y : ? = ConvTranspose(%x, %w) {group=2}",
              "float32[1,4,1] = {1.0, 2.0, 30.0, 40.0}", 0);
}

/* A window that would start behind the input does not count. */
static void ceil_mode_ends_in_time(void **state) {
    (void)state;
    ir_expect("const %x : float32[1,1,2] = {1.0, 2.0}\n"
              "%y : ? = AveragePool(%x) {kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1}",
              "float32[1,1,1] = {1.5}", 0);
    ir_expect_type("input %x : float32[N,3,H]\n"
                   "%y : ? = MaxPool(%x) {kernel_shape=[2], strides=[2], ceil_mode=1}",
                   "float32[N,3,(H ^/ 2)]");
}

static void average_pool_counts(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,1,5] = {1.0, 1.0, 2.0, 4.5, 3.5}\n"
              "%y : ? = AveragePool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=0}",
              "float32[1,1,3] = {1.0, 2.5, 4.0}", 1e-06);
    ir_expect("const %a : float32[1,1,5] = {1.0, 1.0, 2.0, 4.5, 3.5}\n"
              "%y : ? = AveragePool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1}",
              "float32[1,1,3] = {0.6666667, 2.5, 2.6666667}", 1e-06);
}

static void pool_symbols(void **state) {
    (void)state;
    ir_expect_type("input %a : float32[N,C,H]\n"
                   "%y : ?, %r : ? = MaxPool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1]}",
                   "float32[N,C,((H + 1) / 2)]");
    ir_expect_type("input %a : float32[N,C,H]\n"
                   "%q : ?, %y : ? = MaxPool(%a) {kernel_shape=[3], strides=[2], pads=[1, 1]}",
                   "int64[N,C,((H + 1) / 2)]");
    ir_expect_type("input %a : float32[N,C,H,W]\n"
                   "%y : ? = GlobalAveragePool(%a)",
                   "float32[N,C,1,1]");
}

static void global_pools(void **state) {
    (void)state;
    ir_expect("const %a : float32[1,2,1,2] = {3.0, 4.0, -4.0, 3.0}\n"
              "%y : ? = GlobalAveragePool(%a)",
              "float32[1,2,1,1] = {3.5, -0.5}", 1e-06);
    ir_expect("const %a : float32[1,2,1,2] = {3.0, 4.0, -4.0, 3.0}\n"
              "%y : ? = GlobalMaxPool(%a)",
              "float32[1,2,1,1] = {4.0, 3.0}", 1e-06);
    ir_expect("const %a : float32[1,2,1,2] = {3.0, 4.0, -4.0, 3.0}\n"
              "%y : ? = GlobalLpPool(%a)",
              "float32[1,2,1,1] = {5.0, 5.0}", 1e-06);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_with_bias_pads_and_stride),
        cmocka_unit_test(conv_groups_and_dilation),
        cmocka_unit_test(conv_same_pads_put_the_odd_one_where_asked),
        cmocka_unit_test(conv_of_float16_and_float64),
        cmocka_unit_test(conv_carries_symbols),
        cmocka_unit_test(conv_refuses_what_does_not_fit),
        cmocka_unit_test(conv_transpose_spreads),
        cmocka_unit_test(max_pool_with_indices_and_ceil),
        cmocka_unit_test(max_pool_of_int8_pads_with_the_lowest),
        cmocka_unit_test(max_pool_passes_nan),
        cmocka_unit_test(conv_transpose_groups),
        cmocka_unit_test(ceil_mode_ends_in_time),
        cmocka_unit_test(average_pool_counts),
        cmocka_unit_test(pool_symbols),
        cmocka_unit_test(global_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
