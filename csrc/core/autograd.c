/* The history of tensors: see Note [Views] in autograd_impl.h. */
#include "autograd_impl.h"

#include <stdio.h>
#include <string.h>

hg_status hg_extra_of(hg_ctx *cx, hg_tensor *t, struct hg_extra **out) {
    if (!t->extra) {
        if (!(t->extra = hg_mem(cx, sizeof *t->extra))) return HG_MEMORY;
        memset(t->extra, 0, sizeof *t->extra);
    }
    *out = t->extra;
    return HG_OK;
}

hg_status hg_tensor_set_requires_grad(hg_ctx *cx, hg_tensor *t, bool on) {
    if (t->grad_fn && !on)
        return hg_fail(cx, HG_STATE,
                       "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                       "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    if (on && !hg_dtype_is_float((hg_dtype)t->dtype))
        return hg_fail(cx, HG_STATE, "Only Tensors of floating point and complex dtype can require gradients");
    if (on && t->is_inference && !cx->inference)
        return hg_fail(cx, HG_STATE,
                       "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
    if (!t->grad_fn) t->requires_grad = on;
    return HG_OK;
}

/* ---- Where gradients go ----------------------------------------------------------------------------------------------- */

hg_status hg_tensor_accumulator(hg_ctx *cx, hg_tensor *t, hg_node **out) {
    struct hg_extra *e;
    hg_status st = hg_extra_of(cx, t, &e);
    if (st != HG_OK) return st;
    if (e->accumulator) {
        hg_retain(cx, e->accumulator);
        *out = e->accumulator;
        return HG_OK;
    }
    hg_node *n = hg_node_revive(cx, t);
    if (!n) {
        if ((st = hg_node_make(cx, &hg_accumulate_node, NULL, 0, 1, 1, false, t->n_dim, &n)) != HG_OK) return st;
        int64_t *pool = n->pool;
        hg_node_set_meta(n, 0, t, &pool);
    }
    hg_retain(cx, t);
    n->args[0] = hg_t(t);
    e->accumulator = n;
    *out = n;
    return HG_OK;
}

hg_node *hg_tensor_live_accumulator(const hg_tensor *t) { return t->extra ? t->extra->accumulator : NULL; }

hg_status hg_gradient_edge(hg_ctx *cx, hg_tensor *t, hg_edge *e) {
    hg_node *fn;
    hg_status st = hg_tensor_grad_fn(cx, t, &fn);
    if (st != HG_OK) return st;
    e->nr = 0;
    if (fn) {
        hg_retain(cx, fn);
        e->node = fn, e->nr = t->out_nr;
        return HG_OK;
    }
    e->node = NULL;
    return t->requires_grad ? hg_tensor_accumulator(cx, t, &e->node) : HG_OK; /* none of a view made under no_grad */
}

/* ---- Setting history -------------------------------------------------------------------------------------------------- */

void hg_set_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr) {
    hg_node *old = t->grad_fn;
    t->grad_fn = node, t->out_nr = nr;
    t->requires_grad = false;
    t->seen_version = hg_version(t->storage);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    struct hg_extra *e = t->extra;
    if (e) { /* hooks stay with the history they were registered on, also those of a leaf that was; retain_grad follows */
        hg_hooks *hooks = e->hooks;
        e->hooks = NULL;
        hg_release(cx, hooks);
        if (e->keeps) {
            hg_keep_no_grad(cx->lib, t, e);
            e->retains_grad = false;
            hg_tensor_retain_grad(cx, t); /* on the new node; fails only for want of memory */
        }
    }
    hg_release(cx, old);
}

void hg_move_history(hg_ctx *cx, hg_tensor *t, hg_node *node) {
    hg_node *old = t->grad_fn;
    t->grad_fn = node, t->out_nr = 0, t->requires_grad = false;
    t->seen_version = hg_version(t->storage);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    hg_release(cx, old);
}

/* Can a write to such a view, or to its base, go into its history? */
static bool is_recordable(uint8_t view_kind) { return view_kind == HG_VIEW_NORMAL || view_kind == HG_VIEW_PASSED; }

bool hg_can_follow(const hg_tensor *t) { return !t->base || is_recordable(t->view_kind); }

void hg_set_base(hg_ctx *cx, hg_tensor *view, hg_tensor *of, uint8_t kind) {
    if (view->storage != of->storage || view == of) return; /* a copy after all */
    bool stands_alone = !of->base || of->view_kind == HG_VIEW_PASSED;
    hg_tensor *base = stands_alone ? of : of->base;
    bool stays = is_recordable(kind) ? !is_recordable(of->view_kind) : of->view_kind == HG_VIEW_INFERENCE;
    if (!stands_alone && stays) kind = of->view_kind;
    hg_retain(cx, base);
    base->n_held = HG_HELD;
    hg_release(cx, view->base);
    view->base = base;
    view->view_kind = kind;
    view->replay = cx->replays_views && (!of->base || of->replay) ? (uint8_t)(of->base ? of->replay + 1 : 1) : 0;
    view->seen_version = hg_version(view->storage);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, view);
}

