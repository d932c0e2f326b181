/* Random tensors. Which numbers are drawn, and in which order, is torch's: the same seed gives the same tensors. Elements are
   drawn in memory order. */
#include "cpu_impl.h"
#include "k_impl.h"
#include "layout_impl.h"
#include "shape_impl.h"

#include <math.h>

static hg_generator *generator(hg_ctx *cx, const hg_arg *a) {
    return a->kind == HG_A_GENERATOR && a->u.g ? a->u.g : hg_default_generator(cx->lib);
}

/* ---- Single numbers ---------------------------------------------------------------------------------------------------------------- */

/* Uniform in [0, 1): as many random bits as the dtype has digits; the two short ones are drawn as float32. */
static double uniform(hg_generator *g, hg_dtype d) {
    if (d == HG_F64) return (double)(hg_generator_u64(g) & ((1ull << 53) - 1)) * 0x1p-53;
    return (hg_generator_u32(g) & ((1u << 24) - 1)) * 0x1p-24;
}

/* Two at a time: the second one waits in the generator. */
static double normal(hg_generator *g) {
    if (g->has_normal) {
        g->has_normal = false;
        return g->next_normal;
    }
    double u1 = uniform(g, HG_F64), u2 = uniform(g, HG_F64);
    double radius = sqrt(-2 * log1p(-u2)), angle = 2 * M_PI * u1;
    g->next_normal = radius * sin(angle);
    g->has_normal = true;
    return radius * cos(angle);
}

/* ---- Filling tensors -------------------------------------------------------------------------------------------------------------------- */

/* Elements drawn one by one, as doubles or as int64. */
typedef struct drawing {
    hg_generator *g;
    double (*draw)(const struct drawing *d);
    int64_t (*draw_int)(const struct drawing *d);
    hg_dtype dtype;
    hg_convert store;
    double a, b;
    int64_t from;
    uint64_t range; /* of integers: [from, from + range); 0: every one there is */
} drawing;

static void draw_row(void *arg, int64_t n, char *const *p, const int64_t *step) {
    const drawing *d = arg;
    for (int64_t i = 0; i < n; i++) {
        if (d->draw_int) {
            int64_t x = d->draw_int(d);
            d->store(1, p[0] + i * step[0], 8, (const char *)&x, 8);
        } else {
            double x = d->draw(d);
            d->store(1, p[0] + i * step[0], 8, (const char *)&x, 8);
        }
    }
}

static hg_status draw_all(hg_ctx *cx, hg_tensor *t, drawing *d) {
    hg_status st = hg_check_overlap(cx, t, NULL);
    if (st != HG_OK || t->numel == 0) return st;
    d->dtype = (hg_dtype)t->dtype;
    d->store = hg_converter(d->dtype, d->draw_int ? HG_I64 : HG_F64);
    hg_iter it;
    hg_iter_begin(&it, t->n_dim, t->shape);
    hg_iter_add_tensor(&it, t);
    hg_iter_coalesce(&it);
    hg_iter_rows(&it, draw_row, d);
    return HG_OK;
}

/* Scaled in the precision of the dtype, with one rounding. What rounds to the upper bound becomes the lower one. */
static double draw_uniform(const drawing *d) {
    double x = uniform(d->g, d->dtype), y = fma(x, d->b - d->a, d->a);
    if (d->dtype != HG_F64) {
        float low = (float)d->a, f = fmaf((float)x, (float)d->b - low, low);
        y = d->dtype == HG_F16    ? hg_half_to_float(hg_float_to_half(f))
            : d->dtype == HG_BF16 ? hg_bf16_to_float(hg_float_to_bf16(f))
                                  : f;
    }
    return y == d->b ? d->a : y;
}

HG_INLINE void stretch_body(const bool fused, float *x, int64_t n, float low, float high) {
    (void)fused; /* torch fuses everywhere */
    for (int64_t i = 0; i < n; i++) {
        float y = __builtin_fmaf(x[i], high - low, low);
        x[i] = y == high ? low : y;
    }
}
HG_VECTOR(stretch, (float *x, int64_t n, float low, float high), x, n, low, high)

