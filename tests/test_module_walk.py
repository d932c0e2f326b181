"""Going through a tree of modules, where classes in it have their own ways, and where the tree changes meanwhile."""

import gc
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn


def names(pairs):
    return [name for name, _ in pairs]


class Listed(nn.Module):
    """Gives one module under a name of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(1, 1)
        self.asked = []

    def named_modules(self, memo=None, prefix="", remove_duplicate=True):
        self.asked.append((memo, prefix, remove_duplicate))
        yield prefix + "!", self.inner


def test_a_childs_own_named_modules_is_asked_with_the_memo_and_the_path():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(Listed()))
    assert names(net.named_modules()) == ["", "0", "1", "1.0!"]
    memo, prefix, unique = net[1][0].asked[0]
    assert (prefix, unique) == ("1.0", True)
    assert {net, net[0], net[1]} <= memo
    assert list(net.modules()) == [net, net[0], net[1], net[1][0].inner]
    assert names(net.named_parameters()) == ["1.0!.weight", "1.0!.bias"]
    assert list(net.parameters()) == list(net[1][0].inner.parameters())


def test_a_roots_own_named_modules_is_what_modules_and_parameters_follow():
    net = Listed()
    assert list(net.modules()) == [net.inner]
    assert names(net.named_parameters(prefix="p")) == ["p!.weight", "p!.bias"]
    assert len(list(net.parameters())) == 2


def test_an_own_named_parameters_is_what_parameters_follows():
    class One(nn.Linear):
        def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
            yield "only", self.bias

    net = One(1, 1)
    assert list(net.parameters()) == [net.bias]
    assert len(list(nn.Sequential(net).parameters())) == 2


def test_an_override_may_call_the_base_class():
    class Loud(nn.Sequential):
        def named_modules(self, *args, **kwargs):
            for name, module in super().named_modules(*args, **kwargs):
                yield name.upper(), module

    assert names(Loud(nn.ReLU()).named_modules(prefix="a")) == ["A", "A.0"]


def test_the_memo_given_is_used_and_filled():
    net = nn.Sequential(nn.ReLU(), nn.Tanh())
    memo = {net[0]}
    assert names(net.named_modules(memo=memo, prefix="p")) == ["p", "p.1"]
    assert memo == {net, net[0], net[1]}


def test_shared_modules_and_parameters_come_once_unless_told_otherwise():
    linear = nn.Linear(1, 1)
    net = nn.Sequential(linear, linear, None)
    assert names(net.named_modules()) == ["", "0"]
    assert names(net.named_modules(remove_duplicate=False)) == ["", "0", "1"]
    assert len(list(net.modules())) == 2
    assert len(list(net.parameters())) == 2
    assert names(net.named_parameters(remove_duplicate=False)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    net[0].other = linear.weight
    assert names(net.named_parameters()) == ["0.weight", "0.bias"]


def test_modules_that_say_they_are_equal_count_as_the_same():
    class Equal(nn.Module):
        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

    assert names(nn.Sequential(Equal(), nn.ReLU(), Equal()).named_modules()) == ["", "0", "1"]


def test_without_recursion_only_what_the_module_itself_has():
    net = nn.Sequential(nn.BatchNorm1d(2))
    assert list(net.parameters(recurse=False)) == []
    assert names(net[0].named_parameters("p", recurse=False)) == ["p.weight", "p.bias"]
    assert names(net.named_buffers()) == ["0.running_mean", "0.running_var", "0.num_batches_tracked"]
    assert len(list(net[0].buffers(recurse=False))) == 3


def test_a_module_replaced_during_the_walk_is_the_one_that_comes():
    net = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU())
    seen = []
    for name, module in net.named_modules():
        seen.append(type(module).__name__)
        if name in ("0", "1"):
            net[int(name) + 1] = nn.Tanh()
        del module
    assert seen == ["Sequential", "ReLU", "Tanh", "Tanh"]


def test_a_child_added_during_the_walk_is_an_error():
    net = nn.Sequential(nn.ReLU(), nn.ReLU())
    with pytest.raises(RuntimeError, match="during iteration"):
        for name, _ in net.named_modules():
            net.add_module("more" + name, nn.ReLU())


def test_a_module_before_its_init_has_no_modules():
    class Bare(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match="_modules"):
        list(Bare().named_modules())
    with pytest.raises(AttributeError, match="_parameters"):
        list(Bare().parameters())
    with pytest.raises(AttributeError, match="_modules"):
        Bare().train()


def test_a_module_inside_itself_is_walked_once_and_without_a_memo_ends_in_an_error():
    net = nn.Sequential(nn.ReLU())
    net.add_module("self", net)
    assert names(net.named_modules()) == ["", "0"]
    with pytest.raises(RecursionError):
        list(net.named_modules(remove_duplicate=False))
    del net._modules["self"]


def test_a_walk_that_is_asked_from_within_itself_says_so():
    class Asking(nn.Module):
        def named_modules(self, memo=None, prefix="", remove_duplicate=True):
            yield prefix, next(walk)

    walk = nn.Sequential(Asking()).named_modules()
    next(walk)
    with pytest.raises(ValueError, match="already executing"):
        next(walk)


def test_a_walk_is_collected_with_what_it_holds():
    net = nn.Sequential(nn.ReLU())
    net.walk = net.named_modules()
    next(net.walk)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


# ---- train() --------------------------------------------------------------------------------------------------------


def test_train_asks_a_childs_own_train():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            self.told = mode
            return super().train(False)

    net = nn.Sequential(Frozen(1), nn.Sequential(Frozen(1), nn.ReLU()))
    assert net.train() is net
    assert (net.training, net[0].training, net[1].training) == (True, False, True)
    assert (net[1][0].training, net[1][1].training, net[1][0].told) == (False, True, True)
    net.eval()
    assert (net[1][1].training, net[0].told) == (False, False)


def test_a_train_put_in_place_of_the_base_classs_is_asked_of_every_module(monkeypatch):
    train, told = nn.Module.train, []
    monkeypatch.setattr(
        nn.Module, "train", lambda self, mode=True: told.append(type(self).__name__) or train(self, mode)
    )
    nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval()
    assert told == ["Sequential", "Linear", "ReLU"]


def test_train_follows_the_children_a_class_gives():
    class Hiding(nn.Sequential):
        def named_children(self):
            yield "0", self[0]

    net = nn.Sequential(Hiding(nn.ReLU(), nn.ReLU()))
    net.eval()
    assert (net[0][0].training, net[0][1].training) == (False, True)


def test_train_tells_a_child_that_is_there_twice_once():
    class Counting(nn.Module):
        count = 0

        def train(self, mode=True):
            Counting.count += 1
            return super().train(mode)

    child = Counting()
    nn.Sequential(child, child, nn.Sequential(child)).train()
    assert Counting.count == 2


def test_train_sets_the_attribute_as_the_class_has_it():
    class Noting(nn.Module):
        def __setattr__(self, name, value):
            if name == "training":
                self.__dict__["noted"] = value
            super().__setattr__(name, value)

    net = nn.Sequential(Noting())
    net.eval()
    assert net[0].noted is False
    assert net[0].__dict__["training"] is False
    with pytest.raises(ValueError, match="boolean"):
        net.train(1)


# ---- Registering ----------------------------------------------------------------------------------------------------


def test_an_own_register_parameter_is_asked_on_assignment():
    class Noting(nn.Module):
        def register_parameter(self, name, param):
            self.__dict__["noted"] = name
            super().register_parameter(name, param)

        def register_buffer(self, name, tensor, persistent=True):
            self.__dict__["buffer"] = (name, persistent)
            super().register_buffer(name, tensor, persistent)

    net = Noting()
    net.weight = nn.Parameter(torch.ones(1))
    net.mean = nn.Buffer(torch.ones(1))
    assert (net.noted, net.buffer) == ("weight", ("mean", True))
    assert (list(net._parameters), list(net._buffers)) == (["weight"], ["mean"])


def test_a_class_attribute_or_a_getattr_of_its_own_counts_as_taken():
    class Taken(nn.Module):
        scale = 1

        def __getattr__(self, name):
            if name == "made":
                return 3
            return super().__getattr__(name)

    net = Taken()
    for name in ("scale", "made", "forward"):
        with pytest.raises(KeyError, match="already exists"):
            net.register_parameter(name, None)
    net.register_parameter("free", None)
    assert net.free is None


def test_a_named_modules_of_ones_own_is_asked_with_the_whole_path():
    asked = []

    class Own(nn.Module):
        def named_modules(self, memo=None, prefix="", remove_duplicate=True):
            asked.append(prefix)
            return super().named_modules(memo, prefix, remove_duplicate)

    net = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(Own())), Own())
    for walk in (net.modules, net.parameters, net.buffers, net.named_modules, net.named_parameters):
        asked.clear()
        list(walk())
        assert asked == ["0.1.0", "1"]
    asked.clear()
    list(net.named_parameters(prefix="é"))
    assert asked == ["é.0.1.0", "é.1"]


def test_keys_and_paths_outside_ascii():
    net = nn.Sequential()
    net.add_module("größe", nn.Linear(1, 1, bias=False))
    assert [name for name, _ in net.named_modules()] == ["", "größe"]
    state = net.state_dict(prefix="模.")
    assert list(state) == ["模.größe.weight"] and list(state._metadata) == ["模", "模.größe"]


@pytest.mark.parametrize(
    "name", ["parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules"]
)
def test_a_walk_is_a_generator_to_whoever_looks(name):
    walk = getattr(nn.BatchNorm1d(2), name)()
    assert repr(type(walk)) == "<class 'generator'>" and repr(walk).startswith(f"<generator object Module.{name} at 0x")
    first = walk.send(None)
    assert isinstance(first, tuple) == name.startswith("named_")
    walk.close()
    assert list(walk) == []
    with pytest.raises(StopIteration):
        walk.send(None)
    for thrown in ((KeyError,), (KeyError, "x"), (KeyError("x"),)):
        with pytest.raises(KeyError):
            walk.throw(*thrown)
