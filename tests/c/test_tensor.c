/* Tensors as memory: making, sharing, borrowing, and what cannot be made. */
#include "test.h"

TEST(empty_tensor_is_contiguous) {
    hg_tensor *t;
    CHECK_OK(hg_tensor_empty(cx, HG_F32, SHAPE(2, 3, 4), &t));
    CHECK_EQ(t->numel, 24);
    CHECK_EQ(t->stride[0], 12);
    CHECK_EQ(t->stride[2], 1);
    CHECK(t->contiguous && t->storage->n_ref == 1 && t->storage->version == 0);
    drop(t);
}

TEST(tensor_of_many_dimensions) {
    int64_t shape[HG_MAX_DIM + 1];
    hg_tensor *t;
    for (int i = 0; i <= HG_MAX_DIM; i++) shape[i] = 1;
    CHECK_OK(hg_tensor_empty(cx, HG_F64, HG_MAX_DIM, shape, &t));
    CHECK_EQ(t->n_dim, HG_MAX_DIM);
    drop(t);
    CHECK(hg_tensor_empty(cx, HG_F64, HG_MAX_DIM + 1, shape, &t) != HG_OK);
}

TEST(impossible_sizes_are_refused) {
    hg_tensor *t;
    CHECK(hg_tensor_empty(cx, HG_F32, SHAPE(2, -1), &t) != HG_OK);
    CHECK(hg_tensor_empty(cx, HG_F32, SHAPE(INT64_MAX, 2), &t) != HG_OK);
    CHECK(hg_tensor_empty(cx, HG_F32, SHAPE(INT64_MAX / 4, 1), &t) != HG_OK);
    CHECK_OK(hg_tensor_empty(cx, HG_F32, SHAPE(0, 5), &t));
    CHECK_EQ(t->numel, 0);
    drop(t);
}

TEST(alias_and_detach_share_storage) {
    hg_tensor *t = tensor_of(SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, 6)), *column, *same;
    CHECK_OK(hg_tensor_alias(cx, t, 1, (int64_t[]){2}, (int64_t[]){3}, 1, &column));
    CHECK_OK(hg_tensor_detach(cx, t, &same));
    CHECK_EQ(t->storage->n_ref, 3);
    CHECK_EQ(hg_tensor_offset(column), 1);
    CHECK(!column->contiguous);
    ((float *)(void *)t->data)[4] = 50;
    CHECK_EQ(((float *)(void *)column->data)[3], 50);
    drop(t), drop(same);
    CHECK_EQ(((float *)(void *)column->data)[0], 2);
    drop(column);
}

static int n_freed;
static void count_free(void *owner) { n_freed += *(int *)owner; }

TEST(wrapped_memory_is_given_back_once) {
    float memory[4] = {1, 2, 3, 4};
    int owner = 1;
    hg_tensor *t, *view;
    n_freed = 0;
    CHECK_OK(
        hg_tensor_wrap(cx, memory, HG_F32, 1, (int64_t[]){4}, (int64_t[]){1}, sizeof memory, count_free, &owner, &t));
    CHECK_OK(hg_tensor_alias(cx, t, 1, (int64_t[]){2}, (int64_t[]){2}, 0, &view));
    drop(t);
    CHECK_EQ(n_freed, 0);
    CHECK_EQ(value_at(view, 0), 1);
    drop(view);
    CHECK_EQ(n_freed, 1);
}

TEST(set_data_keeps_identity) {
    hg_tensor *t = leaf(1), *other = tensor_of(SHAPE(2), VALUES(5, 6));
    CHECK_OK(hg_tensor_set_data(cx, t, other));
    CHECK_EQ(t->numel, 2);
    CHECK(t->requires_grad && t->storage == other->storage);
    drop(t), drop(other);
}

TEST(data_has_a_version_of_its_own) {
    hg_tensor *t = tensor_of(SHAPE(2), VALUES(1, 2)), *data;
    CHECK_OK(hg_tensor_data(cx, t, &data));
    CHECK_OK(hg_call_inplace(cx, HG_OP_ADD, (hg_arg[]){hg_t(data), hg_i(10)}, 2));
    CHECK_EQ(value_at(t, 1), 12);
    CHECK_EQ(t->storage->version, 0);
    drop(t);
    CHECK_EQ(value_at(data, 0), 11);
    drop(data);
}

TEST(a_meta_tensor_gives_shapes_and_keeps_its_values_to_itself) {
    hg_tensor *t = tensor_of(SHAPE(2, 3), VALUES(1, 2, 3, 4, 5, 6)), *sum, *row;
    hg_arg number;
    CHECK(!hg_is_meta(t) && !hg_has_metas(cx->lib));
    CHECK_OK(hg_make_meta(cx, t));
    CHECK_OK(hg_call_op(cx, HG_OP_ADD, (hg_arg[]){hg_t(t), hg_i(1)}, 2, &sum));
    CHECK(hg_is_meta(sum) && sum->n_dim == 2 && sum->shape[1] == 3);
    CHECK_OK(hg_call_op(cx, HG_OP_SELECT, (hg_arg[]){hg_t(t), hg_i(0), hg_i(1)}, 3, &row));
    CHECK(hg_is_meta(row) && row->storage == t->storage && row->numel == 3);
    drop(row);
    CHECK_OK(hg_call_op(cx, HG_OP_SELECT, (hg_arg[]){hg_t(sum), hg_i(1), hg_i(1)}, 3, &row));
    drop(sum);
    CHECK_OK(hg_call_op(cx, HG_OP_SELECT, (hg_arg[]){hg_t(row), hg_i(0), hg_i(1)}, 3, &sum));
    CHECK_FAIL(HG_STATE, "meta tensors", hg_item(cx, sum, &number));
    drop(t), drop(sum), drop(row);
}
