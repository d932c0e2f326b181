/* The same elements in other places: repeated, rolled, flipped, masked to triangles, laid on diagonals, padded. */
#include "layout_impl.h"
#include "shape_impl.h"

#include <stdio.h>
#include <string.h>

#define SELF (a[0].u.t)

/* ---- Repeating -------------------------------------------------------------------------------------------------------- */

/* Every dimension becomes two, the repetitions and self's own; copied through that view, self is simply broadcast. */
hg_status hg_repeat_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *view = NULL, *from = NULL;
    int n = (int)a[1].n, lead = n - t->n_dim, k = 0;
    char b[256];
    int64_t shape[HG_MAX_DIM], wide[HG_MAX_DIM], stride[HG_MAX_DIM], source[HG_MAX_DIM];
    if (lead < 0)
        return hg_fail(cx, HG_SHAPE,
                       "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
    if (n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (int i = 0; i < n; i++)
        if (__builtin_mul_overflow(i < lead ? 1 : t->shape[i - lead], a[1].u.ints[i], &shape[i])) shape[i] = INT64_MAX;
    for (int i = 0; i < n; i++)
        if (shape[i] < 0 || a[1].u.ints[i] < 0)
            return hg_fail(cx, HG_SHAPE, "Trying to create tensor with negative dimension %lld: %s",
                           (long long)shape[i], hg_show_sizes(n, shape, b));
    hg_status st = hg_out(cx, out, (hg_dtype)t->dtype, n, shape);
    if (st != HG_OK || (*out)->numel == 0) return st;
    for (int i = 0; i < n; i++) {
        int64_t size = i < lead ? 1 : t->shape[i - lead], times = a[1].u.ints[i], step = (*out)->stride[i];
        if (times > 1) {
            if (k == HG_MAX_DIM) return hg_fail(cx, HG_STATE, "repeat: too many repeated dimensions");
            wide[k] = times, stride[k] = step * size, source[k++] = 0;
        }
        if (size > 1) {
            if (k == HG_MAX_DIM) return hg_fail(cx, HG_STATE, "repeat: too many repeated dimensions");
            wide[k] = size, stride[k] = step, source[k++] = t->stride[i - lead];
        }
    }
    st = hg_raw_view(cx, *out, k, wide, stride, 0, &view);
    if (st == HG_OK) st = hg_raw_view(cx, t, k, wide, source, 0, &from);
    if (st == HG_OK) st = hg_raw_copy(cx, view, from);
    hg_release(cx, view), hg_release(cx, from);
    return st;
}

hg_status hg_repeat_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    int n = (int)ARG(1)->n, lead = n - m.n_dim, k = 0, n_sum = 0;
    int64_t wide[2 * HG_MAX_DIM], sums[2 * HG_MAX_DIM];
    for (int i = 0; i < n; i++) {
        int64_t times = ARG(1)->u.ints[i];
        if (times == 0) {
            GIVE(0, hg_x_zeros(cx, (hg_dtype)m.dtype, m.n_dim, m.shape));
            return HG_OK;
        }
        if (times != 1 || i < lead) sums[n_sum++] = k, wide[k++] = times;
        if (i >= lead) wide[k++] = m.shape[i - lead];
    }
    hg_tensor *g = n_sum ? X(RESHAPE, T(G), hg_ints(wide, k)) : G;
    GIVE(0, n_sum ? X(SUM_DIM, T(g), hg_ints(sums, n_sum)) : g);
    return HG_OK;
}

hg_status hg_tile_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t full[HG_MAX_DIM];
    int n = (int)a[1].n, missing = SELF->n_dim > n ? SELF->n_dim - n : 0;
    if (n + missing > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (int i = 0; i < missing; i++) full[i] = 1;
    if (n) memcpy(full + missing, a[1].u.ints, (size_t)n * sizeof *full);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(REPEAT, T(SELF), hg_ints(full, n + missing)), out);
}

hg_status hg_repeat_interleave_int_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t times = a[1].u.i, full[HG_MAX_DIM + 1];
    int d = 0;
    hg_status st = hg_given(&a[2]) ? hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d) : HG_OK;
    if (st != HG_OK) return st;
    if (times < 0) return hg_fail(cx, HG_SHAPE, "Repeats must be non-negative");
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (!hg_given(&a[2]) || t->n_dim == 0) t = X(FLATTEN, T(t));
    hg_tensor *r = NULL;
    if (t) {
        for (int i = 0; i < t->n_dim; i++) full[i + (i > d)] = t->shape[i];
        full[d + 1] = times;
        hg_tensor *wide = X(EXPAND, T(X(UNSQUEEZE, T(t), hg_i(d + 1))), hg_ints(full, t->n_dim + 1));
        if (wide) r = X(FLATTEN, T(hg_x_packed(cx, wide)), hg_i(d), hg_i(d + 1));
    }
    return hg_scope_return(cx, &s, r, out);
}

