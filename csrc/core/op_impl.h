/* What ops are written with.

   Note [Ops]
   An op is a row of the table (hookgrad_ops.def) and two functions. `forward` computes on raw memory: it sees its arguments
   in the schema's order, defaults filled in, and makes its outputs; it knows nothing of graphs. hg_call_op() records the
   node: edges to what made the arguments, and of the arguments and outputs only what `grads` says the wanted derivatives
   need. `backward` finds all that through the macros below and writes the derivative in terms of ops, so that it can be
   differentiated again. Gradients may be given in the broadcast shape and a promoted dtype: the engine sums them to the
   input's shape and casts them. */
#ifndef HG_OP_IMPL_H
#define HG_OP_IMPL_H

#include "core_impl.h"

/* ---- Forward -------------------------------------------------------------------------------------------------------- */

/* Output slot: makes *out, contiguous and uninitialised, where it is NULL; where it is given (in-place) checks that
   shape fits and that a result of dtype d can be cast into it, as torch does. */
hg_status hg_out(hg_ctx *cx, hg_tensor **out, hg_dtype d, int n_dim, const int64_t *shape);
bool hg_is_dense(const hg_tensor *t); /* Does t fill the memory it spans, each element once? */
/* A contiguous tensor with t's values, raw: t itself retained where it is contiguous already. New. */
hg_status hg_raw_contiguous(hg_ctx *cx, hg_tensor *t, hg_tensor **out);
hg_status hg_raw_row(hg_ctx *cx, hg_tensor *t, hg_tensor **out); /* all of t in one dimension; new */
/* An op that returns a list ("-> Tensor[]", info->n_out == 0) makes it so: *at is n empty slots for it to fill, which the
   dispatcher owns from then on. */
hg_status hg_out_list(hg_ctx *cx, hg_tensor **out, int64_t n, hg_tensor ***at);
/* A tensor of dtype d with t's values, raw; t itself retained where it has that dtype. New. */
hg_status hg_raw_cast(hg_ctx *cx, hg_tensor *t, hg_dtype d, hg_tensor **out);
/* to += from, where both are plain, of one shape and dtype, and `to` has its memory to itself; false: they are not. Raw. */
bool hg_raw_add_plain(hg_tensor *to, const hg_tensor *from);
/* Copy values with broadcasting and casting; raw. */
hg_status hg_raw_copy(hg_ctx *cx, hg_tensor *to, const hg_tensor *from);
hg_status hg_raw_fill(hg_ctx *cx, hg_tensor *to, hg_arg number);
/* n bytes, by hg_work(); of zeros where `from` is NULL. The two do not overlap. */
void hg_move_bytes(hg_ctx *cx, char *to, const char *from, size_t n);
/* A 0-dimensional tensor of the number; raw, new. */
hg_status hg_raw_scalar(hg_ctx *cx, hg_arg number, hg_dtype d, hg_tensor **out);

/* Broadcast shape of two shapes; fails as torch does ("The size of tensor a (3) must match ..."). */
hg_status hg_broadcast(hg_ctx *cx, int na, const int64_t *a, int nb, const int64_t *b, int *n, int64_t *out);
/* dim in [-n, n) made non-negative; n_dim 0 counts as 1. IndexError "Dimension out of range (expected to be in range of
   [-2, 1], but got 5)". */
hg_status hg_wrap_dim(hg_ctx *cx, int64_t dim, int n_dim, int *out);
/* Fails on negative sizes and overflow. */
hg_status hg_numel(hg_ctx *cx, int n_dim, const int64_t *shape, int64_t *out);
/* The dtype of a result, by torch.result_type: tensors with dimensions, then 0-d tensors, then numbers. */
hg_dtype hg_result_type(hg_ctx *cx, const hg_arg *a, int n);
static inline bool hg_is_number(const hg_arg *a) {
    return a->kind == HG_A_BOOL || a->kind == HG_A_INT || a->kind == HG_A_FLOAT;
}
static inline bool hg_given(const hg_arg *a) { return a->kind != HG_A_NONE; }
static inline double hg_number_f(const hg_arg *a) { return a->kind == HG_A_FLOAT ? a->u.f : (double)a->u.i; }
static inline int64_t hg_number_i(const hg_arg *a) { return a->kind == HG_A_FLOAT ? (int64_t)a->u.f : a->u.i; }
/* "Float" of float32, "Long" of int64: how torch's messages name a dtype. */
const char *hg_dtype_word(hg_dtype d, char buf[16]);
/* Fails as torch does where there is no kernel: "\"bincount_cpu\" not implemented for 'Float'". */
hg_status hg_no_kernel(hg_ctx *cx, const char *what, hg_dtype d);
hg_status hg_unlike(hg_ctx *cx, uint8_t want, uint8_t got); /* "expected scalar type Float but found Half" */
const char *hg_show_sizes(int n, const int64_t *at, char buf[256]);

/* ---- Backward ------------------------------------------------------------------------------------------------------- */

typedef struct hg_meta {
    uint8_t dtype, n_dim;
    bool on_meta;
    const int64_t *shape;
} hg_meta;

