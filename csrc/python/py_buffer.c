/* The buffer protocol: memoryview(tensor), bytes(tensor), and whoever reads buffers. */
#include "py_tensor.h"

static const char *const formats[HG_N_DTYPES] = {
    [HG_U8] = "B",  [HG_I8] = "b",  [HG_I16] = "h", [HG_I32] = "i",  [HG_I64] = sizeof(long) == 8 ? "l" : "q",
    [HG_F16] = "e", [HG_F32] = "f", [HG_F64] = "d", [HG_BOOL] = "?",
};

/* The shape and strides a view points to are its own: the tensor's may be changed in place. */
int py_tensor_buffer(PyObject *self, Py_buffer *view, int flags) {
    hg_tensor *t = TENSOR(self);
    view->obj = NULL;
    if (t->levels && py_hides(self, PY_ELEMENTS)) return -1;
    if (hg_tensor_requires_grad(t)) {
        PyErr_SetString(PyExc_BufferError, "a tensor that requires grad gives no buffer: use tensor.detach()");
        return -1;
    }
    if (!formats[t->dtype]) {
        PyErr_Format(PyExc_BufferError, "Python has no buffer format for torch.%s", hg_dtypes[t->dtype].name);
        return -1;
    }
    bool read_only = t->storage && t->storage->read_only;
    if (flags & PyBUF_WRITABLE && read_only) {
        PyErr_SetString(PyExc_BufferError, "the tensor's memory is read-only");
        return -1;
    }
    if (!t->contiguous && (flags & PyBUF_STRIDES) != PyBUF_STRIDES) {
        PyErr_SetString(PyExc_BufferError, "the tensor is not contiguous: ask for strides, or use tensor.contiguous()");
        return -1;
    }
    if (!t->contiguous && ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS ||
                           (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS)) {
        PyErr_SetString(PyExc_BufferError, "the tensor is not contiguous");
        return -1;
    }
    if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && t->n_dim > 1) {
        PyErr_SetString(PyExc_BufferError, "the tensor's elements do not lie in Fortran's order");
        return -1;
    }
    Py_ssize_t size = (Py_ssize_t)hg_tensor_itemsize(t), *at = PyMem_New(Py_ssize_t, 2 * (size_t)t->n_dim + 1);
    if (!at) return PyErr_NoMemory(), -1;
    for (int i = 0; i < t->n_dim; i++) {
        at[i] = (Py_ssize_t)t->shape[i];
        at[t->n_dim + i] = (Py_ssize_t)t->stride[i] * size;
    }
    view->buf = t->data;
    view->len = (Py_ssize_t)t->numel * size;
    view->itemsize = size;
    view->readonly = read_only;
    view->ndim = t->n_dim;
    view->format = flags & PyBUF_FORMAT ? (char *)formats[t->dtype] : NULL;
    view->shape = flags & PyBUF_ND ? at : NULL;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? at + t->n_dim : NULL;
    view->suboffsets = NULL;
    view->internal = at;
    /* What holds the memory is another tensor on the same storage: this one may get another with `.data =`. */
    hg_ctx *cx = py_ctx();
    hg_tensor *keeper;
    hg_status st = cx ? hg_tensor_detach(cx, t, &keeper) : HG_HOST;
    if (st != HG_OK) {
        PyMem_Free(at);
        return cx ? py_fail(cx, st) : -1;
    }
    view->obj = PY(keeper);
    return 0;
}

void py_tensor_buffer_done(PyObject *Py_UNUSED(self), Py_buffer *view) {
    PyMem_Free(view->internal);
    view->internal = NULL;
}
