/* Products of float32 matrices for processors with AVX2 or AVX-512.

   Note [Tiles]
   The smallest step is a tile of c: up to 14 rows and two vectors, summed in registers over a block of k. It reads a one
   number at a time, from anywhere, and b by whole vectors. Around it b is cut into panels as wide as a tile, a block of k
   deep, which all rows of a block of a pass by. The second cache is fast enough for that, so that panels are copied only where b lies
   by columns, or its rows wait for the same places in a cache; while tiles compute they fetch the next panel. Each number of the
   result is a sum through k in order with one rounding a term, block by block, to which comes what is added: it depends neither
   on how the work is cut nor on the instruction set. Blocks of k are cut where MKL cuts them, so that sums have the bits that
   PyTorch's have. */
#include "gemm_impl.h"
#include "conv_impl.h"
#include "cpu_impl.h"
#include "lanes_impl.h"
#include "pool_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { DEEP = 384, WIDE = 1024, TALL = 140, MAX_ROWS = 14, MAX_PANEL = 32, PAD = 16 }; /* of blocks, of tiles */
enum { WAYS = 8, PAGE = 1024 }; /* of the first cache, and how far apart numbers are that wait for the same ones */
/* k, and numbers of b that stay in the first cache; numbers of c that do not stay in the second */
enum { SHORT = 32, FITTING = 16384, BEYOND = 1 << 18 };
enum { AHEAD = 4, LINE = 16, ENOUGH_STEPS = 64 };       /* tiles fetch a line each AHEAD steps */
enum { FEW_ROWS = 4, LONG_ROW = 512, ROOM_ROW = 1024 }; /* rows that pass by b without tiles, where they are long */
enum { ROWS_AHEAD = 4, LONG = 300 }; /* of what is copied; steps that hide how long c takes to come */

typedef struct tile {
    int64_t n, k;
    const float *a, *b, *add; /* add may be NULL */
    float *c;
    const int32_t *b_at; /* as hg_product's */
    int64_t a_row, a_col, b_row, c_row, add_row;
    float alpha, beta;
    const float *ahead; /* what a later tile reads: a line of it, the next one ahead_step further */
    int64_t ahead_step;
} tile;

typedef struct machine {
    int rows, lanes;
    void (*turn)(const float *const row[], int64_t n, int64_t k, float *to, int64_t ld);
    void (*lay)(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld);
    void (*mix)(int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab, float *to);
    void (*tiles[MAX_ROWS + 1][2])(const tile *t); /* by rows - 1, and vectors - 1 */
    void (*windows[MAX_ROWS][2][2])(int64_t k, const float *a, const int32_t *at, const float *b, bool first, float *c,
                                    int64_t c_row); /* so too, and how far pixels are apart - 1 */
    void (*few[3])(int rows, const tile *t);        /* one of them, two, up to FEW_ROWS */
    hg_plane_tiles planes;
} machine;

