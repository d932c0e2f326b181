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
from enum import Enum
from mmap import MAP_PRIVATE, MAP_SHARED

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
        "tuple",
        "int",
        "float",
        "bool",
        "str",
    },
    "collections": {"OrderedDict", "Counter"},
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


def _is_safe(module, name):
    """May what a file calls `module.name` be built from one that is not trusted?"""
    inside = module[len("hookgrad") :].lstrip(".") if module.startswith("hookgrad") else None
    return name in _SAFE.get(module, ()) or (inside is not None and name in _SAFE_OURS.get(inside, ()))


def _home(module):
    """Where hookgrad has what a file says lies in `module`."""
    if module == "__builtin__":  # as protocol 2 calls it
        return "builtins"
    for root in ("torch", "hookgrad"):
        if module == root or module.startswith(root + "."):
            return "hookgrad" + module[len(root) :]
    return module


def get_unsafe_globals_in_checkpoint(f):
    """The names, "module.name", of what a file wants built that `load` does not build by itself."""
    with zipfile.ZipFile(f) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
    names, strings = [], []
    for opcode, arg, _ in pickletools.genops(data):
        if isinstance(arg, str) and opcode.name != "GLOBAL":
            strings.append(arg)
        if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
            module, name = arg.split(" ", 1) if opcode.name == "GLOBAL" else strings[-2:]
            allowed = any(g.__module__ == module and g.__qualname__ == name for g in _safe_globals)
            if not allowed and not _is_safe(_home(module), name):
                names.append(f"{module}.{name}")
    return list(dict.fromkeys(names))


class skip_data:
    """Within a `with` block `save` leaves out what tensors hold, and `load` does not read it: the files have their full length.

    Source: https://docs.pytorch.org/docs/stable/notes/serialization.html#torch.serialization.skip_data
    """

    on = False

    def __init__(self, materialize_fake_tensors=False):
        pass

    def __enter__(self):
        self._was, skip_data.on = skip_data.on, True

    def __exit__(self, *exc):
        skip_data.on = self._was


class LoadEndianness(Enum):
    """The byte order of files that do not say theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_settings = {"endianness": None, "crc32": True, "mmap": MAP_PRIVATE}


def get_default_load_endianness():
    """What `set_default_load_endianness` has set, or None."""
    return _settings["endianness"]


def set_default_load_endianness(endianness):
    """Which byte order files have that do not say theirs: kept, for those of save() say it."""
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _settings["endianness"] = endianness


def get_crc32_options():
    """Does `save` compute checksums? They are always computed: this is what `set_crc32_options` has set."""
    return _settings["crc32"]


def set_crc32_options(compute_crc32):
    """Accepted: checksums are computed either way."""
    _settings["crc32"] = compute_crc32


def get_default_mmap_options():
    """How `load(mmap=True)` maps files: mmap.MAP_PRIVATE or mmap.MAP_SHARED."""
    return _settings["mmap"]


class set_default_mmap_options:
    """Map files so from here on, or within a `with` block: MAP_PRIVATE, changes stay here; MAP_SHARED, they go to the file."""

    def __init__(self, flags):
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError(
                f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, got {flags}"
            )
        self._was, _settings["mmap"] = _settings["mmap"], flags

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        _settings["mmap"] = self._was


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
        ours = _home(module)
        if ours == "hookgrad._C" and not name.startswith("_hook_"):  # _hook_table() and _hook_flags() are at home there
            ours = "hookgrad"
        try:
            found = super().find_class(ours, name)
        except (ImportError, AttributeError):
            if ours == module:
                raise
            found = super().find_class(module, name)  # what the program has put into torch's place itself
        if not self._weights_only or any(found is g for g in _safe_globals):
            return found
        if _is_safe(ours, name):
            return found
        raise pickle.UnpicklingError(
            f"Weights only load failed. WeightsUnpickler error: Unsupported global: GLOBAL {module}.{name} was not an allowed global "
            f"by default. If you trust whoever wrote the file, allow it with `torch.serialization.add_safe_globals([{name}])` or the "
            f"`torch.serialization.safe_globals([{name}])` context manager, or pass `weights_only=False`."
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
        parent = os.path.dirname(os.fspath(f))
        if parent and not os.path.isdir(parent):
            raise RuntimeError(f"Parent directory {parent} does not exist.")
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
            archive.writestr(_aligned(archive, f"{root}/data/{number}"), _bytes(storage))
        archive.writestr(zipfile.ZipInfo(f"{root}/version"), "3\n")


def _bytes(storage):
    return bytes(storage.nbytes()) if skip_data.on else storage._bytes()


_ALIGNMENT = 64


def _aligned(archive, name):
    """The entry that comes next, with a field that makes its contents begin at a multiple of 64 bytes: it can be mapped."""
    start = archive.fp.tell() + 30 + len(name) + 4  # after the header, the name and the field's own
    n = -start % _ALIGNMENT
    info = zipfile.ZipInfo(name)
    info.extra = b"FB" + n.to_bytes(2, "little") + b"Z" * n
    return info


def load(f, map_location=None, pickle_module=None, *, weights_only=True, mmap=None, encoding="utf-8", **options):
    """Read what `save` wrote, here or in PyTorch: its archives, and the files of before 1.6. `map_location` may name
    the CPU, or "meta": then nothing but shapes is read.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file path in order to use the mmap argument")
    located = _located(map_location)
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            if mmap and not zipfile.is_zipfile(file):
                raise RuntimeError(
                    "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True)`: save it so, in "
                    "order to map it"
                )
            return _load(file, located, weights_only, encoding, f if mmap else None)
    if not hasattr(f, "read"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'read' attribute, not {type(f)}"
        )
    if not hasattr(f, "seek") or not hasattr(f, "readline") or f.tell():
        f = io.BytesIO(f.read())
    return _load(f, located, weights_only, encoding, None)


