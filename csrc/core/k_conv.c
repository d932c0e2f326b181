/* Convolution of float32 images of two dimensions, as products of tiles.

   Note [Slabs]
   A convolution is a product of the weights and the columns that the windows see, one for each pixel of the output. The columns
   are never made. Instead some rows of an image, with zeros around them, are copied once for each column of the kernel: then
   what neighbouring pixels of the output see through a tap, across the ends of rows, is one run of numbers, and a tap is a place
   where the run begins. With a stride, every stride-th pixel of a row lies next to each other, and every stride-th row. Tiles
   (Note [Tiles] in k_gemm.c) read their vectors from these runs; the second cache holds a slab and what becomes of it.
   The gradient of the images is the same, of the weights turned round and the windows of the output's gradient, once for each
   remainder that a pixel's place leaves when it is divided by the stride. That of the weights is a product of slabs, whose rows
   are channels or columns of the kernel, and the output's gradient turned. Where there are channels and pixels enough, vectors
   are of channels (Note [Windows] in k_window.c); where there are few channels and rows fill
   vectors, images are not copied for each column (Note [Planes] in k_plane.c). Where every channel stands alone there are no
   products, and vectors of pixels are added up instead (hg_mix). */
#include "conv_impl.h"
#include "cpu_impl.h"
#include "gemm_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <stdatomic.h>
#include <string.h>

enum {
    SLAB = 1 << 17,
    LARGEST = 1 << 26,
    LINE = 16,
    FEW = 256,
    AHEAD = 12,
    ENOUGH_WORK = 1 << 19
}; /* numbers; multiplications of a thread */

bool hg_conv_has_tiles(const hg_conv_shape *s) {
    bool flat = s->d == 1 && s->od == 1 && s->kd == 1 && s->sd == 1 && s->pd == 0;
    if (!flat || s->dtype != HG_F32 || s->kh * s->kw <= 0 || s->in_channels <= 0 || s->out_channels <= 0) return false;
    /* at least so many rows of both sides lie in a slab */
    double rows = (double)(s->kh * s->dh + s->sh), channels = (double)(s->in_channels + s->out_channels);
    return rows * (double)s->kw * channels * HG_PANEL < LARGEST && hg_has_tiles();
}

float *hg_conv_space(hg_ctx *cx, int64_t n, hg_storage **owned) {
    return hg_storage_new(cx, (size_t)n * sizeof(float), owned) == HG_OK ? (void *)(*owned)->data : NULL;
}

void hg_conv_space_free(hg_ctx *cx, hg_storage *owned) {
    if (owned) hg_storage_release(cx->lib, owned);
}

HG_INLINE void add_number_body(const bool fused, int64_t n, float x, float *to) {
    (void)fused;
    for (int64_t i = 0; i < n; i++) to[i] += x;
}
HG_VECTOR(add_number, (int64_t n, float x, float *to), n, x, to)

void hg_add_number(int64_t n, float x, float *to) { add_number(n, x, to); }

typedef struct crew {
    hg_conv_piece run;
    const void *job;
    float *space;
    int64_t n, room;
    atomic_llong next;
} crew;

static void take_pieces(void *arg, int64_t begin, int64_t end) {
    crew *c = arg;
    for (int64_t worker = begin; worker < end; worker++)
        for (int64_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;) {
            float *space = c->space + worker * c->room;
            /* No piece may use what another has left: with sanitizers it finds NaN. */
            if (HG_FREES_ALL) memset(space, 0xff, (size_t)c->room * sizeof *space);
            c->run(c->job, i, space);
        }
}

hg_status hg_conv_pieces(hg_ctx *cx, int64_t n, int64_t threads, int64_t room, hg_conv_piece run, const void *job) {
    hg_storage *owned = NULL;
    crew c = {.run = run, .job = job, .n = n, .room = (room + LINE - 1) / LINE * LINE};
    threads = hg_least(threads, n);
    if (!(c.space = hg_conv_space(cx, threads * c.room, &owned))) return HG_MEMORY;
    hg_parallel_for(threads, 1, take_pieces, &c);
    hg_conv_space_free(cx, owned);
    return HG_OK;
}

int64_t hg_conv_threads(const hg_conv_shape *s) {
    double work = (double)(s->n * s->groups * s->out_channels * s->oh * s->ow) *
                  (double)(s->in_channels * s->kh * s->kw);
    return work < 2.0 * ENOUGH_WORK ? 1 : hg_get_num_threads();
}

