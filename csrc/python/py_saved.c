/* What a node saved: its attributes _saved_self, _saved_result ..., and _raw_saved_self, through which hooks can be put on one
   saved tensor.

   Note [Saved names]
   A name is that of an argument or a result of the node's op, mostly. Some name what PyTorch keeps in place of an argument:
   "self_sym_sizes", "mat2_sym_strides", "batch1_sym_argsize_0", "source_dim". Which names a node has is PyTorch's choice
   (py_saved_names.def); where its value is not kept here, the node has no such attribute. A derivative that is one node (twice.c)
   has names in terms of the op it is the derivative of: its tensors that node has saved itself, as a function's does, the rest
   is the first node's. */
#include "py_hooks.h"

typedef enum source { ARGUMENT, RESULT, SIZES, STRIDES, NUMEL, SIZE_AT, N_DIM, TWO, OF_FUNCTION, GRAD_SIZE_AT } source;

/* Where a value comes from: argument or result i of the op; entry j of a list, or of its sizes (from the end where negative); what
   a function saved in place i; size j of the gradient. */
typedef struct place {
    source from;
    int i, j;
} place;

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* A node, then its names, and so on: one string, as each pointer of a table is a relocation. */
static const char names_of[] = {
#define SAVED(node, names) node "\0" names "\0"
#include "py_saved_names.def"
#undef SAVED
};

/* Words: is `name` one of them? Copies the n-th to word, if there is one. */
static bool nth_word(const char *words, int n, char word[48]) {
    for (; *words && n; words++) n -= *words == ' ';
    size_t length = strcspn(words, " ");
    if (!length || length >= 48) return false;
    memcpy(word, words, length);
    word[length] = 0;
    return true;
}

static const char *names_of_node(const char *node) {
    for (const char *at = names_of, *names; *at; at = names + strlen(names) + 1) {
        names = at + strlen(at) + 1;
        if (!strcmp(at, node)) return names;
    }
    return NULL;
}

static bool is_tensor_kind(const hg_param *p) { return p->kind == HG_A_TENSOR || p->kind == HG_A_TENSORS; }

static bool saves_in(const hg_op_info *op, int i) {
    uint32_t any = 0;
    for (int k = 0; k < op->n_params; k++) any |= op->saves_in[k];
    return !is_tensor_kind(&op->params[i]) || (any >> i & 1);
}

static bool saves_out(const hg_op_info *op, int k) {
    uint32_t any = 0;
    for (int i = 0; i < op->n_params; i++) any |= op->saves_out[i];
    return any >> k & 1;
}

/* "result", "result1", or the name in a result that has names. */
static const char *out_name(const hg_op_info *op, int k, char buf[16]) {
    if (op->out_names[k][0]) return op->out_names[k];
    if (op->n_out == 1) return "result";
    snprintf(buf, 16, "result%d", k);
    return buf;
}

/* Arguments that PyTorch calls otherwise. */
static const char *const also_called[][2] = {
    {"dim0", "axis0"},
    {"dim1", "axis1"},
    {"padding", "pad"},
    {"split_sizes", "split_size"},
    {"grad_out", "grad_output"},
    {"group", "num_groups"},
    {"train", "training"},
    {"self_or_result", "self"},
    {"ord", "p"},
    {"A", "self"},
};

static int argument_named(const hg_op_info *op, const char *name, size_t length) {
    for (int i = 0; i < op->n_params; i++)
        if (strlen(op->params[i].name) == length && !strncmp(op->params[i].name, name, length)) return i;
    for (size_t k = 0; k < sizeof also_called / sizeof *also_called; k++)
        if (strlen(also_called[k][0]) == length && !strncmp(also_called[k][0], name, length))
            for (int i = 0; i < op->n_params; i++)
                if (!strcmp(op->params[i].name, also_called[k][1])) return i;
    return -1;
}

