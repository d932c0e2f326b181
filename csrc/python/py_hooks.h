/* Python callables as hooks, and the tables that hold them. */
#ifndef HG_PY_HOOKS_H
#define HG_PY_HOOKS_H

#include "binding.h"

/* Calls the Python callable `data` as PyTorch calls a hook of that kind. */
hg_status py_call_hook(hg_ctx *cx, hg_call *call, void *data);
/* What the host makes of what hooks returned: see hg_host. */
hg_status py_gradients(void *ud, hg_value from, const uint32_t *index, uint32_t n, hg_value *slot);
hg_status py_spread(void *ud, hg_module *m, hg_value *args, hg_value *kwargs);

/* How messages name a kind of hooks: "forward pre-hook". */
const char *py_hook_words(hg_hook_kind kind, uint32_t flags);
/* Where in the user's program this is: the frames of the package itself do not count. Never fails; `file`, a string, lives
   as long as the library and is NULL where there is no frame. */
void py_site(const void **file, int *line);
/* Does the frame run a function of the package? */
bool py_is_ours(PyFrameObject *frame);
/* The exception in flight carries a note of the hook it came out of, worded by hookgrad/_notes.py; it stays what it is. `owner`
   is the module, the node or the optimizer, a string that describes it, or NULL. */
void py_annotate(const char *kind, PyObject *hook, const void *file, int line, PyObject *owner);

/* TypeError where it cannot be a hook; `function` names who was called with it. */
int py_hook_check(PyObject *hook, const char *function);
/* Put a hook into a table under a new id: a new RemovableHandle. */
PyObject *py_hooks_register(hg_hooks *h, PyObject *hook, uint32_t flags);
PyObject *py_handle_new(PyObject *table, uint64_t id); /* for a HookTable */

/* A table of that kind: `from` itself where it is one, else a new one with the entries of the mapping `from`, and the flags that
   the table `before`, which may be NULL, has for them. */
PyObject *py_hooks_from(PyObject *from, hg_hook_kind kind, hg_hooks *before);
int py_hooks_assign(hg_hooks *h, PyObject *from); /* the same table has the hooks of that mapping */
/* What a node saved, by the name of an attribute (py_saved.c): 1 with a new *value; 0, there is no such; -1, it failed. */
int py_saved_attribute(PyObject *node, const char *name, PyObject **value);
int py_saved_list(PyObject *node, PyObject *list);                  /* append the names of all such attributes */
PyObject *py_saved_of_function(PyObject *node, int i, bool output); /* what an autograd.Function saved, raw: new */
PyObject *py_function_saved(PyObject *node, bool raw);              /* all of it, as a tuple (py_node.c): new */
int py_saved_init(PyObject *m);

/* The mapping id -> True of the hooks that have a flag (HG_HOOK_WITH_KWARGS or HG_HOOK_ALWAYS_CALL): new. The same
   object as long as one is alive. */
PyObject *py_hooks_view(hg_hooks *h, uint32_t flag);
/* Set the flag of exactly the hooks whose ids are in `from`. */
int py_hooks_view_assign(hg_hooks *h, uint32_t flag, PyObject *from);

/* Saved-tensor hooks of one saved tensor (py_saved_hooks.c): `hooks` is a tuple (pack, unpack). */
PyObject *py_saved_pack(PyObject *node, int i, int j, bool output, PyObject *hooks);
/* What pack returned and the unpack hook, both borrowed; NULL: it is not packed. */
PyObject *py_saved_packed(PyObject *node, int i, int j, bool output, PyObject **unpack);

#endif
