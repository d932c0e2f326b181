/* Functions of one operand and their derivatives. */
#include "k_impl.h"
#include "layout_impl.h"

#include <math.h>

/* ---- Forward ------------------------------------------------------------------------------------------------------------------- */

static hg_status unary(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, const hg_extra_args *extra, hg_tensor **out) {
    return hg_run(cx, k, (hg_dtype)a[0].u.t->dtype, a, 1, extra, out);
}
static hg_status float_unary(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, const hg_extra_args *extra,
                             hg_tensor **out) {
    return hg_run(cx, k, hg_float_type(cx, (hg_dtype)a[0].u.t->dtype), a, 1, extra, out);
}

#define K(id, ...)                                                                                                     \
    hg_status hg_op_##id(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        return float_unary(cx, &hg_k_##id, a, NULL, out);                                                              \
    }
HG_MATH_KERNELS(K)
HG_WIDE_KERNELS(K)
HG_SIMPLE_KERNELS(K)
HG_FINE_KERNELS(K)
HG_RARE_KERNELS(K)
HG_NEAR_KERNELS(K)
#undef K

/* Integers are what they are rounded to. */
static hg_status rounded(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *t = a[0].u.t;
    if (hg_dtype_is_float((hg_dtype)t->dtype) || t->dtype == HG_BOOL) return unary(cx, k, a, NULL, out);
    hg_status st = hg_out_joint(cx, out, (hg_dtype)t->dtype, a, 1, (hg_dtype)t->dtype, false);
    return st == HG_OK ? hg_raw_copy(cx, *out, t) : st;
}
hg_status hg_op_floor(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return rounded(cx, &hg_k_floor, a, out); }
hg_status hg_op_ceil(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return rounded(cx, &hg_k_ceil, a, out); }
hg_status hg_op_trunc(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return rounded(cx, &hg_k_trunc, a, out); }
hg_status hg_op_round(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return rounded(cx, &hg_k_round, a, out); }
hg_status hg_op_round_decimals(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t decimals = hg_number_i(&a[1]);
    hg_extra_args extra = {.f = {pow(10, (double)(decimals < 0 ? -decimals : decimals))}, .i = {decimals}};
    return decimals ? unary(cx, &hg_k_round_decimals, a, &extra, out) : rounded(cx, &hg_k_round, a, out);
}
hg_status hg_op_frac(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return unary(cx, &hg_k_frac, a, NULL, out); }

hg_status hg_op_neg(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->dtype == HG_BOOL)
        return hg_fail(cx, HG_STATE,
                       "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
                       "invert a mask, use the `~` or `logical_not()` operator instead.");
    return unary(cx, &hg_k_neg, a, NULL, out);
}
hg_status hg_op_abs(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return unary(cx, &hg_k_abs, a, NULL, out); }
hg_status hg_op_sign(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return unary(cx, &hg_k_sign, a, NULL, out); }

hg_status hg_op_positive(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->dtype == HG_BOOL)
        return hg_fail(cx, HG_STATE, "The `+` operator, on a bool tensor is not supported.");
    hg_retain(cx, a[0].u.t);
    *out = a[0].u.t;
    return HG_OK;
}

hg_status hg_op_polygamma(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t n = hg_number_i(&a[0]);
    if (n < 0) return hg_fail(cx, HG_STATE, "polygamma(n, x) does not support negative n.");
    hg_extra_args extra = {.i = {n}};
    return float_unary(cx, &hg_k_polygamma, &a[1], &extra, out);
}

hg_status hg_op_nan_to_num(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    static const double largest[HG_N_DTYPES] = {
        [HG_F16] = 65504, [HG_BF16] = 0x1.fep127, [HG_F32] = 0x1.fffffep127, [HG_F64] = 0x1.fffffffffffffp1023};
    const hg_tensor *t = a[0].u.t;
    if (!hg_dtype_is_float((hg_dtype)t->dtype)) {
        hg_status st = hg_out_joint(cx, out, (hg_dtype)t->dtype, a, 1, (hg_dtype)t->dtype, false);
        return st == HG_OK ? hg_raw_copy(cx, *out, t) : st;
    }
    hg_extra_args extra = {.f = {hg_given(&a[1]) ? hg_number_f(&a[1]) : 0,
                                 hg_given(&a[2]) ? hg_number_f(&a[2]) : largest[t->dtype],
                                 hg_given(&a[3]) ? hg_number_f(&a[3]) : -largest[t->dtype]}};
    return unary(cx, &hg_k_nan_to_num, a, &extra, out);
}

