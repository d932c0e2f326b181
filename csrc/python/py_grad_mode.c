/* Whether operations are recorded, for the length of a block: the base of no_grad and enable_grad, and a call without. */
#include "binding.h"

typedef struct grad_mode {
    PyObject_HEAD
    bool mode; /* inside the block */
    bool was;  /* before it */
} grad_mode;

#define GRAD_MODE(o) ((grad_mode *)(o))

/* The class says which mode: `_mode`. With a function it decorates that at once: `@no_grad` stands for `@no_grad()`. */
static PyObject *mode_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"function", NULL};
    PyObject *function = NULL;
    if ((PyTuple_GET_SIZE(args) || kwargs) &&
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:GradMode", names, &function))
        return NULL;
    PyObject *self = type->tp_alloc(type, 0);
    if (!self) return NULL;
    GRAD_MODE(self)->mode = _PyType_Lookup(type, NAME(_mode)) == Py_True;
    if (!function || function == Py_None) return self;
    PyObject *decorated = PyObject_CallOneArg(self, function);
    Py_DECREF(self);
    return decorated;
}

/* Modes see it as the function that it is in torch. */
static PyObject *change(hg_ctx *cx, bool mode) {
    if (hg_py->function_modes)
        return PyObject_CallMethod(hg_py->module, "_set_grad_enabled", "O", mode ? Py_True : Py_False);
    *hg_grad_mode(cx) = mode;
    Py_RETURN_NONE;
}

static PyObject *mode_enter(PyObject *self, PyObject *none) {
    (void)none;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    GRAD_MODE(self)->was = *hg_grad_mode(cx);
    return change(cx, GRAD_MODE(self)->mode);
}

static PyObject *mode_exit(PyObject *self, PyObject *const *args, Py_ssize_t n) {
    (void)args, (void)n;
    hg_ctx *cx = py_ctx();
    return cx ? change(cx, GRAD_MODE(self)->was) : NULL;
}

static int mode_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void mode_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef mode_methods[] = {
    {"__enter__", mode_enter, METH_NOARGS, NULL},
    {"__exit__", FAST(mode_exit), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef mode_members[] = {
    {"prev", T_BOOL, offsetof(grad_mode, was), 0, "Whether operations were recorded before the block."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot mode_slots[] = {
    {Py_tp_new, mode_new},
    {Py_tp_dealloc, mode_dealloc},
    {Py_tp_traverse, mode_traverse},
    {Py_tp_methods, mode_methods},
    {Py_tp_members, mode_members},
    {Py_tp_doc,
     "GradMode()\n--\n\nOperations are recorded, or not, for the length of a block: the class's `_mode` says which."},
    {0, NULL},
};

static PyType_Spec mode_spec = {
    "hookgrad._C.GradMode", sizeof(grad_mode), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE, mode_slots};

static PyObject *without_grad(PyObject *Py_UNUSED(m), PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (!n) return PyErr_SetString(PyExc_TypeError, "_without_grad() takes a callable and its arguments"), NULL;
    bool was = cx->grad_enabled;
    PyObject *changed = change(cx, false);
    PyObject *made = changed ? PyObject_Vectorcall(args[0], args + 1, (size_t)(n - 1), kwnames) : NULL;
    if (made && hg_py->function_modes) {
        Py_SETREF(changed, change(cx, was));
        if (!changed) Py_CLEAR(made);
    }
    Py_XDECREF(changed);
    cx->grad_enabled = was;
    return made;
}

static PyMethodDef functions[] = {
    {"_without_grad", FAST(without_grad), KEYWORDS,
     "(function, *args, **kwargs): what it returns where operations are not recorded."},
    {NULL, NULL, 0, NULL},
};

int py_grad_mode_init(PyObject *m) {
    return py_type_add(m, &hg_py->grad_mode_type, &mode_spec, NULL) || PyModule_AddFunctions(m, functions) ? -1 : 0;
}
