"""no_grad and its kin: as blocks, decorators, around generators, in threads."""

import threading

import pytest

import hookgrad as torch


@pytest.fixture
def x():
    return torch.ones(2, requires_grad=True)


def test_no_grad_and_enable_grad_nest(x):
    with torch.no_grad():
        assert not torch.is_grad_enabled() and not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
        assert not torch.is_grad_enabled()
    assert (x * 2).requires_grad


def test_the_mode_is_restored_after_an_exception():
    with pytest.raises(KeyError), torch.no_grad():
        raise KeyError
    assert torch.is_grad_enabled()


def test_as_decorators(x):
    @torch.no_grad()
    def with_parentheses(t):
        """Words."""
        return t * 2

    @torch.no_grad
    def without(t):
        return t * 2

    @torch.enable_grad()
    def enabled(t):
        return t * 2

    assert not with_parentheses(x).requires_grad and not without(x).requires_grad
    assert with_parentheses.__name__ == "with_parentheses" and with_parentheses.__doc__ == "Words."
    with torch.no_grad():
        assert enabled(x).requires_grad
    assert torch.is_grad_enabled()


def test_decorated_functions_may_recurse():
    @torch.no_grad()
    def depth(n):
        assert not torch.is_grad_enabled()
        return n if n == 0 else depth(n - 1)

    depth(5)
    assert torch.is_grad_enabled()


def test_a_decorated_generator_has_the_mode_only_while_it_runs():
    seen = []

    @torch.no_grad()
    def numbers():
        try:
            got = yield torch.is_grad_enabled()
            seen.append((got, torch.is_grad_enabled()))
            yield 2
        except ValueError:
            seen.append("thrown")
            yield 3
        finally:
            seen.append(torch.is_grad_enabled())
        return 4

    g = numbers()
    assert next(g) is False and torch.is_grad_enabled()
    assert g.send("sent") == 2 and torch.is_grad_enabled()
    assert g.throw(ValueError()) == 3
    with pytest.raises(StopIteration) as stop:
        next(g)
    assert stop.value.value == 4 and torch.is_grad_enabled()
    assert seen == [("sent", False), "thrown", False]
    g = numbers()
    next(g)
    g.close()
    assert seen[-1] is False and torch.is_grad_enabled()


def test_set_grad_enabled(x):
    try:
        torch.set_grad_enabled(False)
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)
    for on in (True, False):
        with torch.set_grad_enabled(on):
            assert (x * 2).requires_grad is on
        assert torch.is_grad_enabled()

    @torch.set_grad_enabled(False)
    def f(t):
        return t * 2

    assert torch.is_grad_enabled() and not f(x).requires_grad
    with pytest.raises(TypeError, match="must be bool"):
        torch.set_grad_enabled(1)


def test_inference_mode(x):
    with torch.inference_mode():
        t = x * 2
        assert torch.is_inference_mode_enabled() and t.is_inference() and not t.requires_grad
        t.add_(1)
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="outside InferenceMode"):
        t.requires_grad_()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        t.add_(1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * t
    assert (x * t.clone()).requires_grad
    with torch.inference_mode(False):
        assert (x * 2).requires_grad

    @torch.inference_mode()
    def f(t):
        return t * 2

    @torch.inference_mode
    def g(t):
        return t * 2

    assert f(x).is_inference() and g(x).is_inference()


def test_leaves_may_be_changed_in_place_under_no_grad(x):
    with torch.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0, 2.0] and x.is_leaf and x.requires_grad


def test_each_thread_has_a_mode_of_its_own(x):
    seen = {}

    def work(name, on):
        seen[name, "start"] = torch.is_grad_enabled()
        torch.set_grad_enabled(on)
        (x * 2).sum()
        barrier.wait()
        seen[name, "end"] = torch.is_grad_enabled()

    with torch.no_grad():
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=work, args=(str(on), on)) for on in (True, False)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert seen == {("True", "start"): True, ("True", "end"): True, ("False", "start"): True, ("False", "end"): False}
    assert torch.is_grad_enabled()


