/* Convolutions and pools: hand-checked values, shapes with symbols, attributes that models get wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/op_case.h"

#define F(...) ((const float[]){__VA_ARGS__})
#define I(...) ((const int64_t[]){__VA_ARGS__})

static void conv_with_bias_pads_and_stride(void **state) {
    (void)state;
    OpCase c = op_case("", "Conv", 1);
    op_in(&c, ELEM_F32, "1,1,3,3", F(1, 2, 3, 4, 5, 6, 7, 8, 9));
    op_const(&c, ELEM_F32, "1,1,2,2", F(1, 10, 100, 1000));
    op_const(&c, ELEM_F32, "1", F(0.5f));
    op_ready(&c);
    op_ints(&c, "pads", 4, I(1, 1, 0, 0));
    op_ints(&c, "strides", 2, I(2, 2));
    op_expect(&c, 0, ELEM_F32, "1,1,2,2", F(1000.5f, 3200.5f, 7040.5f, 9865.5f), 0);
    op_case_free(&c);
}

static void conv_groups_and_dilation(void **state) {
    (void)state;
    OpCase c = op_case("", "Conv", 1);
    op_in(&c, ELEM_F32, "1,2,4", F(1, 2, 3, 4, 10, 20, 30, 40));
    op_const(&c, ELEM_F32, "2,1,2", F(1, -1, 2, 1));
    op_ready(&c);
    op_int(&c, "group", 2);
    op_ints(&c, "dilations", 1, I(2));
    op_expect(&c, 0, ELEM_F32, "1,2,2", F(-2, -2, 50, 80), 0);
    op_case_free(&c);
}

static void conv_same_pads_put_the_odd_one_where_asked(void **state) {
    (void)state;
    const char *const mode[] = {"SAME_UPPER", "SAME_LOWER"};
    const float want[2][3] = {{21, 32, 3}, {10, 21, 32}};
    for (int i = 0; i < 2; i++) {
        OpCase c = op_case("", "Conv", 1);
        op_in(&c, ELEM_F32, "1,1,3", F(1, 2, 3));
        op_const(&c, ELEM_F32, "1,1,2", F(1, 10));
        op_ready(&c);
        op_string(&c, "auto_pad", mode[i]);
        op_expect(&c, 0, ELEM_F32, "1,1,3", want[i], 0);
        op_case_free(&c);
    }
}

static void conv_of_float16_and_float64(void **state) {
    (void)state;
    OpCase h = op_case("", "Conv", 1);
    const uint16_t x[] = {0x3c00, 0x4000}, w[] = {0x4200}, y[] = {0x4200, 0x4600}; /* 1 2 · 3 = 3 6 */
    op_in(&h, ELEM_F16, "1,1,2", x);
    op_const(&h, ELEM_F16, "1,1,1", w);
    op_ready(&h);
    op_expect(&h, 0, ELEM_F16, "1,1,2", y, 0);
    op_case_free(&h);
    OpCase d = op_case("", "Conv", 1);
    op_in(&d, ELEM_F64, "1,1,1", (const double[]){1.0 / 3});
    op_const(&d, ELEM_F64, "1,1,1", (const double[]){3});
    op_ready(&d);
    op_expect(&d, 0, ELEM_F64, "1,1,1", (const double[]){1}, 1e-15);
    op_case_free(&d);
}

static void conv_carries_symbols(void **state) {
    (void)state;
    OpCase c = op_case("", "Conv", 1);
    op_in_type(&c, ELEM_F32, "N,3,H,W");
    op_in_type(&c, ELEM_F32, "64,3,3,3");
    op_ready(&c);
    op_ints(&c, "pads", 4, I(1, 1, 1, 1));
    op_expect_type(&c, 0, "float32[N,64,H,W]");
    op_case_free(&c);
    OpCase s = op_case("", "Conv", 1);
    op_in_type(&s, ELEM_F32, "N,3,H,224");
    op_in_type(&s, ELEM_F32, "64,3,3,3");
    op_ready(&s);
    op_string(&s, "auto_pad", "SAME_UPPER");
    op_ints(&s, "strides", 2, I(2, 2));
    op_expect_type(&s, 0, "float32[N,64,(H ^/ 2),112]");
    op_case_free(&s);
    OpCase u = op_case("", "Conv", 1);
    op_in_type(&u, ELEM_F32, "?");
    op_in_type(&u, ELEM_F32, "64,3,3,3");
    op_ready(&u);
    op_expect_type(&u, 0, "float32[?]");
    op_case_free(&u);
}

static void conv_refuses_what_does_not_fit(void **state) {
    (void)state;
    OpCase c = op_case("", "Conv", 1);
    op_in_type(&c, ELEM_F32, "1,3,8,8");
    op_in_type(&c, ELEM_F32, "4,2,3,3");
    op_ready(&c);
    op_expect_error(&c, STATUS_INVALID, "made for 2 input channels, the input has 3");
    op_case_free(&c);
    OpCase k = op_case("", "Conv", 1);
    op_in_type(&k, ELEM_F32, "1,2,2,2");
    op_in_type(&k, ELEM_F32, "4,2,3,3");
    op_ready(&k);
    op_expect_error(&k, STATUS_INVALID, "larger than the padded input");
    op_case_free(&k);
    OpCase s = op_case("", "Conv", 1);
    op_in_type(&s, ELEM_F32, "1,2,8,8");
    op_in_type(&s, ELEM_F32, "4,2,3,3");
    op_ready(&s);
    op_ints(&s, "strides", 2, I(0, 1));
    op_expect_error(&s, STATUS_INVALID, "strides");
    op_case_free(&s);
    OpCase g = op_case("", "Conv", 1);
    op_in_type(&g, ELEM_F32, "1,2,8,8");
    op_in_type(&g, ELEM_F32, "4,2,3,3");
    op_ready(&g);
    op_int(&g, "group", 0);
    op_expect_error(&g, STATUS_INVALID, "group must be positive");
    op_case_free(&g);
    OpCase h = op_case("", "Conv", 1); /* 2^31 cells of padding on three axes */
    op_in(&h, ELEM_F32, "1,1,1,1,1", F(1));
    op_const(&h, ELEM_F32, "1,1,1,1,1", F(1));
    op_ready(&h);
    op_ints(&h, "pads", 6, I(INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX));
    op_expect_error(&h, STATUS_INVALID, "too large");
    op_case_free(&h);
}

