"""The layers few programs use: three dimensions, resizing, sampling, patches, bags, and the nodes they are in the graph."""

import itertools

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F


def double(*shape):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def close(a, b):
    return torch.allclose(a, b, atol=1e-6)


# A function of one tensor, the shape it takes, and the node its result has.
FUNCTIONS = {
    "conv3d": (lambda x: F.conv3d(x, torch.ones(2, 1, 2, 2, 3, dtype=x.dtype), padding=1, groups=2), (2, 2, 3, 3, 3), "ConvolutionBackward0"),
    "conv_transpose3d": (lambda x: F.conv_transpose3d(x, torch.ones(2, 1, 2, 2, 2, dtype=x.dtype), stride=2), (1, 2, 2, 2, 2), "ConvolutionBackward0"),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, stride=1), (1, 2, 3, 3, 3), "MaxPool3DWithIndicesBackward0"),
    "avg_pool3d": (lambda x: F.avg_pool3d(x, 2, padding=1, count_include_pad=False), (1, 2, 3, 4, 3), "AvgPool3DBackward0"),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, (2, None, 1)), (1, 2, 3, 2, 3), "AdaptiveAvgPool3DBackward0"),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, 2), (1, 1, 3, 4, 3), "AdaptiveMaxPool3DBackward0"),
    "lp_pool2d": (lambda x: F.lp_pool2d(x, 2, 2), (1, 1, 4, 4), "PowBackward0"),
    "nearest": (lambda x: F.interpolate(x, size=5), (1, 2, 3), "UpsampleNearest1DBackward0"),
    "nearest-exact": (lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), (1, 1, 3, 4), "UpsampleNearestExact2DBackward0"),
    "linear": (lambda x: F.interpolate(x, size=5, mode="linear"), (1, 2, 3), "UpsampleLinear1DBackward0"),
    "bilinear": (lambda x: F.interpolate(x, size=(2, 7), mode="bilinear", align_corners=True), (1, 1, 3, 4), "UpsampleBilinear2DBackward0"),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), (1, 1, 3, 2), "UpsampleBicubic2DBackward0"),
    "trilinear": (lambda x: F.interpolate(x, size=2, mode="trilinear"), (1, 1, 3, 2, 3), "UpsampleTrilinear3DBackward0"),
    "antialias": (lambda x: F.interpolate(x, size=2, mode="bilinear", antialias=True), (1, 1, 5, 4), "UpsampleBilinear2DAaBackward0"),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), (1, 4, 2, 3), "PixelShuffleBackward0"),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2), (1, 1, 4, 2), "PixelUnshuffleBackward0"),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), (1, 4, 2), "ChannelShuffleBackward0"),
    "unfold": (lambda x: F.unfold(x, (2, 3), padding=1, stride=2), (1, 2, 4, 5), "Im2ColBackward0"),
    "fold": (lambda x: F.fold(x, (3, 4), 2), (1, 4, 6), "Col2ImBackward0"),
    "affine_grid": (lambda x: F.affine_grid(x, (2, 1, 3, 2), align_corners=False), (2, 2, 3), "AffineGridGeneratorBackward0"),
    "rrelu": (lambda x: F.rrelu(x), (3, 4), "RreluWithNoiseBackward0"),
    "local_response_norm": (lambda x: F.local_response_norm(x, 2), (1, 3, 2, 2), "DivBackward0"),
    "bilinear map": (lambda x: F.bilinear(x, x, torch.ones(2, 3, 3, dtype=x.dtype)), (2, 3), "ViewBackward0"),
    "pdist": (lambda x: F.pdist(x), (4, 3), "PdistBackward0"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_and_node(name):
    torch.manual_seed(0)
    function, shape, node = FUNCTIONS[name]
    x = double(*shape)
    assert function(x).grad_fn.name() == node
    assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(function, x)


@pytest.mark.parametrize("mode, padding, align", list(itertools.product(["bilinear", "bicubic"], ["zeros", "border", "reflection"], [True, False])))  # fmt: skip
def test_derivatives_of_sampling(mode, padding, align):
    torch.manual_seed(1)
    x = double(1, 2, 4, 5)
    grid = (torch.rand(1, 2, 3, 2, dtype=torch.float64) * 1.6 - 0.8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, g: F.grid_sample(x, g, mode, padding, align), (x, grid))


# ... and the node of its derivative when that is differentiated: a kernel's, or that of the function the other way round.
SECOND = {
    "nearest": "UpsampleNearest1DBackwardBackward0",
    "bilinear": "UpsampleBilinear2DBackwardBackward0",
    "antialias": "UpsampleBilinear2DAaBackwardBackward0",
    "pixel_shuffle": "PixelUnshuffleBackward0",
    "pixel_unshuffle": "PixelShuffleBackward0",
    "channel_shuffle": "ChannelShuffleBackward0",
    "unfold": "Col2ImBackward0",
    "fold": "Im2ColBackward0",
    "pdist": "PdistBackwardBackward0",
}


@pytest.mark.parametrize("name", SECOND)
def test_node_of_a_derivative(name):
    function, shape, _ = FUNCTIONS[name]
    x = double(*shape)
    (gradient,) = torch.autograd.grad((function(x) ** 2).sum(), x, create_graph=True)
    assert gradient.grad_fn.name() == SECOND[name]
    assert gradient.grad_fn.next_functions[0][0].name() == "MulBackward0"  # of the square


def test_a_derivative_that_is_one_node_has_all_its_inputs_and_derivatives():
    torch.manual_seed(2)
    x, target = double(4), torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(F.soft_margin_loss(x, target), x, create_graph=True)
    assert gradient.grad_fn.name() == "SoftMarginLossBackwardBackward0"
    assert [n and n.name() for n, _ in gradient.grad_fn.next_functions] == [None, "torch::autograd::AccumulateGrad"]
    (second,) = torch.autograd.grad(gradient.sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), x)
    s = x.sigmoid()
    assert close(second, s * (1 - s) / 4) and close(third, s * (1 - s) * (1 - 2 * s) / 4)
    image, grid = double(1, 2, 3, 3), (torch.rand(1, 2, 2, 2, dtype=torch.float64) - 0.5).requires_grad_()
    sample = lambda x, g: F.grid_sample(x, g, align_corners=False)  # noqa: E731
    by_both = torch.autograd.grad(sample(image, grid).pow(2).sum(), (image, grid), create_graph=True)
    assert by_both[0].grad_fn is by_both[1].grad_fn and by_both[0].grad_fn.name() == "GridSampler2DBackwardBackward0"
    assert len(by_both[0].grad_fn.next_functions) == 3
    assert torch.autograd.gradgradcheck(sample, (image, grid))


