/* Convolutions of few channels, a row of pixels at a time.

   Note [Planes]
   With few channels of the result it is the copies of the image that cost time. So there is one, with zeros around it, and a vector
   is some pixels of a row of the result: what it sees through a tap is a vector, whatever lies beside it in a row. Some rows and
   channels of the result are summed up together, so that each vector that was read, and each weight, is used for
   several products. The gradient of the weights is made of the same vectors: for some taps and channels of the output a vector of
   sums each, through all rows of an image, whose lanes are added up at last. It costs the lanes that the last vector of a row
   leaves empty. Where windows are two columns apart and every channel stands alone, the image's even and odd columns are planes of
   their own, in which what neighbours see lies side by side. */
#include "conv_impl.h"
#include "cpu_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <stdlib.h>
#include <string.h>

/* FIRST, ROOM: numbers of the first cache, and the second */
enum {
    LANES = 16,
    FEW_CHANNELS = 16,
    MOST_CHANNELS = 64,
    FIRST = 1 << 13,
    ROOM = 1 << 17,
    MOST_SUMS = 1 << 17,
    PARTS = 2,
    LARGEST = 1 << 28
};

/* An image with zeros around it, for some rows of results. */
typedef struct frame {
    const hg_plane_tiles *m;
    int64_t parts, pitch, plane; /* parts: planes of a channel */
    int64_t low, above, rows;    /* above: rows beside those of stride by stride; rows: of results */
    int32_t *at;                 /* of each channel and tap; owned */
} frame;

/* Are the vectors of a row nearly full, do neighbours see neighbours, and is it no giant? `tall` rows see one another. */
static bool fits(const hg_view *v, int64_t channels, int64_t tall) {
    double pitch = (double)v->w + 2.0 * (double)v->wide, rows = 16.0 * (double)v->sy + 5.0 * (double)tall;
    return v->n_y > 0 && v->n_x > 0 && hg_whole(v->wide, LANES) * 4 <= v->wide * 5 &&
           (double)channels * pitch * rows < LARGEST;
}

/* For at most so many rows of results, in about so many numbers. */
static hg_status frame_begin(hg_ctx *cx, const hg_view *v, int64_t channels, int64_t most, int64_t room, frame *f) {
    const int64_t parts = v->sx;
    int64_t end = v->y[0], left = 0, right = (v->w + parts - 1) / parts;
    *f = (frame){.m = hg_get_plane_tiles(), .low = v->y[0], .parts = parts};
    for (int64_t i = 1; i < v->n_y; i++) f->low = hg_least(f->low, v->y[i]), end = hg_most(end, v->y[i]);
    for (int64_t j = 0; j < v->n_x; j++) {
        const int64_t x = hg_floor_div(v->x[j], parts);
        left = hg_most(left, -x), right = hg_most(right, x + v->wide);
    }
    /* Zeros in front of a row are those behind the one above. */
    f->pitch = hg_whole(hg_most((v->w + parts - 1) / parts, right - left), LANES) + hg_whole(left, LANES);
    f->above = end - f->low + 1 - v->sy;
    /* Not too many rows are copied twice. */
    f->rows = hg_most((room / (channels * parts * f->pitch) - f->above) / v->sy, 4 * hg_most(f->above, 0) / v->sy + 1);
    f->rows = hg_least(hg_whole(f->rows, f->m->high), most);
    f->plane = (f->rows * v->sy + f->above) * f->pitch;
    if (!(f->at = hg_mem(cx, (size_t)(channels * v->n_y * v->n_x) * sizeof *f->at))) return HG_MEMORY;
    int32_t *at = f->at;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < v->n_y * v->n_x; t++) {
            const int64_t x = hg_floor_div(v->x[t % v->n_x], parts), part = v->x[t % v->n_x] - x * parts;
            *at++ = (int32_t)((c * parts + part) * f->plane + (v->y[t / v->n_x] - f->low) * f->pitch + x);
        }
    return HG_OK;
}

static int64_t frame_room(const frame *f, int64_t channels) {
    return channels * f->parts * f->plane + (2 + HG_RAKE) * f->pitch + LANES;
}

