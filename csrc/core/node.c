/* Nodes: their layout, what they saved, and their death. */
#include "autograd_impl.h"

#include <stdio.h>
#include <string.h>

hg_status hg_node_make(hg_ctx *cx, const hg_node_type *type, const hg_op_info *op, uint32_t n_next, uint32_t n_args,
                       uint32_t n_out, bool saves_out, size_t n_pool, hg_node **out) {
    size_t next = n_next * sizeof(hg_edge), args = n_args * sizeof(hg_arg),
           saved = saves_out ? n_out * sizeof(hg_arg) : 0;
    size_t outs = n_out * sizeof(hg_meta), pool = n_pool * sizeof(int64_t);
    size_t extra = next + args + saved + outs + pool;
    hg_node *n = HOST(cx)->alloc(HOST(cx)->ud, HG_KIND_NODE, sizeof *n + extra);
    if (!n) return hg_no_memory(cx);
    char *at = (char *)(n + 1);
    n->type = type, n->op = op;
    n->seq = type == &hg_accumulate_node ? UINT64_MAX : cx->next_seq++;
    n->n_next = n_next, n->n_args = n_args, n->n_out = n_out, n->n_pool = (uint32_t)n_pool;
    n->next = (hg_edge *)(void *)at, at += next;
    n->args = (hg_arg *)(void *)at, at += args;
    n->saved_out = saves_out ? (hg_arg *)(void *)at : NULL, at += saved;
    n->outs = (hg_meta *)(void *)at, at += outs;
    n->pool = (int64_t *)(void *)at;
    n->first_edge = op ? op->first_edge : NULL;
    hg_status st = cx->lib->watch.born ? cx->lib->watch.born(cx, n) : HG_OK;
    if (st != HG_OK) {
        hg_release(cx, n);
        return cx->status = st;
    }
    *out = n;
    return HG_OK;
}

/* Note [Resting nodes]
   Where an op has made a node it will make more. A dead one without hooks stays with its op, its layout as it is, and is revived
   as the next one (node_of_op() in op.c): only what differs is written again. */

/* n, which is dead and owns nothing. */
static bool rest_with_op(hg_lib *lib, hg_node *n) {
    const hg_op_info *op = n->op;
    if (n->type != &hg_op_node || n->hooks || n->function || n->first_edge != op->first_edge ||
        n->n_next != op->n_edges || lib->n_resting >= HG_KEPT || !lib->host.revive)
        return false;
    n->next_dying = lib->resting[op->id];
    lib->resting[op->id] = n, lib->n_resting++;
    return true;
}

void hg_resting_free(hg_lib *lib) {
    for (int i = 0; i < HG_N_OPS; i++)
        for (hg_node *n; (n = lib->resting[i]); lib->host.free(lib->host.ud, HG_KIND_NODE, n))
            lib->resting[i] = n->next_dying;
    lib->n_resting = 0;
}

/* ---- What it owns ----------------------------------------------------------------------------------------------------- */

/* Every owned core object of the node as a slot: one list for visiting, freeing and clearing. */
typedef int (*slot_fn)(void **slot, void *arg);

#if defined(__GNUC__)
#define WITH_ITS_CALLER static inline __attribute__((always_inline)) /* so that fn is called, or inlined, directly */
#else
#define WITH_ITS_CALLER static inline
#endif

WITH_ITS_CALLER int each_arg(hg_arg *args, uint32_t n, slot_fn fn, void *arg) {
    int r = 0;
    for (uint32_t i = 0; i < n && !r; i++) {
        if (args[i].kind == HG_A_TENSOR) r = fn((void **)&args[i].u.t, arg);
        if (args[i].kind == HG_A_TENSORS)
            for (uint32_t j = 0; j < args[i].n && !r; j++) r = fn((void **)&((hg_tensor **)args[i].u.ts)[j], arg);
    }
    return r;
}

WITH_ITS_CALLER int each_saved(hg_node *n, slot_fn fn, void *arg) {
    int r = each_arg(n->args, n->n_args, fn, arg);
    if (!r && n->saved_out) r = each_arg(n->saved_out, n->n_out, fn, arg);
    for (uint32_t i = 0; n->function && i < n->function->n_saved && !r; i++)
        r = fn((void **)&n->function->saved[i], arg);
    return r;
}

