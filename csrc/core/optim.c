/* One step of an optimizer: a single pass over each parameter and its state. */
#include "autograd_impl.h"
#include "iter_impl.h"
#include "k_impl.h"
#include "pool_impl.h"

#include <math.h>

/* ---- Tensors as arrays --------------------------------------------------------------------------------------------------------------- */

/* A tensor to read or update as a dense array of float or double: its own memory where that is one, else a copy's. */
typedef struct array {
    hg_tensor *tensor, *copy; /* borrowed; owned, NULL where there is none */
    void *at;
} array;

static hg_dtype array_type(const hg_tensor *t) { return t->dtype == HG_F64 ? HG_F64 : HG_F32; }

static hg_status array_copy(hg_ctx *cx, hg_dtype d, array *a) {
    hg_tensor *typed;
    hg_status st = hg_raw_cast(cx, a->tensor, d, &typed);
    if (st != HG_OK) return st;
    st = hg_raw_contiguous(cx, typed, &a->copy);
    hg_release(cx, typed);
    if (st == HG_OK) a->at = a->copy->data;
    return st;
}

static inline hg_status array_open(hg_ctx *cx, hg_tensor *t, hg_dtype d, array *a) {
    a->tensor = t, a->at = t->data;
    return t->dtype == d && t->contiguous ? HG_OK : array_copy(cx, d, a);
}

/* Write back what a copy has become, and count the operations in place that PyTorch makes of the change. */
static inline hg_status array_commit(hg_ctx *cx, array *a, int n_ops) {
    hg_status st = a->copy ? hg_raw_copy(cx, a->tensor, a->copy) : HG_OK;
    for (; st == HG_OK && n_ops; n_ops--) st = hg_wrote(cx, a->tensor);
    return st;
}

/* One that has not been opened may be closed. */
static inline void array_begin(array *a) { a->copy = NULL, a->at = NULL; }

static inline void array_close(hg_ctx *cx, const array *a) {
    if (a->copy) hg_release(cx, a->copy);
}

/* What nearly all parameters and their states are: floats of one shape that need no copy and no second thread, and of which nobody
   is told. */
static inline bool are_simple(const hg_ctx *cx, hg_tensor *const *of, int n) {
    if (cx->lib->watch.writing || of[0]->numel > HG_GRAIN) return false;
    for (int i = 0; i < n; i++)
        if (of[i]->dtype != HG_F32 || !of[i]->plain || of[i]->is_inference || !hg_same_shape(of[i], of[0]))
            return false;
    return true;
}

static inline float *floats(const hg_tensor *t) { return t ? (float *)(void *)t->data : NULL; }

static hg_status check(hg_ctx *cx, const hg_tensor *param, const hg_tensor *other, const char *what) {
    char a[256], b[256];
    if (!hg_dtype_is_float((hg_dtype)param->dtype))
        return hg_fail(cx, HG_STATE, "an optimizer updates floating parameters, got one of %s",
                       hg_dtypes[param->dtype].name);
    if (!hg_same_shape(param, other))
        return hg_fail(cx, HG_SHAPE, "%s of shape %s for a parameter of shape %s", what, hg_show_shape(other, a),
                       hg_show_shape(param, b));
    return hg_check_cast(cx, (hg_dtype)param->dtype, (hg_dtype)other->dtype);
}

/* ---- SGD -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct sgd_job {
    const hg_sgd *o;
    void *p, *grad, *buf; /* buf may be NULL */
    bool first;
} sgd_job;

/* Where torch adds a multiple it rounds once, hence fma; what it does in two ops is rounded twice. A decay of zero must not
   be added at all: it would make a nan of an infinite parameter. */
