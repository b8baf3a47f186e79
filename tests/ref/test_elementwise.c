/* Elementwise ops: values checked by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

typedef struct Row {
    const char *lines, *want;
    double tol;
} Row;

static void check_rows(const Row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) ir_expect(rows[i].lines, rows[i].want, rows[i].tol);
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

#define X3        "const %x : float32[3] = {-1.0, 0.5, 2.0}\n"
#define UNARY(op) X3 "%y : ? = " op "(%x)"

static void unary_floats(void **state) {
    (void)state;
    static const Row rows[] = {
        {UNARY("Relu"), "float32[3] = {0.0, 0.5, 2.0}", 0},
        {UNARY("Reciprocal"), "float32[3] = {-1.0, 2.0, 0.5}", 0},
        {UNARY("Exp"), "float32[3] = {0.36787944, 1.6487213, 7.389056}", 1e-6},
        {UNARY("Sigmoid"), "float32[3] = {0.26894143, 0.62245935, 0.880797}", 1e-6},
        {UNARY("Tanh"), "float32[3] = {-0.7615942, 0.46211717, 0.9640276}", 1e-6},
        {UNARY("Erf"), "float32[3] = {-0.8427008, 0.5204999, 0.9953223}", 1e-6},
        {UNARY("Softplus"), "float32[3] = {0.3132617, 0.974077, 2.126928}", 1e-6},
        {UNARY("Softsign"), "float32[3] = {-0.5, 0.33333334, 0.6666667}", 1e-7},
        {UNARY("HardSwish"), "float32[3] = {-0.33333334, 0.29166666, 1.6666666}", 1e-6},
        {UNARY("HardSigmoid"), "float32[3] = {0.3, 0.6, 0.9}", 1e-6},
        {UNARY("Mish"), "float32[3] = {-0.30340144, 0.37524524, 1.943959}", 1e-6},
        {UNARY("Gelu"), "float32[3] = {-0.15865526, 0.34573123, 1.9544997}", 1e-6},
        {UNARY("Gelu") " {approximate=\"tanh\"}", "float32[3] = {-0.158808, 0.3457140, 1.9545977}", 1e-6},
        {UNARY("Swish") " {alpha=2.0}", "float32[3] = {-0.11920292, 0.36552929, 1.9640275}", 1e-6},
        {UNARY("Elu") " {alpha=2.0}", "float32[3] = {-1.2642411, 0.5, 2.0}", 1e-6},
        {UNARY("Celu") " {alpha=2.0}", "float32[3] = {-0.7869387, 0.5, 2.0}", 1e-6},
        {UNARY("Selu"), "float32[3] = {-1.1113307, 0.52535051, 2.1014020}", 1e-6},
        {UNARY("LeakyRelu") " {alpha=0.25}", "float32[3] = {-0.25, 0.5, 2.0}", 0},
        {UNARY("ThresholdedRelu") " {alpha=0.5}", "float32[3] = {0.0, 0.0, 2.0}", 0},
        {UNARY("Shrink") " {lambd=0.75, bias=0.5}", "float32[3] = {-0.5, 0.0, 1.5}", 0},
        {UNARY("Sign"), "float32[3] = {-1.0, 1.0, 1.0}", 0},
        {"const %x : float32[4] = {0.5, 1.5, 2.5, -0.5}\n%y : ? = Round(%x)", "float32[4] = {0.0, 2.0, 2.0, 0.0}", 0},
        {"const %x : float64[1] = {2.0}\n%y : ? = Sqrt(%x)", "float64[1] = {1.4142135623730951}", 1e-15},
        /* float16: computed in float, rounded once */
        {"const %x : float16[1] = {10.0}\n%y : ? = Exp(%x)", "float16[1] = {22032.0}", 0},
    };
    CHECK(rows);
}

