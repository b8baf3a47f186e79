/* Helpers of the reference kernels (kernels/ref/<family>.c): reading and writing any element type, broadcasting,
 * strided movement, and known integer content during shape inference.
 * Everything here is plain scalar code without state; safe from any thread on different tensors. */
#ifndef PARE_KERNELS_REF_REF_H
#define PARE_KERNELS_REF_REF_H

#include "ir/op.h"

/* ---- element types ---- */

/* The types in which reference kernels compute. Narrow integers compute in 64 bits and wrap when stored, float16 and
 * bfloat16 (and narrower) compute in float and are rounded once when stored. */
typedef enum RefClass { CLASS_NONE, CLASS_F32, CLASS_F64, CLASS_I64, CLASS_U64, CLASS_BOOL } RefClass;
enum { REF_BLOCK = 256 }; /* elements computed at a time */

/* CLASS_NONE for string, complex and undefined. */
RefClass ref_class(ElemType e);

/* The element types with a C type of their own: X(ELEM suffix, C type, class). */
#define REF_NATIVE_ELEMS(X)                                                                                            \
    X(F32, float, F32)                                                                                                 \
    X(F64, double, F64)                                                                                                \
    X(I8, int8_t, I64)                                                                                                 \
    X(I16, int16_t, I64)                                                                                               \
    X(I32, int32_t, I64)                                                                                               \
    X(I64, int64_t, I64)                                                                                               \
    X(U8, uint8_t, U64)                                                                                                \
    X(U16, uint16_t, U64)                                                                                              \
    X(U32, uint32_t, U64)                                                                                              \
    X(U64, uint64_t, U64)

/* Elements [first, first + n) (step 1) or n times element `first` (step 0) of t, converted to `cls`, into dst: float,
 * double, int64_t, uint64_t or (CLASS_BOOL) uint8_t 0/1. Float to integer truncates and saturates, NaN gives 0. */
void ref_load(const Tensor *t, RefClass cls, int64_t first, int64_t step, int64_t n, void *dst);
/* The opposite: n values of `cls` to elements [first, first + n) of t. Integers wrap; float to float rounds to nearest
 * even; float to integer truncates and saturates, NaN gives 0. */
void ref_store(Tensor *t, RefClass cls, int64_t first, int64_t n, const void *src);

/* Whole tensors as arrays in `scratch`; NULL when memory is short. */
float *ref_read_f32(Arena *scratch, const Tensor *t);
double *ref_read_f64(Arena *scratch, const Tensor *t);
int64_t *ref_read_i64(Arena *scratch, const Tensor *t);
/* Content of integer input i (shapes, axes, indices); *n = 0 and *v = NULL when the input is absent. */
PARE_NODISCARD Status ref_ints(EvalCtx *c, int i, int64_t **v, int64_t *n);
/* STATUS_UNSUPPORTED when an input is a string or complex tensor. */
PARE_NODISCARD Status ref_numeric_only(EvalCtx *c);
/* Makes output i and describes it in a Tensor for ref_store and ref_copy (a view; nothing to free). */
PARE_NODISCARD Status ref_output(EvalCtx *c, int i, ElemType e, int rank, const int64_t *dims, Tensor *view);

/* ---- indexing ---- */

int64_t ref_product(const int64_t *dims, int from, int to); /* of dims[from, to); 1 when empty */
/* Row-major strides in elements. */
void ref_strides(int rank, const int64_t *dims, int64_t *strides);
/* The next index in row-major order; false (and idx all 0) after the last. */
bool ref_next(int rank, const int64_t *dims, int64_t *idx);
/* Axis in [-rank, rank) to [0, rank); an error that names the node otherwise. */
PARE_NODISCARD Status ref_axis(const EvalCtx *c, int64_t axis, int rank, int *out);

/* ---- broadcasting ---- */

