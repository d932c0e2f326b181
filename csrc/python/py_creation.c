/* Tensors from Python's data: torch.tensor, as_tensor, asarray, frombuffer, Tensor.new_tensor. */
#include "py_op.h"
#include "py_tensor.h"

/* ---- Shape and dtype of nested sequences ------------------------------------------------------------------------ */

static bool is_plain_sequence(PyObject *o) { return PyList_CheckExact(o) || PyTuple_CheckExact(o); }

static bool is_scalar(PyObject *o) {
    return !is_plain_sequence(o) && (PyFloat_Check(o) || PyLong_Check(o) || py_is_tensor(o));
}

/* The sizes, as the first item of each level tells them. */
static int sizes_of(PyObject *o, int64_t *sizes, int *n_dim) {
    *n_dim = 0;
    Py_INCREF(o);
    while (!is_scalar(o) && PySequence_Check(o)) {
        if (*n_dim == HG_MAX_DIM || PyUnicode_Check(o) || (PyBytes_Check(o) && *n_dim)) {
            PyErr_Format(PyExc_ValueError, "too many dimensions '%.100s'", Py_TYPE(o)->tp_name);
            Py_DECREF(o);
            return -1;
        }
        Py_ssize_t n = PySequence_Size(o);
        if (n < 0) {
            /* NumPy's scalars and 0-dimensional arrays have no length: they are numbers */
            PyErr_Clear();
            break;
        }
        sizes[(*n_dim)++] = n;
        if (n == 0) break;
        PyObject *first = PySequence_GetItem(o, 0);
        Py_DECREF(o);
        if (!(o = first)) return -1;
    }
    Py_DECREF(o);
    return 0;
}

/* NumPy's scalars carry a dtype; HG_NO_DTYPE: not one of ours. */
static hg_dtype numpy_dtype(PyObject *o) {
    const char *name = Py_TYPE(o)->tp_name;
    if (strncmp(name, "numpy.", 6) != 0) return HG_NO_DTYPE;
    if (!strcmp(name, "numpy.bool_")) return HG_BOOL;
    for (int d = 0; d < HG_N_DTYPES; d++)
        if (!strcmp(name + 6, hg_dtypes[d].name)) return (hg_dtype)d;
    return HG_NO_DTYPE;
}

static int could_not_infer(PyObject *o) {
    PyErr_Format(PyExc_RuntimeError, "Could not infer dtype of %.100s", Py_TYPE(o)->tp_name);
    return -1;
}

/* Promote *d by every number inside; HG_NO_DTYPE at first. */
static int infer(hg_ctx *cx, PyObject *o, hg_dtype *d, int depth) {
    hg_dtype one;
    bool plain = is_plain_sequence(o);
    if (PyFloat_CheckExact(o)) {
        one = hg_default_dtype(cx);
    } else if (PyBool_Check(o)) {
        one = HG_BOOL;
    } else if (PyLong_Check(o)) {
        one = HG_I64;
    } else if (!plain && py_is_tensor(o)) {
        one = (hg_dtype)TENSOR(o)->dtype;
    } else if (!plain && (one = numpy_dtype(o)) != HG_NO_DTYPE) {
        ;
    } else if (PyFloat_Check(o)) {
        one = hg_default_dtype(cx);
    } else if (PyUnicode_Check(o) || PyBytes_Check(o)) {
        PyErr_Format(PyExc_TypeError, "new(): invalid data type '%.100s'", Py_TYPE(o)->tp_name);
        return -1;
    } else if (PySequence_Check(o)) {
        if (depth > HG_MAX_DIM) return could_not_infer(o);
        PyObject *items = PySequence_Fast(o, "not a sequence");
        if (!items) return -1;
        int failed = 0;
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items) && !failed; i++) {
            PyObject *item = PySequence_Fast_GET_ITEM(items, i);
            if (PyFloat_CheckExact(item) && *d == hg_default_dtype(cx)) continue;
            Py_INCREF(item);
            failed = infer(cx, item, d, depth + 1);
            Py_DECREF(item);
        }
        Py_DECREF(items);
        return failed;
    } else {
        return could_not_infer(o);
    }
    *d = *d == HG_NO_DTYPE || *d == one ? one : hg_dtype_promote(*d, one);
    return 0;
}

/* ---- Elements --------------------------------------------------------------------------------------------------- */