def _located(map_location):
    """What makes of a storage, that a file has, the one that is used."""
    if callable(map_location):
        return lambda storage: map_location(storage, "cpu") or storage
    where = map_location.get("cpu") if isinstance(map_location, dict) else map_location
    device = _C.device("cpu" if where is None else where)
    if device.type not in ("cpu", "meta"):
        raise RuntimeError(
            f"Attempting to deserialize object on a {device.type.upper()} device but torch.{device.type}.is_available() is False: "
            "pass map_location=torch.device('cpu') to load it on the CPU"
        )
    return lambda storage: UntypedStorage(storage._whole().to(device)) if device.type == "meta" else storage


def _load(file, located, weights_only, encoding, path):
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return _load_old(file, weights_only, encoding)
    with zipfile.ZipFile(file) as archive:
        return _load_archive(archive, weights_only, encoding, located, path)


def _mapped(path):
    """The file as bytes, which are read where they are asked for."""
    from mmap import ACCESS_COPY, ACCESS_WRITE, mmap

    shared = _settings["mmap"] == MAP_SHARED
    with open(path, "r+b" if shared else "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_WRITE if shared else ACCESS_COPY)


def _load_archive(archive, weights_only, encoding, located, path):
    names = archive.namelist()
    root = next(
        (name[: -len("data.pkl")] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None
    )
    if root is None:
        raise RuntimeError("load(): the archive has no data.pkl: it is not one of torch.save")
    if root + "byteorder" in names and archive.read(root + "byteorder").decode() != sys.byteorder:
        raise RuntimeError(f"load(): the file's byte order is not this machine's, {sys.byteorder}")
    whole = None if path is None else memoryview(_mapped(path))

    def storage_of(key, n_bytes):
        if whole is not None and n_bytes:
            start = archive.getinfo(f"{root}data/{key}").header_offset
            start += 30 + sum(int.from_bytes(whole[start + i : start + i + 2], "little") for i in (26, 28))
            return located(UntypedStorage(_C.frombuffer(whole[start : start + n_bytes], dtype=_C.uint8)))
        with archive.open(f"{root}data/{key}") as record:
            storage = UntypedStorage(n_bytes)
            if n_bytes and not skip_data.on and record.readinto(memoryview(storage._whole())) != n_bytes:
                raise RuntimeError(f"load(): storage {key} is shorter than its tensors")
        return located(storage)

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
