/* Losses between an input and a target of its shape: mean squared error and its relatives, binary cross entropy, and the
   Kullback-Leibler divergence. Losses over classes are in op_nll.c.

   The forward of each is one loop, summed on the way where a sum or a mean is wanted; the derivatives are ops. */
#include "cpu_impl.h"
#include "k_impl.h"
#include "layout_impl.h"
#include "loss_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <string.h>

hg_status hg_reduction_of(hg_ctx *cx, const hg_arg *a, hg_reduction *out) {
    const char *s = a->u.s;
    if (strcmp(s, "none") == 0)
        *out = HG_REDUCE_NONE;
    else if (strcmp(s, "mean") == 0)
        *out = HG_REDUCE_MEAN;
    else if (strcmp(s, "sum") == 0)
        *out = HG_REDUCE_SUM;
    else
        return hg_fail(cx, HG_VALUE, "%s is not a valid value for reduction", s);
    return HG_OK;
}

hg_tensor *hg_reduce(hg_ctx *cx, hg_tensor *loss, hg_reduction r) {
    return r == HG_REDUCE_NONE ? loss : r == HG_REDUCE_MEAN ? X(MEAN, T(loss)) : X(SUM, T(loss));
}

/* ---- Loops ----------------------------------------------------------------------------------------------------------------- */

/* Each LOSS(name, value of x and y with the number p). */
#define LOSSES(LOSS)                                                                                                   \
    LOSS(mse, (x - y) * (x - y))                                                                                       \
    LOSS(smooth_l1, fabs(x - y) < p ? (V)0.5 * (x - y) * (x - y) / p : (V)fabs(x - y) - (V)0.5 * p)                    \
    LOSS(huber, fabs(x - y) <= p ? (V)0.5 * (x - y) * (x - y) : p * ((V)fabs(x - y) - (V)0.5 * p))                     \
    LOSS(bce, (y - 1) * above(log1p((double)-x)) - y * above(log((double)x)))

static inline double above(double log_of) { return log_of > -100 || log_of != log_of ? log_of : -100; }

/* The sum of the losses of n pairs, or in `to` each of them. */
typedef double (*loss_fn)(int64_t n, const void *input, const void *target, double p, void *to);

enum { LOSS_CHUNK = 256, SUMS = 8 };
/* The losses of a chunk by vectors, and its sum in eight parts: no addition waits for the one before. */
#define LOSS_LOOP(name, expr, TYPE, suffix)                                                                            \
    HG_INLINE void name##_##suffix##_chunk_body(const bool fused, int64_t n, const TYPE *restrict xs,                  \
                                                const TYPE *restrict ys, TYPE p, TYPE *restrict to) {                  \
        typedef TYPE V;                                                                                                \
        (void)p, (void)fused;                                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            V x = xs[i], y = ys[i];                                                                                    \
            to[i] = (V)(expr);                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_FEW(name##_##suffix##_chunk, (int64_t n, const TYPE *xs, const TYPE *ys, TYPE p, TYPE *to), n, xs, ys,   \
                  p, to)                                                                                               \
    static double name##_##suffix(int64_t n, const void *input, const void *target, double number, void *to) {         \
        TYPE room[LOSS_CHUNK];                                                                                         \
        double sum[SUMS] = {0};                                                                                        \
        for (int64_t i = 0, m; i < n; i += m) {                                                                        \
            TYPE *r = to ? (TYPE *)to + i : room;                                                                      \
            m = n - i < LOSS_CHUNK ? n - i : LOSS_CHUNK;                                                               \
            name##_##suffix##_chunk(m, (const TYPE *)input + i, (const TYPE *)target + i, (TYPE)number, r);            \
            int64_t k = 0;                                                                                             \
            for (; !to && k + SUMS <= m; k += SUMS)                                                                    \
                for (int j = 0; j < SUMS; j++) sum[j] += (double)r[k + j];                                             \
            for (; !to && k < m; k++) sum[0] += (double)r[k];                                                          \
        }                                                                                                              \
        for (int j = 1; j < SUMS; j++) sum[0] += sum[j];                                                               \
        return sum[0];                                                                                                 \
    }
