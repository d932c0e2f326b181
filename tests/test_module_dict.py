"""A module's __dict__, its live tables, and its attributes: they bear what PyTorch code does to them."""

import collections.abc
import copy
import io
import pickle
import sys
import weakref
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn

KEYS = [
    "training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_backward_pre_hooks", "_backward_hooks",
    "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called",
    "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks", "_modules",
]  # fmt: skip


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.child = nn.Linear(2, 2)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.note = "mine"

    def forward(self, x):
        return self.child(x * self.w)


def plus_one(module, args, output):
    return output + 1


def with_kwargs(module, args, kwargs):
    return None


# ---- The dictionary --------------------------------------------------------------------------------------------------


def test_dict_of_a_bare_module_prints_as_in_torch():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()

    assert str(Model().__dict__) == (
        "{'training': True, '_parameters': {}, '_buffers': {}, '_non_persistent_buffers_set': set(), "
        "'_backward_pre_hooks': OrderedDict(), '_backward_hooks': OrderedDict(), '_is_full_backward_hook': None, "
        "'_forward_hooks': OrderedDict(), '_forward_hooks_with_kwargs': OrderedDict(), "
        "'_forward_hooks_always_called': OrderedDict(), '_forward_pre_hooks': OrderedDict(), "
        "'_forward_pre_hooks_with_kwargs': OrderedDict(), '_state_dict_hooks': OrderedDict(), "
        "'_state_dict_pre_hooks': OrderedDict(), '_load_state_dict_pre_hooks': OrderedDict(), "
        "'_load_state_dict_post_hooks': OrderedDict(), '_modules': {}}"
    )


def test_keys_and_order():
    net = Net()
    assert list(net.__dict__) == [*KEYS, "note"]
    net.later = 1
    assert list(net.__dict__) == [*KEYS, "note", "later"]
    assert vars(net) is net.__dict__
    assert isinstance(net.__dict__, dict)


def test_tables_are_the_same_objects_everywhere():
    net = Net()
    for key in KEYS[1:]:
        assert getattr(net, key) is getattr(net, key)
        assert net.__dict__[key] is getattr(net, key)


def test_tables_are_live():
    net = Net()
    state = net.__dict__
    handle = net.register_forward_hook(plus_one, always_call=True)
    assert list(state["_forward_hooks"]) == [handle.id]
    assert dict(state["_forward_hooks_always_called"]) == {handle.id: True}
    net.other = nn.ReLU()
    assert list(state["_modules"]) == ["child", "other"]
    handle.remove()
    assert not state["_forward_hooks"] and not state["_forward_hooks_always_called"]


def test_training_both_ways():
    net = Net()
    assert net.__dict__["training"] is True
    net.eval()
    assert net.__dict__["training"] is False and net.child.training is False
    net.__dict__["training"] = True
    assert net.training is True and net.child.training is False


def test_mutators_of_the_dictionary_reach_the_module():
    net = Net()
    net.__dict__["_modules"] = {"relu": nn.ReLU()}
    assert repr(net.relu) == "ReLU()" and not hasattr(net, "child")
    net.__dict__.update(_parameters={}, extra=3)
    assert list(net.parameters()) == [] and net.extra == 3
    net.__dict__ |= {"training": False}
    assert net.training is False
    assert net.__dict__.setdefault("training", True) is False
    assert net.__dict__.setdefault("fresh", 5) == 5 and net.fresh == 5
    assert net.__dict__.pop("fresh") == 5 and not hasattr(net, "fresh")
    assert net.__dict__.pop("nothing", None) is None
    with pytest.raises(KeyError):
        net.__dict__.pop("nothing")
    del net.__dict__["extra"]
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'extra'"):
        _ = net.extra


def test_clear_and_update_restore_a_module():
    net = Net()
    net.register_forward_hook(plus_one)
    before = net(torch.ones(2))
    state = dict(net.__dict__)
    net.__dict__.clear()
    with pytest.raises(AttributeError, match="'Net' object has no attribute '_parameters'"):
        _ = net._parameters
    net.__dict__.update(state)
    assert torch.equal(net(torch.ones(2)), before)
    assert list(net.__dict__) == [*KEYS, "note"]


