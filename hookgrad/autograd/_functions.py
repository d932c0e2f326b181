"""An old Function under PyTorch's name, which code for it still applies."""

from .function import Function

__all__ = ["Resize"]


class Resize(Function):
    """The elements of a tensor in another shape."""

    @staticmethod
    def forward(ctx, tensor, sizes):
        count = 1
        for size in sizes:
            count *= size
        if tensor.numel() != count:
            raise RuntimeError(
                f"requested resize to {'x'.join(map(str, sizes))} ({count} elements in total), but the given tensor has a size of "
                f"{'x'.join(map(str, tensor.shape))} ({tensor.numel()} elements). autograd's resize can only change the shape of "
                "a given tensor, while preserving the number of elements."
            )
        ctx.input_sizes = tensor.shape
        return tensor.detach().contiguous().view(*sizes)

    @staticmethod
    def backward(ctx, grad):
        return grad.contiguous().view(ctx.input_sizes), None
