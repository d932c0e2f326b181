/* Loops of normalisation, for one floating type: included by op_norm.c once with REAL float, once with double. Each computes
   units begin to end of what `norm` describes, and no result depends on which those are. */

/* Rounded once, as PyTorch's results are: what is left where a constant's mean is taken away. A float's product is exact in
   double, for code without vectors. */
HG_INLINE REAL KERNEL(times_plus)(const bool fused, REAL a, REAL b, REAL c) {
    if (!fused) return (REAL)((double)a * (double)b + (double)c);
    return sizeof(REAL) == 4 ? (REAL)__builtin_fmaf((float)a, (float)b, (float)c)
                             : (REAL)__builtin_fma((double)a, (double)b, (double)c);
}

/* Sums over n values: of them, of their squared distances from the mean, of g times their distance from it. In blocks of
   running sums, which the compiler makes vectors of, added up in double: two passes for a variance cancel nothing. Where there
   are few lanes the running sums are doubles themselves: a constant's mean is the constant. */
#define SUM_IN_LANES(term)                                                                                             \
    double total = 0;                                                                                                  \
    const int wide = LANES / (int)(sizeof(REAL) / sizeof(float)), some = sizeof(KERNEL(hg_lanes)) / sizeof(REAL);      \
    int64_t i = 0;                                                                                                     \
    while (fused && n - i >= wide) {                                                                                   \
        REAL lane[LANES] = {0};                                                                                        \
        int64_t end = i + (n - i < 16 * wide ? (n - i) / wide * wide : 16 * wide);                                     \
        for (; i < end; i += wide)                                                                                     \
            for (int k = 0; k < wide; k++) lane[k] += term(REAL, i + k);                                               \
        total += (double)KERNEL(hg_sum_lanes)(fused, wide, lane);                                                      \
    }                                                                                                                  \
    if (fused && n - i >= some) {                                                                                      \
        KERNEL(hg_lanes) last = {0};                                                                                   \
        for (; n - i >= some; i += some) last += term(KERNEL(hg_lanes), i);                                            \
        total += (double)KERNEL(hg_sum_lanes)(fused, some, (REAL *)&last);                                             \
    }                                                                                                                  \
    if (!fused && n >= FEW) {                                                                                          \
        double lane[FEW] = {0};                                                                                        \
        for (; n - i >= FEW; i += FEW)                                                                                 \
            for (int k = 0; k < FEW; k++) lane[k] += (double)(term(REAL, i + k));                                      \
        total = hg_sum_lanes_f64(fused, FEW, lane);                                                                    \
    }                                                                                                                  \
    HG_ROLLED for (; i < n; i++) total += (double)(term(REAL, i));                                                     \
    return total

#define VALUE(T, i)   (*(const T *)(x + (i)))
#define SQUARE(T, i)  ((VALUE(T, i) - mean) * (VALUE(T, i) - mean))
#define PRODUCT(T, i) (*(const T *)(g + (i)) * (VALUE(T, i) - mean))
HG_INLINE double KERNEL(sum)(const bool fused, const REAL *x, int64_t n) { SUM_IN_LANES(VALUE); }
HG_INLINE double KERNEL(squares)(const bool fused, const REAL *x, int64_t n, REAL mean) { SUM_IN_LANES(SQUARE); }
HG_INLINE double KERNEL(products)(const bool fused, const REAL *g, const REAL *x, int64_t n, REAL mean) {
    SUM_IN_LANES(PRODUCT);
}
#undef VALUE
#undef SQUARE
#undef PRODUCT

/* ---- A channel over batch and space: x is (n, channels, plane) ---- */

/* A unit is a channel. */
HG_INLINE void KERNEL_BODY(batch_stats)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const batch *b = &w->b;
    const REAL *x = w->x;
    double count = (double)(b->n * b->plane);
    for (int64_t c = begin; c < end; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < b->n; i++) sum += KERNEL(sum)(fused, x + (i * b->channels + c) * b->plane, b->plane);
        double mean = w->batch_mean[c] = sum / count;
        for (int64_t i = 0; i < b->n; i++)
            squares += KERNEL(squares)(fused, x + (i * b->channels + c) * b->plane, b->plane, (REAL)mean);
        w->batch_var[c] = squares / count - (mean - (REAL)mean) * (mean - (REAL)mean); /* the mean was rounded */
    }
}
KERNEL_VERSIONS(batch_stats)

