/* Tables of hooks, seen from Python: OrderedDicts from ids to callables, and the views of their flags. What a hook is
   called with stands in py_hook_call.c. */
#include "py_hooks.h"

#include <frameobject.h> /* PyFrame_GetBack, before Python 3.11 */

#include "py_mapping.h"

/* By hg_hook_kind: how pickles and the functions below name a table. */
static const char *const kind_names[HG_N_HOOK_KINDS] = {
    "tensor",
    "post_accumulate_grad",
    "node_pre",
    "node",
    "forward_pre",
    "forward",
    "full_backward_pre",
    "full_backward",
    "state_dict_pre",
    "state_dict",
    "load_state_dict_pre",
    "load_state_dict_post",
    "buffer_registration",
    "module_registration",
    "parameter_registration",
};

static int kind_named(PyObject *name) {
    const char *chars = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    for (int k = 0; chars && k < HG_N_HOOK_KINDS; k++)
        if (!strcmp(chars, kind_names[k])) return k;
    if (!PyErr_Occurred()) PyErr_Format(PyExc_ValueError, "there is no kind of hooks called %R", name);
    return -1;
}

static void hold(void *fn) { Py_INCREF((PyObject *)fn); }
static void drop(void *fn) { Py_DECREF((PyObject *)fn); }

/* ---- Hooks written in C, as objects that can be moved from table to table --------------------------------------- */

typedef struct chook {
    PyObject_HEAD
    hg_hook hook;
} chook;

/* Data that can be dropped but not held belongs to its table alone: such a hook can be looked at, not moved. */
static bool can_move(const hg_hook *hook) { return !hook->drop || hook->hold; }

static PyObject *chook_new(const hg_hook *hook) {
    chook *o = PyObject_New(chook, hg_py->chook_type);
    if (!o) return NULL;
    o->hook = *hook;
    if (hook->hold) hook->hold(hook->data);
    return (PyObject *)o;
}

static void chook_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    hg_hook *hook = &((chook *)self)->hook;
    if (hook->hold && hook->drop) hook->drop(hook->data);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Copies share the data, which is nobody's in Python. */
static PyObject *chook_copy(PyObject *self, PyObject *memo) { return (void)memo, Py_NewRef(self); }

