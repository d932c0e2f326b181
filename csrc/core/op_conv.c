/* Convolution and its transpose, in one, two or three dimensions.

   Note [Convolution]
   Everything is a matrix product with the columns of the image (im2col), a chunk of output rows at a time, so that the
   columns stay in the cache. Three products cover all there is:

       out       = weight  * columns(image)          convolve()
       image     = fold(weight^T * out)              spread()      gradient of the image; a transposed convolution
       weight    = out * columns(image)^T            correlate()   gradient of the weight

   Each is linear in both of its operands, and the derivative of any is made of the other two. So there are two ops: one that
   is convolve or spread, as `transposed` says, and one that is correlate.

   Two dimensions of float32 have tiles of their own instead (Note [Slabs] in k_conv.c), and three are made of two.

   Note [Slices]
   A slice of an output of three dimensions is a convolution of two: of an image that has the slices which it sees for its channels.
   They are copied side by side, for some slices of outputs at a time; weights lie as they should.

   Note [Pixels]
   Where channels lie last, images seen a pixel at a time (a kernel of size 1) are a matrix with a row for each pixel: one product
   with the weight, or of two such matrices, and nothing is moved. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include "nn_impl.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 18, SLICES = 1 << 20, MAX_DIMS = 3 };

typedef hg_conv_shape shape;

/* Which x in [0, ow) read inside of the row: 0 <= x*stride + shift < w. */
static void inside(int64_t w, int64_t ow, int64_t stride, int64_t shift, int64_t *lo, int64_t *hi) {
    *lo = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    *hi = shift >= w ? 0 : (w - 1 - shift) / stride + 1;
    if (*hi > ow) *hi = ow;
    if (*lo > *hi) *lo = *hi;
}

/* Where the input row starts that row r of the output sees through row (k, i) of the kernel. False: outside of the image. */
static inline bool row_at(const shape *s, int64_t r, int64_t k, int64_t i, int64_t *at) {
    int64_t slab = s->od == 1 ? 0 : r / s->oh, z = slab * s->sd - s->pd + k * s->dd;
    int64_t y = (r - slab * s->oh) * s->sh - s->ph + i * s->dh;
    *at = (z * s->h + y) * s->w;
    return z >= 0 && z < s->d && y >= 0 && y < s->h;
}

#define REAL         float
#define KERNEL(name) name##_f32
#include "k_conv.h"
#undef REAL
#undef KERNEL
#define REAL         double
#define KERNEL(name) name##_f64
#include "k_conv.h"
#undef REAL
#undef KERNEL

typedef struct kernels {
    void (*im2col)(const shape *, const void *image, int64_t r0, int64_t r1, void *columns);
    void (*col2im)(const shape *, const void *columns, int64_t r0, int64_t r1, void *image);
    void (*spread_bias)(int64_t channels, int64_t n, const void *bias, void *image);
    void (*add_bias)(int64_t channels, int64_t n, const void *bias, void *image);
} kernels;

static const kernels in_f32 = {im2col_f32, col2im_f32, spread_bias_f32, add_bias_f32};
static const kernels in_f64 = {im2col_f64, col2im_f64, spread_bias_f64, add_bias_f64};

/* ---- The three products --------------------------------------------------------------------------------------------------- */

/* One at a time: a group of an image, a chunk of its output rows. */
typedef struct walk {
    const shape *s;
    const kernels *k;
    size_t size;          /* of an element */
    int64_t n_k;          /* in_channels * kd * kh * kw, a column's length */
    int64_t rows, n_rows; /* of a chunk; of an output channel */
    int64_t o_plane;      /* elements of an output channel */
    bool is_copy;         /* the columns are the image */
    char *columns;        /* owned */
} walk;

/* Are the columns the image? Output padding may make the image larger. */
static bool is_copy(const shape *s) {
    return s->kd == 1 && s->kh == 1 && s->kw == 1 && s->sd == 1 && s->sh == 1 && s->sw == 1 && s->pd == 0 &&
           s->ph == 0 && s->pw == 0 && s->d == s->od && s->h == s->oh && s->w == s->ow;
}

static hg_status walk_begin(hg_ctx *cx, const shape *s, walk *w) {
    *w = (walk){.s = s, .k = s->dtype == HG_F64 ? &in_f64 : &in_f32, .size = hg_dtypes[s->dtype].size};
    w->n_k = s->in_channels * s->kd * s->kh * s->kw;
    w->n_rows = s->od * s->oh;
    w->o_plane = w->n_rows * s->ow;
    w->is_copy = is_copy(s);
    w->rows = w->n_rows;
    if (w->is_copy) return HG_OK;
    int64_t row_bytes = w->n_k * s->ow * (int64_t)w->size;
    if (row_bytes > 0 && w->rows > CHUNK_BYTES / row_bytes) w->rows = CHUNK_BYTES / row_bytes;
    if (w->rows < 1) w->rows = 1;
    return (w->columns = hg_mem(cx, (size_t)(w->rows * row_bytes))) ? HG_OK : HG_MEMORY;
}

