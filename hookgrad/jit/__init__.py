"""What code that can also be compiled by TorchScript asks for: nothing is compiled here.

Source: https://docs.pytorch.org/docs/stable/jit.html
"""

from builtins import isinstance as _isinstance
from typing import Any, Final, get_args, get_origin

from ..nn.modules.module import Module

__all__ = [
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "ignore",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "script",
    "script_if_tracing",
    "trace",
    "unused",
]

Attribute = Any


class ScriptModule(Module):
    """A compiled module: none of those that script() and trace() give is one."""


class ScriptFunction:
    """A compiled function: none of those that script() and trace() give is one."""


class TracerWarning(Warning):
    """What tracing warns with in PyTorch: for programs to filter."""


def is_scripting():
    """Is this being compiled? Never."""
    return False


is_tracing = is_scripting


def ignore(drop=False, **kwargs):
    """A decorator that changes nothing, with or without arguments."""
    return drop if callable(drop) else lambda function: function


def unused(fn):
    """A decorator that changes nothing."""
    return fn


export = script_if_tracing = _script_if_tracing = _overload = _overload_method = unused


def script(obj, *args, **kwargs):
    """The function, class or module as it is."""
    return obj


def trace(func, example_inputs=None, *args, **kwargs):
    """The function or module as it is: it is not run, and later calls follow their own inputs."""
    return func


freeze = interface = optimize_for_inference = script


def _get_trace_graph(f, args=(), *more, **kwargs):
    """Refused: there is no graph of a traced function here. Libraries import it for what not every program uses."""
    raise NotImplementedError("hookgrad has no graphs of traced functions")


def annotate(the_type, the_value):
    """The value, whose type is said to a compiler."""
    return the_value


def isinstance(obj, target_type):
    """Is it of that type, which may be one of containers: list[int], dict[str, Tensor], Optional[int]?"""
    if _isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, args = get_origin(target_type), get_args(target_type)
    if origin is None:
        return _isinstance(obj, target_type)
    if not _isinstance(origin, type):  # Union and Optional
        return any(isinstance(obj, t) for t in args)
    if not _isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, args[0]) and isinstance(v, args[1]) for k, v in obj.items())
    if origin is tuple:
        return len(obj) == len(args) and all(map(isinstance, obj, args))
    return all(isinstance(item, args[0]) for item in obj)
