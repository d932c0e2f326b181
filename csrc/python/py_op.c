/* Ops as Python calls them: `torch.add`, `Tensor.add`, `Tensor.add_`, made from the table at import. */
#include "py_op.h"
#include "py_tensor.h"

/* ---- Results ---------------------------------------------------------------------------------------------------- */

/* torch.return_types.max(
   values=tensor(3.),
   indices=tensor(2)) */
static PyObject *result_repr(PyObject *self) {
    PyObject *words = PyUnicode_FromFormat("%s(", Py_TYPE(self)->tp_name);
    for (Py_ssize_t i = 0; words && i < PyTuple_GET_SIZE(self); i++) {
        PyObject *next = PyUnicode_FromFormat("%U%s\n%s=%R", words, i ? "," : "", Py_TYPE(self)->tp_members[i].name,
                                              PyTuple_GET_ITEM(self, i));
        Py_DECREF(words);
        words = next;
    }
    PyObject *all = words ? PyUnicode_FromFormat("%U)", words) : NULL;
    Py_XDECREF(words);
    return all;
}

/* The named tuple an op with named results returns, or returns where it was given out=; made at first use; borrowed. */
static PyTypeObject *result_type(const hg_op_info *info, bool out) {
    PyObject **slot = &hg_py->result_types[out][info->id];
    if (*slot) return (PyTypeObject *)*slot;
    PyStructSequence_Field fields[HG_MAX_OUT + 1] = {{NULL, NULL}};
    for (int i = 0; i < info->n_out; i++) fields[i].name = info->out_names[i];
    /* The type keeps the pointer to its name; types live as long as the process. */
    const size_t size = 80;
    char *name = PyMem_Malloc(size);
    if (!name) return PyErr_NoMemory(), NULL;
    bool function = info->op->flags & (HG_ROW_FUNCTION | HG_ROW_METHOD | HG_ROW_NN);
    const char *own = info->name + !strncmp(info->name, "_linalg_", 8); /* as the public function says it */
    PyOS_snprintf(name, size, "torch.return_types.%s%s%s", function ? "" : "linalg_", own, out ? "_out" : "");
    PyStructSequence_Desc desc = {name, NULL, fields, info->n_out};
    PyTypeObject *type = PyStructSequence_NewType(&desc);
    if (!type) {
        PyMem_Free(name);
        return NULL;
    }
    type->tp_repr = result_repr;
    PyObject *home = PyImport_ImportModule("hookgrad.return_types"); /* where pickles find it: torch's in a script */
    PyObject *module = home ? PyObject_GetAttrString(home, "__name__") : NULL;
    int failed = module ? PyObject_SetAttr((PyObject *)type, NAME(__module__), module) : -1;
    Py_XDECREF(module);
    Py_XDECREF(home);
    if (failed) {
        Py_DECREF(type);
        return NULL;
    }
    *slot = (PyObject *)type;
    return type;
}

/* Tensors as a tuple, which takes their references over (also on failure). */
static PyObject *tuple_of(hg_ctx *cx, PyTypeObject *type, hg_tensor **at, int n) {
    PyObject *made = type ? PyStructSequence_New(type) : PyTuple_New(n);
    for (int i = 0; i < n; i++) {
        if (made)
            PyTuple_SET_ITEM(made, i, py_own(at[i])); /* a named tuple is a tuple */
        else
            hg_release(cx, at[i]);
    }
    if (made && !PyObject_GC_IsTracked(made)) PyObject_GC_Track(made); /* Python leaves that of named tuples to us */
    return made;
}

static bool any_requires_grad(const bound *b, int n) {
    for (int i = 0; i < n; i++) {
        if (b->at[i].kind == HG_A_TENSOR && hg_tensor_requires_grad(b->at[i].u.t)) return true;
        if (b->at[i].kind != HG_A_TENSORS) continue;
        for (uint32_t j = 0; j < b->at[i].n; j++)
            if (b->at[i].u.ts[j] && hg_tensor_requires_grad(b->at[i].u.ts[j])) return true;
    }
    return false;
}

/* arange(), linspace() and logspace() fill an `out` of as many elements in its own order, whatever its shape. */
static bool is_row_of_numbers(const py_op *op) { return strstr(op->chars, "space") || !strcmp(op->chars, "arange"); }

