/* What the files of the binding share. The binding translates: a Python object to a core one, a call to a core call, a
   status to an exception. It sees the core through hookgrad.h alone.

   Note [One object, two faces]
   A tensor, a node, a module, a table of hooks or of slots is one Python object with the core's struct embedded right
   behind the object header, so PY() and TENSOR() are pointer arithmetic and the reference count is Python's own.
   Only the core empties that struct (hg_finalize), and it hands the memory back through host->free.

   Note [One interpreter]
   The state is the process's: it is made at the first import and never freed, since objects may outlive the module.
   A second interpreter that imports hookgrad gets an ImportError. */
#ifndef HG_BINDING_H
#define HG_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "hookgrad.h"

/* ---- The state -------------------------------------------------------------------------------------------------- */

/* Our types, by their C names: hg_py->tensor_type ... */
/* clang-format off */
#define PY_TYPES(X)                                                                                                    \
    X(tensor) X(node) X(hooks) X(hooks_view) X(table) X(module) X(handle) X(layer_forward) X(op) X(dtype) X(device)    \
    X(size) X(generator) X(layout) X(memory_format) X(saved) X(chook) X(mapping_iterator) X(mapping_view)              \
    X(module_dict) X(walk) X(grad_mode) X(package)
/* clang-format on */

/* Interned names, made once: NAME(forward). */
/* clang-format off */
#define PY_NAMES(X)                                                                                                    \
    X(forward) X(training) X(__dict__) X(__array__) X(__array_interface__) X(__dlpack__) X(__name__) X(__qualname__)   \
    X(_saved_attribute) X(__module__) X(_parameters) X(_buffers) X(_modules) X(_non_persistent_buffers_set)            \
    X(_forward_hooks) X(_forward_pre_hooks) X(_backward_hooks) X(_backward_pre_hooks) X(_is_full_backward_hook)        \
    X(_forward_hooks_with_kwargs) X(_forward_hooks_always_called) X(_forward_pre_hooks_with_kwargs)                    \
    X(_state_dict_hooks) X(_state_dict_pre_hooks) X(_load_state_dict_pre_hooks) X(_load_state_dict_post_hooks)         \
    X(persistent) X(remove) X(dtype) X(device) X(requires_grad) X(pin_memory) X(layout) X(out) X(input) X(self)        \
    X(dim) X(axis) X(keepdim) X(keepdims) X(other) X(data) X(grad) X(names) X(_is_param) X(_is_buffer)                 \
    X(register_parameter) X(register_buffer) X(call_super_init) X(__getattr__) X(__getattribute__) X(weight) X(bias)   \
    X(fill_) X(zero_) X(running_mean) X(running_var) X(num_batches_tracked) X(f_globals) X(__init_subclass__) X(__init__)       \
    X(__torch_function__) X(__torch_dispatch__) X(_call_impl) X(_hook_table) X(__setattr__) X(named_modules)           \
    X(named_children) X(children) X(train) X(_mode) X(empty) X(add_module) X(_save_to_state_dict) X(get_extra_state)   \
    X(_version) X(version) X(_metadata) X(detach) X(state_dict) X(destination) X(prefix) X(keep_vars)                  \
    X(momentum_buffer) X(exp_avg) X(exp_avg_sq) X(max_exp_avg_sq) X(step)
/* clang-format on */

