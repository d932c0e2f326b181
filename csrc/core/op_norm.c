/* Normalisation: over the batch, over the last dimensions, over groups of channels.

   Each is an op with three results, of which the last two (a mean and one over a standard deviation) are for its derivative,
   and a fused derivative with three results: the gradients of input, weight and bias. Derivatives of those: Note [Derivatives
   of derivatives] in nn_impl.h. */
#include "iter_impl.h"
#include "lanes_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <math.h>
#include <string.h>

typedef struct batch {
    int64_t n, channels, plane, groups, rows;
} batch;

/* What a kernel reads and writes: k_norm.h. Where mean and rstd are made, they are written. */
typedef struct norm {
    batch b; /* of rows: n is their length */
    double eps;
    bool training;
    int64_t rows_a_unit;
    const void *g, *x, *weight, *bias;
    void *mean, *rstd, *y, *grad_weight, *grad_bias; /* y: what comes of x, the normalised one or its gradient */
    double *batch_mean, *batch_var;
} norm;

enum { LANES = 64, FEW = 8 };
enum { SIDE = 64, WIDE = 16 };
enum { TOGETHER = 8, FEW_TOGETHER = 8192 }; /* so many values stay in the first cache */
#define REAL                  float
#define KERNEL(name)          name##_f32
#define KERNEL_BODY(name)     name##_f32_body
#define KERNEL_VERSIONS(name) HG_VECTOR(name##_f32, (void *arg, int64_t begin, int64_t end), arg, begin, end)
#define KERNEL_FEW(name)      HG_VECTOR_FEW(name##_f32, (void *arg, int64_t begin, int64_t end), arg, begin, end)
#include "k_norm.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef KERNEL_FEW
#define REAL                  double
#define KERNEL(name)          name##_f64
#define KERNEL_BODY(name)     name##_f64_body
#define KERNEL_VERSIONS(name) HG_VECTOR_FEW(name##_f64, (void *arg, int64_t begin, int64_t end), arg, begin, end)
#define KERNEL_FEW(name)                                                                                               \
    HG_SMALL static void name##_f64(void *arg, int64_t begin, int64_t end) { name##_f64_body(false, arg, begin, end); }
#include "k_norm.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef KERNEL_FEW

/* Runs a kernel over units of `each` elements. */
#define RUN_(cx, kernel, units, each, ...)                                                                             \
    hg_work(cx, units, 1 + HG_GRAIN / 2 / (1 + (each)), kernel, &(norm){__VA_ARGS__})
#define OF(d, name)                        ((d) == HG_F64 ? name##_f64 : name##_f32)
#define RUN(cx, d, name, units, each, ...) RUN_(cx, OF(d, name), units, each, __VA_ARGS__)
/* Of batch b: the kernel for whole planes, or for planes of one value. */
#define OF_BATCH(d, b, name) ((b)->plane == 1 ? OF(d, flat_##name) : OF(d, batch_##name))

static batch batch_of(const hg_tensor *x) {
    batch b = {.n = x->shape[0], .channels = x->shape[1], .plane = 1};
    for (int i = 2; i < x->n_dim; i++) b.plane *= x->shape[i];
    return b;
}

static hg_tensor *given(const hg_arg *a) { return hg_given(a) ? a->u.t : NULL; }
static void *data_of(hg_tensor *t) { return t ? t->data : NULL; }

/* What a kernel works on: operands as contiguous tensors of one floating type, results made in it. */
enum { MAX_WORK = 8 };
typedef struct work {
    hg_dtype d;
    hg_tensor *in[MAX_WORK], *out[3];
} work;

static hg_status take(hg_ctx *cx, work *w, hg_tensor *const *in, int n) {
    for (int i = 0; i < n; i++) HG_TRY(hg_real(cx, in[i], w->d, &w->in[i]));
    return HG_OK;
}

/* Hands the results over as dtype d, the first lying as f says; whatever happened, w owns nothing afterwards. */
static hg_status hand_over(hg_ctx *cx, work *w, hg_status st, const hg_dtype d[3], hg_format f, hg_tensor **out) {
    for (int i = 0; i < MAX_WORK; i++) hg_release(cx, w->in[i]);
    for (int k = 0; k < 3; k++) {
        if (st == HG_OK)
            st = hg_real_result_as(cx, w->out[k], d[k], k ? HG_FORMAT_CONTIGUOUS : f, &out[k]);
        else
            hg_release(cx, w->out[k]);
    }
    return st;
}

static hg_status check_same_dtype(hg_ctx *cx, const hg_tensor *x, const hg_tensor *other) {
    bool half = x->dtype == HG_F16 || x->dtype == HG_BF16;
    if (!other || other->dtype == x->dtype || (half && other->dtype == HG_F32)) return HG_OK;
    return hg_fail(cx, HG_STATE, "mixed dtype (CPU): all inputs must share same datatype.");
}

/* What a derivative's op is given, which a program may call, too: n tensors of so many elements. */
static hg_status check_sizes(hg_ctx *cx, const char *op, hg_tensor *const *in, const int64_t *expected, int n) {
    for (int i = 0; i < n; i++)
        if (in[i] && in[i]->numel != expected[i])
            return hg_fail(cx, HG_SHAPE, "%s(): a tensor argument has %lld elements, expected %lld", op,
                           (long long)in[i]->numel, (long long)expected[i]);
    return HG_OK;
}

