/* What the process uses of the machine: threads. */
#include "binding.h"

static PyObject *get_num_threads(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyLong_FromLong(hg_get_num_threads());
}

static PyObject *set_num_threads(PyObject *Py_UNUSED(m), PyObject *n) {
    if (!PyLong_Check(n) || PyBool_Check(n))
        return PyErr_Format(PyExc_RuntimeError, "set_num_threads expects an int, but got %s", Py_TYPE(n)->tp_name);
    int overflow;
    long wanted = PyLong_AsLongAndOverflow(n, &overflow);
    if (overflow < 0 || (!overflow && wanted <= 0))
        return PyErr_SetString(PyExc_RuntimeError, "set_num_threads expects a positive integer"), NULL;
    hg_set_num_threads(overflow || wanted > INT_MAX ? INT_MAX : (int)wanted);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"get_num_threads", get_num_threads, METH_NOARGS, "How many threads one large operation may use."},
    {"set_num_threads", set_num_threads, METH_O, "Let one large operation use that many threads."},
    {NULL, NULL, 0, NULL},
};

int py_machine_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
