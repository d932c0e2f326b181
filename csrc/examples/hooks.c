/* A two-layer network in C with a hook of every kind: one step of training, and what the hooks saw. */
#include "hookgrad_malloc.h"

#include <stdio.h>

static const char *const kinds[HG_N_HOOK_KINDS] = {
    "tensor", "post accumulate", "node pre", "node", "forward pre", "forward", "full backward pre", "full backward"};

static void show(const char *what, const hg_host *h, hg_value v) { /* a tensor, or the first one of a tuple */
    if (v.kind == HG_V_TUPLE && h->tuple_size(h->ud, v.obj)) v = h->tuple_at(h->ud, v.obj, 0);
    if (v.kind != HG_V_TENSOR) return;
    const hg_tensor *t = v.obj;
    printf("  %s %lldx%lld, first %+.4f", what, (long long)t->shape[0], (long long)(t->n_dim > 1 ? t->shape[1] : 1),
           ((const float *)(const void *)t->data)[0]);
}

static hg_status see(hg_ctx *cx, hg_call *call, void *name) { /* every hook here: a C function and a pointer */
    const hg_host *h = hg_lib_host(cx->lib);
    printf("%-17s %-8s", kinds[call->kind], (const char *)name);
    if (call->kind == HG_HOOK_FORWARD_PRE || call->kind == HG_HOOK_FORWARD) show("input", h, call->args);
    show("output", h, call->output), show("grad", h, call->grad), show("grad_input", h, call->grad_input);
    show("grad_output", h, call->grad_output);
    if (call->tensor) show(".grad", h, hg_value_of(call->tensor->grad));
    putchar('\n');
    return HG_OK;
}

#define CHECK(expr)                                                                                                    \
    if ((expr) != HG_OK) return fprintf(stderr, "%s: %s\n", #expr, hg_error(cx)), 1

int main(void) {
    hg_malloc_host *host = NULL;
    hg_ctx *cx;
    hg_module *layer[3], *net;
    hg_tensor *x, *y, *weight, *loss;
    hg_hooks *hooks;
    hg_value in, out;
    if (hg_malloc_open(&host, &cx) != HG_OK) return 1;
    CHECK(hg_linear_new(cx, 4, 3, true, &layer[0]));
    CHECK(hg_activation_new(cx, "relu", &layer[1]));
    CHECK(hg_linear_new(cx, 3, 1, true, &layer[2]));
    CHECK(hg_sequential_new(cx, layer, 3, &net));

    CHECK(hg_module_add_hook(cx, layer[1], HG_HOOK_FORWARD_PRE, see, "relu", 0, NULL));
    CHECK(hg_module_add_hook(cx, layer[1], HG_HOOK_FORWARD, see, "relu", 0, NULL));
    CHECK(hg_module_add_hook(cx, layer[1], HG_HOOK_BACKWARD_PRE, see, "relu", 0, NULL));
    CHECK(hg_module_add_hook(cx, layer[1], HG_HOOK_BACKWARD, see, "relu", 0, NULL));

    CHECK(hg_tensor_empty(cx, HG_F32, 2, (int64_t[]){2, 4}, &x));
    for (int i = 0; i < 8; i++) ((float *)(void *)x->data)[i] = (float)i / 8;
    in = hg_value_of(x);
    CHECK(hg_module_call(cx, net, &in, 1, (hg_value){0}, &out));
    y = hg_value_tensor(out);
    weight = hg_module_param(cx, layer[2], "weight");
    CHECK(hg_tensor_add_hook(cx, y, see, "output", NULL));
    CHECK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE_PRE, true, &hooks));
    CHECK(hg_hooks_put(cx, hooks, &(hg_hook){.id = hg_next_hook_id(cx->lib), .fn = see, .data = "addmm"}));
    CHECK(hg_node_hooks(cx, y->grad_fn, HG_HOOK_NODE, true, &hooks));
    CHECK(hg_hooks_put(cx, hooks, &(hg_hook){.id = hg_next_hook_id(cx->lib), .fn = see, .data = "addmm"}));
    CHECK(hg_tensor_hooks(cx, weight, HG_HOOK_POST_ACCUMULATE, true, &hooks));
    CHECK(hg_hooks_put(cx, hooks, &(hg_hook){.id = hg_next_hook_id(cx->lib), .fn = see, .data = "weight"}));

    CHECK(hg_sum(cx, y, &loss));
    CHECK(hg_backward(cx, &loss, NULL, 1, false, false, NULL, -1, false, NULL));
    printf("weight before the step %+.4f", ((float *)(void *)weight->data)[0]);
    CHECK(hg_sgd_step(cx, &(hg_sgd){.lr = 0.1}, 1, &weight, &weight->grad, &(hg_tensor *){NULL}));
    printf(", after it %+.4f\n", ((float *)(void *)weight->data)[0]);

    hg_release(cx, loss), hg_release(cx, y), hg_release(cx, x), hg_release(cx, net);
    for (int i = 0; i < 3; i++) hg_release(cx, layer[i]);
    return hg_malloc_close(host, cx) != 0; /* 0: nothing is left */
}
