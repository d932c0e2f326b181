/* Tensors that nodes save for backward, and the hooks that may take them elsewhere meanwhile.

   Note [Saved tensors]
   A node keeps an argument as the tensor it is, and an output as an alias without history, or it would own itself. Where
   saved-tensor hooks are in force it keeps a stand-in: an empty tensor that owns what `pack` returned, remembers the history
   of what was packed, and is turned back into a tensor by `unpack`. Whoever frees, visits or lists saved tensors need not
   know the difference. */
#include "autograd_impl.h"

#include <stdio.h>
#include <string.h>

/* One level of saved_tensors_hooks(), or of disabling them. */
struct hg_saved_level {
    struct hg_saved_level *outer; /* held */
    uint32_t n_ref;
    hg_saved_hooks hooks;
};

struct hg_packed {
    hg_saved_hooks hooks; /* data held */
    void *ref;            /* owned host reference */
};

/* ---- The hooks in force ------------------------------------------------------------------------------------------------- */

hg_status hg_saved_hooks_push(hg_ctx *cx, const hg_saved_hooks *hooks) {
    if (cx->no_saved_hooks) return hg_fail(cx, HG_STATE, "%s", cx->no_saved_hooks);
    struct hg_saved_level *level = hg_mem(cx, sizeof *level);
    if (!level) return HG_MEMORY;
    *level = (struct hg_saved_level){cx->saved, 1, *hooks};
    HOST(cx)->hold(HOST(cx)->ud, hooks->data);
    cx->saved = level;
    cx->n_changes++;
    return HG_OK;
}

struct hg_saved_level *hg_saved_level_hold(struct hg_saved_level *level) {
    if (level) level->n_ref++;
    return level;
}

void hg_saved_level_drop(hg_ctx *cx, struct hg_saved_level *level) {
    while (level && --level->n_ref == 0) {
        struct hg_saved_level *outer = level->outer;
        void *data = level->hooks.data;
        hg_mem_free(cx->lib, level);
        HOST(cx)->drop(HOST(cx)->ud, data);
        level = outer;
    }
}

void hg_saved_hooks_pop(hg_ctx *cx) {
    struct hg_saved_level *level = cx->saved;
    if (!level) return;
    cx->saved = hg_saved_level_hold(level->outer);
    cx->n_changes++;
    hg_saved_level_drop(cx, level);
}

const hg_saved_hooks *hg_saved_hooks_top(const hg_ctx *cx) { return cx->saved ? &cx->saved->hooks : NULL; }

void hg_saved_hooks_enable(hg_ctx *cx) {
    hg_mem_free(cx->lib, cx->no_saved_hooks);
    cx->no_saved_hooks = NULL;
    cx->n_changes++;
}

hg_status hg_saved_hooks_disable(hg_ctx *cx, const char *words, bool fail_if_in_force) {
    if (fail_if_in_force && cx->saved) return hg_fail(cx, HG_STATE, "%s", words);
    char *copy = hg_mem(cx, strlen(words) + 1);
    if (!copy) return HG_MEMORY;
    strcpy(copy, words);
    hg_saved_hooks_enable(cx);
    cx->no_saved_hooks = copy;
    return HG_OK;
}

const char *hg_saved_hooks_disabled(const hg_ctx *cx) { return cx->no_saved_hooks; }

void hg_saved_levels_free(hg_ctx *cx) {
    while (cx->saved) hg_saved_hooks_pop(cx);
    hg_mem_free(cx->lib, cx->no_saved_hooks);
}

/* ---- Packing ----------------------------------------------------------------------------------------------------------- */

void hg_packed_free(hg_lib *lib, struct hg_packed *p) {
    struct hg_packed was = *p;
    hg_mem_free(lib, p);
    if (was.ref) lib->host.drop(lib->host.ud, was.ref);
    lib->host.drop(lib->host.ud, was.hooks.data);
}

int hg_packed_visit(struct hg_packed *p, hg_visit_fn visit, void *arg) {
    int r = p->ref ? visit(p->ref, false, arg) : 0;
    return r ? r : visit(p->hooks.data, false, arg);
}

