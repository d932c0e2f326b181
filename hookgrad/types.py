"""Names for annotations."""

from typing import Any, Union

from ._C import Size, Tensor
from ._C import device as _device
from ._C import dtype as _dtype
from ._C import layout as _layout
from ._rare import SymBool, SymFloat, SymInt

Device = Union[_device, str, int, None]  # noqa: UP007 (an alias, not an annotation)
Number = Union[int, float, bool]  # noqa: UP007
_bool, _float, _int = bool, float, int
_size = Union[Size, list, tuple]  # noqa: UP007
_TensorOrTensors = Union[Tensor, tuple]  # noqa: UP007
Storage = Any
IntLikeType, FloatLikeType, BoolLikeType = Union[int, SymInt], Union[float, SymFloat], Union[bool, SymBool]  # noqa: UP007

__all__ = ["Device", "Number", "Storage", "_device", "_dtype", "_layout", "_size"]