/* Why a view that was not made in the plain way takes no part in a change, of itself or of its base. */
static hg_status refuse_view(hg_ctx *cx, const hg_tensor *t, bool itself) {
    const char *what = itself ? "is being" : "its base or another view of its base has been", *advice = "";
    bool inference = t->view_kind == HG_VIEW_INFERENCE, in_block = inference || t->view_kind == HG_VIEW_NO_GRAD;
    char maker[HG_NODE_NAME], head[160] = "A view was created in";
    switch (t->view_kind) {
    case HG_VIEW_MULTI_OUTPUT:
        advice =
            " This view is the output of a function that returns multiple views. Such functions do not allow the "
            "output views to be modified inplace. You should replace the inplace operation by an out-of-place one.";
        break;
    case HG_VIEW_NO_GRAD:
        advice =
            " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
            "moving both the view and the inplace either both inside the no_grad block (if you don't want the "
            "inplace to be tracked) or both outside (if you want the inplace to be tracked).";
        break;
    case HG_VIEW_INFERENCE:
        advice =
            " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by "
            "moving both the view and the inplace either both inside the inference_mode block (if you don't want "
            "the inplace to be tracked) or both outside (if you want the inplace to be tracked).";
        break;
    case HG_VIEW_CUSTOM:
        advice =
            " This view was created inside a custom Function (or because an input was returned as-is) and the "
            "autograd logic to handle view+inplace would override the custom backward associated with the custom "
            "Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning the "
            "output of the custom Function.";
        break;
    default: return HG_OK;
    }
    if (in_block || !t->grad_fn) {
        if (t->grad_fn)
            snprintf(head, sizeof head, "Output %u of %s is a view of a view which was created in", t->out_nr,
                     hg_node_short_name(t->grad_fn, maker));
        return hg_fail(cx, HG_STATE, "%s %s mode and %s modified inplace %s.%s", head,
                       inference ? "inference" : "no_grad", what,
                       inference ? "in normal mode" : "with grad mode enabled", advice);
    }
    return hg_fail(cx, HG_STATE, "Output %u of %s is a view and %s modified inplace.%s", t->out_nr,
                   hg_node_short_name(t->grad_fn, maker), what, advice);
}

/* What the `n_ops` view ops that `last` is the last one of make of base. New; NULL: they are not such ops. */
static hg_status replayed(hg_ctx *cx, hg_tensor *base, const hg_node *last, int n_ops, hg_tensor **out) {
    hg_tensor *of;
    hg_arg a[HG_MAX_PARAMS];
    if (n_ops == 0) return hg_retain(cx, *out = base), HG_OK;
    *out = NULL;
    if (!last || last->type != &hg_op_node || last->n_out != 1) return HG_OK;
    if ((last->op->op->flags & (HG_ROW_VIEW | HG_ROW_MUTATES)) != HG_ROW_VIEW) return HG_OK;
    hg_status st = replayed(cx, base, last->next[0].node, n_ops - 1, &of);
    if (st != HG_OK || !of) return st;
    memcpy(a, last->args, last->op->n_params * sizeof *a);
    a[0] = hg_t(of);
    st = hg_call_op(cx, last->op->id, a, last->op->n_params, out);
    hg_release(cx, of);
    return st;
}

