"""Every kind of hook: when it is called, with what, and what becomes of what it returns."""

import sys
import warnings
from collections import OrderedDict

import pytest

import hookgrad as torch
from hookgrad import nn


def leaf(*values):
    return torch.tensor([float(v) for v in values], requires_grad=True)


def returns(value):
    def hook(*args):
        return value

    return hook


class Scale(nn.Module):
    """x * w, with a keyword argument on top."""

    def __init__(self, w=3.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w]))

    def forward(self, x, times=1.0):
        return x * self.w * times


class Add(nn.Module):
    def forward(self, a, b=None):
        return a if b is None else a + b


class Fails(nn.Module):
    def forward(self, x):
        raise ValueError("no luck")


# ---- Tensor hooks ----------------------------------------------------------------------------------------------------


def test_tensor_hook_sees_and_replaces_the_gradient():
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda grad: seen.append(grad.tolist()))
    x.register_hook(lambda grad: grad * 10)
    x.register_hook(lambda grad: seen.append(grad.tolist()))
    (x * 2).sum().backward()
    assert seen == [[2.0, 2.0], [20.0, 20.0]]
    assert x.grad.tolist() == [20.0, 20.0]


def test_tensor_hook_of_an_inner_tensor_sees_the_summed_gradient():
    x = leaf(1, 2)
    y = x * 2
    seen = []
    y.register_hook(lambda grad: seen.append(grad.tolist()))
    (y * 3 + y * 4).sum().backward()
    assert seen == [[7.0, 7.0]]
    assert x.grad.tolist() == [14.0, 14.0]


def test_retain_grad_sees_what_tensor_hooks_left_and_the_node_what_its_pre_hooks_left():
    x = leaf(1)
    y = x * 1
    y.register_hook(lambda grad: grad * 2)
    y.retain_grad()
    y.register_hook(lambda grad: grad * 3)
    seen = []
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 10,))
    y.grad_fn.register_hook(lambda grad_in, grad_out: seen.append(grad_out[0].item()))
    y.sum().backward()
    assert y.grad.item() == 6.0
    assert seen == [60.0]
    assert x.grad.item() == 60.0


def test_hooks_of_a_leaf_run_in_torchs_order():
    x = leaf(1)
    order = []
    y = x * 2
    accumulator = y.grad_fn.next_functions[0][0]
    x.register_hook(lambda grad: order.append("tensor"))
    accumulator.register_prehook(lambda grads: order.append("pre"))
    x.register_post_accumulate_grad_hook(lambda p: order.append(("post", p is x, p.grad.item())))
    accumulator.register_hook(lambda grad_in, grad_out: order.append(("node", grad_in)))
    y.backward()
    assert order == ["tensor", "pre", ("post", True, 2.0), ("node", ())]


@pytest.mark.parametrize(
    "value, error, words",
    [
        (3, TypeError, "expected Variable, but hook returned 'int'"),
        ((1,), TypeError, "expected Variable, but hook returned 'tuple'"),
        (torch.ones(3), RuntimeError, "hook 'hook' has changed the size of value"),
        (
            torch.ones(2, dtype=torch.float64),
            RuntimeError,
            r"hook 'hook' has changed the type of value \(was torch.FloatTensor got torch.DoubleTensor\)",
        ),
    ],
)
def test_wrong_values_of_tensor_hooks(value, error, words):
    x = leaf(1, 2)
    x.register_hook(returns(value))
    with pytest.raises(error, match=words):
        (x * 2).sum().backward()
    assert x.grad is None


def test_a_hook_without_a_name_is_unknown():
    class Callable:
        def __call__(self, grad):
            return torch.ones(5)

    x = leaf(1, 2)
    x.register_hook(Callable())
    with pytest.raises(RuntimeError, match="hook '<unknown>' has changed the size of value"):
        (x * 2).sum().backward()


def test_where_tensor_hooks_are_refused():
    x = leaf(1)
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        torch.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        torch.ones(1).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_post_accumulate_hooks_return_nothing():
    x = leaf(1)
    x.register_post_accumulate_grad_hook(lambda p: torch.ones(1))
    with pytest.raises(RuntimeError, match="Tensor post accumulate grad hooks should return None."):
        (x * 2).backward()