static hg_status fill_uniform(hg_ctx *cx, hg_generator *g, double from, double to, hg_tensor *t) {
    if (!hg_dtype_is_float((hg_dtype)t->dtype)) return hg_no_kernel(cx, "check_uniform_bounds", (hg_dtype)t->dtype);
    if (!(from <= to))
        return hg_fail(cx, HG_STATE, "uniform_ expects to return a [from, to) range, but found from=%g > to=%g", from,
                       to);
    if (t->dtype == HG_F32 && t->contiguous) { /* the commonest, without a call for each */
        float *r = (float *)(void *)t->data;
        hg_generator_uniform(g, t->numel, r);
        if (from != 0 || to != 1) stretch(r, t->numel, (float)from, (float)to);
        return HG_OK;
    }
    drawing d = {.g = g, .draw = draw_uniform, .a = from, .b = to};
    return draw_all(cx, t, &d);
}

static double draw_normal(const drawing *d) { return normal(d->g) * d->b + d->a; }

/* Note [Normals to the bit]
   torch fills float32 tensors with the vector forms of Cephes' logarithm, sine and cosine, which err in the last bits, in a
   build that fuses a product with the sum it goes into. The same polynomials, fused at the same places, give the same
   normals to the bit. x is positive; the angle is in [0, 2 pi]. */