def test_sampling_at_its_own_places_changes_nothing():
    x = torch.randn(2, 3, 4, 5)
    for align in (True, False):
        same = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]).expand(2, 2, 3)
        grid = F.affine_grid(same, x.shape, align_corners=align)
        for mode in ("bilinear", "nearest", "bicubic"):
            assert torch.allclose(F.grid_sample(x, grid, mode, "border", align), x, atol=1e-5)


def test_convolution_of_flat_volumes_is_convolution_of_images():
    x, w = torch.randn(2, 4, 5, 6), torch.randn(6, 2, 3, 2)
    flat = F.conv2d(x, w, stride=(1, 2), padding=1, dilation=(2, 1), groups=2)
    deep = F.conv3d(x.unsqueeze(2), w.unsqueeze(2), stride=(1, 1, 2), padding=(0, 1, 1), dilation=(1, 2, 1), groups=2)
    assert close(flat, deep.squeeze(2))
    kernel = torch.randn(3, 2, 2, 3, 2)
    slices = sum(F.conv2d(torch.ones(1, 2, 4, 4) * (z + 1), kernel[:, :, z], stride=1) for z in range(2))
    volume = torch.stack([torch.ones(1, 2, 4, 4), 2 * torch.ones(1, 2, 4, 4)], 2)
    assert torch.allclose(F.conv3d(volume, kernel).squeeze(2), slices, atol=1e-5)