/* Are the columns the image itself? */
static bool is_pointwise(const hg_conv_shape *s) {
    return s->kh == 1 && s->kw == 1 && s->sh == 1 && s->sw == 1 && s->ph == 0 && s->pw == 0 && s->h == s->oh &&
           s->w == s->ow;
}

hg_status hg_conv_view(hg_ctx *cx, const hg_conv_shape *s, hg_view *view) {
    int64_t *y = hg_mem(cx, (size_t)(s->kh + s->kw) * sizeof *y), *x = y + s->kh;
    if (!y) return HG_MEMORY;
    for (int64_t i = 0; i < s->kh; i++) y[i] = i * s->dh - s->ph;
    for (int64_t i = 0; i < s->kw; i++) x[i] = i * s->dw - s->pw;
    *view = (hg_view){.h = s->h,
                      .w = s->w,
                      .high = s->oh,
                      .wide = s->ow,
                      .sy = s->sh,
                      .sx = s->sw,
                      .n_y = s->kh,
                      .n_x = s->kw,
                      .y = y,
                      .x = x};
    return HG_OK;
}

/* ---- Results of windows ------------------------------------------------------------------------------------------------------- */

typedef struct job {
    const hg_results *r;
    hg_view v;
    const float *weight;                  /* (groups, out, in, taps) */
    float *space;                         /* of each worker */
    const int32_t *at;                    /* of each column's numbers in a slab */
    int64_t n_k, n_rows, n_columns, slab; /* n_rows, n_columns: of pieces */
} job;

static void run_piece(const void *arg, int64_t number, float *space) {
    const job *j = arg;
    const hg_results *r = j->r;
    const hg_view *v = &j->v;
    const int64_t column = number % j->n_columns * v->width, rest = number / j->n_columns;
    const int64_t row = rest % j->n_rows * v->rows, plane = rest / j->n_rows, group = plane % r->groups;
    const int64_t rows = hg_least(v->high - row, v->rows), width = hg_least(v->wide - column, v->width),
                  n = rows * width;
    const float *weight = j->weight + group * r->out * j->n_k;
    const bool direct = r->sy == 1 && r->sx == 1 && (v->wide == r->wide || rows == 1);
    float *result = r->result + plane * r->out * r->high * r->wide + (row * r->sy + r->y) * r->wide + column * r->sx +
                    r->x;
    float *c = direct ? result : space + j->slab;
    const int64_t c_row = direct ? r->high * r->wide : n;
    hg_slab_load(v, r->image + plane * r->in * v->h * v->w, r->in, row, column, rows, space);
    memset(space + j->slab - HG_SLAB_SLACK, 0, HG_SLAB_SLACK * sizeof *space); /* read behind the slab, and not used */
    if (r->in == 1 && r->out == 1)
        hg_mix(n, j->n_k, j->at, weight, space, c);
    else
        hg_product_run(&(hg_product){.m = r->out,
                                     .n = n,
                                     .k = j->n_k,
                                     .a = weight,
                                     .a_row = j->n_k,
                                     .a_col = 1,
                                     .b = space,
                                     .b_at = j->at,
                                     .b_col = 1,
                                     .c = c,
                                     .c_row = c_row,
                                     .alpha = 1},
                       1, NULL);
    for (int64_t o = 0; o < r->out; o++, c += c_row) {
        /* last, as PyTorch's results show to the bit */
        if (r->bias) hg_add_number(n, r->bias[group * r->out + o], c);
        float *to = result + o * r->high * r->wide;
        for (int64_t y = 0; !direct && y < rows; y++, to += r->sy * r->wide)
            for (int64_t x = 0; x < width; x++) to[x * r->sx] = c[y * width + x];
    }
}

/* The weights of a group as (out, in, taps), for some channels at a time, whose rows the cache holds. */
static void pick_weights(const hg_results *r, const float *weight, float *to) {
    const int64_t taps = r->v.n_y * r->v.n_x;
    for (int64_t o0 = 0, n; o0 < r->out; o0 += n, to += n * r->in * taps) {
        n = hg_least(r->out - o0, LINE);
        for (int64_t c = 0; c < r->in; c++)
            for (int64_t o = 0; o < n; o++) {
                const float *from = weight + (o0 + o) * r->lane + c * r->channel;
                float *at = to + (o * r->in + c) * taps;
                if (taps == 9 && r->n_taps == 9) /* all of the usual ones, in order */
                    memcpy(at, from, 9 * sizeof *at);
                else
                    for (int64_t t = 0; t < taps; t++) at[t] = from[r->pick[t]];
            }
    }
}

