"""autograd.Functions that layers are made of."""

import hookgrad

from ..autograd import Function


def _over_channels(which, x):
    """Sums of x (N, C, H, W) over the channels that `which` (C, C) says for each."""
    return (which.to(x.dtype) @ x.flatten(2)).view(x.shape)


class CrossMapLRN2d(Function):
    """x / (k + alpha / size * sum of squares of neighbouring channels) ** beta, for x (N, C, H, W).

    Which channels count is PyTorch's: the first one counts for all.
    """

    @staticmethod
    def forward(ctx, input, size, alpha=1e-4, beta=0.75, k=1):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        ctx.size, ctx.alpha, ctx.beta, ctx.k = size, alpha, beta, k
        half = int((size - 1) / 2 + 1)
        other = hookgrad.arange(input.shape[1])
        own = other.unsqueeze(1)
        which = (other < own + half) & ((other > own - half) | (other == 0))
        ctx.scale = _over_channels(which, input * input) * (alpha / size) + k
        output = input * ctx.scale.pow(-beta)
        ctx.save_for_backward(input, output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        input, output = ctx.saved_tensors
        before = int(ctx.size - (ctx.size - 1) / 2)
        other = hookgrad.arange(input.shape[1])
        own = other.unsqueeze(1)
        which = (other >= own - before) & (other < own - before + ctx.size)
        ratios = _over_channels(which, grad_output * output / ctx.scale)
        grad = grad_output * ctx.scale.pow(-ctx.beta)
        return grad - input * ratios * (2 * ctx.alpha * ctx.beta / ctx.size), None, None, None, None
