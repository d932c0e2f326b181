/* softmax and log_softmax. */
#include "iter_impl.h"
#include "k_math_impl.h"
#include "lanes_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"
#include "reduce_impl.h"

#include <math.h>

typedef struct rows {
    int64_t outer, n, inner;
} rows;

/* A softmax, or where there is a gradient its derivative, of which x is the result. */
typedef struct softmax_job {
    rows rows;
    bool log_of;
    const void *x, *grad;
    void *to;
} softmax_job;

enum {
    SPAN = 32,
    SOME = 8,
    TOGETHER = 8,
    FEW_TOGETHER = 8192,
    AHEAD = 2048
}; /* so many values stay in the first cache */

static int64_t blocks_of(const rows *r) { return (r->inner + SPAN - 1) / SPAN; }

#include "k_softmax.h"

static void run(hg_ctx *cx, softmax_job *w) {
    const rows *r = &w->rows;
    int64_t wide = r->inner < SPAN ? r->inner : SPAN, grain = 1 + HG_GRAIN / 2 / (1 + r->n * wide);
    if (r->n && r->inner) hg_work(cx, r->outer * blocks_of(r), grain, softmax_units, w);
}

static rows rows_along(const hg_tensor *x, int dim) {
    rows r = {1, x->n_dim ? x->shape[dim] : 1, 1};
    for (int i = 0; i < x->n_dim; i++) {
        if (i < dim) r.outer *= x->shape[i];
        if (i > dim) r.inner *= x->shape[i];
    }
    return r;
}

/* ---- In double precision, by kernels of other ops --------------------------------------------------------------------------- */

/* The sum, the largest or the logarithm of the sum of x along dim, which stays with size 1; new. */
static hg_status fold_along(hg_ctx *cx, const hg_fold *fold, hg_tensor *x, int dim, bool log_of, hg_tensor **out) {
    hg_dims d;
    hg_acc acc = {.at = NULL};
    hg_arg along = hg_i(dim);
    hg_status st = hg_read_dims(cx, x, &along, true, &d);
    if (st == HG_OK) st = hg_fold_run(cx, fold, x, &d, NULL, NULL, &acc);
    double *sum = (double *)(void *)acc.at;
    for (int64_t i = 0; st == HG_OK && log_of && i < acc.n; i++) sum[i] = log(sum[i]);
    if (st == HG_OK) st = hg_acc_take(cx, &acc, &d, HG_F64, out);
    hg_acc_free(cx, &acc);
    return st;
}
static hg_status apply(hg_ctx *cx, const hg_kernel *k, hg_tensor *x, hg_tensor *y, hg_tensor **out) {
    return hg_run(cx, k, HG_F64, (hg_arg[]){hg_t(x), hg_t(y)}, y ? 2 : 1, NULL, out);
}

static hg_status wide_forward(hg_ctx *cx, hg_tensor *x, int dim, bool log_of, hg_tensor **out) {
    hg_tensor *most = NULL, *y = NULL, *e = NULL, *sum = NULL;
    hg_status st = fold_along(cx, &hg_fold_max, x, dim, false, &most);
    if (st == HG_OK) st = apply(cx, &hg_k_sub, x, most, &y);
    if (st == HG_OK) st = apply(cx, &hg_k_exp, y, NULL, &e);
    if (st == HG_OK) st = fold_along(cx, &hg_fold_sum, e, dim, log_of, &sum);
    if (st == HG_OK) st = log_of ? apply(cx, &hg_k_sub, y, sum, &y) : apply(cx, &hg_k_div, e, sum, &y);
    hg_release(cx, most), hg_release(cx, e), hg_release(cx, sum);
    *out = y;
    return st;
}
static hg_status wide_backward(hg_ctx *cx, hg_tensor *g, hg_tensor *y, int dim, bool log_of, hg_tensor **out) {
    hg_tensor *e = NULL, *sum = NULL, *to = NULL;
    hg_status st = log_of ? apply(cx, &hg_k_exp, y, NULL, &e) : apply(cx, &hg_k_mul, g, y, &e);
    if (st == HG_OK) st = fold_along(cx, &hg_fold_sum, log_of ? g : e, dim, false, &sum);
    if (st == HG_OK) st = log_of ? apply(cx, &hg_k_mul, e, sum, &e) : apply(cx, &hg_k_sub, g, sum, &to);
    if (st == HG_OK) st = log_of ? apply(cx, &hg_k_sub, g, e, &to) : apply(cx, &hg_k_mul, to, y, &to);
    hg_release(cx, e), hg_release(cx, sum);
    *out = to;
    return st;
}