WITH_ITS_CALLER int each_link(hg_node *n, slot_fn fn, void *arg) {
    int r = 0;
    for (uint32_t i = 0; i < n->n_next && !r; i++) r = fn((void **)&n->next[i].node, arg);
    if (!r) r = fn((void **)&n->inner, arg);
    if (n->hooks) {
        if (!r) r = fn((void **)&n->hooks->pre, arg);
        if (!r) r = fn((void **)&n->hooks->post, arg);
        for (uint32_t k = 0; k < n->n_out && !r; k++) r = fn((void **)&n->hooks->out[k].hooks, arg);
    }
    return r;
}

static int release_slot(void **slot, void *lib) {
    void *obj = *slot;
    *slot = NULL;
    if (obj) hg_release_in(lib, obj);
    return 0;
}

WITH_ITS_CALLER void drop_saved(hg_lib *lib, hg_node *n) {
    if (n->op && !n->op->saves) return;
    for (uint32_t k = 0; n->saved_out && k < n->n_out; k++) {
        hg_storage *s = n->saved_out[k].kind == HG_A_STORAGE ? n->saved_out[k].u.storage : NULL;
        if (s) n->saved_out[k].u.storage = NULL, hg_storage_release(lib, s);
    }
    each_saved(n, release_slot, lib);
}

typedef struct visitor {
    hg_visit_fn visit;
    void *arg;
} visitor;

static int visit_slot(void **slot, void *arg) {
    visitor *v = arg;
    return *slot ? v->visit(*slot, true, v->arg) : 0;
}

int hg_node_visit(hg_node *n, hg_visit_fn visit, void *arg) {
    visitor v = {visit, arg};
    int r = n->type ? each_saved(n, visit_slot, &v) : 0;
    if (n->type && !r) r = each_link(n, visit_slot, &v);
    return !r && n->function && n->function->data ? visit(n->function->data, false, arg) : r;
}

/* An accumulator is known to its variable, which does not own it. */
void hg_node_unlink(hg_node *n) {
    if (n->type != &hg_accumulate_node || !n->args[0].u.t) return;
    struct hg_extra *e = n->args[0].u.t->extra;
    if (e && e->accumulator == n) e->accumulator = NULL;
}

void hg_node_clear(hg_lib *lib, hg_node *n) {
    if (!n->type) return;
    hg_node_unlink(n);
    n->freed = true;
    if (n->inner && n->inner->outer == n) n->inner->outer = NULL;
    drop_saved(lib, n);
    each_link(n, release_slot, lib);
    void *data = n->function ? n->function->data : NULL;
    if (data) n->function->data = NULL, lib->host.drop(lib->host.ud, data);
}

void hg_node_free_saved(hg_ctx *cx, hg_node *n) {
    if (n->type == &hg_accumulate_node) return;
    n->freed = true;
    drop_saved(cx->lib, n);
    if (n->inner && n->inner->outer == n) hg_node_free_saved(cx, n->inner);
}

/* Note [Resting accumulators]
   A leaf's accumulator dies with the last graph it is in, and the next graph wants one again. So a dead one stays with its
   leaf, which it owns no longer, and is revived: to whoever holds neither it is a new one. One with hooks is not kept. */
static bool rest(hg_lib *lib, hg_node *n) {
    hg_tensor *var = n->args[0].u.t;
    struct hg_extra *e = var ? var->extra : NULL;
    if (!e || e->resting || n->hooks || !lib->host.revive) return false;
    n->args[0].u.t = NULL;
    if (e->accumulator == n) e->accumulator = NULL;
    e->resting = n;
    hg_release_in(lib, var); /* it may have been the last one: then n is gone */
    return true;
}

static bool outlives(const hg_node *accumulator) { /* its leaf does */
    hg_tensor *var = accumulator->args[0].u.t;
    return var && !hg_is_unique(var);
}

hg_node *hg_node_revive(hg_ctx *cx, hg_tensor *t) {
    struct hg_extra *e = t->extra;
    hg_node *n = e->resting;
    if (!n || cx->lib->watch.born) return NULL;
    e->resting = NULL;
    const hg_meta *m = &n->outs[0];
    if (m->dtype != t->dtype || (cx->lib->metas && m->on_meta != hg_on_meta(t)) ||
        !hg_same_dims(m->n_dim, m->shape, t->n_dim, t->shape)) {
        HOST(cx)->free(HOST(cx)->ud, HG_KIND_NODE, n); /* the leaf was given other data */
        return NULL;
    }
    HOST(cx)->revive(HOST(cx)->ud, HG_KIND_NODE, n);
    n->seq = UINT64_MAX;
    return n;
}

/* Note [Freeing graphs]
   The last reference to a node often holds up a chain of millions. Each node that dies is put on a list, and whoever found
   the list empty frees it in a loop: what dies meanwhile joins the list, and the stack stays flat. Every chain passes through
   nodes, so tensors and modules need no such list. */
