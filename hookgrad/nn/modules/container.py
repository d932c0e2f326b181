"""Modules and parameters in sequences and mappings."""

import hookgrad

from ... import _C
from ..parameter import Parameter
from .module import Module, _addindent


def _position(idx, size):
    """The place that an index, counted from either end, means in a sequence of `size`."""
    from operator import index

    idx = index(idx)
    try:
        return range(size)[idx]
    except IndexError:
        raise IndexError(f"index {idx} is out of range") from None


def _is_iterable(value):
    return hasattr(type(value), "__iter__")


def _without_digits(names):
    return [name for name in names if not name.isdigit()]


class _Numbered:
    """What Sequential and ModuleList share: submodules in order, reached by number, a slice of which is a list."""

    __slots__ = ()

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules.values())

    def __dir__(self):
        return _without_digits(super().__dir__())

    def _name_at(self, idx):
        return list(self._modules.keys())[_position(idx, len(self))]

    def __setitem__(self, idx, module):
        setattr(self, self._name_at(idx), module)

    def __delitem__(self, idx):
        if isinstance(idx, slice):
            for name in [self._name_at(i) for i in range(len(self))[idx]]:
                delattr(self, name)
        else:
            delattr(self, self._name_at(idx))
        # What is left is numbered anew, so that len(self) is free to be appended.
        self._renumber(list(self._modules.values()))

    def _renumber(self, modules):
        self._modules.clear()
        for i, module in enumerate(modules):
            self._modules[str(i)] = module

    def pop(self, key):
        """Take out and return the module, or the slice, at `key`."""
        taken = self[key]
        del self[key]
        return taken

    def append(self, module):
        """Add a module at the end; returns self."""
        self.add_module(str(len(self)), module)
        return self

    def _insert(self, index, module):
        # By number, as in PyTorch: what has a name of its own stays where it is.
        for place in reversed(range(index, len(self))):
            self._modules[str(place + 1)] = self._modules[str(place)]
        self._modules[str(index)] = module


class Sequential(_Numbered, Module):
    """Modules that are called one after another, each with what the one before returned.

    Built from modules in a row or from one OrderedDict of names and modules.

    >>> from hookgrad import nn
    >>> nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
    )

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html
    """

    forward = _C.layer_forward("sequential")

    def __init__(self, *args):
        super().__init__()
        if len(args) == 1 and _is_ordered_dict(args[0]):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self._add_numbered(args)

    def __getitem__(self, idx):
        if not isinstance(idx, slice):
            return self._modules[self._name_at(idx)]
        from collections import OrderedDict

        return type(self)(OrderedDict(list(self._modules.items())[idx]))

    def __add__(self, other):
        _check_sequential(other)
        return Sequential().extend(self).extend(other)

    def __iadd__(self, other):
        _check_sequential(other)
        return self.extend(other)

    def __mul__(self, times):
        self._check_times(times)
        return Sequential(*(list(self) * times))

    __rmul__ = __mul__

    def __imul__(self, times):
        self._check_times(times)
        if times > 1:
            self.extend([self._modules[str(i)] for i in range(len(self))] * (times - 1))
        return self

    def _check_times(self, times):
        if not isinstance(times, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(times)}")
        if times <= 0:
            raise ValueError(f"Non-positive multiplication factor {times} for {type(self)}")

    def insert(self, index, module):
        """Put a module before the one at `index`; returns self."""
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        self._insert(index + len(self) if index < 0 else index, module)
        return self

    def extend(self, sequential):
        """Add every module of an iterable at the end; returns self."""
        for module in list(sequential):
            self.append(module)
        return self


def _is_ordered_dict(value):
    if not isinstance(value, dict):
        return False
    from collections import OrderedDict

    return isinstance(value, OrderedDict)


def _check_sequential(other):
    if not isinstance(other, Sequential):
        raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")


