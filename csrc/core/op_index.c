/* Reading and writing along one dimension by an index tensor: gather, scatter and the index_* family. */
#include "k_impl.h"
#include "layout_impl.h"
#include "pool_impl.h"
#include "shape_impl.h"

#include <string.h>

#define SELF (a[0].u.t)

static bool is_index(const hg_tensor *t) { return t->dtype == HG_I64 || t->dtype == HG_I32; }

static int64_t number_at(const char *p, bool wide) {
    return wide ? *(const int64_t *)(const void *)p : *(const int32_t *)(const void *)p;
}

/* A copy of self to write into, or self, whose elements must not lie on one another, nor on src's, which may be NULL, nor on the
   index's. The index has been checked: where it may lie in what is written nonetheless *fixed is a copy of it, else itself. New. */
static hg_status out_apart(hg_ctx *cx, hg_tensor *self, hg_tensor *index, const hg_tensor *src, hg_tensor **out,
                           hg_tensor **fixed) {
    hg_status st = *out ? hg_check_overlap(cx, *out, NULL) : hg_out_copy(cx, self, out);
    if (st == HG_OK) st = hg_check_apart(cx, *out, index);
    if (st == HG_OK && src) st = hg_check_apart(cx, *out, src);
    if (st == HG_OK && hg_spans_meet(*out, index)) return hg_out_copy(cx, index, fixed);
    if (st == HG_OK) hg_retain(cx, *fixed = index);
    return st;
}

/* ---- gather and scatter ------------------------------------------------------------------------------------------------- */

/* A walk over `index` with the operand t beside it, standing still along d: the index says where to go there. */
static void walk_beside(hg_walk *w, const hg_tensor *t, int d) {
    int64_t stride[HG_MAX_DIM];
    memcpy(stride, t->stride, (size_t)t->n_dim * sizeof *stride);
    if (t->n_dim) stride[d] = 0;
    hg_walk_add(w, t->data, stride, hg_tensor_itemsize(t));
}

/* Of an operand, the index and an operand: is the index the same for a whole run, which lies side by side in both? */
static bool one_index(const hg_walk *w, size_t size) {
    return !w->step[1] && w->step[0] == (int64_t)size && w->step[2] == (int64_t)size;
}

static hg_status out_of_bounds(hg_ctx *cx, hg_status kind, int64_t i, int d, int64_t size) {
    return hg_fail(cx, kind, "index %lld is out of bounds for dimension %d with size %lld", (long long)i, d,
                   (long long)size);
}

/* Do n numbers of an index lie in [0, size)? The sign of what they have beyond either end is kept, without a branch for each. */
static bool within(const char *p, int64_t step, int64_t n, bool wide, int64_t size) {
    uint64_t beyond = 0, last = (uint64_t)size - 1;
    if (wide && step == sizeof(int64_t))
        for (int64_t i = 0; i < n; i++) {
            uint64_t at = ((const uint64_t *)(const void *)p)[i];
            beyond |= at | (last - at);
        }
    else
        for (int64_t i = 0; i < n; i++) {
            uint64_t at = (uint64_t)number_at(p + i * step, wide);
            beyond |= at | (last - at);
        }
    return !(beyond >> 63);
}

/* Every number of the index must lie in [0, size). */
static hg_status check_index(hg_ctx *cx, const hg_tensor *index, int d, int64_t size) {
    if (!index->numel) return HG_OK;
    hg_walk w;
    bool wide = index->dtype == HG_I64;
    hg_walk_begin(&w, index->n_dim, index->shape);
    hg_walk_add(&w, index->data, index->stride, hg_tensor_itemsize(index));
    do {
        const char *p = w.p[0];
        int64_t n = w.step[0] ? w.inner : 1;
        if (size && within(p, w.step[0], n, wide, size)) continue;
        for (int64_t i = 0; i < n; i++, p += w.step[0]) {
            int64_t at = number_at(p, wide);
            if (at < 0 || at >= size) return out_of_bounds(cx, HG_SHAPE, at, d, size);
        }
    } while (hg_walk_next(&w));
    return HG_OK;
}

/* A 0-dimensional tensor counts as one of one element. */
static int dims_of(const hg_tensor *t) { return t->n_dim ? t->n_dim : 1; }

