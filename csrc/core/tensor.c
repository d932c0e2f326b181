/* Tensors as memory: making them, aliasing them, their life. Their history is in autograd.c. */
#include "autograd_impl.h"

#include <stdlib.h>

static inline void set_strides(int n_dim, const int64_t *shape, int64_t *stride) {
    int64_t step = 1;
    for (int i = n_dim - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape[i] > 1 ? shape[i] : 1;
    }
}

void hg_contiguous_strides(int n_dim, const int64_t *shape, int64_t *stride) { set_strides(n_dim, shape, stride); }

/* Give t, which has room for them, sizes and strides, and say what follows: how many elements there are, whether they lie in
   order, and whether the strides are those of a new tensor. false: there are more elements than can be counted. */
static inline bool set_dims(hg_tensor *t, const int64_t *shape, const int64_t *stride) {
    int64_t step = 1, numel = 1;
    bool in_order = true, plain = true, counted = true;
    for (int i = t->n_dim - 1; i >= 0; i--) {
        int64_t n = shape[i], s = stride[i];
        t->shape[i] = n, t->stride[i] = s;
        counted &= !__builtin_mul_overflow(numel, n, &numel);
        if (s != step) plain = false, in_order &= n == 1;
        if (n > 1) step *= n;
    }
    t->numel = numel;
    t->contiguous = in_order || numel == 0;
    t->plain = plain;
    return counted;
}

void hg_tensor_restride(hg_tensor *t, const int64_t *stride) { set_dims(t, t->shape, stride); }

/* Give t room for n_dim sizes and strides; it has none, or its old room goes. */
static inline hg_status make_room(hg_ctx *cx, hg_tensor *t, int n_dim, bool fresh) {
    int64_t *room = t->dims;
    if (n_dim > HG_INLINE_DIM && !(room = hg_mem(cx, 2 * (size_t)n_dim * sizeof *room))) return HG_MEMORY;
    if (!fresh && t->shape && t->shape != t->dims) hg_mem_free(cx->lib, t->shape);
    t->shape = room;
    t->stride = room + (n_dim > HG_INLINE_DIM ? n_dim : HG_INLINE_DIM);
    t->n_dim = (uint8_t)n_dim;
    return HG_OK;
}

/* Note [Ready tensors]
   Most tensors are small and die alone, their storage with them. Such a pair stays together, ready for the next small
   tensor; one that shared its storage, as views do, waits without. Both have room for HG_INLINE_DIM dimensions, a ready
   one for READY_BYTES in a storage with a count of one; they own nothing else, have a count of one themselves, and
   `grad` is the next one in the list. */
enum { READY_BYTES = 64 };

/* The first of the list begins again, with room for n_dim sizes. */
static inline hg_tensor *revive(hg_ctx *cx, hg_tensor **list, hg_dtype d, int n_dim) {
    hg_tensor *t = *list;
    *list = t->grad;
    t->grad = NULL;
    t->dtype = (uint8_t)d, t->n_dim = (uint8_t)n_dim, t->requires_grad = false;
    t->is_inference = cx->inference, t->levels = cx->derives & HG_LEVELS, t->in_map = 0;
    t->view_kind = t->n_held = 0, t->out_nr = t->seen_version = 0;
    return t;
}

bool hg_tensor_retire(hg_lib *lib, hg_tensor *t) {
    if (t->extra || t->shape != t->dims) return false;
    if (t->grad_fn || t->grad || t->base) { /* first, as its node may be the other one that keeps its storage */
        hg_node *node = t->grad_fn;
        hg_tensor *grad = t->grad, *base = t->base;
        t->grad_fn = NULL, t->grad = NULL, t->base = NULL;
        if (node) hg_release_in(lib, node);
        if (grad) hg_release_in(lib, grad);
        if (base) hg_release_in(lib, base);
    }
    hg_storage *s = t->storage;
    bool whole = s && s->n_ref == 1 && s->spare == 1 && !s->counter && !s->free && !hg_storage_is_used(lib);
    if (!whole) { /* first, as who owns the memory may run any code, and t is nobody's yet */
        t->storage = NULL;
        hg_storage_release(lib, s);
    }
    hg_tensor **list = whole ? &lib->ready : &lib->bare;
    int *n = whole ? &lib->n_ready : &lib->n_bare;
    if (*n >= HG_KEPT) return false;
    t->grad = *list;
    *list = t, ++*n;
    return true;
}

