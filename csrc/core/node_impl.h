/* Nodes of the graph.

   Note [Node layout]
   A node is one allocation: the struct, then its edges, its arguments and saved outputs, the shapes of what it made, and
   a pool with the lists its arguments point to. `extra` is the host's: it comes first because that is where a host's
   variable-sized objects keep their size. */
#ifndef HG_NODE_IMPL_H
#define HG_NODE_IMPL_H

#include "op_impl.h"

typedef struct hg_edge {
    hg_node *node; /* owned; NULL: that input needs no gradient */
    uint32_t nr;   /* which of node's outputs the input was */
} hg_edge;

/* Hooks of a node: made with the first one. */
typedef struct hg_out_hooks {
    hg_hooks *hooks;    /* owned; tensor hooks of that output */
    hg_tensor *retains; /* borrowed; whose .grad to fill, cleared when it dies */
    uint32_t next;      /* 1 + the output whose tensor hooks come next: they run as they were registered */
} hg_out_hooks;

typedef struct hg_node_extra {
    hg_hooks *pre, *post; /* owned */
    /* [n_next], owned: what the inputs were, where an edge leads to a node that knows one of another shape (after
       x.data = y); mostly NULL */
    hg_meta *sizes;
    uint32_t first, last; /* 1 + the output whose tensor hooks run first, last; 0: none */
    hg_out_hooks out[];   /* [n_out] */
} hg_node_extra;

/* What a node does in backward: grad[n_out] are borrowed, grad_in[n_next] are to be filled with new references. */
typedef struct hg_node_type {
    const char *name; /* NULL: the op's */
    hg_status (*apply)(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in);
} hg_node_type;

struct hg_node {
    size_t extra;
    void *host_own[2]; /* the host's: it may keep there what its objects need, and lets go before hg_finalize() */
    const hg_node_type *type;
    const hg_op_info *op;  /* of an op's node, else NULL */
    uint64_t seq;          /* newest first; UINT64_MAX for accumulators, which go as soon as they are ready */
    struct hg_task *tasks; /* of the backward runs under way that pass here */
    hg_node *next_dying;
    hg_node_extra *hooks; /* owned */
    hg_node *outer;       /* borrowed; of an `inner`: the CopySlices that owns it */
    /* owned; of CopySlices: the node of the operation done through the view; of a derivative that is one node: the node it
       is the derivative of */
    hg_node *inner;
    hg_edge *next;     /* [n_next] */
    hg_arg *args;      /* [n_args]; tensors are owned, and NULL where not saved or already freed */
    hg_arg *saved_out; /* [n_out], or NULL: outputs, without their history; Note [Saved outputs] in saved.c */
    hg_meta *outs;     /* [n_out] */
    int64_t *pool;
    /* [n_args]: the edge of that argument, or of a list's first entry; the op's own, or behind the pool */
    const uint32_t *first_edge;
    uint32_t n_next, n_out, n_args, n_pool;
    struct hg_function *function; /* owned; of a host's function */
    bool freed;                   /* what it saved is gone */
    bool compares_number;         /* of x.eq_(3) and its like: torch's overload for a number, of one edge */
};

/* Note [Functions]
   The node of an autograd.Function exists before its forward has run, so what is known only afterwards (the outputs' shapes,
   the saved tensors) is in memory of its own. */
typedef struct hg_function {
    const char *name;
    hg_function_apply apply;
    void *data;         /* held */
    hg_tensor **saved;  /* [n_saved], owned */
    uint32_t *versions; /* [n_saved] */
    uint32_t n_saved;
    uint8_t only;        /* of a derivative of the gradient of one argument: which, from 1 (twice.c) */
    bool once, accessed; /* are the saved tensors let go when they are asked for? have they been? */
    int64_t *metas;      /* the outputs' hg_meta and shapes */
} hg_function;

hg_status hg_node_extra_of(hg_ctx *cx, hg_node *n); /* makes n->hooks, where there is none */

/* "AddBackward0" as messages call it, "Add"; n may be NULL. */
const char *hg_node_short_name(const hg_node *n, char buf[HG_NODE_NAME]);

extern const hg_node_type hg_function_node, hg_op_node, hg_accumulate_node, hg_copy_slices_node;

/* A new node with room for that much; everything zero but the layout. */
hg_status hg_node_make(hg_ctx *cx, const hg_node_type *type, const hg_op_info *op, uint32_t n_next, uint32_t n_args,
                       uint32_t n_out, bool saves_out, size_t n_pool, hg_node **out);
/* hg_is_meta(), for what most often is not. */
static inline bool hg_on_meta(const hg_tensor *t) { return t->storage && t->storage->free && hg_is_meta(t); }
/* Takes t->n_dim from the pool. */
static inline void hg_node_set_meta(hg_node *n, uint32_t k, const hg_tensor *t, int64_t **pool) {
    hg_copy_dims(*pool, t->shape, t->n_dim);
    n->outs[k].dtype = t->dtype, n->outs[k].n_dim = t->n_dim, n->outs[k].on_meta = hg_on_meta(t);
    n->outs[k].shape = *pool;
    *pool += t->n_dim;
}
void hg_node_free_saved(hg_ctx *cx, hg_node *n);
static inline bool hg_is_saved(const hg_arg *a) { return a->kind == HG_A_TENSOR || a->kind == HG_A_STORAGE; }
/* t's accumulator that rests, without its variable; NULL: none does. */
hg_node *hg_node_revive(hg_ctx *cx, hg_tensor *t);

/* The edge a tensor's gradient goes to: its grad_fn or its accumulator (new reference in e->node; NULL if none wanted). */
hg_status hg_gradient_edge(hg_ctx *cx, hg_tensor *t, hg_edge *e);
/* Saved tensor i as a tensor with its history; new. */
hg_status hg_node_unpack(hg_ctx *cx, hg_node *n, const hg_arg *a, uint32_t version, bool output, int nr,
                         hg_tensor **out);

void hg_function_free(hg_lib *lib, hg_node *n);

/* Lifetime, called from lib.c. */
void hg_node_die(hg_lib *lib, hg_node *n);
void hg_node_clear(hg_lib *lib, hg_node *n);
int hg_node_visit(hg_node *n, hg_visit_fn visit, void *arg);

#endif
