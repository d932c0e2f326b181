"""Normal vectors."""

import math

import hookgrad

from . import constraints
from .distribution import Distribution


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
    return hookgrad.linalg.cholesky(matrix if name == "covariance_matrix" else hookgrad.linalg.inv(matrix))


class MultivariateNormal(Distribution):
    """Normal vectors with mean `loc`, and a covariance, its inverse, or its lower Cholesky factor.

    Source: https://docs.pytorch.org/docs/stable/distributions.html#multivariatenormal
    """

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
        return self.loc + (self._unbroadcasted_scale_tril @ eps.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self):
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        diff = (value - self.loc).unsqueeze(-1)
        factor = self._unbroadcasted_scale_tril.expand((*diff.shape[:-2], -1, -1))
        m = hookgrad.linalg.solve_triangular(factor, diff, upper=False).squeeze(-1).pow(2).sum(-1)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + m) - self._half_log_det()

    def entropy(self):
        return (0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()).expand(
            self._batch_shape
        )

    def __repr__(self):
        return f"MultivariateNormal(loc: {self.loc.size()}, {self._given}: {self._matrix.size()})"
