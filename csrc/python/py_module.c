/* Module, the base of nn.Module: looking attributes up, and being called. */
#include "py_module.h"

#include "py_hooks.h"

PyObject *py_no_attribute(PyObject *self, PyObject *name) {
    const char *class = Py_TYPE(self)->tp_name, *dot = strrchr(class, '.');
    return PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '%U'", dot ? dot + 1 : class, name);
}

/* ---- What a dictionary has ------------------------------------------------------------------------------------------ */

/* Note [Versions of dictionaries]
   Before 3.12, Python gives a dictionary another version whenever it changes, and uses no version twice. So what was found
   under a name, or not, holds while the version is the same: a look-up in a module's own attributes is mostly a comparison. */
#if PY_VERSION_HEX < 0x030C0000
#define HAS_VERSIONS  1
#define VERSION(dict) (((PyDictObject *)(dict))->ma_version_tag)
#else
#define HAS_VERSIONS  0
#define VERSION(dict) ((uint64_t)0)
#endif

static struct found {
    uint64_t version;
    PyObject *name;  /* owned: no other name can have its address */
    PyObject *value; /* borrowed from the dictionary while it has that version; NULL: nothing is there */
} finds[256];

PyObject *py_own_attribute(PyObject *dict, PyObject *name) {
    if (!HAS_VERSIONS || !PyUnicode_CheckExact(name)) return PyDict_GetItemWithError(dict, name);
    uint64_t version = VERSION(dict);
    struct found *f = &finds[(version ^ (uintptr_t)name >> 4) % (sizeof finds / sizeof *finds)];
    if (f->version == version && f->name == name) return f->value;
    PyObject *value = PyDict_GetItemWithError(dict, name);
    if ((!value && PyErr_Occurred()) || VERSION(dict) != version) return value;
    f->version = version, f->value = value;
    if (f->name != name) Py_XSETREF(f->name, Py_NewRef(name));
    return value;
}

/* Note [What an instance hides]
   An attribute in a module's own dictionary hides a method of Module, or a parameter or buffer, of that name. All of them are
   gone through once for a version of the dictionary, and that when it is met again: it may change at every call. */
enum { HIDES_UNKNOWN, HIDES_NOTHING, HIDES_SOME };

static inline bool hides_nothing(py_module *m) {
    return !m->dict || (HAS_VERSIONS && m->hides == HIDES_NOTHING && m->dict_version == VERSION(m->dict));
}

static bool find_hiding(py_module *m, hg_module *in_core) {
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    while (PyDict_Next(m->dict, &pos, &key, &value))
        if (!PyUnicode_CheckExact(key) || PyDict_Contains(hg_py->module_methods, key) ||
            py_table_get(in_core->params, key) || py_table_get(in_core->buffers, key))
            return true;
    return false;
}

/* The method of that name, where hides_nothing() does not know. */
static bool hides_method(PyObject *self, PyObject *name) {
    py_module *m = SELF(self);
    if (HAS_VERSIONS && hg_py->module_methods && m->dict_version != VERSION(m->dict)) {
        m->dict_version = VERSION(m->dict), m->hides = HIDES_UNKNOWN;
    } else if (HAS_VERSIONS && hg_py->module_methods && m->hides == HIDES_UNKNOWN) {
        m->hides = find_hiding(m, MODULE(self)) ? HIDES_SOME : HIDES_NOTHING;
        if (m->hides == HIDES_NOTHING) return false;
    }
    return PyDict_GetItemWithError(m->dict, name) != NULL;
}

/* ---- Attributes ------------------------------------------------------------------------------------------------- */

/* What is registered under the name: borrowed; NULL without an exception. */
static PyObject *registered(PyObject *self, PyObject *name) {
    hg_module *m = MODULE(self);
    PyObject *found = py_table_get(m->params, name);
    if (!found) found = py_table_get(m->buffers, name);
    if (!found) found = py_table_get(m->modules, name);
    return found;
}

/* The last place to look. As for any class with a __getattr__, a property that raised AttributeError comes here too, and it is
   its own name that is then missing. */
static PyObject *registered_or_missing(PyObject *self, PyObject *name) {
    PyObject *found = registered(self, name);
    return found ? Py_NewRef(found) : py_no_attribute(self, name);
}

