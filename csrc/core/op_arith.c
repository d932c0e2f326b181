/* Arithmetic: ops of two and three operands, numbers among them. */
#include "k_impl.h"
#include "layout_impl.h"

#include <math.h>
#include <string.h>

/* ---- Common to all -------------------------------------------------------------------------------------------------------- */

/* An operand of a derivative that is a tensor or a number. */
static hg_arg operand(hg_back *b, int i) { return hg_is_number(ARG(i)) ? *ARG(i) : T(IN(i)); }

static bool is_one(const hg_arg *a) {
    return (a->kind == HG_A_INT && a->u.i == 1) || (a->kind == HG_A_FLOAT && a->u.f == 1);
}

/* `alpha` fits what is computed: torch refuses fractions of integers, and anything but bool of bool. */
static hg_status check_alpha(hg_ctx *cx, hg_dtype d, const hg_arg *alpha) {
    if (alpha->kind == HG_A_FLOAT && !hg_dtype_is_float(d))
        return hg_fail(cx, HG_STATE, "For integral input tensors, argument alpha must not be a floating point number.");
    if (alpha->kind == HG_A_BOOL && d != HG_BOOL)
        return hg_fail(cx, HG_STATE, "Boolean alpha only supported for Boolean results.");
    return HG_OK;
}

static hg_extra_args extra_of(const hg_arg *number) {
    return (hg_extra_args){.f = {hg_number_f(number)}, .i = {hg_number_i(number)}};
}

/* The fast way to the commonest case, then the general one. */
static hg_dtype common_type(hg_ctx *cx, const hg_arg *a) {
    if (a[0].kind == HG_A_TENSOR && a[1].kind == HG_A_TENSOR && a[0].u.t->dtype == a[1].u.t->dtype)
        return (hg_dtype)a[0].u.t->dtype;
    return hg_result_type(cx, a, 2);
}

/* Two operands, computed in what they promote to, or in a floating type. */
static hg_status binary(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    return hg_run(cx, k, common_type(cx, a), a, 2, NULL, out);
}
static hg_status float_binary(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    return hg_run(cx, k, hg_float_type(cx, common_type(cx, a)), a, 2, NULL, out);
}

/* ---- Sums --------------------------------------------------------------------------------------------------------------------- */

static bool is_short(const hg_arg *a) { return a->kind == HG_A_TENSOR && a->u.t->numel < 32; }

/* A multiple of the second is added or subtracted. In half precision torch rounds `alpha`, and the product as well of
   what is less than one of its vectors. */
static hg_status with_multiple(hg_ctx *cx, const hg_kernel *plain, const hg_kernel *scaled, hg_dtype d,
                               const hg_arg a[2], const hg_arg *alpha, hg_tensor **out) {
    hg_extra_args extra = extra_of(alpha);
    hg_tensor *product = NULL;
    hg_status st = check_alpha(cx, d, alpha);
    if (st != HG_OK) return st;
    extra.f[0] = hg_halved(d, extra.f[0]);
    if ((d != HG_F16 && d != HG_BF16) || !is_short(&a[0]) || !is_short(&a[1]))
        return hg_run(cx, scaled, d, a, 2, &extra, out);
    st = hg_run(cx, &hg_k_mul, d, (hg_arg[]){a[1], hg_f(extra.f[0])}, 2, NULL, &product);
    if (st == HG_OK) st = hg_run(cx, plain, d, (hg_arg[]){a[0], hg_t(product)}, 2, NULL, out);
    if (product) hg_release(cx, product);
    return st;
}

hg_status hg_op_add(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = common_type(cx, a);
    if (is_one(&a[2])) return hg_run(cx, &hg_k_add, d, a, 2, NULL, out);
    return with_multiple(cx, &hg_k_add, &hg_k_add_scaled, d, a, &a[2], out);
}

static hg_status scaled(hg_ctx *cx, hg_back *b, int param, hg_arg factor, bool negative) {
    if (!NEED(param)) return HG_OK;
    hg_tensor *g = negative ? X(NEG, T(G)) : G;
    GIVE(param, is_one(&factor) ? g : X(MUL, T(g), factor));
    return HG_OK;
}

hg_status hg_d_add(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    return scaled(cx, b, 1, *ARG(2), false);
}

