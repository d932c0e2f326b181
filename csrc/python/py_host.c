/* The core's host: Python objects for memory, reference counts and names.

   Note [Free lists]
   Plain tensors and nodes come and go by the million, so the memory of a dead one waits in a list for the next:
   tensors in one list, nodes in one for each size class, since a node's size depends on its op. An object in a list
   is untracked and keeps its type, with the reference to it; nothing else of it is read again before it is zeroed. A sanitizer
   sees every object freed: what is used afterwards must stay visible. */
#include "binding.h"
#include "py_hooks.h"

#include <frameobject.h> /* PyFrame_GetBack, before Python 3.11 */

enum { KEPT = HG_FREES_ALL ? 0 : 1024 };
enum { NODE_STEP = 64, NODE_CLASSES = 16 };

typedef struct free_list {
    int n;
    PyObject *first; /* each has the next one where its core was */
} free_list;

static struct {
    free_list tensors;
    free_list nodes[NODE_CLASSES];
} kept;

static PyObject **next_of(PyObject *o) { return (PyObject **)CORE(o) + 1; } /* behind a node's ob_size, which stays */

static inline PyObject *take(free_list *list) {
    PyObject *o = list->first;
    if (o) list->first = *next_of(o), list->n--;
    return o;
}

static inline bool keep(free_list *list, PyObject *o) {
    if (list->n >= KEPT) return false;
    *next_of(o) = list->first;
    list->first = o, list->n++;
    return true;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

static PyObject *tensor_alloc(void) {
    PyObject *o = take(&kept.tensors);
    if (o)
        py_reborn(o);
    else if (!(o = (PyObject *)PyObject_GC_New(py_tensor, hg_py->tensor_type)))
        return NULL;
    memset(CORE(o), 0, sizeof(py_tensor) - sizeof(PyObject));
    ((py_tensor *)o)->dict = hg_py->no_attributes;
    return o;
}

/* The core's first field is what Python calls ob_size: it is set here and left alone by everybody. */
static PyObject *node_alloc(size_t size) {
    size_t class = (sizeof(PyObject) + size + NODE_STEP - 1) / NODE_STEP;
    Py_ssize_t extra = (Py_ssize_t)(class * NODE_STEP - sizeof(py_node));
    PyVarObject *o = class < NODE_CLASSES ? (PyVarObject *)take(&kept.nodes[class]) : NULL;
    if (o)
        py_reborn((PyObject *)o);
    else if (!(o = (PyVarObject *)PyObject_GC_NewVar(py_node, hg_py->node_type, extra)))
        return NULL;
    memset(o + 1, 0, (size_t)extra + sizeof(py_node) - sizeof *o);
    PyObject_GC_Track(o);
    return (PyObject *)o;
}

static PyObject *plain_alloc(PyTypeObject *type) { return type->tp_alloc(type, 0); }

static void *host_alloc(void *ud, hg_kind kind, size_t size) {
    (void)ud;
    PyObject *o = NULL;
    switch (kind) {
    case HG_KIND_TENSOR: o = tensor_alloc(); break;
    case HG_KIND_NODE: o = node_alloc(size); break;
    case HG_KIND_HOOKS: o = plain_alloc(hg_py->hooks_type); break;
    case HG_KIND_TABLE: o = plain_alloc(hg_py->table_type); break;
    case HG_KIND_MODULE: o = plain_alloc(hg_py->module_type); break;
    case HG_N_KINDS: break;
    }
    if (!o) {
        PyErr_Clear(); /* the core says it in its own words */
        return NULL;
    }
    return CORE(o);
}

static void host_free(void *ud, hg_kind kind, void *obj) {
    (void)ud;
    PyObject *o = PY(obj);
    PyTypeObject *type = Py_TYPE(o);
    bool in_list = false;
    if (kind == HG_KIND_TENSOR && type == hg_py->tensor_type) {
        in_list = keep(&kept.tensors, o);
    } else if (kind == HG_KIND_NODE) {
        size_t class = ((size_t)Py_SIZE(o) + sizeof(py_node)) / NODE_STEP;
        in_list = class < NODE_CLASSES && keep(&kept.nodes[class], o);
    }
    if (!in_list) {
        type->tp_free(o);
        Py_DECREF(type);
    } else if (kind == HG_KIND_NODE && type != hg_py->node_type) { /* Python has seen it, as an AddBackward0 */
        Py_SET_TYPE(o, (PyTypeObject *)Py_NewRef((PyObject *)hg_py->node_type));
        Py_DECREF(type);
    }
}

static void host_revive(void *ud, hg_kind kind, void *obj) {
    (void)ud, (void)kind;
    py_reborn(PY(obj));
    PyObject_GC_Track(PY(obj));
}

static void host_dies(void *ud, void *obj) {
    (void)ud;
    _Py_Dealloc(PY(obj));
}

static void host_track(void *ud, hg_kind kind, void *obj) {
    (void)ud, (void)kind;
    if (!PyObject_GC_IsTracked(PY(obj))) PyObject_GC_Track(PY(obj));
}

static void *host_mem(void *ud, void *p, size_t size) {
    (void)ud;
    if (size) return PyMem_Realloc(p, size);
    PyMem_Free(p);
    return NULL;
}

static void *host_unlock(void *ud) {
    (void)ud;
    return PyEval_SaveThread();
}

static void host_lock(void *ud, void *unlocked) {
    (void)ud;
    PyEval_RestoreThread(unlocked);
}

/* ---- References of Python's own --------------------------------------------------------------------------------- */

static void host_hold(void *ud, void *ref) {
    (void)ud;
    Py_INCREF((PyObject *)ref);
}

static void host_drop(void *ud, void *ref) {
    (void)ud;
    Py_DECREF((PyObject *)ref);
}

static void *host_name(void *ud, const char *chars) {
    (void)ud;
    PyObject *name = PyUnicode_InternFromString(chars);
    if (!name) PyErr_Clear();
    return name;
}

static const char *host_name_chars(void *ud, void *name) {
    (void)ud;
    const char *chars = PyUnicode_AsUTF8(name);
    if (!chars) PyErr_Clear();
    return chars ? chars : "?";
}

static size_t host_tuple_size(void *ud, void *tuple) {
    (void)ud;
    return (size_t)PyTuple_GET_SIZE(tuple);
}

static hg_value host_tuple_at(void *ud, void *tuple, size_t i) {
    (void)ud;
    return py_value(PyTuple_GET_ITEM(tuple, i));
}

/* A tuple of the same type. As in PyTorch that is called with the values; where it makes tuples as `tuple` does, or as the types of
   torch.return_types, it takes the tuple. */
static PyObject *retyped(PyObject *tuple, PyObject *like) {
    PyTypeObject *type = Py_TYPE(like);
    bool whole = type->tp_new == PyTuple_Type.tp_new || PyObject_HasAttrString(like, "n_sequence_fields");
    return whole ? PyObject_CallOneArg((PyObject *)type, tuple) : PyObject_CallObject((PyObject *)type, tuple);
}

static hg_status host_tuple_new(void *ud, void *like, const hg_value *at, size_t n, hg_value *out) {
    (void)ud;
    PyObject *tuple = PyTuple_New((Py_ssize_t)n);
    if (!tuple) return PY_FAILED;
    for (size_t i = 0; i < n; i++) PyTuple_SET_ITEM(tuple, i, Py_NewRef(py_value_object(at[i])));
    if (like && !PyTuple_CheckExact((PyObject *)like)) {
        PyObject *made = retyped(tuple, like);
        Py_DECREF(tuple);
        if (!made) return PY_FAILED;
        tuple = made;
    }
    *out = py_value(tuple);
    return HG_OK;
}

/* ---- Attributes of modules -------------------------------------------------------------------------------------- */

static int ints_attr(PyObject *o, int64_t space[8], hg_arg *out) {
    PyObject *items = PySequence_Fast(o, "expected a number or a sequence of numbers");
    if (!items) return -1;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items);
    int failed = n > 8 ? (PyErr_SetString(PyExc_ValueError, "a module's setting has more than 8 numbers"), -1) : 0;
    for (Py_ssize_t i = 0; i < n && !failed; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(items, i);
        if (item == Py_None)
            space[i] = INT64_MIN;
        else
            failed = py_int64(item, &space[i]);
    }
    Py_DECREF(items);
    if (!failed) *out = hg_ints(space, (int)n);
    return failed;
}

