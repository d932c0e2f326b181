/* Matrix products on raw memory: OpenBLAS where the host knows of one, plain loops elsewhere.

   Note [BLAS]
   The library is never linked: its path comes from the host, and it is loaded at the first product that is large enough to
   gain from it. It is set to one thread at once: its own pool collapses where a core is busy, and a fork while it runs
   deadlocks. Which products go to it depends on their size alone, so that the same product always gives the same bits. */
#include "gemm_impl.h"
#include "cpu_impl.h"
#include "linalg_impl.h"
#include "iter_impl.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#ifdef HG_HAVE_CBLAS
#include "cblas.h"
#else
enum CBLAS_ORDER { CblasRowMajor = 101 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };
#endif

/* The symbols' types, of the build with 32-bit integers; checked against the header below where there is one. */
typedef void (*sgemm_fn)(enum CBLAS_ORDER, enum CBLAS_TRANSPOSE, enum CBLAS_TRANSPOSE, int, int, int, float,
                         const float *, int, const float *, int, float, float *, int);
typedef void (*dgemm_fn)(enum CBLAS_ORDER, enum CBLAS_TRANSPOSE, enum CBLAS_TRANSPOSE, int, int, int, double,
                         const double *, int, const double *, int, double, double *, int);
typedef void (*dgemv_fn)(enum CBLAS_ORDER, enum CBLAS_TRANSPOSE, int, int, double, const double *, int, const double *,
                         int, double, double *, int);

enum { ROW_MAJOR = 101 }; /* LAPACKE's */
typedef int (*syevd_fn)(int, char, char, int, double *, int, double *);
typedef int (*gesdd_fn)(int, char, int, int, double *, int, double *, double *, int, double *, int);

#ifdef HG_HAVE_CBLAS
_Static_assert(sizeof(blasint) == sizeof(int), "OpenBLAS must be the build with 32-bit integers");
#endif

struct hg_blas {
    void *handle;
    sgemm_fn sgemm; /* NULL: there is no BLAS */
    dgemm_fn dgemm;
    dgemv_fn dgemv;
    syevd_fn syevd; /* NULL: there is no LAPACK with it */
    gesdd_fn gesdd;
};

enum { ENOUGH = 8192, ENOUGH_BY_VECTOR = 1024 }; /* multiplications from which BLAS pays */

static const struct hg_blas none;

static void *symbol(void *handle, const char *prefix, const char *name) {
    char whole[64];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    return dlsym(handle, whole);
}

/* dlsym gives an object pointer where a function is meant: POSIX says they convert. */
static void load(struct hg_blas *b, const char *path) {
    static const char *const prefixes[] = {"scipy_", ""};
    /* Read while loading: no pool is started only to be ended. */
    static const char *const name = "OPENBLAS_NUM_THREADS";
    bool unset = !getenv(name) && setenv(name, "1", 0) == 0;
    b->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (unset) unsetenv(name);
    if (!b->handle) return;
    for (int i = 0; i < 2 && !b->sgemm; i++) {
        void *s = symbol(b->handle, prefixes[i], "cblas_sgemm"), *d = symbol(b->handle, prefixes[i], "cblas_dgemm");
        void *v = symbol(b->handle, prefixes[i], "cblas_dgemv");
        void *threads = symbol(b->handle, prefixes[i], "openblas_set_num_threads");
        if (!s || !d || !v) continue;
        memcpy(&b->sgemm, &s, sizeof s), memcpy(&b->dgemm, &d, sizeof d), memcpy(&b->dgemv, &v, sizeof v);
        s = symbol(b->handle, prefixes[i], "LAPACKE_dsyevd"), d = symbol(b->handle, prefixes[i], "LAPACKE_dgesdd");
        memcpy(&b->syevd, &s, sizeof s), memcpy(&b->gesdd, &d, sizeof d);
        if (threads) {
            void (*set)(int);
            memcpy(&set, &threads, sizeof threads);
            set(1);
        }
    }
}

static const struct hg_blas *blas_of(hg_lib *lib) {
    if (lib->blas) return lib->blas;
    struct hg_blas *b = lib->host.mem(lib->host.ud, NULL, sizeof *b);
    if (!b) return &none; /* the loops will do; the next product tries again */
    *b = none;
    const char *path = lib->find_blas ? lib->find_blas(lib->find_blas_ud) : NULL;
    if (path) load(b, path);
    return lib->blas = b;
}

