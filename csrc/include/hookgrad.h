/* hookgrad: tensors, reverse-mode autograd, modules and hooks, in C.

   Ownership, in four words used throughout: a function returns a **new** reference or a **borrowed** one, an argument is
   borrowed for the call unless it is said that the function **steals** it, and it may not be NULL unless marked **may be
   NULL**. A function that fails steals nothing and leaves its results untouched.

   Every function that can fail takes the thread's context first and returns a status; the words are in hg_error(cx). */
#ifndef HOOKGRAD_H
#define HOOKGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* AddressSanitizer is to see the end of every object and every block of memory: built with it nothing is kept for what comes. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HG_FREES_ALL 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HG_FREES_ALL 1
#endif
#ifndef HG_FREES_ALL
#define HG_FREES_ALL 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define HG_MAX_DIM    64
#define HG_INLINE_DIM 4 /* tensors up to this many dimensions keep shape and strides inside themselves */

/* ---- Status ---------------------------------------------------------------------------------------------------- */

typedef enum hg_status {
    HG_OK = 0,
    HG_MEMORY,  /* an allocation failed */
    HG_SHAPE,   /* sizes that do not fit together */
    HG_STATE,   /* right arguments at the wrong time: backward twice, a modified saved tensor, a view of a leaf */
    HG_TYPE,    /* wrong type of argument */
    HG_VALUE,   /* right type, wrong value */
    HG_INDEX,   /* an index or a dimension out of range */
    HG_MISSING, /* not implemented for this dtype or argument */
    HG_LINALG,  /* a singular matrix, or an iteration that does not converge */
    HG_HOST,    /* the host already knows why; pass it up untouched */
} hg_status;

/* ---- Data types ------------------------------------------------------------------------------------------------- */

/* name, C type of storage, torch's letter case name, category (0 bool, 1 integer, 2 floating) */
#define HG_DTYPES(X)                                                                                                   \
    X(U8, uint8_t, "uint8", "ByteTensor", 1)                                                                           \
    X(I8, int8_t, "int8", "CharTensor", 1)                                                                             \
    X(I16, int16_t, "int16", "ShortTensor", 1)                                                                         \
    X(I32, int32_t, "int32", "IntTensor", 1)                                                                           \
    X(I64, int64_t, "int64", "LongTensor", 1)                                                                          \
    X(F16, uint16_t, "float16", "HalfTensor", 2)                                                                       \
    X(F32, float, "float32", "FloatTensor", 2)                                                                         \
    X(F64, double, "float64", "DoubleTensor", 2)                                                                       \
    X(BF16, uint16_t, "bfloat16", "BFloat16Tensor", 2)                                                                 \
    X(BOOL, uint8_t, "bool", "BoolTensor", 0)

typedef enum hg_dtype {
#define X(id, ...) HG_##id,
    HG_DTYPES(X)
#undef X
        HG_N_DTYPES,
    HG_NO_DTYPE = 255,
} hg_dtype;

typedef struct hg_dtype_info {
    const char *name;        /* "float32" */
    const char *tensor_name; /* "FloatTensor" */
    uint8_t size;            /* bytes an element */
    uint8_t category;        /* 0 bool, 1 integer, 2 floating: promotion goes by category first */
} hg_dtype_info;

extern const hg_dtype_info hg_dtypes[HG_N_DTYPES];

static inline bool hg_dtype_is_float(hg_dtype d) { return hg_dtypes[d].category == 2; }
hg_dtype hg_dtype_promote(hg_dtype a, hg_dtype b); /* torch.promote_types */
const char *hg_c_name(hg_dtype d);                 /* "long int" of int64: what some of torch's messages call it */

/* ---- The host --------------------------------------------------------------------------------------------------- */

typedef struct hg_ctx hg_ctx;
typedef struct hg_lib hg_lib;
typedef struct hg_storage hg_storage;
typedef struct hg_tensor hg_tensor;
typedef struct hg_node hg_node;
typedef struct hg_hooks hg_hooks;
typedef struct hg_table hg_table;
typedef struct hg_module hg_module;
typedef struct hg_generator hg_generator;
typedef struct hg_op hg_op;
struct hg_back;
typedef struct hg_arg hg_arg;

/* Kinds of core objects. Each lives inside an object of the host's, at a constant offset. In front of it lie its count and a
   pointer of the host's own, as at the head of a Python object: the core counts by itself. */
#define HG_COUNT(obj) (((ptrdiff_t *)(void *)(obj))[-2])
typedef enum hg_kind { HG_KIND_TENSOR, HG_KIND_NODE, HG_KIND_HOOKS, HG_KIND_TABLE, HG_KIND_MODULE, HG_N_KINDS } hg_kind;

/* What flows through modules and hooks: nothing, a tensor, a tuple of values, or something of the host's own. A module
   appears as HG_V_MODULE in tables of submodules only; as an argument it is a host's object like any other. */
typedef enum hg_value_kind { HG_V_NONE, HG_V_TENSOR, HG_V_TUPLE, HG_V_OTHER, HG_V_MODULE } hg_value_kind;
typedef struct hg_value {
    hg_value_kind kind;
    void *obj; /* hg_tensor *, hg_module *, or the host's own pointer (a tuple, or anything); NULL for HG_V_NONE */
} hg_value;

/* What the core needs from whoever embeds it. Copied at hg_open(). Core objects are passed as pointers to the core
   struct; `void *ref` is a reference of the host's own (a name, a tuple, an opaque value). All of these run with the
   host's lock (the GIL) held. */
