"""The base of every module: what is called once a model, on top of the C type that does what is called once a step.

`_C.Module` holds the tables (`_parameters`, `_buffers`, `_modules`, the hook tables), looks attributes up and stores
them, runs the call sequence and registers the hooks of forward and backward. Of the binding, this file uses

    _C.Module
        the base type
    _C.RemovableHandle(table)
        a handle with a fresh `id`, for `table[handle.id] = hook`
    _C._register_global_hook(kind, hook, with_kwargs, always_call) -> handle
        `kind` is one of "forward_pre", "forward", "full_backward_pre", "full_backward", "backward",
        "buffer_registration", "module_registration", "parameter_registration"
    _C._walk_modules, _C._walk_members, _C._train, _C._save_state, _C._inherits
        going through a tree, where no class in it has its own way
    _C._global_hooks(name) -> table
        the global hooks themselves, of a kind or (forward_with_kwargs, forward_always_called) their flags
    _C._set_global_hooks(name, table), _C._global_is_full(), _C._set_global_is_full(value)
        what assigning to this module's names for them does
"""

import sys
import warnings
from collections import OrderedDict, namedtuple
from types import ModuleType

import hookgrad

from ... import _C
from ..._late import Annotation
from ...utils.hooks import RemovableHandle
from .._inner import functions_of_nn, late_of_nn
from .._to import parse_to
from ..parameter import Parameter, is_lazy

__all__ = [
    "register_module_forward_pre_hook",
    "register_module_forward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_backward_hook",
    "register_module_full_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
    "Module",
]

Tensor = _C.Tensor
_EXTRA_STATE_KEY_SUFFIX = "_extra_state"
_forward_unimplemented = _C.Module.forward


class _GlobalHooks(ModuleType):
    """The type of this module. Assigning to the names below, as programs do to drop all hooks, changes what runs."""

    _global_is_full_backward_hook = property(
        lambda _: _C._global_is_full(), lambda _, value: _C._set_global_is_full(value)
    )


def _global_name(name, kind):
    globals()[name] = _C._global_hooks(kind)
    setattr(
        _GlobalHooks,
        name,
        property(lambda _: _C._global_hooks(kind), lambda _, table: _C._set_global_hooks(kind, table)),
    )


_global_name("_global_forward_pre_hooks", "forward_pre")
_global_name("_global_forward_hooks", "forward")
_global_name("_global_forward_hooks_with_kwargs", "forward_with_kwargs")
_global_name("_global_forward_hooks_always_called", "forward_always_called")
_global_name("_global_backward_pre_hooks", "full_backward_pre")
_global_name("_global_backward_hooks", "full_backward")
_global_name("_global_buffer_registration_hooks", "buffer_registration")
_global_name("_global_module_registration_hooks", "module_registration")
_global_name("_global_parameter_registration_hooks", "parameter_registration")
sys.modules[__name__].__class__ = _GlobalHooks


def _has_any_global_hook():
    """The first of the tables that has hooks; the last, which is empty, where none has."""
    for kind in ("full_backward_pre", "full_backward", "forward", "forward_pre"):
        table = _C._global_hooks(kind)
        if table:
            break
    return table


def _addindent(s_, numSpaces):
    """`s_` with every line but the first moved to the right."""
    return s_.replace("\n", "\n" + " " * numSpaces)


def _register(table, hook):
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle


