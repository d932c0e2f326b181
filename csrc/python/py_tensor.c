/* The type Tensor: its life, its constructor, its slots. What it can do is in the files py_tensor.h names. */
#include "py_op.h"
#include "py_tensor.h"

/* ---- Life ------------------------------------------------------------------------------------------------------- */

/* Note [Tensors without attributes]
   Where Python 3.11 has found a method it remembers only for objects that have a dictionary; later versions do for those that
   have none yet. So on 3.11 a tensor without attributes points to an empty dictionary, the same one for all, that it does not
   own. Nobody sees or fills it: whoever asks for a tensor's dictionary, or is about to write to it, takes it away first. */
static inline bool has_attributes(const py_tensor *t) { return t->dict && t->dict != hg_py->no_attributes; }

/* A dictionary of its own, or none. */
static inline void own_attributes_only(PyObject *self) {
    py_tensor *t = (py_tensor *)self;
    if (t->dict == hg_py->no_attributes) t->dict = NULL;
}

static void drop_attributes(py_tensor *t) {
    PyObject *dict = t->dict == hg_py->no_attributes ? NULL : t->dict;
    t->dict = hg_py->no_attributes;
    Py_XDECREF(dict);
}

static int tensor_traverse(PyObject *self, visitproc visit, void *arg) {
    if (has_attributes((py_tensor *)self)) Py_VISIT(((py_tensor *)self)->dict);
    return py_core_traverse(HG_KIND_TENSOR, self, visit, arg);
}

static int tensor_clear(PyObject *self) {
    drop_attributes((py_tensor *)self);
    py_core_clear(HG_KIND_TENSOR, self);
    return 0;
}

static void tensor_dealloc(PyObject *self) {
    py_tensor *t = (py_tensor *)self;
    PyObject_GC_UnTrack(self);
    if (t->weakrefs) PyObject_ClearWeakRefs(self);
    if (t->dict != hg_py->no_attributes) drop_attributes(t);
    if (Py_TYPE(self) == hg_py->tensor_type && hg_tensor_retire(hg_py->lib, &t->core))
        py_reborn(self);
    else
        py_core_dealloc(HG_KIND_TENSOR, self);
}

/* A plain tensor is shown to the collector from the moment it owns anything, a dictionary included. */
static void tensor_track(PyObject *self) {
    py_tensor *t = (py_tensor *)self;
    if (!t->dict) t->dict = hg_py->no_attributes;
    if (has_attributes(t) && !PyObject_GC_IsTracked(self)) PyObject_GC_Track(self);
}

static int tensor_setattro(PyObject *self, PyObject *name, PyObject *value) {
    int asked = hg_py->override ? py_override_set(self, name, value) : 0;
    if (asked) return asked < 0 ? -1 : 0;
    own_attributes_only(self);
    int failed = PyObject_GenericSetAttr(self, name, value);
    tensor_track(self);
    return failed;
}

static PyObject *tensor_get_dict(PyObject *self, void *closure) {
    own_attributes_only(self);
    PyObject *dict = PyObject_GenericGetDict(self, closure);
    tensor_track(self);
    return dict;
}

static int tensor_set_dict(PyObject *self, PyObject *value, void *closure) {
    own_attributes_only(self);
    int failed = PyObject_GenericSetDict(self, value, closure);
    tensor_track(self);
    return failed;
}

/* A tensor of a class that is asked about ops does not become one of another class: it says what it is by itself. */
static int check_retyped(PyObject *type, PyObject *from) {
    if (!py_dispatches(from) || Py_TYPE(from) == (PyTypeObject *)type) return 0;
    PyErr_Format(
        PyExc_RuntimeError,
        "Creating a new Tensor subclass %.100s but the raw Tensor object is already associated to a python object of "
        "type %.100s",
        ((PyTypeObject *)type)->tp_name, Py_TYPE(from)->tp_name);
    return -1;
}

