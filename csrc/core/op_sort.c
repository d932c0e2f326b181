/* Order along a dimension: sort, topk, kthvalue, median, unique.

   Note [Sort keys]
   Every value has a key, an unsigned number that grows with it: NaN is the largest, and the two zeros are one. Sorting pairs
   of key and position is then the same for every dtype; descending order takes the keys' complement. A whole row is sorted byte
   by byte, from the last on, which is stable and asks nothing twice; bytes that all keys share are passed over, and float32
   has four of them in eight.

   Several rows of float32 that are not long go side by side: key and position are one number, one of each row a vector, and
   exchanges, which are the same whatever the numbers, put all rows in order. */
#include "k_math_impl.h"
#include "layout_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <string.h>

#define SELF (a[0].u.t)

enum { FEW = 40 }; /* so many are sorted by insertion */

typedef struct pair {
    uint64_t key;
    int64_t at;
} pair;

static uint64_t key_of_float(double x) {
    union {
        double f;
        uint64_t u;
    } v = {x == 0 ? 0.0 : x};
    if (x != x) return UINT64_MAX;
    return v.u >> 63 ? ~v.u : v.u | (uint64_t)1 << 63;
}

static uint64_t key_of_int(int64_t x) { return (uint64_t)x ^ (uint64_t)1 << 63; }

/* ---- Choosing --------------------------------------------------------------------------------------------------------- */

/* Note [Ties]
   Among equal values torch's topk and kthvalue give whatever position its selection happens to end at. These are the same
   selections, step for step, comparing keys alone, so that the same positions come out: a heap where few are wanted, else
   quickselect and a quicksort that leaves short runs to insertion; and for kthvalue a quickselect of its own. */
static inline bool before(const pair *x, const pair *y) { return x->key < y->key; }

static inline void swap(pair *x, pair *y) {
    pair z = *x;
    *x = *y, *y = z;
}

/* Put v into the heap p[n] from the hole downwards, then up again to where it belongs; the last in order is on top. */
static void sift(pair *p, int64_t hole, int64_t n, pair v) {
    int64_t top = hole, child = hole;
    while (child < (n - 1) / 2) {
        child = 2 * (child + 1);
        if (before(&p[child], &p[child - 1])) child--;
        p[hole] = p[child], hole = child;
    }
    if (n % 2 == 0 && child == (n - 2) / 2) {
        child = 2 * (child + 1);
        p[hole] = p[child - 1], hole = child - 1;
    }
    for (int64_t parent = (hole - 1) / 2; hole > top && before(&p[parent], &v); parent = (hole - 1) / 2)
        p[hole] = p[parent], hole = parent;
    p[hole] = v;
}

/* The m first of n to the front, as a heap. */
static void heap_select(pair *p, int64_t m, int64_t n) {
    for (int64_t i = (m - 2) / 2; m > 1 && i >= 0; i--) sift(p, i, m, p[i]);
    for (int64_t i = m; i < n; i++)
        if (before(&p[i], &p[0])) {
            pair v = p[i];
            p[i] = p[0];
            sift(p, 0, m, v);
        }
}

static void heap_sort(pair *p, int64_t n) {
    while (n-- > 1) {
        pair v = p[n];
        p[n] = p[0];
        sift(p, 0, n, v);
    }
}

/* Partition p[low, high) around the median of three; the place where the second part begins. */
static int64_t partition(pair *p, int64_t low, int64_t high) {
    pair *a = &p[low + 1], *b = &p[low + (high - low) / 2], *c = &p[high - 1];
    pair *median = before(a, b) ? (before(b, c) ? b : before(a, c) ? c : a) : before(a, c) ? a : before(b, c) ? c : b;
    swap(&p[low], median);
    for (int64_t i = low + 1, j = high;; i++) {
        while (before(&p[i], &p[low])) i++;
        do j--;
        while (before(&p[low], &p[j]));
        if (i >= j) return i;
        swap(&p[i], &p[j]);
    }
}

static void insertion_sort(pair *p, int64_t low, int64_t high) {
    for (int64_t i = low + 1; i < high; i++) {
        pair v = p[i];
        int64_t k = i;
        for (; k > low && before(&v, &p[k - 1]); k--) p[k] = p[k - 1];
        p[k] = v;
    }
}

