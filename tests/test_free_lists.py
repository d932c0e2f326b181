"""Dead tensors, nodes and small storages wait for the next ones: nothing of what they were may come back with them."""

import gc
import threading
import weakref

import pytest

import hookgrad as torch


def many(make):
    """As many as the lists hold at least, so that whatever waits there is used."""
    return [make() for _ in range(600)]


def test_a_new_tensor_has_nothing_of_a_dead_one():
    for _ in range(10):
        old = torch.ones(3, requires_grad=True)
        old.label = "old"
        old.register_hook(lambda g: g * 100)
        (old * 2).sum().backward()
        gone = weakref.ref(old)
        del old
        assert gone() is None
    for new in many(lambda: torch.zeros(3)):
        assert type(new) is torch.Tensor
        assert new.__dict__ == {} and new.grad is None and new.grad_fn is None and not new.requires_grad
        assert new.is_leaf and new._base is None and new._version == 0 and new._backward_hooks is None
        assert not weakref.getweakrefs(new)


def test_only_plain_tensors_wait():
    class Mine(torch.Tensor):
        pass

    for _ in range(10):
        mine = torch.ones(2).as_subclass(Mine)
        mine.label = "mine"
        del mine
    assert all(type(t) is torch.Tensor and not hasattr(t, "label") for t in many(lambda: torch.ones(2)))
    assert type(torch.ones(2).as_subclass(Mine)) is Mine


def test_a_tensor_that_owns_nothing_is_not_tracked_and_one_that_does_is():
    x = torch.ones(2, requires_grad=True)
    del x.grad
    kept = many(lambda: x * 2)
    assert all(gc.is_tracked(t) for t in kept)
    del kept
    assert not any(gc.is_tracked(t) for t in many(lambda: torch.ones(2)))
    t = torch.ones(2)
    t.label = 1
    assert gc.is_tracked(t)


def test_cycles_of_reused_tensors_and_nodes_are_collected():
    x = torch.ones(2, requires_grad=True)
    del (many(lambda: x * 2))[:]
    gone = []
    for _ in range(20):
        y = (x * 2).exp()
        y.grad_fn.register_hook(lambda grad_input, grad_output, y=y: None)
        y.itself = y
        gone.append(weakref.ref(y))
    del y
    gc.collect()
    assert all(ref() is None for ref in gone)


def test_a_new_node_has_nothing_of_a_dead_one():
    x = torch.ones(2, requires_grad=True)
    seen = []
    for _ in range(10):
        y = x.exp()
        y.grad_fn.metadata["old"] = 1
        y.grad_fn.register_hook(lambda grad_input, grad_output: seen.append("old"))
        y.grad_fn.register_prehook(lambda grad_output: seen.append("old"))
        gone = weakref.ref(y.grad_fn)
        del y
        assert gone() is None
    for new in many(lambda: x.tanh()):
        assert new.grad_fn.name() == "TanhBackward0" and type(new.grad_fn).__name__ == "TanhBackward0"
        assert new.grad_fn.metadata == {}
        new.sum().backward()
    assert seen == []


def test_views_keep_a_small_storage_from_being_used_again():
    for n in (1, 16, 17, 64, 65):
        views = [torch.full((n,), float(i))[-1:] for i in range(300)]
        others = many(lambda n=n: torch.full((n,), -1.0))
        assert [v.item() for v in views] == [float(i) for i in range(300)]
        del views
        assert all((other == -1).all() for other in others)


def test_a_storage_that_is_used_again_counts_its_changes_from_nothing():
    for _ in range(10):
        old = torch.zeros(4)
        for _ in range(5):
            old += 1
        shared = old.data
        shared += 1
        del old, shared
    assert all(t._version == 0 for t in many(lambda: torch.zeros(4)))


def test_sizes_stay_what_they_are():
    shapes = [torch.zeros(i % 7, i % 5).shape for i in range(200)]
    assert shapes == [torch.Size([i % 7, i % 5]) for i in range(200)]
    assert torch.zeros(2, 3).shape + (1,) == (2, 3, 1) and torch.zeros(2, 3).shape == (2, 3)
    assert torch.zeros(()).shape == () and torch.zeros(0).shape == (0,) and torch.zeros(1, 1, 1, 1, 1).shape == (1,) * 5


