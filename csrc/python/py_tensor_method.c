/* Tensor's methods that are no ops: sizes and memory, elements as Python's, its place in the graph. */
#include "py_tensor.h"

/* ---- Sizes and memory ------------------------------------------------------------------------------------------- */

/* A dimension's place, counted from the end where negative. */
static int dim_of(hg_tensor *t, PyObject *o, const char *function) {
    int64_t dim;
    if (py_int64(o, &dim)) {
        if (PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "%s(): argument 'dim' (position 1) must be int, not %.100s", function,
                     Py_TYPE(o)->tp_name);
        return -1;
    }
    int n = t->n_dim ? t->n_dim : 1;
    if (dim < -n || dim >= n || !t->n_dim) {
        if (!t->n_dim && dim >= -1 && dim <= 0)
            PyErr_SetString(PyExc_IndexError, "Dimension specified as 0 but tensor has no dimensions");
        else
            PyErr_Format(PyExc_IndexError, "Dimension out of range (expected to be in range of [%d, %d], but got %lld)",
                         -n, n - 1, (long long)dim);
        return -1;
    }
    return (int)(dim < 0 ? dim + n : dim);
}

static PyObject *tensor_size(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("size", args, n, kwnames);
    PyObject *at[1] = {n ? args[0] : NULL};
    if ((n > 1 || kwnames) && py_parse("size", "dim", 0, args, n, kwnames, at)) return NULL;
    hg_tensor *t = TENSOR(self);
    if (!at[0] || at[0] == Py_None) return py_size(t->shape, t->n_dim);
    int dim = dim_of(t, at[0], "size");
    return dim < 0 ? NULL : PyLong_FromLongLong(t->shape[dim]);
}

static PyObject *tensor_stride(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("stride", args, n, kwnames);
    PyObject *at[1];
    if (py_parse("stride", "dim", 0, args, n, kwnames, at)) return NULL;
    hg_tensor *t = TENSOR(self);
    if (!at[0] || at[0] == Py_None) return py_int_tuple(t->stride, t->n_dim);
    int dim = dim_of(t, at[0], "stride");
    return dim < 0 ? NULL : PyLong_FromLongLong(t->stride[dim]);
}

static PyObject *tensor_dim(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("dim", NULL, 0, NULL);
    return PyLong_FromLong(TENSOR(self)->n_dim);
}
static PyObject *tensor_numel(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("numel", NULL, 0, NULL);
    return PyLong_FromLongLong(TENSOR(self)->numel);
}

static PyObject *tensor_element_size(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("element_size", NULL, 0, NULL);
    return PyLong_FromSize_t(hg_tensor_itemsize(TENSOR(self)));
}

static PyObject *tensor_storage_offset(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("storage_offset", NULL, 0, NULL);
    return PyLong_FromLongLong(hg_tensor_offset(TENSOR(self)));
}

/* torch gives 0 for a tensor without elements. */
static PyObject *tensor_data_ptr(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("data_ptr", NULL, 0, NULL);
    if (py_hides(self, PY_NUMPY)) return NULL;
    return PyLong_FromVoidPtr(TENSOR(self)->numel && !hg_is_meta(TENSOR(self)) ? TENSOR(self)->data : NULL);
}

static PyObject *tensor_address(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyLong_FromVoidPtr(TENSOR(self)->data);
}

/* Every byte of its storage, as a tensor. */
static PyObject *tensor_storage_bytes(PyObject *self, PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    hg_tensor *t = TENSOR(self), *whole;
    if (!cx) return NULL;
    int64_t n = t->storage ? (int64_t)(hg_storage_own(t->storage)->size / hg_tensor_itemsize(t)) : 0, step = 1;
    hg_status st = hg_tensor_alias(cx, t, 1, &n, &step, 0, &whole);
    if (st != HG_OK) return py_raise(cx, st);
    PyObject *bytes = py_call_op(cx, HG_OP_VIEW_DTYPE, (hg_arg[]){hg_t(whole), hg_d(HG_U8)}, 2);
    hg_release(cx, whole);
    return bytes;
}

static PyObject *tensor_storage_resize(PyObject *self, PyObject *size) {
    size_t n = PyLong_AsSize_t(size);
    if (n == (size_t)-1 && PyErr_Occurred()) return NULL;
    return PyBool_FromLong(TENSOR(self)->storage && hg_storage_resize(TENSOR(self)->storage, n));
}

static PyObject *tensor_is_contiguous(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("is_contiguous", args, n, kwnames);
    PyObject *at[1];
    hg_format f = HG_FORMAT_CONTIGUOUS;
    if (py_parse("is_contiguous", "memory_format", 0, args, n, kwnames, at) || py_format_or(at[0], "is_contiguous", &f))
        return NULL;
    return PyBool_FromLong(hg_tensor_lies_as(TENSOR(self), f));
}

