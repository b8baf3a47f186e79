/* Frames of the integer elementwise engine and of the conversions. */
#include "kernels/cpu/eltwise/quant.h"

#include "kernels/cpu/eltwise/elt_nest.h"
#include "kernels/cpu/families.h"

enum { QUANT_CHUNK = 16384 /* elements handed out together */, QUANT_PIECE = 1024 /* gathered together */ };

const QuantOps *quant_ops(uint32_t isa_bits) { return family_find("quant", isa_bits)->ops; }

void qbinary_prepare(QBinary *e, uint32_t isa_bits) {
    e->ops = quant_ops(isa_bits);
    const EltForm form = elt_nest_form(&e->nest, e->gather);
    e->row = e->ops->qbinary[e->kind][form];
    e->chunk = e->gather[0] || e->gather[1] || e->gather[2] ? QUANT_PIECE : QUANT_CHUNK;
}

static const uint8_t *qbinary_operand(const uint8_t *x, int64_t stride, size_t n, bool gather, uint8_t *piece) {
    if (!gather) return x;
    for (size_t i = 0; i < n; i++) piece[i] = x[(int64_t)i * stride];
    return piece;
}

static void qbinary_piece(const QBinary *e, uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n) {
    uint8_t pa[QUANT_PIECE], pb[QUANT_PIECE], py[QUANT_PIECE];
    const int32_t last = e->nest.rank - 1;
    a = qbinary_operand(a, e->nest.stride[1][last], n, e->gather[1], pa);
    b = qbinary_operand(b, e->nest.stride[2][last], n, e->gather[2], pb);
    uint8_t *to = e->gather[0] ? py : y;
    e->row(to, a, b, n, &e->p);
    if (e->lut) e->ops->lut(to, to, n, e->lut);
    if (e->gather[0])
        for (size_t i = 0; i < n; i++) {
            /* filled by the row. NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
            y[(int64_t)i * e->nest.stride[0][last]] = py[i];
        }
}

typedef struct {
    const QBinary *e;
    uint8_t *y;
    const uint8_t *a, *b;
} QBinaryRun;

static void qbinary_one(void *arg, const EltPiece *p) {
    const QBinaryRun *r = arg;
    qbinary_piece(r->e, r->y + p->at[0], r->a + p->at[1], r->b + p->at[2], (size_t)p->n);
}

static void qbinary_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const QBinaryRun *r = arg;
    elt_nest_pieces(&r->e->nest, r->e->chunk, begin, end, qbinary_one, arg);
}

void qbinary_run(const QBinary *e, uint8_t *y, const uint8_t *a, const uint8_t *b, Team *team) {
    QBinaryRun r = {.e = e, .y = y, .a = a, .b = b};
    team_run(team, qbinary_items, &r, elt_nest_items(&e->nest, e->chunk), elt_nest_grain(&e->nest, QUANT_CHUNK));
}

/* One flat conversion, of either direction. */
typedef struct {
    const QuantOps *ops;
    QuantizeFn quantize;
    DequantizeFn dequantize;
    const uint8_t *lut;
    void *y;
    const void *x;
    size_t n;
    float scale;
    int32_t zp, lo, hi;
} FlatRun;

static void flat_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const FlatRun *r = arg;
    const size_t from = (size_t)begin * QUANT_CHUNK;
    const size_t to = (size_t)end * QUANT_CHUNK < r->n ? (size_t)end * QUANT_CHUNK : r->n, n = to - from;
    if (r->quantize)
        r->quantize((uint8_t *)r->y + from, (const float *)r->x + from, n, r->scale, r->zp, r->lo, r->hi);
    else if (r->dequantize)
        r->dequantize((float *)r->y + from, (const uint8_t *)r->x + from, n, r->scale, r->zp);
    else
        r->ops->lut((uint8_t *)r->y + from, (const uint8_t *)r->x + from, n, r->lut);
}

static void flat_run(FlatRun *r, Team *team) {
    team_run(team, flat_items, r, (int64_t)((r->n + QUANT_CHUNK - 1) / QUANT_CHUNK), 1);
}

void lut_u8_run(const QuantOps *ops, uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut, Team *team) {
    FlatRun r = {.ops = ops, .lut = lut, .y = y, .x = x, .n = n};
    flat_run(&r, team);
}

void quantize_run(const QuantOps *ops, void *y, const float *x, size_t n, float scale, int32_t zp, bool is_signed,
                  Team *team) {
    FlatRun r = {.quantize = ops->quantize, .y = y, .x = x, .n = n, .scale = scale, .zp = zp};
    r.lo = is_signed ? -128 : 0;
    r.hi = is_signed ? 127 : 255;
    flat_run(&r, team);
}

void dequantize_run(const QuantOps *ops, float *y, const void *x, size_t n, float scale, int32_t zp, bool is_signed,
                    Team *team) {
    FlatRun r = {.y = y, .x = x, .n = n, .scale = scale, .zp = zp};
    r.dequantize = is_signed ? ops->dequantize_s8 : ops->dequantize_u8;
    flat_run(&r, team);
}
