"""torch.save and torch.load: an object as a pickle in a file of hookgrad's own.

A file is only as trustworthy as whoever wrote it. `load` therefore builds tensors, numbers, strings and containers, and
nothing else, unless it is told `weights_only=False`.
"""

import io
import os
import pickle

from . import _C

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
    "_tensor": {"_rebuild", "_rebuild_bytes", "_rebuild_on_storage"},
    "nn.parameter": {"Parameter", "Buffer", "_rebuild_parameter"},
    "": {"Tensor", "Size", "device", *(str(d)[len("torch.") :] for d in vars(_C).values() if isinstance(d, _C.dtype))},
}
_safe_globals = []


def add_safe_globals(safe_globals):
    """Let `load` build these classes and functions too."""
    _safe_globals.extend(safe_globals)


class _Unpickler(pickle.Unpickler):
    """Builds only what is known to be harmless, and knows our own names under torch's."""

    def __init__(self, file, weights_only, encoding):
        super().__init__(file, encoding=encoding)
        self._weights_only = weights_only

    def find_class(self, module, name):
        ours = module
        for root in ("torch", "hookgrad"):
            if module == root or module.startswith(root + "."):
                ours = "hookgrad" + module[len(root) :]
        if ours == "hookgrad._C":
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


class _Pickler(pickle.Pickler):
    """Writes each storage once, whole: tensors that share memory do so again when they are loaded."""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self._protocol = protocol
        self._storages = {}

    def reducer_override(self, obj):
        if getattr(type(obj), "__reduce_ex__", None) is not _C.Tensor.__reduce_ex__ or not obj.numel():
            return NotImplemented
        from ._tensor import _Bytes, _rebuild_on_storage

        rebuild, (_, _, *more) = obj.__reduce_ex__(self._protocol)
        storage = obj.untyped_storage()
        if storage.nbytes() % obj.element_size():
            return rebuild, (_Bytes(obj), None, *more)
        whole = self._storages.setdefault(storage._key(), _Bytes(storage._whole()))
        place = obj.dtype, tuple(obj.shape), obj.stride(), obj.storage_offset()
        return _rebuild_on_storage, (whole, place, *more)


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
    if pickle_module is pickle:
        _Pickler(f, pickle_protocol).dump(obj)
    else:
        pickle_module.dump(obj, f, protocol=pickle_protocol)


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
