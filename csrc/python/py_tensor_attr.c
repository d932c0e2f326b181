/* Tensor's attributes. */
#include "py_tensor.h"

#define UNUSED_CLOSURE void *Py_UNUSED(closure)

/* ---- What it looks like ----------------------------------------------------------------------------------------- */

static PyObject *get_shape(PyObject *self, UNUSED_CLOSURE) { return py_size(TENSOR(self)->shape, TENSOR(self)->n_dim); }
static PyObject *get_dtype(PyObject *self, UNUSED_CLOSURE) { return Py_NewRef(hg_py->dtypes[TENSOR(self)->dtype]); }
static PyObject *get_device(PyObject *self, UNUSED_CLOSURE) { return py_device_of(TENSOR(self)); }
static PyObject *get_is_meta(PyObject *self, UNUSED_CLOSURE) { return PyBool_FromLong(hg_is_meta(TENSOR(self))); }
static PyObject *get_is_cpu(PyObject *self, UNUSED_CLOSURE) { return PyBool_FromLong(!hg_is_meta(TENSOR(self))); }
static PyObject *get_layout(PyObject *Py_UNUSED(self), UNUSED_CLOSURE) { return Py_NewRef(hg_py->strided); }
static PyObject *get_ndim(PyObject *self, UNUSED_CLOSURE) { return PyLong_FromLong(TENSOR(self)->n_dim); }
static PyObject *get_itemsize(PyObject *self, UNUSED_CLOSURE) {
    return PyLong_FromSize_t(hg_tensor_itemsize(TENSOR(self)));
}

static PyObject *get_nbytes(PyObject *self, UNUSED_CLOSURE) {
    return PyLong_FromLongLong(TENSOR(self)->numel * (int64_t)hg_tensor_itemsize(TENSOR(self)));
}

static PyObject *get_version(PyObject *self, UNUSED_CLOSURE) {
    if (TENSOR(self)->is_inference == 1)
        return PyErr_SetString(PyExc_RuntimeError, "Inference tensors do not track version counter."), NULL;
    return PyLong_FromUnsignedLong(TENSOR(self)->storage ? hg_version(TENSOR(self)->storage) : 0);
}

static PyObject *get_base(PyObject *self, UNUSED_CLOSURE) {
    hg_tensor *base = TENSOR(self)->base;
    while (base && base->base) base = base->base; /* what a hook has passed on stands between */
    return py_wrap(base);
}
static PyObject *get_false(PyObject *Py_UNUSED(self), UNUSED_CLOSURE) { Py_RETURN_FALSE; }

/* ---- Its transposes --------------------------------------------------------------------------------------------- */

static PyObject *swapped(PyObject *self, int a, int b) {
    hg_ctx *cx = py_ctx();
    return cx ? py_call_op(cx, HG_OP_TRANSPOSE, (hg_arg[]){hg_t(TENSOR(self)), hg_i(a), hg_i(b)}, 3) : NULL;
}

static const char identity[] = "This function is the identity in these cases.",
                  conjugate[] = "Consider using x.conj().";

static hg_status warn_of_number(hg_ctx *cx, const char *what, const char *advice) {
    char text[120];
    snprintf(text, sizeof text, "Tensor.%s is deprecated on 0-D tensors. %s", what, advice);
    return hg_warn_once(cx, text);
}

/* A number, as the transpose of itself. */
static PyObject *as_it_is(PyObject *self, const char *what, const char *advice) {
    hg_ctx *cx = py_ctx();
    hg_status st = cx ? warn_of_number(cx, what, advice) : HG_OK;
    return !cx ? NULL : st == HG_OK ? Py_NewRef(self) : py_raise(cx, st);
}

