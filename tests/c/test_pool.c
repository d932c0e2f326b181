/* The pool: every index once, whoever computes it, and whatever else goes on. */
#include "pool_impl.h"
#include "test.h"

#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 100000 };

typedef struct counts {
    int32_t at[N];
    atomic_int n_ranges;
} counts;

static void count(void *arg, int64_t begin, int64_t end) {
    counts *c = arg;
    atomic_fetch_add(&c->n_ranges, 1);
    for (int64_t i = begin; i < end; i++) c->at[i]++;
}

/* Does every index below n come once? */
static bool covers(int64_t n, int64_t grain) {
    counts *c = calloc(1, sizeof *c);
    if (!c) abort();
    hg_parallel_for(n, grain, count, c);
    bool all = true;
    for (int64_t i = 0; i < N; i++) all &= c->at[i] == (i < n);
    all &= n > 0 || c->n_ranges == 0;
    all &= c->n_ranges <= 1 || n / c->n_ranges >= grain;
    free(c);
    return all;
}

TEST(every_index_is_computed_once) {
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 64, 1000, 4096, 65536, N};
    static const int threads[] = {1, 2, 3, 5, 8};
    int before = hg_get_num_threads();
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        hg_set_num_threads(threads[t]);
        CHECK_EQ(hg_get_num_threads(), threads[t]);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int64_t grain = 1; grain <= N; grain *= 10) CHECK(covers(sizes[i], grain));
    }
    hg_set_num_threads(before);
}

TEST(the_number_of_threads_stays_within_bounds) {
    int before = hg_get_num_threads();
    CHECK(before >= 1);
    hg_set_num_threads(-3);
    CHECK_EQ(hg_get_num_threads(), 1);
    hg_set_num_threads(1 << 30);
    CHECK(hg_get_num_threads() >= 64 && hg_get_num_threads() < 1 << 20);
    hg_set_num_threads(before);
}

static void nest(void *arg, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) hg_parallel_for(N, 1, count, (counts *)arg + i);
}

TEST(work_within_work_runs_where_it_is) {
    enum { OUTER = 6 };
    int before = hg_get_num_threads();
    counts *c = calloc(OUTER, sizeof *c);
    if (!c) abort();
    hg_set_num_threads(3);
    hg_parallel_for(OUTER, 1, nest, c);
    for (int k = 0; k < OUTER; k++) {
        bool all = true;
        for (int64_t i = 0; i < N; i++) all &= c[k].at[i] == 1;
        CHECK(all);
        CHECK_EQ(c[k].n_ranges, 1);
    }
    free(c);
    hg_set_num_threads(before);
}

static void *use_pool(void *failed) {
    for (int i = 0; i < 50; i++)
        if (!covers(N - i, 1000)) atomic_store((atomic_bool *)failed, true);
    return NULL;
}

TEST(several_threads_share_the_pool) {
    pthread_t threads[4];
    atomic_bool failed = false;
    int before = hg_get_num_threads();
    hg_set_num_threads(3);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, use_pool, &failed) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    CHECK(!failed);
    hg_set_num_threads(before);
}

/* A child of a process whose pool another thread is using. */
TEST(a_child_process_has_a_pool_of_its_own) {
    pthread_t thread;
    atomic_bool failed = false;
    int before = hg_get_num_threads();
    hg_set_num_threads(3);
    CHECK(covers(N, 1000));
    CHECK(pthread_create(&thread, NULL, use_pool, &failed) == 0);
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0) _exit(covers(N, 1000) && covers(N, 1) ? 0 : 1);
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    pthread_join(thread, NULL);
    CHECK(!failed && covers(N, 1000));
    hg_set_num_threads(before);
}

#ifdef __linux__
typedef struct places {
    pthread_t caller;
    int processor; /* the caller's */
    atomic_int n_shared;
} places;

static void note_place(void *arg, int64_t begin, int64_t end) {
    places *p = arg;
    volatile double sum = 0;
    for (int64_t i = 0; i < 10000 * (end - begin); i++) sum += 1;
    if (!pthread_equal(pthread_self(), p->caller) && sched_getcpu() == p->processor) atomic_fetch_add(&p->n_shared, 1);
}

/* A worker may be put there in the middle of a job, once: then it moves, and does not come back. There may be eight. */
TEST(a_worker_leaves_the_callers_processor) {
    cpu_set_t all, one;
    int before = hg_get_num_threads();
    places p = {.caller = pthread_self()};
    hg_set_num_threads(2);
    CHECK(covers(N, 1000)); /* workers may run wherever this thread may now */
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(p.processor, &all)) p.processor++;
    CPU_ZERO(&one);
    CPU_SET(p.processor, &one);
    if (CPU_COUNT(&all) > 1 && sched_setaffinity(0, sizeof one, &one) == 0) {
        for (int i = 0; i < 500; i++) hg_parallel_for(2, 1, note_place, &p);
        CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
    }
    CHECK(p.n_shared <= 8);
    hg_set_num_threads(before);
}
#endif
