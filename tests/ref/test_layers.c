/* Larger ops: recurrent layers, einsum, attention, detection, signal processing, sampling, control flow. Values by
 * hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

static void lstm_gates_in_their_order(void **state) {
    (void)state;
    /* W = 0, so gates come from biases i o f c; Relu keeps numbers simple: c = 3*2 + 2*5 = 16, h = 4 * 16 */
#define LSTM                                                                                                           \
    "const %x : float32[1,1,1] = {1.0}\nconst %w : float32[1,4,1] = splat {0.0}\n"                                     \
    "const %r : float32[1,4,1] = splat {0.0}\nconst %b : float32[1,8] = {2.0, 4.0, 3.0, 5.0, 0.0, 0.0, 0.0, 0.0}\n"    \
    "const %c0 : float32[1,1,1] = {2.0}\nconst %p : float32[1,3] = {1.0, 0.5, -1.0}\n"
#define ACTS "activations=[\"Relu\", \"Relu\", \"Relu\"], hidden_size=1"
    ir_expect(LSTM "%y : ?, %h : ?, %c : ? = LSTM(%x, %w, %r, %b, _, _, %c0) {" ACTS "}", "float32[1,1,1,1] = {64.0}",
              1e-5);
    /* peepholes: i = 2 + 2, f = 3 - 2, c = 1*2 + 4*5 = 22, o = 4 + 0.5*22 = 15 */
    ir_expect(LSTM "%q : ?, %y : ?, %c : ? = LSTM(%x, %w, %r, %b, _, _, %c0, %p) {" ACTS "}",
              "float32[1,1,1] = {330.0}", 1e-3);
    ir_expect(LSTM "%q : ?, %h : ?, %y : ? = LSTM(%x, %w, %r, %b, _, _, %c0) {input_forget=1, " ACTS "}",
              "float32[1,1,1] = {8.0}", 1e-5); /* f = 1 - 2: -2 + 10 */
    ir_expect(LSTM "%y : ?, %h : ?, %c : ? = LSTM(%x, %w, %r, %b, _, _, %c0) {clip=1.0, " ACTS "}",
              "float32[1,1,1,1] = {3.0}", 1e-5); /* i = o = f = g = 1, c = 3; clip is for gates' inputs only */
}

static void gru_resets_before_or_after(void **state) {
    (void)state;
    /* h = 2; gates z r h from biases: z = 0.25, r = 3; candidate 1 + 10 * (3 * 2) or 1 + 3 * (10 * 2 + 4) */
#define GRU                                                                                                            \
    "const %x : float32[1,1,1] = {1.0}\nconst %w : float32[1,3,1] = splat {0.0}\n"                                     \
    "const %r : float32[1,3,1] = {0.0, 0.0, 10.0}\nconst %b : float32[1,6] = {0.25, 3.0, 1.0, 0.0, 0.0, 4.0}\n"        \
    "const %h0 : float32[1,1,1] = {2.0}\n"
    ir_expect(GRU "%y : ?, %h : ? = GRU(%x, %w, %r, %b, _, %h0) {activations=[\"Relu\", \"Relu\"], hidden_size=1}",
              "float32[1,1,1,1] = {49.25}", 1e-5); /* 0.75 * 65 + 0.25 * 2 */
    ir_expect(GRU "%y : ?, %h : ? = GRU(%x, %w, %r, %b, _, %h0) {activations=[\"Relu\", \"Relu\"], hidden_size=1, "
                  "linear_before_reset=1}",
              "float32[1,1,1,1] = {55.25}", 1e-5); /* 0.75 * 73 + 0.5 */
}

