"""Instance normalisation."""

from .. import functional as F
from .batchnorm import _NormBase


class _InstanceNorm(_NormBase):
    """What instance normalisations of any dimension share."""

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=False,
        track_running_stats=False,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _get_no_batch_dim(self):
        return self._n_dims - 1

    def forward(self, input):
        self._check_input_dim(input)
        is_batched = input.dim() != self._get_no_batch_dim()
        channels = input.shape[1 if is_batched else 0]
        if channels != self.num_features:
            place = f"input's size at dim={int(is_batched)}"
            if self.affine:
                raise ValueError(f"expected {place} to match num_features ({self.num_features}), but got: {channels}.")
            import warnings

            warnings.warn(
                f"{place} does not match num_features. You can silence this warning by not passing in num_features, which is "
                "not used because affine=False",
                stacklevel=2,
            )
        y = F.instance_norm(
            input if is_batched else input.unsqueeze(0),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y if is_batched else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sample of (N, C, L) or (C, L) by itself.

    >>> import hookgrad as torch
    >>> InstanceNorm1d(100)(torch.randn(20, 100, 40)).shape
    torch.Size([20, 100, 40])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm1d.html
    """

    _n_dims = 3

    def _check_input_dim(self, input):
        if input.dim() not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.dim()}D input)")


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each sample of (N, C, H, W) or (C, H, W) by itself.

    >>> import hookgrad as torch
    >>> InstanceNorm2d(100, affine=True)(torch.randn(20, 100, 35, 45)).shape
    torch.Size([20, 100, 35, 45])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html
    """

    _n_dims = 4

    def _check_input_dim(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(f"expected 3D or 4D input (got {input.dim()}D input)")


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each sample of (N, C, D, H, W) or (C, D, H, W) by itself.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm3d.html
    """

    _n_dims = 5

    def _check_input_dim(self, input):
        if input.dim() not in (4, 5):
            raise ValueError(f"expected 4D or 5D input (got {input.dim()}D input)")


def __getattr__(name):
    # PyTorch has these here.
    if name not in ("LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import lazy_layers

    return getattr(lazy_layers, name)
