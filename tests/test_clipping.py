"""Gradients clipped by norm and by value, and parameters as one vector."""

import pytest

import hookgrad as torch
from hookgrad import nn


def parameters_with_gradients():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1, 2))
    a.grad, b.grad = torch.tensor([1.0, 2.0]), torch.tensor([[2.0, 4.0]])
    return [a, b]


def test_clip_grad_norm():
    ps = parameters_with_gradients()
    assert nn.utils.clip_grad_norm_(ps, 2.5).item() == 5.0
    assert ps[0].grad.tolist() == pytest.approx([0.5, 1.0], rel=1e-5)
    assert ps[1].grad.flatten().tolist() == pytest.approx([1.0, 2.0], rel=1e-5)
    before = ps[0].grad.clone()
    nn.utils.clip_grad_norm_(ps, 100.0)
    assert torch.equal(ps[0].grad, before)
    ps = parameters_with_gradients()
    assert nn.utils.clip_grad_norm_(ps, 1.0, norm_type=float("inf")).item() == 4.0
    assert nn.utils.clip_grad_norm_(parameters_with_gradients(), 1.0, norm_type=1).item() == 9.0
    assert nn.utils.clip_grad_norm_(ps[0], 9.0).shape == ()
    assert nn.utils.clip_grad_norm_([torch.ones(1)], 1.0).item() == 0.0
    assert nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]).item() == 5.0


def test_clip_grad_norm_of_nonsense():
    ps = parameters_with_gradients()
    ps[0].grad[0] = float("nan")
    with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients from `parameters` is non-finite"):
        nn.utils.clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_(ps, 1.0).isnan().item()


def test_clip_grad_value():
    ps = parameters_with_gradients()
    nn.utils.clip_grad_value_(ps, 1.5)
    assert ps[0].grad.tolist() == [1.0, 1.5]
    assert ps[1].grad.tolist() == [[1.5, 1.5]]


def test_vectors():
    ps = parameters_with_gradients()
    v = torch.arange(4.0)
    nn.utils.vector_to_parameters(v, ps)
    assert [p.tolist() for p in ps] == [[0.0, 1.0], [[2.0, 3.0]]]
    assert torch.equal(nn.utils.parameters_to_vector(ps), v)
    with pytest.raises(TypeError, match="expected torch.Tensor, but got: int"):
        nn.utils.vector_to_parameters(3, ps)


def test_clipping_values_of_no_gradient_is_an_error():
    p = nn.Parameter(torch.ones(2))
    for parameters in (p, [p], []):
        with pytest.raises(RuntimeError, match="to be true, but got false"):
            nn.utils.clip_grad_value_(parameters, 1.0)
    for foreach, writes in ((None, 2), (True, 2), (False, 1)):
        p.grad = torch.tensor([3.0, -4.0])
        nn.utils.clip_grad_value_(p, 0.5, foreach=foreach)
        assert (p.grad.tolist(), p.grad._version) == ([0.5, -0.5], writes)


def test_a_generator_without_parameters_is_warned_of():
    for parameters in (nn.Tanh().parameters(), (p for p in ())):
        with pytest.warns(UserWarning, match="is an empty generator, no gradient clipping will occur"):
            assert nn.utils.clip_grad_norm_(parameters, 1.0).item() == 0.0