static PyMethodDef chook_methods[] = {
    {"__copy__", chook_copy, METH_NOARGS, NULL},
    {"__deepcopy__", chook_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot chook_slots[] = {
    {Py_tp_dealloc, chook_dealloc},
    {Py_tp_methods, chook_methods},
    {Py_tp_doc, "A hook written in C: it can be moved between tables of hooks, and is called by the core only."},
    {0, NULL},
};

static PyType_Spec chook_spec = {"hookgrad._C.CHook", sizeof(chook), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 chook_slots};

/* What Python sees in an entry: new. */
static PyObject *entry_value(const hg_hook *hook) {
    return hook->fn == py_call_hook ? Py_NewRef(hook->data) : chook_new(hook);
}

/* A hook from what Python gives for one: borrows o. */
static int entry_from(PyObject *o, hg_hook *hook) {
    if (Py_TYPE(o) == hg_py->chook_type) {
        *hook = ((chook *)o)->hook;
        if (can_move(hook)) return 0;
        PyErr_SetString(PyExc_TypeError,
                        "this hook, written in C, belongs to one table and cannot be put into another");
        return -1;
    }
    if (!PyCallable_Check(o)) {
        PyErr_Format(PyExc_TypeError, "a hook must be callable, not %.100s", Py_TYPE(o)->tp_name);
        return -1;
    }
    *hook = (hg_hook){.fn = py_call_hook, .data = o, .hold = hold, .drop = drop};
    return 0;
}

bool py_is_ours(PyFrameObject *frame) {
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *globals = PyFrame_GetGlobals(frame);
#else
    PyObject *globals = PyObject_GetAttr((PyObject *)frame, NAME(f_globals));
#endif
    PyObject *name = globals ? PyDict_GetItemWithError(globals, NAME(__name__)) : NULL;
    const char *chars = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool ours = chars && (!strncmp(chars, "hookgrad.", 9) || !strncmp(chars, "torch.", 6)); /* in torch's place */
    Py_XDECREF(globals);
    return ours;
}

/* The name of the code's file, kept for good: borrowed. */
static const void *file_of(PyCodeObject *code) {
    if (code->co_filename != hg_py->last_file) /* hooks are mostly registered where the last one was */
        hg_py->last_file = PyDict_SetDefault(hg_py->files, code->co_filename, code->co_filename);
    return hg_py->last_file;
}

/* The line a frame is at. Where hooks are registered in a loop the instruction is the last one's: its line is known. */
static int line_of(PyFrameObject *frame, PyCodeObject *code) {
#if PY_VERSION_HEX >= 0x030B0000
    int at = PyFrame_GetLasti(frame);
    if (hg_py->site.code == (PyObject *)code && hg_py->site.at == at) return hg_py->site.line;
    int line = PyFrame_GetLineNumber(frame);
    hg_py->site.at = at, hg_py->site.line = line;
    Py_XSETREF(hg_py->site.code, Py_NewRef((PyObject *)code));
    return line;
#else
    (void)code;
    return PyFrame_GetLineNumber(frame);
#endif
}

/* Does it run the code that registered the last hook? That is a program's. */
static bool is_last_site(PyFrameObject *frame) {
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool is = (PyObject *)code == hg_py->site.code;
    Py_DECREF(code);
    return is;
}

void py_site(const void **file, int *line) {
    PyFrameObject *frame = (PyFrameObject *)Py_XNewRef((PyObject *)PyEval_GetFrame());
    *file = NULL, *line = 0;
    while (frame && !is_last_site(frame) && py_is_ours(frame)) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    if (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        *file = file_of(code);
        *line = line_of(frame, code);
        Py_DECREF(code);
        Py_DECREF(frame);
    }
    if (PyErr_Occurred()) PyErr_Clear();
}

/* ---- The table -------------------------------------------------------------------------------------------------- */

/* The core keeps hooks by id. What a user puts into a table under another key (a name, a tuple) gets an id from here on
   upwards, and the table keeps the key beside it. */
#define FIRST_ODD_ID (UINT64_C(1) << 63)
#define ODD(o)       (((py_hooks *)(o))->odd)

static bool read_id(PyObject *key, uint64_t *id) {
    if (!PyLong_Check(key)) return false;
    *id = PyLong_AsUnsignedLongLong(key);
    if (*id < FIRST_ODD_ID) return true;
    PyErr_Clear();
    return false;
}

/* The id that a key has in the table: 1; 0: it has none; -1: it cannot be a key. */
static int id_of(PyObject *self, PyObject *key, uint64_t *id) {
    if (read_id(key, id)) return 1;
    PyObject *known = ODD(self) ? PyDict_GetItemWithError(ODD(self), key) : NULL;
    if (known) return *id = PyLong_AsUnsignedLongLong(known), 1;
    return PyErr_Occurred() || PyObject_Hash(key) == -1 ? -1 : 0;
}

/* Give an odd key an id. */
static int admit(PyObject *self, PyObject *key, uint64_t *id) {
    if (!ODD(self) && !(ODD(self) = PyDict_New())) return -1;
    *id = FIRST_ODD_ID + hg_py->n_odd_keys++;
    PyObject *number = PyLong_FromUnsignedLongLong(*id);
    int failed = number ? PyDict_SetItem(ODD(self), key, number) : -1;
    Py_XDECREF(number);
    return failed;
}

/* The odd key of an id: borrowed; NULL, without an exception, where it has none. */
static PyObject *odd_key(PyObject *self, uint64_t id) {
    PyObject *key, *number;
    Py_ssize_t pos = 0;
    while (id >= FIRST_ODD_ID && ODD(self) && PyDict_Next(ODD(self), &pos, &key, &number))
        if (PyLong_AsUnsignedLongLong(number) == id) return key;
    return NULL;
}

static int forget(PyObject *self, uint64_t id) {
    PyObject *key = odd_key(self, id);
    if (!key) return 0;
    Py_INCREF(key);
    int failed = PyDict_DelItem(ODD(self), key);
    Py_DECREF(key);
    return failed;
}

/* Note [Flags without hooks]
   In PyTorch the flags of hooks lie in dicts of their own, and stay there when a program takes hooks out of their table by hand, or
   has another mapping in its place: hooks that it puts back are called as before. So a table keeps the flags of hooks that have
   left it other than by their handles, by key, and what is told of hooks to come. Whether backward hooks are legacy ones PyTorch
   asks the module, for all of a table: it is kept once. */
#define PAST(o)      (((py_hooks *)(o))->past)
#define IS_LEGACY(o) (((py_hooks *)(o))->is_legacy)

static int remember(PyObject *self, PyObject *key, uint32_t flags) {
    if (!PAST(self) && !(PAST(self) = PyDict_New())) return -1;
    PyObject *number = PyLong_FromUnsignedLong(flags);
    int failed = number ? PyDict_SetItem(PAST(self), key, number) : -1;
    Py_XDECREF(number);
    return failed;
}

static uint32_t remembered(PyObject *self, PyObject *key) {
    PyObject *number = PAST(self) ? PyDict_GetItemWithError(PAST(self), key) : NULL;
    return number ? (uint32_t)PyLong_AsUnsignedLong(number) : 0;
}

static PyObject *hooks_key(PyObject *self, Py_ssize_t at);

/* `self` remembers the flags of the hook that `table`, which may be itself, has there. */
static int remember_of(PyObject *self, PyObject *table, Py_ssize_t at) {
    uint32_t flags = HOOKS(table)->at[at].flags & (HG_HOOK_WITH_KWARGS | HG_HOOK_ALWAYS_CALL);
    PyObject *key = flags ? hooks_key(table, at) : NULL;
    int failed = flags && (!key || remember(self, key, flags));
    Py_XDECREF(key);
    return failed ? -1 : 0;
}

static Py_ssize_t hooks_count(PyObject *self) { return HOOKS(self)->n; }

static Py_ssize_t hooks_find(PyObject *self, PyObject *key) {
    uint64_t id;
    int known = id_of(self, key, &id);
    if (known < 0) return -2;
    hg_hook *hook = known ? hg_hooks_find(HOOKS(self), id) : NULL;
    return hook ? hook - HOOKS(self)->at : -1;
}

static PyObject *hooks_key(PyObject *self, Py_ssize_t at) {
    uint64_t id = HOOKS(self)->at[at].id;
    PyObject *odd = odd_key(self, id);
    return odd ? Py_NewRef(odd) : PyLong_FromUnsignedLongLong(id);
}
static PyObject *hooks_value(PyObject *self, Py_ssize_t at) { return entry_value(&HOOKS(self)->at[at]); }

static int hooks_put(PyObject *self, PyObject *key, PyObject *value) {
    hg_hook hook, *known;
    uint64_t id;
    hg_ctx *cx = py_ctx();
    int has_id = cx && !entry_from(value, &hook) ? id_of(self, key, &id) : -1;
    if (has_id < 0 || (!has_id && admit(self, key, &id))) return -1;
    py_site(&hook.file, &hook.line);
    hook.id = id;
    hook.flags = (known = hg_hooks_find(HOOKS(self), id))
                     ? known->flags
                     : (hook.flags & ~(uint32_t)HG_HOOK_PREPEND) | remembered(self, key) |
                           (IS_LEGACY(self) ? HG_HOOK_LEGACY : 0);
    hg_status st = hg_hooks_put(cx, HOOKS(self), &hook);
    if (st == HG_OK) return 0;
    if (!has_id) forget(self, id);
    return py_fail(cx, st);
}

static int hooks_remove(PyObject *self, Py_ssize_t at) {
    hg_ctx *cx = py_ctx();
    uint64_t id = HOOKS(self)->at[at].id;
    if (!cx || remember_of(self, self, at) || forget(self, id)) return -1;
    hg_hooks_remove(cx, HOOKS(self), id);
    return 0;
}

static void hooks_move(PyObject *self, Py_ssize_t at, bool last) { hg_hooks_move(HOOKS(self), (uint32_t)at, last); }

static void hooks_clear(PyObject *self) {
    hg_ctx *cx = py_ctx();
    if (!cx) {
        PyErr_Clear();
        return;
    }
    for (Py_ssize_t i = 0; i < HOOKS(self)->n; i++)
        if (remember_of(self, self, i)) PyErr_Clear();
    PyObject *odd = ODD(self);
    ODD(self) = NULL; /* before anything is dropped, which may run anything */
    hg_hooks_clear(cx, HOOKS(self));
    Py_XDECREF(odd);
}

/* The function of hookgrad._C that makes one of these again: new, or NULL with the exception set. */
static PyObject *rebuilder(const char *name) {
    PyObject *module = PyImport_ImportModule("hookgrad._C"), *fn = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return fn;
}

/* An exception that names the hook where it is plain that it cannot be pickled: hookgrad/_notes.py. */
static int check_pickle(PyObject *table, const hg_hook *hook) {
    if (PyCFunction_Check((PyObject *)hook->data)) return 0;
    PyObject *notes = PyImport_ImportModule("hookgrad._notes");
    PyObject *got = notes ? PyObject_CallMethod(notes, "check_pickle", "OsOOi", (PyObject *)hook->data,
                                                py_hook_words(HOOKS(table)->kind, hook->flags), table,
                                                hook->file ? (PyObject *)hook->file : Py_None, hook->line)
                          : NULL;
    Py_XDECREF(notes);
    Py_XDECREF(got);
    return got ? 0 : -1;
}

/* The function below, and for its arguments the kind and ((key, hook, flags, file, line), ...): in one piece, since
   flags belong to hooks that are there, and as a table, so that a handle in the same pickle still finds it. An empty
   one goes as the OrderedDict it looks like: the pickle of a module without hooks is one that PyTorch can read. */
static PyObject *hooks_reduce(PyObject *self) {
    hg_hooks *h = HOOKS(self);
    if (!h->n) return Py_BuildValue("(O())", &PyODict_Type);
    for (uint32_t i = 0; i < h->n; i++)
        if (h->at[i].fn == py_call_hook && check_pickle(self, &h->at[i])) return NULL;
    PyObject *entries = PyTuple_New(h->n);
    for (uint32_t i = 0; entries && i < h->n; i++) {
        PyObject *hook = entry_value(&h->at[i]), *key = hook ? hooks_key(self, i) : NULL;
        PyObject *e = key ? Py_BuildValue("(NNIOi)", key, hook, h->at[i].flags & ~HG_HOOK_PREPEND,
                                          h->at[i].file ? (PyObject *)h->at[i].file : Py_None, h->at[i].line)
                          : NULL;
        if (!key) Py_XDECREF(hook);
        if (e)
            PyTuple_SET_ITEM(entries, i, e);
        else
            Py_CLEAR(entries);
    }
    return entries ? Py_BuildValue("(N(sN))", rebuilder("_hook_table"), kind_names[h->kind], entries) : NULL;
}

const py_mapping py_hooks_mapping = {
    .count = hooks_count,
    .find = hooks_find,
    .key = hooks_key,
    .value = hooks_value,
    .put = hooks_put,
    .remove = hooks_remove,
    .move = hooks_move,
    .clear = hooks_clear,
    .reduce = hooks_reduce,
    .ordered = true,
};

static int fill(PyObject *self, PyObject *entries) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(entries); i++) {
        PyObject *entry = PyTuple_GET_ITEM(entries, i), *key, *value, *file = NULL;
        hg_hook hook;
        unsigned flags;
        int line = 0;
        if (!PyTuple_Check(entry)) return PyErr_SetString(PyExc_TypeError, "_hook_table(): entries are tuples"), -1;
        if (!PyArg_ParseTuple(entry, "OOI|Oi", &key, &value, &flags, &file, &line) || entry_from(value, &hook))
            return -1;
        int has_id = id_of(self, key, &hook.id);
        if (has_id < 0 || (!has_id && admit(self, key, &hook.id))) return -1;
        hook.flags = flags;
        if (file && PyUnicode_Check(file)) {
            if (!(hook.file = PyDict_SetDefault(hg_py->files, file, file))) return -1;
            hook.line = line;
        }
        hg_status st = hg_hooks_put(cx, HOOKS(self), &hook);
        if (st != HG_OK) return py_fail(cx, st);
    }
    return 0;
}