/* The index 0, 0, 1, 2, 2, 2 of counts 2, 1, 3; `n` > counts' own length where a single count stands for all. */
static hg_status repeat_index(hg_ctx *cx, hg_tensor *counts, int64_t n, const hg_arg *size, hg_tensor **out) {
    hg_tensor *c = NULL;
    int64_t total = 0;
    if (counts->n_dim > 1) return hg_fail(cx, HG_SHAPE, "repeat_interleave only accept 1D vector as repeat");
    if (counts->dtype != HG_I32 && counts->dtype != HG_I64)
        return hg_no_kernel(cx, "repeat_interleave_cpu", (hg_dtype)counts->dtype);
    hg_status st = hg_raw_index(cx, counts, &c);
    if (st != HG_OK) return st;
    const int64_t *at = (const int64_t *)(void *)c->data;
    bool one = c->numel == 1;
    for (int64_t i = 0; i < n && st == HG_OK; i++) {
        int64_t k = at[one ? 0 : i];
        if (k < 0)
            st = hg_fail(cx, HG_SHAPE, "repeats can not be negative");
        else if (__builtin_add_overflow(total, k, &total))
            st = hg_no_memory(cx);
    }
    if (st == HG_OK && hg_given(size) && size->u.i != total)
        st = hg_fail(cx, HG_SHAPE, "allocated size does not match required size");
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_I64, 1, &total, out);
    if (st == HG_OK) {
        int64_t *to = (int64_t *)(void *)(*out)->data;
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = at[one ? 0 : i]; k > 0; k--) *to++ = i;
    }
    hg_release(cx, c);
    return st;
}

hg_status hg_repeat_interleave_counts_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *index = NULL;
    hg_status st = repeat_index(cx, SELF, SELF->numel, &a[1], &index);
    if (st == HG_OK) st = hg_raw_cast(cx, index, (hg_dtype)SELF->dtype, out);
    hg_release(cx, index);
    return st;
}

hg_status hg_repeat_interleave_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *counts = a[1].u.t, *index = NULL, *r = NULL;
    int d = 0;
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (!hg_given(&a[2]) || t->n_dim == 0) t = X(FLATTEN, T(t));
    if (!t) return hg_scope_return(cx, &s, NULL, out);
    hg_status st = HG_OK;
    if (hg_given(&a[2])) st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st == HG_OK && counts->n_dim > 1) st = hg_fail(cx, HG_SHAPE, "repeats must be 0-dim or 1-dim tensor");
    if (st == HG_OK && counts->numel != 1 && counts->numel != t->shape[d])
        st = hg_fail(
            cx, HG_SHAPE,
            "repeats must have the same size as input along dim, but got repeats.size(0) = %lld and input.size(%d) = %lld",
            (long long)counts->numel, d, (long long)t->shape[d]);
    if (st == HG_OK && hg_sees(cx, counts) == HG_SEEN_BY_CLASS) { /* a sample's numbers are not here */
        counts = X(EXPAND, T(counts), hg_ints(&t->shape[d], 1));
        r = X(INDEX_SELECT, T(t), hg_i(d), T(X(REPEAT_INTERLEAVE_COUNTS, T(counts), a[3])));
        return hg_scope_return(cx, &s, r, out);
    }
    if (st == HG_OK) st = repeat_index(cx, counts, t->shape[d], &a[3], &index);
    if (st == HG_OK)
        r = X(INDEX_SELECT, T(t), hg_i(d), T(hg_scope_keep(cx, index)));
    else
        hg_scope_fail(cx, st);
    return hg_scope_return(cx, &s, r, out);
}

/* ---- Rolling, flipping, turning ----------------------------------------------------------------------------------------- */

