/* Indexing as x[...] does: what is basic becomes views, what is advanced becomes _index and index_put.

   Note [Advanced indices]
   A list of index tensors belongs to the first dimensions of a tensor, NULL where a dimension is taken whole. Masks stand for
   as many dimensions as they have and become the positions of what is true. The rest are broadcast against one another; the
   result has their common shape in the place of the dimensions they index, or in front where these are not neighbours. A plan
   holds what follows from that: for every element of the common shape its offset in the tensor, and how to walk both. */
#include "autograd_impl.h"
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <string.h>

typedef struct plan {
    hg_tensor *index[HG_MAX_DIM]; /* owned; int64, contiguous, of the common shape; NULL: the whole dimension */
    int n_index;                  /* dimensions spoken for */
    int64_t common[HG_MAX_DIM];
    int n_common;
    int64_t n_offsets, *offsets; /* elements from the tensor's first */
    int64_t shape[HG_MAX_DIM];   /* of the result */
    int n_shape;
    /* the walk: the common shape as one dimension, number `at` of n_walk */
    int n_walk, at;
    int64_t walk[HG_MAX_DIM + 1], in_tensor[HG_MAX_DIM + 1];
} plan;

static void plan_end(hg_ctx *cx, plan *p) {
    for (int i = 0; i < p->n_index; i++) hg_release(cx, p->index[i]);
    hg_mem_free(cx->lib, p->offsets);
}

static bool is_mask(const hg_tensor *t) { return t->dtype == HG_BOOL || t->dtype == HG_U8; }

/* The positions of what is true in a mask, one index vector a dimension. */
static hg_status add_mask(hg_ctx *cx, plan *p, const hg_tensor *t, hg_tensor *mask) {
    char b1[256], b2[256];
    if (mask->dtype == HG_U8) {
        hg_status st = hg_warn(
            cx, "UserWarning",
            "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.");
        if (st != HG_OK) return st;
    }
    if (p->n_index + mask->n_dim > t->n_dim)
        return hg_fail(cx, HG_INDEX, "too many indices for tensor of dimension %d", t->n_dim);
    for (int i = 0; i < mask->n_dim; i++)
        if (mask->shape[i] != t->shape[p->n_index + i])
            return hg_fail(
                cx, HG_INDEX,
                "The shape of the mask %s at index %d does not match the shape of the indexed tensor %s at index %d",
                hg_show_shape(mask, b1), i, hg_show_shape(t, b2), p->n_index + i);
    hg_tensor *at = NULL;
    hg_status st = hg_nonzero_fwd(cx, (hg_arg[]){hg_t(mask)}, &at);
    for (int i = 0; i < mask->n_dim && st == HG_OK; i++) {
        st = hg_raw_view(cx, at, 1, at->shape, at->stride, i * at->stride[1], &p->index[p->n_index]);
        if (st == HG_OK) p->n_index++;
    }
    hg_release(cx, at);
    return st;
}

static hg_status add_indices(hg_ctx *cx, plan *p, const hg_tensor *t, const hg_arg *list) {
    for (uint32_t i = 0; i < list->n; i++) {
        hg_tensor *ix = list->u.ts[i];
        hg_status st = HG_OK;
        if (ix && is_mask(ix)) {
            if ((st = add_mask(cx, p, t, ix)) != HG_OK) return st;
            continue;
        }
        if (ix && ix->dtype != HG_I64 && ix->dtype != HG_I32)
            return hg_fail(cx, HG_INDEX, "tensors used as indices must be long, int, byte or bool tensors");
        if (p->n_index >= t->n_dim)
            return hg_fail(cx, HG_INDEX, "too many indices for tensor of dimension %d", t->n_dim);
        if (ix && (st = hg_raw_cast(cx, ix, HG_I64, &p->index[p->n_index])) != HG_OK) return st;
        p->n_index++;
    }
    return HG_OK;
}