static PyObject *hook_table(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *kind, *entries = NULL;
    if (!PyArg_ParseTuple(args, "O|O!:_hook_table", &kind, &PyTuple_Type, &entries)) return NULL;
    int k = kind_named(kind);
    PyObject *self = k < 0 ? NULL : hg_py->hooks_type->tp_alloc(hg_py->hooks_type, 0);
    if (!self) return NULL;
    HOOKS(self)->kind = (hg_hook_kind)k;
    if (entries && fill(self, entries)) Py_CLEAR(self);
    return self;
}

/* The core does not know what a hook's data is; where we registered it, it is a callable that the table owns. */
static int hooks_traverse(PyObject *self, visitproc visit, void *arg) {
    hg_hooks *h = HOOKS(self);
    for (uint32_t i = 0; i < h->n; i++)
        if (h->at[i].fn == py_call_hook) Py_VISIT((PyObject *)h->at[i].data);
    Py_VISIT(ODD(self));
    Py_VISIT(PAST(self));
    Py_VISIT(((py_hooks *)self)->from);
    return py_core_traverse(HG_KIND_HOOKS, self, visit, arg);
}

static int hooks_tp_clear(PyObject *self) {
    py_core_clear(HG_KIND_HOOKS, self);
    Py_CLEAR(ODD(self));
    Py_CLEAR(PAST(self));
    Py_CLEAR(((py_hooks *)self)->from);
    return 0;
}

