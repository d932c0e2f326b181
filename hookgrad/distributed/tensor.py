"""Tensors spread over several processes, which hookgrad does not have: the class is for programs to ask about."""

from contextlib import nullcontext

from .._C import Tensor

__all__ = ["DTensor"]


class DTensor(Tensor):
    """No tensor is one: making one fails."""

    def __new__(cls, *args, **kwargs):
        raise RuntimeError("hookgrad has no torch.distributed: it works in one process")


implicit_replication = nullcontext
