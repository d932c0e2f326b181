/* Matrices taken apart: QR, Cholesky, eigenvalues, singular values; triangular systems and the exponential. */
#include "gemm_impl.h"
#include "linalg_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SELF (a[0].u.t)

static double *doubles(const hg_tensor *t) { return (double *)(void *)t->data; }
static int64_t rows_of(const hg_tensor *t) { return t->shape[t->n_dim - 2]; }
static int64_t cols_of(const hg_tensor *t) { return t->shape[t->n_dim - 1]; }

/* A float64 tensor with t's batches of (m,n) matrices, or of vectors of size m where n is -1. New. */
static hg_status room_for(hg_ctx *cx, const hg_tensor *t, int64_t m, int64_t n, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM];
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    shape[t->n_dim - 2] = m;
    if (n >= 0) shape[t->n_dim - 1] = n;
    return hg_tensor_empty(cx, HG_F64, n < 0 ? t->n_dim - 1 : t->n_dim, shape, out);
}

static int64_t batches(const hg_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dim - 2; i++) n *= t->shape[i];
    return n;
}

static hg_tensor *turned(hg_ctx *cx, hg_tensor *t) { return X(TRANSPOSE, T(t), hg_i(-2), hg_i(-1)); }
static hg_tensor *times(hg_ctx *cx, hg_tensor *x, hg_tensor *y) { return X(MATMUL, T(x), T(y)); }
static hg_tensor *plus(hg_ctx *cx, hg_tensor *x, hg_tensor *y) { return !x ? y : !y ? x : X(ADD, T(x), T(y), hg_i(1)); }
static hg_tensor *minus(hg_ctx *cx, hg_tensor *x, hg_tensor *y) { return X(SUB, T(x), T(y), hg_i(1)); }
static hg_tensor *row_vector(hg_ctx *cx, hg_tensor *t) { return X(UNSQUEEZE, T(t), hg_i(-2)); }
static hg_tensor *column_vector(hg_ctx *cx, hg_tensor *t) { return X(UNSQUEEZE, T(t), hg_i(-1)); }
static hg_tensor *tril(hg_ctx *cx, hg_tensor *t, int k) { return X(TRIL, T(t), hg_i(k)); }
static hg_tensor *triu(hg_ctx *cx, hg_tensor *t, int k) { return X(TRIU, T(t), hg_i(k)); }
static hg_tensor *on_diagonal(hg_ctx *cx, hg_tensor *t) { return X(DIAG_EMBED, T(t), hg_i(0), hg_i(-2), hg_i(-1)); }
/* x, on whose diagonal the op has written. */
static hg_tensor *on_its_diagonal(hg_ctx *cx, hg_tensor *x, int op, hg_arg by) {
    hg_tensor *diagonal = X(DIAGONAL, T(x), hg_i(0), hg_i(-2), hg_i(-1));
    if (!diagonal || !hg_scope_ok(cx)) return NULL;
    hg_status st = hg_call_inplace(cx, op, (hg_arg[]){T(diagonal), by}, 2);
    return st == HG_OK ? x : (hg_scope_fail(cx, st), NULL);
}
/* A^-1 B with A triangular, or B A^-1 where A is on the right. */
static hg_tensor *solved(hg_ctx *cx, hg_tensor *t, hg_tensor *b, bool upper, bool left, bool unit) {
    return X(SOLVE_TRIANGULAR, T(t), T(b), hg_b(upper), hg_b(left), hg_b(unit));
}

/* ---- QR ------------------------------------------------------------------------------------------------------------------ */

/* Note [Reflections]
   As LAPACK's geqrf does it: a (m,n) becomes R on and above the diagonal; below it, column i holds all but the first entry,
   a one, of the vector v of the reflection I - tau[i] v v^T that emptied it. A column that is empty below gets tau 0. */
static void reflect(double *a, int64_t m, int64_t n, int64_t ld, const double *v, int64_t step, double tau) {
    enum { WIDE = 64 }; /* columns at a time, so that rows are read as they lie */
    double dot[WIDE];
    for (int64_t wide; n > 0 && tau != 0; a += wide, n -= wide) {
        wide = n < WIDE ? n : WIDE;
        memcpy(dot, a, (size_t)wide * sizeof *dot);
        for (int64_t i = 1; i < m; i++) hg_minus_times(dot, -v[i * step], a + i * ld, wide);
        for (int64_t j = 0; j < wide; j++) dot[j] *= tau;
        hg_minus_times(a, 1, dot, wide);
        for (int64_t i = 1; i < m; i++) hg_minus_times(a + i * ld, v[i * step], dot, wide);
    }
}