void hg_node_die(hg_lib *lib, hg_node *n) {
    if (n->type == &hg_accumulate_node) {
        if (outlives(n) && rest(lib, n)) return;
        hg_node_unlink(n); /* at once: nobody may find it again */
    }
    n->next_dying = lib->dying;
    lib->dying = n;
    if (lib->freeing) return;
    lib->freeing = true;
    while ((n = lib->dying)) {
        lib->dying = n->next_dying;
        if (n->type == &hg_accumulate_node && rest(lib, n)) continue;
        hg_node_clear(lib, n);
        if (rest_with_op(lib, n)) continue;
        if (n->hooks) hg_mem_free(lib, n->hooks->sizes), hg_mem_free(lib, n->hooks);
        n->hooks = NULL;
        hg_function_free(lib, n);
        lib->host.free(lib->host.ud, HG_KIND_NODE, n);
    }
    lib->freeing = false;
}

/* ---- What it saved ---------------------------------------------------------------------------------------------------- */

hg_status hg_node_saved(hg_ctx *cx, hg_node *n, int i, bool output, hg_arg *out) {
    const hg_arg *a = output ? n->saved_out ? &n->saved_out[i] : NULL : &n->args[i];
    if (!a) {
        *out = HG_NONE;
        return HG_OK;
    }
    if (n->freed && (hg_is_saved(a) || a->kind == HG_A_TENSORS)) return hg_freed_already(cx);
    *out = *a;
    if (!hg_is_saved(a)) return HG_OK;
    out->kind = HG_A_TENSOR;
    return hg_node_unpack(cx, n, a, a->n, output, i, &out->u.t);
}

hg_status hg_node_saved_at(hg_ctx *cx, hg_node *n, int i, int j, hg_tensor **out) {
    const hg_arg *a = &n->args[i];
    *out = NULL;
    if (n->freed) return hg_freed_already(cx);
    if (!a->u.ts[j]) return HG_OK;
    const uint32_t *versions = (const uint32_t *)(const void *)(a->u.ts + a->n);
    hg_arg one = hg_t(a->u.ts[j]);
    return hg_node_unpack(cx, n, &one, versions[j], false, 0, out);
}

int hg_node_n_saved_at(const hg_node *n, int i) { return n->args[i].kind == HG_A_TENSORS ? (int)n->args[i].n : 0; }

int hg_node_argument(const hg_node *n, int i, const int64_t **shape, const int64_t **stride) {
    const hg_tensor *saved = n->args[i].kind == HG_A_TENSOR ? n->args[i].u.t : NULL;
    hg_edge e = n->op->differentiable >> i & 1 ? n->next[n->first_edge[i]] : (hg_edge){NULL, 0};
    *stride = saved ? saved->stride : NULL;
    if (saved) return *shape = saved->shape, saved->n_dim;
    if (!e.node) return -1;
    return *shape = e.node->outs[e.nr].shape, e.node->outs[e.nr].n_dim;
}

hg_arg_edge hg_node_argument_edge(const hg_node *n, int i) {
    const hg_node *to = n->op->differentiable >> i & 1 ? n->next[n->first_edge[i]].node : NULL;
    return !to ? HG_EDGE_NONE : to->op && to->op->id == HG_OP_T ? HG_EDGE_TURNED : HG_EDGE_PLAIN;
}

/* ---- Seen from a derivative ------------------------------------------------------------------------------------------- */

/* As in torch a list counts as one: where one of its gradients is wanted, all are computed. */
static bool leads_to_wanted(const hg_back *b, int param) {
    const hg_arg *a = &b->node->args[param];
    uint32_t n = a->kind == HG_A_TENSORS ? a->n : 1;
    for (uint32_t j = 0; j < n; j++) {
        const hg_node *to = b->node->next[b->node->first_edge[param] + j].node;
        if (to && hg_run_wants(b->run, to)) return true;
    }
    return false;
}

bool hg_back_needs_at(const hg_back *b, int param, int j) {
    return b->node->next[b->node->first_edge[param] + (uint32_t)j].node && (!b->run || leads_to_wanted(b, param));
}

bool hg_back_gives_at(const hg_back *b, int param, int j) { return b->node->hooks || hg_back_needs_at(b, param, j); }