static const char *at(const walk *w, const void *base, int64_t elements) {
    return (const char *)base + elements * (int64_t)w->size;
}

/* Group g of image i, of an image, an output, and of the weight. */
static int64_t image_at(const shape *s, int64_t i, int64_t g) {
    return (i * s->groups + g) * s->in_channels * s->d * s->h * s->w;
}
static int64_t output_at(const shape *s, int64_t i, int64_t g) {
    return (i * s->groups + g) * s->out_channels * s->od * s->oh * s->ow;
}
static int64_t weight_at(const walk *w, int64_t g) { return g * w->s->out_channels * w->n_k; }

static void convolve(hg_ctx *cx, const walk *w, const void *image, const void *weight, const void *bias, void *output) {
    const shape *s = w->s;
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t g = 0; g < s->groups; g++) {
            const char *from = at(w, image, image_at(s, i, g)), *by = at(w, weight, weight_at(w, g));
            char *to = (char *)output + output_at(s, i, g) * (int64_t)w->size;
            for (int64_t r = 0; r < w->n_rows; r += w->rows) {
                int64_t end = r + w->rows < w->n_rows ? r + w->rows : w->n_rows, n = (end - r) * s->ow;
                if (!w->is_copy) w->k->im2col(s, from, r, end, w->columns);
                hg_gemm(cx->lib, s->dtype, false, false, s->out_channels, n, w->n_k, 1, by, w->n_k,
                        w->is_copy ? from : w->columns, n, 0, to + r * s->ow * (int64_t)w->size, w->o_plane);
            }
            /* last, as PyTorch's results show to the bit */
            if (bias) w->k->add_bias(s->out_channels, w->o_plane, at(w, bias, g * s->out_channels), to);
        }
}

static void spread(hg_ctx *cx, const walk *w, const void *output, const void *weight, const void *bias, void *image) {
    const shape *s = w->s;
    int64_t plane = s->d * s->h * s->w;
    if (!bias && !w->is_copy) memset(image, 0, (size_t)(s->n * s->groups * s->in_channels * plane) * w->size);
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t g = 0; g < s->groups; g++) {
            const char *from = at(w, output, output_at(s, i, g)), *by = at(w, weight, weight_at(w, g));
            char *to = (char *)image + image_at(s, i, g) * (int64_t)w->size;
            if (bias) w->k->spread_bias(s->in_channels, plane, at(w, bias, g * s->in_channels), to);
            for (int64_t r = 0; r < w->n_rows; r += w->rows) {
                int64_t end = r + w->rows < w->n_rows ? r + w->rows : w->n_rows, n = (end - r) * s->ow;
                hg_gemm(cx->lib, s->dtype, true, false, w->n_k, n, s->out_channels, 1, by, w->n_k,
                        at(w, from, r * s->ow), w->o_plane, w->is_copy && bias ? 1 : 0, w->is_copy ? to : w->columns,
                        n);
                if (!w->is_copy) w->k->col2im(s, w->columns, r, end, to);
            }
        }
}

static void correlate(hg_ctx *cx, const walk *w, const void *output, const void *image, void *weight) {
    const shape *s = w->s;
    memset(weight, 0, (size_t)(s->groups * s->out_channels * w->n_k) * w->size);
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t g = 0; g < s->groups; g++) {
            const char *from = at(w, output, output_at(s, i, g)), *with = at(w, image, image_at(s, i, g));
            char *to = (char *)weight + weight_at(w, g) * (int64_t)w->size;
            for (int64_t r = 0; r < w->n_rows; r += w->rows) {
                int64_t end = r + w->rows < w->n_rows ? r + w->rows : w->n_rows, n = (end - r) * s->ow;
                if (!w->is_copy) w->k->im2col(s, with, r, end, w->columns);
                hg_gemm(cx->lib, s->dtype, false, true, s->out_channels, w->n_k, n, 1, at(w, from, r * s->ow),
                        w->o_plane, w->is_copy ? with : w->columns, n, 1, to, w->n_k);
            }
        }
}

/* ---- Slices of three dimensions ------------------------------------------------------------------------------------------ */

typedef enum product { CONVOLVE, SPREAD, CORRELATE } product;

/* What n slices of outputs, from `first` on through all images, see; `back`: added to where it was seen. */
static void stack(const shape *s, int64_t first, int64_t n, float *image, float *seen, bool back) {
    const int64_t plane = s->h * s->w, channels = s->groups * s->in_channels;
    for (int64_t q = first; q < first + n; q++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t k = 0; k < s->kd; k++, seen += plane) {
                const int64_t z = q % s->od * s->sd - s->pd + k * s->dd;
                const bool is_there = z >= 0 && z < s->d;
                float *at = is_there ? image + ((q / s->od * channels + c) * s->d + z) * plane : NULL;
                if (!back && is_there) memcpy(seen, at, (size_t)plane * sizeof *at);
                if (!back && !is_there) memset(seen, 0, (size_t)plane * sizeof *at);
                for (int64_t x = 0; back && is_there && x < plane; x++) at[x] += seen[x];
            }
}

