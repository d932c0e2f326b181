/* What PyTorch keeps in a module's __dict__: see Note [A module's dictionary] in py_module.h. */
#include "py_hooks.h"
#include "py_mapping.h"
#include "py_module.h"

typedef struct attr {
    attr_sort sort;
    int which;
    uint32_t flag;
    size_t name; /* its place in hg_py->names */
} attr;

static const attr attrs[N_MODULE_ATTRS] = {
#define X(name, sort, which, flag) {sort, which, flag, offsetof(mod_state, names.name)},
    PY_MODULE_ATTRS(X)
#undef X
};

PyObject *py_module_attr_name(module_attr a) { return *(PyObject **)(void *)((char *)hg_py + attrs[a].name); }

/* Which of PyTorch's attributes has that name; -1: none. */
static int attr_named(PyObject *name) {
    if (!PyUnicode_Check(name) || PyUnicode_GET_LENGTH(name) < 8) return -1;
    for (int a = 0; a < N_MODULE_ATTRS; a++)
        if (name == py_module_attr_name(a)) return a;
    for (int a = 0; a < N_MODULE_ATTRS; a++)
        if (PyUnicode_Compare(name, py_module_attr_name(a)) == 0) return a;
    return -1;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

PyObject *py_module_names(PyObject *self) {
    if (!SELF(self)->non_persistent) SELF(self)->non_persistent = PySet_New(NULL);
    return SELF(self)->non_persistent;
}

/* New. */
static PyObject *attr_get(PyObject *self, module_attr a) {
    const attr *at = &attrs[a];
    hg_module *m = MODULE(self);
    hg_hooks *h;
    hg_table *t;
    hg_ctx *cx = py_ctx();
    hg_status st = HG_HOST;
    if (!module_has(self, a)) return py_no_attribute(self, py_module_attr_name(a));
    switch (at->sort) {
    case ATTR_TRAINING: return PyBool_FromLong(m->training);
    case ATTR_NAMES: return Py_XNewRef(py_module_names(self));
    case ATTR_FULL: return Py_NewRef(SELF(self)->full_backward ? SELF(self)->full_backward : Py_None);
    case ATTR_TABLE:
        if (cx && (st = hg_module_table(cx, m, (hg_table_kind)at->which, &t)) == HG_OK) return py_wrap(t);
        break;
    case ATTR_HOOKS:
    case ATTR_FLAGS:
        if (!cx || (st = hg_module_hooks(cx, m, (hg_hook_kind)at->which, true, &h)) != HG_OK) break;
        return at->sort == ATTR_HOOKS ? py_wrap(h) : py_hooks_view(h, at->flag);
    }
    return cx ? py_raise(cx, st) : NULL;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

static bool is_complete(PyObject *dict) { return dict && Py_TYPE(dict) == hg_py->module_dict_type; }

bool py_module_shows(PyObject *self) { return is_complete(SELF(self)->dict); }

/* Make what the dictionary shows what the core has. */
static int show(PyObject *self, module_attr a) {
    PyObject *dict = SELF(self)->dict;
    if (!is_complete(dict)) return 0;
    if (!module_has(self, a)) {
        int there = PyDict_Contains(dict, py_module_attr_name(a));
        return there == 1 ? PyDict_DelItem(dict, py_module_attr_name(a)) : there;
    }
    PyObject *value = attr_get(self, a);
    int failed = value ? PyDict_SetItem(dict, py_module_attr_name(a), value) : -1;
    Py_XDECREF(value);
    return failed;
}

static hg_status set_table(hg_ctx *cx, hg_module *m, int which, PyObject *from) {
    PyObject *table = from ? py_table_from(from) : NULL;
    if (from && !table) return HG_HOST;
    hg_status st = hg_module_set_table(cx, m, (hg_table_kind)which, table ? TABLE(table) : NULL);
    Py_XDECREF(table);
    return st;
}

static hg_status set_hooks(hg_ctx *cx, hg_module *m, int kind, PyObject *from) {
    hg_hooks *before;
    hg_status st = hg_module_hooks(cx, m, (hg_hook_kind)kind, false, &before);
    if (st != HG_OK) return st;
    PyObject *table = from ? py_hooks_from(from, (hg_hook_kind)kind, before) : NULL;
    if (from && !table) return HG_HOST;
    st = hg_module_set_hooks(cx, m, (hg_hook_kind)kind, table ? HOOKS(table) : NULL);
    Py_XDECREF(table);
    return st;
}

static hg_status set_flags(hg_ctx *cx, hg_module *m, const attr *at, PyObject *from) {
    hg_hooks *h;
    hg_status st = hg_module_hooks(cx, m, (hg_hook_kind)at->which, from != NULL, &h);
    if (st != HG_OK || !h) return st;
    PyObject *none = from ? NULL : PyDict_New();
    if (!from && !none) return HG_HOST;
    st = py_hooks_view_assign(h, at->flag, from ? from : none) ? HG_HOST : HG_OK;
    Py_XDECREF(none);
    return st;
}

/* True: the module's backward hooks are full ones; False: they are of the older sort; None: it has none yet. */
static hg_status set_full(hg_ctx *cx, PyObject *self, const attr *at, PyObject *value) {
    hg_hooks *h;
    int full = value && value != Py_None ? PyObject_IsTrue(value) : -1;
    if (PyErr_Occurred()) return HG_HOST;
    hg_status st = hg_module_hooks(cx, MODULE(self), (hg_hook_kind)at->which, false, &h);
    if (st != HG_OK) return st;
    SELF(self)->full_backward = full < 0 ? NULL : full ? Py_True : Py_False;
    for (uint32_t i = 0; h && full >= 0 && i < h->n; i++)
        h->at[i].flags = full ? h->at[i].flags & ~at->flag : h->at[i].flags | at->flag;
    return HG_OK;
}

/* NULL deletes. */
static int attr_set(PyObject *self, module_attr a, PyObject *value) {
    const attr *at = &attrs[a];
    hg_module *m = MODULE(self);
    hg_ctx *cx = py_ctx();
    hg_status st = HG_OK;
    int truth;
    if (!cx) return -1;
    if (!value && !module_has(self, a)) return py_no_attribute(self, py_module_attr_name(a)), -1;
    switch (at->sort) {
    case ATTR_TRAINING:
        if ((truth = value ? PyObject_IsTrue(value) : 0) < 0) return -1;
        m->training = truth;
        break;
    case ATTR_NAMES: Py_XSETREF(SELF(self)->non_persistent, Py_XNewRef(value)); break;
    case ATTR_TABLE: st = set_table(cx, m, at->which, value); break;
    case ATTR_HOOKS: st = set_hooks(cx, m, at->which, value); break;
    case ATTR_FLAGS: st = set_flags(cx, m, at, value); break;
    case ATTR_FULL: st = set_full(cx, self, at, value); break;
    }
    if (st != HG_OK) return py_fail(cx, st);
    if (value)
        SELF(self)->present |= UINT32_C(1) << a;
    else
        SELF(self)->present &= ~(UINT32_C(1) << a);
    if (show(self, a)) return -1;
    for (int b = 0; b < N_MODULE_ATTRS && at->sort == ATTR_HOOKS; b++) /* the flags' views are of the new table */
        if (attrs[b].sort == ATTR_FLAGS && attrs[b].which == at->which && show(self, b)) return -1;
    return 0;
}

int py_module_reset(PyObject *self) {
    hg_module *m = MODULE(self);
    if (!SELF(self)->present) {
        SELF(self)->present = (UINT32_C(1) << N_MODULE_ATTRS) - 1;
        m->training = true;
        for (int a = 0; a < N_MODULE_ATTRS && is_complete(SELF(self)->dict); a++)
            if (show(self, a)) return -1;
        return 0;
    }
    for (int a = 0; a < N_MODULE_ATTRS; a++) { /* __init__ once more */
        attr_sort sort = attrs[a].sort;
        if (sort == ATTR_FLAGS) continue; /* gone with their hooks */
        PyObject *fresh = sort == ATTR_TRAINING ? Py_NewRef(Py_True)
                          : sort == ATTR_FULL   ? Py_NewRef(Py_None)
                          : sort == ATTR_NAMES  ? PySet_New(NULL)
                                                : PyDict_New();
        int failed = fresh ? attr_set(self, a, fresh) : -1;
        Py_XDECREF(fresh);
        if (failed) return -1;
    }
    SELF(self)->present = (UINT32_C(1) << N_MODULE_ATTRS) - 1;
    return 0;
}

/* In PyTorch the instance's `training` hides one that the class has; here the attribute is the base class's, so the
   class loses its own. A property stays: in PyTorch too it comes first. */
int py_module_unhide(PyTypeObject *type) {
    for (int a = 0; a < N_MODULE_ATTRS; a++) {
        PyObject *hides = PyDict_GetItemWithError(type->tp_dict, py_module_attr_name(a));
        if (!hides && PyErr_Occurred()) return -1;
        if (hides && !Py_TYPE(hides)->tp_descr_set && PyObject_DelAttr((PyObject *)type, py_module_attr_name(a)))
            return -1;
    }
    return 0;
}

static PyObject *get_attribute(PyObject *self, void *a) { return attr_get(self, (module_attr)(intptr_t)a); }
static int set_attribute(PyObject *self, PyObject *v, void *a) { return attr_set(self, (module_attr)(intptr_t)a, v); }

/* ---- The dictionary --------------------------------------------------------------------------------------------- */

typedef struct module_dict {
    PyDictObject dict;
    PyObject *module; /* borrowed; NULL when it has died, or in a copy */
} module_dict;

#define OWNER(o) (((module_dict *)(o))->module)

void py_module_dict_forget(PyObject *dict) {
    if (is_complete(dict)) OWNER(dict) = NULL;
}

static PyObject *get_dict(PyObject *self, void *unused) {
    (void)unused;
    py_module *m = SELF(self);
    if (is_complete(m->dict)) return Py_NewRef(m->dict);
    PyObject *full = PyObject_CallNoArgs((PyObject *)hg_py->module_dict_type);
    for (int a = 0; full && a < N_MODULE_ATTRS; a++) {
        if (!module_has(self, a)) continue;
        PyObject *value = attr_get(self, a);
        if (!value || PyDict_SetItem(full, py_module_attr_name(a), value)) Py_CLEAR(full);
        Py_XDECREF(value);
    }
    if (full && m->dict && PyDict_Update(full, m->dict)) Py_CLEAR(full);
    if (!full) return NULL;
    OWNER(full) = self;
    Py_XSETREF(m->dict, full);
    return Py_NewRef(full);
}

static int dict_put(PyObject *dict, PyObject *key, PyObject *value) {
    PyObject *module = OWNER(dict);
    int a = module ? attr_named(key) : -1;
    if (a < 0) return value ? PyDict_SetItem(dict, key, value) : PyDict_DelItem(dict, key);
    if (!value && !module_has(module, a)) return PyErr_SetObject(PyExc_KeyError, key), -1;
    Py_INCREF(module); /* what is replaced may hold the last reference */
    int failed = attr_set(module, a, value);
    Py_DECREF(module);
    return failed;
}

/* In the order of `from`, except that tables come before the flags of their hooks. */
static int dict_put_all(PyObject *dict, PyObject *from) {
    PyObject *given = PyDict_New(), *key, *value;
    PyObject *keys = given && !PyDict_Check(from) ? PyObject_GetAttrString(from, "keys") : NULL;
    if (given && !PyDict_Check(from) && !keys) PyErr_Clear();
    int failed = !given ||
                 (PyDict_Check(from) || keys ? PyDict_Update(given, from) : PyDict_MergeFromSeq2(given, from, 1));
    for (int flags = 0; flags < 2 && !failed; flags++) {
        Py_ssize_t pos = 0;
        while (!failed && PyDict_Next(given, &pos, &key, &value)) {
            int a = attr_named(key);
            bool is_flags = a >= 0 && attrs[a].sort == ATTR_FLAGS;
            if (is_flags == flags) failed = dict_put(dict, key, value);
            if (!flags && is_flags && OWNER(dict)) failed = PyDict_SetItem(dict, key, value); /* keeps its place */
        }
    }
    Py_XDECREF(keys);
    Py_XDECREF(given);
    return failed ? -1 : 0;
}

static PyObject *dict_update(PyObject *self, PyObject *args, PyObject *kwargs) {
    PyObject *other = NULL;
    if (!PyArg_UnpackTuple(args, "update", 0, 1, &other)) return NULL;
    if ((other && dict_put_all(self, other)) || (kwargs && dict_put_all(self, kwargs))) return NULL;
    Py_RETURN_NONE;
}

static PyObject *dict_ior(PyObject *self, PyObject *other) {
    if (!PyDict_Check(self)) Py_RETURN_NOTIMPLEMENTED;
    return dict_put_all(self, other) ? NULL : Py_NewRef(self);
}

static int dict_empty(PyObject *self) {
    PyObject *module = Py_XNewRef(OWNER(self)); /* what goes may hold the last reference */
    int failed = 0;
    for (int a = 0; module && a < N_MODULE_ATTRS && !failed; a++)
        if (module_has(module, a)) failed = attr_set(module, a, NULL);
    Py_XDECREF(module);
    if (!failed) PyDict_Clear(self);
    return failed;
}

static PyObject *dict_clear(PyObject *self, PyObject *none) {
    (void)none;
    if (dict_empty(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *dict_pop(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("pop", "key,default", 1, args, n, kwnames, at)) return NULL;
    PyObject *value = PyDict_GetItemWithError(self, at[0]);
    if (!value && PyErr_Occurred()) return NULL;
    if (!value && at[1]) return Py_NewRef(at[1]);
    if (!value) return PyErr_SetObject(PyExc_KeyError, at[0]), NULL;
    Py_INCREF(value);
    if (dict_put(self, at[0], NULL)) Py_CLEAR(value);
    return value;
}

static PyObject *dict_popitem(PyObject *self, PyObject *none) {
    (void)none;
    PyObject *keys = PyDict_Keys(self);
    Py_ssize_t n = keys ? PyList_GET_SIZE(keys) : 0;
    PyObject *pair = NULL;
    if (keys && !n) PyErr_SetString(PyExc_KeyError, "popitem(): dictionary is empty");
    if (n) {
        PyObject *key = PyList_GET_ITEM(keys, n - 1), *value = PyDict_GetItemWithError(self, key);
        pair = value ? PyTuple_Pack(2, key, value) : NULL;
        if (pair && dict_put(self, key, NULL)) Py_CLEAR(pair);
    }
    Py_XDECREF(keys);
    return pair;
}

static PyObject *dict_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("setdefault", "key,default", 1, args, n, kwnames, at)) return NULL;
    PyObject *value = PyDict_GetItemWithError(self, at[0]);
    if (!value && PyErr_Occurred()) return NULL;
    if (!value && dict_put(self, at[0], at[1] ? at[1] : Py_None)) return NULL;
    if (!value) value = PyDict_GetItemWithError(self, at[0]);
    return Py_XNewRef(value);
}

static int dict_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    return PyDict_Type.tp_traverse(self, visit, arg);
}

static int dict_tp_clear(PyObject *self) { return PyDict_Type.tp_clear(self); }

static PyMethodDef dict_methods[] = {
    {"update", FAST(dict_update), METH_VARARGS | METH_KEYWORDS, NULL},
    {"pop", FAST(dict_pop), KEYWORDS, NULL},
    {"setdefault", FAST(dict_setdefault), KEYWORDS, NULL},
    {"popitem", dict_popitem, METH_NOARGS, NULL},
    {"clear", dict_clear, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dict_slots[] = {
    {Py_tp_base, &PyDict_Type},
    {Py_tp_traverse, dict_traverse},
    {Py_tp_clear, dict_tp_clear},
    {Py_mp_ass_subscript, dict_put},
    {Py_nb_inplace_or, dict_ior},
    {Py_tp_methods, dict_methods},
    {Py_tp_doc, "A module's __dict__: PyTorch's names, live, and the user's own attributes."},
    {0, NULL},
};

static PyType_Spec dict_spec = {"hookgrad._C.ModuleDict", sizeof(module_dict), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE, dict_slots};

/* `module.__dict__ = other`: everything is replaced. */
static int set_dict(PyObject *self, PyObject *value, void *unused) {
    if (!value || !PyDict_Check(value)) {
        PyErr_Format(PyExc_TypeError, "__dict__ must be set to a dictionary, not a '%.200s'",
                     value ? Py_TYPE(value)->tp_name : "NULL");
        return -1;
    }
    PyObject *dict = get_dict(self, unused), *given = dict ? PyDict_Copy(value) : NULL;
    int failed = !given || dict_empty(dict) || dict_put_all(dict, given);
    Py_XDECREF(given);
    Py_XDECREF(dict);
    return failed ? -1 : 0;
}

PyGetSetDef py_module_attributes[] = {
    {"__dict__", get_dict, set_dict, NULL, NULL},
#define X(name, ...) {#name, get_attribute, set_attribute, NULL, (void *)(intptr_t)ATTR_##name},
    PY_MODULE_ATTRS(X)
#undef X
        {NULL, NULL, NULL, NULL, NULL},
};

int py_module_dict_init(PyObject *m) { return py_type_add(m, &hg_py->module_dict_type, &dict_spec, NULL); }