static int value_attr(PyObject *o, int kind, int64_t space[8], hg_arg *out) {
    if (o == Py_None) {
        *out = HG_NONE;
        return 0;
    }
    if (PyUnicode_Check(o)) {
        const char *s = PyUnicode_AsUTF8(o);
        *out = hg_s(s);
        return s ? 0 : -1;
    }
    double f = 0;
    int truth;
    switch (kind) {
    case HG_A_TENSOR:
        if (!py_is_tensor(o)) {
            PyErr_Format(PyExc_TypeError, "expected a Tensor, not %.100s", Py_TYPE(o)->tp_name);
            return -1;
        }
        *out = hg_t(TENSOR(Py_NewRef(o))); /* it may have been computed just now: a parametrised weight */
        return 0;
    case HG_A_BOOL:
        if ((truth = PyObject_IsTrue(o)) < 0) return -1;
        *out = hg_b(truth);
        return 0;
    case HG_A_INT:
        if (py_int64(o, &space[0])) return -1;
        *out = hg_i(space[0]);
        return 0;
    case HG_A_FLOAT:
        if (py_double(o, &f)) return -1;
        *out = hg_f(f);
        return 0;
    case HG_A_INTS:
        if (!PyLong_Check(o)) return ints_attr(o, space, out);
        if (py_int64(o, &space[0])) return -1;
        *out = hg_ints(space, 1);
        return 0;
    }
    return PyErr_BadInternalCall(), -1;
}

