"""Memory and values in and out: NumPy, buffers, DLPack, pickles, copies, files."""

import array
import collections
import copy
import gc
import io
import pickle
import pickletools
import sys
import weakref
import zipfile

import pytest

import hookgrad as torch

np = pytest.importorskip("numpy")

NUMPY_DTYPES = ["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"]
DTYPES = [*NUMPY_DTYPES, "bfloat16"]


# ---- NumPy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_numpy_round_trip_shares_memory(name):
    t = torch.tensor([[0, 1], [1, 0]]).to(getattr(torch, name))
    a = t.numpy()
    assert a.dtype == np.dtype(name) and a.tolist() == t.tolist() and a.ctypes.data == t.data_ptr()
    back = torch.from_numpy(a)
    assert back.dtype is t.dtype and back.data_ptr() == t.data_ptr()
    a[0, 0] = 1
    assert t[0, 0].item() == back[0, 0].item() == 1


def test_arrays_and_tensors_keep_each_other_alive():
    a = torch.arange(1000).numpy()
    gc.collect()
    assert a.sum() == 499500
    t = torch.from_numpy(np.arange(1000))
    gc.collect()
    assert t.sum().item() == 499500
    owner = np.zeros(3)
    ref, before = weakref.ref(owner), sys.getrefcount(owner)
    t = torch.from_numpy(owner)
    assert sys.getrefcount(owner) == before + 1
    del owner
    assert ref() is not None
    del t
    assert ref() is None


def test_strides_travel():
    a = np.arange(12).reshape(3, 4)[:, ::2].T
    t = torch.from_numpy(a)
    assert t.stride() == (2, 4) and t.tolist() == a.tolist()
    assert torch.arange(6).reshape(2, 3).T.numpy().strides == (8, 24)
    assert torch.tensor(3).numpy().shape == () and torch.ones(0, 2).numpy().shape == (0, 2)
    assert torch.from_numpy(np.ones((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: [1], TypeError, r"expected np.ndarray \(got list\)"),
        (lambda: np.ones(2)[::-1], ValueError, "stride in the given numpy array is negative"),
        (lambda: np.array(["a"]), TypeError, "can't convert np.ndarray of type numpy.str_"),
        (lambda: np.ones(2, dtype=">f4"), ValueError, "byte order different from the native"),
        (
            lambda: np.zeros(2, dtype=[("a", "i1"), ("b", "i4")])["b"],
            ValueError,
            "not a multiple of the element byte size",
        ),
        (lambda: np.ones(2, dtype=complex), TypeError, "can't convert np.ndarray"),
    ],
)
def test_arrays_that_cannot_be_shared(make, error, words):
    with pytest.raises(error, match=words):
        torch.from_numpy(make())


def test_read_only_arrays_are_shared_with_a_warning():
    a = np.ones(2)
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(a)


def test_numpy_refuses_history_and_bfloat16():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Can't call numpy.. on Tensor that requires grad"):
        x.numpy()
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(x)
    assert x.numpy(force=True).tolist() == x.detach().numpy().tolist() == [1.0, 1.0]
    with pytest.raises(TypeError, match="BFloat16"):
        torch.ones(2).bfloat16().numpy()


def test_numpy_functions_take_tensors():
    t = torch.tensor([1.0, 2.0])
    assert np.asarray(t).dtype == np.float32 and np.array(t, dtype=np.int64).tolist() == [1, 2]
    assert isinstance(np.sin(t), torch.Tensor)
    assert np.sum(np.asarray(t)) == 3.0 and np.stack([t, t]).shape == (2, 2)


def test_numpy_scalars_and_arrays_are_operands():
    t = torch.tensor([1.0, 2.0])
    for two in (np.float32(2), np.float64(2), np.int64(2), np.uint8(2)):
        assert (t * two).tolist() == (two * t).tolist() == [2.0, 4.0]
        assert (t * two).dtype is torch.float32
    assert (t + np.ones(2)).dtype is torch.float64
    assert torch.tensor([1, 2])[np.bool_(True)].shape == (1, 2)
    assert torch.full((2,), np.float32(3)).tolist() == [3.0, 3.0]
    assert torch.zeros(np.int64(2)).shape == (2,)