/* "self_sym_sizes" and the like. */
static bool find_derived(const hg_op_info *op, const char *name, place *at) {
    static const struct {
        const char *text;
        source from;
    } suffixes[] = {{"_sym_sizes", SIZES},
                    {"_sym_strides", STRIDES},
                    {"_sym_numel", NUMEL},
                    {"_sym_argsize_", SIZE_AT},
                    {"_dim", N_DIM}};
    for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
        const char *suffix = strstr(name, suffixes[k].text);
        if (!suffix) continue;
        int i = argument_named(op, name, (size_t)(suffix - name)), j = 0;
        if (i < 0 || op->params[i].kind != HG_A_TENSOR) return false;
        const char *number = suffix + strlen(suffixes[k].text);
        bool from_end = !strncmp(number, "minus_", 6);
        if (suffixes[k].from == SIZE_AT) j = atoi(from_end ? number + 6 : number);
        return *at = (place){suffixes[k].from, i, from_end ? -j : j}, true;
    }
    return false;
}

static bool find(const hg_op_info *op, const char *name, place *at) {
    char buf[16];
    int i = argument_named(op, name, strlen(name));
    if (i >= 0 && saves_in(op, i)) return *at = (place){ARGUMENT, i, 0}, true;
    for (int k = 0; k < op->n_out && k < 4; k++)
        if (saves_out(op, k) &&
            (!strcmp(out_name(op, k, buf), name) || !strcmp(name, "inverse") || !strcmp(name, "total_weight") ||
             !strcmp(name, "indices") || !strcmp(name, "self_or_result")))
            return *at = (place){RESULT, k, 0}, true;
    bool inplace = op->name[strlen(op->name) - 1] == '_'; /* its argument is its result */
    if (inplace && !strcmp(name, "result") && saves_in(op, 0)) return *at = (place){ARGUMENT, 0, 0}, true;
    if (!strcmp(op->name, "square") && !strcmp(name, "exponent")) return *at = (place){TWO, 0, 0}, true;
    return find_derived(op, name, at);
}

static bool has_raw(const hg_op_info *op, place at) {
    return at.from == RESULT || at.from == OF_FUNCTION || (at.from == ARGUMENT && is_tensor_kind(&op->params[at.i]));
}

/* The same of a derivative that is one node; *node becomes the one that has it. */
static bool find_of_derivative(PyObject **node, const char *name, place *at) {
    hg_node *first = hg_node_first(NODE(*node));
    const hg_op_info *op = hg_node_op(first);
    if (!strncmp(name, "grad_out", 8)) {
        const char *number = strstr(name, "_minus_");
        if (!number) return *at = (place){OF_FUNCTION, 0, 0}, true;
        *node = PY(first);
        return *at = (place){GRAD_SIZE_AT, 0, -atoi(number + 7)}, true;
    }
    if (!find(op, name, at)) return false;
    int saved = has_raw(op, *at) ? hg_node_saved_of_first(NODE(*node), at->i, at->from == RESULT) : -1;
    if (saved >= 0)
        *at = (place){OF_FUNCTION, saved, 0};
    else
        *node = PY(first);
    return true;
}

/* The n-th name of the node, and where it leads: false when there are no more. `at` has i = -1 where to nothing. */
static bool nth_name(PyObject **node, int n, char name[48], place *at) {
    bool derivative = hg_node_first(NODE(*node));
    const hg_op_info *op = hg_node_op(NODE(*node));
    if (!op && !derivative) return false;
    const char *listed = names_of_node(derivative ? hg_node_name(NODE(*node)) : op->node_name);
    *at = (place){ARGUMENT, -1, 0};
    if (listed) {
        if (!nth_word(listed, n, name)) return false;
        if (!(derivative ? find_of_derivative(node, name, at) : find(op, name, at))) at->i = -1;
        return true;
    }
    if (derivative || n >= op->n_params + op->n_out || n >= op->n_params + 4) return false;
    char buf[16];
    bool argument = n < op->n_params;
    if (argument)
        snprintf(name, 48, "%s", op->params[n].name);
    else
        snprintf(name, 48, "%s", out_name(op, n - op->n_params, buf));
    if (argument ? saves_in(op, n) : saves_out(op, n - op->n_params))
        *at = (place){argument ? ARGUMENT : RESULT, argument ? n : n - op->n_params, 0};
    return true;
}

/* Where the attribute comes from: *node becomes the node that has it. */
static bool find_listed(PyObject **node, const char *name, place *at) {
    char one[48];
    for (int n = 0;; n++) {
        PyObject *of = *node;
        if (!nth_name(&of, n, one, at)) return false;
        if (at->i >= 0 && !strcmp(one, name)) return *node = of, true;
    }
}

