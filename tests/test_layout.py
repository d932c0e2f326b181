"""How results lie in memory: the strides are those PyTorch 2.13 gives."""

import copy
import pickle

import numpy as np
import pytest

import hookgrad as torch


def made(shape, order, dtype=torch.float32):
    """A dense tensor whose dimension order[-1] is the finest."""
    n = int(np.prod(shape))
    flat = torch.arange(n, dtype=torch.float32).reshape([shape[i] for i in order])
    return flat.permute(*np.argsort(order).tolist()).to(dtype)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 3, 4, 5)])
def test_an_elementwise_result_lies_as_its_operand_does(shape):
    x = made(shape, list(range(len(shape)))[::-1])
    dense = x.contiguous()
    for f in (torch.exp, torch.relu, torch.neg, torch.isnan, lambda t: t * 2, lambda t: 2 - t, lambda t: t**2, lambda t: t > 1,
              lambda t: t.clamp(0, 1), lambda t: t.double(), lambda t: t.clone(), lambda t: t.to(torch.int32),
              lambda t: torch.where(t > 1, t, 0.0), lambda t: torch.addcmul(t, t, t), torch.nn.functional.gelu,
              torch.zeros_like, torch.ones_like, lambda t: torch.full_like(t, 7)):  # fmt: skip
        assert f(x).stride() == x.stride()
        np.testing.assert_allclose(f(x).numpy(), f(dense).numpy(), rtol=1e-6)


# (strides of two operands of a shape, those of their sum)
@pytest.mark.parametrize(
    "shape, a, b, expected",
    [
        ((3, 4), (1, 3), (1, 3), (1, 3)),
        ((3, 4), (1, 3), (4, 1), (1, 3)),  # the first that tells decides
        ((3, 4), (4, 1), (1, 3), (4, 1)),
        ((3, 4), (0, 1), (1, 3), (1, 3)),  # one that is broadcast does not tell
        ((3, 4), (2, 6), (8, 2), (1, 3)),  # gaps go
        ((2, 3, 4), (1, 8, 2), (0, 0, 1), (1, 8, 2)),
        ((2, 3, 2, 2), (12, 1, 6, 3), (12, 1, 6, 3), (12, 1, 6, 3)),
        ((2, 3, 2, 2), (12, 1, 6, 3), (12, 4, 2, 1), (12, 1, 6, 3)),
        ((1, 3), (1, 1), (1, 1), (3, 1)),  # contiguous both: as new
        ((1, 3), (7, 1), (5, 1), (3, 1)),
    ],
)
def test_the_first_operand_that_tells_orders_the_dimensions(shape, a, b, expected):
    x = torch.arange(60.0).as_strided(shape, a)
    y = torch.arange(60.0).as_strided(shape, b)
    assert (x + y).stride() == expected
    assert (x.double() + y.double()).tolist() == (x.contiguous() + y.contiguous()).tolist()


def test_numbers_decide_nothing_but_bring_the_order_of_size_one_dimensions():
    x = torch.arange(6.0).as_strided((3, 1, 2), (2, 1, 1))
    assert (x + x).stride() == (2, 2, 1)
    assert (x * 2).stride() == (2, 1, 1)
    assert (x**2).stride() == (2, 2, 1)


def test_a_copy_keeps_dense_strides_and_closes_gaps():
    x = torch.arange(60.0)
    assert x.as_strided((3, 4), (1, 3)).clone().stride() == (1, 3)
    assert x.as_strided((3, 4), (2, 6)).clone().stride() == (1, 3)
    assert x.as_strided((3, 4), (1, 0)).clone().stride() == (4, 1)
    assert x.as_strided((3, 1, 2), (2, 9, 1)).clone().stride() == (2, 9, 1)
    assert x.as_strided((3, 4), (1, 3)).to(torch.float64).stride() == (1, 3)
    assert x.as_strided((3, 4), (1, 3)).clone(memory_format=torch.contiguous_format).stride() == (4, 1)
    assert x.as_strided((3, 4), (1, 3)).contiguous().stride() == (4, 1)


