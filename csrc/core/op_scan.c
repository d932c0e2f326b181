/* Running sums, products and extremes along one dimension. */
#include "cpu_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <float.h>
#include <math.h>

/* ---- Sums and products -------------------------------------------------------------------------------------------------------------- */

/* Rows are computed four at a time, as each number waits for the one before it. */
enum { SIDE = 4 };
#define ROWS  void *arg, char *room, int64_t rows, char *const *p, const int64_t *row_step, const int64_t *step
#define X_(k) ((A)(*(const T_ *)(const void *)(from + i * step[0] + (k)*row_step[0])))
#define Y_(k) (*(T_ *)(void *)(to + i * step[1] + (k)*row_step[1]))
#define SCAN(name, T, ACC, first, next)                                                                                \
    static void name(ROWS) {                                                                                           \
        typedef T T_;                                                                                                  \
        typedef ACC A;                                                                                                 \
        int64_t n = *(const int64_t *)arg;                                                                             \
        const char *from = p[0];                                                                                       \
        char *to = p[1];                                                                                               \
        (void)room;                                                                                                    \
        for (; rows >= SIDE; rows -= SIDE, from += SIDE * row_step[0], to += SIDE * row_step[1]) {                     \
            A total[SIDE] = {first, first, first, first};                                                              \
            for (int64_t i = 0; i < n; i++)                                                                            \
                for (int k = 0; k < SIDE; k++) total[k] = next(total[k], X_(k)), Y_(k) = (T_)total[k];                 \
        }                                                                                                              \
        for (; rows > 0; rows--, from += row_step[0], to += row_step[1]) {                                             \
            A total = first;                                                                                           \
            for (int64_t i = 0; i < n; i++) total = next(total, X_(0)), Y_(0) = (T_)total;                             \
        }                                                                                                              \
    }
#define PLUS(t, x)  ((t) + (x))
#define TIMES(t, x) ((t) * (x))
/* log(exp(t) + exp(x)). */
static double log_plus(double total, double x) {
    double top = x > total ? x : total, low = x > total ? total : x;
    return x != x || total != total ? x + total : isinf(top) ? top : top + log1p(exp(low - top));
}
/* float32 in double, as torch does: a running sum rounds at each element, not in between. */
SCAN(sum_any_f32, float, double, 0, PLUS)

/* Numbers side by side eight at a time: each takes the one before it, then the two before, then the four. They are two vectors of
   four, as processors with AVX2 have no larger ones. */
typedef double four __attribute__((vector_size(32), aligned(8), may_alias));
#define BOTH(...) __builtin_shufflevector(__VA_ARGS__)
HG_INLINE void run_row_body(const bool fused, int64_t n, const float *from, float *to) {
    double total = 0, some[8];
    (void)fused;
    int64_t i = 0;
    for (; n - i >= 8; i += 8) {
        for (int k = 0; k < 8; k++) some[k] = (double)from[i + k];
        four x = *(const four *)some, y = *(const four *)(some + 4), none = {0};
        y += BOTH(x, y, 3, 4, 5, 6), x += BOTH(none, x, 0, 4, 5, 6);
        y += BOTH(x, y, 2, 3, 4, 5), x += BOTH(none, x, 0, 1, 4, 5);
        y += x;
        *(four *)some = x + total, *(four *)(some + 4) = y + total;
        total += y[3]; /* as the last of them, but sooner */
        for (int k = 0; k < 8; k++) to[i + k] = (float)some[k];
    }
    for (; i < n; i++) total += (double)from[i], to[i] = (float)total;
}
HG_VECTOR(run_row, (int64_t n, const float *from, float *to), n, from, to)