def test_post_accumulate_hook_may_step_and_clear():
    x = leaf(1)

    def step(p):
        with torch.no_grad():
            p.sub_(p.grad)
        p.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * 0.25).sum().backward()
    assert x.item() == 0.75 and x.grad is None


def test_hook_registered_before_an_in_place_operation_stays_with_the_old_value():
    x = leaf(1)
    y = x * 1
    seen = []
    y.register_hook(lambda grad: seen.append(grad.item()))
    y.mul_(5)
    y.sum().backward()
    assert seen == [5.0]


def test_autograd_grad_runs_the_hooks_of_its_inputs():
    x = leaf(1)
    y = x * 2
    y.register_hook(lambda grad: grad * 100)
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 7,))
    z = (y * 3).sum()
    (grad,) = torch.autograd.grad(z, y)
    assert grad.item() == 300.0


def test_hooks_run_without_gradients_unless_the_graph_is_wanted():
    x = leaf(2)
    modes = []
    x.register_hook(lambda grad: modes.append(torch.is_grad_enabled()))
    (x * x).backward(create_graph=True)
    (x * x).backward()
    assert modes == [True, False]


def test_backward_hooks_attribute():
    x = leaf(1)
    assert x._backward_hooks is None
    handle = x.register_hook(lambda grad: grad * 2)
    assert list(x._backward_hooks) == [handle.id]
    x._backward_hooks.clear()
    x.sum().backward()
    assert x.grad.item() == 1.0


def test_backward_hooks_taken_away_and_given():
    x = leaf(1)
    x.register_hook(lambda grad: grad * 100)
    x._backward_hooks = None
    (x * 2).backward()
    assert x.grad.item() == 2.0
    x._backward_hooks = {3: lambda grad: grad * 5}
    (x * 1).backward()
    assert x.grad.item() == 7.0


def test_hooks_of_a_result_fire_whatever_object_they_were_registered_on():
    y = leaf(1).exp()
    seen = []
    y.register_hook(lambda grad: seen.append("result"))
    handle = y.grad_fn._saved_result.register_hook(lambda grad: seen.append("saved"))
    y.backward(retain_graph=True)
    handle.remove()
    y._backward_hooks = None
    y.register_hook(lambda grad: seen.append("after the table was taken away"))
    y.backward()
    assert seen == ["result", "saved", "result", "after the table was taken away"]


@pytest.mark.parametrize("freeze", [lambda x: x.requires_grad_(False), torch.Tensor.detach_])
def test_a_frozen_leaf_that_is_written_to_leaves_its_hooks_behind(freeze):
    x, seen = leaf(1), []
    x.register_hook(lambda grad: seen.append("leaf"))
    freeze(x)
    x.add_(leaf(2))
    assert x._backward_hooks is None
    x.register_hook(lambda grad: seen.append("sum"))
    x.backward()
    assert seen == ["sum"]


# ---- Hooks of nodes --------------------------------------------------------------------------------------------------


def test_node_hooks_see_and_replace_gradients():
    x = leaf(1, 2)
    y = x * 2
    seen = []

    def hook(grad_inputs, grad_outputs):
        seen.append((grad_inputs[0].tolist(), grad_inputs[1], grad_outputs[0].tolist()))
        return grad_inputs[0] * 10, None

    y.grad_fn.register_hook(hook)
    y.sum().backward()
    assert seen == [([2.0, 2.0], None, [1.0, 1.0])]
    assert x.grad.tolist() == [20.0, 20.0]


@pytest.mark.parametrize(
    "value, error, words",
    [
        (torch.ones(2), TypeError, "expected tuple, but hook returned 'Tensor'"),
        ([torch.ones(2)], TypeError, "expected tuple, but hook returned 'list'"),
        ((1, 2), RuntimeError, r"hook 'hook' has returned an incorrect number of values \(got 2, but expected 1\)"),
        ((3,), TypeError, "expected Variable, but hook returned 'int'"),
        ((torch.ones(3),), RuntimeError, "hook 'hook' has changed the size of value"),
    ],
)
def test_wrong_values_of_node_pre_hooks(value, error, words):
    y = leaf(1, 2) * 2
    y.grad_fn.register_prehook(returns(value))
    with pytest.raises(error, match=words):
        y.sum().backward()