def test_dtypes_of_data_from_numpy():
    assert torch.tensor(np.float64(1.5)).dtype is torch.float64
    assert torch.tensor([np.float32(1.5)]).dtype is torch.float32
    assert torch.tensor(np.int32(1)).dtype is torch.int32
    assert torch.tensor([np.ones(2), np.ones(2)]).shape == (2, 2)
    a = np.ones(2)
    assert torch.as_tensor(a).data_ptr() == a.ctypes.data != torch.tensor(a).data_ptr()
    assert torch.as_tensor(a, dtype=torch.float32).dtype is torch.float32


def test_what_merely_pretends_to_be_an_array():
    class Liar:
        __array_interface__ = {"shape": (3,), "typestr": "<f4", "version": 3, "data": "nothing"}

    class Failing:
        def __array__(self, *args, **kwargs):
            raise KeyError("no array after all")

    class Honest:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

    with pytest.raises((TypeError, ValueError)):
        torch.tensor(Liar())
    with pytest.raises(KeyError, match="no array after all"):
        torch.as_tensor(Failing())
    assert torch.tensor(Honest()).tolist() == [0, 1, 2]


# ---- Buffers -------------------------------------------------------------------------------------------------------


def test_buffers_out():
    view = memoryview(torch.arange(6).reshape(2, 3))
    assert (view.shape, view.strides, view.format, view.tolist()) == ((2, 3), (24, 8), "l", [[0, 1, 2], [3, 4, 5]])
    assert memoryview(torch.arange(6).reshape(2, 3).T).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert bytes(torch.tensor([1, 2], dtype=torch.uint8)) == b"\x01\x02"
    t = torch.zeros(2)
    memoryview(t)[0] = 5.0
    assert t.tolist() == [5.0, 0.0]
    with pytest.raises(BufferError, match="requires grad"):
        memoryview(torch.ones(1, requires_grad=True))
    with pytest.raises(BufferError, match="no buffer format for torch.bfloat16"):
        memoryview(torch.ones(1).bfloat16())


def test_a_buffer_keeps_the_memory_when_the_tensor_moves_on():
    t = torch.ones(1000)
    view = memoryview(t)
    t.data = torch.zeros(3)
    del t
    gc.collect()
    assert sum(view.tolist()) == 1000


def test_buffers_in():
    memory = bytearray(b"\x01\x02\x03\x04")
    t = torch.frombuffer(memory, dtype=torch.uint8, count=2, offset=1)
    assert t.tolist() == [2, 3]
    memory[1] = 9
    assert t.tolist() == [9, 3]
    with pytest.raises(BufferError):
        memory.extend(b"x")  # the tensor holds it
    del t
    memory.extend(b"x")
    assert torch.asarray(array.array("f", [1.0, 2.0]), dtype=torch.float32).tolist() == [1.0, 2.0]
    with pytest.warns(UserWarning, match="not writable"):
        assert torch.frombuffer(b"\x05", dtype=torch.int8).tolist() == [5]


@pytest.mark.parametrize(
    "args, words",
    [
        (
            (bytearray(7), -1, 0),
            r"buffer length \(7 bytes\) after offset \(0 bytes\) must be a multiple of element size \(4\)",
        ),
        ((bytearray(8), 5, 0), r"requested buffer length \(5 \* 4 bytes\)"),
        (
            (bytearray(8), -1, 8),
            r"offset \(8 bytes\) must be non-negative and no greater than buffer length \(8 bytes\)",
        ),
        ((bytearray(0), -1, 0), "must not be 0"),
        ((3, -1, 0), "does not implement Python buffer protocol"),
    ],
)
def test_buffers_that_do_not_fit(args, words):
    buffer, count, offset = args
    with pytest.raises(ValueError, match=words):
        torch.frombuffer(buffer, dtype=torch.float32, count=count, offset=offset)


# ---- DLPack --------------------------------------------------------------------------------------------------------


def test_dlpack_shares_memory():
    t = torch.arange(6.0).reshape(2, 3).T
    for same in (torch.from_dlpack(t), torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(t))):
        assert same.data_ptr() == t.data_ptr() and same.stride() == t.stride() and same.tolist() == t.tolist()
    a = np.from_dlpack(t)
    assert a.ctypes.data == t.data_ptr() and a.tolist() == t.tolist()
    b = np.arange(3)
    assert torch.from_dlpack(b).data_ptr() == b.ctypes.data
    assert t.__dlpack_device__() == (1, 0)
    assert torch.from_dlpack(t, copy=True).data_ptr() != t.data_ptr()


