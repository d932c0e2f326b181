/* Python arguments as a row's: by position, by name, by default. */
#include "py_op.h"

void bound_done(bound *b) {
    for (int i = 0; i < b->n_owned; i++) PyMem_Free(b->owned[i]);
    for (int i = 0; i < b->n_held; i++) Py_DECREF(b->held[i]);
    b->n_owned = b->n_held = 0;
}

/* ---- One value -------------------------------------------------------------------------------------------------- */

/* Is it of one of NumPy's scalar types? They are told by name: NumPy may not be loaded, and need not be. */
static bool is_numpy_scalar(PyObject *o) {
    return !strncmp(Py_TYPE(o)->tp_name, "numpy.", 6) && PyNumber_Check(o) && !py_is_array(o);
}

static bool is_numpy_bool(PyObject *o) {
    const char *name = Py_TYPE(o)->tp_name;
    return !strcmp(name, "numpy.bool") || !strcmp(name, "numpy.bool_");
}

static match long_arg(PyObject *o, hg_arg *a) {
    long long i = PyLong_AsLongLong(o);
    if (i == -1 && PyErr_Occurred()) return MATCH_FAILED;
    *a = hg_i(i);
    return MATCH_YES;
}

static match numpy_number(PyObject *o, hg_arg *a) {
    if (is_numpy_bool(o)) {
        int truth = PyObject_IsTrue(o);
        if (truth < 0) return MATCH_FAILED;
        *a = hg_b(truth);
        return MATCH_YES;
    }
    if (PyIndex_Check(o)) {
        PyObject *whole = PyNumber_Index(o);
        match m = whole ? long_arg(whole, a) : (PyErr_Clear(), MATCH_NO);
        Py_XDECREF(whole);
        if (m != MATCH_NO) return m;
    }
    if (PyComplex_Check(o) || !strncmp(Py_TYPE(o)->tp_name, "numpy.complex", 13)) return MATCH_NO;
    double f = PyFloat_AsDouble(o);
    if (f == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return MATCH_NO;
    }
    *a = hg_f(f);
    return MATCH_YES;
}

match py_number_arg(PyObject *o, hg_arg *a) {
    if (PyLong_Check(o) && !PyBool_Check(o)) return long_arg(o, a);
    if (PyFloat_Check(o)) {
        *a = hg_f(PyFloat_AS_DOUBLE(o));
        return MATCH_YES;
    }
    if (PyBool_Check(o)) {
        *a = hg_b(o == Py_True);
        return MATCH_YES;
    }
    return is_numpy_scalar(o) ? numpy_number(o, a) : MATCH_NO;
}

/* A 0-dimensional tensor stands for a number where no gradient is lost by it. */
static match tensor_number(PyObject *o, hg_arg *a) {
    if (!py_is_tensor(o) || TENSOR(o)->n_dim != 0 || hg_tensor_requires_grad(TENSOR(o))) return MATCH_NO;
    hg_ctx *cx = py_ctx();
    if (!cx) return MATCH_FAILED;
    hg_status st = hg_item(cx, TENSOR(o), a);
    if (st == HG_OK) return MATCH_YES;
    py_raise(cx, st);
    return MATCH_FAILED;
}

static match scalar_arg(PyObject *o, hg_arg *a) {
    match m = py_number_arg(o, a);
    return m == MATCH_NO ? tensor_number(o, a) : m;
}

static match float_arg(PyObject *o, hg_arg *a) {
    match m = scalar_arg(o, a);
    if (m == MATCH_YES) *a = hg_f(a->kind == HG_A_FLOAT ? a->u.f : (double)a->u.i);
    return m;
}

static inline match int_arg(PyObject *o, hg_arg *a) {
    if (PyLong_CheckExact(o) || (PyLong_Check(o) && !PyBool_Check(o))) {
        long long i = PyLong_AsLongLong(o);
        if (i == -1 && PyErr_Occurred()) return py_too_large(), MATCH_FAILED;
        *a = hg_i(i);
        return MATCH_YES;
    }
    match m = MATCH_NO;
    if (py_is_tensor(o))
        m = tensor_number(o, a);
    else if (PyIndex_Check(o) && !PyBool_Check(o) && !is_numpy_bool(o) && !py_is_array(o))
        m = numpy_number(o, a);
    return m == MATCH_YES && a->kind != HG_A_INT ? MATCH_NO : m;
}

/* In a list a tensor of one element stands for an integer, whatever dimensions it has. */
static match item_arg(PyObject *o, hg_arg *a) {
    if (!py_is_tensor(o) || TENSOR(o)->numel != 1 || hg_dtypes[TENSOR(o)->dtype].category != 1) return int_arg(o, a);
    hg_ctx *cx = py_ctx();
    if (!cx) return MATCH_FAILED;
    hg_status st = hg_item(cx, TENSOR(o), a);
    return st == HG_OK ? MATCH_YES : (py_raise(cx, st), MATCH_FAILED);
}

