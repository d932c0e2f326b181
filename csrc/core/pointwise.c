/* Running an elementwise kernel over tensors and numbers: shapes, dtypes, and the way through chunks where they differ. */
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <assert.h>

enum { CHUNK = 256, MAX_IN = HG_ITER_MAX - 1 };

/* What a chunked run converts: NULL where the dtypes agree. */
typedef struct chunked {
    hg_loop loop;
    const hg_extra_args *extra;
    int n_in;
    hg_convert store, load[MAX_IN];
    int64_t size, result_size, in_size[MAX_IN]; /* bytes of an element: of the result as computed, and of operands */
} chunked;

static void run_chunks(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const chunked *c = arg;
    double room[HG_ITER_MAX][CHUNK];
    char *q[HG_ITER_MAX];
    int64_t q_step[HG_ITER_MAX];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t m = n - at < CHUNK ? n - at : CHUNK;
        for (int k = 0; k < c->n_in; k++) {
            char *from = p[k + 1] + at * step[k + 1];
            if (!c->load[k]) {
                q[k + 1] = from, q_step[k + 1] = step[k + 1];
                continue;
            }
            bool one = step[k + 1] == 0;
            q[k + 1] = (char *)room[k + 1], q_step[k + 1] = one ? 0 : c->in_size[k];
            c->load[k](one ? 1 : m, q[k + 1], c->in_size[k], from, step[k + 1]);
        }
        char *to = p[0] + at * step[0];
        q[0] = c->store ? (char *)room[0] : to;
        q_step[0] = c->store ? c->result_size : step[0];
        c->loop(m, q, q_step, c->extra);
        if (c->store) c->store(m, to, step[0], q[0], q_step[0]);
    }
}

/* There is no loop for the dtype: what torch finds wrong before that comes first. */
static hg_status refuse(hg_ctx *cx, const hg_kernel *k, hg_dtype d, const hg_arg *in, int n_in, hg_tensor *out) {
    int n_dim = 0;
    int64_t shape[HG_MAX_DIM];
    hg_status st = HG_OK;
    for (int i = 0; i < n_in && st == HG_OK; i++)
        if (in[i].kind == HG_A_TENSOR)
            st = hg_broadcast(cx, n_dim, shape, in[i].u.t->n_dim, in[i].u.t->shape, &n_dim, shape);
    if (st == HG_OK && out) st = hg_out(cx, &out, k->to_bool ? HG_BOOL : d, n_dim, shape);
    return st == HG_OK ? hg_no_kernel(cx, k->name, d) : st;
}

static inline bool is_plain(const hg_arg *a, hg_dtype d) {
    return a->kind == HG_A_TENSOR && a->u.t->dtype == d && a->u.t->plain;
}

/* One number, expanded. */
static inline bool is_still(const hg_tensor *t) {
    for (int i = 0; i < t->n_dim; i++)
        if (t->stride[i]) return false;
    return t->n_dim != 0;
}

/* Is the first operand the result, and does no other one lie in its memory, but for itself? */
static inline bool overwrites_first(const hg_tensor *out, hg_dtype result, const hg_arg *in, int n_in) {
    const hg_tensor *y = n_in == 2 && in[1].kind == HG_A_TENSOR ? in[1].u.t : NULL;
    return out == in[0].u.t && out->dtype == result && (!y || y == out || y->storage != out->storage) &&
           !out->storage->free && !(y && y->storage->free);
}

/* Two operands, of which one has half precision and a number stands beside it: torch rounds the number as what it goes
   with, but for a product and a quotient. */
