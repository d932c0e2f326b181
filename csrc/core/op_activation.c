/* Activations, their derivatives as ops of their own, and dropout. */
#include "k_impl.h"
#include "layout_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Forward ------------------------------------------------------------------------------------------------------------------- */

/* One or two operands with the numbers a[n_operands ...] as f(0), f(1) ... */
static hg_status with_numbers(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, int n_operands, int n_numbers,
                              hg_tensor **out) {
    hg_extra_args extra = {{0}, {0}};
    for (int i = 0; i < n_numbers; i++) {
        extra.f[i] = hg_number_f(&a[n_operands + i]);
        extra.i[i] = (int64_t)floor(extra.f[i]);
    }
    hg_dtype d = n_operands == 1 ? (hg_dtype)a[0].u.t->dtype : hg_result_type(cx, a, n_operands);
    if (n_operands == 1 && !hg_dtype_is_float(d) && !k->loop[d]) { /* in PyTorch's words the kernels have other names */
        char name[40];
        snprintf(name, sizeof name, "%s%s", k->name, k == &hg_k_softshrink ? "_check" : "_cpu");
        bool is_gelu = k == &hg_k_gelu || k == &hg_k_gelu_tanh;
        return hg_no_kernel(cx, is_gelu ? "GeluKernelImpl" : name, d);
    }
    return hg_run(cx, k, d, a, n_operands, &extra, out);
}

#define FORWARD(op, kernel, n_operands, n_numbers)                                                                     \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        return with_numbers(cx, &hg_k_##kernel, a, n_operands, n_numbers, out);                                        \
    }
FORWARD(threshold, threshold, 1, 2)
FORWARD(leaky_relu, leaky_relu, 1, 1)
FORWARD(elu, elu, 1, 3)
FORWARD(silu, silu, 1, 0)
FORWARD(mish, mish, 1, 0)
FORWARD(softplus, softplus, 1, 2)
FORWARD(hardsigmoid, hardsigmoid, 1, 0)
FORWARD(hardswish, hardswish, 1, 0)
FORWARD(sigmoid_backward, sigmoid_backward, 2, 0)
FORWARD(tanh_backward, tanh_backward, 2, 0)
/* Where these two lie differently, torch asks the operand first, then the gradient. */
#define BACKWARD(op)                                                                                                   \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        hg_dtype d = hg_result_type(cx, a, 2);                                                                         \
        hg_status st = a[0].u.t->plain && a[1].u.t->plain                                                              \
                           ? HG_OK                                                                                     \
                           : hg_out_joint(cx, out, d, (hg_arg[]){a[1], a[0]}, 2, d, false);                            \
        return st == HG_OK ? with_numbers(cx, &hg_k_##op, a, 2, 1, out) : st;                                          \
    }
BACKWARD(threshold_backward)
BACKWARD(leaky_relu_backward)
FORWARD(elu_backward, elu_backward, 2, 3)
FORWARD(silu_backward, silu_backward, 2, 0)

/* The limit is a number of the operand's dtype. */
hg_status hg_op_hardshrink(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_arg at[] = {a[0], hg_f(hg_halved((hg_dtype)a[0].u.t->dtype, hg_number_f(&a[1])))};
    return with_numbers(cx, &hg_k_hardshrink, at, 1, 1, out);
}

hg_status hg_op_softshrink(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    static const double largest[HG_N_DTYPES] = {
        [HG_F16] = 65504, [HG_BF16] = 0x1.fep127, [HG_F32] = 0x1.fffffep127, [HG_F64] = 0x1.fffffffffffffp1023};
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    double lambd = hg_number_f(&a[1]);
    char word[16];
    if (largest[d] > 0 && !(lambd >= 0 && lambd <= largest[d]))
        return hg_fail(cx, HG_STATE, "lambda must be in range [0, %g] for input dtype %s, but found %g", largest[d],
                       hg_dtype_word(d, word), lambd);
    return with_numbers(cx, &hg_k_softshrink, a, 1, 1, out);
}

