/* The backward engine.

   Note [One backward]
   1. Find what the roots lead to: a depth-first walk with a stack of its own counts, for every node reached, how many nodes
      will send it a gradient, and, where only some inputs are asked for, whether it lies on the way to one.
   2. Pop ready nodes, newest first. A node's tensor hooks run on the complete sum of what arrived, then what is to be captured
      is captured, then its pre-hooks, itself, and its hooks. What it gives goes to its edges.
   The state of a run hangs on the nodes as tasks: a node may be part of several runs at once (a backward from within a hook,
   or from another thread while a hook waits), each of which finds its own task. */
#include "autograd_impl.h"
#include "k_impl.h"

#include <assert.h>
#include <string.h>

typedef struct hg_task {
    struct hg_run *run;
    struct hg_task *next; /* of the same node, in other runs */
    struct hg_task *all;  /* of the same run */
    hg_node *node;        /* owned */
    hg_tensor **buffer;   /* [n_out], owned: what has arrived so far */
    uint32_t waits_for;   /* how many nodes have yet to send */
    uint32_t visited;     /* edges walked so far, while looking for tasks */
    uint32_t still;       /* waits_for, when an order is asked for */
    bool needed;          /* lies on the way to a wanted input, or everything is wanted */
    bool captures;
    bool is_root;
} hg_task;

/* "The gradient arriving at output nr of that node is result number i." */
typedef struct capture {
    hg_task *task;
    uint32_t nr;
    int result;
    struct capture *next;
} capture;

/* "Call this when the run is done." */
typedef struct then {
    hg_status (*fn)(hg_ctx *cx, void *data);
    void *data; /* held */
    struct then *next;
} then;

/* Room for tasks. A small graph does with what hg_backward() has on its stack. */
typedef struct chunk {
    struct chunk *next;
    void *at[];
} chunk;

enum { FEW_TASKS = 32, FIRST_CHUNK = 4096, LARGEST_CHUNK = 1 << 18, TASK_SLOTS = sizeof(hg_task) / sizeof(void *) };

struct hg_run {
    struct hg_run *outer;
    int depth; /* 1: the outermost */
    int64_t id;
    hg_node *now; /* borrowed: being run */
    then *thens, **last_then;
    hg_task *tasks;
    void **room;    /* where the next task goes */
    size_t n_slots; /* that are left there */
    chunk *chunks;
    size_t chunk_size; /* of the newest one; 0: there is none */
    hg_task **heap;    /* ready, newest on top */
    hg_task **few;     /* the heap a run starts with, which is not its own */
    size_t n_heap, heap_cap;
    bool keep_graph, everything, one_root;
    hg_locals locals;
    capture *captures;
    hg_tensor **results;
};

/* ---- Tasks ------------------------------------------------------------------------------------------------------------ */

static inline hg_task *task_of(const struct hg_run *run, const hg_node *n) {
    hg_task *t = n->tasks;
    while (t && t->run != run) t = t->next;
    return t;
}

static hg_status more_room(hg_ctx *cx, struct hg_run *run, size_t n_slots) {
    size_t least = sizeof(chunk) + n_slots * sizeof(void *);
    size_t size = run->chunk_size ? 2 * run->chunk_size : FIRST_CHUNK;
    if (size > LARGEST_CHUNK) size = LARGEST_CHUNK;
    if (size < least) size = least;
    chunk *more = hg_mem(cx, size);
    if (!more) return HG_MEMORY;
    more->next = run->chunks;
    run->chunks = more, run->chunk_size = size;
    run->room = more->at, run->n_slots = (size - sizeof *more) / sizeof(void *);
    return HG_OK;
}

static hg_status task_new(hg_ctx *cx, struct hg_run *run, hg_node *n, hg_task **out) {
    size_t n_slots = TASK_SLOTS + n->n_out;
    if (n_slots > run->n_slots && more_room(cx, run, n_slots) != HG_OK) return HG_MEMORY;
    hg_task *t = (hg_task *)(void *)run->room;
    run->room += n_slots, run->n_slots -= n_slots;
    *t = (hg_task){.run = run, .node = n, .next = n->tasks, .all = run->tasks, .needed = run->everything};
    t->buffer = (hg_tensor **)(void *)(t + 1);
    for (uint32_t k = 0; k < n->n_out; k++) t->buffer[k] = NULL;
    hg_retain(cx, n);
    n->tasks = run->tasks = t;
    *out = t;
    return HG_OK;
}

static void tasks_free(hg_ctx *cx, struct hg_run *run) {
    while (run->tasks) {
        hg_task *t = run->tasks, **link = &t->node->tasks;
        run->tasks = t->all;
        while (*link != t) link = &(*link)->next;
        *link = t->next;
        for (uint32_t k = 0; k < t->node->n_out; k++) hg_release(cx, t->buffer[k]);
        hg_release(cx, t->node);
    }
    for (chunk *c; (c = run->chunks); hg_mem_free(cx->lib, c)) run->chunks = c->next;
    if (run->heap != run->few) hg_mem_free(cx->lib, run->heap);
}

