/* RemovableHandle: undoes one registration. */
#include "py_hooks.h"

typedef struct handle {
    PyObject_HEAD
    PyObject *table;  /* weak reference to the mapping the hook is in, or what a program has put there: it is called */
    PyObject *extras; /* tuple of weak references to mappings that lose the same id */
    uint64_t id;
    PyObject *dict, *weakrefs;
} handle;

#define HANDLE(o) ((handle *)(o))

/* Dead handles of the type itself, each with the next where its table was: see Note [Free lists] in py_host.c. */
#if HG_FREES_ALL || defined(Py_REF_DEBUG) || defined(Py_TRACE_REFS)
enum { KEPT = 0 };
#else
enum { KEPT = 64 };
#endif
static struct {
    int n;
    PyObject *first;
} kept;

/* A handle with nothing in it: new. */
static handle *handle_alloc(void) {
    PyObject *o = kept.first;
    if (!o) return (handle *)hg_py->handle_type->tp_alloc(hg_py->handle_type, 0);
    kept.first = HANDLE(o)->table, kept.n--;
    HANDLE(o)->table = NULL;
    Py_SET_REFCNT(o, 1);
    PyObject_GC_Track(o);
    return HANDLE(o);
}

/* The mapping behind a reference: new, None when it is gone. */
static PyObject *referent(PyObject *ref) {
    if (!ref) Py_RETURN_NONE;
    if (!PyWeakref_Check(ref)) {
        Py_INCREF(ref); /* the handle may have another by the time it returns */
        PyObject *got = PyObject_CallNoArgs(ref);
        Py_DECREF(ref);
        return got;
    }
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *o;
    int found = PyWeakref_GetRef(ref, &o);
    return found < 0 ? NULL : found ? o : Py_NewRef(Py_None);
#else
    PyObject *o = PyWeakref_GetObject(ref);
    return o ? Py_NewRef(o) : NULL;
#endif
}

static int remove_from(PyObject *ref, uint64_t id) {
    PyObject *table = referent(ref), *key = NULL;
    hg_ctx *cx = py_ctx();
    if (table && PyODict_CheckExact(table)) { /* what a file has for a table: lead_handles() in py_hooks.c */
        PyObject *led = PyObject_GetAttr(table, NAME(_hook_table));
        if (led) {
            Py_SETREF(table, referent(led));
            Py_DECREF(led);
        } else
            PyErr_Clear();
    }
    int found = !table || !cx ? -1 : 0;
    if (!found && Py_TYPE(table) == hg_py->hooks_type) {
        hg_hooks_remove(cx, HOOKS(table), id);
    } else if (!found && table != Py_None) {
        key = PyLong_FromUnsignedLongLong(id);
        found = key ? PySequence_Contains(table, key) : -1;
        if (found == 1) found = PyObject_DelItem(table, key);
    }
    Py_XDECREF(key);
    Py_XDECREF(table);
    return found < 0 ? -1 : 0;
}

/* The tables are snapshot first: removing one hook may run anything, even __init__ of this handle. */
static PyObject *handle_remove(PyObject *self, PyObject *none) {
    (void)none;
    PyObject *table = Py_XNewRef(HANDLE(self)->table), *extras = Py_XNewRef(HANDLE(self)->extras);
    uint64_t id = HANDLE(self)->id;
    int failed = remove_from(table, id);
    for (Py_ssize_t i = 0; extras && !failed && i < PyTuple_GET_SIZE(extras); i++)
        failed = remove_from(PyTuple_GET_ITEM(extras, i), id);
    Py_XDECREF(table);
    Py_XDECREF(extras);
    if (failed) return NULL;
    Py_RETURN_NONE;
}

PyObject *py_handle_new(PyObject *table, uint64_t id) {
    PyObject **ref = &((py_hooks *)table)->ref;
    if (!*ref && !(*ref = PyWeakref_NewRef(table, NULL))) return NULL;
    handle *h = handle_alloc();
    if (!h) return NULL;
    h->id = id;
    h->extras = Py_NewRef(hg_py->empty_tuple);
    h->table = Py_NewRef(*ref);
    return (PyObject *)h;
}

