/* Every hook point from C: saved tensors, functions, global hooks, backward in backward; and hooks of each kind that remove
   themselves, add another, fail, run a backward, or let go of what they are on. */
#include "test.h"

static hg_status note_flags(hg_ctx *c, hg_call *call, void *data) {
    char words[64];
    snprintf(words, sizeof words, "%s:%s%s", (const char *)data, call->flags & HG_HOOK_WITH_KWARGS ? "kwargs" : "plain",
             call->kwargs.kind == HG_V_NONE ? "" : "+");
    (void)c;
    note(words);
    return HG_OK;
}

/* ---- Saved tensors --------------------------------------------------------------------------------------------------------- */

/* Packs a tensor as a tuple that holds it; `data` is a name, which says who it is. */
static hg_status pack(hg_ctx *c, void *data, hg_tensor *t, void **packed) {
    const hg_host *h = hg_lib_host(c->lib);
    hg_value tuple, v;
    hg_tensor *bare;
    hg_status st = hg_tensor_detach(c, t, &bare); /* as it is, an output would hold the node that holds it */
    if (st != HG_OK) return st;
    v = hg_value_of(bare);
    st = h->tuple_new(h->ud, NULL, &v, 1, &tuple);
    hg_release(c, bare);
    if (st != HG_OK) return hg_no_memory(c);
    note(h->name_chars(h->ud, data));
    *packed = tuple.obj;
    return HG_OK;
}

static hg_status unpack(hg_ctx *c, void *data, void *packed, hg_tensor **out) {
    const hg_host *h = hg_lib_host(c->lib);
    (void)data;
    note("unpack");
    hg_retain(c, *out = hg_value_tensor(h->tuple_at(h->ud, packed, 0)));
    return HG_OK;
}

static hg_status refuse_pack(hg_ctx *c, void *data, hg_tensor *t, void **packed) {
    (void)data, (void)t, (void)packed;
    return hg_fail(c, HG_VALUE, "pack says no");
}

static hg_status refuse_unpack(hg_ctx *c, void *data, void *packed, hg_tensor **out) {
    (void)data, (void)packed, (void)out;
    return hg_fail(c, HG_VALUE, "unpack says no");
}

static void *name(const char *chars) {
    const hg_host *h = hg_lib_host(cx->lib);
    void *made = h->name(h->ud, chars);
    CHECK(made != NULL);
    return made;
}

static void drop_name(void *n) {
    const hg_host *h = hg_lib_host(cx->lib);
    h->drop(h->ud, n);
}

TEST(saved_tensors_are_packed_and_unpacked) {
    void *outer = name("outer"), *inner = name("inner");
    hg_tensor *x = leaf(3), *y, *z;
    CHECK(hg_saved_hooks_top(cx) == NULL);
    CHECK_OK(hg_saved_hooks_push(cx, &(hg_saved_hooks){pack, unpack, outer}));
    CHECK_OK(hg_saved_hooks_push(cx, &(hg_saved_hooks){pack, unpack, inner}));
    CHECK(hg_saved_hooks_top(cx)->data == inner);
    y = OP(MUL, hg_t(x), hg_t(x));
    hg_saved_hooks_pop(cx);
    z = OP(EXP, hg_t(y));
    hg_saved_hooks_pop(cx);
    CHECK_WORDS(seen, "inner inner outer");
    CHECK_OK(backward(z));
    CHECK_WORDS(seen, "inner inner outer unpack unpack unpack");
    CHECK_NEAR(ITEM(x->grad), 6 * exp(9));
    drop(x), drop(y), drop(z);
    drop_name(outer), drop_name(inner);
}

TEST(what_packing_says_is_said) {
    void *who = name("who");
    hg_tensor *x = leaf(3), *y = NULL, *out;
    CHECK_OK(hg_saved_hooks_push(cx, &(hg_saved_hooks){refuse_pack, unpack, who}));
    CHECK_FAIL(HG_VALUE, "pack says no", hg_call_op(cx, HG_OP_EXP, (hg_arg[]){hg_t(x)}, 1, &out));
    hg_saved_hooks_pop(cx);
    CHECK_OK(hg_saved_hooks_push(cx, &(hg_saved_hooks){pack, refuse_unpack, who}));
    y = OP(EXP, hg_t(x));
    hg_saved_hooks_pop(cx);
    CHECK_FAIL(HG_VALUE, "unpack says no", backward(y));
    CHECK(x->grad == NULL);
    drop(x), drop(y);
    drop_name(who);
}

