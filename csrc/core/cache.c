/* The memory of large storages that are no more, kept for those to come.

   Note [Cache]
   What holds HG_BLOCK bytes or more comes in size classes, eight to a doubling, and a freed block waits for the next storage of
   its class, or of one that is up to a third smaller: a training loop settles into the same memory, whose pages are there
   already. Blocks in use and blocks waiting together never take more than the most that was ever in use, and SLACK: before more
   is asked of the host, what has waited longest goes back. So the cache does not raise the peak of a program by more than SLACK.
   Where more is in use than ever before, as much goes back as is asked for: the process does not grow by what it has.
   A large block is a mapping of its own, with huge pages: what malloc is given back it may keep, a hundred MiB for ResNet-18.

   Before small storages ask for more, a block of up to DIVIDED bytes that waits is divided: what one network has left serves
   another. Its parts wait and serve like blocks; where no more than that is found those that lie side by side and wait become
   one again. Only a whole block goes back.

   All this happens with the host's lock held; what a kernel that runs without it may still read never gets here (Note
   [Running unlocked] in work.c). */
#include "cache_impl.h"
#include "core_impl.h"

#include <assert.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { LARGER = 4, STEPS = 8, STEP_BITS = 3, FIRST_BIT = 12, LINE = 64 };
static const size_t SLACK = (size_t)32 << 20, MAPPED_FROM = (size_t)4 << 20, DIVIDED = (size_t)512 << 10,
                    HUGE_PAGE = (size_t)2 << 20;

_Static_assert(HG_BLOCK == 1 << FIRST_BIT, "the first class is that of the smallest block");

/* In front of the bytes, after the storage's own header: where a block is while nobody uses it. */
struct hg_block {
    hg_storage storage;
    char *data;
    size_t room;             /* bytes for data */
    hg_block *older, *newer; /* of all that wait */
    hg_block *under, *over;  /* of its class */
    hg_block *right;         /* of a divided block: the part behind this one */
    hg_block *next;          /* of a divided block's first part: the next such */
    bool waits;              /* in the lists above */
    bool is_first;           /* no part, or the first of a block's */
};

/* From a part's header to its data: a multiple of LINE. */
#define HEAD ((sizeof(hg_block) + LINE - 1) / LINE * LINE)

/* ---- From the system --------------------------------------------------------------------------------------------------------- */

/* Is a block of this size a mapping of its own? Sanitizers are to see plain allocations. */
static bool is_mapped(size_t room) {
#ifdef __linux__
    return room >= MAPPED_FROM && !HG_FREES_ALL;
#else
    return (void)room, false;
#endif
}

/* Data that begins with a huge page lies on huge pages up to its last. What is skipped before it is never touched. */
static size_t alignment(size_t room) { return is_mapped(room) ? HUGE_PAGE : LINE; }

static size_t whole_size(size_t room) { return sizeof(hg_block) + alignment(room) + room; }

static char *data_of(hg_block *b, size_t room) {
    size_t to = alignment(room);
    return (char *)(((uintptr_t)(b + 1) + to - 1) & ~(uintptr_t)(to - 1));
}

