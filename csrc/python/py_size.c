/* torch.Size: a tuple of sizes that stays one when it is cut, joined or repeated. */
#include "binding.h"

/* Note [Sizes met before]
   x.shape asks for the same few sizes over and over. A Size never changes, so the one made for the same numbers before serves
   again: there is a place for each remainder of a simple sum of them. */
enum { PLACES = 64, PLACE_DIMS = 4 };

static struct {
    PyObject *size; /* owned; NULL: the place is free */
    int n;
    int64_t at[PLACE_DIMS];
} places[PLACES];

/* Fills o, a tuple that is new and may be NULL: steals it, new. */
static PyObject *filled(PyObject *o, const int64_t *at, int n) {
    for (int i = 0; o && i < n; i++) {
        PyObject *one = PyLong_FromLongLong(at[i]);
        if (one)
            PyTuple_SET_ITEM(o, i, one);
        else
            Py_CLEAR(o);
    }
    return o;
}

static PyObject *size_new_of(const int64_t *at, int n) {
    return filled(hg_py->size_type->tp_alloc(hg_py->size_type, n), at, n);
}

PyObject *py_size(const int64_t *at, int n) {
    if (n > PLACE_DIMS) return size_new_of(at, n);
    uint64_t sum = (uint64_t)n;
    for (int i = 0; i < n; i++) sum = sum * 31 + (uint64_t)at[i];
    uint64_t k = sum % PLACES;
    bool same = places[k].size && places[k].n == n;
    for (int i = 0; i < n && same; i++) same = places[k].at[i] == at[i];
    if (same) return Py_NewRef(places[k].size);
    PyObject *made = size_new_of(at, n);
    if (!made) return NULL;
    Py_XSETREF(places[k].size, Py_NewRef(made));
    places[k].n = n;
    for (int i = 0; i < n; i++) places[k].at[i] = at[i];
    return made;
}

PyObject *py_int_tuple(const int64_t *at, int n) { return filled(PyTuple_New(n), at, n); }

/* A Size of any tuple's items; steals the tuple, which may be NULL. */
static PyObject *resized(PyObject *tuple) {
    if (!tuple || !PyTuple_Check(tuple)) return tuple;
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    PyObject *o = hg_py->size_type->tp_alloc(hg_py->size_type, n);
    for (Py_ssize_t i = 0; o && i < n; i++) PyTuple_SET_ITEM(o, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
    Py_DECREF(tuple);
    return o;
}

static PyObject *size_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *self = PyTuple_Type.tp_new(type, args, kwargs);
    if (!self) return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); i++) {
        PyObject *item = PyTuple_GET_ITEM(self, i);
        if (PyLong_Check(item)) continue;
        PyObject *whole = PyNumber_Index(item); /* one-element integer tensors, NumPy's integers */
        if (!whole) {
            PyErr_Format(PyExc_TypeError, "torch.Size() takes an iterable of 'int' (item %zd is '%.100s')", i,
                         Py_TYPE(item)->tp_name);
            Py_DECREF(self);
            return NULL;
        }
        PyTuple_SET_ITEM(self, i, whole);
        Py_DECREF(item);
    }
    return self;
}

static PyObject *size_repr(PyObject *self) {
    PyObject *list = PySequence_List(self), *repr = list ? PyUnicode_FromFormat("torch.Size(%R)", list) : NULL;
    Py_XDECREF(list);
    return repr;
}

static PyObject *size_subscript(PyObject *self, PyObject *at) {
    PyObject *got = PyTuple_Type.tp_as_mapping->mp_subscript(self, at);
    return PySlice_Check(at) ? resized(got) : got;
}

static PyObject *size_concat(PyObject *self, PyObject *other) {
    return resized(PyTuple_Type.tp_as_sequence->sq_concat(self, other));
}

/* `a + b` asks this one first, whichever side the Size is on: a plain tuple has no nb_add. */
static PyObject *size_add(PyObject *a, PyObject *b) {
    if (!PyTuple_Check(a) || !PyTuple_Check(b)) Py_RETURN_NOTIMPLEMENTED;
    return size_concat(a, b);
}

static PyObject *size_repeat(PyObject *self, Py_ssize_t n) {
    return resized(PyTuple_Type.tp_as_sequence->sq_repeat(self, n));
}

static PyObject *size_numel(PyObject *self, PyObject *Py_UNUSED(none)) {
    int64_t n = 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); i++) {
        int64_t one = PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
        if (one == -1 && PyErr_Occurred()) return NULL;
        n *= one;
    }
    return PyLong_FromLongLong(n);
}

static PyObject *size_reduce(PyObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *plain = PyTuple_GetSlice(self, 0, PyTuple_GET_SIZE(self));
    return plain ? Py_BuildValue("O(N)", Py_TYPE(self), plain) : NULL;
}

static PyMethodDef size_methods[] = {
    {"numel", size_numel, METH_NOARGS, "The number of elements a tensor of this size has."},
    {"__reduce__", size_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot size_slots[] = {
    {Py_tp_new, size_new},
    {Py_tp_repr, size_repr},
    {Py_tp_methods, size_methods},
    {Py_mp_subscript, size_subscript},
    {Py_nb_add, size_add},
    {Py_sq_concat, size_concat},
    {Py_sq_repeat, size_repeat},
    {Py_tp_doc, "The sizes of a tensor's dimensions."},
    {0, NULL},
};

static PyType_Spec size_spec = {
    .name = "hookgrad.Size",
    .basicsize = 0, /* a tuple's */
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = size_slots,
};

int py_size_init(PyObject *m) { return py_type_add(m, &hg_py->size_type, &size_spec, &PyTuple_Type); }