static match bool_arg(PyObject *o, hg_arg *a) {
    if (!PyBool_Check(o) && !is_numpy_bool(o)) return MATCH_NO;
    *a = hg_b(PyObject_IsTrue(o) == 1);
    return MATCH_YES;
}

/* Room for n numbers of 8 bytes; NULL failed. */
static void *room(bound *b, Py_ssize_t n) {
    if (n <= BOUND_INTS - b->n_ints) {
        void *p = &b->ints[b->n_ints];
        b->n_ints = (uint8_t)(b->n_ints + n);
        return p;
    }
    void *p = b->n_owned < BOUND_OWNED ? PyMem_Malloc((size_t)n * sizeof(int64_t)) : NULL;
    if (!p) return PyErr_NoMemory(), NULL;
    return b->owned[b->n_owned++] = p;
}

static match hold(bound *b, PyObject *o) {
    if (b->n_held == BOUND_OWNED) return PyErr_SetString(PyExc_SystemError, "too many lists in one call"), MATCH_FAILED;
    b->held[b->n_held++] = o;
    return MATCH_YES;
}

/* at[n] as integers. One that is too large is kept in mind, for the words about it. */
static match ints_of(PyObject *const *at, Py_ssize_t n, const hg_param *p, bound *b, hg_arg *a) {
    int64_t *to = room(b, n ? n : 1);
    if (!to) return MATCH_FAILED;
    for (Py_ssize_t i = 0; i < n; i++) {
        hg_arg one;
        match m = item_arg(at[i], &one);
        if (m == MATCH_FAILED && PyErr_ExceptionMatches(PyExc_ValueError)) b->large = p, b->large_at = (int)i + 1;
        if (m != MATCH_YES) return m;
        to[i] = one.u.i;
    }
    *a = hg_ints(to, (int)n);
    return MATCH_YES;
}

/* May one number be given for a list? Not where it can have any length, as a size has, and is not the call's last arguments. */
static inline bool stands_for_list(const hg_param *p) { return p->n_list || p->optional; }

static match ints_arg(PyObject *o, const hg_param *p, bound *b, hg_arg *a) {
    if (PyTuple_Check(o) || PyList_Check(o)) {
        PyObject *items = PyTuple_Check(o) ? Py_NewRef(o) : PyList_AsTuple(o); /* nobody changes it meanwhile */
        if (!items) return MATCH_FAILED;
        Py_ssize_t n = PyTuple_GET_SIZE(items);
        match m = ints_of(&PyTuple_GET_ITEM(items, 0), n, p, b, a);
        Py_DECREF(items);
        if (m == MATCH_YES && n == 1 && p->n_list > 1) { /* (3,) for int[2] */
            int64_t one = a->u.ints[0], *to = room(b, p->n_list);
            if (!to) return MATCH_FAILED;
            for (int i = 0; i < p->n_list; i++) to[i] = one;
            *a = hg_ints(to, p->n_list);
        }
        return m;
    }
    hg_arg one;
    match m = stands_for_list(p) ? item_arg(o, &one) : MATCH_NO;
    if (m != MATCH_YES) return m;
    int n = p->n_list > 0 ? p->n_list : 1;
    int64_t *to = room(b, n);
    if (!to) return MATCH_FAILED;
    for (int i = 0; i < n; i++) to[i] = one.u.i;
    *a = hg_ints(to, n);
    return MATCH_YES;
}

static match floats_arg(PyObject *o, bound *b, hg_arg *a) {
    if (!PyTuple_Check(o) && !PyList_Check(o)) return MATCH_NO;
    Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
    double *to = room(b, n ? n : 1);
    if (!to) return MATCH_FAILED;
    for (Py_ssize_t i = 0; i < n; i++) {
        hg_arg one;
        match m = i < PySequence_Fast_GET_SIZE(o) ? float_arg(PySequence_Fast_GET_ITEM(o, i), &one) : MATCH_NO;
        if (m != MATCH_YES) return m;
        to[i] = one.u.f;
    }
    *a = (hg_arg){.kind = HG_A_FLOATS, .n = (uint32_t)n, .u.floats = to};
    return MATCH_YES;
}

/* at[n] as tensors. Among indices None stands for a whole dimension. The caller holds the objects. */
static match tensors_of(PyObject *const *at, Py_ssize_t n, const hg_param *p, bound *b, hg_arg *a) {
    hg_tensor **to = &b->tensors[b->n_tensors];
    if (n <= BOUND_TENSORS - b->n_tensors)
        b->n_tensors = (uint8_t)(b->n_tensors + n);
    else if (b->n_owned == BOUND_OWNED || !(b->owned[b->n_owned++] = to = PyMem_New(hg_tensor *, (size_t)n)))
        return PyErr_NoMemory(), MATCH_FAILED;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (at[i] == Py_None && !strcmp(p->name, "indices")) {
            to[i] = NULL;
        } else if (py_is_tensor(at[i])) {
            to[i] = TENSOR(at[i]);
        } else {
            PyErr_Format(PyExc_TypeError, "expected Tensor as element %zd in argument 0, but got %.100s", i,
                         Py_TYPE(at[i])->tp_name);
            return MATCH_FAILED;
        }
    }
    *a = hg_ts(to, (int)n);
    return MATCH_YES;
}

