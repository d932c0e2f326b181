/* What sees each op as it computes: TorchDispatchMode, and tensor classes with a __torch_dispatch__.

   Note [Dispatch]
   While a mode is on, or once there is such a class, the core tells of every op that is no composite, just before it computes
   and below the recording of the graph: in forward and in backward, whoever calls it. The op becomes a function of the package's
   (_ops.py) and its arguments Python objects; what __torch_dispatch__ returns stands in for the result, and gets the op's
   history. The modes of a thread are a stack that the package keeps; this file asks it where the thread has any, or where one of
   the arguments is of a class that wants it. Meanwhile nothing is recorded, while the gradient mode shows what it was.
   A class may make its tensors hollow (Tensor._make_wrapper_subclass): they have a shape, and no values of their own. */
#include "py_op.h"

static _Thread_local int modes;    /* how many are on in this thread */
static _Thread_local int no_duals; /* 2: of the innermost only */
static _Thread_local int off;      /* how many blocks deep in which nobody is asked */
static int modes_anywhere;         /* with the GIL held */
static int transforms;             /* threads in transforms of torch.func */
static bool classes;               /* is there a class that dispatches? */

/* ---- Who is asked --------------------------------------------------------------------------------------------------- */

static bool class_dispatches(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == hg_py->tensor_type) return false;
    PyObject *found = _PyType_Lookup(type, NAME(__torch_dispatch__));
    return found && found != hg_py->no_dispatch;
}

bool py_dispatches(PyObject *tensor) { return classes && !off && class_dispatches(tensor); }

static hg_seen seeing(const hg_tensor *t) {
    if (t && py_this_ctx && hg_maps_of(py_this_ctx, t)) return HG_SEEN_BY_CLASS;
    if (off) return HG_UNSEEN;
    if (t && py_dispatches(PY(t))) return HG_SEEN_BY_CLASS;
    return modes || (t && hg_is_meta(t)) ? HG_SEEN : HG_UNSEEN;
}

static bool any_dispatches(const hg_op_info *info, const hg_arg *a) {
    for (int i = 0; i < info->n_params; i++) {
        if (a[i].kind == HG_A_TENSOR && a[i].u.t && class_dispatches(PY(a[i].u.t))) return true;
        for (uint32_t j = 0; a[i].kind == HG_A_TENSORS && j < a[i].n; j++)
            if (a[i].u.ts[j] && class_dispatches(PY(a[i].u.ts[j]))) return true;
    }
    return false;
}

/* ---- Arguments as objects ----------------------------------------------------------------------------------------- */

static const char *const format_names[] = {
    [HG_FORMAT_CONTIGUOUS] = "contiguous_format",
    [HG_FORMAT_PRESERVE] = "preserve_format",
    [HG_FORMAT_CHANNELS_LAST] = "channels_last",
    [HG_FORMAT_CHANNELS_LAST_3D] = "channels_last_3d",
};

