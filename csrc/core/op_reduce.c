/* Sums, means, products, variances, norms and counts. What choosing one element does is in op_extreme.c. */
#include "nn_impl.h"
#include "reduce_impl.h"
#include "shape_impl.h"

#include <math.h>
#include <string.h>

/* ---- Common ------------------------------------------------------------------------------------------------------------------------ */

hg_tensor *hg_x_keep_dims(hg_ctx *cx, hg_tensor *g, hg_meta input, const hg_arg *dim, bool kept) {
    hg_tensor shaped = {.n_dim = input.n_dim, .shape = (int64_t *)input.shape};
    hg_dims d;
    if (kept || !hg_scope_ok(cx)) return g;
    if (dim->kind == HG_A_INTS && dim->n == 1 && input.n_dim)
        return X(UNSQUEEZE, T(g), hg_i(dim->u.ints[0])); /* as it was named */
    hg_status st = hg_read_dims(cx, &shaped, dim, false, &d);
    if (st != HG_OK) {
        hg_scope_fail(cx, st);
        return NULL;
    }
    for (int i = 0; i < input.n_dim; i++)
        if (d.gone[i]) g = X(UNSQUEEZE, T(g), hg_i(i));
    return g;
}

static hg_tensor *expanded(hg_ctx *cx, hg_tensor *g, hg_meta input) {
    return X(EXPAND, T(g), hg_ints(input.shape, input.n_dim));
}

/* How many elements went into each of the result. */
static int64_t count_gone(hg_ctx *cx, hg_meta input, const hg_arg *dim) {
    hg_tensor shaped = {.n_dim = input.n_dim, .shape = (int64_t *)input.shape};
    hg_dims d;
    return hg_read_dims(cx, &shaped, dim, false, &d) == HG_OK ? d.count : 0;
}

/* The input of a reduction asked for in another dtype: cast first where that changes what is added. New. */
static hg_status cast_first(hg_ctx *cx, hg_tensor *t, hg_dtype d, hg_tensor **out) {
    bool narrows = hg_dtypes[d].category < hg_dtypes[t->dtype].category ||
                   (hg_dtypes[d].category == 1 && hg_dtypes[d].size < hg_dtypes[t->dtype].size);
    return hg_raw_cast(cx, t, narrows ? d : (hg_dtype)t->dtype, out);
}

static hg_dtype sum_type(const hg_tensor *t, const hg_arg *dtype) {
    return hg_given(dtype) ? (hg_dtype)dtype->u.i : hg_dtype_is_float((hg_dtype)t->dtype) ? (hg_dtype)t->dtype : HG_I64;
}

/* Fold, then the accumulators as the result. */
static hg_status folded(hg_ctx *cx, const hg_fold *fold, hg_tensor *t, const hg_arg *dim, bool keep, hg_dtype type,
                        hg_tensor **out) {
    hg_dims d;
    hg_tensor *input = NULL;
    hg_status st = hg_read_dims(cx, t, dim, keep, &d);
    if (st != HG_OK || (st = cast_first(cx, t, type, &input)) != HG_OK) return st;
    st = hg_fold_to(cx, fold, input, &d, false, type, out);
    hg_release(cx, input);
    return st;
}

static double *doubles(const hg_acc *acc) { return (double *)(void *)acc->at; }

/* ---- Sums ------------------------------------------------------------------------------------------------------------------------------ */

static const hg_arg all_dims = {.kind = HG_A_NONE};

hg_status hg_op_sum(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return folded(cx, &hg_fold_sum, a[0].u.t, &all_dims, false, sum_type(a[0].u.t, &a[1]), out);
}
hg_status hg_op_sum_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return folded(cx, &hg_fold_sum, a[0].u.t, &a[1], a[2].u.i != 0, sum_type(a[0].u.t, &a[3]), out);
}
hg_status hg_d_sum(hg_ctx *cx, hg_back *b) {
    GIVE(0, expanded(cx, G, META(0)));
    return HG_OK;
}
hg_status hg_d_sum_dim(hg_ctx *cx, hg_back *b) {
    GIVE(0, expanded(cx, hg_x_keep_dims(cx, G, META(0), ARG(1), ARG(2)->u.i != 0), META(0)));
    return HG_OK;
}

