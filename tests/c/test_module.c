/* Modules: tables, the call sequence, full backward hooks, layers. */
#include "test.h"

static hg_tensor *call1(hg_module *m, hg_tensor *x) { /* new; NULL when it failed */
    hg_value in = hg_value_of(x), out;
    if (!m || !x || hg_module_call(cx, m, &in, 1, (hg_value){0}, &out) != HG_OK) return NULL;
    return hg_value_tensor(out);
}

static hg_module *layer(const char *name) {
    hg_module *m = NULL;
    CHECK_OK(hg_activation_new(cx, name, &m));
    return m;
}

static void add(hg_module *m, hg_hook_kind kind, hg_hook_fn fn, void *data, uint32_t flags) {
    CHECK_OK(hg_module_add_hook(cx, m, kind, fn, data, flags, NULL));
}

/* ---- Tables ------------------------------------------------------------------------------------------------------------------- */

TEST(tables_keep_their_order_and_find_by_name) {
    const hg_host *h = hg_lib_host(cx->lib);
    hg_table *t;
    void *names[40];
    char chars[16];
    CHECK_OK(hg_table_new(cx, &t));
    for (int i = 0; i < 40; i++) { /* past the size where the index begins, and past its growth */
        snprintf(chars, sizeof chars, "name%d", i);
        names[i] = h->name(h->ud, chars);
        hg_tensor *value = scalar(i);
        CHECK_OK(hg_table_put(cx, t, names[i], hg_value_of(value)));
        drop(value);
    }
    for (int i = 0; i < 40; i += 3) CHECK(hg_table_remove(cx, t, names[i]));
    CHECK(!hg_table_remove(cx, t, names[0]));
    CHECK_OK(hg_table_put(cx, t, names[1], (hg_value){0})); /* keeps its place */
    CHECK_OK(hg_table_put(cx, t, names[0], (hg_value){0})); /* comes last */
    CHECK(t->at[0].name == names[1] && t->at[t->n - 1].name == names[0]);
    for (int i = 0; i < 40; i++) {
        hg_slot *slot = hg_table_find(t, names[i]);
        CHECK((slot != NULL) == (i % 3 != 0 || i == 0));
        if (slot && i > 1) CHECK_EQ(ITEM(hg_value_tensor(slot->value)), i);
        h->drop(h->ud, names[i]);
    }
    hg_table_clear(cx, t);
    CHECK_EQ(t->n, 0);
    hg_release(cx, t);
}

TEST(linear_has_weight_and_bias) {
    hg_module *m;
    CHECK_OK(hg_linear_new(cx, 3, 2, true, &m));
    hg_tensor *w = hg_module_param(cx, m, "weight"), *bias = hg_module_param(cx, m, "bias");
    CHECK(w && w->shape[0] == 2 && w->shape[1] == 3 && w->requires_grad);
    CHECK(bias && bias->numel == 2 && !hg_module_param(cx, m, "nothing"));
    for (int i = 0; i < 6; i++) CHECK(fabs(value_at(w, i)) <= 1 / sqrt(3));
    hg_tensor *x = tensor_of(SHAPE(1, 3), VALUES(1, 0, 0)), *y = call1(m, x);
    CHECK_NEAR(value_at(y, 1), value_at(w, 3) + value_at(bias, 1));
    CHECK_WORDS(hg_node_name(y->grad_fn), "AddmmBackward0");
    drop(x), drop(y);
    hg_release(cx, m);
}

/* ---- The call sequence ---------------------------------------------------------------------------------------------------------- */

TEST(hooks_run_in_order_around_forward) {
    hg_module *m = layer("relu");
    hg_hooks *global_pre, *global;
    hg_tensor *x = scalar(1);
    add(m, HG_HOOK_FORWARD_PRE, note_hook, "pre", 0);
    add(m, HG_HOOK_FORWARD_PRE, note_hook, "pre-first", HG_HOOK_PREPEND);
    add(m, HG_HOOK_FORWARD, note_hook, "post", 0);
    CHECK_OK(hg_global_hooks(cx, HG_HOOK_FORWARD_PRE, &global_pre));
    CHECK_OK(hg_global_hooks(cx, HG_HOOK_FORWARD, &global));
    CHECK_OK(hg_hooks_put(cx, global_pre, &(hg_hook){.id = 100, .fn = note_hook, .data = "global-pre"}));
    CHECK_OK(hg_hooks_put(cx, global, &(hg_hook){.id = 101, .fn = note_hook, .data = "global"}));
    drop(call1(m, x));
    CHECK_WORDS(seen, "global-pre pre-first pre global post");
    hg_hooks_clear(cx, global_pre);
    hg_hooks_clear(cx, global);
    drop(x);
    hg_release(cx, m);
}