static void rnn_runs_both_ways_and_stops_at_the_length(void **state) {
    (void)state;
#define RNN                                                                                                            \
    "const %x : float32[3,1,1] = {1.0, 10.0, 100.0}\nconst %w : float32[2,1,1] = {1.0, 1.0}\n"                         \
    "const %r : float32[2,1,1] = {1.0, 1.0}\nconst %l : int32[1] = {2}\n"
    ir_expect(RNN "%y : ?, %h : ? = RNN(%x, %w, %r, _, %l) {activations=[\"Relu\", \"Relu\"], hidden_size=1, "
                  "direction=\"bidirectional\"}",
              "float32[3,2,1,1] = {1.0, 11.0, 11.0, 10.0, 0.0, 0.0}", 0);
    ir_expect_type("input %x : float32[T,N,8]\ninput %w : float32[2,16,8]\ninput %r : float32[2,16,16]\n"
                   "%y : ?, %h : ? = RNN(%x, %w, %r) {hidden_size=16, direction=\"bidirectional\"}",
                   "float32[T,2,N,16]");
    ir_expect_error(RNN "%y : ?, %h : ? = RNN(%x, %w, %r) {activations=[\"Sinus\", \"Relu\"], hidden_size=1, "
                        "direction=\"bidirectional\"}",
                    STATUS_INVALID, "'Sinus' is no activation");
}

static void einsum_names_axes(void **state) {
    (void)state;
#define AB "const %a : float32[2,2] = {1.0, 2.0, 3.0, 4.0}\nconst %b : float32[2,2] = {1.0, 10.0, 100.0, 1000.0}\n"
    ir_expect(AB "%y : ? = Einsum(%a, %b) {equation=\"ij,jk->ik\"}", "float32[2,2] = {201.0, 2010.0, 403.0, 4030.0}",
              0);
    ir_expect(AB "%y : ? = Einsum(%a, %b) {equation=\"ij, jk\"}", "float32[2,2] = {201.0, 2010.0, 403.0, 4030.0}", 0);
    ir_expect(AB "%y : ? = Einsum(%b) {equation=\"ii\"}", "float32[] = {1001.0}", 0);
    ir_expect(AB "%y : ? = Einsum(%b) {equation=\"...j->j...\"}", "float32[2,2] = {1.0, 100.0, 10.0, 1000.0}", 0);
    ir_expect(AB "%y : ? = Einsum(%a, %b) {equation=\"ij,ij->\"}", "float32[] = {4321.0}", 0);
    ir_expect_type("input %a : float32[B,H,S,64]\ninput %b : float32[B,H,T,64]\n"
                   "%y : ? = Einsum(%a, %b) {equation=\"bhid,bhjd->bhij\"}",
                   "float32[B,H,S,T]");
    ir_expect_error(AB "%y : ? = Einsum(%a, %b) {equation=\"ij\"}", STATUS_INVALID, "fewer terms");
    ir_expect_error(AB "%y : ? = Einsum(%a) {equation=\"i\"}", STATUS_INVALID, "every dimension");
}

static void attention_masks(void **state) {
    (void)state;
    /* equal scores: the output is the mean of the values a query may see */
#define QKV                                                                                                            \
    "const %q : float32[1,1,2,1] = splat {0.0}\nconst %k : float32[1,1,2,1] = splat {1.0}\n"                           \
    "const %v : float32[1,1,2,1] = {2.0, 4.0}\nconst %m : bool[2,2] = {0, 0, 0, 1}\n"
    ir_expect(QKV "%y : ? = Attention(%q, %k, %v)", "float32[1,1,2,1] = {3.0, 3.0}", 1e-6);
    ir_expect(QKV "%y : ? = Attention(%q, %k, %v) {is_causal=1}", "float32[1,1,2,1] = {2.0, 3.0}", 1e-6);
    ir_expect(QKV "%y : ? = Attention(%q, %k, %v, %m)", "float32[1,1,2,1] = {0.0, 4.0}", 1e-6); /* no key: zeros */
    ir_expect_type("input %q : float32[B,S,768]\ninput %k : float32[B,T,256]\n"
                   "%y : ? = Attention(%q, %k, %k) {q_num_heads=12, kv_num_heads=4}",
                   "float32[B,S,768]");
    ir_expect_error(QKV "const %w : float32[1,1,3,1] = splat {0.0}\n%y : ? = Attention(%q, %k, %w)", STATUS_INVALID,
                    "do not fit");
}

static void rotary_embedding_turns_pairs(void **state) {
    (void)state;
    ir_expect("const %x : float32[1,1,1,4] = {1.0, 2.0, 3.0, 4.0}\nconst %c : float32[1,1,2] = {0.0, 1.0}\n"
              "const %s : float32[1,1,2] = {1.0, 0.0}\n%y : ? = RotaryEmbedding(%x, %c, %s)",
              "float32[1,1,1,4] = {-3.0, 2.0, 1.0, 4.0}", 0);
}

