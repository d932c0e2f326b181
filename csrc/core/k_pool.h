/* Loops of pooling, for one floating type: included by op_pool.c once with REAL float, once with double. */

/* The largest of each window and its place in the plane; NaN counts as larger than anything. */
static void KERNEL(max_pool)(const pool *p, const void *input, void *output, int64_t *index) {
    const REAL *x = input;
    REAL *to = output;
    for (int64_t c = 0; c < p->planes; c++, x += p->y.in * p->x.in)
        for (int64_t i = 0; i < p->y.out; i++) {
            span rows = span_at(&p->y, i);
            for (int64_t j = 0; j < p->x.out; j++) {
                span cols = span_at(&p->x, j);
                int64_t at = rows.from * p->x.in + cols.from;
                REAL most = -(REAL)INFINITY;
                for (int64_t y = rows.from; y < rows.to; y += p->y.dilation)
                    for (int64_t k = cols.from; k < cols.to; k += p->x.dilation) {
                        REAL v = x[y * p->x.in + k];
                        if (v > most || v != v) most = v, at = y * p->x.in + k;
                    }
                *to++ = most, *index++ = at;
            }
        }
}

/* Each gradient is added where its maximum was. */
static void KERNEL(max_unpool)(const pool *p, const void *grad, const int64_t *index, void *image) {
    const REAL *g = grad;
    REAL *to = image;
    int64_t n = p->y.out * p->x.out;
    for (int64_t c = 0; c < p->planes; c++, to += p->y.in * p->x.in, g += n, index += n)
        for (int64_t i = 0; i < n; i++) to[index[i]] += g[i];
}

static void KERNEL(avg_pool)(const pool *p, const void *input, void *output) {
    const REAL *x = input;
    REAL *to = output;
    for (int64_t c = 0; c < p->planes; c++, x += p->y.in * p->x.in)
        for (int64_t i = 0; i < p->y.out; i++) {
            span rows = span_at(&p->y, i);
            for (int64_t j = 0; j < p->x.out; j++) {
                span cols = span_at(&p->x, j);
                REAL sum = 0;
                for (int64_t y = rows.from; y < rows.to; y++)
                    for (int64_t k = cols.from; k < cols.to; k++) sum += x[y * p->x.in + k];
                *to++ = rows.from < rows.to && cols.from < cols.to ? sum / (REAL)divisor(p, rows, cols) : 0;
            }
        }
}

static void KERNEL(avg_unpool)(const pool *p, const void *grad, void *image) {
    const REAL *g = grad;
    REAL *to = image;
    for (int64_t c = 0; c < p->planes; c++, to += p->y.in * p->x.in)
        for (int64_t i = 0; i < p->y.out; i++) {
            span rows = span_at(&p->y, i);
            for (int64_t j = 0; j < p->x.out; j++) {
                span cols = span_at(&p->x, j);
                REAL share = *g++ / (REAL)divisor(p, rows, cols);
                for (int64_t y = rows.from; y < rows.to; y++)
                    for (int64_t k = cols.from; k < cols.to; k++) to[y * p->x.in + k] += share;
            }
        }
}
