/* Full backward hooks, and the older ones that see one node only: see Note [Full backward hooks] in module_impl.h. */
#include "autograd_impl.h"
#include "module_impl.h"

#include <stdio.h>
#include <string.h>

/* Where the node at the outputs finds the one at the inputs. */
typedef struct hg_backward_link {
    uint32_t n_ref;
    struct side *inputs; /* borrowed; NULL once it is gone */
} hg_backward_link;

/* The data of a node's hook: one end of a module's call. */
typedef struct side {
    uint32_t n_ref;
    hg_lib *lib;
    hg_module *module;    /* owned, as the tables; NULL where the hooks are legacy ones */
    hg_module_life *life; /* counted: those hold the module weakly */
    hg_hooks *pre, *full;
    hg_backward_link *link; /* counted */
    hg_value grad_output;   /* owned; at the inputs, while a backward is between the two ends or has ended there */
    size_t n_inputs;        /* of the module, where the hooks run at the outputs */
    size_t n_values;        /* of this end, tensors or not */
    uint32_t n_tensors;
    uint32_t index[]; /* [n_tensors] their places among the values */
} side;

/* ---- Life --------------------------------------------------------------------------------------------------------------- */

static void link_release(hg_lib *lib, hg_backward_link *link) {
    if (link && !--link->n_ref) hg_mem_free(lib, link);
}

static void side_hold(void *data) { ((side *)data)->n_ref++; }

static void side_drop(void *data) {
    side *s = data;
    if (--s->n_ref) return;
    void *owned[] = {s->module, s->pre, s->full};
    for (int i = 0; i < 3; i++)
        if (owned[i]) hg_release_in(s->lib, owned[i]);
    if (s->link && s->link->inputs == s) s->link->inputs = NULL;
    link_release(s->lib, s->link);
    hg_value_drop(s->lib, s->grad_output);
    hg_module_life_drop(s->lib, s->life);
    hg_mem_free(s->lib, s);
}

static hg_status side_new(hg_ctx *cx, hg_module *m, hg_backward_link *link, size_t n_values, side **out) {
    side *s = hg_mem(cx, sizeof *s + n_values * sizeof *s->index);
    if (!s) return HG_MEMORY;
    *s = (side){.n_ref = 1, .lib = cx->lib, .module = m, .link = link, .n_values = n_values};
    hg_retain(cx, m);
    if (s->link) s->link->n_ref++;
    *out = s;
    return HG_OK;
}

/* ---- The identity -------------------------------------------------------------------------------------------------------- */

static hg_status zeros_of(hg_ctx *cx, const hg_meta *m, hg_tensor **out) {
    HG_TRY(hg_tensor_empty(cx, (hg_dtype)m->dtype, m->n_dim, m->shape, out));
    memset((*out)->data, 0, (size_t)(*out)->numel * hg_dtypes[m->dtype].size);
    return HG_OK;
}

/* Every input gets its gradient, even one that needs none: the hooks are shown all of them. */
static hg_status apply_identity(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in) {
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (grad[k])
            hg_retain(cx, grad_in[k] = grad[k]);
        else
            HG_TRY(zeros_of(cx, &n->outs[k], &grad_in[k]));
    }
    return HG_OK;
}

static const hg_node_type identity_node = {"BackwardHookFunctionBackward", apply_identity};

/* The tensor that takes t's place: a view of it, which whoever sees all ops is told of. */
static hg_status passed_on(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    hg_status st = HG_OK;
    *out = NULL;
    cx->grad_enabled = false; /* it was enabled, or there would be no node */
    if (cx->lib->watch.passing) st = cx->lib->watch.passing(cx, t, out);
    if (st == HG_OK && !*out && hg_sees(cx, t))
        st = hg_call_op(cx, HG_OP_VIEW_SIZE, (hg_arg[]){hg_t(t), hg_ints(t->shape, t->n_dim)}, 2, out);
    cx->grad_enabled = true;
    if (st == HG_OK && !*out) st = hg_raw_detach(cx, t, out);
    return st == HG_OK && cx->lib->watch.known_as ? cx->lib->watch.known_as(cx, t, *out) : st;
}

