/* softmax and log_softmax. */
#include "iter_impl.h"
#include "k_math_impl.h"
#include "lanes_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <math.h>
#include <string.h>

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

enum { SPAN = 32, TOGETHER = 8, FEW_TOGETHER = 8192, AHEAD = 2048 }; /* so many values stay in the first cache */

static int64_t blocks_of(const rows *r) { return (r->inner + SPAN - 1) / SPAN; }

#define REAL                                   float
#define KERNEL(name)                           name##_f32
#define KERNEL_BODY(name)                      name##_f32_body
#define KERNEL_VERSIONS(name, parameters, ...) HG_VECTOR(name##_f32, parameters, __VA_ARGS__)
#define EXP(x)                                 hg_low_exp(fused, x)
#define LOG(x)                                 ((x) == (x) ? hg_near_log(fused, x) : (x))
#include "k_softmax.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef EXP
#undef LOG
#define REAL              double
#define KERNEL(name)      name##_f64
#define KERNEL_BODY(name) name##_f64_body
#define KERNEL_VERSIONS(name, parameters, ...)                                                                         \
    HG_SMALL static void name##_f64 parameters { name##_f64_body(false, __VA_ARGS__); }
#define EXP exp
#define LOG log
#include "k_softmax.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef EXP
#undef LOG

static void run(hg_ctx *cx, hg_dtype real, softmax_job *w) {
    const rows *r = &w->rows;
    int64_t wide = r->inner < SPAN ? r->inner : SPAN, grain = 1 + HG_GRAIN / 2 / (1 + r->n * wide);
    if (r->n && r->inner)
        hg_work(cx, r->outer * blocks_of(r), grain, real == HG_F64 ? softmax_units_f64 : softmax_units_f32, w);
}

static rows rows_along(const hg_tensor *x, int dim) {
    rows r = {1, x->n_dim ? x->shape[dim] : 1, 1};
    for (int i = 0; i < x->n_dim; i++) {
        if (i < dim) r.outer *= x->shape[i];
        if (i > dim) r.inner *= x->shape[i];
    }
    return r;
}

static hg_status forward(hg_ctx *cx, const hg_arg *a, bool log_of, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *rx, *y;
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
    hg_status st = hg_tensor_empty(cx, real, x->n_dim, x->shape, &y);
    if (st == HG_OK) {
        run(cx, real, &(softmax_job){.rows = r, .log_of = log_of, .x = rx->data, .to = y->data});
        st = hg_real_result(cx, y, d, out);
    }
    hg_release(cx, rx);
    return st;
}

/* grad_output, output, dim */
static hg_status backward(hg_ctx *cx, const hg_arg *a, bool log_of, hg_tensor **out) {
    hg_tensor *y = a[1].u.t, *rg = NULL, *ry = NULL, *x;
    hg_dtype d = (hg_dtype)y->dtype, real = hg_real_dtype(d);
    int dim;
    HG_TRY(hg_wrap_dim(cx, a[2].u.i, y->n_dim, &dim));
    rows r = rows_along(y, dim);
    hg_status st = hg_real(cx, a[0].u.t, real, &rg);
    if (st == HG_OK) st = hg_real(cx, y, real, &ry);
    if (st == HG_OK) st = hg_tensor_empty(cx, real, y->n_dim, y->shape, &x);
    if (st == HG_OK) {
        run(cx, real, &(softmax_job){.rows = r, .log_of = log_of, .x = ry->data, .grad = rg->data, .to = x->data});
        st = hg_real_result(cx, x, d, out);
    }
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