hg_status hg_op_nansum(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return folded(cx, &hg_fold_nansum, a[0].u.t, &a[1], a[2].u.i != 0, sum_type(a[0].u.t, &a[3]), out);
}
hg_status hg_d_nansum(hg_ctx *cx, hg_back *b) {
    bool kept = ARG(2)->u.i != 0;
    hg_tensor *g = hg_given(ARG(1)) || kept ? hg_x_keep_dims(cx, G, META(0), ARG(1), kept) : G;
    GIVE(0, X(MUL, T(expanded(cx, g, META(0))), T(X(LOGICAL_NOT, T(X(ISNAN, T(IN(0))))))));
    return HG_OK;
}

/* ---- Means ----------------------------------------------------------------------------------------------------------------------------- */

static hg_status mean(hg_ctx *cx, hg_tensor *t, const hg_arg *dim, bool keep, const hg_arg *dtype, hg_tensor **out) {
    hg_dtype d = hg_given(dtype) ? (hg_dtype)dtype->u.i : (hg_dtype)t->dtype;
    if (!hg_dtype_is_float(d)) {
        char word[16];
        return hg_fail(cx, HG_STATE,
                       "mean(): could not infer output dtype. %s dtype must be either a floating point or complex "
                       "dtype. Got: %s",
                       hg_given(dtype) ? "Optional" : "Input", hg_dtype_word(d, word));
    }
    hg_dims dims;
    hg_tensor *input = NULL;
    hg_status st = hg_read_dims(cx, t, dim, keep, &dims);
    if (st != HG_OK) return st;
    if ((st = hg_raw_cast(cx, t, hg_dtype_is_float((hg_dtype)t->dtype) ? (hg_dtype)t->dtype : d, &input)) != HG_OK)
        return st;
    st = hg_fold_to(cx, &hg_fold_sum, input, &dims, true, d, out);
    hg_release(cx, input);
    return st;
}

hg_status hg_op_mean(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return mean(cx, a[0].u.t, &all_dims, false, &a[1], out);
}
hg_status hg_op_mean_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return mean(cx, a[0].u.t, &a[1], a[2].u.i != 0, &a[3], out);
}
static hg_status mean_gradient(hg_ctx *cx, hg_back *b, const hg_arg *dim, bool kept) {
    hg_tensor *g = expanded(cx, hg_x_keep_dims(cx, G, META(0), dim, kept), META(0));
    GIVE(0, X(DIV, T(g), hg_i(count_gone(cx, META(0), dim))));
    return HG_OK;
}
/* A number expands as it is. */
hg_status hg_d_mean(hg_ctx *cx, hg_back *b) { return mean_gradient(cx, b, &all_dims, true); }
hg_status hg_d_mean_dim(hg_ctx *cx, hg_back *b) { return mean_gradient(cx, b, ARG(1), ARG(2)->u.i != 0); }

hg_status hg_op_nanmean(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    char word[16];
    if (!hg_dtype_is_float((hg_dtype)a[0].u.t->dtype))
        return hg_fail(cx, HG_STATE, "nanmean(): expected input to have floating point or complex dtype but got %s",
                       hg_dtype_word((hg_dtype)a[0].u.t->dtype, word));
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *numbers = X(LOGICAL_NOT, T(X(ISNAN, a[0])));
    hg_tensor *n = X(SUM_DIM, T(numbers), a[1], a[2]), *sum = X(NANSUM, a[0], a[1], a[2], a[3]);
    return hg_scope_return(cx, &s, X(DIV, T(sum), T(n)), out);
}

/* ---- Products ------------------------------------------------------------------------------------------------------------------------------ */

