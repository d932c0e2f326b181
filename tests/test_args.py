"""How ops read their arguments, and what they say when those do not fit: PyTorch's types, PyTorch's words."""

import copy
import inspect
import pickle
import re

import pytest

import hookgrad as torch
from hookgrad import _C
from hookgrad.nn import functional as F


@pytest.fixture
def x():
    return torch.arange(6.0).reshape(2, 3)


# ---- Ways to call --------------------------------------------------------------------------------------------------


def test_the_same_call_in_every_spelling(x):
    want = x.sum(0, keepdim=True)
    for got in (
        torch.sum(x, 0, True), torch.sum(x, dim=0, keepdim=True), torch.sum(input=x, axis=0, keepdims=True),
        x.sum(axis=(0,), keepdim=True), x.sum([0], True), x.sum((-2,), keepdims=True), torch.Tensor.sum(x, 0, True),
    ):  # fmt: skip
        assert torch.equal(got, want)


def test_sizes_one_by_one_or_together(x):
    for view in (
        x.view(3, 2),
        x.view((3, 2)),
        x.view([3, 2]),
        x.view(torch.Size([3, 2])),
        x.view(size=(3, 2)),
        x.view(-1, 2),
    ):
        assert view.shape == (3, 2)
    for made in (torch.ones(2, 3), torch.ones((2, 3)), torch.ones([2, 3]), torch.ones(size=(2, 3))):
        assert made.shape == (2, 3)
    assert torch.ones(()).shape == () and torch.ones(torch.tensor(2)).shape == (2,)
    assert x.permute(1, 0).shape == x.permute(dims=(1, 0)).shape == torch.permute(x, (1, 0)).shape == (3, 2)
    assert x.repeat(2, 1).shape == (4, 3) and x.flip(0, 1)[0, 0] == 5 and x.expand(4, -1, -1).shape == (4, 2, 3)
    assert torch.nn.functional.max_pool2d(torch.ones(1, 4, 4), 2).shape == (1, 2, 2)  # one number for two


def test_lists_of_tensors(x):
    for joined in (torch.cat([x, x]), torch.cat((x, x), 0), torch.cat(tensors=[x, x], dim=0), torch.cat([x] * 40)[:4]):
        assert joined.shape == (4, 3)
    assert torch.equal(torch.einsum("ij,kj->ik", x, x), torch.einsum("ij,kj->ik", [x, x]))
    a, b = torch.broadcast_tensors(torch.ones(2, 1), torch.ones(3))
    assert a.shape == b.shape == (2, 3)


def test_overloads_are_chosen_by_their_arguments(x):
    assert x.max().item() == 5 and x.max(1).indices.tolist() == [2, 2] and x.max(x).shape == (2, 3)
    assert isinstance(x.split(1), tuple) and [p.shape[1] for p in x.split([1, 2], dim=1)] == [1, 2]
    assert x.view(torch.int32).dtype is torch.int32
    assert x.var(0, False).tolist() == x.var(0, unbiased=False).tolist() == x.var(0, correction=0).tolist()
    assert torch.arange(3).tolist() == torch.arange(0, 3).tolist() == torch.arange(end=3).tolist() == [0, 1, 2]
    assert torch.where(x > 2, x, 0.0)[0].sum() == 0 and len(torch.where(x > 2)) == 2
    assert torch.pow(2, x)[0, 1] == 2 and torch.mul(2, x)[0, 1] == 2


def test_numbers_come_from_zero_dimensional_tensors():
    assert torch.full((2,), torch.tensor(3.0)).tolist() == [3.0, 3.0]
    assert torch.add(torch.ones(1), 1, alpha=torch.tensor(2)).item() == 3.0
    with pytest.raises(TypeError, match="must be Number, not Tensor"):
        torch.full((2,), torch.tensor(3.0, requires_grad=True))


def test_in_a_list_a_tensor_of_one_element_stands_for_an_integer(x):
    two = torch.tensor([2])
    assert torch.zeros(two).shape == (2,) and torch.zeros([two, 3]).shape == torch.empty(two, 3).shape == (2, 3)
    assert x.view(two, -1).shape == x.reshape(-1, two).t().shape == (2, 3)
    assert x.sum(two - 1).tolist() == x.sum(1).tolist() and x.repeat(two, 1).shape == (4, 3)
    for wrong in (torch.tensor([2.0]), torch.tensor([1, 2])):
        with pytest.raises(TypeError):
            torch.zeros(wrong)


