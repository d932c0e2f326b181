/* Calling ops: defaults, forward, and the record of what was done. */
#include "autograd_impl.h"
#include "k_impl.h"

#include <string.h>

/* What an op returns when it returns a list: the dispatcher's `out` stands for this. */
typedef struct list {
    hg_tensor **at;
    int n;
} list;

hg_status hg_out_list(hg_ctx *cx, hg_tensor **out, int64_t n, hg_tensor ***at) {
    list *l = (list *)(void *)out;
    size_t size = (size_t)(n ? n : 1) * sizeof *l->at;
    if (n > INT32_MAX) return hg_no_memory(cx);
    if (!(l->at = hg_mem(cx, size))) return HG_MEMORY;
    memset(l->at, 0, size);
    l->n = (int)n;
    *at = l->at;
    return HG_OK;
}

int hg_n_made(const hg_op_info *info, hg_tensor **out, hg_tensor ***at) {
    const list *l = (const list *)(void *)out;
    *at = info->n_out ? out : l->at;
    return info->n_out ? info->n_out : l->n;
}

void hg_list_free(hg_ctx *cx, hg_tensor **at, int n) {
    for (int i = 0; at && i < n; i++) hg_release(cx, at[i]);
    hg_mem_free(cx->lib, at);
}

/* ---- Arguments ---------------------------------------------------------------------------------------------------------- */

static inline void copy_arg(hg_arg *to, const hg_arg *from) {
    to->kind = from->kind, to->n = from->n, to->u.i = from->u.i; /* not as one: see call_flags() in setup.py */
}

/* The arguments with defaults filled in, in room[]. */
static inline hg_status complete(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, int n, hg_arg *room) {
    int i = 0;
    room[0] = HG_NONE; /* also of an op without parameters */
    for (; i < n && a[i].kind != HG_A_DEFAULT; i++) copy_arg(&room[i], &a[i]);
    for (; i < info->n_params; i++) {
        copy_arg(&room[i], i < n && a[i].kind != HG_A_DEFAULT ? &a[i] : &info->defaults[i]);
        if (room[i].kind == HG_A_DEFAULT)
            return hg_fail(cx, HG_TYPE, "%s() missing required argument '%s' (position %d)", info->name,
                           info->params[i].name, i + 1);
    }
    return HG_OK;
}

/* Are all of them there? Then they need not be copied. */
static inline bool is_complete(const hg_op_info *info, const hg_arg *a, int n) {
    if (n != info->n_params || !n) return false;
    for (int i = 0; i < n; i++)
        if (a[i].kind == HG_A_DEFAULT) return false;
    return true;
}

/* Of that map, where there is one: what the others are is the business of the call on the batches. */
static inline bool counts(const hg_tensor *t, int map) {
    return t && hg_tensor_requires_grad(t) && (!map || (t->in_map && t->levels & map));
}

static inline bool wants_grad(const hg_arg *a, int map) {
    if (a->kind == HG_A_TENSOR) return counts(a->u.t, map);
    if (a->kind == HG_A_TENSORS)
        for (uint32_t i = 0; i < a->n; i++)
            if (counts(a->u.ts[i], map)) return true;
    return false;
}

int hg_innermost_map(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a) {
    int maps = 0;
    for (int i = 0; cx->maps && i < info->n_params; i++) {
        if (a[i].kind == HG_A_TENSOR && a[i].u.t) maps |= hg_maps_of(cx, a[i].u.t);
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n; j++)
            if (a[i].u.ts[j]) maps |= hg_maps_of(cx, a[i].u.ts[j]);
    }
    while (maps & (maps - 1)) maps &= maps - 1;
    return maps;
}

/* Bit i: argument i is differentiable and wants a gradient. */
static inline uint32_t wanted(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a) {
    uint32_t mask = 0;
    int map = hg_innermost_map(cx, info, a);
    for (uint32_t left = info->differentiable; left; left &= left - 1) {
        int i = __builtin_ctz(left);
        if (wants_grad(&a[i], map)) mask |= 1u << i;
    }
    return mask;
}

/* A view made under no_grad() wants a gradient where its base does, and leads nowhere. */
static inline bool leads(const hg_tensor *t) { return t->grad_fn || !t->base || t->requires_grad || hg_can_follow(t); }

/* Which arguments and outputs are saved: Note [What is saved] in schema.c. */
static inline void needed(const hg_op_info *info, const hg_arg *a, uint32_t want, uint32_t *in, uint32_t *out) {
    bool one = !(info->differentiable & (info->differentiable - 1));
    *in = info->always_in, *out = info->always_out;
    if (!info->saves) return;
    for (; want; want &= want - 1) {
        int i = __builtin_ctz(want);
        if (one || a[i].kind != HG_A_TENSOR || leads(a[i].u.t)) *in |= info->saves_in[i];
    }
}

