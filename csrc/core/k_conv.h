/* Loops of convolution, for one floating type: included by op_conv.c once with REAL float, once with double. */

/* The columns that output rows [r0, r1) see, rows being counted through all planes of the output:
   col[(c, k, i, j)][(r, x)] = image[c][z][y][x*sw - pw + j*dw], with z and y of row r and of k and i, zero outside of the image. */
static void KERNEL(im2col)(const shape *s, const void *image, int64_t r0, int64_t r1, void *columns) {
    const REAL *from = image;
    REAL *to = columns;
    for (int64_t c = 0; c < s->in_channels; c++, from += s->d * s->h * s->w)
        for (int64_t k = 0; k < s->kd; k++)
            for (int64_t i = 0; i < s->kh; i++)
                for (int64_t j = 0; j < s->kw; j++) {
                    int64_t lo, hi, at, shift = j * s->dw - s->pw;
                    inside(s->w, s->ow, s->sw, shift, &lo, &hi);
                    for (int64_t r = r0; r < r1; r++, to += s->ow) {
                        if (lo >= hi || !row_at(s, r, k, i, &at)) {
                            memset(to, 0, (size_t)s->ow * sizeof *to);
                            continue;
                        }
                        const REAL *row = from + at + shift;
                        for (int64_t x = 0; x < lo; x++) to[x] = 0;
                        if (s->sw == 1)
                            memcpy(to + lo, row + lo, (size_t)(hi - lo) * sizeof *to);
                        else
                            for (int64_t x = lo; x < hi; x++) to[x] = row[x * s->sw];
                        for (int64_t x = hi; x < s->ow; x++) to[x] = 0;
                    }
                }
}

/* The other way: every column's value is added to the element it came from. */
static void KERNEL(col2im)(const shape *s, const void *columns, int64_t r0, int64_t r1, void *image) {
    const REAL *from = columns;
    REAL *to = image;
    for (int64_t c = 0; c < s->in_channels; c++, to += s->d * s->h * s->w)
        for (int64_t k = 0; k < s->kd; k++)
            for (int64_t i = 0; i < s->kh; i++)
                for (int64_t j = 0; j < s->kw; j++) {
                    int64_t lo, hi, at, shift = j * s->dw - s->pw;
                    inside(s->w, s->ow, s->sw, shift, &lo, &hi);
                    for (int64_t r = r0; r < r1; r++, from += s->ow) {
                        if (!row_at(s, r, k, i, &at)) continue;
                        REAL *row = to + at + shift;
                        if (s->sw == 1)
                            for (int64_t x = lo; x < hi; x++) row[x] += from[x];
                        else
                            for (int64_t x = lo; x < hi; x++) row[x * s->sw] += from[x];
                    }
                }
}

/* Every channel starts out as its bias. */
static void KERNEL(spread_bias)(int64_t channels, int64_t n, const void *bias, void *image) {
    const REAL *b = bias;
    REAL *to = image;
    for (int64_t c = 0; c < channels; c++, to += n)
        for (int64_t x = 0; x < n; x++) to[x] = b[c];
}

static void KERNEL(add_bias)(int64_t channels, int64_t n, const void *bias, void *image) {
    const REAL *b = bias;
    REAL *to = image;
    for (int64_t c = 0; c < channels; c++, to += n)
        for (int64_t x = 0; x < n; x++) to[x] += b[c];
}
