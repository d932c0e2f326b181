/* Convolution with windows of 3x3 by fewer multiplications.

   Note [Winograd]
   Four neighbouring pixels of the result, 2x2, see 4x4 pixels. Winograd's F(2x2, 3x3) takes 16 multiplications for what are 36
   otherwise: 4x4 sums of the pixels seen, times 4x4 sums of a weight's nine numbers, and sums of the products, which are over
   channels, so that they are 16 products of matrices. The sums are of two to four numbers, so that the result is as exact as
   otherwise but for about a bit; larger tiles would save more and cost several bits.

   The images lie in four planes, of even and odd rows and columns: then what all tiles have in one place is one run of numbers,
   across the rows of tiles. One column more than there are tiles is in each row of planes, and computed in vain. */
#include "conv_impl.h"
#include "gemm_impl.h"
#include "iter_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <string.h>

/* ROW: of a block of TILES tiles, an odd number of cache lines. */
enum { SUMS = 16, TILES = 128, ROW = 144, STEP = 16, LEAST_CHANNELS = 32, LEAST_PIXELS = 400 };

typedef struct job {
    const hg_winograd *a;
    const float *planes, *sums;    /* of the images at hand; of the weights: (SUMS, out, in_row) */
    float *space, *result;         /* of each worker; of the first image at hand */
    int64_t in_row;                /* in, rounded up to whole steps */
    int64_t tiles_y, width, plane; /* rows of tiles; columns and size of a plane */
    int64_t n_tiles, n_workers;    /* of all images at hand */
} job;

/* ---- Sums ---------------------------------------------------------------------------------------------------------------- */

/* STEP numbers at any address: the loops below have too many streams for the compiler to see that they do not meet. */
typedef float lanes __attribute__((vector_size(STEP * sizeof(float)), aligned(4), may_alias));
#define LANES(p) (*(lanes *)(p))
#define SEEN(p)  (*(const lanes *)(p))

/* Of the weights w[tap][row] of a channel of the result, for n channels that are seen, and some more up to a whole step. */
HG_CLONES static void weight_sums(int64_t n, const float *w, int64_t row, bool turned, float *to, int64_t apart) {
    const int64_t step = turned ? -row : row;
    if (turned) w += 8 * row;
    for (int64_t c = 0; c < n; c += STEP) {
        lanes half[4][3];
        for (int j = 0; j < 3; j++) {
            lanes w0 = SEEN(w + j * step + c), w1 = SEEN(w + (3 + j) * step + c), w2 = SEEN(w + (6 + j) * step + c);
            half[0][j] = w0, half[1][j] = 0.5f * (w0 + w1 + w2), half[2][j] = 0.5f * (w0 - w1 + w2), half[3][j] = w2;
        }
        for (int i = 0; i < 4; i++) {
            float *at = to + 4 * i * apart + c;
            LANES(at) = half[i][0], LANES(at + 3 * apart) = half[i][2];
            LANES(at + apart) = 0.5f * (half[i][0] + half[i][1] + half[i][2]);
            LANES(at + 2 * apart) = 0.5f * (half[i][0] - half[i][1] + half[i][2]);
        }
    }
}

/* Of n tiles of a channel: from the first pixel of each of the four planes, `odd` apart by rows and twice that by columns. */
HG_CLONES static void pixel_sums(int64_t n, const float *from, int64_t odd, int64_t width, float *to, int64_t apart) {
    for (int64_t t = 0; t < n; t += STEP) {
        lanes half[4][4];
        for (int j = 0; j < 4; j++) {
            const float *column = from + j % 2 * 2 * odd + j / 2 + t;
            lanes d0 = SEEN(column), d1 = SEEN(column + odd), d2 = SEEN(column + width),
                  d3 = SEEN(column + odd + width);
            half[0][j] = d0 - d2, half[1][j] = d1 + d2, half[2][j] = d2 - d1, half[3][j] = d1 - d3;
        }
        for (int i = 0; i < 4; i++) {
            float *at = to + 4 * i * apart + t;
            LANES(at) = half[i][0] - half[i][2], LANES(at + apart) = half[i][1] + half[i][2];
            LANES(at + 2 * apart) = half[i][2] - half[i][1], LANES(at + 3 * apart) = half[i][1] - half[i][3];
        }
    }
}

