"""torch.save and torch.load: an object as a pickle in a file of hookgrad's own.

A file is only as trustworthy as whoever wrote it. `load` therefore builds tensors, numbers, strings and containers, and
nothing else, unless it is told `weights_only=False`.
"""

import io
import os
import pickle

from . import _C
from .storage import UntypedStorage, _load_from_bytes

_HEADER = b"hookgrad-pickle-1\n"

# What may be built from a file that is not trusted, beside what this package itself defines for tensors.
_SAFE = {
    "builtins": {
        "bytearray",
        "complex",
        "dict",
        "frozenset",
        "list",
        "set",
        "slice",
        "tuple",
        "int",
        "float",
        "bool",
        "str",
    },
    "collections": {"OrderedDict", "Counter", "defaultdict", "deque"},
    "_codecs": {"encode"},
}
_SAFE_OURS = {
    "_utils": {"_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_from_type_v2"},
    "storage": {"_typed", "_load_from_bytes"},
    "nn.parameter": {"Parameter", "Buffer"},
    "": {"Tensor", "Size", "device", *(str(d)[len("torch.") :] for d in vars(_C).values() if isinstance(d, _C.dtype))},
}
_safe_globals = []


def add_safe_globals(safe_globals):
    """Let `load` build these classes and functions too."""
    _safe_globals.extend(safe_globals)


def get_safe_globals():
    """The classes and functions that `load` was allowed to build."""
    return list(_safe_globals)


def clear_safe_globals():
    """Allow `load` none of them any more."""
    _safe_globals.clear()


class safe_globals:
    """Let `load` build these classes and functions too, within a `with` block.

    >>> import io, hookgrad as torch
    >>> from fractions import Fraction
    >>> file = io.BytesIO()
    >>> torch.save(Fraction(1, 2), file)
    >>> with torch.serialization.safe_globals([Fraction]):
    ...     torch.load(io.BytesIO(file.getvalue()))
    Fraction(1, 2)
    """

    def __init__(self, safe_globals):
        self._added = list(safe_globals)

    def __enter__(self):
        self._before = get_safe_globals()
        add_safe_globals(self._added)

    def __exit__(self, *exc):
        _safe_globals[:] = self._before


class _Unpickler(pickle.Unpickler):
    """Builds only what is known to be harmless, and knows our own names under torch's."""

    def __init__(self, file, weights_only, encoding):
        super().__init__(file, encoding=encoding)
        self._weights_only = weights_only
        self._storages = {}

    def persistent_load(self, pid):
        kind, key, raw = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unsupported persistent id: {kind}")
        if key not in self._storages:
            self._storages[key] = _load_from_bytes(raw)
        return self._storages[key]

    def find_class(self, module, name):
        ours = module
        for root in ("torch", "hookgrad"):
            if module == root or module.startswith(root + "."):
                ours = "hookgrad" + module[len(root) :]
        if ours == "hookgrad._C" and not name.startswith("_hook_"):  # _hook_table() and _hook_flags() are at home there
            ours = "hookgrad"
        found = super().find_class(ours, name)
        if not self._weights_only or any(found is g for g in _safe_globals):
            return found
        inside = ours[len("hookgrad") :].lstrip(".") if ours.startswith("hookgrad") else None
        if name in _SAFE.get(ours, ()) or (inside is not None and name in _SAFE_OURS.get(inside, ())):
            return found
        raise pickle.UnpicklingError(
            f"Weights only load failed. {module}.{name} is not among what may be built from a file. Pass "
            "weights_only=False if you trust whoever wrote it, or torch.serialization.add_safe_globals([...])."
        )


def save(obj, f, pickle_module=pickle, pickle_protocol=4, _use_new_zipfile_serialization=True):
    """Write an object, such as a state dict, to a path or an open file.

    >>> import io, hookgrad as torch
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(2)}, file)
    >>> torch.load(io.BytesIO(file.getvalue()))
    {'w': tensor([1., 1.])}
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, "wb") as file:
            return save(obj, file, pickle_module, pickle_protocol)
    if not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, not {type(f)}"
        )
    f.write(_HEADER)
    seen = {}

    class Pickler(pickle_module.Pickler):
        """Writes memory that several tensors share once."""

        def persistent_id(self, obj):
            if type(obj) is not UntypedStorage:
                return None
            key = obj._key()
            raw = None if key in seen else obj._bytes()
            number, _ = seen.setdefault(key, (len(seen), obj))  # held: its address shall be nobody else's
            return "storage", number, raw

    Pickler(f, protocol=pickle_protocol).dump(obj)


def load(f, map_location=None, pickle_module=None, *, weights_only=True, mmap=None, encoding="utf-8", **options):
    """Read what `save` wrote. `map_location` may only name the CPU."""
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return load(file, map_location, pickle_module, weights_only=weights_only, encoding=encoding)
    if map_location is not None and not callable(map_location) and not isinstance(map_location, dict):
        _C.device(map_location)
    if not hasattr(f, "read"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'read' attribute, not {type(f)}"
        )
    header = f.read(len(_HEADER))
    if header != _HEADER:
        raise RuntimeError("load(): this is not a file of hookgrad's torch.save")
    if not hasattr(f, "readline"):
        f = io.BytesIO(f.read())
    return _Unpickler(f, weights_only, encoding).load()
