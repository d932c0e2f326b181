/* Tensor classes with a __torch_function__ of their own.

   Note [Overrides]
   A call that one of a user's tensor classes takes part in goes to that class's __torch_function__, with the function that was
   called; the one that Tensor has runs the function and gives its tensors the class (hookgrad/overrides.py). Until a class like
   that exists a call pays one comparison, and afterwards one look at its arguments. nn.Parameter and its kin say
   `_disabled_torch_function_impl` and count as plain tensors. Attributes and methods of such a tensor are looked up by the
   __getattribute__ that its class is given. */
#include "py_op.h"

static _Thread_local int disabled; /* how many withs deep */

static bool class_overrides(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == hg_py->tensor_type || !py_is_tensor(o)) return false;
    return _PyType_Lookup(type, NAME(__torch_function__)) != hg_py->no_override;
}

bool py_overrides(PyObject *const *args, Py_ssize_t n) {
    if (!hg_py->override || disabled) return false;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (class_overrides(args[i])) return true;
        if (!PyList_Check(args[i]) && !PyTuple_Check(args[i])) continue;
        PyObject **items = PySequence_Fast_ITEMS(args[i]);
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(args[i]); k++)
            if (class_overrides(items[k])) return true;
    }
    return false;
}

/* Objects that are no tensors may have a __torch_function__, too: looked for where a call would otherwise fail. */
static bool stranger(PyObject *o) {
    return !py_is_tensor(o) && !PyType_Check(o) && _PyType_Lookup(Py_TYPE(o), NAME(__torch_function__));
}

bool py_override_strangers(PyObject *const *args, Py_ssize_t n) {
    bool found = false;
    for (Py_ssize_t i = 0; i < n && !found && !disabled; i++) found = stranger(args[i]);
    if (!found || hg_py->override) return found;
    PyObject *module = PyImport_ImportModule("hookgrad.overrides");
    hg_py->override = module ? PyObject_GetAttrString(module, "_call") : NULL;
    Py_XDECREF(module);
    if (!hg_py->override) PyErr_Clear();
    return hg_py->override;
}

PyObject *py_override(PyObject *function, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *tuple = PyTuple_New(n), *kwargs = PyDict_New(), *made = NULL;
    bool ok = tuple && kwargs;
    for (Py_ssize_t i = 0; ok && i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    for (Py_ssize_t k = 0; ok && kwnames && k < PyTuple_GET_SIZE(kwnames); k++)
        ok = PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, k), args[n + k]) == 0;
    if (ok) made = PyObject_CallFunctionObjArgs(hg_py->override, function, tuple, kwargs, NULL);
    Py_XDECREF(tuple);
    Py_XDECREF(kwargs);
    return made;
}

/* The same for an operator: the function is the method of the op's name, or torch's function where there is no method. A
   TypeError lets Python ask the other operand, as in torch. */
PyObject *py_override_op(hg_ctx *cx, int id, bool inplace, PyObject *const *args, Py_ssize_t n) {
    const hg_op_info *info = hg_op_at(cx->lib, id);
    PyObject *name = info ? PyUnicode_FromFormat(inplace ? "%s_" : "%s", info->name) : PyErr_NoMemory();
    if (!name) return NULL;
    PyObject *place = (PyObject *)hg_py->tensor_type;
    PyObject *function = PyObject_GetAttr(PyObject_HasAttr(place, name) ? place : hg_py->module, name);
    Py_DECREF(name);
    PyObject *made = function ? py_override(function, args, n, NULL) : NULL;
    Py_XDECREF(function);
    if (made || inplace || !PyErr_ExceptionMatches(PyExc_TypeError)) return made;
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
}

/* The same for a slot of the type: x[...] is Tensor.__getitem__. */
PyObject *py_override_slot(const char *name, PyObject *const *args, Py_ssize_t n) {
    PyObject *function = PyObject_GetAttrString((PyObject *)hg_py->tensor_type, name);
    PyObject *made = function ? py_override(function, args, n, NULL) : NULL;
    Py_XDECREF(function);
    return made;
}

/* ---- For the package -------------------------------------------------------------------------------------------- */

/* _override_with(call): there is a class that overrides; call(function, args, kwargs) asks it. */
static PyObject *override_with(PyObject *Py_UNUSED(m), PyObject *call) {
    Py_XSETREF(hg_py->override, Py_NewRef(call));
    Py_RETURN_NONE;
}

/* _override_off(by): by 1 in a with that disables overrides in this thread, by -1 at its end; 0 asks. How deep it is. */
static PyObject *override_off(PyObject *Py_UNUSED(m), PyObject *by) {
    long step = PyLong_AsLong(by);
    if (step == -1 && PyErr_Occurred()) return NULL;
    disabled += (int)step;
    return PyLong_FromLong(disabled);
}

/* What a class has as __torch_function__ that counts as a plain tensor: run the function. */
static PyObject *no_override(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *function, *types, *positional = hg_py->empty_tuple, *kwargs = NULL;
    if (!PyArg_ParseTuple(args, "OO|O!O:_disabled_torch_function_impl", &function, &types, &PyTuple_Type, &positional,
                          &kwargs))
        return NULL;
    disabled++;
    PyObject *made = PyObject_Call(function, positional, kwargs == Py_None ? NULL : kwargs);
    disabled--;
    return made;
}

static PyMethodDef functions[] = {
    {"_override_with", override_with, METH_O, NULL},
    {"_override_off", override_off, METH_O, NULL},
    {"_disabled_torch_function_impl", no_override, METH_VARARGS,
     "The __torch_function__ of classes whose tensors count as plain ones: it runs the function."},
    {NULL, NULL, 0, NULL},
};

int py_override_init(PyObject *m) {
    if (PyModule_AddFunctions(m, functions)) return -1;
    hg_py->no_override = PyObject_GetAttrString(m, "_disabled_torch_function_impl");
    return hg_py->no_override ? 0 : -1;
}
