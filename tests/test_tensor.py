"""Tensors as Python objects: attributes, operators, conversion to numbers, life and identity."""

import gc
import weakref

import pytest

import hookgrad as torch


@pytest.fixture
def x():
    return torch.arange(6.0).reshape(2, 3).clone()


# ---- What it is ----------------------------------------------------------------------------------------------------


def test_attributes(x):
    assert x.shape == (2, 3) and repr(x.shape) == "torch.Size([2, 3])"
    assert (x.dtype, x.device, x.layout) == (torch.float32, torch.device("cpu"), torch.strided)
    assert torch.sparse_coo != x.layout != torch.jagged and repr(torch.sparse_csr) == "torch.sparse_csr"
    assert (x.ndim, x.dim(), x.numel(), x.nelement(), len(x)) == (2, 2, 6, 6, 2)
    assert (x.itemsize, x.element_size(), x.nbytes) == (4, 4, 24)
    assert (x.stride(), x.stride(1), x.stride(-2)) == ((3, 1), 1, 3)
    assert (x.size(), x.size(0), x.size(dim=-1)) == ((2, 3), 2, 3)
    assert x.is_leaf and not x.requires_grad and x.grad is None and x.grad_fn is None
    assert not (x.is_cuda or x.is_sparse or x.is_quantized or x.is_meta)
    assert (x._version, x.output_nr, x.retains_grad) == (0, 0, False)


def test_shape_is_a_size_that_stays_one():
    size = torch.Size([2, 3, 4])
    assert isinstance(size, tuple) and size.numel() == 24
    for same in (size[1:], size + (5,), (5,) + size, size * 2, torch.Size(size)):
        assert type(same) is torch.Size
    assert type(size[0]) is int
    assert repr(size[:2]) == "torch.Size([2, 3])"
    with pytest.raises(TypeError, match=r"takes an iterable of 'int' \(item 1 is 'float'\)"):
        torch.Size([1, 2.5])


def test_dtypes_tell_about_themselves():
    assert repr(torch.float32) == "torch.float32"
    assert torch.float is torch.float32 and torch.long is torch.int64
    assert torch.bfloat16.is_floating_point and not torch.int8.is_floating_point
    assert (torch.float64.itemsize, torch.bool.itemsize) == (8, 1)
    assert not torch.uint8.is_signed
    with pytest.raises(TypeError, match="cannot create"):
        torch.dtype()


def test_devices_are_the_cpu_or_refused():
    cpu = torch.device("cpu")
    assert (repr(cpu), str(cpu), cpu.type, cpu.index) == ("device(type='cpu')", "cpu", "cpu", None)
    assert repr(torch.device("cpu", 0)) == "device(type='cpu', index=0)"
    assert torch.device("cpu:0") != cpu and hash(torch.device("cpu")) == hash(cpu)
    assert torch.ones(1).to("cpu").device == cpu
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        torch.ones(1).to("cuda")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.zeros(1, device="tpu")


def test_finfo_and_iinfo():
    assert torch.finfo(torch.float32).eps == 2.0**-23
    assert torch.finfo(torch.float64).max == 1.7976931348623157e308
    assert repr(torch.iinfo(torch.int8)) == "iinfo(min=-128, max=127, dtype=int8)"
    with pytest.raises(TypeError, match="requires a floating point input type"):
        torch.finfo(torch.int8)


# ---- Making them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, dtype",
    [
        (1, torch.int64), (1.5, torch.float32), (True, torch.bool), ([1, 2.5, True], torch.float32),
        ([True, 1], torch.int64), ([], torch.float32), ([[], []], torch.float32), (range(3), torch.int64),
    ],
)  # fmt: skip
def test_tensor_infers_its_dtype(data, dtype):
    assert torch.tensor(data).dtype is dtype


def test_tensor_takes_nested_sequences_and_a_dtype():
    assert torch.tensor([[1, 2], (3, 4)], dtype=torch.float16).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert torch.tensor([1.5, -1.5], dtype=torch.int64).tolist() == [1, -1]
    assert torch.tensor([torch.ones(1), torch.tensor(2.0)]).tolist() == [1.0, 2.0]
    assert torch.tensor([[], []]).shape == (2, 0)
    assert torch.tensor([1.0], requires_grad=True).requires_grad


