"""What classes and programs may rely on while a layer is constructed, whatever short ways its constructor takes."""

import gc
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn

MAKE = {
    "Linear": lambda cls=nn.Linear: cls(3, 4),
    "Conv2d": lambda cls=nn.Conv2d: cls(2, 4, 3),
    "ConvTranspose2d": lambda cls=nn.ConvTranspose2d: cls(2, 4, 3),
    "LayerNorm": lambda cls=nn.LayerNorm: cls(4),
    "GroupNorm": lambda cls=nn.GroupNorm: cls(2, 4),
    "BatchNorm1d": lambda cls=nn.BatchNorm1d: cls(4),
    "ReLU": lambda cls=nn.ReLU: cls(),
}


@pytest.mark.parametrize("name", MAKE)
def test_a_setattr_of_the_class_sees_every_setting_and_parameter(name):
    seen = []
    base = getattr(nn, name)

    class Mine(base):
        def __setattr__(self, key, value):
            seen.append(key)
            super().__setattr__(key, value)

    module = MAKE[name](Mine)
    plain = MAKE[name]()
    wanted = {*plain.__dict__, *plain._parameters} - {*nn.Module().__dict__}
    assert wanted <= set(seen)
    assert list(module._parameters) == list(plain._parameters)
    assert repr(module).replace("Mine", name) == repr(plain)


@pytest.mark.parametrize("name", MAKE)
def test_a_setattr_that_a_class_gets_later_is_called_from_then_on(name):
    class Mine(getattr(nn, name)):
        pass

    MAKE[name](Mine)
    seen = []
    Mine.__setattr__ = lambda self, key, value: (seen.append(key), nn.Module.__setattr__(self, key, value))[0]
    MAKE[name](Mine)
    assert seen
    count = len(seen)
    del Mine.__setattr__
    MAKE[name](Mine)
    assert len(seen) == count


@pytest.mark.parametrize("name", [name for name in MAKE if name != "ReLU"])
def test_methods_of_the_class_register_and_fill(name):
    seen = []

    class Mine(getattr(nn, name)):
        def register_parameter(self, key, value):
            seen.append(("parameter", key))
            super().register_parameter(key, value)

        def register_buffer(self, key, value, persistent=True):
            seen.append(("buffer", key))
            super().register_buffer(key, value, persistent)

        def reset_parameters(self):
            seen.append("reset")
            assert self.weight is not None

    module = MAKE[name](Mine)
    assert ("parameter", "weight") in seen and ("parameter", "bias") in seen and "reset" in seen
    assert [entry[1] for entry in seen if entry[0] == "buffer"] == list(module._buffers)
    if module._buffers:
        assert module.running_mean.tolist() == [0] * 4 and module.running_var.tolist() == [1] * 4
        assert module.num_batches_tracked.dtype == torch.int64 and module.num_batches_tracked.shape == ()


def test_a_property_of_the_class_takes_its_setting():
    class Mine(nn.LayerNorm):
        @property
        def eps(self):
            return self._eps * 2

        @eps.setter
        def eps(self, value):
            self._eps = value

    module = Mine(4, eps=0.5)
    assert module.eps == 1.0 and "eps" not in module.__dict__


def test_bases_between_a_layer_and_module_are_initialised():
    seen = []

    class Between(nn.Module):
        def __init__(self):
            seen.append(type(self).__name__)
            super().__init__()
            self.between = True

    for name in MAKE:

        class Mine(getattr(nn, name), Between):
            pass

        module = MAKE[name](Mine)
        assert module.between and len(seen) == 1
        seen.clear()


