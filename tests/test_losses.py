"""Losses: value and gradient for every reduction, every kind of target, every setting. Every number here is PyTorch's."""

import math
import warnings

import pytest

import hookgrad as torch
import hookgrad.nn.functional as F
from hookgrad import nn


def near(t, values):
    return t.flatten().tolist() == pytest.approx(values, rel=1e-4, abs=1e-6)


# Inputs and targets by name.
GIVEN = {
    "x": lambda: torch.tensor([[0.5, -1.5, 2.0], [1.0, 0.25, -3.0]]),
    "y": lambda: torch.tensor([[1.0, -1.0, 0.0], [1.0, 2.0, 3.0]]),
    "p": lambda: torch.tensor([[0.1, 0.9, 0.5], [0.0, 1.0, 0.25]]),
    "q": lambda: torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.5]]),
    "classes": lambda: torch.tensor([2, 0]),
    "ignoring": lambda: torch.tensor([2, -100]),
    "one": lambda: torch.tensor([0.5, -1.5, 2.0]),
    "image": lambda: (torch.arange(12.0) % 5 / 2).reshape(1, 3, 2, 2),
    "pixels": lambda: torch.tensor([[[0, 2], [1, -100]]]),
    "mixed": lambda: torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]),
    "w": lambda: torch.tensor([1.0, 2.0, 0.5]),
    "log": lambda: torch.log_softmax(torch.tensor([[0.5, -1.5, 2.0], [1.0, 0.25, -3.0]]), 1),
}