def test_a_state_goes_into_a_new_object():
    net = Net()
    net.register_forward_pre_hook(with_kwargs, with_kwargs=True)
    twin = Net.__new__(Net)
    assert twin.__dict__ == {}
    twin.__dict__.update(net.__dict__)
    assert twin._modules is net._modules and twin._forward_pre_hooks is net._forward_pre_hooks
    assert dict(twin._forward_pre_hooks_with_kwargs) == dict(net._forward_pre_hooks_with_kwargs)
    assert torch.equal(twin(torch.ones(2)), net(torch.ones(2)))


def test_dict_can_be_assigned():
    net, other = Net(), Net()
    net.__dict__ = other.__dict__
    assert net.w is other.w and net.note == "mine"


def test_the_dictionary_outlives_its_module():
    state = Net().__dict__
    state["training"] = False
    state["_parameters"]["w"] = None
    assert state["training"] is False and state["note"] == "mine"


def test_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.x = 3
            with pytest.raises(AttributeError, match=r"^cannot assign module before Module.__init__\(\) call$"):
                self.child = nn.ReLU()
            with pytest.raises(AttributeError, match=r"^cannot assign parameters before Module.__init__\(\) call$"):
                self.w = nn.Parameter(torch.ones(1))
            with pytest.raises(AttributeError, match=r"^cannot assign buffer before Module.__init__\(\) call$"):
                self.b = nn.Buffer(torch.ones(1))
            with pytest.raises(AttributeError, match="^'Early' object has no attribute '_modules'$"):
                _ = self._modules
            with pytest.raises(AttributeError, match="^'Early' object has no attribute '_backward_hooks'$"):
                self(1)
            assert self.__dict__ == {"x": 3}
            super().__init__()
            assert self.x == 3 and list(self.__dict__)[0] in ("x", "training")

    Early()


def test_init_twice_starts_anew():
    net = Net()
    net.register_forward_hook(plus_one)
    net.eval()
    nn.Module.__init__(net)
    assert net.training and not net._parameters and not net._modules and not net._forward_hooks
    assert net.note == "mine"


def test_init_takes_no_arguments_unless_asked_to():
    with pytest.raises(TypeError, match=r"Module.__init__\(\) takes 1 positional argument but 2 were given"):
        nn.Module(3)
    with pytest.raises(TypeError, match=r"Module.__init__\(\) got an unexpected keyword argument 'a'"):
        nn.Module(a=3)

    class Mixin:
        def __init__(self, value, *, more=0):
            self.value = value + more

    class Both(nn.Module, Mixin):
        call_super_init = True

    assert Both(3, more=4).value == 7


# ---- Tables of hooks -------------------------------------------------------------------------------------------------


def test_a_table_of_hooks_is_an_ordered_dict():
    table = Net()._forward_hooks
    assert isinstance(table, collections.abc.MutableMapping)
    assert isinstance(table, OrderedDict) and table.__class__ is OrderedDict
    assert repr(table) == "OrderedDict()" and not table and len(table) == 0
    table[5], table[3] = plus_one, print
    expected = OrderedDict([(5, plus_one), (3, print)])
    assert table == expected and expected == table and dict(table) == dict(expected)
    assert repr(table) == repr(expected)
    assert table != OrderedDict([(3, print), (5, plus_one)])
    assert table == {3: print, 5: plus_one}
    assert list(table) == [5, 3] and list(reversed(table)) == [3, 5]
    assert list(table.keys()) == [5, 3] and list(table.values()) == [plus_one, print]
    assert list(table.items()) == [(5, plus_one), (3, print)]
    assert repr(table.keys()) == "odict_keys([5, 3])"
    assert 5 in table and 4 not in table and "x" not in table and -1 not in table
    assert table[3] is print and table.get(3) is print and table.get(4) is None and table.get(4, 1) == 1
    table.move_to_end(5)
    assert list(table) == [3, 5]
    table.move_to_end(5, last=False)
    assert list(table) == [5, 3]
    assert table.setdefault(9, len) is len and table.setdefault(9, print) is len
    assert table.pop(9) is len and table.pop(9, "none") == "none"
    assert table.popitem() == (3, print) and table.popitem(last=False) == (5, plus_one)
    table.update({1: print})
    table.update([(2, len)])
    assert type(table.copy()) is OrderedDict and table.copy() == table
    table.clear()
    assert table == {}
    for wrong in (lambda: table[1], lambda: table.pop(1), lambda: table.popitem(), lambda: table.move_to_end(1)):
        with pytest.raises(KeyError):
            wrong()


