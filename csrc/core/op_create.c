/* New tensors: filled, counted, and the identity. */
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <math.h>

/* ---- Filled ------------------------------------------------------------------------------------------------------------------------- */

static hg_dtype type_or(const hg_arg *dtype, hg_dtype other) { return hg_given(dtype) ? (hg_dtype)dtype->u.i : other; }

/* What torch takes a number for: bool, int64, or the default dtype. */
static hg_dtype number_type(hg_ctx *cx, const hg_arg *number) {
    return number->kind == HG_A_BOOL ? HG_BOOL : number->kind == HG_A_INT ? HG_I64 : hg_default_dtype(cx);
}

/* `size` of an int[] argument, one number standing for a list of one. */
static int sizes(const hg_arg *size, const int64_t **at) {
    *at = size->kind == HG_A_INTS ? size->u.ints : &size->u.i;
    return size->kind == HG_A_INTS ? (int)size->n : 1;
}

static hg_status empty(hg_ctx *cx, const hg_arg *size, hg_dtype d, hg_tensor **out) {
    const int64_t *at;
    int n = sizes(size, &at);
    return hg_tensor_empty(cx, d, n, at, out);
}

static hg_status filled(hg_ctx *cx, hg_status made, hg_arg number, hg_tensor **out) {
    return made == HG_OK ? hg_raw_fill(cx, *out, number) : made;
}
/* dtype and memory_format stand next to one another. */
static hg_status like(hg_ctx *cx, const hg_tensor *t, const hg_arg *dtype, hg_tensor **out) {
    return hg_out_format(cx, out, type_or(dtype, (hg_dtype)t->dtype), t, hg_format_or(dtype + 1, HG_FORMAT_PRESERVE));
}

hg_status hg_op_empty(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = empty(cx, &a[0], type_or(&a[1], hg_default_dtype(cx)), out);
    return st == HG_OK ? hg_reformat(cx, *out, hg_format_or(&a[2], HG_FORMAT_CONTIGUOUS)) : st;
}
hg_status hg_op_zeros(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const int64_t *at;
    for (int i = sizes(&a[0], &at) - 1; i >= 0; i--)
        if (at[i] < 0) return hg_fail(cx, HG_STATE, "zeros: Dimension size must be non-negative.");
    return filled(cx, empty(cx, &a[0], type_or(&a[1], hg_default_dtype(cx)), out), hg_i(0), out);
}
hg_status hg_op_ones(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, empty(cx, &a[0], type_or(&a[1], hg_default_dtype(cx)), out), hg_i(1), out);
}
hg_status hg_op_full(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, empty(cx, &a[0], type_or(&a[2], number_type(cx, &a[1])), out), a[1], out);
}
hg_status hg_op_scalar_tensor(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_raw_scalar(cx, a[0], type_or(&a[1], hg_default_dtype(cx)), out);
}

hg_status hg_op_empty_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return like(cx, a[0].u.t, &a[1], out); }
hg_status hg_op_zeros_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, like(cx, a[0].u.t, &a[1], out), hg_i(0), out);
}
hg_status hg_op_ones_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, like(cx, a[0].u.t, &a[1], out), hg_i(1), out);
}
hg_status hg_op_full_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, like(cx, a[0].u.t, &a[2], out), a[1], out);
}

hg_status hg_op_new_empty(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return empty(cx, &a[1], type_or(&a[2], (hg_dtype)a[0].u.t->dtype), out);
}
hg_status hg_op_new_zeros(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, hg_op_new_empty(cx, a, out), hg_i(0), out);
}
hg_status hg_op_new_ones(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, hg_op_new_empty(cx, a, out), hg_i(1), out);
}
hg_status hg_op_new_full(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return filled(cx, empty(cx, &a[1], type_or(&a[3], (hg_dtype)a[0].u.t->dtype), out), a[2], out);
}

