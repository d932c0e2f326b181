/* Gradients of a convolution with few pixels and many weights.

   Note [Few pixels]
   The weights of 512 channels by 512 are far more than a small image: what counts is how often they are moved. So vectors lie
   along the weights as they are stored, (out, in and taps), and all pixels are rows of one product. The gradient of the weights is
   the output's gradient by what the windows see, turned, and is written once. That of the images is the output's gradient by the
   weights, some channels of all taps at a time, and what belongs to one pixel is added up afterwards. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <string.h>

enum { LINE = 16, FEW = 256, MANY = 128, ROOM = 1 << 16, COLUMNS = 512, AHEAD = 4 };

bool hg_conv_has_few(const hg_conv_shape *s) {
    const int64_t taps = s->kh * s->kw;
    return s->n * s->oh * s->ow <= FEW && s->out_channels >= MANY && s->in_channels % LINE == 0 &&
           taps <= COLUMNS / 8 && s->h * s->w <= 16 * FEW;
}

/* ---- The gradient of the weights --------------------------------------------------------------------------------------------- */

/* All pixels are a block of a product: the output's gradient by what the windows see, some channels at a time, turned so that
   vectors lie along the weights. Each is written once, where it belongs. */
typedef struct weight_job {
    hg_view v;                   /* of whole images */
    const float *image, *turned; /* turned: (groups, pixels of all images, out) */
    float *weight;
    const int32_t *pixel; /* where each pixel's row of `turned` lies */
    const int32_t *at;    /* each channel and tap in a slab */
    int64_t n, groups, in, out, row;
    int64_t channels, n_blocks, slab;
} weight_job;

static void run_weights(const void *arg, int64_t number, float *space) {
    const weight_job *j = arg;
    const hg_view *v = &j->v;
    const int64_t group = number / j->n_blocks, from = number % j->n_blocks * j->channels;
    const int64_t channels = hg_least(j->in - from, j->channels);
    const int64_t plane = v->high * v->wide, taps = v->n_y * v->n_x, n = channels * taps, pixels = j->n * plane;
    float *columns = space + j->slab;
    for (int64_t i = 0; i < j->n; i++) {
        hg_slab_load(v, j->image + ((i * j->groups + group) * j->in + from) * v->h * v->w, channels, 0, 0, v->high,
                     space);
        for (int64_t q = 0; q < n; q += HG_PANEL)
            hg_turn_rows(space, j->at + q, hg_least(n - q, HG_PANEL), plane,
                         columns + q * pixels + i * plane * HG_PANEL, HG_PANEL);
    }
    hg_windows_run(&(hg_windows){.images = 1,
                                 .high = 1,
                                 .wide = j->out,
                                 .apart = 1,
                                 .n = n,
                                 .k = pixels,
                                 .a = j->turned + group * pixels * j->row,
                                 .b = columns,
                                 .c = j->weight + group * j->out * j->in * taps + from * taps,
                                 .at = j->pixel,
                                 .c_row = j->in * taps});
}

hg_status hg_conv_few_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image,
                             float *weight) {
    const int64_t taps = s->kh * s->kw, threads = hg_conv_threads(s), plane = s->oh * s->ow, pixels = s->n * plane;
    weight_job j = {
        .image = image, .weight = weight, .n = s->n, .groups = s->groups, .in = s->in_channels, .out = s->out_channels};
    hg_storage *owned = NULL;
    hg_status st = HG_MEMORY;
    HG_TRY(hg_conv_view(cx, s, &j.v));
    /* Channels come by 16, so that blocks are whole vectors. */
    j.channels = hg_least(j.in, hg_whole(ROOM / (taps * pixels) + 1, LINE));
    hg_view_begin(&j.v, j.channels, INT32_MAX, s->oh);
    j.v.rows = s->oh;
    j.n_blocks = (j.in + j.channels - 1) / j.channels;
    j.row = hg_whole(j.out, LINE) + LINE;
    j.slab = hg_whole(j.channels * hg_slab_channel(&j.v) + HG_SLAB_SLACK, LINE);
    int32_t *at = hg_mem(cx, (size_t)(pixels + j.channels * taps) * sizeof *at);
    float *turned = at ? hg_conv_space(cx, j.groups * pixels * j.row, &owned) : NULL;
    if (turned) {
        for (int64_t p = 0; p < pixels; p++) at[p] = (int32_t)(p * j.row);
        j.pixel = at, j.at = at + pixels, j.turned = turned;
        for (int64_t c = 0; c < j.channels; c++)
            for (int64_t t = 0; t < taps; t++)
                at[pixels + c * taps + t] = (int32_t)(c * hg_slab_channel(&j.v) +
                                                      hg_slab_at(&j.v, t / s->kw, t % s->kw));
        for (int64_t g = 0; g < j.groups; g++)
            for (int64_t i = 0; i < j.n; i++)
                hg_turn(output + (i * j.groups + g) * j.out * plane, plane, j.out, plane,
                        turned + (g * j.n + i) * plane * j.row, j.row);
        st = hg_conv_pieces(cx, j.groups * j.n_blocks, threads, j.slab + (j.channels * taps + HG_PANEL) * pixels,
                            run_weights, &j);
    }
    hg_conv_space_free(cx, owned), hg_mem_free(cx->lib, at), hg_mem_free(cx->lib, (void *)j.v.y);
    return st;
}