hg_status hg_op_prod(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return folded(cx, &hg_fold_prod, a[0].u.t, &all_dims, false, sum_type(a[0].u.t, &a[1]), out);
}
hg_status hg_op_prod_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return folded(cx, &hg_fold_prod, a[0].u.t, &a[1], a[2].u.i != 0, sum_type(a[0].u.t, &a[3]), out);
}

bool hg_x_may_have_zero(hg_ctx *cx, hg_tensor *x) {
    if (hg_sees(cx, x) == HG_SEEN_BY_CLASS) return true; /* a sample's numbers are not here */
    hg_tensor *any = X(ANY, T(X(LOGICAL_NOT, T(x))));
    return any && *any->data;
}

/* The product of all the others along dim: of those before times those after. Right where elements are zero, too. */
hg_tensor *hg_x_product_of_others(hg_ctx *cx, hg_tensor *x, int dim) {
    int64_t n = x->n_dim ? x->shape[dim] : 1;
    hg_arg at = hg_i(dim);
    hg_tensor *one = X(ONES_LIKE, T(X(NARROW, T(x), at, hg_i(0), hg_i(1))));
    hg_tensor *back = X(FLIP, T(X(NARROW, T(x), at, hg_i(1), hg_i(n - 1))), hg_ints((int64_t[]){dim}, 1));
    hg_tensor *front = X(NARROW, T(x), at, hg_i(0), hg_i(n - 1));
    if (!hg_scope_ok(cx)) return NULL;
    hg_tensor *before = X(CUMPROD, T(X(CAT, hg_ts((hg_tensor *[]){one, front}, 2), at)), at);
    hg_tensor *after = X(CUMPROD, T(X(CAT, hg_ts((hg_tensor *[]){one, back}, 2), at)), at);
    return X(MUL, T(before), T(X(FLIP, T(after), hg_ints((int64_t[]){dim}, 1))));
}

hg_status hg_d_prod(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0);
    if (!x || x->numel == 0) {
        GIVE(0, X(ZEROS_LIKE, T(x)));
    } else if (x->n_dim == 0) {
        GIVE(0, X(CLONE, T(G)));
    } else if (!hg_x_may_have_zero(cx, x)) {
        GIVE(0, X(MUL, T(G), T(X(DIV, T(OUT(0)), T(x)))));
    } else {
        hg_tensor *flat = X(RESHAPE, T(x), hg_ints((int64_t[]){-1}, 1));
        hg_tensor *g = X(MUL, T(hg_x_product_of_others(cx, flat, 0)), T(G));
        GIVE(0, X(RESHAPE, T(g), hg_ints(META(0).shape, META(0).n_dim)));
    }
    return HG_OK;
}
hg_status hg_d_prod_dim(hg_ctx *cx, hg_back *b) {
    hg_tensor *x = IN(0), *g = hg_x_keep_dims(cx, G, META(0), ARG(1), ARG(2)->u.i != 0);
    if (!x || x->n_dim == 0) {
        GIVE(0, g);
    } else if (x->numel == 0) {
        GIVE(0, X(ZEROS_LIKE, T(x)));
    } else if (!hg_x_may_have_zero(cx, x)) {
        hg_tensor *r = hg_x_keep_dims(cx, OUT(0), META(0), ARG(1), ARG(2)->u.i != 0);
        GIVE(0, X(MUL, T(g), T(X(DIV, T(r), T(x)))));
    } else {
        int dim;
        hg_status st = hg_wrap_dim(cx, ARG(1)->u.i, x->n_dim, &dim);
        if (st != HG_OK) return st;
        GIVE(0, X(MUL, T(hg_x_product_of_others(cx, x, dim)), T(g)));
    }
    return HG_OK;
}

/* ---- Variances -------------------------------------------------------------------------------------------------------------------------------- */

static double correction_of(const hg_arg *a) { return hg_given(a) ? hg_number_f(a) : 1; }