def test_dtypes_may_be_pythons():
    assert torch.ones(1, dtype=float).dtype is torch.float64
    assert torch.ones(1, dtype=int).dtype is torch.int64 and torch.ones(1, dtype=bool).dtype is torch.bool


def test_creation_takes_what_torchs_takes(x):
    t = torch.zeros(2, dtype=None, device="cpu", layout=torch.strided, pin_memory=False, requires_grad=True)
    assert t.requires_grad and t.dtype is torch.float32
    assert torch.empty_like(x, memory_format=torch.preserve_format, device=torch.device("cpu")).shape == x.shape
    assert x.clone(memory_format=torch.contiguous_format).shape == x.shape
    assert torch.rand(2, generator=torch.Generator().manual_seed(0)).shape == (2,)
    with pytest.raises(RuntimeError, match="can require gradients"):
        torch.zeros(2, dtype=torch.int64, requires_grad=True)


def test_none_is_a_missing_argument(x):
    assert x.sum(dim=None).item() == 15.0 and torch.clamp(x, min=None, max=1).max() == 1
    assert torch.nn.functional.linear(x, torch.ones(1, 3), None).shape == (2, 1)


@pytest.mark.parametrize("name, numbers", [("reshape", (3, 2)), ("flip", (0,)), ("tile", (2, 2)), ("permute", (1, 0))])
def test_only_methods_take_a_list_number_by_number(x, name, numbers):
    function = getattr(torch, name)
    assert torch.equal(getattr(x, name)(*numbers), function(x, numbers))
    with pytest.raises(TypeError):
        function(x, *numbers)
    with pytest.raises(TypeError):
        function(x, numbers[0])


def test_a_tensor_is_no_list_of_tensors(x):
    for stack in torch.hstack, torch.vstack, torch.dstack, torch.column_stack, torch.stack:
        with pytest.raises(TypeError):
            stack(x)


def test_plus_bool(x):
    assert +x is x
    with pytest.raises(RuntimeError, match="on a bool tensor is not supported"):
        _ = +(x > 2)


# ---- out= ----------------------------------------------------------------------------------------------------------


def test_out_takes_the_result_and_its_shape(x):
    out = torch.empty(0)
    assert torch.add(x, 1, out=out) is out and torch.equal(out, x + 1)
    doubled = torch.zeros(2, 3, dtype=torch.float64)
    torch.mul(x, 2, out=doubled)
    assert doubled.dtype is torch.float64 and doubled[1, 2] == 10
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.int64)
    torch.max(x, 1, out=(values, indices))
    assert (values.tolist(), indices.tolist()) == ([2.0, 5.0], [2, 2])
    with pytest.warns(UserWarning, match="was resized"):
        torch.add(x, 1, out=torch.ones(5))


