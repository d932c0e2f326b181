/* Derivatives that are one node when they are themselves differentiated.

   Note [One node for a derivative]
   A derivative is written in terms of ops, so under create_graph it would record those. In torch many derivatives are a kernel
   of their own, with a derivative in turn: their second derivative is one node, "MseLossBackwardBackward0", of which the
   gradients and what was saved are the inputs, also where the result does not depend on them. Ops whose row has
   HG_ROW_TWICE are recorded like that: the derivative runs unrecorded and its results get one node, which saves its inputs;
   that node's own derivative runs the first one again, recorded, and backward through it.

   The node keeps the first one, for the arguments that are no tensors and for where its gradients went. What the first one saved
   may be gone by then, so this one saves it as well.

   What the second derivative does not depend on is not saved: a gradient that the first is linear in (HG_ROW_LINEAR), and an
   argument of which only the shape matters (HG_ROW_BLIND). Zeros stand in for it.

   A loss of two tensors (HG_ROW_APART) has a node for each gradient: in torch the target's is the same kernel, called with the
   two exchanged. A second gradient that does not depend on its own argument has no kernel, and is made of ops. */
#include "autograd_impl.h"

#include <string.h>

enum { MOST = HG_MAX_OUT + HG_MAX_PARAMS + HG_MAX_OUT };

/* The tensors a derivative takes: gradients, saved arguments, saved results. Those that can have a gradient have an edge. */
typedef struct inputs {
    hg_tensor *at[MOST];
    int edge[MOST]; /* its number, or -1 */
    int n, n_grads, n_edges;
} inputs;

static void add(inputs *in, hg_tensor *t, bool differentiable) {
    in->at[in->n] = t;
    in->edge[in->n++] = differentiable ? in->n_edges++ : -1;
}

static bool needs_gradient(const hg_tensor *t) {
    return t && hg_dtype_is_float((hg_dtype)t->dtype) && hg_tensor_requires_grad(t);
}

static bool has_gradient(const hg_back *b, uint32_t k) {
    return !(b->info->constant_out >> k & 1) && hg_dtype_is_float((hg_dtype)b->node->outs[k].dtype);
}

/* Parameter i's place, in a node for the gradient of `only` (from 1; 0: for all). */
static int exchanged(int i, int only) { return only == 2 && i < 2 ? 1 - i : i; }

static void gather(const hg_back *b, int only, inputs *in) {
    const hg_node *n = b->node;
    in->n = in->n_edges = 0;
    for (uint32_t k = 0; k < n->n_out; k++) add(in, b->grad[k], has_gradient(b, k));
    in->n_grads = in->n;
    for (int k = 0, i; k < b->info->n_params; k++)
        if (n->args[i = exchanged(k, only)].kind == HG_A_TENSOR) add(in, b->in[i], b->info->differentiable >> i & 1);
    for (uint32_t k = 0; n->saved_out && k < n->n_out; k++)
        if (hg_is_saved(&n->saved_out[k])) add(in, b->out[k], has_gradient(b, k));
}

/* The other way: what the derivative is to be called with. */
static void scatter(const inputs *in, hg_back *b, int only, hg_tensor **grad) {
    const hg_node *n = b->node;
    int at = 0;
    for (uint32_t k = 0; k < n->n_out; k++) grad[k] = in->at[at++];
    b->grad = grad;
    for (int k = 0, i; k < b->info->n_params; k++)
        if (n->args[i = exchanged(k, only)].kind == HG_A_TENSOR) b->in[i] = in->at[at++];
    for (uint32_t k = 0; n->saved_out && k < n->n_out; k++)
        if (hg_is_saved(&n->saved_out[k])) b->out[k] = in->at[at++];
}

hg_node *hg_node_first(const hg_node *n) { return n->function ? n->inner : NULL; }

int hg_node_saved_of_first(const hg_node *n, int i, bool output) {
    const hg_node *first = n->inner;
    int at = (int)first->n_out, n_params = first->op->n_params;
    for (int k = 0; k < n_params; k++) {
        bool there = first->args[exchanged(k, n->function->only)].kind == HG_A_TENSOR;
        if (!output && k == i) return there ? at : -1;
        at += there;
    }
    for (int k = 0; first->saved_out && k < (int)first->n_out; k++) {
        bool there = hg_is_saved(&first->saved_out[k]);
        if (k == i) return there ? at : -1;
        at += there;
    }
    return -1;
}

