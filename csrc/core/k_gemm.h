/* Tiles of a product of float32 matrices, for one instruction set: included by k_gemm.c once for each, with VEC a vector of
   LANES floats and the operations on it, ROWS the height of the largest tile, TILES(X) one X for each height up to it, and
   NAME(f) and TARGET of the set. */

/* The pointer is counted up where it says so: otherwise the compiler computes all addresses beforehand, or keeps two loops. */
#define KEEP(p) __asm__("" : "+r"(p))

/* One step: rows x of a, each a number, by a row of b at y. The vectors of b are read up to t->n; where they are `whole` that costs no
   mask, which would take up a unit that multiplies. */
#define STEP(x, y)                                                                                                     \
    do {                                                                                                               \
        const float *end = (y) + (wide - 1) * LANES;                                                                   \
        const VEC y1 = whole ? LOAD(end) : LOAD_SOME(end, last), y0 = wide == 2 ? LOAD(y) : y1;                        \
        _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++) {                                                      \
            const VEC spread = SPREAD(x);                                                                              \
            sum[i][0] = FMA(spread, y0, sum[i][0]);                                                                    \
            if (wide == 2) sum[i][1] = FMA(spread, y1, sum[i][1]);                                                     \
        }                                                                                                              \
    } while (0)

/* Adds the products of t to sum: `rows` rows and one vector or two. Every third row of a has a pointer, so that all the addresses
   fit into registers. */
TARGET HG_INLINE void NAME(add_up)(const int rows, const int wide, const bool whole, const tile *t, VEC sum[ROWS][2]) {
    const int64_t a_row = t->a_row, a_col = t->a_col, b_row = t->b_row;
    const MASK last = SOME(t->n - (wide - 1) * LANES);
    const float *b = t->b, *a[(ROWS + 2) / 3];
    const int32_t *at = t->b_at;
    int64_t p = t->k;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i += 3) a[i / 3] = t->a + i * a_row;
    if (whole && a_col == 1 && !at && p >= SHORT) {
        const float *ahead = t->ahead;
        const int64_t ahead_step = t->ahead_step;
        for (; p >= AHEAD; p -= AHEAD) {
            __builtin_prefetch(ahead, 0, 2), ahead += ahead_step;
#pragma GCC unroll 4
            for (int q = 0; q < AHEAD; q++) {
                KEEP(b);
                STEP(a[i / 3][i % 3 * a_row + q], b);
                b += b_row;
            }
#pragma GCC unroll 16
            for (int i = 0; i < rows; i += 3) {
                a[i / 3] += AHEAD;
                KEEP(a[i / 3]);
            }
        }
    } else if (whole && a_row == 1 && !at) {
        for (const float *x = t->a; p > 0; p--, x += a_col, b += b_row) {
            KEEP(x);
            STEP(x[i], b);
        }
    }
    for (; p > 0; p--) {
        const float *y = at ? b + *at++ : b;
        STEP(a[i / 3][i % 3 * a_row], y);
        b += b_row; /* 0 where rows of b lie anywhere */
#pragma GCC unroll 16
        for (int i = 0; i < rows; i += 3) {
            a[i / 3] += a_col;
            KEEP(a[i / 3]);
        }
    }
}
#undef STEP

/* c = alpha * a b + beta * add, `rows` rows and one vector or two: Note [Tiles] in k_gemm.c. */
TARGET HG_INLINE void NAME(tile)(const int rows, const int wide, const tile *t) {
    const int64_t c_row = t->c_row, add_row = t->add_row;
    const float *add = t->add;
    float *c = t->c;
    VEC sum[ROWS][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) sum[i][0] = ZERO, sum[i][1] = ZERO;
    const bool whole = t->n == wide * LANES;
    if (whole)
        NAME(add_up)(rows, wide, true, t, sum);
    else
        NAME(add_up)(rows, wide, false, t, sum);
    const MASK last = SOME(t->n - (wide - 1) * LANES);
    if (t->alpha != 1) {
        const VEC alpha = SPREAD(t->alpha);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) sum[i][0] = MUL(alpha, sum[i][0]), sum[i][1] = MUL(alpha, sum[i][1]);
    }
    if (add) {
        const VEC beta = SPREAD(t->beta);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++, add += add_row) {
            sum[i][0] = FMA(beta, wide == 2 ? LOAD(add) : LOAD_SOME(add, last), sum[i][0]);
            if (wide == 2) sum[i][1] = FMA(beta, LOAD_SOME(add + LANES, last), sum[i][1]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += c_row) {
        if (wide == 2) STORE(c, sum[i][0]);
        STORE_SOME(c + (wide - 1) * LANES, whole, last, sum[i][wide - 1]);
    }
}