def test_a_node_hook_cannot_make_a_gradient_out_of_none():
    y = leaf(1, 2) * 2
    y.grad_fn.register_hook(returns((torch.ones(2), torch.ones(2))))
    with pytest.raises(RuntimeError, match="can't replace a None gradient with a non-None value"):
        y.sum().backward()


# ---- Forward hooks ---------------------------------------------------------------------------------------------------


def test_forward_pre_hook_sees_and_replaces_the_arguments():
    module, seen = Add(), []
    module.register_forward_pre_hook(lambda m, args: seen.append((m is module, args)))
    module.register_forward_pre_hook(lambda m, args: (args[0] * 2, args[1]))
    module.register_forward_pre_hook(lambda m, args: seen.append(args[0].item()))
    one = torch.ones(1)
    assert module(one, one).item() == 3.0
    assert seen[0][0] is True and seen[0][1][0] is one
    assert seen[1] == 2.0


def test_forward_pre_hook_wraps_a_bare_value():
    module = Add()
    module.register_forward_pre_hook(lambda m, args: torch.full((1,), 7.0))
    assert module(torch.ones(1)).item() == 7.0


def test_forward_pre_hook_with_kwargs():
    module, seen = Scale(), []

    def hook(m, args, kwargs):
        seen.append((len(args), dict(kwargs)))
        return args, {"times": 10.0}

    module.register_forward_pre_hook(hook, with_kwargs=True)
    assert module(torch.ones(1), times=2.0).item() == 30.0
    assert module(torch.ones(1)).item() == 30.0
    assert seen == [(1, {"times": 2.0}), (1, {})]


def test_keywords_changed_in_place_reach_forward():
    module = Scale()
    module.register_forward_pre_hook(lambda m, args, kwargs: kwargs.update(times=5.0), with_kwargs=True)
    assert module(torch.ones(1)).item() == 15.0


@pytest.mark.parametrize("value", [3, (1, 2, 3), [1, 2]])
def test_forward_pre_hook_with_kwargs_returns_a_pair(value):
    module = Scale()
    module.register_forward_pre_hook(returns(value), with_kwargs=True)
    with pytest.raises(RuntimeError) as e:
        module(torch.ones(1))
    assert str(e.value) == f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {value}."


def test_keyword_arguments_of_a_pre_hook_are_spread_before_the_others():
    module = nn.Identity()
    module.register_forward_pre_hook(lambda module, args, kwargs: (1, 2), with_kwargs=True)
    with pytest.raises(TypeError, match=r"linear.Identity.forward\(\) argument after \*\* must be a mapping, not int"):
        module(1)


def test_a_list_does_for_the_arguments():
    module = Scale()
    module.register_forward_pre_hook(lambda m, args, kwargs: (list(args), kwargs), with_kwargs=True)
    assert module(torch.ones(1), times=2.0).item() == 6.0


def test_forward_hook_sees_and_replaces_the_output():
    module, seen = Add(), []
    module.register_forward_hook(lambda m, args, output: seen.append((len(args), output.item())))
    module.register_forward_hook(lambda m, args, output: output + 5)
    module.register_forward_hook(lambda m, args, output: {"y": output})
    module.register_forward_hook(lambda m, args, output: seen.append(output["y"].item()))
    assert module(torch.ones(1))["y"].item() == 6.0
    assert seen == [(1, 1.0), 6.0]


def test_forward_hook_with_kwargs():
    module, seen = Scale(), []
    module.register_forward_hook(lambda m, a, k, out: seen.append((len(a), dict(k), out.item())), with_kwargs=True)
    module(torch.ones(1), times=2.0)
    module(torch.ones(1))
    module(x=torch.ones(1))
    assert seen[:2] == [(1, {"times": 2.0}, 6.0), (1, {}, 3.0)]
    assert seen[2][0] == 0 and list(seen[2][1]) == ["x"]


def test_prepend_puts_a_hook_first():
    module, order = Add(), []
    for name, prepend in (("a", False), ("b", True), ("c", False), ("d", True)):
        module.register_forward_pre_hook(lambda m, args, name=name: order.append("pre " + name), prepend=prepend)
        module.register_forward_hook(lambda m, args, out, name=name: order.append(name), prepend=prepend)
    module(torch.ones(1))
    assert order == ["pre d", "pre b", "pre a", "pre c", "d", "b", "a", "c"]