/* These slices of outputs, (n, channels, plane), from where they belong; or there. */
static void move(const shape *s, int64_t first, int64_t n, float *output, float *slices, bool back) {
    const int64_t plane = s->oh * s->ow, channels = s->groups * s->out_channels;
    for (int64_t q = first; q < first + n; q++)
        for (int64_t c = 0; c < channels; c++, slices += plane) {
            float *at = output + ((q / s->od * channels + c) * s->od + q % s->od) * plane;
            memcpy(back ? at : slices, back ? slices : at, (size_t)plane * sizeof *at);
        }
}

static shape of_slices(const shape *s) {
    shape flat = *s;
    flat.d = flat.od = flat.kd = flat.sd = 1, flat.pd = 0;
    flat.in_channels *= s->kd;
    return flat;
}

static hg_status by_slices(hg_ctx *cx, const shape *s, product what, float *image, float *weight, const float *bias,
                           float *output) {
    shape flat = of_slices(s);
    const int64_t seen = flat.groups * flat.in_channels * s->h * s->w, all = s->n * s->od,
                  out = s->groups * s->out_channels * s->oh * s->ow, some = hg_least(SLICES / (seen + out) + 1, all);
    const int64_t n_weights = s->groups * s->out_channels * flat.in_channels * s->kh * s->kw;
    const int64_t channels = s->groups * s->in_channels, size = s->d * s->h * s->w;
    hg_storage *owned = NULL;
    hg_status st = HG_OK;
    float *space = hg_conv_space(cx, some * (seen + out) + (what == CORRELATE && some < all ? n_weights : 0), &owned);
    if (!space) return HG_MEMORY;
    float *slices = space + some * seen, *part = slices + some * out;
    for (int64_t i = 0; what == SPREAD && i < s->n; i++) {
        if (bias) spread_bias_f32(channels, size, bias, image + i * channels * size);
        if (!bias) memset(image + i * channels * size, 0, (size_t)(channels * size) * sizeof *image);
    }
    for (int64_t q = 0; q < all && st == HG_OK; q += some) {
        flat.n = hg_least(some, all - q);
        if (what != SPREAD) stack(s, q, flat.n, image, space, false);
        if (what != CONVOLVE) move(s, q, flat.n, output, slices, false);
        if (what == CORRELATE) {
            st = hg_conv_weight(cx, &flat, slices, space, q ? part : weight);
            for (int64_t i = 0; q && st == HG_OK && i < n_weights; i++) weight[i] += part[i];
        } else if (what == SPREAD) {
            st = hg_conv_image(cx, &flat, slices, weight, NULL, space);
            if (st == HG_OK) stack(s, q, flat.n, image, space, true);
        } else {
            st = hg_conv_output(cx, &flat, space, weight, bias, slices);
            if (st == HG_OK) move(s, q, flat.n, output, slices, true);
        }
    }
    hg_conv_space_free(cx, owned);
    return st;
}

/* ---- All shapes --------------------------------------------------------------------------------------------------------------- */

static hg_status run(hg_ctx *cx, const shape *s, product what, void *image, void *weight, const void *bias,
                     void *output) {
    const shape flat = of_slices(s);
    walk w = {0};
    if (hg_conv_has_tiles(s))
        return what == CONVOLVE ? hg_conv_output(cx, s, image, weight, bias, output)
               : what == SPREAD ? hg_conv_image(cx, s, output, weight, bias, image)
                                : hg_conv_weight(cx, s, output, image, weight);
    if (hg_conv_has_tiles(&flat) && !is_copy(s)) return by_slices(cx, s, what, image, weight, bias, output);
    HG_TRY(walk_begin(cx, s, &w));
    if (what == CONVOLVE) convolve(cx, &w, image, weight, bias, output);
    if (what == SPREAD) spread(cx, &w, output, weight, bias, image);
    if (what == CORRELATE) correlate(cx, &w, output, image, weight);
    hg_mem_free(cx->lib, w.columns);
    return HG_OK;
}

/* ---- The ops underneath ----------------------------------------------------------------------------------------------------- */

enum { INPUT, WEIGHT, BIAS, STRIDE, PADDING, DILATION, TRANSPOSED, OUTPUT_PADDING, GROUPS };

static bool any_below(const hg_arg *list, int64_t least) {
    for (uint32_t i = 0; i < list->n; i++)
        if (list->u.ints[i] < least) return true;
    return false;
}

static hg_status check_bias(hg_ctx *cx, const hg_tensor *x, const hg_arg *bias) {
    if (!hg_given(bias) || bias->u.t->dtype == x->dtype) return HG_OK;
    return hg_fail(cx, HG_STATE, "Input type (%s) and bias type (%s) should be the same", hg_c_name((hg_dtype)x->dtype),
                   hg_c_name((hg_dtype)bias->u.t->dtype));
}

static hg_status check_dtypes(hg_ctx *cx, const hg_tensor *x, const hg_tensor *w, const hg_arg *bias) {
    HG_TRY(check_bias(cx, x, bias));
    if (w->dtype != x->dtype) return hg_unlike(cx, x->dtype, w->dtype);
    return x->dtype == HG_BOOL ? hg_no_kernel(cx, w->n_dim == 5 ? "compute_columns3d" : "slow_conv2d_cpu", HG_BOOL)
                               : HG_OK;
}

