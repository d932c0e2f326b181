/* Joining tensors: cat, stack and what is made of them. */
#include "layout_impl.h"
#include "shape_impl.h"

#include <string.h>

#define SELF (a[0].u.t)

/* Whether t is the empty tensor of one dimension, which cat passes over whatever the others' shapes. */
static bool is_void(const hg_tensor *t) { return t->n_dim == 1 && t->numel == 0; }

/* ---- cat and stack ---------------------------------------------------------------------------------------------------- */

static bool any_requires_grad(hg_tensor *const *ts, int n) {
    for (int i = 0; i < n; i++)
        if (hg_tensor_requires_grad(ts[i])) return true;
    return false;
}

/* cat checks, and hands on what its derivative needs of every input: the size along `dim`. */
hg_status hg_cat_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *const *ts = a[0].u.ts;
    int n = (int)a[0].n, d = 0;
    const hg_tensor *model = NULL;
    hg_dtype dtype = HG_NO_DTYPE;
    if (n == 0) return hg_fail(cx, HG_VALUE, "torch.cat(): expected a non-empty list of Tensors");
    for (int i = 0; i < n; i++) {
        if (ts[i]->n_dim == 0)
            return hg_fail(cx, HG_SHAPE, "zero-dimensional tensor (at position %d) cannot be concatenated", i);
        dtype = dtype == HG_NO_DTYPE ? (hg_dtype)ts[i]->dtype : hg_dtype_promote(dtype, (hg_dtype)ts[i]->dtype);
        if (!model && !is_void(ts[i])) model = ts[i];
    }
    hg_status st = model ? hg_wrap_dim(cx, a[1].u.i, model->n_dim, &d) : HG_OK; /* nothing has any dimension */
    if (st != HG_OK) return st;
    int64_t few[32], *sizes = few;
    if (n > 32 && !(sizes = hg_mem(cx, (size_t)n * sizeof *sizes))) return HG_MEMORY;
    for (int i = 0; i < n && st == HG_OK; i++) {
        const hg_tensor *t = ts[i];
        if (is_void(t)) {
            sizes[i] = 0;
            continue;
        }
        if (t->n_dim != model->n_dim) {
            st = hg_fail(cx, HG_SHAPE, "Tensors must have same number of dimensions: got %d and %d", model->n_dim,
                         t->n_dim);
            break;
        }
        for (int k = 0; k < t->n_dim && st == HG_OK; k++)
            if (k != d && t->shape[k] != model->shape[k])
                st = hg_fail(
                    cx, HG_SHAPE,
                    "Sizes of tensors must match except in dimension %d. Expected size %lld but got size %lld for "
                    "tensor number %d in the list.",
                    d, (long long)model->shape[k], (long long)t->shape[k], i);
        sizes[i] = t->shape[d];
    }
    hg_arg of[] = {a[0], model ? a[1] : hg_i(0), hg_ints(sizes, n), hg_d(dtype)};
    bool alone = !cx->lib->watch.calling &&
                 !(hg_records(cx) && any_requires_grad(ts, n)); /* nothing else is done about it */
    if (st == HG_OK) st = alone ? hg_cat_sizes_fwd(cx, of, out) : hg_call_op(cx, HG_OP_CAT_SIZES, of, 4, out);
    if (sizes != few) hg_mem_free(cx->lib, sizes);
    return st;
}

/* Copy `from` into out's range that starts at `start` along d. */
static hg_status put_range(hg_ctx *cx, hg_tensor *out, int d, int64_t start, const hg_tensor *from) {
    hg_tensor *part;
    hg_status st = hg_raw_view(cx, out, from->n_dim, from->shape, out->stride, start * out->stride[d], &part);
    if (st != HG_OK) return st;
    st = hg_raw_copy(cx, part, from);
    hg_release(cx, part);
    return st;
}

/* The same along the first dimension, for plain tensors of one dtype; false: they are not. */
static bool put_rows(hg_ctx *cx, bool fresh, hg_tensor *out, int d, int64_t start, const hg_tensor *from) {
    int64_t size = (int64_t)hg_tensor_itemsize(out);
    if (d != 0 || !fresh || !out->plain || !from->plain || out->dtype != from->dtype) return false;
    hg_move_bytes(cx, out->data + start * out->stride[0] * size, from->data, (size_t)(from->numel * size));
    return true;
}

