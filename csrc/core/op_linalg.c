/* The linear algebra of small matrices: traces, cross products, distances, determinants, inverses, systems. */
#include "gemm_impl.h"
#include "lanes_impl.h"
#include "linalg_impl.h"
#include "reduce_impl.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SELF (a[0].u.t)

/* ---- trace, kron, cross ----------------------------------------------------------------------------------------------------- */

hg_status hg_trace_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    if (t->dtype == HG_BOOL) return hg_no_kernel(cx, "trace", HG_BOOL);
    if (t->n_dim != 2) return hg_fail(cx, HG_SHAPE, "trace: expected a matrix, but got tensor with dim %d", t->n_dim);
    hg_dtype d = hg_dtype_is_float((hg_dtype)t->dtype) ? (hg_dtype)t->dtype : HG_I64;
    int64_t n = t->shape[0] < t->shape[1] ? t->shape[0] : t->shape[1], step = t->stride[0] + t->stride[1];
    double sum = 0;
    int64_t whole = 0;
    HG_BY_DTYPE(
        t->dtype, for (int64_t i = 0; i < n; i++) {
            A x = LOAD(((E *)(void *)t->data)[i * step]);
            sum += (double)x, whole += (A)0.5 == 0 ? (int64_t)x : 0;
        })
    return hg_raw_scalar(cx, d == HG_I64 ? hg_i(whole) : hg_f(sum), d, out);
}

hg_status hg_trace_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    int64_t n = m.shape[0] < m.shape[1] ? m.shape[0] : m.shape[1];
    hg_tensor *row = hg_x_zeros(cx, (hg_dtype)m.dtype, 1, (int64_t[]){m.shape[0] * m.shape[1]});
    hg_tensor *diagonal = X(ARANGE_START, hg_i(0), hg_i(n * (m.shape[1] + 1)), hg_i(m.shape[1] + 1));
    row = X(INDEX_FILL_TENSOR, T(row), hg_i(0), T(diagonal), T(G));
    GIVE(0, X(VIEW_SIZE, T(hg_x_written(row, 2)), hg_ints(m.shape, 2)));
    return HG_OK;
}

/* Each dimension of one doubled by the other's: shaped (a0, 1, a1, 1 ...) and (1, b0, 1, b1 ...), multiplied, flattened. */
hg_status hg_kron_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t;
    int n = x->n_dim > y->n_dim ? x->n_dim : y->n_dim;
    int64_t sx[HG_MAX_DIM], sy[HG_MAX_DIM], flat[HG_MAX_DIM];
    if (2 * n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (int i = 0; i < n; i++) {
        int ix = i - (n - x->n_dim), iy = i - (n - y->n_dim);
        sx[2 * i] = ix < 0 ? 1 : x->shape[ix], sx[2 * i + 1] = 1;
        sy[2 * i] = 1, sy[2 * i + 1] = iy < 0 ? 1 : y->shape[iy];
        flat[i] = sx[2 * i] * sy[2 * i + 1];
    }
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *r = X(MUL, T(X(UNSAFE_VIEW, T(x), hg_ints(sx, 2 * n))), T(X(UNSAFE_VIEW, T(y), hg_ints(sy, 2 * n))));
    return hg_scope_return(cx, &s, X(UNSAFE_VIEW, T(r), hg_ints(flat, n)), out);
}

static hg_status cross(hg_ctx *cx, hg_tensor *x, hg_tensor *y, int64_t dim, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM];
    int n, d;
    if (x->n_dim != y->n_dim)
        return hg_fail(cx, HG_SHAPE, "linalg.cross: inputs must have the same number of dimensions.");
    hg_status st = hg_wrap_dim(cx, dim, x->n_dim, &d);
    if (st != HG_OK) return st;
    if (hg_size_at(x, d) != 3 || hg_size_at(y, d) != 3)
        return hg_fail(cx, HG_SHAPE, "linalg.cross: inputs dimension %lld must have length 3. Got %lld and %lld",
                       (long long)dim, (long long)hg_size_at(x, d), (long long)hg_size_at(y, d));
    if ((st = hg_broadcast(cx, x->n_dim, x->shape, y->n_dim, y->shape, &n, shape)) != HG_OK) return st;
    if (x->dtype == HG_BOOL) return hg_no_kernel(cx, "cross", HG_BOOL);
    if (x->dtype != y->dtype) return hg_unlike(cx, x->dtype, y->dtype);
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_arg whole = hg_ints(shape, n);
    if (memcmp(x->shape, shape, (size_t)n * sizeof *shape) != 0) x = X(EXPAND, T(x), whole);
    if (memcmp(y->shape, shape, (size_t)n * sizeof *shape) != 0) y = X(EXPAND, T(y), whole);
    return hg_scope_return(cx, &s, X(CROSS_3, T(x), T(y), hg_i(d)), out);
}

hg_status hg_linalg_cross_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return cross(cx, SELF, a[1].u.t, a[2].u.i, out);
}

/* Without a dimension, the first of size three. */
hg_status hg_cross_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d = 0;
    if (hg_given(&a[2])) return cross(cx, SELF, a[1].u.t, a[2].u.i, out);
    hg_status st = hg_warn_once(
        cx,
        "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly or "
        "simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of linalg.cross in a "
        "future release.");
    if (st != HG_OK) return st;
    while (d < SELF->n_dim && SELF->shape[d] != 3) d++;
    if (d == SELF->n_dim) return hg_fail(cx, HG_SHAPE, "no dimension of size 3 in input");
    return cross(cx, SELF, a[1].u.t, d, out);
}

