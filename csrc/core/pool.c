/* The threads of the process.

   Note [Pool]
   One pool serves the process, as there is one set of processors. Its threads start with the first work that is large
   enough. Between two jobs a thread looks for the next one for some tenths of a millisecond, then sleeps: to wake one takes 20
   to 50 microseconds. Some systems wake what sleeps often on its waker's processor, to leave others idle, and there it
   takes turns with the caller: a worker that finds itself there moves, and forgoes that processor. A job's ranges are fixed when
   it begins and taken one by one by whoever is free, the caller among them: a thread that wakes late, or whose processor is
   taken, delays nobody.

   `busy` says whose the pool is: who finds it taken (another thread's job, or a job within a job) runs the work alone. All
   else is changed under `lock`; `ticket` and `running` are atomic because they are also looked at without it. A child process has
   none of its parent's threads, and whatever a thread that is no more had locked: it begins with a new pool. */
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

static struct {
    atomic_bool busy;
    atomic_uint ticket; /* counts jobs */
    atomic_int running; /* ranges being computed */
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int n_workers, n_asleep;
    bool caller_waits;
    /* The job. */
    hg_range_fn fn;
    void *arg;
    int64_t n, n_parts, next_part;
    int n_helpers; /* workers it may still take */
    int processor; /* the caller's */
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

/* Takes ranges until none is left. The lock is held before and after, not while one is computed. */
static void take_parts(void) {
    while (pool.next_part < pool.n_parts) {
        int64_t i = pool.next_part++, begin = boundary(pool.n, pool.n_parts, i),
                end = boundary(pool.n, pool.n_parts, i + 1);
        hg_range_fn fn = pool.fn;
        void *arg = pool.arg;
        atomic_fetch_add(&pool.running, 1);
        pthread_mutex_unlock(&pool.lock);
        fn(arg, begin, end);
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_sub(&pool.running, 1);
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

/* Is it where the last job's caller ran? */
static bool is_shared(void) { return pool.processor >= 0 && pool.processor == this_processor(); }

/* Where the workers may run, at most. */
static void note_allowed(void) {
#ifdef __linux__
    if (sched_getaffinity(0, sizeof allowed, &allowed)) CPU_ZERO(&allowed);
#endif
}

/* Moves this thread to another processor than this one, if it may have one. The lock is held before and after. */
static void leave(int processor) {
#ifdef __linux__
    cpu_set_t others = allowed;
    CPU_CLR(processor, &others);
    if (CPU_COUNT(&others) == 0) return;
    pthread_mutex_unlock(&pool.lock);
    sched_setaffinity(0, sizeof others, &others);
    pthread_mutex_lock(&pool.lock);
#else
    (void)processor;
#endif
}

static void *worker(void *seen_at_start) {
    unsigned seen = (unsigned)(uintptr_t)seen_at_start;
    bool alone = true; /* on its processor, but for other programs */
    for (;;) {
        for (int i = 0; alone && i < SPINS && atomic_load_explicit(&pool.ticket, memory_order_relaxed) == seen; i++)
            relax();
        pthread_mutex_lock(&pool.lock);
        while (atomic_load(&pool.ticket) == seen) {
            pool.n_asleep++;
            pthread_cond_wait(&pool.work, &pool.lock);
            pool.n_asleep--;
        }
        if (is_shared()) leave(pool.processor);
        alone = !is_shared();
        seen = atomic_load(&pool.ticket);
        if (pool.n_helpers > 0) {
            pool.n_helpers--;
            take_parts();
            if (pool.caller_waits && atomic_load(&pool.running) == 0) pthread_cond_signal(&pool.done);
        }
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void forget_threads(void) { /* in a child process, before anything else runs */
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.n_workers = pool.n_asleep = pool.n_helpers = 0;
    pool.n_parts = pool.next_part = 0;
    pool.caller_waits = false;
    atomic_store(&pool.running, 0);
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
    note_allowed();
    void *seen = (void *)(uintptr_t)atomic_load(&pool.ticket);
    pthread_t thread;
    while (pool.n_workers < wanted && pthread_create(&thread, &detached, worker, seen) == 0) pool.n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
}

/* ---- A job ------------------------------------------------------------------------------------------------------------------- */

void hg_parallel_for(int64_t n, int64_t grain, hg_range_fn fn, void *arg) {
    if (n <= 0) return;
    int threads = n <= grain ? 1 : hg_get_num_threads();
    int64_t parts = grain > 1 ? n / grain : n;
    if (parts > threads) /* as much for each thread */
        parts = parts >= threads * PARTS_A_THREAD ? threads * PARTS_A_THREAD : parts / threads * threads;
    if (threads < 2 || parts < 2 || atomic_exchange(&pool.busy, true)) {
        fn(arg, 0, n);
        return;
    }
    int helpers = (int)(parts < threads ? parts : threads) - 1;
    pthread_mutex_lock(&pool.lock);
    if (pool.n_workers < helpers) start_workers(helpers);
    pool.fn = fn, pool.arg = arg;
    pool.n = n, pool.n_parts = parts, pool.next_part = 0;
    pool.n_helpers = helpers;
    pool.processor = this_processor();
    atomic_fetch_add(&pool.ticket, 1);
    for (int to_wake = helpers - (pool.n_workers - pool.n_asleep); to_wake > 0 && pool.n_asleep; to_wake--)
        pthread_cond_signal(&pool.work);
    take_parts();
    pool.n_helpers = 0;
    if (atomic_load(&pool.running)) {
        pthread_mutex_unlock(&pool.lock);
        for (int i = 0; i < SPINS && atomic_load(&pool.running); i++) relax();
        pthread_mutex_lock(&pool.lock);
    }
    pool.caller_waits = true;
    while (atomic_load(&pool.running)) pthread_cond_wait(&pool.done, &pool.lock);
    pool.caller_waits = false;
    pthread_mutex_unlock(&pool.lock);
    atomic_store(&pool.busy, false);
}
