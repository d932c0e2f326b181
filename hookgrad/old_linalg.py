"""Linear algebra under the names it had before torch.linalg: `torch.svd`, `torch.qr` and their kin."""

import warnings
from typing import NamedTuple

from . import _C, linalg
from .nn._whole import one_node


class svd_result(NamedTuple):
    U: _C.Tensor
    S: _C.Tensor
    V: _C.Tensor


class triangular_solve_result(NamedTuple):
    solution: _C.Tensor
    cloned_coefficient: _C.Tensor


svd_result.__name__ = "svd"
triangular_solve_result.__name__ = "triangular_solve"


def _deprecated(name):
    warnings.warn(
        f"torch.{name} is deprecated in favor of torch.linalg.{name} and will be removed in a future PyTorch release.",
        UserWarning,
        stacklevel=3,
    )


def svd(input, some=True, compute_uv=True):
    """U, S, V with input = U diag(S) V^T; without `compute_uv` U and V are zeros.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.svd.html
    """
    if not compute_uv:
        m, n = input.shape[-2:]
        zeros = (input.new_zeros(*input.shape[:-2], k, k) for k in (m, n))
        return svd_result(next(zeros), linalg.svdvals(input), next(zeros))
    U, S, Vh = linalg.svd(input, not some)
    return svd_result(U, S, Vh.mT)


def qr(input, some=True):
    """Q, R with input = Q R: see torch.linalg.qr."""
    _deprecated("qr")
    return linalg.qr(input, "reduced" if some else "complete")


def cholesky(input, upper=False):
    """L with input = L L^T: see torch.linalg.cholesky."""
    _deprecated("cholesky")
    return linalg.cholesky(input, upper=upper)


def pinverse(input, rcond=1e-15):
    """The pseudo-inverse: see torch.linalg.pinv."""
    return linalg.pinv(input, rtol=rcond)


@one_node("CholeskySolveBackward0", 0, 1, saved="self input2 upper", results="result")
def cholesky_solve(B, L, upper=False):
    """X with L L^T X = B; with `upper`, L^T L X = B."""
    lower = L.mT if upper else L
    half = linalg.solve_triangular(lower, B, upper=False)
    return linalg.solve_triangular(lower.mT, half, upper=True)


@one_node("CholeskyInverseBackward0", 0, saved="self upper", results="result")
def cholesky_inverse(L, upper=False):
    """The inverse of L L^T; with `upper`, of L^T L."""
    return cholesky_solve(_C.eye(L.size(-1), dtype=L.dtype), L, upper)


def orgqr(input, tau):
    """The product of reflections: see torch.linalg.householder_product."""
    return linalg.householder_product(input, tau)


def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """X with A X = b and A itself: see torch.linalg.solve_triangular."""
    return triangular_solve_result(*_triangular_solve(b, A, upper, transpose, unitriangular))


@one_node("TriangularSolveBackward0", 0, 1, saved="self A upper transpose unitriangular", results="solution")
def _triangular_solve(b, A, upper, transpose, unitriangular):
    matrix = A.mT if transpose else A
    solution = linalg.solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return solution, A.clone()
