"""Layers: what they print, compute and pass back. Every number here is PyTorch's."""

import pytest

import hookgrad as torch
from hookgrad import nn


def numbers(*shape):
    """The same small numbers every time, none of them twice in a row, none halfway between two whole ones."""
    n = 1
    for size in shape:
        n *= size
    return ((torch.arange(n) * 7 % 11 - 5) / 4 + 0.1).reshape(shape)


def near(t, values):
    return t.flatten().tolist() == pytest.approx(values, rel=1e-4, abs=1e-6)


# A layer, its repr, the shape of its input; the shape of its output, some of its numbers, some of the gradient's.
LAYERS = [
    ("nn.Identity()", "Identity()", (2,), (2,), [-1.15, 0.6], [-1.15, 0.6]),
    (
        "nn.Linear(3, 2)",
        "Linear(in_features=3, out_features=2, bias=True)",
        (2, 3),
        (2, 2),
        [-0.56901, -0.48254, 0.26639, 0.24426],
        [-0.17952, -0.033069, 0.33646, 0.24684, -0.63185, 0.5122],
    ),
    (
        "nn.Linear(3, 2, bias=False)",
        "Linear(in_features=3, out_features=2, bias=False)",
        (3,),
        (2,),
        [-0.45024, -0.77626],
        [-0.17952, -0.033069, 0.33646],
    ),
    (
        "nn.Conv1d(2, 2, 2)",
        "Conv1d(2, 2, kernel_size=(2,), stride=(1,))",
        (1, 2, 4),
        (1, 2, 3),
        [-0.54565, 0.63352, -0.41463, 0.45868, -0.11693, 0.44416],
        [-0.93175, 0.64843, 0.17545, -0.10663, -0.027394, -0.020645],
    ),
    (
        "nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)",
        "Conv1d(2, 4, kernel_size=(3,), stride=(2,), padding=(1,), groups=2, bias=False)",
        (2, 4),
        (4, 2),
        [0.2259, 0.12932, 0.83282, 0.84744, 0.050633, 0.40833],
        [0.51047, 0.53455, -0.88668, 0.40028, 0.27895, 0.12956],
    ),
    (
        "nn.Conv2d(1, 1, 2)",
        "Conv2d(1, 1, kernel_size=(2, 2), stride=(1, 1))",
        (1, 1, 3, 3),
        (1, 1, 2, 2),
        [-0.94813, -0.41433, -0.28331, -0.45801],
        [-0.29628, 0.40837, -0.13241, 0.0084177, 0.10803, -0.15712],
    ),
    (
        "nn.Conv2d(2, 2, (2, 1), stride=(1, 2), padding=1, dilation=2)",
        "Conv2d(2, 2, kernel_size=(2, 1), stride=(1, 2), padding=(1, 1), dilation=(2, 2))",
        (1, 2, 3, 3),
        (1, 2, 3, 3),
        [0.069508, -0.10161, 0.069508, 0.069508, 0.064013, 0.069508],
        [0.0, 0.27846, 0.0, 0.0, 0.15434, 0.0],
    ),
    (
        "nn.Conv2d(1, 1, 3, padding='same')",
        "Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=same)",
        (1, 3, 3),
        (1, 3, 3),
        [0.68517, -0.55233, 0.044355, -0.072898, -0.4295, 0.22035],
        [0.31625, -0.73113, 0.31848, -0.74971, -0.10614, 0.35987],
    ),
    (
        "nn.Conv2d(1, 1, 3, padding='valid')",
        "Conv2d(1, 1, kernel_size=(3, 3), stride=(1, 1), padding=valid)",
        (1, 3, 3),
        (1, 1, 1),
        [-0.4295],
        [-0.19752, 0.16919, 0.074314, -0.17992, 0.36088, -0.22989],
    ),
    (
        "nn.Conv2d(1, 1, 2, padding=1, padding_mode='circular')",
        "Conv2d(1, 1, kernel_size=(2, 2), stride=(1, 1), padding=(1, 1), padding_mode=circular)",
        (1, 1, 2, 2),
        (1, 1, 3, 3),
        [-0.36269, -0.61942, -0.36269, -0.28708, -0.54381, -0.28708],
        [-0.44899, 0.39824, 0.60863, -0.488],
    ),
    (
        "nn.Conv2d(1, 1, 2, padding=1, padding_mode='reflect')",
        "Conv2d(1, 1, kernel_size=(2, 2), stride=(1, 1), padding=(1, 1), padding_mode=reflect)",
        (1, 1, 2, 2),
        (1, 1, 3, 3),
        [-0.36269, -0.61942, -0.36269, -0.28708, -0.54381, -0.28708],
        [-0.44899, 0.39824, 0.60863, -0.488],
    ),
    (
        "nn.Conv2d(1, 1, 2, padding=1, padding_mode='replicate')",
        "Conv2d(1, 1, kernel_size=(2, 2), stride=(1, 1), padding=(1, 1), padding_mode=replicate)",
        (1, 1, 2, 2),
        (1, 1, 3, 3),
        [-0.67162, -0.64713, -0.3659, -0.5683, -0.54381, -0.26259],
        [0.035563, -0.16274, 0.36028, -0.16323],
    ),
    (
        "nn.ConvTranspose1d(1, 1, 3, stride=2, output_padding=1)",
        "ConvTranspose1d(1, 1, kernel_size=(3,), stride=(2,), output_padding=(1,))",
        (1, 1, 2),
        (1, 1, 6),
        [-0.07112, 0.56404, 0.5782, 0.11809, 0.20383, 0.27099],
        [-0.45024, -0.50219],
    ),
    (
        "nn.ConvTranspose2d(2, 2, 2, stride=2, groups=2, bias=False)",
        "ConvTranspose2d(2, 2, kernel_size=(2, 2), stride=(2, 2), groups=2, bias=False)",
        (1, 2, 2, 2),
        (1, 2, 4, 4),
        [-0.29628, 0.25379, 0.15458, -0.13241, 0.11147, -0.26989],
        [-0.61516, -0.48414, -0.57149, 0.16643, 0.51022, -0.046029],
    ),
    (
        "nn.BatchNorm1d(2)",
        "BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        (4, 2),
        (4, 2),
        [-1.3416, 0.34299, -0.44721, 1.372, 0.44721, -1.372],
        [-1.8908e-05, 6.4603e-06, -6.3263e-06, 2.5841e-05, 6.3263e-06, -2.5841e-05],
    ),
    (
        "nn.BatchNorm1d(2, affine=False)",
        "BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=True)",
        (2, 2, 3),
        (2, 2, 3),
        [-1.3085, 0.88981, -0.36639, 1.4638, 0.29277, -0.8783],
        [-2.0669e-05, 1.398e-05, -5.7873e-06, 2.0242e-05, 4.0485e-06, -1.2145e-05],
    ),
    (
        "nn.BatchNorm2d(2, eps=0.1, momentum=None)",
        "BatchNorm2d(2, eps=0.1, momentum=None, affine=True, bias=True, track_running_stats=True)",
        (2, 2, 2, 2),
        (2, 2, 2, 2),
        [-1.0848, 0.75607, -0.29585, 1.545, -5.6061e-08, -1.4055],
        [-0.12004, 0.083663, -0.032738, 0.17096, -8.2738e-09, -0.27762],
    ),
    (
        "nn.BatchNorm2d(2, track_running_stats=False)",
        "BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=False)",
        (2, 2, 2, 2),
        (2, 2, 2, 2),
        [-1.1503, 0.80172, -0.31372, 1.6383, -5.1075e-08, -1.5689],
        [-1.4193e-05, 9.8918e-06, -3.8707e-06, 2.0214e-05, -1.1538e-12, -3.8715e-05],
    ),
    (
        "nn.BatchNorm1d(2).eval()",
        "BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)",
        (3, 2),
        (3, 2),
        [-1.15, 0.6, -0.4, 1.35, 0.35, -0.65],
        [-1.15, 0.6, -0.4, 1.35, 0.35, -0.65],
    ),
    (
        "nn.LayerNorm(3)",
        "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)",
        (2, 3),
        (2, 3),
        [-1.1625, 1.2787, -0.11625, 1.2247, -3.65e-08, -1.2247],
        [-2.2767e-05, 2.5006e-05, -2.3107e-06, 1.8507e-05, 6.6971e-09, -1.8507e-05],
    ),
    (
        "nn.LayerNorm((2, 3), eps=0.1, bias=False)",
        "LayerNorm((2, 3), eps=0.1, elementwise_affine=True, bias=False)",
        (1, 2, 3),
        (1, 2, 3),
        [-1.3032, 0.65162, -0.46544, 1.4894, 0.37235, -0.74471],
        [-0.16262, 0.081311, -0.05808, 0.18585, 0.046464, -0.092927],
    ),
    (
        "nn.LayerNorm(3, elementwise_affine=False)",
        "LayerNorm((3,), eps=1e-05, elementwise_affine=False, bias=False)",
        (2, 3),
        (2, 3),
        [-1.1625, 1.2787, -0.11625, 1.2247, -3.65e-08, -1.2247],
        [-2.2767e-05, 2.5006e-05, -2.3107e-06, 1.8507e-05, 6.6971e-09, -1.8507e-05],
    ),
    (
        "nn.GroupNorm(2, 4)",
        "GroupNorm(2, 4, eps=1e-05, affine=True, bias=True)",
        (1, 4, 2),
        (1, 4, 2),
        [-1.3131, 0.52522, -0.52522, 1.3131, 0.2, -1.4],
        [-1.4435e-05, 5.8007e-06, -5.7939e-06, 1.4473e-05, 5.0867e-06, -3.6112e-05],
    ),
    (
        "nn.RMSNorm(3)",
        "RMSNorm((3,), eps=None, elementwise_affine=True)",
        (2, 3),
        (2, 3),
        [-1.4674, 0.76561, -0.51041, 1.5197, 0.39399, -0.73169],
        [-1.1921e-07, 5.9605e-08, -5.9605e-08, 4.7684e-07, 1.4901e-07, -2.3842e-07],
    ),
    (
        "nn.MaxPool1d(2)",
        "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        (1, 1, 6),
        (1, 1, 3),
        [0.6, 1.35, 0.35],
        [0.0, -1.15, 0.0, 0.6, -0.4, 0.0],
    ),
    (
        "nn.MaxPool2d(2)",
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        (1, 1, 4, 4),
        (1, 1, 2, 2),
        [0.6, 1.35, 0.85, 1.35],
        [0.0, -1.15, 0.0, 0.6, 0.0, 0.0],
    ),
    (
        "nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)",
        "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=True)",
        (1, 4, 4),
        (1, 3, 3),
        [0.6, 1.35, 1.35, 0.85, 1.35, 0.35],
        [0.0, -1.15, 0.0, 0.2, 0.0, 0.0],
    ),
    (
        "nn.MaxPool2d((1, 2), dilation=2)",
        "MaxPool2d(kernel_size=(1, 2), stride=(1, 2), padding=0, dilation=2, ceil_mode=False)",
        (1, 2, 4),
        (1, 2, 1),
        [-0.4, 1.1],
        [0.0, 0.0, -1.15, 0.0, 0.0, 0.0],
    ),
    (
        "nn.AvgPool1d(2)",
        "AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))",
        (1, 1, 5),
        (1, 1, 2),
        [-0.275, 0.475],
        [-0.575, -0.575, 0.3, 0.3, 0.0],
    ),
    (
        "nn.AvgPool2d(2, padding=1)",
        "AvgPool2d(kernel_size=2, stride=2, padding=1)",
        (1, 1, 3, 3),
        (1, 1, 2, 2),
        [-0.2875, 0.05, 0.6125, -0.275],
        [-0.2875, 0.15, 0.15, -0.1, 0.3375, 0.3375],
    ),
    (
        "nn.AvgPool2d(2, padding=1, count_include_pad=False, ceil_mode=True)",
        "AvgPool2d(kernel_size=2, stride=2, padding=1)",
        (1, 1, 4, 4),
        (1, 1, 3, 3),
        [-1.15, 0.1, 1.35, -0.275, 0.2875, -0.525],
        [-1.15, 0.3, 0.3, -0.4, 0.675, 0.0875],
    ),
    (
        "nn.AvgPool2d(2, divisor_override=3)",
        "AvgPool2d(kernel_size=2, stride=2, padding=0)",
        (1, 2, 2),
        (1, 1, 1),
        [0.13333],
        [-0.38333, -0.38333, -0.38333, -0.38333],
    ),
    (
        "nn.AdaptiveAvgPool1d(2)",
        "AdaptiveAvgPool1d(output_size=2)",
        (1, 1, 5),
        (1, 1, 2),
        [-0.31667, 0.43333],
        [-0.38333, -0.38333, -0.18333, 0.2, 0.2],
    ),
    (
        "nn.AdaptiveAvgPool2d((None, 2))",
        "AdaptiveAvgPool2d(output_size=(None, 2))",
        (1, 1, 2, 3),
        (1, 1, 2, 2),
        [-0.275, 0.1, 0.85, -0.15],
        [-0.575, -0.275, 0.3, -0.2, 0.475, 0.675],
    ),
    (
        "nn.AdaptiveAvgPool2d(1)",
        "AdaptiveAvgPool2d(output_size=1)",
        (1, 2, 2, 2),
        (1, 2, 1, 1),
        [0.1, 0.225],
        [-0.2875, -0.2875, -0.2875, -0.2875, 0.15, 0.15],
    ),
    ("nn.Dropout(0.5).eval()", "Dropout(p=0.5, inplace=False)", (3,), (3,), [-1.15, 0.6, -0.4], [-1.15, 0.6, -0.4]),
    (
        "nn.Dropout2d(0.5).eval()",
        "Dropout2d(p=0.5, inplace=False)",
        (1, 1, 1, 2),
        (1, 1, 1, 2),
        [-1.15, 0.6],
        [-1.15, 0.6],
    ),
    (
        "nn.Flatten()",
        "Flatten(start_dim=1, end_dim=-1)",
        (2, 1, 2),
        (2, 2),
        [-1.15, 0.6, -0.4, 1.35],
        [-1.15, 0.6, -0.4, 1.35],
    ),
    (
        "nn.Flatten(0, 1)",
        "Flatten(start_dim=0, end_dim=1)",
        (2, 1, 2),
        (2, 2),
        [-1.15, 0.6, -0.4, 1.35],
        [-1.15, 0.6, -0.4, 1.35],
    ),
    (
        "nn.Unflatten(1, (2, -1))",
        "Unflatten(dim=1, unflattened_size=(2, -1))",
        (1, 4),
        (1, 2, 2),
        [-1.15, 0.6, -0.4, 1.35],
        [-1.15, 0.6, -0.4, 1.35],
    ),
    ("nn.ReLU()", "ReLU()", (4,), (4,), [0.0, 0.6, 0.0, 1.35], [0.0, 0.6, 0.0, 1.35]),
    (
        "nn.LeakyReLU(0.2)",
        "LeakyReLU(negative_slope=0.2)",
        (4,),
        (4,),
        [-0.23, 0.6, -0.08, 1.35],
        [-0.23, 0.6, -0.08, 1.35],
    ),
    ("nn.PReLU()", "PReLU(num_parameters=1)", (4,), (4,), [-0.2875, 0.6, -0.1, 1.35], [-0.2875, 0.6, -0.1, 1.35]),
    ("nn.ELU()", "ELU(alpha=1.0)", (4,), (4,), [-0.68336, 0.6, -0.32968, 1.35], [-0.36413, 0.6, -0.26813, 1.35]),
    ("nn.CELU(2.0)", "CELU(alpha=2.0)", (4,), (4,), [-0.87459, 0.6, -0.36254, 1.35], [-0.64711, 0.6, -0.32749, 1.35]),
    ("nn.SELU()", "SELU()", (4,), (4,), [-1.2014, 0.63042, -0.57961, 1.4184], [-0.64018, 0.63042, -0.4714, 1.4184]),
    (
        "nn.GELU()",
        "GELU(approximate='none')",
        (4,),
        (4,),
        [-0.14383, 0.43545, -0.13783, 1.2305],
        [0.12852, 0.55541, -0.078908, 1.5228],
    ),
    (
        "nn.GELU('tanh')",
        "GELU(approximate='tanh')",
        (4,),
        (4,),
        [-0.14403, 0.43542, -0.13784, 1.2303],
        [0.1282, 0.55529, -0.078936, 1.5228],
    ),
    ("nn.SiLU()", "SiLU()", (4,), (4,), [-0.27656, 0.38739, -0.16052, 1.0721], [-0.035002, 0.46976, -0.12208, 1.37]),
    ("nn.Mish()", "Mish()", (4,), (4,), [-0.3086, 0.46614, -0.18892, 1.2402], [-0.013453, 0.55828, -0.13903, 1.466]),
    ("nn.Tanh()", "Tanh()", (4,), (4,), [-0.81775, 0.53705, -0.37995, 0.87405], [-0.38097, 0.42695, -0.34226, 0.31864]),
    (
        "nn.Sigmoid()",
        "Sigmoid()",
        (4,),
        (4,),
        [0.24049, 0.64566, 0.40131, 0.79413],
        [-0.21005, 0.13727, -0.096104, 0.22071],
    ),
    (
        "nn.LogSigmoid()",
        "LogSigmoid()",
        (4,),
        (4,),
        [-1.4251, -0.43749, -0.91302, -0.23051],
        [-0.87344, 0.21261, -0.23948, 0.27793],
    ),
    (
        "nn.Softplus()",
        "Softplus(beta=1.0, threshold=20.0)",
        (4,),
        (4,),
        [0.27508, 1.0375, 0.51302, 1.5805],
        [-0.27656, 0.38739, -0.16052, 1.0721],
    ),
    (
        "nn.Softsign()",
        "Softsign()",
        (4,),
        (4,),
        [-0.53488, 0.375, -0.28571, 0.57447],
        [-0.24878, 0.23438, -0.20408, 0.24445],
    ),
    (
        "nn.Tanhshrink()",
        "Tanhshrink()",
        (4,),
        (4,),
        [-0.33225, 0.06295, -0.020051, 0.47595],
        [-0.76903, 0.17305, -0.057744, 1.0314],
    ),
    ("nn.ReLU6()", "ReLU6()", (4,), (4,), [0.0, 0.6, 0.0, 1.35], [0.0, 0.6, 0.0, 1.35]),
    ("nn.Hardtanh()", "Hardtanh(min_val=-1.0, max_val=1.0)", (4,), (4,), [-1.0, 0.6, -0.4, 1.0], [0.0, 0.6, -0.4, 0.0]),
    (
        "nn.Hardswish()",
        "Hardswish()",
        (4,),
        (4,),
        [-0.35458, 0.36, -0.17333, 0.97875],
        [-0.13417, 0.42, -0.14667, 1.2825],
    ),
    (
        "nn.Hardsigmoid()",
        "Hardsigmoid()",
        (4,),
        (4,),
        [0.30833, 0.6, 0.43333, 0.725],
        [-0.19167, 0.1, -0.066667, 0.225],
    ),
    (
        "nn.Threshold(0.1, 2.0)",
        "Threshold(threshold=0.1, value=2.0)",
        (4,),
        (4,),
        [2.0, 0.6, 2.0, 1.35],
        [0.0, 0.6, 0.0, 1.35],
    ),
    (
        "nn.Softmax(dim=1)",
        "Softmax(dim=1)",
        (2, 2),
        (2, 2),
        [0.14805, 0.85195, 0.14805, 0.85195],
        [-0.22073, 0.22073, -0.22073, 0.22073],
    ),
    (
        "nn.LogSoftmax(dim=-1)",
        "LogSoftmax(dim=-1)",
        (3,),
        (3,),
        [-2.1829, -0.43286, -1.4329],
        [-1.0429, 1.2162, -0.1733],
    ),
    ("nn.Softmin(dim=0)", "Softmin(dim=0)", (3,), (3,), [0.60748, 0.10556, 0.28695], [0.24296, -0.14252, -0.10045]),
    ("nn.GLU()", "GLU(dim=-1)", (4,), (2,), [-0.46151, 0.47648], [-0.46151, 0.47648, 0.31774, 0.058856]),
]


