/* The op table, and what is read off its schemas: names, parameters, defaults, what derivatives need. */
#include "k_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What most rows have is one string: each pointer in a table is a relocation. */
static const hg_op table[HG_N_OPS + 1] = {
#define OP(id, schema, grads, flags, forward, backward, node_name)                                                     \
    {schema "\0" grads, flags, forward, backward, node_name},
#include "hookgrad_ops.def"
#undef OP
    {0},
};

/* ---- Reading ---------------------------------------------------------------------------------------------------------- */

/* A cursor over a schema; `bad` stops everything after the first surprise. */
typedef struct reader {
    const char *at;
    bool bad;
} reader;

static void skip_space(reader *r) {
    while (*r->at == ' ') r->at++;
}

static bool take(reader *r, const char *token) {
    skip_space(r);
    size_t n = strlen(token);
    if (strncmp(r->at, token, n) != 0) return false;
    r->at += n;
    return true;
}

static void need(reader *r, const char *token) {
    if (!take(r, token)) r->bad = true;
}

static void word(reader *r, char *to, size_t size) {
    skip_space(r);
    size_t n = 0;
    while (isalnum((unsigned char)*r->at) || *r->at == '_') {
        if (n + 1 < size)
            to[n++] = *r->at;
        else
            r->bad = true;
        r->at++;
    }
    to[n] = 0;
    if (n == 0) r->bad = true;
}

static const struct {
    const char *word;
    uint8_t kind;
} types[] = {
    {"Tensor", HG_A_TENSOR}, {"Scalar", HG_A_FLOAT},        {"int", HG_A_INT},
    {"float", HG_A_FLOAT},   {"bool", HG_A_BOOL},           {"dtype", HG_A_DTYPE},
    {"str", HG_A_STR},       {"Generator", HG_A_GENERATOR}, {"memory_format", HG_A_FORMAT},
};

static void read_type(reader *r, hg_param *p) {
    char name[16];
    word(r, name, sizeof name);
    p->kind = HG_A_NONE;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(name, types[i].word) == 0) p->kind = types[i].kind;
    if (p->kind == HG_A_NONE) r->bad = true;
    p->or_number = strcmp(name, "Scalar") == 0;
    p->n_list = -1;
    if (take(r, "|")) {
        need(r, "Scalar");
        p->or_number = true;
    }
    if (take(r, "[")) {
        p->n_list = (int8_t)strtol(r->at, (char **)&r->at, 10);
        need(r, "]");
        p->kind = p->kind == HG_A_TENSOR ? HG_A_TENSORS : p->kind == HG_A_FLOAT ? HG_A_FLOATS : HG_A_INTS;
    }
    p->optional = take(r, "?");
}

static void read_default(reader *r, hg_param *p) {
    skip_space(r);
    hg_arg *d = &p->fallback;
    if (take(r, "None"))
        *d = HG_NONE;
    else if (take(r, "True"))
        *d = hg_b(true);
    else if (take(r, "False"))
        *d = hg_b(false);
    else if (take(r, "[]"))
        *d = hg_ints(NULL, 0);
    else if (take(r, "contiguous_format"))
        *d = hg_format_arg(HG_FORMAT_CONTIGUOUS);
    else if (*r->at == '"') {
        const char *end = strchr(++r->at, '"');
        /* strings of defaults are few: the ones ops ask for, kept as literals */
        static const char *const known[] = {"mean",  "none",  "sum",   "constant", "fro", "ij",
                                            "zeros", "trunc", "floor", "reduced",  "L"};
        for (size_t i = 0; end && i < sizeof known / sizeof *known; i++)
            if (strlen(known[i]) == (size_t)(end - r->at) && strncmp(known[i], r->at, (size_t)(end - r->at)) == 0)
                *d = hg_s(known[i]);
        if (d->kind != HG_A_STR) r->bad = true;
        if (end) r->at = end + 1;
    } else {
        char *end;
        double f = strtod(r->at, &end);
        if (end == r->at) r->bad = true;
        bool whole = !memchr(r->at, '.', (size_t)(end - r->at)) && !memchr(r->at, 'e', (size_t)(end - r->at)) &&
                     !memchr(r->at, 'i', (size_t)(end - r->at));
        *d = p->kind == HG_A_FLOAT && !(p->or_number && whole) ? hg_f(f) : hg_i((int64_t)f);
        r->at = end;
    }
    if (d->kind == HG_A_INT && p->kind == HG_A_INTS) { /* "int[2] stride=1": one number for all */
        static const int64_t same[3][4] = {{-1, -1, -1, -1}, {0, 0, 0, 0}, {1, 1, 1, 1}};
        if (d->u.i < -1 || d->u.i > 1)
            r->bad = true;
        else
            *d = hg_ints(same[d->u.i + 1], p->n_list > 0 ? p->n_list : 1);
    }
    p->has_default = true;
}

