/* Copies, fills, single numbers, and the rules of shapes and dtypes every op needs. */
#include "gemm_impl.h"
#include "k_impl.h"
#include "pool_impl.h"
#include "shape_impl.h"

#include <stdio.h>
#include <string.h>

/* ---- Shapes ------------------------------------------------------------------------------------------------------------- */

hg_status hg_broadcast(hg_ctx *cx, int na, const int64_t *a, int nb, const int64_t *b, int *n, int64_t *out) {
    int64_t room[HG_MAX_DIM]; /* out may be a or b */
    int m = na > nb ? na : nb;
    for (int i = m - 1; i >= 0; i--) {
        int64_t x = i - (m - na) >= 0 ? a[i - (m - na)] : 1, y = i - (m - nb) >= 0 ? b[i - (m - nb)] : 1;
        if (x != y && x != 1 && y != 1)
            return hg_fail(cx, HG_SHAPE,
                           "The size of tensor a (%lld) must match the size of tensor b (%lld) at "
                           "non-singleton dimension %d",
                           (long long)x, (long long)y, i);
        room[i] = x == 1 ? y : x;
    }
    for (int i = 0; i < m; i++) out[i] = room[i];
    *n = m;
    return HG_OK;
}

hg_status hg_wrap_dim(hg_ctx *cx, int64_t dim, int n_dim, int *out) {
    int n = n_dim ? n_dim : 1;
    if (dim < -n || dim >= n)
        return hg_fail(cx, HG_INDEX, "Dimension out of range (expected to be in range of [%d, %d], but got %lld)", -n,
                       n - 1, (long long)dim);
    *out = (int)(dim < 0 ? dim + n : dim);
    return HG_OK;
}

hg_status hg_numel(hg_ctx *cx, int n_dim, const int64_t *shape, int64_t *out) {
    int64_t n = 1;
    bool overflows = false, empty = false;
    for (int i = 0; i < n_dim; i++) {
        if (shape[i] < 0) {
            char sizes[256];
            return hg_fail(cx, HG_SHAPE, "Trying to create tensor with negative dimension %lld: %s",
                           (long long)shape[i], hg_show_sizes(n_dim, shape, sizes));
        }
        empty |= shape[i] == 0;
        overflows |= __builtin_mul_overflow(n, shape[i], &n);
    }
    if (overflows && !empty) {
        char sizes[256];
        return hg_fail(cx, HG_SHAPE, "numel: integer multiplication overflow for sizes %s",
                       hg_show_sizes(n_dim, shape, sizes));
    }
    *out = empty ? 0 : n;
    return HG_OK;
}

const char *hg_show_sizes(int n, const int64_t *at, char buf[256]) {
    int used = snprintf(buf, 256, "[");
    for (int i = 0; i < n && used < 230; i++)
        used += snprintf(buf + used, (size_t)(256 - used), i ? ", %lld" : "%lld", (long long)at[i]);
    snprintf(buf + used, (size_t)(256 - used), used < 230 ? "]" : ", ...]");
    return buf;
}

const char *hg_show_shape(const hg_tensor *t, char buf[256]) { return hg_show_sizes(t->n_dim, t->shape, buf); }

const char *hg_dtype_word(hg_dtype d, char buf[16]) {
    const char *name = hg_dtypes[d].tensor_name;
    size_t n = strlen(name) - strlen("Tensor");
    memcpy(buf, name, n);
    buf[n] = 0;
    return buf;
}

hg_status hg_no_kernel(hg_ctx *cx, const char *what, hg_dtype d) {
    char word[16];
    return hg_fail(cx, HG_MISSING, "\"%s\" not implemented for '%s'", what, hg_dtype_word(d, word));
}

hg_status hg_unlike(hg_ctx *cx, uint8_t want, uint8_t got) {
    char word[2][16];
    return hg_fail(cx, HG_STATE, "expected scalar type %s but found %s", hg_dtype_word((hg_dtype)want, word[0]),
                   hg_dtype_word((hg_dtype)got, word[1]));
}

/* ---- Dtypes ------------------------------------------------------------------------------------------------------------- */

