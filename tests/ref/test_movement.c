/* Shape, movement, gather, pad, resize, sampling and selecting ops: values checked by hand. */
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

#define X23           "const %x : int8[2,3] = {1, 2, 3, 4, 5, 6}\n"
#define I(name, n, v) "const %" name " : int64[" n "] = {" v "}\n"

static void views(void **state) {
    (void)state;
    static const Row rows[] = {
        {X23 I("s", "2", "-1, 2") "%y : ? = Reshape(%x, %s)", "int8[3,2] = {1, 2, 3, 4, 5, 6}", 0},
        {X23 I("s", "3", "0, 1, -1") "%y : ? = Reshape(%x, %s)", "int8[2,1,3] = {1, 2, 3, 4, 5, 6}", 0},
        {"const %x : int8[0,3] = {}\n" I("s", "2", "3, 0") "%y : ? = Reshape(%x, %s) {allowzero=1}", "int8[3,0] = {}",
         0},
        {X23 "%y : ? = Flatten(%x) {axis=0}", "int8[1,6] = {1, 2, 3, 4, 5, 6}", 0},
        {X23 I("a", "2", "0, -1") "%y : ? = Unsqueeze(%x, %a)", "int8[1,2,3,1] = {1, 2, 3, 4, 5, 6}", 0},
        {"const %x : int8[1,2,1] = {1, 2}\n" I("a", "1", "-1") "%y : ? = Squeeze(%x, %a)", "int8[1,2] = {1, 2}", 0},
        {"const %x : int8[1,2,1] = {1, 2}\n%y : ? = Squeeze(%x)", "int8[2] = {1, 2}", 0},
        {X23 "%y : ? = Shape(%x) {start=-1}", "int64[1] = {3}", 0},
        {X23 "%y : ? = Size(%x)", "int64[] = {6}", 0},
        {"const %x : uint4[3] = {1, 15, 7}\n%y : ? = Identity(%x)", "uint4[3] = {1, 15, 7}", 0},
    };
    CHECK(rows);
}

static void moves(void **state) {
    (void)state;
    static const Row rows[] = {
        {X23 "%y : ? = Transpose(%x)", "int8[3,2] = {1, 4, 2, 5, 3, 6}", 0},
        {"const %x : int4[2,3] = {1, 2, 3, 4, 5, -8}\n%y : ? = Transpose(%x) {perm=[1, 0]}",
         "int4[3,2] = {1, 4, 2, 5, 3, -8}", 0},
        {X23 "%y : ? = Concat(%x, %x) {axis=-1}", "int8[2,6] = {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6}", 0},
        {X23 I("s", "2", "2, 1") "%a : ?, %y : ? = Split(%x, %s) {axis=1}", "int8[2,1] = {3, 6}", 0},
        {X23 "%a : ?, %y : ? = Split(%x) {axis=1, num_outputs=2}", "int8[2,1] = {3, 6}", 0},
        {X23 I("b", "2", "-1, 3") I("e", "2", "-9223372036854775808, 0") I("a", "2", "0, 1")
             I("s", "2", "-1, -2") "%y : ? = Slice(%x, %b, %e, %a, %s)",
         "int8[2,1] = {6, 3}", 0},
        {X23 I("b", "1", "1") I("e", "1", "9223372036854775807") I("a", "1", "-1") "%y : ? = Slice(%x, %b, %e, %a)",
         "int8[2,2] = {2, 3, 5, 6}", 0},
        {X23 I("r", "2", "2, 1") "%y : ? = Tile(%x, %r)", "int8[4,3] = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}", 0},
        {"const %x : int8[2,1] = {1, 2}\n" I("s", "3", "2, 1, 2") "%y : ? = Expand(%x, %s)",
         "int8[2,2,2] = {1, 1, 2, 2, 1, 1, 2, 2}", 0},
        {"const %x : int8[1,4,1,1] = {1, 2, 3, 4}\n%y : ? = DepthToSpace(%x) {blocksize=2}",
         "int8[1,1,2,2] = {1, 2, 3, 4}", 0},
        {"const %x : int8[1,1,2,2] = {1, 2, 3, 4}\n%y : ? = SpaceToDepth(%x) {blocksize=2}",
         "int8[1,4,1,1] = {1, 2, 3, 4}", 0},
        {I("b", "", "3") I("e", "", "-3") I("d", "", "-2") "%y : ? = Range(%b, %e, %d)", "int64[3] = {3, 1, -1}", 0},
        {I("s", "2", "2, 1") "%y : ? = ConstantOfShape(%s) {value=tensor int32[1] = {7}}", "int32[2,1] = {7, 7}", 0},
        {X23 I("s", "2", "1, 2") "%y : ? = ReverseSequence(%x, %s) {batch_axis=0, time_axis=1}",
         "int8[2,3] = {1, 2, 3, 5, 4, 6}", 0},
    };
    CHECK(rows);
}

