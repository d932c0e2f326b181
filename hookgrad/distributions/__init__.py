"""Distributions whose samples and probabilities can be differentiated by their parameters.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

from . import constraints
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .dirichlet import Dirichlet
from .distribution import Distribution
from .exponential import Exponential
from .gamma import Gamma
from .independent import Independent
from .kl import kl_divergence, register_kl
from .laplace import Laplace
from .multivariate_normal import MultivariateNormal
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .poisson import Poisson
from .uniform import Uniform

__all__ = """Bernoulli Beta Binomial Categorical Dirichlet Distribution Exponential Gamma Independent Laplace MultivariateNormal Normal
    OneHotCategorical Poisson Uniform constraints kl_divergence register_kl""".split()