def test_a_table_of_hooks_holds_callables():
    table = Net()._forward_hooks
    for key in (1, "x"):
        with pytest.raises(TypeError, match="a hook must be callable, not int"):
            table[key] = 3
    assert not table


def test_a_hook_has_any_key_that_can_be_hashed():
    net, calls = nn.Identity(), []
    table, keys = net._forward_hooks, ["x", (1, 2), None, -1, 2**70, 2**63, 1.5, 7]
    for key in keys:
        table[key] = lambda module, args, output, key=key: calls.append(key)
    handle = net.register_forward_hook(lambda *args: calls.append("registered"))
    net(1)
    assert calls == [*keys, "registered"] and list(table) == [*keys, handle.id]
    handle.remove()
    assert "x" in table and "y" not in table and table.get("y") is None and list(OrderedDict(table)) == keys
    table.move_to_end("x")
    del table[(1, 2)]
    assert table.pop(None) and table.popitem()[0] == "x" and list(table) == [-1, 2**70, 2**63, 1.5, 7]
    with pytest.raises(KeyError, match="'x'"):
        del table["x"]
    for wrong in (lambda: table[[1]], lambda: [1] in table, lambda: table.__setitem__([1], print)):
        with pytest.raises(TypeError, match="unhashable"):
            wrong()
    table.clear()
    assert not table and -1 not in table


def test_odd_keys_go_with_their_table():
    class Key:
        pass

    net, key, calls = nn.Identity(), Key(), []
    net._forward_hooks["x"] = print
    net._forward_hooks["y"] = lambda module, args, kwargs, output: calls.append(kwargs)
    net._forward_hooks_with_kwargs["y"] = True
    assert net._forward_hooks_with_kwargs == {"y": True}
    other = copy.deepcopy(net)
    del other._forward_hooks["x"]
    assert list(net._forward_hooks) == ["x", "y"] and other._forward_hooks_with_kwargs == {"y": True}
    other(1)
    assert calls == [{}]
    other._forward_hooks = {key: print}
    gone = weakref.ref(key)
    del key
    other._forward_hooks.clear()
    assert gone() is None


def test_hook_tables_show_themselves_as_what_pytorch_has():
    net = Net()
    assert repr(type(net._forward_hooks)) == "<class 'collections.OrderedDict'>"
    assert repr(type(net._forward_hooks_with_kwargs)) == "<class 'collections.OrderedDict'>"
    assert repr(type(net._parameters)) == "<class 'dict'>" and type(net._parameters).__name__ == "dict"
    assert type(type(net._forward_hooks)()) is OrderedDict and type(type(net._modules)(a=1)) is dict
    assert type(net._forward_hooks).fromkeys([1]) == OrderedDict({1: None}) and net._buffers.fromkeys([1]) == {1: None}


@pytest.mark.parametrize("name", ["_backward_hooks", "_backward_pre_hooks", "_forward_hooks", "_forward_pre_hooks"])
def test_a_module_without_a_table_cannot_be_called(name):
    net = nn.Identity()
    delattr(net, name)
    with pytest.raises(AttributeError, match=f"'Identity' object has no attribute '{name}'"):
        net(1)
    setattr(net, name, OrderedDict())
    assert net(1) == 1


def test_hooks_put_into_the_table_run():
    net, calls = nn.Identity(), []
    net._forward_hooks[7] = lambda module, args, output: calls.append("by hand")
    net(1)
    del net._forward_hooks[7]
    net(1)
    assert calls == ["by hand"]
    with pytest.raises(KeyError):
        del net._forward_hooks[7]