static void gathers_and_scatters(void **state) {
    (void)state;
    static const Row rows[] = {
        {X23 I("i", "2", "-1, 0") "%y : ? = Gather(%x, %i) {axis=1}", "int8[2,2] = {3, 1, 6, 4}", 0},
        {X23 I("i", "", "1") "%y : ? = Gather(%x, %i)", "int8[3] = {4, 5, 6}", 0},
        {X23 I("i", "2,1", "2, -3") "%y : ? = GatherElements(%x, %i) {axis=1}", "int8[2,1] = {3, 4}", 0},
        {X23 I("i", "2,1", "1, 0") "%y : ? = GatherND(%x, %i) {batch_dims=1}", "int8[2] = {2, 4}", 0},
        {X23 I("i", "1,2", "1, -1") "%y : ? = GatherND(%x, %i)", "int8[1] = {6}", 0},
        {X23 I("i", "1,2", "1, 1") "const %u : int8[1,2] = {10, 20}\n%y : ? = ScatterElements(%x, %i, %u) {axis=1, "
                                   "reduction=\"add\"}",
         "int8[2,3] = {1, 32, 3, 4, 5, 6}", 0},
        {X23 I("i", "1,1", "1") "const %u : int8[1,3] = {7, 1, 9}\n%y : ? = ScatterND(%x, %i, %u) {reduction=\"max\"}",
         "int8[2,3] = {1, 2, 3, 7, 5, 9}", 0},
        {X23 "const %c : bool[2] = {0, 1}\n%y : ? = Compress(%x, %c) {axis=1}", "int8[2,1] = {2, 5}", 0},
        {"const %x : int8[2,2] = {0, 5, 6, 0}\n%y : ? = NonZero(%x)", "int64[2,2] = {0, 1, 1, 0}", 0},
        {"const %i : int32[2] = {-1, 5}\n" I("d", "",
                                             "3") "const %v : float32[2] = {0.5, 2.0}\n%y : ? = OneHot(%i, %d, %v)",
         "float32[2,3] = {0.5, 0.5, 2.0, 0.5, 0.5, 0.5}", 0},
        {X23 "%y : ? = EyeLike(%x) {k=1, dtype=1}", "float32[2,3] = {0.0, 1.0, 0.0, 0.0, 0.0, 1.0}", 0},
        {X23 I("k", "", "1") "%y : ? = Trilu(%x, %k)", "int8[2,3] = {0, 2, 3, 0, 0, 6}", 0},
        {X23 "%y : ? = Trilu(%x) {upper=0}", "int8[2,3] = {1, 0, 0, 4, 5, 0}", 0},
        {"const %x : int8[5] = {2, 1, 2, 1, 9}\n%v : ?, %i : ?, %y : ?, %n : ? = Unique(%x) {sorted=0}",
         "int64[5] = {0, 1, 0, 1, 2}", 0},
        {"const %x : int8[2,3] = {3, 1, 3, 0, 5, 0}\n%y : ? = Unique(%x) {axis=1}", "int8[2,2] = {1, 3, 5, 0}", 0},
        {"const %x : int8[1,3,1] = {1, 2, 3}\nconst %u : int8[1,2,1] = {8, 9}\n" I(
             "w", "1", "2") "%y : ? = TensorScatter(%x, %u, %w) {mode=\"circular\"}",
         "int8[1,3,1] = {9, 2, 8}", 0},
    };
    CHECK(rows);
}