/* Copy from's range [start, start + length) along d to `at` in `to`. */
static hg_status move_range(hg_ctx *cx, hg_tensor *to, int64_t at, hg_tensor *from, int64_t start, int64_t length,
                            int d) {
    hg_tensor *v1 = NULL, *v2 = NULL;
    int64_t shape[HG_MAX_DIM];
    memcpy(shape, to->shape, (size_t)to->n_dim * sizeof *shape);
    shape[d] = length;
    hg_status st = hg_raw_view(cx, to, to->n_dim, shape, to->stride, at * to->stride[d], &v1);
    if (st == HG_OK) st = hg_raw_view(cx, from, to->n_dim, shape, from->stride, start * from->stride[d], &v2);
    if (st == HG_OK) st = hg_raw_copy(cx, v1, v2);
    hg_release(cx, v1), hg_release(cx, v2);
    return st;
}

static hg_status roll_one(hg_ctx *cx, hg_tensor *t, int d, int64_t shift, hg_tensor **out) {
    *out = NULL;
    hg_status st = hg_out_format(cx, out, (hg_dtype)t->dtype, t, hg_format_of(t));
    if (st != HG_OK || t->numel == 0) return st;
    int64_t size = t->shape[d], by = shift % size;
    if (by < 0) by += size;
    if (by < size) st = move_range(cx, *out, by, t, 0, size - by, d);
    if (st == HG_OK && by) st = move_range(cx, *out, 0, t, size - by, by, d);
    if (st != HG_OK) hg_release(cx, *out), *out = NULL;
    return st;
}

hg_status hg_roll_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = NULL, *next = NULL;
    int n = (int)a[1].n, n_dims = (int)a[2].n;
    hg_status st = HG_OK;
    if (n == 0) return hg_fail(cx, HG_SHAPE, "`shifts` required");
    if (n_dims != n && !(n_dims == 0 && n == 1))
        return hg_fail(cx, HG_SHAPE, "shifts and dimensions must align. shifts: %d, dims:%d", n, n_dims);
    if (n_dims == 0) { /* as if it were flat */
        hg_tensor *flat = NULL;
        if ((st = hg_raw_contiguous(cx, SELF, &t)) == HG_OK)
            st = hg_raw_view(cx, t, 1, &t->numel, &(int64_t){1}, 0, &flat);
        if (st == HG_OK) st = roll_one(cx, flat, 0, a[1].u.ints[0], &next);
        if (st == HG_OK) st = hg_tensor_alias(cx, next, t->n_dim, t->shape, t->stride, 0, out);
        hg_release(cx, flat), hg_release(cx, t), hg_release(cx, next);
        return st;
    }
    if (SELF->n_dim == 0)
        return hg_fail(cx, HG_INDEX, "Dimension specified as %lld but tensor has no dimensions",
                       (long long)a[2].u.ints[0]);
    hg_retain(cx, t = SELF);
    for (int i = 0; i < n && st == HG_OK && t->numel; i++) {
        int d;
        if ((st = hg_wrap_dim(cx, a[2].u.ints[i], SELF->n_dim, &d)) != HG_OK) break;
        if ((st = roll_one(cx, t, d, a[1].u.ints[i], &next)) == HG_OK) hg_release(cx, t), t = next;
    }
    if (st == HG_OK && t == SELF)
        st = hg_out_copy(cx, SELF, out);
    else if (st == HG_OK)
        *out = t, t = NULL;
    hg_release(cx, t);
    return st;
}

hg_status hg_roll_bwd(hg_ctx *cx, hg_back *b) {
    int64_t back[HG_MAX_DIM];
    int n = (int)ARG(1)->n;
    for (int i = 0; i < n; i++) back[i] = -ARG(1)->u.ints[i];
    GIVE(0, X(ROLL, T(G), hg_ints(back, n), *ARG(2)));
    return HG_OK;
}

static hg_status flipped(hg_ctx *cx, hg_tensor *t, const bool *mask, hg_tensor **out) {
    hg_tensor *view = NULL;
    int64_t stride[HG_MAX_DIM], first = 0;
    hg_status st = hg_out_kept(cx, out, (hg_dtype)t->dtype, t);
    if (st != HG_OK || t->numel == 0) return st;
    for (int i = 0; i < t->n_dim; i++) {
        stride[i] = mask[i] ? -t->stride[i] : t->stride[i];
        if (mask[i]) first += (t->shape[i] - 1) * t->stride[i];
    }
    st = hg_raw_view(cx, t, t->n_dim, t->shape, stride, first, &view); /* read backwards: never leaves this function */
    if (st == HG_OK) st = hg_raw_copy(cx, *out, view);
    hg_release(cx, view);
    return st;
}