static hg_status subtract(hg_ctx *cx, const hg_arg a[2], const hg_arg *alpha, hg_tensor **out) {
    hg_dtype d = common_type(cx, a);
    for (int i = 0; i < 2; i++)
        if (a[i].kind == HG_A_BOOL || (a[i].kind == HG_A_TENSOR && a[i].u.t->dtype == HG_BOOL)) {
            if (d == HG_BOOL && a[1 - i].kind != HG_A_FLOAT && a[1 - i].kind != HG_A_INT)
                return hg_fail(cx, HG_STATE,
                               "Subtraction, the `-` operator, with two bool tensors is not supported. Use the "
                               "`^` or `logical_xor()` operator instead.");
            return hg_fail(cx, HG_STATE,
                           "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
                           "trying to invert a mask, use the `~` or `logical_not()` operator instead.");
        }
    if (is_one(alpha)) return hg_run(cx, &hg_k_sub, d, a, 2, NULL, out);
    return with_multiple(cx, &hg_k_sub, &hg_k_sub_scaled, d, a, alpha, out);
}

hg_status hg_op_sub(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return subtract(cx, a, &a[2], out); }
hg_status hg_d_sub(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    return scaled(cx, b, 1, *ARG(2), true);
}

hg_status hg_op_rsub(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return subtract(cx, (hg_arg[]){a[1], a[0]}, &a[2], out);
}
hg_status hg_d_rsub(hg_ctx *cx, hg_back *b) {
    if (b->info->differentiable >> 1 & 1 && NEED(1)) GIVE(1, G);
    return scaled(cx, b, 0, *ARG(2), true);
}

/* ---- Products ----------------------------------------------------------------------------------------------------------------- */

hg_status hg_op_mul(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return binary(cx, &hg_k_mul, a, out); }
hg_status hg_d_mul(hg_ctx *cx, hg_back *b) {
    bool takes_tensors = b->info->params[1].kind == HG_A_TENSOR;
    if (NEED(1)) GIVE(1, XN(MUL, T(G), operand(b, 0))); /* first, as whoever sees all ops knows */
    if (NEED(0)) GIVE(0, takes_tensors ? XN(MUL, T(G), operand(b, 1)) : X(MUL, T(G), operand(b, 1)));
    return HG_OK;
}

hg_status hg_op_div(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return float_binary(cx, &hg_k_div, a, out); }
/* Gradients are made in the order of the arguments' names, as in torch: what records them sees it. */
hg_status hg_d_div(hg_ctx *cx, hg_back *b) {
    bool takes_tensors = b->info->params[1].kind == HG_A_TENSOR;
    if (NEED(1)) {
        hg_tensor *y = IN(1);
        hg_tensor *q = X(DIV, T(X(DIV, operand(b, 0), T(y))), T(y));
        GIVE(1, X(MUL, T(X(NEG, T(G))), T(q)));
    }
    if (NEED(0)) GIVE(0, takes_tensors ? XN(DIV, T(G), operand(b, 1)) : X(DIV, T(G), operand(b, 1)));
    return HG_OK;
}

static hg_status zero_division(hg_ctx *cx) { return hg_fail(cx, HG_STATE, "ZeroDivisionError"); }

static void find_zero(void *arg, int64_t n, char *const *p, const int64_t *step) {
    bool *found = arg;
    for (int64_t i = 0; i < n && !*found; i++) *found = *(const uint8_t *)(p[0] + i * step[0]) != 0;
}

static bool is_empty(const hg_arg *a) { return !hg_is_number(a) && a->u.t->numel == 0; }