static void pads(void **state) {
    (void)state;
#define X3 "const %x : int8[3] = {1, 2, 3}\n"
    static const Row rows[] = {
        {X3 I("p", "2", "1, 2") "const %v : int8[] = {9}\n%y : ? = Pad(%x, %p, %v)", "int8[6] = {9, 1, 2, 3, 9, 9}", 0},
        {X3 I("p", "2", "-1, 1") "%y : ? = Pad(%x, %p)", "int8[3] = {2, 3, 0}", 0},
        {X3 I("p", "2", "4, 3") "%y : ? = Pad(%x, %p) {mode=\"reflect\"}", "int8[10] = {1, 2, 3, 2, 1, 2, 3, 2, 1, 2}",
         0},
        {X3 I("p", "2", "1, 1") "%y : ? = Pad(%x, %p) {mode=\"edge\"}", "int8[5] = {1, 1, 2, 3, 3}", 0},
        {X3 I("p", "2", "2, 1") "%y : ? = Pad(%x, %p) {mode=\"wrap\"}", "int8[6] = {2, 3, 1, 2, 3, 1}", 0},
        {X23 I("p", "2", "0, 1") I("a", "1", "-2") "%y : ? = Pad(%x, %p, _, %a)",
         "int8[3,3] = {1, 2, 3, 4, 5, 6, 0, 0, 0}", 0},
        {X23 I("s", "2", "4, 1") "%y : ? = CenterCropPad(%x, %s)", "int8[4,1] = {0, 2, 5, 0}", 0},
    };
    CHECK(rows);
}

static void resizes(void **state) {
    (void)state;
#define X12           "const %x : float32[1,1,1,2] = {0.0, 4.0}\n"
#define SIZES(v)      "const %s : int64[4] = {1, 1, 1, " v "}\n"
#define RESIZE(attrs) "%y : ? = Resize(%x, _, _, %s) {" attrs "}"
    static const Row rows[] = {
        {X12 SIZES("4") RESIZE("mode=\"linear\""), "float32[1,1,1,4] = {0.0, 1.0, 3.0, 4.0}", 1e-6},
        {X12 SIZES("4") RESIZE("mode=\"linear\", coordinate_transformation_mode=\"align_corners\""),
         "float32[1,1,1,4] = {0.0, 1.3333334, 2.6666667, 4.0}", 1e-6},
        {X12 SIZES("4") RESIZE("mode=\"linear\", coordinate_transformation_mode=\"asymmetric\""),
         "float32[1,1,1,4] = {0.0, 2.0, 4.0, 4.0}", 1e-6},
        {X12 SIZES("4") RESIZE("mode=\"cubic\""), "float32[1,1,1,4] = {-0.421875, 0.90625, 3.09375, 4.421875}", 1e-6},
        {X12 SIZES("3") RESIZE("nearest_mode=\"floor\", coordinate_transformation_mode=\"asymmetric\""),
         "float32[1,1,1,3] = {0.0, 0.0, 4.0}", 0},
        {"const %x : float32[1,1,1,4] = {0.0, 2.0, 4.0, 6.0}\n" SIZES("2") RESIZE("mode=\"linear\", antialias=1"),
         "float32[1,1,1,2] = {1.25, 4.75}", 1e-6},
        {"const %x : uint8[2] = {1, 2}\nconst %s : float32[1] = {2.0}\n%y : ? = Resize(%x, _, %s)",
         "uint8[4] = {1, 1, 2, 2}", 0},
    };
    CHECK(rows);
}