#define BOTH(name, expr) LOSS_LOOP(name, expr, float, f32) LOSS_LOOP(name, expr, double, f64)
LOSSES(BOTH)
#undef BOTH
#undef LOSS_LOOP

/* The loss of x and y, of one shape, in dtype d. */
static hg_status run(hg_ctx *cx, loss_fn f32, loss_fn f64, hg_tensor *x, hg_tensor *y, double p, hg_reduction r,
                     hg_dtype d, hg_tensor **out) {
    hg_dtype real = hg_real_dtype(d);
    hg_tensor *rx = NULL, *ry = NULL, *work = NULL;
    char of_x[256], of_y[256];
    if (!hg_same_shape(x, y))
        return hg_fail(cx, HG_SHAPE, "the loss expects an input and a target of one shape, got %s and %s",
                       hg_show_shape(x, of_x), hg_show_shape(y, of_y));
    hg_status st = hg_real(cx, x, real, &rx);
    if (st == HG_OK) st = hg_real(cx, y, real, &ry);
    if (st == HG_OK) st = hg_tensor_empty(cx, real, r == HG_REDUCE_NONE ? x->n_dim : 0, x->shape, &work);
    if (st == HG_OK) {
        loss_fn fn = real == HG_F64 ? f64 : f32;
        double sum = fn(x->numel, rx->data, ry->data, p, r == HG_REDUCE_NONE ? work->data : NULL);
        if (r == HG_REDUCE_MEAN) sum /= (double)x->numel;
        if (r != HG_REDUCE_NONE && real == HG_F64)
            *(double *)(void *)work->data = sum;
        else if (r != HG_REDUCE_NONE)
            *(float *)(void *)work->data = (float)sum;
        if (r == HG_REDUCE_NONE && !(x->plain && y->plain)) { /* elementwise, and lying so */
            st = hg_out_joint(cx, out, d, (hg_arg[]){hg_t(x), hg_t(y)}, 2, d, false);
            if (st == HG_OK) st = hg_raw_copy(cx, *out, work);
            hg_release(cx, work);
        } else {
            st = hg_real_result(cx, work, d, out);
        }
    }
    hg_release(cx, rx), hg_release(cx, ry);
    return st;
}

/* input and target of one shape, in their common dtype */
static hg_status run_promoted(hg_ctx *cx, const char *kernel, loss_fn f32, loss_fn f64, const hg_arg *a, double p,
                              hg_tensor **out) {
    hg_dtype d = hg_result_type(cx, a, 2);
    hg_reduction r = HG_REDUCE_NONE;
    HG_TRY(hg_reduction_of(cx, &a[2], &r));
    if (!hg_dtype_is_float(d)) return hg_no_kernel(cx, kernel, d);
    return run(cx, f32, f64, a[0].u.t, a[1].u.t, p, r, d, out);
}

/* self, target, reduction[, number] */
hg_status hg_mse_loss_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return run_promoted(cx, "mse_cpu", mse_f32, mse_f64, a, 0, out);
}
hg_status hg_smooth_l1_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return run_promoted(cx, "smooth_l1_cpu", smooth_l1_f32, smooth_l1_f64, a, a[3].u.f, out);
}
hg_status hg_huber_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return run_promoted(cx, "huber_cpu", huber_f32, huber_f64, a, a[3].u.f, out);
}

/* ---- Derivatives ------------------------------------------------------------------------------------------------------------ */

/* The gradient that every element gets: g, over n where the loss is a mean. */
static hg_tensor *mean_of(hg_ctx *cx, hg_back *b, int reduction, hg_tensor *g, int64_t n) {
    return strcmp(ARG(reduction)->u.s, "mean") == 0 ? X(DIV, T(g), hg_f((double)n)) : g;
}

static hg_tensor *spread_grad(hg_ctx *cx, hg_back *b, int reduction, int64_t n) {
    return mean_of(cx, b, reduction, G, n);
}

