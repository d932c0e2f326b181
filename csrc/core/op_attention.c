/* Attention in one pass: softmax(query key^T * scale + mask) value, for float32 tensors (batch, heads, length, width).

   The scores of a block of queries stay in the second cache, from their product to the product with the values; of the weights
   nothing is kept but the logarithm of each row's sum, from which the derivative makes them again. */
#include "gemm_impl.h"
#include "iter_impl.h"
#include "k_math_impl.h"
#include "lanes_impl.h"
#include "layout_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { QUERY, KEY, VALUE, DROPOUT, CAUSAL, MASK, SCALE };
enum { BLOCK_NUMBERS = 1 << 16 }; /* scores at a time */

/* A tensor (batch, heads, length, width) whose rows are dense. */
typedef struct rows {
    float *at;
    int64_t batch, head, row; /* steps */
} rows;

typedef struct attention {
    hg_lib *lib;
    int64_t n, heads, length, seen, width; /* batch; queries; keys; of a query */
    int64_t block, n_workers;
    bool causal;
    float scale;
    rows q, k, v, out, mask, grad, gq, gk, gv; /* mask.at NULL: none */
    float *sums;                               /* (n, heads, length): the logarithms */
    float *space;                              /* of each worker: two blocks of scores, and a number for each row */
} attention;

/* ---- Kernels ----------------------------------------------------------------------------------------------------------------- */

enum { SPAN = HG_LANES };

/* The largest of n numbers, n a multiple of SPAN, and of SPAN more. */
HG_INLINE float largest(const bool fused, int64_t n, const float *of, const float *more) {
    float lane[SPAN];
    for (int j = 0; j < SPAN; j++) lane[j] = more[j];
    for (int64_t k = 0; k < n; k += SPAN)
        for (int j = 0; j < SPAN; j++) lane[j] = of[k + j] > lane[j] ? of[k + j] : lane[j];
    return hg_max_lanes_f32(fused, SPAN, lane);
}

/* A row of scores becomes e^(x - most), nothing beyond `n`; *sum is theirs. A row of minus infinities becomes zeros. */
HG_INLINE void weigh_body(const bool fused, int64_t n, int64_t all, float *x, float *shift, float *sum) {
    float lane[SPAN], rest[SPAN];
    const int64_t whole = n / SPAN * SPAN;
    const bool ragged = whole < n;
    for (int j = 0; j < SPAN; j++) rest[j] = -INFINITY;
    if (ragged) memcpy(rest, x + whole, (size_t)(n - whole) * sizeof *x);
    const float most = largest(fused, whole, x, rest), from = most == -INFINITY ? 0 : most;
    for (int j = 0; j < SPAN; j++) lane[j] = 0;
    if (ragged) {
        for (int j = 0; j < SPAN; j++) lane[j] = rest[j] = hg_low_exp(fused, rest[j] - from);
        memcpy(x + whole, rest, (size_t)(n - whole) * sizeof *x);
    }
    for (int64_t k = 0; k < whole; k += SPAN)
        for (int j = 0; j < SPAN; j++) {
            float e = hg_low_exp(fused, x[k + j] - from);
            x[k + j] = e, lane[j] += e;
        }
    if (n < all) memset(x + n, 0, (size_t)(all - n) * sizeof *x);
    *shift = from, *sum = hg_sum_lanes_f32(fused, SPAN, lane);
}
HG_VECTOR(weigh, (int64_t n, int64_t all, float *x, float *shift, float *sum), n, all, x, shift, sum)

/* Rows of n numbers, `row` apart, each times a number of its own. */
HG_INLINE void scale_rows_body(const bool fused, int64_t m, int64_t n, const float *by, float *x, int64_t row) {
    (void)fused;
    for (int64_t r = 0; r < m; r++)
        for (int64_t k = 0; k < n; k++) x[r * row + k] *= by[r];
}
HG_VECTOR(scale_rows, (int64_t m, int64_t n, const float *by, float *x, int64_t row), m, n, by, x, row)