static PyObject *object_of(const hg_arg *a) {
    PyObject *list;
    switch (a->kind) {
    case HG_A_TENSOR: return a->u.t ? Py_NewRef(PY(a->u.t)) : Py_NewRef(Py_None);
    case HG_A_BOOL:
    case HG_A_INT:
    case HG_A_FLOAT: return py_number(a);
    case HG_A_STR: return PyUnicode_FromString(a->u.s);
    case HG_A_DTYPE: return Py_NewRef(hg_py->dtypes[a->u.i]);
    case HG_A_FORMAT: return PyObject_GetAttrString(hg_py->module, format_names[a->u.i]);
    case HG_A_GENERATOR: return py_generator_object_of(a->u.g);
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
    if (a->kind == HG_A_DEFAULT || (a->kind == HG_A_FORMAT && a->u.i == HG_FORMAT_PRESERVE)) return true;
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
    if (failed || !py_makes_tensors(info)) return failed;
    bool like = info->n_params && a[0].kind == HG_A_TENSOR; /* where that one is */
    failed = (!like && PyDict_SetItem(*kwargs, NAME(device), hg_py->cpu)) ||
             PyDict_SetItem(*kwargs, NAME(pin_memory), Py_False);
    return failed;
}

/* ---- A call ------------------------------------------------------------------------------------------------------- */

static hg_status refuse(hg_ctx *cx, PyObject *result, const char *to) {
    PyObject *words = PyUnicode_FromFormat("Unable to cast %R to %s", result, to);
    const char *chars = words ? PyUnicode_AsUTF8(words) : NULL;
    hg_status st = chars ? hg_fail(cx, HG_STATE, "%s", chars) : PY_FAILED;
    Py_XDECREF(words);
    return st;
}

/* What was returned as an array of tensors from host->mem. Functions that compare two tensors as a whole give a bool. */
static hg_status tensors_of(hg_ctx *cx, const hg_op_info *info, PyObject *result, hg_tensor ***made, int *n) {
    bool one = info->n_out == 1, several = PyTuple_Check(result) || PyList_Check(result);
    if (!one && !several)
        return hg_fail(cx, HG_STATE, "Object of type '%s' is not an instance of 'sequence'", Py_TYPE(result)->tp_name);
    Py_ssize_t size = one ? 1 : PySequence_Fast_GET_SIZE(result);
    PyObject **items = one ? &result : PySequence_Fast_ITEMS(result);
    if (!(*made = PyMem_Calloc((size_t)(size ? size : 1), sizeof **made))) return PyErr_NoMemory(), PY_FAILED;
    for (; *n < size; ++*n) {
        PyObject *item = items[*n];
        if (PyBool_Check(item) && info->id == HG_OP_EQUAL) {
            if (!(item = py_as_tensor(item, HG_NO_DTYPE, true))) return PY_FAILED;
        } else if (!py_is_tensor(item)) {
            return refuse(cx, item, "Tensor");
        } else {
            Py_INCREF(item);
        }
        (*made)[*n] = TENSOR(item);
    }
    return HG_OK;
}

static void drop(hg_tensor ***made, int n) {
    for (int i = 0; *made && i < n; i++) Py_DECREF(PY((*made)[i]));
    PyMem_Free(*made);
    *made = NULL;
}

/* What `whom` returns in the op's place; None leaves it to the op. */
static hg_status ask_first(hg_ctx *cx, PyObject *whom, const hg_op_info *info, const hg_arg *a, hg_tensor *into,
                           hg_tensor ***made, int *n) {
    PyObject *args, *kwargs, *result = NULL;
    bool was = cx->grad_enabled, own = cx->run || no_duals;
    cx->grad_enabled = false; /* this is below the recording of the graph */
    if (!objects_of(info, a, &args, &kwargs))
        result = PyObject_CallFunction(whom, "iOOOOO", info->id, into ? Py_True : Py_False, args, kwargs,
                                       was ? Py_True : Py_False, own ? Py_True : Py_False);
    cx->grad_enabled = was;
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (!result) return PY_FAILED;
    hg_status st = result == Py_None ? HG_OK : tensors_of(cx, info, result, made, n);
    Py_DECREF(result);
    if (st != HG_OK) drop(made, *n);
    return st;
}

typedef struct surroundings {
    bool grad, below, mode;
} surroundings;

static surroundings go_below(hg_ctx *cx) {
    surroundings was = {cx->grad_enabled, cx->below, cx->mode_below};
    if (!cx->below) cx->mode_below = cx->grad_enabled;
    cx->below = true, cx->grad_enabled = false;
    return was;
}

static void come_back(hg_ctx *cx, surroundings was) {
    cx->grad_enabled = was.grad, cx->below = was.below, cx->mode_below = was.mode;
}

/* Steals args and kwargs, which may be NULL: failed. */
static PyObject *ask(hg_ctx *cx, int id, bool inplace, PyObject *args, PyObject *kwargs) {
    PyObject *result = NULL;
    if (args && kwargs) {
        surroundings was = go_below(cx);
        result = PyObject_CallFunction(hg_py->dispatch, "iOOO", id, inplace ? Py_True : Py_False, args, kwargs);
        come_back(cx, was);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

/* Does the package have to look at the call, in the transforms that this thread is in? Note [Levels] in op.c. */
static bool asks_transforms(const hg_ctx *cx, const hg_op_info *info, const hg_arg *a, const hg_tensor *into) {
    if (hg_innermost_map(cx, info, a)) return true;
    if (cx->run) return false;                                                /* a derivative knows what it does */
    if (cx->derives & HG_ASKS && !cx->grad_enabled && !no_duals) return true; /* a tangent would pass */
    if (into && !no_duals && ((cx->derives & HG_LEVELS) | (hg_levels_of(cx, info, a, 1) & cx->maps)) & ~into->levels)
        return true;
    if (!cx->maps) return false;
    for (int i = 0; i < info->n_params; i++)
        if (info->params[i].kind == HG_A_GENERATOR) return true;
    return info->id == HG_OP_DROPOUT_MASK;
}

static hg_status calling(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, hg_tensor *into, hg_tensor ***made,
                         int *n) {
    if (hg_py->dual_call && no_duals != 1) {
        hg_status told = ask_first(cx, hg_py->dual_call, info, a, into, made, n);
        if (told != HG_OK || *made) return told;
    }
    if (cx->maps | cx->derives && asks_transforms(cx, info, a, into)) {
        hg_status told = ask_first(cx, hg_py->transform_call, info, a, into, made, n);
        if (told != HG_OK || *made) return told;
    }
    if (off || (!modes && !(classes && any_dispatches(info, a)))) return HG_OK;
    PyObject *args, *kwargs;
    if (objects_of(info, a, &args, &kwargs)) Py_CLEAR(args);
    PyObject *result = ask(cx, info->id, into, args, kwargs);
    if (!result) return PY_FAILED;
    hg_status st = HG_OK;
    if (!into)
        st = tensors_of(cx, info, result, made, n);
    else if (result != Py_None && !py_is_tensor(result))
        st = refuse(cx, result, "Tensor");
    else if (!(*made = PyMem_Malloc(1))) /* that it was called is all there is to say */
        st = hg_no_memory(cx);
    Py_DECREF(result);
    if (st != HG_OK) drop(made, *n);
    return st;
}

PyObject *py_dispatch_out(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, PyObject *out) {
    if (off || info->op->flags & HG_ROW_COMPOSITE) return NULL;
    if (!modes && !(classes && (any_dispatches(info, a) || (py_is_tensor(out) && class_dispatches(out))))) return NULL;
    PyObject *args, *kwargs, *result = NULL;
    if (objects_of(info, a, &args, &kwargs) || PyDict_SetItem(kwargs, NAME(out), out)) Py_CLEAR(args);
    result = ask(cx, info->id, false, args, kwargs);
    if (!result) return NULL;
    Py_DECREF(result);
    return Py_NewRef(out);
}

PyObject *py_dispatch_fresh(PyObject *made) {
    if (!made || !modes || off) return made;
    PyObject *args = PyTuple_Pack(1, made);
    Py_DECREF(made);
    return ask(py_this_ctx, -2, false, args, PyDict_New());
}

PyObject *py_dispatch_data(PyObject *self, PyObject *data) {
    if (!data || off || !modes || py_dispatches(self)) return data; /* a class has been asked */
    PyObject *seen = ask(py_this_ctx, -3, false, PyTuple_Pack(1, self), PyDict_New());
    if (!seen) Py_CLEAR(data);
    Py_XDECREF(seen);
    return data;
}

/* The number in t, where it is not what lies in its memory. */
static hg_status reading(hg_ctx *cx, hg_tensor *t, hg_arg *out) {
    if (py_hides(PY(t), PY_ITEM)) return PY_FAILED;
    if ((off || !modes) && !py_dispatches(PY(t))) return HG_OK; /* it is the same for all samples */
    PyObject *result = ask(cx, -1, false, PyTuple_Pack(1, PY(t)), PyDict_New());
    match got = result ? py_number_arg(result, out) : MATCH_FAILED;
    hg_status st = got == MATCH_YES ? HG_OK : PY_FAILED;
    if (got == MATCH_NO) st = refuse(cx, result, "number");
    Py_XDECREF(result);
    return st;
}

static hg_status known_as(hg_ctx *cx, hg_tensor *t, hg_tensor *as) {
    PyObject *got = NULL, *other = as ? PY(as) : Py_None;
    if (hg_maps_of(cx, t)) {
        if (!(got = PyObject_CallFunction(hg_py->transform_call, "siOO", "as", t->levels, PY(t), other)))
            return PY_FAILED;
        Py_DECREF(got);
    }
    if (hg_py->dual_as && !(got = PyObject_CallFunctionObjArgs(hg_py->dual_as, PY(t), other, NULL))) return PY_FAILED;
    if (hg_py->dual_as) Py_DECREF(got);
    return HG_OK;
}

/* ---- For the package ------------------------------------------------------------------------------------------------ */

int py_dispatch_modes(void) { return modes; }

static void watch(hg_ctx *cx) {
    hg_watch *w = hg_watching(cx->lib);
    w->seeing = seeing, w->reading = reading;
    w->known_as = hg_py->dual_call || transforms ? known_as : NULL;
    w->calling = modes_anywhere || transforms || classes || hg_py->dual_call || hg_has_metas(cx->lib) ? calling : NULL;
}

/* _dispatch_modes(by): so many more are on in this thread; returns how many. */
static PyObject *dispatch_modes(PyObject *Py_UNUSED(m), PyObject *by) {
    hg_ctx *cx = py_ctx();
    long step = PyLong_AsLong(by);
    if (!cx || (step == -1 && PyErr_Occurred())) return NULL;
    cx->n_changes++;
    modes += (int)step, modes_anywhere += (int)step;
    hg_py->n_replaced += step; /* layers go by Python's calls: Note [Layers in Python] */
    watch(cx);
    return PyLong_FromLong(modes);
}

/* _dispatch_transforms(maps, derives, call): the levels that this thread is in. call(id, inplace, args, kwargs, records, own) is
   asked of ops that they may refuse or that are of samples; `own`: it is a derivative's, which knows what it does. call("item",
   levels, tensor): a number is wanted of it; call("as", levels, tensor, other): what is known of it holds for the other. */
static PyObject *dispatch_transforms(PyObject *Py_UNUSED(m), PyObject *args) {
    int maps, derives;
    PyObject *call;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "iiO:_dispatch_transforms", &maps, &derives, &call)) return NULL;
    transforms += !!(maps | derives) - !!(cx->maps | cx->derives);
    cx->maps = (uint8_t)maps, cx->derives = (uint8_t)derives;
    Py_XSETREF(hg_py->transform_call, Py_NewRef(call));
    watch(cx);
    Py_RETURN_NONE;
}

/* _levels(tensor, levels): it is of these, too; 64: a map knows it. */
static PyObject *levels(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *t;
    int more;
    if (!PyArg_ParseTuple(args, "O!i:_levels", hg_py->tensor_type, &t, &more)) return NULL;
    TENSOR(t)->levels |= (uint8_t)more & HG_LEVELS;
    if (more & 64) TENSOR(t)->in_map = 1;
    return PyLong_FromLong(TENSOR(t)->levels);
}

bool py_is_sample(PyObject *self) {
    const hg_ctx *cx = py_this_ctx;
    return cx && hg_maps_of(cx, TENSOR(self)) > (TENSOR(self)->levels & cx->derives);
}

/* Does the package refuse it, told the word for it and the levels? */
static bool refuses(const char *what, int levels, PyObject *t) {
    PyObject *got = levels ? PyObject_CallFunction(hg_py->transform_call, "siO", what, levels, t) : NULL;
    Py_XDECREF(got);
    return levels && !got;
}

bool py_hides(PyObject *self, py_reading what) {
    static const char *const words[] = {"item", "bool", "data", "numpy", "allclose", ".data", ".data="};
    hg_ctx *cx = py_this_ctx;
    if (!cx) return false;
    int derives = what == PY_NUMPY ? TENSOR(self)->levels & cx->derives : 0;
    return refuses(words[what], what >= PY_DATA ? py_is_sample(self) : hg_maps_of(cx, TENSOR(self)) | derives, self);
}

bool py_refuses_hooks(void) { return py_this_ctx && refuses("hook", py_this_ctx->derives & HG_ASKS, Py_None); }

/* _dispatch_duals(call, known_as): there are dual tensors. call(id, inplace, args, kwargs, records, own) is asked of each op
   first, known_as(t, other) says that what held for t holds for the other one, too; known_as(t, out, name) that the function
   of that name is about to write t into `out`. None, None: there are none any more. */
static PyObject *dispatch_duals(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *call, *as;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "OO:_dispatch_duals", &call, &as)) return NULL;
    bool on = call != Py_None;
    Py_XSETREF(hg_py->dual_call, on ? Py_NewRef(call) : NULL);
    Py_XSETREF(hg_py->dual_as, on ? Py_NewRef(as) : NULL);
    watch(cx);
    Py_RETURN_NONE;
}

