/* Modes that see each op as it computes: TorchDispatchMode.

   Note [Dispatch]
   While a mode is on, the core tells of every op that is no composite, just before it computes and below the recording of the
   graph: in forward and in backward, whoever calls it. The op becomes a function of the package's (_ops.py) and its arguments
   Python objects; what the mode's __torch_dispatch__ returns stands in for the result, and is recorded as the op's own. The
   modes of a thread are a stack that the package keeps; this file asks it where the thread has any. */
#include "py_op.h"

static _Thread_local int modes; /* how many are on in this thread */
static _Thread_local bool no_duals;
static int modes_anywhere; /* with the GIL held */

/* ---- Arguments as objects ----------------------------------------------------------------------------------------- */

static PyObject *object_of(const hg_arg *a) {
    PyObject *list;
    switch (a->kind) {
    case HG_A_TENSOR: return a->u.t ? Py_NewRef(PY(a->u.t)) : Py_NewRef(Py_None);
    case HG_A_BOOL:
    case HG_A_INT:
    case HG_A_FLOAT: return py_number(a);
    case HG_A_STR: return PyUnicode_FromString(a->u.s);
    case HG_A_DTYPE: return Py_NewRef(hg_py->dtypes[a->u.i]);
    case HG_A_INTS:
    case HG_A_FLOATS:
    case HG_A_TENSORS: break;
    default: Py_RETURN_NONE;
    }
    list = PyList_New(a->n);
    for (uint32_t i = 0; list && i < a->n; i++) {
        PyObject *one = a->kind == HG_A_INTS     ? PyLong_FromLongLong(a->u.ints[i])
                        : a->kind == HG_A_FLOATS ? PyFloat_FromDouble(a->u.floats[i])
                                                 : Py_NewRef(a->u.ts[i] ? PY(a->u.ts[i]) : Py_None);
        if (one)
            PyList_SET_ITEM(list, i, one);
        else
            Py_CLEAR(list);
    }
    return list;
}

static bool is_default(const hg_param *p, const hg_arg *a) {
    const hg_arg *b = &p->fallback;
    if (!p->has_default) return false;
    if (a->kind != b->kind || a->n != b->n) return a->kind == HG_A_NONE && b->kind == HG_A_DEFAULT;
    switch (a->kind) {
    case HG_A_NONE: return true;
    case HG_A_STR: return strcmp(a->u.s, b->u.s) == 0;
    case HG_A_INTS: return !a->n || memcmp(a->u.ints, b->u.ints, a->n * sizeof *a->u.ints) == 0;
    case HG_A_FLOAT: return a->u.f == b->u.f;
    case HG_A_BOOL:
    case HG_A_INT:
    case HG_A_DTYPE: return a->u.i == b->u.i;
    default: return false;
    }
}

/* The arguments as a call would give them: those at the end that are the default are left out. */
static int objects_of(const hg_op_info *info, const hg_arg *a, PyObject **args, PyObject **kwargs) {
    int n = info->n_positional;
    while (n && is_default(&info->params[n - 1], &a[n - 1])) n--;
    *args = PyTuple_New(n), *kwargs = PyDict_New();
    int failed = !*args || !*kwargs;
    for (int i = 0; i < info->n_params && !failed; i++) {
        if (i >= n && is_default(&info->params[i], &a[i])) continue;
        PyObject *one = object_of(&a[i]);
        if (!one)
            failed = 1;
        else if (i < n)
            PyTuple_SET_ITEM(*args, i, one);
        else
            failed = PyDict_SetItemString(*kwargs, info->params[i].name, one), Py_DECREF(one);
    }
    return failed;
}

/* ---- A call ------------------------------------------------------------------------------------------------------- */

/* What the mode returned as an array of tensors from host->mem. */
static hg_status tensors_of(hg_ctx *cx, const hg_op_info *info, PyObject *result, hg_tensor ***made, int *n) {
    bool several = PyTuple_Check(result) || PyList_Check(result);
    Py_ssize_t size = several ? PySequence_Fast_GET_SIZE(result) : 1;
    PyObject **items = several ? PySequence_Fast_ITEMS(result) : &result;
    for (Py_ssize_t i = 0; i < size; i++)
        if (!py_is_tensor(items[i]))
            return hg_fail(cx, HG_TYPE, "Unable to cast the result of %s() to Tensor: __torch_dispatch__ returned a %s",
                           info->name, Py_TYPE(items[i])->tp_name);
    if (!(*made = PyMem_Malloc((size_t)(size ? size : 1) * sizeof **made))) return PyErr_NoMemory(), PY_FAILED;
    for (Py_ssize_t i = 0; i < size; i++) (*made)[i] = TENSOR(Py_NewRef(items[i]));
    *n = (int)size;
    return HG_OK;
}

