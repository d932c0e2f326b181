/* The functions of k_math_impl.h, and rarer ones, in double precision, for processors that multiply and add in one.

   Note [Double precision]
   Arguments are reduced as Cody and Waite do, and what rounding loses is carried along as a second number (Dekker; Muller, Elementary
   Functions, chapters 4 and 11). The polynomials are minimax, by Remez' algorithm in 45 digits. Results are within one unit in the last
   place of the exact ones, most within 0.65; erfc's and erfinv's within 3, those of sigmoid within 1.6. Beyond its reach a function is
   NaN, and k_double.c asks the C library. */
#ifndef HG_K_DOUBLE_IMPL_H
#define HG_K_DOUBLE_IMPL_H

#include "cpu_impl.h"

#include <math.h>
#include <stdint.h>

HG_INLINE double hg_bits_to_double(uint64_t u) {
    union {
        uint64_t u;
        double f;
    } v = {u};
    return v.f;
}
HG_INLINE uint64_t hg_double_to_bits(double f) {
    union {
        double f;
        uint64_t u;
    } v = {f};
    return v.u;
}

#define FMA        __builtin_fma
#define SIZE(x)    __builtin_fabs(x)
#define SIGN(y, x) __builtin_copysign(y, x)
/* y where c, else NaN: written so that no branch comes of it */
#define WITHIN(c, y) hg_bits_to_double(hg_double_to_bits(y) | -(uint64_t) !(c))
/* c[0] x^(n-1) + ... + c[n-1], as two or four polynomials in a power of x: a single one would have each step wait for
   the one before. */
#define POLYNOMIAL(x, ...)                                                                                             \
    hg_polynomial((x), (int)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (double[]){__VA_ARGS__})
HG_INLINE double hg_every(double power, int ways, int n, const double *c) {
    double p = c[(n - 1) % ways];
    HG_UNROLLED for (int i = (n - 1) % ways + ways; i < n; i += ways) p = FMA(p, power, c[i]);
    return p;
}
HG_INLINE double hg_polynomial(double x, int n, const double *c) {
    double z = x * x;
    if (n < 16) return FMA(hg_every(z, 2, n - 1, c), x, hg_every(z, 2, n, c));
    double low = FMA(hg_every(z * z, 4, n - 1, c), x, hg_every(z * z, 4, n, c));
    return FMA(FMA(hg_every(z * z, 4, n - 3, c), x, hg_every(z * z, 4, n - 2, c)), z, low);
}

#define ROUNDING  0x1.8p52 /* a number added to it is rounded, and then its last bits */
#define ONE_BITS  0x3ff0000000000000u
#define HALF_ROOT 0x3fe6a09e667f3bcdu /* the bits of sqrt(1/2) */
#define HALF_PI   1.5707963267948966
#define HALF_PI_2 6.123233995736766e-17

/* The same sum, |a| >= |b|, as a number and what is missing. */
HG_INLINE double hg_wide_sum(double a, double b, double *low) {
    double sum = a + b;
    *low = b - (sum - a);
    return sum;
}
/* nh + nl over dh + dl: the quotient, and what is missing. */
HG_INLINE double hg_wide_ratio(double nh, double nl, double dh, double dl, double *low) {
    double inverse = 1 / dh, q = nh * inverse;
    *low = (FMA(-q, dh, nh) + FMA(-q, dl, nl)) * inverse;
    return q;
}

