/* Choice of kernel, tiling and layout: everything of an operator that does not touch data. */
#include "kernels/cpu/igemm/igemm.h"

#include "kernels/cpu/igemm/internal.h"
#include "kernels/cpu/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    ALIGNMENT = 64,
    PAGE = 4096, /* addresses this far apart share a set of the L1 cache ... */
    L1_WAYS = 8, /* ... which holds so many of them */
    MOST_ROWS_LOOKED_AT = 4096,
    NARROW = 64,               /* output columns */
    MERGE_BELOW = 16,          /* input channels under which the taps of a kernel row are always merged */
    MERGE_LENGTH = 128,        /* channels times kernel width up to which it pays: border windows are copied */
    CHUNK_WEIGHTS = 256 << 10, /* bytes of weights that should stay in L2 while the pixels pass */
    ITEM_MACS = 128 << 10,     /* work that is worth handing to a thread: a few microseconds */
    ENOUGH_ITEMS = 32          /* so that a team can share them out evenly */
};

/* Products of extents; *ok turns false for good on overflow. */
static int64_t times(int64_t a, int64_t b, bool *ok) {
    int64_t product;
    if (!__builtin_mul_overflow(a, b, &product)) return product;
    *ok = false;
    return 0;
}

static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

static size_t align_up(size_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int64_t type_size(IgemmType type) { return type == IGEMM_U8 || type == IGEMM_S8 ? 1 : 4; }

static bool is_byte(IgemmType type) { return type == IGEMM_U8 || type == IGEMM_S8; }

void igemm_gemm_desc(IgemmDesc *desc, IgemmType x_type, IgemmType y_type, int64_t m, int64_t n, int64_t k) {
    *desc =
        (IgemmDesc){.x_type = x_type, .y_type = y_type, .n = 1, .ih = 1, .iw = m, .oh = 1, .ow = m, .ic = k, .oc = n};
}

static void fill_defaults(IgemmDesc *d) {
    int64_t *const ones[] = {&d->groups, &d->kh, &d->kw, &d->stride_h, &d->stride_w, &d->dilation_h, &d->dilation_w};
    for (size_t i = 0; i < sizeof ones / sizeof ones[0]; i++)
        if (*ones[i] == 0) *ones[i] = 1;
    if (d->ldx == 0) d->ldx = d->ic;
    if (d->ldy == 0) d->ldy = d->oc;
    if (d->ldr == 0) d->ldr = d->oc;
    if (is_byte(d->y_type)) {
        const float least = d->y_type == IGEMM_S8 ? -128.0f : 0.0f;
        if (d->lo == 0.0f && d->hi == 0.0f) d->lo = least, d->hi = least + 255.0f;
        if (d->add.lo == 0.0f && d->add.hi == 0.0f) d->add.lo = least, d->add.hi = least + 255.0f;
    } else if (d->lo == 0.0f && d->hi == 0.0f) {
        d->lo = -INFINITY, d->hi = INFINITY;
    }
}

static bool zero_fits(IgemmType type, int32_t zero) {
    if (!is_byte(type)) return true;
    return type == IGEMM_U8 ? zero >= 0 && zero <= 255 : zero >= -128 && zero <= 127;
}

/* Bounds of a byte output must lie within its type: the conversion after them does not saturate. */
static bool bounds_fit(IgemmType type, float lo, float hi) {
    if (!is_byte(type)) return lo <= hi;
    const float least = type == IGEMM_S8 ? -128.0f : 0.0f;
    return lo >= least && hi <= least + 255.0f && lo <= hi;
}

static bool desc_possible(const IgemmDesc *d) {
    const int64_t positive[] = {d->n,  d->ih, d->iw,     d->oh,       d->ow,       d->ic,         d->oc,
                                d->kh, d->kw, d->groups, d->stride_h, d->stride_w, d->dilation_h, d->dilation_w};
    for (size_t i = 0; i < sizeof positive / sizeof positive[0]; i++)
        if (positive[i] <= 0) return false;
    if (d->ic % d->groups != 0 || d->oc % d->groups != 0) return false;
    if (d->ldx < d->ic || d->ldy < d->oc || d->ldr < d->oc || d->pad_top < 0 || d->pad_left < 0) return false;
    if (!zero_fits(d->w_type == IGEMM_U8 ? IGEMM_U8 : IGEMM_S8, d->w_zero)) return false;
    if (!zero_fits(d->x_type, d->x_zero) || !zero_fits(d->y_type, d->y_zero)) return false;
    if (!bounds_fit(d->y_type, d->lo, d->hi)) return false;
    if (d->act != NULL && d->y_type != IGEMM_F32) return false;
    if (d->table != NULL && !is_byte(d->y_type)) return false;
    if (d->x_type == IGEMM_F32) return d->y_type == IGEMM_F32;
    if (!is_byte(d->x_type) || d->residual == IGEMM_RESIDUAL_BEFORE) return false;
    if (d->residual == IGEMM_NO_RESIDUAL) return true;
    if (!is_byte(d->y_type)) return d->y_type == IGEMM_F32;
    return zero_fits(d->y_type, d->add.r_zero) && zero_fits(d->y_type, d->add.zero) &&
           bounds_fit(d->y_type, d->add.lo, d->add.hi);
}

/* Every coordinate and offset that the run computes must fit; these are the largest ones. */
static bool sizes_fit(const Igemm *op) {
    const IgemmDesc *d = &op->desc;
    bool ok = true;
    int64_t pixels = times(times(d->n, d->ih, &ok), d->iw, &ok);
    times(times(pixels, d->ldx, &ok), op->x_size, &ok);
    times(times(op->m, d->ldy > d->ldr ? d->ldy : d->ldr, &ok), 4, &ok);
    int64_t reach_h = times(d->oh, d->stride_h, &ok) / 2 + times(d->kh, d->dilation_h, &ok) / 2 + d->pad_top / 2;
    int64_t reach_w = times(d->ow, d->stride_w, &ok) / 2 + times(d->kw, d->dilation_w, &ok) / 2 + d->pad_left / 2;
    times(times(reach_w, d->ldx, &ok), 16, &ok);
    return ok && reach_h < INT64_MAX / 4 && reach_w < INT64_MAX / 4;
}

/* The kernels of one instruction set: rows[v - 1] covers v panels. */
static bool choose_rows(Igemm *op, KernelFamily family, Isa isa) {
    size_t count;
    const KernelRow *row = kernel_rows(&count);
    memset(op->rows, 0, sizeof op->rows);
    op->lanes = 0;
    for (size_t i = 0; i < count; i++, row++) {
        if (row->family != family || row->isa != isa) continue;
        if (op->lanes == 0) op->lanes = row->nr, op->kr = row->kr;
        op->rows[row->nr / op->lanes - 1] = row;
    }
    return op->lanes != 0;
}

/* Cycles of one kernel call, roughly. A step of the reduction costs its multiply-adds (two vectors of 32 bytes or one
 * of 64 a cycle), at least their latency, or the weights' way from L2 when they do not stay in L1, and something for
 * the loads; then come the call and the store. */
static double call_cost(const Igemm *op, int64_t rows, int64_t panels, double steps) {
    enum { LATENCY = 4, L2_BYTES_PER_CYCLE = 16, L1_WEIGHTS = 16 << 10 };
    const double bytes = (double)(panels * op->lanes * op->kr * op->w_size), vectors = (double)(rows * panels);
    double step = op->lanes < 16 ? 0.5 * vectors : vectors;
    if (step < LATENCY) step = LATENCY;
    if (steps * bytes > L1_WEIGHTS && step < bytes / L2_BYTES_PER_CYCLE) step = bytes / L2_BYTES_PER_CYCLE;
    const double store = op->desc.x_type == IGEMM_F32 ? 2.0 : 7.0;
    return steps * (step + 0.15 * (double)(rows + panels)) + 30.0 + store * vectors;
}

static double tile_cost(const Igemm *op, int64_t rows, int width, double kept) {
    const double steps = (double)(op->kp / op->kr) * kept;
    double cost = 40.0 + 1.2 * (double)(op->taps * rows); /* to point at the rows */
    cost += (double)(op->panels / width) * call_cost(op, rows, width, steps);
    if (op->panels % width != 0) cost += call_cost(op, rows, op->panels % width, steps);
    return cost;
}

/* Share of the kernel rows that lie inside the input, over all output rows. */
static double kept_taps(const Igemm *op) {
    const IgemmDesc *d = &op->desc;
    if (!op->skip_taps || d->oh > MOST_ROWS_LOOKED_AT) return 1.0;
    int64_t kept = 0;
    for (int64_t oy = 0; oy < d->oh; oy++)
        for (int64_t ky = 0; ky < d->kh; ky++) {
            int64_t iy = oy * d->stride_h - d->pad_top + ky * d->dilation_h;
            kept += iy >= 0 && iy < d->ih;
        }
    return (double)kept / (double)(d->oh * d->kh);
}

/* Tile shape: of the widths whose kernel exists, with tiles that span image rows or keep to one (and so can skip taps),
 * the one that needs the fewest cycles for all pixels and columns. */
static void choose_tiles(Igemm *op) {
    const IgemmDesc *d = &op->desc;
    const double kept = d->kh > 1 ? kept_taps(op) : 1.0;
    const bool aliased = op->seen_pixel * d->stride_w % PAGE == 0;
    double best = INFINITY;
    for (int v = 1; v <= IGEMM_WIDTHS; v++) {
        const KernelRow *row = op->rows[v - 1];
        if (row == NULL || (v > 1 && v > op->panels)) continue;
        for (int by_row = 0; by_row <= (d->kh > 1 && d->oh > 1); by_row++) {
            const int64_t extent = by_row ? d->ow : op->m;
            const int64_t most = aliased && row->mr > L1_WAYS - 1 ? L1_WAYS - 1 : row->mr;
            const int64_t parts = ceil_div(extent, most), height = ceil_div(extent, parts);
            const int64_t tiles = by_row ? parts * d->n * d->oh : parts;
            const double cost = (double)tiles * tile_cost(op, height, v, by_row ? kept : 1.0);
            if (cost >= best) continue;
            best = cost;
            op->width = v;
            op->tiles = tiles;
            op->row_tiles = by_row ? parts : 0;
            op->tile_base = extent / parts;
            op->tile_rest = extent % parts;
        }
    }
}

/* Work items are m_chunk tiles by n_chunk panels: weights that fit L2, enough items for a team, none too small. The
 * choice depends on the problem alone. */
static void choose_chunks(Igemm *op) {
    int64_t width = op->width, blocks = ceil_div(op->panels, width);
    int64_t fit = CHUNK_WEIGHTS / ((int64_t)op->w_panel * width);
    int64_t chunk = fit < 1 ? 1 : fit;
    int64_t others = op->tiles * op->desc.groups;
    int64_t wanted = ceil_div(ENOUGH_ITEMS, others); /* chunks of columns for lack of pixels */
    if (wanted > 1 && chunk > ceil_div(blocks, wanted)) chunk = ceil_div(blocks, wanted);
    double block_macs = (double)op->kp * (double)(op->lanes * width) * (double)ceil_div(op->m, op->tiles);
    double least = ceil(ITEM_MACS / block_macs); /* blocks of one row of tiles that make up an item */
    if ((double)chunk < least) chunk = least < (double)blocks ? (int64_t)least : blocks;
    if (chunk > blocks) chunk = blocks;
    chunk = ceil_div(blocks, ceil_div(blocks, chunk)); /* even */
    op->n_chunk = chunk * width;
    op->n_chunks = ceil_div(op->panels, op->n_chunk);
    double tiles = ceil(least / (double)chunk);
    op->m_chunk = tiles < (double)op->tiles ? (int64_t)tiles : op->tiles;
    op->m_chunks = ceil_div(op->tiles, op->m_chunk);
}

/* Rows of a converted image can bring their padding along, so that no window has to be copied later. It pays for narrow
 * images, where many windows reach over the border. */
static void choose_columns(Igemm *op) {
    const IgemmDesc *d = &op->desc;
    op->seen_iw = d->iw;
    op->seen_left = 0;
    if (!op->merged || d->groups > 1 || d->dilation_w > 1) return;
    const int64_t columns = (d->ow - 1) * d->stride_w + op->window;
    if (columns > 2 * d->iw + 2 * op->window || d->pad_left > columns) return;
    if (!op->convert && (op->icg >= MERGE_BELOW || d->ow > NARROW)) return;
    op->convert = true;
    op->seen_iw = columns;
    op->seen_left = d->pad_left;
}

/* The form of x that the kernels see. */
static void choose_seen(Igemm *op) {
    const IgemmDesc *d = &op->desc;
    const bool padded = !op->merged && op->icg % op->kr != 0;
    op->convert = op->kr == 2 || d->x_type == IGEMM_S8 || padded;
    choose_columns(op);
    op->seen_size = op->kr == 2 ? 2 : op->x_size;
    op->seen_group = (padded ? op->kc : op->icg) * op->seen_size;
    op->seen_pixel = op->convert ? op->seen_group * d->groups : d->ldx * op->x_size;
    /* Converted pixels may lie as it suits: not a page apart. Merged taps need them side by side. */
    if (op->convert && !op->merged && op->seen_pixel % PAGE == 0) op->seen_pixel += ALIGNMENT;
}

static bool lay_out(Igemm *op) {
    const IgemmDesc *d = &op->desc;
    bool ok = true;
    int64_t columns = times(times(op->panels, op->lanes, &ok), d->groups, &ok);
    int64_t panel = times(times(op->kp, op->lanes, &ok), op->w_size, &ok);
    int64_t weights = times(times(panel, op->panels, &ok), d->groups, &ok);
    int64_t copy = times(op->kp, op->seen_size, &ok);
    int64_t pointers = times(times(op->taps, IGEMM_MAX_ROWS, &ok), (int64_t)sizeof(void *), &ok);
    int64_t converted = times(times(times(d->n, d->ih, &ok), op->seen_iw, &ok), op->seen_pixel, &ok);
    const int64_t most = INT64_MAX / 64;
    if (!ok || weights > most || copy > most / IGEMM_MAX_ROWS || columns > most || pointers > most) return false;
    if (op->convert && converted > most) return false;
    op->w_panel = (size_t)panel;
    op->bias_offset = 0;
    op->mult_offset = align_up((size_t)columns * 4);
    op->pad_offset = op->mult_offset + (d->x_type == IGEMM_F32 ? 0 : align_up((size_t)columns * sizeof(float)));
    op->w_offset = op->pad_offset + align_up((size_t)(op->kc * op->seen_size));
    op->pack_bytes = op->w_offset + (size_t)weights;
    op->convert_bytes = op->convert ? align_up((size_t)converted) : 0;
    op->copy_stride = align_up((size_t)copy);
    op->copy_bytes = op->merged ? op->copy_stride * IGEMM_MAX_ROWS : 0;
    op->thread_bytes = align_up((size_t)pointers) + op->copy_bytes;
    return true;
}

bool igemm_init_isa(Igemm *op, const IgemmDesc *desc, Isa isa) {
    *op = (Igemm){.desc = *desc};
    IgemmDesc *d = &op->desc;
    fill_defaults(d);
    if (!desc_possible(d)) return false;
    bool ok = true, quantized = d->x_type != IGEMM_F32;
    if (!isa_has(isa) || !choose_rows(op, quantized ? KERNEL_IGEMM_Q8 : KERNEL_IGEMM_F32, isa)) return false;
    op->post = kernel_best_for(KERNEL_IGEMM_POST, isa);
    op->widen = kernel_best_for(KERNEL_IGEMM_WIDEN, isa);
    op->x_size = type_size(d->x_type);
    op->y_size = type_size(d->y_type);
    op->w_size = quantized ? (op->kr == 2 ? 2 : 1) : 4;
    op->icg = d->ic / d->groups;
    op->ocg = d->oc / d->groups;
    op->m = times(times(d->n, d->oh, &ok), d->ow, &ok);
    op->panels = ceil_div(op->ocg, op->lanes);
    if (!ok || !sizes_fit(op)) return false;
    const int64_t length = times(d->kw, op->icg, &ok);
    const bool dense = d->groups == 1 && d->dilation_w == 1;
    op->merged = d->kw > 1 && (op->icg < MERGE_BELOW || op->icg % op->kr != 0 || (dense && length <= MERGE_LENGTH));
    op->taps = op->merged ? d->kh : times(d->kh, d->kw, &ok);
    op->kc = times(ceil_div(op->merged ? length : op->icg, op->kr), op->kr, &ok);
    op->kp = times(op->taps, op->kc, &ok);
    op->window = d->kw + ceil_div(op->kc - length, op->icg);
    op->flat = d->kh == 1 && d->kw == 1 && d->stride_h == 1 && d->stride_w == 1 && d->pad_top == 0 &&
               d->pad_left == 0 && d->oh == d->ih && d->ow == d->iw;
    op->skip_taps = !quantized || igemm_seen_zero(d) == 0;
    choose_seen(op);
    if (!ok || !lay_out(op)) return false;
    choose_tiles(op);
    choose_chunks(op);
    return true;
}

bool igemm_init(Igemm *op, const IgemmDesc *desc) {
    const KernelRow *best = kernel_best(desc->x_type == IGEMM_F32 ? KERNEL_IGEMM_F32 : KERNEL_IGEMM_Q8);
    return igemm_init_isa(op, desc, best->isa);
}

void igemm_format(const Igemm *op, char *text, size_t size) {
    snprintf(text, size, "igemm_%s/%dx%d%s", op->desc.x_type == IGEMM_F32 ? "f32" : "q8", op->lanes, op->kr,
             op->merged ? "m" : "");
}

const char *igemm_kernel_name(const Igemm *op) { return op->rows[op->width - 1]->name; }

size_t igemm_pack_bytes(const Igemm *op) { return op->pack_bytes; }

size_t igemm_scratch_bytes(const Igemm *op, int n_threads) {
    return op->convert_bytes + op->thread_bytes * (size_t)n_threads;
}