static hg_status run_slabs(hg_ctx *cx, const hg_results *r, int64_t threads) {
    job j = {.r = r, .v = r->v, .weight = r->weight};
    hg_view *v = &j.v;
    const int64_t taps = v->n_y * v->n_x, n_weights = r->out * r->in * taps;
    const int64_t most = r->n * r->groups < threads ? (v->high + threads - 1) / threads : v->high;
    hg_view_begin(v, r->in, SLAB, most);
    j.n_rows = (v->high + v->rows - 1) / v->rows, j.n_columns = (v->wide + v->width - 1) / v->width;
    j.n_k = r->in * taps, j.slab = r->in * hg_slab_channel(v) + HG_SLAB_SLACK;
    const int64_t apart = r->sy > 1 || r->sx > 1 ? r->out * v->rows * v->width : 0;
    float *picked = NULL;
    hg_storage *owned = NULL;
    hg_status st = HG_MEMORY;
    int32_t *at = hg_mem(cx, (size_t)(j.n_k + 1) * sizeof *at);
    if (!at) return HG_MEMORY;
    if (r->pick) {
        if (!(picked = hg_conv_space(cx, r->groups * n_weights, &owned))) goto done;
        for (int64_t g = 0; g < r->groups; g++)
            pick_weights(r, r->weight + g * r->out * r->in * r->n_taps, picked + g * n_weights);
        j.weight = picked;
    }
    for (int64_t c = 0; c < r->in; c++)
        for (int64_t t = 0; t < taps; t++)
            at[c * taps + t] = (int32_t)(c * hg_slab_channel(v) + hg_slab_at(v, t / v->n_x, t % v->n_x));
    j.at = at;
    st = hg_conv_pieces(cx, r->n * r->groups * j.n_rows * j.n_columns, threads, j.slab + apart, run_piece, &j);
done:
    hg_mem_free(cx->lib, at), hg_conv_space_free(cx, owned);
    return st;
}

static hg_status run(hg_ctx *cx, const hg_results *r, int64_t threads) {
    return (hg_planes_suit(r) ? hg_planes_run : hg_results_suit(r) ? hg_results_run : run_slabs)(cx, r, threads);
}

/* A product for each image and group; a is (groups, out, in), or `turned`. */
static void run_pointwise(const hg_conv_shape *s, const float *a, bool turned, const float *bias, const float *b,
                          float *c) {
    const int64_t plane = s->oh * s->ow, out = turned ? s->in_channels : s->out_channels,
                  in = turned ? s->out_channels : s->in_channels;
    hg_product g = {.m = out, .n = plane, .k = in, .b_row = plane, .b_col = 1, .c_row = plane, .alpha = 1};
    g.a_row = turned ? 1 : in, g.a_col = turned ? out : 1;
    for (int64_t i = 0; i < s->groups; i++) {
        g.a = a + i * in * out, g.b = b + i * in * plane, g.c = c + i * out * plane;
        hg_product_run(&g, s->n, (int64_t[]){0, s->groups * in * plane, s->groups * out * plane, 0});
    }
    for (int64_t i = 0; bias && i < s->n * s->groups * out; i++, c += plane)
        hg_add_number(plane, bias[i % (s->groups * out)], c);
}

hg_status hg_conv_output(hg_ctx *cx, const hg_conv_shape *s, const float *image, const float *weight, const float *bias,
                         float *output) {
    if (is_pointwise(s)) {
        run_pointwise(s, weight, false, bias, image, output);
        return HG_OK;
    }
    hg_results r = {.image = image,
                    .weight = weight,
                    .bias = bias,
                    .result = output,
                    .n = s->n,
                    .groups = s->groups,
                    .in = s->in_channels,
                    .out = s->out_channels,
                    .high = s->oh,
                    .wide = s->ow,
                    .sy = 1,
                    .sx = 1,
                    .lane = s->in_channels * s->kh * s->kw,
                    .channel = s->kh * s->kw,
                    .n_taps = s->kh * s->kw};
    HG_TRY(hg_conv_view(cx, s, &r.v));
    hg_status st = run(cx, &r, hg_conv_threads(s));
    hg_mem_free(cx->lib, (void *)r.v.y);
    return st;
}

