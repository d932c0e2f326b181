/* Losses over classes: the negative log likelihood, and cross entropy, which is made of it. */
#include "loss_impl.h"

#include <string.h>

/* ---- Negative log likelihood -------------------------------------------------------------------------------------------------

   input is (n, classes, plane) and target (n, plane): a plane is one element for plain classification. With one dimension,
   input is one sample. The op has a second result, the sum of the weights, which its mean is divided by. It is linear in
   input, and its derivative's derivative is itself. */

enum { SELF, TARGET, WEIGHT, REDUCTION, IGNORE };

typedef struct nll {
    int64_t n, classes, plane, ignore;
    const int64_t *target;
    const double *weight; /* may be NULL */
    hg_reduction reduction;
} nll;

static void set_nll(nll *p, int n_dim, const int64_t *shape) {
    *p = (nll){.n = n_dim > 1 ? shape[0] : 1, .classes = shape[n_dim > 1], .plane = 1};
    for (int i = 2; i < n_dim; i++) p->plane *= shape[i];
}

static double weight_of(const nll *p, int64_t class) {
    return class == p->ignore ? 0 : p->weight ? p->weight[class] : 1;
}

#define NLL_LOOPS(REAL, suffix)                                                                                        \
    static void nll_##suffix(const nll *p, const void *input, void *output, void *total) {                             \
        const REAL *x = input;                                                                                         \
        REAL *y = output;                                                                                              \
        double sum = 0, weights = 0;                                                                                   \
        for (int64_t i = 0; i < p->n; i++)                                                                             \
            for (int64_t k = 0; k < p->plane; k++) {                                                                   \
                int64_t t = p->target[i * p->plane + k];                                                               \
                double w = weight_of(p, t), v = t == p->ignore ? 0 : -w * x[(i * p->classes + t) * p->plane + k];      \
                if (p->reduction == HG_REDUCE_NONE) *y++ = (REAL)v;                                                    \
                sum += v, weights += w;                                                                                \
            }                                                                                                          \
        if (p->reduction != HG_REDUCE_NONE) *y = (REAL)(p->reduction == HG_REDUCE_MEAN ? sum / weights : sum);         \
        *(REAL *)total = (REAL)(p->reduction == HG_REDUCE_NONE ? 0 : weights);                                         \
    }                                                                                                                  \
    static void nll_backward_##suffix(const nll *p, const void *grad, const void *total, void *result) {               \
        const REAL *g = grad;                                                                                          \
        REAL *to = result;                                                                                             \
        double by = p->reduction == HG_REDUCE_MEAN ? *(const REAL *)total : 1;                                         \
        for (int64_t i = 0; i < p->n; i++)                                                                             \
            for (int64_t k = 0; k < p->plane; k++) {                                                                   \
                int64_t t = p->target[i * p->plane + k];                                                               \
                double each = p->reduction == HG_REDUCE_NONE ? g[i * p->plane + k] : *g / by;                          \
                if (t != p->ignore) to[(i * p->classes + t) * p->plane + k] = (REAL)(-weight_of(p, t) * each);         \
            }                                                                                                          \
    }
NLL_LOOPS(float, f32)
NLL_LOOPS(double, f64)
#undef NLL_LOOPS

/* Targets as int64, each a class or to be ignored. */
static hg_status take_target(hg_ctx *cx, hg_tensor *target, nll *p, hg_tensor **out) {
    hg_tensor *t;
    char word[16];
    if (target->dtype != HG_I64 && target->dtype != HG_U8)
        return hg_fail(cx, HG_STATE, "expected target dtype to be Long or Byte, but got %s",
                       hg_dtype_word((hg_dtype)target->dtype, word));
    HG_TRY(hg_real(cx, target, HG_I64, &t));
    p->target = (const int64_t *)(const void *)t->data;
    for (int64_t i = 0; i < t->numel; i++)
        if (p->target[i] != p->ignore && (p->target[i] < 0 || p->target[i] >= p->classes)) {
            long long bad = p->target[i];
            hg_release(cx, t);
            return hg_fail(cx, HG_INDEX, "Target %lld is out of bounds.", bad);
        }
    *out = t;
    return HG_OK;
}

static hg_status take_operands(hg_ctx *cx, const hg_arg *target, const hg_arg *weight, const hg_arg *reduction,
                               const hg_arg *ignore, nll *p, hg_tensor **t, hg_tensor **w) {
    p->ignore = ignore->u.i;
    HG_TRY(hg_reduction_of(cx, reduction, &p->reduction));
    HG_TRY(take_target(cx, target->u.t, p, t));
    HG_TRY(hg_real(cx, hg_given(weight) ? weight->u.t : NULL, HG_F64, w));
    if (*w) p->weight = (const double *)(const void *)(*w)->data;
    return HG_OK;
}