static PyObject *module_getattro(PyObject *self, PyObject *name);

/* The same, unless the class has a __getattr__ or __getattribute__ of its own: then Python calls __getattr__ next, with
   which the tables are looked into for the first time. */
static PyObject *last_look(PyObject *self, PyObject *name) {
    bool ours = Py_TYPE(self)->tp_getattro == module_getattro;
    return ours ? registered_or_missing(self, name) : py_no_attribute(self, name);
}

static PyObject *descriptor_value(PyObject *descr, descrgetfunc get, PyObject *self, PyObject *name) {
    PyObject *found = get(descr, self, (PyObject *)Py_TYPE(self));
    Py_DECREF(descr);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError)) return found;
    PyErr_Clear();
    return last_look(self, name);
}

/* As every Python object does, and then the tables. The type's cache answers for most names. */
static PyObject *module_getattro(PyObject *self, PyObject *name) {
    PyObject *descr = _PyType_Lookup(Py_TYPE(self), name), *dict = SELF(self)->dict, *found = NULL;
    descrgetfunc get = NULL;
    if (descr) {
        if (descr == hg_py->training && module_has(self, ATTR_training)) return Py_NewRef(py_module_mode(self));
        Py_INCREF(descr);
        get = Py_TYPE(descr)->tp_descr_get;
        if (get && Py_TYPE(descr)->tp_descr_set) return descriptor_value(descr, get, self, name);
    }
    if (dict) {
        Py_INCREF(dict);
        found = Py_XNewRef(py_own_attribute(dict, name));
        Py_DECREF(dict);
        if (found || PyErr_Occurred()) {
            Py_XDECREF(descr);
            return found;
        }
    }
    if (descr) return get ? descriptor_value(descr, get, self, name) : descr;
    return last_look(self, name);
}

/* Has the class no __getattr__ or __getattribute__ of its own? It goes by Python's slot also where one was put into nn.Module
   and taken back. */
static bool attributes_alike(PyTypeObject *type) {
    PyTypeObject *base = hg_py->module_type;
    return _PyType_Lookup(type, NAME(__getattr__)) == _PyType_Lookup(base, NAME(__getattr__)) &&
           _PyType_Lookup(type, NAME(__getattribute__)) == _PyType_Lookup(base, NAME(__getattribute__));
}

bool py_module_looks_up_alike(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (type->tp_getattro != module_getattro && !attributes_alike(type)) return false;
    if (hides_nothing(SELF(self))) return true;
    hg_table *tables[] = {MODULE(self)->params, MODULE(self)->buffers};
    for (int i = 0; i < 2; i++)
        for (uint32_t k = 0; tables[i] && k < tables[i]->n; k++)
            if (PyDict_GetItemWithError(SELF(self)->dict, tables[i]->at[k].name)) return false;
    return true;
}

