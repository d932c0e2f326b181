"""Mixed precision as far as the CPU needs it: autocast, and the scaling of losses.

Source: https://docs.pytorch.org/docs/stable/amp.html
"""

import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from functools import partial, wraps

from . import _C
from .autograd.grad_mode import no_grad

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


__path__ = []  # its parts are here
autocast_mode = grad_scaler = sys.modules[__name__]


class _State(threading.local):
    """Whether autocast is on for the CPU in this thread, and how."""

    enabled = False
    dtype = _C.bfloat16
    keeps = True  # casts of leaves
    cast = None
    depth = 0  # of contexts
    mode = None  # that is on the stack


_state = _State()
_dtypes = {}  # of devices there are none of: what set_autocast_dtype has said


def is_autocast_available(device_type):
    """Can operations on that kind of device run in lower precision by themselves? As PyTorch has it, which knows more devices."""
    return _C.device(device_type).type in ("cpu", "cuda", "xpu", "hpu", "ipu", "mps", "mtia", "maia", "xla")


def _check_device_type(device_type):
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


class autocast:
    """Within a `with` block, or a function it decorates, products compute in `dtype`, and losses in float32.

    `dtype` is bfloat16, or float16. Casts are differentiated through: gradients have their parameter's dtype. For devices
    there are none of it is off, as in PyTorch.

    >>> import hookgrad as torch
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     torch.nn.Linear(2, 1)(torch.ones(1, 2)).dtype
    torch.bfloat16

    Source: https://docs.pytorch.org/docs/stable/amp.html#torch.autocast
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        _check_device_type(device_type)
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        if enabled and device_type != "cpu":
            enabled = False
            warnings.warn(
                "CUDA is not available or torch_xla is imported. Disabling autocast."
                if device_type == "cuda"
                else f"User provided device_type of '{device_type}', but {device_type.upper()} is not available. Disabling "
                "autocast",
                stacklevel=2,
            )
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and self.fast_dtype not in (_C.bfloat16, _C.float16):
            enabled = False
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\nCPU Autocast only supports dtypes of "
                "torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
        self._enabled = enabled

    def __enter__(self):
        self._was = _state.enabled, _state.dtype, _state.keeps
        if self.device == "cpu":
            _state.enabled, _state.dtype = self._enabled, self.fast_dtype
        _state.keeps = self._cache_enabled
        _state.depth += 1
        _turn()
        return self

    def __exit__(self, *error):
        _state.depth -= 1
        _state.enabled, _state.dtype, _state.keeps = self._was
        _turn()
        return False

    def __call__(self, function):
        @wraps(function)
        def decorated(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return decorated


def _turn():
    """Put the mode that casts on the stack, or take it off, as the state has it."""
    _state.cast = (_state.cast or {}) if _state.keeps and _state.depth else None
    if _state.enabled and _state.mode is None:
        from ._autocast import Casting

        _state.mode = Casting(_state)
        _state.mode._modes_on.push_below(_state.mode)
    elif not _state.enabled and _state.mode is not None and not _state.depth:
        mode, _state.mode = _state.mode, None
        mode._modes_on.remove(mode)


def kept_autocast():
    """A function that gives a context in which autocast is as it is now."""
    enabled, dtype, keeps = _state.enabled, _state.dtype, _state.keeps
    return lambda: autocast("cpu", dtype, enabled, keeps)


def custom_fwd(fwd=None, *, device_type, cast_inputs=None):
    """A decorator of a Function's forward: backward is to run under the autocast that forward runs under. With `cast_inputs`, a dtype, it
    runs without autocast, on floating-point tensors of that dtype, where autocast is on."""
    _check_device_type(device_type)
    if fwd is None:
        return partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @wraps(fwd)
    def decorated(ctx, *args, **kwargs):
        ctx._dtype = get_autocast_dtype(device_type)
        is_on = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = is_on and cast_inputs is None
        if not is_on or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)

        def cast(x):
            return x.to(cast_inputs) if isinstance(x, _C.Tensor) and x.is_floating_point() else x

        with autocast(device_type, enabled=False):
            return fwd(ctx, *map(cast, args), **{name: cast(x) for name, x in kwargs.items()})

    return decorated


def custom_bwd(bwd=None, *, device_type):
    """A decorator of a Function's backward: it runs under the autocast that forward ran under."""
    _check_device_type(device_type)
    if bwd is None:
        return partial(custom_bwd, device_type=device_type)

    @wraps(bwd)
    def decorated(ctx, *args, **kwargs):
        with autocast(device_type, dtype=ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(ctx, *args, **kwargs)

    return decorated


def is_autocast_enabled(device_type="cuda"):
    """Is autocast on for that kind of device?"""
    return device_type == "cpu" and _state.enabled


def get_autocast_dtype(device_type):
    """The lower dtype autocast uses."""
    return _state.dtype if device_type == "cpu" else _dtypes.get(device_type, _C.float16)


def is_autocast_cache_enabled():
    """Does autocast keep the leaves it has cast?"""
    return _state.keeps


def set_autocast_enabled(device_type, enabled=None):
    """Turn autocast on or off."""
    if device_type == "cpu":
        _state.enabled = bool(enabled)
        _turn()


def set_autocast_cache_enabled(enabled):
    """Whether autocast keeps the leaves it has cast."""
    _state.keeps = enabled
    _turn()


def set_autocast_dtype(device_type, dtype):
    """The lower dtype autocast is to use."""
    if device_type == "cpu":
        _state.dtype = dtype
    else:
        _dtypes[device_type] = dtype


def warn_of_old_name(name, device_type):
    """Of torch.cpu.amp's and torch.cuda.amp's classes, as they are made."""
    old, new = f"torch.{device_type}.amp.{name}", f"torch.amp.{name}"
    words = f"`{old}(args...)` is deprecated. Please use `{new}('{device_type}', args...)` instead."
    warnings.warn(words, FutureWarning, stacklevel=3)


def _of_old(name, taken, function, device_type):
    """The function of that name for one kind of device, which takes the parameter `taken`, or none."""
    instead = f"torch.{function.__name__}('{device_type}'{', ' * bool(taken)}{taken})"

    def old(*args):
        warnings.warn(
            f"torch.{name}({taken}) is deprecated. Please use {instead} instead.", DeprecationWarning, stacklevel=2
        )
        return function(device_type, *args)

    old.__name__ = old.__qualname__ = name
    old.__doc__ = f"Deprecated: {instead}."
    return old


for _short, _device in (("cpu", "cpu"), ("gpu", "cuda"), ("xla", "xla"), ("ipu", "ipu")):
    for _name, _taken, _function in (
        (f"get_autocast_{_short}_dtype", "", get_autocast_dtype),
        (f"set_autocast_{_short}_dtype", "dtype", set_autocast_dtype),
        (f"is_autocast_{_short}_enabled", "", is_autocast_enabled),
        (f"set_autocast_{_short}_enabled", "enabled", set_autocast_enabled),
    ):
        globals()[_name] = _of_old(_name, _taken, _function, _device)


def clear_autocast_cache():
    """Forget the leaves autocast has cast."""
    if _state.cast is not None:
        _state.cast.clear()


class OptState(Enum):
    """How far an optimizer is since the scaler's last update."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


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
        self._device, self._enabled = device, enabled
        if not enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale, self._init_growth_tracker = init_scale, 0
        self._scale = self._growth_tracker = None  # tensors, from the first loss on
        self._growth_factor, self._backoff_factor, self._growth_interval = (
            growth_factor,
            backoff_factor,
            growth_interval,
        )
        self._reset()

    def _reset(self):
        self._per_optimizer_states = defaultdict(lambda: {"stage": OptState.READY, "found_inf_per_device": {}})

    def _check_started(self, what):
        if self._scale is None:
            raise AssertionError(
                f"Attempted {what} but _scale is None. This may indicate your script did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )

    def scale(self, outputs):
        """A loss, or an iterable of them, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, _C.Tensor):
            if self._scale is None:
                self._scale = _C.full((), self._init_scale, dtype=_C.float32)
                self._growth_tracker = _C.full((), self._init_growth_tracker, dtype=_C.int32)
            return outputs * self._scale
        if not isinstance(outputs, Iterable):
            raise ValueError("outputs must be a Tensor or an iterable of Tensors")
        scaled = map(self.scale, outputs)
        return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled

    def unscale_(self, optimizer):
        """Divide the gradients of the optimizer's parameters by the scale, in place."""
        if not self._enabled:
            return
        self._check_started("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = 1.0 / self._scale.item()
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if any(grad.dtype is _C.float16 for grad in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        with no_grad():
            overflowed = False
            for grad in grads:
                overflowed |= not _C.isfinite(grad.mul_(inverse)).all()
            if grads:
                state["found_inf_per_device"] = {grads[0].device: _C.full((), float(overflowed))}
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer, *args, **kwargs):
        """Step the optimizer, unless a gradient is not finite; returns what its step returned."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_started("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf_per_device"]:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None if any(state["found_inf_per_device"].values()) else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale=None):
        """Let the scale grow or shrink, or set it; to be called after the steps."""
        if not self._enabled:
            return
        self._check_started("update")
        with no_grad():
            if new_scale is not None:
                self._scale.fill_(new_scale)
            else:
                found = [f for s in self._per_optimizer_states.values() for f in s["found_inf_per_device"].values()]
                if not found:
                    raise AssertionError("No inf checks were recorded prior to update.")
                self._adapt(overflowed=any(found))
        self._reset()

    def _adapt(self, overflowed):
        if overflowed:
            self._scale.mul_(self._backoff_factor)
            self._growth_tracker.zero_()
        elif self._growth_tracker + 1 == self._growth_interval:
            grown = self._scale * self._growth_factor
            if grown.isfinite():
                self._scale.copy_(grown)
            self._growth_tracker.zero_()
        else:
            self._growth_tracker.add_(1)

    def is_enabled(self):
        return self._enabled

    def get_scale(self):
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def _get_growth_tracker(self):
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

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
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict):
        """Take what `state_dict()` returned."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale, self._init_growth_tracker = state_dict["scale"], state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            setattr(self, "_" + name, state_dict[name])

    def __getstate__(self):
        if self._enabled and self._per_optimizer_states:
            raise AssertionError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        state = self.__dict__ | {
            "_init_scale": self.get_scale(),
            "_init_growth_tracker": self._get_growth_tracker(),
            "_scale": None,
            "_growth_tracker": None,
        }
        del state["_per_optimizer_states"]
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._reset()


class OldGradScaler(GradScaler):
    """GradScaler without the device, as torch.cpu.amp and torch.cuda.amp have it for the kind of theirs."""

    def __init__(
        self, init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, enabled=True
    ):  # fmt: skip
        warn_of_old_name("GradScaler", self._kind)
        super().__init__(self._kind, init_scale, growth_factor, backoff_factor, growth_interval, enabled)
