/* Losses, stateful layers and determinants: values checked by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

#define X12 "const %x : float32[2,3] = {-1.0, -2.0, -3.0, -4.0, -5.0, -6.0}\nconst %t : int64[2] = {2, 0}\n"

static void losses(void **state) {
    (void)state;
    ir_expect(X12 "%y : ? = NegativeLogLikelihoodLoss(%x, %t)", "float32[] = {3.5}", 1e-6);
    ir_expect(X12 "%y : ? = NegativeLogLikelihoodLoss(%x, %t) {reduction=\"none\", ignore_index=2}",
              "float32[2] = {0.0, 4.0}", 0);
    ir_expect(X12 "const %w : float32[3] = {1.0, 1.0, 3.0}\n%y : ? = NegativeLogLikelihoodLoss(%x, %t, %w)",
              "float32[] = {3.25}", 1e-6);
    ir_expect("const %x : float32[1,2] = {0.0, 0.0}\nconst %t : int32[1] = {1}\n%y : ? = SoftmaxCrossEntropyLoss(%x, "
              "%t) {reduction=\"sum\"}",
              "float32[] = {0.6931472}", 1e-6);
    ir_expect_error(
        "const %x : float32[1,2] = {0.0, 0.0}\nconst %t : int32[1] = {2}\n%y : ? = NegativeLogLikelihoodLoss(%x, %t)",
        STATUS_INVALID, "target 2");
}

static void causal_convolution(void **state) {
    (void)state;
#define CONV "const %x : float32[1,1,3] = {1.0, 2.0, 3.0}\nconst %w : float32[1,1,2] = {10.0, 1.0}\n"
    ir_expect(CONV "%y : ?, %s : ? = CausalConvWithState(%x, %w)", "float32[1,1,3] = {1.0, 12.0, 23.0}", 0);
    ir_expect(CONV "const %p : float32[1,1,1] = {5.0}\nconst %b : float32[1] = {0.5}\n%y : ?, %s : ? = "
                   "CausalConvWithState(%x, %w, %b, %p)",
              "float32[1,1,3] = {51.5, 12.5, 23.5}", 0);
    ir_expect(CONV "%o : ?, %y : ? = CausalConvWithState(%x, %w)", "float32[1,1,1] = {3.0}", 0);
}

static void linear_attention(void **state) {
    (void)state;
#define QKV                                                                                                            \
    "const %q : float32[1,2,1] = {1.0, 2.0}\nconst %k : float32[1,2,1] = {1.0, 0.5}\n"                                 \
    "const %v : float32[1,2,1] = {4.0, 8.0}\nconst %b : float32[1,2,1] = {1.0, 0.5}\n"
    ir_expect(QKV
              "%y : ?, %s : ? = LinearAttention(%q, %k, %v) {q_num_heads=1, kv_num_heads=1, update_rule=\"linear\"}",
              "float32[1,2,1] = {4.0, 16.0}", 0); /* S = 4, then 4 + 0.5 * 8 */
    ir_expect(
        QKV
        "%y : ?, %s : ? = LinearAttention(%q, %k, %v, _, _, %b) {q_num_heads=1, kv_num_heads=1, update_rule=\"delta\"}",
        "float32[1,2,1] = {4.0, 11.0}", 0); /* S = 4, then 4 + 0.5 * 0.5 * (8 - 4 * 0.5) = 5.5 */
    ir_expect_error(QKV "%y : ?, %s : ? = LinearAttention(%q, %k, %v) {q_num_heads=1, kv_num_heads=1}", STATUS_INVALID,
                    "do not fit");
}

static void determinants(void **state) {
    (void)state;
    ir_expect("const %x : float32[2,2,2] = {0.0, 1.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0}\n%y : ? = Det(%x)",
              "float32[2] = {-1.0, -2.0}", 1e-6);
    ir_expect("const %x : float32[2,2] = {1.0, 2.0, 2.0, 4.0}\n%y : ? = Det(%x)", "float32[] = {0.0}", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses),
        cmocka_unit_test(causal_convolution),
        cmocka_unit_test(linear_attention),
        cmocka_unit_test(determinants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
