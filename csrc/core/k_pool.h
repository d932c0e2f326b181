/* Loops of pooling, for one floating type: included by op_pool.c once with REAL float, once with double. */

/* Every place of a plane that an output position sees, as `at`. */
#define EACH_SEEN(w, at)                                                                                               \
    for (int64_t z = w.slabs.from; z < w.slabs.to; z += p->z.dilation)                                                 \
        for (int64_t y = w.rows.from; y < w.rows.to; y += p->y.dilation)                                               \
            for (int64_t at = (z * p->y.in + y) * p->x.in + w.cols.from, end_ = at - w.cols.from + w.cols.to;          \
                 at < end_; at += p->x.dilation)

/* A tap of n windows side by side, whose places are `stride` apart and whose values `step`: larger than what they have seen, or
   NaN? */
HG_INLINE void KERNEL(see)(int64_t n, const int64_t step, int32_t stride, const REAL *restrict from, int32_t at,
                           REAL *restrict most, int32_t *restrict which) {
    for (int64_t i = 0; i < n; i++) {
        REAL v = from[i * step];
        bool takes = (v > most[i]) | (v != v);
        most[i] = takes ? v : most[i], which[i] = takes ? at + (int32_t)i * stride : which[i];
    }
}

/* The even numbers of n, and from LINE / 2 on the odd ones: compilers read every second number one by one. */
HG_INLINE const REAL *KERNEL(split)(int64_t n, const REAL *restrict from, REAL *restrict to) {
    for (int64_t i = 0; i < n / 2; i++) to[i] = from[2 * i], to[LINE / 2 + i] = from[2 * i + 1];
    if (n % 2) to[n / 2] = from[n - 1];
    return to;
}

/* Windows that slide, up to MANY side by side, tap by tap: from the input's row, or where there are not as many windows as a vector
   has room for, or they reach beyond it, from a copy of it with a margin. */
HG_INLINE void KERNEL_BODY(max_slide)(const bool fused, const pool *p, const REAL *x, REAL *to, int64_t *index) {
    REAL most[MANY], line[LINE], halves[LINE];
    int32_t which[MANY];
    const int32_t stride = (int32_t)p->x.stride;
    (void)fused;
    for (int64_t oz = 0; oz < p->z.out; oz++)
        for (int64_t oy = 0; oy < p->y.out; oy++)
            for (int64_t x0 = 0; x0 < p->x.out; x0 += MANY) {
                span slabs = span_at(&p->z, oz), rows = span_at(&p->y, oy);
                const int64_t n = p->x.out - x0 < MANY ? p->x.out - x0 : MANY, whole = (n + 15) / 16 * 16;
                /* line[i] is the row's number start + i */
                const int64_t start = x0 * p->x.stride - p->x.padding, skip = start < 0 ? -start : 0;
                const int64_t size = (whole - 1) * p->x.stride + (p->x.kernel - 1) * p->x.dilation + 1;
                const int32_t first = (int32_t)((slabs.from * p->y.in + rows.from) * p->x.in);
                const bool inside = start >= 0 && start + size <= p->x.in;
                int64_t stop = p->x.in - start < size ? p->x.in - start : size;
                if (stop < skip) stop = skip;
                for (int64_t i = 0; i < skip; i++) line[i] = -(REAL)INFINITY;
                for (int64_t i = stop; i < size; i++) line[i] = -(REAL)INFINITY;
                for (int64_t i = 0; i < whole; i++) most[i] = -(REAL)INFINITY;
                for (int64_t i = 0; inside && i < whole; i++) which[i] = first + (int32_t)start + (int32_t)i * stride;
                for (int64_t i = 0; !inside && i < whole; i++) which[i] = first + (int32_t)span_at(&p->x, x0 + i).from;
                for (int64_t z = slabs.from; z < slabs.to; z += p->z.dilation)
                    for (int64_t y = rows.from; y < rows.to; y += p->y.dilation) {
                        const int64_t at = (z * p->y.in + y) * p->x.in + start;
                        const REAL *from = inside ? x + at : line;
                        if (!inside) memcpy(line + skip, x + at + skip, (size_t)(stop - skip) * sizeof *line);
                        if (stride == 2) from = KERNEL(split)(size, from, halves);
                        for (int64_t k = 0; k < p->x.kernel; k++) {
                            const int64_t tap = k * p->x.dilation;
                            const int32_t place = (int32_t)(at + tap);
                            if (stride <= 2) KERNEL(see)
                            (whole, 1, stride, from + (stride == 2 ? tap % 2 * (LINE / 2) + tap / 2 : tap), place, most,
                             which);
                            else KERNEL(see)(whole, stride, stride, from + tap, place, most, which);
                        }
                    }
                /* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): the first n of `whole` */
                for (int64_t i = 0; i < n; i++) to[i] = most[i], index[i] = which[i];
                to += n, index += n;
            }
}
KERNEL_VERSIONS(max_slide, (const pool *p, const REAL *x, REAL *to, int64_t *index), p, x, to, index)

