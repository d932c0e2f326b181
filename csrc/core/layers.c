/* The layers: what modules of the known kinds compute. A layer finds its weight and bias in the module's tables, and its
   settings through the host at every call, so that `conv.stride = 2` counts at once. */
#include "module_impl.h"
#include "op_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- What a layer reads --------------------------------------------------------------------------------------------------- */

/* One call of a layer: what it has read, to be given back at the end. A failure is kept and makes the rest do nothing. */
typedef struct layer {
    hg_ctx *cx;
    hg_module *m;
    const char *name;
    hg_tensor *x;        /* borrowed */
    hg_tensor *owned[6]; /* weights */
    int64_t space[8][8]; /* of settings that are lists */
    int n_owned, n_lists;
    hg_status status;
} layer;

static const char *type_word(hg_ctx *cx, hg_value v, char *words, size_t size) {
    snprintf(words, size, "%s", v.kind == HG_V_NONE ? "NoneType" : v.kind == HG_V_TUPLE ? "tuple" : "object");
    if (!HOST(cx)->show_type) return words;
    HOST(cx)->show_type(HOST(cx)->ud, v, words, size);
    char *from = strchr(words, '\''), *to = from ? strchr(from + 1, '\'') : NULL; /* "<class 'dict'>" */
    if (!to) return words;
    *to = 0;
    return from + 1;
}

static hg_status begin(hg_ctx *cx, hg_module *m, const char *name, const hg_value *in, size_t n, layer *l) {
    char words[200];
    l->cx = cx, l->m = m, l->name = name, l->status = HG_OK, l->n_owned = l->n_lists = 0;
    if (n != 1) return hg_fail(cx, HG_TYPE, "%s() takes 1 input but %zu were given", name, n);
    if (!(l->x = hg_value_tensor(in[0])))
        return hg_fail(cx, HG_TYPE, "%s(): argument 'input' (position 1) must be Tensor, not %s", name,
                       type_word(cx, in[0], words, sizeof words));
    return HG_OK;
}

static hg_tensor *own(layer *l, hg_tensor *t) { return t ? l->owned[l->n_owned++] = t : NULL; }

static hg_arg not_tensor(layer *l, int name, hg_value v) {
    const char *argument = HOST(l->cx)->name_chars(HOST(l->cx)->ud, l->cx->lib->names[name]);
    char words[200];
    l->status = hg_fail(l->cx, HG_TYPE, "%s(): argument '%s' (position %d) must be Tensor, not %s", l->name, argument,
                        name == HG_NAME_bias ? 3 : 2, type_word(l->cx, v, words, sizeof words));
    return HG_NONE;
}

/* A parameter or buffer, from its table or, where it is something computed (a parametrised weight), from the host. */
static hg_arg weight(layer *l, hg_table_kind which, int name) {
    hg_table *table = which == HG_PARAMS ? l->m->params : l->m->buffers;
    void *key = l->cx->lib->names[name];
    hg_slot *slot = table ? hg_table_find(table, key) : NULL;
    hg_arg a = HG_NONE;
    if (l->status != HG_OK) return a;
    if (slot) {
        hg_tensor *t = hg_value_tensor(slot->value);
        if (!t && slot->value.kind != HG_V_NONE) return not_tensor(l, name, slot->value);
        hg_retain(l->cx, t);
        return hg_t(own(l, t));
    }
    l->status = HOST(l->cx)->attr(HOST(l->cx)->ud, l->m, key, HG_A_TENSOR, l->space[0], &a);
    return l->status == HG_OK && a.kind == HG_A_TENSOR ? hg_t(own(l, a.u.t)) : HG_NONE;
}

/* The weight of a layer that cannot do without. */
static hg_arg needed_weight(layer *l) {
    hg_arg w = weight(l, HG_PARAMS, HG_NAME_weight);
    return l->status != HG_OK || w.kind == HG_A_TENSOR ? w : not_tensor(l, HG_NAME_weight, (hg_value){0});
}

/* A setting; `otherwise` where the host has nothing. */
static hg_arg setting(layer *l, int name, hg_arg_kind kind, hg_arg otherwise) {
    hg_arg a = HG_NONE;
    if (l->status != HG_OK) return a;
    int64_t *space = l->space[kind == HG_A_INTS ? l->n_lists++ : 7];
    l->status = HOST(l->cx)->attr(HOST(l->cx)->ud, l->m, l->cx->lib->names[name], kind, space, &a);
    return a.kind == HG_A_NONE ? otherwise : a;
}

