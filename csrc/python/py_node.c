/* Nodes of the graph, as `tensor.grad_fn` shows them.

   Note [Types of nodes]
   In PyTorch every node has a type of its own, AddBackward0, MulBackward0 ... Here the core allocates nodes of one
   type, and one that Python gets to see is given the type that bears its name, made at first use. Those types
   differ in nothing but the name: same layout, same slots, and no Python class can be derived from them. */
#include "py_hooks.h"

#define SELF(o) ((py_node *)(o))

/* name() of these gives the C++ name that PyTorch shows there. */
static const char accumulate[] = "AccumulateGrad", copy_slices[] = "CopySlices", error[] = "Error",
                  copied[] = "CopyBackwards", in_torch[] = "torch::autograd::";

/* ---- What it saved: _saved_self, _saved_result ... -------------------------------------------------------------- */

typedef struct saved_at {
    int i;
    bool output;
} saved_at;

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

static bool find_saved(const hg_op_info *op, const char *name, saved_at *at) {
    char buf[16];
    for (int i = 0; op && i < op->n_params; i++)
        if (!strcmp(op->params[i].name, name) && saves_in(op, i)) return *at = (saved_at){i, false}, true;
    for (int k = 0; op && k < op->n_out && k < 4; k++)
        if (!strcmp(out_name(op, k, buf), name) && saves_out(op, k)) return *at = (saved_at){k, true}, true;
    return false;
}

/* Integers that stand for a dimension are shown as PyTorch shows them, without a sign. */
static PyObject *integer(int64_t i) { return PyLong_FromUnsignedLongLong((unsigned long long)i); }