HG_INLINE float times_plus(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

HG_INLINE float cephes_log(float x) {
    union {
        float f;
        int32_t i;
    } m = {x};
    float e = (float)((m.i >> 23) - 126);
    m.i = (m.i & 0x007fffff) | 0x3f000000; /* x = m * 2^e, m in [0.5, 1) */
    bool small = m.f < 0.707106781186547524f;
    float r = small ? m.f - 1 + m.f : m.f - 1, z = r * r, y = 7.0376836292E-2f;
    e = small ? e - 1 : e;
    y = times_plus(y, r, -1.1514610310E-1f);
    y = times_plus(y, r, 1.1676998740E-1f);
    y = times_plus(y, r, -1.2420140846E-1f);
    y = times_plus(y, r, 1.4249322787E-1f);
    y = times_plus(y, r, -1.6668057665E-1f);
    y = times_plus(y, r, 2.0000714765E-1f);
    y = times_plus(y, r, -2.4999993993E-1f);
    y = times_plus(y, r, 3.3333331174E-1f);
    y = times_plus(y * r, z, e * -2.12194440e-4f);
    return times_plus(e, 0.693359375f, r + times_plus(-z, 0.5f, y));
}

HG_INLINE void cephes_sincos(float x, float *sine, float *cosine) {
    int32_t octant = ((int32_t)(x * 1.27323954473516f) + 1) & ~1;
    float y = (float)octant;
    x = times_plus(y, -3.77489497744594108e-8f,
                   times_plus(y, -2.4187564849853515625e-4f, times_plus(y, -0.78515625f, x)));
    float z = x * x;
    float c = times_plus(times_plus(2.443315711809948E-005f, z, -1.388731625493765E-003f), z, 4.166664568298827E-002f);
    float s = times_plus(times_plus(-1.9515295891E-4f, z, 8.3321608736E-3f), z, -1.6666654611E-1f);
    c = times_plus(c * z, z, -(z * 0.5f)) + 1;
    s = times_plus(s * z, x, x);
    float a = octant & 2 ? c : s, b = octant & 2 ? s : c;
    *sine = octant & 4 ? -a : a;
    *cosine = (octant - 2) & 4 ? b : -b;
}

/* Sixteen uniforms become sixteen normals: pairs eight apart. */
HG_INLINE void transform_f32_body(const bool fused, float *x, float mean, float std) {
    (void)fused;
    for (int j = 0; j < 8; j++) {
        float radius = __builtin_sqrtf(-2 * cephes_log(1 - x[j])), sine, cosine;
        cephes_sincos((float)(2 * M_PI) * x[j + 8], &sine, &cosine);
        x[j] = times_plus(radius * cosine, std, mean);
        x[j + 8] = times_plus(radius * sine, std, mean);
    }
}
HG_VECTOR_FEW(transform_f32, (float *x, float mean, float std), x, mean, std)

static void transform_f64(double *x, double mean, double std) {
    for (int j = 0; j < 8; j++) {
        double radius = sqrt(-2 * log(1 - x[j])), angle = 2 * M_PI * x[j + 8];
        x[j] = fma(radius * cos(angle), std, mean);
        x[j + 8] = fma(radius * sin(angle), std, mean);
    }
}

/* All in one go (but for the last n % skip), sixteen at a time; the last sixteen once more where the length is no multiple. */
#define FILL(name, R, transform, kind)                                                                                 \
    static void name(hg_generator *g, R *x, int64_t n, int64_t skip, double mean, double std) {                        \
        for (int64_t i = 0; i < n - n % skip; i++) x[i] = (R)uniform(g, kind);                                         \
        for (int64_t i = 0; i + 15 < n; i += 16) transform(x + i, (R)mean, (R)std);                                    \
        if (n % 16 == 0) return;                                                                                       \
        for (int64_t i = n - 16; i < n; i++) x[i] = (R)uniform(g, kind);                                               \
        transform(x + n - 16, (R)mean, (R)std);                                                                        \
    }
FILL(fill_f32, float, transform_f32, HG_F32)
FILL(fill_f64, double, transform_f64, HG_F64)

static hg_status fill_normal(hg_ctx *cx, hg_generator *g, double mean, double std, hg_tensor *t) {
    if (!(std >= 0)) return hg_fail(cx, HG_STATE, "normal expects std >= 0.0, but found std %g", std);
    if (!hg_dtype_is_float((hg_dtype)t->dtype)) return hg_no_kernel(cx, "normal_kernel_cpu", (hg_dtype)t->dtype);
    if (t->dtype == HG_F32 && t->numel < 16 && t->contiguous) { /* without a call for each */
        float *r = (float *)(void *)t->data;
        for (int64_t i = 0; i < t->numel; i++) r[i] = (float)(normal(g) * std + mean);
        return HG_OK;
    }
    if (t->numel < 16 || !t->contiguous) {
        drawing d = {.g = g, .draw = draw_normal, .a = mean, .b = std};
        return draw_all(cx, t, &d);
    }
    if (t->dtype == HG_F64) {
        fill_f64(g, (double *)(void *)t->data, t->numel, 1, mean, std);
        return HG_OK;
    }
    if (t->dtype == HG_F32) {
        fill_f32(g, (float *)(void *)t->data, t->numel, 1, mean, std);
        return HG_OK;
    }
    hg_tensor *wide;
    hg_status st = hg_tensor_empty(cx, HG_F32, t->n_dim, t->shape, &wide);
    if (st != HG_OK) return st;
    fill_f32(g, (float *)(void *)wide->data, wide->numel, 16, mean, std);
    st = hg_raw_copy(cx, t, wide);
    hg_release(cx, wide);
    return st;
}

static int64_t draw_int(const drawing *d) {
    uint64_t u = d->range >> 32 ? hg_generator_u64(d->g) : hg_generator_u32(d->g);
    return (int64_t)((uint64_t)d->from + u % d->range);
}
static int64_t draw_any_int(const drawing *d) {
    bool wide = d->dtype == HG_I64 || d->dtype == HG_F64;
    uint64_t u = wide ? hg_generator_u64(d->g) : hg_generator_u32(d->g);
    return (int64_t)(d->range ? u % d->range : u);
}

/* One past the largest number every smaller one of which the dtype has. */
static uint64_t whole_range(hg_dtype d) {
    switch (d) {
    case HG_BOOL: return 2;
    case HG_U8: return 1 << 8;
    case HG_I8: return 1 << 7;
    case HG_I16: return 1 << 15;
    case HG_I32: return 1ull << 31;
    case HG_F16: return (1 << 11) + 1;
    case HG_BF16: return (1 << 8) + 1;
    case HG_F32: return (1 << 24) + 1;
    case HG_F64: return (1ull << 53) + 1;
    default: return 1ull << 63;
    }
}

/* Is the bound a number of the dtype? Floating ones have larger numbers, but not all of them. */
static hg_status check_bound(hg_ctx *cx, hg_dtype d, const char *what, int64_t bound) {
    int64_t most = (int64_t)(whole_range(d) - 1);
    int64_t least = d == HG_U8 || d == HG_BOOL ? 0 : d == HG_I64 ? INT64_MIN : hg_dtype_is_float(d) ? -most : -most - 1;
    if (bound >= least && bound <= most) return HG_OK;
    if (!hg_dtype_is_float(d) || (d == HG_F16 && (bound > 65504 || bound < -65504)))
        return hg_fail(cx, HG_STATE, "%s is out of bounds for %s", what, hg_c_name(d));
    int digits = 63 - __builtin_clzll((unsigned long long)most);
    return hg_warn(cx, "UserWarning",
                   "%s is out of bounds [-(2^%d), 2^%d]. Due to precision limitations %s can support discrete "
                   "uniform distribution only within this range.",
                   what, digits, digits, hg_c_name(d));
}

static hg_status fill_ints(hg_ctx *cx, hg_generator *g, int64_t from, int64_t to, hg_tensor *t) {
    if (from >= to)
        return hg_fail(cx, HG_STATE, "random_ expects 'from' to be less than 'to', but got from=%lld >= to=%lld",
                       (long long)from, (long long)to);
    hg_status st = check_bound(cx, (hg_dtype)t->dtype, "from", from);
    if (st != HG_OK || (st = check_bound(cx, (hg_dtype)t->dtype, "to - 1", to - 1)) != HG_OK) return st;
    drawing d = {.g = g, .draw_int = draw_int, .from = from, .range = (uint64_t)to - (uint64_t)from};
    return draw_all(cx, t, &d);
}

/* ---- New tensors ----------------------------------------------------------------------------------------------------------------------- */

static hg_dtype type_or(const hg_arg *dtype, hg_dtype other) { return hg_given(dtype) ? (hg_dtype)dtype->u.i : other; }

static hg_status sized(hg_ctx *cx, const hg_arg *size, hg_dtype d, hg_tensor **out) {
    bool list = size->kind == HG_A_INTS;
    return hg_tensor_empty(cx, d, list ? (int)size->n : 1, list ? size->u.ints : &size->u.i, out);
}

/* Fill what has just been made, or undo it. */
static hg_status finished(hg_ctx *cx, hg_status st, hg_tensor **out) {
    if (st != HG_OK && *out) {
        hg_release(cx, *out);
        *out = NULL;
    }
    return st;
}

hg_status hg_op_rand(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = sized(cx, &a[0], type_or(&a[2], hg_default_dtype(cx)), out);
    return st == HG_OK ? finished(cx, fill_uniform(cx, generator(cx, &a[1]), 0, 1, *out), out) : st;
}
hg_status hg_op_randn(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = sized(cx, &a[0], type_or(&a[2], hg_default_dtype(cx)), out);
    return st == HG_OK ? finished(cx, fill_normal(cx, generator(cx, &a[1]), 0, 1, *out), out) : st;
}
hg_status hg_op_randint(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = sized(cx, &a[2], type_or(&a[4], HG_I64), out);
    return st == HG_OK ? finished(cx, fill_ints(cx, generator(cx, &a[3]), a[0].u.i, a[1].u.i, *out), out) : st;
}
hg_status hg_op_randint_high(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_op_randint(cx, (hg_arg[]){hg_i(0), a[0], a[1], a[2], a[3]}, out);
}

static hg_status like(hg_ctx *cx, const hg_tensor *t, const hg_arg *dtype, hg_tensor **out) {
    return hg_out_format(cx, out, type_or(dtype, (hg_dtype)t->dtype), t, hg_format_or(dtype + 1, HG_FORMAT_PRESERVE));
}
hg_status hg_op_rand_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = like(cx, a[0].u.t, &a[2], out);
    return st == HG_OK ? finished(cx, fill_uniform(cx, generator(cx, &a[1]), 0, 1, *out), out) : st;
}
hg_status hg_op_randn_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = like(cx, a[0].u.t, &a[2], out);
    return st == HG_OK ? finished(cx, fill_normal(cx, generator(cx, &a[1]), 0, 1, *out), out) : st;
}
hg_status hg_op_randint_like(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = like(cx, a[0].u.t, &a[4], out);
    return st == HG_OK ? finished(cx, fill_ints(cx, generator(cx, &a[3]), a[1].u.i, a[2].u.i, *out), out) : st;
}
hg_status hg_op_randint_like_high(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    return hg_op_randint_like(cx, (hg_arg[]){a[0], hg_i(0), a[1], a[2], a[3], a[4]}, out);
}