/* Replace the tensors of at[n] by what has passed through a new node; at[] owns them from then on. */
static hg_status pass_tensors(hg_ctx *cx, const side *s, hg_value *at, hg_node *node) {
    int64_t *pool = node->pool;
    for (uint32_t k = 0; k < s->n_tensors; k++) {
        hg_value *v = &at[s->index[k]];
        hg_tensor *t = v->obj, *passed;
        HG_TRY(hg_gradient_edge(cx, t, &node->next[k]));
        hg_node_set_meta(node, k, t, &pool);
        HG_TRY(passed_on(cx, t, &passed));
        if (hg_tensor_requires_grad(t)) {
            hg_retain(cx, node);
            hg_set_history(cx, passed, node, k);
            hg_set_base(cx, passed, t, HG_VIEW_PASSED);
        } else { /* no gradient to show: a view, which leaves what is written to it to its base */
            hg_set_base(cx, passed, t, HG_VIEW_NORMAL);
        }
        hg_value_set(cx, v, hg_value_of(passed));
    }
    return HG_OK;
}

/* Send the tensors of a tuple through an identity node, hang the hook there, and replace the tuple. *passed is false where
   there is nothing to do: no gradient is wanted. Steals s. */
static hg_status pass(hg_ctx *cx, side *s, hg_hook_fn fn, hg_value *tuple, bool *passed) {
    const hg_host *host = HOST(cx);
    hg_value few[8], *at = few;
    hg_node *node = NULL;
    hg_hooks *hooks = NULL;
    size_t pool = 0;
    bool wanted = false;
    *passed = false;
    for (size_t i = 0; i < s->n_values; i++) {
        hg_tensor *t = hg_value_tensor(host->tuple_at(host->ud, tuple->obj, i));
        if (!t) continue;
        s->index[s->n_tensors++] = (uint32_t)i;
        wanted |= hg_tensor_requires_grad(t);
        pool += t->n_dim;
    }
    hg_status st = HG_OK;
    if (!wanted || !hg_records(cx)) goto done;
    if (s->n_values > 8 && !(at = hg_mem(cx, s->n_values * sizeof *at))) {
        at = few, st = HG_MEMORY;
        goto done;
    }
    if ((st = hg_node_make(cx, &identity_node, NULL, s->n_tensors, 0, s->n_tensors, false, pool, &node)) != HG_OK)
        goto done;
    for (size_t i = 0; i < s->n_values; i++) hg_value_retain(cx, at[i] = host->tuple_at(host->ud, tuple->obj, i));
    st = pass_tensors(cx, s, at, node);
    if (st == HG_OK) st = hg_node_hooks(cx, node, HG_HOOK_NODE, true, &hooks);
    hg_hook hook = {.id = hg_next_hook_id(cx->lib), .fn = fn, .data = s, .drop = side_drop, .hold = side_hold};
    if (st == HG_OK) st = hg_hooks_put(cx, hooks, &hook);
    hg_value out;
    if (st == HG_OK) st = hg_tuple_new(cx, tuple->obj, at, s->n_values, &out);
    for (size_t i = 0; i < s->n_values; i++) hg_value_release(cx, at[i]);
    if (st == HG_OK) hg_value_set(cx, tuple, out), *passed = true;
done:
    if (at != few) hg_mem_free(cx->lib, at);
    hg_release(cx, node);
    side_drop(s);
    return st;
}

/* ---- In backward --------------------------------------------------------------------------------------------------------- */

/* A tuple of n values with those of `from` at the places of s->index, and nothing elsewhere: new. */
static hg_status spread(hg_ctx *cx, const side *s, hg_value from, hg_value *out) {
    const hg_host *host = HOST(cx);
    hg_value few[8], *at = few;
    if (s->n_values > 8 && !(at = hg_mem(cx, s->n_values * sizeof *at))) return HG_MEMORY;
    memset(at, 0, s->n_values * sizeof *at);
    for (uint32_t k = 0; k < s->n_tensors; k++) at[s->index[k]] = host->tuple_at(host->ud, from.obj, k);
    hg_status st = hg_tuple_new(cx, NULL, at, s->n_values, out);
    if (at != few) hg_mem_free(cx->lib, at);
    return st;
}

/* And back: of the values those at s->index, as a tuple that replaces *slot. `shown`: the tuple that the hooks were given. */
static hg_status gather(hg_ctx *cx, const side *s, hg_value from, const void *shown, hg_value *slot) {
    const hg_host *host = HOST(cx);
    if (from.obj != shown && host->gradients) return host->gradients(host->ud, from, s->index, s->n_tensors, slot);
    hg_value few[8], *at = few, out;
    if (s->n_tensors > 8 && !(at = hg_mem(cx, s->n_tensors * sizeof *at))) return HG_MEMORY;
    for (uint32_t k = 0; k < s->n_tensors; k++) at[k] = host->tuple_at(host->ud, from.obj, s->index[k]);
    hg_status st = hg_tuple_new(cx, NULL, at, s->n_tensors, &out);
    if (at != few) hg_mem_free(cx->lib, at);
    if (st == HG_OK) hg_value_set(cx, slot, out);
    return st;
}

