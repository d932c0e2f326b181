/* Pooling: the maximum or the mean of windows, sliding or adaptive, of planes of two or three dimensions. One-dimensional
   pooling is two-dimensional with one row.

   All of it is described by axes, each of which says which elements an output position sees. Max pooling remembers the
   places of its maxima, so that its derivative is a scatter and the derivative of that a gather; mean pooling is linear. */
#include "iter_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { GRAIN = 1 << 15 }; /* elements for which another thread pays */

typedef struct axis {
    int64_t in, out, kernel, stride, padding, dilation;
    bool adaptive; /* output i sees [i*in/out, (i+1)*in/out), rounded outwards */
} axis;

typedef struct pool {
    int n; /* dimensions of a plane: 2, with a z of one, or 3 */
    int64_t planes;
    int64_t
        beside; /* channels that lie side by side at each place, as in channels-last images, and are one plane then; else 1 */
    axis z, y, x;
    bool count_pad;
    int64_t divisor; /* 0: the window's size */
} pool;

typedef struct span {
    int64_t from, to; /* inside of the input */
    int64_t size;     /* with padding */
} span;

static inline span span_at(const axis *a, int64_t i) {
    if (a->adaptive) {
        int64_t from = i * a->in / a->out, to = ((i + 1) * a->in + a->out - 1) / a->out;
        return (span){from, to, to - from};
    }
    int64_t from = i * a->stride - a->padding, to = from + (a->kernel - 1) * a->dilation + 1;
    int64_t padded = to < a->in + a->padding ? to : a->in + a->padding;
    span s = {from, to < a->in ? to : a->in, padded - from};
    if (s.from < 0) s.from += (-s.from + a->dilation - 1) / a->dilation * a->dilation;
    return s;
}

/* What one output position of a plane sees. */
typedef struct window {
    span slabs, rows, cols;
    int64_t z, y, x; /* the position */
    bool done;
} window;

static inline window window_first(const pool *p) {
    window w = {.done = p->z.out == 0 || p->y.out == 0 || p->x.out == 0};
    if (!w.done) w.slabs = span_at(&p->z, 0), w.rows = span_at(&p->y, 0), w.cols = span_at(&p->x, 0);
    return w;
}

static inline void window_next(const pool *p, window *w) {
    if (++w->x == p->x.out) {
        w->x = 0;
        if (++w->y == p->y.out) {
            w->y = 0;
            if (++w->z == p->z.out) {
                w->done = true;
                return;
            }
            w->slabs = span_at(&p->z, w->z);
        }
        w->rows = span_at(&p->y, w->y);
    }
    w->cols = span_at(&p->x, w->x);
}

static inline int64_t divisor(const pool *p, const window *w) {
    if (p->divisor) return p->divisor;
    if (p->count_pad) return w->slabs.size * w->rows.size * w->cols.size;
    return (w->slabs.to - w->slabs.from) * (w->rows.to - w->rows.from) * (w->cols.to - w->cols.from);
}

static inline bool sees_any(const window *w) {
    return w->slabs.from < w->slabs.to && w->rows.from < w->rows.to && w->cols.from < w->cols.to;
}

static inline int64_t plane_in(const pool *p) { return p->z.in * p->y.in * p->x.in; }
static inline int64_t numbers_in(const pool *p) { return plane_in(p) * p->beside; }
static inline int64_t numbers_out(const pool *p) { return p->z.out * p->y.out * p->x.out * p->beside; }
static inline int64_t grain(const pool *p) { return 1 + GRAIN / (numbers_in(p) + 1); }

static pool pool_of(int n) {
    pool p = {.n = n, .beside = 1};
    p.z = (axis){.in = 1, .out = 1, .kernel = 1, .stride = 1, .dilation = 1};
    return p;
}

/* The axes that a plane has, the first first. */
static axis *axis_at(pool *p, int i) {
    axis *all[3] = {&p->z, &p->y, &p->x};
    return all[3 - p->n + i];
}

/* A row of windows of a plane of two dimensions, the columns of which lie inside of it, one as many as another. */
typedef struct even {
    int64_t n, stride, kernel; /* of windows */
    int64_t first, rows, row;  /* rows of the input that they see; numbers from one to the next */
    int64_t divisor;
} even;

static bool is_even(const pool *p) {
    return p->n == 2 && !p->x.adaptive && p->x.padding == 0 && (p->x.out - 1) * p->x.stride + p->x.kernel <= p->x.in;
}

static even even_row(const pool *p, int64_t y) {
    window w = {.slabs = span_at(&p->z, 0), .rows = span_at(&p->y, y), .cols = span_at(&p->x, 0)};
    return (even){p->x.out, p->x.stride, p->x.kernel, w.rows.from, w.rows.to - w.rows.from, p->x.in, divisor(p, &w)};
}

enum { MANY = 64, LINE = 1024 }; /* windows side by side; numbers they see of a row */
#define REAL                                   float
#define KERNEL(name)                           name##_f32
#define KERNEL_BODY(name)                      name##_f32_body
#define KERNEL_VERSIONS(name, parameters, ...) HG_VECTOR(name##_f32, parameters, __VA_ARGS__)
#define KERNEL_FEW(name, parameters, ...)      HG_VECTOR_FEW(name##_f32, parameters, __VA_ARGS__)
#include "k_pool.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef KERNEL_FEW
#define REAL              double
#define KERNEL(name)      name##_f64
#define KERNEL_BODY(name) name##_f64_body
#define KERNEL_VERSIONS(name, parameters, ...)                                                                         \
    HG_SMALL static void name##_f64 parameters { name##_f64_body(false, __VA_ARGS__); }