/* ---- The gradient of the images ---------------------------------------------------------------------------------------------- */

/* Which taps (of one dimension) reach pixels that leave remainder r, and how far from the pixel's place their output lies. */
static int64_t reach(int64_t r, int64_t k, int64_t stride, int64_t padding, int64_t dilation, int64_t *tap,
                     int64_t *far) {
    int64_t n = 0;
    for (int64_t i = 0; i < k; i++) {
        int64_t at = r + padding - i * dilation;
        if (at - hg_floor_div(at, stride) * stride == 0) tap[n] = i, far[n++] = hg_floor_div(at, stride);
    }
    return n;
}

hg_status hg_conv_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight, const float *bias,
                        float *image) {
    if (is_pointwise(s)) {
        run_pointwise(s, weight, true, bias, output, image);
        return HG_OK;
    }
    if (hg_conv_has_few(s)) return hg_conv_few_image(cx, s, output, weight, bias, image);
    const int64_t taps = s->kh * s->kw;
    int64_t *y = hg_mem(cx, (size_t)(2 * (s->kh + s->kw)) * sizeof *y);
    int32_t *pick = y ? hg_mem(cx, (size_t)taps * sizeof *pick) : NULL;
    hg_status st = pick ? HG_OK : HG_MEMORY;
    int64_t *far_y = y + s->kh, *x = far_y + s->kh, *far_x = x + s->kw;
    for (int64_t ry = 0; ry < s->sh && ry < s->h; ry++)
        for (int64_t rx = 0; st == HG_OK && rx < s->sw && rx < s->w; rx++) {
            int64_t n_y = reach(ry, s->kh, s->sh, s->ph, s->dh, y, far_y),
                    n_x = reach(rx, s->kw, s->sw, s->pw, s->dw, x, far_x);
            for (int64_t t = 0; t < n_y * n_x; t++) pick[t] = (int32_t)(y[t / n_x] * s->kw + x[t % n_x]);
            hg_results r = {.v = {.h = s->oh,
                                  .w = s->ow,
                                  .high = (s->h - 1 - ry) / s->sh + 1,
                                  .wide = (s->w - 1 - rx) / s->sw + 1,
                                  .sy = 1,
                                  .sx = 1,
                                  .n_y = n_y,
                                  .n_x = n_x,
                                  .y = far_y,
                                  .x = far_x},
                            .image = output,
                            .weight = weight,
                            .bias = bias,
                            .result = image,
                            .pick = pick,
                            .n = s->n,
                            .groups = s->groups,
                            .in = s->out_channels,
                            .out = s->in_channels,
                            .high = s->h,
                            .wide = s->w,
                            .sy = s->sh,
                            .sx = s->sw,
                            .y = ry,
                            .x = rx,
                            .lane = taps,
                            .channel = s->in_channels * taps,
                            .n_taps = taps};
            st = run(cx, &r, hg_conv_threads(s));
        }
    hg_mem_free(cx->lib, pick), hg_mem_free(cx->lib, y);
    return st;
}

/* ---- The gradient of the weights -------------------------------------------------------------------------------------------- */

/* Some channels of a group at a time: their gradient, (channel, tap) by out, is summed up in the cache, then turned. */
typedef struct weight_job {
    hg_view v;
    const float *image, *output;
    float *weight;
    int64_t n, groups, in, out, row; /* row: of what has `out` columns */
    int64_t channels, n_blocks, slab, pixels;
} weight_job;