/* Division of integers, which has no answer for zero, where anything is divided. */
static hg_status divide(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = common_type(cx, a);
    if (!hg_dtype_is_float(d) && d != HG_BOOL && !is_empty(&a[0])) {
        if (hg_is_number(&a[1])) {
            int bits = 8 * hg_dtypes[d].size; /* 256 is zero, as a uint8 */
            if ((uint64_t)hg_number_i(&a[1]) << (64 - bits) == 0) return zero_division(cx);
        } else {
            hg_tensor *is_zero = NULL, *by = NULL;
            hg_status st = hg_raw_cast(cx, a[1].u.t, d, &by);
            if (st == HG_OK) st = hg_run(cx, &hg_k_logical_not, d, (hg_arg[]){hg_t(by)}, 1, NULL, &is_zero);
            hg_release(cx, by);
            if (st != HG_OK) return st;
            bool found = false;
            hg_iter it;
            hg_iter_begin(&it, is_zero->n_dim, is_zero->shape);
            hg_iter_add_tensor(&it, is_zero);
            hg_iter_coalesce(&it);
            hg_iter_rows(&it, find_zero, &found);
            hg_release(cx, is_zero);
            if (found) return zero_division(cx);
        }
    }
    return hg_run(cx, k, d, a, 2, NULL, out);
}

typedef enum rounding { ROUND_NONE, ROUND_FLOOR, ROUND_TRUNC, ROUND_UNKNOWN } rounding;

static rounding rounding_of(const hg_arg *mode) {
    if (!hg_given(mode)) return ROUND_NONE;
    if (mode->u.s[0] == 'f' && strcmp(mode->u.s, "floor") == 0) return ROUND_FLOOR;
    return strcmp(mode->u.s, "trunc") == 0 ? ROUND_TRUNC : ROUND_UNKNOWN;
}

hg_status hg_op_div_mode(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    switch (rounding_of(&a[2])) {
    case ROUND_NONE: return hg_op_div(cx, a, out);
    case ROUND_FLOOR: return divide(cx, &hg_k_floor_divide, a, out);
    case ROUND_TRUNC: return divide(cx, &hg_k_trunc_divide, a, out);
    default:
        return hg_fail(cx, HG_STATE, "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '%s'",
                       a[2].u.s);
    }
}
hg_status hg_d_div_mode(hg_ctx *cx, hg_back *b) {
    if (rounding_of(ARG(2)) == ROUND_NONE) return hg_d_div(cx, b);
    for (int i = 0; i < 2; i++)
        if (NEED(i)) GIVE(i, X(ZEROS_LIKE, T(G)));
    return HG_OK;
}

hg_status hg_d_missing(hg_ctx *cx, hg_back *b) {
    bool in_place = ARG(0)->kind == HG_A_BOOL;
    return hg_fail(cx, HG_STATE, "derivative for aten::%s%s is not implemented", b->info->name, in_place ? "_" : "");
}

/* "arcsinh_" and "asinh_" are asinh. */
hg_status hg_d_in_place(hg_ctx *cx, hg_back *b) {
    const char *rest = b->info->name + (strncmp(b->info->name, "arc", 3) ? 1 : 3);
    return hg_fail(cx, HG_MISSING, "the derivative for 'inplace version of a%.*s' is not implemented.",
                   (int)strlen(rest) - 1, rest);
}

hg_status hg_op_floor_divide(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return divide(cx, &hg_k_floor_divide, a, out);
}

/* self - other * (self divided by other, rounded): remainder down, fmod towards zero. */
static hg_status divided_remainder(hg_ctx *cx, hg_back *b, const char *mode) {
    if (NEED(0)) GIVE(0, G);
    if (!(b->info->differentiable >> 1 & 1) || !NEED(1)) return HG_OK;
    hg_tensor *q = X(DIV_MODE, T(IN(0)), T(IN(1)), hg_s(mode));
    GIVE(1, X(MUL, T(X(NEG, T(G))), T(q)));
    return HG_OK;
}

hg_status hg_op_remainder(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return divide(cx, &hg_k_remainder, a, out); }
hg_status hg_d_remainder(hg_ctx *cx, hg_back *b) { return divided_remainder(cx, b, "floor"); }
hg_status hg_op_fmod(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return divide(cx, &hg_k_fmod, a, out); }
hg_status hg_d_fmod(hg_ctx *cx, hg_back *b) { return divided_remainder(cx, b, "trunc"); }

/* ---- Powers -------------------------------------------------------------------------------------------------------------------- */

