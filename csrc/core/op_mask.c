/* Ops that choose by value: masks, positions of what is not zero, counts, searching in what is sorted. */
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SELF (a[0].u.t)

/* ---- Masks ------------------------------------------------------------------------------------------------------------ */

/* A raw view of t broadcast to the shape. New. */
static hg_status spread(hg_ctx *cx, const hg_tensor *t, int n, const int64_t *shape, hg_tensor **out) {
    int64_t stride[HG_MAX_DIM];
    int lead = n - t->n_dim;
    for (int i = 0; i < n; i++) stride[i] = i < lead || t->shape[i - lead] != shape[i] ? 0 : t->stride[i - lead];
    return hg_raw_view(cx, t, n, shape, stride, 0, out);
}

static int64_t count_true(const hg_tensor *mask) {
    int64_t n = 0;
    if (!mask->numel) return 0;
    hg_walk w;
    hg_walk_begin(&w, mask->n_dim, mask->shape);
    hg_walk_add(&w, mask->data, mask->stride, 1);
    do {
        const char *p = w.p[0];
        for (int64_t i = 0; i < w.inner; i++, p += w.step[0]) n += *p != 0;
    } while (hg_walk_next(&w));
    return n;
}

hg_status hg_masked_select_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *mask = a[1].u.t, *vt = NULL, *vm = NULL;
    int64_t shape[HG_MAX_DIM];
    int n;
    if (mask->dtype != HG_BOOL) return hg_fail(cx, HG_SHAPE, "masked_select: expected BoolTensor for mask");
    hg_status st = hg_broadcast(cx, mask->n_dim, mask->shape, t->n_dim, t->shape, &n, shape);
    if (st == HG_OK) st = spread(cx, t, n, shape, &vt);
    if (st == HG_OK) st = spread(cx, mask, n, shape, &vm);
    if (st == HG_OK) st = hg_out(cx, out, (hg_dtype)t->dtype, 1, &(int64_t){count_true(vm)});
    if (st == HG_OK && (*out)->numel) {
        hg_walk w;
        hg_walk_begin(&w, n, shape);
        hg_walk_add(&w, vt->data, vt->stride, hg_tensor_itemsize(t));
        hg_walk_add(&w, vm->data, vm->stride, 1);
        char *to = (*out)->data;
        HG_BY_SIZE(
            hg_tensor_itemsize(t), E *e = (E *)(void *)to; do {
                char *p = w.p[0], *m = w.p[1];
                for (int64_t i = 0; i < w.inner; i++, p += w.step[0], m += w.step[1])
                    if (*m) *e++ = *(E *)p;
            } while (hg_walk_next(&w));)
    }
    hg_release(cx, vt), hg_release(cx, vm);
    return st;
}

hg_status hg_masked_select_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_tensor *mask = IN(1);
    int64_t shape[HG_MAX_DIM];
    int n;
    if (!mask || hg_broadcast(cx, m.n_dim, m.shape, mask->n_dim, mask->shape, &n, shape) != HG_OK) return HG_OK;
    bool wider = n != m.n_dim || memcmp(shape, m.shape, (size_t)n * sizeof *shape) != 0;
    hg_tensor *zeros = wider || !IN(0) ? hg_x_zeros(cx, (hg_dtype)m.dtype, n, shape) : X(ZEROS_LIKE, T(IN(0)));
    if (!zeros) return HG_OK;
    hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_MASKED_SCATTER, (hg_arg[]){T(zeros), T(mask), T(G)}, 3));
    GIVE(0, zeros);
    return HG_OK;
}

