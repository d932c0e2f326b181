/* Modules: their tables, and what happens when one is called. The layers are in layers.c, what full backward hooks add
   to a call in backward_hook.c. */
#include "cpu_impl.h"
#include "module_impl.h"

#include <string.h>

/* ---- Tables ----------------------------------------------------------------------------------------------------------- */

static hg_table **table_slot(hg_module *m, hg_table_kind which) {
    return which == HG_PARAMS ? &m->params : which == HG_BUFFERS ? &m->buffers : &m->modules;
}

hg_status hg_module_table(hg_ctx *cx, hg_module *m, hg_table_kind which, hg_table **out) {
    hg_table **slot = table_slot(m, which);
    if (!*slot) {
        HG_TRY(hg_table_new(cx, slot));
        HOST(cx)->track(HOST(cx)->ud, HG_KIND_MODULE, m);
    }
    *out = *slot;
    return HG_OK;
}

hg_status hg_module_set_table(hg_ctx *cx, hg_module *m, hg_table_kind which, hg_table *t) {
    hg_table **slot = table_slot(m, which), *old = *slot;
    hg_retain(cx, t);
    *slot = t;
    cx->lib->n_placed += which == HG_MODULES;
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_MODULE, m);
    hg_release(cx, old);
    return HG_OK;
}

int64_t hg_n_placed(const hg_lib *lib) { return lib->n_placed; }

/* Makes room for hook tables where there is none. */
static hg_status hooks_slot(hg_ctx *cx, hg_module *m, hg_hook_kind kind, hg_hooks ***out) {
    if (kind < HG_FIRST_MODULE_HOOK || kind >= HG_N_HOOK_KINDS)
        return hg_fail(cx, HG_VALUE, "hook kind %d is not one of a module's", (int)kind);
    if (!m->hooks) {
        struct hg_module_hook_tables *tables = hg_mem(cx, sizeof *tables);
        if (!tables) return HG_MEMORY;
        memset(tables, 0, sizeof *tables);
        m->hooks = tables;
        HOST(cx)->track(HOST(cx)->ud, HG_KIND_MODULE, m);
    }
    *out = &m->hooks->at[kind - HG_FIRST_MODULE_HOOK];
    return HG_OK;
}

hg_status hg_module_hooks(hg_ctx *cx, hg_module *m, hg_hook_kind kind, bool make, hg_hooks **out) {
    hg_hooks **slot = NULL;
    if (!make) {
        *out = hg_module_hooks_at(m, kind);
        return HG_OK;
    }
    HG_TRY(hooks_slot(cx, m, kind, &slot));
    if (!*slot) HG_TRY(hg_hooks_new(cx, kind, slot));
    *out = *slot;
    return HG_OK;
}

hg_status hg_module_set_hooks(hg_ctx *cx, hg_module *m, hg_hook_kind kind, hg_hooks *h) {
    hg_hooks **slot = NULL, *old;
    HG_TRY(hooks_slot(cx, m, kind, &slot));
    hg_retain(cx, h);
    old = *slot;
    *slot = h;
    hg_release(cx, old);
    return HG_OK;
}

hg_status hg_module_add_hook(hg_ctx *cx, hg_module *m, hg_hook_kind kind, hg_hook_fn fn, void *data, uint32_t flags,
                             uint64_t *id) {
    hg_hooks *h;
    HG_TRY(hg_module_hooks(cx, m, kind, true, &h));
    hg_hook hook = {.id = hg_next_hook_id(cx->lib), .fn = fn, .data = data, .flags = flags};
    HG_TRY(hg_hooks_put(cx, h, &hook));
    if (id) *id = hook.id;
    return HG_OK;
}

