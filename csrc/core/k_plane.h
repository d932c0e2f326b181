/* Planes of images with zeros around them, for one instruction set: included by k_gemm.c before k_gemm.h, with its operations on
   vectors and HIGH, rows of results that are computed together: Note [Planes] in k_plane.c. */

/* Rows [y, y + n) of an image (h, w), to rows `pitch` apart with zeros behind them. */
TARGET static void NAME(frame)(const float *image, int64_t h, int64_t w, int64_t y, int64_t n, float *to,
                               int64_t pitch) {
    const MASK last = SOME((w - 1) % LANES + 1);
    for (image += y * w; n > 0; n--, y++, image += w, to += pitch) {
        int64_t x = 0;
        if (y >= 0 && y < h) {
            for (; x + LANES < w; x += LANES) STORE(to + x, LOAD(image + x));
            STORE(to + x, LOAD_SOME(image + x, last)), x += LANES;
        }
        for (; x < pitch; x += LANES) STORE(to + x, ZERO);
    }
}

/* `high` rows of `wide` results of m channels: result (r, x) is the sum of what it sees at a + r * a_row + x + at[], k numbers,
   times weights (k, m), and the bias. */
TARGET HG_INLINE void NAME(see)(const int m, const hg_sight *s, const float *a, const float *weight, const float *bias,
                                float *c) {
    const int high = m <= 2 ? 4 : HIGH; /* so that enough of them are under way */
    for (int64_t y = 0; y < s->high; y += high, a += high * s->a_row, c += high * s->c_row) {
        const int64_t left = s->high - y;
        int64_t down[4], up[4]; /* what would lie behind the last row is the last */
        for (int r = 0; r < high; r++)
            down[r] = hg_least(r, left - 1) * s->a_row, up[r] = hg_least(r, left - 1) * s->c_row;
        for (int64_t x = 0; x < s->wide; x += LANES) {
            const float *by = weight, *from = a + x;
            VEC sum[HG_MOST_SEE][4], seen[4];
#pragma GCC unroll 8
            for (int o = 0; o < m; o++)
#pragma GCC unroll 4
                for (int r = 0; r < high; r++) sum[o][r] = ZERO;
            for (const int32_t *at = s->at, *end = at + s->k; at < end; at++, by += m) {
                const float *tap = from + *at;
#pragma GCC unroll 4
                for (int r = 0; r < high; r++) seen[r] = LOAD(tap + down[r]);
#pragma GCC unroll 8
                for (int o = 0; o < m; o++) {
                    const VEC one = SPREAD(by[o]);
#pragma GCC unroll 4
                    for (int r = 0; r < high; r++) sum[o][r] = FMA(one, seen[r], sum[o][r]);
                }
            }
            const bool all = s->wide - x >= LANES;
            const MASK some = SOME(s->wide - x);
            if (bias) /* last, as PyTorch's results show to the bit */
#pragma GCC unroll 8
                for (int o = 0; o < m; o++)
#pragma GCC unroll 4
                    for (int r = 0; r < high; r++) sum[o][r] = ADD(sum[o][r], SPREAD(bias[o]));
            float *to = c + x;
#pragma GCC unroll 8
            for (int o = 0; o < m; o++, to += s->c_plane)
#pragma GCC unroll 4
                for (int r = 0; r < high; r++) STORE_SOME(to + up[r], all, some, sum[o][r]);
        }
    }
}

/* The same of one channel, where a kernel of `rows` rows lies in neighbouring rows: what is read is used for all of these. */
TARGET HG_INLINE void NAME(rake)(const int rows, const hg_sight *s, const float *a, const float *weight,
                                 const float *bias, float *c) {
    for (int64_t y = 0; y < s->high; y += HG_RAKE, a += HG_RAKE * s->a_row, c += HG_RAKE * s->c_row)
        for (int64_t x = 0; x < s->wide; x += LANES) {
            const float *by = weight;
            VEC sum[HG_RAKE], one[7];
#pragma GCC unroll 8
            for (int r = 0; r < HG_RAKE; r++) sum[r] = ZERO;
            for (int64_t p = 0; p < s->k; p += rows * s->n_x, by += rows * s->n_x)
                for (int64_t j = 0; j < s->n_x; j++) {
                    const float *from = a + x + s->at[p + s->first * s->n_x + j];
#pragma GCC unroll 7
                    for (int i = 0; i < rows; i++) one[i] = SPREAD(by[(s->first ? s->first - i : i) * s->n_x + j]);
#pragma GCC unroll 14
                    for (int q = 0; q < HG_RAKE + rows - 1; q++, from += s->a_row) {
                        const VEC seen = LOAD(from);
#pragma GCC unroll 7
                        for (int i = 0; i < rows; i++)
                            if (q >= i && q - i < HG_RAKE) sum[q - i] = FMA(one[i], seen, sum[q - i]);
                    }
                }
            const bool all = s->wide - x >= LANES;
            const MASK some = SOME(s->wide - x);
            float *to = c + x;
#pragma GCC unroll 8
            for (int r = 0; r < HG_RAKE; r++, to += s->c_row)
                if (y + r < s->high) STORE_SOME(to, all, some, bias ? ADD(sum[r], SPREAD(*bias)) : sum[r]);
        }
}