static hg_status check_count(hg_ctx *cx, hg_value v, size_t want, const char *hook, const char *what) {
    size_t n = 1;
    if (v.kind == HG_V_OTHER && HOST(cx)->gradients) return HG_OK; /* which looks at it in the end */
    if (v.kind == HG_V_TUPLE)
        n = HOST(cx)->tuple_size(HOST(cx)->ud, v.obj);
    else if (v.kind == HG_V_TENSOR && ((hg_tensor *)v.obj)->n_dim)
        n = (size_t)((hg_tensor *)v.obj)->shape[0];
    if (v.kind == HG_V_TUPLE && n == want) return HG_OK;
    if (n == want)
        return hg_fail(cx, HG_TYPE, "%s hook must return None or a tuple of %zu for %s, not a bare value", hook, want,
                       what);
    return hg_fail(cx, HG_STATE, "%s hook returned an invalid number of %s, got %zu, but expected %zu", hook, what, n,
                   want);
}

static hg_status run_each(hg_ctx *cx, hg_hooks *h, hg_call *call, hg_value *slot, const char *hook, const char *what) {
    size_t want = HOST(cx)->tuple_size(HOST(cx)->ud, slot->obj);
    for (uint32_t i = 0; h && i < h->n; i++) {
        call->flags = h->at[i].flags, call->id = h->at[i].id, call->file = h->at[i].file, call->line = h->at[i].line;
        HG_TRY(h->at[i].fn(cx, call, h->at[i].data));
        HG_TRY(check_count(cx, *slot, want, hook, what));
    }
    return HG_OK;
}

static hg_status at_inputs(hg_ctx *cx, hg_call *node_call, void *data) {
    side *s = data;
    if (s->grad_output.kind == HG_V_NONE) return HG_OK; /* the gradient came by another way than the outputs */
    hg_call call = {.kind = HG_HOOK_BACKWARD, .module = s->module, .grad_output = s->grad_output};
    hg_value_retain(cx, call.grad_output);
    hg_status st = spread(cx, s, node_call->grad_input, &call.grad_input);
    const void *shown = call.grad_input.obj;
    if (st == HG_OK) st = run_each(cx, s->full, &call, &call.grad_input, "Backward", "grad_input");
    if (st == HG_OK) hg_value_set(cx, &s->grad_output, (hg_value){0});
    if (st == HG_OK) st = gather(cx, s, call.grad_input, shown, &node_call->grad_input);
    hg_value_release(cx, call.grad_input);
    hg_value_release(cx, call.grad_output);
    return st;
}

static bool all_nothing(hg_ctx *cx, hg_value v) {
    const hg_host *host = HOST(cx);
    if (v.kind != HG_V_TUPLE) return v.kind == HG_V_NONE;
    for (size_t i = 0, n = host->tuple_size(host->ud, v.obj); i < n; i++)
        if (host->tuple_at(host->ud, v.obj, i).kind != HG_V_NONE) return false;
    return true;
}

/* No input needs a gradient: the hooks run here, at the outputs, with nothings for grad_input. */
static hg_status run_without_inputs(hg_ctx *cx, side *s, hg_value grad_output) {
    HG_TRY(hg_warn(
        cx, "UserWarning",
        "Full backward hook is firing when gradients are computed with respect to module outputs "
        "since no inputs require gradients. See "
        "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.register_full_backward_hook"
        " for more details."));
    hg_value few[8] = {{0}}, *at = few, nothing;
    if (s->n_inputs > 8 && !(at = hg_mem(cx, s->n_inputs * sizeof *at))) return HG_MEMORY;
    memset(at, 0, s->n_inputs * sizeof *at);
    hg_status st = hg_tuple_new(cx, NULL, at, s->n_inputs, &nothing);
    if (at != few) hg_mem_free(cx->lib, at);
    if (st != HG_OK) return st;
    hg_call call = {.kind = HG_HOOK_BACKWARD,
                    .module = s->module,
                    .grad_input = nothing,
                    .grad_output = grad_output,
                    .without_inputs = true};
    hg_value_retain(cx, nothing);
    hg_value_retain(cx, grad_output);
    for (uint32_t i = 0; s->full && i < s->full->n && st == HG_OK; i++) {
        const hg_hook *hook = &s->full->at[i];
        call.flags = hook->flags, call.id = hook->id, call.file = hook->file, call.line = hook->line;
        st = hook->fn(cx, &call, hook->data);
        if (st == HG_OK && !all_nothing(cx, call.grad_input))
            st = hg_fail(cx, HG_STATE,
                         "Backward hook for Modules where no input requires gradient should always return None or "
                         "None for all gradients.");
        hg_value_retain(cx, nothing); /* the next one sees them again */
        hg_value_set(cx, &call.grad_input, nothing);
    }
    hg_value_release(cx, call.grad_input);
    hg_value_release(cx, call.grad_output);
    hg_value_release(cx, nothing);
    return st;
}

