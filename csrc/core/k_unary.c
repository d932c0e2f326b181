/* Kernels of one operand. */
#include "k_loop_impl.h"

/* ---- What the C library lacks --------------------------------------------------------------------------------------------- */

/* The logarithmic derivative of the gamma function. */
static double psi(double x) {
    if (x == 0) return copysign(INFINITY, -x);
    double sum = 0;
    if (x < 0) {
        if (x == floor(x)) return NAN;
        return psi(1 - x) - M_PI / tan(M_PI * (x - floor(x)));
    }
    while (x < 10) sum -= 1 / x, x += 1;
    if (x > 1e17) return log(x);
    double y = 1 / (x * x); /* the asymptotic series: Bernoulli numbers over 2k */
    double series = y * (1.0 / 12 -
                         y * (1.0 / 120 -
                              y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y / 12))))));
    return sum + log(x) - 0.5 / x - series;
}

/* Euler and Maclaurin: the first terms one by one, the rest as an integral with corrections. */
double hg_zeta(double s, double q) {
    static const double corrections[] = {/* (2k)! / B(2k) */
                                         12.0,
                                         -720.0,
                                         30240.0,
                                         -1209600.0,
                                         47900160.0,
                                         -1.8924375803183791606e9,
                                         7.47242496e10,
                                         -2.950130727918164224e12,
                                         1.1646782814350067249e14,
                                         -4.5979787224074726105e15,
                                         1.8152105401943546773e17,
                                         -7.1661652561756670113e18};
    if (s == 1) return INFINITY;
    if (s < 1) return NAN;
    if (q <= 0) {
        if (q == floor(q)) return INFINITY;
        if (s != floor(s)) return NAN;
    }
    double sum = pow(q, -s), a = q, b = 0;
    for (int i = 0; i < 9 || a <= 9; i++) {
        a += 1;
        b = pow(a, -s);
        sum += b;
        if (fabs(b) < 1e-17 * fabs(sum)) return sum;
    }
    sum += b * a / (s - 1) - 0.5 * b;
    double factor = 1, k = 0;
    for (int i = 0; i < 12; i++) {
        factor *= s + k;
        b /= a;
        double t = factor * b / corrections[i];
        sum += t;
        if (fabs(t) < 1e-17 * fabs(sum)) break;
        k += 1, factor *= s + k, b /= a, k += 1;
    }
    return sum;
}

/* The first derivative of psi, with as many terms as PyTorch takes. */
static double trigamma(double x) {
    const double pi = 3.14159265358979323846;
    double sum = 0, sign = 1;
    if (x < 0.5) { /* by reflection */
        double s = sin(pi * x);
        sum = -(pi * pi) / (s * s), x = 1 - x, sign = -1;
    }
    for (int i = 0; i < 6; i++, x++) sum += 1 / (x * x);
    double q = 1 / (x * x);
    return sign * (sum + (1 + 1 / (2 * x) + q * (1.0 / 6 - q * (1.0 / 30 - q / 42))) / x);
}

/* The n-th derivative of psi. */
static double polygamma(int64_t n, double x) {
    if (n < 2) return n ? trigamma(x) : psi(x);
    return (n % 2 ? 1 : -1) * tgamma((double)n + 1) * hg_zeta((double)n + 1, x);
}

/* ---- Floating only --------------------------------------------------------------------------------------------------------- */

#define K(id, ...)                                                                                                     \
    FLOATS(LOOP1, id, __VA_ARGS__)                                                                                     \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}};