static void join_sizes(char *to, size_t size, int n, const int64_t *at) { /* "3 x 3" */
    size_t used = 0;
    to[0] = 0;
    for (int i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(to + used, size - used, i ? " x %lld" : "%lld", (long long)at[i]);
}

static hg_status check_kernel(hg_ctx *cx, const hg_arg *a, int n) {
    const hg_tensor *x = a[INPUT].u.t, *w = a[WEIGHT].u.t;
    int64_t padded[MAX_DIMS], kernel[MAX_DIMS];
    bool fits = true;
    for (int i = 0; i < n; i++) {
        padded[i] = x->shape[2 + i] + 2 * a[PADDING].u.ints[i];
        kernel[i] = a[DILATION].u.ints[i] * (w->shape[2 + i] - 1) + 1;
        fits &= padded[i] >= kernel[i];
    }
    if (fits) return HG_OK;
    char have[64], need[64];
    join_sizes(have, sizeof have, n, padded);
    join_sizes(need, sizeof need, n, kernel);
    return hg_fail(cx, HG_STATE,
                   "Calculated padded input size per channel: (%s). Kernel size: (%s). Kernel size can't be "
                   "greater than actual input size",
                   have, need);
}

static hg_status check_shapes(hg_ctx *cx, const hg_arg *a, int n) {
    const hg_tensor *x = a[INPUT].u.t, *w = a[WEIGHT].u.t, *bias = hg_given(&a[BIAS]) ? a[BIAS].u.t : NULL;
    bool transposed = a[TRANSPOSED].u.i;
    int64_t groups = a[GROUPS].u.i, channels = transposed ? w->shape[0] : w->shape[1] * groups;
    int64_t out_channels = transposed ? w->shape[1] * groups : w->shape[0];
    char xs[256], ws[256], bs[256];
    if (any_below(&a[PADDING], 0)) return hg_fail(cx, HG_STATE, "negative padding is not supported");
    if (any_below(&a[OUTPUT_PADDING], 0)) return hg_fail(cx, HG_STATE, "negative output_padding is not supported");
    if (any_below(&a[STRIDE], 1)) return hg_fail(cx, HG_STATE, "non-positive stride is not supported");
    if (any_below(&a[DILATION], 1)) return hg_fail(cx, HG_STATE, "non-positive dilation is not supported");
    if (w->shape[0] < groups)
        return hg_fail(cx, HG_STATE,
                       "Given groups=%lld, expected weight to be at least %lld at dimension 0, but got weight of size "
                       "%s instead",
                       (long long)groups, (long long)groups, hg_show_shape(w, ws));
    if (w->shape[0] % groups)
        return hg_fail(cx, HG_STATE,
                       "Given groups=%lld, expected weight to be divisible by %lld at dimension 0, but got weight of "
                       "size [%s] instead",
                       (long long)groups, (long long)groups, hg_show_shape(w, ws));
    if (x->shape[1] != channels)
        return hg_fail(cx, HG_STATE,
                       "Given %s=%lld, weight of size %s, expected input%s to have %lld channels, but got %lld "
                       "channels instead",
                       transposed ? "transposed" : "groups", transposed ? 1LL : (long long)groups, hg_show_shape(w, ws),
                       hg_show_shape(x, xs), (long long)channels, (long long)x->shape[1]);
    if (bias && (bias->n_dim != 1 || bias->shape[0] != out_channels))
        return hg_fail(cx, HG_STATE,
                       "Given %sweight of size %s, expected bias to be 1-dimensional with %lld elements, but got bias "
                       "of size %s instead",
                       transposed ? "transposed=1, " : "", hg_show_shape(w, ws), (long long)out_channels,
                       hg_show_shape(bias, bs));
    return transposed ? HG_OK : check_kernel(cx, a, n);
}

/* The shape of the ordinary convolution between an image and an output; what they have not got counts as one. */
static void set_shape(shape *s, int n, const hg_tensor *image, const hg_tensor *output, const int64_t *kernel,
                      const hg_arg *stride, const hg_arg *padding, const hg_arg *dilation, int64_t groups) {
    s->n = image->shape[0];
    s->groups = groups;
    s->in_channels = image->shape[1] / groups, s->out_channels = output->shape[1] / groups;
    s->d = s->h = s->od = s->oh = s->kd = s->kh = s->sd = s->sh = s->dd = s->dh = 1;
    s->pd = s->ph = 0;
#define AXIS(i, SIZE, OUT, KERNEL, STRIDE, PADDING, DILATION)                                                          \
    s->SIZE = image->shape[2 + (i)], s->OUT = output->shape[2 + (i)], s->KERNEL = kernel[i],                           \
    s->STRIDE = stride->u.ints[i], s->PADDING = padding->u.ints[i], s->DILATION = dilation->u.ints[i]
    AXIS(n - 1, w, ow, kw, sw, pw, dw);
    if (n > 1) AXIS(n - 2, h, oh, kh, sh, ph, dh);
    if (n > 2) AXIS(n - 3, d, od, kd, sd, pd, dd);
#undef AXIS
}

static hg_status output_shape(hg_ctx *cx, const hg_arg *a, int n, int64_t *to) {
    const hg_tensor *x = a[INPUT].u.t, *w = a[WEIGHT].u.t;
    bool transposed = a[TRANSPOSED].u.i;
    to[0] = x->shape[0];
    to[1] = transposed ? w->shape[1] * a[GROUPS].u.i : w->shape[0];
    bool too_small = false;
    for (int i = 0; i < n; i++) {
        int64_t reach = a[DILATION].u.ints[i] * (w->shape[2 + i] - 1) + 1, pad = 2 * a[PADDING].u.ints[i];
        int64_t stride = a[STRIDE].u.ints[i], size = x->shape[2 + i];
        to[2 + i] = transposed ? (size - 1) * stride - pad + reach + a[OUTPUT_PADDING].u.ints[i]
                               : (size + pad - reach) / stride + 1;
        too_small |= to[2 + i] < 1;
    }
    if (!too_small || !transposed) return HG_OK;
    char have[64], got[64];
    join_sizes(have, sizeof have, n, x->shape + 2);
    join_sizes(got, sizeof got, n, to + 2);
    return hg_fail(
        cx, HG_STATE,
        "Given input size per channel: (%s). Calculated output size per channel: (%s). Output size is too small", have,
        got);
}

static hg_dtype work_dtype(hg_dtype d) { return hg_dtype_is_float(d) ? hg_real_dtype(d) : HG_F64; }

/* Channels last where an operand is; in three dimensions torch's kernel for float64 knows contiguous memory only. */
static hg_format format_of(const hg_tensor *x, const hg_tensor *w) {
    if (x->dtype == HG_F64 && x->n_dim == 5) return HG_FORMAT_CONTIGUOUS;
    hg_format f = hg_format_of(x);
    return f == HG_FORMAT_CONTIGUOUS && w ? hg_format_of(w) : f;
}

/* Is each result of one pixel of x, whose channels lie last? Note [Pixels] */
static bool is_by_pixels(const hg_tensor *x, const int64_t *kernel, const hg_arg *stride, const hg_arg *padding,
                         int64_t groups) {
    hg_format f = format_of(x, NULL);
    bool is = groups == 1 && x->numel && hg_real_dtype((hg_dtype)x->dtype) == (hg_dtype)x->dtype;
    is = is && f != HG_FORMAT_CONTIGUOUS && hg_tensor_lies_as(x, f);
    for (int i = 0; i < x->n_dim - 2; i++)
        is = is && kernel[i] == 1 && stride->u.ints[i] == 1 && padding->u.ints[i] == 0;
    return is;
}

/* A new tensor of these sizes, lying as x does: its pixels times the weight, plain, and plus the bias, which may be NULL. */
static hg_status run_pixels(hg_ctx *cx, const hg_tensor *x, const hg_tensor *w, const hg_tensor *bias, bool transposed,
                            const int64_t *sizes, hg_tensor **out) {
    HG_TRY(hg_tensor_empty(cx, (hg_dtype)x->dtype, x->n_dim, sizes, out));
    HG_TRY(hg_reformat(cx, *out, format_of(x, NULL)));
    hg_gemm_args p = {
        .d = (hg_dtype)x->dtype, .tb = !transposed, .n = sizes[1], .k = x->shape[1], .alpha = 1, .beta = 1};
    p.m = x->numel / p.k, p.lda = p.k, p.ldb = w->shape[1], p.ldc = p.n;
    p.a = x->data, p.b = w->data, p.add = bias ? bias->data : NULL, p.c = (*out)->data;
    if ((*out)->numel) hg_multiply(cx->lib, &p, 1, 0, 0, 0, 0);
    return HG_OK;
}

hg_status hg_convolution_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[INPUT].u.t, *w = a[WEIGHT].u.t, *bias = hg_given(&a[BIAS]) ? a[BIAS].u.t : NULL;
    hg_tensor *rx = NULL, *rw = NULL, *rb = NULL, *y = NULL;
    int64_t sizes[MAX_DIMS + 2];
    int n = w->n_dim - 2;
    shape s = {.dtype = work_dtype((hg_dtype)x->dtype)};
    if (a[GROUPS].u.i <= 0) return hg_fail(cx, HG_STATE, "non-positive groups is not supported");
    HG_TRY(check_shapes(cx, a, n));
    HG_TRY(check_dtypes(cx, x, w, &a[BIAS]));
    HG_TRY(output_shape(cx, a, n, sizes));
    bool transposed = a[TRANSPOSED].u.i;
    hg_status st = hg_real(cx, w, s.dtype, &rw);
    if (st == HG_OK) st = hg_real(cx, bias, s.dtype, &rb);
    if (st == HG_OK && !*out && is_by_pixels(x, w->shape + 2, &a[STRIDE], &a[PADDING], a[GROUPS].u.i) &&
        memcmp(sizes + 2, x->shape + 2, (size_t)n * sizeof *sizes) == 0) {
        st = run_pixels(cx, x, rw, rb, transposed, sizes, out);
        goto done;
    }
    if (st == HG_OK) st = hg_real(cx, x, s.dtype, &rx);
    if (st == HG_OK) st = hg_tensor_empty(cx, s.dtype, n + 2, sizes, &y);
    if (st != HG_OK) goto done;
    set_shape(&s, n, transposed ? y : rx, transposed ? rx : y, w->shape + 2, &a[STRIDE], &a[PADDING], &a[DILATION],
              a[GROUPS].u.i);
    if (y->numel)
        st = run(cx, &s, transposed ? SPREAD : CONVOLVE, transposed ? y->data : rx->data, rw->data,
                 rb ? rb->data : NULL, transposed ? rx->data : y->data);
    if (st == HG_OK) st = hg_real_result_as(cx, y, (hg_dtype)x->dtype, format_of(x, w), out), y = NULL;
done:
    hg_release(cx, rx), hg_release(cx, rw), hg_release(cx, rb), hg_release(cx, y);
    return st;
}