static hg_dtype promote(hg_dtype a, hg_dtype b) {
    return a == HG_NO_DTYPE ? b : b == HG_NO_DTYPE ? a : hg_dtype_promote(a, b);
}

/* A lower class of operands counts only where it is of a higher category. */
static hg_dtype combine(hg_dtype higher, hg_dtype lower) {
    if (higher == HG_NO_DTYPE) return lower;
    if (lower == HG_NO_DTYPE || hg_dtypes[higher].category >= hg_dtypes[lower].category) return higher;
    return promote(higher, lower);
}

hg_dtype hg_result_type(hg_ctx *cx, const hg_arg *a, int n) {
    hg_dtype dim = HG_NO_DTYPE, zero = HG_NO_DTYPE, number = HG_NO_DTYPE;
    for (int i = 0; i < n; i++) switch (a[i].kind) {
        case HG_A_TENSOR:
            if (a[i].u.t->n_dim)
                dim = promote(dim, (hg_dtype)a[i].u.t->dtype);
            else
                zero = promote(zero, (hg_dtype)a[i].u.t->dtype);
            break;
        case HG_A_BOOL: number = promote(number, HG_BOOL); break;
        case HG_A_INT: number = promote(number, HG_I64); break;
        case HG_A_FLOAT: number = promote(number, hg_default_dtype(cx)); break;
        default: break;
        }
    return combine(dim, combine(zero, number));
}

hg_status hg_check_cast(hg_ctx *cx, hg_dtype from, hg_dtype to) {
    uint8_t a = hg_dtypes[from].category, b = hg_dtypes[to].category;
    char x[16], y[16];
    if (a <= b) return HG_OK;
    return hg_fail(cx, HG_STATE, "result type %s can't be cast to the desired output type %s", hg_dtype_word(from, x),
                   hg_dtype_word(to, y));
}

/* ---- Writing into tensors ------------------------------------------------------------------------------------------------ */

/* Can two indices of t name one element? Only what an expanded dimension makes certain counts. */
static bool repeats(const hg_tensor *t) {
    for (int i = 0; i < t->n_dim; i++)
        if (t->stride[i] == 0 && t->shape[i] > 1) return true;
    return false;
}

/* The bytes t spans. */
static void span(const hg_tensor *t, const char **from, const char **to) {
    int64_t low = 0, high = 0;
    for (int i = 0; i < t->n_dim; i++) {
        int64_t reach = (t->shape[i] - 1) * t->stride[i];
        if (reach < 0)
            low += reach;
        else
            high += reach;
    }
    int64_t size = (int64_t)hg_tensor_itemsize(t);
    *from = t->data + low * size, *to = t->data + (high + 1) * size;
}

bool hg_spans_meet(const hg_tensor *a, const hg_tensor *b) {
    if (!a->numel || !b->numel) return false;
    const char *a0, *a1, *b0, *b1;
    span(a, &a0, &a1), span(b, &b0, &b1);
    return a0 < b1 && b0 < a1;
}

bool hg_same_layout(const hg_tensor *a, const hg_tensor *b) {
    if (a->data != b->data || a->dtype != b->dtype || !hg_same_shape(a, b)) return false;
    for (int i = 0; i < a->n_dim; i++)
        if (a->shape[i] > 1 && a->stride[i] != b->stride[i]) return false;
    return true;
}

hg_status hg_check_apart(hg_ctx *cx, const hg_tensor *out, const hg_tensor *in) {
    if (!hg_spans_meet(out, in) || !hg_is_dense(out) || !hg_is_dense(in)) return HG_OK;
    return hg_fail(cx, HG_STATE,
                   "unsupported operation: some elements of the input tensor and the written-to tensor refer "
                   "to a single memory location. Please clone() the tensor before performing the operation.");
}

hg_status hg_check_overlap(hg_ctx *cx, const hg_tensor *out, const hg_tensor *in) {
    if (!out->contiguous && out->numel && repeats(out))
        return hg_fail(cx, HG_STATE,
                       "unsupported operation: more than one element of the written-to tensor refers to a "
                       "single memory location. Please clone() the tensor before performing the operation.");
    return !in || in == out || hg_same_layout(out, in) ? HG_OK : hg_check_apart(cx, out, in);
}

