"""Ops on lists of tensors, `torch._foreach_add_` and its kin: the op on each, one after the other.

The results have one node, as in PyTorch, whose name tells what came with the tensors: "ForeachMulBackward1Scalar".
"""

from . import _C
from .nn._whole import one_node

_UNARY = frozenset(
    """abs acos asin atan ceil clone cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 max neg reciprocal round
    rsqrt sigmoid sign sin sinh sqrt tan tanh trunc zero""".split()
)
_BINARY = frozenset("add clamp_max clamp_min copy div maximum minimum mul pow sub".split())
_TERNARY = frozenset("addcdiv addcmul lerp".split())
_METHODS = {"maximum": "clamp_min", "minimum": "clamp_max"}  # with a number
PREFIX = "_foreach_"
_KEYWORDS = {  # PyTorch's, which differ with what comes with the tensors
    **dict.fromkeys("scalar scalars exponent src".split(), "other"),
    **dict.fromkeys("weight weights".split(), "tensor2"),
    "tensors1": "tensor1",
}

# How the names of nodes end where it is not 0 or 1 and what came with the tensors.
_BY_LIST = {"List": "1List", "Scalar": "0Scalar", "ScalarList": "0ScalarList"}
_ENDS = {
    "clamp_max": _BY_LIST,
    "clamp_min": _BY_LIST,
    "lerp": _BY_LIST,
    "div": {"List": "0"},
    "maximum": {"Scalar": "0", "ScalarList": "1"},
    "minimum": {"Scalar": "0", "ScalarList": "1"},
    "pow": {"List": "0", "Scalar": "0Scalar", "ScalarList": "1"},
    "addcdiv": {"Scalar": "0Scalar", "ScalarList": "0ScalarList"},
    "addcmul": {"Scalar": "0Scalar", "ScalarList": "0ScalarList"},
}


def _node(op, columns):
    name = "Foreach" + "".join([w.capitalize() for w in op.split("_")]).replace("1p", "1P") + "Backward"
    if op in _UNARY or op == "norm":
        return name + ("1" if op == "max" else "0")
    if not _is_list(columns[0]):
        return name + "2"  # a number to the power of tensors
    last = columns[-1]
    tensors = isinstance(last[0] if _is_list(last) else last, _C.Tensor)
    kind = ("List" if tensors else "ScalarList") if _is_list(last) else "Tensor" if tensors else "Scalar"
    return name + _ENDS.get(op, {}).get(kind, f"{int(not tensors)}{kind}")


def _is_list(x):
    return isinstance(x, (list, tuple))


def _each(x, n, what="Tensor lists must have the same number of tensors, got {} and {}"):
    """What goes with each of n tensors: an entry of a list, or the one thing there is."""
    if not _is_list(x):
        return [x] * n
    if len(x) != n:
        raise RuntimeError(what.format(n, len(x)))
    return x


def _checked(tensors):
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return len(tensors)


def _one(name, in_place):
    def method(tensor, *args, **kwargs):
        op = name
        if name in _METHODS and not isinstance(args[0], _C.Tensor):
            op = _METHODS[name]
        if in_place and name in ("maximum", "minimum") and op == name:
            return tensor.copy_(getattr(tensor, op)(*args))
        return getattr(tensor, op + "_" * in_place)(*args, **kwargs)

    return method


def _recorded(op, of_each, columns):
    n = _checked(next(c for c in columns if _is_list(c)))
    columns = [list(c) if _is_list(c) else c for c in columns]
    tensors, places = [], []
    for k, column in enumerate(columns):  # of what goes into the node only the tensors' places stay here
        for i, x in enumerate(column if _is_list(column) else [column]):
            if isinstance(x, _C.Tensor):
                tensors.append(x)
                places.append((k, i))
    name = _node(op, columns)
    for k in {k for k, _ in places}:
        columns[k] = [None] * len(columns[k]) if _is_list(columns[k]) else None

    def function(*tensors):
        given = [list(c) if _is_list(c) else c for c in columns]
        for (k, i), t in zip(places, tensors):
            if _is_list(given[k]):
                given[k][i] = t
            else:
                given[k] = t
        return tuple([of_each(*entries) for entries in zip(*[_each(c, n) for c in given])])

    return one_node(name, *range(len(tensors)))(function)(*tensors)


def _make(name):
    op = name[len(PREFIX) :]
    in_place = op.endswith("_")
    op = op.rstrip("_")
    if op in ("copy", "zero") and not in_place or op in ("clone", "max") and in_place:
        raise AttributeError(f"hookgrad has no torch.{name}")
    one = _one(op, in_place)

    def each(of_each, *columns):
        """The results of `of_each` for each tensor and what goes with it in the other columns, lists or one for all."""
        if not in_place:
            return _recorded(op, of_each, columns)
        n = _checked(columns[0])
        for entries in zip(*[_each(c, n) for c in columns]):
            of_each(*entries)
        return columns[0]

    if op in _UNARY:

        def run(self):
            return each(one, self)

    elif op == "norm" and not in_place:

        def run(self, ord=2, dtype=None):
            return each(lambda t: _C.linalg.vector_norm(t, ord, dtype=dtype), self)

    elif op in _BINARY:

        def run(self, other, **kwargs):
            if op == "pow" and not _is_list(self):
                return each(lambda base, t: base**t, self, other)
            return each(lambda t, o: one(t, o, **kwargs), self, other)

    elif op in _TERNARY:

        def run(self, tensor1, tensor2, value=1):
            if op == "lerp":
                return each(one, self, tensor1, tensor2)
            values = value.tolist() if isinstance(value, _C.Tensor) and value.dim() else value
            return each(lambda t, a, b, v: one(t, a, b, value=v), self, tensor1, tensor2, values)

    else:
        raise AttributeError(f"hookgrad has no torch.{name}")

    def called(*args, **kwargs):
        keywords = _KEYWORDS | {"scalars": "tensor2" if op == "lerp" else "value"} if op in _TERNARY else _KEYWORDS
        return run(*args, **{keywords.get(key, key): value for key, value in kwargs.items()})

    called.__name__ = called.__qualname__ = name
    return called


def __getattr__(name):
    if not name.startswith(PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _make(name)
    return made
