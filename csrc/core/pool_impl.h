/* Large work split over threads: see Note [Pool] in pool.c. How many is hg_set_num_threads()'s (hookgrad.h). */
#ifndef HG_POOL_IMPL_H
#define HG_POOL_IMPL_H

#include "hookgrad.h"

/* Called with disjoint ranges that together are [0, n). It sees raw memory only: no object, no context. */
typedef void (*hg_range_fn)(void *arg, int64_t begin, int64_t end);

/* Runs fn over [0, n) in ranges of about `grain` or more, in this thread and in those of the pool; returns when all is
   done. Where the ranges lie depends on the number of threads: what is computed of an element must not depend on its
   range. Called from within fn, or while another thread has the pool, everything runs here. It cannot fail. */
void hg_parallel_for(int64_t n, int64_t grain, hg_range_fn fn, void *arg);

/* The same for kernels: what takes long runs without the host's lock, see Note [Running unlocked] in work.c. `grain` is as much
   as takes about 10 microseconds. The caller, or whoever called it, holds the tensors. */
void hg_work(hg_ctx *cx, int64_t n, int64_t grain, hg_range_fn fn, void *arg);

#endif
