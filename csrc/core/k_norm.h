/* Loops of normalisation, for one floating type: included by op_norm.c once with REAL float, once with double. Sums run in
   double. */

/* Sums over n values, and over their squared distances from the mean: in two passes, which cancel nothing. */
static void KERNEL(add_sum)(const REAL *x, int64_t n, double *sum) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i];
    *sum += s;
}

static void KERNEL(add_squares)(const REAL *x, int64_t n, double mean, double *sum) {
    double s = 0;
    for (int64_t i = 0; i < n; i++) s += (x[i] - mean) * (x[i] - mean);
    *sum += s;
}

/* ---- A channel over batch and space: x is (n, channels, plane) ---- */

static void KERNEL(batch_stats)(const batch *b, const void *input, double *mean, double *var) {
    const REAL *x = input;
    double count = (double)(b->n * b->plane);
    for (int64_t c = 0; c < b->channels; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < b->n; i++) KERNEL(add_sum)(x + (i * b->channels + c) * b->plane, b->plane, &sum);
        mean[c] = sum / count;
        for (int64_t i = 0; i < b->n; i++)
            KERNEL(add_squares)(x + (i * b->channels + c) * b->plane, b->plane, mean[c], &squares);
        var[c] = squares / count;
    }
}

static void KERNEL(batch_norm)(const batch *b, const void *input, const void *means, const void *invstds, const void *weight,
                               const void *bias, void *output) {
    const REAL *x = input, *mean = means, *invstd = invstds, *w = weight, *add = bias;
    REAL *y = output;
    for (int64_t i = 0; i < b->n; i++)
        for (int64_t c = 0; c < b->channels; c++, x += b->plane, y += b->plane) {
            REAL scale = w ? invstd[c] * w[c] : invstd[c], shift = (add ? add[c] : 0) - mean[c] * scale;
            for (int64_t k = 0; k < b->plane; k++) y[k] = x[k] * scale + shift;
        }
}

/* grad_input, grad_weight and grad_bias; where the statistics were given (not training) they are constants. */
static void KERNEL(batch_norm_backward)(const batch *b, const void *grad, const void *input, const void *means,
                                        const void *invstds, const void *weight, bool training, void *grad_input,
                                        void *grad_weight, void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *invstd = invstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    double count = (double)(b->n * b->plane);
    for (int64_t c = 0; c < b->channels; c++) {
        double sum = 0, dot = 0;
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            double s = 0, d = 0;
            for (int64_t k = 0; k < b->plane; k++) s += gi[k], d += gi[k] * (double)(xi[k] - mean[c]);
            sum += s, dot += d;
        }
        gw[c] = (REAL)(dot * invstd[c]), gb[c] = (REAL)sum;
        REAL scale = w ? invstd[c] * w[c] : invstd[c];
        REAL slope = (REAL)(dot * invstd[c] * invstd[c] / count), level = (REAL)(sum / count);
        for (int64_t i = 0; i < b->n; i++) {
            const REAL *gi = g + (i * b->channels + c) * b->plane, *xi = x + (i * b->channels + c) * b->plane;
            REAL *to = gx + (i * b->channels + c) * b->plane;
            if (training)
                for (int64_t k = 0; k < b->plane; k++) to[k] = (gi[k] - level - (xi[k] - mean[c]) * slope) * scale;
            else
                for (int64_t k = 0; k < b->plane; k++) to[k] = gi[k] * scale;
        }
    }
}

/* ---- Rows of n values, each with its weight ---- */

static void KERNEL(layer_norm)(int64_t rows, int64_t n, const void *input, const void *weight, const void *bias, double eps,
                               void *output, void *means, void *rstds) {
    const REAL *x = input, *w = weight, *add = bias;
    REAL *y = output, *mean = means, *rstd = rstds;
    for (int64_t r = 0; r < rows; r++, x += n, y += n) {
        double sum = 0, squares = 0;
        KERNEL(add_sum)(x, n, &sum);
        KERNEL(add_squares)(x, n, sum / (double)n, &squares);
        mean[r] = (REAL)(sum / (double)n);
        rstd[r] = (REAL)(1 / sqrt(squares / (double)n + eps));
        REAL scale = rstd[r], shift = -mean[r] * scale;
        for (int64_t k = 0; k < n; k++) y[k] = (x[k] * scale + shift) * (w ? w[k] : 1) + (add ? add[k] : 0);
    }
}