static PyObject *fill_in_order(hg_ctx *cx, hg_tensor *row, hg_tensor *out) {
    hg_tensor *shaped;
    hg_status st = hg_call_op(cx, HG_OP_RESHAPE, (hg_arg[]){hg_t(row), hg_ints(out->shape, out->n_dim)}, 2, &shaped);
    if (st != HG_OK) return py_raise(cx, st);
    st = hg_call_inplace(cx, HG_OP_COPY_, (hg_arg[]){hg_t(out), hg_t(shaped)}, 2);
    hg_release(cx, shaped);
    return st == HG_OK ? Py_NewRef(PY(out)) : py_raise(cx, st);
}

/* out= of an op with several results is a tuple of as many tensors, or a list. New. */
static PyObject *finish_out(hg_ctx *cx, const py_op *op, const hg_op_info *info, PyObject *made, PyObject *out) {
    bool several = PyTuple_Check(made);
    Py_ssize_t n = several ? PyTuple_GET_SIZE(made) : 1;
    hg_status st = HG_OK;
    bool fits = several ? (PyTuple_Check(out) || PyList_Check(out)) && PySequence_Fast_GET_SIZE(out) == n
                        : py_is_tensor(out);
    for (Py_ssize_t i = 0; i < n && fits && several; i++) fits = py_is_tensor(PySequence_Fast_GET_ITEM(out, i));
    if (!fits) {
        PyErr_Format(PyExc_TypeError, "%s(): argument 'out' must be %s, not %.100s", op->chars,
                     several ? "tuple of Tensors" : "Tensor", Py_TYPE(out)->tp_name);
        return NULL;
    }
    if (!several && is_row_of_numbers(op) && TENSOR(made)->numel == TENSOR(out)->numel)
        return fill_in_order(cx, TENSOR(made), TENSOR(out));
    for (Py_ssize_t i = 0; i < n && st == HG_OK; i++)
        st = hg_put_out(cx, info, TENSOR(several ? PyTuple_GET_ITEM(made, i) : made),
                        TENSOR(several ? PySequence_Fast_GET_ITEM(out, i) : out));
    if (st != HG_OK) return py_raise(cx, st);
    if (!several || !info->out_names[0][0]) return several ? PySequence_Tuple(out) : Py_NewRef(out);
    PyTypeObject *type = result_type(info, true);
    return type ? PyObject_CallOneArg((PyObject *)type, out) : NULL;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

PyObject *py_call_inplace(hg_ctx *cx, int id, const hg_arg *a, int n) {
    hg_status st = hg_call_inplace(cx, id, a, n);
    return st == HG_OK ? Py_NewRef(PY(a[0].u.t)) : py_raise(cx, st);
}

static PyObject *call_row(hg_ctx *cx, const py_op *op, const op_row *row, const bound *b) {
    const hg_op_info *info = row->info;
    if (op->inplace) return py_call_inplace(cx, info->id, b->at, info->n_params);
    hg_tensor *out[HG_MAX_OUT] = {NULL};
    if (info->n_out == 0) {
        hg_tensor **list;
        int n;
        hg_status st = hg_call_list(cx, info->id, b->at, info->n_params, &list, &n);
        if (st != HG_OK) return py_raise(cx, st);
        PyObject *made = tuple_of(cx, NULL, list, n);
        PyMem_Free(list); /* from host->mem */
        return made;
    }
    hg_status st = hg_call_op(cx, info->id, b->at, info->n_params, out);
    if (st != HG_OK) return py_raise(cx, st);
    if (info->n_out > 1) {
        PyTypeObject *type = NULL;
        if (info->out_names[0][0] && !(type = result_type(info, false))) {
            for (int i = 0; i < info->n_out; i++) hg_release(cx, out[i]);
            return NULL;
        }
        return tuple_of(cx, type, out, info->n_out);
    }
    if (op->truth) {
        hg_arg truth = hg_b(*out[0]->data != 0); /* what stood in for an op that is no composite has said it itself */
        if (info->id == HG_OP_ALLCLOSE && py_hides(PY(out[0]), PY_ALLCLOSE))
            st = PY_FAILED;
        else if (info->op->flags & HG_ROW_COMPOSITE)
            st = hg_item(cx, out[0], &truth);
        hg_release(cx, out[0]);
        return st == HG_OK ? PyBool_FromLong(truth.u.i != 0) : py_raise(cx, st);
    }
    if (b->device && py_is_meta(b->device) && (st = hg_make_meta(cx, out[0])) != HG_OK)
        return hg_release(cx, out[0]), py_raise(cx, st);
    if (b->requires_grad && !hg_dtype_is_float(out[0]->dtype)) {
        hg_release(cx, out[0]);
        return PyErr_SetString(PyExc_RuntimeError,
                               "Only Tensors of floating point and complex dtype can require gradients"),
               NULL;
    }
    if (b->requires_grad && (st = hg_tensor_set_requires_grad(cx, out[0], true)) != HG_OK) {
        hg_release(cx, out[0]);
        return py_raise(cx, st);
    }
    return py_own(out[0]);
}

static bool out_requires_grad(PyObject *out) {
    if (py_is_tensor(out)) return hg_tensor_requires_grad(TENSOR(out));
    for (Py_ssize_t i = 0; (PyTuple_Check(out) || PyList_Check(out)) && i < PySequence_Fast_GET_SIZE(out); i++) {
        PyObject *one = PySequence_Fast_GET_ITEM(out, i);
        if (py_is_tensor(one) && hg_tensor_requires_grad(TENSOR(one))) return true;
    }
    return false;
}

/* The outputs given: as many as there are tensors among them. */
static hg_status check_out(hg_ctx *cx, const hg_op_info *info, const bound *b) {
    if (py_is_tensor(b->out)) return hg_check_out(cx, info, b->at, TENSOR(b->out));
    bool several = PyTuple_Check(b->out) || PyList_Check(b->out);
    hg_status st = HG_OK;
    for (Py_ssize_t i = 0; several && i < PySequence_Fast_GET_SIZE(b->out) && st == HG_OK; i++) {
        PyObject *one = PySequence_Fast_GET_ITEM(b->out, i);
        if (py_is_tensor(one)) st = hg_check_out(cx, info, b->at, TENSOR(one));
    }
    return st;
}

/* What takes a dtype to compute in takes that of its output where none is named. */
static void take_dtype(const py_op *op, const hg_op_info *info, bound *b) {
    bool sums = !strncmp(op->chars, "cum", 3) || strstr("nansum prod", op->chars);
    for (int i = 0; py_is_tensor(b->out) && i < info->n_params; i++)
        if (info->params[i].kind == HG_A_DTYPE && (py_makes_tensors(info) || sums) &&
            (b->at[i].kind == HG_A_NONE || b->at[i].kind == HG_A_DEFAULT))
            b->at[i] = (hg_arg){.kind = HG_A_DTYPE, .u.i = TENSOR(b->out)->dtype};
}

static PyObject *call_into(hg_ctx *cx, const py_op *op, const op_row *row, bound *b) {
    if (cx->grad_enabled && (any_requires_grad(b, row->info->n_params) || out_requires_grad(b->out)))
        return PyErr_Format(PyExc_RuntimeError,
                            "%s%s(): functions with out=... arguments don't support automatic differentiation, but "
                            "one of the arguments requires grad.",
                            row->creation ? "aten::" : "", op->chars);
    for (int i = 0; row->creation && py_is_tensor(b->out) && i < row->info->n_params; i++)
        if (b->at[i].kind == HG_A_DTYPE && b->at[i].u.i != TENSOR(b->out)->dtype)
            return PyErr_Format(PyExc_RuntimeError, "%s(): out is of dtype %s, not %s", op->chars,
                                hg_dtypes[TENSOR(b->out)->dtype].name, hg_dtypes[b->at[i].u.i].name);
    PyObject *told = hg_py->dispatch ? py_dispatch_out(cx, row->info, b->at, b->out) : NULL;
    if (told || PyErr_Occurred()) return told;
    hg_status st = check_out(cx, row->info, b);
    if (st != HG_OK) return py_raise(cx, st);
    take_dtype(op, row->info, b);
    bool was = cx->grad_enabled;
    cx->grad_enabled = false;
    PyObject *made = call_row(cx, op, row, b), *result = NULL;
    PyObject *may = made && hg_py->dual_as ? PyObject_CallFunction(hg_py->dual_as, "OOs", made, b->out, op->chars)
                                           : made;
    if (may) result = finish_out(cx, op, row->info, made, b->out);
    if (may != made) Py_XDECREF(may);
    if (result && row->creation && !TENSOR(b->out)->grad_fn) TENSOR(b->out)->requires_grad = false;
    cx->grad_enabled = was;
    Py_XDECREF(made);
    return result;
}

/* Fails where one of the arguments is a parameter or buffer without a shape. Its methods refuse by themselves. */
static int check_initialized(const py_op *op, const op_row *row, const bound *b) {
    for (int i = 0; i < row->info->n_params; i++) {
        const hg_arg *a = &b->at[i];
        bool list = a->kind == HG_A_TENSORS;
        for (int64_t j = 0, n = list ? a->n : a->kind == HG_A_TENSOR; j < n; j++) {
            hg_tensor *t = list ? a->u.ts[j] : a->u.t;
            if (!t || t->numel || !PyObject_TypeCheck(PY(t), (PyTypeObject *)hg_py->uninitialized)) continue;
            PyErr_Format(
                PyExc_ValueError,
                "Attempted to use an uninitialized parameter in <built-in function %U>. This error happens when "
                "you are using a `LazyModule` or explicitly manipulating `torch.nn.parameter.%s` objects. When "
                "using LazyModules Call `forward` with a dummy batch to initialize the parameters before "
                "calling torch functions",
                op->name, Py_TYPE(PY(t))->tp_name);
            return -1;
        }
    }
    return 0;
}

/* _C._refuse_in_functions(class): tensors of that class are no arguments for functions. */
static PyObject *refuse_in_functions(PyObject *Py_UNUSED(m), PyObject *class) {
    if (!PyType_Check(class)) return PyErr_SetString(PyExc_TypeError, "expected a class"), NULL;
    Py_XSETREF(hg_py->uninitialized, Py_NewRef(class));
    Py_RETURN_NONE;
}

/* A call of an op that takes numbers by name, which PyTorch once took by position; NULL without an exception: it is none. */
static PyObject *respelled(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    const hg_op_info *info = op->rows[0]->info;
    const char *last = info->n_params ? info->params[info->n_params - 1].name : "";
    if (n < 2 || (strcmp(last, "alpha") != 0 && strcmp(last, "value") != 0)) return NULL;
    PyObject *module = PyImport_ImportModule("hookgrad._deprecated"), *by_place = PyTuple_New(n),
             *by_name = PyDict_New();
    PyObject *result = NULL;
    bool failed = !module || !by_place || !by_name;
    for (Py_ssize_t i = 0; i < n && !failed; i++) PyTuple_SET_ITEM(by_place, i, Py_NewRef(args[i]));
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames) && !failed; k++)
        failed = PyDict_SetItem(by_name, PyTuple_GET_ITEM(kwnames, k), args[n + k]) < 0;
    if (!failed) result = PyObject_CallMethod(module, "respelled", "OOOO", op->face, op->name, by_place, by_name);
    Py_XDECREF(module), Py_XDECREF(by_place), Py_XDECREF(by_name);
    if (result == Py_NotImplemented) Py_CLEAR(result);
    return result;
}