typedef struct mod_state {
    hg_lib *lib;
    hg_ctx *first;    /* the importing thread's context: it lives as long as the process */
    PyObject *module; /* hookgrad._C */
    int64_t interpreter;
    bool ready;
    bool one_thread; /* what set_multithreading_enabled(False) was told */
#define X(name) PyTypeObject *name##_type;
    PY_TYPES(X)
#undef X
#define X(name) PyObject *name;
    struct {
        PY_NAMES(X)
    } names;
#undef X
    PyObject *dtypes[HG_N_DTYPES]; /* torch.float32 ... */
    PyObject *cpu;                 /* device(type='cpu') */
    PyObject *strided;             /* torch.strided */
    PyObject *default_generator;
    PyObject *empty_tuple;
    PyObject *uninitialized;  /* the class of tensors without a shape, which functions refuse; NULL until it is made */
    PyObject *linalg_error;   /* the class torch.linalg.LinAlgError, a RuntimeError */
    PyObject *out_of_memory;  /* the class OutOfMemoryError: a RuntimeError, as torch has it, and a MemoryError */
    PyObject *override;       /* what asks a __torch_function__; NULL until a class has one of its own */
    PyObject *dispatch;       /* what asks a __torch_dispatch__; NULL until there is a mode that has one */
    int function_modes;       /* how many modes are on that are asked of every call, in all threads */
    PyObject *mode_attribute; /* what modes make of a tensor's attributes; NULL until there is one */
    PyObject *no_override;    /* _disabled_torch_function_impl */
    PyObject *no_dispatch;    /* _disabled_torch_dispatch_impl */
    PyObject *parameter;      /* the class nn.Parameter, told by the package; may be NULL */
    PyObject *training;       /* borrowed from the type: what looks the attribute of that name up */
    PyObject *module_methods; /* dict: nn.Module's methods as the package made them; NULL until it has */
    PyObject *instead; /* dict: functions that stand in for ops, of _op_instead() (py_op.c); NULL until there is one */
    PyObject *originals;   /* dict: what programs have put something else in the place of, in the package's modules */
    Py_ssize_t n_replaced; /* how many those are, and how many dispatch modes are on */
    /* Are the global backward hooks full ones? True, False, NULL: there were none yet. */
    PyObject *global_full_backward;
    uint64_t n_odd_keys;         /* so many keys of hook tables, of those that are no ids, had one given (py_hooks.c) */
    PyObject *node_types;        /* dict: the types of nodes by name */
    PyTypeObject *function_type; /* the base of the classes of autograd.Functions' nodes */
    PyObject *function_names;    /* dict: their names, which nodes point to */
    PyObject *files;             /* dict: the names of files hooks were registered in, kept for good */
    PyObject *last_file;         /* borrowed from files: where the last hook was registered; NULL before the first */
    struct {
        PyObject *code; /* owned: no other code can have its address */
        int at, line;
    } site;                /* the instruction that last registered a hook; code NULL before the first */
    PyObject *numbers[64]; /* "0", "1" ...: the names of the first children in a row; NULL until used */
    /* torch.return_types.max ..., max_out ...; NULL where an op's result has no names */
    PyObject *result_types[2][HG_N_OPS];
    /* Of a level of dual tensors: Note [Dispatch] in py_dispatch.c; NULL where there is none. */
    PyObject *dual_call, *dual_as, *transform_call;
    PyObject *watch_born, *watch_failed, *watch_writing; /* what py_watch.c calls; NULL: nothing is watched */
    struct py_numpy *numpy;                              /* NumPy's C API; NULL before the first array */
    PyObject *no_attributes; /* Note [Tensors without attributes] in py_tensor.c; NULL but on Python 3.11 */
} mod_state;

extern mod_state *hg_py; /* NULL before the first import */
#define NAME(x) (hg_py->names.x)

/* Is a keyword the known one? It need not be interned where it was read from a file. */
static inline bool py_is_name(PyObject *name, PyObject *known) {
    return name == known || PyUnicode_Compare(name, known) == 0;
}

/* ---- Objects ---------------------------------------------------------------------------------------------------- */

typedef struct py_tensor {
    PyObject_HEAD
    hg_tensor core;
    PyObject *dict;     /* may be NULL, or no_attributes, which is borrowed */
    PyObject *weakrefs; /* may be NULL */
} py_tensor;

typedef struct py_hooks {
    PyObject_HEAD
    hg_hooks core;
    PyObject *weakrefs;
    PyObject *ref;      /* owned: the weak reference to itself that its handles share; NULL before the first */
    PyObject *views[2]; /* borrowed: the mappings of its flags that are alive (py_hooks.c) */
    PyObject *odd;      /* owned: a dict from keys that are no ids to the ids that stand for them; NULL: none yet */
    PyObject *past;     /* owned: a dict of flags, Note [Flags without hooks] in py_hooks.c; NULL: none yet */
    PyObject *from;     /* owned: the OrderedDict of a file that it was made of; NULL: none */
    bool is_legacy;     /* the backward hook registered last is a legacy one: so are those put in by hand */
} py_hooks;