static PyObject *get_T(PyObject *self, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    int64_t dims[HG_MAX_DIM];
    int n = TENSOR(self)->n_dim;
    if (n != 2) {
        hg_status st =
            n == 0
                ? warn_of_number(cx, "T", identity)
                : hg_warn_once(
                      cx,
                      "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
                      "deprecated and it will throw an error in a future release. Consider `x.mT` to transpose batches "
                      "of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a "
                      "tensor.");
        if (st != HG_OK) return py_raise(cx, st);
    }
    for (int i = 0; i < n; i++) dims[i] = n - 1 - i;
    return py_call_op(cx, HG_OP_PERMUTE, (hg_arg[]){hg_t(TENSOR(self)), hg_ints(dims, n)}, 2);
}

static PyObject *get_mT(PyObject *self, UNUSED_CLOSURE) {
    if (TENSOR(self)->n_dim == 0) return as_it_is(self, "mT", identity);
    if (TENSOR(self)->n_dim < 2)
        return PyErr_Format(PyExc_RuntimeError,
                            "tensor.mT is only supported on matrices or batches of matrices. Got %d-D tensor.",
                            TENSOR(self)->n_dim);
    return swapped(self, -2, -1);
}

static PyObject *get_mH(PyObject *self, UNUSED_CLOSURE) {
    if (TENSOR(self)->n_dim == 0) return as_it_is(self, "mH", conjugate);
    return get_mT(self, NULL);
}

static PyObject *get_H(PyObject *self, UNUSED_CLOSURE) {
    if (TENSOR(self)->n_dim == 0) return as_it_is(self, "H", conjugate);
    if (TENSOR(self)->n_dim == 2) return swapped(self, 0, 1);
    return PyErr_Format(PyExc_RuntimeError, "tensor.H is only supported on matrices (2-D tensors). Got %d-D tensor.",
                        TENSOR(self)->n_dim);
}

/* ---- Its place in the graph ------------------------------------------------------------------------------------- */

static PyObject *get_requires_grad(PyObject *self, UNUSED_CLOSURE) {
    return PyBool_FromLong(hg_tensor_requires_grad(TENSOR(self)));
}

