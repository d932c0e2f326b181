/* Reductions that choose an element: extremes, their places, modes. */
#include "gemm_impl.h"
#include "lanes_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <stdlib.h>

/* ---- The extreme of all, or of several dimensions ------------------------------------------------------------------------------------ */

static hg_status extreme(hg_ctx *cx, const hg_fold *fold, const char *name, hg_tensor *t, const hg_arg *dim, bool keep,
                         hg_tensor **out) {
    hg_dims d;
    hg_status st = hg_read_dims(cx, t, dim, keep, &d);
    if (st != HG_OK) return st;
    if (t->numel == 0) {
        bool by_dim = dim->kind == HG_A_INT || (dim->kind == HG_A_INTS && dim->n);
        if (!by_dim)
            return hg_fail(cx, HG_STATE,
                           "%s: Expected reduction dim to be specified for input.numel() == 0. Specify the "
                           "reduction dim with the 'dim' argument.",
                           name);
        const int64_t *at = dim->kind == HG_A_INTS ? dim->u.ints : &dim->u.i;
        for (int i = 0; i < (dim->kind == HG_A_INTS ? (int)dim->n : 1); i++)
            if (t->shape[at[i] < 0 ? at[i] + t->n_dim : at[i]] == 0)
                return hg_fail(cx, HG_INDEX, "%s: Expected reduction dim %lld to have non-zero size.", name,
                               (long long)at[i]);
    }
    return hg_fold_to(cx, fold, t, &d, false, (hg_dtype)t->dtype, out);
}

hg_status hg_op_max(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return extreme(cx, &hg_fold_max, "max()", a[0].u.t, &HG_NONE, false, out);
}
hg_status hg_op_min(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return extreme(cx, &hg_fold_min, "min()", a[0].u.t, &HG_NONE, false, out);
}
hg_status hg_op_amax(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return extreme(cx, &hg_fold_max, "amax()", a[0].u.t, &a[1], a[2].u.i != 0, out);
}
hg_status hg_op_amin(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return extreme(cx, &hg_fold_min, "amin()", a[0].u.t, &a[1], a[2].u.i != 0, out);
}
hg_status hg_op_aminmax(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->numel == 0 && !hg_given(&a[1]))
        return hg_fail(cx, HG_STATE,
                       "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.");
    hg_status st = extreme(cx, &hg_fold_min, "aminmax", a[0].u.t, &a[1], a[2].u.i != 0, &out[0]);
    return st == HG_OK ? extreme(cx, &hg_fold_max, "aminmax", a[0].u.t, &a[1], a[2].u.i != 0, &out[1]) : st;
}

hg_status hg_d_extreme(hg_ctx *cx, hg_back *b) {
    hg_tensor *both_nan = X(LOGICAL_AND, T(X(ISNAN, T(IN(0)))), T(X(ISNAN, T(OUT(0)))));
    hg_tensor *equal = X(LOGICAL_OR, T(X(EQ, T(IN(0)), T(OUT(0)))), T(both_nan));
    hg_tensor *zeros = X(ZEROS_LIKE, T(IN(0)), HG_NONE, hg_format_arg(HG_FORMAT_CONTIGUOUS));
    GIVE(0, hg_x_written(X(MASKED_FILL_TENSOR, T(zeros), T(equal), T(X(DIV, T(G), T(X(SUM, T(equal)))))), 1));
    return HG_OK;
}
/* Elements equal to the result share its gradient evenly. */
static hg_tensor *spread(hg_ctx *cx, hg_back *b, hg_tensor *result, hg_tensor *g) {
    bool kept = ARG(2)->u.i != 0;
    hg_tensor *equal = X(EQ, T(IN(0)), T(hg_x_keep_dims(cx, result, META(0), ARG(1), kept))); /* nothing equals NaN */
    hg_tensor *n = X(SUM_DIM, T(equal), *ARG(1), hg_b(true));
    if (n && !kept) g = X(RESHAPE, T(g), hg_ints(n->shape, n->n_dim));
    return X(MUL, T(X(DIV, T(g), T(n))), T(equal));
}
hg_status hg_d_amax(hg_ctx *cx, hg_back *b) {
    GIVE(0, spread(cx, b, OUT(0), G));
    return HG_OK;
}
hg_status hg_d_aminmax(hg_ctx *cx, hg_back *b) {
    hg_tensor *low = b->grad[0] ? spread(cx, b, OUT(0), b->grad[0]) : NULL;
    hg_tensor *high = b->grad[1] ? spread(cx, b, OUT(1), b->grad[1]) : NULL;
    GIVE(0, low && high ? hg_x_written(X(ADD, T(low), T(high)), 1) : low ? low : high);
    return HG_OK;
}