/* A unit is a plane. */
HG_INLINE void KERNEL_BODY(batch_norm)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const REAL *mean = w->mean, *invstd = w->rstd, *weight = w->weight, *bias = w->bias;
    int64_t plane = w->b.plane;
    for (int64_t i = begin; i < end; i++) {
        const REAL *x = (const REAL *)w->x + i * plane;
        REAL *y = (REAL *)w->y + i * plane;
        int64_t c = i % w->b.channels;
        REAL scale = weight ? invstd[c] * weight[c] : invstd[c];
        REAL shift = KERNEL(times_plus)(fused, -mean[c], scale, bias ? bias[c] : 0);
        for (int64_t k = 0; k < plane; k++) y[k] = KERNEL(times_plus)(fused, x[k], scale, shift);
    }
}
KERNEL_VERSIONS(batch_norm)

/* The gradients of input, weight and bias; where the statistics were given (not training) they are constants. A unit is a
   channel. */
HG_INLINE void KERNEL_BODY(batch_backward)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const batch *b = &w->b;
    const REAL *g = w->g, *x = w->x, *mean = w->mean, *invstd = w->rstd, *weight = w->weight;
    REAL *gx = w->y, *gw = w->grad_weight, *gb = w->grad_bias;
    double count = (double)(b->n * b->plane);
    for (int64_t c = begin; c < end; c++) {
        double sum = 0, dot = 0;
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            sum += KERNEL(sum)(fused, gi, b->plane), dot += KERNEL(products)(fused, gi, xi, b->plane, mean[c]);
        }
        gw[c] = (REAL)(dot * invstd[c]), gb[c] = (REAL)sum;
        REAL scale = weight ? invstd[c] * weight[c] : invstd[c], centre = mean[c];
        REAL slope = (REAL)(dot * invstd[c] * invstd[c] / count), level = (REAL)(sum / count);
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            REAL *to = gx + (i * b->channels + c) * b->plane;
            if (w->training)
                for (int64_t k = 0; k < b->plane; k++) to[k] = (gi[k] - level - (xi[k] - centre) * slope) * scale;
            else
                for (int64_t k = 0; k < b->plane; k++) to[k] = gi[k] * scale;
        }
    }
}
KERNEL_VERSIONS(batch_backward)

/* ---- The same where a plane is one value: x is (n, channels) ---- */

/* Some channels side by side from c on, m of them: a multiple of `wide`, and at most SIDE. */
#define SIDE_BY_SIDE                                                                                                   \
    for (int64_t from = 0; from < m; from += wide) HG_IVDEP for (int64_t k = from; k < from + wide; k++)
#define ROWS(from) ((const REAL *)(from) + i * channels + c)

HG_INLINE void KERNEL(flat_stats_of)(const norm *w, int64_t c, int64_t m, const int64_t wide) {
    const int64_t n = w->b.n, channels = w->b.channels;
    double sum[SIDE] = {0}, squares[SIDE] = {0};
    REAL mean[SIDE];
    for (int64_t i = 0; i < n; i++) {
        const REAL *x = ROWS(w->x);
        SIDE_BY_SIDE sum[k] += (double)x[k];
    }
    SIDE_BY_SIDE mean[k] = (REAL)(w->batch_mean[c + k] = sum[k] / (double)n);
    for (int64_t i = 0; i < n; i++) {
        const REAL *x = ROWS(w->x);
        SIDE_BY_SIDE squares[k] += (double)((x[k] - mean[k]) * (x[k] - mean[k]));
    }
    SIDE_BY_SIDE {
        double lost = w->batch_mean[c + k] - (double)mean[k]; /* as it was rounded */
        w->batch_var[c + k] = squares[k] / (double)n - lost * lost;
    }
}

HG_INLINE void KERNEL(flat_norm_of)(const norm *w, int64_t c, int64_t m, const int64_t wide) {
    const REAL *mean = w->mean, *invstd = w->rstd, *weight = w->weight, *bias = w->bias;
    const int64_t channels = w->b.channels;
    REAL scale[SIDE], shift[SIDE];
    SIDE_BY_SIDE {
        scale[k] = weight ? invstd[c + k] * weight[c + k] : invstd[c + k];
        shift[k] = KERNEL(times_plus)(wide > 1, -mean[c + k], scale[k], bias ? bias[c + k] : 0);
    }
    for (int64_t i = 0; i < w->b.n; i++) {
        const REAL *x = ROWS(w->x);
        REAL *y = (REAL *)w->y + i * channels + c;
        SIDE_BY_SIDE y[k] = KERNEL(times_plus)(wide > 1, x[k], scale[k], shift[k]);
    }
}

