"""Ops on lists of tensors, `torch._foreach_add_` and its kin: the op on each, one after the other."""

from . import _C

_UNARY = frozenset(
    """abs acos asin atan ceil clone cos cosh erf erfc exp expm1 floor frac lgamma log log10 log1p log2 max neg reciprocal round
    rsqrt sigmoid sign sin sinh sqrt tan tanh trunc zero""".split()
)
_BINARY = frozenset("add clamp_max clamp_min copy div maximum minimum mul pow sub".split())
_TERNARY = frozenset("addcdiv addcmul lerp".split())
_METHODS = {"maximum": "clamp_min", "minimum": "clamp_max"}  # with a number
PREFIX = "_foreach_"


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


def _make(name):
    op = name[len(PREFIX) :]
    in_place = op.endswith("_")
    op = op.rstrip("_")
    one = _one(op, in_place)

    def result(got, tensors):
        return tensors if in_place else tuple(got)

    if op in _UNARY:

        def run(self):
            _checked(self)
            return result([one(t) for t in self], self)

    elif op == "norm" and not in_place:

        def run(self, ord=2, dtype=None):
            _checked(self)
            return tuple([_C.linalg.vector_norm(t, ord, dtype=dtype) for t in self])

    elif op in _BINARY:

        def run(self, other, **kwargs):
            if op == "pow" and not _is_list(self):
                return tuple([self**t for t in other])
            n = _checked(self)
            return result([one(t, o, **kwargs) for t, o in zip(self, _each(other, n))], self)

    elif op in _TERNARY:

        def run(self, tensor1, tensor2, value=1):
            n = _checked(self)
            seconds = _each(tensor2, n)
            if op == "lerp":
                return result([one(*each) for each in zip(self, _each(tensor1, n), seconds)], self)
            values = value.tolist() if isinstance(value, _C.Tensor) and value.dim() else value
            each = zip(self, _each(tensor1, n), seconds, _each(values, n))
            return result([one(t, a, b, value=v) for t, a, b, v in each], self)

    else:
        raise AttributeError(f"hookgrad has no torch.{name}")
    run.__name__ = run.__qualname__ = name
    return run


def __getattr__(name):
    if not name.startswith(PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _make(name)
    return made
