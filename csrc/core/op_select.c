/* Choosing between values, and writing them: extremes, clamp, where, masks, copies, fills. */
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <math.h>

/* ---- Extremes of two ------------------------------------------------------------------------------------------------------------ */

#define EXTREME(id)                                                                                                    \
    hg_status hg_op_##id(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        return hg_run(cx, &hg_k_##id, hg_result_type(cx, a, 2), a, 2, NULL, out);                                      \
    }
EXTREME(maximum)
EXTREME(minimum)
EXTREME(fmax)
EXTREME(fmin)

/* Equal operands share the gradient; `loses` is the comparison under which one gets nothing. */
static hg_status share(hg_ctx *cx, hg_back *b, int loses) {
    if (!NEED(0) && !NEED(1)) return HG_OK;
    hg_tensor *x = IN(0), *y = IN(1);
    for (int i = 1; i >= 0; i--)
        if (NEED(i)) {
            hg_tensor *even = X(WHERE, T(X(EQ, T(x), T(y))), T(X(DIV, T(G), hg_f(2))), T(G));
            hg_tensor *lost = hg_x(cx, loses, i ? (hg_arg[]){T(y), T(x)} : (hg_arg[]){T(x), T(y)}, 2);
            if (!even || !lost) return HG_OK;
            hg_scope_fail(cx, hg_call_inplace(cx, HG_OP_MASKED_FILL, (hg_arg[]){T(even), T(lost), hg_i(0)}, 3));
            GIVE(i, even);
        }
    return HG_OK;
}
hg_status hg_d_maximum(hg_ctx *cx, hg_back *b) { return share(cx, b, HG_OP_LT); }
hg_status hg_d_minimum(hg_ctx *cx, hg_back *b) { return share(cx, b, HG_OP_GT); }

/* fmax and fmin take the first of equals, and any number before NaN. */
static hg_status take_number(hg_ctx *cx, hg_back *b, int wins) {
    hg_tensor *x = IN(0), *y = IN(1);
    hg_tensor *won = X(LOGICAL_OR, T(hg_x(cx, wins, (hg_arg[]){T(x), T(y)}, 2)), T(X(ISNAN, T(y))));
    if (NEED(1)) GIVE(1, X(MASKED_FILL, T(G), T(won), hg_i(0)));
    if (NEED(0)) GIVE(0, X(MASKED_FILL, T(G), T(X(LOGICAL_NOT, T(won))), hg_i(0)));
    return HG_OK;
}
hg_status hg_d_fmax(hg_ctx *cx, hg_back *b) { return take_number(cx, b, HG_OP_GE); }
hg_status hg_d_fmin(hg_ctx *cx, hg_back *b) { return take_number(cx, b, HG_OP_LE); }

/* ---- Clamp ------------------------------------------------------------------------------------------------------------------------ */

static hg_status clamp(hg_ctx *cx, const hg_arg *self, const hg_arg *low, const hg_arg *high, hg_tensor **out) {
    hg_arg in[3] = {*self};
    int n = 1;
    if (hg_given(low)) in[n++] = *low;
    if (hg_given(high)) in[n++] = *high;
    if (n == 1) return hg_fail(cx, HG_STATE, "torch.clamp: At least one of 'min' or 'max' must not be None");
    hg_dtype d = hg_result_type(cx, in, n);
    /* A single bound is a maximum or minimum, which booleans have. */
    if (d == HG_BOOL && n == 3) return hg_no_kernel(cx, "clamp_scalar_cpu", d);
    hg_status st = HG_OK;
    bool by_numbers = low->kind != HG_A_TENSOR && high->kind != HG_A_TENSOR;
    if (self->kind == HG_A_TENSOR && !self->u.t->plain && by_numbers)
        st = hg_out_joint(cx, out, d, in, 1, d, false); /* numbers that bound are no operands there */
    if (by_numbers && hg_dtype_is_float(d)) {
        /* what equals a bound stays, where a maximum would be the bound: of -0.0 that shows */
        in[1] = hg_given(low) ? *low : hg_f(-INFINITY), in[2] = hg_given(high) ? *high : hg_f(INFINITY);
        n = 3;
    }
    if (st != HG_OK) return st;
    return hg_run(cx, n == 3 ? &hg_k_clamp : hg_given(low) ? &hg_k_maximum : &hg_k_minimum, d, in, n, NULL, out);
}

