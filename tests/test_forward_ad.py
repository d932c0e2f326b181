"""Dual tensors; tests/oracle/scripts/68_forward_mode.py compares them with PyTorch."""

import pytest

import hookgrad as torch
from hookgrad.autograd import forward_ad as fw


def test_tangents_agree_with_finite_differences():
    x, v = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def f(x):
        return (x.outer(x).softmax(1) @ x).exp().cumsum(0)

    with fw.dual_level():
        primal, tangent = fw.unpack_dual(f(fw.make_dual(x, v)))
    assert torch.allclose(primal, f(x))
    assert torch.allclose(tangent, (f(x + 1e-6 * v) - f(x - 1e-6 * v)) / 2e-6, atol=1e-6)


def test_several_duals_add_up_and_the_rest_counts_as_constant():
    a, b, c = (torch.tensor(float(i)) for i in (2, 3, 4))
    with fw.dual_level():
        y = fw.make_dual(a, torch.tensor(1.0)) * fw.make_dual(b, torch.tensor(10.0)) * c
        assert fw.unpack_dual(y).tangent.item() == (3 + 20) * 4


def test_a_function_goes_by_its_jvp():
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)
            return x * 2

        @staticmethod
        def jvp(ctx, tangent):
            return tangent * 7 + 0 * ctx.saved_tensors[0]

    with fw.dual_level():
        y = Odd.apply(fw.make_dual(torch.ones(1), torch.ones(1)))
        assert fw.unpack_dual(y * 2).tangent.item() == 14.0
    assert Odd.apply(torch.ones(1)).item() == 2.0


def test_levels_begin_and_end_once():
    with fw.dual_level():
        x = fw.make_dual(torch.ones(1), torch.ones(1))
        with pytest.raises(RuntimeError, match="Nested forward mode"):
            fw.enter_dual_level()
    assert fw.unpack_dual(x).tangent is None
    with pytest.raises(RuntimeError, match="no level exists"):
        fw.make_dual(torch.ones(1), torch.ones(1))
    with pytest.raises(RuntimeError):
        fw.exit_dual_level()


def test_the_level_and_the_switch_can_be_asked_for():
    forward_ad = torch.autograd.forward_ad
    assert forward_ad._current_level == -1
    with forward_ad.dual_level():
        assert forward_ad._current_level == 0
        x = forward_ad.make_dual(torch.ones(1), torch.ones(1))
        with forward_ad._set_fwd_grad_enabled(False):
            assert not forward_ad._is_fwd_grad_enabled() and not torch._C._is_fwd_grad_enabled()
            assert forward_ad.unpack_dual(x).tangent is None
        assert forward_ad.unpack_dual(x).tangent.item() == 1.0