hg_status hg_op_relu(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->dtype == HG_BOOL) return hg_fail(cx, HG_STATE, "Boolean inputs not supported for relu");
    return with_numbers(cx, &hg_k_relu, a, 1, 0, out);
}

hg_status hg_op_log_sigmoid_plain(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { /* plain, whatever its operand */
    const hg_tensor *t = a[0].u.t;
    hg_status st = t->plain ? HG_OK : hg_out(cx, out, (hg_dtype)t->dtype, t->n_dim, t->shape);
    return st == HG_OK ? with_numbers(cx, &hg_k_log_sigmoid, a, 1, 0, out) : st;
}
hg_status hg_op_log_sigmoid_forward(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin_quiet(cx, &s);
    hg_scope_fail(cx, hg_op_log_sigmoid_plain(cx, a, out));
    return hg_scope_return(cx, &s, X(EXP, T(X(NEG, T(X(ABS, a[0]))))), &out[1]);
}
/* torch's kernel keeps exp(-|x|) in a buffer. Nothing needs it here: it is made for hooks of saved tensors to see. */
hg_status hg_op_log_sigmoid(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    if (*out) return hg_op_log_sigmoid_plain(cx, a, out);
    hg_scope_begin(cx, &s);
    bool shown = cx->saved && hg_records(cx) && hg_tensor_requires_grad(a[0].u.t);
    return hg_scope_return(cx, &s, shown ? XK(0, LOG_SIGMOID_FORWARD, a[0]) : X(LOG_SIGMOID_PLAIN, a[0]), out);
}

hg_status hg_op_hardtanh(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->dtype == HG_BOOL) return hg_fail(cx, HG_STATE, "Bool inputs not supported for hardtanh");
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    if (d == HG_U8 && (hg_number_f(&a[1]) < 0 || hg_number_f(&a[2]) < 0))
        return hg_fail(cx, HG_STATE, "cannot do hardtanh on an unsigned type with negative limits");
    if (!*out && hg_number_f(&a[1]) > hg_number_f(&a[2]))
        return hg_fail(cx, HG_VALUE, "min_val cannot be greater than max_val");
    hg_status st = hg_out_kept(cx, out, d, a[0].u.t);
    return st == HG_OK ? hg_run(cx, &hg_k_clamp, d, a, 3, NULL, out) : st;
}

static hg_status gelu_kernel(hg_ctx *cx, const char *approximate, const hg_kernel *exact, const hg_kernel *by_tanh,
                             const hg_kernel **k) {
    *k = exact;
    if (strcmp(approximate, "none") == 0) return HG_OK;
    *k = by_tanh;
    if (strcmp(approximate, "tanh") == 0) return HG_OK;
    return hg_fail(cx, HG_STATE, "approximate argument must be either none or tanh.");
}

hg_status hg_op_gelu(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_kernel *k;
    hg_status st = gelu_kernel(cx, a[1].u.s, &hg_k_gelu, &hg_k_gelu_tanh, &k);
    return st == HG_OK ? with_numbers(cx, k, a, 1, 0, out) : st;
}
hg_status hg_op_gelu_backward(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_kernel *k;
    hg_status st = gelu_kernel(cx, a[2].u.s, &hg_k_gelu_backward, &hg_k_gelu_tanh_backward, &k);
    return st == HG_OK ? with_numbers(cx, k, a, 2, 0, out) : st;
}

/* ---- Derivatives ------------------------------------------------------------------------------------------------------------------ */

#define MUL_(p, q)       X(MUL, T(p), T(q))
#define TIMES(p, number) X(MUL, T(p), hg_f(number))
#define MINUS(number, p) X(RSUB_SCALAR, T(p), hg_i(number))
#define DERIVATIVE(id, gradient)                                                                                       \
    hg_status hg_d_##id(hg_ctx *cx, hg_back *b) {                                                                      \
        GIVE(0, gradient);                                                                                             \
        return HG_OK;                                                                                                  \
    }