static hg_status forward(hg_ctx *cx, const hg_arg *a, bool log_of, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *rx, *y = NULL;
    hg_dtype d = (hg_dtype)x->dtype, real = hg_real_dtype(d);
    int dim;
    HG_TRY(hg_wrap_dim(cx, a[1].u.i, x->n_dim, &dim));
    if (!hg_dtype_is_float(d)) {
        bool last = dim == (x->n_dim ? x->n_dim - 1 : 0);
        return hg_no_kernel(cx,
                            log_of ? last ? "log_softmax_lastdim_kernel_impl" : "log_softmax_kernel_impl"
                            : last ? "softmax_lastdim_kernel_impl"
                                   : "softmax_kernel_impl",
                            d);
    }
    rows r = rows_along(x, dim);
    HG_TRY(hg_real(cx, x, real, &rx));
    bool wide = real == HG_F64 && x->numel;
    hg_status st = wide ? wide_forward(cx, rx, dim, log_of, &y) : hg_tensor_empty(cx, real, x->n_dim, x->shape, &y);
    if (st == HG_OK && !wide) run(cx, &(softmax_job){.rows = r, .log_of = log_of, .x = rx->data, .to = y->data});
    if (st == HG_OK)
        st = hg_real_result(cx, y, d, out);
    else
        hg_release(cx, y);
    hg_release(cx, rx);
    return st;
}

/* grad_output, output, dim */
static hg_status backward(hg_ctx *cx, const hg_arg *a, bool log_of, hg_tensor **out) {
    hg_tensor *y = a[1].u.t, *rg = NULL, *ry = NULL, *x = NULL;
    hg_dtype d = (hg_dtype)y->dtype, real = hg_real_dtype(d);
    int dim;
    HG_TRY(hg_wrap_dim(cx, a[2].u.i, y->n_dim, &dim));
    if (!hg_same_shape(y, a[0].u.t))
        return hg_fail(cx, HG_SHAPE, "the derivative of softmax expects a gradient of the output's shape");
    rows r = rows_along(y, dim);
    hg_status st = hg_real(cx, a[0].u.t, real, &rg);
    if (st == HG_OK) st = hg_real(cx, y, real, &ry);
    bool wide = real == HG_F64 && y->numel;
    if (st == HG_OK)
        st = wide ? wide_backward(cx, rg, ry, dim, log_of, &x) : hg_tensor_empty(cx, real, y->n_dim, y->shape, &x);
    if (st == HG_OK && !wide)
        run(cx, &(softmax_job){.rows = r, .log_of = log_of, .x = ry->data, .grad = rg->data, .to = x->data});
    if (st == HG_OK)
        st = hg_real_result(cx, x, d, out);
    else
        hg_release(cx, x);
    hg_release(cx, rg), hg_release(cx, ry);
    return st;
}

hg_status hg_softmax_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return forward(cx, a, false, out); }
hg_status hg_log_softmax_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return forward(cx, a, true, out); }
hg_status hg_softmax_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return backward(cx, a, false, out); }
hg_status hg_log_softmax_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return backward(cx, a, true, out);
}

hg_status hg_softmax_data_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SOFTMAX_BACKWARD, T(G), T(OUT(0)), *ARG(1)));
    return HG_OK;
}

hg_status hg_log_softmax_data_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(LOG_SOFTMAX_BACKWARD, T(G), T(OUT(0)), *ARG(1)));
    return HG_OK;
}