static void non_max_suppression(void **state) {
    (void)state;
    /* boxes 0 and 1 overlap by 1/3 of the union; box 2 has its corners swapped and lies on box 4; box 3 scores too
     * little */
#define NMS                                                                                                            \
    "const %b : float32[1,5,4] = {0.0, 0.0, 1.0, 1.0, 0.0, 0.5, 1.0, 1.5, 9.0, 9.0, 8.0, 8.0, 5.0, 5.0, 6.0, 6.0, "    \
    "8.0, 8.0, 9.0, 9.0}\n"                                                                                            \
    "const %s : float32[1,1,5] = {0.5, 0.9, 0.7, 0.1, 0.6}\nconst %n : int64[1] = {3}\n"                               \
    "const %i : float32[1] = {0.3}\nconst %t : float32[1] = {0.2}\n"
    ir_expect(NMS "%y : ? = NonMaxSuppression(%b, %s, %n, %i, %t)", "int64[2,3] = {0, 0, 1, 0, 0, 2}", 0);
    ir_expect(NMS "%y : ? = NonMaxSuppression(%b, %s)", "int64[0,3] = {}", 0);
}

static void roi_pools(void **state) {
    (void)state;
#define ROI                                                                                                            \
    "const %x : float32[1,1,2,2] = {1.0, 2.0, 3.0, 4.0}\nconst %i : int64[1] = {0}\n"                                  \
    "const %r : float32[1,4] = {0.0, 0.0, 2.0, 2.0}\nconst %p : float32[1,5] = {0.0, 0.0, 0.0, 1.0, 1.0}\n"
    ir_expect(ROI "%y : ? = RoiAlign(%x, %r, %i) {output_height=2, output_width=2}",
              "float32[1,1,2,2] = {1.0, 2.0, 3.0, 4.0}", 1e-6);
    ir_expect(ROI "%y : ? = MaxRoiPool(%x, %p) {pooled_shape=[1, 2]}", "float32[1,1,1,2] = {3.0, 4.0}", 0);
    ir_expect_error(ROI "const %j : int64[1] = {1}\n%y : ? = RoiAlign(%x, %r, %j)", STATUS_INVALID, "batch index");
}

static void transforms(void **state) {
    (void)state;
#define SIG "const %x : float32[1,4,1] = {1.0, 2.0, 3.0, 4.0}\n"
    ir_expect(SIG "%y : ? = DFT(%x)", "float32[1,4,2] = {10.0, 0.0, -2.0, 2.0, -2.0, 0.0, -2.0, -2.0}", 1e-6);
    ir_expect(SIG "%f : ? = DFT(%x) {onesided=1}\n%y : ? = DFT(%f) {onesided=1, inverse=1}",
              "float32[1,4,1] = {1.0, 2.0, 3.0, 4.0}", 1e-6);
    ir_expect("const %x : float32[1,4] = {1.0, 2.0, 3.0, 4.0}\nconst %s : int64[] = {2}\nconst %w : float32[2] = {1.0, "
              "0.5}\n%y : ? = STFT(%x, %s, %w)",
              "float32[1,2,2,2] = {2.0, 0.0, 0.0, 0.0, 5.0, 0.0, 1.0, 0.0}", 1e-6);
    ir_expect("const %n : int64[] = {4}\n%y : ? = HannWindow(%n)", "float32[4] = {0.0, 0.5, 1.0, 0.5}", 1e-6);
}

static void max_unpool_and_deform_conv(void **state) {
    (void)state;
    ir_expect("const %x : float32[1,1,1,2] = {5.0, 6.0}\nconst %i : int64[1,1,1,2] = {1, 6}\n"
              "%y : ? = MaxUnpool(%x, %i) {kernel_shape=[2, 2], strides=[2, 2]}",
              "float32[1,1,2,4] = {0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0}", 0);
    /* a quarter pixel down and to the right of each place; outside counts as 0 */
    ir_expect("const %x : float32[1,1,2,2] = {1.0, 2.0, 3.0, 4.0}\nconst %w : float32[1,1,1,1] = {2.0}\n"
              "const %o : float32[1,2,2,2] = splat {0.25}\n%y : ? = DeformConv(%x, %w, %o)",
              "float32[1,1,2,2] = {3.5, 3.75, 4.875, 4.5}", 1e-6);
}