#define KERNEL_FEW KERNEL_VERSIONS
#include "k_pool.h"
#undef REAL
#undef KERNEL
#undef KERNEL_BODY
#undef KERNEL_VERSIONS
#undef KERNEL_FEW

/* ---- Arguments ------------------------------------------------------------------------------------------------------------ */

/* n numbers, one standing for all. */
static hg_status take_sizes(hg_ctx *cx, const hg_arg *a, int n, const char *op, const char *name, int64_t to[3]) {
    if (a->kind == HG_A_INTS && (int)a->n == n)
        memcpy(to, a->u.ints, (size_t)n * sizeof *to);
    else if (a->kind == HG_A_INT || (a->kind == HG_A_INTS && a->n == 1))
        for (int i = 0; i < n; i++) to[i] = a->kind == HG_A_INT ? a->u.i : a->u.ints[0];
    else
        return hg_fail(cx, HG_STATE, "%s: %s must either be a single int, or a tuple of %s ints", op, name,
                       n == 3 ? "three" : "two");
    return HG_OK;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

static hg_status set_out(hg_ctx *cx, axis *a, bool ceil_mode) {
    int64_t reach = a->dilation * (a->kernel - 1) + 1;
    if (a->stride == 0) return hg_fail(cx, HG_STATE, "stride should not be zero");
    if (a->padding < 0)
        return hg_fail(cx, HG_STATE, "pad must be non-negative, but got pad: %lld", (long long)a->padding);
    if (a->padding > reach / 2)
        return hg_fail(cx, HG_STATE,
                       "pad should be at most half of effective kernel size, but got pad=%lld, kernel_size=%lld and "
                       "dilation=%lld",
                       (long long)a->padding, (long long)a->kernel, (long long)a->dilation);
    a->out = floor_div(a->in + 2 * a->padding - reach + (ceil_mode ? a->stride - 1 : 0), a->stride) + 1;
    if (ceil_mode && (a->out - 1) * a->stride >= a->in + a->padding)
        a->out--; /* no window starts in the padding behind */
    return HG_OK;
}

/* The sizes of an image's planes, which are its last dimensions; before them are channels and perhaps samples. */
static void set_planes(int n_dim, const int64_t *shape, pool *p) {
    p->planes = 1;
    for (int i = 0; i < n_dim - p->n; i++) p->planes *= shape[i];
    for (int i = 0; i < p->n; i++) axis_at(p, i)->in = shape[n_dim - p->n + i];
}

static bool has_channels(const hg_tensor *x, int n) { return x->n_dim == n + 1 || x->n_dim == n + 2; }

static hg_status set_image(hg_ctx *cx, const char *op, const hg_tensor *x, pool *p) {
    char words[256];
    int n = p->n;
    if (!has_channels(x, n))
        return hg_fail(cx, HG_STATE, "non-empty %dD or %dD (batch mode) tensor expected for input", n + 1, n + 2);
    for (int i = x->n_dim == n + 2; i < x->n_dim; i++) {
        if (x->shape[i]) continue;
        if (n == 3)
            return hg_fail(cx, HG_STATE,
                           "%s(): Expected input's non-batch dimensions to have positive length, but input has a shape "
                           "of %s and non-batch dimension %d has length zero!",
                           op, hg_show_shape(x, words), i - (x->n_dim - n));
        return hg_fail(cx, HG_STATE,
                       "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:%s",
                       hg_show_shape(x, words));
    }
    set_planes(x->n_dim, x->shape, p);
    return HG_OK;
}

static bool all_above(int n, const int64_t *at, int64_t least) {
    for (int i = 0; i < n; i++)
        if (at[i] <= least) return false;
    return true;
}

/* "dT: 1 dH: 2 dW: 3" */
static const char *show_axes(int n, const char *prefix, const int64_t *at, char buf[128]) {
    static const char names[] = "THW";
    int used = 0;
    for (int i = 0; i < n; i++)
        used += snprintf(buf + used, 128 - (size_t)used, "%s%s%c: %lld", i ? " " : "", prefix, names[3 - n + i],
                         (long long)at[i]);
    return buf;
}

static void show_planes(char to[96], int64_t channels, int n, const int64_t *at) { /* "2x4x5x6" */
    int used = snprintf(to, 96, "%lld", (long long)channels);
    for (int i = 0; i < n; i++) used += snprintf(to + used, 96 - (size_t)used, "x%lld", (long long)at[i]);
}

/* As in torch: so that nothing that is computed of them overflows. */
static hg_status check_ints(hg_ctx *cx, int n, const int64_t *at) {
    for (int i = 0; i < n; i++)
        if (at[i] < INT32_MIN || at[i] > INT32_MAX)
            return hg_fail(cx, HG_STATE, "value cannot be converted to type int without overflow");
    return HG_OK;
}

/* kernel, stride, padding and dilation of a sliding window; dilation may be NULL. */
static hg_status set_window(hg_ctx *cx, const char *op, const hg_tensor *x, const hg_arg *kernel, const hg_arg *stride,
                            const hg_arg *padding, const hg_arg *dilation, bool ceil_mode, pool *p) {
    int64_t k[3] = {0}, s[3], pad[3] = {0}, d[3] = {1, 1, 1}, in[3], out[3];
    char words[128];
    int n = p->n;
    bool fits = true;
    HG_TRY(take_sizes(cx, kernel, n, op, "kernel_size", k));
    memcpy(s, k, sizeof s);
    if (hg_given(stride) && !(stride->kind == HG_A_INTS && stride->n == 0))
        HG_TRY(take_sizes(cx, stride, n, op, "stride", s));
    HG_TRY(take_sizes(cx, padding, n, op, "padding", pad));
    if (dilation) HG_TRY(take_sizes(cx, dilation, n, op, "dilation", d));
    HG_TRY(check_ints(cx, n, k));
    HG_TRY(check_ints(cx, n, s));
    HG_TRY(check_ints(cx, n, pad));
    HG_TRY(check_ints(cx, n, d));
    for (int i = 0; i < n; i++)
        if (s[i] == 0) return hg_fail(cx, HG_STATE, "stride should not be zero");
    if (!all_above(n, k, 0))
        return hg_fail(cx, HG_STATE, "kernel size should be greater than zero, but got %s",
                       show_axes(n, "k", k, words));
    if (!all_above(n, s, 0))
        return hg_fail(cx, HG_STATE, "stride should be greater than zero, but got %s", show_axes(n, "d", s, words));
    if (!all_above(n, d, 0))
        return hg_fail(cx, HG_STATE, "dilation should be greater than zero, but got %s",
                       show_axes(n, "dilation", d, words));
    HG_TRY(set_image(cx, op, x, p));
    for (int i = 0; i < n; i++) {
        axis *a = axis_at(p, i);
        a->kernel = k[i], a->stride = s[i], a->padding = pad[i], a->dilation = d[i];
        HG_TRY(set_out(cx, a, ceil_mode));
        in[i] = a->in, out[i] = a->out;
        fits &= out[i] >= 1;
    }
    if (fits) return HG_OK;
    char have[96], got[96];
    show_planes(have, x->shape[x->n_dim - n - 1], n, in);
    show_planes(got, x->shape[x->n_dim - n - 1], n, out);
    return hg_fail(cx, HG_STATE, "Given input size: (%s). Calculated output size: (%s). Output size is too small", have,
                   got);
}

static hg_status refuse_empty(hg_ctx *cx, const char *op, const char *way, const char *what, const hg_tensor *x,
                              int from) {
    char words[256];
    for (int i = from; i < x->n_dim; i++)
        if (x->shape[i] == 0)
            return hg_fail(
                cx, HG_STATE,
                "%s%s(): Expected %s to have non-zero size for non-batch dimensions, but %s has sizes %s with "
                "dimension %d being empty",
                op, way, what, what, hg_show_shape(x, words), i);
    return HG_OK;
}

static hg_status set_adaptive(hg_ctx *cx, const char *op, const hg_tensor *x, const hg_arg *size, pool *p) {
    int64_t out[3] = {0};
    char words[256];
    int n = p->n;
    if (!has_channels(x, n))
        return hg_fail(cx, HG_STATE, "%s(): Expected %dD or %dD tensor, but got %s", op, n + 1, n + 2,
                       hg_show_shape(x, words));
    if (take_sizes(cx, size, n, op, "output_size", out) != HG_OK)
        return hg_fail(cx, HG_STATE, "%s: output_size must be %d", op, n);
    if (!all_above(n, out, -1))
        return hg_fail(cx, HG_STATE,
                       n == 3 ? "%s: elements of output_size must be greater than or equal to 0 but received {%lld, "
                                "%lld,%lld}"
                              : "%s: elements of output_size must be greater than or equal to 0 but received {%lld, "
                                "%lld}",
                       op, (long long)out[0], (long long)out[1], (long long)out[2]);
    /* torch: there no channels will do */
    HG_TRY(refuse_empty(cx, op, "", "input", x, strcmp(op, "adaptive_avg_pool2d") ? 1 : x->n_dim - n));
    set_planes(x->n_dim, x->shape, p);
    for (int i = 0; i < n; i++) {
        axis *a = axis_at(p, i);
        a->adaptive = true, a->dilation = 1, a->out = out[i];
    }
    return HG_OK;
}

/* x's shape with the planes of the output. */
static void with_planes(const hg_tensor *x, pool *p, int64_t to[5]) {
    memcpy(to, x->shape, x->n_dim * sizeof *to);
    for (int i = 0; i < p->n; i++) to[x->n_dim - p->n + i] = axis_at(p, i)->out;
}

static hg_dtype work_dtype(hg_dtype d) { return hg_dtype_is_float(d) ? hg_real_dtype(d) : HG_F64; }

/* What is pooled, as numbers of type d: plane after plane, or as it lies where that is channels last. */
static hg_status take_image(hg_ctx *cx, hg_tensor *x, hg_dtype d, hg_format f, pool *p, hg_tensor **out) {
    if (f == HG_FORMAT_CONTIGUOUS || x->n_dim != p->n + 2 || x->dtype != d || plane_in(p) > INT32_MAX ||
        !hg_tensor_lies_as(x, f))
        return hg_real(cx, x, d, out);
    p->planes = x->shape[0], p->beside = x->shape[1];
    hg_retain(cx, *out = x);
    return HG_OK;
}

/* Room for a result, lying as the image does that was taken. */
static hg_status make_result(hg_ctx *cx, const pool *p, hg_dtype d, int n_dim, const int64_t *shape, hg_format f,
                             hg_tensor **out) {
    hg_status st = hg_tensor_empty(cx, d, n_dim, shape, out);
    return st == HG_OK && p->beside > 1 ? hg_reformat(cx, *out, f) : st;
}

static hg_status hand_over(hg_ctx *cx, const pool *p, hg_tensor *made, hg_dtype d, hg_format f, hg_tensor **out) {
    if (p->beside == 1 || *out) return hg_real_result_as(cx, made, d, f, out);
    *out = made;
    return HG_OK;
}

/* ---- Maximum ---------------------------------------------------------------------------------------------------------------- */

typedef struct max_job {
    const pool *p;
    hg_dtype d;
    const void *input;
    void *output;
    int64_t *index;
} max_job;

static void max_planes(void *arg, int64_t from, int64_t end) {
    const max_job *j = arg;
    (j->d == HG_F64 ? max_pool_f64 : max_pool_f32)(j->p, j->input, j->output, j->index, from, end);
}

static hg_status max_pool(hg_ctx *cx, pool *p, hg_tensor *x, hg_format f, hg_tensor **out) {
    hg_dtype d = work_dtype((hg_dtype)x->dtype);
    hg_tensor *rx = NULL, *y = NULL, *index = NULL;
    int64_t shape[5];
    if (x->dtype == HG_BOOL) return hg_no_kernel(cx, p->n == 3 ? "max_pool3d" : "max_pool2d", HG_BOOL);
    with_planes(x, p, shape);
    hg_status st = take_image(cx, x, d, f, p, &rx);
    if (st == HG_OK) st = make_result(cx, p, d, x->n_dim, shape, f, &y);
    if (st == HG_OK) st = make_result(cx, p, HG_I64, x->n_dim, shape, f, &index);
    if (st == HG_OK) {
        max_job job = {p, d, rx->data, y->data, (int64_t *)(void *)index->data};
        hg_parallel_for(p->planes, grain(p), max_planes, &job);
        st = hand_over(cx, p, y, (hg_dtype)x->dtype, f, &out[0]);
        y = NULL;
    }
    if (st == HG_OK) st = hand_over(cx, p, index, HG_I64, f, &out[1]), index = NULL;
    hg_release(cx, rx), hg_release(cx, y), hg_release(cx, index);
    return st;
}

enum { SELF, KERNEL_SIZE, STRIDE, PADDING };

static hg_status sliding_max(hg_ctx *cx, const hg_arg *a, int n, const char *op, hg_tensor **out) {
    pool p = pool_of(n);
    HG_TRY(set_window(cx, op, a[SELF].u.t, &a[KERNEL_SIZE], &a[STRIDE], &a[PADDING], &a[4], a[5].u.i, &p));
    return max_pool(cx, &p, a[SELF].u.t, hg_format_of(a[SELF].u.t), out);
}

hg_status hg_max_pool2d_indices_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return sliding_max(cx, a, 2, "max_pool2d", out);
}
hg_status hg_max_pool3d_indices_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return sliding_max(cx, a, 3, "max_pool3d", out);
}

