/* Nodes of the graph, as `tensor.grad_fn` shows them.

   Note [Types of nodes]
   In PyTorch every node has a type of its own, AddBackward0, MulBackward0 ... Here the core allocates nodes of one
   type, and one that Python gets to see is given the type that bears its name, made at first use. Those types
   differ in nothing but the name: same layout, same slots, and no Python class can be derived from them. As in PyTorch their
   only base is object; what makes one a type of nodes is its destructor.
   The node of an autograd.Function has that Function's own class, its _backward_cls, from the start: it is made with the
   Function, of _FunctionBase and the classes in hookgrad/autograd/function.py. */
#include "py_hooks.h"

#define SELF(o) ((py_node *)(o))

/* Is it the node of a user's autograd.Function? One of PyTorch's own that is written in Python here (hookgrad/nn/_whole.py, and
   the error of once_differentiable) is not. */
static bool is_users(hg_node *n) {
    return PyType_IsSubtype(Py_TYPE(PY(n)), hg_py->function_type) && strcmp(hg_node_name(n), "Error") != 0;
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

/* Of a node that Python made of a whole function: hookgrad/nn/_whole.py says what it saved. */
static PyObject *of_whole(PyObject *self, PyObject *context, PyObject *name) {
    const char *chars = PyUnicode_AsUTF8(name);
    if (!chars) return NULL;
    if (strncmp(chars, "_saved_", 7) != 0 && strncmp(chars, "_raw_saved_", 11) != 0)
        return of_context(self, context, name);
    PyObject *method = of_context(self, context, NAME(_saved_attribute)),
             *found = method ? PyObject_CallOneArg(method, name) : NULL;
    Py_XDECREF(method);
    if (found != Py_NotImplemented) return found;
    Py_DECREF(found);
    return no_attribute(self, name);
}

static PyObject *function_getattro(PyObject *self, PyObject *context, PyObject *name) {
    PyObject *dict = PyObject_GenericGetDict(context, NULL);
    if (!dict) return NULL;
    PyObject *found = Py_XNewRef(PyDict_GetItemWithError(dict, name));
    Py_DECREF(dict);
    if (found || PyErr_Occurred()) return found;
    if ((found = PyObject_GenericGetAttr(self, name)) || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    return is_users(NODE(self)) ? of_context(self, context, name) : of_whole(self, context, name);
}

/* What is not the node's own may be something it saved. */
static PyObject *node_getattro(PyObject *self, PyObject *name) {
    PyObject *context = hg_function_data(NODE(self));
    if (context) return function_getattro(self, context, name);
    PyObject *found = PyObject_GenericGetAttr(self, name);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    const char *chars = PyUnicode_AsUTF8(name);
    PyErr_Clear();
    if (!chars) return NULL;
    int got = py_saved_attribute(self, chars, &found);
    return got > 0 ? found : got < 0 ? NULL : no_attribute(self, name);
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
    if (is_fixed(name)) {
        PyErr_Format(PyExc_AttributeError, "attribute '%U' of '%s' objects is not writable", name,
                     context ? "torch._C._FunctionBase" : Py_TYPE(self)->tp_name);
        return -1;
    }
    if (!context) return PyObject_GenericSetAttr(self, name, value);
    int failed = PyObject_SetAttr(context, name, value);
    if (failed && !value && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        no_attribute(self, name);
    }
    return failed;
}

/* ---- What an autograd.Function saved ---------------------------------------------------------------------------- */

static PyObject *unpacked(PyObject *self) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
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

static PyObject *as_kept(PyObject *self) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_node_check_saved(cx, NODE(self));
    if (st != HG_OK) return py_raise(cx, st);
    int n = hg_function_n_saved(NODE(self));
    PyObject *all = PyTuple_New(n);
    for (int i = 0; all && i < n; i++) {
        PyObject *one = py_saved_of_function(self, i, hg_function_saved_is_output(NODE(self), i));
        if (one)
            PyTuple_SET_ITEM(all, i, one);
        else
            Py_CLEAR(all);
    }
    return all;
}

PyObject *py_function_saved(PyObject *node, bool raw) { return raw ? as_kept(node) : unpacked(node); }

/* Nodes that are not a user's have no such attributes: `which` is the name of one. */
static PyObject *function_saved(PyObject *self, void *which) {
    const char *attribute = which;
    if (!is_users(NODE(self)))
        return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%s'", Py_TYPE(self)->tp_name,
                            attribute);
    if (!strcmp(attribute, "saved_variables") &&
        PyErr_WarnEx(PyExc_DeprecationWarning, "'saved_variables' is deprecated; use 'saved_tensors'", 1))
        return NULL;
    return py_function_saved(self, attribute[0] == '_');
}