hg_status hg_cross_3_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype dtype = hg_dtype_promote((hg_dtype)SELF->dtype, (hg_dtype)a[1].u.t->dtype);
    hg_tensor *x = NULL, *y = NULL;
    int d, n = 0;
    hg_status st = hg_wrap_dim(cx, a[2].u.i, SELF->n_dim, &d);
    if (st != HG_OK) return st;
    if (!SELF->n_dim || SELF->shape[d] != 3 || !hg_same_shape(SELF, a[1].u.t))
        return hg_fail(cx, HG_SHAPE, "linalg.cross: inputs dimension %d must have length 3, and the inputs one shape",
                       d);
    st = hg_raw_cast(cx, SELF, dtype, &x);
    if (st == HG_OK) st = hg_raw_cast(cx, a[1].u.t, dtype, &y);
    if (st == HG_OK) st = hg_out(cx, out, dtype, x->n_dim, x->shape);
    if (st == HG_OK && x->numel) {
        int64_t shape[HG_MAX_DIM], s[3][HG_MAX_DIM], size = (int64_t)hg_dtypes[dtype].size;
        hg_tensor *all[3] = {*out, x, y};
        for (int i = 0; i < x->n_dim; i++) {
            if (i == d) continue;
            shape[n] = x->shape[i];
            for (int k = 0; k < 3; k++) s[k][n] = all[k]->stride[i];
            n++;
        }
        int64_t sr = (*out)->stride[d] * size, sx = x->stride[d] * size, sy = y->stride[d] * size;
        hg_walk w;
        hg_walk_begin(&w, n, shape);
        for (int k = 0; k < 3; k++) hg_walk_add(&w, all[k]->data, s[k], (size_t)size);
        if (n == 0) memset(w.step, 0, sizeof w.step);
        HG_BY_DTYPE(
            dtype, do {
                char *r = w.p[0], *p = w.p[1], *q = w.p[2];
                for (int64_t i = 0; i < w.inner; i++, r += w.step[0], p += w.step[1], q += w.step[2])
                    for (int k = 0; k < 3; k++) {
                        int u = (k + 1) % 3, v = (k + 2) % 3;
                        *(E *)(void *)(r + k * sr) = STORE(
                            LOAD(*(E *)(void *)(p + u * sx)) * LOAD(*(E *)(void *)(q + v * sy)) -
                            LOAD(*(E *)(void *)(p + v * sx)) * LOAD(*(E *)(void *)(q + u * sy)));
                    }
            } while (hg_walk_next(&w));)
    }
    hg_release(cx, x), hg_release(cx, y);
    return st;
}

hg_status hg_cross_3_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(1)) GIVE(1, X(CROSS_3, T(G), T(IN(0)), *ARG(2)));
    if (NEED(0)) GIVE(0, X(CROSS_3, T(IN(1)), T(G), *ARG(2)));
    return HG_OK;
}

/* ---- cdist ------------------------------------------------------------------------------------------------------------------ */

hg_status hg_cdist_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    static const char *const modes[] = {"use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist",
                                        "donot_use_mm_for_euclid_dist"};
    hg_tensor *x = SELF, *y = a[1].u.t;
    int64_t batch[HG_MAX_DIM], wide[HG_MAX_DIM];
    int n;
    if (x->n_dim < 2) return hg_fail(cx, HG_SHAPE, "cdist only supports at least 2D tensors, X1 got: %dD", x->n_dim);
    if (y->n_dim < 2) return hg_fail(cx, HG_SHAPE, "cdist only supports at least 2D tensors, X2 got: %dD", y->n_dim);
    if (x->shape[x->n_dim - 1] != y->shape[y->n_dim - 1])
        return hg_fail(cx, HG_SHAPE, "X1 and X2 must have the same number of columns. X1: %lld X2: %lld",
                       (long long)x->shape[x->n_dim - 1], (long long)y->shape[y->n_dim - 1]);
    if (x->dtype == HG_F16 || x->dtype == HG_BF16) return hg_no_kernel(cx, "cdist", (hg_dtype)x->dtype);
    if (!hg_dtype_is_float((hg_dtype)x->dtype) || x->dtype != y->dtype) {
        char word[16];
        return hg_fail(cx, HG_SHAPE, "cdist only supports floating-point dtypes, X1 got: %s",
                       hg_dtype_word((hg_dtype)x->dtype, word));
    }
    if (a[2].u.f < 0) return hg_fail(cx, HG_SHAPE, "cdist only supports non-negative p values");
    hg_status st = hg_broadcast(cx, x->n_dim - 2, x->shape, y->n_dim - 2, y->shape, &n, batch);
    if (st != HG_OK) return st;
    const char *mode = hg_given(&a[3]) ? a[3].u.s : modes[0];
    if (strcmp(mode, modes[0]) != 0 && strcmp(mode, modes[1]) != 0 && strcmp(mode, modes[2]) != 0)
        return hg_fail(cx, HG_VALUE, "%s is not a valid value for compute_mode", mode);
    const int64_t rows = x->shape[x->n_dim - 2], cols = y->shape[y->n_dim - 2], width = x->shape[x->n_dim - 1];
    const bool few = rows <= 25 && cols <= 25, empty = rows == 0 || cols == 0 || width == 0;
    const bool by_product = a[2].u.f == 2 && !empty && (strcmp(mode, modes[0]) ? !strcmp(mode, modes[1]) : !few);
    int64_t n_batch = 1;
    for (int i = 0; i < n; i++) n_batch *= batch[i];
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *both[2] = {x, y};
    for (int i = 0; i < 2; i++) {
        hg_tensor *t = both[i];
        memcpy(wide, batch, (size_t)n * sizeof *wide);
        wide[n] = t->shape[t->n_dim - 2], wide[n + 1] = width;
        if (by_product && n_batch != 1)
            both[i] = X(VIEW_SIZE, T(X(CONTIGUOUS, T(X(EXPAND, T(t), hg_ints(wide, n + 2))))),
                        hg_ints((int64_t[]){n_batch, wide[n], width}, 3));
        else if (!by_product && (t->n_dim != n + 2 || memcmp(t->shape, wide, (size_t)n * sizeof *wide) != 0))
            both[i] = X(EXPAND, T(t), hg_ints(wide, n + 2));
    }
    if (!by_product) return hg_scope_return(cx, &s, X(CDIST_FORWARD, T(both[0]), T(both[1]), a[2]), out);
    wide[n] = rows, wide[n + 1] = cols;
    return hg_scope_return(cx, &s, X(VIEW_SIZE, T(X(EUCLIDEAN_DIST, T(both[0]), T(both[1]))), hg_ints(wide, n + 2)),
                           out);
}

/* ---- Distances by a product -------------------------------------------------------------------------------------------------- */

static hg_tensor *sum_along(hg_ctx *cx, hg_tensor *t, int64_t d) { return X(SUM_DIM, T(t), hg_ints(&d, 1), hg_i(1)); }

