"""Neural networks: modules, their parameters, and the functions they are made of.

Source: https://docs.pytorch.org/docs/stable/nn.html
"""

from . import functional, init, modules, parameter, utils
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

globals().update({name: value for name, value in vars(modules).items() if name in modules.__all__})

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
    "DataParallel",
    *modules.__all__,
]

# Modules that come with their first use, like the layers that few programs use.
_LATE = ("_reduction", "attention", "grad", "parallel")


def __getattr__(name):
    if name in modules.__all__:
        value = globals()[name] = getattr(modules, name)
        return value
    if name == "DataParallel":
        from .parallel import DataParallel

        return DataParallel
    if name in _LATE:
        from importlib import import_module

        return import_module("." + name, __name__)
    raise AttributeError(f"hookgrad has no torch.nn.{name}")


def __dir__():
    return sorted({*globals(), *__all__, *_LATE})