TEST(saved_tensor_hooks_can_be_forbidden) {
    void *who = name("who");
    CHECK_OK(hg_saved_hooks_disable(cx, "not here", true));
    CHECK_WORDS(hg_saved_hooks_disabled(cx), "not here");
    CHECK_FAIL(HG_STATE, "not here", hg_saved_hooks_push(cx, &(hg_saved_hooks){pack, unpack, who}));
    hg_saved_hooks_enable(cx);
    CHECK_OK(hg_saved_hooks_push(cx, &(hg_saved_hooks){pack, unpack, who}));
    CHECK_FAIL(HG_STATE, "nor now", hg_saved_hooks_disable(cx, "nor now", true));
    hg_saved_hooks_pop(cx);
    drop_name(who);
}

TEST(one_saved_tensor_is_packed_afterwards) {
    void *who = name("who");
    hg_tensor *x = leaf(2), *y = OP(EXP, hg_t(x)), *z = OP(MUL, hg_t(y), hg_f(3));
    const hg_saved_hooks hooks = {pack, unpack, who};
    CHECK_OK(hg_node_pack(cx, y->grad_fn, 0, 0, true, &hooks));
    CHECK_FAIL(HG_STATE, "hooks have already been set", hg_node_pack(cx, y->grad_fn, 0, 0, true, &hooks));
    CHECK_FAIL(HG_STATE, "with value None is forbidden", hg_node_pack(cx, z->grad_fn, 9, 9, true, &hooks));
    CHECK_OK(backward(z));
    CHECK_WORDS(seen, "who unpack");
    CHECK_NEAR(ITEM(x->grad), 3 * exp(2));
    CHECK_FAIL(HG_STATE, "after it has been freed", hg_node_pack(cx, y->grad_fn, 0, 0, true, &hooks));
    drop(x), drop(y), drop(z);
    drop_name(who);
}

static hg_tensor *packed_again; /* whose node packs itself from within packing */
static hg_status pack_again(hg_ctx *c, void *data, hg_tensor *t, void **packed) {
    hg_tensor *y = packed_again;
    packed_again = NULL;
    if (y) CHECK_OK(hg_node_pack(c, y->grad_fn, 0, 0, true, &(hg_saved_hooks){pack, unpack, data}));
    return pack(c, data, t, packed);
}

TEST(a_tensor_packed_from_within_packing_it) {
    void *who = name("who");
    hg_tensor *x = leaf(2), *y = OP(EXP, hg_t(x));
    packed_again = y;
    CHECK_FAIL(HG_STATE, "hooks have already been set",
               hg_node_pack(cx, y->grad_fn, 0, 0, true, &(hg_saved_hooks){pack_again, unpack, who}));
    CHECK_OK(backward(y));
    CHECK_NEAR(ITEM(x->grad), exp(2));
    drop(x), drop(y);
    drop_name(who);
}

/* ---- Functions --------------------------------------------------------------------------------------------------------------- */

/* Three times the product of what was saved and what came. */
static hg_status triple(hg_ctx *c, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in) {
    hg_tensor *saved = NULL, *scaled = NULL;
    (void)data;
    note("apply");
    CHECK_EQ(hg_function_n_saved(n), 1);
    hg_status st = hg_function_saved(c, n, &saved);
    if (st == HG_OK) st = hg_mul(c, saved, grad[0], &scaled);
    if (st == HG_OK) st = hg_call_op(c, HG_OP_MUL, (hg_arg[]){hg_t(scaled), hg_f(3)}, 2, &grad_in[0]);
    hg_release(c, saved), hg_release(c, scaled);
    return st;
}

static hg_status refuse_apply(hg_ctx *c, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in) {
    (void)n, (void)data, (void)grad, (void)grad_in;
    return hg_fail(c, HG_VALUE, "apply says no");
}

static hg_tensor *apply(hg_function_apply fn, hg_tensor *x, void *data) { /* new: a function's result */
    hg_node *n;
    hg_tensor *y = tensor_of(0, NULL, VALUES(1));
    CHECK_OK(hg_function_new(cx, "TripleBackward", fn, data, &x, 1, &n));
    CHECK(hg_node_next(n, 0, NULL) && hg_function_data(n) == data);
    CHECK(y != NULL);
    CHECK_OK(hg_function_set_outputs(cx, n, &y, (uint8_t[]){HG_OUT_DIFFERENTIABLE}, 1));
    CHECK_OK(hg_function_save(cx, n, &x, 1, false));
    hg_release(cx, n);
    return y;
}