int py_module_has_attribute(PyObject *self, PyObject *name) {
    PyTypeObject *type = Py_TYPE(self);
    if (type->tp_getattro == module_getattro && !_PyType_Lookup(type, name)) {
        PyObject *dict = SELF(self)->dict;
        int there = dict ? PyDict_Contains(dict, name) : 0;
        return there ? there : registered(self, name) != NULL;
    }
    PyObject *found = PyObject_GetAttr(self, name);
    if (!found && !PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    PyErr_Clear();
    Py_XDECREF(found);
    return found != NULL;
}

/* For `super().__getattr__(name)` in a subclass that has a __getattr__ of its own. */
static PyObject *module_getattr(PyObject *self, PyObject *name) {
    return PyUnicode_Check(name) ? registered_or_missing(self, name) : py_no_attribute(self, name);
}

/* ---- Being called ----------------------------------------------------------------------------------------------- */

/* Note [Calls of modules]
   module_vectorcall is what Python calls. Where the class has a __call__ of its own it steps aside, and so it does where the
   class, the instance or nn.Module has been given a _call_impl; with hooks it goes to the core's call sequence, which comes
   back to py_module_forward; without, it runs forward directly.
   `forward` is a C layer (LayerForward), a Python function, or anything else that an attribute can be. */

static PyObject *module_tp_call(PyObject *self, PyObject *args, PyObject *kwargs);

/* Call fn(self, *args). */
static PyObject *call_method(PyObject *fn, PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t n = PyVectorcall_NARGS(nargsf), all = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *few[9], **at = few, *made;
    if (nargsf & PY_VECTORCALL_ARGUMENTS_OFFSET) { /* the place before the arguments is ours for the call */
        at = (PyObject **)args - 1;
        PyObject *kept = at[0];
        at[0] = self;
        made = PyObject_Vectorcall(fn, at, (size_t)n + 1, kwnames);
        at[0] = kept;
        return made;
    }
    if (all > 8 && !(at = PyMem_New(PyObject *, (size_t)all + 1))) return PyErr_NoMemory();
    at[0] = self;
    for (Py_ssize_t i = 0; i < all; i++) at[i + 1] = args[i];
    made = PyObject_Vectorcall(fn, at, (size_t)n + 1, kwnames);
    if (at != few) PyMem_Free(at);
    return made;
}

/* Does the class look attributes up as we do, apart from a __getattr__ for what is missing? */
static bool plain_lookup(PyTypeObject *type) {
    if (type->tp_getattro == module_getattro) return true;
    return _PyType_Lookup(type, NAME(__getattribute__)) == _PyType_Lookup(hg_py->module_type, NAME(__getattribute__));
}

/* Asked of the methods as they were made: nn.Module's own may have been replaced since. */
static bool class_inherits(PyTypeObject *type, PyObject *name) {
    PyObject *methods = hg_py->module_methods, *made = methods ? PyDict_GetItemWithError(methods, name) : NULL;
    return made && _PyType_Lookup(type, name) == made && plain_lookup(type);
}

/* What was last answered for a class and a name. Python gives a class another version tag when it, or a base of it, changes,
   and uses no tag twice; 0 stands for none. */
static struct answer {
    unsigned int version;
    bool inherits;
    PyObject *name; /* owned: no other name can have its address */
} answers[256];

bool py_module_inherits(PyObject *self, PyObject *name) {
    PyTypeObject *type = Py_TYPE(self);
    unsigned int version = type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG ? type->tp_version_tag : 0;
    struct answer *a = &answers[(version * 31 ^ (uintptr_t)name >> 4) % (sizeof answers / sizeof *answers)];
    if (!version || a->version != version || a->name != name) {
        bool inherits = class_inherits(type, name);
        if (!hg_py->module_methods || !(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG))
            return inherits && (hides_nothing(SELF(self)) || !hides_method(self, name));
        a->version = type->tp_version_tag, a->inherits = inherits;
        Py_XSETREF(a->name, Py_NewRef(name));
    }
    return a->inherits && (hides_nothing(SELF(self)) || !hides_method(self, name));
}

bool py_module_set_mode(PyObject *self, PyObject *mode) {
    if (!module_has(self, ATTR_training) || !py_module_inherits(self, NAME(__setattr__)) ||
        _PyType_Lookup(Py_TYPE(self), NAME(training)) != hg_py->training || py_module_shows(self))
        return false;
    MODULE(self)->training = mode == Py_True;
    return true;
}

/* What a call, and train(), asks of a class, by its version tag as above. */
typedef struct manner {
    unsigned int version;
    bool calls_alike;  /* it has Module's own _call_impl: neither it nor nn.Module has been given another */
    bool trains_alike; /* it has nothing of its own that train() asks for */
    PyObject *forward; /* borrowed from the class: a C layer or a method; NULL where it is to be looked up */
} manner;

static const manner *learn_manner(PyTypeObject *type, manner *m) {
    PyObject *fn = _PyType_Lookup(type, NAME(forward));
    bool plain = fn && PyType_HasFeature(Py_TYPE(fn), Py_TPFLAGS_METHOD_DESCRIPTOR) && plain_lookup(type);
    m->forward = plain ? fn : NULL;
    m->calls_alike = _PyType_Lookup(type, NAME(_call_impl)) == _PyType_Lookup(hg_py->module_type, NAME(_call_impl));
    m->trains_alike = class_inherits(type, NAME(train)) && class_inherits(type, NAME(__setattr__)) &&
                      class_inherits(type, NAME(children)) && class_inherits(type, NAME(named_children)) &&
                      _PyType_Lookup(type, NAME(training)) == hg_py->training;
    m->version = type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG ? type->tp_version_tag : 0;
    return m;
}

/* Good until another class is asked about. */
static inline const manner *manner_of(PyTypeObject *type) {
    static manner manners[64];
    unsigned int version = type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG ? type->tp_version_tag : 0;
    manner *m = &manners[version % (sizeof manners / sizeof *manners)];
    return version && m->version == version ? m : learn_manner(type, m);
}

bool py_module_trains_alike(PyObject *self) {
    return manner_of(Py_TYPE(self))->trains_alike && hides_nothing(SELF(self)) && module_has(self, ATTR_training) &&
           module_has(self, ATTR__modules) && !py_module_shows(self);
}

/* What a call runs. A hooked call looks it up before its hooks, as PyTorch does: a hook that gives the module another
   `forward` gives it to the next call. */
typedef struct runner {
    PyObject *fn;  /* owned */
    bool of_class; /* a C layer or a method that no attribute of the instance hides: to be called with the module */
} runner;

static inline bool find_forward(PyObject *self, runner *r) {
    PyObject *fn = manner_of(Py_TYPE(self))->forward;
    r->of_class = fn && (hides_nothing(SELF(self)) || !hides_method(self, NAME(forward)));
    r->fn = r->of_class ? Py_NewRef(fn) : PyObject_GetAttr(self, NAME(forward));
    return r->fn;
}

static inline PyObject *run_forward(const runner *r, PyObject *self, PyObject *const *args, size_t nargsf,
                                    PyObject *kwnames) {
    if (!r->of_class) return PyObject_Vectorcall(r->fn, args, nargsf, kwnames);
    if (Py_TYPE(r->fn) == hg_py->layer_forward_type)
        return py_layer_call(r->fn, self, args, PyVectorcall_NARGS(nargsf), kwnames);
    return call_method(r->fn, self, args, nargsf, kwnames);
}

static PyObject *forward(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    runner r;
    if (!find_forward(self, &r)) return NULL;
    PyObject *made = run_forward(&r, self, args, nargsf, kwnames);
    Py_DECREF(r.fn);
    return made;
}

static PyObject *args_tuple(PyObject *const *args, Py_ssize_t n) {
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    return tuple;
}

static PyObject *kwargs_dict(PyObject *const *values, PyObject *kwnames) {
    PyObject *dict = PyDict_New();
    for (Py_ssize_t k = 0; dict && k < PyTuple_GET_SIZE(kwnames); k++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, k), values[k])) Py_CLEAR(dict);
    return dict;
}

