/* x[...] and x[...] = value: Python's indices as the core's. */
#include "py_op.h"
#include "py_tensor.h"

enum { MAX_INDICES = 2 * HG_MAX_DIM };

/* The indices of one subscript, and the tensors made for it. */
typedef struct subscript {
    hg_index at[MAX_INDICES];
    PyObject *made[MAX_INDICES];
    PyObject *tuple; /* owned, may be NULL: what a sequence stood for, and holds the tensors in it */
    int n, n_made;
} subscript;

static void subscript_done(subscript *s) {
    for (int i = 0; i < s->n_made; i++) Py_DECREF(s->made[i]);
    Py_XDECREF(s->tuple);
}

/* A plain bound of a slice, `none` where it is open. */
static inline bool plain_bound(PyObject *o, int64_t none, int64_t *to) {
    int overflow = 0;
    if (o != Py_None && !PyLong_CheckExact(o)) return false;
    *to = o == Py_None ? none : PyLong_AsLongLongAndOverflow(o, &overflow);
    return !overflow;
}

static int put_slice(PyObject *o, hg_index *to) {
    Py_ssize_t start, stop, step;
    PySliceObject *slice = (PySliceObject *)o;
    PyObject *given = slice->step;
    to->kind = HG_IX_SLICE, to->step = 1, to->t = NULL;
    if (given == Py_None && plain_bound(slice->start, 0, &to->start) && plain_bound(slice->stop, INT64_MAX, &to->stop))
        return 0;
    if (PyIndex_Check(given)) {
        int64_t wanted;
        if (py_int64(given, &wanted)) return -1;
        if (wanted < 0) {
            PyErr_SetString(PyExc_ValueError, "step must be greater than zero");
            return -1;
        }
    }
    if (PySlice_Unpack(o, &start, &stop, &step)) return -1;
    *to = (hg_index){
        .kind = HG_IX_SLICE, .start = start, .stop = stop == PY_SSIZE_T_MAX ? INT64_MAX : stop, .step = step};
    return 0;
}

/* A sequence or an array of indices, as a tensor. The numbers of a sequence are integers, also those written as floats. */
static int put_sequence(PyObject *o, subscript *s) {
    PyObject *made = py_as_tensor(o, HG_NO_DTYPE, false);
    if (!made) return -1;
    if (!py_is_array(o) && hg_dtype_is_float((hg_dtype)TENSOR(made)->dtype)) {
        Py_DECREF(made);
        if (!(made = py_as_tensor(o, HG_I64, false))) return -1;
    }
    s->made[s->n_made++] = made;
    s->at[s->n++] = (hg_index){.kind = HG_IX_TENSOR, .t = TENSOR(made)};
    return 0;
}

static int put(PyObject *o, subscript *s) {
    if (s->n == MAX_INDICES) {
        PyErr_SetString(PyExc_IndexError, "too many indices");
        return -1;
    }
    hg_index *to = &s->at[s->n];
    if (PyLong_CheckExact(o)) {
        to->kind = HG_IX_INT, to->t = NULL;
        return s->n++, py_int64(o, &to->start);
    }
    if (PySlice_Check(o)) return s->n++, put_slice(o, to);
    if (o == Py_None || o == Py_Ellipsis) {
        *to = (hg_index){.kind = o == Py_None ? HG_IX_NEW : HG_IX_ELLIPSIS};
        return s->n++, 0;
    }
    if (PyBool_Check(o)) {
        *to = (hg_index){.kind = HG_IX_BOOL, .start = o == Py_True};
        return s->n++, 0;
    }
    if (py_is_tensor(o)) {
        hg_tensor *t = TENSOR(o);
        *to = (hg_index){.kind = HG_IX_TENSOR, .t = t};
        s->n++;
        bool mask = t->dtype == HG_BOOL || t->dtype == HG_U8;
        if (t->n_dim || mask || hg_dtype_is_float(t->dtype)) return 0;
        if (hg_maps_of(py_ctx(), t)) return 0; /* the others have another */
        to->kind = HG_IX_INT;                  /* an integer in disguise: a view, as with the integer itself */
        return py_int64(o, &to->start);
    }
    if (PyUnicode_Check(o)) {
        PyErr_Format(PyExc_TypeError, "new(): invalid data type '%.100s'", Py_TYPE(o)->tp_name);
        return -1;
    }
    hg_arg number; /* NumPy's booleans and integers, told apart here since its booleans have an __index__ as well */
    match m = py_is_array(o) ? MATCH_NO : py_number_arg(o, &number);
    if (m == MATCH_FAILED) return -1;
    if (m == MATCH_YES && number.kind != HG_A_FLOAT) {
        *to = (hg_index){.kind = number.kind == HG_A_BOOL ? HG_IX_BOOL : HG_IX_INT, .start = number.u.i};
        return s->n++, 0;
    }
    if (PyIndex_Check(o) && !py_is_array(o)) {
        *to = (hg_index){.kind = HG_IX_INT};
        return s->n++, py_int64(o, &to->start);
    }
    if (PySequence_Check(o)) return put_sequence(o, s);
    PyErr_Format(PyExc_IndexError,
                 "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                 "(got %.100s)",
                 Py_TYPE(o)->tp_name);
    return -1;
}