def test_tensor_of_a_tensor_is_a_copy_and_says_so(x):
    with pytest.warns(UserWarning, match="recommended to use sourceTensor.detach"):
        y = torch.tensor(x)
    y[0] = 9
    assert x[0, 0] == 0


def test_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.tensor(1.5).dtype is torch.ones(1).dtype is torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError, match="only floating-point types"):
        torch.set_default_dtype(torch.int32)


def test_the_old_way_to_set_the_default_dtype():
    try:
        for old in (torch.DoubleTensor, "torch.DoubleTensor"):
            with pytest.warns(UserWarning, match="deprecated as of PyTorch 2.1"):
                torch.set_default_tensor_type(old)
            assert torch.ones(1).dtype is torch.float64
            torch.set_default_dtype(torch.float32)
    finally:
        torch.set_default_dtype(torch.float32)
    for wrong in (torch.IntTensor, int):
        with pytest.warns(UserWarning), pytest.raises(TypeError, match="only floating-point types"):
            torch.set_default_tensor_type(wrong)


def test_the_old_constructor():
    assert torch.Tensor(2, 3).shape == torch.Tensor(torch.Size([2, 3])).shape == (2, 3)
    assert torch.Tensor([2, 3]).tolist() == [2.0, 3.0]
    assert torch.Tensor().shape == (0,)
    assert torch.LongTensor([1, 2]).dtype is torch.int64
    assert isinstance(torch.ones(1), torch.FloatTensor) and not isinstance(torch.ones(1), torch.LongTensor)


def test_new_functions_keep_the_dtype():
    t = torch.ones(1, dtype=torch.float64)
    for made in (t.new_zeros(2), t.new_ones((2,)), t.new_full([2], 3), t.new_empty(2), t.new_tensor([1, 2]), t.new(2)):
        assert made.dtype is torch.float64 and made.shape == (2,)
    assert t.new_zeros(2, 3, dtype=torch.int32).dtype is torch.int32


# ---- Operators -----------------------------------------------------------------------------------------------------


