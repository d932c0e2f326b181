/* Registering hooks on modules, and on all modules at once. */
#include "py_hooks.h"
#include "py_module.h"

typedef struct options {
    const char *function; /* "Module.register..." */
    const char *names;    /* of the parameters; `hook` first */
    int n_positional;     /* the others go by keyword only */
    hg_hook_kind kind;
    module_attr table; /* where the hook goes */
} options;

/* Reads the arguments; flags come in the order prepend, with_kwargs, always_call. */
static PyObject *register_hook(PyObject *self, const options *o, uint32_t flags, PyObject *const *args, Py_ssize_t n,
                               PyObject *kwnames) {
    static const uint32_t flag_of[] = {HG_HOOK_PREPEND, HG_HOOK_WITH_KWARGS, HG_HOOK_ALWAYS_CALL};
    const char *bare = o->function + strlen("Module.");
    PyObject *at[4] = {NULL};
    hg_hooks *h;
    hg_ctx *cx = py_ctx();
    if (n > o->n_positional)
        return PyErr_Format(PyExc_TypeError, "%s() takes %s%d positional arguments but %zd were given", o->function,
                            o->n_positional > 1 ? "from 2 to " : "", o->n_positional + 1, n + 1);
    if (!cx) return NULL;
    if (n == 1 && !kwnames)
        at[0] = args[0];
    else if (py_parse(o->function, o->names, 1, args, n, kwnames, at))
        return NULL;
    if (py_hook_check(at[0], bare)) return NULL;
    for (int i = 0; i < 3; i++) {
        int on = at[i + 1] ? PyObject_IsTrue(at[i + 1]) : 0;
        if (on < 0) return NULL;
        if (on) flags |= flag_of[i];
    }
    if (!module_has(self, o->table)) return py_no_attribute(self, py_module_attr_name(o->table));
    hg_status st = hg_module_hooks(cx, MODULE(self), o->kind, true, &h);
    return st == HG_OK ? py_hooks_register(h, at[0], flags) : py_raise(cx, st);
}

const char py_register_forward_pre_hook_doc[] =
    "register_forward_pre_hook($self, hook, *, prepend=False, with_kwargs=False)\n--\n\n"
    "Call `hook(module, args)` before forward. What it returns, a value or a tuple, replaces the arguments. With\n"
    "`with_kwargs` it is `hook(module, args, kwargs)` and returns None or `(args, kwargs)`. Returns a\n"
    "handle.\n\n" SOURCE "register_forward_pre_hook";

PyObject *py_register_forward_pre_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    static const options o = {"Module.register_forward_pre_hook", "hook,prepend,with_kwargs", 1, HG_HOOK_FORWARD_PRE,
                              ATTR__forward_pre_hooks};
    return register_hook(self, &o, 0, args, n, kwnames);
}

const char py_register_forward_hook_doc[] =
    "register_forward_hook($self, hook, *, prepend=False, with_kwargs=False, always_call=False)\n--\n\n"
    "Call `hook(module, args, output)` after forward. What it returns replaces the output. With `with_kwargs` it is\n"
    "`hook(module, args, kwargs, output)`; with `always_call` it is called even when forward raised. Returns a\n"
    "handle.\n\n"
    ">>> relu = nn.ReLU()\n"
    ">>> handle = relu.register_forward_hook(lambda module, args, output: print(tuple(output.shape)))\n"
    ">>> y = relu(torch.ones(2, 3))\n"
    "(2, 3)\n\n" SOURCE "register_forward_hook";

PyObject *py_register_forward_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    static const options o = {"Module.register_forward_hook", "hook,prepend,with_kwargs,always_call", 1,
                              HG_HOOK_FORWARD, ATTR__forward_hooks};
    return register_hook(self, &o, 0, args, n, kwnames);
}

const char py_register_full_backward_pre_hook_doc[] =
    "register_full_backward_pre_hook($self, hook, prepend=False)\n--\n\n"
    "Call `hook(module, grad_output)` before the gradient goes backward through the module. A tuple it returns\n"
    "replaces grad_output. Returns a handle.\n\n" SOURCE "register_full_backward_pre_hook";

PyObject *py_register_full_backward_pre_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    static const options o = {"Module.register_full_backward_pre_hook", "hook,prepend", 2, HG_HOOK_BACKWARD_PRE,
                              ATTR__backward_pre_hooks};
    return register_hook(self, &o, 0, args, n, kwnames);
}