/* All of p[n], stably; `room` is as large. All bytes are counted in one go: counts of one byte wait for each other. */
static void sort_pairs(pair *p, pair *room, int64_t n) {
    pair *from = p, *to = room;
    uint64_t differ = 0;
    int64_t count[8][256];
    int shift[8], n_bytes = 0;
    if (n <= FEW) {
        insertion_sort(p, 0, n);
        return;
    }
    for (int64_t i = 1; i < n; i++) differ |= p[i].key ^ p[0].key;
    for (int s = 0; s < 64; s += 8)
        if (differ >> s & 255) shift[n_bytes++] = s;
    memset(count, 0, (size_t)n_bytes * sizeof *count);
    for (int64_t i = 0; i < n; i++)
        for (int b = 0; b < n_bytes; b++) count[b][p[i].key >> shift[b] & 255]++;
    for (int b = 0; b < n_bytes; b++) {
        int64_t *at = count[b], sum = 0;
        for (int k = 0; k < 256; k++) {
            int64_t own = at[k];
            at[k] = sum, sum += own;
        }
        for (int64_t i = 0; i < n; i++) to[at[from[i].key >> shift[b] & 255]++] = from[i];
        pair *swapped = from;
        from = to, to = swapped;
    }
    if (from != p) memcpy(p, from, (size_t)n * sizeof *p);
}

static int halvings(int64_t n) { return 63 - __builtin_clzll((unsigned long long)n); }

/* p[nth] as it would be if all of p[n] were sorted, and none before it that belongs after it. */
static void quick_select(pair *p, int64_t nth, int64_t n) {
    int64_t low = 0, high = n;
    for (int depth = 2 * halvings(n); high - low > 3; depth--) {
        if (depth == 0) { /* too unlucky with the medians */
            heap_select(p + low, nth + 1 - low, high - low);
            swap(&p[low], &p[nth]);
            return;
        }
        int64_t cut = partition(p, low, high);
        if (cut <= nth)
            low = cut;
        else
            high = cut;
    }
    insertion_sort(p, low, high);
}

static void quick_sort(pair *p, int64_t low, int64_t high, int depth) {
    while (high - low > 16) {
        if (depth-- == 0) {
            heap_select(p + low, high - low, high - low);
            heap_sort(p + low, high - low);
            return;
        }
        int64_t cut = partition(p, low, high);
        quick_sort(p, cut, high, depth);
        high = cut;
    }
}

/* The k first of n, in order. */
static void choose_first(pair *p, int64_t k, int64_t n) {
    if (k * 64 <= n) {
        heap_select(p, k, n);
        heap_sort(p, k);
        return;
    }
    quick_select(p, k - 1, n);
    if (k < 2) return;
    quick_sort(p, 0, k - 1, 2 * halvings(k - 1));
    insertion_sort(p, 0, k - 1);
}

/* p[k] as it would be if all of p[n] were sorted. */
static void choose_kth(pair *p, int64_t k, int64_t n) {
    for (int64_t low = 0, high = n - 1; low < high;) {
        if (high == low + 1) {
            if (before(&p[high], &p[low])) swap(&p[low], &p[high]);
            return;
        }
        swap(&p[low + (high - low) / 2], &p[low + 1]);
        if (before(&p[high], &p[low + 1])) swap(&p[low + 1], &p[high]);
        if (before(&p[high], &p[low])) swap(&p[low], &p[high]);
        if (before(&p[low], &p[low + 1])) swap(&p[low + 1], &p[low]);
        int64_t i = low + 1, j = high;
        for (pair pivot = p[low];;) {
            do i++;
            while (before(&p[i], &pivot));
            do j--;
            while (before(&pivot, &p[j]));
            if (j < i) break;
            swap(&p[i], &p[j]);
        }
        swap(&p[low], &p[j]);
        if (j <= k) low = i;
        if (j >= k) high = j - 1;
    }
}

/* What the key at p[nth] of the sorted p[n] is, and how many equal ones stand before it. */
static pair nth_key(pair *p, int64_t nth, int64_t n) {
    choose_kth(p, nth, n);
    pair found = {p[nth].key, nth};
    for (int64_t i = 0; i < n; i++) found.at -= p[i].key < found.key;
    return found;
}

