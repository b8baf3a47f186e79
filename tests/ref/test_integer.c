/* pare's integer ops against docs/numerics.md, worked out by hand, with saturation at both ends and ties; and the
 * standard quantization ops. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/op_case.h"

#define F(...)   ((const float[]){__VA_ARGS__})
#define U8(...)  ((const uint8_t[]){__VA_ARGS__})
#define I8(...)  ((const int8_t[]){__VA_ARGS__})
#define I32(...) ((const int32_t[]){__VA_ARGS__})

static void set_output(OpCase *c, ElemType e, int zp, int lo, int hi) {
    op_int(c, "y_elem", e);
    op_int(c, "y_zero_point", zp);
    op_int(c, "lo", lo);
    op_int(c, "hi", hi);
}

static void q_conv_rounds_ties_to_even(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QConv", 1);
    op_in(&c, ELEM_U8, "1,1,6", U8(11, 13, 15, 9, 7, 5)); /* minus 10: 1 3 5 -1 -3 -5 */
    op_const(&c, ELEM_I8, "1,1,1", I8(1));
    op_const(&c, ELEM_I32, "1", I32(0));
    op_const(&c, ELEM_F32, "1", F(0.5f));
    op_ready(&c);
    op_int(&c, "x_zero_point", 10);
    set_output(&c, ELEM_I8, 100, -128, 127);
    op_expect(&c, 0, ELEM_I8, "1,1,6", I8(100, 102, 102, 100, 98, 98), 0);
    op_case_free(&c);
}

static void q_conv_saturates_and_clamps(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QConv", 1);
    op_in(&c, ELEM_U8, "1,2,3", U8(255, 0, 128, 255, 0, 128));
    op_const(&c, ELEM_I8, "2,2,1", I8(127, 127, -128, -128));
    op_const(&c, ELEM_I32, "2", I32(0, 7));
    op_const(&c, ELEM_F32, "2", F(1, 0.001f));
    op_ready(&c);
    op_int(&c, "x_zero_point", 128);
    set_output(&c, ELEM_U8, 20, 10, 200); /* channel 1: acc -32505, 32775, 7 */
    op_expect(&c, 0, ELEM_U8, "1,2,3", U8(200, 10, 20, 10, 53, 20), 0);
    op_case_free(&c);
}

/* Padding stands for the zero point, so it adds nothing. */
static void q_conv_pads_with_the_zero_point(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QConv", 1);
    op_in(&c, ELEM_U8, "1,1,1", U8(7));
    op_const(&c, ELEM_I8, "1,1,3", I8(100, 1, 100));
    op_const(&c, ELEM_I32, "1", I32(3));
    op_const(&c, ELEM_F32, "1", F(1));
    op_ready(&c);
    op_ints(&c, "pads", 2, (const int64_t[]){1, 1});
    op_int(&c, "x_zero_point", 5);
    set_output(&c, ELEM_F32, 0, 0, 0);
    op_expect(&c, 0, ELEM_F32, "1,1,1", F(5), 0);
    op_case_free(&c);
}

static void q_conv_types(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QConv", 1);
    op_in_type(&c, ELEM_U8, "N,8,H,W");
    op_in_type(&c, ELEM_I8, "16,2,3,3");
    op_in_type(&c, ELEM_I32, "16");
    op_in_type(&c, ELEM_F32, "16");
    op_ready(&c);
    op_int(&c, "group", 4);
    op_ints(&c, "pads", 4, (const int64_t[]){1, 1, 1, 1});
    op_int(&c, "y_elem", ELEM_I8);
    op_expect_type(&c, 0, "int8[N,16,H,W]");
    op_case_free(&c);
    OpCase f = op_case("pare", "QConv", 1);
    op_in_type(&f, ELEM_F32, "N,8,H,W");
    op_in_type(&f, ELEM_I8, "16,8,3,3");
    op_in_type(&f, ELEM_I32, "16");
    op_in_type(&f, ELEM_F32, "16");
    op_ready(&f);
    op_expect_error(&f, STATUS_INVALID, "must be uint8 or int8, it is float32");
    op_case_free(&f);
}

/* An accumulator of 2^24 + 1 has no float; the nearest even is 2^24. */
static void q_conv_converts_the_accumulator_first(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QConv", 1);
    op_in(&c, ELEM_U8, "1,1,1", U8(1));
    op_const(&c, ELEM_I8, "1,1,1", I8(1));
    op_const(&c, ELEM_I32, "1", I32(1 << 24));
    op_const(&c, ELEM_F32, "1", F(1));
    op_ready(&c);
    set_output(&c, ELEM_F32, 0, 0, 0);
    op_expect(&c, 0, ELEM_F32, "1,1,1", F(0x1p24f), 0);
    op_case_free(&c);
}

