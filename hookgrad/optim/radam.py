"""RAdam: Adam that waits until its mean of squares can be trusted."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_betas, _check_not_negative, _check_rate, _get_value


class RAdam(_ByParameter):
    """Adam, rectified: as long as too few gradients went into the mean of squares it is not divided by.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html
    """

    _added = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        return {
            "step": self._count(group),
            "exp_avg": hookgrad.zeros_like(param),
            "exp_avg_sq": hookgrad.zeros_like(param),
        }

    def _update(self, param, grad, state, group):
        (beta1, beta2), lr, step = group["betas"], _get_value(group["lr"]), state["step"].item()
        if group["weight_decay"] != 0 and group["decoupled_weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(grad, param, group)
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        missing = 1 - beta2**step
        change = mean / (1 - beta1**step) * lr
        # How many gradients the mean of squares amounts to, now and in the end.
        final = 2 / (1 - beta2) - 1
        length = final - 2 * step * beta2**step / missing
        if length > 5.0:
            rectified = ((length - 4) * (length - 2) * final / ((final - 4) * (final - 2) * length)) ** 0.5
            change = change * (missing**0.5 / square.sqrt().add(group["eps"])) * rectified
        param.add_(change, alpha=-1.0)