/* ---- Rows ------------------------------------------------------------------------------------------------------------- */

static void read_keys(hg_dtype d, const char *from, int64_t step, int64_t n, bool descending, pair *to) {
    HG_BY_DTYPE(
        d, for (int64_t i = 0; i < n; i++, from += step) {
            A x = LOAD(*(const E *)(const void *)from);
            uint64_t key = (A)0.5 != 0 ? key_of_float((double)x) : key_of_int((int64_t)x);
            to[i] = (pair){descending ? ~key : key, i};
        })
}

enum { ABREAST = 8, ABREAST_FEW = 4, ABREAST_N = 1500 }; /* rows side by side, for how many it pays, and their length */

/* ABREAST rows of n, number i of row r at p[i * ABREAST + r], by Batcher's merges (Knuth's algorithm 5.2.2M). */
HG_INLINE void exchange_body(const bool fused, int64_t n, int64_t *p) {
    int64_t top = 1;
    (void)fused;
    while (top * 2 < n) top *= 2;
    for (int64_t gap = top; gap > 0; gap /= 2)
        for (int64_t q = top, first = 0, apart = gap;; apart = q - gap, q /= 2, first = gap) {
            for (int64_t from = first; from < n - apart; from += 2 * gap) {
                int64_t *low = p + from * ABREAST, *high = low + apart * ABREAST;
                const int64_t count = n - apart - from < gap ? n - apart - from : gap;
                HG_IVDEP for (int64_t k = 0; k < count * ABREAST; k++) {
                    const int64_t a = low[k], b = high[k];
                    low[k] = a < b ? a : b, high[k] = a < b ? b : a;
                }
            }
            if (q == gap) break;
        }
}
HG_VECTOR(exchange, (int64_t n, int64_t *p), n, p)

/* n numbers of a row where exchange() expects them: the key, as a signed number, before the position. */
static void spread_keys(const char *from, int64_t step, int64_t n, bool descending, int64_t *p) {
    for (int64_t i = 0; i < n; i++, from += step) {
        const float x = *(const float *)(const void *)from;
        const uint32_t u = hg_float_to_bits(x == 0 ? 0.0f : x);
        const uint32_t key = x != x ? INT32_MAX : u ^ (u >> 31 ? 0x7fffffffu : 0);
        p[i * ABREAST] = (int64_t)((uint64_t)(descending ? ~key : key) << 32 | (uint64_t)i);
    }
}

typedef enum choice { WHOLE, FIRST, KTH, MEDIAN } choice;

typedef struct sorting {
    hg_dtype dtype;
    choice how;
    bool descending, with_values, with_places;
    int64_t n, skip, keep;
} sorting;

/* Where the lower of the two middle ones of a row is, or its first NaN; of equal ones, where a stable sort would have found it. */
static int64_t place_of_median(const sorting *s, const char *row, int64_t step, pair *p) {
    int64_t i = 0;
    read_keys(s->dtype, row, step, s->n, false, p);
    if (hg_dtype_is_float(s->dtype)) {
        while (i < s->n && p[i].key != UINT64_MAX) i++;
        if (i < s->n) return i;
    }
    pair wanted = nth_key(p, (s->n - 1) / 2, s->n);
    read_keys(s->dtype, row, step, s->n, false, p);
    for (i = 0; p[i].key != wanted.key || wanted.at-- > 0;) i++;
    return i;
}

/* Rows from `first` on, side by side. */
static void sort_abreast(const sorting *s, char *room, int64_t rows, int64_t first, char *const *p,
                         const int64_t *row_step, const int64_t *step) {
    int64_t *keys = (int64_t *)(void *)room, n_rows = rows - first < ABREAST ? rows - first : ABREAST;
    const int places = s->with_values ? 2 : 1;
    for (int64_t r = 0; r < ABREAST; r++) /* what is left over repeats a row */
        spread_keys(p[0] + (first + r % n_rows) * row_step[0], step[0], s->n, s->descending, keys + r);
    exchange(s->n, keys);
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t i = 0; i < s->n; i++) {
            const int64_t at = (uint32_t)keys[i * ABREAST + r];
            if (s->with_values)
                *(float *)(void *)(p[1] + (first + r) * row_step[1] + i * step[1]) = *(
                    const float *)(const void *)(p[0] + (first + r) * row_step[0] + at * step[0]);
            if (s->with_places)
                *(int64_t *)(void *)(p[places] + (first + r) * row_step[places] + i * step[places]) = at;
        }
}

