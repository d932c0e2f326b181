"""Derivatives of LU factors, as gradients by what was factored and by the factors themselves.

Everywhere A = P L U, L with ones on its diagonal. With X = L^-1 P^T dA U^-1 the factors change by dL = L tril(X, -1) and
dU = triu(X) U; a factor that is not square has a part more, which follows from the square ones.
"""

from . import _C

_solve = _C.linalg.solve_triangular


def _through_square(lower, upper, L, U):
    """L^-T (tril(lower, -1) + triu(upper)) U^-T, either part None where it is zero."""
    parts = [
        part
        for part in (lower if lower is None else lower.tril(-1), upper if upper is None else upper.triu())
        if part is not None
    ]
    inner = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    inner = _solve(U.mT, inner, upper=False, left=False)
    return _solve(L.mT, inner, upper=True, unitriangular=True)


def _less(a, b):
    """a - b, either None where it is zero."""
    return a if b is None else -b if a is None else a - b


def of_factors(g_L, g_U, P, L, U):
    """The gradient by A, from those by L and U; None for one that has none."""
    k = U.size(-2)
    wide, tall = U.size(-1) > k, L.size(-2) > k
    L1, U1 = (L[..., :k, :], U) if tall else (L, U[..., :k] if wide else U)
    g_L1 = g_L if g_L is None or not tall else g_L[..., :k, :]
    g_U1 = g_U if g_U is None or not wide else g_U[..., :k]
    lower = None if g_L is None else L1.mT @ g_L1
    upper = None if g_U is None else g_U1 @ U1.mT
    if wide and g_U is not None:
        lower = _less(lower, g_U[..., k:] @ U[..., k:].mT)
    if tall and g_L is not None:
        upper = _less(upper, L[..., k:, :].mT @ g_L[..., k:, :])
    gradient = _through_square(lower, upper, L1, U1)
    if wide:
        rest = gradient.new_zeros(U[..., k:].shape) if g_U is None else g_U[..., k:]
        gradient = _C.cat([gradient, _solve(L.mT, rest, upper=True, unitriangular=True)], -1)
    if tall:
        rest = gradient.new_zeros(L[..., k:, :].shape) if g_L is None else g_L[..., k:, :]
        gradient = _C.cat([gradient, _solve(U.mT, rest, upper=False, left=False)], -2)
    return P @ gradient


def of_lu(g_L, g_U, _, A, pivot, L, P, U):
    return of_factors(g_L, g_U, P, L, U)


def of_lu_factor(g, _, A, pivot, LU, pivots):
    from .old_linalg import lu_unpack

    P, L, U = lu_unpack(LU, pivots)
    k = U.size(-2)
    return of_factors(g.narrow(-1, 0, k), g.narrow(-2, 0, k), P, L, U)


def of_lu_unpack(g_L, g_U, LU, unpack_data):
    if not unpack_data:
        return None
    m, n = LU.shape[-2:]
    parts = []
    if g_L is not None:
        parts.append(g_L.tril(-1) if m >= n else _C.cat([g_L.tril(-1), g_L.new_zeros(*LU.shape[:-1], n - m)], -1))
    if g_U is not None:
        parts.append(g_U.triu() if m <= n else _C.cat([g_U.triu(), g_U.new_zeros(*LU.shape[:-2], m - n, n)], -2))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def of_lu_solve(g, LU, pivots, B, left, adjoint, X):
    from .linalg import lu_solve

    by_B = lu_solve(LU, pivots, g, left=left, adjoint=not adjoint)
    return (_of_lu_solve(g, LU, pivots, left, adjoint, X) if LU.requires_grad else None), by_B


def _of_lu_solve(g, LU, pivots, left, adjoint, X):
    from .old_linalg import lu_unpack

    P, L, U = lu_unpack(LU, pivots)
    if not left:
        g, X, adjoint = g.mT, X.mT, not adjoint
    if not adjoint:  # X = U^-1 L^-1 P^T B
        by_U = _solve(U.mT, -(g @ X.mT), upper=False)
        by_L = _solve(L.mT, by_U @ U.mT, upper=True, unitriangular=True)
    else:  # X = P L^-T U^-T B
        by_L = _solve(L.mT, -((P.mT @ X) @ (P.mT @ g).mT), upper=True, left=False, unitriangular=True)
        by_U = _solve(U.mT, L.mT @ by_L, upper=False, left=False)
    return by_L.tril(-1) + by_U.triu()