/* ---- Values ----------------------------------------------------------------------------------------------------- */

/* Integers that stand for a dimension are shown as PyTorch shows them, without a sign. */
static PyObject *integer(int64_t i) { return PyLong_FromUnsignedLongLong((unsigned long long)i); }

static PyObject *integers(uint32_t n, const int64_t *at) {
    PyObject *tuple = PyTuple_New(n);
    for (uint32_t k = 0; tuple && k < n; k++) {
        PyObject *o = integer(at[k]);
        if (o)
            PyTuple_SET_ITEM(tuple, k, o);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *floats(const hg_arg *a) {
    PyObject *tuple = PyTuple_New(a->n);
    for (uint32_t k = 0; tuple && k < a->n; k++) {
        PyObject *o = PyFloat_FromDouble(a->u.floats[k]);
        if (o)
            PyTuple_SET_ITEM(tuple, k, o);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* A number in the place of a tensor is shown as the tensor it stands for: _saved_other of x * 2. */
static PyObject *plain(const hg_arg *a, const hg_param *p) {
    PyObject *number, *tensor;
    switch (a->kind) {
    case HG_A_INTS: return integers(a->n, a->u.ints);
    case HG_A_FLOATS: return floats(a);
    case HG_A_STR:
        if (strcmp(p->name, "reduction") != 0) return PyUnicode_FromString(a->u.s);
        return PyLong_FromLong(!strcmp(a->u.s, "mean") ? 1 : !strcmp(a->u.s, "sum") ? 2 : 0);
    case HG_A_DTYPE: return Py_NewRef(hg_py->dtypes[a->u.i]);
    case HG_A_BOOL:
    case HG_A_INT:
    case HG_A_FLOAT:
        if (a->kind == HG_A_INT && p->kind == HG_A_INT) return integer(a->u.i);
        number = py_number(a);
        if (!number || !is_tensor_kind(p)) return number;
        tensor = py_as_tensor(number, a->kind == HG_A_FLOAT ? HG_F64 : HG_NO_DTYPE, true);
        Py_DECREF(number);
        return tensor;
    default: /* what PyTorch's kernels put in place of nothing */
        return !strcmp(p->name, "stride") ? PyTuple_New(0) : Py_NewRef(Py_None);
    }
}

static PyObject *entry(hg_ctx *cx, PyObject *node, place at) {
    hg_tensor *t;
    hg_status st = hg_node_saved_at(cx, NODE(node), at.i, at.j, &t);
    if (st != HG_OK) return py_raise(cx, st);
    return t ? py_own(t) : Py_NewRef(Py_None);
}

/* A tuple of what `one` makes of each entry of the list that is argument i. */
static PyObject *entries(hg_ctx *cx, PyObject *node, place at, PyObject *(*one)(hg_ctx *, PyObject *, place)) {
    int n = hg_node_n_saved_at(NODE(node), at.i);
    PyObject *tuple = PyTuple_New(n);
    for (at.j = 0; tuple && at.j < n; at.j++) {
        PyObject *o = one(cx, node, at);
        if (o)
            PyTuple_SET_ITEM(tuple, at.j, o);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

/* What is kept of an argument's shape. An argument that was none, a bias, counts as of size 0. */
static PyObject *derived(PyObject *node, place at) {
    const int64_t *shape, *stride;
    if (at.from == GRAD_SIZE_AT) {
        int n_dim;
        hg_dtype dtype;
        shape = hg_node_out_shape(NODE(node), at.i, &n_dim, &dtype);
        return integer(shape[n_dim + at.j]);
    }
    int n = hg_node_argument(NODE(node), at.i, &shape, &stride);
    int64_t product = 1;
    hg_arg_edge edge = hg_node_argument_edge(NODE(node), at.i);
    if (at.from == STRIDES && edge == HG_EDGE_NONE) return PyTuple_New(0); /* of use to its own gradient only */
    if (n < 0) return at.from == SIZES ? integers(1, &(int64_t){0}) : Py_NewRef(Py_None);
    switch (at.from) {
    case SIZES: return integers((uint32_t)n, shape);
    case STRIDES: {
        int64_t dense[HG_MAX_DIM];
        for (int i = n; i-- > 0; product *= shape[i]) dense[i] = product;
        if (edge == HG_EDGE_TURNED && n == 2) dense[0] = 1, dense[1] = shape[0]; /* the weight of a linear layer */
        return integers((uint32_t)n, stride ? stride : dense);
    }
    case NUMEL:
        for (int i = 0; i < n; i++) product *= shape[i];
        return integer(product);
    case SIZE_AT: {
        int j = at.j < 0 ? at.j + n : at.j;
        if (j < 0 || j >= n) Py_RETURN_NONE;
        return integer(shape[j]);
    }
    default: return integer(n);
    }
}

static PyObject *of_function(hg_ctx *cx, PyObject *node, int i) {
    hg_tensor *t;
    hg_status st = hg_function_saved_at(cx, NODE(node), i, &t);
    if (st != HG_OK) return py_raise(cx, st);
    return t ? py_own(t) : Py_NewRef(Py_None);
}

static PyObject *value_at(PyObject *node, place at) {
    const hg_op_info *op = hg_node_op(NODE(node));
    hg_ctx *cx = py_ctx();
    hg_arg a;
    if (!cx) return NULL;
    if (!op || at.from == OF_FUNCTION) return of_function(cx, node, at.i);
    if (at.from == TWO) return PyLong_FromLong(2);
    if (at.from != ARGUMENT && at.from != RESULT) return derived(node, at);
    hg_status st = hg_node_saved(cx, NODE(node), at.i, at.from == RESULT, &a);
    if (st != HG_OK) return py_raise(cx, st);
    if (has_raw(op, at) && (st = hg_node_check_saved(cx, NODE(node))) != HG_OK) return py_raise(cx, st);
    if (a.kind == HG_A_NONE && at.from == ARGUMENT && !strcmp(op->params[at.i].name, "correction")) {
        hg_arg dim; /* var(dim) means one, var() leaves it open */
        st = hg_node_saved(cx, NODE(node), 1, false, &dim);
        if (st == HG_OK && dim.kind != HG_A_NONE) return PyLong_FromLong(1);
    }
    if (a.kind == HG_A_TENSORS) return entries(cx, node, at, entry);
    return a.kind == HG_A_TENSOR ? py_own(a.u.t) : plain(&a, &op->params[at.i]);
}

/* ---- _raw_saved_x ----------------------------------------------------------------------------------------------- */

typedef struct saved {
    PyObject_HEAD
    PyObject *node;
    place at;
} saved;

static PyObject *saved_new(hg_ctx *cx, PyObject *node, place at) {
    (void)cx;
    saved *s = PyObject_GC_New(saved, hg_py->saved_type);
    if (!s) return NULL;
    s->node = Py_NewRef(node);
    s->at = at;
    PyObject_GC_Track(s);
    return (PyObject *)s;
}

static bool is_list(PyObject *node, place at) {
    const hg_op_info *op = hg_node_op(NODE(node));
    return op && at.from == ARGUMENT && op->params[at.i].kind == HG_A_TENSORS;
}

static PyObject *raw_at(PyObject *node, place at) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (!is_list(node, at)) return saved_new(cx, node, at);
    hg_status st = hg_node_check_saved(cx, NODE(node)); /* PyTorch asks it of lists only */
    return st == HG_OK ? entries(cx, node, at, saved_new) : py_raise(cx, st);
}

static PyObject *saved_register_hooks(PyObject *self, PyObject *pair) {
    saved *s = (saved *)self;
    return py_saved_pack(s->node, s->at.i, s->at.j, s->at.from == RESULT, pair);
}

static PyObject *saved_unpack(PyObject *self, PyObject *none) {
    saved *s = (saved *)self;
    (void)none;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    return is_list(s->node, s->at) ? entry(cx, s->node, s->at) : value_at(s->node, s->at);
}

static PyObject *saved_data(PyObject *self, void *none) {
    saved *s = (saved *)self;
    PyObject *unpack, *packed = py_saved_packed(s->node, s->at.i, s->at.j, s->at.from == RESULT, &unpack);
    (void)none;
    if (packed) return Py_NewRef(packed);
    PyObject *value = saved_unpack(self, NULL);
    if (!value || s->at.from != RESULT || !py_is_tensor(value)) return value;
    PyObject *alone = PyObject_CallMethod(value, "detach", NULL); /* a result is kept without its history */
    Py_DECREF(value);
    return alone;
}

static PyObject *saved_unpack_hook(PyObject *self, void *none) {
    saved *s = (saved *)self;
    PyObject *unpack, *packed = py_saved_packed(s->node, s->at.i, s->at.j, s->at.from == RESULT, &unpack);
    (void)none;
    return Py_NewRef(packed ? unpack : Py_None);
}

static PyObject *saved_forbidden(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)type, (void)args, (void)kwargs;
    PyErr_SetString(PyExc_RuntimeError, "Trying to create a SavedTensor object from Python is forbidden.");
    return NULL;
}

static int saved_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((saved *)self)->node);
    return 0;
}

static void saved_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(((saved *)self)->node);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef saved_methods[] = {
    {"register_hooks", saved_register_hooks, METH_VARARGS, "register_hooks(pack_hook, unpack_hook)"},
    {"unpack", saved_unpack, METH_NOARGS, "The saved tensor."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef saved_attributes[] = {
    {"data", saved_data, NULL, "What the graph keeps: the tensor, or what its pack hook returned.", NULL},
    {"unpack_hook", saved_unpack_hook, NULL, "What turns `data` back into the tensor, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot saved_slots[] = {
    {Py_tp_doc, "What a node has saved for its derivative, as `grad_fn._raw_saved_self` and the like show it."},
    {Py_tp_new, saved_forbidden},
    {Py_tp_dealloc, saved_dealloc},
    {Py_tp_traverse, saved_traverse},
    {Py_tp_methods, saved_methods},
    {Py_tp_getset, saved_attributes},
    {0, NULL}};

static PyType_Spec saved_spec = {"torch._C._autograd.SavedTensor", sizeof(saved), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, saved_slots};

/* ---- Seen from the node ----------------------------------------------------------------------------------------- */

/* What hookgrad/_saved.py makes of what is there. */
static PyObject *computed(const char *function, PyObject *node, const char *name) {
    PyObject *module = PyImport_ImportModule("hookgrad._saved"), *got = NULL;
    if (module) got = PyObject_CallMethod(module, function, name ? "Os" : "O", node, name);
    Py_XDECREF(module);
    return got;
}

int py_saved_attribute(PyObject *node, const char *name, PyObject **value) {
    place at;
    PyObject *of = node;
    bool raw = !strncmp(name, "_raw_saved_", 11);
    if (!raw && strncmp(name, "_saved_", 7) != 0) return 0;
    if (find_listed(&of, name + (raw ? 11 : 7), &at)) {
        if (raw && !has_raw(hg_node_op(NODE(of)), at)) return 0;
        *value = raw ? raw_at(of, at) : value_at(of, at);
    } else {
        *value = raw ? Py_NewRef(Py_NotImplemented) : computed("value", node, name);
    }
    if (*value != Py_NotImplemented) return *value ? 1 : -1;
    Py_CLEAR(*value);
    return 0;
}

static int append(PyObject *list, const char *prefix, const char *name) {
    PyObject *o = PyUnicode_FromFormat("%s%s", prefix, name);
    int failed = o ? PyList_Append(list, o) : -1;
    Py_XDECREF(o);
    return failed;
}

PyObject *py_saved_of_function(PyObject *node, int i, bool output) {
    return saved_new(NULL, node, (place){output ? RESULT : ARGUMENT, i, 0});
}

int py_saved_list(PyObject *node, PyObject *list) {
    char name[48];
    place at;
    int failed = 0;
    for (int n = 0; !failed; n++) {
        PyObject *of = node;
        if (!nth_name(&of, n, name, &at)) break;
        if (at.i < 0) continue;
        failed = append(list, "_saved_", name);
        if (!failed && has_raw(hg_node_op(NODE(of)), at)) failed = append(list, "_raw_saved_", name);
    }
    PyObject *more = failed ? NULL : computed("names", node, NULL),
             *joined = more ? PySequence_InPlaceConcat(list, more) : NULL;
    failed = !joined;
    Py_XDECREF(joined);
    Py_XDECREF(more);
    return failed ? -1 : 0;
}

/* The class; py_saved_hooks.c puts it where PyTorch has it. */
int py_saved_init(PyObject *m) { return py_type_add(m, &hg_py->saved_type, &saved_spec, NULL); }