hg_status hg_masked_scatter_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *mask = a[1].u.t, *src = NULL, *vm = NULL, *whole = NULL, *fixed = NULL;
    char w1[16], w2[16];
    int64_t shape[HG_MAX_DIM];
    int n;
    hg_status st = hg_broadcast(cx, mask->n_dim, mask->shape, t->n_dim, t->shape, &n, shape);
    if (st != HG_OK) return st;
    if (a[2].u.t->dtype != t->dtype)
        return hg_fail(cx, HG_SHAPE, "masked_scatter: expected self and source to have same dtypes but got%s and %s",
                       hg_dtype_word(t->dtype, w1), hg_dtype_word(a[2].u.t->dtype, w2));
    if (mask->dtype != HG_BOOL)
        return hg_fail(cx, HG_SHAPE, "masked_scatter_ only supports boolean masks, but got mask with dtype %s",
                       hg_dtype_word(mask->dtype, w1));
    if (*out) {
        st = n == t->n_dim && !memcmp(shape, t->shape, (size_t)n * sizeof *shape)
                 ? hg_check_overlap(cx, *out, NULL)
                 : hg_fail(cx, HG_SHAPE, "masked_scatter_: the mask has more dimensions or elements than self");
    } else { /* out of place, self is broadcast too */
        st = spread(cx, t, n, shape, &whole);
        if (st == HG_OK) st = hg_out_copy(cx, whole, out);
    }
    if (st == HG_OK && hg_spans_meet(*out, mask)) st = hg_out_copy(cx, mask, &fixed); /* to be what was counted */
    if (st == HG_OK) st = spread(cx, fixed ? fixed : mask, (*out)->n_dim, (*out)->shape, &vm);
    if (st == HG_OK) st = hg_raw_contiguous(cx, a[2].u.t, &src);
    if (st == HG_OK && count_true(vm) > src->numel)
        st = hg_fail(cx, HG_SHAPE, "Number of elements of source < number of ones in mask");
    if (st == HG_OK && vm->numel) {
        hg_walk w;
        hg_walk_begin(&w, vm->n_dim, vm->shape);
        hg_walk_add(&w, (*out)->data, (*out)->stride, hg_tensor_itemsize(t));
        hg_walk_add(&w, vm->data, vm->stride, 1);
        char *from = src->data;
        HG_BY_SIZE(
            hg_tensor_itemsize(t), E *e = (E *)(void *)from; do {
                char *p = w.p[0], *m = w.p[1];
                for (int64_t i = 0; i < w.inner; i++, p += w.step[0], m += w.step[1])
                    if (*m) *(E *)p = *e++;
            } while (hg_walk_next(&w));)
    }
    hg_release(cx, whole), hg_release(cx, vm), hg_release(cx, src), hg_release(cx, fixed);
    return st;
}

hg_status hg_masked_scatter_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *mask = IN(1);
    if (NEED(0)) GIVE(0, X(MASKED_FILL, T(G), T(mask), hg_i(0)));
    if (NEED(2)) {
        hg_meta m = META(2);
        hg_tensor *got = X(MASKED_SELECT, T(G), T(mask));
        int64_t all = 1;
        for (int i = 0; i < m.n_dim; i++) all *= m.shape[i];
        if (got && got->numel < all) got = X(CONSTANT_PAD_ND, T(got), hg_ints((int64_t[]){0, all - got->numel}, 2));
        GIVE(2, X(RESHAPE, T(got), hg_ints(m.shape, m.n_dim)));
    }
    return HG_OK;
}

/* ---- take ------------------------------------------------------------------------------------------------------------- */

/* The index as contiguous, non-negative int64 of its own shape; fails where one is out of range. New. */
static hg_status flat_index(hg_ctx *cx, hg_tensor *index, int64_t numel, hg_tensor **out) {
    hg_status st = hg_tensor_empty(cx, HG_I64, index->n_dim, index->shape, out);
    if (st == HG_OK) st = hg_raw_copy(cx, *out, index);
    if (st != HG_OK) return st;
    int64_t *at = (int64_t *)(void *)(*out)->data;
    for (int64_t i = 0; i < index->numel; i++) {
        if (at[i] < -numel || at[i] >= numel)
            return hg_fail(cx, HG_INDEX, "out of range: tried to access index %lld on a tensor of %lld elements.",
                           (long long)at[i], (long long)numel);
        if (at[i] < 0) at[i] += numel;
    }
    return HG_OK;
}