/* The channels-last format that all of them have, or contiguous. */
static hg_format common_format(hg_tensor *const *ts, int n) {
    hg_format f = HG_FORMAT_CONTIGUOUS;
    for (int i = 0; i < n; i++) {
        hg_format own = is_void(ts[i]) ? f : hg_format_of(ts[i]);
        if (own == HG_FORMAT_CONTIGUOUS || (i && own != f)) return HG_FORMAT_CONTIGUOUS;
        f = own;
    }
    return f;
}

/* Has it the sizes of the model, but for that one along d? */
static bool is_part(const hg_tensor *model, const hg_tensor *t, int d, int64_t size) {
    if (is_void(t)) return size == 0;
    bool same = t->n_dim == model->n_dim;
    for (int k = 0; same && k < t->n_dim; k++) same = t->shape[k] == (k == d ? size : model->shape[k]);
    return same;
}

hg_status hg_cat_sizes_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *const *ts = a[0].u.ts, *model = a[0].n ? ts[0] : NULL;
    int n = (int)a[0].n, d = (int)a[1].u.i;
    int64_t shape[HG_MAX_DIM], total = 0;
    bool fits = n > 0 && a[2].n == a[0].n;
    for (int i = 0; i < n && fits; i++) {
        total += a[2].u.ints[i];
        if (is_void(model)) model = ts[i];
    }
    if (fits && d < 0) d += model->n_dim;
    fits = fits && d >= 0 && d < model->n_dim;
    for (int i = 0; i < n && fits; i++) fits = is_part(model, ts[i], d, a[2].u.ints[i]);
    if (!fits) return hg_fail(cx, HG_SHAPE, "_cat: the sizes are not those of the tensors along the dimension");
    memcpy(shape, model->shape, (size_t)model->n_dim * sizeof *shape);
    shape[d] = total;
    bool fresh = !*out;
    hg_status st = hg_out(cx, out, (hg_dtype)a[3].u.i, model->n_dim, shape);
    if (st == HG_OK && fresh) st = hg_reformat(cx, *out, common_format(ts, n));
    int64_t start = 0;
    for (int i = 0; i < n && st == HG_OK; start += a[2].u.ints[i++])
        if (!put_rows(cx, fresh, *out, d, start, ts[i]) && ts[i]->numel) st = put_range(cx, *out, d, start, ts[i]);
    return st;
}

hg_status hg_cat_sizes_bwd(hg_ctx *cx, hg_back *b) {
    int64_t d = ARG(1)->u.i, start = 0;
    if (d < 0) d += G->n_dim;
    for (uint32_t j = 0; j < ARG(0)->n; j++) {
        int64_t size = ARG(2)->u.ints[j];
        if (hg_back_gives_at(b, 0, (int)j)) {
            hg_meta m = hg_back_needs_at(b, 0, (int)j) ? hg_back_meta(b, 0, (int)j) : (hg_meta){.n_dim = 0};
            bool nothing = m.n_dim == 1 && m.shape[0] == 0;
            hg_back_give(cx, b, 0, (int)j,
                         nothing ? hg_x_zeros(cx, (hg_dtype)m.dtype, 1, m.shape)
                                 : X(NARROW, T(G), hg_i(d), hg_i(start), hg_i(size)));
        }
        start += size;
    }
    return HG_OK;
}

