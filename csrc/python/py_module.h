/* Modules, seen from Python: what the files of the type share. */
#ifndef HG_PY_MODULE_H
#define HG_PY_MODULE_H

#include "binding.h"

/* Note [A module's dictionary]
   PyTorch keeps everything about a module in its __dict__, under the names below; here it is in the core. Until
   somebody looks at `module.__dict__` the instance has at most a plain dict with the user's own attributes, and the
   names below are attributes of the type, computed from the core. The first look replaces that dict by a
   ModuleDict, which holds both: the core's tables themselves (live), and the user's attributes. Its mutating
   methods send the names below to the core.

   No cycle arises: a ModuleDict owns the tables but only borrows its module, which tells it when it dies. */
typedef enum attr_sort { ATTR_TRAINING, ATTR_TABLE, ATTR_NAMES, ATTR_HOOKS, ATTR_FLAGS, ATTR_FULL } attr_sort;

/* In PyTorch's order: name, sort, which table or kind of hooks, flag */
#define PY_MODULE_ATTRS(X)                                                                                             \
    X(training, ATTR_TRAINING, 0, 0)                                                                                   \
    X(_parameters, ATTR_TABLE, HG_PARAMS, 0)                                                                           \
    X(_buffers, ATTR_TABLE, HG_BUFFERS, 0)                                                                             \
    X(_non_persistent_buffers_set, ATTR_NAMES, 0, 0)                                                                   \
    X(_backward_pre_hooks, ATTR_HOOKS, HG_HOOK_BACKWARD_PRE, 0)                                                        \
    X(_backward_hooks, ATTR_HOOKS, HG_HOOK_BACKWARD, 0)                                                                \
    X(_is_full_backward_hook, ATTR_FULL, HG_HOOK_BACKWARD, HG_HOOK_LEGACY)                                             \
    X(_forward_hooks, ATTR_HOOKS, HG_HOOK_FORWARD, 0)                                                                  \
    X(_forward_hooks_with_kwargs, ATTR_FLAGS, HG_HOOK_FORWARD, HG_HOOK_WITH_KWARGS)                                    \
    X(_forward_hooks_always_called, ATTR_FLAGS, HG_HOOK_FORWARD, HG_HOOK_ALWAYS_CALL)                                  \
    X(_forward_pre_hooks, ATTR_HOOKS, HG_HOOK_FORWARD_PRE, 0)                                                          \
    X(_forward_pre_hooks_with_kwargs, ATTR_FLAGS, HG_HOOK_FORWARD_PRE, HG_HOOK_WITH_KWARGS)                            \
    X(_state_dict_hooks, ATTR_HOOKS, HG_HOOK_STATE_DICT, 0)                                                            \
    X(_state_dict_pre_hooks, ATTR_HOOKS, HG_HOOK_STATE_DICT_PRE, 0)                                                    \
    X(_load_state_dict_pre_hooks, ATTR_HOOKS, HG_HOOK_LOAD_STATE_DICT_PRE, 0)                                          \
    X(_load_state_dict_post_hooks, ATTR_HOOKS, HG_HOOK_LOAD_STATE_DICT, 0)                                             \
    X(_modules, ATTR_TABLE, HG_MODULES, 0)

typedef enum module_attr {
#define X(name, ...) ATTR_##name,
    PY_MODULE_ATTRS(X)
#undef X
        N_MODULE_ATTRS
} module_attr;

#define SELF(o) ((py_module *)(o))
static inline bool module_has(PyObject *self, module_attr a) { return SELF(self)->present >> a & 1; }
/* The tables that a call reads. */
#define MODULE_CALL_READS                                                                                              \
    (UINT32_C(1) << ATTR__backward_hooks | UINT32_C(1) << ATTR__backward_pre_hooks |                                   \
     UINT32_C(1) << ATTR__forward_hooks | UINT32_C(1) << ATTR__forward_pre_hooks)
