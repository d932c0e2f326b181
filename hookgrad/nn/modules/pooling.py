"""Pooling: one number for each window."""

from ... import _C
from .. import functional as F
from .module import Module
from .utils import _ntuple, _single, own_names


class _MaxPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode"]

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window of (N, C, L) or (C, L). `stride` is the window's size unless given.

    >>> import hookgrad as torch
    >>> MaxPool1d(3, stride=2)(torch.randn(20, 16, 50)).shape
    torch.Size([20, 16, 24])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html
    """

    forward = _C.layer_forward("max_pool1d")


class MaxPool2d(_MaxPoolNd):
    """The maximum of each window of (N, C, H, W) or (C, H, W). `stride` is the window's size unless given.

    >>> import hookgrad as torch
    >>> MaxPool2d(3, stride=2)(torch.randn(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html
    """

    forward = _C.layer_forward("max_pool2d")


class _AvgPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L) or (C, L). `stride` is the window's size unless given.

    >>> import hookgrad as torch
    >>> AvgPool1d(3, stride=2)(torch.tensor([[[1.0, 2, 3, 4, 5, 6, 7]]]))
    tensor([[[2., 4., 6.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html
    """

    forward = _C.layer_forward("avg_pool1d")

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = _single(stride if stride is not None else kernel_size)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of (N, C, H, W) or (C, H, W). `stride` is the window's size unless given.

    >>> import hookgrad as torch
    >>> AvgPool2d(3, stride=2)(torch.randn(20, 16, 50, 32)).shape
    torch.Size([20, 16, 24, 15])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
    """

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"]
    forward = _C.layer_forward("avg_pool2d")

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ["output_size"]

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """The means of as many windows as `output_size` says, whatever the size of the input (N, C, L) or (C, L).

    >>> import hookgrad as torch
    >>> AdaptiveAvgPool1d(5)(torch.randn(1, 64, 8)).shape
    torch.Size([1, 64, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html
    """

    forward = _C.layer_forward("adaptive_avg_pool1d")


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """The means of as many windows as `output_size` says, whatever the size of the input (N, C, H, W) or (C, H, W).
    None keeps the input's size.

    >>> import hookgrad as torch
    >>> AdaptiveAvgPool2d((None, 7))(torch.randn(1, 64, 10, 9)).shape
    torch.Size([1, 64, 10, 7])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html
    """

    forward = _C.layer_forward("adaptive_avg_pool2d")


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ["output_size", "return_indices"]

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The maxima of as many windows as `output_size` says, whatever the size of the input (N, C, L) or (C, L).

    >>> import hookgrad as torch
    >>> AdaptiveMaxPool1d(2)(torch.arange(4.0).reshape(1, 1, 4))
    tensor([[[1., 3.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html
    """

    def forward(self, input):
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The maxima of as many windows as `output_size` says, whatever the size of the input (N, C, H, W) or (C, H, W).

    >>> import hookgrad as torch
    >>> AdaptiveMaxPool2d((5, None))(torch.randn(1, 64, 8, 9)).shape
    torch.Size([1, 64, 5, 9])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html
    """

    def forward(self, input):
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


# ---- Three dimensions ----------------------------------------------------------------------------------------------------


class MaxPool3d(_MaxPoolNd):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W). `stride` is the window's size unless given.

    >>> import hookgrad as torch
    >>> MaxPool3d(3, stride=2)(torch.randn(2, 16, 8, 9, 10)).shape
    torch.Size([2, 16, 3, 4, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html
    """

    def forward(self, input):
        return F.max_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W). `stride` is the window's size unless given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html
    """

    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"]

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """The means of as many windows as `output_size` says, whatever the size of the input (N, C, D, H, W) or (C, D, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html
    """

    def forward(self, input):
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The maxima of as many windows as `output_size` says, whatever the size of the input (N, C, D, H, W) or (C, D, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html
    """

    def forward(self, input):
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


# ---- Power means ------------------------------------------------------------------------------------------------------------


class _LPPoolNd(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self):
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.__constants__)


class LPPool1d(_LPPoolNd):
    """The norm_type-th root of the sum of the powers of each window of (N, C, L) or (C, L).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html
    """

    def forward(self, input):
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPoolNd):
    """The norm_type-th root of the sum of the powers of each window of (N, C, H, W) or (C, H, W).

    >>> import hookgrad as torch
    >>> LPPool2d(2, 2)(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]))
    tensor([[[5.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html
    """

    def forward(self, input):
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPoolNd):
    """The norm_type-th root of the sum of the powers of each window of (N, C, D, H, W) or (C, D, H, W).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html
    """

    def forward(self, input):
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


# ---- Back to where the maxima were --------------------------------------------------------------------------------------------


class _MaxUnpoolNd(Module):
    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        as_tuple = _ntuple(self._n_dims)
        self.kernel_size = as_tuple(kernel_size)
        self.stride = as_tuple(stride if stride is not None else kernel_size)
        self.padding = as_tuple(padding)

    def forward(self, input, indices, output_size=None):
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self._n_dims - 1]
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """What MaxPool1d has pooled, at the places it says, and zeros elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html
    """

    _n_dims = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """What MaxPool2d has pooled, at the places it says, and zeros elsewhere.

    >>> import hookgrad as torch
    >>> output, indices = MaxPool2d(2, return_indices=True)(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    >>> MaxUnpool2d(2)(output, indices)
    tensor([[[0., 0.],
             [0., 4.]]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html
    """

    _n_dims = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """What MaxPool3d has pooled, at the places it says, and zeros elsewhere.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html
    """

    _n_dims = 3


# ---- Windows at random places ----------------------------------------------------------------------------------------------------


class _FractionalMaxPoolNd(Module):
    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]

    def __init__(self, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        super().__init__()
        as_tuple = _ntuple(self._n_dims)
        name = type(self).__name__
        if self._n_dims == 3 and min(as_tuple(kernel_size)) <= 0:
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.kernel_size = as_tuple(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = as_tuple(output_size) if output_size is not None else None
        self.output_ratio = as_tuple(output_ratio) if output_ratio is not None else None
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input):
        pool = F.fractional_max_pool3d if self._n_dims == 3 else F.fractional_max_pool2d
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The maxima of windows of (N, C, H, W) or (C, H, W) that start at random places, evenly spread.

    >>> import hookgrad as torch
    >>> FractionalMaxPool2d(3, output_size=(13, 12))(torch.randn(2, 16, 50, 32)).shape
    torch.Size([2, 16, 13, 12])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html
    """

    _n_dims = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The maxima of windows of (N, C, D, H, W) or (C, D, H, W) that start at random places, evenly spread.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html
    """

    _n_dims = 3


own_names(cls for base in (_MaxUnpoolNd, _FractionalMaxPoolNd) for cls in base.__subclasses__())
