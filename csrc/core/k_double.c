/* Float64's loops of functions, and both types' of those that are met too seldom for float32 to have its own.

   A chunk at a time: operands come as doubles from where they are, or by way of the stack, and go through steps, each a loop over
   the chunk. Functions (Note [Double precision]) are compiled for each vector unit, the arithmetic around them once. Where a function
   meets what is beyond its reach, where numbers are few and where there is no vector unit the C library computes. */
#include "k_double_impl.h"
#include "k_impl.h"

#include <math.h>

enum { CHUNK = 256, MANY = 64, LANES = 8, MAX_STEPS = 3 };

/* r[i] from a[i] and b[i], n a multiple of LANES; *done unless one is NaN. */
#define BLOCK int64_t n, const double *a, const double *b, double *r, bool *done
/* t[i] from a[i], b[i] and t[i], n too. */
#define ARITHMETIC int64_t n, const double *a, const double *b, double *t, const double *numbers

typedef struct function {
    void (*block)(BLOCK);
    double (*one)(double);
    double (*two)(double, double);
} function;
/* What an op is made of: its functions, the first applied to what `before` makes of the operands, or to these themselves. */
typedef struct steps {
    void (*before)(ARITHMETIC);
    const function *then[MAX_STEPS];
    void (*after)(ARITHMETIC);
} steps;

/* ---- Chunks ---------------------------------------------------------------------------------------------------------------- */

/* m numbers of `size` bytes as doubles, and up to whole vectors what all functions have in reach. */
static const double *chunk_in(double *room, size_t size, const char *p, int64_t step, int64_t m) {
    if (size == sizeof(double) && step == (int64_t)size && m % LANES == 0) return (const double *)(const void *)p;
    for (int64_t k = 0; k < m; k++, p += step)
        room[k] = size == sizeof(double) ? *(const double *)(const void *)p : (double)*(const float *)(const void *)p;
    for (int64_t k = m; k % LANES; k++) room[k] = 0.5;
    return room;
}
static void chunk_out(const double *from, size_t size, char *p, int64_t step, int64_t m) {
    for (int64_t k = 0; k < m; k++, p += step)
        if (size == sizeof(double))
            *(double *)(void *)p = from[k];
        else
            *(float *)(void *)p = (float)from[k];
}

static void run(const steps *s, size_t size, int n_in, int64_t n, char *const *p, const int64_t *step,
                const hg_extra_args *extra) {
    const double number[] = {extra ? extra->f[0] : 0, extra ? extra->f[1] : 0, extra ? extra->f[2] : 0};
    double room[4][CHUNK];
    for (int64_t i = 0, m; i < n; i += m) {
        m = n - i < CHUNK ? n - i : CHUNK;
        int64_t whole = (m + LANES - 1) / LANES * LANES;
        const double *a = chunk_in(room[0], size, p[1] + i * step[1], step[1], m), *t = a;
        const double *b = n_in == 2 ? chunk_in(room[1], size, p[2] + i * step[2], step[2], m) : a;
        int to = 2;
        if (s->before) s->before(whole, a, b, room[2], number), t = room[2], to = 3;
        for (int j = 0; j < MAX_STEPS && s->then[j]; j++, t = room[to], to = 5 - to) {
            const function *f = s->then[j];
            bool done = false;
            if (n >= MANY) f->block(whole, t, b, room[to], &done);
            for (int64_t k = 0; !done && k < m; k++) room[to][k] = f->two ? f->two(t[k], b[k]) : f->one(t[k]);
        }
        if (s->after) s->after(whole, a, b, room[5 - to], number);
        chunk_out(t, size, p[0] + i * step[0], step[0], m);
    }
}

/* ---- Functions ------------------------------------------------------------------------------------------------------------- */