# A loss, its input, its target; its value and the gradient of its sum.
LOSSES = [
    ("nn.MSELoss()", "x", "y", [7.26042], [-0.166667, -0.166667, 0.666667, 0.0, -0.583333, -2.0]),
    ("nn.MSELoss(reduction='sum')", "x", "y", [43.5625], [-1.0, -1.0, 4.0, 0.0, -3.5, -12.0]),
    (
        "nn.MSELoss(reduction='none')",
        "x",
        "y",
        [0.25, 0.25, 4.0, 0.0, 3.0625, 36.0],
        [-1.0, -1.0, 4.0, 0.0, -3.5, -12.0],
    ),
    ("nn.L1Loss()", "x", "y", [1.79167], [-0.166667, -0.166667, 0.166667, 0.0, -0.166667, -0.166667]),
    ("nn.L1Loss(reduction='sum')", "x", "y", [10.75], [-1.0, -1.0, 1.0, 0.0, -1.0, -1.0]),
    ("nn.L1Loss(reduction='none')", "x", "y", [0.5, 0.5, 2.0, 0.0, 1.75, 6.0], [-1.0, -1.0, 1.0, 0.0, -1.0, -1.0]),
    ("nn.SmoothL1Loss()", "x", "y", [1.41667], [-0.0833333, -0.0833333, 0.166667, 0.0, -0.166667, -0.166667]),
    (
        "nn.SmoothL1Loss(reduction='none', beta=2.0)",
        "x",
        "y",
        [0.0625, 0.0625, 1.0, 0.0, 0.765625, 5.0],
        [-0.25, -0.25, 1.0, 0.0, -0.875, -1.0],
    ),
    ("nn.SmoothL1Loss(beta=0.0)", "x", "y", [1.79167], [-0.166667, -0.166667, 0.166667, 0.0, -0.166667, -0.166667]),
    ("nn.HuberLoss()", "x", "y", [1.41667], [-0.0833333, -0.0833333, 0.166667, 0.0, -0.166667, -0.166667]),
    ("nn.HuberLoss(reduction='sum', delta=0.7)", "x", "y", [6.34], [-0.5, -0.5, 0.7, 0.0, -0.7, -0.7]),
    (
        "nn.CrossEntropyLoss()",
        "x",
        "classes",
        [0.312518],
        [0.0890151, 0.0120469, -0.101062, -0.164583, 0.15844, 0.00614338],
    ),
    (
        "nn.CrossEntropyLoss(reduction='sum')",
        "x",
        "classes",
        [0.625036],
        [0.17803, 0.0240938, -0.202124, -0.329166, 0.316879, 0.0122868],
    ),
    (
        "nn.CrossEntropyLoss(reduction='none')",
        "x",
        "classes",
        [0.225802, 0.399234],
        [0.17803, 0.0240938, -0.202124, -0.329166, 0.316879, 0.0122868],
    ),
    (
        "nn.CrossEntropyLoss(weight=given('w'))",
        "x",
        "classes",
        [0.341423],
        [0.0593434, 0.00803126, -0.0673747, -0.219444, 0.211253, 0.00819117],
    ),
    (
        "nn.CrossEntropyLoss(weight=given('w'), label_smoothing=0.1)",
        "x",
        "classes",
        [0.622562],
        [0.0450336, -0.0353424, -0.00969129, -0.167546, 0.170329, -0.00278342],
    ),
    (
        "nn.CrossEntropyLoss(label_smoothing=0.3)",
        "x",
        "ignoring",
        [0.725802],
        [0.0780302, -0.0759062, -0.00212401, 0.0, 0.0, 0.0],
    ),
    ("nn.CrossEntropyLoss()", "x", "ignoring", [0.225802], [0.17803, 0.0240938, -0.202124, 0.0, 0.0, 0.0]),
    ("nn.CrossEntropyLoss(ignore_index=0)", "x", "classes", [0.225802], [0.17803, 0.0240938, -0.202124, 0.0, 0.0, 0.0]),
    (
        "nn.CrossEntropyLoss()",
        "x",
        "mixed",
        [0.987518],
        [-0.0109849, -0.137953, 0.148938, -0.164583, 0.15844, 0.00614338],
    ),
    (
        "nn.CrossEntropyLoss(weight=given('w'), label_smoothing=0.2)",
        "x",
        "mixed",
        [1.68745],
        [-0.0177905, -0.293736, 0.311527, -0.0867359, 0.0970544, -0.0103185],
    ),
    (
        "nn.CrossEntropyLoss(reduction='none')",
        "x",
        "mixed",
        [1.5758, 0.399234],
        [-0.0219698, -0.275906, 0.297876, -0.329166, 0.316879, 0.0122868],
    ),
    (
        "nn.CrossEntropyLoss()",
        "image",
        "pixels",
        [1.34719],
        [
            -0.307435,
            0.0547505,
            0.168827,
            0.0,
            0.191366,
            0.0332079,
            -0.230935,
            0.0,
            0.116069,
            -0.0879584,
            0.0621079,
            0.0,
        ],
    ),
    (
        "nn.CrossEntropyLoss(reduction='none')",
        "image",
        "pixels",
        [2.55496, 0.306356, 1.18027, 0.0],
        [-0.922304, 0.164252, 0.50648, 0.0, 0.574097, 0.0996237, -0.692804, 0.0, 0.348207, -0.263875, 0.186324, 0.0],
    ),
    ("nn.NLLLoss()", "log", "classes", [0.312518], [0.0, 0.0, -0.5, -0.5, 0.0, 0.0]),
    ("nn.NLLLoss(reduction='none')", "log", "ignoring", [0.225802, 0.0], [0.0, 0.0, -1.0, 0.0, 0.0, 0.0]),
    ("nn.NLLLoss(weight=given('w'), reduction='sum')", "log", "classes", [0.512135], [0.0, 0.0, -0.5, -1.0, 0.0, 0.0]),
    (
        "nn.NLLLoss()",
        "image",
        "pixels",
        [-0.833333],
        [-0.333333, 0.0, 0.0, 0.0, 0.0, 0.0, -0.333333, 0.0, 0.0, -0.333333, 0.0, 0.0],
    ),
    ("nn.BCELoss()", "p", "q", [0.290143], [0.185185, -0.185185, -0.333333, 0.0, 0.0, -0.222222]),
    (
        "nn.BCELoss(reduction='none')",
        "p",
        "q",
        [0.105361, 0.105361, 0.693147, 0.0, -0.0, 0.836988],
        [1.11111, -1.11111, -2.0, 0.0, 0.0, -1.33333],
    ),
    (
        "nn.BCELoss(weight=given('w'), reduction='sum')",
        "p",
        "q",
        [1.08115],
        [1.11111, -2.22222, -1.0, 0.0, 0.0, -0.666667],
    ),
    ("nn.BCEWithLogitsLoss()", "x", "q", [1.04003], [0.103743, -0.136262, -0.0198672, 0.121843, -0.0729706, -0.075429]),
    (
        "nn.BCEWithLogitsLoss(reduction='none')",
        "x",
        "q",
        [0.974077, 1.70141, 0.126928, 1.31326, 0.575939, 1.54859],
        [0.622459, -0.817575, -0.119203, 0.731059, -0.437823, -0.452574],
    ),
    (
        "nn.BCEWithLogitsLoss(weight=given('w'), pos_weight=given('w') * 2)",
        "x",
        "q",
        [3.55732],
        [0.103743, -1.0901, -0.00993358, 0.121843, -0.583765, -0.0377145],
    ),
    ("nn.KLDivLoss(reduction='batchmean')", "log", "mixed", [0.472692], [-0.1, -0.15, -0.25, -0.5, -0.0, -0.0]),
    ("nn.KLDivLoss(reduction='sum')", "log", "mixed", [0.945383], [-0.2, -0.3, -0.5, -1.0, -0.0, -0.0]),
    (
        "nn.KLDivLoss(reduction='none', log_target=True)",
        "log",
        "x",
        [3.66973, 0.496644, 16.4466, 3.80351, 1.79665, 0.0696637],
        [-1.64872, -0.22313, -7.38906, -2.71828, -1.28403, -0.0497871],
    ),
    ("F.cross_entropy", "one", "classes[0]", [0.225802], [0.17803, 0.0240938, -0.202124]),
    ("F.nll_loss", "one", "classes[0]", [-2.0], [0.0, 0.0, -1.0]),
]