/* The list just read, one number standing for both dimensions: the node shows both. */
static hg_arg pair(layer *l, hg_arg a) {
    if (a.kind != HG_A_INTS || a.n != 1) return a;
    int64_t *at = l->space[l->n_lists - 1];
    at[1] = at[0], a.n = 2;
    return a;
}

#define FLAG(name)              setting(&l, HG_NAME_##name, HG_A_BOOL, hg_b(false))
#define WHOLE(name, otherwise)  setting(&l, HG_NAME_##name, HG_A_INT, otherwise)
#define NUMBER(name, otherwise) setting(&l, HG_NAME_##name, HG_A_FLOAT, otherwise)
#define LIST(name, otherwise)   setting(&l, HG_NAME_##name, HG_A_INTS, otherwise)
#define PAIR(name, otherwise)   pair(&l, LIST(name, otherwise))
#define WORD(name, otherwise)   setting(&l, HG_NAME_##name, HG_A_STR, otherwise)
#define PARAM(name)             weight(&l, HG_PARAMS, HG_NAME_##name)
#define BUFFER(name)            weight(&l, HG_BUFFERS, HG_NAME_##name)

/* Calls the op unless reading has failed, and gives back what was read. */
static hg_status finish(layer *l, int op, const hg_arg *a, int n, hg_value *out) {
    hg_tensor *made[HG_MAX_OUT] = {NULL};
    if (l->status == HG_OK) l->status = hg_call_op(l->cx, op, a, n, made);
    for (int i = 0; i < l->n_owned; i++) hg_release(l->cx, l->owned[i]);
    if (l->status != HG_OK) return l->status;
    if (!made[1]) {
        *out = hg_value_of(made[0]);
        return HG_OK;
    }
    hg_value both[2] = {hg_value_of(made[0]), hg_value_of(made[1])};
    l->status = hg_tuple_new(l->cx, NULL, both, 2, out);
    hg_release(l->cx, made[0]), hg_release(l->cx, made[1]);
    return l->status;
}

#define FINISH(op, ...) finish(&l, HG_OP_##op, (hg_arg[]){__VA_ARGS__}, HG_N_ARGS(__VA_ARGS__), out)
#define LAYER(name)     static hg_status layer_##name(hg_ctx *cx, hg_module *m, const hg_value *in, size_t n, hg_value *out)
#define BEGIN(name)                                                                                                    \
    layer l;                                                                                                           \
    HG_TRY(begin(cx, m, name, in, n, &l));                                                                             \
    const hg_arg x = hg_t(l.x)

/* ---- Linear, convolution, embedding ---------------------------------------------------------------------------------------- */

LAYER(linear) {
    BEGIN("linear");
    hg_arg w = needed_weight(&l), bias = PARAM(bias);
    return FINISH(LINEAR, x, w, bias);
}

/* padding_mode other than "zeros": the input padded first. New in *out, which is the input itself where there is nothing
   to do. */
static hg_status pad_input(layer *l, const char *mode, const hg_arg *kernel, const hg_arg *dilation,
                           const hg_arg *padding, int n, hg_tensor **out) {
    int64_t around[6];
    for (int i = 0; i < n; i++) { /* last dimension first, before and after */
        int at = 2 * (n - 1 - i);
        int64_t before = 0, after = 0;
        if (padding->kind == HG_A_INTS) {
            before = after = padding->u.ints[(int)padding->n > i ? i : 0];
        } else if (strcmp(padding->u.s, "same") == 0) {
            int64_t total = dilation->u.ints[(int)dilation->n > i ? i : 0] * (kernel->u.t->shape[2 + i] - 1);
            before = total / 2, after = total - before;
        }
        around[at] = before, around[at + 1] = after;
    }
    return hg_call_op(l->cx, HG_OP_PAD, (hg_arg[]){hg_t(l->x), hg_ints(around, 2 * n), hg_s(mode)}, 3, out);
}