/* The common shape of all index tensors, and each of them in it. */
static hg_status broadcast_indices(hg_ctx *cx, plan *p) {
    for (int i = 0; i < p->n_index; i++) {
        const hg_tensor *ix = p->index[i];
        if (!ix) continue;
        if (hg_broadcast(cx, p->n_common, p->common, ix->n_dim, ix->shape, &p->n_common, p->common) != HG_OK) {
            char all[300] = "", one[256];
            for (int k = 0; k < p->n_index; k++)
                if (p->index[k] && strlen(all) < 200) {
                    if (*all) strcat(all, ", ");
                    strncat(all, hg_show_shape(p->index[k], one), 80);
                }
            return hg_fail(cx, HG_INDEX,
                           "shape mismatch: indexing tensors could not be broadcast together with shapes %s", all);
        }
    }
    for (int i = 0; i < p->n_index; i++) {
        hg_tensor *ix = p->index[i], *wide = NULL, *packed = NULL;
        int64_t stride[HG_MAX_DIM];
        if (!ix) continue;
        int lead = p->n_common - ix->n_dim;
        for (int k = 0; k < p->n_common; k++)
            stride[k] = k < lead || ix->shape[k - lead] != p->common[k] ? 0 : ix->stride[k - lead];
        hg_status st = hg_raw_view(cx, ix, p->n_common, p->common, stride, 0, &wide);
        if (st == HG_OK) st = hg_raw_contiguous(cx, wide, &packed);
        hg_release(cx, wide);
        if (st != HG_OK) return st;
        hg_release(cx, ix);
        p->index[i] = packed;
    }
    return HG_OK;
}

static hg_status add_offsets(hg_ctx *cx, plan *p, const hg_tensor *t) {
    p->n_offsets = 1;
    for (int i = 0; i < p->n_common; i++) p->n_offsets *= p->common[i];
    size_t size = (size_t)(p->n_offsets ? p->n_offsets : 1) * sizeof *p->offsets;
    if (!(p->offsets = hg_mem(cx, size))) return HG_MEMORY;
    memset(p->offsets, 0, size);
    int nth = 0; /* torch's message counts the indexed dimensions only */
    for (int d = 0; d < p->n_index; d++) {
        if (!p->index[d]) continue;
        const int64_t *at = (const int64_t *)(void *)p->index[d]->data;
        int64_t n = t->shape[d], step = t->stride[d];
        nth++;
        if (!n && p->n_offsets) return hg_fail(cx, HG_INDEX, "index is out of bounds for dimension with size 0");
        for (int64_t i = 0; i < p->n_offsets; i++) {
            int64_t k = at[i];
            if (k < -n || k >= n)
                return hg_fail(cx, HG_INDEX, "index %lld is out of bounds for dimension %d with size %lld",
                               (long long)k, nth - 1, (long long)n);
            p->offsets[i] += (k < 0 ? k + n : k) * step;
        }
    }
    return HG_OK;
}

/* The result's shape and the walk. */
static hg_status add_layout(hg_ctx *cx, plan *p, const hg_tensor *t) {
    int first = -1, last = -1, n_given = 0;
    for (int i = 0; i < p->n_index; i++)
        if (p->index[i]) {
            if (first < 0) first = i;
            last = i, n_given++;
        }
    int before = n_given && last - first + 1 == n_given ? first : 0; /* whole dimensions in front of the common ones */
    if (p->n_common + t->n_dim - n_given > HG_MAX_DIM)
        return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    int passed = 0;
    for (int d = 0; d <= t->n_dim; d++) {
        bool whole = d < t->n_dim && !(d < p->n_index && p->index[d]);
        if (passed == before && (whole || d == t->n_dim) && p->at < 0) {
            p->at = p->n_walk;
            p->walk[p->n_walk] = p->n_offsets, p->in_tensor[p->n_walk++] = 0;
            for (int k = 0; k < p->n_common; k++) p->shape[p->n_shape++] = p->common[k];
        }
        if (!whole) continue;
        passed++;
        p->walk[p->n_walk] = t->shape[d], p->in_tensor[p->n_walk++] = t->stride[d];
        p->shape[p->n_shape++] = t->shape[d];
    }
    return HG_OK;
}

static hg_status plan_begin(hg_ctx *cx, plan *p, const hg_tensor *t, const hg_arg *list) {
    memset(p->index, 0, sizeof p->index);
    p->n_index = p->n_common = p->n_shape = p->n_walk = 0, p->at = -1, p->offsets = NULL;
    hg_status st = add_indices(cx, p, t, list);
    if (st == HG_OK) st = broadcast_indices(cx, p);
    if (st == HG_OK) st = add_offsets(cx, p, t);
    if (st == HG_OK) st = add_layout(cx, p, t);
    if (st != HG_OK) plan_end(cx, p);
    return st;
}

/* `other`, of the result's shape, has these strides in the walk: the common dimensions are one, so they must be packed. */
static void strides_in_walk(const plan *p, const hg_tensor *other, int64_t *stride) {
    for (int i = 0, k = 0; i < p->n_walk; i++) {
        if (i == p->at) {
            stride[i] = p->n_common ? other->stride[k + p->n_common - 1] : 0;
            k += p->n_common;
        } else {
            stride[i] = other->stride[k++];
        }
    }
}