typedef struct hg_host {
    void *ud;
    /* A new core object of `size` bytes, zeroed, count 1; NULL when out of memory. */
    void *(*alloc)(void *ud, hg_kind kind, size_t size);
    void (*free)(void *ud, hg_kind kind, void *obj); /* the memory of an object hg_finalize() has emptied */
    /* One whose count reached zero, and that hg_finalize() has not had freed, begins again with count 1, of the same kind
       and size. May be NULL: then none is kept. */
    void (*revive)(void *ud, hg_kind kind, void *obj);
    void (*dies)(void *ud, void *obj);                /* its count is zero: the host calls hg_finalize() */
    void (*track)(void *ud, hg_kind kind, void *obj); /* the object now owns others: show it to the cycle collector */
    void *(*mem)(void *ud, void *p, size_t size);     /* realloc; size 0 frees; NULL when out of memory */

    void (*hold)(void *ud, void *ref); /* host references */
    void (*drop)(void *ud, void *ref);

    void *(*name)(void *ud, const char *chars); /* new: the interned name; equal names are equal pointers */
    const char *(*name_chars)(void *ud, void *name);

    size_t (*tuple_size)(void *ud, void *tuple);
    hg_value (*tuple_at)(void *ud, void *tuple, size_t i); /* borrowed */
    /* new: a tuple of the values; where `like` is not NULL, of its type (a named tuple) */
    hg_status (*tuple_new)(void *ud, void *like, const hg_value *at, size_t n, hg_value *out);

    /* A module's attribute `name` as an argument of the given kind (hg_arg_kind): a tensor is new, ints point into `space`
       (INT64_MIN for nothing), a string stays one whatever was asked for, nothing is HG_NONE. */
    hg_status (*attr)(void *ud, hg_module *m, void *name, int kind, int64_t space[8], hg_arg *out);
    /* Call a module from inside another one as the host would (an overridden __call__ counts); new in *out. */
    hg_status (*call)(void *ud, hg_module *m, const hg_value *args, size_t n, hg_value *out);
    /* A warning of the category ("UserWarning"; "module.UserWarning" where whoever calls modules is to be named for it); a host
       may turn it into an error. */
    hg_status (*warn)(void *ud, const char *category, const char *words);
    /* Save what the host has in flight (an exception) and give it back: for clean-up that calls out. A failure in flight when
       it is given back stays, with the saved one as its context. May be NULL. */
    void *(*stash)(void *ud);
    void (*unstash)(void *ud, void *stashed);
    /* Whether the failure in flight is an order to stop, which nothing may hold up or silence. May be NULL. */
    bool (*stopping)(void *ud);
    /* The words of the failure in flight (of status HG_HOST), which is dropped. May be NULL. */
    void (*explain)(void *ud, char *words, size_t size);
    /* How the host writes the type of a value, "<class 'dict'>", for messages. May be NULL. */
    void (*show_type)(void *ud, hg_value v, char *words, size_t size);
    /* The first tensor inside a value that is none, which must have one: a dict's first, a sequence's first item or the
       first inside that. New in *out. May be NULL: such values have none. */
    hg_status (*first_tensor)(void *ud, hg_value v, hg_value *out);
    /* Replace the gradients in *slot, a tuple, by those at n places of what hooks have put in the place of one: it may be
       anything of the host's. May be NULL: then it is a tuple, and believed. */
    hg_status (*gradients)(void *ud, hg_value from, const uint32_t *index, uint32_t n, hg_value *slot);
    /* What a call passes on of the arguments that hooks have left, *args a tuple then, and *kwargs the host's mapping or
       nothing: both new. May be NULL: they are so already. */
    hg_status (*spread)(void *ud, hg_module *m, hg_value *args, hg_value *kwargs);
    /* Let the host's other threads run while this one computes on raw memory: give up the lock, and take it again with what
       `unlock` returned. May be NULL: the lock is kept. */
    void *(*unlock)(void *ud);
    void (*lock)(void *ud, void *unlocked);
    /* What the host has on in this thread as a reference, new in *out, or NULL for nothing; and make that what is on. May be
       NULL. */
    hg_status (*modes)(void *ud, void **out);
    hg_status (*set_modes)(void *ud, void *modes);
} hg_host;

/* ---- Context ---------------------------------------------------------------------------------------------------- */

/* Of hg_ctx.maps and .derives: a bit for each transform; and of .derives, that one in forward mode asks whether
   backward will do. */
enum { HG_LEVELS = 63, HG_ASKS = 64 };

/* One library per host, one context per thread. The fields below may be read and set by the host. */
struct hg_ctx {
    hg_lib *lib;
    bool grad_enabled;
    bool inference;
    bool replays_views;     /* those made now are made again as they were, when they are stale */
    bool loose_grads;       /* .grad may lie in memory as what arrived first does */
    bool below, mode_below; /* inside of what hg_watch.calling asks nothing is recorded, and the host shows this mode */
    uint8_t maps, derives;  /* the transforms that the thread is in: Note [Levels] in op.c */
    uint64_t next_seq;      /* of the next node, per thread */
    struct hg_run *run;     /* the innermost backward running in this thread */
    struct hg_saved_level *saved; /* saved-tensor hooks in force, innermost first */
    hg_arg *packed_first;         /* arguments that an op's node saves, packed before the op has run; else NULL */
    char *no_saved_hooks;         /* why there may be none; NULL: there may */
    uint32_t n_changes;           /* of the two above, and of the host's modes, which it counts here */
    struct hg_scope *scope;       /* temporaries of the derivative being computed */
    hg_status status;             /* of the last failure */
    char words[1024];
};

/* Does what is called now become part of the graph? */
static inline bool hg_records(const hg_ctx *cx) { return cx->grad_enabled && !cx->inference; }
/* The gradient mode as the host's programs see and set it. */
static inline bool *hg_grad_mode(hg_ctx *cx) { return cx->below ? &cx->mode_below : &cx->grad_enabled; }