static hg_status call_pack(hg_ctx *cx, const hg_saved_hooks *hooks, hg_tensor *t, void **ref) {
    uint32_t version = hg_version(t->storage);
    bool grad = cx->grad_enabled;
    cx->grad_enabled = false;
    hg_status st = hooks->pack(cx, hooks->data, t, ref);
    cx->grad_enabled = grad;
    if (st != HG_OK) return cx->status = st;
    if (hg_version(t->storage) == version) return HG_OK;
    void *packed = *ref;
    *ref = NULL;
    HOST(cx)->drop(HOST(cx)->ud, packed);
    return hg_fail(
        cx, HG_STATE,
        "A saved tensor pack hook is modifying its input in place. Tensors provided as input to pack "
        "hook cannot be modified by in-place operations as this can lead to unexpected side-effects. Please open "
        "an issue if you need to perform in-place operations on the input to a pack hook.");
}

/* What is known of t holds for that one, too. */
static hg_status tell_known(hg_ctx *cx, hg_tensor *t, hg_tensor *as) {
    return cx->lib->watch.known_as ? cx->lib->watch.known_as(cx, t, as) : HG_OK;
}

/* A stand-in for t, with the history it is to have again. For an output the history is left out: it is the node's. The hook
   is shown `shown`. */
static hg_status pack(hg_ctx *cx, const hg_saved_hooks *hooks, hg_tensor *t, hg_tensor *shown, bool output,
                      hg_tensor **kept) {
    hg_tensor *stand_in = NULL;
    struct hg_extra *e;
    hg_edge edge = {NULL, 0};
    hg_status st = hg_raw_detach(cx, t, &stand_in);
    if (st != HG_OK) return st;
    if ((st = hg_extra_of(cx, stand_in, &e)) != HG_OK || (st = tell_known(cx, t, stand_in)) != HG_OK) goto fail;
    if (!output && (st = hg_gradient_edge(cx, t, &edge)) != HG_OK) goto fail;
    if (!(e->packed = hg_mem(cx, sizeof *e->packed))) {
        st = HG_MEMORY;
        goto fail;
    }
    *e->packed = (struct hg_packed){.hooks = *hooks};
    HOST(cx)->hold(HOST(cx)->ud, hooks->data);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, stand_in);
    if ((st = call_pack(cx, hooks, shown, &e->packed->ref)) != HG_OK) goto fail;
    if (t->grad_fn && edge.node)
        stand_in->grad_fn = edge.node, stand_in->out_nr = edge.nr;
    else
        e->stands_for = edge.node;
    hg_storage_release(cx->lib, stand_in->storage); /* what was packed may go */
    stand_in->storage = NULL, stand_in->data = NULL;
    *kept = stand_in;
    return HG_OK;
fail:
    hg_release(cx, edge.node);
    hg_release(cx, stand_in);
    return st;
}

hg_status hg_save(hg_ctx *cx, hg_tensor *t, hg_tensor **kept, uint32_t *version) {
    if (!t->storage) return hg_fail(cx, HG_STATE, "cannot save a tensor that was never initialised");
    if (t->is_inference)
        return hg_fail(cx, HG_STATE,
                       "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference "
                       "mode in computation tracked by autograd. To work around this, you can make a clone to get a "
                       "normal tensor and use it in autograd, or use `torch.no_grad()` instead of "
                       "`torch.inference_mode()`.");
    *version = hg_version(t->storage);
    if (cx->saved) return pack(cx, &cx->saved->hooks, t, t, false, kept);
    hg_retain(cx, t);
    t->n_held = HG_HELD;
    *kept = t;
    return HG_OK;
}

/* t in the same memory without history, known as t. Whoever sees all ops is told of a detach where it has a `history`, or will.
   New, also on failure. */
static hg_status known_alias(hg_ctx *cx, hg_tensor *t, bool history, hg_tensor **out) {
    hg_status st = history ? hg_told_detach(cx, t, out) : hg_tensor_detach(cx, t, out);
    return st == HG_OK ? tell_known(cx, t, *out) : st;
}

hg_status hg_save_output(hg_ctx *cx, hg_tensor *t, hg_tensor **kept, uint32_t *version) {
    *version = hg_version(t->storage);
    return cx->saved ? pack(cx, &cx->saved->hooks, t, t, true, kept) : known_alias(cx, t, t->grad_fn, kept);
}

