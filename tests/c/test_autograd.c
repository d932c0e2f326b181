/* Autograd: gradients, what is kept and freed, in-place operations, gradients of gradients. */
#include "test.h"

TEST(product_and_its_saved_tensors) {
    hg_tensor *x = leaf(3), *y = NULL;
    CHECK_OK(hg_mul(cx, x, x, &y));
    CHECK_WORDS(hg_node_name(y->grad_fn), "MulBackward0");
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(x->grad), 6);
    CHECK_FAIL(HG_STATE, "backward through the graph a second time", backward(y));
    drop(x), drop(y);
}

TEST(gradients_accumulate) {
    hg_tensor *x = leaf(3);
    for (int i = 0; i < 3; i++) {
        hg_tensor *y = OP(MUL, hg_t(x), hg_f(2));
        CHECK_OK(backward(y));
        drop(y);
    }
    CHECK_EQ(ITEM(x->grad), 6);
    drop(x);
}

TEST(broadcast_gradients_are_summed) {
    hg_tensor *x = leaf_of(SHAPE(3), VALUES(1, 2, 3)), *y = tensor_of(SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, 6));
    hg_tensor *product = OP(MUL, hg_t(x), hg_t(y)), *sum = OP(SUM, hg_t(product));
    CHECK_OK(backward(sum));
    CHECK_EQ(value_at(x->grad, 0), 5);
    CHECK_EQ(value_at(x->grad, 2), 9);
    drop(x), drop(y), drop(product), drop(sum);
}

TEST(the_graph_can_be_kept) {
    hg_tensor *x = leaf(2), *y = OP(MUL, hg_t(x), hg_t(x));
    CHECK_OK(hg_backward(cx, &y, NULL, 1, true, false, NULL, -1, false, NULL));
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(x->grad), 8);
    drop(x), drop(y);
}

TEST(gradients_of_gradients) {
    hg_tensor *x = leaf(2), *square = OP(MUL, hg_t(x), hg_t(x)), *y = OP(MUL, hg_t(square), hg_t(x)), *g = NULL,
              *gg = NULL;
    CHECK_OK(hg_backward(cx, &y, NULL, 1, true, true, &x, 1, false, &g));
    CHECK_EQ(ITEM(g), 12);
    CHECK_OK(hg_backward(cx, &g, NULL, 1, false, false, &x, 1, false, &gg));
    CHECK_EQ(ITEM(gg), 12);
    CHECK(x->grad == NULL);
    drop(x), drop(square), drop(y), drop(g), drop(gg);
}

TEST(unused_inputs) {
    hg_tensor *x = leaf(2), *other = leaf(3), *y = OP(MUL, hg_t(x), hg_f(4)), *got[2] = {NULL, NULL};
    hg_tensor *inputs[] = {x, other};
    CHECK_FAIL(HG_STATE, "appears to not have been used in the graph",
               hg_backward(cx, &y, NULL, 1, true, false, inputs, 2, false, got));
    CHECK_OK(hg_backward(cx, &y, NULL, 1, true, false, inputs, 2, true, got));
    CHECK_EQ(ITEM(got[0]), 4);
    CHECK(got[1] == NULL);
    drop(x), drop(other), drop(y), drop(got[0]);
}

TEST(saved_tensors_must_not_change) {
    hg_tensor *x = leaf(2), *y = OP(MUL, hg_t(x), hg_f(1)), *z = OP(MUL, hg_t(y), hg_t(y));
    CHECK_OK(hg_call_inplace(cx, HG_OP_ADD, (hg_arg[]){hg_t(y), hg_i(1)}, 2));
    CHECK_FAIL(HG_STATE, "modified by an inplace operation", backward(z));
    drop(x), drop(y), drop(z);
}

TEST(leaves_must_not_change) {
    hg_tensor *x = leaf(2);
    CHECK_FAIL(HG_STATE, "a leaf Variable that requires grad is being used in an in-place operation.",
               hg_call_inplace(cx, HG_OP_ADD, (hg_arg[]){hg_t(x), hg_i(1)}, 2));
    cx->grad_enabled = false;
    CHECK_OK(hg_call_inplace(cx, HG_OP_ADD, (hg_arg[]){hg_t(x), hg_i(1)}, 2));
    cx->grad_enabled = true;
    CHECK_EQ(ITEM(x), 3);
    drop(x);
}

TEST(writing_through_a_view) {
    hg_tensor *x = leaf_of(SHAPE(2), VALUES(1, 2)), *y = OP(MUL, hg_t(x), hg_i(1)),
              *part = OP(SELECT, hg_t(y), hg_i(0), hg_i(0));
    CHECK_OK(hg_call_inplace(cx, HG_OP_MUL, (hg_arg[]){hg_t(part), hg_i(10)}, 2));
    hg_tensor *sum = OP(SUM, hg_t(y));
    CHECK_EQ(ITEM(sum), 12);
    CHECK_OK(backward(sum));
    CHECK_EQ(value_at(x->grad, 0), 10);
    CHECK_EQ(value_at(x->grad, 1), 1);
    drop(x), drop(y), drop(part), drop(sum);
}

