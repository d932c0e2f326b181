"""Helpers for the parameters of modules.

Source: https://docs.pytorch.org/docs/stable/nn.html#utilities
"""

import sys

from ..._package import Package
from .clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .init import skip_init
from .spectral_norm import remove_spectral_norm, spectral_norm
from .weight_norm import remove_weight_norm, weight_norm

_functions_over_modules = frozenset({"spectral_norm", "weight_norm"})
sys.modules[__name__].__class__ = Package

_FUSION = ("fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights")
_FORMAT = ("convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format")
_LATE = ("fusion", "memory_format", "parametrizations", "parametrize", "prune", "rnn", "stateless")


def __getattr__(name):
    if name in _LATE:
        from importlib import import_module

        return import_module("." + name, __name__)
    if name in _FUSION:
        from . import fusion

        return getattr(fusion, name)
    if name in _FORMAT:
        from . import memory_format

        return getattr(memory_format, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "convert_conv2d_weight_memory_format",
    "convert_conv3d_weight_memory_format",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "stateless",
    "vector_to_parameters",
    "weight_norm",
]