hg_status hg_tensor_grad_fn(hg_ctx *cx, hg_tensor *t, hg_node **out) {
    hg_tensor *base = t->base;
    bool stale = base && t->seen_version != hg_version(t->storage);
    if (stale && (t->grad_fn || hg_tensor_requires_grad(base))) {
        hg_tensor *again = NULL;
        hg_status st = refuse_view(cx, t, false);
        if (st != HG_OK) return st;
        hg_arg a[] = {hg_t(base), hg_ints(t->shape, t->n_dim), hg_ints(t->stride, t->n_dim), hg_i(hg_tensor_offset(t))};
        bool grad = cx->grad_enabled, leads = hg_tensor_requires_grad(base);
        cx->grad_enabled = true, base->requires_grad |= !leads; /* a base that was detached ends the new history */
        if (t->replay && leads) st = replayed(cx, base, t->grad_fn, t->replay, &again);
        if (again && !hg_same_layout(t, again)) hg_release(cx, again), again = NULL;
        if (st == HG_OK && !again) st = hg_call_op(cx, HG_OP_AS_STRIDED, a, 4, &again);
        cx->grad_enabled = grad, base->requires_grad &= leads;
        if (st != HG_OK) return st;
        if (again->grad_fn) {
            hg_node *accumulator = again->grad_fn->next[0].node;
            if (!leads) {
                again->grad_fn->next[0].node = NULL;
                hg_release(cx, accumulator);
            }
            hg_retain(cx, again->grad_fn);
            hg_set_history(cx, t, again->grad_fn, again->out_nr);
        }
        hg_release(cx, again);
    }
    *out = t->grad_fn;
    return HG_OK;
}

hg_status hg_refuse_inference(hg_ctx *cx) {
    return hg_fail(
        cx, HG_STATE,
        "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get "
        "a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
        "details.");
}

hg_status hg_check_writable(hg_ctx *cx, hg_tensor *t) {
    hg_status st = hg_announce_write(cx, t);
    if (st != HG_OK) return st;
    if (t->storage && t->storage->read_only)
        return hg_fail(cx, HG_STATE, "the tensor's memory is read-only: it cannot be modified in place");
    return HG_OK;
}

hg_status hg_check_rebase(hg_ctx *cx, hg_tensor *t) {
    if (t->base) {
        for (const hg_tensor *v = t; v->base; v = v->base) {
            hg_status st = refuse_view(cx, v, true);
            if (st != HG_OK) return st;
        }
        const hg_tensor *base = t->base;
        bool same = t->view_kind == HG_VIEW_PASSED && hg_same_layout(t, base);
        while (base->base) same = same && hg_same_layout(base, base->base), base = base->base;
        if (!base->grad_fn && hg_tensor_requires_grad(t))
            return hg_fail(cx, HG_STATE, "a %sleaf Variable that requires grad is being used in an in-place operation.",
                           same ? "" : "view of a ");
    }
    /* As in PyTorch also a view of what was no leaf's until another view was written to, unless it was asked since. */
    if (!t->grad_fn && hg_tensor_requires_grad(t))
        return hg_fail(cx, HG_STATE, "a leaf Variable that requires grad is being used in an in-place operation.");
    return HG_OK;
}

hg_status hg_check_inplace(hg_ctx *cx, hg_tensor *t, bool recording) {
    hg_status st = hg_check_writable(cx, t);
    if (st != HG_OK || !cx->grad_enabled || (!recording && !hg_tensor_requires_grad(t))) return st;
    return hg_check_rebase(cx, t);
}

/* ---- In-place on views ------------------------------------------------------------------------------------------------ */

enum { BASE_STRIDE, VIEW_SHAPE, VIEW_STRIDE, VIEW_OFFSET, N_COPY_ARGS };

static void keep_ints(hg_arg *to, int64_t **pool, const int64_t *at, int n) {
    memcpy(*pool, at, (size_t)n * sizeof **pool);
    *to = hg_ints(*pool, n);
    *pool += n;
}

static hg_status copy_slices_new(hg_ctx *cx, hg_tensor *view, hg_node *inner, hg_node **out) {
    hg_tensor *base = view->base;
    hg_node *n;
    size_t pool_size = 2u * base->n_dim + 2u * view->n_dim;
    hg_status st = hg_node_make(cx, &hg_copy_slices_node, NULL, inner->n_next, N_COPY_ARGS, 1, false, pool_size, &n);
    if (st != HG_OK) return st;
    if ((st = hg_gradient_edge(cx, base, &n->next[0])) != HG_OK) {
        hg_release(cx, n);
        return st;
    }
    for (uint32_t i = 1; i < inner->n_next; i++) {
        n->next[i] = inner->next[i];
        hg_retain(cx, n->next[i].node);
    }
    int64_t *pool = n->pool;
    hg_node_set_meta(n, 0, base, &pool);
    keep_ints(&n->args[BASE_STRIDE], &pool, base->stride, base->n_dim);
    keep_ints(&n->args[VIEW_SHAPE], &pool, view->shape, view->n_dim);
    keep_ints(&n->args[VIEW_STRIDE], &pool, view->stride, view->n_dim);
    n->args[VIEW_OFFSET] = hg_i(hg_tensor_offset(view) - hg_tensor_offset(base));
    n->inner = inner;
    inner->outer = n;
    *out = n;
    return HG_OK;
}

