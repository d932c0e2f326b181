/* Kernels: loops by dtype, and the one function that runs them over tensors. */
#ifndef HG_K_IMPL_H
#define HG_K_IMPL_H

#include "iter_impl.h"

/* Converts n numbers from one dtype to another; steps in bytes. */
typedef void (*hg_convert)(int64_t n, char *to, int64_t to_step, const char *from, int64_t from_step);
hg_convert hg_converter(hg_dtype to, hg_dtype from);

/* A number as one element of dtype d: at least 8 bytes at `to`. Integers wrap. */
void hg_put_number(hg_arg number, hg_dtype d, void *to);
/* Fails where the number is beyond the dtype's range: asked before a tensor is filled with it. */
hg_status hg_check_number(hg_ctx *cx, hg_arg number, hg_dtype d);
/* "result type Float can't be cast to ..." where torch refuses. */
hg_status hg_check_cast(hg_ctx *cx, hg_dtype from, hg_dtype to);
/* Do they span some of the same memory, so that they may have elements in common? */
bool hg_spans_meet(const hg_tensor *a, const hg_tensor *b);
/* Fails where writing `out` while reading `in` (may be NULL) would depend on the order. */
hg_status hg_check_overlap(hg_ctx *cx, const hg_tensor *out, const hg_tensor *in);
/* The same also where `in` is `out`: of ops that read more of it than what they write over. */
hg_status hg_check_apart(hg_ctx *cx, const hg_tensor *out, const hg_tensor *in);
/* The warning of functions that write into such tensors all the same; `out` may be NULL. */
hg_status hg_warn_of_overlap(hg_ctx *cx, const hg_tensor *out, const char *name, const char *use);

/* An elementwise kernel: a loop for each dtype it computes in. Half types without a loop of their own run as float32, a
   chunk at a time. */
typedef struct hg_kernel {
    const char *name; /* in messages */
    hg_loop loop[HG_N_DTYPES];
    bool to_bool;    /* the result is bool, whatever is computed in */
    bool first_bool; /* operand 0 is bool, whatever is computed in */
} hg_kernel;

/* Run kernel k over in[n_in], tensors or numbers, computing in dtype d, broadcast, into *out. */
hg_status hg_run(hg_ctx *cx, const hg_kernel *k, hg_dtype d, const hg_arg *in, int n_in, const hg_extra_args *extra,
                 hg_tensor **out);
/* Note [Plain calls] in pointwise.c. *out stays NULL where the operands, info->n_plain of them, are not plain. */
void hg_plan_plain(hg_op_info *info);
hg_status hg_run_plain(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor **out);
/* d where it is floating, else the default dtype. */
static inline hg_dtype hg_float_type(hg_ctx *cx, hg_dtype d) { return hg_dtype_is_float(d) ? d : hg_default_dtype(cx); }

/* Functions the C library lacks. */
double hg_zeta(double s, double q); /* Hurwitz: the sum of 1/(q+k)^s */

/* ---- Tables ------------------------------------------------------------------------------------------------------------- */

/* One floating operand: K(name, value of x). V is the type computed in. What stands here has an op of its name. */
#define HG_MATH_KERNELS(K)                                                                                             \
    K(asinh, asinh(x))                                                                                                 \
    K(acosh, acosh(x))                                                                                                 \
    K(lgamma, lgamma(x))                                                                                               \
    K(digamma, (V)psi((double)x))                                                                                      \
    K(sinc, x == 0 ? 1 : sin((V)M_PI * x) / ((V)M_PI * x))
/* The same in k_double.c, which has their values: of both types in double precision. */
/* clang-format off */
#define HG_WIDE_KERNELS(K)                                                                                             \
    K(tan) K(asin) K(acos) K(atan) K(sinh) K(cosh) K(atanh) K(erfc) K(erfinv)
