"""NAdam: Adam with Nesterov's momentum."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_betas, _check_not_negative, _check_rate, _get_value


class NAdam(_ByParameter):
    """Adam whose mean of the gradient looks one step ahead, by a momentum that grows with the steps.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html
    """

    _added = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }
    _counts = ("step", "mu_product")

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
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
        _check_not_negative(("weight_decay value", weight_decay), ("momentum_decay value", momentum_decay))
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        return {
            "step": self._count(group),
            "mu_product": self._count(group, 1.0),
            "exp_avg": hookgrad.zeros_like(param),
            "exp_avg_sq": hookgrad.zeros_like(param),
        }

    def _update(self, param, grad, state, group):
        (beta1, beta2), lr, step = group["betas"], _get_value(group["lr"]), state["step"].item()
        if group["weight_decay"] != 0 and group["decoupled_weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(grad, param, group)
        mu, mu_next = (beta1 * (1.0 - 0.5 * 0.96 ** (number * group["momentum_decay"])) for number in (step, step + 1))
        product = state["mu_product"]
        product *= mu
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = square.div(1 - beta2**step).sqrt().add(group["eps"])
        if group["differentiable"]:  # the product of the momenta may have a history
            param.addcdiv_(grad * (-lr * (1.0 - mu) / (1.0 - product)), root)
            param.addcdiv_(mean * (-lr * mu_next / (1.0 - product * mu_next)), root)
        else:
            product = product.item()
            param.addcdiv_(grad, root, value=-lr * (1.0 - mu) / (1.0 - product))
            param.addcdiv_(mean, root, value=-lr * mu_next / (1.0 - product * mu_next))