static void hooks_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    if (((py_hooks *)self)->weakrefs) PyObject_ClearWeakRefs(self);
    Py_CLEAR(((py_hooks *)self)->ref);
    Py_CLEAR(ODD(self));
    Py_CLEAR(PAST(self));
    Py_CLEAR(((py_hooks *)self)->from);
    py_core_dealloc(HG_KIND_HOOKS, self);
}

static PyMemberDef hooks_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(py_hooks, weakrefs), READONLY, NULL},
                                      {NULL, 0, 0, 0, NULL}};

static PyType_Slot hooks_slots[] = {
    {Py_tp_new, py_mapping_new},
    {Py_tp_dealloc, hooks_dealloc},
    {Py_tp_traverse, hooks_traverse},
    {Py_tp_clear, hooks_tp_clear},
    {Py_tp_members, hooks_members},
    {Py_tp_doc, "An ordered table of hooks by id, live: what is put here runs."},
    PY_MAPPING_SLOTS,
    {0, NULL},
};

static PyType_Spec hooks_spec = {"collections.OrderedDict", sizeof(py_hooks), 0, PY_MAPPING_FLAGS, hooks_slots};

/* The OrderedDict of a module in a file becomes a table, which keeps it: handles from the file refer to it, and find the
   table by it. */
static int lead_handles(PyObject *from, PyObject *table) {
    if (!PyODict_CheckExact(from) || !HOOKS(table)->n) return 0;
    PyObject *ref = PyWeakref_NewRef(table, NULL);
    int failed = ref ? PyObject_SetAttr(from, NAME(_hook_table), ref) : -1;
    Py_XDECREF(ref);
    if (!failed) ((py_hooks *)table)->from = Py_NewRef(from);
    return failed;
}