static inline void plan(hg_back *b) {
    b->need = 0;
    for (uint32_t left = b->info->differentiable; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        if (!b->run && b->info->flat) {
            b->need |= (uint32_t)(b->node->next[b->node->first_edge[i]].node != NULL) << i;
            continue;
        }
        const hg_arg *a = &b->node->args[i];
        uint32_t n = a->kind == HG_A_TENSORS ? a->n : 1;
        for (uint32_t j = 0; j < n && !(b->need >> i & 1); j++)
            if (hg_back_needs_at(b, i, (int)j)) b->need |= 1u << i;
    }
}

void hg_back_plan(hg_back *b) { plan(b); }

/* Nothing can be wrong with what was saved so, and no hook has it. */
static inline bool is_sound(const hg_arg *saved) {
    const hg_tensor *t = saved->u.t;
    return hg_tensor_requires_grad(t) && !hg_is_packed(t) && hg_version(t->storage) == saved->n;
}

static hg_status unpack_one(hg_ctx *cx, hg_back *b, int i, bool output) {
    const hg_arg *saved = output ? &b->node->saved_out[i] : &b->node->args[i];
    hg_tensor *t = NULL;
    if (!hg_is_saved(saved)) return HG_OK;
    if (b->node->freed) return hg_freed_already(cx);
    hg_status st = output ? hg_saved_output(cx, b->node, (uint32_t)i, &t)
                          : hg_node_unpack(cx, b->node, saved, saved->n, false, i, &t);
    if (st != HG_OK) return st;
    *(output ? &b->out[i] : &b->in[i]) = hg_scope_keep(cx, t);
    return cx->scope->status;
}

/* Does a wanted derivative need a number that stands in a tensor's place? It counts as saved: of x * 2 the 2. */
static bool saved_number(const hg_back *b) {
    for (int i = 0; i < b->info->n_params; i++)
        for (int j = 0; b->need >> i & 1 && j < b->info->n_params; j++)
            if (b->info->saves_in[i] >> j & 1 && b->info->params[j].kind == HG_A_TENSOR &&
                hg_is_number(&b->node->args[j]))
                return true;
    return false;
}

/* All that was saved, in the order in which it was. */
static hg_status unpack_all(hg_ctx *cx, hg_back *b) {
    const hg_op_info *op = b->info;
    hg_status st = b->node->freed && saved_number(b) ? hg_freed_already(cx) : HG_OK;
    for (int i = 0; i < op->n_params && st == HG_OK; i++) {
        int j = op->in_order[i];
        const hg_arg *saved = &b->node->args[j];
        if (saved->kind != HG_A_TENSOR) continue;
        if (b->node->freed || !is_sound(saved)) {
            st = unpack_one(cx, b, j, false);
            continue;
        }
        hg_retain(cx, saved->u.t);
        b->in[j] = hg_scope_keep(cx, saved->u.t);
        st = cx->scope->status;
    }
    for (int i = 0; b->node->saved_out && i < op->n_out && st == HG_OK; i++)
        st = unpack_one(cx, b, op->out_order[i], true);
    return st;
}

hg_tensor *hg_back_saved_at(hg_ctx *cx, hg_back *b, int param, int j) {
    hg_tensor *t = NULL;
    if (!hg_scope_ok(cx)) return NULL;
    hg_scope_fail(cx, hg_node_saved_at(cx, b->node, param, j, &t));
    return t ? hg_scope_keep(cx, t) : NULL;
}

const hg_arg *hg_back_arg(const hg_back *b, int param) { return &b->node->args[param]; }

hg_meta hg_back_meta(const hg_back *b, int param, int j) {
    uint32_t at = b->node->first_edge[param] + (uint32_t)j;
    hg_edge e = b->node->next[at];
    return b->node->hooks && b->node->hooks->sizes ? b->node->hooks->sizes[at] : e.node->outs[e.nr];
}

int hg_back_n_out(const hg_back *b) { return (int)b->node->n_out; }

hg_tensor *hg_back_grad(hg_ctx *cx, hg_back *b, int k) {
    if (b->grad[k]) return b->grad[k];
    hg_meta m = b->node->outs[k];
    return X(ZEROS, hg_ints(m.shape, m.n_dim), hg_d((hg_dtype)m.dtype));
}

void hg_back_give(hg_ctx *cx, hg_back *b, int param, int j, hg_tensor *grad) {
    uint32_t e = b->node->first_edge[param] + (uint32_t)j;
    bool leads = b->node->next[e].node || b->node->hooks; /* hooks see what leads nowhere, too */
    if (!grad || b->grad_in[e] || !leads || !(b->need >> param & 1)) return;
    hg_scope *s = cx->scope;
    if (s->n && s->at[s->n - 1] == grad)
        s->n--; /* just computed: it changes hands */
    else
        hg_retain(cx, grad);
    b->grad_in[e] = grad;
}