void hg_ready_free(hg_lib *lib) {
    hg_tensor **lists[] = {&lib->ready, &lib->bare};
    for (int i = 0; i < 2; i++)
        for (hg_tensor *t; (t = *lists[i]);) {
            *lists[i] = t->grad;
            hg_storage_release(lib, t->storage);
            lib->host.free(lib->host.ud, HG_KIND_TENSOR, t);
        }
    lib->n_ready = lib->n_bare = 0;
}

/* A new tensor on the storage, which it takes over, with room for its sizes. */
static inline hg_status shell(hg_ctx *cx, hg_storage *storage, char *data, hg_dtype d, int n_dim, hg_tensor **out) {
    hg_tensor *t;
    if (cx->lib->bare && n_dim <= HG_INLINE_DIM) {
        t = revive(cx, &cx->lib->bare, d, n_dim);
        cx->lib->n_bare--;
    } else {
        if (!(t = HOST(cx)->alloc(HOST(cx)->ud, HG_KIND_TENSOR, sizeof *t))) return hg_no_memory(cx);
        hg_status st = make_room(cx, t, n_dim, true);
        if (st != HG_OK) {
            hg_release(cx, t);
            return st;
        }
        t->dtype = (uint8_t)d;
        t->is_inference = cx->inference, t->levels = cx->derives & HG_LEVELS, t->in_map = 0;
    }
    t->storage = storage, t->data = data;
    *out = t;
    return HG_OK;
}

/* A new tensor on a new storage of that many bytes, with room for its sizes. */
static inline hg_status fresh(hg_ctx *cx, size_t size, hg_dtype d, int n_dim, hg_tensor **out) {
    hg_storage *s;
    if (cx->lib->ready && size <= READY_BYTES && n_dim <= HG_INLINE_DIM) {
        hg_tensor *t = *out = revive(cx, &cx->lib->ready, d, n_dim);
        cx->lib->n_ready--;
        s = t->storage;
        s->size = size, s->version = 0, s->read_only = false;
        t->data = s->data;
        return HG_OK;
    }
    hg_status st = hg_storage_new(cx, size, &s);
    if (st == HG_OK && (st = shell(cx, s, s->data, d, n_dim, out)) != HG_OK) hg_storage_release(cx->lib, s);
    return st;
}