static PyObject *has_duals(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    return PyBool_FromLong(hg_py->dual_call && no_duals != 1);
}

/* _without_duals(off): whether this thread's ops are not told of dual tensors, or (2) only of those of the levels around; returns
   what was before. */
static PyObject *without_duals(PyObject *Py_UNUSED(m), PyObject *off) {
    int was = no_duals;
    no_duals = (int)PyLong_AsLong(off);
    return PyLong_FromLong(was);
}

/* _is_alias_of(a, b): do they lie in the same memory? */
static PyObject *is_alias_of(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *a, *b;
    if (!PyArg_ParseTuple(args, "O!O!:_is_alias_of", hg_py->tensor_type, &a, hg_py->tensor_type, &b)) return NULL;
    hg_storage *of_a = TENSOR(a)->storage, *of_b = TENSOR(b)->storage;
    return PyBool_FromLong(of_a && of_b && hg_storage_own(of_a) == hg_storage_own(of_b));
}

/* _dispatch_classes(): there is a class that dispatches. */
static PyObject *dispatch_classes(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    classes = true;
    watch(cx);
    Py_RETURN_NONE;
}

/* _dispatches(o): is its class asked about ops? Of a list or tuple: is that of one of the items, or a mode? */
static PyObject *dispatches(PyObject *Py_UNUSED(m), PyObject *o) {
    bool found = classes && py_is_tensor(o) && py_dispatches(o);
    bool several = PyList_Check(o) || PyTuple_Check(o);
    if (several && modes && !off) Py_RETURN_TRUE;
    Py_ssize_t n = classes && several ? PySequence_Fast_GET_SIZE(o) : 0;
    for (Py_ssize_t i = 0; i < n && !found; i++) {
        PyObject *one = PySequence_Fast_GET_ITEM(o, i);
        found = py_is_tensor(one) && py_dispatches(one);
    }
    return PyBool_FromLong(found);
}

