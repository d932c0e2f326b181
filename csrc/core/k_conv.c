/* Convolution of float32 images of two dimensions, as products of tiles.

   Note [Windows]
   A convolution is a product of the weights and the columns that the windows see, one for each pixel of the output. The columns
   are never all there: the product asks for blocks of them as it needs them (hg_columns), and they are cut out of images that
   were given a margin of zeros, a few of which lie in the cache at a time. With a stride, every stride-th pixel of a row lies
   next to each other in them: so a row of a block is always made of runs of neighbours, whatever the padding, stride and
   dilation. The gradient of the images is such a product too, of the weights turned round and the windows of the output's
   gradient, one for each remainder that a pixel's place leaves when it is divided by the stride. That of the weights is a sum
   through the pixels, of columns and the output's gradient. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include "iter_impl.h"
#include "nn_impl.h"

#include <string.h>

enum { RUNS = 64, STEP = 16 };

/* Images with margins, of which windows are seen: pixel (y, x) of the result, tap t and channel c are at
   from[image * image_step + c * channel_step + y * row_step + x + tap[t]]. */
typedef struct windows {
    const float *from;
    int64_t image_step, channel_step, row_step, width, height, n_taps;
    const int64_t *tap;
} windows;

/* ---- Columns ----------------------------------------------------------------------------------------------------------------- */

/* A run of neighbours: `n` columns from `to` on, and where they are seen from tap 0. */
typedef struct run {
    int64_t to, n, from;
} run;

/* Rows are (channel, tap), columns are (image, y, x). Runs are copied by whole steps: what is written too much is written
   over, or lies in the padding of a row. */
HG_CLONES static void cut(const windows *v, int64_t p, int64_t k, int64_t j, int64_t n, float *to, int64_t ld) {
    int64_t plane = v->width * v->height;
    for (int64_t done = 0; done < n;) {
        run runs[RUNS];
        int n_runs = 0;
        int64_t image = (j + done) / plane, rest = (j + done) - image * plane, y = rest / v->width,
                x = rest - y * v->width;
        for (; done < n && n_runs < RUNS; n_runs++) {
            int64_t some = v->width - x < n - done ? v->width - x : n - done;
            runs[n_runs] = (run){done, some, image * v->image_step + y * v->row_step + x};
            done += some, x = 0;
            if (++y == v->height) y = 0, image++;
        }
        int64_t c = p / v->n_taps, t = p - c * v->n_taps;
        float *line = to;
        for (int64_t r = 0; r < k; r++, line += ld) {
            const float *from = v->from + c * v->channel_step + v->tap[t];
            for (int i = 0; i < n_runs; i++) {
                const float *source = from + runs[i].from;
                float *at = line + runs[i].to;
                for (int64_t q = 0; q < runs[i].n; q += STEP) memcpy(at + q, source + q, STEP * sizeof *at);
            }
            if (++t == v->n_taps) t = 0, c++;
        }
    }
}

static void columns(const void *arg, int64_t p, int64_t k, int64_t j, int64_t n, float *to, int64_t ld) {
    if (k) cut(arg, p, k, j, n, to, ld);
}

/* The output's gradient, (n, channels, plane), as rows of pixels: from[(image, pixel)][channel]. */
typedef struct pixels {
    const float *from;
    int64_t plane, image_step;
} pixels;

static void pixel_rows(const void *arg, int64_t p, int64_t k, int64_t j, int64_t n, float *to, int64_t ld) {
    const pixels *o = arg;
    while (k > 0) {
        int64_t image = p / o->plane, at = p - image * o->plane, some = o->plane - at < k ? o->plane - at : k;
        hg_turn(o->from + image * o->image_step + j * o->plane + at, o->plane, n, some, to, ld);
        p += some, k -= some, to += some * ld;
    }
}

/* ---- A group of images at a time ---------------------------------------------------------------------------------------------- */

/* What one walk through the images owns: images with margins, and taps. */
typedef struct walk {
    hg_margins m;
    windows v;
    int64_t *tap;
    int64_t n_group;
} walk;

/* Room for as many images as the cache holds, of `channels`; m.rows, m.width and m.split_x are set. */
static hg_status walk_begin(hg_ctx *cx, walk *w, int64_t n, int64_t channels, int64_t n_taps) {
    w->m.channels = channels, w->m.split_y = 1;
    w->v.channel_step = w->m.split_x * w->m.rows * w->m.width, w->v.image_step = channels * w->v.channel_step;
    w->v.n_taps = n_taps;
    w->n_group = hg_margins_group(&w->m, n);
    HG_TRY(hg_margins_begin(cx, &w->m, w->n_group));
    w->v.from = w->m.to;
    w->v.tap = w->tap = hg_mem(cx, (size_t)(n_taps ? n_taps : 1) * sizeof *w->tap);
    return w->tap ? HG_OK : HG_MEMORY;
}

