"""The ops under the layers: their values by definition, their derivatives by differences, what they refuse and why."""

import itertools
import math
import warnings

import numpy as np
import pytest

import hookgrad as torch
import hookgrad.nn.functional as F
from hookgrad.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(0)


def randn(*shape, grad=True):
    """Numbers far enough apart that no maximum changes hands between two differences."""
    values = RNG.permutation(np.linspace(-2, 2, math.prod(shape))).reshape(shape)
    return torch.tensor(values.tolist(), dtype=torch.float64, requires_grad=grad)


def near(got, want):
    return np.allclose(np.array(got.tolist()), want, rtol=1e-9, atol=1e-9)


# ---- Values, by definition ---------------------------------------------------------------------------------------


def convolve(x, w, bias, stride, padding, dilation, groups):
    """A convolution as its definition reads: every output by itself."""
    (sy, sx), (py, px), (dy, dx) = stride, padding, dilation
    x = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    out, per_group, kh, kw = w.shape
    h = (x.shape[2] - dy * (kh - 1) - 1) // sy + 1
    width = (x.shape[3] - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((x.shape[0], out, h, width))
    for o, i, j in itertools.product(range(out), range(h), range(width)):
        first = o // (out // groups) * per_group
        seen = x[:, first : first + per_group, i * sy : i * sy + dy * kh : dy, j * sx : j * sx + dx * kw : dx]
        y[:, o, i, j] = (seen[:, :, :kh, :kw] * w[o]).sum((1, 2, 3)) + bias[o]
    return y


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "stride, padding, dilation", [((1, 1), (0, 0), (1, 1)), ((2, 1), (1, 2), (1, 1)), ((1, 3), (2, 0), (2, 1))]
)
def test_conv2d_by_definition(stride, padding, dilation, groups):
    x, w, bias = randn(2, 4, 7, 6), randn(6, 4 // groups, 3, 2), randn(6)
    y = F.conv2d(x, w, bias, stride, padding, dilation, groups)
    arrays = (np.array(t.tolist()) for t in (x, w, bias))
    assert near(y, convolve(*arrays, stride, padding, dilation, groups))
    assert y.grad_fn.name() == "ConvolutionBackward0"


def test_large_images_are_convolved_in_chunks():
    x, w = randn(1, 8, 70, 90), randn(2, 8, 5, 5)
    arrays = (np.array(t.tolist()) for t in (x, w, torch.zeros(2)))
    assert near(F.conv2d(x, w), convolve(*arrays, (1, 1), (0, 0), (1, 1), 1))


def test_conv_transpose2d_is_the_gradient_of_conv2d():
    x, w = randn(2, 3, 5, 6), randn(4, 3, 3, 3)
    y = F.conv2d(x, w, stride=2, padding=1)
    g = randn(*y.shape, grad=False)
    (gx,) = torch.autograd.grad(y, x, g)
    back = F.conv_transpose2d(g, w, stride=2, padding=1, output_padding=(0, 1))
    assert torch.equal(gx, back)


def windows(x, k, s):
    h, w = (x.shape[2] - k) // s + 1, (x.shape[3] - k) // s + 1
    return np.stack([[x[:, :, i * s : i * s + k, j * s : j * s + k] for j in range(w)] for i in range(h)])


@pytest.mark.parametrize("k, s", [(2, 2), (3, 1), (2, 3)])
def test_pooling_by_definition(k, s):
    x = randn(2, 3, 7, 8)
    seen = windows(np.array(x.tolist()), k, s)
    assert near(F.max_pool2d(x, k, s), seen.max((4, 5)).transpose(2, 3, 0, 1))
    assert near(F.avg_pool2d(x, k, s), seen.mean((4, 5)).transpose(2, 3, 0, 1))


def test_max_pool_indices_point_at_the_maxima():
    x = randn(1, 2, 6, 6)
    y, index = F.max_pool2d(x, 3, return_indices=True)
    assert index.dtype == torch.int64
    assert torch.equal(x.flatten(2).gather(2, index.flatten(2)).view(y.shape), y)


def test_threads_share_the_planes_of_a_max_pool_and_of_its_gradient():
    x = torch.tensor(RNG.standard_normal((2, 16, 67, 65)).astype(np.float32), requires_grad=True)
    before, results = torch.get_num_threads(), []
    for n in (1, 3):
        torch.set_num_threads(n)
        y = F.max_pool2d(x, 3, 2)
        results.append((y, torch.autograd.grad((y * y).sum(), x)[0]))
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results))


