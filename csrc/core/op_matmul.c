/* Products of matrices and vectors: the recorded ones (mm, bmm, mv, dot, addmm ...) and those made of them (matmul, linear). */
#include "autograd_impl.h"
#include "cpu_impl.h"
#include "gemm_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <string.h>

#define SELF (a[0].u.t)

/* ---- Raw products --------------------------------------------------------------------------------------------------------- */

/* A stack of matrices in memory as a product wants it: rows of unit stride, or columns (then `t`). */
typedef struct operand {
    hg_tensor *held; /* owned */
    const char *data;
    int64_t ld, batch; /* elements: from row to row (or column to column), from matrix to matrix */
    bool t;
} operand;

/* x is (batch, rows, cols), of the dtype to compute in; copied only where neither its rows nor its columns are packed. */
/* Does a matrix with these sizes and strides lie by rows or by columns, as BLAS reads one? */
static bool lies_well(int64_t rows, int64_t cols, int64_t rs, int64_t cs, operand *o) {
    bool by_rows = (cs == 1 || cols == 1) && (rows == 1 || rs >= (cols > 1 ? cols : 1));
    bool by_cols = (rs == 1 || rows == 1) && (cols == 1 || cs >= (rows > 1 ? rows : 1));
    if (!by_rows && !by_cols) return false;
    o->t = !by_rows;
    o->ld = by_rows ? (rows == 1 ? cols : rs) : (cols == 1 ? rows : cs);
    if (o->ld < 1) o->ld = 1;
    return true;
}

static hg_status as_operand(hg_ctx *cx, hg_tensor *x, operand *o) {
    int64_t cols = x->shape[2];
    if (lies_well(x->shape[1], cols, x->stride[1], x->stride[2], o)) {
        hg_retain(cx, o->held = x);
    } else {
        hg_status st = hg_raw_contiguous(cx, x, &o->held);
        if (st != HG_OK) return st;
        o->t = false, o->ld = cols > 1 ? cols : 1;
    }
    o->data = o->held->data, o->batch = o->held->stride[0];
    return HG_OK;
}

/* Products of integers: nobody's hot path. r = r * beta + alpha * x y */
HG_SMALL static void int_product(const hg_tensor *x, const hg_tensor *y, hg_tensor *r, int64_t beta, int64_t alpha) {
    int64_t n_batch = r->shape[0], m = r->shape[1], n = r->shape[2], k = x->shape[2];
    HG_BY_DTYPE(
        r->dtype,
        for (int64_t b = 0; b < n_batch; b++) for (int64_t i = 0; i < m; i++) for (int64_t j = 0; j < n; j++) {
            const E *p = (const E *)(void *)x->data + b * x->stride[0] + i * x->stride[1];
            const E *q = (const E *)(void *)y->data + b * y->stride[0] + j * y->stride[2];
            A sum = 0;
            for (int64_t l = 0; l < k; l++) sum += LOAD(p[l * x->stride[2]]) * LOAD(q[l * y->stride[1]]);
            E *c = (E *)(void *)r->data + (b * m + i) * n + j;
            *c = STORE((beta ? LOAD(*c) * (A)beta : 0) + (A)alpha * sum);
        })
}

/* A raw view of t as a stack of matrices with these sizes and strides. New. */
static hg_status stack_view(hg_ctx *cx, const hg_tensor *t, const int64_t shape[3], const int64_t stride[3],
                            hg_tensor **out) {
    return hg_raw_view(cx, t, 3, shape, stride, 0, out);
}

/* One row for all, as a bias is? */
static bool is_row_of(const hg_tensor *add, hg_dtype d, int64_t n) {
    return add->dtype == d && add->n_dim == 1 && add->numel == n && (n == 1 || add->stride[0] == 1);
}

/* out = beta * add + alpha * x y, where x is (b,m,k) and y (b,k,n), of one dtype, and out has `shape` of b*m*n elements;
   `add`, which may be NULL, is broadcast to it. Fails for bool in the name of `kernel`; NULL: bool is fine. The one place
   where matrices are multiplied. */