static void sum_f32(ROWS) {
    const int64_t n = *(const int64_t *)arg, unit = sizeof(float);
    if (n < 16 || step[0] != unit || step[1] != unit) {
        sum_any_f32(arg, room, rows, p, row_step, step);
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        run_row(n, (const float *)(const void *)(p[0] + i * row_step[0]), (float *)(void *)(p[1] + i * row_step[1]));
}
SCAN(sum_f64, double, double, 0, PLUS)
SCAN(sum_i64, uint64_t, uint64_t, 0, PLUS)
SCAN(product_f32, float, double, 1, TIMES)
SCAN(product_f64, double, double, 1, TIMES)
SCAN(product_i64, uint64_t, uint64_t, 1, TIMES)
SCAN(log_sum_f64, double, double, -INFINITY, log_plus)

/* Loops by what is computed in: float32, float64 and int64; others are cast to one of them. */
typedef struct scan {
    hg_along_fn f32, f64, i64;
} scan;

static hg_status run_scan(hg_ctx *cx, const scan *s, hg_tensor *t, int64_t along, hg_dtype type, hg_tensor **out) {
    hg_dtype c = type == HG_F32 && s->f32 ? HG_F32 : hg_dtype_is_float(type) ? HG_F64 : HG_I64;
    hg_tensor *typed = NULL, *input = NULL, *made = NULL;
    int dim;
    hg_status st = hg_wrap_dim(cx, along, t->n_dim, &dim);
    if (st != HG_OK || (st = hg_raw_cast(cx, t, type, &typed)) != HG_OK) return st;
    if ((st = hg_raw_cast(cx, typed, c, &input)) != HG_OK ||
        (st = hg_tensor_empty(cx, c, t->n_dim, t->shape, &made)) != HG_OK)
        goto done;
    int64_t n = hg_size_at(t, dim);
    hg_along(cx, dim, 2, (hg_tensor *[]){input, made}, 0, c == HG_F32 ? s->f32 : c == HG_F64 ? s->f64 : s->i64, &n);
    if (*out) {
        if ((st = hg_out(cx, out, type, t->n_dim, t->shape)) == HG_OK) st = hg_raw_copy(cx, *out, made);
    } else {
        st = hg_raw_cast(cx, made, type, out);
    }
done:
    hg_release(cx, typed), hg_release(cx, input), hg_release(cx, made);
    return st;
}

static hg_dtype scan_type(const hg_tensor *t, const hg_arg *dtype, hg_tensor *const *out) {
    if (hg_given(dtype)) return (hg_dtype)dtype->u.i;
    return *out || hg_dtype_is_float((hg_dtype)t->dtype) ? (hg_dtype)t->dtype : HG_I64;
}

static const scan sums = {sum_f32, sum_f64, sum_i64}, products = {product_f32, product_f64, product_i64},
                  log_sums = {NULL, log_sum_f64, NULL};

hg_status hg_op_cumsum(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return run_scan(cx, &sums, a[0].u.t, a[1].u.i, scan_type(a[0].u.t, &a[2], out), out);
}
hg_status hg_op_cumprod(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return run_scan(cx, &products, a[0].u.t, a[1].u.i, scan_type(a[0].u.t, &a[2], out), out);
}
hg_status hg_op_logcumsumexp(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int dim;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, a[0].u.t->n_dim, &dim);
    if (st != HG_OK) return st;
    if (!hg_dtype_is_float((hg_dtype)a[0].u.t->dtype))
        return hg_no_kernel(cx, "logcumsumexp_out_cpu", (hg_dtype)a[0].u.t->dtype);
    return run_scan(cx, &log_sums, a[0].u.t, a[1].u.i, (hg_dtype)a[0].u.t->dtype, out);
}

/* The sum of what comes at each place and after it. */
static hg_tensor *sum_from_here(hg_ctx *cx, hg_tensor *g, const hg_arg *dim) {
    if (!g || g->n_dim == 0) return g;
    hg_arg only = hg_ints(&dim->u.i, 1);
    return X(FLIP, T(X(CUMSUM, T(X(FLIP, T(g), only)), *dim)), only);
}

hg_status hg_d_cumsum(hg_ctx *cx, hg_back *b) {
    GIVE(0, sum_from_here(cx, G, ARG(1)));
    return HG_OK;
}
/* exp(x + the logarithm of the sum, from here on, of g exp(-result)) for the g of one sign, all in logarithms: exp(-result)
   alone may overflow. Where there is no g stands the lowest number: minus infinity would have no derivative. */
static hg_tensor *share_of_sums(hg_ctx *cx, hg_tensor *x, hg_tensor *result, hg_tensor *g, const hg_arg *dim) {
    hg_arg only = hg_ints(&dim->u.i, 1);
    double lowest = x && x->dtype == HG_F64 ? -DBL_MAX : -FLT_MAX;
    hg_tensor *is = X(GT, T(g), hg_i(0));
    hg_tensor *log_g = X(WHERE, T(is), T(X(LOG, T(X(WHERE, T(is), T(g), hg_i(1))))), hg_f(lowest));
    hg_tensor *parts = X(SUB, T(log_g), T(result));
    hg_tensor *from_here = X(FLIP, T(X(LOGCUMSUMEXP, T(X(FLIP, T(parts), only)), *dim)), only);
    return X(EXP, T(X(ADD, T(from_here), T(x))));
}

hg_status hg_d_logcumsumexp(hg_ctx *cx, hg_back *b) {
    if (IN(0) && IN(0)->n_dim == 0) {
        GIVE(0, G);
        return HG_OK;
    }
    hg_tensor *up = share_of_sums(cx, IN(0), OUT(0), G, ARG(1));
    hg_tensor *down = share_of_sums(cx, IN(0), OUT(0), X(NEG, T(G)), ARG(1));
    GIVE(0, X(SUB, T(up), T(down)));
    return HG_OK;
}

/* Without zeros: what each product passes on, over the element. With them: element by element, every product that contains it
   less itself. */