static void read_params(reader *r, hg_op_info *info) {
    bool keyword_only = false;
    need(r, "(");
    while (!r->bad && !take(r, ")")) {
        if (take(r, "*")) {
            keyword_only = true;
        } else {
            if (info->n_params == HG_MAX_PARAMS) {
                r->bad = true;
                return;
            }
            hg_param *p = &info->params[info->n_params++];
            read_type(r, p);
            word(r, p->name, sizeof p->name);
            p->keyword_only = keyword_only;
            if (!keyword_only) info->n_positional = info->n_params;
            if (take(r, "=")) read_default(r, p);
        }
        take(r, ",");
    }
}

static void read_result(reader *r, hg_op_info *info) {
    info->n_out = 1;
    if (!take(r, "->")) return;
    if (take(r, "(")) {
        info->n_out = 0;
        while (!r->bad && !take(r, ")")) {
            if (info->n_out == HG_MAX_OUT) r->bad = true;
            need(r, "Tensor");
            skip_space(r);
            if (!r->bad && isalpha((unsigned char)*r->at))
                word(r, info->out_names[info->n_out], sizeof info->out_names[0]);
            info->n_out++;
            take(r, ",");
        }
    } else {
        need(r, "Tensor");
        if (take(r, "[]")) info->n_out = 0;
    }
}

static int param_named(const hg_op_info *info, const char *name) {
    for (int i = 0; i < info->n_params; i++)
        if (strcmp(info->params[i].name, name) == 0) return i;
    return -1;
}

/* "self(other) other(self)": who is differentiable, and what for; "!result1": an output without gradient. */
static void read_grads(reader *r, hg_op_info *info) {
    char name[24] = "";
    for (skip_space(r); *r->at && !r->bad; skip_space(r)) {
        bool constant = take(r, "!");
        word(r, name, sizeof name);
        if (constant) {
            info->constant_out |= 1u << atoi(name + strlen("result"));
            continue;
        }
        int i = param_named(info, name);
        if (i < 0) {
            r->bad = true;
            return;
        }
        info->differentiable |= 1u << i;
        if (!take(r, "(")) continue;
        while (!r->bad && !take(r, ")")) {
            word(r, name, sizeof name);
            int j = param_named(info, name);
            if (j >= 0)
                info->saves_in[i] |= 1u << j;
            else if (strcmp(name, "result") == 0)
                info->saves_out[i] |= 1;
            else if (strncmp(name, "result", 6) == 0)
                info->saves_out[i] |= 1u << atoi(name + 6);
            else
                r->bad = true;
            take(r, ",");
        }
    }
}

/* Note [What is saved]
   Saved-tensor hooks see what is saved and in which order, and an in-place write to it is an error, so the rules are torch's:
   an argument that one derivative of several needs is saved where that one is wanted, one that several need, and any output,
   always; of most ops that are derivatives themselves, all (SAVES_ALL); arguments by name, then outputs by name. They are
   unpacked before the derivative starts, once and in the same order. */
