/* Hooks on tensors and nodes: when they run, what they may change, and what happens when they change the tables. */
#include "test.h"

/* Multiplies the gradient by *(double *)data. */
static hg_status times(hg_ctx *c, hg_call *call, void *data) {
    hg_tensor *g = hg_value_tensor(call->grad), *out = NULL;
    hg_status st = hg_call_op(c, HG_OP_MUL, (hg_arg[]){hg_t(g), hg_f(*(double *)data)}, 2, &out);
    if (st == HG_OK) hg_value_set(c, &call->grad, hg_value_of(out));
    return st;
}

/* The same for the only one of grad_output. */
static hg_status times_output(hg_ctx *c, hg_call *call, void *data) {
    const hg_host *h = hg_lib_host(c->lib);
    hg_tensor *out = NULL;
    hg_value tuple, g = h->tuple_at(h->ud, call->grad_output.obj, 0);
    hg_status st = hg_call_op(c, HG_OP_MUL, (hg_arg[]){hg_t(g.obj), hg_f(*(double *)data)}, 2, &out);
    if (st != HG_OK) return st;
    g = hg_value_of(out);
    st = h->tuple_new(h->ud, NULL, &g, 1, &tuple);
    hg_release(c, out);
    if (st == HG_OK) hg_value_set(c, &call->grad_output, tuple);
    return st;
}

static double two = 2, three = 3, ten = 10;

TEST(tensor_hooks_replace_the_gradient_in_order) {
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(5));
    CHECK_OK(hg_tensor_add_hook(cx, y, times, &two, NULL));
    CHECK_OK(hg_tensor_add_hook(cx, y, note_hook, "y", NULL));
    CHECK_OK(hg_tensor_add_hook(cx, x, times, &three, NULL));
    CHECK_OK(hg_tensor_add_hook(cx, x, note_hook, "x", NULL));
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(x->grad), 30);
    CHECK_WORDS(seen, "y x");
    drop(x), drop(y);
}

TEST(tensors_without_gradient_take_no_hooks) {
    hg_tensor *x = scalar(1);
    CHECK_FAIL(HG_STATE, "cannot register a hook on a tensor that doesn't require gradient",
               hg_tensor_add_hook(cx, x, note_hook, "x", NULL));
    drop(x);
}

TEST(tensor_hooks_then_retained_gradient_then_node_hooks) {
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(1));
    hg_hooks *pre;
    CHECK_OK(hg_tensor_add_hook(cx, y, times, &two, NULL));
    CHECK_OK(hg_tensor_retain_grad(cx, y));
    CHECK_OK(hg_tensor_add_hook(cx, y, times, &three, NULL));
    CHECK_OK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE_PRE, true, &pre));
    CHECK_OK(hg_hooks_put(cx, pre, &(hg_hook){.id = hg_next_hook_id(cx->lib), .fn = times_output, .data = &ten}));
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(y->grad), 6);
    CHECK_EQ(ITEM(x->grad), 60);
    drop(x), drop(y);
}

TEST(node_hooks_run_after_the_node) {
    hg_tensor *x = leaf(3), *y = OP(MUL, hg_t(x), hg_t(x));
    hg_hooks *pre, *post;
    CHECK_OK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE_PRE, true, &pre));
    CHECK_OK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE, true, &post));
    CHECK_OK(hg_hooks_put(cx, post, &(hg_hook){.id = 1, .fn = note_hook, .data = "post"}));
    CHECK_OK(hg_hooks_put(cx, pre, &(hg_hook){.id = 2, .fn = note_hook, .data = "pre"}));
    CHECK_OK(hg_tensor_add_hook(cx, x, note_hook, "leaf", NULL));
    CHECK_OK(backward(y));
    CHECK_WORDS(seen, "pre post leaf");
    drop(x), drop(y);
}

static hg_status note_grad(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)data;
    char words[32];
    snprintf(words, sizeof words, "%g", ITEM(call->tensor->grad));
    note(words);
    return HG_OK;
}

TEST(post_accumulate_hooks_see_the_sum) {
    hg_tensor *x = leaf(1);
    hg_hooks *h;
    CHECK_OK(hg_tensor_hooks(cx, x, HG_HOOK_POST_ACCUMULATE, true, &h));
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 1, .fn = note_grad}));
    for (int i = 0; i < 2; i++) {
        hg_tensor *y = OP(MUL, hg_t(x), hg_i(4));
        CHECK_OK(backward(y));
        drop(y);
    }
    CHECK_WORDS(seen, "4 8");
    drop(x);
}

/* ---- Tables that change while they run ------------------------------------------------------------------------------------- */

typedef struct change {
    hg_hooks *table;
    uint64_t remove;
    bool add;
} change;

static hg_status change_table(hg_ctx *c, hg_call *call, void *data) {
    change *ch = data;
    (void)call;
    note("change");
    if (ch->add) return hg_hooks_put(c, ch->table, &(hg_hook){.id = 900, .fn = note_hook, .data = "added"});
    hg_hooks_remove(c, ch->table, ch->remove);
    return HG_OK;
}