hg_status hg_take_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = NULL, *index = a[1].u.t, *at = NULL;
    char word[16];
    if (index->dtype != HG_I64)
        return hg_fail(cx, HG_SHAPE, "take(): Expected a long tensor for index, but got %s",
                       hg_dtype_word(index->dtype, word));
    if (SELF->numel == 0 && index->numel) return hg_fail(cx, HG_INDEX, "take(): tried to take from an empty tensor");
    hg_status st = flat_index(cx, index, SELF->numel, &at);
    if (st == HG_OK) st = hg_raw_contiguous(cx, SELF, &t);
    if (st == HG_OK) st = hg_out(cx, out, (hg_dtype)t->dtype, index->n_dim, index->shape);
    if (st == HG_OK)
        HG_BY_SIZE(hg_tensor_itemsize(t),
                   for (int64_t i = 0; i < index->numel;
                        i++)((E *)(void *)(*out)->data)[i] = ((E *)(void *)t->data)[((int64_t *)(void *)at->data)[i]];)
    hg_release(cx, t), hg_release(cx, at);
    return st;
}

hg_status hg_take_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_tensor *index = IN(1), *at = NULL;
    int64_t numel = 1;
    for (int i = 0; i < m.n_dim; i++) numel *= m.shape[i];
    if (!index) return HG_OK;
    if (hg_sees(cx, index) == HG_SEEN_BY_CLASS) { /* a sample's numbers are not here */
        at = X(REMAINDER_SCALAR, T(index), hg_i(numel ? numel : 1));
    } else {
        hg_status st = flat_index(cx, index, numel, &at);
        at = hg_scope_keep(cx, at);
        if (st != HG_OK) return st;
    }
    hg_tensor *zeros = hg_x_zeros(cx, (hg_dtype)m.dtype, 1, &numel);
    hg_arg flat = hg_ints(&index->numel, 1);
    hg_tensor *sum = X(INDEX_ADD, T(zeros), hg_i(0), T(X(RESHAPE, T(at), flat)), T(X(RESHAPE, T(G), flat)));
    hg_tensor *whole = X(RESHAPE, T(sum), hg_ints(m.shape, m.n_dim));
    bool otherwise = whole && IN(0) && hg_is_dense(IN(0)) &&
                     memcmp(whole->stride, IN(0)->stride, m.n_dim * sizeof(int64_t)) != 0;
    GIVE(0, hg_x_written(otherwise ? X(ADD, T(X(ZEROS_LIKE, T(IN(0)))), T(whole)) : whole,
                         1)); /* laid out as what was taken from */
    return HG_OK;
}

hg_status hg_take_along_dim_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[1].u.t;
    char word[16];
    int d = 0;
    if (index->dtype != HG_I64)
        return hg_fail(cx, HG_SHAPE, "torch.take_along_dim(): dtype of indices should be Long but got %s",
                       hg_dtype_word(index->dtype, word));
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (!hg_given(&a[2])) {
        t = X(FLATTEN, T(t)), index = X(FLATTEN, T(index));
        return hg_scope_return(cx, &s, X(GATHER, T(t), hg_i(0), T(index)), out);
    }
    hg_status st = HG_OK;
    int64_t shape[HG_MAX_DIM];
    if (t->n_dim != index->n_dim)
        st = hg_fail(
            cx, HG_SHAPE,
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got %d dimensions for "
            "input, and %d dimensions for indices",
            t->n_dim, index->n_dim);
    if (st == HG_OK) st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st == HG_OK) { /* everything but d is broadcast */
        int64_t left[HG_MAX_DIM], right[HG_MAX_DIM];
        int n;
        memcpy(left, t->shape, (size_t)t->n_dim * sizeof *left),
            memcpy(right, index->shape, (size_t)t->n_dim * sizeof *right);
        if (t->n_dim) left[d] = right[d] = 1;
        st = hg_broadcast(cx, t->n_dim, left, t->n_dim, right, &n, shape);
    }
    if (st != HG_OK) return hg_scope_fail(cx, st), hg_scope_end(cx, &s);
    if (t->n_dim) {
        int64_t size = t->shape[d], picks = index->shape[d];
        /* Counted from the end where negative. */
        index = X(WHERE, T(X(LT, T(index), hg_i(0))), T(X(ADD, T(index), hg_i(size))), T(index));
        int n = t->n_dim;
        shape[d] = size;
        t = X(EXPAND, T(t), hg_ints(shape, n));
        shape[d] = picks;
        index = X(EXPAND, T(index), hg_ints(shape, n));
    }
    return hg_scope_return(cx, &s, X(GATHER, T(t), hg_i(d), T(index)), out);
}

/* ---- Positions -------------------------------------------------------------------------------------------------------- */

