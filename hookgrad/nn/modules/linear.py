"""Affine maps."""

import math

from ... import _C
from .. import functional as F
from .. import init
from ..parameter import empty_parameter
from .module import Module


class Identity(Module):
    """Returns its input. Takes any arguments and ignores them.

    >>> Identity(54, unused=True)
    Identity()

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Identity.html
    """

    forward = _C.layer_forward("identity")

    def __init__(self, *args, **kwargs):
        super().__init__()


class Linear(Module):
    """y = x @ weight.T + bias, with x (*, in_features), y (*, out_features), weight (out_features, in_features).

    Weight and bias are drawn evenly from ±1/sqrt(in_features).

    >>> import hookgrad as torch
    >>> Linear(20, 30)(torch.randn(128, 20)).shape
    torch.Size([128, 30])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
    """

    __constants__ = ["in_features", "out_features"]
    forward = _C.layer_forward("linear")

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
        _C._begin(__class__, self, in_features=in_features, out_features=out_features)
        _C._add_affine(self, (out_features, in_features), out_features if bias else None, device, dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight and bias anew."""
        init._affine_(self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """y = x1 @ weight @ x2 + bias for each output feature: weight is (out_features, in1_features, in2_features).

    >>> import hookgrad as torch
    >>> Bilinear(20, 30, 40)(torch.randn(128, 20), torch.randn(128, 30)).shape
    torch.Size([128, 40])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Bilinear.html
    """

    __constants__ = ["in1_features", "in2_features", "out_features"]

    def __init__(self, in1_features, in2_features, out_features, bias=True, device=None, dtype=None):
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = empty_parameter(shape, device, dtype)
        if bias:
            self.bias = empty_parameter(out_features, device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class NonDynamicallyQuantizableLinear(Linear):
    """The output projection of attention: a Linear under the name PyTorch prints it by."""


def __getattr__(name):
    # PyTorch has these here.
    if name not in ("LazyLinear",):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import lazy_layers

    return getattr(lazy_layers, name)
