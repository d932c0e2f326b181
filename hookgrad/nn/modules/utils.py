"""Settings given as one number or one per dimension."""


def _ntuple(n, name="parse"):
    """A function that makes a number into a tuple of `n`, and any other iterable into a tuple."""

    def parse(x):
        return tuple(x) if hasattr(type(x), "__iter__") else (x,) * n

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t, n):
    """The values from the last to the first, each `n` times: padding as `pad()` wants it."""
    return tuple(x for x in reversed(t) for _ in range(n))