static PyObject *tensor_get_device(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("get_device", NULL, 0, NULL);
    return PyLong_FromLong(-1);
}

static PyObject *tensor_is_floating_point(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("is_floating_point", NULL, 0, NULL);
    return PyBool_FromLong(hg_dtype_is_float(TENSOR(self)->dtype));
}

static PyObject *tensor_is_complex(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("is_complex", NULL, 0, NULL);
    Py_RETURN_FALSE;
}

static PyObject *tensor_is_signed(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("is_signed", NULL, 0, NULL);
    return PyBool_FromLong(TENSOR(self)->dtype != HG_U8 && TENSOR(self)->dtype != HG_BOOL);
}

static PyObject *tensor_is_inference(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("is_inference", NULL, 0, NULL);
    return PyBool_FromLong(TENSOR(self)->is_inference);
}

static bool needs_tensor(PyObject *other, const char *function) {
    if (py_is_tensor(other)) return true;
    PyErr_Format(PyExc_TypeError, "%s(): argument 'other' (position 1) must be Tensor, not %.100s", function,
                 Py_TYPE(other)->tp_name);
    return false;
}

static PyObject *tensor_is_set_to(PyObject *self, PyObject *other) {
    ASK("is_set_to", &other, 1, NULL);
    if (!needs_tensor(other, "is_set_to")) return NULL;
    hg_tensor *a = TENSOR(self), *b = TENSOR(other);
    return PyBool_FromLong(a->storage && b->storage && hg_storage_own(a->storage) == hg_storage_own(b->storage) &&
                           a->data == b->data && a->dtype == b->dtype && a->n_dim == b->n_dim &&
                           !memcmp(a->shape, b->shape, a->n_dim * sizeof *a->shape) &&
                           !memcmp(a->stride, b->stride, a->n_dim * sizeof *a->stride));
}

static PyObject *tensor_is_same_size(PyObject *self, PyObject *other) {
    ASK("is_same_size", &other, 1, NULL);
    if (!needs_tensor(other, "is_same_size")) return NULL;
    hg_tensor *a = TENSOR(self), *b = TENSOR(other);
    return PyBool_FromLong(a->n_dim == b->n_dim && !memcmp(a->shape, b->shape, a->n_dim * sizeof *a->shape));
}

/* ---- Elements as Python's --------------------------------------------------------------------------------------- */

static PyObject *tensor_item(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("item", NULL, 0, NULL);
    hg_ctx *cx = py_ctx();
    hg_arg a;
    if (!cx) return NULL;
    if (TENSOR(self)->numel != 1)
        return PyErr_Format(PyExc_RuntimeError, "a Tensor with %lld elements cannot be converted to Scalar",
                            (long long)TENSOR(self)->numel);
    if (TENSOR(self)->levels && py_hides(self, PY_ITEM)) return NULL;
    hg_status st = hg_item(cx, TENSOR(self), &a);
    return st == HG_OK ? py_number(&a) : py_raise(cx, st);
}

static PyObject *nested_list(const hg_tensor *t, int dim, const char *at) {
    if (dim == t->n_dim) {
        hg_arg number = hg_element(t->dtype, at);
        return py_number(&number);
    }
    bool last = dim == t->n_dim - 1, floats = last && t->dtype == HG_F32,
         ints = last && t->dtype == HG_I64; /* the commonest */
    Py_ssize_t n = (Py_ssize_t)t->shape[dim], step = (Py_ssize_t)t->stride[dim] * hg_dtypes[t->dtype].size;
    PyObject *list = PyList_New(n);
    if (!list) return NULL;
    for (PyObject **to = ((PyListObject *)list)->ob_item, **end = to + n; to < end; at += step) {
        PyObject *one = floats ? PyFloat_FromDouble(*(const float *)(const void *)at)
                        : ints ? PyLong_FromLongLong(*(const int64_t *)(const void *)at)
                               : nested_list(t, dim + 1, at);
        if (!one) return Py_DECREF(list), NULL;
        *to++ = one;
    }
    return list;
}

static PyObject *tensor_tolist(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("tolist", NULL, 0, NULL);
    if (py_dispatches(self))
        return PyErr_Format(PyExc_RuntimeError, ".tolist() is not supported for tensor subclasses, got %s",
                            Py_TYPE(self)->tp_name);
    if (hg_is_meta(TENSOR(self)))
        return PyErr_SetString(PyExc_NotImplementedError, "Cannot copy out of meta tensor; no data!"), NULL;
    if (TENSOR(self)->levels && py_hides(self, PY_ELEMENTS)) return NULL;
    return nested_list(TENSOR(self), 0, TENSOR(self)->data);
}

/* ---- The graph -------------------------------------------------------------------------------------------------- */