/* Does a sequence stand for the tuple of its items? The old rule of NumPy: a short one does whose items are not all numbers.
   An item that cannot be had ends the question. */
static bool stands_for_tuple(PyObject *at) {
    if (PyLong_CheckExact(at) || PySlice_Check(at) || py_is_tensor(at) || py_is_array(at) || PyUnicode_Check(at) ||
        !PySequence_Check(at))
        return false;
    Py_ssize_t n = PySequence_Size(at);
    bool found = false;
    for (Py_ssize_t i = 0; i < n && n < 32 && !found; i++) {
        PyObject *item = PySequence_GetItem(at, i);
        if (!item) break;
        found = item == Py_None || item == Py_Ellipsis || PySlice_Check(item) || PySequence_Check(item) ||
                py_is_tensor(item);
        Py_DECREF(item);
    }
    PyErr_Clear();
    return found;
}

/* The items of such a sequence, as a new tuple. */
static PyObject *tuple_of(PyObject *at) {
    if (PyErr_WarnEx(PyExc_UserWarning,
                     "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in "
                     "pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as "
                     "tensor index, x[torch.tensor(seq)], which will result either in an error or a different result",
                     1))
        return NULL;
    return PySequence_Tuple(at);
}

static int parse(PyObject *at, subscript *s) {
    s->n = s->n_made = 0, s->tuple = NULL;
    int failed = 0;
    if (!PyTuple_Check(at) && stands_for_tuple(at)) {
        if (!(s->tuple = tuple_of(at))) return -1;
        at = s->tuple;
    }
    if (!PyTuple_Check(at))
        failed = put(at, s);
    else
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(at) && !failed; i++) failed = put(PyTuple_GET_ITEM(at, i), s);
    if (failed) subscript_done(s);
    return failed;
}

PyObject *py_tensor_get(PyObject *self, PyObject *at) {
    hg_ctx *cx = py_ctx();
    subscript s;
    hg_tensor *out;
    bool is_int = PyLong_CheckExact(at);
    if ((is_int || PySlice_Check(at)) && Py_TYPE(self) == hg_py->tensor_type && cx && !hg_py->function_modes) {
        hg_index one;
        one.kind = HG_IX_INT;
        if (is_int ? py_int64(at, &one.start) : put_slice(at, &one)) return NULL;
        hg_status st = hg_get_index(cx, TENSOR(self), &one, 1, &out);
        return st == HG_OK ? py_own(out) : py_raise(cx, st);
    }
    if (hg_py->override && py_overrides((PyObject *[]){self, at}, 2))
        return py_override_slot("__getitem__", (PyObject *[]){self, at}, 2);
    if (!cx) return NULL;
    if (parse(at, &s)) {
        if (!py_override_strangers(&at, 1)) return NULL;
        return py_override_slot("__getitem__", (PyObject *[]){self, at}, 2);
    }
    hg_status st = hg_get_index(cx, TENSOR(self), s.at, s.n, &out);
    subscript_done(&s);
    return st == HG_OK ? py_own(out) : py_raise(cx, st);
}

static int set_by_override(PyObject *self, PyObject *at, PyObject *value) {
    PyObject *none = py_override_slot("__setitem__", (PyObject *[]){self, at, value}, 3);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

int py_tensor_set(PyObject *self, PyObject *at, PyObject *value) {
    hg_ctx *cx = py_ctx();
    subscript s;
    int failed;
    if (!cx) return -1;
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "Tensor does not support deleting items");
        return -1;
    }
    if (hg_py->override && py_overrides((PyObject *[]){self, at, value}, 3)) return set_by_override(self, at, value);
    hg_arg v = py_arg_of(value, &failed);
    if (failed) return -1;
    if (v.kind == HG_A_NONE) {
        if (py_override_strangers(&value, 1)) return set_by_override(self, at, value);
        PyErr_Format(PyExc_TypeError, "can't assign a %.100s to a torch.%s", Py_TYPE(value)->tp_name,
                     hg_dtypes[TENSOR(self)->dtype].tensor_name);
        return -1;
    }
    if (parse(at, &s)) {
        if (!py_override_strangers(&at, 1)) return -1;
        return set_by_override(self, at, value);
    }
    hg_status st = hg_set_index(cx, TENSOR(self), s.at, s.n, v);
    subscript_done(&s);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

PyObject *py_tensor_setitem(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    if (n != 2) return PyErr_Format(PyExc_TypeError, "expected 2 arguments, got %zd", n);
    return py_tensor_set(self, args[0], args[1]) ? NULL : Py_NewRef(Py_None);
}
