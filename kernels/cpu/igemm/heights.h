/* Makes a kernel of a kernels.def row from a body: one function for every height up to the row's mr, with the tile's
 * shape known to the compiler so that all accumulators are registers, and the row's function that picks among them. */
#ifndef PARE_KERNELS_CPU_IGEMM_HEIGHTS_H
#define PARE_KERNELS_CPU_IGEMM_HEIGHTS_H

#define UNROLL        _Pragma("GCC unroll 16")
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#define HEIGHTS_2(F, v)  F(1, v) F(2, v)
#define HEIGHTS_3(F, v)  HEIGHTS_2(F, v) F(3, v)
#define HEIGHTS_4(F, v)  HEIGHTS_3(F, v) F(4, v)
#define HEIGHTS_5(F, v)  HEIGHTS_4(F, v) F(5, v)
#define HEIGHTS_6(F, v)  HEIGHTS_5(F, v) F(6, v)
#define HEIGHTS_7(F, v)  HEIGHTS_6(F, v) F(7, v)
#define HEIGHTS_8(F, v)  HEIGHTS_7(F, v) F(8, v)
#define HEIGHTS_9(F, v)  HEIGHTS_8(F, v) F(9, v)
#define HEIGHTS_10(F, v) HEIGHTS_9(F, v) F(10, v)
#define HEIGHTS_12(F, v) HEIGHTS_10(F, v) F(11, v) F(12, v)
#define HEIGHTS_14(F, v) HEIGHTS_12(F, v) F(13, v) F(14, v)
#define HEIGHTS_16(F, v) HEIGHTS_14(F, v) F(15, v) F(16, v)

#define HEIGHT_FUNCTION(h, v)                                                                                          \
    static void tile_##h##_by_##v(const IgemmTile *t) { tile_body(t, h, v); }
#define HEIGHT_ENTRY(h, v) tile_##h##_by_##v,

/* `name` computes tiles of up to max_rows rows by v panels with tile_body(tile, rows, panels). */
#define IGEMM_KERNEL(name, max_rows, v)                                                                                \
    HEIGHTS_##max_rows(HEIGHT_FUNCTION, v) KernelFn_IGEMM_F32 KERNEL_NAME(name);                                       \
    void KERNEL_NAME(name)(const IgemmTile *t) {                                                                       \
        static void (*const BY_HEIGHT[])(const IgemmTile *) = {HEIGHTS_##max_rows(HEIGHT_ENTRY, v)};                   \
        BY_HEIGHT[t->mr - 1](t);                                                                                       \
    }

#endif