#define LOG_2_HIGH 0.6931471805599453
#define LOG_2_LOW  2.3190468138462996e-17
/* exp(high + rest) = 1 + what is returned + low */
HG_INLINE double hg_wide_exp_rest(double high, double rest, double *low) {
    double r = high + rest;
    double p = POLYNOMIAL(r, 2.5117891239723776e-08, 2.763131999618243e-07, 2.755721621027536e-06,
                          2.4801489837627408e-05, 0.00019841269917479732, 0.0013888888947109809, 0.008333333333307161,
                          0.04166666666651509, 0.166666666666667, 0.5000000000000013);
    *low = FMA(p * r, r, (high - r) + rest);
    return r;
}
/* exp(x + more) = 2^n (1 + what is returned + low), n in the last bits of `shifted`. */
HG_INLINE double hg_wide_exp_parts(double x, double more, double *shifted, double *low) {
    *shifted = FMA(x, 1.4426950408889634, ROUNDING);
    double n = *shifted - ROUNDING;
    return hg_wide_exp_rest(FMA(n, -LOG_2_HIGH, x), FMA(n, -LOG_2_LOW, more), low);
}
/* 2^n (1 + r + low), a normal number. */
HG_INLINE double hg_wide_scaled(double shifted, double r, double low) {
    double sum = 1 + r, y = sum + ((r - (sum - 1)) + low);
    return hg_bits_to_double(hg_double_to_bits(y) + (hg_double_to_bits(shifted) << 52));
}
HG_INLINE double hg_wide_exp_of(double x, double more) {
    double shifted, low, r = hg_wide_exp_parts(x, more, &shifted, &low);
    return hg_wide_scaled(shifted, r, low);
}
/* 0 below the numbers there are */
HG_INLINE double hg_wide_exp(double x) {
    double y = WITHIN(SIZE(x) < 708, hg_wide_exp_of(x, 0));
    return hg_bits_to_double(hg_double_to_bits(y) & -(uint64_t) !(x < -746));
}
HG_INLINE double hg_wide_exp2(double x) {
    double shifted = x + ROUNDING, f = x - (shifted - ROUNDING), low;
    double high = f * LOG_2_HIGH, r = hg_wide_exp_rest(high, FMA(f, LOG_2_HIGH, -high) + f * LOG_2_LOW, &low);
    return WITHIN(SIZE(x) < 1021, hg_wide_scaled(shifted, r, low));
}

/* exp(x) - 1, and what is missing. */
HG_INLINE double hg_wide_expm1_parts(double x, double *low) {
    double shifted, rest, r = hg_wide_exp_parts(x, 0, &shifted, &rest);
    double two_to_n = hg_bits_to_double((hg_double_to_bits(shifted) << 52) + ONE_BITS);
    double a = two_to_n - 1, b = two_to_n * r, sum = a + b;
    return hg_wide_sum(sum, FMA(two_to_n, rest, b - (sum - a)), low);
}
HG_INLINE double hg_wide_expm1(double x) {
    double low, y = hg_wide_expm1_parts(x < -40 ? -40 : x, &low);
    return WITHIN(x < 700, SIGN(y, x));
}
HG_INLINE double hg_wide_tanh(double x) {
    double size = SIZE(x), low, missing, e = hg_wide_expm1_parts(20 < size ? 40 : size + size, &low), d = e + 2;
    double q = hg_wide_ratio(e, low, d, (e - (d - 2)) + low, &missing);
    return SIGN(q + missing, x);
}
HG_INLINE double hg_wide_sinh(double x) {
    double low, missing, e = hg_wide_expm1_parts(SIZE(x), &low), d = e + 1;
    double q = hg_wide_ratio(e, low, d, (e - (d - 1)) + low, &missing);
    return WITHIN(SIZE(x) < 700, SIGN(0.5 * (e + (q + (low + missing))), x));
}
HG_INLINE double hg_wide_cosh(double x) {
    double e = 0.5 * hg_wide_exp(SIZE(x));
    return WITHIN(SIZE(x) < 700, e + 0.25 / e);
}

/* log((m + more) 2^e) times scale, where 2^e m has the bits t - 1023 2^52 + those of sqrt(1/2); `unit` and `unit_2` are
   the logarithm of 2 then, the first so short that its products with e are exact. */
