"""Random tensors: the same seed gives PyTorch's numbers, bit for bit where no logarithm is involved."""

import copy
import math
import pickle

import pytest

import hookgrad as torch


def doubles(t):
    return t.double().tolist()


def near(a, b, tolerance=2e-7):
    return all(abs(x - y) <= tolerance * max(1, abs(y)) for x, y in zip(a, b, strict=True))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(42)


# ---- PyTorch's numbers


def test_uniform():
    expected = [0.8822692632675171, 0.9150039553642273, 0.38286375999450684, 0.9593056440353394]
    assert doubles(torch.rand(4)) == expected
    torch.manual_seed(42)
    assert torch.rand(3, dtype=torch.float64).tolist() == [
        0.05815448596142969,
        0.06291016742457756,
        0.12358607277440903,
    ]
    torch.manual_seed(42)
    assert doubles(torch.empty(3).uniform_(-2, 3)) == [2.411346435546875, 2.5750198364257812, -0.08568120002746582]


def test_uniform_halves():
    assert torch.rand(2, dtype=torch.float16).tolist() == [0.88232421875, 0.9150390625]
    assert torch.rand(2, dtype=torch.bfloat16).tolist() == [0.3828125, 0.9609375]
    assert all(x < 1 for x in torch.rand(1000, dtype=torch.bfloat16).tolist())


def test_strided_tensors_are_filled_in_memory_order():
    x = torch.zeros(2, 6)
    x[:, ::2].uniform_()
    assert doubles(x[:, ::2].flatten())[:4] == [
        0.8822692632675171, 0.9150039553642273, 0.38286375999450684, 0.9593056440353394,
    ]  # fmt: skip
    torch.manual_seed(42)
    a = torch.zeros(3, 5).t().uniform_()
    torch.manual_seed(42)
    assert a.tolist() == torch.rand(3, 5).t().tolist()


def test_few_normals_come_in_pairs_that_survive_between_calls():
    assert near(torch.randn(3).tolist(), [0.33669036626815796, 0.12880940735340118, 0.23446236550807953])
    assert near(torch.randn(2).tolist(), [0.23033303022384644, -1.1228563785552979])
    torch.manual_seed(42)
    assert near(torch.empty(2).normal_(1, 2).tolist(), [1.673380732536316, 1.25761878490448])


def test_many_normals_come_sixteen_at_a_time():
    assert near(torch.randn(17).tolist()[-3:], [-0.2515752911567688, 0.859858512878418, -0.3097267746925354])
    torch.manual_seed(42)
    expected = [0.2995562877502637, 0.24237779080894106, 0.28320739441795323]
    assert near(torch.randn(16, dtype=torch.float64).tolist()[:3], expected, 1e-14)
    torch.manual_seed(42)
    a = torch.normal(torch.tensor([0.0, 10.0]), torch.tensor([1.0, 2.0]))
    assert near(a.tolist(), [0.33669036626815796, 10.25761890411377])
    assert near(torch.normal(1.0, 2.0, (2,)).tolist(), [1.4689247608184814, 1.4606660604476929])


def test_integers():
    assert torch.randint(0, 10, (8,)).tolist() == [2, 7, 6, 4, 6, 5, 0, 4]
    assert torch.randint(-3, 2**40, (2,)).tolist() == [439993648628, 902364669712]
    torch.manual_seed(42)
    assert torch.empty(3, dtype=torch.int64).random_().tolist() == [
        6909045637428952499, 8314211556539077902, 4279532810384561223,
    ]  # fmt: skip
    assert torch.empty(3).random_().tolist() == [4304419.0, 13314940.0, 15783487.0]
    assert torch.empty(3, dtype=torch.uint8).random_().tolist() == [121, 210, 214]
    assert torch.empty(3).random_(7).tolist() == [6.0, 4.0, 1.0]


def test_permutations_and_coins():
    assert torch.randperm(8).tolist() == [6, 3, 0, 7, 2, 1, 4, 5]
    torch.manual_seed(42)
    assert torch.bernoulli(torch.full((8,), 0.4)).tolist() == [0, 0, 1, 0, 1, 0, 1, 0]
    assert torch.empty(8).bernoulli_(0.4).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    dropped = torch.nn.functional.dropout(torch.ones(2, 4).t(), 0.3)
    assert (dropped > 0).tolist() == [[False, True], [False, False], [True, True], [True, True]]
    assert dropped.max().item() == 1.4285714626312256
    assert torch.rand(1).item() == 0.634341835975647