hg_status hg_op_clamp(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return clamp(cx, &a[0], &a[1], &a[2], out); }
hg_status hg_op_clamp_min(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return clamp(cx, &a[0], &a[1], &HG_NONE, out);
}
hg_status hg_op_clamp_max(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return clamp(cx, &a[0], &HG_NONE, &a[1], out);
}

/* Where low <= x <= high, bounds included; a bound that is not given bounds nothing. NULL: no bound, or failed. */
static hg_tensor *within(hg_ctx *cx, hg_tensor *x, hg_arg low, hg_arg high) {
    hg_tensor *above = hg_given(&low) ? X(GE, T(x), low) : NULL, *below = hg_given(&high) ? X(LE, T(x), high) : NULL;
    return above && below ? X(LOGICAL_AND, T(above), T(below)) : above ? above : below;
}
static void give_where(hg_ctx *cx, hg_back *b, int param, hg_tensor *mask) {
    GIVE(param, X(WHERE, T(mask), T(G), hg_i(0)));
}

hg_status hg_d_clamp(hg_ctx *cx, hg_back *b) {
    give_where(cx, b, 0, within(cx, IN(0), *ARG(1), *ARG(2)));
    return HG_OK;
}
hg_status hg_d_clamp_min(hg_ctx *cx, hg_back *b) {
    give_where(cx, b, 0, X(GE, T(IN(0)), *ARG(1)));
    return HG_OK;
}
hg_status hg_d_clamp_max(hg_ctx *cx, hg_back *b) {
    give_where(cx, b, 0, X(LE, T(IN(0)), *ARG(1)));
    return HG_OK;
}
hg_status hg_d_clamp_min_tensor(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *low = IN(1);
    if (NEED(1)) give_where(cx, b, 1, X(LT, T(x), T(low)));
    if (NEED(0)) give_where(cx, b, 0, X(GE, T(x), T(low)));
    return HG_OK;
}
hg_status hg_d_clamp_max_tensor(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *high = IN(1);
    if (NEED(1)) give_where(cx, b, 1, X(GT, T(x), T(high)));
    if (NEED(0)) give_where(cx, b, 0, X(LE, T(x), T(high)));
    return HG_OK;
}
/* Where the bounds cross, the upper one is the result. */
hg_status hg_d_clamp_tensor(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *low = IN(1), *high = IN(2);
    if (low && NEED(1)) {
        hg_tensor *below = X(LT, T(x), T(low));
        give_where(cx, b, 1, high ? X(LOGICAL_AND, T(below), T(X(LT, T(low), T(high)))) : below);
    }
    if (high && NEED(2)) {
        hg_tensor *above = X(GT, T(x), T(high));
        give_where(cx, b, 2, low ? X(LOGICAL_OR, T(above), T(X(LT, T(high), T(low)))) : above);
    }
    if (NEED(0)) give_where(cx, b, 0, within(cx, x, hg_t(low), hg_t(high)));
    return HG_OK;
}

/* ---- Where ------------------------------------------------------------------------------------------------------------------------ */