HG_INLINE double hg_wide_log_of(uint64_t t, double more, double scale, double unit, double unit_2) {
    double e = hg_bits_to_double((t >> 52) | 0x4330000000000000u) - (0x1p52 + 1023);
    double f = (hg_bits_to_double((t & 0x000fffffffffffffu) + HALF_ROOT) - 1) + more;
    double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
    double p = POLYNOMIAL(z, 0.14796623310144677, 0.15313986940125304, 0.18183566660320066, 0.2222219853136563,
                          0.28571428742762933, 0.3999999999941315, 0.6666666666666735);
    double rest = FMA(s, FMA(p, z, half), -half);
    double a = e * unit, g = f * scale, sum = a + g;
    return sum + ((g - (sum - a)) + FMA(f, scale, -g) + FMA(rest, scale, e * unit_2));
}
#define LOG_BITS(x) (hg_double_to_bits(x) - HALF_ROOT + ONE_BITS)
#define LOG_2       0.6931471803691238, 1.9082149292705877e-10
HG_INLINE double hg_wide_log_to(double x, double scale, double unit, double unit_2) {
    return WITHIN((x >= 0x1p-1022) & (x < (double)INFINITY), hg_wide_log_of(LOG_BITS(x), 0, scale, unit, unit_2));
}
HG_INLINE double hg_wide_log(double x) { return hg_wide_log_to(x, 1, LOG_2); }
HG_INLINE double hg_wide_log2(double x) { return hg_wide_log_to(x, 1.4426950408889634, 1, 0); }
HG_INLINE double hg_wide_log10(double x) {
    return hg_wide_log_to(x, 0.4342944819032518, 0.301029995663157, 8.241712586023572e-13);
}
/* log(1 + x + more): what the sum loses is added to m, as a part of 2^e. */
HG_INLINE double hg_wide_log1p_of(double x, double more) {
    double u = 1 + x, lost = (x > 1 ? 1 - (u - x) : x - (u - 1)) + more;
    uint64_t t = LOG_BITS(u);
    double part = hg_bits_to_double(0x7fe0000000000000u - (t & 0x7ff0000000000000u));
    return WITHIN((x > -1) & (x < (double)INFINITY), SIGN(hg_wide_log_of(t, lost * part, 1, LOG_2), x));
}
HG_INLINE double hg_wide_log1p(double x) { return hg_wide_log1p_of(x, 0); }
/* log((1 + a) / (1 - a)) / 2 */
HG_INLINE double hg_wide_atanh(double x) {
    double a = SIZE(x), d = 1 - a, low, q = hg_wide_ratio(a + a, 0, d, (1 - d) - a, &low);
    return WITHIN(a < 1, SIGN(0.5 * hg_wide_log1p_of(q, low), x));
}

/* The sine and the cosine of x less the quarters of a turn that are nearest, which are the last bits of what is returned. */
typedef struct hg_sides {
    double sine, sine_2, cosine, cosine_2;
} hg_sides;
HG_INLINE uint64_t hg_wide_sides(double x, hg_sides *to) {
    double shifted = FMA(x, 0.6366197723675814, ROUNDING), n = shifted - ROUNDING;
    double first = FMA(n, -HALF_PI, x), part = n * HALF_PI_2, r = first - part;
    double low = FMA(n, 1.4973849048591698e-33, ((first - r) - part) - FMA(n, HALF_PI_2, -part)), z = r * r;
    double s = POLYNOMIAL(z, 1.5896666607349166e-10, -2.505075596308569e-08, 2.7557313678675495e-06,
                          -0.0001984126982977119, 0.00833333333332237, -0.16666666666666632);
    double c = POLYNOMIAL(z, -1.1359560418037358e-11, 2.087572164649782e-09, -2.7557314340842874e-07,
                          2.4801587289444186e-05, -0.0013888888888874066, 0.0416666666666666);
    double half = 0.5 * z, one = 1 - half;
    to->sine = hg_wide_sum(r, FMA(s * z, r, FMA(low, -half, low)), &to->sine_2);
    to->cosine = hg_wide_sum(one, FMA(c * z, z, FMA(-r, low, FMA(-0.5, FMA(r, r, -z), (1 - one) - half))),
                             &to->cosine_2);
    return hg_double_to_bits(shifted);
}
#define SIDES_REACH 0x1p20
HG_INLINE double hg_wide_turned(double x, uint64_t quarters) {
    hg_sides a;
    quarters += hg_wide_sides(x, &a);
    double y = quarters & 1 ? a.cosine : a.sine;
    y = y == 0 ? x : y; /* -0 */
    return WITHIN(SIZE(x) < SIDES_REACH, hg_bits_to_double(hg_double_to_bits(y) ^ (quarters & 2) << 62));
}
HG_INLINE double hg_wide_sin(double x) { return hg_wide_turned(x, 0); }
HG_INLINE double hg_wide_cos(double x) { return hg_wide_turned(x, 1); }
HG_INLINE double hg_wide_tan(double x) {
    hg_sides a;
    uint64_t odd = hg_wide_sides(x, &a) & 1;
    double low, q = hg_wide_ratio(odd ? a.cosine : a.sine, odd ? a.cosine_2 : a.sine_2, odd ? -a.sine : a.cosine,
                                  odd ? -a.sine_2 : a.cosine_2, &low);
    double y = q + low;
    y = y == 0 ? x : y; /* -0 */
    return WITHIN(SIZE(x) < SIDES_REACH, y);
}

