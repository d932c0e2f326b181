/* Images with margins of zeros, from which windows are cut without asking where the image ends. */
#include "conv_impl.h"
#include "iter_impl.h"
#include "pool_impl.h"

#include <string.h>

enum { GROUP_BYTES = 1 << 22, STEP = 16, GRAIN = 1 << 16 };

/* Exactly n numbers, by steps that overlap. */
HG_INLINE void copy_exactly(float *to, const float *from, int64_t n) {
    if (n >= STEP) {
        for (int64_t x = 0; x + STEP <= n; x += STEP) memcpy(to + x, from + x, STEP * sizeof *to);
        memcpy(to + n - STEP, from + n - STEP, STEP * sizeof *to);
    } else if (n >= STEP / 2) {
        memcpy(to, from, STEP / 2 * sizeof *to);
        memcpy(to + n - STEP / 2, from + n - STEP / 2, STEP / 2 * sizeof *to);
    } else {
        for (int64_t x = 0; x < n; x++) to[x] = from[x];
    }
}

/* Channel i of all images. */
HG_CLONES static void load_channel(const hg_margins *m, int64_t i) {
    const int64_t row = m->width, plane = m->rows * row, fold = m->rows / m->split_y * row, split = m->split_x;
    const float *image = m->from + i / m->channels * m->image_step + i % m->channels * m->h * m->w;
    float *to = m->to + i * split * plane;
    memset(to, 0, (size_t)(split * plane) * sizeof *to);
    for (int64_t f = 0; f < split; f++, to += plane) {
        /* number x of a row is the image's x * split + shift */
        const int64_t shift = f - m->left, lo = shift >= 0 ? 0 : (-shift + split - 1) / split;
        int64_t hi = m->w <= shift ? 0 : (m->w - 1 - shift) / split + 1;
        if (hi > row) hi = row;
        const int64_t n = hi - lo, first = m->top > 0 ? m->top : 0,
                      end = m->top + m->h < m->rows ? m->top + m->h : m->rows;
        if (n <= 0) continue;
        for (int64_t y = first; y < end; y++) {
            const float *from = image + (y - m->top) * m->w + lo * split + shift;
            float *line = to + y % m->split_y * fold + y / m->split_y * row + lo;
            if (split == 1)
                copy_exactly(line, from, n);
            else if (split == 2)
                for (int64_t x = 0; x < n; x++) line[x] = from[2 * x];
            else
                for (int64_t x = 0; x < n; x++) line[x] = from[x * split];
        }
    }
}

static void load_channels(void *arg, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) load_channel(arg, i);
}

static int64_t image_size(const hg_margins *m) { return m->channels * m->split_x * m->rows * m->width; }

int64_t hg_margins_group(const hg_margins *m, int64_t n) {
    int64_t bytes = image_size(m) * (int64_t)sizeof(float), group = GROUP_BYTES / (bytes ? bytes : 1);
    return group < 1 ? 1 : group > n ? n : group;
}

hg_status hg_margins_begin(hg_ctx *cx, hg_margins *m, int64_t n) {
    size_t size = (size_t)(n * image_size(m));
    m->to = hg_mem(cx, (size + HG_MARGIN_SLACK) * sizeof *m->to);
    if (!m->to) return HG_MEMORY;
    memset(m->to + size, 0, HG_MARGIN_SLACK * sizeof *m->to);
    return HG_OK;
}

void hg_margins_load(hg_margins *m, const float *from, int64_t n) {
    m->from = from;
    hg_parallel_for(n * m->channels, 1 + GRAIN / (m->split_x * m->rows * m->width + 1), load_channels, m);
}