/* Both, or the one asked for: out_mean may be NULL. */
static hg_status variance(hg_ctx *cx, const char *name, hg_tensor *t, const hg_arg *dim, double correction, bool keep,
                          bool root, hg_tensor **out, hg_tensor **out_mean) {
    if (!hg_dtype_is_float((hg_dtype)t->dtype))
        return hg_fail(cx, HG_STATE, "%s only support floating point and complex dtypes",
                       out_mean ? name : "std and var");
    hg_dims d;
    hg_acc center = {.at = NULL}, acc = {.at = NULL};
    hg_status st = hg_read_dims(cx, t, dim, keep, &d);
    if (st != HG_OK) return st;
    double freedom = (double)d.count - correction;
    if (freedom <= 0 && (st = hg_warn(cx, "UserWarning",
                                      "%s(): degrees of freedom is <= 0. Correction should be strictly less than the "
                                      "reduction factor (input numel divided by output numel).",
                                      name)) != HG_OK)
        return st;
    if ((st = hg_fold_run(cx, &hg_fold_sum, t, &d, NULL, NULL, &center)) != HG_OK) goto done;
    for (int64_t i = 0; i < center.n; i++) doubles(&center)[i] /= (double)d.count;
    if ((st = hg_fold_run(cx, &hg_fold_deviation, t, &d, NULL, &center, &acc)) != HG_OK) goto done;
    for (int64_t i = 0; i < acc.n; i++) {
        double v = doubles(&acc)[i] / (freedom > 0 ? freedom : 0);
        doubles(&acc)[i] = root ? sqrt(v) : v;
    }
    if ((st = hg_acc_take(cx, &acc, &d, (hg_dtype)t->dtype, out)) != HG_OK) goto done;
    if (out_mean) st = hg_acc_take(cx, &center, &d, (hg_dtype)t->dtype, out_mean);
done:
    hg_acc_free(cx, &center), hg_acc_free(cx, &acc);
    return st;
}

hg_status hg_op_var(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return variance(cx, "var", a[0].u.t, &a[1], correction_of(&a[2]), a[3].u.i != 0, false, out, NULL);
}
hg_status hg_op_std(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return variance(cx, "std", a[0].u.t, &a[1], correction_of(&a[2]), a[3].u.i != 0, true, out, NULL);
}
hg_status hg_op_var_mean(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return variance(cx, "var_mean", a[0].u.t, &a[1], correction_of(&a[2]), a[3].u.i != 0, false, &out[0], &out[1]);
}
hg_status hg_op_std_mean(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return variance(cx, "std_mean", a[0].u.t, &a[1], correction_of(&a[2]), a[3].u.i != 0, true, &out[0], &out[1]);
}

/* With the arguments of var.correction: what `g`, a gradient of the variance, is for the input. */
static hg_tensor *variance_gradient(hg_ctx *cx, hg_back *b, hg_tensor *g) {
    bool kept = ARG(3)->u.i != 0;
    double freedom = (double)count_gone(cx, META(0), ARG(1)) - correction_of(ARG(2));
    bool whole = !hg_given(ARG(1));
    hg_tensor *x = IN(0), *mean;
    if (!whole && x && x->n_dim > 1) g = hg_x_keep_dims(cx, g, META(0), ARG(1), kept);
    mean = whole ? X(MEAN, T(x)) : X(MEAN_DIM, T(x), *ARG(1), hg_b(true));
    hg_tensor *away = X(SUB, T(x), T(mean));
    return X(MUL, T(X(MUL, T(g), hg_f(2 / (freedom > 0 ? freedom : 0)))), T(away));
}
/* ... and one of the standard deviation `result`, of the variance. */
static hg_tensor *root_gradient(hg_ctx *cx, hg_tensor *g, hg_tensor *result) {
    hg_tensor *halved = X(DIV, T(g), T(X(MUL, T(result), hg_i(2))));
    return X(MASKED_FILL, T(halved), T(X(EQ, T(result), hg_i(0))), hg_i(0));
}
static hg_tensor *plus_mean_gradient(hg_ctx *cx, hg_back *b, hg_tensor *of_spread) {
    if (!b->grad[1]) return of_spread;
    bool kept = !hg_given(ARG(1)) || ARG(3)->u.i != 0;
    hg_tensor *g = expanded(cx, hg_x_keep_dims(cx, b->grad[1], META(0), ARG(1), kept), META(0));
    g = X(DIV, T(g), hg_i(count_gone(cx, META(0), ARG(1))));
    return of_spread ? X(ADD, T(of_spread), T(g)) : g;
}