hg_status hg_op_logit(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = hg_float_type(cx, (hg_dtype)a[0].u.t->dtype);
    hg_tensor *x = NULL, *rest = NULL, *odds = NULL;
    hg_status st;
    if (hg_given(&a[1])) {
        double eps = hg_number_f(&a[1]);
        st = hg_run(cx, &hg_k_clamp, d, (hg_arg[]){a[0], hg_f(eps), hg_f(1 - eps)}, 3, NULL, &x);
    } else {
        st = hg_raw_cast(cx, a[0].u.t, d, &x);
        if (st == HG_OK) st = hg_out_joint(cx, out, d, a, 1, d, false);
    }
    if (st != HG_OK || (st = hg_run(cx, &hg_k_sub, d, (hg_arg[]){hg_i(1), hg_t(x)}, 2, NULL, &rest)) != HG_OK ||
        (st = hg_run(cx, &hg_k_div, d, (hg_arg[]){hg_t(x), hg_t(rest)}, 2, NULL, &odds)) != HG_OK)
        goto done;
    st = hg_run(cx, &hg_k_log, d, (hg_arg[]){hg_t(odds)}, 1, NULL, out);
done:
    hg_release(cx, x), hg_release(cx, rest), hg_release(cx, odds);
    return st;
}

/* ---- Backward -------------------------------------------------------------------------------------------------------------------- */

/* What the derivatives below are written in: x is the operand, r the result. */
#define x                IN(0)
#define r                OUT(0)
#define MUL_(p, q)       X(MUL, T(p), T(q))
#define DIV_(p, q)       X(DIV, T(p), T(q))
#define TIMES(p, number) X(MUL, T(p), hg_f(number))
#define PLUS(p, number)  X(ADD, T(p), hg_i(number))
#define MINUS(number, p) X(RSUB_SCALAR, T(p), hg_i(number))
#define SQUARED(p)       X(MUL, T(p), T(p))
#define POW2(p)          X(POW_SCALAR, T(p), hg_i(2))
/* The gradient of the one operand. */
#define DERIVATIVE(id, gradient)                                                                                       \
    hg_status hg_d_##id(hg_ctx *cx, hg_back *b) {                                                                      \
        GIVE(0, gradient);                                                                                             \
        return HG_OK;                                                                                                  \
    }
/* The same times a factor, which torch's compiler computes first. */
#define DERIVATIVE_TIMES(id, gradient, factor)                                                                         \
    hg_status hg_d_##id(hg_ctx *cx, hg_back *b) {                                                                      \
        hg_tensor *by = factor;                                                                                        \
        GIVE(0, MUL_(gradient, by));                                                                                   \
        return HG_OK;                                                                                                  \
    }

