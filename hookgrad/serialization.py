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
from collections import OrderedDict
from enum import Enum
from mmap import MAP_PRIVATE, MAP_SHARED
from warnings import warn

from . import _C
from .storage import TypedStorage, UntypedStorage, legacy_storages, typed

DEFAULT_PROTOCOL = 2

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
    "serialization": {"_get_layout"},
    "storage": {"UntypedStorage"},
    "nn.parameter": {"Parameter", "Buffer"},
    "": {"Tensor", "Size", "device", *(str(dtype)[len("torch.") :] for dtype in legacy_storages)}
    | {kind.__name__ for kind in legacy_storages.values()},
}
_safe_globals = []


def add_safe_globals(safe_globals):
    """Let `load` build these classes and functions too; (class, "module.name") is one that files call otherwise."""
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


def _is_allowed(module, name):
    """Has the program allowed what a file calls `module.name`?"""
    return any(
        (g[1] if isinstance(g, tuple) else f"{g.__module__}.{g.__qualname__}") == f"{module}.{name}"
        for g in _safe_globals
    )


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
            if not _is_allowed(module, name) and not _is_safe(_home(module), name):
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
    """Which byte order files have that do not say theirs."""
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


class SourceChangeWarning(Warning):
    """Of files that hold the source of a module: PyTorch compares it. Here it is not looked at."""


# ---- Where storages are --------------------------------------------------------------------------------------------

_packages = []


def register_package(priority, tagger, deserializer):
    """Have `tagger(storage)` say where a storage is that is saved, and `deserializer(storage, location)` bring it there. Those of
    lower priority are asked first; None leaves it to the next.

    Source: https://docs.pytorch.org/docs/stable/notes/serialization.html#torch.serialization.register_package
    """
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda package: package[0])


def location_tag(storage):
    """Where a storage is, as files say it: "cpu"."""
    for _, tagger, _ in _packages:
        if (location := tagger(storage)) is not None:
            return location
    raise RuntimeError(f"don't know how to determine data location of {type(storage).__name__}")


def default_restore_location(storage, location):
    """The storage at that place: itself, or one on the device "meta"."""
    for _, _, deserializer in _packages:
        if (made := deserializer(storage, location)) is not None:
            return made
    raise RuntimeError(
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location})"
    )


def _to_device(storage, location):
    kind = location.partition(":")[0]
    if kind == "meta":
        return storage.to(device="meta")
    if kind in ("cuda", "xpu", "mps", "hpu", "mtia"):
        raise RuntimeError(
            f"Attempting to deserialize object on a {kind.upper()} device but torch.{kind}.is_available() is False. On a CPU-only "
            "machine, please use torch.load with map_location=torch.device('cpu') to have the storages on the CPU."
        )
    return None


register_package(
    10,
    lambda storage: storage.device.type if storage.device.type == "cpu" else None,
    lambda storage, location: storage if location == "cpu" else None,
)
register_package(20, lambda storage: storage.device.type, _to_device)


def _located(map_location):
    """What makes of a storage, and of where the file says it was, the one that is used."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, where: default_restore_location(storage, map_location.get(where, where))
    if isinstance(map_location, (str, bytes, _C.device)):
        place = map_location.decode("ascii") if isinstance(map_location, bytes) else str(map_location)
        return lambda storage, where: default_restore_location(storage, place)

    def located(storage, where):
        made = map_location(storage, where)
        return default_restore_location(storage, where) if made is None else made

    return located


# ---- Pickles -------------------------------------------------------------------------------------------------------


def _text(name):
    return name.decode("ascii") if isinstance(name, bytes) else name  # load() may have been told encoding="bytes"


class _Building:
    """Of an unpickler: knows our own names under torch's, and asks `storage_of` for memory."""

    def __init__(self, file, storage_of, encoding):
        super().__init__(file, encoding=encoding)
        self._storage_of = storage_of
        self._storages = {}

    def persistent_load(self, pid):
        if _text(pid[0]) == "module":  # the class of one, with its source, in the old format
            return pid[1]
        if _text(pid[0]) != "storage":
            raise pickle.UnpicklingError(f"unsupported persistent id: {pid[0]}")
        kind, key, location, n = pid[1:5]
        dtype = getattr(kind, "dtype", _C.uint8)
        if key not in self._storages:
            self._storages[key] = self._storage_of(_text(key), n, dtype, _text(location))
        return typed(self._storages[key], dtype)

    def find_class(self, module, name):
        ours = _home(module)
        if ours == "hookgrad._C" and not name.startswith("_hook_"):  # _hook_table() and _hook_flags() are at home there
            ours = "hookgrad"
        try:
            return super().find_class(ours, name)
        except (ImportError, AttributeError):
            if ours == module:
                raise
            return super().find_class(module, name)  # what the program has put into torch's place itself