/* Scores x become weights, e^(x - sum), and g, their gradient, that of the scores. d numbers of the output and its gradient
   have their product's sum taken off. */
HG_INLINE void weigh_again_body(const bool fused, int64_t n, int64_t all, float sum, int64_t d, const float *out,
                                const float *grad, float *x, float *g) {
    float lane[SPAN] = {0}, mean = 0;
    int64_t whole = d / SPAN * SPAN;
    for (int64_t k = 0; k < whole; k += SPAN)
        for (int j = 0; j < SPAN; j++) lane[j] += out[k + j] * grad[k + j];
    for (int64_t k = whole; k < d; k++) mean += out[k] * grad[k];
    mean += hg_sum_lanes_f32(fused, SPAN, lane);
    HG_IVDEP
    for (int64_t k = 0; k < n; k++) {
        float e = hg_low_exp(fused, x[k] - sum);
        x[k] = e, g[k] = e * (g[k] - mean);
    }
    memset(x + n, 0, (size_t)(all - n) * sizeof *x);
    memset(g + n, 0, (size_t)(all - n) * sizeof *g);
}
HG_VECTOR(weigh_again,
          (int64_t n, int64_t all, float sum, int64_t d, const float *out, const float *grad, float *x, float *g), n,
          all, sum, d, out, grad, x, g)

static void product(const attention *t, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                    int64_t lda, const float *b, int64_t ldb, const float *add, int64_t add_row, float *c,
                    int64_t ldc) {
    hg_multiply(t->lib,
                &(hg_gemm_args){.d = HG_F32,
                                .ta = ta,
                                .tb = tb,
                                .m = m,
                                .n = n,
                                .k = k,
                                .alpha = alpha,
                                .a = a,
                                .lda = lda,
                                .b = b,
                                .ldb = ldb,
                                .beta = 1,
                                .add = add,
                                .add_row = add_row,
                                .c = c,
                                .ldc = ldc},
                1, 0, 0, 0, 0);
}

static float *head_of(const rows *r, int64_t b, int64_t h) { return r->at ? r->at + b * r->batch + h * r->head : NULL; }

/* The scores of queries [i, i + m). */
static void score(const attention *t, const float *q, const float *k, const float *mask, int64_t i, int64_t m,
                  float *to) {
    product(t, false, true, m, t->seen, t->width, t->scale, q + i * t->q.row, t->q.row, k, t->k.row,
            mask ? mask + i * t->mask.row : NULL, t->mask.row, to, t->seen);
}

/* How many keys query i sees. */
static int64_t seen_by(const attention *t, int64_t i) { return t->causal && i + 1 < t->seen ? i + 1 : t->seen; }

static void attend_head(const attention *t, int64_t b, int64_t h, float *scores) {
    const float *q = head_of(&t->q, b, h), *k = head_of(&t->k, b, h), *v = head_of(&t->v, b, h),
                *mask = head_of(&t->mask, b, h);
    float *out = head_of(&t->out, b, h), *sums = t->sums + (b * t->heads + h) * t->length;
    for (int64_t i = 0; i < t->length; i += t->block) {
        int64_t m = t->length - i < t->block ? t->length - i : t->block;
        float *by = scores + 2 * t->block * t->seen;
        score(t, q, k, mask, i, m, scores);
        for (int64_t r = 0; r < m; r++) weigh(seen_by(t, i + r), t->seen, scores + r * t->seen, sums + i + r, by + r);
        for (int64_t r = 0; r < m; r++) {
            float sum = by[r], log = sums[i + r] + hg_near_log(false, sum); /* it is 1 at least, 0 or a NaN */
            sums[i + r] = sum == 0 ? INFINITY : sum <= FLT_MAX ? log : sum;
            by[r] = sum == 0 ? 0 : 1 / sum;
        }
        product(t, false, false, m, t->width, t->seen, 1, scores, t->seen, v, t->v.row, NULL, 0, out + i * t->out.row,
                t->out.row);
        scale_rows(m, t->width, by, out + i * t->out.row, t->out.row);
    }
}