static hg_status adaptive_max(hg_ctx *cx, const hg_arg *a, int n, const char *op, hg_tensor **out) {
    pool p = pool_of(n);
    HG_TRY(set_adaptive(cx, op, a[SELF].u.t, &a[1], &p));
    if (!hg_dtype_is_float((hg_dtype)a[SELF].u.t->dtype))
        return hg_no_kernel(cx, n == 3 ? "adaptive_max_pool3d_cpu" : op, (hg_dtype)a[SELF].u.t->dtype);
    return max_pool(cx, &p, a[SELF].u.t, n == 3 ? HG_FORMAT_CONTIGUOUS : hg_format_of(a[SELF].u.t), out);
}

hg_status hg_adaptive_max_pool2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_max(cx, a, 2, "adaptive_max_pool2d", out);
}
hg_status hg_adaptive_max_pool3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_max(cx, a, 3, "adaptive_max_pool3d", out);
}

typedef struct unpool_job {
    const pool *p;
    hg_dtype d;
    const void *grad;
    void *image;
    const int64_t *index;
    atomic_bool outside; /* of its plane is an index */
} unpool_job;

static void unpool_planes(void *arg, int64_t from, int64_t end) {
    unpool_job *j = arg;
    if (!(j->d == HG_F64 ? max_unpool_f64 : max_unpool_f32)(j->p, j->grad, j->index, j->image, from, end))
        j->outside = true;
}