/* self, target, weight, reduction, ignore_index -> loss, total weight */
hg_status hg_nll_data_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[SELF].u.t, *rx = NULL, *t = NULL, *w = NULL, *y = NULL, *total = NULL;
    hg_dtype d = (hg_dtype)x->dtype, real = hg_real_dtype(d);
    nll p;
    if (!hg_dtype_is_float(d)) return hg_no_kernel(cx, "nll_loss_out_frame", d);
    set_nll(&p, x->n_dim, x->shape);
    hg_status st = take_operands(cx, &a[TARGET], &a[WEIGHT], &a[REDUCTION], &a[IGNORE], &p, &t, &w);
    if (st == HG_OK && w && a[WEIGHT].u.t->dtype != d) st = hg_unlike(cx, (uint8_t)d, a[WEIGHT].u.t->dtype);
    if (st == HG_OK) st = hg_real(cx, x, real, &rx);
    const hg_tensor *like = a[TARGET].u.t;
    if (st == HG_OK) st = hg_tensor_empty(cx, real, p.reduction == HG_REDUCE_NONE ? like->n_dim : 0, like->shape, &y);
    if (st == HG_OK) st = hg_tensor_empty(cx, real, 0, NULL, &total);
    if (st == HG_OK) {
        (real == HG_F64 ? nll_f64 : nll_f32)(&p, rx->data, y->data, total->data);
        st = hg_real_result(cx, y, d, &out[0]);
        y = NULL;
    }
    if (st == HG_OK) st = hg_real_result(cx, total, d, &out[1]), total = NULL;
    hg_release(cx, rx), hg_release(cx, t), hg_release(cx, w), hg_release(cx, y), hg_release(cx, total);
    return st;
}

hg_status hg_nll_data_bwd(hg_ctx *cx, hg_back *b) {
    int op = b->info->id == HG_OP_NLL_DATA ? HG_OP_NLL_BACKWARD : HG_OP_NLL_BACKWARD_2D;
    if (!G) return HG_OK;
    hg_arg a[] = {T(G), T(IN(SELF)), T(IN(TARGET)), hg_t(IN(WEIGHT)), *ARG(REDUCTION), *ARG(IGNORE), T(OUT(1))};
    GIVE(SELF, hg_x(cx, op, a, 7));
    return HG_OK;
}

/* grad_output, self, target, weight, reduction, ignore_index, total_weight */
hg_status hg_nll_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *g = a[0].u.t, *rg = NULL, *t = NULL, *w = NULL, *total = NULL, *x = NULL;
    const hg_tensor *like = a[1].u.t;
    hg_dtype d = (hg_dtype)g->dtype, real = hg_real_dtype(d);
    nll p;
    set_nll(&p, like->n_dim, like->shape);
    hg_status st = take_operands(cx, &a[2], &a[3], &a[4], &a[5], &p, &t, &w);
    if (st == HG_OK) st = hg_real(cx, g, real, &rg);
    if (st == HG_OK) st = hg_real(cx, a[6].u.t, real, &total);
    if (st == HG_OK) st = hg_tensor_empty(cx, real, like->n_dim, like->shape, &x);
    if (st == HG_OK) {
        memset(x->data, 0, (size_t)x->numel * hg_dtypes[real].size);
        (real == HG_F64 ? nll_backward_f64 : nll_backward_f32)(&p, rg->data, total->data, x->data);
        st = hg_real_result(cx, x, d, out);
    }
    hg_release(cx, rg), hg_release(cx, t), hg_release(cx, w), hg_release(cx, total);
    return st;
}

hg_status hg_nll_backward_bwd(hg_ctx *cx, hg_back *b) {
    int op = b->info->id == HG_OP_NLL_BACKWARD ? HG_OP_NLL_DATA : HG_OP_NLL_DATA_2D;
    hg_arg a[] = {T(G), T(IN(2)), hg_t(IN(3)), *ARG(4), *ARG(5)};
    if (NEED(0)) GIVE(0, hg_x(cx, op, a, 5));
    if (NEED(1)) GIVE(1, X(ZEROS_LIKE, T(G)));
    return HG_OK;
}

/* ---- As torch spells it ------------------------------------------------------------------------------------------------------ */

static hg_status check_weight(hg_ctx *cx, const hg_arg *weight, int64_t classes, const char *who) {
    char words[256];
    const hg_tensor *w = hg_given(weight) ? weight->u.t : NULL;
    if (!w || (w->n_dim == 1 && w->numel == classes)) return HG_OK;
    return hg_fail(cx, HG_STATE,
                   "%sweight tensor should be defined either for all %lld classes or no classes but got weight tensor "
                   "of shape: %s",
                   who, (long long)classes, hg_show_shape(w, words));
}