/* Note [Saved outputs]
   Most outputs are what their op has just made: contiguous, alone in their memory. Of such a one its node keeps the storage; shape
   and dtype it has anyway. That becomes an alias where the derivative asks for it, or where it is to be packed or shown. */
hg_status hg_keep_output(hg_ctx *cx, hg_tensor *t, hg_arg *to) {
    const hg_watch *watch = &cx->lib->watch;
    hg_storage *s = t->storage;
    hg_tensor *kept;
    if (t->plain && t->data == s->data && !s->free && !cx->saved && !watch->calling && !watch->known_as) {
        hg_storage_retain(s);
        to->kind = HG_A_STORAGE, to->n = hg_version(s), to->u.storage = s;
        return HG_OK;
    }
    hg_status st = hg_save_output(cx, t, &kept, &to->n);
    if (st == HG_OK) to->kind = HG_A_TENSOR, to->u.t = kept;
    return st;
}

static hg_status alias_of_output(hg_ctx *cx, hg_node *n, uint32_t k, hg_tensor **out) {
    hg_storage *s = n->saved_out[k].u.storage;
    hg_meta m = n->outs[k];
    hg_status st = hg_tensor_make(cx, s, s->data, (hg_dtype)m.dtype, m.n_dim, m.shape, NULL, out);
    if (st == HG_OK) hg_storage_retain(s), (*out)->is_inference = false;
    return st;
}

/* The node keeps its output k as a tensor from now on, if it keeps it. */
static hg_status keep_as_tensor(hg_ctx *cx, hg_node *n, uint32_t k) {
    hg_arg *a = &n->saved_out[k];
    hg_tensor *t;
    if (a->kind != HG_A_STORAGE) return HG_OK;
    hg_status st = alias_of_output(cx, n, k, &t);
    if (st != HG_OK) return st;
    hg_storage_release(cx->lib, a->u.storage);
    a->kind = HG_A_TENSOR, a->u.t = t;
    return HG_OK;
}

hg_status hg_saved_output(hg_ctx *cx, hg_node *n, uint32_t k, hg_tensor **out) {
    const hg_arg *a = &n->saved_out[k];
    bool alone = a->kind == HG_A_STORAGE && hg_version(a->u.storage) == a->n && !cx->lib->watch.calling;
    if (alone && !cx->grad_enabled) return alias_of_output(cx, n, k, out);
    return hg_node_unpack(cx, n, a, a->n, true, (int)k, out);
}

/* Where the node keeps the tensor it saved; NULL: nowhere. */
static hg_tensor **saved_slot(hg_node *n, int i, int j, bool output) {
    uint32_t at = (uint32_t)i, entry = (uint32_t)j;
    if (n->freed) return NULL;
    if (n->function) return at < n->function->n_saved ? &n->function->saved[at] : NULL;
    hg_arg *a = output           ? n->saved_out && at < n->n_out ? &n->saved_out[at] : NULL
                : at < n->n_args ? &n->args[at]
                                 : NULL;
    if (a && a->kind == HG_A_TENSORS) return entry < a->n ? (hg_tensor **)&a->u.ts[entry] : NULL;
    return a && a->kind == HG_A_TENSOR ? &a->u.t : NULL;
}

/* A number in a tensor's place becomes one. */
static hg_status number_to_tensor(hg_ctx *cx, hg_arg *a) {
    hg_tensor *t;
    hg_dtype d = a->kind == HG_A_FLOAT ? HG_F64 : a->kind == HG_A_INT ? HG_I64 : HG_BOOL;
    hg_status st = hg_call_op(cx, HG_OP_SCALAR_TENSOR, (hg_arg[]){*a, hg_d(d)}, 2, &t);
    if (st == HG_OK) *a = (hg_arg){.kind = HG_A_TENSOR, .n = t->storage->version, .u.t = t};
    return st;
}

