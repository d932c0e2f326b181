/* einsum and tensordot: contractions as permutations and products of matrices.

   Note [Contraction]
   Every operand is brought under one list of dimensions: the output's, then those to be summed, of size one where it has not
   got them. Two operands at a time, from the left, are multiplied: dimensions summed away, dimensions of both, of the left one
   only and of the right one only are grouped, which makes the product a stack of products of matrices. */
#include "shape_impl.h"

#include <stdio.h>
#include <string.h>

enum { N_LETTERS = 52, DOTS = 52, MAX_SUBSCRIPTS = 128 };

typedef struct subscripts {
    int8_t at[MAX_SUBSCRIPTS]; /* letters 0..51, or DOTS */
    int n;
    bool dots;
} subscripts;

typedef struct equation {
    subscripts *in; /* owned; one an operand */
    subscripts out;
    int n_in;
    bool has_out;
    int place[N_LETTERS]; /* of a letter in the common list of dimensions; -1: not there */
    int dots_at, n_dots;  /* the ellipsis's place and how many dimensions it stands for */
    int n_out, n_all;
} equation;

static int letter(char c) { return c >= 'a' ? c - 'a' + 26 : c - 'A'; }
static char letter_char(int i) { return (char)(i >= 26 ? 'a' + i - 26 : 'A' + i); }

/* ---- Reading the equation ------------------------------------------------------------------------------------------------- */

/* One term from text[*i] up to a comma, an arrow or the end; `which` is the operand, -1 for the output. */
static hg_status read_term(hg_ctx *cx, const char *text, size_t *i, int which, subscripts *s) {
    char what[32] = "output";
    s->n = 0, s->dots = false;
    if (which >= 0) snprintf(what, sizeof what, "operand %d", which);
    for (; text[*i]; ++*i) {
        char c = text[*i];
        if (c == ' ') continue;
        if (c == ',' && which >= 0) return HG_OK;
        if (c == '-' && which >= 0 && text[*i + 1] == '>') return HG_OK;
        if (s->n == MAX_SUBSCRIPTS) return hg_fail(cx, HG_SHAPE, "einsum(): too many subscripts for %s", what);
        if (c == '.') {
            if (s->dots)
                return hg_fail(cx, HG_SHAPE, "einsum(): found '.' for %s for which an ellipsis was already found",
                               what);
            if (strncmp(text + *i, "...", 3) != 0)
                return hg_fail(cx, HG_SHAPE, "einsum(): found '.' for %s that is not part of any ellipsis%s", what,
                               which >= 0 ? "" : " (...)");
            *i += 2;
            s->dots = true, s->at[s->n++] = DOTS;
        } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            s->at[s->n++] = (int8_t)letter(c);
        } else {
            return hg_fail(
                cx, HG_SHAPE,
                "einsum(): invalid subscript given at index %zu in the equation string, subscripts must be in [a-zA-Z]",
                *i);
        }
    }
    return HG_OK;
}

static hg_status read_equation(hg_ctx *cx, const char *text, int n, equation *q) {
    size_t i = 0;
    for (int k = 0;; k++) {
        if (k >= n)
            return hg_fail(cx, HG_SHAPE, "einsum(): fewer operands were provided than specified in the equation");
        hg_status st = read_term(cx, text, &i, k, &q->in[k]);
        if (st != HG_OK) return st;
        if (text[i] == ',') {
            i++;
            continue;
        }
        if (k + 1 < n)
            return hg_fail(cx, HG_SHAPE, "einsum(): more operands were provided than specified in the equation");
        break;
    }
    q->has_out = text[i] == '-';
    if (!q->has_out) return HG_OK;
    i += 2;
    return read_term(cx, text, &i, -1, &q->out);
}

