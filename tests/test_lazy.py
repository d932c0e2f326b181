"""Lazy modules take the shapes of their parameters from the first input. Expected values and words are PyTorch's."""

import copy
import pickle

import pytest

import hookgrad as torch
from hookgrad import nn
from hookgrad.nn.modules.lazy import LazyModuleMixin
from hookgrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy


def test_a_lazy_linear_becomes_a_linear():
    layer = nn.LazyLinear(3)
    assert repr(layer) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    assert repr(layer.weight) == "<UninitializedParameter>" and is_lazy(layer.weight)
    assert layer.has_uninitialized_params() and len(layer._forward_pre_hooks) == 1
    assert layer(torch.ones(2, 5)).shape == (2, 3)
    assert type(layer) is nn.Linear and repr(layer) == "Linear(in_features=5, out_features=3, bias=True)"
    assert type(layer.weight) is nn.Parameter and layer.weight.shape == (3, 5)
    assert not layer._forward_pre_hooks and not layer._load_state_dict_pre_hooks
    assert "_initialize_hook" not in layer.__dict__ and "_load_hook" not in layer.__dict__


def test_it_is_initialised_as_its_class_is():
    torch.manual_seed(0)
    lazy = nn.LazyLinear(3)
    lazy(torch.ones(1, 4))
    torch.manual_seed(0)
    assert lazy.weight.equal(nn.Linear(4, 3).weight)


def test_a_network_of_lazy_layers():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    assert list(model.state_dict()) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked",
        "4.weight", "4.bias",
    ]  # fmt: skip
    assert model(torch.ones(2, 3, 5, 5)).shape == (2, 2)
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))\n"
        "  (1): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "  (2): ReLU()\n"
        "  (3): Flatten(start_dim=1, end_dim=-1)\n"
        "  (4): Linear(in_features=36, out_features=2, bias=True)\n"
        ")"
    )


@pytest.mark.parametrize(
    "lazy, input, shape, kind",
    [
        (lambda: nn.LazyConv1d(4, 3), (2, 3, 8), (4, 3, 3), nn.Conv1d),
        (lambda: nn.LazyConv1d(4, 3), (3, 8), (4, 3, 3), nn.Conv1d),
        (lambda: nn.LazyConv2d(4, 3, groups=2, bias=False), (2, 4, 5, 5), (4, 2, 3, 3), nn.Conv2d),
        (lambda: nn.LazyConvTranspose1d(4, 3), (2, 3, 8), (3, 4, 3), nn.ConvTranspose1d),
        (lambda: nn.LazyConvTranspose2d(4, 3), (2, 3, 5, 5), (3, 4, 3, 3), nn.ConvTranspose2d),
        (lambda: nn.LazyBatchNorm1d(), (2, 3), (3,), nn.BatchNorm1d),
        (lambda: nn.LazyBatchNorm2d(), (2, 3, 4, 4), (3,), nn.BatchNorm2d),
    ],
)
def test_every_lazy_layer(lazy, input, shape, kind):
    layer = lazy()
    layer(torch.ones(*input))
    assert type(layer) is kind and layer.weight.shape == shape


def test_batch_norm_without_weight_or_statistics():
    layer = nn.LazyBatchNorm1d(affine=False)
    layer(torch.ones(2, 3))
    assert layer.weight is None and layer.running_mean.shape == (3,) and type(layer.running_mean) is torch.Tensor
    layer = nn.LazyBatchNorm1d(track_running_stats=False)
    layer(torch.ones(2, 3))
    assert layer.running_mean is None and layer.weight.shape == (3,)


def test_a_state_gives_the_shapes_too():
    layer = nn.LazyLinear(3)
    assert str(layer.load_state_dict(nn.Linear(4, 3).state_dict())) == "<All keys matched successfully>"
    assert layer.weight.shape == (3, 4) and type(layer) is nn.LazyLinear
    with pytest.raises(AssertionError, match="The in_features inferred from input: 5 is not equal to in_features"):
        layer(torch.ones(2, 5))
    layer(torch.ones(2, 4))
    assert type(layer) is nn.Linear and layer.in_features == 4


def test_an_uninitialised_state_fits_no_initialised_layer():
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter or buffer"):
        nn.Linear(4, 3).load_state_dict(nn.LazyLinear(3).state_dict())


def test_dtype_copies_and_pickles():
    layer = nn.LazyLinear(3).double()
    twin = copy.deepcopy(layer)
    twin(torch.ones(1, 2, dtype=torch.float64))
    assert twin.weight.dtype == torch.float64 and is_lazy(layer.weight)
    assert is_lazy(pickle.loads(pickle.dumps(UninitializedParameter())))