hg_status hg_op_empty_strided(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const int64_t *size, *stride;
    int n = sizes(&a[0], &size), m = sizes(&a[1], &stride);
    int64_t reach = 1, numel;
    if (n != m)
        return hg_fail(cx, HG_STATE, "dimensionality of sizes (%d) must match dimensionality of strides (%d)", n, m);
    hg_status st = hg_numel(cx, n, size, &numel);
    if (st != HG_OK) return st;
    for (int i = 0; i < n; i++) {
        int64_t add;
        if (stride[i] < 0)
            return hg_fail(cx, HG_STATE,
                           "as_strided: Negative strides are not supported at the moment, got strides: %lld",
                           (long long)stride[i]);
        if (__builtin_mul_overflow(size[i] ? size[i] - 1 : 0, stride[i], &add) ||
            __builtin_add_overflow(reach, add, &reach))
            return hg_fail(cx, HG_STATE, "Storage size calculation overflowed");
    }
    hg_tensor *flat;
    if ((st = hg_tensor_empty(cx, type_or(&a[2], hg_default_dtype(cx)), 1, &(int64_t){numel ? reach : 0}, &flat)) !=
        HG_OK)
        return st;
    st = hg_tensor_alias(cx, flat, n, size, stride, 0, out);
    hg_release(cx, flat);
    return st;
}

/* ---- Counted -------------------------------------------------------------------------------------------------------------------------- */

/* Reading numbers of a tensor or a number argument. */
static hg_status number_of(hg_ctx *cx, const hg_arg *a, double *f) {
    hg_arg item = *a;
    if (a->kind == HG_A_TENSOR) {
        if (a->u.t->n_dim)
            return hg_fail(cx, HG_STATE,
                           "linspace only supports 0-dimensional start and end tensors, but got start with %d "
                           "dimension(s)",
                           a->u.t->n_dim);
        hg_status st = hg_item(cx, a->u.t, &item);
        if (st != HG_OK) return st;
    }
    *f = hg_number_f(&item);
    return HG_OK;
}

/* Note [Counting in blocks]
   torch counts in vectors of 64 bytes, two at a time, each from a first number rounded to the dtype; what is left over is
   counted one by one. The same blocks give the same numbers. */
#define COUNTED(name, T_)                                                                                              \
    HG_INLINE void name##_body(const bool fused, T_ *r, int64_t n, double start, double step) {                        \
        enum { WIDTH = 64 / sizeof(T_) };                                                                              \
        int64_t i = 0;                                                                                                 \
        (void)fused; /* torch fuses everywhere */                                                                      \
        for (; i < n - n % (2 * WIDTH); i += WIDTH) {                                                                  \
            double base = (double)(T_)__builtin_fma(step, (double)i, start);                                           \
            for (int k = 0; k < WIDTH; k++) r[i + k] = (T_)__builtin_fma((double)k, step, base);                       \
        }                                                                                                              \
        for (; i < n; i++) r[i] = (T_)__builtin_fma(step, (double)i, start);                                           \
    }                                                                                                                  \
    HG_VECTOR_FEW(name, (T_ * r, int64_t n, double start, double step), r, n, start, step)
COUNTED(counted_f32, float)
COUNTED(counted_f64, double)

