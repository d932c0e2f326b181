/* Operators: `a + b`, `a += b`, `a < b`, `bool(a)` ... straight to the op, with the arguments on the stack. */
#include "py_op.h"
#include "py_tensor.h"

/* An operand: a tensor, a number, or what NumPy calls one. Arrays become tensors, which the caller releases in *made.
   */
static match operand(PyObject *o, hg_arg *a, PyObject **made) {
    if (Py_TYPE(o) == hg_py->tensor_type || py_is_tensor(o)) {
        *a = hg_t(TENSOR(o));
        return MATCH_YES;
    }
    match m = py_number_arg(o, a);
    if (m != MATCH_NO || !py_is_array(o)) return m;
    if (!(*made = py_as_tensor(o, HG_NO_DTYPE, false))) return MATCH_FAILED;
    *a = hg_t(TENSOR(*made));
    return MATCH_YES;
}

static inline hg_arg plain(PyObject *tensor) { return (hg_arg){.kind = HG_A_TENSOR, .u.t = TENSOR(tensor)}; }

static PyObject *no_match(match m) {
    if (m == MATCH_FAILED) return NULL;
    Py_RETURN_NOTIMPLEMENTED;
}

static PyObject *binary_any(PyObject *x, PyObject *y, int id) {
    hg_arg a[2];
    PyObject *made = NULL;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (hg_py->override && py_overrides((PyObject *[]){x, y}, 2))
        return py_override_op(cx, id, false, (PyObject *[]){x, y}, 2);
    match m = operand(x, &a[0], &made);
    if (m == MATCH_YES) m = operand(y, &a[1], &made);
    if (m == MATCH_NO && py_override_strangers((PyObject *[]){x, y}, 2))
        return py_override_op(cx, id, false, (PyObject *[]){x, y}, 2);
    PyObject *result = m == MATCH_YES ? py_call_op(cx, id, a, 2) : no_match(m);
    Py_XDECREF(made);
    return result;
}

/* Nobody overrides what a plain tensor does with another one, or with a number. */
static PyObject *binary_plain(PyObject *x, PyObject *y, int id) {
    hg_ctx *cx = py_this_ctx;
    if (!cx || hg_py->function_modes) return binary_any(x, y, id);
    hg_arg a[2];
    a[0] = plain(x);
    if (Py_TYPE(y) == hg_py->tensor_type)
        a[1] = plain(y);
    else if (PyFloat_CheckExact(y))
        a[1] = hg_f(PyFloat_AS_DOUBLE(y));
    else if (!PyLong_CheckExact(y))
        return binary_any(x, y, id);
    else if (py_number_arg(y, &a[1]) != MATCH_YES)
        return NULL;
    return py_call_op(cx, id, a, 2);
}

static inline PyObject *binary(PyObject *x, PyObject *y, int id) {
    return Py_TYPE(x) == hg_py->tensor_type ? binary_plain(x, y, id) : binary_any(x, y, id);
}

/* Where the operands may change places a tensor comes first. */
static PyObject *tensor_first(PyObject *x, PyObject *y, int id) {
    return py_is_tensor(x) || py_is_array(x) ? binary_any(x, y, id) : binary(y, x, id);
}

static PyObject *inplace(PyObject *self, PyObject *other, int id) {
    hg_arg a[2] = {hg_t(TENSOR(self))};
    PyObject *made = NULL;
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (hg_py->override && py_overrides((PyObject *[]){self, other}, 2))
        return py_override_op(cx, id, true, (PyObject *[]){self, other}, 2);
    match m = operand(other, &a[1], &made);
    if (m != MATCH_YES) return no_match(m);
    hg_status st = hg_call_inplace(cx, id, a, 2);
    Py_XDECREF(made);
    return st == HG_OK ? Py_NewRef(self) : py_raise(cx, st);
}

static PyObject *unary(PyObject *self, int id) {
    hg_ctx *cx = py_ctx();
    if (cx && hg_py->override && py_overrides(&self, 1)) return py_override_op(cx, id, false, &self, 1);
    return cx ? py_call_op(cx, id, (hg_arg[]){hg_t(TENSOR(self))}, 1) : NULL;
}