/* ---- Batch norm ----------------------------------------------------------------------------------------------------------- */

enum { B_INPUT, B_WEIGHT, B_BIAS, B_MEAN, B_VAR, B_TRAINING, B_MOMENTUM, B_EPS };

static const struct {
    int at;
    const char *name;
} per_channel[] = {{B_MEAN, "running_mean"}, {B_VAR, "running_var"}, {B_WEIGHT, "weight"}, {B_BIAS, "bias"}};

static hg_status check_batch_shapes(hg_ctx *cx, const hg_arg *a) {
    const hg_tensor *x = a[B_INPUT].u.t;
    int64_t channels = x->n_dim > 1 ? x->shape[1] : 0;
    for (int i = 0; i < 4; i++) {
        const hg_tensor *t = given(&a[per_channel[i].at]);
        if (!t && i < 2 && !a[B_TRAINING].u.i)
            return hg_fail(cx, HG_STATE, "%s must be defined in evaluation mode", per_channel[i].name);
        if (t && t->numel != channels)
            return hg_fail(cx, HG_STATE, "%s should contain %lld elements not %lld", per_channel[i].name,
                           (long long)channels, (long long)t->numel);
    }
    return HG_OK;
}

static hg_status check_batch(hg_ctx *cx, const hg_arg *a) {
    const hg_tensor *x = a[B_INPUT].u.t;
    HG_TRY(check_batch_shapes(cx, a));
    if (x->n_dim < 2) return hg_fail(cx, HG_STATE, "batch_norm: expected at least 2 dimensions, but got %d", x->n_dim);
    if (!hg_dtype_is_float((hg_dtype)x->dtype)) return hg_no_kernel(cx, "batch_norm", (hg_dtype)x->dtype);
    for (int i = 0; i < 4; i++) HG_TRY(check_same_dtype(cx, x, given(&a[per_channel[i].at])));
    if (!given(&a[B_MEAN]) != !given(&a[B_VAR]))
        return hg_fail(cx, HG_VALUE, "running_mean and running_var must either both be None or neither be None");
    return HG_OK;
}

/* running = (1 - momentum) * running + momentum * now. Like torch, without a new version: the buffer is nobody's operand. */
static hg_status update_running(hg_ctx *cx, hg_tensor *running, const double *now, double factor, double momentum,
                                int64_t n) {
    hg_tensor *work;
    int64_t shape[1] = {n};
    if (!running) return HG_OK;
    HG_TRY(hg_tensor_empty(cx, HG_F64, 1, shape, &work));
    hg_status st = hg_raw_copy(cx, work, running);
    double *at = (double *)(void *)work->data;
    for (int64_t c = 0; c < n; c++) at[c] = momentum * (now[c] * factor) + (1 - momentum) * at[c];
    if (st == HG_OK) st = hg_raw_copy(cx, running, work);
    hg_release(cx, work);
    return st;
}

/* The statistics to normalise x by, of dtype d, in training those of the batch: into mean and rstd. */
static hg_status batch_statistics(hg_ctx *cx, const hg_arg *a, const batch *b, hg_dtype d, const void *x, void *mean,
                                  void *rstd) {
    double *stats = hg_mem(cx, 2 * (size_t)b->channels * sizeof *stats), *var = stats + b->channels;
    hg_status st = HG_OK;
    if (!stats) return HG_MEMORY;
    int64_t count = b->n * b->plane;
    if (a[B_TRAINING].u.i) {
        RUN_(cx, OF_BATCH(d, b, stats), b->channels, count, .b = *b, .x = x, .batch_mean = stats, .batch_var = var);
        st = update_running(cx, given(&a[B_MEAN]), stats, 1, a[B_MOMENTUM].u.f, b->channels);
        if (st == HG_OK)
            st = update_running(cx, given(&a[B_VAR]), var, (double)count / (double)(count - 1), a[B_MOMENTUM].u.f,
                                b->channels);
    } else {
        hg_tensor *wrapped[2] = {given(&a[B_MEAN]), given(&a[B_VAR])}, *as_f64;
        for (int i = 0; i < 2 && st == HG_OK; i++) {
            if ((st = hg_real(cx, wrapped[i], HG_F64, &as_f64)) != HG_OK) break;
            memcpy(stats + i * b->channels, as_f64->data, (size_t)b->channels * sizeof *stats);
            hg_release(cx, as_f64);
        }
    }
    for (int64_t c = 0; c < b->channels && st == HG_OK; c++) {
        double spread = var[c] + a[B_EPS].u.f, invstd = spread != 0 ? 1 / sqrt(spread) : 0;
        if (d == HG_F64)
            ((double *)mean)[c] = stats[c], ((double *)rstd)[c] = invstd;
        else
            ((float *)mean)[c] = (float)stats[c], ((float *)rstd)[c] = (float)invstd;
    }
    hg_mem_free(cx->lib, stats);
    return st;
}