typedef struct hg_back hg_back;
struct hg_back {
    hg_node *node;
    const hg_op_info *info;
    hg_tensor **grad;    /* [n_out]; NULL where no gradient arrived (never for an op with a single output) */
    hg_tensor **grad_in; /* [edges]; what GIVE fills: owned */
    hg_tensor *in[HG_MAX_PARAMS], *out[HG_MAX_OUT]; /* what was saved, unpacked; the scope's */
    uint32_t need;            /* bit i: the gradient of parameter i is wanted, or of any of a list's */
    const struct hg_run *run; /* where only some inputs' gradients are wanted; else NULL */
};

void hg_back_plan(hg_back *b);                                         /* sets `need` */
bool hg_back_needs_at(const hg_back *b, int param, int j);             /* of a list's entry j */
bool hg_back_gives_at(const hg_back *b, int param, int j);             /* or hooks are shown it, as in torch */
hg_tensor *hg_back_saved_at(hg_ctx *cx, hg_back *b, int param, int j); /* entry j of a saved list; the scope's */
const hg_arg *hg_back_arg(const hg_back *b, int param);   /* of a plain argument, or a list's length in n */
hg_meta hg_back_meta(const hg_back *b, int param, int j); /* of an input that needs a gradient */
int hg_back_n_out(const hg_back *b);
/* The gradient of output k, zeros of its shape where none arrived; borrowed from the scope. */
hg_tensor *hg_back_grad(hg_ctx *cx, hg_back *b, int k);
void hg_back_give(hg_ctx *cx, hg_back *b, int param, int j, hg_tensor *grad); /* retains; NULL leaves it */

#define NEED(param)       (b->need >> (param)&1)
#define IN(param)         (b->in[param]) /* NULL: None was given */
#define OUT(k)            (b->out[k])
#define ARG(param)        hg_back_arg(b, param)
#define META(param)       hg_back_meta(b, param, 0)
#define GIVE(param, expr) hg_back_give(cx, b, param, 0, (expr))
#define G                 (b->grad[0])
#define GRAD(k)           hg_back_grad(cx, b, k)

/* ---- Expressions ---------------------------------------------------------------------------------------------------- */

/* Note [Expressions]
   Derivatives and composite ops are written as expressions: X(MUL, T(g), T(y)) calls an op and returns its result, borrowed
   from the innermost scope, which releases every temporary when the derivative is done. Once a step has failed (or an
   operand is NULL because an earlier step did) the rest returns NULL without doing anything, and hg_scope_end() returns the
   status: no expression is checked by itself. */
typedef struct hg_scope {
    struct hg_scope *outer;
    hg_tensor **at;
    uint32_t n, cap;
    hg_status status;
    bool quiet, grad_before;
    hg_tensor *few[16];
} hg_scope;

void hg_scope_begin(hg_ctx *cx, hg_scope *s);
/* The same without recording, until the scope ends: for an op that is composed of others but has a derivative of its own. */
void hg_scope_begin_quiet(hg_ctx *cx, hg_scope *s);
hg_status hg_scope_end(hg_ctx *cx, hg_scope *s);
hg_tensor *hg_scope_keep_more(hg_ctx *cx, hg_tensor *t);
static inline hg_tensor *hg_scope_keep(hg_ctx *cx, hg_tensor *t) { /* steals t; returns it borrowed */
    hg_scope *s = cx->scope;
    if (!t || s->n == s->cap) return t ? hg_scope_keep_more(cx, t) : NULL;
    return s->at[s->n++] = t;
}
static inline bool hg_scope_ok(const hg_ctx *cx) { return cx->scope->status == HG_OK; }
hg_status hg_scope_fail(hg_ctx *cx, hg_status st);

hg_tensor *hg_x(hg_ctx *cx, int op, const hg_arg *a, int n);
hg_tensor *hg_x_out(hg_ctx *cx, int op, const hg_arg *a, int n, int k); /* output k of several */
#define HG_N_ARGS(...) ((int)(sizeof((hg_arg[]){__VA_ARGS__}) / sizeof(hg_arg)))
/* Arithmetic with a number, by X(), is torch's C++ overload for it, of one edge; by XN() it is Python's, for which the number is a
   tensor. */
hg_tensor *hg_x_number(hg_ctx *cx, int op, const hg_arg *a);
#define XN(op, a, number) hg_x_number(cx, HG_OP_##op, (hg_arg[]){a, number})
#define X(op, ...)        hg_x(cx, HG_OP_##op, (hg_arg[]){__VA_ARGS__}, HG_N_ARGS(__VA_ARGS__))
#define XK(k, op, ...)    hg_x_out(cx, HG_OP_##op, (hg_arg[]){__VA_ARGS__}, HG_N_ARGS(__VA_ARGS__), k)
/* A tensor operand: a NULL one means that an earlier step failed. */
static inline hg_arg hg_operand(hg_tensor *t) { return (hg_arg){.kind = HG_A_TENSOR, .u.t = t}; }
#define T(x) hg_operand(x)

/* A composite op's forward ends so: the scope's result becomes the op's (new). */
hg_status hg_scope_return(hg_ctx *cx, hg_scope *s, hg_tensor *result, hg_tensor **out);

hg_status hg_no_backward(hg_ctx *cx, hg_back *b);

/* Every forward and backward of the table. */
#define OP(id, schema, grads, flags, forward, backward, node_name)                                                     \
    hg_status forward(hg_ctx *cx, const hg_arg *a, hg_tensor **out);                                                   \
    hg_status backward(hg_ctx *cx, hg_back *b);
#include "hookgrad_ops.def"
#undef OP

#endif