hg_tensor *hg_module_param(hg_ctx *cx, hg_module *m, const char *name) {
    void *interned = HOST(cx)->name(HOST(cx)->ud, name);
    if (!interned) return NULL;
    hg_slot *slot = m->params ? hg_table_find(m->params, interned) : NULL;
    HOST(cx)->drop(HOST(cx)->ud, interned);
    return slot ? hg_value_tensor(slot->value) : NULL;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------- */

enum { N_TABLES = 3, N_HOOKS = HG_N_HOOK_KINDS - HG_FIRST_MODULE_HOOK };

int hg_module_visit(hg_module *m, hg_visit_fn visit, void *arg) {
    void *tables[N_TABLES] = {m->params, m->buffers, m->modules};
    int r = 0;
    for (int i = 0; i < N_TABLES && !r; i++)
        if (tables[i]) r = visit(tables[i], true, arg);
    for (int i = 0; i < N_HOOKS && m->hooks && !r; i++)
        if (m->hooks->at[i]) r = visit(m->hooks->at[i], true, arg);
    return r;
}

hg_status hg_module_life_of(hg_ctx *cx, hg_module *m, hg_module_life **out) {
    if (!m->life) {
        if (!(m->life = hg_mem(cx, sizeof *m->life))) return HG_MEMORY;
        *m->life = (hg_module_life){.n_ref = 1, .module = m};
    }
    m->life->n_ref++;
    *out = m->life;
    return HG_OK;
}

void hg_module_life_drop(hg_lib *lib, hg_module_life *life) {
    if (life && !--life->n_ref) hg_mem_free(lib, life);
}

void hg_module_ends(hg_lib *lib, hg_module *m) {
    hg_module_life *life = m->life;
    m->life = NULL;
    if (life) life->module = NULL;
    hg_module_life_drop(lib, life);
}

void hg_module_clear(hg_lib *lib, hg_module *m) {
    hg_module_ends(lib, m);
    struct hg_module_hook_tables *hooks = m->hooks;
    void *tables[N_TABLES] = {m->params, m->buffers, m->modules};
    m->params = m->buffers = m->modules = NULL, m->hooks = NULL;
    for (int i = 0; i < N_TABLES; i++)
        if (tables[i]) hg_release_in(lib, tables[i]);
    for (int i = 0; i < N_HOOKS && hooks; i++)
        if (hooks->at[i]) hg_release_in(lib, hooks->at[i]);
    hg_mem_free(lib, hooks);
}

void hg_module_finalize(hg_lib *lib, hg_module *m) { hg_module_clear(lib, m); }

/* ---- Hooks as they were when the call began ------------------------------------------------------------------------------ */

static inline uint32_t there_are(const hg_hooks *h, hg_hook_kind kind) { return h && h->n ? UINT32_C(1) << kind : 0; }

/* The kinds of a call, of the tables `of`, the first of which is that of kind `first`. */
static inline uint32_t kinds_there(hg_hooks *const *of, int first) {
    return there_are(of[HG_HOOK_FORWARD_PRE - first], HG_HOOK_FORWARD_PRE) |
           there_are(of[HG_HOOK_FORWARD - first], HG_HOOK_FORWARD) |
           there_are(of[HG_HOOK_BACKWARD_PRE - first], HG_HOOK_BACKWARD_PRE) |
           there_are(of[HG_HOOK_BACKWARD - first], HG_HOOK_BACKWARD);
}

uint32_t hg_module_hooked(const hg_lib *lib, const hg_module *m) {
    return kinds_there(lib->globals, 0) | (m->hooks ? kinds_there(m->hooks->at, HG_FIRST_MODULE_HOOK) : 0);
}

/* The global hooks of a kind, then the module's own. What it lists it holds. */
typedef struct hook_list {
    uint32_t n, n_global, n_started;
    hg_hook *at;
    hg_hook few[12]; /* not set before it is used: a call has two lists, and mostly one hook */
} hook_list;

static void list_init(hook_list *list) {
    list->n = list->n_global = list->n_started = 0;
    list->at = list->few;
}

HG_INLINE void list_add(hook_list *list, const hg_hooks *h) {
    hg_hook *to = list->at + list->n;
    for (uint32_t i = 0; h && i < h->n; i++) {
        to[i] = h->at[i];
        if (to[i].hold) to[i].hold(to[i].data);
    }
    list->n += h ? h->n : 0;
}

static hg_status list_fill(hg_ctx *cx, hook_list *list, hg_hook_kind kind, hg_module *m) {
    const hg_hooks *global = cx->lib->globals[kind], *own = hg_module_hooks_at(m, kind);
    uint32_t n = (global ? global->n : 0) + (own ? own->n : 0);
    if (n > sizeof list->few / sizeof *list->few) {
        hg_hook *at = hg_mem(cx, n * sizeof *at);
        if (!at) return HG_MEMORY;
        list->at = at;
    }
    list_add(list, global);
    list->n_global = list->n;
    list_add(list, own);
    return HG_OK;
}

static void list_end(hg_ctx *cx, hook_list *list) {
    for (uint32_t i = 0; i < list->n; i++)
        if (list->at[i].hold && list->at[i].drop) list->at[i].drop(list->at[i].data);
    if (list->at != list->few) hg_mem_free(cx->lib, list->at);
}

static hg_status run_hook(hg_ctx *cx, const hg_hook *hook, uint32_t flags, hg_call *call) {
    call->flags = flags;
    call->id = hook->id, call->file = hook->file, call->line = hook->line;
    return hook->fn(cx, call, hook->data);
}

/* ---- The call ----------------------------------------------------------------------------------------------------------- */

static hg_status forward(hg_ctx *cx, hg_module *m, const void *found, const hg_value *args, size_t n, hg_value kwargs,
                         hg_value *out) {
    hg_value tuple;
    if (m->forward && kwargs.kind == HG_V_NONE) return m->forward(cx, m, args, n, out);
    if (!cx->lib->host_forward) return hg_fail(cx, HG_TYPE, "the module has no forward function");
    HG_TRY(hg_tuple_new(cx, NULL, args, n, &tuple));
    hg_status st = cx->lib->host_forward(cx, m, found, tuple, kwargs, out);
    hg_value_release(cx, tuple);
    return st;
}

static hg_status forward_tuple(hg_ctx *cx, hg_module *m, const void *found, hg_value args, hg_value kwargs,
                               hg_value *out) {
    if (!(m->forward && kwargs.kind == HG_V_NONE) && cx->lib->host_forward)
        return cx->lib->host_forward(cx, m, found, args, kwargs, out);
    hg_value few[8], *at = few;
    size_t n = HOST(cx)->tuple_size(HOST(cx)->ud, args.obj);
    if (n > 8 && !(at = hg_mem(cx, n * sizeof *at))) return HG_MEMORY;
    for (size_t i = 0; i < n; i++) at[i] = HOST(cx)->tuple_at(HOST(cx)->ud, args.obj, i);
    hg_status st = forward(cx, m, found, at, n, kwargs, out);
    if (at != few) hg_mem_free(cx->lib, at);
    return st;
}

static hg_status run_pre_hooks(hg_ctx *cx, hg_call *call) {
    hook_list list;
    list_init(&list);
    HG_TRY(list_fill(cx, &list, HG_HOOK_FORWARD_PRE, call->module));
    hg_status st = HG_OK;
    call->kind = HG_HOOK_FORWARD_PRE;
    for (uint32_t i = 0; i < list.n && st == HG_OK; i++) {
        st = run_hook(cx, &list.at[i], list.at[i].flags, call);
        bool bare = call->args.kind != HG_V_TUPLE && !(call->args.kind == HG_V_OTHER && HOST(cx)->spread);
        if (st == HG_OK && bare) { /* it stands for a tuple of one */
            hg_value one;
            st = hg_tuple_new(cx, NULL, &call->args, 1, &one);
            if (st == HG_OK) hg_value_set(cx, &call->args, one);
        }
    }
    list_end(cx, &list);
    return st;
}

static hg_status run_forward_hooks(hg_ctx *cx, hg_call *call, hook_list *list) {
    HG_TRY(list_fill(cx, list, HG_HOOK_FORWARD, call->module));
    call->kind = HG_HOOK_FORWARD;
    while (list->n_started < list->n) {
        const hg_hook *hook = &list->at[list->n_started++];
        HG_TRY(run_hook(cx, hook, hook->flags, call));
    }
    return HG_OK;
}

#define BACKWARD_KINDS (UINT32_C(1) << HG_HOOK_BACKWARD_PRE | UINT32_C(1) << HG_HOOK_BACKWARD)

/* The call sequence: global and own pre-hooks, forward, global and own hooks; full backward hooks see what passes in
   and out through nodes at either end. What a hook puts in the place of a value is what the next one sees. `there` tells
   which kinds of hooks there were as the call began; those of forward are looked up after it. */
static hg_status call_hooked(hg_ctx *cx, hg_call *call, uint32_t there, const void *found, hg_backward_hook *bw,
                             hook_list *after) {
    bool backward = there & BACKWARD_KINDS;
    if (backward) HG_TRY(hg_backward_hook_begin(cx, call->module, bw));
    if (there & UINT32_C(1) << HG_HOOK_FORWARD_PRE) HG_TRY(run_pre_hooks(cx, call));
    hg_value args = call->args, kwargs = call->kwargs;
    bool spread = there & UINT32_C(1) << HG_HOOK_FORWARD_PRE && HOST(cx)->spread;
    if (spread) HG_TRY(HOST(cx)->spread(HOST(cx)->ud, call->module, &args, &kwargs));
    if (backward) {
        if (spread) hg_value_set(cx, &call->args, args), hg_value_set(cx, &call->kwargs, kwargs), spread = false;
        HG_TRY(hg_backward_hook_inputs(cx, bw, &call->args));
        args = call->args;
    }
    hg_status st = forward_tuple(cx, call->module, found, args, kwargs, &call->output);
    if (spread) hg_value_release(cx, args), hg_value_release(cx, kwargs);
    HG_TRY(st);
    HG_TRY(run_forward_hooks(cx, call, after));
    return backward ? hg_backward_hook_outputs(cx, bw, call->args, &call->output) : HG_OK;
}

static bool is_stopping(hg_ctx *cx, hg_status st) {
    return st == HG_HOST && HOST(cx)->stopping && HOST(cx)->stopping(HOST(cx)->ud);
}

/* The call has failed: hooks that are always to be called and were not yet are called now, with the output there is. Why
   the call failed stands in the context, or with the host, and must survive whatever they do, except an order to stop, which
   calls none of them and goes on out of one, and a warning that is an error. */
static hg_status run_always_hooks(hg_ctx *cx, hg_call *call, const hook_list *started, hg_status why) {
    hook_list list;
    bool stopping = is_stopping(cx, why);
    if (stopping) return why;
    char words[sizeof cx->words];
    memcpy(words, cx->words, sizeof words);
    void *stashed = HOST(cx)->stash ? HOST(cx)->stash(HOST(cx)->ud) : NULL;
    call->kind = HG_HOOK_FORWARD;
    list_init(&list);
    if (list_fill(cx, &list, HG_HOOK_FORWARD, call->module) != HG_OK) list.n = 0;
    for (uint32_t i = 0; i < list.n && !stopping; i++) {
        const hg_hook *hook = &list.at[i];
        bool global = i < list.n_global, ran = false;
        for (uint32_t k = 0; k < started->n_started; k++) ran |= started->at[k].id == hook->id;
        if (!(hook->flags & HG_HOOK_ALWAYS_CALL) || ran) continue;
        /* Here torch gives global hooks no kwargs, whatever they were registered with. */
        uint32_t flags = global ? hook->flags & ~(uint32_t)HG_HOOK_WITH_KWARGS : hook->flags;
        hg_status st = run_hook(cx, hook, flags, call);
        stopping = is_stopping(cx, st);
        if (st == HG_OK || stopping) continue;
        if (st == HG_HOST && HOST(cx)->explain) HOST(cx)->explain(HOST(cx)->ud, cx->words, sizeof cx->words);
        char hook_words[sizeof cx->words];
        memcpy(hook_words, cx->words, sizeof hook_words);
        stopping = hg_warn(cx, "module.UserWarning",
                           "%smodule forward hook with ``always_call=True`` raised an exception that was silenced as "
                           "another error was raised in forward: %s",
                           global ? "global " : "", hook_words) != HG_OK;
    }
    list_end(cx, &list);
    if (HOST(cx)->unstash) HOST(cx)->unstash(HOST(cx)->ud, stashed);
    memcpy(cx->words, words, sizeof words);
    return cx->status = stopping ? HG_HOST : why;
}

hg_status hg_module_call_hooked(hg_ctx *cx, hg_module *m, uint32_t there, const void *found, hg_value args,
                                hg_value kwargs, hg_value *out) {
    hg_call call = {.module = m, .args = args, .kwargs = kwargs};
    hg_backward_hook bw; /* set where there are hooks of backward */
    bool backward = there & BACKWARD_KINDS;
    hook_list after;
    if (backward) bw = (hg_backward_hook){0};
    list_init(&after);
    hg_value_retain(cx, args);
    hg_value_retain(cx, kwargs);
    hg_retain(cx, m); /* a hook may drop the last reference to it */
    hg_status st = call_hooked(cx, &call, there, found, &bw, &after);
    if (st == HG_OK)
        *out = call.output, call.output = (hg_value){0};
    else
        st = run_always_hooks(cx, &call, &after, st);
    if (backward) hg_backward_hook_end(cx, &bw);
    list_end(cx, &after);
    hg_value_release(cx, call.output);
    hg_value_release(cx, call.kwargs);
    hg_value_release(cx, call.args);
    hg_release(cx, m);
    return st;
}

hg_status hg_module_call(hg_ctx *cx, hg_module *m, const hg_value *args, size_t n, hg_value kwargs, hg_value *out) {
    uint32_t there = hg_module_hooked(cx->lib, m);
    hg_value tuple;
    if (!there) return forward(cx, m, NULL, args, n, kwargs, out);
    HG_TRY(hg_tuple_new(cx, NULL, args, n, &tuple));
    hg_status st = hg_module_call_hooked(cx, m, there, NULL, tuple, kwargs, out);
    hg_value_release(cx, tuple);
    return st;
}
