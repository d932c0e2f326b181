/* Walking strided memory, and the small raw operations the ops on shapes and indices are made of. */
#include "layout_impl.h"
#include "shape_impl.h"

void hg_walk_begin(hg_walk *w, int n_dim, const int64_t *shape) {
    w->n_operands = 0;
    w->n_outer = n_dim > 0 ? n_dim - 1 : 0;
    w->inner = n_dim > 0 ? shape[n_dim - 1] : 1;
    for (int i = 0; i < w->n_outer; i++) w->shape[i] = shape[i], w->at[i] = 0;
}

void hg_walk_add(hg_walk *w, const void *data, const int64_t *stride, size_t itemsize) {
    int k = w->n_operands++;
    w->p[k] = (char *)data;
    for (int i = 0; i < w->n_outer; i++) w->stride[k][i] = stride[i] * (int64_t)itemsize;
    w->step[k] = stride ? stride[w->n_outer] * (int64_t)itemsize : 0;
}

bool hg_walk_next(hg_walk *w) {
    for (int i = w->n_outer - 1; i >= 0; i--) {
        if (++w->at[i] < w->shape[i]) {
            for (int k = 0; k < w->n_operands; k++) w->p[k] += w->stride[k][i];
            return true;
        }
        for (int k = 0; k < w->n_operands; k++) w->p[k] -= w->stride[k][i] * (w->shape[i] - 1);
        w->at[i] = 0;
    }
    return false;
}

hg_tensor *hg_x_fail(hg_ctx *cx, hg_status st) {
    hg_scope_fail(cx, st);
    return NULL;
}

hg_tensor *hg_x_written(hg_tensor *t, uint32_t times) {
    if (t && t->storage) *hg_version_of(t->storage) += times;
    return t;
}

hg_tensor *hg_x_zeros(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape) {
    hg_tensor *z = NULL;
    if (!hg_scope_ok(cx)) return NULL;
    hg_status st = hg_tensor_empty(cx, d, n_dim, shape, &z);
    if (st == HG_OK) st = hg_raw_fill(cx, z, hg_i(0));
    if (st != HG_OK) {
        hg_release(cx, z);
        hg_scope_fail(cx, st);
        return NULL;
    }
    return hg_scope_keep(cx, z);
}

hg_status hg_out_copy(hg_ctx *cx, hg_tensor *self, hg_tensor **out) {
    if (*out) return HG_OK;
    hg_tensor *made = NULL;
    hg_status st = hg_tensor_empty(cx, (hg_dtype)self->dtype, self->n_dim, self->shape, &made);
    if (st != HG_OK) return st;
    if ((st = hg_raw_copy(cx, made, self)) == HG_OK)
        *out = made;
    else
        hg_release(cx, made);
    return st;
}

hg_status hg_out_clone(hg_ctx *cx, hg_tensor *self, hg_tensor **out) {
    if (*out) return HG_OK;
    hg_status st = hg_out_kept(cx, out, (hg_dtype)self->dtype, self);
    return st == HG_OK ? hg_raw_copy(cx, *out, self) : st;
}

hg_status hg_out_take(hg_ctx *cx, hg_tensor *made, hg_tensor **out) {
    if (!*out) {
        *out = made;
        return HG_OK;
    }
    hg_status st = hg_raw_copy(cx, *out, made);
    hg_release(cx, made);
    return st;
}

void hg_raw_accumulate(hg_tensor *to, const hg_tensor *from) {
    if (!from->numel) return;
    hg_walk w;
    hg_walk_begin(&w, from->n_dim, from->shape);
    hg_walk_add(&w, to->data, to->stride, hg_tensor_itemsize(to));
    hg_walk_add(&w, from->data, from->stride, hg_tensor_itemsize(from));
    HG_BY_DTYPE(
        to->dtype, do {
            char *d = w.p[0], *s = w.p[1];
            for (int64_t i = 0; i < w.inner; i++, d += w.step[0], s += w.step[1])
                *(E *)d = STORE(LOAD(*(E *)d) + LOAD(*(E *)s));
        } while (hg_walk_next(&w));)
}

hg_status hg_raw_index(hg_ctx *cx, hg_tensor *index, hg_tensor **out) {
    hg_tensor *wide = NULL;
    hg_status st = hg_raw_cast(cx, index, HG_I64, &wide);
    if (st == HG_OK) st = hg_raw_contiguous(cx, wide, out);
    hg_release(cx, wide);
    return st;
}
