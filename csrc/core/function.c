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
    HOST(cx)->hold(HOST(cx)->ud, data);
    for (int i = 0; i < n_in; i++)
        if (inputs[i] && (st = hg_gradient_edge(cx, inputs[i], &n->next[i])) != HG_OK) {
            hg_release(cx, n);
            return st;
        }
    *out = n;
    return HG_OK;
}

hg_status hg_function_set_outputs(hg_ctx *cx, hg_node *n, hg_tensor *const *outs, int n_out, uint64_t differentiable,
                                  uint64_t dirty, uint64_t views) {
    size_t size = (size_t)n_out * sizeof(hg_meta) + sizeof(int64_t);
    hg_status st = HG_OK;
    for (int k = 0; k < n_out; k++) size += outs[k] ? outs[k]->n_dim * sizeof(int64_t) : 0;
    if (!(n->function->metas = hg_mem(cx, size))) return HG_MEMORY;
    n->outs = (hg_meta *)(void *)n->function->metas;
    int64_t *pool = (int64_t *)(void *)(n->outs + n_out);
    n->n_out = (uint32_t)n_out;
    for (int k = 0; k < n_out; k++)
        if (outs[k])
            hg_node_set_meta(n, (uint32_t)k, outs[k], &pool);
        else
            n->outs[k] = (hg_meta){.shape = pool};
    for (int k = 0; k < n_out && st == HG_OK; k++) {
        if (!outs[k] || !(differentiable >> k & 1)) continue;
        hg_retain(cx, n);
        if (dirty >> k & 1) {
            st = hg_rebase_history(cx, outs[k], n);
            outs[k]->out_nr = outs[k]->base ? outs[k]->out_nr : (uint32_t)k;
            continue;
        }
        hg_set_history(cx, outs[k], n, (uint32_t)k);
        if (views >> k & 1) {
            outs[k]->view_kind = HG_VIEW_CUSTOM;
        } else { /* a view of something forward made: what it is a view of does not matter any more */
            hg_tensor *base = outs[k]->base;
            outs[k]->base = NULL;
            hg_release(cx, base);
        }
    }
    return st;
}

hg_status hg_function_save(hg_ctx *cx, hg_node *n, hg_tensor *const *at, int n_saved) {
    hg_function *f = n->function;
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

hg_status hg_function_saved(hg_ctx *cx, hg_node *n, int i, hg_tensor **out) {
    hg_function *f = n->function;
    if (n->freed) return hg_freed_already(cx);
    if (!f->saved[i]) {
        *out = NULL;
        return HG_OK;
    }
    hg_arg a = hg_t(f->saved[i]);
    bool output = f->saved[i]->view_kind == HG_SAVED_OWN_OUTPUT;
    return hg_node_unpack(cx, n, &a, f->versions[i], output, (int)f->saved[i]->out_nr, out);
}

void *hg_function_data(const hg_node *n) { return n->function ? n->function->data : NULL; }

hg_status hg_node_zeros(hg_ctx *cx, const hg_node *n, int k, hg_tensor **out) {
    hg_meta m = n->outs[k];
    return hg_call_op(cx, HG_OP_ZEROS, (hg_arg[]){hg_ints(m.shape, m.n_dim), hg_d((hg_dtype)m.dtype)}, 2, out);
}

hg_status hg_node_output(hg_ctx *cx, hg_node *n, int k, hg_tensor **out) {
    hg_tensor *leaf = hg_node_variable(n);
    if (k < 0 || (uint32_t)k >= n->n_out) return hg_fail(cx, HG_INDEX, "%s has no output %d", hg_node_name(n), k);
    if (leaf) {
        hg_retain(cx, leaf);
        *out = leaf;
        return HG_OK;
    }
    hg_status st = hg_node_zeros(cx, n, k, out);
    if (st != HG_OK) return st;
    hg_retain(cx, n);
    hg_set_history(cx, *out, n, (uint32_t)k);
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