def test_max_pool_passes_nan_on():
    assert math.isnan(F.max_pool2d(torch.tensor([[[1.0, math.nan, 2.0, 3.0]]]), (1, 2))[0, 0, 0].item())


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_adaptive_average_covers_everything(size):
    x = randn(1, 2, 5, 7)
    a = np.array(x.tolist())
    edges = [[(i * n // size, -(-(i + 1) * n // size)) for i in range(size)] for n in (5, 7)]
    want = [[[[a[0, c, y0:y1, x0:x1].mean() for x0, x1 in edges[1]] for y0, y1 in edges[0]] for c in range(2)]]
    assert near(F.adaptive_avg_pool2d(x, size), want)


def test_norms_by_definition():
    x = randn(4, 6, 3)
    a = np.array(x.tolist())

    def normal(a, axis):
        return (a - a.mean(axis, keepdims=True)) / np.sqrt(a.var(axis, keepdims=True) + 1e-5)

    assert near(F.batch_norm(x, None, None, training=True), normal(a, (0, 2)))
    assert near(F.layer_norm(x, (6, 3)), normal(a, (1, 2)))
    assert near(F.group_norm(x, 3), normal(a.reshape(4, 3, 6), 2).reshape(4, 6, 3))


def test_batch_norm_moves_the_running_statistics():
    x, mean, var = randn(5, 3, 2, grad=False).float(), torch.zeros(3), torch.ones(3)
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    a = np.array(x.tolist())
    assert mean.tolist() == pytest.approx(0.25 * a.mean((0, 2)), rel=1e-6)
    assert var.tolist() == pytest.approx(0.75 + 0.25 * a.var((0, 2), ddof=1), rel=1e-6)
    assert mean._version == 0


@pytest.mark.parametrize("n", (1, 7, 8, 15, 16, 17, 31, 33))
@pytest.mark.parametrize("dim", (0, 1))
def test_softmax_of_every_width(dim, n):
    x = torch.tensor(RNG.standard_normal((11, n)).tolist())
    x.t()[n // 2][3:5] = torch.tensor([-math.inf, 300.0])  # a share of nothing, and one of everything
    x[n % 11, -1] = math.nan
    for f in (F.softmax, F.log_softmax):
        grads = []
        for y in (x.double().requires_grad_(), x.clone().requires_grad_()):
            out = f(y, dim)
            (out.nan_to_num(1, 1, 1) * torch.arange(out.numel()).view_as(out)).sum().backward()
            grads += [out.tolist(), y.grad.tolist()]
        assert np.allclose(grads[0], grads[2], 1e-5, 1e-6, equal_nan=True)
        assert np.allclose(grads[1], grads[3], 1e-4, 1e-3, equal_nan=True)


def test_softmax_of_large_and_of_no_numbers():
    assert F.softmax(torch.tensor([1000.0, 1000.0]), 0).tolist() == [0.5, 0.5]
    assert F.log_softmax(torch.tensor([-1000.0, 0.0]), 0).tolist() == [-1000.0, 0.0]
    assert F.softmax(torch.ones(0, 3), 1).shape == (0, 3)
    assert all(math.isnan(v) for v in F.softmax(torch.tensor([-math.inf, -math.inf]), 0).tolist())


def test_cross_entropy_by_definition():
    x, target, weight = randn(4, 5), torch.tensor([0, 4, 2, 1]), torch.tensor([1.0, 2, 3, 4, 5], dtype=torch.float64)
    a, w = np.array(x.tolist()), np.array(weight.tolist())
    log_p = a - np.log(np.exp(a).sum(1, keepdims=True))
    t = np.array(target.tolist())
    each = -log_p[range(4), t] * w[t]
    assert near(F.cross_entropy(x, target, weight, reduction="none"), each)
    assert near(F.cross_entropy(x, target, weight), each.sum() / w[t].sum())
    kept = t != 2
    assert near(F.cross_entropy(x, target, weight, ignore_index=2), each[kept].sum() / w[t][kept].sum())
    share = np.eye(5)[t] * 0.9 + 0.1 / 5
    assert near(F.cross_entropy(x, target, label_smoothing=0.1), -(share * log_p).sum(1).mean())
    assert near(F.cross_entropy(x, torch.tensor(share.tolist(), dtype=torch.float64)), -(share * log_p).sum(1).mean())


def test_embedding_picks_rows_and_leaves_padding_alone():
    w = randn(5, 3)
    y = F.embedding(torch.tensor([[1, 4], [1, 0]]), w, padding_idx=4)
    assert torch.equal(y[0, 1], w[4])
    y.sum().backward()
    assert w.grad[:, 0].tolist() == [1, 2, 0, 0, 0]


# ---- Derivatives, by differences ---------------------------------------------------------------------------------

TARGET = torch.tensor([0, 2, 1])
SMOOTH = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [(2, 3, 7), (4, 3, 3), (4,)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1, groups=2), [(1, 4, 5, 4), (4, 2, 3, 3), (4,)]),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same", dilation=2), [(1, 1, 4, 5), (1, 1, 2, 3)]),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), [(1, 2, 3, 3), (2, 1, 3, 3)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(1, 2, 6, 5)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), [(1, 2, 6, 5)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(1, 2, 5, 4)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(4, 2, 3), (2,), (2,)]),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), [(2, 4, 3), (3,), (3,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [(4, 3), (3,)]),
    "softmax": (lambda x: torch.softmax(x, 1), [(2, 4, 3)]),
    "log_softmax": (lambda x: torch.log_softmax(x, -1), [(2, 4)]),
    "mse_loss": (F.mse_loss, [(3, 4), (3, 4)]),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, reduction="sum", delta=3.0), [(3, 4), (3, 4)]),
    "smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.1), [(3, 4), (3, 4)]),
    "bce": (lambda x, y: F.binary_cross_entropy(x.sigmoid(), y.sigmoid()), [(3, 4), (3, 4)]),
    "bce with logits": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid(), pos_weight=torch.full((4,), 3.0).double()),
        [(3, 4), (3, 4)],
    ),
    "nll_loss": (lambda x: F.nll_loss(x, TARGET, torch.tensor([1.0, 2, 3, 4]).double()), [(3, 4)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, TARGET, label_smoothing=0.2), [(3, 4)]),
    "cross_entropy, shares": (lambda x, y: F.cross_entropy(x, y.softmax(1)), [(3, 4), (3, 4)]),
    "kl_div": (lambda x, y: F.kl_div(x, y.softmax(1), reduction="batchmean"), [(3, 4), (3, 4)]),
    "embedding": (lambda w: F.embedding(torch.tensor([1, 3, 1]), w, 0), [(4, 2)]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_both_orders(name):
    fn, shapes = SMOOTH[name]
    inputs = [randn(*shape) for shape in shapes]
    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


def test_third_derivative_of_a_fused_derivative():
    x = randn(2, 3)
    c = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)

    def derivative(x, order):
        y = (F.layer_norm(x, (3,)) * c).sum()
        for _ in range(order):
            (g,) = torch.autograd.grad(y, x, create_graph=True)
            y = (g * c).sum()
        return y

    (third,) = torch.autograd.grad(derivative(x, 2), x)
    h = 1e-5
    with torch.no_grad():
        steps = [torch.tensor([[d, 0, 0], [0, 0, 0]], dtype=torch.float64) + x for d in (h, -h)]
    sides = [derivative(s.requires_grad_(), 2).item() for s in steps]
    assert third[0, 0].item() == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-4)