static hg_status convolution(hg_ctx *cx, hg_module *m, const char *name, int op, int dims, const hg_value *in, size_t n,
                             hg_value *out) {
    static const int64_t zeros[3] = {0};
    BEGIN(name);
    hg_arg w = needed_weight(&l), bias = PARAM(bias), mode = WORD(padding_mode, hg_s("zeros"));
    hg_arg stride = LIST(stride, HG_DEFAULT), padding = LIST(padding, HG_DEFAULT),
           dilation = LIST(dilation, HG_DEFAULT);
    hg_arg groups = WHOLE(groups, hg_i(1)), from = x;
    if (l.status == HG_OK && mode.kind == HG_A_STR && strcmp(mode.u.s, "zeros") != 0 && w.kind == HG_A_TENSOR) {
        hg_tensor *padded = NULL;
        if (padding.kind != HG_A_DEFAULT) l.status = pad_input(&l, mode.u.s, &w, &dilation, &padding, dims, &padded);
        if (padded) from = hg_t(own(&l, padded)), padding = hg_ints(zeros, dims);
    }
    hg_arg a[] = {from, w, bias, stride, padding, dilation, groups};
    return finish(&l, op, a, 7, out);
}

LAYER(conv1d) { return convolution(cx, m, "conv1d", HG_OP_CONV1D, 1, in, n, out); }
LAYER(conv2d) { return convolution(cx, m, "conv2d", HG_OP_CONV2D, 2, in, n, out); }
LAYER(conv3d) { return convolution(cx, m, "conv3d", HG_OP_CONV3D, 3, in, n, out); }

LAYER(embedding) {
    BEGIN("embedding");
    hg_arg w = needed_weight(&l), padding = WHOLE(padding_idx, HG_NONE), longest = NUMBER(max_norm, HG_NONE);
    hg_arg norm = NUMBER(norm_type, hg_f(2)), scale = FLAG(scale_grad_by_freq);
    return FINISH(EMBEDDING_NN, x, w, padding, longest, norm, scale);
}

/* ---- Normalisation ---------------------------------------------------------------------------------------------------------- */

static hg_status check_dims(const layer *l, const hg_arg *dims) {
    if (dims->kind != HG_A_INTS || dims->n != 2) return HG_OK;
    const int64_t *d = dims->u.ints;
    if (l->x->n_dim >= d[0] && l->x->n_dim <= d[1]) return HG_OK;
    if (d[0] == d[1]) return hg_fail(l->cx, HG_VALUE, "expected %dD input (got %dD input)", (int)d[0], l->x->n_dim);
    return hg_fail(l->cx, HG_VALUE, "expected %dD or %dD input (got %dD input)", (int)d[0], (int)d[1], l->x->n_dim);
}

/* One more batch has been seen: how much it counts. Without a momentum the running statistics are plain averages. */
static hg_arg count_batch(layer *l, hg_arg tracked, hg_arg momentum) {
    if (tracked.kind != HG_A_TENSOR || tracked.u.t->dtype != HG_I64 || tracked.u.t->numel != 1) return momentum;
    int64_t *count = (int64_t *)(void *)tracked.u.t->data;
    if (l->cx->derives) { /* which may refuse it */
        l->status = hg_call_inplace(l->cx, HG_OP_ADD, (hg_arg[]){tracked, hg_i(1)}, 2);
    } else {
        ++*count;
        l->status = hg_wrote(l->cx, tracked.u.t);
    }
    return momentum.kind == HG_A_NONE ? hg_f(1 / (double)*count) : momentum;
}

LAYER(batch_norm) {
    BEGIN("batch_norm");
    hg_arg dims = LIST(_input_dims, HG_NONE), momentum = NUMBER(momentum, HG_NONE), eps = NUMBER(eps, hg_f(1e-5));
    hg_arg track = setting(&l, HG_NAME_track_running_stats, HG_A_BOOL, hg_b(true));
    hg_arg w = PARAM(weight), bias = PARAM(bias), mean = BUFFER(running_mean), var = BUFFER(running_var);
    hg_arg tracked = BUFFER(num_batches_tracked);
    if (l.status == HG_OK) l.status = check_dims(&l, &dims);
    bool by_batch = m->training || (mean.kind == HG_A_NONE && var.kind == HG_A_NONE);
    if (l.status == HG_OK && m->training && track.u.i) momentum = count_batch(&l, tracked, momentum);
    if (momentum.kind == HG_A_NONE) momentum = hg_f(0);
    if (m->training && !track.u.i) mean = var = HG_NONE;
    return FINISH(BATCH_NORM, x, mean, var, w, bias, hg_b(by_batch), momentum, eps);
}

