/* Convolution: what op_conv.c and the kernels of k_conv.c share. */
#ifndef HG_CONV_IMPL_H
#define HG_CONV_IMPL_H

#include "core_impl.h"

/* An ordinary convolution of images (in_channels, d, h, w) to (out_channels, od, oh, ow), per group; images of fewer
   dimensions have ones there. A transposed one has the same shape, read from right to left. */
typedef struct hg_conv_shape {
    hg_dtype dtype;
    int64_t n, groups, in_channels, out_channels; /* channels of one group */
    int64_t d, h, w, od, oh, ow, kd, kh, kw;
    int64_t sd, sh, sw, pd, ph, pw, dd, dh, dw;
} hg_conv_shape;

/* Do the three functions below know this shape, on this processor? */
bool hg_conv_has_tiles(const hg_conv_shape *s);
/* The output (n, out, oh, ow) of images (n, in, h, w) and weights (groups, out, in, kh, kw), without a bias. */
hg_status hg_conv_output(hg_ctx *cx, const hg_conv_shape *s, const float *image, const float *weight, float *output);
/* The gradient of the images, by the output's. */
hg_status hg_conv_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight, float *image);
/* The gradient of the weights. */
hg_status hg_conv_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight);

#endif
