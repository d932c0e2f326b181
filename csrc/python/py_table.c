/* A module's parameters, buffers and children, seen from Python: dicts from names to values. */
#include "py_mapping.h"
#include "py_module.h"

/* Names are interned strings: one that is not is looked up by its interned twin. New; NULL without an exception
   where key is no string. */
PyObject *py_name(PyObject *key) {
    if (!PyUnicode_Check(key)) return NULL;
    if (PyUnicode_CheckExact(key) && PyUnicode_CHECK_INTERNED(key)) return Py_NewRef(key);
    PyObject *name = PyUnicode_FromObject(key); /* an exact str, the same one where it is one */
    if (name)
        PyUnicode_InternInPlace(&name);
    else
        PyErr_Clear();
    return name;
}

/* Like py_value(), but a module is one. */
static hg_value slot_value(PyObject *o) {
    if (py_is_module(o)) return (hg_value){HG_V_MODULE, MODULE(o)};
    return py_value(o);
}

PyObject *py_table_get(hg_table *t, PyObject *name) {
    if (!t) return NULL;
    hg_slot *slot;
    if (PyUnicode_CheckExact(name) && PyUnicode_CHECK_INTERNED(name)) {
        slot = hg_table_find(t, name);
    } else {
        PyObject *twin = py_name(name);
        slot = twin ? hg_table_find(t, twin) : NULL;
        Py_XDECREF(twin);
    }
    return slot ? py_value_object(slot->value) : NULL;
}

int py_table_set(hg_table *t, PyObject *key, PyObject *value) {
    hg_ctx *cx = py_ctx();
    PyObject *name = cx ? py_name(key) : NULL;
    if (!name) {
        if (cx) PyErr_Format(PyExc_TypeError, "a name must be a str, not %.100s", Py_TYPE(key)->tp_name);
        return -1;
    }
    hg_status st = hg_table_put(cx, t, name, slot_value(value));
    Py_DECREF(name);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

bool py_table_remove(hg_table *t, PyObject *name) {
    hg_ctx *cx = t && t->n ? py_ctx() : NULL;
    PyObject *twin = cx ? py_name(name) : NULL;
    bool was_there = twin && hg_table_remove(cx, t, twin);
    Py_XDECREF(twin);
    return was_there;
}

/* ---- The mapping ------------------------------------------------------------------------------------------------ */

static Py_ssize_t table_count(PyObject *self) { return TABLE(self)->n; }

static Py_ssize_t table_find(PyObject *self, PyObject *key) {
    PyObject *name = py_name(key);
    hg_slot *slot = name ? hg_table_find(TABLE(self), name) : NULL;
    Py_XDECREF(name);
    return slot ? slot - TABLE(self)->at : -1;
}

static PyObject *table_key(PyObject *self, Py_ssize_t at) { return Py_NewRef(TABLE(self)->at[at].name); }
static PyObject *table_value(PyObject *self, Py_ssize_t at) {
    return Py_NewRef(py_value_object(TABLE(self)->at[at].value));
}
static int table_put(PyObject *self, PyObject *key, PyObject *value) { return py_table_set(TABLE(self), key, value); }

static int table_remove(PyObject *self, Py_ssize_t at) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    hg_table_remove(cx, TABLE(self), TABLE(self)->at[at].name);
    return 0;
}

static void table_clear(PyObject *self) {
    hg_ctx *cx = py_ctx();
    if (cx)
        hg_table_clear(cx, TABLE(self));
    else
        PyErr_Clear();
}

/* As the dict it looks like, so that PyTorch can read the pickle of a module; __setstate__ makes it a table again. Entries
   come last, so that a value may lead back to the table. */
static PyObject *table_reduce(PyObject *self) {
    PyObject *items = PyObject_CallMethod(self, "items", NULL), *walk = items ? PyObject_GetIter(items) : NULL;
    Py_XDECREF(items);
    return walk ? Py_BuildValue("(O()OON)", &PyDict_Type, Py_None, Py_None, walk) : NULL;
}

const py_mapping py_table_mapping = {
    .count = table_count,
    .find = table_find,
    .key = table_key,
    .value = table_value,
    .put = table_put,
    .remove = table_remove,
    .clear = table_clear,
    .reduce = table_reduce,
};

PyObject *py_table_from(PyObject *from) {
    if (Py_TYPE(from) == hg_py->table_type) return Py_NewRef(from);
    PyObject *made = hg_py->table_type->tp_alloc(hg_py->table_type, 0);
    if (made && py_mapping_update(made, from)) Py_CLEAR(made);
    return made;
}

static int table_traverse(PyObject *self, visitproc visit, void *arg) {
    return py_core_traverse(HG_KIND_TABLE, self, visit, arg);
}

static int table_tp_clear(PyObject *self) {
    py_core_clear(HG_KIND_TABLE, self);
    return 0;
}

static void table_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    if (((py_table *)self)->weakrefs) PyObject_ClearWeakRefs(self);
    py_core_dealloc(HG_KIND_TABLE, self);
}

static PyMemberDef table_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(py_table, weakrefs), READONLY, NULL},
                                      {NULL, 0, 0, 0, NULL}};

static PyType_Slot table_slots[] = {
    {Py_tp_new, py_mapping_new},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_traverse, table_traverse},
    {Py_tp_clear, table_tp_clear},
    {Py_tp_members, table_members},
    {Py_tp_doc, "A module's parameters, buffers or children by name, live."},
    PY_MAPPING_SLOTS,
    {0, NULL},
};

static PyType_Spec table_spec = {"builtins.dict", sizeof(py_table), 0, PY_MAPPING_FLAGS, table_slots};

int py_table_init(PyObject *m) { return py_mapping_add(m, "Table", &hg_py->table_type, &table_spec); }