hg_status hg_stack_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *const *ts = a[0].u.ts;
    int n = (int)a[0].n, d;
    char b1[256], b2[256];
    int64_t shape[HG_MAX_DIM + 1];
    if (n == 0) return hg_fail(cx, HG_SHAPE, "stack expects a non-empty TensorList");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, ts[0]->n_dim + 1, &d);
    if (st != HG_OK) return st;
    hg_dtype dtype = (hg_dtype)ts[0]->dtype;
    for (int i = 1; i < n; i++) {
        if (!hg_same_shape(ts[0], ts[i]))
            return hg_fail(cx, HG_SHAPE,
                           "stack expects each tensor to be equal size, but got %s at entry 0 and %s at entry %d",
                           hg_show_shape(ts[0], b1), hg_show_shape(ts[i], b2), i);
        dtype = hg_dtype_promote(dtype, (hg_dtype)ts[i]->dtype);
    }
    for (int i = 0, k = 0; i <= ts[0]->n_dim; i++) shape[i] = i == d ? n : ts[0]->shape[k++];
    bool fresh = !*out;
    if ((st = hg_out(cx, out, dtype, ts[0]->n_dim + 1, shape)) != HG_OK) return st;
    hg_format f = d < ts[0]->n_dim ? common_format(ts, n) : HG_FORMAT_CONTIGUOUS;
    if (fresh && f != HG_FORMAT_CONTIGUOUS) { /* as a view of what cat() makes of them along d */
        hg_tensor *joined = NULL;
        memcpy(shape, ts[0]->shape, (size_t)ts[0]->n_dim * sizeof *shape);
        shape[d] *= n;
        if ((st = hg_tensor_empty(cx, dtype, ts[0]->n_dim, shape, &joined)) != HG_OK) return st;
        if ((st = hg_reformat(cx, joined, f)) == HG_OK) {
            int64_t stride[HG_MAX_DIM + 1];
            for (int i = 0, k = 0; i <= ts[0]->n_dim; i++)
                stride[i] = i == d ? joined->stride[d] * ts[0]->shape[d] : joined->stride[k++];
            hg_tensor_restride(*out, stride);
        }
        hg_release(cx, joined);
        if (st != HG_OK) return st;
    }
    int64_t rest[HG_MAX_DIM];
    for (int i = 0, k = 0; i <= ts[0]->n_dim; i++)
        if (i != d) rest[k++] = (*out)->stride[i];
    for (int i = 0; i < n && st == HG_OK; i++) {
        hg_tensor *part;
        if (put_rows(cx, fresh, *out, d, i, ts[i])) continue;
        if ((st = hg_raw_view(cx, *out, ts[i]->n_dim, ts[i]->shape, rest, i * (*out)->stride[d], &part)) != HG_OK)
            break;
        st = hg_raw_copy(cx, part, ts[i]);
        hg_release(cx, part);
    }
    return st;
}

hg_status hg_stack_bwd(hg_ctx *cx, hg_back *b) {
    for (uint32_t j = 0; j < ARG(0)->n; j++)
        if (hg_back_gives_at(b, 0, (int)j)) hg_back_give(cx, b, 0, (int)j, X(SELECT, T(G), *ARG(1), hg_i(j)));
    return HG_OK;
}

/* ---- Raising the number of dimensions, and the stacks --------------------------------------------------------------------- */

static hg_tensor *at_least(hg_ctx *cx, hg_tensor *t, int n) {
    if (t->n_dim == 0) {
        static const int64_t ones[3] = {1, 1, 1};
        return X(RESHAPE, T(t), hg_ints(ones, n));
    }
    if (t->n_dim == 1 && n >= 2) t = X(UNSQUEEZE, T(t), hg_i(0));
    if (t && t->n_dim == 2 && n == 3) t = X(UNSQUEEZE, T(t), hg_i(-1));
    return t;
}

static hg_tensor *as_column(hg_ctx *cx, hg_tensor *t, int n) {
    (void)n;
    return t->n_dim <= 1 ? X(RESHAPE, T(t), hg_ints((int64_t[]){t->numel, 1}, 2)) : t;
}

/* cat of every tensor made so by `shaped`; dim -1: 0 for vectors, else 1. */
static hg_status stack_of(hg_ctx *cx, const char *name, const hg_arg *list,
                          hg_tensor *(*shaped)(hg_ctx *, hg_tensor *, int), int at_least_n, int dim, hg_tensor **out) {
    int n = (int)list->n;
    if (n == 0) return hg_fail(cx, HG_SHAPE, "%s expects a non-empty TensorList", name);
    hg_tensor **ts = hg_mem(cx, (size_t)n * sizeof *ts), *r = NULL;
    if (!ts) return HG_MEMORY;
    hg_scope s;
    hg_scope_begin(cx, &s);
    for (int i = 0; i < n; i++) ts[i] = shaped(cx, list->u.ts[i], at_least_n);
    if (hg_scope_ok(cx)) r = X(CAT, hg_ts(ts, n), hg_i(dim >= 0 ? dim : ts[0]->n_dim > 1));
    hg_mem_free(cx->lib, ts);
    return hg_scope_return(cx, &s, r, out);
}