hg_status hg_native_batch_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[B_INPUT].u.t, *in[] = {x, given(&a[B_WEIGHT]), given(&a[B_BIAS])};
    HG_TRY(check_batch(cx, a));
    batch b = batch_of(x);
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    const hg_dtype d[] = {(hg_dtype)x->dtype, w.d, w.d};
    hg_status st = take(cx, &w, in, 3);
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) st = hg_tensor_empty(cx, w.d, 1, &b.channels, &w.out[k]);
    if (st == HG_OK) st = batch_statistics(cx, a, &b, w.d, w.in[0]->data, w.out[1]->data, w.out[2]->data);
    if (st == HG_OK)
        RUN_(cx, OF_BATCH(w.d, &b, norm), b.plane == 1 ? b.channels : b.n * b.channels, b.plane == 1 ? b.n : b.plane,
             .b = b, .x = w.in[0]->data, .mean = w.out[1]->data, .rstd = w.out[2]->data, .weight = data_of(w.in[1]),
             .bias = data_of(w.in[2]), .y = w.out[0]->data);
    for (int k = 1; k < 3 && st == HG_OK && !a[B_TRAINING].u.i; k++) { /* the derivative has the running ones */
        hg_release(cx, w.out[k]), w.out[k] = NULL;
        st = hg_tensor_empty(cx, w.d, 1, (int64_t[]){0}, &w.out[k]);
    }
    return hand_over(cx, &w, st, d, hg_format_of(x), out);
}

/* The gradients a fused row gives, where any but the bias's is wanted. */
static void give_fused(hg_ctx *cx, hg_back *b, int op, const hg_arg *a, int n) {
    hg_tensor *got[3] = {NULL};
    if (!hg_scope_ok(cx)) return;
    hg_status st = hg_call_op(cx, op, a, n, got);
    hg_scope_fail(cx, st);
    for (int i = 0; i < 3 && st == HG_OK; i++) {
        if (NEED(i)) GIVE(i, got[i]);
        hg_release(cx, got[i]);
    }
}

hg_status hg_native_batch_norm_bwd(hg_ctx *cx, hg_back *b) {
    if (!G) return HG_OK;
    if (!NEED(B_INPUT) && !NEED(B_WEIGHT) && !cx->grad_enabled) {
        int64_t dims[HG_MAX_DIM];
        for (int i = 0; i < G->n_dim; i++) dims[i] = i < 1 ? 0 : i + 1;
        GIVE(B_BIAS, X(SUM_DIM, T(G), hg_ints(dims, G->n_dim - 1)));
        return HG_OK;
    }
    hg_arg a[] = {T(G),        T(IN(B_INPUT)),   hg_t(IN(B_WEIGHT)), T(OUT(1)), T(OUT(2)), *ARG(B_TRAINING),
                  *ARG(B_EPS), hg_t(IN(B_MEAN)), hg_t(IN(B_VAR))};
    give_fused(cx, b, HG_OP_NATIVE_BATCH_NORM_BACKWARD, a, 9);
    return HG_OK;
}

/* grad, input, weight, mean, invstd, training, eps, and the running statistics, which stand for mean and invstd where it is not
   training */
hg_status hg_native_batch_norm_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[1].u.t, *in[] = {a[0].u.t, x, given(&a[2]), a[3].u.t, a[4].u.t};
    if (x->n_dim < 2) return hg_fail(cx, HG_SHAPE, "native_batch_norm_backward(): input has %d dimensions", x->n_dim);
    batch b = batch_of(x);
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    hg_dtype param = in[2] ? (hg_dtype)in[2]->dtype : (hg_dtype)x->dtype;
    const hg_dtype d[] = {(hg_dtype)x->dtype, param, param};
    const bool training = a[5].u.i;
    hg_tensor *stats[] = {in[0], in[2], training ? in[3] : given(&a[7]), training ? in[4] : given(&a[8])};
    HG_TRY(check_sizes(cx, "native_batch_norm_backward", stats,
                       (int64_t[]){x->numel, b.channels, b.channels, b.channels}, 4));
    if (!stats[2] || !stats[3])
        return hg_fail(cx, HG_STATE, "running_mean and running_var must be defined in evaluation mode");
    hg_status st = take(cx, &w, in, training ? 5 : 3);
    for (int k = 3; k < 5 && st == HG_OK && !training; k++) st = hg_tensor_empty(cx, w.d, 1, &b.channels, &w.in[k]);
    if (st == HG_OK && !training) {
        const hg_arg running[] = {[B_MEAN] = a[7], [B_VAR] = a[8], [B_TRAINING] = hg_b(false), [B_EPS] = a[6]};
        st = batch_statistics(cx, running, &b, w.d, NULL, w.in[3]->data, w.in[4]->data);
    }
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) st = hg_tensor_empty(cx, w.d, 1, &b.channels, &w.out[k]);
    if (st == HG_OK)
        RUN_(cx, OF_BATCH(w.d, &b, backward), b.channels, b.n * b.plane, .b = b, .training = training,
             .g = w.in[0]->data, .x = w.in[1]->data, .mean = w.in[3]->data, .rstd = w.in[4]->data,
             .weight = data_of(w.in[2]), .y = w.out[0]->data, .grad_weight = w.out[1]->data,
             .grad_bias = w.out[2]->data);
    return hand_over(cx, &w, st, d, hg_format_of(x), out);
}