/* The derivative of being overwritten: the gradient goes to what was written, edge 1. */
static hg_status apply_overwrite(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    (void)n;
    if (grad[0]) hg_retain(cx, grad_in[1] = grad[0]);
    return HG_OK;
}

static const hg_node_type overwrite_node = {"CopyBackwards", apply_overwrite};

/* The node of a base that `view`, with output 0 of `written` for its history, was written into. New. */
static hg_status overwritten(hg_ctx *cx, hg_tensor *view, hg_node *written, hg_node **out) {
    hg_node *copy;
    hg_status st = hg_node_make(cx, &overwrite_node, NULL, 2, 0, 1, false, view->n_dim, &copy);
    if (st != HG_OK) return st;
    int64_t *pool = copy->pool;
    hg_node_set_meta(copy, 0, view, &pool);
    hg_retain(cx, written);
    copy->next[1] = (hg_edge){written, 0};
    st = copy_slices_new(cx, view, copy, out); /* steals copy */
    if (st != HG_OK) hg_release(cx, copy);
    return st;
}

/* t, which is its own base, has been changed by the node; so has what it was passed on from. Steals node. */
static hg_status history_of_base(hg_ctx *cx, hg_tensor *t, hg_node *node) {
    hg_status st = HG_OK;
    while (st == HG_OK && t->base) { /* Note [Passed tensors] */
        hg_node *above = NULL;
        if (hg_same_layout(t, t->base))
            hg_retain(cx, above = node);
        else
            st = overwritten(cx, t, node, &above);
        hg_set_history(cx, t, node, 0);
        if (st != HG_OK) return st;
        t = t->base, node = above;
    }
    hg_set_history(cx, t, node, 0);
    return HG_OK;
}

hg_status hg_rebase_history(hg_ctx *cx, hg_tensor *t, hg_node *node) {
    if (!t->base || t->view_kind == HG_VIEW_PASSED) return history_of_base(cx, t, node);
    hg_node *copy, *fn;
    hg_status st = copy_slices_new(cx, t, node, &copy); /* steals node */
    if (st != HG_OK) {
        hg_release(cx, node);
        return st;
    }
    if ((st = history_of_base(cx, t->base, copy)) != HG_OK) return st;
    t->seen_version = hg_version(t->storage) - 1; /* stale from here on, like every other view of the base */
    return hg_tensor_grad_fn(cx, t, &fn);
}

hg_status hg_restore_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr) {
    hg_node *copy = node->outer;
    if (!copy) {
        hg_retain(cx, node);
        hg_set_history(cx, t, node, nr);
        return HG_OK;
    }
    if (!cx->grad_enabled) return HG_OK; /* nothing will be recorded on it */
    const hg_arg *a = copy->args;
    hg_meta base = copy->outs[0];
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *whole = X(EMPTY_STRIDED, hg_ints(base.shape, base.n_dim), a[BASE_STRIDE], hg_d((hg_dtype)base.dtype));
    if (whole) {
        hg_retain(cx, copy);
        hg_set_history(cx, whole, copy, 0);
    }
    hg_tensor *part = X(AS_STRIDED, T(whole), a[VIEW_SHAPE], a[VIEW_STRIDE], a[VIEW_OFFSET]);
    if (part && part->grad_fn) {
        hg_retain(cx, part->grad_fn);
        hg_set_history(cx, t, part->grad_fn, part->out_nr);
    }
    return hg_scope_end(cx, &s);
}