hg_status hg_op_pow(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = common_type(cx, a);
    if (!hg_dtype_is_float(d) && hg_is_number(&a[1]) && hg_number_i(&a[1]) < 0)
        return hg_fail(cx, HG_STATE, "Integers to negative integer powers are not allowed.");
    if (d == HG_BOOL && hg_is_number(&a[1])) /* to the 0: true; to the 1: itself */
        return hg_run(cx, &hg_k_add, d, (hg_arg[]){a[0], hg_b(!a[1].u.i)}, 2, NULL, out);
    hg_status st = HG_OK;
    if (hg_is_number(&a[0])) /* laid out as torch does: plainly, or as the base alone would be */
        st = hg_out(cx, out, d, a[1].u.t->n_dim, a[1].u.t->shape);
    else if (hg_is_number(&a[1]) && !a[0].u.t->plain)
        st = hg_out_joint(cx, out, d, a, 1, d, false);
    return st == HG_OK ? hg_run(cx, &hg_k_pow, d, a, 2, NULL, out) : st;
}

hg_status hg_d_pow_scalar(hg_ctx *cx, hg_back *b) {
    const hg_arg *n = ARG(1);
    double e = hg_number_f(n);
    if (e == 0) {
        GIVE(0, X(ZEROS_LIKE, T(G)));
        return HG_OK;
    }
    hg_arg less = n->kind == HG_A_FLOAT ? hg_f(e - 1) : hg_i(n->u.i - 1);
    bool is_square = e == 2 && !cx->grad_enabled; /* recorded, the power is one: its own derivative is zero, not none */
    hg_tensor *x = IN(0), *g = NULL;
    if (is_square && x && G->dtype == x->dtype && (x->dtype == HG_F32 || x->dtype == HG_F64) &&
        !cx->lib->watch.calling) { /* in one pass */
        hg_status st = hg_run(cx, &hg_k_mul_scaled, (hg_dtype)x->dtype, (hg_arg[]){T(G), T(x)}, 2,
                              &(hg_extra_args){.f = {2}}, &g);
        if (st == HG_OK) GIVE(0, hg_scope_keep(cx, g));
        return st;
    }
    hg_tensor *power = is_square ? x : X(POW_SCALAR, T(x), less);
    GIVE(0, X(MUL, T(G), T(X(MUL, T(power), *n))));
    return HG_OK;
}

/* Where the base is 0 the logarithm is not, and the power is constant. */
static hg_tensor *exponent_slope(hg_ctx *cx, hg_back *b, hg_tensor *exponent, hg_tensor *log_base,
                                 hg_tensor *base_is_zero) {
    hg_tensor *flat = X(LOGICAL_AND, T(base_is_zero), T(X(GE, T(exponent), hg_i(0))));
    return X(MUL, T(G), T(X(WHERE, T(flat), hg_i(0), T(X(MUL, T(OUT(0)), T(log_base))))));
}

hg_status hg_d_pow(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *e = IN(1);
    if (NEED(1)) GIVE(1, exponent_slope(cx, b, e, X(LOG, T(x)), X(EQ, T(x), hg_i(0))));
    if (NEED(0)) {
        hg_tensor *slope = X(MUL, T(e), T(X(POW, T(x), T(X(SUB, T(e), hg_i(1))))));
        GIVE(0, X(WHERE, T(X(EQ, T(e), hg_i(0))), hg_i(0), T(X(MUL, T(G), T(slope)))));
    }
    return HG_OK;
}

hg_status hg_d_pow_self(hg_ctx *cx, hg_back *b) {
    hg_tensor *e = IN(1);
    double base = hg_number_f(ARG(0));
    hg_tensor *slope = X(MUL, T(OUT(0)), hg_f(log(base)));
    if (base == 0) slope = X(WHERE, T(X(GE, T(e), hg_i(0))), hg_i(0), T(slope));
    GIVE(1, X(MUL, T(G), T(slope)));
    return HG_OK;
}

hg_status hg_op_float_power(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (hg_is_number(&a[0]) && hg_is_number(&a[1]))
        return hg_fail(cx, HG_TYPE, "float_power() received an invalid combination of arguments - got two numbers");
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_arg at[2];
    for (int i = 0; i < 2; i++)
        at[i] = hg_is_number(&a[i])                                                 ? hg_f(hg_number_f(&a[i]))
                : a[i].kind == HG_A_TENSOR && a[i].u.t && a[i].u.t->dtype == HG_F64 ? a[i]
                                                                                    : T(X(TO_COPY, a[i], hg_d(HG_F64)));
    hg_tensor *r = at[1].kind == HG_A_FLOAT   ? X(POW_SCALAR, at[0], at[1])
                   : at[0].kind == HG_A_FLOAT ? X(POW_SELF, at[0], at[1])
                                              : X(POW, at[0], at[1]);
    return hg_scope_return(cx, &s, r, out);
}

