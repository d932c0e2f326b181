"""Adam for sparse gradients."""

from ._by_parameter import _ByParameter
from .optimizer import _check_betas


class SparseAdam(_ByParameter):
    """Adam that changes only the elements a gradient holds. There are no sparse gradients here, and it refuses others, as PyTorch's does.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        if not 0.0 < lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not 0.0 < eps:
            raise ValueError(f"Invalid epsilon value: {eps}")
        _check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _states_of(self, params, group):
        if params:
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        return []