# ---- generators


def test_a_generator_of_ones_own():
    g = torch.Generator().manual_seed(7)
    before = torch.get_rng_state()
    assert near(torch.rand(2, generator=g).tolist(), [0.5349225401878357, 0.19880318641662598], 0)
    assert torch.randperm(4, generator=g).tolist() == [1, 3, 0, 2]
    assert torch.equal(before, torch.get_rng_state())


def test_only_the_low_bits_of_a_seed_count():
    torch.manual_seed(2**32 + 5)
    a = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(a, torch.rand(3))


def test_state_can_be_saved_and_put_back():
    torch.randn(3)
    state = torch.get_rng_state()
    a = torch.randn(5), torch.rand(3)
    torch.set_rng_state(state)
    b = torch.randn(5), torch.rand(3)
    assert all(map(torch.equal, a, b))


# ---- distributions


def test_moments():
    n = 100_000
    x = torch.empty(n).exponential_(2.0)
    assert abs(x.mean().item() - 0.5) < 0.01 and abs(x.std().item() - 0.5) < 0.02 and x.min().item() >= 0
    y = torch.randn(n)
    assert abs(y.mean().item()) < 0.02 and abs(y.std().item() - 1) < 0.01
    z = torch.empty(n).bernoulli_(0.3)
    assert abs(z.mean().item() - 0.3) < 0.01 and z.unique().tolist() == [0, 1]


def test_multinomial_draws_in_proportion():
    weights = torch.tensor([1.0, 0.0, 3.0])
    x = torch.multinomial(weights, 40_000, replacement=True)
    counts = torch.bincount(x, minlength=3).tolist()
    assert counts[1] == 0 and abs(counts[2] / 40_000 - 0.75) < 0.01
    for _ in range(20):
        assert sorted(torch.multinomial(weights, 2).tolist()) == [0, 2]
    assert torch.multinomial(torch.ones(4, 3), 2).shape == (4, 2)


def test_multinomial_without_replacement():
    torch.manual_seed(3)
    assert torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), 3).tolist() == [0, 3, 1]
    torch.manual_seed(1)
    assert torch.multinomial(torch.tensor([1.0, 0.0, 0.0]), 2).tolist() == [
        0,
        1,
    ]  # the odds run out: the first is taken


def test_dropout_by_torch_names():
    x = torch.ones(6, 4, requires_grad=True)
    y, mask = torch.native_dropout(x, 0.5, True)
    assert mask.dtype == torch.bool and torch.equal(y, mask * 2.0) and y.grad_fn.name() == "NativeDropoutBackward0"
    assert y.grad_fn._saved_result1 is mask and y.grad_fn._saved_p == 0.5
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert torch.native_dropout(x, 0.5, False)[1].all() and not torch.native_dropout(x, 1.0, True)[1].any()
    rows = torch.feature_dropout(torch.ones(2, 8, 3), 0.5, True)
    assert torch.equal(rows[..., 0], rows[..., 2]) and set(rows.unique().tolist()) == {0, 2}
    z = torch.ones(50)
    assert torch.dropout_(z, 0.5, True) is z and set(z.tolist()) == {0, 2}
    assert torch.alpha_dropout_(z, 0.5, True) is z
    z = torch.ones(2, 8, 3)
    assert torch.feature_dropout_(z, 0.5, True) is z and torch.feature_alpha_dropout_(z, 0.5, True) is z


def test_dropout_scales_what_it_keeps():
    x = torch.ones(10_000, requires_grad=True)
    y = torch.nn.functional.dropout(x, 0.2)
    kept = (y != 0).double().mean().item()
    assert abs(kept - 0.8) < 0.02 and y.max().item() == 1.25 and y.grad_fn.name() == "MulBackward0"
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert torch.nn.functional.dropout(x, 0.2, training=False).tolist() == x.tolist()
    assert torch.nn.functional.dropout(x, 1.0).sum().item() == 0