static int as_double(PyObject *o, double *f) {
    if (py_is_tensor(o) || !(PyUnicode_Check(o) || PySequence_Check(o))) return py_double(o, f);
    PyErr_Format(PyExc_TypeError, "must be real number, not %.100s", Py_TYPE(o)->tp_name);
    return -1;
}

static int as_int(PyObject *o, int64_t *i, hg_dtype d) {
    static const struct {
        int64_t low, high;
    } range[HG_N_DTYPES] = {
        [HG_U8] = {-255, 255},
        [HG_I8] = {-128, 127},
        [HG_I16] = {-32768, 32767},
        [HG_I32] = {INT32_MIN, INT32_MAX},
        [HG_I64] = {INT64_MIN, INT64_MAX},
    };
    if (PyFloat_Check(o) || !PyIndex_Check(o) || (py_is_tensor(o) && hg_dtype_is_float(TENSOR(o)->dtype))) {
        double f;
        if (!PyFloat_Check(o) && !PyNumber_Check(o)) {
            PyErr_Format(PyExc_TypeError, "'%.100s' object cannot be interpreted as an integer", Py_TYPE(o)->tp_name);
            return -1;
        }
        if (as_double(o, &f)) return -1;
        if (!(f >= -9223372036854775808.0 && f < 9223372036854775808.0)) {
            PyErr_Format(PyExc_RuntimeError, "value cannot be converted to type %s without overflow",
                         hg_dtypes[d].name);
            return -1;
        }
        *i = (int64_t)f;
    } else if (py_int64(o, i)) {
        return -1;
    }
    if (*i >= range[d].low && *i <= range[d].high) return 0;
    PyErr_Format(PyExc_RuntimeError, "value cannot be converted to type %s without overflow", hg_dtypes[d].name);
    return -1;
}

/* Write the number at `to`, as dtype d (neither half nor bfloat16). */
static int store(PyObject *o, hg_dtype d, char *to) {
    double f = 0;
    int64_t i = 0;
    if (d == HG_F32 || d == HG_F64) {
        if (PyFloat_CheckExact(o))
            f = PyFloat_AS_DOUBLE(o);
        else if (as_double(o, &f))
            return -1;
        if (d == HG_F64)
            memcpy(to, &f, sizeof f);
        else
            memcpy(to, &(float){(float)f}, sizeof(float));
        return 0;
    }
    if (d == HG_BOOL) {
        int truth = PyObject_IsTrue(o);
        *to = truth == 1;
        return truth < 0 ? -1 : 0;
    }
    if (as_int(o, &i, d)) return -1;
    switch (hg_dtypes[d].size) {
    case 1: *to = (char)i; break;
    case 2: memcpy(to, &(int16_t){(int16_t)i}, 2); break;
    case 4: memcpy(to, &(int32_t){(int32_t)i}, 4); break;
    default: memcpy(to, &i, 8);
    }
    return 0;
}

static int fill(PyObject *o, const int64_t *sizes, int n_dim, int dim, hg_dtype d, char **to) {
    if (dim == n_dim) {
        if (store(o, d, *to)) return -1;
        *to += hg_dtypes[d].size;
        return 0;
    }
    if (is_scalar(o) || !PySequence_Check(o)) {
        PyErr_SetString(PyExc_TypeError, "not a sequence");
        return -1;
    }
    PyObject *items = PySequence_Fast(o, "not a sequence");
    if (!items) return -1;
    int failed = 0;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
    if (n != sizes[dim]) {
        PyErr_Format(PyExc_ValueError, "expected sequence of length %lld at dim %d (got %zd)", (long long)sizes[dim],
                     dim, n);
        failed = -1;
    }
    /* Conversions run Python code, which may change the list. */
    for (Py_ssize_t i = 0; i < n && !failed; i++) {
        if (i >= PySequence_Fast_GET_SIZE(items)) {
            PyErr_SetString(PyExc_RuntimeError, "the sequence changed size while it was read");
            failed = -1;
            break;
        }
        PyObject *item = PySequence_Fast_GET_ITEM(items, i);
        if (d == HG_F32 && dim + 1 == n_dim && PyFloat_CheckExact(item)) {
            memcpy(*to, &(float){(float)PyFloat_AS_DOUBLE(item)}, sizeof(float)), *to += sizeof(float);
            continue;
        }
        Py_INCREF(item);
        failed = fill(item, sizes, n_dim, dim + 1, d, to);
        Py_DECREF(item);
    }
    Py_DECREF(items);
    return failed;
}