hg_status hg_tensor_make(hg_ctx *cx, hg_storage *storage, char *data, hg_dtype d, int n_dim, const int64_t *shape,
                         const int64_t *stride, hg_tensor **out) {
    if (n_dim > HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    hg_tensor *t;
    hg_status st = shell(cx, storage, data, d, n_dim, &t);
    if (st != HG_OK) return st;
    if (!stride) set_strides(n_dim, shape, t->stride);
    if (!set_dims(t, shape, stride ? stride : t->stride)) {
        t->storage = NULL; /* the caller keeps it */
        hg_release(cx, t);
        return hg_fail(cx, HG_STATE, "numel: integer multiplication overflow");
    }
    *out = t;
    return HG_OK;
}

hg_status hg_tensor_empty_like(hg_ctx *cx, const hg_tensor *like, hg_dtype d, hg_tensor **out) {
    size_t size; /* in another dtype there may be more bytes */
    if (__builtin_mul_overflow((size_t)like->numel, (size_t)hg_dtypes[d].size, &size))
        return hg_tensor_empty(cx, d, like->n_dim, like->shape, out);
    hg_status st = fresh(cx, size, d, like->n_dim, out);
    if (st != HG_OK) return st;
    hg_tensor *t = *out;
    if (like->plain)
        hg_copy_dims(t->stride, like->stride, like->n_dim);
    else
        set_strides(like->n_dim, like->shape, t->stride);
    hg_copy_dims(t->shape, like->shape, like->n_dim);
    t->numel = like->numel;
    t->contiguous = t->plain = true;
    return HG_OK;
}

/* hg_tensor_empty() where there are many dimensions, or a size that cannot be. */
static __attribute__((noinline)) hg_status empty_checked(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape,
                                                         hg_tensor **out) {
    int64_t numel;
    size_t size;
    hg_storage *s;
    hg_status st = hg_numel(cx, n_dim, shape, &numel);
    if (st == HG_OK && __builtin_mul_overflow((size_t)numel, (size_t)hg_dtypes[d].size, &size))
        st = hg_fail(cx, HG_STATE, "Storage size calculation overflowed with %lld elements of %s", (long long)numel,
                     hg_dtypes[d].name);
    if (st != HG_OK || (st = hg_storage_new(cx, size, &s)) != HG_OK) return st;
    if ((st = hg_tensor_make(cx, s, s->data, d, n_dim, shape, NULL, out)) != HG_OK) hg_storage_release(cx->lib, s);
    return st;
}

hg_status hg_tensor_empty(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape, hg_tensor **out) {
    const int64_t item = hg_dtypes[d].size;
    int64_t bytes = item, step = 1;
    if (n_dim > HG_INLINE_DIM) return empty_checked(cx, d, n_dim, shape, out);
    for (int i = 0; i < n_dim; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, shape[i], &bytes))
            return empty_checked(cx, d, n_dim, shape, out);
    hg_status st = fresh(cx, (size_t)bytes, d, n_dim, out);
    if (st != HG_OK) return st;
    hg_tensor *t = *out;
    for (int i = n_dim - 1; i >= 0; i--) {
        int64_t n = shape[i];
        t->dims[i] = n, t->dims[HG_INLINE_DIM + i] = step;
        step *= n > 1 ? n : 1;
    }
    t->numel = bytes ? step : 0;
    t->contiguous = t->plain = true;
    return HG_OK;
}

hg_status hg_tensor_wrap(hg_ctx *cx, void *data, hg_dtype d, int n_dim, const int64_t *shape, const int64_t *stride,
                         size_t size, void (*free)(void *), void *owner, hg_tensor **out) {
    hg_storage *s = hg_mem(cx, sizeof *s);
    if (!s) return HG_MEMORY;
    *s = (hg_storage){.n_ref = 1, .data = data, .size = size};
    hg_status st = hg_tensor_make(cx, s, data, d, n_dim, shape, stride, out);
    if (st != HG_OK) {
        hg_mem_free(cx->lib, s);
        return st;
    }
    s->free = free, s->owner = owner; /* only now: on failure the caller keeps owner */
    return HG_OK;
}

int64_t hg_tensor_offset(const hg_tensor *t) {
    return t->storage ? (t->data - t->storage->data) >> __builtin_ctz((unsigned)hg_tensor_itemsize(t)) : 0;
}

/* A tensor on t's storage, whose first element is at `data`. */
static hg_status alias_at(hg_ctx *cx, const hg_tensor *t, int n_dim, const int64_t *shape, const int64_t *stride,
                          char *data, hg_tensor **out) {
    if (!t->storage) return hg_fail(cx, HG_STATE, "the tensor has no storage: it was never initialised");
    hg_status st = hg_tensor_make(cx, t->storage, data, (hg_dtype)t->dtype, n_dim, shape, stride, out);
    if (st == HG_OK)
        hg_storage_retain(t->storage), (*out)->is_inference = t->is_inference != 0, (*out)->levels = t->levels;
    return st;
}