static int discard(PyObject *set, const char *name) {
    PyObject *o = PyUnicode_FromString(name);
    int failed = !o || PySet_Discard(set, o) < 0;
    Py_XDECREF(o);
    return failed;
}

static PyObject *node_dir(PyObject *self, PyObject *none) {
    (void)none;
    PyObject *of_type = PyObject_Dir((PyObject *)Py_TYPE(self)), *list = of_type ? PySequence_List(of_type) : NULL;
    PyObject *context = hg_function_data(NODE(self));
    int failed = !list;
    if (context && !failed) { /* that of a Function calls itself an instance of the node's class */
        PyObject *more = PyObject_Dir(is_users(NODE(self)) ? (PyObject *)Py_TYPE(context) : context),
                 *joined = more ? PySequence_InPlaceConcat(list, more) : NULL;
        failed = !joined;
        Py_XDECREF(joined);
        Py_XDECREF(more);
    }
    if (is_users(NODE(self)) && !failed) {
        PyObject *dict = PyObject_GenericGetDict(context, NULL), *keys = dict ? PyDict_Keys(dict) : NULL,
                 *joined = keys ? PySequence_InPlaceConcat(list, keys) : NULL;
        failed = !joined;
        Py_XDECREF(joined);
        Py_XDECREF(keys);
        Py_XDECREF(dict);
    }
    if (!failed) failed = py_saved_list(self, list);
    PyObject *names = failed ? NULL : PySet_New(list);
    /* One type stands for all: what only some nodes have. */
    static const char *const of_functions[] = {"saved_tensors", "saved_variables", "_raw_saved_tensors"};
    for (int i = 0; names && !is_users(NODE(self)) && i < 3; i++) failed |= discard(names, of_functions[i]);
    if (names && !hg_node_variable(NODE(self))) failed |= discard(names, "variable");
    if (failed) Py_CLEAR(names);
    Py_XDECREF(list);
    Py_XDECREF(of_type);
    return names;
}

static PyObject *node_repr(PyObject *self) {
    const char *name = hg_node_name(NODE(self));
    bool of_function = is_users(NODE(self)) || !strcmp(name, "BackwardHookFunctionBackward");
    const char *where = of_function ? "torch.autograd.function." : "";
    return PyUnicode_FromFormat("<%s%s object at %p>", where, name, self);
}

static PyObject *node_name(PyObject *self, PyObject *none) {
    (void)none;
    char name[HG_NODE_NAME];
    return PyUnicode_FromString(hg_node_full_name(NODE(self), name));
}