/* |x - y|^2 is the product of (-2x, |x|^2, 1) and (y, 1, |y|^2), which may be below zero by a rounding. */
hg_status hg_euclidean_dist_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t;
    hg_scope s;
    hg_scope_begin_quiet(cx, &s);
    hg_tensor *left[3] = {X(MUL, T(x), hg_i(-2)), sum_along(cx, X(MUL, T(x), T(x)), -1)};
    left[2] = X(ONES_LIKE, T(left[1]));
    hg_tensor *right[3] = {y, NULL, sum_along(cx, X(MUL, T(y), T(y)), -1)};
    right[1] = X(ONES_LIKE, T(right[2]));
    hg_tensor *turned = X(TRANSPOSE, T(X(CAT, hg_ts(right, 3), hg_i(-1))), hg_i(-2), hg_i(-1));
    hg_tensor *square = X(MATMUL, T(X(CAT, hg_ts(left, 3), hg_i(-1))), T(turned));
    return hg_scope_return(cx, &s, X(SQRT, T(X(CLAMP_MIN, T(square), hg_i(0)))), out);
}

hg_status hg_euclidean_dist_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *y = IN(1), *r = OUT(0);
    hg_tensor *ratio = X(MASKED_FILL, T(X(DIV, T(G), T(r))), T(X(EQ, T(r), hg_i(0))), hg_i(0));
    hg_tensor *turned = X(TRANSPOSE, T(ratio), hg_i(-2), hg_i(-1));
    if (NEED(0)) GIVE(0, X(SUB, T(X(MUL, T(x), T(sum_along(cx, ratio, -1)))), T(X(MATMUL, T(ratio), T(y)))));
    if (NEED(1)) GIVE(1, X(SUB, T(X(MUL, T(y), T(sum_along(cx, turned, -1)))), T(X(MATMUL, T(turned), T(x)))));
    return HG_OK;
}

/* ---- Distances one by one ---------------------------------------------------------------------------------------------------- */

/* `single`: rounded to float32 at every step, so that it overflows where float32 does. */
static double distance(const double *x, const double *y, int64_t n, double p, bool single) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(x[i] - y[i]);
        if (single) d = (float)d;
        if (p == 1)
            sum += d;
        else if (p == 0)
            sum += d != 0;
        else if (isinf(p))
            sum = d > sum || isnan(d) ? d : sum;
        else
            sum += pow(d, p);
        if (single) sum = (float)sum;
    }
    return p == 1 || p == 0 || isinf(p) ? sum : pow(sum, 1 / p);
}

/* The usual one, p = 2, from x to each of many y, of which float32 has the sum only. */
HG_INLINE void euclidean_body(const bool fused, const double *x, const double *y, int64_t n, int64_t many, bool single,
                              double *out) {
    for (int64_t k = 0; k < many; k++, y += n) {
        double lane[HG_LANES] = {0}, sum = 0;
        int64_t i = 0;
        for (; n - i >= HG_LANES; i += HG_LANES)
            for (int j = 0; j < HG_LANES; j++) lane[j] += (x[i + j] - y[i + j]) * (x[i + j] - y[i + j]);
        for (; i < n; i++) sum += (x[i] - y[i]) * (x[i] - y[i]);
        if (n >= HG_LANES) sum += hg_sum_lanes_f64(fused, HG_LANES, lane);
        out[k] = sqrt(single ? (double)(float)sum : sum);
    }
}
HG_VECTOR_FEW(euclidean, (const double *x, const double *y, int64_t n, int64_t many, bool single, double *out), x, y, n,
              many, single, out)

hg_status hg_as_doubles(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    *out = NULL;
    hg_status st = hg_tensor_empty(cx, HG_F64, t->n_dim, t->shape, out);
    return st == HG_OK ? hg_raw_copy(cx, *out, t) : st;
}

hg_status hg_out_columns(hg_ctx *cx, hg_tensor *made, hg_dtype d, hg_tensor **out) {
    int64_t stride[HG_MAX_DIM];
    int n = made->n_dim;
    hg_status st = hg_out(cx, out, d, n, made->shape);
    if (st != HG_OK) return st;
    if (n >= 2 && made->numel) {
        memcpy(stride, (*out)->stride, (size_t)n * sizeof *stride);
        stride[n - 2] = 1, stride[n - 1] = made->shape[n - 2];
        hg_tensor_restride(*out, stride);
    }
    return hg_raw_copy(cx, *out, made);
}

hg_status hg_cdist_forward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = NULL, *y = NULL, *r = NULL;
    int64_t shape[HG_MAX_DIM];
    int n = SELF->n_dim;
    bool fit = n >= 2 && a[1].u.t->n_dim == n;
    for (int i = 0; fit && i < n; i++) fit = i == n - 2 || SELF->shape[i] == a[1].u.t->shape[i];
    if (!fit) return hg_fail(cx, HG_SHAPE, "_cdist_forward(): x1 and x2 may differ in their numbers of rows only");
    hg_status st = hg_as_doubles(cx, SELF, &x);
    if (st == HG_OK) st = hg_as_doubles(cx, a[1].u.t, &y);
    if (st == HG_OK) {
        int64_t rows = x->shape[n - 2], cols = y->shape[n - 2], m = x->shape[n - 1], n_batch = 1;
        memcpy(shape, x->shape, (size_t)n * sizeof *shape);
        shape[n - 1] = cols;
        for (int i = 0; i < n - 2; i++) n_batch *= shape[i];
        st = hg_tensor_empty(cx, HG_F64, n, shape, &r);
        const bool single = SELF->dtype != HG_F64;
        for (int64_t i = 0; st == HG_OK && cols && i < n_batch * rows; i++) {
            double *p = (double *)(void *)x->data + i * m, *q = (double *)(void *)y->data + i / rows * cols * m;
            double *to = (double *)(void *)r->data + i * cols;
            if (a[2].u.f == 2)
                euclidean(p, q, m, cols, single, to);
            else
                for (int64_t k = 0; k < cols; k++) to[k] = distance(p, q + k * m, m, a[2].u.f, single);
        }
        if (st == HG_OK) st = hg_raw_cast(cx, r, (hg_dtype)SELF->dtype, out);
    }
    hg_release(cx, x), hg_release(cx, y), hg_release(cx, r);
    return st;
}