hg_status hg_op_square(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_op_pow(cx, (hg_arg[]){a[0], hg_i(2)}, out);
}
hg_status hg_d_square(hg_ctx *cx, hg_back *b) {
    hg_tensor *power = cx->grad_enabled ? X(POW_SCALAR, T(IN(0)), hg_i(1)) : IN(0);
    GIVE(0, X(MUL, T(G), T(X(MUL, T(power), hg_f(2)))));
    return HG_OK;
}

/* ---- Functions of two numbers ----------------------------------------------------------------------------------------------------- */

hg_status hg_op_atan2(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return float_binary(cx, &hg_k_atan2, a, out); }
hg_status hg_d_atan2(hg_ctx *cx, hg_back *b) {
    hg_tensor *y = IN(0), *x = IN(1);
    hg_tensor *square = X(MUL, T(x), T(x));
    square = X(ADD, T(X(MUL, T(y), T(y))), T(square));
    hg_tensor *r = X(MASKED_FILL, T(X(RECIPROCAL, T(square))), T(X(EQ, T(square), hg_i(0))), hg_i(0));
    if (NEED(0)) GIVE(0, X(MUL, T(X(MUL, T(G), T(x))), T(r)));
    if (NEED(1)) GIVE(1, X(MUL, T(X(MUL, T(G), T(X(NEG, T(y))))), T(r)));
    return HG_OK;
}

hg_status hg_op_hypot(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_run(cx, &hg_k_hypot_cpu, common_type(cx, a), a, 2, NULL, out);
}
hg_status hg_d_hypot(hg_ctx *cx, hg_back *b) {
    for (int i = 1; i >= 0; i--)
        if (NEED(i)) GIVE(i, X(DIV, T(X(MUL, T(G), T(IN(i)))), T(OUT(0))));
    return HG_OK;
}

hg_status hg_op_logaddexp(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return binary(cx, &hg_k_logaddexp, a, out); }
hg_status hg_op_logaddexp2(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return binary(cx, &hg_k_logaddexp2, a, out);
}

/* Each operand's share of the sum of powers: 1 / (1 + base^(other - self)). */
static hg_status shares(hg_ctx *cx, hg_back *b, bool of_two) {
    for (int i = 1; i >= 0; i--)
        if (NEED(i)) {
            hg_tensor *behind = X(SUB, T(IN(1 - i)), T(IN(i)));
            hg_tensor *ratio = of_two ? X(POW_SELF, hg_i(2), T(behind)) : X(EXP, T(behind));
            GIVE(i, X(DIV, T(G), T(X(ADD, T(ratio), hg_i(1)))));
        }
    return HG_OK;
}
hg_status hg_d_logaddexp(hg_ctx *cx, hg_back *b) { return shares(cx, b, false); }
hg_status hg_d_logaddexp2(hg_ctx *cx, hg_back *b) { return shares(cx, b, true); }

hg_status hg_op_xlogy(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return float_binary(cx, &hg_k_xlogy, a, out); }
hg_status hg_d_xlogy(hg_ctx *cx, hg_back *b) {
    if (b->info->differentiable >> 1 & 1 && NEED(1)) GIVE(1, X(DIV, T(X(MUL, T(G), operand(b, 0))), T(IN(1))));
    if (b->info->differentiable & 1 && NEED(0)) {
        hg_arg y = operand(b, 1);
        hg_tensor *g = hg_is_number(&y) ? X(XLOGY_OTHER, T(G), y) : X(XLOGY, T(G), y);
        hg_tensor *flat = X(EQ, T(IN(0)), hg_i(0)); /* and the logarithm not finite: the product stays 0 */
        if (!hg_is_number(&y)) flat = X(LOGICAL_AND, T(flat), T(X(LE, y, hg_i(0))));
        GIVE(0, hg_is_number(&y) && hg_number_f(&y) > 0 ? g : X(MASKED_FILL, T(g), T(flat), hg_i(0)));
    }
    return HG_OK;
}