/* The gradient of the base: the old one with the view's part sent through the operation. */
static hg_status apply_copy_slices(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    if (!grad[0]) return HG_OK;
    hg_node *inner = n->inner;
    if (!inner || n->freed) return hg_freed_already(cx);
    hg_scope s;
    hg_scope_begin(cx, &s);
    const hg_arg *a = n->args;
    hg_meta base = n->outs[0];
    hg_tensor *whole;
    if (hg_sees(cx, grad[0]) == HG_SEEN_BY_CLASS) {
        bool as_base = hg_maps_of(cx, grad[0]); /* a sample is laid out by its batch */
        whole = X(CLONE, T(grad[0]), hg_format_arg(as_base ? HG_FORMAT_CONTIGUOUS : HG_FORMAT_PRESERVE));
    } else {
        whole = X(EMPTY_STRIDED, hg_ints(base.shape, base.n_dim), a[BASE_STRIDE], hg_d((hg_dtype)base.dtype));
        X(COPY_, T(whole), T(grad[0]));
    }
    hg_tensor *part = X(AS_STRIDED, T(whole), a[VIEW_SHAPE], a[VIEW_STRIDE], a[VIEW_OFFSET]);
    hg_tensor *part_grad = X(CLONE, T(part));
    if (part_grad) {
        size_t size = inner->n_next * sizeof *grad_in;
        hg_tensor **got = hg_mem(cx, size);
        if (!got) {
            hg_scope_fail(cx, HG_MEMORY);
            return hg_scope_end(cx, &s);
        }
        memset(got, 0, size);
        hg_scope_fail(cx, inner->type->apply(cx, inner, &part_grad, got));
        for (uint32_t i = 1; i < inner->n_next; i++) grad_in[i] = got[i];
        if (hg_backward_wants(cx, n, 0) && hg_scope_ok(cx)) {
            if (got[0])
                X(COPY_, T(part), T(got[0]));
            else
                X(ZERO_, T(part));
            if (hg_scope_ok(cx)) hg_retain(cx, whole), grad_in[0] = whole;
        }
        hg_release(cx, got[0]);
        hg_mem_free(cx->lib, got);
    }
    return hg_scope_end(cx, &s);
}

const hg_node_type hg_copy_slices_node = {"CopySlices", apply_copy_slices};

/* ---- .grad ------------------------------------------------------------------------------------------------------------ */

void hg_put_grad(hg_ctx *cx, hg_tensor *t, hg_tensor *grad) {
    hg_tensor *old = t->grad;
    if (old && old->n_held && old->n_held < HG_HELD) old->n_held--;
    if (grad && grad->n_held < HG_HELD) grad->n_held++;
    t->grad = grad;
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    hg_release(cx, old);
}

hg_dtype hg_tensor_grad_dtype(const hg_tensor *t) {
    return (hg_dtype)(t->extra && t->extra->has_grad_dtype ? t->extra->grad_dtype : t->dtype);
}

/* "Float": the dtype as messages about .grad have it. */
static const char *grad_word(hg_dtype d, char buf[32]) {
    const char *name = hg_dtypes[d].tensor_name;
    snprintf(buf, 32, "%.*s", (int)(strlen(name) - strlen("Tensor")), name);
    return buf;
}

hg_status hg_tensor_set_grad_dtype(hg_ctx *cx, hg_tensor *t, hg_dtype d) {
    struct hg_extra *e;
    hg_node *fn;
    char word[32];
    hg_status st = hg_tensor_grad_fn(cx, t, &fn);
    if (st != HG_OK) return st;
    if (fn) return hg_fail(cx, HG_STATE, "grad_dtype can only be set on leaf tensors.");
    if (t->grad && d != HG_NO_DTYPE && t->grad->dtype != d)
        return hg_fail(
            cx, HG_STATE,
            "Cannot set grad_dtype to '%s' because there is already a gradient with dtype '%s'. Please clear "
            "the gradient (.grad = None) before changing grad_dtype, or ensure the new grad_dtype matches the "
            "existing gradient's dtype.",
            grad_word(d, word), hg_c_name((hg_dtype)t->grad->dtype));
    if ((st = hg_extra_of(cx, t, &e)) == HG_OK) e->has_grad_dtype = true, e->grad_dtype = (uint8_t)d;
    return st;
}