/* The loss is even: the target's gradient is the input's with the two exchanged. `slope` is of their difference. */
static hg_status give_both(hg_ctx *cx, hg_back *b, hg_tensor *(*slope)(hg_ctx *, hg_back *, hg_tensor *)) {
    for (int i = 0; i < 2; i++) {
        if (!NEED(i)) continue;
        hg_tensor *other = IN(1 - i);
        if (other->dtype == HG_BOOL) other = X(TO_COPY, T(other), hg_d((hg_dtype)IN(i)->dtype)); /* no `-` takes it */
        hg_tensor *d = X(SUB, T(IN(i)), T(other));
        hg_tensor *g = X(MUL, T(slope(cx, b, d)), T(spread_grad(cx, b, 2, d ? d->numel : 1)));
        GIVE(i, X(CONTIGUOUS, T(g))); /* so it lies in torch */
    }
    return HG_OK;
}

static hg_tensor *mse_slope(hg_ctx *cx, hg_back *b, hg_tensor *d) {
    (void)b;
    return X(MUL, T(d), hg_f(2));
}

/* hardtanh has, unlike clamp, no derivative at its ends: nor has the slope. */
static hg_tensor *smooth_l1_slope(hg_ctx *cx, hg_back *b, hg_tensor *d) {
    return X(HARDTANH, T(X(DIV, T(d), *ARG(3))), hg_f(-1), hg_f(1));
}
static hg_tensor *huber_slope(hg_ctx *cx, hg_back *b, hg_tensor *d) {
    return X(HARDTANH, T(d), hg_f(-ARG(3)->u.f), *ARG(3));
}

hg_status hg_mse_loss_data_bwd(hg_ctx *cx, hg_back *b) { return give_both(cx, b, mse_slope); }
hg_status hg_smooth_l1_data_bwd(hg_ctx *cx, hg_back *b) { return give_both(cx, b, smooth_l1_slope); }
hg_status hg_huber_data_bwd(hg_ctx *cx, hg_back *b) { return give_both(cx, b, huber_slope); }

/* ---- Binary cross entropy --------------------------------------------------------------------------------------------------- */

enum { SELF, TARGET, WEIGHT };

static hg_status check_range(hg_ctx *cx, hg_tensor *t, const char *name) {
    hg_tensor *r;
    bool inside = true;
    HG_TRY(hg_real(cx, t, HG_F64, &r));
    const double *x = (const double *)(void *)r->data;
    for (int64_t i = 0; i < r->numel; i++) inside &= x[i] >= 0 && x[i] <= 1;
    hg_release(cx, r);
    return inside ? HG_OK : hg_fail(cx, HG_STATE, "all elements of %s should be between 0 and 1", name);
}

/* A loss per element, weighted and reduced outside of the graph. Steals loss. */
static hg_status weigh(hg_ctx *cx, hg_tensor *loss, const hg_arg *weight, hg_reduction r, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin_quiet(cx, &s);
    loss = hg_scope_keep(cx, loss);
    if (hg_given(weight)) loss = X(MUL, T(loss), *weight);
    return hg_scope_return(cx, &s, hg_reduce(cx, loss, r), out);
}

/* self, target, weight, reduction */
hg_status hg_bce_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[SELF].u.t, *y = a[TARGET].u.t, *loss = NULL;
    hg_reduction r = HG_REDUCE_NONE;
    char want[16], got[16];
    HG_TRY(hg_reduction_of(cx, &a[3], &r));
    if (!hg_dtype_is_float((hg_dtype)x->dtype)) return hg_no_kernel(cx, "binary_cross_entropy", (hg_dtype)x->dtype);
    if (y->dtype != x->dtype)
        return hg_fail(cx, HG_STATE, "Found dtype %s but expected %s", hg_dtype_word((hg_dtype)y->dtype, got),
                       hg_dtype_word((hg_dtype)x->dtype, want));
    HG_TRY(check_range(cx, x, "input"));
    HG_TRY(check_range(cx, y, "target"));
    if (!hg_given(&a[WEIGHT])) return run(cx, bce_f32, bce_f64, x, y, 0, r, (hg_dtype)x->dtype, out);
    HG_TRY(run(cx, bce_f32, bce_f64, x, y, 0, HG_REDUCE_NONE, (hg_dtype)x->dtype, &loss));
    return weigh(cx, loss, &a[WEIGHT], r, out);
}