def test_dlpack_capsules_are_used_once_or_dropped():
    t = torch.ones(2)
    capsule = t.__dlpack__()
    torch.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="consumed only once"):
        torch.from_dlpack(capsule)
    t.__dlpack__(max_version=(1, 0))  # never consumed
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(1, requires_grad=True).__dlpack__()


# ---- Pickles and copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_pickle_round_trip(name):
    whole = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, name))
    for t in (whole, whole.T, whole[:, :0], whole[0, 0]):
        for protocol in (2, 4, pickle.HIGHEST_PROTOCOL):
            back = pickle.loads(pickle.dumps(t, protocol))
            assert back.dtype is t.dtype and back.stride() == t.stride() and torch.equal(back, t)


def test_a_copy_or_pickle_of_a_tensor_has_none_of_its_hooks(recwarn):
    tensor, parameter = torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2))
    for owner in (tensor, parameter):
        owner.register_hook(print)
    for copied in (copy.copy, lambda t: pickle.loads(pickle.dumps(t))):
        with pytest.warns(UserWarning, match="backward hook .* on tensor will not be serialized"):
            assert not copied(tensor)._backward_hooks
        recwarn.clear()
        assert not copied(parameter)._backward_hooks
        assert not recwarn.list
    assert pickle.loads(pickle.dumps(torch.ones(2)))._backward_hooks == {}


def test_pickle_keeps_what_belongs_to_a_tensor():
    class_ = torch.nn.Parameter(torch.ones(2))
    class_.note = 3
    back = pickle.loads(pickle.dumps(class_))
    assert type(back) is torch.nn.Parameter and back.requires_grad and back.note == 3
    x = torch.ones(2, requires_grad=True)
    assert pickle.loads(pickle.dumps(x)).requires_grad
    inner = pickle.loads(pickle.dumps(x * 2))
    assert inner.is_leaf and inner.requires_grad and inner.tolist() == [2.0, 2.0]
    x.register_hook(print)
    with pytest.warns(UserWarning, match="backward hook <built-in function print> on tensor will not be serialized"):
        pickle.dumps(x)


@pytest.mark.parametrize("thing", [torch.float32, torch.device("cpu", 0), torch.Size([2]), torch.relu, torch.strided])
def test_constants_and_functions_pickle_and_copy(thing):
    assert pickle.loads(pickle.dumps(thing)) == thing and copy.deepcopy(thing) == thing


def test_named_results():
    got = torch.tensor([[1.0, 3.0], [5.0, 2.0]]).max(dim=1)
    values, indices = got
    assert got.values is values is got[0] and got.indices is indices
    assert repr(got) == "torch.return_types.max(\nvalues=tensor([3., 5.]),\nindices=tensor([1, 0]))"
    assert type(got) is torch.return_types.max and isinstance(got, tuple)
    assert torch.equal(pickle.loads(pickle.dumps(got)).values, values)


def test_deepcopy():
    x = torch.ones(2, requires_grad=True)
    x.grad = torch.zeros(2)
    x.note = [1]
    y = copy.deepcopy(x)
    assert y.requires_grad and y.grad is not x.grad and y.note == [1] and y.note is not x.note
    y.data.add_(1)
    assert x.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


def test_deepcopy_keeps_views_together():
    a = torch.zeros(4)
    a2, part = copy.deepcopy((a, a[1:3]))
    a2[1] = 7
    assert part.tolist() == [7.0, 0.0] and a.tolist() == [0.0] * 4


def test_shallow_copy_shares_memory():
    x = torch.ones(2, requires_grad=True)
    y = copy.copy(x)
    assert y is not x and y.data_ptr() == x.data_ptr() and y.requires_grad and y.is_leaf


# ---- Files ---------------------------------------------------------------------------------------------------------