/* A module's backward hooks are all full ones or all of the older sort. */
static PyObject *register_backward(PyObject *self, const options *o, PyObject *full, PyObject *const *args,
                                   Py_ssize_t n, PyObject *kwnames) {
    PyObject *other = full == Py_True ? Py_False : Py_True;
    if (!module_has(self, ATTR__is_full_backward_hook)) return py_no_attribute(self, NAME(_is_full_backward_hook));
    if (SELF(self)->full_backward == other)
        return PyErr_SetString(PyExc_RuntimeError,
                               "Cannot use both regular backward hooks and full backward hooks on a single "
                               "Module. Please use only one of them."),
               NULL;
    PyObject *handle = register_hook(self, o, full == Py_True ? 0 : HG_HOOK_LEGACY, args, n, kwnames);
    /* Told again only where a class of its own would hear of it. */
    bool told = SELF(self)->full_backward == full && py_module_inherits(self, NAME(__setattr__));
    if (handle && !told && PyObject_SetAttr(self, NAME(_is_full_backward_hook), full)) Py_CLEAR(handle);
    return handle;
}

const char py_register_full_backward_hook_doc[] =
    "register_full_backward_hook($self, hook, prepend=False)\n--\n\n"
    "Call `hook(module, grad_input, grad_output)` when the gradients of the module's inputs have been computed.\n"
    "A tuple it returns replaces grad_input. Returns a handle.\n\n"
    ">>> relu, x = nn.ReLU(), torch.ones(2, requires_grad=True)\n"
    ">>> handle = relu.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] * 10,))\n"
    ">>> relu(x).sum().backward()\n"
    ">>> x.grad\n"
    "tensor([10., 10.])\n\n" SOURCE "register_full_backward_hook";

PyObject *py_register_full_backward_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    static const options o = {"Module.register_full_backward_hook", "hook,prepend", 2, HG_HOOK_BACKWARD,
                              ATTR__backward_hooks};
    return register_backward(self, &o, Py_True, args, n, kwnames);
}

const char py_register_backward_hook_doc[] =
    "register_backward_hook($self, hook)\n--\n\n"
    "The older, deprecated sort of backward hook, which sees the gradients of the output's last node only. Returns a\n"
    "handle.\n\n" SOURCE "register_backward_hook";

PyObject *py_register_backward_hook(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    static const options o = {"Module.register_backward_hook", "hook", 1, HG_HOOK_BACKWARD, ATTR__backward_hooks};
    return register_backward(self, &o, Py_False, args, n, kwnames);
}

/* ---- Of all modules --------------------------------------------------------------------------------------------- */

typedef struct global_kind {
    const char *name;     /* as the package says it */
    const char *function; /* as the user does */
    hg_hook_kind kind;
} global_kind;

static const global_kind global_kinds[] = {
    {"forward_pre", "register_module_forward_pre_hook", HG_HOOK_FORWARD_PRE},
    {"forward", "register_module_forward_hook", HG_HOOK_FORWARD},
    {"full_backward_pre", "register_module_full_backward_pre_hook", HG_HOOK_BACKWARD_PRE},
    {"full_backward", "register_module_full_backward_hook", HG_HOOK_BACKWARD},
    {"backward", "register_module_backward_hook", HG_HOOK_BACKWARD},
    {"buffer_registration", "register_module_buffer_registration_hook", HG_HOOK_REGISTER_BUFFER},
    {"module_registration", "register_module_module_registration_hook", HG_HOOK_REGISTER_MODULE},
    {"parameter_registration", "register_module_parameter_registration_hook", HG_HOOK_REGISTER_PARAMETER},
};

static const global_kind *global_named(const char *name) {
    for (size_t i = 0; i < sizeof global_kinds / sizeof *global_kinds; i++)
        if (!strcmp(name, global_kinds[i].name)) return &global_kinds[i];
    PyErr_Format(PyExc_ValueError, "there are no global hooks called '%s'", name);
    return NULL;
}

static hg_hooks *global_table(hg_hook_kind kind) {
    hg_hooks *h = NULL;
    hg_ctx *cx = py_ctx();
    hg_status st = cx ? hg_global_hooks(cx, kind, &h) : HG_HOST;
    if (st != HG_OK && cx) py_raise(cx, st);
    return h;
}

static PyObject *register_global_hook(PyObject *module, PyObject *args) {
    (void)module;
    const char *name;
    PyObject *hook;
    int with_kwargs = 0, always_call = 0;
    if (!PyArg_ParseTuple(args, "sO|pp:_register_global_hook", &name, &hook, &with_kwargs, &always_call)) return NULL;
    const global_kind *g = global_named(name);
    hg_hooks *h = g && !py_hook_check(hook, g->function) ? global_table(g->kind) : NULL;
    if (!h) return NULL;
    bool legacy = !strcmp(name, "backward");
    PyObject *full = g->kind != HG_HOOK_BACKWARD ? NULL : legacy ? Py_False : Py_True;
    if (full && hg_py->global_full_backward && hg_py->global_full_backward != full)
        return PyErr_SetString(PyExc_RuntimeError,
                               "Cannot use both regular backward hooks and full backward hooks as a global "
                               "Module hook. Please use only one of them."),
               NULL;
    uint32_t flags = (with_kwargs ? HG_HOOK_WITH_KWARGS : 0) | (always_call ? HG_HOOK_ALWAYS_CALL : 0) |
                     (legacy ? HG_HOOK_LEGACY : 0);
    PyObject *handle = py_hooks_register(h, hook, flags);
    if (handle && full) hg_py->global_full_backward = full;
    return handle;
}

