/* Hook tables. What calls them, and when, is in engine.c and module.c. */
#include "autograd_impl.h"
#include "module_impl.h"

#include <string.h>

hg_status hg_hooks_new(hg_ctx *cx, hg_hook_kind kind, hg_hooks **out) {
    hg_hooks *h = HOST(cx)->alloc(HOST(cx)->ud, HG_KIND_HOOKS, sizeof *h);
    if (!h) return hg_no_memory(cx);
    h->kind = kind;
    *out = h;
    return HG_OK;
}

uint64_t hg_next_hook_id(hg_lib *lib) { return lib->next_hook_id++; }
uint64_t hg_peek_hook_id(const hg_lib *lib) { return lib->next_hook_id; }
void hg_set_next_hook_id(hg_lib *lib, uint64_t id) { lib->next_hook_id = id; }

hg_hook *hg_hooks_find(const hg_hooks *h, uint64_t id) {
    if (!h->n || (!h->unsorted && (id > h->at[h->n - 1].id || id < h->at[0].id))) return NULL;
    if (h->at[0].id == id) return &h->at[0];
    uint32_t low = 0, high = h->n;
    while (!h->unsorted && high - low > 4) {
        uint32_t middle = (low + high) / 2;
        if (h->at[middle].id <= id)
            low = middle;
        else
            high = middle;
    }
    for (uint32_t i = low; i < high; i++)
        if (h->at[i].id == id) return &h->at[i];
    return NULL;
}

static void drop(const hg_hook *hook) {
    if (hook->drop) hook->drop(hook->data);
}

/* One more hook fits behind the last. On failure the table is what it was. */
static hg_status make_room(hg_ctx *cx, hg_hooks *h) {
    uint32_t skipped = (uint32_t)(h->at - h->memory);
    if (h->n + skipped < h->cap) return HG_OK;
    if (skipped > h->n) {
        memcpy(h->memory, h->at, h->n * sizeof *h->at);
        h->at = h->memory;
        return HG_OK;
    }
    uint32_t cap = h->cap ? 2 * h->cap : 2;
    hg_hook *memory = hg_mem_resize(cx, h->memory, cap * sizeof *memory);
    if (!memory) return HG_MEMORY;
    h->memory = memory, h->cap = cap;
    h->at = memory + skipped;
    return HG_OK;
}

hg_status hg_hooks_put(hg_ctx *cx, hg_hooks *h, const hg_hook *hook) {
    hg_hook *known = hg_hooks_find(h, hook->id);
    if (known) {
        hg_hook old = *known;
        if (hook->hold) hook->hold(hook->data);
        *known = *hook;
        drop(&old);
        return HG_OK;
    }
    HG_TRY(make_room(cx, h));
    bool first = hook->flags & HG_HOOK_PREPEND;
    uint32_t place = first ? 0 : h->n;
    if (h->n) h->unsorted |= first ? hook->id > h->at[0].id : hook->id < h->at[h->n - 1].id;
    memmove(h->at + place + 1, h->at + place, (h->n - place) * sizeof *h->at);
    h->at[place] = *hook;
    h->n++;
    if (hook->hold) hook->hold(hook->data);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_HOOKS, h);
    return HG_OK;
}

bool hg_hooks_remove(hg_ctx *cx, hg_hooks *h, uint64_t id) {
    (void)cx;
    hg_hook *hook = hg_hooks_find(h, id);
    if (!hook) return false;
    hg_hook old = *hook;
    if (hook == h->at)
        h->at++;
    else
        memmove(hook, hook + 1, (size_t)(h->at + h->n - hook - 1) * sizeof *hook);
    if (!--h->n) h->at = h->memory, h->unsorted = false;
    drop(&old); /* last: it may run anything */
    return true;
}

void hg_hooks_finalize(hg_lib *lib, hg_hooks *h) {
    hg_hook *at = h->at, *memory = h->memory;
    uint32_t n = h->n;
    h->at = h->memory = NULL, h->n = h->cap = 0, h->unsorted = false;
    for (uint32_t i = 0; i < n; i++) drop(&at[i]);
    hg_mem_free(lib, memory);
}

void hg_hooks_move(hg_hooks *h, uint32_t from, bool last) {
    hg_hook moved = h->at[from];
    if (last)
        memmove(h->at + from, h->at + from + 1, (h->n - from - 1) * sizeof moved);
    else
        memmove(h->at + 1, h->at, from * sizeof moved);
    h->at[last ? h->n - 1 : 0] = moved;
    h->unsorted = true;
}