hg_status hg_flip_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool mask[HG_MAX_DIM];
    hg_status st = hg_dim_mask(cx, SELF, &a[1], mask);
    return st == HG_OK ? flipped(cx, SELF, mask, out) : st;
}

hg_status hg_flip_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(FLIP, T(G), *ARG(1)));
    return HG_OK;
}

static hg_status flip_along(hg_ctx *cx, const hg_arg *a, int d, hg_tensor **out) {
    if (SELF->n_dim <= d) return hg_fail(cx, HG_SHAPE, "Input must be >= %d-d.", d + 1);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(FLIP, T(SELF), hg_ints(&(int64_t){d}, 1)), out);
}

hg_status hg_fliplr_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return flip_along(cx, a, 1, out); }
hg_status hg_flipud_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return flip_along(cx, a, 0, out); }

/* Quarter turns in the plane of two dimensions, the first two where none are named: a flip, and an exchange of axes. */
hg_status hg_rot90_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    static const int64_t first_two[2] = {0, 1};
    hg_tensor *t = SELF, *flip = NULL;
    const int64_t *dims = a[2].n ? a[2].u.ints : first_two;
    int n = a[2].n ? (int)a[2].n : 2, d0, d1, k = (int)(a[1].u.i & 3);
    if (n != 2) return hg_fail(cx, HG_SHAPE, "expected total rotation dims == 2, but got dims = %d", n);
    if (t->n_dim < 2) return hg_fail(cx, HG_SHAPE, "expected total dims >= 2, but got total dims = %d", t->n_dim);
    hg_status st = hg_wrap_dim(cx, dims[0], t->n_dim, &d0);
    if (st == HG_OK) st = hg_wrap_dim(cx, dims[1], t->n_dim, &d1);
    if (st != HG_OK) return st;
    if (d0 == d1)
        return hg_fail(cx, HG_SHAPE, "expected rotation dims to be different, but got dim0 = %lld and dim1 = %lld",
                       (long long)dims[0], (long long)dims[1]);
    if (k == 0) return hg_out_copy(cx, t, out);
    bool mask[HG_MAX_DIM] = {false};
    mask[d0] = k >= 2, mask[d1] = k == 1 || k == 2;
    if ((st = flipped(cx, t, mask, &flip)) != HG_OK) {
        hg_release(cx, flip);
        return st;
    }
    if (k == 2) {
        *out = flip;
        return HG_OK;
    }
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    memcpy(shape, flip->shape, (size_t)t->n_dim * sizeof *shape),
        memcpy(stride, flip->stride, (size_t)t->n_dim * sizeof *stride);
    shape[d0] = flip->shape[d1], shape[d1] = flip->shape[d0];
    stride[d0] = flip->stride[d1], stride[d1] = flip->stride[d0];
    st = hg_tensor_alias(cx, flip, t->n_dim, shape, stride, 0, out);
    hg_release(cx, flip);
    return st;
}

hg_status hg_rot90_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(ROT90, T(G), hg_i(-ARG(1)->u.i), *ARG(2)));
    return HG_OK;
}

/* ---- Triangles and diagonals -------------------------------------------------------------------------------------------- */

/* Keep what lies below (or above) the diagonal of every matrix, zeros elsewhere. */
static hg_status triangle(hg_ctx *cx, const char *name, const hg_arg *a, bool lower, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t k = a[1].u.i;
    if (t->n_dim < 2) return hg_fail(cx, HG_SHAPE, "%s: input tensor must have at least 2 dimensions", name);
    hg_status st = *out ? HG_OK : hg_out(cx, out, (hg_dtype)t->dtype, t->n_dim, t->shape);
    if (st == HG_OK && (*out)->data != t->data) st = hg_raw_copy(cx, *out, t);
    if (st != HG_OK || t->numel == 0) return st;
    const int64_t rows = t->shape[t->n_dim - 2], columns = t->shape[t->n_dim - 1],
                  size = (int64_t)hg_tensor_itemsize(t);
    k = k < -rows ? -rows : k > columns ? columns : k; /* all beyond is the same */
    hg_walk w;
    hg_walk_begin(&w, t->n_dim, t->shape);
    hg_walk_add(&w, (*out)->data, (*out)->stride, (size_t)size);
    int64_t row = 0;
    do {
        int64_t cut = row + k + (lower ? 1 : 0); /* columns before it are in the lower part */
        cut = cut < 0 ? 0 : cut > w.inner ? w.inner : cut;
        char *from = w.p[0] + (lower ? cut * w.step[0] : 0);
        const int64_t n = lower ? w.inner - cut : cut;
        if (w.step[0] == size) memset(from, 0, (size_t)(n * size));
        for (int64_t i = 0; w.step[0] != size && i < n; i++) memset(from + i * w.step[0], 0, (size_t)size);
        row = row + 1 == rows ? 0 : row + 1;
    } while (hg_walk_next(&w));
    return HG_OK;
}

