"""Resilient backpropagation."""

import hookgrad

from ._by_parameter import _ByParameter
from .optimizer import _check_rate, _get_value


class Rprop(_ByParameter):
    """Every element has a step of its own, which the gradient gives no more than its sign.

    The step is multiplied by `etas[1]` where the sign stayed, by `etas[0]` where it turned, within `step_sizes`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html
    """

    _added = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        return {
            "step": self._count(group),
            "prev": hookgrad.zeros_like(param),
            "step_size": hookgrad.full_like(param.grad, _get_value(group["lr"])),
        }

    def _update(self, param, grad, state, group):
        shrink, grow = group["etas"]
        least, most = group["step_sizes"]
        agreement = grad.mul(state["prev"].clone())
        turned = agreement < 0
        factor = hookgrad.ones_like(grad).masked_fill(agreement > 0, grow).masked_fill(turned, shrink)
        size = state["step_size"].mul_(factor).clamp_(least, most)
        grad = grad.masked_fill(turned, 0)  # where it turned, the next step starts anew
        param.addcmul_(grad.sign(), size.clone(), value=-1)
        state["prev"].copy_(grad)