/* ---- Instruction sets ----------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define NAME(f)                     f##_avx512
#define TARGET                      __attribute__((target("avx512f,fma")))
#define ROWS                        14
#define LANES                       16
#define VEC                         __m512
#define MASK                        __mmask16
#define TILES(X)                    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define ZERO                        _mm512_setzero_ps()
#define SOME(n)                     ((__mmask16)((n) >= 16 ? 0xffff : (1u << (n)) - 1))
#define SPREAD(x)                   _mm512_set1_ps(x)
#define LOAD(p)                     _mm512_loadu_ps(p)
#define LOAD_SOME(p, some)          _mm512_maskz_loadu_ps(some, p)
#define STORE(p, x)                 _mm512_storeu_ps(p, x)
#define STORE_SOME(p, all, some, x) ((void)(all), _mm512_mask_storeu_ps(p, some, x))
#define FMA(x, y, z)                _mm512_fmadd_ps(x, y, z)
#define MUL(x, y)                   _mm512_mul_ps(x, y)
#define ADD(x, y)                   _mm512_add_ps(x, y)
#define UNPACK_LOW(x, y)            _mm512_unpacklo_ps(x, y)
#define UNPACK_HIGH(x, y)           _mm512_unpackhi_ps(x, y)
#define SHUFFLE(x, y, how)          _mm512_shuffle_ps(x, y, how)
#define FOUR(load, row, q, p)                                                                                          \
    _mm512_insertf32x4(                                                                                                \
        _mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps128_ps512(load(row[q] + p)), load(row[4 + q] + p), 1),      \
                           load(row[8 + q] + p), 2),                                                                   \
        load(row[12 + q] + p), 3)
#define HIGH 4
#include "k_plane.h"
#include "k_gemm.h"
#undef NAME
#undef TARGET
#undef ROWS
#undef LANES
#undef VEC
#undef MASK
#undef TILES
#undef ZERO
#undef SOME
#undef SPREAD
#undef LOAD
#undef LOAD_SOME
#undef STORE
#undef STORE_SOME
#undef FMA
#undef MUL
#undef ADD
#undef UNPACK_LOW
#undef UNPACK_HIGH
#undef SHUFFLE
#undef FOUR
#undef HIGH

static const int32_t some_avx2[] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
#define NAME(f)            f##_avx2
#define TARGET             __attribute__((target("avx2,fma")))
#define ROWS               6
#define LANES              8
#define VEC                __m256
#define MASK               __m256i
#define TILES(X)           X(1) X(2) X(3) X(4) X(5) X(6)
#define ZERO               _mm256_setzero_ps()
#define SOME(n)            _mm256_loadu_si256((const __m256i *)(const void *)(some_avx2 + ((n) >= 8 ? 0 : 8 - (n))))
#define SPREAD(x)          _mm256_set1_ps(x)
#define LOAD(p)            _mm256_loadu_ps(p)
#define LOAD_SOME(p, some) _mm256_maskload_ps(p, some)
#define STORE(p, x)        _mm256_storeu_ps(p, x)
/* a masked store is dozens of instructions on some processors, so whole vectors go without */
#define STORE_SOME(p, all, some, x) ((all) ? _mm256_storeu_ps(p, x) : _mm256_maskstore_ps(p, some, x))
#define FMA(x, y, z)                _mm256_fmadd_ps(x, y, z)
#define MUL(x, y)                   _mm256_mul_ps(x, y)
#define ADD(x, y)                   _mm256_add_ps(x, y)
#define UNPACK_LOW(x, y)            _mm256_unpacklo_ps(x, y)
#define UNPACK_HIGH(x, y)           _mm256_unpackhi_ps(x, y)
#define SHUFFLE(x, y, how)          _mm256_shuffle_ps(x, y, how)
#define FOUR(load, row, q, p)       _mm256_insertf128_ps(_mm256_castps128_ps256(load(row[q] + p)), load(row[4 + q] + p), 1)
#define HIGH                        2
#include "k_plane.h"
#include "k_gemm.h"

static const machine *this_machine(void) {
    return hg_cpu_used == HG_CPU_AVX512 ? &machine_avx512 : hg_cpu_used == HG_CPU_AVX2 ? &machine_avx2 : NULL;
}
#else
static const machine *this_machine(void) { return NULL; }
#endif

bool hg_has_tiles(void) { return this_machine() != NULL; }

const hg_plane_tiles *hg_get_plane_tiles(void) { return &this_machine()->planes; }

void hg_mix(int64_t n, int64_t n_taps, const int32_t *at, const float *weight, const float *slab, float *to) {
    this_machine()->mix(n, n_taps, at, weight, slab, to);
}

/* ---- Copies ----------------------------------------------------------------------------------------------------------------- */

/* A thread's room for blocks of a and b; it goes with the thread. */
enum { ROOM_B = DEEP * WIDE + PAD, ROOM_A = (TALL + PAD) * (DEEP + PAD) };

static pthread_key_t room_key;
static pthread_once_t room_once = PTHREAD_ONCE_INIT;
static _Thread_local float *room;

static void make_key(void) { pthread_key_create(&room_key, free); }

/* NULL: there is no memory. */
static float *take_room(void) {
    if (room) return room;
    pthread_once(&room_once, make_key);
    room = aligned_alloc(64, (ROOM_A + ROOM_B) * sizeof *room);
    if (room) pthread_setspecific(room_key, room);
    return room;
}

