/* Walking a tree of modules: what named_modules(), parameters() and their kin go through, and train().

   Note [Walks of modules]
   A walk is lazy, as PyTorch's generators are: what the loop's body does to the tree ahead is seen. It keeps a stack of the
   modules whose children it is going through. A class may have a named_modules() of its own: where one is met, the walk asks
   it for the modules below, with the memo that the two then share. */
#include "py_module.h"

/* ---- What has been seen ----------------------------------------------------------------------------------------- */

/* A set of objects by identity, which it owns: no address in it can be used again. Begins as zeros. */
enum { FEW = 16 };
typedef struct seen {
    uint32_t n, cap;
    PyObject **at, *few[FEW];
} seen;

static PyObject **seen_place(const seen *s, PyObject *o) {
    uint64_t h = (uint64_t)(uintptr_t)o * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t mask = s->cap - 1, i = (uint32_t)(h >> 32) & mask;
    while (s->at[i] && s->at[i] != o) i = (i + 1) & mask;
    return &s->at[i];
}

static int seen_grow(seen *s) {
    if (!s->cap) return s->at = s->few, s->cap = FEW, 0;
    seen bigger = {.n = s->n, .cap = 4 * s->cap};
    if (!(bigger.at = PyMem_Calloc(bigger.cap, sizeof *bigger.at))) return PyErr_NoMemory(), -1;
    for (uint32_t i = 0; i < s->cap; i++)
        if (s->at[i]) *seen_place(&bigger, s->at[i]) = s->at[i];
    if (s->at != s->few) PyMem_Free(s->at);
    *s = bigger;
    return 0;
}

/* Was it there before? It is now. -1 failed. */
static int seen_add(seen *s, PyObject *o) {
    if (2 * s->n >= s->cap && seen_grow(s)) return -1;
    PyObject **place = seen_place(s, o);
    if (*place) return 1;
    *place = Py_NewRef(o);
    s->n++;
    return 0;
}

/* For good: nothing is added any more. */
static void seen_clear(seen *s) {
    for (uint32_t i = 0; i < s->cap; i++) Py_CLEAR(s->at[i]);
    if (s->at != s->few) PyMem_Free(s->at);
    s->at = NULL, s->cap = 0;
}

/* ---- The walk --------------------------------------------------------------------------------------------------- */

typedef struct step {
    PyObject *module;  /* owned; NULL where `outside` gives the modules */
    PyObject *outside; /* owned: the iterator that a class's own named_modules() returned */
    PyObject *path;    /* owned; where no names are wanted the last part of it, see path_below() */
    enum { NEW, GIVEN, IN_CHILDREN } state;
    uint32_t at, n; /* the next child; how many there were */
} step;

typedef struct walk {
    PyObject_HEAD
    step *steps;
    int depth, cap;
    seen modules, members;
    PyObject *memo; /* what `modules` is for others: a set; NULL until one is given or needed */
    bool named, unique, running;
    int members_of;             /* HG_PARAMS or HG_BUFFERS; -1: the modules themselves are wanted */
    PyObject *module, *path;    /* owned: whose members are being given; module NULL: the next one's */
    uint32_t member, n_members; /* the next one; how many there were */
} walk;

PyObject *py_path(PyObject *a, char between, PyObject *b, char after) {
    if (!PyUnicode_IS_COMPACT_ASCII(a) || !PyUnicode_IS_COMPACT_ASCII(b)) {
        char middle[2] = {between, 0}, end[2] = {after, 0};
        return PyUnicode_FromFormat("%U%s%U%s", a, middle, b, end);
    }
    Py_ssize_t n = PyUnicode_GET_LENGTH(a), m = PyUnicode_GET_LENGTH(b);
    PyObject *made = PyUnicode_New(n + (between != 0) + m + (after != 0), 127);
    if (!made) return NULL;
    Py_UCS1 *chars = PyUnicode_1BYTE_DATA(made);
    memcpy(chars, PyUnicode_1BYTE_DATA(a), (size_t)n);
    chars += n;
    if (between) *chars++ = (Py_UCS1)between;
    memcpy(chars, PyUnicode_1BYTE_DATA(b), (size_t)m);
    if (after) chars[m] = (Py_UCS1)after;
    return made;
}

/* "path.name", or the name alone: new. */
static PyObject *join(PyObject *path, PyObject *name) {
    return PyUnicode_GET_LENGTH(path) ? py_path(path, '.', name, 0) : Py_NewRef(name);
}

static int changed(void) {
    PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
    return -1;
}