def test_pooling_of_flat_volumes_is_pooling_of_images():
    x = torch.randn(2, 3, 6, 7)
    flat = F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)
    deep = F.avg_pool3d(x.unsqueeze(2), (1, 3, 3), (1, 2, 2), (0, 1, 1), ceil_mode=True)
    assert close(flat, deep.squeeze(2))
    a, i = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    b, j = F.max_pool3d(x.unsqueeze(2), (1, 3, 3), (1, 2, 2), (0, 1, 1), return_indices=True)
    assert torch.equal(a, b.squeeze(2)) and torch.equal(i, j.squeeze(2))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_puts_the_maxima_back(n):
    x = torch.rand(2, 3, *[4] * n) + 1
    pooled, indices = getattr(nn, f"MaxPool{n}d")(2, return_indices=True)(x)
    back = getattr(nn, f"MaxUnpool{n}d")(2)(pooled, indices)
    assert back.shape == x.shape and close(back.sum(), pooled.sum())
    assert torch.equal(back[back > 0], x[back > 0])
    with pytest.raises(RuntimeError, match="Found an invalid max index: 99"):
        getattr(nn, f"MaxUnpool{n}d")(2)(pooled, indices.fill_(99))


def test_patches_of_no_images():
    x = torch.ones(0, 3, 3, 4, requires_grad=True)
    patches = nn.Unfold((2, 3))(x)
    patches.sum().backward()
    assert patches.shape == (0, 18, 4) and x.grad.shape == x.shape
    assert nn.Fold((3, 4), (2, 3))(patches).shape == x.shape


def test_folding_what_was_unfolded_counts_the_overlaps():
    x = torch.randn(2, 3, 5, 6)
    settings = {"kernel_size": 3, "padding": 1, "stride": 2}
    once, ones = (F.fold(F.unfold(t, **settings), (5, 6), **settings) for t in (x, torch.ones_like(x)))
    assert close(once, x * ones)
    assert close(F.pixel_unshuffle(F.pixel_shuffle(torch.ones(1, 8, 2, 2), 2), 2), torch.ones(1, 8, 2, 2))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags(mode):
    weight = double(6, 3)
    indices, offsets = torch.tensor([0, 1, 1, 4, 5, 2]), torch.tensor([0, 2, 2, 5])
    bags = F.embedding_bag(indices, weight, offsets, mode=mode)
    rows = weight[indices]
    reduce = {"sum": lambda r: r.sum(0), "mean": lambda r: r.mean(0), "max": lambda r: r.max(0)[0]}[mode]
    assert close(bags, torch.stack([reduce(rows[:2]), torch.zeros(3), reduce(rows[2:5]), rows[5]]))
    assert bags.grad_fn.name() == "EmbeddingBagBackward0"
    assert torch.autograd.gradcheck(lambda w: F.embedding_bag(indices, w, offsets, mode=mode), weight)
    padded = F.embedding_bag(torch.tensor([[0, 1, 1]]), weight, mode=mode, padding_idx=1)
    assert close(padded[0], weight[0])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 1])
def test_bags_of_one_size_are_those_of_any(mode, padding_idx):
    indices = torch.tensor([[0, 3, 1], [2, 2, 0], [1, 1, 3]])
    weight = torch.rand(4, 2, dtype=torch.float64, requires_grad=True)
    even, uneven = (
        F.embedding_bag(i, weight, offsets, mode=mode, padding_idx=padding_idx)
        for i, offsets in ((indices, None), (indices.reshape(-1), torch.tensor([0, 3, 6, 9])))
    )
    assert torch.allclose(even, uneven[:3]) and not uneven[3].any()
    gradients = [torch.autograd.grad(bags[:3].square().sum(), weight)[0] for bags in (even, uneven)]
    assert torch.allclose(*gradients) and gradients[0].any()
    assert torch.autograd.gradgradcheck(
        lambda w: F.embedding_bag(indices, w, mode=mode, padding_idx=padding_idx), weight
    )