@pytest.mark.parametrize(
    "draw, words",
    [
        (
            lambda: torch.empty(3).uniform_(2, 1),
            "uniform_ expects to return a [from, to) range, but found from=2 > to=1",
        ),
        (lambda: torch.empty(3).normal_(0, -1), "normal expects std >= 0.0, but found std -1"),
        (lambda: torch.randint(5, 5, (2,)), "random_ expects 'from' to be less than 'to', but got from=5 >= to=5"),
        (lambda: torch.empty(2, dtype=torch.uint8).random_(300), "to - 1 is out of bounds for unsigned char"),
        (
            lambda: torch.multinomial(torch.ones(2), 3),
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement",
        ),
        (
            lambda: torch.multinomial(torch.tensor([1.0, math.nan]), 1),
            "probability tensor contains either `inf`, `nan` or element < 0",
        ),
        (lambda: torch.empty(2).bernoulli_(2.0), "bernoulli_ expects p to be in [0, 1], but got p=2"),
    ],
)
def test_refusals(draw, words):
    with pytest.raises(RuntimeError) as failure:
        draw()
    assert str(failure.value) == words


def test_random_integers_have_no_normals():
    with pytest.raises(NotImplementedError):
        torch.randn(3, dtype=torch.int64)


def test_draws_from_other_distributions_are_pytorchs():
    def drawn(fill, *shape, dtype=torch.float64):
        torch.manual_seed(0)
        return fill(torch.empty(shape, dtype=dtype)).tolist()

    assert drawn(lambda t: t.cauchy_(1, 2), 3) == pytest.approx([22.1955, 2.5295, 0.7434], abs=1e-4)
    assert drawn(lambda t: t.geometric_(0.3), 6) == [1, 1, 3, 1, 2, 1]
    assert drawn(lambda t: t.geometric_(0.2), 5, dtype=torch.int64) == [1, 2, 4, 1, 2]
    assert drawn(lambda t: t.log_normal_(1, 0.5), 20)[:4] == pytest.approx([5.8738, 2.3473, 0.9145, 3.6118], abs=1e-4)
    for wrong in (lambda t: t.cauchy_(0, 0), lambda t: t.geometric_(1), lambda t: t.log_normal_(0, -1)):
        with pytest.raises(RuntimeError, match="expects"):
            wrong(torch.empty(2))


def test_results_written_into_the_tensor():
    a = torch.tensor([4, 6])
    assert a.clone().gcd_(torch.tensor([6, 9])).tolist() == [2, 3]
    assert a.clone().lcm_(torch.tensor([6, 9])).tolist() == [12, 18]
    x = torch.tensor([[3.0, 4.0]])
    assert x.clone().renorm_(2, 0, 1.0).tolist()[0] == pytest.approx([0.6, 0.8], abs=1e-5)
    assert x.clone().ldexp_(torch.tensor([1, 2])).tolist() == [[6, 16]]


def test_a_function_under_fork_rng_draws_beside_the_stream():
    @torch.random.fork_rng()
    def draw():
        return torch.rand(1)

    torch.manual_seed(0)
    assert draw().equal(draw()) and draw().equal(torch.rand(1))
    assert draw.__name__ == "draw"


def test_a_generator_is_copied_where_it_stands():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    copies = [copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))]
    drawn = torch.rand(3, generator=generator)
    assert all(torch.rand(3, generator=c).equal(drawn) for c in copies)


@pytest.mark.parametrize("std", [-1.0, torch.tensor([1.0, -1.0])], ids=["a number", "a tensor"])
def test_a_deviation_below_zero_is_refused(std):
    with pytest.raises(RuntimeError, match="normal expects (all elements of )?std >= 0.0"):
        torch.normal(torch.zeros(2), std)
    assert torch.normal(torch.zeros(0), torch.zeros(0)).shape == (0,)


def test_a_generator_shows_itself_as_pytorchs():
    assert (torch.Generator.__module__, torch._C.Generator) == ("hookgrad._C", torch.Generator)


def test_there_are_no_threads_with_generators_of_their_own():
    assert torch.random.thread_safe_generator() is torch.thread_safe_generator() is None


def test_there_are_only_so_many_categories():
    with pytest.raises(RuntimeError, match=r"number of categories cannot exceed 2\^24"):
        torch.ones(1).expand(2**24 + 1).multinomial(1)