TEST(a_function_and_hooks_on_its_node) {
    void *data = name("data");
    hg_tensor *x = leaf(5), *y = apply(triple, x, data), *zeros = NULL;
    hg_hooks *pre, *post;
    CHECK_WORDS(hg_node_name(y->grad_fn), "TripleBackward");
    CHECK_EQ(hg_node_n_out(y->grad_fn), 1);
    CHECK_OK(hg_node_zeros(cx, y->grad_fn, 0, &zeros));
    CHECK_EQ(ITEM(zeros), 0);
    CHECK_OK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE_PRE, true, &pre));
    CHECK_OK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE, true, &post));
    CHECK_OK(hg_hooks_put(cx, pre, &(hg_hook){.id = 1, .fn = note_hook, .data = "pre"}));
    CHECK_OK(hg_hooks_put(cx, post, &(hg_hook){.id = 2, .fn = note_hook, .data = "post"}));
    CHECK_OK(hg_tensor_add_hook(cx, y, note_hook, "tensor", NULL));
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "tensor pre apply post");
    CHECK_EQ(ITEM(x->grad), 15);
    drop(x), drop(y), drop(zeros);
    drop_name(data);
}

TEST(a_function_that_fails) {
    void *data = name("data");
    hg_tensor *x = leaf(5), *y = apply(refuse_apply, x, data);
    CHECK_FAIL(HG_VALUE, "apply says no", hg_backward(cx, &y, NULL, 1, true, false, NULL, -1, false, NULL));
    CHECK_FAIL(HG_VALUE, "apply says no", backward(y));
    CHECK(x->grad == NULL && !cx->run);
    drop(x), drop(y);
    drop_name(data);
}

/* ---- Global hooks, keywords, the older sort ------------------------------------------------------------------------------------ */

static hg_tensor *call1(hg_module *m, hg_tensor *x, hg_value kwargs) { /* new; NULL when it failed */
    hg_value in = hg_value_of(x), out;
    return hg_module_call(cx, m, &in, 1, kwargs, &out) == HG_OK ? hg_value_tensor(out) : NULL;
}

static hg_status host_forward(hg_ctx *c, hg_module *m, const void *found, hg_value args, hg_value kwargs,
                              hg_value *out) {
    const hg_host *h = hg_lib_host(c->lib);
    hg_tensor *y;
    (void)m, (void)found;
    note(kwargs.kind == HG_V_NONE ? "forward" : "forward+");
    hg_status st = hg_call_op(c, HG_OP_EXP, (hg_arg[]){hg_t(h->tuple_at(h->ud, args.obj, 0).obj)}, 1, &y);
    if (st == HG_OK) *out = hg_value_of(y);
    return st;
}

TEST(keyword_arguments_pass_through) {
    hg_module *m;
    hg_tensor *x = leaf(1), *y;
    void *words = name("keywords");
    CHECK_OK(hg_activation_new(cx, "tanh", &m));
    m->forward = NULL;
    hg_set_host_forward(cx->lib, host_forward);
    CHECK_OK(hg_module_add_hook(cx, m, HG_HOOK_FORWARD_PRE, note_flags, "pre", HG_HOOK_WITH_KWARGS, NULL));
    CHECK_OK(hg_module_add_hook(cx, m, HG_HOOK_FORWARD, note_flags, "post", 0, NULL));
    drop(call1(m, x, (hg_value){0}));
    CHECK_WORDS(seen, "pre:kwargs forward post:plain");
    seen[0] = 0;
    y = call1(m, x, (hg_value){HG_V_OTHER, words});
    CHECK_WORDS(seen, "pre:kwargs+ forward+ post:plain+");
    hg_set_host_forward(cx->lib, NULL);
    drop(x), drop(y);
    hg_release(cx, m);
    drop_name(words);
}

TEST(global_hooks_of_every_kind) {
    static const hg_hook_kind kinds[] = {HG_HOOK_FORWARD_PRE, HG_HOOK_FORWARD, HG_HOOK_BACKWARD_PRE, HG_HOOK_BACKWARD};
    static char names[4][16] = {"pre", "post", "back-pre", "back"};
    hg_module *m;
    hg_hooks *h;
    hg_tensor *x = leaf(1), *y;
    CHECK_OK(hg_activation_new(cx, "tanh", &m));
    CHECK_EQ(hg_module_hooked(cx->lib, m), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(hg_global_hooks(cx, kinds[i], &h));
        CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 100 + (uint64_t)i, .fn = note_hook, .data = names[i]}));
    }
    for (int i = 0; i < 4; i++) CHECK(hg_module_hooked(cx->lib, m) & 1u << kinds[i]);
    CHECK_OK(hg_module_add_hook(cx, m, HG_HOOK_BACKWARD, note_hook, "own", 0, NULL));
    y = call1(m, x, (hg_value){0});
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "pre post back-pre back own");
    for (int i = 0; i < 4; i++) {
        CHECK_OK(hg_global_hooks(cx, kinds[i], &h));
        hg_hooks_clear(cx, h);
    }
    drop(x), drop(y);
    hg_release(cx, m);
}

