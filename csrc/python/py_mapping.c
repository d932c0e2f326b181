/* Everything dict-like of the live mappings: see Note [Live mappings] in py_mapping.h. */
#include "py_mapping.h"

const py_mapping *py_mapping_of(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o); /* none of them can be subclassed */
    if (type == hg_py->hooks_type) return &py_hooks_mapping;
    if (type == hg_py->hooks_view_type) return &py_hooks_view_mapping;
    if (type == hg_py->table_type) return &py_table_mapping;
    return NULL;
}

typedef enum what { KEYS, VALUES, ITEMS } what;

/* The entry at a place, as an iterator of that sort gives it: new. */
static PyObject *entry(PyObject *self, const py_mapping *my, Py_ssize_t at, what w) {
    if (w == KEYS) return my->key(self, at);
    if (w == VALUES) return my->value(self, at);
    PyObject *key = my->key(self, at), *value = key ? my->value(self, at) : NULL;
    PyObject *pair = value ? PyTuple_Pack(2, key, value) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return pair;
}

static PyObject *entries(PyObject *self, what w) {
    const py_mapping *my = py_mapping_of(self);
    PyObject *list = PyList_New(0);
    for (Py_ssize_t at = 0; list && at < my->count(self); at++) {
        PyObject *e = entry(self, my, at, w);
        if (!e || PyList_Append(list, e)) Py_CLEAR(list);
        Py_XDECREF(e);
    }
    return list;
}

PyObject *py_mapping_plain(PyObject *self) {
    const py_mapping *my = py_mapping_of(self);
    PyObject *plain = my->ordered ? PyODict_New() : PyDict_New();
    for (Py_ssize_t at = 0; plain && at < my->count(self); at++) {
        PyObject *key = my->key(self, at), *value = key ? my->value(self, at) : NULL;
        if (!value || PyObject_SetItem(plain, key, value)) Py_CLEAR(plain);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return plain;
}

int py_mapping_update(PyObject *self, PyObject *other) {
    if (other == self) return 0;
    PyObject *keys = NULL, *given = PyDict_New(), *key, *value;
    if (!given) return -1;
    int failed = 0;
    if (PyDict_Check(other) || py_mapping_of(other) || (keys = PyObject_GetAttrString(other, "keys"))) {
        failed = PyDict_Update(given, other);
    } else {
        PyErr_Clear();
        failed = PyDict_MergeFromSeq2(given, other, 1);
    }
    Py_XDECREF(keys);
    Py_ssize_t pos = 0;
    while (!failed && PyDict_Next(given, &pos, &key, &value)) failed = py_mapping_of(self)->put(self, key, value);
    Py_DECREF(given);
    return failed ? -1 : 0;
}

/* What PyTorch has in its place. */
static PyTypeObject *shown(PyTypeObject *type) { return type == hg_py->table_type ? &PyDict_Type : &PyODict_Type; }

PyObject *py_mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    return PyObject_Call((PyObject *)shown(type), args, kwargs);
}

static PyObject *mapping_fromkeys(PyObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *fn = PyObject_GetAttrString((PyObject *)shown((PyTypeObject *)type), "fromkeys");
    PyObject *made = fn ? PyObject_Call(fn, args, kwargs) : NULL;
    Py_XDECREF(fn);
    return made;
}

int py_mapping_add(PyObject *m, const char *name, PyTypeObject **slot, PyType_Spec *spec) {
    if (!(*slot = (PyTypeObject *)PyType_FromModuleAndSpec(m, spec, NULL))) return -1;
    static const char home[] = "builtins."; /* a spec must name it; a builtin type's own name is bare */
    if (!strncmp((*slot)->tp_name, home, sizeof home - 1)) (*slot)->tp_name += sizeof home - 1;
    PyObject *abc = PyImport_ImportModule("_collections_abc"); /* there since Python started */
    PyObject *base = abc ? PyObject_GetAttrString(abc, "MutableMapping") : NULL;
    PyObject *done = base ? PyObject_CallMethod(base, "register", "O", *slot) : NULL;
    Py_XDECREF(abc);
    Py_XDECREF(base);
    Py_XDECREF(done);
    return done ? PyModule_AddObjectRef(m, name, (PyObject *)*slot) : -1;
}

/* ---- Slots ------------------------------------------------------------------------------------------------------ */

