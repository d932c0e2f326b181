/* Results of windows with channels side by side in vectors.

   Note [Windows]
   Where a product of slabs (Note [Slabs] in k_conv.c) has pixels in its vectors, this one has the channels of the result: a tile is
   some neighbouring pixels of a row by two vectors of channels. So rows of any length fill their vectors, with any stride, and
   what windows see is read number by number: rows of an image with zeros around them, copied once (with a stride of more than
   two, the columns of each remainder), or the image itself. It costs a copy of the weights, channels side by side, and
   results that are turned afterwards: it pays where there are many pixels for each weight, and channels that fill vectors. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include "pool_impl.h"

#include <string.h>

enum { LANES = 16, MOST_TAPS = 128, MOST_STRIDE = 8, ENOUGH_PIXELS = 512, ROOM = 1 << 17, FEW_PIXELS = 256 };
enum { FEWER_PIXELS = 64, FEW_WEIGHTS = 1 << 17 }; /* enough for weights that are soon copied */

typedef struct job {
    const hg_results *r;
    hg_view rows; /* of images with zeros around them */
    float *packed;
    const int32_t *at;            /* of each channel and tap */
    int64_t n_k, n_packed, ld;    /* n_packed: of a group; ld: from pixel to pixel */
    int64_t images, high, n_rows; /* images, high: of a piece */
    int64_t above, image,
        row; /* above: further rows that windows see; image, row: from one to the next of what is read */
    bool in_place;
} job;

static void bounds(const int64_t *x, int64_t n, int64_t *low, int64_t *high) {
    *low = *high = x[0];
    for (int64_t i = 1; i < n; i++) *low = hg_least(*low, x[i]), *high = hg_most(*high, x[i]);
}

/* How far what two neighbouring pixels see is apart. */
static int64_t apart(const hg_view *v) { return v->sx == 2 ? 2 : 1; }

bool hg_results_suit(const hg_results *r) {
    const hg_view *v = &r->v;
    int64_t y, x, y_end, x_end;
    /* One vector of channels is as good as several rows of pixels that fill vectors, and costs the turning. */
    if (r->out < LANES || (r->out < 2 * LANES && v->wide % LANES == 0 && v->high > 1)) return false;
    if (v->wide < 4 || v->sx > MOST_STRIDE) return false;
    const int64_t plane = v->high * v->wide;
    const bool few = r->out % LANES == 0 && (v->sx > 1 || plane % HG_PANEL) &&
                     r->out * r->in * v->n_y * v->n_x <= FEW_WEIGHTS;
    if (r->n * plane < (few ? FEWER_PIXELS : ENOUGH_PIXELS)) return false;
    if (r->n_taps > MOST_TAPS || v->n_y * v->n_x == 0) return false;
    bounds(v->y, v->n_y, &y, &y_end), bounds(v->x, v->n_x, &x, &x_end);
    return (double)r->in * (double)(v->sy + y_end - y) * (double)(v->wide * v->sx + x_end - x) < 4 * ROOM;
}

/* The weights of 16 channels of the result, side by side: (in, taps, 16), a panel's width from tap to tap. */
static void pack(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const hg_results *r = j->r;
    const int64_t blocks = (r->out + LANES - 1) / LANES, taps = r->v.n_y * r->v.n_x;
    float turned[MOST_TAPS * LANES] = {0};
    for (int64_t b = begin; b < end; b++) {
        const int64_t o = b % blocks * LANES, n = hg_least(r->out - o, LANES);
        const float *from = r->weight + b / blocks * r->in * r->out * r->n_taps + o * r->lane;
        float *to = j->packed + b / blocks * j->n_packed + o / HG_PANEL * HG_PANEL * j->n_k + o % HG_PANEL;
        for (int64_t p = 0; n < LANES && p < j->n_k; p++) memset(to + p * HG_PANEL, 0, LANES * sizeof *to);
        if (!r->pick) {
            hg_turn(from, r->lane, n, j->n_k, to, HG_PANEL);
            continue;
        }
        for (int64_t c = 0; c < r->in; c++, from += r->channel) {
            hg_turn(from, r->lane, n, r->n_taps, turned, LANES);
            for (int64_t t = 0; t < taps; t++, to += HG_PANEL)
                memcpy(to, turned + r->pick[t] * LANES, LANES * sizeof *to);
        }
    }
}

