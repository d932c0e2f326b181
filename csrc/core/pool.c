/* The threads of the process.

   Note [Pool]
   One pool serves the process, as there is one set of processors. Its threads start with the first work that is large
   enough. Between two jobs a thread looks for the next one for some tenths of a millisecond, then sleeps: to wake one takes 20
   to 50 microseconds. Some systems wake what sleeps often on its waker's processor, to leave others idle, and there it
   takes turns with the caller: a worker that finds itself there moves, and forgoes that processor. A job's ranges are fixed when
   it begins and taken one by one by whoever is free, the caller among them: a thread that wakes late, or whose processor is
   taken, delays nobody.

   `busy` says whose the pool is: who finds it taken (another thread's job, or a job within a job) runs the work alone. A job is
   one word, from which ranges are taken without a lock: who has taken one may read what the owner has written beside it, which
   stays until all ranges are done. The owner takes them from the front and workers from the end, so that two threads read in the next
   job what they wrote in this one, from their own caches. The lock is for going to sleep and waking. A child process has none
   of its parent's threads, and whatever a thread that is no more had locked: it begins with a new pool. */
#include "hookgrad.h"
#include "pool_impl.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

enum { MAX_THREADS = 256, SPINS = 10000, PARTS_A_THREAD = 4 };

/* The bits of a job, from the lowest on: the first range that is left, the end of those, how many workers may still join, and the
   job's number. */
enum { BITS_OF_RANGES = 16, BITS_OF_HELPERS = 8 };
#define ONE_AT_END      ((uint64_t)1 << BITS_OF_RANGES)
#define ONE_HELPER      ((uint64_t)1 << 2 * BITS_OF_RANGES)
#define ONE_JOB         (ONE_HELPER << BITS_OF_HELPERS)
#define FIRST_OF(job)   ((int64_t)((job)&0xffff))
#define END_OF(job)     ((int64_t)((job) >> BITS_OF_RANGES & 0xffff))
#define HELPERS_OF(job) ((job) >> 2 * BITS_OF_RANGES & 0xff)
#define NUMBER_OF(job)  ((job) / ONE_JOB)
_Static_assert(MAX_THREADS <= 1 << BITS_OF_HELPERS && MAX_THREADS * PARTS_A_THREAD < 1 << BITS_OF_RANGES,
               "a job's bits");

static struct {
    _Alignas(64) _Atomic uint64_t job; /* a cache line that goes to the workers at once */
    hg_range_fn fn;
    void *arg;
    int64_t n, n_ranges;
    atomic_int processor;           /* the owner's */
    _Alignas(64) atomic_int n_done; /* ranges; it comes back from the workers */
    atomic_bool busy;
    atomic_bool owner_sleeps;
    atomic_int n_asleep;
    int n_workers; /* the owner's to change */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

#ifdef __linux__
static cpu_set_t allowed; /* processors of the thread that started the workers */
#endif
static atomic_int n_threads; /* 0: not yet known */

/* ---- How many ------------------------------------------------------------------------------------------------------------ */

static int processors(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

/* A positive number in the environment, or 0. OMP_NUM_THREADS may be a list: its first is meant. */
static int number_in(const char *name) {
    const char *words = getenv(name);
    long n = words ? strtol(words, NULL, 10) : 0;
    return n < 1 ? 0 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

static int default_threads(void) {
    int n = number_in("HOOKGRAD_NUM_THREADS"), there = processors(), wanted = number_in("OMP_NUM_THREADS");
    return n ? n : wanted && wanted < there ? wanted : there < MAX_THREADS ? there : MAX_THREADS;
}

int hg_get_num_threads(void) {
    int n = atomic_load_explicit(&n_threads, memory_order_relaxed);
    if (n) return n;
    atomic_compare_exchange_strong(&n_threads, &n, default_threads());
    return atomic_load_explicit(&n_threads, memory_order_relaxed);
}

void hg_set_num_threads(int n) { atomic_store(&n_threads, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n); }

/* ---- Workers --------------------------------------------------------------------------------------------------------------- */

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Boundaries of long ranges lie on whole cache lines. */
static int64_t boundary(int64_t n, int64_t parts, int64_t i) {
    int64_t at = (int64_t)((double)n / (double)parts * (double)i);
    return i == parts ? n : n / parts >= 1024 ? at & ~(int64_t)63 : at;
}

/* Takes ranges of a job until none is left. */
static void take_ranges(uint64_t number, bool as_owner) {
    uint64_t price = as_owner ? 0 : ONE_HELPER; /* of the first */
    for (;; price = 0) {
        uint64_t job = atomic_load(&pool.job);
        do {
            if (NUMBER_OF(job) != number || FIRST_OF(job) == END_OF(job)) return;
            if (price && !HELPERS_OF(job)) return;
        } while (!atomic_compare_exchange_weak(&pool.job, &job, as_owner ? job + 1 : job - ONE_AT_END - price));
        int64_t n = pool.n, ranges = pool.n_ranges, i = as_owner ? FIRST_OF(job) : END_OF(job) - 1;
        pool.fn(pool.arg, boundary(n, ranges, i), boundary(n, ranges, i + 1));
        if (atomic_fetch_add(&pool.n_done, 1) + 1 == ranges && atomic_load(&pool.owner_sleeps)) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.lock);
        }
    }
}

/* Where this thread runs, or -1. */
static int this_processor(void) {
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

/* The processor that the last job's owner had, if this thread is there as well; otherwise -1. */
static int shared_processor(void) {
    int owners = atomic_load_explicit(&pool.processor, memory_order_relaxed);
    return owners == this_processor() ? owners : -1;
}

/* Where the workers may run, at most. */
static void note_allowed(void) {
#ifdef __linux__
    if (sched_getaffinity(0, sizeof allowed, &allowed)) CPU_ZERO(&allowed);
#endif
}

/* Moves this thread to another processor than this one, if it may have one. */
static void leave(int processor) {
#ifdef __linux__
    cpu_set_t others = allowed;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others)) sched_setaffinity(0, sizeof others, &others);
#else
    (void)processor;
#endif
}