/* As requires_grad_(), also within a transform. */
static PyObject *tensor_requires(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[1] = {n == 1 ? args[0] : NULL};
    hg_ctx *cx = py_ctx();
    if (!cx || ((n != 1 || kwnames) && py_parse("requires_grad_", "requires_grad", 0, args, n, kwnames, at)))
        return NULL;
    bool on = !at[0] || at[0] == Py_True;
    if (!on && at[0] != Py_False)
        return PyErr_Format(PyExc_TypeError, "requires_grad_(): argument 'requires_grad'%s must be bool, not %.100s",
                            n ? " (position 1)" : "", Py_TYPE(at[0])->tp_name);
    if (on && !hg_dtype_is_float(TENSOR(self)->dtype))
        return PyErr_SetString(PyExc_RuntimeError, "only Tensors of floating point dtype can require gradients"), NULL;
    hg_status st = hg_tensor_set_requires_grad(cx, TENSOR(self), on);
    return st == HG_OK ? Py_NewRef(self) : py_raise(cx, st);
}

static PyObject *tensor_requires_grad_(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("requires_grad_", args, n, kwnames);
    return py_refused_in_transform("requires_grad_") ? NULL : tensor_requires(self, args, n, kwnames);
}

static PyObject *tensor_retain_grad(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("retain_grad", NULL, 0, NULL);
    hg_ctx *cx = py_ctx();
    if (!cx || py_refused_in_transform("retain_grad")) return NULL;
    hg_status st = hg_tensor_retain_grad(cx, TENSOR(self));
    return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
}

static PyObject *tensor_detach_(PyObject *self, PyObject *Py_UNUSED(none)) {
    ASK("detach_", NULL, 0, NULL);
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_tensor_detach_(cx, TENSOR(self));
    return st == HG_OK ? Py_NewRef(self) : py_raise(cx, st);
}

/* The tensors, or gradient edges, that backward(inputs=) was given, as a tuple of tensors; None stays None. New. */
static PyObject *backward_inputs(PyObject *given) {
    if (!given || given == Py_None) return Py_NewRef(Py_None);
    PyObject *autograd = PyImport_ImportModule("hookgrad.autograd");
    PyObject *inputs = autograd ? PyObject_CallMethod(autograd, "_as_inputs", "(O)", given) : NULL;
    Py_XDECREF(autograd);
    if (inputs && PyTuple_GET_SIZE(inputs) == 0) {
        Py_CLEAR(inputs);
        PyErr_SetString(PyExc_RuntimeError, "`inputs` argument to `backward()` cannot be empty.");
    }
    return inputs;
}

/* The function that a program has put in the place of autograd.backward(), which PyTorch's method calls. May be NULL: there is
   none, or with an exception set. New. */
static PyObject *backward_in_place(void) {
    PyObject *autograd = hg_py->originals ? PyImport_ImportModule("hookgrad.autograd") : NULL;
    PyObject *key = autograd ? Py_BuildValue("(Os)", autograd, "backward") : NULL;
    PyObject *was = key ? PyDict_GetItemWithError(hg_py->originals, key) : NULL;
    PyObject *found = was ? PyObject_GetAttrString(autograd, "backward") : NULL;
    Py_XDECREF(key);
    Py_XDECREF(autograd);
    return found;
}

static PyObject *call_backward(PyObject *backward, PyObject *self, PyObject *const *at) {
    PyObject *args = Py_BuildValue("(OOOO)", self, at[0] ? at[0] : Py_None, at[1] ? at[1] : Py_None,
                                   at[2] ? at[2] : Py_False);
    PyObject *kwargs = args ? Py_BuildValue("{sO}", "inputs", at[3] ? at[3] : Py_None) : NULL;
    PyObject *result = kwargs ? PyObject_Call(backward, args, kwargs) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (result) Py_SETREF(result, Py_NewRef(Py_None));
    return result;
}