hg_status hg_d_var(hg_ctx *cx, hg_back *b) {
    GIVE(0, variance_gradient(cx, b, G));
    return HG_OK;
}
hg_status hg_d_std(hg_ctx *cx, hg_back *b) {
    GIVE(0, variance_gradient(cx, b, root_gradient(cx, G, OUT(0))));
    return HG_OK;
}
hg_status hg_d_var_mean(hg_ctx *cx, hg_back *b) {
    GIVE(0, plus_mean_gradient(cx, b, G ? variance_gradient(cx, b, G) : NULL));
    return HG_OK;
}
hg_status hg_d_std_mean(hg_ctx *cx, hg_back *b) {
    GIVE(0, plus_mean_gradient(cx, b, G ? variance_gradient(cx, b, root_gradient(cx, G, OUT(0))) : NULL));
    return HG_OK;
}

/* The older ways to ask: unbiased is a correction of 1. */
static hg_status unbiased(hg_ctx *cx, int op, const hg_arg *self, hg_arg dim, const hg_arg *flag, hg_arg keep,
                          hg_tensor **out) {
    return hg_call_op(cx, op, (hg_arg[]){*self, dim, hg_i(flag->u.i != 0), keep}, 4, out);
}
hg_status hg_op_var_unbiased(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return unbiased(cx, HG_OP_VAR_CORRECTION, &a[0], HG_NONE, &a[1], hg_b(false), out);
}
hg_status hg_op_std_unbiased(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return unbiased(cx, HG_OP_STD_CORRECTION, &a[0], HG_NONE, &a[1], hg_b(false), out);
}
hg_status hg_op_var_mean_unbiased(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return unbiased(cx, HG_OP_VAR_MEAN, &a[0], HG_NONE, &a[1], hg_b(false), out);
}
hg_status hg_op_std_mean_unbiased(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return unbiased(cx, HG_OP_STD_MEAN, &a[0], HG_NONE, &a[1], hg_b(false), out);
}
#define BY_DIM(id, OP)                                                                                                 \
    hg_status hg_op_##id##_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {                                         \
        return unbiased(cx, HG_OP_##OP, &a[0], a[1], &a[2], a[3], out);                                                \
    }
BY_DIM(var, VAR_CORRECTION)
BY_DIM(std, STD_CORRECTION)
BY_DIM(var_mean, VAR_MEAN)
BY_DIM(std_mean, STD_MEAN)

/* ---- Norms ------------------------------------------------------------------------------------------------------------------------------------------ */

static hg_status norm(hg_ctx *cx, hg_tensor *t, double p, const hg_arg *dim, bool keep, const hg_arg *dtype,
                      hg_tensor **out) {
    hg_dtype d = hg_given(dtype) ? (hg_dtype)dtype->u.i : (hg_dtype)t->dtype;
    if (!hg_dtype_is_float((hg_dtype)t->dtype)) {
        char word[16];
        return hg_fail(cx, HG_STATE, "linalg.vector_norm: Expected a floating point or complex tensor as input. Got %s",
                       hg_dtype_word((hg_dtype)t->dtype, word));
    }
    const hg_fold *fold = p == 2           ? &hg_fold_square_sum
                          : p == 1         ? &hg_fold_abs_sum
                          : p == 0         ? &hg_fold_count
                          : p == INFINITY  ? &hg_fold_abs_max
                          : p == -INFINITY ? &hg_fold_abs_min
                                           : &hg_fold_power_sum;
    hg_dims dims;
    hg_acc acc = {.at = NULL};
    hg_extra_args extra = {.f = {p}};
    hg_status st = hg_read_dims(cx, t, dim, keep, &dims);
    if (st != HG_OK) return st;
    if (dims.count == 0 && dims.n && (p < 0 || p == INFINITY))
        return hg_fail(cx, HG_STATE,
                       "linalg.vector_norm cannot compute the %g norm on an empty tensor because the operation "
                       "does not have an identity",
                       p);
    if ((st = hg_fold_run(cx, fold, t, &dims, &extra, NULL, &acc)) != HG_OK) goto done;
    if (p == 2 || fold == &hg_fold_power_sum)
        for (int64_t i = 0; i < acc.n; i++)
            doubles(&acc)[i] = p == 2 ? sqrt(doubles(&acc)[i]) : pow(doubles(&acc)[i], 1 / p);
    st = hg_acc_take(cx, &acc, &dims, d, out);
done:
    hg_acc_free(cx, &acc);
    return st;
}