static void walk_end(hg_ctx *cx, walk *w) { hg_mem_free(cx->lib, w->m.to), hg_mem_free(cx->lib, w->tap); }

static void walk_load(walk *w, const float *from, int64_t n) { hg_margins_load(&w->m, from, n); }

/* The walk through the images that a convolution reads. */
static hg_status image_walk(hg_ctx *cx, const hg_conv_shape *s, walk *w) {
    int64_t rows = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1, width = s->ow - 1 + ((s->kw - 1) * s->dw) / s->sw + 1;
    *w = (walk){.m = {.h = s->h,
                      .w = s->w,
                      .top = s->ph,
                      .left = s->pw,
                      .rows = rows,
                      .width = width,
                      .split_x = s->sw,
                      .image_step = s->groups * s->in_channels * s->h * s->w},
                .v = {.row_step = s->sh * width, .width = s->ow, .height = s->oh}};
    HG_TRY(walk_begin(cx, w, s->n, s->in_channels, s->kh * s->kw));
    for (int64_t i = 0; i < s->kh; i++)
        for (int64_t j = 0; j < s->kw; j++)
            w->tap[i * s->kw + j] = (j * s->dw % s->sw * rows + i * s->dh) * width + j * s->dw / s->sw;
    return HG_OK;
}

bool hg_conv_has_tiles(const hg_conv_shape *s) {
    bool flat = s->d == 1 && s->od == 1 && s->kd == 1 && s->sd == 1 && s->pd == 0;
    return flat && s->dtype == HG_F32 && s->kh * s->kw > 0 && s->in_channels > 0 && s->out_channels > 0 &&
           hg_has_tiles();
}

/* Is it one for k_winograd.c, which has fewer multiplications? n, in, out, high, wide: of what is computed. */
static bool is_3x3(const hg_conv_shape *s, int64_t in, int64_t out, int64_t high, int64_t wide) {
    bool fits = s->kh == 3 && s->kw == 3 && s->sh == 1 && s->sw == 1 && s->dh == 1 && s->dw == 1 && s->ph <= 2 &&
                s->pw <= 2;
    return fits && hg_winograd_pays(s->n, in, out, high, wide);
}

/* Are the columns the image itself? */
static bool is_pointwise(const hg_conv_shape *s) {
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->ph == 0 && s->pw == 0 && s->h == s->oh &&
           s->w == s->ow;
}

hg_status hg_conv_output(hg_ctx *cx, const hg_conv_shape *s, const float *image, const float *weight, float *output) {
    const int64_t o_plane = s->oh * s->ow, o_image = s->groups * s->out_channels * o_plane, plane = s->h * s->w,
                  n_k = s->in_channels * s->kh * s->kw;
    hg_product g = {.m = s->out_channels,
                    .n = o_plane,
                    .k = n_k,
                    .a_row = n_k,
                    .a_col = 1,
                    .b_row = plane,
                    .b_col = 1,
                    .c_row = o_plane,
                    .image = o_plane,
                    .c_image = o_image,
                    .alpha = 1};
    walk w;
    if (is_3x3(s, s->in_channels, s->out_channels, s->oh, s->ow)) {
        hg_winograd a = {.n = s->n,
                         .in = s->in_channels,
                         .out = s->out_channels,
                         .h = s->h,
                         .w = s->w,
                         .high = s->oh,
                         .wide = s->ow,
                         .top = s->ph,
                         .left = s->pw,
                         .w_out = n_k,
                         .w_in = 9,
                         .result_step = o_image,
                         .image_step = s->groups * s->in_channels * plane};
        for (int64_t i = 0; i < s->groups; i++) {
            a.image = image + i * s->in_channels * plane, a.weight = weight + i * s->out_channels * n_k;
            a.result = output + i * s->out_channels * o_plane;
            HG_TRY(hg_winograd_run(cx, &a));
        }
        return HG_OK;
    }
    if (is_pointwise(s)) {
        for (int64_t i = 0; i < s->groups; i++) {
            g.a = weight + i * s->out_channels * n_k, g.b = image + i * s->in_channels * plane;
            g.c = output + i * s->out_channels * o_plane;
            hg_product_run(&g, s->n, (int64_t[]){0, s->groups * s->in_channels * plane, o_image, 0});
        }
        return HG_OK;
    }
    hg_status st = image_walk(cx, s, &w);
    g.columns = columns, g.columns_arg = &w.v;
    for (int64_t from = 0; st == HG_OK && from < s->n; from += w.n_group)
        for (int64_t i = 0; i < s->groups; i++) {
            int64_t n = s->n - from < w.n_group ? s->n - from : w.n_group;
            walk_load(&w, image + (from * s->groups + i) * s->in_channels * plane, n);
            g.n = n * o_plane, g.a = weight + i * s->out_channels * n_k;
            g.c = output + from * o_image + i * s->out_channels * o_plane;
            hg_product_run(&g, 1, NULL);
        }
    walk_end(cx, &w);
    return st;
}