TEST(nothing_is_recorded_without_need) {
    hg_tensor *x = scalar(2), *y = OP(MUL, hg_t(x), hg_t(x)), *w = leaf(1);
    CHECK(y->grad_fn == NULL);
    cx->grad_enabled = false;
    hg_tensor *z = OP(MUL, hg_t(w), hg_t(x));
    cx->grad_enabled = true;
    CHECK(z->grad_fn == NULL);
    CHECK_FAIL(HG_STATE, "does not require grad and does not have a grad_fn", backward(z));
    drop(x), drop(y), drop(w), drop(z);
}

TEST(only_scalars_go_without_a_gradient) {
    hg_tensor *x = leaf_of(SHAPE(2), VALUES(1, 2)), *y = OP(MUL, hg_t(x), hg_i(2)),
              *g = tensor_of(SHAPE(2), VALUES(1, 10));
    CHECK_FAIL(HG_STATE, "grad can be implicitly created only for scalar outputs", backward(y));
    CHECK_OK(hg_backward(cx, &y, &g, 1, false, false, NULL, -1, false, NULL));
    CHECK_EQ(value_at(x->grad, 1), 20);
    drop(x), drop(y), drop(g);
}

/* f at x + h and x - h in float64 against the gradient, and the same for the gradient itself. */
static void numeric_check(const char *name, hg_tensor *(*f)(hg_tensor *), int n_dim, const int64_t *shape) {
    hg_tensor *x, *y, *g = NULL;
    if (hg_tensor_empty(cx, HG_F64, n_dim, shape, &x) != HG_OK) return;
    double *at = (double *)(void *)x->data, h = 1e-5;
    for (int64_t i = 0; i < x->numel; i++) at[i] = (double)(i * 29 % 17 - 8) / 6 + 0.01 * (double)i;
    x->requires_grad = true;
    y = f(x);
    CHECK(y != NULL);
    if (y) {
        CHECK_OK(hg_backward(cx, &y, NULL, 1, true, true, &x, 1, false, &g));
        for (int64_t i = 0; g && i < x->numel && i < 7; i++) {
            double was = at[i], sides[2];
            cx->grad_enabled = false;
            for (int k = 0; k < 2; k++) {
                at[i] = was + (k ? h : -h);
                hg_tensor *z = f(x);
                sides[k] = z ? *(double *)(void *)z->data : NAN;
                drop(z);
            }
            cx->grad_enabled = true;
            at[i] = was;
            double want = (sides[1] - sides[0]) / (2 * h), got = ((double *)(void *)g->data)[i];
            if (!(fabs(want - got) < 1e-4 * (1 + fabs(want))))
                test_fail(__FILE__, __LINE__, "%s: gradient %lld is %g, by differences %g", name, (long long)i, got,
                          want);
        }
    }
    drop(x), drop(y), drop(g);
}

static hg_tensor *weighted_sum(hg_tensor *y) { /* steals y; a sum that tells the elements apart */
    if (!y) return NULL;
    hg_tensor *w = OP(ARANGE, hg_i(y->numel), hg_d(HG_F64)), *flat = OP(RESHAPE, hg_t(y), hg_ints((int64_t[]){-1}, 1));
    hg_tensor *product = OP(MUL, hg_t(flat), hg_t(w)), *sum = OP(SUM, hg_t(product));
    drop(y), drop(w), drop(flat), drop(product);
    return sum;
}

static hg_tensor *f_softmax(hg_tensor *x) { return weighted_sum(OP(SOFTMAX, hg_t(x), hg_i(1))); }
static hg_tensor *f_layer_norm(hg_tensor *x) {
    return weighted_sum(OP(LAYER_NORM, hg_t(x), hg_ints((int64_t[]){4}, 1)));
}
static hg_tensor *f_group_norm(hg_tensor *x) { return weighted_sum(OP(GROUP_NORM, hg_t(x), hg_i(2))); }
static hg_tensor *f_batch_norm(hg_tensor *x) {
    return weighted_sum(OP(BATCH_NORM, hg_t(x), HG_NONE, HG_NONE, HG_NONE, HG_NONE, hg_b(true)));
}
static hg_tensor *f_avg_pool(hg_tensor *x) { return weighted_sum(OP(AVG_POOL2D, hg_t(x), hg_i(2), hg_i(1), hg_i(1))); }
static hg_tensor *f_max_pool(hg_tensor *x) { return weighted_sum(OP(MAX_POOL2D, hg_t(x), hg_i(2), hg_i(1))); }

TEST(gradients_by_differences) {
    numeric_check("softmax", f_softmax, SHAPE(3, 4));
    numeric_check("layer_norm", f_layer_norm, SHAPE(3, 4));
    numeric_check("group_norm", f_group_norm, SHAPE(2, 4, 3));
    numeric_check("batch_norm", f_batch_norm, SHAPE(5, 3));
    numeric_check("avg_pool2d", f_avg_pool, SHAPE(1, 2, 4, 4));
    numeric_check("max_pool2d", f_max_pool, SHAPE(1, 2, 4, 4));
}
