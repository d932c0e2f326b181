"""torch.distributions: densities, draws and divergences; tests/oracle/scripts/67_distributions.py compares them with PyTorch."""

import math

import pytest

import hookgrad as torch
from hookgrad import distributions as D

one, two = torch.tensor(1.0), torch.tensor(2.0)
CONTINUOUS = [
    D.Normal(one, two), D.Laplace(one, two), D.Uniform(-one, two), D.Exponential(two), D.Gamma(two, two), D.Beta(two, two + 1),
]  # fmt: skip


@pytest.mark.parametrize("d", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_densities_integrate_to_one_and_have_the_moments(d):
    x = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    inside = d.support.check(x)
    x = x[inside]
    weight = d.log_prob(x).exp() * 0.001
    assert weight.sum().item() == pytest.approx(1, abs=2e-3)
    mean = (weight * x).sum()
    assert mean.item() == pytest.approx(d.mean.item(), abs=3e-3)
    assert (weight * (x - mean) ** 2).sum().item() == pytest.approx(d.variance.item(), rel=5e-3)
    entropy = -torch.where(weight > 0, weight * d.log_prob(x), torch.zeros(())).nansum()
    assert entropy.item() == pytest.approx(d.entropy().item(), abs=5e-3)


@pytest.mark.parametrize("d", [d for d in CONTINUOUS if d.has_rsample], ids=lambda d: type(d).__name__)
def test_draws_have_the_moments(d):
    torch.manual_seed(0)
    draws = d.sample((20_000,))
    assert draws.mean().item() == pytest.approx(d.mean.item(), abs=0.08)
    assert draws.var().item() == pytest.approx(d.variance.item(), rel=0.08)


@pytest.mark.parametrize("make", [D.Normal, D.Laplace, D.Uniform])
def test_draws_are_differentiable_by_the_parameters(make):
    a, b = torch.zeros(5, requires_grad=True), torch.ones(5, requires_grad=True)
    d = make(a, b)
    assert not d.sample().requires_grad
    d.rsample((3,)).sum().backward()
    assert a.grad is not None and b.grad.abs().sum() > 0


def test_discrete_probabilities_sum_to_one():
    for d in (D.Categorical(torch.tensor([1.0, 2.0, 5.0])), D.Bernoulli(torch.tensor(0.3))):
        assert d.log_prob(d.enumerate_support()).exp().sum().item() == pytest.approx(1)


def test_a_divergence_is_the_mean_of_the_log_ratio():
    torch.manual_seed(0)
    p, q = D.Normal(0.0, 1.0), D.Normal(0.5, 2.0)
    x = p.sample((50_000,))
    assert (p.log_prob(x) - q.log_prob(x)).mean().item() == pytest.approx(D.kl_divergence(p, q).item(), abs=0.02)


def test_a_normal_vector_is_independent_normals_where_its_covariance_is_diagonal():
    loc, scale, x = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]), torch.tensor([0.0, 1.0])
    one_by_one = D.Independent(D.Normal(loc, scale), 1)
    for given in (
        {"covariance_matrix": scale.pow(2).diag()},
        {"precision_matrix": scale.pow(-2).diag()},
        {"scale_tril": scale.diag()},
    ):
        d = D.MultivariateNormal(loc, **given)
        assert torch.allclose(d.log_prob(x), one_by_one.log_prob(x)) and torch.allclose(
            d.entropy(), one_by_one.entropy()
        )
        assert torch.allclose(d.covariance_matrix @ d.precision_matrix, torch.eye(2), atol=1e-6)


def test_arguments_are_checked_unless_told_not_to():
    with pytest.raises(ValueError, match="Expected parameter scale"):
        D.Normal(0.0, -1.0)
    assert math.isnan(D.Normal(0.0, -1.0, validate_args=False).entropy().item())