hg_status hg_op_randperm(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int64_t n = a[0].u.i;
    hg_dtype d = type_or(&a[2], HG_I64);
    hg_tensor *t;
    if (d == HG_BOOL) return hg_no_kernel(cx, "randperm", d);
    hg_status st = hg_tensor_empty(cx, HG_I64, 1, &n, &t);
    if (st != HG_OK) return st;
    hg_generator *g = generator(cx, &a[1]);
    int64_t *r = (int64_t *)(void *)t->data;
    for (int64_t i = 0; i < n; i++) r[i] = i;
    for (int64_t i = 0; i < n - 1; i++) {
        int64_t z = i + hg_generator_u32(g) % (n - i), kept = r[i];
        r[i] = r[z], r[z] = kept;
    }
    st = hg_raw_cast(cx, t, d, out);
    hg_release(cx, t);
    return st;
}

hg_status hg_op_normal_size(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_status st = sized(cx, &a[2], type_or(&a[4], hg_default_dtype(cx)), out);
    return st == HG_OK
               ? finished(cx, fill_normal(cx, generator(cx, &a[3]), hg_number_f(&a[0]), hg_number_f(&a[1]), *out), out)
               : st;
}

static hg_status check_std(hg_ctx *cx, const hg_arg *std) {
    if (hg_is_number(std))
        return hg_number_f(std) >= 0
                   ? HG_OK
                   : hg_fail(cx, HG_STATE, "normal expects std >= 0.0, but found std %g", hg_number_f(std));
    if (!std->u.t->numel) return HG_OK;
    hg_tensor *least = NULL;
    hg_arg number;
    hg_status st = hg_op_min(cx, std, &least);
    if (st == HG_OK) st = hg_item(cx, least, &number);
    hg_release(cx, least);
    if (st == HG_OK && hg_number_f(&number) < 0)
        st = hg_fail(cx, HG_STATE, "normal expects all elements of std >= 0.0");
    return st;
}