static hg_status check_unpool(hg_ctx *cx, const hg_arg *a, int n) {
    const hg_tensor *g = a[0].u.t, *index = a[1].u.t;
    bool fits = a[2].n == g->n_dim && (g->n_dim == n + 1 || g->n_dim == n + 2);
    for (int i = 0; fits && i < g->n_dim - n; i++) fits = a[2].u.ints[i] == g->shape[i];
    if (!fits)
        return hg_fail(cx, HG_SHAPE, "max_pool%dd_with_indices_backward(): grad_output does not fit input_size", n);
    if (index->dtype != HG_I64 || !hg_same_shape(index, g))
        return hg_fail(cx, HG_SHAPE,
                       "max_pool%dd_with_indices_backward(): indices must be Long, of grad_output's shape", n);
    return HG_OK;
}

/* grad, indices, input_size: the gradients put back where the maxima were. */
static hg_status max_unpool(hg_ctx *cx, const hg_arg *a, int n, hg_tensor **out) {
    hg_tensor *g = a[0].u.t, *rg = NULL, *ri = NULL, *x = NULL;
    hg_dtype d = work_dtype((hg_dtype)g->dtype);
    pool p = pool_of(n);
    HG_TRY(check_unpool(cx, a, n));
    HG_TRY(refuse_empty(cx, n == 3 ? "adaptive_max_pool3d" : "adaptive_max_pool2d", "_backward", "grad_output", g,
                        g->n_dim - n));
    const hg_format f = hg_format_of(a[1].u.t);
    set_planes(g->n_dim, a[2].u.ints, &p);
    for (int i = 0; i < n; i++) axis_at(&p, i)->out = g->shape[g->n_dim - n + i];
    hg_status st = f != HG_FORMAT_CONTIGUOUS && hg_tensor_lies_as(a[1].u.t, f) ? take_image(cx, g, d, f, &p, &rg)
                                                                               : hg_real(cx, g, d, &rg);
    if (st == HG_OK && p.beside > 1)
        hg_retain(cx, ri = a[1].u.t);
    else if (st == HG_OK)
        st = hg_raw_contiguous(cx, a[1].u.t, &ri);
    if (st == HG_OK) st = make_result(cx, &p, d, g->n_dim, a[2].u.ints, f, &x);
    if (st == HG_OK) {
        unpool_job job = {&p, d, rg->data, x->data, (const int64_t *)(const void *)ri->data, false};
        hg_parallel_for(p.planes, grain(&p), unpool_planes, &job);
        if (job.outside) {
            hg_release(cx, rg), hg_release(cx, ri), hg_release(cx, x);
            return hg_fail(cx, HG_INDEX, "max_pool%dd_with_indices_backward(): an index is outside of its plane", n);
        }
        st = hand_over(cx, &p, x, (hg_dtype)g->dtype, f, out);
    }
    hg_release(cx, rg), hg_release(cx, ri);
    return st;
}