def test_always_call_runs_when_forward_raises():
    module, seen = Fails(), []
    module.register_forward_hook(lambda m, args, out: seen.append("plain"))
    module.register_forward_hook(lambda m, args, out: seen.append(("always", out)), always_call=True)
    module.register_forward_hook(
        lambda m, args, kwargs, out: seen.append(("kwargs", kwargs, out)), always_call=True, with_kwargs=True
    )
    with pytest.raises(ValueError, match="no luck"):
        module(torch.ones(1))
    assert seen == [("always", None), ("kwargs", {}, None)]


def test_always_call_runs_once_when_a_later_hook_raises():
    module, seen = Add(), []

    def fails(m, args, out):
        raise KeyError("late")

    module.register_forward_hook(lambda m, args, out: seen.append("first"), always_call=True)
    module.register_forward_hook(fails)
    module.register_forward_hook(lambda m, args, out: seen.append("last"), always_call=True)
    with pytest.raises(KeyError, match="late"):
        module(torch.ones(1))
    assert seen == ["first", "last"]


def test_what_an_always_called_hook_raises_becomes_a_warning():
    module = Fails()

    def fails(m, args, out):
        raise RuntimeError("from the hook")

    module.register_forward_hook(fails, always_call=True)
    words = (
        "module forward hook with ``always_call=True`` raised an exception that was silenced as another error was "
        "raised in forward: from the hook"
    )
    with pytest.warns(UserWarning) as caught, pytest.raises(ValueError, match="no luck"):
        module(torch.ones(1))
    assert [str(w.message) for w in caught] == [words]


@pytest.mark.parametrize("register", ["register_forward_pre_hook", "register_forward_hook"])
def test_an_exception_travels_out_unchanged(register):
    class Mine(Exception):
        pass

    error = Mine("mine")

    def hook(*args):
        raise error

    module = Add()
    getattr(module, register)(hook)
    with pytest.raises(Mine) as e:
        module(torch.ones(1))
    assert e.value is error


def test_an_exception_travels_out_of_backward_unchanged():
    class Mine(Exception):
        pass

    error = Mine("mine")

    def hook(*args):
        raise error

    x = leaf(1)
    handle = x.register_hook(hook)
    y = (x * 2).sum()
    with pytest.raises(Mine) as e:
        y.backward(retain_graph=True)
    assert e.value is error
    handle.remove()
    x.grad = None
    y.backward()
    assert x.grad.item() == 2.0


def test_hooks_run_on_layers_and_inside_containers():
    model, seen = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: seen.append((name, tuple(out.shape))))
    model(torch.ones(4, 2))
    assert seen == [("0", (4, 3)), ("1", (4, 3)), ("", (4, 3))]


def test_calling_forward_itself_runs_no_hooks():
    module = nn.Linear(2, 2)
    module.register_forward_hook(returns(0))
    assert module.forward(torch.ones(2)) is not None
    assert module(torch.ones(2)) == 0


# ---- Full backward hooks ---------------------------------------------------------------------------------------------


def test_full_backward_hook_sees_all_gradients():
    module, seen = Scale(), []
    x = leaf(2)
    module.register_full_backward_hook(lambda m, gi, go: seen.append((m is module, gi, go)))
    module(x).sum().backward()
    ((same, grad_input, grad_output),) = seen
    assert same and grad_input[0].item() == 3.0 and grad_output[0].item() == 1.0


def test_full_backward_hook_replaces_grad_input():
    module, x = Scale(), leaf(2)
    module.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    module.register_full_backward_hook(lambda m, gi, go: [gi[0] + 1])
    module(x).sum().backward()
    assert x.grad.item() == 31.0


def test_full_backward_pre_hook_replaces_grad_output():
    module, x, seen = Scale(), leaf(2), []
    module.register_full_backward_pre_hook(lambda m, go: (go[0] * 10,))
    module.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].item()))
    module(x).sum().backward()
    assert seen == [10.0] and x.grad.item() == 30.0 and module.w.grad.item() == 20.0


