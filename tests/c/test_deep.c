/* A graph so deep that anything recursive about building, running or freeing it would run out of stack. */
#include "test.h"

#include <sys/resource.h>

enum { DEEP = 3000000, STACK = 8 << 20 };

TEST(three_million_nodes_deep) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK(limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur <= STACK || limit.rlim_cur > STACK);
    hg_tensor *x = leaf(1), *y = x;
    hg_retain(cx, x);
    for (int i = 0; i < DEEP && y; i++) {
        hg_tensor *next = NULL;
        if (hg_call_op(cx, HG_OP_ADD, (hg_arg[]){hg_t(y), hg_i(0)}, 2, &next) != HG_OK) next = NULL;
        drop(y);
        y = next;
    }
    CHECK(y != NULL);
    CHECK_OK(backward(y));
    CHECK_EQ(ITEM(x->grad), 1);
    drop(y);
    hg_empty_cache(cx->lib);
    CHECK_EQ(host->n_objects, 3); /* x, its gradient, and its accumulator, which rests */
    drop(x);
}

TEST(a_deep_graph_is_freed_without_having_run) {
    hg_tensor *x = leaf(1), *y = x;
    hg_retain(cx, x);
    for (int i = 0; i < DEEP / 10 && y; i++) {
        hg_tensor *next = OP(MUL, hg_t(y), hg_t(y));
        drop(y);
        y = next;
    }
    drop(y);
    hg_empty_cache(cx->lib);
    CHECK_EQ(host->n_objects, 2); /* x and its accumulator */
    drop(x);
}
