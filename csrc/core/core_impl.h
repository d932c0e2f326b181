/* What the core's files share: the library, memory, tensors in the making. */
#ifndef HG_CORE_IMPL_H
#define HG_CORE_IMPL_H

#include "cache_impl.h"

/* Names the core looks modules' tensors and settings up by: interned by the host at hg_open(). */
/* clang-format off */
#define HG_NAMES(X)                                                                                                    \
    X(weight) X(bias) X(running_mean) X(running_var) X(num_batches_tracked) X(eps) X(momentum) X(track_running_stats)  \
    X(stride) X(padding) X(dilation) X(groups) X(kernel_size) X(ceil_mode) X(count_include_pad) X(divisor_override)    \
    X(return_indices) X(output_size) X(padding_idx) X(p) X(inplace) X(negative_slope) X(approximate) X(dim)            \
    X(start_dim) X(end_dim) X(normalized_shape) X(padding_mode) X(max_norm) X(norm_type) X(scale_grad_by_freq)         \
    X(_input_dims)
/* clang-format on */

enum {
#define X(name) HG_NAME_##name,
    HG_NAMES(X)
#undef X
        HG_N_NAMES
};

/* Kernels that run without the host's lock, and storages that died meanwhile: work.c. */
typedef struct hg_at_work hg_at_work;
typedef struct hg_work_state {
    uint64_t n_begun;
    int64_t process; /* whose they are */
    hg_at_work *oldest, *newest;
    hg_storage *first_dead, *last_dead;
} hg_work_state;

enum { HG_SPARE_CLASSES = 2 }; /* Note [Spare storages] in storage.c */

typedef struct hg_spare {
    hg_storage *first; /* linked by `owner` */
    int n;
} hg_spare;

struct hg_lib {
    hg_host host;
    hg_dtype default_dtype;
    uint64_t next_hook_id;
    void *names[HG_N_NAMES];
    hg_op_info *ops[HG_N_OPS]; /* made at first use */
    hg_hooks *globals[HG_N_HOOK_KINDS];
    hg_host_forward host_forward;
    hg_watch watch;
    bool reshaped;         /* a tensor with a history has been given memory of another shape (x.data = y) */
    bool metas, metas_off; /* Note [Meta tensors]: there have been some; ops run on their memory as on any */
    int64_t n_runs;        /* of backward, so far: they are numbered */
    int64_t n_placed;      /* modules put below another one, so far */
    hg_generator generator;
    const char *(*find_blas)(void *ud);
    void *find_blas_ud;
    struct hg_blas *blas; /* what blas.c found; NULL before the first large product */
    hg_node *dying;       /* nodes waiting to be freed: see Note [Freeing graphs] in node.c */
    bool freeing;
    bool warns_always;
    int n_given;
    uint32_t given[64]; /* hashes of the words that hg_is_news has seen */
    hg_cache cache;
    hg_work_state work;
    hg_spare spare[HG_SPARE_CLASSES];
    hg_tensor *ready, *bare; /* Note [Ready tensors] in tensor.c: linked by `grad` */
    int n_ready, n_bare, n_resting;
    hg_node *resting[HG_N_OPS]; /* Note [Resting nodes] in node.c: linked by `next_dying` */
};

#define HOST(cx) (&(cx)->lib->host)

/* For a function that owns nothing yet: return the status of what failed. */
#define HG_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        hg_status st_ = (expr);                                                                                        \
        if (st_ != HG_OK) return st_;                                                                                  \
    } while (0)

/* Within the core the two that are called most need no call of their own. */
static inline void hg_retain_here(hg_ctx *cx, void *obj) {
    (void)cx;
    if (obj) HG_COUNT(obj)++;
}
/* Where there is no context, and an object. */
static inline void hg_release_in(hg_lib *lib, void *obj) {
    if (--HG_COUNT(obj) == 0) lib->host.dies(lib->host.ud, obj);
}
static inline void hg_release_here(hg_ctx *cx, void *obj) {
    if (obj) hg_release_in(cx->lib, obj);
}
static inline bool hg_is_unique(const void *obj) { return HG_COUNT(obj) == 1; }
#define hg_retain(cx, obj)  hg_retain_here(cx, obj)
#define hg_release(cx, obj) hg_release_here(cx, obj)

/* Raw memory: from the host, so that every allocation of the core can be made to fail. */
void *hg_mem(hg_ctx *cx, size_t size);                 /* NULL: failed, words set */
void *hg_mem_resize(hg_ctx *cx, void *p, size_t size); /* NULL: failed, words set, p untouched */
void hg_mem_free(hg_lib *lib, void *p);                /* NULL is fine */

/* A tuple of the host's: new in *out. As host->tuple_new, but for the words where memory ran out. */
hg_status hg_tuple_new(hg_ctx *cx, void *like, const hg_value *at, size_t n, hg_value *out);

/* Storages. A new one has count 1 and version 0; its bytes are uninitialised. */
hg_status hg_storage_new(hg_ctx *cx, size_t size, hg_storage **out);
/* One whose count is zero: at once, or when the kernels that may be using it are done (work.c). */
void hg_storage_die(hg_lib *lib, hg_storage *s);
void hg_storage_free(hg_lib *lib, hg_storage *s);
bool hg_storage_is_used_here(hg_lib *lib);
static inline bool hg_storage_is_used(hg_lib *lib) { return lib->work.oldest && hg_storage_is_used_here(lib); }
void hg_storage_bury_later(hg_lib *lib, hg_storage *s);
static inline void hg_storage_retain(hg_storage *s) { s->n_ref++; }
static inline void hg_storage_release(hg_lib *lib, hg_storage *s) {
    if (s && --s->n_ref == 0) hg_storage_die(lib, s);
}
void hg_spare_free(hg_lib *lib); /* what was kept goes back to the host */
void hg_ready_free(hg_lib *lib);
void hg_resting_free(hg_lib *lib);
enum { HG_KEPT = HG_FREES_ALL ? 0 : 1024 }; /* so many tensors, and nodes, for those to come */

