/* Kernels at work: split over threads and, where that takes long, without the host's lock.

   Note [Running unlocked]
   A kernel sees raw memory, so the host's other threads may go on while it runs. What they do may take that memory from the
   tensors it belongs to (`x.data = y`, a resize), or let go of the last reference: so a storage that dies while kernels run
   unlocked is only buried when all of those are done that had begun by then. Kernels are numbered as they begin; the ones at work
   are a list, oldest first, and so are the dead, with the number of the last kernel that may still use them. Both are touched
   with the lock held. The objects themselves are held by who called: nothing here reads a tensor. In a child process nobody
   else is at work. */
#include "core_impl.h"
#include "pool_impl.h"

#include <unistd.h>

enum { GRAINS_THAT_PAY = 16 }; /* from there on the lock is given up: some tenths of a millisecond */

struct hg_at_work {
    uint64_t number;
    hg_at_work *older, *newer;
};

/* A dead storage's data points to the next one, and its count is the number of a kernel. */
static hg_storage *next_dead(const hg_storage *s) { return (hg_storage *)(void *)s->data; }

bool hg_storage_is_used_here(hg_lib *lib) {
    hg_work_state *w = &lib->work;
    if (w->oldest && w->process != (int64_t)getpid()) w->oldest = w->newest = NULL;
    return w->oldest != NULL;
}

void hg_storage_bury_later(hg_lib *lib, hg_storage *s) {
    s->data = NULL;
    s->n_ref = (int64_t)lib->work.n_begun;
    if (lib->work.last_dead)
        lib->work.last_dead->data = (char *)s;
    else
        lib->work.first_dead = s;
    lib->work.last_dead = s;
}

static void bury(hg_lib *lib) {
    for (hg_storage *s; (s = lib->work.first_dead);) {
        if (hg_storage_is_used(lib) && lib->work.oldest->number <= (uint64_t)s->n_ref) return;
        if (!(lib->work.first_dead = next_dead(s))) lib->work.last_dead = NULL;
        hg_storage_free(lib, s);
    }
}

void hg_work(hg_ctx *cx, int64_t n, int64_t grain, hg_range_fn fn, void *arg) {
    const hg_host *host = HOST(cx);
    if (n <= grain) {
        if (n > 0) fn(arg, 0, n);
        return;
    }
    if (n / grain < GRAINS_THAT_PAY || !host->unlock) {
        hg_parallel_for(n, grain, fn, arg);
        return;
    }
    hg_work_state *w = &cx->lib->work;
    if (!hg_storage_is_used(cx->lib)) w->process = (int64_t)getpid();
    hg_at_work self = {.number = ++w->n_begun, .older = w->newest};
    *(w->newest ? &w->newest->newer : &w->oldest) = &self;
    w->newest = &self;
    void *lock = host->unlock(host->ud);
    hg_parallel_for(n, grain, fn, arg);
    host->lock(host->ud, lock);
    *(self.newer ? &self.newer->older : &w->newest) = self.older;
    *(self.older ? &self.older->newer : &w->oldest) = self.newer;
    bury(cx->lib);
}
