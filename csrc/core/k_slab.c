/* Slabs: what the windows over some rows of an image see, so that no window asks where the image ends. */
#include "conv_impl.h"
#include "cpu_impl.h"

#include <string.h>

enum { STEP = 16, SHORT = 64 };

/* Two numbers, and the first of them as bits: a vector's worth of moving is said so, or in bytes, as vector types would be taken
   apart before a body is part of a version. */
typedef uint64_t pair __attribute__((may_alias, aligned(4)));
typedef uint32_t word __attribute__((may_alias, aligned(4)));

/* n zeros, and more up to a whole step. Most margins are narrow, and a wide store would often lie across two lines. */
HG_INLINE void clear(float *to, int64_t n) {
    if (n > 0 && n <= 4)
        memset(to, 0, 4 * sizeof *to);
    else
        for (int64_t x = 0; x < n; x += STEP) memset(to + x, 0, STEP * sizeof *to);
}

/* Every step-th number, n of them and more up to a whole step; nothing is read from `end` on. */
HG_INLINE void copy(float *restrict to, const float *restrict from, int64_t n, int64_t step, const float *end) {
    int64_t x = 0;
    if (step == 1)
        for (; x < n && end - from >= x + STEP; x += STEP) memcpy(to + x, from + x, STEP * sizeof *to);
    else if (step == 2)
        for (; x < n && end - from >= 2 * (x + STEP); x += STEP)
            for (int q = 0; q < STEP; q++) ((word *)(to + x))[q] = (word)((const pair *)(from + 2 * x))[q];
    for (; x < n; x++) to[x] = from[x * step];
}

/* A step of them, with zeros where `keep` is zero. */
HG_INLINE void keep_some(float *restrict to, const float *restrict from, int64_t step, const word *restrict keep) {
    if (step == 1)
        for (int q = 0; q < STEP; q++) ((word *)to)[q] = ((const word *)from)[q] & keep[q];
    else
        for (int q = 0; q < STEP; q++) ((word *)to)[q] = (word)((const pair *)from)[q] & keep[q];
}

/* `n` rows of a plane, every sy-th from row y on, as the tap sees them whose first column is x. What is written too much lies in
   the next row, which is written next, or in the slack. */
HG_INLINE void load_rows(const hg_view *v, const float *plane, const float *end, int64_t y, int64_t n, int64_t x,
                         float *to) {
    const int64_t width = v->width, step = v->sx, last = v->w - 1 - x;
    int64_t lo = x >= 0 ? 0 : (-x + step - 1) / step, hi = last < 0 ? 0 : last / step + 1;
    if (hi > width) hi = width;
    if (lo >= hi) lo = hi = 0;
    const float *from = plane + y * v->w + lo * step + x;
    if (step == 1 && v->sy == 1 && v->w == width && lo < hi) { /* one run, in which the margins are wrong */
        const int64_t top = y < 0 ? (-y < n ? -y : n) : 0, below = v->h - y < n ? v->h - y : n;
        const int64_t rows = below > top ? below - top : 0;
        float *first = to + top * width;
        clear(to, top * width);
        if (rows) copy(first + lo, from + top * width, (rows - 1) * width + hi - lo, 1, end);
        for (int64_t i = lo > 0 ? 0 : hi; i < width; i = i + 1 == lo ? hi : i + 1)
            for (int64_t r = 0; r < rows; r++) first[r * width + i] = 0;
        clear(first + rows * width, (n - top - rows) * width);
        return;
    }
    const float *whole = plane + y * v->w + x; /* what the margins would be */
    const bool short_row = width <= SHORT && step <= 2;
    word keep[SHORT];
    if (short_row) { /* as words, so that they are made by vectors */
        const word first = (word)lo, some = (word)(hi - lo);
        for (word i = 0; i < SHORT; i++) keep[i] = i - first < some ? ~(word)0 : 0;
    }
    for (; n > 0; n--, y += v->sy, to += width, from += v->sy * v->w, whole += v->sy * v->w)
        if (y < 0 || y >= v->h || lo == hi) {
            clear(to, width);
        } else if (short_row && whole >= plane && end - whole >= step * SHORT) {
            for (int64_t i = 0; i < width; i += STEP) keep_some(to + i, whole + step * i, step, keep + i);
        } else {
            clear(to, lo);
            copy(to + lo, from, hi - lo, step, end);
            clear(to + hi, width - hi);
        }
}

HG_INLINE void load_body(const bool fused, const hg_view *v, const float *image, int64_t channels, int64_t y, int64_t x,
                         int64_t n, float *to) {
    (void)fused;
    const float *end = image + channels * v->h * v->w;
    for (int64_t c = 0; c < channels; c++, image += v->h * v->w)
        for (int64_t j = 0; j < v->n_x; j++)
            for (int64_t f = 0; f < v->folds; f++, to += (v->rows + v->reach) * v->width)
                load_rows(v, image, end, y * v->sy + v->low + f, n + v->reach, x * v->sx + v->x[j], to);
}
HG_VECTOR(load, (const hg_view *v, const float *image, int64_t channels, int64_t y, int64_t x, int64_t n, float *to), v,
          image, channels, y, x, n, to)

void hg_slab_load(const hg_view *v, const float *image, int64_t channels, int64_t y, int64_t x, int64_t n, float *to) {
    load(v, image, channels, y, x, n, to);
}

/* What a channel takes of a slab with one column, and the numbers in front of its taps. */
static int64_t column_size(const hg_view *v) { return v->n_x * v->folds * (v->rows + v->reach); }

int64_t hg_slab_channel(const hg_view *v) { return column_size(v) * v->width; }

int64_t hg_slab_at(const hg_view *v, int64_t i, int64_t j) {
    int64_t down = v->y[i] - v->low;
    return ((j * v->folds + down % v->sy) * (v->rows + v->reach) + down / v->sy) * v->width;
}

/* Whole panels of tiles, where rows have that. */
static int64_t whole_panels(int64_t width, int64_t rows) {
    int64_t unit = 1;
    while (unit < HG_PANEL && unit * width % HG_PANEL) unit *= 2;
    return rows > unit ? rows / unit * unit : rows;
}

void hg_view_begin(hg_view *v, int64_t channels, int64_t room, int64_t most_rows) {
    int64_t high = 0;
    v->low = v->n_y ? v->y[0] : 0;
    for (int64_t i = 1; i < v->n_y; i++)
        if (v->y[i] < v->low) v->low = v->y[i];
    for (int64_t i = 0; i < v->n_y; i++)
        if (v->y[i] - v->low > high) high = v->y[i] - v->low;
    v->folds = high + 1 < v->sy ? high + 1 : v->sy, v->reach = high / v->sy;
    v->rows = 1, v->width = v->wide;
    int64_t row = channels * v->n_x * v->folds * v->wide, rows = row ? room / row - v->reach : v->high;
    if (rows > most_rows) rows = most_rows;
    if (rows > v->high) rows = v->high;
    if (rows > 1) v->rows = whole_panels(v->wide, rows);
    if (rows >= 1) return;
    int64_t size = channels * column_size(v), some = room / size / HG_PANEL * HG_PANEL;
    if (some < HG_PANEL) some = HG_PANEL;
    if (some < v->wide) v->width = some;
}