HG_INLINE void KERNEL(flat_backward_of)(const norm *w, int64_t c, int64_t m, const int64_t wide) {
    const REAL *mean = (const REAL *)w->mean + c, *invstd = (const REAL *)w->rstd + c, *weight = w->weight;
    const int64_t n = w->b.n, channels = w->b.channels;
    double sum[SIDE] = {0}, dot[SIDE] = {0};
    REAL scale[SIDE], slope[SIDE], level[SIDE];
    for (int64_t i = 0; i < n; i++) {
        const REAL *g = ROWS(w->g), *x = ROWS(w->x);
        SIDE_BY_SIDE sum[k] += (double)g[k], dot[k] += (double)(g[k] * (x[k] - mean[k]));
    }
    SIDE_BY_SIDE {
        double unit = (double)invstd[k];
        ((REAL *)w->grad_weight)[c + k] = (REAL)(dot[k] * unit), ((REAL *)w->grad_bias)[c + k] = (REAL)sum[k];
        scale[k] = weight ? invstd[k] * weight[c + k] : invstd[k];
        slope[k] = (REAL)(dot[k] * unit * unit / (double)n), level[k] = (REAL)(sum[k] / (double)n);
    }
    for (int64_t i = 0; i < n; i++) {
        const REAL *g = ROWS(w->g), *x = ROWS(w->x);
        REAL *to = (REAL *)w->y + i * channels + c;
        if (w->training)
            SIDE_BY_SIDE to[k] = (g[k] - level[k] - (x[k] - mean[k]) * slope[k]) * scale[k];
        else
            SIDE_BY_SIDE to[k] = g[k] * scale[k];
    }
}