def test_out_that_cannot_take_the_result(x):
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.add(x, 1, out=torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.add(x.requires_grad_(), 1, out=torch.ones(2, 3))
    with pytest.raises(TypeError, match="argument 'out' must be Tensor, not int"):
        torch.add(x.detach(), 1, out=3)


def across(x):
    """Memory that begins one element before `x` does."""
    return x.as_strided((4, 4), (4, 1), x.storage_offset() - 1)


ELEMENTWISE = [
    lambda x, out: torch.add(x, 1, out=out),
    lambda x, out: torch.exp(x, out=out),
    lambda x, out: torch.where(x > 0, x, x, out=out),
    lambda x, out: torch.cat([x[:1], x[1:]], out=out),
    lambda x, out: torch.gather(x, 0, torch.zeros(4, 4, dtype=torch.int64), out=out),
]


@pytest.mark.parametrize("call", ELEMENTWISE)
def test_out_that_lies_across_an_argument(call):
    x = torch.arange(24.0)[4:20].view(4, 4)
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer"):
        call(x, across(x))
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        call(x, torch.zeros(1, 4).expand(4, 4))


def test_out_may_be_an_argument_of_what_goes_by_elements():
    x = torch.arange(4.0).view(2, 2)
    assert torch.mul(x, 2, out=x).tolist() == [[0, 2], [4, 6]]


@pytest.mark.parametrize(
    "call",
    [
        lambda x, at: torch.cat([x, x], out=x),
        lambda x, at: torch.stack([x], out=x),
        lambda x, at: torch.gather(x, 0, at, out=x),
        lambda x, at: torch.index_select(x, 0, at, out=x),
        lambda x, at: torch.take(x, at, out=x),
    ],
)
def test_out_is_no_argument_of_what_is_put_together(call):
    x = torch.arange(4.0)
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer"):
        call(x, torch.tensor([3, 2, 1, 0]))
    assert x.tolist() == [0, 1, 2, 3]


def test_views_and_what_writes_in_place_have_no_out():
    x = torch.ones(2, 2)
    for call in (lambda: torch.t(x, out=x), lambda: torch.squeeze(x, out=x), lambda: torch.fill_(x, 1, out=x)):
        with pytest.raises(TypeError):
            call()


EXACT = [
    lambda x: torch.neg(x, out=torch.zeros(2, 3, dtype=torch.float64)),
    lambda x: torch.isposinf(x, out=torch.zeros(2, 3)),
    lambda x: torch.clamp(x, 0, 1, out=torch.zeros(2, 3, dtype=torch.float64)),
    lambda x: torch.clamp_min(x, 0, out=torch.zeros(2, 3, dtype=torch.float64)),
    lambda x: torch.argmax(x, 1, out=torch.zeros(2)),
    lambda x: torch.max(x, 1, out=(torch.zeros(2), torch.zeros(2))),
    lambda x: torch.mm(x, x.t(), out=torch.zeros(2, 2, dtype=torch.float64)),
    lambda x: torch.nonzero(x, out=torch.zeros(5, 2)),
    lambda x: torch.index_select(x, 0, torch.tensor([0]), out=torch.zeros(1, 3, dtype=torch.float64)),
    lambda x: torch.softmax(x, 0, out=torch.zeros(2, 3, dtype=torch.float64)),
    lambda x: torch.add(x, 1, out=torch.zeros(2, 3, device="meta")),
]


@pytest.mark.parametrize("call", EXACT)
def test_out_of_another_dtype_or_device(x, call):
    with pytest.raises(RuntimeError):
        call(x)


def test_out_says_which_dtype_is_computed_in():
    ints, doubles = torch.zeros(3, dtype=torch.int64), torch.zeros((), dtype=torch.float64)
    torch.sum(torch.full((2, 3), 1.5), 0, out=ints)
    assert ints.tolist() == [2, 2, 2]
    tenth = torch.full((3,), 0.1, dtype=torch.float16)
    assert torch.sum(tenth, 0, out=doubles) == tenth.double().sum()
    assert torch.linspace(-2.5, 3.2, 10, out=torch.zeros(10, dtype=torch.int64)).tolist() == [
        -2,
        -1,
        0,
        0,
        0,
        0,
        1,
        1,
        2,
        3,
    ]
    assert torch.logspace(-0.5, 2.5, 3, dtype=torch.int64).tolist() == [1, 10, 100]


def test_out_of_another_shape_lies_as_the_result_does():
    turned = torch.arange(6.0).view(2, 3).t()
    assert torch.exp(turned, out=torch.empty(0)).stride() == (1, 3)


def test_out_of_tensordot():
    out = torch.zeros(2, 2)
    assert torch.tensordot(torch.ones(2, 3), torch.ones(3, 2), 1, out=out) is out and out.sum() == 12
    assert torch.tensordot(torch.ones(2, 3), torch.ones(2, 3), ([1], [1]), out=out) is out and out.sum() == 12


# ---- In place ------------------------------------------------------------------------------------------------------


def test_in_place_forms_return_the_tensor(x):
    assert x.add_(1) is x and x.mul_(2).sub_(1) is x and torch.relu_(x) is x
    assert x.fill_(3).zero_().sum() == 0 and x.copy_(torch.ones(3)).sum() == 6
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.ones(2, dtype=torch.int64).add_(1.5)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        torch.ones(2).add_(torch.ones(3, 2))


# ---- What is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: torch.add("a", 1), r"add\(\): argument 'input' \(position 1\) must be Tensor, not str"),
        (lambda x: torch.add(x, "a"), r"add\(\): argument 'other' \(position 2\) must be Tensor, not str"),
        (lambda x: x.add("a"), r"add\(\): argument 'other' \(position 1\) must be Tensor, not str"),
        (lambda x: torch.exp(3), r"exp\(\): argument 'input' \(position 1\) must be Tensor, not int"),
        (lambda x: torch.exp(), r'exp\(\) missing 1 required positional arguments: "input"'),
        (lambda x: x.transpose(0), r'transpose\(\) missing 1 required positional arguments: "dim1"'),
        (lambda x: x.transpose(0, "a"), r"transpose\(\): argument 'dim1' \(position 2\) must be int, not str"),
        (lambda x: x.transpose(0, True), r"argument 'dim1' \(position 2\) must be int, not bool"),
        (lambda x: x.exp(1), r"TensorBase.exp\(\) takes no arguments \(1 given\)"),
        (lambda x: x.clone(1), r"clone\(\) takes 0 positional arguments but 1 was given"),
        (lambda x: torch.tril(x, 1, 2), r"tril\(\) takes from 1 to 2 positional arguments but 3 were given"),
        (lambda x: x.tril(1, 2), r"tril\(\) takes from 0 to 1 positional arguments but 2 were given"),
        (lambda x: x.exp(foo=1), r"exp\(\) got an unexpected keyword argument 'foo'"),
        (lambda x: torch.add(x, 1, alpha="a"), r"add\(\): argument 'alpha' must be Number, not str"),
        (lambda x: x.transpose(dim1=2), r'transpose\(\) missing 2 required positional argument: "dim0", "dim1"'),
        (lambda x: x.transpose(foo=2, dim0=1), r'transpose\(\) missing 1 required positional arguments: "dim1"'),
        (lambda x: x.gather(0, [0], 1.0), r"gather\(\) takes 2 positional arguments but 3 were given"),
        (lambda x: torch.zeros([[1], 2]), r"size' \(position 1\) must be tuple of ints, but found element of type list at"),
        (lambda x: torch.zeros(5, (2,)), r"failed to unpack the object at pos 2 with error \"type must be tuple of"),
        (lambda x: torch.add(x), r"add\(\) received an invalid combination of arguments - got \(Tensor\), but expected "
            r"\(Tensor input, Tensor other, \*, Number alpha = 1, Tensor out = None\)"),
        (lambda x: x.mul_(), r'mul_\(\) missing 1 required positional arguments: "other"'),
        (lambda x: torch.add(x, 1, other=2), r"add\(\) got multiple values for argument 'other'"),
        (lambda x: x.reshape(2.0), r"reshape\(\): argument 'shape' \(position 1\) must be tuple of ints, not float"),
        (lambda x: torch.zeros((2, "a")), r'at pos 2 with error "type must be tuple of ints,but got str"'),
        (lambda x: torch.ones("a"), r"ones\(\): argument 'size' \(position 1\) must be tuple of ints, not str"),
        (lambda x: torch.zeros(True), r"must be tuple of ints, not bool"),
        (lambda x: torch.zeros(2, dtype="float32"), r"zeros\(\): argument 'dtype' must be torch.dtype, not str"),
        (lambda x: torch.full((2,), "a"), r"full\(\): argument 'fill_value' \(position 2\) must be Number, not str"),
        (lambda x: torch.cat(3), r"cat\(\): argument 'tensors' \(position 1\) must be tuple of Tensors, not int"),
        (lambda x: torch.cat([x, 3]), r"expected Tensor as element 1 in argument 0, but got int"),
        (lambda x: torch.matmul(x, 2), r"matmul\(\): argument 'other' \(position 2\) must be Tensor, not int"),
        (lambda x: torch.nn.functional.linear(x, 3), r"linear\(\): argument 'weight' \(position 2\) must be Tensor, not int"),
        (lambda x: x.sum(foo=1), r"sum\(\) received an invalid combination of arguments - got \(foo=int"),
        (lambda x: x.view("a"), r"view\(\) received an invalid combination of arguments - got \(str\), but expected one of:"),
        (lambda x: torch.softmax(x, dim=None), r"softmax\(\): argument 'dim' must be int, not NoneType"),
        (lambda x: x.size("a"), r"argument 'dim' \(position 1\) must be int, not str"),
        (lambda x: x.backward("a"), r"gradients can be either Tensors or None, but got str"),
        (lambda x: x.to(3), r"expected a torch.device, a torch.dtype or a Tensor"),
        (lambda x: torch.combinations([1, 2]), r"combinations\(\): argument 'input' \(position 1\) must be Tensor, not list"),
        (lambda x: torch.pdist(3), r"pdist\(\): argument 'input' \(position 1\) must be Tensor, not int"),
        (lambda x: F.grid_sample(x, 3, align_corners=False), r"grid_sampler\(\): argument 'grid' \(position 2\) must be"),
        (lambda x: torch.tensor([1, "a"]), r"new\(\): invalid data type 'str'"),
        (lambda x: torch.tensor([[1, 2], 3]), r"not a sequence"),
        (lambda x: torch.tensor(1, 2), r"tensor\(\) takes 1 positional argument but 2 were given"),
    ],
)  # fmt: skip
def test_type_errors(x, call, words):
    with pytest.raises(TypeError, match=words):
        call(x)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda x: x + torch.ones(2),
            RuntimeError,
            r"The size of tensor a \(3\) must match the size of tensor b \(2\)",
        ),
        (lambda x: x @ x, RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
        (lambda x: x.view(4), RuntimeError, r"shape '\[4\]' is invalid for input of size 6"),
        (lambda x: x.sum(5), IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 5\)"),
        (lambda x: x.size(5), IndexError, r"Dimension out of range"),
        (lambda x: x.gather(0, torch.tensor([[9]])), RuntimeError, r"index 9 is out of bounds"),
        (
            lambda x: torch.empty(10**15),
            RuntimeError,
            r"can't allocate memory: you tried to allocate 4000000000000000 bytes",
        ),
        (lambda x: torch.empty(10**15), MemoryError, r"4000000000000000 bytes"),
        (lambda x: torch.zeros(-1), RuntimeError, r"negative"),
        (lambda x: torch.ones([1] * 65), RuntimeError, r"64"),
        (lambda x: torch.tensor([[1], [2, 3]]), ValueError, r"expected sequence of length 1 at dim 1 \(got 2\)"),
        (lambda x: torch.tensor(["a"]), ValueError, r"too many dimensions 'str'"),
        (lambda x: torch.tensor(2**70), ValueError, r"Overflow"),
        (
            lambda x: torch.tensor(300, dtype=torch.uint8),
            RuntimeError,
            r"cannot be converted to type uint8 without overflow",
        ),
        (lambda x: torch.tensor(float("inf"), dtype=torch.int64), RuntimeError, r"without overflow"),
        (lambda x: torch.tensor(object()), RuntimeError, r"Could not infer dtype of object"),
        (lambda x: torch.tensor(None), RuntimeError, r"Could not infer dtype of NoneType"),
        (lambda x: x + 2**70, OverflowError, r"int too"),
        (lambda x: x[10**30], ValueError, r"Overflow when unpacking long long"),
        (lambda x: x[torch.tensor(0), -(10**30)], ValueError, r"Overflow when unpacking long long"),
        (lambda x: x.sum(10**30), ValueError, r"Overflow when unpacking long long"),
        (lambda x: x.size(10**30), ValueError, r"Overflow when unpacking long long"),
        (lambda x: -torch.tensor(True), RuntimeError, r"Negation"),
        (lambda x: ~x, TypeError, r"only implemented on integer and Boolean-type tensors"),
        (lambda x: x.backward(), RuntimeError, r"does not require grad and does not have a grad_fn"),
    ],
)
def test_other_errors(x, call, error, words):
    with pytest.raises(error, match=words):
        call(x)