static hg_status where(hg_ctx *cx, const hg_arg *condition, const hg_arg *self, const hg_arg *other, hg_tensor **out) {
    char word[16];
    hg_dtype c = (hg_dtype)condition->u.t->dtype;
    if (c != HG_BOOL && c != HG_U8)
        return hg_fail(cx, HG_STATE, "where expected condition to be a boolean tensor, but got a tensor with dtype %s",
                       hg_dtype_word(c, word));
    hg_status st = HG_OK;
    if (c == HG_U8)
        st = hg_warn_once(cx, "where received a uint8 condition tensor. This behavior is deprecated and will be "
                              "removed in a future version of PyTorch. Use a boolean condition instead.");
    if (st != HG_OK) return st;
    hg_arg in[3] = {*condition, *self, *other};
    return hg_run(cx, &hg_k_where, hg_result_type(cx, in + 1, 2), in, 3, NULL, out);
}

hg_status hg_op_where(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return where(cx, &a[0], &a[1], &a[2], out); }
hg_status hg_d_where(hg_ctx *cx, hg_back *b) {
    hg_tensor *c = IN(0);
    if (NEED(2)) GIVE(2, X(WHERE, T(c), hg_i(0), T(G)));
    if (NEED(1)) GIVE(1, X(WHERE, T(c), T(G), hg_i(0)));
    return HG_OK;
}
hg_status hg_op_where_method(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return where(cx, &a[1], &a[0], &a[2], out);
}
hg_status hg_d_where_method(hg_ctx *cx, hg_back *b) {
    hg_tensor *c = IN(1);
    if (NEED(2)) GIVE(2, X(WHERE, T(c), hg_i(0), T(G)));
    if (NEED(0)) GIVE(0, X(WHERE, T(c), T(G), hg_i(0)));
    return HG_OK;
}

/* Memory that is written more than once gets the same value each time: expanded tensors are allowed here. */
static hg_status masked_fill(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    const hg_arg in[3] = {a[1], a[2], a[0]};
    hg_status st = hg_warn_of_overlap(cx, *out, "masked_fill_", "mask] = scalar");
    if (st != HG_OK) return st;
    if (!*out && !(a[0].u.t->plain && a[1].u.t->plain)) { /* there, a plain copy that is filled */
        int n;
        int64_t shape[HG_MAX_DIM];
        const hg_tensor *t = a[0].u.t, *mask = a[1].u.t;
        st = hg_broadcast(cx, t->n_dim, t->shape, mask->n_dim, mask->shape, &n, shape);
        if (st != HG_OK || (st = hg_out(cx, out, d, n, shape)) != HG_OK) return st;
    }
    if (!*out || (*out)->contiguous) return hg_run(cx, &hg_k_where, d, in, 3, NULL, out);
    hg_tensor *made = NULL;
    st = hg_run(cx, &hg_k_where, d, in, 3, NULL, &made);
    if (st == HG_OK) st = hg_raw_copy(cx, *out, made);
    hg_release(cx, made);
    return st;
}

hg_status hg_op_masked_fill(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *mask = a[1].u.t;
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    hg_status st;
    if (mask->dtype != HG_BOOL)
        return hg_fail(cx, HG_STATE, "masked_fill_ only supports boolean masks, but got mask with dtype %s",
                       hg_c_name((hg_dtype)mask->dtype));
    if (a[2].kind == HG_A_TENSOR) {
        if (a[2].u.t->n_dim)
            return hg_fail(cx, HG_STATE,
                           "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with %d "
                           "dimension(s).",
                           a[2].u.t->n_dim);
        st = hg_check_cast(cx, (hg_dtype)a[2].u.t->dtype, d);
    } else {
        st = hg_check_number(cx, a[2], d);
    }
    return st == HG_OK ? masked_fill(cx, a, out) : st;
}
hg_status hg_d_masked_fill(hg_ctx *cx, hg_back *b) {
    hg_tensor *mask = IN(1);
    if (NEED(0)) GIVE(0, X(MASKED_FILL, T(G), T(mask), hg_i(0)));
    if (b->info->differentiable >> 2 & 1 && NEED(2)) {
        bool of_all = hg_sees(cx, G) == HG_SEEN_BY_CLASS; /* of a class's tensor, or a sample, the size must be known */
        GIVE(2, X(SUM, T(of_all ? X(WHERE, T(mask), T(G), hg_i(0)) : X(MASKED_SELECT, T(G), T(mask)))));
    }
    return HG_OK;
}

