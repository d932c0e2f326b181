/* History of tensors: who made them, what they are views of, what in-place operations did to them.

   Note [Views]
   A view shares its base's storage and so its version. An in-place operation on a view changes the base: the base's history
   becomes a CopySlices node (the old gradient with the view's part sent through the operation), and every view of it is stale:
   its `seen_version` is behind the storage's, and hg_tensor_grad_fn() gives it a new AsStridedBackward0 node on demand. */
#ifndef HG_AUTOGRAD_IMPL_H
#define HG_AUTOGRAD_IMPL_H

#include "node_impl.h"

enum { HG_VIEW_NORMAL, HG_VIEW_NO_GRAD, HG_VIEW_MULTI_OUTPUT, HG_VIEW_CUSTOM };

/* The cold part of a tensor. */
struct hg_extra {
    hg_hooks *hooks;      /* owned; tensor hooks, also hung on grad_fn where there is one */
    hg_hooks *post;       /* owned; post-accumulate-grad hooks */
    hg_node *accumulator; /* borrowed: it owns the tensor, and clears this when it dies */
    bool retains_grad;
};

hg_status hg_extra_of(hg_ctx *cx, hg_tensor *t, struct hg_extra **out);
hg_status hg_check_inplace(hg_ctx *cx, hg_tensor *t, bool recording);
/* t was made by output nr of the node: steals node. */
void hg_set_history(hg_ctx *cx, hg_tensor *t, hg_node *node, uint32_t nr);
/* t was changed in place by the node: steals node (also on failure). */
hg_status hg_rebase_history(hg_ctx *cx, hg_tensor *t, hg_node *node);
void hg_set_base(hg_ctx *cx, hg_tensor *view, hg_tensor *of, uint8_t kind);

void hg_tensor_finalize(hg_lib *lib, hg_tensor *t);
void hg_tensor_clear(hg_lib *lib, hg_tensor *t);
int hg_tensor_visit(hg_tensor *t, hg_visit_fn visit, void *arg);
void hg_hooks_finalize(hg_lib *lib, hg_hooks *h);
int hg_hooks_visit(hg_hooks *h, hg_visit_fn visit, void *arg);

#endif