hg_status hg_tril_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return triangle(cx, "tril", a, true, out); }
hg_status hg_triu_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return triangle(cx, "triu", a, false, out); }

hg_status hg_tril_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(TRIL, T(G), *ARG(1)));
    return HG_OK;
}

hg_status hg_triu_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(TRIU, T(G), *ARG(1)));
    return HG_OK;
}

hg_status hg_diag_embed_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *view = NULL;
    int64_t shape[HG_MAX_DIM], offset = a[1].u.i;
    int d1, d2;
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim + 1, &d1);
    if (st == HG_OK) st = hg_wrap_dim(cx, a[3].u.i, t->n_dim + 1, &d2);
    if (st != HG_OK) return st;
    if (d1 == d2)
        return hg_fail(cx, HG_SHAPE, "diagonal dimensions cannot be identical %lld, %lld", (long long)a[2].u.i,
                       (long long)a[3].u.i);
    if (t->n_dim + 1 > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    int64_t side = t->shape[t->n_dim - 1] + (offset < 0 ? -offset : offset);
    for (int i = 0, k = 0; i <= t->n_dim; i++) shape[i] = i == d1 || i == d2 ? side : t->shape[k++];
    st = hg_out(cx, out, (hg_dtype)t->dtype, t->n_dim + 1, shape);
    if (st == HG_OK) st = hg_raw_fill(cx, *out, hg_i(0));
    if (st == HG_OK) st = hg_diagonal_fwd(cx, (hg_arg[]){hg_t(*out), hg_i(offset), hg_i(d1), hg_i(d2)}, &view);
    if (st == HG_OK) st = hg_raw_copy(cx, view, t);
    hg_release(cx, view);
    return st;
}

hg_status hg_diag_embed_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(DIAGONAL, T(G), *ARG(1), *ARG(2), *ARG(3)));
    return HG_OK;
}

hg_status hg_diag_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (SELF->n_dim != 1 && SELF->n_dim != 2)
        return hg_fail(cx, HG_SHAPE, "diag(): Supports 1D or 2D tensors. Got %dD", SELF->n_dim);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, SELF->n_dim == 1 ? X(DIAG_EMBED, T(SELF), a[1]) : X(DIAGONAL_COPY, T(SELF), a[1]),
                           out);
}

hg_status hg_diagflat_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(DIAG_EMBED, T(X(RAVEL, T(SELF))), a[1]), out);
}

/* ---- Padding ---------------------------------------------------------------------------------------------------------- */

/* Pads come in pairs, the last dimension's first; negative ones cut off. */
hg_status hg_constant_pad_nd_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *to = NULL, *from = NULL;
    int n = (int)a[1].n / 2;
    int64_t shape[HG_MAX_DIM], inner[HG_MAX_DIM], start_to = 0, start_from = 0;
    if (a[1].n % 2) return hg_fail(cx, HG_SHAPE, "Length of pad must be even but instead it equals %u", a[1].n);
    if (n > t->n_dim)
        return hg_fail(
            cx, HG_SHAPE,
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is %u while the "
            "input has %d dimensions.",
            a[1].n, t->n_dim);
    for (int i = 0; i < t->n_dim; i++) {
        int pair = t->n_dim - 1 - i;
        int64_t before = pair < n ? a[1].u.ints[2 * pair] : 0, after = pair < n ? a[1].u.ints[2 * pair + 1] : 0;
        int64_t cut = (before < 0 ? -before : 0) + (after < 0 ? -after : 0);
        if (t->shape[i] < cut && cut) return hg_fail(cx, HG_SHAPE, "narrow(): length must be non-negative.");
        shape[i] = t->shape[i] + before + after;
        inner[i] = t->shape[i] - cut;
        if (shape[i] < 0)
            return hg_fail(
                cx, HG_SHAPE,
                "The input size %lld, plus negative padding %lld and %lld resulted in a negative output size, which is "
                "invalid. Check dimension %d of your input.",
                (long long)t->shape[i], (long long)before, (long long)after, i);
    }
    bool fresh = !*out;
    bool crops = true; /* no more than that: what is left lies as it did */
    for (uint32_t k = 0; k < a[1].n; k++) crops = crops && a[1].u.ints[k] <= 0;
    hg_tensor left = *t;
    left.shape = inner, left.contiguous = false; /* as the strides stay */
    hg_status st = crops ? hg_out_kept(cx, out, (hg_dtype)t->dtype, &left)
                         : hg_out(cx, out, (hg_dtype)t->dtype, t->n_dim, shape);
    if (st == HG_OK && fresh && !crops) st = hg_reformat(cx, *out, hg_format_of(t));
    if (st != HG_OK) return st;
    if ((st = hg_raw_fill(cx, *out, a[2])) != HG_OK || t->numel == 0) return st;
    for (int i = 0; i < t->n_dim; i++) {
        int pair = t->n_dim - 1 - i;
        int64_t before = pair < n ? a[1].u.ints[2 * pair] : 0;
        if (before < 0)
            start_from -= before * t->stride[i];
        else
            start_to += before * (*out)->stride[i];
    }
    st = hg_raw_view(cx, *out, t->n_dim, inner, (*out)->stride, start_to, &to);
    if (st == HG_OK) st = hg_raw_view(cx, t, t->n_dim, inner, t->stride, start_from, &from);
    if (st == HG_OK && to->numel) st = hg_raw_copy(cx, to, from);
    hg_release(cx, to), hg_release(cx, from);
    return st;
}