MASK = torch.ones(2, dtype=torch.bool)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: torch.isin(x, MASK), RuntimeError, r"Unsupported input type encountered for isin\(\): Bool"),
        (lambda x: torch.dist(MASK, x), RuntimeError, r"Subtraction, the `-` operator, with a bool tensor is not"),
        (lambda x: torch.kthvalue(MASK, 1), NotImplementedError, '"kthvalue_cpu" not implemented for \'Bool\''),
        (lambda x: torch.kthvalue(x[:, :0], 1), IndexError, "Expected reduction dim 1 to have non-zero size"),
        (lambda x: torch.trace(MASK), NotImplementedError, "trace"),
        (lambda x: torch.arange(2, dtype=torch.bool), NotImplementedError, "arange_cpu"),
        (lambda x: torch.randperm(2, dtype=torch.bool), NotImplementedError, "randperm"),
        (lambda x: torch.cross(x, x.long(), 1), RuntimeError, "expected scalar type Float but found Long"),
        (lambda x: torch.cross(x > 0, x, 1), NotImplementedError, '"cross" not implemented for \'Bool\''),
        (lambda x: torch.roll(x[0, 0], 1, 0), IndexError, "Dimension specified as 0 but tensor has no dimensions"),
        (lambda x: torch.pinverse(x[:0].long()), RuntimeError, r"linalg.pinv\(Long\{\[0, 3\]\}\): expected a tensor with 2"),
        (lambda x: torch.linalg.qr(x.half()), NotImplementedError, '"geqrf_cpu" not implemented for \'Half\''),
        (lambda x: torch.linalg.svd(x.half()), NotImplementedError, "linalg_svd_cpu"),
        (lambda x: torch.linalg.cholesky((x.mT @ x).half()), NotImplementedError, "cholesky_cpu"),
        (lambda x: torch.ones(3).index_add(0, torch.tensor([9]), torch.ones(1)), IndexError, "index out of range in self"),
        (lambda x: F.glu(x.long()), RuntimeError, "Halving dimension must be even, but dimension 1 is size 3"),
        (lambda x: F.rms_norm(x, (4, 4)), RuntimeError, r"expected input with shape \[\*4, 4\], but got"),
        (lambda x: F.layer_norm(x, (4, 4)), RuntimeError, r"expected input with shape \[\*, 4, 4\], but got"),
        (lambda x: F.one_hot(torch.tensor([1]), 0), RuntimeError, "Class values must be smaller than num_classes."),
        (lambda x: F.multi_margin_loss(x, torch.tensor([0, 1]).int()), RuntimeError, "type Long but found Int"),
        (lambda x: F.interpolate(torch.ones(1, 0, 2), 2), RuntimeError, r"Non-empty 3D data .* with sizes \[1, 0, 2\]"),
        (lambda x: x.cuda(), AssertionError, "^Torch not compiled with CUDA enabled$"),
    ],
)  # fmt: skip
def test_what_pytorch_refuses(x, call, error, words):
    with pytest.raises(error, match=words):
        call(x)


