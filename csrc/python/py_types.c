/* The small constants: dtypes, devices, layouts, memory formats. */
#include "binding.h"

/* ---- dtype ------------------------------------------------------------------------------------------------------ */

typedef struct py_dtype_object {
    PyObject_HEAD
    const char *name;
    hg_dtype dtype; /* HG_NO_DTYPE where no tensor can be of it */
    uint8_t size;
    bool is_float, is_complex, is_signed;
} py_dtype_object;

/* Dtypes of torch's that can be spoken of, in tables and comparisons; there are no tensors of them. */
static const py_dtype_object spoken_of[] = {
#define SPOKEN_OF(name, ...)                                                                                           \
    { PyObject_HEAD_INIT(NULL) name, HG_NO_DTYPE, __VA_ARGS__ }
    SPOKEN_OF("uint16", 2, false, false, false),        SPOKEN_OF("uint32", 4, false, false, false),
    SPOKEN_OF("uint64", 8, false, false, false),        SPOKEN_OF("complex32", 4, false, true, true),
    SPOKEN_OF("complex64", 8, false, true, true),       SPOKEN_OF("complex128", 16, false, true, true),
    SPOKEN_OF("float8_e4m3fn", 1, true, false, true),   SPOKEN_OF("float8_e5m2", 1, true, false, true),
    SPOKEN_OF("float8_e4m3fnuz", 1, true, false, true), SPOKEN_OF("float8_e5m2fnuz", 1, true, false, true),
    SPOKEN_OF("float8_e8m0fnu", 1, true, false, false), SPOKEN_OF("float4_e2m1fn_x2", 1, true, false, true),
    SPOKEN_OF("quint8", 1, false, false, false),        SPOKEN_OF("qint8", 1, false, false, true),
    SPOKEN_OF("qint32", 4, false, false, true),         SPOKEN_OF("quint4x2", 1, false, false, false),
#undef SPOKEN_OF
};

static py_dtype_object *dtype_at(PyObject *self) { return (py_dtype_object *)self; }

static PyObject *dtype_repr(PyObject *self) { return PyUnicode_FromFormat("torch.%s", dtype_at(self)->name); }

/* Pickled as the name that finds it again in the package. */
static PyObject *dtype_reduce(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyUnicode_FromString(dtype_at(self)->name);
}

/* _c_name(): as messages of PyTorch's C++ call it. */
static PyObject *dtype_c_name(PyObject *self, PyObject *Py_UNUSED(none)) {
    py_dtype_object *d = dtype_at(self);
    return PyUnicode_FromString(d->dtype == HG_NO_DTYPE ? d->name : hg_c_name(d->dtype));
}

static PyObject *dtype_itself(PyObject *self, PyObject *Py_UNUSED(memo)) { return Py_NewRef(self); }

static PyObject *dtype_is_floating_point(PyObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(dtype_at(self)->is_float);
}

static PyObject *dtype_is_complex(PyObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(dtype_at(self)->is_complex);
}

static PyObject *dtype_is_signed(PyObject *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(dtype_at(self)->is_signed);
}

static PyObject *dtype_itemsize(PyObject *self, void *Py_UNUSED(closure)) {
    return PyLong_FromLong(dtype_at(self)->size);
}