/* The 2x2 pixels of n tiles, each at to[pixel * TILES + tile]. */
HG_CLONES static void result_sums(int64_t n, const float *from, int64_t apart, float *to) {
    for (int64_t t = 0; t < n; t += STEP) {
        lanes half[2][4];
        for (int j = 0; j < 4; j++) {
            const float *column = from + j * apart + t;
            lanes m0 = SEEN(column), m1 = SEEN(column + 4 * apart), m2 = SEEN(column + 8 * apart),
                  m3 = SEEN(column + 12 * apart);
            half[0][j] = m0 + m1 + m2, half[1][j] = m1 - m2 - m3;
        }
        for (int i = 0; i < 2; i++) {
            LANES(to + 2 * i * TILES + t) = half[i][0] + half[i][1] + half[i][2];
            LANES(to + (2 * i + 1) * TILES + t) = half[i][1] - half[i][2] - half[i][3];
        }
    }
}
#undef LANES
#undef SEEN

/* n pairs side by side, and one more number of the first where the row is odd. */
HG_CLONES static void put_pairs(int64_t n, bool one_more, const float *restrict x, const float *restrict y,
                                float *restrict to) {
    for (int64_t i = 0; i < n; i++) to[2 * i] = x[i], to[2 * i + 1] = y[i];
    if (one_more) to[2 * n] = x[n];
}

/* ---- Blocks of tiles -------------------------------------------------------------------------------------------------------------- */

/* Tiles [at, at + n) of a channel of an image: pixels as result_sums() leaves them, TILES apart. */
static void put_tiles(const job *j, int64_t at, int64_t n, const float *pixels, float *to) {
    const int64_t high = j->a->high, wide = j->a->wide, tiles_x = j->width - 1;
    for (int64_t done = 0; done < n;) {
        int64_t y = (at + done) / j->width, x = (at + done) - y * j->width;
        int64_t some = j->width - x < n - done ? j->width - x : n - done,
                seen = tiles_x - x < some ? tiles_x - x : some;
        for (int i = 0; i < 2 && 2 * y + i < high && seen > 0; i++) {
            const float *row = pixels + 2 * i * TILES + done;
            bool one_more = 2 * (x + seen) > wide;
            put_pairs(seen - one_more, one_more, row, row + TILES, to + (2 * y + i) * wide + 2 * x);
        }
        done += some;
    }
}

/* A part of a block that lies in one image: tiles [at, at + n), from number `first` of the block on. */
typedef struct piece {
    int64_t image, at, first, n;
} piece;

static bool next_piece(const job *j, int64_t block, piece *p) {
    const int64_t all = j->tiles_y * j->width, from = block * TILES;
    const int64_t end = from + TILES < j->n_tiles ? from + TILES : j->n_tiles, at = from + p->first + p->n;
    if (at >= end) return false;
    p->first += p->n, p->image = at / all, p->at = at - p->image * all;
    p->n = all - p->at < end - at ? all - p->at : end - at;
    return true;
}