static hg_status product(hg_ctx *cx, const char *kernel, hg_tensor *x, hg_tensor *y, hg_tensor *add, hg_arg beta,
                         hg_arg alpha, int n_dim, const int64_t *shape, hg_tensor **out) {
    hg_dtype d = (hg_dtype)x->dtype, work = d == HG_F16 || d == HG_BF16 ? HG_F32 : d;
    hg_tensor *a = NULL, *b = NULL, *r = NULL, *c = NULL, *done = NULL;
    operand oa = {0}, ob = {0};
    int64_t n_batch = x->shape[0], m = x->shape[1], k = x->shape[2], n = y->shape[2];
    char b1[256], b2[256];
    if (*out && ((*out)->n_dim != n_dim || (n_dim && memcmp((*out)->shape, shape, (size_t)n_dim * sizeof *shape) != 0)))
        return hg_fail(cx, HG_SHAPE, "Bad in-place call: input tensor size %s and output tensor size %s should match",
                       hg_show_shape(*out, b1), hg_show_sizes(n_dim, shape, b2));
    if (d == HG_BOOL && kernel) return hg_no_kernel(cx, kernel, d);
    hg_status st = hg_raw_cast(cx, x, work, &a);
    if (st == HG_OK) st = hg_raw_cast(cx, y, work, &b);
    if (st == HG_OK) st = hg_tensor_empty(cx, work, n_dim, shape, &r);
    bool adds = add && !(beta.kind == HG_A_FLOAT ? beta.u.f == 0 : beta.u.i == 0);
    /* What is added lies in the result, or is one row for all. */
    bool is_row = adds && is_row_of(add, work, n);
    if (st == HG_OK && adds && !is_row) st = hg_raw_copy(cx, r, add);
    if (st == HG_OK && !hg_dtype_is_float(work)) {
        st = hg_raw_view(cx, r, 3, (int64_t[]){n_batch, m, n}, (int64_t[]){m * n, n, 1}, 0, &c);
        if (st == HG_OK && is_row) st = hg_raw_copy(cx, r, add);
        if (st == HG_OK) int_product(a, b, c, adds ? hg_number_i(&beta) : 0, hg_number_i(&alpha));
    } else if (st == HG_OK) {
        st = as_operand(cx, a, &oa);
        if (st == HG_OK) st = as_operand(cx, b, &ob);
        hg_gemm_args g = {.d = work,
                          .ta = oa.t,
                          .tb = ob.t,
                          .m = m,
                          .n = n,
                          .k = k,
                          .lda = oa.ld,
                          .ldb = ob.ld,
                          .ldc = n,
                          .alpha = hg_number_f(&alpha),
                          .beta = hg_number_f(&beta),
                          .a = oa.data,
                          .b = ob.data,
                          .c = r->data,
                          .add = !adds    ? NULL
                                 : is_row ? add->data
                                          : r->data,
                          .add_row = is_row ? 0 : n};
        if (st == HG_OK) hg_multiply(cx->lib, &g, n_batch, oa.batch, ob.batch, m * n, is_row ? 0 : m * n);
    }
    if (st == HG_OK) st = hg_raw_cast(cx, r, d, &done);
    if (st == HG_OK) st = hg_out_take(cx, done, out);
    hg_release(cx, oa.held), hg_release(cx, ob.held);
    hg_release(cx, a), hg_release(cx, b), hg_release(cx, r), hg_release(cx, c);
    return st;
}

static hg_status check_matrices(hg_ctx *cx, const hg_tensor *x, const hg_tensor *y) {
    if (x->shape[1] != y->shape[0])
        return hg_fail(cx, HG_SHAPE, "mat1 and mat2 shapes cannot be multiplied (%lldx%lld and %lldx%lld)",
                       (long long)x->shape[0], (long long)x->shape[1], (long long)y->shape[0], (long long)y->shape[1]);
    if (x->dtype != y->dtype)
        return hg_fail(cx, HG_SHAPE, "expected m1 and m2 to have the same dtype, but got: %s != %s",
                       hg_c_name((hg_dtype)x->dtype), hg_c_name((hg_dtype)y->dtype));
    return HG_OK;
}

/* Two matrices that lie well, each as it is or turned, and at most a row to add: most products, and the small ones must not
   pay for the others. */
static bool multiplies_at_once(const hg_tensor *x, bool tx, const hg_tensor *y, bool ty, const hg_tensor *add,
                               const hg_arg *beta, hg_gemm_args *g) {
    operand a, b;
    hg_dtype d = (hg_dtype)x->dtype;
    int64_t n = y->shape[!ty];
    if ((d != HG_F32 && d != HG_F64) || y->dtype != x->dtype ||
        (add && (!is_row_of(add, d, n) || hg_number_f(beta) == 0)))
        return false;
    if (!lies_well(x->shape[tx], x->shape[!tx], x->stride[tx], x->stride[!tx], &a) ||
        !lies_well(y->shape[ty], n, y->stride[ty], y->stride[!ty], &b))
        return false;
    *g = (hg_gemm_args){.d = d,
                        .ta = a.t,
                        .tb = b.t,
                        .m = x->shape[tx],
                        .n = n,
                        .k = x->shape[!tx],
                        .lda = a.ld,
                        .ldb = b.ld,
                        .ldc = n,
                        .a = x->data,
                        .b = y->data,
                        .add = add ? add->data : NULL};
    return true;
}