/* An op that makes a tensor on a device that was named. For "meta" no numbers are drawn; what is like a meta tensor, on the CPU,
   has values. */
static PyObject *call_on(hg_ctx *cx, const py_op *op, const op_row *row, const bound *b) {
    hg_generator *g = hg_default_generator(cx->lib), before = *g;
    bool was = hg_without_metas(cx->lib, !py_is_meta(b->device));
    PyObject *made = call_row(cx, op, row, b);
    hg_without_metas(cx->lib, was);
    if (py_is_meta(b->device)) *g = before;
    return made;
}

/* Whatever the arguments are: by position, by name, lists, of classes that override. */
static PyObject *call_any(hg_ctx *cx, const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    if (hg_py->override && py_overrides(args, n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0)))
        return py_override(op->face, args, n, kwnames);
    for (int r = 0; r < op->n_rows; r++) {
        bound b;
        match m = py_bind(op, op->rows[r], args, n, kwnames, &b);
        if (m == MATCH_NO) continue;
        if (m == MATCH_FAILED) {
            if (!py_override_strangers(args, n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0))) return NULL;
            return py_override(op->face, args, n, kwnames);
        }
        bool refused = !op->method && hg_py->uninitialized && check_initialized(op, op->rows[r], &b);
        PyObject *result = refused    ? NULL
                           : b.out    ? call_into(cx, op, op->rows[r], &b)
                           : b.device ? call_on(cx, op, op->rows[r], &b)
                                      : call_row(cx, op, op->rows[r], &b);
        if (b.n_owned | b.n_held) bound_done(&b);
        return result;
    }
    if (py_override_strangers(args, n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0)))
        return py_override(op->face, args, n, kwnames);
    PyObject *result = respelled(op, args, n, kwnames);
    return result || PyErr_Occurred() ? result : py_op_error(op, args, n, kwnames);
}