void hg_hooks_clear(hg_ctx *cx, hg_hooks *h) { hg_hooks_finalize(cx->lib, h); }

/* A hook's data is the host's to show to its collector: it knows which ones it registered, and what they own. The core's
   own hooks are those of module calls. */
int hg_hooks_visit(hg_hooks *h, hg_visit_fn visit, void *arg) {
    int r = 0;
    for (uint32_t i = 0; i < h->n && !r; i++)
        if (hg_backward_hook_is(&h->at[i])) r = hg_backward_hook_visit(&h->at[i], visit, arg);
    return r;
}

/* Hooks added during a run wait for the next run; hooks removed during it still fire: torch's rule. */
hg_status hg_hooks_run(hg_ctx *cx, hg_hooks *h, hg_call *call) {
    if (!h || h->n == 0) return HG_OK;
    uint32_t n = h->n;
    hg_hook few[8], *snap = few;
    if (n > 8 && !(snap = hg_mem(cx, n * sizeof *snap))) return HG_MEMORY;
    memcpy(snap, h->at, n * sizeof *snap);
    for (uint32_t i = 0; i < n; i++)
        if (snap[i].hold) snap[i].hold(snap[i].data);
    hg_status st = HG_OK;
    for (uint32_t i = 0; i < n && st == HG_OK; i++) {
        call->flags = snap[i].flags;
        call->id = snap[i].id;
        call->file = snap[i].file, call->line = snap[i].line;
        st = snap[i].fn(cx, call, snap[i].data);
    }
    for (uint32_t i = 0; i < n; i++)
        if (snap[i].hold) drop(&snap[i]);
    if (snap != few) hg_mem_free(cx->lib, snap);
    return st;
}

/* ---- Where tables hang -------------------------------------------------------------------------------------------------- */

static hg_status demand(hg_ctx *cx, hg_hooks **slot, hg_hook_kind kind) {
    return *slot ? HG_OK : hg_hooks_new(cx, kind, slot);
}

hg_status hg_global_hooks(hg_ctx *cx, hg_hook_kind kind, hg_hooks **out) {
    hg_status st = demand(cx, &cx->lib->globals[kind], kind);
    if (st == HG_OK) *out = cx->lib->globals[kind];
    return st;
}

hg_status hg_node_extra_of(hg_ctx *cx, hg_node *n) {
    if (n->hooks) return HG_OK;
    size_t size = sizeof *n->hooks + n->n_out * sizeof *n->hooks->out;
    hg_node_extra *e = hg_mem(cx, size);
    if (!e) return HG_MEMORY;
    memset(e, 0, size);
    n->hooks = e;
    return HG_OK;
}

hg_status hg_node_hooks(hg_ctx *cx, hg_node *n, hg_hook_kind kind, bool make, hg_hooks **out) {
    hg_status st = HG_OK;
    if (make && (st = hg_node_extra_of(cx, n)) != HG_OK) return st;
    if (!n->hooks) {
        *out = NULL;
        return HG_OK;
    }
    hg_hooks **slot = kind == HG_HOOK_NODE_PRE ? &n->hooks->pre : &n->hooks->post;
    if (make && (st = demand(cx, slot, kind)) != HG_OK) return st;
    *out = *slot;
    return HG_OK;
}

/* Hang t's table on the node that made it: hooks stay with the history they were registered on. */
static hg_status hang_on_node(hg_ctx *cx, hg_tensor *t, hg_hooks *h) {
    hg_node *fn;
    hg_status st = hg_tensor_grad_fn(cx, t, &fn);
    if (st != HG_OK || !fn) return st;
    if ((st = hg_node_extra_of(cx, fn)) != HG_OK) return st;
    hg_node_extra *e = fn->hooks;
    hg_hooks **slot = &e->out[t->out_nr].hooks, *old = *slot;
    if (old == h) return HG_OK;
    if (!old) {
        *(e->last ? &e->out[e->last - 1].next : &e->first) = t->out_nr + 1;
        e->last = t->out_nr + 1;
    }
    hg_retain(cx, h);
    *slot = h;
    hg_release(cx, old);
    return HG_OK;
}

