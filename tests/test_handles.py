"""Handles: what registering a hook gives, to take it away again."""

import copy
import weakref

import pytest

import hookgrad as torch
from hookgrad import nn


def test_handle_removes_once_and_again():
    module, fired = nn.Identity(), []
    handle = module.register_forward_hook(lambda m, args, out: fired.append(1))
    module(torch.ones(1))
    handle.remove()
    handle.remove()
    module(torch.ones(1))
    assert fired == [1]


def test_handle_is_a_context_manager():
    module, fired = nn.Identity(), []
    with module.register_forward_hook(lambda m, args, out: fired.append(1)) as handle:
        assert handle.id in module._forward_hooks
        module(torch.ones(1))
    module(torch.ones(1))
    assert fired == [1]


def test_handle_does_not_keep_the_module_alive():
    handle = nn.Identity().register_forward_hook(lambda m, args, out: None)
    assert handle.hooks_dict_ref() is None
    handle.remove()


def test_ids_come_from_one_counter():
    from hookgrad.utils.hooks import RemovableHandle

    first = nn.Identity().register_forward_hook(print)
    second = torch.ones(1, requires_grad=True).register_hook(print)
    assert second.id == first.id + 1
    assert RemovableHandle.next_id == second.id + 1


def test_handle_works_with_ordinary_dicts():
    from collections import OrderedDict

    from hookgrad.utils.hooks import RemovableHandle

    table, extra = OrderedDict(), OrderedDict()
    handle = RemovableHandle(table, extra_dict=extra)
    table[handle.id], extra[handle.id] = print, True
    handle.remove()
    assert table == extra == {}
    with pytest.raises(TypeError, match="cannot create weak reference to 'dict' object"):
        RemovableHandle({})


def test_handle_pickles_and_copies():
    import pickle

    from hookgrad.utils.hooks import RemovableHandle

    module = nn.Identity()
    handle = module.register_forward_hook(print)
    twin = copy.copy(handle)
    assert twin.id == handle.id
    module_again, handle_again = pickle.loads(pickle.dumps((module, handle)))
    assert handle_again.id in module_again._forward_hooks
    handle_again.remove()
    assert not module_again._forward_hooks
    twin.remove()
    assert not module._forward_hooks
    dead = pickle.loads(pickle.dumps(nn.Identity().register_forward_hook(print)))
    dead.remove()
    assert RemovableHandle.next_id > dead.id


def test_handle_can_be_subclassed():
    from hookgrad.utils.hooks import RemovableHandle

    class Named(RemovableHandle):
        name = "mine"

    module = nn.Identity()
    handle = Named(module._forward_hooks)
    module._forward_hooks[handle.id] = print
    handle.remove()
    assert not module._forward_hooks and handle.name == "mine"


def test_a_handle_shows_what_it_knows_in_its_dict():
    from collections import OrderedDict

    from hookgrad.utils.hooks import RemovableHandle

    table, extra = OrderedDict(), OrderedDict()
    handle = RemovableHandle(table, extra_dict=[extra])
    assert vars(handle).keys() == {"hooks_dict_ref", "id", "extra_dict_ref"}
    assert vars(handle)["hooks_dict_ref"]() is table and vars(handle)["id"] == handle.id
    assert [ref() for ref in vars(handle)["extra_dict_ref"]] == [extra]
    handle.note, handle.id = 1, handle.id + 1
    assert vars(handle)["note"] == 1 and vars(handle)["id"] == handle.id
    of_module = nn.Linear(1, 1).register_forward_hook(print)
    assert vars(of_module)["id"] == of_module.id and vars(of_module)["hooks_dict_ref"]() is None


def test_a_handle_refers_to_the_flags_of_its_hook():
    model = nn.ReLU()
    handle = model.register_forward_hook(print, with_kwargs=True)
    flags = model._forward_hooks_with_kwargs
    assert [ref() for ref in handle.extra_dict_ref] == [{handle.id: True}, {}]
    assert handle.extra_dict_ref[0]() is flags
    assert handle.__getstate__() == (model._forward_hooks, handle.id, (flags, {}))
    assert [ref() for ref in model.register_forward_pre_hook(print).extra_dict_ref] == [{}]
    assert model.register_full_backward_hook(print).extra_dict_ref == ()
    other, copied = copy.deepcopy((model, handle))
    assert copied.extra_dict_ref[0]() is other._forward_hooks_with_kwargs == flags
    copied.remove()
    assert not other._forward_hooks_with_kwargs and flags
    del model, flags
    assert not any(ref() for ref in handle.extra_dict_ref)


def test_a_handle_of_all_modules_hooks_refers_to_the_flags_that_pytorch_takes_away():
    from hookgrad.nn.modules import module

    handle = module.register_module_forward_hook(print, with_kwargs=True)
    pre = module.register_module_forward_pre_hook(print)
    try:
        assert [ref() for ref in handle.extra_dict_ref] == [module._global_forward_hooks_always_called] == [{}]
        assert pre.extra_dict_ref == ()
    finally:
        handle.remove(), pre.remove()


def test_a_handle_may_be_given_another_table():
    from hookgrad.utils.hooks import RemovableHandle

    class Elsewhere(RemovableHandle):
        def __init__(self, table):
            self.id = RemovableHandle.next_id
            RemovableHandle.next_id += 1
            self.hooks_dict_ref = weakref.ref(table)

    model, other = nn.ReLU(), nn.ReLU()
    handle = model.register_forward_hook(print)
    other._forward_hooks[handle.id] = print
    handle.hooks_dict_ref = lambda: other._forward_hooks
    handle.remove()
    assert len(model._forward_hooks) == 1 and not other._forward_hooks
    mine = Elsewhere(other._forward_hooks)
    other._forward_hooks[mine.id] = print
    assert mine.next_id == RemovableHandle.next_id == mine.id + 1
    mine.remove()
    assert not other._forward_hooks
    handle.hooks_dict_ref = 3
    with pytest.raises(TypeError):
        handle.remove()


def test_a_handle_of_several_hooks_has_no_id():
    handle = torch.autograd.graph.register_multi_grad_hook([torch.ones(1, requires_grad=True)], print)
    assert not any(hasattr(handle, name) for name in ("id", "hooks_dict_ref", "extra_dict_ref"))


def test_a_multi_grad_hook_waits_for_a_leaf_that_stopped_to_require_a_gradient():
    x, z, got = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True), []
    torch.autograd.graph.register_multi_grad_hook([x, z], got.append)
    for stop in (lambda: x.requires_grad_(False), x.detach_):
        y = x.requires_grad_() * z
        stop()
        y.sum().backward()
        assert [g.tolist() for g in got.pop()] == [[1, 1]] * 2
