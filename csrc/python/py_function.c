/* What autograd.Function needs of the core: hookgrad/autograd/function.py is the rest.

   The node owns the context object; the context reaches its node through a weak reference, so that a graph nobody holds
   goes at once. */
#include "py_hooks.h"

/* The tuple's tensors, borrowed; NULL for None. -1: something else is in it. */
static int tensors_of(PyObject *tuple, const char *function, hg_tensor ***out) {
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    hg_tensor **at = PyMem_Calloc((size_t)(n ? n : 1), sizeof *at);
    if (!at) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *o = PyTuple_GET_ITEM(tuple, i);
        if (py_is_tensor(o)) {
            at[i] = TENSOR(o);
        } else if (o != Py_None) {
            PyErr_Format(PyExc_TypeError, "%s can only save variables, but argument %zd is of type %.100s", function, i,
                         Py_TYPE(o)->tp_name);
            PyMem_Free(at);
            return -1;
        }
    }
    *out = at;
    return 0;
}

/* node._run_backward(*grads) -> a tuple, one entry for each input of forward. */
static hg_status apply(hg_ctx *cx, hg_node *n, void *data, hg_tensor **grad, hg_tensor **grad_in) {
    (void)cx, (void)data;
    Py_ssize_t n_out = hg_node_n_out(n), n_in = hg_node_n_next(n);
    PyObject *args = PyTuple_New(n_out), *node = args ? py_node_wrap(n) : NULL, *method = NULL, *got = NULL;
    hg_status st = PY_FAILED;
    for (Py_ssize_t k = 0; args && k < n_out; k++) PyTuple_SET_ITEM(args, k, py_wrap(grad[k]));
    if (node && (method = PyObject_GetAttrString(node, "_run_backward"))) got = PyObject_Call(method, args, NULL);
    Py_XDECREF(method);
    Py_XDECREF(node);
    Py_XDECREF(args);
    if (!got) return st;
    if (!PyTuple_Check(got) || PyTuple_GET_SIZE(got) != n_in) {
        PyErr_Format(PyExc_RuntimeError, "function %s returned an incorrect number of gradients (expected %zd)",
                     hg_node_name(n), n_in);
        goto done;
    }
    for (Py_ssize_t i = 0; i < n_in; i++) {
        PyObject *g = PyTuple_GET_ITEM(got, i);
        if (g != Py_None) grad_in[i] = TENSOR(Py_NewRef(g)); /* _run_backward let only tensors and None pass */
    }
    st = HG_OK;
done:
    Py_DECREF(got);
    return st;
}

/* The name of a class, kept for good: nodes point to it. */
static const char *name_kept(PyObject *class) {
    PyObject *name = PyObject_GetAttr(class, NAME(__name__));
    if (name && !hg_py->function_names) hg_py->function_names = PyDict_New();
    PyObject *kept = name && hg_py->function_names ? PyDict_SetDefault(hg_py->function_names, name, name) : NULL;
    Py_XDECREF(name);
    return kept ? PyUnicode_AsUTF8(kept) : NULL;
}

static PyObject *make(PyObject *class, PyObject *context, PyObject *inputs) {
    hg_tensor **at;
    hg_node *n;
    bool users = PyType_Check(class);
    hg_ctx *cx = py_ctx();
    const char *name = !cx ? NULL : users ? name_kept(class) : PyUnicode_AsUTF8(class);
    if (!name || tensors_of(inputs, "apply", &at)) return NULL;
    hg_status st = hg_function_new(cx, name, apply, context, at, (int)PyTuple_GET_SIZE(inputs), &n);
    PyMem_Free(at);
    if (st != HG_OK) return py_raise(cx, st);
    if (users) {
        PyTypeObject *was = Py_TYPE(PY(n));
        Py_SET_TYPE(PY(n), (PyTypeObject *)Py_NewRef(class));
        Py_DECREF(was);
    }
    PyObject *node = py_node_wrap(n);
    hg_release(cx, n);
    return node;
}

/* _function_new(class or name, context, inputs) -> node: a class of _function_class(), or the name of a node of PyTorch's own */
static PyObject *function_new(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *class, *context, *inputs;
    if (!PyArg_ParseTuple(args, "OOO!:_function_new", &class, &context, &PyTuple_Type, &inputs)) return NULL;
    if (!PyUnicode_Check(class) &&
        !(PyType_Check(class) && PyType_IsSubtype((PyTypeObject *)class, hg_py->function_type)))
        return PyErr_Format(PyExc_TypeError, "_function_new(): expected a class of nodes or a name, got %R", class);
    return make(class, context, inputs);
}