#define TILE(rows)                                                                                                     \
    TARGET static void NAME(tile_##rows##_1)(const tile *t) { NAME(tile)(rows, 1, t); }                                \
    TARGET static void NAME(tile_##rows##_2)(const tile *t) { NAME(tile)(rows, 2, t); }
TILES(TILE)
#undef TILE

/* The same for the first rows of `most`, and t->n columns, whole vectors, by way of sums in memory: four rows of b at a time,
   or one. What is beyond the last row is that row again, and not stored. */
TARGET HG_INLINE void NAME(add_rows)(const int most, const int deep, const tile *t, const float *a, const int64_t *row,
                                     const float *b, float (*sum)[ROOM_ROW + PAD]) {
    VEC x[FEW_ROWS][4], s[FEW_ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < most * deep; i++) x[i / deep][i % deep] = SPREAD(a[row[i / deep] + i % deep * t->a_col]);
    for (int64_t j = 0; j < t->n; j += LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < most; i++) s[i] = LOAD(sum[i] + j);
#pragma GCC unroll 16
        for (int p = 0; p < deep; p++) {
            const VEC y = LOAD(b + p * t->b_row + j);
#pragma GCC unroll 16
            for (int i = 0; i < most; i++) s[i] = FMA(x[i][p], y, s[i]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < most; i++) STORE(sum[i] + j, s[i]);
    }
}
/* Their results; one function for all, as it is not what takes time. */
TARGET __attribute__((noinline)) static void NAME(put_rows)(int rows, const tile *t, float (*sum)[ROOM_ROW + PAD]) {
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < t->n; j += LANES) {
            VEC x = MUL(SPREAD(t->alpha), LOAD(sum[i] + j));
            if (t->add) x = FMA(SPREAD(t->beta), LOAD(t->add + i * t->add_row + j), x);
            STORE(t->c + i * t->c_row + j, x);
        }
}
TARGET HG_INLINE void NAME(few)(const int most, int rows, const tile *t) {
    float sum[FEW_ROWS][ROOM_ROW + PAD];
    const float *a = t->a, *b = t->b;
    int64_t p = 0, row[FEW_ROWS];
    for (int i = 0; i < most; i++) row[i] = (i < rows ? i : rows - 1) * t->a_row;
    for (int i = 0; i < most; i++) memset(sum[i], 0, (size_t)t->n * sizeof **sum);
    for (; p + 4 <= t->k; p += 4, a += 4 * t->a_col, b += 4 * t->b_row) NAME(add_rows)(most, 4, t, a, row, b, sum);
    for (; p < t->k; p++, a += t->a_col, b += t->b_row) NAME(add_rows)(most, 1, t, a, row, b, sum);
    NAME(put_rows)(rows, t, sum);
}
TARGET static void NAME(few_1)(int rows, const tile *t) { NAME(few)(1, rows, t); }
TARGET static void NAME(few_2)(int rows, const tile *t) { NAME(few)(2, rows, t); }
TARGET static void NAME(few_4)(int rows, const tile *t) { NAME(few)(FEW_ROWS, rows, t); }

/* Adds to c, or sets it where `first`: `rows` pixels in a row and one vector of channels or two, what they see at a + at[], each
   `apart` from the one before, times b, whose rows are HG_PANEL apart. All that is counted beside products takes up units that
   multiply: two steps go at once. */
TARGET HG_INLINE void NAME(window)(const int rows, const int wide, const int apart, int64_t k, const float *a,
                                   const int32_t *at, const float *b, bool first, float *c, int64_t c_row) {
    VEC sum[ROWS][2];
#define STEP(p)                                                                                                        \
    do {                                                                                                               \
        const float *x = a + at[p];                                                                                    \
        const VEC y0 = LOAD(b + (p)*HG_PANEL), y1 = wide == 2 ? LOAD(b + (p)*HG_PANEL + LANES) : y0;                   \
        _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++) {                                                      \
            sum[i][0] = FMA(SPREAD(x[i * apart]), y0, sum[i][0]);                                                      \
            if (wide == 2) sum[i][1] = FMA(SPREAD(x[i * apart]), y1, sum[i][1]);                                       \
        }                                                                                                              \
    } while (0)
    float *to = c;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, to += c_row) {
        KEEP(to);
        for (int q = 0; q < wide; q++) sum[i][q] = first ? ZERO : LOAD(to + q * LANES);
    }
    const int32_t *end = at + k;
    int64_t odd = k % 2; /* then the first step is left out, once */
    for (at -= odd, b -= odd * HG_PANEL; at < end; at += 2, b += 2 * HG_PANEL) {
        KEEP(odd);
        if (!odd) STEP(0);
        odd = 0;
        STEP(1);
    }
#undef STEP
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++, c += c_row) {
        KEEP(c);
        for (int q = 0; q < wide; q++) STORE(c + q * LANES, sum[i][q]);
    }
}

#define WINDOW(rows, wide, apart)                                                                                      \
    TARGET static void NAME(window_##rows##_##wide##_##apart)(int64_t k, const float *a, const int32_t *at,            \
                                                              const float *b, bool first, float *c, int64_t c_row) {   \
        NAME(window)(rows, wide, apart, k, a, at, b, first, c, c_row);                                                 \
    }