static hg_status multiply(hg_ctx *cx, hg_tensor *x, hg_tensor *y, hg_tensor *add, hg_arg beta, hg_arg alpha,
                          hg_tensor **out) {
    hg_tensor *a = NULL, *b = NULL, *r = NULL;
    const int64_t shape[2] = {x->shape[0], y->shape[1]};
    hg_gemm_args g;
    hg_status st;
    if (!*out && multiplies_at_once(x, false, y, false, add, &beta, &g)) {
        if ((st = hg_tensor_empty(cx, g.d, 2, shape, &r)) != HG_OK) return st;
        g.alpha = hg_number_f(&alpha), g.beta = hg_number_f(&beta), g.c = r->data;
        hg_multiply(cx->lib, &g, 1, 0, 0, 0, 0);
        *out = r;
        return HG_OK;
    }
    st = stack_view(cx, x, (int64_t[]){1, x->shape[0], x->shape[1]}, (int64_t[]){0, x->stride[0], x->stride[1]}, &a);
    if (st == HG_OK)
        st = stack_view(cx, y, (int64_t[]){1, y->shape[0], y->shape[1]}, (int64_t[]){0, y->stride[0], y->stride[1]},
                        &b);
    if (st == HG_OK) st = product(cx, "addmm_impl_cpu_", a, b, add, beta, alpha, 2, shape, out);
    hg_release(cx, a), hg_release(cx, b);
    return st;
}

/* t must broadcast to the shape, in expand's words. */
static hg_status check_added(hg_ctx *cx, hg_tensor *t, int n, const int64_t *shape) {
    hg_tensor *wide = NULL;
    if (t->n_dim <= n && !memcmp(t->shape, shape + n - t->n_dim, t->n_dim * sizeof *shape)) return HG_OK;
    hg_status st = hg_expand_fwd(cx, (hg_arg[]){hg_t(t), hg_ints(shape, n)}, &wide);
    hg_release(cx, wide);
    return st;
}

/* ---- Matrices ------------------------------------------------------------------------------------------------------------- */

hg_status hg_mm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t;
    if (x->n_dim != 2) return hg_fail(cx, HG_SHAPE, "self must be a matrix");
    if (y->n_dim != 2) return hg_fail(cx, HG_SHAPE, "mat2 must be a matrix");
    hg_status st = check_matrices(cx, x, y);
    return st == HG_OK ? multiply(cx, x, y, NULL, hg_i(0), hg_i(1), out) : st;
}

/* Did that factor lie by columns? So then does its gradient, which a transposition further back makes plain. Where the
   factor is not at hand, what made it tells. */
static bool by_columns(hg_ctx *cx, hg_back *b, int param) {
    const hg_node *from = b->node->next[b->node->first_edge[param]].node;
    const hg_tensor *t = IN(param);
    int turned = 0;
    if (!t) {
        for (; from && from->op && from->op == hg_op_at(cx->lib, HG_OP_T); turned = !turned) from = from->next[0].node;
        if (!from || !(t = hg_node_variable(from))) return turned;
    }
    return t->n_dim == 2 && t->stride[turned] == 1 && t->stride[!turned] == t->shape[turned];
}

/* Is nothing of a derivative recorded or watched, so that its products need no views? */
static bool unseen(const hg_ctx *cx) { return !hg_records(cx) && !cx->lib->watch.calling; }

/* The gradient as products read it. What sum() gives lies neither by rows nor by columns: it is copied once for all of them. */
static hg_tensor *readable(hg_ctx *cx, hg_tensor *g) {
    operand o;
    hg_tensor *made;
    if (!unseen(cx) || lies_well(g->shape[0], g->shape[1], g->stride[0], g->stride[1], &o)) return g;
    hg_status st = hg_raw_contiguous(cx, g, &made);
    return st == HG_OK ? hg_scope_keep(cx, made) : hg_x_fail(cx, st);
}

/* x@y, each as it is or turned; by columns as the transposed product of the transposed. */
static hg_tensor *turned_product(hg_ctx *cx, hg_tensor *x, bool tx, hg_tensor *y, bool ty, bool columns) {
    hg_gemm_args g;
    hg_tensor *r, *left = columns ? y : x, *right = columns ? x : y;
    if (!left || !right) return NULL;
    bool tl = columns ? !ty : tx, tr = columns ? !tx : ty;
    if (!unseen(cx) || !multiplies_at_once(left, tl, right, tr, NULL, NULL, &g)) {
        r = X(MM, T(tl ? X(T, T(left)) : left), T(tr ? X(T, T(right)) : right));
        return columns ? X(T, T(r)) : r;
    }
    hg_status st = hg_tensor_empty(cx, g.d, 2, columns ? (int64_t[]){g.n, g.m} : (int64_t[]){g.m, g.n}, &r);
    if (st != HG_OK) return hg_x_fail(cx, st);
    if (columns) hg_tensor_restride(r, (int64_t[]){1, g.n});
    g.alpha = 1, g.c = r->data;
    hg_multiply(cx->lib, &g, 1, 0, 0, 0, 0);
    return hg_scope_keep(cx, r);
}

