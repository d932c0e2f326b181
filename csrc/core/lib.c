/* The library and its contexts: memory, errors, and the life of every core object. */
#include "autograd_impl.h"
#include "cpu_impl.h"
#include "gemm_impl.h"
#include "module_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

void *hg_mem(hg_ctx *cx, size_t size) {
    void *p = HOST(cx)->mem(HOST(cx)->ud, NULL, size ? size : 1);
    if (!p) hg_no_memory(cx);
    return p;
}

void *hg_mem_resize(hg_ctx *cx, void *p, size_t size) {
    void *q = HOST(cx)->mem(HOST(cx)->ud, p, size ? size : 1);
    if (!q) hg_no_memory(cx);
    return q;
}

void hg_mem_free(hg_lib *lib, void *p) {
    if (p) lib->host.mem(lib->host.ud, p, 0);
}

/* ---- Errors --------------------------------------------------------------------------------------------------------- */

void hg_set_error(hg_ctx *cx, hg_status st, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(cx->words, sizeof cx->words, format, ap);
    va_end(ap);
    cx->status = st;
}

const char *hg_error(const hg_ctx *cx) { return cx->words; }

hg_status hg_warn(hg_ctx *cx, const char *category, const char *format, ...) {
    char words[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    if (!HOST(cx)->warn) return HG_OK;
    hg_status st = HOST(cx)->warn(HOST(cx)->ud, category, words);
    return st == HG_OK ? HG_OK : (cx->status = st);
}

bool hg_is_news(hg_ctx *cx, const char *words) {
    hg_lib *lib = cx->lib;
    uint32_t hash = 5381;
    for (; *words; words++) hash = hash * 33 + (unsigned char)*words;
    for (int i = 0; i < lib->n_given; i++)
        if (lib->given[i] == hash) return lib->warns_always;
    if (lib->n_given < (int)(sizeof lib->given / sizeof *lib->given)) lib->given[lib->n_given++] = hash;
    return true;
}

hg_status hg_warn_once(hg_ctx *cx, const char *words) {
    return hg_is_news(cx, words) ? hg_warn(cx, "UserWarning", "%s", words) : HG_OK;
}

void hg_set_warn_always(hg_ctx *cx, bool always) { cx->lib->warns_always = always; }

/* ---- Opening and closing ---------------------------------------------------------------------------------------------- */

hg_status hg_ctx_new(hg_lib *lib, hg_ctx **out) {
    hg_ctx *cx = lib->host.mem(lib->host.ud, NULL, sizeof *cx);
    if (!cx) return HG_MEMORY;
    memset(cx, 0, sizeof *cx);
    cx->lib = lib;
    cx->grad_enabled = true;
    *out = cx;
    return HG_OK;
}

void hg_ctx_free(hg_ctx *cx) {
    if (!cx) return;
    hg_saved_levels_free(cx);
    hg_mem_free(cx->lib, cx);
}

hg_status hg_open(const hg_host *host, hg_ctx **out) {
    static const char *const names[] = {
#define AS_STRING(name) #name,
        HG_NAMES(AS_STRING)
#undef AS_STRING
    };
    hg_ctx *cx = NULL;
    hg_lib *lib = host->mem(host->ud, NULL, sizeof *lib);
    if (!lib) return HG_MEMORY;
    memset(lib, 0, sizeof *lib);
    lib->host = *host;
    lib->default_dtype = HG_F32;
    hg_generator_seed(&lib->generator, 5489);
    hg_cpu_choose();
    hg_get_num_threads(); /* as the environment has it now */
    if (hg_ctx_new(lib, &cx) != HG_OK) {
        host->mem(host->ud, lib, 0);
        return HG_MEMORY;
    }
    for (int i = 0; i < HG_N_NAMES; i++)
        if (!(lib->names[i] = host->name(host->ud, names[i]))) {
            hg_close(cx);
            return HG_MEMORY;
        }
    *out = cx;
    return HG_OK;
}

void hg_close(hg_ctx *cx) {
    hg_lib *lib = cx->lib;
    for (int i = 0; i < HG_N_HOOK_KINDS; i++) hg_release(cx, lib->globals[i]);
    for (int i = 0; i < HG_N_NAMES; i++)
        if (lib->names[i]) lib->host.drop(lib->host.ud, lib->names[i]);
    for (int i = 0; i < HG_N_OPS; i++) hg_mem_free(lib, lib->ops[i]);
    hg_empty_cache(lib);
    hg_spare_free(lib);
    hg_blas_close(lib);
    hg_ctx_free(cx);
    lib->host.mem(lib->host.ud, lib, 0);
}

const hg_host *hg_lib_host(const hg_lib *lib) { return &lib->host; }
hg_watch *hg_watching(hg_lib *lib) { return &lib->watch; }
hg_dtype hg_default_dtype(hg_ctx *cx) { return cx->lib->default_dtype; }
void hg_set_default_dtype(hg_ctx *cx, hg_dtype d) { cx->lib->default_dtype = d; }
hg_generator *hg_default_generator(hg_lib *lib) { return &lib->generator; }
void hg_set_host_forward(hg_lib *lib, hg_host_forward fn) { lib->host_forward = fn; }

void hg_set_blas_finder(hg_lib *lib, const char *(*find)(void *ud), void *ud) {
    lib->find_blas = find;
    lib->find_blas_ud = ud;
}

/* ---- Objects -------------------------------------------------------------------------------------------------------- */

void(hg_retain)(hg_ctx *cx, void *obj) { hg_retain_here(cx, obj); }
void(hg_release)(hg_ctx *cx, void *obj) { hg_release_here(cx, obj); }

void hg_finalize(hg_lib *lib, hg_kind kind, void *obj) {
    switch (kind) {
    case HG_KIND_NODE: hg_node_die(lib, obj); return; /* frees it, now or later */
    case HG_KIND_TENSOR: hg_tensor_finalize(lib, obj); break;
    case HG_KIND_HOOKS: hg_hooks_finalize(lib, obj); break;
    case HG_KIND_TABLE: hg_table_finalize(lib, obj); break;
    case HG_KIND_MODULE: hg_module_finalize(lib, obj); break;
    case HG_N_KINDS: return;
    }
    lib->host.free(lib->host.ud, kind, obj);
}

void hg_clear(hg_lib *lib, hg_kind kind, void *obj) {
    switch (kind) {
    case HG_KIND_TENSOR: hg_tensor_clear(lib, obj); break;
    case HG_KIND_NODE: hg_node_clear(lib, obj); break;
    case HG_KIND_HOOKS: hg_hooks_finalize(lib, obj); break;
    case HG_KIND_TABLE: hg_table_finalize(lib, obj); break;
    case HG_KIND_MODULE: hg_module_clear(lib, obj); break;
    case HG_N_KINDS: break;
    }
}

int hg_visit(hg_kind kind, void *obj, hg_visit_fn visit, void *arg) {
    switch (kind) {
    case HG_KIND_TENSOR: return hg_tensor_visit(obj, visit, arg);
    case HG_KIND_NODE: return hg_node_visit(obj, visit, arg);
    case HG_KIND_HOOKS: return hg_hooks_visit(obj, visit, arg);
    case HG_KIND_TABLE: return hg_table_visit(obj, visit, arg);
    case HG_KIND_MODULE: return hg_module_visit(obj, visit, arg);
    case HG_N_KINDS: break;
    }
    return 0;
}

/* ---- Values --------------------------------------------------------------------------------------------------------- */

static bool is_core(hg_value v) { return v.kind == HG_V_TENSOR || v.kind == HG_V_MODULE; }

void hg_value_retain(hg_ctx *cx, hg_value v) {
    if (!v.obj) return;
    if (is_core(v))
        hg_retain(cx, v.obj);
    else
        HOST(cx)->hold(HOST(cx)->ud, v.obj);
}

void hg_value_release(hg_ctx *cx, hg_value v) {
    if (!v.obj) return;
    if (is_core(v))
        hg_release(cx, v.obj);
    else
        HOST(cx)->drop(HOST(cx)->ud, v.obj);
}

void hg_value_set(hg_ctx *cx, hg_value *slot, hg_value v) {
    hg_value old = *slot;
    *slot = v;
    hg_value_release(cx, old);
}

hg_status hg_tuple_new(hg_ctx *cx, void *like, const hg_value *at, size_t n, hg_value *out) {
    hg_status st = HOST(cx)->tuple_new(HOST(cx)->ud, like, at, n, out);
    return st == HG_MEMORY ? hg_no_memory(cx) : st;
}