def test_what_pytorch_takes_though_it_is_empty_or_odd(x):
    nothing = torch.ones(2, 0)
    assert torch.roll(nothing, 1, 5).shape == torch.roll(nothing, (1, 1), (5, 5)).shape == (2, 0)
    assert torch.cholesky(torch.ones(0)).shape == (0,) and torch.cholesky(nothing.long()).dtype is torch.int64
    assert F.batch_norm(nothing, torch.ones(3), None).shape == F.batch_norm(nothing, None, None).shape == (2, 0)
    assert torch.nn.BatchNorm2d(3)(torch.ones(2, 0, 4, 4)).grad_fn.name() == "AddBackward0"
    assert F.cross_entropy(x, torch.tensor([0, 1]), label_smoothing=-1) == F.cross_entropy(x, torch.tensor([0, 1]))


def test_a_failed_call_changes_nothing(x):
    before = x.clone()
    for call in (lambda: x.add_(torch.ones(5)), lambda: x.__setitem__((0, 9), 1), lambda: x.copy_(torch.ones(7))):
        with pytest.raises((RuntimeError, IndexError)):
            call()
    assert torch.equal(x, before) and x._version == before._version


def test_lists_that_change_while_they_are_read():
    data = [1, 2, 3]

    class Shrinking:
        def __index__(self):
            data.clear()
            return 5

    data[1] = Shrinking()
    with pytest.raises(RuntimeError, match="changed size while it was read"):
        torch.tensor(data, dtype=torch.int64)


