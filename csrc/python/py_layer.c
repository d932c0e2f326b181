/* `forward` of a layer written in C: what a class like nn.Linear has under that name. It behaves as a method.

   Note [Layers in Python]
   The C function asks nobody. Where somebody is to be asked, hookgrad/nn/_layers.py has the same layer as calls of
   Python's: a class or mode asks about calls; a program has put a function in the place of one of the package's
   (py_package.c); a class with a __getattr__, or an attribute of the instance, says what `module.weight` is. */
#include "py_module.h"
#include "py_op.h"

typedef struct layer {
    PyObject_HEAD
    hg_layer_fn fn;
    PyObject *name;   /* "linear" */
    PyObject *inputs; /* tuple of the names of what it takes: mostly ("input",) */
    PyObject *title;  /* "Linear.forward", once a class has it; "forward" before */
    PyObject *owner;  /* weak reference to that class */
    PyObject *calls;  /* the function of hookgrad.nn._layers; NULL until it is needed */
    PyObject *method; /* the method of Tensor that PyTorch's layer calls, as it was; NULL: it calls functions */
    unsigned version; /* of Tensor, when it last had that method */
    vectorcallfunc call;
} layer;

#define LAYER(o) ((layer *)(o))
enum { MAX_INPUTS = 8 };

/* Where the input of that name goes; -1: there is none. */
static Py_ssize_t input_named(layer *l, PyObject *name) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(l->inputs); i++)
        if (PyUnicode_Compare(PyTuple_GET_ITEM(l->inputs, i), name) == 0) return i;
    return -1;
}

static int bind(layer *l, PyObject *const *args, Py_ssize_t n, PyObject *kwnames, PyObject **at) {
    Py_ssize_t wanted = PyTuple_GET_SIZE(l->inputs);
    if (n > wanted) {
        PyErr_Format(PyExc_TypeError, "%U() takes %zd positional arguments but %zd were given", l->title, wanted + 1,
                     n + 1);
        return -1;
    }
    for (Py_ssize_t i = 0; i < wanted; i++) at[i] = i < n ? args[i] : NULL;
    if (n == wanted && !kwnames) return 0;
    for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = input_named(l, name);
        if (i < 0)
            PyErr_Format(PyExc_TypeError, "%U() got an unexpected keyword argument '%U'", l->title, name);
        else if (at[i])
            PyErr_Format(PyExc_TypeError, "%U() got multiple values for argument '%U'", l->title, name);
        if (i < 0 || at[i]) return -1;
        at[i] = args[n + k];
    }
    for (Py_ssize_t i = 0; i < wanted; i++)
        if (!at[i]) {
            PyErr_Format(PyExc_TypeError, "%U() missing 1 required positional argument: '%U'", l->title,
                         PyTuple_GET_ITEM(l->inputs, i));
            return -1;
        }
    return 0;
}

static bool parameters_override(PyObject *self) {
    hg_table *t = MODULE(self)->params;
    for (uint32_t i = 0; t && i < t->n; i++)
        if (t->at[i].value.kind == HG_V_TENSOR && py_overrides((PyObject *[]){PY(t->at[i].value.obj)}, 1)) return true;
    return false;
}

/* Note [Layers in Python] */
static PyObject *in_python(layer *l, PyObject *self, PyObject *const *in, Py_ssize_t n) {
    PyObject *all[MAX_INPUTS + 1] = {self};
    if (!l->calls) {
        PyObject *module = PyImport_ImportModule("hookgrad.nn._layers");
        PyObject *table = module ? PyObject_GetAttrString(module, "table") : NULL;
        l->calls = table ? PyObject_GetItem(table, l->name) : NULL;
        Py_XDECREF(module);
        Py_XDECREF(table);
        if (!l->calls) return NULL;
    }
    memcpy(all + 1, in, (size_t)n * sizeof *in);
    return PyObject_Vectorcall(l->calls, all, (size_t)n + 1, NULL);
}

/* Has a program given Tensor another method of that name? */
static inline bool method_replaced(layer *l) {
    PyTypeObject *tensor = hg_py->tensor_type;
    if (!l->method || (l->version && l->version == tensor->tp_version_tag)) return false;
    if (PyDict_GetItem(tensor->tp_dict, l->name) != l->method) return true;
    l->version = tensor->tp_version_tag;
    return false;
}