def test_operators_with_numbers_on_either_side():
    t = torch.tensor([1.0, 4.0])
    assert (t + 1).tolist() == (1 + t).tolist() == [2.0, 5.0]
    assert (t - 1).tolist() == [0.0, 3.0] and (1 - t).tolist() == [0.0, -3.0]
    assert (t / 2).tolist() == [0.5, 2.0] and (2 / t).tolist() == [2.0, 0.5]
    assert (t**2).tolist() == [1.0, 16.0] and (2**t).tolist() == [2.0, 16.0]
    assert (t // 3).tolist() == [0.0, 1.0] and (9 // t).tolist() == [9.0, 2.0]
    assert (t % 3).tolist() == [1.0, 1.0] and (9 % t).tolist() == [0.0, 1.0]
    assert (-t).tolist() == [-1.0, -4.0] and abs(-t).tolist() == t.tolist()
    assert (t @ t).item() == 17.0
    i = torch.tensor([6, 5])
    assert ((i & 3).tolist(), (i | 1).tolist(), (i ^ 1).tolist()) == ([2, 1], [7, 5], [7, 4])
    assert ((i << 1).tolist(), (i >> 1).tolist(), (1 << torch.tensor(3)).item()) == ([12, 10], [3, 2], 8)
    assert (~torch.tensor([True, False])).tolist() == [False, True]


def test_in_place_operators_keep_the_object():
    t = same = torch.tensor([6.0, 7.0])
    t += 1
    t -= 2
    t *= 2
    t /= 5
    t **= 2
    t //= 1
    t %= 3
    assert t is same and t.tolist() == [1.0, 2.0] and t._version == 7


def test_comparisons():
    t = torch.tensor([1, 2])
    assert (t < 2).tolist() == [True, False] and (2 >= t).tolist() == [True, True]
    assert (t == t).all() and (t != 1).tolist() == [False, True]
    assert (t == None) is False and (t != "a") is True  # noqa: E711
    with pytest.raises(TypeError, match="'<' not supported between instances of 'Tensor' and 'str'"):
        t < "a"  # noqa: B015


@pytest.mark.parametrize("other", ["a", None, [1, 2], object()])
def test_operators_refuse_what_is_no_number(other):
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for -: 'Tensor' and"):
        torch.ones(2) - other
    with pytest.raises(TypeError, match="unsupported operand"):
        other @ torch.ones(2)


# ---- As Python values ----------------------------------------------------------------------------------------------


def test_conversion_to_numbers():
    assert (int(torch.tensor(3.7)), float(torch.tensor([2])), bool(torch.tensor([[0]]))) == (3, 2.0, False)
    assert complex(torch.tensor(1.0)) == 1 + 0j
    assert type(torch.tensor(True).item()) is bool and type(torch.tensor(1).item()) is int
    assert [10, 20, 30][torch.tensor(1)] == 20
    assert f"{torch.tensor(1.5):.3f} {torch.tensor(2)}" == "1.500 2"


@pytest.mark.parametrize(
    "convert, error, words",
    [
        (int, ValueError, "only one element tensors can be converted to Python scalars"),
        (float, ValueError, "only one element tensors"),
        (bool, RuntimeError, "Boolean value of Tensor with more than one value is ambiguous"),
        (lambda t: t.item(), RuntimeError, "a Tensor with 2 elements cannot be converted to Scalar"),
        (lambda t: [1, 2][t], TypeError, "only integer tensors of a single element can be converted to an index"),
        (lambda t: f"{t:.2f}", TypeError, "unsupported format string"),
    ],
)
def test_conversion_of_several_elements_fails(convert, error, words):
    with pytest.raises(error, match=words):
        convert(torch.ones(2))


def test_sequence_protocol(x):
    a, b = x
    assert (a.tolist(), b.tolist()) == ([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert 5 in x and 7 not in x and torch.tensor(1.0) in x
    assert max(a).item() == 2 and [t.item() for t in reversed(a)] == [2.0, 1.0, 0.0]
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(torch.tensor(1))
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(torch.tensor(1))
    with pytest.raises(RuntimeError, match="only supports Tensor or scalar"):
        "a" in x  # noqa: B015


def test_tolist():
    assert torch.tensor(2).tolist() == 2
    assert torch.tensor([[True], [False]]).tolist() == [[True], [False]]
    assert torch.arange(6).reshape(2, 3).T.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert torch.ones(2, 0).tolist() == [[], []]


# ---- Indexing ------------------------------------------------------------------------------------------------------


def test_getitem(x):
    np = pytest.importorskip("numpy")
    assert x[0].tolist() == [0.0, 1.0, 2.0] and x[-1, 2].item() == 5.0
    assert x[:, 1].tolist() == x[..., 1].tolist() == [1.0, 4.0]
    assert x[None].shape == (1, 2, 3) and x[True].shape == (1, 2, 3) and x[False].shape == (0, 2, 3)
    assert x[:, ::2].tolist() == [[0.0, 2.0], [3.0, 5.0]]
    assert x[x > 2].tolist() == [3.0, 4.0, 5.0]
    for rows in (torch.tensor([1, 0]), [1, 0], np.array([1, 0])):
        assert x[rows].tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    assert x[[0, 1], [1, 2]].tolist() == [1.0, 5.0]
    assert x[torch.tensor(1)].tolist() == x[np.int64(1)].tolist() == x[1].tolist()
    assert x[0:1, [0, 2]].tolist() == [[0.0, 2.0]] and x[[]].shape == (0, 3)
    assert x[torch.tensor(1)]._base is x and x[[1]]._base is None  # a view, a copy


def test_setitem(x):
    x[0] = 7
    assert x[0].tolist() == [7.0, 7.0, 7.0]
    x[:, 0] = torch.tensor([1.0, 2.0])
    x[x > 6] = 0
    assert x.tolist() == [[1.0, 0.0, 0.0], [2.0, 4.0, 5.0]]
    x[[0, 1], [1, 2]] = torch.tensor([8.0, 9.0])
    x[1, 0] += 10
    assert x.tolist() == [[1.0, 8.0, 0.0], [12.0, 4.0, 9.0]]
    x[...] = 3
    assert (x == 3).all()


@pytest.mark.parametrize(
    "index, error, words",
    [
        (2, IndexError, "index 2 is out of bounds for dimension 0 with size 2"),
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        (1.5, IndexError, "only integers, slices"),
        ("a", TypeError, "invalid data type 'str'"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (slice(None, None, 0), ValueError, "slice step cannot be zero"),
    ],
)
def test_indices_that_fail(x, index, error, words):
    with pytest.raises(error, match=words):
        x[index]
    with pytest.raises(error, match=words):
        x[index] = 1


def test_values_that_cannot_be_assigned(x):
    with pytest.raises(TypeError, match=r"can't assign a list to a torch\.FloatTensor"):
        x[0] = [1, 2, 3]
    with pytest.raises(TypeError, match="does not support deleting items"):
        del x[0]


# ---- Casts ---------------------------------------------------------------------------------------------------------


def test_to_and_its_kin(x):
    assert x.to(torch.float32) is x.to("cpu") is x.float() is x.cpu() is x.to() is x
    assert x.to(torch.float32, copy=True) is not x
    assert x.to("cpu", torch.int32).dtype is x.to(device="cpu", dtype=torch.int32).dtype is torch.int32
    assert x.to(torch.ones(1, dtype=torch.int64)).dtype is x.to(other=torch.ones(1).long()).dtype is torch.int64
    kinds = {"double": "float64", "half": "float16", "bfloat16": "bfloat16", "int": "int32", "short": "int16"}
    for name, dtype in {**kinds, "char": "int8", "byte": "uint8", "bool": "bool", "long": "int64"}.items():
        assert getattr(x, name)().dtype is getattr(torch, dtype)
    assert x.type() == "torch.FloatTensor" and x.type("torch.DoubleTensor").dtype is torch.float64
    assert x.type(torch.int32).type() == "torch.IntTensor"
    assert x.type(torch.LongTensor).dtype is torch.int64 and x.type(torch.FloatTensor) is x
    for name in ("torch.Nothing", int):
        with pytest.raises(ValueError, match="invalid type"):
            x.type(name)
    with pytest.raises(TypeError, match="dtype must be a type, str, or dtype object"):
        x.type(3)


def test_casts_are_differentiable():
    x = torch.ones(2, requires_grad=True)
    y = x.double()
    assert repr(y.grad_fn).startswith("<ToCopyBackward0")
    y.sum().backward()
    assert x.grad.dtype is torch.float32 and x.grad.tolist() == [1.0, 1.0]


# ---- Memory --------------------------------------------------------------------------------------------------------


def test_views_share_memory_and_version(x):
    y = x[1]
    assert y._base is x and y.storage_offset() == 3 and y.data_ptr() == x.data_ptr() + 12
    y.add_(1)
    assert x[1].tolist() == [4.0, 5.0, 6.0] and x._version == y._version == 1
    assert x.untyped_storage().nbytes() == 24 and x.untyped_storage() == y.untyped_storage()
    assert x.T.is_contiguous() is False and x.T.contiguous().is_contiguous()
    assert x.is_set_to(x.view(2, 3)) and not x.is_set_to(y)


def test_data_shares_memory_but_not_history():
    x = torch.ones(2, requires_grad=True)
    x.data.fill_(4)
    assert x.tolist() == [4.0, 4.0] and x._version == 0 and not x.data.requires_grad
    x.data = torch.zeros(3)
    assert x.shape == (3,) and x.requires_grad and x.is_leaf
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got int"):
        x.data = 3


def test_set_and_resize():
    x, y = torch.ones(2), torch.zeros(3)
    assert x.set_(y) is x and x.data_ptr() == y.data_ptr()
    assert torch.empty(0).set_(y, 0, (2, 0, 3)).stride() == (3, 3, 1)
    assert x.resize_(2, 2).shape == (2, 2) and x.flatten()[:3].tolist() == [0.0, 0.0, 0.0]


# ---- In the graph --------------------------------------------------------------------------------------------------


def test_requires_grad():
    x = torch.ones(2)
    assert x.requires_grad_() is x and x.requires_grad
    y = x * 2
    assert not y.is_leaf and y.requires_grad and y.detach().grad_fn is None
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        torch.ones(2, dtype=torch.int64).requires_grad_()
    with pytest.raises(RuntimeError, match="requires_grad must be a bool"):
        x.requires_grad = 1


def test_grad_can_be_set_and_deleted():
    x = torch.ones(2, requires_grad=True)
    g = torch.zeros(2)
    x.grad = g
    assert x.grad is g
    del x.grad
    assert x.grad is None
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got grad of type int"):
        x.grad = 3
    with pytest.raises(RuntimeError, match="size"):
        x.grad = torch.ones(3)
    with pytest.warns(UserWarning, match="is not a leaf Tensor is being accessed"):
        assert (x * 2).grad is None


def test_names_of_nodes_follow_torch():
    x = torch.ones(2, requires_grad=True)
    names = {
        "RsubBackward1": 1 - x, "MulBackward0": 1 / x, "PowBackward2": 2**x, "PowBackward0": x**2,
        "SelectBackward0": x[0], "DotBackward0": x @ x, "NegBackward0": -x, "SumBackward0": x.sum(),
    }  # fmt: skip
    assert {name: t.grad_fn.name() for name, t in names.items()} == {name: name for name in names}


# ---- Life ----------------------------------------------------------------------------------------------------------


def test_attributes_and_weak_references():
    t = torch.ones(1)
    t.note = "mine"
    ref = weakref.ref(t)
    assert ref() is t and t.__dict__ == {"note": "mine"} and hash(t) == hash(ref()) == id(t)
    del t
    assert ref() is None


def test_an_attribute_belongs_to_one_tensor_alone():
    class Careful(torch.Tensor):
        def __setattr__(self, name, value):
            super().__setattr__(name, value)

    class Kind(torch.Tensor):
        pass

    a, b, c, d = torch.ones(1), torch.ones(1), torch.ones(1).as_subclass(Careful), torch.nn.Parameter(torch.ones(1))
    a.note, b.__dict__["note"], c.note, d.note = 1, 2, 3, 4
    kind = torch.ones(1).as_subclass(Kind)
    assert [t.__dict__ for t in (a, b, c, d)] == [{"note": n} for n in (1, 2, 3, 4)]
    assert not any(hasattr(t, "note") for t in (torch.ones(1), kind, torch.nn.Parameter(torch.ones(1))))
    assert torch.ones(1).__dict__ == {} and vars(kind) == {}
    del a.note
    b.__dict__ = {}
    assert not hasattr(a, "note") and not hasattr(b, "note")
    with pytest.raises(AttributeError):
        del torch.ones(1).note


def test_an_attribute_hides_a_method_of_its_tensor_alone():
    """Also where Python has remembered, over many calls, where it found the method."""
    a, b = torch.ones(1), torch.ones(1)
    dims = lambda: [t.dim() for t in (a, b)]
    assert [dims() for _ in range(100)] == [[1, 1]] * 100
    a.dim = lambda: "mine"
    assert [dims() for _ in range(100)] == [["mine", 1]] * 100
    del a.dim
    assert [dims() for _ in range(100)] == [[1, 1]] * 100


@pytest.mark.parametrize("by", ["attribute", "dict", "grad", "subclass"])
def test_cycles_through_a_tensor_are_collected(by):
    class Kind(torch.Tensor):
        pass

    t = Kind([1.0]) if by == "subclass" else torch.ones(1, requires_grad=True)
    if by == "dict":
        t.__dict__["me"] = t
    elif by == "grad":
        t.grad = torch.ones(1)
        t.grad.owner = t
    else:
        t.me = t
    ref = weakref.ref(t)
    del t
    gc.collect()
    assert ref() is None


def test_no_cycle_needs_the_collector():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(3, requires_grad=True)
        y = (x.exp() * x).sum()
        y.backward()
        refs = [weakref.ref(t) for t in (x, y, x.grad)]
        del x, y
        assert [r() for r in refs] == [None] * 3
    finally:
        gc.enable()


def test_subclasses_keep_class_attributes_and_identity():
    class Named(torch.Tensor):
        __slots__ = ("slot",)
        kind = "named"

    t = torch.ones(2).as_subclass(Named)
    t.slot = 1
    assert type(t) is Named and t.kind == "named" and t.slot == 1
    x = torch.ones(2, requires_grad=True)
    y = (x * 2).as_subclass(Named)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    made = torch.Tensor._make_subclass(Named, x, True)
    assert type(made) is Named and made.is_leaf and made.requires_grad and made.data_ptr() == x.data_ptr()
    with pytest.raises(TypeError, match="does not inherit from Tensor"):
        torch.Tensor._make_subclass(int, x)


def test_identity_survives_the_core():
    x = torch.ones(2, requires_grad=True)
    y = x[0]
    assert y._base is x
    (x * 2).sum().backward()
    assert x.grad is x.grad


# ---- Random numbers ------------------------------------------------------------------------------------------------


def test_generators():
    assert torch.manual_seed(3) is torch.default_generator and torch.initial_seed() == 3
    assert torch.manual_seed(-1).initial_seed() == 2**64 - 1
    state = torch.get_rng_state()
    first = torch.rand(2)
    torch.set_rng_state(state)
    assert torch.equal(first, torch.rand(2))
    own = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=own))
    assert own.clone_state().initial_seed() == 7 and torch.Generator().initial_seed() == 67280421310721
    with pytest.raises(ValueError, match="expected a seed from"):
        torch.manual_seed(2**64)
    with pytest.raises(RuntimeError, match="wrong size"):
        torch.set_rng_state(torch.zeros(3, dtype=torch.uint8))


def test_functions_of_each_element_leave_the_version():
    x = torch.tensor([1, 2])
    version = x._version
    assert x.apply_(lambda a: a * 2).tolist() == [2, 4]
    assert x.map_(torch.tensor([10, 20]), lambda a, b: a + b).tolist() == [12, 24]
    assert x._version == version
    with pytest.raises(RuntimeError, match=r"Can't call apply_\(\) on Variable that requires grad"):
        torch.ones(1, requires_grad=True).apply_(abs)


def test_detach_in_place_keeps_the_mark_of_retain_grad():
    y = torch.ones(2, requires_grad=True) * 2
    y.retain_grad()
    assert y.detach_().retains_grad and y.is_leaf


@pytest.mark.parametrize("name", ["cuda: 2", "cuda:", "cuda:02", "cuda:-1", "cpu:0x"])
def test_a_device_is_named_by_plain_digits(name):
    with pytest.raises(RuntimeError, match="Invalid device string"):
        torch.device(name)


def test_an_order_of_dimensions_may_have_to_be_the_only_one():
    x = torch.empty(1, 2, 3, 4)
    assert x.dim_order() == (0, 1, 2, 3) == x.dim_order(ambiguity_check=[torch.contiguous_format])
    assert torch.empty(2, 3, 4).mT.dim_order(ambiguity_check=True) == (0, 2, 1)
    with pytest.raises(RuntimeError, match="does not have unique dim order"):
        x.dim_order(ambiguity_check=True)
    with pytest.raises(TypeError, match="must be a bool or a list of memory formats"):
        x.dim_order(ambiguity_check="x")


def test_what_has_no_dtype_of_its_own_fills_any():
    out = torch.empty(0, dtype=torch.int64)
    assert torch.ones(2, out=out) is out and out.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.exp(torch.ones(1), out=out)


def test_a_layout_that_is_not_there_is_refused():
    with pytest.raises(
        NotImplementedError, match=r"zeros\(\): argument 'layout' must be torch.strided here, not torch.sparse"
    ):
        torch.zeros(2, layout=torch.sparse_coo)


def test_map_takes_others_that_broadcast():
    x = torch.ones(2, 2)
    assert x.map_(torch.tensor([1.0, 2.0]), lambda a, b: a + b).tolist() == [[2, 3], [2, 3]]
    assert x.map2_(torch.tensor([1.0, 2.0]), torch.tensor(2.0), lambda a, b, c: a + b * c).tolist() == [[4, 7], [4, 7]]
    with pytest.raises(RuntimeError):
        torch.ones(2).map_(x, lambda a, b: a + b)
    with pytest.raises(TypeError, match="expected other of torch.float32"):
        x.map_(x.double(), lambda a, b: a + b)


def test_sizes_of_old_constructors_by_name():
    made = torch.Tensor(size=(2, 3)), torch.FloatTensor(size=[2, 3]), torch.ones(1).new(size=(2, 3))
    assert all(t.shape == (2, 3) for t in made)
    with pytest.raises(TypeError):
        torch.Tensor([1.0], size=(2,))


def test_set_takes_memory_of_its_own_dtype():
    x = torch.ones(2, 3)
    y = torch.empty(0).set_(x)
    assert y.is_set_to(x) and x.is_set_to(y) and not x.is_set_to(x.view(3, 2))
    for other in (x.double(), x.double().storage()):
        with pytest.raises(RuntimeError, match="expected the memory of a tensor of torch.float32"):
            y.set_(other)


def test_masked_scatter_in_place_of_a_mask_that_is_larger():
    for mask in (torch.ones(2, 3), torch.ones(1, 3)):
        with pytest.raises(RuntimeError, match="the mask has more dimensions"):
            torch.ones(3).masked_scatter_(mask.bool(), torch.zeros(6))
    assert torch.ones(1, 3).masked_scatter_(torch.ones(3).bool(), torch.zeros(3)).tolist() == [[0, 0, 0]]