hg_status hg_nonzero_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t n = 0, row = 0, column = 0;
    hg_walk w;
    for (int pass = 0; pass < 2; pass++) { /* count, then write */
        if (pass) {
            bool fresh = !*out;
            hg_status st = hg_out(cx, out, HG_I64, 2, (int64_t[]){n, t->n_dim});
            if (st != HG_OK) return st;
            if (fresh && n && t->n_dim) hg_tensor_restride(*out, (int64_t[]){1, n}); /* as torch has it */
            row = (*out)->stride[0], column = (*out)->stride[1];
        }
        if (!t->numel || (pass && !n)) continue;
        int64_t *to = pass ? (int64_t *)(void *)(*out)->data : NULL, *end = to + n * row;
        hg_walk_begin(&w, t->n_dim, t->shape);
        hg_walk_add(&w, t->data, t->stride, hg_tensor_itemsize(t));
        HG_BY_DTYPE(
            t->dtype, do {
                char *p = w.p[0];
                if (!pass)
                    for (int64_t i = 0; i < w.inner; i++) n += LOAD(*(E *)(p + i * w.step[0])) != 0;
                else /* without branches: nobody can guess a mask */
                    for (int64_t i = 0; i < w.inner && to != end; i++) {
                        for (int k = 0; k < w.n_outer; k++) to[k * column] = w.at[k];
                        if (t->n_dim) to[w.n_outer * column] = i;
                        to += LOAD(*(E *)(p + i * w.step[0])) != 0 ? row : 0;
                    }
            } while (hg_walk_next(&w));)
    }
    return HG_OK;
}

/* One index vector a dimension; a 0-dimensional tensor counts as one of one element. */
hg_status hg_nonzero_numpy_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *at = NULL, *vector = NULL, **list;
    hg_status st = HG_OK;
    if (t->n_dim == 0)
        st = hg_raw_view(cx, t, 1, &(int64_t){1}, &(int64_t){1}, 0, &vector);
    else
        hg_retain(cx, vector = t);
    if (st == HG_OK) st = hg_nonzero_fwd(cx, (hg_arg[]){hg_t(vector)}, &at);
    if (st == HG_OK) st = hg_out_list(cx, out, vector->n_dim, &list);
    for (int i = 0; st == HG_OK && i < vector->n_dim; i++)
        st = hg_raw_view(cx, at, 1, at->shape, at->stride, i * at->stride[1], &list[i]);
    hg_release(cx, at), hg_release(cx, vector);
    return st;
}

/* ---- Counting --------------------------------------------------------------------------------------------------------- */

/* Count each place, or add up what it weighs. */
static void count(const hg_tensor *at, const hg_tensor *weights, hg_tensor *out) {
    const int64_t n = at->numel, *p = (const int64_t *)(void *)at->data;
    if (!weights) {
        int64_t *to = (int64_t *)(void *)out->data;
        for (int64_t i = 0; i < n; i++) to[p[i]]++;
    } else if (out->dtype == HG_F32) {
        float *to = (float *)(void *)out->data, *w = (float *)(void *)weights->data;
        for (int64_t i = 0; i < n; i++) to[p[i]] += w[i];
    } else {
        double *to = (double *)(void *)out->data, *w = (double *)(void *)weights->data;
        for (int64_t i = 0; i < n; i++) to[p[i]] += w[i];
    }
}

