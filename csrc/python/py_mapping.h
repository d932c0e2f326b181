/* What the live mappings over the core's tables have in common: hooks, flags of hooks, parameters, buffers,
   submodules. */
#ifndef HG_PY_MAPPING_H
#define HG_PY_MAPPING_H

#include "binding.h"

/* Note [Live mappings]
   `module._forward_hooks` and its kin are no copies: the Python object is the core's table itself, so that what
   PyTorch code does to them (clear, del, move_to_end ...) happens in the core at once. A mapping says how to reach
   its entries by place; everything dict-like follows from that, in py_mapping.c. Places hold until the table
   changes, and any call to Python may change it: a place is used at once or looked up again. */
typedef struct py_mapping {
    Py_ssize_t (*count)(PyObject *self);
    Py_ssize_t (*find)(PyObject *self, PyObject *key); /* the place; -1: not there, -2: failed */
    PyObject *(*key)(PyObject *self, Py_ssize_t at);   /* new */
    PyObject *(*value)(PyObject *self, Py_ssize_t at); /* new */
    int (*put)(PyObject *self, PyObject *key, PyObject *value);
    int (*remove)(PyObject *self, Py_ssize_t at);
    void (*move)(PyObject *self, Py_ssize_t at, bool last); /* to one of the ends; NULL: cannot */
    void (*clear)(PyObject *self);
    PyObject *(*reduce)(PyObject *self); /* for copy and pickle: new */
    bool ordered;                        /* looks like an OrderedDict, else like a dict */
} py_mapping;

extern const py_mapping py_hooks_mapping, py_hooks_view_mapping, py_table_mapping;

/* One of ours? NULL for every other object, dicts included. */
const py_mapping *py_mapping_of(PyObject *o);
/* A dict or an OrderedDict with the same entries: new. */
PyObject *py_mapping_plain(PyObject *self);
/* Put every entry of `other` (a mapping, or pairs) into self. */
int py_mapping_update(PyObject *self, PyObject *other);
/* Make the type, an attribute of m under a name of its own: it shows itself as the OrderedDict or the dict that PyTorch
   has there. collections.abc is told that it is a MutableMapping. */
int py_mapping_add(PyObject *m, const char *name, PyTypeObject **slot, PyType_Spec *spec);
/* tp_new: `type(module._forward_hooks)(...)` makes what it makes in PyTorch. */
PyObject *py_mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* The slots of a mapping's type. */
Py_ssize_t py_mapping_len(PyObject *self);
PyObject *py_mapping_get(PyObject *self, PyObject *key);
int py_mapping_set(PyObject *self, PyObject *key, PyObject *value);
int py_mapping_contains(PyObject *self, PyObject *key);
PyObject *py_mapping_iter(PyObject *self);
PyObject *py_mapping_repr(PyObject *self);
PyObject *py_mapping_compare(PyObject *self, PyObject *other, int op);
PyObject *py_mapping_or(PyObject *a, PyObject *b);
PyObject *py_mapping_ior(PyObject *self, PyObject *other);
extern PyMethodDef py_mapping_methods[];
extern PyGetSetDef py_mapping_attributes[];

#define PY_MAPPING_SLOTS                                                                                               \
    {Py_mp_length, py_mapping_len}, {Py_mp_subscript, py_mapping_get}, {Py_mp_ass_subscript, py_mapping_set},          \
        {Py_sq_contains, py_mapping_contains}, {Py_tp_iter, py_mapping_iter}, {Py_tp_repr, py_mapping_repr},           \
        {Py_tp_richcompare, py_mapping_compare}, {Py_nb_or, py_mapping_or}, {Py_nb_inplace_or, py_mapping_ior},        \
        {Py_tp_hash, PyObject_HashNotImplemented}, {Py_tp_getset, py_mapping_attributes}, {                            \
        Py_tp_methods, py_mapping_methods                                                                              \
    }

/* The flags of such a type: a `case {...}:` takes it for a mapping. */
#ifdef Py_TPFLAGS_MAPPING
#define PY_MAPPING_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MAPPING)
#else
#define PY_MAPPING_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE)
#endif

int py_mapping_init(PyObject *m); /* the types of iterators and of keys(), values(), items() */

#endif