LAYER(layer_norm) {
    BEGIN("layer_norm");
    hg_arg shape = LIST(normalized_shape, HG_NONE), w = PARAM(weight), bias = PARAM(bias),
           eps = NUMBER(eps, hg_f(1e-5));
    return FINISH(LAYER_NORM, x, shape, w, bias, eps);
}

/* ---- Pooling ----------------------------------------------------------------------------------------------------------------- */

static hg_status max_pool(hg_ctx *cx, hg_module *m, const char *name, bool plane, const hg_value *in, size_t n,
                          hg_value *out) {
#define SIDES(name, otherwise) (plane ? PAIR(name, otherwise) : LIST(name, otherwise))
    BEGIN(name);
    hg_arg kernel = SIDES(kernel_size, HG_NONE), stride = SIDES(stride, HG_NONE), padding = SIDES(padding, HG_DEFAULT);
    hg_arg dilation = SIDES(dilation, HG_DEFAULT), ceil_mode = FLAG(ceil_mode), indices = FLAG(return_indices);
    hg_arg a[] = {x, kernel, stride, padding, dilation, ceil_mode};
    const int of_row = indices.u.i ? HG_OP_MAX_POOL1D_INDICES : HG_OP_MAX_POOL1D,
              of_plane = indices.u.i ? HG_OP_MAX_POOL2D_INDICES : HG_OP_MAX_POOL2D;
    return finish(&l, plane ? of_plane : of_row, a, 6, out);
#undef SIDES
}

LAYER(max_pool1d) { return max_pool(cx, m, "max_pool1d", false, in, n, out); }
LAYER(max_pool2d) { return max_pool(cx, m, "max_pool2d", true, in, n, out); }

LAYER(avg_pool1d) {
    BEGIN("avg_pool1d");
    hg_arg kernel = LIST(kernel_size, HG_NONE), stride = LIST(stride, HG_NONE), padding = LIST(padding, HG_DEFAULT);
    hg_arg ceil_mode = FLAG(ceil_mode), count = setting(&l, HG_NAME_count_include_pad, HG_A_BOOL, hg_b(true));
    return FINISH(AVG_POOL1D, x, kernel, stride, padding, ceil_mode, count);
}

LAYER(avg_pool2d) {
    BEGIN("avg_pool2d");
    hg_arg kernel = PAIR(kernel_size, HG_NONE), stride = PAIR(stride, HG_NONE), padding = PAIR(padding, HG_DEFAULT);
    hg_arg ceil_mode = FLAG(ceil_mode), count = setting(&l, HG_NAME_count_include_pad, HG_A_BOOL, hg_b(true));
    hg_arg divisor = WHOLE(divisor_override, HG_NONE);
    return FINISH(AVG_POOL2D, x, kernel, stride, padding, ceil_mode, count, divisor);
}

LAYER(adaptive_avg_pool1d) {
    BEGIN("adaptive_avg_pool1d");
    hg_arg size = LIST(output_size, HG_NONE);
    return FINISH(ADAPTIVE_AVG_POOL1D, x, size);
}

LAYER(adaptive_avg_pool2d) {
    BEGIN("adaptive_avg_pool2d");
    hg_arg size = LIST(output_size, HG_NONE);
    for (uint32_t i = 0; size.kind == HG_A_INTS && size.n == 2 && i < 2; i++) /* nothing: the input's own */
        if (size.u.ints[i] == INT64_MIN && l.x->n_dim >= 2) l.space[0][i] = l.x->shape[l.x->n_dim - 2 + (int)i];
    return FINISH(ADAPTIVE_AVG_POOL2D, x, size);
}

/* ---- Activations and the like ------------------------------------------------------------------------------------------------- */

LAYER(dropout) {
    BEGIN("dropout");
    hg_arg p = NUMBER(p, hg_f(0.5)), inplace = FLAG(inplace);
    return FINISH(DROPOUT, x, p, hg_b(m->training), inplace);
}

LAYER(flatten) {
    BEGIN("flatten");
    hg_arg start = WHOLE(start_dim, hg_i(1)), end = WHOLE(end_dim, hg_i(-1));
    return FINISH(FLATTEN, x, start, end);
}

