"""Stochastic gradient descent."""

import hookgrad

from .. import _C
from .optimizer import Optimizer, _check_not_negative, _number, _run_closure


class SGD(Optimizer):
    """param -= lr * grad, where grad includes `weight_decay` * param and what `momentum` leaves of earlier ones.

    With `momentum` a buffer becomes momentum * buffer + (1 - dampening) * grad and takes grad's place; with `nesterov`
    grad + momentum * buffer does. `maximize` climbs instead. `foreach`, `fused` and `differentiable` are accepted and
    change nothing.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> p.grad = torch.tensor([2.0])
    >>> torch.optim.SGD([p], lr=0.1).step()
    >>> p.data
    tensor([0.8000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        if isinstance(lr, hookgrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        _check_not_negative(
            ("learning rate", lr),
            ("momentum value", momentum),
            ("weight_decay value", weight_decay),
        )
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        if fused and differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if fused and foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", False)

    def step(self, closure=None):
        """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
        loss = _run_closure(closure)
        for group in self.param_groups:
            momentum = group["momentum"]
            params = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in params]
            buffers = [self.state[p].get("momentum_buffer") for p in params] if momentum else []
            _C.sgd_step(
                params,
                grads,
                buffers,
                _number(group["lr"]),
                _number(group["weight_decay"]),
                momentum,
                group["dampening"],
                group["nesterov"],
                group["maximize"],
            )
            if momentum:
                for param, buffer in zip(params, buffers):
                    self.state[param]["momentum_buffer"] = buffer
        return loss