/* The common list of dimensions: the output's letters, or in alphabetic order those that occur once, then the others. */
static hg_status lay_out(hg_ctx *cx, equation *q, hg_tensor *const *ts) {
    int count[N_LETTERS] = {0}, order[N_LETTERS];
    for (int k = 0; k < q->n_in; k++) {
        const subscripts *s = &q->in[k];
        int n = ts[k]->n_dim;
        if (s->dots ? s->n - 1 > n : s->n != n)
            return hg_fail(
                cx, HG_SHAPE, "einsum(): the number of subscripts in the equation (%d) %s (%d) for operand %d%s",
                s->dots ? s->n - 1 : s->n,
                s->dots ? "is more than the number of dimensions" : "does not match the number of dimensions", n, k,
                s->dots ? "" : " and no ellipsis was given");
        if (s->dots && n - s->n + 1 > q->n_dots) q->n_dots = n - s->n + 1;
        for (int i = 0; i < s->n; i++)
            if (s->at[i] != DOTS) count[s->at[i]]++;
    }
    for (int i = 0; i < N_LETTERS; i++) q->place[i] = -1, order[i] = i;
    q->dots_at = -1;
    int at = 0;
    if (q->has_out) {
        for (int i = 0; i < q->out.n; i++) {
            int c = (int)q->out.at[i];
            if (c == DOTS) {
                q->dots_at = at, at += q->n_dots;
                continue;
            }
            if (q->place[c] >= 0)
                return hg_fail(cx, HG_SHAPE, "einsum(): output subscript %c appears more than once in the output",
                               letter_char(c));
            if (!count[c])
                return hg_fail(cx, HG_SHAPE,
                               "einsum(): output subscript %c does not appear in the equation for any input operand",
                               letter_char(c));
            q->place[c] = at++;
        }
    } else {
        if (q->n_dots || (q->n_in && q->in[0].dots)) q->dots_at = 0;
        at = q->n_dots;
        for (int i = 0; i < N_LETTERS; i++)
            if (count[order[i]] == 1) q->place[order[i]] = at++;
    }
    q->n_out = at;
    if (q->dots_at < 0) q->dots_at = at, at += q->n_dots; /* an ellipsis the output leaves out is summed */
    for (int i = 0; i < N_LETTERS; i++)
        if (count[i] && q->place[i] < 0) q->place[i] = at++;
    q->n_all = at;
    return at > HG_MAX_DIM ? hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM) : HG_OK;
}

/* ---- Contracting ------------------------------------------------------------------------------------------------------------ */

/* Operand k under the common list of dimensions. */
static hg_tensor *arranged(hg_ctx *cx, const equation *q, int k, hg_tensor *t) {
    const subscripts *s = &q->in[k];
    int64_t order[HG_MAX_DIM];
    int where[N_LETTERS], j = 0, n_dim = t->n_dim;
    memset(order, -1, sizeof order), memset(where, -1, sizeof where);
    for (int i = 0; i < s->n && t; i++) {
        int c = (int)s->at[i];
        if (c == DOTS) {
            for (int missing = q->n_dots - (n_dim - s->n + 1); missing > 0; missing--) t = X(UNSQUEEZE, T(t), hg_i(j));
            for (int e = 0; e < q->n_dots; e++) order[q->dots_at + e] = j++;
        } else if (where[c] >= 0) {
            int d = where[c];
            if (t->shape[d] != t->shape[j])
                return hg_x_fail(
                    cx,
                    hg_fail(cx, HG_SHAPE,
                            "einsum(): subscript %c is repeated for operand %d but the sizes don't match, %lld != %lld",
                            letter_char(c), k, (long long)t->shape[j], (long long)t->shape[d]));
            t = X(MOVEDIM_INT, T(X(DIAGONAL, T(t), hg_i(0), hg_i(d), hg_i(j))), hg_i(-1), hg_i(d));
        } else {
            where[c] = j;
            order[q->place[c]] = j++;
        }
    }
    for (int i = 0; i < q->n_all; i++)
        if (order[i] < 0) t = X(UNSQUEEZE, T(t), hg_i(-1)), order[i] = j++;
    return X(PERMUTE, T(t), hg_ints(order, q->n_all));
}