/* ---- The gradient of the weights -------------------------------------------------------------------------------------------- */

hg_status hg_conv_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight) {
    const int64_t o_plane = s->oh * s->ow, o_image = s->groups * s->out_channels * o_plane, plane = s->h * s->w,
                  n_k = s->in_channels * s->kh * s->kw, size = s->groups * n_k * s->out_channels;
    walk w;
    hg_status st = image_walk(cx, s, &w);
    float *turned = st == HG_OK ? hg_mem(cx, (size_t)size * sizeof *turned) : NULL;
    if (!turned) st = HG_MEMORY;
    for (int64_t from = 0; st == HG_OK && from < s->n; from += w.n_group)
        for (int64_t i = 0; i < s->groups; i++) {
            int64_t n = s->n - from < w.n_group ? s->n - from : w.n_group;
            pixels o = {output + from * o_image + i * s->out_channels * o_plane, o_plane, o_image};
            float *to = turned + i * n_k * s->out_channels;
            walk_load(&w, image + (from * s->groups + i) * s->in_channels * plane, n);
            hg_product_run(&(hg_product){.m = n_k,
                                         .n = s->out_channels,
                                         .k = n * o_plane,
                                         .alpha = 1,
                                         .beta = 1,
                                         .add = from ? to : NULL,
                                         .add_row = s->out_channels,
                                         .c = to,
                                         .c_row = s->out_channels,
                                         .image = s->out_channels,
                                         .rows = columns,
                                         .rows_arg = &w.v,
                                         .columns = pixel_rows,
                                         .columns_arg = &o},
                           1, NULL);
        }
    for (int64_t i = 0; st == HG_OK && i < s->groups; i++)
        hg_turn(turned + i * n_k * s->out_channels, s->out_channels, n_k, s->out_channels,
                weight + i * n_k * s->out_channels, n_k);
    if (st == HG_OK && s->n == 0) memset(weight, 0, (size_t)size * sizeof *weight);
    hg_mem_free(cx->lib, turned);
    walk_end(cx, &w);
    return st;
}

/* ---- The gradient of the images ---------------------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t x, int64_t y) { return x / y - (x % y < 0); }

/* Which taps (of one dimension) reach pixels that leave remainder r, and how far from the pixel's place their output lies. */
static int64_t reach(int64_t r, int64_t k, int64_t stride, int64_t padding, int64_t dilation, int64_t *tap,
                     int64_t *far) {
    int64_t n = 0;
    for (int64_t i = 0; i < k; i++) {
        int64_t at = r + padding - i * dilation;
        if (at - floor_div(at, stride) * stride == 0) tap[n] = i, far[n++] = floor_div(at, stride);
    }
    return n;
}

/* The weights (out, in, taps) as (in, out, some of the taps). */
static void turn_weights(const hg_conv_shape *s, const float *weight, int64_t n_y, const int64_t *y, int64_t n_x,
                         const int64_t *x, float *to) {
    const int64_t taps = s->kh * s->kw;
    for (int64_t c = 0; c < s->in_channels; c++)
        for (int64_t o = 0; o < s->out_channels; o++) {
            const float *from = weight + (o * s->in_channels + c) * taps;
            for (int64_t i = 0; i < n_y; i++)
                for (int64_t j = 0; j < n_x; j++) *to++ = from[y[i] * s->kw + x[j]];
        }
}

/* Every stride-th pixel of the images, from those of one remainder, (channels, n * height * width). */
static void put_pixels(const hg_conv_shape *s, const windows *v, int64_t n, int64_t ry, int64_t rx, const float *from,
                       float *image) {
    const int64_t plane = s->h * s->w;
    for (int64_t c = 0; c < s->in_channels; c++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t y = 0; y < v->height; y++, from += v->width) {
                float *to = image + (i * s->groups * s->in_channels + c) * plane + (y * s->sh + ry) * s->w + rx;
                for (int64_t x = 0; x < v->width; x++) to[x * s->sw] = from[x];
            }
}

/* The walk through the output's gradient: its margins reach as far as any tap does. */
static hg_status output_walk(hg_ctx *cx, const hg_conv_shape *s, walk *w) {
    /* The pixel (q, r) sees output q + far, where r + padding - tap * dilation = far * stride. */
    int64_t top = -floor_div(s->ph - (s->kh - 1) * s->dh, s->sh), left = -floor_div(s->pw - (s->kw - 1) * s->dw, s->sw);
    int64_t high = (s->h - 1) / s->sh + (s->sh - 1 + s->ph) / s->sh,
            wide = (s->w - 1) / s->sw + (s->sw - 1 + s->pw) / s->sw;
    *w = (walk){.m = {.h = s->oh,
                      .w = s->ow,
                      .top = top,
                      .left = left,
                      .rows = top + high + 1,
                      .width = left + wide + 1,
                      .split_x = 1,
                      .image_step = s->groups * s->out_channels * s->oh * s->ow}};
    HG_TRY(walk_begin(cx, w, s->n, s->out_channels, s->kh * s->kw));
    w->v.row_step = w->m.width;
    return HG_OK;
}