def given(name):
    name, bracket, index = name.partition("[")
    value = GIVEN[name]()
    return value[int(index[:-1])] if bracket else value


@pytest.mark.parametrize("loss, x, y, value, grad", LOSSES, ids=[f"{c[0]} {c[1]} {c[2]}" for c in LOSSES])
def test_value_and_gradient(loss, x, y, value, grad):
    x = given(x).requires_grad_()
    result = eval(loss)(x, given(y))
    assert near(result, value)
    result.sum().backward()
    assert near(x.grad, grad)


def test_target_may_need_a_gradient():
    x, y = given("x"), given("y").requires_grad_()
    F.mse_loss(x, y).backward()
    assert near(y.grad, [0.166667, 0.166667, -0.666667, 0.0, 0.583333, 2.0])
    y = given("q").requires_grad_()
    F.binary_cross_entropy_with_logits(x, y).backward()
    assert near(y.grad, [-0.0833333, 0.25, -0.333333, -0.166667, -0.0416667, 0.5])


def test_second_derivatives():
    for loss, target, expected in (
        (F.mse_loss, "y", [-0.111111, -0.111111, 0.444444, 0.0, -0.388889, -1.33333]),
        (F.cross_entropy, "classes", [0.0273298, 0.00184424, -0.0291741, -0.0700733, 0.069259, 0.000814237]),
        (
            F.binary_cross_entropy_with_logits,
            "q",
            [0.00812668, -0.00677435, -0.000695308, 0.00798527, -0.00598685, -0.00113588],
        ),
        (F.smooth_l1_loss, "y", [-0.0277778, -0.0277778, 0.0, 0.0, -0.0, -0.0]),
    ):
        x = given("x").requires_grad_()
        (g,) = torch.autograd.grad(loss(x, given(target)), x, create_graph=True)
        (g * g).sum().backward()
        assert near(x.grad, expected), loss


def test_weighted_regression_losses():
    x, y = given("x"), given("y")
    w = torch.tensor([[1.0, 2.0, 0.0], [1.0, 1.0, 3.0]])
    assert F.mse_loss(x, y, weight=w).item() == pytest.approx(13.97656, rel=1e-5)
    assert F.l1_loss(x, y, weight=w).item() == pytest.approx(2.65625, rel=1e-5)
    assert F.huber_loss(x, y, weight=w).item() == pytest.approx(3.020833, rel=1e-5)


def test_class_weights_are_buffers():
    loss = nn.CrossEntropyLoss(weight=torch.ones(3))
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    assert list(nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)).state_dict()) == ["pos_weight"]


def test_everything_ignored_is_nan():
    target = torch.tensor([-100, -100])
    assert F.cross_entropy(given("x"), target).isnan().item()
    assert F.cross_entropy(given("x"), target, reduction="sum").item() == 0.0