Py_ssize_t py_mapping_len(PyObject *self) { return py_mapping_of(self)->count(self); }

static PyObject *missing(PyObject *key) {
    PyObject *args = PyTuple_Pack(1, key); /* packed, for a key that is a tuple */
    if (args) PyErr_SetObject(PyExc_KeyError, args);
    Py_XDECREF(args);
    return NULL;
}

PyObject *py_mapping_get(PyObject *self, PyObject *key) {
    const py_mapping *my = py_mapping_of(self);
    Py_ssize_t at = my->find(self, key);
    if (at >= 0) return my->value(self, at);
    return at == -1 ? missing(key) : NULL;
}

int py_mapping_set(PyObject *self, PyObject *key, PyObject *value) {
    const py_mapping *my = py_mapping_of(self);
    if (value) return my->put(self, key, value);
    Py_ssize_t at = my->find(self, key);
    if (at >= 0) return my->remove(self, at);
    if (at == -1) missing(key);
    return -1;
}

int py_mapping_contains(PyObject *self, PyObject *key) {
    Py_ssize_t at = py_mapping_of(self)->find(self, key);
    return at == -2 ? -1 : at >= 0;
}

PyObject *py_mapping_repr(PyObject *self) {
    bool ordered = py_mapping_of(self)->ordered;
    int again = Py_ReprEnter(self);
    if (again) return again < 0 ? NULL : PyUnicode_FromString(ordered ? "..." : "{...}");
    PyObject *text = NULL;
    if (ordered && !py_mapping_len(self)) {
        text = PyUnicode_FromString("OrderedDict()");
    } else if (ordered && PY_VERSION_HEX < 0x030C0000) {
        PyObject *items = entries(self, ITEMS);
        text = items ? PyUnicode_FromFormat("OrderedDict(%R)", items) : NULL;
        Py_XDECREF(items);
    } else {
        PyObject *plain = py_mapping_plain(self), *dict = plain ? PyDict_New() : NULL;
        if (dict && !PyDict_Update(dict, plain)) text = PyUnicode_FromFormat(ordered ? "OrderedDict(%R)" : "%R", dict);
        Py_XDECREF(dict);
        Py_XDECREF(plain);
    }
    Py_ReprLeave(self);
    return text;
}

/* As a dict; between two ordered ones the order counts. */
PyObject *py_mapping_compare(PyObject *self, PyObject *other, int op) {
    bool ours = py_mapping_of(other);
    if ((op != Py_EQ && op != Py_NE) || !(ours || PyDict_Check(other))) Py_RETURN_NOTIMPLEMENTED;
    if (self == other) return PyBool_FromLong(op == Py_EQ);
    PyObject *a = py_mapping_plain(self), *b = ours ? py_mapping_plain(other) : Py_NewRef(other);
    PyObject *result = a && b ? PyObject_RichCompare(a, b, op) : NULL;
    Py_XDECREF(a);
    Py_XDECREF(b);
    return result;
}

PyObject *py_mapping_or(PyObject *a, PyObject *b) {
    bool left = py_mapping_of(a), right = py_mapping_of(b);
    if (!(left || PyDict_Check(a)) || !(right || PyDict_Check(b))) Py_RETURN_NOTIMPLEMENTED;
    PyObject *first = left ? py_mapping_plain(a) : Py_NewRef(a), *second = right ? py_mapping_plain(b) : Py_NewRef(b);
    PyObject *made = first && second ? PyNumber_Or(first, second) : NULL;
    Py_XDECREF(first);
    Py_XDECREF(second);
    return made;
}

PyObject *py_mapping_ior(PyObject *self, PyObject *other) {
    return py_mapping_update(self, other) ? NULL : Py_NewRef(self);
}

/* ---- Iterators -------------------------------------------------------------------------------------------------- */

typedef struct walk {
    PyObject_HEAD
    PyObject *over; /* NULL when it has ended */
    Py_ssize_t n, done;
    what gives;
    bool backwards;
} walk;

static PyObject *walk_new(PyObject *over, what gives, bool backwards) {
    walk *w = PyObject_GC_New(walk, hg_py->mapping_iterator_type);
    if (!w) return NULL;
    w->over = Py_NewRef(over);
    w->n = py_mapping_len(over), w->done = 0;
    w->gives = gives, w->backwards = backwards;
    PyObject_GC_Track(w);
    return (PyObject *)w;
}

