/* Parts of a tensor as views: one index, a range, pieces, diagonals, windows. */
#include "layout_impl.h"
#include "shape_impl.h"

#include <string.h>

#define SELF (a[0].u.t)

static void copy_layout(const hg_tensor *t, int64_t *shape, int64_t *stride) {
    hg_copy_dims(shape, t->shape, t->n_dim);
    hg_copy_dims(stride, t->stride, t->n_dim);
}

/* Note [Embedding]
   The derivative of a view that takes a part is that part of a tensor of zeros: an op of its own (select_backward ...), so
   that its derivative, the view again, is found by the same rule. `part` is the forward of the view, called on the zeros. */
static hg_status embed(hg_ctx *cx, hg_tensor *grad, const hg_arg *size,
                       hg_status (*part)(hg_ctx *, const hg_arg *, hg_tensor **), const hg_arg *rest, int n_rest,
                       hg_tensor **out) {
    hg_tensor *view = NULL;
    hg_arg args[8];
    hg_status st = hg_out(cx, out, (hg_dtype)grad->dtype, (int)size->n, size->u.ints);
    if (st != HG_OK) return st;
    if ((st = hg_raw_fill(cx, *out, hg_i(0))) != HG_OK) return st;
    args[0] = hg_t(*out);
    memcpy(args + 1, rest, (size_t)n_rest * sizeof *rest);
    if ((st = part(cx, args, &view)) == HG_OK) st = hg_raw_copy(cx, view, grad);
    hg_release(cx, view);
    return st;
}

/* ---- One index, a range ----------------------------------------------------------------------------------------------- */

hg_status hg_select_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM], i = a[2].u.i;
    char b[256];
    int d;
    if (t->n_dim == 0) return hg_fail(cx, HG_INDEX, "select() cannot be applied to a 0-dim tensor.");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (i < -t->shape[d] || i >= t->shape[d])
        return hg_fail(cx, HG_INDEX, "select(): index %lld out of range for tensor of size %s at dimension %d",
                       (long long)i, hg_show_shape(t, b), d);
    if (i < 0) i += t->shape[d];
    copy_layout(t, shape, stride);
    int64_t offset = i * stride[d];
    for (int k = d; k + 1 < t->n_dim; k++) shape[k] = t->shape[k + 1], stride[k] = t->stride[k + 1];
    return hg_raw_view(cx, t, t->n_dim - 1, shape, stride, offset, out);
}

hg_status hg_select_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SELECT_BACKWARD, T(G), hg_ints(META(0).shape, META(0).n_dim), *ARG(1), *ARG(2)));
    return HG_OK;
}

hg_status hg_select_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return embed(cx, SELF, &a[1], hg_select_fwd, a + 2, 2, out);
}

hg_status hg_select_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SELECT, T(G), *ARG(2), *ARG(3)));
    return HG_OK;
}

hg_status hg_slice_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM], step = a[4].u.i;
    int d;
    if (t->n_dim == 0) return hg_fail(cx, HG_INDEX, "slice() cannot be applied to a 0-dim tensor.");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (step <= 0) return hg_fail(cx, HG_SHAPE, "slice step must be positive");
    int64_t size = t->shape[d], start = hg_given(&a[2]) ? a[2].u.i : 0, end = hg_given(&a[3]) ? a[3].u.i : size;
    if (start < 0) start += size;
    if (end < 0) end += size;
    start = start < 0 ? 0 : start > size ? size : start;
    end = end < start ? start : end > size ? size : end;
    copy_layout(t, shape, stride);
    shape[d] = (end - start) / step + ((end - start) % step != 0);
    if (shape[d] > 1 && step <= size)
        stride[d] *= step;
    else if (__builtin_mul_overflow(stride[d], step, &stride[d]))
        stride[d] = 1; /* of a single element: never walked */
    return hg_raw_view(cx, t, t->n_dim, shape, stride, start * t->stride[d], out);
}