static hg_status arange(hg_ctx *cx, const hg_arg *start, const hg_arg *end, const hg_arg *step, const hg_arg *dtype,
                        hg_tensor **out) {
    bool whole = start->kind != HG_A_FLOAT && end->kind != HG_A_FLOAT && step->kind != HG_A_FLOAT;
    hg_dtype d = type_or(dtype, whole ? HG_I64 : hg_default_dtype(cx));
    double a = hg_number_f(start), b = hg_number_f(end), by = hg_number_f(step);
    if (by == 0) return hg_fail(cx, HG_STATE, "step must be nonzero");
    if (!isfinite(a) || !isfinite(b)) return hg_fail(cx, HG_STATE, "unsupported range: %g -> %g", a, b);
    if ((by > 0 && b < a) || (by < 0 && b > a))
        return hg_fail(cx, HG_STATE, "upper bound and lower bound inconsistent with step sign");
    bool in_ints = !hg_dtype_is_float(d);
    int64_t i_start = hg_number_i(start), i_step = hg_number_i(step);
    if (in_ints && i_step == 0) return hg_fail(cx, HG_VALUE, "step must be nonzero");
    if (d == HG_BOOL) return hg_no_kernel(cx, "arange_cpu", d);
    double size = d == HG_I64 ? ceil((double)(hg_number_i(end) - i_start) / (double)i_step) : ceil((b - a) / by);
    if (!(size >= 0 && size < 9.2e18)) return hg_fail(cx, HG_STATE, "invalid size, possible overflow?");
    int64_t n = (int64_t)size;
    hg_tensor *t;
    hg_dtype c = in_ints ? HG_I64 : d == HG_F64 ? HG_F64 : HG_F32;
    hg_status st = hg_tensor_empty(cx, c, 1, &n, &t);
    if (st != HG_OK) return st;
    void *r = t->data;
    if (c == HG_I64)
        for (int64_t i = 0; i < n; i++)
            ((int64_t *)r)[i] = (int64_t)((uint64_t)i_start + (uint64_t)i * (uint64_t)i_step);
    else if (c == HG_F64)
        counted_f64(r, n, a, by);
    else
        counted_f32(r, n, a, by);
    st = hg_raw_cast(cx, t, d, out);
    hg_release(cx, t);
    return st;
}
hg_status hg_op_arange_end(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return arange(cx, &(hg_arg){.kind = HG_A_INT}, &a[0], &(hg_arg){.kind = HG_A_INT, .u.i = 1}, &a[1], out);
}
hg_status hg_op_arange(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return arange(cx, &a[0], &a[1], &a[2], &a[3], out);
}

/* From both ends to the middle, so that both ends are exact; in the precision of the result. */
#define EVEN_STEPS(name, T_, fma_)                                                                                     \
    HG_INLINE void name##_body(const bool fused, double *r, int64_t n, T_ start, T_ end) {                             \
        T_ step = (end - start) / (T_)(n - 1);                                                                         \
        (void)fused;                                                                                                   \
        for (int64_t i = 0; i < n / 2; i++) r[i] = fma_(step, (T_)i, start);                                           \
        for (int64_t i = n / 2; i < n; i++) r[i] = fma_(-step, (T_)(n - i - 1), end);                                  \
    }                                                                                                                  \
    HG_VECTOR_FEW(name, (double *r, int64_t n, T_ start, T_ end), r, n, start, end)
EVEN_STEPS(even_steps_f32, float, __builtin_fmaf)
EVEN_STEPS(even_steps_f64, double, __builtin_fma)

static hg_status even_steps(hg_ctx *cx, const hg_arg *a, const hg_arg *base, const hg_arg *dtype, hg_tensor **out) {
    double start = 0, end = 0;
    int64_t n = a[2].u.i;
    hg_status st = number_of(cx, &a[0], &start);
    if (st != HG_OK || (st = number_of(cx, &a[1], &end)) != HG_OK) return st;
    if (n < 0) return hg_fail(cx, HG_STATE, "number of steps must be non-negative");
    hg_dtype d = type_or(dtype, hg_default_dtype(cx));
    if (n > 1 && !hg_dtype_is_float(d)) start = trunc(start), end = trunc(end); /* the ends are numbers of the result */
    hg_tensor *t;
    if ((st = hg_tensor_empty(cx, HG_F64, 1, &n, &t)) != HG_OK) return st;
    double *r = (double *)(void *)t->data;
    if (n == 1)
        r[0] = start;
    else if (n > 1 && (d == HG_F32 || d == HG_F16 || d == HG_BF16))
        even_steps_f32(r, n, (float)start, (float)end);
    else if (n > 1)
        even_steps_f64(r, n, start, end);
    if (base)
        for (int64_t i = 0; i < n; i++) r[i] = pow(hg_number_f(base), r[i]);
    st = hg_raw_cast(cx, t, d, out);
    hg_release(cx, t);
    return st;
}
hg_status hg_op_linspace(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return even_steps(cx, a, NULL, &a[3], out); }
hg_status hg_op_logspace(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return even_steps(cx, a, &a[3], &a[4], out); }