/* With d = x1 - x2: the gradient of the distance r is |d|^(p-1) sign(d) / r^(p-1), and none where r is zero. */
hg_status hg_cdist_forward_bwd(hg_ctx *cx, hg_back *b) {
    double p = ARG(2)->u.f;
    hg_tensor *x = IN(0), *y = IN(1), *r = OUT(0), *part;
    hg_tensor *d = X(SUB, T(X(UNSQUEEZE, T(x), hg_i(-2))), T(X(UNSQUEEZE, T(y), hg_i(-3))));
    hg_tensor *at_zero = X(EQ, T(r), hg_i(0)), *g = X(UNSQUEEZE, T(G), hg_i(-1));
    if (p == 0) {
        part = X(MUL, T(d), hg_i(0));
    } else if (p == 1) {
        part = X(MUL, T(X(SIGN, T(d))), T(g));
    } else if (isinf(p)) {
        hg_tensor *reaches = X(EQ, T(X(ABS, T(d))), T(X(UNSQUEEZE, T(r), hg_i(-1))));
        part = X(MUL, T(X(MUL, T(X(SIGN, T(d))), T(reaches))), T(g));
    } else {
        hg_tensor *safe = X(UNSQUEEZE, T(X(MASKED_FILL, T(r), T(at_zero), hg_i(1))), hg_i(-1));
        hg_tensor *off = X(UNSQUEEZE, T(at_zero), hg_i(-1));
        if (p == 2)
            part = X(MUL, T(X(DIV, T(d), T(safe))), T(g));
        else {
            hg_tensor *still = X(EQ, T(d), hg_i(0)); /* a power below one has no derivative there */
            hg_tensor *size = X(POW_SCALAR, T(X(MASKED_FILL, T(X(ABS, T(d))), T(still), hg_i(1))), hg_f(p - 1));
            size = X(MASKED_FILL, T(X(MUL, T(X(SIGN, T(d))), T(size))), T(still), hg_i(0));
            part = X(MUL, T(X(DIV, T(size), T(X(POW_SCALAR, T(safe), hg_f(p - 1))))), T(g));
        }
        part = X(MASKED_FILL, T(part), T(off), hg_i(0));
    }
    if (NEED(0)) GIVE(0, X(SUM_DIM, T(part), hg_ints((int64_t[]){-2}, 1)));
    if (NEED(1)) GIVE(1, X(RSUB_SCALAR, T(X(SUM_DIM, T(part), hg_ints((int64_t[]){-3}, 1))), hg_i(0)));
    return HG_OK;
}

/* ---- Chains and powers ------------------------------------------------------------------------------------------------------- */

/* The product of ts[i..j] in the order that `split` says is cheapest. */
static hg_tensor *chain(hg_ctx *cx, hg_tensor *const *ts, const int *split, int n, int i, int j) {
    if (i == j) return ts[i];
    int k = split[i * n + j];
    hg_tensor *left = chain(cx, ts, split, n, i, k), *right = chain(cx, ts, split, n, k + 1, j);
    return left && right ? X(MM, T(left), T(right)) : NULL;
}

/* Where to split each part of the chain so that the fewest numbers are multiplied; the first such place. */
static void best_splits(hg_tensor *const *ts, int n, double *cost, int *split) {
    for (int i = 0; i < n; i++) cost[i * n + i] = 0;
    for (int length = 1; length < n; length++)
        for (int i = 0; i + length < n; i++) {
            int j = i + length;
            cost[i * n + j] = INFINITY;
            for (int step = 0; step < length; step++) {
                int k = n == 3 ? j - 1 - step : i + step; /* of three, torch prefers (AB)C */
                double c = cost[i * n + k] + cost[(k + 1) * n + j] +
                           (double)ts[i]->shape[0] * (double)ts[k]->shape[1] * (double)ts[j]->shape[1];
                if (c < cost[i * n + j]) cost[i * n + j] = c, split[i * n + j] = k;
            }
        }
}

hg_status hg_multi_dot_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n = (int)a[0].n;
    hg_tensor *const *given = a[0].u.ts, *r = NULL;
    char b1[256], b2[256];
    if (n < 2) return hg_fail(cx, HG_SHAPE, "multi_dot(): expected at least 2 tensors but got %d", n);
    bool row = given[0]->n_dim == 1, column = given[n - 1]->n_dim == 1;
    for (int i = 0; i < n; i++) {
        bool end = i == 0 || i == n - 1;
        if (given[i]->n_dim != 2 && !(end && given[i]->n_dim == 1))
            return hg_fail(cx, HG_SHAPE, "multi_dot(): tensor %d must be %s but got %dD", i, end ? "1D or 2D" : "2D",
                           given[i]->n_dim);
        if (i && given[i - 1]->shape[given[i - 1]->n_dim - 1] != given[i]->shape[0])
            return hg_fail(cx, HG_SHAPE, "multi_dot(): tensors %d and %d with shapes %s and %s cannot be multiplied",
                           i - 1, i, hg_show_shape(given[i - 1], b1), hg_show_shape(given[i], b2));
    }
    size_t square = (size_t)n * (size_t)n;
    char *room = hg_mem(cx, square * (sizeof(double) + sizeof(int)) + (size_t)n * sizeof(hg_tensor *));
    if (!room) return HG_MEMORY;
    double *cost = (double *)(void *)room;
    hg_tensor **ts = (hg_tensor **)(void *)(cost + square);
    int *split = (int *)(void *)(ts + n);
    hg_scope s;
    hg_scope_begin(cx, &s);
    memcpy(ts, given, (size_t)n * sizeof *ts);
    if (row) ts[0] = X(UNSQUEEZE, T(ts[0]), hg_i(0));
    if (column) ts[n - 1] = X(UNSQUEEZE, T(ts[n - 1]), hg_i(-1));
    if (hg_scope_ok(cx)) {
        best_splits(ts, n, cost, split);
        r = chain(cx, ts, split, n, 0, n - 1);
    }
    hg_mem_free(cx->lib, room);
    if (r) {
        int64_t shape[2];
        int k = 0;
        if (!row) shape[k++] = r->shape[0];
        if (!column) shape[k++] = r->shape[1];
        r = X(VIEW_SIZE, T(r), hg_ints(shape, k));
    }
    return hg_scope_return(cx, &s, r, out);
}