static void run_block(const job *j, int64_t block, float *space) {
    const hg_winograd *a = j->a;
    const int64_t pixel_apart = a->in * ROW, result_apart = a->out * ROW;
    const int64_t n = j->n_tiles - block * TILES < TILES ? j->n_tiles - block * TILES : TILES;
    float *pixels = space, *products = space + SUMS * pixel_apart, *last = products + SUMS * result_apart;
    for (piece p = {0}; next_piece(j, block, &p);)
        for (int64_t c = 0; c < a->in; c++)
            pixel_sums(p.n, j->planes + (p.image * a->in + c) * 4 * j->plane + p.at, j->plane, j->width,
                       pixels + c * ROW + p.first, pixel_apart);
    for (int i = 0; i < SUMS; i++)
        hg_product_run(&(hg_product){.m = a->out,
                                     .n = n,
                                     .k = a->in,
                                     .a = j->sums + i * a->out * j->in_row,
                                     .a_row = j->in_row,
                                     .a_col = 1,
                                     .b = pixels + i * pixel_apart,
                                     .b_row = ROW,
                                     .b_col = 1,
                                     .c = products + i * result_apart,
                                     .c_row = ROW,
                                     .image = n,
                                     .alpha = 1},
                       1, NULL);
    for (int64_t o = 0; o < a->out; o++) {
        result_sums(n, products + o * ROW, result_apart, last);
        for (piece p = {0}; next_piece(j, block, &p);)
            put_tiles(j, p.at, p.n, last + p.first, j->result + p.image * a->result_step + o * a->high * a->wide);
    }
}

static int64_t space_of(const job *j) { return SUMS * (j->a->in + j->a->out) * ROW + 4 * TILES; }

static void work(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    for (int64_t w = begin; w < end; w++)
        for (int64_t i = w; i * TILES < j->n_tiles; i += j->n_workers) run_block(j, i, j->space + w * space_of(j));
}

/* ---- The convolution ----------------------------------------------------------------------------------------------------------------- */

bool hg_winograd_pays(int64_t n, int64_t in, int64_t out, int64_t high, int64_t wide) {
    int64_t computed = (high + 1) / 2 * 4 * ((wide + 1) / 2 + 1);
    return in >= LEAST_CHANNELS && out >= LEAST_CHANNELS && n * high * wide >= LEAST_PIXELS &&
           3 * high * wide >= 2 * computed;
}

hg_status hg_winograd_run(hg_ctx *cx, const hg_winograd *a) {
    job j = {.a = a,
             .in_row = (a->in + STEP - 1) / STEP * STEP,
             .tiles_y = (a->high + 1) / 2,
             .width = (a->wide + 1) / 2 + 1};
    j.plane = (j.tiles_y + 1) * j.width;
    hg_margins m = {.h = a->h,
                    .w = a->w,
                    .top = a->top,
                    .left = a->left,
                    .rows = 2 * (j.tiles_y + 1),
                    .width = j.width,
                    .split_x = 2,
                    .split_y = 2,
                    .channels = a->in,
                    .image_step = a->image_step};
    int64_t n_group = hg_margins_group(&m, a->n);
    j.n_workers = hg_get_num_threads();
    int64_t n_blocks = (n_group * j.tiles_y * j.width + TILES - 1) / TILES;
    if (j.n_workers > n_blocks) j.n_workers = n_blocks;
    hg_status st = hg_margins_begin(cx, &m, n_group);
    float *sums = st == HG_OK ? hg_mem(cx, (size_t)((SUMS * a->out + 9) * j.in_row) * sizeof *sums) : NULL;
    if (sums) j.space = hg_mem(cx, (size_t)(j.n_workers * space_of(&j)) * sizeof *j.space);
    float *taps = sums + SUMS * a->out * j.in_row;
    for (int64_t o = 0; j.space && o < a->out; o++) {
        hg_turn(a->weight + o * a->w_out, a->w_in, a->in, 9, taps, j.in_row);
        weight_sums(a->in, taps, j.in_row, a->turned, sums + o * j.in_row, a->out * j.in_row);
    }
    j.planes = m.to, j.sums = sums;
    for (int64_t from = 0; j.space && from < a->n; from += n_group) {
        int64_t n = a->n - from < n_group ? a->n - from : n_group;
        j.n_tiles = n * j.tiles_y * j.width;
        j.result = a->result + from * a->result_step;
        hg_margins_load(&m, a->image + from * a->image_step, n);
        if (j.n_workers > 1)
            hg_parallel_for(j.n_workers, 1, work, &j);
        else
            work(&j, 0, 1);
    }
    st = j.space ? HG_OK : HG_MEMORY;
    hg_mem_free(cx->lib, m.to), hg_mem_free(cx->lib, sums), hg_mem_free(cx->lib, j.space);
    return st;
}
