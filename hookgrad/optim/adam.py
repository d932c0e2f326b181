"""Adam, with its variants."""

import hookgrad

from .._C import _dispatches, adam_step
from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_betas, _check_fused, _check_not_negative, _check_rate, _to_scalar


class Adam(_ByParameter):
    """param -= lr * m / (sqrt(v) + eps), m and v being running means of the gradient and of its square.

    `betas` say how much of the means is kept at each step; both are corrected for having started at zero. `amsgrad`
    divides by the largest v so far. `weight_decay` is added to the gradient, or taken off the parameter with
    `decoupled_weight_decay`. `differentiable` makes the step part of the graph; `foreach` and `fused` are accepted
    and change nothing.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> p.grad = torch.tensor([2.0])
    >>> torch.optim.Adam([p], lr=0.1).step()
    >>> p.data
    tensor([0.9000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html
    """

    _added = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

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
        if isinstance(lr, hookgrad.Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        _check_rate(lr)
        _check_not_negative(("epsilon value", eps))
        _check_betas(betas)
        _check_not_negative(("weight_decay value", weight_decay))
        kinds = [float if isinstance(beta, float) else hookgrad.Tensor for beta in betas]
        if kinds[0] is not kinds[1] or not all(map(isinstance, betas, kinds)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, hookgrad.Tensor):
                if foreach and not capturable:
                    raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": tuple(map(_to_scalar, betas)),
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
        _check_fused(fused, foreach, differentiable)
        if fused:
            self._step_supports_amp_scaling = True

    def _first_state(self, param, group):
        state = {
            "step": self._count(group),
            "exp_avg": hookgrad.zeros_like(param),
            "exp_avg_sq": hookgrad.zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = hookgrad.zeros_like(param)
        return state

    def _update_all(self, params, grads, states, group):
        if group["foreach"] and isinstance(group["lr"], hookgrad.Tensor):
            raise RuntimeError("lr as a Tensor is not supported for capturable=False and foreach=True")
        if group["differentiable"] or _dispatches(params):
            if group["differentiable"] and any(state["step"].requires_grad for state in states):
                raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")
            return super()._update_all(params, grads, states, group)
        beta1, beta2 = group["betas"]
        done = adam_step(
            params,
            grads,
            states,
            group["lr"],
            beta1,
            beta2,
            group["eps"],
            group["weight_decay"],
            group["amsgrad"],
            group["maximize"],
            group["decoupled_weight_decay"],
            group["fused"],
        )
        if done is False:
            super()._update_all(params, grads, states, group)

    def _update(self, param, grad, state, group):
        (beta1, beta2), lr, step = group["betas"], _to_scalar(group["lr"]), state["step"]
        if group["weight_decay"] != 0 and group["decoupled_weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = _decayed(grad, param, group)
        mean = state["exp_avg"].lerp_(grad, 1 - beta1)
        if not group["differentiable"]:  # in the order in which PyTorch rounds
            square, largest = state["exp_avg_sq"], state.get("max_exp_avg_sq")
            square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            step = step.item()
            if group["amsgrad"]:
                square = hookgrad.maximum(largest, square, out=largest)
            root = (square.sqrt() / (1 - beta2**step) ** 0.5).add_(group["eps"])
            param.addcdiv_(mean, root, value=-lr / (1 - beta1**step))
            return
        step, square = step.clone(), state["exp_avg_sq"].lerp_(grad.square(), 1 - beta2)
        if group["amsgrad"]:
            square = hookgrad.maximum(state["max_exp_avg_sq"].clone(), square)
            state["max_exp_avg_sq"].copy_(square)
        rate = -lr / (1 - beta1**step)
        root = square.sqrt() / ((1 - beta2**step).sqrt() * rate) + group["eps"] / rate
        param.addcdiv_(mean.clone(), root)