static PyObject *walk_next(PyObject *self) {
    walk *w = (walk *)self;
    if (!w->over) return NULL;
    const py_mapping *my = py_mapping_of(w->over);
    if (my->ordered && w->done == w->n) { /* an OrderedDict's iterator knows its last when it gives it */
        Py_CLEAR(w->over);
        return NULL;
    }
    if (my->count(w->over) != w->n) {
        PyErr_SetString(PyExc_RuntimeError, my->ordered ? "OrderedDict mutated during iteration"
                                                        : "dictionary changed size during iteration");
        w->n = -1; /* for good, as with dict */
        return NULL;
    }
    if (w->done < w->n) {
        Py_ssize_t at = w->done++;
        return entry(w->over, my, w->backwards ? w->n - 1 - at : at, w->gives);
    }
    Py_CLEAR(w->over);
    return NULL;
}

static PyObject *walk_hint(PyObject *self, PyObject *none) {
    (void)none;
    walk *w = (walk *)self;
    return PyLong_FromSsize_t(w->over && w->n > w->done ? w->n - w->done : 0);
}

static int walk_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((walk *)self)->over);
    return 0;
}

static void walk_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(((walk *)self)->over);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef walk_methods[] = {{"__length_hint__", walk_hint, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};

static PyType_Slot walk_slots[] = {
    {Py_tp_dealloc, walk_dealloc}, {Py_tp_traverse, walk_traverse}, {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, walk_next},   {Py_tp_methods, walk_methods},   {0, NULL},
};

static PyType_Spec walk_spec = {
    "hookgrad._C.MappingIterator", sizeof(walk), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, walk_slots};

PyObject *py_mapping_iter(PyObject *self) { return walk_new(self, KEYS, false); }

/* ---- keys(), values(), items() ---------------------------------------------------------------------------------- */

typedef struct face {
    PyObject_HEAD
    PyObject *over;
    what shows;
} face;

#define FACE(o) ((face *)(o))

static PyObject *face_new(PyObject *over, what shows) {
    face *v = PyObject_GC_New(face, hg_py->mapping_view_type);
    if (!v) return NULL;
    v->over = Py_NewRef(over);
    v->shows = shows;
    PyObject_GC_Track(v);
    return (PyObject *)v;
}

static Py_ssize_t face_len(PyObject *self) { return py_mapping_len(FACE(self)->over); }
static PyObject *face_iter(PyObject *self) { return walk_new(FACE(self)->over, FACE(self)->shows, false); }

static PyObject *face_reversed(PyObject *self, PyObject *none) {
    (void)none;
    return walk_new(FACE(self)->over, FACE(self)->shows, true);
}

static int face_contains(PyObject *self, PyObject *o) {
    if (FACE(self)->shows == KEYS) return py_mapping_contains(FACE(self)->over, o);
    PyObject *list = entries(FACE(self)->over, FACE(self)->shows);
    int found = list ? PySequence_Contains(list, o) : -1;
    Py_XDECREF(list);
    return found;
}

static PyObject *face_repr(PyObject *self) {
    static const char *const names[] = {"keys", "values", "items"};
    int again = Py_ReprEnter(self);
    if (again) return again < 0 ? NULL : PyUnicode_FromString("...");
    PyObject *list = entries(FACE(self)->over, FACE(self)->shows);
    const char *kind = py_mapping_of(FACE(self)->over)->ordered ? "odict" : "dict";
    PyObject *text = list ? PyUnicode_FromFormat("%s_%s(%R)", kind, names[FACE(self)->shows], list) : NULL;
    Py_XDECREF(list);
    Py_ReprLeave(self);
    return text;
}

/* Keys and items are sets to the operators; values are not. */
static PyObject *as_set(PyObject *o) {
    if (Py_TYPE(o) != hg_py->mapping_view_type) return PySet_New(o);
    PyObject *list = entries(FACE(o)->over, FACE(o)->shows), *set = list ? PySet_New(list) : NULL;
    Py_XDECREF(list);
    return set;
}

static bool is_set_face(PyObject *o) { return Py_TYPE(o) == hg_py->mapping_view_type && FACE(o)->shows != VALUES; }

static PyObject *set_operation(PyObject *a, PyObject *b, binaryfunc op) {
    if (!is_set_face(a) && !is_set_face(b)) Py_RETURN_NOTIMPLEMENTED;
    PyObject *x = as_set(a), *y = x ? as_set(b) : NULL, *made = y ? op(x, y) : NULL;
    Py_XDECREF(x);
    Py_XDECREF(y);
    return made;
}

static PyObject *face_and(PyObject *a, PyObject *b) { return set_operation(a, b, PyNumber_And); }
static PyObject *face_or(PyObject *a, PyObject *b) { return set_operation(a, b, PyNumber_Or); }
static PyObject *face_xor(PyObject *a, PyObject *b) { return set_operation(a, b, PyNumber_Xor); }
static PyObject *face_sub(PyObject *a, PyObject *b) { return set_operation(a, b, PyNumber_Subtract); }

static PyObject *face_compare(PyObject *self, PyObject *other, int op) {
    PyObject *abc = NULL, *class = NULL;
    int is_set = PyAnySet_Check(other) || is_set_face(other);
    if (!is_set_face(self)) Py_RETURN_NOTIMPLEMENTED;
    if (!is_set) { /* the keys of a dict */
        if (!(abc = PyImport_ImportModule("_collections_abc")) || !(class = PyObject_GetAttrString(abc, "Set")) ||
            (is_set = PyObject_IsInstance(other, class)) < 0) {
            Py_XDECREF(abc);
            Py_XDECREF(class);
            return NULL;
        }
        Py_DECREF(abc);
        Py_DECREF(class);
    }
    if (!is_set) Py_RETURN_NOTIMPLEMENTED;
    PyObject *x = as_set(self), *y = x ? as_set(other) : NULL, *made = y ? PyObject_RichCompare(x, y, op) : NULL;
    Py_XDECREF(x);
    Py_XDECREF(y);
    return made;
}

static PyObject *face_isdisjoint(PyObject *self, PyObject *other) {
    PyObject *x = as_set(self), *made = x ? PyObject_CallMethod(x, "isdisjoint", "O", other) : NULL;
    Py_XDECREF(x);
    return made;
}

static int face_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(FACE(self)->over);
    return 0;
}