@pytest.mark.parametrize(
    "convert", [lambda m: m.double(), lambda m: m.to(torch.float64), lambda m: m.to(torch.ones(1).double())]
)
def test_buffers_without_shape_are_converted(convert):
    norm = convert(nn.LazyBatchNorm2d())
    assert type(norm.running_mean) is nn.UninitializedBuffer
    assert norm(torch.ones(1, 3, 2, 2).double()).dtype == norm.running_mean.dtype == torch.float64
    for name in ("bfloat16", "type"):
        with pytest.raises(ValueError, match=f"uninitialized parameter in <method '{name}'"):
            getattr(nn.UninitializedBuffer(), name)()


def test_wrong_inputs():
    with pytest.raises(RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input to LazyConv2d"):
        nn.LazyConv2d(4, 3)(torch.ones(2, 3))
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.LazyConv1d(4, 3, groups=2)(torch.ones(2, 3, 3))


def test_parameters_and_buffers_without_shape():
    p = UninitializedParameter(dtype=torch.float64)
    assert isinstance(p, nn.Parameter) and p.requires_grad and p.dtype == torch.float64
    p.materialize((2, 3))
    assert type(p) is nn.Parameter and p.shape == (2, 3) and p.dtype == torch.float64
    b = UninitializedBuffer()
    assert isinstance(b, nn.Buffer) and b.persistent and not b.requires_grad
    b.materialize((2,))
    assert type(b) is torch.Tensor and b.shape == (2,)


@pytest.mark.parametrize(
    "use", [lambda p: p + 1, lambda p: p.sum(), lambda p: p.numel(), lambda p: p.clone(), lambda p: p.zero_(), len]
)
def test_nothing_can_be_computed_without_a_shape(use):
    with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter in .*`torch.nn.parameter.Uninit"):
        use(UninitializedParameter())
    with pytest.raises(RuntimeError, match="Can't share memory on an uninitialized parameter or buffer"):
        UninitializedBuffer().share_memory_()


def test_an_operator_without_a_shape_is_told_by_its_method():
    for use, name in ((lambda p: 1 + p, "add"), (lambda p: p / 2, "div"), (lambda p: -p, "neg"), (abs, "abs")):
        with pytest.raises(ValueError, match=f"in <method '{name}' of"):
            use(UninitializedParameter())


def test_lazy_modules_of_ones_own():
    class Scale(LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = UninitializedParameter()

        def initialize_parameters(self, x):
            self.gain.materialize(x.shape[-1:])
            with torch.no_grad():
                self.gain.fill_(2.0)

        def forward(self, x):
            return x * self.gain

    m = Scale()
    assert m(torch.ones(3)).tolist() == [2, 2, 2] and type(m) is Scale

    class Forgets(LazyModuleMixin, nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = UninitializedParameter()

    with pytest.raises(NotImplementedError, match="initialize_parameters is not implemented for Forgets"):
        Forgets()(torch.ones(1))
    Forgets.initialize_parameters = lambda self, x: None
    with pytest.raises(RuntimeError, match="module Forgets has not been fully initialized"):
        Forgets()(torch.ones(1))


def test_other_hooks_see_the_layer_it_has_become():
    layer = nn.LazyLinear(3)
    seen = []
    layer.register_forward_pre_hook(lambda m, args: seen.append(type(m).__name__))
    layer(torch.ones(1, 2))
    assert seen == ["Linear"]


def test_functions_refuse_what_has_no_shape():
    p = nn.UninitializedParameter()
    for function in (
        lambda: torch.add(p, p),
        lambda: torch.zeros_like(p),
        lambda: torch.empty_like(p),
        lambda: torch.cat([torch.ones(1), p]),
        lambda: nn.functional.linear(torch.ones(1, 1), p),
    ):
        with pytest.raises(ValueError, match="uninitialized parameter"):
            function()
    p.materialize((2,))
    assert torch.zeros_like(p).shape == (2,)


def test_a_state_without_shapes_loads_into_a_layer_without_shapes():
    first, second = nn.LazyLinear(3), nn.LazyLinear(3)
    second.load_state_dict(first.state_dict())
    assert second.has_uninitialized_params()
    second(torch.ones(1, 2))
    first.load_state_dict(second.state_dict())
    assert torch.equal(first.weight, second.weight)
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        second.load_state_dict(nn.LazyLinear(3).state_dict())
