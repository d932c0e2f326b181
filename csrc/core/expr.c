/* Expressions: see Note [Expressions] in op_impl.h. */
#include "op_impl.h"

#include <string.h>

void hg_scope_begin(hg_ctx *cx, hg_scope *s) {
    s->outer = cx->scope;
    s->at = s->few;
    s->n = 0, s->cap = sizeof s->few / sizeof *s->few;
    s->status = HG_OK;
    s->quiet = false;
    cx->scope = s;
}

void hg_scope_begin_quiet(hg_ctx *cx, hg_scope *s) {
    hg_scope_begin(cx, s);
    s->quiet = true, s->grad_before = cx->grad_enabled;
    cx->grad_enabled = false;
}

hg_status hg_scope_end(hg_ctx *cx, hg_scope *s) {
    cx->scope = s->outer;
    for (uint32_t i = 0; i < s->n; i++) hg_release(cx, s->at[i]);
    if (s->at != s->few) hg_mem_free(cx->lib, s->at);
    if (s->quiet) cx->grad_enabled = s->grad_before;
    return s->status;
}

hg_status hg_scope_fail(hg_ctx *cx, hg_status st) {
    if (cx->scope->status == HG_OK) cx->scope->status = st;
    return cx->scope->status;
}

hg_tensor *hg_scope_keep_more(hg_ctx *cx, hg_tensor *t) {
    hg_scope *s = cx->scope;
    if (s->n == s->cap) {
        hg_tensor **at = hg_mem(cx, 2 * s->cap * sizeof *at);
        if (!at) {
            hg_release(cx, t);
            hg_scope_fail(cx, HG_MEMORY);
            return NULL;
        }
        memcpy(at, s->at, s->n * sizeof *at);
        if (s->at != s->few) hg_mem_free(cx->lib, s->at);
        s->at = at, s->cap *= 2;
    }
    return s->at[s->n++] = t;
}

hg_status hg_scope_return(hg_ctx *cx, hg_scope *s, hg_tensor *result, hg_tensor **out) {
    if (s->status == HG_OK && result) hg_retain(cx, result), *out = result;
    return hg_scope_end(cx, s);
}

/* Is every operand there? One that is not, though nothing has failed, is our bug. */
static bool all_there(hg_ctx *cx, int op, const hg_arg *a, int n) {
    for (int i = 0; i < n; i++)
        if (a[i].kind == HG_A_TENSOR && !a[i].u.t) {
            hg_scope_fail(
                cx, hg_fail(cx, HG_STATE, "internal: operand %d of %s is missing", i, hg_op_at(cx->lib, op)->name));
            return false;
        }
    return true;
}

/* In torch's C++ 1 - x is a difference of tensors. */
static int with_number(int op, const hg_arg *a, int n, hg_arg swapped[2]) {
    if (n != 2 || a[0].kind != HG_A_TENSOR || !hg_is_number(&a[1])) return op;
    switch (op) {
    case HG_OP_ADD: return HG_OP_ADD_SCALAR;
    case HG_OP_SUB: return HG_OP_SUB_SCALAR;
    case HG_OP_MUL: return HG_OP_MUL_SCALAR;
    case HG_OP_DIV: return HG_OP_DIV_SCALAR;
    case HG_OP_RSUB_SCALAR: swapped[0] = a[1], swapped[1] = a[0]; return HG_OP_SUB;
    default: return op;
    }
}

static hg_tensor *call(hg_ctx *cx, int op, const hg_arg *a, int n, int k) {
    hg_tensor *out[HG_MAX_OUT] = {NULL};
    if (!hg_scope_ok(cx) || !all_there(cx, op, a, n)) return NULL;
    hg_status st = hg_call_op(cx, op, a, n, out);
    if (st != HG_OK) return hg_scope_fail(cx, st), NULL;
    for (int i = 0; i < cx->lib->ops[op]->n_out; i++)
        if (i != k && out[i]) hg_release(cx, out[i]);
    return hg_scope_keep(cx, out[k]);
}

hg_tensor *hg_x_out(hg_ctx *cx, int op, const hg_arg *a, int n, int k) {
    hg_arg swapped[2];
    int by_number = with_number(op, a, n, swapped);
    return call(cx, by_number, op != by_number && by_number == HG_OP_SUB ? swapped : a, n, k);
}

hg_tensor *hg_x_number(hg_ctx *cx, int op, const hg_arg *a) { return call(cx, op, a, 2, 0); }

hg_tensor *hg_x(hg_ctx *cx, int op, const hg_arg *a, int n) { return hg_x_out(cx, op, a, n, 0); }
