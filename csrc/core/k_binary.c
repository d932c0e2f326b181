/* Kernels of two and three operands. */
#include "k_loop_impl.h"

/* ---- Python's division ----------------------------------------------------------------------------------------------------- */

/* Rounded down. Zero divisors are refused before; the smallest integer over -1 wraps. */
#define IS_UNEVEN(x, y)       ((x) % (y) != 0 && is_below(x, 0) != is_below(y, 0))
#define FLOOR_DIVIDE(T, x, y) (is_minus_one(y) ? (T)(0 - (W)(x)) : (T)((x) / (y)-IS_UNEVEN(x, y)))
#define REMAINDER(T, x, y)    (is_minus_one(y) ? (T)0 : (T)((x) % (y) + (IS_UNEVEN(x, y) ? (y) : 0)))

static double floor_divide(double x, double y) {
    if (y == 0) return x / y;
    double mod = fmod(x, y), quotient = (x - mod) / y;
    if (mod != 0 && (y < 0) != (mod < 0)) quotient -= 1;
    if (quotient == 0) return copysign(0.0, x / y);
    double down = floor(quotient);
    return quotient - down > 0.5 ? down + 1 : down;
}

/* fmodf(): what is left is exact in double, but for a quotient that was rounded up to the next whole number. */
static inline float modulo(float x, float y) {
    double quotient = (double)x / (double)y;
    if (!(fabs(quotient) < 0x1p29) || isinf(y)) return fmodf(x, y);
    quotient = (double)(int32_t)quotient;
    float left = (float)((double)x - quotient * (double)y);
    if (left != 0 && (left < 0) != (x < 0)) left += copysignf(y, x);
    return copysignf(left, x);
}

/* The same in float32 alone, where the quotient is at most 2^22: what is left is a number of float32 then. */
#define QUOTIENT_BITS(x, y) (fabsf(y) < INFINITY ? HG_SIZE_BITS((x) / (y)) : UINT32_MAX)
#define QUOTIENT_REACH      0x4a800000u
static inline float near_modulo(float x, float y) {
    float left = fmaf(-truncf(x / y), y, x);
    left += (left < 0) != (x < 0) && left != 0 ? copysignf(y, x) : 0;
    return copysignf(left, x);
}

/* `mod` is what is left of x, which has x's sign: moved to y's side, and the quotient, rounded down. */
static inline float up_to(float y, float mod) { return mod + (mod != 0 && (y < 0) != (mod < 0) ? y : -0.0f); }
static inline float down_from(float x, float y, float mod) {
    float quotient = (x - mod) / y;
    quotient -= mod != 0 && (y < 0) != (mod < 0) ? 1 : 0;
    float down = floorf(quotient);
    down += quotient - down > 0.5f ? 1 : 0;
    return quotient == 0 ? hg_with_sign(0, x / y) : down;
}

static double remainder_up(double x, double y) {
    double mod = fmod(x, y);
    return mod != 0 && (y < 0) != (mod < 0) ? mod + y : mod;
}

INTS(LOOP2, floor_divide, FLOOR_DIVIDE(V, x, y))
NEAR2(HG_VECTOR_FEW, floor_divide_f32, QUOTIENT_BITS(x, y), QUOTIENT_REACH, down_from(x, y, near_modulo(x, y)),
      y == 0 ? x / y : down_from(x, y, modulo(x, y)))
LOOP2(floor_divide_f64, double, double, double, floor_divide(x, y))
const hg_kernel hg_k_floor_divide = {.name = "floor_divide",
                                     .loop = {INT_ROWS(floor_divide), FLOAT_ROWS(floor_divide)}};

INTS(LOOP2, trunc_divide, is_minus_one(y) ? (V)(0 - (W)x) : (V)(x / y))
FLOATS(LOOP2_WIDE, trunc_divide, trunc(x / y))
const hg_kernel hg_k_trunc_divide = {.name = "div_trunc_cpu",
                                     .loop = {INT_ROWS(trunc_divide), FLOAT_ROWS(trunc_divide)}};

INTS(LOOP2, remainder, REMAINDER(V, x, y))
NEAR2(HG_VECTOR_FEW, remainder_f32, QUOTIENT_BITS(x, y), QUOTIENT_REACH, up_to(y, near_modulo(x, y)),
      up_to(y, modulo(x, y)))
