/* The backward under way as Python may ask about it, and what watches the graph: hookgrad/autograd/anomaly_mode.py and
   graph.py are the rest. */
#include "py_hooks.h"

/* ---- The backward under way ------------------------------------------------------------------------------------- */

static PyObject *current_graph_task_id(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyLong_FromLongLong(hg_backward_id(cx)) : NULL;
}

static PyObject *current_autograd_node(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? py_node_wrap(hg_backward_node(cx)) : NULL;
}

static PyObject *is_checkpoint_valid(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    return cx ? PyBool_FromLong(hg_backward_is_whole(cx)) : NULL;
}

static PyObject *will_engine_execute_node(PyObject *Py_UNUSED(m), PyObject *node) {
    hg_ctx *cx = py_ctx();
    bool runs;
    if (!cx) return NULL;
    if (!py_is_node(node))
        return PyErr_Format(PyExc_RuntimeError, "_will_engine_execute_node expects an grad_fn, but got %.100s",
                            Py_TYPE(node)->tp_name);
    if (hg_backward_id(cx) < 0)
        return PyErr_SetString(PyExc_RuntimeError,
                               "_get_should_execute_nodes should only be called during the backward pass"),
               NULL;
    hg_status st = hg_backward_will_run(cx, NODE(node), &runs);
    return st == HG_OK ? PyBool_FromLong(runs) : py_raise(cx, st);
}

static hg_status list_node(hg_ctx *cx, hg_node *n, void *list) {
    (void)cx;
    PyObject *node = py_node_wrap(n);
    int failed = !node || PyList_Append(list, node);
    Py_XDECREF(node);
    return failed ? PY_FAILED : HG_OK;
}

static PyObject *execution_order(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (hg_backward_id(cx) < 0)
        return PyErr_SetString(PyExc_RuntimeError,
                               "_current_graph_task_execution_order should only be called during the backward pass"),
               NULL;
    if (!hg_py->one_thread)
        return PyErr_SetString(
                   PyExc_RuntimeError,
                   "get_current_graph_task_execution_order expects the current backward to be executed with "
                   "multithreading disabled, e.g. by running:\n\n"
                   ">>> with torch.autograd.set_multithreading_enabled(False):\n"
                   "...     torch.autograd.grad(...)\n"),
               NULL;
    PyObject *list = PyList_New(0);
    hg_status st = list ? hg_backward_order(cx, list_node, list) : PY_FAILED;
    if (st != HG_OK) Py_CLEAR(list);
    return st == HG_OK ? list : py_raise(cx, st);
}

/* _node_output(node, k): a tensor whose gradient is what arrives there. */
static PyObject *node_output(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *node;
    int k;
    hg_tensor *t;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "Oi:_node_output", &node, &k)) return NULL;
    if (!py_is_node(node))
        return PyErr_Format(PyExc_RuntimeError,
                            "GradientEdge's first object must be an autograd.graph.Node but got %.100s",
                            Py_TYPE(node)->tp_name);
    hg_status st = hg_node_output(cx, NODE(node), k, &t);
    return st == HG_OK ? py_own(t) : py_raise(cx, st);
}

static PyObject *increment_version(PyObject *Py_UNUSED(m), PyObject *tensor) {
    if (!py_is_tensor(tensor))
        return PyErr_Format(PyExc_RuntimeError,
                            "increment_version expects each element of the iterable to be a tensor");
    hg_ctx *cx = py_ctx();
    hg_status st = !cx ? PY_FAILED : TENSOR(tensor)->storage ? hg_wrote(cx, TENSOR(tensor)) : HG_OK;
    return st == HG_OK ? Py_NewRef(Py_None) : cx ? py_raise(cx, st) : NULL;
}

/* _unsafe_set_version_counter(tensors, versions) */
static PyObject *set_versions(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *tensors, *versions;
    if (!PyArg_ParseTuple(args, "O!O!:_unsafe_set_version_counter", &PyTuple_Type, &tensors, &PyTuple_Type, &versions))
        return NULL;
    if (PyTuple_GET_SIZE(tensors) != PyTuple_GET_SIZE(versions))
        return PyErr_SetString(PyExc_RuntimeError, "Expected as many versions as tensors"), NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tensors); i++) {
        PyObject *tensor = PyTuple_GET_ITEM(tensors, i);
        int64_t version;
        if (py_int64(PyTuple_GET_ITEM(versions, i), &version)) return NULL;
        if (!py_is_tensor(tensor))
            return PyErr_Format(PyExc_TypeError, "expected Tensor, got %.100s", Py_TYPE(tensor)->tp_name);
        if (TENSOR(tensor)->storage) *hg_version_of(TENSOR(tensor)->storage) = (uint32_t)version;
    }
    Py_RETURN_NONE;
}

