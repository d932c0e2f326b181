/* Ops: values, shapes, dtypes, and what they say when something does not fit. */
#include "test.h"

TEST(every_row_of_the_table_is_well_formed) {
    for (int id = 0; id < HG_N_OPS; id++) {
        const hg_op_info *info = hg_op_at(cx->lib, id);
        CHECK(info && info->name[0]);
        if (info && info->differentiable) CHECK(strlen(info->node_name) > 3);
    }
}

TEST(broadcasting) {
    hg_tensor *a = tensor_of(SHAPE(2, 1), VALUES(1, 2)), *b = tensor_of(SHAPE(3), VALUES(10, 20, 30)), *c = NULL;
    CHECK_OK(hg_add(cx, a, b, &c));
    CHECK_EQ(c->n_dim, 2);
    CHECK_EQ(value_at(c, 5), 32);
    drop(c);
    hg_tensor *d = tensor_of(SHAPE(2), VALUES(1, 2));
    CHECK_FAIL(HG_SHAPE, "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 0",
               hg_add(cx, b, d, &c));
    drop(a), drop(b), drop(d);
}

TEST(numbers_promote_by_category) {
    hg_tensor *i, *f = OP(FULL, hg_ints((int64_t[]){2}, 1), hg_i(3), hg_d(HG_I32));
    i = OP(ADD, hg_t(f), hg_i(1));
    CHECK_EQ(i->dtype, HG_I32);
    drop(i);
    i = OP(ADD, hg_t(f), hg_f(0.5));
    CHECK_EQ(i->dtype, HG_F32);
    CHECK_EQ(value_at(i, 1), 3.5);
    drop(i), drop(f);
}

TEST(matrix_product) {
    hg_tensor *a = tensor_of(SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, 6)),
              *b = tensor_of(SHAPE(3, 2), VALUES(1, 2, 3, 4, 5, 6)), *c;
    CHECK_OK(hg_matmul(cx, a, b, &c));
    CHECK_EQ(value_at(c, 0), 22);
    CHECK_EQ(value_at(c, 3), 64);
    drop(c);
    CHECK_FAIL(HG_SHAPE, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", hg_matmul(cx, a, a, &c));
    drop(a), drop(b);
}

TEST(defaults_are_filled_in_and_missing_arguments_named) {
    hg_tensor *a = tensor_of(SHAPE(2, 2), VALUES(1, 2, 3, 4)), *y = OP(FLATTEN, hg_t(a)), *none = NULL;
    CHECK_EQ(y->n_dim, 1);
    drop(y);
    CHECK_FAIL(HG_TYPE, "missing", hg_call_op(cx, HG_OP_TRANSPOSE, (hg_arg[]){hg_t(a)}, 1, &none));
    CHECK(!none);
    drop(a);
}

TEST(in_place_counts_versions) {
    hg_tensor *a = tensor_of(SHAPE(2), VALUES(1, 2));
    CHECK_OK(hg_call_inplace(cx, HG_OP_MUL, (hg_arg[]){hg_t(a), hg_i(3)}, 2));
    CHECK_EQ(value_at(a, 1), 6);
    CHECK_EQ(a->storage->version, 1);
    drop(a);
}

TEST(lists_of_views) {
    hg_tensor *a = tensor_of(SHAPE(4), VALUES(1, 2, 3, 4)), **parts;
    int n;
    CHECK_OK(hg_call_list(cx, HG_OP_SPLIT, (hg_arg[]){hg_t(a), hg_i(3)}, 2, &parts, &n));
    CHECK_EQ(n, 2);
    CHECK_EQ(value_at(parts[1], 0), 4);
    CHECK(parts[0]->storage == a->storage);
    hg_list_free(cx, parts, n);
    drop(a);
}