/* `there`: which hooks (hg_module_hooked). */
static PyObject *call_hooked(hg_ctx *cx, PyObject *self, uint32_t there, PyObject *const *args, Py_ssize_t n,
                             PyObject *kwnames) {
    runner r;
    if (!find_forward(self, &r)) return NULL;
    PyObject *tuple = args_tuple(args, n), *dict = NULL, *made = NULL;
    if (tuple && (!kwnames || (dict = kwargs_dict(args + n, kwnames)))) {
        hg_value kwargs = {dict ? HG_V_OTHER : HG_V_NONE, dict}, out;
        hg_status st = hg_module_call_hooked(cx, MODULE(self), there, &r, (hg_value){HG_V_TUPLE, tuple}, kwargs, &out);
        made = st != HG_OK ? py_raise(cx, st) : out.kind == HG_V_NONE ? Py_NewRef(Py_None) : py_value_object(out);
    }
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    Py_DECREF(r.fn);
    return made;
}

/* A module in C may call another one: no Python frame counts that, so we do, or a module inside itself overruns the
   stack. Python 3.12 and later allow C ten times as many calls as Python, too many for what a hooked call needs. */
static PY_THREAD_LOCAL int depth;
enum { NEVER_TOO_DEEP = 100 };

static bool too_deep(void) {
    if (depth < NEVER_TOO_DEEP || depth < Py_GetRecursionLimit()) return false;
    PyErr_SetString(PyExc_RecursionError, "maximum recursion depth exceeded while calling a Python object");
    return true;
}