hg_status hg_max_unpool_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return max_unpool(cx, a, 2, out); }
hg_status hg_max_unpool3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return max_unpool(cx, a, 3, out); }

static hg_status gather_maxima(hg_ctx *cx, hg_back *b, int n) {
    hg_tensor *index = IN(1);
    if (!index) return HG_OK;
    hg_tensor *flat = X(GATHER, T(X(FLATTEN, T(G), hg_i(-n))), hg_i(-1), T(X(FLATTEN, T(index), hg_i(-n))));
    GIVE(0, X(VIEW_SIZE, T(flat), hg_ints(index->shape, index->n_dim)));
    return HG_OK;
}

hg_status hg_max_unpool_bwd(hg_ctx *cx, hg_back *b) { return gather_maxima(cx, b, 2); }
hg_status hg_max_unpool3d_bwd(hg_ctx *cx, hg_back *b) { return gather_maxima(cx, b, 3); }

hg_status hg_max_pool_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta x = META(SELF);
    GIVE(SELF, X(MAX_UNPOOL, T(G), T(OUT(1)), hg_ints(x.shape, x.n_dim)));
    return HG_OK;
}

hg_status hg_max_pool3d_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta x = META(SELF);
    GIVE(SELF, X(MAX_UNPOOL3D, T(G), T(OUT(1)), hg_ints(x.shape, x.n_dim)));
    return HG_OK;
}

/* ---- Mean ------------------------------------------------------------------------------------------------------------------ */

/* In three dimensions means know no channels-last format. */
static hg_format mean_format(const hg_tensor *x, int n) { return n == 2 ? hg_format_of(x) : HG_FORMAT_CONTIGUOUS; }

/* The gradient, lying as the image does that was pooled: to the last stride, where planes of one element lie either way. */
static hg_tensor *grad_like(hg_ctx *cx, hg_tensor *g, const hg_tensor *x, int n) {
    hg_format f = x ? mean_format(x, n) : HG_FORMAT_CONTIGUOUS;
    return hg_format_of(g) == f ? g : X(CLONE, T(g), hg_format_arg(f));
}

typedef struct mean_job {
    const pool *p;
    bool shares; /* out gradients, the other way */
    hg_dtype d;
    const void *from;
    void *to;
} mean_job;

static void mean_planes(void *arg, int64_t from, int64_t end) {
    const mean_job *j = arg;
    (j->d == HG_F64 ? mean_planes_f64 : mean_planes_f32)(j->p, j->shares, j->from, j->to, from, end);
}

static void run_means(mean_job j) { hg_parallel_for(j.p->planes, grain(j.p), mean_planes, &j); }

static hg_status avg_pool(hg_ctx *cx, pool *p, const char *op, hg_tensor *x, hg_tensor **out) {
    hg_dtype d = work_dtype((hg_dtype)x->dtype);
    hg_tensor *rx = NULL, *y = NULL;
    int64_t shape[5];
    if (!hg_dtype_is_float((hg_dtype)x->dtype) && (x->dtype != HG_I64 || p->y.adaptive))
        return hg_no_kernel(cx, op, (hg_dtype)x->dtype);
    with_planes(x, p, shape);
    const hg_format f = mean_format(x, p->n);
    hg_status st = take_image(cx, x, d, f, p, &rx);
    if (st == HG_OK) st = make_result(cx, p, d, x->n_dim, shape, f, &y);
    if (st == HG_OK) {
        run_means((mean_job){p, false, d, rx->data, y->data});
        st = hand_over(cx, p, y, (hg_dtype)x->dtype, f, out);
    }
    hg_release(cx, rx);
    return st;
}