static int check_class(PyObject *cls) {
    if (!PyType_Check(cls))
        PyErr_Format(PyExc_TypeError, "cls must be a type (got %.100s)", Py_TYPE(cls)->tp_name);
    else if (!PyType_IsSubtype((PyTypeObject *)cls, hg_py->tensor_type))
        PyErr_Format(PyExc_TypeError,
                     "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make "
                     "sure your class inherits from Tensor.");
    return PyErr_Occurred() ? -1 : 0;
}

/* A view of all of `self`, of that class: new. */
static PyObject *alias_of(hg_ctx *cx, PyTypeObject *type, PyObject *self) {
    if (type != hg_py->tensor_type && check_retyped((PyObject *)type, self)) return NULL;
    PyObject *view = py_call_op(cx, HG_OP_ALIAS, (hg_arg[]){hg_t(TENSOR(self))}, 1);
    if (type == hg_py->tensor_type) return view;
    PyObject *made = view ? type->tp_alloc(type, 0) : NULL;
    hg_status st = made ? hg_tensor_become(cx, TENSOR(made), TENSOR(view)) : HG_OK;
    const hg_watch *watch = hg_watching(cx->lib);
    if (made && st == HG_OK && watch->known_as) st = watch->known_as(cx, TENSOR(view), TENSOR(made));
    Py_XDECREF(view);
    if (st == HG_OK) return made;
    Py_DECREF(made);
    return py_raise(cx, st);
}

/* ---- The constructor -------------------------------------------------------------------------------------------- */

/* A tensor of the type that is what `from` is: new. The type's own constructor is not called. */
static PyObject *tensor_like(hg_ctx *cx, PyTypeObject *type, const hg_tensor *from) {
    PyObject *self = type->tp_alloc(type, 0);
    if (!self) return NULL;
    ((py_tensor *)self)->dict = hg_py->no_attributes;
    hg_status st = hg_tensor_set_data(cx, TENSOR(self), from);
    TENSOR(self)->is_inference = hg_still_inference(cx, from);
    if (st == HG_OK) return self;
    Py_DECREF(self);
    return py_raise(cx, st);
}

static bool all_ints(PyObject *args) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *o = PyTuple_GET_ITEM(args, i);
        if (PyBool_Check(o) || py_is_tensor(o) || !PyIndex_Check(o)) return false;
        if (PyLong_Check(o)) continue;
        PyObject *index = PyNumber_Index(o); /* an array has the slot, and refuses */
        if (!index) return PyErr_Clear(), false;
        Py_DECREF(index);
    }
    return true;
}

/* Tensor() is empty, Tensor(2, 3) has that size, Tensor(data) has that data, in the default dtype. (Tensor(tensor) is a view.) */
static PyObject *legacy_data(hg_ctx *cx, PyObject *args) {
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    PyObject *one = n == 1 ? PyTuple_GET_ITEM(args, 0) : NULL;
    if (all_ints(args) || (one && Py_TYPE(one) == hg_py->size_type)) {
        int64_t sizes[HG_MAX_DIM];
        int n_dim = 0;
        hg_tensor *made;
        if (n == 0)
            sizes[n_dim++] = 0;
        else if (py_ints(one && PyTuple_Check(one) ? one : args, sizes, &n_dim, "Tensor", "size"))
            return NULL;
        for (int i = 0; i < n_dim; i++)
            if (sizes[i] < 0)
                return PyErr_Format(PyExc_RuntimeError, "Trying to create tensor with negative dimension %lld",
                                    (long long)sizes[i]);
        hg_status st = hg_tensor_empty(cx, hg_default_dtype(cx), n_dim, sizes, &made);
        return st == HG_OK ? py_own(made) : py_raise(cx, st);
    }
    if (n == 1 && PyUnicode_Check(one))
        return PyErr_Format(PyExc_TypeError, "new(): invalid data type '%.100s'", Py_TYPE(one)->tp_name);
    if (n == 1 && !PySequence_Check(one))
        return PyErr_Format(PyExc_TypeError, "new(): data must be a sequence (got %.100s)", Py_TYPE(one)->tp_name);
    if (n == 1) return py_as_tensor(one, hg_default_dtype(cx), true);
    return PyErr_Format(PyExc_TypeError,
                        "new() received an invalid combination of arguments: expected sizes (ints), or one sequence "
                        "or tensor of data");
}