/* A bare value from a pre-hook stands for a tuple of one. */
static hg_status replace_args(hg_ctx *c, hg_call *call, void *data) {
    (void)data;
    hg_tensor *t = scalar(-7);
    if (!t) return HG_MEMORY;
    hg_value_set(c, &call->args, hg_value_of(t));
    return HG_OK;
}

static hg_status replace_output(hg_ctx *c, hg_call *call, void *data) {
    (void)data;
    hg_tensor *t = scalar(ITEM(hg_value_tensor(call->output)) * 100);
    if (!t) return HG_MEMORY;
    hg_value_set(c, &call->output, hg_value_of(t));
    return HG_OK;
}

TEST(hooks_replace_arguments_and_output) {
    hg_module *m = layer("leaky_relu");
    hg_tensor *x = scalar(1), *y;
    add(m, HG_HOOK_FORWARD_PRE, replace_args, NULL, 0);
    add(m, HG_HOOK_FORWARD, replace_output, NULL, 0);
    y = call1(m, x);
    CHECK_NEAR(ITEM(y), -7);
    drop(x), drop(y);
    hg_release(cx, m);
}

static hg_status refuse(hg_ctx *c, hg_call *call, void *data) {
    note(call->output.kind == HG_V_NONE ? "refuses-nothing" : "refuses");
    return hg_fail(c, HG_VALUE, "%s says no", (const char *)data);
}

static hg_status failing_forward(hg_ctx *c, hg_module *m, const hg_value *in, size_t n, hg_value *out) {
    (void)m, (void)in, (void)n, (void)out;
    return hg_fail(c, HG_STATE, "forward says no");
}

TEST(always_called_hooks_run_after_a_failure) {
    hg_module *m = layer("relu");
    hg_tensor *x = scalar(1);
    hg_value in = hg_value_of(x), out;
    m->forward = failing_forward;
    add(m, HG_HOOK_FORWARD, note_hook, "plain", 0);
    add(m, HG_HOOK_FORWARD, refuse, "hook", HG_HOOK_ALWAYS_CALL);
    add(m, HG_HOOK_FORWARD, note_hook, "always", HG_HOOK_ALWAYS_CALL);
    CHECK_FAIL(HG_STATE, "forward says no", hg_module_call(cx, m, &in, 1, (hg_value){0}, &out));
    CHECK_WORDS(seen, "refuses-nothing always");
    CHECK_EQ(host->n_warnings, 1);
    CHECK(strstr(host->last_warning, "silenced as another error was raised in forward: hook says no"));
    drop(x);
    hg_release(cx, m);
}

TEST(always_called_hooks_run_once) {
    hg_module *m = layer("relu");
    hg_tensor *x = scalar(1);
    hg_value in = hg_value_of(x), out;
    add(m, HG_HOOK_FORWARD, note_hook, "one", HG_HOOK_ALWAYS_CALL);
    add(m, HG_HOOK_FORWARD, refuse, "two", HG_HOOK_ALWAYS_CALL);
    add(m, HG_HOOK_FORWARD, note_hook, "three", HG_HOOK_ALWAYS_CALL);
    CHECK_FAIL(HG_VALUE, "two says no", hg_module_call(cx, m, &in, 1, (hg_value){0}, &out));
    CHECK_WORDS(seen, "one refuses three");
    drop(x);
    hg_release(cx, m);
}

typedef struct owner {
    hg_module *m;
    uint64_t id;
} owner;

static hg_status remove_and_add(hg_ctx *c, hg_call *call, void *data) {
    owner *o = data;
    hg_hooks *h;
    note("changes");
    hg_status st = hg_module_hooks(c, call->module, HG_HOOK_FORWARD, true, &h);
    if (st != HG_OK) return st;
    hg_hooks_remove(c, h, o->id);
    return hg_module_add_hook(c, call->module, HG_HOOK_FORWARD, note_hook, "added", 0, NULL);
}