/* The list may change while the kernel runs without the lock: its items are held as a tuple. */
static match tensors_arg(PyObject *o, const hg_param *p, bound *b, hg_arg *a) {
    if (!PyTuple_Check(o) && !PyList_Check(o)) return MATCH_NO;
    PyObject *items = PySequence_Tuple(o);
    if (!items) return MATCH_FAILED;
    if (hold(b, items) != MATCH_YES) return Py_DECREF(items), MATCH_FAILED;
    return tensors_of(&PyTuple_GET_ITEM(items, 0), PyTuple_GET_SIZE(items), p, b, a);
}

/* Where PyTorch's function in Python looks at an argument before C++ does. */
static match in_python(PyObject *o, const hg_param *p, hg_arg *a) {
    if (p->kind == HG_A_BOOL && !strcmp(p->name, "inplace")) {
        int truth = PyObject_IsTrue(o);
        *a = hg_b(truth);
        return truth < 0 ? MATCH_FAILED : MATCH_YES;
    }
    if (p->kind != HG_A_STR || strcmp(p->name, "reduction") != 0) return MATCH_NO;
    PyErr_Format(PyExc_ValueError, "%S is not a valid value for reduction", o);
    return MATCH_FAILED;
}

match py_convert(PyObject *o, const hg_param *p, bound *b, hg_arg *a) {
    if (o == Py_None) {
        if (!p->optional && !(p->has_default && p->fallback.kind == HG_A_NONE)) return in_python(o, p, a);
        *a = p->fallback.kind == HG_A_INTS ? p->fallback : HG_NONE; /* "int[]? dim=[]": None is the empty list */
        return MATCH_YES;
    }
    switch (p->kind) {
    case HG_A_TENSOR:
        if (py_is_tensor(o)) {
            *a = hg_t(TENSOR(o));
            return MATCH_YES;
        }
        return p->or_number ? py_number_arg(o, a) : MATCH_NO;
    case HG_A_FLOAT: return p->or_number ? scalar_arg(o, a) : float_arg(o, a);
    case HG_A_INT: return int_arg(o, a);
    case HG_A_BOOL: return bool_arg(o, a) == MATCH_YES ? MATCH_YES : in_python(o, p, a);
    case HG_A_INTS: return ints_arg(o, p, b, a);
    case HG_A_FLOATS: return floats_arg(o, b, a);
    case HG_A_TENSORS: return tensors_arg(o, p, b, a);
    case HG_A_STR: {
        if (!PyUnicode_Check(o)) return in_python(o, p, a);
        const char *s = PyUnicode_AsUTF8(o);
        if (!s) return MATCH_FAILED;
        *a = hg_s(s);
        return MATCH_YES;
    }
    case HG_A_DTYPE: {
        hg_dtype d = HG_NO_DTYPE;
        if (py_dtype(o, &d)) {
            if (!PyErr_ExceptionMatches(PyExc_TypeError)) return MATCH_FAILED;
            PyErr_Clear();
            return MATCH_NO;
        }
        *a = hg_d(d);
        return MATCH_YES;
    }
    case HG_A_FORMAT: {
        hg_format f;
        if (!py_format(o, &f)) return MATCH_NO;
        *a = hg_format_arg(f);
        return MATCH_YES;
    }
    case HG_A_GENERATOR:
        if (Py_TYPE(o) != hg_py->generator_type) return MATCH_NO;
        *a = (hg_arg){.kind = HG_A_GENERATOR, .u.g = py_generator(o)};
        return MATCH_YES;
    default: return MATCH_NO;
    }
}

/* ---- A call ----------------------------------------------------------------------------------------------------- */

/* What some functions, not methods, call a parameter in PyTorch that has the second name in the table. */
static const char *const spellings[][2] = {{"A", "self"},
                                           {"x", "self"},
                                           {"x1", "self"},
                                           {"x2", "other"},
                                           {"tensor", "self"},
                                           {"train", "training"},
                                           {"split_size_or_sections", "split_size"}};

