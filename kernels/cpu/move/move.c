/* Frame of the data movement: reduction of a strided move to runs or 2-D transposes, and its splitting over the team.
 */
#include "kernels/cpu/move/move.h"

#include <string.h>

#include "kernels/cpu/eltwise/elt_nest.h"
#include "kernels/cpu/families.h"

enum { MOVE_TILE_BYTES = 32768, MOVE_TILE_COLS = 64 };

static void move_remove_dim(Move *m, int32_t d) {
    m->rank--;
    for (; d < m->rank; d++) {
        m->dims[d] = m->dims[d + 1];
        m->to_stride[d] = m->to_stride[d + 1];
        m->from_stride[d] = m->from_stride[d + 1];
    }
}

/* Outer dims have the larger strides on the written side, so that writing runs forward through memory. */
static void move_sort(Move *m) {
    for (int32_t i = 1; i < m->rank; i++)
        for (int32_t j = i; j > 0 && m->to_stride[j - 1] < m->to_stride[j]; j--) {
            const int64_t dim = m->dims[j], to = m->to_stride[j], from = m->from_stride[j];
            m->dims[j] = m->dims[j - 1], m->to_stride[j] = m->to_stride[j - 1];
            m->from_stride[j] = m->from_stride[j - 1];
            m->dims[j - 1] = dim, m->to_stride[j - 1] = to, m->from_stride[j - 1] = from;
        }
}

static void move_collapse(Move *m) {
    for (int32_t d = m->rank - 1; d >= 0; d--)
        if (m->dims[d] == 1) move_remove_dim(m, d);
    move_sort(m);
    for (int32_t d = m->rank - 1; d > 0; d--)
        if (m->to_stride[d - 1] == m->to_stride[d] * m->dims[d] &&
            m->from_stride[d - 1] == m->from_stride[d] * m->dims[d]) {
            m->dims[d - 1] *= m->dims[d];
            m->to_stride[d - 1] = m->to_stride[d];
            m->from_stride[d - 1] = m->from_stride[d];
            move_remove_dim(m, d);
        }
}

/* A run of 2, 4 or 8 bytes is one wider element, when all strides are multiples of it. */
static bool move_widen(Move *m, int32_t run) {
    const int64_t n = m->dims[run], bytes = n * m->elem_bytes;
    if (bytes > 8 || (bytes & (bytes - 1)) != 0) return false;
    for (int32_t d = 0; d < m->rank; d++)
        if (d != run && (m->to_stride[d] % n != 0 || m->from_stride[d] % n != 0)) return false;
    move_remove_dim(m, run);
    for (int32_t d = 0; d < m->rank; d++) m->to_stride[d] /= n, m->from_stride[d] /= n;
    m->elem_bytes = (int32_t)bytes;
    return true;
}

static int32_t move_find(const Move *m, bool unit_to, bool unit_from) {
    for (int32_t d = 0; d < m->rank; d++)
        if ((!unit_to || m->to_stride[d] == 1) && (!unit_from || m->from_stride[d] == 1)) return d;
    return -1;
}

static int64_t move_at_least(int64_t v, int64_t least) { return v < least ? least : v; }

/* What is left becomes the outer nest, with an innermost dim of 1 that stands for the inner call. */
static void move_outer(Move *m) {
    m->outer = (EltNest){.rank = m->rank + 1};
    for (int32_t d = 0; d < m->rank; d++) {
        m->outer.dims[d] = m->dims[d];
        m->outer.stride[0][d] = m->to_stride[d];
        m->outer.stride[1][d] = m->from_stride[d];
    }
    m->outer.dims[m->rank] = 1;
}

static int32_t move_log2(int32_t bytes) { return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3; }