/* Is a setting of a kind that a layer in C reads? Where it is not, PyTorch's layer hands it on, and the function says what it
   thinks of it: Note [Layers in Python]. */
static bool is_setting(PyObject *o, int kind, PyObject *name) {
#define IS(word) (PyUnicode_CompareWithASCIIString(name, word) == 0)
    switch (kind) {
    case HG_A_STR: return PyUnicode_Check(o);
    case HG_A_INT:
    case HG_A_FLOAT: return !PyUnicode_Check(o) && !PyBool_Check(o);
    case HG_A_BOOL: return PyBool_Check(o) || IS("inplace") || IS("track_running_stats");
    case HG_A_INTS:
        if (PyUnicode_Check(o)) return IS("padding");
        return PyLong_Check(o) ? !PyBool_Check(o)
                               : PyList_Check(o) || PyTuple_Check(o) || (o == Py_None && IS("stride"));
    default: return true;
    }
#undef IS
}

/* A string is borrowed from the module, which keeps its settings while it runs. */
static hg_status host_attr(void *ud, hg_module *m, void *name, int kind, int64_t space[8], hg_arg *out) {
    (void)ud;
    PyObject *o = PyObject_GetAttr(PY(m), name);
    if (!o) return PY_FAILED;
    if (!is_setting(o, kind, name)) {
        hg_ctx *cx = py_ctx();
        Py_DECREF(o);
        return cx ? hg_fail(cx, HG_TYPE, "a setting of a module has another type") : PY_FAILED;
    }
    int failed = value_attr(o, kind, space, out);
    Py_DECREF(o);
    return failed ? PY_FAILED : HG_OK;
}

/* ---- Calling out ------------------------------------------------------------------------------------------------ */

static hg_status host_call(void *ud, hg_module *m, const hg_value *args, size_t n, hg_value *out) {
    (void)ud;
    PyObject *few[9] = {NULL}, **at = few;
    if (n > 8 && !(at = PyMem_New(PyObject *, n + 1))) return PyErr_NoMemory(), PY_FAILED;
    for (size_t i = 0; i < n; i++) at[i + 1] = py_value_object(args[i]);
    PyObject *made = PyObject_Vectorcall(PY(m), at + 1, n | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (at != few) PyMem_Free(at);
    if (!made) return PY_FAILED;
    *out = py_value(made);
    if (out->kind == HG_V_NONE) Py_DECREF(made);
    return HG_OK;
}

/* How many frames up, from 1 on, the first is that runs no function of the package: who called into it. */
static Py_ssize_t level_of_caller(void) {
    PyFrameObject *frame = (PyFrameObject *)Py_XNewRef((PyObject *)PyEval_GetFrame());
    Py_ssize_t level = 1;
    while (frame && py_is_ours(frame)) {
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back, level++;
    }
    Py_XDECREF(frame);
    PyErr_Clear();
    return level;
}

static hg_status host_warn(void *ud, const char *category, const char *words) {
    (void)ud;
    static const char *const names[] = {"UserWarning", "RuntimeWarning", "FutureWarning", "DeprecationWarning"};
    PyObject *classes[] = {PyExc_UserWarning, PyExc_RuntimeWarning, PyExc_FutureWarning, PyExc_DeprecationWarning};
    PyObject *class = PyExc_UserWarning, *module = NULL, *got = NULL;
    bool of_module = !strncmp(category, "module.", 7);
    category += of_module ? 7 : 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(category, names[i])) class = classes[i];
    if (!of_module) return PyErr_WarnEx(class, words, level_of_caller()) ? PY_FAILED : HG_OK;
    if ((module = PyImport_ImportModule("hookgrad.nn.modules.module")))
        got = PyObject_CallMethod(module, "_warn_here", "sO", words, class);
    Py_XDECREF(module);
    Py_XDECREF(got);
    return got ? HG_OK : PY_FAILED;
}

static void host_explain(void *ud, char *words, size_t size) {
    (void)ud;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *chars = text ? PyUnicode_AsUTF8(text) : NULL;
    snprintf(words, size, "%s", chars ? chars : "an exception that cannot be shown");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
}

static void host_show_type(void *ud, hg_value v, char *words, size_t size) {
    (void)ud;
    PyObject *text = PyObject_Repr((PyObject *)Py_TYPE(py_value_object(v)));
    const char *chars = text ? PyUnicode_AsUTF8(text) : NULL;
    if (chars)
        snprintf(words, size, "%s", chars);
    else
        PyErr_Clear();
    Py_XDECREF(text);
}

