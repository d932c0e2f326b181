/* Loops of normalisation, for one floating type: included by op_norm.c once with REAL float, once with double. Sums run in
   double. */

/* Sums over n values: of them, of their squared distances from the mean, of g times their distance from it. In blocks of
   LANES running sums, which the compiler makes a vector of, added up in double: two passes for a variance cancel nothing. */
#define SUM_IN_LANES(term)                                                                                             \
    double total = 0;                                                                                                  \
    int64_t i = 0;                                                                                                     \
    while (n - i >= LANES) {                                                                                           \
        REAL lane[LANES] = {0};                                                                                        \
        int64_t end = i + (n - i < 16 * LANES ? (n - i) / LANES * LANES : 16 * LANES);                                 \
        for (; i < end; i += LANES)                                                                                    \
            for (int k = 0; k < LANES; k++) lane[k] += term(i + k);                                                    \
        for (int k = 0; k < LANES; k++) total += lane[k];                                                              \
    }                                                                                                                  \
    for (; i < n; i++) total += term(i);                                                                               \
    return total

#define VALUE(i)   x[i]
#define SQUARE(i)  ((x[i] - mean) * (x[i] - mean))
#define PRODUCT(i) (g[i] * (x[i] - mean))
INLINE double KERNEL(sum)(const REAL *x, int64_t n) { SUM_IN_LANES(VALUE); }
INLINE double KERNEL(squares)(const REAL *x, int64_t n, REAL mean) { SUM_IN_LANES(SQUARE); }
INLINE double KERNEL(products)(const REAL *g, const REAL *x, int64_t n, REAL mean) { SUM_IN_LANES(PRODUCT); }
#undef VALUE
#undef SQUARE
#undef PRODUCT

/* ---- A channel over batch and space: x is (n, channels, plane) ---- */

HG_CLONES static void KERNEL(batch_stats)(const batch *b, const void *input, double *mean, double *var) {
    const REAL *x = input;
    double count = (double)(b->n * b->plane);
    for (int64_t c = 0; c < b->channels; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < b->n; i++) sum += KERNEL(sum)(x + (i * b->channels + c) * b->plane, b->plane);
        mean[c] = sum / count;
        for (int64_t i = 0; i < b->n; i++)
            squares += KERNEL(squares)(x + (i * b->channels + c) * b->plane, b->plane, (REAL)mean[c]);
        var[c] = squares / count - (mean[c] - (REAL)mean[c]) * (mean[c] - (REAL)mean[c]); /* the mean was rounded */
    }
}

HG_CLONES static void KERNEL(batch_norm)(const batch *b, const void *input, const void *means, const void *invstds,
                                         const void *weight, const void *bias, void *output) {
    const REAL *x = input, *mean = means, *invstd = invstds, *w = weight, *add = bias;
    REAL *y = output;
    for (int64_t i = 0; i < b->n; i++)
        for (int64_t c = 0; c < b->channels; c++, x += b->plane, y += b->plane) {
            REAL scale = w ? invstd[c] * w[c] : invstd[c], shift = (add ? add[c] : 0) - mean[c] * scale;
            for (int64_t k = 0; k < b->plane; k++) y[k] = x[k] * scale + shift;
        }
}

/* grad_input, grad_weight and grad_bias; where the statistics were given (not training) they are constants. */
HG_CLONES static void KERNEL(batch_norm_backward)(const batch *b, const void *grad, const void *input,
                                                  const void *means, const void *invstds, const void *weight,
                                                  bool training, void *grad_input, void *grad_weight, void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *invstd = invstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    double count = (double)(b->n * b->plane);
    for (int64_t c = 0; c < b->channels; c++) {
        double sum = 0, dot = 0;
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            sum += KERNEL(sum)(gi, b->plane), dot += KERNEL(products)(gi, xi, b->plane, mean[c]);
        }
        gw[c] = (REAL)(dot * invstd[c]), gb[c] = (REAL)sum;
        REAL scale = w ? invstd[c] * w[c] : invstd[c], centre = mean[c];
        REAL slope = (REAL)(dot * invstd[c] * invstd[c] / count), level = (REAL)(sum / count);
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            REAL *to = gx + (i * b->channels + c) * b->plane;
            if (training)
                for (int64_t k = 0; k < b->plane; k++) to[k] = (gi[k] - level - (xi[k] - centre) * slope) * scale;
            else
                for (int64_t k = 0; k < b->plane; k++) to[k] = gi[k] * scale;
        }
    }
}

/* ---- Rows of n values, each with its weight ---- */