hg_status hg_open(const hg_host *host, hg_ctx **out); /* the library and its first context */
hg_status hg_ctx_new(hg_lib *lib, hg_ctx **out);      /* a context for one more thread */
void hg_ctx_free(hg_ctx *cx);
void hg_close(hg_ctx *cx); /* frees the library; every object must be gone */
const hg_host *hg_lib_host(const hg_lib *lib);
const char *hg_error(const hg_ctx *cx);
/* Set the words, cut where they do not fit, and the status. */
void hg_set_error(hg_ctx *cx, hg_status st, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `return hg_fail(cx, HG_VALUE, "...")`: a macro, so that compilers see that it never gives HG_OK. */
static inline hg_status hg_same_status(hg_status st) { return st; }
#define hg_fail(cx, st, ...) (hg_set_error(cx, st, __VA_ARGS__), hg_same_status(st))
static inline hg_status hg_no_memory(hg_ctx *cx) { return hg_fail(cx, HG_MEMORY, "out of memory"); }
hg_status hg_warn(hg_ctx *cx, const char *category, const char *format, ...) __attribute__((format(printf, 3, 4)));
hg_status hg_warn_once(hg_ctx *cx, const char *words); /* a UserWarning, where hg_is_news(cx, words) */
bool hg_is_news(hg_ctx *cx, const char *words);        /* the first time that it is asked of these words, or always */
void hg_set_warn_always(hg_ctx *cx, bool always);

hg_dtype hg_default_dtype(hg_ctx *cx);
void hg_set_default_dtype(hg_ctx *cx, hg_dtype d);

/* How many threads one large operation may use. The first answer is HOOKGRAD_NUM_THREADS, OMP_NUM_THREADS where that is fewer
   than there are processors, or as many as there are. Of the whole process. */
int hg_get_num_threads(void);
void hg_set_num_threads(int n);
/* What the kernels are compiled for that run: "avx512", "avx2" or "baseline", and no more than HOOKGRAD_CPU said at the start. */
const char *hg_cpu_name(void);

/* Retain and release core objects; NULL is fine. hg_finalize is called by the host when a count reaches zero: it empties
   the core struct (now or, for nodes in a long chain, later) and then calls host->free. hg_clear drops the references
   that can be part of a cycle, leaving the object valid; hg_visit reports each owned reference once. */
void hg_retain(hg_ctx *cx, void *obj);
void hg_release(hg_ctx *cx, void *obj);
void hg_finalize(hg_lib *lib, hg_kind kind, void *obj);
/* In place of that, for a tensor that is an object of the host's like any other: the core keeps it for a tensor to come, and the
   host leaves its count at 1, as that one's. false: it does not, and hg_finalize() is to be called. */
bool hg_tensor_retire(hg_lib *lib, hg_tensor *t);
void hg_clear(hg_lib *lib, hg_kind kind, void *obj);
typedef int (*hg_visit_fn)(void *obj, bool is_core, void *arg); /* is_core: a core object, else a host reference */
int hg_visit(hg_kind kind, void *obj, hg_visit_fn visit, void *arg);

/* Values: retain, release, and the common ones. */
void hg_value_retain(hg_ctx *cx, hg_value v);
void hg_value_release(hg_ctx *cx, hg_value v);
void hg_value_set(hg_ctx *cx, hg_value *slot, hg_value v); /* steals v, releases what was there */
static inline hg_value hg_value_of(hg_tensor *t) { return (hg_value){t ? HG_V_TENSOR : HG_V_NONE, t}; }
static inline hg_tensor *hg_value_tensor(hg_value v) { return v.kind == HG_V_TENSOR ? (hg_tensor *)v.obj : NULL; }

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

/* Counts the in-place changes of several storages: of what a tensor shows now, and of what it showed before. */
typedef struct hg_counter {
    int64_t n_ref;
    uint32_t version;
} hg_counter;

/* Memory shared by tensors. `version` counts in-place changes. `free` is called with `owner` when the last tensor is gone. */
struct hg_storage {
    int64_t n_ref;
    char *data;
    size_t size; /* bytes */
    uint32_t version;
    bool read_only;
    bool cached;               /* the memory goes to the cache, not to the host */
    uint8_t spare;             /* to which list of spare ones it goes, counted from 1; 0: to none */
    void (*free)(void *owner); /* NULL: the bytes follow this header */
    void *owner;               /* where free is NULL: how many bytes it has had (hg_storage_resize) */
    hg_counter *counter; /* owned; where the version is shared with another storage: it counts, `version` does not */
};

/* The storage whose memory this one shows: `.data` has a version of its own. */
const hg_storage *hg_storage_own(const hg_storage *s);
/* Its memory counts as so many bytes from here on, and stays where it is. False: it never had so many, or is somebody else's. */
bool hg_storage_resize(hg_storage *s, size_t size);

static inline uint32_t *hg_version_of(hg_storage *s) { return s->counter ? &s->counter->version : &s->version; }
static inline uint32_t hg_version(const hg_storage *s) { return s->counter ? s->counter->version : s->version; }

/* How a tensor lies in memory, as functions are asked for it. */
typedef enum hg_format {
    HG_FORMAT_CONTIGUOUS,
    HG_FORMAT_PRESERVE, /* as the tensor it is made like */
    HG_FORMAT_CHANNELS_LAST,
    HG_FORMAT_CHANNELS_LAST_3D,
} hg_format;

/* The memory of storages of 4 KiB and more, in bytes. Freed blocks wait for storages to come; hg_empty_cache() gives them back
   to the host, and the small tensors and nodes that wait for their like. */
typedef struct hg_memory {
    size_t in_use, peak, waiting;
    int64_t n_in_use, n_taken; /* blocks: now, and ever */
} hg_memory;

hg_memory hg_memory_stats(const hg_lib *lib);
void hg_reset_peak_memory(hg_lib *lib); /* the peak is what is in use now */
void hg_empty_cache(hg_lib *lib);

/* Note [Held tensors]
   Two tensors may exchange what they are where no node has saved them, no view has them for its base and none is another's .grad.
   n_held is at least the number of those, HG_HELD meaning any: it counts up, and down only where a .grad is replaced. Where it is
   not zero, the host visits all nodes and tensors and counts anew, which serves for all the tensors there are. */
enum { HG_HELD = 3 };

/* A tensor. Read the fields freely; change them through functions only. An object fresh from the host (all zero, no
   storage) is a valid, empty tensor. */
struct hg_tensor {
    hg_storage *storage; /* owned; NULL: empty core */
    char *data;          /* the first element */
    int64_t *shape;      /* [n_dim] */
    int64_t *stride;     /* [n_dim], in elements */
    int64_t numel;
    uint8_t dtype, n_dim;
    bool requires_grad;       /* of a leaf; use hg_tensor_requires_grad() */
    bool contiguous;          /* its elements lie side by side, in order */
    bool plain;               /* and strides are a new tensor's, those of dimensions of size 1 as well */
    uint8_t is_inference : 2; /* made in inference mode; 2: and detached outside of it, so that changes are counted */
    uint8_t levels : 6;       /* of which transforms it is: Note [Levels] in op.c */
    uint8_t view_kind : 5;    /* how this view was made: see Note [Views] in autograd_impl.h */
    uint8_t in_map : 1;       /* is it known to one of the maps among its levels? */
    uint8_t n_held : 2;       /* Note [Held tensors] */
    uint8_t replay;           /* by how many ops from its base; 0: that is not known */
    uint32_t out_nr;          /* which output of grad_fn this is */
    uint32_t seen_version;    /* storage->version when grad_fn was set: a view's history is stale when they differ */
    hg_node *grad_fn;         /* owned, may be NULL */
    hg_tensor *grad;          /* owned, may be NULL */
    hg_tensor *base;          /* owned; what this is a view of, never itself a view; may be NULL */
    struct hg_extra *extra;   /* owned; hooks, accumulator ...: NULL until needed */
    int64_t dims[2 * HG_INLINE_DIM];
};

/* A new contiguous tensor; its values are whatever lies there. */
hg_status hg_tensor_empty(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape, hg_tensor **out);
/* A new tensor over memory of somebody else's; `free(owner)` runs when the last tensor on it is gone. On failure the
   caller keeps owner. */
hg_status hg_tensor_wrap(hg_ctx *cx, void *data, hg_dtype d, int n_dim, const int64_t *shape, const int64_t *stride,
                         size_t size, void (*free)(void *), void *owner, hg_tensor **out);
/* A new tensor that shows a shape and has no values: what reads it nevertheless finds zeros. `size`: of its storage, in bytes. */
hg_status hg_tensor_hollow(hg_ctx *cx, hg_dtype d, int n_dim, const int64_t *shape, const int64_t *stride,
                           int64_t offset, size_t size, hg_tensor **out);
bool hg_is_hollow(const hg_tensor *t);
/* t on the device "meta" from here on, in memory of its own and without values; its history stays. */
hg_status hg_make_meta(hg_ctx *cx, hg_tensor *t);
bool hg_is_meta(const hg_tensor *t);
bool hg_has_metas(const hg_lib *lib);         /* have there been any? */
bool hg_without_metas(hg_lib *lib, bool off); /* ops run on them as on zeros meanwhile; returns what it was */
/* t, made to stand for a view of `of`, or for what it is when detached, counts its versions with it from here on, and lies in
   its storage where both are hollow. */
hg_status hg_share(hg_ctx *cx, hg_tensor *t, const hg_tensor *of);
/* A new tensor on the same storage: a raw view, without history or base. */
hg_status hg_tensor_alias(hg_ctx *cx, const hg_tensor *t, int n_dim, const int64_t *shape, const int64_t *stride,
                          int64_t offset, hg_tensor **out);
hg_status hg_refuse_inference(hg_ctx *cx);
/* t has been written to: its version counts it. As in PyTorch it is then that a tensor made in inference mode fails
   outside of it. */
static inline hg_status hg_wrote(hg_ctx *cx, hg_tensor *t) {
    if (t->is_inference == 1 && !cx->inference) return hg_refuse_inference(cx);
    ++*hg_version_of(t->storage);
    return HG_OK;
}
/* What `is_inference` is of t detached now. */
static inline uint8_t hg_still_inference(const hg_ctx *cx, const hg_tensor *t) {
    return t->is_inference && !cx->inference ? 2 : t->is_inference;
}
hg_status hg_raw_detach(hg_ctx *cx, const hg_tensor *t, hg_tensor **out); /* shares storage and version */
/* The same; of what stands in for its own ops (hg_watch.calling) it is what that makes of detach(). */
hg_status hg_tensor_detach(hg_ctx *cx, hg_tensor *t, hg_tensor **out);
/* Fill `t`, an empty core or any tensor, with what `from` is (storage, shape; neither history nor grad). */
hg_status hg_tensor_set_data(hg_ctx *cx, hg_tensor *t, const hg_tensor *from);
hg_status hg_tensor_data(hg_ctx *cx, hg_tensor *t, hg_tensor **out); /* `.data`: shares memory, not the version */
/* `t.data = from`: t shows from's memory, and goes on counting its own version. */
hg_status hg_tensor_assign(hg_ctx *cx, hg_tensor *t, const hg_tensor *from);
/* Fill `t`, an empty core, with what `from` is, history included: for a host's objects of a class of their own. */
hg_status hg_tensor_become(hg_ctx *cx, hg_tensor *t, hg_tensor *from);
/* Exchange all that they are: memory, history, gradient, hooks. Nothing but accumulators may point to either. */
void hg_tensor_swap(hg_ctx *cx, hg_tensor *a, hg_tensor *b);
/* Does t lie so? Of the formats that name no order, contiguity is asked. */
bool hg_tensor_lies_as(const hg_tensor *t, hg_format f);
/* Which channels-last format its strides have the order of, or contiguous. */
hg_format hg_tensor_format(const hg_tensor *t);
const char *hg_show_shape(const hg_tensor *t, char buf[256]); /* "[2, 3]", for messages */
int64_t hg_tensor_offset(const hg_tensor *t);                 /* in elements, from the storage's start */
static inline size_t hg_tensor_itemsize(const hg_tensor *t) { return hg_dtypes[t->dtype].size; }

/* ---- Arguments and ops ------------------------------------------------------------------------------------------ */

typedef enum hg_arg_kind {
    HG_A_NONE,      /* not given, or None: the schema's default applies to what was not given */
    HG_A_TENSOR,    /* u.t */
    HG_A_BOOL,      /* u.i */
    HG_A_INT,       /* u.i */
    HG_A_FLOAT,     /* u.f */
    HG_A_INTS,      /* u.ints[n] */
    HG_A_FLOATS,    /* u.floats[n] */
    HG_A_TENSORS,   /* u.ts[n]; entries may be NULL */
    HG_A_DTYPE,     /* u.i */
    HG_A_STR,       /* u.s */
    HG_A_GENERATOR, /* u.g */
    HG_A_FORMAT,    /* u.i: an hg_format */
    HG_A_DEFAULT,   /* take the schema's default */
    HG_A_STORAGE,   /* u.storage: only within the core, of a saved output */
} hg_arg_kind;

struct hg_arg {
    uint8_t kind; /* hg_arg_kind */
    uint32_t n;   /* how many, of a list; of a saved tensor: its version when it was saved */
    union {
        hg_tensor *t;
        int64_t i;
        double f;
        const int64_t *ints;
        const double *floats;
        hg_tensor *const *ts;
        const char *s;
        hg_generator *g;
        hg_storage *storage;
    } u;
};

static inline hg_arg hg_t(hg_tensor *t) {
    return (hg_arg){.kind = (uint8_t)(t ? HG_A_TENSOR : HG_A_NONE), .u = {.t = t}};
}
static inline hg_arg hg_i(int64_t i) { return (hg_arg){.kind = HG_A_INT, .u = {.i = i}}; }
static inline hg_arg hg_b(bool b) { return (hg_arg){.kind = HG_A_BOOL, .u = {.i = b}}; }
static inline hg_arg hg_f(double f) { return (hg_arg){.kind = HG_A_FLOAT, .u = {.f = f}}; }
static inline hg_arg hg_ints(const int64_t *at, int n) {
    return (hg_arg){.kind = HG_A_INTS, .n = (uint32_t)n, .u = {.ints = at}};
}
static inline hg_arg hg_ts(hg_tensor *const *at, int n) {
    return (hg_arg){.kind = HG_A_TENSORS, .n = (uint32_t)n, .u = {.ts = at}};
}
static inline hg_arg hg_s(const char *s) { return (hg_arg){.kind = HG_A_STR, .u = {.s = s}}; }
static inline hg_arg hg_d(hg_dtype d) { return (hg_arg){.kind = HG_A_DTYPE, .u = {.i = d}}; }
static inline hg_arg hg_format_arg(hg_format f) { return (hg_arg){.kind = HG_A_FORMAT, .u = {.i = f}}; }
#define HG_NONE    ((hg_arg){.kind = HG_A_NONE})
#define HG_DEFAULT ((hg_arg){.kind = HG_A_DEFAULT})

hg_arg hg_element(hg_dtype d, const char *at);            /* what lies there: BOOL, INT or FLOAT */
hg_status hg_item(hg_ctx *cx, hg_tensor *t, hg_arg *out); /* of a one-element tensor: BOOL, INT or FLOAT */

/* Where an op appears, and what it is. */
enum {
    HG_ROW_METHOD = 1,       /* Tensor.name */
    HG_ROW_FUNCTION = 2,     /* torch.name */
    HG_ROW_NN = 4,           /* torch.nn.functional.name */
    HG_ROW_INPLACE = 8,      /* also name_ wherever name is; the forward writes into *out when it is given */
    HG_ROW_COMPOSITE = 16,   /* written in terms of recorded ops: no node of its own */
    HG_ROW_VIEW = 32,        /* its output shares its first argument's storage */
    HG_ROW_LINALG = 64,      /* torch.linalg.name */
    HG_ROW_MULTI_VIEW = 128, /* a view op with several outputs (split, unbind): torch forbids in-place on them */
    HG_ROW_MUTATES = 256,    /* the op itself is in-place: writes its first argument, whose name ends in _ */
    HG_ROW_SPECIAL = 512,    /* torch.special.name */
    HG_ROW_TWICE = 1024, /* its derivative is one node when it is differentiated: Note [One node for a derivative] */
    HG_ROW_APART = 8192, /* one for each of its two gradients */
    /* one that MUTATES how the argument lies in its memory, not what is there: of a view no base sees it */
    HG_ROW_MOVES = 2048,
    HG_ROW_UNASKED = 4096,    /* in place it writes to whatever needs a gradient, as PyTorch's logical ops do */
    HG_ROW_OTHER_OUT = 16384, /* out= of another dtype: Note [Given outputs] in out.c */
    /* one that is TWICE: its derivative is linear in the gradient, and so knows of it the shape alone; of its argument, too */
    HG_ROW_LINEAR = 32768,
    HG_ROW_BLIND = 65536,
    HG_ROW_SAVES_ALL = 131072, /* whichever gradient is wanted: Note [What is saved] in schema.c */
};

#define HG_MAX_PARAMS 16

/* What an op's forward and backward are called with: see Note [Ops] in op_impl.h. */
typedef struct hg_param {
    char name[24];
    uint8_t kind;  /* hg_arg_kind it wants */
    bool optional; /* "Tensor? bias": None is fine */
    bool keyword_only;
    bool or_number; /* "Tensor|Scalar": a number does for the tensor; a bare Scalar has kind HG_A_FLOAT and this set */
    int8_t n_list;  /* "int[2]": this many, one number standing for all; 0: any; -1: no list */
    bool has_default;
    hg_arg fallback; /* the default */
} hg_param;

/* One row of the table, with what is derived from its schema at first use. */
struct hg_op {
    const char *schema; /* and behind its end the grads */
    uint32_t flags;
    hg_status (*forward)(hg_ctx *cx, const hg_arg *a, hg_tensor **out);
    hg_status (*backward)(hg_ctx *cx, struct hg_back *b);
    const char *node_name; /* "AddBackward0" */
};

typedef struct hg_op_info {
    const hg_op *op;
    int id;
    char name[48];     /* "sum" */
    char overload[24]; /* "dim", may be empty */
    const char *grads; /* "self(other) other(self)" */
    char node_name[56], twice_name[64];
    uint8_t n_params, n_positional;     /* positional ones come first */
    uint8_t n_out;                      /* 0: a list of tensors, as many as the op makes */
    char out_names[4][16];              /* of a named result ("values", "indices"), else empty */
    uint32_t differentiable;            /* bit i: parameter i has a derivative */
    uint32_t saves_in[HG_MAX_PARAMS];   /* bit j of [i]: the derivative of i needs argument j */
    uint32_t saves_out[HG_MAX_PARAMS];  /* bit j of [i]: ... needs output j */
    uint8_t n_edges;                    /* of a node whose arguments are no lists: one for each of those */
    uint32_t first_edge[HG_MAX_PARAMS]; /* where that of parameter i is, or would be */
    uint32_t constant_out;              /* bit k: output k has no gradient */
    bool saves;                         /* is anything saved? */
    bool flat;                          /* no parameter is a list, or anything but a tensor or a number */
    uint32_t always_in, always_out;  /* what is saved whichever gradient is wanted: Note [What is saved] in schema.c */
    uint8_t in_order[HG_MAX_PARAMS]; /* the parameters by name: the order in which they are saved and unpacked */
    uint8_t out_order[4];            /* likewise the outputs */
    /* What the op is for `n_plain` plain operands, which stand first: Note [Plain calls] in pointwise.c; NULL, 0: nothing
       so simple. */
    const struct hg_kernel *plain;
    uint8_t n_plain;
    hg_arg defaults[HG_MAX_PARAMS]; /* what stands for an argument not given; HG_DEFAULT: it must be given */
    hg_param params[HG_MAX_PARAMS];
} hg_op_info;

typedef enum hg_op_id {
#define OP(id, ...) HG_OP_##id,
#include "hookgrad_ops.def"
#undef OP
    HG_N_OPS
} hg_op_id;

/* Borrowed, for the library's life; NULL: its schema is wrong (our bug). */
const hg_op_info *hg_op_at(hg_lib *lib, int id);

#define HG_MAX_OUT 4
/* Call an op. a[n] are its arguments in the schema's order; missing ones take their default. Records a node where
   gradients are enabled and wanted. out[] gets info->n_out new tensors. */
hg_status hg_call_op(hg_ctx *cx, int id, const hg_arg *a, int n, hg_tensor **out);
/* What a caller gives for an op's outputs: Note [Given outputs] in out.c. hg_check_out() comes before the call, and refuses memory
   that its arguments have a part in; hg_put_out() copies a result there, or refuses what its dtype or device is not for. */
hg_status hg_check_out(hg_ctx *cx, const hg_op_info *op, const hg_arg *a, const hg_tensor *out);
hg_status hg_put_out(hg_ctx *cx, const hg_op_info *op, hg_tensor *result, hg_tensor *out);
/* The in-place form: the result goes into the first argument. */
hg_status hg_call_inplace(hg_ctx *cx, int id, const hg_arg *a, int n);
/* Ops that return a list ("-> Tensor[]": split, unbind). *out is a new array from host->mem of *n new tensors. */
hg_status hg_call_list(hg_ctx *cx, int id, const hg_arg *a, int n_arg, hg_tensor ***out, int *n);
void hg_list_free(hg_ctx *cx, hg_tensor **list, int n);

/* The common ones, for C programs. */
hg_status hg_add(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out);
hg_status hg_mul(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out);
hg_status hg_matmul(hg_ctx *cx, hg_tensor *a, hg_tensor *b, hg_tensor **out);
hg_status hg_sum(hg_ctx *cx, hg_tensor *a, hg_tensor **out);

/* Indexing as x[...] does. */
typedef enum hg_index_kind {
    HG_IX_INT,
    HG_IX_SLICE,
    HG_IX_NEW,
    HG_IX_ELLIPSIS,
    HG_IX_TENSOR,
    HG_IX_BOOL
} hg_index_kind;
typedef struct hg_index {
    hg_index_kind kind;
    int64_t start, stop, step; /* of a slice; INT: start; BOOL: start is 0 or 1. INT64_MAX / INT64_MIN: open */
    hg_tensor *t;              /* integers, or booleans / uint8 as a mask; borrowed */
} hg_index;
hg_status hg_get_index(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, hg_tensor **out);
hg_status hg_set_index(hg_ctx *cx, hg_tensor *t, const hg_index *at, int n, hg_arg value);

/* ---- Autograd --------------------------------------------------------------------------------------------------- */

static inline bool hg_tensor_requires_grad(const hg_tensor *t) {
    for (; t; t = t->base) /* a view does where its base does, whatever came first */
        if (t->requires_grad || t->grad_fn) return true;
    return false;
}
hg_status hg_tensor_set_requires_grad(hg_ctx *cx, hg_tensor *t, bool on);
static inline bool hg_tensor_is_leaf(const hg_tensor *t) { return t->grad_fn == NULL; }
/* The node that made t, brought up to date for a view whose base was changed; borrowed, NULL for a leaf. */
hg_status hg_tensor_grad_fn(hg_ctx *cx, hg_tensor *t, hg_node **out);
/* The dtype that .grad of a leaf has and that gradients on their way to it are cast to: the leaf's own unless another was
   set. HG_NO_DTYPE: any. */
hg_dtype hg_tensor_grad_dtype(const hg_tensor *t);
hg_status hg_tensor_set_grad_dtype(hg_ctx *cx, hg_tensor *t, hg_dtype d);
hg_status hg_tensor_set_grad(hg_ctx *cx, hg_tensor *t, hg_tensor *grad); /* grad may be NULL; checked as torch does */
hg_status hg_tensor_retain_grad(hg_ctx *cx, hg_tensor *t);
bool hg_tensor_retains_grad(const hg_tensor *t);
hg_status hg_tensor_detach_(hg_ctx *cx, hg_tensor *t);

/* Run backward from roots[n]. grads[i] may be NULL (then roots[i] must have one element).
   n_inputs < 0: accumulate into every leaf. Otherwise only inputs: into their .grad when `results` is NULL, else the
   gradients are returned as new tensors in results[] (NULL where one was not reached and allow_unused). */
hg_status hg_backward(hg_ctx *cx, hg_tensor *const *roots, hg_tensor *const *grads, int n, bool keep_graph,
                      bool create_graph, hg_tensor *const *inputs, int n_inputs, bool allow_unused,
                      hg_tensor **results);

/* The innermost backward under way in this thread, as its hooks may ask. */
int hg_backward_depth(const hg_ctx *cx);     /* how many are running in this thread, one within the other */
int64_t hg_backward_id(const hg_ctx *cx);    /* a number of its own; -1: there is none */
hg_node *hg_backward_node(const hg_ctx *cx); /* the node being run; borrowed, NULL: none */
bool hg_backward_keeps(const hg_ctx *cx);    /* does it keep the graph? true where there is none */
/* Do it and those around it run everything they reach? true where there is none. */
bool hg_backward_is_whole(const hg_ctx *cx);
/* Does it want what goes to an edge of the node that it is running? true of any other node's edge that leads somewhere. */
bool hg_backward_wants(const hg_ctx *cx, const hg_node *n, uint32_t edge);
/* Does it run the node, or return its gradient? Fails for a leaf whose gradient it returns: the leaf itself is not run. */
hg_status hg_backward_will_run(hg_ctx *cx, const hg_node *n, bool *out);
/* Tell `each` the nodes that it runs, from the first on, in the order in which they have their turn. */
hg_status hg_backward_order(hg_ctx *cx, hg_status (*each)(hg_ctx *cx, hg_node *n, void *arg), void *arg);
/* Call fn when the backward under way is done; `data` is a host reference, held meanwhile. Fails outside of one. */
hg_status hg_backward_then(hg_ctx *cx, hg_status (*fn)(hg_ctx *cx, void *data), void *data);

/* Who stands in for ops: nobody, something that sees every op of the thread, the tensor's own class. */
typedef enum hg_seen { HG_UNSEEN, HG_SEEN, HG_SEEN_BY_CLASS } hg_seen;

/* What watches the graph, for anomaly detection and the like; any of it may be NULL. Of `born` the node is not complete. */
typedef struct hg_watch {
    /* An op is about to compute; `into` is what it is to write to, of an op in place, else NULL. Composite ops are not told: the
       ops they are made of are. To stand in for it, set *made to a new array from host->mem of *n new tensors; for one in place
       it is empty. The next two are there when this is. */
    hg_status (*calling)(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor ***made,
                         int *n);
    /* `as` is from now on what `t` was: what stands in for a result, or what a node keeps of its own result; NULL: t is
       detached in place. */
    hg_status (*known_as)(hg_ctx *cx, hg_tensor *t, hg_tensor *as);
    hg_seen (*seeing)(const hg_tensor *t); /* whom it would tell of an op on t; NULL: on any tensor */
    /* The number in t is wanted; *out stays NONE: read it. */
    hg_status (*reading)(hg_ctx *cx, hg_tensor *t, hg_arg *out);
    hg_status (*born)(hg_ctx *cx, hg_node *n); /* a node has been made */
    void (*failed)(hg_ctx *cx, hg_node *n);    /* its backward has failed: the error is in the context, or the host's */
    hg_status (*writing)(hg_ctx *cx, hg_tensor *t); /* t is about to be changed in place */
    /* A full backward hook passes t on: *out is a view of it, new, of a class of the host's; NULL: a plain one will do. */
    hg_status (*passing)(hg_ctx *cx, hg_tensor *t, hg_tensor **out);
    bool check_nan; /* a nan among the gradients a node gives is a failure */
} hg_watch;
hg_watch *hg_watching(hg_lib *lib); /* borrowed: to be filled in */
/* Is the shape of that op's result, or what it answers, unknown without values? */
bool hg_needs_values(int id);
/* The maps under way that know t. */
static inline int hg_maps_of(const hg_ctx *cx, const hg_tensor *t) { return t->in_map ? t->levels & cx->maps : 0; }
/* The innermost map that one of the arguments is a sample of; 0: none. */
int hg_innermost_map(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a);
/* The levels of the arguments from that one on: Note [Levels] in op.c. */
uint8_t hg_levels_of(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a, int from);

/* Nodes, as seen from outside. */
const char *hg_node_name(const hg_node *n);
#define HG_NODE_NAME 96 /* room enough for any */
/* As torch's messages have it: "torch::autograd::CopySlices". */
const char *hg_node_full_name(const hg_node *n, char buf[HG_NODE_NAME]);
uint64_t hg_node_seq(const hg_node *n);
void hg_node_set_seq(hg_node *n, uint64_t seq);
const int64_t *hg_node_out_shape(const hg_node *n, int k, int *n_dim, hg_dtype *dtype); /* borrowed; of what it made */
int hg_node_n_next(const hg_node *n);
hg_node *hg_node_next(const hg_node *n, int i, uint32_t *nr); /* borrowed, may be NULL */
hg_tensor *hg_node_variable(const hg_node *n);                /* of an AccumulateGrad node; borrowed, else NULL */
const hg_op_info *hg_node_op(const hg_node *n);               /* NULL for nodes that are no op's */
/* The accumulator of a leaf that requires grad: new. */
hg_status hg_tensor_accumulator(hg_ctx *cx, hg_tensor *t, hg_node **out);
hg_node *hg_tensor_live_accumulator(const hg_tensor *t); /* the one there is; borrowed, NULL: none */
/* A derivative that is one node (Note [One node for a derivative] in twice.c): the node it is the derivative of, else
   NULL; borrowed. It saved, as functions do, the gradient of output i in place i, and what stands for parameter i, or
   for output i, of that node's op in the place that the second says; -1: nothing does. */
hg_node *hg_node_first(const hg_node *n);
int hg_node_saved_of_first(const hg_node *n, int i, bool output);
/* What the node saved as argument or output i: new tensor, or the plain argument; checks the version. */
hg_status hg_node_saved(hg_ctx *cx, hg_node *n, int i, bool output, hg_arg *out);
/* Entry j of the list that was argument i, as it was saved: new; NULL where there was none. */
hg_status hg_node_saved_at(hg_ctx *cx, hg_node *n, int i, int j, hg_tensor **out);
int hg_node_n_saved_at(const hg_node *n, int i); /* how many entries that list has */
/* What is known of argument i, a tensor: its dimensions, or -1 where it was none or neither was it saved nor did it require
   a gradient. Strides are those of a saved one, else NULL. Borrowed. */
int hg_node_argument(const hg_node *n, int i, const int64_t **shape, const int64_t **stride);
/* Where its gradient goes: nowhere, to a node, or to that of t(). */
typedef enum hg_arg_edge { HG_EDGE_NONE, HG_EDGE_PLAIN, HG_EDGE_TURNED } hg_arg_edge;
hg_arg_edge hg_node_argument_edge(const hg_node *n, int i);

/* Saved-tensor hooks, innermost last pushed: `pack` is called with each tensor a node saves (a saved output has its history
   already) and returns what to keep instead, a new host reference; `unpack` turns that into a tensor again. `pack` runs with
   gradients disabled. */
typedef struct hg_saved_hooks {
    hg_status (*pack)(hg_ctx *cx, void *data, hg_tensor *t, void **packed);
    hg_status (*unpack)(hg_ctx *cx, void *data, void *packed, hg_tensor **out);
    void *data; /* a host reference, held while anything packed lives */
} hg_saved_hooks;
hg_status hg_saved_hooks_push(hg_ctx *cx, const hg_saved_hooks *hooks); /* fails where they are disabled */
void hg_saved_hooks_pop(hg_ctx *cx);
const hg_saved_hooks *hg_saved_hooks_top(const hg_ctx *cx); /* borrowed, may be NULL */
/* Forbid them in this thread: pushing fails with these words (copied). */
hg_status hg_saved_hooks_disable(hg_ctx *cx, const char *words, bool fail_if_in_force);
void hg_saved_hooks_enable(hg_ctx *cx);
const char *hg_saved_hooks_disabled(const hg_ctx *cx); /* the words; NULL where they are allowed */
/* Pack what the node saved as argument or output i (entry j of a list) now: Node._raw_saved_x.register_hooks. */
hg_status hg_node_pack(hg_ctx *cx, hg_node *n, int i, int j, bool output, const hg_saved_hooks *hooks);
/* The hooks it is packed by (borrowed), and in *ref what pack returned; NULL: it is not. */
const hg_saved_hooks *hg_node_packed(hg_node *n, int i, int j, bool output, void **ref);

/* A node whose derivative is the host's: autograd.Function. Its edges are those of the inputs as they are now. */
typedef hg_status (*hg_function_apply)(hg_ctx *cx, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in);
/* new; `data` is a host reference that the node holds and the host's collector is shown; `name` lives as long as data.
   grad[n_out] are borrowed and may be NULL; grad_in[n_in] are to be filled with new references. */
hg_status hg_function_new(hg_ctx *cx, const char *name, hg_function_apply apply, void *data, hg_tensor *const *inputs,
                          int n_in, hg_node **out);
/* What the node made: sets shapes, and the history of each outs[k] that is[k] calls differentiable. One that is dirty, an
   input modified in place, has its history rebased, which fails where an operation in place would have; any other that is a
   view must not be modified in place from now on. Without a node, n == NULL, where nothing is recorded, that is all. */
enum { HG_OUT_DIFFERENTIABLE = 1, HG_OUT_DIRTY = 2 };
hg_status hg_function_set_outputs(hg_ctx *cx, hg_node *n, hg_tensor *const *outs, const uint8_t *is, int n_out);
/* Entries may be NULL. Saved to be asked for `once`, they are let go then. */
hg_status hg_function_save(hg_ctx *cx, hg_node *n, hg_tensor *const *at, int n_saved, bool once);
int hg_function_n_saved(const hg_node *n);
hg_status hg_function_saved(hg_ctx *cx, hg_node *n, hg_tensor **out);           /* new; NULL where NULL was saved */
hg_status hg_function_saved_at(hg_ctx *cx, hg_node *n, int i, hg_tensor **out); /* one of them */
bool hg_function_saved_is_output(const hg_node *n, int i);
hg_status hg_node_check_saved(hg_ctx *cx, const hg_node *n); /* fails where a backward has let go of it */
void *hg_function_data(const hg_node *n);                    /* borrowed; NULL: no function's node */
/* How many gradients the node takes: of an op's results those up to the last that has one, as hooks are shown them. */
int hg_node_n_out(const hg_node *n);
/* What it makes of as many (borrowed, may be NULL): new references, or NULL, in grad_in[n_next]. No hook runs. */
hg_status hg_node_apply(hg_ctx *cx, hg_node *n, hg_tensor **grad, hg_tensor **grad_in);
/* For a host that runs code of others before it finalizes a node whose count is zero: nobody finds it any more. */
void hg_node_unlink(hg_node *n);
/* A tensor of zeros like the node's output k: new. */
hg_status hg_node_zeros(hg_ctx *cx, const hg_node *n, int k, hg_tensor **out);
/* A tensor whose gradient is what arrives at output k: the leaf of an AccumulateGrad node, else zeros with that history. New. */
hg_status hg_node_output(hg_ctx *cx, hg_node *n, int k, hg_tensor **out);

/* ---- Hooks ------------------------------------------------------------------------------------------------------ */

typedef enum hg_hook_kind {
    HG_HOOK_TENSOR,          /* grad -> grad */
    HG_HOOK_POST_ACCUMULATE, /* tensor */
    HG_HOOK_NODE_PRE,        /* grad_output -> grad_output */
    HG_HOOK_NODE,            /* grad_input, grad_output -> grad_input */
    HG_HOOK_FORWARD_PRE,     /* module, args[, kwargs] -> args */
    HG_HOOK_FORWARD,         /* module, args[, kwargs], output -> output */
    HG_HOOK_BACKWARD_PRE,    /* module, grad_output -> grad_output */
    HG_HOOK_BACKWARD,        /* module, grad_input, grad_output -> grad_input */
    HG_HOOK_STATE_DICT_PRE,
    HG_HOOK_STATE_DICT,
    HG_HOOK_LOAD_STATE_DICT_PRE,
    HG_HOOK_LOAD_STATE_DICT, /* the host's to call */
    HG_HOOK_REGISTER_BUFFER,
    HG_HOOK_REGISTER_MODULE,
    HG_HOOK_REGISTER_PARAMETER, /* the host's to call */
    HG_N_HOOK_KINDS
} hg_hook_kind;

/* LEGACY: of a BACKWARD hook that sees the gradients of the last node only (Module.register_backward_hook). */
enum { HG_HOOK_PREPEND = 1, HG_HOOK_WITH_KWARGS = 2, HG_HOOK_ALWAYS_CALL = 4, HG_HOOK_LEGACY = 8 };

/* One event, as a hook sees it. A hook replaces a value with hg_value_set() on the field its kind may replace. */
typedef struct hg_call {
    hg_hook_kind kind;
    uint32_t flags;   /* of the hook being run */
    uint64_t id;      /* of the hook being run */
    const void *file; /* of the hook being run: where it was registered, as the host has noted it; may be NULL */
    int line;
    hg_module *module;             /* borrowed */
    hg_node *node;                 /* borrowed */
    hg_tensor *tensor;             /* borrowed: of POST_ACCUMULATE */
    hg_value args, kwargs, output; /* args: a tuple; kwargs: the host's mapping or none; or what host->spread takes */
    hg_value grad;                 /* of TENSOR */
    hg_value grad_input, grad_output; /* tuples of tensors and nothings; of modules also what host->gradients takes */
    bool without_inputs;              /* of BACKWARD: no input needs a gradient, and the hook must return nothing */
} hg_call;

typedef hg_status (*hg_hook_fn)(hg_ctx *cx, hg_call *call, void *data);

typedef struct hg_hook {
    uint64_t id;
    hg_hook_fn fn;
    void *data;
    void (*drop)(void *data); /* may be NULL; called once, when nobody can call the hook any more */
    void (*hold)(void *data); /* may be NULL; a run holds what it calls */
    const void *file; /* the host's note of where it was registered: lives as long as the library; may be NULL */
    int line;
    uint32_t flags;
} hg_hook;

/* An ordered table of hooks: a host object. */
struct hg_hooks {
    hg_hook_kind kind;
    uint32_t n, cap;
    hg_hook *at;     /* in `memory`: removing the first moves it on */
    hg_hook *memory; /* owned: room for cap */
    bool unsorted;   /* ids do not go up from place to place: they mostly do */
};

hg_status hg_hooks_new(hg_ctx *cx, hg_hook_kind kind, hg_hooks **out);
uint64_t hg_next_hook_id(hg_lib *lib); /* one counter for all tables, as torch has */
uint64_t hg_peek_hook_id(const hg_lib *lib);
void hg_set_next_hook_id(hg_lib *lib, uint64_t id);
/* Adds, or replaces the function where the id is there already. The table calls hold(data) once it has succeeded. */
hg_status hg_hooks_put(hg_ctx *cx, hg_hooks *h, const hg_hook *hook);
bool hg_hooks_remove(hg_ctx *cx, hg_hooks *h, uint64_t id); /* was it there? */
hg_hook *hg_hooks_find(const hg_hooks *h, uint64_t id);     /* borrowed until the table changes; may be NULL */
void hg_hooks_clear(hg_ctx *cx, hg_hooks *h);
void hg_hooks_move(hg_hooks *h, uint32_t from, bool last); /* the hook at that place goes to one of the ends */
/* Runs a snapshot: hooks added meanwhile wait for the next run, hooks removed meanwhile still fire. */
hg_status hg_hooks_run(hg_ctx *cx, hg_hooks *h, hg_call *call);

/* The table of a tensor, a node or a module, made on first demand when `make`; borrowed, may be NULL. */
hg_status hg_tensor_hooks(hg_ctx *cx, hg_tensor *t, hg_hook_kind kind, bool make, hg_hooks **out);
hg_status hg_tensor_set_hooks(hg_ctx *cx, hg_tensor *t, hg_hook_kind kind, hg_hooks *h);
hg_status hg_node_hooks(hg_ctx *cx, hg_node *n, hg_hook_kind kind, bool make, hg_hooks **out);
hg_status hg_module_hooks(hg_ctx *cx, hg_module *m, hg_hook_kind kind, bool make, hg_hooks **out);
hg_status hg_module_set_hooks(hg_ctx *cx, hg_module *m, hg_hook_kind kind, hg_hooks *h); /* retains h; may be NULL */
hg_status hg_global_hooks(hg_ctx *cx, hg_hook_kind kind, hg_hooks **out);                /* borrowed */
/* The common case in one call: add fn to that table under a new id. */
hg_status hg_tensor_add_hook(hg_ctx *cx, hg_tensor *t, hg_hook_fn fn, void *data, uint64_t *id);
hg_status hg_module_add_hook(hg_ctx *cx, hg_module *m, hg_hook_kind kind, hg_hook_fn fn, void *data, uint32_t flags,
                             uint64_t *id);

/* ---- Modules ---------------------------------------------------------------------------------------------------- */

/* An ordered table from names to values (tensors, modules, nothing): a host object. */
typedef struct hg_slot {
    void *name;     /* held */
    hg_value value; /* owned */
} hg_slot;

struct hg_table {
    uint32_t n, cap;
    hg_slot *at;     /* owned */
    uint32_t *index; /* owned; hash from name to place, once there are many; NULL before */
    uint32_t index_cap;
};

hg_status hg_table_new(hg_ctx *cx, hg_table **out);
/* Retains v; keeps the place of a known name. */
hg_status hg_table_put(hg_ctx *cx, hg_table *t, void *name, hg_value v);
hg_slot *hg_table_find(const hg_table *t, void *name); /* borrowed until the table changes; may be NULL */
bool hg_table_remove(hg_ctx *cx, hg_table *t, void *name);
void hg_table_clear(hg_ctx *cx, hg_table *t);

/* What a module computes from one input. */
typedef hg_status (*hg_layer_fn)(hg_ctx *cx, hg_module *m, const hg_value *in, size_t n, hg_value *out);

struct hg_module {
    hg_layer_fn forward; /* a layer in C; NULL: the host's forward function, called with host_forward */
    hg_table *params, *buffers, *modules; /* owned, made on first demand */
    struct hg_module_hook_tables *hooks;  /* owned; NULL: this module never had a hook */
    struct hg_module_life *life;          /* counted; NULL: nobody holds this module weakly */
    bool training;
};
/* Who holds the module weakly sees it no more. hg_clear() and hg_finalize() begin with that; a host whose objects run code
   of the user as they die calls it before any of that runs. */
void hg_module_ends(hg_lib *lib, hg_module *m);

typedef enum hg_table_kind { HG_PARAMS, HG_BUFFERS, HG_MODULES } hg_table_kind;
/* Borrowed; made on first demand. */
hg_status hg_module_table(hg_ctx *cx, hg_module *m, hg_table_kind which, hg_table **out);
hg_status hg_module_set_table(hg_ctx *cx, hg_module *m, hg_table_kind which, hg_table *t); /* retains t */
/* Changes when a module becomes another one's child: what was found to be the outermost one may be so no more. */
int64_t hg_n_placed(const hg_lib *lib);
/* Forward as the host's language defines it, for modules whose `forward` is NULL: args is a host tuple, kwargs the host's
   mapping or nothing. `found`: what hg_module_call_hooked() was given; NULL from hg_module_call(). */
typedef hg_status (*hg_host_forward)(hg_ctx *cx, hg_module *m, const void *found, hg_value args, hg_value kwargs,
                                     hg_value *out);
void hg_set_host_forward(hg_lib *lib, hg_host_forward fn);

/* The call sequence: every hook of the module and the global ones around forward. */
hg_status hg_module_call(hg_ctx *cx, hg_module *m, const hg_value *args, size_t n, hg_value kwargs, hg_value *out);
/* Warn where backward hooks of the older sort, which hang on the node of the output, will not see all gradients of a call
   with these arguments (a tuple) and this output. */
hg_status hg_module_warn_of_legacy(hg_ctx *cx, hg_value args, hg_value output, const hg_node *node);
/* The kinds of hooks that a call of the module would run, its own and global ones: bit 1 << kind. 0: the call is forward. */
uint32_t hg_module_hooked(const hg_lib *lib, const hg_module *m);
/* hg_module_call() for who has asked that already, and has the arguments as a tuple; `found` goes to the host's forward. */
hg_status hg_module_call_hooked(hg_ctx *cx, hg_module *m, uint32_t there, const void *found, hg_value args,
                                hg_value kwargs, hg_value *out);

/* Layers by name, "linear", "relu" ...: NULL where there is none. */
hg_layer_fn hg_layer_find(const char *name);
/* For C programs: modules with their parameters, initialised as torch does from the library's generator. */
hg_status hg_linear_new(hg_ctx *cx, int64_t in, int64_t out_features, bool bias, hg_module **out);
hg_status hg_activation_new(hg_ctx *cx, const char *layer, hg_module **out);
/* The first values of the weight (out, in, *kernel) of a linear layer or a convolution, and of its bias, which may be NULL:
   drawn evenly from ±1/sqrt(fan_in), which is what kaiming_uniform_(a=sqrt(5)) makes of a weight. Nothing is recorded. */
hg_status hg_draw_affine(hg_ctx *cx, hg_tensor *weight, hg_tensor *bias);
hg_status hg_sequential_new(hg_ctx *cx, hg_module *const *children, int n, hg_module **out);
hg_tensor *hg_module_param(hg_ctx *cx, hg_module *m, const char *name); /* borrowed, may be NULL */

/* ---- Random numbers: MT19937 as torch seeds and reads it ----------------------------------------------------------- */

struct hg_generator {
    uint32_t state[624];
    int at;
    uint64_t seed;
    bool has_normal;
    double next_normal;
};
void hg_generator_seed(hg_generator *g, uint64_t seed);
uint32_t hg_generator_u32(hg_generator *g);
void hg_generator_uniform(hg_generator *g, int64_t n, float *out); /* n numbers in [0, 1), one word each */
uint64_t hg_generator_u64(hg_generator *g);
hg_generator *hg_default_generator(hg_lib *lib);

/* ---- Optimizers: one update of every parameter, in place, outside the graph ------------------------------------------ */

typedef struct hg_sgd {
    double lr, weight_decay, momentum, dampening;
    bool nesterov, maximize;
} hg_sgd;
/* bufs[i] may be NULL before the first step with momentum: it is then made (new). */
hg_status hg_sgd_step(hg_ctx *cx, const hg_sgd *o, int n, hg_tensor *const *params, hg_tensor *const *grads,
                      hg_tensor **bufs);
typedef struct hg_adam {
    double lr, beta1, beta2, eps, weight_decay;
    bool amsgrad, maximize, decoupled;
} hg_adam;
hg_status hg_adam_step(hg_ctx *cx, const hg_adam *o, int n, hg_tensor *const *params, hg_tensor *const *grads,
                       hg_tensor *const *exp_avg, hg_tensor *const *exp_avg_sq, hg_tensor *const *max_exp_avg_sq,
                       hg_tensor *const *steps);

/* ---- Matrix products ---------------------------------------------------------------------------------------------- */

/* Where the host found OpenBLAS: asked once, at the first product that is large enough. Returns a path or NULL. */
void hg_set_blas_finder(hg_lib *lib, const char *(*find)(void *ud), void *ud);

#ifdef __cplusplus
}
#endif
#endif
