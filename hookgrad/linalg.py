"""Linear algebra. Source: https://docs.pytorch.org/docs/stable/linalg.html"""

from . import _C, _lu
from ._C import _LinAlgError as LinAlgError
from ._given import of_tensors
from ._levels import anywhere, outside
from ._out import take_out, title
from .autograd import function
from .nn._whole import of_each, one_node
from .return_types import named
from .type_info import finfo, scalar_type

globals().update({name: value for name, value in vars(_C.linalg).items() if not name.startswith("_")})

_qr, _cholesky_ex, _vector_norm = _C.linalg.qr, _C.linalg.cholesky_ex, _C.linalg.vector_norm
_solve, _inv, _solve_triangular = _C.linalg.solve, _C.linalg.inv, _C.linalg.solve_triangular

__all__ = ["LinAlgError"]


# ---- Factors ----------------------------------------------------------------------------------------------------------


def cholesky(A, *, upper=False):
    """The lower triangular L of A = L L^T, or its transpose; A symmetric and positive-definite, of which one half is read.

    >>> import hookgrad as torch
    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky.html
    """
    return _cholesky_ex(A, upper=upper, check_errors=True)[0]


def eigh(A, UPLO="L"):
    """The eigenvalues of a symmetric matrix, ascending, and its eigenvectors, in columns.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigh.html
    """
    return _C._linalg_eigh(A, _half(UPLO))


def eigvalsh(A, UPLO="L"):
    """The eigenvalues of a symmetric matrix, ascending."""
    return _C._linalg_eigh(A, _half(UPLO), _is_differentiated(A))[0]


def _is_differentiated(A):
    """Backward, or forward: there are dual tensors."""
    return _C.is_grad_enabled() and A.requires_grad or function._dual_apply is not None


def _half(UPLO):
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO


def svd(A, full_matrices=True, *, driver=None):
    """U, S, Vh with A = U diag(S) Vh, the singular values S descending.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svd.html
    """
    _no_driver("svd", driver)
    return _C._linalg_svd(A, full_matrices)


def _no_driver(name, driver):
    if driver is not None:
        raise RuntimeError(f"torch.linalg.{name}: keyword argument `driver=` is for CUDA tensors")


def slogdet(A):
    """The sign of the determinant, and the logarithm of its absolute value.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.slogdet.html
    """
    return named("linalg_slogdet")(*_C.slogdet(A))


def svdvals(A, *, driver=None):
    """The singular values, descending."""
    _no_driver("svdvals", driver)
    return _C._linalg_svd(A, False, _is_differentiated(A))[1]


def householder_product(A, tau):
    """The first columns of the product of the reflections I - tau v v^T whose vectors are in A's columns, below ones.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.householder_product.html
    """
    if A.dim() < 2:
        raise RuntimeError("torch.linalg.householder_product: input must have at least 2 dimensions.")
    if A.size(-2) < A.size(-1):
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if A.size(-1) < tau.size(-1):
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    return _householder_product(A, tau)


@one_node("LinalgHouseholderProductBackward0", 0, 1, saved="input tau", results="result")
def _householder_product(A, tau):
    n, k = A.shape[-2:]
    product = _C.eye(n, k, dtype=A.dtype).expand(A.shape)
    rows = _C.arange(n)
    for i in reversed(range(tau.size(-1))):
        v = _C.where(rows == i, 1.0, _C.where(rows > i, A[..., i], 0.0)).to(A.dtype).unsqueeze(-1)
        product = product - tau[..., i, None, None] * (v @ (v.mT @ product))
    return product


# ---- L and U ----------------------------------------------------------------------------------------------------------


@one_node(
    "LinalgLuFactorExBackward0", 0, saved="- pivot", results="LU pivots", derivative=_lu.of_lu_factor, reads="numbers"
)
def _lu_factor(A, pivot):
    return _C._lu_factor(A)


def _factored(name, A, pivot):
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return _lu_factor(A, pivot)


def lu_factor(A, *, pivot=True):
    """L below the diagonal and U from it on, in one matrix, and with which row (from 1) each one was exchanged, in turn.

    >>> import hookgrad as torch
    >>> torch.linalg.lu_factor(torch.tensor([[1.0, 3.0], [2.0, 1.0]])).LU
    tensor([[2.0000, 1.0000],
            [0.5000, 2.5000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html
    """
    LU, pivots = _factored("linalg.lu_factor", A, pivot)
    zero = outside(LU.detach().diagonal(dim1=-2, dim2=-1) == 0).nonzero()
    if len(zero):
        *batch, at = zero[0].tolist()
        where = f"(Batch element {batch[-1]}): " if batch else ""
        raise RuntimeError(
            f"torch.linalg.lu_factor: {where}U[{at + 1},{at + 1}] is zero and using it on lu_solve would result in a division "
            "by zero. linalg.lu(A) factors it all the same."
        )
    return named("linalg_lu_factor")(LU, pivots)