/* Weak references to one mapping, or to each of a list or tuple: new. None is left out, which stands for one
   that has died, and what handle_get_extras makes. */
static PyObject *refs_to(PyObject *given) {
    if (!given || given == Py_None) return Py_NewRef(hg_py->empty_tuple);
    PyObject *many = PyList_Check(given) || PyTuple_Check(given) ? PySequence_Tuple(given) : PyTuple_Pack(1, given);
    PyObject *list = many ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; list && i < PyTuple_GET_SIZE(many); i++) {
        PyObject *one = PyTuple_GET_ITEM(many, i);
        bool is_own = one == Py_None || Py_TYPE(one) == hg_py->hooks_view_type;
        PyObject *ref = is_own ? NULL : PyWeakref_NewRef(one, NULL);
        if (!is_own && (!ref || PyList_Append(list, ref))) Py_CLEAR(list);
        Py_XDECREF(ref);
    }
    PyObject *refs = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(many);
    Py_XDECREF(list);
    return refs;
}

static int handle_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"hooks_dict", "extra_dict", NULL};
    PyObject *table, *extra = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:RemovableHandle.__init__", names, &table, &extra)) return -1;
    if (extra && !PyList_Check(extra)) { /* as in PyTorch anything but a dict or a list is let be */
        int is_dict = PyObject_IsInstance(extra, (PyObject *)&PyDict_Type);
        if (is_dict < 0) return -1;
        if (!is_dict) extra = NULL;
    }
    PyObject *ref = PyWeakref_NewRef(table, NULL), *refs = ref ? refs_to(extra) : NULL;
    if (!refs) {
        Py_XDECREF(ref);
        return -1;
    }
    Py_XSETREF(HANDLE(self)->table, ref);
    Py_XSETREF(HANDLE(self)->extras, refs);
    HANDLE(self)->id = hg_next_hook_id(hg_py->lib);
    return 0;
}

/* ---- What else loses the id ------------------------------------------------------------------------------------- */

/* For `which`, (a reference to a table, a flag): the mapping of the hooks that have the flag, new. */
static PyObject *flags_of(PyObject *which, PyObject *none) {
    (void)none;
    PyObject *table = referent(PyTuple_GET_ITEM(which, 0)), *made;
    if (!table || table == Py_None) return table;
    made = py_hooks_view(HOOKS(table), (uint32_t)PyLong_AsLong(PyTuple_GET_ITEM(which, 1)));
    Py_DECREF(table);
    return made;
}

/* A table has the flags of its hooks itself, so the references to their mappings are made when they are asked for, and
   make the mapping when they are called. */
static PyObject *handle_get_extras(PyObject *self, void *unused) {
    static PyMethodDef ref = {"ref", flags_of, METH_NOARGS, NULL};
    static const uint32_t flags[] = {HG_HOOK_WITH_KWARGS, HG_HOOK_ALWAYS_CALL};
    (void)unused;
    PyObject *extras = HANDLE(self)->extras, *table = extras ? referent(HANDLE(self)->table) : NULL;
    if (!extras)
        PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'extra_dict_ref'", Py_TYPE(self)->tp_name);
    if (!table) return NULL;
    hg_hook_kind kind = Py_TYPE(table) == hg_py->hooks_type ? HOOKS(table)->kind : HG_HOOK_TENSOR;
    int n = kind == HG_HOOK_FORWARD ? 2 : kind == HG_HOOK_FORWARD_PRE, first = 0;
    hg_hooks *global = NULL;
    hg_ctx *cx = n ? py_ctx() : NULL;
    if (n && !cx) {
        Py_DECREF(table);
        return NULL;
    }
    if (n && hg_global_hooks(cx, kind, &global) == HG_OK && PY(global) == table)
        n--, first = 1; /* a handle of all modules' hooks leaves the first flag where it is, in PyTorch */
    Py_DECREF(table);
    if (!n || PyTuple_GET_SIZE(extras)) return Py_NewRef(extras);
    PyObject *made = PyTuple_New(n);
    for (int i = 0; made && i < n; i++) {
        PyObject *which = Py_BuildValue("(OI)", HANDLE(self)->table, flags[first + i]);
        PyTuple_SET_ITEM(made, i, which ? PyCFunction_New(&ref, which) : NULL);
        Py_XDECREF(which);
        if (!PyTuple_GET_ITEM(made, i)) Py_CLEAR(made);
    }
    return made;
}

