"""Autograd: what backward and grad give, what they keep, and how they fail. Expected values are PyTorch's."""

import copy
import gc
import subprocess
import sys
import weakref

import pytest

import hookgrad as torch


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


# ---- backward and grad


def test_gradients_accumulate_into_leaves():
    x = leaf(2.0, 3.0)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [8.0, 12.0]


def test_a_tensor_used_twice_gets_the_sum():
    x = leaf(3.0)
    y = x * 2
    (y * y + y).backward(torch.ones(1))
    assert x.grad.tolist() == [26.0]


def test_broadcast_gradients_are_summed_to_the_shape_of_the_input():
    a, b = torch.ones(3, 1, requires_grad=True), torch.ones(4, requires_grad=True)
    (a * b * 2).sum().backward()
    assert a.grad.shape == (3, 1) and a.grad.flatten().tolist() == [8.0, 8.0, 8.0]
    assert b.grad.tolist() == [6.0] * 4


def test_gradients_come_back_in_the_dtype_of_the_input():
    a = torch.ones(2, requires_grad=True)
    b = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (a * b).sum().backward()
    assert a.grad.dtype is torch.float32 and b.grad.dtype is torch.float64


def test_grad_leaves_dot_grad_alone():
    x, y = leaf(2.0), leaf(5.0)
    gx, gy = torch.autograd.grad(x * y, (x, y))
    assert (gx.item(), gy.item()) == (5.0, 2.0)
    assert x.grad is None and y.grad is None


def test_grad_of_an_intermediate():
    x = leaf(2.0)
    y = x * x
    z = y * y
    assert torch.autograd.grad(z, y)[0].item() == 8.0


def test_grad_with_given_outputs():
    x = leaf(1.0, 2.0)
    (g,) = torch.autograd.grad(x * 3, x, grad_outputs=torch.tensor([1.0, 10.0]))
    assert g.tolist() == [3.0, 30.0]


def test_parts_of_a_composite_run_backward_in_pytorchs_order():
    x, y, order = torch.rand(3, requires_grad=True), torch.rand(3, requires_grad=True), []
    x.register_hook(lambda grad: order.append("x"))
    y.register_hook(lambda grad: order.append("y"))
    torch.trapezoid(x, y).backward()
    torch.cumulative_trapezoid(x, y).sum().backward()
    assert order == ["x", "y"] * 2
    product = torch.nn.functional.cosine_similarity(x, y, 0).grad_fn.next_functions[0][0]
    first, second = (node._sequence_nr() for node, _ in product.next_functions)
    assert first > second


def test_the_first_hook_of_an_output_waits_where_the_others_run():
    x, seen = torch.rand(2, 2, requires_grad=True), []
    a, b = x.unbind()
    a.register_hook(lambda grad: b.register_hook(seen.append) and None)
    for n in (0, 2):
        torch.autograd.backward([a.sum(), b.sum()], retain_graph=True)
        assert len(seen) == n


def test_a_root_given_twice_is_ready_the_second_time():
    x, y, order = leaf(1.0), leaf(1.0), []
    x.register_hook(lambda grad: order.append("x"))
    y.register_hook(lambda grad: order.append("y"))
    torch.autograd.backward([x, y, x])
    assert order == ["y", "x"]


def test_several_roots_are_summed():
    x = leaf(2.0)
    torch.autograd.backward([x * 2, x * x], [torch.ones(1), torch.tensor([10.0])])
    assert x.grad.item() == 42.0


def test_a_leaf_is_its_own_root():
    x = leaf(2.0)
    x.backward(torch.tensor([5.0]))
    assert x.grad.item() == 5.0


# ---- higher orders


def test_second_and_third_derivatives():
    x = leaf(2.0)
    (g1,) = torch.autograd.grad(x**4, x, create_graph=True)
    (g2,) = torch.autograd.grad(g1, x, create_graph=True)
    (g3,) = torch.autograd.grad(g2, x)
    assert (g1.item(), g2.item(), g3.item()) == (32.0, 48.0, 48.0)


def test_backward_with_create_graph_makes_grad_differentiable():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    first = x.grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 18.0


def test_without_create_graph_gradients_have_no_history():
    x = leaf(3.0)
    (x**3).backward()
    assert not x.grad.requires_grad and x.grad.grad_fn is None