static PyObject *integers(const hg_arg *a) {
    PyObject *tuple = PyTuple_New(a->n);
    for (uint32_t k = 0; tuple && k < a->n; k++) {
        PyObject *o = integer(a->u.ints[k]);
        if (o)
            PyTuple_SET_ITEM(tuple, k, o);
        else
            Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *tensors(const hg_arg *a) {
    PyObject *tuple = PyTuple_New(a->n);
    for (uint32_t k = 0; tuple && k < a->n; k++) PyTuple_SET_ITEM(tuple, k, py_wrap(a->u.ts[k]));
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
    case HG_A_INTS: return integers(a);
    case HG_A_FLOATS: return floats(a);
    case HG_A_TENSORS: return tensors(a);
    case HG_A_STR: return PyUnicode_FromString(a->u.s);
    case HG_A_DTYPE: return Py_NewRef(hg_py->dtypes[a->u.i]);
    case HG_A_BOOL:
    case HG_A_INT:
    case HG_A_FLOAT:
        if (a->kind == HG_A_INT && p && p->kind == HG_A_INT) return integer(a->u.i);
        number = py_number(a);
        if (!number || !p || !is_tensor_kind(p)) return number;
        tensor = py_as_tensor(number, a->kind == HG_A_FLOAT ? HG_F64 : HG_NO_DTYPE, true);
        Py_DECREF(number);
        return tensor;
    default: Py_RETURN_NONE;
    }
}

static PyObject *function_saved(PyObject *self, void *unused);

static PyObject *saved_value(PyObject *self, saved_at at) {
    const hg_op_info *op = hg_node_op(NODE(self));
    hg_ctx *cx = py_ctx();
    if (!op) {
        PyObject *all = function_saved(self, NULL), *one = all ? PySequence_GetItem(all, at.i) : NULL;
        Py_XDECREF(all);
        return one;
    }
    hg_arg a;
    hg_status st = cx ? hg_node_saved(cx, NODE(self), at.i, at.output, &a) : HG_HOST;
    if (st != HG_OK) return cx ? py_raise(cx, st) : NULL;
    return a.kind == HG_A_TENSOR ? py_own(a.u.t) : plain(&a, at.output ? NULL : &op->params[at.i]);
}

/* `_raw_saved_x`: through it hooks can be put on one saved tensor. */
typedef struct saved {
    PyObject_HEAD
    PyObject *node;
    saved_at at;
} saved;

static PyObject *saved_new(PyObject *node, saved_at at) {
    saved *s = PyObject_GC_New(saved, hg_py->saved_type);
    if (!s) return NULL;
    s->node = Py_NewRef(node);
    s->at = at;
    PyObject_GC_Track(s);
    return (PyObject *)s;
}

static PyObject *saved_register_hooks(PyObject *self, PyObject *pair) {
    saved *s = (saved *)self;
    if (PyTuple_GET_SIZE(pair) != 2 || !PyCallable_Check(PyTuple_GET_ITEM(pair, 0)) ||
        !PyCallable_Check(PyTuple_GET_ITEM(pair, 1)))
        return PyErr_Format(PyExc_TypeError,
                            "register_hooks(): incompatible function arguments: expected (pack_hook: Callable, "
                            "unpack_hook: Callable), got %R",
                            pair);
    return PyObject_CallMethod(hg_py->module, "_node_pack", "OiiiO", s->node, s->at.i, 0, (int)s->at.output, pair);
}

static PyObject *saved_unpack(PyObject *self, PyObject *none) {
    (void)none;
    return saved_value(((saved *)self)->node, ((saved *)self)->at);
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

static PyType_Slot saved_slots[] = {
    {Py_tp_dealloc, saved_dealloc}, {Py_tp_traverse, saved_traverse}, {Py_tp_methods, saved_methods}, {0, NULL}};

static PyType_Spec saved_spec = {"hookgrad._C.SavedTensor", sizeof(saved), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                     Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 saved_slots};

/* Is it the node of a user's autograd.Function? Those are named XBackward; one of PyTorch's own that is written in Python here
   (hookgrad/nn/_whole.py) has a number behind its name. */
static bool is_users(const hg_node *n) {
    const char *name = hg_node_name(n), end[] = "Backward";
    size_t length = strlen(name), n_end = sizeof end - 1;
    return hg_function_data(n) && length >= n_end && strcmp(name + length - n_end, end) == 0;
}

/* ---- Attributes ------------------------------------------------------------------------------------------------- */

static PyObject *no_attribute(PyObject *self, PyObject *name) {
    return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%U'", Py_TYPE(self)->tp_name, name);
}

/* Note [The context is the node]
   The node of an autograd.Function is the `ctx` that forward and backward are given. What is set on it is kept by the context
   object that the core holds for it (its `data`), whose class has the methods of FunctionCtx; they are called with the node. */
static PyObject *of_context(PyObject *self, PyObject *context, PyObject *name) {
    PyObject *found = PyObject_GetAttr(context, name);
    if (!found) return PyErr_ExceptionMatches(PyExc_AttributeError) ? PyErr_Clear(), no_attribute(self, name) : NULL;
    if (!PyMethod_Check(found) || PyMethod_GET_SELF(found) != context) return found;
    PyObject *method = PyMethod_New(PyMethod_GET_FUNCTION(found), self);
    Py_DECREF(found);
    return method;
}

static PyObject *function_getattro(PyObject *self, PyObject *context, PyObject *name) {
    PyObject *dict = PyObject_GenericGetDict(context, NULL);
    if (!dict) return NULL;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(dict, name));
    Py_DECREF(dict);
    if (found || PyErr_Occurred()) return found;
    if ((found = PyObject_GenericGetAttr(self, name)) || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    return of_context(self, context, name);
}

/* What is not the node's own may be something it saved. */
static PyObject *node_getattro(PyObject *self, PyObject *name) {
    PyObject *context = hg_function_data(NODE(self));
    if (context) return function_getattro(self, context, name);
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    const char *chars = PyUnicode_AsUTF8(name);
    saved_at at;
    PyErr_Clear();
    if (!chars) return NULL;
    if (!strncmp(chars, "_saved_", 7) && find_saved(hg_node_op(NODE(self)), chars + 7, &at))
        return saved_value(self, at);
    if (!strncmp(chars, "_raw_saved_", 11) && find_saved(hg_node_op(NODE(self)), chars + 11, &at))
        return saved_new(self, at);
    return no_attribute(self, name);
}

static bool is_fixed(PyObject *name) {
    static const char *const fixed[] = {"next_functions", "metadata",        "requires_grad",
                                        "saved_tensors",  "saved_variables", "_raw_saved_tensors"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (PyUnicode_CompareWithASCIIString(name, fixed[i]) == 0) return true;
    return false;
}

static int node_setattro(PyObject *self, PyObject *name, PyObject *value) {
    PyObject *context = hg_function_data(NODE(self));
    if (!context) return PyObject_GenericSetAttr(self, name, value);
    if (is_fixed(name)) {
        PyErr_Format(PyExc_AttributeError, "attribute '%U' of 'torch._C._FunctionBase' objects is not writable", name);
        return -1;
    }
    int failed = PyObject_SetAttr(context, name, value);
    if (failed && !value && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        no_attribute(self, name);
    }
    return failed;
}

/* ---- What an autograd.Function saved ---------------------------------------------------------------------------- */

static bool is_function(PyObject *self, const char *attribute) {
    if (hg_function_data(NODE(self))) return true;
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%s'", Py_TYPE(self)->tp_name, attribute);
    return false;
}

static PyObject *function_saved(PyObject *self, void *unused) {
    (void)unused;
    hg_ctx *cx = py_ctx();
    if (!cx || !is_function(self, "saved_tensors")) return NULL;
    int n = hg_function_n_saved(NODE(self));
    hg_tensor **at = PyMem_Calloc((size_t)n + 1, sizeof *at);
    if (!at) return PyErr_NoMemory();
    hg_status st = hg_function_saved(cx, NODE(self), at);
    PyObject *all = st == HG_OK ? PyTuple_New(n) : py_raise(cx, st);
    for (int i = 0; st == HG_OK && i < n; i++) {
        if (all)
            PyTuple_SET_ITEM(all, i, py_own(at[i]));
        else
            hg_release(cx, at[i]);
    }
    PyMem_Free(at);
    return all;
}

static PyObject *function_saved_variables(PyObject *self, void *unused) {
    if (!is_function(self, "saved_variables") ||
        PyErr_WarnEx(PyExc_DeprecationWarning, "'saved_variables' is deprecated; use 'saved_tensors'", 1))
        return NULL;
    return function_saved(self, unused);
}

static PyObject *function_raw_saved(PyObject *self, void *unused) {
    (void)unused;
    hg_ctx *cx = py_ctx();
    if (!cx || !is_function(self, "_raw_saved_tensors")) return NULL;
    hg_status st = hg_node_check_saved(cx, NODE(self));
    if (st != HG_OK) return py_raise(cx, st);
    int n = hg_function_n_saved(NODE(self));
    PyObject *all = PyTuple_New(n);
    for (int i = 0; all && i < n; i++) {
        PyObject *one = saved_new(self, (saved_at){i, hg_function_saved_is_output(NODE(self), i)});
        if (one)
            PyTuple_SET_ITEM(all, i, one);
        else
            Py_CLEAR(all);
    }
    return all;
}

static int append(PyObject *list, const char *prefix, const char *name) {
    PyObject *o = PyUnicode_FromFormat("%s%s", prefix, name);
    int failed = o ? PyList_Append(list, o) : -1;
    Py_XDECREF(o);
    return failed;
}

static PyObject *node_dir(PyObject *self, PyObject *none) {
    (void)none;
    const hg_op_info *op = hg_node_op(NODE(self));
    PyObject *of_type = PyObject_Dir((PyObject *)Py_TYPE(self)), *list = of_type ? PySequence_List(of_type) : NULL;
    PyObject *context = hg_function_data(NODE(self));
    int failed = !list;
    char buf[16];
    if (context && !failed) {
        PyObject *more = PyObject_Dir(context), *joined = more ? PySequence_InPlaceConcat(list, more) : NULL;
        failed = !joined;
        Py_XDECREF(joined);
        Py_XDECREF(more);
    }
    for (int i = 0; op && i < op->n_params && !failed; i++)
        if (saves_in(op, i)) failed = append(list, "_saved_", op->params[i].name);
    for (int k = 0; op && k < op->n_out && k < 4 && !failed; k++)
        if (saves_out(op, k)) failed = append(list, "_saved_", out_name(op, k, buf));
    PyObject *names = failed ? NULL : PySet_New(list);
    Py_XDECREF(list);
    Py_XDECREF(of_type);
    return names;
}

static PyObject *node_repr(PyObject *self) {
    const char *where = is_users(NODE(self)) ? "torch.autograd.function." : "";
    return PyUnicode_FromFormat("<%s%s object at %p>", where, hg_node_name(NODE(self)), self);
}

static PyObject *node_name(PyObject *self, PyObject *none) {
    (void)none;
    const char *name = hg_node_name(NODE(self));
    bool bare = strcmp(name, accumulate) != 0 && strcmp(name, copy_slices) != 0 && strcmp(name, error) != 0 &&
                strcmp(name, copied) != 0;
    return PyUnicode_FromFormat("%s%s", bare ? "" : in_torch, name);
}

static PyObject *node_next_functions(PyObject *self, void *unused) {
    (void)unused;
    int n = hg_node_n_next(NODE(self));
    PyObject *all = PyTuple_New(n);
    for (int i = 0; all && i < n; i++) {
        uint32_t nr;
        hg_node *next = hg_node_next(NODE(self), i, &nr);
        PyObject *pair = Py_BuildValue("(NI)", py_node_wrap(next), (unsigned)(next ? nr : 0));
        if (pair)
            PyTuple_SET_ITEM(all, i, pair);
        else
            Py_CLEAR(all);
    }
    return all;
}

static PyObject *node_variable(PyObject *self, void *unused) {
    (void)unused;
    hg_tensor *t = hg_node_variable(NODE(self));
    if (t) return py_wrap(t);
    return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'variable'", Py_TYPE(self)->tp_name);
}

static PyObject *node_metadata(PyObject *self, void *unused) {
    (void)unused;
    if (!SELF(self)->metadata) SELF(self)->metadata = PyDict_New();
    return Py_XNewRef(SELF(self)->metadata);
}

static PyObject *node_requires_grad(PyObject *self, void *unused) {
    return (void)self, (void)unused, Py_NewRef(Py_True);
}

static PyObject *node_sequence_nr(PyObject *self, PyObject *none) {
    (void)none;
    return PyLong_FromUnsignedLongLong(hg_node_seq(NODE(self)));
}

static PyObject *register_on(PyObject *self, hg_hook_kind kind, PyObject *fn, const char *function) {
    hg_hooks *h;
    hg_ctx *cx = py_ctx();
    if (!cx || py_hook_check(fn, function)) return NULL;
    hg_status st = hg_node_hooks(cx, NODE(self), kind, true, &h);
    return st == HG_OK ? py_hooks_register(h, fn, 0) : py_raise(cx, st);
}

static PyObject *node_register_hook(PyObject *self, PyObject *fn) {
    return register_on(self, HG_HOOK_NODE, fn, "register_hook");
}
static PyObject *node_register_prehook(PyObject *self, PyObject *fn) {
    return register_on(self, HG_HOOK_NODE_PRE, fn, "register_prehook");
}

static PyObject *node_reduce(PyObject *self, PyObject *none) {
    (void)none;
    return PyErr_Format(PyExc_TypeError, "cannot pickle '%s' object", Py_TYPE(self)->tp_name);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

static int node_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(SELF(self)->metadata);
    return py_core_traverse(HG_KIND_NODE, self, visit, arg);
}

static int node_clear(PyObject *self) {
    Py_CLEAR(SELF(self)->metadata);
    py_core_clear(HG_KIND_NODE, self);
    return 0;
}

static void node_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    if (SELF(self)->weakrefs) PyObject_ClearWeakRefs(self);
    Py_CLEAR(SELF(self)->metadata);
    py_core_dealloc(HG_KIND_NODE, self);
}

static PyMethodDef node_methods[] = {
    {"name", node_name, METH_NOARGS, "The name of the derivative: \"AddBackward0\"."},
    {"_sequence_nr", node_sequence_nr, METH_NOARGS, "Nodes run backward newest first: by this number."},
    {"register_hook", node_register_hook, METH_O,
     "register_hook(hook)\n--\n\n"
     "Call `hook(grad_inputs, grad_outputs)` when the node has run. A tuple it returns replaces grad_inputs.\n"
     "Returns a handle.\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.graph.Node.register_hook.html"},
    {"register_prehook", node_register_prehook, METH_O,
     "register_prehook(hook)\n--\n\n"
     "Call `hook(grad_outputs)` before the node runs. A tuple it returns replaces grad_outputs.\n"
     "Returns a handle.\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.graph.Node.register_prehook.html"},
    {"__dir__", node_dir, METH_NOARGS, NULL},
    {"__reduce__", node_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef node_attributes[] = {
    {"next_functions", node_next_functions, NULL,
     "Where the gradients go: (node or None, which of its outputs) for each input.", NULL},
    {"variable", node_variable, NULL, "The leaf whose gradient an AccumulateGrad node fills.", NULL},
    {"metadata", node_metadata, NULL, "A dict to keep things in.", NULL},
    {"requires_grad", node_requires_grad, NULL, NULL, NULL},
    {"saved_tensors", function_saved, NULL, "What forward gave to save_for_backward().", NULL},
    {"saved_variables", function_saved_variables, NULL, NULL, NULL},
    {"_raw_saved_tensors", function_raw_saved, NULL, "The same as they are kept: hooks can be put on each.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef node_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(py_node, weakrefs), READONLY, NULL},
                                     {NULL, 0, 0, 0, NULL}};

static PyType_Slot node_slots[] = {
    {Py_tp_dealloc, node_dealloc},
    {Py_tp_traverse, node_traverse},
    {Py_tp_clear, node_clear},
    {Py_tp_repr, node_repr},
    {Py_tp_getattro, node_getattro},
    {Py_tp_setattro, node_setattro},
    {Py_tp_methods, node_methods},
    {Py_tp_getset, node_attributes},
    {Py_tp_members, node_members},
    {Py_tp_doc, "A node of the graph: how the gradient passes one operation."},
    {0, NULL},
};

enum { NODE_FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION };

static PyType_Spec node_spec = {"hookgrad._C.Node", sizeof(py_node), 1, NODE_FLAGS, node_slots};

/* ---- A type for every name -------------------------------------------------------------------------------------- */

/* The name is what type(fn).__name__ and "<class 'AddBackward0'>" show; a spec wants a module as well, which goes
   again. */
static PyTypeObject *type_make(const char *name, bool is_function) {
    char full[128];
    snprintf(full, sizeof full, "builtins.%s", name);
    /* As in every type made from a spec the destructor is not handed down. */
    PyType_Slot slots[] = {
        {Py_tp_dealloc, node_dealloc}, {Py_tp_traverse, node_traverse}, {Py_tp_clear, node_clear}, {0, NULL}};
    PyType_Spec spec = {full, 0, 0, NODE_FLAGS, slots};
    PyTypeObject *base = hg_py->node_type;
    base->tp_flags |= Py_TPFLAGS_BASETYPE; /* for this one only: the class statement must not get at it */
    PyObject *bases = PyTuple_Pack(1, base), *type = bases ? PyType_FromSpecWithBases(&spec, bases) : NULL;
    base->tp_flags &= ~Py_TPFLAGS_BASETYPE;
    Py_XDECREF(bases);
    PyObject *bare = type ? PyUnicode_FromString(name) : NULL;
    int failed = !bare || PyObject_SetAttr(type, NAME(__name__), bare);
    Py_XDECREF(bare);
    if (!failed && is_function) {
        PyObject *module = PyUnicode_FromString("torch.autograd.function");
        failed = !module || PyObject_SetAttr(type, NAME(__module__), module);
        Py_XDECREF(module);
    }
    if (failed) Py_CLEAR(type);
    return (PyTypeObject *)type;
}

/* Borrowed. */
static PyTypeObject *type_named(const char *name, bool is_function) {
    PyObject *key = PyUnicode_FromFormat("%s%s", is_function ? "function " : "", name);
    PyObject *type = key ? PyDict_GetItemWithError(hg_py->node_types, key) : NULL;
    if (key && !type && !PyErr_Occurred() && (type = (PyObject *)type_make(name, is_function))) {
        int failed = PyDict_SetItem(hg_py->node_types, key, type);
        Py_DECREF(type); /* the dict's */
        if (failed) type = NULL;
    }
    Py_XDECREF(key);
    return (PyTypeObject *)type;
}

PyObject *py_node_wrap(hg_node *n) {
    if (!n) Py_RETURN_NONE;
    PyObject *self = PY(n);
    PyTypeObject *was = Py_TYPE(self);
    if (was == hg_py->node_type) {
        PyTypeObject *type = type_named(hg_node_name(n), is_users(n));
        if (!type) return NULL;
        Py_INCREF(type);
        Py_SET_TYPE(self, type);
        Py_DECREF(was);
    }
    return Py_NewRef(self);
}

int py_node_init(PyObject *m) {
    if (!(hg_py->node_types = PyDict_New()) || py_type_add(m, &hg_py->saved_type, &saved_spec, NULL)) return -1;
    return py_type_add(m, &hg_py->node_type, &node_spec, NULL);
}