def test_hooks_cleared_and_replaced():
    net, calls = nn.Identity(), []
    net.register_forward_hook(lambda *a: calls.append("first"))
    net._forward_hooks.clear()
    net(1)
    net.register_forward_hook(lambda *a: calls.append("second"))
    net._forward_hooks = OrderedDict()
    net(1)
    assert calls == [] and net._forward_hooks == OrderedDict()
    handle = net.register_forward_hook(lambda *a: calls.append("third"))
    assert list(net.__dict__["_forward_hooks"]) == [handle.id]
    net(1)
    handle.remove()
    net(1)
    assert calls == ["third"]


def test_flags_are_mappings_of_their_own():
    net = nn.Identity()
    handle = net.register_forward_hook(lambda m, a, k, o: None, with_kwargs=True, always_call=True)
    other = net.register_forward_hook(plus_one)
    flags = net._forward_hooks_with_kwargs
    assert isinstance(flags, collections.abc.Mapping) and isinstance(flags, OrderedDict)
    assert dict(flags) == {handle.id: True} and other.id not in flags
    assert repr(net._forward_pre_hooks_with_kwargs) == "OrderedDict()"
    del flags[handle.id]
    with pytest.raises(TypeError):
        net(1)  # the hook lacks an argument now
    flags[handle.id] = True
    assert net(torch.zeros(1)).item() == 1.0
    assert list(net._forward_hooks_always_called) == [handle.id]


def test_a_table_does_not_change_while_it_is_walked():
    net = Net()
    net._forward_hooks.update({1: print, 2: print})
    with pytest.raises(RuntimeError, match="OrderedDict mutated during iteration"):
        for key in net._forward_hooks:
            del net._forward_hooks[key]
    with pytest.raises(RuntimeError, match="dictionary changed size during iteration"):
        for name in net._parameters:
            net._parameters[name + "x"] = None


# ---- Tables of names -------------------------------------------------------------------------------------------------


def test_a_table_of_names_is_a_dict():
    net = Net()
    table = net._modules
    assert isinstance(table, collections.abc.MutableMapping)
    assert isinstance(table, dict) and not isinstance(table, OrderedDict)
    match table:
        case {"child": found}:
            assert found is net.child
    assert repr(net.child._modules) == "{}" and repr(table) == repr({"child": net.child})
    assert repr(table.keys()) == "dict_keys(['child'])"
    assert table == {"child": net.child} and {"child": net.child} == table
    assert {**table} == dict(table) == table.copy() and type(table.copy()) is dict
    assert table.keys() & {"child", "x"} == {"child"} and table.keys() == {"child"}
    assert list(table.items()) == [("child", net.child)]
    assert ("child", net.child) in table.items() and net.child in table.values()
    assert table | {"x": 1} == {"child": net.child, "x": 1}
    with pytest.raises(KeyError, match="'nothing'"):
        table["nothing"]
    with pytest.raises(TypeError, match="a name must be a str, not int"):
        table[0] = nn.ReLU()


def test_names_assigned_in_the_table_are_attributes():
    net = Net()
    relu = nn.ReLU()
    net._modules["child"] = relu
    assert net.child is relu
    net._parameters["w"] = None
    assert net.w is None
    net._buffers["".join(["co", "unt"])] = torch.ones(1)  # a name that is not interned
    assert net.count.item() == 1.0
    net._modules["anything"] = "no module"
    assert net.anything == "no module"
    del net._modules["anything"]
    assert not hasattr(net, "anything")


def test_many_names():
    net = nn.Module()
    modules = [nn.ReLU() for _ in range(100)]
    for i, module in enumerate(modules):
        net._modules[str(i)] = module
    assert all(net._modules[str(i)] is module for i, module in enumerate(modules))
    for i in range(0, 100, 2):
        del net._modules[str(i)]
    assert list(net._modules) == [str(i) for i in range(1, 100, 2)]
    assert getattr(net, "51") is modules[51]


# ---- Attributes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("w", 3, "cannot assign 'int' as parameter 'w' (torch.nn.Parameter or None expected)"),
        (
            "w",
            torch.ones(2),
            "cannot assign 'torch.FloatTensor' as parameter 'w' (torch.nn.Parameter or None expected)",
        ),
        ("child", 3, "cannot assign 'int' as child module 'child' (torch.nn.Module or None expected)"),
        ("count", 3, "cannot assign 'int' as buffer 'count' (torch.nn.Buffer, torch.Tensor or None expected)"),
    ],
)
def test_wrong_values_for_what_is_registered(name, value, words):
    net = Net()
    with pytest.raises(TypeError) as e:
        setattr(net, name, value)
    assert str(e.value) == words


