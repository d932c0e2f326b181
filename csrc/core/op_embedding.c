/* Rows of a table, picked by number. */
#include "cpu_impl.h"
#include "iter_impl.h"
#include "nn_impl.h"
#include "pool_impl.h"

#include <math.h>
#include <string.h>

enum { WEIGHT, INDICES, PADDING_IDX, SCALE };

static hg_status check_indices(hg_ctx *cx, const hg_tensor *indices) {
    if (indices->dtype == HG_I64 || indices->dtype == HG_I32) return HG_OK;
    return hg_fail(
        cx, HG_STATE,
        "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but "
        "got torch.%s instead (while checking arguments for embedding)",
        hg_dtypes[indices->dtype].tensor_name);
}

/* The indices as contiguous int64, each in [0, n): new. */
static hg_status take_indices(hg_ctx *cx, hg_tensor *indices, int64_t n, hg_tensor **out) {
    hg_tensor *t;
    HG_TRY(check_indices(cx, indices));
    HG_TRY(hg_real(cx, indices, HG_I64, &t));
    const int64_t *at = (const int64_t *)(const void *)t->data;
    for (int64_t i = 0; i < t->numel; i++)
        if (at[i] < 0 || at[i] >= n) {
            hg_release(cx, t);
            return hg_fail(cx, HG_INDEX, "index out of range in self");
        }
    *out = t;
    return HG_OK;
}

typedef struct picking {
    const int64_t *row;
    size_t size;  /* of a row, in bytes */
    int64_t step; /* from row to row of the table */
    const char *table;
    char *to;
} picking;

static void pick_rows(void *arg, int64_t begin, int64_t end) {
    const picking *p = arg;
    for (int64_t i = begin; i < end; i++) memcpy(p->to + (size_t)i * p->size, p->table + p->row[i] * p->step, p->size);
}

/* weight, indices, padding_idx, scale_grad_by_freq, sparse */
hg_status hg_embedding_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *w = a[WEIGHT].u.t, *indices = a[INDICES].u.t, *at = NULL, *rows = NULL;
    int64_t shape[HG_MAX_DIM + 1];
    if (w->n_dim != 2) return hg_fail(cx, HG_STATE, "'weight' must be 2-D");
    if (indices->n_dim >= HG_MAX_DIM) return hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM);
    memcpy(shape, indices->shape, indices->n_dim * sizeof *shape);
    shape[indices->n_dim] = w->shape[1];
    HG_TRY(take_indices(cx, indices, w->shape[0], &at));
    hg_status st = HG_OK;
    if (w->stride[1] == 1)
        hg_retain(cx, rows = w);
    else
        st = hg_raw_contiguous(cx, w, &rows);
    if (st == HG_OK) st = hg_out(cx, out, (hg_dtype)w->dtype, indices->n_dim + 1, shape);
    if (st == HG_OK) {
        const size_t size = hg_dtypes[w->dtype].size;
        picking p = {(const int64_t *)(const void *)at->data, (size_t)w->shape[1] * size,
                     rows->stride[0] * (int64_t)size, rows->data, (*out)->data};
        hg_work(cx, at->numel, 1 + HG_GRAIN / (1 + w->shape[1]), pick_rows, &p);
    }
    hg_release(cx, at), hg_release(cx, rows);
    return st;
}

hg_status hg_embedding_bwd(hg_ctx *cx, hg_back *b) {
    hg_arg n = hg_i(META(WEIGHT).shape[0]);
    GIVE(WEIGHT, X(EMBEDDING_BACKWARD, T(G), T(IN(INDICES)), n, *ARG(PADDING_IDX), *ARG(SCALE)));
    return HG_OK;
}

/* The table is divided by rows: each thread adds up what belongs to its own, in the order of the indices. */
typedef struct adding {
    const int64_t *row;
    int64_t n, width, skip;
    const double *scale; /* may be NULL */
    const void *grad;
    void *table;
} adding;

