"""`torch.ops.aten`: the ops by their names in PyTorch's library of them.

An op is a packet of overloads, `torch.ops.aten.add`, of which each, `torch.ops.aten.add.Tensor`, can be called. These are the
functions that a dispatch mode is given (utils/_python_dispatch.py). There is an overload of any name that is asked for; calling
it looks for the function that is meant.
"""

from functools import cache, cached_property

from . import _C
from ._aten import to_row

# Rows of the table that PyTorch calls otherwise, or that PyTorch has under their composite's name.
_NAMES = {
    "_add": "add",
    "_block_diag": "block_diag",
    "_cat": "cat",
    "_celu": "celu",
    "_div": "div",
    "_elu": "elu",
    "_huber_loss": "huber_loss",
    "_index": "index",
    "_linalg_cross": "linalg_cross",
    "_mse_loss": "mse_loss",
    "_mul": "mul",
    "_norm": "norm",
    "_smooth_l1_loss": "smooth_l1_loss",
    "_squeeze_own": "squeeze",
    "_sub": "sub",
    "_as_strided": "as_strided",
    "_diagonal_copy": "diagonal_copy",
    "_binary_cross_entropy": "binary_cross_entropy",
    "_binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "_dropout_mask": "native_dropout",
    "_elu_": "elu_",
    "adaptive_max_pool2d_with_indices": "adaptive_max_pool2d",
    "_celu_": "celu_",
    "_as_strided_": "as_strided_",
    "cholesky_ex": "linalg_cholesky_ex",
    "expit": "sigmoid",
    "gammaln": "lgamma",
    "inv": "linalg_inv_ex",
    "_log_sigmoid": "log_sigmoid_forward",
    "solve_triangular": "linalg_solve_triangular",
    "vector_norm": "linalg_vector_norm",
    **{f"_{kind}_pad{n}d": f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)},
}

# The overload, where it is neither the row's own nor "default".
_OVERLOADS = {
    **dict.fromkeys(
        """add bucketize div divide index mul multiply repeat_interleave searchsorted slice split sub subtract true_divide
        unsafe_split""".split(),
        "Tensor",
    ),
    **dict.fromkeys("select transpose unbind".split(), "int"),
    "empty": "memory_format",
    "norm": "ScalarOpt_dim",
    "sum.dim": "dim_IntList",
    "where": "self",
}
_TENSOR_OR_SCALAR = frozenset(
    """bitwise_and bitwise_or bitwise_xor eq ge greater greater_equal gt le less less_equal lt ne not_equal""".split()
)


_SHIFTS = {"bitwise_left_shift": "__lshift__", "bitwise_right_shift": "__rshift__"}

_RESHAPE = frozenset("t transpose squeeze unsqueeze swapaxes swapdims as_strided".split())  # in place


class OpOverload:
    """One overload of an op, callable."""

    def __init__(self, packet, overload):
        self.overloadpacket = self._overloadpacket = packet
        self._overloadname = overload
        self.namespace, self._opname = packet._namespace, packet.__name__
        self.__name__ = f"{packet.__name__}.{overload}"
        self.__qualname__ = (
            packet._qualified_op_name if overload == "default" else f"{packet._qualified_op_name}.{overload}"
        )
        self.__module__ = f"torch._ops.{self.namespace}"
        self._op = None  # the row that was last seen under this name
        name = packet.__name__
        self._writes = (
            name[-1] == "_" and name[-2:-1] != "_" or overload.endswith("out") or overload.startswith("dim_m")
        )
        self._reshapes = self._writes and name[:-1] in _RESHAPE
        self._views = not self._writes and name in _views()

    def __call__(self, /, *args, **kwargs):
        if self._op is None:
            return self.overloadpacket(*args, **kwargs)
        result = self._op(*to_row(self._opname, args), **kwargs)
        return tuple(result) if isinstance(result, tuple) else result

    @cached_property
    def _schema(self):
        custom = getattr(ops, self.namespace)._custom.get(self._opname)
        if custom is not None:
            return custom._signature
        from ._schema import schema_of

        return schema_of(self)

    @property
    def is_view(self):
        """Does the result lie in the memory of an argument?"""
        return self._views

    def name(self):
        """`aten::add.Tensor`, or `aten::mm` of a default."""
        whole = self.overloadpacket._qualified_op_name
        return whole if self._overloadname == "default" else f"{whole}.{self._overloadname}"

    def __repr__(self):
        return f"<OpOverload(op='{self.namespace}.{self.overloadpacket.__name__}', overload='{self._overloadname}')>"

    def __str__(self):
        return f"{self.namespace}.{self.overloadpacket.__name__}.{self._overloadname}"

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return getattr, (self.overloadpacket, self._overloadname)


class OpOverloadPacket:
    """An op; its overloads are its attributes."""

    def __init__(self, namespace, name):
        self._namespace = namespace
        self.__name__ = name
        self._qualified_op_name = f"{namespace}::{name}"

    def __getattr__(self, overload):
        if overload.startswith("__"):
            raise AttributeError(overload)
        if overload != "default" and self.__name__ in getattr(ops, self._namespace)._custom:
            raise AttributeError(f"The underlying op of '{self}' has no overload name '{overload}'")
        value = self.__dict__[overload] = OpOverload(self, overload)
        return value

    def overloads(self):
        """The names of the overloads that have been asked for."""
        return [name for name, value in vars(self).items() if isinstance(value, OpOverload)]

    def __call__(self, /, *args, **kwargs):
        if self._namespace == "aten":
            args = to_row(self.__name__, args)
        return getattr(ops, self._namespace)._function(self.__name__)(*args, **kwargs)

    def __str__(self):
        return f"{self._namespace}.{self.__name__}"

    def __repr__(self):
        return f"<OpOverloadPacket(op='{self._namespace}.{self.__name__}')>"

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return getattr, (getattr(ops, self._namespace), self.__name__)