/* ---- The ready ones: a heap by sequence number ----------------------------------------------------------------------------

   Accumulators all have the same number, and hooks show in which order they run: so equals leave in the order that
   torch's std::priority_queue gives them, the hole sinking to the bottom along right children first. */

static void sift_up(struct hg_run *run, size_t i, hg_task *t) {
    for (; i > 0 && run->heap[(i - 1) / 2]->node->seq < t->node->seq; i = (i - 1) / 2)
        run->heap[i] = run->heap[(i - 1) / 2];
    run->heap[i] = t;
}

static hg_status larger_heap(hg_ctx *cx, struct hg_run *run) {
    size_t cap = 2 * run->heap_cap;
    bool own = run->heap != run->few;
    hg_task **heap = hg_mem_resize(cx, own ? run->heap : NULL, cap * sizeof *heap);
    if (!heap) return HG_MEMORY;
    if (!own) memcpy(heap, run->few, run->heap_cap * sizeof *heap);
    run->heap = heap, run->heap_cap = cap;
    return HG_OK;
}

static inline hg_status push(hg_ctx *cx, struct hg_run *run, hg_task *t) {
    if (run->n_heap == 0) { /* as in a chain, always */
        run->heap[run->n_heap++] = t;
        return HG_OK;
    }
    if (run->n_heap == run->heap_cap && larger_heap(cx, run) != HG_OK) return HG_MEMORY;
    sift_up(run, run->n_heap++, t);
    return HG_OK;
}

static hg_task *pop_of_several(struct hg_run *run) {
    hg_task *top = run->heap[0], *last = run->heap[--run->n_heap];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < run->n_heap; i = child) {
        if (child + 1 < run->n_heap && run->heap[child + 1]->node->seq >= run->heap[child]->node->seq) child++;
        run->heap[i] = run->heap[child];
    }
    sift_up(run, i, last);
    return top;
}

static inline hg_task *pop(struct hg_run *run) {
    return run->n_heap == 1 ? run->heap[--run->n_heap] : pop_of_several(run);
}

/* ---- Finding what to do --------------------------------------------------------------------------------------------------- */

/* Walk from a root; counts waits_for. The heap's memory serves as the stack: nothing is ready yet. */
static hg_status walk(hg_ctx *cx, struct hg_run *run, hg_task *root) {
    size_t depth = 0;
    hg_status st;
    if (root->visited) return HG_OK;
    hg_task *t = root;
    for (;;) {
        if (t->visited < t->node->n_next) {
            hg_node *n = t->node->next[t->visited++].node;
            if (!n) continue;
            hg_task *child = task_of(run, n);
            if (!child && (st = task_new(cx, run, n, &child)) != HG_OK) return st;
            child->waits_for++;
            if (child->visited) { /* walked already: the graph has no cycles */
                t->needed |= child->needed || child->captures;
                continue;
            }
            if (depth == run->heap_cap && (st = larger_heap(cx, run)) != HG_OK) return st;
            run->heap[depth++] = t;
            t = child;
        } else {
            t->visited = UINT32_MAX; /* done; a root met again is not walked again */
            if (depth == 0) return HG_OK;
            hg_task *parent = run->heap[--depth];
            parent->needed |= t->needed || t->captures;
            t = parent;
        }
    }
}

static hg_status want_input(hg_ctx *cx, struct hg_run *run, hg_tensor *input, int i, bool accumulate) {
    hg_edge e = {NULL, 0};
    hg_task *t;
    if (!hg_tensor_requires_grad(input) && accumulate)
        return hg_fail(cx, HG_STATE, "can't retain_grad on Tensor that has requires_grad=False");
    if (!hg_tensor_requires_grad(input))
        return hg_fail(cx, HG_STATE, "One of the differentiated Tensors does not require grad");
    hg_status st = hg_gradient_edge(cx, input, &e);
    if (st != HG_OK || !e.node) return st; /* a view made under no_grad: nothing leads there */
    if (!(t = task_of(run, e.node)) && (st = task_new(cx, run, e.node, &t)) != HG_OK) goto done;
    if (accumulate) { /* the node itself is to run: it accumulates, or fills a retained .grad on the way */
        t->needed = true;
        if (input->grad_fn && input->view_kind != HG_STANDS_FOR_EDGE) st = hg_tensor_retain_grad(cx, input);
    } else {
        capture *c = hg_mem(cx, sizeof *c);
        if (!c) {
            st = HG_MEMORY;
            goto done;
        }
        *c = (capture){t, e.nr, i, run->captures};
        run->captures = c;
        t->captures = true;
    }
done:
    hg_release(cx, e.node);
    return st;
}

/* ---- Gradients on their way ----------------------------------------------------------------------------------------------- */