/* `queued` is the callback, and where it was queued. */
static hg_status call_back(hg_ctx *cx, void *queued) {
    (void)cx;
    PyObject *fn = PyTuple_GET_ITEM(queued, 0), *file = PyTuple_GET_ITEM(queued, 1), *got = PyObject_CallNoArgs(fn);
    Py_XDECREF(got);
    if (got) return HG_OK;
    PyObject *type, *value, *traceback, *owner;
    PyErr_Fetch(&type, &value, &traceback);
    if (!(owner = PyUnicode_FromString("the backward"))) PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    py_annotate("queued callback", fn, file == Py_None ? NULL : file, (int)PyLong_AsLong(PyTuple_GET_ITEM(queued, 2)),
                owner);
    Py_XDECREF(owner);
    return PY_FAILED;
}

static PyObject *queue_callback(PyObject *Py_UNUSED(m), PyObject *fn) {
    const void *file;
    int line;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    py_site(&file, &line);
    PyObject *queued = Py_BuildValue("OOi", fn, file ? (PyObject *)file : Py_None, line);
    if (!queued) return NULL;
    hg_status st = hg_backward_then(cx, call_back, queued);
    Py_DECREF(queued);
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

/* ---- Watching --------------------------------------------------------------------------------------------------- */

/* What `born` returns is to be the node's metadata: the node itself is not yet fit to be shown. */
static hg_status born(hg_ctx *cx, hg_node *n) {
    (void)cx;
    PyObject *metadata = PyObject_CallNoArgs(hg_py->watch_born);
    if (!metadata) return PY_FAILED;
    Py_XSETREF(((py_node *)PY(n))->metadata, metadata);
    return HG_OK;
}

/* The error stays what it is, whatever happens here. */
static void failed(hg_ctx *cx, hg_node *n) {
    PyObject *type, *value, *traceback;
    hg_status status = cx->status;
    char words[sizeof cx->words];
    memcpy(words, cx->words, sizeof words);
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *node = py_node_wrap(n), *got = node ? PyObject_CallOneArg(hg_py->watch_failed, node) : NULL;
    Py_XDECREF(node);
    Py_XDECREF(got);
    PyErr_Restore(type, value, traceback);
    memcpy(cx->words, words, sizeof words);
    cx->status = status;
}

static hg_status writing(hg_ctx *cx, hg_tensor *t) {
    (void)cx;
    PyObject *got = PyObject_CallOneArg(hg_py->watch_writing, PY(t));
    Py_XDECREF(got);
    return got ? HG_OK : PY_FAILED;
}

/* _watch_nodes(born, failed, check_nan): `born()` gives the metadata of each new node, `failed(node)` is called when its
   backward has failed. None: not watched any more. */
static PyObject *watch_nodes(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *on_birth, *on_failure;
    int check_nan;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OOp:_watch_nodes", &on_birth, &on_failure, &check_nan)) return NULL;
    hg_watch *w = hg_watching(cx->lib);
    bool on = on_birth != Py_None;
    w->born = on ? born : NULL;
    w->failed = on ? failed : NULL;
    w->check_nan = on && check_nan;
    Py_XSETREF(hg_py->watch_born, on ? Py_NewRef(on_birth) : NULL);
    Py_XSETREF(hg_py->watch_failed, on ? Py_NewRef(on_failure) : NULL);
    Py_RETURN_NONE;
}

/* _watch_writes(writing): `writing(tensor)` is called before the tensor is changed in place. None: no more. */
static PyObject *watch_writes(PyObject *Py_UNUSED(m), PyObject *fn) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    bool on = fn != Py_None;
    hg_watching(cx->lib)->writing = on ? writing : NULL;
    Py_XSETREF(hg_py->watch_writing, on ? Py_NewRef(fn) : NULL);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_current_graph_task_id", current_graph_task_id, METH_NOARGS,
     "The number of the backward under way; -1: there is none."},
    {"_current_autograd_node", current_autograd_node, METH_NOARGS, "The node being run, or None."},
    {"_is_checkpoint_valid", is_checkpoint_valid, METH_NOARGS, "Does the backward under way run everything?"},
    {"_current_graph_task_execution_order", execution_order, METH_NOARGS,
     "The nodes of the backward under way, as they have their turn."},
    {"_will_engine_execute_node", will_engine_execute_node, METH_O, "Does the backward under way run the node?"},
    {"_node_output", node_output, METH_VARARGS, NULL},
    {"_increment_version", increment_version, METH_O, NULL},
    {"_unsafe_set_version_counter", set_versions, METH_VARARGS, "Give tensors other versions."},
    {"_queue_callback", queue_callback, METH_O, "Call this when the backward under way is done."},
    {"_watch_nodes", watch_nodes, METH_VARARGS, NULL},
    {"_watch_writes", watch_writes, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int py_watch_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
