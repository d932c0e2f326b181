/* The functions networks are full of, in float32, written so that loops over them are vectorised: no branch, no call.

   Note [Polynomials]
   Each reduces its operand to an interval around zero and evaluates a polynomial there: fitted by weighted least squares, those
   of hg_near_erf from a table of N. Juffa's. Results are within 3 units in the last place of the exact ones. hg_near_exp and
   hg_near_log are for the operands that occur; hg_expf and hg_logf are for all, with NaN, infinities, overflow and
   underflow as in the C library. For double precision there is k_double_impl.h, for everything else the C library.

   `fused`: see Note [Vector units] in cpu_impl.h. */
#ifndef HG_K_MATH_IMPL_H
#define HG_K_MATH_IMPL_H

#include "cpu_impl.h"

#include <math.h>
#include <stdint.h>

HG_INLINE float hg_bits_to_float(uint32_t u) {
    union {
        uint32_t u;
        float f;
    } v = {u};
    return v.f;
}
HG_INLINE uint32_t hg_float_to_bits(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f};
    return v.u;
}
/* |y| with the sign of x. */
HG_INLINE float hg_with_sign(float y, float x) {
    return hg_bits_to_float(hg_float_to_bits(y) | (hg_float_to_bits(x) & 0x80000000u));
}

#define FMA(a, b, c) (fused ? __builtin_fmaf(a, b, c) : (a) * (b) + (c))

/* ---- For all operands ------------------------------------------------------------------------------------------------- */

