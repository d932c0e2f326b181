"""Linear algebra under names outside torch.linalg: `torch.svd`, `torch.qr`, `torch.svd_lowrank` and their kin."""

from . import _C, _lu, linalg
from ._given import of_tensors
from ._out import take_out
from ._warn import warn_once
from .nn._whole import one_node
from .return_types import named


def _deprecated(name, now=None):
    warn_once(
        f"torch.{name} is deprecated in favor of torch.linalg.{now or name} and will be removed in a future PyTorch release.",
        stacklevel=4,  # past what takes `out=`
    )


def svd(input, some=True, compute_uv=True):
    """U, S, V with input = U diag(S) V^T; without `compute_uv` U and V are zeros.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.svd.html
    """
    if not compute_uv:
        m, n = input.shape[-2:]
        zeros = (input.new_zeros(*input.shape[:-2], k, k) for k in (m, n))
        return named("svd")(next(zeros), linalg.svdvals(input), next(zeros))
    U, S, Vh = linalg.svd(input, not some)
    return named("svd")(U, S, Vh.mT)


def qr(input, some=True):
    """Q, R with input = Q R: see torch.linalg.qr."""
    _deprecated("qr")
    return named("qr")(*linalg.qr(input, "reduced" if some else "complete"))


def cholesky(input, upper=False):
    """L with input = L L^T: see torch.linalg.cholesky."""
    _deprecated("cholesky")
    return _cholesky(input, upper)


def _of_cholesky(grad, _, upper, L):
    L, grad = (L.mT, grad.mT) if upper else (L, grad)
    inner = (L.mT @ grad).tril()
    inner = _C._mul(inner + inner.tril(-1).mT, 0.5)
    return linalg.solve_triangular(L, linalg.solve_triangular(L.mT, inner, upper=True), upper=False, left=False)


@one_node("CholeskyBackward0", 0, saved="- upper", results="result", derivative=_of_cholesky)
def _cholesky(input, upper):
    return linalg.cholesky(input, upper=upper) if input.numel() else input.clone()


def pinverse(input, rcond=1e-15):
    """The pseudo-inverse: see torch.linalg.pinv."""
    return linalg.pinv(input, rtol=rcond)


def _less_by(common, L, upper):
    """The gradient by L, of which one half is read: yet it covers the whole."""
    return -(L @ common if upper else common @ L)


def _of_cholesky_solve(grad, B, L, upper, X):
    by_B = cholesky_solve(grad, L, upper)
    common = by_B @ X.mT
    return by_B, _less_by(common + common.mT, L, upper)


@one_node("CholeskySolveBackward0", 0, 1, saved="self input2 upper", results="result", derivative=_of_cholesky_solve)
def cholesky_solve(B, L, upper=False):
    """X with L L^T X = B; with `upper`, L^T L X = B."""
    lower = L.mT if upper else L
    half = linalg.solve_triangular(lower, B, upper=False)
    return linalg.solve_triangular(lower.mT, half, upper=True)


def _of_cholesky_inverse(grad, L, upper, inverse):
    return _less_by(inverse @ ((grad + grad.mT) @ inverse), L, upper)


@one_node("CholeskyInverseBackward0", 0, saved="self upper", results="result", derivative=_of_cholesky_inverse)
def cholesky_inverse(L, upper=False):
    """The inverse of L L^T; with `upper`, of L^T L."""
    return cholesky_solve(_C.eye(L.size(-1), dtype=L.dtype), L, upper)


def orgqr(input, tau):
    """The product of reflections: see torch.linalg.householder_product."""
    return linalg.householder_product(input, tau)


def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False):
    """X with A X = b and A itself: see torch.linalg.solve_triangular."""
    _deprecated("triangular_solve", "solve_triangular")
    return named("triangular_solve")(*_triangular_solve(b, A, upper, transpose, unitriangular))


def _of_triangular_solve(grad, grad_A, b, A, upper, transpose, unitriangular, X):
    if grad is None:
        return None, grad_A
    by_b = _triangular_solve(grad, A, upper, not transpose, unitriangular)[0]
    by_A = -(X @ by_b.mT if transpose else by_b @ X.mT)
    by_A = by_A.triu(int(unitriangular)) if upper else by_A.tril(-int(unitriangular))
    return by_b, by_A if grad_A is None else by_A + grad_A


@one_node(
    "TriangularSolveBackward0",
    0,
    1,
    saved="self A upper transpose unitriangular",
    results="solution",
    derivative=_of_triangular_solve,
)
def _triangular_solve(b, A, upper, transpose, unitriangular):
    matrix = A.mT if transpose else A
    solution = linalg.solve_triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return solution, A.clone()


def lu(A, pivot=True, get_infos=False):
    """LU and pivots of torch.linalg.lu_factor(), and with `get_infos` what lu_factor_ex() says besides."""
    _deprecated("lu", "lu_factor / torch.linalg.lu_factor_ex")
    found = linalg.lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    return named("_lu_with_info")(*found) if get_infos else tuple(found[:2])


def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True):
    """P, L and U of what lu_factor() returned; empty tensors for what is not wanted.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu_unpack.html
    """
    if LU_pivots.dtype != _C.int32:
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.")
    P = linalg._permutation(LU_pivots, LU_data) if unpack_pivots else LU_data.new_empty(0)
    L, U = _unpacked(LU_data, unpack_data)
    return named("lu_unpack")(P, L, U)


@one_node(
    "LuUnpackBackward0",
    0,
    saved="- - LU_data_sym_argsize_minus_1 LU_data_sym_argsize_minus_2",
    derivative=_lu.of_lu_unpack,
)
def _unpacked(LU_data, unpack_data):
    return linalg._halves(LU_data) if unpack_data else (LU_data.new_empty(0), LU_data.new_empty(0))


def lu_solve(b, LU_data, LU_pivots):
    """X with A X = b, A as lu_factor() left it: see torch.linalg.lu_solve."""
    _deprecated("lu_solve")
    return linalg.lu_solve(LU_data, LU_pivots, b)


@one_node("OrmqrBackward0", 0, 1, 2, saved="self input2 input3 left transpose", results="result")
def ormqr(input, tau, other, left=True, transpose=False):
    """Q @ other, or other @ Q where not `left`, Q being the whole product of the reflections in input and tau, or its transpose.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ormqr.html
    """
    n, k = input.shape[-2:]
    square = _C.cat([input, input.new_zeros(*input.shape[:-2], n, n - k)], -1) if n > k else input
    Q = linalg.householder_product(square, tau)
    Q = Q.mT if transpose else Q
    product = Q @ other if left else other @ Q
    return product.mT.contiguous().mT  # as LAPACK leaves it


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


of_tensors(
    globals(),
    "cholesky_inverse cholesky_solve lu_solve lu_unpack:LU_data orgqr ormqr pinverse",
)
take_out(
    globals(), "cholesky cholesky_inverse cholesky_solve lu lu_solve lu_unpack orgqr ormqr qr svd triangular_solve"
)