hg_status hg_conv_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight, float *image) {
    const int64_t o_plane = s->oh * s->ow, plane = s->h * s->w, i_image = s->groups * s->in_channels * plane,
                  n_w = s->in_channels * s->out_channels * s->kh * s->kw;
    const bool strided = s->sh > 1 || s->sw > 1;
    int64_t *at = NULL;
    float *turned = NULL, *aside = NULL;
    walk w;
    if (is_3x3(s, s->out_channels, s->in_channels, s->h, s->w)) {
        hg_winograd a = {.n = s->n,
                         .in = s->out_channels,
                         .out = s->in_channels,
                         .h = s->oh,
                         .w = s->ow,
                         .high = s->h,
                         .wide = s->w,
                         .top = 2 - s->ph,
                         .left = 2 - s->pw,
                         .w_out = 9,
                         .w_in = s->in_channels * 9,
                         .turned = true,
                         .result_step = i_image,
                         .image_step = s->groups * s->out_channels * o_plane};
        for (int64_t i = 0; i < s->groups; i++) {
            a.image = output + i * s->out_channels * o_plane, a.weight = weight + i * n_w;
            a.result = image + i * s->in_channels * plane;
            HG_TRY(hg_winograd_run(cx, &a));
        }
        return HG_OK;
    }
    hg_status st = output_walk(cx, s, &w);
    if (st == HG_OK && !(turned = hg_mem(cx, (size_t)n_w * sizeof *turned))) st = HG_MEMORY;
    if (st == HG_OK && !(at = hg_mem(cx, (size_t)(2 * (s->kh + s->kw)) * sizeof *at))) st = HG_MEMORY;
    if (st == HG_OK && strided) {
        int64_t largest = ((s->h - 1) / s->sh + 1) * ((s->w - 1) / s->sw + 1) * w.n_group * s->in_channels;
        if (!(aside = hg_mem(cx, (size_t)largest * sizeof *aside))) st = HG_MEMORY;
    }
    int64_t *y = at, *far_y = at + s->kh, *x = at + 2 * s->kh, *far_x = at + 2 * s->kh + s->kw;
    for (int64_t i = 0; st == HG_OK && i < s->groups; i++)
        for (int64_t from = 0; from < s->n; from += w.n_group) {
            int64_t n = s->n - from < w.n_group ? s->n - from : w.n_group;
            float *to = image + from * i_image + i * s->in_channels * plane;
            walk_load(&w, output + (from * s->groups + i) * s->out_channels * o_plane, n);
            for (int64_t ry = 0; ry < s->sh && ry < s->h; ry++)
                for (int64_t rx = 0; rx < s->sw && rx < s->w; rx++) {
                    int64_t n_y = reach(ry, s->kh, s->sh, s->ph, s->dh, y, far_y),
                            n_x = reach(rx, s->kw, s->sw, s->pw, s->dw, x, far_x);
                    w.v.height = (s->h - 1 - ry) / s->sh + 1, w.v.width = (s->w - 1 - rx) / s->sw + 1;
                    w.v.n_taps = n_y * n_x;
                    for (int64_t p = 0; p < n_y; p++)
                        for (int64_t q = 0; q < n_x; q++)
                            w.tap[p * n_x + q] = (far_y[p] + w.m.top) * w.m.width + far_x[q] + w.m.left;
                    if (from == 0 || strided) turn_weights(s, weight + i * n_w, n_y, y, n_x, x, turned);
                    int64_t n_pixels = w.v.height * w.v.width, n_k = s->out_channels * w.v.n_taps;
                    hg_product g = {.m = s->in_channels,
                                    .n = n * n_pixels,
                                    .k = n_k,
                                    .a = turned,
                                    .a_row = n_k,
                                    .a_col = 1,
                                    .c_row = plane,
                                    .image = plane,
                                    .c_image = i_image,
                                    .alpha = 1,
                                    .c = to,
                                    .columns = columns,
                                    .columns_arg = &w.v};
                    if (strided) g.c = aside, g.c_row = g.image = n * n_pixels;
                    hg_product_run(&g, 1, NULL);
                    if (strided) put_pixels(s, &w.v, n, ry, rx, aside, to);
                }
        }
    hg_mem_free(cx->lib, turned), hg_mem_free(cx->lib, at), hg_mem_free(cx->lib, aside);
    walk_end(cx, &w);
    return st;
}