hg_status hg_op_copysign(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return float_binary(cx, &hg_k_copysign, a, out);
}
hg_status hg_d_copysign(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) {
        hg_tensor *x = IN(0);
        hg_tensor *turned = X(MASKED_FILL, T(X(DIV, T(OUT(0)), T(x))), T(X(EQ, T(x), hg_i(0))), hg_i(0));
        GIVE(0, X(MUL, T(G), T(turned)));
    }
    if (b->info->differentiable >> 1 & 1 && NEED(1)) GIVE(1, X(ZEROS_LIKE, T(G)));
    return HG_OK;
}

hg_status hg_op_heaviside(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->dtype != a[1].u.t->dtype)
        return hg_fail(cx, HG_STATE, "heaviside is not yet implemented for tensors with different dtypes.");
    return binary(cx, &hg_k_heaviside, a, out);
}

/* ---- Three operands ----------------------------------------------------------------------------------------------------------------- */

static hg_status ternary(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    hg_extra_args value = extra_of(&a[3]);
    return hg_run(cx, k, hg_result_type(cx, a, 3), a, 3, &value, out);
}

hg_status hg_op_addcmul(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return ternary(cx, &hg_k_addcmul, a, out); }
hg_status hg_d_addcmul(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    for (int i = 1; i < 3; i++)
        if (NEED(i)) GIVE(i, X(MUL, T(G), T(X(MUL, T(IN(3 - i)), *ARG(3)))));
    return HG_OK;
}

hg_status hg_op_addcdiv(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (!hg_dtype_is_float((hg_dtype)a[1].u.t->dtype) && !hg_dtype_is_float((hg_dtype)a[2].u.t->dtype))
        return hg_fail(cx, HG_STATE,
                       "Integer division with addcdiv is no longer supported, and in a future  release addcdiv "
                       "will perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be "
                       "implemented as (input + value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer "
                       "inputs and as (input + value * tensor1 / tensor2) for float inputs.");
    return ternary(cx, &hg_k_addcdiv, a, out);
}
hg_status hg_d_addcdiv(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, G);
    hg_tensor *z = NEED(1) || NEED(2) ? IN(2) : NULL;
    if (NEED(1)) GIVE(1, X(MUL, T(G), T(X(DIV, *ARG(3), T(z)))));
    if (NEED(2)) {
        hg_tensor *q = X(DIV, T(X(MUL, T(IN(1)), *ARG(3))), T(X(MUL, T(z), T(z))));
        GIVE(2, X(MUL, T(X(NEG, T(G))), T(q)));
    }
    return HG_OK;
}

hg_status hg_op_lerp(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    for (int i = 1; i < 3; i++)
        if (a[i].kind == HG_A_TENSOR && a[i].u.t->dtype != a[0].u.t->dtype)
            return hg_fail(cx, HG_STATE, "expected dtype %s for `%s` but got dtype %s",
                           hg_c_name((hg_dtype)a[0].u.t->dtype), i == 1 ? "end" : "weight",
                           hg_c_name((hg_dtype)a[i].u.t->dtype));
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    if (!hg_is_number(&a[2])) return hg_run(cx, &hg_k_lerp, d, a, 3, NULL, out);
    return hg_run(cx, &hg_k_lerp_by_number, d, a, 2, &(hg_extra_args){.f = {hg_number_f(&a[2])}}, out);
}
hg_status hg_d_lerp(hg_ctx *cx, hg_back *b) {
    bool by_number = hg_is_number(ARG(2));
    hg_arg w = by_number ? *ARG(2) : NEED(0) || NEED(1) ? T(IN(2)) : HG_NONE;
    if (NEED(1)) GIVE(1, X(MUL, T(G), w));
    if (NEED(0))
        GIVE(0, by_number ? X(MUL, T(G), hg_f(1 - hg_number_f(&w))) : X(MUL, T(G), T(X(RSUB_SCALAR, w, hg_i(1)))));
    if (!by_number && NEED(2)) GIVE(2, X(MUL, T(G), T(X(SUB, T(IN(1)), T(IN(0))))));
    return HG_OK;
}