/* A new tensor with room for n_dim and no storage yet: steals `storage` on success. Sets numel, contiguous and plain. */
hg_status hg_tensor_make(hg_ctx *cx, hg_storage *storage, char *data, hg_dtype d, int n_dim, const int64_t *shape,
                         const int64_t *stride, hg_tensor **out);
/* A new contiguous tensor of `like`'s shape, of dtype d. */
hg_status hg_tensor_empty_like(hg_ctx *cx, const hg_tensor *like, hg_dtype d, hg_tensor **out);
/* A raw view of t that starts `offset` elements after t's first. New. */
hg_status hg_raw_view(hg_ctx *cx, const hg_tensor *t, int n_dim, const int64_t *shape, const int64_t *stride,
                      int64_t offset, hg_tensor **out);
void hg_contiguous_strides(int n_dim, const int64_t *shape, int64_t *stride);
/* Other strides for t, over the same memory: all of it must lie within. */
void hg_tensor_restride(hg_tensor *t, const int64_t *stride);
/* Few dimensions are copied and compared one by one: a call of memcpy or memcmp, which the compiler would make of the loop,
   costs more than all of them. */
#if defined(__GNUC__)
#define HG_ONE_BY_ONE __asm__("")
#else
#define HG_ONE_BY_ONE (void)0
#endif
/* What was made by the op's forward, which has filled `out`: an array, borrowed, and how many. */
int hg_n_made(const hg_op_info *info, hg_tensor **out, hg_tensor ***at);
/* A number changes devices; replaces the reference. */
hg_status hg_move_to(hg_ctx *cx, bool meta, hg_tensor **number);
/* The op, where meta tensors may be among its arguments: meta.c. */
hg_status hg_meta_compute(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor **out);

/* Is anybody told of ops on t? NULL: on tensors of any kind. */
static inline hg_seen hg_sees(hg_ctx *cx, const hg_tensor *t) {
    return cx->lib->watch.calling ? cx->lib->watch.seeing(t) : HG_UNSEEN;
}

/* hg_tensor_detach() as an op, which whoever sees all ops is told of. */
hg_status hg_told_detach(hg_ctx *cx, hg_tensor *t, hg_tensor **out);

static inline void hg_copy_dims(int64_t *to, const int64_t *from, int n) {
    for (int i = 0; i < n; i++) {
        to[i] = from[i];
        HG_ONE_BY_ONE;
    }
}
static inline bool hg_same_dims(int na, const int64_t *a, int nb, const int64_t *b) {
    if (na != nb) return false;
    for (int i = 0; i < na; i++)
        if (a[i] != b[i]) return false;
    return true;
}
static inline bool hg_same_shape(const hg_tensor *a, const hg_tensor *b) {
    return hg_same_dims(a->n_dim, a->shape, b->n_dim, b->shape);
}
/* The same elements of the same memory, in the same order? */
bool hg_same_layout(const hg_tensor *a, const hg_tensor *b);

/* float16 and bfloat16 are stored so and computed in float32. */
static inline float hg_half_to_float(uint16_t h) { /* without branches, so that loops over it are vectorised */
    union {
        uint32_t u;
        float f;
    } v, tiny;
    uint32_t magnitude = h & 0x7fff;
    tiny.f = (float)(int32_t)magnitude * 0x1p-24f; /* subnormals count units of 2^-24 */
    v.u = (magnitude << 13) + (magnitude >= 0x7c00 ? 0x70000000u : 0x38000000u);
    v.u = (magnitude < 0x400 ? tiny.u : v.u) | (uint32_t)(h & 0x8000) << 16;
    return v.f;
}
static inline uint16_t hg_float_to_half(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f}, tiny;
    uint32_t sign = v.u >> 16 & 0x8000, magnitude = v.u & 0x7fffffff;
    uint32_t rounded = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    tiny.u = magnitude;
    tiny.f += 0.5f; /* leaves a subnormal's digits in the low bits, rounded by the processor */
    rounded = magnitude < 0x38800000 ? tiny.u - 0x3f000000 : rounded;
    rounded = magnitude >= 0x477ff000 ? 0x7c00 : rounded; /* beyond 65504 */
    rounded = magnitude > 0x7f800000 ? 0x7e00 : rounded;
    return (uint16_t)(sign | rounded);
}
static inline float hg_bf16_to_float(uint16_t b) {
    union {
        uint32_t u;
        float f;
    } v = {(uint32_t)b << 16};
    return v.f;
}
static inline uint16_t hg_float_to_bf16(float f) {
    union {
        float f;
        uint32_t u;
    } v = {f};
    if (f != f) return 0x7fc0;
    return (uint16_t)((v.u + 0x7fff + ((v.u >> 16) & 1)) >> 16); /* to nearest, ties to even */
}
/* What a number becomes in half precision; others stay. */
static inline double hg_halved(hg_dtype d, double f) {
    return d == HG_F16    ? hg_half_to_float(hg_float_to_half((float)f))
           : d == HG_BF16 ? hg_bf16_to_float(hg_float_to_bf16((float)f))
                          : f;
}

#endif