/* The operands are the tensor, then of values and places what is wanted. */
static void sort_some(void *arg, char *room, int64_t rows, char *const *p, const int64_t *row_step,
                      const int64_t *step) {
    const sorting *s = arg;
    pair *pairs = (pair *)(void *)room, *chosen = pairs + s->skip;
    int values = 1, places = s->with_values ? 2 : 1;
    size_t size = hg_dtypes[s->dtype].size;
    int64_t row = 0;
    if (s->how == WHOLE && s->dtype == HG_F32 && s->n <= ABREAST_N)
        for (; rows - row >= ABREAST_FEW; row += ABREAST) sort_abreast(s, room, rows, row, p, row_step, step);
    for (; row < rows; row++) {
        char *from = p[0] + row * row_step[0];
        if (s->how == MEDIAN)
            pairs[0].at = place_of_median(s, from, step[0], pairs);
        else
            read_keys(s->dtype, from, step[0], s->n, s->descending, pairs);
        if (s->how == WHOLE)
            sort_pairs(pairs, pairs + s->n, s->n);
        else if (s->how == FIRST)
            choose_first(pairs, s->keep, s->n);
        else if (s->how == KTH)
            choose_kth(pairs, s->skip, s->n);
        if (s->with_places) {
            char *at = p[places] + row * row_step[places];
            for (int64_t i = 0; i < s->keep; i++) *(int64_t *)(void *)(at + i * step[places]) = chosen[i].at;
        }
        if (s->with_values) {
            char *to = p[values] + row * row_step[values];
            HG_BY_SIZE(
                size, for (int64_t i = 0; i < s->keep; i++) {
                    E *e = (E *)(void *)(to + i * step[values]);
                    *e = *(E *)(void *)(from + chosen[i].at * step[0]);
                })
        }
    }
}

/* Sort every row of t along d, as far as `how` asks for it, and hand the first `keep` places from `skip` on to out[0]
   (values) and out[1] (positions); either may be left out. Both have t's shape with `keep` along d. */
static hg_status sort_rows(hg_ctx *cx, hg_tensor *t, int d, choice how, bool descending, int64_t skip, int64_t keep,
                           hg_tensor *values, hg_tensor *places) {
    sorting s = {(hg_dtype)t->dtype, how, descending, values, places, hg_size_at(t, d), skip, keep};
    hg_tensor *operands[3] = {t};
    int n = 1;
    size_t room; /* or two of pairs */
    if (t->numel == 0 || keep == 0) return HG_OK;
    if (__builtin_mul_overflow((size_t)s.n, ABREAST * sizeof(int64_t), &room)) return hg_no_memory(cx);
    if (values) operands[n++] = values;
    if (places) operands[n++] = places;
    return hg_along(cx, d, n, operands, room, sort_some, &s);
}

/* Outputs of t's shape with `keep` along d, and the rows sorted into them. */
static hg_status sorted(hg_ctx *cx, hg_tensor *t, int d, choice how, bool descending, int64_t skip, int64_t keep,
                        bool drop_dim, hg_tensor **out) {
    int64_t shape[HG_MAX_DIM];
    int n_dim = t->n_dim;
    memcpy(shape, t->shape, (size_t)n_dim * sizeof *shape);
    if (n_dim) shape[d] = keep;
    hg_status st = HG_OK;
    for (int k = 0; k < 2 && st == HG_OK; k++) {
        hg_dtype type = k ? HG_I64 : (hg_dtype)t->dtype;
        st = how == WHOLE ? hg_out_kept(cx, &out[k], type, t) : hg_tensor_empty(cx, type, n_dim, shape, &out[k]);
    }
    if (st == HG_OK) st = sort_rows(cx, t, d, how, descending, skip, keep, out[0], out[1]);
    for (int k = 0; k < 2 && st == HG_OK && drop_dim && n_dim; k++) {
        hg_tensor *full = out[k];
        int64_t rest[HG_MAX_DIM];
        int n = 0;
        for (int i = 0; i < n_dim; i++)
            if (i != d) rest[n++] = shape[i];
        out[k] = NULL;
        st = hg_tensor_alias(cx, full, n, rest, NULL, 0, &out[k]); /* packed with the dimension of one as without it */
        hg_release(cx, full);
    }
    return st;
}