/* Of f_backward(grad, x): the gradient of grad is f_backward(G, x) again, that of x is grad times the second derivative. */
#define DERIVATIVE2(id, of_grad, of_operand)                                                                           \
    hg_status hg_d_##id(hg_ctx *cx, hg_back *b) {                                                                      \
        if (NEED(0)) GIVE(0, of_grad);                                                                                 \
        if (NEED(1)) GIVE(1, of_operand);                                                                              \
        return HG_OK;                                                                                                  \
    }

DERIVATIVE(relu, X(THRESHOLD_BACKWARD, T(G), T(OUT(0)), hg_i(0)))
DERIVATIVE(threshold, X(THRESHOLD_BACKWARD, T(G), T(IN(0)), *ARG(1)))
DERIVATIVE2(threshold_backward, X(THRESHOLD_BACKWARD, T(G), T(IN(1)), *ARG(2)), X(ZEROS_LIKE, T(G)))
DERIVATIVE(leaky_relu, X(LEAKY_RELU_BACKWARD, T(G), T(IN(0)), *ARG(1)))
/* In place only the result is left, and below zero it says what the slope is only where that is not negative. */
static hg_status check_slope(hg_ctx *cx, const char *name, const hg_arg *slope) {
    if (hg_number_f(slope) >= 0) return HG_OK;
    return hg_fail(
        cx, HG_STATE,
        "In-place %s backward calculation is triggered with a negative slope which is not supported. This is "
        "caused by calling in-place forward function with a negative slope, please call out-of-place version "
        "instead.",
        name);
}
hg_status hg_d_leaky_relu_(hg_ctx *cx, hg_back *b) {
    if (check_slope(cx, "leakyReLu", ARG(1)) != HG_OK) return HG_STATE;
    GIVE(0, X(LEAKY_RELU_BACKWARD, T(G), T(OUT(0)), *ARG(1)));
    return HG_OK;
}
DERIVATIVE2(leaky_relu_backward, X(LEAKY_RELU_BACKWARD, T(G), T(IN(1)), *ARG(2)), X(ZEROS_LIKE, T(G)))
/* Where it is recorded torch writes it out. */
hg_status hg_d_silu(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0);
    if (cx->grad_enabled) {
        hg_tensor *s = X(SIGMOID, T(x)), *bend = X(ADD, T(MUL_(x, MINUS(1, s))), hg_i(1));
        GIVE(0, MUL_(MUL_(G, s), bend));
    } else {
        GIVE(0, X(SILU_BACKWARD, T(G), T(x)));
    }
    return HG_OK;
}
DERIVATIVE(gelu, X(GELU_BACKWARD, T(G), T(IN(0)), hg_s(ARG(1)->u.s)))
DERIVATIVE2(sigmoid_backward, X(SIGMOID_BACKWARD, T(G), T(IN(1))), MUL_(MUL_(G, IN(0)), MINUS(1, TIMES(IN(1), 2))))
DERIVATIVE2(tanh_backward, X(TANH_BACKWARD, T(G), T(IN(1))), MUL_(MUL_(G, IN(0)), TIMES(IN(1), -2)))

/* s (1 - s) (2 + x (1 - 2 s)) with s the sigmoid of x */
static hg_tensor *silu_curve(hg_ctx *cx, hg_tensor *x) {
    hg_tensor *s = X(SIGMOID, T(x));
    hg_tensor *last = X(ADD, T(MUL_(x, MINUS(1, TIMES(s, 2)))), hg_i(2));
    return MUL_(MUL_(s, MINUS(1, s)), last);
}
DERIVATIVE2(silu_backward, X(SILU_BACKWARD, T(G), T(IN(1))), MUL_(MUL_(G, IN(0)), silu_curve(cx, IN(1))))