#define HG_WIDE2_KERNELS(K) K(atan2) K(hypot_cpu) K(logaddexp) K(logaddexp2) K(xlogy)
/* clang-format on */
/* The same for what a processor does in a few instructions. */
/* clang-format off */
#define HG_SIMPLE_KERNELS(K)                                                                                           \
    K(sqrt, sqrt(x)) K(rsqrt, 1 / sqrt(x)) K(reciprocal, 1 / x) K(deg2rad, x *(V)(M_PI / 180)) K(rad2deg, x *(V)(180 / M_PI))
/* clang-format on */
/* The same by polynomials in float32, with one for less than a block of numbers: K(name, bits, limit, value of few, value by
   polynomials, value), see k_loop_impl.h. */
#define HG_FINE_KERNELS(K) K(exp, HG_SIZE_BITS(x), HG_EXP_REACH, hg_fine_exp(fused, x), hg_near_exp(fused, x), exp(x))
/* The same, but by the C library where numbers are few: K(name, which vector units, bits, limit, value by polynomials,
   value). */
/* clang-format off */
#define HG_RARE_KERNELS(K)                                                                                             \
    K(exp2, HG_VECTOR_FEW, HG_SIZE_BITS(x), HG_EXP_REACH, hg_near_exp2(fused, x), exp2(x))                             \
    K(log2, HG_VECTOR_FEW, HG_LOG_BITS(x), HG_LOG_REACH, hg_near_log_to(fused, x, 1, 1.44269504f), log2(x))            \
    K(log10, HG_VECTOR_FEW, HG_LOG_BITS(x), HG_LOG_REACH, hg_near_log_to(fused, x, 0.301029996f, 0.434294482f),        \
      log10(x))                                                                                                        \
    K(log1p, HG_VECTOR_FEW, HG_LOG_BITS(1 + x), HG_LOG_REACH, hg_near_log1p(fused, x), log1p(x))                       \
    K(sin, HG_VECTOR, HG_SIZE_BITS(x), HG_SINE_REACH, hg_near_sine(fused, x, 0), sin(x))                               \
    K(cos, HG_VECTOR, HG_SIZE_BITS(x), HG_SINE_REACH, hg_near_sine(fused, x, 1), cos(x))
/* clang-format on */
/* The same for any number of them: K(name, which vector units, bits, limit, value by polynomials, value). */
/* clang-format off */
#define HG_NEAR_KERNELS(K)                                                                                             \
    K(expm1, HG_VECTOR_FEW, HG_SIZE_BITS(x), HG_EXPM1_REACH, hg_with_sign(hg_near_expm1(fused, x), x), expm1(x))                                       \
    K(log, HG_VECTOR, HG_LOG_BITS(x), HG_LOG_REACH, hg_near_log(fused, x), log(x))                                                \
    K(tanh, HG_VECTOR, 0, 0, hg_near_tanh(fused, x), tanh(x))                                                                     \
    K(erf, HG_VECTOR, 0, 0, hg_near_erf(fused, x), erf(x))                                                                        \
    K(sigmoid, HG_VECTOR, HG_SIZE_BITS(x), HG_EXP_REACH, hg_near_sigmoid(fused, x), 1 / (1 + exp(-x)))
/* ... and activations. */
#define HG_NEAR_ACTIVATION_KERNELS(K) \
    K(silu, HG_VECTOR, HG_SIZE_BITS(x), HG_EXP_REACH, x / (1 + hg_near_exp(fused, -x)), x / (1 + exp(-x)))                        \
    K(gelu, HG_VECTOR, 0, 0, hg_near_gelu(fused, x), x *(V)0.5 * (1 + erf(x * (V)M_SQRT1_2)))                                     \
    K(gelu_tanh, HG_VECTOR_FEW, 0, 0, 0.5f * x * (1 + hg_near_tanh(fused, HG_GELU_ARGUMENT(x))),                                      \
      (V)0.5 * x * (1 + tanh(HG_GELU_ARGUMENT(x))))                                                                    \
    K(mish, HG_VECTOR_FEW, 0, 0, x * hg_near_tanh(fused, HG_OVER_0(x) + hg_near_softplus(fused, fabsf(x))), x *tanh(log1p(exp(x))))   \
    K(softplus, HG_VECTOR_FEW, 0, 0,                                                                                                  \
      x * f(0) > f(1) ? x : (HG_OVER_0(x * f(0)) + hg_near_softplus(fused, fabsf(x * f(0)))) / f(0),                   \
      x * f(0) > f(1) ? x : log1p(exp(x * f(0))) / f(0))                                                               \
    K(log_sigmoid, HG_VECTOR_FEW, 0, 0, (x < 0 ? x : 0) - hg_near_softplus(fused, fabsf(x)), (x < 0 ? x : 0) - log1p(exp(-fabs(x))))  \
    K(elu, HG_VECTOR_FEW, HG_SIZE_BITS(x * f(2)), HG_EXPM1_REACH,                                                                     \
      x > 0 ? x * f(1) : hg_with_sign(hg_near_expm1(fused, x * f(2)), x * f(2)) * (f(0) * f(1)),                                               \
      x > 0 ? x * f(1) : x != x ? x : expm1(x * f(2)) * (f(0) * f(1)))