/* ---- Recording ------------------------------------------------------------------------------------------------------------ */

static hg_status save_inputs(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, uint32_t save_in, hg_node *n) {
    hg_status st = HG_OK;
    for (int i = 0; save_in && i < info->n_params && st == HG_OK; i++) {
        int j = info->in_order[i];
        if (!(save_in >> j & 1) || a[j].kind != HG_A_TENSOR) continue;
        if (cx->packed_first && cx->packed_first[j].u.t) {
            n->args[j].u.t = cx->packed_first[j].u.t, n->args[j].n = cx->packed_first[j].n;
            cx->packed_first[j].u.t = NULL;
        } else
            st = hg_save(cx, a[j].u.t, &n->args[j].u.t, &n->args[j].n);
    }
    return st;
}

/* How many sizes there are among the arguments of a call without other lists, as most are; -1: there are other lists. */
static inline int plain_sizes(const hg_op_info *info, const hg_arg *a) {
    int n = 0;
    for (int i = 0; i < info->n_params; i++) {
        if (a[i].kind > HG_A_INTS) return -1;
        if (a[i].kind == HG_A_INTS) n += (int)a[i].n;
    }
    return n;
}

/* The node of an op without lists among its arguments, with an edge for each that is differentiable: one that rests (Note [Resting
   nodes] in node.c), or a new one. What `args` holds is of no meaning yet, but that they own nothing. */
HG_INLINE hg_status node_of_op(hg_ctx *cx, const hg_op_info *op, uint32_t n_out, bool saves_out, size_t n_pool,
                               hg_node **out) {
    hg_lib *lib = cx->lib;
    hg_node *n = lib->resting[op->id];
    if (!n || n->n_pool < n_pool || n->n_out != n_out || (n->saved_out != NULL) != saves_out || lib->watch.born)
        return hg_node_make(cx, &hg_op_node, op, op->n_edges, op->n_params, n_out, saves_out, n_pool < 2 ? 2 : n_pool,
                            out);
    lib->resting[op->id] = n->next_dying, lib->n_resting--;
    lib->host.revive(lib->host.ud, HG_KIND_NODE, n);
    n->seq = cx->next_seq++;
    n->freed = false;
    for (uint32_t k = 0; saves_out && k < n_out; k++) n->saved_out[k].kind = HG_A_NONE; /* pack hooks may look now */
    *out = n;
    return HG_OK;
}

/* Where no hooks are in force. */
static inline hg_status save_now(hg_ctx *cx, hg_tensor *t, hg_arg *to) {
    if (!t->storage || t->is_inference) return hg_save(cx, t, &to->u.t, &to->n); /* says why it cannot be */
    hg_retain(cx, to->u.t = t);
    t->n_held = HG_HELD;
    to->n = hg_version(t->storage);
    return HG_OK;
}

/* What a node's derivative knows of an input's shape it knows from the node before. Where a tensor with a history was given memory
   of another shape, that is not what the input is: the node keeps what it is. */
static hg_status keep_sizes(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_node *n) {
    bool differ = false;
    for (int pass = 0; pass < 2; pass++) {
        hg_meta *metas = pass ? n->hooks->sizes : NULL;
        int64_t *dims = pass ? (int64_t *)(void *)(metas + n->n_next) : NULL;
        for (int i = 0; i < info->n_params; i++) {
            uint32_t count = a[i].kind == HG_A_TENSORS ? a[i].n : a[i].kind == HG_A_TENSOR;
            for (uint32_t j = 0; info->differentiable >> i & 1 && j < count; j++) {
                const hg_tensor *t = a[i].kind == HG_A_TENSORS ? a[i].u.ts[j] : a[i].u.t;
                uint32_t at = n->first_edge[i] + j;
                hg_edge e = n->next[at];
                if (!e.node) continue;
                differ |= !hg_same_dims(t->n_dim, t->shape, e.node->outs[e.nr].n_dim, e.node->outs[e.nr].shape);
                if (!pass) continue;
                hg_copy_dims(dims, t->shape, t->n_dim);
                metas[at] = (hg_meta){.dtype = t->dtype, .n_dim = t->n_dim, .shape = dims};
                dims += t->n_dim;
            }
        }
        if (pass || !differ) break;
        hg_status st = hg_node_extra_of(cx, n);
        if (st != HG_OK) return st;
        n->hooks->sizes = hg_mem(cx, n->n_next * (sizeof *metas + HG_MAX_DIM * sizeof *dims));
        if (!n->hooks->sizes) return HG_MEMORY;
    }
    return HG_OK;
}