/* Per channel, to be broadcast over (n, channels, ...). */
static hg_tensor *along_channels(hg_ctx *cx, hg_tensor *t, int n_dim) {
    int64_t shape[HG_MAX_DIM];
    if (!t) return NULL;
    for (int i = 0; i < n_dim; i++) shape[i] = i == 1 ? -1 : 1;
    return X(RESHAPE, T(t), hg_ints(shape, n_dim));
}

static hg_tensor *normalise(hg_ctx *cx, hg_tensor *x, const hg_arg *dims, double eps) {
    hg_tensor *centred = X(SUB, T(x), T(X(MEAN_DIM, T(x), *dims, hg_b(true))));
    hg_tensor *var = X(MEAN_DIM, T(X(MUL, T(centred), T(centred))), *dims, hg_b(true));
    return X(MUL, T(centred), T(X(RSQRT, T(X(ADD, T(var), hg_f(eps))))));
}

static hg_tensor *scale(hg_ctx *cx, hg_tensor *y, hg_tensor *weight, hg_tensor *bias) {
    if (weight) y = X(MUL, T(y), T(weight));
    return bias ? X(ADD, T(y), T(bias)) : y;
}

static hg_tensor *batch_norm_formula(hg_ctx *cx, hg_back *b, hg_tensor *const *in) {
    int64_t dims[HG_MAX_DIM];
    hg_tensor *x = in[0], *y;
    if (!x) return NULL;
    int n = x->n_dim;
    for (int i = 0; i < n; i++) dims[i] = i < 1 ? 0 : i + 1;
    hg_arg over = hg_ints(dims, n - 1);
    if (ARG(5)->u.i) {
        y = normalise(cx, x, &over, ARG(6)->u.f);
    } else {
        hg_tensor *centred = X(SUB, T(x), T(along_channels(cx, IN(7), n)));
        y = X(MUL, T(centred), T(along_channels(cx, X(RSQRT, T(X(ADD, T(IN(8)), hg_f(ARG(6)->u.f)))), n)));
    }
    return scale(cx, y, along_channels(cx, in[1], n), along_channels(cx, in[2], n));
}

hg_status hg_native_batch_norm_backward_bwd(hg_ctx *cx, hg_back *b) {
    static const int params[] = {1, 2, -1};
    return hg_derive(cx, b, 3, params, batch_norm_formula);
}

/* Of an empty batch nothing is learned, the running statistics neither: the parameters get gradients of zero. */
static hg_tensor *batch_norm_of_nothing(hg_ctx *cx, hg_arg x, hg_arg weight, hg_arg bias) {
    hg_tensor *y = X(CLONE, x);
    if (hg_given(&weight)) y = X(MUL, T(y), T(X(SELECT, weight, hg_i(0), hg_i(0))));
    return hg_given(&bias) ? X(ADD, T(y), T(X(SELECT, bias, hg_i(0), hg_i(0)))) : y;
}

/* input, running_mean, running_var, weight, bias, training, momentum, eps: F.batch_norm's order, without what it checks. */
hg_status hg_batch_norm_any_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    HG_TRY(hg_refuse_gradient(cx, &a[1], "native_batch_norm", "running_mean"));
    HG_TRY(hg_refuse_gradient(cx, &a[2], "native_batch_norm", "running_var"));
    hg_scope_begin(cx, &s);
    hg_tensor *y = a[0].u.t->numel ? X(NATIVE_BATCH_NORM, a[0], a[3], a[4], a[1], a[2], a[5], a[6], a[7])
                                   : batch_norm_of_nothing(cx, a[0], a[3], a[4]);
    return hg_scope_return(cx, &s, y, out);
}

hg_status hg_batch_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t;
    char words[256];
    int64_t values = x->n_dim ? x->shape[0] : 1;
    for (int i = 2; i < x->n_dim; i++) values *= x->shape[i];
    if (a[5].u.i && values == 1 && x->n_dim > 1)
        return hg_fail(cx, HG_VALUE,
                       "Expected more than 1 value per channel when training, got input size torch.Size(%s)",
                       hg_show_shape(x, words));
    double eps = hg_number_f(&a[7]);
    bool training = a[5].u.i != 0;
    if (training ? !(eps > 0) : eps < 0)
        return hg_fail(cx, HG_VALUE, "batch_norm eps must be %s, but got %g",
                       training ? "positive during training" : "non-negative", eps);
    return hg_batch_norm_any_fwd(cx, a, out);
}

/* ---- Layer norm ----------------------------------------------------------------------------------------------------------- */

enum { L_INPUT, L_WEIGHT, L_BIAS, L_SHAPE, L_EPS };

