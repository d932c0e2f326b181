/* Tensors on the device "meta": a shape without values.

   Note [Meta tensors]
   A meta tensor lies in memory of which the system gives nothing before it is touched, and which nobody may read. What an op
   gives is found by running it on that memory, which reads as zeros: its shape, dtype and strides are the op's own, whatever it
   is, and the memory it computed is dropped. In place nothing is computed at all. Views share the storage, and are on its
   device for that reason. From the first meta tensor on, the core looks at every op's arguments before it computes. */
#include "autograd_impl.h"

#include <stdlib.h>

static void free_meta(void *owner) { free(owner); }

bool hg_is_meta(const hg_tensor *t) { return t->storage && hg_storage_own(t->storage)->free == free_meta; }

bool hg_has_metas(const hg_lib *lib) { return lib->metas; }

bool hg_without_metas(hg_lib *lib, bool off) {
    bool was = lib->metas_off;
    lib->metas_off = off;
    return was;
}

/* Nobody else watches, but from here on somebody has to. */
static hg_status tell_nobody(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor ***made,
                             int *n) {
    (void)cx, (void)info, (void)a, (void)into, (void)made, (void)n;
    return HG_OK;
}

static hg_seen seeing(const hg_tensor *t) { return t && hg_is_meta(t) ? HG_SEEN : HG_UNSEEN; }

hg_status hg_make_meta(hg_ctx *cx, hg_tensor *t) {
    if (hg_is_meta(t)) return HG_OK;
    int64_t size = (int64_t)hg_tensor_itemsize(t), bytes = t->numel ? size : 0;
    for (int i = 0; t->numel && i < t->n_dim; i++) bytes += (t->shape[i] - 1) * t->stride[i] * size;
    hg_tensor *whole;
    const int64_t step = 1;
    char *zeros = calloc(bytes ? (size_t)bytes : 1, 1);
    if (!zeros) return hg_no_memory(cx);
    hg_status st = hg_tensor_wrap(cx, zeros, HG_U8, 1, &bytes, &step, (size_t)bytes, free_meta, zeros, &whole);
    if (st != HG_OK) return free(zeros), st;
    hg_storage_release(cx->lib, t->storage);
    hg_storage_retain(t->storage = whole->storage);
    t->data = zeros;
    if (t->grad_fn) t->grad_fn->outs[t->out_nr].on_meta = true;
    hg_release(cx, whole);
    cx->lib->metas = true;
    if (!cx->lib->watch.calling) cx->lib->watch.calling = tell_nobody, cx->lib->watch.seeing = seeing;
    return HG_OK;
}

/* ---- Ops ------------------------------------------------------------------------------------------------------------ */

typedef struct places {
    bool meta, cpu; /* of tensors with dimensions: one without goes anywhere */
    bool first_is_meta;
} places;

static void look(places *p, const hg_tensor *t) {
    if (!t) return;
    bool meta = hg_is_meta(t);
    if (meta && !p->cpu) p->first_is_meta = true;
    p->meta |= meta, p->cpu |= !meta && t->n_dim;
}

static places places_of(const hg_op_info *info, const hg_arg *a) {
    places p = {false, false, false};
    for (int i = 0; i < info->n_params; i++) {
        if (a[i].kind == HG_A_TENSOR) look(&p, a[i].u.t);
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n; j++) look(&p, a[i].u.ts[j]);
    }
    return p;
}

bool hg_needs_values(int id) {
    switch (id) {
    case HG_OP_NONZERO:
    case HG_OP_NONZERO_NUMPY:
    case HG_OP_WHERE_NONZERO:
    case HG_OP_MASKED_SELECT:
    case HG_OP_UNIQUE:
    case HG_OP_UNIQUE_DIM:
    case HG_OP_UNIQUE_CONSECUTIVE:
    case HG_OP_EQUAL: return true;
    default: return false;
    }
}

static hg_status no_data(hg_ctx *cx) { return hg_fail(cx, HG_MISSING, "Cannot copy out of meta tensor; no data!"); }

static hg_status check(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, const hg_tensor *into, places p) {
    if (hg_needs_values(info->id))
        return hg_fail(
            cx, HG_MISSING,
            "aten::%s: attempted to run this operator with Meta tensors, but what it gives depends on values",
            info->name);
    if (info->id == HG_OP_COPY_) return into && !hg_is_meta(into) ? no_data(cx) : HG_OK;
    if (p.cpu && info->id != HG_OP_INDEX && info->id != HG_OP_INDEX_PUT && info->id != HG_OP_INDEX_PUT_IMPL)
        return hg_fail(cx, HG_STATE, "Tensor on device %s is not on the expected device %s!",
                       p.first_is_meta ? "cpu" : "meta", p.first_is_meta ? "meta" : "cpu");
    const hg_tensor *t = into && info->n_params > 1 && a[1].kind == HG_A_TENSOR ? a[1].u.t : NULL;
    for (int i = 1; t && info->id != HG_OP_INDEX_PUT && info->op->flags & HG_ROW_INPLACE && i <= t->n_dim; i++) {
        int64_t n = t->shape[t->n_dim - i], m = i <= into->n_dim ? into->shape[into->n_dim - i] : 1;
        if (n != 1 && n != m)
            return hg_fail(cx, HG_SHAPE, "The size of tensor a (%lld) must match the size of tensor b (%lld)",
                           (long long)m, (long long)n);
    }
    return HG_OK;
}

hg_status hg_move_to(hg_ctx *cx, bool meta, hg_tensor **number) {
    hg_tensor *moved;
    if (!meta) return no_data(cx);
    hg_status st = hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(*number), hg_format_arg(HG_FORMAT_CONTIGUOUS)}, 2,
                              &moved);
    if (st != HG_OK) return st;
    if ((st = hg_make_meta(cx, moved)) != HG_OK) return hg_release(cx, moved), st;
    hg_release(cx, *number), *number = moved;
    return HG_OK;
}

hg_status hg_meta_compute(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor **out) {
    places p = cx->lib->metas_off ? (places){false, false, false} : places_of(info, a);
    if (!p.meta) return info->op->forward(cx, a, out);
    hg_status st = check(cx, info, a, into, p);
    bool views = info->op->flags & HG_ROW_VIEW || info->id == HG_OP_DETACH;
    if (st != HG_OK || (into && !views)) return st;
    if ((st = info->op->forward(cx, a, out)) != HG_OK || views) return st;
    hg_tensor **made = out;
    int n = hg_n_made(info, out, &made);
    for (int i = 0; i < n && st == HG_OK; i++)
        if (made[i]) st = hg_make_meta(cx, made[i]);
    return st;
}
