/* What the ops on shapes, indices and matrices share: walking strided memory, and results of a given kind. */
#ifndef HG_SHAPE_IMPL_H
#define HG_SHAPE_IMPL_H

#include "op_impl.h"

/* Note [Walks]
   A walk visits every element of up to HG_WALK_MAX operands of one shape, each with strides of its own (zero where an
   operand is broadcast, or where an index takes a dimension's place). The caller runs along the last dimension itself, from
   p[k] in steps of step[k] bytes, `inner` times; hg_walk_next() moves every p[k] to the next row and at[] with it. A shape
   without elements must not be walked. */
enum { HG_WALK_MAX = 4 };
typedef struct hg_walk {
    int n_outer, n_operands;
    int64_t inner;
    char *p[HG_WALK_MAX];
    int64_t step[HG_WALK_MAX];
    int64_t shape[HG_MAX_DIM], at[HG_MAX_DIM];
    int64_t stride[HG_WALK_MAX][HG_MAX_DIM]; /* bytes */
} hg_walk;

void hg_walk_begin(hg_walk *w, int n_dim, const int64_t *shape);
void hg_walk_add(hg_walk *w, const void *data, const int64_t *stride, size_t itemsize); /* strides in elements */
bool hg_walk_next(hg_walk *w);

/* Runs the code with E an integer type as wide as an element: for moving elements whatever they mean. */
#define HG_BY_SIZE(size, ...)                                                                                          \
    switch (size) {                                                                                                    \
    case 1: {                                                                                                          \
        typedef uint8_t E;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case 2: {                                                                                                          \
        typedef uint16_t E;                                                                                            \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case 4: {                                                                                                          \
        typedef uint32_t E;                                                                                            \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    default: {                                                                                                         \
        typedef uint64_t E;                                                                                            \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    }

/* Runs the code with E the type elements are stored as and A the type to compute in; LOAD(e) and STORE(a) convert. */
#define HG_BY_DTYPE(dtype, ...)                                                                                        \
    switch (dtype) {                                                                                                   \
    case HG_U8: {                                                                                                      \
        enum { K = HG_U8 };                                                                                            \
        typedef uint8_t E;                                                                                             \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_I8: {                                                                                                      \
        enum { K = HG_I8 };                                                                                            \
        typedef int8_t E;                                                                                              \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_I16: {                                                                                                     \
        enum { K = HG_I16 };                                                                                           \
        typedef int16_t E;                                                                                             \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_I32: {                                                                                                     \
        enum { K = HG_I32 };                                                                                           \
        typedef int32_t E;                                                                                             \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_I64: {                                                                                                     \
        enum { K = HG_I64 };                                                                                           \
        typedef int64_t E;                                                                                             \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_F16: {                                                                                                     \
        enum { K = HG_F16 };                                                                                           \
        typedef uint16_t E;                                                                                            \
        typedef float A;                                                                                               \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_F32: {                                                                                                     \
        enum { K = HG_F32 };                                                                                           \
        typedef float E;                                                                                               \
        typedef float A;                                                                                               \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_F64: {                                                                                                     \
        enum { K = HG_F64 };                                                                                           \
        typedef double E;                                                                                              \
        typedef double A;                                                                                              \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_BF16: {                                                                                                    \
        enum { K = HG_BF16 };                                                                                          \
        typedef uint16_t E;                                                                                            \
        typedef float A;                                                                                               \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    case HG_BOOL: {                                                                                                    \
        enum { K = HG_BOOL };                                                                                          \
        typedef uint8_t E;                                                                                             \
        typedef int64_t A;                                                                                             \
        __VA_ARGS__                                                                                                    \
    } break;                                                                                                           \
    default: break;                                                                                                    \
    }
#define LOAD(e)                                                                                                        \
    ((int)K == HG_F16    ? (A)hg_half_to_float((uint16_t)(e))                                                          \
     : (int)K == HG_BF16 ? (A)hg_bf16_to_float((uint16_t)(e))                                                          \
                         : (A)(e))
#define STORE(a)                                                                                                       \
    ((int)K == HG_F16    ? (E)hg_float_to_half((float)(a))                                                             \
     : (int)K == HG_BF16 ? (E)hg_float_to_bf16((float)(a))                                                             \
     : (int)K == HG_BOOL ? (E)((a) != 0)                                                                               \
                         : (E)(a))

/* dim made non-negative against n_dim; 0-d counts as `n_dim 0`, where only the op's own words fit. */
static inline int64_t hg_size_at(const hg_tensor *t, int dim) { return t->n_dim ? t->shape[dim] : 1; }
static inline int64_t hg_stride_at(const hg_tensor *t, int dim) { return t->n_dim ? t->stride[dim] : 1; }

/* The innermost scope fails; NULL, for expressions. */
hg_tensor *hg_x_fail(hg_ctx *cx, hg_status st);
/* Zeros, borrowed from the innermost scope; NULL: failed. Without history. */
hg_tensor *hg_x_zeros(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape);
/* A gradient that PyTorch makes by writing into zeros that often. Borrows and returns t, which may be NULL. */
hg_tensor *hg_x_written(hg_tensor *t, uint32_t times);
/* The start of an out-of-place op that changes part of `self`: a copy of it, or self itself when it is *out (in-place). */
hg_status hg_out_copy(hg_ctx *cx, hg_tensor *self, hg_tensor **out);
hg_status hg_out_clone(hg_ctx *cx, hg_tensor *self, hg_tensor **out); /* the same, lying as self does */
/* Hand over a finished raw result: it becomes *out, or is copied into it when it is given. Steals `made`. */
hg_status hg_out_take(hg_ctx *cx, hg_tensor *made, hg_tensor **out);
/* to += from, elementwise, where elements of `to` may lie on one another; same shape and dtype; raw. */
void hg_raw_accumulate(hg_tensor *to, const hg_tensor *from);
/* The numbers of an index tensor (int32 or int64) as int64, contiguous. New: release it. */
hg_status hg_raw_index(hg_ctx *cx, hg_tensor *index, hg_tensor **out);

/* A contiguous copy, recorded; borrowed from the innermost scope. */
hg_tensor *hg_x_packed(hg_ctx *cx, hg_tensor *t);
/* mask[d]: dims, a list, names dimension d. Fails on repeated ones. */
hg_status hg_dim_mask(hg_ctx *cx, const hg_tensor *t, const hg_arg *dims, bool mask[HG_MAX_DIM]);

#endif