static hg_status check_shapes(hg_ctx *cx, const hg_tensor *x, const hg_tensor *t, const hg_arg *weight) {
    char xs[256], ts[256];
    bool planes = x->n_dim > 2;
    if (x->n_dim < 1) return hg_fail(cx, HG_VALUE, "Expected 1 or more dimensions (got 0)");
    if (x->n_dim != 1 && (t->n_dim == 0 || x->shape[0] != t->shape[0]))
        return hg_fail(cx, HG_VALUE, "Expected input batch_size (%lld) to match target batch_size (%lld).",
                       (long long)x->shape[0], (long long)(t->n_dim ? t->shape[0] : 0));
    if (!planes && t->n_dim > 1)
        return hg_fail(cx, HG_STATE, "0D or 1D target tensor expected, multi-target not supported");
    if (x->n_dim == 1 && t->numel != 1)
        return hg_fail(cx, HG_VALUE, "For 1D input, 1D target must have size 1, but got target size: %lld",
                       (long long)t->numel);
    bool same = !planes || (t->n_dim == x->n_dim - 1 &&
                            memcmp(t->shape + 1, x->shape + 2, (size_t)(x->n_dim - 2) * sizeof *t->shape) == 0);
    if (!same && x->n_dim == 4 && t->n_dim != 3)
        return hg_fail(cx, HG_STATE,
                       "only batches of spatial targets supported (3D tensors) but got targets of dimension: %d",
                       t->n_dim);
    if (!same && x->n_dim == 4)
        return hg_fail(cx, HG_STATE, "size mismatch (got input: %s , target: %s", hg_show_shape(x, xs),
                       hg_show_shape(t, ts));
    if (!same) {
        int64_t want[HG_MAX_DIM];
        memcpy(want, x->shape, x->n_dim * sizeof *want);
        want[1] = want[0];
        return hg_fail(cx, HG_STATE, "Expected target size %s, got %s", hg_show_sizes(x->n_dim - 1, want + 1, xs),
                       hg_show_shape(t, ts));
    }
    HG_TRY(hg_refuse_gradient(cx, weight, planes ? "nll_loss2d_forward" : "nll_loss_forward", "weight"));
    return check_weight(cx, weight, x->shape[x->n_dim > 1], "");
}

/* Within a scope. Shapes torch has no kernel for pass through (n, classes, 1, rest). */
static hg_tensor *nll_loss(hg_ctx *cx, hg_tensor *x, hg_tensor *t, hg_arg weight, hg_arg reduction, hg_arg ignore) {
    hg_reduction r = HG_REDUCE_NONE;
    if (!x) return NULL;
    if (hg_scope_fail(cx, hg_reduction_of(cx, &reduction, &r)) != HG_OK) return NULL;
    if (hg_scope_fail(cx, check_shapes(cx, x, t, &weight)) != HG_OK) return NULL;
    if (x->n_dim <= 2) return X(NLL_DATA, T(x), T(t), weight, reduction, ignore);
    if (x->n_dim == 4) return X(NLL_DATA_2D, T(x), T(t), weight, reduction, ignore);
    int64_t rest = 1;
    for (int i = 2; i < x->n_dim; i++) rest *= x->shape[i];
    int64_t flat[] = {x->shape[0], x->shape[1], 1, rest}, flat_t[] = {x->shape[0], 1, rest};
    hg_tensor *fx = X(VIEW_SIZE, T(X(CONTIGUOUS, T(x))), hg_ints(flat, 4));
    hg_tensor *ft = X(VIEW_SIZE, T(X(CONTIGUOUS, T(t))), hg_ints(flat_t, 3));
    hg_tensor *y = X(NLL_DATA_2D, T(fx), T(ft), weight, reduction, ignore);
    return r == HG_REDUCE_NONE ? X(VIEW_SIZE, T(y), hg_ints(t->shape, t->n_dim)) : y;
}

/* input, target, weight, ignore_index, reduction */
hg_status hg_nll_loss_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, nll_loss(cx, a[0].u.t, a[1].u.t, a[2], a[4], a[3]), out);
}

/* ---- Cross entropy ------------------------------------------------------------------------------------------------------------ */

typedef struct cross {
    hg_tensor *log_p, *target;
    hg_arg weight, ignore, reduction_word;
    hg_reduction reduction;
    double smoothing;
    int class_dim;
    int64_t classes;
} cross;

/* The weight, to be broadcast over log_p. */
static hg_tensor *wide_weight(hg_ctx *cx, const cross *c) {
    int64_t shape[HG_MAX_DIM];
    for (int i = 0; i < c->log_p->n_dim; i++) shape[i] = i == c->class_dim ? c->classes : 1;
    return X(VIEW_SIZE, c->weight, hg_ints(shape, c->log_p->n_dim));
}

