"""Muon."""

import math

import hookgrad

from ._by_parameter import _ByParameter
from .optimizer import _check_rate, _get_value


class Muon(_ByParameter):
    """For matrices: the momentum's nearest orthogonal matrix, by `ns_steps` steps of a polynomial, is the change.

    `adjust_lr_fn` says how the rate follows from the matrix's shape: "original" or "match_rms_adamw".

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html
    """

    _counts = ()

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        _check_rate(lr, "Learning rate should be >= 0 but is")
        for words, value in (("momentum", momentum), ("weight decay", weight_decay)):
            if not 0.0 <= value:
                raise ValueError(f"{words} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {param.size()}"
                    )

    def _first_state(self, param, group):
        return {"momentum_buffer": hookgrad.zeros_like(param.grad)}

    def _update(self, param, grad, state, group):
        lr, momentum = _get_value(group["lr"]), group["momentum"]
        buffer = state["momentum_buffer"].lerp_(grad, 1 - momentum)
        update = grad.lerp(buffer, momentum) if group["nesterov"] else buffer
        update = _orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        n, k = param.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            adjusted = lr * 0.2 * math.sqrt(max(n, k))
        else:
            adjusted = lr * math.sqrt(max(1, n / k))
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-adjusted)


def _orthogonalized(matrix, coefficients, steps, eps):
    """The matrix with its singular values driven towards one by steps of X <- aX + (bXX' + c(XX')^2)X, in bfloat16."""
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.bfloat16()
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = hookgrad.addmm(x, hookgrad.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