hg_status hg_slice_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SLICE_BACKWARD, T(G), hg_ints(META(0).shape, META(0).n_dim), *ARG(1), *ARG(2), *ARG(3), *ARG(4)));
    return HG_OK;
}

hg_status hg_slice_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return embed(cx, SELF, &a[1], hg_slice_fwd, a + 2, 4, out);
}

hg_status hg_slice_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SLICE, T(G), *ARG(2), *ARG(3), *ARG(4), *ARG(5)));
    return HG_OK;
}

hg_status hg_narrow_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t start = a[2].u.i, length = a[3].u.i;
    int d;
    if (t->n_dim == 0) return hg_fail(cx, HG_SHAPE, "narrow() cannot be applied to a 0-dim tensor.");
    if (length < 0) return hg_fail(cx, HG_SHAPE, "narrow(): length must be non-negative.");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    int64_t size = t->shape[d];
    if (start < -size || start > size)
        return hg_fail(cx, HG_INDEX, "start out of range (expected to be in range of [%lld, %lld], but got %lld)",
                       -(long long)size, (long long)size, (long long)start);
    if (start < 0) start += size;
    if (start > size - length)
        return hg_fail(cx, HG_SHAPE, "start (%lld) + length (%lld) exceeds dimension size (%lld).", (long long)start,
                       (long long)length, (long long)size);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(SLICE, T(t), a[1], hg_i(start), hg_i(start + length), hg_i(1)), out);
}

/* ---- Pieces ----------------------------------------------------------------------------------------------------------- */

/* A raw view of t's range [start, start + length) along dimension d. */
static hg_status piece(hg_ctx *cx, hg_tensor *t, int d, int64_t start, int64_t length, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM];
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape);
    shape[d] = length;
    return hg_raw_view(cx, t, t->n_dim, shape, t->stride, start * t->stride[d], out);
}

/* How many pieces of `each` make up `size`; one, empty, of an empty dimension. */
static int64_t n_pieces(int64_t size, int64_t each) {
    return size == 0 || each == 0 ? 1 : size / each + (size % each != 0);
}

/* piece(), and where it is `apart` under a version of its own. */
static hg_status cut(hg_ctx *cx, hg_tensor *t, int d, int64_t start, int64_t length, bool apart, hg_tensor **out) {
    hg_tensor *shared;
    if (!apart) return piece(cx, t, d, start, length, out);
    hg_status st = piece(cx, t, d, start, length, &shared);
    if (st != HG_OK) return st;
    st = hg_tensor_data(cx, shared, out);
    hg_release(cx, shared);
    return st;
}

static hg_status split(hg_ctx *cx, const hg_arg *a, bool apart, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t each = a[1].u.i;
    int d;
    if (t->n_dim == 0) return hg_fail(cx, HG_SHAPE, "split expects at least a 1-dimensional tensor");
    if (each < 0)
        return hg_fail(cx, HG_SHAPE, "split expects split_size be non-negative, but got split_size=%lld",
                       (long long)each);
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    int64_t size = t->shape[d];
    if (each == 0 && size)
        return hg_fail(cx, HG_SHAPE, "split_size can only be 0 if dimension size is 0, but got dimension size of %lld",
                       (long long)size);
    int64_t n = n_pieces(size, each);
    hg_tensor **list;
    if ((st = hg_out_list(cx, out, n, &list)) != HG_OK) return st;
    for (int64_t i = 0; i < n && st == HG_OK; i++) {
        int64_t left = size - i * each;
        st = cut(cx, t, d, i * each, each < left ? each : left, apart, &list[i]);
    }
    return st;
}

hg_status hg_split_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return split(cx, a, false, out); }

hg_status hg_unsafe_split_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return split(cx, a, true, out); }

