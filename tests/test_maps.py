"""What a map computes is what a loop over its samples computes."""

import gc
import re
import sys
import weakref
from functools import partial

import pytest

import hookgrad as torch
from hookgrad.func import grad, jvp, vmap
from hookgrad.nn import functional as F

B = torch.arange(15.0).reshape(3, 5)


def loop(f, in_dims, *args):
    def entry(i):
        return [a if d is None else a.select(d, i) for a, d in zip(args, in_dims)]

    n = next(a.size(d) for a, d in zip(args, in_dims) if d is not None)
    return torch.stack([f(*entry(i)) for i in range(n)])


def check(f, in_dims, *args):
    want, got = loop(f, in_dims, *args), vmap(f, in_dims)(*args)
    assert got.dtype == want.dtype
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy])
def test_losses_of_which_one_argument_is_mapped(loss, reduction):
    p, q = (B + 1) / 20, torch.linspace(0.1, 0.9, 5)

    def f(x, y):
        return loss(x, y, reduction=reduction)

    for args in ((p, q), (p[:, 0], q[0])):
        check(f, (0, None), *args)
        check(f, (None, 0), *args[::-1])
        if reduction != "none":
            check(grad(f, 0), (0, None), *args)
            check(grad(f, 1), (None, 0), *args[::-1])


ZEROS = torch.tensor([[1.0, 0, 2, 3], [1, 0, 2, 0], [1, 2, 3, 4]])


@pytest.mark.parametrize(
    "f", [lambda x: x.prod(), lambda x: x.prod(0), lambda x: x.cumprod(0).sum()], ids=["prod", "dim", "cumprod"]
)
def test_gradients_of_products_with_zeros(f):
    check(grad(f), (0,), ZEROS)
    assert vmap(grad(f))(ZEROS).isfinite().all()


def test_gradients_of_what_is_taken_at_places_of_each_sample():
    places = torch.tensor([[1, 0], [-1, -1], [2, 3]])

    def taken(x, i):
        return (torch.take(x, i) ** 2).sum()

    check(grad(taken), (0, 0), B, places)
    check(grad(taken), (None, 0), B[0], places)


def test_samples_repeat_as_often_as_each_says():
    counts = torch.tensor([[1, 3], [2, 2], [4, 0]])
    check(torch.repeat_interleave, (0, 0), B[:, :2], counts)
    check(torch.repeat_interleave, (None, 0), B[0, :2], counts)
    check(torch.repeat_interleave, (0, 0), B, torch.tensor([[2], [2], [2]]))


def test_samples_are_put_into_what_is_the_same_for_all():
    check(lambda x: torch.select_scatter(torch.ones(4, 5), x, 0, 1), (0,), B)
    check(lambda x: torch.slice_scatter(torch.ones(7), x, 0, 1, 6), (0,), B)
    check(lambda x: torch.diagonal_scatter(torch.ones(5, 6, dtype=torch.bool), x), (0,), B > 3)
    both = torch.arange(75.0).reshape(3, 5, 5)
    for scattered in (torch.diagonal_scatter, lambda x, y: torch.select_scatter(x, y, 1, -1)):
        check(scattered, (0, 0), both, B)
        check(scattered, (0, None), both.transpose(1, 2), B[0])
        check(grad(lambda x, y, f=scattered: f(x, y).pow(2).sum()), (0, 0), both, B)
    check(grad(lambda x: (torch.diagonal_scatter(torch.ones(5, 5), x) ** 2).sum()), (0,), B)


def test_indices_into_samples_that_are_numbers():
    at, numbers = torch.tensor([0]), B[:, 0]
    check(lambda x: x.index_select(0, at), (0,), numbers)
    check(lambda x: x.index_add(0, at, torch.tensor(2.0)), (0,), numbers)
    check(lambda x: x.index_fill(0, at, 7.0), (0,), numbers)


def test_what_is_the_same_for_all_samples_can_be_read_within_a_gradient():
    def f(x, y):
        return (x * y).sum() * (y.sum().item() if (y > 0).all() else 0)

    check(grad(f, 1), (0, None), B, torch.tensor([1.0, 2, 3, 4, 5]))
    check(grad(F.gaussian_nll_loss, 2), (0, None, None), B, torch.zeros(5), torch.ones(5))
    with pytest.raises(RuntimeError, match=r"vmap: It looks like you're calling .item\(\)"):
        vmap(lambda x, n: x.narrow(0, n, 2))(B, torch.tensor([1, 2, 0]))
    with pytest.raises(RuntimeError, match="^vmap over torch.allclose isn't supported yet. Please file"):
        vmap(lambda x: torch.allclose(x, B[0]))(B)


