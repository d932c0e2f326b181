/* Raw matrix products: what blas.c gives to the ops. */
#ifndef HG_GEMM_IMPL_H
#define HG_GEMM_IMPL_H

#include "core_impl.h"

/* c = alpha * op(a) op(b) + beta * c, row-major; op transposes where ta, tb say so. op(a) is (m,k), op(b) (k,n), c (m,n), of
   dtype d, float32 or float64; lda, ldb and ldc are the elements from one stored row to the next. With beta 0, c is not
   read. It cannot fail: where there is no BLAS or no need of it, plain loops do. */
void hg_gemm(hg_lib *lib, hg_dtype d, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
             int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc);

/* Forget the library that was loaded: called by hg_close(). */
void hg_blas_close(hg_lib *lib);

#endif