hg_status hg_bce_data_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(SELF), *w = IN(WEIGHT);
    if (!x) return HG_OK;
    if (NEED(SELF)) {
        hg_tensor *g = spread_grad(cx, b, 3, x->numel), *rest = X(RSUB_SCALAR, T(x), hg_i(1));
        if (w) g = X(MUL, T(g), T(w));
        hg_tensor *slope = X(DIV, T(X(SUB, T(x), T(IN(TARGET)))),
                             T(X(CLAMP_MIN, T(X(MUL, T(rest), T(x))), hg_f(1e-12F)))); /* torch keeps it as a float32 */
        GIVE(SELF, X(MUL, T(slope), T(g)));
    }
    if (NEED(TARGET)) { /* in full, where the loss itself ends at 100 */
        hg_reduction r = HG_REDUCE_NONE;
        HG_TRY(hg_reduction_of(cx, ARG(3), &r));
        hg_tensor *g = X(MUL, T(X(NEG, T(X(LOGIT, T(x))))), T(G));
        if (w) g = X(MUL, T(g), T(w));
        if (r == HG_REDUCE_MEAN) g = X(DIV, T(g), hg_i(x->numel));
        GIVE(TARGET, hg_x_written(g, 2 + !!w + (r == HG_REDUCE_MEAN)));
    }
    return HG_OK;
}

/* self, target, weight, pos_weight, reduction: (1 - y) * x + (1 + (pos - 1) * y) * log(1 + exp(-x)) */
hg_status hg_bce_logits_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_reduction r = HG_REDUCE_NONE;
    hg_scope s;
    HG_TRY(hg_reduction_of(cx, &a[4], &r));
    hg_scope_begin_quiet(cx, &s);
    hg_tensor *softplus = X(NEG, T(X(LOG_SIGMOID, a[SELF])));
    if (hg_given(&a[3])) {
        hg_tensor *more = X(MUL, T(X(SUB, a[3], hg_i(1))), a[TARGET]);
        softplus = X(MUL, T(X(ADD, T(more), hg_i(1))), T(softplus));
    }
    hg_tensor *loss = X(ADD, T(X(MUL, T(X(RSUB_SCALAR, a[TARGET], hg_i(1))), a[SELF])), T(softplus));
    if (hg_given(&a[WEIGHT])) loss = X(MUL, T(loss), a[WEIGHT]);
    return hg_scope_return(cx, &s, hg_reduce(cx, loss, r), out);
}

/* The gradient by the slope, written to `times` in torch before it is divided. */
static hg_tensor *of_logits(hg_ctx *cx, hg_back *b, hg_tensor *slope, uint32_t times) {
    hg_tensor *w = IN(WEIGHT), *g = X(MUL, T(slope), T(G));
    if (w) g = X(MUL, T(g), T(w));
    bool mean = strcmp(ARG(4)->u.s, "mean") == 0;
    return hg_x_written(mean_of(cx, b, 4, g, IN(SELF)->numel), times + mean);
}

hg_status hg_bce_logits_data_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(SELF), *y = IN(TARGET), *w = IN(WEIGHT), *pos = IN(3);
    if (!x) return HG_OK;
    if (NEED(SELF)) {
        hg_tensor *p = X(SIGMOID, T(x)), *slope;
        if (pos) {
            hg_tensor *pos_y = X(MUL, T(pos), T(y));
            hg_tensor *sum = X(SUB, T(X(ADD, T(pos_y), hg_i(1))), T(y));
            slope = X(SUB, T(X(MUL, T(sum), T(p))), T(pos_y));
        } else {
            slope = X(SUB, T(p), T(y));
        }
        GIVE(SELF, of_logits(cx, b, slope, cx->grad_enabled ? 0 : 2 + 2 * !!pos + !!w));
    }
    if (NEED(TARGET)) {
        hg_tensor *slope = X(NEG, T(x));
        if (pos) slope = X(SUB, T(X(LOG_SIGMOID, T(slope))), T(X(MUL, T(pos), T(X(LOG_SIGMOID, T(x))))));
        GIVE(TARGET, of_logits(cx, b, slope, 2 * !!pos + !!w));
    }
    return HG_OK;
}

/* ---- As torch spells them ---------------------------------------------------------------------------------------------------- */

