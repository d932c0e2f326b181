"""The memory behind tensors, as an object: torch.storage.

A tensor has one UntypedStorage for as long as somebody holds it, and so have all that share its memory: `is` tells. Its bytes
stay where they are when it is resized within what it once had. Grown beyond that it moves, with the tensor that it was
last asked of: other tensors on the memory stay behind.
"""

import io
import sys
import warnings
from weakref import WeakValueDictionary, ref

from . import _C

_shared = WeakValueDictionary()  # the memory that processes share, by its address
_mapped = WeakValueDictionary()  # the files that memory was mapped from, by its address
_known = WeakValueDictionary()  # the storages that are held, by the address of their memory


def shared_copy(tensor):
    """A copy of the tensor, and of what lies around it, in memory that processes share."""
    from mmap import mmap

    old = tensor.detach()._storage_bytes()
    memory = mmap(-1, max(old.numel(), tensor.itemsize))
    new = _C.frombuffer(memory, dtype=_C.uint8)
    _shared[new.data_ptr()] = memory
    new[: old.numel()].copy_(old)
    return new.view(tensor.dtype).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


class _File:
    """The name of a file whose bytes are some storage's memory."""

    def __init__(self, name, memory):
        self.name, self.memory = name, memory


def _index(i, n):
    if not -n <= i < n:
        raise IndexError(f"index {i} out of range for storage of size {n}")
    return i


def _no_gradients(function):
    """What storages do to memory is in no graph."""

    def method(self, *args, **kwargs):
        was = _C._grad_mode(False)
        try:
            return function(self, *args, **kwargs)
        finally:
            _C._grad_mode(was)

    method.__name__, method.__doc__ = function.__name__, function.__doc__
    return method


class Asked(ref):
    """A storage's reference to a tensor, which is no program's."""


