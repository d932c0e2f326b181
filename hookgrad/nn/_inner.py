"""What functions of nn.functional call in turn, where a program has put a function of its own in that one's place.

PyTorch's nn.functional.relu calls torch.relu, and so a program that counts or traces calls may replace torch.relu. The functions
here that are in C call nobody; as long as something is replaced that PyTorch's function calls, the function below stands in for
it (`_C._op_instead`). One that returns NotImplemented leaves the call to the function in C.
"""

import hookgrad

from .. import _C


def _check_batch(input, training):
    values = input.numel() // input.size(1) if training and input.dim() > 1 and input.size(1) else 2
    if values == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")


def _batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    _check_batch(input, training)
    cudnn = hookgrad.backends.cudnn.enabled
    return hookgrad.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn)


def _layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    return hookgrad.layer_norm(input, normalized_shape, weight, bias, eps, hookgrad.backends.cudnn.enabled)


def _group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    return hookgrad.group_norm(input, num_groups, weight, bias, eps, hookgrad.backends.cudnn.enabled)


def _rms_norm(input, normalized_shape, weight=None, eps=None):
    return hookgrad.rms_norm(input, normalized_shape, weight, eps)


def _embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    if max_norm is not None:
        return NotImplemented
    padding_idx = -1 if padding_idx is None else padding_idx % weight.size(0)
    return hookgrad.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)


def _of_torch(name):
    def call(input, inplace=False):
        return getattr(hookgrad, name + "_" if inplace else name)(input)

    return call


def _celu(input, alpha=1.0, inplace=False):
    return (hookgrad.celu_ if inplace else hookgrad.celu)(input, alpha)


def _of_nn(name, *defaults):
    """nn.functional.elu(input, alpha, inplace) is torch._C._nn.elu(input, alpha), or in place what the core has."""

    def call(input, *given, inplace=False, **named):
        if len(given) > len(defaults):
            *given, inplace = given
        if inplace or named or len(given) > len(defaults):
            return NotImplemented
        return getattr(_C._nn, name)(input, *given, *defaults[len(given) :])

    return call


def _pad(input, pad, mode="constant", value=None):
    return _C._nn.pad(input, pad, mode, value)


#: {function of nn.functional: what stands in for it}
_TORCH = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
    "embedding": _embedding,
    "relu": _of_torch("relu"),
    "selu": _of_torch("selu"),
    "celu": _celu,
}
_NN = {
    "elu": _of_nn("elu", 1.0),
    "leaky_relu": _of_nn("leaky_relu", 0.01),
    "silu": _of_nn("silu"),
    "mish": _of_nn("mish"),
    "hardtanh": _of_nn("hardtanh", -1.0, 1.0),
    "relu6": _of_nn("relu6"),
    "hardswish": _of_nn("hardswish"),
    "hardsigmoid": _of_nn("hardsigmoid"),
    "glu": _of_nn("glu", -1),
    "pad": _pad,
}


def functions_of_nn():
    """What `torch._C._nn` has: the ops of nn, those that nn.functional calls as functions of their own."""
    ops = {name: op for name, op in vars(_C.nn).items() if name[0] != "_"}
    ops["log_sigmoid"] = ops.pop("logsigmoid")
    return ops | {name: _C._op_again(ops[name], name, "torch._C._nn") for name in _NN}


_LATE = {
    "elu_": "nn.functional",
    "scaled_dot_product_attention": "nn.functional",
    "flatten_dense_tensors": "_utils",
    "unflatten_dense_tensors": "_utils",
}


def late_of_nn(name):
    """`__getattr__` of torch._C._nn: what is Python here, and comes with its first use."""
    from importlib import import_module

    if name not in _LATE:
        raise AttributeError(f"module 'torch._C._nn' has no attribute {name!r}")
    home = import_module(f"{hookgrad.__name__}.{_LATE[name]}")
    return getattr(home, f"_{name}" if _LATE[name] == "_utils" else name)


def changed(module, name, replaced):
    """A function of the package's was replaced, or put back."""
    known = _TORCH if module is hookgrad else _NN if module is _C._nn else {}
    inner = name.rstrip("_")
    if inner in known:
        others = replaced or _C._is_replaced(module, inner) or _C._is_replaced(module, inner + "_")
        _C._op_instead(getattr(_C.nn, inner), known[inner] if others else None)
