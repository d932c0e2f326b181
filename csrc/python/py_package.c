/* Package: the type of a module of Python's that finds some of its names late.

   Python caches no look-up in a module with a __getattr__, and asks three dictionaries each time: `torch.zeros` took 20 ns
   longer than another module's name. Of a name that the module has there is nothing to decide, so its own dictionary comes
   first here (Note [Versions of dictionaries] in py_module.c), and the module's way only where that has nothing. */
#include "py_module.h"

static PyObject *package_getattro(PyObject *self, PyObject *name) {
    PyObject *found = py_own_attribute(PyModule_GetDict(self), name);
    if (found) return Py_NewRef(found);
    return PyErr_Occurred() ? NULL : PyModule_Type.tp_getattro(self, name);
}

static PyType_Slot slots[] = {{Py_tp_getattro, package_getattro}, {0, NULL}};

static PyType_Spec spec = {
    .name = "hookgrad._C._Package",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = slots,
};

int py_package_init(PyObject *m) { return py_type_add(m, &hg_py->package_type, &spec, &PyModule_Type); }
