/* Contributed ops of com.microsoft: values by hand, and absent inputs that stand before required ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

#define MS "com.microsoft."

static void quantized_elementwise(void **state) {
    (void)state;
#define Q                                                                                                              \
    "const %a : uint8[3] = {0, 10, 255}\nconst %b : uint8[1] = {20}\nconst %s : float32[] = {0.5}\n"                   \
    "const %z : uint8[] = {10}\nconst %t : float32[] = {1.0}\n"
    ir_expect(Q "%y : ? = " MS "QLinearAdd(%a, %s, %z, %b, %s, %z, %s, %z)", "uint8[3] = {10, 20, 255}", 0);
    ir_expect(Q "%y : ? = " MS "QLinearAdd(%a, %s, _, %b, %s, _, %t)", "uint8[3] = {10, 15, 138}", 0); /* 137.5 */
    ir_expect(Q "%y : ? = " MS "QLinearMul(%a, %s, %z, %b, %s, %z, %t, %z)", "uint8[3] = {0, 10, 255}", 0);
    ir_expect_error(Q "%y : ? = " MS "QLinearAdd(%a, %s, %z, _, %s, %z, %t, %z)", STATUS_INVALID, "required input 3");
    ir_expect(Q "%y : ? = " MS "QLinearConcat(%t, %z, %a, %s, %z, %b, %s, %z) {axis=0}", "uint8[4] = {5, 10, 132, 15}",
              0);
}

static void quantized_products(void **state) {
    (void)state;
#define P                                                                                                              \
    "const %a : uint8[1,2] = {12, 9}\nconst %b : int8[2,1] = {3, -4}\nconst %s : float32[] = {0.5}\n"                  \
    "const %za : uint8[] = {10}\nconst %zb : int8[] = {1}\nconst %c : int32[1] = {7}\n"
    ir_expect(P "%y : ? = " MS "QGemm(%a, %s, %za, %b, %s, %zb, %c)", "float32[1,1] = {4.0}", 1e-6);   /* (4+5+7)/4 */
    ir_expect(P "%y : ? = " MS "QGemm(%a, %s, %za, %b, %s, %zb, _, %s, %za)", "uint8[1,1] = {14}", 0); /* 2.25 */
    ir_expect(P "%y : ? = " MS "MatMulIntegerToFloat(%a, %b, %s, %s, %za, %zb)", "float32[1,1] = {2.25}", 1e-6);
    /* 0 … 255 in steps of 1: no rounding */
    ir_expect(
        "const %a : float32[1,2] = {255.0, 3.0}\nconst %b : int8[2,1] = {2, -100}\nconst %s : float32[1] = {0.1}\n"
        "%y : ? = " MS "DynamicQuantizeMatMul(%a, %b, %s)",
        "float32[1,1] = {21.0}", 1e-4);
}

static void packed_bits(void **state) {
    (void)state;
    /* row 0: weights 1 (9 - 8) then zeros; row 1: with zero point 1, 15 - 1 = 14 at k = 1 */
    ir_expect("const %a : float32[1,2] = {2.0, 3.0}\n"
              "const %b : uint8[2,1,8] = {137, 136, 136, 136, 136, 136, 136, 136, 241, 17, 17, 17, 17, 17, 17, 17}\n"
              "const %s : float32[2] = {0.5, 1.0}\nconst %z : uint8[2] = {8, 1}\n"
              "%y : ? = " MS "MatMulNBits(%a, %b, %s, %z) {K=2, N=2, bits=4, block_size=16}",
              "float32[1,2] = {1.0, 42.0}", 1e-6);
    ir_expect_error("const %a : float32[1,3] = {2.0, 3.0, 4.0}\nconst %b : uint8[1,1,8] = splat {0}\n"
                    "const %s : float32[1] = {0.5}\n"
                    "%y : ? = " MS "MatMulNBits(%a, %b, %s) {K=2, N=1, bits=4, block_size=16}",
                    STATUS_INVALID, "do not fit K");
}

static void fused_norms(void **state) {
    (void)state;
#define N                                                                                                              \
    "const %x : float32[1,2] = {0.0, 2.0}\nconst %k : float32[1,2] = {1.0, 1.0}\nconst %g : float32[2] = {2.0, 2.0}\n" \
    "const %b : float32[2] = {0.0, 1.0}\n"
    ir_expect(N "%y : ? = " MS "SkipLayerNormalization(%x, %k, %g, %b)", "float32[1,2] = {-2.0, 3.0}", 1e-5);
    ir_expect(N "%q : ?, %m : ?, %i : ?, %y : ? = " MS "SkipLayerNormalization(%x, %k, %g, %b, %b)",
              "float32[1,2] = {1.0, 4.0}", 0);
    ir_expect("const %x : float32[1,2] = {1.0, 7.0}\nconst %g : float32[2] = {5.0, 10.0}\n"
              "%y : ? = SimplifiedLayerNormalization(%x, %g) {epsilon=0.0}",
              "float32[1,2] = {1.0, 14.0}", 1e-5);
    ir_expect("const %i : int32[1,2] = {1, 0}\nconst %w : float32[2,2] = {1.0, 2.0, 3.0, 5.0}\n"
              "const %p : float32[2,2] = {0.0, 0.0, 0.0, 8.0}\nconst %g : float32[2] = {1.0, 1.0}\n"
              "const %b : float32[2] = {0.0, 0.0}\n"
              "%y : ? = " MS "EmbedLayerNormalization(%i, _, %w, %p, _, %g, %b)",
              "float32[1,2,2] = {-1.0, 1.0, -1.0, 1.0}", 1e-5);
}

static void fused_matmul_transposes(void **state) {
    (void)state;
    ir_expect("const %a : float32[2,1] = {1.0, 2.0}\nconst %b : float32[1,2] = {10.0, 100.0}\n"
              "%y : ? = " MS "FusedMatMul(%a, %b) {alpha=0.5, transA=1, transB=1}",
              "float32[1,1] = {105.0}", 0);
    ir_expect_type("input %a : float32[B,8,S]\ninput %b : float32[B,16,8]\n"
                   "%y : ? = " MS "FusedMatMul(%a, %b) {transA=1, transB=1}",
                   "float32[B,S,16]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantized_elementwise),
        cmocka_unit_test(quantized_products),
        cmocka_unit_test(packed_bits),
        cmocka_unit_test(fused_norms),
        cmocka_unit_test(fused_matmul_transposes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