# ---- Ops as objects ------------------------------------------------------------------------------------------------


def test_ops_are_functions_and_methods():
    assert torch.relu.__name__ == "relu" and torch.Tensor.add_.__qualname__ == "Tensor.add_"
    assert "relu(Tensor self)" in torch.relu.__doc__
    assert pickle.loads(pickle.dumps(torch.relu)) is copy.deepcopy(torch.relu) is torch.relu

    class Holder:
        act = torch.relu  # found on a class it is not bound, as no builtin is

    assert Holder().act(torch.tensor(-1.0)).item() == 0.0
    bound = torch.ones(2).sum
    assert bound().item() == 2.0
    assert [t.item() for t in map(torch.neg, torch.ones(2))] == [-1.0, -1.0]


def test_the_table_describes_every_op():
    table = _C.op_table()
    names = {row["name"] for row in table}
    assert {"add", "matmul", "conv2d", "max"} <= names
    for row in table:
        assert row["schema"].startswith(row["name"]) and row["params"] is not None and row["node_name"]


def test_methods_take_any_number_of_arguments_however_they_are_called():
    x = torch.arange(4.0)
    assert x.view(1, 2, 1, 1, 2, 1, 1, 1, 1).shape == (1, 2, 1, 1, 2, 1, 1, 1, 1)
    assert x.clamp(min=1, max=2).tolist() == x.clamp(1, 2).tolist() == torch.Tensor.clamp(x, 1, max=2).tolist()
    assert [t.tolist() for t in map(torch.Tensor.neg, [x])] == [(-x).tolist()]
    assert x.add(*(x,)).tolist() == x.add(x).tolist() == x.add(other=x).tolist() == (2 * x).tolist()
    assert inspect.ismethoddescriptor(torch.Tensor.add)
    assert pickle.loads(pickle.dumps(torch.Tensor.add)) is torch.Tensor.add
    with pytest.raises(TypeError):
        torch.Tensor.add(3, x)
    with pytest.raises(TypeError):
        x.relu(1)