PyObject *py_hooks_from(PyObject *from, hg_hook_kind kind, hg_hooks *before) {
    if (Py_TYPE(from) == hg_py->hooks_type && HOOKS(from)->kind == kind) return Py_NewRef(from);
    PyObject *made = hg_py->hooks_type->tp_alloc(hg_py->hooks_type, 0);
    if (!made) return NULL;
    HOOKS(made)->kind = kind;
    IS_LEGACY(made) = before && IS_LEGACY(PY(before));
    int failed = before && PAST(PY(before)) && !(PAST(made) = PyDict_Copy(PAST(PY(before))));
    if (before) Py_INCREF(PY(before)); /* keys that are compared may run anything */
    for (Py_ssize_t i = 0; before && !failed && i < before->n; i++) failed = remember_of(made, PY(before), i);
    if (before) Py_DECREF(PY(before));
    if (failed || py_mapping_update(made, from) || lead_handles(from, made)) Py_CLEAR(made);
    return made;
}

int py_hooks_assign(hg_hooks *h, PyObject *from) {
    if (from == PY(h)) return 0;
    PyObject *made = py_hooks_from(from, h->kind, h);
    if (!made) return -1;
    hooks_clear(PY(h));
    int failed = py_mapping_update(PY(h), made);
    for (uint32_t i = 0; !failed && i < h->n && i < HOOKS(made)->n; i++) h->at[i].flags = HOOKS(made)->at[i].flags;
    Py_DECREF(made);
    return failed;
}

/* ---- Views of flags --------------------------------------------------------------------------------------------- */