hg_status hg_tensor_alias(hg_ctx *cx, const hg_tensor *t, int n_dim, const int64_t *shape, const int64_t *stride,
                          int64_t offset, hg_tensor **out) {
    char *data = t->storage ? t->storage->data + offset * (int64_t)hg_tensor_itemsize(t) : NULL;
    return alias_at(cx, t, n_dim, shape, stride, data, out);
}

hg_status hg_raw_view(hg_ctx *cx, const hg_tensor *t, int n_dim, const int64_t *shape, const int64_t *stride,
                      int64_t offset, hg_tensor **out) {
    return alias_at(cx, t, n_dim, shape, stride, t->data + offset * (int64_t)hg_tensor_itemsize(t), out);
}

hg_status hg_raw_detach(hg_ctx *cx, const hg_tensor *t, hg_tensor **out) {
    hg_status st = alias_at(cx, t, t->n_dim, t->shape, t->stride, t->data, out);
    if (st == HG_OK) (*out)->is_inference = hg_still_inference(cx, t);
    return st;
}

hg_status hg_tensor_detach(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    return hg_sees(cx, t) == HG_SEEN_BY_CLASS ? hg_told_detach(cx, t, out) : hg_raw_detach(cx, t, out);
}

hg_status hg_told_detach(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    if (!hg_sees(cx, t)) return hg_raw_detach(cx, t, out);
    bool was = cx->grad_enabled;
    cx->grad_enabled = false;
    hg_status st = hg_call_op(cx, HG_OP_DETACH, (hg_arg[]){hg_t(t)}, 1, out);
    cx->grad_enabled = was;
    return st;
}

/* Of hollow tensors: zeros, that the system gives where they are asked for. */
static void free_hollow(void *owner) { free(owner); }

bool hg_is_hollow(const hg_tensor *t) { return t->storage && t->storage->free == free_hollow; }

hg_status hg_tensor_hollow(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape, const int64_t *stride,
                           int64_t offset, size_t size, hg_tensor **out) {
    hg_tensor *whole;
    const int64_t bytes = (int64_t)size, step = 1;
    char *zeros = calloc(size ? size : 1, 1);
    if (!zeros) return hg_no_memory(cx);
    hg_status st = hg_tensor_wrap(cx, zeros, HG_U8, 1, &bytes, &step, size, free_hollow, zeros, &whole);
    if (st != HG_OK) return free(zeros), st;
    st = hg_tensor_make(cx, whole->storage, zeros + offset * (int64_t)hg_dtypes[d].size, d, n_dim, shape, stride, out);
    if (st == HG_OK) hg_storage_retain(whole->storage);
    hg_release(cx, whole);
    return st;
}

/* Does what t's strides reach lie within that storage, where t begins as far in as in its own? */
static bool fits_in(const hg_tensor *t, const hg_storage *s) {
    int64_t size = (int64_t)hg_tensor_itemsize(t), first = hg_tensor_offset(t), last = first;
    for (int i = 0; i < t->n_dim; i++) last += t->shape[i] ? (t->shape[i] - 1) * t->stride[i] : 0;
    return !t->numel || (last + 1) * size <= (int64_t)s->size;
}

static hg_status share_version(hg_ctx *cx, hg_storage *from, hg_storage *to);

hg_status hg_share(hg_ctx *cx, hg_tensor *t, const hg_tensor *of) {
    if (t->storage == of->storage || !t->storage || !of->storage) return HG_OK;
    if (!hg_is_hollow(t) || !hg_is_hollow(of) || !fits_in(t, of->storage))
        return share_version(cx, of->storage, t->storage);
    char *data = of->storage->data + (t->data - t->storage->data);
    hg_storage_retain(of->storage);
    hg_storage_release(cx->lib, t->storage);
    t->storage = of->storage, t->data = data;
    return HG_OK;
}