@pytest.mark.parametrize(
    "value, error, words",
    [
        (3, TypeError, r"object of type 'int' has no len\(\)"),
        ((1, 2), RuntimeError, "Backward hook returned an invalid number of grad_input, got 2, but expected 1"),
        ((1,), TypeError, "expected Variable, but hook returned 'int'"),
        ((torch.ones(1, 3),), RuntimeError, "hook 'hook' has changed the size of value"),
    ],
)
def test_wrong_values_of_full_backward_hooks(value, error, words):
    module = Scale()
    module.register_full_backward_hook(returns(value))
    with pytest.raises(error, match=words):
        module(leaf(1)).sum().backward()


@pytest.mark.parametrize(
    "value, error, words",
    [
        (3, TypeError, r"object of type 'int' has no len\(\)"),
        ((1, 2), RuntimeError, "Backward pre hook returned an invalid number of grad_output, got 2, but expected 1"),
    ],
)
def test_wrong_values_of_full_backward_pre_hooks(value, error, words):
    module = Scale()
    module.register_full_backward_pre_hook(returns(value))
    with pytest.raises(error, match=words):
        module(leaf(1)).sum().backward()


def test_full_backward_hook_without_an_input_that_needs_a_gradient():
    module, seen = Scale(), []
    module.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].item())))
    with pytest.warns(UserWarning, match="Full backward hook is firing when gradients are computed with respect to"):
        module(torch.ones(1)).sum().backward()
    assert seen == [((None,), 1.0)]
    with module.register_full_backward_hook(returns((None,) * 3)), pytest.warns(UserWarning):
        module(torch.ones(1)).sum().backward()
    module.register_full_backward_hook(returns((torch.ones(1),)))
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="should always return None or None for all"):
        module(torch.ones(1)).sum().backward()


def test_identity_with_a_full_backward_hook_gives_a_new_tensor():
    module, x = nn.Identity(), leaf(1)
    assert module(x) is x
    module.register_full_backward_hook(lambda m, gi, go: None)
    y = module(x)
    assert y is not x
    assert y.grad_fn.name() == "BackwardHookFunctionBackward"


def test_backward_prepend():
    module, order = Scale(), []
    for name, prepend in (("a", False), ("b", True)):
        module.register_full_backward_pre_hook(lambda m, go, name=name: order.append("pre " + name), prepend=prepend)
        module.register_full_backward_hook(lambda m, gi, go, name=name: order.append(name), prepend=prepend)
    module(leaf(1)).backward()
    assert order == ["pre b", "pre a", "b", "a"]


def test_the_two_sorts_of_backward_hooks_do_not_mix():
    module = Scale()
    assert module._is_full_backward_hook is None
    module.register_full_backward_hook(print)
    assert module._is_full_backward_hook is True
    with pytest.raises(
        RuntimeError, match="Cannot use both regular backward hooks and full backward hooks on a single Module"
    ):
        module.register_backward_hook(print)
    other = Scale()
    other.register_backward_hook(lambda m, gi, go: None)
    assert other._is_full_backward_hook is False
    with pytest.raises(
        RuntimeError, match="Cannot use both regular backward hooks and full backward hooks on a single Module"
    ):
        other.register_full_backward_hook(print)


def test_order_of_everything():
    order = []

    class Square(nn.Module):
        def forward(self, x):
            order.append("forward")
            return x * x

    square, x = Square(), leaf(3)
    square.register_forward_pre_hook(lambda m, args: order.append("pre"))
    square.register_forward_hook(lambda m, args, out: order.append("hook"))
    square.register_full_backward_pre_hook(lambda m, go: order.append("backward pre"))
    square.register_full_backward_hook(lambda m, gi, go: order.append("backward"))
    x.register_hook(lambda grad: order.append("tensor"))
    square(x).backward()
    assert order == ["pre", "forward", "hook", "backward pre", "backward", "tensor"]


# ---- Global hooks ----------------------------------------------------------------------------------------------------