/* Of the arguments the first `n_given` are in a[], and in saved[]; the others are the defaults. */
HG_INLINE hg_status record_plain(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, int n_given, const hg_arg *saved,
                                 uint32_t want, uint32_t save_in, hg_tensor *const *outs, int n_out, bool saves_out,
                                 int n_sizes, hg_node **result) {
    bool in_order = cx->saved || cx->packed_first; /* somebody sees in which order they are saved */
    size_t pool = (size_t)n_sizes;
    hg_node *n;
    for (int k = 0; k < n_out; k++) pool += outs[k]->n_dim;
    hg_status st = node_of_op(cx, info, (uint32_t)n_out, saves_out, pool, &n);
    if (st != HG_OK) return st;
    int64_t *free_pool = n->pool;
    for (int i = 0; i < info->n_params && st == HG_OK; i++) {
        const hg_arg *from = i < n_given ? &a[i] : &info->defaults[i];
        hg_arg *to = &n->args[i];
        if (from->kind == HG_A_TENSOR) { /* what is saved has its place */
            to->kind = save_in >> i & 1 ? HG_A_TENSOR : HG_A_NONE, to->u.t = NULL;
            if (save_in >> i & 1 && !in_order) st = save_now(cx, saved[i].u.t, to);
            if (want >> i & 1 && st == HG_OK) st = hg_wanted_edge(cx, from->u.t, &n->next[info->first_edge[i]]);
        } else if (from->kind == HG_A_INTS) {
            hg_copy_dims(free_pool, from->u.ints, (int)from->n);
            *to = hg_ints(free_pool, (int)from->n);
            free_pool += from->n;
        } else {
            to->kind = from->kind, to->u.i = from->u.i;
        }
    }
    for (int k = 0; k < n_out; k++) hg_node_set_meta(n, (uint32_t)k, outs[k], &free_pool);
    if (st == HG_OK && save_in && in_order) st = save_inputs(cx, info, saved, save_in, n);
    if (st == HG_OK && cx->lib->reshaped && !(info->op->flags & HG_ROW_MOVES) && n_given == info->n_params)
        st = keep_sizes(cx, info, a, n);
    if (st == HG_OK)
        *result = n;
    else
        hg_release(cx, n);
    return st;
}

/* How many slots of its node's pool an argument takes. */
HG_INLINE size_t pool_for(const hg_arg *a) {
    switch (a->kind) {
    case HG_A_TENSORS: return a->n + (a->n + 1) / 2; /* and their versions */
    case HG_A_INTS:
    case HG_A_FLOATS: return a->n;
    case HG_A_STR: return strlen(a->u.s) / 8 + 1;
    default: return 0;
    }
}

/* A list of tensors, saved or not; `next`: where its edges go, NULL if it has none. */
HG_INLINE hg_status record_list(hg_ctx *cx, const hg_arg *list, int map, bool save, hg_edge *next, int64_t *pool,
                                hg_arg *to) {
    hg_tensor **at = (hg_tensor **)(void *)pool;
    uint32_t *versions = (uint32_t *)(void *)(pool + list->n);
    hg_status st = HG_OK;
    to->u.ts = at; /* slots are zero until filled, so the node can be released half-way */
    for (uint32_t j = 0; j < list->n && st == HG_OK; j++) {
        hg_tensor *t = list->u.ts[j];
        if (next && counts(t, map)) st = hg_gradient_edge(cx, t, &next[j]);
        if (save && t && st == HG_OK) st = hg_save(cx, t, &at[j], &versions[j]);
    }
    return st;
}

/* The node of a call, without outputs yet: edges to what made the arguments, and what `save_in` names, as it is in `saved`.
   New. */