TEST(hooks_of_the_older_sort_see_the_last_node) {
    hg_module *m;
    hg_tensor *x = leaf(1), *y;
    CHECK_OK(hg_activation_new(cx, "tanh", &m));
    CHECK_OK(hg_module_add_hook(cx, m, HG_HOOK_BACKWARD, note_hook, "legacy", HG_HOOK_LEGACY, NULL));
    y = call1(m, x, (hg_value){0});
    CHECK_WORDS(hg_node_name(y->grad_fn), "TanhBackward0");
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "legacy");
    drop(y);
    y = call1(m, x, (hg_value){0});
    hg_release(cx, m); /* the node does not own it */
    CHECK_FAIL(HG_STATE, "dead Module", backward(y));
    CHECK_WORDS(seen, "legacy");
    drop(x), drop(y);
}

TEST(tables_of_the_hosts_own_kinds_hang_on_modules_too) {
    hg_module *m;
    hg_hooks *h, *again;
    CHECK_OK(hg_activation_new(cx, "tanh", &m));
    for (int kind = HG_HOOK_STATE_DICT_PRE; kind < HG_N_HOOK_KINDS; kind++) {
        CHECK_OK(hg_module_hooks(cx, m, (hg_hook_kind)kind, false, &h));
        CHECK(h == NULL);
        CHECK_OK(hg_module_add_hook(cx, m, (hg_hook_kind)kind, note_hook, "own", 0, NULL));
        CHECK_OK(hg_module_hooks(cx, m, (hg_hook_kind)kind, false, &h));
        CHECK(h && h->n == 1 && h->kind == (hg_hook_kind)kind);
        CHECK_OK(hg_hooks_new(cx, (hg_hook_kind)kind, &again));
        CHECK_OK(hg_module_set_hooks(cx, m, (hg_hook_kind)kind, again));
        hg_release(cx, again);
    }
    CHECK_FAIL(HG_VALUE, "is not one of a module's", hg_module_hooks(cx, m, HG_HOOK_TENSOR, true, &h));
    hg_release(cx, m);
}

/* ---- Hooks and in-place operations ---------------------------------------------------------------------------------------------- */

TEST(hooks_stay_with_the_history_and_retained_gradients_follow_the_tensor) {
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(2));
    CHECK_OK(hg_tensor_add_hook(cx, y, note_hook, "before", NULL));
    CHECK_OK(hg_tensor_retain_grad(cx, y));
    CHECK_OK(hg_call_inplace(cx, HG_OP_MUL, (hg_arg[]){hg_t(y), hg_i(10)}, 2));
    CHECK_OK(hg_tensor_add_hook(cx, y, note_hook, "after", NULL));
    CHECK(hg_tensor_retains_grad(y));
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "after before");
    CHECK_EQ(ITEM(y->grad), 1);
    CHECK_EQ(ITEM(x->grad), 20);
    drop(x), drop(y);
}

/* ---- Backward in backward ---------------------------------------------------------------------------------------------------------- */

static hg_status go_deeper(hg_ctx *c, hg_call *call, void *data) {
    int *left = data;
    (void)call;
    if (!(*left)--) return HG_OK;
    c->grad_enabled = true;
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(2));
    hg_status st = hg_tensor_add_hook(c, x, go_deeper, left, NULL);
    if (st == HG_OK) st = backward(y);
    if (st == HG_OK) CHECK_EQ(ITEM(x->grad), 2);
    c->grad_enabled = false;
    drop(x), drop(y);
    return st;
}

static hg_status note_end(hg_ctx *c, void *data) {
    const hg_host *h = hg_lib_host(c->lib);
    note(h->name_chars(h->ud, data));
    return HG_OK;
}

static hg_status queue_end(hg_ctx *c, hg_call *call, void *data) {
    (void)call;
    CHECK(hg_backward_id(c) >= 0 && hg_backward_node(c) != NULL);
    note("queued");
    return hg_backward_then(c, note_end, data);
}

TEST(backward_within_backward_to_any_depth) {
    int left = 300;
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(3));
    CHECK_OK(hg_tensor_add_hook(cx, x, go_deeper, &left, NULL));
    CHECK_OK(backward(y));
    CHECK_EQ(left, -1);
    CHECK_EQ(ITEM(x->grad), 3);
    drop(x), drop(y);
}

