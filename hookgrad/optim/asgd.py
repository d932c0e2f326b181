"""Averaged stochastic gradient descent."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_not_negative, _check_rate, _get_value


class ASGD(_ByParameter):
    """SGD with a rate that falls with the steps; the mean of the parameter from step `t0` on is in its state, "ax".

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html
    """

    _added = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}
    _counts = ("step", "eta", "mu")

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        _check_rate(lr)
        _check_not_negative(("weight_decay value", weight_decay))
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
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
            "eta": self._count(group, _get_value(group["lr"])),
            "mu": self._count(group, 1.0),
            "ax": hookgrad.zeros_like(param),
        }

    def _update(self, param, grad, state, group):
        lr, lambd, step = _get_value(group["lr"]), group["lambd"], state["step"].item()
        eta, mu, mean = state["eta"].item(), state["mu"], state["ax"]
        grad = _decayed(grad, param, group)
        param.mul_(1 - lambd * eta)
        param.add_(grad, alpha=-eta)
        if mu.item() != 1:
            mean.add_(param.sub(mean).mul(mu))
        else:
            mean.copy_(param)
        state["eta"].copy_(self._count(group, lr / (1 + lambd * lr * step) ** group["alpha"]))
        mu.copy_(self._count(group, 1 / max(1, step - group["t0"])))