/* Fn._backward_cls(): a node that nothing leads to. */
PyObject *py_function_bare(PyTypeObject *class, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    PyObject *function = PyObject_GetAttrString((PyObject *)class, "_forward_cls");
    PyObject *context = function ? PyObject_CallMethod(function, "_context_cls", NULL) : NULL;
    PyObject *node = context ? make((PyObject *)class, context, hg_py->empty_tuple) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(context);
    return node;
}

static hg_node *node_of(PyObject *o) {
    if (py_is_node(o) && hg_function_data(NODE(o))) return NODE(o);
    PyErr_Format(PyExc_TypeError, "expected the node of an autograd.Function, got %.100s", Py_TYPE(o)->tp_name);
    return NULL;
}

/* _function_outputs(node or None, outputs, is): outputs are tensors and None; `is` has a byte of HG_OUT_ flags for each. */
static PyObject *function_outputs(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node, *outputs, *is;
    hg_tensor **at;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OO!S:_function_outputs", &node, &PyTuple_Type, &outputs, &is)) return NULL;
    hg_node *n = node == Py_None ? NULL : node_of(node);
    if ((!n && node != Py_None) || tensors_of(outputs, "forward", &at)) return NULL;
    if (PyTuple_GET_SIZE(outputs) != PyBytes_GET_SIZE(is)) {
        PyMem_Free(at);
        return PyErr_Format(PyExc_SystemError, "_function_outputs(): a byte of flags is wanted for each output");
    }
    hg_status st = hg_function_set_outputs(cx, n, at, (const uint8_t *)PyBytes_AS_STRING(is),
                                           (int)PyTuple_GET_SIZE(outputs));
    PyMem_Free(at);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

/* _function_save(node, tensors, once) */
static PyObject *function_save(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node, *tensors;
    int once;
    hg_tensor **at;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OO!p:_function_save", &node, &PyTuple_Type, &tensors, &once)) return NULL;
    hg_node *n = node_of(node);
    if (!n || tensors_of(tensors, "save_for_backward", &at)) return NULL;
    hg_status st = hg_function_save(cx, n, at, (int)PyTuple_GET_SIZE(tensors), once);
    PyMem_Free(at);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

/* _function_zeros(node, k) -> zeros like output k */
static PyObject *function_zeros(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node;
    int k;
    hg_tensor *t;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "Oi:_function_zeros", &node, &k)) return NULL;
    hg_node *n = node_of(node);
    if (!n) return NULL;
    hg_status st = hg_node_zeros(cx, n, k, &t);
    return st == HG_OK ? py_own(t) : py_raise(cx, st);
}

/* _function_saved(node, raw): its saved tensors, or what keeps them, also of a node that shows none. */
static PyObject *function_saved(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node;
    int raw;
    if (!PyArg_ParseTuple(args, "Op:_function_saved", &node, &raw) || !node_of(node)) return NULL;
    return py_function_saved(node, raw);
}

/* _function_wants(node) -> a bool for each edge: does the backward under way want the gradient that goes there? */
static PyObject *function_wants(PyObject *Py_UNUSED(m), PyObject *node) {
    hg_ctx *cx = py_ctx();
    hg_node *n = cx ? node_of(node) : NULL;
    PyObject *wants = n ? PyTuple_New(hg_node_n_next(n)) : NULL;
    for (Py_ssize_t i = 0; wants && i < PyTuple_GET_SIZE(wants); i++)
        PyTuple_SET_ITEM(wants, i, PyBool_FromLong(hg_backward_wants(cx, n, (uint32_t)i)));
    return wants;
}

static PyMethodDef functions[] = {
    {"_function_new", function_new, METH_VARARGS, NULL},
    {"_function_outputs", function_outputs, METH_VARARGS, NULL},
    {"_function_save", function_save, METH_VARARGS, NULL},
    {"_function_saved", function_saved, METH_VARARGS, NULL},
    {"_function_wants", function_wants, METH_O, NULL},
    {"_function_zeros", function_zeros, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int py_function_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
