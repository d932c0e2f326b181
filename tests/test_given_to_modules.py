"""What pooling, bags, indices, pruning and schedulers say of arguments that do not fit, and of empty ones."""

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pooling_says_which_argument_does_not_fit(n):
    pool = getattr(F, f"fractional_max_pool{n}d")
    x = torch.randn(2, 3, *[7] * n)
    for kernel, size, word in (((), 3, "kernel_size"), ((1,), 3, "kernel_size"), (2, (3,), "output_size")):
        with pytest.raises(RuntimeError, match=f"{word} must either be a single Int or tuple"):
            pool(x, kernel, output_size=size)
    with pytest.raises(RuntimeError, match="non-zero size for non-batch"):
        pool(x[:, :0], 2, output_size=3)
    samples = torch.rand(2, 3, n)
    for wrong in (samples[:1], samples[:, :2], samples[..., :1], samples[0], samples.double()):
        with pytest.raises(RuntimeError, match="Expect _random_samples"):
            pool(x, 2, output_size=3, _random_samples=wrong)


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_pooling_to_nothing_and_of_nothing_is_empty(n):
    pool = getattr(F, f"fractional_max_pool{n}d")
    x = torch.randn(2, 3, *[7] * n)
    assert pool(x, 2, output_size=(0,) + (1,) * (n - 1)).shape == (2, 3, 0, *[1] * (n - 1))
    assert pool(x[:0], 2, output_size=3).shape == (0, 3, *[3] * n)


def test_unpooling_keeps_channels_last():
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    pooled, indices = F.max_pool2d(x, 2, return_indices=True)
    spread = F.max_unpool2d(pooled, indices, 2)
    assert spread.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(spread, F.max_unpool2d(pooled.contiguous(), indices.contiguous(), 2))


@pytest.mark.parametrize("indices, offsets", [([[1, 1]], None), ([], [0, 0]), ([], [])])
def test_the_maximum_of_empty_bags_has_a_gradient_of_zeros(indices, offsets):
    weight = torch.rand(5, 2, requires_grad=True)
    indices = torch.tensor(indices, dtype=torch.int64)
    offsets = None if offsets is None else torch.tensor(offsets, dtype=torch.int64)
    bags = F.embedding_bag(indices, weight, offsets, mode="max", padding_idx=1)
    bags.sum().backward()
    assert not bags.any() and torch.equal(weight.grad, torch.zeros(5, 2))


def test_bags_refuse_dtypes_that_do_not_go_together():
    weight, indices, offsets = torch.rand(5, 2), torch.tensor([0, 1]), torch.tensor([0])
    with pytest.raises(RuntimeError, match="have the same type as"):
        F.embedding_bag(indices, weight, offsets, mode="sum", per_sample_weights=torch.rand(2).double())
    with pytest.raises(RuntimeError, match="scalar types: Long, Int"):
        torch.embedding_bag(weight, indices.float(), offsets)
    with pytest.raises(RuntimeError, match="weight has to be a 2D Tensor"):
        torch.embedding_bag(torch.rand(2, 3, 4), indices, offsets)


def test_indices_into_nothing_and_values_that_do_not_fit_are_errors():
    with pytest.raises(IndexError, match="out of bounds for dimension with size 0"):
        torch.empty(0, 3)[torch.tensor([0])]
    whole = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        whole[torch.tensor([True, False, True, True])] = torch.tensor([1.0, 2.0])
    with pytest.raises(RuntimeError, match="dtypes match"):
        whole.index_put_((torch.tensor([0]),), torch.tensor([1.0]))
    with pytest.raises(TypeError, match="only contain ints"):
        torch.unravel_index(torch.tensor([1]), (2.0,))


def test_resizing_refuses_sizes_that_cannot_be():
    for size in ((-1,), (2, -2), (2**60, 2**60)):
        with pytest.raises(RuntimeError, match="overflow"):
            torch.empty(2, 3).resize_(size)


def test_resize_as_preserves_the_order_in_memory_when_asked():
    like = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert torch.empty(120).resize_as_(like, memory_format=torch.preserve_format).stride() == like.stride()
    assert torch.empty(120).resize_as_(like).is_contiguous()


def test_plateau_wants_a_least_rate_for_a_group_that_came_later():
    weight = nn.Parameter(torch.ones(1))
    for least, fails in ((0.0, False), ([0.0], True)):
        optimizer = torch.optim.SGD([weight], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=least)
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 1.0})
        scheduler.step(1)
        if fails:
            with pytest.raises(RuntimeError, match="number of param groups"):
                scheduler.step(2)
        else:
            scheduler.step(2)
            assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]


def test_a_chain_can_be_one_of_a_sequence():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedulers = torch.optim.lr_scheduler
    chain = schedulers.ChainedScheduler(
        [schedulers.ConstantLR(optimizer, 0.5, 2), schedulers.ExponentialLR(optimizer, 0.5)]
    )
    sequence = schedulers.SequentialLR(optimizer, [chain, schedulers.ConstantLR(optimizer, 0.1, 9)], milestones=[3])
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        sequence.step()
    assert rates == pytest.approx([0.25, 0.125, 0.125, 0.1])


def test_the_pruned_share_of_a_size_follows_the_kind_of_the_amount():
    prune = nn.utils.prune
    assert [prune._compute_nparams_toprune(amount, 17) for amount in (1, 1.0, 0.4)] == [1, 17, 7]
    with pytest.raises(ValueError, match="smaller than the number of parameters"):
        prune._validate_pruning_amount(20, 19)
    with pytest.raises(ValueError, match="smaller than the number of parameters"):
        prune.l1_unstructured(nn.Linear(2, 2), "weight", 5)


def test_the_module_of_lazy_modules_is_at_hand():
    assert nn.modules.lazy.LazyModuleMixin.__name__ == "LazyModuleMixin"


@pytest.mark.parametrize(
    "layer, words",
    [
        (nn.BatchNorm1d(3), "has no attribute 'dim'"),
        (nn.GroupNorm(1, 3), "has no attribute 'dim'"),
        (nn.GLU(), "has no attribute 'dim'"),
        (nn.Softmax(-1), "has no attribute 'softmax'"),
        (nn.LogSoftmax(-1), "has no attribute 'log_softmax'"),
        (nn.Tanhshrink(), "has no attribute 'tanh'"),
        (nn.Flatten(), "has no attribute 'flatten'"),
        (lambda x: nn.MSELoss()(torch.ones(1), x), "has no attribute 'size'"),
        (lambda x: nn.functional.binary_cross_entropy(x, torch.ones(1)), "has no attribute 'size'"),
    ],
)
def test_what_is_no_tensor_lacks_the_method_that_is_asked_for_first(layer, words):
    for given in (None, (torch.ones(2, 3),), "s"):
        with pytest.raises(AttributeError, match=f"'{type(given).__name__}' object {words}"):
            layer(given)


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.ReLU(), nn.LayerNorm(3), nn.Dropout(), nn.Embedding(3, 2)])
def test_what_is_no_tensor_is_no_argument(layer):
    with pytest.raises(TypeError, match="must be Tensor, not tuple"):
        layer((torch.ones(2, 3),))


def test_the_state_of_an_lstm_cell_is_a_tuple():
    with pytest.raises(TypeError, match="must be tuple of Tensors, not Tensor"):
        nn.LSTMCell(3, 2)(torch.ones(2, 3), torch.ones(2, 2))
