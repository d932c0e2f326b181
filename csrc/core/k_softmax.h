/* Loops of softmax and log_softmax, for one floating type: included by op_softmax.c once with REAL float, once with double.
   A tensor is (outer, n, inner). Up to WIDE neighbours along inner go side by side: each has its row of n values, and what
   one step does to all of them is a vector operation. With inner 1 the rows are contiguous, and the vectors run along them. */

HG_CLONES static void KERNEL(softmax_row)(int64_t n, bool log_of, const REAL *x, REAL *y) {
    REAL lane[WIDE], most = -(REAL)INFINITY, sum = 0;
    int64_t whole = n / WIDE * WIDE;
    for (int j = 0; j < WIDE; j++) lane[j] = most;
    for (int64_t k = 0; k < whole; k += WIDE)
        for (int j = 0; j < WIDE; j++) lane[j] = x[k + j] > lane[j] ? x[k + j] : lane[j];
    for (int j = 0; j < WIDE; j++) most = lane[j] > most ? lane[j] : most; /* a NaN shows in the sum */
    for (int64_t k = whole; k < n; k++) most = x[k] > most ? x[k] : most;
    for (int64_t k = 0; k < n; k++) y[k] = EXP(x[k] - most);
    for (int j = 0; j < WIDE; j++) lane[j] = 0;
    for (int64_t k = 0; k < whole; k += WIDE)
        for (int j = 0; j < WIDE; j++) lane[j] += y[k + j];
    for (int j = 0; j < WIDE; j++) sum += lane[j];
    for (int64_t k = whole; k < n; k++) sum += y[k];
    REAL log_sum = log_of ? LOG(sum) : 0;
    if (log_of)
        for (int64_t k = 0; k < n; k++) y[k] = x[k] - most - log_sum;
    else
        for (int64_t k = 0; k < n; k++) y[k] /= sum;
}

/* `wide` rows side by side, at a step of `step` from one value of a row to the next. */
HG_CLONES static void KERNEL(softmax_side)(int64_t n, int64_t step, int wide, bool log_of, const REAL *x, REAL *y) {
    REAL most[WIDE], sum[WIDE];
    for (int j = 0; j < wide; j++) most[j] = -(REAL)INFINITY, sum[j] = 0;
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) most[j] = x[k + j] > most[j] ? x[k + j] : most[j];
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) sum[j] += y[k + j] = EXP(x[k + j] - most[j]);
    for (int j = 0; j < wide && log_of; j++) sum[j] = LOG(sum[j]);
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) y[k + j] = log_of ? x[k + j] - most[j] - sum[j] : y[k + j] / sum[j];
}

static void KERNEL(softmax)(const rows *r, bool log_of, const void *input, void *output) {
    const REAL *x = input;
    REAL *y = output;
    int64_t plane = r->n * r->inner;
    for (int64_t o = 0; o < r->outer; o++, x += plane, y += plane) {
        if (r->inner == 1)
            KERNEL(softmax_row)(r->n, log_of, x, y);
        else
            for (int64_t i = 0; i < r->inner; i += WIDE) KERNEL(softmax_side)
        (r->n, r->inner, (int)(r->inner - i < WIDE ? r->inner - i : WIDE), log_of, x + i, y + i);
    }
}

/* softmax: (g - sum(g * y)) * y; log_softmax: g - exp(y) * sum(g). */
HG_CLONES static void KERNEL(backward_row)(int64_t n, bool log_of, const REAL *g, const REAL *y, REAL *to) {
    REAL lane[WIDE] = {0}, sum = 0;
    int64_t whole = n / WIDE * WIDE;
    if (log_of)
        for (int64_t k = 0; k < whole; k += WIDE)
            for (int j = 0; j < WIDE; j++) lane[j] += g[k + j];
    else
        for (int64_t k = 0; k < whole; k += WIDE)
            for (int j = 0; j < WIDE; j++) lane[j] += g[k + j] * y[k + j];
    for (int j = 0; j < WIDE; j++) sum += lane[j];
    for (int64_t k = whole; k < n; k++) sum += log_of ? g[k] : g[k] * y[k];
    if (log_of)
        for (int64_t k = 0; k < n; k++) to[k] = g[k] - EXP(y[k]) * sum;
    else
        for (int64_t k = 0; k < n; k++) to[k] = (g[k] - sum) * y[k];
}

HG_CLONES static void KERNEL(backward_side)(int64_t n, int64_t step, int wide, bool log_of, const REAL *g,
                                            const REAL *y, REAL *to) {
    REAL sum[WIDE] = {0};
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++) sum[j] += log_of ? g[k + j] : g[k + j] * y[k + j];
    for (int64_t k = 0; k < n * step; k += step)
        for (int j = 0; j < wide; j++)
            to[k + j] = log_of ? g[k + j] - EXP(y[k + j]) * sum[j] : (g[k + j] - sum[j]) * y[k + j];
}

static void KERNEL(softmax_backward)(const rows *r, bool log_of, const void *grad, const void *output, void *result) {
    const REAL *g = grad, *y = output;
    REAL *to = result;
    int64_t plane = r->n * r->inner;
    for (int64_t o = 0; o < r->outer; o++, g += plane, y += plane, to += plane) {
        if (r->inner == 1)
            KERNEL(backward_row)(r->n, log_of, g, y, to);
        else
            for (int64_t i = 0; i < r->inner; i += WIDE) KERNEL(backward_side)
        (r->n, r->inner, (int)(r->inner - i < WIDE ? r->inner - i : WIDE), log_of, g + i, y + i, to + i);
    }
}