def test_weighted_bags():
    weight, by = double(4, 2), double(4)
    indices, offsets = torch.tensor([0, 3, 3, 1]), torch.tensor([0, 3])

    def bags(w, s):
        return F.embedding_bag(indices, w, offsets, mode="sum", per_sample_weights=s)

    assert torch.autograd.gradcheck(bags, (weight, by))
    with pytest.raises(NotImplementedError, match="only supported for mode='sum'"):
        F.embedding_bag(indices, weight, offsets, per_sample_weights=by)
    layer = nn.EmbeddingBag.from_pretrained(torch.ones(3, 2), mode="sum")
    assert repr(layer) == "EmbeddingBag(3, 2, mode='sum')" and not layer.weight.requires_grad


def test_alpha_dropout_keeps_mean_and_variance():
    torch.manual_seed(2)
    x = torch.randn(200000)
    y = F.alpha_dropout(x, 0.3, training=True)
    assert abs(y.mean().item()) < 0.02 and abs(y.std().item() - 1) < 0.02
    assert F.alpha_dropout(x, 0.3) is x
    channels = F.feature_alpha_dropout(torch.ones(50, 20, 2, 2), 0.5, training=True)
    assert (channels.flatten(2).std(-1) == 0).all() and channels.unique().numel() == 2
    # Without channels there is nothing to draw, and only that is refused.
    assert F.feature_alpha_dropout(torch.ones(3), 0.5).tolist() == [1.0, 1.0, 1.0]
    assert torch.feature_dropout(torch.ones(3), 1.0, True).sum() == 0
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        F.feature_alpha_dropout(torch.ones(3), 0.5, training=True)


def test_random_slopes():
    torch.manual_seed(3)
    x = torch.tensor([-1.0, -1.0, 2.0, -1.0])
    y = nn.RReLU(0.1, 0.3)(x)
    assert y[2] == 2 and ((-y[x < 0] >= 0.1) & (-y[x < 0] <= 0.3)).all() and y[0] != y[1]
    assert close(nn.RReLU(0.1, 0.3).eval()(x), torch.tensor([-0.2, -0.2, 2.0, -0.2]))


def test_lazy_layers_of_three_dimensions():
    layer = nn.Sequential(
        nn.LazyConv3d(4, 2), nn.LazyBatchNorm3d(), nn.LazyConvTranspose3d(3, 2), nn.LazyInstanceNorm3d()
    )
    assert layer(torch.randn(2, 5, 3, 3, 3)).shape == (2, 3, 3, 3, 3)
    assert [type(m).__name__ for m in layer] == ["Conv3d", "BatchNorm3d", "ConvTranspose3d", "InstanceNorm3d"]
    assert layer[0].weight.shape == (4, 5, 2, 2, 2)


def test_names_are_where_pytorch_has_them():
    from hookgrad.nn.modules import activation, batchnorm, conv, instancenorm, linear

    assert activation.MultiheadAttention is nn.MultiheadAttention
    assert linear.LazyLinear is nn.LazyLinear and conv.LazyConv3d is nn.LazyConv3d
    assert batchnorm.LazyBatchNorm1d is nn.LazyBatchNorm1d and instancenorm.LazyInstanceNorm2d is nn.LazyInstanceNorm2d
    assert nn.LazyConv1d.__module__.endswith("nn.modules.conv")
    assert set(nn.modules.__all__) <= set(dir(nn)) and nn.parallel.DataParallel is nn.DataParallel
    for name in nn.modules.__all__:
        assert issubclass(getattr(nn, name), nn.Module)