static hg_status at_outputs(hg_ctx *cx, hg_call *node_call, void *data) {
    side *s = data;
    hg_call call = {.kind = HG_HOOK_BACKWARD_PRE, .module = s->module};
    HG_TRY(spread(cx, s, node_call->grad_output, &call.grad_output));
    const void *shown = call.grad_output.obj;
    hg_status st = run_each(cx, s->pre, &call, &call.grad_output, "Backward pre", "grad_output");
    if (st == HG_OK && s->link && s->link->inputs) {
        hg_value_retain(cx, call.grad_output);
        hg_value_set(cx, &s->link->inputs->grad_output, call.grad_output);
    } else if (st == HG_OK && !s->link) {
        st = run_without_inputs(cx, s, call.grad_output);
    }
    if (st == HG_OK) st = gather(cx, s, call.grad_output, shown, &node_call->grad_input);
    hg_value_release(cx, call.grad_output);
    return st;
}

/* Hooks of Module.register_backward_hook: whatever the output's node has for gradients. */
static hg_status at_last_node(hg_ctx *cx, hg_call *node_call, void *data) {
    side *s = data;
    hg_module *m = s->life->module;
    if (!m) return hg_fail(cx, HG_STATE, "You are trying to call the hook of a dead Module!");
    hg_call call = {.kind = HG_HOOK_BACKWARD, .module = m, .node = node_call->node};
    hg_retain(cx, m);
    hg_value_retain(cx, call.grad_input = node_call->grad_input);
    hg_value_retain(cx, call.grad_output = node_call->grad_output);
    hg_status st = HG_OK;
    for (uint32_t i = 0; i < s->full->n && st == HG_OK; i++) {
        call.flags = s->full->at[i].flags, call.id = s->full->at[i].id, call.file = s->full->at[i].file,
        call.line = s->full->at[i].line;
        st = s->full->at[i].fn(cx, &call, s->full->at[i].data);
    }
    if (st == HG_OK)
        hg_value_set(cx, &node_call->grad_input, call.grad_input);
    else
        hg_value_release(cx, call.grad_input);
    hg_value_release(cx, call.grad_output);
    hg_release(cx, m);
    return st;
}

bool hg_backward_hook_is(const hg_hook *h) {
    return h->fn == at_inputs || h->fn == at_outputs || h->fn == at_last_node;
}

int hg_backward_hook_visit(const hg_hook *h, hg_visit_fn visit, void *arg) {
    side *s = h->data;
    void *owned[] = {s->module, s->pre, s->full};
    int r = 0;
    for (int i = 0; i < 3 && !r; i++)
        if (owned[i]) r = visit(owned[i], true, arg);
    bool seen = s->grad_output.kind == HG_V_TUPLE || s->grad_output.kind == HG_V_OTHER;
    return !r && seen ? visit(s->grad_output.obj, false, arg) : r;
}

/* ---- In the call --------------------------------------------------------------------------------------------------------- */

/* Add the hooks of a table whose LEGACY flag is as given; *out is made with the first. */
static hg_status copy_hooks(hg_ctx *cx, const hg_hooks *from, uint32_t legacy, hg_hooks **out) {
    for (uint32_t i = 0; from && i < from->n; i++) {
        hg_hook hook = from->at[i];
        if ((hook.flags & HG_HOOK_LEGACY) != legacy) continue;
        hook.flags &= ~(uint32_t)HG_HOOK_PREPEND; /* in the table's order already */
        if (!*out) HG_TRY(hg_hooks_new(cx, from->kind, out));
        HG_TRY(hg_hooks_put(cx, *out, &hook));
    }
    return HG_OK;
}