/* `before` stands before the shape in what torch says; of rms_norm nothing does. */
static hg_status check_normalised(hg_ctx *cx, const hg_tensor *x, const hg_arg *shape, const hg_tensor *weight,
                                  const hg_tensor *bias, const char *before) {
    const struct {
        const hg_tensor *t;
        const char *name;
    } params[] = {{weight, "weight"}, {bias, "bias"}};
    char norm[256], got[256];
    int n = (int)shape->n;
    hg_show_sizes(n, shape->u.ints, norm);
    if (n < 1)
        return hg_fail(cx, HG_STATE,
                       "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
                       "but got normalized_shape = %s",
                       norm);
    for (int i = 0; i < 2; i++) {
        const hg_tensor *t = params[i].t;
        if (t && (t->n_dim != n || memcmp(t->shape, shape->u.ints, (size_t)n * sizeof *t->shape) != 0))
            return hg_fail(cx, HG_STATE,
                           "Expected %s to be of same shape as normalized_shape, but got %s of shape %s and "
                           "normalized_shape = %s",
                           params[i].name, params[i].name, hg_show_shape(t, got), norm);
    }
    if (x->n_dim < n || memcmp(x->shape + x->n_dim - n, shape->u.ints, (size_t)n * sizeof *x->shape) != 0) {
        return hg_fail(cx, HG_STATE,
                       "Given normalized_shape=%s, expected input with shape [*%s%s, but got input of size%s", norm,
                       before, norm + 1, hg_show_shape(x, got));
    }
    return HG_OK;
}

static void rows_of(const hg_tensor *x, int n_last, int64_t *rows, int64_t *n) {
    *rows = *n = 1;
    for (int i = 0; i < x->n_dim; i++) *(i < x->n_dim - n_last ? rows : n) *= x->shape[i];
}

hg_status hg_native_layer_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[L_INPUT].u.t, *in[] = {x, given(&a[L_WEIGHT]), given(&a[L_BIAS])};
    int64_t rows, n, stat[HG_MAX_DIM];
    HG_TRY(check_normalised(cx, x, &a[L_SHAPE], in[1], in[2], ", "));
    if (!hg_dtype_is_float((hg_dtype)x->dtype)) return hg_no_kernel(cx, "LayerNormKernelImpl", (hg_dtype)x->dtype);
    for (int i = 1; i < 3; i++) HG_TRY(check_same_dtype(cx, x, in[i]));
    int n_last = (int)a[L_SHAPE].n;
    rows_of(x, n_last, &rows, &n);
    for (int i = 0; i < x->n_dim; i++) stat[i] = i < x->n_dim - n_last ? x->shape[i] : 1;
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    const hg_dtype d[] = {(hg_dtype)x->dtype, w.d, w.d};
    hg_status st = take(cx, &w, in, 3);
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) st = hg_tensor_empty(cx, w.d, x->n_dim, stat, &w.out[k]);
    if (st == HG_OK && n)
        RUN(cx, w.d, layer_norm, rows, n, .b = {.n = n}, .eps = a[L_EPS].u.f, .x = w.in[0]->data,
            .mean = w.out[1]->data, .rstd = w.out[2]->data, .weight = data_of(w.in[1]), .bias = data_of(w.in[2]),
            .y = w.out[0]->data);
    return hand_over(cx, &w, st, d, HG_FORMAT_CONTIGUOUS, out);
}

hg_status hg_native_layer_norm_bwd(hg_ctx *cx, hg_back *b) {
    if (!G) return HG_OK;
    if (!NEED(L_INPUT) && !NEED(L_WEIGHT) && !cx->grad_enabled) {
        GIVE(L_BIAS, G); /* the engine sums it to the bias's shape */
        return HG_OK;
    }
    hg_arg a[] = {T(G),      T(IN(L_INPUT)),     *ARG(L_SHAPE),    T(OUT(1)),
                  T(OUT(2)), hg_t(IN(L_WEIGHT)), hg_t(IN(L_BIAS)), *ARG(L_EPS)};
    give_fused(cx, b, HG_OP_NATIVE_LAYER_NORM_BACKWARD, a, 8);
    return HG_OK;
}

/* Rows in as many units as there are UNITS at most, whatever the number of threads: each has sums of its own for weight and
   bias, which are added up in the end. */
enum { UNITS = 8 };

static hg_status layer_norm_backward(hg_ctx *cx, const work *w, int64_t rows, int64_t n) {
    int64_t rows_a_unit = (rows + UNITS - 1) / UNITS < 16 ? 16 : (rows + UNITS - 1) / UNITS;
    int64_t units = (rows + rows_a_unit - 1) / rows_a_unit;
    size_t size = (size_t)((units ? units : 1) * n) * hg_dtypes[w->d].size;
    char *sums = hg_mem(cx, 2 * size);
    if (!sums) return HG_MEMORY;
    memset(sums, 0, 2 * size);
    RUN(cx, w->d, layer_norm_backward, units, rows_a_unit * n, .b = {.n = n, .rows = rows}, .rows_a_unit = rows_a_unit,
        .g = w->in[0]->data, .x = w->in[1]->data, .mean = w->in[3]->data, .rstd = w->in[4]->data,
        .weight = data_of(w->in[2]), .y = w->out[0]->data, .grad_weight = sums, .grad_bias = sums + size);
    for (int k = 0; k < 2; k++) {
        char *first = sums + (size_t)k * size;
        for (int64_t u = 1; u < units; u++)
            for (int64_t i = 0; i < n; i++)
                if (w->d == HG_F64)
                    ((double *)(void *)first)[i] += ((double *)(void *)first)[u * n + i];
                else
                    ((float *)(void *)first)[i] += ((float *)(void *)first)[u * n + i];
        memcpy(w->out[k + 1]->data, first, (size_t)n * hg_dtypes[w->d].size);
    }
    hg_mem_free(cx->lib, sums);
    return HG_OK;
}