hg_status hg_gather_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[2].u.t;
    char b1[256], b2[256];
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (index->numel) { /* else its dtype may be any, as that of torch.tensor([]) */
        if (!is_index(index)) return hg_fail(cx, HG_SHAPE, "gather(): Expected dtype int32/int64 for index");
        if (dims_of(index) != dims_of(t))
            return hg_fail(cx, HG_SHAPE, "Index tensor must have the same number of dimensions as input tensor");
        for (int i = 0; i < index->n_dim && t->n_dim; i++)
            if (i != d && index->shape[i] > t->shape[i])
                return hg_fail(
                    cx, HG_SHAPE,
                    "Size does not match at dimension %d expected index %s to be no larger than self %s apart from "
                    "dimension %d",
                    i, hg_show_shape(index, b1), hg_show_shape(t, b2), d);
        if ((st = check_index(cx, index, d, hg_size_at(t, d))) != HG_OK) return st;
    }
    if ((st = hg_out(cx, out, (hg_dtype)t->dtype, index->n_dim, index->shape)) != HG_OK || !index->numel) return st;
    hg_walk w;
    int64_t along = hg_stride_at(t, d) * (int64_t)hg_tensor_itemsize(t);
    bool wide = index->dtype == HG_I64;
    hg_walk_begin(&w, index->n_dim, index->shape);
    hg_walk_add(&w, (*out)->data, (*out)->stride, hg_tensor_itemsize(t));
    hg_walk_add(&w, index->data, index->stride, hg_tensor_itemsize(index));
    if (t->n_dim)
        walk_beside(&w, t, d);
    else
        hg_walk_add(&w, t->data, (int64_t[]){0}, 1);
    HG_BY_SIZE(
        hg_tensor_itemsize(t), do {
            char *to = w.p[0], *at = w.p[1], *from = w.p[2];
            if (one_index(&w, sizeof(E))) {
                memcpy(to, from + number_at(at, wide) * along, (size_t)w.inner * sizeof(E));
                continue;
            }
            const int64_t n = w.inner, to_step = w.step[0], at_step = w.step[1], from_step = w.step[2];
            if (wide && at_step == sizeof(int64_t) && to_step == sizeof(E) && !from_step)
                for (int64_t i = 0; i < n; i++) ((E *)to)[i] = *(E *)(from + ((int64_t *)at)[i] * along);
            else
                for (int64_t i = 0; i < n; i++, to += to_step, at += at_step, from += from_step)
                    *(E *)to = *(E *)(from + number_at(at, wide) * along);
        } while (hg_walk_next(&w));)
    return HG_OK;
}

hg_status hg_gather_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_tensor *zeros = hg_x_zeros(cx, (hg_dtype)m.dtype, m.n_dim, m.shape);
    GIVE(0, hg_x_written(X(SCATTER_ADD, T(zeros), *ARG(1), T(IN(2)), T(G)), 1));
    return HG_OK;
}

typedef enum scatter_kind { PUT, ADD, MULTIPLY, LARGEST, SMALLEST } scatter_kind;

static hg_status check_scatter(hg_ctx *cx, const hg_arg *a, const hg_tensor *src, int *d) {
    hg_tensor *t = SELF, *index = a[2].u.t;
    char b1[256], b2[256], b3[256];
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, d);
    if (st != HG_OK) return st;
    if (index->numel && !is_index(index))
        return hg_fail(cx, HG_SHAPE, "scatter(): Expected dtype int32/int64 for index");
    if (src && src->dtype != t->dtype)
        return hg_fail(cx, HG_SHAPE, "scatter(): Expected self.dtype to be equal to src.dtype");
    if (!index->numel) return HG_OK;
    if (dims_of(index) != dims_of(t))
        return hg_fail(cx, HG_SHAPE, "Index tensor must have the same number of dimensions as self tensor");
    if (src && dims_of(index) != dims_of(src))
        return hg_fail(cx, HG_SHAPE, "Index tensor must have the same number of dimensions as src tensor");
    bool large = false, large_src = false;
    for (int i = 0; i < dims_of(t); i++) {
        int64_t size = hg_size_at(index, i);
        if (i != *d && size > hg_size_at(t, i)) large = true;
        if (src && size > hg_size_at(src, i)) large_src = true;
    }
    if ((large || large_src) && src)
        return hg_fail(
            cx, HG_SHAPE,
            "Expected index %s to be no larger than self %s apart from dimension %d and to be no larger size than src %s",
            hg_show_shape(index, b1), hg_show_shape(t, b2), *d, hg_show_shape(src, b3));
    if (large)
        return hg_fail(cx, HG_SHAPE, "Expected index %s to be no larger than self %s apart from dimension %d",
                       hg_show_shape(index, b1), hg_show_shape(t, b2), *d);
    return check_index(cx, index, *d, hg_size_at(t, *d));
}