def test_an_init_put_into_module_is_called(monkeypatch):
    seen, original = [], nn.Module.__init__

    def init(self, *args, **kwargs):
        seen.append(type(self))
        original(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__init__", init, raising=False)
    for name in MAKE:
        MAKE[name]()
    assert seen == [getattr(nn, name) for name in MAKE]


def test_registration_hooks_see_parameters_and_buffers():
    seen = []
    handles = [
        nn.modules.module.register_module_parameter_registration_hook(lambda m, key, value: seen.append(key)),
        nn.modules.module.register_module_buffer_registration_hook(lambda m, key, value: seen.append(key)),
    ]
    nn.BatchNorm1d(2)
    for handle in handles:
        handle.remove()
    assert seen == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_dtype_and_device_reach_weight_bias_and_statistics(dtype):
    for name in MAKE:
        if name == "ReLU":
            continue
        arguments = {"Linear": (3, 4), "LayerNorm": (4,), "GroupNorm": (2, 4), "BatchNorm1d": (4,)}.get(name, (2, 4, 3))
        module = getattr(nn, name)(*arguments, device="cpu", dtype=dtype)
        floats = [t for t in [*module.parameters(), *module.buffers()] if t.is_floating_point()]
        assert len(floats) >= 2 and all(t.dtype == dtype for t in floats)
        assert all(p.requires_grad and p.is_leaf and type(p) is nn.Parameter for p in module.parameters())


def test_sizes_that_are_none_are_refused():
    with pytest.raises(RuntimeError, match="negative"):
        nn.Linear(3, -1)
    with pytest.raises(TypeError):
        nn.Linear("3", 4)
    with pytest.raises(TypeError):
        nn.LayerNorm((2.5,))


def test_a_layer_without_elements_warns_and_keeps_its_bias_at_zero():
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 3)
    assert layer.weight.shape == (3, 0) and layer.bias.tolist() == [0, 0, 0]


def test_first_values_are_those_of_the_functions_of_init():
    torch.manual_seed(3)
    conv = nn.Conv2d(3, 4, 3)
    torch.manual_seed(3)
    weight, bias = torch.empty(4, 3, 3, 3), torch.empty(4)
    nn.init.kaiming_uniform_(weight, a=5**0.5)
    nn.init.uniform_(bias, -1 / 27**0.5, 1 / 27**0.5)
    assert torch.equal(conv.weight, weight) and torch.equal(conv.bias, bias)


def test_a_function_mode_sees_the_first_values_drawn():
    from hookgrad.overrides import TorchFunctionMode

    seen = []

    class Mode(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.append(function.__name__)
            return function(*args, **(kwargs or {}))

    with Mode():
        nn.Linear(2, 3)
        nn.LayerNorm(2)
    assert {"empty", "uniform_", "fill_"} <= set(seen)


def test_padding_of_convolutions_is_repeated_from_the_last_dimension_on():
    assert nn.Conv2d(1, 1, 3, padding=(1, 2))._reversed_padding_repeated_twice == (2, 2, 1, 1)
    assert nn.Conv2d(1, 1, (2, 3), padding="same")._reversed_padding_repeated_twice == [1, 1, 0, 1]
    assert nn.Conv1d(1, 1, 3, padding="valid")._reversed_padding_repeated_twice == [0, 0]


@pytest.mark.parametrize("settings", [{}, {"dtype": torch.float64, "device": "cpu"}])
def test_what_a_layer_was_made_of_goes_with_it(settings):
    layers = [nn.BatchNorm1d(3, **settings), nn.Linear(2, 3, **settings), nn.LayerNorm(3, **settings)]
    parts = [weakref.ref(t) for layer in layers for t in [*layer.parameters(), *layer.buffers()]]
    assert len(parts) == 9
    del layers
    gc.collect()
    assert not any(part() is not None for part in parts)


def test_the_old_constructors_are_classes():
    def takes(x: torch.FloatTensor, y: torch.LongTensor | None = None) -> torch.Tensor | torch.BoolTensor:
        return x

    assert takes.__annotations__["y"].__args__[0] is torch.LongTensor and isinstance(torch.FloatTensor, type)
    assert isinstance(torch.ones(1), torch.FloatTensor | None) and not isinstance(torch.ones(1), torch.LongTensor)
    assert not issubclass(torch.FloatTensor, torch.Tensor) and repr(torch.FloatTensor) == "<class 'torch.FloatTensor'>"
    assert not isinstance(torch.ones(1), torch.cuda.FloatTensor) and torch.cuda.FloatTensor is torch.cuda.FloatTensor
    with pytest.raises(TypeError, match="type torch.cuda.FloatTensor not available. Torch not compiled with CUDA"):
        torch.cuda.FloatTensor(3)