typedef enum move { READ, WRITE, ACCUMULATE } move;

/* Between the tensor's chosen elements and `other`, laid out as the result. */
static void run(const plan *p, const hg_tensor *t, const hg_tensor *other, move what) {
    int64_t stride[HG_MAX_DIM + 1];
    size_t size = hg_tensor_itemsize(t);
    if (!other->numel) return;
    strides_in_walk(p, other, stride);
    hg_walk w;
    hg_walk_begin(&w, p->n_walk, p->walk);
    hg_walk_add(&w, t->data, p->in_tensor, size);
    hg_walk_add(&w, other->data, stride, size);
    bool innermost = p->at == p->n_walk - 1;
    bool packed = !innermost && w.step[0] == (int64_t)size && w.step[1] == (int64_t)size && what != ACCUMULATE;
#define EACH(...)                                                                                                      \
    do {                                                                                                               \
        char *q = w.p[1];                                                                                              \
        if (innermost) {                                                                                               \
            E *base = (E *)(void *)w.p[0];                                                                             \
            for (int64_t i = 0; i < w.inner; i++, q += w.step[1]) {                                                    \
                E *x = base + p->offsets[i], *y = (E *)(void *)q;                                                      \
                __VA_ARGS__                                                                                            \
            }                                                                                                          \
        } else {                                                                                                       \
            char *r = w.p[0] + p->offsets[w.at[p->at]] * (int64_t)sizeof(E);                                           \
            if (packed && what == READ)                                                                                \
                memcpy(q, r, (size_t)w.inner * sizeof(E));                                                             \
            else if (packed)                                                                                           \
                memcpy(r, q, (size_t)w.inner * sizeof(E));                                                             \
            else                                                                                                       \
                for (int64_t i = 0; i < w.inner; i++, r += w.step[0], q += w.step[1]) {                                \
                    E *x = (E *)(void *)r, *y = (E *)(void *)q;                                                        \
                    __VA_ARGS__                                                                                        \
                }                                                                                                      \
        }                                                                                                              \
    } while (hg_walk_next(&w));
    if (what == READ) {
        HG_BY_SIZE(size, EACH(*y = *x;))
    } else if (what == WRITE) {
        HG_BY_SIZE(size, EACH(*x = *y;))
    } else {
        HG_BY_DTYPE(t->dtype, EACH(*x = STORE(LOAD(*x) + LOAD(*y));))
    }
#undef EACH
}

/* ---- The ops ---------------------------------------------------------------------------------------------------------- */

/* The strides of the result, as of an elementwise op on the tensor (which has none along the common dimensions) and on the
   indices (which have only those). False: the common dimensions would not be packed, as the walk has them. */
static bool result_strides(const plan *p, const hg_tensor *t, int64_t *stride) {
    hg_operand_strides of[2] = {0};
    int64_t step = 1;
    int first = -1, k = 0;
    for (int i = 0; i < p->n_walk; i++)
        if (i == p->at)
            first = k, k += p->n_common;
        else
            of[0].stride[k++] = p->in_tensor[i];
    for (int i = first + p->n_common - 1; i >= first; i--) of[1].stride[i] = step, step *= p->common[i - first];
    hg_ordered_strides(of, t->n_dim ? 2 : 1, p->n_shape, p->shape, stride);
    for (int i = first; i + 1 < first + p->n_common; i++)
        if (p->shape[i] != 1 && stride[i] != stride[i + 1] * p->shape[i + 1]) return false;
    return true;
}

/* Is the index one plain mask of the first dimensions of a plain tensor? Then what it takes are blocks in a row. */
static bool is_plain_mask(const hg_tensor *t, const hg_arg *list) {
    const hg_tensor *mask = list->n == 1 ? list->u.ts[0] : NULL;
    return mask && mask->dtype == HG_BOOL && mask->plain && t->plain && mask->n_dim && mask->n_dim <= t->n_dim &&
           hg_same_dims(mask->n_dim, mask->shape, mask->n_dim, t->shape);
}

