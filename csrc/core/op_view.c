/* Views: new shapes and strides over the same storage. */
#include "shape_impl.h"

#include <string.h>

#define SELF (a[0].u.t)

/* The view op's output: a new tensor over self's storage, or self itself taking the new shape (the in-place forms). */
static hg_status view_out(hg_ctx *cx, hg_tensor *self, int n_dim, const int64_t *shape, const int64_t *stride,
                          int64_t offset, hg_tensor **out) {
    if (!*out) return hg_raw_view(cx, self, n_dim, shape, stride, offset, out);
    hg_tensor *view;
    hg_status st = hg_raw_view(cx, self, n_dim, shape, stride, offset, &view);
    if (st != HG_OK) return st;
    st = hg_tensor_set_data(cx, *out, view);
    hg_release(cx, view);
    return st;
}

/* ---- view and reshape ------------------------------------------------------------------------------------------------- */

/* `shape` with its -1 replaced, in full[]. */
static hg_status infer_shape(hg_ctx *cx, const hg_tensor *t, int n, const int64_t *shape, int64_t *full) {
    char b[256];
    int open = -1;
    int64_t known = 1;
    if (n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (int i = 0; i < n; i++) {
        full[i] = shape[i];
        if (shape[i] == -1) {
            if (open >= 0) return hg_fail(cx, HG_SHAPE, "only one dimension can be inferred");
            open = i;
        } else if (shape[i] < 0) {
            return hg_fail(cx, HG_SHAPE, "invalid shape dimension %lld at index %d of shape %s", (long long)shape[i], i,
                           hg_show_sizes(n, shape, b));
        } else if (__builtin_mul_overflow(known, shape[i], &known)) {
            return hg_fail(cx, HG_SHAPE, "shape '%s' is invalid for input of size %lld", hg_show_sizes(n, shape, b),
                           (long long)t->numel);
        }
    }
    if (open >= 0 && known == 0 && t->numel == 0)
        return hg_fail(
            cx, HG_SHAPE,
            "cannot reshape tensor of 0 elements into shape %s because the unspecified dimension size -1 can be "
            "any value and is ambiguous",
            hg_show_sizes(n, shape, b));
    if (open >= 0 ? known == 0 || t->numel % known : known != t->numel)
        return hg_fail(cx, HG_SHAPE, "shape '%s' is invalid for input of size %lld", hg_show_sizes(n, shape, b),
                       (long long)t->numel);
    if (open >= 0) full[open] = t->numel / known;
    return HG_OK;
}

/* Strides that read t's memory in t's order under another shape of as many elements; false where there are none. Runs of
   t's dimensions that lie in memory like one long dimension can be cut up anew; every new dimension must fit into one run. */
static bool strides_for(const hg_tensor *t, int n, const int64_t *shape, int64_t *stride) {
    if (t->numel == 0 || t->n_dim == 0) {
        if (t->numel == 0 && hg_same_dims(n, shape, t->n_dim, t->shape))
            hg_copy_dims(stride, t->stride, n);
        else
            hg_contiguous_strides(n, shape, stride);
        return true;
    }
    int to = n - 1;
    for (int from = t->n_dim - 1; from >= 0; from--) {
        int64_t base = t->stride[from], run = t->shape[from], filled = 1;
        while (from > 0 && (t->shape[from - 1] == 1 || t->stride[from - 1] == run * base)) run *= t->shape[--from];
        for (; to >= 0 && (filled < run || shape[to] == 1); to--) {
            stride[to] = filled * base;
            filled *= shape[to];
        }
        if (filled != run) return false;
    }
    return to < 0;
}

/* The strides of a new tensor of that shape; false where it has not so many elements, or leaves a size open. */
static bool plain_strides(int64_t numel, int n, const int64_t *shape, int64_t *stride) {
    int64_t step = 1;
    for (int i = n - 1; i >= 0; i--) {
        stride[i] = step;
        if (shape[i] <= 0 || __builtin_mul_overflow(step, shape[i], &step)) return false;
    }
    return step == numel;
}

hg_status hg_view_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    int n = (int)a[1].n;
    if (SELF->plain && n <= HG_MAX_DIM && plain_strides(SELF->numel, n, a[1].u.ints, stride))
        return view_out(cx, SELF, n, a[1].u.ints, stride, 0, out);
    hg_status st = infer_shape(cx, SELF, n, a[1].u.ints, shape);
    if (st != HG_OK) return st;
    if (!strides_for(SELF, n, shape, stride))
        return hg_fail(
            cx, HG_SHAPE,
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across "
            "two contiguous subspaces). Use .reshape(...) instead.");
    return view_out(cx, SELF, n, shape, stride, 0, out);
}