/* grad_weight and grad_bias are zero on entry. */
static void KERNEL(layer_norm_backward)(int64_t rows, int64_t n, const void *grad, const void *input, const void *means,
                                        const void *rstds, const void *weight, void *grad_input, void *grad_weight,
                                        void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *rstd = rstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    for (int64_t r = 0; r < rows; r++, g += n, x += n, gx += n) {
        double dot = 0, sum = 0;
        for (int64_t k = 0; k < n; k++) {
            double d = (double)g[k] * (w ? w[k] : 1);
            dot += d * x[k], sum += d;
        }
        double a = rstd[r], b = (sum * mean[r] - dot) * a * a * a / (double)n, c = -b * mean[r] - sum * a / (double)n;
        for (int64_t k = 0; k < n; k++) gx[k] = (REAL)(a * g[k] * (w ? w[k] : 1) + b * x[k] + c);
        for (int64_t k = 0; k < n && gw; k++) gw[k] += g[k] * ((x[k] - mean[r]) * rstd[r]);
        for (int64_t k = 0; k < n && gb; k++) gb[k] += g[k];
    }
}

/* ---- Groups of channels: x is (n, groups, channels of a group, plane); the mean is per group, the weight per channel ---- */

static void KERNEL(group_norm)(const batch *b, const void *input, const void *weight, const void *bias, double eps,
                               void *output, void *means, void *rstds) {
    const REAL *x = input, *w = weight, *add = bias;
    REAL *y = output, *mean = means, *rstd = rstds;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t r = 0; r < b->n * b->groups; r++) {
        double sum = 0, squares = 0;
        KERNEL(add_sum)(x, n, &sum);
        KERNEL(add_squares)(x, n, sum / (double)n, &squares);
        mean[r] = (REAL)(sum / (double)n);
        rstd[r] = (REAL)(1 / sqrt(squares / (double)n + eps));
        for (int64_t i = 0; i < each; i++, x += b->plane, y += b->plane) {
            int64_t c = r % b->groups * each + i;
            REAL scale = w ? rstd[r] * w[c] : rstd[r], shift = -scale * mean[r] + (add ? add[c] : 0);
            for (int64_t k = 0; k < b->plane; k++) y[k] = x[k] * scale + shift;
        }
    }
}

static void KERNEL(group_norm_backward)(const batch *b, const void *grad, const void *input, const void *means,
                                        const void *rstds, const void *weight, void *grad_input, void *grad_weight,
                                        void *grad_bias) {
    const REAL *g = grad, *x = input, *mean = means, *rstd = rstds, *w = weight;
    REAL *gx = grad_input, *gw = grad_weight, *gb = grad_bias;
    int64_t each = b->channels / b->groups, n = each * b->plane;
    for (int64_t r = 0; r < b->n * b->groups; r++, g += n, x += n, gx += n) {
        double dot = 0, sum = 0;
        for (int64_t i = 0; i < each; i++) {
            int64_t c = r % b->groups * each + i;
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            double d = 0, s = 0;
            for (int64_t k = 0; k < b->plane; k++) d += (double)gi[k] * xi[k], s += gi[k];
            dot += d * (w ? w[c] : 1), sum += s * (w ? w[c] : 1);
            gw[c] += (REAL)((d - mean[r] * s) * rstd[r]);
            gb[c] += (REAL)s;
        }
        double a = rstd[r], slope = (sum * mean[r] - dot) * a * a * a / (double)n;
        double level = -slope * mean[r] - sum * a / (double)n;
        for (int64_t i = 0; i < each; i++) {
            double scale = a * (w ? w[r % b->groups * each + i] : 1);
            const REAL *gi = g + i * b->plane, *xi = x + i * b->plane;
            for (int64_t k = 0; k < b->plane; k++) gx[i * b->plane + k] = (REAL)(scale * gi[k] + slope * xi[k] + level);
        }
    }
}
