"""What is found under a name of a module, when that changes: what a look-up remembers must not show."""

import pytest

import hookgrad as torch
from hookgrad import nn


def test_an_attribute_is_found_as_it_is_now():
    module = nn.Linear(2, 2)
    for value in (1, 2.0, "three", None):
        module.mark = value
        assert module.mark is value and module.mark is value
    module.__dict__["mark"] = 5
    assert module.mark == 5
    object.__setattr__(module, "mark", 6)
    assert module.mark == 6
    del module.mark
    for _ in range(2):
        with pytest.raises(AttributeError):
            _ = module.mark
    module.mark = 7
    assert module.mark == 7


def test_an_attribute_beside_a_parameter_hides_it_while_it_is_there():
    module = nn.Linear(2, 2)
    weight = module.weight
    for _ in range(2):
        assert module.weight is weight
        module.__dict__["weight"] = "hidden"
        assert module.weight == "hidden" and module.weight == "hidden"
        del module.__dict__["weight"]


def test_names_made_on_the_way_are_not_taken_for_each_other():
    module = nn.Linear(2, 2)
    for i in range(300):
        setattr(module, f"a{i}", i)
    assert [getattr(module, "".join(["a", str(i)])) for i in range(300)] == list(range(300))
    assert not any(hasattr(module, "".join(["b", str(i)])) for i in range(300))


def test_a_method_of_the_instance_is_called_from_when_it_is_there():
    module, x = nn.Linear(2, 2), torch.ones(1, 2)
    for _ in range(3):
        for _ in range(3):
            assert module(x).shape == (1, 2)
        module.forward = lambda x: "own"
        for _ in range(3):
            assert module(x) == "own"
        del module.forward
    net = nn.Sequential(nn.ReLU())
    for _ in range(3):
        net.train()
    net[0].train = lambda mode: seen.append(mode)
    seen = []
    net.eval()
    net.eval()
    assert seen == [False, False]
    net[0].count = 0
    for _ in range(3):
        net[0].count += 1
        net.eval()
    assert len(seen) == 5


def test_train_tells_a_class_and_a_dictionary_that_keep_the_mode():
    seen = []

    class Told(nn.Module):
        def __setattr__(self, name, value):
            if name == "training":
                seen.append(value)
            super().__setattr__(name, value)

    class Asked(nn.Module):
        def __init__(self):
            super().__init__()
            self._mode = True

        @property
        def training(self):
            return self.__dict__.get("_mode", True)

        @training.setter
        def training(self, value):
            self._mode = value

    net = nn.Sequential(Told(), nn.ReLU(), Asked())
    seen.clear()
    shown = net[1].__dict__
    net.eval()
    assert seen == [False] and shown["training"] is False and not net[2].training and not net[0].training
    net.train()
    assert seen == [False, True] and shown["training"] is True and net[2].training and net[1].training


def test_training_can_be_deleted_and_set_again():
    module = nn.ReLU()
    del module.training
    with pytest.raises(AttributeError, match="training"):
        _ = module.training
    module.train(False)
    assert module.training is False