/* The second derivative of gelu: (2 - x^2) times the normal density, or what the approximation has for it. */
static hg_tensor *gelu_curve(hg_ctx *cx, hg_tensor *x, const char *approximate) {
    hg_tensor *xx = MUL_(x, x);
    if (approximate[0] == 'n') {
        hg_tensor *density = TIMES(X(EXP, T(TIMES(xx, -0.5))), M_2_SQRTPI * M_SQRT1_2 * 0.5);
        return MUL_(density, MINUS(2, xx));
    }
    const double slope = M_SQRT2 * M_2_SQRTPI * 0.5, cubic = 0.044715;
    hg_tensor *u = MUL_(x, X(ADD, T(TIMES(xx, slope * cubic)), hg_f(slope)));
    hg_tensor *du = X(ADD, T(TIMES(xx, 3 * slope * cubic)), hg_f(slope)), *ddu = TIMES(x, 6 * slope * cubic);
    hg_tensor *t = X(TANH, T(u)), *dt = MINUS(1, MUL_(t, t));
    /* (1 + t)/2 + x dt du / 2, differentiated */
    hg_tensor *bent = X(SUB, T(ddu), T(MUL_(TIMES(t, 2), MUL_(du, du))));
    return MUL_(dt, X(ADD, T(du), T(MUL_(TIMES(x, 0.5), bent))));
}
DERIVATIVE2(gelu_backward, X(GELU_BACKWARD, T(G), T(IN(1)), hg_s(ARG(2)->u.s)),
            MUL_(MUL_(G, IN(0)), gelu_curve(cx, IN(1), ARG(2)->u.s)))

DERIVATIVE(elu, X(ELU_BACKWARD, T(G), T(IN(0)), *ARG(1), *ARG(2), *ARG(3)))
hg_status hg_d_elu_(hg_ctx *cx, hg_back *b) {
    if (check_slope(cx, "elu", ARG(1)) != HG_OK) return HG_STATE;
    double alpha = hg_number_f(ARG(1)), scale = hg_number_f(ARG(2)), input_scale = hg_number_f(ARG(3));
    hg_tensor *y = OUT(0), *slope = TIMES(X(ADD, T(y), hg_f(alpha * scale)), input_scale);
    GIVE(0, X(WHERE, T(X(LE, T(y), hg_i(0))), T(MUL_(G, slope)), T(TIMES(G, scale))));
    return HG_OK;
}
hg_status hg_d_elu_backward(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(ELU_BACKWARD, T(G), T(IN(1)), *ARG(2), *ARG(3), *ARG(4)));
    if (NEED(1)) {
        double alpha = hg_number_f(ARG(2)), scale = hg_number_f(ARG(3)), input_scale = hg_number_f(ARG(4));
        hg_tensor *x = IN(1),
                  *curve = TIMES(X(EXP, T(TIMES(x, input_scale))), alpha * scale * input_scale * input_scale);
        GIVE(1, X(WHERE, T(X(LT, T(x), hg_i(0))), T(MUL_(MUL_(G, IN(0)), curve)), hg_i(0)));
    }
    return HG_OK;
}

/* g, with zeros where it is `cut` off. torch's kernels ask the gradient first how to lie, WHERE its condition. */
static hg_tensor *cut_off(hg_ctx *cx, hg_tensor *g, hg_tensor *cut) {
    if (g && cut && hg_is_dense(g) && !(g->plain && cut->plain)) {
        hg_tensor *everywhere = X(EQ, T(X(ZEROS_LIKE, T(g))), hg_i(0)); /* and lying as g */
        cut = X(LOGICAL_AND, T(everywhere), T(cut));
    }
    return X(WHERE, T(cut), hg_i(0), T(g));
}
hg_status hg_d_hardtanh(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0);
    GIVE(0, cut_off(cx, G, X(LOGICAL_OR, T(X(LE, T(x), *ARG(1))), T(X(GE, T(x), *ARG(2))))));
    return HG_OK;
}

/* Derivatives of several ops compute half precision in float32, and round once. */
static hg_tensor *unrounded(hg_ctx *cx, hg_tensor *x) {
    bool half = x && (x->dtype == HG_F16 || x->dtype == HG_BF16);
    return half ? X(TO_COPY, T(x), hg_d(HG_F32)) : x;
}
static hg_tensor *rounded_as(hg_ctx *cx, hg_tensor *like, hg_tensor *x) {
    return x && x->dtype != like->dtype ? X(TO_COPY, T(x), hg_d((hg_dtype)like->dtype)) : x;
}

