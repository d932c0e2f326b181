/* Loops of softmax and log_softmax in float32, part of op_softmax.c.
   A tensor is (outer, n, inner). With inner 1 rows are contiguous, and vectors run along them, in blocks of SPAN; of the last block
   what is there counts. Else up to SPAN neighbours along inner go side by side: each has its row of n values, and what one step does
   to all of them is a vector operation. */

HG_INLINE float log_sum(const bool fused, float x) { return x == x ? hg_near_log(fused, x) : x; }

/* y[k] = exp(x[k] - most), unless y is NULL; returns their sum. Meanwhile what is read and written next is fetched. */
HG_INLINE float exp_row(const bool fused, int64_t n, float most, const float *x, float *y, const float *next_x,
                        const float *next_y) {
    float lane[SPAN] = {0};
    int64_t whole = n / SPAN * SPAN;
    int left = (int)(n - whole);
    for (int64_t k = 0; k < whole; k += SPAN) {
        for (int j = 0; j < SPAN; j += 64 / (int)sizeof(float))
            __builtin_prefetch(next_x + k + j), __builtin_prefetch(next_y + k + j, 1);
        for (int j = 0; j < SPAN; j++) {
            float e = hg_low_exp(fused, x[k + j] - most);
            if (y) y[k + j] = e;
            lane[j] += e;
        }
    }
    if (left)
        for (int j = 0; j < SPAN; j++) {
            float e = j < left ? hg_low_exp(fused, x[whole + j] - most) : 0;
            if (y && j < left) y[whole + j] = e;
            lane[j] += e;
        }
    return hg_sum_lanes_f32(fused, SPAN, lane);
}

/* Of more than HG_LANES values, some of which it looks at twice. A NaN shows in the sum. */
HG_INLINE float max_row(const bool fused, int64_t n, const float *x) {
    float lane[SPAN];
    for (int j = 0; j < HG_LANES; j++) lane[j] = x[j], lane[SPAN - HG_LANES + j] = x[n - HG_LANES + j];
    for (int64_t k = 0; n > SPAN && k < n; k += SPAN) {
        const float *from = x + (k < n - SPAN ? k : n - SPAN);
        for (int j = 0; j < SPAN; j++) lane[j] = from[j] > lane[j] ? from[j] : lane[j];
    }
    return hg_max_lanes_f32(fused, SPAN, lane);
}

/* Up to TOGETHER rows of at most HG_LANES values: a row is a vector, of which what is beyond its end counts as e^-inf. */
HG_INLINE void softmax_short(const bool fused, int64_t rows, int n, bool log_of, const float *x, float *y) {
    float e[TOGETHER][HG_LANES], most[TOGETHER], sum[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) sum[i] = 1;
    for (int64_t i = 0; i < rows; i++) {
        float lane[HG_LANES];
        HG_ROLLED for (int j = 0; j < HG_LANES; j++) e[i][j] = lane[j] = j < n ? x[i * n + j] : -INFINITY;
        most[i] = hg_max_lanes_f32(fused, HG_LANES, lane);
    }
    for (int64_t i = 0; i < rows; i++) {
        float lane[HG_LANES];
        HG_ROLLED for (int j = 0; j < HG_LANES; j++) e[i][j] = lane[j] = hg_low_exp(fused, e[i][j] - most[i]);
        sum[i] = hg_sum_lanes_f32(fused, HG_LANES, lane);
    }
    for (int i = 0; i < TOGETHER; i++) sum[i] = log_of ? log_sum(fused, sum[i]) : 1 / sum[i];
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < n; j++) y[i * n + j] = log_of ? x[i * n + j] - most[i] - sum[i] : e[i][j] * sum[i];
}

/* Up to TOGETHER rows, step by step: what a row's lanes add up to comes late, and the next row's need not wait for it. */
HG_INLINE void softmax_rows_body(const bool fused, int64_t rows, int64_t n, bool log_of, const float *x, float *y) {
    if (n <= HG_LANES) {
        softmax_short(fused, rows, (int)n, log_of, x, y);
        return;
    }
    float most[TOGETHER], sum[TOGETHER];
    const int64_t ahead = n < AHEAD ? AHEAD : n;
    for (int j = 0; j < TOGETHER; j++) sum[j] = 1;
    for (int64_t i = 0; i < rows; i++) most[i] = max_row(fused, n, x + i * n);
    for (int64_t i = 0; i < rows; i++)
        sum[i] = exp_row(fused, n, most[i], x + i * n, log_of ? NULL : y + i * n, x + i * n + ahead,
                         y + i * n + (log_of ? 0 : AHEAD));
    for (int j = 0; j < TOGETHER; j++) sum[j] = log_of ? log_sum(fused, sum[j]) : 1 / sum[j];
    for (int64_t i = 0; log_of && i < rows; i++)
        for (int64_t k = i * n; k < (i + 1) * n; k++) y[k] = x[k] - most[i] - sum[i];
    for (int64_t i = 0; !log_of && i < rows; i++)
        for (int64_t k = i * n; k < (i + 1) * n; k++) y[k] *= sum[i];
}
HG_VECTOR(softmax_rows, (int64_t rows, int64_t n, bool log_of, const float *x, float *y), rows, n, log_of, x, y)

