"""RMSprop."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_not_negative, _check_rate, _get_value


class RMSprop(_ByParameter):
    """param -= lr * grad / (sqrt(v) + eps), v being a running mean of the squared gradient, of which `alpha` is kept.

    `centered` takes the squared mean off v, so that it estimates the variance; `momentum` as in SGD.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

    _added = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        _check_rate(lr)
        _check_not_negative(
            ("epsilon value", eps),
            ("momentum value", momentum),
            ("weight_decay value", weight_decay),
            ("alpha value", alpha),
        )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        state = {"step": self._count(group), "square_avg": hookgrad.zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = hookgrad.zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = hookgrad.zeros_like(param)
        return state

    def _update(self, param, grad, state, group):
        lr, alpha, momentum = _get_value(group["lr"]), group["alpha"], group["momentum"]
        grad = _decayed(grad, param, group)
        square_avg = state["square_avg"].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(grad, 1 - alpha)
            root = square_avg.addcmul(mean, mean, value=-1).sqrt()
        else:
            root = square_avg.sqrt()
        root = root.add(group["eps"])
        if momentum > 0:
            param.add_(state["momentum_buffer"].mul_(momentum).addcdiv_(grad, root), alpha=-lr)
        else:
            param.addcdiv_(grad, root, value=-lr)