DERIVATIVE(zero, X(ZEROS_LIKE, T(G)))
DERIVATIVE(neg, X(NEG, T(G)))
DERIVATIVE(abs, MUL_(G, X(SGN, T(x))))
DERIVATIVE(frac, G)
DERIVATIVE(deg2rad, TIMES(G, M_PI / 180))
DERIVATIVE(rad2deg, TIMES(G, 180 / M_PI))
DERIVATIVE(exp, MUL_(G, r))
DERIVATIVE(exp2, TIMES(MUL_(G, r), M_LN2))
DERIVATIVE(expm1, MUL_(G, PLUS(r, 1)))
DERIVATIVE(log, DIV_(G, x))
DERIVATIVE(log2, DIV_(G, TIMES(x, M_LN2)))
DERIVATIVE(log10, DIV_(G, TIMES(x, M_LN10)))
DERIVATIVE(log1p, DIV_(G, PLUS(x, 1)))
DERIVATIVE(sqrt, DIV_(G, TIMES(r, 2)))
DERIVATIVE_TIMES(rsqrt, TIMES(G, -0.5), X(POW_SCALAR, T(r), hg_i(3)))
DERIVATIVE_TIMES(reciprocal, X(NEG, T(G)), SQUARED(r))
DERIVATIVE(sin, MUL_(G, X(COS, T(x))))
DERIVATIVE(cos, MUL_(G, X(NEG, T(X(SIN, T(x))))))
DERIVATIVE(tan, MUL_(G, PLUS(POW2(r), 1)))
DERIVATIVE(sinh, MUL_(G, X(COSH, T(x))))
DERIVATIVE(cosh, MUL_(G, X(SINH, T(x))))
DERIVATIVE(tanh, X(TANH_BACKWARD, T(G), T(r)))
DERIVATIVE(asin, MUL_(G, X(RSQRT, T(PLUS(MUL_(X(NEG, T(x)), x), 1)))))
DERIVATIVE(acos, MUL_(G, X(NEG, T(X(RSQRT, T(PLUS(MUL_(X(NEG, T(x)), x), 1)))))))
DERIVATIVE(atan, DIV_(G, PLUS(SQUARED(x), 1)))
DERIVATIVE(asinh, MUL_(G, X(RSQRT, T(PLUS(POW2(x), 1)))))
DERIVATIVE(acosh, MUL_(G, X(RSQRT, T(X(SUB, T(SQUARED(x)), hg_i(1))))))
DERIVATIVE(atanh, DIV_(G, MINUS(1, POW2(x))))
DERIVATIVE(erf, MUL_(TIMES(X(EXP, T(X(NEG, T(POW2(x))))), M_2_SQRTPI), G))
DERIVATIVE(erfc, MUL_(TIMES(X(EXP, T(X(NEG, T(POW2(x))))), -M_2_SQRTPI), G))
DERIVATIVE(erfinv, MUL_(TIMES(X(EXP, T(POW2(X(ERFINV, T(x))))), 1 / M_2_SQRTPI), G))
DERIVATIVE(lgamma, MUL_(G, X(DIGAMMA, T(x))))
DERIVATIVE(digamma, MUL_(G, X(POLYGAMMA, hg_i(1), T(x))))
DERIVATIVE(sigmoid, X(SIGMOID_BACKWARD, T(G), T(r)))

hg_status hg_d_polygamma(hg_ctx *cx, hg_back *b) {
    GIVE(1, MUL_(G, X(POLYGAMMA, hg_i(hg_number_i(ARG(0)) + 1), T(IN(1)))));
    return HG_OK;
}

hg_status hg_d_sinc(hg_ctx *cx, hg_back *b) {
    hg_tensor *px = TIMES(x, M_PI), *below = TIMES(SQUARED(x), M_PI), *sine = X(SIN, T(px));
    hg_tensor *slope = DIV_(X(SUB, T(MUL_(px, X(COS, T(px)))), T(sine)), below);
    GIVE(0, X(WHERE, T(X(EQ, T(x), hg_i(0))), hg_i(0), T(MUL_(G, slope))));
    return HG_OK;
}

hg_status hg_d_logit(hg_ctx *cx, hg_back *b) {
    hg_tensor *g = DIV_(G, MUL_(x, MINUS(1, x)));
    double eps = hg_given(ARG(1)) ? hg_number_f(ARG(1)) : 0;
    hg_tensor *inside = X(LOGICAL_AND, T(X(GE, T(x), hg_f(eps))), T(X(LE, T(x), hg_f(1 - eps))));
    GIVE(0, X(WHERE, T(inside), T(g), hg_f(hg_given(ARG(1)) ? 0 : NAN)));
    return HG_OK;
}

hg_status hg_d_nan_to_num(hg_ctx *cx, hg_back *b) {
    GIVE(0, MUL_(G, X(ISFINITE, T(x))));
    return HG_OK;
}
