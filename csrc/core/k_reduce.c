/* Folding rows of numbers: see Note [Reductions]. */
#include "k_math_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <string.h>

enum { LANES = 32, BLOCK = 4096 };

#define SAME(x)          (x)
#define ACC(i)           (*(A *)(void *)(p[0] + (i)*step[0]))
#define ELEMENT(i, load) (load(*(const E *)(const void *)(p[1] + (i)*step[1])))

/* A fold over elements stored as E, read by `load` as L and accumulated as A. STEP is the next accumulator from a and x, MERGE
   one from a and b; `first` changes nothing when merged. Lanes are merged every BLOCK, so that errors of a long sum stay small. */
#define FOLD(attributes, fn, E_, load, L_, A_, first, STEP, MERGE)                                                     \
    attributes static void fn(int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra) {            \
        typedef E_ E;                                                                                                  \
        typedef L_ L;                                                                                                  \
        typedef A_ A;                                                                                                  \
        (void)extra;                                                                                                   \
        if (step[0] == 0) {                                                                                            \
            A total = ACC(0);                                                                                          \
            int64_t i = 0;                                                                                             \
            if (step[1] == (int64_t)sizeof(E)) {                                                                       \
                const E *in = (const E *)(const void *)p[1];                                                           \
                while (n - i >= LANES) {                                                                               \
                    int64_t end = i + (n - i < BLOCK ? (n - i) / LANES * LANES : BLOCK);                               \
                    A lane[LANES];                                                                                     \
                    for (int l = 0; l < LANES; l++) lane[l] = (A)(first);                                              \
                    for (; i < end; i += LANES)                                                                        \
                        for (int l = 0; l < LANES; l++) {                                                              \
                            A a = lane[l];                                                                             \
                            L x = (L)load(in[i + l]);                                                                  \
                            lane[l] = (STEP);                                                                          \
                        }                                                                                              \
                    for (int half = LANES / 2; half; half /= 2)                                                        \
                        for (int l = 0; l < half; l++) {                                                               \
                            A a = lane[l], b = lane[l + half];                                                         \
                            lane[l] = (MERGE);                                                                         \
                        }                                                                                              \
                    A a = total, b = lane[0];                                                                          \
                    total = (MERGE);                                                                                   \
                }                                                                                                      \
            }                                                                                                          \
            for (; i < n; i++) {                                                                                       \
                A a = total;                                                                                           \
                L x = (L)ELEMENT(i, load);                                                                             \
                total = (STEP);                                                                                        \
            }                                                                                                          \
            ACC(0) = total;                                                                                            \
            return;                                                                                                    \
        }                                                                                                              \
        if (step[0] == (int64_t)sizeof(A) && step[1] == (int64_t)sizeof(E)) {                                          \
            A *restrict acc = (A *)(void *)p[0];                                                                       \
            const E *restrict in = (const E *)(const void *)p[1];                                                      \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                A a = acc[i];                                                                                          \
                L x = (L)load(in[i]);                                                                                  \
                acc[i] = (STEP);                                                                                       \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            A a = ACC(i);                                                                                              \
            L x = (L)ELEMENT(i, load);                                                                                 \
            ACC(i) = (STEP);                                                                                           \
        }                                                                                                              \
    }