static void face_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(FACE(self)->over);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef face_methods[] = {
    {"__reversed__", face_reversed, METH_NOARGS, NULL},
    {"isdisjoint", face_isdisjoint, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot face_slots[] = {
    {Py_tp_dealloc, face_dealloc},
    {Py_tp_traverse, face_traverse},
    {Py_tp_repr, face_repr},
    {Py_tp_iter, face_iter},
    {Py_mp_length, face_len},
    {Py_sq_contains, face_contains},
    {Py_nb_and, face_and},
    {Py_nb_or, face_or},
    {Py_nb_xor, face_xor},
    {Py_nb_subtract, face_sub},
    {Py_tp_richcompare, face_compare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_methods, face_methods},
    {0, NULL},
};

static PyType_Spec face_spec = {
    "hookgrad._C.MappingView", sizeof(face), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, face_slots};

/* ---- Methods ---------------------------------------------------------------------------------------------------- */

static PyObject *mapping_keys(PyObject *self, PyObject *none) { return (void)none, face_new(self, KEYS); }
static PyObject *mapping_values(PyObject *self, PyObject *none) { return (void)none, face_new(self, VALUES); }
static PyObject *mapping_items(PyObject *self, PyObject *none) { return (void)none, face_new(self, ITEMS); }
static PyObject *mapping_reversed(PyObject *self, PyObject *none) { return (void)none, walk_new(self, KEYS, true); }
static PyObject *mapping_copy(PyObject *self, PyObject *none) { return (void)none, py_mapping_plain(self); }

static PyObject *mapping_reduce(PyObject *self, PyObject *none) {
    return (void)none, py_mapping_of(self)->reduce(self);
}

static PyObject *mapping_clear(PyObject *self, PyObject *none) {
    (void)none;
    py_mapping_of(self)->clear(self);
    Py_RETURN_NONE;
}

/* The value of a key, or the second argument (None). */
static PyObject *mapping_get(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("get", "key,default", 1, args, n, kwnames, at)) return NULL;
    const py_mapping *my = py_mapping_of(self);
    Py_ssize_t place = my->find(self, at[0]);
    if (place == -2) return NULL;
    return place >= 0 ? my->value(self, place) : Py_NewRef(at[1] ? at[1] : Py_None);
}

static PyObject *take(PyObject *self, const py_mapping *my, Py_ssize_t place, what gives) {
    PyObject *taken = entry(self, my, place, gives);
    if (taken && my->remove(self, place)) Py_CLEAR(taken);
    return taken;
}

static PyObject *mapping_pop(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("pop", "key,default", 1, args, n, kwnames, at)) return NULL;
    const py_mapping *my = py_mapping_of(self);
    Py_ssize_t place = my->find(self, at[0]);
    if (place >= 0) return take(self, my, place, VALUES);
    if (place == -2) return NULL;
    return at[1] ? Py_NewRef(at[1]) : missing(at[0]);
}