/* A table keeps flags with its hooks; PyTorch shows each flag as a dict of its own, id -> True. */
typedef struct py_hooks_view_object {
    PyObject_HEAD
    PyObject *table; /* owned; it knows this view, borrowed, until the view dies */
    uint32_t flag;
    PyObject *weakrefs;
} flags_view;

#define VIEW(o) ((flags_view *)(o))

static PyObject **view_slot(PyObject *table, uint32_t flag) {
    return &((py_hooks *)table)->views[flag == HG_HOOK_ALWAYS_CALL];
}

PyObject *py_hooks_view(hg_hooks *h, uint32_t flag) {
    PyObject **known = view_slot(PY(h), flag);
    if (*known) return Py_NewRef(*known);
    flags_view *v = (flags_view *)hg_py->hooks_view_type->tp_alloc(hg_py->hooks_view_type, 0);
    if (!v) return NULL;
    v->table = Py_NewRef(PY(h));
    v->flag = flag;
    return *known = (PyObject *)v;
}

static Py_ssize_t view_count(PyObject *self) {
    hg_hooks *h = HOOKS(VIEW(self)->table);
    Py_ssize_t n = 0;
    for (uint32_t i = 0; i < h->n; i++) n += (h->at[i].flags & VIEW(self)->flag) != 0;
    return n;
}

/* A view lists hooks as they were registered, wherever they stand in the table: this is how many come before that one. */
static Py_ssize_t rank(PyObject *self, const hg_hook *hook) {
    hg_hooks *h = HOOKS(VIEW(self)->table);
    Py_ssize_t n = 0;
    for (uint32_t i = 0; i < h->n; i++) n += (h->at[i].flags & VIEW(self)->flag) && h->at[i].id < hook->id;
    return n;
}

static hg_hook *view_at(PyObject *self, Py_ssize_t at) {
    hg_hooks *h = HOOKS(VIEW(self)->table);
    hg_hook *hook = h->at;
    while (!(hook->flags & VIEW(self)->flag) || (h->unsorted ? rank(self, hook) != at : at--)) hook++;
    return hook;
}

static Py_ssize_t view_find(PyObject *self, PyObject *key) {
    hg_hook *hooks = HOOKS(VIEW(self)->table)->at;
    Py_ssize_t place = hooks_find(VIEW(self)->table, key);
    if (place < 0 || !(hooks[place].flags & VIEW(self)->flag)) return place < 0 ? place : -1;
    return rank(self, &hooks[place]);
}

static PyObject *view_key(PyObject *self, Py_ssize_t at) {
    return hooks_key(VIEW(self)->table, view_at(self, at) - HOOKS(VIEW(self)->table)->at);
}
static PyObject *view_value(PyObject *self, Py_ssize_t at) { return (void)self, (void)at, Py_NewRef(Py_True); }

/* What is there counts, whatever it is: PyTorch asks for the key only. */
static int view_put(PyObject *self, PyObject *key, PyObject *value) {
    (void)value;
    Py_ssize_t place = hooks_find(VIEW(self)->table, key);
    if (place == -2) return -1;
    uint32_t was = place < 0 ? remembered(VIEW(self)->table, key) : HOOKS(VIEW(self)->table)->at[place].flags;
    if (place < 0) return remember(VIEW(self)->table, key, was | VIEW(self)->flag);
    HOOKS(VIEW(self)->table)->at[place].flags = was | VIEW(self)->flag;
    return 0;
}

static int view_remove(PyObject *self, Py_ssize_t at) {
    view_at(self, at)->flags &= ~VIEW(self)->flag;
    return 0;
}

/* Its order tells nobody anything: it stays that of registration. */
static void view_move(PyObject *self, Py_ssize_t at, bool last) { (void)self, (void)at, (void)last; }

static void view_clear(PyObject *self) {
    hg_hooks *h = HOOKS(VIEW(self)->table);
    for (uint32_t i = 0; i < h->n; i++) h->at[i].flags &= ~VIEW(self)->flag;
}

static PyObject *view_reduce(PyObject *self) {
    if (!HOOKS(VIEW(self)->table)->n) return Py_BuildValue("(O())", &PyODict_Type);
    return Py_BuildValue("(N(OI))", rebuilder("_hook_flags"), VIEW(self)->table, VIEW(self)->flag);
}