/* A gradient in a broadcast shape is summed to the shape of what it is the gradient of. */
static hg_tensor *sum_to(hg_ctx *cx, hg_tensor *g, hg_meta to, bool seen) {
    int64_t dims[HG_MAX_DIM];
    if (to.n_dim == 0) return X(SUM, T(g));
    int n = 0, lead = g->n_dim - to.n_dim;
    for (int i = 0; i < g->n_dim; i++)
        if (i < lead || (to.shape[i - lead] == 1 && g->shape[i] != 1)) dims[n++] = i;
    /* Where nobody sees how, leading dimensions just go: what is no view need not be copied into .grad. */
    bool at_once = n == lead && !seen && !cx->grad_enabled && !cx->lib->watch.calling;
    if (n) g = X(SUM_DIM, T(g), hg_ints(dims, n), hg_b(!at_once));
    return lead && !at_once ? X(VIEW_SIZE, T(g), hg_ints(to.shape, to.n_dim)) : g;
}

static bool expands(hg_meta from, const hg_tensor *g) {
    int lead = g->n_dim - from.n_dim;
    if (lead < 0) return false;
    for (int i = 0; i < from.n_dim; i++)
        if (from.shape[i] != g->shape[i + lead] && from.shape[i] != 1) return false;
    return true;
}

/* What a gradient that goes there is to be. */
static inline hg_meta meta_at(hg_edge to) {
    hg_meta m = to.node->outs[to.nr];
    if (to.node->type == &hg_accumulate_node && to.node->args[0].u.t)
        m.dtype = (uint8_t)hg_tensor_grad_dtype(to.node->args[0].u.t);
    return m;
}

/* Does anybody see what arrives there: a hook, or who asked for the gradient? */
static bool sees(hg_edge to) {
    const hg_tensor *leaf = to.node->type == &hg_accumulate_node ? to.node->args[0].u.t : NULL;
    if (to.node->hooks || (leaf && leaf->extra && leaf->extra->hooks)) return true;
    for (const hg_task *t = to.node->tasks; t; t = t->next)
        if (t->captures) return true;
    return false;
}

/* On another device than what it is the gradient of? A tensor without memory is on any. */
static inline bool elsewhere(hg_ctx *cx, hg_meta to, const hg_tensor *g) {
    return cx->lib->metas && hg_is_meta(g) != to.on_meta && !hg_is_hollow(g);
}

/* Make *g, which does not, fit what it is the gradient of; replaces the reference. */
static hg_status make_fit(hg_ctx *cx, const hg_node *by, uint32_t i, hg_edge to, hg_meta m, hg_tensor **g) {
    bool given = by == to.node; /* by whoever called backward() */
    bool shaped = hg_same_dims((*g)->n_dim, (*g)->shape, m.n_dim, m.shape);
    char got[256], want[256], name[HG_NODE_NAME];
    if (!shaped && !expands(m, *g))
        return hg_fail(cx, HG_STATE,
                       "%s%s%sinvalid gradient at index %u - got %s but expected shape compatible with %s",
                       given ? "" : "Function ", given ? "" : hg_node_full_name(by, name), given ? "" : " returned an ",
                       i, hg_show_shape(*g, got), hg_show_sizes(m.n_dim, m.shape, want));
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *fits = shaped ? *g : sum_to(cx, *g, m, by->hooks || sees(to));
    if (fits && fits->dtype != m.dtype) fits = X(TO_COPY, T(fits), hg_d((hg_dtype)m.dtype));
    hg_tensor *kept = NULL;
    hg_status st = hg_scope_return(cx, &s, fits, &kept);
    if (st == HG_OK) hg_release(cx, *g), *g = kept;
    if (st != HG_OK || !elsewhere(cx, m, *g)) return st;
    if ((*g)->n_dim == 0 || (!given && by->op == hg_op_at(cx->lib, HG_OP_TO_COPY))) return hg_move_to(cx, m.on_meta, g);
    return hg_fail(cx, HG_STATE, "%s%s%sinvalid gradient at index %u - expected device %s but got %s",
                   given ? "" : "Function ", given ? "" : hg_node_full_name(by, name), given ? "" : " returned an ", i,
                   m.on_meta ? "meta" : "cpu", m.on_meta ? "cpu" : "meta");
}

static __attribute__((noinline)) hg_status fit_if_not(hg_ctx *cx, const hg_node *by, uint32_t i, hg_edge to,
                                                      hg_tensor **g) {
    hg_meta m = meta_at(to);
    if (m.dtype == HG_NO_DTYPE) /* a leaf takes any; a cast turns back itself */
        m.dtype = by->op && by->op == hg_op_at(cx->lib, HG_OP_TO_COPY) ? to.node->outs[to.nr].dtype : (*g)->dtype;
    bool fits = (*g)->dtype == m.dtype && hg_same_dims((*g)->n_dim, (*g)->shape, m.n_dim, m.shape) &&
                !elsewhere(cx, m, *g);
    return fits ? HG_OK : make_fit(cx, by, i, to, m, g);
}