static hg_status record(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, const hg_arg *saved, uint32_t want,
                        uint32_t save_in, hg_tensor *const *outs, int n_out, bool saves_out, hg_node **result) {
    int n_sizes = info->flat ? 0 : plain_sizes(info, a);
    if (n_sizes >= 0)
        return record_plain(cx, info, a, info->n_params, saved, want, save_in, outs, n_out, saves_out, n_sizes, result);
    uint32_t n_next = 0;
    size_t pool = 0;
    for (int i = 0; i < info->n_params; i++) {
        if (info->differentiable >> i & 1) n_next += a[i].kind == HG_A_TENSORS ? a[i].n : 1;
        pool += pool_for(&a[i]);
    }
    for (int k = 0; k < n_out; k++) pool += outs[k]->n_dim;

    hg_node *n;
    size_t room = pool + (info->n_params + 1u) / 2; /* for first_edge */
    hg_status st = hg_node_make(cx, &hg_op_node, info, n_next, info->n_params, (uint32_t)n_out, saves_out, room, &n);
    if (st != HG_OK) return st;
    int64_t *free_pool = n->pool;
    uint32_t e = 0, *first_edge = (uint32_t *)(void *)(n->pool + pool);
    n->first_edge = first_edge;
    for (int i = 0; i < info->n_params && st == HG_OK; i++) {
        hg_arg *to = &n->args[i];
        bool differentiable = info->differentiable >> i & 1, save = save_in >> i & 1;
        first_edge[i] = e;
        to->kind = a[i].kind, to->n = a[i].n;
        switch (a[i].kind) {
        case HG_A_TENSOR:
            if (differentiable && want >> i & 1) st = hg_gradient_edge(cx, a[i].u.t, &n->next[e]);
            if (!save) to->kind = HG_A_NONE;
            break;
        case HG_A_TENSORS: {
            int map = hg_innermost_map(cx, info, a);
            st = record_list(cx, &a[i], map, save, differentiable ? &n->next[e] : NULL, free_pool, to);
            break;
        }
        case HG_A_INTS:
        case HG_A_FLOATS:
            if (a[i].n) memcpy(free_pool, a[i].u.ints, a[i].n * sizeof *free_pool); /* an empty list may lie nowhere */
            to->u.ints = free_pool;
            break;
        case HG_A_STR: to->u.s = strcpy((char *)free_pool, a[i].u.s); break;
        case HG_A_GENERATOR: *to = HG_NONE; break;
        default: to->u = a[i].u;
        }
        free_pool += pool_for(&a[i]);
        if (differentiable) e += a[i].kind == HG_A_TENSORS ? a[i].n : 1;
    }
    if (st == HG_OK) st = save_inputs(cx, info, saved, save_in, n);
    if (st == HG_OK && cx->lib->reshaped) st = keep_sizes(cx, info, a, n);
    if (st != HG_OK) return hg_release(cx, n), st;
    for (int k = 0; k < n_out; k++) hg_node_set_meta(n, (uint32_t)k, outs[k], &free_pool);
    *result = n;
    return HG_OK;
}

/* t, which is new, was made by output nr of the node: steals node. */
static inline void begin_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr) {
    t->grad_fn = node, t->out_nr = nr;
    t->seen_version = hg_version(t->storage);
    if (!t->base) HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t); /* else it is, since it has one */
}

static hg_status record_outputs(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, uint32_t want,
                                hg_tensor *const *outs, int n_out) {
    uint32_t in, out;
    needed(info, a, want, &in, &out);
    hg_node *n;
    hg_status st = record(cx, info, a, a, want, in, outs, n_out, out != 0, &n);
    if (st != HG_OK) return st;
    if (n_out == 1 && !out && !info->constant_out) {
        begin_history(cx, outs[0], n, 0);
        return HG_OK;
    }
    for (int k = 0; k < n_out; k++)
        if (hg_dtype_is_float((hg_dtype)outs[k]->dtype) && !(info->constant_out >> k & 1)) {
            hg_retain(cx, n);
            begin_history(cx, outs[k], n, (uint32_t)k);
        }
    for (int i = 0; out && i < info->n_out && st == HG_OK; i++) { /* last: what packs it sees its history */
        int k = info->out_order[i];
        if (out >> k & 1) st = hg_keep_output(cx, outs[k], &n->saved_out[k]);
    }
    hg_release(cx, n);
    return st;
}

/* A call with one result, as nearly all are, in one go. */
static hg_status record_one(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, int n_given, uint32_t want,
                            hg_tensor **out) {
    uint32_t in, save_out;
    hg_node *n = NULL;
    int n_sizes = info->flat ? 0 : plain_sizes(info, a);
    if (n_sizes < 0 || info->constant_out) return record_outputs(cx, info, a, want, out, 1);
    needed(info, a, want, &in, &save_out);
    hg_status st = record_plain(cx, info, a, n_given, a, want, in, out, 1, save_out != 0, n_sizes, &n);
    if (st != HG_OK) return st;
    begin_history(cx, out[0], n, 0);
    return save_out ? hg_keep_output(cx, out[0], &n->saved_out[0]) : HG_OK;
}

static bool has_float(hg_tensor *const *outs, int n) {
    for (int i = 0; i < n; i++)
        if (hg_dtype_is_float((hg_dtype)outs[i]->dtype)) return true;
    return false;
}

void hg_made_view(hg_ctx *cx, hg_tensor *view, hg_tensor *of, bool one_of_several) {
    uint8_t kind = cx->inference       ? HG_VIEW_INFERENCE
                   : !cx->grad_enabled ? HG_VIEW_NO_GRAD
                   : one_of_several    ? HG_VIEW_MULTI_OUTPUT
                                       : HG_VIEW_NORMAL;
    if (!of->is_inference) hg_set_base(cx, view, of, kind);
}

