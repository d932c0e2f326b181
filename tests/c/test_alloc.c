/* Running out of memory, everywhere: each scenario is run with the n-th allocation failing, for n = 1, 2, 3 ... until it gets
   through. Every failure must be a clean status, and leave nothing behind. */
#include "test.h"

#include <stdlib.h>

#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        hg_status st_ = (expr);                                                                                        \
        if (st_ != HG_OK) {                                                                                            \
            st = st_;                                                                                                  \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/* What a scenario makes; whatever there is is dropped at the end. */
typedef struct things {
    hg_tensor *t[16];
    hg_module *m[8];
} things;

static void drop_things(things *k) {
    for (int i = 0; i < 16; i++) hg_release(cx, k->t[i]);
    for (int i = 0; i < 8; i++) hg_release(cx, k->m[i]);
}

static hg_status filled(int n_dim, const int64_t *shape, bool grad, hg_tensor **out) {
    hg_status st = hg_tensor_empty(cx, HG_F32, n_dim, shape, out);
    if (st != HG_OK) return st;
    for (int64_t i = 0; i < (*out)->numel; i++) ((float *)(void *)(*out)->data)[i] = (float)(i % 7) / 4 - 0.5f;
    return grad ? hg_tensor_set_requires_grad(cx, *out, true) : HG_OK;
}

#define CALL(out, id, ...)                                                                                             \
    TRY(hg_call_op(cx, HG_OP_##id, (hg_arg[]){__VA_ARGS__}, (int)(sizeof((hg_arg[]){__VA_ARGS__}) / sizeof(hg_arg)),   \
                   out))

/* ---- Scenarios ----------------------------------------------------------------------------------------------------------------- */

static hg_status expression(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(filled(SHAPE(3, 4), true, &k.t[0]));
    TRY(filled(SHAPE(4), true, &k.t[1]));
    CALL(&k.t[2], MUL, hg_t(k.t[0]), hg_t(k.t[1]));
    CALL(&k.t[3], TANH, hg_t(k.t[2]));
    CALL(&k.t[4], SELECT, hg_t(k.t[3]), hg_i(0), hg_i(1));
    CALL(&k.t[5], SUM, hg_t(k.t[4]));
    TRY(hg_backward(cx, &k.t[5], NULL, 1, true, true, &k.t[0], 1, false, &k.t[6]));
    CALL(&k.t[7], SUM, hg_t(k.t[6]));
    TRY(hg_backward(cx, &k.t[7], NULL, 1, false, false, NULL, -1, false, NULL));
done:
    for (int i = 0; i < 2; i++) /* .grad made with a graph refers back to its leaf */
        if (k.t[i]) hg_tensor_set_grad(cx, k.t[i], NULL);
    drop_things(&k);
    return st;
}

static hg_status in_place(void) {
    things k = {0};
    hg_status st = HG_OK;
    hg_tensor **parts = NULL;
    int n = 0;
    TRY(filled(SHAPE(2, 3), true, &k.t[0]));
    TRY(filled(SHAPE(3), true, &k.t[5]));
    CALL(&k.t[1], MUL, hg_t(k.t[0]), hg_f(2));
    CALL(&k.t[2], SELECT, hg_t(k.t[1]), hg_i(0), hg_i(1));
    TRY(hg_call_inplace(cx, HG_OP_MUL, (hg_arg[]){hg_t(k.t[2]), hg_t(k.t[5])}, 2));
    TRY(hg_call_inplace(cx, HG_OP_EXP, (hg_arg[]){hg_t(k.t[1])}, 1));
    TRY(hg_call_list(cx, HG_OP_UNBIND, (hg_arg[]){hg_t(k.t[1])}, 1, &parts, &n));
    CALL(&k.t[3], CAT, hg_ts(parts, n));
    CALL(&k.t[4], SUM, hg_t(k.t[3]));
    TRY(hg_backward(cx, &k.t[4], NULL, 1, false, false, NULL, -1, false, NULL));
done:
    hg_list_free(cx, parts, n);
    drop_things(&k);
    return st;
}

static hg_status convnet(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(filled(SHAPE(2, 2, 6, 6), true, &k.t[0]));
    TRY(filled(SHAPE(3, 2, 3, 3), true, &k.t[1]));
    TRY(filled(SHAPE(3), true, &k.t[2]));
    CALL(&k.t[3], CONV2D, hg_t(k.t[0]), hg_t(k.t[1]), hg_t(k.t[2]), hg_i(1), hg_i(1));
    CALL(&k.t[4], BATCH_NORM, hg_t(k.t[3]), HG_NONE, HG_NONE, hg_t(k.t[2]), hg_t(k.t[2]), hg_b(true));
    CALL(&k.t[5], MAX_POOL2D, hg_t(k.t[4]), hg_i(2));
    CALL(&k.t[6], AVG_POOL2D, hg_t(k.t[5]), hg_i(3));
    CALL(&k.t[7], FLATTEN, hg_t(k.t[6]), hg_i(1));
    CALL(&k.t[8], FULL, hg_ints((int64_t[]){2}, 1), hg_i(1), hg_d(HG_I64));
    CALL(&k.t[9], CROSS_ENTROPY, hg_t(k.t[7]), hg_t(k.t[8]));
    TRY(hg_backward(cx, &k.t[9], NULL, 1, false, false, NULL, -1, false, NULL));
done:
    drop_things(&k);
    return st;
}

/* The gradient of a fused gradient runs a backward inside of a backward. */
static hg_status second_order(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(filled(SHAPE(2, 3), true, &k.t[0]));
    TRY(filled(SHAPE(3), true, &k.t[1]));
    CALL(&k.t[2], LAYER_NORM, hg_t(k.t[0]), hg_ints((int64_t[]){3}, 1), hg_t(k.t[1]), hg_t(k.t[1]));
    CALL(&k.t[3], SOFTMAX, hg_t(k.t[2]), hg_i(1));
    CALL(&k.t[4], MSE_LOSS, hg_t(k.t[3]), hg_t(k.t[0]));
    TRY(hg_backward(cx, &k.t[4], NULL, 1, true, true, &k.t[0], 1, false, &k.t[5]));
    CALL(&k.t[6], SUM, hg_t(k.t[5]));
    TRY(hg_backward(cx, &k.t[6], NULL, 1, false, false, &k.t[0], 1, false, &k.t[7]));
done:
    drop_things(&k);
    return st;
}

static hg_status do_nothing(hg_ctx *c, hg_call *call, void *data) {
    (void)c, (void)call, (void)data;
    return HG_OK;
}

static hg_status scale_output(hg_ctx *c, hg_call *call, void *data) {
    hg_tensor *t = hg_value_tensor(call->output), *out = NULL;
    (void)data;
    if (!t) return HG_OK;
    hg_status st = hg_call_op(c, HG_OP_MUL, (hg_arg[]){hg_t(t), hg_f(2)}, 2, &out);
    if (st == HG_OK) hg_value_set(c, &call->output, hg_value_of(out));
    return st;
}

static hg_status hooked_training(void) {
    static const hg_hook_kind kinds[] = {HG_HOOK_FORWARD_PRE, HG_HOOK_FORWARD, HG_HOOK_BACKWARD_PRE, HG_HOOK_BACKWARD};
    things k = {0};
    hg_hooks *h;
    hg_status st = HG_OK;
    hg_value in, out;
    TRY(hg_linear_new(cx, 3, 4, true, &k.m[0]));
    TRY(hg_activation_new(cx, "gelu", &k.m[1]));
    TRY(hg_linear_new(cx, 4, 1, true, &k.m[2]));
    TRY(hg_sequential_new(cx, k.m, 3, &k.m[3]));
    for (int i = 0; i < 4; i++) TRY(hg_module_add_hook(cx, k.m[i], kinds[i], do_nothing, NULL, 0, NULL));
    TRY(hg_module_add_hook(cx, k.m[1], HG_HOOK_BACKWARD, do_nothing, NULL, 0, NULL));
    TRY(hg_module_add_hook(cx, k.m[2], HG_HOOK_FORWARD, scale_output, NULL, HG_HOOK_ALWAYS_CALL, NULL));
    TRY(filled(SHAPE(2, 3), true, &k.t[0]));
    in = hg_value_of(k.t[0]);
    TRY(hg_module_call(cx, k.m[3], &in, 1, (hg_value){0}, &out));
    k.t[1] = hg_value_tensor(out);
    CALL(&k.t[2], MEAN, hg_t(k.t[1]));
    TRY(hg_tensor_retain_grad(cx, k.t[1]));
    TRY(hg_tensor_add_hook(cx, k.t[2], do_nothing, NULL, NULL));
    TRY(hg_node_hooks(cx, k.t[2]->grad_fn, HG_HOOK_NODE_PRE, true, &h));
    TRY(hg_hooks_put(cx, h, &(hg_hook){.id = 1, .fn = do_nothing}));
    TRY(hg_tensor_hooks(cx, k.t[0], HG_HOOK_POST_ACCUMULATE, true, &h));
    TRY(hg_hooks_put(cx, h, &(hg_hook){.id = 2, .fn = do_nothing}));
    TRY(hg_backward(cx, &k.t[2], NULL, 1, false, false, NULL, -1, false, NULL));
    hg_tensor *params[] = {hg_module_param(cx, k.m[0], "weight"), hg_module_param(cx, k.m[0], "bias")};
    hg_tensor *grads[] = {params[0] ? params[0]->grad : NULL, params[1] ? params[1]->grad : NULL};
    if (!params[0] || !params[1] || !grads[0] || !grads[1]) { /* hg_module_param() has no status to fail with */
        st = HG_MEMORY;
        goto done;
    }
    TRY(hg_sgd_step(cx, &(hg_sgd){.lr = 0.1, .momentum = 0.9}, 2, params, grads, &k.t[8]));
done:
    drop_things(&k);
    return st;
}

static hg_status pack(hg_ctx *c, void *data, hg_tensor *t, void **packed) {
    const hg_host *h = hg_lib_host(c->lib);
    hg_value tuple, v;
    hg_tensor *bare;
    (void)data;
    hg_status st = hg_tensor_detach(c, t, &bare);
    if (st != HG_OK) return st;
    v = hg_value_of(bare);
    st = h->tuple_new(h->ud, NULL, &v, 1, &tuple);
    hg_release(c, bare);
    if (st != HG_OK) return hg_no_memory(c);
    *packed = tuple.obj;
    return HG_OK;
}

static hg_status unpack(hg_ctx *c, void *data, void *packed, hg_tensor **out) {
    const hg_host *h = hg_lib_host(c->lib);
    (void)data;
    hg_retain(c, *out = hg_value_tensor(h->tuple_at(h->ud, packed, 0)));
    return HG_OK;
}

static hg_status scale(hg_ctx *c, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in) {
    hg_tensor *saved = NULL;
    (void)data;
    hg_status st = hg_function_saved(c, n, &saved);
    if (st == HG_OK) st = hg_mul(c, saved, grad[0], &grad_in[0]);
    hg_release(c, saved);
    return st;
}

static hg_status run_another(hg_ctx *c, hg_call *call, void *data) {
    things k = {0};
    hg_status st = HG_OK;
    (void)call, (void)data;
    c->grad_enabled = true;
    TRY(filled(SHAPE(2), true, &k.t[0]));
    CALL(&k.t[1], SUM, hg_t(k.t[0]));
    TRY(hg_backward(c, &k.t[1], NULL, 1, false, false, NULL, -1, false, NULL));
done:
    c->grad_enabled = false;
    drop_things(&k);
    return st;
}

static hg_status do_nothing_then(hg_ctx *c, void *data) { return (void)c, (void)data, HG_OK; }
static hg_status queue(hg_ctx *c, hg_call *call, void *data) {
    return (void)call, hg_backward_then(c, do_nothing_then, data);
}

/* Saved tensors packed, then and later, a function, global hooks, a backward within a backward, something queued. */
static hg_status hook_points(void) {
    const hg_host *h = hg_lib_host(cx->lib);
    things k = {0};
    hg_node *n = NULL;
    hg_hooks *table;
    hg_status st = HG_OK;
    hg_value in, out;
    bool pushed = false;
    void *name = h->name(h->ud, "data");
    if (!name) return hg_no_memory(cx);
    const hg_saved_hooks hooks = {pack, unpack, name};
    TRY(hg_global_hooks(cx, HG_HOOK_BACKWARD, &table));
    TRY(hg_hooks_put(cx, table, &(hg_hook){.id = 7, .fn = do_nothing}));
    TRY(filled(SHAPE(2, 3), true, &k.t[0]));
    TRY(hg_saved_hooks_push(cx, &hooks));
    pushed = true;
    CALL(&k.t[1], SIGMOID, hg_t(k.t[0]));
    TRY(hg_activation_new(cx, "tanh", &k.m[0]));
    TRY(hg_module_add_hook(cx, k.m[0], HG_HOOK_BACKWARD_PRE, queue, name, 0, NULL));
    in = hg_value_of(k.t[1]);
    TRY(hg_module_call(cx, k.m[0], &in, 1, (hg_value){0}, &out));
    k.t[2] = hg_value_tensor(out);
    hg_saved_hooks_pop(cx);
    pushed = false;
    TRY(filled(SHAPE(2, 3), false, &k.t[3]));
    TRY(hg_function_new(cx, "ScaleBackward", scale, name, &k.t[2], 1, &n));
    TRY(hg_function_set_outputs(cx, n, &k.t[3], (uint8_t[]){HG_OUT_DIFFERENTIABLE}, 1));
    TRY(hg_function_save(cx, n, &k.t[2], 1, false));
    TRY(hg_node_pack(cx, n, 0, 0, false, &hooks));
    TRY(hg_tensor_add_hook(cx, k.t[2], run_another, NULL, NULL));
    CALL(&k.t[4], SUM, hg_t(k.t[3]));
    TRY(hg_backward(cx, &k.t[4], NULL, 1, false, false, NULL, -1, false, NULL));
done:
    if (pushed) hg_saved_hooks_pop(cx);
    hg_release(cx, n);
    drop_things(&k);
    h->drop(h->ud, name);
    return st;
}

/* Call an op and send the gradient of its first output back; unique() has no derivative. */
static hg_status there_and_back(int id, const hg_arg *a, int n) {
    const hg_op_info *info = hg_op_at(cx->lib, id);
    hg_tensor *out[HG_MAX_OUT] = {NULL}, **list = NULL, *sum = NULL;
    int n_list = 0;
    if (!info) return hg_no_memory(cx);
    hg_status st = info->n_out ? hg_call_op(cx, id, a, n, out) : hg_call_list(cx, id, a, n, &list, &n_list);
    hg_tensor *first = info->n_out ? out[0] : n_list ? list[0] : NULL;
    if (st == HG_OK && first && hg_tensor_requires_grad(first) && id != HG_OP_UNIQUE) {
        st = hg_call_op(cx, HG_OP_SUM, (hg_arg[]){hg_t(first)}, 1, &sum);
        if (st == HG_OK) st = hg_backward(cx, &sum, NULL, 1, false, false, NULL, -1, false, NULL);
    }
    for (int i = 0; i < HG_MAX_OUT; i++) hg_release(cx, out[i]);
    hg_list_free(cx, list, n_list);
    hg_release(cx, sum);
    return st;
}
#define BOTH(id, ...)                                                                                                  \
    TRY(there_and_back(HG_OP_##id, (hg_arg[]){__VA_ARGS__}, (int)(sizeof((hg_arg[]){__VA_ARGS__}) / sizeof(hg_arg))))

static const int64_t two_one[] = {2, 1}, zero_one[] = {0, 1}, flat[] = {-1}, pad[] = {1, 1, 0, 1};

/* A 3x3 tensor, a 2x3x3 one, and the indices 2, 0. */
static hg_status make_inputs(things *k) {
    hg_status st = HG_OK;
    TRY(filled(SHAPE(3, 3), true, &k->t[0]));
    TRY(filled(SHAPE(2, 3, 3), true, &k->t[1]));
    TRY(hg_tensor_empty(cx, HG_I64, SHAPE(2), &k->t[2]));
    int64_t *at = (int64_t *)(void *)k->t[2]->data;
    at[0] = 2, at[1] = 0;
done:
    return st;
}

static hg_status shapes(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(make_inputs(&k));
    hg_arg x = hg_t(k.t[0]), y = hg_t(k.t[1]);
    hg_tensor *pair[] = {k.t[0], k.t[0]}, *vectors[] = {k.t[2], k.t[2]};
    BOTH(CAT, hg_ts(pair, 2), hg_i(1));
    BOTH(STACK, hg_ts(pair, 2), hg_i(1));
    BOTH(BLOCK_DIAG, hg_ts(pair, 2));
    BOTH(MESHGRID, hg_ts(vectors, 2), hg_s("ij"));
    BOTH(SPLIT, x, hg_i(2), hg_i(1));
    BOTH(UNBIND, x, hg_i(1));
    BOTH(CHUNK, x, hg_i(2), hg_i(0));
    BOTH(TENSOR_SPLIT, x, hg_i(2), hg_i(0));
    BOTH(REPEAT, x, hg_ints(two_one, 2));
    BOTH(REPEAT_INTERLEAVE_INT, x, hg_i(2), hg_i(0));
    BOTH(ROLL, x, hg_ints(two_one, 2), hg_ints(zero_one, 2));
    BOTH(ROLL, x, hg_ints(two_one, 1));
    BOTH(FLIP, x, hg_ints(zero_one, 1));
    BOTH(ROT90, x);
    BOTH(DIAG_EMBED, x);
    BOTH(DIAGONAL, x);
    BOTH(AS_STRIDED, x, hg_ints(two_one, 2), hg_ints(two_one, 2));
    BOTH(UNFOLD, x, hg_i(0), hg_i(2), hg_i(1));
    BOTH(RESHAPE, x, hg_ints(flat, 1));
    BOTH(PAD, x, hg_ints(pad, 4));
    BOTH(PAD, y, hg_ints(pad, 2), hg_s("reflect"));
    BOTH(PAD, y, hg_ints(pad, 2), hg_s("circular"));
done:
    drop_things(&k);
    return st;
}

static hg_status indices(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(make_inputs(&k));
    CALL(&k.t[3], GT, hg_t(k.t[0]), hg_f(0));
    CALL(&k.t[4], EXPAND, hg_t(k.t[2]), hg_ints((int64_t[]){3, 2}, 2));
    hg_arg x = hg_t(k.t[0]), index = hg_t(k.t[2]), mask = hg_t(k.t[3]), wide = hg_t(k.t[4]);
    hg_tensor *at[] = {NULL, k.t[2]}, *masks[] = {k.t[3]};
    BOTH(INDEX_SELECT, x, hg_i(1), index);
    BOTH(INDEX_FILL, x, hg_i(1), index, hg_f(2));
    BOTH(GATHER, x, hg_i(1), wide);
    BOTH(SCATTER, x, hg_i(1), wide, x);
    BOTH(SCATTER_ADD, x, hg_i(1), wide, x);
    BOTH(TAKE, x, index);
    BOTH(MASKED_SELECT, x, mask);
    BOTH(MASKED_SCATTER, x, mask, x);
    BOTH(NONZERO_NUMPY, x);
    BOTH(INDEX, x, hg_ts(at, 2));
    BOTH(INDEX, x, hg_ts(masks, 1));
    CALL(&k.t[7], NARROW, x, hg_i(1), hg_i(0), hg_i(2));
    BOTH(INDEX_PUT, x, hg_ts(at, 2), hg_t(k.t[7]), hg_b(true));
    BOTH(SORT, x);
    BOTH(TOPK, x, hg_i(2));
    BOTH(KTHVALUE, x, hg_i(2));
    BOTH(UNIQUE, x, hg_b(true), hg_b(true), hg_b(true));
    hg_index parts[] = {{.kind = HG_IX_NEW},
                        {.kind = HG_IX_SLICE, .start = 1, .stop = 3, .step = 1},
                        {.kind = HG_IX_TENSOR, .t = k.t[2]}};
    TRY(hg_get_index(cx, k.t[0], parts, 3, &k.t[5]));
    CALL(&k.t[6], CLONE, x);
    TRY(hg_set_index(cx, k.t[6], parts, 3, hg_f(1)));
    CALL(&k.t[8], SELECT, x, hg_i(0), hg_i(0));
    TRY(hg_set_index(cx, k.t[6], parts + 1, 1, hg_t(k.t[8])));
done:
    drop_things(&k);
    return st;
}

static hg_status products(void) {
    things k = {0};
    hg_status st = HG_OK;
    TRY(make_inputs(&k));
    CALL(&k.t[3], SELECT, hg_t(k.t[0]), hg_i(0), hg_i(0));
    CALL(&k.t[4], EYE, hg_i(3));
    CALL(&k.t[5], ADD, hg_t(k.t[0]), hg_t(k.t[4]), hg_i(4));
    hg_arg x = hg_t(k.t[0]), y = hg_t(k.t[1]), v = hg_t(k.t[3]);
    hg_tensor *pair[] = {k.t[0], k.t[0]}, *three[] = {k.t[3], k.t[0], k.t[3]};
    BOTH(MATMUL, x, x);
    BOTH(MATMUL, y, x);
    BOTH(MATMUL, x, y);
    BOTH(MATMUL, v, y);
    BOTH(LINEAR, y, x, v);
    BOTH(ADDMV, v, x, v);
    BOTH(ADDR, x, v, v);
    BOTH(BADDBMM, x, y, y);
    BOTH(ADDBMM, x, y, y);
    BOTH(EINSUM, hg_s("ij,kj->ki"), hg_ts(pair, 2));
    BOTH(EINSUM, hg_s("ii"), hg_ts(pair, 1));
    BOTH(TENSORDOT_INT, x, x, hg_i(2));
    BOTH(KRON, x, v);
    BOTH(TRACE, x);
    BOTH(MULTI_DOT, hg_ts(three, 3));
    CALL(&k.t[6], INV, hg_t(k.t[4]));
    BOTH(MATRIX_POWER, x, hg_i(3));
    BOTH(CDIST, x, x);
    BOTH(EUCLIDEAN_DIST, x, x);
done:
    drop_things(&k);
    return st;
}

/* ---- The loop ---------------------------------------------------------------------------------------------------------------------- */

static char words[sizeof(((hg_ctx *)NULL)->words)]; /* of the last failure */

static hg_status open_and_run(hg_status (*scenario)(void), long fail_at, long *left) {
    host = calloc(1, sizeof *host);
    if (!host) abort();
    host->fail_at = fail_at;
    hg_status st = hg_malloc_open(&host, &cx);
    *left = 0;
    if (st != HG_OK) return st;
    st = scenario();
    snprintf(words, sizeof words, "%s", cx->words);
    if (st != HG_OK) CHECK(words[0] != 0);
    CHECK(cx->grad_enabled && !cx->scope && !cx->run);
    host->fail_at = 0;
    *left = hg_malloc_close(host, cx);
    return st;
}

static void fail_each(const char *name, hg_status (*scenario)(void)) {
    hg_malloc_host *outer_host = host;
    hg_ctx *outer = cx;
    long n = 0, left;
    hg_status st;
    do {
        st = open_and_run(scenario, ++n, &left);
        bool clean = st == HG_OK || st == HG_MEMORY ||
                     strstr(words, "can't allocate memory"); /* torch's, of a tensor */
        if (!clean) test_fail(__FILE__, __LINE__, "%s: allocation %ld fails as status %d, %s", name, n, (int)st, words);
        if (left) test_fail(__FILE__, __LINE__, "%s: allocation %ld failing leaves %ld behind", name, n, left);
    } while (st != HG_OK && n < 20000 && n_failed_checks < 20);
    CHECK(n > 20 && st == HG_OK);
    host = outer_host;
    cx = outer;
}

#define SCENARIO(name)                                                                                                 \
    TEST(out_of_memory_in_##name) { fail_each(#name, name); }
SCENARIO(shapes)
SCENARIO(indices)
SCENARIO(products)
SCENARIO(expression)
SCENARIO(in_place)
SCENARIO(convnet)
SCENARIO(second_order)
SCENARIO(hooked_training)
SCENARIO(hook_points)
