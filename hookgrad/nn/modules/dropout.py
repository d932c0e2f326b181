"""Dropout: in training some of the input becomes zero, and the rest larger, by 1/(1-p)."""

from ... import _C
from .. import functional as F
from .module import Module


class _DropoutNd(Module):
    __constants__ = ["p", "inplace"]

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Each element is zeroed with probability `p`; in evaluation nothing happens.

    >>> import hookgrad as torch
    >>> Dropout(p=0.2).eval()(torch.ones(2))
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html
    """

    forward = _C.layer_forward("dropout")


class Dropout1d(_DropoutNd):
    """Each channel of (N, C, L) or (C, L) is zeroed as a whole with probability `p`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout1d.html
    """

    def forward(self, input):
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Each channel of (N, C, H, W) or (C, H, W) is zeroed as a whole with probability `p`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout2d.html
    """

    def forward(self, input):
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Each channel of (N, C, D, H, W) or (C, D, H, W) is zeroed as a whole with probability `p`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout3d.html
    """

    def forward(self, input):
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Each element is set to SELU's lowest value with probability `p`; a scale and a shift keep mean and variance.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.AlphaDropout.html
    """

    def forward(self, input):
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels of (N, C, *).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.FeatureAlphaDropout.html
    """

    def forward(self, input):
        return F.feature_alpha_dropout(input, self.p, self.training)