static void q_matmul_with_both_zero_points(void **state) {
    (void)state;
    for (int trans = 0; trans < 2; trans++) {
        OpCase c = op_case("pare", "QMatMul", 1);
        op_in(&c, ELEM_I8, "2,2", I8(-128, 127, 0, 1));
        op_in(&c, ELEM_U8, "2,2", trans ? U8(0, 2, 255, 3) : U8(0, 255, 2, 3));
        op_in(&c, ELEM_I32, "2", I32(100, -100));
        op_in(&c, ELEM_F32, "1", F(0.25f));
        op_ready(&c);
        op_int(&c, "trans_b", trans);
        op_int(&c, "a_zero_point", -1);
        op_int(&c, "b_zero_point", 3);
        set_output(&c, ELEM_I8, -3, -128, 127); /* b - 3 = [-3 252; -1 0]; a + 1 = [-127 128; 1 2]; acc + bias below */
        op_expect(&c, 0, ELEM_I8, "2,2", I8(85, -128, 21, 35), 0); /* 353 -32104 95 152 */
        op_case_free(&c);
    }
}

static void q_matmul_without_bias_or_multiplier(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QMatMul", 1);
    op_in(&c, ELEM_U8, "1,2", U8(255, 255));
    op_in(&c, ELEM_U8, "2,1", U8(255, 255));
    op_in_absent(&c);
    op_in(&c, ELEM_F32, "1", F(1));
    op_ready(&c);
    set_output(&c, ELEM_F32, 0, 0, 0);
    op_expect(&c, 0, ELEM_F32, "1,1", F(130050), 0);
    op_case_free(&c);
    OpCase a = op_case("pare", "QMatMul", 1);
    op_in(&a, ELEM_I8, "1,1", I8(-128));
    op_in(&a, ELEM_I8, "1,1", I8(-128));
    op_in(&a, ELEM_I32, "1", I32(INT32_MAX - 16383));
    op_in(&a, ELEM_F32, "1", F(1));
    op_ready(&a);
    op_int(&a, "y_elem", ELEM_I32);
    op_expect(&a, 0, ELEM_I32, "1,1", I32(INT32_MIN), 0); /* modulo 2^32 */
    op_case_free(&a);
    OpCase m = op_case("pare", "QMatMul", 1);
    op_in_type(&m, ELEM_U8, "1,2");
    op_in_type(&m, ELEM_U8, "2,1");
    op_ready(&m);
    op_expect_error(&m, STATUS_INVALID, "required input 3");
    op_case_free(&m);
}

static void q_add_and_q_mul_broadcast_and_saturate(void **state) {
    (void)state;
    OpCase c = op_case("pare", "QAdd", 1);
    op_in(&c, ELEM_U8, "2,2", U8(0, 255, 128, 130));
    op_in(&c, ELEM_I8, "2", I8(-128, 127));
    op_ready(&c);
    op_int(&c, "a_zero_point", 128);
    op_float(&c, "a_mult", 0.5f);
    op_float(&c, "b_mult", 1.0f);
    set_output(&c, ELEM_U8, 128, 0, 255); /* -64-128, 63.5+127, -128, 1+127 */
    op_expect(&c, 0, ELEM_U8, "2,2", U8(0, 255, 0, 255), 0);
    op_case_free(&c);
    OpCase m = op_case("pare", "QMul", 1);
    op_in(&m, ELEM_I8, "3", I8(-128, 127, 3));
    op_in(&m, ELEM_I8, "1", I8(-128));
    op_ready(&m);
    op_int(&m, "a_zero_point", 1);
    op_int(&m, "b_zero_point", 2);
    op_float(&m, "mult", 0.005f);
    set_output(&m, ELEM_I8, 5, -100, 127); /* 16770, -16380, -260 */
    op_expect(&m, 0, ELEM_I8, "3", I8(89, -77, 4), 0);
    op_case_free(&m);
}

static void q_lut_indexes_by_bits(void **state) {
    (void)state;
    uint8_t table[256];
    for (int i = 0; i < 256; i++) table[i] = (uint8_t)(255 - i);
    OpCase c = op_case("pare", "QLut", 1);
    op_in(&c, ELEM_I8, "4", I8(0, 1, -1, -128));
    op_const(&c, ELEM_U8, "256", table);
    op_ready(&c);
    op_expect(&c, 0, ELEM_U8, "4", U8(255, 254, 0, 127), 0);
    op_case_free(&c);
}