@pytest.mark.parametrize("layer, text, shape, out_shape, out, grad", LAYERS, ids=[case[0] for case in LAYERS])
def test_forward_and_backward(layer, text, shape, out_shape, out, grad):
    torch.manual_seed(1)
    l = eval(layer)
    assert repr(l) == text
    x = numbers(*shape).requires_grad_()
    y = l(x)
    assert tuple(y.shape) == out_shape
    assert near(y.flatten()[:6], out)
    (y * numbers(*out_shape)).sum().backward()
    assert near(x.grad.flatten()[:6], grad)


# What only has a repr worth looking at.
REPRS = [
    (
        "nn.Conv2d(4, 4, (3, 2), stride=2, groups=2, bias=False, dilation=2)",
        "Conv2d(4, 4, kernel_size=(3, 2), stride=(2, 2), dilation=(2, 2), groups=2, bias=False)",
    ),
    (
        "nn.Conv2d(2, 4, 3, padding='same', padding_mode='circular')",
        "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=same, padding_mode=circular)",
    ),
    ("nn.Embedding(5, 3, padding_idx=-1)", "Embedding(5, 3, padding_idx=4)"),
    ("nn.ReLU(inplace=True)", "ReLU(inplace=True)"),
    ("nn.LeakyReLU(0.2, inplace=True)", "LeakyReLU(negative_slope=0.2, inplace=True)"),
    ("nn.Hardtanh(-2, 2, True)", "Hardtanh(min_val=-2, max_val=2, inplace=True)"),
    ("nn.ELU(0.5, True)", "ELU(alpha=0.5, inplace=True)"),
    ("nn.ReLU6(True)", "ReLU6(inplace=True)"),
    (
        "nn.BatchNorm2d(3, bias=False)",
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=False, track_running_stats=True)",
    ),
    ("nn.Softmax()", "Softmax(dim=None)"),
    ("nn.CosineSimilarity()", "CosineSimilarity()"),
    ("nn.CrossEntropyLoss()", "CrossEntropyLoss()"),
    (
        "nn.MultiheadAttention(4, 2)",
        """\
MultiheadAttention(
  (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)
)""",
    ),
    (
        "nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)",
        """\
TransformerEncoderLayer(
  (self_attn): MultiheadAttention(
    (out_proj): NonDynamicallyQuantizableLinear(in_features=4, out_features=4, bias=True)
  )
  (linear1): Linear(in_features=4, out_features=8, bias=True)
  (dropout): Dropout(p=0.1, inplace=False)
  (linear2): Linear(in_features=8, out_features=4, bias=True)
  (norm1): LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)
  (norm2): LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)
  (dropout1): Dropout(p=0.1, inplace=False)
  (dropout2): Dropout(p=0.1, inplace=False)
)""",
    ),
]