/* A class may have an __eq__ of its own, or want to be told the memo: then a set of Python's takes over. */
static PyObject *shared_memo(walk *w) {
    if (!w->memo && (w->memo = PySet_New(NULL)))
        for (uint32_t i = 0; i < w->modules.cap; i++)
            if (w->modules.at[i] && PySet_Add(w->memo, w->modules.at[i])) Py_CLEAR(w->memo);
    return w->memo;
}

/* Has the module been given already? It counts as given from here on. -1 failed. */
static int module_seen(walk *w, PyObject *module) {
    if (!w->memo && Py_TYPE(module)->tp_hash == PyBaseObject_Type.tp_hash)
        return w->unique ? seen_add(&w->modules, module) : 0;
    if (!shared_memo(w)) return -1;
    int there = PySet_Contains(w->memo, module);
    return there || !w->unique ? there : PySet_Add(w->memo, module);
}

static void pop(walk *w) {
    step s = w->steps[--w->depth];
    Py_XDECREF(s.outside);
    Py_XDECREF(s.path);
    Py_XDECREF(s.module);
}

/* Has the module no named_modules() of its own? */
static bool is_alike(PyObject *module) {
    return py_is_module(module) && py_module_inherits(module, NAME(named_modules));
}

/* What the module's own named_modules() gives, as PyTorch asks for it: an iterator, new. */
static PyObject *outside_of(walk *w, PyObject *module, PyObject *path) {
    PyObject *memo = shared_memo(w), *unique = w->unique ? Py_True : Py_False, *given, *iterator;
    if (!memo) return NULL;
    given = PyObject_CallMethodObjArgs(module, NAME(named_modules), memo, path, unique, NULL);
    iterator = given ? PyObject_GetIter(given) : NULL;
    Py_XDECREF(given);
    return iterator;
}

/* The path of the module called `name` below the innermost step: new. Where no names are given to the loop a path is put
   together only for a named_modules() that is asked. */
static PyObject *path_below(walk *w, PyObject *name) {
    int i = w->named ? w->depth - 1 : 0;
    PyObject *path = Py_NewRef(w->steps[i].path);
    for (; path && i < w->depth; i++) {
        PyObject *longer = join(path, i + 1 < w->depth ? w->steps[i + 1].path : name);
        Py_DECREF(path);
        path = longer;
    }
    return path;
}

/* Go on at the root, `path` being the prefix, or where `below` at a child of that name, or at what a named_modules() of its
   class's own gives. */
static int push(walk *w, PyObject *module, PyObject *path, bool below) {
    if (w->depth == w->cap) {
        if (w->depth > Py_GetRecursionLimit()) {
            PyErr_SetString(PyExc_RecursionError, "maximum recursion depth exceeded");
            return -1;
        }
        int cap = w->cap ? 2 * w->cap : 4;
        step *steps = PyMem_Realloc(w->steps, (size_t)cap * sizeof *steps);
        if (!steps) return PyErr_NoMemory(), -1;
        w->steps = steps, w->cap = cap;
    }
    step s = {.module = below && !is_alike(module) ? NULL : Py_NewRef(module)};
    if (!below || (s.module && !w->named))
        s.path = Py_NewRef(path);
    else if (!(s.path = path_below(w, path)) || (!s.module && !(s.outside = outside_of(w, module, s.path)))) {
        Py_XDECREF(s.path);
        Py_XDECREF(s.module);
        return -1;
    }
    w->steps[w->depth++] = s;
    return 0;
}

/* The next pair of an iterator from outside: 1, both new; 0: the end; -1 failed. */
static int next_outside(PyObject *outside, PyObject **path, PyObject **module) {
    PyObject *item = PyIter_Next(outside), *pair = item ? PySequence_Tuple(item) : NULL;
    Py_XDECREF(item);
    if (!pair) return PyErr_Occurred() ? -1 : 0;
    int whole = PyTuple_GET_SIZE(pair) == 2;
    if (whole) {
        *path = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        *module = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
    } else {
        PyErr_Format(PyExc_ValueError, "named_modules() gives pairs, not %zd values", PyTuple_GET_SIZE(pair));
    }
    Py_DECREF(pair);
    return whole ? 1 : -1;
}