hg_status hg_node_pack(hg_ctx *cx, hg_node *n, int i, int j, bool output, const hg_saved_hooks *hooks) {
    static const char freed[] =
        "Calling register_hooks on a saved tensor after it has been freed. Saved intermediate values "
        "of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you "
        "need to backward through the graph a second time or if you need to access saved variables after "
        "calling backward.";
    hg_status st = HG_OK;
    if (n->freed) return hg_fail(cx, HG_STATE, "%s", freed);
    if (output && n->saved_out && (uint32_t)i < n->n_out && (st = keep_as_tensor(cx, n, (uint32_t)i)) != HG_OK)
        return st;
    if (n->op && n->op->saves && !output && hg_is_number(&n->args[i]) &&
        (st = number_to_tensor(cx, &n->args[i])) != HG_OK)
        return st;
    hg_tensor **slot = saved_slot(n, i, j, output), *old, *shown = NULL, *kept = NULL;
    if (!slot || !*slot)
        return hg_fail(cx, HG_STATE, "Calling register_hooks on a saved tensor with value None is forbidden");
    if (hg_is_packed(*slot))
        return hg_fail(cx, HG_STATE,
                       "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: only one "
                       "pair of hooks is allowed at a time.");
    hg_retain(cx, old = *slot);
    st = hg_tensor_detach(cx, old, &shown); /* without its history */
    if (st == HG_OK) st = pack(cx, hooks, old, shown, output, &kept);
    slot = saved_slot(n, i, j, output);
    if (st == HG_OK && slot && *slot == old) {
        if (n->function && output) kept->view_kind = old->view_kind, kept->out_nr = old->out_nr;
        *slot = kept;
        hg_release(cx, old);
    } else if (st == HG_OK) { /* the hook has run the node, or packed the same tensor */
        hg_release(cx, kept);
        st = hg_fail(cx, HG_STATE, "%s",
                     slot ? "Calling register_hooks on a saved tensor whose hooks have already been set." : freed);
    }
    hg_release(cx, shown);
    hg_release(cx, old);
    return st;
}

const hg_saved_hooks *hg_node_packed(hg_node *n, int i, int j, bool output, void **ref) {
    hg_tensor **slot = saved_slot(n, i, j, output);
    if (!slot || !*slot || !hg_is_packed(*slot)) return NULL;
    *ref = (*slot)->extra->packed->ref;
    return &(*slot)->extra->packed->hooks;
}

/* ---- Unpacking ----------------------------------------------------------------------------------------------------------- */

hg_status hg_freed_already(hg_ctx *cx) {
    return hg_fail(
        cx, HG_STATE,
        "Trying to backward through the graph a second time (or directly access saved tensors after "
        "they have already been freed). Saved intermediate values of the graph are freed when you call "
        ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a "
        "second time or if you need to access saved tensors after calling backward.");
}

hg_status hg_node_check_saved(hg_ctx *cx, const hg_node *n) { return n->freed ? hg_freed_already(cx) : HG_OK; }

static hg_status modified(hg_ctx *cx, const hg_tensor *t, uint32_t saved_at, const hg_node *maker, uint32_t nr) {
    char shape[256], name[HG_NODE_NAME], kind[40], from[128] = "";
    bool plain = t->dtype != HG_BOOL && t->dtype != HG_BF16; /* PyTorch shows these two by other names here */
    if (plain)
        snprintf(kind, sizeof kind, "torch.%s", hg_dtypes[t->dtype].tensor_name);
    else
        snprintf(kind, sizeof kind, "CPU%sType", hg_dtype_word(t->dtype, name));
    if (maker) snprintf(from, sizeof from, ", which is output %u of %s,", nr, hg_node_short_name(maker, name));
    return hg_fail(cx, HG_STATE,
                   "one of the variables needed for gradient computation has been modified by an inplace "
                   "operation: [%s %s]%s is at version %u; expected version %u instead. Hint: %s",
                   kind, hg_show_shape(t, shape), from, hg_version(t->storage), saved_at,
                   cx->lib->watch.born ? "the backtrace further above shows the operation that failed to compute its "
                                         "gradient. The variable in question was changed in there or anywhere later. "
                                         "Good luck!"
                                       : "enable anomaly detection to find the operation that failed to compute its "
                                         "gradient, with torch.autograd.set_detect_anomaly(True, check_nan=False).");
}

/* Does the node's output nr, `t`, have a history, which is this node? */
static bool has_history(const hg_node *n, const hg_tensor *t, int nr) {
    return hg_dtype_is_float((hg_dtype)t->dtype) && !(n->op && n->op->constant_out >> nr & 1);
}