/* Is input i, which is differentiable, known by its shape alone? */
static bool is_blank(const hg_node *first, const inputs *in, int i) {
    uint32_t flags = i < in->n_grads ? HG_ROW_LINEAR | HG_ROW_BLIND : HG_ROW_BLIND;
    return in->edge[i] >= 0 && first->op->op->flags & flags;
}

/* ---- Its own derivative ------------------------------------------------------------------------------------------------ */

/* In place of what was not saved; it needs a gradient where that did. */
static void fill_in(hg_ctx *cx, const hg_back *b, const hg_node *n, inputs *in) {
    for (int i = 0; i < in->n; i++) {
        if (!is_blank(b->node, in, i)) continue;
        hg_meta m = i < in->n_grads ? b->node->outs[i] : hg_back_meta(b, 0, 0);
        in->at[i] = X(ZEROS, hg_ints(m.shape, m.n_dim), hg_d((hg_dtype)m.dtype));
        if (in->at[i] && n->next[in->edge[i]].node) in->at[i]->requires_grad = true;
    }
}

/* In place of inputs that need a gradient, tensors that stop it: in a third derivative they lead on to the inputs. */
static void stand_in(hg_ctx *cx, inputs *in, bool create_graph, hg_tensor **by, int *of, int *n_by) {
    for (int i = 0; i < in->n; i++) {
        hg_tensor *t = in->at[i];
        if (in->edge[i] < 0 || !needs_gradient(t)) continue;
        if (create_graph) {
            t = X(VIEW_SIZE, T(t), hg_ints(t->shape, t->n_dim));
        } else {
            hg_tensor *apart = NULL;
            hg_scope_fail(cx, hg_tensor_detach(cx, t, &apart));
            if ((t = hg_scope_keep(cx, apart))) t->requires_grad = true;
        }
        in->at[i] = t;
        by[*n_by] = t, of[(*n_by)++] = i;
    }
}

static hg_status through(hg_ctx *cx, hg_back *b, uint32_t n_given, hg_tensor **grad, bool create_graph,
                         hg_tensor *const *by, int n_by, hg_tensor **results) {
    hg_tensor *roots[HG_MAX_PARAMS], *given[HG_MAX_PARAMS];
    int n = 0;
    for (uint32_t e = 0; e < n_given; e++)
        if (grad[e] && b->grad_in[e] && hg_tensor_requires_grad(b->grad_in[e]))
            roots[n] = b->grad_in[e], given[n++] = grad[e];
    return n ? hg_backward(cx, roots, given, n, create_graph, create_graph, by, n_by, true, results) : HG_OK;
}

static hg_status apply_again(hg_ctx *cx, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in) {
    (void)data;
    bool create_graph = cx->grad_enabled;
    struct hg_saved_level *saved = cx->saved;
    hg_node *first = n->inner;
    hg_tensor *by[MOST], *results[MOST] = {NULL}, *grads[HG_MAX_OUT] = {NULL}, *made[HG_MAX_PARAMS] = {NULL};
    hg_back b = {.node = first, .info = first->op, .grad = grads, .grad_in = made};
    inputs in;
    int of[MOST], n_by = 0, only = n->function->only;
    hg_tensor *given[HG_MAX_PARAMS] = {NULL};
    memcpy(given + (only ? first->first_edge[only - 1] : 0), grad, n->n_out * sizeof *grad);
    gather(&b, only, &in); /* for the edges */
    hg_status st = hg_function_saved(cx, n, in.at);
    if (st != HG_OK) return st;
    hg_scope s;
    hg_scope_begin(cx, &s);
    for (int i = 0; i < in.n; i++) hg_scope_keep(cx, in.at[i]);
    fill_in(cx, &b, n, &in);
    for (int i = 0; i < in.n; i++)
        if (in.edge[i] >= 0 && !n->next[in.edge[i]].node) in.edge[i] = -1;
    cx->grad_enabled = true;
    if (!create_graph) cx->saved = NULL; /* nobody sees what is gone at once */
    stand_in(cx, &in, create_graph, by, of, &n_by);
    hg_back_plan(&b);
    for (int i = 0; i < b.info->n_params; i++) /* what nothing comes back from need not be made again */
        if (b.need >> i & 1 && !given[first->first_edge[i]]) b.need &= ~(1U << i);
    scatter(&in, &b, only, grads);
    if (hg_scope_ok(cx)) hg_scope_fail(cx, first->op->op->backward(cx, &b));
    cx->grad_enabled = create_graph;
    cx->saved = saved;
    if (hg_scope_ok(cx)) hg_scope_fail(cx, through(cx, &b, first->n_next, given, create_graph, by, n_by, results));
    for (uint32_t e = 0; e < first->n_next; e++) hg_release(cx, made[e]);
    for (int i = 0; i < n_by; i++) {
        hg_tensor *zeros = !results[i] && of[i] >= in.n_grads ? X(ZEROS_LIKE, T(by[i])) : NULL;
        if (zeros) hg_retain(cx, results[i] = zeros);
        grad_in[in.edge[of[i]]] = results[i];
    }
    return hg_scope_end(cx, &s);
}

