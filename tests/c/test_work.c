/* Kernels that run without the host's lock, here a mutex: results, and the memory of what dies meanwhile. */
#include "core_impl.h"
#include "pool_impl.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 600000, ROUNDS = 12, N_THREADS = 3 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int n_unlocked;

static void *unlock_host(void *ud) {
    n_unlocked++;
    pthread_mutex_unlock(&lock);
    return ud;
}
static void lock_host(void *ud, void *unlocked) {
    CHECK(ud == unlocked);
    pthread_mutex_lock(&lock);
}

static void use_lock(void) {
    cx->lib->host.unlock = unlock_host, cx->lib->host.lock = lock_host;
    n_unlocked = 0;
}

static hg_tensor *filled_with(hg_ctx *c, double value) {
    hg_tensor *t = NULL;
    const int64_t n = SIZE;
    if (hg_call_op(c, HG_OP_FULL, (hg_arg[]){hg_ints(&n, 1), hg_f(value), hg_d(HG_F32)}, 3, &t) != HG_OK) return NULL;
    return t;
}

static void *compute(void *failed) {
    pthread_mutex_lock(&lock);
    hg_ctx *c = NULL;
    bool right = hg_ctx_new(cx->lib, &c) == HG_OK;
    for (int i = 0; i < ROUNDS && right; i++) {
        hg_tensor *a = filled_with(c, i), *b = filled_with(c, 2 * i), *sum = NULL;
        right = a && b && hg_add(c, a, b, &sum) == HG_OK;
        for (int64_t k = 0; k < SIZE && right; k++) right = ((float *)(void *)sum->data)[k] == (float)(3 * i);
        hg_release(c, a), hg_release(c, b), hg_release(c, sum);
    }
    hg_ctx_free(c);
    if (!right) atomic_store((atomic_bool *)failed, true);
    pthread_mutex_unlock(&lock);
    return NULL;
}

TEST(threads_compute_while_others_hold_the_lock) {
    pthread_t threads[N_THREADS];
    atomic_bool failed = false;
    int before = hg_get_num_threads();
    hg_set_num_threads(2);
    use_lock();
    for (int i = 0; i < N_THREADS; i++) CHECK(pthread_create(&threads[i], NULL, compute, &failed) == 0);
    for (int i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(!failed && n_unlocked >= N_THREADS * ROUNDS);
    hg_set_num_threads(before);
}

TEST(small_work_keeps_the_lock) {
    use_lock();
    pthread_mutex_lock(&lock);
    hg_tensor *a = leaf(1), *b = leaf(2), *sum = NULL;
    CHECK_OK(hg_add(cx, a, b, &sum));
    CHECK_EQ(ITEM(sum), 3);
    CHECK_EQ(n_unlocked, 0);
    drop(a), drop(b), drop(sum);
    pthread_mutex_unlock(&lock);
}

/* A kernel in whose middle its operand's memory is let go by somebody else. */
typedef struct victim {
    hg_storage *storage;
    char *data;
    bool alive;
} victim;

static void let_go(void *arg, int64_t begin, int64_t end) {
    victim *v = arg;
    (void)end;
    if (begin) return;
    pthread_mutex_lock(&lock);
    hg_storage_release(cx->lib, v->storage);
    v->alive = hg_memory_stats(cx->lib).in_use > 0;
    memset(v->data, 1, 100000);
    pthread_mutex_unlock(&lock);
}

TEST(memory_outlives_the_kernels_that_may_read_it) {
    victim v = {0};
    use_lock();
    pthread_mutex_lock(&lock);
    CHECK_OK(hg_storage_new(cx, 100000, &v.storage));
    if (v.storage) v.data = v.storage->data;
    hg_work(cx, 1000, 1, let_go, &v);
    CHECK(v.alive && n_unlocked == 1);
    CHECK_EQ(hg_memory_stats(cx->lib).in_use, 0);
    pthread_mutex_unlock(&lock);
}

/* A child of a thread's while another is in a kernel: what dies there is buried at once. */
static void fork_within(void *arg, int64_t begin, int64_t end) {
    (void)end;
    if (begin) return;
    pthread_mutex_lock(&lock);
    pid_t child = fork();
    if (child == 0) {
        hg_storage *s = NULL;
        bool fine = hg_storage_new(cx, 100000, &s) == HG_OK;
        if (fine) hg_storage_release(cx->lib, s);
        _exit(fine && hg_memory_stats(cx->lib).in_use == 0 ? 0 : 1);
    }
    int status = -1;
    *(bool *)arg = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    pthread_mutex_unlock(&lock);
}

TEST(a_child_process_waits_for_none_of_its_parents_kernels) {
    bool fine = false;
    use_lock();
    pthread_mutex_lock(&lock);
    hg_work(cx, 1000, 1, fork_within, &fine);
    pthread_mutex_unlock(&lock);
    CHECK(fine);
}