/* to[.. index ..] takes (or is combined with) src, which may be a single number with strides of zero. */
static void scatter_into(hg_tensor *to, int d, const hg_tensor *index, const hg_tensor *src, scatter_kind kind) {
    static const int64_t still[HG_MAX_DIM] = {0};
    if (!index->numel) return;
    hg_walk w;
    int64_t along = hg_stride_at(to, d) * (int64_t)hg_tensor_itemsize(to);
    bool wide = index->dtype == HG_I64;
    hg_walk_begin(&w, index->n_dim, index->shape);
    if (to->n_dim)
        walk_beside(&w, to, d);
    else
        hg_walk_add(&w, to->data, still, 1);
    hg_walk_add(&w, index->data, index->stride, hg_tensor_itemsize(index));
    hg_walk_add(&w, src->data, src->n_dim ? src->stride : still, hg_tensor_itemsize(src));
    HG_BY_DTYPE(
        to->dtype, do {
            char *p = w.p[0], *at = w.p[1], *from = w.p[2];
            if ((int)K == HG_F32 && kind == ADD && one_index(&w, sizeof(E))) {
                E *e = (E *)(p + number_at(at, wide) * along);
                for (int64_t i = 0; i < w.inner; i++) e[i] = STORE(LOAD(e[i]) + LOAD(((E *)from)[i]));
                continue;
            }
            const int64_t n = w.inner, p_step = w.step[0], at_step = w.step[1], from_step = w.step[2];
            if (kind == ADD) {
                for (int64_t i = 0; i < n; i++, p += p_step, at += at_step, from += from_step) {
                    E *e = (E *)(p + number_at(at, wide) * along);
                    *e = STORE(LOAD(*e) + LOAD(*(E *)from));
                }
                continue;
            }
            for (int64_t i = 0; i < n; i++, p += p_step, at += at_step, from += from_step) {
                E *e = (E *)(p + number_at(at, wide) * along);
                if (kind == PUT) {
                    *e = *(E *)from;
                    continue;
                }
                A x = LOAD(*e), y = LOAD(*(E *)from);
                A r = kind == MULTIPLY  ? x * y
                      : x != x          ? x
                      : y != y          ? y
                      : kind == LARGEST ? (x > y ? x : y)
                                        : (x < y ? x : y);
                *e = STORE(r);
            }
        } while (hg_walk_next(&w));)
}

static hg_status scatter(hg_ctx *cx, const hg_arg *a, scatter_kind kind, hg_tensor **out) {
    hg_tensor *src = NULL, *index = NULL;
    int d;
    bool number = a[3].kind != HG_A_TENSOR;
    hg_status st = check_scatter(cx, a, number ? NULL : a[3].u.t, &d);
    if (st != HG_OK) return st;
    if (number)
        st = hg_raw_scalar(cx, a[3], (hg_dtype)SELF->dtype, &src);
    else
        hg_retain(cx, src = a[3].u.t);
    if (st == HG_OK) st = out_apart(cx, SELF, a[2].u.t, src, out, &index);
    if (st == HG_OK) scatter_into(*out, d, index, src, kind);
    hg_release(cx, src), hg_release(cx, index);
    return st;
}

hg_status hg_scatter_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return scatter(cx, a, PUT, out); }

/* The older way to add or multiply, which has no derivative. */
hg_status hg_scatter_with_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const char *how = a[4].u.s;
    bool adds = strcmp(how, "add") == 0;
    if (!adds && strcmp(how, "multiply") != 0)
        return hg_fail(cx, HG_STATE, "reduce argument must be either add or multiply.");
    hg_status st = HG_OK;
    if (a[3].kind == HG_A_TENSOR)
        st = hg_warn_once(cx, "The reduce argument of torch.scatter with Tensor src is deprecated and will be "
                              "removed in a future PyTorch release. Use torch.scatter_reduce instead for more "
                              "reduction options.");
    return st == HG_OK ? scatter(cx, a, adds ? ADD : MULTIPLY, out) : st;
}

/* A gradient that covers src's first corner, with zeros where src was larger than the index. */
static hg_tensor *fit(hg_ctx *cx, hg_tensor *g, hg_meta m) {
    int64_t pad[2 * HG_MAX_DIM];
    bool fits = true;
    if (!g || g->n_dim != m.n_dim) return g;
    for (int i = 0; i < m.n_dim; i++) {
        int pair = m.n_dim - 1 - i;
        pad[2 * pair] = 0, pad[2 * pair + 1] = m.shape[i] - g->shape[i];
        if (pad[2 * pair + 1]) fits = false;
    }
    return fits ? g : X(CONSTANT_PAD_ND, T(g), hg_ints(pad, 2 * m.n_dim));
}

hg_status hg_scatter_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(SCATTER_VALUE, T(G), *ARG(1), T(IN(2)), hg_i(0)));
    if (b->info->differentiable >> 3 & 1 && NEED(3)) {
        hg_tensor *index = IN(2);
        hg_meta m = META(3);
        GIVE(3, fit(cx, X(GATHER, T(G), *ARG(1), T(index)), m));
    }
    return HG_OK;
}

hg_status hg_scatter_add_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return scatter(cx, a, ADD, out); }

hg_status hg_scatter_add_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    if (NEED(3)) GIVE(3, fit(cx, X(GATHER, T(G), *ARG(1), T(IN(2))), META(3)));
    return HG_OK;
}