static void release_lender(void *owner) {
    hg_storage **pair = owner;
    hg_lib *lib = (hg_lib *)pair[1];
    hg_storage_release(lib, pair[0]);
    hg_mem_free(lib, pair);
}

const hg_storage *hg_storage_own(const hg_storage *s) {
    while (s->free == release_lender) s = *(hg_storage **)s->owner;
    return s;
}

/* The same bytes under a version of their own: a storage that borrows from the one that owns them. New. */
static hg_status lend(hg_ctx *cx, hg_storage *s, hg_storage **out) {
    s = (hg_storage *)hg_storage_own(s);
    hg_storage **pair = hg_mem(cx, 2 * sizeof *pair), *lent = hg_mem(cx, sizeof *lent);
    if (!pair || !lent) {
        hg_mem_free(cx->lib, pair), hg_mem_free(cx->lib, lent);
        return HG_MEMORY;
    }
    pair[0] = s, pair[1] = (hg_storage *)cx->lib;
    hg_storage_retain(s);
    *lent = (hg_storage){
        .n_ref = 1, .data = s->data, .size = s->size, .read_only = s->read_only, .free = release_lender, .owner = pair};
    *out = lent;
    return HG_OK;
}

hg_status hg_tensor_data(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    hg_storage *s;
    if (hg_sees(cx, t) == HG_SEEN_BY_CLASS) {
        hg_status st = hg_tensor_detach(cx, t, out);
        if (st != HG_OK || (st = lend(cx, (*out)->storage, &s)) != HG_OK) return st;
        hg_storage_release(cx->lib, (*out)->storage);
        (*out)->storage = s;
        return HG_OK;
    }
    if (!t->storage) return hg_fail(cx, HG_STATE, "the tensor has no storage: it was never initialised");
    hg_status st = lend(cx, t->storage, &s);
    if (st != HG_OK) return st;
    st = hg_tensor_make(cx, s, t->data, (hg_dtype)t->dtype, t->n_dim, t->shape, t->stride, out);
    if (st != HG_OK)
        hg_storage_release(cx->lib, s);
    else
        (*out)->is_inference = hg_still_inference(cx, t), (*out)->levels = t->levels;
    return st;
}

/* The storage `to` counts on where `from` has counted. What shares from's memory only, not its version, is not asked. */
static hg_status share_version(hg_ctx *cx, hg_storage *from, hg_storage *to) {
    if (from->n_ref == 1 && !from->counter) {
        to->version = from->version;
        return HG_OK;
    }
    if (!from->counter) {
        hg_counter *c = hg_mem(cx, sizeof *c);
        if (!c) return HG_MEMORY;
        *c = (hg_counter){1, from->version};
        from->counter = c;
    }
    to->counter = from->counter, to->counter->n_ref++;
    return HG_OK;
}

hg_status hg_tensor_assign(hg_ctx *cx, hg_tensor *t, const hg_tensor *from) {
    if (!t->storage || !from->storage || t->storage == from->storage) return hg_tensor_set_data(cx, t, from);
    hg_tensor lent = *from;
    hg_status st = lend(cx, from->storage, &lent.storage);
    if (st != HG_OK) return st;
    if ((st = share_version(cx, t->storage, lent.storage)) == HG_OK) st = hg_tensor_set_data(cx, t, &lent);
    hg_storage_release(cx->lib, lent.storage);
    return st;
}