static hg_status take_by_mask(hg_ctx *cx, const hg_tensor *t, const hg_tensor *mask, hg_tensor **out) {
    const char *yes = mask->data, *from = t->data;
    int64_t shape[HG_MAX_DIM] = {0}, n = mask->numel;
    size_t block = hg_tensor_itemsize(t);
    int n_dim = 1;
    for (int64_t i = 0; i < n; i++) shape[0] += yes[i] != 0;
    for (int i = mask->n_dim; i < t->n_dim; i++) block *= (size_t)(shape[n_dim++] = t->shape[i]);
    hg_status st = hg_out(cx, out, (hg_dtype)t->dtype, n_dim, shape);
    if (st != HG_OK || !block) return st;
    char *to = (*out)->data, *end = to + (size_t)shape[0] * block;
    if (block == sizeof(float)) { /* without branches: nobody can guess a mask */
        for (int64_t i = 0; to < end; i++)
            memcpy(to, from + i * (int64_t)sizeof(float), sizeof(float)), to += yes[i] ? sizeof(float) : 0;
    } else {
        for (int64_t i = 0; i < n; i++)
            if (yes[i]) memcpy(to, from + i * (int64_t)block, block), to += block;
    }
    return HG_OK;
}

static hg_status too_many(hg_ctx *cx, const hg_tensor *t, const hg_arg *list) {
    return hg_fail(cx, HG_INDEX, "too many indices for tensor of dimension %d (got %u)", t->n_dim, list->n);
}

hg_status hg_index_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = a[0].u.t;
    if ((int)a[1].n > t->n_dim) return too_many(cx, t, &a[1]); /* a mask without dimensions speaks for none */
    if (!*out && is_plain_mask(t, &a[1])) return take_by_mask(cx, t, a[1].u.ts[0], out);
    plan p;
    hg_status st = plan_begin(cx, &p, t, &a[1]);
    if (st != HG_OK) return st;
    int64_t stride[HG_MAX_DIM];
    bool fresh = !*out;
    if ((st = hg_out(cx, out, (hg_dtype)t->dtype, p.n_shape, p.shape)) == HG_OK) {
        if (fresh && !t->plain && result_strides(&p, t, stride)) hg_tensor_restride(*out, stride);
        run(&p, t, *out, READ);
    }
    plan_end(cx, &p);
    return st;
}

/* The index tensors a node saved, as an argument again; `room` holds as many. */
static hg_arg saved_indices(hg_ctx *cx, hg_back *b, hg_tensor **room) {
    int n = (int)ARG(1)->n;
    for (int i = 0; i < n; i++) room[i] = hg_back_saved_at(cx, b, 1, i);
    return hg_ts(room, n);
}

hg_status hg_index_bwd(hg_ctx *cx, hg_back *b) {
    hg_meta m = META(0);
    hg_tensor *room[HG_MAX_DIM], *zeros = hg_x_zeros(cx, (hg_dtype)m.dtype, m.n_dim, m.shape);
    hg_tensor *put = X(INDEX_PUT_IMPL, T(zeros), saved_indices(cx, b, room), T(G), hg_b(true));
    if (put) ++*hg_version_of(put->storage); /* in PyTorch it was put into the zeros */
    GIVE(0, put);
    return HG_OK;
}

hg_status hg_index_put_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = a[0].u.t, *values = a[2].u.t, *wide = NULL, *packed = NULL;
    char w1[16], w2[16], b1[256], b2[256];
    if ((int)a[1].n > t->n_dim) return too_many(cx, t, &a[1]);
    hg_status st = hg_warn_of_overlap(cx, *out, "index_put_", "indices] = tensor");
    bool fills = values->numel == 1 && !a[3].u.i && a[1].n == 1 && a[1].u.ts[0] && a[1].u.ts[0]->dtype == HG_BOOL;
    if (st == HG_OK && *out && !fills) st = hg_check_apart(cx, *out, values);
    for (uint32_t i = 0; i < a[1].n && *out && !fills && st == HG_OK; i++)
        if (a[1].u.ts[i]) st = hg_check_apart(cx, *out, a[1].u.ts[i]);
    if (st == HG_OK) st = hg_out_clone(cx, t, out);
    if (st != HG_OK) return st;
    bool one_value = values->numel == 1 && values->n_dim <= 1 && values->dtype == t->dtype && !a[3].u.i;
    if (one_value && is_plain_mask(*out, &a[1]) && a[1].u.ts[0]->n_dim == t->n_dim &&
        values->storage != (*out)->storage && a[1].u.ts[0]->storage != (*out)->storage)
        return hg_run(cx, &hg_k_where, (hg_dtype)t->dtype, (hg_arg[]){hg_t(a[1].u.ts[0]), a[2], hg_t(*out)}, 3, NULL,
                      out);
    plan p;
    if ((st = plan_begin(cx, &p, *out, &a[1])) != HG_OK) return st;
    int64_t stride[HG_MAX_DIM];
    int lead = p.n_shape - values->n_dim;
    bool fits = true;
    for (int i = 0; i < values->n_dim; i++) {
        int64_t size = values->shape[i];
        if (i + lead < 0 ? size != 1 : size != 1 && size != p.shape[i + lead]) fits = false;
    }
    if (!fits)
        st = hg_fail(cx, HG_SHAPE,
                     "shape mismatch: value tensor of shape %s cannot be broadcast to indexing result of shape %s",
                     hg_show_shape(values, b1), hg_show_sizes(p.n_shape, p.shape, b2));
    else if (values->dtype != t->dtype)
        st = hg_fail(
            cx, HG_SHAPE,
            "Index put requires the source and destination dtypes match, got %s for the destination and %s for the source.",
            hg_dtype_word(t->dtype, w1), hg_dtype_word(values->dtype, w2));
    for (int i = 0; fits && i < p.n_shape; i++)
        stride[i] = i < lead || values->shape[i - lead] == 1 ? 0 : values->stride[i - lead];
    if (st == HG_OK) st = hg_raw_view(cx, values, p.n_shape, p.shape, stride, 0, &wide);
    /* the walk sees the common dimensions as one: a value of several, or one that lies in the tensor itself, is copied */
    bool apart = values->numel != 1 && (p.n_common > 1 || values->storage == (*out)->storage);
    if (st == HG_OK) st = apart ? hg_out_copy(cx, wide, &packed) : HG_OK;
    if (st == HG_OK) run(&p, *out, packed ? packed : wide, a[3].u.i ? ACCUMULATE : WRITE);
    hg_release(cx, wide), hg_release(cx, packed);
    plan_end(cx, &p);
    return st;
}