/* A table that a call reads is not there: no __init__ was called, or it was deleted. In the order of PyTorch's look. */
static PyObject *no_table(PyObject *self) {
    static const module_attr order[] = {ATTR__backward_hooks, ATTR__backward_pre_hooks, ATTR__forward_hooks,
                                        ATTR__forward_pre_hooks};
    int i = 0;
    while (module_has(self, order[i])) i++;
    return py_no_attribute(self, py_module_attr_name(order[i]));
}

static PyObject *run(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (MODULE_CALL_READS & ~SELF(self)->present) return no_table(self);
    if (too_deep()) return NULL;
    depth++;
    uint32_t there = hg_module_hooked(cx->lib, MODULE(self));
    PyObject *made = there ? call_hooked(cx, self, there, args, PyVectorcall_NARGS(nargsf), kwnames)
                           : forward(self, args, nargsf, kwnames);
    depth--;
    return made;
}

/* What __call__ is: the _call_impl that the module has. */
static PyObject *wrapped_call_impl(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *impl = PyObject_GetAttr(self, NAME(_call_impl));
    PyObject *made = impl ? PyObject_Vectorcall(impl, args, (size_t)n, kwnames) : NULL;
    Py_XDECREF(impl);
    return made;
}

static inline PyObject *call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    if (manner_of(Py_TYPE(self))->calls_alike && (hides_nothing(SELF(self)) || !hides_method(self, NAME(_call_impl))))
        return run(self, args, nargsf, kwnames);
    return wrapped_call_impl(self, args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *module_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    ternaryfunc own = Py_TYPE(self)->tp_call;
    if (own == module_tp_call) return call(self, args, nargsf, kwnames);
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject *tuple = args_tuple(args, n), *kwargs = NULL, *made = NULL;
    if (tuple && (!kwnames || (kwargs = kwargs_dict(args + n, kwnames)))) made = own(self, tuple, kwargs);
    Py_XDECREF(tuple);
    Py_XDECREF(kwargs);
    return made;
}

/* Module.__call__ itself: what `super().__call__(x)` reaches in a class that has its own. */
static PyObject *module_tp_call(PyObject *self, PyObject *args, PyObject *kwargs) {
    Py_ssize_t n = PyTuple_GET_SIZE(args), n_kw = kwargs ? PyDict_GET_SIZE(kwargs) : 0, pos = 0, k = 0;
    PyObject **items = ((PyTupleObject *)args)->ob_item, *name, *value, *made = NULL;
    if (!n_kw) return call(self, items, (size_t)n, NULL);
    PyObject *names = PyTuple_New(n_kw), **at = PyMem_New(PyObject *, (size_t)(n + n_kw));
    if (names && at) {
        for (Py_ssize_t i = 0; i < n; i++) at[i] = items[i];
        while (k < n_kw && PyDict_Next(kwargs, &pos, &name, &value)) {
            PyTuple_SET_ITEM(names, k, Py_NewRef(name));
            at[n + k++] = Py_NewRef(value);
        }
        made = call(self, at, (size_t)n, names);
        while (k--) Py_DECREF(at[n + k]);
    } else {
        PyErr_NoMemory();
    }
    PyMem_Free(at);
    Py_XDECREF(names);
    return made;
}

/* The call sequence under the name that code calls or overrides. */
static PyObject *call_impl(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    return run(self, args, (size_t)n, kwnames);
}

/* The warnings of backward hooks of the older sort, which a call gives itself. */
static PyObject *maybe_warn(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    (void)self;
    PyObject *at[3];
    hg_ctx *cx = py_ctx();
    if (!cx || py_parse("_maybe_warn_non_full_backward_hook", "inputs,result,grad_fn", 3, args, n, kwnames, at))
        return NULL;
    if (!py_is_node(at[2]))
        return PyErr_Format(PyExc_TypeError,
                            "_maybe_warn_non_full_backward_hook(): 'grad_fn' must be a node, not %.100s",
                            Py_TYPE(at[2])->tp_name);
    PyObject *inputs = py_is_tensor(at[0]) ? PyTuple_Pack(1, at[0]) : Py_NewRef(at[0]);
    if (!inputs) return NULL;
    hg_status st = hg_module_warn_of_legacy(cx, py_value(inputs), py_value(at[1]), NODE(at[2]));
    Py_DECREF(inputs);
    if (st != HG_OK) return py_raise(cx, st);
    Py_RETURN_NONE;
}