/* Give the places the index names the reduction's neutral element. */
static hg_status make_neutral(hg_ctx *cx, hg_tensor *to, int d, const hg_tensor *index, scatter_kind kind) {
    hg_dtype dtype = (hg_dtype)to->dtype;
    bool real = hg_dtype_is_float(dtype);
    int bits = 8 * hg_dtypes[dtype].size;
    int64_t most = dtype == HG_BOOL ? 1 : dtype == HG_U8 ? 255 : (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    int64_t least = dtype == HG_BOOL || dtype == HG_U8 ? 0 : -most - 1;
    hg_arg n = kind == ADD        ? hg_i(0)
               : kind == MULTIPLY ? hg_i(1)
               : kind == LARGEST  ? (real ? hg_f(-__builtin_inf()) : hg_i(least))
                                  : (real ? hg_f(__builtin_inf()) : hg_i(most));
    hg_tensor *number;
    hg_status st = hg_raw_scalar(cx, n, dtype, &number);
    if (st != HG_OK) return st;
    scatter_into(to, d, index, number, PUT);
    hg_release(cx, number);
    return HG_OK;
}

/* Divide every place by how many numbers went into it. */
static hg_status divide_by_counts(hg_ctx *cx, hg_tensor *to, int d, const hg_tensor *index, bool include_self) {
    hg_tensor *counts = NULL, *one = NULL;
    hg_status st = hg_tensor_empty(cx, HG_I64, to->n_dim, to->shape, &counts);
    if (st == HG_OK) st = hg_raw_fill(cx, counts, hg_i(include_self));
    if (st == HG_OK) st = hg_raw_scalar(cx, hg_i(1), HG_I64, &one);
    if (st == HG_OK && to->numel) {
        scatter_into(counts, d, index, one, ADD);
        hg_walk w;
        hg_walk_begin(&w, to->n_dim, to->shape);
        hg_walk_add(&w, to->data, to->stride, hg_tensor_itemsize(to));
        hg_walk_add(&w, counts->data, counts->stride, 8);
        HG_BY_DTYPE(
            to->dtype, do {
                char *p = w.p[0], *c = w.p[1];
                for (int64_t i = 0; i < w.inner; i++, p += w.step[0], c += w.step[1]) {
                    int64_t n = *(int64_t *)(void *)c;
                    A x = LOAD(*(E *)p), q = n > 1 ? x / (A)n : x;
                    if (n > 1 && (A)0.5 == 0 && q * (A)n > x) q -= 1; /* integers: rounded down */
                    *(E *)p = STORE(q);
                }
            } while (hg_walk_next(&w));)
    }
    hg_release(cx, counts), hg_release(cx, one);
    return st;
}

hg_status hg_scatter_reduce_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const char *how = a[4].u.s;
    bool mean = !strcmp(how, "mean");
    scatter_kind kind = !strcmp(how, "sum") || mean ? ADD
                        : !strcmp(how, "prod")      ? MULTIPLY
                        : !strcmp(how, "amax")      ? LARGEST
                        : !strcmp(how, "amin")      ? SMALLEST
                                                    : PUT;
    hg_tensor *src = a[3].u.t, *index = NULL;
    int d;
    if (kind == PUT)
        return hg_fail(cx, HG_SHAPE, "reduce argument must be either sum, prod, mean, amax or amin, got %s", how);
    hg_status st = check_scatter(cx, a, src, &d);
    if (st == HG_OK) st = out_apart(cx, SELF, a[2].u.t, src, out, &index);
    if (st == HG_OK && !a[5].u.i) st = make_neutral(cx, *out, d, index, kind);
    if (st == HG_OK) scatter_into(*out, d, index, src, kind);
    if (st == HG_OK && mean) st = divide_by_counts(cx, *out, d, index, a[5].u.i);
    hg_release(cx, index);
    return st;
}

/* The product of all, self not counted where it is zero. */
static hg_tensor *prod_to_self(hg_ctx *cx, hg_back *b) {
    hg_tensor *self = IN(0), *full = X(MASKED_FILL, T(self), T(X(EQ, T(self), hg_i(0))), hg_i(1));
    hg_tensor *all = X(SCATTER_REDUCE, T(full), *ARG(1), T(IN(2)), T(IN(3)), hg_s("prod"), *ARG(5));
    return X(DIV, T(X(MUL, T(G), T(all))), T(full));
}

/* The product without the factor itself: by division, and where it is the only zero by the others' product. Where there are
   more zeros that is right, but does not depend on them as it should. */
static hg_tensor *prod_to_src(hg_ctx *cx, hg_back *b) {
    hg_tensor *self = IN(0), *index = IN(2), *src = IN(3), *zeros, *some;
    hg_arg dim = *ARG(1), found = hg_i(0);
    hg_tensor *is_zero = X(EQ, T(src), hg_i(0)), *counted = X(TO_COPY, T(is_zero), hg_d((hg_dtype)self->dtype));
    zeros = X(SCATTER_ADD, T(X(ZEROS_LIKE, T(self))), dim, T(index), T(counted));
    zeros = X(GATHER, T(zeros), dim, T(index));
    hg_tensor *single = X(LOGICAL_AND, T(is_zero), T(X(EQ, T(zeros), hg_i(1))));
    hg_tensor *others = X(MASKED_FILL, T(src), T(single), hg_i(1)), *full = X(MASKED_FILL, T(src), T(is_zero), hg_i(1));
    others = X(SCATTER_REDUCE, T(self), dim, T(index), T(others), hg_s("prod"), *ARG(5));
    hg_tensor *at_zero = X(GATHER, T(X(MUL, T(G), T(others))), dim, T(index));
    hg_tensor *elsewhere = X(GATHER, T(X(MUL, T(G), T(OUT(0)))), dim, T(index));
    hg_tensor *to_src = X(WHERE, T(single), T(at_zero), T(X(DIV, T(elsewhere), T(full))));
    if (!cx->grad_enabled || !(some = X(ANY, T(X(GT, T(zeros), hg_i(1)))))) return to_src;
    hg_scope_fail(cx, hg_item(cx, some, &found));
    if (!found.u.i) return to_src;
    return X(DELAYED_ERROR, T(to_src),
             hg_s("scatter_reduce(): Double backward is unsupported for src when >1 zeros in src are scattered to the "
                  "same position in self"));
}