hg_status hg_bincount_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *weights = hg_given(&a[1]) ? a[1].u.t : NULL, *at = NULL, *w = NULL;
    int64_t n = a[2].u.i;
    if (n < 0) return hg_fail(cx, HG_SHAPE, "minlength should be >= 0");
    if (hg_dtype_is_float((hg_dtype)t->dtype) || t->dtype == HG_BOOL)
        return hg_no_kernel(cx, "bincount_cpu", (hg_dtype)t->dtype);
    if (t->n_dim != 1) return hg_fail(cx, HG_SHAPE, "bincount only supports 1-d non-negative integral inputs.");
    if (weights && (weights->n_dim != 1 || weights->numel != t->numel))
        return hg_fail(cx, HG_SHAPE, "weights should be 1-d and have the same length as input");
    hg_dtype d = !weights ? HG_I64 : weights->dtype == HG_F32 ? HG_F32 : HG_F64;
    hg_status st = hg_raw_index(cx, t, &at);
    if (st != HG_OK) return st;
    const int64_t *p = (const int64_t *)(void *)at->data;
    int64_t least = 0, most = n - 1;
    for (int64_t i = 0; i < at->numel; i++) least = p[i] < least ? p[i] : least, most = p[i] > most ? p[i] : most;
    if (least < 0) {
        hg_release(cx, at);
        return hg_fail(cx, HG_SHAPE, "bincount only supports 1-d non-negative integral inputs.");
    }
    n = most + 1;
    st = hg_out(cx, out, d, 1, &n);
    if (st == HG_OK) st = hg_raw_fill(cx, *out, hg_i(0));
    if (st == HG_OK && weights) {
        hg_tensor *cast = NULL;
        st = hg_raw_cast(cx, weights, d, &cast);
        if (st == HG_OK) st = hg_raw_contiguous(cx, cast, &w);
        hg_release(cx, cast);
    }
    if (st == HG_OK) count(at, w, *out);
    hg_release(cx, at), hg_release(cx, w);
    return st;
}

hg_status hg_one_hot_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *at = NULL;
    int64_t n = a[1].u.i, most = -1, least = 0, shape[HG_MAX_DIM + 1];
    if (t->dtype != HG_I64)
        return hg_fail(cx, HG_SHAPE, "one_hot is only applicable to index tensor of type LongTensor.");
    if (t->numel == 0 && n <= 0)
        return hg_fail(cx, HG_SHAPE, "Can not infer total number of classes from empty tensor.");
    hg_status st = hg_raw_index(cx, t, &at);
    if (st != HG_OK) return st;
    const int64_t *p = (const int64_t *)(void *)at->data;
    for (int64_t i = 0; i < at->numel; i++) {
        if (p[i] < least) least = p[i];
        if (p[i] > most) most = p[i];
    }
    if (least < 0)
        st = hg_fail(cx, HG_SHAPE, "Class values must be non-negative.");
    else if (n == -1)
        n = most + 1;
    else if (most >= n)
        st = hg_fail(cx, HG_SHAPE, "Class values must be smaller than num_classes.");
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    shape[t->n_dim] = n;
    if (st == HG_OK) st = hg_out(cx, out, HG_I64, t->n_dim + 1, shape);
    if (st == HG_OK) st = hg_raw_fill(cx, *out, hg_i(0));
    for (int64_t i = 0; st == HG_OK && i < at->numel; i++) ((int64_t *)(void *)(*out)->data)[i * n + p[i]] = 1;
    hg_release(cx, at);
    return st;
}

/* ---- Searching -------------------------------------------------------------------------------------------------------- */

/* How many of the n sorted values come before x; with `right`, equal ones do too. NaN is larger than everything. */
#define PLACE_OF(name, T)                                                                                              \
    static int64_t name(T x, const T *sorted, int64_t n, bool right) {                                                 \
        int64_t low = 0;                                                                                               \
        while (n > 0) {                                                                                                \
            int64_t half = n / 2;                                                                                      \
            T y = sorted[low + half];                                                                                  \
            bool before = right ? !(y > x) && !(y != y && x == x) : y < x || (x != x && y == y);                       \
            if (before)                                                                                                \
                low += half + 1, n -= half + 1;                                                                        \
            else                                                                                                       \
                n = half;                                                                                              \
        }                                                                                                              \
        return low;                                                                                                    \
    }                                                                                                                  \
    /* The places of all of v, in one row or, where `each` is not 0, `each` of them in each row. */                    \
    static void name##_each(const hg_tensor *v, const hg_tensor *sorted, int64_t n, int64_t each, bool right,          \
                            int64_t *to) {                                                                             \
        const T *x = (const T *)(const void *)v->data, *rows = (const T *)(const void *)sorted->data;                  \
        for (int64_t i = 0; i < v->numel; i++) to[i] = name(x[i], rows + (each ? i / each * n : 0), n, right);         \
    }
PLACE_OF(place_of_float, double)
PLACE_OF(place_of_int, int64_t) /* which a double has not all of */