hg_status hg_sort_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d);
    return st == HG_OK ? sorted(cx, SELF, d, WHOLE, a[2].u.i, 0, hg_size_at(SELF, d), false, out) : st;
}

/* The gradient of chosen values goes to where they were. */
static hg_tensor *back_to_places(hg_ctx *cx, hg_back *b, hg_arg dim) {
    hg_meta m = META(0);
    hg_tensor *zeros = hg_x_zeros(cx, (hg_dtype)m.dtype, m.n_dim, m.shape), *g = GRAD(0), *at = OUT(1);
    if (m.n_dim && g && g->n_dim < m.n_dim) g = X(UNSQUEEZE, T(g), dim), at = X(UNSQUEEZE, T(at), dim);
    return hg_x_written(X(SCATTER, T(zeros), dim, T(at), T(g)), 2);
}

hg_status hg_sort_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, back_to_places(cx, b, *ARG(1)));
    return HG_OK;
}

hg_status hg_sort_like_bwd(hg_ctx *cx, hg_back *b) {
    GIVE(0, back_to_places(cx, b, *ARG(2)));
    return HG_OK;
}

hg_status hg_kthvalue_bwd(hg_ctx *cx, hg_back *b) { return hg_sort_like_bwd(cx, b); }

hg_status hg_sort_stable_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { /* every sort of ours is stable */
    return hg_sort_fwd(cx, (hg_arg[]){a[0], a[2], a[3]}, out);
}

hg_status hg_argsort_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d);
    if (st == HG_OK) st = hg_out_kept(cx, out, HG_I64, SELF);
    return st == HG_OK ? sort_rows(cx, SELF, d, WHOLE, a[2].u.i, 0, hg_size_at(SELF, d), NULL, *out) : st;
}

hg_status hg_msort_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, XK(0, SORT, T(SELF), hg_i(0), hg_b(false)), out);
}

hg_status hg_topk_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    int64_t k = a[1].u.i;
    hg_status st = hg_wrap_dim(cx, a[2].u.i, SELF->n_dim, &d);
    if (st != HG_OK) return st;
    if (k < 0 || k > hg_size_at(SELF, d)) return hg_fail(cx, HG_SHAPE, "selected index k out of range");
    if (SELF->dtype == HG_BOOL) return hg_fail(cx, HG_SHAPE, "topk does not support bool dtypes on CPU");
    if (SELF->n_dim == 0) k = 1; /* a number has no room for none */
    return sorted(cx, SELF, d, FIRST, a[3].u.i, 0, k, false, out);
}

hg_status hg_kthvalue_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    int64_t k = a[1].u.i;
    hg_status st = hg_wrap_dim(cx, a[2].u.i, SELF->n_dim, &d);
    if (st != HG_OK) return st;
    if (hg_size_at(SELF, d) == 0)
        return hg_fail(cx, HG_INDEX, "kthvalue(): Expected reduction dim %d to have non-zero size.", d);
    if (k < 1 || k > hg_size_at(SELF, d))
        return hg_fail(cx, HG_SHAPE, "kthvalue(): selected number k out of range for dimension %d", d);
    if (SELF->n_dim && SELF->dtype == HG_BOOL) return hg_no_kernel(cx, "kthvalue_cpu", HG_BOOL);
    return sorted(cx, SELF, d, KTH, false, k - 1, 1, !a[3].u.i, out);
}

hg_status hg_op_median_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d);
    if (st != HG_OK) return st;
    if (SELF->dtype == HG_BOOL) return hg_no_kernel(cx, "median_out_impl", HG_BOOL);
    if (SELF->n_dim && SELF->shape[d] == 0)
        return hg_fail(cx, HG_INDEX, "median(): Expected reduction dim %d to have non-zero size.", d);
    return sorted(cx, SELF, d, MEDIAN, false, 0, 1, !a[2].u.i, out);
}

