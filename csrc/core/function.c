/* Nodes whose derivative is the host's: see Note [Functions] in node_impl.h. */
#include "autograd_impl.h"

#include <string.h>

hg_status hg_function_new(hg_ctx *cx, const char *name, hg_function_apply apply, void *data, hg_tensor *const *inputs,
                          int n_in, hg_node **out) {
    hg_node *n;
    hg_status st = hg_node_make(cx, &hg_function_node, NULL, (uint32_t)n_in, 0, 0, false, 0, &n);
    if (st != HG_OK) return st;
    if (!(n->function = hg_mem(cx, sizeof *n->function))) {
        hg_release(cx, n);
        return HG_MEMORY;
    }
    *n->function = (hg_function){.name = name, .apply = apply, .data = data};
    if (data) HOST(cx)->hold(HOST(cx)->ud, data);
    for (int i = 0; i < n_in; i++)
        if (inputs[i] && (st = hg_gradient_edge(cx, inputs[i], &n->next[i])) != HG_OK) {
            hg_release(cx, n);
            return st;
        }
    *out = n;
    return HG_OK;
}

/* Hooks registered while forward ran found a node without outputs; now there are some for tensor hooks to hang on. */
static hg_status grow_hooks(hg_ctx *cx, hg_node *n, uint32_t n_out) {
    size_t from = sizeof *n->hooks + n->n_out * sizeof *n->hooks->out,
           to = from + (n_out - n->n_out) * sizeof *n->hooks->out;
    if (!n->hooks || n_out <= n->n_out) return HG_OK;
    hg_node_extra *e = hg_mem_resize(cx, n->hooks, to);
    if (!e) return HG_MEMORY;
    memset((char *)e + from, 0, to - from);
    n->hooks = e;
    return HG_OK;
}

static void forbid_writes(hg_tensor *out, uint8_t is, uint8_t view_kind) {
    if (out->base && !(is & HG_OUT_DIRTY)) out->view_kind = view_kind;
}

static hg_status become_output(hg_ctx *cx, hg_node *n, hg_tensor *out, uint32_t k, uint8_t is, uint8_t view_kind) {
    bool dirty = is & HG_OUT_DIRTY, differentiable = is & HG_OUT_DIFFERENTIABLE;
    hg_status st = HG_OK;
    if (differentiable && dirty) {
        if (!out->grad_fn && hg_tensor_requires_grad(out))
            return hg_fail(cx, HG_STATE, "a leaf Variable that requires grad has been used in an in-place operation.");
        hg_tensor_set_grad(cx, out, NULL);
        /* What forward did to it was not checked: it ran without recording. */
        if ((st = hg_check_writable(cx, out)) != HG_OK || (st = hg_check_rebase(cx, out)) != HG_OK) return st;
        hg_retain(cx, n);
        st = hg_rebase_history(cx, out, n);
        if (!out->base) out->out_nr = k;
        return st;
    }
    if (differentiable) {
        hg_retain(cx, n);
        hg_set_history(cx, out, n, k);
    }
    forbid_writes(out, is, view_kind);
    return HG_OK;
}

hg_status hg_function_set_outputs(hg_ctx *cx, hg_node *n, hg_tensor *const *outs, const uint8_t *is, int n_out) {
    size_t size = (size_t)n_out * sizeof(hg_meta) + sizeof(int64_t);
    int n_differentiable = 0;
    for (int k = 0; !n && k < n_out; k++)
        if (outs[k]) forbid_writes(outs[k], is[k], HG_VIEW_CUSTOM);
    if (!n) return HG_OK;
    hg_status st = grow_hooks(cx, n, (uint32_t)n_out);
    for (int k = 0; k < n_out; k++) {
        size += outs[k] ? outs[k]->n_dim * sizeof(int64_t) : 0;
        n_differentiable += outs[k] && is[k] & HG_OUT_DIFFERENTIABLE;
    }
    if (st != HG_OK) return st;
    if (!(n->function->metas = hg_mem(cx, size))) return HG_MEMORY;
    n->outs = (hg_meta *)(void *)n->function->metas;
    int64_t *pool = (int64_t *)(void *)(n->outs + n_out);
    n->n_out = (uint32_t)n_out;
    for (int k = 0; k < n_out; k++)
        if (outs[k])
            hg_node_set_meta(n, (uint32_t)k, outs[k], &pool);
        else
            n->outs[k] = (hg_meta){.shape = pool};
    uint8_t kind = n_differentiable > 1 ? HG_VIEW_MULTI_OUTPUT : HG_VIEW_CUSTOM;
    for (int k = 0; k < n_out && st == HG_OK; k++)
        if (outs[k]) st = become_output(cx, n, outs[k], (uint32_t)k, is[k], kind);
    return st;
}