/* tanh(softplus(x)) + x sech^2(softplus(x)) sigmoid(x) */
hg_status hg_d_mish(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = unrounded(cx, IN(0));
    hg_tensor *s = X(SIGMOID, T(x));
    hg_tensor *rise = cx->grad_enabled ? X(LOG1P, T(X(EXP, T(x)))) : X(SOFTPLUS, T(x));
    hg_tensor *t = X(TANH, T(rise)), *rest = MINUS(1, MUL_(t, t));
    hg_tensor *bend = MUL_(MUL_(x, s), rest);
    GIVE(0, rounded_as(cx, IN(0), MUL_(unrounded(cx, G), X(ADD, T(t), T(bend)))));
    return HG_OK;
}

hg_status hg_d_softplus(hg_ctx *cx, hg_back *b) {
    double beta = hg_number_f(ARG(1));
    hg_tensor *scaled = TIMES(unrounded(cx, IN(0)), beta);
    hg_tensor *slope = X(WHERE, T(X(GT, T(scaled), *ARG(2))), hg_i(1), T(X(SIGMOID, T(scaled))));
    GIVE(0, rounded_as(cx, IN(0), MUL_(unrounded(cx, G), slope)));
    return HG_OK;
}

hg_status hg_d_log_sigmoid(hg_ctx *cx, hg_back *b) {
    GIVE(0, MUL_(hg_is_dense(G) ? G : X(CONTIGUOUS, T(G)), X(SIGMOID, T(X(NEG, T(IN(0)))))));
    return HG_OK;
}

static hg_tensor *inside_three(hg_ctx *cx, hg_tensor *x) {
    return X(LOGICAL_AND, T(X(GT, T(x), hg_i(-3))), T(X(LT, T(x), hg_i(3))));
}
hg_status hg_d_hardsigmoid(hg_ctx *cx, hg_back *b) {
    GIVE(0, TIMES(cut_off(cx, G, X(LOGICAL_NOT, T(inside_three(cx, IN(0))))), 1.0 / 6));
    return HG_OK;
}
hg_status hg_d_hardswish(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0);
    hg_tensor *bend = X(ADD, T(TIMES(unrounded(cx, x), 1.0 / 3)), hg_f(0.5));
    hg_tensor *slope = X(WHERE, T(inside_three(cx, x)), T(bend), hg_i(1));
    GIVE(0, cut_off(cx, rounded_as(cx, x, MUL_(unrounded(cx, G), slope)), X(LE, T(x), hg_i(-3))));
    return HG_OK;
}
hg_status hg_d_shrink(hg_ctx *cx, hg_back *b) {
    GIVE(0, cut_off(cx, G, X(LE, T(X(ABS, T(IN(0)))), *ARG(1))));
    return HG_OK;
}

/* ---- In terms of others ------------------------------------------------------------------------------------------------------------- */

/* What functional.relu(x, inplace=True) and the like do: a[n] are the op's own arguments, a[n] says whether in place. The op
   `op_` does that; some have a row of their own for it, as the node has another name. */
static hg_status maybe_inplace(hg_ctx *cx, int op, int op_, const hg_arg *a, int n, bool inplace, hg_tensor **out) {
    if (!inplace) return hg_call_op(cx, op, a, n, out);
    hg_status st = hg_call_inplace(cx, op_, a, n);
    if (st == HG_OK) hg_retain(cx, a[0].u.t), *out = a[0].u.t;
    return st;
}

#define INPLACE(id, OP, OP_, n)                                                                                        \
    hg_status hg_op_##id##_inplace(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                     \
        return maybe_inplace(cx, HG_OP_##OP, HG_OP_##OP_, a, n, a[n].u.i != 0, out);                                   \
    }