void move_prepare(Move *m, uint32_t isa_bits) {
    const MoveOps *ops = family_find("move", isa_bits)->ops;
    move_collapse(m);
    int32_t run = move_find(m, true, true);
    while (run >= 0 && m->rank > 1 && move_widen(m, run)) {
        move_collapse(m);
        run = move_find(m, true, true);
    }
    m->transpose = NULL;
    m->cols = m->to_pitch = m->from_pitch = 1;
    const int32_t to = move_find(m, true, false), from = move_find(m, false, true);
    if (run < 0 && to >= 0 && from >= 0) {
        m->transpose = ops->transpose[move_log2(m->elem_bytes)];
        m->rows = m->dims[to], m->cols = m->dims[from];
        m->from_pitch = m->from_stride[to], m->to_pitch = m->to_stride[from];
        move_remove_dim(m, to > from ? to : from);
        move_remove_dim(m, to > from ? from : to);
    } else if (m->rank == 0) {
        m->rows = 1;
    } else {
        const int32_t d = run >= 0 ? run : m->rank - 1;
        m->rows = m->dims[d], m->to_pitch = m->to_stride[d], m->from_pitch = m->from_stride[d];
        move_remove_dim(m, d);
    }
    /* few rows: the tile is long instead */
    const int64_t wide =
        m->rows < MOVE_TILE_COLS / 4 ? MOVE_TILE_BYTES / (m->elem_bytes * move_at_least(m->rows, 1)) : 0;
    const int64_t most = move_at_least(wide, MOVE_TILE_COLS);
    m->tile_cols = m->cols < most ? move_at_least(m->cols, 1) : most;
    m->tile_rows = move_at_least(MOVE_TILE_BYTES / (m->tile_cols * m->elem_bytes), 1);
    move_outer(m);
}

static void move_strided(char *to, const char *from, int64_t n, int64_t to_step, int64_t from_step, int32_t bytes) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * to_step * bytes, from + i * from_step * bytes, (size_t)bytes);
}

/* Constant element sizes let the compiler turn the copies into single moves. */
static void move_strided_sized(char *to, const char *from, int64_t n, int64_t to_step, int64_t from_step,
                               int32_t bytes) {
    switch (bytes) {
    case 1:
        move_strided(to, from, n, to_step, from_step, 1);
        break;
    case 2:
        move_strided(to, from, n, to_step, from_step, 2);
        break;
    case 4:
        move_strided(to, from, n, to_step, from_step, 4);
        break;
    default:
        move_strided(to, from, n, to_step, from_step, 8);
        break;
    }
}

typedef struct {
    const Move *m;
    char *to;
    const char *from;
    int64_t row_tiles, col_tiles;
} MoveRun;

static void move_tile(const Move *m, char *to, const char *from, int64_t row_tile, int64_t col_tile) {
    const int64_t r = row_tile * m->tile_rows, c = col_tile * m->tile_cols, bytes = m->elem_bytes;
    const int64_t rows = m->rows - r < m->tile_rows ? m->rows - r : m->tile_rows;
    const int64_t cols = m->cols - c < m->tile_cols ? m->cols - c : m->tile_cols;
    if (m->transpose)
        m->transpose(to + (c * m->to_pitch + r) * bytes, from + (r * m->from_pitch + c) * bytes, (size_t)rows,
                     (size_t)cols, (size_t)m->to_pitch, (size_t)m->from_pitch);
    else if (m->to_pitch == 1 && m->from_pitch == 1)
        memcpy(to + r * bytes, from + r * bytes, (size_t)(rows * bytes));
    else
        move_strided_sized(to + r * m->to_pitch * bytes, from + r * m->from_pitch * bytes, rows, m->to_pitch,
                           m->from_pitch, m->elem_bytes);
}

/* Items are (outer position, tile), tile fastest. */
static void move_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const MoveRun *r = arg;
    const Move *m = r->m;
    const int64_t tiles = r->row_tiles * r->col_tiles;
    EltCursor c;
    elt_cursor_seek(&c, &m->outer, begin / tiles);
    int64_t tile = begin % tiles;
    for (int64_t i = begin; i < end; i++) {
        move_tile(m, r->to + c.at[0] * m->elem_bytes, r->from + c.at[1] * m->elem_bytes, tile / r->col_tiles,
                  tile % r->col_tiles);
        if (++tile == tiles) {
            tile = 0;
            elt_cursor_next(&c, &m->outer);
        }
    }
}

void move_run(const Move *m, void *to, const void *from, Team *team) {
    MoveRun r = {.m = m, .to = to, .from = from};
    r.row_tiles = (m->rows + m->tile_rows - 1) / m->tile_rows;
    r.col_tiles = (m->cols + m->tile_cols - 1) / m->tile_cols;
    const int64_t bytes = m->rows * m->cols * m->elem_bytes;
    const int64_t grain = bytes > 0 && bytes < MOVE_TILE_BYTES ? MOVE_TILE_BYTES / bytes : 1;
    team_run(team, move_items, &r, elt_nest_items(&m->outer, 1) * r.row_tiles * r.col_tiles, grain);
}