/* Adds up, or sets, what `channels` channels of a slab have with `n` pixels of the output's gradient. */
static void add_slab(const weight_job *j, int64_t channels, int64_t n, const float *slab, const float *pixels,
                     bool first, float *sums) {
    const hg_view *v = &j->v;
    const int64_t taps = v->n_y * v->n_x, column = v->folds * (v->rows + v->reach) * v->width, wide = v->n_x * column;
    /* Rows of a tile are channels, or columns of the kernel where there are more of these. */
    const bool by_channel = channels >= v->n_x;
    hg_product g = {.m = by_channel ? channels : v->n_x,
                    .n = j->out,
                    .k = n,
                    .a_row = by_channel ? wide : column,
                    .a_col = 1,
                    .b = pixels,
                    .b_row = j->row,
                    .b_col = 1,
                    .c_row = by_channel ? taps * j->row : j->row,
                    .alpha = 1,
                    .beta = 1};
    g.add_row = g.c_row;
    const int64_t n_inner = by_channel ? v->n_x : 1, n_outer = by_channel ? 1 : channels;
    for (int64_t c = 0; c < n_outer; c++)
        for (int64_t i = 0; i < v->n_y; i++)
            for (int64_t t = 0; t < n_inner; t++) {
                g.a = slab + c * wide + hg_slab_at(v, i, t);
                g.c = sums + ((c * v->n_y + i) * v->n_x + t) * j->row;
                g.add = first ? NULL : g.c;
                hg_product_run(&g, 1, NULL);
            }
}

static void run_block(const void *arg, int64_t number, float *space) {
    const weight_job *j = arg;
    const hg_view *v = &j->v;
    const int64_t group = number / j->n_blocks, from = number % j->n_blocks * j->channels;
    const int64_t channels = hg_least(j->in - from, j->channels);
    const int64_t plane = v->high * v->wide, taps = v->n_y * v->n_x;
    const bool alone = j->in == 1 && j->out == 1;
    float *pixels = space + j->slab, *sums = pixels + j->pixels * j->row;
    bool first = true;
    for (int64_t i = 0; i < j->n; i++)
        for (int64_t row = 0; row < v->high; row += v->rows)
            for (int64_t column = 0; column < v->wide; column += v->width, first = false) {
                const int64_t rows = hg_least(v->high - row, v->rows), n = rows * hg_least(v->wide - column, v->width);
                const float *output = j->output + (i * j->groups + group) * j->out * plane + row * v->wide + column;
                hg_slab_load(v, j->image + ((i * j->groups + group) * j->in + from) * v->h * v->w, channels, row,
                             column, rows, space);
                if (alone) {
                    for (int64_t t = 0; t < taps; t++)
                        sums[t * j->row] = (first ? 0 : sums[t * j->row]) +
                                           hg_dot(n, output, space + hg_slab_at(v, t / v->n_x, t % v->n_x));
                } else {
                    hg_turn(output, plane, j->out, n, pixels, j->row);
                    add_slab(j, channels, n, space, pixels, first, sums);
                }
            }
    const int64_t n_k = j->in * taps;
    hg_turn(sums, j->row, channels * taps, j->out, j->weight + group * j->out * n_k + from * taps, n_k);
}

hg_status hg_conv_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight) {
    if (hg_conv_has_few(s)) return hg_conv_few_weight(cx, s, output, image, weight);
    if (hg_planes_weight_suits(s)) return hg_planes_weight(cx, s, output, image, weight);
    const int64_t taps = s->kh * s->kw, threads = hg_conv_threads(s);
    weight_job j = {.image = image,
                    .output = output,
                    .weight = weight,
                    .n = s->n,
                    .groups = s->groups,
                    .in = s->in_channels,
                    .out = s->out_channels};
    HG_TRY(hg_conv_view(cx, s, &j.v));
    /* Rows an odd number of cache lines apart: see lies_well in k_gemm.c. */
    j.row = j.out == 1 ? 1 : (j.out + 31) / 32 * 32 + 16;
    j.channels = hg_least(j.in, SLAB / (taps * j.row) + 1);
    if (j.groups < threads) j.channels = hg_least(j.channels, (j.in + threads - 1) / threads);
    hg_view_begin(&j.v, j.channels, SLAB, SLAB / (j.row * s->ow) + 1);
    j.n_blocks = (j.in + j.channels - 1) / j.channels;
    j.slab = (j.channels * hg_slab_channel(&j.v) + HG_SLAB_SLACK + 15) / 16 * 16, j.pixels = j.v.rows * j.v.width;
    const int64_t room = j.slab + (j.pixels + j.channels * taps) * j.row + HG_SLAB_SLACK;
    hg_status st = hg_conv_pieces(cx, j.groups * j.n_blocks, threads, room, run_block, &j);
    hg_mem_free(cx->lib, (void *)j.v.y);
    return st;
}
