"""The same seed gives the same numbers as PyTorch."""

import inspect

import numpy as np
import pytest
import torch
from compare import same

import hookgrad

SIZES = [(1,), (3,), (15,), (16,), (17,), (31,), (32,), (100,), (2, 3), (4, 4), (5, 7, 3), (0,)]
CASES = {
    "rand": lambda t, s: t.rand(s),
    "rand float64": lambda t, s: t.rand(s, dtype=t.float64),
    "rand float16": lambda t, s: t.rand(s, dtype=t.float16),
    "rand bfloat16": lambda t, s: t.rand(s, dtype=t.bfloat16),
    "randn": lambda t, s: t.randn(s),
    "randn float64": lambda t, s: t.randn(s, dtype=t.float64),
    "randint": lambda t, s: t.randint(-5, 1000, s),
    "randint of a large range": lambda t, s: t.randint(0, 2**40, s),
    "randint float": lambda t, s: t.randint(0, 10, s, dtype=t.float32),
    "rand_like": lambda t, s: t.rand_like(t.zeros(s)),
    "randn_like": lambda t, s: t.randn_like(t.zeros(s, dtype=t.float64)),
    "randint_like": lambda t, s: t.randint_like(t.zeros(s), 3, 9),
    "uniform_": lambda t, s: t.empty(s).uniform_(-2, 5),
    "uniform_ float64": lambda t, s: t.empty(s, dtype=t.float64).uniform_(0.1, 0.2),
    "normal_": lambda t, s: t.empty(s).normal_(3, 0.5),
    "normal_ not contiguous": lambda t, s: t.zeros(*s, 2)[..., 0].normal_(),
    "normal": lambda t, s: t.normal(1.0, 2.0, s),
    "normal of tensors": lambda t, s: t.normal(t.ones(s), t.full(s, 0.5)),
    "bernoulli of a tensor": lambda t, s: t.bernoulli(t.full(s, 0.3)),
    "bernoulli_ of a tensor": lambda t, s: t.empty(s).bernoulli_(t.full(s, 0.7)),
    "bernoulli": lambda t, s: t.bernoulli(t.zeros(s), 0.3),
    "bernoulli_": lambda t, s: t.empty(s, dtype=t.int32).bernoulli_(0.7),
    "bernoulli_ of a transposed tensor": lambda t, s: t.empty(*s, 3).transpose(0, -1).bernoulli_(0.7),
    "dropout": lambda t, s: t.nn.functional.dropout(t.ones(s), 0.3),
    "dropout of bfloat16": lambda t, s: t.nn.functional.dropout(t.ones(s, dtype=t.bfloat16), 0.3),
    "dropout of a transposed tensor": lambda t, s: t.nn.functional.dropout(t.ones(*s, 3).transpose(0, -1), 0.9),
    "dropout of everything": lambda t, s: t.nn.functional.dropout(t.ones(s), 1.0),
    "dropout of channels": lambda t, s: t.nn.functional.dropout2d(t.ones(3, *s[:1], 2, 2), 0.3),
    "alpha_dropout": lambda t, s: t.nn.functional.alpha_dropout(t.ones(s), 0.3, True),
    "feature_dropout": lambda t, s: t.feature_dropout(t.ones(3, *s), 0.3, True),
    "native_dropout": lambda t, s: t.cat([r.float() for r in t.native_dropout(t.ones(s), 0.3, True)]),
    "multinomial": lambda t, s: t.multinomial(t.ones(9), 7),
    "multinomial with replacement": lambda t, s: t.multinomial(t.arange(1.0, 9.0), 70, True),
    "exponential_": lambda t, s: t.empty(*s, 3).transpose(0, -1).exponential_(2.0),
    "cauchy_": lambda t, s: t.empty(*s, 3).transpose(0, -1).cauchy_(),
    "geometric_": lambda t, s: t.empty(*s, 3).transpose(0, -1).geometric_(0.3),
    "log_normal_": lambda t, s: t.empty(*s, 3).transpose(0, -1).log_normal_(),
    "random_": lambda t, s: t.zeros(s, dtype=t.int64).random_(0, 77),
    "two in a row": lambda t, s: t.cat([t.randn(s).ravel(), t.rand(s).ravel(), t.randn(s).ravel(), t.randn(3)]),
}


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 + 5])
@pytest.mark.parametrize("case", CASES)
def test_numbers_of_a_seed(case, seed):
    for size in SIZES:
        results = []
        for lib in (torch, hookgrad):
            lib.manual_seed(seed)
            results.append(CASES[case](lib, size))
        same(*results, f"{case} {size}")
        # What follows shows that both drew equally often.
        same(torch.rand(2), hookgrad.rand(2), f"rand after {case} {size}")