static PyObject *tensor_backward(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("backward", args, n, kwnames);
    PyObject *at[4], *instead;
    hg_ctx *cx = py_ctx();
    if (cx && !n && !kwnames && !hg_py->n_replaced) {
        if (py_refused_in_transform("backward")) return NULL;
        hg_tensor *root = TENSOR(self), *grad = NULL;
        hg_status st = py_backward(cx, &(py_backward_call){&root, &grad, 1, false, false, NULL, -1, true, NULL});
        return st == HG_OK ? Py_NewRef(Py_None) : py_raise(cx, st);
    }
    if (!cx || py_parse("Tensor.backward", "gradient,retain_graph,create_graph,inputs", 0, args, n, kwnames, at))
        return NULL;
    if (hg_py->n_replaced && ((instead = backward_in_place()) || PyErr_Occurred())) {
        PyObject *result = instead ? call_backward(instead, self, at) : NULL;
        Py_XDECREF(instead);
        return result;
    }
    int create = py_bool(at[2], "backward", "create_graph");
    int keep = !at[1] || at[1] == Py_None ? create : py_bool(at[1], "backward", "retain_graph");
    if (create < 0 || keep < 0) return NULL;
    PyObject *grads = at[0] ? at[0] : Py_None, *several = NULL;
    if (grads != Py_None && !py_is_tensor(grads)) { /* a sequence's first */
        if (!(several = PySequence_Tuple(grads))) return NULL;
        if (PyTuple_GET_SIZE(several)) grads = PyTuple_GET_ITEM(several, 0);
    }
    PyObject *inputs = NULL, *result = NULL;
    if (grads != Py_None && !py_is_tensor(grads))
        PyErr_Format(PyExc_TypeError, "gradients can be either Tensors or None, but got %.100s",
                     Py_TYPE(grads)->tp_name);
    else
        inputs = backward_inputs(at[3]);
    if (inputs) result = py_run_backward(cx, self, grads, keep, create, inputs);
    Py_XDECREF(inputs);
    Py_XDECREF(several);
    return result;
}

PyMethodDef py_tensor_methods[] = {
    {"__setitem__", FAST(py_tensor_setitem), METH_FASTCALL | METH_COEXIST, NULL}, /* faster than the slot's wrapper */
    {"size", FAST(tensor_size), KEYWORDS, "The size of one dimension, or all of them."},
    {"stride", FAST(tensor_stride), KEYWORDS, "The stride of one dimension in elements, or all of them."},
    {"dim", tensor_dim, METH_NOARGS, "How many dimensions it has."},
    {"ndimension", tensor_dim, METH_NOARGS, "How many dimensions it has."},
    {"numel", tensor_numel, METH_NOARGS, "How many elements it has."},
    {"nelement", tensor_numel, METH_NOARGS, "How many elements it has."},
    {"element_size", tensor_element_size, METH_NOARGS, "Bytes an element."},
    {"storage_offset", tensor_storage_offset, METH_NOARGS, "Where in its storage it begins, in elements."},
    {"data_ptr", tensor_data_ptr, METH_NOARGS, "The address of its first element."},
    {"_address", tensor_address, METH_NOARGS, NULL},
    {"_storage_bytes", tensor_storage_bytes, METH_NOARGS, NULL},
    {"_storage_resize", tensor_storage_resize, METH_O, NULL},
    {"is_contiguous", FAST(tensor_is_contiguous), KEYWORDS, "Do its elements lie side by side, in order?"},
    {"get_device", tensor_get_device, METH_NOARGS, "-1: the CPU."},
    {"is_floating_point", tensor_is_floating_point, METH_NOARGS, "Is its dtype a floating-point one?"},
    {"is_complex", tensor_is_complex, METH_NOARGS, "Is its dtype a complex one?"},
    {"is_signed", tensor_is_signed, METH_NOARGS, "Can its dtype hold negative numbers?"},
    {"is_inference", tensor_is_inference, METH_NOARGS, "Was it made in inference mode?"},
    {"is_set_to", tensor_is_set_to, METH_O, "Is it the same view of the same memory?"},
    {"is_same_size", tensor_is_same_size, METH_O, "Has it the same size?"},
    {"item", tensor_item, METH_NOARGS, "Its only element as a Python number; of several it is a RuntimeError."},
    {"tolist", tensor_tolist, METH_NOARGS, "Its elements as nested lists."},
    {"_requires", FAST(tensor_requires), KEYWORDS, NULL},
    {"requires_grad_", FAST(tensor_requires_grad_), KEYWORDS,
     "Have gradients computed for it, or not; returns itself."},
    {"retain_grad", tensor_retain_grad, METH_NOARGS,
     "Keep its gradient in `.grad`, though it is no leaf, from after its hooks."},
    {"detach_", tensor_detach_, METH_NOARGS, "Forget where it came from; returns itself."},
    {"backward", FAST(tensor_backward), KEYWORDS,
     "backward($self, gradient=None, retain_graph=None, create_graph=False, inputs=None)\n--\n\n"
     "Add its gradients with respect to the leaves that it was made from to their `.grad`, or to that of `inputs` only.\n"
     "`gradient`, of its shape, is needed where it has several elements; the graph is freed unless it is retained, and\n"
     "to go through it again is a RuntimeError then. With `create_graph` the gradients can be differentiated.\n\n"
     ">>> x = torch.tensor([1.0, 2.0], requires_grad=True)\n"
     ">>> (x * x).backward(torch.ones(2))\n"
     ">>> x.grad\n"
     "tensor([2., 4.])\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html"},
    {NULL, NULL, 0, NULL},
};