hg_status hg_tensor_set_grad(hg_ctx *cx, hg_tensor *t, hg_tensor *grad) {
    char want[256], got[256];
    hg_dtype expected = hg_tensor_grad_dtype(t);
    if (grad) {
        if (grad == t) return hg_fail(cx, HG_STATE, "can't assign Variable as its own grad");
        if (expected != HG_NO_DTYPE && grad->dtype != expected)
            return hg_fail(cx, HG_STATE,
                           "attempting to assign a gradient with dtype '%s' to a tensor with grad_dtype '%s'. The "
                           "gradient must match the tensor's grad_dtype (defaults to the tensor's dtype). You can set "
                           "the tensor's grad_dtype attribute with a specific dtype, or None to allow any dtype. Set "
                           "grad_dtype with caution. Diverging the dtypes of a tensor and its gradient may break "
                           "downstream systems that assume they match.",
                           hg_c_name((hg_dtype)grad->dtype), grad_word(expected, want));
        if (hg_is_meta(grad) != hg_is_meta(t))
            return hg_fail(cx, HG_STATE,
                           "attempting to assign a gradient with device type '%s' to a tensor with device type '%s'. "
                           "Please ensure that the gradient and the tensor are on the same device",
                           hg_is_meta(grad) ? "meta" : "cpu", hg_is_meta(t) ? "meta" : "cpu");
        if (!hg_same_shape(t, grad))
            return hg_fail(cx, HG_STATE,
                           "attempting to assign a gradient of size '%s' to a tensor of size '%s'. Please ensure "
                           "that the gradient and the tensor are the same size",
                           hg_show_shape(grad, got), hg_show_shape(t, want));
        hg_retain(cx, grad);
    }
    hg_put_grad(cx, t, grad);
    return HG_OK;
}

/* As in torch .grad is laid out as its tensor is, where that fills its memory; else it is contiguous. */
static bool laid_out_for(const hg_tensor *grad, const hg_tensor *var) {
    if (!hg_is_dense(var)) return grad->contiguous;
    for (int i = 0; i < var->n_dim; i++)
        if (var->shape[i] != 1 && grad->stride[i] != var->stride[i]) return false;
    return true;
}

/* May .grad take over the memory of a gradient? Nobody else sees it: the tensor is held here alone, and so is the one it is
   a view of. */
static bool may_steal(hg_ctx *cx, const hg_tensor *var, hg_tensor *grad) {
    return !cx->grad_enabled && (laid_out_for(grad, var) || cx->loose_grads) && !grad->grad_fn &&
           (!grad->storage->free || hg_is_hollow(grad) || hg_is_meta(grad)) && hg_is_unique(grad) &&
           (grad->base ? grad->storage->n_ref == 2 && hg_is_unique(grad->base) : grad->storage->n_ref == 1);
}

static hg_status copy_for(hg_ctx *cx, const hg_tensor *var, hg_tensor *grad, hg_tensor **out) {
    bool dense = hg_is_dense(var);
    if (!dense || hg_sees(cx, grad) == HG_SEEN_BY_CLASS)
        return hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(grad), hg_format_arg(HG_FORMAT_CONTIGUOUS)}, dense ? 1 : 2,
                          out);
    if (var->plain && grad->plain && !cx->grad_enabled && !cx->lib->watch.calling && hg_same_shape(var, grad)) {
        hg_status st = hg_tensor_empty_like(cx, var, (hg_dtype)grad->dtype, out);
        if (st == HG_OK) memcpy((*out)->data, grad->data, (size_t)grad->numel * hg_tensor_itemsize(grad));
        return st;
    }
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *empty = X(EMPTY_STRIDED, hg_ints(var->shape, var->n_dim), hg_ints(var->stride, var->n_dim),
                         hg_d((hg_dtype)grad->dtype));
    return hg_scope_return(cx, &s, X(COPY_, T(empty), T(grad)), out);
}

/* What `grad += more` comes to for plain tensors; false where there is more to it. */
static bool add_plain(hg_ctx *cx, hg_tensor *grad, const hg_tensor *more) {
    const hg_watch *watch = &cx->lib->watch;
    if (watch->calling || watch->writing || grad->is_inference || grad->storage->read_only) return false;
    if (!hg_raw_add_plain(grad, more)) return false;
    ++*hg_version_of(grad->storage);
    return true;
}