/* Sizes of one letter must agree, or be one. */
static hg_status check_sizes(hg_ctx *cx, const equation *q, hg_tensor *const *given, hg_tensor *const *ops) {
    for (int d = 0; d < q->n_all; d++) {
        int64_t size = 1;
        for (int k = 0; k < q->n_in; k++) {
            int64_t s = ops[k]->shape[d];
            if (s != 1 && size != 1 && s != size) {
                for (int c = 0; c < N_LETTERS; c++)
                    if (q->place[c] == d)
                        return hg_fail(
                            cx, HG_SHAPE,
                            "einsum(): subscript %c has size %lld for operand %d which does not broadcast with previously seen "
                            "size %lld",
                            letter_char(c), (long long)s, k, (long long)size);
                return hg_fail(
                    cx, HG_SHAPE,
                    "einsum(): dimension %d covered by ellipsis in operand %dhas size %lld which does not broadcast with "
                    "previously seen ellipsis with size %lld for the respective dimension",
                    d - q->dots_at - (q->n_dots - (given[k]->n_dim - q->in[k].n + 1)), k, (long long)s,
                    (long long)size);
            }
            if (s != 1) size = s;
        }
    }
    return HG_OK;
}

/* The product of two operands of equal rank, summed (and kept, of size one) over the dimensions in `sum`. */
static hg_tensor *pair_product(hg_ctx *cx, hg_tensor *l, hg_tensor *r, const bool *sum) {
    enum { BOTH, LEFT, SUM, RIGHT, N_GROUPS };
    int64_t group[N_GROUPS][HG_MAX_DIM], size[N_GROUPS] = {1, 1, 1, 1}, l_order[HG_MAX_DIM], r_order[HG_MAX_DIM];
    int64_t shape[HG_MAX_DIM], back[HG_MAX_DIM];
    int count[N_GROUPS] = {0}, n = l->n_dim;
    bool sums = false;
    int last_r = -1, first_l = n;
    for (int i = 0; i < n; i++) {
        sums |= sum[i];
        if (sum[i] || (l->shape[i] != 1 && r->shape[i] != 1)) continue;
        if (l->shape[i] == 1)
            last_r = i;
        else if (first_l == n)
            first_l = i;
    }
    if (sums && last_r >= 0 && first_l < n && last_r < first_l) { /* so that the result lies in the output's order */
        hg_tensor *x = l;
        l = r, r = x;
    }
    if (!sums) return X(MUL, T(l), T(r));
    for (int i = 0; i < n; i++) {
        bool has_l = l->shape[i] != 1, has_r = r->shape[i] != 1;
        int g = sum[i] ? SUM : has_l && has_r ? BOTH : has_l ? LEFT : RIGHT;
        group[g][count[g]++] = i;
        size[g] *= has_l ? l->shape[i] : r->shape[i];
    }
    static const int l_groups[N_GROUPS] = {BOTH, LEFT, SUM, RIGHT}, r_groups[N_GROUPS] = {BOTH, SUM, RIGHT, LEFT};
    for (int g = 0, a = 0, b = 0; g < N_GROUPS; g++) {
        for (int i = 0; i < count[l_groups[g]]; i++) {
            int64_t d = group[l_groups[g]][i];
            shape[a] = l_groups[g] == SUM ? 1 : l->shape[d] != 1 ? l->shape[d] : r->shape[d];
            back[d] = a, l_order[a++] = d;
        }
        for (int i = 0; i < count[r_groups[g]]; i++) r_order[b++] = group[r_groups[g]][i];
    }
    l = X(RESHAPE, T(X(PERMUTE, T(l), hg_ints(l_order, n))),
          hg_ints((int64_t[]){size[BOTH], size[LEFT], size[SUM]}, 3));
    r = X(RESHAPE, T(X(PERMUTE, T(r), hg_ints(r_order, n))),
          hg_ints((int64_t[]){size[BOTH], size[SUM], size[RIGHT]}, 3));
    return X(PERMUTE, T(X(VIEW_SIZE, T(X(BMM, T(l), T(r))), hg_ints(shape, n))), hg_ints(back, n));
}

static hg_tensor *summed(hg_ctx *cx, hg_tensor *t, const bool *which, bool keep) {
    int64_t dims[HG_MAX_DIM];
    int n = 0;
    if (!t) return NULL;
    for (int i = 0; i < t->n_dim; i++)
        if (which[i]) dims[n++] = i;
    return n ? X(SUM_DIM, T(t), hg_ints(dims, n), hg_b(keep)) : t;
}

