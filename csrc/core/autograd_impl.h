/* History of tensors: who made them, what they are views of, what in-place operations did to them.

   Note [Views]
   A view shares its base's storage and so its version. An in-place operation on a view changes the base: the base's history
   becomes a CopySlices node (the old gradient with the view's part sent through the operation), and every view of it is stale:
   its `seen_version` is behind the storage's, and hg_tensor_grad_fn() gives it a new AsStridedBackward0 node on demand;
   or, where it was made while hg_ctx.replays_views, the nodes of the ops that made it.

   Note [Passed tensors]
   A full backward hook lays an identity node over a tensor: what comes out is another tensor in the same memory, with the node
   for its history. Changed in place it keeps that history, or the hook would be bypassed: it counts as the base of its own
   views, and takes the operation as a tensor without base does. The tensor it was made from is then as if it had been
   overwritten with it. */
#ifndef HG_AUTOGRAD_IMPL_H
#define HG_AUTOGRAD_IMPL_H

#include "node_impl.h"

enum {
    HG_VIEW_NORMAL,
    HG_VIEW_NO_GRAD,
    HG_VIEW_INFERENCE,
    HG_VIEW_MULTI_OUTPUT,
    HG_VIEW_CUSTOM,
    HG_VIEW_PASSED,
    HG_SAVED_OWN_OUTPUT,
    HG_STANDS_FOR_EDGE /* made by hg_node_output(): it retains nothing */
};

/* The cold part of a tensor. */
struct hg_extra {
    hg_hooks *hooks;          /* owned; tensor hooks, also hung on grad_fn where there is one */
    hg_hooks *post;           /* owned; post-accumulate-grad hooks */
    hg_node *accumulator;     /* borrowed: it owns the tensor, and clears this when it dies */
    hg_node *resting;         /* owned; an accumulator that no graph holds: see Note [Resting accumulators] in node.c */
    struct hg_packed *packed; /* owned; this tensor only stands for one that saved-tensor hooks took away */
    hg_node *stands_for;      /* owned; the accumulator of the leaf this was unpacked as */
    hg_node *keeps;           /* owned; whose output keeps_nr fills .grad: most often grad_fn */
    uint32_t keeps_nr;
    bool retains_grad;
    bool has_grad_dtype; /* grad_dtype was set */
    uint8_t grad_dtype;  /* of what may become .grad; HG_NO_DTYPE: any */
};

static inline bool hg_is_packed(const hg_tensor *t) { return t->extra && t->extra->packed; }

/* Run the derivative and make its results the outputs of one node; gradients are enabled, what was saved is unpacked. */
hg_status hg_backward_as_one(hg_ctx *cx, hg_back *b);

/* The backward that is running the node, if it is one for some inputs only; else NULL. */
const struct hg_run *hg_partial_run(const hg_ctx *cx, const hg_node *n);
/* Does such a run want the gradient that goes to the node? */
bool hg_run_wants(const struct hg_run *run, const hg_node *to);

/* The same of an argument that an op's new node is to lead to; *e is zero. */
static inline hg_status hg_wanted_edge(hg_ctx *cx, hg_tensor *t, hg_edge *e) {
    if (t->base) return hg_gradient_edge(cx, t, e);
    hg_node *n = t->grad_fn ? t->grad_fn : t->extra ? t->extra->accumulator : NULL;
    if (!n) return e->nr = 0, hg_tensor_accumulator(cx, t, &e->node); /* the node may have had another life */
    hg_retain(cx, n);
    e->node = n, e->nr = t->grad_fn ? t->out_nr : 0;
    return HG_OK;
}