#define ADD_ROWS(name, REAL)                                                                                           \
    HG_INLINE void name##_body(const bool fused, void *arg, int64_t begin, int64_t end) {                              \
        (void)fused;                                                                                                   \
        const adding *a = arg;                                                                                         \
        const REAL *g = a->grad;                                                                                       \
        memset((REAL *)a->table + begin * a->width, 0, (size_t)((end - begin) * a->width) * sizeof *g);                \
        for (int64_t i = 0; i < a->n; i++, g += a->width) {                                                            \
            int64_t row = a->row[i];                                                                                   \
            if (row < begin || row >= end || row == a->skip) continue;                                                 \
            REAL *to = (REAL *)a->table + row * a->width, by = a->scale ? (REAL)a->scale[row] : 1;                     \
            HG_IVDEP for (int64_t k = 0; k < a->width; k++) to[k] += g[k] * by;                                        \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_OF(REAL, name, (void *arg, int64_t begin, int64_t end), arg, begin, end)
ADD_ROWS(add_rows_f32, float)
ADD_ROWS(add_rows_f64, double)
#undef ADD_ROWS

/* One over how often each row is picked: from hg_mem. */
static double *frequencies(hg_ctx *cx, const int64_t *row, int64_t n, int64_t n_rows) {
    double *scale = hg_mem(cx, (size_t)n_rows * sizeof *scale);
    if (!scale) return NULL;
    memset(scale, 0, (size_t)n_rows * sizeof *scale);
    for (int64_t i = 0; i < n; i++) scale[row[i]]++;
    for (int64_t i = 0; i < n_rows; i++) scale[i] = scale[i] ? 1 / scale[i] : 1;
    return scale;
}

/* grad_output, indices, num_weights, padding_idx, scale_grad_by_freq */
hg_status hg_embedding_backward_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *g = a[0].u.t, *at = NULL, *rg = NULL, *table = NULL;
    int64_t shape[2] = {a[2].u.i, g->shape[g->n_dim - 1]};
    hg_dtype d = hg_real_dtype((hg_dtype)g->dtype);
    double *scale = NULL;
    HG_TRY(take_indices(cx, a[1].u.t, shape[0], &at));
    hg_status st = hg_real(cx, g, d, &rg);
    if (st == HG_OK) st = hg_tensor_empty(cx, d, 2, shape, &table);
    const int64_t *row = (const int64_t *)(const void *)at->data;
    if (st == HG_OK && a[4].u.i && !(scale = frequencies(cx, row, at->numel, shape[0]))) st = HG_MEMORY;
    if (st == HG_OK) {
        adding job = {row, at->numel, shape[1], a[3].u.i, scale, rg->data, table->data};
        int64_t parts = 1 + (at->numel + shape[0]) * shape[1] / HG_GRAIN; /* each looks through all indices */
        if (parts > hg_get_num_threads()) parts = hg_get_num_threads();
        hg_work(cx, shape[0], 1 + (shape[0] - 1) / parts, d == HG_F64 ? add_rows_f64 : add_rows_f32, &job);
        st = hg_real_result(cx, table, (hg_dtype)g->dtype, out);
        table = NULL;
    }
    hg_mem_free(cx->lib, scale);
    hg_release(cx, at), hg_release(cx, rg), hg_release(cx, table);
    return st;
}

/* Linear in grad: the rows of what arrives, nothing where they are padding. */
hg_status hg_embedding_backward_bwd(hg_ctx *cx, hg_back *b) {
    if (ARG(4)->u.i)
        return hg_fail(cx, HG_STATE, "double backward of embedding with scale_grad_by_freq=True is not implemented");
    hg_tensor *indices = IN(1), *rows = X(EMBEDDING, T(G), T(indices));
    if (ARG(3)->u.i >= 0)
        rows = X(MASKED_FILL, T(rows), T(X(UNSQUEEZE, T(X(EQ, T(indices), *ARG(3))), hg_i(-1))), hg_i(0));
    GIVE(0, rows);
    return HG_OK;
}

/* ---- torch.nn.functional.embedding ------------------------------------------------------------------------------------------- */

/* Rows that are picked and longer than max_norm are made that long: outside of the graph, but as a new version. */
static hg_status renorm(hg_ctx *cx, hg_tensor *w, hg_tensor *indices, double max_norm, double p) {
    hg_tensor *at = NULL, *rows = NULL;
    HG_TRY(take_indices(cx, indices, w->shape[0], &at));
    hg_status st = hg_real(cx, w, HG_F64, &rows);
    if (st == HG_OK && rows == w) { /* work on a copy: rows picked twice are scaled once */
        hg_release(cx, rows);
        rows = NULL;
        st = hg_tensor_empty(cx, HG_F64, 2, w->shape, &rows);
        if (st == HG_OK) st = hg_raw_copy(cx, rows, w);
    }
    if (st == HG_OK) {
        const int64_t *row = (const int64_t *)(const void *)at->data;
        int64_t width = w->shape[1];
        for (int64_t i = 0; i < at->numel; i++) {
            double *x = (double *)(void *)rows->data + row[i] * width, sum = 0;
            for (int64_t k = 0; k < width; k++) sum += pow(fabs(x[k]), p);
            double norm = pow(sum, 1 / p);
            for (int64_t k = 0; k < width && norm > max_norm; k++) x[k] *= max_norm / (norm + 1e-7);
        }
        if ((st = hg_raw_copy(cx, w, rows)) == HG_OK) st = hg_wrote(cx, w);
    }
    hg_release(cx, at), hg_release(cx, rows);
    return st;
}

/* input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse */
hg_status hg_embedding_nn_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *w = a[1].u.t;
    int64_t padding = -1;
    hg_scope s;
    if (hg_given(&a[2])) {
        int64_t n = w->n_dim ? w->shape[0] : 0;
        if (a[2].u.i >= n || a[2].u.i < -n) return hg_fail(cx, HG_VALUE, "Padding_idx must be within num_embeddings");
        padding = a[2].u.i < 0 ? a[2].u.i + n : a[2].u.i;
    }
    if (hg_given(&a[3]) && (hg_maps_of(cx, w) || hg_maps_of(cx, a[0].u.t)))
        return hg_fail(cx, HG_STATE, "vmap: max_norm is not implemented within a map");
    if (hg_given(&a[3]) && w->n_dim == 2) HG_TRY(renorm(cx, w, a[0].u.t, a[3].u.f, a[4].u.f));
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(EMBEDDING, a[1], a[0], hg_i(padding), a[5], a[6]), out);
}