def test_save_and_load(tmp_path):
    state = {"w": torch.ones(2), "p": torch.nn.Parameter(torch.zeros(1)), "n": [1, 2.5, "three", None, (True,)]}
    torch.save(state, tmp_path / "state.pt")
    back = torch.load(tmp_path / "state.pt", map_location="cpu")
    assert torch.equal(back["w"], state["w"]) and type(back["p"]) is torch.nn.Parameter and back["n"] == state["n"]
    file = io.BytesIO()
    torch.save(torch.arange(3), file)
    file.seek(0)
    assert torch.load(file).tolist() == [0, 1, 2]
    for junk, error in (
        (b"something else entirely", pickle.UnpicklingError),
        (b"", EOFError),
        (pickle.dumps(3), RuntimeError),
    ):
        with pytest.raises(error):
            torch.load(io.BytesIO(junk))


def test_files_are_archives_as_pytorch_has_them(tmp_path):
    shared = torch.arange(4.0)
    torch.save({"a": shared, "b": shared[2:], "n": torch.ones(1, dtype=torch.bfloat16)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as archive:
        assert set(archive.namelist()) == {
            f"model/{name}" for name in ("data.pkl", "byteorder", "version", "data/0", "data/1")
        }
        assert archive.read("model/version") == b"3\n" and len(archive.read("model/data/0")) == 16
        named = [
            arg for opcode, arg, _ in pickletools.genops(archive.read("model/data.pkl")) if opcode.name == "GLOBAL"
        ]
    assert named == [
        "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "collections OrderedDict", "torch BFloat16Storage",
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="no data.pkl"):
        other = io.BytesIO()
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("x", "y")
        torch.load(io.BytesIO(other.getvalue()))
    short = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "model.pt") as archive, zipfile.ZipFile(short, "w") as written:
        for name in archive.namelist():
            written.writestr(name, archive.read(name)[: 8 if name == "model/data/0" else None])
    with pytest.raises(RuntimeError, match="storage 0 is shorter"):
        torch.load(io.BytesIO(short.getvalue()))


def test_load_reads_files_from_before_archives():
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "key", "cpu", 4, None) if obj == "the storage" else None

    class Rebuilt:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, ("the storage", 1, (2,), (1,), False, collections.OrderedDict())

    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(part, file, protocol=2)
    Pickler(file, protocol=2).dump({"w": Rebuilt()})
    pickle.dump(["key"], file, protocol=2)
    file.write((4).to_bytes(8, "little") + np.arange(4, dtype=np.float32).tobytes())
    file.seek(0)
    assert torch.load(file)["w"].tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="shorter"):
        torch.load(io.BytesIO(file.getvalue()[:-4]))


class Custom:
    pass


def test_load_builds_no_strangers():
    file = io.BytesIO()
    torch.save(Custom(), file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(file)
    file.seek(0)
    assert isinstance(torch.load(file, weights_only=False), Custom)


def test_tensors_that_share_memory_do_so_again_after_load():
    numbers = torch.arange(1, 10)
    file = io.BytesIO()
    torch.save({"all": numbers, "even": numbers[1::2], "parameter": torch.nn.Parameter(torch.ones(2))}, file)
    file.seek(0)
    loaded = torch.load(file)
    loaded["even"].mul_(2)
    assert loaded["all"].tolist() == [1, 4, 3, 8, 5, 12, 7, 16, 9] and not loaded["even"]._is_view()
    assert isinstance(loaded["parameter"], torch.nn.Parameter)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_tensor_takes_an_array_for_data(dtype):
    for shape in ((3,), (1,), (0,), (2, 1, 3)):
        array = np.ones(shape, dtype=dtype)
        made = torch.Tensor(array)
        assert made.shape == shape and made.dtype == torch.float32 and made.tolist() == array.astype("float32").tolist()
    assert torch.Tensor(np.int64(3)).shape == torch.Tensor(np.array(3)).shape == (3,)


def test_to_dlpack_is_a_function_of_torch_too():
    assert torch.from_dlpack(torch.to_dlpack(torch.ones(2))).tolist() == [1, 1]


def test_float32_and_float16_become_one_another_as_in_numpy():
    """Every half, and floats of every size, infinite and subnormal: in blocks, and what is left of them."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    floats = np.random.default_rng(0).integers(0, 2**32, 100_003, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        for n in (2**16, 8 * 1000 + 3, 5):
            assert np.array_equal(
                torch.tensor(halves[:n]).float().numpy(), halves[:n].astype(np.float32), equal_nan=True
            )
        for x in (floats, floats[:7], floats[::3]):
            assert np.array_equal(torch.tensor(x).half().numpy(), x.astype(np.float16), equal_nan=True)
