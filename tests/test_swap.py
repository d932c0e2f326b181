"""Parameters replaced whole: swap_tensors, and torch.__future__'s two ways of converting and loading."""

import gc
import weakref
from contextlib import contextmanager, nullcontext

import pytest

import hookgrad as torch
from hookgrad import __future__ as future
from hookgrad import nn


@contextmanager
def chosen(name):
    choose = getattr(future, f"set_{name}_module_params_on_conversion")
    choose(True)
    try:
        yield
    finally:
        choose(False)


def test_swap_exchanges_everything_but_who_they_are():
    a, b = torch.ones(2, requires_grad=True), nn.Parameter(torch.zeros(3, 2, 1, 1, 1, 1))
    a.note, seen = "a", []
    (a * 3).sum().backward()
    a.register_hook(seen.append)
    torch.utils.swap_tensors(a, b)
    assert type(a) is nn.Parameter and a.shape == (3, 2, 1, 1, 1, 1) and a.grad is None and not hasattr(a, "note")
    assert type(b) is torch.Tensor and b.note == "a" and b.grad.tolist() == [3.0, 3.0] and b.stride() == (1,)
    (b * 2).sum().backward()
    assert [g.tolist() for g in seen] == [[2.0, 2.0]] and b.grad.tolist() == [5.0, 5.0]


def test_swap_keeps_retained_gradients_with_the_history():
    a, b = torch.ones(2, requires_grad=True) * 2, torch.zeros(1)
    a.retain_grad()
    torch.utils.swap_tensors(a, b)
    b.sum().backward()
    assert b.grad.tolist() == [1.0, 1.0] and a.grad is None and not a.requires_grad


def test_what_cannot_be_swapped():
    class Slotted(torch.Tensor):
        __slots__ = ["q"]

    t = torch.ones(2)
    ref = weakref.ref(t)
    with pytest.raises(RuntimeError, match="Cannot swap t1 because it has weakref associated with it"):
        torch.utils.swap_tensors(t, torch.ones(1))
    with pytest.raises(RuntimeError, match="Cannot swap t2 because it has weakref associated with it"):
        torch.utils.swap_tensors(torch.ones(1), t)
    assert ref() is t
    with pytest.raises(RuntimeError, match="different slots"):
        torch.utils.swap_tensors(torch.ones(1), torch.ones(1).as_subclass(Slotted))
    x = torch.ones(2, requires_grad=True)
    y = x * x
    with pytest.raises(RuntimeError, match="Expected use_count of t1 to be 1 or 2"):
        torch.utils.swap_tensors(x, torch.ones(1))
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_one_count_serves_for_all(monkeypatch):
    """Who holds a tensor is found by a visit to all that there is: once, not for each tensor."""
    m, visits, objects = nn.Sequential(*[nn.Linear(1, 1) for _ in range(20)]), [], gc.get_objects
    m(torch.ones(1, 1)).sum().backward()
    kept = m[3].weight * m[3].weight
    monkeypatch.setattr(gc, "get_objects", lambda: visits.append(0) or objects())
    for parameter in m.parameters():
        if parameter is not m[3].weight:
            torch.utils.swap_tensors(parameter, nn.Parameter(torch.ones(1)))
    assert len(visits) == 1
    with pytest.raises(RuntimeError, match="Expected use_count of t1 to be 1 or 2"):
        torch.utils.swap_tensors(m[3].weight, torch.ones(1))
    del kept
    with chosen("swap"):
        m.double()
    assert len(visits) == 3 and m[3].weight.dtype is m[2].weight.dtype is torch.float64


def test_a_backward_that_reaches_a_swapped_leaf_fails():
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    torch.utils.swap_tensors(x, torch.zeros(1, requires_grad=True))
    with pytest.raises(RuntimeError, match="AccumulateGrad node that was poisoned by swap_tensors"):
        y.sum().backward()


def test_conversion_overwrites_by_choice():
    m = nn.Linear(1, 1)
    m(torch.ones(1, 1)).sum().backward()
    old = m.weight
    with chosen("overwrite"):
        m.double()
    assert m.weight is not old and old.dtype is torch.float32 and old.grad.dtype is torch.float32
    assert m.weight.dtype is m.weight.grad.dtype is torch.float64 and m.weight.requires_grad and m.weight.is_leaf