static __attribute__((noinline)) void made_views(hg_ctx *cx, hg_tensor **outs, int n, hg_tensor *of, bool several) {
    for (int i = 0; i < n; i++) hg_made_view(cx, outs[i], of, several);
}

/* What every call does once its outputs are there: bases of views, and the node. */
static inline hg_status finish(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, uint32_t want, hg_tensor **outs,
                               int n) {
    if (info->op->flags & HG_ROW_VIEW) {
        if (n == 1)
            hg_made_view(cx, outs[0], a[0].u.t, info->op->flags & HG_ROW_MULTI_VIEW);
        else
            made_views(cx, outs, n, a[0].u.t, info->op->flags & HG_ROW_MULTI_VIEW);
    }
    if (want && info->op->flags & HG_ROW_VIEW && a[0].u.t->is_inference) return HG_OK; /* so are its views */
    if (!want || !has_float(outs, n)) return HG_OK;
    return info->n_out == 1 ? record_one(cx, info, a, info->n_params, want, outs)
                            : record_outputs(cx, info, a, want, outs, n);
}

static void drop_all(hg_ctx *cx, hg_tensor **outs, int n) {
    for (int i = 0; i < n; i++) {
        hg_release(cx, outs[i]);
        outs[i] = NULL;
    }
}

/* May it be the call's result as it is? Then it is none of the arguments, and has no history. */
static bool is_fresh(const hg_op_info *info, const hg_arg *a, const hg_tensor *t) {
    if (t->grad_fn || t->requires_grad || (t->base && t->view_kind != HG_VIEW_NO_GRAD)) return false;
    for (int i = 0; i < info->n_params; i++) {
        if (a[i].kind == HG_A_TENSOR && a[i].u.t == t) return false;
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n; j++)
            if (a[i].u.ts[j] == t) return false;
    }
    return true;
}

/* One result of what stood in for the op. What it was a view of, below the graph, does not count in it. */
static hg_status take_one(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *made, hg_tensor **to) {
    hg_status (*known_as)(hg_ctx * cx, hg_tensor * t, hg_tensor * as) = cx->lib->watch.known_as;
    if (!is_fresh(info, a, made) || (known_as && made->base)) {
        hg_status st = info->id == HG_OP_DETACH ? hg_raw_detach(cx, made, to) : hg_tensor_detach(cx, made, to);
        return st == HG_OK && known_as ? known_as(cx, made, *to) : st;
    }
    if (made->base) {
        hg_release(cx, made->base);
        made->base = NULL, made->view_kind = 0;
    }
    hg_retain(cx, *to = made);
    bool shares = info->op->flags & HG_ROW_VIEW || info->id == HG_OP_DETACH;
    return shares ? hg_share(cx, made, a[0].u.t) : HG_OK;
}

/* What stands in for the op has been made, for the call to give it its history. In place a mode or a class has nothing to give. */
static hg_status take(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor **made, int n,
                      hg_tensor **out) {
    hg_status st = HG_OK;
    hg_tensor **to = out;
    if (!into && !info->n_out)
        st = hg_out_list(cx, out, n, &to);
    else if (!into && n != info->n_out)
        st = hg_fail(cx, HG_TYPE, "%s() gives %d tensors, but what stands in for it gave %d", info->name, info->n_out,
                     n);
    for (int i = 0; i < n && st == HG_OK; i++)
        if (!into)
            st = take_one(cx, info, a, made[i], &to[i]);
        else if (made[i] != into)
            st = hg_raw_copy(cx, into, made[i]);
    hg_list_free(cx, made, n);
    return st;
}

/* Note [Levels]
   A host may compute a function within transforms, one inside another: bit i of `maps` or of `derives`, of a thread, says that the
   i-th is a map over a batch, or differentiates; only while it watches the calls. A tensor's bits say of which maps it is one
   sample of many, and which of the others know it: the arguments, that the host marks, and what ops make from there on. */
uint8_t hg_levels_of(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a, int from) {
    uint8_t levels = 0;
    for (int i = from; i < info->n_params; i++) {
        if (a[i].kind == HG_A_TENSOR && a[i].u.t) levels |= a[i].u.t->levels;
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n; j++)
            if (a[i].u.ts[j]) levels |= a[i].u.ts[j]->levels;
    }
    return levels & (cx->maps | cx->derives);
}

static void mark_levels(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor **out) {
    hg_tensor **at;
    uint8_t levels = hg_levels_of(cx, info, a, 0);
    for (int i = hg_n_made(info, out, &at) - 1; i >= 0; i--)
        if (at[i]) at[i]->levels |= levels & HG_LEVELS;
}