static void geqrf(double *a, int64_t m, int64_t n, double *tau) {
    int64_t k = m < n ? m : n;
    for (int64_t i = 0; i < k; i++) {
        double *at = a + i * n + i, below = 0;
        for (int64_t r = 1; r < m - i; r++) below = hypot(below, at[r * n]);
        tau[i] = 0;
        if (below == 0) continue;
        double beta = -copysign(hypot(at[0], below), at[0]);
        tau[i] = (beta - at[0]) / beta;
        for (int64_t r = 1; r < m - i; r++) at[r * n] /= at[0] - beta;
        at[0] = beta;
        reflect(at + 1, m - i, n - i - 1, n, at, n, tau[i]);
    }
}

/* The first `cols` columns of the product of the reflections in a (m,n): q (m,cols). */
static void orgqr(const double *a, int64_t m, int64_t n, const double *tau, int64_t k, double *q, int64_t cols) {
    memset(q, 0, (size_t)(m * cols) * sizeof *q);
    for (int64_t i = 0; i < m && i < cols; i++) q[i * cols + i] = 1;
    for (int64_t i = k - 1; i >= 0; i--) reflect(q + i * cols, m - i, cols, cols, a + i * n + i, n, tau[i]);
}

/* The kernels of decompositions know no half types. */
static hg_status no_halves(hg_ctx *cx, hg_status st, const hg_tensor *t, const char *kernel) {
    bool half = t->dtype == HG_F16 || t->dtype == HG_BF16;
    return st == HG_OK && half ? hg_no_kernel(cx, kernel, (hg_dtype)t->dtype) : st;
}

hg_status hg_geqrf_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *r = NULL, *tau = NULL;
    hg_status st = no_halves(cx, hg_check_matrix(cx, "torch.geqrf", t, HG_HALF_FINE), t, "geqrf_cpu");
    if (st != HG_OK) return st;
    int64_t m = rows_of(t), n = cols_of(t), k = m < n ? m : n;
    st = hg_as_doubles(cx, t, &r);
    if (st == HG_OK) st = room_for(cx, t, k, -1, &tau);
    for (int64_t b = 0; st == HG_OK && b < batches(t); b++) geqrf(doubles(r) + b * m * n, m, n, doubles(tau) + b * k);
    if (st == HG_OK) st = hg_out_columns(cx, r, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK) st = hg_raw_cast(cx, tau, (hg_dtype)t->dtype, &out[1]);
    hg_release(cx, r), hg_release(cx, tau);
    return st;
}

hg_status hg_qr_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *all = NULL, *tau = NULL, *q = NULL, *r = NULL;
    const char *mode = a[1].u.s;
    bool complete = strcmp(mode, "complete") == 0, only_r = strcmp(mode, "r") == 0;
    if (!complete && !only_r && strcmp(mode, "reduced") != 0)
        return hg_fail(cx, HG_SHAPE,
                       "qr received unrecognized mode '%s' but expected one of 'reduced' (default), 'r', or 'complete'",
                       mode);
    hg_status st = no_halves(cx, hg_check_matrix(cx, "linalg.qr", t, HG_HALF_FINE), t, "geqrf_cpu");
    if (st != HG_OK) return st;
    int64_t m = rows_of(t), n = cols_of(t), k = m < n ? m : n, size = complete ? m : k;
    st = hg_as_doubles(cx, t, &all);
    if (st == HG_OK) st = room_for(cx, t, k, -1, &tau);
    if (st == HG_OK) st = room_for(cx, t, size, n, &r);
    if (st == HG_OK) st = only_r ? hg_tensor_empty(cx, HG_F64, 1, (int64_t[]){0}, &q) : room_for(cx, t, m, size, &q);
    for (int64_t b = 0; st == HG_OK && b < batches(t); b++) {
        double *from = doubles(all) + b * m * n, *to = doubles(r) + b * size * n;
        geqrf(from, m, n, doubles(tau) + b * k);
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < n; j++) to[i * n + j] = j >= i ? from[i * n + j] : 0;
        if (!only_r) orgqr(from, m, n, doubles(tau) + b * k, k, doubles(q) + b * m * size, size);
    }
    if (st == HG_OK) st = hg_out_columns(cx, q, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK) st = hg_out_columns(cx, r, (hg_dtype)t->dtype, &out[1]);
    hg_release(cx, all), hg_release(cx, tau), hg_release(cx, q), hg_release(cx, r);
    return st;
}