/* A pointer counted up, and a vector that is used several times, where the compiler would keep the addresses of all that is
   read, and read it again for each product. */
#define COUNT(p, n)                                                                                                    \
    do {                                                                                                               \
        p += (n);                                                                                                      \
        __asm__("" : "+r"(p));                                                                                         \
    } while (0)
#define KEEP(x) __asm__("" : "+v"(x))

/* Adds to sums, (taps, outs, LANES), the products of `outs` planes of each image and what their numbers see at a + at[], `taps`
   places. */
TARGET HG_INLINE void NAME(meet)(const int taps, const int outs, const hg_sight *s, const float *a, const int32_t *at,
                                 const float *c, float *sums) {
    const MASK last = SOME(s->wide % LANES);
    const int64_t whole = s->wide / LANES, c_plane = s->c_plane, a_rest = s->a_row - whole * LANES,
                  c_rest = s->c_row - whole * LANES;
    VEC sum[3][6], with[6];
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 6
        for (int o = 0; o < outs; o++) sum[t][o] = LOAD(sums + (t * outs + o) * LANES);
    for (int64_t i = 0; i < s->images; i++, a += s->a_image, c += s->c_image) {
        const float *tap[3], *from[2] = {c, c + 3 * c_plane};
#pragma GCC unroll 3
        for (int t = 0; t < taps; t++) tap[t] = a + at[t];
        for (int64_t y = s->high; y > 0; y--) {
#define STEP(LOAD)                                                                                                     \
    do {                                                                                                               \
        _Pragma("GCC unroll 6") for (int o = 0; o < outs; o++) {                                                       \
            with[o] = LOAD(from[o / 3] + o % 3 * c_plane);                                                             \
            KEEP(with[o]);                                                                                             \
        }                                                                                                              \
        _Pragma("GCC unroll 3") for (int t = 0; t < taps; t++) {                                                       \
            VEC seen = LOAD(tap[t]);                                                                                   \
            KEEP(seen);                                                                                                \
            _Pragma("GCC unroll 6") for (int o = 0; o < outs; o++) sum[t][o] = FMA(seen, with[o], sum[t][o]);          \
        }                                                                                                              \
    } while (0)
#define GO(a_step, c_step)                                                                                             \
    do {                                                                                                               \
        _Pragma("GCC unroll 3") for (int t = 0; t < taps; t++) COUNT(tap[t], a_step);                                  \
        COUNT(from[0], c_step);                                                                                        \
        if (outs > 3) COUNT(from[1], c_step);                                                                          \
    } while (0)
#define LOAD_LAST(p) LOAD_SOME(p, last)
            for (int64_t x = whole; x > 0; x--) {
                STEP(LOAD);
                GO(LANES, LANES);
            }
            if (s->wide % LANES) STEP(LOAD_LAST);
            GO(a_rest, c_rest);
        }
#undef STEP
#undef GO
#undef LOAD_LAST
    }
#pragma GCC unroll 3
    for (int t = 0; t < taps; t++)
#pragma GCC unroll 6
        for (int o = 0; o < outs; o++) STORE(sums + (t * outs + o) * LANES, sum[t][o]);
}
#undef COUNT
#undef KEEP

#define SEE(m)                                                                                                         \
    TARGET static void NAME(see_##m)(const hg_sight *s, const float *a, const float *weight, const float *bias,        \
                                     float *c) {                                                                       \
        NAME(see)(m, s, a, weight, bias, c);                                                                           \
    }
#define RAKE(rows)                                                                                                     \
    TARGET static void NAME(rake_##rows)(const hg_sight *s, const float *a, const float *weight, const float *bias,    \
                                         float *c) {                                                                   \
        NAME(rake)(rows, s, a, weight, bias, c);                                                                       \
    }
#define MEET(outs) MEET_BY(2, outs) MEET_BY(3, outs)
#define MEET_BY(taps, outs)                                                                                            \
    TARGET static void NAME(meet_##taps##_##outs)(const hg_sight *s, const float *a, const int32_t *at,                \
                                                  const float *c, float *sums) {                                       \
        NAME(meet)(taps, outs, s, a, at, c, sums);                                                                     \
    }
HG_SEE(SEE)
RAKE(3)
RAKE(5)
RAKE(7)
HG_MEET(MEET)
#undef SEE
#undef RAKE
#undef MEET
#undef MEET_BY
#define SEE_IN(m)     NAME(see_##m),
#define MEET_IN(outs) {NAME(meet_2_##outs), NAME(meet_3_##outs)},