hg_status hg_scatter_reduce_bwd(hg_ctx *cx, hg_back *b) {
    const char *how = ARG(4)->u.s;
    hg_tensor *g = G, *self = IN(0), *index = IN(2), *src = IN(3), *result = OUT(0), *to_self = NULL, *to_src = NULL;
    hg_arg dim = *ARG(1);
    bool with_self = ARG(5)->u.i;
    if (!hg_scope_ok(cx)) return HG_OK;
    if (!strcmp(how, "sum")) {
        to_self = g, to_src = X(GATHER, T(g), dim, T(index));
    } else if (!strcmp(how, "mean")) {
        hg_tensor *n = X(FULL_LIKE, T(g), hg_i(with_self));
        n = X(SCATTER_ADD, T(n), dim, T(index), T(X(ONES_LIKE, T(src))));
        n = X(MASKED_FILL, T(n), T(X(EQ, T(n), hg_i(0))), hg_i(1));
        to_self = X(DIV, T(g), T(n));
        to_src = X(DIV, T(X(GATHER, T(g), dim, T(index))), T(X(GATHER, T(n), dim, T(index))));
    } else if (!strcmp(how, "prod")) {
        to_self = prod_to_self(cx, b);
        to_src = prod_to_src(cx, b);
    } else { /* amax, amin: shared equally among those that reach it */
        hg_tensor *value = X(GATHER, T(result), dim, T(index));
        hg_tensor *self_has = X(EQ, T(self), T(result)), *src_has = X(EQ, T(src), T(value));
        hg_arg d = hg_d((hg_dtype)self->dtype);
        hg_tensor *n = X(SCATTER_ADD, T(X(TO_COPY, T(self_has), d)), dim, T(index), T(X(TO_COPY, T(src_has), d)));
        hg_tensor *share = X(DIV, T(g), T(n));
        to_self = X(MUL, T(self_has), T(share));
        to_src = X(MUL, T(src_has), T(X(GATHER, T(share), dim, T(index))));
    }
    if (NEED(0)) {
        if (!with_self) to_self = X(SCATTER_VALUE, T(to_self), dim, T(index), hg_i(0));
        GIVE(0, to_self);
    }
    if (NEED(3)) GIVE(3, to_src);
    return HG_OK;
}

/* ---- index_select, index_add, index_copy, index_fill --------------------------------------------------------------------- */

/* A raw view of t as (before, along d, after), outer dimensions gone: what index_* ops walk one index at a time. */
static hg_status slab(hg_ctx *cx, const hg_tensor *t, int d, int64_t i, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    int n = 0;
    for (int k = 0; k < t->n_dim; k++)
        if (k != d) shape[n] = t->shape[k], stride[n++] = t->stride[k];
    return hg_raw_view(cx, t, n, shape, stride, i * hg_stride_at(t, d), out);
}

/* The rows of `from` along d to those of `to`: where `pick` is given from row pick[i], else i; likewise `put`. */
typedef struct moving {
    const hg_tensor *to, *from;
    const int64_t *put, *pick;
    int64_t step_to, step_from; /* from row to row, in bytes */
    int rank;                   /* of a row */
    int64_t shape[HG_MAX_DIM], s_to[HG_MAX_DIM], s_from[HG_MAX_DIM];
    bool add;
    double alpha;
} moving;