/* With dA = dQ R + Q dR, Q^T dQ is skew and dR triangular: what is below the diagonal of Q^T dA R^-1 is the one, what is above
   follows. A wide matrix is a square one with more columns beside it, which R takes as they come. */
hg_status hg_qr_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *q = OUT(0), *r = OUT(1), *gq = b->grad[0], *gr = b->grad[1];
    const char *mode = ARG(1)->u.s;
    int64_t m = META(0).shape[META(0).n_dim - 2], n = META(0).shape[META(0).n_dim - 1];
    if (strcmp(mode, "r") == 0)
        return hg_fail(cx, HG_STATE,
                       "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                       "linalg.qr(A, mode='reduced') if you are going to require gradients through linalg.qr.");
    if (strcmp(mode, "complete") == 0 && m > n)
        return hg_fail(cx, HG_STATE,
                       "The QR decomposition is not differentiable when mode='complete' and nrows > ncols");
    if (!q || !r) return HG_OK;
    hg_tensor *s = gr ? times(cx, gr, turned(cx, r)) : NULL;
    hg_tensor *qg = gq ? times(cx, turned(cx, q), gq) : NULL;
    s = s && qg ? minus(cx, s, qg) : s ? s : X(NEG, T(qg));
    if (m >= n) {
        s = triu(cx, s, 0);
        s = on_its_diagonal(cx, plus(cx, s, turned(cx, s)), HG_OP_MUL_SCALAR, hg_f(0.5));
        hg_tensor *whole = plus(cx, times(cx, q, s), gq);
        GIVE(0, solved(cx, turned(cx, r), whole, false, false, false));
        return HG_OK;
    }
    s = X(NEG, T(s));
    s = times(cx, q, tril(cx, minus(cx, s, turned(cx, s)), -1));
    hg_tensor *square = X(NARROW, T(r), hg_i(-1), hg_i(0), hg_i(m));
    s = solved(cx, turned(cx, square), s, false, false, false);
    hg_tensor *rest = X(ZEROS_LIKE, T(X(NARROW, T(r), hg_i(-1), hg_i(m), hg_i(n - m))));
    if (!s || !rest) return HG_OK;
    s = X(CAT, hg_ts(((hg_tensor *[]){s, rest}), 2), hg_i(-1));
    GIVE(0, plus(cx, s, gr ? times(cx, q, gr) : NULL));
    return HG_OK;
}

/* ---- Cholesky ------------------------------------------------------------------------------------------------------------ */

/* a (n,n), of which the lower triangle is read, becomes L; the order of the first minor that is not positive, or 0.
   Some columns at a time have what those before them add up to taken off, by a product; above the diagonal it writes
   what it likes. */
static int64_t cholesky(hg_lib *lib, double *a, int64_t n) {
    enum { PANEL = 32 };
    for (int64_t from = 0, end; from < n; from = end) {
        end = hg_least(from + PANEL, n);
        double *rows = a + from * n;
        if (from)
            hg_gemm(lib, HG_F64, false, true, n - from, end - from, from, -1, rows, n, rows, n, 1, rows + from, n);
        for (int64_t j = from; j < end; j++) {
            double d = a[j * n + j];
            for (int64_t k = from; k < j; k++) d -= a[j * n + k] * a[j * n + k];
            if (!(d > 0)) return j + 1;
            a[j * n + j] = d = sqrt(d);
            for (int64_t i = j + 1; i < n; i++) {
                double x = a[i * n + j];
                for (int64_t k = from; k < j; k++) x -= a[i * n + k] * a[j * n + k];
                a[i * n + j] = x / d;
            }
        }
    }
    return 0;
}

static void flip(double *a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            double x = a[i * n + j];
            a[i * n + j] = a[j * n + i], a[j * n + i] = x;
        }
}