static void branches(void **state) {
    (void)state;
#define IF                                                                                                             \
    "const %a : float32[2] = {1.0, 2.0}\n%y : ? = If(%c) {then_branch=graph \"t\" opset 17 {\n"                        \
    "const %p : float32[2] = {3.0, 4.0}\noutput %p\n}, else_branch=graph \"e\" opset 17 {\n"                           \
    "const %q : float32[1] = {5.0}\noutput %q\n}}"
    ir_expect("const %c : bool[] = {1}\n" IF, "float32[2] = {3.0, 4.0}", 0);
    ir_expect("const %c : bool[] = {0}\n" IF, "float32[1] = {5.0}", 0);
    ir_expect_type("input %c : bool[]\n" IF, "float32[?0]");
}

static void loops(void **state) {
    (void)state;
    /* doubles the state until it reaches 8; the scan output shows each */
#define LOOP(outs)                                                                                                     \
    "const %n : int64[] = {10}\nconst %t : bool[] = {1}\nconst %s : float32[1] = {1.0}\n" outs                         \
    " = Loop(%n, %t, %s) {body=graph \"b\" opset 17 {\ninput %i : int64[]\ninput %c : bool[]\n"                        \
    "input %v : float32[1]\nconst %m : float32[] = {8.0}\n%d : ? = Add(%v, %v)\n%l : ? = ReduceMax(%d) {keepdims=0}\n" \
    "%go : ? = Less(%l, %m)\noutput %go\noutput %d\noutput %d\n}}"
    ir_expect(LOOP("%y : ?, %z : ?"), "float32[1] = {8.0}", 0);
    ir_expect(LOOP("%z : ?, %y : ?"), "float32[3,1] = {2.0, 4.0, 8.0}", 0);
    /* a state that grows: its size must not stay 1 */
    ir_expect(
        "const %n : int64[] = {3}\nconst %s : float32[1] = {1.0}\n%y : ? = Loop(%n, _, %s) {body=graph \"b\" opset "
        "17 {\ninput %i : int64[]\ninput %c : bool[]\ninput %v : float32[k]\n%g : ? = Identity(%c)\n"
        "%d : ? = Concat(%v, %v) {axis=0}\noutput %g\noutput %d\n}}",
        "float32[8] = splat {1.0}", 0);
}

static void scans(void **state) {
    (void)state;
#define SCAN(outs, attrs)                                                                                              \
    "const %s : float32[1] = {0.0}\nconst %x : float32[1,3] = {1.0, 10.0, 100.0}\n" outs                               \
    " = Scan(%s, %x) {num_scan_inputs=1, scan_input_axes=[1], " attrs "body=graph \"b\" opset 17 {\n"                  \
    "input %v : float32[1]\ninput %e : float32[1]\n%a : ? = Add(%v, %e)\noutput %a\noutput %a\n}}"
    ir_expect(SCAN("%y : ?, %z : ?", ""), "float32[1] = {111.0}", 0);
    ir_expect(SCAN("%z : ?, %y : ?", ""), "float32[3,1] = {1.0, 11.0, 111.0}", 0);
    ir_expect(SCAN("%z : ?, %y : ?", "scan_input_directions=[1], scan_output_axes=[-1], scan_output_directions=[1], "),
              "float32[1,3] = {111.0, 110.0, 100.0}", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm_gates_in_their_order),
        cmocka_unit_test(gru_resets_before_or_after),
        cmocka_unit_test(rnn_runs_both_ways_and_stops_at_the_length),
        cmocka_unit_test(einsum_names_axes),
        cmocka_unit_test(attention_masks),
        cmocka_unit_test(rotary_embedding_turns_pairs),
        cmocka_unit_test(non_max_suppression),
        cmocka_unit_test(roi_pools),
        cmocka_unit_test(transforms),
        cmocka_unit_test(max_unpool_and_deform_conv),
        cmocka_unit_test(branches),
        cmocka_unit_test(loops),
        cmocka_unit_test(scans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
