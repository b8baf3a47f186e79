#include "backends/cpu/geometry.h"

#include "ir/op.h"

#include <string.h>

/* Two elements of an ints attribute of s spatial dims (s = 1: the first is `deflt`). */
static void pair(const Node *n, const char *name, int s, int64_t deflt, int64_t *h, int64_t *w) {
    int64_t count = 0;
    const int64_t *v = op_attr_kind(n->op, name, NULL, NULL) ? attr_ints(n, name, &count) : NULL;
    *h = v && s == 2 && count == 2 ? v[0] : s == 2 ? deflt : 1;
    *w = v && count == s ? v[s - 1] : deflt;
}

static int64_t same_pad(int64_t in, int64_t out, int64_t k, int64_t stride, int64_t dilation) {
    int64_t total = (out - 1) * stride + (k - 1) * dilation + 1 - in;
    return total > 0 ? total : 0;
}

static void pads_of(const Node *n, int s, Window *w) {
    const char *mode = op_attr_kind(n->op, "auto_pad", NULL, NULL) ? attr_string(n, "auto_pad") : "NOTSET";
    int64_t count;
    const int64_t *p = attr_ints(n, "pads", &count);
    if (!strcmp(mode, "NOTSET")) {
        if (!p || count != 2 * s) return;
        w->pad_top = s == 2 ? p[0] : 0;
        w->pad_left = p[s - 1];
        w->pad_bottom = s == 2 ? p[2] : 0;
        w->pad_right = p[2 * s - 1];
        return;
    }
    if (!strcmp(mode, "VALID")) return;
    int64_t h = same_pad(w->ih, w->oh, w->kh, w->stride_h, w->dilation_h);
    int64_t v = same_pad(w->iw, w->ow, w->kw, w->stride_w, w->dilation_w);
    bool upper = !strcmp(mode, "SAME_UPPER");
    w->pad_top = upper ? h / 2 : h - h / 2;
    w->pad_left = upper ? v / 2 : v - v / 2;
    w->pad_bottom = h - w->pad_top;
    w->pad_right = v - w->pad_left;
}

bool window_of(const Graph *g, const Node *n, const Tensor *weights, Window *w) {
    const Type *x = &g->values[n->in[0]].type, *y = &g->values[n->out[0]].type;
    int s = x->rank - 2;
    if (s < 1 || s > 2 || y->rank != x->rank || (weights && weights->rank != x->rank)) return false;
    *w = (Window){.n = x->dims[0], .c = x->dims[1], .oc = y->dims[1], .groups = 1};
    w->ih = s == 2 ? x->dims[2] : 1;
    w->iw = x->dims[s + 1];
    w->oh = s == 2 ? y->dims[2] : 1;
    w->ow = y->dims[s + 1];
    pair(n, "strides", s, 1, &w->stride_h, &w->stride_w);
    pair(n, "dilations", s, 1, &w->dilation_h, &w->dilation_w);
    pair(n, "kernel_shape", s, 1, &w->kh, &w->kw);
    if (weights) {
        w->kh = s == 2 ? weights->dims[2] : 1;
        w->kw = weights->dims[s + 1];
        w->groups = attr_int(n, "group");
    }
    pads_of(n, s, w);
    return true;
}
