/* How results lie in memory: see Note [Layouts] in layout_impl.h. */
#include "layout_impl.h"

#include <assert.h>
#include <string.h>

/* ---- Dense memory ----------------------------------------------------------------------------------------------------- */

bool hg_is_dense(const hg_tensor *t) {
    if (t->contiguous) return true;
    bool used[HG_MAX_DIM] = {false};
    int64_t step = 1;
    for (int done = 0; done < t->n_dim; done++) {
        int at = -1;
        for (int i = 0; i < t->n_dim && at < 0; i++)
            if (!used[i] && (t->shape[i] == 1 || t->stride[i] == step)) at = i;
        if (at < 0) return false;
        used[at] = true;
        step *= t->shape[at];
    }
    return true;
}

/* ---- Channels last ---------------------------------------------------------------------------------------------------- */

/* The dimensions from the inside out: channels first, then the places from the last on, then the batch. */
static bool channels_last_order(hg_format f, int n_dim, int order[HG_MAX_DIM]) {
    if (n_dim != (f == HG_FORMAT_CHANNELS_LAST ? 4 : 5)) return false;
    order[0] = 1;
    for (int i = 1; i < n_dim - 1; i++) order[i] = n_dim - i;
    order[n_dim - 1] = 0;
    return true;
}

bool hg_tensor_lies_as(const hg_tensor *t, hg_format f) {
    int order[HG_MAX_DIM];
    int64_t step = 1;
    if (f == HG_FORMAT_CONTIGUOUS || f == HG_FORMAT_PRESERVE) return t->contiguous;
    if (!channels_last_order(f, t->n_dim, order)) return false;
    for (int i = 0; i < t->n_dim; i++) {
        int at = order[i];
        if (t->shape[at] == 1) continue;
        if (t->stride[at] != step) return false;
        step *= t->shape[at];
    }
    return true;
}

/* Sizes of 1 make strides ambiguous; torch decides so, gaps between elements being no matter. */
static bool has_order_of(const hg_tensor *t, hg_format f) {
    int order[HG_MAX_DIM];
    int64_t least = 0;
    if (!channels_last_order(f, t->n_dim, order) || t->stride[1] == 0) return false;
    for (int i = 0; i < t->n_dim; i++) {
        int at = order[i];
        if (t->shape[at] == 0 || t->stride[at] < least || (at == 0 && least == t->stride[1])) return false;
        least = t->stride[at] * (t->shape[at] > 1 ? t->shape[at] : 1);
    }
    return true;
}

hg_format hg_tensor_format(const hg_tensor *t) {
    if (has_order_of(t, HG_FORMAT_CHANNELS_LAST)) return HG_FORMAT_CHANNELS_LAST;
    return has_order_of(t, HG_FORMAT_CHANNELS_LAST_3D) ? HG_FORMAT_CHANNELS_LAST_3D : HG_FORMAT_CONTIGUOUS;
}

/* Dense strides, order[0] being the finest dimension. */
static void strides_in_order(const int *order, int n_dim, const int64_t *shape, int64_t *stride) {
    int64_t step = 1;
    for (int i = 0; i < n_dim; i++) {
        stride[order[i]] = step;
        if (shape[order[i]] > 1) step *= shape[order[i]];
    }
}

/* ---- Following operands ----------------------------------------------------------------------------------------------- */

/* Should `inner`, now the finer dimension of the two, change places with `outer`? 1: yes, -1: no, 0: nobody says. */
static int compare(const hg_operand_strides *of, int n, const int64_t *shape, int inner, int outer) {
    for (int k = 0; k < n; k++) {
        int64_t a = of[k].stride[inner], b = of[k].stride[outer];
        if (a == 0 || b == 0) continue;
        if (a != b) return a < b ? -1 : 1;
        if (shape[inner] > shape[outer]) return 1;
    }
    return 0;
}

/* order[0] is the finest dimension: by insertion, as which of several undecided orders comes out depends on it. */
static void sort_dims(const hg_operand_strides *of, int n, int n_dim, const int64_t *shape, int *order) {
    for (int i = 0; i < n_dim; i++) order[i] = n_dim - 1 - i;
    for (int i = 1; i < n_dim; i++)
        for (int at = i, below = i - 1; below >= 0; below--) {
            int c = compare(of, n, shape, order[below], order[at]);
            if (c < 0) break;
            if (c == 0) continue;
            int d = order[below];
            order[below] = order[at], order[at] = d, at = below;
        }
}

void hg_ordered_strides(const hg_operand_strides *of, int n, int n_dim, const int64_t *shape, int64_t *stride) {
    int order[HG_MAX_DIM];
    sort_dims(of, n, n_dim, shape, order);
    strides_in_order(order, n_dim, shape, stride);
}

void hg_kept_strides(const hg_tensor *t, int64_t *stride) {
    hg_operand_strides of;
    if (hg_is_dense(t)) {
        memcpy(stride, t->stride, t->n_dim * sizeof *stride);
        return;
    }
    memcpy(of.stride, t->stride, t->n_dim * sizeof *stride);
    hg_ordered_strides(&of, 1, t->n_dim, t->shape, stride);
}

