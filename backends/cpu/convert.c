#include "backends/cpu/convert.h"

#include <string.h>

ConvertOp convert_op(const Type *t, Layout to, int64_t ld) {
    ConvertOp op = {.n = t->dims[0], .channels = t->dims[1], .spatial = 1, .ld = ld};
    op.elem = (size_t)elem_bits(t->elem) / 8;
    for (int i = 2; i < t->rank; i++) op.spatial *= t->dims[i];
    op.to_nhwc = to == LAYOUT_NHWC;
    return op;
}

ConvertOp convert_compact(const Type *t, Layout layout, int64_t ld) {
    ConvertOp op = convert_op(t, layout, ld);
    op.compact = true;
    return op;
}

typedef struct Job {
    const ConvertOp *op;
    const uint8_t *x;
    uint8_t *y;
} Job;

enum { PIXELS = 64 }; /* of one item: reads and writes of a block stay in L1 */

/* y[j * y_pitch + i] = x[i * x_pitch + j] for i < ni, j < nj. */
#define TRANSPOSE(T)                                                                                                   \
    static void transpose_##T(const T *x, int64_t x_pitch, T *y, int64_t y_pitch, int64_t ni, int64_t nj) {            \
        for (int64_t i0 = 0; i0 < ni; i0 += 16)                                                                        \
            for (int64_t j = 0; j < nj; j++)                                                                           \
                for (int64_t i = i0; i < ni && i < i0 + 16; i++) y[j * y_pitch + i] = x[i * x_pitch + j];              \
    }
TRANSPOSE(uint8_t)
TRANSPOSE(uint16_t)
TRANSPOSE(uint32_t)
TRANSPOSE(uint64_t)

static void transpose(size_t elem, const void *x, int64_t x_pitch, void *y, int64_t y_pitch, int64_t ni, int64_t nj) {
    switch (elem) {
    case 1:
        transpose_uint8_t(x, x_pitch, y, y_pitch, ni, nj);
        break;
    case 2:
        transpose_uint16_t(x, x_pitch, y, y_pitch, ni, nj);
        break;
    case 4:
        transpose_uint32_t(x, x_pitch, y, y_pitch, ni, nj);
        break;
    default:
        transpose_uint64_t(x, x_pitch, y, y_pitch, ni, nj);
        break;
    }
}

/* Pixels [begin, end) of one image. */
static void convert_pixels(const Job *job, int64_t image, int64_t begin, int64_t end) {
    const ConvertOp *op = job->op;
    const int64_t size = (int64_t)op->elem, c = op->channels, s = op->spatial;
    if (op->compact) {
        for (int64_t p = image * s + begin; p < image * s + end; p++)
            memcpy(job->y + p * c * size, job->x + p * op->ld * size, (size_t)(c * size));
        return;
    }
    const int64_t plain = (image * c * s + begin) * size, last = (image * s + begin) * op->ld * size;
    if (op->to_nhwc)
        transpose(op->elem, job->x + plain, s, job->y + last, op->ld, c, end - begin);
    else
        transpose(op->elem, job->x + last, op->ld, job->y + plain, s, end - begin, c);
}

static void convert_items(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const Job *job = arg;
    const int64_t s = job->op->spatial;
    for (int64_t p = begin; p < end;) {
        int64_t image = p / s, stop = (image + 1) * s;
        if (stop > end) stop = end;
        if (stop > p + PIXELS) stop = p + PIXELS;
        convert_pixels(job, image, p - image * s, stop - image * s);
        p = stop;
    }
}

void convert_run(const ConvertOp *op, const void *x, void *y, Team *team) {
    Job job = {op, x, y};
    team_run(team, convert_items, &job, op->n * op->spatial, PIXELS);
}