static void q_average_pools(void **state) {
    (void)state;
    const uint8_t want[2][3] = {{1, 11, 21}, {1, 11, 14}}; /* sums 4, 49, 63 over 2 3 2, or over 3 3 3 */
    for (int include = 0; include < 2; include++) {
        OpCase c = op_case("pare", "QAveragePool", 1);
        op_in(&c, ELEM_U8, "1,1,5", U8(10, 14, 25, 40, 43));
        op_ready(&c);
        op_ints(&c, "kernel_shape", 1, (const int64_t[]){3});
        op_ints(&c, "strides", 1, (const int64_t[]){2});
        op_ints(&c, "pads", 2, (const int64_t[]){1, 1});
        op_int(&c, "count_include_pad", include);
        op_int(&c, "x_zero_point", 10);
        op_float(&c, "mult", 2.0f / 3);
        set_output(&c, ELEM_U8, 0, 0, 255);
        op_expect(&c, 0, ELEM_U8, "1,1,3", want[include], 0);
        op_case_free(&c);
    }
    OpCase g = op_case("pare", "QGlobalAveragePool", 1);
    op_in(&g, ELEM_U8, "1,2,1,2", U8(255, 255, 0, 1));
    op_ready(&g);
    op_int(&g, "x_zero_point", 1);
    op_float(&g, "mult", 0.5f);
    set_output(&g, ELEM_I8, 0, -128, 127);
    op_expect(&g, 0, ELEM_I8, "1,2,1,1", I8(127, 0), 0); /* 254 -> 127, -0.5 -> 0 */
    op_case_free(&g);
}

static void quantize_rounds_and_saturates(void **state) {
    (void)state;
    OpCase c = op_case("", "QuantizeLinear", 1);
    op_in(&c, ELEM_F32, "7", F(0.25f, 0.75f, -0.25f, 1e9f, -1e9f, INFINITY, NAN));
    op_const(&c, ELEM_F32, "", F(0.5f));
    op_const(&c, ELEM_I8, "", I8(3));
    op_ready(&c);
    op_expect(&c, 0, ELEM_I8, "7", I8(3, 5, 3, 127, -128, 127, 3), 0);
    op_case_free(&c);
}

static void quantize_per_axis_and_blocked(void **state) {
    (void)state;
    OpCase c = op_case("", "QuantizeLinear", 1);
    op_in(&c, ELEM_F32, "2,2", F(1, 1, 1, 1));
    op_const(&c, ELEM_F32, "2", F(0.5f, 0.25f));
    op_const(&c, ELEM_U8, "2", U8(0, 100));
    op_ready(&c);
    op_expect(&c, 0, ELEM_U8, "2,2", U8(2, 104, 2, 104), 0);
    op_case_free(&c);
    OpCase b = op_case("", "DequantizeLinear", 1);
    op_in(&b, ELEM_I4, "1,4", U8(0x87, 0x1f)); /* 7 -8 -1 1 */
    op_const(&b, ELEM_F32, "1,2", F(1, 10));
    op_ready(&b);
    op_int(&b, "block_size", 2);
    op_expect(&b, 0, ELEM_F32, "1,4", F(7, -8, -10, 10), 0);
    op_case_free(&b);
    OpCase w = op_case("", "DequantizeLinear", 1);
    op_in(&w, ELEM_I8, "1,4", I8(1, 2, 3, 4));
    op_const(&w, ELEM_F32, "3", F(1, 10, 100));
    op_ready(&w);
    op_expect_error(&w, STATUS_INVALID, "there are 3 scales, axis 1 has 4 elements");
    op_case_free(&w);
}

static void qlinear_conv_equals_its_parts(void **state) {
    (void)state;
    OpCase c = op_case("", "QLinearConv", 1);
    op_in(&c, ELEM_U8, "1,1,2", U8(255, 0));
    op_const(&c, ELEM_F32, "", F(0.1f));
    op_const(&c, ELEM_U8, "", U8(128));
    op_const(&c, ELEM_I8, "2,1,1", I8(100, -100));
    op_const(&c, ELEM_F32, "2", F(0.01f, 0.02f));
    op_const(&c, ELEM_I8, "2", I8(0, 0));
    op_const(&c, ELEM_F32, "", F(0.2f));
    op_const(&c, ELEM_U8, "", U8(10));
    op_const(&c, ELEM_I32, "2", I32(0, 50));
    op_ready(&c);
    op_expect(&c, 0, ELEM_U8, "1,2,2", U8(74, 0, 0, 138), 0); /* 63.5 (rounds up to even), -64, -126.5, 128.5 */
    op_case_free(&c);
}

static void integer_products(void **state) {
    (void)state;
    OpCase c = op_case("", "MatMulInteger", 1);
    op_in(&c, ELEM_U8, "2,2", U8(11, 7, 3, 10));
    op_in(&c, ELEM_I8, "2,1", I8(1, -4));
    op_const(&c, ELEM_U8, "", U8(12));
    op_ready(&c);
    op_expect(&c, 0, ELEM_I32, "2,1", I32(19, -1), 0);
    op_case_free(&c);
    OpCase v = op_case("", "ConvInteger", 1);
    op_in(&v, ELEM_U8, "1,1,2", U8(2, 3));
    op_in(&v, ELEM_U8, "1,1,2", U8(4, 5));
    op_const(&v, ELEM_U8, "", U8(1));
    op_const(&v, ELEM_U8, "", U8(3));
    op_ready(&v);
    op_ints(&v, "pads", 2, (const int64_t[]){1, 0});
    op_expect(&v, 0, ELEM_I32, "1,1,2", I32(2, 5), 0);
    op_case_free(&v);
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