static PyObject *mapping_popitem(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[1];
    if (py_parse("popitem", "last", 0, args, n, kwnames, at)) return NULL;
    int last = at[0] ? PyObject_IsTrue(at[0]) : 1;
    const py_mapping *my = py_mapping_of(self);
    if (last < 0) return NULL;
    if (!my->count(self)) {
        PyErr_SetString(PyExc_KeyError, my->ordered ? "dictionary is empty" : "popitem(): dictionary is empty");
        return NULL;
    }
    return take(self, my, last ? my->count(self) - 1 : 0, ITEMS);
}

static PyObject *mapping_setdefault(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("setdefault", "key,default", 1, args, n, kwnames, at)) return NULL;
    const py_mapping *my = py_mapping_of(self);
    Py_ssize_t place = my->find(self, at[0]);
    if (place >= 0) return my->value(self, place);
    PyObject *value = at[1] ? at[1] : Py_None;
    return place == -2 || my->put(self, at[0], value) ? NULL : Py_NewRef(value);
}

static PyObject *mapping_move_to_end(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *at[2];
    if (py_parse("move_to_end", "key,last", 1, args, n, kwnames, at)) return NULL;
    const py_mapping *my = py_mapping_of(self);
    if (!my->move) return PyErr_SetString(PyExc_AttributeError, "'dict' object has no attribute 'move_to_end'"), NULL;
    int last = at[1] ? PyObject_IsTrue(at[1]) : 1;
    Py_ssize_t place = last < 0 ? -2 : my->find(self, at[0]);
    if (place < 0) return place == -1 ? missing(at[0]) : NULL;
    my->move(self, place, last);
    Py_RETURN_NONE;
}

static PyObject *mapping_update(PyObject *self, PyObject *args, PyObject *kwargs) {
    PyObject *other = NULL;
    if (!PyArg_UnpackTuple(args, "update", 0, 1, &other)) return NULL;
    if (other && py_mapping_update(self, other)) return NULL;
    if (kwargs && py_mapping_update(self, kwargs)) return NULL;
    Py_RETURN_NONE;
}

PyMethodDef py_mapping_methods[] = {
    {"keys", mapping_keys, METH_NOARGS, NULL},
    {"values", mapping_values, METH_NOARGS, NULL},
    {"items", mapping_items, METH_NOARGS, NULL},
    {"get", FAST(mapping_get), KEYWORDS, NULL},
    {"pop", FAST(mapping_pop), KEYWORDS, NULL},
    {"popitem", FAST(mapping_popitem), KEYWORDS, NULL},
    {"setdefault", FAST(mapping_setdefault), KEYWORDS, NULL},
    {"move_to_end", FAST(mapping_move_to_end), KEYWORDS, NULL},
    {"update", FAST(mapping_update), METH_VARARGS | METH_KEYWORDS, NULL},
    {"clear", mapping_clear, METH_NOARGS, NULL},
    {"copy", mapping_copy, METH_NOARGS, "A dict of the same entries, detached from the table."},
    {"fromkeys", FAST(mapping_fromkeys), METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"__reversed__", mapping_reversed, METH_NOARGS, NULL},
    {"__reduce__", mapping_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* isinstance() asks for __class__, too: in PyTorch these are an OrderedDict or a dict. */
static PyObject *mapping_class(PyObject *self, void *unused) {
    (void)unused;
    return Py_NewRef((PyObject *)shown(Py_TYPE(self)));
}

PyGetSetDef py_mapping_attributes[] = {{"__class__", mapping_class, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

int py_mapping_init(PyObject *m) {
    return py_type_add(m, &hg_py->mapping_iterator_type, &walk_spec, NULL) ||
                   py_type_add(m, &hg_py->mapping_view_type, &face_spec, NULL)
               ? -1
               : 0;
}
