/* What the ops on matrices share. Matrices are worked on in float64, by rows, whatever their dtype. */
#ifndef HG_LINALG_IMPL_H
#define HG_LINALG_IMPL_H

#include "layout_impl.h"
#include "shape_impl.h"

/* y -= f x, n numbers of each. */
void hg_minus_times(double *y, double f, const double *x, int64_t n);
/* x (n,k), whose rows are ld apart and hold the right side, becomes the solution. The matrix is read by its rows, or by
   its columns: row or col is 1. */
void hg_substitute(hg_lib *lib, const double *a, int64_t row, int64_t col, bool upper, bool unit, int64_t n, double *x,
                   int64_t k, int64_t ld);
/* A contiguous copy in float64. New. */
hg_status hg_as_doubles(hg_ctx *cx, hg_tensor *t, hg_tensor **out);
/* A result in dtype d, its matrices by columns: as LAPACK leaves them, and so torch. Out of place. */
hg_status hg_out_columns(hg_ctx *cx, hg_tensor *made, hg_dtype d, hg_tensor **out);

typedef enum hg_half_words { HG_HALF_LU, HG_HALF_LOW, HG_HALF_FINE } hg_half_words; /* how torch refuses half types */
/* At least two dimensions, of a floating dtype that torch has a kernel for. */
hg_status hg_check_matrix(hg_ctx *cx, const char *name, const hg_tensor *t, hg_half_words words);
/* The same, of square matrices. */
hg_status hg_check_square(hg_ctx *cx, const char *name, const hg_tensor *t, hg_half_words words);

/* LAPACK's, from the library that hg_gemm() takes its products from; they fail where there is none. `what` is whose words
   they fail with: HG_LINALG where the iteration does not converge.
   The eigenvalues of the symmetric a (n,n), whose lower triangle is read, ascending in w; with `vectors` a becomes the
   eigenvectors, in columns. */
hg_status hg_lapack_eigh(hg_ctx *cx, const char *what, bool vectors, int64_t n, double *a, double *w);
/* a (m,n), which is overwritten, as u diag(s) vt: u (m,cols), vt (rows,n), where cols and rows are min(m,n), or m and n with
   `full`. With u NULL the singular values only. */
hg_status hg_lapack_svd(hg_ctx *cx, const char *what, bool full, int64_t m, int64_t n, double *a, double *s, double *u,
                        double *vt);

#endif
