"""Making a module without initialising it."""

import hookgrad


def skip_init(module_cls, *args, **kwargs):
    """A module whose parameters and buffers hold whatever is in the memory. No random numbers are drawn.

    The class must take `device` as an argument, or it is a RuntimeError.

    >>> from hookgrad import nn
    >>> nn.utils.skip_init(nn.Linear, 5, 1).weight.shape
    torch.Size([1, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.skip_init.html
    """
    import inspect

    if not issubclass(module_cls, hookgrad.nn.Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    state = hookgrad.get_rng_state()
    module = module_cls(*args, **kwargs)
    hookgrad.set_rng_state(state)
    return module.to_empty(device=device)