def register_module_forward_pre_hook(hook):
    """Run `hook(module, args)` before the forward of every module; what it returns replaces the arguments.

    Global hooks run before a module's own.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_forward_pre_hook.html
    """
    return _C._register_global_hook("forward_pre", hook, False, False)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Run `hook(module, args, output)` after the forward of every module; what it returns replaces the output.

    `with_kwargs` makes it `hook(module, args, kwargs, output)`; with `always_call` it runs even when forward raised.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_forward_hook.html
    """
    return _C._register_global_hook("forward", hook, with_kwargs, always_call)


def register_module_backward_hook(hook):
    """Run `hook(module, grad_input, grad_output)` for every module, in the legacy manner: see
    `Module.register_backward_hook`. Not to be mixed with `register_module_full_backward_hook`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_backward_hook.html
    """
    return _C._register_global_hook("backward", hook, False, False)


def register_module_full_backward_pre_hook(hook):
    """Run `hook(module, grad_output)` before the backward of every module; what it returns replaces `grad_output`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_full_backward_pre_hook.html
    """
    return _C._register_global_hook("full_backward_pre", hook, False, False)


def register_module_full_backward_hook(hook):
    """Run `hook(module, grad_input, grad_output)` after the backward of every module; what it returns replaces
    `grad_input`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_full_backward_hook.html
    """
    return _C._register_global_hook("full_backward", hook, False, False)


def register_module_buffer_registration_hook(hook):
    """Run `hook(module, name, buffer)` whenever a module gets a buffer; a tensor it returns takes the buffer's place.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_buffer_registration_hook.html
    """
    return _C._register_global_hook("buffer_registration", hook, False, False)


def register_module_module_registration_hook(hook):
    """Run `hook(module, name, submodule)` whenever a module gets a submodule; a module it returns takes its place.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_module_registration_hook.html
    """
    return _C._register_global_hook("module_registration", hook, False, False)


def register_module_parameter_registration_hook(hook):
    """Run `hook(module, name, parameter)` whenever a module gets a parameter; one it returns takes its place.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.module.register_module_parameter_registration_hook.html
    """
    return _C._register_global_hook("parameter_registration", hook, False, False)


class _WrappedHook:
    """A hook that may want the module it was registered on before its other arguments, without keeping it alive."""

    def __init__(self, hook, module=None):
        from functools import update_wrapper
        from weakref import ref

        self.hook = self.__hooked__ = hook
        update_wrapper(self, hook)
        self.with_module = module is not None
        if self.with_module:
            self.module = ref(module)

    def __call__(self, *args, **kwargs):
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self):
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()
        return state

    def __setstate__(self, state):
        if state["with_module"] and state["module"] is None:
            raise RuntimeError("You are trying to revive the hook of a dead Module!")
        self.__init__(state["hook"], state["module"] if state["with_module"] else None)


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: the names the state lacked, and those it had too many."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


_C._nn = ModuleType("torch._C._nn")
_C._nn._parse_to = parse_to
vars(_C._nn).update(functions_of_nn(), __getattr__=late_of_nn)
_C._nn.__class__ = _C._Package  # which knows what is replaced


class _CallSignature:
    """What inspect.signature() finds on a module; it does not look at a call that is written in C."""

    def __get__(self, module, owner):
        import inspect

        if module is None:
            raise AttributeError("__signature__")
        own = owner.__call__
        return inspect.signature(own.__get__(module) if inspect.isfunction(own) else lambda *args, **kwargs: None)


class Module(_C.Module):
    """The base of every neural network, and of its parts.

    A subclass calls `super().__init__()`, assigns its parts to attributes (modules, parameters, buffers: each goes into
    its table) and says in `forward` what it computes. Calling the module runs forward with all hooks around it.

    >>> import hookgrad as torch
    >>> from hookgrad import nn
    >>> class Double(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.linear(x) * 2
    >>> Double()
    Double(
      (linear): Linear(in_features=3, out_features=3, bias=True)
    )

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
    """

    T_destination = Annotation()
    dump_patches = False
    _version = 1
    call_super_init = False
    _compiled_call_impl = None
    __signature__ = _CallSignature()
    _wrapped_call_impl = _C.Module.__call__

    # ---- what a module has -------------------------------------------------------------------------------------

    def register_module(self, name, module):
        """The same as `add_module`."""
        self.add_module(name, module)

    # ---- finding things by their dotted path -------------------------------------------------------------------

    def get_submodule(self, target):
        """The module at the dotted path `target`, or AttributeError; this module for "".

        >>> from hookgrad import nn
        >>> nn.Sequential(nn.Sequential(nn.ReLU())).get_submodule("0.0")
        ReLU()
        """
        module = self
        for name in target.split(".") if target else ():
            module = _member(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target, module, strict=False):
        """Put `module` at the dotted path `target`; with `strict` only where there is one already."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict or hasattr(parent, name):
            if not isinstance(_member(parent, name), Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target):
        """The parameter at the dotted path `target`, or AttributeError."""
        path, _, name = target.rpartition(".")
        parameter = _member(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return parameter

    def get_buffer(self, target):
        """The buffer at the dotted path `target`, or AttributeError."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = _member(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return buffer

    # ---- going through everything ------------------------------------------------------------------------------

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        """Every module in the tree with its dotted path, this one ("") first; a shared one once.

        >>> from hookgrad import nn
        >>> [name for name, module in nn.Sequential(nn.Linear(2, 2), nn.ReLU()).named_modules()]
        ['', '0', '1']
        """
        return _C._walk_modules(self, memo, prefix, remove_duplicate, True)

    def modules(self, remove_duplicate=True):
        """Every module in the tree, this one first."""
        if _C._inherits(self, "named_modules"):
            return _C._walk_modules(self, None, "", remove_duplicate, False)
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_children(self):
        """The direct submodules with their names; a shared one once."""
        memo = set()
        for name, module in self._modules.items():
            if module is not None and module not in memo:
                memo.add(module)
                yield name, module

    def children(self):
        """The direct submodules."""
        for _, module in self.named_children():
            yield module

    def _named_members(self, get_members_fn, prefix="", recurse=True, remove_duplicate=True):
        memo = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or value in memo:
                    continue
                if remove_duplicate:
                    memo.add(value)
                yield f"{path}.{name}" if path else name, value

    def _walks_alike(self):
        """Whether what this module has is found as in any other module: no class of its own says how."""
        return _C._inherits(self, "named_modules") and _C._inherits(self, "_named_members")

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Every parameter with its dotted path; a shared one once.

        >>> from hookgrad import nn
        >>> [(name, p.shape) for name, p in nn.Linear(3, 2).named_parameters()]
        [('weight', torch.Size([2, 3])), ('bias', torch.Size([2]))]
        """
        if self._walks_alike():
            return _C._walk_members(self, False, prefix, recurse, remove_duplicate, True)
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """Every parameter: what an optimizer wants."""
        if self._walks_alike() and _C._inherits(self, "named_parameters"):
            return _C._walk_members(self, False, "", recurse, True, False)
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Every buffer with its dotted path; a shared one once."""
        if self._walks_alike():
            return _C._walk_members(self, True, prefix, recurse, remove_duplicate, True)
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse=True):
        """Every buffer."""
        if self._walks_alike() and _C._inherits(self, "named_buffers"):
            return _C._walk_members(self, True, "", recurse, True, False)
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # ---- changing everything -----------------------------------------------------------------------------------

    def apply(self, fn):
        """Call `fn` on every module of the tree, children first; returns self."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn, recurse=True):
        """Replace the values of every parameter, gradient and buffer by `fn` of them. The parameters stay the same
        objects, so that an optimizer goes on working, unless `torch.__future__` says that they be overwritten."""
        from ... import __future__ as future

        if recurse:
            for module in self.children():
                module._apply(fn)
        if future.get_swap_module_params_on_conversion():
            replace = _swap_parameter
        elif future.get_overwrite_module_params_on_conversion():
            replace = _overwrite_parameter
        else:
            replace = _fill_parameter
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with hookgrad.no_grad():
                    value = fn(parameter)
                replace(self, name, parameter, value, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Convert floating point parameters and buffers: `to(dtype)`, `to(device, dtype)`, `to(tensor)`; returns self.

        >>> import hookgrad as torch
        >>> torch.nn.Linear(2, 2).to(torch.float64).weight.dtype
        torch.float64

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.to
        """
        device, dtype, _, memory_format = parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=" + str(dtype)
            )

        def convert(t):
            wanted = dtype if dtype is not None and t.is_floating_point() else t.dtype
            form = memory_format if memory_format is not None and t.dim() in (4, 5) else hookgrad.preserve_format
            if t.is_meta and device is not None and device.type != "meta":
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                )
            return t.to(device=device, dtype=wanted, memory_format=form)

        return self._apply(convert)

    def type(self, dst_type):
        """Convert every parameter and buffer to `dst_type`; returns self."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Convert floating point parameters and buffers to float32; returns self."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Convert floating point parameters and buffers to float64; returns self."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Convert floating point parameters and buffers to float16; returns self."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Convert floating point parameters and buffers to bfloat16; returns self."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self):
        """Everything is on the CPU already; returns self."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Fails: there is only the CPU."""
        return self._apply(lambda t: t.cuda(device))

    xpu = ipu = mtia = cuda

    def to_empty(self, *, device, recurse=True):
        """Give every parameter and buffer new memory, without its values; returns self.

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.to_empty
        """
        return self._apply(lambda t: hookgrad.empty_like(t, device=device), recurse=recurse)

    def share_memory(self):
        """Move parameters and buffers into memory that processes forked from now on share: see `Tensor.share_memory_`."""
        return self._apply(lambda t: t.share_memory_())

    def _replicate_for_data_parallel(self):
        """A module of the same class, state and submodules that has no parameters of its own yet."""
        from copy import copy

        replica = copy(self)
        replica._parameters = {}
        replica._buffers = self._buffers.copy()
        replica._modules = self._modules.copy()
        replica._is_replica = True
        return replica

    def train(self, mode=True):
        """Set the mode of training (or with False of evaluation) in the whole tree; returns self."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        _C._train(self, mode)
        return self

    def eval(self):
        """The same as `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Set `requires_grad` of every parameter; returns self."""
        _C._require_grad(self.parameters(), requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drop the gradient of every parameter, or without `set_to_none` fill it with zeros."""
        if getattr(self, "_is_replica", False):
            warnings.warn(
                "zero_grad() of a replica that nn.DataParallel() made has no effect: its parameters are copies, no "
                "leaves, and have no gradients of their own. To have them in forward, use autograd.grad instead.",
                stacklevel=2,
            )
        for parameter in _C.with_grad(self.parameters())[0]:
            if set_to_none:
                parameter.grad = None
            else:
                if parameter.grad.grad_fn is not None:
                    parameter.grad.detach_()
                else:
                    parameter.grad.requires_grad_(False)
                parameter.grad.zero_()

    def compile(self, *args, **kwargs):
        """Leave the module as it is: there is no compiler (see `torch.compile`)."""

    # ---- the parts of a call -----------------------------------------------------------------------------------

    def _slow_forward(self, *input, **kwargs):
        return self.forward(*input, **kwargs)

    def _get_backward_pre_hooks(self):
        return [*_C._global_hooks("full_backward_pre").values(), *self._backward_pre_hooks.values()]

    def _get_backward_hooks(self):
        """The hooks of a backward through this module, full ones and those of the older sort."""
        full, legacy = [], []
        for is_full, hooks in (
            (_C._global_is_full(), _C._global_hooks("full_backward")),
            (self._is_full_backward_hook, self._backward_hooks),
        ):
            if is_full is not None:
                (full if is_full else legacy).extend(hooks.values())
        return full, legacy

    # ---- saving and loading ------------------------------------------------------------------------------------

    def get_extra_state(self):
        """What a subclass wants saved besides its tensors: `state_dict()` calls it where it is overridden."""
        raise _never_called(self, "get", "set")

    def set_extra_state(self, state):
        """The counterpart of `get_extra_state`."""
        raise _never_called(self, "set", "get")

    def register_state_dict_pre_hook(self, hook):
        """Run `hook(module, prefix, keep_vars)` before `state_dict()` collects."""
        return _register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Run `hook(module, state_dict, prefix, local_metadata)` when `state_dict()` has collected; it may change the
        state in place and must return None."""
        hook._from_public_api = True
        return _register(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook):
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return _register(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook):
        """Run `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        before `load_state_dict()` fills this module."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        return _register(self._load_state_dict_pre_hooks, _WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_post_hook(self, hook):
        """Run `hook(module, incompatible_keys)` when `load_state_dict()` has filled this module and all below it; it
        may change the lists in place and must return None."""
        return _register(self._load_state_dict_post_hooks, hook)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY_SUFFIX] = self.get_extra_state()

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """All parameters and persistent buffers of the tree by dotted path, as an OrderedDict.

        The tensors share their memory with the module; `keep_vars` gives the parameters themselves.

        >>> from hookgrad import nn
        >>> list(nn.Sequential(nn.Linear(2, 2)).state_dict())
        ['0.weight', '0.bias']

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.state_dict
        """
        if args:
            import warnings

            warnings.warn(
                "Positional args are being deprecated, use kwargs instead. Refer to "
                "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details.",
                FutureWarning,
                stacklevel=2,
            )
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        if not _C._save_state(self, destination, prefix, keep_vars):
            if hasattr(destination, "_metadata"):
                destination._metadata[prefix[:-1]] = {"version": self._version}
            for key, hook in self._state_dict_pre_hooks.items():
                site = _C._hook_site(self._state_dict_pre_hooks, key)
                _C._call_hook("state_dict pre-hook", site, self, hook, self, prefix, keep_vars)
            self._save_to_state_dict(destination, prefix, keep_vars)
            for name, module in self._modules.items():
                if module is not None:
                    module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return self._run_state_dict_hooks(destination, prefix) if self._state_dict_hooks else destination

    def _run_state_dict_hooks(self, destination, prefix):
        local_metadata = getattr(destination, "_metadata", {}).get(prefix[:-1]) or {"version": self._version}
        for key, hook in self._state_dict_hooks.items():
            site = _C._hook_site(self._state_dict_hooks, key)
            result = _C._call_hook("state_dict post-hook", site, self, hook, self, destination, prefix, local_metadata)
            if result is None:
                continue
            if getattr(hook, "_from_public_api", False):
                raise RuntimeError("state_dict post-hook must return None")
            destination = result
        return destination

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        rest = prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        for key, hook in self._load_state_dict_pre_hooks.items():
            site = _C._hook_site(self._load_state_dict_pre_hooks, key)
            _C._call_hook("load_state_dict pre-hook", site, self, hook, state_dict, *rest)

        own = dict(self._parameters.items())
        own.update((k, v) for k, v in self._buffers.items() if k not in self._non_persistent_buffers_set)
        own = {name: tensor for name, tensor in own.items() if tensor is not None}
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                error = _load(self, name, tensor, key, state_dict[key], assign)
                if error is not None:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(key)

        extra = prefix + _EXTRA_STATE_KEY_SUFFIX
        takes_extra = type(self).set_extra_state is not Module.set_extra_state
        if takes_extra and extra in state_dict:
            self.set_extra_state(state_dict[extra])
        elif strict and takes_extra:
            missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)

        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else own):
                        unexpected_keys.append(key)

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy the values of a `state_dict()` into this module.

        With `strict` the names must match exactly; otherwise what does not match is left alone and returned. `assign`
        takes the tensors themselves instead of copying.

        >>> from hookgrad import nn
        >>> nn.Linear(2, 2).load_state_dict(nn.Linear(2, 2).state_dict())
        <All keys matched successfully>

        Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
        """
        from collections.abc import Mapping

        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing_keys, unexpected_keys, error_msgs = [], [], []
        metadata = getattr(state_dict, "_metadata", None)
        # A copy: the hooks may change it.
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata

        def load(module, state, prefix):
            local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local_metadata["assign_to_params_buffers"] = assign
            module._load_from_state_dict(state, prefix, local_metadata, True, missing_keys, unexpected_keys, error_msgs)
            for name, child in module._modules.items():
                if child is not None:
                    path = f"{prefix}{name}."
                    load(child, {k: v for k, v in state.items() if k.startswith(path)}, path)
            incompatible = _IncompatibleKeys(missing_keys, unexpected_keys)
            for key, hook in module._load_state_dict_post_hooks.items():
                site = _C._hook_site(module._load_state_dict_post_hooks, key)
                if _C._call_hook("load_state_dict post-hook", site, module, hook, module, incompatible) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                        "values, if incompatible_keys need to be modified, it should be done inplace."
                    )

        load(self, state_dict, "")
        load = None  # it refers to itself
        if strict:
            for words, keys in (("Unexpected", unexpected_keys), ("Missing", missing_keys)):
                if keys:
                    quoted = ", ".join(f'"{key}"' for key in keys)
                    error_msgs.insert(0, f"{words} key(s) in state_dict: {quoted}. ")
        if error_msgs:
            raise RuntimeError(f"Error(s) in loading state_dict for {self._get_name()}:\n\t" + "\n\t".join(error_msgs))
        return _IncompatibleKeys(missing_keys, unexpected_keys)

    def __getstate__(self):
        return dict(self.__dict__)

    def __setstate__(self, state):
        self.__dict__.update(state)
        # A state of long ago lacks what modules did not have then.
        for name, value in vars(Module()).items():
            if name not in self.__dict__:
                setattr(self, name, value)

    # ---- looking at it -----------------------------------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What a subclass wants between the parentheses of its repr."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra = extra.split("\n") if extra else []
        children = [f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()]
        if not children and len(extra) <= 1:
            return f"{self._get_name()}({''.join(extra)})"
        return f"{self._get_name()}(\n  " + "\n  ".join(extra + children) + "\n)"

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers}
        return sorted(name for name in names if not name[0].isdigit())


_C._set_module_methods({name: value for base in reversed(Module.__mro__) for name, value in vars(base).items()})


def _warn(words, stacklevel=3):
    import warnings

    warnings.warn(words, stacklevel=stacklevel)


def _warn_here(words, category):
    """As of this file, which has them shown once, wherever the module was called."""
    import warnings

    warnings.warn(words, category, stacklevel=1)


def _fill_parameter(module, name, parameter, value, fn):
    if value.is_meta != parameter.is_meta:
        return _overwrite_parameter(module, name, parameter, value, fn)
    grad = parameter.grad
    if value is not parameter:
        parameter.data = value
    if grad is not None:
        with hookgrad.no_grad():
            value = fn(grad)
        if value is not grad:
            grad.data = value


def _overwrite_parameter(module, name, parameter, value, fn):
    made = module._parameters[name] = Parameter(value, parameter.requires_grad)
    if parameter.grad is not None:
        with hookgrad.no_grad():
            made.grad = fn(parameter.grad).requires_grad_(parameter.grad.requires_grad)


def _swap_parameter(module, name, parameter, value, fn):
    from ...utils import swap_tensors

    grad, parameter.grad = parameter.grad, None
    try:
        swap_tensors(parameter, Parameter(value, parameter.requires_grad))
    except Exception as error:
        parameter.grad = grad
        raise RuntimeError(f"_apply(): Couldn't swap {module._get_name()}.{name}") from error
    if grad is not None:
        with hookgrad.no_grad():
            value = fn(grad).requires_grad_(grad.requires_grad)
        try:
            swap_tensors(grad, value)
        except Exception as error:
            raise RuntimeError(f"_apply(): Couldn't swap {module._get_name()}.{name}.grad") from error
        parameter.grad = grad


def _load(module, name, tensor, key, given, assign):
    """Give a module's tensor the values that the state has under `key`; returns the words of what stands against it, or None."""
    from ... import __future__ as future

    swap = future.get_swap_module_params_on_conversion()
    if not isinstance(given, hookgrad.Tensor):
        return (
            f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from '
            f"checkpoint but received {type(given)}"
        )
    if not is_lazy(tensor):  # its shape comes with the first forward, or came with the state
        if len(tensor.shape) == 0 and tuple(given.shape) == (1,):  # scalars were once saved as vectors
            given = given[0]
        if given.shape != tensor.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from checkpoint, "
                f"the shape in current model is {tensor.shape}."
            )
        if tensor.is_meta and not given.is_meta and not assign:
            _warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the current model, "
                "which is a no-op. (Did you mean to pass `assign=True` to assign items in the state dictionary to their "
                "corresponding key in the module instead of copying them in place?)",
                stacklevel=4,
            )
    try:
        with hookgrad.no_grad():
            if swap:
                _swap_in(tensor, given, assign)
            elif not assign:
                tensor.copy_(given)
            else:
                setattr(module, name, _as_loaded(given, tensor))
    except Exception as error:
        return (
            f'While {"swapping" if swap else "copying"} the parameter named "{key}", whose dimensions in the model '
            f"are {tensor.size()} and whose dimensions in the checkpoint are {given.size()}, an exception "
            f"occurred : {error.args}."
        )