const py_mapping py_hooks_view_mapping = {
    .count = view_count,
    .find = view_find,
    .key = view_key,
    .value = view_value,
    .put = view_put,
    .remove = view_remove,
    .move = view_move,
    .clear = view_clear,
    .reduce = view_reduce,
    .ordered = true,
};

int py_hooks_view_assign(hg_hooks *h, uint32_t flag, PyObject *from) {
    if (Py_TYPE(from) == hg_py->hooks_view_type && VIEW(from)->flag == flag && VIEW(from)->table == PY(h)) return 0;
    PyObject *self = py_hooks_view(h, flag), *entries = self ? PyDict_New() : NULL;
    int failed = !entries || PyDict_Update(entries, from); /* read before anything changes */
    if (!failed) {
        view_clear(self);
        failed = py_mapping_update(self, entries);
    }
    Py_XDECREF(entries);
    Py_XDECREF(self);
    return failed ? -1 : 0;
}

static PyObject *hook_flags(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *table;
    unsigned flag;
    if (!PyArg_ParseTuple(args, "O!I:_hook_flags", hg_py->hooks_type, &table, &flag)) return NULL;
    if (flag != HG_HOOK_WITH_KWARGS && flag != HG_HOOK_ALWAYS_CALL)
        return PyErr_SetString(PyExc_ValueError, "_hook_flags(): no such flag"), NULL;
    return py_hooks_view(HOOKS(table), flag);
}

static int view_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(VIEW(self)->table);
    return 0;
}

/* No tp_clear: every cycle through a view passes through its table, which breaks it. */
static void view_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (VIEW(self)->weakrefs) PyObject_ClearWeakRefs(self);
    *view_slot(VIEW(self)->table, VIEW(self)->flag) = NULL;
    Py_DECREF(VIEW(self)->table);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef view_members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(flags_view, weakrefs), READONLY, NULL},
                                     {NULL, 0, 0, 0, NULL}};

static PyType_Slot view_slots[] = {
    {Py_tp_new, py_mapping_new},
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_traverse, view_traverse},
    {Py_tp_members, view_members},
    {Py_tp_doc, "The hooks of a table that have a flag, as a live mapping id -> True."},
    PY_MAPPING_SLOTS,
    {0, NULL},
};

static PyType_Spec view_spec = {"collections.OrderedDict", sizeof(flags_view), 0, PY_MAPPING_FLAGS, view_slots};

/* ---- Registration ----------------------------------------------------------------------------------------------- */

int py_hook_check(PyObject *fn, const char *function) {
    if (PyCallable_Check(fn) || Py_TYPE(fn) == hg_py->chook_type) return 0;
    PyErr_Format(PyExc_TypeError, "%s(): argument 'hook' must be callable, not %.100s", function, Py_TYPE(fn)->tp_name);
    return -1;
}

PyObject *py_hooks_register(hg_hooks *h, PyObject *fn, uint32_t flags) {
    hg_hook hook;
    hg_ctx *cx = py_ctx();
    if (!cx || entry_from(fn, &hook)) return NULL;
    py_site(&hook.file, &hook.line);
    hook.id = hg_next_hook_id(hg_py->lib);
    hook.flags = flags;
    IS_LEGACY(PY(h)) = flags & HG_HOOK_LEGACY;
    PyObject *handle = py_handle_new(PY(h), hook.id);
    hg_status st = handle ? hg_hooks_put(cx, h, &hook) : HG_OK;
    if (st == HG_OK) return handle;
    Py_DECREF(handle);
    return py_raise(cx, st);
}

static PyMethodDef rebuilders[] = {
    {"_hook_table", hook_table, METH_VARARGS, "_hook_table(kind, entries) -> what a pickled table of hooks was"},
    {"_hook_flags", hook_flags, METH_VARARGS, "_hook_flags(table, flag) -> the flags of a pickled table's hooks"},
    {NULL, NULL, 0, NULL},
};

int py_hooks_init(PyObject *m) {
    if (!(hg_py->files = PyDict_New())) return -1;
    if (py_mapping_init(m) || py_type_add(m, &hg_py->chook_type, &chook_spec, NULL) ||
        py_mapping_add(m, "HookTable", &hg_py->hooks_type, &hooks_spec) ||
        py_mapping_add(m, "HookFlags", &hg_py->hooks_view_type, &view_spec))
        return -1;
    return PyModule_AddFunctions(m, rebuilders);
}