static hg_tensor *contract(hg_ctx *cx, const equation *q, hg_tensor **ops) {
    int users[HG_MAX_DIM] = {0}; /* of a dimension to sum: how many operands still have it */
    for (int d = q->n_out; d < q->n_all; d++)
        for (int k = 0; k < q->n_in; k++) users[d] += ops[k]->shape[d] != 1;
    hg_tensor *r = ops[0];
    for (int k = 1; k < q->n_in && r; k++) {
        bool in_l[HG_MAX_DIM] = {false}, in_r[HG_MAX_DIM] = {false}, in_both[HG_MAX_DIM] = {false};
        for (int d = q->n_out; d < q->n_all; d++) {
            bool l = r->shape[d] != 1, o = ops[k]->shape[d] != 1;
            if (l && o)
                in_both[d] = --users[d] == 1;
            else if (users[d] == 1)
                in_l[d] = l, in_r[d] = o;
            if (in_both[d] || in_l[d] || in_r[d]) users[d] = 0;
        }
        r = summed(cx, r, in_l, true);
        hg_tensor *o = summed(cx, ops[k], in_r, true);
        if (!r || !o) return NULL;
        r = pair_product(cx, r, o, in_both);
    }
    if (!r || q->n_all == q->n_out) return r;
    if (q->n_in > 1) return X(VIEW_SIZE, T(r), hg_ints(r->shape, q->n_out));
    bool rest[HG_MAX_DIM];
    for (int d = 0; d < q->n_all; d++) rest[d] = d >= q->n_out;
    return summed(cx, r, rest, false);
}

hg_status hg_einsum_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n = (int)a[1].n;
    hg_tensor *const *ts = a[1].u.ts, *r = NULL, **ops = NULL;
    if (n == 0)
        return hg_fail(
            cx, HG_VALUE,
            "einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts "
            "list");
    equation q = {.n_in = n};
    hg_status st = HG_OK;
    if (!(q.in = hg_mem(cx, (size_t)n * sizeof *q.in))) return HG_MEMORY;
    if (!(ops = hg_mem(cx, (size_t)n * sizeof *ops))) st = HG_MEMORY;
    if (st == HG_OK) st = read_equation(cx, a[0].u.s, n, &q);
    if (st == HG_OK) st = lay_out(cx, &q, ts);
    if (st == HG_OK) {
        hg_scope s;
        hg_scope_begin(cx, &s);
        for (int k = 0; k < n; k++) ops[k] = arranged(cx, &q, k, ts[k]);
        if (hg_scope_ok(cx)) hg_scope_fail(cx, check_sizes(cx, &q, ts, ops));
        if (hg_scope_ok(cx)) r = contract(cx, &q, ops);
        st = hg_scope_return(cx, &s, r, out);
    }
    hg_mem_free(cx->lib, ops), hg_mem_free(cx->lib, q.in);
    return st;
}

/* ---- tensordot -------------------------------------------------------------------------------------------------------------- */

