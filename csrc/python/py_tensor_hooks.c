/* The hooks of a tensor, seen from Python: Tensor.register_hook and the tables behind it. */
#include "py_hooks.h"
#include "py_tensor.h"

static PyObject *refuse(const char *words) {
    PyErr_SetString(PyExc_RuntimeError, words);
    return NULL;
}

static PyObject *register_on(PyObject *self, hg_hook_kind kind, PyObject *fn, const char *function) {
    hg_hooks *h;
    hg_ctx *cx = py_ctx();
    if (!cx || py_hook_check(fn, function)) return NULL;
    hg_status st = hg_tensor_hooks(cx, TENSOR(self), kind, true, &h);
    return st == HG_OK ? py_hooks_register(h, fn, 0) : py_raise(cx, st);
}

/* The only argument: borrowed. */
static PyObject *hook_of(const char *function, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *fn;
    if (n == 1 && !kwnames) return args[0]; /* as nearly all are given */
    return py_parse(function, "hook", 1, args, n, kwnames, &fn) ? NULL : fn;
}

static PyObject *tensor_register_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    ASK("register_hook", args, n, kwnames);
    PyObject *fn = hook_of("Tensor.register_hook", args, n, kwnames);
    if (!fn) return NULL;
    if (TENSOR(self)->levels && py_refuses_hooks()) return NULL;
    if (!hg_tensor_requires_grad(TENSOR(self)) || py_is_sample(self)) /* there is no gradient of one sample */
        return refuse("cannot register a hook on a tensor that doesn't require gradient");
    return register_on(self, HG_HOOK_TENSOR, fn, "register_hook");
}

static PyObject *tensor_register_post_accumulate_grad_hook(PyObject *self, PyObject *const *args, Py_ssize_t n,
                                                           PyObject *kwnames) {
    ASK("register_post_accumulate_grad_hook", args, n, kwnames);
    PyObject *fn = hook_of("Tensor.register_post_accumulate_grad_hook", args, n, kwnames);
    if (!fn) return NULL;
    if (!hg_tensor_requires_grad(TENSOR(self)))
        return refuse("cannot register a hook on a tensor that doesn't require gradient");
    hg_node *made_by;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_tensor_grad_fn(cx, TENSOR(self), &made_by);
    if (st != HG_OK) return py_raise(cx, st);
    if (made_by) return refuse("post accumulate grad hooks cannot be registered on non-leaf tensors");
    return register_on(self, HG_HOOK_POST_ACCUMULATE, fn, "register_post_accumulate_grad_hook");
}

PyMethodDef py_tensor_hook_methods[] = {
    {"register_hook", FAST(tensor_register_hook), KEYWORDS,
     "register_hook($self, hook)\n--\n\n"
     "Call `hook(grad)` whenever a gradient with respect to this tensor has been computed; a tensor it returns\n"
     "takes the gradient's place. Returns a handle whose remove() undoes it. RuntimeError: it requires no gradient.\n\n"
     ">>> x = torch.ones(2, requires_grad=True)\n"
     ">>> handle = x.register_hook(lambda grad: grad * 10)\n"
     ">>> x.sum().backward()\n"
     ">>> x.grad\n"
     "tensor([10., 10.])\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.register_hook.html"},
    {"register_post_accumulate_grad_hook", FAST(tensor_register_post_accumulate_grad_hook), KEYWORDS,
     "register_post_accumulate_grad_hook($self, hook)\n--\n\n"
     "Call `hook(tensor)` after a gradient has been added to this leaf's `.grad`. Returns a handle.\n\n"
     "Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.register_post_accumulate_grad_hook.html"},
    {NULL, NULL, 0, NULL},
};

/* ---- The tables ------------------------------------------------------------------------------------------------- */

static hg_hook_kind kind_of(void *closure) { return (hg_hook_kind)(intptr_t)closure; }

static PyObject *get_hooks(PyObject *self, void *closure) {
    hg_hooks *h;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    hg_status st = hg_tensor_hooks(cx, TENSOR(self), kind_of(closure), false, &h);
    return st == HG_OK ? py_wrap(h) : py_raise(cx, st);
}

static int set_hooks(PyObject *self, PyObject *value, void *closure) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (!value) return PyErr_SetString(PyExc_RuntimeError, "Deletion of a tensor's _backwards_hooks not allowed!"), -1;
    PyObject *table = value == Py_None ? NULL : py_hooks_from(value, kind_of(closure), NULL);
    if (value != Py_None && !table) return -1;
    hg_status st = hg_tensor_set_hooks(cx, TENSOR(self), kind_of(closure), table ? HOOKS(table) : NULL);
    Py_XDECREF(table);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

PyGetSetDef py_tensor_hook_attributes[] = {
    {"_backward_hooks", get_hooks, set_hooks, "The tensor's hooks by id, or None.", (void *)(intptr_t)HG_HOOK_TENSOR},
    {"_post_accumulate_grad_hooks", get_hooks, set_hooks, NULL, (void *)(intptr_t)HG_HOOK_POST_ACCUMULATE},
    {NULL, NULL, NULL, NULL, NULL},
};