static void sleep_through(uint64_t number) {
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.n_asleep, 1);
    while (NUMBER_OF(atomic_load(&pool.job)) == number) pthread_cond_wait(&pool.work, &pool.lock);
    atomic_fetch_sub(&pool.n_asleep, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void *worker(void *number_at_start) {
    uint64_t number = (uintptr_t)number_at_start;
    for (int spins = SPINS;;) {
        while (NUMBER_OF(atomic_load_explicit(&pool.job, memory_order_relaxed)) == number && spins-- > 0) relax();
        if (NUMBER_OF(atomic_load(&pool.job)) == number) sleep_through(number);
        int shared = shared_processor();
        if (shared >= 0) leave(shared), shared = shared_processor();
        spins = shared >= 0 ? 0 : SPINS;
        number = NUMBER_OF(atomic_load(&pool.job));
        take_ranges(number, false);
    }
    return NULL;
}

static void forget_threads(void) { /* in a child process, before anything else runs */
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.n_workers = 0;
    atomic_store(&pool.n_asleep, 0);
    atomic_store(&pool.owner_sleeps, false);
    atomic_store(&pool.busy, false);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

/* Fewer than wanted where the system gives no more. Signals are for the threads of the program. */
static void start_workers(int wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_attr_t detached;
    sigset_t all, before;
    sigfillset(&all);
    if (pthread_attr_init(&detached)) return;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pool.n_workers == 0) note_allowed(); /* who reads it would be a worker */
    void *number = (void *)(uintptr_t)NUMBER_OF(atomic_load(&pool.job));
    pthread_t thread;
    while (pool.n_workers < wanted && pthread_create(&thread, &detached, worker, number) == 0) pool.n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
}

/* ---- A job ------------------------------------------------------------------------------------------------------------------- */

void hg_parallel_for(int64_t n, int64_t grain, hg_range_fn fn, void *arg) {
    if (n <= grain) { /* before anything is divided: that takes as long as a small call's work */
        if (n > 0) fn(arg, 0, n);
        return;
    }
    int threads = hg_get_num_threads();
    int64_t parts = grain > 1 ? n / grain : n;
    if (parts > threads) /* as much for each thread */
        parts = parts >= threads * PARTS_A_THREAD ? threads * PARTS_A_THREAD : parts / threads * threads;
    if (threads < 2 || parts < 2 || atomic_exchange(&pool.busy, true)) {
        fn(arg, 0, n);
        return;
    }
    int helpers = (int)(parts < threads ? parts : threads) - 1;
    if (pool.n_workers < helpers) start_workers(helpers);
    uint64_t number = NUMBER_OF(atomic_load(&pool.job) + ONE_JOB);
    pool.fn = fn, pool.arg = arg, pool.n = n, pool.n_ranges = parts;
    atomic_store_explicit(&pool.processor, this_processor(), memory_order_relaxed);
    atomic_store(&pool.n_done, 0);
    atomic_store(&pool.job, number * ONE_JOB + (uint64_t)helpers * ONE_HELPER + (uint64_t)parts * ONE_AT_END);
    int to_wake = helpers - (pool.n_workers - atomic_load(&pool.n_asleep));
    if (to_wake > 0) {
        pthread_mutex_lock(&pool.lock);
        while (to_wake-- > 0) pthread_cond_signal(&pool.work);
        pthread_mutex_unlock(&pool.lock);
    }
    take_ranges(number, true);
    for (int spins = SPINS; atomic_load(&pool.n_done) < parts && spins-- > 0;) relax();
    if (atomic_load(&pool.n_done) < parts) {
        pthread_mutex_lock(&pool.lock);
        atomic_store(&pool.owner_sleeps, true);
        while (atomic_load(&pool.n_done) < parts) pthread_cond_wait(&pool.done, &pool.lock);
        atomic_store(&pool.owner_sleeps, false);
        pthread_mutex_unlock(&pool.lock);
    }
    atomic_store(&pool.busy, false);
}