hg_status hg_index_put_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *room[HG_MAX_DIM], *g = G;
    hg_arg indices = saved_indices(cx, b, room);
    if (NEED(0)) GIVE(0, ARG(3)->u.i ? g : X(INDEX_PUT, T(g), indices, T(hg_x_zeros(cx, (hg_dtype)g->dtype, 0, NULL))));
    if (NEED(2)) {
        hg_meta m = META(2);
        hg_tensor *got = X(INDEX, T(g), indices);
        if (got && m.n_dim > got->n_dim) { /* the value had more leading ones than the result has dimensions */
            int64_t shape[HG_MAX_DIM];
            int lead = m.n_dim - got->n_dim;
            for (int i = 0; i < m.n_dim; i++) shape[i] = i < lead ? 1 : got->shape[i - lead];
            got = X(RESHAPE, T(got), hg_ints(shape, m.n_dim));
        }
        GIVE(2, got);
    }
    return HG_OK;
}

/* ---- x[...] ------------------------------------------------------------------------------------------------------------- */

/* What is left of an index once views have been taken: the view, borrowed from the scope, and the advanced indices. */
typedef struct taken {
    hg_tensor *view;
    hg_tensor *index[2 * HG_MAX_DIM];
    int n;
    bool advanced;
} taken;

/* Dimensions of the tensor that the index speaks for. */
static int64_t n_spoken_for(const hg_index *at, int n) {
    int64_t count = 0;
    for (int i = 0; i < n; i++) switch (at[i].kind) {
        case HG_IX_INT:
        case HG_IX_SLICE: count++; break;
        case HG_IX_TENSOR: count += is_mask(at[i].t) ? at[i].t->n_dim : 1; break;
        default: break;
        }
    return count;
}