/* The target gives the probability of every class. */
static hg_tensor *by_probabilities(hg_ctx *cx, const cross *c) {
    int64_t dim = c->class_dim;
    hg_tensor *p = c->target;
    if (c->smoothing > 0) {
        p = X(MUL, T(p), hg_f(1 - c->smoothing));
        p = X(ADD, T(p), hg_f(c->smoothing / (double)c->classes));
    }
    hg_tensor *each = X(MUL, T(c->log_p), T(p));
    if (hg_given(&c->weight)) each = X(MUL, T(each), T(wide_weight(cx, c)));
    if (c->reduction == HG_REDUCE_NONE) return X(NEG, T(X(SUM_DIM, T(each), hg_ints(&dim, 1))));
    hg_tensor *sum = X(NEG, T(X(SUM, T(each))));
    if (c->reduction == HG_REDUCE_SUM) return sum;
    return X(DIV_SCALAR, T(sum), hg_i(c->classes ? c->log_p->numel / c->classes : 0)); /* of nothing: nan */
}

/* Class numbers, of which every other class gets its share. */
static hg_tensor *by_smoothing(hg_ctx *cx, const cross *c) {
    int64_t dim = c->class_dim;
    hg_tensor *nll = nll_loss(cx, c->log_p, c->target, c->weight, c->reduction_word, c->ignore), *smooth = c->log_p;
    if (hg_given(&c->weight)) smooth = X(MUL, T(smooth), T(wide_weight(cx, c)));
    smooth = X(NEG, T(X(SUM_DIM, T(smooth), hg_ints(&dim, 1))));
    hg_tensor *ignored = X(EQ, T(c->target), c->ignore);
    smooth = X(MASKED_FILL, T(smooth), T(ignored), hg_i(0));
    if (c->reduction != HG_REDUCE_NONE) smooth = X(SUM, T(smooth));
    if (c->reduction == HG_REDUCE_MEAN && hg_given(&c->weight)) {
        hg_tensor *safe = X(MASKED_FILL, T(c->target), T(ignored), hg_i(0));
        hg_tensor *w = X(GATHER, c->weight, hg_i(0), T(X(FLATTEN, T(safe))));
        w = X(MASKED_FILL, T(w), T(X(FLATTEN, T(ignored))), hg_i(0));
        smooth = X(DIV, T(smooth), T(X(SUM, T(w))));
    } else if (c->reduction == HG_REDUCE_MEAN) {
        smooth = X(DIV, T(smooth), T(X(SUM, T(X(LOGICAL_NOT, T(ignored))))));
    }
    smooth = X(MUL_SCALAR, T(smooth), hg_f(c->smoothing / (double)c->classes));
    nll = X(MUL_SCALAR, T(nll), hg_f(1 - c->smoothing));
    return X(ADD, T(nll), T(smooth));
}

/* input, target, weight, ignore_index, reduction, label_smoothing */
hg_status hg_cross_entropy_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *t = a[1].u.t;
    cross c = {.target = t, .weight = a[2], .ignore = a[3], .reduction_word = a[4], .smoothing = a[5].u.f};
    char word[16];
    hg_scope s;
    HG_TRY(hg_reduction_of(cx, &a[4], &c.reduction));
    bool probabilities = hg_same_shape(x, t);
    if (probabilities && !hg_dtype_is_float((hg_dtype)t->dtype))
        return hg_fail(cx, HG_STATE, "Expected floating point type for target with class probabilities, got %s",
                       hg_dtype_word((hg_dtype)t->dtype, word));
    if (probabilities && a[3].u.i >= 0)
        return hg_fail(cx, HG_STATE, "ignore_index is not supported for floating point target");
    if (c.smoothing > 1)
        return hg_fail(cx, HG_STATE, "label_smoothing must be between 0.0 and 1.0. Got: %g", c.smoothing);
    c.class_dim = x->n_dim > 1;
    c.classes = x->n_dim ? x->shape[c.class_dim] : 1;
    if (probabilities)
        HG_TRY(check_weight(cx, &a[2], c.classes, "cross_entropy: "));
    else if (c.smoothing > 0)
        HG_TRY(check_weight(cx, &a[2], c.classes, ""));
    hg_scope_begin(cx, &s);
    c.log_p = X(LOG_SOFTMAX_DATA, T(x), hg_i(c.class_dim));
    hg_tensor *y = NULL;
    if (c.log_p && probabilities)
        y = by_probabilities(cx, &c);
    else if (c.log_p && c.smoothing > 0)
        y = by_smoothing(cx, &c);
    else if (c.log_p)
        y = nll_loss(cx, c.log_p, t, a[2], a[4], a[3]);
    return hg_scope_return(cx, &s, y, out);
}
