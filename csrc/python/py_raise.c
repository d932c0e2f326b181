/* Contexts of threads, and failures as exceptions. */
#include "binding.h"

PY_THREAD_LOCAL hg_ctx *py_this_ctx;

/* The thread's dictionary owns its context, so that it is freed with the lock held when the thread ends. */
static void ctx_drop(PyObject *capsule) {
    hg_ctx *cx = PyCapsule_GetPointer(capsule, "hookgrad.context");
    if (py_this_ctx == cx) py_this_ctx = NULL;
    hg_ctx_free(cx);
}

hg_ctx *py_ctx_new(void) {
    hg_ctx *cx;
    if (hg_ctx_new(hg_py->lib, &cx) != HG_OK) {
        PyErr_NoMemory();
        return NULL;
    }
    PyObject *capsule = PyCapsule_New(cx, "hookgrad.context", ctx_drop);
    if (!capsule) {
        hg_ctx_free(cx);
        return NULL;
    }
    PyObject *dict = PyThreadState_GetDict();
    int failed = dict ? PyDict_SetItemString(dict, "hookgrad.context", capsule) : -1;
    if (!failed) py_this_ctx = cx;
    Py_DECREF(capsule);
    if (failed && !PyErr_Occurred()) PyErr_NoMemory();
    return failed ? NULL : cx;
}

/* The one place where a status becomes an exception. */
PyObject *py_raise(hg_ctx *cx, hg_status st) {
    PyObject *class = PyExc_SystemError;
    switch (st) {
    case HG_HOST:
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_SystemError, "a host function failed without an exception");
        return NULL;
    case HG_MEMORY: class = hg_py->out_of_memory; break;
    case HG_SHAPE:
    case HG_STATE: class = PyExc_RuntimeError; break;
    case HG_TYPE: class = PyExc_TypeError; break;
    case HG_VALUE: class = PyExc_ValueError; break;
    case HG_INDEX: class = PyExc_IndexError; break;
    case HG_MISSING: class = PyExc_NotImplementedError; break;
    case HG_LINALG: class = hg_py->linalg_error; break;
    case HG_OK: break;
    }
    PyErr_SetString(class, hg_error(cx));
    return NULL;
}