hg_status hg_backward_hook_begin(hg_ctx *cx, hg_module *m, hg_backward_hook *bw) {
    hg_hooks *const *globals = cx->lib->globals;
    const hg_hooks *pre = hg_module_hooks_at(m, HG_HOOK_BACKWARD_PRE), *own = hg_module_hooks_at(m, HG_HOOK_BACKWARD);
    bw->module = m;
    HG_TRY(copy_hooks(cx, globals[HG_HOOK_BACKWARD_PRE], 0, &bw->pre));
    HG_TRY(copy_hooks(cx, pre, 0, &bw->pre));
    HG_TRY(copy_hooks(cx, globals[HG_HOOK_BACKWARD], 0, &bw->full));
    HG_TRY(copy_hooks(cx, own, 0, &bw->full));
    HG_TRY(copy_hooks(cx, globals[HG_HOOK_BACKWARD], HG_HOOK_LEGACY, &bw->legacy));
    return copy_hooks(cx, own, HG_HOOK_LEGACY, &bw->legacy);
}

void hg_backward_hook_end(hg_ctx *cx, hg_backward_hook *bw) {
    hg_release(cx, bw->pre);
    hg_release(cx, bw->full);
    hg_release(cx, bw->legacy);
    link_release(cx->lib, bw->link);
}

hg_status hg_backward_hook_inputs(hg_ctx *cx, hg_backward_hook *bw, hg_value *args) {
    side *s;
    if (!bw->full && !bw->pre) return HG_OK;
    bw->n_inputs = HOST(cx)->tuple_size(HOST(cx)->ud, args->obj);
    if (!(bw->link = hg_mem(cx, sizeof *bw->link))) return HG_MEMORY;
    *bw->link = (hg_backward_link){.n_ref = 1};
    HG_TRY(side_new(cx, bw->module, bw->link, bw->n_inputs, &s));
    bw->link->inputs = s;
    hg_retain(cx, s->full = bw->full);
    return pass(cx, s, at_inputs, args, &bw->at_inputs);
}

static const char *type_words(hg_ctx *cx, hg_value v, char *words, size_t size) {
    static const char *const kinds[] = {"nothing", "a tensor", "a tuple", "an object", "a module"};
    snprintf(words, size, "%s", kinds[v.kind]);
    if (HOST(cx)->show_type) HOST(cx)->show_type(HOST(cx)->ud, v, words, size);
    return words;
}

static hg_status pass_outputs(hg_ctx *cx, hg_backward_hook *bw, hg_value *output) {
    const hg_host *host = HOST(cx);
    hg_value tuple = *output;
    bool bare = output->kind != HG_V_TUPLE, passed;
    char words[200];
    side *s;
    if (bare && output->kind != HG_V_TENSOR)
        HG_TRY(hg_warn(cx, "module.UserWarning",
                       "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                       "but received %s",
                       type_words(cx, *output, words, sizeof words)));
    if (bare)
        HG_TRY(hg_tuple_new(cx, NULL, output, 1, &tuple));
    else
        hg_value_retain(cx, tuple);
    hg_status st = side_new(cx, bw->module, bw->link, host->tuple_size(host->ud, tuple.obj), &s);
    if (st == HG_OK) {
        hg_retain(cx, s->pre = bw->pre);
        if (!bw->at_inputs) { /* nobody to tell */
            s->n_inputs = bw->n_inputs;
            hg_retain(cx, s->full = bw->full);
            link_release(cx->lib, s->link);
            s->link = NULL;
        }
        st = pass(cx, s, at_outputs, &tuple, &passed);
    }
    if (st == HG_OK && bare && passed) {
        hg_value one = host->tuple_at(host->ud, tuple.obj, 0);
        hg_value_retain(cx, one);
        hg_value_set(cx, output, one);
    } else if (st == HG_OK && passed) {
        hg_value_retain(cx, tuple);
        hg_value_set(cx, output, tuple);
    }
    hg_value_release(cx, tuple);
    return st;
}

/* ---- Hooks on the last node ---------------------------------------------------------------------------------------------- */

#define DEPRECATED(what, missing)                                                                                      \
    hg_warn(cx, "module.FutureWarning",                                                                                \
            "Using " what " is deprecated and will be removed in future versions. This hook will be "                  \
            "missing some " missing)
#define INSTEAD " Please use register_full_backward_hook to get the documented behavior."

static bool all_tensors(hg_ctx *cx, hg_value v) {
    const hg_host *host = HOST(cx);
    if (v.kind != HG_V_TUPLE) return v.kind == HG_V_TENSOR;
    for (size_t i = 0, n = host->tuple_size(host->ud, v.obj); i < n; i++)
        if (host->tuple_at(host->ud, v.obj, i).kind != HG_V_TENSOR) return false;
    return true;
}