static PyGetSetDef dtype_attributes[] = {
    {"is_floating_point", dtype_is_floating_point, NULL, "Is it a floating-point type?", NULL},
    {"is_complex", dtype_is_complex, NULL, "Is it a complex type?", NULL},
    {"is_signed", dtype_is_signed, NULL, "Does it hold negative numbers?", NULL},
    {"itemsize", dtype_itemsize, NULL, "Bytes an element.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef dtype_methods[] = {
    {"_c_name", dtype_c_name, METH_NOARGS, NULL},
    {"__reduce__", dtype_reduce, METH_NOARGS, NULL},
    {"__copy__", dtype_itself, METH_NOARGS, NULL},
    {"__deepcopy__", dtype_itself, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot dtype_slots[] = {
    {Py_tp_repr, dtype_repr},
    {Py_tp_getset, dtype_attributes},
    {Py_tp_methods, dtype_methods},
    {Py_tp_doc, "The type of a tensor's elements: torch.float32 and its kin."},
    {0, NULL},
};

static PyType_Spec dtype_spec = {
    .name = "hookgrad.dtype",
    .basicsize = sizeof(py_dtype_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = dtype_slots,
};

/* Other names of the same dtypes. */
static const struct {
    const char *name;
    hg_dtype dtype;
} aliases[] = {
    {"half", HG_F16}, {"float", HG_F32}, {"double", HG_F64}, {"short", HG_I16}, {"int", HG_I32}, {"long", HG_I64},
};

/* A dtype with the fields of `like`, as an attribute of the module; returns new. */
static PyObject *dtype_add(PyObject *m, const py_dtype_object *like) {
    py_dtype_object *o = PyObject_New(py_dtype_object, hg_py->dtype_type);
    if (!o) return NULL;
    o->dtype = like->dtype, o->name = like->name, o->size = like->size;
    o->is_float = like->is_float, o->is_complex = like->is_complex, o->is_signed = like->is_signed;
    if (PyModule_AddObjectRef(m, like->name, (PyObject *)o)) Py_CLEAR(o);
    return (PyObject *)o;
}

static int dtype_init(PyObject *m) {
    for (int d = 0; d < HG_N_DTYPES; d++) {
        const hg_dtype_info *info = &hg_dtypes[d];
        py_dtype_object like = {.dtype = (hg_dtype)d,
                                .name = info->name,
                                .size = info->size,
                                .is_float = hg_dtype_is_float((hg_dtype)d),
                                .is_signed = d != HG_U8 && d != HG_BOOL};
        if (!(hg_py->dtypes[d] = dtype_add(m, &like))) return -1;
    }
    for (size_t i = 0; i < sizeof spoken_of / sizeof *spoken_of; i++) {
        PyObject *o = dtype_add(m, &spoken_of[i]);
        if (!o) return -1;
        Py_DECREF(o);
    }
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (PyModule_AddObjectRef(m, aliases[i].name, hg_py->dtypes[aliases[i].dtype])) return -1;
    return 0;
}

/* Python's own number types stand for dtypes as they do in torch. */
int py_dtype(PyObject *o, hg_dtype *out) {
    if (Py_TYPE(o) == hg_py->dtype_type) {
        if (dtype_at(o)->dtype == HG_NO_DTYPE) {
            PyErr_Format(PyExc_NotImplementedError, "hookgrad has no tensors of torch.%s", dtype_at(o)->name);
            return -1;
        }
        *out = dtype_at(o)->dtype;
    } else if (o == (PyObject *)&PyFloat_Type)
        *out = HG_F64;
    else if (o == (PyObject *)&PyLong_Type)
        *out = HG_I64;
    else if (o == (PyObject *)&PyBool_Type)
        *out = HG_BOOL;
    else if (o != Py_None) {
        PyErr_Format(PyExc_TypeError, "argument 'dtype' must be torch.dtype, not %.100s", Py_TYPE(o)->tp_name);
        return -1;
    }
    return 0;
}

/* ---- device ----------------------------------------------------------------------------------------------------- */

/* Devices of torch's other kinds can be spoken of; there is nothing on them. */
static const char *const device_kinds[] = {"cpu",    "cuda", "ipu",  "xpu",  "mkldnn", "opengl",       "opencl",
                                           "ideep",  "hip",  "ve",   "fpga", "maia",   "xla",          "lazy",
                                           "vulkan", "mps",  "meta", "hpu",  "mtia",   "privateuseone"};
enum { N_DEVICE_KINDS = sizeof device_kinds / sizeof *device_kinds };

typedef struct py_device_object {
    PyObject_HEAD
    int kind;      /* in device_kinds */
    int64_t index; /* -1: none given */
} py_device_object;

#define DEVICE(o) ((py_device_object *)(o))

static PyObject *device_new_at(int kind, int64_t index) {
    py_device_object *o = PyObject_New(py_device_object, hg_py->device_type);
    if (o) o->kind = kind, o->index = index;
    return (PyObject *)o;
}

/* "cpu" or "cuda:0". */
static int parse_device(const char *name, int *kind, int64_t *index) {
    size_t length = strcspn(name, ":");
    *index = -1;
    for (*kind = 0; *kind < N_DEVICE_KINDS; ++*kind)
        if (strlen(device_kinds[*kind]) == length && !strncmp(name, device_kinds[*kind], length)) break;
    if (*kind == N_DEVICE_KINDS) {
        PyErr_Format(
            PyExc_RuntimeError,
            "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, "
            "vulkan, mps, meta, hpu, mtia, privateuseone device type at start of device string: %.100s",
            name);
        return -1;
    }
    if (!name[length]) return 0;
    char *end;
    long long i = strtoll(name + length + 1, &end, 10);
    const char *digits = name + length + 1;
    bool padded = digits[0] == '0' && digits[1];
    if (digits[0] < '0' || digits[0] > '9' || padded || *end) {
        PyErr_Format(PyExc_RuntimeError, "Invalid device string: '%.100s'", name);
        return -1;
    }
    *index = i;
    return 0;
}

static int check_present(int kind) {
    if (kind == 0) return 0;
    const char *name = device_kinds[kind];
    if (!strcmp(name, "cuda") || !strcmp(name, "xpu")) /* what torch raises where it is not compiled in */
        PyErr_Format(PyExc_AssertionError, "Torch not compiled with %s enabled: hookgrad runs on the CPU",
                     name[0] == 'c' ? "CUDA" : "XPU");
    else
        PyErr_Format(PyExc_NotImplementedError, "hookgrad runs on the CPU: expected device 'cpu', got '%s'", name);
    return -1;
}

static PyObject *device_new(PyTypeObject *Py_UNUSED(type), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"type", "index", NULL};
    PyObject *what, *at = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:device", names, &what, &at)) return NULL;
    if (Py_TYPE(what) == hg_py->device_type && at == Py_None) return Py_NewRef(what);
    if (!PyUnicode_Check(what)) {
        if (PyLong_Check(what))
            return PyErr_SetString(PyExc_RuntimeError, "Cannot access accelerator device when none is available."),
                   NULL;
        return PyErr_Format(PyExc_TypeError, "device(): argument 'type' (position 1) must be str, not %.100s",
                            Py_TYPE(what)->tp_name);
    }
    const char *name = PyUnicode_AsUTF8(what);
    int kind;
    int64_t index;
    if (!name || parse_device(name, &kind, &index)) return NULL;
    if (at != Py_None) {
        if (index >= 0)
            return PyErr_Format(PyExc_RuntimeError,
                                "type (string) must not include an index because index was passed explicitly: %s",
                                name);
        if (!PyLong_Check(at))
            return PyErr_Format(PyExc_TypeError, "device(): argument 'index' (position 2) must be int, not %.100s",
                                Py_TYPE(at)->tp_name);
        if (py_int64(at, &index)) return NULL;
        if (index < 0) return PyErr_SetString(PyExc_RuntimeError, "Device index must not be negative"), NULL;
    }
    return device_new_at(kind, index);
}

static PyObject *device_repr(PyObject *self) {
    const char *name = device_kinds[DEVICE(self)->kind];
    if (DEVICE(self)->index < 0) return PyUnicode_FromFormat("device(type='%s')", name);
    return PyUnicode_FromFormat("device(type='%s', index=%lld)", name, (long long)DEVICE(self)->index);
}

static PyObject *device_str(PyObject *self) {
    const char *name = device_kinds[DEVICE(self)->kind];
    if (DEVICE(self)->index < 0) return PyUnicode_FromString(name);
    return PyUnicode_FromFormat("%s:%lld", name, (long long)DEVICE(self)->index);
}

static PyObject *device_compare(PyObject *self, PyObject *other, int op) {
    if (Py_TYPE(other) != hg_py->device_type || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
    bool equal = DEVICE(self)->kind == DEVICE(other)->kind && DEVICE(self)->index == DEVICE(other)->index;
    return PyBool_FromLong(equal == (op == Py_EQ));
}

static Py_hash_t device_hash(PyObject *self) {
    return (Py_hash_t)(DEVICE(self)->index + 7919 * (DEVICE(self)->kind + 1));
}

static PyObject *device_get_type(PyObject *self, void *Py_UNUSED(closure)) {
    return PyUnicode_FromString(device_kinds[DEVICE(self)->kind]);
}

static PyObject *device_get_index(PyObject *self, void *Py_UNUSED(closure)) {
    if (DEVICE(self)->index < 0) Py_RETURN_NONE;
    return PyLong_FromLongLong(DEVICE(self)->index);
}

static PyObject *device_reduce(PyObject *self, PyObject *Py_UNUSED(none)) {
    const char *name = device_kinds[DEVICE(self)->kind];
    if (DEVICE(self)->index < 0) return Py_BuildValue("O(s)", Py_TYPE(self), name);
    return Py_BuildValue("O(sL)", Py_TYPE(self), name, (long long)DEVICE(self)->index);
}

/* While a mode is on, or for "meta", it is a mode that gives its device to what makes tensors; the CPU needs none. */
static PyObject *device_enter(PyObject *self, PyObject *Py_UNUSED(none)) {
    bool meta = py_is_meta(self);
    if (!meta && check_present(DEVICE(self)->kind)) return NULL;
    if (!meta && !hg_py->function_modes) return Py_NewRef(self);
    PyObject *module = PyImport_ImportModule("hookgrad.utils._device");
    PyObject *entered = module ? PyObject_CallMethod(module, "enter", "O", self) : NULL;
    Py_XDECREF(module);
    return entered;
}

static PyObject *device_exit(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args)) {
    if (!hg_py->function_modes) Py_RETURN_NONE;
    PyObject *module = PyImport_ImportModule("hookgrad.utils._device");
    PyObject *left = module ? PyObject_CallMethod(module, "leave", NULL) : NULL;
    Py_XDECREF(module);
    return left;
}

static PyGetSetDef device_attributes[] = {
    {"type", device_get_type, NULL, "Its kind: 'cpu'.", NULL},
    {"index", device_get_index, NULL, "Its number, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef device_methods[] = {
    {"__reduce__", device_reduce, METH_NOARGS, NULL},
    {"__enter__", device_enter, METH_NOARGS, NULL},
    {"__exit__", device_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot device_slots[] = {
    {Py_tp_new, device_new},
    {Py_tp_repr, device_repr},
    {Py_tp_str, device_str},
    {Py_tp_hash, device_hash},
    {Py_tp_richcompare, device_compare},
    {Py_tp_getset, device_attributes},
    {Py_tp_methods, device_methods},
    {Py_tp_doc, "Where a tensor lives: on the CPU. Other devices have names only."},
    {0, NULL},
};

static PyType_Spec device_spec = {
    .name = "hookgrad.device",
    .basicsize = sizeof(py_device_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = device_slots,
};

bool py_is_meta(PyObject *o) {
    if (!o) return false;
    if (PyUnicode_Check(o)) return PyUnicode_CompareWithASCIIString(o, "meta") == 0;
    return Py_TYPE(o) == hg_py->device_type && !strcmp(device_kinds[DEVICE(o)->kind], "meta");
}

PyObject *py_device_of(const hg_tensor *t) {
    if (!hg_is_meta(t)) return Py_NewRef(hg_py->cpu);
    return PyObject_CallFunction((PyObject *)hg_py->device_type, "s", "meta");
}

PyObject *py_on(PyObject *device, PyObject *made) {
    hg_ctx *cx = py_ctx();
    if (!made || !cx || !py_is_meta(device) || !py_is_tensor(made)) return made;
    hg_status st = hg_make_meta(cx, TENSOR(made));
    if (st == HG_OK) return made;
    Py_DECREF(made);
    return py_raise(cx, st);
}

int py_device(PyObject *o, const char *function) {
    if (!o || o == Py_None) return 0;
    if (Py_TYPE(o) == hg_py->device_type) return check_present(DEVICE(o)->kind);
    int64_t index;
    if (PyUnicode_Check(o)) {
        const char *name = PyUnicode_AsUTF8(o);
        int kind;
        return name && !parse_device(name, &kind, &index) ? check_present(kind) : -1;
    }
    if (PyLong_Check(o) && !PyBool_Check(o)) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot access accelerator device when none is available.");
        return -1;
    }
    PyErr_Format(PyExc_TypeError, "%s(): argument 'device' must be torch.device, not %.100s", function,
                 Py_TYPE(o)->tp_name);
    return -1;
}

/* ---- layout, memory_format -------------------------------------------------------------------------------------- */

typedef struct constant {
    PyObject_HEAD
    const char *name;
    int value; /* of a memory format: the hg_format */
} constant;

static PyObject *constant_repr(PyObject *self) { return PyUnicode_FromFormat("torch.%s", ((constant *)self)->name); }

static PyObject *constant_reduce(PyObject *self, PyObject *Py_UNUSED(none)) {
    return PyUnicode_FromString(((constant *)self)->name);
}

static PyMethodDef constant_methods[] = {
    {"__reduce__", constant_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot constant_slots[] = {
    {Py_tp_doc, "A name that is told to a function: torch.strided, torch.channels_last and their kin."},
    {Py_tp_repr, constant_repr},
    {Py_tp_methods, constant_methods},
    {0, NULL},
};

static PyType_Spec layout_spec = {
    .name = "hookgrad.layout",
    .basicsize = sizeof(constant),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = constant_slots,
};

static PyType_Spec memory_format_spec = {
    .name = "hookgrad.memory_format",
    .basicsize = sizeof(constant),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = constant_slots,
};

static PyObject *constant_add(PyObject *m, PyTypeObject *type, const char *name, int value) {
    constant *o = PyObject_New(constant, type);
    if (!o) return NULL;
    o->name = name, o->value = value;
    if (PyModule_AddObjectRef(m, name, (PyObject *)o)) Py_CLEAR(o);
    return (PyObject *)o;
}

bool py_format(PyObject *o, hg_format *f) {
    if (Py_TYPE(o) != hg_py->memory_format_type) return false;
    *f = (hg_format)((constant *)o)->value;
    return true;
}

int py_format_or(PyObject *o, const char *function, hg_format *f) {
    if (!o || o == Py_None || py_format(o, f)) return 0;
    PyErr_Format(PyExc_TypeError, "%s(): argument 'memory_format' must be torch.memory_format, not %.100s", function,
                 Py_TYPE(o)->tp_name);
    return -1;
}

static int constants_init(PyObject *m) {
    static const char *const formats[] = {
        [HG_FORMAT_CONTIGUOUS] = "contiguous_format",
        [HG_FORMAT_PRESERVE] = "preserve_format",
        [HG_FORMAT_CHANNELS_LAST] = "channels_last",
        [HG_FORMAT_CHANNELS_LAST_3D] = "channels_last_3d",
    };
    /* Layouts that no tensor has: programs compare with them. */
    static const char *const layouts[] = {"sparse_coo", "sparse_csr", "sparse_csc",
                                          "sparse_bsr", "sparse_bsc", "jagged"};
    if (!(hg_py->strided = constant_add(m, hg_py->layout_type, "strided", 0))) return -1;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        PyObject *o = constant_add(m, hg_py->layout_type, layouts[i], 0);
        if (!o) return -1;
        Py_DECREF(o);
    }
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        PyObject *o = constant_add(m, hg_py->memory_format_type, formats[i], (int)i);
        if (!o) return -1;
        Py_DECREF(o); /* the module keeps it */
    }
    return 0;
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

int py_type_add(PyObject *m, PyTypeObject **slot, PyType_Spec *spec, PyTypeObject *base) {
    *slot = (PyTypeObject *)PyType_FromModuleAndSpec(m, spec, (PyObject *)base);
    return *slot ? PyModule_AddType(m, *slot) : -1;
}

void py_types_of_torch(void) {
    hg_py->dtype_type->tp_name = "torch.dtype";
    hg_py->device_type->tp_name = "torch.device";
    hg_py->size_type->tp_name = "torch.Size";
    hg_py->layout_type->tp_name = "torch.layout";
    hg_py->memory_format_type->tp_name = "torch.memory_format";
    hg_py->generator_type->tp_name = "torch._C.Generator";
}

int py_types_init(PyObject *m) {
    if (py_type_add(m, &hg_py->dtype_type, &dtype_spec, NULL) ||
        py_type_add(m, &hg_py->device_type, &device_spec, NULL) ||
        py_type_add(m, &hg_py->layout_type, &layout_spec, NULL) ||
        py_type_add(m, &hg_py->memory_format_type, &memory_format_spec, NULL))
        return -1;
    if (dtype_init(m) || constants_init(m) || !(hg_py->cpu = device_new_at(0, -1))) return -1;
    return py_size_init(m) || py_generator_init(m) ? -1 : 0;
}
