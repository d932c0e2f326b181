"""Neural networks: modules, their parameters, and the functions they are made of.

Source: https://docs.pytorch.org/docs/stable/nn.html
"""

from . import functional, init, modules, parameter, utils
from .modules import *  # noqa: F403 (its __all__ is the list of layers)
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

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
    *modules.__all__,
]