/* The gradient of the weight of a convolution, by the output's gradient and the image. */
enum { W_OUTPUT, W_IMAGE, W_KERNEL, W_STRIDE, W_PADDING, W_DILATION, W_GROUPS };

static void correlate_pixels(hg_ctx *cx, const hg_tensor *o, const hg_tensor *image, hg_tensor *w) {
    int64_t m = w->shape[0], n = w->shape[1];
    hg_gemm(cx->lib, (hg_dtype)w->dtype, true, false, m, n, o->numel / m, 1, o->data, m, image->data, n, 0, w->data, n);
}

static hg_status correlate_windows(hg_ctx *cx, const hg_arg *a, hg_tensor *w) {
    hg_tensor *o = NULL, *image = NULL;
    shape s = {.dtype = (hg_dtype)w->dtype};
    hg_status st = hg_real(cx, a[W_OUTPUT].u.t, s.dtype, &o);
    if (st == HG_OK) st = hg_real(cx, a[W_IMAGE].u.t, s.dtype, &image);
    if (st == HG_OK && o->numel && image->numel) {
        set_shape(&s, w->n_dim - 2, image, o, w->shape + 2, &a[W_STRIDE], &a[W_PADDING], &a[W_DILATION],
                  a[W_GROUPS].u.i);
        st = run(cx, &s, CORRELATE, image->data, w->data, NULL, o->data);
    } else if (st == HG_OK) {
        memset(w->data, 0, (size_t)w->numel * hg_tensor_itemsize(w));
    }
    hg_release(cx, o), hg_release(cx, image);
    return st;
}