# ---- what is kept, what is freed


def test_backward_twice_is_refused():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_retain_graph_allows_it():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8.0


def test_a_graph_that_saved_nothing_may_be_used_again():
    x = leaf(2.0)
    y = x + x
    y.backward()
    y.backward()
    assert x.grad.item() == 4.0


def test_a_dropped_graph_is_freed_at_once():
    gc.disable()
    try:
        x = leaf(2.0)
        y = (x * x).exp()
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_a_chain_of_a_million_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(1_000_000):
        y = y + x
    y.backward()
    assert x.grad.item() == 1_000_001.0
    del y


def test_retain_grad():
    x = leaf(2.0)
    y = x * x
    assert not y.retains_grad
    y.retain_grad()
    assert y.retains_grad
    (y * 3).backward()
    assert y.grad.item() == 3.0


def test_retain_grad_needs_a_gradient():
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        torch.ones(1).retain_grad()


# ---- flags


def test_requires_grad_spreads():
    x, c = leaf(1.0), torch.ones(1)
    assert (x * c).requires_grad and not (c * c).requires_grad
    assert x.is_leaf and not (x * c).is_leaf and (c * c).is_leaf


def test_only_floating_tensors_can_require_grad():
    x = torch.ones(2, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="[oO]nly Tensors of floating point and complex dtype can require gradients"):
        x.requires_grad = True
    with pytest.raises(RuntimeError, match="nly Tensors of floating point and complex dtype can require gradients"):
        torch.ones(2, dtype=torch.int64, requires_grad=True)


def test_requires_grad_of_a_result_cannot_be_switched_off():
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        (leaf(1.0) * 2).requires_grad_(False)


def test_no_grad_and_detach():
    x = leaf(2.0)
    with torch.no_grad():
        assert not (x * 2).requires_grad
        with torch.enable_grad():
            assert (x * 2).requires_grad
    assert not x.detach().requires_grad
    assert x.detach().data_ptr() == x.data_ptr()


def test_inference_mode():
    x = leaf(2.0)
    with torch.inference_mode():
        y = x * 2
    assert y.is_inference() and not y.requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * y


# ---- names and edges


def test_grad_fn_and_next_functions():
    x, y = leaf(1.0), torch.ones(1)
    z = x * y
    assert z.grad_fn.name() == "MulBackward0"
    (to_x, nr), nothing = z.grad_fn.next_functions
    assert to_x.name() == "torch::autograd::AccumulateGrad" and nr == 0 and to_x.variable is x
    assert type(to_x).__name__ == "AccumulateGrad"
    assert nothing == (None, 0)


def test_an_accumulator_is_found_again_while_it_lives():
    x = leaf(1.0)
    a = (x * 2).grad_fn.next_functions[0][0]
    assert (x * 3).grad_fn.next_functions[0][0] is a


# ---- errors


def test_backward_of_several_elements_needs_a_gradient():
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (leaf(1.0, 2.0) * 2).backward()


def test_backward_without_history():
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        torch.ones(1).backward()


def test_gradient_of_another_shape():
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of torch.Size\(\[3\]\)"):
        (leaf(1.0, 2.0) * 2).backward(torch.ones(3))


def test_assigned_grad_must_fit():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"a gradient of size '\[3\]' to a tensor of size '\[2\]'"):
        x.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="to a tensor with grad_dtype 'Float'"):
        x.grad = torch.ones(2, dtype=torch.float64)
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got grad of type int"):
        x.grad = 3
    with pytest.raises(RuntimeError, match="can't assign Variable as its own grad"):
        x.grad = x
    x.grad = torch.ones(2)
    assert x.grad.tolist() == [1.0, 1.0]
    x.grad = None
    assert x.grad is None


# ---- batches, leaves that change


