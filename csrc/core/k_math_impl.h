/* The functions networks are full of, in float32, written so that loops over them are vectorised: no branch, no call.

   Note [Polynomials]
   Each reduces its operand to an interval around zero and evaluates a polynomial there; coefficients are those of Cephes.
   Results are within 2 units in the last place of the exact ones, NaN, infinities, overflow and underflow are those of the C
   library. In double precision, and for everything else, the C library is what is called. */
#ifndef HG_K_MATH_IMPL_H
#define HG_K_MATH_IMPL_H

#include <math.h>
#include <stdint.h>

static inline float hg_bits_to_float(uint32_t u) {
    union {
        uint32_t u;
        float f;
    } v = {u};
    return v.f;
}
static inline uint32_t hg_float_to_bits(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f};
    return v.u;
}
static inline float hg_round_small(float x) { /* |x| < 2^22 */
    const float shift = 12582912.0f;
    return (x + shift) - shift;
}

static inline float hg_expf(float x) {
    float inside = x < -104.0f ? -104.0f : x;
    inside = inside > 89.0f ? 89.0f : inside;
    float n = hg_round_small(inside * 1.44269504088896341f); /* x = n log 2 + r */
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

static inline float hg_tanhf(float x) {
    float size = fabsf(x), z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near_zero = p * z * x + x;
    float far = 1.0f - 2.0f / (hg_expf(2.0f * (size > 10.0f ? 10.0f : size)) + 1.0f);
    far = hg_bits_to_float(hg_float_to_bits(far) | (hg_float_to_bits(x) & 0x80000000u));
    float y = size < 0.625f ? near_zero : far;
    return x != x ? x : y;
}

static inline float hg_sigmoidf(float x) { return 1.0f / (1.0f + hg_expf(-x)); }
static inline double hg_sigmoid(double x) { return 1 / (1 + exp(-x)); }

static inline float hg_logf(float x) {
    float scaled = x < 0x1p-126f ? x * 0x1p23f : x; /* subnormals */
    uint32_t u = hg_float_to_bits(scaled);
    float e = (float)((int32_t)(u >> 23 & 0xff) - 126) - (x < 0x1p-126f ? 23.0f : 0.0f);
    float m = hg_bits_to_float((u & 0x007fffffu) | 0x3f000000u); /* x = m 2^e, m in [0.5, 1) */
    e = m < 0.707106781186547524f ? e - 1.0f : e;
    float r = m < 0.707106781186547524f ? m + m - 1.0f : m - 1.0f, z = r * r;
    float p = 7.0376836292e-2f;
    p = p * r - 1.1514610310e-1f;
    p = p * r + 1.1676998740e-1f;
    p = p * r - 1.2420140846e-1f;
    p = p * r + 1.4249322787e-1f;
    p = p * r - 1.6668057665e-1f;
    p = p * r + 2.0000714765e-1f;
    p = p * r - 2.4999993993e-1f;
    p = p * r + 3.3333331174e-1f;
    float y = p * r * z + e * -2.12194440e-4f - 0.5f * z;
    y = r + y + e * 0.693359375f;
    y = x == 0.0f ? -INFINITY : y;
    y = x < 0.0f ? NAN : y;
    return x != x || x == INFINITY ? x : y;
}

/* By the operand's type: these, or the C library's. */
#define hg_exp(x)      _Generic((x), float : hg_expf, default : (exp))(x)
#define hg_tanh(x)     _Generic((x), float : hg_tanhf, default : (tanh))(x)
#define hg_log(x)      _Generic((x), float : hg_logf, default : (log))(x)
#define hg_sigmoid_(x) _Generic((x), float : hg_sigmoidf, default : hg_sigmoid)(x)

#endif
