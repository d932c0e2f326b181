/* What the ops of layers share: they compute in float32 or float64, on contiguous memory. */
#ifndef HG_NN_IMPL_H
#define HG_NN_IMPL_H

#include "layout_impl.h"

/* The dtype a floating dtype is computed in: half types in float32. */
static inline hg_dtype hg_real_dtype(hg_dtype d) { return d == HG_F64 ? HG_F64 : HG_F32; }

/* A tensor of that dtype with t's values, contiguous; t itself retained where it is so already. New; NULL gives NULL. */
hg_status hg_real(hg_ctx *cx, hg_tensor *t, hg_dtype d, hg_tensor **out);
/* The result of a computation, as dtype d: steals `work` (also on failure). */
hg_status hg_real_result(hg_ctx *cx, hg_tensor *work, hg_dtype d, hg_tensor **out);
hg_status hg_real_result_as(hg_ctx *cx, hg_tensor *work, hg_dtype d, hg_format f, hg_tensor **out); /* lying so */

/* The derivative of a fused backward row, from the op it belongs to written in ops.

   Note [Derivatives of derivatives]
   A row like native_layer_norm_backward(grad, input, ...) computes in one pass what the op's derivative is. Its own derivative
   is wanted rarely, and must be right: so it is not written by hand. `formula` is the op again, written in other ops, of the
   inputs in[n]. Running that backward, with its graph kept, gives the row's outputs as functions of grad and in[], and running
   those backward gives the row's derivative, which is part of a graph in its turn where create_graph asks for one.

   params[i] is the row's parameter that holds in[i]; the row's output i is the gradient of in[i]. A negative one stands for an
   input that the row does not have, since the op is linear in it (a bias): zeros of the shape of in[-params[i]]. The row's
   parameter 0 is grad. */
typedef hg_tensor *(*hg_formula)(hg_ctx *cx, hg_back *b, hg_tensor *const *in);
hg_status hg_derive(hg_ctx *cx, hg_back *b, int n, const int *params, hg_formula formula);

/* What PyTorch has no derivative for must not require a gradient. */
static inline hg_status hg_refuse_gradient(hg_ctx *cx, const hg_arg *a, const char *function, const char *argument) {
    if (!cx->grad_enabled || !hg_given(a) || !hg_tensor_requires_grad(a->u.t)) return HG_OK;
    return hg_fail(cx, HG_STATE,
                   "The function '%s' is not differentiable with respect to argument '%s'. This input cannot have "
                   "requires_grad True.",
                   function, argument);
}

#endif
