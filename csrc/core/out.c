/* out=: memory that the caller has for a result. */
#include "k_impl.h"

#include <string.h>

/* Note [Given outputs]
   The result is computed as ever and copied to what was given, which takes the result's shape where it has another. Elementwise
   ops cast to its dtype where that loses no kind of number; all others, and those that compute in the dtype of their one
   operand, refuse another dtype than the result's. Rows with HG_ROW_OTHER_OUT do as the other kind does. */
static bool is_elementwise(const hg_op_info *op) { return op->id < HG_OP_SUM; }
static bool creates(const hg_op_info *op) { return op->id >= HG_OP_EMPTY && op->id < HG_OP_MULTINOMIAL; }

static bool casts(const hg_op_info *op) {
    return op->n_out == 1 && is_elementwise(op) != !!(op->op->flags & HG_ROW_OTHER_OUT);
}

static hg_status check_dtype(hg_ctx *cx, const hg_op_info *op, const hg_tensor *result, const hg_tensor *out) {
    char had[16], wanted[16];
    if (out->dtype == result->dtype || creates(op)) return HG_OK;
    if (casts(op)) return hg_check_cast(cx, (hg_dtype)result->dtype, (hg_dtype)out->dtype);
    return hg_fail(cx, HG_STATE, "%s(): Expected out tensor to have dtype %s, but got %s instead", op->name,
                   hg_dtype_word((hg_dtype)result->dtype, wanted), hg_dtype_word((hg_dtype)out->dtype, had));
}

/* Does PyTorch's kernel write while it reads elsewhere, so that an argument cannot be the output either? */
static bool keeps_apart(const hg_op_info *op) {
    return (op->id >= HG_OP_CAT && op->id < HG_OP_ATLEAST_1D) || op->id == HG_OP_GATHER ||
           op->id == HG_OP_INDEX_SELECT || op->id == HG_OP_TAKE || op->id == HG_OP_TAKE_ALONG_DIM;
}

static hg_status check_arg(hg_ctx *cx, const hg_op_info *op, const hg_tensor *out, const hg_tensor *in) {
    hg_status st = in ? hg_check_overlap(cx, out, in) : HG_OK;
    return st == HG_OK && in && keeps_apart(op) ? hg_check_apart(cx, out, in) : st;
}

hg_status hg_check_out(hg_ctx *cx, const hg_op_info *op, const hg_arg *a, const hg_tensor *out) {
    hg_status st = HG_OK;
    if (!is_elementwise(op) && (op->id < HG_OP_CAT || op->id >= HG_OP_MM)) return HG_OK;
    for (int i = 0; i < op->n_params && st == HG_OK; i++) {
        if (a[i].kind == HG_A_TENSOR) st = check_arg(cx, op, out, a[i].u.t);
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n && st == HG_OK; j++)
            st = check_arg(cx, op, out, a[i].u.ts[j]);
    }
    return st;
}

/* Gives `out` the result's shape, in the memory it has where that is enough. */
static hg_status reshape_out(hg_ctx *cx, const hg_op_info *op, const hg_tensor *result, hg_tensor *out) {
    char had[256], wanted[256];
    hg_tensor *fresh = NULL, *there;
    hg_status st = HG_OK;
    if (out->numel && (!creates(op) || !strcmp(op->name, "arange")))
        st = hg_warn(cx, "UserWarning",
                     "An output with one or more elements was resized since it had shape %s, which does not match the "
                     "required output shape %s. Resize it with t.resize_(0) before it is reused",
                     hg_show_shape(out, had), hg_show_shape(result, wanted));
    if (st != HG_OK) return st;
    st = hg_tensor_empty(cx, (hg_dtype)out->dtype, result->n_dim, result->shape, &fresh);
    if (st != HG_OK) return st;
    int64_t at = hg_tensor_offset(out);
    size_t bytes = (size_t)(at + fresh->numel) * hg_tensor_itemsize(out);
    bool fits = out->storage && hg_storage_own(out->storage)->size >= bytes;
    st = hg_tensor_alias(cx, fits ? out : fresh, result->n_dim, result->shape,
                         hg_is_dense(result) ? result->stride : fresh->stride, fits ? at : 0, &there);
    hg_release(cx, fresh);
    if (st != HG_OK) return st;
    st = hg_tensor_set_data(cx, out, there);
    hg_release(cx, there);
    return st;
}

hg_status hg_put_out(hg_ctx *cx, const hg_op_info *op, hg_tensor *result, hg_tensor *out) {
    hg_status st = check_dtype(cx, op, result, out);
    if (st == HG_OK && !creates(op) && hg_is_meta(out) != hg_is_meta(result))
        st = hg_fail(cx, HG_STATE, "%s(): out is on another device than the result", op->name);
    if (st == HG_OK && !hg_same_shape(result, out)) st = reshape_out(cx, op, result, out);
    return st == HG_OK ? hg_call_inplace(cx, HG_OP_COPY_, (hg_arg[]){hg_t(out), hg_t(result)}, 2) : st;
}