static void move_some(void *arg, int64_t begin, int64_t end) {
    const moving *m = arg;
    size_t size = hg_tensor_itemsize(m->to);
    if (!m->add && m->rank == 1 && m->s_to[0] == 1 && m->s_from[0] == 1) { /* short ones are not worth a walk */
        const size_t bytes = (size_t)m->shape[0] * size;
        for (int64_t i = begin; i < end; i++)
            memcpy(m->to->data + (m->put ? m->put[i] : i) * m->step_to,
                   m->from->data + (m->pick ? m->pick[i] : i) * m->step_from, bytes);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        hg_walk w;
        hg_walk_begin(&w, m->rank, m->shape);
        hg_walk_add(&w, m->to->data + (m->put ? m->put[i] : i) * m->step_to, m->s_to, size);
        hg_walk_add(&w, m->from->data + (m->pick ? m->pick[i] : i) * m->step_from, m->s_from, size);
        if (m->rank == 0) w.step[0] = w.step[1] = 0;
        if (!m->add) {
            HG_BY_SIZE(
                size, do {
                    char *p = w.p[0], *q = w.p[1];
                    if (w.step[0] == (int64_t)sizeof(E) && w.step[1] == (int64_t)sizeof(E))
                        memcpy(p, q, (size_t)w.inner * sizeof(E));
                    else
                        for (int64_t k = 0; k < w.inner; k++, p += w.step[0], q += w.step[1]) *(E *)p = *(E *)q;
                } while (hg_walk_next(&w));)
        } else {
            HG_BY_DTYPE(
                m->to->dtype, A factor = (int)K == HG_BOOL ? (A)(m->alpha != 0) : (A)m->alpha; do {
                    char *p = w.p[0], *q = w.p[1];
                    if ((int)K == HG_F32 && w.step[0] == (int64_t)sizeof(E) && w.step[1] == (int64_t)sizeof(E))
                        for (int64_t k = 0; k < w.inner; k++)
                            ((E *)p)[k] = STORE(LOAD(((E *)p)[k]) + LOAD(((E *)q)[k]) * factor);
                    else
                        for (int64_t k = 0; k < w.inner; k++, p += w.step[0], q += w.step[1])
                            *(E *)p = STORE(LOAD(*(E *)p) + LOAD(*(E *)q) * factor);
                } while (hg_walk_next(&w));)
        }
    }
}

/* Of rows from begin to end, where both are contiguous and d is the last dimension: elements to or from where the index says. */
static void move_in_rows(void *arg, int64_t begin, int64_t end) {
    const moving *m = arg;
    const int64_t n = m->to->shape[m->rank], length = m->from->shape[m->rank];
    if (m->pick) {
        HG_BY_SIZE(
            hg_tensor_itemsize(m->to), for (int64_t i = begin; i < end; i++) {
                E *to = (E *)(void *)m->to->data + i * n;
                const E *from = (const E *)(const void *)m->from->data + i * length;
                for (int64_t k = 0; k < n; k++) to[k] = from[m->pick[k]];
            })
    } else {
        HG_BY_DTYPE(
            m->to->dtype, A factor = (int)K == HG_BOOL ? (A)(m->alpha != 0) : (A)m->alpha;
            for (int64_t i = begin; i < end; i++) {
                E *to = (E *)(void *)m->to->data + i * n;
                const E *from = (const E *)(const void *)m->from->data + i * length;
                for (int64_t k = 0; k < length; k++)
                    to[m->put[k]] = STORE(LOAD(to[m->put[k]]) + LOAD(from[k]) * factor);
            })
    }
}

static void move_rows(hg_ctx *cx, const hg_tensor *to, const int64_t *put, const hg_tensor *from, const int64_t *pick,
                      int d, int64_t n, bool add, double alpha) {
    moving m = {.to = to, .from = from, .put = put, .pick = pick, .add = add, .alpha = alpha};
    int64_t each = 1, size = (int64_t)hg_tensor_itemsize(to);
    const hg_tensor *model = from->n_dim >= to->n_dim ? from : to;
    for (int k = 0; k < model->n_dim; k++)
        if (k != d) {
            each *= m.shape[m.rank] = model->shape[k];
            m.s_to[m.rank] = to->n_dim ? to->stride[k] : 0;
            m.s_from[m.rank++] = from->n_dim ? from->stride[k] : 0;
        }
    if (each == 0) return;
    m.step_to = (to->n_dim ? to->stride[d] : 1) * size, m.step_from = (from->n_dim ? from->stride[d] : 1) * size;
    if ((m.rank || (put && model->n_dim)) && m.rank == d && from->n_dim == to->n_dim && to->contiguous &&
        from->contiguous && !put == !add)
        hg_work(cx, each, 1 + HG_GRAIN / (1 + n), move_in_rows, &m);
    else if (put) /* may name a row twice */
        move_some(&m, 0, n);
    else
        hg_work(cx, n, 1 + HG_GRAIN / (1 + each), move_some, &m);
}

/* `kind`: torch raises IndexError in some of these ops and RuntimeError in others. */
static hg_status check_rows(hg_ctx *cx, hg_status kind, const char *words, const hg_tensor *index, int d, int64_t size,
                            bool wrap) {
    int64_t *at = (int64_t *)(void *)index->data;
    for (int64_t i = 0; i < index->numel; i++) {
        if (wrap && at[i] < 0 && at[i] >= -size) at[i] += size;
        if (at[i] >= 0 && at[i] < size) continue;
        return words ? hg_fail(cx, kind, "%s", words) : out_of_bounds(cx, kind, at[i], d, size);
    }
    return HG_OK;
}