static hg_status avg_unpool(hg_ctx *cx, pool *p, hg_tensor *g, const hg_tensor *like, hg_tensor **out) {
    hg_dtype d = work_dtype((hg_dtype)g->dtype);
    hg_tensor *rg = NULL, *x = NULL;
    int64_t pooled[5];
    with_planes(like, p, pooled);
    if (g->n_dim != like->n_dim || memcmp(pooled, g->shape, g->n_dim * sizeof *pooled) != 0)
        return hg_fail(cx, HG_SHAPE,
                       "avg_pool%dd_backward(): grad_output is not of the shape that input_size is pooled to", p->n);
    const hg_format f = mean_format(g, p->n);
    hg_status st = take_image(cx, g, d, f, p, &rg);
    if (st == HG_OK) st = make_result(cx, p, d, g->n_dim, like->shape, f, &x);
    if (st == HG_OK) {
        run_means((mean_job){p, true, d, rg->data, x->data});
        st = hand_over(cx, p, x, (hg_dtype)g->dtype, f, out);
    }
    hg_release(cx, rg);
    return st;
}

/* a: the window's arguments from kernel_size on; x: the pooled image, or one of its shape. */
static hg_status set_avg(hg_ctx *cx, const hg_tensor *x, const hg_arg *a, pool *p) {
    enum { A_KERNEL, A_STRIDE, A_PADDING, A_CEIL, A_COUNT_PAD, A_DIVISOR };
    HG_TRY(set_window(cx, p->n == 3 ? "avg_pool3d" : "avg_pool2d", x, &a[A_KERNEL], &a[A_STRIDE], &a[A_PADDING], NULL,
                      a[A_CEIL].u.i, p));
    p->count_pad = a[A_COUNT_PAD].u.i;
    if (hg_given(&a[A_DIVISOR]) && !(p->divisor = a[A_DIVISOR].u.i))
        return hg_fail(cx, HG_STATE, "divisor must be not zero");
    return HG_OK;
}

hg_status hg_avg_pool2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[SELF].u.t;
    pool p = pool_of(2);
    if (x->n_dim < 3)
        return hg_fail(cx, HG_INDEX, "Dimension out of range (expected to be in range of [-%d, %d], but got -3)",
                       x->n_dim ? x->n_dim : 1, x->n_dim ? x->n_dim - 1 : 0);
    HG_TRY(set_avg(cx, x, a + 1, &p));
    return avg_pool(cx, &p, "avg_pool2d", x, out);
}

hg_status hg_avg_pool3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    pool p = pool_of(3);
    HG_TRY(set_avg(cx, a[SELF].u.t, a + 1, &p));
    return avg_pool(cx, &p, "avg_pool3d_out_frame", a[SELF].u.t, out);
}

static hg_status avg_bwd(hg_ctx *cx, hg_back *b, int op) {
    hg_meta x = META(SELF);
    hg_tensor *g = op == HG_OP_AVG_POOL2D_BACKWARD ? grad_like(cx, G, IN(SELF), 2) : G;
    hg_arg args[] = {T(g), hg_ints(x.shape, x.n_dim), *ARG(1), *ARG(2), *ARG(3), *ARG(4), *ARG(5), *ARG(6)};
    GIVE(SELF, hg_x(cx, op, args, 8));
    return HG_OK;
}

hg_status hg_avg_pool2d_bwd(hg_ctx *cx, hg_back *b) { return avg_bwd(cx, b, HG_OP_AVG_POOL2D_BACKWARD); }
hg_status hg_avg_pool3d_bwd(hg_ctx *cx, hg_back *b) { return avg_bwd(cx, b, HG_OP_AVG_POOL3D_BACKWARD); }

/* grad, input_size, the window */
static hg_status avg_backward(hg_ctx *cx, const hg_arg *a, int n, hg_tensor **out) {
    hg_tensor like = {.n_dim = (uint8_t)a[1].n, .shape = (int64_t *)a[1].u.ints}; /* only its shape matters */
    pool p = pool_of(n);
    HG_TRY(set_avg(cx, &like, a + 2, &p));
    return avg_unpool(cx, &p, a[0].u.t, &like, out);
}

hg_status hg_avg_pool2d_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return avg_backward(cx, a, 2, out);
}
hg_status hg_avg_pool3d_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return avg_backward(cx, a, 3, out);
}

hg_status hg_avg_pool2d_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(AVG_POOL2D, T(G), *ARG(2), *ARG(3), *ARG(4), *ARG(5), *ARG(6), *ARG(7)));
    return HG_OK;
}
hg_status hg_avg_pool3d_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(AVG_POOL3D, T(G), *ARG(2), *ARG(3), *ARG(4), *ARG(5), *ARG(6), *ARG(7)));
    return HG_OK;
}

static hg_status adaptive_avg(hg_ctx *cx, const hg_arg *a, int n, const char *op, const char *kernel, hg_tensor **out) {
    pool p = pool_of(n);
    HG_TRY(set_adaptive(cx, op, a[SELF].u.t, &a[1], &p));
    return avg_pool(cx, &p, kernel, a[SELF].u.t, out);
}

hg_status hg_adaptive_avg_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg(cx, a, 2, "adaptive_avg_pool2d", "adaptive_avg_pool2d", out);
}
hg_status hg_adaptive_avg3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg(cx, a, 3, "adaptive_avg_pool3d", "adaptive_avg_pool3d_cpu", out);
}

hg_status hg_adaptive_avg_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta x = META(SELF);
    GIVE(SELF, X(ADAPTIVE_AVG_BACKWARD, T(grad_like(cx, G, IN(SELF), 2)), hg_ints(x.shape, x.n_dim)));
    return HG_OK;
}
hg_status hg_adaptive_avg3d_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta x = META(SELF);
    GIVE(SELF, X(ADAPTIVE_AVG3D_BACKWARD, T(G), hg_ints(x.shape, x.n_dim)));
    return HG_OK;
}