def test_gradients_in_batches():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = torch.ones(2, requires_grad=True)
    y = x * x
    batched = {"is_grads_batched": True, "retain_graph": True}
    (jacobian,) = torch.autograd.grad(y, x, torch.eye(3), **batched)
    assert jacobian.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]
    got = torch.autograd.grad([y, y.sum()], [x, w], [torch.eye(3), torch.ones(3)], allow_unused=True, **batched)
    assert got[0].tolist() == [[4, 4, 6], [2, 8, 6], [2, 4, 12]] and got[1] is None
    starts = torch.eye(3).requires_grad_()
    (jacobian,) = torch.autograd.grad(y, x, starts, is_grads_batched=True, create_graph=True)
    assert torch.autograd.grad(jacobian.sum(), starts)[0].tolist() == [[2, 4, 6]] * 3
    with pytest.raises(RuntimeError, match="the first dimension of each grad_output as the batch dimension"):
        torch.autograd.grad(y, x, torch.ones(3), **batched)
    with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs"):
        torch.autograd.grad(y, x, **batched)
    with pytest.raises(ValueError, match="Expected all tensors to have the same size in the mapped dimension"):
        torch.autograd.grad([y, y], x, [torch.eye(3), torch.ones(2, 3)], **batched)
    torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True)


def test_a_batch_of_gradients_that_does_not_fit_is_told_as_in_pytorch():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"grad_output\[0\] has a shape of torch.Size\(\[4\]\) and output\[0\] has"):
        torch.autograd.grad(x * 2, x, torch.ones(5, 3, 4), is_grads_batched=True)


def test_a_leaf_frozen_after_forward_gets_no_gradient():
    x = torch.ones(1, requires_grad=True)
    seen = []
    x.register_hook(seen.append)
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad))
    y = x * 2
    x.requires_grad_(False)
    y.backward()
    assert seen[0].item() == 2 and seen[1] is None and x.grad is None


def test_a_leaf_that_became_a_result_gets_no_gradient():
    x = torch.ones(1, requires_grad=True)
    y = x * 2
    x.requires_grad_(False)
    x.mul_(torch.ones(1, requires_grad=True))
    with pytest.raises(RuntimeError, match="leaf variable has been moved into the graph interior"):
        y.backward()


# ---- What has no derivative


IN_PLACE_ONLY = {  # asinh() and the others have a derivative
    name: node
    for h, node in (("sinh", "AsinhBackward1"), ("cosh", "AcoshBackward1"), ("tanh", "AtanhBackward1"))
    for name in (f"a{h}_", f"arc{h}_")
}


@pytest.mark.parametrize(
    "function, node",
    [
        (lambda x: x.unique(), "Unique2Backward0"),
        (lambda x: torch.unique(x, dim=0), "UniqueDimBackward0"),
        (lambda x: torch.unique_consecutive(x), "UniqueConsecutiveBackward0"),
        *[((lambda x, name=name: getattr(x * 1, name)()), node) for name, node in IN_PLACE_ONLY.items()],
    ],
)
def test_a_function_without_derivative_is_recorded_and_backward_says_so(function, node):
    out = function(leaf(1.0, 2.0))
    assert out.requires_grad and out.grad_fn.name() == node
    with pytest.raises(NotImplementedError, match="the derivative for '.*' is not implemented"):
        out.sum().backward()


@pytest.mark.parametrize("name", IN_PLACE_ONLY)
def test_what_has_no_derivative_in_place_is_computed_there_without_gradients(name):
    x = torch.tensor([0.5]) + ("cosh" in name)
    expected = getattr(x, name.strip("_"))()
    assert getattr(x, name)() is x and x.equal(expected)


@pytest.mark.parametrize(
    "op, function",
    [
        ("detach_copy", torch.detach_copy),
        ("binomial", lambda x: torch.binomial(torch.tensor([4.0, 4.0]), x)),
        ("floor_divide", lambda x: x.floor_divide(2)),
    ],
)
def test_going_backward_through_a_function_without_formula_is_an_error(op, function):
    out = function(leaf(0.25, 0.5))
    assert out.grad_fn.name() == "torch::autograd::NotImplemented"
    with pytest.raises(RuntimeError, match=f"derivative for aten::{op} is not implemented"):
        out.sum().backward()


def test_nextafter_hands_its_gradient_on_where_the_number_changed():
    x, y = leaf(1.0, 2.0), leaf(1.0, 3.0)
    torch.nextafter(x, y).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0] and y.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name, args", [("polygamma_", (1,)), ("mvlgamma_", (2,)), ("nextafter_", (torch.ones(2),))])
def test_a_function_written_into_its_argument_has_the_derivative_of_the_function(name, args):
    x, z = leaf(2.5, 3.0), leaf(2.5, 3.0)
    y = z * 1
    assert getattr(y, name)(*args) is y
    y.sum().backward()
    function = (lambda x, n: torch.polygamma(n, x)) if name == "polygamma_" else getattr(torch, name[:-1])
    function(x, *args).sum().backward()
    assert torch.allclose(z.grad, x.grad)


