"""Parametrizations ready for use: orthogonal matrices, weight normalisation, spectral normalisation.

Source: https://docs.pytorch.org/docs/stable/nn.html#parametrizations-implemented-using-the-new-parametrization-functionality
"""

from enum import Enum

import hookgrad

from ... import linalg
from .. import functional as F
from ..modules.module import Module
from . import parametrize
from .spectral_norm import _default_dim
from .weight_norm import _weight_norm, norm_except_dim

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


# ---- Orthogonal matrices ----------------------------------------------------------------------------------------------
#
# A product of Householder reflections I - tau v v^T, the v's in the columns of A below the diagonal (which is one by
# convention), is orthogonal; and every matrix is such a product times a triangular one.


def _is_orthogonal(Q):
    n, k = Q.shape[-2:]
    return hookgrad.allclose(Q.mT @ Q, hookgrad.eye(k, dtype=Q.dtype), atol=10.0 * n * hookgrad.finfo(Q.dtype).eps)


def _make_orthogonal(A):
    """The Q of A = QR, its signs such that R's diagonal is positive."""
    X, tau = hookgrad.geqrf(A)
    return linalg.householder_product(X, tau) * X.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(Enum):
    matrix_exp = 1
    cayley = 2
    householder = 3


class _Orthogonal(Module):
    """An orthogonal matrix (or one with orthonormal rows or columns) from any matrix of that shape."""

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:  # what is learned is the way from `base`
            self.register_buffer("base", None)

    def forward(self, X):
        wide = X.size(-2) < X.size(-1)
        if wide:
            X = X.mT
        n, k = X.shape[-2:]
        if self.orthogonal_map == _OrthMaps.householder:
            A = X.tril(diagonal=-1)
            tau = 2.0 / (1.0 + (A * A).sum(dim=-2))
            Q = linalg.householder_product(A, tau)
            # The diagonal holds signs; as integers, so that no gradient reaches them.
            Q = Q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:
                X = hookgrad.cat([X, X.new_zeros(n, n - k).expand(*X.shape[:-2], -1, -1)], dim=-1)
            A = X - X.mT
            if self.orthogonal_map == _OrthMaps.matrix_exp:
                Q = linalg.matrix_exp(A)
            else:
                one = hookgrad.eye(n, dtype=A.dtype)
                Q = linalg.solve(one - A / 2, one + A / 2)
            if n != k:
                Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    def right_inverse(self, Q):
        with hookgrad.no_grad():
            return self._right_inverse(Q)

    def _right_inverse(self, Q):
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        like = Q
        wide = Q.size(-2) < Q.size(-1)
        if wide:
            Q = Q.mT
        n, k = Q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            A, tau = hookgrad.geqrf(Q)
            signs = A.diagonal(dim1=-2, dim2=-1).sign()
            # A reflection with tau zero is none: forward's tau is never zero, it turns the sign.
            signs = hookgrad.where(tau == 0, -signs, signs)
            A.diagonal(dim1=-2, dim2=-1).copy_(signs)
            return A.mT if wide else A
        if n != k:  # any orthogonal matrix whose first columns are these
            Q = _make_orthogonal(hookgrad.cat([Q, hookgrad.randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype)], dim=-1))
        else:
            Q = Q.clone() if _is_orthogonal(Q) else _make_orthogonal(Q)
        self.base = Q
        # For every map this stands for the identity: below the diagonal nothing, on it a sign that householder turns.
        minus_one = hookgrad.zeros_like(like)
        minus_one.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return minus_one


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keep a matrix of the module orthogonal: `orthogonal_map` is "matrix_exp", "cayley" or "householder".

    >>> import hookgrad as torch
    >>> layer = orthogonal(torch.nn.Linear(4, 3))
    >>> torch.allclose(layer.weight @ layer.weight.mT, torch.eye(3), atol=1e-6)
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, hookgrad.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) else "householder"
    kind = getattr(_OrthMaps, orthogonal_map, None)
    if kind is None:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    orth = _Orthogonal(weight, kind, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, orth, unsafe=True)


# ---- Weight normalisation ---------------------------------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return _weight_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Learn the norm of a weight (`original0`) and its direction (`original1`) instead of the weight.

    The norm is over all dimensions but `dim`; for None, over all.

    >>> from hookgrad import nn
    >>> layer = weight_norm(nn.Linear(20, 40))
    >>> layer.parametrizations.weight.original0.size()
    torch.Size([40, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        """A state saved with the older weight_norm has other names."""
        g, v = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if g in state_dict and v in state_dict:
            state_dict[f"{prefix}parametrizations.{name}.original0"] = state_dict.pop(g)
            state_dict[f"{prefix}parametrizations.{name}.original1"] = state_dict.pop(v)

    module._register_load_state_dict_pre_hook(rename)
    return module


# ---- Spectral normalisation -------------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """Divides by the largest singular value, estimated by power iteration on the buffers `_u` and `_v`."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        n_dim = weight.ndim
        if not -n_dim <= dim < n_dim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{n_dim}, {n_dim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % n_dim
        self.eps = eps
        if n_dim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._reshape_weight_to_matrix(weight)
            height, width = matrix.size()
            u = matrix.new_empty(height).normal_(0, 1)
            v = matrix.new_empty(width).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight):
        if self.dim != 0:
            weight = weight.permute(self.dim, *[d for d in range(weight.dim()) if d != self.dim])
        return weight.flatten(1)

    def _power_method(self, matrix, n_power_iterations):
        # In place: modules that share the buffers go on together.
        with hookgrad.no_grad():
            for _ in range(n_power_iterations):
                self._u.copy_(F.normalize(hookgrad.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(hookgrad.mv(matrix.mT, self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the graph must not save what the next forward changes
        return weight / hookgrad.vdot(u, hookgrad.mv(matrix, v))

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide a weight by its largest singular value.

    >>> import hookgrad as torch
    >>> from hookgrad import nn
    >>> layer = spectral_norm(nn.Linear(20, 40))
    >>> layer.parametrizations
    ModuleDict(
      (weight): ParametrizationList(
        (0): _SpectralNorm()
      )
    )

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, hookgrad.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    norm = _SpectralNorm(weight, n_power_iterations, _default_dim(module) if dim is None else dim, eps)
    return parametrize.register_parametrization(module, name, norm)