/* ---- One tensor from another ------------------------------------------------------------------------------------ */

/* t in dtype d (HG_NO_DTYPE: its own), a copy where `copy`, without history; steals t, which may be NULL. */
static PyObject *settled(hg_ctx *cx, PyObject *t, hg_dtype d, bool copy) {
    if (!t) return NULL;
    if (d == HG_NO_DTYPE) d = (hg_dtype)TENSOR(t)->dtype;
    if (!copy && d == TENSOR(t)->dtype) return t;
    bool was = cx->grad_enabled;
    cx->grad_enabled = false;
    PyObject *made = d == TENSOR(t)->dtype ? py_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(TENSOR(t))}, 1)
                                           : py_call_op(cx, HG_OP_TO_COPY, (hg_arg[]){hg_t(TENSOR(t)), hg_d(d)}, 2);
    cx->grad_enabled = was;
    Py_DECREF(t);
    return made;
}

/* A list of plain floats as float32: what is made most. None: there is something else in it. */
static PyObject *from_floats(hg_ctx *cx, PyObject *list) {
    int64_t n = PyList_GET_SIZE(list);
    hg_tensor *t;
    for (int64_t i = 0; i < n; i++)
        if (!PyFloat_CheckExact(PyList_GET_ITEM(list, i))) Py_RETURN_NONE;
    hg_status st = hg_tensor_empty(cx, HG_F32, 1, &n, &t);
    if (st != HG_OK) return py_raise(cx, st);
    for (int64_t i = 0; i < n; i++) ((float *)(void *)t->data)[i] = (float)PyFloat_AS_DOUBLE(PyList_GET_ITEM(list, i));
    return PY(t);
}

static PyObject *from_sequence(hg_ctx *cx, PyObject *o, hg_dtype dtype) {
    int64_t sizes[HG_MAX_DIM];
    int n_dim;
    hg_dtype d = dtype;
    if (PyList_CheckExact(o) && d == HG_NO_DTYPE && hg_default_dtype(cx) == HG_F32) {
        PyObject *made = from_floats(cx, o);
        if (made != Py_None) return made;
        Py_DECREF(made);
    }
    if (PyUnicode_Check(o))
        return PyErr_Format(PyExc_TypeError, "new(): invalid data type '%.100s'", Py_TYPE(o)->tp_name);
    if (sizes_of(o, sizes, &n_dim)) return NULL;
    bool plain = is_plain_sequence(o) && PySequence_Fast_GET_SIZE(o); /* asking what is inside may have emptied it */
    if (n_dim > 1 && plain && py_is_array(PySequence_Fast_ITEMS(o)[0]) &&
        hg_warn_once(cx, "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider "
                         "converting the list to a single numpy.ndarray with numpy.array() before converting to a "
                         "tensor.") != HG_OK)
        return NULL;
    if (d == HG_NO_DTYPE && infer(cx, o, &d, 0)) return NULL;
    if (d == HG_NO_DTYPE) d = hg_default_dtype(cx); /* nothing inside */
    hg_dtype stored = d == HG_F16 || d == HG_BF16 ? HG_F32 : d;
    hg_tensor *t;
    hg_status st = hg_tensor_empty(cx, stored, n_dim, sizes, &t);
    if (st != HG_OK) return py_raise(cx, st);
    char *to = t->data;
    if (fill(o, sizes, n_dim, 0, stored, &to)) {
        hg_release(cx, t);
        return NULL;
    }
    return settled(cx, PY(t), d, false);
}

static bool has(PyObject *o, PyObject *name) {
    PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(o), name);
    if (!found) PyErr_Clear();
    Py_XDECREF(found);
    return found != NULL;
}

PyObject *py_as_tensor(PyObject *o, hg_dtype dtype, bool copy) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (py_is_tensor(o)) return settled(cx, Py_NewRef(o), dtype, copy);
    if (py_is_array(o)) return settled(cx, py_from_numpy(cx, o, !copy), dtype, copy);
    if (is_scalar(o) || PyList_Check(o) || PyTuple_Check(o) || numpy_dtype(o) != HG_NO_DTYPE)
        return from_sequence(cx, o, dtype);
    if (has(o, NAME(__array__)) || has(o, NAME(__array_interface__)))
        return settled(cx, py_from_array_like(cx, o), dtype, copy);
    return from_sequence(cx, o, dtype);
}

