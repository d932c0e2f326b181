/* Running an inner loop over strided memory.

   Note [Loops]
   A loop is a function over n elements: p[0] is where results go, p[1..] where operands come from, step[k] the bytes from
   one element of p[k] to the next (0: one value for all). It never sees shapes. p[0] may be exactly one of the operands
   (in-place); it never overlaps one in any other way. `extra` holds the numbers an op has besides its operands.

   hg_iter brings operands of one broadcast shape under as few dimensions as it can and calls the loop along the last. */
#ifndef HG_ITER_IMPL_H
#define HG_ITER_IMPL_H

#include "cpu_impl.h"
#include "op_impl.h"

#define HG_ITER_MAX 4

typedef struct hg_extra_args {
    double f[4];
    int64_t i[4];
} hg_extra_args;

typedef void (*hg_loop)(int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra);

typedef struct hg_iter {
    int n_operands, n_dim;
    char *p[HG_ITER_MAX];
    int64_t shape[HG_MAX_DIM];
    int64_t step[HG_MAX_DIM][HG_ITER_MAX]; /* bytes */
    int64_t size[HG_ITER_MAX];             /* of an element */
    bool joins;
} hg_iter;

/* The shape every operand is broadcast to; operands are added next, the result first. */
void hg_iter_begin(hg_iter *it, int n_dim, const int64_t *shape);
/* Shape must broadcast to the iterator's. */
void hg_iter_add(hg_iter *it, const void *data, size_t itemsize, int n_dim, const int64_t *shape,
                 const int64_t *stride);
static inline void hg_iter_add_tensor(hg_iter *it, const hg_tensor *t) {
    hg_iter_add(it, t->data, hg_tensor_itemsize(t), t->n_dim, t->shape, t->stride);
}
/* Merge dimensions: once, after the last operand. */
void hg_iter_coalesce(hg_iter *it);
/* Are rows short, and does each operand go on from one to the next, or repeat its row, or a number for each? Then the loop
   is called for many of them at once, with what repeats written out. */
bool hg_iter_join(hg_iter *it);
/* Makes rows of the dimension before where the last one has few elements: every row is a call. */
void hg_iter_lengthen(hg_iter *it);
/* fn(arg, n, p, step) along the last dimension, row after row. */
typedef void (*hg_row_fn)(void *arg, int64_t n, char *const *p, const int64_t *step);
void hg_iter_rows(const hg_iter *it, hg_row_fn fn, void *arg);
/* The same, where no element depends on another, by hg_work(): rows may come in pieces, and in several threads. */
void hg_iter_work(hg_ctx *cx, const hg_iter *it, hg_row_fn fn, void *arg);
/* ... and calls the loop, for one element where all are of the same numbers. */
void hg_iter_work_loop(hg_ctx *cx, const hg_iter *it, hg_loop loop, const hg_extra_args *extra);
/* The same where what the iterator has one of stands for `each` elements. */
void hg_iter_work_each(hg_ctx *cx, const hg_iter *it, int64_t each, hg_row_fn fn, void *arg);
/* And where fn needs `room` bytes to work in: its argument is then a hg_row_room, with `arg` and room that no other thread uses
   meanwhile. Fails where there is no memory. */
typedef struct hg_row_room {
    void *arg;
    char *room;
} hg_row_room;
hg_status hg_iter_work_in_room(hg_ctx *cx, const hg_iter *it, int64_t each, size_t room, hg_row_fn fn, void *arg);

/* As many elements are worth a thread's while. */
enum { HG_GRAIN = 16384 };

/* The dtypes loops are compiled for; half types run as float32. X(suffix, C type, unsigned type to compute in, id) */
#define HG_SIGNED_TYPES(X)                                                                                             \
    X(i8, int8_t, uint32_t, I8)                                                                                        \
    X(i16, int16_t, uint32_t, I16) X(i32, int32_t, uint32_t, I32) X(i64, int64_t, uint64_t, I64)
#define HG_INT_TYPES(X)   X(u8, uint8_t, uint32_t, U8) HG_SIGNED_TYPES(X)
#define HG_FLOAT_TYPES(X) X(f32, float, float, F32) X(f64, double, double, F64)

#endif