static int set_requires_grad(PyObject *self, PyObject *value, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (!value || !PyBool_Check(value)) {
        PyErr_SetString(PyExc_RuntimeError, "requires_grad must be a bool");
        return -1;
    }
    if (value == Py_True && !hg_dtype_is_float((hg_dtype)TENSOR(self)->dtype))
        return PyErr_SetString(PyExc_RuntimeError,
                               "only Tensors of floating point and complex dtype can require gradients"),
               -1;
    if (value == Py_True && TENSOR(self)->grad_fn)
        return PyErr_SetString(PyExc_RuntimeError, "you can only change requires_grad flags of leaf variables."), -1;
    hg_status st = hg_tensor_set_requires_grad(cx, TENSOR(self), value == Py_True);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

static PyObject *get_is_leaf(PyObject *self, UNUSED_CLOSURE) {
    hg_node *node;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_tensor_grad_fn(cx, TENSOR(self), &node);
    return st == HG_OK ? PyBool_FromLong(!node) : py_raise(cx, st);
}

static PyObject *get_grad_fn(PyObject *self, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    hg_node *node;
    if (!cx) return NULL;
    hg_status st = hg_tensor_grad_fn(cx, TENSOR(self), &node);
    return st == HG_OK ? py_node_wrap(node) : py_raise(cx, st);
}

static int set_grad_fn(PyObject *self, PyObject *value, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (value != Py_None) {
        PyErr_SetString(PyExc_RuntimeError, value ? "_grad_fn can be only set to None"
                                                  : "Deletion of _grad_fn not allowed. Detach tensor instead!");
        return -1;
    }
    hg_status st = hg_tensor_detach_(cx, TENSOR(self));
    return st == HG_OK ? 0 : py_fail(cx, st);
}

static PyObject *get_grad(PyObject *self, UNUSED_CLOSURE) {
    hg_tensor *t = TENSOR(self);
    if (!t->grad && t->grad_fn && !hg_tensor_retains_grad(t)) {
        int failed = PyErr_WarnEx(
            PyExc_UserWarning,
            "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
            ".grad attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
            "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you access "
            "the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead. See "
            "github.com/pytorch/pytorch/pull/30531 for more information.",
            1);
        if (failed) return NULL;
    }
    return py_wrap(t->grad);
}

static int set_grad(PyObject *self, PyObject *value, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (value && value != Py_None && !py_is_tensor(value)) {
        PyErr_Format(PyExc_TypeError, "assigned grad expected to be a Tensor or None but got grad of type %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    hg_tensor *grad = value && value != Py_None ? TENSOR(value) : NULL;
    hg_status st = hg_tensor_set_grad(cx, TENSOR(self), grad);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

static PyObject *get_grad_dtype(PyObject *self, UNUSED_CLOSURE) {
    hg_node *fn;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_tensor_grad_fn(cx, TENSOR(self), &fn);
    if (st != HG_OK) return py_raise(cx, st);
    if (fn) return PyErr_SetString(PyExc_RuntimeError, "grad_dtype can only be accessed on leaf tensors."), NULL;
    hg_dtype d = hg_tensor_grad_dtype(TENSOR(self));
    return Py_NewRef(d == HG_NO_DTYPE ? Py_None : hg_py->dtypes[d]);
}

static int set_grad_dtype(PyObject *self, PyObject *value, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (value && value != Py_None && Py_TYPE(value) != hg_py->dtype_type) {
        PyErr_Format(PyExc_RuntimeError, "grad_dtype must be a torch.dtype or None, but got %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    hg_dtype d = value ? HG_NO_DTYPE : (hg_dtype)TENSOR(self)->dtype;
    if (value && py_dtype(value, &d)) return -1;
    hg_status st = hg_tensor_set_grad_dtype(cx, TENSOR(self), d);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

static PyObject *get_none(PyObject *Py_UNUSED(self), UNUSED_CLOSURE) { Py_RETURN_NONE; }
static PyObject *get_address(PyObject *self, UNUSED_CLOSURE) { return PyLong_FromVoidPtr(TENSOR(self)); }

static PyObject *get_data(PyObject *self, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    hg_tensor *data;
    if (!cx || py_hides(self, PY_DATA)) return NULL;
    hg_status st = hg_tensor_data(cx, TENSOR(self), &data);
    return st == HG_OK ? py_dispatch_data(self, py_own(data)) : py_raise(cx, st);
}

static int set_data(PyObject *self, PyObject *value, UNUSED_CLOSURE) {
    hg_ctx *cx = py_ctx();
    if (!cx || py_hides(self, PY_DATA_TO_SET)) return -1;
    if (!value) {
        PyErr_SetString(PyExc_RuntimeError, "Deleting tensor data is not allowed. Delete tensor instead!");
        return -1;
    }
    if (!py_is_tensor(value)) {
        PyErr_Format(PyExc_TypeError, "Variable data has to be a tensor, but got %.100s", Py_TYPE(value)->tp_name);
        return -1;
    }
    if (hg_tensor_requires_grad(TENSOR(self)) && !hg_dtype_is_float(TENSOR(value)->dtype)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "data set to a tensor that requires gradients must be floating point or complex dtype");
        return -1;
    }
    if (TENSOR(self)->storage && hg_is_meta(TENSOR(self)) != hg_is_meta(TENSOR(value)))
        return PyErr_SetString(PyExc_RuntimeError,
                               "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have "
                               "incompatible tensor type."),
               -1;
    hg_tensor *t = TENSOR(self);
    hg_status st = hg_tensor_assign(cx, t, TENSOR(value));
    if (st != HG_OK) return py_fail(cx, st);
    t->is_inference = !TENSOR(value)->is_inference ? 0 : t->is_inference ? t->is_inference : 2;
    return 0;
}

static PyObject *get_retains_grad(PyObject *self, UNUSED_CLOSURE) {
    return PyBool_FromLong(hg_tensor_retains_grad(TENSOR(self)));
}
static PyObject *get_output_nr(PyObject *self, UNUSED_CLOSURE) { return PyLong_FromUnsignedLong(TENSOR(self)->out_nr); }

static PyObject *get_array_priority(PyObject *Py_UNUSED(self), UNUSED_CLOSURE) { return PyLong_FromLong(1000); }

PyGetSetDef py_tensor_attributes[] = {
    {"shape", get_shape, NULL, "The sizes of its dimensions, a torch.Size.", NULL},
    {"dtype", get_dtype, NULL, "The type of its elements.", NULL},
    {"device", get_device, NULL, "Where it lives: device(type='cpu').", NULL},
    {"layout", get_layout, NULL, "torch.strided", NULL},
    {"ndim", get_ndim, NULL, "How many dimensions it has.", NULL},
    {"itemsize", get_itemsize, NULL, "Bytes an element.", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes of all elements.", NULL},
    {"T", get_T, NULL, "With its dimensions reversed.", NULL},
    {"mT", get_mT, NULL, "With its last two dimensions swapped.", NULL},
    {"H", get_H, NULL, "A matrix, transposed and conjugated.", NULL},
    {"mH", get_mH, NULL, "With its last two dimensions swapped, and conjugated.", NULL},
    {"requires_grad", get_requires_grad, set_requires_grad, "Are gradients computed for it?", NULL},
    {"is_leaf", get_is_leaf, NULL, "Was it made by the user, not by an operation that is differentiated?", NULL},
    {"grad_fn", get_grad_fn, NULL, "The node that made it, None for a leaf.", NULL},
    {"_grad_fn", get_grad_fn, set_grad_fn, "The same; set to None, it forgets where it came from.", NULL},
    {"grad", get_grad, set_grad, "Its gradient, once backward has run.", NULL},
    {"data", get_data, set_data, "Its elements without history.", NULL},
    {"_grad", get_grad, set_grad, NULL, NULL},
    {"grad_dtype", get_grad_dtype, set_grad_dtype,
     "The dtype that a leaf's gradients are cast to, its own unless another was set; None: as they come.", NULL},
    {"name", get_none, NULL, NULL, NULL},
    {"volatile", get_false, NULL, NULL, NULL},
    {"_cdata", get_address, NULL, NULL, NULL},
    {"retains_grad", get_retains_grad, NULL, "Does a tensor that is no leaf keep its gradient?", NULL},
    {"output_nr", get_output_nr, NULL, "Which output of grad_fn it is.", NULL},
    {"_version", get_version, NULL, "How often it was changed in place.", NULL},
    {"_base", get_base, NULL, "What it is a view of, or None.", NULL},
    {"is_cpu", get_is_cpu, NULL, NULL, NULL},
    {"is_cuda", get_false, NULL, NULL, NULL},
    {"is_mps", get_false, NULL, NULL, NULL},
    {"is_xpu", get_false, NULL, NULL, NULL},
    {"is_meta", get_is_meta, NULL, NULL, NULL},
    {"is_sparse", get_false, NULL, NULL, NULL},
    {"is_sparse_csr", get_false, NULL, NULL, NULL},
    {"is_quantized", get_false, NULL, NULL, NULL},
    {"is_mkldnn", get_false, NULL, NULL, NULL},
    {"is_nested", get_false, NULL, NULL, NULL},
    {"is_vulkan", get_false, NULL, NULL, NULL},
    {"is_ipu", get_false, NULL, NULL, NULL},
    {"is_xla", get_false, NULL, NULL, NULL},
    {"is_maia", get_false, NULL, NULL, NULL},
    {"is_mtia", get_false, NULL, NULL, NULL},
    {"__array_priority__", get_array_priority, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