class OpNamespace:
    """`torch.ops.aten`: its attributes are the ops."""

    def __init__(self, name):
        self.name = name
        self._custom = {}  # what library.py has defined

    def __reduce__(self):
        return getattr, (ops, self.name)

    def __repr__(self):
        return f"<module 'torch.ops.{self.name}' from 'torch.ops'>"

    def _define(self, op, function):
        self._custom[op] = function
        return getattr(self, op)

    def _function(self, op):
        return self._custom.get(op) or _function(op)

    def __getattr__(self, op):
        if op.startswith("__") and op not in _SHIFTS.values():
            raise AttributeError(op)
        if op not in self._custom and (self.name != "aten" or op not in _names()):
            raise AttributeError(f"'_OpNamespace' '{self.name}' object has no attribute '{op}'")
        value = self.__dict__[op] = OpOverloadPacket(self.name, op)
        return value


class Ops:
    """`torch.ops`: its attributes are the namespaces."""

    def __init__(self):
        self.aten = OpNamespace("aten")

    def __reduce__(self):
        return "ops"

    def load_library(self, path):
        """Operators in C++ are made for PyTorch's core."""
        raise OSError(f"hookgrad cannot load {path}: it holds operators for PyTorch's core")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.__dict__[name] = OpNamespace(name)
        return value


ops = Ops()


# ---- From the table -----------------------------------------------------------------------------------------------------

IS_VIEW, MOVES = 32, 2048  # HG_ROW_VIEW and HG_ROW_MOVES, in a row's flags
_view_names = set()


@cache
def row_of(id):
    """A row of the table; an op keeps its number."""
    return _C.op_table()[id]


def _views():
    """The names of the ops whose result lies in the memory of an argument."""
    if not _view_names:
        _view_names.update(["detach"], (_name(row) for row in _C.op_table() if row["flags"] & IS_VIEW))
    return _view_names


_known = set()  # every name in aten, once one is asked for
_of_row = {}  # (id, in place) -> the packet, the overload's name and the function


def _name(row):
    return _NAMES.get(row["name"], row["name"])


def _names():
    if not _known:
        for row in _C.op_table():
            _known.update((_name(row), _name(row) + "_"))
        _known.update(["_convolution", "convolution_backward", "_local_scalar_dense", "lift_fresh", *_SHIFTS.values()])
        _known.update(["_pin_memory", "_sparse_addmm", "_sparse_mm_reduce_impl"])  # classes of tensors answer for them
    return _known


def _itself(self):
    return self


def _function(name):
    """What is called by the op's name."""
    if name == "_local_scalar_dense":
        return _C.Tensor.item
    if name == "lift_fresh":
        return _itself
    if name == "convolution_backward":
        from .utils._python_dispatch import _convolution_backward

        return _convolution_backward
    for place in (_C, _C.nn, _C.Tensor, _C.linalg, _C.special):
        if hasattr(place, name):
            return getattr(place, name)
    for row in _C.op_table():
        if _name(row) == name:
            return _C._op_of_row(row["id"], False)
    raise NotImplementedError(f"hookgrad has no torch.ops.aten.{name} that can be called")


def _writing(packet, overload, kwargs):
    """The overload for a call with out=: PyTorch names most of them after the one without."""
    name = packet.__name__
    if overload == "dim" and isinstance(kwargs["out"], tuple) and name in ("max", "min"):
        return f"dim_{name}"
    if overload in ("default", "Tensor"):
        return "out"
    return "IntList_out" if overload == "dim_IntList" else f"{overload}_out"


def overload_of(id, inplace, args, kwargs=()):
    """The overload that stands for row `id` of the table, called with these arguments."""
    found = _of_row.get((id, inplace))
    if found is None:
        row = row_of(id)
        name = _name(row)
        overload = _OVERLOADS.get(f"{name}.{row['overload']}".rstrip("."), row["overload"] or "default")
        packet = getattr(ops.aten, name + "_" if inplace and not name.endswith("_") else name)
        found = _of_row[id, inplace] = (packet, overload, _C._op_of_row(id, inplace))
    packet, overload, op = found
    if packet.__name__ == "arange" and len(args) == 2:
        overload = "start"
    if packet.__name__.rstrip("_") in _TENSOR_OR_SCALAR:
        overload = "Tensor" if isinstance(args[1], _C.Tensor) else "Scalar"
    elif packet.__name__ in _SHIFTS:
        overload = "Tensor"
        if not isinstance(args[1], _C.Tensor):  # an operator with a number has a name of its own
            packet, overload = getattr(ops.aten, _SHIFTS[packet.__name__]), "Scalar"
    func = getattr(packet, _writing(packet, overload, kwargs) if "out" in kwargs else overload)
    func._op = op
    return func