/* The same for windows of any kind; NaN counts as larger than anything. */
static void KERNEL(max_windows)(const pool *p, const REAL *x, REAL *to, int64_t *index) {
    for (window w = window_first(p); !w.done; window_next(p, &w)) {
        int64_t which = (w.slabs.from * p->y.in + w.rows.from) * p->x.in + w.cols.from;
        REAL most = -(REAL)INFINITY;
        EACH_SEEN(w, at) {
            if (x[at] > most || x[at] != x[at]) most = x[at], which = at;
        }
        *to++ = most, *index++ = which;
    }
}

/* The same for channels side by side. */
HG_INLINE void KERNEL_BODY(max_beside)(const bool fused, const pool *p, const REAL *x, REAL *to, int64_t *index) {
    REAL most[MANY];
    int32_t which[MANY];
    (void)fused;
    for (window w = window_first(p); !w.done; window_next(p, &w))
        for (int64_t c = 0, n; c < p->beside; c += n, to += n, index += n) {
            const int64_t first = (w.slabs.from * p->y.in + w.rows.from) * p->x.in + w.cols.from;
            n = p->beside - c < MANY ? p->beside - c : MANY;
            for (int64_t i = 0; i < n; i++) most[i] = -(REAL)INFINITY, which[i] = (int32_t)first;
            EACH_SEEN(w, at) KERNEL(see)(n, 1, 0, x + at * p->beside + c, (int32_t)at, most, which);
            for (int64_t i = 0; i < n; i++) to[i] = most[i], index[i] = which[i];
        }
}
KERNEL_FEW(max_beside, (const pool *p, const REAL *x, REAL *to, int64_t *index), p, x, to, index)

/* The largest of each window and its place in the plane. */
static void KERNEL(max_pool)(const pool *p, const void *input, void *output, int64_t *index, int64_t from,
                             int64_t end) {
    const int64_t in = numbers_in(p), out = numbers_out(p);
    const bool slides = !p->x.adaptive && plane_in(p) <= INT32_MAX &&
                        (MANY - 1) * p->x.stride + (p->x.kernel - 1) * p->x.dilation < LINE;
    for (int64_t c = from; c < end; c++)
        (p->beside > 1 ? KERNEL(max_beside)
         : slides      ? KERNEL(max_slide)
                  : KERNEL(max_windows))(p, (const REAL *)input + c * in, (REAL *)output + c * out, index + c * out);
}

/* Each gradient of some planes is added where its maximum was. False where an index is outside of its plane. */
static bool KERNEL(max_unpool)(const pool *p, const void *grad, const int64_t *index, void *image, int64_t from,
                               int64_t end) {
    const int64_t in = numbers_in(p), out = numbers_out(p), side = p->beside;
    const REAL *g = (const REAL *)grad + from * out;
    REAL *to = (REAL *)image + from * in;
    memset(to, 0, (size_t)((end - from) * in) * sizeof *to);
    index += from * out;
    for (int64_t c = from; c < end; c++, to += in)
        for (int64_t i = 0; i < out; i += side)
            for (int64_t k = 0; k < side; k++, g++, index++) {
                if ((uint64_t)*index >= (uint64_t)plane_in(p)) return false;
                to[*index * side + k] += *g;
            }
    return true;
}

/* A row of means: windows side by side, all of them whole, see r->rows rows from `from` on. */
HG_INLINE void KERNEL(add_rows)(const int64_t stride, const even *r, const REAL *restrict from, REAL *restrict to) {
    for (int64_t y = 0; y < r->rows; y++, from += r->row)
        for (int64_t k = 0; k < r->kernel; k++)
            for (int64_t i = 0; i < r->n; i++) to[i] += from[i * stride + k];
}