class ModuleList(_Numbered, Module):
    """Submodules in a list: indexed, sliced and appended to like one, but without a forward.

    >>> from hookgrad import nn
    >>> nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html
    """

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, idx):
        if isinstance(idx, slice):
            return type(self)(list(self)[idx])
        return self._modules[self._name_at(idx)]

    def _name_at(self, idx):
        return str(_position(idx, len(self)))

    def __iadd__(self, modules):
        return self.extend(modules)

    def __add__(self, other):
        return ModuleList().extend(self).extend(other)

    def insert(self, index, module):
        """Put a module before the one at `index`."""
        self._insert(index, module)

    def extend(self, modules):
        """Add every module of an iterable at the end; returns self."""
        if not _is_iterable(modules):
            raise TypeError(f"ModuleList.extend should be called with an iterable, but got {type(modules).__name__}")
        start = len(self)
        for i, module in enumerate(list(modules)):
            self.add_module(str(start + i), module)
        return self

    def __repr__(self):
        # Neighbours that print alike are told once, with their number.
        runs = []
        for i, text in enumerate(map(repr, self)):
            if runs and runs[-1][2] == text:
                runs[-1][1] = i
            else:
                runs.append([i, i, text])
        if not runs:
            return f"{self._get_name()}()"
        lines = [
            _addindent(f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}", 2)
            for first, last, text in runs
        ]
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """Submodules by name, in the order they came.

    >>> from hookgrad import nn
    >>> nn.ModuleDict({"act": nn.ReLU()})["act"]
    ReLU()

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html
    """

    def __init__(self, modules=None):
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key):
        return self._modules[key]

    def __setitem__(self, key, module):
        self.add_module(key, module)

    def __delitem__(self, key):
        del self._modules[key]

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(self._modules)

    def __contains__(self, key):
        return key in self._modules

    def clear(self):
        """Take everything out."""
        self._modules.clear()

    def pop(self, key):
        """Take out and return the module `key`."""
        module = self[key]
        del self[key]
        return module

    def keys(self):
        """The names."""
        return self._modules.keys()

    def items(self):
        """Names and modules."""
        return self._modules.items()

    def values(self):
        """The modules."""
        return self._modules.values()

    def update(self, modules):
        """Add or replace modules, from a mapping or from pairs."""
        if not _is_iterable(modules):
            raise TypeError(
                "ModuleDict.update should be called with an iterable of key/value pairs, "
                f"but got {type(modules).__name__}"
            )
        for name, module in _pairs(modules, "ModuleDict"):
            self[name] = module


def _pairs(values, whose):
    """The pairs in a mapping or in a sequence of pairs."""
    if hasattr(values, "items"):
        yield from values.items()
        return
    for i, pair in enumerate(values):
        if not _is_iterable(pair):
            raise TypeError(f"{whose} update sequence element #{i} should be Iterable; is{type(pair).__name__}")
        if len(pair) != 2:
            raise ValueError(f"{whose} update sequence element #{i} has length {len(pair)}; 2 is required")
        yield pair[0], pair[1]