hg_status hg_constant_pad_nd_bwd(hg_ctx *cx, hg_back *b) {
    int64_t back[2 * HG_MAX_DIM];
    int n = (int)ARG(1)->n;
    for (int i = 0; i < n; i++) back[i] = -ARG(1)->u.ints[i];
    GIVE(0, X(CONSTANT_PAD_ND, T(G), hg_ints(back, n)));
    return HG_OK;
}

/* Where place i of a padded row of `size` takes its value from. */
static int64_t at_least_0(int64_t n) { return n > 0 ? n : 0; }
static int64_t source_of(char mode, int64_t i, int64_t size) {
    if (mode == 'r') return i < 0 ? -i : i >= size ? 2 * (size - 1) - i : i;
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* The index that pads dimension d of t's shape; NULL where there is nothing to pad. New. */
static hg_status pad_index(hg_ctx *cx, const int64_t *shape, int d, int64_t before, int64_t after, char mode,
                           hg_tensor **out) {
    int64_t size = shape[d], n = size + before + after;
    *out = NULL;
    if (before == 0 && after == 0) return HG_OK;
    hg_status st = hg_tensor_empty(cx, HG_I64, 1, &n, out);
    for (int64_t i = 0; st == HG_OK && i < n; i++)
        ((int64_t *)(void *)(*out)->data)[i] = source_of(mode, i - before, size);
    return st;
}

/* One number; sizes that are known need no call. */
static inline void put_one(char *to, const char *from, int64_t size) {
    if (size == 4)
        memcpy(to, from, 4);
    else if (size == 8)
        memcpy(to, from, 8);
    else if (size == 2)
        memcpy(to, from, 2);
    else
        *to = *from;
}

/* t, contiguous, to the padded y, row by row: its middle at once. The last three dimensions' sizes, and what lies before them. */
static void pad_rows(char mode, const hg_tensor *t, const int64_t *n, const int64_t *before, hg_tensor *y) {
    const int64_t size = (int64_t)hg_tensor_itemsize(t), *in = n, *out = n + 3;
    const int64_t lo = at_least_0(before[2]), until = before[2] + in[2] < out[2] ? before[2] + in[2] : out[2];
    const int64_t hi = until > lo ? until : lo;
    char *to = y->data, *end = to + y->numel * size;
    for (const char *from = t->data; to < end; from += in[0] * in[1] * in[2] * size)
        for (int64_t r = 0; r < out[0] * out[1]; r++, to += out[2] * size) {
            const int64_t z = out[0] == 1 ? 0 : r / out[1];
            const char *row = from + (source_of(mode, z - before[0], in[0]) * in[1] +
                                      source_of(mode, r - z * out[1] - before[1], in[1])) *
                                         in[2] * size;
            if (lo < hi) memcpy(to + lo * size, row + (lo - before[2]) * size, (size_t)((hi - lo) * size));
            for (int64_t x = lo > 0 ? 0 : hi; x < out[2]; x = x + 1 == lo ? hi : x + 1)
                put_one(to + x * size, row + source_of(mode, x - before[2], in[2]) * size, size);
        }
}

static hg_status pad_by_source(hg_ctx *cx, const hg_arg *a, char mode, hg_tensor **out) {
    hg_tensor *t = SELF, *whole = NULL, *y = NULL;
    int n = (int)a[1].n / 2;
    int64_t shape[HG_MAX_DIM], size[6] = {1, 1, 1, 1, 1, 1}, first[3] = {0};
    char words[256];
    for (int i = t->n_dim - n - 1; i < t->n_dim; i++)
        if (i < 0 || t->shape[i] == 0)
            return hg_fail(
                cx, HG_STATE,
                "Expected %dD or %dD (batch mode) tensor with possibly 0 batch size and other non-zero dimensions "
                "for input, but got: %s",
                n + 1, n + 2, hg_show_shape(t, words));
    if (t->dtype == HG_BOOL) {
        snprintf(words, sizeof words, "%s_pad%dd", mode == 'r' ? "reflection" : "replication", n);
        return hg_no_kernel(cx, words, HG_BOOL);
    }
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    for (int i = 0; i < n; i++) {
        const int d = t->n_dim - 1 - i;
        const int64_t before = a[1].u.ints[2 * i], after = a[1].u.ints[2 * i + 1];
        if (mode == 'r' && (before >= shape[d] || after >= shape[d]))
            return hg_fail(
                cx, HG_SHAPE,
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding (%lld, %lld) at "
                "dimension %d of input %s",
                (long long)before, (long long)after, d, hg_show_shape(t, words));
        size[2 - i] = shape[d], first[2 - i] = before;
        if ((size[5 - i] = shape[d] += before + after) < 0)
            return hg_fail(cx, HG_SHAPE, "Expected a non-empty input along the padded dimensions");
    }
    hg_status st = hg_raw_contiguous(cx, t, &whole);
    if (st == HG_OK) st = hg_tensor_empty(cx, (hg_dtype)t->dtype, t->n_dim, shape, &y);
    if (st == HG_OK) pad_rows(mode, whole, size, first, y);
    hg_release(cx, whole);
    hg_format f = hg_format_of(t);
    if (st == HG_OK && (*out || f == HG_FORMAT_CONTIGUOUS)) return hg_out_take(cx, y, out);
    if (st == HG_OK && (st = hg_out_format(cx, out, (hg_dtype)t->dtype, y, f)) == HG_OK) st = hg_raw_copy(cx, *out, y);
    hg_release(cx, y);
    return st;
}

/* The gradient of every place goes to where its value came from. */
static hg_status unpad_by_index(hg_ctx *cx, hg_back *b, char mode) {
    hg_meta m = META(0);
    hg_tensor *g = G;
    for (int i = (int)ARG(1)->n / 2 - 1; i >= 0; i--) {
        hg_tensor *index;
        int d = m.n_dim - 1 - i;
        hg_status st = pad_index(cx, m.shape, d, ARG(1)->u.ints[2 * i], ARG(1)->u.ints[2 * i + 1], mode, &index);
        if (st != HG_OK) return st;
        if (!index) continue;
        hg_scope_keep(cx, index);
        if (!g) return HG_OK;
        int64_t shape[HG_MAX_DIM];
        memcpy(shape, g->shape, (size_t)g->n_dim * sizeof *shape);
        shape[d] = m.shape[d];
        hg_tensor *zeros = hg_x_zeros(cx, (hg_dtype)g->dtype, g->n_dim, shape);
        g = X(INDEX_ADD, T(zeros), hg_i(d), T(index), T(g));
    }
    hg_format f = hg_format_of(IN(0));
    if (f != HG_FORMAT_CONTIGUOUS) g = X(CONTIGUOUS, T(g), hg_format_arg(f));
    GIVE(0, g);
    return HG_OK;
}

hg_status hg_pad_reflect_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return pad_by_source(cx, a, 'r', out); }
hg_status hg_pad_reflect_bwd(hg_ctx *cx, hg_back *b) { return unpad_by_index(cx, b, 'r'); }
hg_status hg_pad_replicate_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return pad_by_source(cx, a, 'e', out); }
hg_status hg_pad_replicate_bwd(hg_ctx *cx, hg_back *b) { return unpad_by_index(cx, b, 'e'); }

