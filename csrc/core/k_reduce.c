/* Folding rows of numbers: see Note [Reductions]. */
#include "gemm_impl.h"
#include "k_math_impl.h"
#include "lanes_impl.h"
#include "pool_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { LANES = 32, FEW = 4, BLOCK = 4096, ROWS = 16, QUAD = 16, FAR = 1 << 18, MANY = 1 << 15 };

#define FOLD_ARGS                                                                                                      \
    int64_t rows, int64_t row_step, int64_t acc_step, int64_t n, char *const *p, const int64_t *step,                  \
        const hg_extra_args *extra
#define FOLD_NAMES    rows, row_step, acc_step, n, p, step, extra
#define ACC(i)        (*(S *)(void *)(p[0] + (i)*step[0]))
#define ELEMENT(r, i) (*(const E *)(const void *)(p[1] + (r)*row_step + (i)*step[1]))

/* A fold over elements of type E, computed with as L, accumulated as A and kept as S. STEP is the next accumulator from
   a and x, MERGE one from a and b; `first` changes nothing when merged. Lanes, few where no version is made for wide
   vectors, are merged every BLOCK, so that errors of a long sum stay small; of columns, LANES at a time stay in
   registers for ROWS rows. */
#define FOLD_BODY_KEPT(fn, E_, L_, A_, S_, first, STEP, MERGE)                                                         \
    HG_INLINE void fn##_body(const bool fused, FOLD_ARGS) {                                                            \
        typedef E_ E;                                                                                                  \
        typedef L_ L;                                                                                                  \
        typedef A_ A;                                                                                                  \
        typedef S_ S;                                                                                                  \
        (void)extra, (void)fused;                                                                                      \
        const int wide = fused ? LANES : FEW;                                                                          \
        bool unit = step[1] == (int64_t)sizeof(E);                                                                     \
        if (step[0] == 0) {                                                                                            \
            for (int64_t r = 0; r < rows; r++) {                                                                       \
                S *acc = (S *)(void *)(p[0] + r * acc_step);                                                           \
                A total = (A)*acc;                                                                                     \
                const E *in = (const E *)(const void *)(p[1] + r * row_step);                                          \
                int64_t i = 0;                                                                                         \
                while (unit && n - i >= wide) {                                                                        \
                    int64_t end = i + (n - i < BLOCK ? (n - i) / wide * wide : BLOCK);                                 \
                    A lane[LANES];                                                                                     \
                    for (int l = 0; l < wide; l++) lane[l] = (A)(first);                                               \
                    for (; i < end; i += wide)                                                                         \
                        for (int l = 0; l < wide; l++) {                                                               \
                            A a = lane[l];                                                                             \
                            L x = (L)in[i + l];                                                                        \
                            lane[l] = (STEP);                                                                          \
                        }                                                                                              \
                    HG_UNROLLED for (int half = wide / 2; half; half /= 2) for (int l = 0; l < half; l++) {            \
                        A a = lane[l], b = lane[l + half];                                                             \
                        lane[l] = (MERGE);                                                                             \
                    }                                                                                                  \
                    A a = total, b = lane[0];                                                                          \
                    total = (MERGE);                                                                                   \
                }                                                                                                      \
                for (; i < n; i++) {                                                                                   \
                    A a = total;                                                                                       \
                    L x = (L)ELEMENT(r, i);                                                                            \
                    total = (STEP);                                                                                    \
                }                                                                                                      \
                *acc = (S)total;                                                                                       \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        bool columns = unit && step[0] == (int64_t)sizeof(S);                                                          \
        for (int64_t top = 0; top < rows; top += ROWS) {                                                               \
            int64_t bottom = rows - top < ROWS ? rows : top + ROWS, i = 0;                                             \
            for (; columns && n - i >= wide; i += wide) {                                                              \
                S *acc = (S *)(void *)p[0] + i;                                                                        \
                A lane[LANES];                                                                                         \
                for (int l = 0; l < wide; l++) lane[l] = (A)acc[l];                                                    \
                for (int64_t r = top; r < bottom; r++) {                                                               \
                    const E *in = (const E *)(const void *)(p[1] + r * row_step) + i;                                  \
                    for (int l = 0; l < wide; l++) {                                                                   \
                        A a = lane[l];                                                                                 \
                        L x = (L)in[l];                                                                                \
                        lane[l] = (STEP);                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                for (int l = 0; l < wide; l++) acc[l] = (S)lane[l];                                                    \
            }                                                                                                          \
            for (int64_t r = top; r < bottom; r++)                                                                     \
                for (int64_t k = i; k < n; k++) {                                                                      \
                    A a = (A)ACC(k);                                                                                   \
                    L x = (L)ELEMENT(r, k);                                                                            \
                    ACC(k) = (S)(STEP);                                                                                \
                }                                                                                                      \
        }                                                                                                              \
    }
#define FOLD_BODY(fn, E_, L_, A_, ...) FOLD_BODY_KEPT(fn, E_, L_, A_, A_, __VA_ARGS__)

/* For every vector unit; or, for what is met less often, few instructions. */
#if defined(__GNUC__) && !defined(__clang__)
#define PLAIN __attribute__((optimize("O2", "tree-vectorize", "vect-cost-model=dynamic", "peel-loops")))
#else
#define PLAIN
#endif
#define FAST_FOLD(fn, E_, ...)                                                                                         \
    FOLD_BODY(fn, E_, __VA_ARGS__)                                                                                     \
    HG_VECTOR_OF(E_, fn, (FOLD_ARGS), FOLD_NAMES)
#define FEW_FOLD(fn, ...)                                                                                              \
    FOLD_BODY(fn, __VA_ARGS__)                                                                                         \
    HG_VECTOR_FEW(fn, (FOLD_ARGS), FOLD_NAMES)
#define FOLD(fn, ...)                                                                                                  \
    FOLD_BODY(fn, __VA_ARGS__)                                                                                         \
    PLAIN static void fn(FOLD_ARGS) { fn##_body(false, FOLD_NAMES); }

#define FOLD_INTS(id, first, STEP, MERGE)                                                                              \
    FOLD(id##_u8, uint8_t, int64_t, int64_t, first, STEP, MERGE)                                                       \
    FOLD(id##_i32, int32_t, int64_t, int64_t, first, STEP, MERGE)                                                      \
    FOLD(id##_i64, int64_t, int64_t, int64_t, first, STEP, MERGE)
#define FOLD_FLOATS(KIND, id, A, first, STEP, MERGE)                                                                   \
    KIND(id##_f32, float, double, A, first, STEP, MERGE)                                                               \
    KIND(id##_f64, double, double, A, first, STEP, MERGE)
#define INT_ROWS(id)   [HG_U8] = id##_u8, [HG_BOOL] = id##_u8, [HG_I32] = id##_i32, [HG_I64] = id##_i64
#define FLOAT_ROWS(id) [HG_F32] = id##_f32, [HG_F64] = id##_f64

#define PLUS(a, b)     ((int64_t)((uint64_t)(a) + (uint64_t)(b)))
#define TIMES(a, b)    ((int64_t)((uint64_t)(a) * (uint64_t)(b)))

FOLD_INTS(sum, 0, PLUS(a, x), PLUS(a, b))
FOLD_BODY(sum_f32, float, double, double, 0, a + x, a + b)
FOLD_BODY(sum_f64, double, double, double, 0, a + x, a + b)
/* Short rows go by one vector. */
HG_INLINE void any_sum_f64_body(const bool fused, FOLD_ARGS) {
    enum { SOME = sizeof(hg_lanes_f64) / sizeof(double) };
    if (step[1] != sizeof(double) || step[0] != 0 || n < SOME || n > 2 * LANES) {
        sum_f64_body(fused, FOLD_NAMES);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const double *in = (const double *)(const void *)(p[1] + r * row_step);
        hg_lanes_f64 sum = {0};
        int64_t i = 0;
        for (; n - i >= SOME; i += SOME) sum += *(const hg_lanes_f64 *)(in + i);
        double total = hg_sum_lanes_f64(fused, SOME, (double *)&sum);
        for (; i < n; i++) total += in[i];
        *(double *)(void *)(p[0] + r * acc_step) += total;
    }
}
HG_VECTOR_FEW(any_sum_f64, (FOLD_ARGS), FOLD_NAMES)

/* Sums of float32: four numbers of a column, or up to four of a row or sixteen in pairs, are added up in float32 before they join a
   double. The error of that is as large as a unit in the last place of those few, not of the sum. */
#define FOUR(x, at) ((x(at) + x((at) + 1)) + (x((at) + 2) + x((at) + 3)))
#define SIXTEEN(x)  ((FOUR(x, 0) + FOUR(x, 4)) + (FOUR(x, 8) + FOUR(x, 12)))
/* `far`: it comes from the third cache or from memory, and the processor by itself does not look further than a page.
   `squares`: of distances from the centre, which is rounded for that, and what the rounding adds taken off. */
HG_INLINE double row_sum(const bool fused, const bool squares, bool far, const float *in, int64_t n, double center) {
    enum { LINE = 16, AHEAD = 4096, SOME = sizeof(hg_lanes_f32) / sizeof(float) };
    const float near = (float)center;
    double total = 0, away = center - (double)near;
    int64_t i = 0;
    if (n >= 4 * QUAD) {
        double lane[QUAD] = {0};
#define AS_IS(k)   in[i + (k)*QUAD + l]
#define SQUARED(k) ((AS_IS(k) - near) * (AS_IS(k) - near))
        for (; fused && !squares && n - i >= 16 * QUAD; i += 16 * QUAD) {
            for (int l = 0; far && l < 16 * QUAD; l += LINE) __builtin_prefetch(in + i + l + AHEAD);
            for (int l = 0; l < QUAD; l++) lane[l] += (double)(SIXTEEN(AS_IS));
        }
        for (; n - i >= 4 * QUAD; i += 4 * QUAD)
            for (int l = 0; l < QUAD; l++) lane[l] += (double)(squares ? FOUR(SQUARED, 0) : FOUR(AS_IS, 0));
#undef SQUARED
#undef AS_IS
        total = hg_sum_lanes_f64(fused, QUAD, lane);
    }
    if (n - i >= SOME) {
        hg_lanes_f64 sum = {0};
        while (n - i >= SOME) {
            hg_lanes_f32 four = {0};
            for (int64_t end = n - i < 4 * SOME ? n : i + 4 * SOME; end - i >= SOME; i += SOME) {
                hg_lanes_f32 x = *(const hg_lanes_f32 *)(in + i), d = x - near;
                if (squares) x = d * d;
                four += x;
            }
            sum += __builtin_convertvector(__builtin_shufflevector(four, four, 0, 1, 2, 3), hg_lanes_f64);
            sum += __builtin_convertvector(__builtin_shufflevector(four, four, 4, 5, 6, 7), hg_lanes_f64);
        }
        HG_FOLD_4(sum, HG_SUM);
        total += sum[0];
    }
    for (; i < n; i++) {
        double x = (double)in[i];
        total += squares ? (x - (double)near) * (x - (double)near) : x;
    }
    return total - (squares ? (double)n * away * away : 0);
}

/* Columns of some rows, side by side. */
HG_INLINE void column_sum(const int wide, int64_t rows, int64_t row_step, const char *in, double *restrict acc) {
    double lane[2 * QUAD];
    int64_t r = 0;
    for (int l = 0; l < wide; l++) lane[l] = acc[l];
    for (; rows - r >= 4; r += 4, in += 4 * row_step) {
        const float *a = (const float *)(const void *)in, *b = (const float *)(const void *)(in + row_step);
        const float *c = (const float *)(const void *)(in + 2 * row_step);
        const float *d = (const float *)(const void *)(in + 3 * row_step);
        for (int l = 0; l < wide; l++) lane[l] += (double)((a[l] + b[l]) + (c[l] + d[l]));
    }
    for (; r < rows; r++, in += row_step)
        for (int l = 0; l < wide; l++) lane[l] += (double)((const float *)(const void *)in)[l];
    for (int l = 0; l < wide; l++) acc[l] = lane[l];
}

HG_INLINE void long_sum_f32_body(const bool fused, FOLD_ARGS) {
    bool unit = step[1] == sizeof(float);
    if (unit && step[0] == 0 && n >= QUAD / 2) {
        const bool far = rows * n >= FAR;
        for (int64_t r = 0; r < rows; r++) {
            double *acc = (double *)(void *)(p[0] + r * acc_step);
            for (int64_t i = 0; i < n; i += BLOCK)
                *acc += row_sum(fused, false, far, (const float *)(const void *)(p[1] + r * row_step) + i,
                                n - i < BLOCK ? n - i : BLOCK, 0);
        }
        return;
    }
    if (!unit || step[0] != sizeof(double) || n < QUAD || rows < 8) {
        sum_f32_body(fused, FOLD_NAMES);
        return;
    }
    int64_t whole = n / QUAD * QUAD;
    for (int64_t top = 0; top < rows; top += 4 * ROWS) {
        int64_t some = rows - top < 4 * ROWS ? rows - top : 4 * ROWS, i = 0;
        const char *in = p[1] + top * row_step;
        double *acc = (double *)(void *)p[0];
        for (; whole - i >= 2 * QUAD; i += 2 * QUAD)
            column_sum(2 * QUAD, some, row_step, in + i * (int64_t)sizeof(float), acc + i);
        if (i < whole) column_sum(QUAD, some, row_step, in + i * (int64_t)sizeof(float), acc + i);
    }
    if (whole < n)
        sum_f32_body(fused, rows, row_step, acc_step, n - whole,
                     (char *[]){p[0] + whole * step[0], p[1] + whole * step[1]}, step, extra);
}
HG_VECTOR(long_sum_f32, (FOLD_ARGS), FOLD_NAMES)

const hg_fold hg_fold_sum = {
    .name = "sum", .loop = {INT_ROWS(sum), [HG_F32] = long_sum_f32, [HG_F64] = any_sum_f64}, .merge = &hg_fold_sum};

FOLD_FLOATS(FEW_FOLD, nansum, double, 0, x != x ? a : a + x, a + b)
const hg_fold hg_fold_nansum = {.name = "nansum", .loop = {INT_ROWS(sum), FLOAT_ROWS(nansum)}, .merge = &hg_fold_sum};

FOLD_INTS(prod, 1, TIMES(a, x), TIMES(a, b))
FOLD_FLOATS(FEW_FOLD, prod, double, 1, a *x, a *b)
const hg_fold hg_fold_prod = {
    .name = "prod", .loop = {INT_ROWS(prod), FLOAT_ROWS(prod)}, .merge = &hg_fold_prod, .first_f = 1, .first_i = 1};

/* NaN stays once it is there. In a row of float32 it is looked for beside the extreme, which is then a comparison of vectors. */
#define EXTREME(id, first, is_beyond, BEYOND)                                                                          \
    FOLD_BODY_KEPT(id##_f32, float, float, float, double, first, (x is_beyond a) | (x != x) ? x : a,                   \
                   (b is_beyond a) | (b != b) ? b : a)                                                                 \
    HG_INLINE double row_##id(const bool fused, const float *in, int64_t n, double found) {                            \
        enum { SOME = sizeof(hg_lanes_f32) / sizeof(float) };                                                          \
        float best = (float)found;                                                                                     \
        bool is_odd = best != best;                                                                                    \
        int64_t i = 0;                                                                                                 \
        if (n >= 2 * LANES) {                                                                                          \
            float lane[LANES];                                                                                         \
            int32_t odd[LANES] = {0};                                                                                  \
            for (int l = 0; l < LANES; l++) lane[l] = (float)(first);                                                  \
            for (; n - i >= LANES; i += LANES)                                                                         \
                for (int l = 0; l < LANES; l++) {                                                                      \
                    odd[l] |= in[i + l] != in[i + l];                                                                  \
                    lane[l] = in[i + l] is_beyond lane[l] ? in[i + l] : lane[l];                                       \
                }                                                                                                      \
            const float of_lanes = hg_##id##_lanes_f32(fused, LANES, lane);                                            \
            best = of_lanes is_beyond best ? of_lanes : best;                                                          \
            is_odd |= hg_any_lanes_i32(fused, LANES, odd) != 0;                                                        \
        }                                                                                                              \
        if (n - i >= SOME) {                                                                                           \
            hg_lanes_f32 most = *(const hg_lanes_f32 *)(in + i);                                                       \
            hg_lanes_i32 odd = most != most;                                                                           \
            for (i += SOME; n - i >= SOME; i += SOME) {                                                                \
                const hg_lanes_f32 x = *(const hg_lanes_f32 *)(in + i);                                                \
                odd |= x != x;                                                                                         \
                most = BEYOND(x, most);                                                                                \
            }                                                                                                          \
            const float of_lanes = hg_##id##_lanes_f32(fused, SOME, (float *)&most);                                   \
            best = of_lanes is_beyond best ? of_lanes : best;                                                          \
            is_odd |= hg_any_lanes_i32(fused, SOME, (int32_t *)&odd) != 0;                                             \
        }                                                                                                              \
        for (; i < n; i++) is_odd |= in[i] != in[i], best = in[i] is_beyond best ? in[i] : best;                       \
        return is_odd ? (double)NAN : (double)best;                                                                    \
    }                                                                                                                  \
    HG_INLINE void long_##id##_f32_body(const bool fused, FOLD_ARGS) {                                                 \
        if (step[1] != sizeof(float) || step[0] != 0) {                                                                \
            id##_f32_body(fused, FOLD_NAMES);                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        for (int64_t r = 0; r < rows; r++) {                                                                           \
            double *acc = (double *)(void *)(p[0] + r * acc_step);                                                     \
            *acc = row_##id(fused, (const float *)(const void *)(p[1] + r * row_step), n, *acc);                       \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR(long_##id##_f32, (FOLD_ARGS), FOLD_NAMES)                                                                \
    FAST_FOLD(id##_f64, double, double, double, first, (x is_beyond a) | (x != x) ? x : a,                             \
              (b is_beyond a) | (b != b) ? b : a)
FOLD_INTS(max, INT64_MIN, x > a ? x : a, b > a ? b : a)
EXTREME(max, -INFINITY, >, HG_LARGER_F32)
const hg_fold hg_fold_max = {.name = "max",
                             .loop = {INT_ROWS(max), [HG_F32] = long_max_f32, [HG_F64] = max_f64},
                             .merge = &hg_fold_max,
                             .first_f = -INFINITY,
                             .first_i = INT64_MIN};

FOLD_INTS(min, INT64_MAX, x < a ? x : a, b < a ? b : a)
EXTREME(min, INFINITY, <, HG_SMALLER_F32)
const hg_fold hg_fold_min = {.name = "min",
                             .loop = {INT_ROWS(min), [HG_F32] = long_min_f32, [HG_F64] = min_f64},
                             .merge = &hg_fold_min,
                             .first_f = INFINITY,
                             .first_i = INT64_MAX};

#define COUNTING(id, joint, first, STEP, MERGE)                                                                        \
    FOLD_INTS(id, first, STEP, MERGE)                                                                                  \
    FOLD_FLOATS(FOLD, id, int64_t, first, STEP, MERGE)                                                                 \
    const hg_fold hg_fold_##id = {.name = #id,                                                                         \
                                  .loop = {INT_ROWS(id), FLOAT_ROWS(id)},                                              \
                                  .merge = &hg_fold_##joint,                                                           \
                                  .counts = true,                                                                      \
                                  .first_i = first};
COUNTING(all, all, 1, a &(x != 0), a &b)
COUNTING(any, any, 0, a | (x != 0), a | b)
COUNTING(count, sum, 0, a + (x != 0), a + b)

#define NORM(id, joint, first, STEP, MERGE)                                                                            \
    FOLD_FLOATS(FOLD, id, double, first, STEP, MERGE)                                                                  \
    const hg_fold hg_fold_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}, .merge = &hg_fold_##joint, .first_f = first};
NORM(abs_sum, sum, 0, a + fabs(x), a + b)
NORM(power_sum, sum, 0, a + pow(fabs(x), extra->f[0]), a + b)
NORM(abs_max, max, 0, fabs(x) > a || x != x ? fabs(x) : a, b > a || b != b ? b : a)
NORM(abs_min, min, INFINITY, fabs(x) < a || x != x ? fabs(x) : a, b < a || b != b ? b : a)

/* Folds of x less a centre, one for each accumulator. */
#define CENTRED_BODY(fn, E_, STEP)                                                                                     \
    HG_INLINE void fn##_body(const bool fused, FOLD_ARGS) {                                                            \
        typedef E_ E;                                                                                                  \
        typedef double S;                                                                                              \
        (void)extra;                                                                                                   \
        const int wide = fused ? QUAD : FEW;                                                                           \
        bool unit = step[1] == (int64_t)sizeof(E);                                                                     \
        for (int64_t r = 0; r < rows; r++) {                                                                           \
            const E *in = (const E *)(const void *)(p[1] + r * row_step);                                              \
            int64_t i = 0;                                                                                             \
            if (step[0] == 0) {                                                                                        \
                double center = *(const double *)(const void *)(p[2] + r * acc_step), lane[QUAD] = {0};                \
                for (; unit && n - i >= wide; i += wide)                                                               \
                    for (int l = 0; l < wide; l++) {                                                                   \
                        double d = (double)in[i + l] - center, a = lane[l];                                            \
                        lane[l] = (STEP);                                                                              \
                    }                                                                                                  \
                lane[0] = hg_sum_lanes_f64(fused, wide, lane);                                                         \
                for (; i < n; i++) {                                                                                   \
                    double d = (double)ELEMENT(r, i) - center, a = lane[0];                                            \
                    lane[0] = (STEP);                                                                                  \
                }                                                                                                      \
                *(double *)(void *)(p[0] + r * acc_step) += lane[0];                                                   \
                continue;                                                                                              \
            }                                                                                                          \
            double *acc = (double *)(void *)p[0];                                                                      \
            const double *center = (const double *)(const void *)p[2];                                                 \
            int64_t side = unit && step[0] == 8 && step[2] == 8 ? n : 0;                                               \
            for (; i < side; i++) {                                                                                    \
                double d = (double)in[i] - center[i], a = acc[i];                                                      \
                acc[i] = (STEP);                                                                                       \
            }                                                                                                          \
            for (; i < n; i++) {                                                                                       \
                double d = (double)ELEMENT(r, i) - *(const double *)(const void *)(p[2] + i * step[2]), a = ACC(i);    \
                ACC(i) = (STEP);                                                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }
#define CENTRED(fn, ...)                                                                                               \
    CENTRED_BODY(fn, __VA_ARGS__)                                                                                      \
    PLAIN static void fn(FOLD_ARGS) { fn##_body(false, FOLD_NAMES); }
CENTRED_BODY(deviation_f32, float, a + d * d)
CENTRED(deviation_f64, double, a + d * d)

FOLD_BODY(square_sum_f32, float, double, double, 0, a + x * x, a + b)
FAST_FOLD(square_sum_f64, double, double, double, 0, a + x * x, a + b)

/* Not where a square may be beyond float32's range, or lose digits at its lower end. */
#define LONG_SQUARES(fn, of, center)                                                                                   \
    HG_INLINE void fn##_body(const bool fused, FOLD_ARGS) {                                                            \
        bool is_long = step[0] == 0 && step[1] == sizeof(float) && n >= QUAD / 2;                                      \
        for (int64_t r = 0; is_long && r < rows; r++) {                                                                \
            char *at[] = {p[0] + r * acc_step, p[1] + r * row_step, (center) ? p[2] + r * acc_step : NULL};            \
            double total = row_sum(fused, true, false, (const float *)(const void *)at[1], n,                          \
                                   (center) ? *(const double *)(const void *)at[2] : 0);                               \
            if (total > 1e-30 && total < 1e30)                                                                         \
                *(double *)(void *)at[0] += total;                                                                     \
            else                                                                                                       \
                of##_body(fused, 1, 0, 0, n, at, step, extra);                                                         \
        }                                                                                                              \
        if (!is_long) of##_body(fused, FOLD_NAMES);                                                                    \
    }                                                                                                                  \
    HG_VECTOR(fn, (FOLD_ARGS), FOLD_NAMES)
LONG_SQUARES(long_deviation_f32, deviation_f32, true)
LONG_SQUARES(long_square_sum_f32, square_sum_f32, false)
const hg_fold hg_fold_deviation = {.name = "deviation",
                                   .loop = {[HG_F32] = long_deviation_f32, [HG_F64] = deviation_f64}};
const hg_fold hg_fold_square_sum = {
    .name = "square_sum", .loop = {[HG_F32] = long_square_sum_f32, [HG_F64] = square_sum_f64}, .merge = &hg_fold_sum};

/* ---- Running a fold ---------------------------------------------------------------------------------------------------------- */

hg_status hg_read_dims(hg_ctx *cx, const hg_tensor *t, const hg_arg *dim, bool keep, hg_dims *d) {
    const int64_t *at = dim->kind == HG_A_INTS ? dim->u.ints : &dim->u.i;
    int n = dim->kind == HG_A_INTS ? (int)dim->n : dim->kind == HG_A_INT ? 1 : 0;
    memset(d->gone, n ? 0 : 1, sizeof d->gone);
    for (int i = 0; i < n; i++) {
        int k;
        hg_status st = hg_wrap_dim(cx, at[i], t->n_dim, &k);
        if (st != HG_OK) return st;
        if (d->gone[k]) return hg_fail(cx, HG_STATE, "dim %d appears multiple times in the list of dims", k);
        d->gone[k] = true;
    }
    d->n_dim = 0, d->n = 1, d->count = 1;
    for (int i = 0; i < t->n_dim; i++) {
        if (d->gone[i])
            d->count *= t->shape[i];
        else
            d->n *= t->shape[i];
        if (!d->gone[i] || keep) d->shape[d->n_dim++] = d->gone[i] ? 1 : t->shape[i];
    }
    return HG_OK;
}

typedef struct fold_job {
    const hg_iter *it;
    const hg_fold *fold;
    bool is_int;
    hg_fold_loop loop;
    const hg_extra_args *extra;
    int split; /* the dimension that ranges are of: one that is kept, so that no accumulator is in two */
} fold_job;

static void acc_begin(const hg_fold *fold, bool is_int, char *at, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (is_int)
            ((int64_t *)(void *)at)[i] = fold->first_i;
        else
            ((double *)(void *)at)[i] = fold->first_f;
}

/* One loop, whose rows without gaps are joined where they are narrow: QUAD of them are as many columns as fill vectors. */
static void fold_rows(const fold_job *j, FOLD_ARGS) {
    const hg_fold *merge = j->fold->merge;
    if (merge && n < QUAD && rows >= 2 * QUAD && step[0] == 8 && row_step == n * step[1]) {
        double wide[QUAD * QUAD];
        char *at[] = {(char *)wide, p[1]}, *into[] = {p[0], (char *)wide};
        int64_t some = rows / QUAD;
        acc_begin(j->fold, j->is_int, at[0], n * QUAD);
        j->loop(some, row_step * QUAD, 0, n * QUAD, at, step, extra);
        merge->loop[j->is_int ? HG_I64 : HG_F64](QUAD, n * 8, 0, n, into, (int64_t[]){8, 8}, extra);
        some *= QUAD, rows -= some;
        at[0] = p[0], at[1] += some * row_step;
        j->loop(rows, row_step, 0, n, at, step, extra);
        return;
    }
    j->loop(FOLD_NAMES);
}

static void fold_range(void *arg, int64_t begin, int64_t end) {
    const fold_job *j = arg;
    const hg_iter *it = j->it;
    assert(it->n_dim >= 0);
    int last = it->n_dim - 1, outer = last - 1;
    /* rows into the same accumulators, or each into one of its own; the centre's step is that of its accumulator */
    bool has_rows = outer >= 0 && (it->step[outer][0] == 0 || it->step[last][0] == 0);
    int64_t rows = 1, row_step = has_rows ? it->step[outer][1] : 0, acc_step = has_rows ? it->step[outer][0] : 0;
    int64_t n = last < 0 ? 1 : it->shape[last], size[HG_MAX_DIM], at[HG_MAX_DIM] = {0};
    static const int64_t still[HG_ITER_MAX] = {0};
    const int64_t *step = last < 0 ? still : it->step[last];
    char *p[HG_ITER_MAX];
    memcpy(p, it->p, sizeof p);
    for (int i = 0; i <= last; i++) size[i] = it->shape[i];
    if (j->split >= 0) {
        size[j->split] = end - begin;
        for (int k = 0; k < it->n_operands; k++) p[k] += begin * it->step[j->split][k];
        if (j->split == last) n = end - begin;
    }
    if (has_rows) rows = size[outer--];
    for (;;) {
        fold_rows(j, rows, row_step, acc_step, n, p, step, j->extra);
        int i = outer;
        for (; i >= 0; i--) {
            if (++at[i] < size[i]) {
                for (int k = 0; k < it->n_operands; k++) p[k] += it->step[i][k];
                break;
            }
            for (int k = 0; k < it->n_operands; k++) p[k] -= it->step[i][k] * (size[i] - 1);
            at[i] = 0;
        }
        if (i < 0) return;
    }
}

static void fold_dims(hg_ctx *cx, const hg_iter *it, int64_t numel, fold_job *j) {
    j->it = it, j->split = -1;
    for (int i = 0; i < it->n_dim && numel > HG_GRAIN; i++)
        if (it->step[i][0] && (j->split < 0 || it->shape[i] > it->shape[j->split])) j->split = i;
    int64_t n = j->split < 0 ? 1 : it->shape[j->split];
    hg_work(cx, n, 1 + HG_GRAIN / (1 + numel / n), fold_range, j);
}

/* All of a contiguous tensor: in pieces of PIECE, whatever the number of threads, so that the result is always the same. */
enum { PIECE = 65536 };

typedef struct pieces {
    fold_job job;
    char *in, *acc;
    int64_t numel, itemsize;
} pieces;

static void fold_pieces(void *arg, int64_t begin, int64_t end) {
    const pieces *w = arg;
    for (int64_t i = begin; i < end; i++) {
        int64_t n = w->numel - i * PIECE < PIECE ? w->numel - i * PIECE : PIECE;
        w->job.loop(1, 0, 0, n, (char *[]){w->acc + i * 8, w->in + i * PIECE * w->itemsize},
                    (int64_t[]){0, w->itemsize}, w->job.extra);
    }
}

static hg_status fold_all(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_extra_args *extra,
                          hg_acc *out) {
    int64_t n = (t->numel + PIECE - 1) / PIECE;
    pieces w = {.job = {.loop = fold->loop[t->dtype], .extra = extra},
                .in = t->data,
                .acc = out->at,
                .numel = t->numel,
                .itemsize = (int64_t)hg_tensor_itemsize(t)};
    if (n > 1 && !(w.acc = hg_mem(cx, (size_t)n * 8))) return HG_MEMORY;
    if (n > 1) acc_begin(fold, out->is_int, w.acc, n);
    hg_work(cx, n, 4, fold_pieces, &w);
    if (n > 1) {
        fold->merge->loop[out->is_int ? HG_I64 : HG_F64](1, 0, 0, n, (char *[]){out->at, w.acc}, (int64_t[]){0, 8},
                                                         extra);
        hg_mem_free(cx->lib, w.acc);
    }
    return HG_OK;
}

/* Few numbers that lie in order, of which the last dimensions go, or the first: folded at once. False: it is not so. */
static bool fold_few(const hg_tensor *t, const hg_dims *d, const fold_job *j, const hg_acc *center, char *acc) {
    char *p[] = {acc, t->data, center ? center->at : NULL};
    int64_t size = (int64_t)hg_tensor_itemsize(t);
    int changes = 0;
    if (!t->contiguous || t->numel > HG_GRAIN) return false;
    for (int i = 1; i < t->n_dim; i++) changes += d->gone[i] != d->gone[i - 1];
    if (changes > 1) return false;
    if (d->gone[0])
        fold_rows(j, d->count, d->n * size, 0, d->n, p, (int64_t[]){8, size, 8}, j->extra);
    else
        j->loop(d->n, d->count * size, 8, d->count, p, (int64_t[]){0, size, 0}, j->extra);
    return true;
}

/* What has no loop of its own is folded as another type, which holds the same numbers. */
static hg_dtype folded_as(hg_dtype d) {
    return d == HG_F16 || d == HG_BF16 ? HG_F32 : d == HG_I8 || d == HG_I16 ? HG_I32 : d;
}

hg_status hg_fold_run(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, const hg_extra_args *extra,
                      const hg_acc *center, hg_acc *out) {
    hg_dtype type = folded_as((hg_dtype)t->dtype);
    hg_fold_loop loop = fold->loop[type];
    if (!loop) return hg_no_kernel(cx, fold->name, (hg_dtype)t->dtype);
    if (type != t->dtype) {
        hg_tensor *wide;
        hg_status st = hg_tensor_empty(cx, type, t->n_dim, t->shape, &wide);
        if (st != HG_OK) return st;
        st = hg_raw_copy(cx, wide, t);
        if (st == HG_OK) st = hg_fold_run(cx, fold, wide, d, extra, center, out);
        hg_release(cx, wide);
        return st;
    }
    out->n = d->n;
    out->is_int = fold->counts || !hg_dtype_is_float((hg_dtype)t->dtype);
    out->at = (char *)out->few;
    if (d->n > (int64_t)(sizeof out->few / sizeof *out->few) && !(out->at = hg_mem(cx, (size_t)d->n * 8)))
        return HG_MEMORY;
    acc_begin(fold, out->is_int, out->at, d->n);
    if (t->numel == 0) return HG_OK;
    if (t->contiguous && d->n == 1 && !center) return fold_all(cx, fold, t, extra, out);
    fold_job job = {.fold = fold, .is_int = out->is_int, .loop = loop, .extra = extra};
    if (fold_few(t, d, &job, center, out->at)) return HG_OK;
    int64_t stride[HG_MAX_DIM], next = 1;
    for (int i = t->n_dim - 1; i >= 0; i--) {
        stride[i] = d->gone[i] ? 0 : next;
        if (!d->gone[i]) next *= t->shape[i];
    }
    hg_iter it;
    hg_iter_begin(&it, t->n_dim, t->shape);
    hg_iter_add(&it, out->at, 8, t->n_dim, t->shape, stride);
    hg_iter_add_tensor(&it, t);
    if (center) hg_iter_add(&it, center->at, 8, t->n_dim, t->shape, stride);
    hg_iter_coalesce(&it);
    fold_dims(cx, &it, t->numel, &job);
    return HG_OK;
}

void hg_acc_free(hg_ctx *cx, hg_acc *acc) {
    if (acc->at && acc->at != (char *)acc->few) hg_mem_free(cx->lib, acc->at);
    acc->at = NULL;
}

hg_status hg_acc_take(hg_ctx *cx, const hg_acc *acc, const hg_dims *d, hg_dtype type, hg_tensor **out) {
    hg_status st = hg_out(cx, out, type, d->n_dim, d->shape);
    if (st == HG_OK && acc->n)
        hg_converter(type, acc->is_int ? HG_I64 : HG_F64)(acc->n, (*out)->data, hg_dtypes[type].size, acc->at, 8);
    return st;
}

/* To `to`, for results of one part of the input at a time where they are many: what is summed up stays in the cache. */
static hg_status fold_parts(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, bool is_mean,
                            hg_dtype type, char *to) {
    const int64_t size = (int64_t)hg_dtypes[type].size;
    hg_status st = HG_OK;
    if (d->n > MANY) {
        int k = 0;
        while (d->gone[k] || t->shape[k] == 1) k++;
        const int64_t rest = d->n / t->shape[k], each = hg_most(MANY / rest, 1);
        int64_t shape[HG_MAX_DIM];
        hg_tensor part = *t;
        hg_dims left = *d;
        memcpy(shape, t->shape, t->n_dim * sizeof *shape);
        part.shape = shape, part.contiguous = part.plain = false;
        for (int64_t i = 0; i < t->shape[k] && st == HG_OK; i += each) {
            shape[k] = hg_least(each, t->shape[k] - i);
            part.data = t->data + i * t->stride[k] * (int64_t)hg_tensor_itemsize(t);
            part.numel = t->numel / t->shape[k] * shape[k], left.n = rest * shape[k];
            st = fold_parts(cx, fold, &part, &left, is_mean, type, to + i * rest * size);
        }
        return st;
    }
    hg_acc acc = {.at = NULL};
    if ((st = hg_fold_run(cx, fold, t, d, NULL, NULL, &acc)) == HG_OK) {
        double *sums = (double *)(void *)acc.at, share = 1 / (double)d->count;
        for (int64_t i = 0; is_mean && type == HG_F64 && i < acc.n; i++) sums[i] /= (double)d->count;
        for (int64_t i = 0; is_mean && type != HG_F64 && i < acc.n; i++) sums[i] *= share; /* four times as fast */
        hg_converter(type, acc.is_int ? HG_I64 : HG_F64)(acc.n, to, (size_t)size, acc.at, 8);
    }
    hg_acc_free(cx, &acc);
    return st;
}

hg_status hg_fold_to(hg_ctx *cx, const hg_fold *fold, const hg_tensor *t, const hg_dims *d, bool is_mean, hg_dtype type,
                     hg_tensor **out) {
    const bool is_given = *out;
    hg_status st = hg_out(cx, out, type, d->n_dim, d->shape);
    if (st != HG_OK) return st;
    st = fold_parts(cx, fold, t, d, is_mean, type, (*out)->data);
    if (st != HG_OK && !is_given) hg_release(cx, *out), *out = NULL;
    return st;
}

/* ---- Along one dimension -------------------------------------------------------------------------------------------------------- */

typedef struct along {
    hg_along_fn fn;
    void *arg;
    int64_t step[HG_ITER_MAX];
} along;

static void along_rows(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const along *a = arg;
    a->fn(a->arg, NULL, n, p, step, a->step);
}

static void along_rows_in_room(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const hg_row_room *own = arg;
    const along *a = own->arg;
    a->fn(a->arg, own->room, n, p, step, a->step);
}

hg_status hg_along(hg_ctx *cx, int dim, int n_operands, hg_tensor *const *operands, size_t room, hg_along_fn fn,
                   void *arg) {
    along a = {fn, arg, {0}};
    const hg_tensor *first = operands[0];
    int64_t shape[HG_MAX_DIM], each = first->n_dim ? first->shape[dim] : 1;
    for (int i = 0; i < first->n_dim; i++) shape[i] = i == dim ? 1 : first->shape[i];
    hg_iter it;
    hg_iter_begin(&it, first->n_dim, shape);
    for (int k = 0; k < n_operands; k++) {
        const hg_tensor *t = operands[k];
        int64_t size = (int64_t)hg_tensor_itemsize(t);
        a.step[k] = t->n_dim ? t->stride[dim] * size : size;
        hg_iter_add(&it, t->data, (size_t)size, t->n_dim, shape, t->stride);
    }
    hg_iter_coalesce(&it);
    if (room) return hg_iter_work_in_room(cx, &it, each, room, along_rows_in_room, &a);
    hg_iter_work_each(cx, &it, each, along_rows, &a);
    return HG_OK;
}

int hg_shape_without(const hg_tensor *t, int dim, bool keep, int64_t *shape) {
    int n = 0;
    for (int i = 0; i < t->n_dim; i++)
        if (i != dim || keep) shape[n++] = i == dim ? 1 : t->shape[i];
    return n;
}
