"""The gradients of convolutions, as functions.

Source: https://docs.pytorch.org/docs/stable/nn.functional.html
"""

import hookgrad

from . import functional as F


def _gradient(n, which, input, weight, grad_output, settings):
    """By `input` or `weight`, whichever is a size."""
    x, w = (
        hookgrad.empty(t, dtype=grad_output.dtype).fill_(0) if not isinstance(t, hookgrad.Tensor) else t.detach()
        for t in (input, weight)
    )
    by = (x, w)[which].requires_grad_()
    with hookgrad.enable_grad():
        output = getattr(F, f"conv{n}d")(x, w, None, *settings)
    create_graph = hookgrad.is_grad_enabled() and grad_output.requires_grad
    return hookgrad.autograd.grad(output, by, grad_output, create_graph=create_graph)[0]


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv1d by its input, of the given size."""
    return _gradient(1, 0, input_size, weight, grad_output, (stride, padding, dilation, groups))


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv1d by its weight, of the given size."""
    return _gradient(1, 1, input, weight_size, grad_output, (stride, padding, dilation, groups))


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv2d by its input, of the given size.

    >>> import hookgrad as torch
    >>> conv2d_input((1, 1, 2, 2), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1))
    tensor([[[[1., 1.],
              [1., 1.]]]])
    """
    return _gradient(2, 0, input_size, weight, grad_output, (stride, padding, dilation, groups))


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv2d by its weight, of the given size."""
    return _gradient(2, 1, input, weight_size, grad_output, (stride, padding, dilation, groups))


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv3d by its input, of the given size."""
    return _gradient(3, 0, input_size, weight, grad_output, (stride, padding, dilation, groups))


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of conv3d by its weight, of the given size."""
    return _gradient(3, 1, input, weight_size, grad_output, (stride, padding, dilation, groups))