static bool are_equal(const int64_t *a, const int64_t *b, int n) {
    return n == 0 || memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

/* Operands of one shape that agree on how it lies need no ordering. */
static bool agree(const hg_tensor *of, int n, int n_dim, const int64_t *shape, int64_t *stride) {
    const hg_tensor *last = NULL;
    bool contiguous = true, channels_last = true, same = true;
    int order[HG_MAX_DIM];
    for (const hg_tensor *t = of; t < of + n; t++) {
        if (t->n_dim != n_dim || !are_equal(t->shape, shape, n_dim)) return false;
        contiguous &= t->contiguous;
        channels_last &= hg_tensor_lies_as(t, HG_FORMAT_CHANNELS_LAST);
        same &= hg_is_dense(t) && (!last || are_equal(t->stride, last->stride, n_dim));
        last = t;
    }
    if (contiguous)
        hg_contiguous_strides(n_dim, shape, stride);
    else if (channels_last && channels_last_order(HG_FORMAT_CHANNELS_LAST, n_dim, order))
        strides_in_order(order, n_dim, shape, stride);
    else if (same && n_dim)
        memcpy(stride, last->stride, (size_t)n_dim * sizeof *stride);
    return contiguous || channels_last || same;
}

static void order_jointly(const hg_tensor *from, int n_from, int n_dim, const int64_t *shape, int64_t *stride) {
    hg_operand_strides of[HG_MAX_OPERANDS];
    int n = 0;
    for (const hg_tensor *t = from; t < from + n_from; t++) {
        int lead = n_dim - t->n_dim;
        if (!t->n_dim) continue;
        assert(lead >= 0);
        for (int j = 0; j < n_dim; j++) of[n].stride[j] = 0;
        for (int j = 0; j < t->n_dim; j++)
            if (t->shape[j] != 1 || shape[lead + j] == 1) of[n].stride[lead + j] = t->stride[j];
        n++;
    }
    hg_ordered_strides(of, n, n_dim, shape, stride);
}

/* stride[n_dim]: how the result of an elementwise op on `in` lies, `shape` being what they broadcast to. */
static void joint_strides(const hg_arg *in, int n, hg_dtype d, bool first_bool, int n_dim, const int64_t *shape,
                          int64_t *stride) {
    hg_tensor of[HG_MAX_OPERANDS];
    int64_t kept[HG_MAX_DIM], room[HG_MAX_OPERANDS][HG_MAX_DIM];
    for (int i = 0; i < n; i++) {
        if (in[i].kind != HG_A_TENSOR) {
            of[i] = (hg_tensor){.numel = 1, .contiguous = true, .plain = true};
            continue;
        }
        assert(in[i].u.t);
        of[i] = *in[i].u.t;
        if (of[i].plain || of[i].dtype == (i == 0 && first_bool ? HG_BOOL : d)) continue;
        hg_kept_strides(&of[i], kept); /* it is the cast one that takes part */
        of[i].stride = room[i];
        hg_tensor_restride(&of[i], kept);
    }
    if (!agree(of, n, n_dim, shape, stride)) order_jointly(of, n, n_dim, shape, stride);
}

/* ---- Outputs ---------------------------------------------------------------------------------------------------------- */

hg_status hg_out_kept(hg_ctx *cx, hg_tensor **out, hg_dtype d, const hg_tensor *t) {
    bool fresh = !*out;
    hg_status st = hg_out(cx, out, d, t->n_dim, t->shape);
    int64_t stride[HG_MAX_DIM];
    if (st == HG_OK && fresh && !t->plain) hg_kept_strides(t, stride), hg_tensor_restride(*out, stride);
    return st;
}

hg_status hg_out_joint(hg_ctx *cx, hg_tensor **out, hg_dtype result, const hg_arg *in, int n_in, hg_dtype d,
                       bool first_bool) {
    int n_dim = 0;
    int64_t shape[HG_MAX_DIM] = {0}, stride[HG_MAX_DIM];
    bool fresh = !*out, plain = true;
    hg_status st = HG_OK;
    for (int i = 0; i < n_in; i++) {
        const hg_tensor *t = in[i].kind == HG_A_TENSOR ? in[i].u.t : NULL;
        if (t && (st = hg_broadcast(cx, n_dim, shape, t->n_dim, t->shape, &n_dim, shape)) != HG_OK) return st;
        if (t) plain &= t->plain;
    }
    if ((st = hg_out(cx, out, result, n_dim, shape)) != HG_OK || !fresh || plain) return st;
    joint_strides(in, n_in, d, first_bool, n_dim, shape, stride);
    hg_tensor_restride(*out, stride);
    return HG_OK;
}

hg_status hg_reformat(hg_ctx *cx, hg_tensor *t, hg_format f) {
    int order[HG_MAX_DIM];
    int64_t stride[HG_MAX_DIM];
    if (f == HG_FORMAT_CONTIGUOUS || f == HG_FORMAT_PRESERVE) return HG_OK;
    if (!channels_last_order(f, t->n_dim, order))
        return hg_fail(cx, HG_STATE, "required rank %d tensor to use channels_last%s format",
                       f == HG_FORMAT_CHANNELS_LAST ? 4 : 5, f == HG_FORMAT_CHANNELS_LAST ? "" : "_3d");
    strides_in_order(order, t->n_dim, t->shape, stride);
    hg_tensor_restride(t, stride);
    return HG_OK;
}

hg_status hg_out_format(hg_ctx *cx, hg_tensor **out, hg_dtype d, const hg_tensor *t, hg_format f) {
    if (f == HG_FORMAT_PRESERVE) return hg_out_kept(cx, out, d, t);
    bool fresh = !*out;
    hg_status st = hg_out(cx, out, d, t->n_dim, t->shape);
    return st == HG_OK && fresh ? hg_reformat(cx, *out, f) : st;
}