static const hg_arg *rounded(const hg_kernel *k, hg_dtype d, const hg_arg *in, hg_arg *at) {
    if (k == &hg_k_mul || k == &hg_k_div) return in;
    for (int i = 0; i < 2; i++) {
        const hg_tensor *t = in[i].kind == HG_A_TENSOR ? in[i].u.t : NULL;
        at[i] = in[i];
        if (t ? t->n_dim || (t->dtype != HG_F32 && t->dtype != HG_F64) : in[i].kind == HG_A_BOOL) continue;
        double f = !t ? hg_number_f(&in[i]) : t->dtype == HG_F32 ? *(float *)t->data : *(double *)t->data;
        at[i] = hg_f(hg_halved(d, f));
    }
    return at;
}

/* One or two tensors as the kernel wants them, or one and a number: what nearly all calls are. */
static inline bool is_simple(const hg_kernel *k, hg_dtype c, hg_dtype result, const hg_arg *in, int n_in,
                             const hg_tensor *out) {
    return n_in <= 2 && is_plain(&in[0], c) && in[0].u.t->numel <= HG_GRAIN && !k->first_bool &&
           (n_in == 1 || in[1].kind != HG_A_TENSOR || (is_plain(&in[1], c) && hg_same_shape(in[0].u.t, in[1].u.t))) &&
           (!out || overwrites_first(out, result, in, n_in));
}

static inline hg_status run_simple(hg_ctx *cx, hg_loop loop, hg_dtype c, hg_dtype result, const hg_arg *in, int n_in,
                                   const hg_extra_args *extra, hg_tensor **out) {
    const hg_tensor *x = in[0].u.t;
    bool with_number = n_in == 2 && in[1].kind != HG_A_TENSOR;
    int64_t size = hg_dtypes[c].size;
    double second;
    if (with_number) hg_put_number(in[1], c, &second);
    hg_status st = *out ? HG_OK : hg_tensor_empty_like(cx, x, result, out);
    if (st != HG_OK) return st;
    char *p[HG_ITER_MAX] = {(*out)->data, x->data, with_number ? (char *)&second : in[n_in - 1].u.t->data};
    int64_t step[HG_ITER_MAX] = {hg_dtypes[result].size, size, with_number ? 0 : size};
    if (x->numel) loop(x->numel, p, step, extra);
    return HG_OK;
}

/* The operand that has the result's shape, if one has; NULL: there is no tensor. */
static inline const hg_tensor *find_whole(const hg_arg *in, int n_in) {
    const hg_tensor *whole = NULL;
    for (int i = 0; i < n_in; i++) {
        if (in[i].kind != HG_A_TENSOR) continue;
        const hg_tensor *t = in[i].u.t;
        assert(t);
        if (!whole || (whole->numel == 1 && t->n_dim >= whole->n_dim) ||
            (!whole->plain && t->plain && hg_same_shape(whole, t)))
            whole = t;
    }
    return whole;
}

static inline hg_dtype dtype_of_operand(const hg_kernel *k, hg_dtype c, int i) {
    return i == 0 && k->first_bool ? HG_BOOL : c;
}

/* Is everything plain, of the dtype computed in, and of one shape or a single number, expanded or not? */
static inline bool is_straight(const hg_kernel *k, hg_dtype c, const hg_arg *in, int n_in, const hg_tensor *whole,
                               const hg_tensor *out) {
    bool straight = whole && (!out || out->contiguous);
    for (int i = 0; i < n_in && straight; i++) {
        if (in[i].kind != HG_A_TENSOR) continue;
        const hg_tensor *t = in[i].u.t;
        assert(t);
        straight = t->dtype == dtype_of_operand(k, c, i) &&
                   (t == whole || hg_same_shape(whole, t) ? t->plain || (whole->plain && is_still(t))
                                                          : t->plain && t->numel == 1 && t->n_dim <= whole->n_dim);
    }
    return straight;
}