static void derive_head(const attention *t, int64_t b, int64_t h, float *scores) {
    const float *q = head_of(&t->q, b, h), *k = head_of(&t->k, b, h), *v = head_of(&t->v, b, h),
                *mask = head_of(&t->mask, b, h);
    const float *out = head_of(&t->out, b, h), *g = head_of(&t->grad, b, h),
                *sums = t->sums + (b * t->heads + h) * t->length;
    float *gq = head_of(&t->gq, b, h), *gk = head_of(&t->gk, b, h), *gv = head_of(&t->gv, b, h);
    float *slopes = scores + t->block * t->seen;
    for (int64_t i = 0; i < t->length; i += t->block) {
        int64_t m = t->length - i < t->block ? t->length - i : t->block, s = t->seen, d = t->width;
        const float *gi = g + i * t->grad.row;
        score(t, q, k, mask, i, m, scores);
        product(t, false, true, m, s, d, 1, gi, t->grad.row, v, t->v.row, NULL, 0, slopes, s);
        for (int64_t r = 0; r < m; r++)
            weigh_again(seen_by(t, i + r), s, sums[i + r], d, out + (i + r) * t->out.row, gi + r * t->grad.row,
                        scores + r * s, slopes + r * s);
        product(t, true, false, s, d, m, 1, scores, s, gi, t->grad.row, i ? gv : NULL, t->gv.row, gv, t->gv.row);
        product(t, false, false, m, d, s, t->scale, slopes, s, k, t->k.row, NULL, 0, gq + i * t->gq.row, t->gq.row);
        product(t, true, false, s, d, m, t->scale, slopes, s, q + i * t->q.row, t->q.row, i ? gk : NULL, t->gk.row, gk,
                t->gk.row);
    }
}

static void work(void *arg, int64_t begin, int64_t end) {
    const attention *t = arg;
    for (int64_t w = begin; w < end; w++) {
        float *scores = t->space + w * t->block * (2 * t->seen + 1);
        for (int64_t i = w; i < t->n * t->heads; i += t->n_workers)
            (t->grad.at ? derive_head : attend_head)(t, i / t->heads, i % t->heads, scores);
    }
}

/* ---- The ops ------------------------------------------------------------------------------------------------------------------- */

/* x as rows: as it is where its last dimension is dense, else copied. New in *held. */
static hg_status as_rows(hg_ctx *cx, hg_tensor *x, rows *r, hg_tensor **held) {
    bool dense = x->shape[3] == 1 || x->stride[3] == 1;
    if (dense)
        hg_retain(cx, *held = x);
    else
        HG_TRY(hg_raw_contiguous(cx, x, held));
    const int64_t *stride = (*held)->stride;
    /* one row, or rows of one number, may have any stride: products want at least a row's */
    *r = (rows){(float *)(void *)(*held)->data, stride[0], stride[1],
                stride[2] < x->shape[3] && x->shape[2] == 1 ? x->shape[3] : stride[2]};
    return HG_OK;
}

/* The mask, broadcast to all scores; its last dimension dense. */
static hg_status take_mask(hg_ctx *cx, hg_tensor *mask, attention *t, hg_tensor **held) {
    const int64_t shape[4] = {t->n, t->heads, t->length, t->seen};
    hg_tensor *wide = NULL, *whole = NULL;
    hg_status st = hg_raw_cast(cx, mask, HG_F32, &whole);
    if (st == HG_OK) st = hg_expand_fwd(cx, (hg_arg[]){hg_t(whole), hg_ints(shape, 4)}, &wide);
    if (st == HG_OK) st = as_rows(cx, wide, &t->mask, held);
    if (st == HG_OK) t->mask.row = (*held)->stride[2];
    hg_release(cx, whole), hg_release(cx, wide);
    return st;
}