/* ---- With the place, along one dimension ---------------------------------------------------------------------------------------------- */

enum { SIDE = 2 * HG_LANES, BLOCK = 256, TOGETHER = 16, PAD = 16 }; /* numbers, but TOGETHER: rows */

/* A choice looks at a row of n elements and writes the chosen one and its place. `room` has space for n pairs. */
typedef struct choice {
    int64_t n;
    void *room;
} choice;

typedef void choose_fn(const choice *c, const char *row, int64_t step, char *value, int64_t *place);

typedef struct choosing {
    int64_t n;
    choose_fn *fn;
    bool turns; /* float32 of many rows: they are laid out one after the other, as lanes are far faster than steps */
} choosing;

/* `rows` rows of n, from side by side to one after the other. */
static void lay_out(int64_t rows, int64_t n, const char *from, int64_t row_step, int64_t step, uint32_t *to) {
    for (int64_t k = 0; k < n; k++, from += step, to++)
        for (int64_t r = 0; r < rows; r++) to[r * (n + PAD)] = *(const uint32_t *)(const void *)(from + r * row_step);
}

static void choose_rows(void *arg, char *room, int64_t rows, char *const *p, const int64_t *row_step,
                        const int64_t *step) {
    const choosing *ch = arg;
    choice c = {ch->n, room};
    for (int64_t i = 0, some; i < rows; i += some) {
        const char *from = p[0] + i * row_step[0];
        int64_t down = row_step[0], along = step[0];
        some = ch->turns ? hg_least(rows - i, TOGETHER) : rows;
        if (ch->turns) {
            uint32_t *to = (uint32_t *)(void *)room;
            lay_out(some, c.n, from, down, along, to);
            from = room, along = (int64_t)sizeof *to, down = (c.n + PAD) * along;
        }
        for (int64_t r = 0; r < some; r++)
            ch->fn(&c, from + r * down, along, p[1] + (i + r) * row_step[1],
                   (int64_t *)(void *)(p[2] + (i + r) * row_step[2]));
    }
}

/* Run the choice along dim: values and indices are new. */
static hg_status choose(hg_ctx *cx, choose_fn *const fns[], const char *name, hg_tensor *t, int dim, bool keep,
                        bool needs_room, hg_tensor **values, hg_tensor **indices) {
    hg_tensor *input = NULL, *v = NULL, *at = NULL;
    hg_dtype type = (hg_dtype)t->dtype, c = type == HG_F16 || type == HG_BF16 ? HG_F32 : type;
    choosing ch = {.n = hg_size_at(t, dim), .fn = fns[c]};
    int64_t shape[HG_MAX_DIM];
    if (!ch.fn) return hg_no_kernel(cx, name, type);
    if (t->n_dim && t->shape[dim] == 0)
        return hg_fail(cx, HG_INDEX, "%s(): Expected reduction dim %d to have non-zero size.", name, dim);
    int n_dim = hg_shape_without(t, dim, true, shape);
    hg_status st = hg_raw_cast(cx, t, c, &input);
    if (st != HG_OK || (st = hg_tensor_empty(cx, c, n_dim, shape, &v)) != HG_OK ||
        (st = hg_tensor_empty(cx, HG_I64, n_dim, shape, &at)) != HG_OK)
        goto done;
    ch.turns = c == HG_F32 && !needs_room && ch.n >= SIDE && input->stride[dim] != 1;
    size_t room = needs_room ? (size_t)(ch.n + 1) * 16 : 0;
    if (ch.turns) room = (size_t)(hg_least(v->numel, TOGETHER) * (ch.n + PAD)) * 4;
    if (v->numel) st = hg_along(cx, dim, 3, (hg_tensor *[]){input, v, at}, room, choose_rows, &ch);
    if (st != HG_OK) goto done;
    n_dim = hg_shape_without(t, dim, keep, shape);
    hg_tensor *shaped = NULL;
    if (values) {
        hg_tensor *cast = NULL;
        if ((st = hg_raw_cast(cx, v, type, &cast)) == HG_OK)
            st = hg_tensor_alias(cx, cast, n_dim, shape, NULL, 0, &shaped);
        hg_release(cx, cast);
        if (st != HG_OK) goto done;
        *values = shaped;
    }
    if (indices) st = hg_tensor_alias(cx, at, n_dim, shape, NULL, 0, indices);
done:
    hg_release(cx, input), hg_release(cx, v), hg_release(cx, at);
    return st;
}

