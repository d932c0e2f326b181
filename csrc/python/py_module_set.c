/* Assigning to a module's attributes: modules, parameters and buffers go into their tables. The rules, their order
   and the words are PyTorch's. */
#include "py_hooks.h"
#include "py_module.h"
#include "py_op.h"

/* An object's type as messages give it: builtins bare, tensors as torch.FloatTensor. New. */
static PyObject *type_words(PyObject *o) {
    if (py_is_tensor(o)) return PyUnicode_FromFormat("torch.%s", hg_dtypes[TENSOR(o)->dtype].tensor_name);
    PyObject *named = PyObject_GetAttr(o, NAME(__qualname__)), *of = o;
    if (!named) {
        PyErr_Clear();
        of = (PyObject *)Py_TYPE(o);
        named = PyObject_GetAttr(of, NAME(__qualname__));
    }
    PyObject *module = named ? PyObject_GetAttr(of, NAME(__module__)) : NULL, *words = NULL;
    if (!module) PyErr_Clear();
    if (named && (!module || !PyUnicode_Check(module) || PyUnicode_CompareWithASCIIString(module, "builtins") == 0))
        words = PyUnicode_FromFormat("%S", named);
    else if (named)
        words = PyUnicode_FromFormat("%U.%S", module, named);
    Py_XDECREF(named);
    Py_XDECREF(module);
    return words;
}

static int cannot_assign(PyObject *value, const char *what, PyObject *name, const char *expected) {
    PyObject *words = type_words(value);
    if (words) PyErr_Format(PyExc_TypeError, "cannot assign '%U' as %s '%U' (%s)", words, what, name, expected);
    Py_XDECREF(words);
    return -1;
}

/* Is the tensor marked by a true attribute of its own? -1 failed. */
static int is_marked(PyObject *tensor, PyObject *mark) {
    PyObject *dict = ((py_tensor *)tensor)->dict, *value = dict ? PyDict_GetItemWithError(dict, mark) : NULL;
    if (!value) return PyErr_Occurred() ? -1 : 0;
    return PyObject_IsTrue(value);
}

static int is_parameter(PyObject *o) {
    PyTypeObject *class = (PyTypeObject *)hg_py->parameter;
    if (!py_is_tensor(o)) return 0;
    return class && PyObject_TypeCheck(o, class) ? 1 : is_marked(o, NAME(_is_param));
}

/* Call one: what replaces the value, NULL failed. Steals value. */
static PyObject *call_registered(PyObject *table, PyObject *key, PyObject *module, PyObject *name, PyObject *value) {
    hg_hook *found = hg_hooks_find(HOOKS(table), PyLong_AsUnsignedLongLong(key));
    if (!found || found->fn != py_call_hook) return value;
    hg_hook hook = *found;
    Py_INCREF((PyObject *)hook.data);
    PyObject *given = PyObject_CallFunctionObjArgs(hook.data, module, name, value, NULL);
    if (!given) py_annotate(py_hook_words(HOOKS(table)->kind, hook.flags), hook.data, hook.file, hook.line, module);
    if (given != Py_None)
        Py_SETREF(value, given);
    else
        Py_DECREF(given);
    Py_DECREF((PyObject *)hook.data);
    return value;
}

/* The table says, as it is gone through, when a hook changes it. Steals value. */
static PyObject *run_registered(PyObject *table, PyObject *module, PyObject *name, PyObject *value) {
    PyObject *keys = PyObject_GetIter(table), *key = NULL;
    while (keys && value && (key = PyIter_Next(keys))) {
        value = call_registered(table, key, module, name, value);
        Py_DECREF(key);
    }
    if (PyErr_Occurred()) Py_CLEAR(value);
    Py_XDECREF(keys);
    return value;
}

PyObject *py_registered(hg_hook_kind kind, PyObject *module, PyObject *name, PyObject *value) {
    hg_hooks *h;
    hg_ctx *cx = py_ctx();
    hg_status st = cx ? hg_global_hooks(cx, kind, &h) : HG_HOST;
    if (st != HG_OK) return cx ? py_raise(cx, st) : NULL;
    Py_INCREF(value);
    return h->n ? run_registered(PY(h), module, name, value) : value;
}

/* ---- Registering ------------------------------------------------------------------------------------------------ */

static int before_init(const char *what) {
    PyErr_Format(PyExc_AttributeError, "cannot assign %s before Module.__init__() call", what);
    return -1;
}