/* The parameter of that name, NumPy's spellings included; -1: none. */
static int param_of(const py_op *op, const op_row *row, PyObject *name) {
    int n = row->info->n_params;
    for (int i = 0; i < n; i++)
        if (row->names[i] == name) return i;
    PyObject *also = name;
    if (py_is_name(name, NAME(axis)))
        also = NAME(dim);
    else if (py_is_name(name, NAME(keepdims)))
        also = NAME(keepdim);
    else if (py_is_name(name, NAME(input)) && !op->method)
        also = NAME(self);
    for (int i = 0; i < n; i++)
        if (row->names[i] == also || PyUnicode_Compare(row->names[i], also) == 0) return i;
    for (size_t k = 0; k < sizeof spellings / sizeof *spellings && !op->method; k++)
        for (int i = 0; i < n && PyUnicode_CompareWithASCIIString(name, spellings[k][0]) == 0; i++)
            if (!strcmp(row->info->params[i].name, spellings[k][1])) return i;
    return -1;
}

/* Does it take out=? */
static bool gives(const py_op *op, const op_row *row) {
    return !op->method && !op->inplace && !(row->info->op->flags & (HG_ROW_VIEW | HG_ROW_MUTATES));
}

/* Keyword arguments that are no parameters of the row, but of every creation op, or of every function. */
static match extra(const py_op *op, const op_row *row, PyObject *name, PyObject *value, bound *b) {
    if (py_is_name(name, NAME(out)) && gives(op, row)) {
        if (value != Py_None) b->out = value;
        return MATCH_YES;
    }
    if (!row->creation) return MATCH_NO;
    if (py_is_name(name, NAME(requires_grad))) {
        if (!PyBool_Check(value)) return MATCH_NO;
        b->requires_grad = value == Py_True;
        return MATCH_YES;
    }
    if (py_is_name(name, NAME(device))) {
        b->device = value == Py_None ? NULL : value;
        return !py_is_meta(value) && py_device(value, op->chars) ? MATCH_FAILED : MATCH_YES;
    }
    if (py_is_name(name, NAME(layout))) {
        if (value == hg_py->strided || value == Py_None) return MATCH_YES;
        if (Py_TYPE(value) != hg_py->layout_type) return MATCH_NO;
        PyErr_Format(PyExc_NotImplementedError, "%s(): argument 'layout' must be torch.strided here, not %R", op->chars,
                     value);
        return MATCH_FAILED;
    }
    if (py_is_name(name, NAME(pin_memory))) return PyBool_Check(value) || value == Py_None ? MATCH_YES : MATCH_NO;
    if (py_is_name(name, NAME(names))) return value == Py_None ? MATCH_YES : MATCH_NO;
    return MATCH_NO;
}

/* x.view(2, 3), zeros(2, 3), but not reshape(x, 2, 3): the list is all there is to give. */
static inline bool takes_numbers(const py_op *op, const op_row *row) {
    return row->varargs && (op->method || row->info->n_positional == 1);
}

/* einsum("ij,jk", a, b), x.view(2, 3): the list's items one by one. Is args[i] the first of such? */
static bool starts_list(const py_op *op, const op_row *row, const hg_param *p, int i, PyObject *o) {
    if (i + 1 != row->info->n_positional) return false;
    if (p->kind == HG_A_TENSORS) return py_is_tensor(o) && !strstr(row->info->name, "stack");
    return p->kind == HG_A_INTS && takes_numbers(op, row) && !PyTuple_Check(o) && !PyList_Check(o) && o != Py_None;
}

static match bind_positional(const py_op *op, const op_row *row, PyObject *const *args, Py_ssize_t n, bound *b) {
    const hg_op_info *info = row->info;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (i >= info->n_positional) return MATCH_NO;
        const hg_param *p = &info->params[i];
        if ((n > i + 1 || p->kind == HG_A_INTS) && starts_list(op, row, p, (int)i, args[i]))
            return p->kind == HG_A_INTS ? ints_of(args + i, n - i, p, b, &b->at[i])
                                        : tensors_of(args + i, n - i, p, b, &b->at[i]);
        if (p->kind == HG_A_TENSOR && Py_TYPE(args[i]) == hg_py->tensor_type) {
            b->at[i] = (hg_arg){.kind = HG_A_TENSOR, .u.t = TENSOR(args[i])};
            continue;
        }
        match m = py_convert(args[i], p, b, &b->at[i]);
        if (m == MATCH_NO && p->kind == HG_A_TENSORS && py_is_tensor(args[i]) &&
            starts_list(op, row, p, (int)i, args[i]))
            m = tensors_of(args + i, 1, p, b, &b->at[i]);
        if (m != MATCH_YES) return m;
    }
    return MATCH_YES;
}

/* A tuple holds its items while the call holds it. */
static match plain_tuple(PyObject *o, hg_arg *a, hg_tensor **to) {
    Py_ssize_t n = PyTuple_GET_SIZE(o);
    if (n > PLAIN_MAX) return MATCH_FAILED;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *one = PyTuple_GET_ITEM(o, i);
        if (Py_TYPE(one) != hg_py->tensor_type) return MATCH_FAILED;
        to[i] = TENSOR(one);
    }
    *a = hg_ts(to, (int)n);
    return MATCH_YES;
}

