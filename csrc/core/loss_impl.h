/* What losses share. */
#ifndef HG_LOSS_IMPL_H
#define HG_LOSS_IMPL_H

#include "nn_impl.h"

typedef enum hg_reduction { HG_REDUCE_NONE, HG_REDUCE_MEAN, HG_REDUCE_SUM } hg_reduction;

/* ValueError "foo is not a valid value for reduction" for what is none. */
hg_status hg_reduction_of(hg_ctx *cx, const hg_arg *a, hg_reduction *out);
/* An expression: the losses as they are, their mean, or their sum. */
hg_tensor *hg_reduce(hg_ctx *cx, hg_tensor *loss, hg_reduction r);

#endif