PyObject *py_layer_call(PyObject *o, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
    layer *l = LAYER(o);
    PyObject *at[MAX_INPUTS];
    hg_value in[MAX_INPUTS], out;
    hg_ctx *cx = py_ctx();
    Py_ssize_t wanted = PyTuple_GET_SIZE(l->inputs);
    if (!cx || bind(l, args, n, kwnames, at)) return NULL;
    if (hg_py->n_replaced || method_replaced(l) || !py_module_looks_up_alike(self) ||
        (hg_py->override && (py_overrides(at, wanted) || parameters_override(self))))
        return in_python(l, self, at, wanted);
    for (Py_ssize_t i = 0; i < wanted; i++) in[i] = py_value(at[i]);
    hg_status st = l->fn(cx, MODULE(self), in, (size_t)wanted, &out);
    if (st != HG_OK) {
        bool refused = st != HG_HOST, all_tensors = true; /* by the layer itself, not by a module within it */
        py_raise(cx, st);
        for (Py_ssize_t i = 0; i < wanted; i++) all_tensors &= py_is_tensor(at[i]);
        if (!refused || (all_tensors && st != HG_TYPE)) return NULL;
        PyErr_Clear(); /* what PyTorch's layer would do with the argument, or the setting, decides how it fails, or whether */
        return in_python(l, self, at, wanted);
    }
    return out.kind == HG_V_NONE ? Py_NewRef(Py_None) : py_value_object(out);
}

static PyObject *layer_vectorcall(PyObject *o, PyObject *const *args, size_t nargsf, PyObject *kwnames) {
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (!n || !py_is_module(args[0]))
        return PyErr_Format(PyExc_TypeError,
                            "forward() of the layer '%U' needs a Module as its first argument, not %.100s",
                            LAYER(o)->name, n ? Py_TYPE(args[0])->tp_name : "nothing");
    return py_layer_call(o, args[0], args + 1, n - 1, kwnames);
}

static PyObject *layer_get(PyObject *o, PyObject *self, PyObject *class) {
    (void)class;
    return self ? PyMethod_New(o, self) : Py_NewRef(o);
}

static PyObject *layer_repr(PyObject *o) { return PyUnicode_FromFormat("<forward of the layer '%U'>", LAYER(o)->name); }
static PyObject *layer_name(PyObject *o, void *unused) { return (void)o, (void)unused, Py_NewRef(NAME(forward)); }

/* The class statement says where it stands. */
static PyObject *layer_set_name(PyObject *o, PyObject *args) {
    PyObject *owner, *name;
    if (!PyArg_ParseTuple(args, "OU:__set_name__", &owner, &name)) return NULL;
    if (LAYER(o)->title != NAME(forward)) Py_RETURN_NONE; /* the first class it was in */
    PyObject *class = PyObject_GetAttr(owner, NAME(__qualname__));
    PyObject *title = class ? PyUnicode_FromFormat("%S.%U", class, name) : NULL;
    Py_XDECREF(class);
    if (!title) return NULL;
    Py_SETREF(LAYER(o)->title, title);
    Py_XSETREF(LAYER(o)->owner, PyWeakref_NewRef(owner, NULL));
    return LAYER(o)->owner ? Py_NewRef(Py_None) : NULL;
}

/* Of the class, which may be given another name later. */
static PyObject *layer_module(PyObject *o, void *unused) {
    (void)unused;
    PyObject *owner = LAYER(o)->owner ? PyObject_CallNoArgs(LAYER(o)->owner) : Py_NewRef(Py_None);
    if (!owner || owner == Py_None) return owner;
    PyObject *name = PyObject_GetAttr(owner, NAME(__module__));
    Py_DECREF(owner);
    return name;
}