def lu_factor_ex(A, *, pivot=True, check_errors=False):
    """What lu_factor() returns, and zero, or the place (from 1) of the first zero on U's diagonal.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor_ex.html
    """
    LU, pivots = lu_factor(A, pivot=pivot) if check_errors else _factored("linalg.lu_factor_ex", A, pivot)
    is_zero = LU.detach().diagonal(dim1=-2, dim2=-1) == 0
    info = _C.where(is_zero.any(-1), is_zero.int().argmax(-1) + 1, 0) if is_zero.size(-1) else _C.zeros(A.shape[:-2])
    return named("linalg_lu_factor_ex")(LU, pivots, info.to(_C.int32))


def lu(A, *, pivot=True):
    """P, L, U with A = P L U: a permutation, a lower triangle with ones on its diagonal, an upper triangle.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu.html
    """
    if A.dim() < 2:
        raise RuntimeError(f"linalg.lu: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    L, U, P = _factors(A, pivot)
    return named("linalg_lu")(P, L, U)


@one_node(
    "LinalgLuBackward0", 0, saved="- pivot", results="L U P", derivative=_lu.of_lu, differentiable=2, reads="numbers"
)
def _factors(A, pivot):
    LU, pivots = _factored("linalg.lu", A, pivot)
    return *_halves(LU), _permutation(pivots, A)


def _halves(LU):
    m, n = LU.shape[-2:]
    k = min(m, n)
    return LU[..., :k].tril(-1) + _C.eye(m, k, dtype=LU.dtype), LU[..., :k, :].triu()


@of_each
def _permutation(pivots, like):
    m = like.size(-2)
    places = []
    for swaps in pivots.reshape(pivots.shape[:-1].numel(), pivots.size(-1)).tolist():
        rows = list(range(m))
        for k, other in enumerate(swaps):
            rows[k], rows[other - 1] = rows[other - 1], rows[k]
        places.append(rows)
    places = _C.tensor(places, dtype=_C.int64).reshape(*pivots.shape[:-1], 1, m)
    return _C.zeros(*pivots.shape[:-1], m, m, dtype=like.dtype).scatter(-2, places, 1)


def lu_solve(LU, pivots, B, *, left=True, adjoint=False):
    """X with A X = B, A as lu_factor() left it; A^T X = B with `adjoint`; X A = B where not `left`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_solve.html
    """
    if LU.dim() < 2 or LU.size(-1) != LU.size(-2):
        raise RuntimeError("torch.linalg.lu_solve: A must be batches of square matrices")
    if B.dim() < 2 or B.size(-2 if left else -1) != LU.size(-1):
        raise RuntimeError(
            "linalg.lu_solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'}: {list(LU.shape)} and {list(B.shape)}"
        )
    return _lu_solve(LU, pivots, B, left, adjoint)


@one_node(
    "LinalgLuSolveBackward0",
    0,
    2,
    saved="LU pivots - left adjoint",
    results="result",
    derivative=_lu.of_lu_solve,
    reads="numbers",
)
def _lu_solve(LU, pivots, B, left, adjoint):
    if not left:
        return _lu_solve(LU, pivots, B.mT, True, not adjoint).mT
    P, (L, U) = _permutation(pivots, LU), _halves(LU)
    if adjoint:
        return P @ _solve_triangular(L.mT, _solve_triangular(U.mT, B, upper=False), upper=True)
    return _solve_triangular(U, _solve_triangular(L, P.mT @ B, upper=False), upper=True)


# ---- Norms ------------------------------------------------------------------------------------------------------------


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """The norm of matrices: "fro", "nuc", inf, -inf, 1, -1, 2 or -2.

    >>> import hookgrad as torch
    >>> torch.linalg.matrix_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc")
    tensor(7.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_norm.html
    """
    if dtype is not None:
        A = A.to(dtype)
    if A.dim() < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    if not A.is_floating_point():
        raise RuntimeError(
            f"linalg.matrix_norm: Expected a floating point or complex tensor as input. Got {scalar_type(A.dtype)}"
        )
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dim)}")
    for d in dim:
        if not -A.dim() <= d < A.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-A.dim()}, {A.dim() - 1}], but got {d})"
            )
    rows, cols = (d % A.dim() for d in dim)
    if rows == cols:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return _vector_norm(A, 2, (rows, cols), keepdim)
    kinds = {
        "nuc": lambda s: s.sum(-1),
        2: lambda s: s.amax(-1),
        -2: lambda s: s.amin(-1),
    }
    if ord in kinds:
        norm = kinds[ord](svdvals(A.movedim((rows, cols), (-2, -1))))
        if keepdim:
            for d in sorted((rows, cols)):
                norm = norm.unsqueeze(d)
        return norm
    if isinstance(ord, str) or ord not in (1, -1, float("inf"), float("-inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    summed, other = (rows, cols) if abs(ord) == 1 else (cols, rows)
    sums = _vector_norm(A, 1.0, (summed,), keepdim)
    if not keepdim and summed < other:
        other -= 1
    return sums.amax(other, keepdim) if ord > 0 else sums.amin(other, keepdim)


def norm(A, ord=None, dim=None, keepdim=False, *, dtype=None):
    """The norm of a vector or of matrices, as `dim` has one dimension or two.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.norm.html
    """
    if ord is None:
        return _vector_norm(A, 2.0, dim, keepdim, dtype=dtype)
    dims = (dim,) if isinstance(dim, int) else dim
    if dims is None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D."
        )
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if isinstance(ord, str) or (A.dim() if dims is None else len(dims)) == 2:
        return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    return _vector_norm(A, ord, dims, keepdim, dtype=dtype)


def cond(A, p=None):
    """The condition number: the norm of A times that of its inverse; by default of order 2."""
    if p in (None, 2, -2):
        s = svdvals(A)
        largest, smallest = s.narrow(-1, 0, 1), s.narrow(-1, -1, 1)
        return (smallest / largest if p == -2 else largest / smallest).squeeze(-1)
    if p == "nuc":
        s = svdvals(A)
        return s.sum(-1) * s.reciprocal().sum(-1)
    inverse, info = inv_ex(A)
    inverse = inverse.masked_fill((info != 0)[..., None, None], float("inf"))
    return (matrix_norm(A, p) * matrix_norm(inverse, p)).nan_to_num(float("inf"), float("inf"), float("-inf"))


def _tolerance(A, largest, atol, rtol):
    """What counts as zero among singular values whose largest is given."""
    if rtol is None:
        rtol = finfo(A.dtype).eps * max(A.shape[-2:]) if atol is None else 0.0
    return _C.maximum(_C.as_tensor(0.0 if atol is None else atol).to(A.dtype), rtol * largest)


def matrix_rank(A, *, atol=None, rtol=None, hermitian=False):
    """How many singular values are more than `atol` and more than `rtol` times the largest."""
    s = eigvalsh(A).abs() if hermitian else svdvals(A)
    return (s > _tolerance(A, s.amax(-1, True), atol, rtol)).sum(-1)


# ---- Inverses and systems ---------------------------------------------------------------------------------------------


def pinv(A, *, atol=None, rtol=None, hermitian=False):
    """The pseudo-inverse: singular values no more than `atol` or `rtol` times the largest count as zero.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.pinv.html
    """
    if A.dim() < 2 or A.dtype not in (_C.float32, _C.float64):
        raise RuntimeError(
            f"linalg.pinv({scalar_type(A.dtype)}{{{list(A.shape)}}}): expected a tensor with 2 or more dimensions of float, "
            "double, cfloat or cdouble types"
        )
    if A.numel() == 0:
        return A.new_empty((*A.shape[:-2], A.size(-1), A.size(-2)))
    return _pinv(A, atol, rtol, hermitian)


def _by_pseudo_inverse(grad, A, atol, rtol, hermitian, P):
    """By Golub and Pereyra: it needs no singular vectors, which equal singular values leave open; products of the smaller side."""
    g, Pt = grad.mT, P.mT
    if A.size(-2) <= A.size(-1):
        inner = g @ P
        outer = inner @ Pt
        return -(P @ inner).mT + outer - (A @ P) @ outer + (Pt @ P) @ (g - inner @ A)
    inner = P @ g
    outer = Pt @ inner
    return -(inner @ P).mT + (g - A @ inner) @ (P @ Pt) + outer - outer @ P @ A


@one_node("LinalgPinvBackward0", 0, saved="self", results="result", derivative=_by_pseudo_inverse)
def _pinv(A, atol, rtol, hermitian):
    if hermitian:
        s, U = eigh(A)
        V, size = U, s.abs()
    else:
        U, s, Vh = svd(A, False)
        V, size = Vh.mT, s
    kept = size > _tolerance(A, size.amax(-1, True), atol, rtol)
    inverse = _C.where(kept, _C.where(kept, s, 1.0).reciprocal(), 0.0)
    return (V * inverse.unsqueeze(-2)) @ U.mT


def inv_ex(A, *, check_errors=False):
    """The inverse, and zero where there is one, else the place of the first pivot that is zero."""
    return named("linalg_inv_ex")(*_with_info(_inv, A, check_errors))


def solve_ex(A, B, *, left=True, check_errors=False):
    """The solution of A X = B, and zero where there is one."""
    return named("linalg_solve_ex")(*_with_info(lambda a: solve(a, B, left=left), A, check_errors))


def _with_info(function, A, check_errors):
    info = _C.zeros(A.shape[:-2], dtype=_C.int32)
    try:
        return function(A), info
    except LinAlgError:
        if check_errors:
            raise
    bad = _C.det(A.detach()) == 0
    regular = _C.where(bad[..., None, None], _C.eye(A.size(-1), dtype=A.dtype), A)
    return function(regular), info + bad.to(_C.int32) * A.size(-1)


def solve(A, B, *, left=True):
    """X of A X = B, or of X A = B.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve.html
    """
    return _solve(A, B) if left else _solve(A.mT, B.mT).mT


def lstsq(A, B, rcond=None, *, driver=None):
    """The X for which A X is nearest to B: (solution, residuals, rank, singular_values).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lstsq.html
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError("torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = B.dim() == A.dim() - 1 and B.shape == A.shape[:-1]
    rhs = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    with_values = driver in ("gelsd", "gelss")
    rank = _C.empty(0, dtype=_C.int64) if driver == "gels" else matrix_rank(A.detach(), rtol=rcond)
    is_determined = driver == "gels" or (with_values and not anywhere(rank != n))
    solution, residuals = _least_squares(A, rhs, rcond, m > n and is_determined)
    values = svdvals(A.detach()) if with_values else A.new_empty(0)
    return named("linalg_lstsq")(solution.squeeze(-1) if vector else solution, residuals, rank, values)


@one_node("LinalgLstsqBackward0", 0, 1, saved="self b - -", results="solution")
def _least_squares(A, B, rcond, with_residuals):
    solution = (B.mT @ pinv(A, rtol=rcond).mT).mT  # lies by columns
    return solution, (A @ solution - B).square().sum(-2) if with_residuals else A.new_empty(0)


def tensorinv(A, ind=2):
    """The tensor that, by tensordot over `ind` dimensions, undoes A."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, last = A.shape[:ind], A.shape[ind:]
    if first.numel() != last.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{last.numel()} != {first.numel()}"
        )
    return _inv(A.reshape(first.numel(), last.numel())).reshape(*last, *first)