/* The gradients of x@y: g @ y^T for x, x^T @ g for y. */
static hg_tensor *left_grad(hg_ctx *cx, hg_back *b, hg_tensor *g, int x, int y) {
    return turned_product(cx, g, false, IN(y), true, by_columns(cx, b, x));
}
static hg_tensor *right_grad(hg_ctx *cx, hg_back *b, hg_tensor *g, int x, int y) {
    return turned_product(cx, IN(x), true, g, false, by_columns(cx, b, y));
}

hg_status hg_mm_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *g = readable(cx, G);
    if (NEED(1)) GIVE(1, right_grad(cx, b, g, 0, 1));
    if (NEED(0)) GIVE(0, left_grad(cx, b, g, 0, 1));
    return HG_OK;
}

/* x times a number that is nearly always one. */
static hg_tensor *scaled(hg_ctx *cx, hg_tensor *x, const hg_arg *by) {
    return hg_number_f(by) == 1 ? x : X(MUL, T(x), *by);
}

hg_status hg_addmm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *x = a[1].u.t, *y = a[2].u.t;
    char w1[16], w2[16];
    if (t->dtype != y->dtype)
        return hg_fail(cx, HG_SHAPE, "self and mat2 must have the same dtype, but got %s and %s",
                       hg_dtype_word((hg_dtype)t->dtype, w1), hg_dtype_word((hg_dtype)y->dtype, w2));
    if (x->dtype != y->dtype)
        return hg_fail(cx, HG_SHAPE, "mat1 and mat2 must have the same dtype, but got %s and %s",
                       hg_dtype_word((hg_dtype)x->dtype, w1), hg_dtype_word((hg_dtype)y->dtype, w2));
    if (x->n_dim != 2) return hg_fail(cx, HG_SHAPE, "mat1 must be a matrix, got %d-D tensor", x->n_dim);
    if (y->n_dim != 2) return hg_fail(cx, HG_SHAPE, "mat2 must be a matrix, got %d-D tensor", y->n_dim);
    if (x->shape[1] != y->shape[0]) return check_matrices(cx, x, y);
    hg_status st = check_added(cx, t, 2, (int64_t[]){x->shape[0], y->shape[1]});
    return st == HG_OK ? multiply(cx, x, y, t, a[3], a[4], out) : st;
}

hg_status hg_addmm_bwd(hg_ctx *cx, hg_back *b) {
    hg_tensor *g = readable(cx, G);
    if (NEED(1)) GIVE(1, scaled(cx, left_grad(cx, b, g, 1, 2), ARG(4)));
    if (NEED(2)) GIVE(2, scaled(cx, right_grad(cx, b, g, 1, 2), ARG(4)));
    if (NEED(0))
        GIVE(0, scaled(cx, hg_back_meta(b, 0, 0).n_dim == 2 ? G : g, ARG(3))); /* it is summed up, or as it came */
    return HG_OK;
}

/* ---- Stacks of matrices ----------------------------------------------------------------------------------------------------- */

static hg_status check_batches(hg_ctx *cx, const hg_tensor *x, const hg_tensor *y) {
    if (x->n_dim != 3) return hg_fail(cx, HG_SHAPE, "batch1 must be a 3D tensor");
    if (y->n_dim != 3) return hg_fail(cx, HG_SHAPE, "batch2 must be a 3D tensor");
    if (y->shape[0] != x->shape[0] || y->shape[1] != x->shape[2])
        return hg_fail(
            cx, HG_SHAPE,
            "Expected size for first two dimensions of batch2 tensor to be: [%lld, %lld] but got: [%lld, %lld].",
            (long long)x->shape[0], (long long)x->shape[2], (long long)y->shape[0], (long long)y->shape[1]);
    if (x->dtype != y->dtype) return hg_unlike(cx, x->dtype, y->dtype);
    return HG_OK;
}

hg_status hg_bmm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t;
    hg_status st = check_batches(cx, x, y);
    if (st != HG_OK) return st;
    return product(cx, "bmm", x, y, NULL, hg_i(0), hg_i(1), 3, (int64_t[]){x->shape[0], x->shape[1], y->shape[2]}, out);
}

static hg_tensor *turned(hg_ctx *cx, hg_tensor *x) { return X(TRANSPOSE, T(x), hg_i(1), hg_i(2)); }

hg_status hg_bmm_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(1)) GIVE(1, X(BMM, T(turned(cx, IN(0))), T(G)));
    if (NEED(0)) GIVE(0, X(BMM, T(G), T(turned(cx, IN(1)))));
    return HG_OK;
}

