/* Tensor.to and the casts named after dtypes. */
#include "py_tensor.h"

/* The tensor in that dtype and format, recorded; itself where nothing changes. */
static PyObject *cast(PyObject *self, hg_dtype d, bool copy, PyObject *memory_format, const char *function) {
    hg_format f = HG_FORMAT_PRESERVE;
    hg_tensor *t = TENSOR(self);
    if (py_format_or(memory_format, function, &f)) return NULL;
    bool as_it_lies = f == HG_FORMAT_PRESERVE || f == hg_tensor_format(t);
    if (!copy && as_it_lies && (d == HG_NO_DTYPE || d == t->dtype)) return Py_NewRef(self);
    hg_ctx *cx = py_ctx();
    hg_arg dtype = d == HG_NO_DTYPE ? HG_NONE : hg_d(d);
    return cx ? py_call_op(cx, HG_OP_TO_COPY, (hg_arg[]){hg_t(t), dtype, hg_format_arg(f)}, 3) : NULL;
}

/* The tensor where `device` says, NULL: where it is. Nothing comes back from "meta". */
static PyObject *moved(PyObject *self, PyObject *device, hg_dtype d, bool copy, PyObject *memory_format,
                       const char *function) {
    bool meta = py_is_meta(device), was = hg_is_meta(TENSOR(self));
    if (was && device && device != Py_None && !meta)
        return PyErr_SetString(PyExc_NotImplementedError, "Cannot copy out of meta tensor; no data!"), NULL;
    PyObject *made = cast(self, d, copy || (meta && !was), memory_format, function);
    return meta && !was ? py_on(device, made) : made;
}

/* to(dtype), to(device, dtype), to(other), each with non_blocking=, copy=, memory_format=. */
static PyObject *tensor_to(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("to", args, n, kwnames);
    enum { DEVICE, DTYPE, OTHER } by = DEVICE;
    static const char *const names[] = {"device,dtype,non_blocking,copy,memory_format",
                                        "dtype,non_blocking,copy,memory_format",
                                        "other,non_blocking,copy,memory_format"};
    hg_dtype d = HG_NO_DTYPE;
    PyObject *at[5], *device = NULL, *first = n > 0 ? args[0] : NULL;
    if (n == 1 && !kwnames && (PyFloat_Check(first) || PyBool_Check(first))) /* it stands for a tensor of it */
        return moved(self, hg_py->cpu, PyBool_Check(first) ? HG_BOOL : HG_F64, 0, NULL, "to");
    if (n == 0 && !kwnames) return Py_NewRef(self);
    if (first && (Py_TYPE(first) == hg_py->dtype_type || PyType_Check(first)))
        by = DTYPE;
    else if (first && py_is_tensor(first))
        by = OTHER;
    for (Py_ssize_t k = 0; n == 0 && k < PyTuple_GET_SIZE(kwnames); k++)
        if (py_is_name(PyTuple_GET_ITEM(kwnames, k), NAME(other))) by = OTHER;
    if (py_parse("to", names[by], 0, args, n, kwnames, at)) return NULL;
    if (by == OTHER) {
        if (!at[0] || !py_is_tensor(at[0]))
            return PyErr_Format(PyExc_TypeError, "to(): argument 'other' must be Tensor, not %.100s",
                                at[0] ? Py_TYPE(at[0])->tp_name : "nothing");
        d = (hg_dtype)TENSOR(at[0])->dtype;
        if (!(device = py_device_of(TENSOR(at[0])))) return NULL;
    } else if (by == DTYPE) {
        if (at[0] && py_dtype(at[0], &d)) return NULL;
    } else {
        if (at[0] && !PyUnicode_Check(at[0]) && at[0] != Py_None && Py_TYPE(at[0]) != hg_py->device_type)
            return PyErr_Format(PyExc_TypeError,
                                "to() received an invalid combination of arguments - got (%.100s), but expected a "
                                "torch.device, a torch.dtype or a Tensor",
                                Py_TYPE(at[0])->tp_name);
        if ((!py_is_meta(at[0]) && py_device(at[0], "to")) || (at[1] && py_dtype(at[1], &d))) return NULL;
        device = Py_XNewRef(at[0]);
    }
    PyObject *const *last = by == DEVICE ? &at[3] : &at[2]; /* copy, memory_format */
    int copy = py_bool(last[0], "to", "copy");
    PyObject *made = copy < 0 ? NULL : moved(self, device, d, copy, last[1], "to");
    Py_XDECREF(device);
    return made;
}

/* "torch.DoubleTensor" */
static int dtype_named(PyObject *name, hg_dtype *d) {
    const char *chars = PyUnicode_AsUTF8(name);
    if (!chars) return -1;
    for (int i = 0; i < HG_N_DTYPES; i++)
        if (!strncmp(chars, "torch.", 6) && !strcmp(chars + 6, hg_dtypes[i].tensor_name)) {
            *d = (hg_dtype)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "invalid type: '%s'", chars);
    return -1;
}