hg_status hg_cholesky_ex_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *all = NULL, *info = NULL;
    bool upper = a[1].u.i, check = a[2].u.i;
    hg_status st = no_halves(cx, hg_check_square(cx, "linalg.cholesky", t, HG_HALF_FINE), t, "cholesky_cpu");
    if (st != HG_OK) return st;
    int64_t n = rows_of(t);
    st = hg_as_doubles(cx, t, &all);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_I32, t->n_dim - 2, t->shape, &info);
    for (int64_t b = 0; st == HG_OK && b < info->numel; b++) {
        double *at = doubles(all) + b * n * n;
        if (upper) flip(at, n);
        int64_t bad = cholesky(cx->lib, at, n);
        ((int32_t *)(void *)info->data)[b] = (int32_t)bad;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i + 1; j < n; j++) at[i * n + j] = 0;
        if (upper) flip(at, n);
        if (bad && check) {
            char batch[64] = "";
            if (t->n_dim > 2) snprintf(batch, sizeof batch, "(Batch element %lld): ", (long long)b);
            st = hg_fail(cx, HG_LINALG,
                         "linalg.cholesky: %sThe factorization could not be completed because the input is not "
                         "positive-definite (the leading minor of order %lld is not positive-definite).",
                         batch, (long long)bad);
        }
    }
    if (st == HG_OK) st = hg_out_columns(cx, all, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK) out[1] = info, info = NULL;
    hg_release(cx, all), hg_release(cx, info);
    return st;
}

hg_status hg_cholesky_ex_bwd(hg_ctx *cx, hg_back *b) {
    bool upper = ARG(1)->u.i;
    hg_tensor *l = upper ? turned(cx, OUT(0)) : OUT(0), *g = upper ? turned(cx, G) : G;
    hg_tensor *s = tril(cx, times(cx, turned(cx, l), g), 0);
    s = X(MUL, T(plus(cx, s, turned(cx, tril(cx, s, -1)))), hg_f(0.5));
    s = solved(cx, turned(cx, l), s, true, true, false);
    GIVE(0, solved(cx, l, s, false, false, false));
    return HG_OK;
}

/* ---- Triangular systems -------------------------------------------------------------------------------------------------- */

hg_status hg_solve_triangular_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *rhs = a[1].u.t, *wide = NULL, *x = NULL, *lu = NULL, *solution = NULL;
    bool upper = a[2].u.i, left = a[3].u.i, unit = a[4].u.i;
    hg_status st = no_halves(cx, hg_check_square(cx, "linalg.solve_triangular", t, HG_HALF_FINE), t,
                             "triangular_solve_cpu");
    if (st != HG_OK) return st;
    if (rhs->n_dim < 2)
        return hg_fail(cx, HG_SHAPE, "linalg.solve_triangular: The input tensor B must have at least 2 dimensions.");
    if (t->dtype != rhs->dtype)
        return hg_fail(cx, HG_SHAPE, "linalg.solve_triangular: Expected A and B to have the same dtype");
    int64_t n = rows_of(t), m = rows_of(rhs), k = cols_of(rhs), batch[HG_MAX_DIM];
    if ((left ? m : k) != n)
        return hg_fail(
            cx, HG_SHAPE,
            "linalg.solve_triangular: Incompatible shapes of A and B for the equation %s (%lldx%lld and %lldx%lld)",
            left ? "AX = B" : "XA = B", (long long)n, (long long)n, (long long)m, (long long)k);
    int nb;
    if ((st = hg_broadcast(cx, t->n_dim - 2, t->shape, rhs->n_dim - 2, rhs->shape, &nb, batch)) != HG_OK) return st;
    batch[nb] = m, batch[nb + 1] = k;
    /* a system with A on the right is the transposed one with it on the left */
    st = hg_expand_fwd(cx, (hg_arg[]){hg_t(rhs), hg_ints(batch, nb + 2)}, &wide);
    if (st == HG_OK && !left) {
        hg_tensor *over = NULL;
        st = hg_transpose_fwd(cx, (hg_arg[]){hg_t(wide), hg_i(-2), hg_i(-1)}, &over);
        hg_release(cx, wide);
        wide = over;
    }
    if (st == HG_OK) st = hg_as_doubles(cx, wide, &x);
    hg_release(cx, wide), wide = NULL;
    batch[nb] = batch[nb + 1] = n;
    if (st == HG_OK) st = hg_expand_fwd(cx, (hg_arg[]){hg_t(t), hg_ints(batch, nb + 2)}, &wide);
    if (st == HG_OK) st = hg_as_doubles(cx, wide, &lu);
    int64_t n_rhs = left ? k : m;
    for (int64_t b = 0; st == HG_OK && b < batches(lu); b++)
        hg_substitute(cx->lib, doubles(lu) + b * n * n, left ? n : 1, left ? 1 : n, left ? upper : !upper, unit, n,
                      doubles(x) + b * n * n_rhs, n_rhs, n_rhs);
    if (st == HG_OK && !left) st = hg_transpose_fwd(cx, (hg_arg[]){hg_t(x), hg_i(-2), hg_i(-1)}, &solution);
    if (st == HG_OK) {
        hg_tensor *from = left ? x : solution;
        st = hg_out_columns(cx, from, (hg_dtype)rhs->dtype, out);
    }
    hg_release(cx, wide), hg_release(cx, x), hg_release(cx, lu), hg_release(cx, solution);
    return st;
}