hg_status hg_op_median(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *row = NULL, *found[2] = {NULL};
    if (SELF->numel == 0) { /* what NaN is in the dtype */
        hg_status st = hg_tensor_empty(cx, (hg_dtype)SELF->dtype, 0, NULL, out);
        if (st == HG_OK) hg_put_number(hg_f(NAN), (hg_dtype)SELF->dtype, (*out)->data);
        return st;
    }
    if (SELF->dtype == HG_BOOL) return hg_no_kernel(cx, "median_cpu", HG_BOOL);
    hg_status st = hg_raw_row(cx, SELF, &row);
    if (st == HG_OK) st = sorted(cx, row, 0, MEDIAN, false, 0, 1, true, found);
    if (st == HG_OK) *out = found[0], found[0] = NULL;
    hg_release(cx, found[0]), hg_release(cx, found[1]), hg_release(cx, row);
    return st;
}

/* ---- unique ------------------------------------------------------------------------------------------------------------- */

/* A list of n rows of m keys each, and the order to look at them in. */
typedef struct rows {
    int64_t n, m;
    uint64_t *keys;
    int64_t *order, *room;
} rows;

static int compare_rows(const rows *r, int64_t x, int64_t y) {
    const uint64_t *p = r->keys + x * r->m, *q = r->keys + y * r->m;
    for (int64_t i = 0; i < r->m; i++)
        if (p[i] != q[i]) return p[i] < q[i] ? -1 : 1;
    return 0;
}

static void sort_rows_whole(rows *r, pair *pairs) {
    int64_t *p = r->order, *q = r->room;
    if (r->m == 1) {
        for (int64_t i = 0; i < r->n; i++) pairs[i] = (pair){r->keys[i], i};
        sort_pairs(pairs, pairs + r->n, r->n);
        for (int64_t i = 0; i < r->n; i++) p[i] = pairs[i].at;
        return;
    }
    for (int64_t width = 1; width < r->n; width *= 2) {
        for (int64_t start = 0; start < r->n; start += 2 * width) {
            int64_t mid = start + width < r->n ? start + width : r->n, end = mid + width < r->n ? mid + width : r->n;
            int64_t i = start, j = mid, k = start;
            while (i < mid && j < end) q[k++] = compare_rows(r, p[j], p[i]) < 0 ? p[j++] : p[i++];
            while (i < mid) q[k++] = p[i++];
            while (j < end) q[k++] = p[j++];
        }
        int64_t *swap = p;
        p = q, q = swap;
    }
    r->order = p, r->room = q;
}

/* The rows of t along d (-1: its elements), one after another. */
static hg_status lay_rows(hg_ctx *cx, hg_tensor *t, int d, hg_tensor **out) {
    if (d < 0) return hg_raw_contiguous(cx, t, out);
    hg_tensor *moved;
    int64_t shape[HG_MAX_DIM] = {t->shape[d]}, stride[HG_MAX_DIM] = {t->stride[d]};
    int rank = 1;
    for (int i = 0; i < t->n_dim; i++)
        if (i != d) shape[rank] = t->shape[i], stride[rank++] = t->stride[i];
    hg_status st = hg_raw_view(cx, t, rank, shape, stride, 0, &moved);
    if (st == HG_OK) st = hg_raw_contiguous(cx, moved, out), hg_release(cx, moved);
    return st;
}

/* The chosen n of t's rows along d (-1: of the elements, which `laid` has). */
static hg_status take_rows(hg_ctx *cx, hg_tensor *t, hg_tensor *laid, int d, const int64_t *chosen, int64_t n,
                           hg_tensor **out) {
    hg_tensor *index = NULL, *from = t;
    hg_status st = hg_tensor_empty(cx, HG_I64, 1, &n, &index);
    if (st != HG_OK) return st;
    if (n) memcpy(index->data, chosen, (size_t)n * sizeof *chosen);
    if (d < 0)
        st = hg_raw_view(cx, laid, 1, &laid->numel, &(int64_t){1}, 0, &from);
    else
        hg_retain(cx, t);
    if (st == HG_OK) {
        st = hg_index_select_fwd(cx, (hg_arg[]){hg_t(from), hg_i(d < 0 ? 0 : d), hg_t(index)}, out);
        hg_release(cx, from);
    }
    hg_release(cx, index);
    return st;
}