static PyObject *tensor_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (kwargs && PyDict_GET_SIZE(kwargs)) {
        PyObject *device = PyDict_GetItemWithError(kwargs, NAME(device)),
                 *data = PyDict_GetItemWithError(kwargs, NAME(data)), *size = PyDict_GetItemString(kwargs, "size");
        if (PyErr_Occurred() || py_device(device, "Tensor")) return NULL;
        if ((device != NULL) + (data != NULL) + (size != NULL) != PyDict_GET_SIZE(kwargs) ||
            ((data || size) && PyTuple_GET_SIZE(args)) || (data && size))
            return PyErr_SetString(PyExc_TypeError,
                                   "new() got an unexpected keyword argument; torch.tensor() takes dtype and the like"),
                   NULL;
        if (data || size) {
            if (!(args = data ? PyTuple_Pack(1, data) : PySequence_Tuple(size))) return NULL;
        } else {
            Py_INCREF(args);
        }
    } else {
        Py_INCREF(args);
    }
    bool of_tensor = PyTuple_GET_SIZE(args) == 1 && py_is_tensor(PyTuple_GET_ITEM(args, 0));
    PyObject *made = of_tensor ? alias_of(cx, type, PyTuple_GET_ITEM(args, 0)) : legacy_data(cx, args);
    Py_DECREF(args);
    if (!made || of_tensor || type == hg_py->tensor_type) return made;
    PyObject *self = check_retyped((PyObject *)type, made) ? NULL : tensor_like(cx, type, TENSOR(made));
    Py_DECREF(made);
    return self;
}

/* Tensor._make_subclass(cls, data, require_grad=False): a tensor of another class on the same memory, a leaf. */
static PyObject *make_subclass(PyObject *Py_UNUSED(none), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[3];
    if (py_parse("_make_subclass", "cls,data,require_grad", 2, args, n, kwnames, at)) return NULL;
    if (check_class(at[0])) return NULL;
    if (!py_is_tensor(at[1]))
        return PyErr_Format(PyExc_TypeError, "_make_subclass(): argument 'data' must be Tensor, not %.100s",
                            Py_TYPE(at[1])->tp_name);
    if (check_retyped(at[0], at[1])) return NULL;
    int grad = py_bool(at[2], "_make_subclass", "require_grad");
    hg_ctx *cx = py_ctx();
    if (grad < 0 || !cx) return NULL;
    if (grad && !hg_dtype_is_float((hg_dtype)TENSOR(at[1])->dtype))
        return PyErr_SetString(PyExc_RuntimeError,
                               "Only Tensors of floating point and complex dtype can require gradients"),
               NULL;
    PyObject *self = tensor_like(cx, (PyTypeObject *)at[0], TENSOR(at[1]));
    hg_status st = self && grad ? hg_tensor_set_requires_grad(cx, TENSOR(self), true) : HG_OK;
    if (st == HG_OK) return self;
    Py_DECREF(self);
    return py_raise(cx, st);
}

/* A size given as an int, or a tuple of ints, none of them negative: so many; -1: something else. */
static int plain_size(PyObject *size, int64_t *shape) {
    bool tuple = PyTuple_CheckExact(size);
    Py_ssize_t n = tuple ? PyTuple_GET_SIZE(size) : 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = tuple ? PyTuple_GET_ITEM(size, i) : size;
        int overflow = 1;
        if (n > 8 || !PyLong_CheckExact(item)) return -1;
        shape[i] = PyLong_AsLongLongAndOverflow(item, &overflow);
        if (overflow || shape[i] < 0) return -1;
    }
    return (int)n;
}

