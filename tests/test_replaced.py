"""Functions of the package that a program replaces, as profilers and mocks do: the layers written in C call the new ones."""

import contextlib
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


def test_statistics_that_are_not_tracked_stay_as_they_are():
    for replaced in (contextlib.nullcontext(), mock.patch.object(F, "relu", lambda *_: None)):
        layer = nn.BatchNorm1d(8)
        layer.track_running_stats = False
        with replaced:
            layer(torch.arange(16.0).reshape(2, 8))
        assert layer.num_batches_tracked.item() == 0 and layer.running_mean.tolist() == [0.0] * 8


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


# ---- How modules are called ------------------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    def forward(self, input):
        return self.layers(input)


def noting(original, log):
    def call(self, *args, **kwargs):
        log.append(type(self).__name__)
        return original(self, *args, **kwargs)

    return call


@pytest.mark.parametrize("name", ["_call_impl", "__call__"])
def test_every_call_of_a_module_goes_to_what_was_put_into_module(name):
    log, net = [], Net()
    net.layers[0].register_forward_hook(lambda *_: log.append("hook"))
    net(IMAGES)
    assert log == ["hook"]
    log.clear()
    with mock.patch.object(nn.Module, name, noting(getattr(nn.Module, name), log)):
        net(IMAGES)
    assert log == ["Net", "Sequential", "Linear", "hook", "ReLU"]
    log.clear()
    net(IMAGES)
    assert log == ["hook"]


def test_a_class_that_is_given_a_call_impl_later_is_called_by_it():
    log, net = [], Net()
    net(IMAGES)
    nn.Linear._call_impl = noting(nn.Module._call_impl, log)
    try:
        net(IMAGES)
    finally:
        del nn.Linear._call_impl
    net(IMAGES)
    assert log == ["Linear"]