static hg_status split_sizes(hg_ctx *cx, const hg_arg *a, bool apart, hg_tensor **out) {
    hg_tensor *t = SELF;
    const int64_t *sizes = a[1].u.ints;
    int64_t sum = 0, start = 0;
    char b[256];
    int d, n = (int)a[1].n;
    if (t->n_dim == 0) return hg_fail(cx, HG_SHAPE, "split expects at least a 1-dimensional tensor");
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    for (int i = 0; i < n; i++) {
        if (sizes[i] < 0)
            return hg_fail(
                cx, HG_SHAPE,
                "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=%s",
                hg_show_sizes(n, sizes, b));
        if (__builtin_add_overflow(sum, sizes[i], &sum)) sum = -1, i = n;
    }
    if (sum != t->shape[d])
        return hg_fail(
            cx, HG_SHAPE,
            "split_with_sizes expects split_sizes to sum exactly to %lld (input tensor's size at dimension %d), but got "
            "split_sizes=%s",
            (long long)t->shape[d], d, hg_show_sizes(n, sizes, b));
    hg_tensor **list;
    if ((st = hg_out_list(cx, out, n, &list)) != HG_OK) return st;
    for (int i = 0; i < n && st == HG_OK; start += sizes[i++]) st = cut(cx, t, d, start, sizes[i], apart, &list[i]);
    return st;
}

hg_status hg_split_sizes_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return split_sizes(cx, a, false, out); }

hg_status hg_unsafe_split_sizes_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return split_sizes(cx, a, true, out);
}

/* The outputs' gradients, zeros where none arrived, put together again along `dim`. */
static hg_status join_grads(hg_ctx *cx, hg_back *b, int op, int64_t dim) {
    int n = hg_back_n_out(b);
    hg_tensor **grads = hg_mem(cx, (size_t)(n ? n : 1) * sizeof *grads);
    if (!grads) return HG_MEMORY;
    for (int i = 0; i < n; i++) grads[i] = GRAD(i);
    if (hg_scope_ok(cx)) GIVE(0, hg_x(cx, op, (hg_arg[]){hg_ts(grads, n), hg_i(dim)}, 2));
    hg_mem_free(cx->lib, grads);
    return HG_OK;
}

hg_status hg_split_bwd(hg_ctx *cx, hg_back *b) { return join_grads(cx, b, HG_OP_CAT, ARG(2)->u.i); }

hg_status hg_unbind_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    if (t->n_dim == 0) return hg_fail(cx, HG_INDEX, "Dimension specified as %lld but tensor has no dimensions", 0LL);
    hg_tensor **list;
    if ((st = hg_out_list(cx, out, t->shape[d], &list)) != HG_OK) return st;
    for (int64_t i = 0; i < t->shape[d] && st == HG_OK; i++)
        st = hg_select_fwd(cx, (hg_arg[]){a[0], hg_i(d), hg_i(i)}, &list[i]);
    return st;
}

hg_status hg_unbind_bwd(hg_ctx *cx, hg_back *b) {
    int64_t dim = ARG(1)->u.i;
    return join_grads(cx, b, HG_OP_STACK, dim < 0 ? dim + META(0).n_dim : dim);
}

/* A composite's list: what another list op returns. */
static hg_status hand_on(hg_ctx *cx, int op, const hg_arg *a, int n_args, hg_tensor **out) {
    hg_tensor **got, **list;
    int n;
    hg_status st = hg_call_list(cx, op, a, n_args, &got, &n);
    if (st != HG_OK) return st;
    if ((st = hg_out_list(cx, out, n, &list)) != HG_OK) {
        hg_list_free(cx, got, n);
        return st;
    }
    memcpy(list, got, (size_t)n * sizeof *list);
    hg_mem_free(cx->lib, got);
    return HG_OK;
}

