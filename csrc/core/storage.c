/* Storages: memory shared by tensors, counted. */
#include "core_impl.h"

#include <string.h>

/* The bytes follow the header in one allocation, on a boundary that vector loads like. */
#define HEADER ((sizeof(hg_storage) + 63) / 64 * 64)

hg_status hg_storage_new(hg_ctx *cx, size_t size, hg_storage **out) {
    hg_storage *s = size > PTRDIFF_MAX - HEADER ? NULL : HOST(cx)->mem(HOST(cx)->ud, NULL, HEADER + size);
    if (!s)
        return hg_fail(cx, HG_MEMORY, "DefaultCPUAllocator: can't allocate memory: you tried to allocate %zu bytes",
                       size);
    *s = (hg_storage){.n_ref = 1, .data = (char *)s + HEADER, .size = size};
    *out = s;
    return HG_OK;
}

void hg_storage_retain(hg_storage *s) { s->n_ref++; }

void hg_storage_release(hg_lib *lib, hg_storage *s) {
    if (!s || --s->n_ref > 0) return;
    if (s->free) s->free(s->owner);
    if (s->counter && --s->counter->n_ref == 0) hg_mem_free(lib, s->counter);
    hg_mem_free(lib, s);
}
