/* Loops of softmax and log_softmax, for one floating type: included by op_softmax.c once with REAL float, once with double.
   A tensor is (outer, n, inner); a row of n values lies at a step of inner. */

static void KERNEL(softmax)(const rows *r, bool log_of, const void *input, void *output) {
    const REAL *from = input;
    REAL *to = output;
    for (int64_t o = 0; o < r->outer; o++, from += r->n * r->inner, to += r->n * r->inner)
        for (int64_t i = 0; i < r->inner; i++) {
            const REAL *x = from + i;
            REAL *y = to + i, most = -(REAL)INFINITY, sum = 0;
            int64_t step = r->inner, end = r->n * step;
            for (int64_t k = 0; k < end; k += step) most = x[k] > most || x[k] != x[k] ? x[k] : most;
            for (int64_t k = 0; k < end; k += step) sum += y[k] = EXP(x[k] - most);
            if (log_of) {
                REAL log_sum = LOG(sum);
                for (int64_t k = 0; k < end; k += step) y[k] = x[k] - most - log_sum;
            } else {
                for (int64_t k = 0; k < end; k += step) y[k] /= sum;
            }
        }
}

/* softmax: (g - sum(g * y)) * y; log_softmax: g - exp(y) * sum(g). */
static void KERNEL(softmax_backward)(const rows *r, bool log_of, const void *grad, const void *output, void *result) {
    const REAL *gs = grad, *ys = output;
    REAL *to = result;
    int64_t step = r->inner, end = r->n * step;
    for (int64_t o = 0; o < r->outer; o++, gs += end, ys += end, to += end)
        for (int64_t i = 0; i < r->inner; i++) {
            const REAL *g = gs + i, *y = ys + i;
            REAL sum = 0;
            for (int64_t k = 0; k < end; k += step) sum += log_of ? g[k] : g[k] * y[k];
            for (int64_t k = 0; k < end; k += step) to[i + k] = log_of ? g[k] - EXP(y[k]) * sum : (g[k] - sum) * y[k];
        }
}