# ---- Names, warnings, refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fn, names",
    [
        (lambda: F.conv2d(randn(3, 4, 4), randn(2, 3, 3, 3)), ["SqueezeBackward1", "ConvolutionBackward0"]),
        (lambda: F.max_pool2d(randn(1, 1, 4, 4), 2), ["MaxPool2DWithIndicesBackward0"]),
        (lambda: F.max_pool1d(randn(1, 1, 4), 2), ["SqueezeBackward1", "MaxPool2DWithIndicesBackward0"]),
        (lambda: F.avg_pool2d(randn(1, 1, 4, 4), 2), ["AvgPool2DBackward0"]),
        (lambda: F.adaptive_avg_pool2d(randn(1, 1, 4, 4), 2), ["AdaptiveAvgPool2DBackward0"]),
        (lambda: F.adaptive_avg_pool2d(randn(1, 1, 4, 4), 1), ["MeanBackward1"]),
        (lambda: F.batch_norm(randn(4, 3), None, None, training=True), ["NativeBatchNormBackward0"]),
        (lambda: F.layer_norm(randn(4, 3), (3,)), ["NativeLayerNormBackward0"]),
        (lambda: F.group_norm(randn(4, 4), 2), ["NativeGroupNormBackward0"]),
        (lambda: F.mse_loss(randn(2), randn(2)), ["MseLossBackward0"]),
        (lambda: F.l1_loss(randn(2), randn(2)), ["MeanBackward0", "AbsBackward0", "SubBackward0"]),
        (lambda: F.cross_entropy(randn(3, 4), TARGET), ["NllLossBackward0", "LogSoftmaxBackward0"]),
        (lambda: F.embedding(TARGET, randn(3, 2)), ["EmbeddingBackward0"]),
    ],
)
def test_nodes_bear_pytorchs_names(fn, names):
    node = fn().grad_fn
    for name in names:
        assert node.name() == name
        node = node.next_functions[0][0]