#define FOLD_INTS(id, first, STEP, MERGE)                                                                              \
    FOLD(, id##_u8, uint8_t, SAME, int64_t, int64_t, first, STEP, MERGE)                                               \
    FOLD(, id##_i8, int8_t, SAME, int64_t, int64_t, first, STEP, MERGE)                                                \
    FOLD(, id##_i16, int16_t, SAME, int64_t, int64_t, first, STEP, MERGE)                                              \
    FOLD(, id##_i32, int32_t, SAME, int64_t, int64_t, first, STEP, MERGE)                                              \
    FOLD(, id##_i64, int64_t, SAME, int64_t, int64_t, first, STEP, MERGE)
#define FOLD_FLOATS(attributes, id, A, first, STEP, MERGE)                                                             \
    FOLD(, id##_f16, uint16_t, hg_half_to_float, double, A, first, STEP, MERGE)                                        \
    FOLD(attributes, id##_f32, float, SAME, double, A, first, STEP, MERGE)                                             \
    FOLD(attributes, id##_f64, double, SAME, double, A, first, STEP, MERGE)                                            \
    FOLD(, id##_bf16, uint16_t, hg_bf16_to_float, double, A, first, STEP, MERGE)
#define INT_ROWS(id)                                                                                                   \
    [HG_U8] = id##_u8, [HG_BOOL] = id##_u8, [HG_I8] = id##_i8, [HG_I16] = id##_i16, [HG_I32] = id##_i32,               \
    [HG_I64] = id##_i64
#define FLOAT_ROWS(id) [HG_F16] = id##_f16, [HG_F32] = id##_f32, [HG_F64] = id##_f64, [HG_BF16] = id##_bf16

#define PLUS(a, b)     ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define TIMES(a, b)    ((int64_t)((uint64_t)(a) * (uint64_t)(b)))

FOLD_INTS(sum, 0, PLUS(a, x), PLUS(a, b))
FOLD_FLOATS(HG_CLONES, sum, double, 0, a + x, a + b)
const hg_fold hg_fold_sum = {.name = "sum", .loop = {INT_ROWS(sum), FLOAT_ROWS(sum)}};

FOLD_FLOATS(HG_CLONES, nansum, double, 0, x != x ? a : a + x, a + b)
const hg_fold hg_fold_nansum = {.name = "nansum", .loop = {INT_ROWS(sum), FLOAT_ROWS(nansum)}};

FOLD_INTS(prod, 1, TIMES(a, x), TIMES(a, b))
FOLD_FLOATS(HG_CLONES, prod, double, 1, a *x, a *b)
const hg_fold hg_fold_prod = {.name = "prod", .loop = {INT_ROWS(prod), FLOAT_ROWS(prod)}, .first_f = 1, .first_i = 1};

/* NaN stays once it is there. */
FOLD_INTS(max, INT64_MIN, x > a ? x : a, b > a ? b : a)
FOLD_FLOATS(HG_CLONES, max, double, -INFINITY, (x > a) | (x != x) ? x : a, b > a || b != b ? b : a)
const hg_fold hg_fold_max = {
    .name = "max", .loop = {INT_ROWS(max), FLOAT_ROWS(max)}, .first_f = -INFINITY, .first_i = INT64_MIN};

FOLD_INTS(min, INT64_MAX, x < a ? x : a, b < a ? b : a)
FOLD_FLOATS(HG_CLONES, min, double, INFINITY, (x < a) | (x != x) ? x : a, b < a || b != b ? b : a)
const hg_fold hg_fold_min = {
    .name = "min", .loop = {INT_ROWS(min), FLOAT_ROWS(min)}, .first_f = INFINITY, .first_i = INT64_MAX};

#define COUNTING(id, first, STEP, MERGE)                                                                               \
    FOLD_INTS(id, first, STEP, MERGE)                                                                                  \
    FOLD_FLOATS(, id, int64_t, first, STEP, MERGE)                                                                     \
    const hg_fold hg_fold_##id = {                                                                                     \
        .name = #id, .loop = {INT_ROWS(id), FLOAT_ROWS(id)}, .counts = true, .first_i = first};
COUNTING(all, 1, a &(x != 0), a &b)
COUNTING(any, 0, a | (x != 0), a | b)
COUNTING(count, 0, a + (x != 0), a + b)

#define NORM(attributes, id, first, STEP, MERGE)                                                                       \
    FOLD_FLOATS(attributes, id, double, first, STEP, MERGE)                                                            \
    const hg_fold hg_fold_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}, .first_f = first};
NORM(HG_CLONES, abs_sum, 0, a + fabs(x), a + b)
NORM(HG_CLONES, square_sum, 0, a + x * x, a + b)
NORM(, power_sum, 0, a + pow(fabs(x), extra->f[0]), a + b)
NORM(HG_CLONES, abs_max, 0, fabs(x) > a || x != x ? fabs(x) : a, b > a || b != b ? b : a)
NORM(HG_CLONES, abs_min, INFINITY, fabs(x) < a || x != x ? fabs(x) : a, b < a || b != b ? b : a)

/* Folds of x less a centre, one for each accumulator. */
#define CENTRED(fn, E_, load, STEP)                                                                                    \
    static void fn(int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra) {                       \
        typedef E_ E;                                                                                                  \
        typedef double A;                                                                                              \
        (void)extra;                                                                                                   \
        if (step[0] == 0 && step[2] == 0) {                                                                            \
            double total = 0, center = *(const double *)(const void *)p[2];                                            \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                double d = (double)ELEMENT(i, load) - center, a = total;                                               \
                total = (STEP);                                                                                        \
            }                                                                                                          \
            ACC(0) += total;                                                                                           \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            double d = (double)ELEMENT(i, load) - *(const double *)(const void *)(p[2] + i * step[2]), a = ACC(i);     \
            ACC(i) = (STEP);                                                                                           \
        }                                                                                                              \
    }
#define CENTRED_FOLD(id, STEP)                                                                                         \
    CENTRED(id##_f16, uint16_t, hg_half_to_float, STEP)                                                                \
    CENTRED(id##_f32, float, SAME, STEP)                                                                               \
    CENTRED(id##_f64, double, SAME, STEP)                                                                              \
    CENTRED(id##_bf16, uint16_t, hg_bf16_to_float, STEP)                                                               \
    const hg_fold hg_fold_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}};
CENTRED_FOLD(deviation, a + d * d)
CENTRED_FOLD(exp_sum, a + _Generic((E)0, double : exp(d), default : (double)hg_expf((float)d)))

/* ---- Running a fold ---------------------------------------------------------------------------------------------------------- */

hg_status hg_read_dims(hg_ctx *cx, const hg_tensor *t, const hg_arg *dim, bool keep, hg_dims *d) {
    const int64_t *at = dim->kind == HG_A_INTS ? dim->u.ints : &dim->u.i;
    int n = dim->kind == HG_A_INTS ? (int)dim->n : dim->kind == HG_A_INT ? 1 : 0;
    memset(d->gone, n ? 0 : 1, sizeof d->gone);
    for (int i = 0; i < n; i++) {
        int k;
        hg_status st = hg_wrap_dim(cx, at[i], t->n_dim, &k);
        if (st != HG_OK) return st;
        if (d->gone[k]) return hg_fail(cx, HG_STATE, "dim %d appears multiple times in the list of dims", k);
        d->gone[k] = true;
    }
    d->n_dim = 0, d->n = 1, d->count = 1;
    for (int i = 0; i < t->n_dim; i++) {
        if (d->gone[i])
            d->count *= t->shape[i];
        else
            d->n *= t->shape[i];
        if (!d->gone[i] || keep) d->shape[d->n_dim++] = d->gone[i] ? 1 : t->shape[i];
    }
    return HG_OK;
}

hg_status hg_fold_run(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, const hg_extra_args *extra,
                      const hg_acc *center, hg_acc *out) {
    hg_loop loop = fold->loop[t->dtype];
    if (!loop) return hg_no_kernel(cx, fold->name, (hg_dtype)t->dtype);
    out->n = d->n;
    out->is_int = fold->counts || !hg_dtype_is_float((hg_dtype)t->dtype);
    out->at = (char *)out->few;
    if (d->n > (int64_t)(sizeof out->few / sizeof *out->few) && !(out->at = hg_mem(cx, (size_t)d->n * 8)))
        return HG_MEMORY;
    for (int64_t i = 0; i < d->n; i++)
        if (out->is_int)
            ((int64_t *)(void *)out->at)[i] = fold->first_i;
        else
            ((double *)(void *)out->at)[i] = fold->first_f;
    if (t->numel == 0) return HG_OK;
    if (t->contiguous && d->n == 1 && !center) {
        loop(t->numel, (char *[]){out->at, t->data}, (int64_t[]){0, (int64_t)hg_tensor_itemsize(t)}, extra);
        return HG_OK;
    }
    int64_t stride[HG_MAX_DIM], next = 1;
    for (int i = t->n_dim - 1; i >= 0; i--) {
        stride[i] = d->gone[i] ? 0 : next;
        if (!d->gone[i]) next *= t->shape[i];
    }
    hg_iter it;
    hg_iter_begin(&it, t->n_dim, t->shape);
    hg_iter_add(&it, out->at, 8, t->n_dim, t->shape, stride);
    hg_iter_add_tensor(&it, t);
    if (center) hg_iter_add(&it, center->at, 8, t->n_dim, t->shape, stride);
    hg_iter_coalesce(&it);
    hg_iter_run(&it, loop, extra);
    return HG_OK;
}

void hg_acc_free(hg_ctx *cx, hg_acc *acc) {
    if (acc->at && acc->at != (char *)acc->few) hg_mem_free(cx->lib, acc->at);
    acc->at = NULL;
}

hg_status hg_acc_take(hg_ctx *cx, const hg_acc *acc, const hg_dims *d, hg_dtype type, hg_tensor **out) {
    hg_status st = hg_out(cx, out, type, d->n_dim, d->shape);
    if (st == HG_OK && acc->n)
        hg_converter(type, acc->is_int ? HG_I64 : HG_F64)(acc->n, (*out)->data, hg_dtypes[type].size, acc->at, 8);
    return st;
}

/* ---- Along one dimension -------------------------------------------------------------------------------------------------------- */

typedef struct along {
    hg_along_fn fn;
    void *arg;
    int n_operands;
    int64_t step[HG_ITER_MAX];
} along;

static void along_rows(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const along *a = arg;
    char *q[HG_ITER_MAX];
    for (int k = 0; k < a->n_operands; k++) q[k] = p[k];
    for (int64_t i = 0; i < n; i++) {
        a->fn(a->arg, q, a->step);
        for (int k = 0; k < a->n_operands; k++) q[k] += step[k];
    }
}

void hg_along(int dim, int n_operands, hg_tensor *const *operands, hg_along_fn fn, void *arg) {
    along a = {fn, arg, n_operands, {0}};
    const hg_tensor *first = operands[0];
    int64_t shape[HG_MAX_DIM];
    for (int i = 0; i < first->n_dim; i++) shape[i] = i == dim ? 1 : first->shape[i];
    hg_iter it;
    hg_iter_begin(&it, first->n_dim, shape);
    for (int k = 0; k < n_operands; k++) {
        const hg_tensor *t = operands[k];
        int64_t size = (int64_t)hg_tensor_itemsize(t);
        a.step[k] = t->n_dim ? t->stride[dim] * size : size;
        hg_iter_add(&it, t->data, (size_t)size, t->n_dim, shape, t->stride);
    }
    hg_iter_coalesce(&it);
    hg_iter_rows(&it, along_rows, &a);
}

int hg_shape_without(const hg_tensor *t, int dim, bool keep, int64_t *shape) {
    int n = 0;
    for (int i = 0; i < t->n_dim; i++)
        if (i != dim || keep) shape[n++] = i == dim ? 1 : t->shape[i];
    return n;
}