/* ---- Recording it ------------------------------------------------------------------------------------------------------- */

/* A result that is an input, or shares its memory, cannot be given a history of its own. */
static bool is_own(const inputs *in, hg_tensor *const *at, uint32_t e) {
    const hg_tensor *t = at[e];
    for (int i = 0; i < in->n; i++)
        if (in->at[i] && in->at[i]->storage == t->storage) return false;
    for (uint32_t k = 0; k < e; k++)
        if (at[k] && at[k]->storage == t->storage) return false;
    return !t->base;
}

static hg_status make_own(hg_ctx *cx, const inputs *in, hg_tensor **at, uint32_t n) {
    for (uint32_t e = 0; e < n; e++) {
        hg_tensor *t = at[e], *copy;
        if (!t || is_own(in, at, e)) continue;
        hg_status st = hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(t)}, 1, &copy);
        if (st != HG_OK) return st;
        at[e] = copy;
        hg_release(cx, t);
    }
    return HG_OK;
}

static hg_status record(hg_ctx *cx, const hg_back *b, const inputs *in, int only) {
    uint8_t kinds[HG_MAX_PARAMS];
    hg_tensor *sources[MOST], *kept[MOST], **made = b->grad_in + (only ? b->node->first_edge[only - 1] : 0);
    hg_node *n;
    uint32_t n_out = only ? 1 : b->node->n_next;
    hg_status st = make_own(cx, in, made, n_out);
    if (st != HG_OK) return st;
    for (int i = 0; i < in->n; i++)
        if (in->edge[i] >= 0) sources[in->edge[i]] = needs_gradient(in->at[i]) ? in->at[i] : NULL;
    for (int i = 0; i < in->n; i++) kept[i] = is_blank(b->node, in, i) ? NULL : in->at[i];
    for (uint32_t e = 0; e < n_out; e++) kinds[e] = made[e] ? HG_OUT_DIFFERENTIABLE : 0;
    cx->grad_enabled = true;
    st = hg_function_new(cx, b->info->twice_name, apply_again, NULL, sources, in->n_edges, &n);
    if (st != HG_OK) return st;
    n->function->only = (uint8_t)only;
    hg_retain(cx, n->inner = b->node);
    st = hg_function_save(cx, n, kept, in->n, false);
    if (st == HG_OK) st = hg_function_set_outputs(cx, n, made, kinds, (int)n_out);
    hg_release(cx, n);
    return st;
}

static bool any_needs_gradient(const inputs *in) {
    for (int i = 0; i < in->n; i++)
        if (in->edge[i] >= 0 && needs_gradient(in->at[i])) return true;
    return false;
}

static hg_status one_node(hg_ctx *cx, hg_back *b, int only) {
    inputs in;
    gather(b, only, &in);
    cx->grad_enabled = false;
    hg_status st = b->info->op->backward(cx, b);
    if (st == HG_OK) st = cx->scope->status;
    if (st == HG_OK && any_needs_gradient(&in)) st = record(cx, b, &in, only);
    cx->grad_enabled = true;
    return st;
}

hg_status hg_backward_as_one(hg_ctx *cx, hg_back *b) {
    uint32_t all = b->need;
    hg_status st = HG_OK;
    if (!(b->info->op->flags & HG_ROW_APART)) return one_node(cx, b, 0);
    for (int i = 0; i < 2 && st == HG_OK; i++) {
        bool own = b->info->saves_in[i] >> i & 1;
        if ((b->need = all & 1U << i)) st = own ? one_node(cx, b, i + 1) : b->info->op->backward(cx, b);
    }
    b->need = all;
    return st;
}