PyObject *py_filled(hg_ctx *cx, PyObject *size, PyObject *number, PyObject *device, PyObject *dtype) {
    int64_t shape[8];
    bool asked = hg_py->function_modes || hg_py->dispatch || device != Py_None;
    int n = asked || (dtype != Py_None && Py_TYPE(dtype) != hg_py->dtype_type) ? -1 : plain_size(size, shape);
    if (n >= 0) {
        hg_tensor *t;
        hg_dtype d = hg_default_dtype(cx);
        hg_status st = py_dtype(dtype, &d) ? HG_HOST : hg_tensor_empty(cx, d, n, shape, &t);
        if (st != HG_OK) return py_raise(cx, st);
        if (number == Py_None) return py_own(t);
        st = hg_call_inplace(cx, HG_OP_FILL_, (hg_arg[]){hg_t(t), hg_f(PyFloat_AsDouble(number))}, 2);
        *hg_version_of(t->storage) = 0; /* it was made so, not changed */
        if (st == HG_OK) return py_own(t);
        hg_release(cx, t);
        return py_raise(cx, st);
    }
    const char *name = number == Py_None ? "empty" : PyFloat_AsDouble(number) != 0 ? "ones" : "zeros";
    PyObject *names = PyTuple_Pack(2, NAME(device), NAME(dtype));
    PyObject *maker = names ? PyObject_GetAttrString(hg_py->module, name) : NULL;
    PyObject *made = maker ? PyObject_Vectorcall(maker, (PyObject *[]){size, device, dtype}, 1, names) : NULL;
    Py_XDECREF(maker);
    Py_XDECREF(names);
    return made;
}

PyObject *py_empty_parameter(PyObject *size, PyObject *device, PyObject *dtype) {
    PyObject *class = hg_py->parameter, *data, *made;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (!class) return PyErr_SetString(PyExc_RuntimeError, "the package has not told the class of parameters"), NULL;
    if (!(data = py_filled(cx, size, Py_None, device, dtype))) return NULL;
    if (Py_TYPE(data) == hg_py->tensor_type && hg_dtype_is_float((hg_dtype)TENSOR(data)->dtype)) {
        made = tensor_like(cx, (PyTypeObject *)class, TENSOR(data));
        hg_status st = made ? hg_tensor_set_requires_grad(cx, TENSOR(made), true) : HG_OK;
        if (st != HG_OK) {
            py_raise(cx, st);
            Py_CLEAR(made);
        }
    } else {
        made = PyObject_CallOneArg(class, data);
    }
    Py_DECREF(data);
    return made;
}

/* Tensor._empty_parameter(size, device=None, dtype=None) */
static PyObject *empty_parameter(PyObject *Py_UNUSED(none), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[3];
    if (py_parse("_empty_parameter", "size,device,dtype", 1, args, n, kwnames, at)) return NULL;
    return py_empty_parameter(at[0], at[1] ? at[1] : Py_None, at[2] ? at[2] : Py_None);
}

/* t.as_subclass(cls): the same tensor as the graph sees it, of another class. */
static PyObject *as_subclass(PyObject *self, PyObject *cls) {
    hg_ctx *cx = py_ctx();
    return cx && !check_class(cls) ? alias_of(cx, (PyTypeObject *)cls, self) : NULL;
}

PyObject *py_call_op(hg_ctx *cx, int id, const hg_arg *a, int n) {
    hg_tensor *out[HG_MAX_OUT] = {NULL};
    hg_status st = hg_call_op(cx, id, a, n, out);
    return st == HG_OK ? py_own(out[0]) : py_raise(cx, st);
}

/* ---- Sequences -------------------------------------------------------------------------------------------------- */

static Py_ssize_t tensor_length(PyObject *self) {
    hg_tensor *t = TENSOR(self);
    if (hg_py->override && py_overrides(&self, 1)) {
        PyObject *asked = py_override_slot("__len__", &self, 1);
        Py_ssize_t n = asked ? PyNumber_AsSsize_t(asked, PyExc_OverflowError) : -1;
        Py_XDECREF(asked);
        return n;
    }
    if (t->n_dim) return (Py_ssize_t)t->shape[0];
    PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
    return -1;
}

