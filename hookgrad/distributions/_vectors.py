"""Distributions of normal vectors, and of matrices.

Source: https://docs.pytorch.org/docs/stable/distributions.html
"""

import math
import warnings

import hookgrad

from . import constraints
from ._numbers import Beta, Chi2
from .distribution import Distribution, ExponentialFamily
from .utils import _standard_normal, broadcast_all, lazy_property


def _choice(error, covariance_matrix, precision_matrix, scale_tril):
    """(The name of the one that is given, the matrix)."""
    given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
    given = [(name, matrix) for name, matrix in given.items() if matrix is not None]
    if len(given) != 1:
        raise error("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    return given[0]


def _as_factor(name, matrix):
    """The lower Cholesky factor of the covariance."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return hookgrad.linalg.cholesky(matrix)
    return _precision_to_scale_tril(matrix)


def _precision_to_scale_tril(P):
    """The lower Cholesky factor of the inverse."""
    upper = hookgrad.linalg.cholesky(P.flip(-2, -1)).flip(-2, -1)  # U with U U^T the matrix, which is not inverted
    return hookgrad.linalg.solve_triangular(upper.mT, hookgrad.eye(P.size(-1), dtype=P.dtype), upper=False)


def _batch_mv(bmat, bvec):
    """Matrices times vectors."""
    return (bmat @ bvec.unsqueeze(-1)).squeeze(-1)


def _batch_mahalanobis(bL, bx):
    """x (L L^T)^-1 x for lower factors and vectors."""
    diff = bx.unsqueeze(-1)
    factor = bL.expand((*hookgrad.broadcast_shapes(diff.shape[:-2], bL.shape[:-2]), -1, -1))
    diff = diff.expand((*factor.shape[:-2], -1, -1))
    return hookgrad.linalg.solve_triangular(factor, diff, upper=False).squeeze(-1).pow(2).sum(-1)


class MultivariateNormal(Distribution):
    """Normal vectors with mean `loc`, and a covariance, its inverse, or its lower Cholesky factor."""

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = _choice(ValueError, covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        batch_shape = hookgrad.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self._given = name
        self._matrix = matrix.expand((*batch_shape, -1, -1))
        self.loc = loc.expand((*batch_shape, -1))
        self.arg_constraints = {key: type(self).arg_constraints[key] for key in ("loc", name)}
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = _as_factor(name, matrix)

    def _is(self, name, other):
        return self._matrix if self._given == name else other()

    def _factor(self):
        return self._unbroadcasted_scale_tril.expand((*self._batch_shape, -1, -1))

    scale_tril = property(lambda self: self._is("scale_tril", self._factor))
    covariance_matrix = property(lambda self: self._is("covariance_matrix", lambda: self._factor() @ self._factor().mT))
    precision_matrix = property(
        lambda self: self._is("precision_matrix", lambda: hookgrad.linalg.inv(self._factor() @ self._factor().mT))
    )
    mean = mode = property(lambda self: self.loc)
    variance = property(lambda self: self._factor().pow(2).sum(-1))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        eps = hookgrad.normal(hookgrad.zeros(shape, dtype=self.loc.dtype), hookgrad.ones(shape, dtype=self.loc.dtype))
        return self.loc + _batch_mv(self._unbroadcasted_scale_tril, eps)

    def _half_log_det(self):
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        m = _batch_mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + m) - self._half_log_det()

    def entropy(self):
        return (0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()).expand(
            self._batch_shape
        )

    def __repr__(self):
        return f"MultivariateNormal(loc: {self.loc.size()}, {self._given}: {self._matrix.size()})"


class LowRankMultivariateNormal(Distribution):
    """Normal vectors with covariance `cov_factor` times its transpose, plus a diagonal matrix.

    >>> import hookgrad as torch
    >>> d = LowRankMultivariateNormal(torch.zeros(2), torch.tensor([[1.0], [0.0]]), torch.ones(2))
    >>> d.covariance_matrix
    tensor([[2., 0.],
            [0., 1.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        size = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != size:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {size[0]} x m")
        if cov_diag.shape[-1:] != size:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {size}")
        try:
            loc_, self.cov_factor, diag_ = hookgrad.broadcast_tensors(
                loc.unsqueeze(-1), cov_factor, cov_diag.unsqueeze(-1)
            )
        except RuntimeError as error:
            shapes = f"loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}"
            raise ValueError(f"Incompatible batch shapes: {shapes}") from error
        self.loc, self.cov_diag = loc_[..., 0], diag_[..., 0]
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        inner = (cov_factor.mT / cov_diag.unsqueeze(-2)) @ cov_factor
        eye = hookgrad.eye(cov_factor.size(-1), dtype=inner.dtype)
        self._unbroadcasted_capacitance_tril = hookgrad.linalg.cholesky(inner + eye)
        super().__init__(self.loc.shape[:-1], size, validate_args=validate_args)

    mean = mode = property(lambda self: self.loc)

    def _matrix(self, unbroadcasted):
        return unbroadcasted.expand(self._batch_shape + self._event_shape + self._event_shape)

    @property
    def variance(self):
        """The variances."""
        variance = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag
        return variance.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        factor = self._unbroadcasted_cov_factor
        return self._matrix(factor @ factor.mT + self._unbroadcasted_cov_diag.diag_embed())

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        factor, diag = self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag
        a = hookgrad.linalg.solve_triangular(
            self._unbroadcasted_capacitance_tril, factor.mT / diag.unsqueeze(-2), upper=False
        )
        return self._matrix(diag.reciprocal().diag_embed() - a.mT @ a)

    @lazy_property
    def scale_tril(self):
        """The covariance's lower Cholesky factor."""
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        eye = hookgrad.eye(scaled.size(-2), dtype=scaled.dtype)
        return self._matrix(root * hookgrad.linalg.cholesky(scaled @ scaled.mT + eye))

    def rsample(self, sample_shape=()):
        shape = self._extended_shape(sample_shape)
        along = _standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc.dtype)
        own = _standard_normal(shape, self.loc.dtype)
        along = (self._unbroadcasted_cov_factor @ along.unsqueeze(-1)).squeeze(-1)
        return self.loc + along + self._unbroadcasted_cov_diag.sqrt() * own

    def _log_det(self):
        half = self._unbroadcasted_capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * half + self._unbroadcasted_cov_diag.log().sum(-1)

    def _mahalanobis(self, x):
        """x C^-1 x, by Woodbury's identity."""
        factor, diag, L = (
            self._unbroadcasted_cov_factor,
            self._unbroadcasted_cov_diag,
            self._unbroadcasted_capacitance_tril,
        )
        within = (factor.mT / diag.unsqueeze(-2)) @ x.unsqueeze(-1)
        L = L.expand(within.shape[:-2] + L.shape[-2:])
        return (x.pow(2) / diag).sum(-1) - hookgrad.linalg.solve_triangular(L, within, upper=False).pow(2).sum((-2, -1))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        norm = self._event_shape[0] * math.log(2 * math.pi) + self._log_det()
        return -0.5 * (norm + self._mahalanobis(value - self.loc))

    def entropy(self):
        entropy = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return entropy.expand(self._batch_shape)


class LKJCholesky(Distribution):
    """Factors of correlation matrices of size `dim`, with density proportional to the determinant to a power."""

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        offset = hookgrad.arange(dim - 1, dtype=self.concentration.dtype)
        offset = hookgrad.cat([offset.new_zeros((1,)), offset])
        marginal = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1)
        self._beta = Beta(offset + 0.5, marginal - 0.5 * offset)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def sample(self, sample_shape=()):
        with hookgrad.no_grad():  # the onion method: a row's length, then its direction
            y = self._beta.sample(sample_shape).unsqueeze(-1)
            direction = hookgrad.randn(self._extended_shape(sample_shape), dtype=y.dtype).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            w = y.sqrt() * direction
            left = (1 - (w**2).sum(-1)).clamp(min=hookgrad.finfo(w.dtype).tiny)
            return w + left.sqrt().diag_embed()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        diagonal, n = value.diagonal(dim1=-1, dim2=-2)[..., 1:], self.dim - 1
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - hookgrad.arange(2, self.dim + 1)
        alpha = self.concentration + 0.5 * n
        norm = 0.5 * n * math.log(math.pi) + hookgrad.mvlgamma(alpha - 0.5, n) - alpha.lgamma() * n
        return (order * diagonal.log()).sum(-1) - norm


class Wishart(ExponentialFamily):
    """The sum of `df` outer products of normal vectors with a covariance, its inverse, or its lower Cholesky factor."""

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        self._given, matrix = _choice(AssertionError, covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        df = df if isinstance(df, hookgrad.Tensor) else hookgrad.tensor(df, dtype=matrix.dtype)
        batch_shape, event_shape = hookgrad.broadcast_shapes(matrix.shape[:-2], df.shape), matrix.shape[-2:]
        self.df = df.expand(batch_shape)
        p = event_shape[-1]
        if self.df.le(p - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}.")
        if self.df.lt(p).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        setattr(self, self._given, matrix.expand((*batch_shape, -1, -1)))
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_scale_tril = _as_factor(self._given, matrix)
        self._chi2 = Chi2(self.df.unsqueeze(-1) - hookgrad.arange(p, dtype=matrix.dtype))

    @property
    def arg_constraints(self):
        """What the parameters must be; df more than the size less one."""
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def _matrix(self, unbroadcasted):
        return unbroadcasted.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The covariance's lower Cholesky factor."""
        return self._matrix(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self):
        """The covariance."""
        return self._matrix(self._unbroadcasted_scale_tril @ self._unbroadcasted_scale_tril.mT)

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        return self._matrix(hookgrad.cholesky_inverse(self._unbroadcasted_scale_tril))

    mean = property(lambda self: self.df[..., None, None] * self.covariance_matrix)

    @property
    def mode(self):
        """The most probable matrix, for df of more than the size and one."""
        factor = self.df - self._event_shape[-1] - 1
        return factor.masked_fill(factor <= 0, math.nan)[..., None, None] * self.covariance_matrix

    @property
    def variance(self):
        """The variance of each entry."""
        v = self.covariance_matrix
        d = v.diagonal(dim1=-2, dim2=-1)
        return self.df[..., None, None] * (v.pow(2) + d.unsqueeze(-1) * d.unsqueeze(-2))

    def rsample(self, sample_shape=(), max_try_correction=10):
        sample = self._drawn(sample_shape)
        again = self._any(
            self.support.check(sample)
        )  # PyTorch takes what can be inverted for singular, and draws once more
        if again.any():
            warnings.warn("Singular sample detected.", stacklevel=2)
        for _ in range(max_try_correction):
            if not again.any():
                break
            new = self._drawn(again[again].shape)
            sample[again] = new
            again[again.clone()] = self._any(~self.support.check(new))
        return sample

    def _any(self, each):
        """Is it so of one of the batch?"""
        return each.amax([*range(-len(self._batch_shape), 0)]) if self._batch_shape else each

    def _drawn(self, sample_shape):
        p = self._event_shape[-1]
        noise = self._chi2.rsample(sample_shape).sqrt()
        noise = noise.clamp(min=hookgrad.finfo(noise.dtype).eps).diag_embed()
        i, j = hookgrad.tril_indices(p, p, offset=-1)
        shape = (*sample_shape, *self._batch_shape, p * (p - 1) // 2)
        noise[..., i, j] = hookgrad.randn(shape, dtype=noise.dtype)  # Bartlett's decomposition
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def _half_log_det(self):
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        trace = hookgrad.cholesky_solve(value, self._unbroadcasted_scale_tril).diagonal(dim1=-2, dim2=-1).sum(-1)
        norm = nu * (p * math.log(2) / 2 + self._half_log_det()) + hookgrad.mvlgamma(nu / 2, p)
        return -norm + (nu - p - 1) / 2 * hookgrad.linalg.slogdet(value).logabsdet - trace / 2

    def entropy(self):
        nu, p = self.df, self._event_shape[-1]
        digammas = (nu.unsqueeze(-1) / 2 - hookgrad.arange(p, dtype=nu.dtype) / 2).digamma().sum(-1)
        norm = (p + 1) * (p * math.log(2) / 2 + self._half_log_det()) + hookgrad.mvlgamma(nu / 2, p)
        return norm - (nu - p - 1) / 2 * digammas + nu * p / 2

    @property
    def _natural_params(self):
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x, y):
        p = self._event_shape[-1]
        y = y + (p + 1) / 2
        log_det = hookgrad.linalg.slogdet(-2 * x).logabsdet
        return y * (-log_det + math.log(2) * p) + hookgrad.mvlgamma(y, p)