/* A polynomial start (Giles), then Newton's method with erfc. */
static double library_erfinv(double y) {
    if (y != y || fabs(y) > 1) return NAN;
    if (fabs(y) == 1) return copysign(INFINITY, y);
    double w = -log((1 - y) * (1 + y)), x;
    if (w < 5) {
        w -= 2.5;
        x = 2.81022636e-08;
        x = 3.43273939e-07 + x * w, x = -3.5233877e-06 + x * w, x = -4.39150654e-06 + x * w, x = 0.00021858087 + x * w;
        x = -0.00125372503 + x * w, x = -0.00417768164 + x * w, x = 0.246640727 + x * w, x = 1.50140941 + x * w;
    } else {
        w = sqrt(w) - 3;
        x = -0.000200214257;
        x = 0.000100950558 + x * w, x = 0.00134934322 + x * w, x = -0.00367342844 + x * w, x = 0.00573950773 + x * w;
        x = -0.0076224613 + x * w, x = 0.00943887047 + x * w, x = 1.00167406 + x * w, x = 2.83297682 + x * w;
    }
    x *= y;
    for (int i = 0; i < 2; i++) {
        double miss = y < 0 ? erfc(-x) - (1 + y) : (1 - y) - erfc(x); /* erf(x) - y, without cancellation near 1 */
        x -= miss / (M_2_SQRTPI * exp(-x * x));
    }
    return x;
}

static double library_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double library_silu(double x) { return x / (1 + exp(-x)); }
static double library_gelu_slope(double x) {
    return 0.5 * (1 + erf(x * M_SQRT1_2)) + x * exp(-x * x / 2) * (M_2_SQRTPI * M_SQRT1_2 * 0.5);
}

#define FUNCTION(KIND, id, one, two, ...)                                                                              \
    HG_INLINE void id##_block_body(const bool fused, BLOCK) {                                                          \
        int64_t none_of[LANES] = {0}, none = 0;                                                                        \
        for (int64_t k = 0; fused && k < n; k += LANES) HG_IVDEP for (int j = 0; j < LANES; j++) {                     \
                double x = a[k + j], y = b[k + j], to = (__VA_ARGS__);                                                 \
                (void)y;                                                                                               \
                none_of[j] |= -(int64_t)(to != to);                                                                    \
                r[k + j] = to;                                                                                         \
            }                                                                                                          \
        for (int j = 0; j < LANES; j++) none |= none_of[j];                                                            \
        *done = fused && !none;                                                                                        \
    }                                                                                                                  \
    KIND(id##_block, (BLOCK), n, a, b, r, done)                                                                        \
    static const function id##_function = {id##_block, one, two};
#define LOOP(id, s, T, n_in, ...)                                                                                      \
    void hg_##id##_##s(int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra) {                   \
        static const steps made_of = __VA_ARGS__;                                                                      \
        run(&made_of, sizeof(T), n_in, n, p, step, extra);                                                             \
    }