#define SGD(name, R, fma)                                                                                              \
    HG_INLINE void name##_body(const bool fused, const hg_sgd *o, int64_t n, R *restrict p, const R *restrict grad,    \
                               R *restrict buf, bool first) {                                                          \
        (void)fused;                                                                                                   \
        const R lr = (R)-o->lr, decay = (R)o->weight_decay, sign = o->maximize ? -1 : 1;                               \
        const R momentum = (R)o->momentum, fresh = (R)(1 - o->dampening);                                              \
        const bool decays = decay != 0, nesterov = o->nesterov;                                                        \
        if (!buf) {                                                                                                    \
            for (int64_t i = 0; i < n; i++) {                                                                          \
                R g = decays ? fma(decay, p[i], sign * grad[i]) : sign * grad[i];                                      \
                p[i] = fma(lr, g, p[i]);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            R g = decays ? fma(decay, p[i], sign * grad[i]) : sign * grad[i];                                          \
            R kept = momentum * buf[i];                                                                                \
            buf[i] = first ? g : fma(fresh, g, kept);                                                                  \
            p[i] = fma(lr, nesterov ? fma(momentum, buf[i], g) : buf[i], p[i]);                                        \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_OF(R, name, (const hg_sgd *o, int64_t n, R *p, const R *grad, R *buf, bool first), o, n, p, grad, buf,   \
                 first)                                                                                                \
    static void name##_range(void *arg, int64_t begin, int64_t end) {                                                  \
        const sgd_job *j = arg;                                                                                        \
        R *p = j->p, *grad = j->grad, *buf = j->buf;                                                                   \
        name(j->o, end - begin, p + begin, grad + begin, buf ? buf + begin : NULL, j->first);                          \
    }
SGD(sgd_f32, float, __builtin_fmaf)
SGD(sgd_f64, double, __builtin_fma)

static hg_status sgd_one(hg_ctx *cx, const hg_sgd *o, hg_tensor *param, hg_tensor *grad, hg_tensor **buf) {
    hg_status st = check(cx, param, grad, "gradient");
    if (st != HG_OK) return st;
    bool first = o->momentum != 0 && !*buf;
    if (*buf && (st = check(cx, param, *buf, "momentum_buffer")) != HG_OK) return st;
    if (first && (st = hg_tensor_empty(cx, (hg_dtype)param->dtype, param->n_dim, param->shape, buf)) != HG_OK)
        return st;
    hg_dtype d = array_type(param);
    array p, g, b;
    array_begin(&p), array_begin(&g), array_begin(&b);
    if ((st = hg_announce_write(cx, param)) == HG_OK) st = array_open(cx, param, d, &p);
    if (st == HG_OK) st = array_open(cx, grad, d, &g);
    if (st == HG_OK && *buf && (st = hg_announce_write(cx, *buf)) == HG_OK) st = array_open(cx, *buf, d, &b);
    if (st == HG_OK) {
        sgd_job j = {o, p.at, g.at, b.at, first};
        hg_parallel_for(param->numel, HG_GRAIN, d == HG_F64 ? sgd_f64_range : sgd_f32_range, &j);
        st = array_commit(cx, &p, 1);
        if (st == HG_OK && *buf) st = array_commit(cx, &b, first ? 0 : 2);
    }
    array_close(cx, &p), array_close(cx, &g), array_close(cx, &b);
    return st;
}

/* As sgd_one(), for simple ones. */
static inline bool sgd_at_once(hg_ctx *cx, const hg_sgd *o, hg_tensor *param, hg_tensor *grad, hg_tensor *buf) {
    if ((o->momentum != 0) != (buf != NULL) || !are_simple(cx, (hg_tensor *[]){param, grad, buf}, buf ? 3 : 2))
        return false;
    sgd_f32(o, param->numel, floats(param), floats(grad), floats(buf), false);
    ++*hg_version_of(param->storage);
    if (buf) *hg_version_of(buf->storage) += 2;
    return true;
}

hg_status hg_sgd_step(hg_ctx *cx, const hg_sgd *o, int n, hg_tensor *const *params, hg_tensor *const *grads,
                      hg_tensor **bufs) {
    for (int i = 0; i < n; i++) {
        hg_tensor *none = NULL;
        if (!grads[i] || sgd_at_once(cx, o, params[i], grads[i], bufs ? bufs[i] : NULL)) continue;
        hg_status st = sgd_one(cx, o, params[i], grads[i], bufs ? &bufs[i] : &none);
        if (st != HG_OK) return st;
    }
    return HG_OK;
}

/* ---- Adam ------------------------------------------------------------------------------------------------------------------------------- */

/* What a step's number makes of the settings. */
typedef struct adam_step {
    double number, step_size, root_correction;
} adam_step;

typedef struct adam_job {
    const hg_adam *o;
    const adam_step *s;
    const array *a; /* the parameter, its gradient, its state; the last has no memory without amsgrad */
} adam_job;

/* `has_most` is known where this is compiled: to look at memory that is not there, even under a mask of zeros, takes a hundred
   times as long as all the rest. */
#define ADAM(name, R, root, fma)                                                                                       \
    HG_INLINE void name##_all(const bool has_most, const hg_adam *o, const adam_step *s, int64_t n, R *restrict p,     \
                              const R *restrict grad, R *restrict mean, R *restrict square, R *restrict most) {        \
        const R sign = o->maximize ? -1 : 1, keep = (R)(o->decoupled ? 1 - o->lr * o->weight_decay : 1);               \
        const R decay = (R)(o->decoupled ? 0 : o->weight_decay), w1 = (R)(1 - o->beta1), w2 = (R)(1 - o->beta2);       \
        const R beta2 = (R)o->beta2, correction = (R)s->root_correction, eps = (R)o->eps, step = (R)-s->step_size;     \
        const bool decays = decay != 0;                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            R x = p[i] * keep, g = decays ? fma(decay, x, sign * grad[i]) : sign * grad[i];                            \
            R m = fma(w1, g - mean[i], mean[i]), kept = beta2 * square[i], v = fma(w2 * g, g, kept);                   \
            mean[i] = m, square[i] = v;                                                                                \
            if (has_most) v = most[i] = most[i] > v || most[i] != most[i] ? most[i] : v;                               \
            p[i] = x + step * m / (root(v) / correction + eps);                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    HG_INLINE void name##_body(const bool fused, const hg_adam *o, const adam_step *s, int64_t n, R *p, const R *grad, \
                               R *mean, R *square, R *most) {                                                          \
        (void)fused;                                                                                                   \
        if (most)                                                                                                      \
            name##_all(true, o, s, n, p, grad, mean, square, most);                                                    \
        else                                                                                                           \
            name##_all(false, o, s, n, p, grad, mean, square, NULL);                                                   \
    }                                                                                                                  \
    HG_VECTOR_OF(R, name,                                                                                              \
                 (const hg_adam *o, const adam_step *s, int64_t n, R *p, const R *grad, R *mean, R *square, R *most),  \
                 o, s, n, p, grad, mean, square, most)                                                                 \
    static void name##_range(void *arg, int64_t begin, int64_t end) {                                                  \
        const adam_job *j = arg;                                                                                       \
        R *at[5];                                                                                                      \
        for (int i = 0; i < 5; i++) at[i] = j->a[i].at ? (R *)j->a[i].at + begin : NULL;                               \
        name(j->o, j->s, end - begin, at[0], at[1], at[2], at[3], at[4]);                                              \
    }
