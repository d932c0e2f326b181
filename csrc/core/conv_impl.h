/* Convolution: what op_conv.c and the kernels of k_conv.c share. */
#ifndef HG_CONV_IMPL_H
#define HG_CONV_IMPL_H

#include "core_impl.h"
#include "gemm_impl.h"

/* An ordinary convolution of images (in_channels, d, h, w) to (out_channels, od, oh, ow), per group; images of fewer
   dimensions have ones there. A transposed one has the same shape, read from right to left. */
typedef struct hg_conv_shape {
    hg_dtype dtype;
    int64_t n, groups, in_channels, out_channels; /* channels of one group */
    int64_t d, h, w, od, oh, ow, kd, kh, kw;
    int64_t sd, sh, sw, pd, ph, pw, dd, dh, dw;
} hg_conv_shape;

/* ---- What windows see (k_slab.c) ----------------------------------------------------------------------------------------- */

/* Results (high, wide) of windows over an image's planes (h, w): through tap (i, j) result (r, c) sees row r * sy + y[i] and column
   c * sx + x[j], zeros where the image has none. A slab holds what is seen through all taps from `rows` rows of results and `width`
   columns, all of them unless rows is 1: see Note [Slabs] in k_conv.c. */
typedef struct hg_view {
    int64_t h, w, high, wide, sy, sx, n_y, n_x;
    const int64_t *y, *x;
    int64_t rows, width, low, folds, reach; /* by hg_view_begin() */
} hg_view;

enum { HG_SLAB_SLACK = 64 }; /* numbers behind a slab that may be read */

/* How large a slab of `channels` is that takes about `room` numbers, with at most so many rows of results. */
void hg_view_begin(hg_view *v, int64_t channels, int64_t room, int64_t most_rows);
int64_t hg_slab_channel(const hg_view *v); /* numbers of a channel */
int64_t hg_slab_at(const hg_view *v, int64_t i,
                   int64_t j); /* what result (0, 0) sees through tap (i, j) of channel 0 */
/* For the results in n rows from y on, n <= rows, and in columns from x on. */
void hg_slab_load(const hg_view *v, const float *image, int64_t channels, int64_t y, int64_t x, int64_t n, float *to);

/* ---- Sums over pixels (k_gemm.c), where hg_has_tiles() ----------------------------------------------------------------------- */

/* to[i] = sum of weight[t] * slab[at[t] + i]: HG_SLAB_SLACK numbers at once, and those behind the n are left out. */
void hg_mix(int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab, float *to);
float hg_dot(int64_t n, const float *x, const float *y);

/* Rounded down. */
static inline int64_t hg_floor_div(int64_t x, int64_t y) { return x / y - (x % y < 0); }

/* to[i] += x (k_conv.c) */
void hg_add_number(int64_t n, float x, float *to);

/* ---- Results of windows (k_window.c) ----------------------------------------------------------------------------------------- */

/* For each group, `out` channels of results of the windows over `in` channels: result (r, c) is at row r * sy + y and column
   c * sx + x of a plane (high, wide) of the result. The weight of channel o of the result, channel c and tap t is at
   o * lane + c * channel + pick[t] of the group's, which has n_taps for each; pick is NULL where weights are (out, in, taps). */
typedef struct hg_results {
    hg_view v;
    const float *image, *weight, *bias; /* bias may be NULL */
    float *result;
    const int32_t *pick;
    int64_t n, groups, in, out, high, wide, sy, sx, y, x, lane, channel, n_taps;
} hg_results;

bool hg_results_suit(const hg_results *r); /* Is it worth it to have channels in vectors? */
hg_status hg_results_run(hg_ctx *cx, const hg_results *r, int64_t threads);

/* ---- Planes with zeros around them (k_plane.c) ------------------------------------------------------------------------------- */

enum { HG_MOST_SEE = 6, HG_RAKE = 8 };
/* How many channels of a result are computed together, and how many planes of its gradient. */
#define HG_SEE(X)  X(1) X(2) X(3) X(4) X(5) X(6)
#define HG_MEET(X) X(6) X(4) X(2) X(1)

/* What one instruction set has: k_plane.h. */
typedef struct hg_sight {
    int64_t images, high, wide, k, n_x, first, a_image, a_row, c_image, c_row, c_plane;
    const int32_t *at;
} hg_sight; /* n_x, first: columns of the kernel, and which of its rows sees the uppermost row: the first or the last */
typedef void hg_see(const hg_sight *s, const float *a, const float *weight, const float *bias, float *c);
typedef struct hg_plane_tiles {
    int64_t lanes, high;
    void (*frame)(const float *image, int64_t h, int64_t w, int64_t y, int64_t n, float *to, int64_t pitch);
    hg_see *see[HG_MOST_SEE]; /* by channels - 1 */
    hg_see *rake[3];          /* for a kernel of three rows, of five, and of seven, side by side */
    /* by HG_MEET's order, and taps - 2 */
    void (*meet[4][2])(const hg_sight *s, const float *a, const int32_t *at, const float *c, float *sums);
} hg_plane_tiles;
const hg_plane_tiles *hg_get_plane_tiles(void); /* where hg_has_tiles() */

bool hg_planes_suit(const hg_results *r);
hg_status hg_planes_run(hg_ctx *cx, const hg_results *r, int64_t threads);
bool hg_planes_weight_suits(const hg_conv_shape *s);
hg_status hg_planes_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight);

/* ---- All windows (k_conv.c) ----------------------------------------------------------------------------------------------- */

/* How many threads are worth it. */
int64_t hg_conv_threads(const hg_conv_shape *s);
/* What the windows of the convolution itself see. The taps of *view are owned by it: to be freed as view->y. */
hg_status hg_conv_view(hg_ctx *cx, const hg_conv_shape *s, hg_view *view);
/* `n` numbers from a cache: what is mapped anew for each call has to be faulted in each time. *owned is to be released, NULL
   being fine. NULL: no memory. */
float *hg_conv_space(hg_ctx *cx, int64_t n, hg_storage **owned);
void hg_conv_space_free(hg_ctx *cx, hg_storage *owned);
/* Pieces [0, n) of a job, taken one by one by whoever of the threads is free; each thread has a space of `room` numbers. */
typedef void (*hg_conv_piece)(const void *job, int64_t piece, float *space);
hg_status hg_conv_pieces(hg_ctx *cx, int64_t n, int64_t threads, int64_t room, hg_conv_piece run, const void *job);
/* Do the three functions below know this shape, on this processor? */
bool hg_conv_has_tiles(const hg_conv_shape *s);
/* The output (n, out, oh, ow) of images (n, in, h, w) and weights (groups, out, in, kh, kw); the bias may be NULL. */
hg_status hg_conv_output(hg_ctx *cx, const hg_conv_shape *s, const float *image, const float *weight, const float *bias,
                         float *output);
/* The gradient of the images, by the output's; or a transposed convolution, with a bias for each channel of the images. */
hg_status hg_conv_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight, const float *bias,
                        float *image);
/* The gradient of the weights. */
hg_status hg_conv_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight);

/* ---- Few pixels (k_few.c) --------------------------------------------------------------------------------------------------- */

bool hg_conv_has_few(const hg_conv_shape *s); /* Are these for it? They are as the functions above. */
hg_status hg_conv_few_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight,
                            const float *bias, float *image);
hg_status hg_conv_few_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image,
                             float *weight);

#endif