def test_channels_last_is_a_memory_format():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    last = x.to(memory_format=torch.channels_last)
    assert last.stride() == (24, 1, 8, 2) and last.tolist() == x.tolist()
    assert last.is_contiguous(memory_format=torch.channels_last) and not last.is_contiguous()
    assert last.to(memory_format=torch.channels_last) is last
    assert x.contiguous(memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert last.contiguous().stride() == (24, 12, 4, 1)
    assert torch.empty(1, 2, 3, 4, memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert torch.empty_like(x, memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    assert torch.zeros_like(last, memory_format=torch.contiguous_format).stride() == (24, 12, 4, 1)
    assert x.double().float(memory_format=torch.channels_last).stride() == (24, 1, 8, 2)
    deep = x.reshape(1, 2, 3, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    assert deep.stride() == (24, 1, 8, 4, 2)
    with pytest.raises(RuntimeError, match="rank 4"):
        x[0].contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="preserve memory format is unsupported"):
        x.mT.contiguous(memory_format=torch.preserve_format)
    with pytest.raises(TypeError, match="memory_format"):
        x.to(memory_format=3)


def test_memory_formats_are_refused_where_there_are_none():
    for make in (torch.zeros, torch.rand, torch.ones(2).new_empty):
        with pytest.raises(TypeError):
            make((1, 2, 3, 4), memory_format=torch.channels_last)
    x = torch.empty(24).resize_(1, 2, 3, 4, memory_format=torch.channels_last)
    assert x.stride() == (24, 1, 8, 2)


def test_random_numbers_fill_memory_in_order():
    x = made((2, 3), [1, 0])
    torch.manual_seed(0)
    like = torch.rand_like(x)
    torch.manual_seed(0)
    assert like.stride() == (1, 2) and like.t().tolist() == torch.rand(3, 2).tolist()


def test_copies_of_objects_keep_the_strides():
    x = made((2, 3), [1, 0])
    for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.stride() == (1, 2) and y.tolist() == x.tolist()


def test_a_permuted_result_cannot_be_viewed_flat():
    y = made((2, 3), [1, 0]) * 2
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        y.view(6)
    assert y.reshape(6).tolist() == [0.0, 4.0, 8.0, 2.0, 6.0, 10.0]
    assert y.numpy().strides == (4, 8) and repr(y) == repr(y.contiguous())


def test_a_gradient_lies_as_the_derivative_computes_it():
    x = made((2, 3), [1, 0]).requires_grad_()
    (g,) = torch.autograd.grad((x * x).sum(), x)
    assert g.stride() == (1, 2) and g.tolist() == (2 * x).tolist()
    (g,) = torch.autograd.grad(x.sum(), x)
    assert g.stride() == (0, 0)


def is_last(t):
    form = torch.channels_last if t.dim() == 4 else torch.channels_last_3d
    return t.is_contiguous(memory_format=form) and not t.is_contiguous()


F = torch.nn.functional
OF_IMAGES = {
    "conv": lambda x: F.conv2d(x, torch.ones(6, 4, 3, 3), torch.ones(6)),
    "strided conv": lambda x: F.conv2d(x, torch.ones(4, 1, 3, 3), stride=2, padding=1, groups=4),
    "transposed conv": lambda x: F.conv_transpose2d(x, torch.ones(4, 6, 3, 3)),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "mean pool": lambda x: F.avg_pool2d(x, 2),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, 2),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "group norm": lambda x: F.group_norm(x, 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "pad": lambda x: F.pad(x, (1, 1, 2, 0)),
    "reflection": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "shuffle": lambda x: F.channel_shuffle(x, 2),
    "relu": torch.relu,
    "cat": lambda x: torch.cat([x, x], 1),
    "roll": lambda x: x.roll(1, 1),
    "flip": lambda x: x.flip(2),
}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_an_image_with_channels_last_stays_so_as_does_its_gradient(name):
    x = torch.arange(240.0).reshape(2, 4, 6, 5).cos()
    results = []
    for image in (x, x.contiguous(memory_format=torch.channels_last)):
        leaf = image.clone().requires_grad_()
        y = OF_IMAGES[name](leaf)
        (g,) = torch.autograd.grad(y.square().sum(), leaf)
        assert is_last(y) == is_last(g) == is_last(image)
        results.append((y, g))
    for plain, last in zip(*results):
        np.testing.assert_allclose(last.detach().numpy(), plain.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "of", [lambda x, w: F.conv2d(x, w), lambda x, w: F.avg_pool2d(x, 2), lambda x, w: F.adaptive_avg_pool2d(x, 2)]
)
def test_a_gradient_lies_as_the_image_does_whatever_arrives(of):
    x = torch.arange(240.0).reshape(2, 4, 6, 5).cos().requires_grad_()
    w = torch.arange(96.0).reshape(6, 4, 2, 2).sin().requires_grad_()
    y = of(x, w)
    g = torch.arange(float(y.numel())).reshape(y.shape)
    plain, last = (
        torch.autograd.grad(y, (x, w), g.contiguous(memory_format=form), retain_graph=True, allow_unused=True)
        for form in (torch.contiguous_format, torch.channels_last)
    )
    assert last[0].is_contiguous() and torch.equal(last[0], plain[0])
    assert last[1] is None or last[1].is_contiguous() and torch.equal(last[1], plain[1])


def test_a_convolution_follows_a_weight_with_channels_last():
    m = torch.nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    assert is_last(m.weight) and m.bias.is_contiguous()
    assert is_last(m(torch.ones(2, 4, 6, 5)))


def test_volumes_have_a_format_of_their_own():
    x = torch.ones(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    assert is_last(F.conv3d(x, torch.ones(6, 3, 2, 2, 2))) and is_last(F.max_pool3d(x, 2))
    assert F.avg_pool3d(x, 2).is_contiguous()
    assert F.conv3d(x.double(), torch.ones(6, 3, 2, 2, 2, dtype=torch.float64)).is_contiguous()


def test_stack_lies_as_a_view_of_cat():
    x = torch.ones(2, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    assert torch.stack([x, x]).stride() == (240, 120, 1, 20, 4)
    assert torch.stack([x, x], 1).stride() == (240, 4, 1, 40, 8)
    assert torch.stack([x, x.contiguous()]).is_contiguous()


def test_advanced_indices_keep_the_order_of_dimensions():
    x = made((2, 4, 6, 5), [3, 2, 1, 0])
    y = x[:, torch.tensor([0, 2])]
    assert y.stride() == (1, 12, 2, 24) and y.tolist() == x.contiguous()[:, torch.tensor([0, 2])].tolist()
    assert x[torch.tensor([0, 1])].stride() == (120, 1, 4, 24)
    two = x[:, torch.tensor([[0, 2], [1, 3]])]
    assert two.tolist() == x.contiguous()[:, torch.tensor([[0, 2], [1, 3]])].tolist()


def test_positions_and_inverses_come_by_columns():
    x = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    assert x.nonzero().stride() == (1, 3) and x.nonzero().tolist() == [[0, 0], [1, 0], [1, 1]]
    assert [t.tolist() for t in torch.where(x > 0)] == [[0, 1, 1], [0, 0, 1]]
    assert torch.linalg.inv(x).stride() == (1, 2)
    np.testing.assert_allclose((torch.linalg.inv(x) @ x).numpy(), np.eye(2), atol=1e-6)
    assert [t.stride() for t in torch.linalg.qr(x)] == [(1, 2), (1, 2)]


def test_the_gradient_of_a_transposed_weight_is_plain():
    x, w = torch.ones(3, 4), torch.arange(8.0).reshape(2, 4).requires_grad_()
    (g,) = torch.autograd.grad((x @ w.t()).sum(), w)
    assert g.stride() == (4, 1) and g.tolist() == [[3.0] * 4] * 2
    left = torch.ones(4, 3).t().requires_grad_()
    (g,) = torch.autograd.grad((left @ torch.ones(4, 2)).sum(), left)
    assert g.stride() == (1, 3)


TRANSPOSED = {  # of a transposed input: the gradient lies as it, or plainly
    "as_strided": (lambda x: x.as_strided((2,), (1,)), True), "take": (lambda x: x.take(torch.tensor([0, 2])), True),
    "masked_select": (lambda x: x.masked_select(x > 0.5), True), "max": (lambda x: x.max(), False),
    "median": (lambda x: x.median(), False), "maximum": (lambda x: torch.maximum(x, torch.ones(3, 4)), True),
    "rsqrt": (lambda x: x.rsqrt(), False), "logsigmoid": (torch.nn.functional.logsigmoid, False),
    "erf": (lambda x: x.erf(), True),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_hook_sees_a_gradient_laid_out_as_in_pytorch(name):
    function, as_input = TRANSPOSED[name]
    x = torch.rand(4, 3).t().requires_grad_()
    seen = []
    x.register_hook(lambda g: seen.append((g.stride(), g.is_contiguous())))
    function(x).sum().backward()
    assert seen == [((1, 3), False) if as_input else ((4, 1), True)]


@pytest.mark.parametrize("name", ["hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "relu6"])
def test_what_is_cut_off_lies_as_its_gradient(name):
    function = getattr(torch.nn.functional, name)
    for x, grad in ((torch.rand(3, 4), torch.rand(4, 3).t()), (torch.rand(4, 3).t(), torch.rand(3, 4))):
        x = (x * 8 - 4).requires_grad_()
        (got,) = torch.autograd.grad(function(x), x, grad)
        (expected,) = torch.autograd.grad(
            function(x), x, grad.contiguous() if x.is_contiguous() else grad.t().contiguous().t()
        )
        assert got.stride() == grad.stride() and torch.equal(got, expected)


def test_what_is_cropped_lies_as_it_did():
    x = torch.rand(3, 4).t()
    assert torch.nn.functional.pad(x, (-1, -1)).stride() == (1, 4)
    assert torch.nn.functional.pad(torch.rand(3, 4), (-1, 0, 0, -2)).stride() == (3, 1)


@pytest.mark.parametrize("name", ["entr", "i0", "i0e", "i1", "i1e", "log_ndtr", "ndtri"])
def test_special_functions_lie_as_their_operand_and_their_gradients_as_theirs(name):
    x, grad = torch.rand(4, 3).t().requires_grad_(), torch.rand(3, 4)
    y = getattr(torch.special, name)(x)
    assert y.stride() == (1, 3)
    assert torch.autograd.grad(y, x, grad)[0].stride() == (4, 1)


def test_the_gradient_of_multi_margin_loss_is_plain():
    x = torch.rand(4, 3).t().requires_grad_()
    assert torch.autograd.grad(torch.nn.functional.multi_margin_loss(x, torch.tensor([0, 1, 2])), x)[0].stride() == (
        4,
        1,
    )


def test_what_is_scattered_into_lies_as_it_did_with_its_gaps():
    for x in (torch.rand(6, 3)[::2], torch.rand(3, 3).t()):
        x = x.requires_grad_()
        for out in (x.select_scatter(torch.ones(3), 0, 1), x.diagonal_scatter(torch.ones(3))):
            assert out.stride() == x.stride()
            grad = torch.rand(3, 3).t()
            assert torch.autograd.grad(out, x, grad)[0].stride() == grad.stride()
    x = torch.rand(4, 3).t().requires_grad_()
    out = x.put(torch.tensor([1]), torch.tensor([5.0]))
    assert out.stride() == (1, 3) and out[0, 1] == 5 and torch.autograd.grad(out.sum(), x)[0].sum() == 11


def test_the_gradient_of_a_leaf_with_gaps_is_contiguous():
    """Also where it arrives permuted, and where a graph is made of it."""
    for leaf in (torch.rand(2, 8, 4)[:, ::2], torch.rand(1, 4, 4).expand(2, 4, 4)):
        for create_graph in (False, True):
            x = leaf.detach().requires_grad_()
            x.transpose(1, 2).contiguous().mul(torch.rand(2, 4, 4)).sum().backward(create_graph=create_graph)
            assert x.grad.stride() == (16, 4, 1)
            x = leaf.detach().requires_grad_()
            x.permute(2, 1, 0).backward(torch.rand(4, 4, 2), create_graph=create_graph)
            assert x.grad.stride() == (16, 4, 1)


def test_the_layout_of_gradients_can_be_left_to_what_arrives():
    policy = torch.autograd.enforce_grad_layout_policy

    def strides():
        x = torch.ones(3, 2, requires_grad=True)
        (x.t().contiguous() * torch.ones(2, 3)).sum().backward()
        first = x.grad.stride()
        (x * 2).sum().backward()
        return first, x.grad.stride()

    with policy(False):
        assert strides() == ((1, 3), (1, 3))
        with policy():
            assert strides() == ((2, 1), (2, 1))
    assert strides() == ((2, 1), (2, 1))
    policy(enable=False)
    assert strides()[0] == (1, 3) and policy(True)(strides)()[0] == (2, 1) and strides()[0] == (1, 3)
    policy(enable=True)
    assert strides()[0] == (2, 1)


@pytest.mark.parametrize(
    "x, pad, strides",
    [
        (torch.rand(1, 5, 5, 1).permute(0, 3, 1, 2), [0, -1, 0, -1], (16, 1, 4, 1)),
        (torch.rand(1, 25, 25, 1).permute(0, 3, 1, 2), [-1, 0, -1, 0], (576, 1, 24, 1)),
        (torch.rand(2, 5, 4, 3).permute(0, 3, 1, 2), [0, -3, 0, -4], (3, 1, 3, 3)),
    ],
)
def test_what_a_crop_of_one_channel_leaves_is_dense(x, pad, strides):
    y = F.pad(x, pad)
    assert y.stride() == strides and torch.equal(y, F.pad(x.contiguous(), pad))


@pytest.mark.parametrize(
    ("call", "follows"),
    [
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), False),
        (lambda x: F.grid_sample(x, torch.zeros(2, 3, 3, 2), align_corners=False), False),
        (lambda x: F.glu(x, 1), False),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), True),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"), True),
    ],
)
def test_a_gradient_does_not_lie_as_what_arrives(call, follows):
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.rand(2, 4, 6, 6).contiguous(memory_format=form).requires_grad_()
        y = call(x)
        for of_y in (torch.contiguous_format, torch.channels_last):
            (g,) = torch.autograd.grad(y, x, torch.rand(y.shape).contiguous(memory_format=of_y), retain_graph=True)
            assert g.is_contiguous(memory_format=form if follows else torch.contiguous_format)


def test_solutions_of_least_squares_lie_by_columns():
    assert torch.linalg.lstsq(torch.rand(4, 3), torch.rand(4, 2)).solution.stride() == (1, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_long_rows_are_shifted_by_any_distance(dtype):
    """Rows that are moved in parts where the result lies a little later in its page than what is read."""
    x = (torch.arange(3 * 9000) % 251).to(dtype).view(3, 9000)
    for by in (1, 3, 17, 63, 64, 100):
        y = torch.zeros(3, 9000, dtype=dtype)
        y[:, by:].copy_(x[:, :-by])
        assert np.array_equal(y.numpy()[:, by:], x.numpy()[:, :-by]) and not y[:, :by].any()
        assert np.array_equal(x.roll(by, 1).numpy(), np.roll(x.numpy(), by, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("places", [2, 3])
def test_channels_last_images_are_pooled_as_others_are(places, dtype):
    """Their channels lie side by side; what one of them is is the same, and so are the places of maxima and gradients."""
    F = torch.nn.functional
    last = {2: torch.channels_last, 3: torch.channels_last_3d}[places]
    torch.manual_seed(0)
    x = torch.randn(2, 70, 5, 7, 6)[..., 0] if places == 2 else torch.randn(2, 70, 5, 4, 6)
    x = x.contiguous().to(dtype)
    x[0, 3] = torch.nan
    for name, given in (
        ("max", (3, 2, 1, 1)),
        ("max", (2, 1, 0, 2)),
        ("avg", (2,)),
        ("avg", (3, 2, 1, True)),
        ("adaptive", (2,)),
    ):
        f = getattr(F, {"max": "max", "avg": "avg", "adaptive": "adaptive_avg"}[name] + f"_pool{places}d")
        results = []
        for image in (x, x.contiguous(memory_format=last)):
            image = image.detach().requires_grad_()
            out = f(image, *given, return_indices=True) if name == "max" else (f(image, *given),)
            weights = torch.arange(out[0].numel(), dtype=dtype).view(out[0].shape) % 7
            results.append([*out, *torch.autograd.grad(out[0], image, weights)])
        for plain, other in zip(*results):
            assert torch.equal(torch.nan_to_num(plain, 9.0), torch.nan_to_num(other, 9.0))
        if places == 2 or name == "max":
            assert all(r.is_contiguous(memory_format=last) for r in results[1])


def test_the_gradient_of_a_mean_over_whole_channels_last_images_lies_as_they_do():
    x = torch.randn(2, 17, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = torch.nn.functional.avg_pool2d(x, 3)
    (grad,) = torch.autograd.grad((y * torch.ones(2, 17, 1, 1)).sum(), x)
    assert grad.stride() == (153, 1, 51, 17)