HG_CLONES static void KERNEL(layer_norm)(int64_t rows, int64_t n, const void *input, const void *weight,
                                         const void *bias, double eps, void *output, void *means, void *rstds) {
    const REAL *x = input, *w = weight, *add = bias;
    REAL *y = output, *mean = means, *rstd = rstds;
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        mean[r] = (REAL)(KERNEL(sum)(x, n) / (double)n);
        rstd[r] = (REAL)(1 / sqrt(KERNEL(squares)(x, n, mean[r]) / (double)n + eps));
        REAL scale = rstd[r], shift = -mean[r] * scale;
        if (w && add)
            for (int64_t k = 0; k < n; k++) y[k] = (x[k] * scale + shift) * w[k] + add[k];
        else
            for (int64_t k = 0; k < n; k++) y[k] = (x[k] * scale + shift) * (w ? w[k] : 1) + (add ? add[k] : 0);
    }
}

/* grad_weight and grad_bias are zero on entry. */
HG_CLONES static void KERNEL(layer_norm_backward)(int64_t rows, int64_t n, const void *grad, const void *input,
                                                  const void *means, const void *rstds, const void *weight,
                                                  void *grad_input, void *grad_weight, void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *rstd = rstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    for (int64_t r = 0; r < rows; r++, g += n, x += n, gx += n) {
        if (w) /* gx holds g * w until it is known what else goes in */
            for (int64_t k = 0; k < n; k++) gx[k] = g[k] * w[k];
        else
            memcpy(gx, g, (size_t)n * sizeof *gx);
        double sum = KERNEL(sum)(gx, n), dot = KERNEL(products)(gx, x, n, mean[r]); /* with x - mean */
        REAL a = rstd[r], centre = mean[r], slope = (REAL)(-dot * a * a * a / (double)n),
             level = (REAL)(-sum * a / (double)n);
        for (int64_t k = 0; k < n; k++) gx[k] = a * gx[k] + slope * (x[k] - centre) + level;
        for (int64_t k = 0; k < n && gw; k++) gw[k] += g[k] * ((x[k] - centre) * a);
        for (int64_t k = 0; k < n && gb; k++) gb[k] += g[k];
    }
}

/* ---- Groups of channels: x is (n, groups, channels of a group, plane); the mean is per group, the weight per channel ---- */

HG_CLONES static void KERNEL(group_norm)(const batch *b, const void *input, const void *weight, const void *bias,
                                         double eps, void *output, void *means, void *rstds) {
    const REAL *x = input, *w = weight, *add = bias;
    REAL *y = output, *mean = means, *rstd = rstds;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t r = 0; r < b->n * b->groups; r++) {
        mean[r] = (REAL)(KERNEL(sum)(x, n) / (double)n);
        rstd[r] = (REAL)(1 / sqrt(KERNEL(squares)(x, n, mean[r]) / (double)n + eps));
        for (int64_t i = 0; i < each; i++, x += b->plane, y += b->plane) {
            int64_t c = r % b->groups * each + i;
            REAL scale = w ? rstd[r] * w[c] : rstd[r], shift = -scale * mean[r] + (add ? add[c] : 0);
            for (int64_t k = 0; k < b->plane; k++) y[k] = x[k] * scale + shift;
        }
    }
}

HG_CLONES static void KERNEL(group_norm_backward)(const batch *b, const void *grad, const void *input,
                                                  const void *means, const void *rstds, const void *weight,
                                                  void *grad_input, void *grad_weight, void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *rstd = rstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t r = 0; r < b->n * b->groups; r++, g += n, x += n, gx += n) {
        double dot = 0, sum = 0;
        for (int64_t i = 0; i < each; i++) {
            int64_t c = r % b->groups * each + i;
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            double d = KERNEL(products)(gi, xi, b->plane, mean[r]), s = KERNEL(sum)(gi, b->plane);
            dot += d * (w ? w[c] : 1), sum += s * (w ? w[c] : 1);
            gw[c] += (REAL)(d * rstd[r]);
            gb[c] += (REAL)s;
        }
        REAL a = rstd[r], centre = mean[r], slope = (REAL)(-dot * a * a * a / (double)n),
             level = (REAL)(-sum * a / (double)n);
        for (int64_t i = 0; i < each; i++) {
            REAL scale = a * (w ? w[r % b->groups * each + i] : 1), *to = gx + i * b->plane;
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            for (int64_t k = 0; k < b->plane; k++) to[k] = scale * gi[k] + slope * (xi[k] - centre) + level;
        }
    }
}

#undef SUM_IN_LANES