@pytest.mark.parametrize("layer, text", REPRS, ids=[case[0] for case in REPRS])
def test_repr(layer, text):
    assert repr(eval(layer)) == text


# ---- Parameters ----------------------------------------------------------------------------------------------------------


def test_gradients_of_parameters():
    torch.manual_seed(1)
    for layer, shape, expected in (
        (nn.Linear(2, 1), (2, 2), {"weight": [1.0825, 0.12], "bias": [-0.55]}),
        (nn.Conv1d(1, 1, 2), (1, 1, 3), {"weight": [1.6825, -0.93], "bias": [-0.55]}),
        (nn.Conv2d(1, 1, 2), (1, 1, 3, 3), {"weight": [1.615, -1.9475, -1.6475, -2.0475], "bias": [0.4]}),
        (nn.ConvTranspose1d(1, 1, 2), (1, 1, 2), {"weight": [1.6825, -0.93], "bias": [-0.95]}),
        (nn.BatchNorm1d(2), (3, 2), {"weight": [1.83709, 2.47486], "bias": [-1.2, 1.3]}),
        (nn.LayerNorm(3), (2, 3), {"weight": [2.99023, 0.767227, 0.842577], "bias": [0.2, 0.95, -1.05]}),
        (nn.GroupNorm(1, 2), (1, 2, 2), {"weight": [1.82515, 1.98272], "bias": [-0.55, 0.95]}),
        (nn.PReLU(), (4,), {"weight": [1.4825]}),
    ):
        y = layer(numbers(*shape))
        (y * numbers(*y.shape)).sum().backward()
        assert [name for name, _ in layer.named_parameters()] == list(expected)
        for name, p in layer.named_parameters():
            assert near(p.grad, expected[name]), (layer, name)