static hg_status numbers(hg_ctx *cx, const int64_t *from, int rank, const int64_t *shape, hg_tensor **out) {
    hg_status st = hg_tensor_empty(cx, HG_I64, rank, shape, out);
    if (st == HG_OK && (*out)->numel) memcpy((*out)->data, from, (size_t)(*out)->numel * sizeof *from);
    return st;
}

/* The distinct rows of t along d (-1: its elements): out[0] them, out[1] which of them each row is, out[2] how many of each. */
static hg_status distinct(hg_ctx *cx, hg_tensor *t, int d, bool in_order, bool inverse, bool counts, hg_tensor **out) {
    hg_tensor *laid;
    int n_empty = 0;
    for (int i = 0; d >= 0 && i < t->n_dim; i++) n_empty += t->shape[i] == 0;
    if (n_empty && t->shape[d])
        return hg_fail(cx, HG_SHAPE,
                       "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
    if (n_empty > 1)
        return hg_fail(cx, HG_SHAPE, "Number of zero sized dimensions is more than one, so unique cannot be applied ");
    hg_status st = lay_rows(cx, t, d, &laid);
    if (st != HG_OK) return st;
    int64_t n = d < 0 ? t->numel : t->shape[d], n_out = 0;
    rows r = {.n = n, .m = n ? laid->numel / n : 0};
    int64_t *work = hg_mem(cx, (size_t)((in_order ? 9 : 5) * n + laid->numel + 1) * sizeof *work);
    if (!work) {
        hg_release(cx, laid);
        return HG_MEMORY;
    }
    int64_t *first = work + 2 * n, *which = work + 3 * n, *many = work + 4 * n;
    r.order = work, r.room = work + n, r.keys = (uint64_t *)(work + 5 * n);
    HG_BY_DTYPE(
        laid->dtype, for (int64_t i = 0; i < laid->numel; i++) {
            A x = LOAD(((E *)(void *)laid->data)[i]);
            r.keys[i] = (A)0.5 != 0 ? key_of_float((double)x) : key_of_int((int64_t)x);
        })
    for (int64_t i = 0; i < n; i++) r.order[i] = i;
    if (in_order) sort_rows_whole(&r, (pair *)(void *)(work + 5 * n + laid->numel));
    for (int64_t i = 0; i < n; i++) {
        /* NaN is not itself: every one counts as another */
        bool nan = d < 0 && hg_dtype_is_float((hg_dtype)t->dtype) && r.keys[r.order[i]] == UINT64_MAX;
        if (i == 0 || nan || compare_rows(&r, r.order[i - 1], r.order[i]) != 0)
            first[n_out] = r.order[i], many[n_out++] = 0;
        many[n_out - 1]++, which[r.order[i]] = n_out - 1;
    }
    int64_t n_which = inverse ? n : 0, n_many = counts ? n_out : 0;
    bool shaped = d < 0 && inverse;
    st = take_rows(cx, t, laid, d, first, n_out, &out[0]);
    if (st == HG_OK) st = numbers(cx, which, shaped ? t->n_dim : 1, shaped ? t->shape : &n_which, &out[1]);
    if (st == HG_OK) st = numbers(cx, many, 1, &n_many, &out[2]);
    hg_release(cx, laid);
    hg_mem_free(cx->lib, work);
    return st;
}

hg_status hg_unique_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return distinct(cx, SELF, -1, true, a[2].u.i, a[3].u.i, out);
}

hg_status hg_unique_dim_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d;
    hg_status st = hg_wrap_dim(cx, a[1].u.i, SELF->n_dim, &d);
    if (st != HG_OK) return st;
    if (SELF->n_dim == 0) return distinct(cx, SELF, -1, true, a[3].u.i, a[4].u.i, out);
    return distinct(cx, SELF, d, true, a[3].u.i, a[4].u.i, out);
}

hg_status hg_unique_consecutive_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int d = -1;
    hg_status st = hg_given(&a[3]) && SELF->n_dim ? hg_wrap_dim(cx, a[3].u.i, SELF->n_dim, &d) : HG_OK;
    return st == HG_OK ? distinct(cx, SELF, d, false, a[1].u.i, a[2].u.i, out) : st;
}
