/* Tensors that exchange what they are, and who stands against it: Note [Held tensors] in hookgrad.h. */
#include "py_tensor.h"

/* t._swap(other): the two exchange their contents, classes and attributes, and stay who they are. */
static PyObject *swap(PyObject *self, PyObject *other) {
    PyTypeObject *a = Py_TYPE(self), *b = Py_TYPE(other);
    if (!py_is_tensor(other))
        return PyErr_Format(PyExc_TypeError, "_swap(): expected a Tensor, not %.100s", b->tp_name);
    if (a->tp_basicsize != b->tp_basicsize || a->tp_dictoffset != b->tp_dictoffset)
        return PyErr_SetString(PyExc_RuntimeError, "Cannot swap t1 and t2 if they have different slots"), NULL;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    PyObject *dict = ((py_tensor *)self)->dict;
    ((py_tensor *)self)->dict = ((py_tensor *)other)->dict;
    ((py_tensor *)other)->dict = dict;
    Py_SET_TYPE(self, b); /* each type has as many instances as before */
    Py_SET_TYPE(other, a);
    hg_tensor_swap(cx, TENSOR(self), TENSOR(other));
    Py_RETURN_NONE;
}

static int forget(void *obj, bool is_core, void *Py_UNUSED(holder)) {
    if (is_core && py_is_tensor(PY(obj))) ((hg_tensor *)obj)->n_held = 0;
    return 0;
}

/* What `holder`, a core object, owns. A leaf's accumulator does not count. */
static int count(void *obj, bool is_core, void *holder) {
    if (!is_core || !py_is_tensor(PY(obj))) return 0;
    hg_tensor *t = obj;
    if (t->n_held < HG_HELD && holder != hg_tensor_live_accumulator(t)) t->n_held++;
    return 0;
}

/* Tensors that own nothing are not among the collector's objects. */
static int count_all(void) {
    PyObject *gc = PyImport_ImportModule("gc"), *all = gc ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
    Py_XDECREF(gc);
    for (int again = 0; all && again < 2; again++)
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(all); i++) {
            PyObject *o = PyList_GET_ITEM(all, i);
            bool tensor = py_is_tensor(o);
            if (tensor && !again) TENSOR(o)->n_held = 0;
            if (tensor || py_is_node(o))
                hg_visit(tensor ? HG_KIND_TENSOR : HG_KIND_NODE, CORE(o), again ? count : forget, CORE(o));
        }
    Py_XDECREF(all);
    return all ? 0 : -1;
}

/* t._held(): whether a node or a tensor has it; else its accumulator, where there is one. */
static PyObject *held(PyObject *self, PyObject *Py_UNUSED(none)) {
    hg_tensor *t = TENSOR(self);
    if (t->n_held) {
        t->n_held = 0;
        if (count_all()) return NULL;
    }
    if (t->n_held) Py_RETURN_TRUE;
    return py_node_wrap(hg_tensor_live_accumulator(t));
}

PyMethodDef py_swap_methods[] = {
    {"_swap", swap, METH_O, "Exchange contents, class and attributes: see torch.utils.swap_tensors."},
    {"_held", held, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