/* May something be registered under the name, in the table t? */
static int check_name(PyObject *self, const char *what, PyObject *name, hg_table *t) {
    bool is_module = !strcmp(what, "module");
    if (!PyUnicode_Check(name)) {
        PyObject *words = type_words(name);
        if (words) PyErr_Format(PyExc_TypeError, "%s name should be a string. Got %U", what, words);
        Py_XDECREF(words);
        return -1;
    }
    bool dot = PyUnicode_IS_COMPACT_ASCII(name)
                   ? memchr(PyUnicode_1BYTE_DATA(name), '.', (size_t)PyUnicode_GET_LENGTH(name)) != NULL
                   : PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1) >= 0;
    if (!is_module && dot) return PyErr_Format(PyExc_KeyError, "%s name can't contain \".\"", what), -1;
    if (!is_module && !PyUnicode_GET_LENGTH(name))
        return PyErr_Format(PyExc_KeyError, "%s name can't be empty string \"\"", what), -1;
    int taken = py_table_get(t, name) ? 0 : py_module_has_attribute(self, name);
    if (taken > 0) PyErr_Format(PyExc_KeyError, "attribute '%U' already exists", name);
    if (taken) return -1;
    if (dot) return PyErr_Format(PyExc_KeyError, "module name can't contain \".\", got: %U", name), -1;
    if (!PyUnicode_GET_LENGTH(name))
        return PyErr_SetString(PyExc_KeyError, "module name can't be empty string \"\""), -1;
    return 0;
}

/* Into its table, after the global registration hooks of that kind have seen it. */
static int put(PyObject *self, hg_table_kind which, hg_hook_kind kind, PyObject *name, PyObject *value) {
    hg_table *t;
    hg_ctx *cx = py_ctx();
    PyObject *registered = cx ? py_registered(kind, self, name, value) : NULL;
    if (!registered) return -1;
    hg_status st = hg_module_table(cx, MODULE(self), which, &t);
    int failed = st == HG_OK ? py_table_set(t, name, registered) : py_fail(cx, st);
    Py_DECREF(registered);
    return failed;
}

static int put_parameter(PyObject *self, PyObject *name, PyObject *value) {
    if (!module_has(self, ATTR__parameters)) return before_init("parameter");
    if (check_name(self, "parameter", name, MODULE(self)->params)) return -1;
    if (value == Py_None) {
        hg_table *t;
        hg_ctx *cx = py_ctx();
        hg_status st = cx ? hg_module_table(cx, MODULE(self), HG_PARAMS, &t) : HG_HOST;
        return st == HG_OK ? py_table_set(t, name, value) : cx ? py_fail(cx, st) : -1;
    }
    int parameter = is_parameter(value);
    if (parameter < 0) return -1;
    if (!parameter) {
        PyObject *words = type_words(value);
        if (words)
            PyErr_Format(PyExc_TypeError,
                         "cannot assign '%U' object to parameter '%U' (torch.nn.Parameter or None required)", words,
                         name);
        Py_XDECREF(words);
        return -1;
    }
    if (hg_py->override && py_overrides(&value, 1)) { /* modes see PyTorch ask for it */
        PyObject *asked = PyObject_GetAttrString(value, "grad_fn");
        if (!asked) return -1;
        Py_DECREF(asked);
    }
    if (!hg_tensor_is_leaf(TENSOR(value))) {
        PyErr_Format(PyExc_ValueError,
                     "Cannot assign non-leaf Tensor to parameter '%U'. Model parameters must be created explicitly. To "
                     "express '%U' as a function of another Tensor, compute the value in the forward() method.",
                     name, name);
        return -1;
    }
    return put(self, HG_PARAMS, HG_HOOK_REGISTER_PARAMETER, name, value);
}

int py_module_put_buffer(PyObject *self, PyObject *name, PyObject *value, bool persistent) {
    if (!module_has(self, ATTR__buffers)) return before_init("buffer");
    if (check_name(self, "buffer", name, MODULE(self)->buffers)) return -1;
    if (value != Py_None && !py_is_tensor(value)) {
        PyObject *words = type_words(value);
        if (words)
            PyErr_Format(PyExc_TypeError, "cannot assign '%U' object to buffer '%U' (torch Tensor or None required)",
                         words, name);
        Py_XDECREF(words);
        return -1;
    }
    if (put(self, HG_BUFFERS, HG_HOOK_REGISTER_BUFFER, name, value)) return -1;
    PyObject *names = persistent ? SELF(self)->non_persistent : py_module_names(self);
    if (persistent && !names) return 0;
    if (!names) return -1;
    return (persistent ? PySet_Discard(names, name) : PySet_Add(names, name)) < 0 ? -1 : 0;
}

static int put_module(PyObject *self, PyObject *name, PyObject *value) {
    if (value != Py_None && !py_is_module(value)) {
        PyObject *words = type_words(value);
        if (words) PyErr_Format(PyExc_TypeError, "%U is not a Module subclass", words);
        Py_XDECREF(words);
        return -1;
    }
    if (!module_has(self, ATTR__modules)) return py_no_attribute(self, NAME(_modules)), -1;
    if (check_name(self, "module", name, MODULE(self)->modules)) return -1;
    return put(self, HG_MODULES, HG_HOOK_REGISTER_MODULE, name, value);
}