/* One run of the loop over all of it. */
static inline hg_status run_straight(hg_ctx *cx, hg_loop loop, const hg_arg *in, int n_in, const double *number,
                                     const hg_tensor *whole, const hg_extra_args *extra, hg_tensor *out) {
    hg_iter it; /* not zeroed: small tensors would notice */
    it.n_operands = n_in + 1, it.n_dim = 1, it.shape[0] = whole->numel;
    it.p[0] = out->data, it.size[0] = it.step[0][0] = (int64_t)hg_tensor_itemsize(out);
    for (int i = 0; i < n_in; i++) {
        const hg_tensor *t = in[i].kind == HG_A_TENSOR ? in[i].u.t : NULL;
        it.p[i + 1] = t ? t->data : (char *)&number[i];
        it.step[0][i + 1] = t && t->numel == whole->numel && t->plain ? (int64_t)hg_tensor_itemsize(t) : 0;
    }
    if (whole->numel > CHUNK)
        hg_iter_work_loop(cx, &it, loop, extra);
    else if (whole->numel)
        loop(whole->numel, it.p, it.step[0], extra);
    return HG_OK;
}

hg_status hg_run(hg_ctx *cx, const hg_kernel *k, hg_dtype d, const hg_arg *in, int n_in, const hg_extra_args *extra,
                 hg_tensor **out) {
    hg_dtype c = (d == HG_F16 || d == HG_BF16) && !k->loop[d] ? HG_F32 : d; /* computed in */
    hg_loop loop = k->loop[c];
    hg_arg near[2];
    if (!loop) return refuse(cx, k, d, in, n_in, *out);
    if (c != d && n_in == 2) in = rounded(k, d, in, near);
    hg_dtype result = k->to_bool ? HG_BOOL : d, computed = k->to_bool ? HG_BOOL : c;
    if (c == d && is_simple(k, c, result, in, n_in, *out)) return run_simple(cx, loop, c, result, in, n_in, extra, out);

    hg_status st = HG_OK;
    double number[MAX_IN];
    for (int i = 0; i < n_in; i++) {
        if (in[i].kind != HG_A_TENSOR)
            hg_put_number(in[i], dtype_of_operand(k, c, i), &number[i]);
        else if (*out && (st = hg_check_overlap(cx, *out, in[i].u.t)) != HG_OK) /* before shapes, as in torch */
            return st;
    }
    const hg_tensor *whole = find_whole(in, n_in);
    if (is_straight(k, c, in, n_in, whole, *out)) {
        st = !*out ? hg_tensor_empty_like(cx, whole, result, out) : hg_out(cx, out, result, whole->n_dim, whole->shape);
        if (st != HG_OK) return st;
        if ((*out)->dtype == computed) return run_straight(cx, loop, in, n_in, number, whole, extra, *out);
    }

    if ((st = hg_out_joint(cx, out, result, in, n_in, d, k->first_bool)) != HG_OK) return st;
    hg_tensor *to = *out;
    if (to->numel == 0) return HG_OK;

    chunked run = {.loop = loop, .extra = extra, .n_in = n_in, .result_size = hg_dtypes[computed].size};
    bool converts = false;
    hg_iter it;
    hg_iter_begin(&it, to->n_dim, to->shape);
    hg_iter_add_tensor(&it, to);
    if (to->dtype != computed) run.store = hg_converter((hg_dtype)to->dtype, computed), converts = true;
    for (int i = 0; i < n_in; i++) {
        hg_dtype wanted = dtype_of_operand(k, c, i);
        run.in_size[i] = hg_dtypes[wanted].size;
        if (in[i].kind != HG_A_TENSOR) {
            hg_iter_add(&it, &number[i], 0, 0, NULL, NULL);
            continue;
        }
        const hg_tensor *t = in[i].u.t;
        assert(t);
        hg_iter_add_tensor(&it, t);
        if (t->dtype != wanted) run.load[i] = hg_converter(wanted, (hg_dtype)t->dtype), converts = true;
    }
    hg_iter_coalesce(&it);
    if (!hg_iter_join(&it)) hg_iter_lengthen(&it);
    if (converts)
        hg_iter_work(cx, &it, run_chunks, &run);
    else
        hg_iter_work_loop(cx, &it, loop, extra);
    return HG_OK;
}