@pytest.mark.parametrize("n", [0, 1, 2, 10, 100, 3000])
def test_randperm(n):
    for seed in range(3):
        torch.manual_seed(seed), hookgrad.manual_seed(seed)
        same(torch.randperm(n), hookgrad.randperm(n))


def test_cached_normal_survives_between_calls_and_is_dropped_by_a_seed():
    for lib in (torch, hookgrad):
        lib.manual_seed(3)
    for size in (1, 2, 3, 20, 1, 5):
        same(torch.randn(size), hookgrad.randn(size), f"randn({size})")
    for lib in (torch, hookgrad):
        lib.manual_seed(4)
    same(torch.randn(1), hookgrad.randn(1))


def test_generators_of_their_own():
    ours, theirs = hookgrad.Generator().manual_seed(9), torch.Generator().manual_seed(9)
    same(torch.rand(3, generator=theirs), hookgrad.rand(3, generator=ours))
    same(torch.randn(20, generator=theirs), hookgrad.randn(20, generator=ours))
    same(torch.randperm(9, generator=theirs), hookgrad.randperm(9, generator=ours))
    assert ours.initial_seed() == theirs.initial_seed()


LAYERS = {
    "Linear": lambda nn: nn.Linear(5, 4),
    "Linear without bias": lambda nn: nn.Linear(3, 2, bias=False),
    "Conv1d": lambda nn: nn.Conv1d(2, 3, 3),
    "Conv2d": lambda nn: nn.Conv2d(4, 6, (3, 2), groups=2),
    "Embedding": lambda nn: nn.Embedding(7, 3, padding_idx=2),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "LayerNorm": lambda nn: nn.LayerNorm((2, 3)),
    "Sequential": lambda nn: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 10), nn.Linear(10, 2)
    ),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_default_initialisation(layer):
    made = []
    for lib in (torch, hookgrad):
        lib.manual_seed(11)
        made.append(LAYERS[layer](lib.nn))
    theirs, ours = (m.state_dict() for m in made)
    assert list(theirs) == list(ours)
    for name in theirs:
        same(theirs[name], ours[name], name)


INITS = {
    "uniform_": {}, "normal_": {"mean": 1.0, "std": 0.1}, "trunc_normal_": {"std": 0.5}, "constant_": {"val": 3.0},
    "ones_": {}, "zeros_": {}, "eye_": {}, "dirac_": {}, "xavier_uniform_": {"gain": 2.0}, "xavier_normal_": {},
    "kaiming_uniform_": {"a": 0.3, "mode": "fan_out"}, "kaiming_normal_": {"nonlinearity": "relu"}, "orthogonal_": {},
    "sparse_": {"sparsity": 0.4},
}  # fmt: skip


@pytest.mark.parametrize("name", INITS)
def test_initialisers(name):
    for shape in [(4, 5), (8, 3), (6, 2, 3), (20, 30)]:
        if (len(shape) != 2 and name in ("eye_", "sparse_")) or (len(shape) == 2 and name == "dirac_"):
            continue
        results = []
        for lib in (torch, hookgrad):
            lib.manual_seed(5)
            results.append(getattr(lib.nn.init, name)(lib.empty(shape), **INITS[name]))
        same(*results, f"{name} {shape}", slack=4 if name == "orthogonal_" else 1)


def test_every_initialiser_of_pytorch_is_here():
    public = [n for n, f in inspect.getmembers(torch.nn.init, inspect.isfunction) if n.endswith("_") and n[0] != "_"]
    assert sorted(public) == sorted(INITS)
    for name in [*public, "calculate_gain"]:
        theirs, ours = (inspect.signature(getattr(lib.nn.init, name)).parameters for lib in (torch, hookgrad))
        assert [(p.name, p.default) for p in theirs.values()] == [(p.name, p.default) for p in ours.values()]


def test_calculate_gain():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu"):
        assert torch.nn.init.calculate_gain(name) == hookgrad.nn.init.calculate_gain(name)
    assert torch.nn.init.calculate_gain("leaky_relu", 0.3) == hookgrad.nn.init.calculate_gain("leaky_relu", 0.3)


def test_state_of_the_generator_goes_round():
    hookgrad.manual_seed(1)
    hookgrad.randn(3)
    state = hookgrad.get_rng_state()
    first = hookgrad.randn(5).tolist()
    hookgrad.set_rng_state(state)
    assert np.array_equal(first, hookgrad.randn(5).tolist())