def test_global_hooks_run_before_a_modules_own():
    from hookgrad.nn.modules import module as m

    module, order = Scale(), []
    module.register_forward_pre_hook(lambda *a: order.append("own pre"), prepend=True)
    module.register_forward_hook(lambda *a: order.append("own"), prepend=True)
    module.register_full_backward_pre_hook(lambda *a: order.append("own backward pre"), prepend=True)
    module.register_full_backward_hook(lambda *a: order.append("own backward"), prepend=True)
    handles = [
        m.register_module_forward_pre_hook(lambda *a: order.append("pre")),
        m.register_module_forward_hook(lambda *a: order.append("all")),
        m.register_module_full_backward_pre_hook(lambda *a: order.append("backward pre")),
        m.register_module_full_backward_hook(lambda *a: order.append("backward")),
    ]
    try:
        module(leaf(1)).backward()
    finally:
        for handle in handles:
            handle.remove()
    assert order == [
        "pre", "own pre", "all", "own", "backward pre", "own backward pre", "backward", "own backward",
    ]  # fmt: skip
    module(leaf(1))
    assert order[-2:] == ["own pre", "own"]


def test_registration_hooks_may_replace_what_is_registered():
    from hookgrad.nn.modules import module as m

    seen = []
    handles = [
        m.register_module_module_registration_hook(lambda mod, name, sub: seen.append(("module", name))),
        m.register_module_parameter_registration_hook(lambda mod, name, p: seen.append(("parameter", name))),
        m.register_module_buffer_registration_hook(lambda mod, name, b: seen.append(("buffer", name)) or b + 1),
    ]
    try:
        module = Scale()
        module.child = nn.ReLU()
        module.register_buffer("count", torch.zeros(1))
    finally:
        for handle in handles:
            handle.remove()
    assert seen == [("parameter", "w"), ("module", "child"), ("buffer", "count")]
    assert module.count.item() == 1.0


# ---- Changes during a run --------------------------------------------------------------------------------------------


def test_removed_hook_still_fires_in_this_pass():
    x, fired = leaf(1), []
    handles = []
    x.register_hook(lambda grad: handles[0].remove())
    handles.append(x.register_hook(lambda grad: fired.append("second")))
    (x * 2).backward()
    (x * 2).backward()
    assert fired == ["second"]


def test_removed_hook_that_wants_keywords_still_gets_them():
    module, fired, handles = Scale(), [], []
    module.register_forward_hook(lambda m, args, out: handles[0].remove())
    handles.append(module.register_forward_hook(lambda m, a, k, out: fired.append(k), with_kwargs=True))
    module(torch.ones(1), times=2.0)
    module(torch.ones(1), times=2.0)
    assert fired == [{"times": 2.0}]


def test_hook_added_during_a_run_waits_for_the_next():
    module, fired = Add(), []

    def add_another(m, args, out):
        m.register_forward_hook(lambda m, args, out: fired.append(len(fired)))

    module.register_forward_hook(add_another)
    module(torch.ones(1))
    assert fired == []
    module(torch.ones(1))
    assert fired == [0]


def test_a_hook_may_remove_itself():
    module, fired = Add(), []

    def once(m, args, out):
        fired.append(1)
        handle.remove()

    handle = module.register_forward_hook(once)
    module(torch.ones(1))
    module(torch.ones(1))
    assert fired == [1] and len(module._forward_hooks) == 0


def test_a_hook_may_clear_its_table():
    x, fired = leaf(1), []
    x.register_hook(lambda grad: x._backward_hooks.clear())
    x.register_hook(lambda grad: fired.append(1))
    (x * 2).backward()
    (x * 2).backward()
    assert fired == [1]


def test_backward_from_within_a_hook():
    x, other = leaf(1), leaf(5)

    def hook(grad):
        with torch.enable_grad():
            (other * other).backward()

    x.register_hook(hook)
    (x * 2).backward()
    assert x.grad.item() == 2.0 and other.grad.item() == 10.0


# ---- What is no hook -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "register",
    [
        lambda: leaf(1).register_hook,
        lambda: leaf(1).register_post_accumulate_grad_hook,
        lambda: (leaf(1) * 2).grad_fn.register_hook,
        lambda: (leaf(1) * 2).grad_fn.register_prehook,
        lambda: Add().register_forward_pre_hook,
        lambda: Add().register_forward_hook,
        lambda: Add().register_full_backward_pre_hook,
        lambda: Add().register_full_backward_hook,
    ],
)
@pytest.mark.parametrize("value", [3, None, "hook"])
def test_what_cannot_be_called_is_refused_at_once(register, value):
    method = register()
    with pytest.raises(TypeError) as e:
        method(value)
    assert str(e.value) == f"{method.__name__}(): argument 'hook' must be callable, not {type(value).__name__}"


