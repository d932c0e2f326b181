"""What all optimizers share: groups of parameters with their settings, states, hooks around a step."""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from functools import wraps

import hookgrad

from .. import _C
from .._C import with_grad
from .._late import Annotation

__all__ = ["Optimizer", "register_optimizer_step_pre_hook", "register_optimizer_step_post_hook"]


class _HookDict(OrderedDict):
    """Hooks by id, and where in the user's program each was put there, for exceptions to say."""

    def __init__(self):
        self.sites = {}

    def __setitem__(self, key, hook):
        super().__setitem__(key, hook)
        self.sites[key] = _C._site()
        if len(self.sites) > 2 * len(self) + 8:  # hooks leave in many ways
            self.sites = {key: site for key, site in self.sites.items() if key in self}


_HookDict.__name__ = _HookDict.__qualname__ = "OrderedDict"  # what it is to everybody else, in its repr too
_HookDict.__module__ = "collections"


def _site(table, key):
    return getattr(table, "sites", {}).get(key)


_global_optimizer_pre_hooks = _HookDict()
_global_optimizer_post_hooks = _HookDict()


class _Required:
    """The default of a setting that has none."""

    def __repr__(self):
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook):
    """Run `hook(optimizer, args, kwargs)` before every step of every optimizer."""
    return _register(_global_optimizer_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Run `hook(optimizer, args, kwargs)` after every step of every optimizer."""
    return _register(_global_optimizer_post_hooks, hook)


def _register(table, hook, prepend=False):
    handle = _C.RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _use_grad_for_differentiable(step):
    """The method `step`, run with gradients enabled where the optimizer's setting `differentiable` says so, else without."""

    @wraps(step)
    def in_grad_mode(self, *args, **kwargs):
        with hookgrad.set_grad_enabled(self.defaults.get("differentiable", False)):
            return step(self, *args, **kwargs)

    return in_grad_mode


def _run_closure(closure):
    """The loss a closure computes, gradients being on for it."""
    if closure is None:
        return None
    with hookgrad.enable_grad():
        return closure()


def _get_value(value):
    """A setting as a number; it may be a tensor of one element."""
    return value.item() if isinstance(value, hookgrad.Tensor) else value


def _get_scalar_dtype(is_fused=None):
    """The dtype in which an optimizer counts."""
    double = not is_fused and hookgrad.get_default_dtype() == hookgrad.float64
    return hookgrad.float64 if double else hookgrad.float32


def _to_scalar(value):
    """A setting that is a tensor of one element, as a tensor without dimensions."""
    return value.squeeze() if isinstance(value, hookgrad.Tensor) and value.dim() != 0 else value


def _check_not_negative(*settings):
    for words, value in settings:
        if not 0.0 <= value:
            raise ValueError(f"Invalid {words}: {value}")


def _check_one(lr):
    if isinstance(lr, hookgrad.Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


def _check_rate(lr, words="Invalid learning rate"):
    _check_one(lr)
    if not 0.0 <= lr:
        raise ValueError(f"{words}: {lr}")


def _check_betas(betas):
    for i in range(2):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def _check_fused(fused, foreach, differentiable):
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


class Optimizer:
    """The base of all optimizers. A subclass passes the defaults of its settings and says in `step` what a step does.

    `params` is an iterable of tensors, of pairs (name, tensor), or of dicts with "params" and settings of their own.

    Source: https://docs.pytorch.org/docs/stable/optim.html#torch.optim.Optimizer
    """

    _tables = (
        "_optimizer_step_pre_hooks",
        "_optimizer_step_post_hooks",
        "_optimizer_state_dict_pre_hooks",
        "_optimizer_state_dict_post_hooks",
        "_optimizer_load_state_dict_pre_hooks",
        "_optimizer_load_state_dict_post_hooks",
    )

    OptimizerPreHook = Annotation()
    OptimizerPostHook = Annotation()

    def __init__(self, params, defaults):
        self.defaults = defaults
        for name in self._tables:
            setattr(self, name, _HookDict())
        self._patch_step_function()
        if isinstance(params, hookgrad.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + hookgrad.typename(params)
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        self._warned_capturable_if_run_uncaptured = True

    def add_param_group(self, param_group):
        """Optimize further parameters, with settings of their own: a dict with "params" and any of the settings."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, hookgrad.Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        else:
            params = list(params)
        names = [p[0] for p in params if isinstance(p, tuple)]
        params = [p[1] if isinstance(p, tuple) else p for p in params]
        param_group["params"] = params
        if names:
            if len(names) != len(params):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = names

        for param in params:
            if not isinstance(param, hookgrad.Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {hookgrad.typename(param)}"
                )
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len(params) != len(set(params)):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        known = set()
        for group in self.param_groups:
            known.update(group["params"])
            if ("param_names" in param_group) != ("param_names" in group):
                which = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {which} to the optimizer"
                )
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    @staticmethod
    def profile_hook_step(func):
        """The method `func`, a step, with the hooks around it."""

        @wraps(func)
        def hooked(*args, **kwargs):
            self = args[0]
            pre, post = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
            if not (pre or post or _global_optimizer_pre_hooks or _global_optimizer_post_hooks):
                if kwargs:
                    return func(*args, **kwargs)
                return func(self) if len(args) == 1 else func(*args)  # as Python's own call, where it can be
            for table in (_global_optimizer_pre_hooks, pre):
                for key, hook in table.items():
                    result = _C._call_hook("optimizer step pre-hook", _site(table, key), self, hook, self, args, kwargs)
                    if result is None:
                        continue
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(
                            f"{func} must return None or a tuple of (new_args, new_kwargs), but got {result}."
                        )
                    args, kwargs = result
            out = func(*args, **kwargs)
            for table in (post, _global_optimizer_post_hooks):
                for key, hook in table.items():
                    _C._call_hook("optimizer step post-hook", _site(table, key), self, hook, self, args, kwargs)
            return out

        return hooked

    def _patch_step_function(self):
        """Put the hooks around the class's step, unless they are there."""
        cls = type(self)
        self._zero_grad_profile_name = f"Optimizer.zero_grad#{cls.__name__}.zero_grad"
        if not getattr(cls.step, "hooked", False):
            cls.step = self.profile_hook_step(cls.step)
            cls.step.hooked = True

    def step(self, closure=None):
        """Change every parameter once. `closure` computes the loss anew and returns it."""
        raise NotImplementedError

    def zero_grad(self, set_to_none=True):
        """Drop the gradient of every parameter, or without `set_to_none` fill it with zeros."""
        for group in self.param_groups:
            for param in with_grad(group["params"])[0]:
                if set_to_none:
                    param.grad = None
                else:
                    if param.grad.grad_fn is not None:
                        param.grad.detach_()
                    else:
                        param.grad.requires_grad_(False)
                    param.grad.zero_()

    # ---- saving and loading ------------------------------------------------------------------------------------

    def state_dict(self):
        """The settings of every group and the state of every parameter, which goes by its number.

        >>> import hookgrad as torch
        >>> sorted(torch.optim.SGD([torch.zeros(1)], lr=0.1).state_dict())
        ['param_groups', 'state']

        Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.state_dict.html
        """
        for key, hook in self._optimizer_state_dict_pre_hooks.items():
            site = _site(self._optimizer_state_dict_pre_hooks, key)
            _C._call_hook("optimizer state_dict pre-hook", site, self, hook, self)
        numbers = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers.setdefault(id(param), len(numbers))
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, hookgrad.Tensor) else k: v for k, v in self.state.items()}
        state_dict = {"state": state, "param_groups": groups}
        for key, hook in self._optimizer_state_dict_post_hooks.items():
            site = _site(self._optimizer_state_dict_post_hooks, key)
            result = _C._call_hook("optimizer state_dict post-hook", site, self, hook, self, state_dict)
            if result is not None:
                state_dict = result
        return state_dict

    def load_state_dict(self, state_dict):
        """Take the settings and states of a `state_dict()`; parameters are matched by their order.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.load_state_dict.html
        """
        from copy import deepcopy

        state_dict = state_dict.copy()
        for key, hook in self._optimizer_load_state_dict_pre_hooks.items():
            site = _site(self._optimizer_load_state_dict_pre_hooks, key)
            result = _C._call_hook("optimizer load_state_dict pre-hook", site, self, hook, self, state_dict)
            if result is not None:
                state_dict = result
        groups = self.param_groups
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(group["params"]) != len(saved["params"]) for group, saved in zip(groups, saved_groups)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        params = {}
        for group, saved in zip(groups, saved_groups):
            params.update((number, (param, saved)) for number, param in zip(saved["params"], group["params"]))
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        state = defaultdict(dict)
        for number, value in state_dict["state"].items():
            if number in params:
                param, group = params[number]
                state[param] = _cast(param, value, group)
            else:
                state[number] = value
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for key, hook in self._optimizer_load_state_dict_post_hooks.items():
            site = _site(self._optimizer_load_state_dict_post_hooks, key)
            _C._call_hook("optimizer load_state_dict post-hook", site, self, hook, self)

    def __getstate__(self):
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state):
        self.__dict__.update(state)
        for name in self._tables:
            self.__dict__.setdefault(name, _HookDict())
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    # ---- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Run `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Run `hook(optimizer, args, kwargs)` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend=False):
        """Run `hook(optimizer)` before `state_dict()`."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend=False):
        """Run `hook(optimizer, state_dict)` after `state_dict()`; it may return another."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend=False):
        """Run `hook(optimizer, state_dict)` before `load_state_dict()`; it may return another."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend=False):
        """Run `hook(optimizer)` after `load_state_dict()`."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    def __repr__(self):
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for name in sorted(group):
                if name != "params":
                    text += f"    {name}: {group[name]}\n"
        return text + ")"


def _cast(param, value, group, name=None):
    """A saved state with its tensors in the parameter's dtype, counts of steps excepted."""
    if isinstance(value, hookgrad.Tensor):
        if name == "step":
            return value.to(hookgrad.float32) if group.get("capturable") or group.get("fused") else value
        return value.to(param.dtype) if param.is_floating_point() else value
    if isinstance(value, dict):
        return {k: _cast(param, v, group, k) for k, v in value.items()}
    if isinstance(value, Iterable):
        return type(value)(_cast(param, v, group) for v in value)
    return value


# ---- Names for annotations, and for other people's optimizers --------------------------------------------------------


def __getattr__(name):
    if name in (
        "Args",
        "Kwargs",
        "ParamsT",
        "StateDict",
        "params_t",
        "GlobalOptimizerPreHook",
        "GlobalOptimizerPostHook",
    ):
        from .. import _typing

        return getattr(_typing, name)
    if name.startswith("_") and not name.startswith("__"):
        from . import _borrowed

        if hasattr(_borrowed, name):
            return getattr(_borrowed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
