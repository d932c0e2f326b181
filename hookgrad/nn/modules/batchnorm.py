"""Batch normalisation."""

import hookgrad

from ... import _C
from .module import Module


class _NormBase(Module):
    """What normalisations with running statistics share: the settings, the parameters and the buffers."""

    _version = 2  # 2 brought num_batches_tracked
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        _C._begin(
            __class__,
            self,
            num_features=num_features,
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
        )
        shape = num_features if affine else None
        _C._add_affine(self, shape, shape if bias else None, device, dtype)
        _C._add_statistics(self, num_features if track_running_stats else None, device, dtype)
        self.reset_parameters()

    def reset_running_stats(self):
        """Forget the statistics of all batches seen."""
        if self.track_running_stats:
            _C._fill(self.running_mean, 0.0, self.running_var, 1.0, self.num_batches_tracked, 0.0)

    def reset_parameters(self):
        """Forget the statistics, and set weight to one and bias to zero."""
        self.reset_running_stats()
        if self.affine:
            _C._fill(self.weight, 1.0, self.bias, 0.0)

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            known = count is not None and count.device.type != "meta"
            state_dict[key] = count if known else hookgrad.tensor(0, dtype=hookgrad.int64)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    """What batch normalisations of any dimension share."""

    # Fewest and most dimensions of an input, which the layer in C checks; None: any.
    _input_dims = None
    forward = _C.layer_forward("batch_norm")


class BatchNorm1d(_BatchNorm):
    """Normalise each feature of (N, C) or (N, C, L) over the batch, then scale by weight and shift by bias.

    In training the statistics are the batch's, and running ones follow with `momentum` (None: their plain average); in
    evaluation the running ones are used.

    >>> import hookgrad as torch
    >>> BatchNorm1d(100)(torch.randn(20, 100)).shape
    torch.Size([20, 100])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html
    """

    _input_dims = (2, 3)

    def _check_input_dim(self, input):
        if input.dim() not in (2, 3):
            raise ValueError(f"expected 2D or 3D input (got {input.dim()}D input)")


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of (N, C, H, W) over the batch, then scale by weight and shift by bias.

    In training the statistics are the batch's, and running ones follow with `momentum` (None: their plain average); in
    evaluation the running ones are used.

    >>> import hookgrad as torch
    >>> BatchNorm2d(100, affine=False)(torch.randn(20, 100, 35, 45)).shape
    torch.Size([20, 100, 35, 45])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
    """

    _input_dims = (4, 4)

    def _check_input_dim(self, input):
        if input.dim() != 4:
            raise ValueError(f"expected 4D input (got {input.dim()}D input)")


class BatchNorm3d(_BatchNorm):
    """Normalise each channel of (N, C, D, H, W) over the batch, then scale by weight and shift by bias.

    >>> import hookgrad as torch
    >>> BatchNorm3d(100)(torch.randn(2, 100, 3, 4, 5)).shape
    torch.Size([2, 100, 3, 4, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm3d.html
    """

    _input_dims = (5, 5)

    def _check_input_dim(self, input):
        if input.dim() != 5:
            raise ValueError(f"expected 5D input (got {input.dim()}D input)")


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batches of all processes. There is one process: it normalises (N, C, *) over its own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        process_group=None,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def _check_non_zero_input_channels(self, input):
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def forward(self, input):
        self._check_input_dim(input)
        self._check_non_zero_input_channels(input)
        return super().forward(input)

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """The module, or where it is a batch normalisation one of this class with its state; so for all modules in it."""
        converted = module
        if isinstance(module, _BatchNorm):
            converted = SyncBatchNorm(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            if module.affine:
                converted.weight = module.weight
                converted.bias = module.bias
            converted.running_mean = module.running_mean
            converted.running_var = module.running_var
            converted.num_batches_tracked = module.num_batches_tracked
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


def __getattr__(name):
    # PyTorch has these here.
    if name not in ("LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import lazy_layers

    return getattr(lazy_layers, name)