ADAM(adam_f32, float, sqrtf, __builtin_fmaf)
ADAM(adam_f64, double, sqrt, __builtin_fma)

/* A number of steps as it is made for a parameter: a float in memory of our own. */
static inline bool is_count(const hg_tensor *step) {
    return step->dtype == HG_F32 && step->numel == 1 && step->storage && !step->storage->free;
}

static inline void set_number(const hg_adam *o, double k, adam_step *s) {
    if (s->number != k) *s = (adam_step){k, o->lr / (1 - pow(o->beta1, k)), sqrt(1 - pow(o->beta2, k))};
}

static hg_status adam_one(hg_ctx *cx, const hg_adam *o, hg_tensor *param, hg_tensor *grad, hg_tensor *mean,
                          hg_tensor *square, hg_tensor *most, hg_tensor *step, adam_step *s) {
    hg_tensor *of[5] = {param, grad, mean, square, most};
    const int n_ops[5] = {o->decoupled && o->weight_decay != 0 ? 2 : 1, 0, 1, 2, 1}, n = most ? 5 : 4;
    if (is_count(step) && are_simple(cx, of, n)) {
        set_number(o, *floats(step) + 1.0, s);
        adam_f32(o, s, param->numel, floats(param), floats(grad), floats(mean), floats(square), floats(most));
        *floats(step) = (float)s->number;
        ++*hg_version_of(step->storage);
        for (int i = 0; i < n; i++) *hg_version_of(of[i]->storage) += (uint32_t)n_ops[i];
        return HG_OK;
    }
    hg_status st = check(cx, param, grad, "gradient");
    if (st != HG_OK || (st = check(cx, param, mean, "exp_avg")) != HG_OK ||
        (st = check(cx, param, square, "exp_avg_sq")) != HG_OK ||
        (most && (st = check(cx, param, most, "max_exp_avg_sq")) != HG_OK))
        return st;
    hg_arg count;
    if ((st = hg_item(cx, step, &count)) != HG_OK) return st;
    set_number(o, hg_number_f(&count) + 1, s);
    array a[5];
    for (int i = 0; i < 5; i++) array_begin(&a[i]);
    for (int i = 0; i < n && st == HG_OK; i++) {
        if (i != 1) st = hg_announce_write(cx, of[i]);
        if (st == HG_OK) st = array_open(cx, of[i], array_type(param), &a[i]);
    }
    if (st == HG_OK) st = hg_raw_fill(cx, step, hg_f(s->number));
    if (st == HG_OK) {
        ++*hg_version_of(step->storage);
        adam_job j = {o, s, a};
        hg_parallel_for(param->numel, HG_GRAIN, array_type(param) == HG_F64 ? adam_f64_range : adam_f32_range, &j);
        for (int i = 0; i < n && st == HG_OK; i++)
            if (i != 1) st = array_commit(cx, &a[i], n_ops[i]);
    }
    for (int i = 0; i < n; i++) array_close(cx, &a[i]);
    return st;
}

hg_status hg_adam_step(hg_ctx *cx, const hg_adam *o, int n, hg_tensor *const *params, hg_tensor *const *grads,
                       hg_tensor *const *exp_avg, hg_tensor *const *exp_avg_sq, hg_tensor *const *max_exp_avg_sq,
                       hg_tensor *const *steps) {
    adam_step s = {.number = NAN}; /* most parameters have taken as many steps as the one before */
    for (int i = 0; i < n; i++) {
        if (!grads[i]) continue;
        hg_status st = adam_one(cx, o, params[i], grads[i], exp_avg[i], exp_avg_sq[i],
                                o->amsgrad && max_exp_avg_sq ? max_exp_avg_sq[i] : NULL, steps[i], &s);
        if (st != HG_OK) return st;
    }
    return HG_OK;
}