/* What .type() takes: a dtype, the name of a tensor type, or a type with its dtype (torch.DoubleTensor). */
static int dtype_meant(PyObject *type, hg_dtype *d) {
    if (PyUnicode_Check(type)) return dtype_named(type, d);
    if (Py_TYPE(type) == hg_py->dtype_type) return py_dtype(type, d);
    if (type == (PyObject *)hg_py->tensor_type) return *d = hg_default_dtype(py_ctx()), 0;
    PyObject *dtype = PyObject_GetAttr(type, NAME(dtype));
    if (dtype && Py_TYPE(dtype) == hg_py->dtype_type) {
        int failed = py_dtype(dtype, d);
        Py_DECREF(dtype);
        return failed;
    }
    Py_XDECREF(dtype);
    PyErr_Clear();
    if (PyType_Check(type))
        PyErr_Format(PyExc_ValueError, "invalid type: '%s'", ((PyTypeObject *)type)->tp_name);
    else
        PyErr_SetString(PyExc_TypeError, "dtype must be a type, str, or dtype object");
    return -1;
}

static PyObject *tensor_type(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("type", args, n, kwnames);
    PyObject *at[2];
    hg_dtype d = HG_NO_DTYPE;
    if (py_parse("type", "dtype,non_blocking", 0, args, n, kwnames, at)) return NULL;
    if (!at[0] || at[0] == Py_None) return PyUnicode_FromFormat("torch.%s", hg_dtypes[TENSOR(self)->dtype].tensor_name);
    if (dtype_meant(at[0], &d)) return NULL;
    return cast(self, d, false, NULL, "type");
}

#define CAST(name, dtype)                                                                                              \
    static PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {                    \
        ASK(#name + 3, args, n, kwnames); /* without "to_" */                                                          \
        PyObject *at[1];                                                                                               \
        if (py_parse(#name, "memory_format", 0, args, n, kwnames, at)) return NULL;                                    \
        return cast(self, dtype, false, at[0], #name);                                                                 \
    }
CAST(to_float, HG_F32)
CAST(to_double, HG_F64)
CAST(to_half, HG_F16)
CAST(to_bfloat16, HG_BF16)
CAST(to_char, HG_I8)
CAST(to_byte, HG_U8)
CAST(to_short, HG_I16)
CAST(to_int, HG_I32)
CAST(to_long, HG_I64)
CAST(to_bool, HG_BOOL)
#undef CAST

static PyObject *to_cpu(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("cpu", args, n, kwnames);
    PyObject *at[1];
    if (py_parse("cpu", "memory_format", 0, args, n, kwnames, at)) return NULL;
    return moved(self, hg_py->cpu, HG_NO_DTYPE, false, at[0], "cpu");
}

static PyObject *itself(PyObject *self, PyObject *Py_UNUSED(none)) { return Py_NewRef(self); }

static PyObject *no_cuda(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("cuda", args, n, kwnames);
    PyErr_SetString(PyExc_AssertionError, "Torch not compiled with CUDA enabled");
    return NULL;
}

PyMethodDef py_cast_methods[] = {
    {"to", FAST(tensor_to), KEYWORDS,
     "to(dtype), to(device, dtype), to(other): itself where nothing changes, else a copy, differentiably."},
    {"type", FAST(tensor_type), KEYWORDS, "The name of its type, or the tensor in that type."},
    {"float", FAST(to_float), KEYWORDS, "As torch.float32."},
    {"double", FAST(to_double), KEYWORDS, "As torch.float64."},
    {"half", FAST(to_half), KEYWORDS, "As torch.float16."},
    {"bfloat16", FAST(to_bfloat16), KEYWORDS, "As torch.bfloat16."},
    {"char", FAST(to_char), KEYWORDS, "As torch.int8."},
    {"byte", FAST(to_byte), KEYWORDS, "As torch.uint8."},
    {"short", FAST(to_short), KEYWORDS, "As torch.int16."},
    {"int", FAST(to_int), KEYWORDS, "As torch.int32."},
    {"long", FAST(to_long), KEYWORDS, "As torch.int64."},
    {"bool", FAST(to_bool), KEYWORDS, "As torch.bool."},
    {"cpu", FAST(to_cpu), KEYWORDS, "On the CPU: itself."},
    {"cuda", FAST(no_cuda), KEYWORDS, "Fails: there is only the CPU."},
    {"resolve_conj", itself, METH_NOARGS, "Itself: there are no complex numbers."},
    {"resolve_neg", itself, METH_NOARGS, "Itself."},
    {"conj", itself, METH_NOARGS, "Itself: there are no complex numbers."},
    {"to_dense", itself, METH_NOARGS, "Itself: it is dense."},
    {NULL, NULL, 0, NULL},
};
