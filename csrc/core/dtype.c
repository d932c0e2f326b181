/* Data types: what they are called, how they combine, and the two that are computed in float32. */
#include "core_impl.h"

const hg_dtype_info hg_dtypes[HG_N_DTYPES] = {
#define X(id, type, name, tensor_name, category) [HG_##id] = {name, tensor_name, sizeof(type), category},
    HG_DTYPES(X)
#undef X
};

hg_dtype hg_dtype_promote(hg_dtype a, hg_dtype b) {
    if (a == b) return a;
    uint8_t ca = hg_dtypes[a].category, cb = hg_dtypes[b].category;
    if (ca != cb) return ca > cb ? a : b;
    if (ca == 2) { /* neither half type holds the other */
        if ((a == HG_F16 && b == HG_BF16) || (a == HG_BF16 && b == HG_F16)) return HG_F32;
        return hg_dtypes[a].size > hg_dtypes[b].size ? a : b;
    }
    if ((a == HG_U8 && b == HG_I8) || (a == HG_I8 && b == HG_U8)) return HG_I16;
    return hg_dtypes[a].size > hg_dtypes[b].size ? a : b;
}

float hg_half_to_float(uint16_t h) {
    union { uint32_t u; float f; } v;
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;
    if (exponent == 31) {
        v.u = sign | 0x7f800000 | mantissa << 13;
    } else if (exponent) {
        v.u = sign | (exponent + 112) << 23 | mantissa << 13;
    } else { /* zero or subnormal: the mantissa counts units of 2^-24 */
        v.f = (float)mantissa * 0x1p-24f;
        v.u |= sign;
    }
    return v.f;
}

uint16_t hg_float_to_half(float f) {
    union { float f; uint32_t u; } v = {f};
    uint16_t sign = (uint16_t)(v.u >> 16 & 0x8000);
    uint32_t magnitude = v.u & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00; /* NaN */
    if (magnitude >= 0x477ff000) return sign | 0x7c00; /* rounds beyond 65504 */
    if (magnitude < 0x38800000) { /* subnormal: adding 0.5 leaves the mantissa in the low bits, rounded by the processor */
        v.u = magnitude;
        v.f += 0.5f;
        return sign | (uint16_t)(v.u - 0x3f000000);
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return sign | (uint16_t)((magnitude - 0x38000000) >> 13);
}