typedef struct py_table {
    PyObject_HEAD
    hg_table core;
    PyObject *weakrefs;
} py_table;

typedef struct py_module {
    PyObject_HEAD
    hg_module core;
    PyObject *dict; /* may be NULL; see Note [A module's dictionary] in py_module.h */
    PyObject *weakrefs;
    vectorcallfunc call;
    PyObject *non_persistent; /* the set of names; NULL: empty so far */
    PyObject *full_backward;  /* `_is_full_backward_hook`: True, False, or NULL for None */
    uint32_t present;         /* which of PyTorch's attributes are there: none before __init__ */
    uint32_t hides; /* what `dict` hides, when it was `dict_version`: Note [What an instance hides] in py_module.c */
    uint64_t dict_version;
} py_module;

/* A node's core is of variable size, and private to the core but for its head: the first field holds what Python calls
   ob_size, the next two are the host's. */
typedef struct py_node {
    PyObject_VAR_HEAD PyObject *weakrefs;
    PyObject *metadata; /* a dict; NULL until it is asked for */
} py_node;

_Static_assert(offsetof(PyObject, ob_refcnt) + 2 * sizeof(void *) == sizeof(PyObject), "HG_COUNT() is Python's count");

/* From one face to the other; NULL stays NULL in neither: test first. */
#define PY(core_object) ((PyObject *)((char *)(core_object) - sizeof(PyObject)))
#define CORE(object)    ((void *)((char *)(object) + sizeof(PyObject)))
#define TENSOR(object)  ((hg_tensor *)CORE(object))
#define NODE(object)    ((hg_node *)CORE(object))
#define HOOKS(object)   ((hg_hooks *)CORE(object))
#define TABLE(object)   ((hg_table *)CORE(object))
#define MODULE(object)  ((hg_module *)CORE(object))

/* Is it of that type, which has a layout of its own? Then a class below has it in its chain of first bases, whatever others. */
static inline bool py_is(PyObject *o, const PyTypeObject *type) {
    const PyTypeObject *t = Py_TYPE(o);
    while (t && t != type) t = t->tp_base;
    return t;
}
bool py_is_node(PyObject *o);
static inline bool py_is_tensor(PyObject *o) { return py_is(o, hg_py->tensor_type); }
/* A NumPy array? Told by its type's name: NumPy may not be loaded. */
static inline bool py_is_array(PyObject *o) { return !strcmp(Py_TYPE(o)->tp_name, "numpy.ndarray"); }
static inline bool py_is_module(PyObject *o) { return py_is(o, hg_py->module_type); }

/* A dead object's memory is the next one's: see Note [Free lists] in py_host.c. */
static inline void py_reborn(PyObject *o) {
#if defined(Py_REF_DEBUG) || defined(Py_TRACE_REFS)
    _Py_NewReference(o);
#else
    Py_SET_REFCNT(o, 1);
#endif
}

/* The Python face of a core object the caller owns a reference to: that reference becomes the result's. NULL: None. */
static inline PyObject *py_own(void *core) { return core ? PY(core) : Py_NewRef(Py_None); }
/* The Python face of a borrowed core object: new. NULL: None. */
static inline PyObject *py_wrap(void *core) { return Py_NewRef(core ? PY(core) : Py_None); }

/* ---- Context and errors ----------------------------------------------------------------------------------------- */

#if defined(__linux__) && defined(__GNUC__)
#define PY_THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define PY_THREAD_LOCAL _Thread_local
#endif
extern PY_THREAD_LOCAL hg_ctx *py_this_ctx;
hg_ctx *py_ctx_new(void); /* borrowed; NULL with the exception set */
/* This thread's context, made at its first use and freed with the thread; borrowed, NULL with the exception set. */
static inline hg_ctx *py_ctx(void) { return py_this_ctx ? py_this_ctx : py_ctx_new(); }