/* Of (g - sum(g*y)) * y, with h arriving: by g, the same of h; by y, h * (g - sum(g*y)) - g * sum(h*y). */
hg_status hg_softmax_backward_bwd(hg_ctx *cx, hg_back *b) {
    hg_arg dim = hg_ints(&ARG(2)->u.i, 1);
    hg_tensor *y = IN(1);
    if (NEED(0)) GIVE(0, X(SOFTMAX_BACKWARD, T(G), T(y), *ARG(2)));
    if (NEED(1)) {
        hg_tensor *g = IN(0);
        hg_tensor *sum_gy = X(SUM_DIM, T(X(MUL, T(g), T(y))), dim, hg_b(true));
        hg_tensor *sum_hy = X(SUM_DIM, T(X(MUL, T(G), T(y))), dim, hg_b(true));
        hg_tensor *first = X(MUL, T(G), T(X(SUB, T(g), T(sum_gy))));
        GIVE(1, X(SUB, T(first), T(X(MUL, T(g), T(sum_hy)))));
    }
    return HG_OK;
}

/* Of g - exp(y) * sum(g): by g, h - sum(h * exp(y)); by y, -h * exp(y) * sum(g). */
hg_status hg_log_softmax_backward_bwd(hg_ctx *cx, hg_back *b) {
    hg_arg dim = hg_ints(&ARG(2)->u.i, 1);
    hg_tensor *h_exp = X(MUL, T(G), T(X(EXP, T(IN(1)))));
    if (NEED(0)) GIVE(0, X(SUB, T(G), T(X(SUM_DIM, T(h_exp), dim, hg_b(true)))));
    if (NEED(1)) GIVE(1, X(NEG, T(X(MUL, T(h_exp), T(X(SUM_DIM, T(IN(0)), dim, hg_b(true)))))));
    return HG_OK;
}

/* ---- As torch spells them --------------------------------------------------------------------------------------------------- */

static hg_status spelled(hg_ctx *cx, int op, const hg_arg *self, hg_arg dim, const hg_arg *dtype, bool negate,
                         hg_tensor **out) {
    hg_tensor *x = self->u.t;
    bool casts = hg_given(dtype) && dtype->u.i != x->dtype;
    if (!casts && !negate) return hg_call_op(cx, op, (hg_arg[]){*self, dim}, 2, out);
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (casts) x = X(TO_COPY, T(x), *dtype);
    if (negate) x = X(NEG, T(x));
    return hg_scope_return(cx, &s, hg_x(cx, op, (hg_arg[]){T(x), dim}, 2), out);
}

/* self, dim, dtype */
hg_status hg_softmax_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return spelled(cx, HG_OP_SOFTMAX_DATA, a, a[1], &a[2], false, out);
}
hg_status hg_log_softmax_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return spelled(cx, HG_OP_LOG_SOFTMAX_DATA, a, a[1], &a[2], false, out);
}

/* self, dim, _stacklevel, dtype: torch.nn.functional's, whose dim may be left out */
static hg_status functional(hg_ctx *cx, int op, const char *name, const hg_arg *a, bool negate, hg_tensor **out) {
    hg_arg dim = a[1];
    if (!hg_given(&dim)) {
        int n = a[0].u.t->n_dim;
        HG_TRY(hg_warn(cx, "UserWarning",
                       "Implicit dimension choice for %s has been deprecated. Change the call to include dim=X as "
                       "an argument.",
                       name));
        dim = hg_i(n == 0 || n == 1 || n == 3 ? 0 : 1);
    }
    return spelled(cx, op, a, dim, &a[3], negate, out);
}
hg_status hg_softmax_nn_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return functional(cx, HG_OP_SOFTMAX_DATA, "softmax", a, false, out);
}
hg_status hg_log_softmax_nn_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return functional(cx, HG_OP_LOG_SOFTMAX_DATA, "log_softmax", a, false, out);
}
hg_status hg_softmin_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return functional(cx, HG_OP_SOFTMAX_DATA, "softmin", a, true, out);
}