hg_status hg_warn_of_overlap(hg_ctx *cx, const hg_tensor *out, const char *name, const char *use) {
    if (!out || out->contiguous || !repeats(out)) return HG_OK;
    return hg_warn(cx, "UserWarning",
                   "Use of %s on expanded tensors is deprecated. Please clone() the tensor before performing this "
                   "operation. This also applies to advanced indexing e.g. tensor[%s",
                   name, use);
}

hg_status hg_out(hg_ctx *cx, hg_tensor **out, hg_dtype d, int n_dim, const int64_t *shape) {
    hg_tensor *t = *out;
    if (!t) return hg_tensor_empty(cx, d, n_dim, shape, out);
    bool fits = t->n_dim == n_dim;
    for (int i = 0; i < n_dim && fits; i++) fits = t->shape[i] == shape[i];
    if (!fits) {
        char is[256], wanted[256];
        return hg_fail(cx, HG_SHAPE, "output with shape %s doesn't match the broadcast shape %s", hg_show_shape(t, is),
                       hg_show_sizes(n_dim, shape, wanted));
    }
    hg_status st = hg_check_cast(cx, d, (hg_dtype)t->dtype);
    return st == HG_OK ? hg_check_overlap(cx, t, NULL) : st;
}

/* ---- Copies --------------------------------------------------------------------------------------------------------------- */

/* Backwards, one value everywhere, or any steps. */
#define MOVE(size, type)                                                                                               \
    HG_INLINE void move_##size##_body(const bool fused, int64_t n, char *to, int64_t to_step, const char *from,        \
                                      int64_t from_step) {                                                             \
        (void)fused;                                                                                                   \
        type *restrict a = (type *)(void *)to;                                                                         \
        const type *restrict b = (const type *)(const void *)from;                                                     \
        if (to_step == size && from_step == -size)                                                                     \
            for (int64_t i = 0; i < n; i++) a[i] = b[-i];                                                              \
        else if (to_step == size && from_step == 0)                                                                    \
            for (int64_t i = 0; i < n; i++) a[i] = *b;                                                                 \
        else                                                                                                           \
            move_##size##_any(n, to, to_step, from, from_step);                                                        \
    }                                                                                                                  \
    HG_VECTOR_OF(type, move_##size, (int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step), n,    \
                 to, to_step, from, from_step)
#define MOVE_ANY(size, type)                                                                                           \
    static void move_##size##_any(int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step) {         \
        for (int64_t i = 0; i < n; i++)                                                                                \
            *(type *)(void *)(to + i * to_step) = *(const type *)(const void *)(from + i * from_step);                 \
    }
MOVE_ANY(1, uint8_t)
MOVE_ANY(2, uint16_t)
MOVE_ANY(4, uint32_t)
MOVE_ANY(8, uint64_t)
MOVE(1, uint8_t)
MOVE(2, uint16_t)
MOVE(4, uint32_t)
MOVE(8, uint64_t)

typedef struct moving {
    char *to;
    const char *from; /* NULL: zeros */
} moving;

enum { FEW_BYTES = 2048 }; /* so few are moved at once */

static void move_range(void *arg, int64_t begin, int64_t end) {
    const moving *m = arg;
    if (m->from)
        memcpy(m->to + begin, m->from + begin, (size_t)(end - begin));
    else
        memset(m->to + begin, 0, (size_t)(end - begin));
}

void hg_move_bytes(hg_ctx *cx, char *to, const char *from, size_t n) {
    if (from && n && n <= FEW_BYTES)
        memcpy(to, from, n);
    else
        hg_work(cx, (int64_t)n, 4 * HG_GRAIN, move_range, &(moving){to, from});
}

enum { LINE = 64 };

typedef struct copying {
    hg_convert convert;
    int64_t size; /* of an element, where rows without gaps may be moved as bytes; else 0 */
} copying;

/* memcpy, in parts where the result begins up to a cache line later in its page than what is read, as in a row that is shifted:
   where the C library moves more than that by `rep movsb`, Zen 3 takes twenty times as long for it. */
