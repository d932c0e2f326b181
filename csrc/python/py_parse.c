/* Arguments of the binding's own methods, and single values between Python and C. */
#include "py_op.h"

enum { PARSE_MAX = 16 };

/* The place of `name` among comma-separated names; -1: not there. */
static int place_of(const char *names, PyObject *name) {
    Py_ssize_t n;
    const char *chars = PyUnicode_AsUTF8AndSize(name, &n);
    if (!chars) return PyErr_Clear(), -1;
    int i = 0;
    for (const char *at = names; at; at = strchr(at, ','), at = at ? at + 1 : NULL, i++)
        if (!strncmp(at, chars, (size_t)n) && (at[n] == ',' || !at[n])) return i;
    return -1;
}

/* Says which of the first n names have no value, as Python does for its own functions. */
static int missing(const char *function, const char *names, int n, PyObject *const *at) {
    char list[160] = "";
    int n_missing = 0, n_said = 0;
    for (int i = 0; i < n; i++) n_missing += !at[i];
    for (int i = 0; i < n; i++, names += *names == ',') {
        int length = (int)strcspn(names, ",");
        size_t used = strlen(list);
        const char *before = !n_said ? "" : n_missing == 2 ? " and " : n_said + 1 < n_missing ? ", " : ", and ";
        if (!at[i]) {
            snprintf(list + used, sizeof list - used, "%s'%.*s'", before, length, names);
            n_said++;
        }
        names += length;
    }
    PyErr_Format(PyExc_TypeError, "%s() missing %d required positional argument%s: %s", function, n_missing,
                 n_missing == 1 ? "" : "s", list);
    return -1;
}

int py_parse(const char *function, const char *names, int n_required, PyObject *const *args, Py_ssize_t n_args,
             PyObject *kwnames, PyObject **at) {
    int n = 1, self = strchr(function, '.') != NULL;
    for (const char *c = names; *c; c++) n += *c == ',';
    if (n_args > n) {
        char from[24] = "";
        if (n_required < n) snprintf(from, sizeof from, "from %d to ", n_required + self);
        PyErr_Format(PyExc_TypeError, "%s() takes %s%d positional argument%s but %zd were given", function, from,
                     n + self, n + self == 1 && !*from ? "" : "s", n_args + self);
        return -1;
    }
    for (int i = 0; i < n; i++) at[i] = i < n_args ? args[i] : NULL;
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = place_of(names, name);
        if (i < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
            return -1;
        }
        if (at[i]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, name);
            return -1;
        }
        at[i] = args[n_args + k];
    }
    for (int i = 0; i < n_required; i++)
        if (!at[i]) return missing(function, names, n_required, at);
    return 0;
}

int py_bool(PyObject *o, const char *function, const char *name) {
    if (!o || o == Py_False || o == Py_None) return 0;
    if (o == Py_True) return 1;
    if (PyLong_Check(o) || py_is_tensor(o) || !strncmp(Py_TYPE(o)->tp_name, "numpy.bool", 10))
        return PyObject_IsTrue(o);
    PyErr_Format(PyExc_TypeError, "%s(): argument '%s' must be bool, not %.100s", function, name, Py_TYPE(o)->tp_name);
    return -1;
}

int py_int64(PyObject *o, int64_t *out) {
    PyObject *whole = PyLong_CheckExact(o) ? NULL : PyNumber_Index(o);
    if (!whole && !PyLong_CheckExact(o)) return -1;
    long long i = PyLong_AsLongLong(whole ? whole : o);
    Py_XDECREF(whole);
    if (i == -1 && PyErr_Occurred()) return py_too_large();
    *out = i;
    return 0;
}

int py_too_large(void) {
    PyErr_Clear();
    PyErr_SetString(PyExc_ValueError, "Overflow when unpacking long long");
    return -1;
}

int py_double(PyObject *o, double *out) {
    double f = PyFloat_AsDouble(o);
    if (f == -1.0 && PyErr_Occurred()) return -1;
    *out = f;
    return 0;
}

int py_ints(PyObject *o, int64_t *space, int *n, const char *function, const char *name) {
    if (!PyTuple_Check(o) && !PyList_Check(o)) {
        *n = 1;
        if (!PyIndex_Check(o) || PyBool_Check(o)) {
            PyErr_Format(PyExc_TypeError, "%s(): argument '%s' must be tuple of ints, not %.100s", function, name,
                         Py_TYPE(o)->tp_name);
            return -1;
        }
        return py_int64(o, space);
    }
    PyObject *items = PySequence_Tuple(o);
    if (!items) return -1;
    Py_ssize_t size = PyTuple_GET_SIZE(items);
    int failed = 0;
    if (size > HG_MAX_DIM) {
        PyErr_Format(PyExc_RuntimeError, "%s(): a tensor has at most %d dimensions, not %zd", function, HG_MAX_DIM,
                     size);
        failed = -1;
    }
    for (Py_ssize_t i = 0; i < size && !failed; i++) {
        PyObject *one = PyTuple_GET_ITEM(items, i);
        if (!PyIndex_Check(one) || PyBool_Check(one)) {
            PyErr_Format(PyExc_TypeError,
                         "%s(): argument '%s' failed to unpack the object at pos %zd with error \"type must be "
                         "tuple of ints,but got %s\"",
                         function, name, i + 1, Py_TYPE(one)->tp_name);
            failed = -1;
        } else {
            failed = py_int64(one, &space[i]);
        }
    }
    *n = (int)size;
    Py_DECREF(items);
    return failed;
}

PyObject *py_number(const hg_arg *number) {
    switch (number->kind) {
    case HG_A_BOOL: return PyBool_FromLong(number->u.i != 0);
    case HG_A_INT: return PyLong_FromLongLong(number->u.i);
    default: return PyFloat_FromDouble(number->u.f);
    }
}

hg_arg py_arg_of(PyObject *o, int *failed) {
    hg_arg a = HG_NONE;
    *failed = 0;
    if (PyFloat_CheckExact(o)) return hg_f(PyFloat_AS_DOUBLE(o));
    if (py_is_tensor(o)) return hg_t(TENSOR(o));
    *failed = py_number_arg(o, &a) == MATCH_FAILED;
    return a;
}