hg_status hg_d_cumprod(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0);
    const hg_arg *dim = ARG(1);
    if (!x || x->n_dim == 0 || x->numel == 0) {
        GIVE(0, G);
        return HG_OK;
    }
    if (!hg_x_may_have_zero(cx, x)) {
        GIVE(0, X(DIV, T(sum_from_here(cx, X(MUL, T(OUT(0)), T(G)), dim)), T(x)));
        return HG_OK;
    }
    int k;
    hg_status st = hg_wrap_dim(cx, dim->u.i, x->n_dim, &k);
    if (st != HG_OK) return st;
    int64_t n = x->shape[k];
    hg_tensor *whole = NULL;
    for (int64_t i = 0; i < n && hg_scope_ok(cx); i++) {
        hg_tensor *mine = X(NARROW, T(x), *dim, hg_i(i), hg_i(1)), *others = X(ONES_LIKE, T(mine));
        if (i + 1 < n) {
            hg_tensor *rest = X(NARROW, T(x), *dim, hg_i(i + 1), hg_i(n - i - 1));
            if (!hg_scope_ok(cx)) break;
            others = X(CAT, hg_ts((hg_tensor *[]){others, rest}, 2), *dim);
        }
        hg_tensor *products_of_others = X(CUMPROD, T(others), *dim);
        if (i) {
            hg_tensor *before = X(PROD_DIM, T(X(NARROW, T(x), *dim, hg_i(0), hg_i(i))), *dim, hg_b(true));
            products_of_others = X(MUL, T(products_of_others), T(before));
        }
        hg_tensor *g = X(NARROW, T(G), *dim, hg_i(i), hg_i(n - i));
        g = X(SUM_DIM, T(X(MUL, T(g), T(products_of_others))), hg_ints(&dim->u.i, 1), hg_b(true));
        if (!hg_scope_ok(cx)) break;
        whole = whole ? X(CAT, hg_ts((hg_tensor *[]){whole, g}, 2), *dim) : g;
    }
    GIVE(0, whole);
    return HG_OK;
}

/* ---- Extremes so far -------------------------------------------------------------------------------------------------------------------- */

typedef struct running {
    int64_t n;
    bool largest;
} running;

/* The last of equal ones; NaN from the first on. */
#define RUNNING(fn, E)                                                                                                 \
    static void fn(ROWS) {                                                                                             \
        const running *r = arg;                                                                                        \
        (void)room;                                                                                                    \
        for (int64_t row = 0; row < rows; row++) {                                                                     \
            const char *from = p[0] + row * row_step[0];                                                               \
            char *value = p[1] + row * row_step[1], *place = p[2] + row * row_step[2];                                 \
            E best = *(const E *)(const void *)from;                                                                   \
            int64_t at = 0;                                                                                            \
            for (int64_t i = 0; i < r->n; i++) {                                                                       \
                E x = *(const E *)(const void *)(from + i * step[0]);                                                  \
                if (x != x || (best == best && (r->largest ? x >= best : x <= best))) best = x, at = i;                \
                *(E *)(void *)(value + i * step[1]) = best;                                                            \
                *(int64_t *)(void *)(place + i * step[2]) = at;                                                        \
            }                                                                                                          \
        }                                                                                                              \
    }
RUNNING(running_f64, double)
RUNNING(running_i64, int64_t)

static hg_status run_extreme(hg_ctx *cx, const hg_arg *a, bool largest, hg_tensor **out) {
    hg_tensor *t = a[0].u.t, *input = NULL, *values = NULL;
    hg_dtype type = (hg_dtype)t->dtype, c = hg_dtype_is_float(type) ? HG_F64 : HG_I64;
    int dim = 0; /* of a tensor without elements any will do, as in torch */
    hg_status st = t->numel ? hg_wrap_dim(cx, a[1].u.i, t->n_dim, &dim) : HG_OK;
    if (st != HG_OK || (st = hg_raw_cast(cx, t, c, &input)) != HG_OK) return st;
    if ((st = hg_tensor_empty(cx, c, t->n_dim, t->shape, &values)) != HG_OK ||
        (st = hg_out(cx, &out[1], HG_I64, t->n_dim, t->shape)) != HG_OK)
        goto done;
    running r = {hg_size_at(t, dim), largest};
    if (t->numel)
        hg_along(cx, dim, 3, (hg_tensor *[]){input, values, out[1]}, 0, c == HG_F64 ? running_f64 : running_i64, &r);
    st = hg_raw_cast(cx, values, type, &out[0]);
done:
    hg_release(cx, input), hg_release(cx, values);
    return st;
}
hg_status hg_op_cummax(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return run_extreme(cx, a, true, out); }
hg_status hg_op_cummin(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return run_extreme(cx, a, false, out); }
hg_status hg_d_cummax(hg_ctx *cx, hg_back *b) {
    hg_meta input = META(0);
    if (input.n_dim == 0 || G->numel == 0) {
        GIVE(0, G);
        return HG_OK;
    }
    hg_tensor *zeros = X(ZEROS, hg_ints(input.shape, input.n_dim), hg_d((hg_dtype)input.dtype));
    GIVE(0, hg_x_written(X(SCATTER_ADD, T(zeros), *ARG(1), T(OUT(1)), T(G)), 2));
    return HG_OK;
}
