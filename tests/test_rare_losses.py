"""The rarer losses: known numbers, gradients by finite differences, the node they are in the graph, what they refuse."""

import math

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F

torch.manual_seed(0)
X, Y, Z = (torch.randn(3, 4, dtype=torch.float64) for _ in range(3))
SIGN = torch.tensor([[1.0, -1, 1, -1]] * 3, dtype=torch.float64)
LOG_PROBS = torch.randn(6, 3, 5, dtype=torch.float64).log_softmax(-1)
CLASSES = torch.tensor([0, 3, 1])

LOSSES = {
    "cosine_embedding_loss": lambda x, r: F.cosine_embedding_loss(x, Y, torch.tensor([1, -1, 1]), 0.1, reduction=r),
    "margin_ranking_loss": lambda x, r: F.margin_ranking_loss(x, Y, SIGN, 0.3, reduction=r),
    "hinge_embedding_loss": lambda x, r: F.hinge_embedding_loss(x, SIGN, 0.7, reduction=r),
    "soft_margin_loss": lambda x, r: F.soft_margin_loss(x, SIGN, reduction=r),
    "multilabel_soft_margin_loss": lambda x, r: F.multilabel_soft_margin_loss(x, (SIGN > 0).double(), reduction=r),
    "multi_margin_loss": lambda x, r: F.multi_margin_loss(x, CLASSES, p=2, weight=Y[0].abs(), reduction=r),
    "multilabel_margin_loss": lambda x, r: F.multilabel_margin_loss(x, torch.tensor([[3, 0, -1, 1]] * 3), reduction=r),
    "poisson_nll_loss": lambda x, r: F.poisson_nll_loss(x, 3 * Y.abs(), full=True, reduction=r),
    "gaussian_nll_loss": lambda x, r: F.gaussian_nll_loss(x, Y, Z.abs(), full=True, reduction=r),
    "triplet_margin_loss": lambda x, r: F.triplet_margin_loss(x, Y, Z, swap=True, reduction=r),
    "triplet_margin_with_distance_loss": lambda x, r: F.triplet_margin_with_distance_loss(
        x, Y, Z, distance_function=lambda a, b: (a - b).abs().sum(-1), reduction=r
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_and_reductions(name):
    loss = LOSSES[name]
    each = loss(X, "none")
    assert torch.allclose(each.mean(), loss(X, "mean")) and torch.allclose(each.sum(), loss(X, "sum"))
    x = X.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, "none"), x)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, "mean"), x)
    with pytest.raises(ValueError, match="is not valid|is not a valid value for reduction"):
        loss(X, "median")


def test_known_numbers():
    x = torch.tensor([[0.1, 0.2, 0.4, 0.8]])
    assert F.multilabel_margin_loss(x, torch.tensor([[3, 0, -1, 1]])).item() == pytest.approx(0.85)
    assert F.multi_margin_loss(x, torch.tensor([3])).item() == pytest.approx(0.325)
    assert F.soft_margin_loss(torch.zeros(3), torch.ones(3)).item() == pytest.approx(math.log(2))
    assert F.gaussian_nll_loss(torch.zeros(2), torch.ones(2), 1.0).item() == 0.5
    assert F.margin_ranking_loss(torch.zeros(2), torch.ones(2), torch.ones(2)).item() == 1.0


