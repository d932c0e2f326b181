"""torch.distributions: densities, draws and divergences; tests/oracle/scripts/67_distributions.py compares them with PyTorch."""

import math

import pytest

import hookgrad as torch
from hookgrad import distributions as D
from hookgrad.distributions import constraints
from hookgrad.distributions import transforms as T

one, two = torch.tensor(1.0), torch.tensor(2.0)
CONTINUOUS = [
    D.Normal(one, two), D.Laplace(one, two), D.Uniform(-one, two), D.Exponential(two), D.Gamma(two, two), D.Beta(two, two + 1),
    D.Gumbel(one, one), D.Weibull(two, two), D.Kumaraswamy(two, two + 1), D.LogNormal(-one, one / 2), D.HalfNormal(two), D.Chi2(two + 2),
    D.StudentT(two * 8), D.InverseGamma(two * 5, two), D.ContinuousBernoulli(one / 4), D.GeneralizedPareto(one, two, -one / 4),
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


def test_counts_have_probabilities_that_sum_to_one():
    counts = torch.arange(400.0)
    for d in (D.Geometric(torch.tensor(0.2)), D.NegativeBinomial(3.0, torch.tensor(0.4))):
        p = d.log_prob(counts).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
        assert (p * counts).sum().item() == pytest.approx(d.mean.item(), rel=1e-4)
    d = D.Multinomial(3, torch.tensor([0.2, 0.8]))
    every = torch.tensor([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [0.0, 3.0]])
    p = d.log_prob(every).exp()
    assert p.sum().item() == pytest.approx(1) and -(p * p.log()).sum().item() == pytest.approx(d.entropy().item())
    assert d.sample((4,)).sum(-1).tolist() == [3.0] * 4


@pytest.mark.parametrize(
    "t, x",
    [
        (T.ExpTransform(), 0.3), (T.PowerTransform(3.0), 0.3), (T.SigmoidTransform(), 0.3), (T.TanhTransform(), 0.3),
        (T.SoftplusTransform(), 0.3), (T.AffineTransform(1.0, -2.0), 0.3), (T.ComposeTransform([T.ExpTransform(), T.AffineTransform(1.0, 2.0)]), 0.3),
        (T.CumulativeDistributionTransform(D.Normal(0.0, 1.0)), 0.3), (T.ExpTransform().inv, 0.3),
    ],
    ids=lambda t: repr(t).split("(")[0],
)  # fmt: skip
def test_transforms_are_inverted_and_know_their_slope(t, x):
    x = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    y = t(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert t.inv(y).item() == pytest.approx(x.item(), rel=1e-5) and t.inv.inv is t
    assert t.log_abs_det_jacobian(x, y).item() == pytest.approx(slope.abs().log().item(), rel=1e-5)
    assert t.sign == torch.sign(slope).item()


@pytest.mark.parametrize("t", [T.StickBreakingTransform(), T.CorrCholeskyTransform()], ids=lambda t: type(t).__name__)
def test_transforms_of_vectors_know_their_determinant(t):
    x = torch.tensor([0.3, -0.7, 0.2], dtype=torch.float64)
    y = t(x)
    free = (lambda x: t(x)[:-1]) if y.dim() == 1 else lambda x: t(x)[[1, 2, 2], [0, 0, 1]]
    jacobian = torch.autograd.functional.jacobian(free, x)
    assert t.log_abs_det_jacobian(x, y).item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item())
    assert t.inv(y).allclose(x) and t.codomain.check(y)
    assert t.inverse_shape(t.forward_shape(x.shape)) == x.shape


def test_parts_of_a_tensor_go_through_transforms_of_their_own():
    x = torch.tensor([[0.0, 1.0, 2.0]])
    cat = T.CatTransform([T.ExpTransform(), T.identity_transform], dim=1, lengths=[1, 2])
    assert cat(x).tolist() == [[1.0, 1.0, 2.0]] and cat.inv(cat(x)).equal(x)
    stack = T.StackTransform([T.ExpTransform(), T.AffineTransform(1.0, 2.0), T.AbsTransform()], dim=1)
    assert stack(x).tolist() == [[1.0, 3.0, 2.0]]
    assert T.ReshapeTransform((3,), (3, 1))(x).shape == (1, 3, 1)


def test_a_cache_gives_back_the_value_itself():
    t = T.TanhTransform(cache_size=1)
    x = torch.tensor([50.0])  # of which the image is 1
    y = t(x)
    assert t.inv(y) is x and T.TanhTransform().inv(y).isinf()
    assert D.TransformedDistribution(D.Normal(x, 1.0), t).log_prob(y).isfinite()


def test_a_registry_makes_values_of_any_set():
    x = torch.randn(3, 3)
    for constraint in (
        constraints.positive, constraints.unit_interval, constraints.simplex, constraints.lower_cholesky, constraints.positive_definite,
        constraints.greater_than(2.0), constraints.less_than(-1.0), constraints.interval(2.0, 4.0),
    ):  # fmt: skip
        assert constraint.check(D.transform_to(constraint)(x)).all(), constraint
    with pytest.raises(NotImplementedError, match="Cannot transform _Boolean constraints"):
        D.biject_to(constraints.boolean)


def test_a_mixture_draws_from_its_components():
    torch.manual_seed(0)
    d = D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.25, 0.75])), D.Normal(torch.tensor([-9.0, 9.0]), torch.ones(2))
    )
    draws = d.sample((4000,))
    assert (draws > 0).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert draws.mean().item() == pytest.approx(d.mean.item(), abs=0.3) and draws.var().item() == pytest.approx(
        d.variance.item(), rel=0.1
    )
    assert d.expand((5,)).sample().shape == (5,)