static void move_shifted(char *to, const char *from, size_t n) {
    enum { PAGE = 4096, PART = 2048 };
    size_t later = ((uintptr_t)to - (uintptr_t)from) % PAGE;
    for (; later && later < LINE && n > PART; n -= PART, to += PART, from += PART) memcpy(to, from, PART);
    memcpy(to, from, n);
}

static void copy_row(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const copying *c = arg;
    if (c->size && step[0] == c->size && step[1] == c->size)
        move_shifted(p[0], p[1], (size_t)(n * c->size));
    else
        c->convert(n, p[0], step[0], p[1], step[1]);
}

/* Note [Exchanged axes]
   Where the result is written along one dimension and the operand lies along another, rows of either would use one element of
   each of the other's cache lines. So a plane of the two is copied by tiles, a cache line of the operand by ACROSS elements of
   the result: a tile is read along the operand's lines into a rectangle on the stack, and written from there in long runs. */
enum { ACROSS = 256 };

#define TILES(size, type)                                                                                              \
    static void tile_##size(int64_t m, int64_t n, char *to, int64_t to_row, const char *from, int64_t from_row) {      \
        enum { ROW = ACROSS + LINE / size };                                                                           \
        type tile[LINE / size][ROW];                                                                                   \
        const bool by_vectors = size == sizeof(float) && m >= 4 && hg_has_tiles();                                     \
        if (by_vectors) hg_turn_in_room((const float *)(const void *)from, from_row / size, n, m, (float *)tile, ROW); \
        for (int64_t i = 0; i < n && !by_vectors; i++) {                                                               \
            const type *in = (const type *)(const void *)(from + i * from_row);                                        \
            for (int64_t j = 0; j < m; j++) tile[j][i] = in[j];                                                        \
        }                                                                                                              \
        for (int64_t j = 0; j < m; j++) memcpy(to + j * to_row, tile[j], (size_t)n * sizeof(type));                    \
    }
TILES(1, uint8_t)
TILES(2, uint16_t)
TILES(4, uint32_t)
TILES(8, uint64_t)

/* The plane of the iterator's last dimension, along which the result lies, and `other`, along which the operand does. */
typedef struct tiling {
    const hg_iter *it;
    int64_t size, down, tiles_down, tiles_across; /* `down`: of the operand's elements to a tile */
    int other;
    void (*tile)(int64_t m, int64_t n, char *to, int64_t to_row, const char *from, int64_t from_row);
} tiling;

static void copy_tiles(void *arg, int64_t begin, int64_t end) {
    const tiling *t = arg;
    const hg_iter *it = t->it;
    int last = it->n_dim - 1;
    for (int64_t u = begin; u < end; u++) {
        int64_t i = u % t->tiles_across * ACROSS, j = u / t->tiles_across % t->tiles_down * t->down;
        int64_t left = u / t->tiles_across / t->tiles_down;
        char *to = it->p[0] + i * t->size + j * it->step[t->other][0];
        const char *from = it->p[1] + j * t->size + i * it->step[last][1];
        for (int d = last - 1; d >= 0; d--) {
            if (d == t->other) continue;
            to += left % it->shape[d] * it->step[d][0], from += left % it->shape[d] * it->step[d][1];
            left /= it->shape[d];
        }
        int64_t n = it->shape[last] - i, m = it->shape[t->other] - j;
        t->tile(m < t->down ? m : t->down, n < ACROSS ? n : ACROSS, to, it->step[t->other][0], from, it->step[last][1]);
    }
}

/* Are two axes exchanged? Then copies. */
static bool copy_exchanged(hg_ctx *cx, const hg_iter *it, int64_t size) {
    int last = it->n_dim - 1, other = -1;
    int64_t units = 1;
    if (last < 1 || it->step[last][0] != size || it->step[last][1] == size || it->shape[last] < 4) return false;
    if (it->step[last][1] == 0 && it->shape[last] >= LINE / size) return false; /* rows of one number each are filled */
    for (int d = 0; d < last; d++)
        if (it->step[d][1] == size && it->shape[d] >= 4) other = d;
    if (other < 0) return false;
    tiling t = {.it = it, .size = size, .down = LINE / size, .other = other};
    t.tiles_across = (it->shape[last] + ACROSS - 1) / ACROSS;
    t.tiles_down = (it->shape[other] + t.down - 1) / t.down;
    t.tile = size == 1 ? tile_1 : size == 2 ? tile_2 : size == 4 ? tile_4 : tile_8;
    for (int d = 0; d < last; d++)
        if (d != other) units *= it->shape[d];
    hg_work(cx, units * t.tiles_across * t.tiles_down, 1 + HG_GRAIN / (t.down * ACROSS), copy_tiles, &t);
    return true;
}

