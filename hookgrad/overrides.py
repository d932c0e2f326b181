"""Tensor classes that take part in what is done with their tensors: `__torch_function__`.

A function called with a tensor of a user's class asks the class: `cls.__torch_function__(func, types, args, kwargs)` gives the
result, or NotImplemented. The one that a class inherits from Tensor runs the function and gives the class to its results.

    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            print(func.__name__)
            return super().__torch_function__(func, types, args, kwargs)

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-python-api
"""

from types import FunctionType, MethodDescriptorType

from . import _C
from ._tensor import DisableTorchFunctionSubclass

Tensor = _C.Tensor
DisableTorchFunction = DisableTorchFunctionSubclass


def is_tensor_like(inp):
    """Is it a tensor, or does its type have a `__torch_function__`?"""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def has_torch_function(relevant_args):
    """Does one of these belong to a class with a `__torch_function__` of its own?"""
    return _C._override_off(0) == 0 and any(_overrides(type(arg)) for arg in relevant_args)


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """What the classes of `relevant_args` make of a call of `public_api`."""
    return _ask(public_api, relevant_args, args, kwargs)


def get_default_nowrap_functions():
    """Functions whose results keep the class they have: those that give what a tensor owns."""
    return {Tensor.__dict__[name].__get__ for name in _OWNED}


# ---- Asking ------------------------------------------------------------------------------------------------------------

_OWNED = ("_base", "grad")


def _overrides(cls):
    if cls is Tensor or not hasattr(cls, "__torch_function__"):
        return False
    return cls.__torch_function__ is not _C._disabled_torch_function_impl


def _call(function, args, kwargs):
    """A call in which a tensor of an overriding class takes part."""
    found = []
    for arg in (*args, *kwargs.values()):
        found.extend(arg if isinstance(arg, (list, tuple)) else [arg])
    return _ask(function, found, args, kwargs)


def _ask(function, relevant_args, args, kwargs):
    asked = []  # one of each class, derived classes before their bases
    for arg in relevant_args:
        cls = type(arg)
        if _overrides(cls) and cls not in map(type, asked):
            place = next((i for i, other in enumerate(asked) if issubclass(cls, type(other))), len(asked))
            asked.insert(place, arg)
    types = tuple(map(type, asked))
    for arg in asked:
        result = arg.__torch_function__(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    name = getattr(function, "__name__", repr(function))
    given = "".join(f"\n\n  - tensor subclass {cls!r}" for cls in types)
    raise TypeError(
        f"Multiple dispatch failed for 'torch.{name}'; all __torch_function__ handlers returned NotImplemented:{given}"
    )


def _default(cls, func, types, args=(), kwargs=None):
    """Run the function on plain tensors; its tensors become ones of this class."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        result = func(*args, **(kwargs or {}))
        return result if func in get_default_nowrap_functions() else _converted(result, cls)


def _converted(result, cls):
    if isinstance(result, Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        return type(result)([_converted(r, cls) for r in result])
    return result


# ---- Attributes and methods ----------------------------------------------------------------------------------------------


_METHODS = (FunctionType, MethodDescriptorType, type(Tensor.__dict__["add"]))


def _attribute(self, name):
    """`__getattribute__` of overriding classes: methods and tensor-valued attributes that are Tensor's own ask the class."""
    value = object.__getattribute__(self, name)
    if name.startswith("__") or _C._override_off(0) or not _overrides(type(self)):
        return value
    home = next((cls for cls in type(self).__mro__ if name in cls.__dict__), None)
    if home is not Tensor:
        return value
    inherited = Tensor.__dict__[name]
    if isinstance(value, Tensor):
        return _call(inherited.__get__, (self,), {})
    if not isinstance(inherited, _METHODS):
        return value

    def method(*args, **kwargs):
        return _call(getattr(Tensor, name), (self, *args), kwargs)

    method.__name__ = name
    return method


def _watch(cls):
    """A subclass of Tensor that does not count as a plain tensor has been made: from here on functions ask it."""
    _C._override_with(_call)
    if cls.__getattribute__ is Tensor.__getattribute__:
        cls.__getattribute__ = _attribute