def test_threads_come_and_go(x):
    def work():
        for _ in range(20):
            y = (x.detach().requires_grad_() * 2).sum()
            y.backward()

    for _ in range(10):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def test_autograd_backward_and_grad():
    x, y = torch.ones(2, requires_grad=True), torch.full((2,), 3.0, requires_grad=True)
    torch.autograd.backward([(x * y).sum(), (x * 2).sum()])
    assert x.grad.tolist() == [5.0, 5.0] and y.grad.tolist() == [1.0, 1.0]
    gx, gy = torch.autograd.grad(x * y, (x, y), grad_outputs=torch.tensor([1.0, 2.0]))
    assert (gx.tolist(), gy.tolist()) == ([3.0, 6.0], [1.0, 2.0])
    assert x.grad.tolist() == [5.0, 5.0]
    (x * y).sum().backward(inputs=[y])
    assert y.grad.tolist() == [2.0, 2.0] and x.grad.tolist() == [5.0, 5.0]
    z = torch.ones(1, requires_grad=True)
    assert torch.autograd.grad(x.sum(), (x, z), allow_unused=True)[1] is None
    assert torch.autograd.grad(x.sum(), (x, z), materialize_grads=True)[1].tolist() == [0.0]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda x, y: torch.autograd.grad(y, torch.ones(1, requires_grad=True)),
            RuntimeError,
            "appears to not have been used",
        ),
        (lambda x, y: torch.autograd.grad(y, torch.ones(1)), RuntimeError, "does not require grad"),
        (
            lambda x, y: torch.autograd.grad(x * 2, x),
            RuntimeError,
            "grad can be implicitly created only for scalar outputs",
        ),
        (lambda x, y: torch.autograd.grad(x * 2, x, torch.ones(3)), RuntimeError, "Mismatch in shape"),
        (lambda x, y: torch.autograd.grad([y, y], x, [None]), RuntimeError, "got 2 tensors and 1 gradients"),
        (
            lambda x, y: torch.autograd.grad(y, x, "a"),
            TypeError,
            "gradients can be either Tensors or None, but got str",
        ),
        (
            lambda x, y: torch.autograd.grad(y, x, allow_unused=False, materialize_grads=True),
            ValueError,
            "allow_unused",
        ),
        (lambda x, y: torch.autograd.backward(y, inputs=[]), RuntimeError, "cannot be empty"),
        (lambda x, y: y.backward(inputs=[]), RuntimeError, "cannot be empty"),
        (lambda x, y: y.backward(inputs=[3]), RuntimeError, "have to be Tensors or GradientEdges, but got int"),
        (lambda x, y: (y.backward(), y.backward()), RuntimeError, "backward through the graph a second time"),
    ],
)
def test_autograd_errors(x, call, error, words):
    with pytest.raises(error, match=words):
        call(x, (x * x).sum())


def test_a_decorated_class_is_made_without_recording_and_a_warning():
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):

        @torch.no_grad()
        class Recorder:
            def __init__(self):
                self.recording = torch.is_grad_enabled()

    assert not Recorder().recording and torch.is_grad_enabled()


def test_inference_mode_cannot_be_recorded_in_but_left(x):
    with torch.inference_mode(), torch.enable_grad():
        y = x * 2
        assert torch.is_grad_enabled() and y.is_inference() and not y.requires_grad
        assert torch.is_inference(y)
    with torch.no_grad(), torch.inference_mode(False):
        assert torch.is_grad_enabled() and (x * 2).requires_grad
    assert torch.is_grad_enabled()


def test_labels_change_nothing(x):
    from hookgrad.profiler import record_function

    @record_function("twice")
    def twice(t):
        return t * 2

    with torch.autograd.profiler.record_function("forward") as label:
        assert label.name == "forward" and twice(x).requires_grad
    assert twice.__name__ == "twice" and torch.autograd.profiler.record_function is record_function


def test_settings_without_effect_are_remembered():
    from hookgrad import autograd

    assert autograd.is_multithreading_enabled() and not autograd.is_view_replay_enabled()
    with autograd.set_multithreading_enabled(False), autograd._force_original_view_tracking(True):
        assert not autograd.is_multithreading_enabled() and autograd.is_view_replay_enabled()
    assert autograd.is_multithreading_enabled() and not autograd.is_view_replay_enabled()

    @autograd.enforce_grad_layout_policy(False)
    def gradient(x):
        (x * 2).sum().backward()
        return x.grad

    assert gradient(torch.ones(2, requires_grad=True)).tolist() == [2.0, 2.0]