LOOP2(remainder_f64, double, double, double, remainder_up(x, y))
const hg_kernel hg_k_remainder = {.name = "remainder_cpu", .loop = {INT_ROWS(remainder), FLOAT_ROWS(remainder)}};

INTS(LOOP2, fmod, is_minus_one(y) ? 0 : (V)(x % y))
NEAR2(HG_VECTOR_FEW, fmod_f32, QUOTIENT_BITS(x, y), QUOTIENT_REACH, near_modulo(x, y), modulo(x, y))
LOOP2(fmod_f64, double, double, double, fmod(x, y))
const hg_kernel hg_k_fmod = {.name = "fmod_cpu", .loop = {INT_ROWS(fmod), FLOAT_ROWS(fmod)}};

/* ---- Powers ------------------------------------------------------------------------------------------------------------------ */

/* x to the n, wrapping; to a negative n what is left of 1/x**-n as an integer. */
static uint64_t int_power(int64_t x, int64_t n) {
    if (n < 0) return x == 1 ? 1 : x == -1 ? (n % 2 ? UINT64_MAX : 1) : 0;
    uint64_t power = 1, factor = (uint64_t)x;
    for (; n; n >>= 1, factor *= factor)
        if (n & 1) power *= factor;
    return power;
}

INTS(LOOP2, pow, (V)int_power((int64_t)x, (int64_t)y))