def brute_force_ctc(log_probs, target, blank=0):
    """-log of the summed probability of every path that collapses to the target."""
    from itertools import groupby, product

    total = 0.0
    for path in product(range(log_probs.shape[1]), repeat=log_probs.shape[0]):
        if [label for label, _ in groupby(path) if label != blank] == target:
            total += math.exp(sum(log_probs[t, label].item() for t, label in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("target", [[1], [1, 2], [2, 2], [], [1, 1, 1, 1]])
def test_ctc_is_the_sum_over_all_paths(target):
    log_probs = torch.randn(5, 3, dtype=torch.float64).log_softmax(-1)
    loss = F.ctc_loss(log_probs, torch.tensor(target, dtype=torch.int64), (5,), (len(target),), reduction="none")
    assert loss.item() == pytest.approx(brute_force_ctc(log_probs, target))


def test_ctc_targets_in_a_row_and_padded():
    padded = torch.tensor([[1, 2, 2], [2, 3, 0], [4, 0, 0]])
    row = torch.tensor([1, 2, 2, 2, 3, 4])
    for reduction in ("none", "mean", "sum"):
        losses = [F.ctc_loss(LOG_PROBS, t, (6, 5, 4), (3, 2, 1), reduction=reduction) for t in (padded, row)]
        assert torch.equal(*losses)
    logits = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([[1, 2], [2, 1]])
    assert torch.autograd.gradcheck(lambda x: F.ctc_loss(x.log_softmax(-1), targets, (4, 3), (2, 1)), logits)


def test_ctc_of_a_target_that_does_not_fit():
    x = LOG_PROBS.clone().requires_grad_()
    targets = torch.tensor([[1, 1, 1], [2, 3, 0], [4, 1, 0]])
    loss = F.ctc_loss(x, targets, (4, 4, 6), (3, 2, 1), reduction="none")
    assert loss[0] == math.inf and loss[1:].isfinite().all()
    assert torch.autograd.grad(loss.sum(), x)[0][:, 0].isnan().any()
    loss = F.ctc_loss(x, targets, (4, 4, 6), (3, 2, 1), reduction="none", zero_infinity=True)
    assert loss[0] == 0 and torch.autograd.grad(loss.sum(), x)[0][:, 0].abs().sum() == 0


@pytest.mark.parametrize(
    "name, node",
    [
        ("soft_margin_loss", "SoftMarginLossBackward0"),
        ("multi_margin_loss", "MultiMarginLossBackward0"),
        ("multilabel_margin_loss", "MultilabelMarginLossBackward0"),
    ],
)
def test_a_loss_of_one_kernel_is_one_node(name, node):
    x = X.clone().requires_grad_()
    fn = LOSSES[name](x, "mean").grad_fn
    assert fn.name() == type(fn).__name__ == node and repr(fn).startswith(f"<{node} object at")
    ((leaf, _),) = fn.next_functions
    assert leaf.variable is x
    seen = []
    x.register_hook(lambda g: seen.append("x"))
    fn.register_hook(lambda grad_in, grad_out: seen.append((len(grad_in), len(grad_out))))
    loss = LOSSES[name](x, "mean")
    loss.backward(create_graph=True)
    assert seen == ["x"]


def test_adaptive_softmax():
    torch.manual_seed(1)
    asm = nn.AdaptiveLogSoftmaxWithLoss(16, 10, [3, 6], div_value=2.0)
    x, target = torch.randn(5, 16), torch.tensor([0, 2, 4, 7, 9])
    output, loss = asm(x, target)
    everything = asm.log_prob(x)
    assert torch.allclose(everything.exp().sum(1), torch.ones(5))
    assert torch.allclose(output, everything.gather(1, target.unsqueeze(1)).squeeze(1), atol=1e-6)
    assert torch.allclose(loss, -output.mean())
    assert torch.equal(asm.predict(x), everything.argmax(1))
    with pytest.raises(RuntimeError, match="Target values should be in"):
        asm(x, torch.tensor([0, 2, 4, 7, 10]))


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (
            lambda: F.ctc_loss(LOG_PROBS, CLASSES, (7, 5, 4), (1, 1, 1)),
            RuntimeError,
            "input_lengths to have value at most 6",
        ),
        (
            lambda: F.ctc_loss(LOG_PROBS, CLASSES, (6, 5, 4), (1, 1, 1), blank=9),
            RuntimeError,
            "blank must be in label range",
        ),
        (lambda: F.multi_margin_loss(X, CLASSES, p=3), ValueError, "only p == 1 and p == 2 supported"),
        (lambda: F.multi_margin_loss(X, CLASSES + 1), RuntimeError, "target out of range"),
        (lambda: F.triplet_margin_loss(X, Y, Z[0]), RuntimeError, "the same number of dimensions"),
        (lambda: F.gaussian_nll_loss(X, Y, -Z.abs()), ValueError, "var has negative entry/entries"),
        (lambda: F.gaussian_nll_loss(X, Y, Z[:2].abs()), ValueError, "var is of incorrect size"),
        (lambda: F.margin_ranking_loss(X, Y[0], SIGN), RuntimeError, "All input tensors should have same dimension"),
        (lambda: nn.TripletMarginLoss(margin=0), ValueError, "expected margin to be greater than 0"),
    ],
)
def test_what_is_refused(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)


def test_the_loss_of_a_linear_layer():
    loss = nn.LinearCrossEntropyLoss(3, 4, out_features=(2,), bias=True)
    x, target = torch.randn(5, 3), torch.randint(0, 4, (5, 2))
    logits = loss.linear(x).reshape(5, 4, 2)
    assert torch.allclose(loss(x, target), F.cross_entropy(logits, target))
    assert list(loss.state_dict()) == ["linear.weight", "linear.bias"]
    w = torch.randn(4, 3)
    smooth = F.linear_cross_entropy(x, w, target[:, 0], reduction="none", label_smoothing=0.1)
    assert torch.allclose(smooth, F.cross_entropy(x @ w.T, target[:, 0], reduction="none", label_smoothing=0.1))
    with pytest.raises(RuntimeError, match="ignore_index cannot be specified"):
        F.linear_cross_entropy(x, w, torch.ones(5, 4) / 4, ignore_index=1)
    with pytest.raises(RuntimeError, match="requires batched input"):
        loss(x[0], target[0])


def test_delta_is_a_number():
    with pytest.raises(TypeError, match="delta must be a float or int"):
        nn.HuberLoss(delta=1j)


def test_margin_losses_let_nothing_through_where_the_margin_is_just_kept():
    x = torch.tensor([[0.0, 1.0, 0.5]], requires_grad=True)
    F.multi_margin_loss(x, torch.tensor([1])).backward()
    assert x.grad.tolist() == [[0, pytest.approx(-1 / 3), pytest.approx(1 / 3)]]
    x.grad = None
    F.multilabel_margin_loss(x, torch.tensor([[1, -1, 0]])).backward()
    assert x.grad.tolist() == [[0, pytest.approx(-1 / 3), pytest.approx(1 / 3)]]