static int call_register(PyObject *self, PyObject *method, PyObject *name, PyObject *value) {
    PyObject *done = PyObject_CallMethodObjArgs(self, method, name, value, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* "0", "1" ...: interned, and kept for the first few. New. */
static PyObject *number_name(Py_ssize_t i) {
    PyObject **kept = i < 64 ? &hg_py->numbers[i] : NULL;
    if (kept && *kept) return Py_NewRef(*kept);
    PyObject *name = PyUnicode_FromFormat("%zd", i);
    if (name) PyUnicode_InternInPlace(&name);
    if (name && kept) *kept = Py_NewRef(name);
    return name;
}

PyObject *py_add_numbered(PyObject *self, PyObject *modules) {
    bool own = !py_module_inherits(self, NAME(add_module));
    if (!PyTuple_Check(modules))
        return PyErr_Format(PyExc_TypeError, "_add_numbered() takes a tuple, not %.100s", Py_TYPE(modules)->tp_name);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(modules); i++) {
        PyObject *name = number_name(i), *module = PyTuple_GET_ITEM(modules, i);
        int failed = !name ? -1
                     : own ? call_register(self, NAME(add_module), name, module)
                           : put_module(self, name, module);
        Py_XDECREF(name);
        if (failed) return NULL;
    }
    Py_RETURN_NONE;
}

const char py_register_parameter_doc[] = "register_parameter($self, name, param)\n--\n\n"
                                         "Keep `param` (or None) as the parameter `name`.\n\n" SOURCE
                                         "register_parameter";

PyObject *py_register_parameter(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("Module.register_parameter", "name,param", 2, args, n, kwnames, at) ||
        put_parameter(self, at[0], at[1]))
        return NULL;
    Py_RETURN_NONE;
}

const char py_register_buffer_doc[] =
    "register_buffer($self, name, tensor, persistent=True)\n--\n\n"
    "Keep `tensor` (or None) as the buffer `name`: moved with the module, saved with it if `persistent`.\n\n" SOURCE
    "register_buffer";

PyObject *py_register_buffer(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[3];
    if (py_parse("Module.register_buffer", "name,tensor,persistent", 2, args, n, kwnames, at)) return NULL;
    int persistent = at[2] ? PyObject_IsTrue(at[2]) : 1;
    if (persistent < 0 || py_module_put_buffer(self, at[0], at[1], persistent)) return NULL;
    Py_RETURN_NONE;
}

const char py_add_module_doc[] = "add_module($self, name, module)\n--\n\n"
                                 "Keep `module` (or None) as the submodule `name`.\n\n" SOURCE "add_module";

PyObject *py_add_module(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("Module.add_module", "name,module", 2, args, n, kwnames, at) || put_module(self, at[0], at[1]))
        return NULL;
    Py_RETURN_NONE;
}

/* ---- Assigning: each sort of value -------------------------------------------------------------------------------- */

/* The name leaves every other place it may be in. Tables first: dropping a value may run anything. */
static int leave(PyObject *self, PyObject *name, hg_table *a, hg_table *b) {
    PyObject *dict = SELF(self)->dict, *names = SELF(self)->non_persistent;
    int there = dict ? PyDict_Contains(dict, name) : 0;
    if (there == 1) there = PyDict_DelItem(dict, name);
    if (there < 0 || (names && PyAnySet_Check(names) && PySet_Discard(names, name) < 0)) return -1;
    py_table_remove(a, name);
    py_table_remove(b, name);
    return 0;
}

/* A class may have a register_parameter() of its own. */
static int set_parameter(PyObject *self, PyObject *name, PyObject *value) {
    if (py_module_inherits(self, NAME(register_parameter))) return put_parameter(self, name, value);
    return call_register(self, NAME(register_parameter), name, value);
}

/* register_buffer() has failed with a TypeError: say so where that is because it has no such argument. */
static void explain_persistent(PyObject *method) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *inspect = PyImport_ImportModule("inspect");
    PyObject *signature = inspect ? PyObject_CallMethod(inspect, "signature", "O", method) : NULL;
    PyObject *parameters = signature ? PyObject_GetAttrString(signature, "parameters") : NULL;
    int takes = parameters ? PySequence_Contains(parameters, NAME(persistent)) : -1;
    Py_XDECREF(inspect);
    Py_XDECREF(signature);
    Py_XDECREF(parameters);
    PyErr_Restore(type, value, trace); /* also over an exception of our own */
    if (takes == 0)
        PyErr_SetString(PyExc_RuntimeError,
                        "Registering a non-persistent buffer on a Module subclass that implements register_buffer() "
                        "without the persistent argument is not allowed.");
}