LAYER(identity) {
    if (n != 1) return hg_fail(cx, HG_TYPE, "identity() takes 1 input but %zu were given", n);
    (void)m;
    hg_value_retain(cx, *out = in[0]);
    return HG_OK;
}

LAYER(relu) {
    BEGIN("relu");
    hg_arg inplace = FLAG(inplace);
    return inplace.u.i ? FINISH(RELU_INPLACE, x, inplace) : FINISH(RELU, x);
}

LAYER(leaky_relu) {
    BEGIN("leaky_relu");
    hg_arg slope = NUMBER(negative_slope, hg_f(0.01)), inplace = FLAG(inplace);
    return inplace.u.i ? FINISH(LEAKY_RELU_INPLACE, x, slope, inplace) : FINISH(LEAKY_RELU, x, slope);
}

LAYER(gelu) {
    BEGIN("gelu");
    hg_arg approximate = WORD(approximate, hg_s("none"));
    return FINISH(GELU, x, approximate);
}

LAYER(silu) {
    BEGIN("silu");
    hg_arg inplace = FLAG(inplace);
    return inplace.u.i ? FINISH(SILU_INPLACE, x, inplace) : FINISH(SILU, x);
}

LAYER(tanh) {
    BEGIN("tanh");
    return FINISH(TANH, x);
}

LAYER(sigmoid) {
    BEGIN("sigmoid");
    return FINISH(SIGMOID, x);
}

LAYER(softmax) {
    BEGIN("softmax");
    hg_arg dim = WHOLE(dim, HG_NONE);
    return FINISH(SOFTMAX_NN, x, dim);
}

LAYER(log_softmax) {
    BEGIN("log_softmax");
    hg_arg dim = WHOLE(dim, HG_NONE);
    return FINISH(LOG_SOFTMAX_NN, x, dim);
}

/* ---- Sequential ----------------------------------------------------------------------------------------------------------------- */

/* Children are called as the host calls a module, one after the other; each may put others into the table, but no more or fewer. */
LAYER(sequential) {
    const hg_host *host = HOST(cx);
    if (n != 1) return hg_fail(cx, HG_TYPE, "sequential() takes 1 input but %zu were given", n);
    hg_value v = in[0], next;
    const uint32_t n_children = m->modules ? m->modules->n : 0;
    hg_value_retain(cx, v);
    for (uint32_t i = 0; i < n_children; i++) {
        hg_value child = m->modules->at[i].value;
        if (child.kind != HG_V_MODULE) {
            hg_value_release(cx, v);
            return hg_fail(cx, HG_TYPE, "'NoneType' object is not callable: a child of sequential() is no module");
        }
        hg_retain(cx, child.obj);
        hg_status st = host->call ? host->call(host->ud, child.obj, &v, 1, &next)
                                  : hg_module_call(cx, child.obj, &v, 1, (hg_value){0}, &next);
        hg_release(cx, child.obj);
        hg_value_release(cx, v);
        if (st != HG_OK) return st;
        v = next;
        if (!m->modules || m->modules->n != n_children) {
            hg_value_release(cx, v);
            return hg_fail(cx, HG_STATE, "dictionary changed size during iteration: a child was added or removed");
        }
    }
    *out = v;
    return HG_OK;
}

/* ---- By name -------------------------------------------------------------------------------------------------------------------- */

/* clang-format off */
#define LAYERS(X)                                                                                                      \
    X(linear) X(conv1d) X(conv2d) X(conv3d) X(embedding) X(batch_norm) X(layer_norm) X(max_pool1d) X(max_pool2d) X(avg_pool1d)   \
    X(avg_pool2d) X(adaptive_avg_pool1d) X(adaptive_avg_pool2d) X(dropout) X(flatten) X(identity) X(relu)              \
    X(leaky_relu) X(gelu) X(silu) X(tanh) X(sigmoid) X(softmax) X(log_softmax) X(sequential)
/* clang-format on */