static hg_status adaptive_avg_backward(hg_ctx *cx, const hg_arg *a, int n, const char *op, hg_tensor **out) {
    hg_tensor *g = a[0].u.t, like = {.n_dim = (uint8_t)a[1].n, .shape = (int64_t *)a[1].u.ints};
    if (g->n_dim < n) return hg_fail(cx, HG_SHAPE, "%s_backward(): grad_output has too few dimensions", op);
    hg_arg size = hg_ints(g->shape + g->n_dim - n, n);
    pool p = pool_of(n);
    HG_TRY(refuse_empty(cx, op, "_backward", "grad_output", g, g->n_dim - n));
    HG_TRY(set_adaptive(cx, op, &like, &size, &p));
    return avg_unpool(cx, &p, g, &like, out);
}

hg_status hg_adaptive_avg_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg_backward(cx, a, 2, "adaptive_avg_pool2d", out);
}
hg_status hg_adaptive_avg3d_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg_backward(cx, a, 3, "adaptive_avg_pool3d", out);
}

hg_status hg_adaptive_avg_backward_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *g = G;
    hg_meta small = META(0);
    GIVE(0, X(ADAPTIVE_AVG, T(g), hg_ints(small.shape + small.n_dim - 2, 2)));
    return HG_OK;
}
hg_status hg_adaptive_avg3d_backward_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *g = G;
    hg_meta small = META(0);
    GIVE(0, X(ADAPTIVE_AVG3D, T(g), hg_ints(small.shape + small.n_dim - 3, 3)));
    return HG_OK;
}

/* ---- As torch spells them ------------------------------------------------------------------------------------------------------ */

/* The strides that planes of one element have between channels-last ones, which a mean does not give them. */
static void stride_as_channels_last(hg_ctx *cx, hg_tensor *y) {
    int64_t c = y->shape[1], to[5] = {c, 1, c, c, c};
    int64_t shape[5], from[5];
    memcpy(shape, y->shape, y->n_dim * sizeof *shape), memcpy(from, y->stride, y->n_dim * sizeof *from);
    hg_arg args[] = {hg_t(y), hg_ints(shape, y->n_dim), hg_ints(to, y->n_dim),
                     hg_i(0), hg_ints(from, y->n_dim),  hg_i(0)};
    hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_AS_STRIDED_, args, 6));
}

/* One mean of a whole plane is a mean like any other. */
static hg_status adaptive_avg_pool(hg_ctx *cx, const hg_arg *a, int n, const char *op, int row, hg_tensor **out) {
    static const int64_t last[3] = {-1, -2, -3};
    hg_tensor *x = a[SELF].u.t;
    int64_t size[3] = {0};
    hg_scope s;
    pool p = pool_of(n);
    HG_TRY(set_adaptive(cx, op, x, &a[1], &p)); /* for its messages */
    HG_TRY(take_sizes(cx, &a[1], n, op, "output_size", size));
    bool is_one = true;
    for (int i = 0; i < n; i++) is_one &= size[i] == 1;
    hg_scope_begin(cx, &s);
    hg_arg args[] = {T(x), hg_ints(size, n)};
    hg_tensor *y = is_one ? X(MEAN_DIM, T(x), hg_ints(last, n), hg_b(true)) : hg_x(cx, row, args, 2);
    if (y && is_one && hg_format_of(x) != HG_FORMAT_CONTIGUOUS) stride_as_channels_last(cx, y);
    return hg_scope_return(cx, &s, y, out);
}

hg_status hg_adaptive_avg_pool2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg_pool(cx, a, 2, "adaptive_avg_pool2d", HG_OP_ADAPTIVE_AVG, out);
}
hg_status hg_adaptive_avg_pool3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return adaptive_avg_pool(cx, a, 3, "adaptive_avg_pool3d", HG_OP_ADAPTIVE_AVG3D, out);
}

static hg_status check_line(hg_ctx *cx, const hg_tensor *x, const char *op) {
    if (x->n_dim == 2 || x->n_dim == 3) return HG_OK;
    return hg_fail(cx, HG_STATE,
                   "Expected 2 to 3 dimensions, but got %d-dimensional tensor for argument #1 'self' (while checking "
                   "arguments for %s)",
                   x->n_dim, op);
}

/* The one number of a one-dimensional setting, below `first` for the row. */
static hg_status take_one(hg_ctx *cx, const hg_arg *a, const char *op, const char *name, int64_t first, int64_t to[2]) {
    to[0] = first;
    if (a->kind == HG_A_INT)
        to[1] = a->u.i;
    else if (a->kind == HG_A_INTS && a->n == 1)
        to[1] = a->u.ints[0];
    else
        return hg_fail(cx, HG_STATE, "%s() argument '%s' should contain one int (got %d)", op, name,
                       a->kind == HG_A_INTS ? (int)a->n : 0);
    return HG_OK;
}

static bool is_open(const hg_arg *stride) { return !hg_given(stride) || (stride->kind == HG_A_INTS && stride->n == 0); }

hg_status hg_adaptive_avg_pool1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t size[2];
    hg_scope s;
    HG_TRY(check_line(cx, a[SELF].u.t, "adaptive_avg_pool1d"));
    HG_TRY(take_one(cx, &a[1], "adaptive_avg_pool1d", "output_size", 1, size));
    hg_scope_begin(cx, &s);
    hg_tensor *y = X(ADAPTIVE_AVG_POOL2D, T(X(UNSQUEEZE, a[SELF], hg_i(-2))), hg_ints(size, 2));
    return hg_scope_return(cx, &s, X(SQUEEZE_DIM, T(y), hg_i(-2)), out);
}