static void nan_passes(void **state) {
    (void)state;
#define NAN1 "const %x : float32[1] = hex 0000c07f\n"
    static const Row rows[] = {
        {NAN1 "%y : ? = Relu(%x)", "float32[1] = hex 0000c07f", 0},
        {NAN1 "%y : ? = HardSigmoid(%x)", "float32[1] = hex 0000c07f", 0},
        {NAN1 "const %l : float32[] = {1.0}\n%y : ? = Clip(%x, %l)", "float32[1] = hex 0000c07f", 0},
        {NAN1 "const %l : float32[] = {1.0}\n%y : ? = Max(%x, %l)", "float32[1] = hex 0000c07f", 0},
        {NAN1 "const %l : float32[] = {1.0}\n%y : ? = Min(%l, %x)", "float32[1] = hex 0000c07f", 0},
        {NAN1 "%y : ? = IsNaN(%x)", "bool[1] = {1}", 0},
        {"const %x : float32[3] = hex 0000807f000080ff00000000\n%y : ? = IsInf(%x) {detect_positive=0}",
         "bool[3] = {0, 1, 0}", 0},
    };
    CHECK(rows);
}

static void integers_wrap(void **state) {
    (void)state;
#define AB(t, a, b) "const %a : " t " = {" a "}\nconst %b : " t " = {" b "}\n"
    static const Row rows[] = {
        {AB("int8[2]", "127, -128", "1, -1") "%y : ? = Add(%a, %b)", "int8[2] = {-128, 127}", 0},
        {AB("uint8[1]", "3", "5") "%y : ? = Sub(%a, %b)", "uint8[1] = {254}", 0},
        {AB("int32[3]", "-7, 7, -2147483648", "2, -2, -1") "%y : ? = Div(%a, %b)", "int32[3] = {-3, -3, -2147483648}",
         0},
        {AB("int64[2]", "-9223372036854775808, 5", "-1, 0") "%y : ? = Div(%a, %b)",
         "int64[2] = {-9223372036854775808, 0}", 0},
        {AB("int32[4]", "-7, 7, -7, 7", "3, 3, -3, -3") "%y : ? = Mod(%a, %b)", "int32[4] = {2, 1, -1, -2}", 0},
        {AB("int32[4]", "-7, 7, -7, 7", "3, 3, -3, -3") "%y : ? = Mod(%a, %b) {fmod=1}", "int32[4] = {-1, 1, -1, 1}",
         0},
        {AB("float32[2]", "-7.5, 7.5", "2.0, -2.0") "%y : ? = Mod(%a, %b)", "float32[2] = {0.5, -0.5}", 0},
        {AB("int32[3]", "2, -3, 3", "10, 3, 21") "%y : ? = Pow(%a, %b)", "int32[3] = {1024, -27, 1870418611}", 0},
        {"const %x : int8[2] = {-128, 5}\n%y : ? = Abs(%x)", "int8[2] = {-128, 5}", 0},
        {"const %x : int16[2] = {-32768, 5}\n%y : ? = Neg(%x)", "int16[2] = {-32768, -5}", 0},
        {AB("uint8[3]", "255, 1, 1", "1, 7, 8") "%y : ? = BitShift(%a, %b) {direction=\"LEFT\"}",
         "uint8[3] = {254, 128, 0}", 0},
        {AB("int8[2]", "-128, -128", "2, 9") "%y : ? = BitShift(%a, %b) {direction=\"RIGHT\"}", "int8[2] = {-32, -1}",
         0},
        {AB("int4[2]", "-8, 7", "1, 1") "%y : ? = BitwiseXor(%a, %b)", "int4[2] = {-7, 6}", 0},
        {AB("uint64[1]", "18446744073709551615", "1") "%y : ? = Greater(%a, %b)", "bool[1] = {1}", 0},
    };
    CHECK(rows);
}