INPLACE(relu, RELU, RELU, 1)
INPLACE(threshold, THRESHOLD, THRESHOLD_, 3)
INPLACE(leaky_relu, LEAKY_RELU, LEAKY_RELU_, 2)
INPLACE(hardtanh, HARDTANH, HARDTANH, 3)
INPLACE(silu, SILU, SILU, 1)
INPLACE(mish, MISH, MISH, 1)
INPLACE(hardsigmoid, HARDSIGMOID, HARDSIGMOID, 1)
INPLACE(hardswish, HARDSWISH, HARDSWISH, 1)

hg_status hg_op_relu6(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return maybe_inplace(cx, HG_OP_HARDTANH, HG_OP_HARDTANH, (hg_arg[]){a[0], hg_i(0), hg_i(6)}, 3, a[1].u.i != 0, out);
}
hg_status hg_op_elu_nn(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return maybe_inplace(cx, HG_OP_ELU_SCALED, HG_OP_ELU_, a, 2, a[2].u.i != 0, out);
}
hg_status hg_op_selu(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_arg fixed[3] = {a[0], hg_f(1.6732632423543772848170429916717), hg_f(1.0507009873554804934193349852946)};
    return maybe_inplace(cx, HG_OP_ELU_SCALED, HG_OP_ELU_, fixed, 3, a[1].u.i != 0, out);
}
hg_status hg_op_celu(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    double alpha = hg_number_f(&a[1]);
    if (alpha == 0) return hg_fail(cx, HG_STATE, "ZeroDivisionError: alpha cannot be 0 for CELU");
    const hg_arg scaled[4] = {a[0], a[1], hg_i(1), hg_f(1 / alpha)};
    return maybe_inplace(cx, HG_OP_CELU_SCALED, HG_OP_CELU_, scaled, 4, a[2].u.i != 0, out);
}

hg_status hg_op_softsign(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(DIV, a[0], T(XN(ADD, T(X(ABS, a[0])), hg_i(1)))), out);
}
hg_status hg_op_tanhshrink(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(SUB, a[0], T(X(TANH, a[0]))), out);
}

hg_status hg_op_dropout(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    double p = hg_number_f(&a[1]);
    bool training = a[2].u.i != 0, inplace = a[3].u.i != 0;
    if (!(p >= 0 && p <= 1))
        return hg_fail(cx, HG_VALUE, "dropout probability has to be between 0 and 1, but got %g%s", p,
                       a[1].kind == HG_A_FLOAT && p == floor(p) ? ".0" : ""); /* as Python shows it */
    if (!training || p == 0 || a[0].u.t->numel == 0) {
        hg_retain(cx, a[0].u.t);
        *out = a[0].u.t;
        return HG_OK;
    }
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *mask = p < 1 ? X(DROPOUT_MASK, a[0], hg_f(p)) /* nothing is drawn where nothing is kept */
                            : X(SCALAR_TENSOR, hg_i(0), hg_d((hg_dtype)a[0].u.t->dtype));
    if (!inplace) return hg_scope_return(cx, &s, X(MUL, a[0], T(mask)), out);
    if (mask) hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_MUL, (hg_arg[]){a[0], T(mask)}, 2));
    return hg_scope_return(cx, &s, mask ? a[0].u.t : NULL, out);
}
/* ---- Gates and slopes ------------------------------------------------------------------------------------------------------------ */

/* Half `which` of x along dim. */
static hg_tensor *half(hg_ctx *cx, hg_tensor *x, hg_arg dim, int which) {
    int d = 0;
    if (!x || hg_wrap_dim(cx, dim.u.i, x->n_dim, &d) != HG_OK) return NULL;
    int64_t size = x->shape[d] / 2;
    return X(NARROW, T(x), dim, hg_i(which * size), hg_i(size));
}