static hg_status compute_watched(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into,
                                 hg_tensor **out) {
    hg_tensor **made = NULL;
    int n = 0;
    hg_status st = cx->lib->watch.calling(cx, info, a, into, &made, &n);
    if (st == HG_OK && made) return take(cx, info, a, into, made, n, out);
    if (st == HG_OK) st = cx->lib->metas ? hg_meta_compute(cx, info, a, into, out) : info->op->forward(cx, a, out);
    if (st == HG_OK && (!into || cx->run) && cx->maps | cx->derives) mark_levels(cx, info, a, out);
    return st;
}

/* `into`: what is written to, in place. */
static inline hg_status compute(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor **out) {
    bool watched = cx->lib->watch.calling && !(info->op->flags & HG_ROW_COMPOSITE);
    return watched ? compute_watched(cx, info, a, into, out) : info->op->forward(cx, a, out);
}

/* Note [Packed first]
   In PyTorch a node packs the arguments it saves before the op runs. A pack hook sees that, where the op writes to them; and one
   that raises, as the early stop of a checkpoint does, leaves the op uncalled. So under hooks they are packed first here, too. */
static hg_status pack_first(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, uint32_t in, hg_arg *packed) {
    hg_status st = HG_OK;
    memset(packed, 0, HG_MAX_PARAMS * sizeof *packed);
    if (plain_sizes(info, a) < 0) in = 0; /* the entries of a list: when it is recorded */
    for (int i = 0; in && i < info->n_params && st == HG_OK; i++) {
        int j = info->in_order[i];
        if (in >> j & 1 && a[j].kind == HG_A_TENSOR) st = hg_save(cx, a[j].u.t, &packed[j].u.t, &packed[j].n);
    }
    return st;
}

/* What no node has taken. */
static void drop_packed(hg_ctx *cx, const hg_op_info *info, hg_arg *packed) {
    for (int i = 0; i < info->n_params; i++) hg_release(cx, packed[i].u.t);
}

static hg_status call_packed_first(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor **made) {
    hg_arg packed[HG_MAX_PARAMS];
    uint32_t want = hg_records(cx) ? wanted(cx, info, a) : 0, in = 0, out;
    if (want) needed(info, a, want, &in, &out);
    hg_status st = pack_first(cx, info, a, in, packed);
    if (st == HG_OK) st = compute(cx, info, a, NULL, made);
    if (st == HG_OK) {
        cx->packed_first = packed;
        st = finish(cx, info, a, want, made, info->n_out);
        cx->packed_first = NULL;
    }
    drop_packed(cx, info, packed);
    return st;
}

/* A call failed: before what is wrong with the arguments comes that a view cannot follow its base. */
static hg_status stale_first(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_status st) {
    hg_node *fn;
    hg_status stale = HG_OK;
    uint32_t want = st == HG_HOST || st == HG_MEMORY || !hg_records(cx) ? 0 : wanted(cx, info, a);
    for (; want && stale == HG_OK; want &= want - 1) {
        const hg_arg *one = &a[__builtin_ctz(want)];
        if (one->kind == HG_A_TENSOR && !hg_can_follow(one->u.t)) stale = hg_tensor_grad_fn(cx, one->u.t, &fn);
    }
    return stale == HG_OK ? st : stale;
}

hg_status hg_call_op(hg_ctx *cx, int id, const hg_arg *a, int n, hg_tensor **out) {
    const hg_op_info *info = cx->lib->ops[id];
    hg_status st;
    if (!info && !(info = hg_op_at(cx->lib, id))) return hg_no_memory(cx);
    if (info->plain && n == info->n_plain && !cx->lib->watch.calling) {
        out[0] = NULL;
        if ((st = hg_run_plain(cx, info, a, out)) != HG_OK) return st;
        if (out[0]) {
            uint32_t want = 0;
            if (hg_records(cx) && out[0]->dtype == HG_F32)
                want = (uint32_t)hg_tensor_requires_grad(a[0].u.t) |
                       (uint32_t)(n == 2 && a[1].kind == HG_A_TENSOR && hg_tensor_requires_grad(a[1].u.t)) << 1;
            if (want && (st = record_one(cx, info, a, n, want & info->differentiable, out)) != HG_OK)
                drop_all(cx, out, 1);
            return st;
        }
    }
    hg_arg room[HG_MAX_PARAMS];
    if (!is_complete(info, a, n)) {
        if ((st = complete(cx, info, a, n, room)) != HG_OK) return st;
        a = room;
    }
    if (info->op->flags & HG_ROW_MUTATES) {
        if ((st = hg_call_inplace(cx, id, a, info->n_params)) == HG_OK) hg_retain(cx, out[0] = a[0].u.t);
        return st;
    }
    hg_tensor *made[HG_MAX_OUT] = {NULL};
    if (cx->saved && !(info->op->flags & HG_ROW_COMPOSITE))
        st = call_packed_first(cx, info, a, made);
    else {
        st = compute(cx, info, a, NULL, made);
        if (st == HG_OK && !(info->op->flags & HG_ROW_COMPOSITE))
            st = finish(cx, info, a, hg_records(cx) ? wanted(cx, info, a) : 0, made, info->n_out);
    }
    if (st != HG_OK) {
        drop_all(cx, made, HG_MAX_OUT);
        return stale_first(cx, info, a, st);
    }
    out[0] = made[0];
    for (int k = 1; k < info->n_out; k++) {
        out[k] = made[k];
        HG_ONE_BY_ONE;
    }
    return HG_OK;
}