/* `split` and `split_sizes` are the ops that cut. */
static hg_status chunk(hg_ctx *cx, const hg_arg *a, int split, int split_sizes, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t chunks = a[1].u.i;
    int d;
    if (t->n_dim == 0) return hg_fail(cx, HG_SHAPE, "chunk expects at least a 1-dimensional tensor");
    if (chunks <= 0)
        return hg_fail(cx, HG_SHAPE, "chunk expects `chunks` to be greater than 0, got: %lld", (long long)chunks);
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    int64_t size = t->shape[d];
    if (size) return hand_on(cx, split, (hg_arg[]){a[0], hg_i(size / chunks + (size % chunks != 0)), a[2]}, 3, out);
    if (chunks > INT32_MAX) return hg_no_memory(cx);
    /* an empty dimension is cut into as many empty pieces */
    int64_t *sizes = hg_mem(cx, (size_t)chunks * sizeof *sizes);
    if (!sizes) return HG_MEMORY;
    memset(sizes, 0, (size_t)chunks * sizeof *sizes);
    st = hand_on(cx, split_sizes, (hg_arg[]){a[0], hg_ints(sizes, (int)chunks), a[2]}, 3, out);
    hg_mem_free(cx->lib, sizes);
    return st;
}

hg_status hg_chunk_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return chunk(cx, a, HG_OP_SPLIT, HG_OP_SPLIT_WITH_SIZES, out);
}

hg_status hg_unsafe_chunk_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return chunk(cx, a, HG_OP_UNSAFE_SPLIT, HG_OP_UNSAFE_SPLIT_WITH_SIZES, out);
}

/* Slices of t along d at the given cuts, or into so many nearly equal sections. */
hg_status hg_tensor_split_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    bool by_cuts = a[1].kind == HG_A_INTS;
    int d;
    if (t->n_dim == 0)
        return hg_fail(cx, HG_SHAPE,
                       "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims");
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    int64_t n = by_cuts ? (int64_t)a[1].n + 1 : a[1].u.i, size = t->shape[d], start = 0;
    if (n <= 0) return hg_fail(cx, HG_SHAPE, "number of sections must be larger than 0, got %lld", (long long)n);
    hg_tensor **list;
    if ((st = hg_out_list(cx, out, n, &list)) != HG_OK) return st;
    for (int64_t i = 0; i < n && st == HG_OK; i++) {
        int64_t end = by_cuts ? (i + 1 < n ? a[1].u.ints[i] : size) : start + size / n + (i < size % n);
        st = hg_call_op(cx, HG_OP_SLICE, (hg_arg[]){a[0], hg_i(d), hg_i(start), hg_i(end), hg_i(1)}, 5, &list[i]);
        start = end;
    }
    return st;
}

/* By a tensor: of a number of sections, or of where to cut. */
hg_status hg_tensor_split_by_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *cuts = a[1].u.t;
    if (cuts->dtype != HG_I64) {
        char word[16];
        return hg_fail(cx, HG_STATE,
                       "tensor_split expected tensor_indices_or_sections to have dtype of long, but got %s",
                       hg_dtype_word((hg_dtype)cuts->dtype, word));
    }
    if (cuts->n_dim > 1)
        return hg_fail(cx, HG_STATE,
                       "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional "
                       "tensor, but got a tensor with %d dims",
                       cuts->n_dim);
    if (hg_sees(cx, cuts) && hg_is_hollow(cuts)) /* each sample would have pieces of its own */
        return hg_fail(cx, HG_STATE,
                       "Batching rule not implemented for aten::tensor_split.tensor_indices_or_sections. We could not "
                       "generate a fallback.");
    hg_status st = hg_raw_contiguous(cx, cuts, &cuts);
    if (st != HG_OK) return st;
    const int64_t *at = (const int64_t *)(const void *)cuts->data;
    hg_arg by = cuts->n_dim ? hg_ints(at, (int)cuts->numel) : hg_i(at[0]);
    st = hg_tensor_split_fwd(cx, (hg_arg[]){a[0], by, a[2]}, out);
    hg_release(cx, cuts);
    return st;
}