/* ---- Copies and pickles ----------------------------------------------------------------------------------------- */

static PyObject *handle_getstate(PyObject *self, PyObject *none) {
    (void)none;
    PyObject *extras = handle_get_extras(self, NULL);
    Py_ssize_t n = extras && PyTuple_Check(extras) ? PyTuple_GET_SIZE(extras) : 0;
    PyObject *alive = extras ? PyTuple_New(n) : NULL, *table = alive ? referent(HANDLE(self)->table) : NULL;
    for (Py_ssize_t i = 0; table && i < n; i++) {
        PyObject *o = PyObject_CallNoArgs(PyTuple_GET_ITEM(extras, i));
        if (o)
            PyTuple_SET_ITEM(alive, i, o);
        else
            Py_CLEAR(table);
    }
    Py_XDECREF(extras);
    if (table) return Py_BuildValue("(NKN)", table, (unsigned long long)HANDLE(self)->id, alive);
    Py_XDECREF(alive);
    return NULL;
}

static PyObject *handle_setstate(PyObject *self, PyObject *state) {
    PyObject *table, *extras = Py_None;
    unsigned long long id;
    if (!PyTuple_Check(state))
        return PyErr_SetString(PyExc_TypeError, "RemovableHandle.__setstate__(): expected a tuple"), NULL;
    if (!PyArg_ParseTuple(state, "OK|O", &table, &id, &extras)) return NULL;
    PyObject *none = table == Py_None ? PySet_New(NULL) : NULL; /* what the reference is to is gone */
    PyObject *refs = refs_to(extras), *ref = PyWeakref_NewRef(none ? none : table, NULL);
    Py_XDECREF(none);
    if (!refs || !ref) {
        Py_XDECREF(refs);
        Py_XDECREF(ref);
        return NULL;
    }
    Py_XSETREF(HANDLE(self)->table, ref);
    Py_XSETREF(HANDLE(self)->extras, refs);
    HANDLE(self)->id = id;
    if (hg_peek_hook_id(hg_py->lib) <= id) hg_set_next_hook_id(hg_py->lib, id + 1);
    Py_RETURN_NONE;
}

/* ---- The type --------------------------------------------------------------------------------------------------- */

static PyObject *handle_enter(PyObject *self, PyObject *none) { return (void)none, Py_NewRef(self); }
static PyObject *handle_exit(PyObject *self, PyObject *args) {
    (void)args;
    return PyObject_CallMethodNoArgs(self, NAME(remove));
}

static PyObject *handle_get_id(PyObject *self, void *unused) {
    (void)unused;
    if (HANDLE(self)->table) return PyLong_FromUnsignedLongLong(HANDLE(self)->id);
    return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute 'id'", Py_TYPE(self)->tp_name);
}

static int handle_set_id(PyObject *self, PyObject *value, void *unused) {
    (void)unused;
    if (!value) return PyErr_SetString(PyExc_AttributeError, "the id of a handle cannot be deleted"), -1;
    unsigned long long id = PyLong_AsUnsignedLongLong(value);
    if (id == (unsigned long long)-1 && PyErr_Occurred()) return -1;
    HANDLE(self)->id = id;
    return 0;
}