/* 1: the step has a child to go on at; 0: it has none left; -1 failed. */
static int next_child(walk *w) {
    step *s = &w->steps[w->depth - 1];
    if (!module_has(s->module, ATTR__modules)) return py_no_attribute(s->module, NAME(_modules)), -1;
    const hg_table *t = MODULE(s->module)->modules;
    uint32_t n = t ? t->n : 0;
    if (s->state == GIVEN) s->state = IN_CHILDREN, s->n = n;
    if (n != s->n) return changed();
    while (s->at < n) {
        const hg_slot *slot = &t->at[s->at++];
        if (slot->value.kind == HG_V_NONE) continue;
        PyObject *child = Py_NewRef(py_value_object(slot->value)), *name = Py_NewRef(slot->name);
        int failed = push(w, child, name, true);
        Py_DECREF(child);
        Py_DECREF(name);
        return failed ? -1 : 1;
    }
    return 0;
}

/* The next module and its path: 1, both new; 0: the end; -1 failed. */
static int next_module(walk *w, PyObject **path, PyObject **module) {
    while (w->depth) {
        step *s = &w->steps[w->depth - 1];
        int found;
        if (s->outside) {
            if ((found = next_outside(s->outside, path, module))) return found;
        } else if (s->state != NEW) {
            if ((found = next_child(w)) < 0) return -1;
        } else {
            int seen = module_seen(w, s->module);
            if (seen < 0) return -1;
            s->state = GIVEN;
            if (!seen) {
                *path = Py_NewRef(s->path), *module = Py_NewRef(s->module);
                return 1;
            }
            found = 0;
        }
        if (!found) pop(w);
    }
    return 0;
}

static PyObject *pair(PyObject *a, PyObject *b) { /* steals both */
    PyObject *made = PyTuple_New(2);
    if (!made) {
        Py_DECREF(a);
        Py_DECREF(b);
        return NULL;
    }
    PyTuple_SET_ITEM(made, 0, a);
    PyTuple_SET_ITEM(made, 1, b);
    return made;
}

/* The current module's table of what is wanted: NULL where it has none yet. */
static inline int members(const walk *w, hg_table **t) {
    bool params = w->members_of == HG_PARAMS;
    if (!module_has(w->module, params ? ATTR__parameters : ATTR__buffers))
        return py_no_attribute(w->module, params ? NAME(_parameters) : NAME(_buffers)), -1;
    *t = params ? MODULE(w->module)->params : MODULE(w->module)->buffers;
    return 0;
}

/* Go on at the members of the current module: what a class's own named_modules() gave may be none. */
static int enter(walk *w) {
    hg_table *t;
    if (!py_is_module(w->module))
        return py_no_attribute(w->module, w->members_of == HG_PARAMS ? NAME(_parameters) : NAME(_buffers)), -1;
    if (members(w, &t)) return -1;
    w->member = 0, w->n_members = t ? t->n : 0;
    return 0;
}

/* The next of the current module's members that is there, and new: NULL at the end, or failed. */
static PyObject *next_member(walk *w) {
    hg_table *t;
    if (members(w, &t)) return NULL;
    if ((t ? t->n : 0) != w->n_members) return changed(), NULL;
    while (w->member < w->n_members) {
        const hg_slot *slot = &t->at[w->member++];
        if (slot->value.kind == HG_V_NONE) continue;
        PyObject *value = py_value_object(slot->value);
        int there = w->unique ? seen_add(&w->members, value) : 0;
        if (there < 0) return NULL;
        if (there) continue;
        if (!w->named) return Py_NewRef(value);
        Py_INCREF(value);
        PyObject *path = join(w->path, slot->name);
        if (path) return pair(path, value);
        Py_DECREF(value);
        return NULL;
    }
    return NULL;
}

static PyObject *next(walk *w) {
    for (;;) {
        if (w->module) {
            PyObject *found = next_member(w);
            if (found || PyErr_Occurred()) return found;
            Py_CLEAR(w->module);
            Py_CLEAR(w->path);
        }
        PyObject *path, *module;
        if (next_module(w, &path, &module) <= 0) return NULL;
        if (w->members_of < 0) {
            if (w->named) return pair(path, module);
            Py_DECREF(path);
            return module;
        }
        w->module = module, w->path = path;
        if (enter(w)) return NULL;
    }
}

/* What is asked along the way may come back here. */
static PyObject *walk_next(PyObject *self) {
    walk *w = (walk *)self;
    if (w->running) return PyErr_SetString(PyExc_ValueError, "generator already executing"), NULL;
    w->running = true;
    PyObject *found = next(w);
    w->running = false;
    return found;
}