/* hsplit, vsplit, dsplit: tensor_split along a dimension of their own, into pieces of one size. */
static hg_status even_split(hg_ctx *cx, const hg_arg *a, const char *name, int least, int d, hg_tensor **out) {
    hg_tensor *t = SELF;
    if (t->n_dim < least)
        return hg_fail(cx, HG_SHAPE,
                       "torch.%s requires a tensor with at least %d dimension, but got a tensor with %d dimensions!",
                       name, least, t->n_dim);
    if (a[1].kind == HG_A_INT && (a[1].u.i <= 0 || t->shape[d] % a[1].u.i))
        return hg_fail(
            cx, HG_SHAPE,
            "torch.%s attempted to split along dimension %d, but the size of the dimension %lld is not divisible by the "
            "split_size %lld!",
            name, d, (long long)t->shape[d], (long long)a[1].u.i);
    return hg_tensor_split_fwd(cx, (hg_arg[]){a[0], a[1], hg_i(d)}, out);
}

hg_status hg_hsplit_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return even_split(cx, a, "hsplit", 1, SELF->n_dim > 1, out);
}
hg_status hg_vsplit_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return even_split(cx, a, "vsplit", 2, 0, out); }
hg_status hg_dsplit_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return even_split(cx, a, "dsplit", 3, 2, out); }

/* ---- Diagonals -------------------------------------------------------------------------------------------------------- */

hg_status hg_diagonal_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM], offset = a[1].u.i;
    int d1, d2, n = 0;
    hg_status st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &d1);
    if (st == HG_OK) st = hg_wrap_dim(cx, a[3].u.i, t->n_dim, &d2);
    if (st != HG_OK) return st;
    if (d1 == d2)
        return hg_fail(cx, HG_SHAPE, "diagonal dimensions cannot be identical %lld, %lld", (long long)a[2].u.i,
                       (long long)a[3].u.i);
    int64_t rows = t->shape[d1] + (offset < 0 ? offset : 0), cols = t->shape[d2] - (offset > 0 ? offset : 0);
    int64_t length = rows < cols ? rows : cols, start = 0;
    if (length < 0) length = 0;
    if (length) start = offset >= 0 ? offset * t->stride[d2] : -offset * t->stride[d1];
    for (int i = 0; i < t->n_dim; i++)
        if (i != d1 && i != d2) shape[n] = t->shape[i], stride[n++] = t->stride[i];
    shape[n] = length, stride[n++] = t->stride[d1] + t->stride[d2];
    return hg_raw_view(cx, t, n, shape, stride, start, out);
}

hg_status hg_diagonal_copy_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *view = NULL;
    hg_status st = hg_diagonal_fwd(cx, a, &view);
    if (st == HG_OK) st = hg_out(cx, out, (hg_dtype)view->dtype, view->n_dim, view->shape);
    if (st == HG_OK) st = hg_raw_copy(cx, *out, view);
    hg_release(cx, view);
    return st;
}

hg_status hg_diagonal_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(DIAGONAL_BACKWARD, T(G), hg_ints(META(0).shape, META(0).n_dim), *ARG(1), *ARG(2), *ARG(3)));
    return HG_OK;
}

hg_status hg_diagonal_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return embed(cx, SELF, &a[1], hg_diagonal_fwd, a + 2, 3, out);
}

hg_status hg_diagonal_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(DIAGONAL, T(G), *ARG(2), *ARG(3), *ARG(4)));
    return HG_OK;
}

/* ---- Any strides: as_strided and windows -------------------------------------------------------------------------------- */

/* One past the last element a layout reaches. */
static int64_t extent(int n, const int64_t *shape, const int64_t *stride, int64_t offset) {
    int64_t last = offset;
    for (int i = 0; i < n; i++) {
        if (shape[i] == 0) return 0;
        last += (shape[i] - 1) * stride[i];
    }
    return last + 1;
}

/* as_strided's derivative needs the layout self had, not self: the layout goes along as plain numbers. */
hg_status hg_as_strided_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t start = hg_tensor_offset(t);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s,
                           X(AS_STRIDED_VIEW, T(t), a[1], a[2], hg_i(hg_given(&a[3]) ? a[3].u.i : start),
                             hg_ints(t->stride, t->n_dim), hg_i(start)),
                           out);
}