class _Unpickler(_Building, pickle.Unpickler):
    """Builds what a file asks for."""


class _CarefulUnpickler(_Unpickler):
    """Builds only what is known to be harmless."""

    def find_class(self, module, name):
        if module.partition(".")[0] in ("sys", "os", "posix", "nt"):
            raise pickle.UnpicklingError(
                f"Weights only load failed. Trying to load unsupported GLOBAL {module}.{name} whose module {module} is blocked."
            )
        for g in _safe_globals:
            if isinstance(g, tuple) and g[1] == f"{module}.{name}":
                return g[0]
        found = super().find_class(module, name)
        ours = "hookgrad" if module == "torch._C" else _home(module)
        if _is_safe(ours, name) or any(found is g for g in _safe_globals):
            return found
        raise pickle.UnpicklingError(
            "Weights only load failed. This file can still be loaded, if you trust whoever wrote it: pass `weights_only=False`, which "
            "lets the file do anything (arbitrary code execution), or use "
            f"`torch.serialization.add_safe_globals([{name}])` or the `torch.serialization.safe_globals([{name}])` context manager "
            "to allowlist what is named below.\n"
            f"\tWeightsUnpickler error: Unsupported global: GLOBAL {module}.{name} was not an allowed global by default.\n"
            "Check the documentation of torch.load for the types that are built by default with weights_only"
        )


def _unpickler(weights_only, pickle_module):
    """Of which class: `storage_of` gets a key, how many elements of which dtype, and where they were."""
    if weights_only:
        return _CarefulUnpickler
    if pickle_module in (None, pickle):
        return _Unpickler
    return type("Unpickler", (_Building, pickle_module.Unpickler), {})


def _with_torch_names(data):
    """A pickle in which our names are PyTorch's. From protocol 4 on names are written otherwise, and stay ours."""
    parts, done = [], 0
    for opcode, arg, at in pickletools.genops(data):
        if opcode.name == "GLOBAL" and (arg + ".").replace(" ", ".").startswith("hookgrad."):
            parts += [data[done : at + 1], b"torch"]
            done = at + 1 + len("hookgrad")
    return b"".join([*parts, data[done:]])


def save(obj, f, pickle_module=pickle, pickle_protocol=DEFAULT_PROTOCOL, _use_new_zipfile_serialization=True):
    """Write an object, such as a state dict, to a path or an open file, as PyTorch does: PyTorch reads it, too.

    >>> import io, hookgrad as torch
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(2)}, file)
    >>> torch.load(io.BytesIO(file.getvalue()))
    {'w': tensor([1., 1.])}

    Source: https://docs.pytorch.org/docs/stable/generated/torch.save.html
    """
    if _use_new_zipfile_serialization:
        write, settings = _save, (pickle_module, pickle_protocol)
    else:
        write, settings = _legacy_save, (pickle_module, pickle_protocol)
    if isinstance(f, (str, os.PathLike)):
        parent = os.path.dirname(os.fspath(f))
        if parent and not os.path.isdir(parent):
            raise RuntimeError(f"Parent directory {parent} does not exist.")
        with open(f, "wb") as file:
            return write(obj, file, *settings, os.path.splitext(os.path.basename(f))[0])
    if not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    write(obj, f, *settings)


def _plain_table(hooks):
    """A table of hooks in a file is the OrderedDict that PyTorch has: it shall read the file, too."""
    hooks.__reduce__()  # says which of them cannot be pickled
    return OrderedDict, (), None, None, iter(hooks.items())


def _get_layout(name):
    """A layout, which a file has by its name: "torch.strided"."""
    return getattr(_C, name[len("torch.") :])