/* ---- The gradient of the images ------------------------------------------------------------------------------------------------ */

typedef struct image_job {
    const hg_conv_shape *s;
    const float *output, *weight, *bias;
    float *image;
    const int32_t *channel,
        *tap; /* where a channel of the output lies, and what a tap sees of planes with zeros around them */
    int64_t channels, n_blocks, high, wide, n_packed, n_columns;
} image_job;

/* The columns of some channels in panels, for all channels of the output. */
static void pack(const float *weight, int64_t row, int64_t rows, int64_t n, float *to) {
    for (int64_t o = 0; o < rows; o++, weight += row, to += HG_PANEL)
        for (int64_t q = 0; q < n; q += LINE) { /* rows are far apart: nothing else would see the next one coming */
            __builtin_prefetch(weight + AHEAD * row + q);
            memcpy(to + q / HG_PANEL * HG_PANEL * rows + q % HG_PANEL, weight + q, LINE * sizeof *to);
        }
}

/* Adds up what the pixels of an output give to the channels of an image, then puts it there. */
static void fold(const image_job *j, const float *columns, int64_t channels, const float *bias, float *planes,
                 float *image) {
    const hg_conv_shape *s = j->s;
    const int64_t plane = j->high * j->wide, taps = s->kh * s->kw;
    memset(planes, 0, (size_t)(channels * plane) * sizeof *planes);
    for (int64_t q = 0; q < s->oh * s->ow; q++, columns += j->n_columns) {
        float *to = planes + q / s->ow * s->sh * j->wide + q % s->ow * s->sw;
        const float *from = columns;
        for (int64_t c = 0; c < channels; c++, to += plane)
            for (int64_t t = 0; t < taps; t++) to[j->tap[t]] += *from++;
    }
    for (int64_t c = 0; c < channels; c++, planes += plane)
        for (int64_t y = s->ph; y < s->h + s->ph; y++, image += s->w)
            for (int64_t x = 0; x < s->w; x++)
                image[x] = (y < j->high && x + s->pw < j->wide ? planes[y * j->wide + x + s->pw] : 0) +
                           (bias ? bias[c] : 0);
}

static void run_images(const void *arg, int64_t number, float *packed) {
    const image_job *j = arg;
    const hg_conv_shape *s = j->s;
    const int64_t taps = s->kh * s->kw, n_k = s->in_channels * taps, pixels = s->oh * s->ow;
    const int64_t group = number / j->n_blocks, from = number % j->n_blocks * j->channels;
    const int64_t channels = hg_least(s->in_channels - from, j->channels);
    float *columns = packed + j->n_packed;
    pack(j->weight + group * s->out_channels * n_k + from * taps, n_k, s->out_channels, channels * taps, packed);
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t at = i * s->groups + group;
        hg_windows_run(&(hg_windows){.images = 1,
                                     .high = 1,
                                     .wide = pixels,
                                     .apart = 1,
                                     .n = channels * taps,
                                     .k = s->out_channels,
                                     .a = j->output + at * s->out_channels * pixels,
                                     .b = packed,
                                     .c = columns,
                                     .at = j->channel,
                                     .c_row = j->n_columns});
        fold(j, columns, channels, j->bias ? j->bias + group * s->in_channels + from : NULL,
             columns + pixels * j->n_columns, j->image + (at * s->in_channels + from) * s->h * s->w);
    }
}

hg_status hg_conv_few_image(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *weight,
                            const float *bias, float *image) {
    const int64_t taps = s->kh * s->kw;
    image_job j = {.s = s, .output = output, .weight = weight, .bias = bias, .image = image};
    j.channels = hg_least(s->in_channels, hg_whole(COLUMNS / taps, LINE));
    j.n_blocks = (s->in_channels + j.channels - 1) / j.channels;
    j.high = (s->oh - 1) * s->sh + (s->kh - 1) * s->dh + 1, j.wide = (s->ow - 1) * s->sw + (s->kw - 1) * s->dw + 1;
    j.n_columns = hg_whole(j.channels * taps, HG_PANEL), j.n_packed = j.n_columns * s->out_channels;
    j.n_columns += LINE; /* so that rows do not get into each other's way in the first cache */
    int32_t *at = hg_mem(cx, (size_t)(s->out_channels + taps) * sizeof *at);
    if (!at) return HG_MEMORY;
    for (int64_t o = 0; o < s->out_channels; o++) at[o] = (int32_t)(o * s->oh * s->ow);
    for (int64_t t = 0; t < taps; t++)
        at[s->out_channels + t] = (int32_t)(t / s->kw * s->dh * j.wide + t % s->kw * s->dw);
    j.channel = at, j.tap = at + s->out_channels;
    const int64_t room = j.n_packed + s->oh * s->ow * j.n_columns + j.channels * j.high * j.wide;
    hg_status st = hg_conv_pieces(cx, s->groups * j.n_blocks, hg_conv_threads(s), room, run_images, &j);
    hg_mem_free(cx->lib, at);
    return st;
}