hg_status hg_chain_matmul_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = hg_warn_once(
        cx,
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use torch.linalg.multi_dot "
        "instead, which accepts a list of two or more tensors rather than multiple parameters.");
    return st == HG_OK ? hg_multi_dot_fwd(cx, a, out) : st;
}

static hg_status check_dims(hg_ctx *cx, const char *name, const hg_tensor *t) {
    if (t->n_dim >= 2) return HG_OK;
    return hg_fail(cx, HG_SHAPE, "%s: The input tensor A must have at least 2 dimensions.", name);
}

static hg_status check_sides(hg_ctx *cx, const char *name, const hg_tensor *t) {
    int64_t m = t->shape[t->n_dim - 2], n = t->shape[t->n_dim - 1];
    if (m == n) return HG_OK;
    return hg_fail(cx, HG_SHAPE, "%s: A must be batches of square matrices, but they are %lld by %lld matrices", name,
                   (long long)m, (long long)n);
}

static hg_status check_kernel(hg_ctx *cx, const char *name, const hg_tensor *t, hg_half_words words) {
    char word[16];
    if (!hg_dtype_is_float((hg_dtype)t->dtype))
        return hg_fail(cx, HG_SHAPE, "%s: Expected a floating point or complex tensor as input. Got %s", name,
                       hg_dtype_word((hg_dtype)t->dtype, word));
    if ((t->dtype != HG_F16 && t->dtype != HG_BF16) || words == HG_HALF_FINE) return HG_OK;
    if (words == HG_HALF_LU) return hg_no_kernel(cx, "lu_cpu", (hg_dtype)t->dtype);
    return hg_fail(cx, HG_SHAPE, "%s: Low precision dtypes not supported. Got %s", name,
                   hg_dtype_word((hg_dtype)t->dtype, word));
}

hg_status hg_check_matrix(hg_ctx *cx, const char *name, const hg_tensor *t, hg_half_words words) {
    hg_status st = check_dims(cx, name, t);
    return st == HG_OK ? check_kernel(cx, name, t, words) : st;
}

hg_status hg_check_square(hg_ctx *cx, const char *name, const hg_tensor *t, hg_half_words words) {
    hg_status st = check_dims(cx, name, t);
    if (st == HG_OK) st = check_sides(cx, name, t);
    return st == HG_OK ? check_kernel(cx, name, t, words) : st;
}

hg_status hg_matrix_power_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *r = NULL;
    int64_t n = a[1].u.i;
    hg_status st = check_dims(cx, "linalg.matrix_power", t);
    if (st == HG_OK) st = check_sides(cx, "linalg.matrix_power", t);
    if (st != HG_OK) return st;
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (n == 0) {
        r = X(CLONE, T(t));
        hg_tensor *one = X(EYE, hg_i(t->shape[t->n_dim - 1]), hg_d((hg_dtype)t->dtype));
        if (r && one) hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_COPY_, (hg_arg[]){hg_t(r), hg_t(one)}, 2));
    } else {
        if (n < 0) t = X(INV, T(t));
        uint64_t left = n < 0 ? (uint64_t) - (n + 1) + 1 : (uint64_t)n;
        if (left == 1)
            r = n < 0 ? t : X(CLONE, T(t));
        else if (left == 3)
            r = X(MATMUL, T(X(MATMUL, T(t), T(t))), T(t));
        else
            for (hg_tensor *power = t; left && power; left >>= 1) { /* by squaring */
                if (left & 1) r = r ? X(MATMUL, T(r), T(power)) : power;
                if (left > 1) power = X(MATMUL, T(power), T(power));
            }
    }
    return hg_scope_return(cx, &s, r, out);
}

/* ---- Determinants, inverses, systems --------------------------------------------------------------------------------------- */

HG_INLINE void minus_times_body(const bool fused, double *y, double f, const double *x, int64_t n) {
    enum { SOME = sizeof(hg_lanes_f64) / sizeof(double) };
    int64_t i = 0;
    for (; n - i >= SOME; i += SOME) *(hg_lanes_f64 *)(y + i) -= f * *(const hg_lanes_f64 *)(x + i);
    for (; i < n; i++) y[i] -= f * x[i];
    (void)fused; /* an element is the same in a vector and alone */
}
HG_VECTOR_FEW(minus_times, (double *y, double f, const double *x, int64_t n), y, f, x, n)
void hg_minus_times(double *y, double f, const double *x, int64_t n) { minus_times(y, f, x, n); }

static void exchange(double *x, double *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        double was = x[i];
        x[i] = y[i], y[i] = was;
    }
}

enum { BLOCK = 16, PANEL = 32 };

/* A block of rows takes what is known from a product, and the rest row by row. */
void hg_substitute(hg_lib *lib, const double *a, int64_t row, int64_t col, bool upper, bool unit, int64_t n, double *x,
                   int64_t k, int64_t ld) {
    for (int64_t done = 0, size; done < n; done += size) {
        size = hg_least(n - done, BLOCK);
        const int64_t first = upper ? n - done - size : done, known = upper ? n - done : 0;
        if (done)
            hg_gemm(lib, HG_F64, col != 1, false, size, k, done, -1, a + first * row + known * col,
                    col == 1 ? row : col, x + known * ld, ld, 1, x + first * ld, ld);
        for (int64_t step = 0; step < size; step++) {
            int64_t i = first + (upper ? size - 1 - step : step), from = upper ? i + 1 : first;
            for (int64_t j = from; j < from + step; j++) minus_times(x + i * ld, a[i * row + j * col], x + j * ld, k);
            for (int64_t c = 0; c < k && !unit; c++) x[i * ld + c] /= a[i * row + i * col];
        }
    }
}

/* Note [LU]
   Matrices (m,n) are factored in float64, whatever their dtype, by rows with partial pivoting: `lu` becomes L below the
   diagonal and U on and above it, swap[k] the row with which row k was exchanged, in turn. Some columns are factored at
   a time, and taken off the others by a product. Returns the permutation's sign, and in *zero the first diagonal place
   of U that is zero (0: none; 1-based). */
