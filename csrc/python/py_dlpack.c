/* DLPack: tensors to and from other libraries, on the same memory.
   https://dmlc.github.io/dlpack/latest/c_api.html is the layout reproduced here. */
#include "py_tensor.h"

enum { DL_CPU = 1, DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };
enum { DL_FLAG_READ_ONLY = 1, DL_FLAG_COPIED = 2 };

typedef struct {
    int32_t type, id;
} dl_device;
typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} dl_dtype;
typedef struct {
    void *data;
    dl_device device;
    int32_t n_dim;
    dl_dtype dtype;
    int64_t *shape, *stride; /* in elements; stride may be NULL: contiguous */
    uint64_t offset;         /* in bytes */
} dl_tensor;
typedef struct dl_managed {
    dl_tensor t;
    void *owner;
    void (*deleter)(struct dl_managed *self);
} dl_managed;
typedef struct dl_versioned {
    struct {
        uint32_t major, minor;
    } version;
    void *owner;
    void (*deleter)(struct dl_versioned *self);
    uint64_t flags;
    dl_tensor t;
} dl_versioned;

static const dl_dtype dtypes[HG_N_DTYPES] = {
    [HG_U8] = {DL_UINT, 8, 1},    [HG_I8] = {DL_INT, 8, 1},     [HG_I16] = {DL_INT, 16, 1},
    [HG_I32] = {DL_INT, 32, 1},   [HG_I64] = {DL_INT, 64, 1},   [HG_F16] = {DL_FLOAT, 16, 1},
    [HG_F32] = {DL_FLOAT, 32, 1}, [HG_F64] = {DL_FLOAT, 64, 1}, [HG_BF16] = {DL_BFLOAT, 16, 1},
    [HG_BOOL] = {DL_BOOL, 8, 1},
};

/* ---- Out -------------------------------------------------------------------------------------------------------- */

/* The consumer may call these from any thread, and holding the lock or not. */
static void drop_keeper(void *keeper) {
    PyGILState_STATE gil = PyGILState_Ensure();
    Py_DECREF((PyObject *)keeper);
    PyGILState_Release(gil);
}

static void managed_delete(dl_managed *m) {
    drop_keeper(m->owner);
    free(m);
}

static void versioned_delete(dl_versioned *m) {
    drop_keeper(m->owner);
    free(m);
}

/* A capsule that nobody consumed still owns what is inside. */
static void capsule_drop(PyObject *capsule) {
    if (PyCapsule_IsValid(capsule, "dltensor")) {
        dl_managed *m = PyCapsule_GetPointer(capsule, "dltensor");
        m->deleter(m);
    } else if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        dl_versioned *m = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        m->deleter(m);
    }
}

static void describe(dl_tensor *to, hg_tensor *t, int64_t *shape) {
    memcpy(shape, t->shape, t->n_dim * sizeof *shape);
    memcpy(shape + t->n_dim, t->stride, t->n_dim * sizeof *shape);
    *to = (dl_tensor){.data = t->data,
                      .device = {DL_CPU, 0},
                      .n_dim = t->n_dim,
                      .dtype = dtypes[t->dtype],
                      .shape = shape,
                      .stride = shape + t->n_dim};
}

static PyObject *capsule_of(hg_ctx *cx, hg_tensor *t, bool versioned, bool copied) {
    hg_tensor *keeper;
    hg_status st = hg_tensor_detach(cx, t, &keeper);
    if (st != HG_OK) return py_raise(cx, st);
    size_t room = 2 * (size_t)t->n_dim * sizeof(int64_t);
    void *block = calloc(1,
                         (versioned ? sizeof(dl_versioned) : sizeof(dl_managed)) + room); /* freed without the lock */
    if (!block) {
        hg_release(cx, keeper);
        return PyErr_NoMemory();
    }
    if (versioned) {
        dl_versioned *m = block;
        m->version.major = 1, m->version.minor = 0;
        m->owner = PY(keeper), m->deleter = versioned_delete;
        m->flags = (t->storage->read_only ? DL_FLAG_READ_ONLY : 0) | (copied ? DL_FLAG_COPIED : 0);
        describe(&m->t, t, (int64_t *)(m + 1));
    } else {
        dl_managed *m = block;
        m->owner = PY(keeper), m->deleter = managed_delete;
        describe(&m->t, t, (int64_t *)(m + 1));
    }
    PyObject *capsule = PyCapsule_New(block, versioned ? "dltensor_versioned" : "dltensor", capsule_drop);
    if (!capsule) {
        hg_release(cx, keeper);
        free(block);
    }
    return capsule;
}

static PyObject *tensor_dlpack(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[4];
    hg_ctx *cx = py_ctx();
    hg_tensor *t = TENSOR(self);
    if (!cx || py_parse("__dlpack__", "stream,max_version,dl_device,copy", 0, args, n, kwnames, at)) return NULL;
    if (hg_tensor_requires_grad(t))
        return PyErr_SetString(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()"),
               NULL;
    if (at[0] && at[0] != Py_None) return PyErr_SetString(PyExc_BufferError, "stream must be None on the CPU"), NULL;
    bool versioned = false;
    if (at[1] && at[1] != Py_None) {
        PyObject *major = PySequence_GetItem(at[1], 0);
        int64_t wanted = 0;
        int failed = major ? py_int64(major, &wanted) : -1;
        Py_XDECREF(major);
        if (failed) return NULL;
        versioned = wanted >= 1;
    }
    if (at[3] != Py_True) return capsule_of(cx, t, versioned, false);
    PyObject *copy = py_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(t)}, 1);
    PyObject *capsule = copy ? capsule_of(cx, TENSOR(copy), versioned, true) : NULL;
    Py_XDECREF(copy);
    return capsule;
}