static uint32_t flag_named(const char *name) {
    return !strcmp(name, "forward_with_kwargs")     ? HG_HOOK_WITH_KWARGS
           : !strcmp(name, "forward_always_called") ? HG_HOOK_ALWAYS_CALL
                                                    : 0;
}

/* The table itself: `torch.nn.modules.module._global_forward_hooks` and its kin. */
static PyObject *global_hooks(PyObject *module, PyObject *name) {
    (void)module;
    const char *chars = PyUnicode_AsUTF8(name);
    uint32_t flag = chars ? flag_named(chars) : 0;
    const global_kind *g = chars ? global_named(flag ? "forward" : chars) : NULL;
    hg_hooks *h = g ? global_table(g->kind) : NULL;
    return !h ? NULL : flag ? py_hooks_view(h, flag) : py_wrap(h);
}

/* The same table has other hooks, or other flags: those of a mapping. */
static PyObject *set_global_hooks(PyObject *module, PyObject *args) {
    (void)module;
    const char *name;
    PyObject *from;
    if (!PyArg_ParseTuple(args, "sO:_set_global_hooks", &name, &from)) return NULL;
    uint32_t flag = flag_named(name);
    const global_kind *g = global_named(flag ? "forward" : name);
    hg_hooks *h = g ? global_table(g->kind) : NULL;
    if (!h || (flag ? py_hooks_view_assign(h, flag, from) : py_hooks_assign(h, from))) return NULL;
    if (g->kind == HG_HOOK_BACKWARD && hg_py->global_full_backward == Py_False)
        for (uint32_t i = 0; i < h->n; i++) h->at[i].flags |= HG_HOOK_LEGACY;
    Py_RETURN_NONE;
}

static PyObject *global_is_full(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    return Py_NewRef(hg_py->global_full_backward ? hg_py->global_full_backward : Py_None);
}

static PyObject *set_global_is_full(PyObject *module, PyObject *value) {
    (void)module;
    int full = value == Py_None ? -1 : PyObject_IsTrue(value);
    if (PyErr_Occurred()) return NULL;
    hg_py->global_full_backward = full < 0 ? NULL : full ? Py_True : Py_False;
    Py_RETURN_NONE;
}

static PyObject *set_parameter_type(PyObject *module, PyObject *class) {
    (void)module;
    if (!PyType_Check(class) || !PyType_IsSubtype((PyTypeObject *)class, hg_py->tensor_type))
        return PyErr_Format(PyExc_TypeError, "_set_parameter_type(): expected a subclass of Tensor, not %R", class);
    PyNumberMethods *own = ((PyTypeObject *)class)->tp_as_number, *core = hg_py->tensor_type->tp_as_number;
    own->nb_power = core->nb_power; /* Python would look __pow__ up: _name_operator() in py_override.c */
    own->nb_inplace_power = core->nb_inplace_power;
    own->nb_true_divide = core->nb_true_divide;
    Py_XSETREF(hg_py->parameter, Py_NewRef(class));
    Py_RETURN_NONE;
}

static PyObject *set_module_methods(PyObject *module, PyObject *methods) {
    (void)module;
    if (!PyDict_Check(methods))
        return PyErr_Format(PyExc_TypeError, "_set_module_methods(): expected a dict, not %R", methods);
    Py_XSETREF(hg_py->module_methods, Py_NewRef(methods));
    Py_RETURN_NONE;
}

static PyObject *inherits(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *of, *name;
    if (!PyArg_ParseTuple(args, "O!U:_inherits", hg_py->module_type, &of, &name)) return NULL;
    return PyBool_FromLong(py_module_inherits(of, name));
}

PyMethodDef py_module_hook_functions[] = {
    {"_register_global_hook", register_global_hook, METH_VARARGS,
     "_register_global_hook(kind, hook, with_kwargs=False, always_call=False) -> handle"},
    {"_global_hooks", global_hooks, METH_O, "_global_hooks(kind) -> the table of that kind's global hooks"},
    {"_set_global_hooks", set_global_hooks, METH_VARARGS, "Give that table the hooks of a mapping."},
    {"_global_is_full", global_is_full, METH_NOARGS,
     "Are the global backward hooks full ones? None: there were none yet."},
    {"_set_global_is_full", set_global_is_full, METH_O, "Set what _global_is_full() tells."},
    {"_set_module_methods", set_module_methods, METH_O, "Tell what nn.Module's methods are, by name."},
    {"_inherits", inherits, METH_VARARGS, "(module, name): does it have that method from nn.Module?"},
    {"_set_parameter_type", set_parameter_type, METH_O, "Tell which class is nn.Parameter."},
    {NULL, NULL, 0, NULL},
};
