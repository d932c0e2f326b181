/* How elementwise loops are written: see Note [Loops] in iter_impl.h.

   A body is an expression in x, y, z (the operands), of type V, and f(i), the op's numbers. W is the type to add, subtract and
   multiply integers in, which wraps instead of overflowing. LOOPn_FAST bodies get loops for unit steps and for constant
   operands, which the compiler vectorises, for every vector unit (float32) or fewer; LOOPn_FAIR for fewer whatever the type.
   LOOP2_WIDE has one loop, over blocks of either, which is less code; so has LOOP2_TESTS, whose results are bool. LOOPn is for
   integers that are met less often, and for bodies that cost more than the loop. */
#ifndef HG_K_LOOP_IMPL_H
#define HG_K_LOOP_IMPL_H

#include "k_impl.h"
#include "k_math_impl.h"

#include <math.h>
#include <tgmath.h>

#define f(k)           number[k]
#define AT(type, k, i) (*(type *)(void *)(p[k] + (i)*step[k]))
#define ARGS           int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra
#define BODY(T, U)                                                                                                     \
    typedef T V;                                                                                                       \
    typedef U W;                                                                                                       \
    const V number[3] = {NUMBER(0), NUMBER(1), NUMBER(2)};                                                             \
    (void)extra, (void)number, (void)sizeof(W), (void)sizeof(V);
/* Read before the loop: one that reads memory on condition would not be vectorised. */
#define NUMBER(k) extra ? (V)extra->f[k] : 0
#define FAST_BODY(T, U)                                                                                                \
    BODY(T, U)                                                                                                         \
    (void)fused;
#define IS_UNIT(k, T) (step[k] == (int64_t)sizeof(T))

#define LOOP1(fn, T, U, R, ...)                                                                                        \
    HG_SMALL static void fn(ARGS) {                                                                                    \
        BODY(T, U)                                                                                                     \
        char *r = p[0], *a = p[1];                                                                                     \
        const int64_t dr = step[0], da = step[1];                                                                      \
        for (int64_t i = 0; i < n; i++, r += dr, a += da) {                                                            \
            T x = *(T *)(void *)a;                                                                                     \
            *(R *)(void *)r = (R)(__VA_ARGS__);                                                                        \
        }                                                                                                              \
    }
