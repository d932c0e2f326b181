"""The arguments of PyTorch's ops where the table's rows have others: what a dispatch mode is given, and what `torch.ops` takes.

Each op here has two functions: of a row's arguments, which are PyTorch's; and of PyTorch's, which are the row's.
"""

from . import _C

_REDUCTIONS = "none", "mean", "sum"


def _wanted():
    """Which derivatives the node under way is to give."""
    node = _C._current_autograd_node()
    mask = [edge is not None for edge, _ in node.next_functions] if node is not None else []
    return (mask + [True] * 3)[:3]


def _nll(input, target, weight, reduction="mean", ignore_index=-100):
    return input, target, weight, _REDUCTIONS.index(reduction), ignore_index


def _nll_row(input, target, weight, reduction, ignore_index):
    return input, target, weight, _REDUCTIONS[reduction], ignore_index


def _nll_backward(grad, input, target, weight, reduction, ignore_index, total):
    return grad, input, target, weight, _REDUCTIONS.index(reduction), ignore_index, total


def _nll_backward_row(grad, input, target, weight, reduction, ignore_index, total):
    return grad, input, target, weight, _REDUCTIONS[reduction], ignore_index, total


def _group_norm(x, weight, bias, groups, eps):
    return x, weight, bias, *_sizes(x), groups, eps


def _group_norm_backward(grad, x, weight, mean, rstd, groups, eps):
    return grad, x, mean, rstd, weight, *_sizes(x), groups, _wanted()


def _sizes(x):
    return x.shape[0], x.shape[1], x.shape[2:].numel()


def _max_pool(grad, indices, size):
    node = _C._current_autograd_node()
    if node is None or node.name() != "MaxPool2DWithIndicesBackward0":
        return grad, indices, size
    settings = node._saved_kernel_size, node._saved_stride, node._saved_padding, node._saved_dilation
    return grad, node._saved_self, *map(list, settings), node._saved_ceil_mode, indices


def _max_pool_row(grad, input, *rest):
    return (grad, rest[-1], input.shape) if len(rest) > 1 else (grad, input, *rest)


_SOFTMAX = (lambda x, dim: (x, dim, False)), (lambda x, dim, half_to_float=False: (x, dim))
_SOFTMAX_BACKWARD = (lambda grad, y, dim: (grad, y, dim, y.dtype)), (lambda grad, y, dim, dtype=None: (grad, y, dim))
_FORMS = {
    "_softmax": _SOFTMAX,
    "_log_softmax": _SOFTMAX,
    "_softmax_backward_data": _SOFTMAX_BACKWARD,
    "_log_softmax_backward_data": _SOFTMAX_BACKWARD,
    "nll_loss_forward": (_nll, _nll_row),
    "nll_loss2d_forward": (_nll, _nll_row),
    "nll_loss_backward": (_nll_backward, _nll_backward_row),
    "nll_loss2d_backward": (_nll_backward, _nll_backward_row),
    "native_layer_norm": (
        lambda x, weight, bias, shape, eps: (x, shape, weight, bias, eps),
        lambda x, shape, weight, bias, eps: (x, weight, bias, shape, eps),
    ),
    "native_layer_norm_backward": (
        lambda *args: (*args[:-1], _wanted()),
        lambda *args: (*args[:-1], 1e-5),  # of which no value depends
    ),
    "native_batch_norm_backward": (
        lambda grad, x, weight, mean, rstd, train, eps, *running: (
            (grad, x, weight, *(running or (None, None)), mean, rstd, train, eps, _wanted())
        ),
        lambda grad, x, weight, running_mean, running_var, mean, rstd, train, eps, mask: (
            (grad, x, weight, mean, rstd, train, eps, running_mean, running_var)
        ),
    ),
    "native_group_norm": (
        _group_norm,
        lambda x, weight, bias, n, channels, plane, groups, eps: (x, weight, bias, groups, eps),
    ),
    "native_group_norm_backward": (
        _group_norm_backward,
        lambda grad, x, mean, rstd, weight, n, channels, plane, groups, mask: (
            (grad, x, weight, mean, rstd, groups, 1e-5)
        ),
    ),
    "max_pool2d_with_indices_backward": (_max_pool, _max_pool_row),
}


def of_row(name, args):
    """PyTorch's arguments for those of a row of that name."""
    return _FORMS[name][0](*args) if name in _FORMS else args


def to_row(name, args):
    """A row's arguments for PyTorch's."""
    return _FORMS[name][1](*args) if name in _FORMS and args else args