static hg_status warn_of_copy(hg_ctx *cx, const hg_tensor *t, const char *what) {
    char words[300];
    if (t->contiguous) return HG_OK;
    snprintf(
        words, sizeof words,
        "torch.searchsorted(): %s tensor is non-contiguous, this will lower the performance due to extra data copy "
        "when converting non-contiguous tensor to contiguous, please use contiguous %s tensor if possible. This "
        "message will only appear once per program.",
        what, what);
    return hg_warn_once(cx, words);
}

static hg_status search(hg_ctx *cx, hg_tensor *sorted, const hg_arg *values, bool small, bool right, hg_tensor **out) {
    hg_tensor *v = NULL, *cast = NULL, *s = NULL, *number = NULL, *x = NULL;
    char b1[256], b2[256];
    bool scalar = values->kind != HG_A_TENSOR;
    bool whole = !hg_dtype_is_float((hg_dtype)sorted->dtype) &&
                 (scalar ? values->kind != HG_A_FLOAT : !hg_dtype_is_float((hg_dtype)values->u.t->dtype));
    const hg_dtype c = whole ? HG_I64 : HG_F64;
    hg_status st = HG_OK;
    if (scalar)
        st = hg_raw_scalar(cx, *values, c, &number);
    else
        hg_retain(cx, number = values->u.t);
    if (st != HG_OK) return st;
    bool rows = sorted->n_dim > 1;
    if (sorted->n_dim == 0)
        st = hg_fail(cx, HG_SHAPE,
                     "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension");
    bool same = number->n_dim == sorted->n_dim;
    for (int i = 0; same && i < number->n_dim - 1; i++) same = number->shape[i] == sorted->shape[i];
    if (st == HG_OK && rows && !same)
        st = hg_fail(
            cx, HG_SHAPE,
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
            "input value tensor must match, but we got boundaries tensor %s and input value tensor %s",
            hg_show_shape(sorted, b1), hg_show_shape(number, b2));
    if (st == HG_OK) st = warn_of_copy(cx, number, "input value");
    if (st == HG_OK) st = warn_of_copy(cx, sorted, "boundary");
    if (st == HG_OK && (st = hg_raw_cast(cx, number, c, &cast)) == HG_OK) st = hg_raw_contiguous(cx, cast, &v);
    hg_release(cx, cast), cast = NULL;
    if (st == HG_OK && (st = hg_raw_cast(cx, sorted, c, &cast)) == HG_OK) st = hg_raw_contiguous(cx, cast, &s);
    hg_release(cx, cast);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_I64, number->n_dim, number->shape, &x);
    if (st == HG_OK) {
        int64_t n = sorted->shape[sorted->n_dim - 1], each = rows ? number->shape[number->n_dim - 1] : 0;
        (whole ? place_of_int_each : place_of_float_each)(v, s, n, each, right, (int64_t *)(void *)x->data);
        st = hg_raw_cast(cx, x, small ? HG_I32 : HG_I64, out);
    }
    hg_release(cx, v), hg_release(cx, s), hg_release(cx, number), hg_release(cx, x);
    return st;
}

hg_status hg_searchsorted_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool right = a[3].u.i;
    if (hg_given(&a[4])) {
        bool r = !strcmp(a[4].u.s, "right");
        if (!r && strcmp(a[4].u.s, "left") != 0)
            return hg_fail(cx, HG_SHAPE, "torch.searchsorted(): side can only be 'left' or 'right' but got %s",
                           a[4].u.s);
        if (right && !r)
            return hg_fail(
                cx, HG_SHAPE,
                "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True");
        right = r;
    }
    if (!hg_given(&a[5])) return search(cx, SELF, &a[1], a[2].u.i, right, out);
    hg_tensor *sorted;
    hg_status st = hg_call_op(cx, HG_OP_GATHER, (hg_arg[]){a[0], hg_i(-1), a[5]}, 3, &sorted);
    if (st == HG_OK) st = search(cx, sorted, &a[1], a[2].u.i, right, out), hg_release(cx, sorted);
    return st;
}

hg_status hg_bucketize_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[1].u.t->n_dim != 1)
        return hg_fail(cx, HG_SHAPE, "boundaries tensor must be 1 dimension, but got dim(%d)", a[1].u.t->n_dim);
    return search(cx, a[1].u.t, &a[0], a[2].u.i, a[3].u.i, out);
}