def t(*shape, **options):
    return torch.zeros(*shape, **options)


@pytest.mark.parametrize(
    "fn, error, words",
    [
        (lambda: F.conv2d(t(2, 5, 8, 8), t(4, 3, 3, 3)), RuntimeError, "Given groups=1, weight of size [4, 3, 3, 3], expected input[2, 5, 8, 8] to have 3 channels, but got 5 channels instead"),
        (lambda: F.conv2d(t(2, 3, 2, 1), t(4, 3, 5, 5), padding=1), RuntimeError, "Calculated padded input size per channel: (4 x 3). Kernel size: (5 x 5). Kernel size can't be greater than actual input size"),
        (lambda: F.conv2d(t(2, 5), t(4, 3, 3, 3)), RuntimeError, "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [2, 5]"),
        (lambda: F.conv2d(t(2, 3, 8, 8), t(4, 3, 3, 3), t(5)), RuntimeError, "Given weight of size [4, 3, 3, 3], expected bias to be 1-dimensional with 4 elements, but got bias of size [5] instead"),
        (lambda: F.conv2d(t(2, 3, 8, 8), t(4, 3, 3, 3), stride=2, padding="same"), RuntimeError, "padding='same' is not supported for strided convolutions"),
        (lambda: F.conv2d(t(2, 3, 8, 8), t(4, 3, 3, 3).double()), RuntimeError, "expected scalar type Float but found Double"),
        (lambda: F.max_pool2d(t(1, 1, 2, 2), 3), RuntimeError, "Given input size: (1x2x2). Calculated output size: (1x0x0). Output size is too small"),
        (lambda: F.avg_pool2d(t(2, 3, 8, 8), 2, padding=2), RuntimeError, "pad should be at most half of effective kernel size, but got pad=2, kernel_size=2 and dilation=1"),
        (lambda: F.batch_norm(t(1, 3), None, None, training=True), ValueError, "Expected more than 1 value per channel when training, got input size torch.Size([1, 3])"),
        (lambda: F.batch_norm(t(4, 5), t(3), t(3)), RuntimeError, "running_mean should contain 5 elements not 3"),
        (lambda: F.layer_norm(t(2, 4), (3,)), RuntimeError, "Given normalized_shape=[3], expected input with shape [*, 3], but got input of size[2, 4]"),
        (lambda: F.group_norm(t(2, 6, 4), 4), RuntimeError, "Expected number of channels in input to be divisible by num_groups, but got input of shape [2, 6, 4] and num_groups=4"),
        (lambda: torch.softmax(t(2, 3), 5), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 5)"),
        (lambda: torch.softmax(t(2, dtype=torch.int64), 0), NotImplementedError, "\"softmax_lastdim_kernel_impl\" not implemented for 'Long'"),
        (lambda: F.cross_entropy(t(2, 3), torch.tensor([0, 5])), IndexError, "Target 5 is out of bounds."),
        (lambda: F.cross_entropy(t(2, 3), torch.tensor([0])), ValueError, "Expected input batch_size (2) to match target batch_size (1)."),
        (lambda: F.cross_entropy(t(2, 3), t(2)), RuntimeError, "expected target dtype to be Long or Byte, but got Float"),
        (lambda: F.cross_entropy(t(2, 3), torch.tensor([0, 1]), t(2)), RuntimeError, "weight tensor should be defined either for all 3 classes or no classes but got weight tensor of shape: [2]"),
        (lambda: F.mse_loss(t(2), t(2), reduction="most"), ValueError, "most is not a valid value for reduction"),
        (lambda: F.binary_cross_entropy(t(2) + 3, t(2)), RuntimeError, "all elements of input should be between 0 and 1"),
        (lambda: F.binary_cross_entropy_with_logits(t(2, 1), t(2, 3)), ValueError, "Target size (torch.Size([2, 3])) must be the same as input size (torch.Size([2, 1]))"),
        (lambda: F.embedding(torch.tensor([9]), t(3, 2)), IndexError, "index out of range in self"),
        (lambda: F.embedding(t(2), t(3, 2)), RuntimeError, "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got torch.FloatTensor instead"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_pytorchs_words(fn, error, words):
    with pytest.raises(error) as info:
        fn()
    assert words in str(info.value)


@pytest.mark.parametrize(
    "fn, words",
    [
        (lambda: F.mse_loss(t(4, 5), t(4, 1)), "Using a target size (torch.Size([4, 1])) that is different to the input size"),
        (lambda: F.softmax(t(2, 3)), "Implicit dimension choice for softmax has been deprecated"),
        (lambda: F.kl_div(t(2), t(2)), "reduction: 'mean' divides the total loss by both the batch size and the support size"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_warned_of(fn, words):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fn()
    assert [w.category for w in seen] == [UserWarning]
    assert words in str(seen[0].message)


def test_gates_and_slopes_name_their_nodes():
    x = torch.tensor([[1.0, -2.0, 0.0, 3.0]], requires_grad=True)
    y = F.glu(x)
    assert y.grad_fn.name() == "GluBackward0" and y.grad_fn._saved_dim == 18446744073709551615
    slopes = torch.tensor([0.1, 0.2, 0.3, 0.4], requires_grad=True)
    z = F.prelu(x, slopes)
    assert z.grad_fn.name() == "PreluKernelBackward0"
    z.sum().backward()
    assert slopes.grad.tolist() == [0.0, -2.0, 0.0, 0.0]
    with pytest.raises(RuntimeError, match="parameter numbers = 3 and channel size = 4"):
        F.prelu(x, slopes[:3])


def test_batch_norm_wants_a_positive_eps():
    x, mean, var = torch.rand(2, 3), torch.zeros(3), torch.ones(3)
    assert F.batch_norm(x, mean, var, eps=0.0).equal(x)
    with pytest.raises(ValueError, match="eps must be positive during training, but got 0"):
        F.batch_norm(x, mean, var, training=True, eps=0.0)
    with pytest.raises(ValueError, match="eps must be non-negative, but got -1"):
        F.batch_norm(x, mean, var, eps=-1.0)
    normed = torch.batch_norm(x, None, None, None, None, True, 0.1, 0.0, False)
    assert torch.allclose(normed.square().mean(0), torch.ones(3))
    assert torch.allclose(F.instance_norm(x.unsqueeze(0), eps=0.0).square().mean(2), torch.ones(1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_batch_teaches_a_batch_norm_nothing(dtype):
    x = torch.zeros(0, 3, 2, 2, dtype=dtype, requires_grad=True)
    m = torch.nn.BatchNorm2d(3)
    y = m(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape and y.dtype == dtype
    assert m.weight.grad.tolist() == m.bias.grad.tolist() == m.running_mean.tolist() == [0.0] * 3
    assert m.num_batches_tracked == 1
    assert m(torch.zeros(0, 4, 2, 2)).shape == (0, 4, 2, 2)  # nobody asks how many channels there are


def test_sampling_at_no_number_gives_zero():
    grid = torch.tensor([[[[math.nan, 0], [0, math.inf]]]])
    for mode in ("nearest", "bilinear"):
        got = F.grid_sample(torch.zeros(1, 1, 3, 3), grid, mode, "reflection", align_corners=False)
        assert got.tolist() == [[[[0.0, 0.0]]]]


IN_PLACE_SLOPES = {
    "leaky_relu": (
        lambda x, inplace: F.leaky_relu(x, 0.1, inplace),
        lambda x: F.leaky_relu(x, -0.1, True),
        "leakyReLu",
    ),
    "elu": (lambda x, inplace: F.elu(x, 0.5, inplace), lambda x: F.elu(x, -0.5, True), "elu"),
    "celu": (lambda x, inplace: F.celu(x, 0.5, inplace), lambda x: F.celu(x, -0.5, True), "elu"),
    "selu": (lambda x, inplace: F.selu(x, inplace), lambda x: F.elu_(x, -1.0), "elu"),
    "rrelu": (
        lambda x, inplace: F.rrelu(x, 0.25, 0.5, inplace=inplace),
        lambda x: F.rrelu(x, -0.5, 0.25, inplace=True),
        "leakyReLu",
    ),
}


@pytest.mark.parametrize("name", IN_PLACE_SLOPES)
def test_in_place_slopes_are_derived_from_their_result(name):
    good, negative, word = IN_PLACE_SLOPES[name]
    x = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    for order in (1, 2):
        out, changed = good(x * x * x, False), good(x * x * x, True)
        for _ in range(order):
            (out,), (changed,) = (torch.autograd.grad(y.sum(), x, create_graph=True) for y in (out, changed))
        assert torch.allclose(out, changed)
    changed = good(x * 1, True)
    changed.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed.sum().backward()
    with pytest.raises(RuntimeError, match=f"In-place {word} backward calculation is triggered with a negative slope"):
        negative(x * 1).sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layer", [torch.nn.Hardswish, torch.nn.Mish, torch.nn.Softplus])
def test_derivatives_of_half_precision_round_once(layer, dtype):
    x = torch.linspace(-4, 4, 33).to(dtype)
    weight = torch.linspace(0.1, 1, 33).to(dtype)
    gradients = []
    for t in (x, x.float()):
        t = t.clone().requires_grad_()
        layer()(t).backward(weight.to(t.dtype))
        gradients.append(t.grad)
    half, exact = gradients
    assert half.dtype == dtype and torch.equal(half, exact.to(dtype))


@pytest.mark.parametrize(
    "kernel, stride, padding, dilation", [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 0, 2), (2, 3, 0, 1), (3, 2, 0, 2)]
)
@pytest.mark.parametrize("width", (5, 32, 37, 64, 150))
def test_max_pooling_finds_what_each_window_sees(width, kernel, stride, padding, dilation):
    """The first of the largest; a window of minus infinities has its first place."""
    height, inf = 9, float("inf")
    x = [
        [-inf if (r * width + c) % 5 < 3 else float((r * 7 + c * 3) % 11) for c in range(width)] for r in range(height)
    ]
    values, places = torch.nn.functional.max_pool2d(
        torch.tensor([[x]]), kernel, stride, padding, dilation, return_indices=True
    )
    for i, (got, at) in enumerate(zip(values[0, 0].tolist(), places[0, 0].tolist())):
        for k in range(len(got)):
            seen = [
                (r, c)
                for r in range(i * stride - padding, i * stride - padding + kernel * dilation, dilation)
                for c in range(k * stride - padding, k * stride - padding + kernel * dilation, dilation)
                if 0 <= r < height and 0 <= c < width
            ]
            r, c = max(seen, key=lambda place: x[place[0]][place[1]])
            assert (got[k], at[k]) == (x[r][c], r * width + c)


@pytest.mark.parametrize("shape", [(4, 3), (4, 20), (2, 4, 8), (2, 4, 5, 5)])
def test_what_is_left_of_a_constant_batch_is_rounded_as_in_pytorch(shape):
    """The product that a mean is taken away with is not rounded before the sum: of 3 after a bias 1 is not quite 1 left."""
    channels = shape[1]
    x, weight = torch.full(shape, 3.7), torch.linspace(0.5, 1.5, channels)
    bias = torch.linspace(0.1, 0.9, channels)
    y = F.batch_norm(x.requires_grad_(), None, None, weight, bias, training=True)
    mean, rstd, x = y.grad_fn._saved_result1, y.grad_fn._saved_result2, x.detach()
    scale = rstd * weight
    shift = (bias.double() - mean.double() * scale.double()).float()
    expected = (x[0, 0].flatten()[0].double() * scale.double() + shift.double()).float()
    assert y.transpose(0, 1).reshape(channels, -1)[:, 0].tolist() == expected.tolist()
    if channels % 4 == 0 and len(shape) > 2:
        assert F.group_norm(x, 4).abs().max() == 0
    normed = F.layer_norm(x, shape[1:], torch.rand(shape[1:]), torch.full(shape[1:], 0.3))
    assert normed.unique().tolist() == [torch.tensor(0.3).item()]


def test_rms_norm_computes_halves_in_float32_and_keeps_the_dtype_of_its_input():
    x = torch.tensor([[3e-4, -1e-4, 2e-4]], dtype=torch.float16, requires_grad=True)
    y = F.rms_norm(x, (3,), torch.full((3,), 1.5))
    exact = F.rms_norm(x.detach().float(), (3,), torch.full((3,), 1.5))
    assert y.dtype == torch.float16 and torch.equal(y, exact.half()) and y.grad_fn.name() == "ToCopyBackward0"
    y.sum().backward()
    assert x.grad.dtype == torch.float16 and x.grad.isfinite().all()
    assert F.rms_norm(exact, (3,), torch.ones(3, dtype=torch.float64)).dtype == torch.float32
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        F.rms_norm(torch.ones(2, 3, dtype=torch.int64), (3,))


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("silu", "silu_cpu"),
        ("gelu", "GeluKernelImpl"),
        ("softshrink", "softshrink_check"),
        ("logsigmoid", "log_sigmoid_cpu"),
    ],
)
def test_an_activation_of_integers_is_refused_in_pytorchs_words(name, kernel):
    with pytest.raises(NotImplementedError, match=f"^\"{kernel}\" not implemented for 'Long'$"):
        getattr(F, name)(torch.arange(2))


def test_zero_is_positive_in_the_second_derivative_of_prelu():
    x, w = torch.tensor([[0.0, -1.0]], requires_grad=True), torch.tensor([0.25], requires_grad=True)
    by_x, by_w = torch.autograd.grad(F.prelu(x, w).sum(), (x, w), create_graph=True)
    assert by_x.tolist() == [[0.25, 0.25]] and by_w.item() == -1
    assert torch.autograd.grad(by_x.sum(), w, retain_graph=True)[0].item() == 1
    assert torch.autograd.grad(by_w, x)[0].tolist() == [[0, 1]]


def test_slopes_of_integers_are_refused_in_pytorchs_words():
    with pytest.raises(NotImplementedError, match="^\"prelu_cpu\" not implemented for 'Long'$"):
        F.prelu(torch.arange(2), torch.tensor(3))


def test_a_batch_norm_in_evaluation_saves_the_running_statistics_alone():
    m, x = (
        torch.nn.BatchNorm1d(3).double(),
        torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3).requires_grad_(),
    )
    m(x)
    y = m.eval()(x)
    assert y.grad_fn._saved_result1.shape == y.grad_fn._saved_result2.shape == (0,)
    assert y.grad_fn._saved_running_mean is not None
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    scale = m.running_var.add(m.eps).rsqrt()
    np.testing.assert_allclose(g.detach(), (2 * y * scale).detach(), rtol=1e-12)
    (gg,) = torch.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(gg, (2 * scale * scale).expand(2, 3), rtol=1e-12)
    assert torch.autograd.gradcheck(m, x) and torch.autograd.gradgradcheck(m, x)
    y = m(x)
    m.running_mean.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("n", (1, 4, 7, 16, 33, 100, 768))
def test_rows_of_doubles_are_normalised_as_doubles(n):
    rng = np.random.default_rng(n)
    x, weight, bias = rng.standard_normal((5, n)) + 3, rng.standard_normal(n), rng.standard_normal(n)
    got = F.layer_norm(torch.from_numpy(x), (n,), *map(torch.from_numpy, (weight, bias)))
    away = x - x.mean(1, keepdims=True)
    want = away / np.sqrt((away**2).mean(1, keepdims=True) + 1e-5) * weight + bias
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-10)


def test_windows_of_pools_are_ints_that_nothing_overflows_with():
    x = torch.ones(1, 1, 4, 4)
    for pool in (
        lambda: F.max_pool2d(x, 2**33 + 1, 1, 0, 2**31, return_indices=True),
        lambda: F.max_pool2d(x, 3, 1, 0, 2**63 - 1),
        lambda: F.avg_pool2d(x, 2, 2**63 - 1),
    ):
        with pytest.raises(RuntimeError, match="value cannot be converted to type int without overflow"):
            pool()


def test_attention_by_keys_of_no_size_is_the_mean():
    none, values = torch.ones(1, 2, 0), torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert F.scaled_dot_product_attention(none, none, values).tolist() == [[[2.0, 4.0]] * 2]