static hg_status warn_of_sizes(hg_ctx *cx, const hg_tensor *x, const hg_tensor *y) {
    char xs[256], ys[256];
    if (hg_same_shape(x, y)) return HG_OK;
    return hg_warn(cx, "UserWarning",
                   "Using a target size (torch.Size(%s)) that is different to the input size (torch.Size(%s)). This "
                   "will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
                   hg_show_shape(y, ys), hg_show_shape(x, xs));
}

/* Both in their common shape. */
static void broadcast(hg_ctx *cx, hg_tensor **x, hg_tensor **y) {
    int64_t shape[HG_MAX_DIM];
    int n;
    if (hg_same_shape(*x, *y)) return;
    if (hg_scope_fail(cx, hg_broadcast(cx, (*x)->n_dim, (*x)->shape, (*y)->n_dim, (*y)->shape, &n, shape)) != HG_OK)
        return;
    hg_arg common = hg_ints(shape, n); /* what has it already is not expanded */
    if (!hg_same_dims((*x)->n_dim, (*x)->shape, n, shape)) *x = X(EXPAND, T(*x), common);
    if (!hg_same_dims((*y)->n_dim, (*y)->shape, n, shape)) *y = X(EXPAND, T(*y), common);
}

static hg_status compare(hg_ctx *cx, int op, const hg_arg *a, hg_arg reduction, hg_arg number, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *y = a[1].u.t;
    hg_reduction r = HG_REDUCE_NONE;
    hg_scope s;
    HG_TRY(hg_reduction_of(cx, &reduction, &r)); /* for its message */
    HG_TRY(warn_of_sizes(cx, x, y));
    hg_scope_begin(cx, &s);
    broadcast(cx, &x, &y);
    hg_arg args[] = {T(x), T(y), reduction, number};
    return hg_scope_return(cx, &s, hg_x(cx, op, args, hg_given(&number) ? 4 : 3), out);
}

/* |x - y|, or with a weight that times a power of it: written out, as torch does. */
static hg_status written_out(hg_ctx *cx, const hg_arg *a, const hg_arg *reduction, const hg_arg *weight, bool square,
                             hg_tensor **out) {
    hg_reduction r = HG_REDUCE_NONE;
    hg_scope s;
    HG_TRY(hg_reduction_of(cx, reduction, &r));
    HG_TRY(warn_of_sizes(cx, a[0].u.t, a[1].u.t));
    hg_scope_begin(cx, &s);
    hg_tensor *d = X(SUB, a[0], a[1]);
    hg_tensor *loss = square ? X(POW_SCALAR, T(d), hg_i(2)) : X(ABS, T(d));
    if (weight && hg_given(weight)) {
        loss = X(MUL, T(loss), *weight);
        if (r == HG_REDUCE_MEAN) {
            hg_tensor *total = X(SUM, *weight), *sum = X(SUM, T(loss));
            return hg_scope_return(cx, &s, X(DIV, T(sum), T(total)), out);
        }
    }
    return hg_scope_return(cx, &s, hg_reduce(cx, loss, r), out);
}

/* input, target, reduction, weight */
hg_status hg_mse_loss_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (hg_given(&a[3])) return written_out(cx, a, &a[2], &a[3], true, out);
    return compare(cx, HG_OP_MSE_LOSS_DATA, a, a[2], HG_NONE, out);
}
hg_status hg_l1_loss_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return written_out(cx, a, &a[2], &a[3], false, out);
}

/* input, target, reduction, beta */
hg_status hg_smooth_l1_loss_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[3].u.f < 0) return hg_fail(cx, HG_STATE, "smooth_l1_loss does not support negative values for beta.");
    if (a[3].u.f == 0) return written_out(cx, a, &a[2], NULL, false, out);
    return compare(cx, HG_OP_SMOOTH_L1_DATA, a, a[2], a[3], out);
}

/* Does the result of both go where `to` is, whose memory torch writes it to? */
static hg_status check_kept(hg_ctx *cx, const hg_tensor *to, const hg_tensor *other) {
    hg_dtype d = (hg_dtype)to->dtype;
    return hg_check_cast(cx, hg_dtype_promote(d, (hg_dtype)other->dtype), d);
}