hg_status hg_call_list(hg_ctx *cx, int id, const hg_arg *a, int n_arg, hg_tensor ***out, int *n) {
    /* What sets the pieces apart is the graph. */
    if (cx->inference && id == HG_OP_UNSAFE_SPLIT) id = HG_OP_SPLIT;
    if (cx->inference && id == HG_OP_UNSAFE_SPLIT_WITH_SIZES) id = HG_OP_SPLIT_WITH_SIZES;
    const hg_op_info *info = hg_op_at(cx->lib, id);
    if (!info) return hg_no_memory(cx);
    hg_arg room[HG_MAX_PARAMS];
    hg_status st = complete(cx, info, a, n_arg, room);
    if (st != HG_OK) return st;
    a = room;
    list l = {NULL, 0};
    st = compute(cx, info, a, NULL, (hg_tensor **)(void *)&l);
    if (st == HG_OK && !(info->op->flags & HG_ROW_COMPOSITE))
        st = finish(cx, info, a, hg_records(cx) ? wanted(cx, info, a) : 0, l.at, l.n);
    if (st != HG_OK) {
        hg_list_free(cx, l.at, l.n);
        return stale_first(cx, info, a, st);
    }
    *out = l.at, *n = l.n;
    return HG_OK;
}

/* self with its history as it is now, on the memory that is about to be overwritten. New. */
static hg_status keep_alias(hg_ctx *cx, hg_tensor *self, hg_tensor **out) {
    hg_node *fn;
    hg_status st = hg_tensor_grad_fn(cx, self, &fn);
    if (st != HG_OK || (st = hg_tensor_detach(cx, self, out)) != HG_OK) return st;
    if (fn) hg_retain(cx, fn), hg_set_history(cx, *out, fn, self->out_nr);
    return HG_OK;
}

static bool is_saved(const hg_arg *a, uint32_t in, int i) { return (in >> i & 1) && a[i].kind == HG_A_TENSOR; }

/* Note [Overwritten arguments]
   y.mul_(y) saves y for the derivative of the other factor, and overwrites it. What is saved is the memory as it was, by an
   alias with the old history (y itself would own itself through its new one) and the old version: backward then finds that it
   was modified and says so. The same goes for other tensors on y's memory. */
static hg_status save_overwritten(hg_ctx *cx, const hg_op_info *info, hg_arg *saved, uint32_t in, hg_tensor *self,
                                  hg_tensor **alias) {
    for (int i = 1; i < info->n_params; i++) {
        if (!is_saved(saved, in, i) || saved[i].u.t != self) continue;
        hg_status st = *alias ? HG_OK : keep_alias(cx, self, alias);
        if (st != HG_OK) return st;
        saved[i].u.t = *alias;
    }
    return HG_OK;
}

/* Note [Views among the arguments]
   In y.add_(y.t()) the node's edges are those of before the write: the view is brought up to date first, counts as such while
   the node is recorded, and is stale afterwards like every view of what was written. */
static bool is_view_of_self(const hg_arg *a, int i) {
    const hg_tensor *self = a[0].u.t, *t = a[i].kind == HG_A_TENSOR ? a[i].u.t : NULL;
    return i && t && t != self && t->base && t->storage == self->storage;
}

/* Other views as well: one that cannot follow its base is an error before anything is written. */
static hg_status refresh_views(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, uint32_t want) {
    hg_node *fn;
    hg_status st = HG_OK;
    for (int i = 1; i < info->n_params && st == HG_OK; i++)
        if (is_view_of_self(a, i) || (want >> i & 1 && a[i].kind == HG_A_TENSOR))
            st = hg_tensor_grad_fn(cx, a[i].u.t, &fn);
    return st;
}