hg_status hg_solve_triangular_bwd(hg_ctx *cx, hg_back *b) {
    bool upper = ARG(2)->u.i, left = ARG(3)->u.i, unit = ARG(4)->u.i;
    if (!IN(0)) return HG_OK;
    hg_tensor *gb = solved(cx, turned(cx, IN(0)), G, !upper, left, unit);
    if (NEED(0)) {
        hg_tensor *x = turned(cx, OUT(0));
        hg_tensor *ga = X(NEG, T(left ? times(cx, gb, x) : times(cx, x, gb)));
        GIVE(0, upper ? triu(cx, ga, unit) : tril(cx, ga, -(int)unit));
    }
    if (NEED(1)) GIVE(1, gb);
    return HG_OK;
}

/* ---- Eigenvalues and singular values ---------------------------------------------------------------------------------------- */

hg_status hg_eigh_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *v = NULL, *w = NULL, *none = NULL;
    bool upper = a[1].u.s[0] == 'U' || a[1].u.s[0] == 'u', vectors = a[2].u.i;
    hg_status st = no_halves(cx, hg_check_square(cx, "linalg.eigh", t, HG_HALF_FINE), t, "linalg_eigh_cpu");
    if (st != HG_OK) return st;
    int64_t n = rows_of(t);
    st = hg_as_doubles(cx, t, &v);
    if (st == HG_OK) st = room_for(cx, t, n, -1, &w);
    for (int64_t b = 0; st == HG_OK && b < batches(t); b++) {
        if (upper) flip(doubles(v) + b * n * n, n);
        st = hg_lapack_eigh(cx, "linalg.eigh", vectors, n, doubles(v) + b * n * n, doubles(w) + b * n);
    }
    if (st == HG_OK) st = hg_raw_cast(cx, w, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK && !vectors) st = hg_tensor_empty(cx, HG_F64, 1, (int64_t[]){0}, &none);
    if (st == HG_OK) st = hg_out_columns(cx, vectors ? v : none, (hg_dtype)t->dtype, &out[1]);
    hg_release(cx, v), hg_release(cx, w), hg_release(cx, none);
    return st;
}

/* differences[i][j] = x[j] - x[i], and one on the diagonal: what the derivatives divide by. */
static hg_tensor *differences(hg_ctx *cx, hg_tensor *x) {
    hg_tensor *d = minus(cx, row_vector(cx, x), column_vector(cx, x));
    return on_its_diagonal(cx, d, HG_OP_FILL_, hg_f(1));
}

static hg_tensor *skewed(hg_ctx *cx, hg_tensor *x) { return minus(cx, x, turned(cx, x)); }

hg_status hg_eigh_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *w = OUT(0), *v = OUT(1), *gw = b->grad[0], *gv = b->grad[1];
    if (!w || !v) return HG_OK;
    if (v->n_dim < 2)
        return hg_fail(cx, HG_STATE,
                       "linalg_eigh_backward: the derivative needs the eigenvectors, which were not computed");
    if (!gv) {
        GIVE(0, times(cx, X(MUL, T(v), T(row_vector(cx, gw))), turned(cx, v)));
        return HG_OK;
    }
    /* Of V^T gV only the part that turns V: the input counts as symmetric. */
    hg_tensor *s = X(MUL, T(skewed(cx, times(cx, turned(cx, v), gv))), hg_f(0.5));
    s = X(DIV, T(s), T(differences(cx, w)));
    if (gw) s = on_its_diagonal(cx, s, HG_OP_COPY_, T(gw));
    GIVE(0, times(cx, v, times(cx, s, turned(cx, v))));
    return HG_OK;
}