/* The tensor that unpack returned, as a new one with the history of what was packed; itself where there was none. */
static hg_status unpack(hg_ctx *cx, hg_node *n, hg_tensor *stand_in, bool output, int nr, hg_tensor **out) {
    struct hg_packed *p = stand_in->extra->packed;
    hg_tensor *data = NULL, *t = NULL;
    hg_retain(cx, stand_in); /* the hook may run the node, which then drops it */
    hg_status st = cx->status = p->hooks.unpack(cx, p->hooks.data, p->ref, &data);
    hg_node *maker = stand_in->grad_fn, *leaf = stand_in->extra->stands_for;
    if (st == HG_OK && !maker && !leaf && !output && !hg_tensor_requires_grad(data) && !cx->lib->watch.known_as) {
        hg_release(cx, stand_in); /* it had no history, so it is what the hook returned, itself */
        *out = data;
        return HG_OK;
    }
    if (st == HG_OK) st = hg_tensor_detach(cx, data, &t);
    hg_release(cx, data);
    if (st == HG_OK) st = tell_known(cx, stand_in, t);
    if (st != HG_OK) {
        hg_release(cx, t);
        hg_release(cx, stand_in);
        return st;
    }
    struct hg_extra *e;
    if (output && has_history(n, t, nr)) {
        st = hg_restore_history(cx, t, n, (uint32_t)nr);
    } else if (maker) {
        hg_retain(cx, maker);
        hg_set_history(cx, t, maker, stand_in->out_nr);
    } else if (leaf && !hg_dtype_is_float((hg_dtype)t->dtype)) {
        st = hg_fail(cx, HG_STATE, "Only Tensors of floating point and complex dtype can require gradients");
    } else if (leaf && (st = hg_extra_of(cx, t, &e)) == HG_OK) {
        hg_retain(cx, leaf);
        e->accumulator = e->stands_for = leaf;
        t->requires_grad = true;
        HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    }
    hg_release(cx, stand_in);
    if (st == HG_OK)
        *out = t;
    else
        hg_release(cx, t);
    return st;
}

/* Has an op's argument, which had a history when it was saved, none any more? A leaf may have stopped to require a gradient. */
static bool lost_history(const hg_node *n, const hg_arg *a, int nr) {
    if (hg_tensor_requires_grad(a->u.t) || !n->op || a != &n->args[nr] || !(n->op->differentiable >> nr & 1))
        return false;
    const hg_node *maker = n->next[n->first_edge[nr]].node;
    return maker && maker->type != &hg_accumulate_node;
}

hg_status hg_node_unpack(hg_ctx *cx, hg_node *n, const hg_arg *a, uint32_t version, bool output, int nr,
                         hg_tensor **out) {
    hg_status st = output && n->saved_out ? keep_as_tensor(cx, n, (uint32_t)nr) : HG_OK;
    if (st != HG_OK) return st;
    hg_tensor *t = output && n->saved_out ? n->saved_out[nr].u.t : a->u.t;
    if (hg_is_packed(t)) return unpack(cx, n, t, output, nr, out);
    if (!output && lost_history(n, a, nr))
        return hg_fail(cx, HG_STATE,
                       "Trying to use a saved tensor that has been detached in-place, i.e. with .detach_().This is "
                       "not supported, please use out-of-place `.detach()` instead");
    if (hg_version(t->storage) != version) {
        hg_node *maker = output && has_history(n, t, nr) ? n : NULL;
        st = output ? HG_OK : hg_tensor_grad_fn(cx, t, &maker);
        return st == HG_OK ? modified(cx, t, version, maker, output ? (uint32_t)nr : t->out_nr) : st;
    }
    if (!output) {
        hg_retain(cx, t);
        *out = t;
        return HG_OK;
    }
    bool history = has_history(n, t, nr);
    st = known_alias(cx, t, history, out); /* with its history again: this node. Indices never had one */
    if (st != HG_OK || !history) return st;
    if ((st = hg_restore_history(cx, *out, n, (uint32_t)nr)) != HG_OK) {
        hg_release(cx, *out);
        *out = NULL;
    }
    return st;
}
