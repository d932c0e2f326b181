/* Converting between data types, a run of numbers at a time. */
#include "k_impl.h"

#include <float.h>
#include <math.h>
#ifdef HG_HAS_VERSIONS
#include <immintrin.h>
#endif

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
/* How a type is converted to another: */
#define S(TO, to_type, store, FROM, from_type, load) STEPS(FROM##_to_##TO, to_type, store, from_type, load) /* seldom */

/* Loops of vectors, of any step. */
#define LOOPS(KIND, TO, to_type, store, FROM, from_type, load)                                                         \
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
    KIND(FROM##_to_##TO, (int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step), n, to, to_step,  \
         from, from_step)
#define F(...) LOOPS(HG_VECTOR_FEW, __VA_ARGS__) /* for fewer vector units */
#define V(...) LOOPS(HG_VECTOR, __VA_ARGS__)

/* Between float32 and float16 what has AVX2 has instructions, which compilers do not find: for blocks of numbers, and a loop for
   what is left. */
#ifdef HG_HAS_VERSIONS
enum { BLOCK = 8 };
HG_AVX2 static void F32_block_to_F16(char *to, const char *from) {
    __m256 x = _mm256_loadu_ps((const float *)(const void *)from);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
HG_AVX2 static void F16_block_to_F32(char *to, const char *from) {
    _mm256_storeu_ps((float *)(void *)to, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from)));
}
#define BLOCKS(TO, to_type, FROM, from_type)                                                                           \
    HG_AVX2 static int64_t FROM##_blocks_to_##TO(int64_t n, char *to, const char *from) {                              \
        int64_t i = 0;                                                                                                 \
        for (; i + BLOCK <= n; i += BLOCK)                                                                             \
            FROM##_block_to_##TO(to + i * (int64_t)sizeof(to_type), from + i * (int64_t)sizeof(from_type));            \
        return i;                                                                                                      \
    }
#define BLOCKS_DONE(TO, FROM) (hg_cpu_used == HG_CPU_BASELINE ? 0 : FROM##_blocks_to_##TO(n, to, from))
#else
#define BLOCKS(...)
#define BLOCKS_DONE(TO, FROM) 0
#endif
#define H(TO, to_type, store, FROM, from_type, load)                                                                   \
    LOOPS(HG_VECTOR_FEW, TO##_plainly, to_type, store, FROM, from_type, load)                                          \
    BLOCKS(TO, to_type, FROM, from_type)                                                                               \
    static void FROM##_to_##TO(int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step) {            \
        const bool is_dense = to_step == sizeof(to_type) && from_step == sizeof(from_type);                            \
        const int64_t done = is_dense ? BLOCKS_DONE(TO, FROM) : 0;                                                     \
        FROM##_to_##TO##_plainly(n - done, to + done * to_step, to_step, from + done * from_step, from_step);          \
    }

#define FROM_ALL(TO, to_type, store, U8_, I8_, I16_, I32_, I64_, F16_, F32_, F64_, BF16_, BOOL_)                       \
    U8_(TO, to_type, store, U8, uint8_t, SAME)                                                                         \
    I8_(TO, to_type, store, I8, int8_t, SAME)                                                                          \
    I16_(TO, to_type, store, I16, int16_t, SAME)                                                                       \
    I32_(TO, to_type, store, I32, int32_t, SAME)                                                                       \
    I64_(TO, to_type, store, I64, int64_t, SAME)                                                                       \
    F16_(TO, to_type, store, F16, uint16_t, hg_half_to_float)                                                          \
    F32_(TO, to_type, store, F32, float, SAME)                                                                         \
    F64_(TO, to_type, store, F64, double, SAME)                                                                        \
    BF16_(TO, to_type, store, BF16, uint16_t, hg_bf16_to_float)                                                        \
    BOOL_(TO, to_type, store, BOOL, uint8_t, SAME)

/* clang-format off */
/* to, from:                                U8   I8   I16  I32  I64  F16  F32  F64  BF16 BOOL */
FROM_ALL(U8, uint8_t, TO_U8,                S,   S,   S,   S,   F,   S,   F,   S,   S,   S)
FROM_ALL(I8, int8_t, TO_I8,                 S,   S,   S,   S,   S,   S,   S,   S,   S,   S)
FROM_ALL(I16, int16_t, TO_I16,              S,   S,   S,   S,   S,   S,   S,   S,   S,   S)
FROM_ALL(I32, int32_t, (int32_t),           F,   S,   S,   S,   F,   S,   F,   F,   F,   F)
FROM_ALL(I64, int64_t, (int64_t),           F,   S,   S,   F,   S,   S,   V,   S,   S,   F)
FROM_ALL(F16, uint16_t, hg_float_to_half,   S,   S,   S,   S,   S,   S,   H,   F,   F,   S)
FROM_ALL(F32, float, (float),               V,   S,   S,   F,   V,   H,   S,   V,   V,   V)
FROM_ALL(F64, double, (double),             F,   S,   S,   F,   V,   F,   V,   S,   F,   F)
FROM_ALL(BF16, uint16_t, hg_float_to_bf16,  S,   S,   S,   S,   S,   F,   V,   F,   S,   S)
FROM_ALL(BOOL, uint8_t, TO_BOOL,            F,   S,   S,   S,   F,   S,   V,   F,   F,   S)
/* clang-format on */
#undef S
#undef F
#undef V
#undef H

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