TEST(module_hooks_changed_during_a_call) {
    hg_module *m = layer("relu");
    hg_tensor *x = scalar(1);
    owner o = {m, 0};
    add(m, HG_HOOK_FORWARD, remove_and_add, &o, 0);
    CHECK_OK(hg_module_add_hook(cx, m, HG_HOOK_FORWARD, note_hook, "removed", 0, &o.id));
    drop(call1(m, x));
    CHECK_WORDS(seen, "changes removed");
    seen[0] = 0;
    drop(call1(m, x));
    CHECK_WORDS(seen, "changes added");
    drop(x);
    hg_release(cx, m);
}

/* ---- Full backward hooks ------------------------------------------------------------------------------------------------------------ */

static void note_tuple(const char *name, hg_value t) {
    const hg_host *h = hg_lib_host(cx->lib);
    char words[64];
    for (size_t i = 0; i < h->tuple_size(h->ud, t.obj); i++) {
        hg_tensor *g = hg_value_tensor(h->tuple_at(h->ud, t.obj, i));
        if (g)
            snprintf(words, sizeof words, "%s%g", name, ITEM(g));
        else
            snprintf(words, sizeof words, "%snone", name);
        note(words);
    }
}

static hg_status see_backward(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)data;
    if (call->kind == HG_HOOK_BACKWARD) note_tuple("in:", call->grad_input);
    note_tuple("out:", call->grad_output);
    return HG_OK;
}

/* Ten times the only gradient of input or of output. */
static hg_status ten_times(hg_ctx *c, hg_call *call, void *data) {
    const hg_host *h = hg_lib_host(c->lib);
    hg_value *slot = call->kind == HG_HOOK_BACKWARD ? &call->grad_input : &call->grad_output, tuple;
    hg_tensor *out = NULL;
    (void)data;
    hg_value g = h->tuple_at(h->ud, slot->obj, 0);
    hg_status st = hg_call_op(c, HG_OP_MUL, (hg_arg[]){hg_t(g.obj), hg_i(10)}, 2, &out);
    if (st != HG_OK) return st;
    g = hg_value_of(out);
    st = h->tuple_new(h->ud, NULL, &g, 1, &tuple);
    hg_release(c, out);
    if (st == HG_OK) hg_value_set(c, slot, tuple);
    return st;
}

TEST(full_backward_hooks_see_whole_gradients) {
    hg_module *m = layer("leaky_relu");
    hg_tensor *x = leaf(-2), *y, *z;
    CHECK_OK(hg_malloc_set_attr(cx, host, m, "negative_slope", hg_f(0.5)));
    add(m, HG_HOOK_BACKWARD, see_backward, NULL, 0);
    add(m, HG_HOOK_BACKWARD_PRE, note_hook, "pre", 0);
    y = call1(m, x);
    CHECK(y != x);
    CHECK_WORDS(hg_node_name(y->grad_fn), "BackwardHookFunctionBackward");
    CHECK_OK(hg_tensor_add_hook(cx, x, note_hook, "x", NULL));
    z = OP(MUL, hg_t(y), hg_i(3));
    CHECK_OK(backward(z));
    CHECK_WORDS(seen, "pre in:1.5 out:3 x");
    CHECK_EQ(ITEM(x->grad), 1.5);
    drop(x), drop(y), drop(z);
    hg_release(cx, m);
}

TEST(full_backward_hooks_replace_gradients) {
    hg_module *m = layer("relu");
    hg_tensor *x = leaf(2), *y;
    add(m, HG_HOOK_BACKWARD_PRE, ten_times, NULL, 0);
    add(m, HG_HOOK_BACKWARD, ten_times, NULL, 0);
    add(m, HG_HOOK_BACKWARD, see_backward, NULL, 0);
    y = call1(m, x);
    CHECK_OK(hg_backward(cx, &y, NULL, 1, true, false, NULL, -1, false, NULL));
    CHECK_WORDS(seen, "in:100 out:10");
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(x->grad), 200);
    drop(x), drop(y);
    hg_release(cx, m);
}

static hg_status add_forward(hg_ctx *c, hg_module *m, const hg_value *in, size_t n, hg_value *out) {
    hg_tensor *sum = NULL;
    (void)m, (void)n;
    hg_status st = hg_add(c, in[0].obj, in[1].obj, &sum);
    if (st == HG_OK) *out = hg_value_of(sum);
    return st;
}

TEST(inputs_that_need_no_gradient_get_zeros) {
    hg_module *m = layer("identity");
    hg_tensor *x = leaf(2), *plain = scalar(5);
    hg_value in[] = {hg_value_of(x), hg_value_of(plain)}, out;
    m->forward = add_forward;
    add(m, HG_HOOK_BACKWARD, see_backward, NULL, 0);
    CHECK_OK(hg_module_call(cx, m, in, 2, (hg_value){0}, &out));
    CHECK_OK(backward(out.obj));
    CHECK_WORDS(seen, "in:1 in:0 out:1");
    drop(x), drop(plain), drop(out.obj);
    hg_release(cx, m);
}

