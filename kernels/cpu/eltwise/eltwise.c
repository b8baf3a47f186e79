/* Frames of the unary and binary float engines: collapsing, splitting over the team, and rows with odd strides. */
#include <string.h>

#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/eltwise/elt_nest.h"
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/families.h"

enum {
    ELT_CHUNK = 4096 /* elements: 16 KiB a stream, so that a fused activation finds its row in L1 */,
    ELT_PIECE = 256
};

Activation activation_make(UnaryKind kind, float a, float b, uint32_t isa_bits) {
    const UnaryF32Ops *ops = family_find("unary_f32", isa_bits)->ops;
    return (Activation){.fn = ops->fn[kind], .a = a, .b = b};
}

typedef struct {
    const Activation *act;
    float *y;
    const float *x;
    size_t n;
} UnaryRun;

static void unary_chunks(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const UnaryRun *r = arg;
    const size_t from = (size_t)begin * ELT_CHUNK;
    const size_t to = (size_t)end * ELT_CHUNK < r->n ? (size_t)end * ELT_CHUNK : r->n;
    r->act->fn(r->y + from, r->x + from, to - from, r->act->a, r->act->b);
}

void unary_f32_run(const Activation *act, float *y, const float *x, size_t n, Team *team) {
    UnaryRun r = {.act = act, .y = y, .x = x, .n = n};
    team_run(team, unary_chunks, &r, (int64_t)((n + ELT_CHUNK - 1) / ELT_CHUNK), 1);
}

void binary_f32_prepare(BinaryF32 *e, uint32_t isa_bits) {
    const BinaryF32Ops *ops = family_find("binary_f32", isa_bits)->ops;
    e->row = ops->fn[e->kind][elt_nest_form(&e->nest, e->gather)];
    e->chunk = e->gather[0] || e->gather[1] || e->gather[2] ? ELT_PIECE : ELT_CHUNK;
}

static const float *binary_operand(const float *x, int64_t stride, size_t n, bool gather, float *piece) {
    if (!gather) return x;
    for (size_t i = 0; i < n; i++) piece[i] = x[(int64_t)i * stride];
    return piece;
}

/* One piece of a row, of at most `chunk` elements. */
static void binary_piece(const BinaryF32 *e, float *y, const float *a, const float *b, size_t n) {
    float pa[ELT_PIECE], pb[ELT_PIECE], py[ELT_PIECE];
    const int32_t last = e->nest.rank - 1;
    const int64_t ys = e->nest.stride[0][last];
    a = binary_operand(a, e->nest.stride[1][last], n, e->gather[1], pa);
    b = binary_operand(b, e->nest.stride[2][last], n, e->gather[2], pb);
    float *to = e->gather[0] ? py : y;
    e->row(to, a, b, n, e->lo, e->hi);
    if (e->act.fn) e->act.fn(to, to, n, e->act.a, e->act.b);
    if (e->gather[0])
        for (size_t i = 0; i < n; i++) y[(int64_t)i * ys] = py[i];
}

typedef struct {
    const BinaryF32 *e;
    float *y;
    const float *a, *b;
} BinaryRun;

static void binary_one(void *arg, const EltPiece *p) {
    const BinaryRun *r = arg;
    binary_piece(r->e, r->y + p->at[0], r->a + p->at[1], r->b + p->at[2], (size_t)p->n);
}

static void binary_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const BinaryRun *r = arg;
    elt_nest_pieces(&r->e->nest, r->e->chunk, begin, end, binary_one, arg);
}

void binary_f32_run(const BinaryF32 *e, float *y, const float *a, const float *b, Team *team) {
    BinaryRun r = {.e = e, .y = y, .a = a, .b = b};
    team_run(team, binary_items, &r, elt_nest_items(&e->nest, e->chunk), elt_nest_grain(&e->nest, ELT_CHUNK));
}
