/* Comparisons, tests and logic: results are bool, without derivatives; in place they leave a constant behind. */
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <string.h>

#define BINARY(op)                                                                                                     \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        return hg_run(cx, &hg_k_##op, hg_result_type(cx, a, 2), a, 2, NULL, out);                                      \
    }
BINARY(eq)
BINARY(ne)
BINARY(lt)
BINARY(le)
BINARY(gt)
BINARY(ge)
BINARY(logical_and)
BINARY(logical_or)
BINARY(logical_xor)

static hg_status run_bits(hg_ctx *cx, const hg_kernel *k, const hg_arg *a, hg_tensor **out) {
    if (hg_is_number(&a[0]) && hg_is_number(&a[1]))
        return hg_fail(cx, HG_TYPE, "of two integers one must be a Tensor, not int");
    return hg_run(cx, k, hg_result_type(cx, a, 2), a, 2, NULL, out);
}

#define BITS(op)                                                                                                       \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) { return run_bits(cx, &hg_k_##op, a, out); }
BITS(bitwise_and)
BITS(bitwise_or)
BITS(bitwise_xor)
BITS(shift_left)
BITS(shift_right)

hg_status hg_d_zeros(hg_ctx *cx, hg_back *b) {
    for (int i = 0; i < 2; i++)
        if (NEED(i)) GIVE(i, X(ZEROS_LIKE, T(G)));
    return HG_OK;
}

#define UNARY(op)                                                                                                      \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        return hg_run(cx, &hg_k_##op, (hg_dtype)a[0].u.t->dtype, a, 1, NULL, out);                                     \
    }
UNARY(logical_not)
UNARY(bitwise_not)
UNARY(isnan)
UNARY(isposinf)
UNARY(isneginf)
UNARY(signbit)

/* Of integers known beforehand, and so laid out as a copy. */
#define UNARY_KEPT(op)                                                                                                 \
    hg_status hg_op_##op(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                               \
        hg_dtype d = (hg_dtype)a[0].u.t->dtype;                                                                        \
        hg_status st = hg_dtype_is_float(d) ? HG_OK : hg_out_kept(cx, out, HG_BOOL, a[0].u.t);                         \
        return st == HG_OK ? hg_run(cx, &hg_k_##op, d, a, 1, NULL, out) : st;                                          \
    }
UNARY_KEPT(isinf)
UNARY_KEPT(isfinite)

hg_status hg_op_isclose(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    if (d != a[1].u.t->dtype) {
        char x[16], y[16];
        return hg_fail(cx, HG_STATE, "%s did not match %s", hg_dtype_word(d, x),
                       hg_dtype_word((hg_dtype)a[1].u.t->dtype, y));
    }
    double rtol = hg_number_f(&a[2]), atol = hg_number_f(&a[3]);
    if (!(rtol >= 0)) return hg_fail(cx, HG_STATE, "rtol must be greater than or equal to zero, but got %g", rtol);
    if (!(atol >= 0)) return hg_fail(cx, HG_STATE, "atol must be greater than or equal to zero, but got %g", atol);
    hg_extra_args extra = {.f = {rtol, atol}, .i = {a[4].u.i}};
    if (!hg_dtype_is_float(d)) d = HG_F64;
    return hg_run(cx, &hg_k_isclose, d, a, 2, &extra, out);
}

hg_status hg_op_allclose(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, X(ALL, T(X(ISCLOSE, a[0], a[1], a[2], a[3], a[4]))), out);
}

static void all_equal(void *arg, int64_t n, char *const *p, const int64_t *step) {
    bool *equal = arg;
    if (step[0] == 1)
        *equal = *equal && !memchr(p[0], 0, (size_t)n);
    else
        for (int64_t i = 0; i < n && *equal; i++) *equal = *(const uint8_t *)(p[0] + i * step[0]) != 0;
}

hg_status hg_op_equal(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *x = a[0].u.t, *y = a[1].u.t;
    bool equal = hg_same_shape(x, y), bytes = x->plain && y->plain && x->dtype == y->dtype;
    hg_status st;
    if (equal && bytes && !hg_dtype_is_float((hg_dtype)x->dtype)) {
        equal = x->data == y->data || memcmp(x->data, y->data, (size_t)x->numel * hg_dtypes[x->dtype].size) == 0;
    } else if (equal) {
        hg_tensor *same = NULL;
        if ((st = hg_run(cx, &hg_k_eq, hg_dtype_promote((hg_dtype)x->dtype, (hg_dtype)y->dtype), a, 2, NULL, &same)) !=
            HG_OK)
            return st;
        hg_iter it;
        hg_iter_begin(&it, same->n_dim, same->shape);
        hg_iter_add_tensor(&it, same);
        hg_iter_coalesce(&it);
        hg_iter_rows(&it, all_equal, &equal);
        hg_release(cx, same);
    }
    return hg_raw_scalar(cx, hg_b(equal), HG_BOOL, out);
}