def _pickled(obj, pickle_module, protocol, views=()):
    """The pickle of an object without its storages, and these with how many bytes an element of theirs has, under their numbers.
    `views` ends what is said of each."""
    seen, dtypes, pickled = {}, {}, io.BytesIO()

    class Pickler(pickle_module.Pickler):
        """Writes memory that several tensors share once."""

        def persistent_id(self, obj):
            if not isinstance(obj, (UntypedStorage, TypedStorage)):
                return None
            typed, storage = isinstance(obj, TypedStorage), obj.untyped()
            dtype = obj.dtype if typed else _C.uint8
            entry = str(len(seen)), storage, obj.element_size()  # held: its address shall be nobody else's
            number = seen.setdefault(storage._cdata, entry)[0]
            if storage.nbytes() and dtypes.setdefault(number, dtype) != dtype:
                raise RuntimeError(
                    "Cannot save multiple tensors or storages that view the same data as different types"
                )
            kind = legacy_storages[dtype] if typed else UntypedStorage
            return "storage", kind, number, location_tag(storage), len(obj), *views

        def reducer_override(self, obj):
            if type(obj) is _C.layout:
                return _get_layout, (str(obj),)
            return _plain_table(obj) if type(obj) in (_C.HookTable, _C.HookFlags) else NotImplemented

    Pickler(pickled, protocol=protocol).dump(obj)
    return _with_torch_names(pickled.getvalue()), seen.values()


class _Stream:
    """A file that is written from the beginning to the end: one that compresses cannot go back."""

    def __init__(self, file):
        self.write = file.write

    def flush(self):
        pass


def _save(obj, file, pickle_module, protocol, root="archive"):
    data, storages = _pickled(obj, pickle_module, protocol)
    if not isinstance(file, (io.BytesIO, io.FileIO, io.BufferedWriter, io.BufferedRandom)):
        file = _Stream(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(f"{root}/data.pkl"), data)
        archive.writestr(zipfile.ZipInfo(f"{root}/byteorder"), sys.byteorder)
        for number, storage, _ in storages:
            archive.writestr(_aligned(archive, f"{root}/data/{number}"), _bytes(storage))
        archive.writestr(zipfile.ZipInfo(f"{root}/version"), "3\n")


MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001


def _legacy_save(obj, file, pickle_module, protocol, root=None):
    """One pickle after the other: a number, a version, the machine's sizes, the object, its storages' names; then these."""
    data, storages = _pickled(obj, pickle_module, protocol, (None,))
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": PROTOCOL_VERSION, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for part in (MAGIC_NUMBER, PROTOCOL_VERSION, system):
        pickle_module.dump(part, file, protocol=protocol)
    file.write(data)
    pickle_module.dump([number for number, *_ in storages], file, protocol=protocol)
    for _, storage, element_size in storages:
        storage._write_file(file, False, True, element_size)
    if hasattr(file, "flush"):
        file.flush()


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


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, encoding="utf-8", **options):
    """Read what `save` wrote, here or in PyTorch: its archives, and the files of before 1.6. `map_location` is a device,
    a dict of devices' names, or a function of a storage and the name of where it was; on "meta" nothing but shapes is read.
    `weights_only` is true unless a pickle_module is given.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    weights_only = _careful(weights_only, pickle_module)
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file path in order to use the mmap argument")
    how = _located(map_location), _unpickler(weights_only, pickle_module), encoding
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            if mmap and not _is_zipfile(file):
                raise RuntimeError(
                    "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True)`: save it so, in "
                    "order to map it"
                )
            return _load(file, *how, f if mmap else None)
    try:
        f.seek(f.tell())
    except (AttributeError, io.UnsupportedOperation) as error:
        raise type(error)(
            f"{error}. You can only torch.load from a file that is seekable. Read it into an io.BytesIO first, and load from that"
        ) from None
    return _load(f, *how, None)


def _careful(weights_only, pickle_module):
    """Is only to be built what is known to be harmless? Two variables of the environment may have decided."""

    def forced(name):
        return os.environ.get(name, "0") in ("1", "y", "yes", "true")

    careful, careless = forced("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), forced("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if careful and careless:
        raise RuntimeError(
            "Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should be set"
        )
    if careful:
        weights_only = True
    elif weights_only is None:
        weights_only = pickle_module is None and not careless
        if careless:
            warn(
                "Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the `weights_only` argument was not explicitly "
                "passed to `torch.load`, forcing weights_only=False: the file may do anything",
                UserWarning,
                stacklevel=3,
            )
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    return weights_only


def _is_zipfile(file):
    """Does an archive begin where the file stands? It stays there."""
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    return magic == b"PK\3\4"


def _load(file, located, unpickler, encoding, path):
    if not _is_zipfile(file):
        if not hasattr(file, "readinto") or not hasattr(file, "readline"):
            file = io.BytesIO(file.read())
        return _load_old(file, located, unpickler, encoding)
    if file.tell() or not hasattr(file, "seekable"):
        file = io.BytesIO(file.read())
    with zipfile.ZipFile(file) as archive:
        return _load_archive(archive, located, unpickler, encoding, path)


def _order_unsaid():
    """The byte order of a file that does not say its own."""
    set_to = _settings["endianness"]
    return sys.byteorder if set_to in (None, LoadEndianness.NATIVE) else set_to.name.lower()


def _mapped(path):
    """The file as bytes, which are read where they are asked for."""
    from mmap import ACCESS_COPY, ACCESS_WRITE, mmap

    shared = _settings["mmap"] == MAP_SHARED
    with open(path, "r+b" if shared else "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_WRITE if shared else ACCESS_COPY)


def _load_archive(archive, located, unpickler, encoding, path):
    names = archive.namelist()
    root = next(
        (name[: -len("data.pkl")] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")), None
    )
    if root is None:
        raise RuntimeError("load(): the archive has no data.pkl: it is not one of torch.save")
    order = archive.read(root + "byteorder").decode() if root + "byteorder" in names else _order_unsaid()
    if order not in ("little", "big"):
        raise ValueError(f"Unknown endianness type: {order}")
    whole = None if path is None else memoryview(_mapped(path))

    def storage_of(key, n, dtype, where):
        n_bytes = n * dtype.itemsize
        if whole is not None and n_bytes:
            start = archive.getinfo(f"{root}data/{key}").header_offset
            start += 30 + sum(int.from_bytes(whole[start + i : start + i + 2], "little") for i in (26, 28))
            return located(UntypedStorage._of(_C.frombuffer(whole[start : start + n_bytes], dtype=_C.uint8)), where)
        with archive.open(f"{root}data/{key}") as record:
            storage = UntypedStorage(n_bytes)
            if not skip_data.on:
                _fill(storage, record, key)
        if order != sys.byteorder and not skip_data.on:
            storage.byteswap(dtype)
        return located(storage, where)

    return unpickler(io.BytesIO(archive.read(root + "data.pkl")), storage_of, encoding).load()


def _fill(storage, file, key):
    """Read a storage's bytes, of which a compressed file gives some at a time."""
    if storage.nbytes():
        left = memoryview(storage._whole())
        while len(left):
            n = file.readinto(left)
            if not n:
                raise RuntimeError(f"load(): storage {key} is shorter than its tensors")
            left = left[n:]