hg_status hg_unsafe_view_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return hg_view_fwd(cx, a, out); }

hg_status hg_view_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(RESHAPE, T(G), hg_ints(META(0).shape, META(0).n_dim)));
    return HG_OK;
}

/* The same bytes read as another dtype; the last dimension grows or shrinks where the sizes differ. */
hg_status hg_view_dtype_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    hg_dtype d = (hg_dtype)a[1].u.i;
    int64_t old = hg_dtypes[t->dtype].size, new = hg_dtypes[d].size;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    char w1[16], w2[16];
    int last = t->n_dim - 1;
    memcpy(shape, t->shape, (size_t)t->n_dim * sizeof *shape),
        memcpy(stride, t->stride, (size_t)t->n_dim * sizeof *stride);
    if (old != new) {
        const char *from = hg_dtype_word(t->dtype, w1), *to = hg_dtype_word(d, w2);
        if (t->n_dim == 0)
            return hg_fail(cx, HG_SHAPE, "self.dim() cannot be 0 to view %s as %s (different element sizes)", from, to);
        if (t->stride[last] != 1)
            return hg_fail(cx, HG_SHAPE,
                           "self.stride(-1) must be 1 to view %s as %s (different element sizes), but got %lld", from,
                           to, (long long)t->stride[last]);
        if (new > old) {
            int64_t k = new / old;
            if (shape[last] % k)
                return hg_fail(
                    cx, HG_SHAPE,
                    "self.size(-1) must be divisible by %lld to view %s as %s (different element sizes), but got "
                    "%lld",
                    (long long)k, from, to, (long long)shape[last]);
            if (hg_tensor_offset(t) % k)
                return hg_fail(
                    cx, HG_SHAPE,
                    "self.storage_offset() must be divisible by %lld to view %s as %s (different element sizes), "
                    "but got %lld",
                    (long long)k, from, to, (long long)hg_tensor_offset(t));
            for (int i = 0; i < last; i++)
                if (stride[i] % k)
                    return hg_fail(
                        cx, HG_SHAPE,
                        "self.stride(%d) must be divisible by %lld to view %s as %s (different element sizes), but "
                        "got %lld",
                        i, (long long)k, from, to, (long long)stride[i]);
                else
                    stride[i] /= k;
            shape[last] /= k;
        } else {
            for (int i = 0; i < last; i++) stride[i] *= old / new;
            shape[last] *= old / new;
        }
    }
    hg_status st = hg_tensor_make(cx, t->storage, t->data, d, t->n_dim, shape, stride, out);
    if (st == HG_OK) hg_storage_retain(t->storage);
    return st;
}

/* A view where the strides allow one, else a copy that nothing else shares. */
static hg_tensor *reshape(hg_ctx *cx, hg_tensor *t, int n, const int64_t *shape) {
    int64_t full[HG_MAX_DIM], stride[HG_MAX_DIM];
    if (!t) return NULL;
    hg_status st = infer_shape(cx, t, n, shape, full);
    if (st != HG_OK) {
        hg_scope_fail(cx, st);
        return NULL;
    }
    if (t->contiguous) return X(VIEW_SIZE, T(t), hg_ints(full, n));
    if (strides_for(t, n, full, stride)) return X(RESHAPE_ALIAS, T(t), hg_ints(full, n));
    return X(UNSAFE_VIEW, T(hg_x_packed(cx, t)), hg_ints(full, n));
}

hg_tensor *hg_x_packed(hg_ctx *cx, hg_tensor *t) { return X(CLONE, T(t), hg_format_arg(HG_FORMAT_CONTIGUOUS)); }

hg_status hg_reshape_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, reshape(cx, SELF, (int)a[1].n, a[1].u.ints), out);
}

hg_status hg_reshape_as_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, reshape(cx, SELF, a[1].u.t->n_dim, a[1].u.t->shape), out);
}

hg_status hg_view_as_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(VIEW_SIZE, T(SELF), hg_ints(a[1].u.t->shape, a[1].u.t->n_dim)), out);
}