#define BINARY(name, op)                                                                                               \
    static PyObject *name(PyObject *x, PyObject *y) { return binary(x, y, HG_OP_##op); }
#define BOTH(name, op)                                                                                                 \
    BINARY(name, op)                                                                                                   \
    static PyObject *name##_inplace(PyObject *x, PyObject *y) { return inplace(x, y, HG_OP_##op); }

/* A number on the left comes second: torch computes `2 * x` as x * 2, and the graph shows it. */
#define COMMUTATIVE(name, op)                                                                                          \
    static PyObject *name(PyObject *x, PyObject *y) {                                                                  \
        return Py_TYPE(x) == hg_py->tensor_type ? binary_plain(x, y, HG_OP_##op) : tensor_first(x, y, HG_OP_##op);     \
    }                                                                                                                  \
    static PyObject *name##_inplace(PyObject *x, PyObject *y) { return inplace(x, y, HG_OP_##op); }

COMMUTATIVE(add, ADD)
COMMUTATIVE(multiply, MUL)
BOTH(floor_divide, FLOOR_DIVIDE)
BOTH(and, BITWISE_AND)
BOTH(or, BITWISE_OR)
BOTH(xor, BITWISE_XOR)
BOTH(left_shift, BITWISE_LEFT_SHIFT)
BOTH(right_shift, BITWISE_RIGHT_SHIFT)
#undef COMMUTATIVE
#undef BOTH
#undef BINARY

/* torch computes `1 - x` as rsub(x, 1) and `1 / x` as x.reciprocal() * 1: so the graph shows, and the last bit. */
static PyObject *subtract(PyObject *x, PyObject *y) {
    return py_is_tensor(x) || py_is_array(x) ? binary(x, y, HG_OP_SUB) : binary(y, x, HG_OP_RSUB_SCALAR);
}

static PyObject *divide(PyObject *x, PyObject *y) {
    hg_arg number;
    if (py_is_tensor(x) || py_is_array(x)) return binary(x, y, HG_OP_DIV);
    if (hg_py->override && py_overrides(&y, 1)) return py_override_slot("__rtruediv__", (PyObject *[]){y, x}, 2);
    match m = py_number_arg(x, &number);
    if (m != MATCH_YES) return no_match(m);
    PyObject *inverse = unary(y, HG_OP_RECIPROCAL);
    PyObject *result = inverse ? binary(inverse, x, HG_OP_MUL) : NULL;
    Py_XDECREF(inverse);
    return result;
}

static PyObject *subtract_inplace(PyObject *x, PyObject *y) { return inplace(x, y, HG_OP_SUB); }
static PyObject *divide_inplace(PyObject *x, PyObject *y) { return inplace(x, y, HG_OP_DIV); }

/* Ops with a row for each mixture of tensors and numbers. */
static int by_kind(PyObject *x, PyObject *y, int both, int number_right, int number_left) {
    bool x_is = py_is_tensor(x), y_is = py_is_tensor(y) || py_is_array(y);
    return x_is && y_is ? both : x_is ? number_right : number_left;
}

static PyObject *remainder_(PyObject *x, PyObject *y) {
    return binary(x, y, by_kind(x, y, HG_OP_REMAINDER, HG_OP_REMAINDER_SCALAR, HG_OP_REMAINDER_SELF));
}

static PyObject *remainder_inplace(PyObject *x, PyObject *y) {
    return inplace(x, y, by_kind(x, y, HG_OP_REMAINDER, HG_OP_REMAINDER_SCALAR, 0));
}

static PyObject *power(PyObject *x, PyObject *y, PyObject *modulus) {
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return binary(x, y, by_kind(x, y, HG_OP_POW, HG_OP_POW_SCALAR, HG_OP_POW_SELF));
}

static PyObject *power_inplace(PyObject *x, PyObject *y, PyObject *modulus) {
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return inplace(x, y, by_kind(x, y, HG_OP_POW, HG_OP_POW_SCALAR, 0));
}

static PyObject *matmul(PyObject *x, PyObject *y) {
    hg_ctx *cx = py_ctx();
    if (!cx) return NULL;
    if (py_is_tensor(x) && py_is_tensor(y)) return binary(x, y, HG_OP_MATMUL);
    if (py_override_strangers((PyObject *[]){x, y}, 2))
        return py_override_op(cx, HG_OP_MATMUL, false, (PyObject *[]){x, y}, 2);
    Py_RETURN_NOTIMPLEMENTED;
}

static PyObject *negative(PyObject *self) { return unary(self, HG_OP_NEG); }
static PyObject *absolute(PyObject *self) { return unary(self, HG_OP_ABS); }
static PyObject *invert(PyObject *self) {
    if (hg_dtype_is_float(TENSOR(self)->dtype))
        return PyErr_SetString(PyExc_TypeError,
                               "~ (operator.invert) is only implemented on integer and Boolean-type tensors"),
               NULL;
    return unary(self, HG_OP_BITWISE_NOT);
}
static PyObject *positive(PyObject *self) {
    if (hg_py->override && py_overrides(&self, 1)) return py_override_slot("positive", &self, 1);
    return TENSOR(self)->dtype == HG_BOOL ? unary(self, HG_OP_POSITIVE) : Py_NewRef(self);
}

/* ---- As a Python number ----------------------------------------------------------------------------------------- */

static int item(PyObject *self, hg_arg *out) {
    hg_ctx *cx = py_ctx();
    if (!cx) return -1;
    if (TENSOR(self)->numel != 1) {
        PyErr_SetString(PyExc_ValueError, "only one element tensors can be converted to Python scalars");
        return -1;
    }
    if (TENSOR(self)->levels && py_hides(self, PY_ITEM)) return -1;
    hg_status st = hg_item(cx, TENSOR(self), out);
    return st == HG_OK ? 0 : py_fail(cx, st);
}

static int truth(PyObject *self) {
    hg_tensor *t = TENSOR(self);
    hg_arg a;
    if (hg_py->override && py_overrides(&self, 1)) {
        PyObject *asked = py_override_slot("__bool__", &self, 1);
        int is = asked ? PyObject_IsTrue(asked) : -1;
        Py_XDECREF(asked);
        return is;
    }
    if (t->numel != 1) {
        PyErr_SetString(PyExc_RuntimeError, t->numel ? "Boolean value of Tensor with more than one value is ambiguous"
                                                     : "Boolean value of Tensor with no values is ambiguous");
        return -1;
    }
    if ((t->levels && py_hides(self, PY_BOOL)) || item(self, &a)) return -1;
    return a.kind == HG_A_FLOAT ? a.u.f != 0 : a.u.i != 0;
}

static PyObject *as_int(PyObject *self) {
    hg_arg a;
    if (hg_py->override && py_overrides(&self, 1)) return py_override_slot("__int__", &self, 1);
    if (item(self, &a)) return NULL;
    return a.kind == HG_A_FLOAT ? PyLong_FromDouble(a.u.f) : PyLong_FromLongLong(a.u.i);
}

static PyObject *as_float(PyObject *self) {
    hg_arg a;
    if (hg_py->override && py_overrides(&self, 1)) return py_override_slot("__float__", &self, 1);
    if (item(self, &a)) return NULL;
    if (hg_tensor_requires_grad(TENSOR(self)) && hg_records(py_ctx()) &&
        hg_warn_once(py_ctx(),
                     "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
                     "Consider using tensor.detach() first.") != HG_OK)
        return NULL;
    return PyFloat_FromDouble(a.kind == HG_A_FLOAT ? a.u.f : (double)a.u.i);
}

static PyObject *as_index(PyObject *self) {
    hg_arg a;
    hg_tensor *t = TENSOR(self);
    if (hg_py->override && py_overrides(&self, 1)) return py_override_slot("__index__", &self, 1);
    if (t->numel != 1 || hg_dtype_is_float(t->dtype))
        return PyErr_SetString(PyExc_TypeError,
                               "only integer tensors of a single element can be converted to an index"),
               NULL;
    return item(self, &a) ? NULL : PyLong_FromLongLong(a.u.i);
}

/* ---- Comparison ------------------------------------------------------------------------------------------------- */

PyObject *py_tensor_compare(PyObject *self, PyObject *other, int op) {
    static const int ids[] = {[Py_LT] = HG_OP_LT, [Py_LE] = HG_OP_LE, [Py_EQ] = HG_OP_EQ,
                              [Py_NE] = HG_OP_NE, [Py_GT] = HG_OP_GT, [Py_GE] = HG_OP_GE};
    return binary(self, other, ids[op]);
}

PyType_Slot py_tensor_number_slots[] = {
    {Py_nb_add, add},
    {Py_nb_subtract, subtract},
    {Py_nb_multiply, multiply},
    {Py_nb_true_divide, divide},
    {Py_nb_floor_divide, floor_divide},
    {Py_nb_remainder, remainder_},
    {Py_nb_power, power},
    {Py_nb_matrix_multiply, matmul},
    {Py_nb_and, and},
    {Py_nb_or, or },
    {Py_nb_xor, xor},
    {Py_nb_lshift, left_shift},
    {Py_nb_rshift, right_shift},
    {Py_nb_inplace_add, add_inplace},
    {Py_nb_inplace_subtract, subtract_inplace},
    {Py_nb_inplace_multiply, multiply_inplace},
    {Py_nb_inplace_true_divide, divide_inplace},
    {Py_nb_inplace_floor_divide, floor_divide_inplace},
    {Py_nb_inplace_remainder, remainder_inplace},
    {Py_nb_inplace_power, power_inplace},
    {Py_nb_inplace_and, and_inplace},
    {Py_nb_inplace_or, or_inplace},
    {Py_nb_inplace_xor, xor_inplace},
    {Py_nb_inplace_lshift, left_shift_inplace},
    {Py_nb_inplace_rshift, right_shift_inplace},
    {Py_nb_negative, negative},
    {Py_nb_positive, positive},
    {Py_nb_absolute, absolute},
    {Py_nb_invert, invert},
    {Py_nb_bool, truth},
    {Py_nb_int, as_int},
    {Py_nb_float, as_float},
    {Py_nb_index, as_index},
    {0, NULL},
};