/* input, target, reduction, delta */
hg_status hg_huber_loss_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[3].u.f <= 0) return hg_fail(cx, HG_STATE, "huber_loss does not support non-positive values for delta.");
    HG_TRY(check_kept(cx, a[0].u.t, a[1].u.t));
    hg_dtype kept = (hg_dtype)a[0].u.t->dtype;
    if (hg_result_type(cx, a, 2) == kept) return compare(cx, HG_OP_HUBER_DATA, a, a[2], a[3], out);
    hg_reduction r = HG_REDUCE_NONE;
    hg_tensor *each = NULL;
    hg_scope s;
    HG_TRY(hg_reduction_of(cx, &a[2], &r));
    HG_TRY(compare(cx, HG_OP_HUBER_DATA, a, hg_s("none"), a[3], &each)); /* each rounded before they are summed */
    hg_scope_begin(cx, &s);
    hg_status st = hg_scope_return(cx, &s, hg_reduce(cx, X(TO_COPY, T(each), hg_d(kept)), r), out);
    hg_release(cx, each);
    return st;
}

/* input, target, weight, reduction */
hg_status hg_binary_cross_entropy_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t, *y = a[1].u.t;
    char xs[256], ys[256];
    hg_scope s;
    if (!hg_same_shape(x, y))
        return hg_fail(cx, HG_VALUE,
                       "Using a target size (torch.Size(%s)) that is different to the input size (torch.Size(%s)) is "
                       "deprecated. Please ensure they have the same size.",
                       hg_show_shape(y, ys), hg_show_shape(x, xs));
    HG_TRY(hg_refuse_gradient(cx, &a[2], "binary_cross_entropy", "weight"));
    hg_scope_begin(cx, &s);
    hg_arg weight = a[2];
    if (hg_given(&weight)) weight = T(X(EXPAND, weight, hg_ints(x->shape, x->n_dim)));
    return hg_scope_return(cx, &s, X(BCE_DATA, a[0], a[1], weight, a[3]), out);
}

/* input, target, weight, reduction, pos_weight */
hg_status hg_bce_with_logits_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t, *y = a[1].u.t;
    char xs[256], ys[256];
    hg_scope s;
    hg_reduction r = HG_REDUCE_NONE;
    HG_TRY(hg_reduction_of(cx, &a[3], &r));
    if (!hg_same_shape(x, y))
        return hg_fail(cx, HG_VALUE, "Target size (torch.Size(%s)) must be the same as input size (torch.Size(%s))",
                       hg_show_shape(y, ys), hg_show_shape(x, xs));
    HG_TRY(check_kept(cx, y, x));
    HG_TRY(hg_refuse_gradient(cx, &a[2], "binary_cross_entropy_with_logits", "weight"));
    HG_TRY(hg_refuse_gradient(cx, &a[4], "binary_cross_entropy_with_logits", "pos_weight"));
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(BCE_LOGITS_DATA, a[0], a[1], a[2], a[4], a[3]), out);
}

/* input (of log probabilities), target, reduction, log_target */
hg_status hg_kl_div_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t;
    bool batch_mean = strcmp(a[2].u.s, "batchmean") == 0;
    hg_reduction r = HG_REDUCE_SUM;
    hg_scope s;
    if (!hg_dtype_is_float(x->dtype) || !hg_dtype_is_float(a[1].u.t->dtype))
        return hg_fail(cx, HG_STATE, "kl_div: Integral inputs not supported.");
    if (!batch_mean) HG_TRY(hg_reduction_of(cx, &a[2], &r));
    hg_scope_begin(cx, &s);
    /* the right operand first, as torch's compiler has it */
    hg_tensor *right = a[3].u.i ? X(SUB, a[1], a[0]) : X(MUL, a[1], a[0]);
    hg_tensor *loss = a[3].u.i ? X(MUL, T(X(EXP, a[1])), T(right)) : X(SUB, T(X(XLOGY, a[1], a[1])), T(right));
    loss = hg_reduce(cx, loss, r);
    if (batch_mean && x->n_dim) loss = XN(DIV, T(loss), hg_i(x->shape[0]));
    return hg_scope_return(cx, &s, loss, out);
}