/* Standard normals, scaled and moved. */
hg_status hg_op_normal(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    int n_dim = 0;
    int64_t shape[HG_MAX_DIM];
    hg_dtype d = HG_NO_DTYPE;
    hg_tensor *z = NULL, *scaled = NULL;
    hg_status st;
    for (int i = 0; i < 2; i++) {
        if (hg_is_number(&a[i])) continue;
        const hg_tensor *t = a[i].u.t;
        if (d == HG_NO_DTYPE) d = (hg_dtype)t->dtype;
        if ((st = hg_broadcast(cx, n_dim, shape, t->n_dim, t->shape, &n_dim, shape)) != HG_OK) return st;
    }
    if ((st = check_std(cx, &a[1])) != HG_OK) return st;
    if ((st = hg_tensor_empty(cx, d, n_dim, shape, &z)) != HG_OK) return st;
    if ((st = fill_normal(cx, generator(cx, &a[2]), 0, 1, z)) == HG_OK &&
        (st = hg_run(cx, &hg_k_mul, d, (hg_arg[]){hg_t(z), a[1]}, 2, NULL, &scaled)) == HG_OK)
        st = hg_run(cx, &hg_k_add, d, (hg_arg[]){hg_t(scaled), a[0]}, 2, NULL, out);
    hg_release(cx, z), hg_release(cx, scaled);
    return st;
}
hg_status hg_d_normal(hg_ctx *cx, hg_back *b) {
    for (int i = 0; i < 2; i++)
        if (NEED(i)) GIVE(i, X(ZEROS_LIKE, T(G)));
    return HG_OK;
}