def test_functions_that_look_at_their_numbers_look_at_those_of_all_samples():
    whole = torch.tensor([[12, 18, 7], [100, 75, 0], [6, -4, 9]])
    check(torch.gcd, (0, None), whole, torch.tensor([8, 12, 6]))
    check(torch.lcm, (None, 0), torch.tensor([8, 12, 6]), whole)
    check(torch.special.gammainc, (0, 0), B + 1, 30 - B)
    x, labels = torch.randn(3, 2, 4), torch.tensor([[0, 3], [1, 1], [2, 0]])
    for transform in (lambda f: f, grad):
        check(transform(F.multi_margin_loss), (0, 0), x, labels)
    check(F.multilabel_margin_loss, (0, None), x, torch.tensor([[3, 0, -1, 1], [0, 1, 2, 3]]))
    with pytest.raises(RuntimeError, match="target out of range"):
        vmap(F.multi_margin_loss)(x, labels + 1)
    weight = torch.randn(6, 3)
    for mode in ("sum", "mean", "max"):
        check(partial(F.embedding_bag, mode=mode), (0, None), torch.tensor([[[0, 5]], [[1, 2]]]), weight)
    check(grad(lambda w, i: F.embedding_bag(i, w).pow(2).sum()), (None, 0), weight, torch.tensor([[[0, 5]], [[1, 1]]]))
    pooled, places = F.max_pool2d(torch.randn(3, 2, 4, 4), 2, return_indices=True)
    check(lambda y, i: F.max_unpool2d(y, i, 2), (0, 0), pooled, places)
    with pytest.raises(RuntimeError, match="Batching rule not implemented for aten::tensor_split"):
        vmap(torch.tensor_split)(B, torch.tensor([[1], [2], [3]]))


@pytest.mark.parametrize("transform", [lambda f: f, grad, lambda f: lambda x: jvp(f, (x,), (x,))])
def test_what_a_map_was_given_dies_without_the_collector(transform):
    x = B.clone()
    alive = weakref.ref(x)
    gc.collect()
    gc.disable()
    try:
        vmap(transform(lambda y: (y.sin() * y).sum()))(x)
        del x
        assert alive() is None
    finally:
        gc.enable()


def test_tangents_by_what_is_the_same_for_all_require_no_gradient():
    at = B[0]
    for f in (torch.sin, lambda x: x.softmax(0), lambda x: F.layer_norm(x, (5,))):
        assert not vmap(lambda v, f=f: jvp(f, (at,), (v,))[1])(torch.eye(5)).requires_grad
    w = at.clone().requires_grad_()
    products = vmap(lambda v: jvp(lambda x: x * x * w, (at,), (v,))[1])(torch.eye(5))
    assert products.requires_grad and torch.equal(products, torch.diag(2 * at * w))
    value, tangent = jvp(lambda x: vmap(lambda y: y * x)(B), (at,), (torch.ones(5),))
    assert torch.equal(value, B * at) and torch.equal(tangent, B)


def test_a_sample_that_outlives_its_map_has_sizes_and_no_numbers():
    kept = []
    vmap(lambda x: kept.append(x) or x * 2)(torch.ones(2, 3))
    (sample,) = kept
    assert sample.shape == (3,) and sample.dtype == torch.float32 and "BatchedTensor" in repr(sample)
    for use in (lambda: sample + 1, sample.sum, sample.tolist, lambda: torch.stack([torch.ones(3), sample])):
        with pytest.raises(RuntimeError, match="may have escaped from inside a function being vmapped"):
            use()


@pytest.mark.parametrize("of", [0, 1])
def test_rows_are_not_shortened_within_a_map(of):
    given, places = torch.ones(2, 3, 3), torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(RuntimeError, match="^vmap: max_norm is not implemented within a map$"):
        vmap(lambda w, i: F.embedding(i, w, max_norm=1.0), in_dims=((0, None), (None, 0))[of])(
            *((given, places[0]), (given[0], places))[of]
        )
    assert torch.equal(given, torch.ones(2, 3, 3))


def test_a_map_keeps_nothing_of_its_calls():
    f, x = vmap(lambda row: row.sum(-1)), torch.ones(2, 3)
    for _ in range(3000):  # until the lists of free tensors are full
        f(x)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(300):
        f(x)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


@pytest.mark.parametrize(
    "write, words",
    [
        (lambda c, x: c.mul_(x), "inplace arithmetic(self, *extra_args) is not possible"),
        (lambda c, x: c.index_add_(0, torch.arange(3), x), "`self` not being vmapped over in a vmap. Please"),
        (lambda c, x: c.index_add_(0, torch.arange(3), x), "instead of index_add_. If"),
        (lambda c, x: c.add_(x), "output with shape [3] doesn't match the broadcast shape [2, 3]"),
        (lambda c, x: c[0].atan2_(x), "output with shape [] doesn't match the broadcast shape [2, 3]"),
        (lambda c, x: c.lerp_(x, 0.5), "`self` not being vmapped over at level 1. Please"),
        (
            lambda c, x: vmap(lambda y: c.lerp_(y, y))(x.expand(2, 3)),
            "at level 2. Please try to use out-of-place operators instead of aten::lerp_.",
        ),
    ],
)
def test_what_is_the_same_for_all_samples_is_not_written_by_one(write, words):
    with pytest.raises(RuntimeError, match=re.escape(words)):
        vmap(lambda x: write(torch.ones(3), x))(torch.ones(2, 3))