TEST(removed_hooks_still_fire_and_added_ones_wait) {
    hg_hooks *h;
    hg_call call = {.kind = HG_HOOK_TENSOR};
    CHECK_OK(hg_hooks_new(cx, HG_HOOK_TENSOR, &h));
    change removes = {h, 3, false}, adds = {h, 0, true};
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 1, .fn = change_table, .data = &removes}));
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 2, .fn = change_table, .data = &adds}));
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 3, .fn = note_hook, .data = "last"}));
    CHECK_OK(hg_hooks_run(cx, h, &call));
    CHECK_WORDS(seen, "change change last");
    seen[0] = 0;
    CHECK_OK(hg_hooks_run(cx, h, &call));
    CHECK_WORDS(seen, "change change added");
    hg_release(cx, h);
}

static int n_held, n_dropped;
static void hold_count(void *data) { (void)data, n_held++; }
static void drop_count(void *data) { (void)data, n_dropped++; }

static hg_status remove_self(hg_ctx *c, hg_call *call, void *data) {
    hg_hooks *h = data;
    CHECK(hg_hooks_remove(c, h, call->id));
    CHECK_EQ(n_held - n_dropped, 1); /* the run holds what it calls */
    return HG_OK;
}

TEST(a_hook_that_removes_itself_outlives_its_run) {
    hg_hooks *h;
    hg_call call = {.kind = HG_HOOK_TENSOR};
    n_held = n_dropped = 0;
    CHECK_OK(hg_hooks_new(cx, HG_HOOK_TENSOR, &h));
    CHECK_OK(
        hg_hooks_put(cx, h, &(hg_hook){.id = 1, .fn = remove_self, .data = h, .hold = hold_count, .drop = drop_count}));
    CHECK_OK(hg_hooks_run(cx, h, &call));
    CHECK_EQ(n_held, n_dropped);
    CHECK_EQ(h->n, 0);
    hg_release(cx, h);
}

TEST(prepending_replacing_removing) {
    hg_hooks *h;
    hg_call call = {.kind = HG_HOOK_TENSOR};
    CHECK_OK(hg_hooks_new(cx, HG_HOOK_TENSOR, &h));
    for (uint64_t i = 1; i <= 20; i++) /* more than a run keeps on its stack */
        CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = i, .fn = note_hook, .data = i == 7 ? "seven" : "."}));
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 99, .fn = note_hook, .data = "first", .flags = HG_HOOK_PREPEND}));
    CHECK_OK(hg_hooks_put(cx, h, &(hg_hook){.id = 7, .fn = note_hook, .data = "7"}));
    for (uint64_t i = 1; i <= 20; i++)
        if (i != 7) CHECK(hg_hooks_remove(cx, h, i));
    CHECK(!hg_hooks_remove(cx, h, 1));
    CHECK_OK(hg_hooks_run(cx, h, &call));
    CHECK_WORDS(seen, "first 7");
    hg_hooks_clear(cx, h);
    CHECK_EQ(h->n, 0);
    hg_release(cx, h);
}

static hg_status refuse(hg_ctx *c, hg_call *call, void *data) {
    (void)call;
    return hg_fail(c, HG_VALUE, "%s says no", (const char *)data);
}

TEST(a_hook_that_fails_stops_the_backward) {
    hg_tensor *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(2)), *z = OP(MUL, hg_t(y), hg_i(2));
    CHECK_OK(hg_tensor_add_hook(cx, y, refuse, "y", NULL));
    CHECK_OK(hg_tensor_add_hook(cx, x, note_hook, "x", NULL));
    CHECK_FAIL(HG_VALUE, "y says no", hg_backward(cx, &z, NULL, 1, true, false, NULL, -1, false, NULL));
    CHECK_WORDS(seen, "");
    CHECK(x->grad == NULL);
    hg_hooks *h;
    CHECK_OK(hg_tensor_hooks(cx, y, HG_HOOK_TENSOR, false, &h));
    hg_hooks_clear(cx, h);
    CHECK_OK(backward(z));
    CHECK_EQ(ITEM(x->grad), 4);
    drop(x), drop(y), drop(z);
}

static hg_status backward_inside(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)call;
    hg_tensor *w = data, *y = OP(MUL, hg_t(w), hg_t(w));
    if (y) {
        note("no graph");
        drop(y);
    }
    cx->grad_enabled = true;
    y = OP(MUL, hg_t(w), hg_t(w));
    hg_status st = backward(y);
    cx->grad_enabled = false;
    drop(y);
    return st;
}

TEST(a_hook_may_run_a_backward_of_its_own) {
    hg_tensor *w = leaf(5), *x = leaf(1), *y = OP(MUL, hg_t(x), hg_i(2));
    CHECK_OK(hg_tensor_add_hook(cx, x, backward_inside, w, NULL));
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(w->grad), 10);
    CHECK_EQ(ITEM(x->grad), 2);
    drop(w), drop(x), drop(y);
}