hg_status hg_raw_copy(hg_ctx *cx, hg_tensor *to, const hg_tensor *from) {
    if (to->numel == 0 && from->numel <= 1) return HG_OK;
    if (hg_same_layout(to, from)) return HG_OK;
    size_t size = hg_tensor_itemsize(to);
    bool same = to->dtype == from->dtype, in_order = to->contiguous && from->contiguous;
    if (same && in_order && (size_t)to->numel <= FEW_BYTES / size && hg_same_shape(to, from)) {
        memmove(to->data, from->data, (size_t)to->numel * size);
        return HG_OK;
    }
    int n_dim;
    int64_t shape[HG_MAX_DIM];
    hg_status st = hg_broadcast(cx, to->n_dim, to->shape, from->n_dim, from->shape, &n_dim, shape);
    if (st != HG_OK) return st;
    bool fits = n_dim == to->n_dim;
    for (int i = 0; i < n_dim && fits; i++) fits = shape[i] == to->shape[i];
    if (!fits) {
        char a[256], b[256];
        return hg_fail(cx, HG_SHAPE, "output with shape %s doesn't match the broadcast shape %s", hg_show_shape(to, a),
                       hg_show_sizes(n_dim, shape, b));
    }
    if (to->numel == 0) return HG_OK;
    if (same && in_order && to->numel == from->numel) {
        if (hg_spans_meet(to, from))
            memmove(to->data, from->data, (size_t)to->numel * size);
        else
            hg_move_bytes(cx, to->data, from->data, (size_t)to->numel * size);
        return HG_OK;
    }
    hg_tensor *apart = NULL;
    if (hg_spans_meet(to, from)) { /* what is read must not have been written */
        if ((st = hg_tensor_empty(cx, (hg_dtype)from->dtype, from->n_dim, from->shape, &apart)) != HG_OK) return st;
        if ((st = hg_raw_copy(cx, apart, from)) != HG_OK) goto done;
        from = apart;
    }
    copying c = {NULL, same ? (int64_t)size : 0};
    c.convert = !same       ? hg_converter((hg_dtype)to->dtype, (hg_dtype)from->dtype)
                : size == 1 ? move_1
                : size == 2 ? move_2
                : size == 4 ? move_4
                            : move_8;
    hg_iter it;
    hg_iter_begin(&it, to->n_dim, to->shape);
    hg_iter_add_tensor(&it, to);
    hg_iter_add_tensor(&it, from);
    hg_iter_coalesce(&it);
    if (!same || !copy_exchanged(cx, &it, (int64_t)size)) {
        const int last = it.n_dim - 1;
        const bool is_spread = last > 0 && it.step[last][1] == 0 && it.shape[last] <= LINE; /* of one number a row */
        if (!is_spread || !hg_iter_join(&it)) hg_iter_lengthen(&it);
        hg_iter_work(cx, &it, copy_row, &c);
    }
done:
    hg_release(cx, apart);
    return st;
}

hg_status hg_raw_contiguous(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    if (t->contiguous) {
        hg_retain(cx, t);
        *out = t;
        return HG_OK;
    }
    hg_tensor *made;
    hg_status st = hg_tensor_empty(cx, (hg_dtype)t->dtype, t->n_dim, t->shape, &made);
    if (st != HG_OK) return st;
    if ((st = hg_raw_copy(cx, made, t)) != HG_OK)
        hg_release(cx, made);
    else
        *out = made;
    return st;
}

