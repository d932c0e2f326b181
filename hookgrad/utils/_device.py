"""`with torch.device("meta"):` and `torch.set_default_device`: what makes tensors makes them there.

Source: https://docs.pytorch.org/docs/stable/generated/torch.set_default_device.html
"""

import threading
from functools import cache

import hookgrad as torch

from .. import _C
from ..overrides import TorchFunctionMode, _stack

_NAMES = """arange as_tensor asarray bartlett_window blackman_window empty empty_permuted empty_strided eye full hamming_window hann_window
    kaiser_window linspace logspace nested_tensor normal ones rand randint randn randperm range scalar_tensor tensor tril_indices triu_indices
    zeros""".split()


@cache
def _device_constructors():
    return {getattr(torch, name) for name in _NAMES if hasattr(torch, name)}


class DeviceContext(TorchFunctionMode):
    """Functions that make tensors, and are not told where, make them on `device`."""

    def __init__(self, device):
        self.device = torch.device(device)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if kwargs.get("device") is None and func in _device_constructors():
            kwargs = {**kwargs, "device": self.device}
        return func(*args, **kwargs)


class _Entered(threading.local):
    def __init__(self):
        self.contexts = []


_entered = _Entered()


def enter(device):
    """`with device:` begins."""
    context = DeviceContext(device)
    context.__enter__()
    _entered.contexts.append(context)
    return device


def leave():
    """It ends, where it was begun here: on the CPU, with no other device around it, there is nothing to do."""
    if _entered.contexts:
        _entered.contexts.pop().__exit__(None, None, None)


_default = threading.local()


def set_default_device(device):
    """The device of what is made from here on, where none is named: "cpu" or "meta"; None is the CPU."""
    context = getattr(_default, "context", None)
    if context is not None:
        _stack.modes.remove(context)
        _stack.told(-1)
        _default.context = None
    if device is not None and torch.device(device).type == "meta":
        _default.context = DeviceContext(device)
        _default.context.__enter__()


def get_default_device():
    """Where a tensor is made that is not told where."""
    modes = [mode for mode in _stack.modes if isinstance(mode, DeviceContext)]
    return modes[-1].device if modes else _C.device("cpu")