hg_status hg_baddbmm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *x = a[1].u.t, *y = a[2].u.t;
    if (x->n_dim < 3 || y->n_dim < 3) return check_batches(cx, x, y);
    int64_t shape[3] = {x->shape[0], x->shape[1], y->shape[2]};
    hg_status st = check_added(cx, t, 3, shape);
    if (st != HG_OK) return st;
    if (t->dtype != x->dtype || t->dtype != y->dtype)
        return hg_fail(cx, HG_SHAPE, "Input dtypes must be the same, got: input %s, batch1: %s, batch2: %s",
                       hg_c_name((hg_dtype)t->dtype), hg_c_name((hg_dtype)x->dtype), hg_c_name((hg_dtype)y->dtype));
    if ((st = check_batches(cx, x, y)) != HG_OK) return st;
    return product(cx, "baddbmm", x, y, t, a[3], a[4], 3, shape, out);
}

hg_status hg_baddbmm_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(1)) GIVE(1, scaled(cx, X(BMM, T(G), T(turned(cx, IN(2)))), ARG(4)));
    if (NEED(2)) GIVE(2, scaled(cx, X(BMM, T(turned(cx, IN(1))), T(G)), ARG(4)));
    if (NEED(0)) GIVE(0, scaled(cx, G, ARG(3)));
    return HG_OK;
}

/* The sum of the products: one product of the matrices side by side. */
hg_status hg_addbmm_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *t = SELF, *x = a[1].u.t, *y = a[2].u.t, *px = NULL, *py = NULL, *wide = NULL, *tall = NULL;
    hg_status st = x->n_dim == 3 && y->n_dim == 3 ? check_added(cx, t, 2, (int64_t[]){x->shape[1], y->shape[2]})
                                                  : HG_OK;
    if (st == HG_OK) st = check_batches(cx, x, y);
    if (st != HG_OK) return st;
    int64_t n_batch = x->shape[0], m = x->shape[1], k = x->shape[2], n = y->shape[2];
    hg_tensor *by_rows = NULL;
    st = hg_raw_view(cx, x, 3, (int64_t[]){m, n_batch, k}, (int64_t[]){x->stride[1], x->stride[0], x->stride[2]}, 0,
                     &by_rows);
    if (st == HG_OK) st = hg_raw_contiguous(cx, by_rows, &px);
    if (st == HG_OK) st = hg_raw_contiguous(cx, y, &py);
    if (st == HG_OK) st = hg_raw_view(cx, px, 2, (int64_t[]){m, n_batch * k}, (int64_t[]){n_batch * k, 1}, 0, &wide);
    if (st == HG_OK) st = hg_raw_view(cx, py, 2, (int64_t[]){n_batch * k, n}, (int64_t[]){n, 1}, 0, &tall);
    if (st == HG_OK) st = multiply(cx, wide, tall, t, a[3], a[4], out);
    hg_release(cx, by_rows), hg_release(cx, px), hg_release(cx, py), hg_release(cx, wide), hg_release(cx, tall);
    return st;
}

hg_status hg_addbmm_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, scaled(cx, G, ARG(3)));
    hg_meta m = NEED(1) ? META(1) : NEED(2) ? hg_back_meta(b, 2, 0) : (hg_meta){0};
    if (!m.shape) return HG_OK;
    hg_tensor *each = X(EXPAND, T(X(UNSQUEEZE, T(G), hg_i(0))),
                        hg_ints((int64_t[]){m.shape[0], G->shape[0], G->shape[1]}, 3));
    if (NEED(1)) GIVE(1, scaled(cx, X(BMM, T(each), T(turned(cx, IN(2)))), ARG(4)));
    if (NEED(2)) GIVE(2, scaled(cx, X(BMM, T(turned(cx, IN(1))), T(each)), ARG(4)));
    return HG_OK;
}

/* ---- Vectors ---------------------------------------------------------------------------------------------------------------- */

static hg_status times_vector(hg_ctx *cx, hg_tensor *x, hg_tensor *v, hg_tensor *add, hg_arg beta, hg_arg alpha,
                              hg_tensor **out) {
    hg_tensor *a = NULL, *b = NULL;
    hg_status st = stack_view(cx, x, (int64_t[]){1, x->shape[0], x->shape[1]},
                              (int64_t[]){0, x->stride[0], x->stride[1]}, &a);
    if (st == HG_OK) st = stack_view(cx, v, (int64_t[]){1, v->shape[0], 1}, (int64_t[]){0, v->stride[0], 1}, &b);
    if (st == HG_OK) st = product(cx, "addmv_impl_cpu", a, b, add, beta, alpha, 1, x->shape, out);
    hg_release(cx, a), hg_release(cx, b);
    return st;
}