/* Most gradients do. */
static inline hg_status fit(hg_ctx *cx, const hg_node *by, uint32_t i, hg_edge to, hg_tensor **g) {
    const hg_meta *m = &to.node->outs[to.nr];
    const hg_tensor *leaf = to.node->type == &hg_accumulate_node ? to.node->args[0].u.t : NULL, *t = *g;
    bool plain = t->dtype == m->dtype && !cx->lib->metas &&
                 (!leaf || (leaf->dtype == m->dtype && !(leaf->extra && leaf->extra->has_grad_dtype)));
    bool fits = plain && hg_same_dims(t->n_dim, t->shape, m->n_dim, m->shape);
    return fits ? HG_OK : fit_if_not(cx, by, i, to, g);
}

/* A node's gradients fit its inputs before its hooks see them; where nobody does, they are made to when they are sent. */
static hg_status fit_all(hg_ctx *cx, const hg_node *by, hg_tensor **grad_in) {
    hg_status st = HG_OK;
    for (uint32_t i = 0; i < by->n_next && st == HG_OK; i++) {
        hg_edge e = by->next[i];
        if (e.node && grad_in[i]) st = fit(cx, by, i, e, &grad_in[i]);
    }
    return st;
}

/* Add g to what has arrived; steals g. Into a buffer nobody else holds, in place. */
static hg_status add_to(hg_ctx *cx, hg_tensor **slot, hg_tensor *g) {
    hg_tensor *b = *slot, *sum = NULL;
    bool own = !cx->grad_enabled && b->contiguous && !b->base && b->storage->n_ref == 1 && !b->storage->free &&
               b->dtype == g->dtype && hg_is_unique(b) && !hg_sees(cx, b) && !hg_sees(cx, g);
    hg_status st = HG_OK;
    if (own && !cx->lib->watch.calling && !cx->lib->watch.writing && hg_raw_add_plain(b, g)) {
        ++*hg_version_of(b->storage);
    } else {
        hg_arg both[] = {hg_t(b), hg_t(g)};
        st = own ? hg_call_inplace(cx, HG_OP_ADD, both, 2) : hg_call_op(cx, HG_OP_ADD, both, 2, &sum);
    }
    if (st == HG_OK && sum) *slot = sum, hg_release(cx, b);
    hg_release(cx, g);
    return st;
}

/* g has come to output nr: steals it. */
static inline hg_status arrive(hg_ctx *cx, hg_task *t, uint32_t nr, hg_tensor *g) {
    hg_tensor **slot = &t->buffer[nr];
    if (*slot) return add_to(cx, slot, g);
    *slot = g;
    return HG_OK;
}

static hg_status send(hg_ctx *cx, struct hg_run *run, hg_node *from, hg_tensor **grad_in, bool fitted) {
    hg_status st = HG_OK;
    for (uint32_t i = 0; i < from->n_next && st == HG_OK; i++) {
        hg_edge e = from->next[i];
        if (!e.node) continue;
        hg_task *to = task_of(run, e.node);
        if (grad_in[i] && (fitted || (st = fit(cx, from, i, e, &grad_in[i])) == HG_OK))
            st = arrive(cx, to, e.nr, grad_in[i]), grad_in[i] = NULL;
        if (st == HG_OK && --to->waits_for == 0) st = push(cx, run, to);
    }
    return st;
}

/* ---- Running a node -------------------------------------------------------------------------------------------------------- */

static hg_status run_tensor_hooks(hg_ctx *cx, hg_hooks *h, hg_tensor **grad) {
    if (!h || !h->n) return HG_OK; /* they run where no gradient has come, too */
    hg_call call = {.kind = HG_HOOK_TENSOR, .grad = hg_value_of(*grad)};
    hg_retain(cx, h); /* a hook may drop the last reference to its table */
    hg_status st = hg_hooks_run(cx, h, &call);
    hg_release(cx, h);
    *grad = hg_value_tensor(call.grad); /* the reference moved along */
    return st;
}

static hg_status fill_retained(hg_ctx *cx, hg_tensor *t, hg_tensor *grad) {
    hg_tensor *sum = NULL, *before = t->grad;
    hg_status st;
    if (!grad) return HG_OK;
    hg_retain(cx, before);
    if (!before)
        st = hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(grad), hg_format_arg(HG_FORMAT_CONTIGUOUS)}, 2, &sum);
    else
        st = hg_call_op(cx, HG_OP_ADD, (hg_arg[]){hg_t(before), hg_t(grad)}, 2, &sum);
    hg_release(cx, before);
    if (st != HG_OK) return st;
    hg_put_grad(cx, t, sum);
    return HG_OK;
}