hg_status hg_op_vector_norm(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return norm(cx, a[0].u.t, hg_number_f(&a[1]), &a[2], a[3].u.i != 0, &a[4], out);
}

/* The gradient of the p-norm of x, both of the kept shape; 0 where the norm is. */
static hg_tensor *norm_gradient(hg_ctx *cx, hg_tensor *x, hg_tensor *result, hg_tensor *g, double p,
                                const hg_arg *dim) {
    if (p == 1) return X(MUL, T(X(SGN, T(x))), T(g));
    hg_tensor *is_zero = X(EQ, T(result), hg_i(0));
    if (p == 2 && cx->grad_enabled) /* as torch multiplies: at 0 the second derivative is not a number */
        return X(MUL, T(g), T(X(MASKED_FILL, T(X(DIV, T(x), T(result))), T(is_zero), hg_i(0))));
    if (p == 2) return X(MUL, T(x), T(X(MASKED_FILL, T(X(DIV, T(g), T(result))), T(is_zero), hg_i(0))));
    hg_tensor *size = X(ABS, T(x));
    if (isinf(p)) { /* those that reach it share the gradient */
        hg_tensor *reaches = X(EQ, T(size), T(result));
        hg_tensor *n = X(SUM_DIM, T(reaches), *dim, hg_b(true));
        hg_tensor *shared = X(MUL, T(X(DIV, T(g), T(n))), T(reaches));
        return X(MUL, T(X(SGN, T(x))), T(shared));
    }
    hg_tensor *above = X(POW_SCALAR, T(size), hg_f(p < 2 ? p - 1 : p - 2));
    if (p < 1) {
        above = X(MASKED_FILL, T(above), T(X(EQ, T(x), hg_i(0))), hg_i(0));
        above = X(MUL, T(X(SGN, T(x))), T(above));
        hg_tensor *by = X(POW_SCALAR, T(result), hg_f(1 - p));
        return X(MUL, T(X(MUL, T(above), T(g))), T(by));
    }
    above = X(MUL, T(p < 2 ? X(SGN, T(x)) : x), T(above));
    hg_tensor *scale = X(DIV, T(g), T(X(POW_SCALAR, T(result), hg_f(p - 1))));
    return X(MUL, T(above), T(X(MASKED_FILL, T(scale), T(is_zero), hg_i(0))));
}

hg_status hg_d_vector_norm(hg_ctx *cx, hg_back *b) {
    /* A number goes with every shape; recorded, it is given the dimensions back that were named. */
    if (hg_number_f(ARG(1)) == 0) return HG_OK; /* a count: in PyTorch nothing comes back, not zeros */
    bool whole = OUT(0)->n_dim == 0 && !(cx->grad_enabled && ARG(2)->kind == HG_A_INTS);
    bool kept = ARG(3)->u.i != 0 || whole;
    hg_tensor *g = hg_x_keep_dims(cx, G, META(0), ARG(2), kept), *r = hg_x_keep_dims(cx, OUT(0), META(0), ARG(2), kept);
    GIVE(0, norm_gradient(cx, IN(0), r, g, hg_number_f(ARG(1)), ARG(2)));
    return HG_OK;
}

