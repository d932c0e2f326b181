/* What the files around ops share: rows as Python calls them, and the binding of a call's arguments to one.

   Note [Calling an op]
   One Python name stands for one or more rows of the op table, tried in their order. A row takes the arguments when
   each fits its parameter; the first one that does is called. Only when none does is the reason worked out, from the
   start (py_op_error), so a call that succeeds pays nothing for its messages. */
#ifndef HG_PY_OP_H
#define HG_PY_OP_H

#include "binding.h"

enum { OP_ROWS_MAX = 8, PLAIN_MAX = 4, BOUND_INTS = 24, BOUND_TENSORS = 16, BOUND_OWNED = 4 };

/* A row of the table and its parameters' names as Python's. */
typedef struct op_row {
    const hg_op_info *info;
    PyObject *names[HG_MAX_PARAMS]; /* interned */
    bool varargs;    /* its only positional parameter after self is a list, whose items may be given one by one */
    uint8_t n_least; /* so many arguments must be given */
    bool creation;   /* takes device=, layout=, pin_memory=, requires_grad= */
} op_row;

typedef struct py_op {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *face;    /* what Python knows: itself, borrowed, or the descriptor of a method, owned */
    PyObject *name;    /* interned */
    const char *chars; /* of the name */
    const char *where; /* the module it is found in */
    bool method;       /* of Tensor: self is not counted among the positions */
    bool inplace;      /* "add_": the result goes into self */
    bool truth;        /* the result is told as a bool: equal, allclose */
    bool plain;        /* each row gives one tensor, which is the result */
    bool direct;       /* and the first row begins with one */
    uint8_t n_plain;   /* up to so many plain tensors and nothing else are arguments of the first row */
    uint8_t n_rows;
    op_row *rows[OP_ROWS_MAX];
} py_op;

/* A call's arguments, bound to a row. Lists live in here; what does not fit is allocated. */
typedef struct bound {
    hg_arg at[HG_MAX_PARAMS];
    PyObject *out;      /* borrowed; NULL: not given */
    bool requires_grad; /* of a creation op */
    PyObject *device;   /* of a creation op; borrowed, may be NULL */
    uint8_t n_ints, n_tensors, n_owned, n_held;
    const hg_param *large; /* a list of it has a number too large for 64 bits, at place `large_at`; NULL: none */
    int large_at;
    int64_t ints[BOUND_INTS];
    hg_tensor *tensors[BOUND_TENSORS];
    void *owned[BOUND_OWNED];    /* PyMem blocks */
    PyObject *held[BOUND_OWNED]; /* references */
} bound;

void bound_done(bound *b);

/* Call the form in place: a[0], new, or NULL with the exception set. */
PyObject *py_call_inplace(hg_ctx *cx, int id, const hg_arg *a, int n);
/* A call of the op; of a method, with self in front. */
PyObject *py_op_call(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
/* The descriptor of a method: new. It keeps the op, whose first row is there. See Note [A function for each method]. */
PyObject *py_op_method_new(py_op *op);
/* The op of such a descriptor; borrowed. NULL: it is something else. */
py_op *py_op_of_method(PyObject *method);

typedef enum match { MATCH_NO, MATCH_YES, MATCH_FAILED } match;
/* The same where the arguments are plain tensors, short tuples of them, ints and floats, which nobody overrides, few and by
   position: the row, its arguments in a[PLAIN_MAX], *n of them, and what they point to. The first n_bound are there
   already: plain tensors for the first row. NULL: they are not so, or fit no row. */
typedef struct plain_lists {
    int64_t ints[PLAIN_MAX];
    hg_tensor *tensors[PLAIN_MAX];
} plain_lists;
/* One more plain value behind n_bound plain tensors: the row; NULL where it takes more to tell. */
const op_row *py_bind_last(const py_op *op, PyObject *value, Py_ssize_t n_bound, hg_arg *a, plain_lists *lists);
const op_row *py_bind_plain(const py_op *op, PyObject *const *args, Py_ssize_t *n, Py_ssize_t n_bound, hg_arg *a,
                            plain_lists *lists);
/* MATCH_FAILED: an exception is set. Unless MATCH_YES, nothing is left to be released. */
match py_bind(const py_op *op, const op_row *row, PyObject *const *args, Py_ssize_t n, PyObject *kwnames, bound *b);
/* Set the TypeError of a call that fits no row; NULL. */
PyObject *py_op_error(const py_op *op, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);

/* One value as one parameter. */
match py_convert(PyObject *o, const hg_param *p, bound *b, hg_arg *a);
/* A Python number (or NumPy's) as BOOL, INT or FLOAT. */
match py_number_arg(PyObject *o, hg_arg *a);

/* Note [Overrides] in py_override.c: does one of the arguments, or of the items of one, belong to a class that overrides? */
bool py_overrides(PyObject *const *args, Py_ssize_t n);
/* Is one of the arguments no tensor, but something with a __torch_function__? */
bool py_override_strangers(PyObject *const *args, Py_ssize_t n);
/* Ask the classes of the arguments what the function, or the operator of that op, gives; new. */
PyObject *py_override(PyObject *function, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *py_override_op(hg_ctx *cx, int id, bool inplace, PyObject *const *args, Py_ssize_t n);
/* What a mode, or a class, makes of the op that writes into `out`: that, new. NULL: there is none, or with an exception. */
PyObject *py_dispatch_out(hg_ctx *cx, const hg_op_info *info, const hg_arg *a, PyObject *out);
bool py_makes_tensors(const hg_op_info *info); /* is it one that takes device=, pin_memory=? */
int py_override_set(PyObject *self, PyObject *name, PyObject *value);
PyObject *py_override_slot(const char *name, PyObject *const *args, Py_ssize_t n);

/* Row `id` of the table as a function of its own, or of the form in place; new. */
PyObject *py_op_of_row(int id, bool inplace);

#endif