hg_status hg_flatten_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *r = t;
    int first, last;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &first);
    if (st == HG_OK) st = hg_wrap_dim(cx, a[2].u.i, t->n_dim, &last);
    if (st != HG_OK) return st;
    if (first > last) return hg_fail(cx, HG_SHAPE, "flatten() has invalid args: start_dim cannot come after end_dim");
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (t->n_dim == 0) {
        r = reshape(cx, t, 1, (int64_t[]){1});
    } else if (first < last) {
        int64_t shape[HG_MAX_DIM] = {0};
        int n = 0;
        for (int i = 0; i < t->n_dim; i++)
            if (i > first && i <= last)
                shape[n - 1] *= t->shape[i];
            else
                shape[n++] = t->shape[i];
        r = reshape(cx, t, n, shape);
    }
    return hg_scope_return(cx, &s, r, out);
}

hg_status hg_unflatten_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    char b[256];
    int dim, n = (int)a[2].n, open = -1;
    int64_t shape[2 * HG_MAX_DIM], known = 1;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim, &dim);
    if (st != HG_OK) return st;
    if (n == 0) return hg_fail(cx, HG_SHAPE, "unflatten: sizes must be non-empty");
    if (n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    int64_t size = hg_size_at(t, dim);
    for (int i = 0; i < n; i++) {
        if (a[2].u.ints[i] == -1 && open < 0)
            open = i;
        else
            known *= a[2].u.ints[i];
    }
    if (open >= 0 ? known == 0 || size % known : known != size)
        return hg_fail(
            cx, HG_SHAPE,
            "unflatten: Provided sizes %s don't multiply up to the size of dim %d (%lld) in the input tensor",
            hg_show_sizes(n, a[2].u.ints, b), dim, (long long)size);
    int k = 0;
    for (int i = 0; i < dim; i++) shape[k++] = t->shape[i];
    for (int i = 0; i < n; i++) shape[k++] = i == open ? size / known : a[2].u.ints[i];
    for (int i = dim + 1; i < t->n_dim; i++) shape[k++] = t->shape[i];
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(VIEW_SIZE, T(t), hg_ints(shape, k)), out);
}

hg_status hg_ravel_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *flat = SELF->contiguous ? SELF : hg_x_packed(cx, SELF);
    return hg_scope_return(cx, &s, X(VIEW_SIZE, T(flat), hg_ints(&(int64_t){-1}, 1)), out);
}

hg_status hg_detach_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return hg_raw_detach(cx, a[0].u.t, out); }
hg_status hg_alias_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return view_out(cx, SELF, SELF->n_dim, SELF->shape, SELF->stride, 0, out);
}

hg_status hg_alias_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, G);
    return HG_OK;
}

hg_status hg_delayed_error_bwd(hg_ctx *cx, hg_back *b) { return hg_fail(cx, HG_STATE, "%s", ARG(1)->u.s); }

hg_status hg_self_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, SELF, out);
}

/* ---- The order of dimensions ------------------------------------------------------------------------------------------ */

static hg_status swapped(hg_ctx *cx, hg_tensor *t, int d0, int d1, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    hg_copy_dims(shape, t->shape, t->n_dim);
    hg_copy_dims(stride, t->stride, t->n_dim);
    if (t->n_dim) {
        shape[d0] = t->shape[d1], shape[d1] = t->shape[d0];
        stride[d0] = t->stride[d1], stride[d1] = t->stride[d0];
    }
    return view_out(cx, t, t->n_dim, shape, stride, 0, out);
}

hg_status hg_transpose_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d0, d1;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d0);
    if (st == HG_OK) st = hg_wrap_dim(cx, a[2].u.i, SELF->n_dim, &d1);
    return st == HG_OK ? swapped(cx, SELF, d0, d1, out) : st;
}

hg_status hg_transpose_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(TRANSPOSE, T(G), *ARG(1), *ARG(2)));
    return HG_OK;
}

hg_status hg_swap_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(TRANSPOSE, T(SELF), a[1], a[2]), out);
}

static hg_status turned(hg_ctx *cx, hg_tensor *t, const char *name, hg_tensor **out) {
    if (t->n_dim > 2)
        return hg_fail(cx, HG_SHAPE, "%s() expects a tensor with <= 2 dimensions, but self is %dD", name, t->n_dim);
    return swapped(cx, t, 0, t->n_dim == 2, out);
}
hg_status hg_t_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return turned(cx, SELF, "t", out); }
hg_status hg_t_inplace_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return turned(cx, SELF, "t_", out); }

