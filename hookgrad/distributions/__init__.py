"""Distributions whose samples and probabilities can be differentiated by their parameters.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

import sys
from types import ModuleType

from . import _composed, _counts, _numbers, _transformed, _vectors, constraints, distribution, transforms
from .distribution import Distribution
from .kl import kl_divergence, register_kl
from .transforms import *  # noqa: F403

# Modules of PyTorch's that have no file of their own here, by where their classes are.
_MODULES = {
    _composed: "independent.Independent mixture_same_family.MixtureSameFamily transformed_distribution.TransformedDistribution",
    _counts: """bernoulli.Bernoulli binomial.Binomial categorical.Categorical continuous_bernoulli.ContinuousBernoulli
        geometric.Geometric multinomial.Multinomial negative_binomial.NegativeBinomial one_hot_categorical.OneHotCategorical
        one_hot_categorical.OneHotCategoricalStraightThrough poisson.Poisson""",
    _numbers: """beta.Beta cauchy.Cauchy chi2.Chi2 dirichlet.Dirichlet exponential.Exponential fishersnedecor.FisherSnedecor gamma.Gamma
        generalized_pareto.GeneralizedPareto laplace.Laplace normal.Normal studentT.StudentT uniform.Uniform von_mises.VonMises""",
    _transformed: """gumbel.Gumbel half_cauchy.HalfCauchy half_normal.HalfNormal inverse_gamma.InverseGamma kumaraswamy.Kumaraswamy
        log_normal.LogNormal logistic_normal.LogisticNormal pareto.Pareto relaxed_bernoulli.LogitRelaxedBernoulli
        relaxed_bernoulli.RelaxedBernoulli relaxed_categorical.ExpRelaxedCategorical relaxed_categorical.RelaxedOneHotCategorical
        weibull.Weibull""",
    _vectors: """lkj_cholesky.LKJCholesky lowrank_multivariate_normal.LowRankMultivariateNormal
        multivariate_normal.MultivariateNormal multivariate_normal._batch_mahalanobis multivariate_normal._batch_mv
        multivariate_normal._precision_to_scale_tril wishart.Wishart""",
    distribution: "exp_family.ExponentialFamily",
    transforms: "constraint_registry.ConstraintRegistry constraint_registry.biject_to constraint_registry.transform_to",
}

for _home, _names in _MODULES.items():
    for _name in _names.split():
        _module, _, _class = _name.partition(".")
        _full = f"{__name__}.{_module}"
        _made = sys.modules.setdefault(_full, ModuleType(_full))
        globals()[_module] = _made
        _found = globals()[_class] = vars(_made)[_class] = getattr(_home, _class)
        if isinstance(_found, type):
            _found.__module__ = f"{_found.__module__.rpartition('.')[0]}.{_module}"

__all__ = """Bernoulli Beta Binomial Categorical Cauchy Chi2 ContinuousBernoulli Dirichlet Distribution Exponential ExponentialFamily
    FisherSnedecor Gamma GeneralizedPareto Geometric Gumbel HalfCauchy HalfNormal Independent InverseGamma Kumaraswamy LKJCholesky Laplace
    LogNormal LogisticNormal LowRankMultivariateNormal MixtureSameFamily Multinomial MultivariateNormal NegativeBinomial Normal
    OneHotCategorical OneHotCategoricalStraightThrough Pareto Poisson RelaxedBernoulli RelaxedOneHotCategorical StudentT
    TransformedDistribution Uniform VonMises Weibull Wishart biject_to constraints kl_divergence register_kl transform_to""".split()
__all__ += transforms.__all__