static hg_status vector_norm(hg_ctx *cx, const hg_arg *a, hg_arg p, hg_tensor **out) {
    return hg_call_op(cx, HG_OP_VECTOR_NORM, (hg_arg[]){a[0], p, a[2], a[3], a[4]}, 5, out);
}
hg_status hg_op_norm(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return vector_norm(cx, a, hg_given(&a[1]) ? a[1] : hg_i(2), out);
}
hg_status hg_op_norm_str(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    bool fro = strcmp(a[1].u.s, "fro") == 0, all = !hg_given(&a[2]);
    int n = a[0].u.t->n_dim, count = all ? n : (int)a[2].n, at[2];
    if (fro && (all || count < 3)) return vector_norm(cx, a, hg_i(2), out);
    if (!fro && strcmp(a[1].u.s, "nuc") != 0)
        return hg_fail(cx, HG_STATE, "linalg.matrix_norm: Order %s not supported.", a[1].u.s);
    if (count != 2) return hg_fail(cx, HG_STATE, "linalg.matrix_norm: dim must be a 2-tuple. Got %d dims", count);
    for (int i = 0; i < 2; i++) HG_TRY(hg_wrap_dim(cx, all ? i : a[2].u.ints[i], n, &at[i]));
    if (at[0] == at[1]) return hg_fail(cx, HG_STATE, "linalg.matrix_norm: dims must be different.");
    int64_t order[HG_MAX_DIM], n_order = 0;
    for (int i = 0; i < n; i++)
        if (i != at[0] && i != at[1]) order[n_order++] = i;
    order[n_order] = at[0], order[n_order + 1] = at[1];
    hg_scope s;
    hg_scope_begin(cx, &s);
    hg_tensor *x = a[0].u.t;
    if (hg_given(&a[4])) x = X(TO_COPY, T(x), a[4]);
    x = X(PERMUTE, T(x), hg_ints(order, n)), x = XK(1, SVD, T(x), hg_b(false), hg_b(true));
    x = X(SUM_DIM, T(x), hg_ints((int64_t[]){-1}, 1), hg_b(false));
    for (int i = 0; i < 2 && a[3].u.i; i++) x = X(UNSQUEEZE, T(x), hg_i(at[at[0] < at[1] ? i : !i]));
    return hg_scope_return(cx, &s, x, out);
}

hg_status hg_op_dist(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *away = NULL;
    hg_status st = hg_op_sub(cx, (hg_arg[]){a[0], a[1], hg_i(1)}, &away);
    if (st == HG_OK) st = norm(cx, away, hg_number_f(&a[2]), &all_dims, false, &all_dims, out);
    hg_release(cx, away);
    return st;
}
hg_status hg_d_dist(hg_ctx *cx, hg_back *b) {
    if (hg_number_f(ARG(2)) == 0) return HG_OK;
    for (int i = 1; i >= 0; i--) {
        if (!NEED(i)) continue;
        hg_tensor *away = X(SUB, T(IN(0)), T(IN(1)));
        hg_tensor *g = norm_gradient(cx, away, OUT(0), G, hg_number_f(ARG(2)), &all_dims);
        GIVE(i, i ? X(NEG, T(g)) : g);
    }
    return HG_OK;
}

/* ---- Logarithm of a sum of exponentials --------------------------------------------------------------------------------------------------- */

