/* The parts the type Tensor is put together from. */
#ifndef HG_PY_TENSOR_H
#define HG_PY_TENSOR_H

#include "binding.h"

/* Number protocol: py_tensor_number.c. */
extern PyType_Slot py_tensor_number_slots[];
PyObject *py_tensor_compare(PyObject *self, PyObject *other, int op);
/* x[...]: py_index.c. */
PyObject *py_tensor_get(PyObject *self, PyObject *at);
int py_tensor_set(PyObject *self, PyObject *at, PyObject *value);
PyObject *py_tensor_setitem(PyObject *self, PyObject *const *args, Py_ssize_t n); /* __setitem__ as a method */
/* The buffer protocol: py_buffer.c. */
int py_tensor_buffer(PyObject *self, Py_buffer *view, int flags);
void py_tensor_buffer_done(PyObject *self, Py_buffer *view);
/* Attributes and methods, each list ending with an empty entry. */
enum { MAX_ATTRIBUTES = 80 };
extern PyGetSetDef py_tensor_attributes[]; /* py_tensor_attr.c */
extern PyMethodDef py_tensor_methods[];    /* py_tensor_method.c */
extern PyMethodDef py_cast_methods[];      /* py_cast.c: to, type, float, cpu ... */
extern PyMethodDef py_create_methods[];    /* py_creation.c: new_tensor ... */
extern PyMethodDef py_numpy_methods[];     /* py_numpy.c: numpy, __array__ */
extern PyMethodDef py_dlpack_methods[];    /* py_dlpack.c */
extern PyMethodDef py_swap_methods[];      /* py_swap.c */

/* Note [Overrides]: methods that are no ops begin with this. Returns what a class or a mode makes of the call, where
   one is asked. */
#define ASK(name, args, n, kwnames)                                                                                    \
    do {                                                                                                               \
        PyObject *answer;                                                                                              \
        if (hg_py->override && py_asked(name, self, args, n, kwnames, &answer)) return answer;                         \
    } while (0)
bool py_asked(const char *name, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames,
              PyObject **answer);

/* What Parameter(empty(size, device=device, dtype=dtype)) is, in one call; device and dtype may be None. New. */
PyObject *py_empty_parameter(PyObject *size, PyObject *device, PyObject *dtype);
/* zeros(size, device=device, dtype=dtype), ones() where number is 1, empty() where it is None; new. */
PyObject *py_filled(hg_ctx *cx, PyObject *size, PyObject *number, PyObject *device, PyObject *dtype);
/* Call an op that makes one tensor: new, or NULL with the exception set. */
PyObject *py_call_op(hg_ctx *cx, int id, const hg_arg *a, int n);
/* backward() from tensors (one or a sequence) with gradients (None where there are none), over `inputs` or, None, over
   every leaf; None, or NULL. */
/* hg_backward() at any depth: see Note [Re-entrant backward]. */
typedef struct py_backward_call {
    hg_tensor **roots, **grads;
    int n;
    bool keep_graph, create_graph;
    hg_tensor **inputs;
    int n_inputs; /* -1: all leaves */
    bool allow_unused;
    hg_tensor **results; /* NULL: .grad is filled */
} py_backward_call;
hg_status py_backward(hg_ctx *cx, const py_backward_call *call);

/* Sets the exception and returns true where this thread is within a transform of torch.func, which the method does not go with. */
bool py_refused_in_transform(const char *method);

PyObject *py_run_backward(hg_ctx *cx, PyObject *roots, PyObject *grads, bool keep, bool create, PyObject *inputs);
/* A tensor over an array's memory. `warn`: say so where the array is read-only. New; NULL failed. */
PyObject *py_from_numpy(hg_ctx *cx, PyObject *array, bool warn);
/* What numpy.asarray makes of the object, as a tensor. */
PyObject *py_from_array_like(hg_ctx *cx, PyObject *o);
/* A tensor over an object's buffer, `count` elements (-1: all) from byte `offset` on. */
PyObject *py_from_buffer(hg_ctx *cx, PyObject *o, hg_dtype d, int64_t count, int64_t offset);

#endif
