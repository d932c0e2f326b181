"""What autocast does to calls on the CPU: a mode that hands functions their tensors in another dtype.

A function of the first list computes in the lower dtype, one of the second in float32, one of the third in the widest dtype of its
tensors; numbers of other kinds, and float64, stay as they are. What is composed of such functions runs with the mode on. A leaf
that requires a gradient is cast once within the outermost `with`.

Source: https://docs.pytorch.org/docs/stable/amp.html#cpu-op-specific-behavior
"""

from . import _C
from .overrides import TorchFunctionMode

LOWER = frozenset(
    """addbmm addmm baddbmm bmm chain_matmul conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d einsum
    linalg_matmul linalg_matrix_power linalg_multi_dot linalg_vecdot linear matmul mm prelu scaled_dot_product_attention tensordot""".split()
)
FULL = frozenset(
    """avg_pool3d binary_cross_entropy binary_cross_entropy_with_logits cdist cholesky cosine_embedding_loss cross_entropy
    ctc_loss gaussian_nll_loss grid_sample hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss
    multi_margin_loss multilabel_margin_loss nanquantile nll_loss poisson_nll_loss prod qr quantile smooth_l1_loss
    soft_margin_loss svd trace triplet_margin_loss linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eigh linalg_eigvalsh linalg_inv
    linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr linalg_solve linalg_svd linalg_svdvals""".split()
)
WIDEST = frozenset("cat concat concatenate index_copy stack".split())
COMPOSED = frozenset(
    """gru gru_cell lstm lstm_cell multi_head_attention_forward rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell""".split()
)


def _each(value, cast):
    if isinstance(value, _C.Tensor):
        return cast(value)
    if type(value) in (tuple, list):
        return type(value)([_each(one, cast) for one in value])
    return value


def _takes_part(tensor):
    return tensor.is_floating_point() and tensor.dtype != _C.float64 and not tensor.is_meta


class Casting(TorchFunctionMode):
    """The mode, below those of the program: they see calls as they were made, and nobody sees the casts.

    `state` has `enabled` and `dtype`, and `cast`: what leaves were cast to, by their id, or None.
    """

    is_last = True  # also after the classes of the arguments

    def __init__(self, state):
        self.state = state

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if not self.state.enabled:
            return func(*args, **kwargs)
        if name in LOWER or name in FULL or name in WIDEST:
            dtype = self.state.dtype if name in LOWER else _C.float32
            if name in WIDEST:
                met = []
                _each([*args, *kwargs.values()], lambda t: met.append(t.dtype) if _takes_part(t) else None)
                dtype = self.state.dtype if _C.float32 not in met else _C.float32

            def cast(tensor):
                return self._cast(tensor, dtype)

            return func(*[_each(a, cast) for a in args], **{key: _each(a, cast) for key, a in kwargs.items()})
        if name in COMPOSED:
            with self:
                return func.__wrapped__(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, tensor, dtype):
        if tensor.dtype == dtype or not _takes_part(tensor):
            return tensor
        kept = self.state.cast
        if (
            kept is None
            or dtype == _C.float32
            or not (tensor.is_leaf and tensor.requires_grad and _C.is_grad_enabled())
        ):
            return tensor.to(dtype)
        if id(tensor) not in kept:
            kept[id(tensor)] = tensor, tensor.to(dtype)  # with the leaf, so that its id is nobody else's
        return kept[id(tensor)][1]