/* `wide` rows side by side, at a step of `step` from one value of a row to the next. */
HG_INLINE void softmax_columns(const bool fused, int64_t n, int64_t step, const int wide, bool log_of, const float *x,
                               float *y) {
    float most[SPAN], sum[SPAN];
    (void)fused;
    for (int j = 0; j < wide; j++) most[j] = -INFINITY, sum[j] = 0;
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) most[j] = x[k + j] > most[j] ? x[k + j] : most[j];
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) {
            float e = hg_low_exp(fused, x[k + j] - most[j]);
            y[k + j] = e, sum[j] += e;
        }
    for (int j = 0; j < wide; j++) sum[j] = log_of ? log_sum(fused, sum[j]) : 1 / sum[j];
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) y[k + j] = log_of ? x[k + j] - most[j] - sum[j] : y[k + j] * sum[j];
}
HG_INLINE void softmax_side_body(const bool fused, int64_t n, int64_t step, int wide, bool log_of,
                                 const float *restrict x, float *restrict y) {
    if (wide == SPAN)
        softmax_columns(fused, n, step, SPAN, log_of, x, y);
    else
        for (int j = 0, some; j < wide; j += some) {
            some = wide - j < SOME ? 1 : SOME;
            if (some == SOME)
                softmax_columns(fused, n, step, SOME, log_of, x + j, y + j);
            else
                softmax_columns(fused, n, step, 1, log_of, x + j, y + j);
        }
}
HG_VECTOR(softmax_side, (int64_t n, int64_t step, int wide, bool log_of, const float *x, float *y), n, step, wide,
          log_of, x, y)

/* softmax: (g - sum(g * y)) * y; log_softmax: g - exp(y) * sum(g). */
HG_INLINE void backward_row_body(const bool fused, int64_t n, bool log_of, const float *g, const float *y, float *to) {
    float lane[SPAN] = {0};
    int64_t whole = n / SPAN * SPAN;
    int left = (int)(n - whole);
    for (int64_t k = 0; k < whole; k += SPAN)
        for (int j = 0; j < SPAN; j++) lane[j] += log_of ? g[k + j] : g[k + j] * y[k + j];
    if (left)
        for (int j = 0; j < SPAN; j++) {
            float a = j < left ? g[whole + j] : 0, b = j < left ? y[whole + j] : 0;
            lane[j] += log_of ? a : a * b;
        }
    float sum = hg_sum_lanes_f32(fused, SPAN, lane);
    if (log_of)
        for (int64_t k = 0; k < n; k++) to[k] = g[k] - hg_low_exp(fused, y[k]) * sum;
    else
        for (int64_t k = 0; k < n; k++) to[k] = (g[k] - sum) * y[k];
}
HG_VECTOR(backward_row, (int64_t n, bool log_of, const float *g, const float *y, float *to), n, log_of, g, y, to)

HG_INLINE void backward_columns(const bool fused, int64_t n, int64_t step, const int wide, bool log_of, const float *g,
                                const float *y, float *to) {
    float sum[SPAN] = {0};
    (void)fused;
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) sum[j] += log_of ? g[k + j] : g[k + j] * y[k + j];
    for (int64_t k = 0; log_of && k < n * step; k += step)
        for (int j = 0; j < wide; j++) to[k + j] = g[k + j] - hg_low_exp(fused, y[k + j]) * sum[j];
    for (int64_t k = 0; !log_of && k < n * step; k += step)
        for (int j = 0; j < wide; j++) to[k + j] = (g[k + j] - sum[j]) * y[k + j];
}
HG_INLINE void backward_side_body(const bool fused, int64_t n, int64_t step, int wide, bool log_of,
                                  const float *restrict g, const float *restrict y, float *restrict to) {
    if (wide == SPAN)
        backward_columns(fused, n, step, SPAN, log_of, g, y, to);
    else
        for (int j = 0, some; j < wide; j += some) {
            some = wide - j < SOME ? 1 : SOME;
            if (some == SOME)
                backward_columns(fused, n, step, SOME, log_of, g + j, y + j, to + j);
            else
                backward_columns(fused, n, step, 1, log_of, g + j, y + j, to + j);
        }
}
HG_VECTOR(backward_side, (int64_t n, int64_t step, int wide, bool log_of, const float *g, const float *y, float *to), n,
          step, wide, log_of, g, y, to)

/* Rows, or blocks of SPAN neighbours, from begin to end: op_softmax.c counts them. */
static void softmax_units(void *arg, int64_t begin, int64_t end) {
    const softmax_job *w = arg;
    const rows *r = &w->rows;
    int64_t a_plane = blocks_of(r);
    int64_t together = r->n < FEW_TOGETHER / TOGETHER ? TOGETHER : 1;
    for (int64_t u = begin, n_rows; u < end; u += n_rows) {
        int64_t plane = a_plane == 1 ? u : u / a_plane, i = (u - plane * a_plane) * SPAN;
        int64_t at = plane * r->n * r->inner + i;
        int wide = (int)(r->inner - i < SPAN ? r->inner - i : SPAN);
        const float *x = (const float *)w->x + at, *g = w->grad ? (const float *)w->grad + at : NULL;
        float *to = (float *)w->to + at;
        n_rows = r->inner > 1 || g ? 1 : end - u < together ? end - u : together;
        if (r->inner == 1 && g)
            backward_row(r->n, w->log_of, g, x, to);
        else if (r->inner == 1)
            softmax_rows(n_rows, r->n, w->log_of, x, to);
        else if (g)
            backward_side(r->n, r->inner, wide, w->log_of, g, x, to);
        else
            softmax_side(r->n, r->inner, wide, w->log_of, x, to);
    }
}