/* t is what is added, NULL for mv. */
static hg_status check_vector(hg_ctx *cx, const hg_tensor *t, const hg_tensor *x, const hg_tensor *v) {
    char w1[16], w2[16], w3[16];
    if (x->n_dim != 2 || v->n_dim != 1 || (t && t->n_dim > 1))
        return hg_fail(cx, HG_SHAPE, "vector + matrix @ vector expected, got %d, %d, %d", t ? t->n_dim : 1, x->n_dim,
                       v->n_dim);
    if (x->shape[1] != v->shape[0] || (t && t->numel != 1 && t->numel != x->shape[0]))
        return hg_fail(cx, HG_SHAPE, "size mismatch, got input (%lld), mat (%lldx%lld), vec (%lld)",
                       (long long)(t ? t->numel : x->shape[0]), (long long)x->shape[0], (long long)x->shape[1],
                       (long long)v->shape[0]);
    hg_dtype d = t ? (hg_dtype)t->dtype : (hg_dtype)v->dtype;
    if (x->dtype != v->dtype || d != v->dtype)
        return hg_fail(cx, HG_SHAPE, "addmv input tensors must have the same dtype, but got %s, %s, and %s",
                       hg_dtype_word(d, w1), hg_dtype_word((hg_dtype)x->dtype, w2),
                       hg_dtype_word((hg_dtype)v->dtype, w3));
    return HG_OK;
}

hg_status hg_mv_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = check_vector(cx, NULL, SELF, a[1].u.t);
    return st == HG_OK ? times_vector(cx, SELF, a[1].u.t, NULL, hg_i(0), hg_i(1), out) : st;
}

hg_status hg_mv_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(OUTER, T(G), T(IN(1))));
    if (NEED(1)) GIVE(1, X(MV, T(X(T, T(IN(0)))), T(G)));
    return HG_OK;
}

hg_status hg_addmv_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = check_vector(cx, SELF, a[1].u.t, a[2].u.t);
    return st == HG_OK ? times_vector(cx, a[1].u.t, a[2].u.t, SELF, a[3], a[4], out) : st;
}

hg_status hg_addmv_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(1)) GIVE(1, scaled(cx, X(OUTER, T(G), T(IN(2))), ARG(4)));
    if (NEED(0)) GIVE(0, scaled(cx, G, ARG(3)));
    if (NEED(2)) GIVE(2, scaled(cx, X(MV, T(X(T, T(IN(1)))), T(G)), ARG(4)));
    return HG_OK;
}

hg_status hg_dot_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t, *row = NULL, *column = NULL;
    char w1[16], w2[16], b1[256], b2[256];
    if (x->n_dim != 1 || y->n_dim != 1)
        return hg_fail(cx, HG_SHAPE, "1D tensors expected, but got %dD and %dD tensors", x->n_dim, y->n_dim);
    if (x->dtype != y->dtype)
        return hg_fail(cx, HG_SHAPE, "dot : expected both vectors to have same dtype, but found %s and %s",
                       hg_dtype_word((hg_dtype)x->dtype, w1), hg_dtype_word((hg_dtype)y->dtype, w2));
    if (x->numel != y->numel)
        return hg_fail(
            cx, HG_SHAPE,
            "inconsistent tensor size, expected tensor %s and src %s to have the same number of elements, but got %lld and "
            "%lld elements respectively",
            hg_show_shape(x, b1), hg_show_shape(y, b2), (long long)x->numel, (long long)y->numel);
    hg_status st = stack_view(cx, x, (int64_t[]){1, 1, x->numel}, (int64_t[]){0, 0, x->stride[0]}, &row);
    if (st == HG_OK) st = stack_view(cx, y, (int64_t[]){1, y->numel, 1}, (int64_t[]){0, y->stride[0], 0}, &column);
    if (st == HG_OK) st = product(cx, "dot", row, column, NULL, hg_i(0), hg_i(1), 0, NULL, out);
    hg_release(cx, row), hg_release(cx, column);
    return st;
}

hg_status hg_dot_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, X(MUL, T(G), T(IN(1))));
    if (NEED(1)) GIVE(1, X(MUL, T(G), T(IN(0))));
    return HG_OK;
}

static hg_tensor *outer(hg_ctx *cx, hg_tensor *x, hg_tensor *y) {
    return X(MUL, T(X(RESHAPE, T(x), hg_ints((int64_t[]){x->numel, 1}, 2))), T(y));
}

hg_status hg_outer_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *y = a[1].u.t;
    if (x->n_dim != 1) return hg_fail(cx, HG_SHAPE, "outer: Expected 1-D argument self, but got %d-D", x->n_dim);
    if (y->n_dim != 1) return hg_fail(cx, HG_SHAPE, "outer: Expected 1-D argument vec2, but got %d-D", y->n_dim);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, outer(cx, x, y), out);
}