TEST(hooks_fire_at_the_outputs_where_no_input_needs_a_gradient) {
    hg_module *m;
    hg_tensor *x = tensor_of(SHAPE(1, 1), VALUES(2)), *y, *s;
    CHECK_OK(hg_linear_new(cx, 1, 1, true, &m));
    add(m, HG_HOOK_BACKWARD, see_backward, NULL, 0);
    y = call1(m, x);
    s = OP(SUM, hg_t(y));
    CHECK_OK(backward(s));
    CHECK_WORDS(seen, "in:none out:1");
    CHECK(strstr(host->last_warning, "no inputs require gradients"));
    CHECK_EQ(ITEM(hg_module_param(cx, m, "weight")->grad), 2);
    drop(x), drop(y), drop(s);
    hg_release(cx, m);
}

TEST(in_place_layers_run_under_backward_hooks) {
    hg_module *m = layer("relu");
    hg_tensor *x = leaf(2), *y = OP(MUL, hg_t(x), hg_i(1));
    hg_value in = hg_value_of(y), out;
    CHECK_OK(hg_malloc_set_attr(cx, host, m, "inplace", hg_b(true)));
    add(m, HG_HOOK_BACKWARD, see_backward, NULL, 0);
    CHECK_OK(hg_module_call(cx, m, &in, 1, (hg_value){0}, &out));
    hg_tensor *z = OP(MUL, hg_t(out.obj), hg_t(y)); /* y is overwritten: its gradient has come through the layer too */
    CHECK_OK(backward(z));
    CHECK_WORDS(seen, "in:4 out:2"); /* what went round the module by way of y is not its output's */
    CHECK_EQ(ITEM(x->grad), 4);
    drop(x), drop(y), drop(z), drop(out.obj);
    hg_release(cx, m);
}

/* ---- Layers ------------------------------------------------------------------------------------------------------------------------- */

TEST(sequential_calls_its_children) {
    hg_module *children[3] = {NULL}, *m;
    CHECK_OK(hg_linear_new(cx, 2, 4, true, &children[0]));
    children[1] = layer("relu");
    CHECK_OK(hg_linear_new(cx, 4, 1, false, &children[2]));
    CHECK_OK(hg_sequential_new(cx, children, 3, &m));
    for (int i = 0; i < 3; i++) {
        add(children[i], HG_HOOK_FORWARD, note_hook, i == 0 ? "0" : i == 1 ? "1" : "2", 0);
        hg_release(cx, children[i]);
    }
    hg_tensor *x = tensor_of(SHAPE(3, 2), VALUES(1, 2, 3, 4, 5, 6)), *y = call1(m, x), *s = OP(SUM, hg_t(y));
    CHECK_WORDS(seen, "0 1 2");
    CHECK(y && y->shape[0] == 3 && y->shape[1] == 1);
    CHECK_OK(backward(s));
    CHECK(hg_module_param(cx, children[0], "weight")->grad != NULL);
    CHECK(hg_module_param(cx, children[2], "bias") == NULL);
    drop(x), drop(y), drop(s);
    hg_release(cx, m);
}

TEST(layers_by_name) {
    static const char *const names[] = {
        "linear",     "conv1d",     "conv2d",     "embedding",  "batch_norm",          "layer_norm",
        "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
        "dropout",    "flatten",    "identity",   "relu",       "leaky_relu",          "gelu",
        "silu",       "tanh",       "sigmoid",    "softmax",    "log_softmax",         "sequential"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) CHECK(hg_layer_find(names[i]) != NULL);
    CHECK(hg_layer_find("no such layer") == NULL);
    hg_module *m = NULL;
    CHECK_FAIL(HG_VALUE, "there is no layer 'no such layer'", hg_activation_new(cx, "no such layer", &m));
}

TEST(layers_refuse_what_is_no_tensor) {
    hg_module *m = layer("tanh");
    hg_value nothing = {0}, out;
    CHECK_FAIL(HG_TYPE, "argument 'input' (position 1) must be Tensor, not NoneType",
               hg_module_call(cx, m, &nothing, 1, (hg_value){0}, &out));
    hg_release(cx, m);
}