static hg_status warn_of_layout(hg_ctx *cx, const hg_tensor *grad, const hg_tensor *var) {
    char words[1280], b1[256], b2[256], b3[256], b4[256];
    const char *first =
        "grad and param do not obey the gradient layout contract. This is not an error, but may impair performance.";
    if (grad->n_dim != var->n_dim || laid_out_for(grad, var) || !hg_is_news(cx, first)) return HG_OK;
    snprintf(words, sizeof words, "%s\ngrad.sizes() = %s, strides() = %s\nparam.sizes() = %s, strides() = %s", first,
             hg_show_sizes(grad->n_dim, grad->shape, b1), hg_show_sizes(grad->n_dim, grad->stride, b2),
             hg_show_sizes(var->n_dim, var->shape, b3), hg_show_sizes(var->n_dim, var->stride, b4));
    return hg_warn(cx, "UserWarning", "%s", words);
}

static hg_status apply_accumulate(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    (void)grad_in;
    hg_tensor *var = n->args[0].u.t, *before = var ? var->grad : NULL, *sum = NULL;
    hg_status st = HG_OK;
    if (!var) return HG_OK;
    if (grad[0] && var->grad_fn) return hg_fail(cx, HG_STATE, "leaf variable has been moved into the graph interior");
    if (!grad[0] || !var->requires_grad) { /* nothing to add, or it was frozen since forward; the hooks run */
    } else if (!var->grad && may_steal(cx, var, grad[0])) { /* in a tensor of its own where hooks see this one */
        if (grad[0]->base || grad[0]->requires_grad || n->hooks || hg_sees(cx, grad[0]))
            st = hg_told_detach(cx, grad[0], &sum);
        if (st != HG_OK) return st;
        if (!sum) hg_retain(cx, sum = grad[0]);
        hg_put_grad(cx, var, sum);
    } else if (!var->grad) {
        if ((st = copy_for(cx, var, grad[0], &sum)) != HG_OK) return st;
        hg_put_grad(cx, var, sum);
    } else if (!cx->grad_enabled && add_plain(cx, var->grad, grad[0])) {
    } else if (!cx->grad_enabled) {
        hg_retain(cx, sum = var->grad); /* whatever another thread makes of it meanwhile */
        st = hg_call_inplace(cx, HG_OP_ADD, (hg_arg[]){hg_t(sum), hg_t(grad[0])}, 2);
        hg_release(cx, sum);
    } else {
        hg_retain(cx, before);
        st = hg_call_op(cx, HG_OP_ADD, (hg_arg[]){hg_t(before), hg_t(grad[0])}, 2, &sum);
        if (st == HG_OK) hg_put_grad(cx, var, sum);
        hg_release(cx, before);
    }
    if (before && grad[0] && st == HG_OK && var->requires_grad && var->grad) st = warn_of_layout(cx, var->grad, var);
    if (st != HG_OK || !var->extra || !var->extra->post) return st;
    hg_call call = {.kind = HG_HOOK_POST_ACCUMULATE, .tensor = var};
    hg_hooks *post = var->extra->post;
    hg_retain(cx, post);
    st = hg_hooks_run(cx, post, &call);
    hg_release(cx, post);
    return st;
}

const hg_node_type hg_accumulate_node = {"AccumulateGrad", apply_accumulate};

hg_status hg_tensor_detach_(hg_ctx *cx, hg_tensor *t) {
    if (cx->inference) return HG_OK;
    if (t->base)
        return hg_fail(
            cx, HG_STATE,
            "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel "
            "(DDP) for training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, "
            "and hence detach_() cannot be called on these gradients. To fix this error, please refer to the "
            "Optimizer.zero_grad() function in torch/optim/optimizer.py as the solution.");
    hg_node *old = t->grad_fn;
    t->grad_fn = NULL, t->out_nr = 0, t->requires_grad = false;
    hg_release(cx, old);
    if (t->extra) hg_keep_no_grad(cx->lib, t, t->extra);
    return cx->lib->watch.known_as ? cx->lib->watch.known_as(cx, t, NULL) : HG_OK;
}

/* A host's object of another class takes the place of `from`, an op's fresh result. */
hg_status hg_tensor_become(hg_ctx *cx, hg_tensor *t, hg_tensor *from) {
    hg_status st = hg_tensor_set_data(cx, t, from);
    if (st != HG_OK) return st;
    if (from->grad_fn) {
        hg_retain(cx, from->grad_fn);
        hg_set_history(cx, t, from->grad_fn, from->out_nr);
    }
    if (from->base) hg_set_base(cx, t, from->base, from->view_kind);
    t->requires_grad = from->requires_grad, t->is_inference = from->is_inference;
    t->seen_version = from->seen_version;
    return HG_OK;
}