/* _dispatch_off(by): by 1 in a block in which nobody is asked, by -1 at its end. */
static PyObject *dispatch_off(PyObject *Py_UNUSED(m), PyObject *by) {
    long step = PyLong_AsLong(by);
    if (step == -1 && PyErr_Occurred()) return NULL;
    off += (int)step;
    Py_RETURN_NONE;
}

/* _dispatch_above(was): record operations again within a __torch_dispatch__; back with what that returned. */
static PyObject *dispatch_above(PyObject *Py_UNUSED(m), PyObject *was) {
    hg_ctx *cx = py_ctx();
    int grad, below, mode;
    if (!cx) return NULL;
    if (was != Py_None) {
        if (!PyArg_ParseTuple(was, "ppp:_dispatch_above", &grad, &below, &mode)) return NULL;
        come_back(cx, (surroundings){grad, below, mode});
        Py_RETURN_NONE;
    }
    PyObject *now = Py_BuildValue("iii", cx->grad_enabled, cx->below, cx->mode_below);
    if (now) cx->grad_enabled = *hg_grad_mode(cx), cx->below = false;
    return now;
}

/* _disabled_torch_dispatch_impl(func, types, args, kwargs): what Tensor has as __torch_dispatch__: run the function. */
static PyObject *no_dispatch(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *function, *types, *positional = hg_py->empty_tuple, *kwargs = NULL;
    if (!PyArg_ParseTuple(args, "OO|OO:_disabled_torch_dispatch_impl", &function, &types, &positional, &kwargs) ||
        !(positional = PySequence_Tuple(positional)))
        return NULL;
    off++;
    PyObject *made = PyObject_Call(function, positional, kwargs == Py_None ? NULL : kwargs);
    off--;
    Py_DECREF(positional);
    return made;
}

