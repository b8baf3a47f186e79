#include "kernels/ref/spatial.h"

#include <string.h>

static bool has_attr(const Node *node, const char *name) {
    size_t len;
    const char *text;
    return op_attr_kind(node->op, name, &len, &text) != 0;
}

/* Reads `count` numbers in [lo, INT32_MAX] into dst; a missing attribute leaves dst alone. */
static bool read_ints(const Node *node, const char *name, int count, int64_t lo, int64_t *dst, bool *set) {
    int64_t n;
    const int64_t *v = has_attr(node, name) ? attr_ints(node, name, &n) : NULL;
    *set = v != NULL;
    if (!v) return true;
    if (n != count) return false;
    for (int i = 0; i < count; i++) {
        if (v[i] < lo || v[i] > INT32_MAX) return false;
        dst[i] = v[i];
    }
    return true;
}

static const char *read_kernel(const Node *node, const Dim *kernel, Window *w) {
    bool set;
    if (!read_ints(node, "kernel_shape", w->n, 1, w->kernel, &set))
        return "kernel_shape needs one positive number per spatial axis";
    w->kernel_known = set;
    if (!kernel) return NULL;
    bool numbers = true;
    for (int i = 0; i < w->n; i++) {
        if (DIM_IS_SYM(kernel[i])) {
            numbers = false;
        } else if (kernel[i] < 1 || kernel[i] > INT32_MAX) {
            return "the weight's kernel dims must be positive";
        } else if (set && w->kernel[i] != kernel[i]) {
            return "kernel_shape differs from the weight's dims";
        }
    }
    if (!set && numbers) {
        memcpy(w->kernel, kernel, (size_t)w->n * sizeof *kernel);
        w->kernel_known = true;
    }
    return NULL;
}

static const char *read_auto_pad(const Node *node, Window *w) {
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    w->auto_pad = AUTO_PAD_NOTSET;
    if (!has_attr(node, "auto_pad")) return NULL;
    const char *s = attr_string(node, "auto_pad");
    for (int i = 0; i < 4; i++) {
        if (strcmp(s, names[i]) == 0) {
            w->auto_pad = (AutoPad)i;
            return NULL;
        }
    }
    return "auto_pad must be NOTSET, SAME_UPPER, SAME_LOWER or VALID";
}

const char *window_read(const Node *node, int n, const Dim *kernel, Window *w) {
    memset(w, 0, sizeof *w);
    if (n < 1 || n > MAX_SPATIAL) return "only one to three spatial axes are supported";
    w->n = n;
    for (int i = 0; i < n; i++) w->kernel[i] = w->stride[i] = w->dilation[i] = 1;
    const char *bad = read_kernel(node, kernel, w);
    if (!bad) bad = read_auto_pad(node, w);
    if (bad) return bad;
    bool set;
    if (!read_ints(node, "strides", n, 1, w->stride, &set)) return "strides needs one positive number per spatial axis";
    if (!read_ints(node, "dilations", n, 1, w->dilation, &set))
        return "dilations needs one positive number per spatial axis";
    int64_t pads[2 * MAX_SPATIAL] = {0};
    if (!read_ints(node, "pads", 2 * n, 0, pads, &set)) return "pads needs two numbers >= 0 per spatial axis";
    if (w->auto_pad == AUTO_PAD_NOTSET) {
        memcpy(w->pad_lo, pads, (size_t)n * sizeof *pads);
        memcpy(w->pad_hi, pads + n, (size_t)n * sizeof *pads);
    }
    w->ceil_mode = has_attr(node, "ceil_mode") && attr_int(node, "ceil_mode") != 0;
    return NULL;
}

int64_t window_extent(const Window *w, int i) { return w->dilation[i] * (w->kernel[i] - 1) + 1; }

/* a + c for a number c of either sign; a negative sum of numbers becomes 0 (callers have refused it before). */
static Dim add_const(SymTab *syms, Dim a, int64_t c) {
    if (!DIM_IS_SYM(a)) return a + c > 0 ? a + c : 0;
    return c >= 0 ? sym_op(syms, SYM_ADD, a, c) : sym_op(syms, SYM_SUB, a, -c);
}