hg_status hg_t_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(T, T(G)));
    return HG_OK;
}

hg_status hg_permute_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    bool seen[HG_MAX_DIM] = {false};
    if (a[1].n != t->n_dim)
        return hg_fail(
            cx, HG_SHAPE,
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            "ordering of dimensions i.e. input.dim() = %d is not equal to len(dims) = %u",
            t->n_dim, a[1].n);
    for (int i = 0; i < t->n_dim; i++) {
        int d;
        hg_status st = hg_wrap_dim(cx, a[1].u.ints[i], t->n_dim, &d);
        if (st != HG_OK) return st;
        if (seen[d]) return hg_fail(cx, HG_SHAPE, "permute(): duplicate dims are not allowed.");
        seen[d] = true, shape[i] = t->shape[d], stride[i] = t->stride[d];
    }
    return view_out(cx, t, t->n_dim, shape, stride, 0, out);
}

hg_status hg_permute_bwd(hg_ctx *cx, hg_back *b) {
    int64_t back[HG_MAX_DIM];
    int n = (int)ARG(1)->n;
    for (int i = 0; i < n; i++) {
        int64_t d = ARG(1)->u.ints[i];
        back[d < 0 ? d + n : d] = i;
    }
    GIVE(0, X(PERMUTE, T(G), hg_ints(back, n)));
    return HG_OK;
}

hg_status hg_movedim_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    char b1[256], b2[256];
    bool one = a[1].kind == HG_A_INT;
    const int64_t *from = one ? &a[1].u.i : a[1].u.ints, *to = one ? &a[2].u.i : a[2].u.ints;
    int n = one ? 1 : (int)a[1].n, n_to = one ? 1 : (int)a[2].n;
    if (n != n_to)
        return hg_fail(
            cx, HG_SHAPE,
            "movedim: Invalid source or destination dims: source (%s dims) should contain the same number of dims as "
            "destination (%s dims)",
            hg_show_sizes(n, from, b1), hg_show_sizes(n_to, to, b2));
    int64_t order[HG_MAX_DIM];
    bool taken[HG_MAX_DIM] = {false}, moved[HG_MAX_DIM] = {false};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            int d;
            hg_status st = hg_wrap_dim(cx, pass ? to[i] : from[i], t->n_dim, &d);
            if (st != HG_OK) return st;
            if ((pass ? taken : moved)[d])
                return hg_fail(cx, HG_SHAPE, "movedim: repeated dim in `%s` (%s)", pass ? "destination" : "source",
                               hg_show_sizes(n, pass ? to : from, b1));
            (pass ? taken : moved)[d] = true;
            if (pass) order[d] = from[i] < 0 ? from[i] + t->n_dim : from[i];
        }
    for (int i = 0, next = 0; i < t->n_dim; i++) {
        if (taken[i]) continue;
        while (moved[next]) next++;
        order[i] = next++;
    }
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, t->n_dim ? X(PERMUTE, T(t), hg_ints(order, t->n_dim)) : X(ALIAS, T(t)), out);
}

/* ---- Dimensions of size one, and broadcasting --------------------------------------------------------------------------- */

static hg_status expand(hg_ctx *cx, hg_tensor *t, int n, const int64_t *size, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    char b1[256], b2[256];
    int lead = n - t->n_dim;
    if (lead < 0)
        return hg_fail(
            cx, HG_SHAPE,
            "expand(%s%s{%s}, size=%s): the number of sizes provided (%d) must be greater or equal to the number of "
            "dimensions in the tensor (%d)",
            t->dtype == HG_BF16 ? "" : "torch.",
            t->dtype == HG_BF16 ? "CPUBFloat16Type" : hg_dtypes[t->dtype].tensor_name, hg_show_shape(t, b1),
            hg_show_sizes(n, size, b2), n, t->n_dim);
    if (n > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    for (int i = n - 1; i >= 0; i--) {
        int64_t have = i < lead ? 1 : t->shape[i - lead], want = size[i];
        if (want == -1) {
            if (i < lead)
                return hg_fail(
                    cx, HG_SHAPE,
                    "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension %d", i);
            want = have;
        }
        if (have != want && (have != 1 || want < 0))
            return hg_fail(
                cx, HG_SHAPE,
                "The expanded size of the tensor (%lld) must match the existing size (%lld) at non-singleton "
                "dimension %d.  Target sizes: %s.  Tensor sizes: %s",
                (long long)want, (long long)have, i, hg_show_sizes(n, size, b1), hg_show_shape(t, b2));
        shape[i] = want;
        stride[i] = have != want || t->n_dim == 0 ? 0
                    : i >= lead                   ? t->stride[i - lead]
                    : i == n - 1                  ? 1
                                                  : shape[i + 1] * stride[i + 1];
    }
    return view_out(cx, t, n, shape, stride, 0, out);
}

hg_status hg_expand_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return expand(cx, SELF, (int)a[1].n, a[1].u.ints, out);
}