def _as_loaded(given, parameter):
    """What is loaded in the place of a parameter is one, and requires a gradient as that did."""
    if not isinstance(parameter, Parameter):
        return given
    if not isinstance(given, Parameter):
        return Parameter(given, requires_grad=parameter.requires_grad)
    return given.requires_grad_(parameter.requires_grad)


def _swap_in(tensor, given, assign):
    from ...utils import swap_tensors

    loaded = tensor.module_load(given, assign=assign)
    if loaded is given or loaded is tensor:
        raise RuntimeError(
            "module_load returned one of self or other, please .detach() the result if returning one of the inputs in "
            "module_load"
        )
    swap_tensors(tensor, _as_loaded(loaded, tensor))


def _never_called(module, which, other):
    return RuntimeError(
        f"Reached a code path in Module.{which}_extra_state() that should never be called: "
        f"{module._get_name()} overrides {other}_extra_state() but not {which}_extra_state()"
    )


def _member(module, name):
    if not hasattr(module, name):
        raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
    return getattr(module, name)


# ---- Names for annotations -------------------------------------------------------------------------------------------


def __getattr__(name):
    if name in ("T", "_grad_t"):
        from ... import _typing

        return getattr(_typing, name)
    if name in ("functools", "inspect", "itertools", "warnings", "weakref"):
        from importlib import import_module

        return import_module(name)
    if name == "torch":
        return hookgrad
    if name in ("device", "dtype", "BackwardHook"):
        return getattr(hookgrad.utils.hooks if name == "BackwardHook" else hookgrad, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
