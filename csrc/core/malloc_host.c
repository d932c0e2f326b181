/* The host for plain C programs: see hookgrad_malloc.h. */
#include "hookgrad_malloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ----------------------------------------------------------------------------------------------------------------- */

/* In front of every block: its size, padded so that what follows is aligned for anything. */
typedef union header {
    size_t size;
    max_align_t align;
} header;

static bool fails(hg_malloc_host *h) {
    h->n_allocations++;
    if (h->fail_at == 0) return false;
    if (h->fail_at > 1) {
        h->fail_at--;
        return false;
    }
    return true;
}

static void count_bytes(hg_malloc_host *h, size_t gone, size_t come) {
    h->n_bytes = h->n_bytes - gone + come;
    if (h->n_bytes > h->peak_bytes) h->peak_bytes = h->n_bytes;
}

static void *take(hg_malloc_host *h, size_t size) {
    header *at = size > SIZE_MAX - sizeof *at ? NULL : malloc(sizeof *at + size);
    if (!at) return NULL;
    at->size = size;
    count_bytes(h, 0, size);
    return at + 1;
}

static void give_back(hg_malloc_host *h, void *p) {
    header *at = (header *)p - 1;
    count_bytes(h, at->size, 0);
    free(at);
}

static void *host_mem(void *ud, void *p, size_t size) {
    hg_malloc_host *h = ud;
    if (size == 0) {
        if (p) give_back(h, p), h->n_blocks--;
        return NULL;
    }
    if (fails(h)) return NULL;
    void *to = take(h, size);
    if (!to) return NULL;
    if (p) { /* always moves: a pointer kept across a resize is found out */
        size_t had = ((header *)p - 1)->size;
        memcpy(to, p, had < size ? had : size);
        give_back(h, p);
    } else {
        h->n_blocks++;
    }
    return to;
}

/* ---- Core objects ----------------------------------------------------------------------------------------------------------- */

/* In front of each: room that leaves it aligned for anything, of which the last words are its count and its kind. */
enum { HEAD = sizeof(max_align_t) };
#define KIND(core) (((ptrdiff_t *)(void *)(core))[-1])

static void *host_alloc(void *ud, hg_kind kind, size_t size) {
    hg_malloc_host *h = ud;
    if (fails(h)) return NULL;
    char *at = take(h, HEAD + size);
    if (!at) return NULL;
    memset(at, 0, HEAD + size);
    HG_COUNT(at + HEAD) = 1;
    KIND(at + HEAD) = kind;
    h->n_objects++;
    return at + HEAD;
}

static void forget_attrs(hg_malloc_host *h, const void *module);

static void host_free(void *ud, hg_kind kind, void *core) {
    hg_malloc_host *h = ud;
    if (kind == HG_KIND_MODULE) forget_attrs(h, core);
    give_back(h, (char *)core - HEAD);
    h->n_objects--;
}

static void host_revive(void *ud, hg_kind kind, void *core) {
    (void)ud, (void)kind;
    HG_COUNT(core) = 1;
}

static void host_dies(void *ud, void *core) {
    hg_malloc_host *h = ud;
    hg_finalize(h->lib, (hg_kind)KIND(core), core);
}

static void host_track(void *ud, hg_kind kind, void *core) { (void)ud, (void)kind, (void)core; }

/* ---- References: names and tuples ----------------------------------------------------------------------------------------------- */

typedef struct reference {
    size_t count;
    bool is_name;
} reference;

typedef struct hg_malloc_name {
    reference ref;
    struct hg_malloc_name *next;
    char chars[];
} name;

typedef struct tuple {
    reference ref;
    size_t n;
    hg_value at[];
} tuple;

static void host_hold(void *ud, void *ref) {
    (void)ud;
    ((reference *)ref)->count++;
}

static void host_drop(void *ud, void *ref);

static void value_release(hg_malloc_host *h, hg_value v) {
    if (!v.obj) return;
    if (v.kind != HG_V_TENSOR && v.kind != HG_V_MODULE)
        host_drop(h, v.obj);
    else if (--HG_COUNT(v.obj) == 0)
        host_dies(h, v.obj);
}

static void value_retain(hg_malloc_host *h, hg_value v) {
    if (!v.obj) return;
    if (v.kind == HG_V_TENSOR || v.kind == HG_V_MODULE)
        HG_COUNT(v.obj)++;
    else
        host_hold(h, v.obj);
}

static void host_drop(void *ud, void *ref) {
    hg_malloc_host *h = ud;
    reference *r = ref;
    if (--r->count) return;
    if (r->is_name) {
        name **at = &h->names;
        while (*at != ref) at = &(*at)->next;
        *at = (*at)->next;
    } else {
        tuple *t = ref;
        for (size_t i = 0; i < t->n; i++) value_release(h, t->at[i]);
    }
    give_back(h, ref);
    h->n_refs--;
}

static void *host_name(void *ud, const char *chars) {
    hg_malloc_host *h = ud;
    for (name *n = h->names; n; n = n->next)
        if (strcmp(n->chars, chars) == 0) {
            n->ref.count++;
            return n;
        }
    size_t size = strlen(chars) + 1;
    name *n = fails(h) ? NULL : take(h, sizeof *n + size);
    if (!n) return NULL;
    n->ref = (reference){1, true};
    memcpy(n->chars, chars, size);
    n->next = h->names;
    h->names = n;
    h->n_refs++;
    return n;
}

