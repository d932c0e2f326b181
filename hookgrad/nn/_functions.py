"""autograd.Functions that layers are made of."""

from ..autograd import Function
from . import functional as F


def _window_sums(x, before, after):
    """The sums of x (N, C, H, W) over neighbouring channels."""
    sums = F.pad(x, (0, 0, 0, 0, before, after)).unfold(1, before + after + 1, 1)
    return sums.sum(-1)


class CrossMapLRN2d(Function):
    """x / (k + alpha / size * sum of squares of `size` neighbouring channels) ** beta, for x (N, C, H, W)."""

    @staticmethod
    def forward(ctx, input, size, alpha=1e-4, beta=0.75, k=1):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        ctx.size, ctx.alpha, ctx.beta, ctx.k = size, alpha, beta, k
        before = (size - 1) // 2
        ctx.scale = _window_sums(input * input, before, size - 1 - before) * (alpha / size) + k
        output = input * ctx.scale.pow(-beta)
        ctx.save_for_backward(input, output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        input, output = ctx.saved_tensors
        before = (ctx.size - 1) // 2
        ratios = _window_sums(grad_output * output / ctx.scale, ctx.size - 1 - before, before)
        grad = grad_output * ctx.scale.pow(-ctx.beta)
        return grad - input * ratios * (2 * ctx.alpha * ctx.beta / ctx.size), None, None, None, None