/* grad, input, normalized_shape, mean, rstd, weight, bias, eps */
hg_status hg_native_layer_norm_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[1].u.t, *in[] = {a[0].u.t, x, given(&a[5]), a[3].u.t, a[4].u.t};
    const hg_arg *shape = &a[2];
    int64_t rows, n;
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    hg_dtype param = in[2] ? (hg_dtype)in[2]->dtype : (hg_dtype)x->dtype;
    const hg_dtype d[] = {(hg_dtype)x->dtype, param, param};
    HG_TRY(check_normalised(cx, x, shape, in[2], given(&a[6]), ", "));
    rows_of(x, (int)shape->n, &rows, &n);
    HG_TRY(check_sizes(cx, "native_layer_norm_backward", (hg_tensor *[]){in[0], in[3], in[4]},
                       (int64_t[]){x->numel, rows, rows}, 3));
    hg_status st = take(cx, &w, in, 5);
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) st = hg_tensor_empty(cx, w.d, (int)shape->n, shape->u.ints, &w.out[k]);
    if (st == HG_OK) st = layer_norm_backward(cx, &w, rows, n);
    return hand_over(cx, &w, st, d, HG_FORMAT_CONTIGUOUS, out);
}

static hg_tensor *layer_norm_formula(hg_ctx *cx, hg_back *b, hg_tensor *const *in) {
    int64_t dims[HG_MAX_DIM];
    int n = (int)ARG(2)->n;
    for (int i = 0; i < n; i++) dims[i] = i - n;
    hg_arg over = hg_ints(dims, n);
    return scale(cx, normalise(cx, in[0], &over, ARG(7)->u.f), in[1], in[2]);
}

hg_status hg_native_layer_norm_backward_bwd(hg_ctx *cx, hg_back *b) {
    static const int params[] = {1, 5, -1};
    return hg_derive(cx, b, 3, params, layer_norm_formula);
}

/* input, normalized_shape, weight, bias, eps */
hg_status hg_layer_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(NATIVE_LAYER_NORM, a[0], a[2], a[3], a[1], a[4]), out);
}

/* input, normalized_shape, weight, eps: without a mean. Halves are computed in float32; the result has the input's dtype, whatever
   the weight's. */
hg_status hg_rms_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *weight = given(&a[2]);
    int64_t dims[HG_MAX_DIM];
    int n = (int)a[1].n;
    hg_scope s;
    HG_TRY(check_normalised(cx, x, &a[1], weight, NULL, ""));
    if (!hg_dtype_is_float((hg_dtype)x->dtype)) return hg_no_kernel(cx, "rms_norm", (hg_dtype)x->dtype);
    for (int i = 0; i < n; i++) dims[i] = x->n_dim - 1 - i; /* as torch lists them */
    const hg_dtype given_type = (hg_dtype)x->dtype, real = hg_real_dtype(given_type);
    double eps = hg_given(&a[3]) ? a[3].u.f : given_type == HG_F64 ? 0x1p-52 : 0x1p-23;
    hg_scope_begin(cx, &s);
    if (hg_format_of(x) == HG_FORMAT_CONTIGUOUS) x = X(CONTIGUOUS, T(x)); /* what torch's kernel works on */
    if (x && given_type != real) x = X(TO_COPY, T(x), hg_d(real));
    hg_tensor *square = X(MEAN_DIM, T(X(POW_SCALAR, T(x), hg_i(2))), hg_ints(dims, n), hg_b(true));
    hg_tensor *y = X(MUL, T(x), T(X(RSQRT, T(X(ADD, T(square), hg_f(eps))))));
    y = scale(cx, y, weight, NULL);
    if (y && y->dtype != given_type) y = X(TO_COPY, T(y), hg_d(given_type));
    return hg_scope_return(cx, &s, y, out);
}

/* ---- Group norm ----------------------------------------------------------------------------------------------------------- */

enum { G_INPUT, G_WEIGHT, G_BIAS, G_GROUPS, G_EPS };

static hg_status check_groups(hg_ctx *cx, const hg_tensor *x, int64_t groups) {
    if (x->n_dim < 2 || groups <= 0 || x->shape[1] % groups)
        return hg_fail(cx, HG_SHAPE, "native_group_norm(): expected an input with channels that make %lld groups",
                       (long long)groups);
    return HG_OK;
}

