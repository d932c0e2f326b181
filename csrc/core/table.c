/* Ordered tables from interned names to values: a module's parameters, buffers and children.

   Equal names are equal pointers, so a look-up compares pointers. Up to FEW slots it walks them, which is faster than any
   hash; beyond, `index` maps a name's hash to its place plus one (0: free), with linear probing. A removal closes the gap,
   so that the slots are always the order of insertion, and builds the index anew: modules lose children rarely. */
#include "module_impl.h"

#include <string.h>

enum { FEW = 8 };

void hg_value_drop(hg_lib *lib, hg_value v) {
    if (!v.obj) return;
    if (v.kind == HG_V_TENSOR || v.kind == HG_V_MODULE)
        hg_release_in(lib, v.obj);
    else
        lib->host.drop(lib->host.ud, v.obj);
}

static uint32_t hash_of(const void *name) {
    uint64_t h = (uint64_t)(uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32);
}

static void index_add(hg_table *t, const void *name, uint32_t place) {
    uint32_t mask = t->index_cap - 1, at = hash_of(name) & mask;
    while (t->index[at]) at = (at + 1) & mask;
    t->index[at] = place + 1;
}

static void index_fill(hg_table *t) {
    memset(t->index, 0, t->index_cap * sizeof *t->index);
    for (uint32_t i = 0; i < t->n; i++) index_add(t, t->at[i].name, i);
}

/* Room for one more slot; the index stays at most half full. On failure the table is what it was. */
static hg_status grow(hg_ctx *cx, hg_table *t) {
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? 2 * t->cap : 4;
        hg_slot *at = hg_mem_resize(cx, t->at, cap * sizeof *at);
        if (!at) return HG_MEMORY;
        t->at = at, t->cap = cap;
    }
    if (t->n < FEW || (t->n + 1) * 2 <= t->index_cap) return HG_OK;
    uint32_t cap = t->index_cap ? 2 * t->index_cap : 4 * FEW;
    uint32_t *index = hg_mem_resize(cx, t->index, cap * sizeof *index);
    if (!index) return HG_MEMORY;
    t->index = index, t->index_cap = cap;
    index_fill(t);
    return HG_OK;
}

hg_status hg_table_new(hg_ctx *cx, hg_table **out) {
    hg_table *t = HOST(cx)->alloc(HOST(cx)->ud, HG_KIND_TABLE, sizeof *t);
    if (!t) return hg_no_memory(cx);
    HOST(cx)->track(HOST(cx)->ud, HG_KIND_TABLE, t);
    *out = t;
    return HG_OK;
}

hg_slot *hg_table_find(const hg_table *t, void *name) {
    if (!t->index) {
        for (uint32_t i = 0; i < t->n; i++)
            if (t->at[i].name == name) return &t->at[i];
        return NULL;
    }
    uint32_t mask = t->index_cap - 1;
    for (uint32_t at = hash_of(name) & mask; t->index[at]; at = (at + 1) & mask) {
        hg_slot *slot = &t->at[t->index[at] - 1];
        if (slot->name == name) return slot;
    }
    return NULL;
}

hg_status hg_table_put(hg_ctx *cx, hg_table *t, void *name, hg_value v) {
    hg_slot *slot = hg_table_find(t, name);
    if (!slot) {
        hg_status st = grow(cx, t);
        if (st != HG_OK) return st;
        HOST(cx)->hold(HOST(cx)->ud, name);
        if (t->index) index_add(t, name, t->n);
        slot = &t->at[t->n++];
        *slot = (hg_slot){.name = name};
    }
    hg_value old = slot->value;
    hg_value_retain(cx, v);
    slot->value = v;
    cx->lib->n_placed += v.kind == HG_V_MODULE;
    hg_value_release(cx, old); /* last: it may call out and change the table */
    return HG_OK;
}

bool hg_table_remove(hg_ctx *cx, hg_table *t, void *name) {
    hg_slot *slot = hg_table_find(t, name);
    if (!slot) return false;
    hg_slot gone = *slot;
    memmove(slot, slot + 1, (size_t)(&t->at[t->n] - (slot + 1)) * sizeof *slot);
    t->n--;
    if (t->index) index_fill(t);
    HOST(cx)->drop(HOST(cx)->ud, gone.name);
    hg_value_release(cx, gone.value);
    return true;
}

/* The table is empty and valid before the first reference is dropped: dropping one may look at it again. */
void hg_table_empty(hg_lib *lib, hg_table *t) {
    hg_slot *at = t->at;
    uint32_t n = t->n;
    hg_mem_free(lib, t->index);
    t->at = NULL, t->index = NULL, t->n = t->cap = t->index_cap = 0;
    for (uint32_t i = 0; i < n; i++) {
        lib->host.drop(lib->host.ud, at[i].name);
        hg_value_drop(lib, at[i].value);
    }
    hg_mem_free(lib, at);
}

void hg_table_clear(hg_ctx *cx, hg_table *t) { hg_table_empty(cx->lib, t); }

void hg_table_finalize(hg_lib *lib, hg_table *t) { hg_table_empty(lib, t); }

int hg_table_visit(hg_table *t, hg_visit_fn visit, void *arg) {
    for (uint32_t i = 0; i < t->n; i++) {
        hg_value v = t->at[i].value;
        int r = visit(t->at[i].name, false, arg);
        if (r) return r;
        if (v.kind != HG_V_NONE && (r = visit(v.obj, v.kind == HG_V_TENSOR || v.kind == HG_V_MODULE, arg))) return r;
    }
    return 0;
}