def test_an_inference_tensor_detached_outside_of_the_mode_can_be_written_to():
    with torch.inference_mode():
        t = torch.ones(3)
        inside = t.detach()
    for detached in (t.detach(), t.data, torch.nn.Parameter(t, requires_grad=False)):
        assert detached.is_inference() and not detached.requires_grad
        detached.mul_(2)
        assert detached._version > 0
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            detached * torch.ones(3, requires_grad=True)
    assert t.tolist() == [8.0, 8.0, 8.0]
    for refused in (t, inside, t.detach().view(-1)):
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
            refused.add_(1)


def test_a_write_to_an_inference_tensor_is_refused_when_it_is_counted():
    with torch.inference_mode():
        t, buffers, p = torch.ones(3), torch.nn.BatchNorm1d(3), torch.nn.Parameter(torch.ones(3))
    for write in (
        lambda: t.add_(1),
        lambda: t.__setitem__(0, 7),
        lambda: torch.add(torch.ones(3), 1, out=t),
        lambda: t.set_(torch.zeros(3)),
        lambda: t.resize_(2),
        lambda: t.resize_as_(torch.ones(2)),
        lambda: buffers(torch.ones(2, 3)),
    ):
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
            write()
    t.apply_(lambda value: value + 1)
    t.map_(torch.ones(3), lambda a, b: a * b)
    assert t.share_memory_().is_inference() and torch.autograd.graph.increment_version(t) is None
    p.grad = torch.ones(3)
    for make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad):
        with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
            make([p], lr=0.1).step()
    with torch.inference_mode():
        torch.optim.SGD([p], lr=0.1).step()


def test_a_failed_write_to_an_inference_tensor_has_been_done():
    with torch.inference_mode():
        t = torch.ones(3)
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        t.add_(1)
    assert t.tolist() == [2, 2, 2]


@pytest.mark.parametrize("name, size", [("unsafe_chunk", 2), ("unsafe_split", 2), ("unsafe_split_with_sizes", [1, 3])])
def test_unsafe_pieces_are_views_in_inference_mode(name, size):
    t = torch.ones(4, requires_grad=True) * 1
    with torch.inference_mode():
        piece = getattr(t, name)(size)[0]
    assert piece._is_view() and piece._base is t and piece.requires_grad
    with pytest.raises(RuntimeError, match="A view was created in inference mode and is being modified inplace"):
        piece.add_(1)
    assert not getattr(t, name)(size)[0]._is_view()


def test_parameters_made_in_inference_mode_are_inference_tensors():
    with torch.inference_mode():
        layer, t = torch.nn.Linear(2, 2), torch.ones(3)
    assert layer.weight.is_inference() and layer.weight.requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        layer(torch.ones(1, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        layer.load_state_dict(torch.nn.Linear(2, 2).state_dict())
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        torch.nn.Parameter(t)
    layer.double()
    assert not layer.weight.is_inference()


def test_data_brings_along_whether_it_was_made_in_inference_mode():
    x = torch.ones(3)
    with torch.inference_mode():
        x.data = torch.zeros(3)
    assert x.is_inference()
    x.add_(1)
    x.data = torch.zeros(3)
    assert not x.is_inference()


def test_views_of_an_inference_tensor_are_none_of_the_graph():
    with torch.inference_mode():
        t = torch.ones(2, 3, requires_grad=True)
    for view in (t.view(-1), t[0], t.transpose(0, 1), t.expand(4, 2, 3), t.split(1)[0]):
        assert view.is_inference() and not view.requires_grad and not view._is_view() and view.is_leaf
    assert (t * 2).requires_grad


def test_the_private_switch_returns_nothing_so_that_a_hook_may_be_it():
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda grad: torch._C._set_grad_enabled(False))
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2] and torch.is_grad_enabled()


def test_a_library_makes_its_own_mode_that_decorates():
    from hookgrad.utils._contextlib import _DecoratorContextManager, _NoParamDecoratorContextManager

    on = []

    class mode(_NoParamDecoratorContextManager):
        def __enter__(self):
            on.append(1)

        def __exit__(self, *exc):
            on.pop()

    @mode
    def bare():
        return len(on)

    @mode()
    def called():
        yield len(on)

    assert issubclass(mode, _DecoratorContextManager)
    assert bare() == 1 and list(called()) == [1] and on == []


def test_set_grad_enabled_remembers_what_was_before():
    with torch.no_grad():
        setting = torch.set_grad_enabled(True)
        assert setting.prev is False and setting.mode is True