static PyObject *tensor_dlpack_device(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) {
    return Py_BuildValue("(ii)", DL_CPU, 0);
}

/* ---- In --------------------------------------------------------------------------------------------------------- */

static void managed_free(void *owner) {
    dl_managed *m = owner;
    if (m->deleter) m->deleter(m);
}

static void versioned_free(void *owner) {
    dl_versioned *m = owner;
    if (m->deleter) m->deleter(m);
}

static PyObject *import_tensor(hg_ctx *cx, const dl_tensor *from, void (*drop)(void *), void *owner) {
    if (from->device.type != DL_CPU)
        return PyErr_Format(PyExc_BufferError,
                            "from_dlpack(): the tensor is on device type %d, hookgrad reads the CPU's memory",
                            from->device.type);
    if (from->n_dim < 0 || from->n_dim > HG_MAX_DIM)
        return PyErr_Format(PyExc_BufferError, "from_dlpack(): %d dimensions; a tensor has at most %d", from->n_dim,
                            HG_MAX_DIM);
    hg_dtype d = HG_NO_DTYPE;
    for (int i = 0; i < HG_N_DTYPES; i++)
        if (dtypes[i].code == from->dtype.code && dtypes[i].bits == from->dtype.bits && from->dtype.lanes == 1)
            d = (hg_dtype)i;
    if (d == HG_NO_DTYPE)
        return PyErr_Format(PyExc_BufferError, "from_dlpack(): dtype code %d of %d bits and %d lanes is not supported",
                            from->dtype.code, from->dtype.bits, from->dtype.lanes);
    int64_t stride[HG_MAX_DIM], step = 1, size = hg_dtypes[d].size, span = size;
    for (int i = from->n_dim - 1; i >= 0; i--) {
        stride[i] = from->stride ? from->stride[i] : step;
        step *= from->shape[i];
        if (from->shape[i] > 1 && stride[i] < 0)
            return PyErr_SetString(PyExc_BufferError, "from_dlpack(): negative strides are not supported: copy first"),
                   NULL;
        if (from->shape[i] > 0) span += (from->shape[i] - 1) * stride[i] * size;
    }
    hg_tensor *t;
    hg_status st = hg_tensor_wrap(cx, (char *)from->data + from->offset, d, from->n_dim, from->shape, stride,
                                  (size_t)span, drop, owner, &t);
    return st == HG_OK ? py_own(t) : py_raise(cx, st);
}

static PyObject *from_capsule(hg_ctx *cx, PyObject *capsule) {
    PyObject *t = NULL;
    if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
        dl_versioned *m = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        if (m->version.major > 1)
            return PyErr_Format(PyExc_BufferError, "from_dlpack(): DLPack version %u is not known", m->version.major);
        if ((t = import_tensor(cx, &m->t, versioned_free, m))) PyCapsule_SetName(capsule, "used_dltensor_versioned");
    } else if (PyCapsule_IsValid(capsule, "dltensor")) {
        dl_managed *m = PyCapsule_GetPointer(capsule, "dltensor");
        if ((t = import_tensor(cx, &m->t, managed_free, m))) PyCapsule_SetName(capsule, "used_dltensor");
    } else {
        PyErr_SetString(
            PyExc_RuntimeError,
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, "
            "so you might have already constructed a tensor from it once.");
    }
    return t;
}

/* Ask the exporter for a versioned capsule; those that know no max_version are asked again without. */
static PyObject *exported(PyObject *o) {
    PyObject *method = PyObject_GetAttr(o, NAME(__dlpack__));
    if (!method) return NULL;
    PyObject *kwargs = Py_BuildValue("{s:(ii)}", "max_version", 1, 0);
    PyObject *capsule = kwargs ? PyObject_Call(method, hg_py->empty_tuple, kwargs) : NULL;
    if (!capsule && kwargs && PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        capsule = PyObject_CallNoArgs(method);
    }
    Py_XDECREF(kwargs);
    Py_DECREF(method);
    return capsule;
}

static PyObject *from_dlpack(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[3];
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("from_dlpack", "ext_tensor,device,copy", 1, args, n, kwnames, at) ||
        py_device(at[1], "from_dlpack"))
        return NULL;
    PyObject *capsule = PyCapsule_CheckExact(at[0]) ? Py_NewRef(at[0]) : exported(at[0]);
    PyObject *t = capsule ? from_capsule(cx, capsule) : NULL;
    Py_XDECREF(capsule);
    if (t && at[2] == Py_True) Py_SETREF(t, py_call_op(cx, HG_OP_CLONE, (hg_arg[]){hg_t(TENSOR(t))}, 1));
    return t;
}

static PyObject *to_dlpack(PyObject *Py_UNUSED(m), PyObject *o) {
    if (!py_is_tensor(o))
        return PyErr_Format(PyExc_TypeError, "to_dlpack(): expected a Tensor, not %.100s", Py_TYPE(o)->tp_name);
    return tensor_dlpack(o, NULL, 0, NULL);
}

static PyMethodDef functions[] = {
    {"from_dlpack", FAST(from_dlpack), KEYWORDS, "A tensor over the memory of another library's tensor."},
    {"_to_dlpack", to_dlpack, METH_O, "The tensor as a capsule another library can read."},
    {NULL, NULL, 0, NULL},
};

PyMethodDef py_dlpack_methods[] = {
    {"__dlpack__", FAST(tensor_dlpack), KEYWORDS, NULL},
    {"__dlpack_device__", tensor_dlpack_device, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int py_dlpack_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