static hg_tensor *part(hg_ctx *cx, hg_tensor *t, int d, int64_t from, int64_t to) {
    return t ? X(SLICE, T(t), hg_i(d), hg_i(from), hg_i(to), hg_i(1)) : NULL;
}
static void write(hg_ctx *cx, hg_tensor *to, hg_tensor *from) {
    if (to && from) hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_COPY_, (hg_arg[]){hg_t(to), hg_t(from)}, 2));
}

/* Circular padding is no op of its own, but copies that are recorded: of the input into the middle of the result, then of
   either end of each dimension to before the other. Padding below 0 crops. */
static hg_tensor *pad_around(hg_ctx *cx, hg_tensor *t, const hg_arg *pad) {
    int64_t shape[HG_MAX_DIM];
    const int64_t *by = pad->u.ints;
    int n = (int)pad->n / 2, last = t->n_dim - 1;
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    for (int i = 0; i < n; i++) {
        int64_t size = t->shape[last - i], before = by[2 * i], after = by[2 * i + 1];
        if (before > size || after > size)
            return hg_x_fail(cx, hg_fail(cx, HG_SHAPE, "Padding value causes wrapping around more than once."));
        if ((shape[last - i] += before + after) < 0)
            return hg_x_fail(cx, hg_fail(cx, HG_SHAPE, "Negative padding value is resulting in an empty dimension"));
    }
    hg_tensor *whole = X(NEW_EMPTY, T(t), hg_ints(shape, t->n_dim)), *middle = whole, *kept = t;
    for (int i = 0; i < n; i++) {
        int d = last - i;
        middle = part(cx, middle, d, at_least_0(by[2 * i]), shape[d] - at_least_0(by[2 * i + 1]));
        kept = part(cx, kept, d, at_least_0(-by[2 * i]), t->shape[d] - at_least_0(-by[2 * i + 1]));
    }
    write(cx, middle, kept);
    for (int i = 0; i < n; i++) {
        int d = last - i;
        int64_t before = at_least_0(by[2 * i]), after = at_least_0(by[2 * i + 1]), end = shape[d] - after;
        if (before) {
            hg_tensor *to = part(cx, whole, d, 0, before);
            write(cx, to, part(cx, whole, d, end - before, end));
        }
        if (after) {
            hg_tensor *to = part(cx, whole, d, end, shape[d]);
            write(cx, to, part(cx, whole, d, before, before + after));
        }
    }
    return whole;
}

