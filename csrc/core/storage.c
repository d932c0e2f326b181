/* Storages: memory shared by tensors, counted. */
#include "core_impl.h"

#include <string.h>

/* The bytes follow the header in one allocation, on a boundary that vector loads like. Large ones come from the cache. */
#define HEADER ((sizeof(hg_storage) + 63) / 64 * 64)

static hg_storage *small_new(hg_lib *lib, size_t size) {
    hg_storage *s = lib->host.mem(lib->host.ud, NULL, HEADER + size);
    if (s) *s = (hg_storage){.data = (char *)s + HEADER};
    return s;
}

hg_status hg_storage_new(hg_ctx *cx, size_t size, hg_storage **out) {
    hg_storage *s = size < HG_BLOCK ? small_new(cx->lib, size) : hg_block_take(cx->lib, size);
    if (!s)
        return hg_fail(cx, HG_MEMORY, "DefaultCPUAllocator: can't allocate memory: you tried to allocate %zu bytes",
                       size);
    *s = (hg_storage){.n_ref = 1, .data = s->data, .size = size, .cached = s->cached};
    *out = s;
    return HG_OK;
}

void hg_storage_retain(hg_storage *s) { s->n_ref++; }

void hg_storage_free(hg_lib *lib, hg_storage *s) {
    if (s->free) s->free(s->owner);
    if (s->counter && --s->counter->n_ref == 0) hg_mem_free(lib, s->counter);
    if (s->cached)
        hg_block_give(lib, s);
    else
        hg_mem_free(lib, s);
}

void hg_storage_release(hg_lib *lib, hg_storage *s) {
    if (!s || --s->n_ref > 0) return;
    if (hg_storage_is_used(lib))
        hg_storage_bury_later(lib, s);
    else
        hg_storage_free(lib, s);
}
