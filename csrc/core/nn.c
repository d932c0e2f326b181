/* What the ops of layers share: see nn_impl.h. */
#include "nn_impl.h"

#include <string.h>

hg_status hg_real(hg_ctx *cx, hg_tensor *t, hg_dtype d, hg_tensor **out) {
    hg_tensor *cast;
    *out = NULL;
    if (!t) return HG_OK;
    if (t->dtype == d && t->contiguous) return hg_retain(cx, *out = t), HG_OK;
    HG_TRY(hg_raw_cast(cx, t, d, &cast));
    hg_status st = hg_raw_contiguous(cx, cast, out);
    hg_release(cx, cast);
    return st;
}

hg_status hg_real_result(hg_ctx *cx, hg_tensor *work, hg_dtype d, hg_tensor **out) {
    hg_status st = hg_raw_cast(cx, work, d, out);
    hg_release(cx, work);
    return st;
}

hg_status hg_real_result_as(hg_ctx *cx, hg_tensor *work, hg_dtype d, hg_format f, hg_tensor **out) {
    if (f == HG_FORMAT_CONTIGUOUS) return hg_real_result(cx, work, d, out);
    hg_status st = hg_out_format(cx, out, d, work, f);
    if (st == HG_OK) st = hg_raw_copy(cx, *out, work);
    hg_release(cx, work);
    return st;
}

/* ---- Derivatives of fused derivatives ------------------------------------------------------------------------------------ */

enum { MAX_IN = 4 };

/* A tensor with t's values to differentiate by: with t's history behind it, or a leaf of its own. Borrowed from the scope. */
static hg_tensor *variable(hg_ctx *cx, hg_tensor *t) {
    hg_tensor *leaf;
    if (!t) return NULL;
    if (hg_tensor_requires_grad(t)) return X(ALIAS, T(t));
    hg_status st = hg_tensor_detach(cx, t, &leaf);
    if (st == HG_OK && !hg_scope_keep(cx, leaf)) return NULL;
    if (st == HG_OK) st = hg_tensor_set_requires_grad(cx, leaf, true);
    hg_scope_fail(cx, st);
    return st == HG_OK ? leaf : NULL;
}

static hg_status gradients(hg_ctx *cx, hg_tensor *const *roots, hg_tensor *const *grads, int n_roots, bool create,
                           hg_tensor *const *by, int n, hg_tensor **got) {
    HG_TRY(hg_backward(cx, roots, grads, n_roots, true, create, by, n, true, got));
    for (int i = 0; i < n; i++) hg_scope_keep(cx, got[i]);
    return hg_scope_ok(cx) ? HG_OK : cx->scope->status;
}

/* Gradients on: the second backward needs the graph of the first. */
static hg_status derive(hg_ctx *cx, hg_back *b, int n, const int *params, hg_formula formula, bool create) {
    hg_tensor *by[MAX_IN + 1], *first[MAX_IN], *second[MAX_IN + 1], *roots[MAX_IN], *grads[MAX_IN];
    int n_roots = 0;
    by[n] = variable(cx, IN(0)); /* grad, last */
    for (int i = 0; i < n; i++) {
        hg_tensor *t = params[i] < 0 ? by[-params[i]] : IN(params[i]);
        if (t && params[i] < 0) t = X(ZEROS, hg_ints(t->shape, t->n_dim), hg_d((hg_dtype)t->dtype));
        by[i] = variable(cx, t);
    }
    hg_tensor *result = formula(cx, b, by);
    if (!result || !hg_scope_ok(cx)) return HG_OK; /* the scope has the status */
    hg_tensor *wanted[MAX_IN];
    int which[MAX_IN], n_by = 0;
    for (int i = 0; i < n; i++)
        if (by[i]) wanted[n_by] = by[i], which[n_by++] = i;
    hg_tensor *got[MAX_IN];
    HG_TRY(gradients(cx, &result, &by[n], 1, true, wanted, n_by, got));
    memset(first, 0, sizeof first);
    for (int i = 0; i < n_by; i++) first[which[i]] = got[i];
    for (int i = 0; i < n; i++)
        if (b->grad[i] && first[i] && hg_tensor_requires_grad(first[i]))
            roots[n_roots] = first[i], grads[n_roots++] = b->grad[i];
    if (!n_roots) return HG_OK;
    hg_tensor *all[MAX_IN + 1] = {by[n]};
    for (int i = 0; i < n_by; i++) all[i + 1] = by[which[i]];
    HG_TRY(gradients(cx, roots, grads, n_roots, create, all, n_by + 1, second));
    GIVE(0, second[0]);
    for (int i = 0; i < n_by; i++)
        if (params[which[i]] > 0) GIVE(params[which[i]], second[i + 1]);
    return HG_OK;
}

hg_status hg_derive(hg_ctx *cx, hg_back *b, int n, const int *params, hg_formula formula) {
    bool create = cx->grad_enabled;
    cx->grad_enabled = true;
    hg_status st = derive(cx, b, n, params, formula, create);
    cx->grad_enabled = create;
    return st;
}