hg_status hg_hstack_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return stack_of(cx, "hstack", a, at_least, 1, -1, out);
}
hg_status hg_vstack_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return stack_of(cx, "vstack", a, at_least, 2, 0, out);
}
hg_status hg_dstack_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return stack_of(cx, "dstack", a, at_least, 3, 2, out);
}
hg_status hg_column_stack_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return stack_of(cx, "column_stack", a, as_column, 0, 1, out);
}

static hg_status raised(hg_ctx *cx, const hg_arg *a, int n, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, at_least(cx, SELF, n), out);
}

hg_status hg_atleast_1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return raised(cx, a, 1, out); }
hg_status hg_atleast_2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return raised(cx, a, 2, out); }
hg_status hg_atleast_3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return raised(cx, a, 3, out); }

/* ---- Grids ------------------------------------------------------------------------------------------------------------ */

hg_status hg_broadcast_tensors_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM];
    int n_dim = 0;
    hg_status st = HG_OK;
    for (uint32_t i = 0; i < a[0].n && st == HG_OK; i++) {
        int64_t both[HG_MAX_DIM];
        int n;
        st = hg_broadcast(cx, n_dim, shape, a[0].u.ts[i]->n_dim, a[0].u.ts[i]->shape, &n, both);
        if (st == HG_OK) n_dim = n, memcpy(shape, both, (size_t)n * sizeof *shape);
    }
    hg_tensor **list;
    if (st != HG_OK || (st = hg_out_list(cx, out, (int)a[0].n, &list)) != HG_OK) return st;
    for (uint32_t i = 0; i < a[0].n && st == HG_OK; i++) {
        hg_tensor *t = a[0].u.ts[i];
        if (t->n_dim == n_dim && !memcmp(t->shape, shape, (size_t)n_dim * sizeof *shape))
            hg_retain(cx, list[i] = t);
        else
            st = hg_call_op(cx, HG_OP_EXPAND, (hg_arg[]){hg_t(t), hg_ints(shape, n_dim)}, 2, &list[i]);
    }
    return st;
}

/* Vector i of n laid along its axis of the grid. With `swap` the first two axes trade places. */
static hg_tensor *grid_axis(hg_ctx *cx, hg_tensor *const *ts, int n, int i, bool swap) {
    int64_t view[HG_MAX_DIM], full[HG_MAX_DIM];
    for (int k = 0; k < n; k++) {
        int axis = swap && n > 1 && k < 2 ? 1 - k : k;
        full[axis] = ts[k]->numel;
        view[axis] = k == i ? ts[k]->numel : 1;
    }
    return X(EXPAND, T(X(VIEW_SIZE, T(ts[i]), hg_ints(view, n))), hg_ints(full, n));
}

static hg_status check_grid(hg_ctx *cx, const char *name, const hg_arg *list) {
    if (list->n == 0) return hg_fail(cx, HG_SHAPE, "%s expects a non-empty TensorList", name);
    if (list->n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (uint32_t i = 0; i < list->n; i++) {
        char b[256];
        if (list->u.ts[i]->n_dim > 1)
            return hg_fail(cx, HG_SHAPE,
                           "torch.%s: Expected 0D or 1D tensor in the tensor list but got a tensor of shape %s", name,
                           hg_show_shape(list->u.ts[i], b));
        if (list->u.ts[i]->dtype != list->u.ts[0]->dtype)
            return hg_fail(cx, HG_SHAPE, "%s expects all tensors to have the same dtype", name);
    }
    return HG_OK;
}

hg_status hg_meshgrid_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n = (int)a[0].n;
    bool swap = false;
    hg_status st = HG_OK;
    if (!hg_given(&a[1]))
        st = hg_warn_once(cx,
                          "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.");
    if (st == HG_OK) st = check_grid(cx, "meshgrid", a);
    if (st != HG_OK) return st;
    if (hg_given(&a[1])) {
        swap = !strcmp(a[1].u.s, "xy");
        if (!swap && strcmp(a[1].u.s, "ij") != 0)
            return hg_fail(cx, HG_SHAPE, "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: %s",
                           a[1].u.s);
    }
    hg_tensor **list;
    if ((st = hg_out_list(cx, out, n, &list)) != HG_OK) return st;
    for (int i = 0; i < n && st == HG_OK; i++) {
        hg_scope s;
        hg_scope_begin(cx, &s);
        st = hg_scope_return(cx, &s, grid_axis(cx, a[0].u.ts, n, i, swap), &list[i]);
    }
    return st;
}