def test_options_go_by_keyword():
    with pytest.raises(TypeError, match=r"register_forward_hook\(\) takes 2 positional arguments but 3 were given"):
        Add().register_forward_hook(print, True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'always_call'"):
        Add().register_forward_pre_hook(print, always_call=True)


def test_a_multi_grad_hook_does_not_count_the_only_root():
    def calls(roots, *watched):
        handle = torch.autograd.graph.register_multi_grad_hook(
            watched, lambda grads: seen.append([g is not None for g in grads])
        )
        seen = []
        torch.autograd.backward(roots, retain_graph=True)
        handle.remove()
        return seen

    x = torch.ones(2, requires_grad=True)
    y = x * 2
    z, w = y.sum(), y.prod()
    assert calls([z], y, z) == [[False, True], [True, False]]
    assert calls([z], x, y, z) == [[False, True, True]]
    assert calls([z], z) == []
    assert calls([z, w], y, z, w) == [[True, True, True]]


def test_full_backward_hooks_take_what_is_returned_by_its_numbers():
    def gradient(returned):
        model, x = nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True)
        model.register_full_backward_hook(lambda *args: returned)
        model(x).sum().backward()
        return x.grad.tolist()

    assert gradient({0: torch.ones(1, 2)}) == gradient([torch.ones(1, 2)]) == [[1, 1]]
    with pytest.raises(KeyError):
        gradient({"grad": torch.ones(1, 2)})
    with pytest.raises(TypeError, match="subscript"):
        gradient({torch.ones(1, 2)})


def test_hooks_are_registered_by_keyword_and_flags_are_any_truth():
    x, model = torch.ones(1, requires_grad=True), nn.Linear(1, 1)
    x.register_hook(hook=lambda grad: grad * 2)
    x.register_post_accumulate_grad_hook(hook=lambda tensor: tensor.grad.add_(1) and None)
    (x * 3).sum().backward()
    assert x.grad.item() == 7
    model.register_forward_hook(print, prepend="yes", with_kwargs=0, always_call=None)
    model.register_forward_pre_hook(print, with_kwargs=[1])
    assert [len(model._forward_hooks_with_kwargs), len(model._forward_pre_hooks_with_kwargs)] == [0, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, m: x.register_hook(), "Tensor.register_hook() missing 1 required positional argument: 'hook'"),
        (
            lambda x, m: x.register_hook(print, 1),
            "Tensor.register_hook() takes 2 positional arguments but 3 were given",
        ),
        (lambda x, m: x.register_hook(nope=1), "Tensor.register_hook() got an unexpected keyword argument 'nope'"),
        (
            lambda x, m: x.backward(1, 2, 3, 4, 5),
            "Tensor.backward() takes from 1 to 5 positional arguments but 6 were given",
        ),
        (
            lambda x, m: m.register_buffer(),
            "Module.register_buffer() missing 2 required positional arguments: 'name' and 'tensor'",
        ),
        (
            lambda x, m: m.register_buffer("name"),
            "Module.register_buffer() missing 1 required positional argument: 'tensor'",
        ),
        (
            lambda x, m: m._maybe_warn_non_full_backward_hook(),
            "_maybe_warn_non_full_backward_hook() missing 3 required positional arguments: "
            "'inputs', 'result', and 'grad_fn'",
        ),
        (
            lambda x, m: x.requires_grad_(1, 2),
            "requires_grad_() takes from 0 to 1 positional arguments but 2 were given",
        ),
    ],
)
def test_wrong_arguments_are_refused_in_the_words_of_python(call, words):
    with pytest.raises(TypeError) as caught:
        call(torch.ones(1, requires_grad=True), nn.Linear(1, 1))
    assert str(caught.value) == words


def test_a_backward_hook_made_by_hand_warns_at_the_backward():
    model, fired = nn.Linear(1, 1), []
    hook = torch.utils.hooks.BackwardHook(model, [lambda module, grad_input, grad_output: fired.append(grad_input)], [])
    hook.setup_input_hook((torch.ones(1, 1),))
    y = hook.setup_output_hook(model(torch.ones(1, 1)))
    with pytest.warns(UserWarning, match="Full backward hook is firing") as caught:
        y.sum().backward()
    assert caught[0].filename == __file__ and fired == [(None,)]