HG_INLINE void KERNEL(mean_row)(const even *r, const REAL *restrict from, REAL *restrict to) {
    if (r->stride == 2 && r->kernel == 2 && r->rows == 2) {
        const REAL *below = from + r->row;
        for (int64_t i = 0; i < r->n; i++)
            to[i] = (((from[2 * i] + from[2 * i + 1]) + below[2 * i]) + below[2 * i + 1]) / (REAL)r->divisor;
        return;
    }
    for (int64_t i = 0; i < r->n; i++) to[i] = 0;
    if (r->stride == 1)
        KERNEL(add_rows)(1, r, from, to);
    else if (r->stride == 2)
        KERNEL(add_rows)(2, r, from, to);
    else
        KERNEL(add_rows)(r->stride, r, from, to);
    for (int64_t i = 0; i < r->n; i++) to[i] /= (REAL)r->divisor;
}

/* The other way: a row of gradients is shared among what its windows saw. */
HG_INLINE void KERNEL(share_row)(const even *r, const REAL *restrict from, REAL *restrict to) {
    for (int64_t y = 0; y < r->rows; y++, to += r->row)
        if (r->kernel == 2 && r->stride == 2)
            for (int64_t i = 0; i < r->n; i++) {
                const REAL share = from[i] / (REAL)r->divisor;
                to[2 * i] += share, to[2 * i + 1] += share;
            }
        else
            for (int64_t k = 0; k < r->kernel; k++)
                for (int64_t i = 0; i < r->n; i++) to[i * r->stride + k] += from[i] / (REAL)r->divisor;
}

/* Rows of a plane: of means, or where `shares` of what becomes of gradients. */
HG_INLINE void KERNEL_BODY(even_plane)(const bool fused, const pool *p, bool shares, const REAL *from, REAL *to) {
    (void)fused;
    for (int64_t y = 0; y < p->y.out; y++) {
        const even r = even_row(p, y);
        if (shares)
            KERNEL(share_row)(&r, from + y * p->x.out, to + r.first * p->x.in);
        else
            KERNEL(mean_row)(&r, from + r.first * p->x.in, to + y * p->x.out);
    }
}
KERNEL_VERSIONS(even_plane, (const pool *p, bool shares, const REAL *from, REAL *to), p, shares, from, to)

/* The same for windows of any kind. */
static void KERNEL(mean_windows)(const pool *p, bool shares, const REAL *from, REAL *to) {
    for (window w = window_first(p); !w.done; window_next(p, &w))
        if (shares) {
            REAL share = *from++ / (REAL)divisor(p, &w);
            EACH_SEEN(w, at) to[at] += share;
        } else {
            REAL sum = 0;
            EACH_SEEN(w, at) sum += from[at];
            *to++ = sees_any(&w) ? sum / (REAL)divisor(p, &w) : 0;
        }
}

/* The same for channels side by side. */
HG_INLINE void KERNEL_BODY(mean_beside)(const bool fused, const pool *p, bool shares, const REAL *restrict from,
                                        REAL *restrict to) {
    const int64_t n = p->beside;
    (void)fused;
    for (window w = window_first(p); !w.done; window_next(p, &w)) {
        const REAL by = (REAL)divisor(p, &w);
        if (shares) {
            EACH_SEEN(w, at) for (int64_t i = 0; i < n; i++) to[at * n + i] += from[i] / by;
            from += n;
        } else {
            for (int64_t i = 0; i < n; i++) to[i] = 0;
            EACH_SEEN(w, at) for (int64_t i = 0; i < n; i++) to[i] += from[at * n + i];
            for (int64_t i = 0; sees_any(&w) && i < n; i++) to[i] /= by;
            to += n;
        }
    }
}
KERNEL_FEW(mean_beside, (const pool *p, bool shares, const REAL *from, REAL *to), p, shares, from, to)

static void KERNEL(mean_planes)(const pool *p, bool shares, const void *from, void *to, int64_t first, int64_t end) {
    const int64_t in = numbers_in(p), out = numbers_out(p), to_step = shares ? in : out, from_step = shares ? out : in;
    if (shares) memset((REAL *)to + first * in, 0, (size_t)((end - first) * in) * sizeof(REAL));
    for (int64_t c = first; c < end; c++)
        (p->beside > 1 ? KERNEL(mean_beside)
         : is_even(p)  ? KERNEL(even_plane)
                       : KERNEL(mean_windows))(p, shares, (const REAL *)from + c * from_step, (REAL *)to + c * to_step);
}

#undef EACH_SEEN