/* a * sigmoid(b) of the halves a and b */
hg_status hg_glu_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[0].u.t;
    int d;
    if (x->n_dim == 0) return hg_fail(cx, HG_STATE, "glu does not support 0-dimensional tensors");
    hg_status st = hg_wrap_dim(cx, a[1].u.i, x->n_dim, &d);
    if (st != HG_OK) return st;
    if (x->shape[d] % 2)
        return hg_fail(cx, HG_STATE, "Halving dimension must be even, but dimension %d is size %lld", d,
                       (long long)x->shape[d]);
    if (!hg_dtype_is_float(x->dtype)) return hg_no_kernel(cx, "glu_cpu", (hg_dtype)x->dtype);
    hg_scope s;
    hg_scope_begin_quiet(cx, &s);
    hg_tensor *y = MUL_(half(cx, x, a[1], 0), X(SIGMOID, T(half(cx, x, a[1], 1))));
    return hg_scope_return(cx, &s, y, out);
}

hg_status hg_glu_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *gate = X(SIGMOID, T(half(cx, IN(0), *ARG(1), 1)));
    hg_tensor *of_a = MUL_(G, gate);
    hg_tensor *of_b = MUL_(MUL_(of_a, MINUS(1, gate)), half(cx, IN(0), *ARG(1), 0));
    hg_tensor *both[] = {of_a, of_b};
    GIVE(0, of_b ? X(CONTIGUOUS, T(X(CAT, hg_ts(both, 2), *ARG(1)))) : NULL);
    return HG_OK;
}

hg_status hg_glu_nn_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[0].u.t->n_dim == 0)
        return hg_fail(cx, HG_STATE, "glu does not support scalars because halving size must be even");
    return hg_call_op(cx, HG_OP_GLU, a, 2, out);
}

/* x where it is positive, else w x; w broadcasts to x. */
hg_status hg_prelu_kernel_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_run(cx, &hg_k_prelu_cpu, (hg_dtype)a[0].u.t->dtype, a, 2, NULL, out);
}

hg_status hg_prelu_kernel_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *is_positive = X(GT, T(IN(0)), hg_i(0)), *is_flat = is_positive, *w = IN(1);
    if (cx->grad_enabled) { /* in PyTorch's second derivative zero is a positive number */
        is_flat = X(GE, T(IN(0)), hg_i(0));
        if (NEED(0)) w = X(WHERE, T(is_flat), T(X(DETACH, T(w))), T(w));
    }
    if (NEED(0)) GIVE(0, X(WHERE, T(is_positive), T(G), T(MUL_(w, G))));
    if (NEED(1)) GIVE(1, X(WHERE, T(is_flat), hg_i(0), T(MUL_(IN(0), G)))); /* the engine sums it to w's shape */
    return HG_OK;
}

hg_status hg_prelu_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *w = a[1].u.t;
    char words[2][16];
    if (w->n_dim > 1)
        return hg_fail(cx, HG_STATE, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = %d",
                       w->n_dim);
    if (x->dtype != w->dtype)
        return hg_fail(cx, HG_STATE, "prelu: Type promoting not supported. Got %s and %s",
                       hg_dtype_word((hg_dtype)x->dtype, words[0]), hg_dtype_word((hg_dtype)w->dtype, words[1]));
    if (w->numel != 1) {
        if (x->n_dim == 0) return hg_fail(cx, HG_STATE, "Not allow zero-dim input tensor.");
        int64_t channels = x->n_dim > 1 ? x->shape[1] : 1;
        if (channels != w->numel)
            return hg_fail(cx, HG_STATE,
                           "Mismatch of parameter numbers and input channel size. Found parameter numbers = %lld and "
                           "channel size = %lld.",
                           (long long)w->numel, (long long)channels);
    }
    int64_t shape[HG_MAX_DIM];
    for (int i = 0; i < x->n_dim; i++) shape[i] = i == (x->n_dim > 1) ? w->numel : 1;
    hg_scope s;
    hg_scope_begin(cx, &s);
    if (w->n_dim != x->n_dim) w = X(VIEW_SIZE, a[1], hg_ints(shape, x->n_dim));
    return hg_scope_return(cx, &s, X(PRELU_KERNEL, a[0], T(w)), out);
}
