"""Modes that see every op: `TorchDispatchMode`.

Inside a mode's `with`, each op that is no composite of others comes to the mode just before it computes, in forward and in
backward, below the recording of the graph. What the mode returns is taken for the op's result.

    class Logged(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            print(func)
            return func(*args, **(kwargs or {}))

    with Logged():
        torch.ones(2, 2) @ torch.ones(2, 2)   # aten.ones.default twice, then aten.mm.default

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-native-api
"""

from .. import _C
from .._modes import Mode, ModeStack
from .._ops import overload_of

_stack = ModeStack(_C._dispatch_modes)


class TorchDispatchMode(Mode):
    """A context whose `__torch_dispatch__(func, types, args, kwargs)` gives the result of each op that runs in it.

    Inside of `__torch_dispatch__` the mode is off, those around it are on.
    """

    _modes_on = _stack

    def __init__(self, _dispatch_key=None):
        self.__dict__.setdefault("_entered", 0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError


class BaseTorchDispatchMode(TorchDispatchMode):
    """A mode that runs each op as it is."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _get_current_dispatch_mode():
    return _stack.top()


def _get_current_dispatch_mode_stack():
    return list(_stack.modes)


def is_in_torch_dispatch_mode(include_infra_modes=True):
    """Is a mode on in this thread?"""
    return bool(_stack.modes)


_pop_mode_temporarily = _stack.without_top
_disable_current_modes = _stack.without_all


def is_traceable_wrapper_subclass(t):
    """Is it a tensor that is made of others, and says which? There is none."""
    return False


# ---- Asking ---------------------------------------------------------------------------------------------------------------


def _dispatch(id, inplace, args, kwargs):
    func = overload_of(id, inplace, args)
    with _pop_mode_temporarily() as mode:
        result = mode.__torch_dispatch__(func, (), args, kwargs)
    if result is NotImplemented:
        raise TypeError(
            f"Multiple dispatch failed for '{func.name()}'; all __torch_dispatch__ handlers returned NotImplemented:\n\n"
            f"  - mode object {mode!r}"
        )
    return result


_C._dispatch_with(_dispatch)
