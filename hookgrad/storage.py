"""The memory behind tensors, as an object: as much of torch.storage as programs ask of it."""

from weakref import WeakValueDictionary

from . import _C

_shared = WeakValueDictionary()  # the memory that processes share, by its address


def shared_copy(tensor):
    """A copy of the tensor, and of what lies around it, in memory that processes share."""
    from mmap import mmap

    old = tensor.detach()._storage_bytes()
    memory = mmap(-1, max(old.numel(), tensor.itemsize))
    new = _C.frombuffer(memory, dtype=_C.uint8)
    _shared[new.data_ptr()] = memory
    new[: old.numel()].copy_(old)
    return new.view(tensor.dtype).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


class UntypedStorage:
    """The bytes a tensor lies in."""

    def __init__(self, tensor=0):
        if not isinstance(tensor, _C.Tensor):
            tensor = _C.empty(tensor, dtype=_C.uint8)
        self._tensor = tensor._storage_bytes()

    def _whole(self):
        """All of the bytes, as a tensor."""
        return self._tensor._storage_bytes()

    def _key(self):
        whole = self._whole()
        return whole._address(), whole.numel()

    def nbytes(self):
        return self._whole().numel()

    size = __len__ = nbytes

    def data_ptr(self):
        if _C._is_hollow(self._tensor):
            raise RuntimeError("Attempted to access the data pointer on an invalid python storage.")
        return self._whole().data_ptr()

    @property
    def _cdata(self):
        return self._whole()._address()

    def tolist(self):
        return self._whole().tolist()

    def clone(self):
        return UntypedStorage(self._whole().clone())

    def __getitem__(self, i):
        got = self._whole()[i]
        return UntypedStorage(got) if isinstance(i, slice) else got.item()

    def __setitem__(self, i, value):
        self._whole()[i] = value

    def __iter__(self):
        return iter(self.tolist())

    def __eq__(self, other):
        return isinstance(other, UntypedStorage) and self._key() == other._key()

    __hash__ = None

    @property
    def device(self):
        return self._tensor.device

    def is_shared(self):
        return self.data_ptr() in _shared

    def share_memory_(self):
        """Move these bytes into memory that processes forked from now on share; returns itself. Tensors stay where they are."""
        if not self.is_shared():
            self._tensor = shared_copy(self._whole())
        return self

    def untyped(self):
        return self

    def __reduce__(self):
        return _load_from_bytes, (self._bytes(),)

    def _bytes(self):
        whole = self._whole()
        return bytes(memoryview(whole)) if whole.numel() else b""

    def __repr__(self):
        bytes_ = "\n ".join(str(b) for b in self.tolist())
        return f" {bytes_}\n[torch.storage.UntypedStorage(device=cpu) of size {self.nbytes()}]"


def _load_from_bytes(b):
    """What a pickle of a storage calls: one with these bytes."""
    return UntypedStorage(_C.frombuffer(bytearray(b), dtype=_C.uint8) if b else 0)


def _typed(storage, dtype):
    typed = TypedStorage(storage._whole())
    typed.dtype = dtype
    return typed


class TypedStorage(UntypedStorage):
    """The same bytes as elements of a dtype."""

    def __init__(self, tensor):
        super().__init__(tensor)
        self.dtype = tensor.dtype

    def _elements(self):
        return self._whole().view(self.dtype)

    def size(self):
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def tolist(self):
        return self._elements().tolist()

    def untyped(self):
        return UntypedStorage(self._tensor)

    @property
    def _untyped_storage(self):
        return self.untyped()

    def __reduce__(self):
        return _typed, (self.untyped(), self.dtype)

    def element_size(self):
        return self.dtype.itemsize

    def __getitem__(self, i):
        return self._elements()[i].item()

    def __setitem__(self, i, value):
        self._elements()[i] = value

    def __repr__(self):
        values = "\n ".join(str(x) for x in self.tolist())
        return f" {values}\n[torch.storage.TypedStorage(dtype={self.dtype}, device=cpu) of size {self.size()}]"


def _of_dtype(name, dtype):
    def __init__(self, values=0):
        if not isinstance(values, _C.Tensor):
            values = _C.empty(values, dtype=dtype) if isinstance(values, int) else _C.tensor(values, dtype=dtype)
        TypedStorage.__init__(self, values)

    doc = f"Memory of {dtype}: of so many elements, or of a list's."
    return type(name, (TypedStorage,), {"__init__": __init__, "__doc__": doc, "__module__": "hookgrad", "dtype": dtype})


# What files call the memory of each dtype: torch.FloatStorage and so on.
legacy_storages = {
    getattr(_C, dtype): _of_dtype(name + "Storage", getattr(_C, dtype))
    for name, dtype in {
        "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
        "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    }.items()
}  # fmt: skip
globals().update({kind.__name__: kind for kind in legacy_storages.values()})