hg_status hg_avg_pool1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t k[2], st[2], pad[2];
    hg_scope s;
    HG_TRY(check_line(cx, a[SELF].u.t, "avg_pool1d"));
    HG_TRY(take_one(cx, &a[KERNEL_SIZE], "avg_pool1d", "kernel_size", 1, k));
    HG_TRY(take_one(cx, is_open(&a[STRIDE]) ? &a[KERNEL_SIZE] : &a[STRIDE], "avg_pool1d", "stride", 1, st));
    HG_TRY(take_one(cx, &a[PADDING], "avg_pool1d", "padding", 0, pad));
    hg_scope_begin(cx, &s);
    hg_tensor *y = X(AVG_POOL2D, T(X(UNSQUEEZE, a[SELF], hg_i(-2))), hg_ints(k, 2), hg_ints(st, 2), hg_ints(pad, 2),
                     a[4], a[5]);
    return hg_scope_return(cx, &s, X(SQUEEZE_DIM, T(y), hg_i(-2)), out);
}

hg_status hg_max_pool2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(MAX_POOL2D_INDICES, a[0], a[1], a[2], a[3], a[4], a[5]), out);
}

hg_status hg_max_pool3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(MAX_POOL3D_INDICES, a[0], a[1], a[2], a[3], a[4], a[5]), out);
}

static hg_status check_max1d(hg_ctx *cx, const hg_tensor *x, const int64_t *k, const int64_t *s, const int64_t *pad,
                             const int64_t *d, bool ceil_mode) {
    const struct {
        const char *name;
        int64_t value;
    } positive[] = {{"kernel_size", k[1]}, {"stride", s[1]}, {"dilation", d[1]}};
    char words[256];
    if (x->n_dim != 2 && x->n_dim != 3)
        return hg_fail(
            cx, HG_STATE,
            "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but "
            "got:%s",
            hg_show_shape(x, words));
    for (int i = 0; i < 3; i++)
        if (positive[i].value <= 0)
            return hg_fail(cx, HG_STATE, "max_pool1d() %s must be greater than zero, but got %lld", positive[i].name,
                           (long long)positive[i].value);
    if (pad[1] < 0)
        return hg_fail(cx, HG_STATE, "max_pool1d() padding must be non-negative, but got %lld", (long long)pad[1]);
    if (pad[1] > k[1] / 2)
        return hg_fail(cx, HG_STATE,
                       "max_pool1d() padding should be at most half of kernel size, but got padding=%lld and "
                       "kernel_size=%lld",
                       (long long)pad[1], (long long)k[1]);
    axis a = {.in = x->shape[x->n_dim - 1], .kernel = k[1], .stride = s[1], .padding = pad[1], .dilation = d[1]};
    HG_TRY(set_out(cx, &a, ceil_mode));
    if (a.out <= 0) return hg_fail(cx, HG_STATE, "max_pool1d() Invalid computed output size: %lld", (long long)a.out);
    return HG_OK;
}

/* Both results of max_pool1d; `n_out` says how many are wanted. */
static hg_status max_pool1d(hg_ctx *cx, const hg_arg *a, int n_out, hg_tensor **out) {
    const hg_tensor *x = a[SELF].u.t;
    int64_t k[2], st[2], pad[2], d[2];
    hg_tensor *both[2] = {NULL, NULL}, *wide = NULL;
    HG_TRY(take_one(cx, &a[KERNEL_SIZE], "max_pool1d", "kernel_size", 1, k));
    HG_TRY(take_one(cx, is_open(&a[STRIDE]) ? &a[KERNEL_SIZE] : &a[STRIDE], "max_pool1d", "stride", 1, st));
    HG_TRY(take_one(cx, &a[PADDING], "max_pool1d", "padding", 0, pad));
    HG_TRY(take_one(cx, &a[4], "max_pool1d", "dilation", 1, d));
    if (n_out == 1 && !hg_dtype_is_float(x->dtype)) return hg_no_kernel(cx, "max_pool1d_impl", (hg_dtype)x->dtype);
    if (n_out == 1) /* with indices torch asks the pool of planes */
        HG_TRY(check_max1d(cx, x, k, st, pad, d, a[5].u.i));
    else
        HG_TRY(check_line(cx, x, "max_pool1d"));
    HG_TRY(hg_call_op(cx, HG_OP_UNSQUEEZE, (hg_arg[]){a[SELF], hg_i(-2)}, 2, &wide));
    hg_arg args[] = {hg_t(wide), hg_ints(k, 2), hg_ints(st, 2), hg_ints(pad, 2), hg_ints(d, 2), a[5]};
    hg_status status = hg_call_op(cx, HG_OP_MAX_POOL2D_INDICES, args, 6, both);
    hg_release(cx, wide);
    for (int i = 0; i < n_out && status == HG_OK; i++)
        status = hg_call_op(cx, HG_OP_SQUEEZE_DIM, (hg_arg[]){hg_t(both[i]), hg_i(-2)}, 2, &out[i]);
    hg_release(cx, both[0]), hg_release(cx, both[1]);
    return status;
}

hg_status hg_max_pool1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return max_pool1d(cx, a, 1, out); }
hg_status hg_max_pool1d_indices_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return max_pool1d(cx, a, 2, out); }
