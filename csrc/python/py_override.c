/* Tensor classes with a __torch_function__ of their own.

   Note [Overrides]
   A call that one of a user's tensor classes takes part in goes to that class's __torch_function__, with the function that was
   called; the one that Tensor has runs the function and gives its tensors the class (hookgrad/overrides.py). Until a class like
   that exists a call pays one comparison, and afterwards one look at its arguments. nn.Parameter and its kin say
   `_disabled_torch_function_impl` and count as plain tensors. Attributes and methods of such a tensor are looked up by the
   __getattribute__ that its class is given.

   A mode (TorchFunctionMode) is asked of every call in its thread, whatever the arguments. While there is one, attributes of every
   tensor are looked up by that same function. */
#include "py_op.h"
#include "py_tensor.h"

static _Thread_local int disabled; /* how many withs deep */
static _Thread_local int modes;    /* how many are on */

static _Thread_local bool skip; /* the next call is not asked about */

static bool class_overrides(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == hg_py->tensor_type || !py_is_tensor(o)) return false;
    return _PyType_Lookup(type, NAME(__torch_function__)) != hg_py->no_override;
}

bool py_overrides(PyObject *const *args, Py_ssize_t n) {
    if (!hg_py->override || skip) return skip = false;
    if (modes) return true;
    if (disabled) return false;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (class_overrides(args[i])) return true;
        if (!PyList_Check(args[i]) && !PyTuple_Check(args[i])) continue;
        PyObject **items = PySequence_Fast_ITEMS(args[i]);
        for (Py_ssize_t k = 0; k < PySequence_Fast_GET_SIZE(args[i]); k++)
            if (class_overrides(items[k])) return true;
    }
    return false;
}

/* Objects that are no tensors may have a __torch_function__, too: looked for where a call would otherwise fail, or has failed:
   then the exception goes where one is found. */
static bool stranger(PyObject *o) {
    return !py_is_tensor(o) && !PyType_Check(o) && _PyType_Lookup(Py_TYPE(o), NAME(__torch_function__));
}

static bool holds_stranger(PyObject *o) {
    Py_ssize_t n = PyList_Check(o) || PyTuple_Check(o) ? PySequence_Fast_GET_SIZE(o) : 0;
    bool found = stranger(o);
    for (Py_ssize_t i = 0; i < n && !found; i++) found = stranger(PySequence_Fast_ITEMS(o)[i]);
    return found;
}

bool py_override_strangers(PyObject *const *args, Py_ssize_t n) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback); /* looking in a type would lose what the call has failed with */
    bool found = false;
    for (Py_ssize_t i = 0; i < n && !found && !disabled; i++) found = holds_stranger(args[i]);
    if (found && !hg_py->override) {
        PyObject *module = PyImport_ImportModule("hookgrad.overrides");
        PyObject *none = module ? PyObject_CallMethod(module, "_begin", NULL) : NULL;
        found = none && hg_py->override;
        Py_XDECREF(none);
        Py_XDECREF(module);
    }
    if (!found) return PyErr_Restore(type, value, traceback), false;
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return true;
}

PyObject *py_override(PyObject *function, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *tuple = PyTuple_New(n), *kwargs = PyDict_New(), *made = NULL;
    bool ok = tuple && kwargs;
    for (Py_ssize_t i = 0; ok && i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    for (Py_ssize_t k = 0; ok && kwnames && k < PyTuple_GET_SIZE(kwnames); k++)
        ok = PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, k), args[n + k]) == 0;
    if (ok) made = PyObject_CallFunctionObjArgs(hg_py->override, function, tuple, kwargs, NULL);
    Py_XDECREF(tuple);
    Py_XDECREF(kwargs);
    return made;
}

/* Operators for which torch asks about another function than the method of the op's name: with the tensor on the left, with it on
   the right, in place. */
static const struct {
    int id;
    const char *left, *right, *inplace;
} operators[] = {
    {HG_OP_EQ, "__eq__", "__eq__", NULL},
    {HG_OP_BITWISE_AND, "__and__", "bitwise_and", "__iand__"},
    {HG_OP_BITWISE_OR, "__or__", "bitwise_or", "__ior__"},
    {HG_OP_BITWISE_XOR, "__xor__", "bitwise_xor", "__ixor__"},
    {HG_OP_BITWISE_NOT, "__invert__", NULL, NULL},
    {HG_OP_POW, "__pow__", "__rpow__", "__ipow__"},
    {HG_OP_POW_SCALAR, "__pow__", NULL, "__ipow__"},
    {HG_OP_BITWISE_LEFT_SHIFT, "__lshift__", "__rlshift__", "__ilshift__"},
    {HG_OP_BITWISE_RIGHT_SHIFT, "__rshift__", "__rrshift__", "__irshift__"},
    {HG_OP_FLOOR_DIVIDE, "__floordiv__", "__rfloordiv__", NULL},
    {HG_OP_REMAINDER_SELF, NULL, "__rmod__", NULL},
    {HG_OP_POW_SELF, NULL, "__rpow__", NULL},
    {HG_OP_RSUB_SCALAR, "__rsub__", "__rsub__", NULL},
};