TEST(what_is_queued_runs_when_the_backward_is_done) {
    void *end = name("end");
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(3));
    CHECK_FAIL(HG_STATE, "only be installed during backward", hg_backward_then(cx, note_end, end));
    CHECK_OK(hg_tensor_add_hook(cx, y, queue_end, end, NULL));
    CHECK_OK(hg_tensor_add_hook(cx, x, note_hook, "x", NULL));
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "queued x end");
    drop(x), drop(y);
    drop_name(end);
}

/* ---- Every kind meddles -------------------------------------------------------------------------------------------------------------- */

enum { REMOVES, ADDS, FAILS, RUNS_BACKWARD, LETS_GO, N_ACTIONS };

typedef struct meddler {
    int action;
    hg_hooks *table;
    hg_tensor *tensor; /* owned, as the module, until it lets go */
    hg_module *module;
    int n_runs;
} meddler;

static hg_status nothing(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)call, (void)data;
    return HG_OK;
}

static hg_status meddle(hg_ctx *c, hg_call *call, void *data) {
    meddler *m = data;
    int none = 0;
    m->n_runs++;
    switch (m->action) {
    case REMOVES: hg_hooks_remove(c, m->table, call->id); return HG_OK;
    case ADDS: return hg_hooks_put(c, m->table, &(hg_hook){.id = hg_next_hook_id(c->lib), .fn = nothing});
    case FAILS: return hg_fail(c, HG_VALUE, "meddling");
    case RUNS_BACKWARD: {
        bool grad = c->grad_enabled;
        int one = 1;
        hg_status st = go_deeper(c, call, &one);
        c->grad_enabled = grad;
        return st == HG_OK ? go_deeper(c, call, &none) : st;
    }
    default:
        hg_release(c, m->tensor), hg_release(c, m->module);
        m->tensor = NULL, m->module = NULL;
        return HG_OK;
    }
}

/* One round: y = tanh(2x) by a module, backward, with the meddler on the given kind of hook. */
static void meddle_round(hg_hook_kind kind, int action) {
    meddler m = {.action = action};
    hg_tensor *x = leaf(0.5), *twice = OP(MUL, hg_t(x), hg_i(2)), *y = NULL;
    hg_value in = hg_value_of(twice), out = {0};
    hg_status st;
    CHECK_OK(hg_activation_new(cx, "tanh", &m.module));
    switch (kind) {
    case HG_HOOK_TENSOR: CHECK_OK(hg_tensor_hooks(cx, twice, kind, true, &m.table)); break;
    case HG_HOOK_POST_ACCUMULATE: CHECK_OK(hg_tensor_hooks(cx, x, kind, true, &m.table)); break;
    case HG_HOOK_NODE_PRE:
    case HG_HOOK_NODE: CHECK_OK(hg_node_hooks(cx, twice->grad_fn, kind, true, &m.table)); break;
    default: CHECK_OK(hg_module_hooks(cx, m.module, kind, true, &m.table));
    }
    hg_retain(cx, m.table); /* the meddler's own */
    hg_retain(cx, m.tensor = kind == HG_HOOK_POST_ACCUMULATE ? x : twice);
    CHECK_OK(hg_hooks_put(cx, m.table, &(hg_hook){.id = hg_next_hook_id(cx->lib), .fn = meddle, .data = &m}));
    st = hg_module_call(cx, m.module, &in, 1, (hg_value){0}, &out);
    y = st == HG_OK ? out.obj : NULL;
    drop(x), drop(twice); /* the graph, and the meddler, keep what they need */
    if (st == HG_OK) st = backward(y);
    CHECK(action == FAILS ? st == HG_VALUE : st == HG_OK);
    CHECK_EQ(m.n_runs, 1);
    CHECK(!cx->run && cx->grad_enabled);
    drop(y), drop(m.tensor);
    hg_release(cx, m.module), hg_release(cx, m.table);
}

TEST(every_kind_of_hook_meddles) {
    for (int kind = HG_HOOK_TENSOR; kind <= HG_HOOK_BACKWARD; kind++)
        for (int action = 0; action < N_ACTIONS; action++) {
            hg_empty_cache(cx->lib);
            long objects = host->n_objects, refs = host->n_refs;
            for (int i = 0; i < 50; i++) meddle_round((hg_hook_kind)kind, action);
            hg_empty_cache(cx->lib);
            if (host->n_objects != objects || host->n_refs != refs)
                test_fail(__FILE__, __LINE__, "kind %d, action %d: %ld objects and %ld references stay", kind, action,
                          host->n_objects - objects, host->n_refs - refs);
        }
}