/* Tensor hooks in the order of registration, by output, then those of retain_grad: they see the final value. */
static hg_status before_node(hg_ctx *cx, hg_node *n, hg_tensor **grad) {
    hg_status st = HG_OK;
    if (n->type == &hg_accumulate_node) {
        hg_tensor *var = n->args[0].u.t;
        return var && var->extra ? run_tensor_hooks(cx, var->extra->hooks, &grad[0]) : HG_OK;
    }
    /* As in torch: an output that gets its first hook meanwhile waits for the next run. */
    uint32_t k = n->hooks ? n->hooks->first : 0, last = k ? n->hooks->last : 0;
    for (; k && st == HG_OK; k = k == last ? 0 : n->hooks->out[k - 1].next)
        st = run_tensor_hooks(cx, n->hooks->out[k - 1].hooks, &grad[k - 1]);
    for (k = 0; n->hooks && k < n->n_out && st == HG_OK; k++) {
        hg_tensor *keeper = n->hooks->out[k].retains;
        if (!keeper) continue;
        hg_retain(cx, keeper);
        st = fill_retained(cx, keeper, grad[k]);
        hg_release(cx, keeper);
    }
    return st;
}

static hg_status tuple_of(hg_ctx *cx, hg_tensor *const *at, uint32_t n, hg_value *out) {
    hg_value few[8], *v = few;
    assert(at || n == 0);
    few[0] = (hg_value){0}; /* for the compiler, where n is 0 */
    if (n > 8 && !(v = hg_mem(cx, n * sizeof *v))) return HG_MEMORY;
    for (uint32_t i = 0; i < n; i++) v[i] = hg_value_of(at[i]);
    hg_status st = hg_tuple_new(cx, NULL, v, n, out);
    if (st != HG_OK) cx->status = st;
    if (v != few) hg_mem_free(cx->lib, v);
    return st;
}

/* The tuple's tensors, retained, in place of what was in at[n]. */
static hg_status tuple_back(hg_ctx *cx, hg_value tuple, hg_tensor **at, uint32_t n, const hg_node *node) {
    size_t size = tuple.kind == HG_V_TUPLE ? HOST(cx)->tuple_size(HOST(cx)->ud, tuple.obj) : 0;
    if (size != n)
        return hg_fail(cx, HG_STATE, "hook of %s returned %zu gradients, expected %u", hg_node_name(node), size, n);
    assert(at || n == 0);
    for (uint32_t i = 0; i < n; i++) {
        hg_value v = HOST(cx)->tuple_at(HOST(cx)->ud, tuple.obj, i);
        hg_tensor *g = hg_value_tensor(v), *old = at[i];
        if (v.kind != HG_V_TENSOR && v.kind != HG_V_NONE)
            return hg_fail(cx, HG_TYPE, "expected Variable, but hook returned something else at index %u", i);
        hg_retain(cx, g);
        at[i] = g;
        hg_release(cx, old);
    }
    return HG_OK;
}

/* grad may be NULL: the hooks are shown none. */
static hg_status run_node_hooks(hg_ctx *cx, hg_node *n, hg_hooks *h, hg_tensor **grad, hg_tensor **grad_in) {
    if (!h || !h->n) return HG_OK;
    bool pre = h->kind == HG_HOOK_NODE_PRE;
    hg_call call = {.kind = h->kind, .node = n};
    uint32_t n_out = (uint32_t)hg_node_n_out(n);
    hg_status st = tuple_of(cx, grad, grad ? n_out : 0, &call.grad_output);
    if (st == HG_OK && !pre) st = tuple_of(cx, grad_in, n->n_next, &call.grad_input);
    if (st == HG_OK) {
        hg_retain(cx, h);
        st = hg_hooks_run(cx, h, &call);
        hg_release(cx, h);
    }
    if (st == HG_OK)
        st = pre ? tuple_back(cx, call.grad_output, grad, n_out, n)
                 : tuple_back(cx, call.grad_input, grad_in, n->n_next, n);
    hg_value_release(cx, call.grad_output);
    hg_value_release(cx, call.grad_input);
    return st;
}

static hg_status has_nan(hg_ctx *cx, hg_tensor *t, bool *out) {
    hg_tensor *differs = NULL, *any = NULL;
    hg_arg item;
    bool grad = cx->grad_enabled;
    cx->grad_enabled = false;
    hg_status st = hg_call_op(cx, HG_OP_NE, (hg_arg[]){hg_t(t), hg_t(t)}, 2, &differs);
    if (st == HG_OK) st = hg_call_op(cx, HG_OP_ANY, (hg_arg[]){hg_t(differs)}, 1, &any);
    if (st == HG_OK) st = hg_item(cx, any, &item);
    if (st == HG_OK) *out = item.u.i;
    cx->grad_enabled = grad;
    hg_release(cx, differs), hg_release(cx, any);
    return st;
}

static hg_status check_nan(hg_ctx *cx, const hg_node *n, hg_tensor *const *grad_in) {
    for (uint32_t i = 0; i < n->n_next; i++) {
        bool nan = false;
        hg_status st = grad_in[i] && hg_dtype_is_float((hg_dtype)grad_in[i]->dtype) ? has_nan(cx, grad_in[i], &nan)
                                                                                    : HG_OK;
        if (st != HG_OK) return st;
        char name[HG_NODE_NAME];
        if (nan)
            return hg_fail(cx, HG_STATE, "Function '%s' returned nan values in its %uth output.",
                           hg_node_full_name(n, name), i);
    }
    return HG_OK;
}