def test_settings_may_be_changed_after_construction():
    x = numbers(1, 1, 4, 4)
    conv = nn.Conv2d(1, 1, 2)
    conv.stride = (2, 2)
    assert conv(x).shape == (1, 1, 2, 2)
    pool = nn.MaxPool2d(2)
    pool.kernel_size, pool.stride = 4, 4
    assert pool(x).shape == (1, 1, 1, 1)
    relu = nn.LeakyReLU(0.1)
    relu.negative_slope = 0.5
    assert relu(torch.tensor(-2.0)).item() == -1.0
    linear = nn.Linear(2, 1)
    linear.bias = None
    assert linear(torch.zeros(1, 2)).item() == 0.0
    linear.weight = nn.Parameter(torch.full((1, 2), 3.0))
    assert linear(torch.ones(1, 2)).item() == 6.0


def test_layers_can_be_subclassed_and_overridden():
    class Doubled(nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    torch.manual_seed(0)
    a = Doubled(2, 2)
    torch.manual_seed(0)
    b = nn.Linear(2, 2)
    x = torch.ones(1, 2)
    assert torch.equal(a(x), b(x) * 2)
    assert torch.equal(b.forward(x), b(x))
    assert torch.equal(nn.Linear.forward(b, input=x), b(x))


def test_output_padding_as_large_as_the_stride():
    torch.manual_seed(0)
    for kernel in (1, 2):
        layer = nn.ConvTranspose1d(1, 1, kernel, dilation=2, output_padding=1, bias=False)
        x = numbers(1, 1, 3).requires_grad_()
        y = layer(x)
        assert y.shape == (1, 1, 2 + 2 * kernel)
        w = numbers(1, 1, 2 + 2 * kernel)
        (y * w).sum().backward()
        k = layer.weight.detach().flatten()
        assert torch.allclose(x.grad.flatten(), sum(k[i] * w.flatten()[2 * i : 2 * i + 3] for i in range(kernel)))
        taps = [(x.detach().flatten() * w.flatten()[2 * i : 2 * i + 3]).sum().item() for i in range(kernel)]
        assert near(layer.weight.grad, taps)


# ---- Batch normalisation ---------------------------------------------------------------------------------------------------


def test_running_statistics():
    bn = nn.BatchNorm1d(2)
    for _ in range(2):
        bn(numbers(4, 2))
    assert near(bn.running_mean, [-0.00475, 0.0665])
    assert near(bn.running_var, [0.988125, 0.944583])
    assert bn.num_batches_tracked.item() == 2
    bn.eval()
    assert near(bn(numbers(1, 2)), [-1.15211, 0.548924])
    assert bn.num_batches_tracked.item() == 2
    bn.reset_running_stats()
    assert bn.running_mean.tolist() == [0.0, 0.0]
    assert bn.running_var.tolist() == [1.0, 1.0]


def test_momentum_none_takes_the_plain_average():
    bn = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        bn(torch.tensor([[value], [value + 2]]))
    assert bn.running_mean.item() == pytest.approx(4.0)
    assert bn.running_var.item() == pytest.approx(2.0)


def test_without_tracking_evaluation_uses_the_batch():
    bn = nn.BatchNorm1d(1, track_running_stats=False).eval()
    assert near(bn(torch.tensor([[1.0], [3.0]])), [-0.999995, 0.999995])
    assert bn.running_mean is None
    assert list(bn.state_dict()) == ["weight", "bias"]


def test_a_running_mean_comes_with_a_running_variance():
    x, ones = numbers(4, 3), torch.ones(3)
    for mean, var in ((ones, None), (None, ones)):
        with pytest.raises(
            ValueError, match="running_mean and running_var must either both be None or neither be None"
        ):
            nn.functional.batch_norm(x, mean, var, training=True)


def test_instance_norm():
    assert repr(nn.InstanceNorm1d(2)) == (
        "InstanceNorm1d(2, eps=1e-05, momentum=0.1, affine=False, bias=False, track_running_stats=False)"
    )
    x = numbers(2, 2, 3).requires_grad_()
    y = nn.InstanceNorm1d(2)(x)
    assert near(y.flatten()[:6], [-1.16247, 1.27871, -0.116247, 1.22474, -4.30628e-08, -1.22474])
    (y * numbers(2, 2, 3)).sum().backward()
    assert near(x.grad.flatten()[:6], [-2.27404e-05, 2.48399e-05, -2.3073e-06, 1.8469e-05, -5.50419e-13, -1.8469e-05])
    assert nn.InstanceNorm1d(2, eps=0)(torch.ones(1, 2, 3)).tolist() == [[[0.0] * 3] * 2]
    tracking = nn.InstanceNorm2d(2, affine=True, track_running_stats=True)
    tracking(numbers(2, 2, 2, 2))
    assert near(tracking.running_mean, [-0.011875, 0.035])
    assert near(tracking.running_var, [1.00078, 0.952083])
    tracking.eval()
    assert near(tracking(numbers(2, 1, 2)).flatten(), [-1.13768, 0.611633, -0.44581, 1.34768])
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        nn.InstanceNorm2d(1)(torch.ones(1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"expected 3D or 4D input \(got 2D input\)"):
        nn.InstanceNorm2d(1)(torch.ones(1, 1))


# ---- Dropout -----------------------------------------------------------------------------------------------------------------


def test_dropout_zeroes_and_scales():
    torch.manual_seed(0)
    drop = nn.Dropout(0.25)
    y = drop(torch.ones(10000))
    assert set(y.tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert (y == 0).sum().item() == pytest.approx(2500, abs=200)
    assert nn.Dropout(0.0)(torch.ones(3)).tolist() == [1.0] * 3
    assert nn.Dropout(1.0)(torch.ones(3)).tolist() == [0.0] * 3


def test_dropout_passes_gradients_where_it_passed_values():
    torch.manual_seed(0)
    x = torch.ones(100, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_dropout_of_channels():
    torch.manual_seed(0)
    y = nn.Dropout2d(0.5)(torch.ones(20, 10, 2, 2))
    sums = y.sum((2, 3))
    assert set(sums.flatten().tolist()) == {0.0, 8.0}
    y = nn.Dropout1d(0.5)(torch.ones(10, 4))
    assert set(y.sum(1).tolist()) <= {0.0, 8.0}


def test_in_place():
    x = torch.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0.0, 2.0]
    x = torch.tensor([-1.0, 2.0])
    nn.LeakyReLU(0.5, inplace=True)(x)
    assert x.tolist() == [-0.5, 2.0]
    nn.SiLU(inplace=True)(x)
    nn.ELU(inplace=True)(x)
    x = torch.ones(100)
    nn.Dropout(0.5, inplace=True)(x)
    assert set(x.tolist()) == {0.0, 2.0}
    leaf = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        nn.ReLU(inplace=True)(leaf)


# ---- Embedding ------------------------------------------------------------------------------------------------------------------


def test_embedding():
    e = nn.Embedding.from_pretrained(torch.arange(6.0).reshape(3, 2), freeze=False)
    y = e(torch.tensor([[0, 2], [2, 2]]))
    assert y.tolist() == [[[0.0, 1.0], [4.0, 5.0]], [[4.0, 5.0], [4.0, 5.0]]]
    y.sum().backward()
    assert e.weight.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [3.0, 3.0]]
    assert not nn.Embedding.from_pretrained(torch.ones(1, 1)).weight.requires_grad


def test_padding_gets_no_gradient():
    e = nn.Embedding(3, 2, padding_idx=-1)
    assert e.padding_idx == 2
    assert e.weight[2].tolist() == [0.0, 0.0]
    e(torch.tensor([0, 2])).sum().backward()
    assert e.weight.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]


def test_rows_longer_than_max_norm_are_shortened():
    e = nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]]), max_norm=1.0)
    assert repr(e) == "Embedding(3, 2, max_norm=1.0)"
    assert near(e(torch.tensor([0, 1])), [0.6, 0.8, 0.3, 0.4])
    assert near(e.weight, [0.6, 0.8, 0.3, 0.4, 6.0, 8.0])


