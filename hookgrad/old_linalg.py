"""Linear algebra under names outside torch.linalg: `torch.svd`, `torch.qr`, `torch.svd_lowrank` and their kin."""

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
    return _cholesky(input, upper)


@one_node("CholeskyBackward0", 0, saved="+ upper", results="result")
def _cholesky(input, upper):
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


# ---- Few singular values of a large matrix ------------------------------------------------------------------------------


def svd_lowrank(A, q=6, niter=2, M=None):
    """U, S, V with U diag(S) V^T close to A - M: the `q` largest singular values, found within a random subspace.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.svd_lowrank.html
    """
    rest = A if M is None else A - M
    wide = rest.size(-2) < rest.size(-1)
    tall = rest.mT if wide else rest
    basis = linalg.qr(tall @ _C.randn(tall.size(-1), 6 if q is None else q, dtype=tall.dtype))[0]
    for _ in range(2 if niter is None else niter):
        basis = linalg.qr(tall @ linalg.qr(tall.mT @ basis)[0])[0]
    inner, S, Vh = linalg.svd(basis.mT @ tall, False)
    U, V = basis @ inner, Vh.mT
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A, q=None, center=True, niter=2):
    """svd_lowrank() of A, by default with the mean of each column taken away: the principal components are V's columns.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pca_lowrank.html
    """
    most = min(A.shape[-2:])
    if q is None:
        q = min(6, most)
    elif not 0 <= q <= most:
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={most}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