static bool is_same(const Window *w) {
    return w->auto_pad == AUTO_PAD_SAME_UPPER || w->auto_pad == AUTO_PAD_SAME_LOWER;
}

/* floor or ceil((in + pads - extent) / stride) + 1 is the same quotient of (in + pads - extent + stride). With
 * ceil_mode the last window must still start inside the input or its low padding. */
const char *window_out_dim(SymTab *syms, const Window *w, int i, Dim in, Dim *out) {
    int64_t s = w->stride[i];
    if (!DIM_IS_SYM(in) && in > INT64_MAX / 4) return "a dim is too large";
    if (is_same(w)) {
        *out = sym_op(syms, SYM_CEILDIV, in, s);
        return NULL;
    }
    if (!w->kernel_known) {
        *out = sym_fresh(syms);
        return NULL;
    }
    int64_t slack = w->pad_lo[i] + w->pad_hi[i] - window_extent(w, i);
    if (!DIM_IS_SYM(in) && in + slack + (w->ceil_mode ? s - 1 : 0) < 0)
        return "the kernel is larger than the padded input";
    Dim numerator = add_const(syms, in, slack + s);
    *out = sym_op(syms, w->ceil_mode ? SYM_CEILDIV : SYM_FLOORDIV, numerator, s);
    if (w->ceil_mode) {
        Dim starts = sym_op(syms, SYM_CEILDIV, add_const(syms, in, w->pad_lo[i]), s);
        *out = sym_op(syms, SYM_MIN, *out, starts);
    }
    return NULL;
}

const char *window_transposed_dim(SymTab *syms, const Window *w, int i, int64_t pad_out, Dim in, Dim *out) {
    if (!DIM_IS_SYM(in) && in > INT32_MAX) return "a dim is too large";
    Dim spread = sym_op(syms, SYM_MUL, in, w->stride[i]);
    if (is_same(w)) {
        *out = spread;
        return NULL;
    }
    if (!w->kernel_known) {
        *out = sym_fresh(syms);
        return NULL;
    }
    int64_t c = pad_out + window_extent(w, i) - w->stride[i] - w->pad_lo[i] - w->pad_hi[i];
    if (!DIM_IS_SYM(in) && spread + c < 1) return "the padding removes the whole output";
    *out = add_const(syms, spread, c);
    return NULL;
}

const char *window_resolve(Window *w, const int64_t *in, int64_t *out) {
    for (int i = 0; i < w->n; i++) {
        const char *bad = window_out_dim(NULL, w, i, in[i], &out[i]);
        if (bad) return bad;
        if (!is_same(w)) continue;
        int64_t total = (out[i] - 1) * w->stride[i] + window_extent(w, i) - in[i];
        if (total < 0) total = 0;
        w->pad_lo[i] = w->auto_pad == AUTO_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        w->pad_hi[i] = total - w->pad_lo[i];
    }
    return NULL;
}

static void shift(int64_t *v, int n, int64_t fill) {
    int lead = MAX_SPATIAL - n;
    memmove(v + lead, v, (size_t)n * sizeof *v);
    for (int i = 0; i < lead; i++) v[i] = fill;
}

void window_to_3d(Window *w, int64_t *in, int64_t *out) {
    shift(in, w->n, 1);
    shift(out, w->n, 1);
    shift(w->kernel, w->n, 1);
    shift(w->stride, w->n, 1);
    shift(w->dilation, w->n, 1);
    shift(w->pad_lo, w->n, 0);
    shift(w->pad_hi, w->n, 0);
    w->n = MAX_SPATIAL;
}

void window_tap_range(const Window *w, int i, int64_t k, int64_t in, int64_t out, int64_t *lo, int64_t *hi) {
    int64_t s = w->stride[i], offset = k * w->dilation[i] - w->pad_lo[i]; /* position = o * s + offset */
    *lo = offset >= 0 ? 0 : (-offset + s - 1) / s;
    int64_t last = in - 1 - offset;
    *hi = last < 0 ? 0 : last / s + 1;
    if (*hi > out) *hi = out;
    if (*lo > *hi) *lo = *hi;
}
