/* hookgrad._C: the extension module and the state behind it. */
#include "binding.h"

static mod_state state;
mod_state *hg_py;

static int names_init(void) {
#define X(name)                                                                                                        \
    if (!(state.names.name = PyUnicode_InternFromString(#name))) return -1;
    PY_NAMES(X)
#undef X
    return (state.empty_tuple = PyTuple_New(0)) ? 0 : -1;
}

/* torch raises RuntimeError where memory runs out, Python MemoryError: ours is both. */
static int errors_init(PyObject *m) {
    PyObject *bases = PyTuple_Pack(2, PyExc_RuntimeError, PyExc_MemoryError);
    if (!bases) return -1;
    state.out_of_memory = PyErr_NewExceptionWithDoc("hookgrad.OutOfMemoryError", "A tensor did not fit into memory.",
                                                    bases, NULL);
    Py_DECREF(bases);
    state.linalg_error = PyErr_NewExceptionWithDoc("hookgrad._C._LinAlgError",
                                                   "A matrix was singular, or an iteration did not converge.",
                                                   PyExc_RuntimeError, NULL);
    if (!state.out_of_memory || !state.linalg_error) return -1;
    return PyModule_AddObjectRef(m, "OutOfMemoryError", state.out_of_memory) ||
                   PyModule_AddObjectRef(m, "_LinAlgError", state.linalg_error)
               ? -1
               : 0;
}

/* The path of OpenBLAS as the scipy-openblas32 package installs it, found without importing the package. */
static const char *find_blas(void *ud) {
    (void)ud;
    PyObject *found = NULL, *module = PyImport_ImportModule("hookgrad._blas");
    if (module) found = PyObject_CallMethod(module, "library", NULL);
    Py_XDECREF(module);
    const char *path = found && found != Py_None ? PyUnicode_AsUTF8(found) : NULL;
    PyErr_Clear();
    /* The string is kept: the core reads the path after we return, once in the life of the process. */
    return path;
}

static int library_open(void) {
    hg_host host;
    py_host(&host);
    if (hg_open(&host, &state.first) != HG_OK) {
        PyErr_NoMemory();
        return -1;
    }
    py_this_ctx = state.first;
    state.lib = state.first->lib;
    hg_set_blas_finder(state.lib, find_blas, NULL);
    hg_set_host_forward(state.lib, py_module_forward);
    return 0;
}

static int state_init(PyObject *m) {
    if (names_init() || errors_init(m)) return -1;
    if (py_types_init(m) || py_tensor_init(m) || py_node_init(m) || py_hooks_init(m)) return -1;
    if (py_handle_init(m) || py_table_init(m) || py_module_init(m)) return -1;
    if (library_open()) return -1;
    if (py_default_generator_init(m) || py_op_init(m) || py_creation_init(m) || py_autograd_init(m) ||
        py_function_init(m) || py_saved_hooks_init(m) || py_watch_init(m) || py_override_init(m) ||
        py_dispatch_init(m) || py_hook_call_init(m) || py_grad_mode_init(m) || py_numpy_init(m) || py_dlpack_init(m) ||
        py_machine_init(m))
        return -1;
    state.module = Py_NewRef(m);
    state.ready = true;
    return 0;
}

/* A second import in the same interpreter, after `del sys.modules[...]`, is given the module that is there. */
static PyObject *module_create(PyObject *spec, PyModuleDef *def) {
    (void)def;
    int64_t here = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (hg_py && (!state.ready || state.interpreter != here))
        return PyErr_SetString(PyExc_ImportError, "hookgrad can be imported by one interpreter of a process only"),
               NULL;
    if (state.ready) return Py_NewRef(state.module);
    PyObject *name = PyObject_GetAttrString(spec, "name");
    PyObject *m = name ? PyModule_NewObject(name) : NULL;
    Py_XDECREF(name);
    if (!m) return NULL;
    hg_py = &state;
    state.interpreter = here;
    return m;
}

static int module_exec(PyObject *m) { return state.ready ? 0 : state_init(m); }

static PyModuleDef_Slot slots[] = {
    {Py_mod_create, module_create},
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hookgrad._C",
    .m_doc = "hookgrad's C core, as Python sees it.",
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__C(void) { return PyModuleDef_Init(&definition); }