/* What is iterated over are the slices of the tensor as it was at the start, as with unbind(0). */
static PyObject *tensor_iter(PyObject *self) {
    hg_tensor *t = TENSOR(self);
    if (!t->n_dim) return PyErr_SetString(PyExc_TypeError, "iteration over a 0-d tensor"), NULL;
    if (hg_py->override && py_overrides(&self, 1)) {
        PyObject *asked = py_override_slot("dim", &self, 1); /* PyTorch's reads it first */
        if (!asked) return NULL;
        Py_DECREF(asked);
    }
    PyObject *parts = PyObject_CallMethod(self, "unbind", "i", 0), *iter = parts ? PyObject_GetIter(parts) : NULL;
    Py_XDECREF(parts);
    return iter;
}

static Py_hash_t tensor_hash(PyObject *self) { return (Py_hash_t)self; } /* id(), as in torch */

/* ---- The type --------------------------------------------------------------------------------------------------- */

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_tensor, weakrefs), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(py_tensor, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef own_attributes[] = {
    {"__dict__", tensor_get_dict, tensor_set_dict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef own_methods[] = {
    {"_make_subclass", FAST(make_subclass), KEYWORDS | METH_STATIC, NULL},
    {"_empty_parameter", FAST(empty_parameter), KEYWORDS | METH_STATIC, NULL},
    {"as_subclass", as_subclass, METH_O, "The same tensor, of another class."},
    {NULL, NULL, 0, NULL},
};

enum { MAX_METHODS = 160, MAX_SLOTS = 80 };
static PyGetSetDef attributes[MAX_ATTRIBUTES];
static PyMethodDef methods[MAX_METHODS];
static PyType_Slot slots[MAX_SLOTS] = {
    {Py_tp_new, tensor_new},
    {Py_tp_dealloc, tensor_dealloc},
    {Py_tp_traverse, tensor_traverse},
    {Py_tp_clear, tensor_clear},
    {Py_tp_setattro, tensor_setattro},
    {Py_tp_members, members},
    {Py_tp_getset, attributes},
    {Py_tp_methods, methods},
    {Py_tp_richcompare, py_tensor_compare},
    {Py_tp_hash, tensor_hash},
    {Py_tp_iter, tensor_iter},
    {Py_mp_length, tensor_length},
    {Py_mp_subscript, py_tensor_get},
    {Py_mp_ass_subscript, py_tensor_set},
    {Py_bf_getbuffer, py_tensor_buffer},
    {Py_bf_releasebuffer, py_tensor_buffer_done},
    {Py_tp_doc, "A multi-dimensional array whose history can be differentiated."},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "hookgrad.Tensor",
    .basicsize = sizeof(py_tensor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

static int put_together(void) {
    PyGetSetDef *const getsets[] = {own_attributes, py_tensor_attributes, py_tensor_hook_attributes};
    PyMethodDef *const lists[] = {own_methods,       py_tensor_methods, py_tensor_hook_methods, py_cast_methods,
                                  py_create_methods, py_swap_methods,   py_numpy_methods,       py_dlpack_methods};
    int n = 0, m = 0, s = 0;
    for (size_t i = 0; i < sizeof getsets / sizeof *getsets; i++)
        for (PyGetSetDef *g = getsets[i]; g->name && n < MAX_ATTRIBUTES; g++) attributes[n++] = *g;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (PyMethodDef *d = lists[i]; d->ml_name && m < MAX_METHODS; d++) methods[m++] = *d;
    while (slots[s].slot) s++;
    for (PyType_Slot *one = py_tensor_number_slots; one->slot && s < MAX_SLOTS; one++) slots[s++] = *one;
    if (n < MAX_ATTRIBUTES && m < MAX_METHODS && s < MAX_SLOTS) return 0; /* the last entry of each stays empty */
    PyErr_SetString(PyExc_SystemError, "the type Tensor has outgrown its tables");
    return -1;
}

int py_tensor_init(PyObject *m) {
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
    if (!(hg_py->no_attributes = PyDict_New())) return -1;
#endif
    if (put_together() || py_type_add(m, &hg_py->tensor_type, &spec, NULL)) return -1;
    /* Where Python names the type of an operand it shall say 'Tensor', as for torch's, which is a class of Python's. */
    hg_py->tensor_type->tp_name = strrchr(spec.name, '.') + 1;
    return 0;
}