static void take_captured(hg_ctx *cx, struct hg_run *run, hg_task *t) {
    for (capture *c = run->captures; c; c = c->next)
        if (c->task == t && t->buffer[c->nr] && run->results) {
            hg_retain(cx, t->buffer[c->nr]);
            hg_release(cx, run->results[c->result]);
            run->results[c->result] = t->buffer[c->nr];
        }
}

static hg_status run_task(hg_ctx *cx, struct hg_run *run, hg_task *t) {
    hg_node *n = t->node;
    hg_tensor **grad = t->buffer;
    /* Nor is anything behind it. As in torch the tensor hooks of a root run all the same, where it is the only one. */
    if (!t->needed && !t->captures && !(t->is_root && run->one_root)) return HG_OK;
    /* As in torch: a captured gradient has been through the tensor's hooks, but not where the node itself runs as well. */
    if (t->needed && t->captures) take_captured(cx, run, t);
    hg_status st = before_node(cx, n, grad);
    if (st != HG_OK) return st;
    if (!t->needed) return take_captured(cx, run, t), HG_OK;
    if (n->hooks && (st = run_node_hooks(cx, n, n->hooks->pre, grad, NULL)) != HG_OK) return st;

    hg_tensor *few[8] = {NULL}, **grad_in = few;
    if (n->n_next > 8) {
        if (!(grad_in = hg_mem(cx, n->n_next * sizeof *grad_in))) return HG_MEMORY;
        memset(grad_in, 0, n->n_next * sizeof *grad_in);
    }
    /* As in torch: a node that had no hooks has used up its gradients when its backward registers the first one. */
    bool shows = n->hooks && n->hooks->post && n->hooks->post->n;
    st = n->type->apply(cx, n, grad, grad_in);
    bool seen = n->type != &hg_op_node || n->hooks || cx->lib->watch.check_nan; /* what it gives, by others */
    if (st == HG_OK && seen) st = fit_all(cx, n, grad_in);
    if (st == HG_OK && n->hooks) st = run_node_hooks(cx, n, n->hooks->post, shows ? grad : NULL, grad_in);
    if (st == HG_OK && seen && !run->keep_graph) hg_node_free_saved(cx, n);
    if (st == HG_OK && cx->lib->watch.check_nan) st = check_nan(cx, n, grad_in);
    if (st == HG_OK) { /* what arrived is done with: its memory can serve the next node */
        for (uint32_t k = 0; k < n->n_out; k++) hg_release(cx, grad[k]), grad[k] = NULL;
        st = send(cx, run, n, grad_in, seen);
    }
    if (st == HG_OK && !seen && !run->keep_graph) hg_node_free_saved(cx, n); /* as they may not fit */
    for (uint32_t i = 0; (seen || st != HG_OK) && i < n->n_next; i++) hg_release(cx, grad_in[i]);
    if (grad_in != few) hg_mem_free(cx->lib, grad_in);
    return st;
}

static hg_status run_node(hg_ctx *cx, struct hg_run *run, hg_task *t) {
    run->now = t->node;
    hg_status st = hg_locals_restore(cx, &run->locals, run_task(cx, run, t));
    if (st != HG_OK && cx->lib->watch.failed) cx->lib->watch.failed(cx, t->node);
    run->now = NULL;
    return st;
}

const struct hg_run *hg_partial_run(const hg_ctx *cx, const hg_node *n) {
    const struct hg_run *run = cx->run;
    bool runs_it = run && !run->everything && (run->now == n || (n->outer && run->now == n->outer));
    return runs_it ? run : NULL;
}

bool hg_run_wants(const struct hg_run *run, const hg_node *to) {
    const hg_task *t = task_of(run, to);
    return !t || t->needed || t->captures; /* one that has no task stands within a node, as what CopySlices wraps */
}

bool hg_backward_wants(const hg_ctx *cx, const hg_node *n, uint32_t edge) {
    const struct hg_run *run = hg_partial_run(cx, n);
    const hg_node *to = n->next[edge].node;
    return to && (!run || hg_run_wants(run, to));
}

/* ---- What hooks may ask and leave behind ----------------------------------------------------------------------------------- */

int hg_backward_depth(const hg_ctx *cx) { return cx->run ? cx->run->depth : 0; }
int64_t hg_backward_id(const hg_ctx *cx) { return cx->run ? cx->run->id : -1; }
hg_node *hg_backward_node(const hg_ctx *cx) { return cx->run ? cx->run->now : NULL; }

bool hg_backward_keeps(const hg_ctx *cx) { return !cx->run || cx->run->keep_graph; }

bool hg_backward_is_whole(const hg_ctx *cx) {
    const struct hg_run *run = cx->run;
    while (run && run->everything) run = run->outer;
    return !run;
}