hg_status hg_function_save(hg_ctx *cx, hg_node *n, hg_tensor *const *at, int n_saved, bool once) {
    hg_function *f = n->function;
    f->once = once;
    size_t count = (size_t)(n_saved ? n_saved : 1);
    if (!(f->saved = hg_mem(cx, count * sizeof *f->saved))) return HG_MEMORY;
    memset(f->saved, 0, count * sizeof *f->saved);
    if (!(f->versions = hg_mem(cx, count * sizeof *f->versions))) return HG_MEMORY;
    f->n_saved = (uint32_t)n_saved;
    for (int i = 0; i < n_saved; i++) {
        if (!at[i]) continue;
        bool output = at[i]->grad_fn == n;
        hg_status st = output ? hg_save_output(cx, at[i], &f->saved[i], &f->versions[i])
                              : hg_save(cx, at[i], &f->saved[i], &f->versions[i]);
        if (st != HG_OK) return st;
        /* which output it is goes with it: unpacking gives it back its history */
        f->saved[i]->out_nr = output ? at[i]->out_nr : f->saved[i]->out_nr;
        if (output) f->saved[i]->view_kind = HG_SAVED_OWN_OUTPUT;
    }
    return HG_OK;
}

int hg_function_n_saved(const hg_node *n) { return (int)n->function->n_saved; }

hg_status hg_function_saved_at(hg_ctx *cx, hg_node *n, int i, hg_tensor **out) {
    hg_function *f = n->function;
    *out = NULL;
    if (n->freed) return hg_freed_already(cx);
    if (!f->saved[i]) return HG_OK;
    hg_arg a = hg_t(f->saved[i]);
    return hg_node_unpack(cx, n, &a, f->versions[i], hg_function_saved_is_output(n, i), (int)f->saved[i]->out_nr, out);
}

hg_status hg_function_saved(hg_ctx *cx, hg_node *n, hg_tensor **out) {
    hg_function *f = n->function;
    hg_status st = HG_OK;
    if (n->freed) return hg_freed_already(cx);
    if (f->accessed)
        return hg_fail(cx, HG_STATE,
                       "saved_tensors can only be accessed once when clear_saved_tensors_on_access=True is set on the "
                       "autograd.Function. Either access saved_tensors only once, or set "
                       "clear_saved_tensors_on_access=False.");
    for (uint32_t i = 0; i < f->n_saved; i++) out[i] = NULL;
    for (uint32_t i = 0; i < f->n_saved && st == HG_OK; i++) st = hg_function_saved_at(cx, n, (int)i, &out[i]);
    for (uint32_t i = 0; i < f->n_saved && (st != HG_OK || f->once); i++) {
        hg_tensor **drop = st != HG_OK ? &out[i] : &f->saved[i], *old = *drop;
        *drop = NULL;
        hg_release(cx, old);
    }
    f->accessed = f->once && st == HG_OK;
    return st;
}

bool hg_function_saved_is_output(const hg_node *n, int i) {
    const hg_tensor *t = n->function->saved[i];
    return t && t->view_kind == HG_SAVED_OWN_OUTPUT;
}

void *hg_function_data(const hg_node *n) { return n->function ? n->function->data : NULL; }

hg_status hg_node_zeros(hg_ctx *cx, const hg_node *n, int k, hg_tensor **out) {
    hg_meta m = n->outs[k];
    return hg_call_op(cx, HG_OP_ZEROS, (hg_arg[]){hg_ints(m.shape, m.n_dim), hg_d((hg_dtype)m.dtype)}, 2, out);
}

hg_status hg_node_output(hg_ctx *cx, hg_node *n, int k, hg_tensor **out) {
    hg_tensor *leaf = hg_node_variable(n);
    if (k < 0 || (uint32_t)k >= n->n_out) return hg_fail(cx, HG_INDEX, "%s has no output %d", hg_node_name(n), k);
    if (leaf && leaf->extra && leaf->extra->accumulator == n) {
        hg_retain(cx, leaf);
        *out = leaf;
        return HG_OK;
    }
    hg_status st = hg_node_zeros(cx, n, k, out);
    if (st != HG_OK) return st;
    hg_retain(cx, n);
    hg_set_history(cx, *out, n, (uint32_t)k);
    (*out)->view_kind = HG_STANDS_FOR_EDGE;
    return HG_OK;
}

void hg_function_free(hg_lib *lib, hg_node *n) {
    hg_function *f = n->function;
    if (!f) return;
    n->function = NULL;
    hg_mem_free(lib, f->saved);
    hg_mem_free(lib, f->versions);
    hg_mem_free(lib, f->metas);
    hg_mem_free(lib, f);
}

static hg_status apply_function(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    return n->function->apply(cx, n, n->function->data, grad, grad_in);
}

const hg_node_type hg_function_node = {"Function", apply_function};