def tensorsolve(A, B, dims=None):
    """X of tensordot(A, X) = B."""
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.dim() - len(dims), A.dim())))
    shape = A.shape[B.dim() :]
    return _solve(A.reshape(B.numel(), -1), B.flatten()).reshape(shape)


# ---- Products and parts ---------------------------------------------------------------------------------------------


def vecdot(x, y, *, dim=-1):
    """The product of vectors along a dimension."""
    return (x * y).sum(dim)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonals of matrices: a view."""
    return _C.diagonal(A, offset, dim1, dim2)


def vander(x, N=None):
    """The powers of x, from 0 to N - 1, in a last dimension."""
    N = x.size(-1) if N is None else N
    if N < 0:
        raise RuntimeError(f"N must be greater than 1, got {N}.")
    powers = x.unsqueeze(-1).expand(*x.shape, max(N - 1, 0)).cumprod(-1)
    return _C.cat([_C.ones_like(x).unsqueeze(-1)[..., :N], powers], -1)


of_tensors(
    globals(),
    """cond eigh eigvalsh householder_product inv_ex:A lstsq lu:A lu_factor:A lu_factor_ex:A lu_solve:LU matrix_norm matrix_rank norm
    pinv solve_ex:A svdvals:A tensorinv tensorsolve vander:x vecdot:x""",
    "linalg_",
)
take_out(
    globals(),
    """cholesky cond eigh eigvalsh householder_product inv_ex lstsq lu lu_factor lu_factor_ex lu_solve matrix_norm matrix_rank norm pinv
    slogdet solve solve_ex svd svdvals tensorinv tensorsolve vecdot""",
)
title(
    globals(),
    "linalg_",
    """cholesky cond diagonal eigh eigvalsh householder_product inv_ex lstsq lu lu_factor lu_factor_ex lu_solve matrix_norm
    matrix_rank norm pinv solve solve_ex svd svdvals tensorinv tensorsolve vander vecdot""",
)