def _load_old(file, located, unpickler, encoding):
    """What _legacy_save writes."""
    # The storages that the file's bytes go to, and those that tensors get: both until all is read.
    read, dtypes, given = {}, {}, {}

    def storage_of(key, n, dtype, where):
        read[key], dtypes[key] = UntypedStorage(n * dtype.itemsize), dtype
        given[key] = located(read[key], where)
        return given[key]

    def part():
        return unpickler(file, storage_of, encoding).load()

    if part() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file? It is not one of torch.save")
    if (version := part()) != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version}")
    swapped = part().get("little_endian", True) != (sys.byteorder == "little")
    made = part()
    for key in map(_text, part()):
        file.read(8)  # how many elements follow, which the storage has been told
        _fill(read[key], file, key)
        if swapped:
            read[key].byteswap(dtypes[key])
        if given[key] is not read[key] and given[key].device.type == "cpu":
            given[key].copy_(read[key])
    return made


class PyTorchFileReader:
    """The records of a file that torch.save() wrote: its pickle is `data.pkl`, the memory of its tensors `data/0` and on."""

    def __init__(self, file):
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, FileNotFoundError) as error:
            raise RuntimeError(f"PytorchStreamReader failed reading zip archive: {error}") from None
        self._root = self._archive.namelist()[0].partition("/")[0] + "/"

    def get_all_records(self):
        return [name[len(self._root) :] for name in self._archive.namelist()]

    def has_record(self, name):
        return self._root + name in self._archive.namelist()

    def get_record(self, name):
        """The bytes of a record; RuntimeError where there is none of that name."""
        if not self.has_record(name):
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found")
        return self._archive.read(self._root + name)

    def get_storage_from_record(self, name, numel, dtype):
        """A tensor of the numbers in a record."""
        return _C.frombuffer(bytearray(self.get_record(name)), dtype=dtype, count=numel)


def __getattr__(name):
    if name in ("MAP_LOCATION", "FILE_LIKE"):
        from . import _typing

        return getattr(_typing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