hg_layer_fn hg_layer_find(const char *name) {
    static const struct {
        const char *name;
        hg_layer_fn fn;
    } layers[] = {
#define ROW(name) {#name, layer_##name},
        LAYERS(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (strcmp(layers[i].name, name) == 0) return layers[i].fn;
    return NULL;
}

/* ---- Modules for C programs ------------------------------------------------------------------------------------------------------- */

static hg_status module_new(hg_ctx *cx, hg_layer_fn forward, hg_module **out) {
    hg_module *m = HOST(cx)->alloc(HOST(cx)->ud, HG_KIND_MODULE, sizeof *m);
    if (!m) return hg_no_memory(cx);
    m->forward = forward;
    m->training = true;
    *out = m;
    return HG_OK;
}

static hg_status draw(hg_ctx *cx, hg_tensor *t, double bound) {
    return hg_call_inplace(cx, HG_OP_UNIFORM_, (hg_arg[]){hg_t(t), hg_f(-bound), hg_f(bound)}, 3);
}

hg_status hg_draw_affine(hg_ctx *cx, hg_tensor *weight, hg_tensor *bias) {
    bool was = cx->grad_enabled;
    double fan_in = 1, root = sqrt(5.0); /* squared, it is torch's 5 in the last bit too */
    for (int d = 1; d < weight->n_dim; d++) fan_in *= (double)weight->shape[d];
    cx->grad_enabled = false;
    hg_status st = draw(cx, weight, sqrt(3.0) * (sqrt(2.0 / (1 + root * root)) / sqrt(fan_in)));
    if (st == HG_OK && bias) st = draw(cx, bias, fan_in > 0 ? 1 / sqrt(fan_in) : 0);
    cx->grad_enabled = was;
    return st;
}

/* A parameter of the shape, not filled: borrowed. */
static hg_status add_param(hg_ctx *cx, hg_module *m, int name, int n_dim, const int64_t *shape, hg_tensor **out) {
    hg_table *params;
    HG_TRY(hg_module_table(cx, m, HG_PARAMS, &params));
    HG_TRY(hg_tensor_empty(cx, hg_default_dtype(cx), n_dim, shape, out));
    hg_status st = hg_tensor_set_requires_grad(cx, *out, true);
    if (st == HG_OK) st = hg_table_put(cx, params, cx->lib->names[name], hg_value_of(*out));
    hg_release(cx, *out);
    return st;
}

hg_status hg_linear_new(hg_ctx *cx, int64_t in, int64_t out_features, bool bias, hg_module **out) {
    const int64_t shape[] = {out_features, in};
    hg_module *m = NULL;
    if (in < 0 || out_features < 0) return hg_fail(cx, HG_STATE, "Trying to create tensor with negative dimension");
    HG_TRY(module_new(cx, layer_linear, &m));
    hg_tensor *weight, *b = NULL;
    hg_status st = add_param(cx, m, HG_NAME_weight, 2, shape, &weight);
    if (st == HG_OK && bias) st = add_param(cx, m, HG_NAME_bias, 1, shape, &b);
    if (st == HG_OK) st = hg_draw_affine(cx, weight, b);
    if (st == HG_OK && !bias) st = hg_table_put(cx, m->params, cx->lib->names[HG_NAME_bias], (hg_value){0});
    if (st == HG_OK)
        *out = m;
    else
        hg_release(cx, m);
    return st;
}

hg_status hg_activation_new(hg_ctx *cx, const char *name, hg_module **out) {
    hg_layer_fn fn = hg_layer_find(name);
    if (!fn) return hg_fail(cx, HG_VALUE, "there is no layer '%s'", name);
    return module_new(cx, fn, out);
}

hg_status hg_sequential_new(hg_ctx *cx, hg_module *const *children, int n, hg_module **out) {
    hg_module *m = NULL;
    hg_table *modules;
    char digits[16];
    HG_TRY(module_new(cx, layer_sequential, &m));
    hg_status st = hg_module_table(cx, m, HG_MODULES, &modules);
    for (int i = 0; i < n && st == HG_OK; i++) {
        snprintf(digits, sizeof digits, "%d", i);
        void *name = HOST(cx)->name(HOST(cx)->ud, digits);
        if (!name)
            st = hg_no_memory(cx);
        else
            st = hg_table_put(cx, modules, name, (hg_value){HG_V_MODULE, children[i]}),
            HOST(cx)->drop(HOST(cx)->ud, name);
    }
    if (st == HG_OK)
        *out = m;
    else
        hg_release(cx, m);
    return st;
}