void move_from_permutation(Move *m, int32_t rank, const int64_t *x_dims, const int32_t *perm, int32_t elem_bytes) {
    int64_t x_stride[MOVE_MAX_RANK] = {0}, to = 1;
    *m = (Move){.rank = rank, .elem_bytes = elem_bytes};
    for (int32_t d = rank - 1, s = 0; d >= 0; d--) {
        x_stride[d] = s++ ? x_stride[d + 1] * x_dims[d + 1] : 1;
    }
    for (int32_t d = rank - 1; d >= 0; d--) {
        m->dims[d] = x_dims[perm[d]];
        m->from_stride[d] = x_stride[perm[d]];
        m->to_stride[d] = to;
        to *= m->dims[d];
    }
}

static void move_images(Move *m, int32_t n, int32_t c, int64_t pixels, int32_t elem_bytes) {
    *m = (Move){.rank = 3, .elem_bytes = elem_bytes, .dims = {n, c, pixels}};
}

void move_nchw_to_nhwc(Move *m, int32_t n, int32_t c, int64_t pixels, size_t nhwc_ld, int32_t elem_bytes) {
    const int64_t ld = (int64_t)nhwc_ld;
    move_images(m, n, c, pixels, elem_bytes);
    memcpy(m->from_stride, (int64_t[]){c * pixels, pixels, 1}, 3 * sizeof(int64_t));
    memcpy(m->to_stride, (int64_t[]){ld * pixels, 1, ld}, 3 * sizeof(int64_t));
}

void move_nhwc_to_nchw(Move *m, int32_t n, int32_t c, int64_t pixels, size_t nhwc_ld, int32_t elem_bytes) {
    const int64_t ld = (int64_t)nhwc_ld;
    move_images(m, n, c, pixels, elem_bytes);
    memcpy(m->from_stride, (int64_t[]){ld * pixels, 1, ld}, 3 * sizeof(int64_t));
    memcpy(m->to_stride, (int64_t[]){c * pixels, pixels, 1}, 3 * sizeof(int64_t));
}

void move_fill(const Move *m, void *to, const void *value) {
    EltNest all = {.rank = m->rank + 1};
    for (int32_t d = 0; d < m->rank; d++) all.dims[d] = m->dims[d], all.stride[0][d] = m->to_stride[d];
    all.dims[m->rank] = 1;
    const int64_t n = elt_nest_items(&all, 1);
    EltCursor c;
    elt_cursor_seek(&c, &all, 0);
    for (int64_t i = 0; i < n; i++, elt_cursor_next(&c, &all))
        memcpy((char *)to + c.at[0] * m->elem_bytes, value, (size_t)m->elem_bytes);
}

bool gather_check(const int64_t *index, int64_t n_index, int64_t n_rows) {
    for (int64_t i = 0; i < n_index; i++)
        if (index[i] < -n_rows || index[i] >= n_rows) return false;
    return true;
}

typedef struct {
    char *y;
    const char *x;
    const int64_t *index;
    int64_t n_index, n_rows;
    size_t row_bytes;
} GatherRun;

static void gather_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const GatherRun *r = arg;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = r->index[i % r->n_index];
        const int64_t row = i / r->n_index * r->n_rows + (at < 0 ? at + r->n_rows : at);
        memcpy(r->y + (size_t)i * r->row_bytes, r->x + (size_t)row * r->row_bytes, r->row_bytes);
    }
}

void gather_run(void *y, const void *x, const int64_t *index, int64_t outer, int64_t n_index, int64_t n_rows,
                size_t row_bytes, Team *team) {
    GatherRun r = {.y = y, .x = x, .index = index, .n_index = n_index, .n_rows = n_rows, .row_bytes = row_bytes};
    const size_t per = row_bytes ? MOVE_TILE_BYTES / row_bytes : 1;
    team_run(team, gather_items, &r, outer * n_index, per ? (int64_t)per : 1);
}