hg_status hg_index_select_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[2].u.t, *at = NULL;
    int64_t shape[HG_MAX_DIM];
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (index->n_dim > 1) return hg_fail(cx, HG_INDEX, "index_select(): Index is supposed to be a vector");
    if (t->n_dim == 0 && index->numel != 1)
        return hg_fail(cx, HG_SHAPE, "index_select(): Index to scalar can have only 1 value, got %lld value(s)",
                       (long long)index->numel);
    if (!is_index(index)) return hg_fail(cx, HG_SHAPE, "index_select(): Expected dtype int32 or int64 for index");
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    if (t->n_dim) shape[d] = index->numel;
    if ((st = hg_raw_index(cx, index, &at)) != HG_OK) return st;
    st = check_rows(cx, HG_INDEX, "index out of range in self", at, d, hg_size_at(t, d), false);
    if (st == HG_OK) st = hg_out(cx, out, (hg_dtype)t->dtype, t->n_dim, shape);
    if (st == HG_OK) move_rows(cx, *out, NULL, t, (const int64_t *)(void *)at->data, d, at->numel, false, 1);
    hg_release(cx, at);
    return st;
}

hg_status hg_index_select_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_tensor *zeros = hg_x_zeros(cx, (hg_dtype)m.dtype, m.n_dim, m.shape);
    GIVE(0, hg_x_written(X(INDEX_ADD, T(zeros), *ARG(1), T(IN(2)), T(G)), 1));
    return HG_OK;
}

hg_status hg_index_add_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[2].u.t, *src = a[3].u.t, *at = NULL, *rows = NULL;
    char w1[16], w2[16], b1[256], b2[256];
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (index->n_dim > 1)
        return hg_fail(cx, HG_INDEX,
                       "index_add_(): Index is supposed to be a vector, but got dim: %d with type: %s and size: %s",
                       index->n_dim, hg_dtype_word(index->dtype, w1), hg_show_shape(index, b1));
    if (!is_index(index))
        return hg_fail(cx, HG_SHAPE, "index_add_(): Expected dtype int32/int64 for index but got: %s",
                       hg_dtype_word(index->dtype, w1));
    if (src->dtype != t->dtype)
        return hg_fail(cx, HG_SHAPE, "index_add_(): self (%s) and source (%s) must have the same scalar type",
                       hg_dtype_word(t->dtype, w1), hg_dtype_word(src->dtype, w2));
    if (src->n_dim && d >= src->n_dim)
        return hg_fail(cx, HG_SHAPE, "index_add_(): Indexing dim %d is out of bounds of the source tensor with dim %d",
                       d, src->n_dim);
    if (index->numel != hg_size_at(src, d))
        return hg_fail(
            cx, HG_SHAPE,
            "index_add_(): Number of indices (%lld) should be equal to source.size(dim): (%lld), for dim: %d",
            (long long)index->numel, (long long)hg_size_at(src, d), d);
    bool same = src->n_dim == t->n_dim || src->n_dim == 0 || t->n_dim == 0;
    for (int i = 0; same && i < t->n_dim && src->n_dim; i++) same = i == d || src->shape[i] == t->shape[i];
    if (!same)
        return hg_fail(
            cx, HG_SHAPE,
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = %s "
            "source.shape = %s",
            hg_show_shape(t, b1), hg_show_shape(src, b2));
    if ((st = hg_raw_index(cx, index, &at)) != HG_OK) return st;
    bool flat = t->n_dim < 2;
    st = check_rows(cx, flat ? HG_INDEX : HG_SHAPE, flat ? "index out of range in self" : NULL, at, d, hg_size_at(t, d),
                    false);
    if (st == HG_OK) st = out_apart(cx, t, at, src, out, &rows);
    if (st == HG_OK)
        move_rows(cx, *out, (const int64_t *)(void *)rows->data, src, NULL, d, at->numel, true, hg_number_f(&a[4]));
    hg_release(cx, at), hg_release(cx, rows);
    return st;
}

/* grad's rows that the source went to, in the source's shape. */
static hg_tensor *rows_of(hg_ctx *cx, hg_tensor *g, hg_arg dim, hg_tensor *index, hg_meta source) {
    hg_tensor *rows = X(INDEX_SELECT, T(g), dim, T(index));
    if (!rows) return NULL;
    return source.n_dim == 0 && rows->n_dim ? X(RESHAPE, T(rows), hg_ints(source.shape, 0))
                                            : X(EXPAND, T(rows), hg_ints(source.shape, source.n_dim));
}

hg_status hg_index_add_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    if (NEED(3)) {
        hg_tensor *rows = rows_of(cx, G, *ARG(1), IN(2), META(3));
        GIVE(3, hg_number_f(ARG(4)) == 1 ? rows : X(MUL, T(rows), *ARG(4)));
    }
    return HG_OK;
}