/* One plain value. MATCH_FAILED: it takes more to tell. */
static inline match plain_value(PyObject *o, const hg_param *p, bool varargs, hg_arg *a, int64_t *ints,
                                hg_tensor **tensors) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == hg_py->tensor_type) {
        *a = hg_t(TENSOR(o));
        return p->kind == HG_A_TENSOR ? MATCH_YES : MATCH_FAILED;
    }
    if (type == &PyFloat_Type) {
        *a = hg_f(PyFloat_AS_DOUBLE(o));
        return p->kind == HG_A_FLOAT || (p->kind == HG_A_TENSOR && p->or_number) ? MATCH_YES : MATCH_NO;
    }
    if (type == &PyTuple_Type && p->kind == HG_A_TENSORS) return plain_tuple(o, a, tensors);
    if (type != &PyLong_Type) return MATCH_FAILED;
    int overflow;
    *a = hg_i(PyLong_AsLongLongAndOverflow(o, &overflow));
    if (overflow) return MATCH_FAILED;
    switch (p->kind) {
    case HG_A_INTS:
        if (p->n_list > PLAIN_MAX || !(varargs || stands_for_list(p))) return MATCH_FAILED;
        for (int i = 0; i < p->n_list || i == 0; i++) ints[i] = a->u.i;
        *a = hg_ints(ints, p->n_list > 0 ? p->n_list : 1);
        return MATCH_YES;
    case HG_A_FLOAT:
        if (!p->or_number) *a = hg_f((double)a->u.i);
        return MATCH_YES;
    case HG_A_TENSOR: return p->or_number ? MATCH_YES : MATCH_NO;
    case HG_A_INT: return MATCH_YES;
    case HG_A_DTYPE:
    case HG_A_TENSORS: return MATCH_NO;
    default: return MATCH_FAILED;
    }
}

const op_row *py_bind_last(const py_op *op, PyObject *value, Py_ssize_t n_bound, hg_arg *a, plain_lists *lists) {
    for (int r = 0; r < op->n_rows; r++) {
        const op_row *row = op->rows[r];
        const hg_param *p = row->info->params;
        for (Py_ssize_t i = 0; i < n_bound; i++)
            if (i >= row->info->n_positional || p[i].kind != HG_A_TENSOR) return NULL;
        if (n_bound + 1 < row->n_least || n_bound >= row->info->n_positional) continue;
        match m = plain_value(value, &p[n_bound], takes_numbers(op, row), &a[n_bound], lists->ints, lists->tensors);
        if (m != MATCH_NO) return m == MATCH_YES ? row : NULL;
    }
    return NULL;
}

const op_row *py_bind_plain(const py_op *op, PyObject *const *args, Py_ssize_t *n_args, Py_ssize_t n_bound, hg_arg *a,
                            plain_lists *lists) {
    Py_ssize_t n = *n_args;
    const op_row *first = n_bound == n - 1 ? py_bind_last(op, args[n_bound], n_bound, a, lists) : NULL;
    if (first) return first;
    for (int r = 0; r < op->n_rows; r++) {
        const op_row *row = op->rows[r];
        const hg_param *p = row->info->params;
        int most = row->info->n_positional;
        bool sizes = takes_numbers(op, row) && n > most; /* x.view(2, 3) */
        match m = MATCH_YES;
        if (n < row->n_least || (n > most && !sizes)) {
            if (most && n >= most && p[most - 1].kind == HG_A_TENSORS) return NULL;
            continue;
        }
        int n_used = 0, n_tuples = 0; /* of lists->ints, and lists of tensors */
        for (Py_ssize_t i = 0; i < n && m == MATCH_YES; i++) {
            if (i >= most - 1 && sizes) {
                if (!PyLong_CheckExact(args[i])) return NULL;
                m = plain_value(args[i], &p[most - 1], true, &a[most - 1], &lists->ints[n_used++], NULL);
                continue;
            }
            if ((p[i].kind == HG_A_INTS && n_used++) || (p[i].kind == HG_A_TENSORS && n_tuples++))
                return NULL; /* two lists */
            m = plain_value(args[i], &p[i], takes_numbers(op, row), &a[i], lists->ints, lists->tensors);
        }
        if (m == MATCH_FAILED) return NULL;
        if (m == MATCH_NO) continue;
        if (sizes) a[most - 1] = hg_ints(lists->ints, n_used), *n_args = most;
        return row;
    }
    return NULL;
}

static match bind_keywords(const py_op *op, const op_row *row, PyObject *const *values, PyObject *kwnames, bound *b) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = param_of(op, row, name);
        match m = MATCH_NO;
        if (i < 0)
            m = extra(op, row, name, values[k], b);
        else if (b->at[i].kind == HG_A_DEFAULT)
            m = py_convert(values[k], &row->info->params[i], b, &b->at[i]);
        if (m != MATCH_YES) return m;
    }
    return MATCH_YES;
}

