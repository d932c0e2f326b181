/* Converting between data types, a run of numbers at a time. */
#include "k_impl.h"

#include <float.h>
#include <math.h>

#define SAME(x) (x)
/* A float outside an integer's range: as x86-64 converts it, so that results do not depend on how a loop was compiled. */
#define TO_U8(x)   ((uint8_t)(int64_t)(x))
#define TO_I8(x)   ((int8_t)(int32_t)(x))
#define TO_I16(x)  ((int16_t)(int32_t)(x))
#define TO_BOOL(x) ((x) != 0)

#define STEPS(name, to_type, store, from_type, load)                                                                   \
    HG_SMALL static void name(int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step) {             \
        for (; n > 0; n--, to += to_step, from += from_step)                                                           \
            *(to_type *)(void *)to = (to_type)store(load(*(const from_type *)(const void *)from));                     \
    }
#define FUNCTION(TO, to_type, store, FROM, from_type, load) STEPS(FROM##_to_##TO, to_type, store, from_type, load)

/* Between float32 and what is met often, for every vector unit. */
#define VECTORS(TO, to_type, store, FROM, from_type, load)                                                             \
    STEPS(FROM##_to_##TO##_any, to_type, store, from_type, load)                                                       \
    HG_INLINE void FROM##_to_##TO##_body(const bool fused, int64_t n, char *to, int64_t to_step, const char *from,     \
                                         int64_t from_step) {                                                          \
        (void)fused;                                                                                                   \
        if (to_step != sizeof(to_type) || from_step != sizeof(from_type)) {                                            \
            FROM##_to_##TO##_any(n, to, to_step, from, from_step);                                                     \
            return;                                                                                                    \
        }                                                                                                              \
        to_type *restrict r = (to_type *)(void *)to;                                                                   \
        const from_type *restrict x = (const from_type *)(const void *)from;                                           \
        for (int64_t i = 0; i < n; i++) r[i] = (to_type)store(load(x[i]));                                             \
    }                                                                                                                  \
    HG_VECTOR(FROM##_to_##TO, (int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step), n, to,      \
              to_step, from, from_step)

/* From float32 by FROM_F32, from the other floating types by FROM_FLOAT, from what masks, bytes and counts are by FROM_COUNT. */
#define FROM_ALL(FROM_F32, FROM_FLOAT, FROM_COUNT, TO, to_type, store)                                                 \
    FROM_COUNT(TO, to_type, store, U8, uint8_t, SAME)                                                                  \
    FUNCTION(TO, to_type, store, I8, int8_t, SAME)                                                                     \
    FUNCTION(TO, to_type, store, I16, int16_t, SAME)                                                                   \
    FUNCTION(TO, to_type, store, I32, int32_t, SAME)                                                                   \
    FROM_COUNT(TO, to_type, store, I64, int64_t, SAME)                                                                 \
    FROM_FLOAT(TO, to_type, store, F16, uint16_t, hg_half_to_float)                                                    \
    FROM_F32(TO, to_type, store, F32, float, SAME)                                                                     \
    FROM_FLOAT(TO, to_type, store, F64, double, SAME)                                                                  \
    FROM_FLOAT(TO, to_type, store, BF16, uint16_t, hg_bf16_to_float)                                                   \
    FROM_COUNT(TO, to_type, store, BOOL, uint8_t, SAME)

FROM_ALL(FUNCTION, FUNCTION, FUNCTION, U8, uint8_t, TO_U8)
FROM_ALL(FUNCTION, FUNCTION, FUNCTION, I8, int8_t, TO_I8)
FROM_ALL(FUNCTION, FUNCTION, FUNCTION, I16, int16_t, TO_I16)
FROM_ALL(FUNCTION, FUNCTION, FUNCTION, I32, int32_t, (int32_t))
FROM_ALL(FUNCTION, FUNCTION, FUNCTION, I64, int64_t, (int64_t))
FROM_ALL(VECTORS, FUNCTION, FUNCTION, F16, uint16_t, hg_float_to_half)
FROM_ALL(FUNCTION, VECTORS, VECTORS, F32, float, (float))
FROM_ALL(VECTORS, FUNCTION, FUNCTION, F64, double, (double))
FROM_ALL(VECTORS, FUNCTION, FUNCTION, BF16, uint16_t, hg_float_to_bf16)
FROM_ALL(VECTORS, FUNCTION, FUNCTION, BOOL, uint8_t, TO_BOOL)

#define ROW(TO)                                                                                                        \
    [HG_##TO] = {[HG_U8] = U8_to_##TO,     [HG_I8] = I8_to_##TO,    [HG_I16] = I16_to_##TO, [HG_I32] = I32_to_##TO,    \
                 [HG_I64] = I64_to_##TO,   [HG_F16] = F16_to_##TO,  [HG_F32] = F32_to_##TO, [HG_F64] = F64_to_##TO,    \
                 [HG_BF16] = BF16_to_##TO, [HG_BOOL] = BOOL_to_##TO}

static const hg_convert converters[HG_N_DTYPES][HG_N_DTYPES] = {
    ROW(U8), ROW(I8), ROW(I16), ROW(I32), ROW(I64), ROW(F16), ROW(F32), ROW(F64), ROW(BF16), ROW(BOOL),
};

hg_convert hg_converter(hg_dtype to, hg_dtype from) { return converters[to][from]; }

const char *hg_c_name(hg_dtype d) {
    static const char *const names[HG_N_DTYPES] = {
        [HG_U8] = "unsigned char",   [HG_I8] = "signed char", [HG_I16] = "short int", [HG_I32] = "int",
        [HG_I64] = "long int",       [HG_F16] = "c10::Half",  [HG_F32] = "float",     [HG_F64] = "double",
        [HG_BF16] = "c10::BFloat16", [HG_BOOL] = "bool"};
    return names[d];
}

hg_status hg_check_number(hg_ctx *cx, hg_arg number, hg_dtype d) {
    static const struct {
        double low, high;
        const char *name;
    } range[HG_N_DTYPES] = {[HG_U8] = {-255, 255, "uint8_t"},
                            [HG_I8] = {INT8_MIN, INT8_MAX, "int8_t"},
                            [HG_I16] = {INT16_MIN, INT16_MAX, "int16_t"},
                            [HG_I32] = {INT32_MIN, INT32_MAX, "int"},
                            [HG_I64] = {-0x1p63, 0x1p63, "int64_t"},
                            [HG_F16] = {-65504, 65504, "c10::Half"},
                            [HG_F32] = {-FLT_MAX, FLT_MAX, "float"},
                            [HG_BF16] = {-0x1.fep127, 0x1.fep127, "c10::BFloat16"}};
    double f = number.kind == HG_A_FLOAT ? number.u.f : (double)number.u.i;
    if (!range[d].name || (f >= range[d].low && f <= range[d].high)) return HG_OK;
    if (hg_dtype_is_float(d) && !isfinite(f)) return HG_OK;
    return hg_fail(cx, HG_STATE, "value cannot be converted to type %s without overflow", range[d].name);
}

void hg_put_number(hg_arg number, hg_dtype d, void *to) {
    if (number.kind == HG_A_FLOAT)
        converters[d][HG_F64](1, to, 8, (const char *)&number.u.f, 8);
    else
        converters[d][HG_I64](1, to, 8, (const char *)&number.u.i, 8);
}