static const char *operator_name(int id, bool right, bool inplace) {
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (operators[i].id == id)
            return inplace ? operators[i].inplace : right ? operators[i].right : operators[i].left;
    return NULL;
}

/* A TypeError lets Python ask the other operand, as in torch. */
static PyObject *or_not_implemented(PyObject *made, bool inplace) {
    if (made || inplace || !PyErr_ExceptionMatches(PyExc_TypeError)) return made;
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
}

/* The same for an operator: the function is the method of the op's name, or torch's function where there is no method. */
PyObject *py_override_op(hg_ctx *cx, int id, bool inplace, PyObject *const *args, Py_ssize_t n) {
    bool right = n == 2 && !py_is_tensor(args[0]) && py_is_tensor(args[1]);
    const char *name_of = operator_name(id, right, inplace);
    if (name_of)
        return or_not_implemented(
            py_override_slot(name_of, right ? (PyObject *[]){args[1], args[0]} : (PyObject **)args, n), inplace);
    const hg_op_info *info = hg_op_at(cx->lib, id);
    PyObject *name = info ? PyUnicode_FromFormat(inplace ? "%s_" : "%s", info->name) : PyErr_NoMemory();
    if (!name) return NULL;
    PyObject *place = (PyObject *)hg_py->tensor_type;
    PyObject *function = PyObject_GetAttr(PyObject_HasAttr(place, name) ? place : hg_py->module, name);
    Py_DECREF(name);
    PyObject *made = function ? py_override(function, args, n, NULL) : NULL;
    Py_XDECREF(function);
    return or_not_implemented(made, inplace);
}

/* The same for a slot of the type, or a method: x[...] is Tensor.__getitem__. */
PyObject *py_override_slot(const char *name, PyObject *const *args, Py_ssize_t n) {
    PyObject *function = PyObject_GetAttrString((PyObject *)hg_py->tensor_type, name);
    PyObject *made = function ? py_override(function, args, n, NULL) : NULL;
    Py_XDECREF(function);
    return made;
}

/* A method of this name is called with these arguments, as Tensor.size(x, 0) too: of x.size(0) a class is asked when it looks the
   method up. The answer is new, or NULL with the exception. */
bool py_asked(const char *name, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames,
              PyObject **answer) {
    PyObject *few[8], **at = few;
    Py_ssize_t n_all = 1 + n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (n_all > 8 && !(at = PyMem_New(PyObject *, n_all))) return *answer = PyErr_NoMemory(), true;
    at[0] = self;
    for (Py_ssize_t i = 1; i < n_all; i++) at[i] = args[i - 1];
    bool asked = py_overrides(at, n_all);
    PyObject *method = asked ? PyObject_GetAttrString((PyObject *)hg_py->tensor_type, name) : NULL;
    *answer = method ? py_override(method, at, n + 1, kwnames) : NULL;
    Py_XDECREF(method);
    if (at != few) PyMem_Free(at);
    return asked;
}

/* An attribute's own functions, once its descriptor asks: of x.grad a class is asked when it looks that up, of
   Tensor.grad.__get__(x), which a mode calls, here. */
static PyObject *get_asking(PyObject *self, void *closure) {
    const PyGetSetDef *own = closure;
    if (!py_overrides(&self, 1)) return own->get(self, own->closure);
    PyObject *attribute = PyObject_GetAttrString((PyObject *)hg_py->tensor_type, own->name);
    PyObject *get = attribute ? PyObject_GetAttrString(attribute, "__get__") : NULL;
    PyObject *answer = get ? py_override(get, &self, 1, NULL) : NULL;
    Py_XDECREF(get);
    Py_XDECREF(attribute);
    return answer;
}

/* Setting an attribute that is Tensor's: 1 where it was asked about, 0 where nobody does, -1 with the exception. */
int py_override_set(PyObject *self, PyObject *name, PyObject *value) {
    if (!value || !py_overrides(&self, 1)) return 0;
    PyObject *found = _PyType_Lookup(hg_py->tensor_type, name);
    if (!found || !Py_TYPE(found)->tp_descr_set || _PyType_Lookup(Py_TYPE(self), name) != found) return 0;
    PyObject *set = PyObject_GetAttrString(found, "__set__");
    PyObject *made = set ? py_override(set, (PyObject *[]){self, value}, 2, NULL) : NULL;
    Py_XDECREF(set);
    Py_XDECREF(made);
    return made ? 1 : -1;
}

