# Every distribution, transform and divergence: seeded draws, densities, moments, entropies, batches and what cannot be done.
import itertools
import warnings

import torch
import torch.distributions as D
from torch.distributions import constraints as C
from torch.distributions import transforms as T
from torch.distributions.kl import kl_divergence
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli
from torch.distributions.transformed_distribution import TransformedDistribution

warnings.simplefilter("ignore")
t = torch.tensor
a, b, loc, M = t([0.5, 2.0, 3.5]), t([1.5, 0.7, 1.0]), t([0.0, 1.0, -1.0]), t([[2.0, 0.5], [0.5, 1.0]])


def show(name, f):
    try:
        value = f()
    except Exception as error:
        value = type(error).__name__
    if isinstance(value, torch.Tensor):
        value = [f"{v:.2f}".replace("-0.00", "0.00") for v in value.detach().double().flatten().tolist()]
    print(name, value)


made = [
    D.Cauchy(loc, b), D.Chi2(a), D.ContinuousBernoulli(t([0.2, 0.5, 0.9])), D.ContinuousBernoulli(logits=loc), D.FisherSnedecor(a + 4, b + 5),
    D.GeneralizedPareto(loc, b, t([0.0, 0.2, -0.5])), D.Geometric(t([0.2, 0.5, 0.9])), D.Gumbel(loc, b), D.HalfCauchy(b), D.HalfNormal(b),
    D.InverseGamma(a + 2, b), D.Kumaraswamy(a + 1, b + 1), D.LKJCholesky(3, t([0.5, 2.0])), D.LogNormal(loc, b), D.LogisticNormal(loc, b),
    D.LowRankMultivariateNormal(loc, t([[1.0], [0.5], [0.0]]), b), D.MixtureSameFamily(D.Categorical(t([0.3, 0.3, 0.4])), D.Normal(loc, b)),
    D.MixtureSameFamily(D.Categorical(torch.ones(4, 2)), D.Normal(torch.zeros(4, 2), torch.ones(4, 2))), D.Multinomial(5, t([0.2, 0.3, 0.5])),
    D.NegativeBinomial(t([3.0, 4.0, 5.0]), t([0.2, 0.5, 0.7])), D.OneHotCategoricalStraightThrough(t([0.2, 0.3, 0.5])), D.Pareto(a, b + 2),
    D.RelaxedBernoulli(t(0.7), t([0.2, 0.5, 0.9])), D.RelaxedOneHotCategorical(t(0.7), t([0.2, 0.3, 0.5])), D.StudentT(a + 1, loc, b),
    D.VonMises(loc, b), D.Weibull(a, b + 1), D.Wishart(t(4.0), M), D.Wishart(t([4.0, 5.0]), scale_tril=torch.eye(2)),
    TransformedDistribution(D.Normal(loc, b), [T.AffineTransform(1.0, -2.0), T.TanhTransform()]), LogitRelaxedBernoulli(t(0.7), logits=loc),
    D.Normal(loc, b), D.Beta(a + 1, b + 1), D.Dirichlet(a + 1), D.Poisson(a), D.Bernoulli(t([0.2, 0.5, 0.9])), D.Binomial(4, t([0.2, 0.5, 0.9])),
    D.Categorical(torch.ones(2, 3)), D.Gamma(a, b), D.Exponential(b), D.Laplace(loc, b), D.Uniform(loc, loc + b), D.MultivariateNormal(loc, torch.eye(3)),
    D.Independent(D.Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1),
]  # fmt: skip
for d in made:
    n = type(d).__name__
    print(repr(d), d.batch_shape, d.event_shape, d.has_rsample, type(d).__module__)
    for moment in ("mean", "mode", "variance", "stddev"):
        show(f"{n} {moment}", lambda: getattr(d, moment))
    show(f"{n} support", lambda: d.support.event_dim)
    for draw in (lambda: d.sample((2,)), lambda: d.rsample()):
        torch.manual_seed(3)
        show(f"{n} draw", draw)
    torch.manual_seed(4)
    x = d.sample()
    for f in (d.log_prob, d.cdf):
        show(f"{n} {f.__name__}", lambda: f(x))
    show(f"{n} icdf", lambda: d.icdf(t([0.1, 0.5, 0.8])))
    show(f"{n} entropy", d.entropy)
    show(f"{n} enumerate_support", d.enumerate_support)
    show(f"{n} expand", lambda: d.expand((5, *d.batch_shape)).log_prob(x))
    show(f"{n} nan", lambda: d.log_prob(torch.full(d.batch_shape + d.event_shape, float("nan"))))
for p, q in itertools.product(made, made):
    show(f"kl {type(p).__name__} {type(q).__name__}", lambda: kl_divergence(p, q))

x = t([[0.3, -1.2, 0.7], [1.0, 0.2, -0.4]])
for k in (
    T.ExpTransform(), T.PowerTransform(2), T.SigmoidTransform(), T.TanhTransform(), T.SoftplusTransform(), T.AbsTransform(), T.AffineTransform(1.0, -2.0),
    T.AffineTransform(t([1.0, 2.0, 3.0]), t([1.0, -1.0, 2.0]), event_dim=1), T.SoftmaxTransform(), T.StickBreakingTransform(), T.CorrCholeskyTransform(),
    T.ComposeTransform([T.AffineTransform(0.0, 0.5), T.StickBreakingTransform()]), T.IndependentTransform(T.ExpTransform(), 1),
    T.ReshapeTransform((3,), (3, 1)), T.CatTransform([T.ExpTransform(), T.identity_transform], dim=1, lengths=[1, 2]),
    T.StackTransform([T.ExpTransform(), T.TanhTransform()], dim=0), T.CumulativeDistributionTransform(D.Normal(0.0, 1.0)), T.identity_transform,
):  # fmt: skip
    n = type(k).__name__
    show(f"{n} y", lambda: k(x))
    show(f"{n} x", lambda: k.inv(k(x)))
    show(f"{n} slope", lambda: k.log_abs_det_jacobian(x, k(x)))
    show(f"{n} facts", lambda: (repr(k), k.domain.event_dim, k.codomain.event_dim, k.bijective))
    show(f"{n} sign", lambda: k.sign)
    show(f"{n} shapes", lambda: (tuple(k.forward_shape((4, 3))), tuple(k.inverse_shape((4, 3)))))
    show(f"{n} cache", lambda: (lambda c: c.inv(c(x)) is x)(k.with_cache()))
for c in (
    C.boolean, C.real, C.positive, C.nonnegative, C.unit_interval, C.simplex, C.lower_cholesky, C.positive_definite, C.positive_semidefinite,
    C.corr_cholesky, C.square, C.symmetric, C.lower_triangular, C.one_hot, C.nonnegative_integer, C.positive_integer, C.real_vector, C.dependent,
    C.greater_than(1.0), C.greater_than_eq(1.0), C.less_than(1.0), C.interval(0.0, 2.0), C.half_open_interval(0.0, 1.0), C.integer_interval(0, 3),
    C.multinomial(2), C.independent(C.real, 2), C.MixtureSameFamilyConstraint(C.positive), C.stack([C.real, C.positive, C.real], 0),
):  # fmt: skip
    show("constraint", lambda: (c.event_dim, c.is_discrete))
    show("check", lambda: c.check(torch.eye(3)))
    for registry in (D.biject_to, D.transform_to):
        show("registry", lambda: registry(c)(torch.full((3, 3), 0.25)))
