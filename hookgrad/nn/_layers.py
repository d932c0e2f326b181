"""What the layers in C compute, in Python: each as the calls that PyTorch's makes, for those who are to see them.

Layers go by these where a `__torch_function__` is asked, where a program has put a function of its own in the place of one of
`torch` or `torch.nn.functional`, and where a module's weights are not simply those in its tables (py_layer.c).

Source: https://docs.pytorch.org/docs/stable/nn.html
"""

import hookgrad

from . import functional as F


def _batch_norm(m, x):
    m._check_input_dim(x)
    average = 0.0 if m.momentum is None else m.momentum
    if m.training and m.track_running_stats and m.num_batches_tracked is not None:
        m.num_batches_tracked.add_(1)
        if m.momentum is None:
            average = 1.0 / float(m.num_batches_tracked)
    own = m.training or m.running_mean is None and m.running_var is None
    mean, var = (m.running_mean, m.running_var) if not m.training or m.track_running_stats else (None, None)
    return F.batch_norm(x, mean, var, m.weight, m.bias, own, average, m.eps)


def _max_pool(name):
    def run(m, x):
        settings = dict(ceil_mode=m.ceil_mode, return_indices=m.return_indices)
        return getattr(F, name)(x, m.kernel_size, m.stride, m.padding, m.dilation, **settings)

    return run


def _sequential(m, x):
    for child in m:
        x = child(x)
    return x


table = {
    "adaptive_avg_pool1d": lambda m, x: F.adaptive_avg_pool1d(x, m.output_size),
    "adaptive_avg_pool2d": lambda m, x: F.adaptive_avg_pool2d(x, m.output_size),
    "avg_pool1d": lambda m, x: F.avg_pool1d(x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad),
    "avg_pool2d": lambda m, x: F.avg_pool2d(
        x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override
    ),
    "batch_norm": _batch_norm,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), lambda m, x: m._conv_forward(x, m.weight, m.bias)),
    "dropout": lambda m, x: F.dropout(x, m.p, m.training, m.inplace),
    "embedding": lambda m, x: F.embedding(
        x, m.weight, m.padding_idx, m.max_norm, m.norm_type, m.scale_grad_by_freq, m.sparse
    ),
    "flatten": lambda m, x: x.flatten(m.start_dim, m.end_dim),
    "gelu": lambda m, x: F.gelu(x, approximate=m.approximate),
    "identity": lambda m, x: x,
    "layer_norm": lambda m, x: F.layer_norm(x, m.normalized_shape, m.weight, m.bias, m.eps),
    "leaky_relu": lambda m, x: F.leaky_relu(x, m.negative_slope, m.inplace),
    "linear": lambda m, x: F.linear(x, m.weight, m.bias),
    "log_softmax": lambda m, x: F.log_softmax(x, m.dim, _stacklevel=5),
    "max_pool1d": _max_pool("max_pool1d"),
    "max_pool2d": _max_pool("max_pool2d"),
    "relu": lambda m, x: F.relu(x, inplace=m.inplace),
    "sequential": _sequential,
    "sigmoid": lambda m, x: hookgrad.sigmoid(x),
    "silu": lambda m, x: F.silu(x, inplace=m.inplace),
    "softmax": lambda m, x: F.softmax(x, m.dim, _stacklevel=5),
    "tanh": lambda m, x: hookgrad.tanh(x),
}