static int factor(hg_lib *lib, double *lu, int64_t m, int64_t n, int64_t *swap, int64_t *zero) {
    int sign = 1;
    *zero = 0;
    for (int64_t from = 0, end; from < m && from < n; from = end) {
        end = hg_least(from + PANEL, hg_least(m, n));
        for (int64_t k = from; k < end; k++) {
            int64_t best = k;
            for (int64_t i = k + 1; i < m; i++)
                if (fabs(lu[i * n + k]) > fabs(lu[best * n + k])) best = i;
            swap[k] = best;
            if (best != k) exchange(lu + k * n, lu + best * n, n), sign = -sign;
            if (lu[k * n + k] == 0) {
                if (!*zero) *zero = k + 1;
                continue;
            }
            for (int64_t i = k + 1; i < m; i++) {
                double f = lu[i * n + k] /= lu[k * n + k];
                minus_times(lu + i * n + k + 1, f, lu + k * n + k + 1, end - k - 1);
            }
        }
        if (end == n) break;
        double *right = lu + from * n + end;
        hg_substitute(lib, lu + from * n + from, n, 1, false, true, end - from, right, n - end, n);
        if (end < m)
            hg_gemm(lib, HG_F64, false, false, m - end, n - end, end - from, -1, lu + end * n + from, n, right, n, 1,
                    lu + end * n + end, n);
    }
    return sign;
}

/* x = A^-1 b for n_rhs columns, with A factored. */
static void solve_factored(hg_lib *lib, const double *lu, const int32_t *pivots, int64_t n, const double *b, double *x,
                           int64_t n_rhs) {
    memcpy(x, b, (size_t)(n * n_rhs) * sizeof *x);
    for (int64_t k = 0; k < n; k++)
        if (pivots[k] != k + 1) exchange(x + k * n_rhs, x + (pivots[k] - 1) * n_rhs, n_rhs);
    hg_substitute(lib, lu, n, 1, false, true, n, x, n_rhs, n_rhs);
    hg_substitute(lib, lu, n, 1, true, false, n, x, n_rhs, n_rhs);
}

/* The matrices t (m,n) factored, in float64, and their pivots, as LAPACK gives them: from 1. */
static hg_status factors(hg_ctx *cx, hg_tensor *t, hg_tensor **lu, hg_tensor **pivots) {
    int64_t m = t->shape[t->n_dim - 2], n = t->shape[t->n_dim - 1], k = m < n ? m : n, shape[HG_MAX_DIM], zero;
    int64_t *swap = hg_mem(cx, (size_t)(k + 1) * sizeof *swap);
    if (!swap) return HG_MEMORY;
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    shape[t->n_dim - 2] = k;
    hg_status st = hg_as_doubles(cx, t, lu);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_I32, t->n_dim - 1, shape, pivots);
    for (int64_t b = 0; st == HG_OK && k && b < (*pivots)->numel / k; b++) {
        factor(cx->lib, (double *)(void *)(*lu)->data + b * m * n, m, n, swap, &zero);
        for (int64_t i = 0; i < k; i++) ((int32_t *)(void *)(*pivots)->data)[b * k + i] = (int32_t)swap[i] + 1;
    }
    hg_mem_free(cx->lib, swap);
    return st;
}

hg_status hg_lu_factor_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *lu = NULL;
    char size[256];
    if (t->n_dim < 2)
        return hg_fail(cx, HG_STATE, "torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: %s instead",
                       hg_show_shape(t, size));
    if (t->dtype != HG_F32 && t->dtype != HG_F64) return hg_no_kernel(cx, "lu_cpu", (hg_dtype)t->dtype);
    hg_status st = factors(cx, t, &lu, &out[1]);
    if (st == HG_OK) st = hg_out_columns(cx, lu, (hg_dtype)t->dtype, &out[0]);
    hg_release(cx, lu);
    return st;
}

/* The determinant of every matrix, or the sign of it and the log of its absolute value; then LU and pivots: as in torch, of a
   contiguous matrix those of the transposed one, which lies as LAPACK wants it. */
static hg_status determinants(hg_ctx *cx, hg_tensor *t, bool by_log, hg_tensor **out) {
    hg_tensor *turned = NULL, *lu = NULL, *made[2] = {NULL}, **pivots = &out[2 + by_log];
    hg_dtype d = (hg_dtype)t->dtype;
    int64_t n = t->shape[t->n_dim - 1];
    hg_arg last[] = {hg_t(t), hg_i(-2), hg_i(-1)};
    hg_status st = t->contiguous ? hg_transpose_fwd(cx, last, &turned) : HG_OK;
    if (st == HG_OK) st = factors(cx, turned ? turned : t, &lu, pivots);
    for (int k = 0; k < 2 && st == HG_OK; k++) st = hg_tensor_empty(cx, HG_F64, t->n_dim - 2, t->shape, &made[k]);
    for (int64_t b = 0; st == HG_OK && b < made[0]->numel; b++) {
        const double *m = (const double *)(const void *)lu->data + b * n * n;
        const int32_t *row = (const int32_t *)(const void *)(*pivots)->data + b * n;
        double det = 1, log_sum = 0;
        for (int64_t i = 0; i < n; i++) {
            double u = m[i * n + i];
            if (row[i] != i + 1) det = -det;
            det *= by_log ? (u > 0) - (u < 0) : u;
            log_sum += log(fabs(u));
        }
        ((double *)(void *)made[0]->data)[b] = det, ((double *)(void *)made[1]->data)[b] = log_sum;
    }
    for (int k = 0; k < 1 + by_log && st == HG_OK; k++) st = hg_raw_cast(cx, made[k], d, &out[k]);
    if (st == HG_OK) st = hg_out_columns(cx, lu, d, &out[1 + by_log]);
    hg_release(cx, turned), hg_release(cx, lu), hg_release(cx, made[0]), hg_release(cx, made[1]);
    return st;
}

hg_status hg_det_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = hg_check_square(cx, "linalg.det", SELF, HG_HALF_LU);
    return st == HG_OK ? determinants(cx, SELF, false, out) : st;
}

/* The first results of an op, for a composite that has no more. */
static hg_status first_of(hg_ctx *cx, int op, const hg_arg *a, int n_args, int n, hg_tensor **out) {
    hg_tensor *all[HG_MAX_OUT] = {NULL};
    hg_status st = hg_call_op(cx, op, a, n_args, all);
    for (int k = 0; k < HG_MAX_OUT && st == HG_OK; k++)
        if (k < n)
            out[k] = all[k];
        else
            hg_release(cx, all[k]);
    return st;
}