hg_status hg_native_group_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[G_INPUT].u.t, *in[] = {x, given(&a[G_WEIGHT]), given(&a[G_BIAS])};
    HG_TRY(check_groups(cx, x, a[G_GROUPS].u.i));
    HG_TRY(check_sizes(cx, "native_group_norm", in + 1, (int64_t[]){x->shape[1], x->shape[1]}, 2));
    if (!hg_dtype_is_float((hg_dtype)x->dtype)) return hg_no_kernel(cx, "GroupNormKernelImpl", (hg_dtype)x->dtype);
    for (int i = 1; i < 3; i++) HG_TRY(check_same_dtype(cx, x, in[i]));
    batch b = batch_of(x);
    b.groups = a[G_GROUPS].u.i;
    int64_t stat[] = {b.n, b.groups};
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    const hg_dtype d[] = {(hg_dtype)x->dtype, w.d, w.d};
    hg_status st = take(cx, &w, in, 3);
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) st = hg_tensor_empty(cx, w.d, 2, stat, &w.out[k]);
    if (st == HG_OK)
        RUN(cx, w.d, group_norm, b.n * b.groups, b.channels / b.groups * b.plane, .b = b, .eps = a[G_EPS].u.f,
            .x = w.in[0]->data, .mean = w.out[1]->data, .rstd = w.out[2]->data, .weight = data_of(w.in[1]),
            .bias = data_of(w.in[2]), .y = w.out[0]->data);
    return hand_over(cx, &w, st, d, hg_format_of(x), out);
}

static hg_tensor *sum_along(hg_ctx *cx, hg_tensor *t, int64_t dim, bool keep) {
    return X(SUM_DIM, T(t), hg_ints(&dim, 1), hg_b(keep));
}
static hg_tensor *sum_kept(hg_ctx *cx, hg_tensor *t, int64_t dim) { /* as torch keeps the dimension */
    return X(UNSQUEEZE_, T(sum_along(cx, t, dim, false)), hg_i(dim - 4));
}

/* The gradients in terms of ops, as torch has them where they can be differentiated again, by all three results: with d the
   gradient of (x - mean) rstd weight, in groups (N, G, C/G, pixels), that of x is rstd weight d + slope x + level. */
static hg_status group_norm_by_ops(hg_ctx *cx, hg_back *b) {
    hg_tensor *input = IN(G_INPUT), *weight = IN(G_WEIGHT), *g_x = NULL;
    int64_t groups = ARG(G_GROUPS)->u.i, n = input->shape[0], channels = input->shape[1], each = channels / groups;
    int64_t pixels = input->numel / (n * channels);
    double share = 1.0 / (double)(each * pixels);
    hg_arg fine = hg_ints(((int64_t[]){n, groups, each, pixels}), 4),
           coarse = hg_ints(((int64_t[]){n, groups, 1, 1}), 4);
    hg_tensor *x = X(RESHAPE, T(input), fine), *mean = X(RESHAPE, T(OUT(1)), coarse);
    hg_tensor *rstd = X(RESHAPE, T(OUT(2)), coarse), *d = NULL, *dx = NULL, *sum = NULL;
    if (G) {
        d = X(RESHAPE, T(G), fine);
        dx = sum_kept(cx, X(MUL, T(d), T(x)), 3), sum = sum_kept(cx, d, 3);
    }
    hg_tensor *cube = NEED(G_INPUT) ? X(MUL, T(X(MUL, T(rstd), T(rstd))), T(rstd)) : NULL;
    if (NEED(G_INPUT) && G) {
        hg_tensor *w = weight ? X(RESHAPE, T(weight), hg_ints(((int64_t[]){1, groups, each, 1}), 4)) : NULL;
        hg_tensor *all_dx = sum_kept(cx, w ? X(MUL, T(dx), T(w)) : dx, 2);
        hg_tensor *all = sum_kept(cx, w ? X(MUL, T(sum), T(w)) : sum, 2);
        hg_tensor *slope = X(SUB, T(X(MUL, T(all), T(mean))), T(all_dx));
        slope = X(MUL, T(X(MUL, T(slope), T(cube))), hg_f(share));
        hg_tensor *level = X(MUL, T(X(MUL, T(all), T(rstd))), hg_f(share));
        level = X(SUB, T(X(MUL, T(X(NEG, T(slope))), T(mean))), T(level));
        g_x = X(MUL, T(w ? X(MUL, T(rstd), T(w)) : rstd), T(d));
        g_x = X(ADD, T(X(ADD, T(g_x), T(X(MUL, T(slope), T(x))))), T(level));
    }
    if (NEED(G_INPUT) && b->grad[2]) { /* rstd changes as the sum of squares does */
        hg_tensor *square = X(MUL, T(X(MUL, T(cube), T(X(RESHAPE, T(b->grad[2]), coarse)))), hg_f(-share));
        square = X(MUL, T(square), T(X(SUB, T(x), T(mean))));
        g_x = g_x ? X(ADD, T(g_x), T(square)) : square;
    }
    if (NEED(G_INPUT) && b->grad[1]) {
        hg_tensor *shift = X(EXPAND, T(X(MUL, T(X(RESHAPE, T(b->grad[1]), coarse)), hg_f(share))), fine);
        g_x = g_x ? X(ADD, T(g_x), T(shift)) : shift;
    }
    hg_arg vector = hg_ints(&channels, 1);
    if (g_x) GIVE(G_INPUT, X(RESHAPE, T(g_x), hg_ints(input->shape, input->n_dim)));
    if (NEED(G_WEIGHT) && G) {
        hg_tensor *each_of = X(MUL, T(X(SUB, T(dx), T(X(MUL, T(sum), T(mean))))), T(rstd));
        GIVE(G_WEIGHT, X(RESHAPE, T(sum_along(cx, each_of, 0, false)), vector));
    }
    if (NEED(G_BIAS) && G) GIVE(G_BIAS, X(RESHAPE, T(sum_along(cx, sum, 0, false)), vector));
    return HG_OK;
}