/* clang-format on */
#define HG_GELU_ARGUMENT(x) ((V)(M_SQRT2 * M_2_SQRTPI * 0.5) * ((x) + (V)0.044715 * (x) * (x) * (x)))
#define HG_OVER_0(x)        (0 < (x) ? (x) : 0)
/* Activations and their derivatives: one operand, with numbers f(i). */
/* clang-format off */
#define HG_SIMPLE_ACTIVATION_KERNELS(K)                                                                                \
    K(hardsigmoid, (x + 3 < 0 ? 0 : x + 3 > 6 ? 6 : x + 3) / 6)                                                        \
    K(hardswish, x *(x + 3 < 0 ? 0 : x + 3 > 6 ? 6 : x + 3) / 6)                                                       \
    K(softshrink, x > f(0) ? x - f(0) : x < -f(0) ? x + f(0) : x * 0) K(hardshrink, x >= -f(0) && x <= f(0) ? 0 : x)   \
    K(leaky_relu, x > 0 ? x : x * f(0))
/* clang-format on */
/* clang-format off */
/* Two floating operands, by polynomials as above. */
#define HG_NEAR2_KERNELS(K)                                                                                            \
    K(gelu_backward, HG_VECTOR, 0, 0, x *hg_near_gelu_slope(fused, y),                                                            \
      x *((V)0.5 * (1 + erf(y * (V)M_SQRT1_2)) + y * exp(-y * y / 2) * (V)(M_2_SQRTPI * M_SQRT1_2 * 0.5)))             \
    K(gelu_tanh_backward, HG_VECTOR_FEW, 0, 0, x *HG_GELU_SLOPE(y, hg_near_tanh(fused, HG_GELU_ARGUMENT(y))),                         \
      x *HG_GELU_SLOPE(y, tanh(HG_GELU_ARGUMENT(y))))                                                                  \
    K(silu_backward, HG_VECTOR, HG_SIZE_BITS(y), HG_EXP_REACH,                                                                    \
      x *hg_near_sigmoid(fused, y) * (1 + y * (1 - hg_near_sigmoid(fused, y))),                                        \
      x *(1 / (1 + exp(-y))) * (1 + y * (1 - 1 / (1 + exp(-y)))))                                                      \
    K(elu_backward, HG_VECTOR_FEW, HG_SIZE_BITS(y * f(2)), HG_EXP_REACH,                                                              \
      y <= 0 ? x * f(2) * f(0) * f(1) * hg_near_exp(fused, y * f(2)) : x * f(1),                                       \
      y <= 0 ? x * f(2) * f(0) * f(1) * exp(y * f(2)) : x * f(1))
/* clang-format on */
/* The derivative of gelu by tanh at y, where the tanh is t. */
#define HG_GELU_SLOPE(y, t)                                                                                            \
    ((V)0.5 * (1 + (t)) +                                                                                              \
     (V)0.5 * (y) * (1 - (t) * (t)) * (V)(M_SQRT2 * M_2_SQRTPI * 0.5) * (1 + (V)(3 * 0.044715) * (y) * (y)))