hg_status hg_det_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return first_of(cx, HG_OP_DET_DATA, a, 1, 1, out);
}

/* A tensor of batches as one of matrices of size one, to be multiplied with matrices. */
static hg_tensor *as_factors(hg_ctx *cx, hg_tensor *t) {
    return X(UNSQUEEZE, T(X(UNSQUEEZE, T(t), hg_i(-1))), hg_i(-1));
}
static hg_tensor *flipped_over(hg_ctx *cx, hg_tensor *t) { return X(TRANSPOSE, T(t), hg_i(-2), hg_i(-1)); }

/* Note [Derivatives of determinants]
   They are g det(A) A^-T and g A^-T, which says nothing where A is singular. The derivative of det is then its matrix of
   cofactors, from the singular values: what torch gives in a backward that is itself differentiated. In a plain one it gives
   zeros for det and what divides by zero for its logarithm. */
static bool any_true(hg_ctx *cx, hg_tensor *t) {
    hg_tensor *any = t ? X(ANY, T(t)) : NULL;
    return any && *any->data;
}

static bool any_singular(hg_ctx *cx, hg_tensor *det) {
    double least = det && det->dtype == HG_F64 ? 100 * DBL_EPSILON : 100 * (double)FLT_EPSILON;
    return any_true(cx, X(LT, T(X(ABS, T(det))), hg_f(least)));
}

static hg_tensor *cofactors(hg_ctx *cx, hg_tensor *a) {
    hg_tensor *part[3] = {NULL};
    hg_status st = a ? hg_call_op(cx, HG_OP_SVD, (hg_arg[]){T(a)}, 1, part) : HG_OK;
    if (!a || hg_scope_fail(cx, st) != HG_OK) return NULL;
    for (int i = 0; i < 3; i++) hg_scope_keep(cx, part[i]);
    hg_tensor *sign = X(MUL, T(X(DET, T(part[0]))), T(X(DET, T(part[2]))));
    hg_tensor *others = hg_x_product_of_others(cx, part[1], part[1]->n_dim - 1);
    hg_tensor *scaled = X(MUL, T(X(UNSQUEEZE, T(sign), hg_i(-1))), T(others));
    return X(MATMUL, T(X(MUL, T(part[0]), T(X(UNSQUEEZE, T(scaled), hg_i(-2))))), T(part[2]));
}

/* A^-T, each matrix times its factor. */
static hg_tensor *turned_inverse(hg_ctx *cx, hg_tensor *a, hg_tensor *factor) {
    if (!hg_scope_ok(cx)) return NULL;
    hg_arg shape = hg_ints(a->shape, a->n_dim - 1);
    hg_tensor *diagonal = X(EXPAND, T(X(UNSQUEEZE, T(factor), hg_i(-1))), shape);
    diagonal = X(DIAG_EMBED, T(diagonal), hg_i(0), hg_i(-2), hg_i(-1));
    return X(SOLVE, T(flipped_over(cx, a)), T(flipped_over(cx, diagonal))); /* flipped in torch's graph, too */
}

hg_status hg_det_data_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *a = IN(0), *det = OUT(0);
    if (!a || !det) return HG_OK;
    if (a->shape[a->n_dim - 1] == 1)
        GIVE(0, as_factors(cx, G));
    else if (!any_singular(cx, det))
        GIVE(0, turned_inverse(cx, a, X(MUL, T(G), T(det))));
    else if (cx->grad_enabled)
        GIVE(0, X(MUL, T(as_factors(cx, G)), T(cofactors(cx, a))));
    else
        GIVE(0, X(MUL, T(as_factors(cx, X(MUL, T(G), T(X(NE, T(det), hg_i(0)))))), T(cofactors(cx, a))));
    return HG_OK;
}

hg_status hg_slogdet_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = hg_check_square(cx, "linalg.slogdet", SELF, HG_HALF_LOW);
    return st == HG_OK ? determinants(cx, SELF, true, out) : st;
}

hg_status hg_slogdet_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return first_of(cx, HG_OP_SLOGDET_DATA, a, 1, 2, out);
}

hg_status hg_slogdet_data_bwd(hg_ctx *cx, hg_back *b) {
    if (!b->grad[1]) return HG_OK; /* the sign leads nowhere */
    hg_tensor *a = IN(0), *det = cx->grad_enabled ? NULL : X(DET, T(a));
    if (det && any_true(cx, X(EQ, T(det), hg_i(0))))
        GIVE(0, X(MUL, T(as_factors(cx, GRAD(1))), T(X(DIV, T(cofactors(cx, a)), T(as_factors(cx, det))))));
    else
        GIVE(0, turned_inverse(cx, a, GRAD(1)));
    return HG_OK;
}

hg_status hg_logdet_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = hg_check_square(cx, "logdet", SELF, HG_HALF_LOW);
    if (st != HG_OK) return st;
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *both[2] = {NULL, NULL}, *r = NULL;
    st = hg_call_op(cx, HG_OP_SLOGDET, a, 1, both);
    if (st != HG_OK)
        hg_scope_fail(cx, st);
    else {
        hg_scope_keep(cx, both[0]), hg_scope_keep(cx, both[1]);
        r = X(WHERE, T(X(EQ, T(both[0]), hg_i(-1))), hg_f(NAN), T(both[1]));
    }
    return hg_scope_return(cx, &s, r, out);
}

/* X of A X = B, all (batch, n, .) and contiguous float64, A factored; fails in torch's words of `name` where A is singular. */
static hg_status solve_all(hg_ctx *cx, const char *words, const hg_tensor *lu, const hg_tensor *pivots,
                           const double *rhs, int64_t rhs_batch, hg_tensor *x, int64_t n_rhs) {
    int64_t n = lu->shape[lu->n_dim - 1], n_batch = n ? lu->numel / (n * n) : 0;
    for (int64_t b = 0; b < n_batch; b++) {
        const double *m = (const double *)(const void *)lu->data + b * n * n;
        char which[48] = "";
        if (lu->n_dim > 2) snprintf(which, sizeof which, "(Batch element %lld): ", (long long)b);
        for (int64_t i = 0; i < n; i++)
            if (m[i * n + i] == 0) return hg_fail(cx, HG_LINALG, words, which, (long long)i + 1);
        solve_factored(cx->lib, m, (const int32_t *)(const void *)pivots->data + b * n, n, rhs + b * rhs_batch,
                       (double *)(void *)x->data + b * n * n_rhs, n_rhs);
    }
    return HG_OK;
}