/* A convolution by its definition. */
static double conv_at(const hg_tensor *x, const hg_tensor *w, int64_t n, int64_t o, int64_t y0, int64_t x0, int stride,
                      int pad, int dilation, int groups) {
    int64_t ci = w->shape[1], kh = w->shape[2], kw = w->shape[3], per_group = w->shape[0] / groups;
    double sum = 0;
    for (int64_t c = 0; c < ci; c++)
        for (int64_t i = 0; i < kh; i++)
            for (int64_t j = 0; j < kw; j++) {
                int64_t y = y0 * stride - pad + i * dilation, xx = x0 * stride - pad + j * dilation;
                int64_t ch = o / per_group * ci + c;
                if (y < 0 || xx < 0 || y >= x->shape[2] || xx >= x->shape[3]) continue;
                sum += value_at(x, ((n * x->shape[1] + ch) * x->shape[2] + y) * x->shape[3] + xx) *
                       value_at(w, ((o * ci + c) * kh + i) * kw + j);
            }
    return sum;
}

static hg_tensor *counted(int n_dim, const int64_t *shape) {
    double values[1024];
    for (int i = 0; i < 1024; i++) values[i] = (i * 37 % 19 - 9) / 4.0;
    return tensor_of(n_dim, shape, values);
}

TEST(convolution_by_its_definition) {
    static const int settings[][4] = {{1, 0, 1, 1}, {2, 1, 1, 1}, {1, 2, 2, 1}, {2, 1, 1, 2}, {3, 2, 2, 2}};
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        const int *s = settings[k];
        hg_tensor *x = counted(SHAPE(2, 4, 7, 6)), *w = counted(4, (int64_t[]){4, 4 / s[3], 3, 2});
        hg_tensor *y = OP(CONV2D, hg_t(x), hg_t(w), HG_NONE, hg_i(s[0]), hg_i(s[1]), hg_i(s[2]), hg_i(s[3]));
        CHECK(y != NULL);
        for (int64_t i = 0; y && i < y->numel; i++) {
            int64_t ox = i % y->shape[3], oy = i / y->shape[3] % y->shape[2], o = i / y->shape[3] / y->shape[2] % 4;
            CHECK_NEAR(value_at(y, i),
                       conv_at(x, w, i / y->shape[3] / y->shape[2] / 4, o, oy, ox, s[0], s[1], s[2], s[3]));
        }
        drop(x), drop(w), drop(y);
    }
}

TEST(convolution_says_what_does_not_fit) {
    hg_tensor *x = counted(SHAPE(1, 3, 4, 4)), *w = counted(SHAPE(2, 2, 3, 3)), *y = NULL;
    CHECK_FAIL(
        HG_STATE,
        "Given groups=1, weight of size [2, 2, 3, 3], expected input[1, 3, 4, 4] to have 2 channels, but got 3 channels",
        hg_call_op(cx, HG_OP_CONV2D, (hg_arg[]){hg_t(x), hg_t(w)}, 2, &y));
    drop(x), drop(w);
}

TEST(softmax_sums_to_one) {
    hg_tensor *x = counted(SHAPE(3, 5)), *y = OP(SOFTMAX, hg_t(x), hg_i(0)),
              *s = OP(SUM_DIM, hg_t(y), hg_ints((int64_t[]){0}, 1));
    for (int i = 0; i < 5; i++) CHECK_NEAR(value_at(s, i), 1);
    drop(x), drop(y), drop(s);
}

TEST(losses_check_their_targets) {
    hg_tensor *x = counted(SHAPE(2, 3)), *y = NULL, *t = OP(FULL, hg_ints((int64_t[]){2}, 1), hg_i(5), hg_d(HG_I64));
    CHECK_FAIL(HG_INDEX, "Target 5 is out of bounds.",
               hg_call_op(cx, HG_OP_CROSS_ENTROPY, (hg_arg[]){hg_t(x), hg_t(t)}, 2, &y));
    CHECK_FAIL(HG_VALUE, "foo is not a valid value for reduction",
               hg_call_op(cx, HG_OP_MSE_LOSS, (hg_arg[]){hg_t(x), hg_t(x), hg_s("foo")}, 3, &y));
    drop(t);
    t = counted(SHAPE(2, 1));
    CHECK_OK(hg_call_op(cx, HG_OP_MSE_LOSS, (hg_arg[]){hg_t(x), hg_t(t)}, 2, &y));
    CHECK_EQ(host->n_warnings, 1);
    CHECK(strstr(host->last_warning, "UserWarning: Using a target size (torch.Size([2, 1]))"));
    drop(x), drop(t), drop(y);
}