def test_bernoulli_refuses_what_pytorch_does():
    with pytest.raises(RuntimeError, match="does not currently support same randomness with a batched tensor input"):
        vmap(lambda x: torch.bernoulli(x, 0.5), randomness="same")(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match=r"^vmap: inplace bernoulli\(self, \*extra_args\) is not possible"):
        vmap(lambda x: torch.ones(3).bernoulli_(x), randomness="different")(torch.ones(2, 3))


def test_the_address_of_a_sample_is_hidden():
    with pytest.raises(RuntimeError, match="^Cannot access data pointer of Tensor that doesn't have storage$"):
        vmap(lambda x: x * x.data_ptr())(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="data pointer"):
        grad(lambda x: (x * x.data_ptr()).sum())(torch.ones(3))


@pytest.mark.parametrize(
    "move, shape",
    [
        (lambda s: s.t_(), (2, 3, 1)),
        (lambda s: s.squeeze_(), (2, 3)),
        (lambda s: s.unsqueeze_(-1), (2, 1, 3, 1)),
        (lambda s: s.transpose_(0, 1), (2, 3, 1)),
        (lambda s: s.t_().unsqueeze_(0).add_(1), (2, 1, 3, 1)),
    ],
)
def test_an_argument_is_moved_as_its_samples_are(move, shape):
    x = torch.arange(6.0).view(2, 1, 3)
    y = vmap(move)(x)
    assert x.shape == shape and torch.equal(x, y) and x.stride() == y.stride()


def test_an_argument_is_not_moved_as_other_samples_of_it_are():
    x = torch.arange(6.0).view(2, 1, 3)
    vmap(lambda s: s.detach().t_() + s.t())(x)
    with torch.no_grad():
        vmap(lambda s: s.detach().t_() + s.t())(x)
    assert x.shape == (2, 1, 3)


@pytest.mark.parametrize(
    "f",
    [
        torch.frexp,
        lambda a: torch.histc(a, 4),
        lambda a: torch.nextafter(a, a + 1),
        lambda a: a.clone().nextafter_(torch.ones(3)),
        lambda a: torch.special.zeta(a.abs() + 2, a.abs() + 1),
        torch.linalg.lu,
        torch.linalg.lu_factor_ex,
        lambda a: torch.lu_unpack(*torch.linalg.lu_factor(a)),
        lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), a.mT),
        lambda a: tuple(torch.linalg.lstsq(a, a[:, 0], driver="gelsd")),
    ],
)
def test_functions_that_read_numbers_do_so_of_one_sample_after_another(f):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3)
    each = [f(a) for a in x]
    made = vmap(f)(x)
    for k, t in enumerate(made if isinstance(made, tuple) else [made]):
        assert torch.allclose(t, torch.stack([e[k] if isinstance(e, tuple) else e for e in each]), atol=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda a: torch.linalg.lu_factor(a)[0].square().sum(),
        lambda a: sum(t.square().sum() for t in torch.linalg.lu(a)),
        lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), B[:3, :3]).square().sum(),
        lambda a: torch.frexp(a)[0].square().sum(),
        lambda a: torch.special.zeta(2.0, a.abs() + 1).sum(),
    ],
)
def test_gradients_of_functions_that_read_numbers(f):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 3) + 2 * torch.eye(3)
    expected = torch.stack([grad(f)(a) for a in x])
    assert torch.allclose(vmap(grad(f))(x), expected, atol=1e-4)
    assert torch.allclose(grad(lambda x: vmap(f)(x).sum())(x), expected, atol=1e-4)


@pytest.mark.parametrize("draw", [torch.poisson, torch._standard_gamma, lambda x: torch.binomial(x, x / 9)])
def test_what_is_drawn_of_the_numbers_of_samples(draw):
    x = torch.full((2, 50), 6.0)
    a, b = vmap(draw, randomness="different")(x)
    assert not torch.equal(a, b)
    a, b = vmap(lambda _: draw(x[0]), randomness="same")(x)
    assert torch.equal(a, b)
    with pytest.raises(RuntimeError, match="does not currently support same randomness"):
        vmap(draw, randomness="same")(x)
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        vmap(lambda _: draw(x[0]))(x)
