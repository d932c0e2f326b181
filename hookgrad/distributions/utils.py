"""Helpers of distributions.

Source: https://github.com/pytorch/pytorch/blob/main/torch/distributions/utils.py
"""

import hookgrad

from .. import _C

euler_constant = 0.57721566490153286060


def broadcast_all(*values):
    """Numbers and tensors as tensors of one shape; numbers get the dtype of a tensor among them."""
    tensors = [v for v in values if isinstance(v, _C.Tensor)]
    if not all(isinstance(v, (_C.Tensor, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    dtype = tensors[0].dtype if tensors else hookgrad.get_default_dtype()
    return hookgrad.broadcast_tensors(*[v if isinstance(v, _C.Tensor) else _C.tensor(v, dtype=dtype) for v in values])


def logits_to_probs(logits, is_binary=False):
    """Probabilities of log-odds, or of unnormalised log-probabilities along the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def clamp_probs(probs):
    """Probabilities kept off 0 and 1 by the dtype's epsilon."""
    eps = hookgrad.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs, is_binary=False):
    """The inverse of logits_to_probs()."""
    probs = clamp_probs(probs)
    return probs.log() - (-probs).log1p() if is_binary else probs.log()


def _standard_normal(shape, dtype, device=None):
    return _C.empty(shape, dtype=dtype).normal_()


def _sum_rightmost(value, dim):
    """Summed over the last `dim` dimensions."""
    return value.reshape((*value.shape[:-dim], -1)).sum(-1) if dim else value


class lazy_property:
    """An attribute that is computed when it is first asked for, with gradients enabled."""

    def __init__(self, wrapped):
        self.wrapped, self.__doc__ = wrapped, wrapped.__doc__

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        with hookgrad.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def _below(n, diag):
    row = _C.arange(n)
    return row < row.view(-1, 1) + (diag + 1)


def tril_matrix_to_vec(mat, diag=0):
    """What lies on the diagonal of that number and below, row by row.

    >>> import hookgrad as torch
    >>> tril_matrix_to_vec(torch.tensor([[1, 0], [2, 3]]))
    tensor([1, 2, 3])
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    return mat[..., _below(n, diag)]


def vec_to_tril_matrix(vec, diag=0):
    """The inverse of tril_matrix_to_vec()."""
    size, n = vec.shape[-1], max(-diag, 1)
    while (count := int(_below(n, diag).sum())) < size:
        n += 1
    if count != size:
        raise ValueError(
            f"The size of last dimension is {size} which cannot be expressed as the lower triangular part of a square D x D matrix."
        )
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., _below(n, diag)] = vec
    return mat