hg_status hg_as_strided_view_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    const int64_t *shape = a[1].u.ints, *stride = a[2].u.ints;
    int64_t offset = a[3].u.i, size = (int64_t)hg_tensor_itemsize(t), have = t->storage ? (int64_t)t->storage->size : 0;
    int n = (int)a[1].n;
    char b1[256], b2[256];
    if (a[2].n != a[1].n) return hg_fail(cx, HG_SHAPE, "mismatch in length of strides and shape");
    for (int i = 0; i < n; i++)
        if (stride[i] < 0)
            return hg_fail(cx, HG_SHAPE,
                           "as_strided: Negative strides are not supported at the moment, got strides: %s",
                           hg_show_sizes(n, stride, b1));
    if (offset < 0) return hg_fail(cx, HG_SHAPE, "Tensor: invalid storage offset %lld", (long long)offset);
    int64_t need = offset + 1;
    for (int i = 0; i < n; i++) {
        int64_t span;
        if (shape[i] < 0 || __builtin_mul_overflow(shape[i] - 1, stride[i], &span) ||
            __builtin_add_overflow(need, span, &need))
            return hg_fail(cx, HG_SHAPE, "Storage size calculation overflowed with sizes=%s and strides=%s",
                           hg_show_sizes(n, shape, b1), hg_show_sizes(n, stride, b2));
    }
    for (int i = 0; i < n; i++)
        if (shape[i] == 0) need = 0;
    if (need > have / size)
        return hg_fail(
            cx, HG_SHAPE,
            "setStorage: sizes %s, strides %s, storage offset %lld, and itemsize %lld requiring a storage size of %lld "
            "are out of bounds for storage of size %lld",
            hg_show_sizes(n, shape, b1), hg_show_sizes(n, stride, b2), (long long)offset, (long long)size,
            (long long)(need * size), (long long)have);
    hg_tensor *view;
    hg_status st = hg_tensor_alias(cx, t, n, shape, stride, offset, &view);
    if (st != HG_OK) return st;
    if (!*out) {
        *out = view;
        return HG_OK;
    }
    st = hg_tensor_set_data(cx, *out, view); /* in place */
    hg_release(cx, view);
    return st;
}

hg_status hg_as_strided_view_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_arg shape = hg_ints(m.shape, m.n_dim);
    hg_tensor *laid = X(AS_STRIDED_BACKWARD, T(G), shape, *ARG(4), *ARG(5), *ARG(1), *ARG(2), *ARG(3));
    int64_t numel = 1;
    for (int i = 0; i < m.n_dim; i++) numel *= m.shape[i];
    if (numel > extent(m.n_dim, m.shape, ARG(4)->u.ints, 0)) { /* elements that share memory share its gradient */
        hg_tensor *ones = X(ONES, shape, hg_d((hg_dtype)m.dtype));
        laid = X(DIV, T(laid), T(X(AS_STRIDED_BACKWARD, T(ones), shape, *ARG(4), *ARG(5), shape, *ARG(4), *ARG(5))));
    }
    if (!hg_x_written(laid, 1)) return HG_OK;
    /* As in PyTorch a view of what was written: what else arrives is not added in place. */
    GIVE(0, X(AS_STRIDED, T(laid), shape, hg_ints(laid->stride, laid->n_dim), hg_i(0)));
    return HG_OK;
}