hg_status hg_tensor_set_data(hg_ctx *cx, hg_tensor *t, const hg_tensor *from) {
    /* An accumulator checks gradients against what its tensor was. As in PyTorch another dtype needs another accumulator;
       of another shape the one that a graph holds refuses the gradient. */
    if (t->extra && t->dtype != from->dtype && t->extra->accumulator) t->extra->accumulator = NULL, t->n_held = HG_HELD;
    if ((t->extra || t->grad_fn) && !hg_same_dims(t->n_dim, t->shape, from->n_dim, from->shape))
        cx->lib->reshaped = true;
    if (t->n_dim != from->n_dim || !t->shape) {
        hg_status st = make_room(cx, t, from->n_dim, false);
        if (st != HG_OK) return st;
    }
    hg_storage *old = t->storage;
    hg_copy_dims(t->shape, from->shape, from->n_dim);
    hg_copy_dims(t->stride, from->stride, from->n_dim);
    if (from->storage) hg_storage_retain(from->storage);
    t->storage = from->storage;
    t->data = from->data;
    t->numel = from->numel;
    t->dtype = from->dtype;
    t->contiguous = from->contiguous;
    t->plain = from->plain;
    if (!old) t->levels = from->levels;
    hg_storage_release(cx->lib, old);
    return HG_OK;
}

/* What pointed to one struct points to where its contents are now. */
static void settle(hg_ctx *cx, hg_tensor *t, hg_tensor *was) {
    bool inlined = t->shape == was->dims;
    if (inlined) t->stride = t->dims + (t->stride - was->dims), t->shape = t->dims;
    struct hg_extra *e = t->extra;
    if (e && e->keeps) e->keeps->hooks->out[e->keeps_nr].retains = t;
    if (e && e->accumulator && e->accumulator->args[0].u.t == was) {
        hg_retain(cx, t);
        e->accumulator->args[0].u.t = t;
        hg_release(cx, was);
    }
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
}

void hg_tensor_swap(hg_ctx *cx, hg_tensor *a, hg_tensor *b) {
    hg_tensor kept = *a;
    if (a == b) return;
    *a = *b;
    *b = kept;
    hg_retain(cx, a);
    hg_retain(cx, b);
    settle(cx, a, b);
    settle(cx, b, a);
    hg_release(cx, a);
    hg_release(cx, b);
}

/* ---- Life ----------------------------------------------------------------------------------------------------------- */

static void drop_extra(hg_lib *lib, hg_tensor *t) {
    struct hg_extra *e = t->extra;
    if (!e) return;
    t->extra = NULL;
    hg_keep_no_grad(lib, t, e); /* nobody is left to look at .grad */
    void *owned[] = {e->hooks, e->post, e->stands_for};
    struct hg_packed *packed = e->packed;
    if (e->resting) lib->host.free(lib->host.ud, HG_KIND_NODE, e->resting);
    hg_mem_free(lib, e);
    for (int i = 0; i < 3; i++)
        if (owned[i]) hg_release_in(lib, owned[i]);
    if (packed) hg_packed_free(lib, packed);
}

void hg_tensor_clear(hg_lib *lib, hg_tensor *t) {
    drop_extra(lib, t);
    void *owned[] = {t->grad_fn, t->grad, t->base};
    t->grad_fn = NULL, t->grad = NULL, t->base = NULL;
    for (int i = 0; i < 3; i++)
        if (owned[i]) hg_release_in(lib, owned[i]);
}

void hg_tensor_finalize(hg_lib *lib, hg_tensor *t) {
    if (t->grad_fn || t->grad || t->base || t->extra) hg_tensor_clear(lib, t);
    if (t->shape && t->shape != t->dims) hg_mem_free(lib, t->shape);
    t->shape = t->stride = NULL;
    hg_storage *s = t->storage;
    t->storage = NULL;
    hg_storage_release(lib, s);
}

int hg_tensor_visit(hg_tensor *t, hg_visit_fn visit, void *arg) {
    struct hg_extra none = {0}, *e = t->extra ? t->extra : &none;
    void *owned[] = {t->grad_fn, t->grad, t->base, e->hooks, e->post, e->stands_for, e->keeps};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i]) {
            int r = visit(owned[i], true, arg);
            if (r) return r;
        }
    return e->packed ? hg_packed_visit(e->packed, visit, arg) : 0;
}