hg_status hg_svd_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *all = NULL, *u = NULL, *s = NULL, *vt = NULL;
    bool full = a[1].u.i, vectors = a[2].u.i;
    hg_status st = no_halves(cx, hg_check_matrix(cx, "linalg.svd", t, HG_HALF_FINE), t, "linalg_svd_cpu");
    if (st != HG_OK) return st;
    int64_t m = rows_of(t), n = cols_of(t), k = m < n ? m : n, cols = full ? m : k, rows = full ? n : k;
    st = hg_as_doubles(cx, t, &all);
    if (st == HG_OK) st = room_for(cx, t, k, -1, &s);
    if (st == HG_OK) st = vectors ? room_for(cx, t, m, cols, &u) : hg_tensor_empty(cx, HG_F64, 1, (int64_t[]){0}, &u);
    if (st == HG_OK) st = vectors ? room_for(cx, t, rows, n, &vt) : hg_tensor_empty(cx, HG_F64, 1, (int64_t[]){0}, &vt);
    for (int64_t b = 0; st == HG_OK && k && b < batches(t); b++)
        st = hg_lapack_svd(cx, "linalg.svd", full, m, n, doubles(all) + b * m * n, doubles(s) + b * k,
                           vectors ? doubles(u) + b * m * cols : NULL, vectors ? doubles(vt) + b * rows * n : NULL);
    if (st == HG_OK) st = hg_out_columns(cx, u, (hg_dtype)t->dtype, &out[0]);
    if (st == HG_OK) st = hg_raw_cast(cx, s, (hg_dtype)t->dtype, &out[1]);
    if (st == HG_OK) st = hg_out_columns(cx, vt, (hg_dtype)t->dtype, &out[2]);
    hg_release(cx, all), hg_release(cx, u), hg_release(cx, s), hg_release(cx, vt);
    return st;
}

hg_status hg_svd_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *u = OUT(0), *s = OUT(1), *v = OUT(2), *gu = b->grad[0], *gs = b->grad[1], *gv = b->grad[2],
              *inner = NULL;
    if (!u || !s || !v) return HG_OK;
    if (u->n_dim < 2)
        return hg_fail(cx, HG_STATE, "linalg_svd_backward: the derivative needs U and Vh, which were not computed");
    int64_t m = META(0).shape[META(0).n_dim - 2], n = META(0).shape[META(0).n_dim - 1], k = m < n ? m : n;
    if (ARG(1)->u.i) { /* of the full matrices only what the values belong to has a derivative */
        u = X(NARROW, T(u), hg_i(-1), hg_i(0), hg_i(k)), v = X(NARROW, T(v), hg_i(-2), hg_i(0), hg_i(k));
        if (gu) gu = X(NARROW, T(gu), hg_i(-1), hg_i(0), hg_i(k));
        if (gv) gv = X(NARROW, T(gv), hg_i(-2), hg_i(0), hg_i(k));
    }
    if (!gu && !gv) {
        GIVE(0, m < n ? times(cx, X(MUL, T(u), T(row_vector(cx, gs))), v)
                      : times(cx, u, X(MUL, T(column_vector(cx, gs)), T(v))));
        return HG_OK;
    }
    hg_tensor *gaps = differences(cx, X(MUL, T(s), T(s)));
    hg_tensor *turn_u = gu ? skewed(cx, times(cx, turned(cx, u), gu)) : NULL;
    hg_tensor *turn_v = gv ? skewed(cx, times(cx, v, turned(cx, gv))) : NULL;
    if (gu && gv) {
        inner = plus(cx, X(MUL, T(turn_u), T(row_vector(cx, s))), X(MUL, T(column_vector(cx, s)), T(turn_v)));
        inner = X(DIV, T(inner), T(gaps));
    } else if (gu)
        inner = X(MUL, T(X(DIV, T(turn_u), T(gaps))), T(row_vector(cx, s)));
    else
        inner = X(MUL, T(column_vector(cx, s)), T(X(DIV, T(turn_v), T(gaps))));
    if (gs) inner = plus(cx, inner, on_diagonal(cx, gs));
    /* What of gU and gV lies outside the space of the columns counts where the matrix is not square. */
    if (gu && m > k) {
        hg_tensor *beside = X(DIV, T(gu), T(row_vector(cx, s)));
        inner = plus(cx, times(cx, u, inner), beside);
        GIVE(0, times(cx, minus(cx, inner, times(cx, u, times(cx, turned(cx, u), beside))), v));
    } else if (gv && n > k) {
        hg_tensor *beside = X(DIV, T(gv), T(column_vector(cx, s)));
        inner = plus(cx, times(cx, inner, v), beside);
        GIVE(0, times(cx, u, minus(cx, inner, times(cx, times(cx, beside, turned(cx, v)), v))));
    } else if (m >= n)
        GIVE(0, times(cx, u, times(cx, inner, v)));
    else
        GIVE(0, times(cx, times(cx, u, inner), v));
    return HG_OK;
}