/* `training`: borrowed. */
static inline PyObject *py_module_mode(PyObject *self) { return MODULE(self)->training ? Py_True : Py_False; }
/* Set it, where neither the class nor the instance has a say in that: false where one has, and nothing was done. */
bool py_module_set_mode(PyObject *self, PyObject *mode);
/* Is all that train() does to it known: its mode is set, and its children's? */
bool py_module_trains_alike(PyObject *self);
/* AttributeError "'Net' object has no attribute 'x'". */
PyObject *py_no_attribute(PyObject *self, PyObject *name);

/* Does the instance have the method of that name from nn.Module, or the base type: no class of its own, nor the instance
   itself, has another? */
bool py_module_inherits(PyObject *self, PyObject *name);

/* What a dictionary of attributes has under the name: borrowed; NULL where it has nothing, or failed. */
PyObject *py_own_attribute(PyObject *dict, PyObject *name);

/* Is what the module has under the name of a parameter or buffer what its tables have: no class of its own, nor the instance
   itself, has a say in that? */
bool py_module_looks_up_alike(PyObject *self);

/* hasattr(): 0, 1, or -1 failed. */
int py_module_has_attribute(PyObject *self, PyObject *name);

/* py_module_walk.c */
/* a and b with a character between them and one after them, where those are not 0: new. Both are strings. */
PyObject *py_path(PyObject *a, char between, PyObject *b, char after);
int py_module_walk_init(PyObject *m);

/* py_module_state.c */
int py_module_state_init(PyObject *m);

/* py_module_dict.c */
extern PyGetSetDef py_module_attributes[];
PyObject *py_module_attr_name(module_attr a); /* borrowed */
void py_module_dict_forget(PyObject *dict);   /* its module is about to die; dict may be NULL or any dict */
bool py_module_shows(PyObject *self);         /* has somebody looked at its dictionary? */
PyObject *py_module_names(PyObject *self);    /* the set of non-persistent buffers, made on demand; borrowed */
int py_module_reset(PyObject *self);          /* what Module.__init__ does */
int py_module_unhide(PyTypeObject *type);     /* a new class must not hide PyTorch's attributes */
int py_module_dict_init(PyObject *m);

/* py_module_set.c */
PyObject *py_module_setattr(PyObject *self, PyObject *const *args, Py_ssize_t n);
PyObject *py_module_delattr(PyObject *self, PyObject *name);
int py_module_assign(PyObject *self, PyObject *name, PyObject *value); /* what __setattr__ does */
/* What register_buffer() does. */
int py_module_put_buffer(PyObject *self, PyObject *name, PyObject *value, bool persistent);
PyObject *py_add_numbered(PyObject *self, PyObject *modules); /* add_module("0", modules[0]) and so on */
/* The value after the global registration hooks of that kind have seen it: new. */
PyObject *py_registered(hg_hook_kind kind, PyObject *module, PyObject *name, PyObject *value);

/* py_module_hooks.c, and py_module_set.c */
extern PyMethodDef py_module_hook_functions[]; /* of hookgrad._C */
#define SOURCE "Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module."
#define PY_MODULE_METHODS(X)                                                                                           \
    X(register_forward_pre_hook)                                                                                       \
    X(register_forward_hook)                                                                                           \
    X(register_full_backward_pre_hook)                                                                                 \
    X(register_full_backward_hook) X(register_backward_hook) X(register_parameter) X(register_buffer) X(add_module)
#define X(name)                                                                                                        \
    PyObject *py_##name(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);                       \
    extern const char py_##name##_doc[];
PY_MODULE_METHODS(X)
#undef X

/* py_construct.c */
int py_construct_init(PyObject *m);

/* py_package.c */
int py_package_init(PyObject *m);

/* py_layer.c */
PyObject *py_layer_call(PyObject *layer, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
int py_layer_init(PyObject *m);

/* py_table.c */
PyObject *py_table_get(hg_table *t,
                       PyObject *name); /* borrowed; NULL, without an exception, where it is not; t may be NULL */
int py_table_set(hg_table *t, PyObject *name, PyObject *value);
bool py_table_remove(hg_table *t, PyObject *name); /* was it there? t may be NULL */
PyObject *py_table_from(PyObject *from); /* a table: `from` itself, or a new one with the entries of that mapping */

#endif
