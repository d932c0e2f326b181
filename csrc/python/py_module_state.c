/* state_dict() of a tree of modules: what Module.state_dict() does where no class, and no hook, has a say in it. */
#include "py_module.h"

typedef struct state {
    PyObject *into;      /* the dict that is filled */
    PyObject *metadata;  /* its `_metadata`, owned: NULL where it has none */
    PyObject *keep_vars; /* True or False */
} state;

/* Is nothing of its own to be asked about what it saves? */
static bool saves_alike(hg_ctx *cx, PyObject *module) {
    hg_hooks *before = NULL, *after = NULL;
    hg_module_hooks(cx, MODULE(module), HG_HOOK_STATE_DICT_PRE, false, &before);
    hg_module_hooks(cx, MODULE(module), HG_HOOK_STATE_DICT, false, &after);
    return !(before && before->n) && !(after && after->n) && py_module_inherits(module, NAME(_save_to_state_dict)) &&
           py_module_inherits(module, NAME(get_extra_state)) && module_has(module, ATTR__parameters) &&
           module_has(module, ATTR__buffers) && module_has(module, ATTR__modules);
}

static int save_version(const state *s, PyObject *module, PyObject *prefix) {
    if (!s->metadata) return 0;
    Py_ssize_t n = PyUnicode_GET_LENGTH(prefix);
    PyObject *path = PyUnicode_Substring(prefix, 0, n ? n - 1 : 0), *version = NULL, *local = NULL;
    int failed = !path || !(version = PyObject_GetAttr(module, NAME(_version))) || !(local = PyDict_New()) ||
                 PyDict_SetItem(local, NAME(version), version) || PyObject_SetItem(s->metadata, path, local);
    Py_XDECREF(path);
    Py_XDECREF(version);
    Py_XDECREF(local);
    return failed ? -1 : 0;
}

/* The tensor as the dict is to have it: new. */
static PyObject *saved(hg_ctx *cx, const state *s, PyObject *value) {
    if (s->keep_vars == Py_True) return Py_NewRef(value);
    PyTypeObject *type = Py_TYPE(value);
    if ((type != hg_py->tensor_type && type != (PyTypeObject *)hg_py->parameter) || hg_py->override || hg_py->dispatch)
        return PyObject_CallMethodNoArgs(value, NAME(detach));
    hg_tensor *same;
    hg_status st = hg_tensor_detach(cx, TENSOR(value), &same);
    return st == HG_OK ? py_own(same) : py_raise(cx, st);
}

static int save_table(hg_ctx *cx, const state *s, const hg_table *t, PyObject *but, PyObject *prefix) {
    for (uint32_t i = 0; t && i < t->n; i++) {
        const hg_slot *slot = &t->at[i];
        int skip = slot->value.kind == HG_V_NONE ? 1 : but ? PySequence_Contains(but, slot->name) : 0;
        if (skip < 0) return -1;
        if (skip) continue;
        PyObject *key = py_path(prefix, 0, slot->name, 0);
        PyObject *value = key ? saved(cx, s, py_value_object(slot->value)) : NULL;
        int failed = value ? PyObject_SetItem(s->into, key, value) : -1;
        Py_XDECREF(key);
        Py_XDECREF(value);
        if (failed) return -1;
    }
    return 0;
}

static int save(hg_ctx *cx, const state *s, PyObject *module, PyObject *prefix);

/* child.state_dict(destination=into, prefix=prefix, keep_vars=keep_vars): what it returns does not matter, as in PyTorch. */
static int ask(const state *s, PyObject *child, PyObject *prefix) {
    PyObject *method = PyObject_GetAttr(child, NAME(state_dict)), *done = NULL;
    PyObject *names = method ? PyTuple_Pack(3, NAME(destination), NAME(prefix), NAME(keep_vars)) : NULL;
    if (names) done = PyObject_Vectorcall(method, (PyObject *[]){s->into, prefix, s->keep_vars}, 0, names);
    Py_XDECREF(method);
    Py_XDECREF(names);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int save_child(hg_ctx *cx, const state *s, PyObject *child, PyObject *prefix) {
    if (!py_is_module(child) || !py_module_inherits(child, NAME(state_dict)) || !saves_alike(cx, child))
        return ask(s, child, prefix);
    if (Py_EnterRecursiveCall(" in state_dict()")) return -1;
    int failed = save(cx, s, child, prefix);
    Py_LeaveRecursiveCall();
    hg_hooks *after = NULL; /* a hook of what is below it may have registered one */
    hg_module_hooks(cx, MODULE(child), HG_HOOK_STATE_DICT, false, &after);
    if (failed || !after || !after->n) return failed;
    PyObject *done = PyObject_CallMethod(child, "_run_state_dict_hooks", "OO", s->into, prefix);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int save(hg_ctx *cx, const state *s, PyObject *module, PyObject *prefix) {
    hg_module *m = MODULE(module);
    if (save_version(s, module, prefix) || save_table(cx, s, m->params, NULL, prefix) ||
        save_table(cx, s, m->buffers, SELF(module)->non_persistent, prefix))
        return -1;
    for (uint32_t i = 0; m->modules && i < m->modules->n; i++) {
        const hg_slot *slot = &m->modules->at[i];
        if (slot->value.kind == HG_V_NONE) continue;
        PyObject *child = Py_NewRef(py_value_object(slot->value));
        PyObject *below = py_path(prefix, 0, slot->name, '.');
        int failed = below ? save_child(cx, s, child, below) : -1;
        Py_DECREF(child);
        Py_XDECREF(below);
        if (failed) return -1;
    }
    return 0;
}

static PyObject *save_state(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *module, *into, *prefix;
    int keep_vars;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "O!OOp:_save_state", hg_py->module_type, &module, &into, &prefix, &keep_vars))
        return NULL;
    if (!PyUnicode_CheckExact(prefix) || !saves_alike(cx, module)) Py_RETURN_FALSE;
    state s = {into, PyObject_GetAttr(into, NAME(_metadata)), keep_vars ? Py_True : Py_False};
    if (!s.metadata) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
        PyErr_Clear();
    }
    int failed = save(cx, &s, module, prefix);
    Py_XDECREF(s.metadata);
    if (failed) return NULL;
    Py_RETURN_TRUE;
}

static PyMethodDef functions[] = {
    {"_save_state", save_state, METH_VARARGS,
     "(module, destination, prefix, keep_vars): fill the dict, unless a class or a hook has a say: then False"},
    {NULL, NULL, 0, NULL},
};

int py_module_state_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