hg_status hg_tensor_hooks(hg_ctx *cx, hg_tensor *t, hg_hook_kind kind, bool make, hg_hooks **out) {
    struct hg_extra *e = t->extra;
    hg_status st = HG_OK;
    if (!make) {
        *out = !e ? NULL : kind == HG_HOOK_POST_ACCUMULATE ? e->post : e->hooks;
        return HG_OK;
    }
    if ((st = hg_extra_of(cx, t, &e)) != HG_OK) return st;
    hg_hooks **slot = kind == HG_HOOK_POST_ACCUMULATE ? &e->post : &e->hooks;
    hg_node *fn = NULL; /* a stale view takes its new history first; its table, if any, is the old one's until then */
    hg_status stale = HG_OK;
    bool hangs = *slot != NULL; /* so that it is an error once where it cannot follow */
    if (kind == HG_HOOK_TENSOR && !hangs) stale = hg_tensor_grad_fn(cx, t, &fn);
    if (stale == HG_OK && fn && fn->hooks && fn->hooks->out[t->out_nr].hooks) { /* of another object of this result */
        hg_retain(cx, *slot = fn->hooks->out[t->out_nr].hooks);
        hangs = true;
    }
    if ((st = demand(cx, slot, kind)) != HG_OK) return st;
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    if (stale != HG_OK) return stale;
    if (kind == HG_HOOK_TENSOR && !hangs && (st = hang_on_node(cx, t, *slot)) != HG_OK) return st;
    *out = *slot;
    return HG_OK;
}

hg_status hg_tensor_set_hooks(hg_ctx *cx, hg_tensor *t, hg_hook_kind kind, hg_hooks *h) {
    struct hg_extra *e;
    hg_status st = hg_extra_of(cx, t, &e);
    if (st != HG_OK) return st;
    if (h && kind == HG_HOOK_TENSOR && (st = hang_on_node(cx, t, h)) != HG_OK) return st;
    hg_hooks **slot = kind == HG_HOOK_POST_ACCUMULATE ? &e->post : &e->hooks, *old = *slot;
    hg_retain(cx, h);
    *slot = h;
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TENSOR, t);
    hg_release(cx, old);
    return HG_OK;
}

hg_status hg_tensor_add_hook(hg_ctx *cx, hg_tensor *t, hg_hook_fn fn, void *data, uint64_t *id) {
    hg_hooks *h;
    if (!hg_tensor_requires_grad(t))
        return hg_fail(cx, HG_STATE, "cannot register a hook on a tensor that doesn't require gradient");
    hg_status st = hg_tensor_hooks(cx, t, HG_HOOK_TENSOR, true, &h);
    if (st != HG_OK) return st;
    hg_hook hook = {.id = hg_next_hook_id(cx->lib), .fn = fn, .data = data};
    if ((st = hg_hooks_put(cx, h, &hook)) == HG_OK && id) *id = hook.id;
    return st;
}

hg_status hg_tensor_retain_grad(hg_ctx *cx, hg_tensor *t) {
    struct hg_extra *e;
    hg_node *fn;
    hg_status st;
    if (!hg_tensor_requires_grad(t))
        return hg_fail(cx, HG_STATE, "can't retain_grad on Tensor that has requires_grad=False");
    if (t->extra && t->extra->retains_grad) return HG_OK; /* where it does: see hg_move_history() */
    if (!t->grad_fn) return HG_OK;                        /* a leaf keeps its gradient anyway */
    if ((st = hg_tensor_grad_fn(cx, t, &fn)) != HG_OK) return st;
    if ((st = hg_extra_of(cx, t, &e)) != HG_OK || (st = hg_node_extra_of(cx, fn)) != HG_OK) return st;
    fn->hooks->out[t->out_nr].retains = t;
    hg_retain(cx, fn);
    e->keeps = fn, e->keeps_nr = t->out_nr, e->retains_grad = true;
    return HG_OK;
}

void hg_keep_no_grad(hg_lib *lib, hg_tensor *t, struct hg_extra *e) {
    hg_node *n = e->keeps;
    if (!n) return;
    e->keeps = NULL;
    hg_tensor **slot = &n->hooks->out[e->keeps_nr].retains;
    if (*slot == t) *slot = NULL;
    hg_release_in(lib, n);
}

bool hg_tensor_retains_grad(const hg_tensor *t) { return t->extra && t->extra->retains_grad; }
