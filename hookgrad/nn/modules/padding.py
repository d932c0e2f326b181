"""Padding: more elements around an input."""

from .. import functional as F
from .module import Module
from .utils import _ntuple, own_names


class _PadNd(Module):
    """`padding` says how many elements come before and after, the last dimension first, or one number for all."""

    __constants__ = ["padding"]
    _sides = 2  # twice the number of padded dimensions
    _mode = "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(self._sides)(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    __constants__ = ["padding", "value"]

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Puts `value` around the last dimension.

    >>> import hookgrad as torch
    >>> ConstantPad1d((1, 2), 3.5)(torch.zeros(1, 1))
    tensor([[3.5000, 0.0000, 3.5000, 3.5000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html
    """


class ConstantPad2d(_ConstantPadNd):
    """Puts `value` around the last two dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html
    """

    _sides = 4


class ConstantPad3d(_ConstantPadNd):
    """Puts `value` around the last three dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad3d.html
    """

    _sides = 6


class ZeroPad1d(ConstantPad1d):
    """Puts zeros around the last dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad1d.html
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Puts zeros around the last two dimensions.

    >>> import hookgrad as torch
    >>> ZeroPad2d(1)(torch.ones(1, 1, 1, 1)).shape
    torch.Size([1, 1, 3, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad2d.html
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Puts zeros around the last three dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ZeroPad3d.html
    """

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors the input at the ends of its last dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html
    """


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors the input at the edges of its last two dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad2d.html
    """

    _sides = 4


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors the input at the faces of its last three dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad3d.html
    """

    _sides = 6


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the elements at the ends of the last dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html
    """


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the elements at the edges of the last two dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html
    """

    _sides = 4


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the elements at the faces of the last three dimensions.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad3d.html
    """

    _sides = 6


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def _check_input_dim(self, input):
        n = self._sides // 2 + 1
        if input.dim() not in (n, n + 1):
            raise ValueError(f"expected {n}D or {n + 1}D input (got {input.dim()}D input)")

    def forward(self, input):
        self._check_input_dim(input)
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Goes round from one end of the last dimension to the other.

    >>> import hookgrad as torch
    >>> CircularPad1d(1)(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html
    """


class CircularPad2d(_CircularPadNd):
    """Goes round from one edge of the last two dimensions to the other.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html
    """

    _sides = 4


class CircularPad3d(_CircularPadNd):
    """Goes round from one face of the last three dimensions to the other.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad3d.html
    """

    _sides = 6


own_names([*globals().values()])