static int set_asking(PyObject *self, PyObject *value, void *closure) {
    const PyGetSetDef *own = closure;
    PyObject *name = PyUnicode_FromString(own->name);
    int asked = name ? py_override_set(self, name, value) : -1;
    Py_XDECREF(name);
    return asked ? (asked < 0 ? -1 : 0) : own->set(self, value, own->closure);
}

/* Something overrides for the first time. */
static int let_attributes_ask(void) {
    static PyGetSetDef own[MAX_ATTRIBUTES];
    PyGetSetDef *all = hg_py->tensor_type->tp_getset;
    for (size_t i = 0; all[i].name && !own[i].name; i++) {
        if (all[i].name[0] == '_' && all[i].name[1] == '_') continue;
        own[i] = all[i];
        all[i].get = get_asking, all[i].closure = &own[i];
        if (all[i].set) all[i].set = set_asking;
    }
    return 0;
}

/* ---- For the package -------------------------------------------------------------------------------------------- */

/* What a full backward hook passes on is of the class that the tensor's view_as() gives. */
static hg_status passing(hg_ctx *cx, hg_tensor *t, hg_tensor **out) {
    PyObject *self = PY(t);
    if (!py_overrides(&self, 1)) return HG_OK;
    PyObject *made = py_override_slot("view_as", (PyObject *[]){self, self}, 2);
    if (!made) return cx->status = PY_FAILED;
    if (py_is_tensor(made) && made != self)
        *out = TENSOR(made);
    else
        Py_DECREF(made);
    return HG_OK;
}

/* _override_with(call): there is a class that overrides; call(function, args, kwargs) asks it. */
static PyObject *override_with(PyObject *Py_UNUSED(m), PyObject *call) {
    hg_ctx *cx = py_ctx();
    if (!cx || let_attributes_ask()) return NULL;
    hg_watching(cx->lib)->passing = passing;
    Py_XSETREF(hg_py->override, Py_NewRef(call));
    Py_RETURN_NONE;
}

/* _overridden(*args): does something ask about what is done with one of these, or with an item of one? */
static PyObject *overridden(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    return PyBool_FromLong(py_overrides(args, n));
}

/* _overriding(): has there been anything that overrides? */
static PyObject *overriding(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(hg_py->override != NULL);
}

/* _override_off(by): by 1 in a with that disables overrides in this thread, by -1 at its end; 0 asks. How deep it is. */
static PyObject *override_off(PyObject *Py_UNUSED(m), PyObject *by) {
    long step = PyLong_AsLong(by);
    if (step == -1 && PyErr_Occurred()) return NULL;
    hg_ctx *cx = step ? py_ctx() : NULL;
    if (cx) cx->n_changes++;
    disabled += (int)step;
    return PyLong_FromLong(disabled);
}

static PyObject *mode_getattro(PyObject *self, PyObject *name) {
    if (!modes) return PyObject_GenericGetAttr(self, name);
    return PyObject_CallFunctionObjArgs(hg_py->mode_attribute, self, name, NULL);
}

/* Classes that inherit a slot have a copy of it. */
static int set_getattro(PyTypeObject *type, getattrofunc from, getattrofunc to) {
    if (type->tp_getattro != from) return 0;
    type->tp_getattro = to;
    PyType_Modified(type);
    PyObject *below = PyObject_CallMethod((PyObject *)type, "__subclasses__", NULL);
    int failed = !below;
    for (Py_ssize_t i = 0; below && i < PyList_GET_SIZE(below) && !failed; i++)
        failed = set_getattro((PyTypeObject *)PyList_GET_ITEM(below, i), from, to);
    Py_XDECREF(below);
    return failed;
}

/* _override_modes(by, attribute): so many more modes are on in this thread; attribute(tensor, name) is what they make of
   looking one up. Returns how many are on. */
static PyObject *override_modes(PyObject *Py_UNUSED(m), PyObject *args) {
    int by;
    PyObject *attribute;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "iO:_override_modes", &by, &attribute)) return NULL;
    cx->n_changes++;
    Py_XSETREF(hg_py->mode_attribute, Py_NewRef(attribute));
    bool were = hg_py->function_modes;
    modes += by, hg_py->function_modes += by;
    if (!were && hg_py->function_modes && set_getattro(hg_py->tensor_type, PyObject_GenericGetAttr, mode_getattro))
        return NULL;
    if (were && !hg_py->function_modes && set_getattro(hg_py->tensor_type, mode_getattro, PyObject_GenericGetAttr))
        return NULL;
    return PyLong_FromLong(modes);
}