/* ---- In place ------------------------------------------------------------------------------------------------------------------------------- */

hg_status hg_op_uniform_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return fill_uniform(cx, generator(cx, &a[3]), hg_number_f(&a[1]), hg_number_f(&a[2]), a[0].u.t);
}
hg_status hg_op_normal_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return fill_normal(cx, generator(cx, &a[3]), hg_number_f(&a[1]), hg_number_f(&a[2]), a[0].u.t);
}
hg_status hg_op_random_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    drawing d = {.g = generator(cx, &a[1]), .draw_int = draw_any_int, .range = whole_range((hg_dtype)a[0].u.t->dtype)};
    return draw_all(cx, a[0].u.t, &d);
}
hg_status hg_op_random_to_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return fill_ints(cx, generator(cx, &a[2]), 0, a[1].u.i, a[0].u.t);
}
hg_status hg_op_random_from_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    uint64_t most = whole_range((hg_dtype)a[0].u.t->dtype) - 1;
    int64_t to = hg_given(&a[2]) ? a[2].u.i : most >= INT64_MAX ? INT64_MAX : (int64_t)most + 1;
    return fill_ints(cx, generator(cx, &a[3]), a[1].u.i, to, a[0].u.t);
}

static double draw_exponential(const drawing *d) { return -log1p(-uniform(d->g, HG_F64)) / d->a; }

hg_status hg_op_exponential_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    double rate = hg_number_f(&a[1]);
    if (!(rate > 0)) return hg_fail(cx, HG_STATE, "exponential_ expects lambda > 0.0, but found lambda=%g", rate);
    if (!hg_dtype_is_float((hg_dtype)a[0].u.t->dtype))
        return hg_fail(cx, HG_STATE,
                       "Exponential distribution is a continuous probability distribution. dtype must be a "
                       "floating point but you specified %s",
                       hg_dtypes[a[0].u.t->dtype].name);
    drawing d = {.g = generator(cx, &a[2]), .draw = draw_exponential, .a = rate};
    return draw_all(cx, a[0].u.t, &d);
}

/* ---- Coins ------------------------------------------------------------------------------------------------------------------------------------ */

/* A probability that is one number is met by a uniform double, whatever the dtype of the coins. */
static double draw_coin(const drawing *d) { return uniform(d->g, HG_F64) < d->a ? d->b : 0; }

static hg_status toss(hg_ctx *cx, hg_generator *g, double p, double heads, hg_tensor *t) {
    if (!(p >= 0 && p <= 1)) return hg_fail(cx, HG_STATE, "bernoulli_ expects p to be in [0, 1], but got p=%g", p);
    drawing d = {.g = g, .draw = draw_coin, .a = p, .b = heads};
    if (t->dtype != HG_F32 || !t->contiguous) return draw_all(cx, t, &d);
    float *coins = (float *)(void *)t->data; /* what dropout asks for, without a call for each */
    for (int64_t i = 0; i < t->numel; i++) coins[i] = (float)draw_coin(&d);
    return HG_OK;
}

typedef struct tossing {
    hg_generator *g;
    bool out_of_range;
} tossing;

/* p[0] results and p[1] probabilities, float32 or float64 each */
#define TOSS(name, R, kind)                                                                                            \
    static void name(void *arg, int64_t n, char *const *p, const int64_t *step) {                                      \
        tossing *t = arg;                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            R odds = *(const R *)(const void *)(p[1] + i * step[1]);                                                   \
            if (!(odds >= 0 && odds <= 1)) t->out_of_range = true;                                                     \
            *(R *)(void *)(p[0] + i * step[0]) = (R)uniform(t->g, kind) < odds;                                        \
        }                                                                                                              \
    }
