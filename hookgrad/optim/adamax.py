"""Adamax."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_betas, _check_not_negative, _check_rate, _get_value


class Adamax(_ByParameter):
    """Adam with the largest gradient of late in the place of the mean square: param -= lr * m / u.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html
    """

    _added = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_rate(lr)
        _check_not_negative(("epsilon value", eps))
        _check_betas(betas)
        _check_not_negative(("weight_decay value", weight_decay))
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        return {
            "step": self._count(group),
            "exp_avg": hookgrad.zeros_like(param),
            "exp_inf": hookgrad.zeros_like(param),
        }

    def _update(self, param, grad, state, group):
        beta1, beta2 = group["betas"]
        grad = _decayed(grad, param, group)
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        largest = state["exp_inf"].mul_(beta2)
        largest.copy_(hookgrad.maximum(largest.clone(), grad.abs().add(group["eps"])))
        rate = _get_value(group["lr"]) / (1 - beta1 ** state["step"].item())
        param.addcdiv_(mean.clone(), largest, value=-rate)