/* Common constant exponents cost a multiplication, and are exact. */
#define POWERS(s, T, any)                                                                                              \
    LOOP1_FAST(pow_square_##s, T, T, T, x *x)                                                                          \
    LOOP1_FAIR(pow_cube_##s, T, T, T, x *x *x)                                                                         \
    LOOP1_FAIR(pow_sqrt_##s, T, T, T, sqrt(x))                                                                         \
    LOOP1_FAIR(pow_rsqrt_##s, T, T, T, 1 / sqrt(x))                                                                    \
    LOOP1_FAIR(pow_inverse_##s, T, T, T, 1 / x)                                                                        \
    LOOP1_FAIR(pow_inverse_square_##s, T, T, T, 1 / (x * x))                                                           \
    static void pow_##s(ARGS) {                                                                                        \
        T y = AT(T, 2, 0);                                                                                             \
        hg_loop loop = step[2]        ? any                                                                            \
                       : y == 2       ? pow_square_##s                                                                 \
                       : y == 3       ? pow_cube_##s                                                                   \
                       : y == (T)0.5  ? pow_sqrt_##s                                                                   \
                       : y == (T)-0.5 ? pow_rsqrt_##s                                                                  \
                       : y == -1      ? pow_inverse_##s                                                                \
                       : y == -2      ? pow_inverse_square_##s                                                         \
                                      : any;                                                                                \
        loop(n, p, step, extra);                                                                                       \
    }
LOOP2(pow_any_f64, double, double, double, pow(x, y))
POWERS(f32, float, hg_pow_any_f32)
POWERS(f64, double, pow_any_f64)
const hg_kernel hg_k_pow = {.name = "pow", .loop = {INT_ROWS(pow), FLOAT_ROWS(pow)}};

/* ---- Sums and products --------------------------------------------------------------------------------------------------- */

/* A kernel for every dtype: `on_bool` is what numbers do, on bool. */
#define ARITHMETIC(KIND, id, on_ints, on_floats, on_bool)                                                              \
    COMMON_INTS(LOOP2_WIDE, LOOP2, id, on_ints)                                                                        \
    WIDE_FLOATS(KIND, id, on_floats)                                                                                   \
    BOOLS(LOOP2, id, on_bool)                                                                                          \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {INT_ROWS(id), FLOAT_ROWS(id), BOOL_ROW(id)}};
/* Where torch adds a multiple it rounds once: fma. */
ARITHMETIC(LOOP2_FAST, add, (V)((W)x + (W)y), x + y, x | y)
ARITHMETIC(LOOP2_FAST, add_scaled, (V)((W)x + (W)extra->i[0] * (W)y), fma(f(0), y, x), x | (y && extra->i[0]))
ARITHMETIC(LOOP2_FAST, sub, (V)((W)x - (W)y), x - y, x ^ y)
ARITHMETIC(LOOP2_WIDE, sub_scaled, (V)((W)x - (W)extra->i[0] * (W)y), fma(-f(0), y, x), x ^ (y && extra->i[0]))
ARITHMETIC(LOOP2_FAST, mul, (V)((W)x *(W)y), x *y, x &y)
ARITHMETIC(LOOP2_WIDE, maximum, x > y ? x : y, x > y || x != x ? x : y, x | y)
ARITHMETIC(LOOP2_WIDE, minimum, x < y ? x : y, x < y || x != x ? x : y, x &y)
ARITHMETIC(LOOP2_WIDE, fmax, x > y ? x : y, x > y || y != y ? x : y, x | y)
ARITHMETIC(LOOP2_WIDE, fmin, x < y ? x : y, x < y || y != y ? x : y, x &y)
ARITHMETIC(LOOP2_FAST, threshold_backward, is_below(y, extra->i[0] + 1) ? 0 : x, y <= f(0) ? 0 : x, x &y)
ARITHMETIC(LOOP2_WIDE, heaviside, x == 0 ? y : (V)!is_below(x, 0), x == 0 ? y : (V)(x > 0), x ? 1 : y)

#define K(KIND, id, ...)                                                                                               \
    WIDE_FLOATS(KIND, id, __VA_ARGS__)                                                                                 \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}};
HG_SIMPLE2_KERNELS(K)
#undef K

#define K(id) const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(hg_##id)}};
HG_WIDE2_KERNELS(K)
#undef K
#define K(id, KIND, bits, limit, near, ...)                                                                            \
    NEAR2(KIND, id##_f32, bits, limit, near, __VA_ARGS__)                                                              \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {WIDE_ROWS(id)}};
HG_NEAR2_KERNELS(K) /* NOLINT(clang-analyzer-core.uninitialized.Assign): near_in() fills whole blocks */
#undef K

/* ---- Bits -------------------------------------------------------------------------------------------------------------------- */

/* Of bytes, and so of bools. */
#define BITWISE(id, operator)                                                                                          \
    COMMON_INTS(LOOP2_WIDE, LOOP2_WIDE, id, (V)((W)x operator(W) y))                                                   \
    const hg_kernel hg_k_##id = {.name = #id "_cpu", .loop = {INT_ROWS(id), [HG_BOOL] = id##_u8}};
BITWISE(bitwise_and, &)
BITWISE(bitwise_or, |)
BITWISE(bitwise_xor, ^)

/* Shifting by as many bits as there are, or more, leaves nothing (or the sign). */
#define BITS (8 * (int64_t)sizeof(V))
INTS(LOOP2, shift_left, is_below(y, 0) || !is_below(y, BITS) ? 0 : (V)((uint64_t)x << y))
const hg_kernel hg_k_shift_left = {.name = "lshift_cpu", .loop = {INT_ROWS(shift_left)}};
INTS(LOOP2, shift_right, (V)((int64_t)x >> (is_below(y, 0) || !is_below(y, BITS) ? BITS - 1 : (int64_t)y)))
const hg_kernel hg_k_shift_right = {.name = "rshift_cpu", .loop = {INT_ROWS(shift_right)}};

/* ---- Comparisons -------------------------------------------------------------------------------------------------------------- */

/* Bools are bytes here too. */
#define TEST2(LOOP_F32, id, ...)                                                                                       \
    INT_TESTS(LOOP2_WIDE, LOOP2, id, __VA_ARGS__)                                                                      \
    FLOAT_TESTS(LOOP_F32, LOOP2, id, __VA_ARGS__)                                                                      \
    const hg_kernel hg_k_##id = {                                                                                      \
        .name = #id "_cpu", .loop = {INT_ROWS(id), FLOAT_ROWS(id), [HG_BOOL] = id##_u8}, .to_bool = true};
TEST2(LOOP2_TESTS, eq, x == y)
TEST2(LOOP2_TESTS, ne, x != y)
TEST2(LOOP2_TESTS, lt, x < y)
TEST2(LOOP2_TESTS, le, x <= y)
TEST2(LOOP2_TESTS, gt, x > y)
TEST2(LOOP2_TESTS, ge, x >= y)
TEST2(LOOP2, logical_and, x != 0 && y != 0)
TEST2(LOOP2, logical_or, x != 0 || y != 0)
TEST2(LOOP2, logical_xor, (x != 0) != (y != 0))

/* f(0) rtol, f(1) atol, i[0] whether NaN is close to NaN */
FLOAT_TESTS(LOOP2, LOOP2, isclose,
            x == y || (extra->i[0] && x != x && y != y) ||
                (fabs(x - y) < (V)INFINITY && fabs(x - y) <= f(1) + fabs(f(0) * y)))
const hg_kernel hg_k_isclose = {.name = "isclose", .loop = {FLOAT_ROWS(isclose)}, .to_bool = true};

/* ---- Three operands ------------------------------------------------------------------------------------------------------------ */

#define K(id, ...)                                                                                                     \
    FLOATS(LOOP3_FAIR, id, __VA_ARGS__)                                                                                \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}};
HG_SIMPLE3_KERNELS(K)
#undef K

COMMON_INTS(LOOP3_FAIR, LOOP3, clamp, x<y ? (y > z ? z : y) : x> z ? z : x)
#define AT_LEAST(x, y) ((y) > (x) || (y) != (y) ? (y) : (x))
#define AT_MOST(x, y)  ((y) < (x) || (y) != (y) ? (y) : (x))
FLOATS(LOOP3_FAST, clamp, AT_MOST(AT_LEAST(x, y), z))
const hg_kernel hg_k_clamp = {.name = "clamp", .loop = {INT_ROWS(clamp), FLOAT_ROWS(clamp)}};

INTS(LOOP3, addcmul, (V)((W)x + (W)extra->i[0] * (W)y * (W)z))
FLOATS(LOOP3_FAIR, addcmul, fma(f(0) * y, z, x))
const hg_kernel hg_k_addcmul = {.name = "addcmul_cpu_out", .loop = {INT_ROWS(addcmul), FLOAT_ROWS(addcmul)}};

/* Moves elements, whatever they mean. */
#define WHERE(fn, T)                                                                                                   \
    HG_INLINE void fn##_body(const bool fused, ARGS) {                                                                 \
        (void)extra, (void)fused;                                                                                      \
        T still[2][WIDE_BLOCK];                                                                                        \
        int64_t i = 0;                                                                                                 \
        if (IS_UNIT(0, T) && IS_UNIT(1, uint8_t) && IS_RUN(2, T) && IS_RUN(3, T) && n >= WIDE_BLOCK) {                 \
            const T *a = step[2] ? (const T *)(void *)p[2] : still[0],                                                 \
                    *b = step[3] ? (const T *)(void *)p[3] : still[1];                                                 \
            const int64_t by_a = step[2] ? WIDE_BLOCK : 0, by_b = step[3] ? WIDE_BLOCK : 0;                            \
            const uint8_t *c = (const uint8_t *)p[1];                                                                  \
            T *r = (T *)(void *)p[0];                                                                                  \
            for (int j = 0; j < WIDE_BLOCK; j++) still[0][j] = AT(T, 2, 0), still[1][j] = AT(T, 3, 0);                 \
            for (; n - i >= WIDE_BLOCK; i += WIDE_BLOCK, a += by_a, b += by_b) {                                       \
                HG_IVDEP HG_ROLLED for (int j = 0; j < WIDE_BLOCK; j++) {                                              \
                    T x = a[j], y = b[j];                                                                              \
                    r[i + j] = c[i + j] ? x : y;                                                                       \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        for (; i < n; i++) {                                                                                           \
            T x = AT(T, 2, i), y = AT(T, 3, i);                                                                        \
            AT(T, 0, i) = AT(uint8_t, 1, i) ? x : y;                                                                   \
        }                                                                                                              \
    }                                                                                                                  \
    HG_VECTOR_OF(T, fn, (ARGS), n, p, step, extra)
WHERE(where_1, uint8_t)
WHERE(where_2, uint16_t)
WHERE(where_4, uint32_t)
WHERE(where_8, uint64_t)
const hg_kernel hg_k_where = {.name = "where_cpu",
                              .loop = {[HG_U8] = where_1,
                                       [HG_I8] = where_1,
                                       [HG_I16] = where_2,
                                       [HG_I32] = where_4,
                                       [HG_I64] = where_8,
                                       [HG_F16] = where_2,
                                       [HG_F32] = where_4,
                                       [HG_F64] = where_8,
                                       [HG_BF16] = where_2,
                                       [HG_BOOL] = where_1},
                              .first_bool = true};