TOSS(toss_f32, float, HG_F32)
TOSS(toss_f64, double, HG_F64)

/* A coin for each probability of p, which broadcasts to `to`; drawn as dtype c. */
static hg_status toss_each(hg_ctx *cx, hg_generator *g, hg_tensor *p, hg_dtype c, hg_tensor *to) {
    hg_tensor *odds = NULL, *coins = NULL;
    hg_status st = hg_raw_cast(cx, p, c, &odds);
    if (st != HG_OK || (st = hg_tensor_empty(cx, c, to->n_dim, to->shape, &coins)) != HG_OK) goto done;
    int n_dim;
    int64_t shape[HG_MAX_DIM];
    if ((st = hg_broadcast(cx, to->n_dim, to->shape, p->n_dim, p->shape, &n_dim, shape)) != HG_OK) goto done;
    tossing t = {g, false};
    hg_iter it;
    hg_iter_begin(&it, to->n_dim, to->shape);
    hg_iter_add_tensor(&it, coins);
    hg_iter_add_tensor(&it, odds);
    hg_iter_coalesce(&it);
    if (coins->numel) hg_iter_rows(&it, c == HG_F64 ? toss_f64 : toss_f32, &t);
    st =
        t.out_of_range
            ? hg_fail(
                  cx, HG_STATE,
                  "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be improved?  "
                  "If so, please report an enhancement request to PyTorch.)")
            : hg_raw_copy(cx, to, coins);
done:
    hg_release(cx, odds), hg_release(cx, coins);
    return st;
}

hg_status hg_op_bernoulli(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *p = a[0].u.t;
    if (!hg_dtype_is_float((hg_dtype)p->dtype)) return hg_no_kernel(cx, "bernoulli_tensor_cpu_p_", (hg_dtype)p->dtype);
    hg_status st = hg_tensor_empty(cx, (hg_dtype)p->dtype, p->n_dim, p->shape, out);
    hg_dtype c = p->dtype == HG_F64 ? HG_F64 : HG_F32;
    return st == HG_OK ? finished(cx, toss_each(cx, generator(cx, &a[1]), p, c, *out), out) : st;
}
hg_status hg_op_bernoulli_p(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    const hg_tensor *t = a[0].u.t;
    hg_status st = hg_tensor_empty(cx, (hg_dtype)t->dtype, t->n_dim, t->shape, out);
    return st == HG_OK ? finished(cx, toss(cx, generator(cx, &a[2]), hg_number_f(&a[1]), 1, *out), out) : st;
}
hg_status hg_op_bernoulli_float_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    return toss(cx, generator(cx, &a[2]), hg_number_f(&a[1]), 1, a[0].u.t);
}
hg_status hg_op_bernoulli_tensor_(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    (void)out;
    hg_tensor *p = a[1].u.t;
    hg_dtype c = p->dtype == HG_F64 ? HG_F64 : HG_F32;
    hg_status st = hg_check_overlap(cx, a[0].u.t, NULL);
    return st == HG_OK ? toss_each(cx, generator(cx, &a[2]), p, c, a[0].u.t) : st;
}

/* What is kept is divided by its probability in the precision of the dtype, where the two short ones are float32. */
hg_status hg_op_dropout_mask(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_dtype d = (hg_dtype)a[0].u.t->dtype;
    double keep = 1 - hg_number_f(&a[1]);
    hg_status st = hg_check_cast(cx, HG_F32, d);
    if (st != HG_OK || (st = hg_out_kept(cx, out, d, a[0].u.t)) != HG_OK) return st;
    return finished(cx, toss(cx, hg_default_generator(cx->lib), keep, d == HG_F64 ? 1 / keep : 1 / (float)keep, *out),
                    out);
}

/* ---- Draws from a distribution ------------------------------------------------------------------------------------------------------------------ */