/* _hollow(class, dtype, size, strides, offset, bytes): a tensor of that class that has no values. */
static PyObject *hollow(PyObject *Py_UNUSED(m), PyObject *args) {
    PyTypeObject *type;
    PyObject *dtype, *size, *strides;
    int64_t shape[HG_MAX_DIM], stride[HG_MAX_DIM];
    int n = 0, n_strides = 0;
    long long offset, bytes;
    hg_dtype d;
    hg_tensor *data;
    hg_ctx *cx = py_ctx();
    if (!cx ||
        !PyArg_ParseTuple(args, "O!OOOLL:_hollow", &PyType_Type, &type, &dtype, &size, &strides, &offset, &bytes) ||
        py_dtype(dtype, &d) || py_ints(size, shape, &n, "_hollow", "size") ||
        py_ints(strides, stride, &n_strides, "_hollow", "strides"))
        return NULL;
    if (n != n_strides || !PyType_IsSubtype(type, hg_py->tensor_type))
        return PyErr_SetString(PyExc_RuntimeError, "a tensor class, and as many strides as sizes, were expected"), NULL;
    hg_status st = hg_tensor_hollow(cx, d, n, shape, stride, offset, (size_t)bytes, &data);
    if (st != HG_OK) return py_raise(cx, st);
    PyObject *self = type->tp_alloc(type, 0);
    if (self) st = hg_tensor_set_data(cx, TENSOR(self), data);
    hg_release(cx, data);
    if (st == HG_OK) return self;
    Py_DECREF(self);
    return py_raise(cx, st);
}

