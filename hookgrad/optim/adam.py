"""Adam, with its variants."""

import hookgrad

from .. import _C
from .optimizer import Optimizer, _check_not_negative, _number, _run_closure


class Adam(Optimizer):
    """param -= lr * m / (sqrt(v) + eps), m and v being running means of the gradient and of its square.

    `betas` say how much of the means is kept at each step; both are corrected for having started at zero. `amsgrad`
    divides by the largest v so far. `weight_decay` is added to the gradient, or taken off the parameter with
    `decoupled_weight_decay`. `foreach`, `capturable`, `fused` and `differentiable` are accepted and change nothing.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> p.grad = torch.tensor([2.0])
    >>> torch.optim.Adam([p], lr=0.1).step()
    >>> p.data
    tensor([0.9000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        if isinstance(lr, hookgrad.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        _check_not_negative(("learning rate", lr), ("epsilon value", eps))
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        _check_not_negative(("weight_decay value", weight_decay))
        kinds = [float if isinstance(beta, float) else hookgrad.Tensor for beta in betas]
        if kinds[0] is not kinds[1] or not all(map(isinstance, betas, kinds)):
            raise ValueError("betas must be either both floats or both Tensors")
        defaults = {
            "lr": lr,
            "betas": tuple(map(_number, betas)),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        if fused and differentiable:
            raise RuntimeError("`fused` does not support `differentiable`")
        if fused and foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("amsgrad", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("capturable", False)
            group.setdefault("differentiable", False)
            group.setdefault("decoupled_weight_decay", False)
            group.setdefault("fused", None)
            for param in group["params"]:
                saved = self.state.get(param)
                if saved and not isinstance(saved["step"], hookgrad.Tensor):
                    saved["step"] = hookgrad.tensor(float(saved["step"]))

    def _state_of(self, param, amsgrad):
        state = self.state[param]
        if not state:
            state["step"] = hookgrad.tensor(0.0)
            state["exp_avg"] = hookgrad.zeros_like(param)
            state["exp_avg_sq"] = hookgrad.zeros_like(param)
            if amsgrad:
                state["max_exp_avg_sq"] = hookgrad.zeros_like(param)
        return state

    def step(self, closure=None):
        """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
        loss = _run_closure(closure)
        for group in self.param_groups:
            amsgrad = group["amsgrad"]
            params = [p for p in group["params"] if p.grad is not None]
            states = [self._state_of(p, amsgrad) for p in params]
            beta1, beta2 = group["betas"]
            _C.adam_step(
                params,
                [p.grad for p in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [state["max_exp_avg_sq"] for state in states] if amsgrad else [],
                [state["step"] for state in states],
                _number(group["lr"]),
                _number(beta1),
                _number(beta2),
                group["eps"],
                group["weight_decay"],
                amsgrad,
                group["maximize"],
                group["decoupled_weight_decay"],
            )
        return loss