/* The first of the largest or smallest; NaN before all. Of elements side by side, none of which is a NaN, the value is found by
   lanes, and then its first place, a block at a time. */
#define LANES_OF(fn, T_, better, best_of)                                                                              \
    HG_INLINE void fn##_by_lanes_body(const bool fused, int64_t n, const T_ *x, T_ *value, int64_t *place,             \
                                      bool *found) {                                                                   \
        T_ lane[SIDE], best;                                                                                           \
        int32_t odd[SIDE] = {0}, at[SIDE];                                                                             \
        int64_t whole = n / SIDE * SIDE, i = 0;                                                                        \
        for (int k = 0; k < SIDE; k++) lane[k] = x[k];                                                                 \
        for (; i < whole; i += SIDE)                                                                                   \
            for (int k = 0; k < SIDE; k++) {                                                                           \
                odd[k] |= x[i + k] != x[i + k];                                                                        \
                lane[k] = x[i + k] better lane[k] ? x[i + k] : lane[k];                                                \
            }                                                                                                          \
        best = _Generic((T_)0, float : best_of##_f32, default : best_of##_f64)(fused, SIDE, lane);                     \
        int32_t is_odd = hg_any_lanes_i32(fused, SIDE, odd);                                                           \
        for (; i < n; i++) is_odd |= x[i] != x[i], best = x[i] better best ? x[i] : best;                              \
        *found = !is_odd;                                                                                              \
        if (is_odd) return;                                                                                            \
        int32_t hit = BLOCK;                                                                                           \
        for (i = 0; i < whole && hit == BLOCK;) {                                                                      \
            int32_t size = whole - i < BLOCK ? (int32_t)(whole - i) : BLOCK;                                           \
            for (int k = 0; k < SIDE; k++) at[k] = BLOCK;                                                              \
            for (int32_t j = size - SIDE; j >= 0; j -= SIDE)                                                           \
                for (int k = 0; k < SIDE; k++) at[k] = x[i + j + k] == best ? j + k : at[k];                           \
            hit = hg_min_lanes_i32(fused, SIDE, at), i += hit < BLOCK ? hit : size;                                    \
        }                                                                                                              \
        while (x[i] != best) i++;                                                                                      \
        *value = best, *place = i;                                                                                     \
    }
#define FIRST_EXTREME(fn, T_, better, found)                                                                           \
    static void fn(const choice *c, const char *row, int64_t step, char *value, int64_t *place) {                      \
        T_ best = *(const T_ *)(const void *)row;                                                                      \
        int64_t at = 0;                                                                                                \
        if (found) return;                                                                                             \
        for (int64_t i = 1; i < c->n && best == best; i++) {                                                           \
            T_ x = *(const T_ *)(const void *)(row + i * step);                                                        \
            if (x better best || x != x) best = x, at = i;                                                             \
        }                                                                                                              \
        *(T_ *)(void *)value = best, *place = at;                                                                      \
    }
/* Integers are met less often: one by one is enough. */
#define FIRST_INTEGER(fn, T_, better, best_of) FIRST_EXTREME(fn, T_, better, false)
#define FIRST_FLOAT(fn, T_, better, best_of)                                                                           \
    LANES_OF(fn, T_, better, best_of)                                                                                  \
    HG_VECTOR_OF(T_, fn##_by_lanes, (int64_t n, const T_ *x, T_ *value, int64_t *place, bool *found), n, x, value,     \
                 place, found)                                                                                         \
    static bool fn##_found(const choice *c, const char *row, int64_t step, char *value, int64_t *place) {              \
        bool found = false;                                                                                            \
        if (step == (int64_t)sizeof(T_) && c->n >= SIDE)                                                               \
            fn##_by_lanes(c->n, (const T_ *)(const void *)row, (T_ *)(void *)value, place, &found);                    \
        return found;                                                                                                  \
    }                                                                                                                  \
    FIRST_EXTREME(fn, T_, better, fn##_found(c, row, step, value, place))
#define CHOICES(X, F, id, ...)                                                                                         \
    X(id##_u8, uint8_t, __VA_ARGS__)                                                                                   \
    X(id##_i8, int8_t, __VA_ARGS__)                                                                                    \
    X(id##_i16, int16_t, __VA_ARGS__)                                                                                  \
    X(id##_i32, int32_t, __VA_ARGS__)                                                                                  \
    X(id##_i64, int64_t, __VA_ARGS__)                                                                                  \
    F(id##_f32, float, __VA_ARGS__)                                                                                    \
    F(id##_f64, double, __VA_ARGS__)                                                                                   \
    static choose_fn *const id[HG_N_DTYPES] = {                                                                        \
        [HG_U8] = id##_u8,   [HG_BOOL] = id##_u8, [HG_I8] = id##_i8,   [HG_I16] = id##_i16,                            \
        [HG_I32] = id##_i32, [HG_I64] = id##_i64, [HG_F32] = id##_f32, [HG_F64] = id##_f64};
CHOICES(FIRST_INTEGER, FIRST_FLOAT, largest, >, hg_max_lanes)
CHOICES(FIRST_INTEGER, FIRST_FLOAT, smallest, <, hg_min_lanes)

static hg_status by_dim(hg_ctx *cx, choose_fn *const fns[], const char *name, const hg_arg *a, bool needs_room,
                        hg_tensor **out) {
    int dim;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, a[0].u.t->n_dim, &dim);
    if (st != HG_OK) return st;
    return choose(cx, fns, name, a[0].u.t, dim, a[2].u.i != 0, needs_room, &out[0], &out[1]);
}
hg_status hg_op_max_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return by_dim(cx, largest, "max", a, false, out);
}
hg_status hg_op_min_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return by_dim(cx, smallest, "min", a, false, out);
}

static hg_status place(hg_ctx *cx, choose_fn *const fns[], const char *name, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = a[0].u.t, *row = NULL;
    hg_status st;
    if (t->dtype == HG_BOOL) return hg_fail(cx, HG_STATE, "%s(): does not support bool input", name);
    if (hg_given(&a[1])) {
        int dim;
        if ((st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &dim)) != HG_OK) return st;
        return choose(cx, fns, name, t, dim, a[2].u.i != 0, false, NULL, out);
    }
    if (t->numel == 0)
        return hg_fail(cx, HG_INDEX, "%s(): Expected reduction dim to be specified for input.numel() == 0.", name);
    if ((st = hg_raw_row(cx, t, &row)) != HG_OK) return st;
    hg_tensor *at = NULL;
    int64_t ones[HG_MAX_DIM];
    for (int i = 0; i < t->n_dim; i++) ones[i] = 1;
    st = choose(cx, fns, name, row, 0, false, false, NULL, &at);
    if (st == HG_OK) st = hg_tensor_alias(cx, at, a[2].u.i ? t->n_dim : 0, ones, NULL, 0, out);
    hg_release(cx, row), hg_release(cx, at);
    return st;
}
hg_status hg_op_argmax(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return place(cx, largest, "argmax", a, out); }
hg_status hg_op_argmin(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return place(cx, smallest, "argmin", a, out); }

/* The gradient goes to the chosen element. */
hg_status hg_d_extreme_dim(hg_ctx *cx, hg_back *b) {
    bool kept = ARG(2)->u.i != 0;
    hg_meta input = META(0);
    hg_tensor *at = hg_x_keep_dims(cx, OUT(1), input, ARG(1), kept), *g = hg_x_keep_dims(cx, G, input, ARG(1), kept);
    if (input.n_dim == 0) {
        GIVE(0, g);
        return HG_OK;
    }
    hg_tensor *zeros = X(ZEROS, hg_ints(input.shape, input.n_dim), hg_d((hg_dtype)input.dtype));
    GIVE(0, hg_x_written(X(SCATTER, T(zeros), *ARG(1), T(at), T(g)), 2));
    return HG_OK;
}

/* ---- Modes ------------------------------------------------------------------------------------------------------------------ */

/* Rows sorted with their places: by value, NaN last, equal ones by place. */
#define SORTED(name, T_)                                                                                               \
    typedef struct pair_##name {                                                                                       \
        T_ x;                                                                                                          \
        int64_t at;                                                                                                    \
    } pair_##name;                                                                                                     \
    static int compare_##name(const void *a, const void *b) {                                                          \
        const pair_##name *p = a, *q = b;                                                                              \
        if (p->x < q->x || (q->x != q->x && p->x == p->x)) return -1;                                                  \
        if (p->x > q->x || (p->x != p->x && q->x == q->x)) return 1;                                                   \
        return p->at < q->at ? -1 : 1;                                                                                 \
    }                                                                                                                  \
    static const pair_##name *sorted_##name(const choice *c, const char *row, int64_t step) {                          \
        pair_##name *pairs = c->room;                                                                                  \
        for (int64_t i = 0; i < c->n; i++) {                                                                           \
            pairs[i].x = *(const T_ *)(const void *)(row + i * step);                                                  \
            pairs[i].at = i;                                                                                           \
        }                                                                                                              \
        qsort(pairs, (size_t)c->n, sizeof *pairs, compare_##name);                                                     \
        return pairs;                                                                                                  \
    }
/* The smallest of the most frequent, at its last place. No NaN equals another, and torch's comparison leaves them where they are:
   of few elements, which it sorts by insertion, that decides which of several it finds. */
#define MODE(name, T_, ...)                                                                                            \
    SORTED(name, T_)                                                                                                   \
    static void insert_##name(const choice *c, const char *row, int64_t step) {                                        \
        pair_##name *p = c->room;                                                                                      \
        for (int64_t i = 0; i < c->n; i++) {                                                                           \
            pair_##name v = {*(const T_ *)(const void *)(row + i * step), i};                                          \
            int64_t j = i;                                                                                             \
            bool is_first = i && v.x < p[0].x;                                                                         \
            for (; j > 0 && (is_first || v.x < p[j - 1].x); j--) p[j] = p[j - 1];                                      \
            p[j] = v;                                                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    static void name(const choice *c, const char *row, int64_t step, char *value, int64_t *at) {                       \
        const pair_##name *pairs = sorted_##name(c, row, step);                                                        \
        int64_t best = 0, run = 0, k = 0;                                                                              \
        if (c->n <= 16 && pairs[c->n - 1].x != pairs[c->n - 1].x) insert_##name(c, row, step);                         \
        for (int64_t i = 0; i < c->n; i++) {                                                                           \
            run = i && pairs[i].x == pairs[i - 1].x ? run + 1 : 1;                                                     \
            if (run > best) best = run, k = i;                                                                         \
        }                                                                                                              \
        *(T_ *)(void *)value = pairs[k].x, *at = pairs[k].at;                                                          \
    }
CHOICES(MODE, MODE, mode, )

hg_status hg_op_mode(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return by_dim(cx, mode, "mode", a, true, out); }
