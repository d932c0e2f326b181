/* What the constructors of layers have in common, in few steps: __init__ of the base, settings, weight and bias, first values. */
#include "py_module.h"
#include "py_tensor.h"

/* ---- Beginning ---------------------------------------------------------------------------------------------------- */

/* super(class, self).__init__(). Mostly it is the base type's that is found: then without an object for super(). */
static int super_init(PyObject *class, PyObject *self) {
    PyObject *mro = Py_TYPE(self)->tp_mro, *found = NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(mro), i = 0;
    PyTypeObject *type = NULL;
    while (i < n && PyTuple_GET_ITEM(mro, i) != class) i++;
    while (++i < n && !found) {
        type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        found = type->tp_dict ? PyDict_GetItemWithError(type->tp_dict, NAME(__init__)) : NULL;
    }
    if (found && type == hg_py->module_type) return type->tp_init(self, hg_py->empty_tuple, NULL);
    PyObject *super = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, class, self, NULL);
    PyObject *done = super ? PyObject_CallMethodNoArgs(super, NAME(__init__)) : NULL;
    Py_XDECREF(super);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Can it be nothing but an attribute of the instance? */
static bool is_setting(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    return type == &PyLong_Type || type == &PyBool_Type || type == &PyFloat_Type || type == &PyUnicode_Type ||
           type == &PyTuple_Type || type == &PyList_Type || o == Py_None;
}

/* self.name = value; `own`: the class's __setattr__ is the base's. */
static int assign(PyObject *self, bool own, PyObject *name, PyObject *value) {
    hg_module *m = MODULE(self);
    PyObject **dict = &SELF(self)->dict;
    if (!own) return PyObject_SetAttr(self, name, value);
    if (!is_setting(value) || m->params || m->buffers || m->modules) return py_module_assign(self, name, value);
    PyObject *descr = _PyType_Lookup(Py_TYPE(self), name);
    if (descr && Py_TYPE(descr)->tp_descr_set) return py_module_assign(self, name, value);
    if (!*dict && !(*dict = PyDict_New())) return -1;
    return PyDict_SetItem(*dict, name, value);
}

static PyObject *begin(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    if (n != 2 || !PyType_Check(args[0]) || !py_is_module(args[1]))
        return PyErr_SetString(PyExc_TypeError, "_begin() takes a class, a module of it, and settings"), NULL;
    if (super_init(args[0], args[1])) return NULL;
    bool own = py_module_inherits(args[1], NAME(__setattr__));
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (assign(args[1], own, PyTuple_GET_ITEM(kwnames, i), args[n + i])) return NULL;
    Py_RETURN_NONE;
}

/* ---- Weight and bias ------------------------------------------------------------------------------------------------ */