static const char *shown_name(const py_op *op, const hg_param *p) {
    return !op->method && !strcmp(p->name, "self") ? "input" : p->name;
}

match py_bind(const py_op *op, const op_row *row, PyObject *const *args, Py_ssize_t n, PyObject *kwnames, bound *b) {
    const hg_op_info *info = row->info;
    b->out = NULL, b->requires_grad = false, b->device = NULL;
    b->n_ints = b->n_tensors = b->n_owned = b->n_held = 0;
    b->large = NULL;
    for (int i = 0; i < info->n_params; i++) b->at[i].kind = HG_A_DEFAULT;
    match m = bind_positional(op, row, args, n, b);
    if (m == MATCH_YES && kwnames) m = bind_keywords(op, row, args + n, kwnames, b);
    for (int i = (int)(kwnames ? 0 : n); i < row->n_least && m == MATCH_YES; i++)
        if (b->at[i].kind == HG_A_DEFAULT && !info->params[i].has_default) m = MATCH_NO;
    if (m == MATCH_YES && op->inplace && b->at[0].kind != HG_A_TENSOR) m = MATCH_NO;
    if (m == MATCH_FAILED && b->large)
        PyErr_Format(
            PyExc_TypeError,
            "%s(): argument '%s' failed to unpack the object at pos %d with error \"Overflow when unpacking long "
            "long\"",
            op->chars, shown_name(op, b->large), b->large_at);
    if (m != MATCH_YES) bound_done(b);
    return m;
}

/* ---- Why not ---------------------------------------------------------------------------------------------------- */

static const char *short_name(PyObject *o) {
    const char *name = Py_TYPE(o)->tp_name;
    if (Py_TYPE(o) == hg_py->dtype_type) return "torch.dtype";
    if (Py_TYPE(o) == hg_py->device_type) return "torch.device";
    if (Py_TYPE(o) == hg_py->generator_type) return "torch.Generator";
    if (Py_TYPE(o) == hg_py->size_type) return "torch.Size";
    return strncmp(name, "hookgrad.", 9) ? name : strrchr(name, '.') + 1;
}

static const char *type_words(const hg_param *p) {
    switch (p->kind) {
    case HG_A_TENSOR: return "Tensor";
    case HG_A_FLOAT: return p->or_number ? "Number" : "float";
    case HG_A_INT: return "int";
    case HG_A_BOOL: return "bool";
    case HG_A_INTS: return "tuple of ints";
    case HG_A_FLOATS: return "tuple of floats";
    case HG_A_TENSORS: return "tuple of Tensors";
    case HG_A_STR: return "str";
    case HG_A_DTYPE: return "torch.dtype";
    case HG_A_GENERATOR: return "torch.Generator";
    case HG_A_FORMAT: return "torch.memory_format";
    default: return "object";
    }
}

/* "(Tensor input, Tensor other, *, Number alpha = 1)" */
static PyObject *signature(const py_op *op, const op_row *row) {
    PyObject *parts = PyList_New(0);
    bool star = false;
    for (int i = op->method ? 1 : 0; parts && i < row->info->n_params; i++) {
        const hg_param *p = &row->info->params[i];
        const hg_arg *d = &p->fallback;
        PyObject *part = NULL, *value = NULL;
        if (p->keyword_only && !star) {
            star = true;
            PyObject *mark = PyUnicode_FromString("*");
            if (mark) PyList_Append(parts, mark);
            Py_XDECREF(mark);
        }
        if (p->has_default) {
            if (d->kind == HG_A_STR)
                value = PyUnicode_FromFormat(" = \"%s\"", d->u.s);
            else if (d->kind == HG_A_BOOL || d->kind == HG_A_INT || d->kind == HG_A_FLOAT) {
                PyObject *number = py_number(d);
                value = number ? PyUnicode_FromFormat(" = %R", number) : NULL;
                Py_XDECREF(number);
            } else if (d->kind == HG_A_INTS)
                value = d->n ? PyUnicode_FromFormat(" = %lld", (long long)d->u.ints[0]) : PyUnicode_FromString(" = ()");
            else
                value = PyUnicode_FromString(" = None");
        } else {
            value = PyUnicode_FromString("");
        }
        if (value) part = PyUnicode_FromFormat("%s %s%U", type_words(p), shown_name(op, p), value);
        if (!part || PyList_Append(parts, part)) Py_CLEAR(parts);
        Py_XDECREF(part);
        Py_XDECREF(value);
    }
    if (!parts) return NULL;
    PyObject *comma = PyUnicode_FromString(", "), *joined = comma ? PyUnicode_Join(comma, parts) : NULL;
    const char *out = op->n_rows == 1 && gives(op, row) ? ", Tensor out = None" : "";
    PyObject *all = joined ? PyUnicode_FromFormat("(%U%s)", joined, out) : NULL;
    Py_XDECREF(comma);
    Py_XDECREF(joined);
    Py_DECREF(parts);
    return all;
}