def test_normal_vectors_of_low_rank_are_normal_vectors():
    loc, factor, diagonal = torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [0.5]]), torch.tensor([0.5, 3.0])
    low = D.LowRankMultivariateNormal(loc, factor, diagonal)
    full = D.MultivariateNormal(loc, low.covariance_matrix)
    x = torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    assert low.log_prob(x).allclose(full.log_prob(x)) and low.entropy().allclose(full.entropy())
    assert low.scale_tril.allclose(full.scale_tril) and low.precision_matrix.allclose(full.precision_matrix, atol=1e-6)
    assert D.kl_divergence(low, full).abs() < 1e-5


@pytest.mark.parametrize("d", CONTINUOUS, ids=lambda d: type(d).__name__)
def test_distributions_are_broadcast_to_a_batch(d):
    wide = d.expand((4, 3))
    assert type(wide) is type(d) and wide.batch_shape == (4, 3) and wide.mean.shape == (4, 3)
    x = d.sample()
    assert wide.log_prob(x).allclose(d.log_prob(x).expand(4, 3)) and wide.sample((2,)).shape == (2, 4, 3)


def test_divergences_of_two_classes_are_means_of_the_log_ratio():
    torch.manual_seed(0)
    pairs = [
        (D.Gamma(two, two), D.Exponential(one)), (D.Beta(two, two + 1), D.Normal(0.0, one)), (D.Normal(0.0, one), D.Laplace(0.0, one)),
        (D.Uniform(one, two), D.Gamma(two, two)), (D.Gumbel(one, one), D.Normal(one, two)), (D.Exponential(one), D.Gumbel(one, two)),
        (D.Uniform(one / 4, one / 2), D.Beta(two, two)), (D.Pareto(one, two * 3), D.Exponential(one)), (D.HalfNormal(one), D.HalfNormal(two)),
    ]  # fmt: skip
    for p, q in pairs:
        x = p.sample((50_000,))
        assert (p.log_prob(x) - q.log_prob(x)).mean().item() == pytest.approx(D.kl_divergence(p, q).item(), abs=0.03), (
            p,
            q,
        )
    assert D.kl_divergence(D.Normal(0.0, one), D.Gamma(one, one)).isinf()
    a, b = D.Wishart(torch.tensor(4.0), torch.eye(2)), D.Wishart(torch.tensor(5.0), torch.eye(2) * 2)
    assert D.kl_divergence(a, a).abs() < 1e-5 and D.kl_divergence(a, b) > 0.1


def test_a_distribution_that_says_little_is_warned_of():
    class Bare(D.Distribution):
        def log_prob(self, value):
            self._validate_sample(value)

    with pytest.warns(UserWarning, match="does not define `arg_constraints`"):
        d = Bare()
    with pytest.warns(UserWarning, match="does not define `support`"):
        d.log_prob(torch.ones(()))
    with pytest.raises(NotImplementedError, match="does not implement mode"):
        d.mode  # noqa: B018
    with pytest.warns(FutureWarning, match="sample_n"):
        assert D.Normal(0.0, 1.0).sample_n(3).shape == (3,)


def test_draws_of_probabilities_stay_off_the_ends():
    torch.manual_seed(0)
    little = torch.full((500,), 0.01)
    for draws in (D.Beta(little, little).sample(), D.Dirichlet(little.expand(3, 500).T).sample()):
        assert (draws > 0).all() and (draws < 1).all()


def test_a_precision_that_is_hard_to_invert_gives_a_factor():
    p = torch.diag(torch.logspace(-6, 6, 8)) + 1e-7
    assert D.MultivariateNormal(torch.zeros(8), precision_matrix=p).scale_tril.isfinite().all()
    q = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    assert D.MultivariateNormal(torch.zeros(2), precision_matrix=q).covariance_matrix.allclose(torch.linalg.inv(q))


def test_parts_of_the_multivariate_normal():
    from hookgrad.distributions.multivariate_normal import _batch_mahalanobis, _batch_mv, _precision_to_scale_tril

    factor, x = torch.tensor([[2.0, 0.0], [1.0, 3.0]]), torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    covariance = factor @ factor.T
    assert torch.allclose(_batch_mv(factor, x), x @ factor.T)
    assert torch.allclose(_precision_to_scale_tril(covariance.inverse()), factor, atol=1e-5)
    squares = ((x @ covariance.inverse()) * x).sum(-1)
    assert torch.allclose(_batch_mahalanobis(factor, x), squares, atol=1e-6)
    assert _batch_mahalanobis(factor.expand(3, 1, 2, 2), x).shape == (3, 2)


def test_all_constraints_can_be_imported_at_once():
    names = {}
    exec("from hookgrad.distributions.constraints import *", names)
    assert {"positive", "Constraint", "is_dependent", "unit_interval"} < set(names)