def test_grad_fn_names():
    x = given("x").requires_grad_()
    assert repr(F.mse_loss(x, given("y"))) == "tensor(7.2604, grad_fn=<MseLossBackward0>)"
    names = {
        F.mse_loss(x, given("y")).grad_fn.name(),
        F.l1_loss(x, given("y")).grad_fn.name(),
        F.smooth_l1_loss(x, given("y")).grad_fn.name(),
        F.huber_loss(x, given("y")).grad_fn.name(),
        F.cross_entropy(x, given("classes")).grad_fn.name(),
        F.nll_loss(x, given("classes")).grad_fn.name(),
        F.binary_cross_entropy(x.sigmoid(), given("q")).grad_fn.name(),
        F.binary_cross_entropy_with_logits(x, given("q")).grad_fn.name(),
    }
    assert names == {
        "MseLossBackward0",
        "MeanBackward0",
        "SmoothL1LossBackward0",
        "HuberLossBackward0",
        "NllLossBackward0",
        "BinaryCrossEntropyBackward0",
        "BinaryCrossEntropyWithLogitsBackward0",
    }


# A wrong call, and what it raises.
WRONG = [
    ("F.mse_loss(given('x'), given('y'), reduction='x')", ValueError, "x is not a valid value for reduction"),
    (
        "F.cross_entropy(given('x'), torch.tensor([0, 1, 2]))",
        ValueError,
        r"Expected input batch_size \(2\) to match target batch_size \(3\).",
    ),
    ("F.cross_entropy(given('x'), torch.tensor([0, 3]))", IndexError, "Target 3 is out of bounds."),
    ("F.cross_entropy(given('x'), torch.tensor([0, -1]))", IndexError, "Target -1 is out of bounds."),
    (
        "F.nll_loss(given('x'), given('classes').float())",
        RuntimeError,
        "expected target dtype to be Long or Byte, but got Float",
    ),
    (
        "F.nll_loss(given('x'), given('classes'), torch.ones(3).half())",
        RuntimeError,
        "expected scalar type Float but found Half",
    ),
    (
        "F.cross_entropy(given('x'), given('classes'), weight=torch.ones(2))",
        RuntimeError,
        "weight tensor should be defined either for all 3 classes or no classes but got weight tensor of shape",
    ),
    (
        "F.binary_cross_entropy(given('x'), given('q'))",
        RuntimeError,
        "all elements of input should be between 0 and 1",
    ),
    (
        "F.binary_cross_entropy(given('p'), torch.ones(3))",
        ValueError,
        r"Using a target size \(torch.Size\(\[3\]\)\) that is different to the input size \(torch.Size\(\[2, 3\]\)\)",
    ),
    (
        "F.binary_cross_entropy_with_logits(given('x'), torch.ones(3))",
        ValueError,
        r"Target size \(torch.Size\(\[3\]\)\) must be the same as input size \(torch.Size\(\[2, 3\]\)\)",
    ),
    ("F.mse_loss(torch.ones(2), torch.ones(3))", RuntimeError, r"The size of tensor a \(2\) must match the size"),
    ("F.smooth_l1_loss(given('x'), given('y'), beta=-1.0)", RuntimeError, "smooth_l1_loss does not support negative"),
    ("F.huber_loss(given('x'), given('y'), delta=0.0)", RuntimeError, "huber_loss does not support non-positive"),
]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("action, error, words", WRONG, ids=[case[0] for case in WRONG])
def test_errors(action, error, words):
    with pytest.raises(error, match=words):
        eval(action)


def test_broadcast_targets_warn():
    with pytest.warns(UserWarning, match=r"Using a target size \(torch.Size\(\[3\]\)\) that is different to the input"):
        F.mse_loss(torch.ones(2, 3), torch.ones(3))


def test_mean_of_kl_div_warns():
    with pytest.warns(UserWarning, match="reduction: 'mean' divides the total loss by both the batch size"):
        F.kl_div(given("log"), given("mixed"))


def test_old_arguments_warn_and_work():
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert nn.MSELoss(size_average=False).reduction == "sum"
    with pytest.warns(UserWarning, match="please use reduction='none' instead"):
        assert F.mse_loss(given("x"), given("y"), reduce=False).shape == (2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(given("x"), given("y"))


def test_cross_entropy_of_no_classes_is_nan():
    """PyTorch's number: nothing over nothing."""
    none = torch.zeros(5, 0)
    assert torch.isnan(F.cross_entropy(none, none))
    assert F.cross_entropy(none, none, reduction="none").tolist() == [0.0] * 5


def test_cross_entropy_of_logits_has_the_dtype_of_the_targets():
    x, target = torch.zeros(2, dtype=torch.float64, requires_grad=True), torch.ones(2)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x, target)
    loss.backward()
    assert (loss.dtype, x.grad.dtype) == (torch.float32, torch.float64)