/* Note [Plain calls]
   Small programs call elementwise ops on float32 tensors as they are made, of one shape, or on one and a number. There these
   forwards are their kernels and no more: what they, and hg_run(), ask of their arguments is answered here at once. */
static const struct plain_op {
    hg_status (*forward)(hg_ctx *cx, const hg_arg *a, hg_tensor **out);
    const hg_kernel *kernel;
    uint8_t n;
} plain_ops[] = {
#define PLAIN(name, n)                                                                                                 \
    { hg_op_##name, &hg_k_##name, n }
    PLAIN(add, 2),
    PLAIN(sub, 2),
    PLAIN(mul, 2),
    PLAIN(div, 2),
    PLAIN(eq, 2),
    PLAIN(ne, 2),
    PLAIN(lt, 2),
    PLAIN(le, 2),
    PLAIN(gt, 2),
    PLAIN(ge, 2),
    PLAIN(neg, 1),
    PLAIN(abs, 1),
    PLAIN(exp, 1),
    PLAIN(log, 1),
    PLAIN(sqrt, 1),
    PLAIN(sin, 1),
    PLAIN(cos, 1),
    PLAIN(tanh, 1),
    PLAIN(sigmoid, 1),
    PLAIN(relu, 1),
    PLAIN(silu, 1),
    PLAIN(sigmoid_backward, 2),
    PLAIN(tanh_backward, 2),
#undef PLAIN
};

void hg_plan_plain(hg_op_info *info) {
    for (size_t i = 0; i < sizeof plain_ops / sizeof *plain_ops; i++)
        if (info->op->forward == plain_ops[i].forward)
            info->plain = plain_ops[i].kernel, info->n_plain = plain_ops[i].n;
}

hg_status hg_run_plain(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor **out) {
    const hg_kernel *k = info->plain;
    const int64_t size = sizeof(float);
    const hg_tensor *x = a[0].u.t;
    char *p[HG_ITER_MAX];
    int64_t step[HG_ITER_MAX];
    float number;
    if (!is_plain(&a[0], HG_F32) || x->numel > HG_GRAIN) return HG_OK;
    p[1] = x->data, step[1] = size;
    if (info->n_plain == 2) {
        if (is_plain(&a[1], HG_F32)) {
            if (!hg_same_shape(x, a[1].u.t)) return HG_OK;
            p[2] = a[1].u.t->data, step[2] = size;
        } else {
            if (a[1].kind != HG_A_FLOAT && a[1].kind != HG_A_INT) return HG_OK;
            number = a[1].kind == HG_A_FLOAT ? (float)a[1].u.f : (float)a[1].u.i;
            p[2] = (char *)&number, step[2] = 0;
        }
    }
    hg_status st = hg_tensor_empty_like(cx, x, k->to_bool ? HG_BOOL : HG_F32, out);
    if (st != HG_OK) return st;
    p[0] = (*out)->data, step[0] = k->to_bool ? 1 : size;
    if (x->numel) k->loop[HG_F32](x->numel, p, step, NULL);
    return HG_OK;
}

bool hg_raw_add_plain(hg_tensor *to, const hg_tensor *from) {
    hg_loop loop = hg_k_add.loop[to->dtype];
    if (!loop || to->dtype != from->dtype || !to->plain || !from->plain || to->numel > HG_GRAIN ||
        to->storage == from->storage || to->storage->free || from->storage->free || !hg_same_shape(to, from))
        return false;
    int64_t size = hg_dtypes[to->dtype].size;
    char *p[HG_ITER_MAX]; /* the rest of them nobody reads */
    int64_t step[HG_ITER_MAX];
    p[0] = p[1] = to->data, p[2] = from->data;
    step[0] = step[1] = step[2] = size;
    if (to->numel) loop(to->numel, p, step, NULL);
    return true;
}
