"""Mixed precision as far as the CPU needs it: autocast that is off, and the scaling of losses.

Source: https://docs.pytorch.org/docs/stable/amp.html
"""

import math
import warnings
from collections import defaultdict
from functools import wraps

from . import _C
from .autograd.grad_mode import no_grad

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


def is_autocast_available(device_type):
    """Can operations on that kind of device run in lower precision by themselves? Here none does."""
    return False


class autocast:
    """Accepted with `enabled=False`, and for devices there are none of, for which PyTorch turns it off as well.

    hookgrad computes in the dtypes it is given: asked to choose others on the CPU, it raises NotImplementedError.

    >>> import hookgrad as torch
    >>> with torch.autocast("cpu", enabled=False):
    ...     torch.ones(1).dtype
    torch.float32
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if enabled and device_type == "cpu":
            raise NotImplementedError(
                "autocast on the CPU is not implemented: hookgrad computes in the dtypes it is given"
            )
        if enabled:
            warnings.warn(
                f"User provided device_type of '{device_type}', but {device_type.upper()} is not available. Disabling",
                stacklevel=2,
            )
        self.device = device_type
        self.fast_dtype = dtype or (_C.bfloat16 if device_type == "cpu" else _C.float16)
        self._enabled = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def __call__(self, function):
        @wraps(function)
        def decorated(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return decorated


def custom_fwd(fwd=None, *, device_type, cast_inputs=None):
    """A decorator of a Function's forward: there is no autocast to turn off, so it stays as it is."""
    return (lambda fwd: fwd) if fwd is None else fwd


def custom_bwd(bwd=None, *, device_type):
    """A decorator of a Function's backward: it stays as it is."""
    return (lambda bwd: bwd) if bwd is None else bwd


def is_autocast_enabled(device_type="cuda"):
    """Is autocast on? Never."""
    return False


is_autocast_cpu_enabled = is_autocast_enabled


def get_autocast_dtype(device_type):
    """The lower dtype autocast would use."""
    return _C.bfloat16 if device_type == "cpu" else _C.float16


def is_autocast_cache_enabled():
    """Would autocast keep the weights it has cast?"""
    return True


def set_autocast_enabled(device_type, enabled=None):
    """Turn autocast on or off: nothing to do, as it is never on."""


def set_autocast_cache_enabled(enabled):
    """Whether autocast keeps the weights it has cast: it casts none."""


def set_autocast_dtype(device_type, dtype):
    """The lower dtype autocast is to use: it uses none."""


def clear_autocast_cache():
    """Forget the weights autocast has cast: there are none."""


class GradScaler:
    """Scales losses so that small gradients survive in half precision, and leaves out steps whose gradients overflow.

    The scale grows by `growth_factor` after `growth_interval` good steps and shrinks by `backoff_factor` after a bad one.

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.amp.GradScaler
    """

    def __init__(
        self,
        device="cuda",
        init_scale=2.0**16,
        growth_factor=2.0,
        backoff_factor=0.5,
        growth_interval=2000,
        enabled=True,
    ):
        if enabled and device != "cpu":
            warnings.warn(
                f"torch.{device}.amp.GradScaler is enabled, but {device.upper()} is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._device, self._enabled = device, enabled
        self._scale, self._growth_tracker = float(init_scale), 0
        self._growth_factor, self._backoff_factor, self._growth_interval = (
            growth_factor,
            backoff_factor,
            growth_interval,
        )
        self._reset()

    def _reset(self):
        self._overflowed = defaultdict(bool)  # id of an optimizer -> whether its gradients were not finite
        self._unscaled, self._stepped = set(), set()

    def scale(self, outputs):
        """A loss, or an iterable of them, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, _C.Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(output) for output in outputs)

    def unscale_(self, optimizer):
        """Divide the gradients of the optimizer's parameters by the scale, in place."""
        if not self._enabled:
            return
        key = id(optimizer)
        if key in self._unscaled:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if key in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        self._unscaled.add(key)
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        for grad in grads:
            with no_grad():
                grad.mul_(1.0 / self._scale)
            if not bool(_C.isfinite(grad).all()):
                self._overflowed[key] = True
        self._overflowed.setdefault(key, False)

    def step(self, optimizer, *args, **kwargs):
        """Step the optimizer, unless a gradient is not finite; returns what its step returned."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        key = id(optimizer)
        if key in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if key not in self._unscaled:
            self.unscale_(optimizer)
        self._stepped.add(key)
        return None if self._overflowed[key] else optimizer.step(*args, **kwargs)

    def update(self, new_scale=None):
        """Let the scale grow or shrink, or set it; to be called after the steps."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflowed:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._overflowed.values()):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                grown = self._scale * self._growth_factor
                self._scale, self._growth_tracker = grown if math.isfinite(grown) else self._scale, 0
        self._reset()

    def is_enabled(self):
        return self._enabled

    def get_scale(self):
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self):
        return self._growth_factor

    def set_growth_factor(self, new_factor):
        self._growth_factor = new_factor

    def get_backoff_factor(self):
        return self._backoff_factor

    def set_backoff_factor(self, new_factor):
        self._backoff_factor = new_factor

    def get_growth_interval(self):
        return self._growth_interval

    def set_growth_interval(self, new_interval):
        self._growth_interval = new_interval

    def state_dict(self):
        """The scale and what changes it; empty where it is off."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict):
        """Take what `state_dict()` returned."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        for name, value in state_dict.items():
            setattr(self, name if name.startswith("_") else "_" + name, value)