/* ---- The exponential --------------------------------------------------------------------------------------------------------- */

/* The series of a (n,n), made small by halving and then squared as often: r; `power` and `next` are room. */
static void exponential(hg_lib *lib, double *a, int64_t n, double *r, double *power, double *next) {
    enum { TERMS = 18 }; /* 0.5^19 / 19! is far below what float64 resolves */
    size_t size = (size_t)(n * n) * sizeof *a;
    double norm = 0;
    int halvings = 0;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += fabs(a[i * n + j]);
        if (sum > norm || sum != sum) norm = sum;
    }
    while (norm > 0.5 && norm - norm == 0) norm /= 2, halvings++;
    for (int64_t i = 0; i < n * n; i++) a[i] = ldexp(a[i], -halvings);
    memset(r, 0, size), memset(power, 0, size);
    for (int64_t i = 0; i < n; i++) r[i * n + i] = power[i * n + i] = 1;
    for (int k = 1; k <= TERMS; k++) {
        hg_gemm(lib, HG_F64, false, false, n, n, n, 1.0 / k, power, n, a, n, 0, next, n);
        memcpy(power, next, size);
        for (int64_t i = 0; i < n * n; i++) r[i] += power[i];
    }
    for (; halvings; halvings--) {
        hg_gemm(lib, HG_F64, false, false, n, n, n, 1, r, n, r, n, 0, next, n);
        memcpy(r, next, size);
    }
}

hg_status hg_matrix_exp_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *all = NULL, *r = NULL;
    hg_status st = hg_check_square(cx, "linalg.matrix_exp", t, HG_HALF_FINE);
    if (st != HG_OK) return st;
    int64_t n = rows_of(t), size = n * n;
    double *room = hg_mem(cx, (size_t)(2 * size + 1) * sizeof *room);
    if (!room) return HG_MEMORY;
    st = hg_as_doubles(cx, t, &all);
    if (st == HG_OK) st = room_for(cx, t, n, n, &r);
    for (int64_t b = 0; st == HG_OK && b < batches(t); b++)
        exponential(cx->lib, doubles(all) + b * size, n, doubles(r) + b * size, room, room + size);
    if (st == HG_OK) st = hg_raw_cast(cx, r, (hg_dtype)t->dtype, out);
    hg_release(cx, all), hg_release(cx, r);
    hg_mem_free(cx->lib, room);
    return st;
}

/* exp of [[A^T, G], [0, A^T]] has the derivative of exp at A^T along G in its upper right. */
hg_status hg_matrix_exp_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *t = turned(cx, IN(0));
    if (!t) return HG_OK;
    int64_t n = cols_of(t);
    /* exp of [t g; 0 t] has the derivative of exp(t) by g above its diagonal. */
    hg_tensor *room = X(CONSTANT_PAD_ND, T(X(ZEROS_LIKE, T(t))), hg_ints(((int64_t[]){0, n, 0, n}), 4), hg_f(0));
    hg_tensor *of[3] = {t, t, G};
    for (int i = 0; i < 3 && room; i++) {
        hg_tensor *rows = X(NARROW, T(room), hg_i(-2), hg_i(i == 1 ? n : 0), hg_i(n));
        X(COPY_, T(X(NARROW, T(rows), hg_i(-1), hg_i(i ? n : 0), hg_i(n))), T(of[i]));
    }
    hg_tensor *whole = X(MATRIX_EXP, T(room));
    whole = X(NARROW, T(whole), hg_i(-2), hg_i(0), hg_i(n));
    GIVE(0, X(NARROW, T(whole), hg_i(-1), hg_i(n), hg_i(n)));
    return HG_OK;
}
