/* How a Python callable is called as a hook: the arguments of each kind, and what becomes of what it returns. The
   rules and the words are PyTorch's. */
#include "py_hooks.h"
#include "py_mapping.h"

/* Put what a hook returned into the place of a value: steals o. */
static void replace(hg_ctx *cx, hg_value *slot, PyObject *o) {
    hg_value v = py_value(o);
    if (v.kind == HG_V_NONE) Py_DECREF(o);
    hg_value_set(cx, slot, v);
}

static PyObject *object(hg_value v) { return py_value_object(v); }

/* What stands for several values: of anything but a tuple the core knows nothing. */
static hg_value as_it_is(PyObject *o) { return (hg_value){PyTuple_Check(o) ? HG_V_TUPLE : HG_V_OTHER, o}; }

static PyObject *call(PyObject *fn, PyObject *a, PyObject *b, PyObject *c, PyObject *d) {
    PyObject *at[5] = {NULL, a, b, c, d};
    size_t n = a && b && c && d ? 4 : a && b && c ? 3 : a && b ? 2 : 1;
    return PyObject_Vectorcall(fn, at + 1, n | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* ---- Gradients: what a hook may return instead ------------------------------------------------------------------ */

/* "clip" of a function, "<unknown>" of a callable without a name: new, NULL failed. */
static PyObject *name_of(PyObject *fn) {
    PyObject *name = PyObject_GetAttr(fn, NAME(__name__));
    if (name && PyUnicode_Check(name)) return name;
    Py_XDECREF(name);
    PyErr_Clear();
    return PyUnicode_FromString("<unknown>");
}

/* A type as PyTorch's messages name it: ours without the package. */
static const char *type_name(PyObject *o) {
    const char *name = Py_TYPE(o)->tp_name;
    return strncmp(name, "hookgrad.", 9) ? name : strrchr(name, '.') + 1;
}

static int complain(PyObject *fn, const char *what) {
    PyObject *name = fn ? name_of(fn) : PyUnicode_FromString("hook");
    if (name) PyErr_Format(PyExc_RuntimeError, "hook '%U' has %s", name, what);
    Py_XDECREF(name);
    return -1;
}

/* "torch.FloatTensor", "MetaFloatType". */
static const char *type_of(const hg_tensor *t, char buf[32]) {
    const char *name = hg_dtypes[t->dtype].tensor_name;
    if (hg_is_meta(t))
        snprintf(buf, 32, "Meta%.*sType", (int)(strlen(name) - strlen("Tensor")), name);
    else
        snprintf(buf, 32, "torch.%s", name);
    return buf;
}

/* May `got` take the place of the gradient `was`? None: it stays. fn may be NULL where PyTorch names no function. */
static int check_gradient(PyObject *was, PyObject *got, PyObject *fn) {
    char what[128];
    if (got == Py_None) return 0;
    if (was == Py_None) {
        PyErr_SetString(PyExc_RuntimeError, "can't replace a None gradient with a non-None value");
        return -1;
    }
    if (!py_is_tensor(got)) {
        PyErr_Format(PyExc_TypeError, "expected Variable, but hook returned '%.100s'", type_name(got));
        return -1;
    }
    const hg_tensor *a = TENSOR(was), *b = TENSOR(got);
    if (a->dtype != b->dtype || (hg_is_meta(a) != hg_is_meta(b) && !hg_is_hollow(a) && !hg_is_hollow(b))) {
        char old[32], new[32];
        snprintf(what, sizeof what, "changed the type of value (was %s got %s)", type_of(a, old), type_of(b, new));
        return complain(fn, what);
    }
    if (a->n_dim != b->n_dim || memcmp(a->shape, b->shape, a->n_dim * sizeof *a->shape) != 0)
        return complain(fn, "changed the size of value");
    return 0;
}

static int check_gradients(PyObject *was, PyObject *got, PyObject *fn) {
    char what[128];
    if (!PyTuple_Check(got)) {
        PyErr_Format(PyExc_TypeError, "expected tuple, but hook returned '%.100s'", type_name(got));
        return -1;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(was);
    if (PyTuple_GET_SIZE(got) != n) {
        snprintf(what, sizeof what, "returned an incorrect number of values (got %zd, but expected %zd)",
                 PyTuple_GET_SIZE(got), n);
        return complain(fn, what);
    }
    for (Py_ssize_t i = 0; i < n; i++)
        if (check_gradient(PyTuple_GET_ITEM(was, i), PyTuple_GET_ITEM(got, i), fn)) return -1;
    return 0;
}

/* Steals got. */
static hg_status take_gradients(hg_ctx *cx, hg_value *slot, PyObject *got, PyObject *fn) {
    PyObject *was = object(*slot);
    if (got == Py_None || got == was) {
        Py_DECREF(got);
        return HG_OK;
    }
    int failed = slot->kind == HG_V_TUPLE ? check_gradients(was, got, fn) : check_gradient(was, got, fn);
    if (failed)
        Py_DECREF(got);
    else
        replace(cx, slot, got);
    return failed ? PY_FAILED : HG_OK;
}

/* ---- Each kind -------------------------------------------------------------------------------------------------- */

static hg_status call_tensor(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *got = PyObject_CallOneArg(fn, object(c->grad));
    return got ? take_gradients(cx, &c->grad, got, fn) : PY_FAILED;
}

static hg_status call_post_accumulate(hg_ctx *cx, hg_call *c, PyObject *fn) {
    (void)cx;
    PyObject *tensor = PY(c->tensor), *got = PyObject_CallOneArg(fn, tensor);
    if (!got) return PY_FAILED;
    int failed = 0;
    if (got != Py_None && got != tensor && !(failed = check_gradient(tensor, got, fn)))
        PyErr_SetString(PyExc_RuntimeError, "Tensor post accumulate grad hooks should return None."), failed = -1;
    Py_DECREF(got);
    return failed ? PY_FAILED : HG_OK;
}

static hg_status call_node_pre(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *got = PyObject_CallOneArg(fn, object(c->grad_output));
    return got ? take_gradients(cx, &c->grad_output, got, fn) : PY_FAILED;
}

static hg_status call_node(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *got = call(fn, object(c->grad_input), object(c->grad_output), NULL, NULL);
    return got ? take_gradients(cx, &c->grad_input, got, fn) : PY_FAILED;
}

/* The keyword arguments as a dict the hook may change: made where there are none. */
static PyObject *kwargs_of(hg_call *c) {
    if (c->kwargs.kind == HG_V_NONE) {
        PyObject *none = PyDict_New();
        if (!none) return NULL;
        c->kwargs = (hg_value){HG_V_OTHER, none};
    }
    return c->kwargs.obj;
}

/* Python says so where a function is called with the like: steals nothing, the exception in flight goes. */
static hg_status not_spreadable(hg_module *m, const char *stars, const char *what, PyObject *got) {
    PyTypeObject *type = Py_TYPE(PY(m));
    PyObject *home = PyObject_GetAttrString((PyObject *)type, "__module__");
    if (home)
        PyErr_Format(PyExc_TypeError, "%S.%s.forward() argument after %s must be %s, not %.100s", home, type->tp_name,
                     stars, what, Py_TYPE(got)->tp_name);
    Py_XDECREF(home);
    return PY_FAILED;
}

static hg_status take_args_and_kwargs(hg_ctx *cx, hg_call *c, PyObject *got) {
    if (!PyTuple_Check(got) || PyTuple_GET_SIZE(got) != 2) {
        PyErr_Format(PyExc_RuntimeError,
                     "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got %S.", got);
        return PY_FAILED;
    }
    PyObject *args = PyTuple_GET_ITEM(got, 0), *kwargs = PyTuple_GET_ITEM(got, 1);
    hg_value_set(cx, &c->args, as_it_is(Py_NewRef(args)));
    hg_value_set(cx, &c->kwargs, (hg_value){HG_V_OTHER, Py_NewRef(kwargs)});
    return HG_OK;
}

hg_status py_spread(void *ud, hg_module *m, hg_value *args, hg_value *kwargs) {
    (void)ud;
    PyObject *spread = object(*args), *named = kwargs->kind == HG_V_NONE ? NULL : kwargs->obj, *made = NULL;
    if (named && !PyDict_Check(named) && !PyObject_HasAttrString(named, "keys"))
        return not_spreadable(m, "**", "a mapping", named);
    if (!Py_TYPE(spread)->tp_iter && !PySequence_Check(spread)) return not_spreadable(m, "*", "an iterable", spread);
    if (!(spread = PySequence_Tuple(spread))) return PY_FAILED;
    if (named) made = PyDict_CheckExact(named) ? Py_NewRef(named) : PyDict_New();
    if (named && (!made || (made != named && PyDict_Update(made, named)))) {
        Py_XDECREF(made);
        Py_DECREF(spread);
        return PY_FAILED;
    }
    *args = py_value(spread);
    if (named) *kwargs = (hg_value){HG_V_OTHER, made};
    return HG_OK;
}

static hg_status call_forward_pre(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *module = PY(c->module), *kwargs = NULL;
    bool with_kwargs = c->flags & HG_HOOK_WITH_KWARGS;
    if (with_kwargs && !(kwargs = kwargs_of(c))) return PY_FAILED;
    PyObject *got = call(fn, module, object(c->args), kwargs, NULL);
    if (!got) return PY_FAILED;
    hg_status st = HG_OK;
    if (got == Py_None) {
        Py_DECREF(got);
    } else if (with_kwargs) {
        st = take_args_and_kwargs(cx, c, got);
        Py_DECREF(got);
    } else if (PyTuple_Check(got)) {
        replace(cx, &c->args, got);
    } else { /* a bare value stands for a tuple of one */
        PyObject *args = PyTuple_Pack(1, got);
        Py_DECREF(got);
        if (!args) return PY_FAILED;
        replace(cx, &c->args, args);
    }
    return st;
}

static hg_status call_forward(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *module = PY(c->module), *output = object(c->output), *got, *kwargs;
    if (c->flags & HG_HOOK_WITH_KWARGS) {
        if (!(kwargs = kwargs_of(c))) return PY_FAILED;
        got = call(fn, module, object(c->args), kwargs, output);
    } else {
        got = call(fn, module, object(c->args), output, NULL);
    }
    if (!got) return PY_FAILED;
    if (got == Py_None)
        Py_DECREF(got);
    else
        replace(cx, &c->output, got);
    return HG_OK;
}

/* What full backward hooks return is as long as what they were given, and what the next one sees. Steals got. */
static hg_status take_sequence(hg_ctx *cx, hg_value *slot, PyObject *got, const char *words) {
    Py_ssize_t n = got == Py_None ? 0 : PyObject_Size(got), expected = n < 0 ? -1 : PyObject_Size(object(*slot));
    if (got == Py_None || expected < 0 || n != expected) {
        if (got != Py_None && expected >= 0) PyErr_Format(PyExc_RuntimeError, words, n, expected);
        Py_DECREF(got);
        return PyErr_Occurred() ? PY_FAILED : HG_OK;
    }
    hg_value_set(cx, slot, as_it_is(got));
    return HG_OK;
}

/* As PyTorch takes them, by their numbers, so that a dict may have them. */
hg_status py_gradients(void *ud, hg_value from, const uint32_t *index, uint32_t n, hg_value *slot) {
    (void)ud;
    PyObject *tuple = PyTuple_New(n);
    for (uint32_t i = 0; tuple && i < n; i++) {
        PyObject *at = PyLong_FromUnsignedLong(index[i]), *item = at ? PyObject_GetItem(object(from), at) : NULL;
        Py_XDECREF(at);
        PyTuple_SET_ITEM(tuple, i, item);
        if (!item) Py_CLEAR(tuple);
    }
    return tuple ? take_gradients(py_ctx(), slot, tuple, NULL) : PY_FAILED;
}

static hg_status call_backward_pre(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *got = call(fn, PY(c->module), object(c->grad_output), NULL, NULL);
    if (!got) return PY_FAILED;
    return take_sequence(cx, &c->grad_output, got,
                         "Backward pre hook returned an invalid number of grad_output, got %zd, but expected %zd");
}

static hg_status call_backward(hg_ctx *cx, hg_call *c, PyObject *fn) {
    PyObject *got = call(fn, PY(c->module), object(c->grad_input), object(c->grad_output), NULL);
    if (!got) return PY_FAILED;
    if (c->flags & HG_HOOK_LEGACY) return take_gradients(cx, &c->grad_input, got, fn);
    if (c->without_inputs) { /* the core wants nothing back, in any length */
        replace(cx, &c->grad_input, got);
        return HG_OK;
    }
    return take_sequence(cx, &c->grad_input, got,
                         "Backward hook returned an invalid number of grad_input, got %zd, but expected %zd");
}

/* ---- Which hook an exception came out of ------------------------------------------------------------------------- */

void py_annotate(const char *kind, PyObject *hook, const void *file, int line, PyObject *owner) {
    PyObject *type, *value, *traceback, *notes, *got = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) PyException_SetTraceback(value, traceback);
    if (value && (notes = PyImport_ImportModule("hookgrad._notes"))) {
        got = PyObject_CallMethod(notes, "add", "OsOOiO", value, kind, hook, file ? (PyObject *)file : Py_None, line,
                                  owner ? owner : Py_None);
        Py_DECREF(notes);
    }
    Py_XDECREF(got);
    PyErr_Restore(type, value, traceback);
}

const char *py_hook_words(hg_hook_kind kind, uint32_t flags) {
    static const char *const words[HG_N_HOOK_KINDS] = {
        [HG_HOOK_TENSOR] = "tensor hook",
        [HG_HOOK_POST_ACCUMULATE] = "post-accumulate-grad hook",
        [HG_HOOK_NODE_PRE] = "node pre-hook",
        [HG_HOOK_NODE] = "node hook",
        [HG_HOOK_FORWARD_PRE] = "forward pre-hook",
        [HG_HOOK_FORWARD] = "forward hook",
        [HG_HOOK_BACKWARD_PRE] = "full backward pre-hook",
        [HG_HOOK_BACKWARD] = "full backward hook",
        [HG_HOOK_STATE_DICT_PRE] = "state_dict pre-hook",
        [HG_HOOK_STATE_DICT] = "state_dict post-hook",
        [HG_HOOK_LOAD_STATE_DICT_PRE] = "load_state_dict pre-hook",
        [HG_HOOK_LOAD_STATE_DICT] = "load_state_dict post-hook",
        [HG_HOOK_REGISTER_BUFFER] = "buffer registration hook",
        [HG_HOOK_REGISTER_MODULE] = "module registration hook",
        [HG_HOOK_REGISTER_PARAMETER] = "parameter registration hook",
    };
    return flags & HG_HOOK_LEGACY ? "backward hook" : words[kind];
}

static void annotate(const hg_ctx *cx, const hg_call *c, PyObject *fn) {
    PyObject *type, *value, *traceback, *owner;
    PyErr_Fetch(&type, &value, &traceback);
    owner = c->module ? Py_NewRef(PY(c->module)) : py_node_wrap(c->node ? c->node : hg_backward_node(cx));
    PyErr_Restore(type, value, traceback);
    py_annotate(py_hook_words(c->kind, c->flags), fn, c->file, c->line, owner);
    Py_XDECREF(owner);
}

/* _site() -> (file, line), for a hook that Python keeps */
static PyObject *site(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    const void *file;
    int line;
    py_site(&file, &line);
    return file ? Py_BuildValue("Oi", (PyObject *)file, line) : Py_NewRef(Py_None);
}

/* _hook_site(table, key) -> (file, line), or None where that is not known */
static PyObject *hook_site(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *table, *key;
    if (!PyArg_ParseTuple(args, "OO:_hook_site", &table, &key)) return NULL;
    Py_ssize_t at = Py_TYPE(table) == hg_py->hooks_type ? py_hooks_mapping.find(table, key) : -1;
    const hg_hook *hook = at < 0 ? NULL : &HOOKS(table)->at[at];
    if (at == -2) return NULL;
    return hook && hook->file ? Py_BuildValue("Oi", (PyObject *)hook->file, hook->line) : Py_NewRef(Py_None);
}

/* _call_hook(kind, site, owner, hook, *args): hook(*args), whose exception carries a note. */
static PyObject *call_noted(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    if (n < 4 || !PyUnicode_Check(args[0]))
        return PyErr_SetString(PyExc_TypeError, "_call_hook() takes a kind, a site, an owner, a hook, its arguments"),
               NULL;
    PyObject *got = PyObject_Vectorcall(args[3], args + 4, (size_t)(n - 4), NULL);
    if (got) return got;
    bool known = PyTuple_Check(args[1]) && PyTuple_GET_SIZE(args[1]) == 2;
    const void *file = known ? PyTuple_GET_ITEM(args[1], 0) : NULL;
    py_annotate(PyUnicode_AsUTF8(args[0]), args[3], file, known ? (int)PyLong_AsLong(PyTuple_GET_ITEM(args[1], 1)) : 0,
                args[2]);
    return NULL;
}

static PyObject *n_placed(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyLong_FromLongLong(hg_n_placed(hg_py->lib));
}

static PyMethodDef functions[] = {
    {"_n_placed", n_placed, METH_NOARGS, "How often a module has become another one's child."},
    {"_site", site, METH_NOARGS, "Where in the user's program this is called: (file, line)."},
    {"_hook_site", hook_site, METH_VARARGS, "Where a table's hook was registered: (file, line), or None."},
    {"_call_hook", FAST(call_noted), METH_FASTCALL, "Call a hook; its exception carries a note."},
    {NULL, NULL, 0, NULL},
};

int py_hook_call_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }

/* ---- All kinds --------------------------------------------------------------------------------------------------- */

static hg_status call_hook(hg_ctx *cx, hg_call *c, PyObject *data) {
    switch (c->kind) {
    case HG_HOOK_TENSOR: return call_tensor(cx, c, data);
    case HG_HOOK_POST_ACCUMULATE: return call_post_accumulate(cx, c, data);
    case HG_HOOK_NODE_PRE: return call_node_pre(cx, c, data);
    case HG_HOOK_NODE: return call_node(cx, c, data);
    case HG_HOOK_FORWARD_PRE: return call_forward_pre(cx, c, data);
    case HG_HOOK_FORWARD: return call_forward(cx, c, data);
    case HG_HOOK_BACKWARD_PRE: return call_backward_pre(cx, c, data);
    case HG_HOOK_BACKWARD: return call_backward(cx, c, data);
    default: break; /* the others are called from Python */
    }
    PyErr_Format(PyExc_SystemError, "hooks of kind %d are not called by the core", (int)c->kind);
    return PY_FAILED;
}

hg_status py_call_hook(hg_ctx *cx, hg_call *c, void *data) {
    hg_status st = call_hook(cx, c, data);
    if (st != HG_OK && PyErr_Occurred()) annotate(cx, c, data);
    return st;
}