/* From the core's call sequence to forward. */
hg_status py_module_forward(hg_ctx *cx, hg_module *m, const void *found, hg_value args, hg_value kwargs,
                            hg_value *out) {
    (void)cx;
    const runner *r = found;
    PyObject *self = PY(m), *tuple = args.obj, *made;
    if (kwargs.kind == HG_V_NONE || !PyDict_GET_SIZE(kwargs.obj)) {
        made = run_forward(r, self, ((PyTupleObject *)tuple)->ob_item, (size_t)PyTuple_GET_SIZE(tuple), NULL);
    } else {
        PyObject *fn = r->of_class ? Py_TYPE(r->fn)->tp_descr_get(r->fn, self, NULL) : Py_NewRef(r->fn);
        made = fn ? PyObject_Call(fn, tuple, kwargs.obj) : NULL;
        Py_XDECREF(fn);
    }
    if (!made) return PY_FAILED;
    *out = py_value(made);
    if (out->kind == HG_V_NONE) Py_DECREF(made);
    return HG_OK;
}

static PyObject *module_forward(PyObject *self, PyObject *args, PyObject *kwargs) {
    (void)args;
    Py_ssize_t at = 0;
    PyObject *name;
    if (kwargs && PyDict_Next(kwargs, &at, &name, NULL))
        return PyErr_Format(PyExc_TypeError, "_forward_unimplemented() got an unexpected keyword argument '%U'", name);
    return PyErr_Format(PyExc_NotImplementedError, "Module [%s] is missing the required \"forward\" function",
                        Py_TYPE(self)->tp_name);
}

/* ---- Birth and death -------------------------------------------------------------------------------------------- */

static PyObject *module_alloc(PyTypeObject *type, Py_ssize_t n) {
    PyObject *self = PyType_GenericAlloc(type, n);
    if (self) SELF(self)->call = module_vectorcall;
    return self;
}

static PyObject *module_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;                    /* __init__'s */
    if (type->tp_flags & Py_TPFLAGS_IS_ABSTRACT) /* object's says which methods are missing */
        return PyBaseObject_Type.tp_new(type, hg_py->empty_tuple, NULL);
    return module_alloc(type, 0);
}

/* `attribute` of what follows Module among the bases: new. */
static PyObject *super_attr(PyObject *of, PyObject *attribute) {
    PyObject *super = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, hg_py->module_type, of, NULL);
    PyObject *found = super ? PyObject_GetAttr(super, attribute) : NULL;
    Py_XDECREF(super);
    return found;
}

/* Arguments are for the next class in line, and only where the class asks for that with call_super_init. */
static int module_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    PyTypeObject *type = Py_TYPE(self);
    Py_ssize_t n = PyTuple_GET_SIZE(args), n_kw = kwargs ? PyDict_GET_SIZE(kwargs) : 0, pos = 0;
    PyObject *call_super = _PyType_Lookup(type, NAME(call_super_init)), *name, *value;
    int calls = call_super ? PyObject_IsTrue(call_super) : 0;
    if (calls < 0) return -1;
    if (!calls && n_kw && PyDict_Next(kwargs, &pos, &name, &value)) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() got an unexpected keyword argument '%U'", type->tp_name, name);
        return -1;
    }
    if (!calls && n) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() takes 1 positional argument but %zd were given", type->tp_name,
                     n + 1);
        return -1;
    }
    if (py_module_reset(self)) return -1;
    PyObject *training = _PyType_Lookup(type, NAME(training)); /* a property of the class's own is told */
    if (training && training != hg_py->training && Py_TYPE(training)->tp_descr_set &&
        PyObject_GenericSetAttr(self, NAME(training), Py_True))
        return -1;
    if (!calls) return 0;
    PyObject *init = super_attr(self, NAME(__init__)), *done = init ? PyObject_Call(init, args, kwargs) : NULL;
    Py_XDECREF(init);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* A new subclass: Python before 3.12 does not hand vectorcall down, and our __getattr__, which is there for super()
   only, has cost it the direct look-up. */
