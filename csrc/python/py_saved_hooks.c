/* Saved-tensor hooks: those in force, and what torch._C._autograd says of them. */
#include "py_hooks.h"

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
    if (PyTuple_GET_SIZE(args) != 2)
        return PyErr_Format(PyExc_TypeError,
                            "%s(): incompatible function arguments: expected pack_hook and unpack_hook", function);
    pack = PyTuple_GET_ITEM(args, 0), unpack = PyTuple_GET_ITEM(args, 1);
    PyObject *bad = !PyCallable_Check(pack) ? pack : !PyCallable_Check(unpack) ? unpack : NULL;
    if (bad)
        return PyErr_Format(PyExc_TypeError, "%s(): incompatible function arguments: '%s' must be callable, not %.100s",
                            function, bad == pack ? "pack_hook" : "unpack_hook", Py_TYPE(bad)->tp_name);
    py_site(&file, &line);
    return Py_BuildValue("OOOi", pack, unpack, file ? (PyObject *)file : Py_None, line);
}

/* ---- Those of one saved tensor ---------------------------------------------------------------------------------- */

PyObject *py_saved_pack(PyObject *node, int i, int j, bool output, PyObject *hooks) {
    hg_ctx *cx = py_ctx();
    PyObject *pair = cx ? pair_of(hooks, "register_hooks") : NULL;
    if (!pair) return NULL;
    hg_status st = hg_node_pack(cx, NODE(node), i, j, output, &(hg_saved_hooks){py_pack, py_unpack, pair});
    Py_DECREF(pair);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

PyObject *py_saved_packed(PyObject *node, int i, int j, bool output, PyObject **unpack) {
    void *packed;
    const hg_saved_hooks *hooks = hg_node_packed(NODE(node), i, j, output, &packed);
    if (!hooks || hooks->pack != py_pack) return NULL;
    *unpack = PyTuple_GET_ITEM((PyObject *)hooks->data, UNPACK);
    return packed;
}

/* ---- Those in force --------------------------------------------------------------------------------------------- */

static PyObject *push_hooks(PyObject *Py_UNUSED(m), PyObject *args) {
    hg_ctx *cx = py_ctx();
    PyObject *pair = cx ? pair_of(args, "_push_saved_tensors_default_hooks") : NULL;
    if (!pair) return NULL;
    hg_status st = hg_saved_hooks_push(cx, &(hg_saved_hooks){py_pack, py_unpack, pair});
    Py_DECREF(pair);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

static PyObject *pop_hooks(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (!hg_saved_hooks_top(cx))
        return PyErr_SetString(PyExc_RuntimeError, "there are no saved-tensor hooks in force that could end"), NULL;
    hg_saved_hooks_pop(cx);
    Py_RETURN_NONE;
}

static PyObject *top_hooks(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(ignore_is_tracing)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    const hg_saved_hooks *top = hg_saved_hooks_top(cx);
    return top && top->pack == py_pack ? PyTuple_GetSlice(top->data, PACK, FILE_OF) : Py_NewRef(Py_None);
}

static PyObject *disable_hooks(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    const char *words;
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("_saved_tensors_hooks_disable", "error_message,fail_if_non_empty", 1, args, n, kwnames, at) ||
        !(words = PyUnicode_AsUTF8(at[0])))
        return NULL;
    int fail = at[1] ? PyObject_IsTrue(at[1]) : 1;
    if (fail < 0) return NULL;
    hg_status st = hg_saved_hooks_disable(cx, words, fail);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

static PyObject *enable_hooks(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_saved_hooks_enable(cx);
    Py_RETURN_NONE;
}

static PyObject *call_unseen(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    struct hg_saved_level *saved = cx->saved;
    cx->saved = NULL;
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, (size_t)n - 1, NULL);
    cx->saved = saved;
    return result;
}

static PyObject *disabled_message(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    const char *words = hg_saved_hooks_disabled(cx);
    return words ? PyUnicode_FromString(words) : Py_NewRef(Py_None);
}

static PyObject *hooks_enabled(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(!hg_saved_hooks_disabled(cx)) : NULL;
}

static PyObject *keep_graph(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(hg_backward_keeps(cx)) : NULL;
}

static PyMethodDef functions[] = {
    {"_push_saved_tensors_default_hooks", push_hooks, METH_VARARGS, "Put a pair of hooks in force."},
    {"_pop_saved_tensors_default_hooks", pop_hooks, METH_NOARGS, "End the innermost pair."},
    {"_top_saved_tensors_default_hooks", top_hooks, METH_O, "The innermost pair, or None."},
    {"_saved_tensors_hooks_disable", FAST(disable_hooks), KEYWORDS,
     "_saved_tensors_hooks_disable(error_message, fail_if_non_empty=True)"},
    {"_saved_tensors_hooks_enable", enable_hooks, METH_NOARGS, NULL},
    {"_unseen", FAST(call_unseen), METH_FASTCALL,
     "_unseen(function, *args): call it; no hook is shown the tensors that are saved meanwhile."},
    {"_saved_tensors_hooks_is_enabled", hooks_enabled, METH_NOARGS, NULL},
    {"_saved_tensors_hooks_get_disabled_error_message", disabled_message, METH_NOARGS, NULL},
    {"_get_current_graph_task_keep_graph", keep_graph, METH_NOARGS,
     "Does the backward under way keep what is saved? True where there is none."},
    {NULL, NULL, 0, NULL},
};

int py_saved_hooks_init(PyObject *m) {
    PyObject *sub = PyImport_AddModule("hookgrad._C._autograd"); /* borrowed */
    if (!sub || PyModule_AddFunctions(sub, functions)) return -1;
    if (PyModule_AddObjectRef(sub, "SavedTensor", (PyObject *)hg_py->saved_type)) return -1;
    return PyModule_AddObjectRef(m, "_autograd", sub);
}