static int add_parameter(PyObject *self, PyObject *name, PyObject *shape, PyObject *device, PyObject *dtype) {
    if (shape == Py_None) {
        PyObject *done = PyObject_CallMethodObjArgs(self, NAME(register_parameter), name, Py_None, NULL);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    PyObject *made = py_empty_parameter(shape, device, dtype);
    int failed = made ? assign(self, py_module_inherits(self, NAME(__setattr__)), name, made) : -1;
    Py_XDECREF(made);
    return failed;
}

static int add_buffer(hg_ctx *cx, PyObject *self, PyObject *name, PyObject *size, PyObject *number, PyObject *device,
                      PyObject *dtype) {
    PyObject *t = size == Py_None ? Py_NewRef(size) : py_filled(cx, size, number, device, dtype), *done = NULL;
    int failed = -1;
    if (t && py_module_inherits(self, NAME(register_buffer)))
        failed = py_module_put_buffer(self, name, t, true);
    else if (t && (done = PyObject_CallMethodObjArgs(self, NAME(register_buffer), name, t, NULL)))
        failed = 0;
    Py_XDECREF(t);
    Py_XDECREF(done);
    return failed;
}

static PyObject *add_affine(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    if (n != 5 || !py_is_module(args[0]))
        return PyErr_SetString(PyExc_TypeError, "_add_affine() takes a module, two shapes, a device and a dtype"), NULL;
    if (add_parameter(args[0], NAME(weight), args[1], args[3], args[4]) ||
        add_parameter(args[0], NAME(bias), args[2], args[3], args[4]))
        return NULL;
    Py_RETURN_NONE;
}

/* The running mean and variance, and the number of batches: None in their places where there is no size. */
static PyObject *add_statistics(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (n != 4 || !py_is_module(args[0]))
        return PyErr_SetString(PyExc_TypeError, "_add_statistics() takes a module, a size, a device and a dtype"), NULL;
    PyObject *number = hg_py->dtypes[HG_I64], *zero = PyFloat_FromDouble(0), *one = zero ? PyFloat_FromDouble(1) : NULL;
    int failed = !one || add_buffer(cx, args[0], NAME(running_mean), args[1], zero, args[2], args[3]) ||
                 add_buffer(cx, args[0], NAME(running_var), args[1], one, args[2], args[3]) ||
                 add_buffer(cx, args[0], NAME(num_batches_tracked), args[1] == Py_None ? Py_None : hg_py->empty_tuple,
                            zero, Py_None, number);
    Py_XDECREF(zero);
    Py_XDECREF(one);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

/* ---- First values --------------------------------------------------------------------------------------------------- */

/* Is nobody to be asked about an operation on it? */
static bool is_plain(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    return (type == (PyTypeObject *)hg_py->parameter || type == hg_py->tensor_type) && !hg_py->function_modes &&
           !hg_py->dispatch && !hg_is_meta(TENSOR(o));
}

static int fill_one(hg_ctx *cx, PyObject *t, PyObject *number) {
    if (is_plain(t) && PyFloat_CheckExact(number)) {
        hg_status st = hg_call_inplace(cx, HG_OP_FILL_, (hg_arg[]){hg_t(TENSOR(t)), hg_f(PyFloat_AS_DOUBLE(number))},
                                       2);
        return st == HG_OK ? 0 : py_fail(cx, st);
    }
    PyObject *done = t == Py_None                      ? Py_NewRef(t)
                     : PyFloat_AsDouble(number) == 0.0 ? PyObject_CallMethodNoArgs(t, NAME(zero_))
                                                       : PyObject_CallMethodOneArg(t, NAME(fill_), number);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *fill(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    bool was = cx->grad_enabled;
    int failed = 0;
    cx->grad_enabled = false;
    for (Py_ssize_t i = 0; i + 1 < n && !failed; i += 2) failed = fill_one(cx, args[i], args[i + 1]);
    cx->grad_enabled = was;
    if (failed) return NULL;
    Py_RETURN_NONE;
}

static PyObject *draw_affine(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (n != 2) return PyErr_SetString(PyExc_TypeError, "_draw_affine() takes a weight and a bias"), NULL;
    bool bias = args[1] != Py_None;
    if (!is_plain(args[0]) || (bias && !is_plain(args[1])) || !TENSOR(args[0])->numel) Py_RETURN_FALSE;
    hg_status st = hg_draw_affine(cx, TENSOR(args[0]), bias ? TENSOR(args[1]) : NULL);
    if (st != HG_OK) return py_raise(cx, st);
    Py_RETURN_TRUE;
}

/* ---- Parameters ----------------------------------------------------------------------------------------------------- */

static int set_requires_grad(hg_ctx *cx, PyObject *t, PyObject *mode) {
    if (is_plain(t) && PyBool_Check(mode) && hg_dtype_is_float((hg_dtype)TENSOR(t)->dtype)) {
        hg_status st = hg_tensor_set_requires_grad(cx, TENSOR(t), mode == Py_True);
        return st == HG_OK ? 0 : py_fail(cx, st);
    }
    PyObject *done = PyObject_CallMethod(t, "requires_grad_", "O", mode);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *require_grad(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (n != 2) return PyErr_SetString(PyExc_TypeError, "_require_grad() takes tensors and a mode"), NULL;
    PyObject *at = PyObject_GetIter(args[0]), *t;
    int failed = !at;
    while (!failed && (t = PyIter_Next(at))) {
        failed = set_requires_grad(cx, t, args[1]);
        Py_DECREF(t);
    }
    Py_XDECREF(at);
    if (failed || PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_begin", FAST(begin), KEYWORDS,
     "(__class__, self, **settings): super().__init__(), and each setting as an attribute"},
    {"_add_affine", FAST(add_affine), METH_FASTCALL,
     "(module, shape, shape_of_bias, device, dtype): `weight` and `bias`, not filled; None where a shape is None"},
    {"_add_statistics", FAST(add_statistics), METH_FASTCALL,
     "(module, size, device, dtype): the buffers of a normalisation, as they begin; None where the size is None"},
    {"_fill", FAST(fill), METH_FASTCALL,
     "(tensor, number, ...): fill each tensor with the number after it, unrecorded; None has nothing to fill"},
    {"_draw_affine", FAST(draw_affine), METH_FASTCALL,
     "(weight, bias or None): as both begin. False: nothing was done, as there are no elements or they are not plain"},
    {"_require_grad", FAST(require_grad), METH_FASTCALL, "(tensors, mode): tensor.requires_grad_(mode) of each"},
    {NULL, NULL, 0, NULL},
};

int py_construct_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
