"""Gradients of parameters for each sample of a batch."""

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.utils._per_sample_grad import call_for_per_sample_grads

NETS = {
    "linear": (lambda: nn.Linear(4, 3), (5, 2, 4)),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, groups=2), (5, 2, 6)),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3, padding="same"), (5, 2, 6, 6)),
    "layer_norm": (lambda: nn.LayerNorm(4), (5, 3, 4)),
    "group_norm": (lambda: nn.GroupNorm(2, 4), (5, 4, 3)),
    "instance_norm": (lambda: nn.InstanceNorm2d(3, affine=True), (5, 3, 4, 4)),
    "net": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 4), nn.Tanh()),
        (5, 1, 6, 6),
    ),
}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_they_are_those_of_each_sample_alone(kind, reduction):
    torch.manual_seed(0)
    make, shape = NETS[kind]
    net, x = make(), torch.randn(shape, requires_grad=True)
    out = call_for_per_sample_grads(net, loss_reduction=reduction)(x)
    out.square().sum().backward()
    assert torch.allclose(out, net(x)) and all(p.grad is None for p in net.parameters())
    of_input, x.grad = x.grad, None
    net(x).square().sum().backward()
    assert torch.allclose(of_input, x.grad, atol=1e-6)
    for i in range(5):
        net.zero_grad()
        net(x[i : i + 1].detach()).square().sum().backward()
        for p in net.parameters():
            assert p.grad_sample.shape == (5, *p.shape)
            assert torch.allclose(p.grad_sample[i], p.grad * (5 if reduction == "mean" else 1), atol=1e-5)


def test_an_embedding_and_what_is_frozen():
    table = nn.Embedding(7, 2, padding_idx=0)
    call_for_per_sample_grads(table)(torch.tensor([[0, 1], [2, 2]])).sum().backward()
    assert table.weight.grad_sample.sum((0, 2)).tolist() == [0, 2, 4, 0, 0, 0, 0]
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    call_for_per_sample_grads(net)(torch.ones(3, 2)).sum().backward()
    assert net.weight.grad_sample.tolist() == [[[1, 1]]] * 3 and not hasattr(net.bias, "grad_sample")


def test_what_cannot_be_done_is_refused():
    net = nn.Linear(2, 1)
    for given, words in (
        ({"loss_reduction": "x"}, "Expected loss_reduction argument to be sum or mean, got x"),
        ({"batch_size": "a"}, "Batch size passed must be None or an integer, got str"),
        ({"batch_size": 0}, "Batch size must be positive, got 0"),
    ):
        with pytest.raises(RuntimeError, match=words):
            call_for_per_sample_grads(net, **given)
    with pytest.raises(RuntimeError, match="Module passed must be nn.Module, got int"):
        call_for_per_sample_grads(3)
    with pytest.raises(RuntimeError, match="batch size of 3 with ExpandedWeights of batch size 4"):
        call_for_per_sample_grads(net, batch_size=4)(torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="Expanded Weights encountered but cannot handle function batch_norm"):
        call_for_per_sample_grads(nn.BatchNorm1d(2))(torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="Unable to find a tensor"):
        call_for_per_sample_grads(net)()
    call_for_per_sample_grads(net)(torch.ones(3, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="Please clear out the grad_sample parameter"):
        call_for_per_sample_grads(net)