def test_what_is_assigned_moves_between_the_tables():
    net = Net()
    net.child = nn.Parameter(torch.ones(1))
    assert "child" in net._parameters and "child" not in net._modules
    net.note = nn.ReLU()
    assert "note" in net._modules and "note" not in net.__dict__
    net.w = None
    assert net._parameters["w"] is None
    net.count = torch.ones(3)
    assert net._buffers["count"].shape == (3,)
    net.scratch = torch.ones(3)
    assert net._non_persistent_buffers_set == {"scratch"}
    net.scratch = nn.Parameter(torch.ones(3))
    assert net._non_persistent_buffers_set == set() and "scratch" not in net._buffers
    net.kept = nn.Buffer(torch.ones(1))
    net.dropped = nn.Buffer(torch.ones(1), persistent=False)
    assert list(net._buffers) == ["count", "kept", "dropped"] and net._non_persistent_buffers_set == {"dropped"}
    net.plain = torch.ones(1)
    assert "plain" in net.__dict__


def test_deleting_attributes():
    net = Net()
    for name in ("w", "child", "count", "scratch", "note"):
        delattr(net, name)
        assert not hasattr(net, name)
    assert net._non_persistent_buffers_set == set()
    with pytest.raises(AttributeError):
        del net.note


def test_missing_attributes():
    with pytest.raises(AttributeError, match="^'Net' object has no attribute 'missing'$"):
        _ = Net().missing


def test_getattr_of_a_subclass_is_asked_last():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    wrapper = Wrapper(Net())
    assert isinstance(wrapper.inner, Net)
    assert wrapper.note == "mine" and wrapper.w is wrapper.inner.w
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nowhere'"):
        _ = wrapper.nowhere


def test_getattribute_and_setattr_of_a_subclass_are_honoured():
    class Loud(nn.Module):
        def __getattribute__(self, name):
            return (lambda x: x * 100) if name == "forward" else super().__getattribute__(name)

        def __setattr__(self, name, value):
            super().__setattr__(name, value * 2 if isinstance(value, int) and name == "n" else value)

    loud = Loud()
    loud.n = 4
    assert loud.n == 8 and loud(3) == 300


def test_setattr_of_a_subclass_hears_of_full_backward_hooks():
    class Heard(nn.Module):
        def __setattr__(self, name, value):
            heard.append((name, value))
            super().__setattr__(name, value)

    heard = []
    module = Heard()
    del heard[:]
    module.register_full_backward_hook(print)
    assert heard == [("_is_full_backward_hook", True)] and module._is_full_backward_hook is True


def test_object_setattr_hides_a_submodule():
    net = Net()
    hidden = nn.ReLU()
    object.__setattr__(net, "hidden", hidden)
    assert net.hidden is hidden and "hidden" not in net._modules and net.__dict__["hidden"] is hidden


def test_properties_and_class_attributes():
    class WithProperty(nn.Module):
        kind = "class"

        def __init__(self):
            super().__init__()
            self._size = 1

        @property
        def size(self):
            return self._size

        @size.setter
        def size(self, value):
            self._size = value

    module = WithProperty()
    module.size = 5
    assert module.size == 5 and "size" not in module.__dict__
    module.kind = "instance"
    assert module.kind == "instance" and WithProperty.kind == "class"


# ---- Calls -----------------------------------------------------------------------------------------------------------


def test_a_property_that_lacks_something_is_what_is_missing():
    class Lacks(nn.Module):
        @property
        def width(self):
            return self.no_such

    with pytest.raises(AttributeError, match="'Lacks' object has no attribute 'width'"):
        print(Lacks().width)
    m = Lacks()
    m._parameters["width"] = nn.Parameter(torch.ones(2))
    assert m.width.tolist() == [1.0, 1.0]