PyObject *py_op_call(const py_op *op, PyObject *const *args, Py_ssize_t n_args, PyObject *kwnames) {
    Py_ssize_t n = n_args, i = 0;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (kwnames || !op->plain || n > PLAIN_MAX || hg_py->function_modes) return call_any(cx, op, args, n, kwnames);
    hg_arg a[PLAIN_MAX];
    plain_lists lists;
    const op_row *row = op->rows[0];
    a[0].kind = HG_A_NONE;
    for (; i < n && i < op->n_plain && Py_TYPE(args[i]) == hg_py->tensor_type; i++)
        a[i].kind = HG_A_TENSOR, a[i].u.t = TENSOR(args[i]);
    if (i < n || n < row->n_least) row = py_bind_plain(op, args, &n, i, a, &lists);
    if (row && !op->inplace) return py_call_op(cx, row->info->id, a, (int)n);
    if (row && a[0].kind == HG_A_TENSOR) return py_call_inplace(cx, row->info->id, a, (int)n);
    return call_any(cx, op, args, n_args, NULL);
}

static PyObject *op_call(PyObject *self, PyObject *const *args, size_t n_flagged, PyObject *kwnames) {
    return py_op_call((py_op *)self, args, PyVectorcall_NARGS(n_flagged), kwnames);
}