hg_status hg_inv_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *lu = NULL, *pivots = NULL, *x = NULL, *one = NULL;
    hg_status st = hg_check_square(cx, "linalg.inv", t, HG_HALF_LOW);
    if (st != HG_OK) return st;
    int64_t n = t->shape[t->n_dim - 1];
    st = factors(cx, t, &lu, &pivots);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_F64, t->n_dim, t->shape, &x);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_F64, 2, (int64_t[]){n, n}, &one);
    if (st == HG_OK) st = hg_raw_fill(cx, one, hg_i(0));
    for (int64_t i = 0; st == HG_OK && i < n; i++) ((double *)(void *)one->data)[i * n + i] = 1;
    if (st == HG_OK)
        st = solve_all(
            cx,
            "linalg.inv: %sThe diagonal element %lld is zero, the inversion could not be completed because the input matrix is singular.",
            lu, pivots, (double *)(void *)one->data, 0, x, n);
    if (st == HG_OK) st = hg_out_columns(cx, x, (hg_dtype)t->dtype, out);
    hg_release(cx, lu), hg_release(cx, pivots), hg_release(cx, x), hg_release(cx, one);
    return st;
}

hg_status hg_inv_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *left = flipped_over(cx, OUT(0)), *right = cx->grad_enabled ? flipped_over(cx, OUT(0)) : left;
    GIVE(0, X(NEG, T(X(MATMUL, T(left), T(X(MATMUL, T(G), T(right)))))));
    return HG_OK;
}

/* Is B a batch of vectors? Of one dimension, or shaped as A without its last. */
static bool of_vectors(int na, const int64_t *a, int nb, const int64_t *b) {
    if (nb == 1) return true;
    if (nb != na - 1) return false;
    for (int i = 0; i < nb; i++)
        if (a[i] != b[i]) return false;
    return true;
}

hg_status hg_solve_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *rhs = a[1].u.t, *column = NULL, *wide = NULL, *lu_view = NULL, *lu = NULL, *r = NULL,
              *x = NULL, *done = NULL;
    hg_status st = hg_check_square(cx, "linalg.solve", t, HG_HALF_LU);
    if (st != HG_OK) return st;
    int64_t n = t->shape[t->n_dim - 1], shape[HG_MAX_DIM], stride[HG_MAX_DIM], batch[HG_MAX_DIM];
    bool vector = of_vectors(t->n_dim, t->shape, rhs->n_dim, rhs->shape);
    int nb, k = rhs->n_dim;
    memcpy(shape, rhs->shape, (size_t)k * sizeof *shape), memcpy(stride, rhs->stride, (size_t)k * sizeof *stride);
    if (vector) shape[k] = 1, stride[k++] = 1;
    if (k < 2 || shape[k - 2] != n)
        return hg_fail(cx, HG_SHAPE,
                       "linalg.solve: Incompatible shapes of A and B for the equation AX = B (%lldx%lld and %lldx%lld)",
                       (long long)n, (long long)n, (long long)(k < 2 ? 1 : shape[k - 2]),
                       (long long)(k < 1 ? 1 : shape[k - 1]));
    int64_t n_rhs = shape[k - 1];
    if (t->dtype != rhs->dtype) return hg_fail(cx, HG_SHAPE, "linalg.solve: A and B must have the same dtype");
    if ((st = hg_broadcast(cx, t->n_dim - 2, t->shape, k - 2, shape, &nb, batch)) != HG_OK) return st;
    if ((st = hg_raw_view(cx, rhs, k, shape, stride, 0, &column)) != HG_OK) return st;
    batch[nb] = n, batch[nb + 1] = n_rhs;
    st = hg_expand_fwd(cx, (hg_arg[]){hg_t(column), hg_ints(batch, nb + 2)}, &wide);
    if (st == HG_OK) st = hg_as_doubles(cx, wide, &r);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_F64, nb + 2, batch, &x);
    batch[nb + 1] = n;
    if (st == HG_OK) st = hg_expand_fwd(cx, (hg_arg[]){hg_t(t), hg_ints(batch, nb + 2)}, &lu_view);
    if (st == HG_OK) st = factors(cx, lu_view, &lu, &out[2]);
    if (st == HG_OK)
        st = solve_all(cx, "torch.linalg.solve: %sThe solver failed because the input matrix is singular.", lu, out[2],
                       (double *)(void *)r->data, n * n_rhs, x, n_rhs);
    batch[nb + 1] = n_rhs;
    if (st == HG_OK) st = hg_tensor_alias(cx, x, vector ? nb + 1 : nb + 2, batch, NULL, 0, &done);
    if (st == HG_OK) st = hg_out_columns(cx, done, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK) st = hg_out_columns(cx, lu, (hg_dtype)t->dtype, &out[1]);
    hg_release(cx, column), hg_release(cx, wide), hg_release(cx, lu_view), hg_release(cx, lu), hg_release(cx, r);
    hg_release(cx, x), hg_release(cx, done);
    return st;
}

hg_status hg_solve_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return first_of(cx, HG_OP_SOLVE_DATA, a, 2, 1, out);
}

hg_status hg_solve_data_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *t = IN(0), *g = G;
    if (!t) return HG_OK;
    hg_tensor *x = NEED(0) ? OUT(0) : NULL;
    bool vector = g->n_dim == t->n_dim - 1 || g->n_dim == 1;
    /* a column each, so that batches and vectors are one case */
    if (vector) g = X(UNSQUEEZE, T(g), hg_i(-1));
    hg_tensor *gb = X(SOLVE, T(flipped_over(cx, t)), T(g));
    if (NEED(0)) {
        if (vector) x = X(UNSQUEEZE, T(x), hg_i(-1));
        GIVE(0, X(NEG, T(X(MATMUL, T(gb), T(flipped_over(cx, x))))));
    }
    if (NEED(1)) GIVE(1, vector ? X(SQUEEZE_DIM, T(gb), hg_i(-1)) : gb);
    return HG_OK;
}