static void binary_broadcasts(void **state) {
    (void)state;
    static const Row rows[] = {
        {"const %a : float32[2,1,3] = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}\nconst %b : float32[2,1] = {10.0, 20.0}\n"
         "%y : ? = Mul(%a, %b)",
         "float32[2,2,3] = {10.0, 20.0, 30.0, 20.0, 40.0, 60.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0}", 0},
        {"const %a : float32[0,3] = {}\nconst %b : float32[1,3] = {1.0, 2.0, 3.0}\n%y : ? = Add(%a, %b)",
         "float32[0,3] = {}", 0},
        {"const %a : float32[2,2] = {-1.0, -2.0, 3.0, -4.0}\nconst %b : float32[2] = {0.5, 0.25}\n%y : ? = PRelu(%a, "
         "%b)",
         "float32[2,2] = {-0.5, -0.5, 3.0, -1.0}", 0},
        {"const %a : float32[2] = {4.0, 9.0}\nconst %b : int64[] = {2}\n%y : ? = Pow(%a, %b)",
         "float32[2] = {16.0, 81.0}", 0},
        {"const %a : float16[1] = {2048.0}\nconst %b : float16[1] = {1.0}\n%y : ? = Sum(%a, %b, %b)",
         "float16[1] = {2050.0}", 0},
        {"const %a : float32[2] = {1.0, 2.0}\nconst %b : float32[] = {4.0}\n%y : ? = Mean(%a, %b)",
         "float32[2] = {2.5, 3.0}", 0},
        {"const %c : bool[2,1] = {1, 0}\nconst %a : uint8[2] = {1, 2}\nconst %b : uint8[] = {9}\n%y : ? = Where(%c, "
         "%a, %b)",
         "uint8[2,2] = {1, 2, 9, 9}", 0},
        {"const %a : bool[2] = {1, 0}\nconst %b : bool[1] = {1}\n%y : ? = Xor(%a, %b)", "bool[2] = {0, 1}", 0},
        {"const %a : bool[2] = {1, 0}\n%y : ? = Not(%a)", "bool[2] = {0, 1}", 0},
        {"const %x : int32[3] = {-5, 0, 5}\nconst %l : int32[] = {-1}\nconst %h : int32[] = {2}\n%y : ? = Clip(%x, %l, "
         "%h)",
         "int32[3] = {-1, 0, 2}", 0},
        {"const %x : float32[2] = {-5.0, 5.0}\nconst %h : float32[] = {2.0}\n%y : ? = Clip(%x, _, %h)",
         "float32[2] = {-5.0, 2.0}", 0},
    };
    CHECK(rows);
}

static void casts(void **state) {
    (void)state;
    static const Row rows[] = {
        {"const %x : float32[3] = {-1.9, 2.9, 0.0}\n%y : ? = Cast(%x) {to=6}", "int32[3] = {-1, 2, 0}", 0},
        {"const %x : int32[2] = {300, -1}\n%y : ? = Cast(%x) {to=2}", "uint8[2] = {44, 255}", 0},
        {"const %x : float32[2] = {0.0, 0.25}\n%y : ? = Cast(%x) {to=9}", "bool[2] = {0, 1}", 0},
        {"const %x : bool[2] = {0, 1}\n%y : ? = Cast(%x) {to=1}", "float32[2] = {0.0, 1.0}", 0},
        {"const %x : float32[2] = {70000.0, 2049.0}\n%y : ? = Cast(%x) {to=10}", "float16[2] = hex 007c0068", 0},
        {"const %x : float32[2] = {1000.0, 0.3}\n%y : ? = Cast(%x) {to=17}", "float8e4m3fn[2] = hex 7e2a", 0},
        {"const %x : float32[1] = {1000.0}\n%y : ? = Cast(%x) {to=17, saturate=0}", "float8e4m3fn[1] = hex 7f", 0},
        {"const %x : uint4[3] = {15, 1, 7}\n%y : ? = Cast(%x) {to=7}", "int64[3] = {15, 1, 7}", 0},
        {"const %x : int64[1] = {-3}\nconst %l : float64[1] = {0.0}\n%y : ? = CastLike(%x, %l)", "float64[1] = {-3.0}",
         0},
        {"const %x : float32[1] = {1.0}\n%y : ? = BitCast(%x) {to=6}", "int32[1] = {1065353216}", 0},
    };
    CHECK(rows);
}

static void errors_name_the_node(void **state) {
    (void)state;
    ir_expect_error(
        "const %a : float32[2] = {1.0, 2.0}\nconst %b : float32[3] = {1.0, 2.0, 3.0}\n%y : ? = Add \"sum\"(%a, %b)",
        STATUS_INVALID, "Add 'sum'");
    ir_expect_error("const %a : int32[1] = {1}\n%y : ? = Sqrt \"root\"(%a)", STATUS_INVALID, "Sqrt 'root'");
    ir_expect_error("const %a : int32[1] = {1}\nconst %b : float32[1] = {1.0}\n%y : ? = Mul(%a, %b)", STATUS_INVALID,
                    "one element type");
    ir_expect_error("const %a : int32[1] = {1}\n%y : ? = Cast(%a) {to=99}", STATUS_INVALID, "99");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_floats),      cmocka_unit_test(nan_passes), cmocka_unit_test(integers_wrap),
        cmocka_unit_test(binary_broadcasts), cmocka_unit_test(casts),      cmocka_unit_test(errors_name_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