/* Rows [y, y + n) of an image (h, w), the even columns and the odd ones, to rows `pitch` apart with zeros behind them. */
HG_INLINE void split_body(const bool fused, const float *image, int64_t h, int64_t w, int64_t y, int64_t n,
                          float *restrict even, float *restrict odd, int64_t pitch) {
    (void)fused;
    for (image += y * w; n > 0; n--, y++, image += w, even += pitch, odd += pitch) {
        const int64_t some = y >= 0 && y < h ? w : 0;
        for (int64_t i = 0; i < some / 2; i++) even[i] = image[2 * i], odd[i] = image[2 * i + 1];
        for (int64_t i = some / 2; i < pitch; i++) even[i] = odd[i] = 0;
        if (some % 2) even[some / 2] = image[some - 1];
    }
}
HG_VECTOR_FEW(split,
              (const float *image, int64_t h, int64_t w, int64_t y, int64_t n, float *even, float *odd, int64_t pitch),
              image, h, w, y, n, even, odd, pitch)

/* What `rows` rows of results from `row` on see; where the first one's column 0 is. */
static const float *frame_load(const frame *f, const hg_view *v, int64_t channels, const float *image, int64_t row,
                               int64_t rows, float *space) {
    float *first = space + f->pitch, *plane = first;
    for (int64_t c = 0; c < channels; c++, image += v->h * v->w, plane += f->parts * f->plane) {
        /* The zeros in front of its first row: the plane before it ends with them, if all its rows are there. */
        for (int64_t q = 0; q < f->parts; q++)
            if (c + q == 0 || rows < f->rows)
                memset(plane + q * f->plane - f->pitch, 0, (size_t)f->pitch * sizeof *plane);
        const int64_t y = row * v->sy + f->low, n = rows * v->sy + f->above;
        if (f->parts == 1)
            f->m->frame(image, v->h, v->w, y, n, plane, f->pitch);
        else
            split(image, v->h, v->w, y, n, plane, plane + f->plane, f->pitch);
    }
    return first;
}

/* ---- Results ----------------------------------------------------------------------------------------------------------------- */

bool hg_planes_suit(const hg_results *r) {
    const hg_view *v = &r->v;
    /* With many channels vectors of these are as good, unless all of a row's are full, and better for a single row. */
    const int64_t most = v->high == 1 ? LANES - 1 : v->wide % LANES ? FEW_CHANNELS : MOST_CHANNELS;
    if (v->sx > (r->in == 1 && r->out == 1 ? 2 : 1)) return false;
    return r->out <= most && v->n_y > 0 && fits(v, r->in, llabs(v->y[v->n_y - 1] - v->y[0]) + 1);
}

typedef struct job {
    const hg_results *r;
    frame f;
    const float *packed; /* (groups, blocks of channels, in, taps, channels of the block) */
    hg_see *rake;        /* NULL: none suits */
    int64_t n_k, n_parts, slab, first;
} job;

/* How many of `left` channels go together. */
static int64_t some_of(int64_t left) {
    return left <= HG_MOST_SEE ? left : left < 2 * HG_MOST_SEE ? (left + 1) / 2 : HG_MOST_SEE;
}

static void pack(const hg_results *r, float *to) {
    const int64_t taps = r->v.n_y * r->v.n_x;
    for (int64_t g = 0; g < r->groups; g++)
        for (int64_t o = 0, m; o < r->out; o += m) {
            m = some_of(r->out - o);
            const float *from = r->weight + g * r->out * r->in * r->n_taps + o * r->lane;
            for (int64_t c = 0; c < r->in; c++, from += r->channel)
                for (int64_t t = 0; t < taps; t++)
                    for (int64_t q = 0; q < m; q++) *to++ = from[q * r->lane + (r->pick ? r->pick[t] : t)];
        }
}