static void conv_transpose_spreads(void **state) {
    (void)state;
    OpCase c = op_case("", "ConvTranspose", 1);
    op_in(&c, ELEM_F32, "1,1,2", F(1, 2));
    op_const(&c, ELEM_F32, "1,2,3", F(1, 10, 100, 2, 20, 200));
    op_const(&c, ELEM_F32, "2", F(0, 1));
    op_ready(&c);
    op_ints(&c, "strides", 1, I(2));
    op_ints(&c, "output_padding", 1, I(1));
    op_expect(&c, 0, ELEM_F32, "1,2,6", F(1, 10, 102, 20, 200, 0, 3, 21, 205, 41, 401, 1), 0);
    op_case_free(&c);
    OpCase s = op_case("", "ConvTranspose", 1);
    op_in_type(&s, ELEM_F32, "N,16,H,W");
    op_in_type(&s, ELEM_F32, "16,8,4,4");
    op_ready(&s);
    op_ints(&s, "strides", 2, I(2, 2));
    op_ints(&s, "pads", 4, I(1, 1, 1, 1));
    op_int(&s, "group", 2);
    op_expect_type(&s, 0, "float32[N,16,(H * 2),(W * 2)]");
    op_case_free(&s);
}

static void max_pool_with_indices_and_ceil(void **state) {
    (void)state;
    OpCase c = op_case("", "MaxPool", 2);
    op_in(&c, ELEM_F32, "1,2,3,3", F(1, 9, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2, 1));
    op_ready(&c);
    op_ints(&c, "kernel_shape", 2, I(2, 2));
    op_ints(&c, "strides", 2, I(2, 2));
    op_int(&c, "ceil_mode", 1);
    op_expect(&c, 0, ELEM_F32, "1,2,2,2", F(9, 5, 7, 8, 9, 7, 3, 1), 0);
    op_expect(&c, 1, ELEM_I64, "1,2,2,2", I(1, 5, 7, 8, 9, 11, 15, 17), 0);
    op_case_free(&c);
}

static void max_pool_of_int8_pads_with_the_lowest(void **state) {
    (void)state;
    OpCase c = op_case("", "MaxPool", 1);
    op_in(&c, ELEM_I8, "1,1,2", (const int8_t[]){-128, -7});
    op_ready(&c);
    op_ints(&c, "kernel_shape", 1, I(2));
    op_ints(&c, "pads", 2, I(1, 1));
    op_expect(&c, 0, ELEM_I8, "1,1,3", (const int8_t[]){-128, -7, -7}, 0);
    op_case_free(&c);
}

static void average_pool_counts(void **state) {
    (void)state;
    const float want[2][3] = {{1, 2.5f, 4}, {2.0f / 3, 2.5f, 8.0f / 3}};
    for (int include = 0; include < 2; include++) {
        OpCase c = op_case("", "AveragePool", 1);
        op_in(&c, ELEM_F32, "1,1,5", F(1, 1, 2, 4.5f, 3.5f));
        op_ready(&c);
        op_ints(&c, "kernel_shape", 1, I(3));
        op_ints(&c, "strides", 1, I(2));
        op_ints(&c, "pads", 2, I(1, 1));
        op_int(&c, "count_include_pad", include);
        op_expect(&c, 0, ELEM_F32, "1,1,3", want[include], 1e-6);
        op_case_free(&c);
    }
}

static void pool_symbols(void **state) {
    (void)state;
    OpCase c = op_case("", "MaxPool", 2);
    op_in_type(&c, ELEM_F32, "N,C,H");
    op_ready(&c);
    op_ints(&c, "kernel_shape", 1, I(3));
    op_ints(&c, "strides", 1, I(2));
    op_ints(&c, "pads", 2, I(1, 1));
    op_expect_type(&c, 0, "float32[N,C,((H + 1) / 2)]");
    op_expect_type(&c, 1, "int64[N,C,((H + 1) / 2)]");
    op_case_free(&c);
    OpCase g = op_case("", "GlobalAveragePool", 1);
    op_in_type(&g, ELEM_F32, "N,C,H,W");
    op_ready(&g);
    op_expect_type(&g, 0, "float32[N,C,1,1]");
    op_case_free(&g);
}

static void global_pools(void **state) {
    (void)state;
    const char *const names[] = {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"};
    const float want[3][2] = {{3.5f, -0.5f}, {4, 3}, {5, 5}};
    for (int i = 0; i < 3; i++) {
        OpCase c = op_case("", names[i], 1);
        op_in(&c, ELEM_F32, "1,2,1,2", F(3, 4, -4, 3));
        op_ready(&c);
        op_expect(&c, 0, ELEM_F32, "1,2,1,1", want[i], 1e-6);
        op_case_free(&c);
    }
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
        cmocka_unit_test(average_pool_counts),
        cmocka_unit_test(pool_symbols),
        cmocka_unit_test(global_pools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
