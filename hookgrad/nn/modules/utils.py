"""Settings given as one number or one per dimension, and other small things that layers share."""

from types import FunctionType


def _ntuple(n, name="parse"):
    """A function that makes a number into a tuple of `n`, and any other iterable into a tuple."""

    def parse(x):
        if type(x) is int:
            return (x,) * n
        return tuple(x) if hasattr(type(x), "__iter__") else (x,) * n

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t, n):
    """The values from the last to the first, each `n` times: padding as `pad()` wants it."""
    return t * n if t[1:] == t[:-1] else sum(zip(*(t[::-1],) * n), ())


def own_names(classes):
    """Classes of a module that share a private one's `__init__` get it under their own name, which errors tell."""
    for cls in classes:
        init = getattr(cls, "__init__", None)
        if getattr(init, "__qualname__", "")[:1] == "_" and cls.__name__[0] != "_":
            own = FunctionType(init.__code__, init.__globals__, "__init__", init.__defaults__, init.__closure__)
            own.__qualname__, own.__kwdefaults__ = f"{cls.__name__}.__init__", init.__kwdefaults__
            cls.__init__ = own


def consume_prefix_in_state_dict_if_present(state_dict, prefix):
    """Take a prefix off the keys of a state dict that have it, in place: off its metadata as well.

    >>> state = {"module.weight": 1, "module.bias": 2, "step": 3}
    >>> consume_prefix_in_state_dict_if_present(state, "module.")
    >>> state
    {'step': 3, 'weight': 1, 'bias': 2}
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[key[len(prefix) :]] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is not None:
        # The key of the module itself is the prefix without its dot.
        for key in [key for key in metadata if key and (key.startswith(prefix) or key == prefix.rstrip("."))]:
            metadata[key[len(prefix) :]] = metadata.pop(key)
