"""Tensors of a module that are computed, by modules, from others which are learned instead.

``register_parametrization(module, "weight", f)`` moves ``module.weight`` to ``module.parametrizations.weight.original`` and
puts a property in its place, in a class made for this module, that computes ``f(original)``. Assigning to ``module.weight``
goes through ``f.right_inverse``.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html
"""

from collections.abc import Sequence
from contextlib import contextmanager
from copy import deepcopy

import hookgrad

from ... import __future__ as future
from ...utils._python_dispatch import is_traceable_wrapper_subclass
from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_enabled = 0
_cache = {}  # (id of module, name of tensor) -> its value, inside cached()


@contextmanager
def cached():
    """Inside, every parametrized tensor is computed once, when it is first asked for, and kept until the end."""
    global _cache_enabled, _cache
    _cache_enabled += 1
    try:
        yield
    finally:
        _cache_enabled -= 1
        if _cache_enabled == 0:
            _cache = {}


def _kind(value):
    return type(value).__name__


def _register(module, name, tensor):
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _replace(original, value):
    """The tensor stays the object it is, for an optimizer may know it already. It takes over a class only where it is swapped."""
    if future.get_swap_module_params_on_conversion() or is_traceable_wrapper_subclass(original):
        if isinstance(original, Parameter) and not isinstance(value, Parameter):
            value = Parameter(value, original.requires_grad)
        hookgrad.utils.swap_tensors(original, value)
    else:
        original.set_(value)


