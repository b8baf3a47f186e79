#include "kernels/cpu/eltwise/elt_nest.h"

#include <stdbool.h>

static void elt_nest_collapse(EltNest *nest) {
    int32_t kept = 0;
    for (int32_t d = 0; d < nest->rank; d++) {
        if (nest->dims[d] == 1) continue;
        bool merge = kept > 0;
        for (int t = 0; t < 3 && merge; t++) merge = nest->stride[t][kept - 1] == nest->stride[t][d] * nest->dims[d];
        const int32_t to = merge ? kept - 1 : kept++;
        nest->dims[to] = merge ? nest->dims[to] * nest->dims[d] : nest->dims[d];
        for (int t = 0; t < 3; t++) nest->stride[t][to] = nest->stride[t][d];
    }
    if (kept == 0) {
        nest->dims[0] = 1;
        for (int t = 0; t < 3; t++) nest->stride[t][0] = 1;
        kept = 1;
    }
    nest->rank = kept;
}

EltForm elt_nest_form(EltNest *nest, uint8_t gather[3]) {
    elt_nest_collapse(nest);
    const int32_t last = nest->rank - 1;
    for (int t = 0; t < 3; t++) {
        const int64_t s = nest->stride[t][last];
        gather[t] = s != 1 && !(t > 0 && s == 0);
    }
    const bool a_one = nest->stride[1][last] == 0, b_one = nest->stride[2][last] == 0;
    /* both operands one value: the second is spread out, as any odd stride is */
    if (a_one && b_one) gather[2] = 1;
    return a_one ? BINARY_SV : b_one ? BINARY_VS : BINARY_VV;
}

int64_t elt_nest_items(const EltNest *nest, int64_t chunk) {
    int64_t rows = 1;
    for (int32_t d = 0; d + 1 < nest->rank; d++) rows *= nest->dims[d];
    return rows * ((nest->dims[nest->rank - 1] + chunk - 1) / chunk);
}

int64_t elt_nest_grain(const EltNest *nest, int64_t elements) {
    const int64_t n = nest->dims[nest->rank - 1];
    return n > 0 && n < elements ? elements / n : 1;
}

void elt_cursor_seek(EltCursor *c, const EltNest *nest, int64_t row) {
    c->at[0] = c->at[1] = c->at[2] = 0;
    for (int32_t d = nest->rank - 2; d >= 0; d--) {
        c->index[d] = row % nest->dims[d];
        row /= nest->dims[d];
        for (int t = 0; t < 3; t++) c->at[t] += c->index[d] * nest->stride[t][d];
    }
}

void elt_cursor_next(EltCursor *c, const EltNest *nest) {
    for (int32_t d = nest->rank - 2; d >= 0; d--) {
        for (int t = 0; t < 3; t++) c->at[t] += nest->stride[t][d];
        if (++c->index[d] < nest->dims[d]) return;
        c->index[d] = 0;
        for (int t = 0; t < 3; t++) c->at[t] -= nest->dims[d] * nest->stride[t][d];
    }
}

void elt_nest_pieces(const EltNest *nest, int64_t chunk, int64_t begin, int64_t end, EltPieceFn fn, void *arg) {
    const int32_t last = nest->rank - 1;
    const int64_t n = nest->dims[last], per_row = (n + chunk - 1) / chunk;
    EltCursor c;
    elt_cursor_seek(&c, nest, begin / per_row);
    int64_t part = begin % per_row;
    for (int64_t i = begin; i < end; i++) {
        const int64_t from = part * chunk;
        EltPiece p = {.n = n - from < chunk ? n - from : chunk};
        for (int t = 0; t < 3; t++) p.at[t] = c.at[t] + from * nest->stride[t][last];
        fn(arg, &p);
        if (++part == per_row) {
            part = 0;
            elt_cursor_next(&c, nest);
        }
    }
}