static void samples(void **state) {
    (void)state;
#define GRID(v) "const %x : float32[1,1,1,2] = {1.0, 3.0}\nconst %g : float32[1,1,2,2] = {" v "}\n"
    static const Row rows[] = {
        {GRID("0.0, 0.0, 0.5, 0.0") "%y : ? = GridSample(%x, %g)", "float32[1,1,1,2] = {2.0, 3.0}", 1e-6},
        {GRID("1.0, 0.0, 3.0, 0.0") "%y : ? = GridSample(%x, %g)", "float32[1,1,1,2] = {1.5, 0.0}", 1e-6},
        {GRID("1.0, 0.0, 3.0, 0.0") "%y : ? = GridSample(%x, %g) {padding_mode=\"border\"}",
         "float32[1,1,1,2] = {3.0, 3.0}", 1e-6},
        {GRID("-0.6, 0.0, 2.5, 0.0") "%y : ? = GridSample(%x, %g) {mode=\"nearest\", padding_mode=\"reflection\"}",
         "float32[1,1,1,2] = {1.0, 1.0}", 1e-6},
        {"const %t : float32[1,2,3] = {1.0, 0.0, 0.0, 0.0, 1.0, 0.5}\nconst %s : int64[4] = {1, 1, 1, 2}\n%y : ? = "
         "AffineGrid(%t, %s)",
         "float32[1,1,2,2] = {-0.5, 0.5, 0.5, 0.5}", 1e-6},
        {"const %x : float32[1,2,2] = {1.0, 2.0, 3.0, 4.0}\nconst %i : int64[2] = {1, 3}\nconst %b : int64[2] = {1, "
         "2}\n%y : ? = Col2Im(%x, %i, %b)",
         "float32[1,1,1,3] = {1.0, 5.0, 4.0}", 0},
    };
    CHECK(rows);
}

static void wrong_inputs(void **state) {
    (void)state;
    static const struct {
        const char *lines, *text;
    } rows[] = {
        {X23 I("s", "2", "4, 2") "%y : ? = Reshape(%x, %s)", "elements"},
        {X23 I("s", "2", "-1, -1") "%y : ? = Reshape(%x, %s)", "-1"},
        {X23 I("s", "1", "-2") "%y : ? = Reshape(%x, %s)", "-2"},
        {X23 I("i", "", "2") "%y : ? = Gather(%x, %i)", "index 2"},
        {X23 I("i", "1,1", "7") "%y : ? = GatherND(%x, %i)", "index 7"},
        {X23 I("a", "1", "5") "%y : ? = Unsqueeze(%x, %a)", "axis 5"},
        {X23 I("a", "1", "0") "%y : ? = Squeeze(%x, %a)", "expected 1"},
        {X23 "%y : ? = Transpose(%x) {perm=[0, 0]}", "perm"},
        {X23 I("s", "2", "2, 2") "%a : ?, %y : ? = Split(%x, %s) {axis=1}", "sizes"},
        {X23 I("b", "1", "0") I("e", "1", "1") I("a", "1", "0") I("s", "1", "0") "%y : ? = Slice(%x, %b, %e, %a, %s)",
         "step"},
        {X23 I("p", "3", "0, 1, 1") "%y : ? = Pad(%x, %p)", "pads"},
        {I("s", "1", "-3") "%y : ? = ConstantOfShape(%s)", "-3"},
        {I("b", "0", "") I("d", "", "1") "%y : ? = Range(%b, %d, %d)", "one number"},
        {X23 "%y : ? = Resize(%x)", "exactly one"},
        {X23 "%y : ? = DepthToSpace(%x) {blocksize=2}", "4 dimensions"},
        {X23 I("r", "1", "2") "%y : ? = Tile(%x, %r)", "repeats"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ir_expect_error(rows[i].lines, STATUS_INVALID, rows[i].text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views),        cmocka_unit_test(moves),   cmocka_unit_test(gathers_and_scatters),
        cmocka_unit_test(pads),         cmocka_unit_test(resizes), cmocka_unit_test(samples),
        cmocka_unit_test(wrong_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
