"""Backward where some of what it could reach is wanted: what runs, what hooks see, what is filled. Expected values are PyTorch's."""

from collections import OrderedDict

import pytest

import hookgrad as torch


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


def test_backward_with_inputs_fills_only_those():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3.0 and y.grad is None


def test_backward_with_an_intermediate_as_input_fills_its_grad():
    x = leaf(2.0)
    y = x * x
    (y * 3).backward(inputs=[y])
    assert y.grad.item() == 3.0 and x.grad is None


def test_backward_with_an_edge_as_input_fills_a_retained_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    edge = torch.autograd.graph.get_gradient_edge(y)
    (y * y).backward(inputs=[edge])
    assert y.grad.item() == 12.0 and x.grad is None
    z = x * 3
    edge = torch.autograd.graph.get_gradient_edge(z)
    (z * z).backward(inputs=[edge], retain_graph=True)
    assert not z.retains_grad
    (z * z).backward(inputs=[edge, z, edge])
    assert z.grad.item() == 12.0 and x.grad is None


def test_backward_with_inputs_runs_the_node_of_an_input():
    x = torch.ones(2, requires_grad=True)
    y = x.exp()
    y.grad_fn.register_hook(lambda grad_inputs, grad_outputs: ran.append(grad_outputs[0].tolist()))
    ran = []
    (y * 2).sum().backward(inputs=[y], retain_graph=True)
    assert ran == [[2, 2]] and y.grad.tolist() == [2, 2] and x.grad is None
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        y.sum().backward(inputs=[torch.ones(2)])


def test_inputs_may_be_a_dict():
    x, y, z = (torch.ones(2, requires_grad=True) for _ in range(3))
    named = {"x": x, "y": y}
    found = torch.autograd.grad((x * y * 2).sum(), named)
    assert list(found) == ["x", "y"] and found["y"].tolist() == [2, 2]
    assert torch.autograd.grad(x.sum(), {"z": z}, allow_unused=True) == {"z": None}
    assert torch.autograd.grad(x.sum(), {"z": z}, materialize_grads=True)["z"].tolist() == [0, 0]
    rows = torch.autograd.grad(x * 3, {"x": x}, torch.eye(2), is_grads_batched=True)
    assert rows["x"].tolist() == [[3, 0], [0, 3]]
    (x * y * z).sum().backward(inputs=named)
    torch.autograd.backward((x * y * z).sum(), inputs={"x": x})
    assert x.grad.tolist() == [2, 2] and y.grad.tolist() == [1, 1] and z.grad is None
    for call in (lambda inputs: torch.autograd.grad(x.sum(), inputs), lambda inputs: x.sum().backward(inputs=inputs)):
        with pytest.raises(TypeError, match="must be a dict, not OrderedDict. Other Mapping types are not supported"):
            call(OrderedDict(named))
        with pytest.raises(RuntimeError, match="cannot be empty"):
            call({})
        with pytest.raises(RuntimeError, match="all inputs have to be Tensors or GradientEdges, but got int"):
            call({"x": 3})


def test_a_function_that_is_one_node_computes_what_a_partial_run_wants():
    x, grid = torch.rand(1, 1, 2, 2, requires_grad=True), torch.rand(1, 2, 2, 2, requires_grad=True)
    y, seen = torch.nn.functional.grid_sample(x, grid, align_corners=True), []
    y.grad_fn.register_hook(lambda grad_input, grad_output: seen.append([g is not None for g in grad_input]))
    for inputs in (x, grid, (x, grid)):
        torch.autograd.grad(y.sum(), inputs, retain_graph=True)
        torch.autograd.grad(y.sum(), inputs, create_graph=True)
    y.sum().backward(inputs=[y], retain_graph=True)
    y.sum().backward()
    assert seen == [[True, False]] * 2 + [[False, True]] * 2 + [[True, True]] * 2 + [[False, False], [True, True]]
    a, b = (torch.rand(3, requires_grad=True) for _ in range(2))
    z = torch.special.xlog1py(a, b)  # which has its derivative written out
    z.grad_fn.register_hook(lambda grad_input, grad_output: seen.append([g is not None for g in grad_input]))
    torch.autograd.grad(z.sum(), b)
    assert seen[-1] == [False, True]


def test_a_node_without_a_derivative_fails_where_nothing_behind_it_is_wanted():
    x = torch.rand(3, requires_grad=True)
    y = torch.heaviside(x, x)
    with pytest.raises(RuntimeError, match="derivative for aten::heaviside is not implemented"):
        y.sum().backward(inputs=[y])


def test_the_hooks_of_a_single_root_run_though_nothing_wanted_is_behind_it():
    x, w, seen = leaf(2.0), leaf(3.0), []
    y = x.exp()
    y.register_hook(lambda g: seen.append(g.item()))
    y.grad_fn.register_prehook(lambda g: seen.append("node"))
    y.retain_grad()
    assert torch.autograd.grad(y, w, allow_unused=True, retain_graph=True) == (None,)
    assert seen == [1.0] and y.grad.item() == 1.0
    torch.autograd.grad((y, y), w, allow_unused=True, retain_graph=True)
    assert seen == [1.0]
    x.register_hook(seen.append)
    torch.autograd.backward(x, torch.full((1,), 7.0), inputs=[w])
    assert seen == [1.0, 7.0] and x.grad is None and w.grad is None
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        torch.autograd.grad(y, w)


def test_unused_inputs():
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        torch.autograd.grad(x * 2, (x, y))
    assert torch.autograd.grad(x * 2, (x, y), allow_unused=True)[1] is None
    g = torch.autograd.grad(x * 2, (x, y), materialize_grads=True)[1]
    assert g.tolist() == [0.0]


def test_the_sign_of_a_determinant_leads_nowhere():
    x = torch.eye(2, requires_grad=True)
    assert torch.autograd.grad(torch.linalg.slogdet(x).sign, x, allow_unused=True) == (None,)


def test_the_gradient_of_a_bias_alone_leads_on_to_a_layers_input():
    x, bias = torch.rand(4, 4, requires_grad=True), torch.rand(4, requires_grad=True)
    F = torch.nn.functional
    for y in (F.batch_norm(x, None, None, None, bias, True), F.layer_norm(x, (4,), None, bias)):
        (grad,) = torch.autograd.grad(y.sum(), bias, create_graph=True)
        assert grad.tolist() == [4.0] * 4 and grad.requires_grad