static PyObject *module_init_subclass(PyObject *class, PyObject *args, PyObject *kwargs) {
    PyTypeObject *type = (PyTypeObject *)class, *base = hg_py->module_type;
    if (py_module_unhide(type)) return NULL;
    if (type->tp_call == module_tp_call) type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
    if (attributes_alike(type)) type->tp_getattro = module_getattro;
    /* A class that comes before Module among the bases brings a __dict__ of the plain sort: ours goes before it. */
    PyObject *dict = _PyType_Lookup(base, NAME(__dict__));
    if (_PyType_Lookup(type, NAME(__dict__)) != dict && PyDict_SetItem(type->tp_dict, NAME(__dict__), dict))
        return NULL;
    PyType_Modified(type);
    PyObject *next = super_attr(class, NAME(__init_subclass__)),
             *done = next ? PyObject_Call(next, args, kwargs) : NULL;
    Py_XDECREF(next);
    return done;
}

static int module_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(SELF(self)->dict);
    Py_VISIT(SELF(self)->non_persistent);
    return py_core_traverse(HG_KIND_MODULE, self, visit, arg);
}

static int module_clear(PyObject *self) {
    py_module_dict_forget(SELF(self)->dict);
    Py_CLEAR(SELF(self)->dict);
    Py_CLEAR(SELF(self)->non_persistent);
    py_core_clear(HG_KIND_MODULE, self);
    return 0;
}

static void module_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    hg_module_ends(hg_py->lib, MODULE(self));
    if (SELF(self)->weakrefs) PyObject_ClearWeakRefs(self);
    py_module_dict_forget(SELF(self)->dict);
    Py_CLEAR(SELF(self)->dict);
    Py_CLEAR(SELF(self)->non_persistent);
    py_core_dealloc(HG_KIND_MODULE, self);
}

static PyMethodDef methods[] = {
    {"__setattr__", FAST(py_module_setattr), METH_FASTCALL, "__setattr__($self, name, value)\n--\n\n"},
    {"__delattr__", py_module_delattr, METH_O, "__delattr__($self, name)\n--\n\n"},
    {"_add_numbered", py_add_numbered, METH_O, NULL},
    {"__getattr__", module_getattr, METH_O, "__getattr__($self, name)\n--\n\n"},
    {"__init_subclass__", FAST(module_init_subclass), METH_CLASS | METH_VARARGS | METH_KEYWORDS, NULL},
    {"forward", FAST(module_forward), METH_VARARGS | METH_KEYWORDS,
     "forward($self, *input)\n--\n\nWhat the module computes: a subclass says it."},
    {"_call_impl", FAST(call_impl), KEYWORDS,
     "_call_impl($self, /, *args, **kwargs)\n--\n\nThe call, with all hooks around forward."},
    {"_maybe_warn_non_full_backward_hook", FAST(maybe_warn), KEYWORDS,
     "_maybe_warn_non_full_backward_hook($self, inputs, result, grad_fn)\n--\n\n"},
#define X(name) {#name, FAST(py_##name), KEYWORDS, py_##name##_doc},
    PY_MODULE_METHODS(X)
#undef X
        {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(py_module, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(py_module, weakrefs), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(py_module, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* No tp_setattro: __setattr__ is a method, so that `object.__setattr__(module, name, value)`, with which scripts
   hide a submodule from registration, is allowed. */
static PyType_Slot slots[] = {
    {Py_tp_new, module_new},
    {Py_tp_alloc, module_alloc},
    {Py_tp_init, module_init},
    {Py_tp_dealloc, module_dealloc},
    {Py_tp_traverse, module_traverse},
    {Py_tp_clear, module_clear},
    {Py_tp_call, module_tp_call},
    {Py_tp_getattro, module_getattro},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, py_module_attributes},
    {Py_tp_doc, "Module(*args, **kwargs)\n--\n\n"},
    {0, NULL},
};

static PyType_Spec spec = {"hookgrad._C.Module", sizeof(py_module), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_VECTORCALL,
                           slots};

int py_module_init(PyObject *m) {
    if (py_type_add(m, &hg_py->module_type, &spec, NULL)) return -1;
    hg_py->training = _PyType_Lookup(hg_py->module_type, NAME(training));
    return py_module_dict_init(m) || py_layer_init(m) || py_module_walk_init(m) || py_module_state_init(m) ||
                   py_construct_init(m) || py_package_init(m) || PyModule_AddFunctions(m, py_module_hook_functions)
               ? -1
               : 0;
}
