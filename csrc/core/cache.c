/* The memory of large storages that are no more, kept for those to come.

   Note [Cache]
   What holds HG_BLOCK bytes or more comes in size classes, eight to a doubling, and a freed block waits for the next storage of
   its class, or of one that is up to a third smaller: a training loop settles into the same memory, whose pages are there
   already. Blocks in use and blocks waiting together never take more than the most that was ever in use, and SLACK: before more
   is asked of the host, what has waited longest goes back. So the cache does not raise the peak of a program by more than SLACK.
   A large block is a mapping of its own, with huge pages: what malloc is given back it may keep, a hundred MiB for ResNet-18.

   All this happens with the host's lock held; what a kernel that runs without it may still read never gets here (Note
   [Running unlocked] in work.c). */
#include "cache_impl.h"
#include "core_impl.h"

#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { LARGER = 4, STEPS = 8, STEP_BITS = 3, FIRST_BIT = 12, LINE = 64 };
static const size_t SLACK = (size_t)32 << 20, MAPPED_FROM = (size_t)4 << 20;

_Static_assert(HG_BLOCK == 1 << FIRST_BIT, "the first class is that of the smallest block");

/* In front of the bytes, after the storage's own header: where a block is while nobody uses it. */
struct hg_block {
    hg_storage storage;
    char *data;
    size_t room;             /* bytes for data */
    hg_block *older, *newer; /* of all that wait */
    hg_block *under, *over;  /* of its class */
};

/* ---- From the system --------------------------------------------------------------------------------------------------------- */

static size_t whole_size(size_t room) { return sizeof(hg_block) + LINE + room; }

#ifdef __linux__
/* Is a block of this size a mapping of its own? Sanitizers are to see plain allocations. */
static bool is_mapped(size_t room) { return room >= MAPPED_FROM && !HG_FREES_ALL; }
#endif

static hg_block *get_block(hg_lib *lib, size_t room) {
#ifdef __linux__
    if (is_mapped(room)) {
        void *b = mmap(NULL, whole_size(room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED) return NULL;
        madvise(b, whole_size(room), MADV_HUGEPAGE); /* a wish: it may be refused */
        return b;
    }
#endif
    return lib->host.mem(lib->host.ud, NULL, whole_size(room));
}

static void free_block(hg_lib *lib, hg_block *b) {
#ifdef __linux__
    if (is_mapped(b->room)) {
        munmap(b, whole_size(b->room));
        return;
    }
#endif
    hg_mem_free(lib, b);
}

/* ---- The cache --------------------------------------------------------------------------------------------------------------- */

/* The class of a size, and how much its blocks hold. */
static int class_of(size_t size, size_t *room) {
    int bit = 63 - __builtin_clzll((unsigned long long)size);
    size_t step = (size_t)1 << (bit - STEP_BITS), rounded = (size + step - 1) & ~(step - 1);
    *room = rounded;
    return (bit - FIRST_BIT) * STEPS + (int)((rounded - ((size_t)1 << bit)) >> (bit - STEP_BITS));
}

static void unlink_block(hg_cache *c, hg_block *b, int class) {
    *(b->newer ? &b->newer->older : &c->newest) = b->older;
    *(b->older ? &b->older->newer : &c->oldest) = b->newer;
    *(b->over ? &b->over->under : &c->top[class]) = b->under;
    if (b->under) b->under->over = b->over;
    c->waiting -= b->room;
}

static void give_back_oldest(hg_lib *lib) {
    hg_block *b = lib->cache.oldest;
    size_t room;
    unlink_block(&lib->cache, b, class_of(b->room, &room));
    free_block(lib, b);
}

void hg_empty_cache(hg_lib *lib) {
    hg_resting_free(lib);
    hg_ready_free(lib);
    while (lib->cache.oldest) give_back_oldest(lib);
}

static hg_block *block_new(hg_lib *lib, size_t room) {
    hg_cache *c = &lib->cache;
    size_t in_use = c->in_use + room, most = in_use > c->peak ? in_use : c->peak;
    while (c->oldest && in_use + c->waiting > most + SLACK) give_back_oldest(lib);
    hg_block *b = get_block(lib, room);
    if (!b && c->oldest) {
        hg_empty_cache(lib);
        b = get_block(lib, room);
    }
    if (!b) return NULL;
    char *data = (char *)(((uintptr_t)(b + 1) + LINE - 1) & ~(uintptr_t)(LINE - 1));
    *b = (hg_block){.storage = {.cached = true}, .data = data, .room = room};
    return b;
}

hg_storage *hg_block_take(hg_lib *lib, size_t size) {
    hg_cache *c = &lib->cache;
    size_t room;
    if (size > PTRDIFF_MAX / 2) return NULL;
    int class = class_of(size, &room);
    hg_block *b = c->top[class];
    for (int i = 1; !b && i <= LARGER && class + i < HG_N_BLOCK_CLASSES; i++)
        if ((b = c->top[class + i])) class += i;
    if (b)
        unlink_block(c, b, class);
    else if (!(b = block_new(lib, room)))
        return NULL;
    c->in_use += b->room, c->n_in_use++, c->n_taken++;
    if (c->in_use > c->peak) c->peak = c->in_use;
    b->storage.data = b->data;
    return &b->storage;
}

void hg_block_give(hg_lib *lib, hg_storage *s) {
    hg_cache *c = &lib->cache;
    hg_block *b = (hg_block *)(void *)s; /* its first field */
    size_t room;
    int class = class_of(b->room, &room);
    c->in_use -= b->room, c->n_in_use--;
    if (HG_FREES_ALL) {
        free_block(lib, b);
        return;
    }
    b->newer = NULL, b->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = b;
    c->newest = b;
    b->over = NULL, b->under = c->top[class];
    if (b->under) b->under->over = b;
    c->top[class] = b;
    c->waiting += b->room;
}

hg_memory hg_memory_stats(const hg_lib *lib) {
    const hg_cache *c = &lib->cache;
    return (hg_memory){
        .in_use = c->in_use, .peak = c->peak, .waiting = c->waiting, .n_in_use = c->n_in_use, .n_taken = c->n_taken};
}

void hg_reset_peak_memory(hg_lib *lib) { lib->cache.peak = lib->cache.in_use; }
