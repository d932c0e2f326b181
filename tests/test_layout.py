"""How results lie in memory: the strides are those PyTorch 2.13 gives."""

import copy
import pickle

import numpy as np
import pytest

import hookgrad as torch


def made(shape, order, dtype=torch.float32):
    """A dense tensor whose dimension order[-1] is the finest."""
    n = int(np.prod(shape))
    flat = torch.arange(n, dtype=torch.float32).reshape([shape[i] for i in order])
    return flat.permute(*np.argsort(order).tolist()).to(dtype)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 3, 4, 5)])
def test_an_elementwise_result_lies_as_its_operand_does(shape):
    x = made(shape, list(range(len(shape)))[::-1])
    dense = x.contiguous()
    for f in (torch.exp, torch.relu, torch.neg, torch.isnan, lambda t: t * 2, lambda t: 2 - t, lambda t: t**2, lambda t: t > 1,
              lambda t: t.clamp(0, 1), lambda t: t.double(), lambda t: t.clone(), lambda t: t.to(torch.int32),
              lambda t: torch.where(t > 1, t, 0.0), lambda t: torch.addcmul(t, t, t), torch.nn.functional.gelu,
              torch.zeros_like, torch.ones_like, lambda t: torch.full_like(t, 7)):  # fmt: skip
        assert f(x).stride() == x.stride()
        np.testing.assert_allclose(f(x).numpy(), f(dense).numpy(), rtol=1e-6)


# (strides of two operands of a shape, those of their sum)
@pytest.mark.parametrize(
    "shape, a, b, expected",
    [
        ((3, 4), (1, 3), (1, 3), (1, 3)),
        ((3, 4), (1, 3), (4, 1), (1, 3)),  # the first that tells decides
        ((3, 4), (4, 1), (1, 3), (4, 1)),
        ((3, 4), (0, 1), (1, 3), (1, 3)),  # one that is broadcast does not tell
        ((3, 4), (2, 6), (8, 2), (1, 3)),  # gaps go
        ((2, 3, 4), (1, 8, 2), (0, 0, 1), (1, 8, 2)),
        ((2, 3, 2, 2), (12, 1, 6, 3), (12, 1, 6, 3), (12, 1, 6, 3)),
        ((2, 3, 2, 2), (12, 1, 6, 3), (12, 4, 2, 1), (12, 1, 6, 3)),
        ((1, 3), (1, 1), (1, 1), (3, 1)),  # contiguous both: as new
        ((1, 3), (7, 1), (5, 1), (3, 1)),
    ],
)
def test_the_first_operand_that_tells_orders_the_dimensions(shape, a, b, expected):
    x = torch.arange(60.0).as_strided(shape, a)
    y = torch.arange(60.0).as_strided(shape, b)
    assert (x + y).stride() == expected
    assert (x.double() + y.double()).tolist() == (x.contiguous() + y.contiguous()).tolist()


def test_numbers_decide_nothing_but_bring_the_order_of_size_one_dimensions():
    x = torch.arange(6.0).as_strided((3, 1, 2), (2, 1, 1))
    assert (x + x).stride() == (2, 2, 1)
    assert (x * 2).stride() == (2, 1, 1)
    assert (x**2).stride() == (2, 2, 1)


def test_a_copy_keeps_dense_strides_and_closes_gaps():
    x = torch.arange(60.0)
    assert x.as_strided((3, 4), (1, 3)).clone().stride() == (1, 3)
    assert x.as_strided((3, 4), (2, 6)).clone().stride() == (1, 3)
    assert x.as_strided((3, 4), (1, 0)).clone().stride() == (4, 1)
    assert x.as_strided((3, 1, 2), (2, 9, 1)).clone().stride() == (2, 9, 1)
    assert x.as_strided((3, 4), (1, 3)).to(torch.float64).stride() == (1, 3)
    assert x.as_strided((3, 4), (1, 3)).clone(memory_format=torch.contiguous_format).stride() == (4, 1)
    assert x.as_strided((3, 4), (1, 3)).contiguous().stride() == (4, 1)


def test_channels_last_is_a_memory_format():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    last = x.to(memory_format=torch.channels_last)
    assert last.stride() == (24, 1, 8, 2) and last.tolist() == x.tolist()
    assert last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()
    assert last.to(memory_format=torch.channels_last) is last
    assert x.contiguous(memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert last.contiguous().stride() == (24, 12, 4, 1)
    assert torch.empty(1, 2, 3, 4, memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert torch.empty_like(x, memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert torch.zeros_like(last, memory_format=torch.contiguous_format).stride() == (24, 12, 4, 1)
    assert x.double().float(memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    deep = x.reshape(1, 2, 3, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    assert deep.stride() == (24, 1, 8, 4, 2)
    with pytest.raises(RuntimeError, match="rank 4"):
        x[0].contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="preserve memory format is unsupported"):
        x.mT.contiguous(memory_format=torch.preserve_format)
    with pytest.raises(TypeError, match="memory_format"):
        x.to(memory_format=3)


def test_random_numbers_fill_memory_in_order():
    x = made((2, 3), [1, 0])
    torch.manual_seed(0)
    like = torch.rand_like(x)
    torch.manual_seed(0)
    assert like.stride() == (1, 2) and like.t().tolist() == torch.rand(3, 2).tolist()


def test_copies_of_objects_keep_the_strides():
    x = made((2, 3), [1, 0])
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.stride() == (1, 2) and y.tolist() == x.tolist()


def test_a_permuted_result_cannot_be_viewed_flat():
    y = made((2, 3), [1, 0]) * 2
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        y.view(6)
    assert y.reshape(6).tolist() == [0.0, 4.0, 8.0, 2.0, 6.0, 10.0]
    assert y.numpy().strides == (4, 8) and repr(y) == repr(y.contiguous())


def test_a_gradient_lies_as_the_derivative_computes_it():
    x = made((2, 3), [1, 0]).requires_grad_()
    (g,) = torch.autograd.grad((x * x).sum(), x)
    assert g.stride() == (1, 2) and g.tolist() == (2 * x).tolist()
    (g,) = torch.autograd.grad(x.sum(), x)
    assert g.stride() == (0, 0)
