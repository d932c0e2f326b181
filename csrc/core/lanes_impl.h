/* One number of many that were kept side by side: sums and extremes of lanes.

   Loops over lanes become vectors, but what joins the lanes of one vector does not: compilers take it apart number by number, or
   send it through memory. So that is written with vectors, of the 32 bytes that those of AVX2 have: of larger ones it has no
   comparisons and shuffles, and they, too, are taken apart. */
#ifndef HG_LANES_IMPL_H
#define HG_LANES_IMPL_H

#include "cpu_impl.h"

#include <stdint.h>

enum { HG_LANES = 16 };

/* At any address; what compares them. */
typedef float hg_lanes_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t hg_lanes_i32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double hg_lanes_f64 __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t hg_lanes_i64 __attribute__((vector_size(32), aligned(8), may_alias));

/* x[0] becomes what all of x, which are eight or four, are joined, two by two: each half with the other. */
#define HG_FOLD_8(x, join)                                                                                             \
    x = join(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 4, 5, 6, 7));                                                \
    x = join(x, __builtin_shufflevector(x, x, 2, 3, 2, 3, 2, 3, 2, 3));                                                \
    x = join(x, __builtin_shufflevector(x, x, 1, 1, 1, 1, 1, 1, 1, 1))
#define HG_FOLD_4(x, join)                                                                                             \
    x = join(x, __builtin_shufflevector(x, x, 2, 3, 2, 3));                                                            \
    x = join(x, __builtin_shufflevector(x, x, 1, 1, 1, 1))
#define HG_SUM(x, y)         ((x) + (y))
#define HG_EITHER(x, y)      ((x) | (y))
#define HG_CHOOSE(m, x, y)   (((m) & (x)) | (~(m) & (y)))
#define HG_SMALLER(x, y)     HG_CHOOSE((x) < (y), x, y) /* of integers */
#define HG_SMALLER_F32(x, y) ((hg_lanes_f32)HG_CHOOSE((x) < (y), (hg_lanes_i32)(x), (hg_lanes_i32)(y)))
#define HG_SMALLER_F64(x, y) ((hg_lanes_f64)HG_CHOOSE((x) < (y), (hg_lanes_i64)(x), (hg_lanes_i64)(y)))
#define HG_LARGER_F32(x, y)  ((hg_lanes_f32)HG_CHOOSE((x) > (y), (hg_lanes_i32)(x), (hg_lanes_i32)(y)))
#define HG_LARGER_F64(x, y)  ((hg_lanes_f64)HG_CHOOSE((x) > (y), (hg_lanes_i64)(x), (hg_lanes_i64)(y)))

/* The sum, or where none is NaN the largest or smallest, of n lanes: HG_LANES doubled some times, or any number where nothing is
   `fused` (Note [Vector units]). Works in them. */
#define HG_JOIN(name, T, type, FOLD, join, ...)                                                                        \
    HG_INLINE T name(const bool fused, const int n, T *lane) {                                                         \
        enum { WHOLE = sizeof(type) / sizeof(T) };                                                                     \
        HG_UNROLLED for (int half = n / 2; fused && half >= WHOLE; half /= 2) for (int k = 0; k < half; k++) {         \
            const T a = lane[k], b = lane[k + half];                                                                   \
            lane[k] = (__VA_ARGS__);                                                                                   \
        }                                                                                                              \
        if (fused && n >= WHOLE) {                                                                                     \
            type x = *(const type *)lane;                                                                              \
            FOLD(x, join);                                                                                             \
            return x[0];                                                                                               \
        }                                                                                                              \
        for (int k = 1; k < n; k++) {                                                                                  \
            const T a = lane[0], b = lane[k];                                                                          \
            lane[0] = (__VA_ARGS__);                                                                                   \
        }                                                                                                              \
        return lane[0];                                                                                                \
    }
HG_JOIN(hg_sum_lanes_f32, float, hg_lanes_f32, HG_FOLD_8, HG_SUM, a + b)
HG_JOIN(hg_sum_lanes_f64, double, hg_lanes_f64, HG_FOLD_4, HG_SUM, a + b)
HG_JOIN(hg_max_lanes_f32, float, hg_lanes_f32, HG_FOLD_8, HG_LARGER_F32, a > b ? a : b)
HG_JOIN(hg_max_lanes_f64, double, hg_lanes_f64, HG_FOLD_4, HG_LARGER_F64, a > b ? a : b)
HG_JOIN(hg_min_lanes_f32, float, hg_lanes_f32, HG_FOLD_8, HG_SMALLER_F32, a < b ? a : b)
HG_JOIN(hg_min_lanes_f64, double, hg_lanes_f64, HG_FOLD_4, HG_SMALLER_F64, a < b ? a : b)
HG_JOIN(hg_min_lanes_i32, int32_t, hg_lanes_i32, HG_FOLD_8, HG_SMALLER, a < b ? a : b)
HG_JOIN(hg_any_lanes_i32, int32_t, hg_lanes_i32, HG_FOLD_8, HG_EITHER, a | b)
#undef HG_JOIN

#endif