/* "Tensor, int, dim=int": what came. */
static PyObject *what_came(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *words = PyUnicode_FromString("");
    Py_ssize_t n_kw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = op->method ? 1 : 0, first = i; words && i < n + n_kw; i++) {
        const char *comma = i > first ? ", " : "";
        PyObject *next = i < n ? PyUnicode_FromFormat("%U%s%s", words, comma, short_name(args[i]))
                               : PyUnicode_FromFormat("%U%s%U=%s", words, comma, PyTuple_GET_ITEM(kwnames, i - n),
                                                      short_name(args[i]));
        Py_DECREF(words);
        words = next;
    }
    return words;
}

static PyObject *no_row_fits(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    PyObject *came = what_came(op, args, n, kwnames), *rows = PyUnicode_FromString("");
    for (int r = 0; rows && r < op->n_rows; r++) {
        PyObject *one = signature(op, op->rows[r]), *next = NULL;
        if (one) next = op->n_rows == 1 ? Py_NewRef(one) : PyUnicode_FromFormat("%U * %U\n", rows, one);
        Py_XDECREF(one);
        Py_DECREF(rows);
        rows = next;
    }
    if (came && rows)
        PyErr_Format(PyExc_TypeError, "%s() received an invalid combination of arguments - got (%U), but expected %s%U",
                     op->chars, came, op->n_rows == 1 ? "" : "one of:\n", rows);
    Py_XDECREF(came);
    Py_XDECREF(rows);
    return NULL;
}

/* Could the row take that many arguments? */
static bool plausible(const op_row *row, Py_ssize_t n) {
    int least = 0;
    for (int i = 0; i < row->info->n_params; i++) least += !row->info->params[i].has_default;
    return n >= least && (n <= row->info->n_params || row->varargs);
}

/* What PyTorch's functions in Python ask of their tensors before they call one in C++; NULL: nothing. */
static const char *asked_first(const py_op *op) {
    static const struct {
        const char *op, *method;
    } asks[] = {{"softmax", "softmax"},
                {"log_softmax", "log_softmax"},
                {"tanhshrink", "tanh"},
                {"glu", "dim"},
                {"group_norm", "dim"},
                {"mse_loss", "size"},
                {"l1_loss", "size"},
                {"smooth_l1_loss", "size"},
                {"huber_loss", "size"},
                {"binary_cross_entropy", "size"},
                {"binary_cross_entropy_with_logits", "size"}};
    if (!(op->rows[0]->info->op->flags & HG_ROW_NN)) return NULL;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        if (!strcmp(asks[i].op, op->chars)) return asks[i].method;
    return NULL;
}

/* The item of a list of ints, counted from 0. PyTorch looks at the first before it takes the list, and at the others after. */
static PyObject *wrong_item(const py_op *op, const hg_param *p, int position, Py_ssize_t i, PyObject *item) {
    const char *name = shown_name(op, p);
    return i || position < 0
               ? PyErr_Format(PyExc_TypeError,
                              "%s(): argument '%s' failed to unpack the object at pos %zd with error "
                              "\"type must be tuple of ints,but got %s\"",
                              op->chars, name, i + 1, short_name(item))
               : PyErr_Format(PyExc_TypeError,
                              "%s(): argument '%s' (position %d) must be tuple of ints, but found element of type %s "
                              "at pos 0",
                              op->chars, name, position + !op->method, short_name(item));
}

static PyObject *wrong_type(const py_op *op, const hg_param *p, int position, PyObject *o) {
    const char *name = shown_name(op, p), *asked = p->kind == HG_A_TENSOR && !p->optional ? asked_first(op) : NULL;
    if (asked && !PyObject_HasAttrString(o, asked))
        return PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attribute '%s'", short_name(o), asked);
    if (p->kind == HG_A_INTS && (PyTuple_Check(o) || PyList_Check(o))) {
        hg_arg ignored;
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); i++)
            if (int_arg(PySequence_Fast_GET_ITEM(o, i), &ignored) != MATCH_YES) {
                PyErr_Clear();
                return wrong_item(op, p, position, i, PySequence_Fast_GET_ITEM(o, i));
            }
    }
    if (position < 0)
        return PyErr_Format(PyExc_TypeError, "%s(): argument '%s' must be %s, not %s", op->chars, name, type_words(p),
                            short_name(o));
    return PyErr_Format(PyExc_TypeError, "%s(): argument '%s' (position %d) must be %s, not %s", op->chars, name,
                        position + !op->method, type_words(p), short_name(o));
}