/* `n` rows of x, turned: to[p * ld + i] = x[i * row + p * col]. One of row and col is 1, and n at most two vectors where row is. */
static void turn(const machine *m, const float *x, int64_t row, int64_t col, int64_t n, int64_t k, float *to,
                 int64_t ld) {
    if (col == 1) {
        const float *at[16];
        for (int64_t i = 0; i < n; i += m->lanes) {
            int64_t some = n - i < m->lanes ? n - i : m->lanes;
            for (int64_t j = 0; j < m->lanes; j++) at[j] = x + (i + (j < some ? j : 0)) * row;
            m->turn(at, some, k, to + i, ld);
        }
    } else {
        m->lay(x, col, n, k, to, ld);
    }
}

void hg_turn(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld) {
    const machine *m = this_machine();
    int64_t whole = n / m->lanes * m->lanes;
    turn(m, x, row, 1, whole, k, to, ld);
    for (int64_t i = whole; i < n; i++)
        for (int64_t p = 0; p < k; p++) to[p * ld + i] = x[i * row + p];
}

void hg_turn_in_room(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld) {
    turn(this_machine(), x, row, 1, n, k, to, ld);
}

void hg_turn_rows(const float *x, const int32_t *at, int64_t n, int64_t k, float *to, int64_t ld) {
    const machine *m = this_machine();
    const float *row[16];
    assert(m);
    for (int64_t i = 0; i < n; i += m->lanes) {
        for (int64_t q = 0; q < m->lanes; q++) row[q] = x + at[hg_least(i + q, n - 1)];
        m->turn(row, hg_least(n - i, m->lanes), k, to + i, ld);
    }
}

/* ---- A product, in blocks -------------------------------------------------------------------------------------------------- */