static void date_views(const hg_op_info *info, const hg_arg *a, uint32_t version) {
    for (int i = 1; i < info->n_params; i++)
        if (is_view_of_self(a, i)) a[i].u.t->seen_version = version;
}

hg_status hg_call_inplace(hg_ctx *cx, int id, const hg_arg *a, int n) {
    const hg_op_info *info = hg_op_at(cx->lib, id);
    if (!info) return hg_no_memory(cx);
    hg_arg room[HG_MAX_PARAMS], saved[HG_MAX_PARAMS], packed[HG_MAX_PARAMS];
    hg_status st = complete(cx, info, a, n, room);
    if (st != HG_OK) return st;
    a = room;
    bool packs = false;
    hg_tensor *self = a[0].u.t, *original = NULL, *alias = NULL;
    uint32_t want = hg_records(cx) ? wanted(cx, info, a) : 0, in = 0, save_out = 0;
    if (!hg_dtype_is_float((hg_dtype)self->dtype)) want = 0;
    st = info->op->flags & HG_ROW_UNASKED ? hg_check_writable(cx, self) : hg_check_inplace(cx, self, want != 0);
    if (st != HG_OK) return st;
    hg_tensor *out[HG_MAX_OUT] = {self};
    hg_node *node = NULL;
    if (!want) { /* nothing is recorded */
        st = compute(cx, info, a, self, out);
        return st == HG_OK ? hg_wrote(cx, self) : st;
    }
    needed(info, a, want, &in, &save_out);
    memcpy(saved, a, info->n_params * sizeof *a);
    if (in & 1) {
        /* What it is about to overwrite, with its history. */
        if ((st = hg_call_op(cx, HG_OP_CLONE, a, 1, &original)) != HG_OK) return st;
        saved[0].u.t = original;
    }
    if (in && (st = save_overwritten(cx, info, saved, in, self, &alias)) != HG_OK) goto done;
    for (hg_tensor *t = self; t && t->base; t = t->base) /* brought up to date */
        if ((st = hg_tensor_grad_fn(cx, t, &node)) != HG_OK) goto done;
    if ((st = refresh_views(cx, info, a, want)) != HG_OK) goto done;
    packs = cx->saved && plain_sizes(info, a) >= 0;
    if (packs && (st = pack_first(cx, info, saved, in, packed)) != HG_OK) goto done;
    if ((st = compute(cx, info, a, self, out)) != HG_OK || (st = hg_wrote(cx, self)) != HG_OK) goto done;
    for (hg_tensor *t = self; t; t = t->base)
        t->seen_version = hg_version(self->storage); /* the rebase says what is stale */
    date_views(info, a, hg_version(self->storage));
    /* The edges are those of self before: its history changes only with the rebase below. */
    cx->packed_first = packs ? packed : NULL;
    st = record(cx, info, a, saved, want, in, out, 1, save_out != 0, &node);
    cx->packed_first = NULL;
    if (st != HG_OK) goto done;
    date_views(info, a, hg_version(self->storage) - 1);
    if (info->op->backward == hg_d_missing) node->args[0] = hg_b(true); /* for its words */
    if (info->op->backward == hg_d_zeros && hg_is_number(&a[1])) node->n_next = 1, node->compares_number = true;
    for (int i = 1; in && !packs && i < info->n_params; i++)
        if (is_saved(saved, in, i) && saved[i].u.t->storage == self->storage) node->args[i].n--;
    hg_retain(cx, node);
    if (info->op->flags & HG_ROW_MOVES && self->view_kind != HG_VIEW_PASSED)
        hg_move_history(cx, self, node);
    else
        st = hg_rebase_history(cx, self, node);
    if (st == HG_OK && save_out) st = hg_keep_output(cx, self, &node->saved_out[0]);
    hg_release(cx, node);
done:
    if (packs) drop_packed(cx, info, packed);
    hg_release(cx, original), hg_release(cx, alias);
    return st;
}

/* ---- For C programs ---------------------------------------------------------------------------------------------------- */

hg_status hg_add(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out) {
    return hg_call_op(cx, HG_OP_ADD, (hg_arg[]){hg_t(a), hg_t(b)}, 2, out);
}
hg_status hg_mul(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out) {
    return hg_call_op(cx, HG_OP_MUL, (hg_arg[]){hg_t(a), hg_t(b)}, 2, out);
}
hg_status hg_matmul(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out) {
    return hg_call_op(cx, HG_OP_MATMUL, (hg_arg[]){hg_t(a), hg_t(b)}, 2, out);
}
hg_status hg_sum(hg_ctx *cx, hg_tensor *a, hg_tensor **out) {
    return hg_call_op(cx, HG_OP_SUM, (hg_arg[]){hg_t(a)}, 1, out);
}