/* Turn a failed status into the exception, and return NULL: `return py_raise(cx, st);` */
PyObject *py_raise(hg_ctx *cx, hg_status st);
static inline int py_fail(hg_ctx *cx, hg_status st) { return py_raise(cx, st), -1; }
/* The host's side: an exception is set, the core shall pass it up. */
#define PY_FAILED HG_HOST

/* ---- Values ----------------------------------------------------------------------------------------------------- */

hg_value py_value(PyObject *o);        /* borrowed from o: tensor, tuple, None, or other */
PyObject *py_value_object(hg_value v); /* borrowed from v; None for nothing */

/* ---- Cycles and death: what tp_traverse, tp_clear and tp_dealloc of every core type are made of ----------------- */

int py_core_traverse(hg_kind kind, PyObject *self, visitproc visit, void *arg); /* the type and the core's references */
void py_core_clear(hg_kind kind, PyObject *self);
/* The end of tp_dealloc, after untracking, clearing weak references and dropping the type's own fields: empties the
   core, which frees the object now or later (host->free also drops the type). */
void py_core_dealloc(hg_kind kind, PyObject *self);
void py_host(hg_host *host); /* fills in the table for hg_open() */

/* ---- Arguments of methods --------------------------------------------------------------------------------------- */

/* The two that take their arguments as an array, in a table of methods. */
#define FAST(function) ((PyCFunction)(void (*)(void))(function))
#define KEYWORDS       (METH_FASTCALL | METH_KEYWORDS)

/* Plain methods of the binding (not ops) read their arguments so: METH_FASTCALL | METH_KEYWORDS into at[n], borrowed,
   NULL where not given. `names` is the parameters' names, comma separated, with `/` after positional-only and `*`
   before keyword-only ones: "grad=None, *, ..." is not understood, only names. The first n_required must be given. */
int py_parse(const char *function, const char *names, int n_required, PyObject *const *args, Py_ssize_t n_args,
             PyObject *kwnames, PyObject **at);
int py_bool(PyObject *o, const char *function, const char *name); /* 0, 1, or -1 with TypeError; NULL: 0 */
int py_too_large(void);                    /* a Python int that fits no int64_t is a ValueError; -1 */
int py_int64(PyObject *o, int64_t *out);   /* anything with __index__, and one-element integer tensors; -1 failed */
int py_double(PyObject *o, double *out);   /* numbers and one-element tensors; -1 failed */
int py_dtype(PyObject *o, hg_dtype *out);  /* torch.float32, or float, int, bool; None leaves *out; -1 failed */
bool py_format(PyObject *o, hg_format *f); /* false: o is no memory format */
/* A memory_format argument; None or NULL leaves *f as it is. -1: TypeError set. */
int py_format_or(PyObject *o, const char *function, hg_format *f);
bool py_is_meta(PyObject *o);                      /* is it "meta", or the device of that name? o may be NULL */
PyObject *py_device_of(const hg_tensor *t);        /* new */
PyObject *py_on(PyObject *device, PyObject *made); /* made, which may be NULL, on that device: steals it, new */
int py_device(PyObject *o, const char *function);  /* None, "cpu", device('cpu'): 0; any other: -1 with the reason */
hg_generator *py_generator(PyObject *o);           /* borrowed; None: the default one; NULL failed */
PyObject *py_generator_object_of(hg_generator *g); /* new; None for the default one */
/* A sequence of ints, or one int: *n of them at `space`, which holds HG_MAX_DIM. -1 failed. */
int py_ints(PyObject *o, int64_t *space, int *n, const char *function, const char *name);
PyObject *py_size(const int64_t *at, int n);      /* new torch.Size */
PyObject *py_int_tuple(const int64_t *at, int n); /* new tuple */
PyObject *py_number(const hg_arg *number);        /* new: bool, int or float */
/* Anything that can be made a tensor (a number, a sequence, an array): new, or NULL. The tensor itself where it is
   one. */