@pytest.mark.parametrize(
    "loss, argument",
    [
        (lambda x, y, w: F.soft_margin_loss(x, y), "target"),
        (lambda x, y, w: F.binary_cross_entropy(x, x.detach(), weight=w), "weight"),
        (lambda x, y, w: F.binary_cross_entropy_with_logits(x, x.detach(), weight=w), "weight"),
        (lambda x, y, w: F.binary_cross_entropy_with_logits(x, x.detach(), pos_weight=w), "pos_weight"),
        (lambda x, y, w: F.multi_margin_loss(x, torch.tensor([0, 1]), weight=w), "weight"),
        (lambda x, y, w: F.batch_norm(x, w, w.detach(), training=True), "running_mean"),
        (lambda x, y, w: F.batch_norm(x, w.detach(), w, training=False), "running_var"),
    ],
)
def test_what_has_no_derivative_must_not_require_a_gradient(loss, argument):
    x, y, w = (torch.rand(*size).requires_grad_() for size in ((2, 3), (2, 3), (3,)))
    with pytest.raises(
        RuntimeError, match=f"not differentiable with respect to argument '{argument}'. This input cannot have"
    ):
        loss(x, y, w)
    with torch.no_grad():
        loss(x, y, w)


def test_the_gradient_by_a_target_of_binary_cross_entropy_has_no_bound():
    x, target = torch.tensor([0.0, 1.0, 0.2]), torch.tensor([0.0, 1.0, 1.0], requires_grad=True)
    F.binary_cross_entropy(x, target, reduction="sum").backward()
    assert target.grad.tolist() == [math.inf, -math.inf, pytest.approx(math.log(4))]


def test_nothing_comes_back_through_a_count():
    x = torch.ones(2, requires_grad=True)
    torch.linalg.vector_norm(x, 0).backward()
    assert x.grad is None


def test_a_loss_expands_only_what_is_not_of_the_common_shape():
    x, y = torch.ones(2, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    with pytest.warns(UserWarning, match="Using a target size"):
        loss = F.mse_loss(x, y)
    assert [node.name() for node, _ in loss.grad_fn.next_functions] == [
        "torch::autograd::AccumulateGrad",
        "ExpandBackward0",
    ]


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_weights_of_another_size_are_refused(loss):
    with pytest.raises(ValueError, match=r"^Weights and input must have the same size\.$"):
        loss(torch.ones(2, 3), torch.ones(2, 3), weight=torch.ones(3))


@pytest.mark.parametrize("loss", [F.smooth_l1_loss, F.huber_loss])
def test_a_loss_of_two_parts_is_flat_where_they_meet(loss):
    x, y = torch.tensor([1.0, 2.0, 1.5], requires_grad=True), torch.ones(3, requires_grad=True)
    for side, sign in ((x, 1), (y, -1)):
        (g,) = torch.autograd.grad(loss(x, y, reduction="sum"), side, create_graph=True)
        assert g.tolist() == [0, sign, sign * 0.5] and not g[0].signbit()
        assert torch.autograd.grad(g.sum(), side)[0].tolist() == [1, 0, 1]


def test_the_gradient_of_a_target_that_is_met_has_no_sign():
    x, y = torch.ones(2), torch.ones(2, requires_grad=True)
    F.mse_loss(x, y).backward()
    torch.cdist(x[None], y[None]).sum().backward()
    assert repr(y.grad) == "tensor([0., 0.])"


def test_huber_loss_keeps_the_dtype_of_its_input():
    x = torch.arange(6.0)
    for short in torch.float16, torch.bfloat16:
        near = (x + 0.3).to(short).requires_grad_()
        each = F.huber_loss(near, x, reduction="none")
        expected = (0.5 * (near.detach().float() - x) ** 2).to(short)
        assert each.dtype is short and torch.equal(each.detach(), expected)
        assert torch.equal(F.huber_loss(near, x), expected.mean())
        each.sum().backward()
        assert near.grad.dtype is short


@pytest.mark.parametrize("loss", [F.mse_loss, F.smooth_l1_loss, F.huber_loss])
def test_a_target_of_truths_counts_as_ones(loss):
    x, y = torch.tensor([2.0, 0.5], requires_grad=True), torch.tensor([True, False])
    loss(x, y).backward()
    got, x.grad = x.grad, None
    loss(x, y.float()).backward()
    assert torch.equal(got, x.grad)