static hg_status check(hg_ctx *cx, const hg_tensor *q, const hg_tensor *k, const hg_tensor *v) {
    bool fit = q->n_dim == 4 && k->n_dim == 4 && v->n_dim == 4 && q->dtype == HG_F32 && k->dtype == HG_F32 &&
               v->dtype == HG_F32;
    for (int i = 0; fit && i < 4; i++)
        fit = (i == 2 || (q->shape[i] == k->shape[i] && q->shape[i] == v->shape[i])) && k->shape[i] == v->shape[i];
    return fit ? HG_OK
               : hg_fail(
                     cx, HG_STATE,
                     "_scaled_dot_product_flash_attention_for_cpu: expected float32 tensors (batch, heads, length, width) that fit");
}

/* What forward and backward are told alike. held[0..3]: owned from then on. */
static hg_status set_up(hg_ctx *cx, hg_tensor *q, hg_tensor *k, hg_tensor *v, const hg_arg *causal, const hg_arg *mask,
                        const hg_arg *scale, attention *t, hg_tensor **held) {
    HG_TRY(check(cx, q, k, v));
    *t = (attention){.lib = cx->lib,
                     .n = q->shape[0],
                     .heads = q->shape[1],
                     .length = q->shape[2],
                     .seen = k->shape[2],
                     .width = q->shape[3],
                     .causal = causal->u.i,
                     .scale = (float)(hg_given(scale) ? hg_number_f(scale) : 1 / sqrt((double)q->shape[3]))};
    HG_TRY(as_rows(cx, q, &t->q, &held[0]));
    HG_TRY(as_rows(cx, k, &t->k, &held[1]));
    HG_TRY(as_rows(cx, v, &t->v, &held[2]));
    if (hg_given(mask)) HG_TRY(take_mask(cx, mask->u.t, t, &held[3]));
    t->block = t->seen ? BLOCK_NUMBERS / t->seen : 1;
    if (t->block < 16) t->block = 16;
    if (t->block > t->length) t->block = t->length;
    /* Without tiles of our own a product may load BLAS, which is no work for other threads. */
    t->n_workers = hg_has_tiles() && t->n * t->heads > 1 ? hg_get_num_threads() : 1;
    if (t->n_workers > t->n * t->heads) t->n_workers = t->n * t->heads;
    if (t->n * t->heads * t->length * t->seen * t->width < 1 << 19) t->n_workers = 1;
    return HG_OK;
}

static hg_status run(hg_ctx *cx, attention *t) {
    t->space = hg_mem(cx, (size_t)(t->n_workers * t->block * (2 * t->seen + 1)) * sizeof *t->space);
    if (!t->space) return HG_MEMORY;
    if (t->n_workers > 1)
        hg_parallel_for(t->n_workers, 1, work, t);
    else if (t->n_workers == 1)
        work(t, 0, 1);
    hg_mem_free(cx->lib, t->space);
    return HG_OK;
}

hg_status hg_attention_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *q = a[QUERY].u.t, *held[4] = {NULL}, *y = NULL, *sums = NULL;
    attention t;
    hg_status st = set_up(cx, q, a[KEY].u.t, a[VALUE].u.t, &a[CAUSAL], &a[MASK], &a[SCALE], &t, held);
    if (st == HG_OK) st = hg_out_kept(cx, &y, HG_F32, q);
    if (st == HG_OK) st = hg_tensor_empty(cx, HG_F32, 3, q->shape, &sums);
    if (st == HG_OK) {
        t.out = (rows){(float *)(void *)y->data, y->stride[0], y->stride[1], y->stride[2]};
        t.sums = (float *)(void *)sums->data;
        st = run(cx, &t);
    }
    for (int i = 0; i < 4; i++) hg_release(cx, held[i]);
    if (st == HG_OK)
        out[0] = y, out[1] = sums;
    else
        hg_release(cx, y), hg_release(cx, sums);
    return st;
}

