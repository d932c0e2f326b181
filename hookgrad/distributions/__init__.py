"""Distributions whose samples and probabilities can be differentiated by their parameters.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

import sys
from types import ModuleType

from . import _counts, _matrices, _numbers, _transformed, constraints, transforms
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .constraint_registry import biject_to, transform_to
from .dirichlet import Dirichlet
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .exponential import Exponential
from .gamma import Gamma
from .independent import Independent
from .kl import kl_divergence, register_kl
from .laplace import Laplace
from .mixture_same_family import MixtureSameFamily
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .transforms import *  # noqa: F403
from .uniform import Uniform

# Modules of PyTorch's that have no file of their own here, by where their classes are.
_MODULES = {
    _numbers: """cauchy.Cauchy chi2.Chi2 continuous_bernoulli.ContinuousBernoulli fishersnedecor.FisherSnedecor
        generalized_pareto.GeneralizedPareto studentT.StudentT von_mises.VonMises""",
    _counts: "geometric.Geometric multinomial.Multinomial negative_binomial.NegativeBinomial",
    _transformed: """gumbel.Gumbel half_cauchy.HalfCauchy half_normal.HalfNormal inverse_gamma.InverseGamma kumaraswamy.Kumaraswamy
        log_normal.LogNormal logistic_normal.LogisticNormal pareto.Pareto relaxed_bernoulli.LogitRelaxedBernoulli
        relaxed_bernoulli.RelaxedBernoulli relaxed_categorical.ExpRelaxedCategorical relaxed_categorical.RelaxedOneHotCategorical
        weibull.Weibull""",
    _matrices: """lkj_cholesky.LKJCholesky lowrank_multivariate_normal.LowRankMultivariateNormal
        wishart.Wishart""",
}

for _home, _names in _MODULES.items():
    for _name in _names.split():
        _module, _, _class = _name.partition(".")
        _full = f"{__name__}.{_module}"
        _made = sys.modules.setdefault(_full, ModuleType(_full))
        globals()[_module] = _made
        _found = globals()[_class] = vars(_made)[_class] = getattr(_home, _class)
        _found.__module__ = f"{_found.__module__.rpartition('.')[0]}.{_module}"

__all__ = """Bernoulli Beta Binomial Categorical Cauchy Chi2 ContinuousBernoulli Dirichlet Distribution Exponential ExponentialFamily
    FisherSnedecor Gamma GeneralizedPareto Geometric Gumbel HalfCauchy HalfNormal Independent InverseGamma Kumaraswamy LKJCholesky Laplace
    LogNormal LogisticNormal LowRankMultivariateNormal MixtureSameFamily Multinomial MultivariateNormal NegativeBinomial Normal
    OneHotCategorical OneHotCategoricalStraightThrough Pareto Poisson RelaxedBernoulli RelaxedOneHotCategorical StudentT
    TransformedDistribution Uniform VonMises Weibull Wishart biject_to constraints kl_divergence register_kl transform_to""".split()
__all__ += transforms.__all__