def test_forward_assigned_to_the_instance():
    net = nn.Linear(2, 2)
    net.forward = lambda x: "instance"
    assert net(1) == "instance"
    net.register_forward_hook(lambda m, a, out: out + " hooked")
    assert net(1) == "instance hooked"
    del net.forward
    net._forward_hooks.clear()
    assert net(torch.ones(2)).shape == (2,)


def test_forward_assigned_to_the_class():
    class Model(nn.Module):
        def forward(self, x):
            return x

    model = Model()
    assert model(1) == 1
    Model.forward = lambda self, x: x + 1
    assert model(1) == 2
    Model.forward = staticmethod(lambda x: x + 2)
    assert model(1) == 3
    Model.forward = classmethod(lambda cls, x: (cls is Model, x))
    assert model(1) == (True, 1)


def test_call_overridden_and_assigned_later():
    class Counted(nn.Linear):
        calls = 0

        def __call__(self, *args, **kwargs):
            Counted.calls += 1
            return super().__call__(*args, **kwargs)

    counted = Counted(2, 2)
    assert counted(torch.ones(2)).shape == (2,) and counted(input=torch.ones(2)).shape == (2,)
    assert Counted.calls == 2

    class Model(nn.Module):
        def forward(self, x, *, times=1):
            return x * times

    model = Model()
    assert model(2, times=3) == 6
    Model.__call__ = lambda self, x: "mine"
    assert model(2) == "mine"
    assert nn.Module.__call__(model, 2, times=4) == 8
    del Model.__call__
    assert model(2) == 2


def test_parts_of_the_call_under_their_names():
    seen = []

    class Own(nn.Module):
        def _call_impl(self, *args, **kwargs):
            seen.append("own")
            return super()._call_impl(*args, **kwargs)

        def forward(self, x):
            return x * 2

    m = Own()
    m.register_forward_hook(lambda m, args, out: seen.append("hook"))
    assert nn.Module.__call__ is nn.Module._wrapped_call_impl
    assert m(1) == 2 and m._wrapped_call_impl(1) == 2 and nn.Sequential(m)(1) == 2
    assert seen == ["own", "hook"] * 3
    seen.clear()
    assert m._slow_forward(1) == 2 and not seen
    plain = nn.ReLU()
    plain.register_forward_hook(lambda m, args, out: out + 5)
    assert plain._call_impl(torch.ones(1)).item() == plain._wrapped_call_impl(torch.ones(1)).item() == 6
    assert plain.compile() is None and plain(torch.ones(1)).item() == 6


def test_arguments_in_every_number():
    class Echo(nn.Module):
        def forward(self, *args, **kwargs):
            return args, kwargs

    echo = Echo()
    for n in (0, 1, 2, 9, 20):
        names = {f"k{i}": i for i in range(n)}
        assert echo(*range(n)) == (tuple(range(n)), {})
        assert echo(*range(n), **names) == (tuple(range(n)), names)
    echo.register_forward_hook(lambda m, args, out: None)
    for n in (0, 1, 2, 9, 20):
        names = {f"k{i}": i for i in range(n)}
        assert echo(*range(n), **names) == (tuple(range(n)), names)


def test_module_without_forward():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r'^Module \[Empty\] is missing the required "forward" function$'):
        Empty()(1)


def test_forward_of_a_layer_is_a_method():
    layer, x = nn.Linear(2, 3), torch.ones(2)
    expected = layer(x)
    assert torch.equal(nn.Linear.forward(layer, x), expected)
    assert torch.equal(layer.forward(x), expected)
    assert torch.equal(layer(input=x), expected)
    assert layer.forward.__self__ is layer

    class Double(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    double = Double(2, 3)
    double.load_state_dict(layer.state_dict())
    assert torch.equal(double(x), expected * 2)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m, x: m(), r"Linear.forward\(\) missing 1 required positional argument: 'input'"),
        (lambda m, x: m(x, x), r"Linear.forward\(\) takes 2 positional arguments but 3 were given"),
        (lambda m, x: m(inpt=x), r"Linear.forward\(\) got an unexpected keyword argument 'inpt'"),
        (lambda m, x: m(x, input=x), r"Linear.forward\(\) got multiple values for argument 'input'"),
    ],
)
def test_wrong_arguments_of_a_layer(call, words):
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=words):
        call(layer, torch.ones(2))
    layer.register_forward_hook(lambda m, a, o: None)
    with pytest.raises(TypeError, match=words):
        call(layer, torch.ones(2))