hg_status hg_pad_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *r;
    const char *mode = a[2].u.s;
    int n = (int)a[1].n;
    bool constant = !strcmp(mode, "constant");
    char kind = !strcmp(mode, "reflect") ? 'r' : !strcmp(mode, "replicate") ? 'e' : !strcmp(mode, "circular") ? 'c' : 0;
    if (n % 2) return hg_fail(cx, HG_SHAPE, "Padding length must be divisible by 2");
    if (n / 2 > t->n_dim)
        return hg_fail(
            cx, HG_SHAPE,
            "Padding length should be less than or equal to two times the input dimension but got padding length %d and "
            "input of dimension %d",
            n, t->n_dim);
    if (!constant && !kind) return hg_fail(cx, HG_MISSING, "Unrecognised padding mode %s", mode);
    if (kind && hg_given(&a[3]))
        return hg_fail(cx, HG_SHAPE, "Padding mode \"%s\" doesn't take in value argument", mode);
    if (kind && !((n == 2 && (t->n_dim == 2 || t->n_dim == 3)) || (n == 4 && (t->n_dim == 3 || t->n_dim == 4)) ||
                  (n == 6 && (t->n_dim == 4 || t->n_dim == 5))))
        return hg_fail(cx, HG_MISSING, "Padding size %d is not supported for %dD input tensor.", n, t->n_dim);
    hg_scope s;
    hg_scope_begin(cx, &s);
    static const int reflect[3] = {HG_OP_REFLECTION_PAD1D, HG_OP_REFLECTION_PAD2D, HG_OP_REFLECTION_PAD3D};
    static const int replicate[3] = {HG_OP_REPLICATION_PAD1D, HG_OP_REPLICATION_PAD2D, HG_OP_REPLICATION_PAD3D};
    if (constant)
        r = X(CONSTANT_PAD_ND, T(t), a[1], hg_given(&a[3]) ? a[3] : hg_i(0));
    else if (kind == 'c')
        r = pad_around(cx, t, &a[1]);
    else
        r = hg_x(cx, kind == 'r' ? reflect[n / 2 - 1] : replicate[n / 2 - 1], (hg_arg[]){T(t), a[1]}, 2);
    return hg_scope_return(cx, &s, r, out);
}