/* ---- Copies and fills ---------------------------------------------------------------------------------------------------------------- */

hg_status hg_op_clone(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *t = a[0].u.t;
    hg_status st = hg_out_format(cx, out, (hg_dtype)t->dtype, t, hg_format_or(&a[1], HG_FORMAT_PRESERVE));
    return st == HG_OK ? hg_raw_copy(cx, *out, t) : st;
}
hg_status hg_d_same(hg_ctx *cx, hg_back *b) {
    GIVE(0, G);
    return HG_OK;
}

hg_status hg_op_contiguous(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_format f = hg_format_or(&a[1], HG_FORMAT_CONTIGUOUS);
    if (!hg_tensor_lies_as(a[0].u.t, f)) {
        if (f == HG_FORMAT_PRESERVE)
            return hg_fail(cx, HG_STATE, "preserve memory format is unsupported by the contiguous operator");
        return hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){a[0], hg_format_arg(f)}, 2, out);
    }
    hg_retain(cx, a[0].u.t);
    *out = a[0].u.t;
    return HG_OK;
}

hg_status hg_op_to_copy(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *t = a[0].u.t;
    hg_dtype d = hg_given(&a[1]) ? (hg_dtype)a[1].u.i : (hg_dtype)t->dtype;
    hg_status st = hg_out_format(cx, out, d, t, hg_format_or(&a[2], HG_FORMAT_PRESERVE));
    return st == HG_OK ? hg_raw_copy(cx, *out, t) : st;
}

hg_status hg_op_type_as(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = (hg_dtype)a[1].u.t->dtype;
    if (a[0].u.t->dtype != d) return hg_call_op(cx, HG_OP_TO_COPY, (hg_arg[]){a[0], hg_d(d)}, 2, out);
    hg_retain(cx, a[0].u.t);
    *out = a[0].u.t;
    return HG_OK;
}

hg_status hg_op_copy_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    if (hg_is_number(&a[1])) {
        hg_status st = hg_check_overlap(cx, a[0].u.t, NULL);
        return st == HG_OK ? hg_raw_fill(cx, a[0].u.t, a[1]) : st;
    }
    if (hg_same_layout(a[0].u.t, a[1].u.t)) return HG_OK;
    hg_status st = hg_check_overlap(cx, a[0].u.t, a[1].u.t);
    return st == HG_OK ? hg_raw_copy(cx, a[0].u.t, a[1].u.t) : st;
}
hg_status hg_d_copy_(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(ZEROS_LIKE, T(G)));
    if (NEED(1)) GIVE(1, G);
    return HG_OK;
}

static hg_status fill(hg_ctx *cx, hg_tensor *t, const hg_arg *value) {
    if (hg_is_number(value)) return hg_raw_fill(cx, t, *value);
    if (value->u.t->n_dim != 0)
        return hg_fail(cx, HG_STATE, "fill_ only supports 0-dimension value tensor but got tensor with %d dimensions.",
                       value->u.t->n_dim);
    return hg_raw_copy(cx, t, value->u.t);
}
hg_status hg_op_fill(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = hg_out_kept(cx, out, (hg_dtype)a[0].u.t->dtype, a[0].u.t);
    return st == HG_OK ? fill(cx, *out, &a[1]) : st;
}
hg_status hg_op_fill_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return fill(cx, a[0].u.t, &a[1]);
}
hg_status hg_d_fill(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(ZEROS_LIKE, T(G)));
    if (b->info->differentiable >> 1 & 1 && NEED(1)) GIVE(1, X(SUM, T(G)));
    return HG_OK;
}
hg_status hg_op_zero_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return fill(cx, a[0].u.t, &(hg_arg){.kind = HG_A_INT});
}