#define HG_SIMPLE2_KERNELS(K)                                                                                          \
    K(LOOP2_WIDE, copysign, copysign(x, y))                                                                            \
    K(LOOP2_FAST, div, x / y)                                                                                          \
    K(LOOP2_FAST, sigmoid_backward, x *(1 - y) * y)                                                                    \
    K(LOOP2_FAST, tanh_backward, x *(1 - y * y))                                                                       \
    K(LOOP2_WIDE, mul_scaled, x *(y * f(0)))                                                                           \
    K(LOOP2_WIDE, leaky_relu_backward, y > 0 ? x : x * f(0))                                                           \
    K(LOOP2_FAST, prelu_cpu, x > 0 ? x : x * y)                                                                        \
    K(LOOP2_WIDE, lerp_by_number, HG_LERP(x, y, f(0)))
/* From x to y by z, exactly at either end. */
#define HG_LERP(x, y, z)         HG_LERP_IF(fabs(z) < (V)0.5, x, y, z)
#define HG_LERP_IF(low, x, y, z) fma((low) ? (y) - (x) : -((y) - (x)), (low) ? (z) : 1 - (z), (low) ? (x) : (y))
/* Three floating operands. */
#define HG_SIMPLE3_KERNELS(K)                                                                                          \
    K(lerp, HG_LERP(x, y, z))                                                                                          \
    K(addcdiv, x + f(0) * y / z)

#define K(name, ...) extern const hg_kernel hg_k_##name;
HG_MATH_KERNELS(K)
HG_SIMPLE_KERNELS(K)
HG_SIMPLE_ACTIVATION_KERNELS(K)
HG_WIDE_KERNELS(K)
HG_WIDE2_KERNELS(K)
#undef K
#define K(loop, name, ...) extern const hg_kernel hg_k_##name;
HG_SIMPLE2_KERNELS(K)
#undef K
#define K(name, ...) extern const hg_kernel hg_k_##name;
HG_SIMPLE3_KERNELS(K)
HG_FINE_KERNELS(K)
HG_RARE_KERNELS(K)
HG_NEAR_KERNELS(K)
HG_NEAR_ACTIVATION_KERNELS(K)
HG_NEAR2_KERNELS(K)
/* With rules of their own for integers and bool. */
/* clang-format off */
K(add) K(add_scaled) K(sub) K(sub_scaled) K(mul) K(floor_divide) K(trunc_divide) K(remainder) K(fmod) K(pow) K(maximum)
K(minimum) K(fmax) K(fmin) K(clamp) K(addcmul) K(where) K(bitwise_and) K(bitwise_or) K(bitwise_xor) K(bitwise_not)
K(shift_left) K(shift_right) K(eq) K(ne) K(lt) K(le) K(gt) K(ge) K(isclose) K(logical_and) K(logical_or) K(logical_xor)
K(logical_not) K(isnan) K(isinf) K(isfinite) K(isposinf) K(isneginf) K(signbit) K(neg) K(abs) K(sign) K(floor) K(ceil)
K(trunc) K(round) K(round_decimals) K(frac) K(polygamma) K(nan_to_num) K(relu) K(threshold) K(threshold_backward)
K(heaviside)
/* clang-format on */
#undef K

/* In k_double.c: float64's loops of what is above by polynomials. */
/* clang-format off */
#define HG_LOOP(name) void name(int64_t n, char *const *p, const int64_t *step, const hg_extra_args *extra);
#define K(id, ...) HG_LOOP(hg_##id##_f64)
HG_FINE_KERNELS(K)
HG_RARE_KERNELS(K)
HG_NEAR_KERNELS(K)
HG_NEAR_ACTIVATION_KERNELS(K)
HG_NEAR2_KERNELS(K)
#undef K
#define K(id) HG_LOOP(hg_##id##_f32) HG_LOOP(hg_##id##_f64)
HG_WIDE_KERNELS(K)
HG_WIDE2_KERNELS(K)
HG_LOOP(hg_pow_any_f32)
#undef K
#undef HG_LOOP
/* clang-format on */

#endif
