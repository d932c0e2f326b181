/* Storages: memory shared by tensors, counted.

   Note [Spare storages]
   Small tensors come and go by the million. A freed storage of up to 64 bytes, or of up to 256, waits in a list of its own for
   the next one. Sanitizers see the plain allocations: what is used after it was freed must stay visible. */
#include "core_impl.h"

/* The bytes follow the header in one allocation, on a boundary that vector loads like. Large ones come from the cache. */
#define HEADER ((sizeof(hg_storage) + 63) / 64 * 64)

enum { KEPT = HG_FREES_ALL ? 0 : 256 };
static const size_t spare_sizes[HG_SPARE_CLASSES] = {64, 256};

static hg_storage *small_new(hg_lib *lib, size_t size) {
    uint8_t class = size <= spare_sizes[0] ? 0 : size <= spare_sizes[1] ? 1 : HG_SPARE_CLASSES;
    hg_storage *s = NULL;
    if (class < HG_SPARE_CLASSES) {
        hg_spare *spare = &lib->spare[class];
        size = spare_sizes[class];
        if ((s = spare->first)) spare->first = s->owner, spare->n--;
    }
    if (!s && !(s = lib->host.mem(lib->host.ud, NULL, HEADER + size))) return NULL;
    s->data = (char *)s + HEADER, s->cached = false, s->spare = class < HG_SPARE_CLASSES ? class + 1 : 0;
    return s;
}

hg_status hg_storage_new(hg_ctx *cx, size_t size, hg_storage **out) {
    hg_storage *s = size < HG_BLOCK ? small_new(cx->lib, size) : hg_block_take(cx->lib, size);
    if (!s)
        return hg_fail(cx, HG_MEMORY, "DefaultCPUAllocator: can't allocate memory: you tried to allocate %zu bytes",
                       size);
    *s = (hg_storage){.n_ref = 1, .data = s->data, .size = size, .cached = s->cached, .spare = s->spare};
    *out = s;
    return HG_OK;
}

void hg_storage_free(hg_lib *lib, hg_storage *s) {
    if (s->free) s->free(s->owner);
    if (s->counter && --s->counter->n_ref == 0) hg_mem_free(lib, s->counter);
    hg_spare *spare = s->spare ? &lib->spare[s->spare - 1] : NULL;
    if (spare && spare->n < KEPT) {
        s->owner = spare->first;
        spare->first = s, spare->n++;
    } else if (s->cached) {
        hg_block_give(lib, s);
    } else {
        hg_mem_free(lib, s);
    }
}

void hg_storage_die(hg_lib *lib, hg_storage *s) {
    if (hg_storage_is_used(lib))
        hg_storage_bury_later(lib, s);
    else
        hg_storage_free(lib, s);
}

bool hg_storage_resize(hg_storage *s, size_t size) {
    s = (hg_storage *)hg_storage_own(s);
    if (s->free) return false;
    size_t room = (size_t)s->owner > s->size ? (size_t)s->owner : s->size;
    if (size > room) return false;
    s->owner = (void *)room, s->size = size;
    return true;
}

void hg_spare_free(hg_lib *lib) {
    for (int i = 0; i < HG_SPARE_CLASSES; i++)
        for (hg_storage *s; (s = lib->spare[i].first); hg_mem_free(lib, s)) lib->spare[i].first = s->owner;
}