static void run_piece(const void *arg, int64_t number, float *space) {
    const job *j = arg;
    const hg_results *r = j->r;
    const hg_view *v = &r->v;
    const int64_t row = number % j->n_parts * j->f.rows, plane = number / j->n_parts, group = plane % r->groups;
    const int64_t rows = hg_least(v->high - row, j->f.rows), step = r->out > HG_MOST_SEE ? j->f.m->high : rows;
    const bool direct = r->sy == 1 && r->sx == 1;
    float *aside = space + j->slab;
    const float *from = frame_load(&j->f, v, r->in, r->image + plane * r->in * v->h * v->w, row, rows, space);
    hg_sight s = {
        .wide = v->wide, .k = j->n_k, .n_x = v->n_x, .first = j->first, .a_row = v->sy * j->f.pitch, .at = j->f.at};
    s.c_row = direct ? r->wide : v->wide, s.c_plane = direct ? r->high * r->wide : rows * v->wide;
    for (int64_t y = 0; y < rows; y += step)
        for (int64_t o = 0, m; o < r->out; o += m) {
            m = some_of(r->out - o), s.high = hg_least(rows - y, step);
            float *result = r->result + (plane * r->out + o) * r->high * r->wide +
                            ((row + y) * r->sy + r->y) * r->wide + r->x;
            (m == 1 && j->rake ? j->rake : j->f.m->see[m - 1])(
                &s, from + y * s.a_row, j->packed + (group * r->out + o) * j->n_k,
                r->bias ? r->bias + group * r->out + o : NULL, direct ? result : aside);
            for (int64_t q = 0; !direct && q < m * s.high; q++) {
                const float *c = aside + q / s.high * s.c_plane + q % s.high * v->wide;
                float *to = result + q / s.high * r->high * r->wide + q % s.high * r->sy * r->wide;
                for (int64_t x = 0; x < v->wide; x++) to[x * r->sx] = c[x];
            }
        }
}

hg_status hg_planes_run(hg_ctx *cx, const hg_results *r, int64_t threads) {
    const hg_view *v = &r->v;
    job j = {.r = r, .n_k = r->in * v->n_y * v->n_x};
    const int64_t step = v->y[v->n_y - 1] < v->y[0] ? -1 : 1;
    bool rakes = v->sy == 1;
    hg_storage *owned = NULL;
    hg_status st = HG_MEMORY;
    const int64_t planes = r->n * r->groups, parts = threads > 1 && planes < 4 * threads ? 4 * threads : 1;
    HG_TRY(frame_begin(cx, v, r->in, (v->high + parts - 1) / parts, FIRST, &j.f));
    for (int64_t i = 1; i < v->n_y; i++) rakes &= v->y[i] == v->y[0] + step * i;
    if (rakes && (v->n_y == 3 || v->n_y == 5 || v->n_y == 7)) j.rake = j.f.m->rake[v->n_y / 2 - 1];
    j.first = step < 0 ? v->n_y - 1 : 0;
    j.n_parts = (v->high + j.f.rows - 1) / j.f.rows, j.slab = frame_room(&j.f, r->in);
    float *packed = hg_conv_space(cx, r->groups * r->out * j.n_k, &owned);
    if (packed) {
        pack(r, packed), j.packed = packed;
        st = hg_conv_pieces(cx, planes * j.n_parts, threads,
                            j.slab + hg_least(r->out, HG_MOST_SEE) * j.f.rows * v->wide, run_piece, &j);
    }
    hg_conv_space_free(cx, owned), hg_mem_free(cx->lib, j.f.at);
    return st;
}

/* ---- The gradient of the weights -------------------------------------------------------------------------------------------- */

typedef struct weight_job {
    hg_view v;
    frame f;
    const float *image, *output;
    float *sums;                                       /* of each group and part: Note [Planes] */
    int64_t n, groups, in, out, parts, n_sums, images; /* images: at a time */
} weight_job;

bool hg_planes_weight_suits(const hg_conv_shape *s) {
    const hg_view v = {.w = s->w, .wide = s->ow, .sx = s->sw, .sy = s->sh, .n_y = s->kh, .n_x = s->kw};
    return s->kw > 1 && s->in_channels * s->out_channels * s->kh * s->kw * LANES <= MOST_SUMS && s->sw == 1 &&
           fits(&v, s->in_channels, (s->kh - 1) * s->dh + 1);
}

/* The block of some of `left` planes, as its place in HG_MEET's order, and how many it has. */
static int block_of(int64_t left, int64_t *n) {
#define SIZE(n) n,
    static const int64_t sizes[] = {HG_MEET(SIZE)};
#undef SIZE
    int i = 0;
    while (sizes[i] > left) i++;
    *n = sizes[i];
    return i;
}

static int64_t taps_of(int64_t left) { return left == 2 || left == 4 ? 2 : 3; }

