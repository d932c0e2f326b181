/* Package: the type of a module of Python's that finds some of its names late, and knows what was put in their place.

   Python caches no look-up in a module with a __getattr__, and asks three dictionaries each time: `torch.zeros` took 20 ns
   longer than another module's name. Of a name that the module has there is nothing to decide, so its own dictionary comes
   first here (Note [Versions of dictionaries] in py_module.c), and the module's way only where that has nothing. */
#include "py_module.h"

static PyObject *package_getattro(PyObject *self, PyObject *name) {
    PyObject *dict = *(PyObject **)((char *)self + PyModule_Type.tp_dictoffset);
    PyObject *found = py_own_attribute(dict, name), *late;
    if (found) return Py_NewRef(found);
    if (PyErr_Occurred()) return NULL;
    /* What a library has put on `object` (nnsight: save) would hide what is found late. */
    if (PyUnicode_READ_CHAR(name, 0) != '_' && PyObject_HasAttr((PyObject *)Py_TYPE(self), name) &&
        (late = PyDict_GetItemWithError(dict, NAME(__getattr__)))) {
        if ((found = PyObject_CallOneArg(late, name)) || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
        PyErr_Clear();
    }
    return PyModule_Type.tp_getattro(self, name);
}

/* What calls a function of that name in PyTorch, and does not here, is to be told: hookgrad/nn/_inner.py. */
static int tell_changed(PyObject *self, PyObject *name, bool replaced) {
    PyObject *inner = PyImport_ImportModule("hookgrad.nn._inner");
    PyObject *told = inner ? PyObject_CallMethod(inner, "changed", "OOO", self, name, replaced ? Py_True : Py_False)
                           : NULL;
    Py_XDECREF(inner);
    Py_XDECREF(told);
    return told ? 0 : -1;
}

/* A function, or class, was replaced or put back: layers in C ask whether any is. The key is (module, name). */
static int note_replaced(PyObject *self, PyObject *name, PyObject *was, PyObject *value) {
    if (!hg_py->originals && !(hg_py->originals = PyDict_New())) return -1;
    Py_ssize_t n_before = PyDict_GET_SIZE(hg_py->originals);
    PyObject *originals = hg_py->originals, *key = PyTuple_Pack(2, self, name);
    PyObject *original = key ? PyDict_GetItemWithError(originals, key) : NULL;
    int failed = !key || (!original && PyErr_Occurred()) ? -1 : 0;
    if (!failed && original && original == value)
        failed = PyDict_DelItem(originals, key);
    else if (!failed && !original && was && was != value && PyCallable_Check(was))
        failed = PyDict_SetItem(originals, key, was);
    Py_XDECREF(key);
    Py_ssize_t more = PyDict_GET_SIZE(originals) - n_before;
    hg_py->n_replaced += more;
    return failed || !more ? failed : tell_changed(self, name, more > 0);
}

static int package_setattro(PyObject *self, PyObject *name, PyObject *value) {
    PyObject *was = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(self), name));
    int failed = !was && PyErr_Occurred() ? -1 : PyModule_Type.tp_setattro(self, name, value);
    if (!failed) failed = note_replaced(self, name, was, value);
    Py_XDECREF(was);
    return failed;
}

static PyType_Slot slots[] = {
    {Py_tp_getattro, package_getattro},
    {Py_tp_setattro, package_setattro},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "hookgrad._C._Package",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

/* _is_replaced(module, name): does something else stand there than the package put there? */
static PyObject *is_replaced(PyObject *Py_UNUSED(m), PyObject *key) {
    int found = hg_py->originals ? PyDict_Contains(hg_py->originals, key) : 0;
    return found < 0 ? NULL : PyBool_FromLong(found);
}

static PyMethodDef functions[] = {{"_is_replaced", is_replaced, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

int py_package_init(PyObject *m) {
    if (PyModule_AddFunctions(m, functions)) return -1;
    return py_type_add(m, &hg_py->package_type, &spec, &PyModule_Type);
}
