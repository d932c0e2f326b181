/* Memory for large storages: see Note [Cache] in cache.c. */
#ifndef HG_CACHE_IMPL_H
#define HG_CACHE_IMPL_H

#include "hookgrad.h"

enum { HG_BLOCK = 4096, HG_N_BLOCK_CLASSES = 52 * 8 };

typedef struct hg_block hg_block;
typedef struct hg_cache {
    size_t in_use, peak, waiting; /* bytes */
    int64_t n_in_use, n_taken;    /* blocks: now, and ever */
    hg_block *newest, *oldest;    /* of those that wait */
    hg_block *divided;            /* the first part of each block in parts */
    hg_block *top[HG_N_BLOCK_CLASSES];
} hg_cache;

/* A storage with room for size bytes (HG_BLOCK or more), of which only `data` is set. NULL: there is no memory. */
hg_storage *hg_block_take(hg_lib *lib, size_t size);
void hg_block_give(hg_lib *lib, hg_storage *s);

#endif