/* ---- The functions ---------------------------------------------------------------------------------------------- */

static hg_status warn_of_tensor(hg_ctx *cx, PyObject *data, const char *name) {
    if (!py_is_tensor(data)) return HG_OK;
    return hg_warn(cx, "UserWarning",
                   "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                   "sourceTensor.detach().clone().requires_grad_(True), rather than %s(sourceTensor).",
                   name);
}

/* The dtype of an optional argument. */
static int dtype_of(PyObject *o, const char *function, hg_dtype *d) {
    if (!o || o == Py_None) return 0;
    if (!py_dtype(o, d)) return 0;
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
    PyErr_Format(PyExc_TypeError, "%s(): argument 'dtype' must be torch.dtype, not %.100s", function,
                 Py_TYPE(o)->tp_name);
    return -1;
}

static PyObject *with_grad(hg_ctx *cx, PyObject *t, int requires_grad) {
    if (!t || !requires_grad) return t;
    if (!hg_dtype_is_float(TENSOR(t)->dtype)) {
        Py_DECREF(t);
        return PyErr_SetString(PyExc_RuntimeError,
                               "Only Tensors of floating point and complex dtype can require gradients"),
               NULL;
    }
    hg_status st = hg_tensor_set_requires_grad(cx, TENSOR(t), true);
    if (st == HG_OK) return t;
    Py_DECREF(t);
    return py_raise(cx, st);
}

/* What torch.tensor(data, dtype=..., device=..., requires_grad=..., pin_memory=...) and its kin make. */
static PyObject *make(hg_ctx *cx, const char *function, PyObject *const at[5], hg_dtype d, bool copy) {
    int grad = py_bool(at[3], function, "requires_grad");
    if (grad < 0 || dtype_of(at[1], function, &d)) return NULL;
    if (!py_is_meta(at[2]) && py_device(at[2], function)) return NULL;
    PyObject *made = py_on(at[2], py_as_tensor(at[0], d, copy || py_is_meta(at[2])));
    return with_grad(cx, copy ? py_dispatch_fresh(made) : made, grad);
}

static PyObject *torch_tensor(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[5];
    hg_ctx *cx = py_ctx();
    if (n > 1) return PyErr_Format(PyExc_TypeError, "tensor() takes 1 positional argument but %zd were given", n);
    if (n == 1 && !kwnames && cx && !hg_py->function_modes &&
        (PyFloat_CheckExact(args[0]) || PyLong_CheckExact(args[0]) || PyList_CheckExact(args[0])))
        return py_dispatch_fresh(from_sequence(cx, args[0], HG_NO_DTYPE));
    if (hg_py->override && py_overrides(NULL, 0)) {
        PyObject *itself = PyObject_GetAttrString(hg_py->module, "tensor");
        PyObject *made = itself ? py_override(itself, args, n, kwnames) : NULL;
        Py_XDECREF(itself);
        return made;
    }
    if (!cx || py_parse("tensor", "data,dtype,device,requires_grad,pin_memory", 1, args, n, kwnames, at)) return NULL;
    if (warn_of_tensor(cx, at[0], "torch.tensor") != HG_OK) return NULL;
    return make(cx, "tensor", at, HG_NO_DTYPE, true);
}

static PyObject *as_tensor(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[3];
    hg_dtype d = HG_NO_DTYPE;
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("as_tensor", "data,dtype,device", 1, args, n, kwnames, at)) return NULL;
    if (dtype_of(at[1], "as_tensor", &d)) return NULL;
    if (py_is_meta(at[2])) return py_on(at[2], py_as_tensor(at[0], d, true));
    if (py_device(at[2], "as_tensor")) return NULL;
    if (py_is_tensor(at[0]) && d != HG_NO_DTYPE && d != TENSOR(at[0])->dtype) /* recorded, unlike a tensor made anew */
        return py_call_op(cx, HG_OP_TO_COPY, (hg_arg[]){hg_t(TENSOR(at[0])), hg_d(d)}, 2);
    return py_as_tensor(at[0], d, false);
}

/* asarray() of a tensor: what converts or copies it is recorded. requires_grad is set on a leaf, be it the one given, as
   torch does; False detaches a result. */
