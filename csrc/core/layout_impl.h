/* How results lie in memory.

   Note [Layouts]
   A result lies as torch's does. Three rules make it so, and every op follows one of them:
   - plain: in the order of its dimensions. What hg_out() and hg_tensor_empty() make.
   - kept: as one tensor does (clone, casts, *_like, sort): its own strides where it is dense, that is fills the memory it
     spans; else the dense strides of the same order of dimensions. hg_out_kept().
   - joint: as the operands of an elementwise op do together. The first operand that tells two dimensions apart orders them,
     and where none does they stay as they are. hg_out_joint(), which hg_run() calls.
   Dimensions of size 1 have strides, too, and take part as torch has them do. A tensor whose strides are those of a new one,
   to the last of them, says so (`plain`): among such operands no rule has anything to decide. */
#ifndef HG_LAYOUT_IMPL_H
#define HG_LAYOUT_IMPL_H

#include "op_impl.h"

/* A memory_format argument, or what None stands for. */
static inline hg_format hg_format_or(const hg_arg *a, hg_format other) {
    return hg_given(a) ? (hg_format)a->u.i : other;
}

/* The channels-last format whose order t has, or contiguous: which layers hand on to their results. */
static inline hg_format hg_format_of(const hg_tensor *t) {
    return t->plain ? HG_FORMAT_CONTIGUOUS : hg_tensor_format(t);
}

/* stride[t->n_dim]: how a copy of t lies. */
void hg_kept_strides(const hg_tensor *t, int64_t *stride);
/* hg_out() of t's shape, lying as a copy of t does. */
hg_status hg_out_kept(hg_ctx *cx, hg_tensor **out, hg_dtype d, const hg_tensor *t);
/* t, fresh and plain, in a format; fails where it has not as many dimensions as that is for. */
hg_status hg_reformat(hg_ctx *cx, hg_tensor *t, hg_format f);
/* hg_out_kept() in a format; fails where t has not as many dimensions as it is for. */
hg_status hg_out_format(hg_ctx *cx, hg_tensor **out, hg_dtype d, const hg_tensor *t, hg_format f);

/* How the result of an elementwise op lies whose operands have these strides in it, zero where they are broadcast. */
typedef struct hg_operand_strides {
    int64_t stride[HG_MAX_DIM];
} hg_operand_strides;
void hg_ordered_strides(const hg_operand_strides *of, int n, int n_dim, const int64_t *shape, int64_t *stride);
/* hg_out() of what in[n_in] (tensors and numbers) broadcast to, lying as the result of an elementwise op on them that casts
   them to d (the first to bool where first_bool is set). */
enum { HG_MAX_OPERANDS = 3 };
hg_status hg_out_joint(hg_ctx *cx, hg_tensor **out, hg_dtype result, const hg_arg *in, int n_in, hg_dtype d,
                       bool first_bool);

#endif