/* _is_hollow(tensor) */
static PyObject *is_hollow(PyObject *Py_UNUSED(m), PyObject *o) {
    return PyBool_FromLong(py_is_tensor(o) && hg_is_hollow(TENSOR(o)));
}

/* _share(tensor, of): it counts its versions with the other, and lies in its storage where both are hollow. */
static PyObject *share(PyObject *Py_UNUSED(m), PyObject *args) {
    PyObject *t, *of;
    hg_ctx *cx = py_ctx();
    if (!cx || !PyArg_ParseTuple(args, "O!O!:_share", hg_py->tensor_type, &t, hg_py->tensor_type, &of)) return NULL;
    hg_status st = hg_share(cx, TENSOR(t), TENSOR(of));
    if (st != HG_OK) return py_raise(cx, st);
    Py_RETURN_NONE;
}

/* _dispatch_with(call): call(id, inplace, args, kwargs) asks. */
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
    {"_dispatch_transforms", dispatch_transforms, METH_VARARGS, NULL},
    {"_levels", levels, METH_VARARGS, NULL},
    {"_has_duals", has_duals, METH_NOARGS, NULL},
    {"_without_duals", without_duals, METH_O, NULL},
    {"_is_alias_of", is_alias_of, METH_VARARGS, NULL},
    {"_dispatch_classes", dispatch_classes, METH_NOARGS, NULL},
    {"_dispatches", dispatches, METH_O, NULL},
    {"_dispatch_off", dispatch_off, METH_O, NULL},
    {"_dispatch_above", dispatch_above, METH_O, NULL},
    {"_dispatch_with", dispatch_with, METH_O, NULL},
    {"_disabled_torch_dispatch_impl", no_dispatch, METH_VARARGS,
     "The __torch_dispatch__ of tensors that count as plain ones: it runs the function."},
    {"_hollow", hollow, METH_VARARGS, NULL},
    {"_is_hollow", is_hollow, METH_O, NULL},
    {"_share", share, METH_VARARGS, NULL},
    {"_op_of_row", op_of_row, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int py_dispatch_init(PyObject *m) {
    if (PyModule_AddFunctions(m, functions)) return -1;
    hg_py->no_dispatch = PyObject_GetAttrString(m, "_disabled_torch_dispatch_impl");
    return hg_py->no_dispatch ? 0 : -1;
}
