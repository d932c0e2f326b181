"""Functions of the package that a program replaces, as profilers and mocks do: the layers written in C call the new ones."""

from unittest import mock

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn import functional as F

IMAGES = torch.ones(2, 3, 8, 8)
LINES = IMAGES[0]

# The function, the layer, its input; and, as PyTorch's layers do it, how many arguments stand alone and which have a name.
CALLED = [
    ("linear", lambda: nn.Linear(8, 4), IMAGES, 3, ()),
    ("relu", nn.ReLU, IMAGES, 1, ("inplace",)),
    ("silu", nn.SiLU, IMAGES, 1, ("inplace",)),
    ("gelu", nn.GELU, IMAGES, 1, ("approximate",)),
    ("leaky_relu", nn.LeakyReLU, IMAGES, 3, ()),
    ("softmax", lambda: nn.Softmax(1), IMAGES, 2, ("_stacklevel",)),
    ("log_softmax", lambda: nn.LogSoftmax(1), IMAGES, 2, ("_stacklevel",)),
    ("dropout", nn.Dropout, IMAGES, 4, ()),
    ("layer_norm", lambda: nn.LayerNorm(8), IMAGES, 5, ()),
    ("batch_norm", lambda: nn.BatchNorm2d(3), IMAGES, 8, ()),
    ("max_pool1d", lambda: nn.MaxPool1d(2), LINES, 5, ("ceil_mode", "return_indices")),
    ("max_pool2d", lambda: nn.MaxPool2d(2), IMAGES, 5, ("ceil_mode", "return_indices")),
    ("avg_pool1d", lambda: nn.AvgPool1d(2), LINES, 6, ()),
    ("avg_pool2d", lambda: nn.AvgPool2d(2), IMAGES, 7, ()),
    ("adaptive_avg_pool1d", lambda: nn.AdaptiveAvgPool1d(2), LINES, 2, ()),
    ("adaptive_avg_pool2d", lambda: nn.AdaptiveAvgPool2d(2), IMAGES, 2, ()),
    ("embedding", lambda: nn.Embedding(4, 3), torch.ones(2, dtype=torch.int64), 7, ()),
    ("conv1d", lambda: nn.Conv1d(8, 2, 2), LINES, 7, ()),
    ("conv2d", lambda: nn.Conv2d(3, 2, 2), IMAGES, 7, ()),
    ("conv3d", lambda: nn.Conv3d(2, 2, 2), IMAGES, 7, ()),
    ("pad", lambda: nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), IMAGES, 2, ("mode",)),
]


def recording(original, calls):
    def call(*args, **kwargs):
        calls.append((len(args), *sorted(kwargs)))
        return original(*args, **kwargs)

    return call


@pytest.mark.parametrize("name, make, input, n, keywords", CALLED, ids=[row[0] for row in CALLED])
def test_a_layer_calls_the_function_that_a_program_put_into_functional(name, make, input, n, keywords):
    layer, calls = make().eval(), []
    before = layer(input)
    with mock.patch.object(F, name, recording(getattr(F, name), calls)):
        during = layer(input)
    after = layer(input)
    assert calls == [(n, *keywords)]
    assert torch.equal(before, during) and torch.equal(before, after)


@pytest.mark.parametrize("name, layer", [("tanh", nn.Tanh()), ("sigmoid", nn.Sigmoid())])
def test_a_layer_calls_the_function_that_a_program_put_into_torch(name, layer):
    calls = []
    with mock.patch.object(torch, name, recording(getattr(torch, name), calls)):
        layer(IMAGES)
    layer(IMAGES)
    assert calls == [(1,)]


def test_what_the_new_function_returns_is_what_the_layer_returns():
    with mock.patch("hookgrad.nn.functional.relu", return_value="seven") as relu:
        assert nn.ReLU()(IMAGES) == "seven"
    relu.assert_called_once_with(IMAGES, inplace=False)


def test_layers_inside_layers_call_it_too():
    calls = []
    model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 2)))
    with mock.patch.object(F, "linear", recording(F.linear, calls)):
        model(IMAGES)
    assert len(calls) == 2


def test_hooks_run_as_they_did_around_it():
    log, layer = [], nn.Linear(8, 1)
    layer.register_forward_pre_hook(lambda *_: log.append("before"))
    layer.register_forward_hook(lambda *_: log.append("after"))
    layer.register_full_backward_hook(lambda *_: log.append("backward"))
    with mock.patch.object(F, "linear", recording(F.linear, log)):
        layer(IMAGES.clone().requires_grad_()).sum().backward()
    assert log == ["before", (3,), "after", "backward"]
    assert torch.equal(layer.bias.grad, torch.tensor([48.0]))


def test_a_function_replaced_twice_and_put_back_is_no_longer_replaced():
    calls, original = [], F.relu
    F.relu = recording(original, calls)
    F.relu = recording(F.relu, calls)
    nn.ReLU()(IMAGES)
    F.relu = original
    nn.ReLU()(IMAGES)
    assert len(calls) == 2


def test_batches_are_counted_and_averaged_alike():
    ours, other = nn.BatchNorm1d(8, momentum=None), nn.BatchNorm1d(8, momentum=None)
    batches = torch.arange(48.0).reshape(3, 2, 8)
    with mock.patch.object(F, "relu", lambda *_: None):
        for batch in batches:
            other(batch)
    for batch in batches:
        ours(batch)
    assert other.num_batches_tracked.item() == 3
    assert torch.equal(ours.running_mean, other.running_mean) and torch.equal(ours.running_var, other.running_var)