def test_data_parallel_calls_its_module():
    layer = nn.DataParallel(nn.Linear(2, 3))
    seen = []
    layer.module.register_forward_hook(lambda m, args, out: seen.append(type(m).__name__))
    assert layer(torch.ones(1, 2)).shape == (1, 3) and seen == ["Linear"] and layer.device_ids == []
    with pytest.raises(RuntimeError, match="device type could not be determined"):
        nn.parallel.data_parallel(layer, torch.ones(1, 2))


def test_sync_batch_norm_takes_over_a_batch_norm():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.BatchNorm2d(3, affine=False)))
    weight = model[0].weight
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model and converted[0].weight is weight and isinstance(converted[1][0], nn.SyncBatchNorm)
    x = torch.randn(4, 2)
    assert close(converted[0](x), nn.BatchNorm1d(2)(x))


def test_the_cross_map_norm_is_a_function():
    torch.manual_seed(4)
    x = torch.randn(1, 4, 2, 2, requires_grad=True)
    y = nn.CrossMapLRN2d(3, alpha=0.1)(x)
    assert y.grad_fn.name() == "CrossMapLRN2dBackward"
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_gradients_of_convolutions_as_functions():
    from hookgrad.nn import grad

    x, w = torch.randn(1, 2, 5, 5, requires_grad=True), torch.randn(3, 2, 2, 2, requires_grad=True)
    y = F.conv2d(x, w, stride=2)
    g = torch.randn_like(y)
    by_x, by_w = torch.autograd.grad(y, (x, w), g)
    assert close(grad.conv2d_input(x.shape, w, g, stride=2), by_x)
    assert close(grad.conv2d_weight(x, w.shape, g, stride=2), by_w)