#define LOOP1_UNITS(fn, T, U, R, ...)                                                                                  \
    LOOP1(fn##_any, T, U, R, __VA_ARGS__)                                                                              \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        FAST_BODY(T, U)                                                                                                \
        if (IS_UNIT(0, R) && IS_UNIT(1, T)) {                                                                          \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T *a = (const T *)(void *)p[1];                                                                      \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T x = a[i];                                                                                            \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        fn##_any(n, p, step, extra);                                                                                   \
    }
#define LOOP1_FAST(fn, T, ...) LOOP1_UNITS(fn, T, __VA_ARGS__) HG_VECTOR_OF(T, fn, (ARGS), n, p, step, extra)
#define LOOP1_FAIR(fn, ...)    LOOP1_UNITS(fn, __VA_ARGS__) HG_VECTOR_FEW(fn, (ARGS), n, p, step, extra)

#define LOOP2(fn, T, U, R, ...)                                                                                        \
    HG_SMALL static void fn(ARGS) {                                                                                    \
        BODY(T, U)                                                                                                     \
        char *r = p[0], *a = p[1], *b = p[2];                                                                          \
        const int64_t dr = step[0], da = step[1], db = step[2];                                                        \
        for (int64_t i = 0; i < n; i++, r += dr, a += da, b += db) {                                                   \
            T x = *(T *)(void *)a, y = *(T *)(void *)b;                                                                \
            *(R *)(void *)r = (R)(__VA_ARGS__);                                                                        \
        }                                                                                                              \
    }
#define LOOP2_UNITS(fn, T, U, R, ...)                                                                                  \
    LOOP2(fn##_any, T, U, R, __VA_ARGS__)                                                                              \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        FAST_BODY(T, U)                                                                                                \
        if (IS_UNIT(0, R) && IS_UNIT(1, T) && IS_UNIT(2, T)) {                                                         \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T *a = (const T *)(void *)p[1], *b = (const T *)(void *)p[2];                                        \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T x = a[i], y = b[i];                                                                                  \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        if (IS_UNIT(0, R) && IS_UNIT(1, T) && step[2] == 0) {                                                          \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T *a = (const T *)(void *)p[1], y = AT(T, 2, 0);                                                     \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T x = a[i];                                                                                            \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        if (IS_UNIT(0, R) && step[1] == 0 && IS_UNIT(2, T)) {                                                          \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T x = AT(T, 1, 0), *b = (const T *)(void *)p[2];                                                     \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T y = b[i];                                                                                            \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        fn##_any(n, p, step, extra);                                                                                   \
    }
#define LOOP2_FAST(fn, T, ...) LOOP2_UNITS(fn, T, __VA_ARGS__) HG_VECTOR_OF(T, fn, (ARGS), n, p, step, extra)

enum { WIDE_BLOCK = 64 };
#define IS_RUN(k, T) (IS_UNIT(k, T) || step[k] == 0)
#define LOOP2_BLOCKS(KIND, fn, T, U, R, ...)                                                                           \
    LOOP2(fn##_any, T, U, R, __VA_ARGS__)                                                                              \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        FAST_BODY(T, U)                                                                                                \
        T still[2][WIDE_BLOCK];                                                                                        \
        char *rest[] = {p[0], p[1], p[2]};                                                                             \
        if (IS_UNIT(0, R) && IS_RUN(1, T) && IS_RUN(2, T) && n >= WIDE_BLOCK) {                                        \
            const T *a = step[1] ? (const T *)(void *)p[1] : still[0],                                                 \
                    *b = step[2] ? (const T *)(void *)p[2] : still[1];                                                 \
            const int64_t by_a = step[1] ? WIDE_BLOCK : 0, by_b = step[2] ? WIDE_BLOCK : 0;                            \
            R *r = (R *)(void *)p[0], *end = r + n / WIDE_BLOCK * WIDE_BLOCK;                                          \
            for (int j = 0; j < WIDE_BLOCK; j++) still[0][j] = AT(T, 1, 0), still[1][j] = AT(T, 2, 0);                 \
            for (; r < end; r += WIDE_BLOCK, a += by_a, b += by_b) {                                                   \
                HG_IVDEP HG_ROLLED for (int j = 0; j < WIDE_BLOCK; j++) {                                              \
                    T x = a[j], y = b[j];                                                                              \
                    r[j] = (R)(__VA_ARGS__);                                                                           \
                }                                                                                                      \
            }                                                                                                          \
            for (int k = 0; k < 3; k++) rest[k] += n / WIDE_BLOCK * WIDE_BLOCK * step[k];                              \
            n %= WIDE_BLOCK;                                                                                           \
        }                                                                                                              \
        fn##_any(n, rest, step, extra);                                                                                \
    }                                                                                                                  \
    KIND(fn, (ARGS), n, p, step, extra)
#define LOOP2_WIDE(...)  LOOP2_BLOCKS(HG_VECTOR_FEW, __VA_ARGS__)
#define LOOP2_TESTS(...) LOOP2_BLOCKS(HG_VECTOR, __VA_ARGS__)

#define LOOP3(fn, T, U, R, ...)                                                                                        \
    HG_SMALL static void fn(ARGS) {                                                                                    \
        BODY(T, U)                                                                                                     \
        char *r = p[0], *a = p[1], *b = p[2], *c = p[3];                                                               \
        const int64_t dr = step[0], da = step[1], db = step[2], dc = step[3];                                          \
        for (int64_t i = 0; i < n; i++, r += dr, a += da, b += db, c += dc) {                                          \
            T x = *(T *)(void *)a, y = *(T *)(void *)b, z = *(T *)(void *)c;                                           \
            *(R *)(void *)r = (R)(__VA_ARGS__);                                                                        \
        }                                                                                                              \
    }
#define LOOP3_UNITS(fn, T, U, R, ...)                                                                                  \
    LOOP3(fn##_any, T, U, R, __VA_ARGS__)                                                                              \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        FAST_BODY(T, U)                                                                                                \
        if (IS_UNIT(0, R) && IS_UNIT(1, T) && step[3] == 0 && step[2] == 0) {                                          \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T *a = (const T *)(void *)p[1], y = AT(T, 2, 0), z = AT(T, 3, 0);                                    \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T x = a[i];                                                                                            \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        if (IS_UNIT(0, R) && IS_UNIT(1, T) && IS_UNIT(2, T) && IS_UNIT(3, T)) {                                        \
            R *r = (R *)(void *)p[0];                                                                                  \
            const T *a = (const T *)(void *)p[1], *b = (const T *)(void *)p[2], *c = (const T *)(void *)p[3];          \
            HG_IVDEP for (int64_t i = 0; i < n; i++) {                                                                 \
                T x = a[i], y = b[i], z = c[i];                                                                        \
                r[i] = (R)(__VA_ARGS__);                                                                               \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        fn##_any(n, p, step, extra);                                                                                   \
    }
#define LOOP3_FAST(fn, T, ...) LOOP3_UNITS(fn, T, __VA_ARGS__) HG_VECTOR_OF(T, fn, (ARGS), n, p, step, extra)
#define LOOP3_FAIR(fn, ...)    LOOP3_UNITS(fn, __VA_ARGS__) HG_VECTOR_FEW(fn, (ARGS), n, p, step, extra)

/* Float32 by polynomials (k_math_impl.h), a chunk at a time: from and to where it is where steps are units and whole blocks of
   vectors are left, else by way of the stack. `near` is for chunks whose operands' `bits` are at most `limit` (0: for all); others
   have the loop of the C library's functions. `fine`, where there is one, is for less than NEAR_MANY. */
enum { NEAR_CHUNK = 256, NEAR_MANY = 64, NEAR_BLOCK = 16 };

/* m floats at p, followed by ones up to a whole number of blocks. */
static inline const float *near_in(float *room, const char *p, int64_t step, int64_t m) {
    if (step == (int64_t)sizeof(float) && m % NEAR_BLOCK == 0) return (const float *)(const void *)p;
    float *last = room + (m - 1) / NEAR_BLOCK * NEAR_BLOCK;
    for (int k = 0; k < NEAR_BLOCK; k++) last[k] = 1;
    for (int64_t k = 0; k < m; k++) room[k] = *(const float *)(const void *)(p + k * step);
    return room;
}
static inline void near_out(const float *from, char *p, int64_t step, int64_t m) {
    for (int64_t k = 0; k < m; k++) *(float *)(void *)(p + k * step) = from[k];
}

#define NEAR(KIND, fn, operands, bits, limit, has_fine, fine, near)                                                    \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        FAST_BODY(float, float)                                                                                        \
        float room[3][NEAR_CHUNK];                                                                                     \
        for (int64_t i = 0, m; i < n; i += m) {                                                                        \
            m = n - i < NEAR_CHUNK ? n - i : NEAR_CHUNK;                                                               \
            const float *a = near_in(room[0], p[1] + i * step[1], step[1], m);                                         \
            const float *b = operands == 2 ? near_in(room[1], p[2] + i * step[2], step[2], m) : a;                     \
            bool direct = IS_UNIT(0, float) && m % NEAR_BLOCK == 0;                                                    \
            float *r = direct ? (float *)(void *)(p[0] + i * step[0]) : room[2];                                       \
            uint32_t most_of[NEAR_BLOCK] = {0}, most = 0; /* of the ones after the last as well */                     \
            for (int64_t k = 0; limit && k < m; k += NEAR_BLOCK)                                                       \
                for (int j = 0; j < NEAR_BLOCK; j++) {                                                                 \
                    float x = a[k + j], y = b[k + j];                                                                  \
                    (void)x, (void)y;                                                                                  \
                    most_of[j] = most_of[j] > (bits) ? most_of[j] : (bits);                                            \
                }                                                                                                      \
            for (int j = 0; j < NEAR_BLOCK; j++) most = most > most_of[j] ? most : most_of[j];                         \
            if (most > limit) {                                                                                        \
                char *q[3] = {p[0] + i * step[0], p[1] + i * step[1], operands == 2 ? p[2] + i * step[2] : NULL};      \
                fn##_any(m, q, step, extra);                                                                           \
                continue;                                                                                              \
            }                                                                                                          \
            bool few = (has_fine) && m < NEAR_MANY;                                                                    \
            for (int64_t k = 0; few && k < m; k += NEAR_BLOCK) HG_IVDEP for (int j = 0; j < NEAR_BLOCK; j++) {         \
                    float x = a[k + j];                                                                                \
                    r[k + j] = (fine);                                                                                 \
                }                                                                                                      \
            for (int64_t k = 0; !few && k < m; k += NEAR_BLOCK) HG_IVDEP for (int j = 0; j < NEAR_BLOCK; j++) {        \
                    float x = a[k + j], y = b[k + j];                                                                  \
                    (void)y;                                                                                           \
                    r[k + j] = (near);                                                                                 \
                }                                                                                                      \
            if (!direct) near_out(r, p[0] + i * step[0], step[0], m);                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    KIND(fn, (ARGS), n, p, step, extra)
#define NEAR1(KIND, fn, bits, limit, near, ...)                                                                        \
    LOOP1(fn##_any, float, float, float, __VA_ARGS__)                                                                  \
    NEAR(KIND, fn, 1, bits, limit, false, x, near)
#define FINE1(fn, bits, limit, fine, near, ...)                                                                        \
    LOOP1(fn##_any, float, float, float, __VA_ARGS__)                                                                  \
    NEAR(HG_VECTOR, fn, 1, bits, limit, true, fine, near)
#define RARE1(KIND, fn, bits, limit, near, ...)                                                                        \
    LOOP1(fn##_any, float, float, float, __VA_ARGS__)                                                                  \
    NEAR(KIND, fn, 1, m < NEAR_MANY ? UINT32_MAX : (bits), limit, false, x, near)
#define NEAR2(KIND, fn, bits, limit, near, ...)                                                                        \
    LOOP2(fn##_any, float, float, float, __VA_ARGS__)                                                                  \
    NEAR(KIND, fn, 2, bits, limit, false, x, near)

/* Comparisons whose answer the type gives away for unsigned operands. */
static inline bool is_below(int64_t x, int64_t bound) { return x < bound; }
static inline bool is_minus_one(int64_t x) { return x == -1; }

/* One loop for each type: name_f32, name_i64 ... Results are of the operands' type. */
#define COMMON_INTS(LOOP_COMMON, LOOP, name, ...)                                                                      \
    LOOP(name##_u8, uint8_t, uint32_t, uint8_t, __VA_ARGS__)                                                           \
    LOOP(name##_i8, int8_t, uint32_t, int8_t, __VA_ARGS__)                                                             \
    LOOP(name##_i16, int16_t, uint32_t, int16_t, __VA_ARGS__)                                                          \
    LOOP_COMMON(name##_i32, int32_t, uint32_t, int32_t, __VA_ARGS__)                                                   \
    LOOP_COMMON(name##_i64, int64_t, uint64_t, int64_t, __VA_ARGS__)
#define WIDE_FLOATS(LOOP_F32, name, ...)                                                                               \
    LOOP_F32(name##_f32, float, float, float, __VA_ARGS__)                                                             \
    LOOP2_WIDE(name##_f64, double, double, double, __VA_ARGS__)
#define INTS(LOOP, name, ...) COMMON_INTS(LOOP, LOOP, name, __VA_ARGS__)
#define FLOATS(LOOP, name, ...)                                                                                        \
    LOOP(name##_f32, float, float, float, __VA_ARGS__)                                                                 \
    LOOP(name##_f64, double, double, double, __VA_ARGS__)
/* Results are bool: into bytes vectors of doubles would have to be narrowed three times. */
#define INT_TESTS(LOOP_U8, LOOP, name, ...)                                                                            \
    LOOP_U8(name##_u8, uint8_t, uint32_t, uint8_t, __VA_ARGS__)                                                        \
    LOOP(name##_i8, int8_t, uint32_t, uint8_t, __VA_ARGS__)                                                            \
    LOOP(name##_i16, int16_t, uint32_t, uint8_t, __VA_ARGS__)                                                          \
    LOOP(name##_i32, int32_t, uint32_t, uint8_t, __VA_ARGS__)                                                          \
    LOOP(name##_i64, int64_t, uint64_t, uint8_t, __VA_ARGS__)
#define FLOAT_TESTS(LOOP_F32, LOOP, name, ...)                                                                         \
    LOOP_F32(name##_f32, float, float, uint8_t, __VA_ARGS__)                                                           \
    LOOP(name##_f64, double, double, uint8_t, __VA_ARGS__)
#define BOOLS(LOOP, name, ...) LOOP(name##_bool, uint8_t, uint32_t, uint8_t, __VA_ARGS__)

#define INT_ROWS(name)                                                                                                 \
    [HG_U8] = name##_u8, [HG_I8] = name##_i8, [HG_I16] = name##_i16, [HG_I32] = name##_i32, [HG_I64] = name##_i64
#define FLOAT_ROWS(name) [HG_F32] = name##_f32, [HG_F64] = name##_f64
#define WIDE_ROWS(name)  [HG_F32] = name##_f32, [HG_F64] = hg_##name##_f64
#define BOOL_ROW(name)   [HG_BOOL] = name##_bool

#endif
