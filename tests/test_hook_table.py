"""A table of hooks keeps its order, however hooks come and go."""

import gc
import random
import weakref
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn


def is_what(table, model):
    assert list(table.items()) == list(model.items())
    assert all(table[key] is hook for key, hook in model.items())
    assert -1 not in table
    assert max(model, default=0) + 1 not in table


@pytest.mark.parametrize("seed", range(8))
def test_a_table_of_hooks_is_an_ordered_dict_whatever_is_done_to_it(seed):
    pick = random.Random(seed)
    module, model, handles = nn.Identity(), OrderedDict(), {}
    table = module._forward_hooks

    def hook(*args):
        pass

    for _ in range(300):
        what = pick.choice(["register", "register", "prepend", "first", "last", "any", "move", "put"])
        if what in ("register", "prepend"):
            handle = module.register_forward_hook(hook, prepend=what == "prepend")
            handles[handle.id] = handle
            model[handle.id] = hook
            model.move_to_end(handle.id, last=what == "register")
        elif not model:
            continue
        elif what == "move":
            key, last = pick.choice(list(model)), pick.random() < 0.5
            table.move_to_end(key, last=last)
            model.move_to_end(key, last=last)
        elif what == "put":  # an old id comes back, at the end
            key = pick.randrange(max(model) + 1)
            table[key] = model[key] = print
        else:
            keys = list(model)
            key = keys[0] if what == "first" else keys[-1] if what == "last" else pick.choice(keys)
            del model[key]
            if key in handles:
                handles.pop(key).remove()
            else:
                del table[key]
        is_what(table, model)
    for handle in handles.values():
        handle.remove()
    assert set(table) == set(model) - set(handles)


def test_hooks_run_in_the_order_they_are_left_in_after_the_first_have_gone():
    module, seen = nn.Identity(), []
    handles = [module.register_forward_hook(lambda m, a, o, i=i: seen.append(i)) for i in range(20)]
    for handle in handles[:15]:
        handle.remove()
    for i in range(20, 40):
        module.register_forward_hook(lambda m, a, o, i=i: seen.append(i))
    module.register_forward_hook(lambda m, a, o: seen.append("first"), prepend=True)
    module(1)
    assert seen == ["first", *range(15, 40)]


def test_flags_kept_for_hooks_to_come_are_collected_with_the_table():
    """The keys under which a table keeps flags may be anything, what holds the module included."""

    class Key:
        pass

    m, key = nn.ReLU(), Key()
    key.module, gone = m, weakref.ref(key)
    m._forward_hooks[key] = print
    m._forward_hooks_with_kwargs[key] = True
    del m._forward_hooks[key]
    assert key not in m._forward_hooks_with_kwargs
    del m, key
    gc.collect()
    assert gone() is None


def test_a_key_may_replace_the_table_whose_flags_are_being_read():
    class Key:
        armed = False

        def __hash__(self):
            if Key.armed:
                Key.armed = False
                m._forward_hooks = OrderedDict()
            return 1

    m, keys = nn.ReLU(), [Key() for _ in range(3)]
    for key in keys:
        m._forward_hooks[key] = print
        m._forward_hooks_with_kwargs[key] = True
    kept = OrderedDict({9: print})
    Key.armed = True
    m._forward_hooks = kept
    assert list(m._forward_hooks) == [9] and not Key.armed


def test_a_table_of_flags_may_be_told_to_move_what_it_has():
    m = nn.ReLU()
    first, second = (m.register_forward_hook(lambda m, a, k, o: None, with_kwargs=True) for _ in range(2))
    m._forward_hooks_with_kwargs.move_to_end(first.id)
    assert list(m._forward_hooks_with_kwargs) == list(m._forward_hooks) == [first.id, second.id]
    with pytest.raises(KeyError):
        m._forward_hooks_with_kwargs.move_to_end(-1)
    with pytest.raises(AttributeError, match="'dict' object has no attribute 'move_to_end'"):
        m._parameters.move_to_end("x")


def test_a_table_and_a_dict_make_an_ordered_dict():
    m = nn.ReLU()
    handle = m.register_forward_hook(print)
    for made in (m._forward_hooks | {0: min}, {0: min} | m._forward_hooks, m._forward_hooks | m._forward_hooks):
        assert type(made) is OrderedDict and made[handle.id] is print
    assert type({} | m._parameters) is dict


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_hook_put_into_a_legacy_table_by_hand_is_a_legacy_one():
    """It sees the gradients of the last node (bias, input, weight), as PyTorch's does, and not of the module's input."""
    m, seen = nn.Linear(2, 2), []
    m.register_backward_hook(lambda m, gi, go: seen.append(["first", len(gi)]))
    m._backward_hooks[99] = lambda m, gi, go: seen.append(["by hand", len(gi)])
    m(torch.ones(1, 2)).sum().backward()
    key, hook = m._backward_hooks.popitem()
    m._backward_hooks[key] = hook
    m(torch.ones(1, 2)).sum().backward()
    assert seen == [["first", 3], ["by hand", 3]] * 2
    m._backward_hooks = OrderedDict([(5, hook)])
    m(torch.ones(1, 2)).sum().backward()
    assert seen[4:] == [["by hand", 3]]