/* A new buffer keeps to what it says itself, one assigned over an old one to what the old one was. */
static int set_buffer(PyObject *self, PyObject *name, PyObject *value, bool is_buffer) {
    int persistent = 1;
    if (is_buffer) {
        PyObject *says = PyObject_GetAttr(value, NAME(persistent));
        persistent = says ? PyObject_IsTrue(says) : -1;
        Py_XDECREF(says);
    } else if (SELF(self)->non_persistent) {
        persistent = PySequence_Contains(SELF(self)->non_persistent, name);
        if (persistent >= 0) persistent = !persistent;
    }
    if (persistent < 0) return -1;
    if (py_module_inherits(self, NAME(register_buffer))) return py_module_put_buffer(self, name, value, persistent);
    if (persistent) return call_register(self, NAME(register_buffer), name, value);
    /* Said only where it is needed: a subclass may have a register_buffer() without the argument. */
    PyObject *method = PyObject_GetAttr(self, NAME(register_buffer));
    PyObject *args = method ? PyTuple_Pack(2, name, value) : NULL, *kwargs = args ? PyDict_New() : NULL, *done = NULL;
    if (kwargs && !PyDict_SetItem(kwargs, NAME(persistent), Py_False)) done = PyObject_Call(method, args, kwargs);
    if (!done && method && PyErr_ExceptionMatches(PyExc_TypeError)) explain_persistent(method);
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int is_tensor_like(PyObject *o) {
    if (o == Py_None || py_is_tensor(o)) return 1;
    PyObject *mark = PyObject_GetAttr(o, NAME(__torch_function__));
    if (!mark) PyErr_Clear();
    Py_XDECREF(mark);
    return mark != NULL;
}

int py_module_assign(PyObject *self, PyObject *name, PyObject *value) {
    hg_module *m = MODULE(self);
    int parameter = is_parameter(value), buffer;
    if (parameter < 0) return -1;
    if (parameter) {
        if (!module_has(self, ATTR__parameters)) return before_init("parameters");
        return leave(self, name, m->buffers, m->modules) ? -1 : set_parameter(self, name, value);
    }
    if (py_table_get(m->params, name)) {
        if (value != Py_None) return cannot_assign(value, "parameter", name, "torch.nn.Parameter or None expected");
        return set_parameter(self, name, value);
    }
    if (py_is_module(value)) {
        if (!module_has(self, ATTR__modules)) return before_init("module");
        return leave(self, name, m->params, m->buffers) ? -1
                                                        : put(self, HG_MODULES, HG_HOOK_REGISTER_MODULE, name, value);
    }
    if (py_table_get(m->modules, name)) {
        if (value != Py_None) return cannot_assign(value, "child module", name, "torch.nn.Module or None expected");
        return put(self, HG_MODULES, HG_HOOK_REGISTER_MODULE, name, value);
    }
    if ((buffer = py_is_tensor(value) ? is_marked(value, NAME(_is_buffer)) : 0) < 0) return -1;
    if (!buffer && !py_table_get(m->buffers, name)) return PyObject_GenericSetAttr(self, name, value);
    if (!is_tensor_like(value))
        return cannot_assign(value, "buffer", name, "torch.nn.Buffer, torch.Tensor or None expected");
    if (!module_has(self, ATTR__buffers)) return before_init("buffer");
    return set_buffer(self, name, value, buffer);
}

static bool is_name(PyObject *name) {
    if (PyUnicode_Check(name)) return true;
    PyErr_Format(PyExc_TypeError, "attribute name must be string, not '%.200s'", Py_TYPE(name)->tp_name);
    return false;
}

PyObject *py_module_setattr(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    if (n != 2) return PyErr_Format(PyExc_TypeError, "expected 2 arguments, got %zd", n);
    if (!is_name(args[0]) || py_module_assign(self, args[0], args[1])) return NULL;
    Py_RETURN_NONE;
}

PyObject *py_module_delattr(PyObject *self, PyObject *name) {
    hg_module *m = MODULE(self);
    PyObject *names = SELF(self)->non_persistent;
    if (!is_name(name)) return NULL;
    if (!module_has(self, ATTR__parameters)) return py_no_attribute(self, NAME(_parameters));
    bool gone = py_table_remove(m->params, name);
    if (!gone && (gone = py_table_remove(m->buffers, name)) && names && PyAnySet_Check(names) &&
        PySet_Discard(names, name) < 0)
        return NULL;
    if (!gone) gone = py_table_remove(m->modules, name);
    if (!gone && PyObject_GenericSetAttr(self, name, NULL)) return NULL;
    Py_RETURN_NONE;
}