static hg_status apply_op(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    bool any = false, in_map = false;
    for (uint32_t k = 0; k < n->n_out; k++)
        if (grad[k]) any = true, in_map |= hg_maps_of(cx, grad[k]) != 0;
    hg_back b;
    b.node = n, b.info = n->op, b.grad = grad, b.grad_in = grad_in, b.run = hg_partial_run(cx, n);
    plan(&b);
    for (int i = 0; i < n->op->n_params; i++) b.in[i] = NULL;
    for (int k = 0; k < HG_MAX_OUT; k++) b.out[k] = NULL;
    hg_scope s;
    hg_scope_begin(cx, &s);
    /* Of samples the batches may be differentiated, of which one node here says nothing. */
    bool as_one = cx->grad_enabled && n->op->op->flags & HG_ROW_TWICE && !in_map;
    /* What was computed from views made under no_grad alone leads nowhere. */
    bool runs = any && (b.need || n->op->op->backward == hg_d_missing);
    if ((!n->op->saves || hg_scope_fail(cx, unpack_all(cx, &b)) == HG_OK) && runs)
        hg_scope_fail(cx, as_one ? hg_backward_as_one(cx, &b) : n->op->op->backward(cx, &b));
    return hg_scope_end(cx, &s);
}

const hg_node_type hg_op_node = {NULL, apply_op};

/* ---- Seen from outside ------------------------------------------------------------------------------------------------ */

const char *hg_node_name(const hg_node *n) {
    if (n->function) return n->function->name;
    return n->type->name ? n->type->name : n->compares_number ? n->op->twice_name : n->op->node_name;
}

const char *hg_node_full_name(const hg_node *n, char buf[HG_NODE_NAME]) {
    static const char *const in_torch[] = {"AccumulateGrad", "CopySlices",     "Error",
                                           "CopyBackwards",  "NotImplemented", "UndefinedGradBackward"};
    const char *name = hg_node_name(n), *where = "";
    for (size_t i = 0; i < sizeof in_torch / sizeof *in_torch; i++)
        if (!strcmp(name, in_torch[i])) where = "torch::autograd::";
    snprintf(buf, HG_NODE_NAME, "%s%s", where, name);
    return buf;
}

const char *hg_node_short_name(const hg_node *n, char buf[HG_NODE_NAME]) {
    if (!n) return strcpy(buf, "a function");
    hg_node_full_name(n, buf);
    char *backward = NULL; /* the last one: "BackwardHookFunctionBackward" */
    for (char *at = strstr(buf, "Backward"); at; at = strstr(at + 1, "Backward")) backward = at;
    const char *number = backward ? backward + strlen("Backward") : "s"; /* "Max1" of "MaxBackward1" */
    if (*number == 's') return buf;                                      /* "CopyBackwards" */
    if (!strcmp(number, "0")) number = "";
    memmove(backward, number, strlen(number) + 1);
    return buf;
}

int hg_node_n_out(const hg_node *n) {
    uint32_t k = n->n_out;
    while (n->op && k > 1 &&
           !(hg_dtype_is_float((hg_dtype)n->outs[k - 1].dtype) && !(n->op->constant_out >> (k - 1) & 1)))
        k--;
    return (int)k;
}

hg_status hg_node_apply(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    size_t shown = (size_t)hg_node_n_out(n);
    if (shown == n->n_out) return n->type->apply(cx, n, grad, grad_in);
    hg_tensor *all[HG_MAX_OUT] = {NULL};
    memcpy(all, grad, shown * sizeof *grad);
    return n->type->apply(cx, n, all, grad_in);
}
uint64_t hg_node_seq(const hg_node *n) { return n->seq; }
void hg_node_set_seq(hg_node *n, uint64_t seq) { n->seq = seq; }

const int64_t *hg_node_out_shape(const hg_node *n, int k, int *n_dim, hg_dtype *dtype) {
    *n_dim = n->outs[k].n_dim, *dtype = (hg_dtype)n->outs[k].dtype;
    return n->outs[k].shape;
}

int hg_node_n_next(const hg_node *n) { return (int)n->n_next; }
const hg_op_info *hg_node_op(const hg_node *n) { return n->op; }

hg_node *hg_node_next(const hg_node *n, int i, uint32_t *nr) {
    if (nr) *nr = n->next[i].nr;
    return n->next[i].node;
}

hg_tensor *hg_node_variable(const hg_node *n) { return n->type == &hg_accumulate_node ? n->args[0].u.t : NULL; }