hg_status hg_native_group_norm_bwd(hg_ctx *cx, hg_back *b) {
    if (IN(G_INPUT) && IN(G_INPUT)->numel && (cx->grad_enabled || b->grad[1] || b->grad[2]))
        return group_norm_by_ops(cx, b);
    if (!G) return HG_OK;
    if (!NEED(G_INPUT) && !NEED(G_WEIGHT)) {
        int64_t dims[HG_MAX_DIM];
        for (int i = 0; i < G->n_dim; i++) dims[i] = i < 1 ? 0 : i + 1;
        GIVE(G_BIAS, X(SUM_DIM, T(G), hg_ints(dims, G->n_dim - 1)));
        return HG_OK;
    }
    hg_arg a[] = {T(G), T(IN(G_INPUT)), hg_t(IN(G_WEIGHT)), T(OUT(1)), T(OUT(2)), *ARG(G_GROUPS), *ARG(G_EPS)};
    give_fused(cx, b, HG_OP_NATIVE_GROUP_NORM_BACKWARD, a, 7);
    return HG_OK;
}

/* grad, input, weight, mean, rstd, num_groups, eps */
hg_status hg_native_group_norm_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[1].u.t, *in[] = {a[0].u.t, x, given(&a[2]), a[3].u.t, a[4].u.t};
    HG_TRY(check_groups(cx, x, a[5].u.i));
    batch b = batch_of(x);
    b.groups = a[5].u.i;
    HG_TRY(check_sizes(cx, "native_group_norm_backward", (hg_tensor *[]){in[0], in[2], in[3], in[4]},
                       (int64_t[]){x->numel, b.channels, b.n * b.groups, b.n * b.groups}, 4));
    work w = {.d = hg_real_dtype((hg_dtype)x->dtype)};
    hg_dtype param = in[2] ? (hg_dtype)in[2]->dtype : (hg_dtype)x->dtype;
    const hg_dtype d[] = {(hg_dtype)x->dtype, param, param};
    hg_status st = take(cx, &w, in, 5);
    if (st == HG_OK) st = hg_tensor_empty(cx, w.d, x->n_dim, x->shape, &w.out[0]);
    for (int k = 1; k < 3 && st == HG_OK; k++) {
        if ((st = hg_tensor_empty(cx, w.d, 1, &b.channels, &w.out[k])) != HG_OK) break;
        memset(w.out[k]->data, 0, (size_t)b.channels * hg_dtypes[w.d].size);
    }
    if (st == HG_OK)
        RUN(cx, w.d, group_norm_backward, b.groups, b.n * b.channels / b.groups * b.plane, .b = b, .g = w.in[0]->data,
            .x = w.in[1]->data, .mean = w.in[3]->data, .rstd = w.in[4]->data, .weight = data_of(w.in[2]),
            .y = w.out[0]->data, .grad_weight = w.out[1]->data, .grad_bias = w.out[2]->data);
    return hand_over(cx, &w, st, d, hg_format_of(x), out);
}

/* input, num_groups, weight, bias, eps */
hg_status hg_group_norm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t;
    const struct {
        const hg_tensor *t;
        const char *name;
    } params[] = {{given(&a[2]), "weight"}, {given(&a[3]), "bias"}};
    int64_t groups = a[1].u.i;
    char words[256], got[256];
    hg_scope s;
    if (x->n_dim < 2)
        return hg_fail(cx, HG_STATE, "Expected at least 2 dimensions for input tensor but received %d", x->n_dim);
    if (groups <= 0)
        return hg_fail(cx, HG_STATE, "Expected num groups to be greater than 0, got %lld", (long long)groups);
    int64_t values = x->shape[0] * x->shape[1] / groups;
    for (int i = 2; i < x->n_dim; i++) values *= x->shape[i];
    if (values == 1)
        return hg_fail(cx, HG_VALUE, "Expected more than 1 value per channel when training, got input size %s",
                       hg_show_shape(x, words));
    if (x->shape[1] % groups)
        return hg_fail(
            cx, HG_STATE,
            "Expected number of channels in input to be divisible by num_groups, but got input of shape %s and "
            "num_groups=%lld",
            hg_show_shape(x, words), (long long)groups);
    for (int i = 0; i < 2; i++) {
        const hg_tensor *t = params[i].t;
        if (t && (t->n_dim != 1 || t->numel != x->shape[1]))
            return hg_fail(cx, HG_STATE,
                           "Expected %s to be a vector of size equal to the number of channels in input, but got %s of "
                           "shape %s and input of shape %s",
                           params[i].name, params[i].name, hg_show_shape(t, got), hg_show_shape(x, words));
    }
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(NATIVE_GROUP_NORM, a[0], a[2], a[3], a[1], a[4]), out);
}