static hg_tensor *tensordot(hg_ctx *cx, hg_tensor *x, hg_tensor *y, int n, const int64_t *dx, const int64_t *dy) {
    int64_t size = 1, rows = 1, cols = 1, shape[2 * HG_MAX_DIM], x_order[HG_MAX_DIM], y_order[HG_MAX_DIM];
    bool x_gone[HG_MAX_DIM] = {false}, y_gone[HG_MAX_DIM] = {false};
    bool x_sum[HG_MAX_DIM] = {false}, y_sum[HG_MAX_DIM] = {false};
    int wx[HG_MAX_DIM], wy[HG_MAX_DIM], k = 0, nx = 0, ny = 0;
    for (int i = 0; i < n; i++) {
        hg_status st = hg_wrap_dim(cx, dx[i], x->n_dim, &wx[i]);
        if (st == HG_OK) st = hg_wrap_dim(cx, dy[i], y->n_dim, &wy[i]);
        if (st != HG_OK) return hg_x_fail(cx, st);
        int64_t a = hg_size_at(x, wx[i]), b = hg_size_at(y, wy[i]);
        if (a != b && a != 1 && b != 1)
            return hg_x_fail(
                cx,
                hg_fail(cx, HG_SHAPE,
                        "contracted dimensions need to match, but first has size %lld in dim %lld and second has size "
                        "%lld in dim %lld",
                        (long long)a, (long long)dx[i], (long long)b, (long long)dy[i]));
        if (x_gone[wx[i]] || y_gone[wy[i]])
            return hg_x_fail(cx, hg_fail(cx, HG_SHAPE, "dim %d appears multiple times in the list of dims",
                                         x_gone[wx[i]] ? wx[i] : wy[i]));
        x_gone[wx[i]] = y_gone[wy[i]] = true;
        if (a != b)
            *(a == 1 ? &y_sum[wy[i]] : &x_sum[wx[i]]) = true; /* against size one a dimension is simply summed */
        size *= a == b ? a : 1;
    }
    x = summed(cx, x, x_sum, true), y = summed(cx, y, y_sum, true);
    if (!x || !y) return NULL;
    for (int i = 0; i < x->n_dim; i++)
        if (!x_gone[i]) x_order[nx++] = i, shape[k++] = x->shape[i], rows *= x->shape[i];
    for (int i = 0; i < n; i++) x_order[nx++] = wx[i], y_order[ny++] = wy[i];
    for (int i = 0; i < y->n_dim; i++)
        if (!y_gone[i]) y_order[ny++] = i, shape[k++] = y->shape[i], cols *= y->shape[i];
    if (k > HG_MAX_DIM) return hg_x_fail(cx, hg_fail(cx, HG_STATE, "tensor has too many (>%d) dims", HG_MAX_DIM));
    if (x->n_dim) x = X(PERMUTE, T(x), hg_ints(x_order, nx));
    if (y->n_dim) y = X(PERMUTE, T(y), hg_ints(y_order, ny));
    if (x && y && k == 0) { /* a single number */
        if (x->n_dim != 1) x = X(RESHAPE, T(x), hg_ints(&size, 1));
        if (y->n_dim != 1) y = X(RESHAPE, T(y), hg_ints(&size, 1));
        return X(VIEW_SIZE, T(X(DOT, T(x), T(y))), hg_ints(shape, 0));
    }
    x = X(RESHAPE, T(x), hg_ints((int64_t[]){rows, size}, 2)),
    y = X(RESHAPE, T(y), hg_ints((int64_t[]){size, cols}, 2));
    return X(VIEW_SIZE, T(X(MM, T(x), T(y))), hg_ints(shape, k));
}

hg_status hg_tensordot_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    if (a[2].n != a[3].n) return hg_fail(cx, HG_SHAPE, "both dimension lists should have same length");
    if (a[2].n > HG_MAX_DIM) return hg_fail(cx, HG_SHAPE, "too many dimensions to contract");
    if (a[0].u.t->dtype != a[1].u.t->dtype) return hg_fail(cx, HG_SHAPE, "both inputs should have same dtype");
    hg_scope s;
    hg_scope_begin(cx, &s);
    return hg_scope_return(cx, &s, tensordot(cx, a[0].u.t, a[1].u.t, (int)a[2].n, a[2].u.ints, a[3].u.ints), out);
}

hg_status hg_tensordot_int_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t n = a[2].u.i, dx[HG_MAX_DIM], dy[HG_MAX_DIM];
    if (n < 0) return hg_fail(cx, HG_SHAPE, "tensordot expects dims >= 0, but got dims=%lld", (long long)n);
    if (n > a[0].u.t->n_dim || n > a[1].u.t->n_dim)
        return hg_fail(cx, HG_SHAPE, "tensordot expects dims < ndim_a or ndim_b, but got dims=%lld", (long long)n);
    for (int i = 0; i < n; i++) dx[i] = i - n, dy[i] = i;
    return hg_tensordot_fwd(cx, (hg_arg[]){a[0], a[1], hg_ints(dx, (int)n), hg_ints(dy, (int)n)}, out);
}

hg_status hg_inner_fwd(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *x = a[0].u.t, *y = a[1].u.t;
    char b1[256], b2[256];
    hg_scope s;
    if (x->n_dim && y->n_dim && x->shape[x->n_dim - 1] != y->shape[y->n_dim - 1])
        return hg_fail(cx, HG_SHAPE,
                       "inner() the last dimension must match on both input tensors but got shapes %s and %s",
                       hg_show_shape(x, b1), hg_show_shape(y, b2));
    hg_scope_begin(cx, &s);
    const int64_t last = -1;
    return hg_scope_return(cx, &s, x->n_dim && y->n_dim ? tensordot(cx, x, y, 1, &last, &last) : X(MUL, T(x), T(y)),
                           out);
}