class UntypedStorage:
    """The bytes a tensor lies in: so many, or those of a sequence.

    >>> import hookgrad as torch
    >>> x = torch.arange(3.0)
    >>> x.untyped_storage().nbytes(), x.untyped_storage() is x[1:].untyped_storage()
    (12, True)

    Source: https://docs.pytorch.org/docs/stable/storage.html
    """

    is_cuda = is_hpu = is_sparse = is_sparse_csr = False

    def __init__(self, *args, device=None):
        if len(args) > 1:
            raise TypeError("torch.UntypedStorage() expected one argument: a size, or a sequence of bytes")
        values = args[0] if args else 0
        if isinstance(values, int):
            made = _C.empty(values, dtype=_C.uint8, device=device)
        else:
            for item in values if hasattr(values, "__iter__") else [values]:
                if not isinstance(item, int):
                    raise RuntimeError(
                        f"torch.UntypedStorage(): tried to construct a storage from a sequence ({type(values).__name__}), but one of "
                        f"the items was of type {type(item).__name__} instead of int"
                    )
            made = _C.tensor([item & 255 for item in values], dtype=_C.uint8, device=device)
        self._take(made)

    @classmethod
    def _of(cls, tensor):
        """The storage of a tensor, which is the one it has if somebody holds that."""
        memory = tensor.detach()._storage_bytes()
        storage = _known.get(memory._address())
        if storage is None:
            storage = cls.__new__(cls)
            storage._take(memory)
        storage._asked_of = Asked(tensor)
        return storage

    def _take(self, memory):
        self._tensor, self._asked_of = memory, lambda: None
        _known[memory._address()] = self

    def _whole(self):
        """All of the bytes, as a tensor."""
        return self._tensor._storage_bytes()

    def nbytes(self):
        """How many bytes it has, as size() and len() say too."""
        return self._whole().numel()

    size = __len__ = nbytes

    def element_size(self):
        return 1

    def __sizeof__(self):
        """What sys.getsizeof() counts: the bytes, too."""
        return super().__sizeof__() + self.nbytes()

    def data_ptr(self):
        """Where it begins."""
        if _C._is_hollow(self._tensor):
            raise RuntimeError("Attempted to access the data pointer on an invalid python storage.")
        return self._whole().data_ptr()

    @property
    def _cdata(self):
        return self._whole()._address()

    def tolist(self):
        """Its bytes as a list."""
        return self._whole().tolist()

    def clone(self):
        """A copy of it."""
        return UntypedStorage._of(self._whole().clone())

    @classmethod
    def _new_shared(cls, size, *, device="cpu"):
        return cls(size).share_memory_()

    @classmethod
    def from_buffer(cls, buffer, byte_order=None, *, count=-1, offset=0, dtype=_C.uint8):
        """A copy of a buffer's bytes, `count` elements of a dtype from `offset` on; the order in which they come is "little",
        "big" or "native"."""
        made = _C.frombuffer(bytearray(buffer), dtype=dtype, count=count, offset=offset)
        storage = cls._of(made)
        if byte_order not in (None, "native", sys.byteorder):
            storage.byteswap(dtype)
        return storage

    @classmethod
    def from_file(cls, filename, shared=False, nbytes=0):
        """The bytes of a file; `shared`: what is written goes to the file, which is made as long as is asked for."""
        from mmap import ACCESS_COPY, ACCESS_WRITE, mmap

        if shared:
            with open(filename, "ab") as file:
                file.truncate(max(file.tell(), nbytes))
        with open(filename, "r+b" if shared else "rb") as file:
            memory = mmap(file.fileno(), nbytes, access=ACCESS_WRITE if shared else ACCESS_COPY)
        made = _C.frombuffer(memory, dtype=_C.uint8)
        storage = cls._of(made)
        storage._file = _mapped[made._address()] = _File(filename, memory)
        return storage

    @property
    def filename(self):
        file = _mapped.get(self._cdata)
        return file and file.name

    @_no_gradients
    def __getitem__(self, i):
        if isinstance(i, slice):
            return UntypedStorage._of(self._whole()[i].clone())
        return self._whole()[_index(i, len(self))].item()

    @_no_gradients
    def __setitem__(self, i, value):
        self._whole()[i if isinstance(i, slice) else _index(i, len(self))] = value

    def __iter__(self):
        return iter(self.tolist())

    @_no_gradients
    def copy_(self, source, non_blocking=False):
        """Copy another storage's bytes, which are as many, into it; returns itself."""
        if source.nbytes() != self.nbytes():
            raise RuntimeError(
                f"size does not match, self was {self.nbytes()} bytes but src was {source.nbytes()} bytes"
            )
        self._whole().copy_(source._whole())
        return self

    @_no_gradients
    def fill_(self, value):
        """Make every byte that one; returns itself."""
        self._whole().fill_(value)
        return self

    def resizable(self):
        """Can it be resized? Not where its memory is somebody else's."""
        return self._tensor._storage_resize(self.nbytes())

    def resize_(self, nbytes):
        """Make it so many bytes, in place; returns itself."""
        if not self.resizable():
            raise RuntimeError("Trying to resize storage that is not resizable")
        if not self._tensor._storage_resize(nbytes):
            self._move(nbytes)
        return self

    @_no_gradients
    def _move(self, nbytes):
        old, new, tensor = self._whole(), _C.empty(nbytes, dtype=_C.uint8), self._asked_of()
        new[: old.numel()] = old
        _known.pop(old._address(), None)
        self._take(new)
        if tensor is not None:
            room = new[: nbytes // tensor.itemsize * tensor.itemsize].view(tensor.dtype)
            tensor.data = room.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            self._asked_of = Asked(tensor)

    @_no_gradients
    def byteswap(self, dtype):
        """Turn round the bytes of each element of that dtype."""
        whole = self._whole()
        whole.copy_(whole.view(-1, dtype.itemsize).flip(1).view(-1))

    @property
    def device(self):
        return self._tensor.device

    def get_device(self):
        return -1

    def cpu(self):
        """Itself, which is on the CPU."""
        return self

    def to(self, *, device, non_blocking=False):
        """Itself, or one on the device "meta"."""
        return self if _C.device(device) == self.device else UntypedStorage._of(self._whole().to(device))

    def type(self):
        """What it is called."""
        return "torch.storage.UntypedStorage"

    def is_pinned(self, device="cuda"):
        return False

    def is_shared(self):
        """Do processes forked from now on share it?"""
        return self.data_ptr() in _shared

    def share_memory_(self):
        """Move these bytes into memory that processes forked from now on share; returns itself. Tensors stay where they are."""
        if not self.is_shared():
            self._take(shared_copy(self._whole()))
        return self

    def new(self):
        """One without bytes."""
        return UntypedStorage()

    def untyped(self):
        return self

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        return UntypedStorage._of(copied(self._whole(), memo))

    def __reduce__(self):
        return _untyped_from_bytes, (self._bytes(),)

    def _bytes(self):
        whole = self._whole()
        return bytes(memoryview(whole)) if whole.numel() else b""

    def _write_file(self, f, is_real_file, save_size, element_size):
        if save_size:
            f.write((self.nbytes() // element_size).to_bytes(8, "little"))
        f.write(self._bytes())

    def __repr__(self):
        return _written(self, "UntypedStorage(")


def copied(whole, memo):
    """The one copy that a deepcopy makes of those bytes."""
    key = ("hookgrad storage", whole._address())
    if key not in memo:
        memo[key] = whole.clone()
    return memo[key]


def _written(storage, settings):
    if storage.device.type == "meta":
        values = "..."
    else:
        values = "\n ".join(str(x) for x in storage.tolist())
    return f" {values}\n[torch.storage.{settings}device={storage.device}) of size {storage.size()}]"


def _untyped_from_bytes(b):
    """What a pickle of a storage calls: one with these bytes."""
    return UntypedStorage._of(_C.frombuffer(bytearray(b), dtype=_C.uint8) if b else _C.empty(0, dtype=_C.uint8))


def _load_from_bytes(b):
    """What PyTorch's pickles of storages call: they hold a file of torch.save."""
    from .serialization import load

    return load(io.BytesIO(b), weights_only=False)


_warned = []


def _warn():
    """Say once that typed storages are old."""
    if not _warned:
        _warned.append(True)
        warnings.warn(
            "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. Use "
            "tensor.untyped_storage() instead of tensor.storage()",
            UserWarning,
            stacklevel=3,
        )


def typed(storage, dtype):
    """A storage's bytes as elements of a dtype."""
    made = object.__new__(TypedStorage)
    made._untyped_storage, made.dtype = storage.untyped(), dtype
    return made


def typed_of(tensor):
    """The memory of a tensor, as elements of its dtype."""
    return typed(UntypedStorage._of(tensor), tensor.dtype)


def from_file(filename, shared=None, size=0, *, dtype=None, device=None, requires_grad=False, **options):
    """The first `size` numbers in a file as a tensor; `shared`: what is written to it goes to the file.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.from_file.html
    """
    made = _C.empty(0, dtype=dtype, device=device)
    made.set_(UntypedStorage.from_file(filename, bool(shared), size * made.itemsize), 0, (size,))
    return made.requires_grad_(requires_grad)


class TypedStorage:
    """The same bytes as elements of a dtype: of so many, of a sequence's, or of an UntypedStorage.

    >>> import hookgrad as torch
    >>> torch.TypedStorage([1, 2], dtype=torch.int16).tolist()
    [1, 2]

    Source: https://docs.pytorch.org/docs/stable/storage.html#torch.TypedStorage
    """

    is_cuda = is_hpu = is_sparse = False

    def __new__(cls, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        if not _internal:
            _warn()
        if wrap_storage is None:
            if len(args) > 1:
                raise _wrong_arguments(cls, "Too many positional arguments")
            if not isinstance(dtype, (_C.dtype, type(None))):
                raise RuntimeError(f"expected torch.dtype, but got {type(dtype)}")
            values = args[0] if args else 0
            dtype = _C.get_default_dtype() if dtype is None else dtype
            made = _C.empty(values, dtype=dtype) if isinstance(values, int) else _C.tensor(values, dtype=dtype)
            return typed_of(made)
        if args:
            raise _wrong_arguments(cls, "No positional arguments should be given when using 'wrap_storage'")
        if dtype is None:
            raise RuntimeError("When passing `wrap_storage`, expected `dtype` to be passed as well")
        if not isinstance(wrap_storage, UntypedStorage):
            raise TypeError(f"Argument 'wrap_storage' must be UntypedStorage, but got {type(wrap_storage)}")
        return typed(wrap_storage, dtype)

    def untyped(self):
        """The bytes."""
        return self._untyped_storage

    def _whole(self):
        return self._untyped_storage._whole()

    def _elements(self):
        whole = self._whole()
        return whole[: len(whole) // self.dtype.itemsize * self.dtype.itemsize].view(self.dtype)

    @property
    def _cdata(self):
        return self._untyped_storage._cdata

    def nbytes(self):
        return self._untyped_storage.nbytes()

    def size(self):
        """How many elements it has, as len() says too."""
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def element_size(self):
        return self.dtype.itemsize

    def tolist(self):
        """Its elements as a list."""
        return self._elements().tolist()

    def __iter__(self):
        return iter(self.tolist())

    @_no_gradients
    def __getitem__(self, i):
        if isinstance(i, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return self._elements()[_index(i, self.size())].item()

    @_no_gradients
    def __setitem__(self, i, value):
        self._elements()[i if isinstance(i, slice) else _index(i, self.size())] = value

    @_no_gradients
    def copy_(self, source, non_blocking=None):
        """Copy another storage's elements, which are as many bytes, into it; returns itself."""
        self._untyped_storage.copy_(source.untyped())
        return self

    @_no_gradients
    def fill_(self, value):
        """Make every element that one; returns itself."""
        self._elements().fill_(value)
        return self

    def resize_(self, size):
        """Make it so many elements, in place."""
        self._untyped_storage.resize_(size * self.dtype.itemsize)

    def clone(self):
        """A copy of it."""
        return typed(self._untyped_storage.clone(), self.dtype)

    def _to(self, dtype):
        return typed_of(self._elements().to(dtype, copy=True))

    def type(self, dtype=None, non_blocking=False):
        """What it is called, or its elements as another dtype's, which may be named so."""
        if dtype is None:
            return f"torch.{self.pickle_storage_type()}"
        if isinstance(dtype, str):
            dtype = next(d for d, kind in legacy_storages.items() if dtype == f"torch.{kind.__name__}")
        return self if dtype == self.dtype else self._to(dtype)

    def pickle_storage_type(self):
        """The class that files name for it."""
        return legacy_storages[self.dtype].__name__

    @classmethod
    def _dtype_of(cls):
        dtype = getattr(cls, "dtype", None)
        if dtype is None:
            raise RuntimeError(
                "from_buffer and from_file are called on the class of a dtype, such as torch.FloatStorage"
            )
        return dtype

    @classmethod
    def from_buffer(cls, *args, dtype=None, device=None, **kwargs):
        """A copy of a buffer's bytes: UntypedStorage.from_buffer, for a dtype."""
        dtype = cls._dtype_of() if dtype is None else dtype
        return typed(UntypedStorage.from_buffer(*args, dtype=dtype, **kwargs), dtype)

    @classmethod
    def from_file(cls, filename, shared=False, size=0):
        """The bytes of a file as so many elements: UntypedStorage.from_file, for a dtype."""
        dtype = cls._dtype_of()
        return typed(UntypedStorage.from_file(filename, shared, size * dtype.itemsize), dtype)

    def cpu(self):
        return self

    def share_memory_(self):
        """UntypedStorage.share_memory_; returns itself."""
        self._untyped_storage.share_memory_()
        return self

    def new(self):
        """One of the same dtype, without elements."""
        return TypedStorage(dtype=self.dtype)

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        return typed(self._untyped_storage.__deepcopy__(memo), self.dtype)

    def __reduce__(self):
        return typed, (self._untyped_storage, self.dtype)

    def __repr__(self):
        return _written(self, f"TypedStorage(dtype={self.dtype}, ")


def _same(name):
    """What a typed storage answers as its bytes do."""

    def ask(self, *args, **kwargs):
        return getattr(self._untyped_storage, name)(*args, **kwargs)

    return ask


for _name in ("data_ptr", "is_shared", "is_pinned", "resizable", "get_device", "_write_file"):
    setattr(TypedStorage, _name, _same(_name))
for _name in ("device", "filename"):
    setattr(TypedStorage, _name, property(lambda self, name=_name: getattr(self._untyped_storage, name)))


def _cast(dtype):
    def cast(self):
        if isinstance(self, UntypedStorage):
            return typed_of(self._whole().to(dtype, copy=True))
        return self._to(dtype)

    cast.__doc__ = f"Its elements as {dtype}."
    return cast


_NAMES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
for _name, _dtype in _NAMES.items():
    setattr(TypedStorage, _name.lower(), _cast(getattr(_C, _dtype)))
    setattr(UntypedStorage, _name.lower(), _cast(getattr(_C, _dtype)))


def _wrong_arguments(cls, why):
    return RuntimeError(
        f"{cls}.__new__ received an invalid combination of arguments, which are none, a size, a sequence, or an UntypedStorage as "
        f"wrap_storage. {why}"
    )


class _Legacy(type):
    """Of torch.FloatStorage and its kin: constructors of a TypedStorage of their dtype, and types for isinstance()."""

    def __instancecheck__(cls, instance):
        return type(instance) is TypedStorage and instance.dtype == cls.dtype


def _of_dtype(name, dtype):
    def new(cls, *args, wrap_storage=None, **kwargs):
        for wrong in kwargs:
            raise _wrong_arguments(cls, f"Keyword argument {wrong!r} cannot be specified")
        if len(args) > 1:
            raise _wrong_arguments(cls, "Too many positional arguments")
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=dtype)

    doc = f"Memory of {dtype}: of so many elements, or of a sequence's."
    return _Legacy(name, (TypedStorage,), {"__new__": new, "__doc__": doc, "__module__": "hookgrad", "dtype": dtype})


# What files call the memory of each dtype: torch.FloatStorage and so on.
legacy_storages = {
    getattr(_C, dtype): _of_dtype(name + "Storage", getattr(_C, dtype)) for name, dtype in _NAMES.items()
}
globals().update({kind.__name__: kind for kind in legacy_storages.values()})
Storage = FloatStorage  # noqa: F821
