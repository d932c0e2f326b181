/* A host for plain C programs: objects from malloc with a count in front, interned names, tuples of values, and settings of
   modules. It counts what is alive and can be told to run out of memory, which is how the core is tested.

       hg_malloc_host *host;
       hg_ctx *cx;
       if (hg_malloc_open(&host, &cx) != HG_OK) return 1;
       ...
       hg_malloc_close(host, cx);      returns how much was still alive: 0, if every reference was released

   There is no collector of cycles: a hook that holds what it is registered on keeps it for good.

   A program is built with the core, from the root of the repository:

       cc -std=c11 -D_GNU_SOURCE -O2 -Icsrc/include program.c csrc/core/[a-z]*.c -lm -ldl -pthread */
#ifndef HOOKGRAD_MALLOC_H
#define HOOKGRAD_MALLOC_H

#include "hookgrad.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hg_malloc_host {
    hg_lib *lib;            /* set by hg_malloc_open() */
    long n_objects, n_refs; /* alive: core objects; names and tuples */
    long n_blocks;          /* alive: raw memory, the library's own included */
    size_t n_bytes, peak_bytes;
    long n_allocations; /* ever: of any of these */
    long fail_at;       /* this one fails (1: the next), and every one after it while it stays so; 0: none */
    long n_warnings;
    char last_warning[1024]; /* "UserWarning: ..." */
    struct hg_malloc_name *names;
    struct hg_malloc_attr *attrs;
} hg_malloc_host;

/* *host is NULL, or zeroed memory from malloc with fail_at set; either way the host is made or freed here. */
hg_status hg_malloc_open(hg_malloc_host **host, hg_ctx **cx);
/* Closes the library and frees the host. Returns the number of objects, references and blocks that were still alive. */
long hg_malloc_close(hg_malloc_host *host, hg_ctx *cx);

/* What layers read besides weights: "inplace", "p", "stride" ... Lists are copied; strings must outlive the module. */
hg_status hg_malloc_set_attr(hg_ctx *cx, hg_malloc_host *host, hg_module *m, const char *name, hg_arg value);

#ifdef __cplusplus
}
#endif
#endif