def test_threads_share_the_lists():
    wrong = []

    def work(number):
        w = torch.full((3,), float(number), requires_grad=True)
        for i in range(300):
            w.grad = None
            kept = [w * float(k) for k in range(5)]
            sum(kept[1:], kept[0]).sum().backward()
            if w.grad.tolist() != [10.0] * 3 or [k.tolist()[0] for k in kept] != [number * k for k in range(5)]:
                wrong.append((number, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def accumulator(leaf):
    return leaf.expand_as(leaf).grad_fn.next_functions[0][0]


def test_an_accumulator_has_nothing_of_the_last_one():
    x, seen = torch.ones(2, requires_grad=True), []
    for _ in range(3):
        node = accumulator(x)
        assert node.metadata == {} and node.variable is x and node is accumulator(x)
        number = node._sequence_nr()
        node.metadata["old"] = 1
        node._set_sequence_nr(5)
        gone = weakref.ref(node)
        del node
        assert gone() is None
        assert accumulator(x)._sequence_nr() == number
    accumulator(x).register_hook(lambda grad_input, grad_output: seen.append("old"))
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3] and not seen


def test_an_accumulator_lives_as_long_as_a_graph_holds_it():
    x, seen = torch.ones(2, requires_grad=True), []
    y = x * 2
    y.grad_fn.next_functions[0][0].register_hook(lambda grad_input, grad_output: seen.append(grad_output[0].tolist()))
    del x
    y.sum().backward()
    assert seen == [[2, 2]]


def test_a_leaf_dies_with_the_graph_that_held_it():
    x = torch.ones(2, requires_grad=True)
    gone, y = weakref.ref(x), x * 2
    del x
    assert gone() is not None
    del y
    assert gone() is None


def test_a_leaf_that_was_given_other_data_gets_another_accumulator():
    x = torch.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    for other in (torch.ones(2, 3), torch.ones(3), torch.ones(3, dtype=torch.float64)):
        x.grad = None
        x.data = other
        (x * 2).sum().backward()
        assert x.grad.shape == other.shape and x.grad.dtype == other.dtype
    a, b = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    (a.sum() + b.sum()).backward()
    torch.utils.swap_tensors(a, b)
    ((a * 2).sum() + (b * 4).sum()).backward()
    assert a.grad.tolist() == [3, 3, 3] and b.grad.tolist() == [5, 5]


def test_what_runs_while_an_accumulator_dies_finds_another_one():
    x, nodes = torch.ones(2, requires_grad=True), []

    class Last:
        def __del__(self):
            nodes.append(accumulator(x))

    accumulator(x).metadata["last"] = Last()
    first, second = nodes[0], accumulator(x)
    assert first is second and first.variable is x and first.metadata == {}
    y = x * 2
    weakref.finalize(accumulator(x), lambda: nodes.append(x * 3))
    nodes.clear()
    del first, second, y
    nodes.pop().sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_an_accumulator_in_a_cycle_is_collected_and_its_leaf_goes_on():
    x = torch.ones(2, requires_grad=True)
    node = accumulator(x)
    node.metadata["itself"] = node
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_handle_that_takes_the_place_of_a_dead_one_has_nothing_of_it():
    module = torch.nn.Linear(1, 1)
    for _ in range(3):
        handle = module.register_forward_hook(lambda *args: None)
        assert vars(handle).keys() == {"hooks_dict_ref", "id", "extra_dict_ref"}  # and no mark
        assert weakref.getweakrefcount(handle) == 0
        handle.mark = module
        ref, number = weakref.ref(handle), handle.id
        del handle
        assert ref() is None and list(module._forward_hooks)[-1] == number
    handles = [module.register_forward_hook(lambda *args: None) for _ in range(200)]
    assert len({handle.id for handle in handles}) == 200
    for handle in handles:
        handle.remove()
    assert len(module._forward_hooks) == 3


def test_a_node_that_has_run_comes_back_as_one_that_has_not():
    x, w = torch.ones(3, requires_grad=True), torch.full((2, 3), 2.0)
    cases = ((lambda: x * w[0], (3,), [True, False], 2.0), (lambda: w * x, (2, 3), [False, True], 4.0))
    for _ in range(3):
        for make, shape, leads, slope in cases:
            x.grad = None
            y = make()
            assert [node is not None for node, _ in y.grad_fn.next_functions] == leads and y.shape == shape
            y.sum().backward()
            assert x.grad.tolist() == [slope] * 3
            with pytest.raises(RuntimeError, match="second time"):
                y.sum().backward()


def test_a_node_is_without_a_result_while_that_is_packed_whatever_was_there_before():
    x = torch.ones(3, requires_grad=True)
    seen = []

    def pack(t):
        seen.append(t.grad_fn._saved_result)
        with pytest.raises(RuntimeError):
            t.grad_fn(torch.ones(3))
        return t.detach()

    for _ in range(3):
        x.exp().sum().backward()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            x.exp().sum().backward()
    assert seen == [None] * 3
    assert torch.allclose(x.grad, 6 * x.exp())


def test_a_storage_that_is_held_by_something_else_is_not_taken_again():
    views, arrays = [], []
    for i in range(20):
        t = torch.full((4,), float(i))
        views.append(t[1:])
        arrays.append(memoryview(t.numpy()))
        del t
    many(lambda: torch.full((4,), -1.0))
    assert [v.tolist() for v in views] == [[float(i)] * 3 for i in range(20)]
    assert [a.tolist() for a in arrays] == [[float(i)] * 4 for i in range(20)]


def test_calls_of_plain_tensors_and_of_others_give_the_same():
    x, y = torch.tensor([0.5, -1.5, 2.0, 1.0]), torch.tensor([2.0, 0.25, 2.0, -1.0])
    wide = torch.stack((x, y), dim=1)
    strided, other = wide[:, 0], wide[:, 1]
    for name in ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge"):
        op = getattr(torch, name)
        for second, same in ((y, other), (2, 2), (0.5, 0.5), (2**40, 2**40)):
            plain, general = op(x, second), op(strided, same)
            assert plain.dtype is general.dtype and plain.tolist() == general.tolist(), (name, second)
            assert op(x.double(), second).dtype in (torch.float64, torch.bool)
    for name in ("neg", "abs", "exp", "sin", "cos", "tanh", "sigmoid", "relu"):
        op = getattr(torch, name)
        assert torch.allclose(op(x), op(strided), rtol=0, atol=1e-7), name
        assert op(x[:0]).shape == (0,) and op(x[0]).shape == ()