static void run_piece(const void *arg, int64_t number, float *space) {
    const job *j = arg;
    const hg_results *r = j->r;
    const hg_view *v = &r->v;
    const int64_t row = number % j->n_rows * j->high, rest = number / j->n_rows, group = rest % r->groups;
    const int64_t first = rest / r->groups * j->images, images = hg_least(r->n - first, j->images);
    const int64_t high = hg_least(v->high - row, j->high), pixels = high * v->wide, plane = r->high * r->wide;
    float *sums = space + (j->in_place ? 0 : j->images * j->image),
          *turned = sums + j->images * j->high * v->wide * j->ld;
    const float *from = r->image + (first * r->groups + group) * r->in * v->h * v->w;
    if (j->in_place)
        from += (row * v->sy + j->rows.low) * v->w + *j->rows.x;
    else
        for (int64_t i = 0; i < images; i++)
            hg_slab_load(&j->rows, from + i * r->groups * r->in * v->h * v->w, r->in, row * v->sy, 0,
                         (high - 1) * v->sy + 1 + j->above, space + i * j->image);
    hg_windows_run(&(hg_windows){.images = images,
                                 .high = high,
                                 .wide = v->wide,
                                 .apart = apart(v),
                                 .n = r->out,
                                 .k = j->n_k,
                                 .a = j->in_place ? from : space,
                                 .b = j->packed + group * j->n_packed,
                                 .c = sums,
                                 .at = j->at,
                                 .a_image = j->image,
                                 .a_row = j->row * v->sy,
                                 .c_row = j->ld});
    for (int64_t i = 0; i < images; i++, sums += pixels * j->ld) {
        float *result = r->result + ((first + i) * r->groups + group) * r->out * plane +
                        (row * r->sy + r->y) * r->wide + r->x;
        const bool direct = r->sy == 1 && r->sx == 1;
        float *c = direct ? result : turned;
        const int64_t c_row = direct ? plane : pixels;
        hg_turn(sums, j->ld, pixels, r->out, c, c_row);
        for (int64_t o = 0; o < r->out; o++, c += c_row, result += plane) {
            /* last, as PyTorch's results show to the bit */
            if (r->bias) hg_add_number(pixels, r->bias[group * r->out + o], c);
            for (int64_t y = 0; !direct && y < high; y++)
                for (int64_t x = 0; x < v->wide; x++) result[y * r->sy * r->wide + x * r->sx] = c[y * v->wide + x];
        }
    }
}

/* Where what the first result sees through each channel and tap lies. */
static void set_places(const job *j, const hg_view *v, int64_t channels, int64_t channel, int32_t *at) {
    const hg_view *rows = &j->rows;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < v->n_y * v->n_x; t++) {
            const int64_t right = v->x[t % v->n_x] - *rows->x, down = v->y[t / v->n_x] - rows->low;
            *at++ = (int32_t)(c * channel + right % rows->sx * rows->rows * rows->width + down * j->row +
                              right / rows->sx);
        }
}

hg_status hg_results_run(hg_ctx *cx, const hg_results *r, int64_t threads) {
    const hg_view *v = &r->v;
    int64_t y, x[MOST_STRIDE], y_end, x_end;
    bounds(v->y, v->n_y, &y, &y_end), bounds(v->x, v->n_x, x, &x_end);
    for (int64_t i = 1; i < v->sx; i++) x[i] = x[0] + i;
    job j = {.r = r, .n_k = r->in * v->n_y * v->n_x, .above = y_end - y, .ld = hg_whole(r->out, HG_PANEL) + LANES};
    j.n_packed = hg_whole(r->out, HG_PANEL) * j.n_k;
    const int64_t step = apart(v), parts_x = v->sx / step; /* parts_x: remainders */
    j.in_place = parts_x == 1 && y >= 0 && x[0] >= 0 && (v->high - 1) * v->sy + y_end < v->h &&
                 (v->wide - 1) * step + x_end < v->w && r->in * v->h * v->w < INT32_MAX;
    j.rows = (hg_view){.h = v->h,
                       .w = v->w,
                       .sy = 1,
                       .sx = parts_x,
                       .n_y = 1,
                       .n_x = hg_least(parts_x, x_end - x[0] + 1),
                       .y = &y,
                       .x = x,
                       .width = (v->wide - 1) * step + 1 + (x_end - x[0]) / parts_x,
                       .low = y,
                       .folds = 1};
    /* Rows of a piece: what they see, and what becomes of them, lies in the second cache. */
    const int64_t line = r->in * j.rows.n_x * j.rows.width, each = line * v->sy + v->wide * j.ld;
    const int64_t parts = threads > 1 && r->n * r->groups < 2 * threads ? 2 * threads : 1,
                  all = (v->high + parts - 1) / parts;
    j.high = hg_most(hg_least(all, (ROOM - line * j.above) / each), 1), j.images = 1;
    if (j.high == v->high) /* several images, so that the weights are read once for them */
        j.images = hg_most(
            hg_least(hg_least(FEW_PIXELS / (v->high * v->wide), 4 * ROOM / (each * v->high + line * j.above)),
                     r->n * r->groups / threads),
            1);
    j.n_rows = (v->high + j.high - 1) / j.high;
    j.rows.rows = (j.high - 1) * v->sy + 1 + j.above;
    j.row = j.in_place ? v->w : j.rows.width;
    const int64_t channel = j.in_place ? v->h * v->w : hg_slab_channel(&j.rows), pixels = j.high * v->wide;
    j.image = j.in_place ? r->groups * r->in * channel : hg_whole(r->in * channel, LANES);
    const int64_t room = (j.in_place ? 0 : j.images * j.image) + (j.images * j.ld + r->out) * pixels + HG_SLAB_SLACK;
    hg_storage *owned = NULL;
    hg_status st = HG_MEMORY;
    int32_t *at = hg_mem(cx, (size_t)j.n_k * sizeof *at);
    if (at) j.packed = hg_conv_space(cx, r->groups * j.n_packed, &owned);
    if (j.packed) {
        j.at = at, set_places(&j, v, r->in, channel, at);
        hg_parallel_for(r->groups * ((r->out + LANES - 1) / LANES), threads > 1 ? 1 : INT64_MAX, pack, &j);
        st = hg_conv_pieces(cx, (r->n + j.images - 1) / j.images * r->groups * j.n_rows, threads, room, run_piece, &j);
    }
    hg_mem_free(cx->lib, at), hg_conv_space_free(cx, owned);
    return st;
}