/* The first of a dict's values that is a tensor: new, NULL failed. */
static PyObject *first_in_dict(PyObject *dict) {
    PyObject *values = PyMapping_Values(dict);
    for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(values); i++) {
        PyObject *found = PyList_GET_ITEM(values, i);
        if (!py_is_tensor(found)) continue;
        Py_INCREF(found);
        Py_DECREF(values);
        return found;
    }
    if (values) PyErr_SetNone(PyExc_StopIteration);
    Py_XDECREF(values);
    return NULL;
}

static hg_status host_first_tensor(void *ud, hg_value v, hg_value *out) {
    (void)ud;
    PyObject *at = Py_NewRef(py_value_object(v));
    while (at && !py_is_tensor(at)) {
        PyObject *zero = PyLong_FromLong(0);
        PyObject *inside = !zero ? NULL : PyDict_Check(at) ? first_in_dict(at) : PyObject_GetItem(at, zero);
        Py_XDECREF(zero);
        if (inside == at) { /* a letter's first letter */
            PyErr_Format(PyExc_TypeError, "there is no tensor in '%.100s' object", Py_TYPE(at)->tp_name);
            Py_CLEAR(inside);
        }
        Py_SETREF(at, inside);
    }
    if (!at) return HG_HOST;
    *out = py_value(at);
    return HG_OK;
}

/* KeyboardInterrupt, SystemExit and their like, which are no Exception. */
static bool host_stopping(void *ud) {
    (void)ud;
    return PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception);
}

#if PY_VERSION_HEX >= 0x030C0000
static void *host_stash(void *ud) {
    (void)ud;
    return PyErr_GetRaisedException();
}

static void raise_stashed(PyObject *value) { PyErr_SetRaisedException(value); }
#else
static void *host_stash(void *ud) {
    (void)ud;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type) return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static void raise_stashed(PyObject *value) {
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(value)), value, PyException_GetTraceback(value));
}
#endif

static void host_unstash(void *ud, void *stashed) {
    PyObject *newer = host_stash(ud);
    if (newer && stashed) PyException_SetContext(newer, stashed); /* steals it */
    if (newer || stashed) raise_stashed(newer ? newer : stashed);
}

void py_host(hg_host *host) {
    *host = (hg_host){
        .alloc = host_alloc,
        .free = host_free,
        .revive = HG_FREES_ALL ? NULL : host_revive, /* see Note [Free lists] */
        .dies = host_dies,
        .track = host_track,
        .mem = host_mem,
        .hold = host_hold,
        .drop = host_drop,
        .name = host_name,
        .name_chars = host_name_chars,
        .tuple_size = host_tuple_size,
        .tuple_at = host_tuple_at,
        .tuple_new = host_tuple_new,
        .attr = host_attr,
        .call = host_call,
        .warn = host_warn,
        .stash = host_stash,
        .unstash = host_unstash,
        .stopping = host_stopping,
        .explain = host_explain,
        .show_type = host_show_type,
        .first_tensor = host_first_tensor,
        .gradients = py_gradients,
        .spread = py_spread,
        .unlock = host_unlock,
        .lock = host_lock,
        .modes = py_modes,
        .set_modes = py_set_modes,
    };
}

/* ---- Cycles and death ------------------------------------------------------------------------------------------- */

typedef struct visitor {
    visitproc visit;
    void *arg;
} visitor;

static int visit_one(void *obj, bool is_core, void *arg) {
    visitor *v = arg;
    return v->visit(is_core ? PY(obj) : (PyObject *)obj, v->arg);
}

int py_core_traverse(hg_kind kind, PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    visitor v = {visit, arg};
    return hg_visit(kind, CORE(self), visit_one, &v);
}

void py_core_clear(hg_kind kind, PyObject *self) { hg_clear(hg_py->lib, kind, CORE(self)); }

void py_core_dealloc(hg_kind kind, PyObject *self) { hg_finalize(hg_py->lib, kind, CORE(self)); }

/* ---- Values ----------------------------------------------------------------------------------------------------- */

hg_value py_value(PyObject *o) {
    if (Py_TYPE(o) == hg_py->tensor_type) return (hg_value){HG_V_TENSOR, TENSOR(o)};
    if (o == Py_None) return (hg_value){HG_V_NONE, NULL};
    if (PyTuple_Check(o)) return (hg_value){HG_V_TUPLE, o};
    if (py_is_tensor(o)) return (hg_value){HG_V_TENSOR, TENSOR(o)};
    return (hg_value){HG_V_OTHER, o};
}

PyObject *py_value_object(hg_value v) {
    switch (v.kind) {
    case HG_V_TENSOR:
    case HG_V_MODULE: return PY(v.obj);
    case HG_V_TUPLE:
    case HG_V_OTHER: return v.obj;
    case HG_V_NONE: break;
    }
    return Py_None;
}