def test_gradients_divided_by_frequency():
    e = nn.Embedding(3, 1, scale_grad_by_freq=True)
    (e(torch.tensor([0, 2, 2, 2])) * torch.tensor([[1.0], [1.0], [2.0], [3.0]])).sum().backward()
    assert e.weight.grad.tolist() == [[1.0], [0.0], [2.0]]


def test_indices_of_maxima():
    x = torch.tensor([[[[1.0, 5.0], [7.0, 2.0]]]])
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    assert (y.item(), indices.item()) == (7.0, 2)
    y, indices = nn.MaxPool1d(2, return_indices=True)(torch.tensor([[1.0, 5.0, 7.0, 2.0]]))
    assert (y.tolist(), indices.tolist()) == ([[5.0, 7.0]], [[1, 2]])
    y, indices = nn.AdaptiveMaxPool2d((None, 1), return_indices=True)(x)
    assert (y.flatten().tolist(), indices.flatten().tolist()) == ([5.0, 7.0], [1, 2])
    assert nn.AdaptiveMaxPool1d(1)(x[0]).flatten().tolist() == [5.0, 7.0]


def test_padding_layers():
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert nn.ConstantPad1d((1, 2), 0.5)(x).flatten().tolist() == [0.5, 1.0, 2.0, 3.0, 0.5, 0.5]
    assert nn.ZeroPad1d(1)(x).flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 0.0]
    assert nn.ReflectionPad1d(2)(x).flatten().tolist() == [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]
    assert nn.ReplicationPad1d((1, 0))(x).flatten().tolist() == [1.0, 1.0, 2.0, 3.0]
    assert repr(nn.ConstantPad2d(1, 2)) == "ConstantPad2d(padding=(1, 1, 1, 1), value=2)"
    assert repr(nn.ZeroPad2d((1, 2, 0, 1))) == "ZeroPad2d((1, 2, 0, 1))"
    assert repr(nn.ReflectionPad2d(1)) == "ReflectionPad2d((1, 1, 1, 1))"
    assert nn.ZeroPad2d((1, 2, 0, 1))(x).shape == (1, 2, 6)