/* ---- The objects ------------------------------------------------------------------------------------------------ */

static PyObject *op_repr(PyObject *self) {
    return PyUnicode_FromFormat("<built-in function %U>", ((py_op *)self)->name);
}

/* torch.linalg.inv is "linalg_inv", as in PyTorch. */
static PyObject *op_get_name(PyObject *self, void *Py_UNUSED(closure)) {
    static const char *const spaces[] = {"hookgrad.linalg", "hookgrad.special"};
    const py_op *op = (py_op *)self;
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (!strcmp(op->where, spaces[i])) return PyUnicode_FromFormat("%s_%U", strchr(op->where, '.') + 1, op->name);
    bool nn = strchr(op->where, '.');
    if (nn && !strcmp(op->chars, "logsigmoid")) return PyUnicode_FromString("log_sigmoid");
    if (nn && !strcmp(op->chars, "threshold")) return PyUnicode_FromString("_threshold");
    return Py_NewRef(op->name);
}

static PyObject *op_get_qualname(PyObject *self, void *Py_UNUSED(closure)) { return Py_NewRef(((py_op *)self)->name); }

static PyObject *op_get_doc(PyObject *self, void *Py_UNUSED(closure)) {
    py_op *op = (py_op *)self;
    PyObject *doc = PyUnicode_FromString("");
    for (int r = 0; doc && r < op->n_rows; r++) {
        PyObject *next = PyUnicode_FromFormat("%U%s%s", doc, r ? "\n" : "", op->rows[r]->info->op->schema);
        Py_DECREF(doc);
        doc = next;
    }
    return doc;
}

static const char *called; /* what stands for "hookgrad" in the names of modules; NULL: itself */

static PyObject *op_get_module(PyObject *self, void *Py_UNUSED(closure)) {
    const char *where = ((py_op *)self)->where, *below = strchr(where, '.');
    return called ? PyUnicode_FromFormat("%s%s", called, below ? below : "") : PyUnicode_FromString(where);
}

/* _ops_of_torch(): from here on functions, and types in Python's own errors, say that they are torch's. */
static PyObject *ops_of_torch(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    called = "torch";
    py_types_of_torch();
    Py_RETURN_NONE;
}

/* Of what is a function in Python in PyTorch. Of the others inspect finds none, there as here; from Python 3.13 on that of any
   object. */
static PyObject *op_get_signature(PyObject *self, void *Py_UNUSED(closure)) {
    py_op *op = (py_op *)self;
    if (!(op->rows[0]->info->op->flags & HG_ROW_NN))
        return PyErr_SetString(PyExc_AttributeError, "__signature__"), NULL;
    PyObject *overrides = PyImport_ImportModule("hookgrad.overrides");
    PyObject *found = overrides ? PyObject_CallMethod(overrides, "_signature_of_op", "O", op->name) : NULL;
    Py_XDECREF(overrides);
    return found;
}

/* Pickled as the name that finds it again. */
static PyObject *op_reduce(PyObject *self, PyObject *Py_UNUSED(none)) { return Py_NewRef(((py_op *)self)->name); }