#define ONE(KIND, id, one)                                                                                             \
    FUNCTION(KIND, id, one, NULL, hg_wide_##id(x))                                                                     \
    LOOP(id, f64, double, 1, {.then = {&id##_function}})
#define ONE_OF_BOTH(id, one) ONE(HG_VECTOR_FEW, id, one) LOOP(id, f32, float, 1, {.then = {&id##_function}})
#define TWO_OF_BOTH(id, two)                                                                                           \
    FUNCTION(HG_VECTOR_FEW, id, NULL, two, hg_wide_##id(x, y))                                                         \
    LOOP(id, f64, double, 2, {.then = {&id##_function}})                                                               \
    LOOP(id, f32, float, 2, {.then = {&id##_function}})
ONE(HG_VECTOR, exp, exp)
ONE(HG_VECTOR, log, log)
ONE(HG_VECTOR, tanh, tanh)
ONE(HG_VECTOR, erf, erf)
ONE(HG_VECTOR, sigmoid, library_sigmoid)
ONE(HG_VECTOR, silu, library_silu)
ONE(HG_VECTOR_FEW, expm1, expm1)
ONE(HG_VECTOR_FEW, log1p, log1p)
ONE(HG_VECTOR_FEW, exp2, exp2)
ONE(HG_VECTOR_FEW, log2, log2)
ONE(HG_VECTOR_FEW, log10, log10)
ONE(HG_VECTOR_FEW, sin, sin)
ONE(HG_VECTOR_FEW, cos, cos)
ONE_OF_BOTH(tan, tan)
ONE_OF_BOTH(asin, asin)
ONE_OF_BOTH(acos, acos)
ONE_OF_BOTH(atan, atan)
ONE_OF_BOTH(sinh, sinh)
ONE_OF_BOTH(cosh, cosh)
ONE_OF_BOTH(atanh, atanh)
ONE_OF_BOTH(erfc, erfc)
ONE_OF_BOTH(erfinv, library_erfinv)
TWO_OF_BOTH(atan2, atan2)
TWO_OF_BOTH(hypot_cpu, hypot)
FUNCTION(HG_VECTOR_FEW, pow_any, NULL, pow, hg_wide_exp(y *hg_wide_log(x))) /* not as fine as float64 asks for */
LOOP(pow_any, f32, float, 2, {.then = {&pow_any_function}})
FUNCTION(HG_VECTOR_FEW, gelu_slope, library_gelu_slope, NULL, hg_wide_gelu_slope(x))

/* ---- Functions with arithmetic around them --------------------------------------------------------------------------------- */

#define f(i) number[i]
typedef double V; /* that HG_GELU_ARGUMENT and HG_GELU_SLOPE compute in */
#define STEP(name, ...)                                                                                                \
    static void name(ARITHMETIC) {                                                                                     \
        const double number[] = {numbers[0], numbers[1], numbers[2]}; /* read on condition they would be in the way */ \
        (void)number;                                                                                                  \
        HG_IVDEP for (int64_t k = 0; k < n; k++) {                                                                     \
            double x = a[k], y = b[k], z = t[k];                                                                       \
            (void)x, (void)y, (void)z;                                                                                 \
            t[k] = (__VA_ARGS__);                                                                                      \
        }                                                                                                              \
    }
#define E (&exp_function)
#define L (&log1p_function)
/* COMPOSED(name, operands, before, the functions, after: z is what these give) */
#define COMPOSED(id, n_in, first, f1, f2, f3, ...)                                                                     \
    STEP(before_##id, first)                                                                                           \
    STEP(after_##id, __VA_ARGS__)                                                                                      \
    LOOP(id, f64, double, n_in, {before_##id, {f1, f2, f3}, after_##id})
#define COMPOSED_OF_BOTH(id, n_in, first, f1, f2, f3, ...)                                                             \
    COMPOSED(id, n_in, first, f1, f2, f3, __VA_ARGS__)                                                                 \
    LOOP(id, f32, float, n_in, {before_##id, {f1, f2, f3}, after_##id})
/* clang-format off */
COMPOSED(gelu, 1, x * M_SQRT1_2, &erf_function, 0, 0, x * 0.5 * (1 + z))
COMPOSED(gelu_tanh, 1, HG_GELU_ARGUMENT(x), &tanh_function, 0, 0, 0.5 * x * (1 + z))
COMPOSED(mish, 1, x, E, L, &tanh_function, x * z)
COMPOSED(softplus, 1, x * f(0) > f(1) ? 0 : x * f(0), E, L, 0, x * f(0) > f(1) ? x : z / f(0))
COMPOSED(log_sigmoid, 1, -fabs(x), E, L, 0, (x < 0 ? x : 0) - z)
COMPOSED(elu, 1, x > 0 ? 0 : x * f(2), &expm1_function, 0, 0, x > 0 ? x * f(1) : x != x ? x : z * (f(0) * f(1)))
COMPOSED(elu_backward, 2, y > 0 ? 0 : y * f(2), E, 0, 0, y <= 0 ? x * f(2) * f(0) * f(1) * z : x * f(1))
COMPOSED(silu_backward, 2, y, &sigmoid_function, 0, 0, x * z * (1 + y * (1 - z)))
COMPOSED(gelu_backward, 2, y, &gelu_slope_function, 0, 0, x * z)
COMPOSED(gelu_tanh_backward, 2, HG_GELU_ARGUMENT(y), &tanh_function, 0, 0, x * HG_GELU_SLOPE(y, z))
COMPOSED_OF_BOTH(xlogy, 2, y, &log_function, 0, 0, ((x == 0) & (y == y)) ? 0 : x * z)
COMPOSED_OF_BOTH(logaddexp, 2, -fabs(x - y), E, L, 0, x == y && isinf(x) ? x : (x > y ? x : y) + z)
COMPOSED_OF_BOTH(logaddexp2, 2, -fabs(x - y), &exp2_function, L, 0,
                 x == y && isinf(x) ? x : (x > y ? x : y) + z * M_LOG2E)
/* clang-format on */