def _try_right_inverse(module, value):
    """The module's right inverse of value, or value itself where it has none."""
    if hasattr(module, "right_inverse"):
        try:
            return module.right_inverse(value)
        except NotImplementedError:
            pass
    return value


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in order, and what the first of them starts from.

    That is ``original``, or ``original0``, ``original1`` ... where the right inverse gives several tensors.
    """

    def __init__(self, modules, original, unsafe=False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with hookgrad.no_grad():
            new = original
            for module in reversed(self):
                new = _try_right_inverse(module, new)
        self.is_tensor = isinstance(new, hookgrad.Tensor)
        if not self.is_tensor and not isinstance(new, Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got " + _kind(new)
            )
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            if original.dtype != new.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\n"
                    f"original.dtype: {original.dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if original.device != new.device:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the device.\n"
                    f"original.device: {original.device}\nright_inverse(original).device: {new.device}"
                )
            with hookgrad.no_grad():
                _replace(original, new)
            _register(self, "original", original)
        else:
            for i, one in enumerate(new):
                if not isinstance(one, hookgrad.Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                        f"Got element {i} of the sequence with type {_kind(one)}."
                    )
                if isinstance(original, Parameter):
                    one = Parameter(one, original.requires_grad)
                one.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", one)
        if not unsafe:
            result = self()
            if not isinstance(result, hookgrad.Tensor):
                raise ValueError(f"A parametrization must return a tensor. Got {_kind(result)}.")
            for what, before, after in (("dtype", dtype, result.dtype), ("shape", shape, result.shape)):
                if after != before:
                    raise ValueError(
                        f"Registering a parametrization may not change the {what} of the tensor, unless `unsafe` flag "
                        f"is enabled.\nunparametrized {what}: {before}\nparametrized {what}: {after}"
                    )

    def _originals(self):
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value):
        """Change the originals so that the parametrized tensor becomes `value`."""
        with hookgrad.no_grad():
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(f"parametrization {_kind(module)} does not implement right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, hookgrad.Tensor):
                    raise ValueError(f"`right_inverse` should return a tensor. Got {_kind(value)}")
                if value.dtype != self.original.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype {value.dtype} while `original` has dtype "
                        f"{self.original.dtype}"
                    )
                _replace(self.original, value)
                return
            if not isinstance(value, Sequence):
                raise ValueError(f"'right_inverse' must return a sequence of tensors. Got {_kind(value)}.")
            if len(value) != self.ntensors:
                raise ValueError(
                    f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of "
                    f"length {len(value)}."
                )
            for i, (original, one) in enumerate(zip(self._originals(), value)):
                if not isinstance(one, hookgrad.Tensor):
                    raise ValueError(
                        "'right_inverse' must return a sequence of tensors or reference-type opaques. "
                        f"Got element {i} of type {_kind(one)}."
                    )
                if original.dtype != one.dtype:
                    raise ValueError(
                        f"Tensor {i} returned by `right_inverse` has dtype {one.dtype} while `original{i}` has dtype "
                        f"{original.dtype}"
                    )
                _replace(original, one)

    def forward(self):
        first, *rest = self
        x = first(self.original) if self.is_tensor else first(*self._originals())
        for module in rest:
            x = module(x)
        return x


# ---- The class of a parametrized module -------------------------------------------------------------------------------


def _deepcopy(self, memo):
    """As copy.deepcopy does it, but without __getstate__, which these classes refuse."""
    if id(self) in memo:
        return memo[id(self)]
    replica = memo[id(self)] = self.__new__(type(self))
    replica.__dict__ = deepcopy(self.__dict__, memo)
    return replica


def _getstate(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
        "#saving-loading-a-general-checkpoint-for-inference-and-or-resuming-training"
    )


def _give_own_class(module):
    cls = type(module)
    members = {"__getstate__": _getstate, "__module__": _getstate.__module__}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _add_property(module, name):
    if hasattr(module, name):
        raise AssertionError(f"Module already has an attribute named '{name}'")

    def get(self):
        parametrization = self.parametrizations[name]
        if not _cache_enabled:
            return parametrization()
        key = id(self), name
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


# ---- What the user calls ----------------------------------------------------------------------------------------------


def _check_another(module, name, parametrization):
    """Raise unless the parametrization, coming after others, keeps dtype and shape, and so does its right inverse."""

    def same(what, there, got, label):
        if there != got:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor, unless the `unsafe` flag is "
                f"enabled.\nmodule.{name}.{what}: {there}\nparametrization(module.{name}).{what}: {got}"
                if label is None
                else f"{label} must have the same {what} as module.{name}, unless the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {there}\nreturned {what}: {got}"
            )

    before = getattr(module, name)
    after = parametrization(before)
    if not isinstance(after, hookgrad.Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {_kind(after)}.")
    same("dtype", before.dtype, after.dtype, None)
    same("shape", before.shape, after.shape, None)
    back = _try_right_inverse(parametrization, after)
    if not isinstance(back, hookgrad.Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {_kind(back)}")
    label = "The tensor returned by parametrization.right_inverse"
    same("dtype", before.dtype, back.dtype, label)
    same("shape", before.shape, back.shape, label)


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Let `module.<tensor_name>` be `parametrization(original)` from now on, after those registered earlier.

    The parametrization must keep dtype and shape, unless `unsafe`. Its method `right_inverse`, if there is one, says
    which original a given value comes from; at registration that value is the tensor as it is.

    >>> import hookgrad as torch
    >>> from hookgrad import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> torch.allclose(layer.weight, layer.weight.mT)
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_another(module, tensor_name, parametrization)
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        parametrizations = ParametrizationList([parametrization], original, unsafe=unsafe)  # raises before any change
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_own_class(module)
            module.parametrizations = ModuleDict()
        _add_property(module, tensor_name)
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name "
            f"'{tensor_name}'"
        )
    return module


def is_parametrized(module, tensor_name=None):
    """Whether that tensor of the module is parametrized; without a name, whether any is."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Make `module.<tensor_name>` an ordinary tensor again: with its present value, or with the original's.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations = module.parametrizations[tensor_name]
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            with hookgrad.no_grad():
                _replace(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a "
            "sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module):
    """The class the module had before any of its tensors was parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Give `to_module` the parametrizations of `from_module`, all or those of one tensor, and the originals with them.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.transfer_parametrizations_and_params.html
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        there = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        for parametrization in there:
            register_parametrization(to_module, name, parametrization)
        here = to_module.parametrizations[name]
        for original in ["original"] if there.is_tensor else [f"original{i}" for i in range(there.ntensors)]:
            setattr(here, original, getattr(there, original))
    return to_module