static PyObject *op_itself(PyObject *self, PyObject *Py_UNUSED(memo)) { return Py_NewRef(self); }

static PyGetSetDef op_attributes[] = {
    {"__name__", op_get_name, NULL, NULL, NULL},           {"__qualname__", op_get_qualname, NULL, NULL, NULL},
    {"__module__", op_get_module, NULL, NULL, NULL},       {"__doc__", op_get_doc, NULL, NULL, NULL},
    {"__signature__", op_get_signature, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef op_methods[] = {
    {"__reduce__", op_reduce, METH_NOARGS, NULL},
    {"__copy__", op_itself, METH_NOARGS, NULL},
    {"__deepcopy__", op_itself, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef op_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(py_op, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

/* A function of torch: like a builtin, it does not bind where it is found on a class. */
static PyType_Slot op_slots[] = {
    {Py_tp_call, PyVectorcall_Call}, {Py_tp_repr, op_repr},       {Py_tp_getset, op_attributes},
    {Py_tp_methods, op_methods},     {Py_tp_members, op_members}, {0, NULL},
};

static PyType_Spec op_spec = {
    .name = "hookgrad._C.Op",
    .basicsize = sizeof(py_op),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = op_slots,
};

/* ---- From the table --------------------------------------------------------------------------------------------- */

static op_row rows[HG_N_OPS];

/* How many of the row's first parameters are tensors. */
static int count_plain(const hg_op_info *info) {
    int n = 0;
    while (n < PLAIN_MAX && n < info->n_positional && info->params[n].kind == HG_A_TENSOR) n++;
    return n;
}

bool py_makes_tensors(const hg_op_info *info) {
    for (int i = 0; i < info->n_params; i++)
        if (info->params[i].kind == HG_A_DTYPE && info->params[i].keyword_only)
            return !info->differentiable && info->n_out == 1 && !(info->op->flags & HG_ROW_COMPOSITE) &&
                   info->op->flags & (HG_ROW_FUNCTION | HG_ROW_METHOD);
    return false;
}

static int row_init(op_row *row, const hg_op_info *info) {
    row->info = info;
    for (int i = 0; i < info->n_params; i++)
        if (!info->params[i].has_default) row->n_least = (uint8_t)(i + 1);
    int first = info->n_params && info->params[0].kind == HG_A_TENSOR;
    for (int i = 0; i < info->n_params; i++) {
        const hg_param *p = &info->params[i];
        if (!(row->names[i] = PyUnicode_InternFromString(p->name))) return -1;
        if (i == first && info->n_positional == i + 1 && p->kind == HG_A_INTS && p->n_list == 0) row->varargs = true;
    }
    row->creation = py_makes_tensors(info);
    return 0;
}

static bool tells_truth(const char *name) {
    static const char *const names[] = {"equal", "allclose", "is_nonzero", "is_same_size"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

/* A function of one row; steals name. */
static py_op *op_new(PyObject *name, const char *where, bool method, bool inplace, op_row *row) {
    py_op *op = PyObject_New(py_op, hg_py->op_type);
    if (!op) return Py_DECREF(name), NULL;
    op->call = op_call, op->name = name, op->chars = PyUnicode_AsUTF8(name), op->where = where;
    op->face = (PyObject *)op, op->method = method, op->inplace = inplace, op->truth = tells_truth(row->info->name);
    op->rows[0] = row, op->n_rows = 1, op->plain = op->direct = false, op->n_plain = 0;
    if (!method || (op->face = py_op_method_new(op))) return op;
    Py_DECREF(op);
    return NULL;
}

PyObject *py_op_of_row(int id, bool inplace) {
    PyObject *name = PyUnicode_FromFormat(inplace ? "%s_" : "%s", rows[id].info->name);
    return name ? (PyObject *)op_new(name, "hookgrad", false, inplace, &rows[id]) : NULL;
}

/* _op_again(op, name, where): the same op as another function, of that name in that module. */
static PyObject *op_again(PyObject *Py_UNUSED(m), PyObject *args) {
    py_op *op, *made;
    PyObject *name;
    const char *where;
    if (!PyArg_ParseTuple(args, "O!Us:_op_again", hg_py->op_type, &op, &name, &where)) return NULL;
    PyObject *kept = PyUnicode_InternFromString(where); /* for good, as functions are */
    if (!kept || !(made = op_new(Py_NewRef(name), PyUnicode_AsUTF8(kept), false, false, op->rows[0]))) return NULL;
    memcpy(made->rows, op->rows, sizeof op->rows);
    made->n_rows = op->n_rows, made->plain = op->plain, made->direct = op->direct, made->n_plain = op->n_plain;
    return (PyObject *)made;
}

static PyObject *instead_call(PyObject *self, PyObject *const *args, size_t n_flagged, PyObject *kwnames) {
    Py_ssize_t n = PyVectorcall_NARGS(n_flagged);
    PyObject *function = PyDict_GetItemWithError(hg_py->instead, self);
    if (!function || (hg_py->override && py_overrides(args, n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0))))
        return PyErr_Occurred() ? NULL : op_call(self, args, n_flagged, kwnames);
    PyObject *made = PyObject_Vectorcall(function, args, (size_t)n, kwnames);
    if (made != Py_NotImplemented) return made;
    Py_DECREF(made);
    return op_call(self, args, n_flagged, kwnames);
}

/* _op_instead(op, function): calls of the op go to the function, unless that returns NotImplemented; None: no longer. */
static PyObject *op_instead(PyObject *Py_UNUSED(m), PyObject *args) {
    py_op *op;
    PyObject *function;
    if (!PyArg_ParseTuple(args, "O!O:_op_instead", hg_py->op_type, &op, &function) ||
        (!hg_py->instead && !(hg_py->instead = PyDict_New())) ||
        PyDict_SetItem(hg_py->instead, (PyObject *)op, function))
        return NULL;
    op->call = function == Py_None ? op_call : instead_call;
    Py_RETURN_NONE;
}

/* Another row under a name of a namespace; names that are something else already stay what they are. */
static int expose(PyObject *space, const char *where, bool method, bool inplace, op_row *row) {
    PyObject *name = PyUnicode_FromFormat(inplace ? "%s_" : "%s", row->info->name);
    if (!name) return -1;
    PyUnicode_InternInPlace(&name);
    PyObject *there = PyDict_GetItemWithError(space, name);
    py_op *op = NULL;
    if (there) {
        op = method ? py_op_of_method(there) : Py_TYPE(there) == hg_py->op_type ? (py_op *)there : NULL;
        Py_DECREF(name);
        if (!op) return 0;
        if (op->n_rows == OP_ROWS_MAX) {
            PyErr_Format(PyExc_SystemError, "more than %d rows are called %s", OP_ROWS_MAX, op->chars);
            return -1;
        }
        op->rows[op->n_rows++] = row;
    } else {
        if (!PyErr_Occurred()) op = op_new(Py_NewRef(name), where, method, inplace, row);
        int failed = op ? PyDict_SetItem(space, name, op->face) : -1;
        Py_DECREF(name);
        if (failed) return -1;
    }
    op->plain = !op->truth && (op->n_rows == 1 || op->plain) && row->info->n_out == 1;
    op->n_plain = (uint8_t)count_plain(op->rows[0]->info);
    op->direct = op->plain && op->n_plain;
    return 0;
}

/* hookgrad._C.nn and its like: modules of functions. Their dict, borrowed. */
static PyObject *space_new(PyObject *m, const char *name) {
    PyObject *full = PyUnicode_FromFormat("hookgrad._C.%s", name), *space = full ? PyModule_NewObject(full) : NULL;
    PyObject *dict = NULL;
    if (space && !PyObject_SetItem(PyImport_GetModuleDict(), full, space) && !PyModule_AddObjectRef(m, name, space))
        dict = PyModule_GetDict(space);
    Py_XDECREF(full);
    Py_XDECREF(space);
    return dict;
}

static const char *kind_words(const hg_param *p) {
    switch (p->kind) {
    case HG_A_TENSOR: return p->or_number ? "Tensor|Scalar" : "Tensor";
    case HG_A_BOOL: return "bool";
    case HG_A_INT: return "int";
    case HG_A_FLOAT: return p->or_number ? "Scalar" : "float";
    case HG_A_INTS: return "int[]";
    case HG_A_FLOATS: return "float[]";
    case HG_A_TENSORS: return "Tensor[]";
    case HG_A_DTYPE: return "dtype";
    case HG_A_STR: return "str";
    case HG_A_GENERATOR: return "Generator";
    case HG_A_FORMAT: return "memory_format";
    default: return "?";
    }
}

static PyObject *params_list(const hg_op_info *info) {
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < info->n_params; i++) {
        const hg_param *p = &info->params[i];
        PyObject *one = Py_BuildValue("{s:s,s:s,s:O,s:O,s:O,s:i,s:O}", "name", p->name, "type", kind_words(p),
                                      "optional", p->optional ? Py_True : Py_False, "keyword_only",
                                      p->keyword_only ? Py_True : Py_False, "has_default",
                                      p->has_default ? Py_True : Py_False, "n_list", (int)p->n_list, "differentiable",
                                      info->differentiable >> i & 1 ? Py_True : Py_False);
        if (!one || PyList_Append(list, one)) Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

/* _C.op_table(): the table as a list of dicts, for the stubs, the docs and the tests. */
static PyObject *op_table(PyObject *Py_UNUSED(m), PyObject *Py_UNUSED(none)) {
    PyObject *list = PyList_New(0);
    for (int id = 0; list && id < HG_N_OPS; id++) {
        const hg_op_info *info = rows[id].info;
        PyObject *params = params_list(info);
        PyObject *one = params ? Py_BuildValue("{s:i,s:s,s:s,s:s,s:s,s:I,s:s,s:i,s:N}", "id", id, "name", info->name,
                                               "overload", info->overload, "schema", info->op->schema, "grads",
                                               info->grads, "flags", (unsigned)info->op->flags, "node_name",
                                               info->node_name, "n_out", (int)info->n_out, "params", params)
                               : NULL;
        if (!one || PyList_Append(list, one)) Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

/* _C._result_type("max"): the class torch.return_types.max, or None. */
static PyObject *result_type_named(PyObject *Py_UNUSED(m), PyObject *name) {
    if (!PyUnicode_Check(name))
        return PyErr_Format(PyExc_TypeError, "expected a name, not %.100s", Py_TYPE(name)->tp_name);
    for (int id = 0; id < HG_N_OPS; id++) {
        const hg_op_info *info = rows[id].info;
        if (!info->out_names[0][0]) continue;
        for (int o = 0; o < 2; o++) {
            PyTypeObject *type = result_type(info, o);
            if (!type) return NULL;
            const char *dot = strrchr(type->tp_name, '.');
            if (PyUnicode_CompareWithASCIIString(name, dot ? dot + 1 : type->tp_name) == 0)
                return Py_NewRef((PyObject *)type);
        }
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"op_table", op_table, METH_NOARGS, "The table of ops: a list of dicts."},
    {"_result_type", result_type_named, METH_O, NULL},
    {"_ops_of_torch", ops_of_torch, METH_NOARGS, NULL},
    {"_op_again", op_again, METH_VARARGS, NULL},
    {"_op_instead", op_instead, METH_VARARGS, NULL},
    {"_refuse_in_functions", refuse_in_functions, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int py_op_init(PyObject *m) {
    if (py_type_add(m, &hg_py->op_type, &op_spec, NULL) || PyModule_AddFunctions(m, functions)) return -1;
    PyObject *torch = PyModule_GetDict(m), *methods = hg_py->tensor_type->tp_dict;
    PyObject *nn = space_new(m, "nn"), *linalg = space_new(m, "linalg"), *special = space_new(m, "special");
    if (!nn || !linalg || !special) return -1;
    const struct {
        uint32_t flag;
        PyObject *dict;
        const char *where;
    } spaces[] = {
        {HG_ROW_METHOD, methods, "torch"},
        {HG_ROW_FUNCTION, torch, "hookgrad"},
        {HG_ROW_NN, nn, "hookgrad.nn.functional"},
        {HG_ROW_LINALG, linalg, "hookgrad.linalg"},
        {HG_ROW_SPECIAL, special, "hookgrad.special"},
    };
    for (int id = 0; id < HG_N_OPS; id++) {
        const hg_op_info *info = hg_op_at(hg_py->lib, id);
        if (!info) return PyErr_Format(PyExc_SystemError, "row %d of the op table has a mistake", id), -1;
        if (row_init(&rows[id], info)) return -1;
        for (size_t s = 0; s < sizeof spaces / sizeof *spaces; s++) {
            if (!(info->op->flags & spaces[s].flag)) continue;
            bool method = spaces[s].flag == HG_ROW_METHOD;
            if (expose(spaces[s].dict, spaces[s].where, method, false, &rows[id])) return -1;
            if (info->op->flags & HG_ROW_INPLACE && expose(spaces[s].dict, spaces[s].where, method, true, &rows[id]))
                return -1;
        }
    }
    PyType_Modified(hg_py->tensor_type);
    return 0;
}