# ---- What hooks return, as the next hook sees it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda g: (torch.ones(5, 5),), "hook 'hook' has changed the size of value"),
        (lambda g: (3,), "expected Variable, but hook returned 'int'"),
        (lambda g: g[0] * 2, "hook 'hook' has changed the size of value"),
        (lambda g: {0: g[0].double()}, r"hook 'hook' has changed the type of value \(was torch.FloatTensor"),
    ],
)
@pytest.mark.parametrize("full", [False, True])
def test_what_a_full_backward_hook_returns_is_checked_after_the_last_of_them(wrong, words, full):
    module, seen, returned = nn.Linear(2, 3), [], []

    def replace(module, grads, grad_output=None):
        returned.append(wrong(grads))
        return returned[0]

    register = module.register_full_backward_hook if full else module.register_full_backward_pre_hook
    register(replace)
    register(lambda module, *grads: seen.append(grads[0]))
    with pytest.raises((RuntimeError, TypeError), match=words):
        module(torch.ones(1, 2, requires_grad=True)).sum().backward()
    assert len(seen) == 1 and seen[0] is returned[0]


def test_a_gradient_in_the_place_of_none_is_checked_against_the_output():
    module, x = Two(), torch.ones(2, requires_grad=True)
    module.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0], torch.ones(7)))
    with pytest.raises(RuntimeError, match="hook 'hook' has changed the size of value"):
        module(x)[0].sum().backward()


class Two(nn.Module):
    def forward(self, x):
        return x * 2, x * 3


def test_arguments_from_a_pre_hook_with_kwargs_stay_what_they_are():
    module, seen = nn.Identity(), []
    module.forward = lambda *args, **kwargs: seen.append((args, kwargs))
    module.register_forward_pre_hook(lambda module, args, kwargs: ([7, 8], OrderedDict(k=1)), with_kwargs=True)
    module.register_forward_pre_hook(lambda module, args: seen.append(args))
    module.register_forward_hook(lambda module, args, kwargs, output: seen.append((args, kwargs)), with_kwargs=True)
    module(0)
    assert seen == [[7, 8], ((7, 8), {"k": 1}), ([7, 8], OrderedDict(k=1))] and type(seen[2][1]) is OrderedDict


def test_warnings_of_a_modules_call_are_shown_once():
    class Dict(nn.Module):
        def forward(self, x):
            return {"x": x * 2}

    module = Dict()
    module.register_full_backward_hook(print)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        module(torch.ones(1, requires_grad=True))
        module(torch.ones(1, requires_grad=True))
    assert [w.filename for w in caught] == [sys.modules["hookgrad.nn.modules.module"].__file__]


def test_the_node_of_full_backward_hooks_shows_itself_as_a_functions():
    module = nn.Identity()
    module.register_full_backward_hook(print)
    node = module(torch.ones(1, requires_grad=True)).grad_fn
    assert repr(node).startswith("<torch.autograd.function.BackwardHookFunctionBackward object at 0x")


def test_a_backward_hook_made_by_hand_has_the_private_names():
    class Own(torch.utils.hooks.BackwardHook):
        def _pack_with_none(self, indices, values, size):
            return super()._pack_with_none(indices, [v * 2 for v in values], size)

    hook = Own(None, [lambda module, grad_input, grad_output: fired.append((grad_input, grad_output))], [])
    x, fired = torch.ones(1, requires_grad=True), []
    hook.setup_output_hook(hook.setup_input_hook((x, "k"))[0] * 3).backward()
    assert fired == [((torch.tensor([12.0]), None), (torch.tensor([2.0]),))]
    assert hook._unpack_none([0, 2], "abc") == ("a", "c") and hook._apply_on_tensors(print, (1,)) == ((1,), None)


def test_a_parameter_that_a_hook_returns_becomes_a_plain_gradient():
    x = leaf(1, 2)
    x.register_hook(lambda g: nn.Parameter(g * 2))
    (x * 3).sum().backward()
    assert type(x.grad) is torch.Tensor and not x.grad.requires_grad and x.grad.tolist() == [6.0, 6.0]


def test_backward_takes_its_gradient_in_a_sequence():
    x = leaf(1, 2)
    (x * 3).backward([torch.ones(2)])
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        (x * 3).backward(3)