def test_places_and_counts_of_unique_elements_need_no_gradient():
    values, places, counts = torch.unique(leaf(1.0, 2.0), return_inverse=True, return_counts=True)
    assert values.requires_grad and not places.requires_grad and not counts.requires_grad


# ---- Edges of odd kinds


def test_a_leaf_that_stopped_to_require_a_gradient_is_still_a_saved_tensor():
    x, w = leaf(2.0), leaf(3.0)
    y = x * w
    x.requires_grad_(False)
    y.backward(torch.ones(1))
    assert w.grad.item() == 2.0


def test_zeros_for_an_edge_are_an_error_only_where_they_would_be_needed():
    x, other = leaf(1.0), leaf(1.0) * 1
    edge = torch.autograd.graph.get_gradient_edge
    out = (x * 2).sum()
    assert torch.autograd.grad(out, (edge(x), other), retain_graph=True, materialize_grads=True)[1].item() == 0.0
    with pytest.raises(RuntimeError, match="materialize_grads cannot be used when the given input is a GradientEdge"):
        torch.autograd.grad(out, (x, edge(other)), materialize_grads=True)


def test_delayed_errors_come_only_on_the_way_to_what_lies_behind_them():
    x, y = leaf(1.0), leaf(1.0)
    safe = torch._C._functions.DelayedError("too late", 1)(y)
    assert safe.grad_fn.name() == "torch::autograd::Error"
    out = (x.clone().view(-1).add_(safe)).sum()
    assert torch.autograd.grad(out, (x, safe), retain_graph=True) == (torch.ones(1), torch.ones(1))
    with pytest.raises(RuntimeError, match="too late"):
        out.backward()


def test_an_undefined_gradient_reaches_a_function_as_it_wants_it():
    seen = []

    class Pass(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, materialize):
            ctx.set_materialize_grads(materialize)
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            seen.append(grad)
            return grad, None

    for materialize in (True, False):
        torch._C._functions.UndefinedGrad()(Pass.apply(leaf(1.0), materialize)).backward(torch.ones(1))
    assert seen[0].item() == 0.0 and seen[1] is None


def test_once_differentiable_keeps_a_place_for_arguments_without_gradient():
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor, y):
            return x * factor + y

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return grad * 2, None, grad * 1

    x, y = leaf(1.0), leaf(1.0)
    go = torch.ones(1, requires_grad=True)
    (grad,) = torch.autograd.grad(Scale.apply(x, 2, y), x, go, create_graph=True)
    assert [node is not None for node, _ in grad.grad_fn.next_functions] == [True, False, True]


def test_a_node_hook_registered_while_its_node_unpacks_sees_no_gradient_that_arrived():
    seen = []

    def unpack(t):
        torch._C._current_autograd_node().register_hook(lambda inputs, outputs: seen.append((len(inputs), outputs)))
        return t

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        leaf(1.0).sin().sum().backward()
    assert len(seen) == 1 and seen[0][0] == 1 and all(g is None for g in seen[0][1])


def test_a_history_can_be_set_to_none_and_nothing_else():
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="can be only set to None"):
        y._grad_fn = 3
    with pytest.raises(RuntimeError, match="Deletion of _grad_fn not allowed"):
        del y._grad_fn
    with pytest.raises(RuntimeError, match="not allowed"):
        del y._backward_hooks
    assert y.requires_grad
    y._grad_fn = None
    assert y.grad_fn is None and not y.requires_grad


def test_numpy_shows_a_tensor_with_history_where_nothing_is_recorded():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        x.numpy()
    with torch.no_grad():
        assert x.numpy().tolist() == [1.0, 2.0] and (x * 1).numpy().tolist() == [1.0, 2.0]


def test_in_inference_mode_a_tensor_that_requires_a_gradient_can_be_resized():
    with torch.inference_mode():
        assert torch.ones(2, 3, requires_grad=True).resize_(4).shape == (4,)
    with pytest.raises(RuntimeError, match="cannot resize"):
        leaf(1.0, 2.0).resize_(1)


