/* torch.Generator. The default one is the library's; any other carries its own state. */
#include "binding.h"

typedef struct py_generator_object {
    PyObject_HEAD
    hg_generator *at; /* own, or the library's */
    hg_generator own;
} py_generator_object;

static hg_generator *generator_of(PyObject *self) { return ((py_generator_object *)self)->at; }

static const uint64_t default_seed = 67280421310721; /* torch's */

static PyObject *generator_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"device", NULL};
    PyObject *device = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Generator", names, &device) || py_device(device, "Generator"))
        return NULL;
    py_generator_object *self = (py_generator_object *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->at = &self->own;
    hg_generator_seed(self->at, default_seed);
    return (PyObject *)self;
}

static void generator_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Seeds may be negative, as torch allows: they count from 2^64 down. */
static int seed_of(PyObject *o, uint64_t *out) {
    PyObject *whole = PyNumber_Long(o);
    if (!whole) return -1;
    int overflow;
    long long low = PyLong_AsLongLongAndOverflow(whole, &overflow);
    *out = overflow > 0 ? PyLong_AsUnsignedLongLong(whole) : (uint64_t)low;
    Py_DECREF(whole);
    if (overflow < 0 || PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_SetString(PyExc_ValueError, "manual_seed(): expected a seed from -2^63 to 2^64 - 1");
        return -1;
    }
    return 0;
}

static PyObject *generator_manual_seed(PyObject *self, PyObject *seed) {
    uint64_t value;
    if (seed_of(seed, &value)) return NULL;
    hg_generator_seed(generator_of(self), value);
    return Py_NewRef(self);
}

static PyObject *generator_initial_seed(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromUnsignedLongLong(generator_of(self)->seed);
}

/* A seed nobody chose, from the system's own source. */
static PyObject *generator_seed(PyObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *os = PyImport_ImportModule("os"), *bytes = os ? PyObject_CallMethod(os, "urandom", "i", 8) : NULL;
    Py_XDECREF(os);
    if (!bytes) return NULL;
    uint64_t value;
    memcpy(&value, PyBytes_AS_STRING(bytes), sizeof value);
    Py_DECREF(bytes);
    hg_generator_seed(generator_of(self), value);
    return PyLong_FromUnsignedLongLong(value);
}

/* The state travels as a tensor of bytes; it means something to hookgrad only. */
static PyObject *generator_get_state(PyObject *self, PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    int64_t size = sizeof(hg_generator);
    hg_tensor *t;
    hg_status st = hg_tensor_empty(cx, HG_U8, 1, &size, &t);
    if (st != HG_OK) return py_raise(cx, st);
    memcpy(t->data, generator_of(self), sizeof(hg_generator));
    return py_own(t);
}

static PyObject *generator_set_state(PyObject *self, PyObject *state) {
    if (!py_is_tensor(state))
        return PyErr_Format(PyExc_TypeError, "set_state(): argument 'new_state' must be Tensor, not %.100s",
                            Py_TYPE(state)->tp_name);
    hg_tensor *t = TENSOR(state);
    if (t->dtype != HG_U8 || !t->contiguous)
        return PyErr_SetString(PyExc_TypeError, "RNG state must be a torch.ByteTensor"), NULL;
    hg_generator read;
    if (t->numel != sizeof read) return PyErr_SetString(PyExc_RuntimeError, "RNG state is wrong size"), NULL;
    memcpy(&read, t->data, sizeof read);
    if (read.at < 0 || read.at > 624)
        return PyErr_SetString(PyExc_RuntimeError, "RNG state is not one of get_state()"), NULL;
    *generator_of(self) = read;
    return Py_NewRef(self);
}

static PyObject *generator_clone_state(PyObject *self, PyObject *Py_UNUSED(none)) {
    PyObject *clone = generator_new(Py_TYPE(self), hg_py->empty_tuple, NULL);
    if (clone) *generator_of(clone) = *generator_of(self);
    return clone;
}

static PyObject *generator_device(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure)) { return Py_NewRef(hg_py->cpu); }

static PyMethodDef generator_methods[] = {
    {"manual_seed", generator_manual_seed, METH_O, "Start again from a seed; returns the generator."},
    {"initial_seed", generator_initial_seed, METH_NOARGS, "The seed it was last started from."},
    {"seed", generator_seed, METH_NOARGS, "Start again from a seed of the system's; returns the seed."},
    {"get_state", generator_get_state, METH_NOARGS, "The state as a tensor of bytes."},
    {"set_state", generator_set_state, METH_O, "Go back to a state of get_state()."},
    {"clone_state", generator_clone_state, METH_NOARGS, "A generator in the same state."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef generator_attributes[] = {
    {"device", generator_device, NULL, "The device it makes numbers for.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot generator_slots[] = {
    {Py_tp_new, generator_new},
    {Py_tp_dealloc, generator_dealloc},
    {Py_tp_methods, generator_methods},
    {Py_tp_getset, generator_attributes},
    {Py_tp_doc, "A stream of random numbers, the one PyTorch makes from the same seed."},
    {0, NULL},
};

static PyType_Spec generator_spec = {
    .name = "hookgrad._C.Generator",
    .basicsize = sizeof(py_generator_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = generator_slots,
};

hg_generator *py_generator(PyObject *o) {
    if (o == Py_None) return hg_default_generator(hg_py->lib);
    if (Py_TYPE(o) == hg_py->generator_type) return generator_of(o);
    PyErr_Format(PyExc_TypeError, "argument 'generator' must be torch.Generator, not %.100s", Py_TYPE(o)->tp_name);
    return NULL;
}

PyObject *py_generator_object_of(hg_generator *g) {
    if (!g || g == hg_default_generator(hg_py->lib)) Py_RETURN_NONE;
    return Py_NewRef((PyObject *)((char *)g - offsetof(py_generator_object, own)));
}

int py_generator_init(PyObject *m) { return py_type_add(m, &hg_py->generator_type, &generator_spec, NULL); }

/* Once the library is open. */
int py_default_generator_init(PyObject *m) {
    PyObject *o = hg_py->default_generator = generator_new(hg_py->generator_type, hg_py->empty_tuple, NULL);
    if (!o) return -1;
    ((py_generator_object *)o)->at = hg_default_generator(hg_py->lib);
    return PyModule_AddObjectRef(m, "default_generator", o);
}
