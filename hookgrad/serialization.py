"""torch.save and torch.load: an object as a pickle, and the memory of its tensors, in an archive as PyTorch has it.

A file is only as trustworthy as whoever wrote it. `load` therefore builds tensors, numbers, strings and containers, and
nothing else, unless it is told `weights_only=False`.
"""

import io
import os
import pickle
import pickletools
import sys
import zipfile

from . import _C
from .storage import TypedStorage, UntypedStorage, _typed, legacy_storages

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
    "_utils": {
        "_rebuild_tensor_v2",
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
        "_rebuild_from_type_v2",
        "_rebuild_meta_tensor_no_storage",
    },
    "storage": {"UntypedStorage"},
    "nn.parameter": {"Parameter", "Buffer"},
    "": {"Tensor", "Size", "device", *(str(dtype)[len("torch.") :] for dtype in legacy_storages)}
    | {kind.__name__ for kind in legacy_storages.values()},
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
    """Builds only what is known to be harmless, and knows our own names under torch's; `storage_of` is asked for memory."""

    def __init__(self, file, storage_of, weights_only, encoding):
        super().__init__(file, encoding=encoding)
        self._weights_only = weights_only
        self._storage_of = storage_of
        self._storages = {}

    def persistent_load(self, pid):
        if pid[0] != "storage":
            raise pickle.UnpicklingError(f"unsupported persistent id: {pid[0]}")
        kind, key, n = pid[1], pid[2], pid[4]
        dtype = getattr(kind, "dtype", _C.uint8)
        if key not in self._storages:
            self._storages[key] = self._storage_of(key, n * dtype.itemsize)
        return _typed(self._storages[key], dtype)

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


def _with_torch_names(data):
    """A pickle in which our names are PyTorch's. From protocol 4 on names are written otherwise, and stay ours."""
    parts, done = [], 0
    for opcode, arg, at in pickletools.genops(data):
        if opcode.name == "GLOBAL" and (arg + ".").replace(" ", ".").startswith("hookgrad."):
            parts += [data[done : at + 1], b"torch"]
            done = at + 1 + len("hookgrad")
    return b"".join([*parts, data[done:]])


def save(obj, f, pickle_module=pickle, pickle_protocol=2, _use_new_zipfile_serialization=True):
    """Write an object, such as a state dict, to a path or an open file, as PyTorch does: PyTorch reads it, too.

    >>> import io, hookgrad as torch
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(2)}, file)
    >>> torch.load(io.BytesIO(file.getvalue()))
    {'w': tensor([1., 1.])}

    Source: https://docs.pytorch.org/docs/stable/generated/torch.save.html
    """
    if isinstance(f, (str, os.PathLike)):
        root = os.path.splitext(os.path.basename(f))[0]
        with open(f, "wb") as file:
            return _save(obj, file, root, pickle_module, pickle_protocol)
    if not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, not {type(f)}"
        )
    _save(obj, f, "archive", pickle_module, pickle_protocol)


def _save(obj, file, root, pickle_module, protocol):
    seen, pickled = {}, io.BytesIO()

    class Pickler(pickle_module.Pickler):
        """Writes memory that several tensors share once."""

        def persistent_id(self, obj):
            if not isinstance(obj, UntypedStorage):
                return None
            number, _ = seen.setdefault(obj._key(), (str(len(seen)), obj))  # held: its address shall be nobody else's
            kind = legacy_storages[obj.dtype] if isinstance(obj, TypedStorage) else UntypedStorage
            return "storage", kind, number, "cpu", len(obj)

    Pickler(pickled, protocol=protocol).dump(obj)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{root}/data.pkl"), _with_torch_names(pickled.getvalue()))
        archive.writestr(zipfile.ZipInfo(f"{root}/byteorder"), sys.byteorder)
        for number, storage in seen.values():
            archive.writestr(zipfile.ZipInfo(f"{root}/data/{number}"), storage._bytes())
        archive.writestr(zipfile.ZipInfo(f"{root}/version"), "3\n")


def load(f, map_location=None, pickle_module=None, *, weights_only=True, mmap=None, encoding="utf-8", **options):
    """Read what `save` wrote, here or in PyTorch: its archives, and the files of before 1.6. `map_location` may name
    the CPU, or "meta": then nothing but shapes is read.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return load(file, map_location, pickle_module, weights_only=weights_only, encoding=encoding)
    if map_location is not None and not callable(map_location) and not isinstance(map_location, dict):
        _C.device(map_location)
    if not hasattr(f, "read"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'read' attribute, not {type(f)}"
        )
    if not hasattr(f, "seek") or not hasattr(f, "readline") or f.tell():
        f = io.BytesIO(f.read())
    if not zipfile.is_zipfile(f):
        f.seek(0)
        return _load_old(f, weights_only, encoding)
    device = "cpu" if callable(map_location) or not map_location else str(map_location)
    with zipfile.ZipFile(f) as archive:
        return _load_archive(archive, weights_only, encoding, device)


def _load_archive(archive, weights_only, encoding, device):
    names = archive.namelist()
    root = next(
        (name[: -len("data.pkl")] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None
    )
    if root is None:
        raise RuntimeError("load(): the archive has no data.pkl: it is not one of torch.save")
    if root + "byteorder" in names and archive.read(root + "byteorder").decode() != sys.byteorder:
        raise RuntimeError(f"load(): the file's byte order is not this machine's, {sys.byteorder}")

    def storage_of(key, n_bytes):
        storage = UntypedStorage(n_bytes)
        if device == "meta":
            return UntypedStorage(storage._whole().to(device))
        with archive.open(f"{root}data/{key}") as record:
            if n_bytes and record.readinto(memoryview(storage._whole())) != n_bytes:
                raise RuntimeError(f"load(): storage {key} is shorter than its tensors")
        return storage

    return _Unpickler(io.BytesIO(archive.read(root + "data.pkl")), storage_of, weights_only, encoding).load()


_OLD_FILE = 0x1950A86A20F9469CFC6C


def _load_old(file, weights_only, encoding):
    """One pickle after the other: a number, a version, the machine's sizes, the object, its storages' names; then these."""
    storages = {}

    def storage_of(key, n_bytes):
        return storages.setdefault(key, UntypedStorage(n_bytes))

    def part():
        return _Unpickler(file, storage_of, weights_only, encoding).load()

    if part() != _OLD_FILE:
        raise RuntimeError("load(): this is not a file of torch.save")
    if (version := part()) != 1001:
        raise RuntimeError(f"load(): version {version} of the format is not known")
    if not part().get("little_endian", True):
        raise RuntimeError("load(): the file is of a machine whose bytes stand in the other order")
    made = part()
    for key in part():
        file.read(8)  # how many elements follow, which the storage has been told
        whole = storages[key]._whole()
        if len(whole) and file.readinto(memoryview(whole)) != len(whole):
            raise RuntimeError(f"load(): storage {key} is shorter than its tensors")
    return made