@pytest.mark.parametrize(
    "call",
    [lambda root, x: torch.autograd.grad(root, x), lambda root, x: torch.autograd.backward(root, inputs=[x])],
)
def test_roots_are_looked_at_before_inputs(call):
    plain, hidden = torch.tensor(1.0), leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
        call(plain, plain)
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
        call(plain, hidden)
    assert not hidden.retains_grad
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        call(leaf(1.0, 2.0) * 1, plain)


def test_a_node_that_had_another_life_leads_to_a_leaf():
    x = torch.ones(3, requires_grad=True)
    for _ in range(3):
        torch.aminmax(x * 2)[1].exp().backward()  # the edge leads to the second output
        leaf = torch.ones((), requires_grad=True)
        leaf.exp().backward()
        assert leaf.grad.item() == pytest.approx(2.71828, rel=1e-5)


# ---- The warning of create_graph

WARNS = """
import warnings
import hookgrad as torch
log, p = [], torch.ones(2, requires_grad=True)
warnings.simplefilter(%r)
warnings.showwarning = lambda message, *_: log.append(str(message)[:38])
p.register_hook(lambda grad: log.append("hook"))
def run(fails=False, **options):
    if fails:
        p.register_hook(lambda grad: 1 / 0)
    try:
        (p * 2).sum().backward(**options)
    except (UserWarning, ZeroDivisionError) as error:
        log.append(type(error).__name__)
"""

SAID = "Using backward() with create_graph=True"[:38]


@pytest.mark.parametrize(
    "filter, calls, expected",
    [
        ("always", "run(); run(create_graph=True); run(create_graph=True)", ["hook", "hook", SAID, "hook"]),
        ("always", "run(fails=True, create_graph=True)", ["hook", SAID, "ZeroDivisionError"]),
        ("error", "run(create_graph=True); log += p.grad.tolist()", ["hook", "UserWarning", 2.0, 2.0]),
        ("error", "run(fails=True, create_graph=True)", ["hook", "ZeroDivisionError"]),
    ],
)
def test_the_warning_of_create_graph_comes_once_and_after_the_hooks(run_python, filter, calls, expected):
    done = run_python("-c", f"{WARNS % filter}\n{calls}\nprint(log)")
    assert done.stdout == f"{expected}\n"


def test_a_backward_that_cannot_begin_does_not_warn_of_its_graph(run_python):
    calls = """
try:
    torch.ones(()).backward(create_graph=True)
except RuntimeError:
    log.append("refused")
run(create_graph=True)
print(log)
"""
    assert run_python("-c", WARNS % "always" + calls).stdout == f"{['refused', 'hook', SAID]}\n"


def test_the_old_resize_keeps_the_elements_and_the_history():
    x = torch.arange(4.0, requires_grad=True)
    with pytest.warns(UserWarning, match="non-inplace resize"):
        y = x.resize(2, 2)
    with pytest.warns(UserWarning, match="non-inplace resize_as"):
        z = x.resize_as(y)
    assert y.tolist() == [[0, 1], [2, 3]] and z.shape == (2, 2) and y.grad_fn.name() == "ResizeBackward"
    y.square().sum().backward()
    assert x.grad.tolist() == [0, 2, 4, 6]
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="requested resize to 5"):
        x.resize(5)