hg_status hg_index_copy_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[2].u.t, *src = a[3].u.t, *at = NULL, *fixed = NULL;
    char w1[16], w2[16];
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (index->n_dim > 1)
        return hg_fail(cx, HG_INDEX, "index_copy_(): Index should have dimension 1 or 0 (got %d)", index->n_dim);
    if (src->n_dim == 0 && index->numel != 1)
        return hg_fail(cx, HG_INDEX, "index_copy_(): When source is scalar, index should have one element (got %lld)",
                       (long long)index->numel);
    if (src->n_dim != t->n_dim && src->n_dim && t->n_dim)
        return hg_fail(
            cx, HG_INDEX,
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source "
            "dimensionality (%d), destination dimensionality (%d)",
            src->n_dim, t->n_dim);
    if (index->dtype != HG_I64)
        return hg_fail(cx, HG_SHAPE, "index_copy_(): Expected a long tensor for index, but got %s",
                       hg_dtype_word(index->dtype, w1));
    if (src->dtype != t->dtype)
        return hg_fail(
            cx, HG_SHAPE,
            "index_copy_(): self and source expected to have the same dtype, but got (self) %s and (source) %s",
            hg_dtype_word(t->dtype, w1), hg_dtype_word(src->dtype, w2));
    for (int i = 0; i < t->n_dim && src->n_dim; i++)
        if (i != d && src->shape[i] != t->shape[i]) {
            int64_t size_t_ = t->shape[i], size_s = src->shape[i];
            return hg_fail(
                cx, HG_SHAPE,
                "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: %lld at "
                "dimension %d and source slice shape: %lld at dimension 0.",
                (long long)size_t_, d, (long long)size_s);
        }
    if (src->n_dim && index->numel != src->shape[d])
        return hg_fail(cx, HG_INDEX,
                       "index_copy_(): Number of indices (%lld) should be equal to source.size(dim) (%lld)",
                       (long long)index->numel, (long long)src->shape[d]);
    if ((st = hg_raw_index(cx, index, &at)) != HG_OK) return st;
    const int64_t *rows = (const int64_t *)(void *)at->data;
    for (int64_t i = 0; i < at->numel && st == HG_OK; i++)
        if (rows[i] < 0 || rows[i] >= hg_size_at(t, d))
            st = hg_fail(cx, HG_INDEX, "index_copy_(): index %lld is out of bounds for dimension %d with size %lld",
                         (long long)rows[i], d, (long long)hg_size_at(t, d));
    if (st == HG_OK) st = out_apart(cx, t, at, src, out, &fixed);
    if (st == HG_OK) move_rows(cx, *out, (const int64_t *)(void *)fixed->data, src, NULL, d, at->numel, false, 1);
    hg_release(cx, at), hg_release(cx, fixed);
    return st;
}

hg_status hg_index_copy_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(INDEX_FILL, T(G), *ARG(1), T(IN(2)), hg_i(0)));
    if (NEED(3)) GIVE(3, rows_of(cx, G, *ARG(1), IN(2), META(3)));
    return HG_OK;
}

hg_status hg_index_fill_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *index = a[2].u.t, *at = NULL, *value = NULL, *row = NULL;
    bool number = a[3].kind != HG_A_TENSOR;
    int d;
    if (!number && a[3].u.t->n_dim)
        return hg_fail(cx, HG_SHAPE,
                       "index_fill_ only supports a 0-dimensional value tensor, but got tensor with %d dimension(s).",
                       a[3].u.t->n_dim);
    if (index->dtype != HG_I64) return hg_fail(cx, HG_INDEX, "index_fill_(): Expected dtype int64 for index.");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (index->n_dim > 1) return hg_fail(cx, HG_SHAPE, "Index has to be a vector/scalar");
    hg_tensor *own = NULL; /* the index with negative numbers made positive: a copy */
    st = hg_tensor_empty(cx, HG_I64, 1, &index->numel, &own);
    if (st == HG_OK && (st = hg_raw_index(cx, index, &at)) == HG_OK)
        if (index->numel) memcpy(own->data, at->data, (size_t)index->numel * 8);
    if (st == HG_OK) st = check_rows(cx, HG_INDEX, NULL, own, d, hg_size_at(t, d), true);
    if (st == HG_OK) st = hg_warn_of_overlap(cx, *out, "index_fill_", "mask] = scalar");
    if (st == HG_OK && *out) st = hg_check_apart(cx, *out, index);
    if (st == HG_OK) st = hg_out_clone(cx, t, out);
    if (st == HG_OK)
        st = number ? hg_raw_scalar(cx, a[3], (hg_dtype)t->dtype, &value)
                    : hg_raw_cast(cx, a[3].u.t, (hg_dtype)t->dtype, &value);
    for (int64_t i = 0; i < index->numel && st == HG_OK; i++) {
        if ((st = slab(cx, *out, d, ((int64_t *)(void *)own->data)[i], &row)) == HG_OK)
            st = hg_raw_copy(cx, row, value);
        hg_release(cx, row), row = NULL;
    }
    hg_release(cx, at), hg_release(cx, own), hg_release(cx, value);
    return st;
}

hg_status hg_index_fill_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(INDEX_FILL, T(G), *ARG(1), T(IN(2)), hg_i(0)));
    if (b->info->differentiable >> 3 & 1 && NEED(3)) {
        hg_tensor *once = XK(0, UNIQUE, T(IN(2)));
        GIVE(3, X(SUM, T(X(INDEX_SELECT, T(G), *ARG(1), T(once)))));
    }
    return HG_OK;
}