# ---- Attention --------------------------------------------------------------------------------------------------------------------


def test_attention():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2)
    x = numbers(3, 1, 4)
    y, weights = attention(x, x, x)
    assert near(y.flatten()[:6], [-0.0173364, -0.0318926, -0.00827384, 0.391871, 0.100035, -0.144514])
    assert near(weights, [0.507363, 0.273293, 0.219344, 0.220131, 0.356192, 0.423677, 0.307699, 0.376835, 0.315467])
    unweighted, nothing = attention(x, x, x, need_weights=False)
    assert nothing is None
    assert torch.allclose(unweighted, y, atol=1e-6)


def test_attention_masks():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = numbers(2, 3, 4)
    future = torch.ones(3, 3, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    _, weights = attention(x, x, x, attn_mask=future, key_padding_mask=padding)
    assert weights[0, 0].tolist() == [1.0, 0.0, 0.0]
    assert weights[0, 2, 2].item() == 0.0
    assert weights[1, 2, 2].item() > 0.0
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3))
    _, each = attention(x, x, x, average_attn_weights=False)
    assert each.shape == (2, 2, 3, 3)
    y, _ = attention(x[0], x[0], x[0])
    assert y.shape == (3, 4)


def test_transformer_encoder_layer():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0)
    assert near(
        layer(numbers(2, 1, 4)), [-1.20475, 0.500203, -0.660182, 1.36473, 0.454696, -1.51203, 1.21714, -0.159806]
    )
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    assert len(encoder.layers) == 2
    assert encoder.layers[0] is not encoder.layers[1]
    assert encoder(numbers(2, 1, 4)).shape == (2, 1, 4)