hg_status hg_addr_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[1].u.t, *y = a[2].u.t, *column = NULL, *row = NULL;
    if (x->n_dim != 1) return hg_fail(cx, HG_SHAPE, "addr: Expected 1-D argument vec1, but got %d-D", x->n_dim);
    if (y->n_dim != 1) return hg_fail(cx, HG_SHAPE, "addr: Expected 1-D argument vec2, but got %d-D", y->n_dim);
    int64_t shape[2] = {x->numel, y->numel};
    hg_dtype d = hg_result_type(cx, a, 3);
    hg_status st = check_added(cx, SELF, 2, shape);
    if (st == HG_OK) st = hg_raw_cast(cx, x, d, &column);
    if (st == HG_OK) st = hg_raw_cast(cx, y, d, &row);
    hg_tensor *m = NULL, *n = NULL;
    if (st == HG_OK) st = stack_view(cx, column, (int64_t[]){1, x->numel, 1}, (int64_t[]){0, column->stride[0], 0}, &m);
    if (st == HG_OK) st = stack_view(cx, row, (int64_t[]){1, 1, y->numel}, (int64_t[]){0, 0, row->stride[0]}, &n);
    if (st == HG_OK && !*out && !SELF->plain) { /* an elementwise op there */
        hg_tensor *tall = NULL;
        st = hg_raw_view(cx, column, 2, (int64_t[]){x->numel, 1}, (int64_t[]){column->stride[0], 1}, 0, &tall);
        if (st == HG_OK) st = hg_out_joint(cx, out, d, (hg_arg[]){a[0], hg_t(tall), hg_t(row)}, 3, d, false);
        hg_release(cx, tall);
    }
    if (st == HG_OK) st = product(cx, NULL, m, n, SELF, a[3], a[4], 2, shape, out);
    hg_release(cx, column), hg_release(cx, row), hg_release(cx, m), hg_release(cx, n);
    return st;
}

hg_status hg_addr_bwd(hg_ctx *cx, hg_back *b) {
    if (NEED(0)) GIVE(0, scaled(cx, G, ARG(3)));
    if (NEED(1)) GIVE(1, scaled(cx, X(MV, T(G), T(IN(2))), ARG(4)));
    if (NEED(2)) GIVE(2, scaled(cx, X(MV, T(X(T, T(G))), T(IN(1))), ARG(4)));
    return HG_OK;
}

/* ---- matmul ----------------------------------------------------------------------------------------------------------------- */

/* Does x@y go through one product of matrices, the larger operand's leading dimensions taken as rows? It does where that
   costs no copy, and where the smaller one wants a gradient, which would otherwise be as large as the larger one. */
static bool folds(const hg_tensor *x, const hg_tensor *y) {
    bool x_larger = x->n_dim >= y->n_dim;
    const hg_tensor *large = x_larger ? x : y, *small = x_larger ? y : x;
    if (large->n_dim < 3 || small->n_dim > 2) return false;
    if (hg_tensor_requires_grad(small)) return true;
    if (x->n_dim == 2) return false;
    if (large->numel == 0) return true;
    for (int i = 0; i < large->n_dim - 2; i++) {
        /* y is taken transposed: its last two dimensions trade places */
        int last = large->n_dim - 1, next = i + 1;
        if (!x_larger) next = next == last ? last - 1 : next == last - 1 ? last : next;
        if (large->stride[i] != large->stride[next] * large->shape[next]) return false;
    }
    return true;
}

static hg_tensor *folded(hg_ctx *cx, hg_tensor *x, hg_tensor *y) {
    bool x_larger = x->n_dim >= y->n_dim;
    hg_tensor *large = x_larger ? x : X(TRANSPOSE, T(y), hg_i(-2), hg_i(-1));
    hg_tensor *small = x_larger ? y : x->n_dim == 2 ? X(T, T(x)) : x;
    int64_t shape[HG_MAX_DIM], rows = 1;
    if (!large || !small) return NULL;
    int n = large->n_dim - 1;
    for (int i = 0; i < n; i++) shape[i] = large->shape[i], rows *= large->shape[i];
    hg_tensor *flat = X(RESHAPE, T(large), hg_ints((int64_t[]){rows, large->shape[n]}, 2));
    if (small->n_dim == 1) return X(UNSAFE_VIEW, T(X(MV, T(flat), T(small))), hg_ints(shape, n));
    shape[n] = small->shape[1];
    hg_tensor *r = X(UNSAFE_VIEW, T(X(MM, T(flat), T(small))), hg_ints(shape, n + 1));
    return x_larger ? r : X(CONTIGUOUS, T(X(TRANSPOSE, T(r), hg_i(-2), hg_i(-1))));
}