static void plan_saving(hg_op_info *info) {
    uint32_t once = 0;
    for (int i = 0; i < info->n_params; i++) {
        info->always_in |= once & info->saves_in[i];
        once |= info->saves_in[i];
        if (info->op->flags & HG_ROW_SAVES_ALL) info->always_in = once;
        info->always_out |= info->saves_out[i];
        info->saves |= (info->saves_in[i] | info->saves_out[i]) != 0;
    }
    for (int i = 0; i < info->n_params; i++) {
        int at = i;
        for (; at && strcmp(info->params[info->in_order[at - 1]].name, info->params[i].name) > 0; at--)
            info->in_order[at] = info->in_order[at - 1];
        info->in_order[at] = (uint8_t)i;
    }
    for (int k = 0; k < info->n_out; k++) {
        int at = k;
        for (; at && strcmp(info->out_names[info->out_order[at - 1]], info->out_names[k]) > 0; at--)
            info->out_order[at] = info->out_order[at - 1];
        info->out_order[at] = (uint8_t)k;
    }
}

static void plan_edges(hg_op_info *info) {
    info->flat = true;
    for (int i = 0; i < info->n_params; i++) {
        info->flat &= info->params[i].kind < HG_A_INTS;
        info->first_edge[i] = info->n_edges;
        info->n_edges += info->differentiable >> i & 1;
    }
}

static void plan_defaults(hg_op_info *info) {
    for (int i = 0; i < info->n_params; i++) {
        const hg_param *p = &info->params[i];
        info->defaults[i] = p->has_default || p->optional ? p->fallback : HG_DEFAULT;
    }
}

/* "log_softmax" -> "LogSoftmaxBackward0" */
static void make_node_name(hg_op_info *info) {
    if (info->op->node_name) {
        snprintf(info->node_name, sizeof info->node_name, "%s", info->op->node_name);
        return;
    }
    char *to = info->node_name;
    bool up = true;
    for (const char *c = info->name; *c; c++) {
        if (*c == '_')
            up = true;
        else
            *to++ = up ? (char)toupper((unsigned char)*c) : *c, up = false;
    }
    strcpy(to, "Backward0");
}

/* "MseLossBackward0" -> "MseLossBackwardBackward0"; of a comparison the name with a number: "EqBackward1" -> "EqBackward0" */
static void make_twice_name(hg_op_info *info) {
    if (info->op->backward == hg_d_zeros) {
        snprintf(info->twice_name, sizeof info->twice_name, "%.*s0", (int)strlen(info->node_name) - 1, info->node_name);
        return;
    }
    snprintf(info->twice_name, sizeof info->twice_name, "%.*sBackward0", (int)strlen(info->node_name) - 1,
             info->node_name);
}

const hg_op_info *hg_op_at(hg_lib *lib, int id) {
    if (lib->ops[id]) return lib->ops[id];
    hg_op_info *info = lib->host.mem(lib->host.ud, NULL, sizeof *info);
    if (!info) return NULL;
    memset(info, 0, sizeof *info);
    info->op = &table[id];
    info->id = id;
    reader r = {info->op->schema, false};
    word(&r, info->name, sizeof info->name);
    if (take(&r, ".")) word(&r, info->overload, sizeof info->overload);
    read_params(&r, info);
    read_result(&r, info);
    info->grads = info->op->schema + strlen(info->op->schema) + 1;
    reader g = {info->grads, r.bad};
    read_grads(&g, info);
    if (g.bad) {
        fprintf(stderr, "hookgrad: bad row in the op table: %s | %s\n", info->op->schema, info->grads);
        hg_mem_free(lib, info);
        return NULL;
    }
    plan_saving(info);
    plan_edges(info);
    plan_defaults(info);
    hg_plan_plain(info);
    make_node_name(info);
    make_twice_name(info);
    return lib->ops[id] = info;
}

hg_status hg_no_backward(hg_ctx *cx, hg_back *b) {
    return hg_fail(cx, HG_MISSING, "the derivative for '%s' is not implemented.",
                   b->info->name + (b->info->name[0] == '_' && b->info->id != HG_OP_UNIQUE));
}
