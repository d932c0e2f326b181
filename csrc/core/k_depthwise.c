/* Sums over pixels, a vector at a time: what a convolution is where every channel stands alone. */
#include "conv_impl.h"
#include "cpu_impl.h"

#include <string.h>

enum { STEP = 16, WIDE = 4 };

/* STEP numbers at any address. */
typedef float lanes __attribute__((vector_size(STEP * sizeof(float)), aligned(4), may_alias));
#define SEEN(p) (*(const lanes *)(p))

/* to[i] = sum of weight[t] * slab[at[t] + i]: up to STEP * WIDE numbers behind the n are computed, and left out. */
HG_INLINE void mix_body(const bool fused, int64_t n, int64_t n_taps, const int32_t *at, const float *weight,
                        const float *slab, float *to) {
    (void)fused;
    for (int64_t i = 0; i < n; i += STEP * WIDE) {
        lanes sum[WIDE];
        for (int q = 0; q < WIDE; q++) sum[q] = (lanes){0};
        for (int64_t t = 0; t < n_taps; t++)
            for (int q = 0; q < WIDE; q++) sum[q] += weight[t] * SEEN(slab + at[t] + i + q * STEP);
        if (n - i >= STEP * WIDE)
            memcpy(to + i, sum, sizeof sum);
        else
            memcpy(to + i, sum, (size_t)(n - i) * sizeof *to);
    }
}
HG_VECTOR(mix, (int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab, float *to), n,
          n_taps, at, weight, slab, to)

void hg_mix(int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab, float *to) {
    mix(n, n_taps, at, weight, slab, to);
}

HG_INLINE void dot_body(const bool fused, int64_t n, const float *x, const float *y, float *to) {
    (void)fused;
    lanes sum[WIDE];
    float one[STEP], rest = 0;
    int64_t i = 0;
    for (int q = 0; q < WIDE; q++) sum[q] = (lanes){0};
    for (; i + STEP * WIDE <= n; i += STEP * WIDE)
        for (int q = 0; q < WIDE; q++) sum[q] += SEEN(x + i + q * STEP) * SEEN(y + i + q * STEP);
    for (; i + STEP <= n; i += STEP) sum[0] += SEEN(x + i) * SEEN(y + i);
    for (; i < n; i++) rest += x[i] * y[i];
    sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    memcpy(one, sum, sizeof one);
    for (int half = STEP / 2; half; half /= 2)
        for (int q = 0; q < half; q++) one[q] += one[q + half];
    *to = one[0] + rest;
}
HG_VECTOR(dot, (int64_t n, const float *x, const float *y, float *to), n, x, y, to)

float hg_dot(int64_t n, const float *x, const float *y) {
    float sum;
    dot(n, x, y, &sum);
    return sum;
}

HG_INLINE void add_number_body(const bool fused, int64_t n, float x, float *to) {
    (void)fused;
    for (int64_t i = 0; i < n; i++) to[i] += x;
}
HG_VECTOR(add_number, (int64_t n, float x, float *to), n, x, to)

void hg_add_number(int64_t n, float x, float *to) { add_number(n, x, to); }