/* Do the windows of the output lie within the image? */
static bool windows_fit(const hg_arg *a) {
    const hg_tensor *o = a[W_OUTPUT].u.t, *image = a[W_IMAGE].u.t;
    int64_t n = a[W_KERNEL].n, groups = a[W_GROUPS].u.i;
    if (n < 1 || n > MAX_DIMS || o->n_dim != n + 2 || image->n_dim != n + 2 || o->shape[0] != image->shape[0])
        return false;
    if (a[W_STRIDE].n != n || a[W_PADDING].n != n || a[W_DILATION].n != n) return false;
    for (int i = 0; i < n; i++) {
        int64_t k = a[W_KERNEL].u.ints[i], s = a[W_STRIDE].u.ints[i], pad = a[W_PADDING].u.ints[i];
        int64_t span = a[W_DILATION].u.ints[i] * (k - 1) + 1, room = image->shape[i + 2] + 2 * pad - span;
        if (k < 1 || s < 1 || pad < 0 || span < k || (o->shape[i + 2] && (o->shape[i + 2] - 1) * s > room))
            return false;
    }
    return groups > 0 && o->shape[1] % groups == 0 && image->shape[1] % groups == 0;
}

hg_status hg_convolution_weight_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *o = a[W_OUTPUT].u.t, *image = a[W_IMAGE].u.t, *w;
    if (!windows_fit(a))
        return hg_fail(cx, HG_SHAPE,
                       "convolution_backward_weight(): grad_output is not of the shape that input is convolved to");
    int n = (int)a[W_KERNEL].n;
    const int64_t *kernel = a[W_KERNEL].u.ints, groups = a[W_GROUPS].u.i;
    int64_t sizes[MAX_DIMS + 2] = {o->shape[1], image->shape[1] / groups};
    memcpy(sizes + 2, kernel, (size_t)n * sizeof *sizes);
    HG_TRY(hg_tensor_empty(cx, work_dtype((hg_dtype)o->dtype), n + 2, sizes, &w));
    hg_status st = HG_OK;
    if (is_by_pixels(o, kernel, &a[W_STRIDE], &a[W_PADDING], groups) &&
        is_by_pixels(image, kernel, &a[W_STRIDE], &a[W_PADDING], groups) &&
        o->numel / sizes[0] == image->numel / sizes[1])
        correlate_pixels(cx, o, image, w);
    else
        st = correlate_windows(cx, a, w);
    if (st == HG_OK) return hg_real_result_as(cx, w, (hg_dtype)o->dtype, format_of(o, image), out);
    hg_release(cx, w);
    return st;
}