/* grad, query, key, value, output, logsumexp, is_causal, attn_mask, scale */
enum { B_GRAD, B_QUERY, B_KEY, B_VALUE, B_OUT, B_SUMS, B_CAUSAL, B_MASK, B_SCALE };

hg_status hg_attention_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *got[3] = {NULL};
    if (!G) return HG_OK;
    hg_arg a[] = {T(G),      T(IN(QUERY)), T(IN(KEY)),     T(IN(VALUE)), T(OUT(0)),
                  T(OUT(1)), *ARG(CAUSAL), hg_t(IN(MASK)), *ARG(SCALE)};
    if (!hg_scope_ok(cx)) return HG_OK;
    hg_scope_fail(cx, hg_call_op(cx, HG_OP_ATTENTION_BACKWARD, a, 9, got));
    for (int i = 0; i < 3; i++) {
        if (got[i] && NEED(i)) GIVE(i, got[i]);
        hg_release(cx, got[i]);
    }
    return HG_OK;
}

hg_status hg_attention_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *q = a[B_QUERY].u.t, *k = a[B_KEY].u.t, *v = a[B_VALUE].u.t, *held[7] = {NULL}, *made[3] = {NULL};
    attention t;
    hg_status st = set_up(cx, q, k, v, &a[B_CAUSAL], &a[B_MASK], &a[B_SCALE], &t, held);
    if (st == HG_OK) st = as_rows(cx, a[B_GRAD].u.t, &t.grad, &held[4]);
    if (st == HG_OK) st = as_rows(cx, a[B_OUT].u.t, &t.out, &held[5]);
    if (st == HG_OK) st = hg_raw_contiguous(cx, a[B_SUMS].u.t, &held[6]);
    hg_tensor *const like[3] = {q, k, v};
    rows *const to[3] = {&t.gq, &t.gk, &t.gv};
    for (int i = 0; i < 3 && st == HG_OK; i++) {
        st = hg_out_kept(cx, &made[i], HG_F32, like[i]);
        if (st == HG_OK)
            *to[i] = (rows){(float *)(void *)made[i]->data, made[i]->stride[0], made[i]->stride[1], made[i]->stride[2]};
    }
    if (st == HG_OK) {
        t.sums = (float *)(void *)held[6]->data;
        st = run(cx, &t);
    }
    for (int i = 0; i < 7; i++) hg_release(cx, held[i]);
    for (int i = 0; i < 3; i++)
        if (st == HG_OK)
            out[i] = made[i];
        else
            hg_release(cx, made[i]);
    return st;
}

/* Attention again, in ops that can be derived twice. */
static hg_tensor *formula(hg_ctx *cx, hg_back *b, hg_tensor *const *in) {
    const hg_arg *scale = ARG(B_SCALE);
    hg_tensor *q = in[0], *k = in[1], *mask = IN(B_MASK);
    if (!q || !k) return NULL;
    double by = hg_given(scale) ? hg_number_f(scale) : 1 / sqrt((double)q->shape[3]);
    hg_tensor *x = X(MUL, T(X(MATMUL, T(q), T(X(TRANSPOSE, T(k), hg_i(-2), hg_i(-1))))), hg_f(by));
    if (mask) x = X(ADD, T(x), T(mask));
    if (ARG(B_CAUSAL)->u.i) {
        hg_tensor *all = X(FULL, hg_ints((int64_t[]){q->shape[2], k->shape[2]}, 2), hg_f(-INFINITY));
        x = X(ADD, T(x), T(X(TRIU, T(all), hg_i(1))));
    }
    return X(MATMUL, T(X(SOFTMAX_DATA, T(x), hg_i(-1))), T(in[2]));
}

hg_status hg_attention_backward_bwd(hg_ctx *cx, hg_back *b) {
    static const int params[] = {B_QUERY, B_KEY, B_VALUE};
    return hg_derive(cx, b, 3, params, formula);
}