static const char *host_name_chars(void *ud, void *n) {
    (void)ud;
    return ((name *)n)->chars;
}

static size_t host_tuple_size(void *ud, void *t) {
    (void)ud;
    return ((tuple *)t)->n;
}

static hg_value host_tuple_at(void *ud, void *t, size_t i) {
    (void)ud;
    return ((tuple *)t)->at[i];
}

static hg_status host_tuple_new(void *ud, void *like, const hg_value *at, size_t n, hg_value *out) {
    hg_malloc_host *h = ud;
    (void)like; /* there is one type of tuple */
    tuple *t = fails(h) ? NULL : take(h, sizeof *t + n * sizeof *at);
    if (!t) return HG_MEMORY;
    t->ref = (reference){1, false};
    t->n = n;
    for (size_t i = 0; i < n; i++) value_retain(h, t->at[i] = at[i]);
    h->n_refs++;
    *out = (hg_value){HG_V_TUPLE, t};
    return HG_OK;
}

/* ---- Settings of modules ---------------------------------------------------------------------------------------------------------- */

typedef struct hg_malloc_attr {
    struct hg_malloc_attr *next;
    const void *module;
    void *name; /* held */
    hg_arg value;
    int64_t ints[8];
} attr;

static void attr_free(hg_malloc_host *h, attr *a) {
    host_drop(h, a->name);
    host_mem(h, a, 0);
}

static void forget_attrs(hg_malloc_host *h, const void *module) {
    for (attr **at = &h->attrs; *at;) {
        attr *a = *at;
        if (a->module != module) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        attr_free(h, a);
    }
}

static attr *attr_find(const hg_malloc_host *h, const void *module, const void *n) {
    for (attr *a = h->attrs; a; a = a->next)
        if (a->module == module && a->name == n) return a;
    return NULL;
}

hg_status hg_malloc_set_attr(hg_ctx *cx, hg_malloc_host *h, hg_module *m, const char *chars, hg_arg value) {
    if (value.kind == HG_A_INTS && value.n > 8)
        return hg_fail(cx, HG_VALUE, "the setting '%s' has %u numbers: no more than 8 are kept", chars, value.n);
    void *n = host_name(h, chars);
    attr *a = n ? attr_find(h, m, n) : NULL;
    if (a) {
        host_drop(h, n);
    } else {
        if (!n || !(a = host_mem(h, NULL, sizeof *a))) {
            if (n) host_drop(h, n);
            return hg_no_memory(cx);
        }
        *a = (attr){.next = h->attrs, .module = m, .name = n};
        h->attrs = a;
    }
    a->value = value;
    if (value.kind == HG_A_INTS) memcpy(a->ints, value.u.ints, value.n * sizeof *a->ints);
    return HG_OK;
}

static hg_status host_attr(void *ud, hg_module *m, void *n, int kind, int64_t space[8], hg_arg *out) {
    hg_malloc_host *h = ud;
    const attr *a = attr_find(h, m, n);
    *out = a ? a->value : HG_NONE;
    if (a && a->value.kind == HG_A_INTS) {
        memcpy(space, a->ints, sizeof a->ints);
        out->u.ints = space;
    } else if (a && kind == HG_A_INTS && a->value.kind == HG_A_INT) {
        space[0] = a->value.u.i;
        *out = hg_ints(space, 1);
    } else if (a && a->value.kind == HG_A_TENSOR) {
        HG_COUNT(out->u.t)++;
    }
    return HG_OK;
}

/* ---- Opening and closing ------------------------------------------------------------------------------------------------------------ */

static hg_status host_warn(void *ud, const char *category, const char *words) {
    hg_malloc_host *h = ud;
    h->n_warnings++;
    snprintf(h->last_warning, sizeof h->last_warning, "%s: %s", category, words);
    return HG_OK;
}

hg_status hg_malloc_open(hg_malloc_host **out, hg_ctx **cx) {
    hg_malloc_host *h = *out ? *out : calloc(1, sizeof *h);
    if (!h) return HG_MEMORY;
    const hg_host table = {
        .ud = h,
        .alloc = host_alloc,
        .free = host_free,
        .revive = host_revive,
        .dies = host_dies,
        .track = host_track,
        .mem = host_mem,
        .hold = host_hold,
        .drop = host_drop,
        .name = host_name,
        .name_chars = host_name_chars,
        .tuple_size = host_tuple_size,
        .tuple_at = host_tuple_at,
        .tuple_new = host_tuple_new,
        .attr = host_attr,
        .warn = host_warn,
    };
    hg_status st = hg_open(&table, cx);
    if (st != HG_OK) {
        free(h);
        *out = NULL;
        return st;
    }
    h->lib = (*cx)->lib;
    *out = h;
    return HG_OK;
}

long hg_malloc_close(hg_malloc_host *h, hg_ctx *cx) {
    hg_close(cx);
    long alive = h->n_objects + h->n_refs + h->n_blocks;
    free(h);
    return alive;
}