static void run_sums(const void *arg, int64_t number, float *space) {
    const weight_job *j = arg;
    const hg_view *v = &j->v;
    const int64_t part = number % j->parts, group = number / j->parts, plane = v->high * v->wide;
    const int64_t seen = j->in * v->h * v->w, end = j->n * (part + 1) / j->parts;
    float *sums = j->sums + number * j->n_sums;
    memset(sums, 0, (size_t)j->n_sums * sizeof *sums);
    hg_sight s = {.wide = v->wide, .a_row = v->sy * j->f.pitch, .c_row = v->wide, .c_plane = plane};
    s.a_image = j->in * j->f.plane, s.c_image = j->groups * j->out * plane;
    for (int64_t i = j->n * part / j->parts; i < end; i += s.images)
        for (int64_t row = 0; row < v->high; row += s.high) {
            float *to = sums;
            s.images = hg_least(end - i, j->images), s.high = hg_least(v->high - row, j->f.rows);
            const float *output = j->output + (i * j->groups + group) * j->out * plane + row * v->wide, *from = NULL;
            for (int64_t q = s.images - 1; q >= 0; q--)
                from = frame_load(&j->f, v, j->in, j->image + ((i + q) * j->groups + group) * seen, row, s.high,
                                  space + q * s.a_image);
            for (int64_t o = 0, outs; o < j->out; o += outs, output += outs * plane) {
                const int block = block_of(j->out - o, &outs);
                for (int64_t t = 0; t < j->in * v->n_y * v->n_x;) {
                    const int64_t taps = taps_of(v->n_x - t % v->n_x);
                    j->f.m->meet[block][taps - 2](&s, from, j->f.at + t, output, to);
                    t += taps, to += taps * outs * j->f.m->lanes;
                }
            }
        }
}

static float add_lanes(const weight_job *j, const float *sums) {
    const int64_t lanes = j->f.m->lanes;
    float all = 0, one[LANES];
    for (int64_t part = 0; part < j->parts; part++, sums += j->n_sums) {
        memcpy(one, sums, (size_t)lanes * sizeof *one);
        for (int64_t half = lanes / 2; half; half /= 2)
            for (int64_t q = 0; q < half; q++) one[q] += one[q + half];
        all += one[0];
    }
    return all;
}

/* Puts the sums where the weights are, in the order in which they were made. */
static void put_weight(const weight_job *j, const float *sums, float *weight) {
    const int64_t n_k = j->in * j->v.n_y * j->v.n_x;
    for (int64_t o = 0, outs; o < j->out; o += outs) {
        block_of(j->out - o, &outs);
        for (int64_t t = 0, taps; t < n_k; t += taps) {
            taps = taps_of(j->v.n_x - t % j->v.n_x);
            for (int64_t q = 0; q < taps * outs; q++, sums += j->f.m->lanes)
                weight[(o + q % outs) * n_k + t + q / outs] = add_lanes(j, sums);
        }
    }
}

hg_status hg_planes_weight(hg_ctx *cx, const hg_conv_shape *s, const float *output, const float *image, float *weight) {
    weight_job j = {
        .image = image, .output = output, .n = s->n, .groups = s->groups, .in = s->in_channels, .out = s->out_channels};
    const int64_t n_weights = j.in * j.out * s->kh * s->kw;
    hg_storage *owned = NULL;
    HG_TRY(hg_conv_view(cx, s, &j.v));
    hg_status st = frame_begin(cx, &j.v, j.in, s->oh, ROOM, &j.f);
    /* As many parts wherever it runs, as rounding would tell. */
    j.parts = j.groups > 1 ? 1 : hg_least(j.n, PARTS);
    j.n_sums = n_weights * LANES, j.images = 1;
    if (j.f.rows == s->oh) j.images = hg_most(FIRST / (hg_least(j.out, HG_MOST_SEE) * s->oh * s->ow + j.f.plane), 1);
    if (st == HG_OK && !(j.sums = hg_conv_space(cx, j.groups * j.parts * j.n_sums, &owned))) st = HG_MEMORY;
    if (st == HG_OK)
        st = hg_conv_pieces(cx, j.groups * j.parts, hg_conv_threads(s), frame_room(&j.f, j.images * j.in), run_sums,
                            &j);
    for (int64_t g = 0; st == HG_OK && g < j.groups; g++)
        put_weight(&j, j.sums + g * j.parts * j.n_sums, weight + g * n_weights);
    hg_conv_space_free(cx, owned), hg_mem_free(cx->lib, j.f.at), hg_mem_free(cx->lib, (void *)j.v.y);
    return st;
}