static hg_block *get_block(hg_lib *lib, size_t room) {
#ifdef __linux__
    if (is_mapped(room)) {
        void *b = mmap(NULL, whole_size(room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED) return NULL;
        madvise(data_of(b, room), room, MADV_HUGEPAGE); /* a wish: it may be refused */
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

static int last_bit(size_t size) { return 63 - __builtin_clzll((unsigned long long)size); }

/* The largest class whose blocks hold no more than that: a part may hold some more than its class. */
static int class_of(size_t room) {
    int bit = last_bit(room);
    return (bit - FIRST_BIT) * STEPS + (int)((room - ((size_t)1 << bit)) >> (bit - STEP_BITS));
}

/* How much the blocks hold that serve a storage of that size. */
static size_t room_for(size_t size) {
    size_t step = (size_t)1 << (last_bit(size) - STEP_BITS);
    return (size + step - 1) & ~(step - 1);
}

static void link_block(hg_cache *c, hg_block *b) {
    int class = class_of(b->room);
    b->newer = NULL, b->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = b;
    c->newest = b;
    b->over = NULL, b->under = c->top[class];
    if (b->under) b->under->over = b;
    c->top[class] = b;
    c->waiting += b->room;
    b->waits = true;
}

static inline void unlink_block(hg_cache *c, hg_block *b, int class) {
    *(b->newer ? &b->newer->older : &c->newest) = b->older;
    *(b->older ? &b->older->newer : &c->oldest) = b->newer;
    *(b->over ? &b->over->under : &c->top[class]) = b->under;
    if (b->under) b->under->over = b->over;
    c->waiting -= b->room;
    b->waits = false;
}

/* Parts that wait side by side become one. Were there any? */
static bool join(hg_cache *c) {
    bool joined = false;
    for (hg_block **at = &c->divided, *first; (first = *at);) {
        for (hg_block *b = first, *r; b; b = b->right)
            for (; b->waits && (r = b->right) && r->waits; joined = true) {
                unlink_block(c, b, class_of(b->room)), unlink_block(c, r, class_of(r->room));
                b->room = (size_t)(r->data + r->room - b->data), b->right = r->right;
                link_block(c, b);
            }
        if (first->right)
            at = &first->next;
        else
            *at = first->next;
    }
    return joined;
}

/* The first part of a block that waits and is larger than asked for: it no longer does. The rest waits. NULL: there is none. */
static hg_block *divide(hg_cache *c, int class, size_t room) {
    for (hg_block *b, *rest; class <= class_of(DIVIDED); class += 1) {
        if (!(b = c->top[class]) || b->room < room + HEAD + HG_BLOCK) continue;
        unlink_block(c, b, class);
        rest = (hg_block *)(void *)(b->data + room);
        *rest = (hg_block){.storage = {.cached = true}, .data = (char *)rest + HEAD, .right = b->right};
        rest->room = b->room - room - HEAD;
        if (b->is_first && !b->right) b->next = c->divided, c->divided = b;
        b->room = room, b->right = rest;
        link_block(c, rest);
        return b;
    }
    return NULL;
}

/* The one that has waited longest, and is whole. NULL: there is none. */
static hg_block *oldest_whole(const hg_cache *c) {
    hg_block *b = c->oldest;
    while (b && (!b->is_first || b->right)) b = b->newer;
    return b;
}

static void give_back(hg_lib *lib, hg_block *b) {
    unlink_block(&lib->cache, b, class_of(b->room));
    free_block(lib, b);
}

void hg_empty_cache(hg_lib *lib) {
    hg_resting_free(lib);
    hg_ready_free(lib);
    join(&lib->cache);
    for (hg_block *b; (b = oldest_whole(&lib->cache));) give_back(lib, b);
}

static hg_block *block_new(hg_lib *lib, size_t room) {
    hg_cache *c = &lib->cache;
    size_t in_use = c->in_use + room, most = in_use > c->peak ? in_use : c->peak, grows = in_use > c->peak ? room : 0;
    hg_block *b;
    while ((b = oldest_whole(c)) && (b->room <= grows || in_use + c->waiting > most + SLACK)) {
        grows -= b->room < grows ? b->room : grows;
        give_back(lib, b);
    }
    b = get_block(lib, room);
    if (!b && c->oldest) {
        hg_empty_cache(lib);
        b = get_block(lib, room);
    }
    if (!b) return NULL;
    *b = (hg_block){.storage = {.cached = true}, .data = data_of(b, room), .room = room, .is_first = true};
    return b;
}

/* One that waits and has room, of the class or one that is a little larger, or a part of a larger one. */
static inline hg_block *find(hg_cache *c, int class, size_t room) {
    hg_block *b = NULL;
    const int last = class + LARGER;
    assert(last < HG_N_BLOCK_CLASSES);
    while (class <= last && !(b = c->top[class])) class += 1;
    if (!b) return divide(c, class, room);
    unlink_block(c, b, class);
    return b;
}

hg_storage *hg_block_take(hg_lib *lib, size_t size) {
    hg_cache *c = &lib->cache;
    if (size > PTRDIFF_MAX / 2) return NULL;
    size_t room = room_for(size);
    int class = class_of(room);
    hg_block *b;
    while (!(b = find(c, class, room)) && join(c)) {}
    if (!b && !(b = block_new(lib, room))) return NULL;
    c->in_use += b->room, c->n_in_use++, c->n_taken++;
    if (c->in_use > c->peak) c->peak = c->in_use;
    b->storage.data = b->data;
    return &b->storage;
}

void hg_block_give(hg_lib *lib, hg_storage *s) {
    hg_cache *c = &lib->cache;
    hg_block *b = (hg_block *)(void *)s; /* its first field */
    c->in_use -= b->room, c->n_in_use--;
    if (HG_FREES_ALL)
        free_block(lib, b);
    else
        link_block(c, b);
}

hg_memory hg_memory_stats(const hg_lib *lib) {
    const hg_cache *c = &lib->cache;
    return (hg_memory){
        .in_use = c->in_use, .peak = c->peak, .waiting = c->waiting, .n_in_use = c->n_in_use, .n_taken = c->n_taken};
}

void hg_reset_peak_memory(hg_lib *lib) { lib->cache.peak = lib->cache.in_use; }
