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

/* _function_new(name, context, inputs) -> node */
static PyObject *function_new(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *name, *context, *inputs;
    hg_tensor **at;
    hg_node *n;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "UOO!:_function_new", &name, &context, &PyTuple_Type, &inputs)) return NULL;
    if (tensors_of(inputs, "apply", &at)) return NULL;
    hg_status st = hg_function_new(cx, PyUnicode_AsUTF8(name), apply, context, at, (int)PyTuple_GET_SIZE(inputs), &n);
    PyMem_Free(at);
    if (st != HG_OK) return py_raise(cx, st);
    PyObject *node = py_node_wrap(n);
    hg_release(cx, n);
    return node;
}

static hg_node *node_of(PyObject *o) {
    if (py_is(o, hg_py->node_type) && hg_function_data(NODE(o))) return NODE(o);
    PyErr_Format(PyExc_TypeError, "expected the node of an autograd.Function, got %.100s", Py_TYPE(o)->tp_name);
    return NULL;
}

/* _function_outputs(node, outputs, is): outputs are tensors and None; `is` has a byte of HG_OUT_ flags for each. */
static PyObject *function_outputs(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node, *outputs, *is;
    hg_tensor **at;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OO!S:_function_outputs", &node, &PyTuple_Type, &outputs, &is)) return NULL;
    hg_node *n = node_of(node);
    if (!n || tensors_of(outputs, "forward", &at)) return NULL;
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

/* ---- Saved-tensor hooks ----------------------------------------------------------------------------------------- */

/* The data of a level is a tuple: pack, unpack, and where they were given, for errors to say. */
enum { PACK, UNPACK, FILE_OF, LINE_OF };

/* The exception in flight came out of `pack` for t, or out of `unpack` for what the node being run has saved. */
static void annotate_saved(const hg_ctx *cx, PyObject *pair, int which, hg_tensor *t) {
    PyObject *type, *value, *traceback, *file = PyTuple_GET_ITEM(pair, FILE_OF), *owner;
    const hg_node *node = t ? t->grad_fn : hg_backward_node(cx);
    PyErr_Fetch(&type, &value, &traceback);
    if (node)
        owner = PyUnicode_FromFormat("what %s %s", hg_node_name(node), t ? "made" : "saved");
    else
        owner = PyUnicode_FromString(!t ? "a saved tensor" : t->requires_grad ? "a leaf" : "a tensor");
    if (!owner) PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    py_annotate(which == PACK ? "saved-tensor pack hook" : "saved-tensor unpack hook", PyTuple_GET_ITEM(pair, which),
                file == Py_None ? NULL : file, (int)PyLong_AsLong(PyTuple_GET_ITEM(pair, LINE_OF)), owner);
    Py_XDECREF(owner);
}

static hg_status py_pack(hg_ctx *cx, void *data, hg_tensor *t, void **packed) {
    PyObject *got = PyObject_CallOneArg(PyTuple_GET_ITEM((PyObject *)data, PACK), PY(t));
    if (!got) return annotate_saved(cx, data, PACK, t), PY_FAILED;
    *packed = got;
    return HG_OK;
}

static hg_status py_unpack(hg_ctx *cx, void *data, void *packed, hg_tensor **out) {
    PyObject *got = PyObject_CallOneArg(PyTuple_GET_ITEM((PyObject *)data, UNPACK), packed);
    if (got && !py_is_tensor(got)) {
        PyErr_Format(PyExc_TypeError,
                     "Output of saved tensor unpack_hook expected to be a Tensor but got result of type %.100s",
                     Py_TYPE(got)->tp_name);
        Py_CLEAR(got);
    }
    if (!got) return annotate_saved(cx, data, UNPACK, NULL), PY_FAILED;
    *out = TENSOR(got);
    return HG_OK;
}

static PyObject *pair_of(PyObject *args, const char *function) {
    PyObject *pack, *unpack;
    const void *file;
    int line;
    if (!PyArg_UnpackTuple(args, function, 2, 2, &pack, &unpack)) return NULL;
    PyObject *bad = !PyCallable_Check(pack) ? pack : !PyCallable_Check(unpack) ? unpack : NULL;
    if (bad)
        return PyErr_Format(PyExc_TypeError, "%s(): incompatible function arguments: '%s' must be callable, not %.100s",
                            function, bad == pack ? "pack_hook" : "unpack_hook", Py_TYPE(bad)->tp_name);
    py_site(&file, &line);
    return Py_BuildValue("OOOi", pack, unpack, file ? (PyObject *)file : Py_None, line);
}

static PyObject *push_hooks(PyObject *Py_UNUSED(m), PyObject *args) {
    hg_ctx *cx = py_ctx();
    PyObject *pair = cx ? pair_of(args, "saved_tensors_hooks") : NULL;
    if (!pair) return NULL;
    hg_status st = hg_saved_hooks_push(cx, &(hg_saved_hooks){py_pack, py_unpack, pair});
    Py_DECREF(pair);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

static PyObject *pop_hooks(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_saved_hooks_pop(cx);
    Py_RETURN_NONE;
}

static PyObject *top_hooks(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    const hg_saved_hooks *top = hg_saved_hooks_top(cx);
    return top && top->pack == py_pack ? PyTuple_GetSlice(top->data, PACK, FILE_OF) : Py_NewRef(Py_None);
}

/* _saved_hooks_disable(message or None) -> the message that was in force, or None */
static PyObject *disable_hooks(PyObject *Py_UNUSED(m), PyObject *words) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    const char *chars = NULL, *before = hg_saved_hooks_disabled(cx);
    if (words != Py_None && !(chars = PyUnicode_AsUTF8(words))) return NULL;
    PyObject *was = before ? PyUnicode_FromString(before) : Py_NewRef(Py_None);
    hg_status st = was ? hg_saved_hooks_disable(cx, chars) : HG_OK;
    if (st == HG_OK) return was;
    Py_DECREF(was);
    return py_raise(cx, st);
}

/* _node_pack(node, i, j, output, (pack, unpack)): see hg_node_pack(). */
static PyObject *node_pack(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node, *hooks;
    int i, j, output;
    hg_ctx *cx = py_ctx();
    if (!cx ||
        !PyArg_ParseTuple(args, "O!iipO!:_node_pack", hg_py->node_type, &node, &i, &j, &output, &PyTuple_Type, &hooks))
        return NULL;
    PyObject *pair = pair_of(hooks, "register_hooks");
    if (!pair) return NULL;
    hg_status st = hg_node_pack(cx, NODE(node), i, j, output, &(hg_saved_hooks){py_pack, py_unpack, pair});
    Py_DECREF(pair);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

static PyMethodDef functions[] = {
    {"_function_new", function_new, METH_VARARGS, NULL},   {"_function_outputs", function_outputs, METH_VARARGS, NULL},
    {"_function_save", function_save, METH_VARARGS, NULL}, {"_function_zeros", function_zeros, METH_VARARGS, NULL},
    {"_saved_hooks_push", push_hooks, METH_VARARGS, NULL}, {"_saved_hooks_pop", pop_hooks, METH_NOARGS, NULL},
    {"_saved_hooks_top", top_hooks, METH_NOARGS, NULL},    {"_saved_hooks_disable", disable_hooks, METH_O, NULL},
    {"_node_pack", node_pack, METH_VARARGS, NULL},         {NULL, NULL, 0, NULL},
};

int py_function_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