hg_status hg_backward_will_run(hg_ctx *cx, const hg_node *n, bool *out) {
    const hg_task *t = cx->run ? task_of(cx->run, n) : NULL;
    /* As in PyTorch the node that a run starts from, being the only one, does not count. */
    bool starts = t && t->is_root && cx->run->one_root;
    *out = t && !starts && t->visited && (t->needed || t->captures);
    if (*out && !t->needed && n->type == &hg_accumulate_node)
        return hg_fail(cx, HG_STATE,
                       "A leaf node was passed to _will_engine_execute_node but we are currently running "
                       "autograd.grad(). This is currently not supported.");
    return HG_OK;
}

hg_status hg_backward_order(hg_ctx *cx, hg_status (*each)(hg_ctx *cx, hg_node *n, void *arg), void *arg) {
    hg_task *few[FEW_TASKS];
    struct hg_run again = {.heap = few, .few = few, .heap_cap = FEW_TASKS}; /* its heap */
    hg_status st = HG_OK;
    hg_task *t = cx->run ? cx->run->tasks : NULL;
    for (; t; t = t->all) t->still = 0;
    for (t = cx->run ? cx->run->tasks : NULL; t; t = t->all)
        for (uint32_t i = 0; t->visited && i < t->node->n_next; i++)
            if (t->node->next[i].node) task_of(cx->run, t->node->next[i].node)->still++;
    for (t = cx->run ? cx->run->tasks : NULL; t && st == HG_OK; t = t->all)
        if (t->is_root && !t->still) st = push(cx, &again, t);
    while (st == HG_OK && again.n_heap) {
        t = pop(&again);
        if (t->needed || t->captures) st = each(cx, t->node, arg);
        for (uint32_t i = 0; i < t->node->n_next && st == HG_OK; i++) {
            hg_task *to = t->node->next[i].node ? task_of(cx->run, t->node->next[i].node) : NULL;
            if (to && !--to->still) st = push(cx, &again, to);
        }
    }
    if (again.heap != few) hg_mem_free(cx->lib, again.heap);
    return st;
}

hg_status hg_backward_then(hg_ctx *cx, hg_status (*fn)(hg_ctx *cx, void *data), void *data) {
    if (!cx->run) return hg_fail(cx, HG_STATE, "Final callbacks can only be installed during backward pass.");
    then *after = hg_mem(cx, sizeof *after);
    if (!after) return HG_MEMORY;
    HOST(cx)->hold(HOST(cx)->ud, data);
    *after = (then){fn, data, NULL};
    *cx->run->last_then = after;
    cx->run->last_then = &after->next;
    return HG_OK;
}

/* Callbacks may leave further ones. After a failure they are only let go. */
static hg_status run_thens(hg_ctx *cx, struct hg_run *run, hg_status st) {
    while (run->thens) {
        then now = *run->thens;
        hg_mem_free(cx->lib, run->thens);
        if (!(run->thens = now.next)) run->last_then = &run->thens;
        if (st == HG_OK && (st = now.fn(cx, now.data)) != HG_OK) cx->status = st;
        HOST(cx)->drop(HOST(cx)->ud, now.data);
    }
    return st;
}

/* ---- Backward --------------------------------------------------------------------------------------------------------------- */

/* As in PyTorch gradients are looked at first, then roots; inputs come after both. */
static hg_status check_roots(hg_ctx *cx, hg_tensor *const *roots, hg_tensor *const *grads, int n) {
    char a[256], b[256];
    hg_node *fn;
    int without = n;
    for (int i = n - 1; i >= 0; i--) {
        hg_status st = hg_tensor_grad_fn(cx, roots[i], &fn);
        if (st != HG_OK) return st;
        if (!fn && !roots[i]->requires_grad) without = i;
    }
    for (int i = 0; i < n; i++) {
        hg_tensor *root = roots[i], *given = grads ? grads[i] : NULL;
        if (given && !hg_same_shape(root, given))
            return hg_fail(cx, HG_STATE,
                           "Mismatch in shape: grad_output[%d] has a shape of torch.Size(%s) and output[%d] has a "
                           "shape of torch.Size(%s).",
                           i, hg_show_shape(given, a), i, hg_show_shape(root, b));
        if (!given && root->numel != 1 && i < without)
            return hg_fail(cx, HG_STATE, "grad can be implicitly created only for scalar outputs");
    }
    if (without == n) return HG_OK;
    return hg_fail(cx, HG_STATE, "element %d of tensors does not require grad and does not have a grad_fn", without);
}

/* The gradient to start from at a root: what was given, or one. New. */
static hg_status root_grad(hg_ctx *cx, hg_tensor *root, hg_tensor *given, hg_tensor **out) {
    if (given) {
        hg_retain(cx, given);
        *out = given;
        return HG_OK;
    }
    if (!root->plain || cx->lib->watch.calling) return hg_call_op(cx, HG_OP_ONES_LIKE, (hg_arg[]){hg_t(root)}, 1, out);
    hg_tensor *one;
    hg_status st = hg_tensor_empty_like(cx, root, (hg_dtype)root->dtype, &one);
    if (st != HG_OK) return st;
    hg_put_number(hg_i(1), (hg_dtype)one->dtype, one->data);
    *out = one;
    return HG_OK;
}

