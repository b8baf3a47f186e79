/* Shape rules with symbols: how exporters compute shapes must stay symbolic to the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/ir_case.h"

typedef struct Row {
    const char *lines, *type;
} Row;

static void check_rows(const Row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) ir_expect_type(rows[i].lines, rows[i].type);
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

#define X             "input %x : float32[N,3,H,W]\n"
#define T             "input %x : float32[B,S,768]\n"
#define I(name, n, v) "const %" name " : int64[" n "] = {" v "}\n"

static void single_ops(void **state) {
    (void)state;
    static const Row rows[] = {
        {X "%y : ? = Relu(%x)", "float32[N,3,H,W]"},
        {X "const %b : float32[1,3,1,1] = {1.0, 2.0, 3.0}\n%y : ? = Mul(%x, %b)", "float32[N,3,H,W]"},
        {X "%y : ? = Shape(%x)", "int64[4]"},
        {X "%y : ? = Flatten(%x)", "float32[N,(W * (H * 3))]"},
        {X I("s", "2", "0, -1") "%y : ? = Reshape(%x, %s)", "float32[N,((H * W) * 3)]"},
        {T I("s", "4", "0, 0, 12, 64") "%y : ? = Reshape(%x, %s)", "float32[B,S,12,64]"},
        {T I("s", "4", "0, -1, 12, 64") "%y : ? = Reshape(%x, %s)", "float32[B,S,12,64]"},
        {T I("s", "2", "-1, 768") "%y : ? = Reshape(%x, %s)", "float32[(B * S),768]"},
        {X "%y : ? = Transpose(%x) {perm=[0, 2, 3, 1]}", "float32[N,H,W,3]"},
        {X "%y : ? = Concat(%x, %x) {axis=2}", "float32[N,3,(H + H),W]"},
        {X I("b", "2", "1, 0") I("e", "2", "9223372036854775807, -2")
             I("a", "2", "2, 3") "%y : ? = Slice(%x, %b, %e, %a)",
         "float32[N,3,(H - 1),(W - 2)]"},
        {X I("b", "1", "-1") I("e", "1", "9223372036854775807") I("a", "1", "2") "%y : ? = Slice(%x, %b, %e, %a)",
         "float32[N,3,1,W]"},
        {X I("b", "1", "0") I("e", "1", "9223372036854775807") I("a", "1", "3")
             I("s", "1", "2") "%y : ? = Slice(%x, %b, %e, %a, %s)",
         "float32[N,3,H,(W ^/ 2)]"},
        {X I("p", "8", "0, 0, 1, 1, 0, 0, 1, 1") "%y : ? = Pad(%x, %p)", "float32[N,3,(H + 2),(W + 2)]"},
        {X "const %s : float32[4] = {1.0, 1.0, 2.0, 0.5}\n%y : ? = Resize(%x, _, %s)", "float32[N,3,(H * 2),(W / 2)]"},
        {X "input %i : int64[K,2]\n%y : ? = Gather(%x, %i) {axis=1}", "float32[N,K,2,H,W]"},
        {X "%y : ? = SpaceToDepth(%x) {blocksize=2}", "float32[N,12,(H / 2),(W / 2)]"},
        {X I("r", "4", "1, 1, 2, 1") "%y : ? = Tile(%x, %r)", "float32[N,3,(H * 2),W]"},
        {"input %x : float32[...]\n%y : ? = Transpose(%x)", "float32[...]"},
        {"input %x : float32[...]\n" I("s", "2", "-1, 8") "%y : ? = Reshape(%x, %s)", "float32[?0,8]"},
        {"input %x : float32[...]\ninput %s : int64[3]\n%y : ? = Reshape(%x, %s)", "float32[?0,?1,?2]"},
        {X "%y : ? = Cast(%x) {to=10}", "float16[N,3,H,W]"},
        {X "%y : ? = Greater(%x, %x)", "bool[N,3,H,W]"},
    };
    CHECK(rows);
}

static void shape_arithmetic(void **state) {
    (void)state;
#define DIM(k) "const %k" k " : int64[] = {" k "}\n%d" k " : ? = Gather(%s, %k" k ")\n"
#define AXIS0  "const %zero : int64[1] = {0}\n"
    static const Row rows[] = {
        /* x.view(B, -1, 64) as exporters write it */
        {T AXIS0 I("m", "1", "-1") I("c", "1", "64") "%s : ? = Shape(%x)\n" DIM(
             "0") "%u : ? = Unsqueeze(%d0, %zero)\n%t : ? = Concat(%u, %m, %c) {axis=0}\n%y : ? = Reshape(%x, %t)",
         "float32[B,(S * 12),64]"},
        {T AXIS0 I("c", "2",
                   "12, 64") "%s : ? = Shape(%x) {end=2}\n%t : ? = Concat(%s, %c) {axis=0}\n%y : ? = Reshape(%x, %t)",
         "float32[B,S,12,64]"},
        /* arithmetic on dims, through int32 and back */
        {X AXIS0 "const %two : int64[] = {2}\n%s : ? = Shape(%x)\n" DIM(
             "2") "%m : ? = Mul(%d2, %two)\n%i : ? = Cast(%m) {to=6}\n%l : ? = Cast(%i) {to=7}\n%u : ? = Unsqueeze(%l, "
                  "%zero)\n%y : ? = ConstantOfShape(%u)",
         "float32[(H * 2)]"},
        {X AXIS0 "const %two : int64[] = {2}\n%s : ? = Shape(%x)\n" DIM(
             "2") "%h : ? = Div(%d2, %two)\n%a : ? = Add(%h, %two)\n%b : ? = Sub(%a, %two)\n%u : ? = Unsqueeze(%b, "
                  "%zero)\n%y : ? = ConstantOfShape(%u)",
         "float32[(H / 2)]"},
        /* arange(S) */
        {T "const %b : int64[] = {0}\nconst %one : int64[] = {1}\n%s : ? = Shape(%x)\n" DIM(
             "1") "%y : ? = Range(%b, %d1, %one)",
         "int64[S]"},
        /* slice to the length of another tensor */
        {T AXIS0 I("a", "1", "1") "const %p : float32[1,512,768] = splat {0.0}\n%s : ? = Shape(%x)\n" DIM(
             "1") "%e : ? = Unsqueeze(%d1, %zero)\n%y : ? = Slice(%p, %zero, %e, %a)",
         "float32[1,(S min 512),768]"},
        /* resize to twice the size */
        {X I("b", "1", "2") I("e", "1", "4") I("f", "2", "2, 2")
             I("z", "1", "0") "%s : ? = Shape(%x)\n%hw : ? = Slice(%s, %b, %e)\n%nc : ? = Slice(%s, %z, %b)\n%big : ? "
                              "= Mul(%hw, %f)\n%t : ? = Concat(%nc, %big) {axis=0}\n%y : ? = Resize(%x, _, _, %t)",
         "float32[N,3,(H * 2),(W * 2)]"},
        /* expand with -1 kept: where(shape == -1, 1, shape) */
        {T I("g", "3", "-1, 4, -1") I("three", "1", "3")
             I("ax", "1", "1") "const %m : int64[] = {-1}\n%one : ? = ConstantOfShape(%three) {value=tensor int64[1] = "
                               "{1}}\n%q : ? = Equal(%g, %m)\n%t : ? = Where(%q, %one, %g)\n%v : ? = Gather(%x, %m) "
                               "{axis=1}\n%w : ? = Unsqueeze(%v, %ax)\n%y : ? = Expand(%w, %t)",
         "float32[B,4,768]"},
        /* product of dims by Size and ReduceProd */
        {T AXIS0 "%s : ? = Shape(%x) {end=2}\n%p : ? = ReduceProd(%s) {keepdims=1}\n%y : ? = ConstantOfShape(%p)",
         "float32[(B * S)]"},
        {T "%n : ? = Size(%x)\n" I("one", "1", "1") "%r : ? = Reshape(%n, %one)\n%y : ? = ConstantOfShape(%r)",
         "float32[((B * S) * 768)]"},
        /* one unknown entry does not hide the others */
        {T AXIS0 "input %k : int64[1]\n" I(
             "c", "1",
             "8") "%s : ? = Shape(%x) {end=1}\n%t : ? = Concat(%s, %k, %c) {axis=0}\n%y : ? = ConstantOfShape(%t)",
         "float32[B,?0,8]"},
        /* a split shape */
        {T "%s : ? = Shape(%x)\n%a : ?, %b : ?, %c : ? = Split(%s) {axis=0, num_outputs=3}\n%t : ? = Concat(%c, %a) "
           "{axis=0}\n%y : ? = ConstantOfShape(%t)",
         "float32[768,B]"},
    };
    CHECK(rows);
}

static void contradictions(void **state) {
    (void)state;
    ir_expect_error(X "input %z : float32[N,4,H,W]\n%y : ? = Add(%x, %z)", STATUS_INVALID, "do not broadcast");
    ir_expect_error(X "input %z : float32[N,4,H,W]\n%y : ? = Concat(%x, %z) {axis=0}", STATUS_INVALID, "dimension 1");
    ir_expect_error(X "const %i : int64[] = {3}\n%y : ? = Gather(%x, %i) {axis=4}", STATUS_INVALID, "axis 4");
    ir_expect_error(X I("s", "5", "0, 0, 0, 0, 0") "%y : ? = Reshape(%x, %s)", STATUS_INVALID, "dimension 4 is 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_ops),
        cmocka_unit_test(shape_arithmetic),
        cmocka_unit_test(contradictions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