hg_status hg_op_logsumexp(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = NULL, *most = NULL, *e = NULL;
    hg_dims d, kept;
    hg_acc top = {.at = NULL}, acc = {.at = NULL};
    hg_dtype type = hg_float_type(cx, (hg_dtype)a[0].u.t->dtype), real = hg_real_dtype(type);
    HG_TRY(hg_read_dims(cx, a[0].u.t, &a[1], a[2].u.i != 0, &d));
    HG_TRY(hg_read_dims(cx, a[0].u.t, &a[1], true, &kept));
    HG_TRY(hg_raw_cast(cx, a[0].u.t, real, &t));
    hg_status st = hg_fold_run(cx, &hg_fold_max, t, &d, NULL, NULL, &top);
    for (int64_t i = 0; st == HG_OK && i < top.n; i++)
        if (isinf(doubles(&top)[i])) doubles(&top)[i] = 0;
    if (st == HG_OK) st = hg_acc_take(cx, &top, &kept, real, &most);
    if (st == HG_OK) st = hg_run(cx, &hg_k_sub, real, (hg_arg[]){hg_t(t), hg_t(most)}, 2, NULL, &e);
    if (st == HG_OK) st = hg_run(cx, &hg_k_exp, real, (hg_arg[]){hg_t(e)}, 1, NULL, &e);
    if (st == HG_OK) st = hg_fold_run(cx, &hg_fold_sum, e, &d, NULL, NULL, &acc);
    for (int64_t i = 0; st == HG_OK && i < acc.n; i++) doubles(&acc)[i] = log(doubles(&acc)[i]) + doubles(&top)[i];
    if (st == HG_OK) st = hg_acc_take(cx, &acc, &d, type, out);
    hg_acc_free(cx, &top), hg_acc_free(cx, &acc);
    hg_release(cx, e), hg_release(cx, most), hg_release(cx, t);
    return st;
}
hg_status hg_d_logsumexp(hg_ctx *cx, hg_back *b) {
    bool kept = ARG(2)->u.i != 0;
    hg_tensor *g = hg_x_keep_dims(cx, G, META(0), ARG(1), kept), *r = hg_x_keep_dims(cx, OUT(0), META(0), ARG(1), kept);
    GIVE(0, X(MUL, T(g), T(X(EXP, T(X(SUB, T(IN(0)), T(r)))))));
    return HG_OK;
}

/* ---- Logic ------------------------------------------------------------------------------------------------------------------------------------------ */

/* all and any over no dimension: `dim=()` means just that here. */
static hg_status elementwise(hg_ctx *cx, hg_tensor *t, hg_dtype type, hg_tensor **out) {
    hg_tensor *is_set = NULL;
    hg_status st = hg_run(cx, &hg_k_ne, (hg_dtype)t->dtype, (hg_arg[]){hg_t(t), hg_i(0)}, 2, NULL, &is_set);
    if (st == HG_OK) st = hg_raw_cast(cx, is_set, type, out);
    hg_release(cx, is_set);
    return st;
}

static hg_status counted(hg_ctx *cx, const hg_fold *fold, hg_tensor *t, const hg_arg *dim, bool keep, hg_dtype type,
                         hg_tensor **out) {
    hg_dims d;
    hg_status st = hg_read_dims(cx, t, dim, keep, &d);
    if (st == HG_OK && dim->kind == HG_A_INTS && dim->n == 0 && type != HG_I64) return elementwise(cx, t, type, out);
    return st == HG_OK ? hg_fold_to(cx, fold, t, &d, false, type, out) : st;
}

/* Whether all are, or any is, not zero: uint8 of uint8, else bool. */
static hg_dtype logic_type(const hg_arg *self) { return self->u.t->dtype == HG_U8 ? HG_U8 : HG_BOOL; }

hg_status hg_op_all(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return counted(cx, &hg_fold_all, a[0].u.t, &all_dims, false, logic_type(a), out);
}
hg_status hg_op_all_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return counted(cx, &hg_fold_all, a[0].u.t, &a[1], a[2].u.i != 0, logic_type(a), out);
}
hg_status hg_op_any(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return counted(cx, &hg_fold_any, a[0].u.t, &all_dims, false, logic_type(a), out);
}
hg_status hg_op_any_dim(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return counted(cx, &hg_fold_any, a[0].u.t, &a[1], a[2].u.i != 0, logic_type(a), out);
}
hg_status hg_op_count_nonzero(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return counted(cx, &hg_fold_count, a[0].u.t, &a[1], false, HG_I64, out);
}