static hg_status prepare(hg_ctx *cx, struct hg_run *run, hg_tensor *const *roots, hg_tensor *const *grads, int n) {
    hg_status st = HG_OK;
    for (int i = 0; i < n && st == HG_OK; i++) {
        hg_tensor *g = NULL;
        hg_edge e = {NULL, 0};
        hg_task *t = NULL;
        if ((st = root_grad(cx, roots[i], grads ? grads[i] : NULL, &g)) != HG_OK) return st;
        if ((st = hg_gradient_edge(cx, roots[i], &e)) == HG_OK && !(t = task_of(run, e.node)))
            st = task_new(cx, run, e.node, &t);
        if (st == HG_OK) st = walk(cx, run, t);
        if (st == HG_OK) st = fit(cx, e.node, (uint32_t)i, e, &g);
        if (st == HG_OK) st = arrive(cx, t, e.nr, g), g = NULL;
        if (st == HG_OK && n == 1) t->is_root = true, st = push(cx, run, t); /* nothing leads to it */
        if (st == HG_OK && n > 1) t->waits_for++;                            /* for push_roots() */
        hg_release(cx, g);
        hg_release(cx, e.node);
    }
    return st;
}

/* Of several roots those that nothing else leads to are ready, one given twice the second time; the others wait. */
static hg_status push_roots(hg_ctx *cx, struct hg_run *run, hg_tensor *const *roots, int n) {
    for (int i = 0; i < n; i++) {
        hg_edge e;
        hg_status st = hg_gradient_edge(cx, roots[i], &e);
        if (st != HG_OK) return st;
        hg_task *t = task_of(run, e.node);
        t->is_root = true;
        if (--t->waits_for == 0) st = push(cx, run, t);
        hg_release(cx, e.node);
        if (st != HG_OK) return st;
    }
    return HG_OK;
}

static hg_status check_results(hg_ctx *cx, int n, bool allow_unused, hg_tensor **results) {
    for (int i = 0; i < n && !allow_unused; i++)
        if (!results[i])
            return hg_fail(cx, HG_STATE,
                           "The differentiated Tensor at index %d appears to not have been used in the graph. Set "
                           "allow_unused=True if this is the desired behavior.",
                           i);
    return HG_OK;
}

hg_status hg_backward(hg_ctx *cx, hg_tensor *const *roots, hg_tensor *const *grads, int n, bool keep_graph,
                      bool create_graph, hg_tensor *const *inputs, int n_inputs, bool allow_unused,
                      hg_tensor **results) {
    void *room[FEW_TASKS * (TASK_SLOTS + 1)];
    hg_task *few[FEW_TASKS];
    struct hg_run run = {.outer = cx->run,
                         .room = room,
                         .n_slots = sizeof room / sizeof *room,
                         .heap = few,
                         .few = few,
                         .heap_cap = FEW_TASKS,
                         .depth = hg_backward_depth(cx) + 1,
                         .keep_graph = keep_graph,
                         .everything = n_inputs < 0,
                         .one_root = n == 1,
                         .results = results,
                         .id = cx->lib->n_runs++,
                         .last_then = &run.thens};
    bool grad_was = cx->grad_enabled;
    hg_status st = HG_OK;
    hg_scope *scope_was = cx->scope;
    for (int i = 0; results && i < n_inputs; i++) results[i] = NULL;
    cx->run = &run;
    cx->grad_enabled = create_graph;
    st = hg_locals_keep(cx, &run.locals);
    if (st == HG_OK) st = check_roots(cx, roots, grads, n);
    for (int i = 0; i < n_inputs && st == HG_OK; i++) st = want_input(cx, &run, inputs[i], i, results == NULL);
    if (st == HG_OK) st = prepare(cx, &run, roots, grads, n);
    if (st == HG_OK && n > 1) st = push_roots(cx, &run, roots, n);
    while (st == HG_OK && run.n_heap) st = run_node(cx, &run, pop(&run));
    st = hg_locals_restore(cx, &run.locals, run_thens(cx, &run, st));
    hg_locals_drop(cx, &run.locals);
    cx->grad_enabled = grad_was;
    cx->run = run.outer;
    cx->scope = scope_was;
    tasks_free(cx, &run);
    while (run.captures) {
        capture *c = run.captures;
        run.captures = c->next;
        hg_mem_free(cx->lib, c);
    }
    if (st == HG_OK && results) st = check_results(cx, n_inputs, allow_unused, results);
    for (int i = 0; results && st != HG_OK && i < n_inputs; i++) {
        hg_release(cx, results[i]);
        results[i] = NULL;
    }
    return st;
}
