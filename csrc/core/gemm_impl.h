/* Raw matrix products: what blas.c and k_gemm.c give to the ops. */
#ifndef HG_GEMM_IMPL_H
#define HG_GEMM_IMPL_H

#include "core_impl.h"

static inline int64_t hg_least(int64_t x, int64_t y) { return x < y ? x : y; }
static inline int64_t hg_most(int64_t x, int64_t y) { return x > y ? x : y; }
/* n, and what fills the last unit */
static inline int64_t hg_whole(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* c = alpha * op(a) op(b) + beta * add, row-major; op transposes where ta, tb say so. op(a) is (m,k), op(b) (k,n), c (m,n), of
   dtype d, float32 or float64; lda, ldb and ldc are the elements from one stored row to the next. add, which is not read where
   it is NULL, may be c; add_row is from one of its rows to the next: 0 where it is one row for all. */
typedef struct hg_gemm_args {
    hg_dtype d;
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc, add_row;
    double alpha, beta;
    const void *a, *b, *add;
    void *c;
} hg_gemm_args;

/* `n` such products, of matrices a_step, b_step, c_step and add_step elements apart. It cannot fail: where there is no BLAS or
   no need of it, plain loops do. */
void hg_multiply(hg_lib *lib, const hg_gemm_args *p, int64_t n, int64_t a_step, int64_t b_step, int64_t c_step,
                 int64_t add_step);
/* One, in few words; add is c. */
void hg_gemm(hg_lib *lib, hg_dtype d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
             int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc);

/* A product of float32 matrices as k_gemm.c takes it. One of a_row and a_col is 1, and one of b_row and b_col. Where b_at is not
   NULL row p of b is at b + b_at[p], and b_row is 0. */
typedef struct hg_product {
    int64_t m, n, k;
    const float *a, *b, *add;
    float *c;
    const int32_t *b_at;
    int64_t a_row, a_col, b_row, b_col, c_row, add_row;
    float alpha, beta;
} hg_product;

enum { HG_PANEL = 32 }; /* columns, whole vectors, that tiles compute together on any processor */

bool hg_has_tiles(void); /* Does k_gemm.c know this processor? Otherwise it must not be called. */
/* to[p * ld + i] = x[i * row + p], for n rows of k. */
void hg_turn(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld);
/* The same with room for whole vectors behind each row of `to`. */
void hg_turn_in_room(const float *x, int64_t row, int64_t n, int64_t k, float *to, int64_t ld);
/* The same as hg_turn() with row i at x + at[i], and room for whole vectors behind the last number. */
void hg_turn_rows(const float *x, const int32_t *at, int64_t n, int64_t k, float *to, int64_t ld);
/* `n` products, step[]: from one a, b, c and add to the next. */
void hg_product_run(const hg_product *g, int64_t n, const int64_t step[4]);

/* Windows over `images` images, `high` rows of `wide` results each, with `n` numbers for each, and whole vectors of room: c, row by
   row, is what they see times b. Result (i, y, x) sees a + i * a_image + y * a_row + x * apart + at[], k numbers, where
   apart is 1 or 2. b is packed: the first
   HG_PANEL columns of all k rows, then the next ones. */
typedef struct hg_windows {
    int64_t images, high, wide, apart, n, k;
    const float *a, *b;
    float *c;
    const int32_t *at;
    int64_t a_image, a_row, c_row;
} hg_windows;

void hg_windows_run(const hg_windows *w);

/* Forget the library that was loaded: called by hg_close(). */
void hg_blas_close(hg_lib *lib);

#endif