/* Lay grad out over a storage of zeros by one layout, adding where it lies over itself, and read it by the other. */
hg_status hg_as_strided_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *grad = SELF, *store = NULL, *from = NULL, *to = NULL;
    int n_to = (int)a[1].n, n = (int)a[4].n;
    int64_t o1 = a[3].u.i, o2 = a[6].u.i, low = o1 < o2 ? o1 : o2;
    o1 -= low, o2 -= low;
    bool fits = a[2].n == a[1].n && a[5].n == a[4].n && grad->n_dim == n;
    for (int i = 0; i < n && fits; i++) fits = a[5].u.ints[i] >= 0 && grad->shape[i] == a[4].u.ints[i];
    for (int i = 0; i < n_to && fits; i++) fits = a[1].u.ints[i] >= 0 && a[2].u.ints[i] >= 0;
    if (!fits) return hg_fail(cx, HG_SHAPE, "as_strided_backward: the sizes and strides are not those of a view");
    int64_t e1 = extent(n_to, a[1].u.ints, a[2].u.ints, o1), e2 = extent(n, a[4].u.ints, a[5].u.ints, o2);
    hg_status st = hg_tensor_empty(cx, (hg_dtype)grad->dtype, 1, &(int64_t){e1 > e2 ? e1 : e2}, &store);
    if (st == HG_OK) st = hg_raw_fill(cx, store, hg_i(0));
    if (st == HG_OK) st = hg_tensor_alias(cx, store, n, a[4].u.ints, a[5].u.ints, e2 ? o2 : 0, &from);
    if (st == HG_OK) st = hg_tensor_alias(cx, store, n_to, a[1].u.ints, a[2].u.ints, e1 ? o1 : 0, &to);
    if (st == HG_OK) {
        hg_raw_accumulate(from, grad);
        st = hg_out_joint(cx, out, (hg_dtype)grad->dtype, (hg_arg[]){hg_t(to)}, 1, (hg_dtype)grad->dtype, false);
        if (st == HG_OK) st = hg_raw_copy(cx, *out, to);
    }
    hg_release(cx, from), hg_release(cx, to), hg_release(cx, store);
    return st;
}

hg_status hg_as_strided_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(AS_STRIDED_BACKWARD, T(G), *ARG(4), *ARG(5), *ARG(6), *ARG(1), *ARG(2), *ARG(3)));
    return HG_OK;
}

hg_status hg_unfold_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM + 1], stride[HG_MAX_DIM + 1], size = a[2].u.i, step = a[3].u.i;
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &d);
    if (st != HG_OK) return st;
    int64_t have = hg_size_at(t, d), along = hg_stride_at(t, d);
    if (size < 0) return hg_fail(cx, HG_SHAPE, "size is %lld but must be >= 0", (long long)size);
    if (size > have)
        return hg_fail(cx, HG_SHAPE, "maximum size for tensor at dimension %d is %lld but size is %lld", d,
                       (long long)have, (long long)size);
    if (step <= 0) return hg_fail(cx, HG_SHAPE, "step is %lld but must be > 0", (long long)step);
    copy_layout(t, shape, stride);
    if (t->n_dim) shape[d] = (have - size) / step + 1, stride[d] = step * along;
    shape[t->n_dim] = size, stride[t->n_dim] = along;
    return hg_raw_view(cx, t, t->n_dim + 1, shape, stride, 0, out);
}

hg_status hg_unfold_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(UNFOLD_BACKWARD, T(G), hg_ints(META(0).shape, META(0).n_dim), *ARG(1), *ARG(2), *ARG(3)));
    return HG_OK;
}

hg_status hg_unfold_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *grad = SELF, *windows = NULL;
    hg_status st = hg_out(cx, out, (hg_dtype)grad->dtype, (int)a[1].n, a[1].u.ints);
    if (st == HG_OK) st = hg_raw_fill(cx, *out, hg_i(0));
    if (st == HG_OK) st = hg_unfold_fwd(cx, (hg_arg[]){hg_t(*out), a[2], a[3], a[4]}, &windows);
    if (st == HG_OK) hg_raw_accumulate(windows, grad);
    hg_release(cx, windows);
    return st;
}

hg_status hg_unfold_backward_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(UNFOLD, T(G), *ARG(2), *ARG(3), *ARG(4)));
    return HG_OK;
}