/* What inspect.signature() is to show: (self, input). */
static PyObject *layer_signature(PyObject *o, void *unused) {
    (void)unused;
    PyObject *inspect = PyImport_ImportModule("inspect"), *list = inspect ? PyList_New(0) : NULL;
    PyObject *class = list ? PyObject_GetAttrString(inspect, "Parameter") : NULL, *made = NULL;
    PyObject *sort = class ? PyObject_GetAttrString(class, "POSITIONAL_OR_KEYWORD") : NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(LAYER(o)->inputs);
    int failed = !sort;
    for (Py_ssize_t i = -1; i < n && !failed; i++) {
        PyObject *name = i < 0 ? NAME(self) : PyTuple_GET_ITEM(LAYER(o)->inputs, i);
        PyObject *parameter = PyObject_CallFunctionObjArgs(class, name, sort, NULL);
        failed = !parameter || PyList_Append(list, parameter);
        Py_XDECREF(parameter);
    }
    if (!failed) made = PyObject_CallMethod(inspect, "Signature", "O", list);
    Py_XDECREF(sort);
    Py_XDECREF(class);
    Py_XDECREF(list);
    Py_XDECREF(inspect);
    return made;
}

static void layer_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    Py_XDECREF(LAYER(o)->name);
    Py_XDECREF(LAYER(o)->inputs);
    Py_XDECREF(LAYER(o)->title);
    Py_XDECREF(LAYER(o)->owner);
    Py_XDECREF(LAYER(o)->calls);
    Py_XDECREF(LAYER(o)->method);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyGetSetDef layer_attributes[] = {
    {"__name__", layer_name, NULL, NULL, NULL},
    {"__module__", layer_module, NULL, NULL, NULL},
    {"__signature__", layer_signature, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef layer_methods[] = {{"__set_name__", layer_set_name, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};

static PyMemberDef layer_members[] = {
    {"layer", T_OBJECT, offsetof(layer, name), READONLY, NULL},
    {"__qualname__", T_OBJECT, offsetof(layer, title), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(layer, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot layer_slots[] = {
    {Py_tp_dealloc, layer_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, layer_get},
    {Py_tp_repr, layer_repr},
    {Py_tp_getset, layer_attributes},
    {Py_tp_members, layer_members},
    {Py_tp_methods, layer_methods},
    {Py_tp_doc, "The forward function of a layer written in C."},
    {0, NULL},
};

static PyType_Spec layer_spec = {"hookgrad._C.LayerForward", sizeof(layer), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                                     Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                                 layer_slots};

/* layer_forward("linear"), or with the names of the inputs: layer_forward("bilinear", "input1", "input2"). */
static PyObject *layer_forward(PyObject *module, PyObject *args) {
    (void)module;
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!PyUnicode_Check(PyTuple_GET_ITEM(args, i)))
            return PyErr_SetString(PyExc_TypeError, "layer_forward() takes names"), NULL;
    if (n < 1 || n > MAX_INPUTS)
        return PyErr_SetString(PyExc_TypeError, "layer_forward() takes a name, and the names of the inputs"), NULL;
    PyObject *name = PyTuple_GET_ITEM(args, 0);
    const char *chars = PyUnicode_AsUTF8(name);
    if (!chars) return NULL;
    hg_layer_fn fn = hg_layer_find(chars);
    if (!fn) return PyErr_Format(PyExc_ValueError, "there is no layer called '%U'", name);
    layer *l = (layer *)hg_py->layer_forward_type->tp_alloc(hg_py->layer_forward_type, 0);
    if (!l) return NULL;
    l->fn = fn;
    l->call = layer_vectorcall;
    l->name = Py_NewRef(name);
    l->method = strcmp(chars, "flatten") ? NULL : Py_XNewRef(PyDict_GetItem(hg_py->tensor_type->tp_dict, name));
    l->title = Py_NewRef(NAME(forward));
    l->inputs = n > 1 ? PyTuple_GetSlice(args, 1, n) : PyTuple_Pack(1, NAME(input));
    if (!l->inputs) Py_CLEAR(l);
    return (PyObject *)l;
}

static PyMethodDef functions[] = {
    {"layer_forward", layer_forward, METH_VARARGS, "The forward of a layer by name, as a method for a class to have."},
    {NULL, NULL, 0, NULL}};

int py_layer_init(PyObject *m) {
    return py_type_add(m, &hg_py->layer_forward_type, &layer_spec, NULL) || PyModule_AddFunctions(m, functions) ? -1
                                                                                                                : 0;
}