def test_conversion_swaps_by_choice():
    m = nn.Linear(1, 1)
    m(torch.ones(1, 1)).sum().backward()
    weight, grad = m.weight, m.weight.grad
    with chosen("swap"):
        m.double()
        assert m.weight is weight and weight.grad is grad and type(weight) is nn.Parameter
        assert weight.dtype is grad.dtype is torch.float64 and weight.requires_grad
        held = weakref.ref(m.weight)
        with pytest.raises(RuntimeError, match=r"_apply\(\): Couldn't swap Linear.weight"):
            m.float()
    assert held() is weight and weight.grad is grad and weight.dtype is torch.float64


@pytest.mark.parametrize("assign", [False, True])
def test_loading_swaps_by_choice(assign):
    m = nn.Linear(2, 1)
    weight, given = m.weight, {"weight": torch.ones(1, 2, dtype=torch.float64), "bias": torch.ones(1)}
    with chosen("swap"):
        m.load_state_dict(given, assign=assign)
    assert m.weight is weight and type(weight) is nn.Parameter and weight.tolist() == [[1.0, 1.0]]
    assert weight.dtype is (torch.float64 if assign else torch.float32)
    assert (weight.data_ptr() == given["weight"].data_ptr()) is assign


def test_loading_by_swapping_asks_module_load():
    class Doubles(nn.Parameter):
        def module_load(self, other, assign=False):
            return (other * 2).detach()

    class Same(nn.Parameter):
        def module_load(self, other, assign=False):
            return other

    m = nn.Linear(1, 1, bias=False)
    with chosen("swap"):
        m.weight = Doubles(torch.ones(1, 1))
        m.load_state_dict({"weight": torch.full((1, 1), 5.0)})
        assert m.weight.item() == 10
        m.weight = Same(torch.ones(1, 1))
        with pytest.raises(
            RuntimeError, match="While swapping the parameter.*module_load returned one of self or other"
        ):
            m.load_state_dict({"weight": torch.full((1, 1), 5.0)})


def test_to_empty_keeps_the_parameters():
    m = nn.Linear(2, 2)
    weight = m.weight
    assert m.to_empty(device="cpu") is m and m.weight is weight and weight.shape == (2, 2) and weight.requires_grad


def test_skip_init_draws_no_numbers():
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    m = nn.utils.skip_init(nn.Linear, 2, out_features=3)
    assert m.weight.shape == (3, 2) and isinstance(m.weight, nn.Parameter) and torch.rand(1) == wanted
    with pytest.raises(RuntimeError, match="Module must support a 'device' arg to skip initialization"):
        nn.utils.skip_init(nn.ReLU)
    with pytest.raises(TypeError, match="issubclass"):
        nn.utils.skip_init(3)


def test_the_class_of_what_is_loaded_is_asked_of_module_load():
    class Asked(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.Tensor.module_load:
                asked.append((types, kwargs))
                return torch.full((1, 1), 7.0)
            return super().__torch_function__(func, types, args, kwargs)

    m, asked = nn.Linear(1, 1, bias=False), []
    with chosen("swap"):
        m.load_state_dict({"weight": torch.ones(1, 1).as_subclass(Asked)})
    assert m.weight.item() == 7 and asked == [((Asked,), {"assign": False})]


def test_a_parametrization_that_swaps_takes_over_the_class():
    class Special(nn.Parameter):
        pass

    class Gives(nn.Module):
        def forward(self, x):
            return x

        def right_inverse(self, x):
            return Special(x.detach() * 2)

    for swapping in (False, True):
        m = nn.Linear(1, 1)
        was = m.weight
        with chosen("swap") if swapping else nullcontext():
            nn.utils.parametrize.register_parametrization(m, "weight", Gives())
        assert m.parametrizations.weight.original is was and type(was) is (Special if swapping else nn.Parameter)


def test_a_held_storage_goes_over_with_its_tensor():
    x, y = torch.ones(2), torch.zeros(3)
    of_x, of_y = x.untyped_storage(), y.untyped_storage()
    torch.utils.swap_tensors(x, y)
    assert x.untyped_storage() is of_y and y.untyped_storage() is of_x
    of_x.resize_(40)
    assert (x.untyped_storage().nbytes(), y.untyped_storage().nbytes(), y.tolist()) == (12, 40, [1, 1])
    held = weakref.ref(x)
    with pytest.raises(RuntimeError, match="Cannot swap t1 because it has weakref associated with it"):
        torch.utils.swap_tensors(x, y)
    assert held() is x
    module = nn.Linear(2, 2)
    storage = module.weight.untyped_storage()
    with chosen("swap"):
        module.double()
    assert module.weight.dtype is torch.float64 and storage.nbytes() == 16