/* A unit is a channel. What does not fill a vector goes one by one. */
#define FLAT(name)                                                                                                     \
    __attribute__((noinline)) HG_SMALL static void KERNEL(name##_rest)(const norm *w, int64_t c, int64_t m) {          \
        KERNEL(name##_of)(w, c, m, 1);                                                                                 \
    }                                                                                                                  \
    HG_INLINE void KERNEL_BODY(name)(const bool fused, void *arg, int64_t begin, int64_t end) {                        \
        const int64_t wide = fused ? WIDE : 1;                                                                         \
        int64_t c = begin;                                                                                             \
        for (int64_t m; fused && end - c >= wide; c += m) {                                                            \
            m = end - c < SIDE ? (end - c) / wide * wide : SIDE;                                                       \
            KERNEL(name##_of)(arg, c, m, wide);                                                                        \
        }                                                                                                              \
        for (int64_t m; c < end; c += m) {                                                                             \
            m = end - c < SIDE ? end - c : SIDE;                                                                       \
            KERNEL(name##_rest)(arg, c, m);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    KERNEL_FEW(name)
FLAT(flat_stats)
FLAT(flat_norm)
FLAT(flat_backward)
#undef FLAT
#undef ROWS
#undef SIDE_BY_SIDE

/* ---- Rows of n values, each with its weight ---- */

/* A unit is a row. Up to TOGETHER of them go step by step: what a row's lanes add up to comes late, and the next row's need not
   wait for it. */
HG_INLINE void KERNEL_BODY(layer_norm)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const REAL *weight = w->weight, *bias = w->bias;
    REAL *mean = w->mean, *rstd = w->rstd;
    int64_t n = w->b.n, together = n < FEW_TOGETHER / TOGETHER ? TOGETHER : 1;
    for (int64_t from = begin, to; from < end; from = to) {
        to = end - from < together ? end : from + together;
        for (int64_t r = from; r < to; r++)
            mean[r] = (REAL)(KERNEL(sum)(fused, (const REAL *)w->x + r * n, n) / (double)n);
        for (int64_t r = from; r < to; r++)
            rstd[r] = (REAL)(1 /
                             sqrt(KERNEL(squares)(fused, (const REAL *)w->x + r * n, n, mean[r]) / (double)n + w->eps));
        for (int64_t r = from; r < to; r++) {
            const REAL *x = (const REAL *)w->x + r * n;
            REAL *y = (REAL *)w->y + r * n, scale = rstd[r], centre = mean[r];
            if (weight && bias)
                for (int64_t k = 0; k < n; k++)
                    y[k] = KERNEL(times_plus)(fused, (x[k] - centre) * scale, weight[k], bias[k]);
            else if (weight)
                for (int64_t k = 0; k < n; k++) y[k] = (x[k] - centre) * scale * weight[k];
            else
                for (int64_t k = 0; k < n; k++) y[k] = (x[k] - centre) * scale + (bias ? bias[k] : 0);
        }
    }
}
KERNEL_VERSIONS(layer_norm)

/* A unit is some rows, whose part of the gradients of weight and bias goes where theirs do, n a unit; zero on entry. */
HG_INLINE void KERNEL_BODY(layer_norm_backward)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const REAL *mean = w->mean, *rstd = w->rstd, *weight = w->weight;
    int64_t n = w->b.n, last = end * w->rows_a_unit < w->b.rows ? end * w->rows_a_unit : w->b.rows;
    for (int64_t r = begin * w->rows_a_unit; r < last; r++) {
        const REAL *g = (const REAL *)w->g + r * n, *x = (const REAL *)w->x + r * n;
        REAL *gx = (REAL *)w->y + r * n, *gw = (REAL *)w->grad_weight + r / w->rows_a_unit * n;
        REAL *gb = (REAL *)w->grad_bias + r / w->rows_a_unit * n;
        if (weight) /* gx holds g * weight until it is known what else goes in */
            for (int64_t k = 0; k < n; k++) gx[k] = g[k] * weight[k];
        else
            memcpy(gx, g, (size_t)n * sizeof *gx);
        double sum = KERNEL(sum)(fused, gx, n), dot = KERNEL(products)(fused, gx, x, n, mean[r]); /* with x - mean */
        REAL a = rstd[r], centre = mean[r], slope = (REAL)(-dot * a * a * a / (double)n),
             level = (REAL)(-sum * a / (double)n);
        HG_IVDEP for (int64_t k = 0; k < n; k++) {
            REAL away = x[k] - centre;
            gx[k] = a * gx[k] + slope * away + level;
            gw[k] += g[k] * (away * a);
            gb[k] += g[k];
        }
    }
}
KERNEL_VERSIONS(layer_norm_backward)

/* ---- Groups of channels: x is (n, groups, channels of a group, plane); the mean is per group, the weight per channel ---- */

/* A unit is a group of one sample. */
HG_INLINE void KERNEL_BODY(group_norm)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const batch *b = &w->b;
    const REAL *weight = w->weight, *bias = w->bias;
    REAL *mean = w->mean, *rstd = w->rstd;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t r = begin; r < end; r++) {
        const REAL *x = (const REAL *)w->x + r * n;
        REAL *y = (REAL *)w->y + r * n;
        mean[r] = (REAL)(KERNEL(sum)(fused, x, n) / (double)n);
        rstd[r] = (REAL)(1 / sqrt(KERNEL(squares)(fused, x, n, mean[r]) / (double)n + w->eps));
        for (int64_t i = 0; i < each; i++, x += b->plane, y += b->plane) {
            int64_t c = r % b->groups * each + i;
            REAL scale = weight ? rstd[r] * weight[c] : rstd[r];
            REAL shift = KERNEL(times_plus)(fused, -scale, mean[r], bias ? bias[c] : 0);
            if (weight || bias)
                for (int64_t k = 0; k < b->plane; k++) y[k] = KERNEL(times_plus)(fused, x[k], scale, shift);
            else
                for (int64_t k = 0; k < b->plane; k++) y[k] = (x[k] - mean[r]) * scale;
        }
    }
}
KERNEL_FEW(group_norm)

/* The gradients of weight and bias are zero on entry. A unit is a group, of every sample. */
HG_INLINE void KERNEL_BODY(group_norm_backward)(const bool fused, void *arg, int64_t begin, int64_t end) {
    const norm *w = arg;
    const batch *b = &w->b;
    const REAL *mean = w->mean, *rstd = w->rstd, *weight = w->weight;
    REAL *gw = w->grad_weight, *gb = w->grad_bias;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t u = begin * b->n; u < end * b->n; u++) {
        int64_t group = u / b->n, r = u % b->n * b->groups + group;
        const REAL *g = (const REAL *)w->g + r * n, *x = (const REAL *)w->x + r * n;
        REAL *gx = (REAL *)w->y + r * n;
        double dot = 0, sum = 0;
        for (int64_t i = 0; i < each; i++) {
            int64_t c = group * each + i;
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            double d = KERNEL(products)(fused, gi, xi, b->plane, mean[r]), s = KERNEL(sum)(fused, gi, b->plane);
            dot += d * (weight ? weight[c] : 1), sum += s * (weight ? weight[c] : 1);
            gw[c] += (REAL)(d * rstd[r]);
            gb[c] += (REAL)s;
        }
        REAL a = rstd[r], centre = mean[r], slope = (REAL)(-dot * a * a * a / (double)n),
             level = (REAL)(-sum * a / (double)n);
        for (int64_t i = 0; i < each; i++) {
            REAL scale = a * (weight ? weight[group * each + i] : 1), *to = gx + i * b->plane;
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            for (int64_t k = 0; k < b->plane; k++) to[k] = scale * gi[k] + slope * (xi[k] - centre) + level;
        }
    }
}
KERNEL_FEW(group_norm_backward)

#undef SUM_IN_LANES