hg_status hg_cartesian_prod_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n = (int)a[0].n;
    hg_tensor *axes[HG_MAX_DIM], *r = NULL;
    hg_status st = check_grid(cx, "cartesian_prod", a);
    if (st != HG_OK) return st;
    hg_scope s;
    hg_scope_begin(cx, &s);
    for (int i = 0; i < n; i++) axes[i] = n == 1 ? a[0].u.ts[0] : X(FLATTEN, T(grid_axis(cx, a[0].u.ts, n, i, false)));
    if (hg_scope_ok(cx)) r = n == 1 ? axes[0] : X(STACK, hg_ts(axes, n), hg_i(1));
    return hg_scope_return(cx, &s, r, out);
}

/* The blocks' sizes go along, as those of cat do. */
hg_status hg_block_diag_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n = (int)a[0].n;
    if (n == 0) return hg_fail(cx, HG_SHAPE, "torch.cat(): expected a non-empty list of Tensors");
    int64_t *sizes = hg_mem(cx, 2 * (size_t)n * sizeof *sizes);
    if (!sizes) return HG_MEMORY;
    hg_dtype dtype = (hg_dtype)a[0].u.ts[0]->dtype;
    hg_status st = HG_OK;
    for (int i = 0; i < n && st == HG_OK; i++) {
        const hg_tensor *t = a[0].u.ts[i];
        if (t->n_dim > 2)
            st = hg_fail(cx, HG_SHAPE,
                         "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input %d has %d dimensions",
                         i, t->n_dim);
        dtype = hg_dtype_promote(dtype, (hg_dtype)t->dtype);
        sizes[i] = t->n_dim == 2 ? t->shape[0] : 1;
        sizes[n + i] = t->n_dim ? t->shape[t->n_dim - 1] : 1;
    }
    if (st == HG_OK)
        st = hg_call_op(cx, HG_OP_BLOCK_DIAG_SIZES,
                        (hg_arg[]){a[0], hg_ints(sizes, n), hg_ints(sizes + n, n), hg_d(dtype)}, 4, out);
    hg_mem_free(cx->lib, sizes);
    return st;
}

hg_status hg_block_diag_sizes_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t size[2] = {0, 0}, at = 0;
    for (uint32_t i = 0; i < a[0].n; i++) size[0] += a[1].u.ints[i], size[1] += a[2].u.ints[i];
    hg_status st = hg_out(cx, out, (hg_dtype)a[3].u.i, 2, size);
    if (st == HG_OK) st = hg_raw_fill(cx, *out, hg_i(0));
    for (uint32_t i = 0; i < a[0].n && st == HG_OK; i++) {
        hg_tensor *part;
        int64_t block[2] = {a[1].u.ints[i], a[2].u.ints[i]};
        if ((st = hg_raw_view(cx, *out, 2, block, (*out)->stride, at, &part)) != HG_OK) break;
        if (part->numel) st = hg_raw_copy(cx, part, a[0].u.ts[i]);
        hg_release(cx, part);
        at += block[0] * size[1] + block[1];
    }
    return st;
}

hg_status hg_block_diag_sizes_bwd(hg_ctx *cx, hg_back *b) {
    int64_t row = 0, col = 0;
    for (uint32_t j = 0; j < ARG(0)->n; row += ARG(1)->u.ints[j], col += ARG(2)->u.ints[j], j++) {
        if (!hg_back_gives_at(b, 0, (int)j)) continue;
        hg_meta m = hg_back_needs_at(b, 0, (int)j) ? hg_back_meta(b, 0, (int)j) : (hg_meta){.n_dim = 2};
        hg_tensor *part = X(NARROW, T(G), hg_i(0), hg_i(row), hg_i(ARG(1)->u.ints[j]));
        part = X(NARROW, T(part), hg_i(1), hg_i(col), hg_i(ARG(2)->u.ints[j]));
        hg_back_give(cx, b, 0, (int)j, m.n_dim == 2 ? part : X(RESHAPE, T(part), hg_ints(m.shape, m.n_dim)));
    }
    return HG_OK;
}