def test_forward_of_a_layer_needs_a_module():
    with pytest.raises(
        TypeError, match="forward\\(\\) of the layer 'linear' needs a Module as its first argument, not int"
    ):
        nn.Linear.forward(3, torch.ones(2))


def test_forward_of_a_layer_says_what_it_is():
    import inspect

    layer = nn.Linear(2, 2)
    assert repr(layer.forward) == f"<bound method Linear.forward of {layer!r}>"
    assert list(inspect.signature(layer.forward).parameters) == ["input"]
    assert list(inspect.signature(nn.Linear.forward).parameters) == ["self", "input"]


def test_a_module_inside_itself_runs_out_of_recursion_not_of_stack():
    loop = nn.Sequential()
    loop._modules["0"] = loop
    with pytest.raises(RecursionError):
        loop(torch.ones(1))
    loop.register_forward_hook(plus_one)
    with pytest.raises(RecursionError):
        loop(torch.ones(1))
    loop._modules.clear()
    deep = nn.Identity()
    for _ in range(100_000):
        deep = nn.Sequential(deep)
    with pytest.raises(RecursionError):
        deep(torch.ones(1))


def test_the_base_class_may_be_patched():
    calls, call, getattribute, setattribute = [], nn.Module.__call__, nn.Module.__getattr__, nn.Module.__setattr__
    model = nn.Sequential(nn.ReLU())
    try:
        nn.Module.__call__ = lambda self, *args: calls.append(type(self).__name__) or call(self, *args)
        model(torch.ones(1))
        nn.Module.__getattr__ = lambda self, name: 42 if name == "answer" else getattribute(self, name)
        assert model.answer == 42
        nn.Module.__setattr__ = lambda self, name, value: setattribute(self, name, value * 2)
        model.twice = 4
    finally:
        nn.Module.__call__, nn.Module.__getattr__, nn.Module.__setattr__ = call, getattribute, setattribute
    model(torch.ones(1))
    assert calls == ["Sequential", "ReLU"] and model.twice == 8
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'answer'"):
        _ = model.answer


# ---- Classes ---------------------------------------------------------------------------------------------------------


def test_mixins_generics_and_abstract_classes():
    import abc
    import typing

    class Abstract(nn.Module, abc.ABC):
        @abc.abstractmethod
        def forward(self, x): ...

    class Concrete(Abstract):
        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="Can't instantiate abstract class Abstract"):
        Abstract()
    assert Concrete()(1) == 1

    class Generic(nn.Module, typing.Generic[typing.TypeVar("T")]):
        def forward(self, x):
            return x + 1

    assert Generic[int]()(1) == 2

    class Mixin:
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.mixed = 1

    class Both(Mixin, nn.Module):
        def forward(self, x):
            return self.mixed + x

    both = Both()
    assert both(1) == 2 and both.__dict__["mixed"] == 1 and list(both.__dict__)[:17] == KEYS

    class Slotted(nn.Module):
        __slots__ = ("size",)

        def forward(self):
            return self.size

    slotted = Slotted()
    slotted.size = 3
    assert slotted() == 3


def test_a_class_attribute_does_not_hide_the_mode():
    class Stubborn(nn.Module):
        training = False

        def forward(self):
            return self.training

    module = Stubborn()
    assert module() is True and module.eval()() is False and module.train()() is True


def test_keywords_of_a_class_statement():
    class Tagged(nn.Module):
        def __init_subclass__(cls, tag=None, **others):
            super().__init_subclass__(**others)
            cls.tag = tag

    class One(Tagged, tag="one"):
        def forward(self):
            return self.tag

    assert One()() == "one"
    with pytest.raises(TypeError):
        type("Wrong", (nn.Module,), {}, tag="two")


# ---- Copies ----------------------------------------------------------------------------------------------------------


def test_copy_shares_the_tables():
    net = Net()
    net.register_forward_hook(plus_one, always_call=True)
    twin = copy.copy(net)
    assert type(twin) is Net and twin is not net
    assert twin._parameters is net._parameters and twin._forward_hooks is net._forward_hooks
    assert twin.__dict__ is not net.__dict__ and twin.note == "mine"
    twin.note = "its own"
    assert net.note == "mine"