#define WINDOWS(rows) WINDOW(rows, 1, 1) WINDOW(rows, 2, 1) WINDOW(rows, 1, 2) WINDOW(rows, 2, 2)
TILES(WINDOWS)
#undef WINDOWS
#undef WINDOW
#undef KEEP

/* to[p * ld + i] = row[i][p] for LANES rows and k columns. Of what is beyond `n` at each p the next p is written over, and
   LANES - n floats behind the last one. */
TARGET static void NAME(turn)(const float *const row[], int64_t n, int64_t k, float *to, int64_t ld) {
    int64_t p = 0;
#define TURN(load)                                                                                                     \
    VEC r0 = FOUR(load, row, 0, p), r1 = FOUR(load, row, 1, p), r2 = FOUR(load, row, 2, p),                            \
        r3 = FOUR(load, row, 3, p);                                                                                    \
    VEC low0 = UNPACK_LOW(r0, r1), low1 = UNPACK_LOW(r2, r3), high0 = UNPACK_HIGH(r0, r1), high1 = UNPACK_HIGH(r2, r3)
    for (; p + 4 <= k; p += 4, to += 4 * ld) {
        TURN(_mm_loadu_ps);
        STORE(to, SHUFFLE(low0, low1, 0x44)), STORE(to + ld, SHUFFLE(low0, low1, 0xee));
        STORE(to + 2 * ld, SHUFFLE(high0, high1, 0x44)), STORE(to + 3 * ld, SHUFFLE(high0, high1, 0xee));
    }
#if LANES == 8
    if (p < k) {
        const __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(some_avx2 + 8 - (k - p)));
#define LOAD_LEFT(x) _mm_maskload_ps(x, some)
        TURN(LOAD_LEFT);
        STORE(to, SHUFFLE(low0, low1, 0x44));
        if (k - p > 1) STORE(to + ld, SHUFFLE(low0, low1, 0xee));
        if (k - p > 2) STORE(to + 2 * ld, SHUFFLE(high0, high1, 0x44));
#undef LOAD_LEFT
    }
#else
    for (; p < k; p++, to += ld)
        for (int64_t i = 0; i < n; i++) to[i] = row[i][p];
#endif
#undef TURN
    (void)n;
}

/* to[p * ld + i] = x[p * row + i] for k rows of n numbers, two vectors of them at most. */
TARGET static void NAME(lay)(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld) {
    const bool wide = n > LANES, whole = n % LANES == 0;
    const MASK last = SOME(wide ? n - LANES : n);
    for (int64_t p = 0; p < k; p++, x += row, to += ld) {
        if (wide) {
            STORE(to, LOAD(x));
            STORE_SOME(to + LANES, whole, last, LOAD_SOME(x + LANES, last));
        } else {
            STORE_SOME(to, whole, last, LOAD_SOME(x, last));
        }
    }
}

/* As hg_mix. */
TARGET static void NAME(mix)(int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab,
                             float *to) {
    enum { ALL = HG_SLAB_SLACK / LANES };
    for (int64_t i = 0; i < n; i += HG_SLAB_SLACK) {
        VEC sum[ALL];
#pragma GCC unroll 8
        for (int q = 0; q < ALL; q++) sum[q] = ZERO;
        for (int64_t t = 0; t < n_taps; t++) {
            const float *seen = slab + at[t] + i;
            const VEC by = SPREAD(weight[t]);
#pragma GCC unroll 8
            for (int q = 0; q < ALL; q++) sum[q] = FMA(by, LOAD(seen + q * LANES), sum[q]);
        }
#pragma GCC unroll 8
        for (int q = 0; q < ALL; q++)
            if (n - i > q * LANES)
                STORE_SOME(to + i + q * LANES, n - i >= (q + 1) * LANES, SOME(n - i - q * LANES), sum[q]);
    }
}

static const machine NAME(machine) = {
    .rows = ROWS,
    .lanes = LANES,
    .turn = NAME(turn),
    .lay = NAME(lay),
    .mix = NAME(mix),
    .tiles =
        {
#define TILE(rows) {NAME(tile_##rows##_1), NAME(tile_##rows##_2)},
            TILES(TILE)
#undef TILE
        },
    .windows =
        {
#define WINDOWS(rows)                                                                                                  \
    {{NAME(window_##rows##_1_1), NAME(window_##rows##_1_2)}, {NAME(window_##rows##_2_1), NAME(window_##rows##_2_2)}},
            TILES(WINDOWS)
#undef WINDOWS
        },
    .few = {NAME(few_1), NAME(few_2), NAME(few_4)},
    .planes =
        {LANES, HIGH, NAME(frame), {HG_SEE(SEE_IN)}, {NAME(rake_3), NAME(rake_5), NAME(rake_7)}, {HG_MEET(MEET_IN)}},
};
