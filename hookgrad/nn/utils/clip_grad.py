"""Gradients kept within bounds, after backward and before the optimizer's step."""

from types import GeneratorType

import hookgrad


def _gradients(parameters):
    if isinstance(parameters, hookgrad.Tensor):
        parameters = [parameters]
    return [p.grad for p in parameters if p.grad is not None]


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of all elements of all tensors, as if they were one vector.

    >>> import hookgrad as torch
    >>> get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.get_total_norm.html
    """
    tensors = [tensors] if isinstance(tensors, hookgrad.Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return hookgrad.tensor(0.0)
    with hookgrad.no_grad():
        norms = [t.norm(norm_type) for t in tensors]
        dtype = norms[0].dtype
        for norm in norms[1:]:
            dtype = hookgrad.promote_types(dtype, norm.dtype)
        total = hookgrad.stack([norm.to(dtype) for norm in norms]).norm(norm_type)
    if error_if_nonfinite and not hookgrad.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scale all gradients by max_norm / total_norm, where that is less than one."""
    # The scale is applied even where it is one: that costs less than asking, and nans spread as in PyTorch.
    with hookgrad.no_grad():
        scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for grad in _gradients(parameters):
            grad.mul_(scale)


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scale the gradients of all parameters so that their total norm is at most `max_norm`; returns what it was.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.zeros(2))
    >>> p.grad = torch.tensor([3.0, 4.0])
    >>> clip_grad_norm_([p], max_norm=1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html
    """
    if not isinstance(parameters, hookgrad.Tensor):
        is_generator = isinstance(parameters, GeneratorType)
        parameters = list(parameters)
        if is_generator and not parameters:
            import warnings

            words = "`parameters` is an empty generator, no gradient clipping will occur."
            warnings.warn(words, stacklevel=2)
    total_norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The old name of `clip_grad_norm_`."""
    import warnings

    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Keep every element of every gradient between -clip_value and clip_value. RuntimeError where there is no gradient.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html
    """
    clip_value, grads = float(clip_value), _gradients(parameters)
    if not grads:
        raise RuntimeError("Expected !nested_tensorlist[0].empty() to be true, but got false: there is no gradient")
    with hookgrad.no_grad():
        for grad in grads:
            if foreach is None or foreach:  # PyTorch's two operations on the list
                grad.clamp_(min=-clip_value).clamp_(max=clip_value)
            else:
                grad.clamp_(min=-clip_value, max=clip_value)