/* The common shape of n tensors. */
PARE_NODISCARD Status ref_broadcast(const EvalCtx *c, int n, const Tensor *const *in, int *rank, int64_t *dims);
/* Strides (0 along broadcast axes) of t seen as [rank; dims]. */
void ref_broadcast_strides(const Tensor *t, int rank, const int64_t *dims, int64_t *strides);

/* One elementwise computation with broadcasting: inputs are loaded in blocks as `in_class`, `fn` makes n values of
 * `out_class`, and they are stored as `out_elem` in output 0. */
typedef void (*RefFn)(const void *const *x, void *y, int64_t n, const void *param);
enum { REF_MAX_MAP = 3 };
typedef struct RefMap {
    int n_in;
    const Tensor *in[REF_MAX_MAP];
    RefClass in_class, out_class;
    ElemType out_elem;
    RefFn fn;
    const void *param;
} RefMap;
PARE_NODISCARD Status ref_map(EvalCtx *c, const RefMap *m);
/* The same into a tensor that has the broadcast shape; out_elem is not used. */
void ref_map_into(const RefMap *m, Tensor *y);
/* A tensor in scratch. */
PARE_NODISCARD Status ref_scratch(EvalCtx *c, ElemType e, int rank, const int64_t *dims, Tensor *t);
/* The element type that holds a class without loss. */
ElemType ref_class_elem(RefClass cls);

/* ---- movement, any element type but string ---- */

/* n consecutive elements; the ranges must not overlap. */
void ref_copy(ElemType e, uint8_t *dst, int64_t dst_first, const uint8_t *src, int64_t src_first, int64_t n);
/* For all indices of [rank; dims]: dst[doff + idx·dstride] = src[soff + idx·sstride] (strides in elements, any sign).
 */
void ref_copy_strided(ElemType e, int rank, const int64_t *dims, uint8_t *dst, int64_t doff, const int64_t *dstride,
                      const uint8_t *src, int64_t soff, const int64_t *sstride);
/* dst elements [0, n) = src element `from`. */
void ref_fill(ElemType e, uint8_t *dst, int64_t n, const uint8_t *src, int64_t from);
/* Output 0 with the bytes of input 0 and another shape. */
PARE_NODISCARD Status ref_reshaped(EvalCtx *c, int rank, const int64_t *dims);

/* ---- shape rules ---- */

/* Output 0 has input 0's type. */
PARE_NODISCARD Status infer_same(InferCtx *c);
/* Output 0 has input 0's shape and elements `e`. */
PARE_NODISCARD Status infer_same_as(InferCtx *c, ElemType e);
/* Output 0 has the broadcast shape of all inputs and elements `e`. */
PARE_NODISCARD Status infer_broadcast_all(InferCtx *c, ElemType e);
/* Input i is a tensor (of known rank). */
bool infer_is_tensor(const InferCtx *c, int i);
bool infer_is_ranked(const InferCtx *c, int i);
ElemType infer_elem(const InferCtx *c, int i); /* ELEM_UNDEFINED when unknown */
/* Product of dims[from, to) with symbols. */
Dim infer_product(InferCtx *c, const Dim *dims, int from, int to);
Dim infer_dim_op(InferCtx *c, SymOp op, Dim a, Dim b); /* sym_op in the graph's table */
#define DIM_IS_NUM(d) (!DIM_IS_SYM(d))
Dim infer_fresh(InferCtx *c);
/* infer_set for dims that come from a model's content: a negative number is STATUS_INVALID. */
PARE_NODISCARD Status infer_set_dims(InferCtx *c, int o, ElemType e, int rank, const Dim *dims);
/* Input i as plain numbers (constant, or known without symbols), in scratch; false when it is not known. An absent
 * input gives true with *n = 0 and *v = NULL. */
bool infer_ints(InferCtx *c, int i, const int64_t **v, int *n);
/* Output o has elements `e` and `rank` dims that depend on data. */
void infer_set_fresh(InferCtx *c, int o, ElemType e, int rank);

/* Passes input 0's known content on to output 0 (reshaping ops). */
PARE_NODISCARD Status known_pass(InferCtx *c);

#endif