hg_status hg_raw_row(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    hg_tensor *dense = NULL;
    hg_status st = hg_raw_contiguous(cx, t, &dense);
    if (st == HG_OK) st = hg_tensor_alias(cx, dense, 1, &t->numel, NULL, hg_tensor_offset(dense), out);
    hg_release(cx, dense);
    return st;
}

hg_status hg_raw_cast(hg_ctx *cx, hg_tensor *t, hg_dtype d, hg_tensor **out) {
    if (t->dtype == d) {
        hg_retain(cx, t);
        *out = t;
        return HG_OK;
    }
    hg_tensor *made;
    hg_status st = hg_tensor_empty(cx, d, t->n_dim, t->shape, &made);
    if (st != HG_OK) return st;
    if ((st = hg_raw_copy(cx, made, t)) != HG_OK)
        hg_release(cx, made);
    else
        *out = made;
    return st;
}

/* ---- Numbers -------------------------------------------------------------------------------------------------------------- */

enum { SHORT = 64 }; /* so few elements are written before an iterator is set up */

static void fill_row(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const copying *c = arg;
    c->convert(n, p[0], step[0], p[1], 0);
}

hg_status hg_raw_fill(hg_ctx *cx, hg_tensor *to, hg_arg number) {
    uint64_t bits = 0;
    size_t size = hg_tensor_itemsize(to);
    if (number.u.i) { /* else zero, in every dtype */
        hg_status st = hg_check_number(cx, number, (hg_dtype)to->dtype);
        if (st != HG_OK) return st;
        hg_put_number(number, (hg_dtype)to->dtype, &bits);
    }
    if (to->numel == 0) return HG_OK;
    if (to->contiguous && bits == 0) {
        if ((size_t)to->numel <= FEW_BYTES / size)
            memset(to->data, 0, (size_t)to->numel * size);
        else
            hg_move_bytes(cx, to->data, NULL, (size_t)to->numel * size);
        return HG_OK;
    }
    copying c = {size == 1 ? move_1 : size == 2 ? move_2 : size == 4 ? move_4 : move_8, 0};
    if (to->contiguous && to->numel <= SHORT) {
        c.convert(to->numel, to->data, (int64_t)size, (char *)&bits, 0);
        return HG_OK;
    }
    hg_iter it;
    hg_iter_begin(&it, to->n_dim, to->shape);
    hg_iter_add_tensor(&it, to);
    hg_iter_add(&it, &bits, 0, 0, NULL, NULL);
    hg_iter_coalesce(&it);
    hg_iter_work(cx, &it, fill_row, &c);
    return HG_OK;
}

hg_status hg_raw_scalar(hg_ctx *cx, hg_arg number, hg_dtype d, hg_tensor **out) {
    hg_tensor *t;
    hg_status st = hg_check_number(cx, number, d);
    if (st != HG_OK || (st = hg_tensor_empty(cx, d, 0, NULL, &t)) != HG_OK) return st;
    hg_put_number(number, d, t->data);
    *out = t;
    return HG_OK;
}

hg_arg hg_element(hg_dtype d, const char *at) {
    hg_arg a = {.kind = hg_dtype_is_float(d) ? HG_A_FLOAT : d == HG_BOOL ? HG_A_BOOL : HG_A_INT};
    if (d == HG_F32)
        a.u.f = *(const float *)(const void *)at;
    else
        hg_converter(a.kind == HG_A_FLOAT ? HG_F64 : HG_I64, d)(1, (char *)&a.u, 8, at, 8);
    return a;
}

hg_status hg_item(hg_ctx *cx, hg_tensor *t, hg_arg *out) {
    if (t->numel != 1)
        return hg_fail(cx, HG_STATE, "a Tensor with %lld elements cannot be converted to Scalar", (long long)t->numel);
    if (hg_sees(cx, t)) {
        if (hg_is_meta(t)) return hg_fail(cx, HG_STATE, "Tensor.item() cannot be called on meta tensors");
        *out = HG_NONE;
        hg_status st = cx->lib->watch.reading(cx, t, out);
        if (st != HG_OK || out->kind != HG_A_NONE) return st;
    }
    *out = hg_element((hg_dtype)t->dtype, t->data);
    return HG_OK;
}