/* _skips(): is the call that asks this not to be asked about? Once. */
static PyObject *skips(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    bool was = skip;
    skip = false;
    return PyBool_FromLong(was);
}

/* _skip_one_hop_torch_function(func, types, args, kwargs): the call, which nobody is asked about; what it calls is. */
static PyObject *skip_one_hop(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *function, *types, *positional, *kwargs = NULL;
    if (!PyArg_ParseTuple(args, "OOO!|O:_skip_one_hop_torch_function", &function, &types, &PyTuple_Type, &positional,
                          &kwargs))
        return NULL;
    skip = true;
    PyObject *made = PyObject_Call(function, positional, kwargs == Py_None ? NULL : kwargs);
    skip = false;
    return made;
}

/* What a class has as __torch_function__ that counts as a plain tensor: run the function. */
static PyObject *no_override(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *function, *types, *positional = hg_py->empty_tuple, *kwargs = NULL;
    if (!PyArg_ParseTuple(args, "OO|O!O:_disabled_torch_function_impl", &function, &types, &PyTuple_Type, &positional,
                          &kwargs))
        return NULL;
    disabled++;
    PyObject *made = PyObject_Call(function, positional, kwargs == Py_None ? NULL : kwargs);
    disabled--;
    return made;
}

/* ---- For the core: what is on in this thread, where anything is: Note [Locals of a backward] in locals.c -------------- */

hg_status py_modes(void *Py_UNUSED(ud), void **out) {
    *out = NULL;
    if (!modes && !disabled && !hg_py->one_thread && !py_dispatch_modes()) return HG_OK;
    PyObject *package = PyImport_ImportModule("hookgrad._modes");
    PyObject *on = package ? PyObject_CallMethod(package, "kept", NULL) : NULL;
    Py_XDECREF(package);
    *out = on ? Py_BuildValue("Nii", on, disabled, hg_py->one_thread) : NULL;
    return *out ? HG_OK : PY_FAILED;
}

hg_status py_set_modes(void *Py_UNUSED(ud), void *kept) {
    int one_thread = 0;
    PyObject *on = NULL;
    if (!kept && !modes && !py_dispatch_modes()) return disabled = 0, hg_py->one_thread = false, HG_OK;
    if (kept && !PyArg_ParseTuple(kept, "Oii", &on, &disabled, &one_thread)) return PY_FAILED;
    if (!kept) disabled = 0;
    hg_py->one_thread = one_thread;
    PyObject *package = PyImport_ImportModule("hookgrad._modes");
    PyObject *got = package ? PyObject_CallMethod(package, "restore", "(O)", on ? on : hg_py->empty_tuple) : NULL;
    Py_XDECREF(package);
    Py_XDECREF(got);
    return got ? HG_OK : PY_FAILED;
}

/* _name_operator(name, function): what Tensor has under the name of an operator, say __pow__, is this function, which PyTorch calls
   "pow"; the operator itself stays the core's. */
static PyObject *name_operator(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *name, *function;
    if (!PyArg_ParseTuple(args, "UO:_name_operator", &name, &function) ||
        PyDict_SetItem(hg_py->tensor_type->tp_dict, name, function))
        return NULL;
    PyType_Modified(hg_py->tensor_type);
    Py_RETURN_NONE;
}

static PyObject *override_enabled(PyObject *Py_UNUSED(m), PyObject *none) {
    (void)none;
    return PyBool_FromLong(!disabled);
}

static PyMethodDef functions[] = {
    {"_is_torch_function_enabled", override_enabled, METH_NOARGS, "Is the __torch_function__ of classes asked?"},
    {"_override_with", override_with, METH_O, NULL},
    {"_name_operator", name_operator, METH_VARARGS, NULL},
    {"_skips", skips, METH_NOARGS, NULL},
    {"_skip_one_hop_torch_function", skip_one_hop, METH_VARARGS,
     "The call (func, types, args, kwargs), not asked about."},
    {"_overriding", overriding, METH_NOARGS, NULL},
    {"_override_off", override_off, METH_O, NULL},
    {"_overridden", FAST(overridden), METH_FASTCALL, NULL},
    {"_override_modes", override_modes, METH_VARARGS, NULL},
    {"_disabled_torch_function_impl", no_override, METH_VARARGS,
     "The __torch_function__ of classes whose tensors count as plain ones: it runs the function."},
    {NULL, NULL, 0, NULL},
};

int py_override_init(PyObject *m) {
    if (PyModule_AddFunctions(m, functions)) return -1;
    hg_py->no_override = PyObject_GetAttrString(m, "_disabled_torch_function_impl");
    return hg_py->no_override ? 0 : -1;
}
