/* Ops as methods of Tensor: `x.add(y)`.

   Note [A function for each method]
   Python calls its own method descriptors without a detour, from where it has found them, and passes them nothing but the
   arguments. So every method is a C function that knows its number, and no more than that. */
#include "py_op.h"
#include "py_tensor.h"

enum { MAX_METHODS = 0x1a0, FEW = 6 };

static py_op *ops[MAX_METHODS];
static PyMethodDef defs[MAX_METHODS];
static int n_methods;

/* Whatever the arguments are: with self in front of them. */
static __attribute__((noinline)) PyObject *call_any(const py_op *op, PyObject *self, PyObject *const *args,
                                                    Py_ssize_t n, PyObject *kwnames) {
    PyObject *few[FEW], **at = few;
    Py_ssize_t n_more = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (n_more >= FEW && !(at = PyMem_New(PyObject *, n_more + 1))) return PyErr_NoMemory();
    at[0] = self;
    if (n_more) at[1] = args[0]; /* not a call of memcpy() for one */
    for (Py_ssize_t i = 1; i < n_more; i++) at[i + 1] = args[i];
    PyObject *made = py_op_call(op, at, n + 1, kwnames);
    if (at != few) PyMem_Free(at);
    return made;
}

/* Behind a plain tensor, where most have one plain value at most. */
static __attribute__((noinline)) PyObject *call_plain(const py_op *op, PyObject *self, PyObject *const *args,
                                                      Py_ssize_t n) {
    hg_arg a[2];
    plain_lists lists;
    a[0].kind = HG_A_TENSOR, a[0].u.t = TENSOR(self);
    const op_row *row = n == 1 ? py_bind_last(op, args[0], 1, a, &lists) : n == 0 ? op->rows[0] : NULL;
    if (!row || row->n_least > n + 1) return call_any(op, self, args, n, NULL);
    return (op->inplace ? py_call_inplace : py_call_op)(py_this_ctx, row->info->id, a, (int)n + 1);
}

static PyObject *call(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames, int k) {
    const py_op *op = ops[k];
    hg_ctx *cx = py_this_ctx;
    if (kwnames || !op->direct || Py_TYPE(self) != hg_py->tensor_type || !cx || hg_py->function_modes)
        return call_any(op, self, args, n, kwnames);
    const op_row *row = op->rows[0];
    if (n || row->n_least > 1 || op->inplace) return call_plain(op, self, args, n);
    return py_call_op(cx, row->info->id, (hg_arg[]){{.kind = HG_A_TENSOR, .u.t = TENSOR(self)}}, 1);
}

/* X(000) to X(19f). */
#define EIGHT(X, k)       X(k##0) X(k##1) X(k##2) X(k##3) X(k##4) X(k##5) X(k##6) X(k##7)
#define SIXTEEN(X, k)     EIGHT(X, k) X(k##8) X(k##9) X(k##a) X(k##b) X(k##c) X(k##d) X(k##e) X(k##f)
#define EIGHTY(X, k)      SIXTEEN(X, k##0) SIXTEEN(X, k##1) SIXTEEN(X, k##2) SIXTEEN(X, k##3) SIXTEEN(X, k##4)
#define EIGHTY_MORE(X, k) SIXTEEN(X, k##5) SIXTEEN(X, k##6) SIXTEEN(X, k##7) SIXTEEN(X, k##8) SIXTEEN(X, k##9)
#define LAST(X, k)        SIXTEEN(X, k##a) SIXTEEN(X, k##b) SIXTEEN(X, k##c) SIXTEEN(X, k##d) SIXTEEN(X, k##e) SIXTEEN(X, k##f)
#define EACH(X)           EIGHTY(X, 0) EIGHTY_MORE(X, 0) LAST(X, 0) EIGHTY(X, 1) EIGHTY_MORE(X, 1)

#define FUNCTION(k)                                                                                                    \
    static PyObject *method_##k(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {              \
        return call(self, args, n, kwnames, 0x##k);                                                                    \
    }
EACH(FUNCTION)

#define NAME_OF(k) method_##k,
static PyObject *(*const functions[MAX_METHODS])(PyObject *, PyObject *const *, Py_ssize_t,
                                                 PyObject *) = {EACH(NAME_OF)};

PyObject *py_op_method_new(py_op *op) {
    if (n_methods == MAX_METHODS)
        return PyErr_Format(PyExc_SystemError, "more than %d methods of Tensor are ops", MAX_METHODS);
    int k = n_methods++;
    ops[k] = op;
    defs[k] = (PyMethodDef){op->chars, FAST(functions[k]), KEYWORDS, op->rows[0]->info->op->schema};
    return PyDescr_NewMethod(hg_py->tensor_type, &defs[k]);
}

py_op *py_op_of_method(PyObject *method) {
    if (Py_TYPE(method) != &PyMethodDescr_Type) return NULL;
    for (int k = n_methods - 1; k >= 0; k--)
        if (ops[k]->face == method) return ops[k];
    return NULL;
}
