/* Code for the machine's vector units.

   Note [Vector units]
   A kernel is written once, as a function `name_body` that the compiler inlines (HG_INLINE) and vectorises, with `const bool fused`
   as its first parameter: is a multiplication and addition in one, with one rounding, an instruction here? HG_VECTOR(name,
   (parameters), arguments) makes of it a function `name` that calls the version for the machine at hand: with AVX-512,
   with AVX2, or for any processor of the kind (on 64-bit ARM that is NEON). HOOKGRAD_CPU=avx2 or baseline in the environment chooses
   less than the machine has. AVX2 and AVX-512 give the same bits; where nothing is fused the last digits may differ.

   Each version is code that is shipped. What is met less often has one for AVX-512 and AVX2 together (HG_VECTOR_FEW); of a kernel
   that is written for several types, only those for float32 have all (HG_VECTOR_OF). */
#ifndef HG_CPU_IMPL_H
#define HG_CPU_IMPL_H

#include <stdbool.h>

typedef enum hg_cpu { HG_CPU_BASELINE, HG_CPU_AVX2, HG_CPU_AVX512 } hg_cpu;

/* Set when the library is opened. */
extern hg_cpu hg_cpu_used;
void hg_cpu_choose(void);

/* A function of which small code is asked, not fast code: for data types and machines that are met seldom. */
#if defined(__GNUC__) && !defined(__clang__)
#define HG_SMALL __attribute__((optimize("Os")))
#else
#define HG_SMALL
#endif

/* A function that is part of its caller, whatever the machine that one is compiled for. */
#if defined(__GNUC__)
#define HG_INLINE static inline __attribute__((always_inline))
#else
#define HG_INLINE static inline
#endif

#if defined(__x86_64__) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)) && !defined(HG_DEBUG)
#define HG_HAS_VERSIONS 1
#if defined(__clang__)
#define HG_AVX512 __attribute__((target("arch=x86-64-v4")))
#else
#define HG_AVX512 __attribute__((target("arch=x86-64-v4,prefer-vector-width=512")))
#endif
#define HG_AVX2 __attribute__((target("arch=x86-64-v3")))
#define HG_VECTOR_(name, parameters, ...)                                                                              \
    HG_AVX512 static void name##_avx512 parameters { name##_body(true, __VA_ARGS__); }                                 \
    HG_AVX2 static void name##_avx2 parameters { name##_body(true, __VA_ARGS__); }                                     \
    HG_SMALL static void name##_baseline parameters { name##_body(false, __VA_ARGS__); }                               \
    static void name parameters {                                                                                      \
        if (hg_cpu_used == HG_CPU_AVX512)                                                                              \
            name##_avx512(__VA_ARGS__);                                                                                \
        else if (hg_cpu_used == HG_CPU_AVX2)                                                                           \
            name##_avx2(__VA_ARGS__);                                                                                  \
        else                                                                                                           \
            name##_baseline(__VA_ARGS__);                                                                              \
    }
#define HG_VECTOR_FEW_(name, parameters, ...)                                                                          \
    HG_AVX2 static void name##_avx2 parameters { name##_body(true, __VA_ARGS__); }                                     \
    HG_SMALL static void name##_baseline parameters { name##_body(false, __VA_ARGS__); }                               \
    static void name parameters {                                                                                      \
        if (hg_cpu_used != HG_CPU_BASELINE)                                                                            \
            name##_avx2(__VA_ARGS__);                                                                                  \
        else                                                                                                           \
            name##_baseline(__VA_ARGS__);                                                                              \
    }
#else
#if defined(__aarch64__)
#define HG_FUSES true
#else
#define HG_FUSES false
#endif
#define HG_VECTOR_(name, parameters, ...)                                                                              \
    static void name parameters { name##_body(HG_FUSES, __VA_ARGS__); }
#define HG_VECTOR_FEW_ HG_VECTOR_
#endif

#define HG_VECTOR(name, parameters, ...)     HG_VECTOR_(name, parameters, __VA_ARGS__) /* `name` may be a macro */
#define HG_VECTOR_FEW(name, parameters, ...) HG_VECTOR_FEW_(name, parameters, __VA_ARGS__)
#define HG_VECTOR_OF(type, ...)              HG_VECTOR_##type(__VA_ARGS__)
#define HG_VECTOR_float                      HG_VECTOR
#define HG_VECTOR_uint32_t                   HG_VECTOR /* moves float32 */
#define HG_VECTOR_double                     HG_VECTOR_FEW
#define HG_VECTOR_uint8_t                    HG_VECTOR_FEW
#define HG_VECTOR_uint16_t                   HG_VECTOR_FEW
#define HG_VECTOR_uint64_t                   HG_VECTOR_FEW

/* HG_IVDEP before a for: iterations do not depend on one another, although the compiler cannot know: in place, a result
   lies exactly on its operand. HG_ROLLED after it: of a known number of iterations, and not worth their code one by
   one; HG_UNROLLED before a for: they are to be written out. */
#if defined(__clang__)
#define HG_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define HG_IVDEP _Pragma("GCC ivdep")
#else
#define HG_IVDEP
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define HG_ROLLED   _Pragma("GCC unroll 1")
#define HG_UNROLLED _Pragma("GCC unroll 32")
#else
#define HG_ROLLED
#define HG_UNROLLED
#endif

#endif