/* The first entry of the running sums above u; entries without weight are never it. */
static int64_t locate(const double *sums, int64_t n, double u) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (sums[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* What a row of weights adds up to, in sums[n]; refuses what is no distribution. */
static hg_status sum_up(hg_ctx *cx, const double *weights, double *sums, int64_t n) {
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!(weights[i] >= 0) || isinf(weights[i]))
            return hg_fail(cx, HG_STATE, "probability tensor contains either `inf`, `nan` or element < 0");
        sums[i] = total += weights[i];
    }
    return total > 0 ? HG_OK : hg_fail(cx, HG_STATE, "invalid multinomial distribution (sum of probabilities <= 0)");
}

/* Without replacement: each entry arrives after an exponential time at the rate of its weight, and the first m are drawn. */
static hg_status race(hg_ctx *cx, hg_tensor *p, int64_t m, hg_arg generator, hg_tensor **out) {
    hg_scope s;
    hg_tensor *first[2] = {NULL, NULL};
    hg_scope_begin_quiet(cx, &s);
    hg_tensor *times = X(EMPTY_LIKE, T(p));
    X(EXPONENTIAL_, T(times), hg_f(1), generator);
    hg_tensor *odds = X(DIV, T(p), T(times));
    if (odds) hg_scope_fail(cx, hg_call_op(cx, HG_OP_TOPK, (hg_arg[]){hg_t(odds), hg_i(m)}, 2, first));
    hg_status st = hg_scope_end(cx, &s);
    hg_release(cx, first[0]);
    if (st == HG_OK) *out = first[1];
    return st;
}

hg_status hg_op_multinomial(hg_ctx *cx, const hg_arg *a, hg_tensor **out) {
    hg_tensor *p = a[0].u.t, *wide = NULL, *weights = NULL, *made = NULL;
    int64_t m = a[1].u.i;
    bool replacement = a[2].u.i != 0;
    if (p->n_dim < 1 || p->n_dim > 2) return hg_fail(cx, HG_STATE, "prob_dist must be 1 or 2 dim");
    if (!hg_dtype_is_float((hg_dtype)p->dtype))
        return hg_fail(cx, HG_STATE, "multinomial only supports floating-point dtypes for input, got: %s",
                       hg_dtypes[p->dtype].name);
    int64_t n = p->shape[p->n_dim - 1], rows = p->n_dim == 2 ? p->shape[0] : 1;
    if (m <= 0) return hg_fail(cx, HG_STATE, "cannot sample n_sample <= 0 samples");
    if (!replacement && m > n)
        return hg_fail(cx, HG_STATE, "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
    if (n > 1 << 24) return hg_fail(cx, HG_STATE, "number of categories cannot exceed 2^24");
    hg_status st = hg_raw_cast(cx, p, HG_F64, &wide);
    double *sums = NULL;
    bool one_by_one = replacement && m > 1;
    if (st != HG_OK || (st = hg_raw_contiguous(cx, wide, &weights)) != HG_OK ||
        (st = hg_tensor_empty(cx, HG_I64, p->n_dim, p->n_dim == 2 ? (int64_t[]){rows, m} : &m, &made)) != HG_OK)
        goto done;
    if (n && !(sums = hg_mem(cx, (size_t)n * sizeof *sums))) {
        st = HG_MEMORY;
        goto done;
    }
    hg_generator *g = generator(cx, &a[3]);
    for (int64_t i = 0; i < rows && n && st == HG_OK; i++) {
        st = sum_up(cx, (const double *)(const void *)weights->data + i * n, sums, n);
        int64_t *to = (int64_t *)(void *)made->data + i * m;
        for (int64_t k = 0; k < m && one_by_one && st == HG_OK; k++) {
            int64_t at = locate(sums, n, uniform(g, HG_F64) * sums[n - 1]);
            while (at > 0 && sums[at] == sums[at - 1]) at--; /* rounding took it past the end */
            to[k] = at;
        }
    }
    if (st != HG_OK) goto done;
    if (one_by_one)
        *out = made, made = NULL;
    else
        st = race(cx, p, m, a[3], out);
done:
    hg_mem_free(cx->lib, sums);
    hg_release(cx, wide), hg_release(cx, weights), hg_release(cx, made);
    return st;
}