def _as_parameter(value):
    if isinstance(value, hookgrad.Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


def _described(name, value, kind):
    """A line of a parameter container's repr."""
    if not isinstance(value, hookgrad.Tensor):
        return f"  ({name}): Object of type: {type(value).__name__}"
    role = "Parameter" if isinstance(value, Parameter) else "Tensor"
    return f"  ({name}): {role} containing: [{kind} of size {'x'.join(map(str, value.shape))}]"


class ParameterList(Module):
    """Parameters in a list; tensors put into it become parameters, anything else is kept as it is.

    >>> import hookgrad as torch
    >>> torch.nn.ParameterList([torch.zeros(2, 3)])
    ParameterList(  (0): Parameter containing: [torch.float32 of size 2x3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ParameterList.html
    """

    def __init__(self, values=None):
        super().__init__()
        self._size = 0
        if values is not None:
            self.extend(values)

    def __getitem__(self, idx):
        if isinstance(idx, slice):
            return type(self)([self[i] for i in range(*idx.indices(len(self)))])
        return getattr(self, str(_position(idx, len(self))))

    def __setitem__(self, idx, param):
        setattr(self, str(_position(idx, len(self))), _as_parameter(param))

    def __len__(self):
        return self._size

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __iadd__(self, parameters):
        return self.extend(parameters)

    def __dir__(self):
        return _without_digits(super().__dir__())

    def append(self, value):
        """Add a value at the end; returns self."""
        self._size += 1
        self[self._size - 1] = value
        return self

    def extend(self, values):
        """Add every value of an iterable at the end; returns self."""
        if not _is_iterable(values) or isinstance(values, hookgrad.Tensor):
            raise TypeError(f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}")
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self):
        return "\n".join(_described(i, value, getattr(value, "dtype", None)) for i, value in enumerate(self))

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """Parameters by name, in the order they came; tensors put into it become parameters.

    >>> import hookgrad as torch
    >>> list(torch.nn.ParameterDict({"left": torch.zeros(2), "right": torch.zeros(3)}))
    ['left', 'right']

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.ParameterDict.html
    """

    def __init__(self, parameters=None):
        super().__init__()
        self._keys = {}
        if parameters is not None:
            self.update(parameters)

    def __getitem__(self, key):
        return getattr(self, _checked_key(key))

    def __setitem__(self, key, value):
        self._keys[_checked_key(key)] = None
        setattr(self, key, _as_parameter(value))

    def __delitem__(self, key):
        del self._keys[key]
        delattr(self, key)

    def __len__(self):
        return len(self._keys)

    def __iter__(self):
        return iter(self._keys)

    def __reversed__(self):
        return reversed(self._keys)

    def __contains__(self, key):
        return key in self._keys

    def copy(self):
        """A new ParameterDict with the same parameters."""
        return ParameterDict([(key, self[key]) for key in self._keys])

    def setdefault(self, key, default=None):
        """The value of `key`, which is set to `default` where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self):
        """Take everything out."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key):
        """Take out and return the value of `key`."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Take out and return the last name and its value."""
        if not self._keys:
            raise KeyError("popitem(): dictionary is empty")
        key = next(reversed(self._keys))
        return key, self.pop(key)

    def get(self, key, default=None):
        """The value of `key`, or `default`."""
        return self[key] if key in self else default

    def fromkeys(self, keys, default=None):
        """A new ParameterDict with the same value for every key."""
        return ParameterDict([(key, default) for key in keys])

    def keys(self):
        """The names."""
        return self._keys.keys()

    def items(self):
        """Names and values."""
        return ((key, self[key]) for key in self._keys)

    def values(self):
        """The values."""
        return (self[key] for key in self._keys)

    def update(self, parameters):
        """Add or replace values, from a mapping or from pairs; a plain dict is taken in the order of its names."""
        if not _is_iterable(parameters):
            raise TypeError(
                "ParametersDict.update should be called with an iterable of key/value pairs, "
                f"but got {type(parameters).__name__}"
            )
        pairs = _pairs(parameters, "ParameterDict")
        if hasattr(parameters, "items") and not isinstance(parameters, ParameterDict):
            if not _is_ordered_dict(parameters):
                pairs = sorted(pairs, key=lambda pair: pair[0])
        for key, value in pairs:
            self[key] = value

    def extra_repr(self):
        return "\n".join(_described(key, value, hookgrad.typename(value)) for key, value in self.items())

    def __call__(self, input):
        raise RuntimeError("ParameterDict should not be called.")

    def __or__(self, other):
        merged = self.copy()
        merged.update(other)
        return merged

    def __ror__(self, other):
        merged = other.copy()
        merged.update(self)
        return merged

    def __ior__(self, other):
        self.update(other)
        return self


def _checked_key(key):
    if not isinstance(key, str):
        raise TypeError(
            "Index given to ParameterDict cannot be used as a key as it is not a string "
            f"(type is '{type(key).__name__}'). Open an issue on github if you need non-string keys."
        )
    return key


class Container(Module):
    """A module with the submodules given by keyword: from the time before every module was one.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html
    """

    def __init__(self, **kwargs):
        import warnings

        warnings.warn(
            "`nn.Container` is deprecated. All of its functionality is now implemented in `nn.Module`. Subclass that instead.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__()
        for name, module in kwargs.items():
            self.add_module(name, module)