void hg_blas_close(hg_lib *lib) {
    struct hg_blas *b = lib->blas;
    lib->blas = NULL;
    hg_mem_free(lib, b); /* the library stays loaded: one that may have started threads cannot be taken away */
}

/* ---- Plain loops ------------------------------------------------------------------------------------------------------ */

/* b is packed block by block into rows of WIDE on the stack; four rows of c at a time are summed in registers. A sum runs
   through k in order, with one rounding a term, and what c held comes last: so its bits are those of torch's kernels. */
enum { DEEP = 128, WIDE = 32 };

#define GEMM_LOOPS(name, E, FMA)                                                                                       \
    HG_INLINE void name##_block_body(const bool fused, int64_t m, int64_t n, int64_t k, E alpha, const E *a,           \
                                     int64_t row, int64_t col, const E *b, E *c, int64_t ldc) {                        \
        (void)fused;                                                                                                   \
        for (int64_t i = 0; i < m; i += 4) {                                                                           \
            int64_t rows = m - i < 4 ? m - i : 4;                                                                      \
            E sum[4][WIDE] = {{0}};                                                                                    \
            if (rows == 4) {                                                                                           \
                for (int64_t p = 0; p < k; p++) {                                                                      \
                    const E *x = a + i * row + p * col, *y = b + p * WIDE;                                             \
                    E x0 = x[0], x1 = x[row], x2 = x[2 * row], x3 = x[3 * row];                                        \
                    for (int j = 0; j < WIDE; j++) {                                                                   \
                        sum[0][j] = FMA(x0, y[j], sum[0][j]), sum[1][j] = FMA(x1, y[j], sum[1][j]);                    \
                        sum[2][j] = FMA(x2, y[j], sum[2][j]), sum[3][j] = FMA(x3, y[j], sum[3][j]);                    \
                    }                                                                                                  \
                }                                                                                                      \
            } else {                                                                                                   \
                for (int64_t r = 0; r < rows; r++)                                                                     \
                    for (int64_t p = 0; p < k; p++) {                                                                  \
                        E x = a[(i + r) * row + p * col];                                                              \
                        const E *y = b + p * WIDE;                                                                     \
                        for (int j = 0; j < WIDE; j++) sum[r][j] = FMA(x, y[j], sum[r][j]);                            \
                    }                                                                                                  \
            }                                                                                                          \
            for (int64_t r = 0; r < rows; r++)                                                                         \
                for (int64_t j = 0; j < n; j++) c[(i + r) * ldc + j] += alpha * sum[r][j];                             \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_OF(E, name##_block,                                                                                      \
                 (int64_t m, int64_t n, int64_t k, E alpha, const E *a, int64_t row, int64_t col, const E *b, E *c,    \
                  int64_t ldc),                                                                                        \
                 m, n, k, alpha, a, row, col, b, c, ldc)                                                               \
    static void name(bool ta, bool tb, int64_t m, int64_t n, int64_t k, E alpha, const E *a, int64_t lda, const E *b,  \
                     int64_t ldb, E beta, E *c, int64_t ldc) {                                                         \
        E packed[DEEP * WIDE];                                                                                         \
        int64_t row = ta ? 1 : lda, col = ta ? lda : 1;                                                                \
        assert(c || !m || !n);                                                                                         \
        for (int64_t i = 0; i < m; i++)                                                                                \
            for (int64_t j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];                    \
        for (int64_t j = 0; j < n; j += WIDE)                                                                          \
            for (int64_t p = 0; p < k; p += DEEP) {                                                                    \
                int64_t wide = n - j < WIDE ? n - j : WIDE, deep = k - p < DEEP ? k - p : DEEP;                        \
                for (int64_t q = 0; q < deep; q++) {                                                                   \
                    const E *from = tb ? b + j * ldb + p + q : b + (p + q) * ldb + j;                                  \
                    int64_t step = tb ? ldb : 1;                                                                       \
                    for (int64_t r = 0; r < wide; r++) packed[q * WIDE + r] = from[r * step];                          \
                    for (int64_t r = wide; r < WIDE; r++) packed[q * WIDE + r] = 0;                                    \
                }                                                                                                      \
                name##_block(m, wide, deep, alpha, a + p * col, row, col, packed, c + j, ldc);                         \
            }                                                                                                          \
    }                                                                                                                  \
    /* c of one column: sixteen partial sums a row, so that they can be one vector */                                  \
    HG_INLINE void name##_column_body(const bool fused, int64_t m, int64_t k, E alpha, const E *a, int64_t lda,        \
                                      const E *b, E beta, E *c, int64_t ldc) {                                         \
        (void)fused;                                                                                                   \
        for (int64_t i = 0; i < m; i++, a += lda) {                                                                    \
            E part[16] = {0}, sum = 0;                                                                                 \
            int64_t p = 0;                                                                                             \
            for (; p + 16 <= k; p += 16)                                                                               \
                for (int j = 0; j < 16; j++) part[j] = FMA(a[p + j], b[p + j], part[j]);                               \
            for (; p < k; p++) sum += a[p] * b[p];                                                                     \
            HG_UNROLLED for (int half = 8; half; half /= 2) for (int j = 0; j < half; j++) part[j] += part[j + half];  \
            c[i * ldc] = alpha * (sum + part[0]) + (beta == 0 ? 0 : beta * c[i * ldc]);                                \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_OF(E, name##_column,                                                                                     \
                 (int64_t m, int64_t k, E alpha, const E *a, int64_t lda, const E *b, E beta, E *c, int64_t ldc), m,   \
                 k, alpha, a, lda, b, beta, c, ldc)
GEMM_LOOPS(loops_f32, float, __builtin_fmaf)
GEMM_LOOPS(loops_f64, double, __builtin_fma)
#undef GEMM_LOOPS

static bool fits(int64_t x) { return x <= INT32_MAX; }

/* One product by BLAS or by the loops above. */
static void multiply(hg_lib *lib, const hg_gemm_args *p) {
    int64_t m = p->m, n = p->n, k = p->k, lda = p->lda, ldb = p->ldb, ldc = p->ldc;
    double beta = p->add ? p->beta : 0;
    size_t size = hg_dtypes[p->d].size;
    if (p->add && p->add != p->c)
        for (int64_t i = 0; i < m; i++)
            memcpy((char *)p->c + (size_t)(i * ldc) * size, (const char *)p->add + (size_t)(i * p->add_row) * size,
                   (size_t)n * size);
    int64_t enough = p->d == HG_F64 && (m == 1 || n == 1) ? ENOUGH_BY_VECTOR : ENOUGH;
    bool large = k > 0 && (m >= enough || n >= enough || k >= enough || m * n >= enough || m * n * k >= enough);
    bool narrow = fits(m) && fits(n) && fits(k) && fits(lda) && fits(ldb) && fits(ldc);
    const struct hg_blas *blas = large && narrow ? blas_of(lib) : &none;
    if (blas->sgemm) {
        enum CBLAS_TRANSPOSE x = p->ta ? CblasTrans : CblasNoTrans, y = p->tb ? CblasTrans : CblasNoTrans;
        /* BLAS wants strides of at least a row, also where there is one row only */
        int64_t least_a = p->ta ? m : k, least_b = p->tb ? k : n;
        if (lda < least_a) lda = least_a;
        if (ldb < least_b) ldb = least_b;
        if (ldc < n) ldc = n;
        if (p->d == HG_F32)
            blas->sgemm(CblasRowMajor, x, y, (int)m, (int)n, (int)k, (float)p->alpha, p->a, (int)lda, p->b, (int)ldb,
                        (float)beta, p->c, (int)ldc);
        else if (n == 1)
            blas->dgemv(CblasRowMajor, x, (int)(p->ta ? k : m), (int)(p->ta ? m : k), p->alpha, p->a, (int)lda, p->b,
                        p->tb ? 1 : (int)ldb, beta, p->c, (int)ldc);
        else if (m == 1)
            blas->dgemv(CblasRowMajor, p->tb ? CblasNoTrans : CblasTrans, (int)(p->tb ? n : k), (int)(p->tb ? k : n),
                        p->alpha, p->b, (int)ldb, p->a, p->ta ? (int)lda : 1, beta, p->c, 1);
        else
            blas->dgemm(CblasRowMajor, x, y, (int)m, (int)n, (int)k, p->alpha, p->a, (int)lda, p->b, (int)ldb, beta,
                        p->c, (int)ldc);
        return;
    }
    bool column = n == 1 && !p->ta && (p->tb || ldb == 1) && k > 0;
    if (p->d == HG_F32) {
        if (column)
            loops_f32_column(m, k, (float)p->alpha, p->a, lda, p->b, (float)beta, p->c, ldc);
        else
            loops_f32(p->ta, p->tb, m, n, k, (float)p->alpha, p->a, lda, p->b, ldb, (float)beta, p->c, ldc);
    } else {
        if (column)
            loops_f64_column(m, k, p->alpha, p->a, lda, p->b, beta, p->c, ldc);
        else
            loops_f64(p->ta, p->tb, m, n, k, p->alpha, p->a, lda, p->b, ldb, beta, p->c, ldc);
    }
}

void hg_multiply(hg_lib *lib, const hg_gemm_args *p, int64_t n, int64_t a_step, int64_t b_step, int64_t c_step,
                 int64_t add_step) {
    if (p->m == 0 || p->n == 0 || n == 0) return;
    if (p->d == HG_F32 && hg_has_tiles()) {
        hg_product_run(&(hg_product){.m = p->m,
                                     .n = p->n,
                                     .k = p->k,
                                     .a = p->a,
                                     .b = p->b,
                                     .add = p->add,
                                     .c = p->c,
                                     .a_row = p->ta ? 1 : p->lda,
                                     .a_col = p->ta ? p->lda : 1,
                                     .b_row = p->tb ? 1 : p->ldb,
                                     .b_col = p->tb ? p->ldb : 1,
                                     .c_row = p->ldc,
                                     .add_row = p->add_row,
                                     .alpha = (float)p->alpha,
                                     .beta = (float)p->beta},
                       n, (const int64_t[]){a_step, b_step, c_step, add_step});
        return;
    }
    hg_gemm_args one = *p;
    size_t size = hg_dtypes[p->d].size;
    for (int64_t i = 0; i < n; i++) {
        multiply(lib, &one);
        one.a = (const char *)one.a + a_step * (int64_t)size, one.b = (const char *)one.b + b_step * (int64_t)size;
        one.c = (char *)one.c + c_step * (int64_t)size;
        if (one.add) one.add = (const char *)one.add + add_step * (int64_t)size;
    }
}

void hg_gemm(hg_lib *lib, hg_dtype d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
             int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc) {
    hg_gemm_args p = {.d = d,
                      .ta = ta,
                      .tb = tb,
                      .m = m,
                      .n = n,
                      .k = k,
                      .alpha = alpha,
                      .beta = beta,
                      .a = a,
                      .lda = lda,
                      .b = b,
                      .ldb = ldb,
                      .add = beta == 0 ? NULL : c,
                      .add_row = ldc,
                      .c = c,
                      .ldc = ldc};
    hg_multiply(lib, &p, 1, 0, 0, 0, 0);
}

/* ---- LAPACK ----------------------------------------------------------------------------------------------------------- */

static hg_status lapack_status(hg_ctx *cx, const char *what, int info, const double *a, int64_t n) {
    if (info == 0) return HG_OK;
    for (int64_t i = 0; i < n; i++)
        if (a[i] - a[i] != 0)
            return hg_fail(cx, HG_LINALG,
                           "%s: The algorithm failed to converge because the input matrix contained non-finite values.",
                           what);
    return hg_fail(cx, HG_LINALG,
                   "%s: The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
                   "repeated values (error code: %d).",
                   what, info);
}

static hg_status no_lapack(hg_ctx *cx, const char *what) {
    return hg_fail(cx, HG_MISSING, "%s: needs the LAPACK of the package scipy-openblas32, which was not found", what);
}

hg_status hg_lapack_eigh(hg_ctx *cx, const char *what, bool vectors, int64_t n, double *a, double *w) {
    const struct hg_blas *blas = blas_of(cx->lib);
    if (n == 0) return HG_OK;
    if (!blas->syevd || !fits(n)) return no_lapack(cx, what);
    return lapack_status(cx, what, blas->syevd(ROW_MAJOR, vectors ? 'V' : 'N', 'L', (int)n, a, (int)n, w), a, n * n);
}

hg_status hg_lapack_svd(hg_ctx *cx, const char *what, bool full, int64_t m, int64_t n, double *a, double *s, double *u,
                        double *vt) {
    const struct hg_blas *blas = blas_of(cx->lib);
    if (!blas->gesdd || !fits(m) || !fits(n)) return no_lapack(cx, what);
    int k = (int)(m < n ? m : n), cols = full ? (int)m : k;
    char job = !u ? 'N' : full ? 'A' : 'S';
    int info = blas->gesdd(ROW_MAJOR, job, (int)m, (int)n, a, (int)n, s, u, u ? cols : 1, vt, vt ? (int)n : 1);
    return lapack_status(cx, what, info, a, m * n);
}