/* Quarters of a turn, 0 to 2, and high + low, or less them. */
HG_INLINE double hg_wide_turn(double quarters, double way, double high, double low) {
    double base = quarters * HALF_PI, whole = FMA(way, high, base);
    return whole + (FMA(way, high, base - whole) + FMA(way, low, quarters * HALF_PI_2));
}
/* The angle of (x, y): of the smaller over the larger, less an eighth of a turn where that is nearer. */
HG_INLINE double hg_wide_atan2(double y, double x) {
    double up = SIZE(y), along = SIZE(x), n = up > along ? along : up, d = up > along ? up : along, low;
    double near = n > 0.41421356237309503 * d ? 1 : 0, sum = FMA(near, n, d), less = FMA(-near, d, n);
    double n_2 = near * (n - (less + d)), d_2 = near * (n - (sum - d));
    double t = hg_wide_ratio(less, n_2, sum, d_2, &low), z = t * t;
    double p = POLYNOMIAL(z, -0.017911301505876626, 0.03806850495321893, -0.05039467904389417, 0.05847927193736192,
                          -0.06663109461624818, 0.07692060705905754, -0.09090897785937817, 0.11111110784452835,
                          -0.14285714280216438, 0.19999999999953783, -0.333333333333332);
    low = FMA(p * z, t, FMA(low, -z, low));
    double angle = near * (0.5 * HALF_PI), high = angle + t;
    low += (t - (high - angle)) + near * (0.5 * HALF_PI_2);
    double side = SIGN(1, x), turned = hg_wide_turn(up > along ? 1 : 1 - side, up > along ? -side : side, high, low);
    return WITHIN((d < 1e150) & (d > 1e-150), SIGN(turned, y));
}

HG_INLINE double hg_wide_atan(double x) { return hg_wide_atan2(x, 1); }
HG_INLINE double hg_wide_hypot_cpu(double x, double y) {
    double sum = FMA(x, x, y * y);
    return WITHIN((sum > 1e-290) & (sum < 1e300), sqrt(sum));
}

/* By asin(s) = s + s z P(z), z = s^2, for s up to one half, and acos(a) = 2 asin(s) with s^2 = (1 - a) / 2 for a above. */
HG_INLINE double hg_wide_asin_parts(double a, double *low) {
    double z = a > 0.5 ? 0.5 - 0.5 * a : a * a, s = a > 0.5 ? 2 * sqrt(z) : a;
    double p = POLYNOMIAL(z, 0.031981413951986566, -0.016326261573772156, 0.019594046139637274, 0.006503636010298596,
                          0.012174913652222024, 0.013884355084940214, 0.017359795152073774, 0.022371751971347654,
                          0.030381959394034576, 0.04464285682201277, 0.07500000000344752, 0.16666666666665375);
    *low = s * z * p;
    return s;
}
HG_INLINE double hg_wide_asin(double x) {
    double a = SIZE(x), low, s = hg_wide_asin_parts(a, &low);
    return SIGN(hg_wide_turn(a > 0.5 ? 1 : 0, a > 0.5 ? -1 : 1, s, low), x);
}
HG_INLINE double hg_wide_acos(double x) {
    double a = SIZE(x), low, s = hg_wide_asin_parts(a, &low);
    return hg_wide_turn(a <= 0.5 ? 1 : x < 0 ? 2 : 0, a > 0.5 ? (x < 0 ? -1 : 1) : x < 0 ? 1 : -1, s, low);
}

