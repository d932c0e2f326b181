"""Neural networks: modules, their parameters, and the functions they are made of.

Source: https://docs.pytorch.org/docs/stable/nn.html
"""

import sys as _sys

from .. import _C
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


def factory_kwargs(kwargs):
    """The `device`, `dtype` and `memory_format` of keyword arguments, those of its own entry `factory_kwargs` included.

    >>> factory_kwargs({"dtype": None, "factory_kwargs": {"device": "cpu"}})
    {'device': 'cpu', 'dtype': None}
    """
    if kwargs is None:
        return {}
    names = {"device", "dtype", "memory_format"}
    unexpected = kwargs.keys() - names - {"factory_kwargs"}
    if unexpected:
        raise TypeError(f"unexpected kwargs {unexpected}")
    made = dict(kwargs.get("factory_kwargs", {}))
    for name in sorted(names & kwargs.keys()):
        if name in made:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        made[name] = kwargs[name]
    return made


# Modules that come with their first use, like the layers that few programs use.
_LATE = ("_reduction", "attention", "common_types", "grad", "parallel")
_sys.modules[__name__].__class__ = _C._Package


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
