/* Loops of pooling, for one floating type: included by op_pool.c once with REAL float, once with double. */

/* Every place of a plane that an output position sees, as `at`. */
#define EACH_SEEN(w, at)                                                                                               \
    for (int64_t z = w.slabs.from; z < w.slabs.to; z += p->z.dilation)                                                 \
        for (int64_t y = w.rows.from; y < w.rows.to; y += p->y.dilation)                                               \
            for (int64_t at = (z * p->y.in + y) * p->x.in + w.cols.from, end_ = at - w.cols.from + w.cols.to;          \
                 at < end_; at += p->x.dilation)

/* The largest of each window and its place in the plane; NaN counts as larger than anything. */
static void KERNEL(max_pool)(const pool *p, const void *input, void *output, int64_t *index) {
    const REAL *x = input;
    REAL *to = output;
    for (int64_t c = 0; c < p->planes; c++, x += plane_in(p))
        for (window w = window_first(p); !w.done; window_next(p, &w)) {
            int64_t which = (w.slabs.from * p->y.in + w.rows.from) * p->x.in + w.cols.from;
            REAL most = -(REAL)INFINITY;
            EACH_SEEN(w, at) {
                if (x[at] > most || x[at] != x[at]) most = x[at], which = at;
            }
            *to++ = most, *index++ = which;
        }
}

/* Each gradient is added where its maximum was. */
static void KERNEL(max_unpool)(const pool *p, const void *grad, const int64_t *index, void *image) {
    const REAL *g = grad;
    REAL *to = image;
    int64_t n = p->z.out * p->y.out * p->x.out;
    for (int64_t c = 0; c < p->planes; c++, to += plane_in(p), g += n, index += n)
        for (int64_t i = 0; i < n; i++) to[index[i]] += g[i];
}

static void KERNEL(avg_pool)(const pool *p, const void *input, void *output) {
    const REAL *x = input;
    REAL *to = output;
    for (int64_t c = 0; c < p->planes; c++, x += plane_in(p))
        for (window w = window_first(p); !w.done; window_next(p, &w)) {
            REAL sum = 0;
            EACH_SEEN(w, at) sum += x[at];
            bool sees = w.slabs.from < w.slabs.to && w.rows.from < w.rows.to && w.cols.from < w.cols.to;
            *to++ = sees ? sum / (REAL)divisor(p, &w) : 0;
        }
}

static void KERNEL(avg_unpool)(const pool *p, const void *grad, void *image) {
    const REAL *g = grad;
    REAL *to = image;
    for (int64_t c = 0; c < p->planes; c++, to += plane_in(p))
        for (window w = window_first(p); !w.done; window_next(p, &w)) {
            REAL share = *g++ / (REAL)divisor(p, &w);
            EACH_SEEN(w, at) to[at] += share;
        }
}

#undef EACH_SEEN