hg_status hg_extra_of(hg_ctx *cx, hg_tensor *t, struct hg_extra **out);
/* No node fills .grad of t, which e is the extra of, any more. */
void hg_keep_no_grad(hg_lib *lib, hg_tensor *t, struct hg_extra *e);
/* t is about to be changed: tell who watches. */
static inline hg_status hg_announce_write(hg_ctx *cx, hg_tensor *t) {
    hg_status st = cx->lib->watch.writing ? cx->lib->watch.writing(cx, t) : HG_OK;
    return st == HG_OK ? HG_OK : (cx->status = st);
}
/* May t be written to: its memory; its history, to be based on a new node; both, as far as the mode asks for? */
hg_status hg_check_writable(hg_ctx *cx, hg_tensor *t);
hg_status hg_check_rebase(hg_ctx *cx, hg_tensor *t);
hg_status hg_check_inplace(hg_ctx *cx, hg_tensor *t, bool recording);
/* t was made by output nr of the node: steals node. */
void hg_set_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr);
/* t shows its memory another way from here on, by the node (t.t_()): steals node. As in PyTorch its hooks, those to come too,
   and its retained gradient stay with the old one. */
void hg_move_history(hg_ctx *cx, hg_tensor *t, hg_node *node);
/* Does t, if it is a view, take a new history when its base is written to? */
bool hg_can_follow(const hg_tensor *t);
/* t was changed in place by the node: steals node (also on failure). */
hg_status hg_rebase_history(hg_ctx *cx, hg_tensor *t, hg_node *node);
/* t is output nr of the node again, as a derivative sees it: of an operation done through a view, the view's part of what
   CopySlices made. */
hg_status hg_restore_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr);
void hg_put_grad(hg_ctx *cx, hg_tensor *t, hg_tensor *grad); /* t->grad: steals it; NULL: none */
void hg_set_base(hg_ctx *cx, hg_tensor *view, hg_tensor *of, uint8_t kind);
/* `view` has just been made by a view op on `of`, in the modes that are on. */
void hg_made_view(hg_ctx *cx, hg_tensor *view, hg_tensor *of, bool one_of_several);

/* What a node keeps in place of `t`: t itself, or a stand-in for what the hooks in force packed. New. */
hg_status hg_save(hg_ctx *cx, hg_tensor *t, hg_tensor **kept, uint32_t *version);
hg_status hg_save_output(hg_ctx *cx, hg_tensor *t, hg_tensor **kept, uint32_t *version);
hg_status hg_keep_output(hg_ctx *cx, hg_tensor *t, hg_arg *to); /* of an op: Note [Saved outputs] in saved.c */
/* Output k as its node's derivative sees it where nothing is recorded: without its history. New. */
hg_status hg_saved_output(hg_ctx *cx, hg_node *n, uint32_t k, hg_tensor **out);
hg_status hg_freed_already(hg_ctx *cx);
void hg_packed_free(hg_lib *lib, struct hg_packed *p);
int hg_packed_visit(struct hg_packed *p, hg_visit_fn visit, void *arg);
void hg_saved_levels_free(hg_ctx *cx);
/* Levels are counted: a backward may hold those it was begun with. NULL is fine. */
struct hg_saved_level *hg_saved_level_hold(struct hg_saved_level *level);
void hg_saved_level_drop(hg_ctx *cx, struct hg_saved_level *level);

/* Note [Locals of a backward] in locals.c */
typedef struct hg_locals {
    bool grad_enabled, inference;
    uint32_t n_changes;           /* the context's, when it was last as is written here */
    struct hg_saved_level *saved; /* held */
    char *no_saved_hooks;         /* owned */
    void *host;                   /* owned host reference; NULL: no modes of its own */
} hg_locals;
hg_status hg_locals_keep(hg_ctx *cx, hg_locals *l);
hg_status hg_locals_changed(hg_ctx *cx, hg_locals *l, hg_status st);
void hg_locals_drop(hg_ctx *cx, hg_locals *l);
/* Put back what the node, which ended with status st, left otherwise. */
static inline hg_status hg_locals_restore(hg_ctx *cx, hg_locals *l, hg_status st) {
    cx->grad_enabled = l->grad_enabled, cx->inference = l->inference;
    return cx->n_changes == l->n_changes ? st : hg_locals_changed(cx, l, st);
}

void hg_tensor_finalize(hg_lib *lib, hg_tensor *t);
void hg_tensor_clear(hg_lib *lib, hg_tensor *t);
int hg_tensor_visit(hg_tensor *t, hg_visit_fn visit, void *arg);
void hg_hooks_finalize(hg_lib *lib, hg_hooks *h);
int hg_hooks_visit(hg_hooks *h, hg_visit_fn visit, void *arg);

#endif
