/* NumPy's arrays, in and out, on the same memory. NumPy is imported with the first array. */
#include "py_tensor.h"

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

static int numpy_ready(void) {
    if (PyArray_API) return 0;
    if (_import_array() < 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ImportError, "numpy could not be imported");
        return -1;
    }
    return 0;
}

static const int typenums[HG_N_DTYPES] = {
    [HG_U8] = NPY_UINT8, [HG_I8] = NPY_INT8,     [HG_I16] = NPY_INT16,   [HG_I32] = NPY_INT32,   [HG_I64] = NPY_INT64,
    [HG_F16] = NPY_HALF, [HG_F32] = NPY_FLOAT32, [HG_F64] = NPY_FLOAT64, [HG_BF16] = NPY_NOTYPE, [HG_BOOL] = NPY_BOOL,
};

/* ---- Out -------------------------------------------------------------------------------------------------------- */

/* An array over the tensor's memory, which it keeps alive through a tensor of its own. */
static PyObject *to_numpy(hg_ctx *cx, hg_tensor *t) {
    if (numpy_ready()) return NULL;
    if (typenums[t->dtype] == NPY_NOTYPE)
        return PyErr_SetString(PyExc_TypeError, "Got unsupported ScalarType BFloat16"), NULL;
    npy_intp shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    npy_intp size = (npy_intp)hg_tensor_itemsize(t);
    for (int i = 0; i < t->n_dim; i++) shape[i] = (npy_intp)t->shape[i], stride[i] = (npy_intp)t->stride[i] * size;
    int flags = NPY_ARRAY_ALIGNED | (t->storage && t->storage->read_only ? 0 : NPY_ARRAY_WRITEABLE);
    hg_tensor *keeper;
    hg_status st = hg_tensor_detach(cx, t, &keeper);
    if (st != HG_OK) return py_raise(cx, st);
    static char nowhere[16];
    PyObject *array = PyArray_New(&PyArray_Type, t->n_dim, shape, typenums[t->dtype], stride,
                                  t->data ? t->data : nowhere, (int)size, flags, NULL);
    if (!array ||
        PyArray_SetBaseObject((PyArrayObject *)array, py_own(keeper))) { /* steals the keeper, also on failure */
        if (!array) hg_release(cx, keeper);
        Py_XDECREF(array);
        return NULL;
    }
    return array;
}

static PyObject *tensor_numpy(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("numpy", args, n, kwnames);
    PyObject *at[1];
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("numpy", "force", 0, args, n, kwnames, at)) return NULL;
    int force = py_bool(at[0], "numpy", "force");
    if (force < 0) return NULL;
    if (hg_tensor_requires_grad(TENSOR(self)) && !force && cx->grad_enabled)
        return PyErr_SetString(PyExc_RuntimeError,
                               "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."),
               NULL;
    if (TENSOR(self)->levels && py_hides(self, PY_NUMPY)) return NULL;
    if (py_dispatches(self))
        return PyErr_SetString(PyExc_RuntimeError, ".numpy() is not supported for tensor subclasses."), NULL;
    if (hg_is_meta(TENSOR(self)))
        return PyErr_SetString(PyExc_TypeError,
                               "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
                               "host memory first."),
               NULL;
    return to_numpy(cx, TENSOR(self));
}

/* numpy.asarray(tensor, dtype, copy=...) */
static PyObject *tensor_array(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("__array__", "dtype,copy", 0, args, n, kwnames, at)) return NULL;
    PyObject *array = tensor_numpy(self, NULL, 0, NULL);
    if (array && at[0] && at[0] != Py_None) {
        PyObject *cast = PyObject_CallMethod(array, "astype", "OssOO", at[0], "K", "unsafe", Py_True, Py_False);
        Py_SETREF(array, cast);
    }
    if (array && at[1] && at[1] != Py_None && PyObject_IsTrue(at[1])) {
        PyObject *copy = PyObject_CallMethod(array, "copy", NULL);
        Py_SETREF(array, copy);
    }
    return array;
}

/* ---- In --------------------------------------------------------------------------------------------------------- */

static void array_free(void *array) { Py_DECREF((PyObject *)array); }

static hg_dtype dtype_of(PyArrayObject *array) {
    PyArray_Descr *descr = PyArray_DESCR(array);
    for (int d = 0; d < HG_N_DTYPES; d++)
        if (typenums[d] != NPY_NOTYPE && PyArray_EquivTypenums(descr->type_num, typenums[d])) return (hg_dtype)d;
    PyErr_Format(PyExc_TypeError,
                 "can't convert np.ndarray of type %s. The only supported types are: float64, float32, float16, int64, "
                 "int32, int16, int8, uint8, and bool.",
                 descr->typeobj->tp_name);
    return HG_NO_DTYPE;
}