static PyObject *node_next_functions(PyObject *self, void *unused) {
    (void)unused;
    int n = hg_node_n_next(NODE(self));
    /* What has no derivative has an edge for what needs one only. */
    bool only_needed = hg_node_op(NODE(self)) && strcmp(hg_node_name(NODE(self)), "NotImplemented") == 0;
    PyObject *all = PyList_New(0), *result;
    for (int i = 0; all && i < n; i++) {
        uint32_t nr;
        hg_node *next = hg_node_next(NODE(self), i, &nr);
        if (!next && only_needed) continue;
        PyObject *pair = Py_BuildValue("(NI)", py_node_wrap(next), (unsigned)(next ? nr : 0));
        if (!pair || PyList_Append(all, pair)) Py_CLEAR(all);
        Py_XDECREF(pair);
    }
    result = all ? PyList_AsTuple(all) : NULL;
    Py_XDECREF(all);
    return result;
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

static PyObject *node_set_sequence_nr(PyObject *self, PyObject *number) {
    unsigned long long seq = PyLong_AsUnsignedLongLong(number);
    if (seq == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    hg_node_set_seq(NODE(self), seq);
    Py_RETURN_NONE;
}

/* Shape, dtype and device of what gradients come to the node for, as attributes of an object each. */
static PyObject *node_input_metadata(PyObject *self, void *unused) {
    (void)unused;
    PyObject *types = PyImport_ImportModule("types"), *list = types ? PyList_New(0) : NULL;
    int failed = !list;
    for (int k = 0; k < hg_node_n_out(NODE(self)) && !failed; k++) {
        int n_dim;
        hg_dtype d;
        const int64_t *shape = hg_node_out_shape(NODE(self), k, &n_dim, &d);
        PyObject *sizes = py_int_tuple(shape, n_dim), *as_list = sizes ? PySequence_List(sizes) : NULL;
        PyObject *fields = as_list ? Py_BuildValue("{sOsOsOsOsO}", "shape", as_list, "dtype", hg_py->dtypes[d],
                                                   "device", hg_py->cpu, "is_nested_tensor", Py_False,
                                                   "is_cpp_nested_tensor", Py_False)
                                   : NULL;
        PyObject *kind = fields ? PyObject_GetAttrString(types, "SimpleNamespace") : NULL;
        PyObject *one = kind ? PyObject_Call(kind, hg_py->empty_tuple, fields) : NULL;
        failed = !one || PyList_Append(list, one);
        Py_XDECREF(one), Py_XDECREF(kind), Py_XDECREF(fields), Py_XDECREF(as_list), Py_XDECREF(sizes);
    }
    PyObject *result = failed ? NULL : PyList_AsTuple(list);
    Py_XDECREF(types), Py_XDECREF(list);
    return result;
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

/* The hooks of a tensor run at the node that made it: its table hangs there from the first registration on. */
static PyObject *node_register_hook_dict(PyObject *self, PyObject *tensor) {
    (void)self;
    hg_hooks *h = NULL;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (!py_is_tensor(tensor)) return PyErr_SetString(PyExc_TypeError, "_register_hook_dict() expected a Tensor"), NULL;
    hg_status st = hg_tensor_hooks(cx, TENSOR(tensor), HG_HOOK_TENSOR, false, &h);
    if (st == HG_OK && h) st = hg_tensor_set_hooks(cx, TENSOR(tensor), HG_HOOK_TENSOR, h);
    if (st != HG_OK) return py_raise(cx, st);
    Py_RETURN_NONE;
}

static PyObject *node_reduce(PyObject *self, PyObject *none) {
    (void)none;
    return PyErr_Format(PyExc_TypeError, "cannot pickle '%s' object", Py_TYPE(self)->tp_name);
}

/* node(*grads): the gradients it gives, without its hooks; one as it is, several as a tuple. */
static PyObject *node_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    Py_ssize_t n_out = hg_node_n_out(NODE(self)), n_in = hg_node_n_next(NODE(self)), n = PyTuple_GET_SIZE(args);
    if (is_users(NODE(self)))
        return PyErr_Format(PyExc_TypeError, "'%s' object is not callable", Py_TYPE(self)->tp_name);
    if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_Format(PyExc_TypeError, "keyword arguments are not supported");
    if (n != n_out) return PyErr_Format(PyExc_TypeError, "expected %zd arguments, got %zd instead", n_out, n);
    hg_tensor **grads = PyMem_Calloc((size_t)(n_out + n_in) + 1, sizeof *grads), **given = grads + n_out;
    if (!grads) return PyErr_NoMemory();
    PyObject *result = NULL;
    for (Py_ssize_t k = 0; k < n_out; k++) {
        PyObject *g = PyTuple_GET_ITEM(args, k);
        if (py_is_tensor(g)) {
            grads[k] = TENSOR(g);
        } else if (g != Py_None) {
            PyErr_Format(PyExc_TypeError, "argument %zd is not a Variable", k);
            goto done;
        }
    }
    hg_status st = hg_node_apply(cx, NODE(self), grads, given);
    result = st != HG_OK ? py_raise(cx, st) : n_in == 1 ? py_wrap(given[0]) : PyTuple_New(n_in);
    for (Py_ssize_t i = 0; result && n_in != 1 && i < n_in; i++) PyTuple_SET_ITEM(result, i, py_wrap(given[i]));
    for (Py_ssize_t i = 0; i < n_in; i++) hg_release(cx, given[i]);
done:
    PyMem_Free(grads);
    return result;
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
    if (SELF(self)->weakrefs || SELF(self)->metadata) hg_node_unlink(NODE(self));
    if (SELF(self)->weakrefs) PyObject_ClearWeakRefs(self);
    Py_CLEAR(SELF(self)->metadata);
    py_core_dealloc(HG_KIND_NODE, self);
}

static PyMethodDef node_methods[] = {
    {"name", node_name, METH_NOARGS, "The name of the derivative: \"AddBackward0\"."},
    {"_set_sequence_nr", node_set_sequence_nr, METH_O, "Change that number."},
    {"_sequence_nr", node_sequence_nr, METH_NOARGS, "Nodes run backward newest first: by this number."},
    {"register_hook", node_register_hook, METH_O,
     "register_hook(hook)\n--\n\n"
     "Call `hook(grad_inputs, grad_outputs)` when the node has run. A tuple it returns replaces grad_inputs.\n"
     "Returns a handle.\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.graph.Node.register_hook.html"},
    {"_register_hook_dict", node_register_hook_dict, METH_O, "Let the hooks of a tensor it made run here."},
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
    {"_input_metadata", node_input_metadata, NULL, "Shape, dtype and device of each gradient it is given.", NULL},
    {"saved_tensors", function_saved, NULL, "What forward gave to save_for_backward().", "saved_tensors"},
    {"saved_variables", function_saved, NULL, NULL, "saved_variables"},
    {"_raw_saved_tensors", function_saved, NULL, "The same as they are kept: hooks can be put on each.",
     "_raw_saved_tensors"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef node_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(py_node, weakrefs), READONLY, NULL},
                                     {NULL, 0, 0, 0, NULL}};

static PyType_Slot node_slots[] = {
    {Py_tp_dealloc, node_dealloc},
    {Py_tp_traverse, node_traverse},
    {Py_tp_clear, node_clear},
    {Py_tp_repr, node_repr},
    {Py_tp_call, node_call},
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

static bool is_node_type(PyTypeObject *type) { return type->tp_dealloc == node_dealloc; }

bool py_is_node(PyObject *o) { return is_node_type(Py_TYPE(o)); }

/* The name is what type(fn).__name__ and "<class 'AddBackward0'>" show; a spec wants a module as well, which goes
   again. `bases`, of a class of a Function's nodes, begin with such a class; NULL: there are none. */
static PyObject *type_make(const char *name, PyObject *bases) {
    char full[160];
    snprintf(full, sizeof full, "builtins.%s", name);
    /* As in every type made from a spec the destructor is not handed down. */
    PyType_Slot slots[] = {{Py_tp_dealloc, node_dealloc},
                           {Py_tp_traverse, node_traverse},
                           {Py_tp_clear, node_clear},
                           {Py_tp_new, py_function_bare},
                           {0, NULL}};
    PyType_Spec first = {full, sizeof(py_node), 1, NODE_FLAGS, node_slots},
                derived = {full, 0, 0, NODE_FLAGS & ~Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyTypeObject *base = bases ? (PyTypeObject *)PyTuple_GET_ITEM(bases, 0) : NULL;
    if (base) base->tp_flags |= Py_TPFLAGS_BASETYPE; /* for this one only: the class statement must not get at it */
    PyObject *type = base ? PyType_FromSpecWithBases(&derived, bases) : PyType_FromSpec(&first);
    if (base) base->tp_flags &= ~Py_TPFLAGS_BASETYPE;
    PyObject *bare = type ? PyUnicode_FromString(name) : NULL;
    if (!bare || PyObject_SetAttr(type, NAME(__name__), bare)) Py_CLEAR(type);
    Py_XDECREF(bare);
    return type;
}

/* Borrowed. */
static PyTypeObject *type_named(const char *name) {
    PyObject *key = PyUnicode_FromString(name);
    PyObject *type = key ? PyDict_GetItemWithError(hg_py->node_types, key) : NULL;
    if (key && !type && !PyErr_Occurred() && (type = type_make(name, NULL))) {
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
        PyTypeObject *type = type_named(hg_node_name(n));
        if (!type) return NULL;
        Py_INCREF(type);
        Py_SET_TYPE(self, type);
        Py_DECREF(was);
    }
    return Py_NewRef(self);
}

/* _C._node_class(name): the class of the nodes with that name, "AccumulateGrad" say. */
static PyObject *node_class(PyObject *Py_UNUSED(m), PyObject *name) {
    const char *chars = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (!chars && !PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "expected a name, not %.100s", Py_TYPE(name)->tp_name);
    return chars ? Py_XNewRef((PyObject *)type_named(chars)) : NULL;
}

/* _C._function_class(name, bases, attributes): a class of nodes of autograd.Functions. The first base is such a class. */
static PyObject *function_class(PyObject *Py_UNUSED(m), PyObject *args) {
    const char *name;
    PyObject *bases, *attributes, *key, *value;
    Py_ssize_t pos = 0;
    if (!PyArg_ParseTuple(args, "sO!O!:_function_class", &name, &PyTuple_Type, &bases, &PyDict_Type, &attributes))
        return NULL;
    PyObject *base = PyTuple_GET_SIZE(bases) ? PyTuple_GET_ITEM(bases, 0) : NULL;
    if (!base || !PyType_Check(base) || !PyType_IsSubtype((PyTypeObject *)base, hg_py->function_type))
        return PyErr_Format(PyExc_TypeError, "_function_class(): the first base must be a class of such nodes");
    PyObject *type = type_make(name, bases);
    while (type && PyDict_Next(attributes, &pos, &key, &value))
        if (PyObject_SetAttr(type, key, value)) Py_CLEAR(type);
    return type;
}

/* _C._is_node_class(class) */
static PyObject *is_node_class(PyObject *Py_UNUSED(m), PyObject *class) {
    return PyBool_FromLong(PyType_Check(class) && is_node_type((PyTypeObject *)class));
}

static PyMethodDef functions[] = {
    {"_is_node_class", is_node_class, METH_O, NULL},
    {"_function_class", function_class, METH_VARARGS, NULL},
    {"_node_class", node_class, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int py_node_init(PyObject *m) {
    if (!(hg_py->node_types = PyDict_New()) || py_saved_init(m)) return -1;
    if (PyModule_AddFunctions(m, functions)) return -1;
    if (py_type_add(m, &hg_py->node_type, &node_spec, NULL)) return -1;
    PyObject *module = PyUnicode_FromString("torch._C");
    hg_py->function_type = (PyTypeObject *)type_make("_FunctionBase", NULL);
    int failed = !module || !hg_py->function_type ||
                 PyObject_SetAttr((PyObject *)hg_py->function_type, NAME(__module__), module) ||
                 PyModule_AddObjectRef(m, "_FunctionBase", (PyObject *)hg_py->function_type);
    Py_XDECREF(module);
    return failed ? -1 : 0;
}