/* erf(a) for a up to 1 */
HG_INLINE double hg_wide_erf_below_1(double a) {
    double p = POLYNOMIAL(a * a, -7.801188874097751e-10, 1.3722976265924504e-08, -1.6209175911748696e-07,
                          1.6447517677871873e-06, -1.4924744663335489e-05, 0.00012055295320494294,
                          -0.0008548325989696758, 0.005223977607423468, -0.02686617064327622, 0.11283791670945253,
                          -0.3761263890318355, 0.12837916709551256);
    return FMA(p, a, a);
}
/* Above by a polynomial for the logarithm of what is missing. */
HG_INLINE double hg_wide_erf(double x) {
    double size = SIZE(x), a = 5.95 < size ? 5.95 : size;
    double far = POLYNOMIAL(a, 1.039009949176699e-12, -4.75156107447248e-11, 1.0170222463324033e-09,
                            -1.3521961930094673e-08, 1.248288567781812e-07, -8.45181663635096e-07,
                            4.3017299724962534e-06, -1.642130017745599e-05, 4.476937183995314e-05,
                            -6.974910635700132e-05, -4.595856524100741e-05, 0.0006428377335226571,
                            -0.0017709302435518796, 0.00028223303675812026, 0.019076952383427027, -0.10274664116839584,
                            -0.6366287042076683, -1.1283772822983182, -1.8439483579258621e-07);
    return SIGN(a < 1 ? hg_wide_erf_below_1(a) : 1 - hg_wide_exp_of(far, 0), x);
}
/* exp(-a^2) Q(u) / (1 + 2 a), u = (a - 4) / (a + 4) (Shepherd and Laframboise) */
HG_INLINE double hg_wide_erfc(double x) {
    double a = SIZE(x), z = a * a, u = (a - 4) / (a + 4);
    double q = POLYNOMIAL(u, -1.836514243714658e-09, -1.3767652245243733e-08, -7.875244258872126e-09,
                          1.1542077530921445e-07, 6.311744944599904e-08, -8.349856093548641e-07, 3.009676459756365e-07,
                          5.717575390989795e-06, -1.1224618838488953e-05, -2.4402952580708403e-05,
                          0.0001506222118861143, -0.0001992555896237363, -0.0007577733430020175, 0.005031969774067415,
                          -0.016197734057346543, 0.03716751556015936, -0.0663303658118236, 0.09373283499695623,
                          -0.10103906603633259, 0.06809705425473217, 0.01537965210262029, -0.13962111684056283,
                          1.2329951186255526);
    double d = FMA(2, a, 1), low, y = hg_wide_ratio(q, 0, d, 2 * a - (d - 1), &low);
    double e = hg_wide_exp_of(-z, -FMA(a, a, -z));
    y = a < 0.5 ? 1 - hg_wide_erf_below_1(a) : FMA(e, low, e * y);
    return WITHIN(a < 26, x < 0 ? 2 - y : y);
}
/* x times a polynomial in w = -log(1 - x^2), or in its root (Giles). */
HG_INLINE double hg_wide_erfinv(double x) {
    double w = -hg_wide_log(FMA(-x, x, 1)), s = sqrt(w) - 2.85;
    double near = POLYNOMIAL(
        w, 2.449490106519421e-18, -1.437655384785426e-16, 3.821468746859387e-15, -6.012868605165172e-14,
        6.110911922251387e-13, -4.075196109552441e-12, 1.71945075539751e-11, -4.459531539012294e-11,
        1.3260369324293366e-10, -8.286599985808239e-10, 1.241179470752583e-09, 2.2188222249047355e-08,
        -3.6716686798920427e-08, -1.0129716279255929e-06, 2.0202098824438175e-06, 4.661135765298628e-05,
        -0.00012804327357042447, -0.0023351016447787356, 0.011549342038527867, 0.2320136665346462, 0.886226925452758);
    double far = POLYNOMIAL(s, 1.4799249709721892e-07, -6.487726478685694e-07, 4.272630227694208e-07,
                            2.6543993222765417e-06, -7.446810947564008e-06, 3.2732685435467246e-06,
                            2.6576438551730508e-05, -6.919761495612523e-05, 2.8244346989602588e-05,
                            0.00022884069445875077, -0.0005888779284122095, 0.00037089258538074935,
                            0.0013995577512094903, -0.004897154840496086, 0.008860532938054982, -0.011957025242061003,
                            0.01378424460043173, 0.99823922151388, 2.6829669947572437);
    return WITHIN(w < 12, x * (w < 5 ? near : far));
}

/* Activations: e^x over what it and 1 make, x times that, and the slope of gelu. */
HG_INLINE double hg_wide_sigmoid(double x) { return 1 / (1 + hg_wide_exp(-x)); }
HG_INLINE double hg_wide_silu(double x) { return x / (1 + hg_wide_exp(-x)); }
HG_INLINE double hg_wide_gelu_slope(double x) {
    return 0.5 * (1 + hg_wide_erf(x * M_SQRT1_2)) + x * hg_wide_exp(-x * x / 2) * (M_2_SQRTPI * M_SQRT1_2 * 0.5);
}

#undef FMA
#endif