/* A convolution the other way round, to a result with the given sizes after batch and channels. */
static hg_tensor *other_way(hg_ctx *cx, hg_tensor *x, hg_tensor *w, const int64_t *sizes, int n, const hg_arg *stride,
                            const hg_arg *padding, const hg_arg *dilation, bool transposed, const hg_arg *groups) {
    int64_t extra[MAX_DIMS] = {0};
    if (!x || !w) return NULL;
    for (int i = 0; i < n && transposed; i++)
        extra[i] = sizes[i] - ((x->shape[2 + i] - 1) * stride->u.ints[i] - 2 * padding->u.ints[i] +
                               dilation->u.ints[i] * (w->shape[2 + i] - 1) + 1);
    hg_tensor *y = X(CONVOLUTION, T(x), T(w), HG_NONE, *stride, *padding, *dilation, hg_b(transposed),
                     hg_ints(extra, n), *groups);
    /* An output padding as large as the stride (dilation allows it) leaves room for more windows than there were. */
    for (int i = 0; i < n && y && !transposed; i++)
        if (y->shape[2 + i] > sizes[i]) y = X(NARROW, T(y), hg_i(2 + i), hg_i(0), hg_i(sizes[i]));
    return y;
}

hg_status hg_convolution_bwd(hg_ctx *cx, hg_back *b) {
    const hg_arg *stride = ARG(STRIDE), *padding = ARG(PADDING), *dilation = ARG(DILATION), *groups = ARG(GROUPS);
    bool transposed = ARG(TRANSPOSED)->u.i;
    int n = G->n_dim - 2;
    hg_tensor *g = G;
    const hg_tensor *x0 = IN(INPUT) ? IN(INPUT) : IN(WEIGHT);
    hg_format f = x0 ? format_of(x0, IN(WEIGHT)) : HG_FORMAT_CONTIGUOUS;
    if (hg_format_of(g) != f) g = X(CONTIGUOUS, T(g), hg_format_arg(f));
    if (!g) return HG_OK;
    if (NEED(INPUT))
        GIVE(INPUT,
             other_way(cx, g, IN(WEIGHT), META(INPUT).shape + 2, n, stride, padding, dilation, !transposed, groups));
    if (NEED(WEIGHT)) {
        hg_arg kernel = hg_ints(META(WEIGHT).shape + 2, n);
        hg_tensor *x = IN(INPUT);
        GIVE(WEIGHT, X(CONVOLUTION_WEIGHT, T(transposed ? x : g), T(transposed ? g : x), kernel, *stride, *padding,
                       *dilation, *groups));
    }
    if (NEED(BIAS)) {
        const int64_t dims[MAX_DIMS + 1] = {0, 2, 3, 4};
        GIVE(BIAS, X(SUM_DIM, T(G), hg_ints(dims, n + 1)));
    }
    return HG_OK;
}

hg_status hg_convolution_weight_bwd(hg_ctx *cx, hg_back *b) {
    const hg_arg *stride = ARG(W_STRIDE), *padding = ARG(W_PADDING), *dilation = ARG(W_DILATION),
                 *groups = ARG(W_GROUPS);
    int n = (int)ARG(W_KERNEL)->n;
    if (NEED(W_OUTPUT))
        GIVE(W_OUTPUT,
             other_way(cx, IN(W_IMAGE), G, META(W_OUTPUT).shape + 2, n, stride, padding, dilation, false, groups));
    if (NEED(W_IMAGE))
        GIVE(W_IMAGE,
             other_way(cx, IN(W_OUTPUT), G, META(W_IMAGE).shape + 2, n, stride, padding, dilation, true, groups));
    return HG_OK;
}

/* ---- As torch spells them ------------------------------------------------------------------------------------------------------ */

/* A setting for n dimensions, one number standing for all; `room` is for that case. */
static hg_status setting(hg_ctx *cx, const hg_arg *a, const char *name, int n, int64_t room[MAX_DIMS], hg_arg *out) {
    char words[256];
    if (a->kind == HG_A_INT || (a->kind == HG_A_INTS && a->n == 1)) {
        for (int i = 0; i < MAX_DIMS; i++) room[i] = a->kind == HG_A_INT ? a->u.i : a->u.ints[0];
        *out = hg_ints(room, n);
        return HG_OK;
    }
    if (a->kind != HG_A_INTS || (int)a->n != n)
        return hg_fail(cx, HG_STATE,
                       "expected %s to be a single integer value or a list of %d values to match the convolution "
                       "dimensions, but got %s=%s",
                       name, n, name, hg_show_sizes((int)a->n, a->u.ints, words));
    *out = *a;
    return HG_OK;
}

