/* Reductions.

   Note [Reductions]
   A reduction folds the input into accumulators, one for each element of the result: doubles for floating dtypes, int64 for
   the others, so that a sum of float32 is exact to its last bit in any order of dimensions. The strided iterator puts the
   dimensions in the order memory has them; the loop then either folds a row into one accumulator (step[0] is 0), in lanes the
   compiler vectorises, or adds a row to a row of accumulators. At the end accumulators become the result's dtype. */
#ifndef HG_REDUCE_IMPL_H
#define HG_REDUCE_IMPL_H

#include "k_impl.h"

/* Folds `rows` rows of n elements. p[0] accumulators, p[1] input, p[2] what is subtracted first where the fold is a centred one
   (doubles); steps in bytes. Where step[0] is 0 each row is folded into one accumulator, `acc_step` from one row's to the next's;
   else all of them into the same n accumulators. */
typedef void (*hg_fold_loop)(int64_t rows, int64_t row_step, int64_t acc_step, int64_t n, char *const *p,
                             const int64_t *step, const hg_extra_args *extra);

typedef struct hg_fold {
    const char *name;
    hg_fold_loop loop[HG_N_DTYPES];
    const struct hg_fold *merge; /* what folds accumulators of pieces into one */
    bool counts;                 /* accumulates int64 for floating inputs as well */
    double first_f;
    int64_t first_i;
} hg_fold;

/* clang-format off */
#define HG_FOLDS(K)                                                                                                    \
    K(sum) K(nansum) K(prod) K(max) K(min) K(all) K(any) K(count) K(abs_sum) K(square_sum) K(power_sum) K(abs_max)     \
    K(abs_min) K(deviation)
/* clang-format on */
#define K(name) extern const hg_fold hg_fold_##name;
HG_FOLDS(K)
#undef K

/* Which dimensions go, and what is left. */
typedef struct hg_dims {
    bool gone[HG_MAX_DIM];
    int n_dim; /* of the result */
    int64_t shape[HG_MAX_DIM];
    int64_t n, count; /* elements of the result, and of the input for each of them */
} hg_dims;

/* dim: none, a number or a list; none and an empty list are all. Fails where one repeats or is out of range. */
hg_status hg_read_dims(hg_ctx *cx, const hg_tensor *t, const hg_arg *dim, bool keep, hg_dims *d);

/* Accumulators: `few` where they are few. */
typedef struct hg_acc {
    char *at; /* doubles or int64 */
    int64_t n;
    bool is_int;
    double few[16];
} hg_acc;

/* New accumulators of t folded over d; hg_acc_free() them. `center`: accumulators of the same dims, or NULL. */
hg_status hg_fold_run(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, const hg_extra_args *extra,
                      const hg_acc *center, hg_acc *out);
void hg_acc_free(hg_ctx *cx, hg_acc *acc);
/* The accumulators as a tensor of dtype `type`. */
hg_status hg_acc_take(hg_ctx *cx, const hg_acc *acc, const hg_dims *d, hg_dtype type, hg_tensor **out);
/* Both at once, without a centre; `is_mean`: divided by how many there were. */
hg_status hg_fold_to(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, bool is_mean, hg_dtype type,
                     hg_tensor **out);
/* Is any element of x zero? False, and the scope failed, where that could not be found out. */
bool hg_x_may_have_zero(hg_ctx *cx, hg_tensor *x);
/* g, of the reduced shape, with the dimensions that went as size 1 again; borrowed from the scope. */
hg_tensor *hg_x_product_of_others(hg_ctx *cx, hg_tensor *x, int dim);
hg_tensor *hg_x_keep_dims(hg_ctx *cx, hg_tensor *g, hg_meta input, const hg_arg *dim, bool kept);

/* Rows along one dimension, by hg_work(): fn gets the start of the first of n rows of every operand, the bytes from row to row,
   and those from one element to the next. The operands have the same shape but for `dim`, where an operand may have another
   size. `room` bytes to work in, which no other thread uses meanwhile, are for fn alone. Fails where there is no memory. */
typedef void (*hg_along_fn)(void *arg, char *room, int64_t n, char *const *p, const int64_t *row_step,
                            const int64_t *step);
hg_status hg_along(hg_ctx *cx, int dim, int n_operands, hg_tensor *const *operands, size_t room, hg_along_fn fn,
                   void *arg);
/* The shape of t without dimension dim, or with it as 1. */
int hg_shape_without(const hg_tensor *t, int dim, bool keep, int64_t *shape);

#endif