def test_kinds_of_attention_are_kept_and_change_nothing():
    from hookgrad.nn.attention import SDPBackend, _cur_sdpa_kernel_backends, sdpa_kernel

    q = torch.randn(1, 2, 3, 4)
    before = F.scaled_dot_product_attention(q, q, q)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        assert _cur_sdpa_kernel_backends() == [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]
        assert torch.equal(F.scaled_dot_product_attention(q, q, q), before)
    assert len(_cur_sdpa_kernel_backends()) == 4


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: F.interpolate(torch.ones(1, 1, 2, 2)), ValueError, "either size or scale_factor should be defined"),
        (lambda: F.interpolate(torch.ones(1, 1, 2, 2), 3, mode="linear"), NotImplementedError, "Got 4D input, but linear mode needs 3D"),
        (lambda: F.interpolate(torch.ones(1, 1, 2), 3, align_corners=True), ValueError, "align_corners option can only be set"),
        (lambda: F.pixel_shuffle(torch.ones(3, 2, 2), 2), RuntimeError, "is not divisible by 4"),
        (lambda: F.fold(torch.ones(1, 4, 5), (3, 3), 2), RuntimeError, "expected size of input's dimension 2 to match"),
        (lambda: F.fold(torch.ones(1, 4, 4), (4, 5), 2, dilation=8), RuntimeError, "calculated shape of the array of sliding blocks as"),
        (lambda: F.interpolate(torch.ones(1, 1, 2), 3.0), TypeError, "expected size to be one of int"),
        (lambda: F.interpolate(torch.ones(1, 1, 2), (torch.tensor(3.0),)), TypeError, "expected size to be one of int"),
        (lambda: F.max_pool1d(torch.ones(1, 1, 4), 5, return_indices=True), RuntimeError, "Output size is too small"),
        (lambda: F.max_pool1d(torch.ones(4), 2, return_indices=True), RuntimeError, "Expected 2 to 3 dimensions"),
        (lambda: torch._assert(torch.tensor(False), "no good"), AssertionError, "no good"),
        (lambda: F.interpolate(torch.ones(1, 1, 2), scale_factor=1e20), RuntimeError, "without overflow"),
        (lambda: F.grid_sample(torch.ones(1, 1, 2), torch.ones(1, 1, 1, 2), align_corners=True), RuntimeError, "to have size 1 in last dimension"),
        (lambda: F.grid_sample(torch.ones(1, 1, 0, 2), torch.ones(1, 1, 1, 2), align_corners=True), RuntimeError, "non-empty spatial dimensions"),
        (lambda: nn.ReflectionPad1d(1)(torch.ones(3, 0, 4)), RuntimeError, "Expected 2D or 3D"),
        (lambda: nn.ReplicationPad2d(1)(torch.ones(3, 0, 4, 4)), RuntimeError, "Expected 3D or 4D"),
        (lambda: nn.ReplicationPad3d(1)(torch.ones(0, 4, 4, 4)), RuntimeError, "Expected 4D or 5D"),
        (lambda: nn.ReflectionPad2d(1)(torch.ones(1, 4, 4).bool()), NotImplementedError, "reflection_pad2d"),
        (lambda: nn.AdaptiveMaxPool2d(1)(torch.ones(3, 0, 4, 4)), RuntimeError, "non-zero size for non-batch dimensions"),
        (lambda: nn.AdaptiveAvgPool3d(1)(torch.ones(3, 0, 4, 4, 4)), RuntimeError, "non-zero size for non-batch dimensions"),
        (lambda: nn.AdaptiveMaxPool2d(1)(torch.ones(3, 4, 4).long()), NotImplementedError, "adaptive_max_pool2d"),
        (lambda: nn.AdaptiveMaxPool1d((1, 2))(torch.ones(3, 4)), RuntimeError, "should contain one int (got 2)"),
        (lambda: nn.FractionalMaxPool2d(2, output_ratio=(0.5, 0.5, 0.5))(torch.ones(1, 4, 4)), ValueError, "output_ratio to either be"),
        (lambda: nn.MultiMarginLoss()(torch.ones(0), torch.ones(10).long()), RuntimeError, "Expected non-empty vector or matrix"),
        (lambda: nn.MultiLabelMarginLoss()(torch.ones(0), torch.ones(10).long()), RuntimeError, "Expected non-empty vector or matrix"),
        (lambda: torch.native_channel_shuffle(torch.ones(1, 4, 1), 3), RuntimeError, "must be divisible by groups"),
        (lambda: F.unfold(torch.ones(1, 1, 2, 2), 5), RuntimeError, "its components must be at least one"),
        (lambda: F.embedding_bag(torch.tensor([0]), torch.ones(1, 1)), ValueError, "offsets has to be a 1D Tensor but got None"),
        (lambda: nn.FractionalMaxPool2d(2), ValueError, "requires specifying either an output size, or a pooling ratio"),
        (lambda: nn.CircularPad2d(1)(torch.ones(2)), ValueError, "expected 3D or 4D input"),
        (lambda: nn.BatchNorm3d(2)(torch.ones(2, 2)), ValueError, "expected 5D input"),
        (lambda: F.grid_sample(torch.ones(1, 1, 2, 2), torch.ones(2, 1, 1, 2), align_corners=True), RuntimeError, "same batch size"),
        (lambda: F.max_pool3d(torch.ones(1, 1, 2, 2, 2), 4), RuntimeError, "Output size is too small"),
        (lambda: F.conv3d(torch.ones(1, 2, 2, 2, 2), torch.ones(1, 1, 1, 1, 1)), RuntimeError, "to have 1 channels, but got 2 channels"),
    ],
)  # fmt: skip
def test_what_is_refused(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)


def test_fractional_pooling():
    torch.manual_seed(5)
    x = torch.randn(2, 3, 9, 10)
    layer = nn.FractionalMaxPool2d(2, output_size=(4, 5), return_indices=True)
    output, indices = layer(x)
    assert output.shape == (2, 3, 4, 5)
    assert torch.equal(output, x.flatten(2).gather(2, indices.flatten(2)).view(output.shape))
    fixed = torch.full((2, 3, 2), 0.25)
    a, b = (F.fractional_max_pool2d(x, 2, (4, 5), _random_samples=fixed) for _ in range(2))
    assert torch.equal(a, b)
    pooled, indices = layer(x.requires_grad_())
    node = pooled.grad_fn
    assert node._saved_kernel_size == (2, 2) and node._saved_output_size == (4, 5)
    assert torch.equal(node._saved_result1, indices)