hg_status hg_expand_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, G); /* the engine sums what was broadcast */
    return HG_OK;
}

hg_status hg_expand_as_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(EXPAND, T(SELF), hg_ints(a[1].u.t->shape, a[1].u.t->n_dim)), out);
}

hg_status hg_broadcast_to_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(EXPAND, T(SELF), a[1]), out);
}

static hg_status squeezed(hg_ctx *cx, hg_tensor *t, const bool *drop, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    int n = 0;
    for (int i = 0; i < t->n_dim; i++)
        if (!drop[i] || t->shape[i] != 1) shape[n] = t->shape[i], stride[n++] = t->stride[i];
    return view_out(cx, t, n, shape, stride, 0, out);
}

hg_status hg_squeeze_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool drop[HG_MAX_DIM];
    memset(drop, true, sizeof drop);
    return squeezed(cx, SELF, drop, out);
}

hg_status hg_squeeze_dim_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool drop[HG_MAX_DIM] = {false};
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d);
    drop[st == HG_OK ? d : 0] = true;
    return st == HG_OK ? squeezed(cx, SELF, drop, out) : st;
}

hg_status hg_squeeze_dims_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool drop[HG_MAX_DIM];
    hg_status st = hg_dim_mask(cx, SELF, &a[1], drop);
    return st == HG_OK ? squeezed(cx, SELF, drop, out) : st;
}

hg_status hg_dim_mask(hg_ctx *cx, const hg_tensor *t, const hg_arg *dims, bool mask[HG_MAX_DIM]) {
    memset(mask, 0, HG_MAX_DIM);
    for (uint32_t i = 0; i < dims->n; i++) {
        int d;
        hg_status st = hg_wrap_dim(cx, dims->u.ints[i], t->n_dim, &d);
        if (st != HG_OK) return st;
        if (mask[d]) return hg_fail(cx, HG_SHAPE, "dim %d appears multiple times in the list of dims", d);
        mask[d] = true;
    }
    return HG_OK;
}

/* Was dimension i of n among those to go? Without a list all were. */
static bool was_listed(const hg_arg *dims, int i, int n) {
    if (!dims) return true;
    for (uint32_t k = 0; k < dims->n; k++)
        if (dims->u.ints[k] == i || dims->u.ints[k] + n == i) return true;
    return false;
}

hg_status hg_squeeze_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    const hg_arg *dims = b->info->n_params > 1 ? ARG(1) : NULL;
    hg_tensor *g = G;
    for (int i = 0; i < m.n_dim; i++)
        if (m.shape[i] == 1 && was_listed(dims, i, m.n_dim)) g = X(UNSQUEEZE, T(g), hg_i(i));
    GIVE(0, g);
    return HG_OK;
}

hg_status hg_squeeze_dim_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    int64_t d = ARG(1)->u.i;
    if (d < 0) d += m.n_dim;
    GIVE(0, m.n_dim && m.shape[d] == 1 ? X(UNSQUEEZE, T(G), hg_i(d)) : G);
    return HG_OK;
}

hg_status hg_unsqueeze_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF;
    int64_t shape[HG_MAX_DIM + 1], stride[HG_MAX_DIM + 1];
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, t->n_dim + 1, &d);
    if (st != HG_OK) return st;
    hg_copy_dims(shape, t->shape, d);
    hg_copy_dims(stride, t->stride, d);
    shape[d] = 1, stride[d] = d < t->n_dim ? t->shape[d] * t->stride[d] : 1;
    for (int i = d; i < t->n_dim; i++) shape[i + 1] = t->shape[i], stride[i + 1] = t->stride[i];
    return view_out(cx, t, t->n_dim + 1, shape, stride, 0, out);
}

hg_status hg_unsqueeze_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, X(SQUEEZE_DIM, T(G), *ARG(1)));
    return HG_OK;
}