/* How high the next tile is, or how deep a block: what is left below two of them is shared between them. */
static inline int64_t share(int64_t left, int64_t most) {
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* How deep the next block is, where MKL cuts k: from LARGE rows and columns on only two blocks are shared. */
static int64_t depth(const hg_product *g, int64_t left) {
    enum { LARGE = 192 };
    return !g->b_at && g->m >= LARGE && g->n >= LARGE && g->k > 2 * DEEP ? hg_least(left, DEEP) : share(left, DEEP);
}

/* The same in whole units, but for the last one. A small product has less than one, and no time to divide. */
static int64_t share_of(int64_t left, int64_t most, int64_t unit) {
    if (left <= unit) return left;
    return hg_least(left, share((left + unit - 1) / unit, most / unit) * unit);
}

/* Makes tile `number` of a panel fetch its part of the next one, which begins at b: k rows of some lines, or `rows` rows of k. */
static void look_ahead(tile *t, int64_t number, const float *b, int64_t row, int64_t col, int64_t rows) {
    const int64_t lines = t->k / AHEAD;
    t->ahead = t->b, t->ahead_step = 0;
    if (col == 1 && number < AHEAD * rows / LINE)
        t->ahead = b + number % AHEAD * lines * row + number / AHEAD * LINE, t->ahead_step = row;
    else if (col != 1 && number * lines * LINE < rows * col)
        t->ahead = b + number * lines * LINE, t->ahead_step = LINE;
}

/* Begins to load a tile of numbers that is needed at its end. */
static inline void fetch(const float *x, int64_t row, int64_t rows, int64_t n) {
    for (; rows > 0; rows--, x += row) __builtin_prefetch(x), __builtin_prefetch(x + n - 1);
}

/* Rows [i0, i1) of a times the block of b in t, which is b_panel from tile to tile, for columns [j0, j1). Where `copy` is not NULL the
   block is copied there from b, panel by panel. Tiles fetch t.ahead, or where that is NULL the next panel or the next rows of a. */
static void block(const machine *m, const hg_product *g, tile t, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                  int64_t b_panel, bool first, const float *b, float *copy) {
    const int64_t panel = 2 * m->lanes;
    const float *a = t.a, *next = t.ahead;
    t.alpha = g->alpha, t.beta = first ? g->beta : 1;
    const int64_t rows_step = t.a_row == t.k ? LINE : 0; /* of a, if they lie one after the other */
    const bool kept = !copy && b_panel > panel;          /* copied before */
    t.ahead_step = LINE;
    for (int64_t j = j0; j < j1; j += panel, b += panel * g->b_col, t.b += b_panel) {
        t.n = hg_least(j1 - j, panel);
        if (copy) turn(m, b, g->b_col, g->b_row, t.n, t.k, copy, panel), copy += b_panel;
        int wide = t.n > m->lanes ? 2 : 1;
        const bool look = !next && j + panel < j1 && t.k >= ENOUGH_STEPS;
        t.a = a;
        for (int64_t i = i0, h, number = 0; i < i1; i += h, number++) {
            h = share(i1 - i, m->rows);
            if (look)
                look_ahead(&t, number, kept ? t.b + b_panel : b + panel * g->b_col, g->b_row, kept ? t.k : g->b_col,
                           panel);
            else if (!next)
                t.ahead = t.a + h * t.a_row, t.ahead_step = rows_step;
            t.c = g->c + i * g->c_row + j, t.c_row = g->c_row;
            if (first)
                t.add = g->add ? g->add + i * g->add_row + j : NULL, t.add_row = g->add_row;
            else
                t.add = t.c, t.add_row = t.c_row;
            const bool read = t.add && t.add_row; /* else one row for all, which is there */
            if (read || t.k >= LONG) fetch(read ? t.add : t.c, read ? t.add_row : t.c_row, h, t.n);
            m->tiles[h - 1][wide - 1](&t);
            t.a += h * t.a_row;
        }
        if (next) t.ahead += t.k / AHEAD * LINE;
    }
}

static void copy_rows(const float *x, int64_t row, int64_t rows, int64_t n, float *to, int64_t ld) {
    for (; rows > 0; rows--, x += row, to += ld) {
        for (int64_t i = 0; i < n; i += LINE) __builtin_prefetch(x + ROWS_AHEAD * row + i, 0, 2);
        memcpy(to, x, (size_t)n * sizeof *x);
    }
}

/* How many of `rows` cache lines, a row of numbers apart, wait for the same place in the first cache. */
static int64_t crowd(int64_t rows, int64_t row) {
    int64_t lines = row / 16, together = row % 16 ? 2 : lines & -lines;
    if (together < 2) together = 2;
    return rows * hg_least(together, 64) / 64;
}

/* All of it, where that is one tile of operands that are read as they lie. */
static bool single_tile(const machine *m, const hg_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    const int64_t n = j1 - j0, h = i1 - i0;
    if (!g->a || !g->b || g->b_col != 1 || !h || !n || h > m->rows || n > 2 * m->lanes || g->k > DEEP) return false;
    tile t = {n,
              g->k,
              g->a + i0 * g->a_row,
              g->b + j0,
              g->add ? g->add + i0 * g->add_row + j0 : NULL,
              g->c + i0 * g->c_row + j0,
              g->b_at,
              g->a_row,
              g->a_col,
              g->b_row,
              g->c_row,
              g->add_row,
              g->alpha,
              g->beta,
              g->a,
              0};
    m->tiles[h - 1][n > m->lanes](&t);
    return true;
}

/* Where few long rows pass by b a tile would wait for it: sums of ROOM_ROW columns are kept in memory instead, and b is read
   in order. Returns at which column it ends, for what does not fill a vector. */
static int64_t few_rows(const machine *m, const hg_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    const int64_t rows = i1 - i0, end = j0 + (j1 - j0) / LINE * LINE;
    if (rows < 1 || rows > FEW_ROWS || (rows > 1 && j1 - j0 < LONG_ROW) || g->b_at || g->b_col != 1) return j0;
    for (int64_t j = j0, n; j < end; j += n) {
        n = hg_least(end - j, ROOM_ROW);
        tile t = {
            .n = n, .a_row = g->a_row, .a_col = g->a_col, .b_row = g->b_row, .c_row = g->c_row, .alpha = g->alpha};
        t.c = g->c + i0 * g->c_row + j;
        t.add = g->add ? g->add + i0 * g->add_row + j : NULL, t.add_row = g->add_row, t.beta = g->beta;
        for (int64_t p = 0;; p += t.k) {
            t.k = depth(g, g->k - p);
            t.a = g->a + i0 * g->a_row + p * g->a_col, t.b = g->b + p * g->b_row + j;
            m->few[rows > 2 ? 2 : rows - 1]((int)rows, &t);
            if (p + t.k == g->k) break;
            t.add = t.c, t.add_row = t.c_row, t.beta = 1;
        }
    }
    return end;
}

/* Rows [i0, i1) and columns [j0, j1) of the product, by this thread alone. Without memory for large blocks it makes do with
   small ones. */
static void part(const machine *m, const hg_product *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    assert(m); /* only products that need no tile go without a machine */
    if (single_tile(m, g, i0, i1, j0, j1)) return;
    if ((j0 = few_rows(m, g, i0, i1, j0, j1)) == j1) return;
    const int64_t panel = 2 * m->lanes, n = j1 - j0;
    _Alignas(64) float little_b[DEEP * MAX_PANEL + PAD];
    /* The second cache is fast enough for b, if its rows find places there; where vectors are short, for a few tiles. */
    const bool again = m->lanes < LINE && i1 - i0 > 8 * m->rows && crowd(hg_least(g->k, DEEP), g->b_row) > WAYS;
    bool copy_b = !g->b_at && (g->b_col != 1 || (i1 - i0 > 2 * m->rows && g->k > 1 && (g->b_row % PAGE == 0 || again)));
    /* Where b fits into the first cache the rows of a tile meet all of it, as then a and c are moved in order. */
    const bool low = !g->b_at && n > 2 * panel && g->k * hg_least(n, WIDE) <= FITTING &&
                     (g->k >= SHORT || n * (i1 - i0) >= BEYOND);
    /* Weights of a convolution lie along k, and are read again for each image: they stay where they are. */
    bool copy_a = !g->b_at && !low && n > 4 * panel && (g->a_col != 1 || crowd(m->rows, g->a_row) > WAYS);
    /* A panel that one block of a needs is not kept. */
    bool keep_b = copy_b && n > panel && (low || share_of(i1 - i0, TALL, m->rows) < i1 - i0);
    const bool little = (n + panel - 1) * g->k <= DEEP * MAX_PANEL; /* all of b has room on the stack */
    float *space = copy_a || (keep_b && !little) ? take_room() : NULL;
    float *room_b = space && keep_b ? space : little_b, *room_a = space ? space + ROOM_B : NULL;
    copy_a &= space != NULL;
    const int64_t wide = g->b_at ? n + panel : keep_b && !space && !little ? panel : WIDE;
    for (int64_t p = 0, k;; p += k) {
        k = depth(g, g->k - p);
        for (int64_t j = j0, some; j < j1; j += some) {
            some = share_of(j1 - j, wide, panel);
            const float *b = g->b + p * g->b_row + j * g->b_col;
            int64_t b_panel = panel;
            tile t = {.k = k};
            if (copy_b)
                t.b = room_b, t.b_row = panel, b_panel = keep_b ? panel * k : 0;
            else
                t.b = b, t.b_row = g->b_row, t.b_at = g->b_at ? g->b_at + p : NULL;
            for (int64_t i = i0, end; i < i1; i = end) {
                end = i + (low ? share(i1 - i, m->rows) : share_of(i1 - i, TALL, m->rows));
                const float *a = g->a + i * g->a_row + p * g->a_col;
                bool there = j > j0 && end - i == i1 - i0; /* the same block as before */
                t.a = a, t.a_row = g->a_row, t.a_col = g->a_col;
                if (copy_a) {
                    bool by_rows = g->a_col == 1;
                    t.a = room_a, t.a_row = by_rows ? DEEP + PAD : 1, t.a_col = by_rows ? 1 : TALL + PAD;
                    if (!there && by_rows) copy_rows(a, g->a_row, end - i, k, room_a, t.a_row);
                    if (!there && !by_rows) copy_rows(a, g->a_col, k, end - i, room_a, t.a_col);
                }
                t.ahead = low && g->a_row == k ? g->a + end * k : NULL;
                block(m, g, t, i, end, j, j + some, b_panel, p == 0, b, copy_b && i == i0 ? room_b : NULL);
            }
        }
        if (p + k == g->k) break;
    }
}

/* ---- A product of a matrix and a vector -------------------------------------------------------------------------------------- */

/* The scalar product of k numbers: partial sums of every `width`th term, which the compiler makes vectors of. */
static inline __attribute__((always_inline)) float dot(int64_t k, const float *a, const float *x, int width) {
    float part[64] = {0}, sum = 0;
    int64_t p = 0;
    for (; p + width <= k; p += width)
        for (int j = 0; j < width; j++) part[j] = __builtin_fmaf(a[p + j], x[p + j], part[j]);
    for (; width > 16 && p + 16 <= k; p += 16)
        for (int j = 0; j < 16; j++) part[j] = __builtin_fmaf(a[p + j], x[p + j], part[j]);
    for (; p < k; p++) sum = __builtin_fmaf(a[p], x[p], sum);
    return sum + hg_sum_lanes_f32(true, width, part);
}

/* y[i] = alpha * (rows of a times x) + beta * add. */
HG_INLINE void dots_body(const bool fused, int64_t rows, int64_t k, const float *a, int64_t lda, const float *x,
                         float alpha, float beta, const float *add, int64_t add_step, float *y, int64_t y_step) {
    (void)fused;
    for (int64_t i = 0; i < rows; i++, a += lda) {
        float sum = alpha * (k < 64 ? dot(k, a, x, 16) : dot(k, a, x, 64));
        y[i * y_step] = add ? beta * add[i * add_step] + sum : sum;
    }
}
HG_VECTOR(dots,
          (int64_t rows, int64_t k, const float *a, int64_t lda, const float *x, float alpha, float beta,
           const float *add, int64_t add_step, float *y, int64_t y_step),
          rows, k, a, lda, x, alpha, beta, add, add_step, y, y_step)

float hg_dot(int64_t n, const float *x, const float *y) {
    float sum;
    dots(1, n, x, 0, y, 1, 0, NULL, 0, &sum, 1);
    return sum;
}

/* ---- All of it, by all threads ------------------------------------------------------------------------------------------------- */

enum { ENOUGH_WORK = 1 << 19, ENOUGH_READ = 1 << 17 }; /* multiplications of a thread, with two matrices and with one */

typedef enum way { BY_ROWS, BY_COLUMNS, BY_SUMS, BY_DOTS, BY_DOTS_OF_B } way;

typedef struct job {
    const hg_product *g;
    const machine *m;
    way way;
    int64_t unit; /* rows or columns */
} job;

/* Are `n` rows of k too short for dots, which would add up number by number? Turned they fill tiles. */
static bool is_shallow(int64_t k, int64_t n) { return k < LINE && n > HG_PANEL; }

/* Is it a matrix and a vector, read along its rows (dots) or added up (sums: columns, of which one row reads much)? */
static way way_of(const hg_product *g) {
    if (g->b_at) return g->n >= g->m ? BY_COLUMNS : BY_ROWS;
    if (g->m == 1) {
        if (g->b_row == 1 && g->a_col == 1 && g->k > 1 && !is_shallow(g->k, g->n)) return BY_DOTS_OF_B;
        if (g->b_col == 1) return BY_SUMS;
    }
    if (g->n == 1 && g->a_col == 1 && g->b_row == 1) return BY_DOTS;
    return g->n >= g->m ? BY_COLUMNS : BY_ROWS;
}

static void run_range(void *arg, int64_t begin, int64_t end) {
    const job *j = arg;
    const hg_product *g = j->g;
    const int64_t at = begin * j->unit, all = j->way == BY_ROWS || j->way == BY_DOTS ? g->m : g->n;
    const int64_t stop = hg_least(end * j->unit, all);
    const float *add = g->add;
    switch (j->way) {
    case BY_ROWS: part(j->m, g, at, stop, 0, g->n); break;
    case BY_COLUMNS:
    case BY_SUMS: part(j->m, g, 0, g->m, at, stop); break;
    case BY_DOTS:
        dots(stop - at, g->k, g->a + at * g->a_row, g->a_row, g->b, g->alpha, g->beta,
             add ? add + at * g->add_row : NULL, g->add_row, g->c + at * g->c_row, g->c_row);
        break;
    case BY_DOTS_OF_B:
        dots(stop - at, g->k, g->b + at * g->b_col, g->b_col, g->a, g->alpha, g->beta, add ? add + at : NULL, 1,
             g->c + at, 1);
        break;
    }
}

static void run(const machine *m, const hg_product *g) {
    job j = {g, m, way_of(g), 1};
    if (j.way == BY_ROWS) j.unit = m->rows;
    if (j.way == BY_COLUMNS || j.way == BY_SUMS) j.unit = 2 * m->lanes;
    int64_t all = j.way == BY_ROWS || j.way == BY_DOTS ? g->m : g->n;
    int64_t units = all <= j.unit ? 1 : (all + j.unit - 1) / j.unit,
            enough = j.way <= BY_COLUMNS ? ENOUGH_WORK : ENOUGH_READ;
    int64_t work = g->m * g->n * g->k, threads = work < 2 * enough ? 1 : hg_get_num_threads();
    if (threads == 1)
        run_range(&j, 0, units);
    else
        hg_parallel_for(units, units / threads, run_range, &j);
}

typedef struct batch_job {
    const hg_product *g;
    const machine *m;
    int64_t a, b, c, add; /* from one matrix to the next */
} batch_job;

static void run_batches(void *arg, int64_t begin, int64_t end) {
    const batch_job *j = arg;
    hg_product g = *j->g;
    job one = {&g, j->m, way_of(&g), INT64_MAX};
    for (int64_t i = begin; i < end; i++) {
        g.a = j->g->a + i * j->a, g.b = j->g->b + i * j->b, g.c = j->g->c + i * j->c;
        g.add = j->g->add ? j->g->add + i * j->add : NULL;
        if (one.way <= BY_SUMS)
            part(j->m, &g, 0, g.m, 0, g.n);
        else
            one.unit = one.way == BY_DOTS ? g.m : g.n, run_range(&one, 0, 1);
    }
}

void hg_product_run(const hg_product *g, int64_t n, const int64_t step[4]) {
    const machine *m = this_machine();
    const bool is_row = g->n == 1 && g->m > 1 && g->c_row == 1 && !g->b_at && (!g->add || g->add_row == 1);
    if (is_row && ((g->a_row == 1 && g->a_col > 1) || (g->a_col == 1 && is_shallow(g->k, g->m)))) {
        /* a column of sums is a row of them */
        hg_product row = *g;
        row.m = 1, row.n = g->m;
        row.a = g->b, row.a_col = g->b_row, row.b = g->a, row.b_row = g->a_col, row.b_col = g->a_row;
        hg_product_run(&row, n, n == 1 ? NULL : (int64_t[]){step[1], step[0], step[2], step[3]});
        return;
    }
    if (n == 1) {
        run(m, g);
        return;
    }
    batch_job j = {g, m, step[0], step[1], step[2], step[3]};
    int64_t work = g->m * g->n * g->k, threads = n * work < 2 * ENOUGH_WORK ? 1 : hg_get_num_threads();
    if (threads > 1 && n < threads && work >= 2 * ENOUGH_WORK) {
        for (int64_t i = 0; i < n; i++) {
            hg_product one = *g;
            one.a += i * step[0], one.b += i * step[1], one.c += i * step[2];
            if (one.add) one.add += i * step[3];
            run(m, &one);
        }
    } else if (threads == 1) {
        run_batches(&j, 0, n);
    } else {
        hg_parallel_for(n, ENOUGH_WORK / (work + 1) + 1, run_batches, &j);
    }
}

/* ---- Windows -------------------------------------------------------------------------------------------------------------------- */

enum { WINDOW_DEEP = 320 };

void hg_windows_run(const hg_windows *w) {
    const machine *m = this_machine();
    assert(m);
    const int64_t blocks = (w->k + WINDOW_DEEP - 1) / WINDOW_DEEP, deep = (w->k + blocks - 1) / blocks;
    for (int64_t p = 0; p < w->k; p += deep)
        for (int64_t j = 0; j < w->n; j += 2 * m->lanes) {
            const float *b = w->b + j / HG_PANEL * HG_PANEL * w->k + j % HG_PANEL + p * HG_PANEL;
            const int wide = w->n - j > m->lanes ? 2 : 1;
            float *c = w->c + j;
            for (int64_t row = 0; row < w->images * w->high; row++) {
                const float *a = w->a + row / w->high * w->a_image + row % w->high * w->a_row;
                for (int64_t x = 0, h; x < w->wide; x += h, c += h * w->c_row) {
                    h = share(w->wide - x, m->rows);
                    m->windows[h - 1][wide - 1][w->apart - 1](hg_least(w->k - p, deep), a + x * w->apart, w->at + p, b,
                                                              p == 0, c, w->c_row);
                }
            }
        }
}