/* padding="same": what goes on both sides; where one side needs one more, the input is padded there first. */
static hg_tensor *pad_same(hg_ctx *cx, hg_tensor *x, const hg_tensor *w, const hg_arg *dilation, int n,
                           int64_t *padding) {
    int64_t more[2 * MAX_DIMS] = {0};
    bool uneven = false;
    for (int i = 0; i < n; i++) {
        int64_t total = dilation->u.ints[i] * (w->shape[2 + i] - 1);
        padding[i] = total / 2;
        if (total % 2) more[2 * (n - 1 - i) + 1] = 1, uneven = true;
    }
    if (!uneven) return x;
    hg_scope_fail(cx, hg_warn_once(cx, "Using padding='same' with even kernel lengths and odd dilation may require a "
                                       "zero-padded copy of the input be created"));
    return X(CONSTANT_PAD_ND, T(x), hg_ints(more, 2 * n), hg_i(0));
}

/* input, weight, bias, stride, padding, dilation, groups -> n-dimensional convolution; one image may come without its batch. */
static hg_status convolution(hg_ctx *cx, const hg_arg *a, int n, const char *name, bool transposed, hg_tensor **out) {
    enum { A_STRIDE = 3, A_PADDING, A_DILATION, A_GROUPS, T_OUTPUT_PADDING = 5, T_GROUPS, T_DILATION };
    hg_tensor *x = a[INPUT].u.t, *w = a[WEIGHT].u.t;
    const hg_arg *a_dilation = &a[transposed ? T_DILATION : A_DILATION], *groups = &a[transposed ? T_GROUPS : A_GROUPS];
    const hg_arg zero = hg_i(0), *a_output_padding = transposed ? &a[T_OUTPUT_PADDING] : &zero;
    int64_t room[5][MAX_DIMS];
    hg_arg stride, dilation, padding, output_padding;
    char words[256];
    hg_scope s;
    if (!transposed) HG_TRY(check_bias(cx, x, &a[BIAS]));
    if (x->n_dim != n + 1 && x->n_dim != n + 2)
        return hg_fail(cx, HG_STATE, "Expected %dD (unbatched) or %dD (batched) input to %s, but got input of size: %s",
                       n + 1, n + 2, name, hg_show_shape(x, words));
    if (groups->u.i <= 0) return hg_fail(cx, HG_STATE, "non-positive groups is not supported");
    int w_n = w->n_dim - 2;
    if (w_n < 1) return hg_fail(cx, HG_STATE, "weight should have at least three dimensions");
    if (w_n > MAX_DIMS) return hg_fail(cx, HG_STATE, "weight should have at most five dimensions, got %d", w->n_dim);
    HG_TRY(setting(cx, &a[A_STRIDE], "stride", w_n, room[0], &stride));
    HG_TRY(setting(cx, a_dilation, "dilation", w_n, room[1], &dilation));
    HG_TRY(setting(cx, a_output_padding, "output_padding", w_n, room[4], &output_padding));
    char shown[256];
    if (w_n != n)
        return hg_fail(
            cx, HG_STATE,
            "Expected %d-dimensional input for %d-dimensional weight %s, but got %d-dimensional input of size "
            "%s instead",
            w->n_dim, w->n_dim, hg_show_shape(w, words), x->n_dim, hg_show_shape(x, shown));
    bool same = false;
    if (a[A_PADDING].kind == HG_A_STR) {
        const char *mode = a[A_PADDING].u.s;
        same = strcmp(mode, "same") == 0;
        if (!same && strcmp(mode, "valid") != 0) return hg_fail(cx, HG_STATE, "Invalid padding string: '%s'", mode);
        if (same && any_below(&stride, 1)) return hg_fail(cx, HG_STATE, "non-positive stride is not supported");
        for (int i = 0; i < n && same; i++)
            if (stride.u.ints[i] != 1)
                return hg_fail(cx, HG_STATE, "padding='same' is not supported for strided convolutions");
        memset(room[3], 0, sizeof room[3]);
        padding = hg_ints(room[3], n);
    } else {
        HG_TRY(setting(cx, &a[A_PADDING], "padding", n, room[2], &padding));
    }
    hg_scope_begin(cx, &s);
    bool one = x->n_dim == n + 1;
    if (one) x = X(UNSQUEEZE, T(x), hg_i(0));
    if (same && x) x = pad_same(cx, x, w, &dilation, n, room[3]);
    hg_tensor *y = X(CONVOLUTION, T(x), T(w), a[BIAS], stride, padding, dilation, hg_b(transposed), output_padding,
                     *groups);
    if (one) y = X(SQUEEZE_DIM, T(y), hg_i(0));
    return hg_scope_return(cx, &s, y, out);
}

hg_status hg_conv1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 1, "conv1d", false, out);
}
hg_status hg_conv2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 2, "conv2d", false, out);
}
hg_status hg_conv_transpose1d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 1, "conv_transpose1d", true, out);
}
hg_status hg_conv_transpose2d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 2, "conv_transpose2d", true, out);
}
hg_status hg_conv3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 3, "conv3d", false, out);
}
hg_status hg_conv_transpose3d_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return convolution(cx, a, 3, "conv_transpose3d", true, out);
}