/* The parameters from number `first` on that have no default, which is what PyTorch names where that one is missing. */
static PyObject *missing(const py_op *op, const op_row *row, int first) {
    PyObject *names = PyUnicode_FromString("");
    int n = 0;
    for (int i = first; names && i < row->info->n_params; i++) {
        const hg_param *p = &row->info->params[i];
        if (p->has_default) continue;
        PyObject *next = PyUnicode_FromFormat("%U%s\"%s\"", names, n++ ? ", " : "", shown_name(op, p));
        Py_DECREF(names);
        names = next;
    }
    if (names)
        PyErr_Format(PyExc_TypeError, "%s() missing %d required positional argument%s: %U", op->chars, n,
                     n == 1 ? "s" : "", names);
    Py_XDECREF(names);
    return NULL;
}

/* n arguments, the object included, are too many for this row. */
static void too_many(const py_op *op, const hg_op_info *info, int n) {
    int self = op->method ? 1 : 0, most = info->n_positional - self, least = -self;
    for (int i = 0; i < info->n_positional; i++) least += !info->params[i].has_default;
    if (self && info->n_params == 1)
        PyErr_Format(PyExc_TypeError, "TensorBase.%s() takes no arguments (%d given)", op->chars, n - self);
    else if (least < most)
        PyErr_Format(PyExc_TypeError, "%s() takes from %d to %d positional arguments but %d were given", op->chars,
                     least, most, n - self);
    else
        PyErr_Format(PyExc_TypeError, "%s() takes %d positional argument%s but %d %s given", op->chars, most,
                     most == 1 ? "" : "s", n - self, n - self == 1 ? "was" : "were");
}

/* What does not fit this row, in the order PyTorch looks: the number of arguments, each parameter in turn, names of none. */
static PyObject *why_not(const py_op *op, const op_row *row, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    const hg_op_info *info = row->info;
    int most = info->n_positional;
    Py_ssize_t n_names = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    bool spread = most && n >= most && starts_list(op, row, &info->params[most - 1], most - 1, args[most - 1]);
    bound b = {.n_ints = 0};
    if (n > most && !spread) {
        too_many(op, info, (int)n);
        return NULL;
    }
    for (int i = 0; i < info->n_params; i++) {
        const hg_param *p = &info->params[i];
        Py_ssize_t at = n + n_names, last = at;
        for (Py_ssize_t k = 0; k < n_names && at == last; k++)
            if (param_of(op, row, PyTuple_GET_ITEM(kwnames, k)) == i) at = n + k;
        if (i < n && i < most) at = i;
        match m = MATCH_YES;
        if (at == last) {
            if (p->has_default) continue;
            missing(op, row, i);
            m = MATCH_FAILED;
        } else if (spread && i == most - 1 && p->kind == HG_A_INTS) {
            hg_arg ignored;
            while (at < n && (m = int_arg(args[at], &ignored)) == MATCH_YES) at++;
            if (m == MATCH_NO && at > i) wrong_item(op, p, i, at - i, args[at]);
            if (m == MATCH_NO && at == i) wrong_type(op, p, i, args[at]);
        } else if (!spread || i != most - 1 || n == most) {
            m = py_convert(args[at], p, &b, &b.at[i]);
            if (m == MATCH_NO) wrong_type(op, p, at < n ? i : -1, args[at]);
        }
        if (m != MATCH_YES) goto done;
    }
    for (Py_ssize_t k = 0; k < n_names; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k), *value = args[n + k];
        int i = param_of(op, row, name);
        match m = i < 0 ? extra(op, row, name, value, &b) : MATCH_YES;
        if (i >= 0 && i < n) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", op->chars, name);
            goto done;
        }
        if (m == MATCH_NO && row->creation &&
            (py_is_name(name, NAME(requires_grad)) || py_is_name(name, NAME(pin_memory))))
            PyErr_Format(PyExc_TypeError, "%s(): argument '%U' must be bool, not %.100s", op->chars, name,
                         Py_TYPE(value)->tp_name);
        else if (m == MATCH_NO)
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", op->chars, name);
        if (m != MATCH_YES) goto done;
    }
    PyErr_Format(PyExc_TypeError, "%s(): these arguments do not fit together", op->chars);
done:
    bound_done(&b);
    return NULL;
}

PyObject *py_op_error(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    const hg_op_info *info = op->rows[0]->info;
    const hg_param *end = info->n_params ? &info->params[info->n_params - 1] : NULL;
    /* In PyTorch there is a second row then, of older spellings: here hookgrad/_deprecated.py. */
    bool older = end && end->keyword_only && (!strcmp(end->name, "alpha") || !strcmp(end->name, "value"));
    const op_row *only = NULL;
    int n_plausible = 0;
    for (int r = 0; r < op->n_rows; r++)
        if ((op->n_rows == 1 && !older) || plausible(op->rows[r], n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0)))
            only = op->rows[r], n_plausible++;
    return n_plausible == 1 ? why_not(op, only, args, n, kwnames) : no_row_fits(op, args, n, kwnames);
}