def test_bags_say_where_their_rows_came_from():
    weight = torch.tensor([[1.0, 5], [2, 4], [3, 3], [4, 2], [5, 1]], requires_grad=True)
    indices, offsets = torch.tensor([1, 2, 3]), torch.tensor([0, 2, 2])
    # by mode: the bag of each index, the bags' sizes, and where the maxima were
    expected = [
        ([], [0, 0, 0], [0, 0, 0]),
        ([0, 0, 2], [2, 0, 1], [2, 0, 1]),
        ([0, 0, 2], [2, 0, 1], [[2, 1], [0, 0], [3, 3]]),
    ]
    for mode, results in enumerate(expected):
        bags, *found = torch.embedding_bag(weight, indices, offsets, mode=mode)
        assert [t.tolist() for t in found] == [*results]
        node = bags.grad_fn
        assert [getattr(node, f"_saved_result{i}").tolist() for i in (1, 2, 3)] == [*results]
        assert node._saved_offsets is offsets and node._saved_indices is indices and node._saved_mode == mode
        assert (node._saved_weight_sym_argsize_0, node._saved_sparse, node._saved_padding_idx) == (5, False, 2**64 - 1)
    bags, *found = torch.embedding_bag(weight, indices, offsets, False, 2, False, None, False, 2)
    assert [t.tolist() for t in found] == [[0, 0, 2], [1, 0, 1], [[1, 1], [0, 0], [3, 3]]]
    assert bags.grad_fn._saved_padding_idx == 2


def test_losses_of_torch_itself_do_not_reduce_unless_asked():
    a, b, sign = torch.tensor([-1.0, -2.0]), torch.tensor([0.5, 0.25]), torch.tensor([1.0, -1.0])
    pair, row = (a[None], b[None]), sign[None]
    assert torch.kl_div(a, b).shape == torch.hinge_embedding_loss(a, sign).shape == (2,)
    assert torch.binary_cross_entropy_with_logits(a, b).shape == torch.margin_ranking_loss(a, b, sign).shape == (2,)
    assert torch.cosine_embedding_loss(*pair, sign[:1]).shape == torch.triplet_margin_loss(*pair, row).shape == (1,)
    lengths = torch.tensor([3]), torch.tensor([1])
    assert torch.ctc_loss(torch.zeros(3, 1, 2), torch.tensor([[1]]), *lengths).shape == (1,)
    assert torch.hinge_embedding_loss(a, sign, reduction=1) == torch.hinge_embedding_loss(a, sign).mean()
    assert torch.kl_div(a, b, 2) == torch.kl_div(a, b).sum()