def test_a_convolution_asks_its_class_for_conv_forward():
    """As libraries have it that give a convolution weights of their own."""

    class Zeroed(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(input, weight * 0, bias)

    class Shifted(Zeroed):
        def forward(self, input):
            return super().forward(input) + 1

    x = torch.rand(1, 2, 5, 5)
    for layer, expected in ((Zeroed(2, 2, 3, bias=False), 0), (Shifted(2, 2, 3, bias=False), 1)):
        assert nn.Sequential(layer)(x).unique().tolist() == [expected]
    for padding in ({}, {"padding": 1, "padding_mode": "circular"}, {"padding": "same"}):
        layer = nn.Conv2d(2, 2, 3, **padding)
        assert torch.equal(layer._conv_forward(x, layer.weight, layer.bias), layer(x))


def test_a_wrong_setting_names_the_layer_it_was_given_to():
    for layer, name in ((nn.ReLU, "ReLU"), (nn.Softmax, "Softmax"), (nn.ELU, "ELU"), (nn.Softshrink, "Softshrink"),
                        (nn.ReflectionPad1d, "ReflectionPad1d"), (nn.ConstantPad2d, "ConstantPad2d"),
                        (nn.MaxUnpool2d, "MaxUnpool2d"), (nn.FractionalMaxPool2d, "FractionalMaxPool2d")):  # fmt: skip
        with pytest.raises(TypeError, match=rf"^{name}.__init__\(\) got an unexpected keyword argument 'foo'"):
            layer(foo=1)

    class Mine(nn.ReLU):
        pass

    with pytest.raises(TypeError, match=r"^ReLU.__init__\(\) takes from 1 to 2 positional arguments but 3 were given"):
        Mine(1, 2)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_statistics_of_a_new_layer_were_reset_once(device):
    layer = nn.BatchNorm1d(3, device=device)
    assert [b._version for b in layer.buffers()] == [1, 1, 1]
    layer(torch.rand(4, 3))
    assert [b._version for b in layer.buffers()] == [1, 1, 2]
