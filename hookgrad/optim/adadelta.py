"""Adadelta."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_not_negative, _check_rate, _get_value


class Adadelta(_ByParameter):
    """param -= lr * grad * sqrt(u + eps) / sqrt(v + eps), v and u being running means of the squares of the gradient and
    of the changes, of which `rho` is kept.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html
    """

    _added = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        _check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        _check_not_negative(("epsilon value", eps), ("weight_decay value", weight_decay))
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        return {
            "step": self._count(group),
            "square_avg": hookgrad.zeros_like(param),
            "acc_delta": hookgrad.zeros_like(param),
        }

    def _update(self, param, grad, state, group):
        rho, eps = group["rho"], group["eps"]
        grad = _decayed(grad, param, group)
        square_avg = state["square_avg"].mul_(rho).addcmul_(grad, grad, value=1 - rho)
        delta = state["acc_delta"].add(eps).sqrt() / square_avg.add(eps).sqrt() * grad
        state["acc_delta"].mul_(rho).addcmul_(delta, delta, value=1 - rho)
        param.add_(delta, alpha=-_get_value(group["lr"]))