def test_a_number_made_of_what_requires_a_gradient_is_warned_of_once():
    script = """
import warnings, hookgrad as torch
warnings.simplefilter("error")
x = torch.tensor(2.0, requires_grad=True)
with torch.no_grad():
    float(x)
x.item(), int(x), x.tolist(), float(x.detach()), f"{x:.1f}"
try:
    complex(x * 2)
except UserWarning as warning:
    assert str(warning).startswith("Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.")
else:
    raise AssertionError
assert float(x) == 2 and torch.tensor([x]).tolist() == [2]
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_gradient_lies_on_the_device_of_its_tensor():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="gradient with device type 'meta' to a tensor with device type 'cpu'"):
        x.grad = torch.ones(2, device="meta")
    m = torch.ones(2, device="meta", requires_grad=True)
    m.grad = torch.ones(2, device="meta")
    assert m.grad.is_meta and x.grad is None


def test_a_gradient_summed_over_leading_dimensions_is_a_view_where_it_is_seen():
    for leaf in (True, False):
        x = torch.ones(2, 3, requires_grad=True)
        y, seen = x if leaf else x * 1, []
        (gradient,) = torch.autograd.grad((y * torch.ones(4, 2, 3)).sum(), y)
        assert gradient._is_view() and gradient._base.shape == (1, 2, 3)
        y.register_hook(seen.append)
        (y + torch.ones(4, 2, 3)).sum().backward()
        assert seen[0]._is_view() and seen[0].tolist() == [[4.0] * 3] * 2
        assert not x.grad._is_view()
    bias, seen = torch.ones(3, requires_grad=True), []
    node = (torch.ones(2, 3) + bias).sum()
    node.grad_fn.next_functions[0][0].register_hook(lambda grads, _: seen.extend(grads))
    node.backward()
    assert seen[0] is None and seen[1]._is_view() and not bias.grad._is_view()


def test_a_cast_turns_its_gradient_back_also_where_the_leaf_takes_any():
    x = torch.ones(2, requires_grad=True)
    x.grad_dtype = None
    x.double().sum().backward()
    assert x.grad.dtype == torch.float32
    x.grad = None
    (x * torch.ones(2, dtype=torch.float64)).sum().backward()
    assert x.grad.dtype == torch.float64


@pytest.mark.parametrize(
    ("function", "version"),
    [
        (lambda x: x.max(0)[0], 2), (lambda x: x.max(), 1), (lambda x: x.sort()[0], 2), (lambda x: x.median(), 1),
        (lambda x: x.gather(0, torch.tensor([[0, 1]])), 1), (lambda x: x.index_select(0, torch.tensor([0])), 1),
        (lambda x: x.cummax(0)[0], 2), (lambda x: x.take(torch.tensor([0])), 1), (lambda x: x.trace(), 2), (lambda x: sum(x.aminmax()), 1),
        (lambda x: torch.nn.functional.binary_cross_entropy_with_logits(x, x.detach(), reduction="sum"), 2),
        (lambda x: torch.nn.functional.binary_cross_entropy_with_logits(x.detach(), x, x.detach()), 2),
    ],
)  # fmt: skip
def test_a_gradient_that_is_written_into_zeros_has_their_version(function, version):
    x = torch.arange(6.0).view(3, 2).requires_grad_()
    (grad,) = torch.autograd.grad(function(x).sum(), x)
    assert grad._version == version


def test_a_vector_times_a_matrix_is_squeezed_in_place():
    x, weight = torch.ones(3), torch.ones(2, 3)
    results = x @ weight.t(), torch.nn.functional.linear(x, weight), weight @ x
    assert [y._version for y in results] == [1, 1, 0]
    y = torch.tensor([1.0, 2, 3], requires_grad=True) @ weight.t()
    assert y._version == 1 and y._base is None


def test_the_flag_of_what_is_no_leaf_cannot_be_set():
    y = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(RuntimeError, match=r"^you can only change requires_grad flags of leaf variables\.$"):
        y.requires_grad = True
    assert y.requires_grad_() is y


def test_a_grad_laid_out_otherwise_than_its_tensor_is_worth_a_warning():
    x = torch.ones(2, 3, requires_grad=True)
    x.grad = torch.zeros(3, 2).t()
    with pytest.warns(UserWarning, match=r"layout contract[\s\S]*grad\.sizes\(\) = \[2, 3\], strides\(\) = \[1, 2\]"):
        x.sum().backward()


def test_an_edge_of_no_node_is_refused():
    with pytest.raises(RuntimeError, match="first object must be an autograd.graph.Node but got Tensor"):
        x = torch.ones(1, requires_grad=True)
        torch.autograd.grad(x.sum(), torch.autograd.graph.GradientEdge(x, 0))


def test_a_copy_of_an_inference_tensor_is_a_normal_one():
    with torch.inference_mode():
        x = torch.ones(2)
    y = copy.copy(x)
    assert not y.is_inference() and y.data_ptr() == x.data_ptr()


def test_backward_takes_its_gradient_out_of_a_sequence():
    x = torch.ones(2, requires_grad=True)
    (x * 2).backward((torch.ones(2), None))
    assert x.grad.tolist() == [2, 2]
    with pytest.raises(TypeError, match=r"'float' object is not iterable"):
        x.sum().backward(2.0)
    with pytest.raises(TypeError, match=r"gradients can be either Tensors or None, but got str"):
        x.sum().backward(["a"])
