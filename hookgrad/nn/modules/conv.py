"""Convolutions."""

from ... import _C
from .. import functional as F
from .. import init
from .module import Module
from .utils import _pair, _reverse_repeat_tuple, _single, _triple

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutions of any dimension share."""

    __constants__ = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
        bias,
        padding_mode,
        device=None,
        dtype=None,
    ):
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode='{padding_mode}'")
        # The padding as `pad()` wants it: last dimension first, before and after.
        if not isinstance(padding, str):
            around = _reverse_repeat_tuple(padding, 2)
        elif padding == "same":
            totals = [d * (k - 1) for d, k in zip(reversed(dilation), reversed(kernel_size))]
            around = [n for total in totals for n in (total // 2, total - total // 2)]
        else:
            around = [0, 0] * len(kernel_size)
        _C._begin(
            __class__,
            self,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            transposed=transposed,
            output_padding=output_padding,
            groups=groups,
            padding_mode=padding_mode,
            _reversed_padding_repeated_twice=around,
        )
        n_in, n_out = (out_channels, in_channels) if transposed else (in_channels, out_channels)
        _C._add_affine(self, (n_out, n_in // groups, *kernel_size), out_channels if bias else None, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight and bias anew, evenly from ±1/sqrt(in_channels / groups * kernel elements)."""
        init._affine_(self.weight, self.bias)

    def extra_repr(self):
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def _conv_forward(self, input, weight, bias):
        """What `forward` computes, with these weights: subclasses call it with others, or have their own."""
        dims, padding = len(self.kernel_size), self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * dims
        return getattr(F, f"conv{dims}d")(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # A forward in C does not ask for a method.
        if "_conv_forward" in vars(cls) and type(cls.forward) is type(Conv1d.forward):
            cls.forward = lambda self, input: self._conv_forward(input, self.weight, self.bias)


class Conv1d(_ConvNd):
    """A convolution over (N, C, L) or (C, L), with weight (out_channels, in_channels / groups, kernel_size).

    `padding` is a number, "same" or "valid"; `padding_mode` says what is put there: "zeros", "reflect", "replicate" or
    "circular".

    >>> import hookgrad as torch
    >>> Conv1d(16, 33, 3, stride=2)(torch.randn(20, 16, 50)).shape
    torch.Size([20, 33, 24])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html
    """

    forward = _C.layer_forward("conv1d")

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        padding = padding if isinstance(padding, str) else _single(padding)
        kernel_size, stride, dilation = _single(kernel_size), _single(stride), _single(dilation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            False,
            _single(0),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class Conv2d(_ConvNd):
    """A convolution over (N, C, H, W) or (C, H, W), with weight (out_channels, in_channels / groups, *kernel_size).

    `padding` is a number, a pair, "same" or "valid"; `padding_mode` says what is put there: "zeros", "reflect",
    "replicate" or "circular".

    >>> import hookgrad as torch
    >>> Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1))(torch.randn(20, 16, 50, 100)).shape
    torch.Size([20, 33, 26, 100])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
    """

    forward = _C.layer_forward("conv2d")

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        padding = padding if isinstance(padding, str) else _pair(padding)
        kernel_size, stride, dilation = _pair(kernel_size), _pair(stride), _pair(dilation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            False,
            _pair(0),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class Conv3d(_ConvNd):
    """A convolution over (N, C, D, H, W) or (C, D, H, W), with weight (out_channels, in_channels / groups, *kernel_size).

    `padding` is a number, three, "same" or "valid"; `padding_mode` says what is put there: "zeros", "reflect",
    "replicate" or "circular".

    >>> import hookgrad as torch
    >>> Conv3d(16, 33, (3, 5, 2), stride=(2, 1, 1), padding=(4, 2, 0))(torch.randn(2, 16, 10, 5, 10)).shape
    torch.Size([2, 33, 8, 5, 9])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv3d.html
    """

    forward = _C.layer_forward("conv3d")

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        padding = padding if isinstance(padding, str) else _triple(padding)
        kernel_size, stride, dilation = _triple(kernel_size), _triple(stride), _triple(dilation)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            False,
            _triple(0),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class _ConvTransposeNd(_ConvNd):
    """What transposed convolutions of any dimension share."""

    def __init__(self, in_channels, out_channels, *settings, padding_mode, device, dtype):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(in_channels, out_channels, *settings, padding_mode, device, dtype)

    def _output_padding(self, input, output_size):
        """What must be added at the end of each dimension for the output to have `output_size`."""
        if output_size is None:
            return self.output_padding
        n_dims = len(self.kernel_size)
        n_extra = input.dim() - n_dims
        if len(output_size) == n_extra + n_dims:
            output_size = output_size[n_extra:]
        if len(output_size) != n_dims:
            raise ValueError(
                f"ConvTranspose{n_dims}D: for {input.dim()}D input, output_size must have {n_dims} or "
                f"{n_extra + n_dims} elements (got {len(output_size)})"
            )
        smallest = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in zip(
                input.shape[n_extra:], self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        largest = [size + stride - 1 for size, stride in zip(smallest, self.stride)]
        if any(not low <= size <= high for low, size, high in zip(smallest, output_size, largest)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {input.size()[2:]})"
            )
        return [size - low for size, low in zip(output_size, smallest)]


class ConvTranspose1d(_ConvTransposeNd):
    """The gradient of Conv1d with respect to its input, as a layer.

    The weight is (in_channels, out_channels / groups, kernel_size).

    >>> import hookgrad as torch
    >>> ConvTranspose1d(4, 2, 3, stride=2)(torch.randn(1, 4, 5)).shape
    torch.Size([1, 2, 11])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            _single(kernel_size),
            _single(stride),
            _single(padding),
            _single(dilation),
            True,
            _single(output_padding),
            groups,
            bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )

    def forward(self, input, output_size=None):
        extra = self._output_padding(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose2d(_ConvTransposeNd):
    """The gradient of Conv2d with respect to its input, as a layer.

    The weight is (in_channels, out_channels / groups, *kernel_size).

    >>> import hookgrad as torch
    >>> ConvTranspose2d(4, 2, 3, stride=2)(torch.randn(1, 4, 5, 5)).shape
    torch.Size([1, 2, 11, 11])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            _pair(kernel_size),
            _pair(stride),
            _pair(padding),
            _pair(dilation),
            True,
            _pair(output_padding),
            groups,
            bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )

    def forward(self, input, output_size=None):
        extra = self._output_padding(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose3d(_ConvTransposeNd):
    """The gradient of Conv3d with respect to its input, as a layer.

    The weight is (in_channels, out_channels / groups, *kernel_size).

    >>> import hookgrad as torch
    >>> ConvTranspose3d(4, 2, 3, stride=2)(torch.randn(1, 4, 2, 5, 5)).shape
    torch.Size([1, 2, 5, 11, 11])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            _triple(kernel_size),
            _triple(stride),
            _triple(padding),
            _triple(dilation),
            True,
            _triple(output_padding),
            groups,
            bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )

    def forward(self, input, output_size=None):
        extra = self._output_padding(input, output_size)
        return F.conv_transpose3d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


def __getattr__(name):
    # PyTorch has these here.
    if name not in (
        "LazyConv1d",
        "LazyConv2d",
        "LazyConv3d",
        "LazyConvTranspose1d",
        "LazyConvTranspose2d",
        "LazyConvTranspose3d",
    ):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import lazy_layers

    return getattr(lazy_layers, name)
