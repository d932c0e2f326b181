"""Adagrad."""

import hookgrad

from .optimizer import Optimizer, _check_not_negative, _number, _run_closure


class Adagrad(Optimizer):
    """param -= lr / (1 + steps * lr_decay) * grad / (sqrt(s) + eps), s being the sum of all squared gradients so far.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        if isinstance(lr, hookgrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        _check_not_negative(
            ("learning rate", lr),
            ("lr_decay value", lr_decay),
            ("weight_decay value", weight_decay),
            ("initial_accumulator_value value", initial_accumulator_value),
            ("epsilon value", eps),
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                first = group["initial_accumulator_value"]
                self.state[param] = {"step": hookgrad.tensor(0.0), "sum": hookgrad.full_like(param, first)}

    def step(self, closure=None):
        """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
        loss = _run_closure(closure)
        with hookgrad.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        self._update(param, group, self.state[param])
        return loss

    @staticmethod
    def _update(param, group, state):
        state["step"] += 1
        grad = -param.grad if group["maximize"] else param.grad
        if group["weight_decay"] != 0:
            grad = grad.add(param, alpha=group["weight_decay"])
        lr = _number(group["lr"]) / (1 + (state["step"].item() - 1) * group["lr_decay"])
        root = state["sum"].addcmul_(grad, grad, value=1).sqrt().add_(group["eps"])
        param.addcdiv_(grad, root, value=-lr)