def test_deepcopy_copies_the_tables_and_keeps_the_hooks():
    net = Net()
    first = net.register_forward_hook(plus_one, always_call=True)
    net.register_forward_pre_hook(with_kwargs, with_kwargs=True, prepend=True)
    net._is_full_backward_hook = True
    twin = copy.deepcopy(net)
    assert twin.w is not net.w and torch.equal(twin.w, net.w) and type(twin.w) is nn.Parameter
    assert twin.child is not net.child and twin.child.weight is not net.child.weight
    assert twin._forward_hooks is not net._forward_hooks and twin._forward_hooks == net._forward_hooks
    assert dict(twin._forward_hooks_always_called) == {first.id: True}
    assert dict(twin._forward_pre_hooks_with_kwargs) == dict(net._forward_pre_hooks_with_kwargs)
    assert twin._is_full_backward_hook is True and twin._non_persistent_buffers_set == {"scratch"}
    assert torch.equal(twin(torch.ones(2)), net(torch.ones(2)))
    first.remove()
    assert first.id in twin._forward_hooks
    assert list(twin.__dict__) == list(net.__dict__)


def test_deepcopy_copies_callables_as_a_dict_does():
    class Counter:
        def __init__(self):
            self.n = 0

        def __call__(self, module, args, output):
            self.n += 1

    net, counter = nn.Identity(), Counter()
    net.register_forward_hook(counter)
    twin = copy.deepcopy(net)
    twin(1)
    assert counter.n == 0 and next(iter(twin._forward_hooks.values())).n == 1


def test_deepcopy_of_a_module_that_hooks_itself():
    class Selfish(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0
            self.register_forward_hook(self.count)

        def count(self, module, args, output):
            self.calls += 1

        def forward(self, x):
            return x

    module = Selfish()
    twin = copy.deepcopy(module)
    twin(1)
    assert (module.calls, twin.calls) == (0, 1)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol):
    net = Net()
    handle = net.register_forward_hook(plus_one, always_call=True)
    net.register_forward_pre_hook(with_kwargs, with_kwargs=True)
    net.eval()
    twin = pickle.loads(pickle.dumps(net, protocol))
    assert twin.training is False and twin.note == "mine"
    assert torch.equal(twin(torch.ones(2)), net(torch.ones(2)))
    assert list(twin._forward_hooks) == [handle.id] and list(twin._forward_hooks_always_called) == [handle.id]
    assert list(twin.__dict__) == list(net.__dict__)


def test_the_state_of_a_module_without_hooks_is_made_of_dicts():
    import pickletools

    names = {arg for op, arg, _ in pickletools.genops(pickle.dumps(Net(), 2)) if op.name == "GLOBAL"}
    assert not {name for name in names if "_C" in name}
    state = copy.deepcopy(dict(Net().__dict__))
    assert type(state["_parameters"]) is dict and type(state["_forward_hooks"]) is OrderedDict


def test_copies_of_the_tables_themselves():
    net = Net()
    net.register_forward_hook(plus_one, always_call=True)
    for again in (copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
        assert again(net._forward_hooks) == net._forward_hooks
        assert again(net._forward_hooks) is not net._forward_hooks
        assert dict(again(net._forward_hooks_always_called)) == dict(net._forward_hooks_always_called)
        assert list(again(net._buffers)) == ["count", "scratch"]
    assert copy.copy(net._modules)["child"] is net.child


def test_looking_at_a_dictionary_leaves_no_reference_behind():
    net = Net()
    before = sys.getrefcount(net)
    for _ in range(10):
        assert net.__dict__ and net._forward_hooks is not None
    assert sys.getrefcount(net) == before


def test_a_module_with_hooks_is_saved_and_loaded():
    net, file = nn.Identity(), io.BytesIO()
    net.register_forward_hook(plus_one)
    net._forward_hooks["x"] = plus_one
    torch.save(net, file)
    file.seek(0)
    other = torch.load(file, weights_only=False)
    assert list(other._forward_hooks) == list(net._forward_hooks) and other(1) == net(1)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(file)