/* Both expanded to common leading dimensions, and those flattened into one. */
static hg_tensor *stacked(hg_ctx *cx, hg_tensor *x, hg_tensor *y) {
    int64_t batch[HG_MAX_DIM], wide[HG_MAX_DIM], n_batch = 1;
    int bx = x->n_dim > 2 ? x->n_dim - 2 : 0, by = y->n_dim > 2 ? y->n_dim - 2 : 0, nb;
    int64_t n = x->n_dim > 1 ? x->shape[x->n_dim - 2] : 1, m1 = x->shape[x->n_dim - 1];
    int64_t m2 = y->n_dim > 1 ? y->shape[y->n_dim - 2] : y->shape[0], p = y->n_dim > 1 ? y->shape[y->n_dim - 1] : 1;
    hg_status st = hg_broadcast(cx, bx, x->shape, by, y->shape, &nb, batch);
    if (st != HG_OK) return hg_x_fail(cx, st);
    if (nb + 2 > HG_MAX_DIM) return hg_x_fail(cx, hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM));
    for (int i = 0; i < nb; i++) n_batch *= batch[i];
    memcpy(wide, batch, (size_t)nb * sizeof *wide);
    wide[nb] = n, wide[nb + 1] = m1;
    hg_tensor *l = X(RESHAPE, T(X(EXPAND, T(x), hg_ints(wide, nb + 2))), hg_ints((int64_t[]){n_batch, n, m1}, 3)), *r;
    bool vector = y->n_dim == 1;
    wide[nb] = m2, wide[nb + 1] = p;
    r = X(EXPAND, T(y), hg_ints(wide, nb + (vector ? 1 : 2)));
    if (vector)
        r = X(UNSQUEEZE, T(X(RESHAPE, T(r), hg_ints((int64_t[]){n_batch, m2}, 2))), hg_i(2));
    else
        r = X(RESHAPE, T(r), hg_ints((int64_t[]){n_batch, m2, p}, 3));
    hg_tensor *c = X(BMM, T(l), T(r));
    if (vector) c = X(SQUEEZE_DIM, T(c), hg_i(-1));
    int k = nb;
    if (x->n_dim > 1) batch[k++] = n;
    if (y->n_dim > 1) batch[k++] = p;
    return X(UNSAFE_VIEW, T(c), hg_ints(batch, k));
}

static hg_tensor *matmul(hg_ctx *cx, hg_tensor *x, hg_tensor *y) {
    if (!x || !y) return NULL;
    if (x->n_dim == 0 || y->n_dim == 0)
        return hg_x_fail(cx, hg_fail(cx, HG_SHAPE,
                                     "both arguments to matmul need to be at least 1D, but they are %dD and %dD",
                                     x->n_dim, y->n_dim));
    if (x->n_dim == 1 && y->n_dim == 1) return X(DOT, T(x), T(y));
    if (x->n_dim == 2 && y->n_dim == 1) return X(MV, T(x), T(y));
    if (x->n_dim == 1 && y->n_dim == 2)
        return hg_x_written(X(SQUEEZE_OWN, T(X(MM, T(X(UNSQUEEZE, T(x), hg_i(0))), T(y))), hg_i(0)), 1);
    if (x->n_dim == 2 && y->n_dim == 2) return X(MM, T(x), T(y));
    if (folds(x, y)) return folded(cx, x, y);
    if (x->n_dim == 3 && y->n_dim == 3 && x->shape[0] != y->shape[0]) { /* a single matrix against many */
        if (x->shape[0] == 1 && hg_tensor_requires_grad(x)) return matmul(cx, X(SQUEEZE_DIM, T(x), hg_i(0)), y);
        if (y->shape[0] == 1 && hg_tensor_requires_grad(y)) return matmul(cx, x, X(SQUEEZE_DIM, T(y), hg_i(0)));
    }
    return stacked(cx, x, y);
}

hg_status hg_matmul_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_scope s;
    if (SELF->n_dim == 2 && a[1].u.t->n_dim == 2) return hg_call_op(cx, HG_OP_MM, a, 2, out);
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, matmul(cx, SELF, a[1].u.t), out);
}

/* ---- linear ----------------------------------------------------------------------------------------------------------------- */

static hg_tensor *linear(hg_ctx *cx, hg_tensor *x, hg_tensor *w, hg_tensor *bias) {
    if (!bias) return matmul(cx, x, X(T, T(w)));
    if (x->n_dim == 2) return X(ADDMM, T(bias), T(x), T(X(T, T(w))));
    if (!x->contiguous) return X(ADD, T(matmul(cx, x, X(T, T(w)))), T(bias));
    int64_t shape[HG_MAX_DIM], rows = 1;
    int last = x->n_dim - 1;
    for (int i = 0; i < last; i++) shape[i] = x->shape[i], rows *= x->shape[i];
    hg_tensor *flat = X(RESHAPE, T(x), hg_ints((int64_t[]){rows, x->shape[last]}, 2)); /* before the weight is turned */
    hg_tensor *y = X(ADDMM, T(bias), T(flat), T(X(T, T(w))));
    if (!y) return NULL;
    shape[last] = y->shape[1];
    return X(VIEW_SIZE, T(y), hg_ints(shape, last + 1));
}

hg_status hg_linear_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = SELF, *w = a[1].u.t;
    if (x->n_dim == 0 || w->n_dim == 0)
        return hg_fail(cx, HG_SHAPE, "both arguments to linear need to be at least 1D, but they are %dD and %dD",
                       x->n_dim, w->n_dim);
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, linear(cx, x, w, hg_given(&a[2]) ? a[2].u.t : NULL), out);
}
