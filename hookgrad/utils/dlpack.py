"""Tensors to and from other libraries, without a copy.

Source: https://docs.pytorch.org/docs/stable/dlpack.html
"""

from .._C import _to_dlpack as to_dlpack
from .._C import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