HG_MATH_KERNELS(K)
#undef K
#define K(id, KIND, bits, limit, near, ...)                                                                            \
    NEAR1(KIND, id##_f32, bits, limit, near, __VA_ARGS__)                                                              \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {WIDE_ROWS(id)}};
HG_NEAR_KERNELS(K)
HG_NEAR_ACTIVATION_KERNELS(K)
#undef K
#define K(id, bits, limit, fine, near, ...)                                                                            \
    FINE1(id##_f32, bits, limit, fine, near, __VA_ARGS__)                                                              \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {WIDE_ROWS(id)}};
HG_FINE_KERNELS(K)
#undef K
#define K(id, KIND, bits, limit, near, ...)                                                                            \
    RARE1(KIND, id##_f32, bits, limit, near, __VA_ARGS__)                                                              \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {WIDE_ROWS(id)}};
HG_RARE_KERNELS(K)
#undef K
#define K(id) const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(hg_##id)}};
HG_WIDE_KERNELS(K)
#undef K
#define K(id, ...)                                                                                                     \
    FLOATS(LOOP1_FAIR, id, __VA_ARGS__)                                                                                \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {FLOAT_ROWS(id)}};
HG_SIMPLE_KERNELS(K)
HG_SIMPLE_ACTIVATION_KERNELS(K)
#undef K

FLOATS(LOOP1, polygamma, (V)polygamma(extra->i[0], (double)x))
const hg_kernel hg_k_polygamma = {.name = "polygamma", .loop = {FLOAT_ROWS(polygamma)}};

FLOATS(LOOP1_FAIR, frac, x - trunc(x))
const hg_kernel hg_k_frac = {.name = "frac_cpu", .loop = {FLOAT_ROWS(frac)}};

/* Half-way cases to even. decimals: f(0) is 10 to their absolute value, negative ones divide. */
FLOATS(LOOP1, round_decimals, extra->i[0] < 0 ? nearbyint(x / f(0)) * f(0) : nearbyint(x * f(0)) / f(0))
const hg_kernel hg_k_round_decimals = {.name = "round_cpu", .loop = {FLOAT_ROWS(round_decimals)}};

FLOATS(LOOP1_FAIR, nan_to_num, x != x ? f(0) : x == (V)INFINITY ? f(1) : x == (V)-INFINITY ? f(2) : x)
const hg_kernel hg_k_nan_to_num = {.name = "nan_to_num", .loop = {FLOAT_ROWS(nan_to_num)}};

/* ---- Floating, and the identity on integers ------------------------------------------------------------------------------- */

#define ROUNDING(id, fn)                                                                                               \
    FLOATS(LOOP1_FAIR, id, fn(x))                                                                                      \
    const hg_kernel hg_k_##id = {.name = #id "_vml_cpu", .loop = {FLOAT_ROWS(id)}};
ROUNDING(floor, floor)
ROUNDING(ceil, ceil)
ROUNDING(trunc, trunc)
ROUNDING(round, nearbyint)

/* ---- Numbers --------------------------------------------------------------------------------------------------------------- */

COMMON_INTS(LOOP1_FAIR, LOOP1, neg, (V)(0 - (W)x))
FLOATS(LOOP1_FAST, neg, -x)
const hg_kernel hg_k_neg = {.name = "neg", .loop = {INT_ROWS(neg), FLOAT_ROWS(neg)}};

COMMON_INTS(LOOP1_FAIR, LOOP1, abs, is_below(x, 0) ? (V)(0 - (W)x) : x)
FLOATS(LOOP1_FAIR, abs, fabs(x))

const hg_kernel hg_k_abs = {.name = "abs_cpu", .loop = {INT_ROWS(abs), FLOAT_ROWS(abs)}};

INTS(LOOP1, sign, (x > 0) - (is_below(x, 0)))
FLOATS(LOOP1_FAIR, sign, (V)((x > 0) - (x < 0)))
BOOLS(LOOP1, sign, x)
const hg_kernel hg_k_sign = {.name = "sign", .loop = {INT_ROWS(sign), FLOAT_ROWS(sign), BOOL_ROW(sign)}};

INTS(LOOP1, relu, x > 0 ? x : 0)
FLOATS(LOOP1_FAST, relu, x < 0 ? 0 : x)
const hg_kernel hg_k_relu = {.name = "relu", .loop = {INT_ROWS(relu), FLOAT_ROWS(relu)}};

#define OVER_THRESHOLD x <= f(0) ? f(1) : x
INTS(LOOP1, threshold, OVER_THRESHOLD)
FLOATS(LOOP1_FAIR, threshold, OVER_THRESHOLD)
const hg_kernel hg_k_threshold = {.name = "threshold", .loop = {INT_ROWS(threshold), FLOAT_ROWS(threshold)}};

INTS(LOOP1, bitwise_not, (V) ~(W)x)
BOOLS(LOOP1_FAIR, bitwise_not, !x)
const hg_kernel hg_k_bitwise_not = {.name = "bitwise_not_cpu", .loop = {INT_ROWS(bitwise_not), BOOL_ROW(bitwise_not)}};

/* ---- Tests ----------------------------------------------------------------------------------------------------------------- */

FLOAT_TESTS(LOOP1_FAIR, LOOP1, logical_not, x == 0)
INT_TESTS(LOOP1, LOOP1, logical_not, x == 0)
const hg_kernel hg_k_logical_not = {.name = "logical_not",
                                    .loop = {INT_ROWS(logical_not), FLOAT_ROWS(logical_not), BOOL_ROW(bitwise_not)},
                                    .to_bool = true};

#define TEST(KIND, id, on_floats, on_ints)                                                                             \
    FLOAT_TESTS(KIND, LOOP1, id, on_floats)                                                                            \
    INT_TESTS(LOOP1, LOOP1, id, on_ints)                                                                               \
    BOOLS(LOOP1, id, on_ints)                                                                                          \
    const hg_kernel hg_k_##id = {.name = #id, .loop = {INT_ROWS(id), FLOAT_ROWS(id), BOOL_ROW(id)}, .to_bool = true};
TEST(LOOP1_FAIR, isnan, x != x, ((void)x, 0))
TEST(LOOP1_FAIR, isinf, fabs(x) == (V)INFINITY, ((void)x, 0))
TEST(LOOP1_FAIR, isfinite, fabs(x) < (V)INFINITY, ((void)x, 1))
TEST(LOOP1, isposinf, x == (V)INFINITY, ((void)x, 0))
TEST(LOOP1, isneginf, x == (V)-INFINITY, ((void)x, 0))
TEST(LOOP1, signbit, signbit(x) != 0, is_below(x, 0))