@pytest.mark.parametrize(
    ("call", "argument", "position"),
    [
        (lambda x: x.view(2, 10**30), "view(): argument 'size'", 2),
        (lambda x: x.view(10**30), "view(): argument 'size'", 1),
        (lambda x: torch.zeros([10**30]), "zeros(): argument 'size'", 1),
        (lambda x: torch.rand(2, 2**63), "rand(): argument 'size'", 2),
        (lambda x: x.repeat(1, 10**30, 1), "repeat(): argument 'repeats'", 2),
        (lambda x: x.sum((0, 10**30)), "sum(): argument 'dim'", 2),
    ],
)
def test_a_list_with_a_number_too_large_says_where_it_is(call, argument, position):
    words = f'{argument} failed to unpack the object at pos {position} with error "Overflow when unpacking long long"'
    with pytest.raises(TypeError, match=re.escape(words)):
        call(torch.ones(2, 3))
    with pytest.raises(ValueError, match="Overflow when unpacking long"):
        torch.ones(2, 3).sum(10**30)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.full(2, 3),
        lambda x: torch.randint(3, 2),
        lambda x: x.new_full(2, 3),
        lambda x: torch.zeros(size=3),
        lambda x: x.view(size=6),
        lambda x: x.as_strided(2, 1),
        lambda x: torch.rot90(x, 1, 0),
        lambda x: torch.nn.functional.pad(x, 1),
        lambda x: torch.nn.functional.layer_norm(x, 3),
        lambda x: torch.bitwise_and(1, 1),
        lambda x: torch.bitwise_left_shift(1, 2),
        lambda x: torch.numel(3),
        lambda x: torch.is_floating_point(None),
        lambda x: torch.is_nonzero(3),
        lambda x: torch.nonzero("a"),
    ],
)
def test_a_number_stands_neither_for_a_size_nor_for_a_tensor(call):
    with pytest.raises(TypeError):
        call(torch.ones(2, 3))


def test_a_number_stands_for_a_list_of_fixed_length_and_for_the_last_arguments():
    x = torch.arange(6.0).view(2, 3)
    assert x.view(6).shape == x.view(-1).shape == torch.zeros(6).shape == x.new_zeros(6).shape == (6,)
    assert x.roll(1, 1).tolist() == x.roll((1,), (1,)).tolist() and x.movedim(0, 1).shape == (3, 2)
    assert x.logsumexp(0).shape == x.sum(0).shape == x.amax(0).shape == (3,)
    with pytest.raises(TypeError, match="argument 'dtype' must be torch.dtype, not str"):
        torch.rand(2, dtype="float32")


def test_keywords_need_not_be_interned(x):
    """As they are where they were read from a file."""

    def read(**settings):
        return {"".join(list(name)): value for name, value in settings.items()}

    assert torch.zeros(2, **read(device="cpu", requires_grad=True)).requires_grad
    assert torch.zeros_like(x, **read(layout=torch.strided, pin_memory=False)).shape == (2, 3)
    out = torch.empty(0)
    assert torch.add(x, x, **read(out=out)) is out and x.to(**read(other=x)) is x
    assert torch.equal(x.sum(**read(axis=0, keepdims=True)), x.sum(0, True))
    assert torch.equal(torch.sum(**read(input=x)), x.sum())