static hg_status put_index(hg_ctx *cx, taken *k, int dim, hg_tensor *index) {
    if (dim >= HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    while (k->n <= dim) k->index[k->n++] = NULL;
    k->index[dim] = index;
    k->advanced = true;
    return HG_OK;
}

static hg_status take_int(hg_ctx *cx, taken *k, int dim, int64_t i, int position) {
    const hg_tensor *t = k->view;
    int64_t size = dim < t->n_dim ? t->shape[dim] : 0;
    if (i < -size || i >= size)
        return hg_fail(cx, HG_INDEX, "index %lld is out of bounds for dimension %d with size %lld", (long long)i,
                       position, (long long)size);
    k->view = X(SELECT, T(k->view), hg_i(dim), hg_i(i));
    return cx->scope->status;
}

/* A single truth value: a new dimension, of size one or none. */
static hg_status take_bool(hg_ctx *cx, taken *k, int dim, bool yes) {
    hg_tensor *index;
    k->view = X(UNSQUEEZE, T(k->view), hg_i(dim));
    if (!k->view) return cx->scope->status;
    hg_status st = hg_tensor_empty(cx, HG_I64, 1, &(int64_t){yes}, &index);
    if (st != HG_OK) return st;
    if (yes) *(int64_t *)(void *)index->data = 0;
    if (!hg_scope_keep(cx, index)) return cx->scope->status;
    return put_index(cx, k, dim, index);
}

/* Take the views of an index. `keep_slices`: a slice that takes everything is a view nonetheless. */
static hg_status take_views(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, bool keep_slices, taken *k) {
    int64_t spoken = n_spoken_for(at, n);
    int dim = 0;
    hg_status st = HG_OK;
    k->view = t, k->n = 0, k->advanced = false;
    if (n == 1 && at[0].kind == HG_IX_INT && t->n_dim == 0)
        return hg_fail(
            cx, HG_INDEX,
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim "
            "tensor to a number");
    if (n == 1 && at[0].kind == HG_IX_SLICE && t->n_dim == 0)
        return hg_fail(cx, HG_INDEX, "slice() cannot be applied to a 0-dim tensor.");
    if (spoken > t->n_dim) return hg_fail(cx, HG_INDEX, "too many indices for tensor of dimension %d", t->n_dim);
    for (int i = 0; i < n && st == HG_OK; i++) switch (at[i].kind) {
        case HG_IX_INT: st = take_int(cx, k, dim, at[i].start, i); break;
        case HG_IX_SLICE: {
            int64_t size = k->view->shape[dim], start = at[i].start, stop = at[i].stop;
            if (at[i].step <= 0) return hg_fail(cx, HG_VALUE, "step must be greater than zero");
            if (start == INT64_MIN || start == INT64_MAX) start = start == INT64_MIN ? 0 : size;
            bool whole = start == 0 && at[i].step == 1 && stop >= size;
            if (!whole || keep_slices)
                k->view = X(SLICE, T(k->view), hg_i(dim), hg_i(start), hg_i(stop), hg_i(at[i].step));
            st = cx->scope->status;
            dim++;
            break;
        }
        case HG_IX_ELLIPSIS: dim += (int)(t->n_dim - spoken); break;
        case HG_IX_NEW:
            k->view = X(UNSQUEEZE, T(k->view), hg_i(dim++));
            st = cx->scope->status;
            break;
        case HG_IX_BOOL: st = take_bool(cx, k, dim++, at[i].start != 0); break;
        case HG_IX_TENSOR:
            if (at[i].t->n_dim == 0 && !hg_dtype_is_float((hg_dtype)at[i].t->dtype) && !hg_maps_of(cx, at[i].t)) {
                int64_t value = hg_element((hg_dtype)at[i].t->dtype, at[i].t->data).u.i;
                if (is_mask(at[i].t))
                    st = take_bool(cx, k, dim++, value != 0);
                else
                    st = take_int(cx, k, dim, value, i);
            } else {
                st = put_index(cx, k, dim, at[i].t);
                dim += is_mask(at[i].t) ? at[i].t->n_dim : 1;
                while (st == HG_OK && is_mask(at[i].t) && k->n < dim) k->index[k->n++] = NULL;
            }
        }
    if (st != HG_OK || !k->advanced) return st;
    /* a mask takes one place in the list however many dimensions it speaks for */
    int to = 0;
    for (int from = 0; from < k->n;) {
        hg_tensor *ix = k->index[from];
        k->index[to++] = ix;
        from += ix && is_mask(ix) && ix->n_dim ? ix->n_dim : 1;
    }
    k->n = to;
    return HG_OK;
}

/* Note [Views at once]
   Integers, slices, None and ... each take a view. Where nothing is recorded only the last of them counts: its sizes, strides
   and first element are worked out in one go. Whatever is out of the ordinary gives false: the views taken one by one find out
   what it is. */
typedef struct at_once {
    int n_dim;
    int64_t offset, shape[2 * HG_MAX_DIM], stride[2 * HG_MAX_DIM];
} at_once;

static bool slice_at_once(const hg_index *ix, int64_t size, int64_t stride, at_once *v) {
    int64_t start = ix->start, stop = ix->stop;
    if (start == INT64_MIN || start == INT64_MAX) start = start == INT64_MIN ? 0 : size;
    if (start < 0) start = start + size < 0 ? 0 : start + size;
    if (stop < 0) stop = stop < -size ? 0 : stop + size;
    if (start > size) start = size;
    if (stop > size) stop = size;
    int64_t n = stop > start ? stop - start : 0;
    if (ix->step <= 0 || ix->step > (size ? size : 1)) return false;
    v->shape[v->n_dim] = (n + ix->step - 1) / ix->step;
    v->stride[v->n_dim++] = stride * ix->step;
    v->offset += start * stride;
    return true;
}

static bool views_at_once(const hg_tensor *t, const hg_index *at, int n, at_once *v) {
    int dim = 0, n_new = 0, n_dots = 0;
    for (int i = 0; i < n; i++) n_new += at[i].kind == HG_IX_NEW, n_dots += at[i].kind == HG_IX_ELLIPSIS;
    int skipped = t->n_dim - (n - n_new - n_dots);
    if (skipped < 0 || n_dots > 1 || t->n_dim + n_new > HG_MAX_DIM || !t->n_dim) return false;
    v->n_dim = 0, v->offset = 0;
    for (int i = 0; i < n; i++) {
        int64_t size = dim < t->n_dim ? t->shape[dim] : 1, stride = dim < t->n_dim ? t->stride[dim] : 1, at_int;
        switch (at[i].kind) {
        case HG_IX_INT:
            at_int = at[i].start < 0 ? at[i].start + size : at[i].start;
            if (at_int < 0 || at_int >= size) return false;
            v->offset += at_int * stride;
            dim++;
            break;
        case HG_IX_SLICE:
            if (!slice_at_once(&at[i], size, stride, v)) return false;
            dim++;
            break;
        case HG_IX_NEW: v->shape[v->n_dim] = 1, v->stride[v->n_dim++] = size * stride; break;
        case HG_IX_ELLIPSIS:
            for (int k = 0; k < skipped; k++, dim++)
                v->shape[v->n_dim] = t->shape[dim], v->stride[v->n_dim++] = t->stride[dim];
            break;
        default: return false;
        }
    }
    for (; dim < t->n_dim; dim++) v->shape[v->n_dim] = t->shape[dim], v->stride[v->n_dim++] = t->stride[dim];
    return true;
}

/* Are these integers alone, that are there? */
static bool only_ints(const hg_tensor *t, const hg_index *at, int n) {
    if (n == 0 || n > t->n_dim) return false;
    for (int i = 0; i < n; i++)
        if (at[i].kind != HG_IX_INT || at[i].start >= t->shape[i] || at[i].start < -t->shape[i]) return false;
    return true;
}

/* x[i, j]: the view of a view. */
static hg_status select_all(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, hg_tensor **out) {
    hg_status st = HG_OK;
    hg_tensor *view = NULL;
    for (int i = 0; i < n && st == HG_OK; i++) {
        hg_tensor *of = view ? view : t, *next = NULL;
        st = hg_call_op(cx, HG_OP_SELECT, (hg_arg[]){hg_t(of), hg_i(0), hg_i(at[i].start)}, 3, &next);
        hg_release(cx, view);
        view = next;
    }
    *out = view;
    return st;
}

hg_status hg_get_index(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, hg_tensor **out) {
    at_once v;
    bool told = (hg_records(cx) && hg_tensor_requires_grad(t)) || hg_sees(cx, t) || cx->lib->watch.known_as;
    if (!told && views_at_once(t, at, n, &v)) {
        hg_status st = hg_raw_view(cx, t, v.n_dim, v.shape, v.stride, v.offset, out);
        if (st == HG_OK) hg_made_view(cx, *out, t, false);
        return st;
    }
    if (only_ints(t, at, n)) return select_all(cx, t, at, n, out);
    if (n == 1 && at[0].kind == HG_IX_SLICE && t->n_dim && at[0].step > 0) {
        int64_t start = at[0].start == INT64_MIN ? 0 : at[0].start == INT64_MAX ? t->shape[0] : at[0].start;
        hg_arg a[] = {hg_t(t), hg_i(0), hg_i(start), hg_i(at[0].stop), hg_i(at[0].step)};
        return hg_call_op(cx, HG_OP_SLICE, a, 5, out);
    }
    taken k;
    hg_tensor *r = NULL;
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_status st = take_views(cx, t, at, n, n == 1, &k);
    if (st != HG_OK)
        hg_scope_fail(cx, st);
    else
        r = k.advanced ? X(INDEX, T(k.view), hg_ts(k.index, k.n)) : k.view == t ? X(ALIAS, T(t)) : k.view;
    return hg_scope_return(cx, &s, r, out);
}

static int n_leading_ones(const hg_tensor *v) {
    int n = 0;
    while (n < v->n_dim && v->shape[n] == 1) n++;
    return n;
}

/* The value without its leading dimensions of size one, which say nothing. */
static hg_tensor *without_leading_ones(hg_ctx *cx, hg_tensor *v) {
    int n = n_leading_ones(v);
    return n ? X(VIEW_SIZE, T(v), hg_ints(v->shape + n, v->n_dim - n)) : v;
}

static hg_status assign(hg_ctx *cx, hg_tensor *to, hg_arg value) {
    if (value.kind != HG_A_TENSOR || (value.u.t->n_dim == 0 && to->n_dim)) {
        /* which fill_() would let pass, and copy_() looks at itself */
        hg_status meets = hg_check_overlap(cx, to, NULL);
        if (meets != HG_OK) return meets;
    }
    if (value.kind != HG_A_TENSOR && cx->grad_enabled && hg_tensor_requires_grad(to)) {
        hg_tensor *number; /* torch makes a tensor of it, which shows in the graph */
        hg_status st = hg_raw_scalar(cx, value, (hg_dtype)to->dtype, &number);
        if (st != HG_OK || !hg_scope_keep(cx, number)) return st != HG_OK ? st : cx->scope->status;
        return hg_call_inplace(cx, HG_OP_FILL_TENSOR_, (hg_arg[]){hg_t(to), hg_t(number)}, 2);
    }
    if (value.kind != HG_A_TENSOR) return hg_call_inplace(cx, HG_OP_FILL_, (hg_arg[]){hg_t(to), value}, 2);
    hg_tensor *v = value.u.t;
    if (!hg_same_shape(to, v)) {
        if (v->n_dim == 0) return hg_call_inplace(cx, HG_OP_FILL_TENSOR_, (hg_arg[]){hg_t(to), value}, 2);
        int n = n_leading_ones(v); /* torch takes a view, also of the whole */
        v = X(VIEW_SIZE, T(v), hg_ints(v->shape + n, v->n_dim - n));
        if (v && !hg_same_shape(to, v)) v = X(EXPAND, T(v), hg_ints(to->shape, to->n_dim));
        if (!v) return cx->scope->status;
    }
    return hg_call_inplace(cx, HG_OP_COPY_, (hg_arg[]){hg_t(to), hg_t(v)}, 2);
}

static hg_status assign_at(hg_ctx *cx, taken *k, hg_arg value) {
    hg_tensor *v = NULL;
    if (value.kind == HG_A_TENSOR) {
        v = without_leading_ones(cx, value.u.t);
    } else {
        hg_status st = hg_raw_scalar(cx, value, (hg_dtype)k->view->dtype, &v);
        if (st != HG_OK) return st;
        v = hg_scope_keep(cx, v);
    }
    if (!v) return cx->scope->status;
    return hg_call_inplace(cx, HG_OP_INDEX_PUT, (hg_arg[]){hg_t(k->view), hg_ts(k->index, k->n), hg_t(v)}, 3);
}

/* x[i, j] = number, where nobody records or watches it. */
static hg_status put_element(hg_ctx *cx, hg_tensor *t, int64_t offset, hg_arg number) {
    hg_status st = hg_check_inplace(cx, t, false);
    if (st != HG_OK || (st = hg_check_number(cx, number, (hg_dtype)t->dtype)) != HG_OK) return st;
    hg_put_number(number, (hg_dtype)t->dtype, t->data + offset * (int64_t)hg_tensor_itemsize(t));
    return hg_wrote(cx, t);
}

hg_status hg_set_index(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, hg_arg value) {
    taken k;
    if (n == 1 && at[0].kind == HG_IX_BOOL && !at[0].start) return HG_OK; /* x[False] names nothing */
    hg_index as_new = {.kind = HG_IX_NEW};
    if (n == 1 && at[0].kind == HG_IX_BOOL) at = &as_new;
    at_once v;
    bool recorded = cx->grad_enabled &&
                    (hg_tensor_requires_grad(t) || (value.kind == HG_A_TENSOR && hg_tensor_requires_grad(value.u.t)));
    bool watched = cx->lib->watch.calling || cx->lib->watch.writing;
    bool direct = !recorded && !watched && views_at_once(t, at, n, &v);
    if (direct && v.n_dim == 0 && value.kind != HG_A_TENSOR) return put_element(cx, t, v.offset, value);
    hg_scope s;
    hg_status st;
    hg_scope_begin(cx, &s);
    if (direct) {
        hg_tensor *view = NULL; /* nobody asks where it came from */
        st = hg_raw_view(cx, t, v.n_dim, v.shape, v.stride, v.offset, &view);
        if (st == HG_OK) st = assign(cx, view, value);
        hg_release(cx, view);
        if (st != HG_OK) hg_scope_fail(cx, st);
        return hg_scope_end(cx, &s);
    }
    st = take_views(cx, t, at, n, false, &k);
    if (st == HG_OK) st = k.advanced ? assign_at(cx, &k, value) : assign(cx, k.view, value);
    if (st != HG_OK) hg_scope_fail(cx, st);
    return hg_scope_end(cx, &s);
}