/* ---- Matrices --------------------------------------------------------------------------------------------------------------------------- */

static hg_status eye(hg_ctx *cx, int64_t n, int64_t m, const hg_arg *dtype, hg_tensor **out) {
    if (n < 0) return hg_fail(cx, HG_STATE, "n must be greater or equal to 0, got %lld", (long long)n);
    if (m < 0) return hg_fail(cx, HG_STATE, "m must be greater or equal to 0, got %lld", (long long)m);
    hg_tensor *t, *diagonal = NULL;
    hg_status st = hg_tensor_empty(cx, type_or(dtype, hg_default_dtype(cx)), 2, (int64_t[]){n, m}, &t);
    if (st != HG_OK) return st;
    int64_t length = n < m ? n : m, along = m + 1;
    if ((st = hg_raw_fill(cx, t, hg_i(0))) != HG_OK ||
        (st = hg_tensor_alias(cx, t, 1, &length, &along, 0, &diagonal)) != HG_OK ||
        (st = hg_raw_fill(cx, diagonal, hg_i(1))) != HG_OK) {
        hg_release(cx, diagonal), hg_release(cx, t);
        return st;
    }
    hg_release(cx, diagonal);
    *out = t;
    return HG_OK;
}
hg_status hg_op_eye_square(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return eye(cx, a[0].u.i, a[0].u.i, &a[1], out);
}
hg_status hg_op_eye(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return eye(cx, a[0].u.i, a[1].u.i, &a[2], out); }

static int64_t clamp(int64_t i, int64_t low, int64_t high) { return i < low ? low : i > high ? high : i; }

/* How many places lie on and below a diagonal. The rows from `first` to `full` have some columns of it, those after it all. */
static int64_t places_below(int64_t rows, int64_t columns, int64_t offset) {
    int64_t first = clamp(-offset, 0, rows), full = clamp(columns - offset - 1, first, rows);
    uint64_t some = (uint64_t)(full - first) * (uint64_t)(first + full + 2 * offset + 1) / 2;
    return (int64_t)some + (rows - full) * columns;
}

/* The places on and below (or above) a diagonal, row by row: a first row of row numbers, a second of columns. */
static hg_status triangle(hg_ctx *cx, const hg_arg *a, bool lower, hg_tensor **out) {
    int64_t rows = a[0].u.i, columns = a[1].u.i, n, all, at = 0;
    if (rows < 0) return hg_fail(cx, HG_STATE, "row must be non-negative, got%lld", (long long)rows);
    if (columns < 0) return hg_fail(cx, HG_STATE, "col must be non-negative, got%lld", (long long)columns);
    if (__builtin_mul_overflow(rows, columns, &all) || rows > INT64_MAX / 4 || columns > INT64_MAX / 4)
        return hg_fail(cx, HG_STATE, "%s_indices(): a matrix of %lld rows and %lld columns is too large",
                       lower ? "tril" : "triu", (long long)rows, (long long)columns);
    int64_t offset = clamp(a[2].u.i, -rows, columns); /* all or none of the places are beyond it */
    n = lower ? places_below(rows, columns, offset) : all - places_below(rows, columns, offset - 1);
    hg_tensor *t;
    hg_status st = hg_tensor_empty(cx, HG_I64, 2, (int64_t[]){2, n}, &t);
    if (st != HG_OK) return st;
    int64_t *r = (int64_t *)(void *)t->data;
    for (int64_t i = lower ? clamp(-offset, 0, rows) : 0; at < n; i++) {
        int64_t from = lower ? 0 : clamp(i + offset, 0, columns),
                end = lower ? clamp(i + offset + 1, 0, columns) : columns;
        for (int64_t k = from; k < end; k++) r[at] = i, r[n + at++] = k;
    }
    st = hg_raw_cast(cx, t, type_or(&a[3], HG_I64), out);
    hg_release(cx, t);
    return st;
}
hg_status hg_op_tril_indices(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return triangle(cx, a, true, out); }
hg_status hg_op_triu_indices(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return triangle(cx, a, false, out); }