static inline float hg_expf(float x) {
    float inside = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    float n = (inside * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* x = n log 2 + r */
    float r = inside - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t i = (int32_t)(n == n ? n : 0),
            half = i >> 1; /* 2^n in two steps: n reaches beyond either end of the exponents */
    float y = p * hg_bits_to_float((uint32_t)(half + 127) << 23) * hg_bits_to_float((uint32_t)(i - half + 127) << 23);
    return x != x ? x : y;
}

/* ---- For those that occur ------------------------------------------------------------------------------------------------ */

/* The bits of |x|, and of 87: what hg_near_exp takes. */
#define HG_SIZE_BITS(x) (hg_float_to_bits(x) & 0x7fffffffu)
#define HG_EXP_REACH    0x42ae0000u
#define HG_EXPM1_REACH  0x41a00000u /* 20 */
#define HG_SINE_REACH   0x46000000u /* 8192 */
/* Positive, normal and finite: what hg_near_log takes. */
#define HG_LOG_BITS(x) (hg_float_to_bits(x) - 0x00800000u)
#define HG_LOG_REACH   0x7effffffu

/* 2^(n + f), f in [-1/2, 1/2]; n is in the last bits of `shifted`. */
HG_INLINE float hg_near_power(const bool fused, float shifted, float f) {
    float p = 1.546981221e-4f;
    p = FMA(p, f, 1.339093549e-3f);
    p = FMA(p, f, 9.618030861e-3f);
    p = FMA(p, f, 5.550356954e-2f);
    p = FMA(p, f, 2.402265072e-1f);
    p = FMA(p, f, 6.931471825e-1f);
    p = FMA(p, f, 1.0f);
    return hg_bits_to_float(hg_float_to_bits(p) + (hg_float_to_bits(shifted) << 23));
}

/* exp(x) for |x| <= 87: with 2^n in the exponent, and the rest f in [-1/2, 1/2] of x log2(e) as 2^f. */
HG_INLINE float hg_near_exp(const bool fused, float x) {
    float shifted = FMA(x, 1.44269504f, 12582912.0f), n = shifted - 12582912.0f; /* rounded: 1.5 * 2^23 */
    float f = fused ? FMA(x, 1.92596303e-8f, FMA(x, 1.44269502f, -n))
                    : ((x - n * 0.693359375f) + n * 2.12194440e-4f) * 1.44269504f; /* n's product is exact */
    return hg_near_power(fused, shifted, f);
}

/* 2^x, |x| <= 87. */
HG_INLINE float hg_near_exp2(const bool fused, float x) {
    float shifted = x + 12582912.0f;
    return hg_near_power(fused, shifted, x - (shifted - 12582912.0f));
}

/* The same, rounded right but for one operand in forty: what the sum of 1 and r loses is carried along. For the few numbers that
   programs print and compare. */
HG_INLINE float hg_fine_exp(const bool fused, float x) {
    float shifted = FMA(x, 1.44269504f, 12582912.0f), n = shifted - 12582912.0f;
    float high = FMA(n, -0.693359375f, x), low = n * 2.12194440e-4f, r = high + low;
    float p = 1.394115039e-3f;
    p = FMA(p, r, 8.363196626e-3f);
    p = FMA(p, r, 4.166637361e-2f);
    p = FMA(p, r, 1.666657626e-1f);
    p = FMA(p, r, 0.5f);
    float sum = 1.0f + high, lost = high - (sum - 1.0f), y = sum + (lost + FMA(p * r, r, low));
    return hg_bits_to_float(hg_float_to_bits(y) + (hg_float_to_bits(shifted) << 23));
}

/* exp(x) for x up to 87; 0 where it would be below the normal numbers. */
HG_INLINE float hg_low_exp(const bool fused, float x) {
    float y = hg_near_exp(fused, x); /* whatever it is */
    return x < -87.0f ? 0.0f : y;
}

/* exp(x) - 1 for |x| <= 20, or NaN: 2^n - 1 and 2^n times the rest are added up. */
HG_INLINE float hg_near_expm1(const bool fused, float x) {
    float shifted = FMA(x, 1.44269504f, 12582912.0f), n = shifted - 12582912.0f;
    float r = FMA(n, 2.12194440e-4f, FMA(n, -0.693359375f, x));
    float p = 1.394115039e-3f;
    p = FMA(p, r, 8.363196626e-3f);
    p = FMA(p, r, 4.166637361e-2f);
    p = FMA(p, r, 1.666657626e-1f);
    p = FMA(p, r, 0.5f);
    float rest = FMA(p * r, r, r);
    float two_to_n = hg_bits_to_float((hg_float_to_bits(shifted) << 23) + 0x3f800000u);
    return FMA(two_to_n, rest, two_to_n - 1.0f);
}

HG_INLINE float hg_near_tanh(const bool fused, float x) {
    float size = fabsf(x), inside = 9.5f < size ? 9.5f : size; /* NaN stays */
    float e = hg_near_expm1(fused, inside + inside);
    return hg_with_sign(e / (e + 2.0f), x);
}

HG_INLINE float hg_near_sigmoid(const bool fused, float x) { return 1.0f / (1.0f + hg_near_exp(fused, -x)); }

HG_INLINE float hg_near_erf(const bool fused, float x) {
    float t = fabsf(x), s = x * x;
    float r = FMA(-1.72853470e-5f, t, 3.83197126e-4f), u = FMA(-3.88396438e-3f, t, 2.42546219e-2f);
    r = FMA(r, s, u);
    r = FMA(r, t, -1.06777877e-1f);
    r = FMA(r, t, -6.34846687e-1f);
    r = FMA(r, t, -1.28717512e-1f);
    r = FMA(r, t, -t);
    float far = 1.0f - hg_near_exp(fused, -80.0f > r ? -80.0f : r);
    float p = -5.96761703e-4f;
    p = FMA(p, s, 4.99119423e-3f);
    p = FMA(p, s, -2.67681349e-2f);
    p = FMA(p, s, 1.12819925e-1f);
    p = FMA(p, s, -3.76125336e-1f);
    p = FMA(p, s, 1.28379166e-1f);
    p = FMA(p, t, t);
    return hg_with_sign(t > 0.927734375f ? far : p, x);
}

/* (1 - erf(a / sqrt(2))) for a >= 0: what the normal distribution has beyond a, on both sides. Within 1e-7 / a. */
HG_INLINE float hg_near_tails(const bool fused, float a) {
    float u = 13.0f < a ? 13.0f : a; /* NaN stays */
    float p = 5.890934318e-8f;
    p = FMA(p, u, -1.818647525e-6f);
    p = FMA(p, u, 2.022634362e-5f);
    p = FMA(p, u, -8.633405378e-5f);
    p = FMA(p, u, -2.111761860e-4f);
    p = FMA(p, u, 5.061570089e-3f);
    p = FMA(p, u, -3.651180863e-2f);
    p = FMA(p, u, -3.182540238e-1f);
    p = FMA(p, u, -7.978911400e-1f);
    return hg_near_exp(fused, p * u);
}

/* x times the share of the normal distribution below x. */
HG_INLINE float hg_near_gelu(const bool fused, float x) {
    float size = fabsf(x), half = 0.5f * x, inside = 13.0f < size ? 13.0f : size;
    return FMA(-0.5f * inside, hg_near_tails(fused, size), half + 0.5f * size);
}
/* Its derivative. */
HG_INLINE float hg_near_gelu_slope(const bool fused, float x) {
    float tail = 0.5f * hg_near_tails(fused, fabsf(x)), below = x < 0.0f ? tail : 1.0f - tail;
    return FMA(x * 0.3989422804f, hg_low_exp(fused, -0.5f * x * x), below);
}

/* Of a positive normal number x = m 2^e, m in [sqrt(1/2), sqrt(2)): e, and log(m). */
HG_INLINE float hg_near_log_parts(const bool fused, float x, float *e) {
    uint32_t u = hg_float_to_bits(x) - 0x3f3504f3u;
    float r = hg_bits_to_float((u & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    *e = (float)((int32_t)u >> 23);
    float p = -8.305438608e-2f;
    p = FMA(p, r, 1.279892176e-1f);
    p = FMA(p, r, -1.294341087e-1f);
    p = FMA(p, r, 1.419023424e-1f);
    p = FMA(p, r, -1.664348841e-1f);
    p = FMA(p, r, 2.000187933e-1f);
    p = FMA(p, r, -2.500028014e-1f);
    p = FMA(p, r, 3.333332539e-1f);
    p = FMA(p, r, -0.5f);
    return FMA(p, r * r, r);
}
/* log(x), and to the base whose logarithm is 1 / scale; `unit` is that of 2. */
HG_INLINE float hg_near_log(const bool fused, float x) {
    float e, rest = hg_near_log_parts(fused, x, &e);
    return FMA(e, 0.693147180559945f, rest);
}
HG_INLINE float hg_near_log_to(const bool fused, float x, float unit, float scale) {
    float e, rest = hg_near_log_parts(fused, x, &e);
    return FMA(rest, scale, e * unit);
}
/* log(1 + x): the sum's rounding is made up for. */
HG_INLINE float hg_near_log1p(const bool fused, float x) {
    float sum = 1.0f + x;
    return hg_with_sign(fabsf(hg_near_log(fused, sum) + (x - (sum - 1.0f)) / sum), x);
}

/* The sine of x and `quarters` of a turn, |x| <= 8192: by the quarters that are nearest, and the sine or cosine of the rest. */
HG_INLINE float hg_near_sine(const bool fused, float x, uint32_t quarters) {
    float shifted = FMA(x, 0.636619772f, 12582912.0f), n = shifted - 12582912.0f;
    float r = FMA(n, -1.5703125f, x);
    r = FMA(n, -4.837512969970703125e-4f, r);
    r = FMA(n, -7.549789415861596e-08f, r);
    r = FMA(n, -5.390302953474238e-15f, r); /* above zero it would take the sign from -0 */
    float z = r * r;
    float sine = FMA(FMA(FMA(-1.9515295891e-4f, z, 8.3321608736e-3f), z, -1.6666654611e-1f) * z, r, r);
    sine = r == 0.0f ? r : sine; /* -0 */
    float cosine = FMA(FMA(2.443315711809948e-5f, z, -1.388731625493765e-3f), z, 4.166664568298827e-2f);
    cosine = FMA(cosine * z, z, FMA(-0.5f, z, 1.0f));
    quarters += hg_float_to_bits(shifted);
    return hg_bits_to_float(hg_float_to_bits(quarters & 1 ? cosine : sine) ^ (quarters & 2) << 30);
}

/* log(1 + exp(-t)), t >= 0. The sum's rounding is made up for. */
HG_INLINE float hg_near_softplus(const bool fused, float t) {
    float e = hg_low_exp(fused, -t), sum = 1.0f + e;
    return hg_near_log(fused, sum) + (e - (sum - 1.0f)) / sum;
}

#undef FMA
#endif