PyObject *py_as_tensor(PyObject *o, hg_dtype dtype, bool copy);
/* A tensor or a Python number as an argument; HG_A_NONE when it is neither. */
hg_arg py_arg_of(PyObject *o, int *failed);

/* Make a type, keep it in its slot of the state and add it to the module. `base` may be NULL. */
int py_type_add(PyObject *m, PyTypeObject **slot, PyType_Spec *spec, PyTypeObject *base);
/* Gives the types that PyTorch has in C its names, as in "'torch.dtype' object is not callable". */
void py_types_of_torch(void);

/* ---- What each file adds to the module: 0, or -1 with the exception set ----------------------------------------- */

/* Types first, in this order, then the library is opened, then the rest. */
int py_types_init(PyObject *m); /* dtype, device, layout ..., and those of the next two */
int py_size_init(PyObject *m);
int py_generator_init(PyObject *m);
int py_tensor_init(PyObject *m);
int py_node_init(PyObject *m);
int py_hooks_init(PyObject *m);
int py_handle_init(PyObject *m);
int py_table_init(PyObject *m);
int py_module_init(PyObject *m);
/* The library is open. */
int py_default_generator_init(PyObject *m);
int py_op_init(PyObject *m);
int py_creation_init(PyObject *m);
int py_autograd_init(PyObject *m);
int py_function_init(PyObject *m);
int py_saved_hooks_init(PyObject *m);
int py_machine_init(PyObject *m);
int py_watch_init(PyObject *m);
int py_override_init(PyObject *m);
int py_dispatch_init(PyObject *m);
int py_hook_call_init(PyObject *m);
int py_grad_mode_init(PyObject *m);
int py_numpy_init(PyObject *m);
int py_dlpack_init(PyObject *m);

/* ---- What one file has for the others ----------------------------------------------------------------------------- */

/* A node as Python sees it, of the type that bears its name (AddBackward0); new. NULL: None. */
PyObject *py_node_wrap(hg_node *n);
PyObject *py_function_bare(PyTypeObject *class, PyObject *args, PyObject *kwargs); /* tp_new of a Function's node */
/* What a module without a C layer computes: its Python `forward`. For hg_set_host_forward(). */
hg_status py_module_forward(hg_ctx *cx, hg_module *m, const void *found, hg_value args, hg_value kwargs, hg_value *out);
hg_status py_modes(void *ud, void **out);
hg_status py_set_modes(void *ud, void *kept);
/* What of a tensor: its number, its truth, its elements, those as an array, whether all are true,
   its .data, the .data to come. */
typedef enum py_reading { PY_ITEM, PY_BOOL, PY_ELEMENTS, PY_NUMPY, PY_ALLCLOSE, PY_DATA, PY_DATA_TO_SET } py_reading;
/* Does it show no such thing, being a sample of a map? Do the thread's transforms allow no hook? Then an exception is set. */
bool py_hides(PyObject *tensor, py_reading what);
bool py_refuses_hooks(void);
bool py_is_sample(PyObject *tensor);  /* of the innermost transform */
int py_dispatch_modes(void);          /* py_dispatch.c: how many are on in this thread */
bool py_dispatches(PyObject *tensor); /* is its class asked about ops? */
/* Steals a tensor made of data, may be NULL; returns what the thread's dispatch modes make of it. (py_dispatch.c) */
PyObject *py_dispatch_fresh(PyObject *made);
/* Steals data, may be NULL: of self, whose .data was asked for; the thread's dispatch modes see a detach. */
PyObject *py_dispatch_data(PyObject *self, PyObject *data);

/* Tensor's attributes and methods are put together from these in py_tensor.c. */
extern PyGetSetDef py_tensor_attributes[];   /* py_tensor_attr.c */
extern PyMethodDef py_tensor_methods[];      /* py_tensor_method.c */
extern PyMethodDef py_tensor_hook_methods[]; /* py_tensor_hooks.c: register_hook, register_post_accumulate_grad_hook */
extern PyGetSetDef py_tensor_hook_attributes[]; /* py_tensor_hooks.c: _backward_hooks, _post_accumulate_grad_hooks */

#endif
