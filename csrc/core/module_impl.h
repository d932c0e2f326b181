/* Modules and the tables they keep: what module.c, table.c, backward_hook.c and lib.c share. */
#ifndef HG_MODULE_IMPL_H
#define HG_MODULE_IMPL_H

#include "core_impl.h"

/* A module's hooks, one table a kind, each made with its first hook. Kinds before FORWARD_PRE belong to tensors and
   nodes. */
#define HG_FIRST_MODULE_HOOK HG_HOOK_FORWARD_PRE
struct hg_module_hook_tables {
    hg_hooks *at[HG_N_HOOK_KINDS - HG_FIRST_MODULE_HOOK]; /* owned */
};

static inline hg_hooks *hg_module_hooks_at(const hg_module *m, hg_hook_kind kind) {
    return m->hooks ? m->hooks->at[kind - HG_FIRST_MODULE_HOOK] : NULL;
}

/* What holds a module weakly: shared by the module and the holders, freed with the last of them. */
typedef struct hg_module_life {
    uint32_t n_ref;
    hg_module *module; /* borrowed; NULL: gone */
} hg_module_life;

hg_status hg_module_life_of(hg_ctx *cx, hg_module *m, hg_module_life **out); /* counted */
void hg_module_life_drop(hg_lib *lib, hg_module_life *life);                 /* NULL is fine */

/* Lifetime, called from lib.c: see hg_finalize(), hg_clear() and hg_visit(). */
void hg_module_finalize(hg_lib *lib, hg_module *m);
void hg_module_clear(hg_lib *lib, hg_module *m);
int hg_module_visit(hg_module *m, hg_visit_fn visit, void *arg);
void hg_table_finalize(hg_lib *lib, hg_table *t);
void hg_table_empty(hg_lib *lib, hg_table *t); /* hg_table_clear(), for who has no context */
int hg_table_visit(hg_table *t, hg_visit_fn visit, void *arg);

/* Release a value without a context at hand: finalizers and destructors have none. */
void hg_value_drop(hg_lib *lib, hg_value v);

/* Note [Full backward hooks]
   A full backward hook sees the gradients of all outputs and of all inputs of one call of a module at once. So the inputs
   and the outputs pass through one node each, an identity. The one at the outputs runs first: it collects grad_output and
   runs the pre-hooks. The one at the inputs runs when everything in between is done: it has grad_input and runs the hooks.
   Where no input needs a gradient there is no second node, and the hooks run at the first, with nothing for grad_input.

   Both nodes have a node hook whose data (a side) owns the module (weakly, where the hooks are legacy ones) and the hooks
   as they were when the module was called. What the first has to tell the second, grad_output, it puts into the second's
   side, which it finds by a small struct that both share. A side reports what it owns to the cycle collector: a module
   that keeps its own output is an ordinary thing to write. */
typedef struct hg_backward_hook {
    hg_module *module; /* borrowed: used during the call only */
    hg_hooks *pre;     /* owned, as the next; NULL where there are none */
    hg_hooks *full;
    hg_hooks *legacy;              /* hooks of Module.register_backward_hook */
    struct hg_backward_link *link; /* counted */
    size_t n_inputs;
    bool at_inputs; /* is there a node at the inputs? */
} hg_backward_hook;

/* Takes the hooks of the module and the global ones as they are now. */
hg_status hg_backward_hook_begin(hg_ctx *cx, hg_module *m, hg_backward_hook *bw);
/* Each replaces the value by one that has passed through the node. args is a tuple. */
hg_status hg_backward_hook_inputs(hg_ctx *cx, hg_backward_hook *bw, hg_value *args);
hg_status hg_backward_hook_outputs(hg_ctx *cx, hg_backward_hook *bw, hg_value args, hg_value *output);
void hg_backward_hook_end(hg_ctx *cx, hg_backward_hook *bw);

/* For hg_hooks_visit(): if the hook is one of these, report what its data owns. */
bool hg_backward_hook_is(const hg_hook *h);
int hg_backward_hook_visit(const hg_hook *h, hg_visit_fn visit, void *arg);

#endif