/* As in PyTorch, what the handle knows stands in its __dict__, too: put there when that is asked for. */
static PyObject *handle_get_dict(PyObject *self, void *unused) {
    static const char *const names[] = {"hooks_dict_ref", "id", "extra_dict_ref"};
    PyObject *dict = PyObject_GenericGetDict(self, unused);
    for (int i = 0; dict && HANDLE(self)->table && i < 3; i++) {
        PyObject *value = PyObject_GetAttrString(self, names[i]);
        if (!value || PyDict_SetItemString(dict, names[i], value)) Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

static int handle_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(HANDLE(self)->table);
    Py_VISIT(HANDLE(self)->extras);
    Py_VISIT(HANDLE(self)->dict);
    return 0;
}

static int handle_clear(PyObject *self) {
    Py_CLEAR(HANDLE(self)->table);
    Py_CLEAR(HANDLE(self)->extras);
    Py_CLEAR(HANDLE(self)->dict);
    return 0;
}

static void handle_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (HANDLE(self)->weakrefs) PyObject_ClearWeakRefs(self);
    handle_clear(self);
    if (type == hg_py->handle_type && kept.n < KEPT) { /* it keeps the reference to its type */
        HANDLE(self)->table = kept.first;
        kept.first = self, kept.n++;
        return;
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef handle_methods[] = {
    {"remove", handle_remove, METH_NOARGS,
     "remove($self)\n--\n\nRemove the hook. Doing it twice, or when its owner is gone, does nothing."},
    {"__getstate__", handle_getstate, METH_NOARGS, NULL},
    {"__setstate__", handle_setstate, METH_O, NULL},
    {"__enter__", handle_enter, METH_NOARGS, "__enter__($self)\n--\n\n"},
    {"__exit__", handle_exit, METH_VARARGS, "__exit__($self, type, value, tb)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef handle_members[] = {
    {"hooks_dict_ref", T_OBJECT_EX, offsetof(handle, table), 0, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(handle, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(handle, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* RemovableHandle.next_id is the library's counter, so the class needs a type of its own to show it. */
static PyObject *get_next_id(PyObject *owner, void *unused) {
    (void)owner, (void)unused;
    return PyLong_FromUnsignedLongLong(hg_peek_hook_id(hg_py->lib));
}

static PyGetSetDef handle_attributes[] = {
    {"next_id", get_next_id, NULL, NULL, NULL},
    {"id", handle_get_id, handle_set_id, NULL, NULL},
    {"extra_dict_ref", handle_get_extras, NULL, NULL, NULL},
    {"__dict__", handle_get_dict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_init, handle_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_methods, handle_methods},
    {Py_tp_members, handle_members},
    {Py_tp_getset, handle_attributes},
    {Py_tp_doc, "RemovableHandle(hooks_dict, *, extra_dict=None)\n--\n\n"
                "Undoes one registration: remove() takes the hook out of its table. Also a context manager."},
    {0, NULL},
};

static PyType_Spec handle_spec = {"hookgrad.utils.hooks.RemovableHandle", sizeof(handle), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, handle_slots};

static int set_next_id(PyObject *class, PyObject *value, void *unused) {
    (void)class, (void)unused;
    unsigned long long id = value ? PyLong_AsUnsignedLongLong(value) : 0;
    if (!value) PyErr_SetString(PyExc_AttributeError, "RemovableHandle.next_id cannot be deleted");
    if (PyErr_Occurred()) return -1;
    hg_set_next_hook_id(hg_py->lib, id);
    return 0;
}

static PyGetSetDef meta_attributes[] = {{"next_id", get_next_id, set_next_id, NULL, NULL},
                                        {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot meta_slots[] = {{Py_tp_base, &PyType_Type}, {Py_tp_getset, meta_attributes}, {0, NULL}};
static PyType_Spec meta_spec = {"hookgrad._C.HandleType", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, meta_slots};

int py_handle_init(PyObject *m) {
    PyTypeObject *meta = (PyTypeObject *)PyType_FromSpec(&meta_spec);
    if (!meta) return -1;
    if (py_type_add(m, &hg_py->handle_type, &handle_spec, NULL)) {
        Py_DECREF(meta);
        return -1;
    }
    hg_py->handle_type->tp_name = "RemovableHandle"; /* as a class in Python is called in Python's own errors */
    /* PyType_FromMetaclass() came with Python 3.12 only. The layout is that of `type`. */
    Py_SET_TYPE((PyObject *)hg_py->handle_type, meta);
    return 0;
}