/* Are the nodes that made these tensors exactly those that `node` leads to? */
static bool leads_to(hg_ctx *cx, const hg_node *node, hg_value args) {
    const hg_host *host = HOST(cx);
    size_t n = host->tuple_size(host->ud, args.obj);
    for (size_t i = 0; i < n; i++) {
        const hg_node *fn = hg_value_tensor(host->tuple_at(host->ud, args.obj, i))->grad_fn;
        bool found = !fn;
        for (uint32_t k = 0; k < node->n_next && !found; k++) found = node->next[k].node == fn;
        if (!found) return false;
    }
    for (uint32_t k = 0; k < node->n_next; k++) {
        bool found = false; /* what leads nowhere is no input's */
        for (size_t i = 0; i < n && !found && node->next[k].node; i++)
            found = hg_value_tensor(host->tuple_at(host->ud, args.obj, i))->grad_fn == node->next[k].node;
        if (!found) return false;
    }
    return true;
}

hg_status hg_module_warn_of_legacy(hg_ctx *cx, hg_value args, hg_value output, const hg_node *node) {
    const hg_host *host = HOST(cx);
    if (!all_tensors(cx, output))
        return DEPRECATED(
            "non-full backward hooks on a Module that does not return a single Tensor or a tuple of Tensors",
            "of the grad_output." INSTEAD);
    if (!all_tensors(cx, args))
        return DEPRECATED(
            "non-full backward hooks on a Module that does not take as input a single Tensor or a tuple of Tensors",
            "of the grad_input." INSTEAD);
    size_t n = output.kind == HG_V_TUPLE ? host->tuple_size(host->ud, output.obj) : 0;
    for (size_t i = 1; i < n; i++) {
        const hg_node *fn = hg_value_tensor(host->tuple_at(host->ud, output.obj, i))->grad_fn;
        if (fn && fn != node)
            return DEPRECATED("a non-full backward hook when outputs are generated by different autograd Nodes",
                              "grad_output." INSTEAD);
    }
    if (!leads_to(cx, node, args))
        return DEPRECATED("a non-full backward hook when the forward contains multiple autograd Nodes",
                          "grad_input." INSTEAD);
    return HG_OK;
}

/* The node of the first tensor in the output: new, NULL where there is none. */
static hg_status last_node(hg_ctx *cx, hg_value output, hg_node **node) {
    hg_value first = output;
    *node = NULL;
    if (output.kind == HG_V_TENSOR)
        hg_value_retain(cx, first);
    else if (HOST(cx)->first_tensor)
        HG_TRY(HOST(cx)->first_tensor(HOST(cx)->ud, output, &first));
    else
        return HG_OK;
    hg_status st = hg_tensor_grad_fn(cx, first.obj, node);
    if (st == HG_OK) hg_retain(cx, *node);
    hg_value_release(cx, first);
    return st;
}

static hg_status hang_on(hg_ctx *cx, hg_backward_hook *bw, hg_node *node, hg_value args, hg_value output) {
    hg_hooks *hooks;
    side *s;
    HG_TRY(hg_node_hooks(cx, node, HG_HOOK_NODE, true, &hooks));
    HG_TRY(side_new(cx, NULL, NULL, 0, &s));
    hg_retain(cx, s->full = bw->legacy);
    hg_hook hook = {
        .id = hg_next_hook_id(cx->lib), .fn = at_last_node, .data = s, .drop = side_drop, .hold = side_hold};
    hg_status st = hg_module_life_of(cx, bw->module, &s->life);
    if (st == HG_OK) st = hg_hooks_put(cx, hooks, &hook);
    side_drop(s);
    return st == HG_OK ? hg_module_warn_of_legacy(cx, args, output, node) : st;
}

static hg_status hang_on_last_node(hg_ctx *cx, hg_backward_hook *bw, hg_value args, hg_value output) {
    hg_node *node;
    HG_TRY(last_node(cx, output, &node));
    hg_status st = node ? hang_on(cx, bw, node, args, output) : HG_OK;
    hg_release(cx, node);
    return st;
}

hg_status hg_backward_hook_outputs(hg_ctx *cx, hg_backward_hook *bw, hg_value args, hg_value *output) {
    if (bw->full || bw->pre) HG_TRY(pass_outputs(cx, bw, output));
    return bw->legacy ? hang_on_last_node(cx, bw, args, *output) : HG_OK;
}
