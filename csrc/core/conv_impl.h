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

/* ---- Images with margins (k_margins.c) ------------------------------------------------------------------------------------ */

/* Images (h, w) of some channels, image_step apart, become planes of `rows` and `width`, one for each remainder of x by split_x:
   row y and column x of the image are at row y + top, and at column (x + left) / split_x of plane (x + left) % split_x. The rows of
   a plane are sorted by their remainder by split_y. What is beyond rows and width is left out. */
typedef struct hg_margins {
    const float *from;
    float *to; /* owned, from hg_mem */
    int64_t h, w, top, left, rows, width, split_x, split_y, channels, image_step;
} hg_margins;

enum { HG_MARGIN_SLACK = 64 }; /* numbers behind the last image that may be read */

int64_t hg_margins_group(const hg_margins *m, int64_t n); /* how many of n images should lie in the cache at a time */
hg_status hg_margins_begin(hg_ctx *cx, hg_margins *m, int64_t n);
void hg_margins_load(hg_margins *m, const float *from, int64_t n);

/* ---- Windows of 3x3 (k_winograd.c) --------------------------------------------------------------------------------------- */

/* The convolution, with stride 1, of images (n, in, h, w) to (n, out, high, wide), `top` and `left` rows and columns of zeros before
   them; weight (o, c) is at weight + o * w_out + c * w_in, back to front where `turned`. Images are image_step and result_step
   apart. */
typedef struct hg_winograd {
    const float *image, *weight;
    float *result;
    int64_t n, in, out, h, w, high, wide, top, left, w_out, w_in, image_step, result_step;
    bool turned;
} hg_winograd;

bool hg_winograd_pays(int64_t n, int64_t in, int64_t out, int64_t high, int64_t wide);
hg_status hg_winograd_run(hg_ctx *cx, const hg_winograd *a);

/* ---- All windows (k_conv.c) ----------------------------------------------------------------------------------------------- */

/* Do the three functions below know this shape, on this processor? */
bool hg_conv_has_tiles(const hg_conv_shape *s);
/* The output (n, out, oh, ow) of images (n, in, h, w) and weights (groups, out, in, kh, kw), without a bias. */
hg_status hg_conv_output(hg_ctx *cx, const hg_conv_shape *s, const float *image, const float *weight, float *output);
/* The gradient of the images, by the output's. */
hg_status hg_conv_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight, float *image);
/* The gradient of the weights. */
hg_status hg_conv_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight);

#endif