static PyObject *asarray_of_tensor(hg_ctx *cx, PyObject *obj, hg_dtype d, bool copy, PyObject *requires_grad) {
    hg_tensor *t = TENSOR(obj), *made = t;
    hg_status st = HG_OK;
    if (d != HG_NO_DTYPE && d != t->dtype)
        st = hg_call_op(cx, HG_OP_TO_COPY, (hg_arg[]){hg_t(t), hg_d(d)}, 2, &made);
    else if (copy)
        st = hg_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(t)}, 1, &made);
    else
        hg_retain(cx, made);
    if (st != HG_OK) return py_raise(cx, st);
    if (requires_grad == Py_False && !made->grad_fn) {
        made->requires_grad = false;
    } else if (requires_grad == Py_False) {
        hg_tensor *bare = NULL;
        st = hg_tensor_detach(cx, made, &bare);
        hg_release(cx, made);
        return st == HG_OK ? py_own(bare) : py_raise(cx, st);
    }
    return with_grad(cx, py_own(made), requires_grad == Py_True && !hg_tensor_requires_grad(made));
}

/* asarray(obj, *, dtype, device, copy, requires_grad): copy=False insists on sharing memory. NumPy's scalars are buffers, too,
   and taken as numbers. */
static PyObject *asarray(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[5];
    hg_dtype d = HG_NO_DTYPE;
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("asarray", "obj,dtype,device,copy,requires_grad", 1, args, n, kwnames, at)) return NULL;
    int copy = py_bool(at[3], "asarray", "copy"), grad = py_bool(at[4], "asarray", "requires_grad");
    if (copy < 0 || grad < 0 || dtype_of(at[1], "asarray", &d) || py_device(at[2], "asarray")) return NULL;
    bool insists = at[3] == Py_False, number = numpy_dtype(at[0]) != HG_NO_DTYPE;
    hg_dtype become = insists ? HG_NO_DTYPE : d;
    PyObject *t = NULL;
    if (py_is_tensor(at[0]))
        t = asarray_of_tensor(cx, at[0], become, copy, at[4]), grad = 0;
    else if (PyCapsule_CheckExact(at[0]))
        t = settled(cx, PyObject_CallMethod(hg_py->module, "from_dlpack", "O", at[0]), become, copy);
    else if (!py_is_array(at[0]) && !is_scalar(at[0]) && !number && PyObject_CheckBuffer(at[0]))
        t = settled(cx, py_from_buffer(cx, at[0], d == HG_NO_DTYPE ? hg_default_dtype(cx) : d, -1, 0), d, copy);
    else
        t = py_as_tensor(at[0], become, copy);
    if (t && insists &&
        (number || is_plain_sequence(at[0]) || (is_scalar(at[0]) && !py_is_tensor(at[0])) ||
         (d != HG_NO_DTYPE && d != TENSOR(t)->dtype))) {
        Py_DECREF(t);
        return PyErr_Format(number ? PyExc_RuntimeError : PyExc_ValueError, "can't alias %.100s into a tensor%s%s",
                            Py_TYPE(at[0])->tp_name, d == HG_NO_DTYPE ? "" : " of ",
                            d == HG_NO_DTYPE ? "" : hg_dtypes[d].name);
    }
    return with_grad(cx, t, grad);
}

static PyObject *new_tensor(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[5];
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("new_tensor", "data,dtype,device,requires_grad,pin_memory", 1, args, n, kwnames, at))
        return NULL;
    if (warn_of_tensor(cx, at[0], "tensor.new_tensor") != HG_OK) return NULL;
    hg_dtype d = (hg_dtype)(py_is_tensor(at[0]) ? TENSOR(at[0]) : TENSOR(self))->dtype;
    if (!at[2] && hg_is_meta(TENSOR(self))) {
        PyObject *meta = py_device_of(TENSOR(self)), *on[] = {at[0], at[1], meta, at[3], at[4]};
        PyObject *made = meta ? make(cx, "new_tensor", on, d, true) : NULL;
        Py_XDECREF(meta);
        return made;
    }
    return make(cx, "new_tensor", at, d, true);
}

/* ---- Memory of other objects ------------------------------------------------------------------------------------ */

typedef struct lender {
    Py_buffer view;
} lender;

/* The last tensor on the memory may go in any thread that holds the lock. */
static void lender_free(void *owner) {
    lender *l = owner;
    PyBuffer_Release(&l->view);
    PyMem_Free(l);
}

