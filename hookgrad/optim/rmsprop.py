"""RMSprop."""

import hookgrad

from .optimizer import Optimizer, _check_not_negative, _number, _run_closure


class RMSprop(Optimizer):
    """param -= lr * grad / (sqrt(v) + eps), v being a running mean of the squared gradient, of which `alpha` is kept.

    `centered` takes the squared mean off v, so that it estimates the variance; `momentum` as in SGD.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html
    """

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
        if isinstance(lr, hookgrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        _check_not_negative(
            ("learning rate", lr),
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

    def _state_of(self, param, group):
        state = self.state[param]
        if not state:
            state["step"] = hookgrad.tensor(0.0)
            state["square_avg"] = hookgrad.zeros_like(param)
            if group["momentum"] > 0:
                state["momentum_buffer"] = hookgrad.zeros_like(param)
            if group["centered"]:
                state["grad_avg"] = hookgrad.zeros_like(param)
        return state

    def step(self, closure=None):
        """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
        loss = _run_closure(closure)
        with hookgrad.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        self._update(param, group, self._state_of(param, group))
        return loss

    @staticmethod
    def _update(param, group, state):
        lr, alpha, momentum = _number(group["lr"]), group["alpha"], group["momentum"]
        grad = -param.grad if group["maximize"] else param.grad
        state["step"] += 1
        if group["weight_decay"] != 0:
            grad = grad.add(param, alpha=group["weight_decay"])
        square_avg = state["square_avg"].mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            mean = state["grad_avg"].lerp_(grad, 1 - alpha)
            root = square_avg.addcmul(mean, mean, value=-1).sqrt_()
        else:
            root = square_avg.sqrt()
        root.add_(group["eps"])
        if momentum > 0:
            param.add_(state["momentum_buffer"].mul_(momentum).addcdiv_(grad, root), alpha=-lr)
        else:
            param.addcdiv_(grad, root, value=-lr)