def test_an_in_place_operation_follows_what_made_the_tensor():
    x = torch.ones(2, requires_grad=True)
    for change in ("clamp_min_(0)", "pow_(2)", "mul_(x)", "abs_()"):
        y = x * 2
        node = y.grad_fn
        eval("y." + change)
        assert y.grad_fn.next_functions[0][0] is node
    assert (2 * x).grad_fn.next_functions[0][0] is x.exp().grad_fn.next_functions[0][0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_circular_padding_goes_round(n):
    x = double(1, 2, *[3] * n)
    padded = getattr(nn, f"CircularPad{n}d")(1)(x)
    expected = x
    for dim in range(2, n + 2):
        expected = torch.cat([expected.narrow(dim, 2, 1), expected, expected.narrow(dim, 0, 1)], dim)
    assert torch.equal(padded, expected)
    assert torch.autograd.gradcheck(getattr(nn, f"CircularPad{n}d")(1), x)


def test_activations_in_place_are_nodes_of_their_own():
    nodes = {
        nn.CELU: "CeluBackward1",
        nn.ELU: "EluBackward1",
        nn.SELU: "EluBackward1",
        nn.LeakyReLU: "LeakyReluBackward1",
        nn.ReLU: "ReluBackward0",
    }
    for layer, name in nodes.items():
        x = torch.tensor([-1.0, 2.0], requires_grad=True)
        y = x * 1
        assert layer(inplace=True)(y) is y and y.grad_fn.name() == name
        (by_copy,) = torch.autograd.grad(layer()(x).sum(), x)
        y.sum().backward()
        assert torch.allclose(x.grad, by_copy)


BYTES = {  # what PyTorch makes of arange(16) * 10 in four rows, as two rows of three
    ("bilinear", False): [22, 35, 48, 102, 115, 128],
    ("bilinear", True): [32, 44, 56, 94, 106, 118],
    ("bicubic", False): [17, 31, 45, 105, 119, 133],
    ("bicubic", True): [25, 38, 51, 99, 112, 125],
}


@pytest.mark.parametrize(("mode", "antialias"), BYTES)
def test_bytes_are_interpolated_in_fixed_point_and_rounded(mode, antialias):
    x = (torch.arange(16) * 10).reshape(1, 1, 4, 4).to(torch.uint8)
    out = F.interpolate(x, size=(2, 3), mode=mode, antialias=antialias)
    assert out.dtype == torch.uint8 and out.flatten().tolist() == BYTES[mode, antialias]


@pytest.mark.parametrize(("mode", "dims"), [("linear", 1), ("trilinear", 3)])
def test_bytes_are_refused_where_pytorch_has_no_kernel_for_them(mode, dims):
    with pytest.raises(NotImplementedError, match="'Byte'"):
        F.interpolate(torch.ones((1, 1) + (3,) * dims, dtype=torch.uint8), size=5, mode=mode)


def test_no_steps_spell_the_empty_target_only():
    log_probs = torch.zeros(4, 2, 3).log_softmax(2).requires_grad_()
    targets = torch.tensor([[1, 2], [1, 2]])
    loss = F.ctc_loss(log_probs, targets, torch.tensor([0, 0]), torch.tensor([0, 2]), reduction="none")
    assert loss.tolist() == [0.0, float("inf")]
    loss.sum().backward()
    assert not log_probs.grad.any()
    with pytest.raises(RuntimeError, match="input_lengths must be integral"):
        F.ctc_loss(log_probs, targets, torch.tensor([4.0, 4.0]), torch.tensor([1, 1]))


def test_convolution_along_time():
    x, w, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((4, 2, 3), (2, 3, 5), (5,)))
    y = F.conv_tbc(x, w, b, 1)
    assert y.shape == (5, 2, 5) and y.is_contiguous() and y.grad_fn.name() == "ConvTbcBackward0"
    assert torch.allclose(y[1], x[0] @ w[0] + x[1] @ w[1] + b)
    assert torch.autograd.gradcheck(torch.conv_tbc, (x, w, b, 1))


def test_statistics_are_updated_by_themselves():
    x, mean, var = torch.randn(4, 3, 2), torch.zeros(3), torch.ones(3)
    now_mean, now_var = torch.batch_norm_update_stats(x, mean, var, 0.5)
    flat = x.transpose(0, 1).flatten(1)
    assert close(now_mean, flat.mean(1)) and close(now_var, flat.var(1, correction=0))
    assert close(mean, flat.mean(1) / 2) and close(var, (flat.var(1) + 1) / 2)


def test_pools_of_one_element_lie_channels_last():
    x = torch.ones(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = F.adaptive_avg_pool2d(x, 1)
    assert y.stride() == (3, 1, 3, 3) and y.grad_fn.name() == "AsStridedBackward1"
    y.sum().backward()
    assert x.grad.stride() == x.stride() and (x.grad == 1 / 16).all()
    volume = torch.ones(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    assert F.adaptive_avg_pool3d(volume, 1).stride() == (3, 1, 3, 3, 3)
    assert F.adaptive_max_pool3d(volume, 2).is_contiguous()