PyObject *py_from_numpy(hg_ctx *cx, PyObject *o, bool warn) {
    if (numpy_ready()) return NULL;
    if (!PyArray_Check(o))
        return PyErr_Format(PyExc_TypeError, "expected np.ndarray (got %.100s)", Py_TYPE(o)->tp_name);
    PyArrayObject *array = (PyArrayObject *)o;
    int n = PyArray_NDIM(array);
    if (n > HG_MAX_DIM)
        return PyErr_Format(PyExc_ValueError, "a tensor has at most %d dimensions, the array has %d", HG_MAX_DIM, n);
    hg_dtype d = dtype_of(array);
    if (d == HG_NO_DTYPE) return NULL;
    if (!PyArray_ISNOTSWAPPED(array))
        return PyErr_SetString(PyExc_ValueError,
                               "given numpy array has byte order different from the native byte order. Conversion "
                               "between byte orders is currently not supported."),
               NULL;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM], size = hg_dtypes[d].size, span = size;
    for (int i = 0; i < n; i++) {
        int64_t bytes = PyArray_STRIDE(array, i);
        shape[i] = PyArray_DIM(array, i);
        if (shape[i] <= 1 && (bytes < 0 || bytes % size)) bytes = size; /* never stepped over: whatever stands there */
        if (bytes < 0)
            return PyErr_SetString(
                       PyExc_ValueError,
                       "At least one stride in the given numpy array is negative, and tensors with negative "
                       "strides are not currently supported. (You can probably work around this by making a copy of "
                       "your "
                       "array  with array.copy().) "),
                   NULL;
        if (bytes % size)
            return PyErr_SetString(PyExc_ValueError,
                                   "given numpy array strides not a multiple of the element byte size. Copy the numpy "
                                   "array to reallocate the memory."),
                   NULL;
        stride[i] = bytes / size;
        span = shape[i] ? span + (shape[i] - 1) * bytes : span;
    }
    hg_tensor *t;
    hg_status st = HG_OK;
    if (warn && !PyArray_ISWRITEABLE(array))
        st = hg_warn_once(
            cx,
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means "
            "writing to this tensor will result in undefined behavior. You may want to copy the array to protect its "
            "data or make it writable before converting it to a tensor. This type of warning will be suppressed for "
            "the rest of this program.");
    if (st == HG_OK) st = hg_tensor_wrap(cx, PyArray_DATA(array), d, n, shape, stride, (size_t)span, array_free, o, &t);
    if (st != HG_OK) return py_raise(cx, st);
    Py_INCREF(o); /* given back by array_free */
    return py_own(t);
}

PyObject *py_from_array_like(hg_ctx *cx, PyObject *o) {
    PyObject *numpy = PyImport_ImportModule("numpy");
    PyObject *array = numpy ? PyObject_CallMethod(numpy, "asarray", "O", o) : NULL;
    Py_XDECREF(numpy);
    PyObject *t = array ? py_from_numpy(cx, array, false) : NULL;
    Py_XDECREF(array);
    return t;
}

static PyObject *from_numpy(PyObject *Py_UNUSED(m), PyObject *array) {
    hg_ctx *cx = py_ctx();
    return cx ? py_from_numpy(cx, array, true) : NULL;
}

/* What a NumPy function made of a tensor's array goes back to a tensor; booleans too. */
static PyObject *array_wrap(PyObject *Py_UNUSED(self), PyObject *const *args, Py_ssize_t n) {
    hg_ctx *cx = py_ctx();
    if (n < 1) return PyErr_SetString(PyExc_TypeError, "__array_wrap__() takes an array"), NULL;
    return cx ? py_as_tensor(args[0], HG_NO_DTYPE, false) : NULL;
}

static PyMethodDef functions[] = {
    {"from_numpy", from_numpy, METH_O, "A tensor over the memory of a NumPy array."},
    {NULL, NULL, 0, NULL},
};

PyMethodDef py_numpy_methods[] = {
    {"numpy", FAST(tensor_numpy), KEYWORDS, "A NumPy array over its memory."},
    {"__array__", FAST(tensor_array), KEYWORDS, NULL},
    {"__array_wrap__", FAST(array_wrap), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

int py_numpy_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