/* What `by`, called for the op, returns in its place; None, of dual_call, leaves it to the op. */
static hg_status ask(hg_ctx *cx, PyObject *by, const hg_op_info *info, const hg_arg *a, hg_tensor *into,
                     hg_tensor ***made, int *n) {
    PyObject *args, *kwargs, *result = NULL;
    bool was = cx->grad_enabled;
    cx->grad_enabled = false; /* this is below the recording of the graph */
    if (!objects_of(info, a, &args, &kwargs))
        result = PyObject_CallFunction(by, by == hg_py->dual_call ? "iOOOO" : "iOOO", info->id,
                                       into ? Py_True : Py_False, args, kwargs, was ? Py_True : Py_False);
    cx->grad_enabled = was;
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (!result) return PY_FAILED;
    hg_status st = result == Py_None && by == hg_py->dual_call ? HG_OK : tensors_of(cx, info, result, made, n);
    Py_DECREF(result);
    return st;
}

static hg_status calling(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor ***made,
                         int *n) {
    if (hg_py->dual_call && !no_duals) {
        hg_status st = ask(cx, hg_py->dual_call, info, a, into, made, n);
        if (st != HG_OK || *made) return st;
    }
    return modes ? ask(cx, hg_py->dispatch, info, a, into, made, n) : HG_OK;
}

static hg_status known_as(hg_ctx *cx, hg_tensor *t, hg_tensor *as) {
    (void)cx;
    PyObject *got = PyObject_CallFunctionObjArgs(hg_py->dual_as, PY(t), as ? PY(as) : Py_None, NULL);
    Py_XDECREF(got);
    return got ? HG_OK : PY_FAILED;
}

/* ---- For the package ------------------------------------------------------------------------------------------------ */

int py_dispatch_modes(void) { return modes; }

/* _dispatch_modes(by): so many more are on in this thread; returns how many. */
static PyObject *dispatch_modes(PyObject *Py_UNUSED(m), PyObject *by) {
    hg_ctx *cx = py_ctx();
    long step = PyLong_AsLong(by);
    if (!cx || (step == -1 && PyErr_Occurred())) return NULL;
    cx->n_changes++;
    modes += (int)step, modes_anywhere += (int)step;
    hg_watching(cx->lib)->calling = modes_anywhere || hg_py->dual_call ? calling : NULL;
    return PyLong_FromLong(modes);
}

/* _dispatch_duals(call, known_as): there are dual tensors. call(id, inplace, args, kwargs, records) is asked of each op first,
   known_as(t, other) says that what held for t holds for the other one, too; known_as(t, out, name) that the function of that
   name is about to write t into `out`. None, None: there are none any more. */
static PyObject *dispatch_duals(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *call, *as;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OO:_dispatch_duals", &call, &as)) return NULL;
    bool on = call != Py_None;
    Py_XSETREF(hg_py->dual_call, on ? Py_NewRef(call) : NULL);
    Py_XSETREF(hg_py->dual_as, on ? Py_NewRef(as) : NULL);
    hg_watching(cx->lib)->known_as = on ? known_as : NULL;
    hg_watching(cx->lib)->calling = on || modes_anywhere ? calling : NULL;
    Py_RETURN_NONE;
}

static PyObject *has_duals(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(hg_py->dual_call && !no_duals);
}

/* _without_duals(off): whether this thread's ops are not told of dual tensors; returns what was before. */
static PyObject *without_duals(PyObject *Py_UNUSED(m), PyObject *off) {
    bool was = no_duals;
    no_duals = off == Py_True;
    return PyBool_FromLong(was);
}

/* _dispatch_with(call): call(id, inplace, args, kwargs) asks the thread's modes. */
static PyObject *dispatch_with(PyObject *Py_UNUSED(m), PyObject *call) {
    Py_XSETREF(hg_py->dispatch, Py_NewRef(call));
    Py_RETURN_NONE;
}

/* _op_of_row(id, inplace): the row as a function. */
static PyObject *op_of_row(PyObject *Py_UNUSED(m), PyObject *args) {
    int id, inplace;
    if (!PyArg_ParseTuple(args, "ip:_op_of_row", &id, &inplace)) return NULL;
    if (id < 0 || id >= HG_N_OPS) return PyErr_Format(PyExc_IndexError, "there is no row %d", id);
    return py_op_of_row(id, inplace);
}

static PyMethodDef functions[] = {
    {"_dispatch_modes", dispatch_modes, METH_O, NULL},
    {"_dispatch_duals", dispatch_duals, METH_VARARGS, NULL},
    {"_has_duals", has_duals, METH_NOARGS, NULL},
    {"_without_duals", without_duals, METH_O, NULL},
    {"_dispatch_with", dispatch_with, METH_O, NULL},
    {"_op_of_row", op_of_row, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int py_dispatch_init(PyObject *m) { return PyModule_AddFunctions(m, functions); }