PyObject *py_from_buffer(hg_ctx *cx, PyObject *o, hg_dtype d, int64_t count, int64_t offset) {
    lender *l = PyMem_Calloc(1, sizeof *l);
    if (!l) return PyErr_NoMemory();
    if (PyObject_GetBuffer(o, &l->view, PyBUF_WRITABLE)) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError)) goto fail;
        PyErr_Clear();
        if (PyObject_GetBuffer(o, &l->view, PyBUF_SIMPLE)) goto fail;
        if (hg_warn_once(cx, "The given buffer is not writable, and PyTorch does not support non-writable tensors. "
                             "Writing to the tensor changes memory its owner believes constant: copy it first where "
                             "you mean to write.") != HG_OK) {
            PyBuffer_Release(&l->view);
            goto fail;
        }
    }
    int64_t size = hg_dtypes[d].size, length = l->view.len;
    if (length == 0 || count == 0)
        PyErr_Format(PyExc_ValueError, "both buffer length (%lld) and count (%lld) must not be 0", (long long)length,
                     (long long)count);
    else if (offset < 0 || offset >= length)
        PyErr_Format(PyExc_ValueError,
                     "offset (%lld bytes) must be non-negative and no greater than buffer length (%lld bytes) minus 1",
                     (long long)offset, (long long)length);
    else if (count > 0 && count > (length - offset) / size)
        PyErr_Format(PyExc_ValueError,
                     "requested buffer length (%lld * %lld bytes) after offset (%lld bytes) must not be greater than "
                     "actual buffer length (%lld bytes)",
                     (long long)count, (long long)size, (long long)offset, (long long)length);
    else if (count < 0 && (length - offset) % size)
        PyErr_Format(PyExc_ValueError,
                     "buffer length (%lld bytes) after offset (%lld bytes) must be a multiple of element size (%lld)",
                     (long long)length, (long long)offset, (long long)size);
    if (PyErr_Occurred()) {
        PyBuffer_Release(&l->view);
        goto fail;
    }
    if (count < 0) count = (length - offset) / size;
    int64_t stride = 1;
    hg_tensor *t;
    hg_status st = hg_tensor_wrap(cx, (char *)l->view.buf + offset, d, 1, &count, &stride, (size_t)(count * size),
                                  lender_free, l, &t);
    if (st != HG_OK) {
        PyBuffer_Release(&l->view);
        PyMem_Free(l);
        return py_raise(cx, st);
    }
    return py_own(t);
fail:
    PyMem_Free(l);
    return NULL;
}

static PyObject *frombuffer(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[5];
    hg_dtype d = HG_NO_DTYPE;
    int64_t count = -1, offset = 0;
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("frombuffer", "buffer,dtype,count,offset,requires_grad", 2, args, n, kwnames, at)) return NULL;
    int grad = py_bool(at[4], "frombuffer", "requires_grad");
    if (grad < 0 || dtype_of(at[1], "frombuffer", &d)) return NULL;
    if ((at[2] && py_int64(at[2], &count)) || (at[3] && py_int64(at[3], &offset))) return NULL;
    if (d == HG_NO_DTYPE)
        return PyErr_SetString(PyExc_TypeError, "frombuffer(): argument 'dtype' must be torch.dtype, not None"), NULL;
    if (!PyObject_CheckBuffer(at[0]))
        return PyErr_SetString(PyExc_ValueError, "object does not implement Python buffer protocol."), NULL;
    return with_grad(cx, py_from_buffer(cx, at[0], d, count, offset), grad);
}

static PyMethodDef functions[] = {
    {"tensor", FAST(torch_tensor), KEYWORDS, "A tensor with a copy of the data: a number, nested sequences, an array."},
    {"as_tensor", FAST(as_tensor), KEYWORDS, "The data as a tensor, without a copy where that is possible."},
    {"asarray", FAST(asarray), KEYWORDS, "The object as a tensor, sharing its memory where that is possible."},
    {"frombuffer", FAST(frombuffer), KEYWORDS, "A one-dimensional tensor over the memory of an object with a buffer."},
    {NULL, NULL, 0, NULL},
};

PyMethodDef py_create_methods[] = {
    {"new_tensor", FAST(new_tensor), KEYWORDS, "A tensor of the data, of the same dtype."},
    {NULL, NULL, 0, NULL},
};

int py_creation_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