static int walk_traverse(PyObject *self, visitproc visit, void *arg) {
    walk *w = (walk *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(w->memo);
    Py_VISIT(w->module);
    Py_VISIT(w->path);
    for (int i = 0; i < w->depth; i++) {
        Py_VISIT(w->steps[i].module);
        Py_VISIT(w->steps[i].outside);
        Py_VISIT(w->steps[i].path);
    }
    for (uint32_t i = 0; i < w->modules.cap; i++) Py_VISIT(w->modules.at[i]);
    for (uint32_t i = 0; i < w->members.cap; i++) Py_VISIT(w->members.at[i]);
    return 0;
}

static int walk_clear(PyObject *self) {
    walk *w = (walk *)self;
    while (w->depth) pop(w);
    Py_CLEAR(w->memo);
    Py_CLEAR(w->module);
    Py_CLEAR(w->path);
    seen_clear(&w->modules);
    seen_clear(&w->members);
    return 0;
}

static void walk_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    walk_clear(self);
    PyMem_Free(((walk *)self)->steps);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- As a generator ----------------------------------------------------------------------------------------------- */

static int end(PyObject *self) {
    if (((walk *)self)->running) return PyErr_SetString(PyExc_ValueError, "generator already executing"), -1;
    return walk_clear(self);
}

static PyObject *walk_close(PyObject *self, PyObject *Py_UNUSED(none)) {
    if (end(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *walk_send(PyObject *self, PyObject *Py_UNUSED(value)) {
    PyObject *found = walk_next(self);
    if (!found && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
    return found;
}

static PyObject *walk_throw(PyObject *self, PyObject *args) {
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO:throw", &type, &value, &traceback) || end(self)) return NULL;
    if (PyExceptionInstance_Check(type))
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    else
        PyErr_SetObject(type, value);
    return NULL;
}

static PyObject *walk_repr(PyObject *self) {
    static const char *const kinds[] = {"modules", "parameters", "buffers"};
    const walk *w = (walk *)self;
    return PyUnicode_FromFormat("<generator object Module.%s%s at %p>", w->named ? "named_" : "",
                                kinds[w->members_of < 0 ? 0 : 1 + (w->members_of == HG_BUFFERS)], self);
}

static PyMethodDef walk_methods[] = {{"close", walk_close, METH_NOARGS, NULL},
                                     {"send", walk_send, METH_O, NULL},
                                     {"throw", walk_throw, METH_VARARGS, NULL},
                                     {NULL, NULL, 0, NULL}};

/* isinstance() and inspect.isgenerator() ask for __class__, too: in PyTorch these are generators. */
static PyObject *walk_class(PyObject *Py_UNUSED(self), void *Py_UNUSED(unused)) {
    return Py_NewRef((PyObject *)&PyGen_Type);
}

static PyGetSetDef walk_attributes[] = {{"__class__", walk_class, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot walk_slots[] = {
    {Py_tp_dealloc, walk_dealloc},
    {Py_tp_traverse, walk_traverse},
    {Py_tp_clear, walk_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, walk_next},
    {Py_tp_getset, walk_attributes},
    {Py_tp_methods, walk_methods},
    {Py_tp_repr, walk_repr},
    {Py_tp_doc, "An iterator over the modules of a tree, or over what they have."},
    {0, NULL},
};

static PyType_Spec walk_spec = {
    "builtins.generator", sizeof(walk), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, walk_slots};

/* ---- What the package calls ------------------------------------------------------------------------------------- */

static walk *walk_new(PyObject *root, PyObject *prefix, int members_of, bool named, bool unique) {
    if (!py_is_module(root) || !PyUnicode_Check(prefix)) {
        PyErr_Format(PyExc_TypeError, "expected a module and a str, not %.100s and %.100s", Py_TYPE(root)->tp_name,
                     Py_TYPE(prefix)->tp_name);
        return NULL;
    }
    walk *w = (walk *)hg_py->walk_type->tp_alloc(hg_py->walk_type, 0);
    if (!w) return NULL;
    w->members_of = members_of, w->named = named, w->unique = unique;
    return w;
}

static PyObject *started(walk *w, int failed) {
    if (failed) Py_CLEAR(w);
    return (PyObject *)w;
}

/* The package looks whether the root has a named_modules() of its own; the walk asks what is below. */
static PyObject *walk_modules(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *root, *memo, *prefix;
    int unique, named;
    if (!PyArg_ParseTuple(args, "OOOpp:_walk_modules", &root, &memo, &prefix, &unique, &named)) return NULL;
    if (memo != Py_None && !PySet_Check(memo))
        return PyErr_Format(PyExc_TypeError, "memo must be a set, not %.100s", Py_TYPE(memo)->tp_name);
    walk *w = walk_new(root, prefix, -1, named, unique);
    if (!w) return NULL;
    if (memo != Py_None) w->memo = Py_NewRef(memo);
    return started(w, push(w, root, prefix, false));
}

static PyObject *walk_members(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *root, *prefix;
    int buffers, recurse, unique, named;
    if (!PyArg_ParseTuple(args, "OpOppp:_walk_members", &root, &buffers, &prefix, &recurse, &unique, &named))
        return NULL;
    walk *w = walk_new(root, prefix, buffers ? HG_BUFFERS : HG_PARAMS, named, unique);
    if (!w) return NULL;
    if (recurse) return started(w, push(w, root, prefix, false));
    w->module = Py_NewRef(root), w->path = Py_NewRef(prefix);
    return started(w, enter(w));
}

/* ---- train() ---------------------------------------------------------------------------------------------------- */

static int set_training(PyObject *module, PyObject *mode);

static int train_child(PyObject *child, PyObject *mode) {
    if (py_is_module(child) && (py_module_trains_alike(child) || py_module_inherits(child, NAME(train)))) {
        if (Py_EnterRecursiveCall(" in train()")) return -1;
        int failed = set_training(child, mode);
        Py_LeaveRecursiveCall();
        return failed;
    }
    PyObject *done = PyObject_CallMethodOneArg(child, NAME(train), mode);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* A child that is there twice gets it once. */
static int train_children(PyObject *module, PyObject *mode) {
    const hg_table *t = MODULE(module)->modules;
    uint32_t n = t ? t->n : 0;
    seen done = {0};
    int failed = 0;
    for (uint32_t i = 0; i < n && !failed; i++) {
        if (t != MODULE(module)->modules || t->n != n) {
            failed = changed();
            break;
        }
        PyObject *child = Py_NewRef(py_value_object(t->at[i].value));
        int there = child == Py_None || n == 1 ? child == Py_None : seen_add(&done, child);
        failed = there < 0 || (!there && train_child(child, mode)) ? -1 : 0;
        Py_DECREF(child);
    }
    seen_clear(&done);
    return failed;
}

/* The children as a class's own children() gives them. */
static int train_given_children(PyObject *module, PyObject *mode) {
    PyObject *given = PyObject_CallMethodNoArgs(module, NAME(children)), *child;
    PyObject *children = given ? PyObject_GetIter(given) : NULL;
    Py_XDECREF(given);
    if (!children) return -1;
    while ((child = PyIter_Next(children))) {
        int failed = train_child(child, mode);
        Py_DECREF(child);
        if (failed) break;
    }
    Py_DECREF(children);
    return PyErr_Occurred() ? -1 : 0;
}

static int set_training(PyObject *module, PyObject *mode) {
    if (py_module_trains_alike(module)) {
        MODULE(module)->training = mode == Py_True;
        return MODULE(module)->modules ? train_children(module, mode) : 0;
    }
    if (!py_module_set_mode(module, mode) && PyObject_SetAttr(module, NAME(training), mode)) return -1;
    if (!module_has(module, ATTR__modules)) return py_no_attribute(module, NAME(_modules)), -1;
    if (py_module_inherits(module, NAME(children)) && py_module_inherits(module, NAME(named_children)))
        return train_children(module, mode);
    return train_given_children(module, mode);
}

static PyObject *train(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n) {
    if (n != 2 || !py_is_module(args[0]) || !PyBool_Check(args[1]))
        return PyErr_SetString(PyExc_TypeError, "_train() takes a module and a bool"), NULL;
    if (set_training(args[0], args[1])) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_train", FAST(train), METH_FASTCALL, "(module, mode): what Module.train() does"},
    {"_walk_modules", walk_modules, METH_VARARGS,
     "(module, memo, prefix, unique, named): over the modules of its tree"},
    {"_walk_members", walk_members, METH_VARARGS,
     "(module, buffers, prefix, recurse, unique, named): over the parameters, or buffers, of its tree"},
    {NULL, NULL, 0, NULL},
};

int py_module_walk_init(PyObject *m) {
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(m, &walk_spec, NULL);
    if (!(hg_py->walk_type = type)) return -1;
    type->tp_name += sizeof "builtins." - 1; /* as in py_mapping_add() */
    return PyModule_AddObjectRef(m, "Walk", (PyObject *)type) || PyModule_AddFunctions(m, functions) ? -1 : 0;
}