def test_a_module_that_is_given_a_call_impl_is_called_by_it():
    layer = nn.Linear(8, 8)
    for _ in range(3):
        layer(IMAGES)
    layer._call_impl = lambda *args, **kwargs: (args, kwargs)
    assert layer(1, x=2) == ((1,), {"x": 2})
    del layer._call_impl
    assert layer(IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_forward_put_on_an_instance_or_a_class_is_what_runs(times):
    layer = nn.Linear(8, 8)
    for _ in range(times):
        layer(IMAGES)
    layer.forward = lambda input: "the instance's"
    assert nn.Sequential(layer)(IMAGES) == "the instance's"
    del layer.forward
    with mock.patch.object(nn.Linear, "forward", lambda self, input: "the class's"):
        assert nn.Sequential(layer)(IMAGES) == "the class's"
    assert layer(IMAGES).shape == IMAGES.shape


# ---- Where layers find their weights ---------------------------------------------------------------------------------------


def test_a_class_with_a_getattr_is_asked_for_its_parameters():
    asked = []

    class Zeroed(nn.Linear):
        def __getattr__(self, name):
            asked.append(name)
            found = super().__getattr__(name)
            return found * 0 if name == "weight" else found

    layer = Zeroed(8, 2, bias=False)
    nn.init.ones_(layer._parameters["weight"])  # what the class gave to be initialised was another tensor
    asked.clear()
    assert layer(IMAGES).abs().max() == 0
    assert asked == ["weight", "bias"]
    assert layer.weight.abs().max() == 0
    assert layer._parameters["weight"].abs().max() > 0
    with pytest.raises(AttributeError, match="'Zeroed' object has no attribute 'other'"):
        layer.other()


def test_a_class_with_a_getattribute_is_asked_for_its_parameters():
    asked = []

    class Asked(nn.Linear):
        def __getattribute__(self, name):
            asked.append(name)
            return super().__getattribute__(name)

    layer = Asked(8, 2)
    asked.clear()
    layer(IMAGES)
    assert [name for name in asked if name in ("weight", "bias")] == ["weight", "bias"]


@pytest.mark.parametrize("times", [0, 1, 3])
def test_an_attribute_of_the_instance_goes_before_a_parameter(times):
    layer = nn.Linear(8, 2, bias=False)
    for _ in range(times):
        layer(IMAGES)
    object.__setattr__(layer, "weight", torch.zeros(2, 8))
    for _ in range(3):
        assert layer(IMAGES).abs().max() == 0
    assert len(list(layer.parameters())) == 1
    del layer.__dict__["weight"]
    assert layer(IMAGES).abs().max() > 0


def test_an_attribute_of_the_instance_goes_before_a_buffer():
    layer = nn.BatchNorm1d(8).eval()
    layer.__dict__["running_mean"] = torch.full((8,), 5.0)
    assert layer(torch.full((2, 8), 5.0)).abs().max() < 1e-6  # as PyTorch rounds


# ---- What functions of nn.functional call in turn --------------------------------------------------------------------------

LINE = torch.arange(6.0).reshape(2, 3) - 2
INNER = [
    ("batch_norm", lambda: F.batch_norm(LINE, None, None, training=True), [None] * 4 + [True, 0.1, 1e-5, True]),
    ("layer_norm", lambda: nn.LayerNorm(3, elementwise_affine=False)(LINE), [(3,), None, None, 1e-5, True]),
    ("group_norm", lambda: F.group_norm(LINE, 3), [3, None, None, 1e-5, True]),
    ("rms_norm", lambda: F.rms_norm(LINE, (3,)), [(3,), None, None]),
    ("relu", lambda: nn.ReLU()(LINE), []),
    ("relu_", lambda: F.relu(LINE.clone(), inplace=True), []),
    ("selu", lambda: nn.SELU()(LINE), []),
    ("celu", lambda: nn.CELU()(LINE), [1.0]),
    ("embedding", lambda: F.embedding(torch.tensor([0]), LINE), [torch.tensor([0]), -1, False, False]),
    ("max_pool1d", lambda: F.max_pool1d(LINE, 2, 1), [2, 1, 0, 1, False]),
]
INNER_OF_NN = [
    ("elu", lambda: nn.ELU(0.5)(LINE), [0.5]),
    ("leaky_relu", lambda: nn.LeakyReLU()(LINE), [0.01]),
    ("silu", lambda: nn.SiLU()(LINE), []),
    ("hardtanh", lambda: F.hardtanh(LINE), [-1.0, 1.0]),
    ("glu", lambda: nn.GLU(0)(LINE), [0]),
    ("pad", lambda: F.pad(LINE, (1, 1)), [(1, 1), "constant", None]),
]


@pytest.mark.parametrize(
    "place, name, call, given",
    [(torch, *row) for row in INNER] + [(torch._C._nn, *row) for row in INNER_OF_NN],
    ids=[row[0] for row in INNER + INNER_OF_NN],
)
def test_a_function_calls_what_pytorchs_calls_in_turn_once_that_is_replaced(place, name, call, given):
    calls, original = [], getattr(place, name)

    def noted(*args, **kwargs):
        calls.append((list(args[1:]), kwargs))
        return original(*args, **kwargs)

    before = call()
    with mock.patch.object(place, name, noted):
        during = call()
    after = call()
    assert calls == [(given, {})]
    assert torch.equal(before, during) and torch.equal(before, after)


def test_what_was_imported_before_calls_the_new_function_too():
    from hookgrad.nn.functional import relu

    with (
        mock.patch.object(torch, "relu", return_value="seven"),
        mock.patch.object(torch, "relu_", return_value="eight"),
    ):
        assert relu(LINE) == "seven" and F.relu(LINE, inplace=True) == "eight" and F.relu(LINE, True) == "eight"
    assert torch.equal(relu(LINE), LINE.clamp(min=0))


def test_two_that_are_replaced_call_one_another():
    log, layer = [], nn.BatchNorm1d(3)
    with (
        mock.patch.object(F, "batch_norm", recording(F.batch_norm, log)),
        mock.patch.object(torch, "batch_norm", recording(torch.batch_norm, log)),
    ):
        layer(LINE)
    assert log == [(8,), (9,)]


def test_a_replaced_function_leaves_checks_and_rare_arguments_as_they_are():
    with mock.patch.object(torch, "batch_norm", return_value=5):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            F.batch_norm(torch.ones(1, 3), None, None, training=True)
        assert F.batch_norm(LINE, None, None, training=True) == 5
    with mock.patch.object(torch, "embedding", return_value=5):
        assert F.embedding(torch.tensor([0]), LINE.clone(), max_norm=1.0).shape == (1, 3)
    with mock.patch.object(torch._C._nn, "elu", return_value=5):
        x = LINE.clone()
        assert F.elu(x, 1.0, True) is x and F.elu(LINE) == 5


def test_what_pytorch_took_over_at_import_is_not_asked_for():
    with mock.patch.object(torch, "conv2d", return_value=5), mock.patch.object(torch._C._nn, "linear", return_value=5):
        assert nn.Linear(8, 2)(IMAGES).shape == (2, 3, 8, 2) and nn.Conv2d(3, 1, 1)(IMAGES).shape == (2, 1, 8, 8)


def test_a_layer_calls_the_method_that_a_program_gave_to_tensors():
    layer, calls = nn.Flatten(), []
    original = torch.Tensor.flatten
    layer(IMAGES)
    torch.Tensor.flatten = recording(original, calls)
    try:
        assert layer(IMAGES).shape == (2, 192)
    finally:
        torch.Tensor.flatten = original
    assert layer(IMAGES).shape == (2, 192) and calls == [(3,)]


def test_a_tensors_backward_calls_the_function_that_a_program_put_into_autograd():
    x, calls, backward = torch.ones(2, requires_grad=True), [], torch.autograd.backward

    def counted(*args, **kwargs):
        calls.append((args[1:], kwargs))
        return backward(*args, **kwargs)

    with mock.patch.object(torch.autograd, "backward", counted):
        assert (x * 2).sum().backward() is None
        (x * 2).backward(torch.ones(2), True, inputs=[x])
    (x * 2).sum().backward()
    assert calls == [
        ((None, None, False), {"inputs": None}),
        ((mock.ANY, True, False), {"inputs": [x]}),
    ]
    assert x.grad.tolist() == [6, 6]
    with mock.patch.object(torch.autograd, "backward", side_effect=KeyError), pytest.raises(KeyError):
        x.sum().backward()
