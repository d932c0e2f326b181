"""Adafactor."""

import hookgrad

from ._by_parameter import _ByParameter
from .optimizer import _check_rate, _get_value


class Adafactor(_ByParameter):
    """A running mean of squared gradients kept, for a matrix, as the means of its rows and of its columns.

    The change is bounded by `d`, in root mean square, and scaled by that of the parameter.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html
    """

    _added = {"foreach": None}

    def __init__(
        self,
        params,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        *,
        foreach=None,
        maximize=False,
    ):
        _check_rate(lr, "Learning rate should be >= 0 but is")
        if not 0.0 >= beta2_decay:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        for i in range(2):
            value = eps[i]
            if value is not None and not 0.0 <= value:
                raise ValueError(f"epsilon{i + 1} should be >= 0 but is: {value}")
        if not 1.0 <= d:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not 0.0 <= weight_decay:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _first_state(self, param, group):
        state, shape = {"step": self._count(group)}, list(param.shape)
        if len(shape) > 1:
            state["row_var"] = param.grad.new_zeros([*shape[:-1], 1])
            state["col_var"] = param.grad.new_zeros([*shape[:-2], 1, shape[-1]])
        else:
            state["variance"] = hookgrad.zeros_like(param.grad)
        return state

    def _update(self, param, grad, state, group):
        lr, step, (eps, least) = _get_value(group["lr"]), state["step"].item(), group["eps"]
        if eps is None:
            eps = hookgrad.finfo(param.dtype).eps
        fresh = step ** group["beta2_decay"]
        rate = max(least, param.norm(2).item() / param.numel() ** 0.5) * min(lr, 1 / step**0.5)
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        if grad.dim() > 1:
            row, col = state["row_var"], state["col_var"]
            row.lerp_(grad.norm(dim=-1, keepdim=True).square_().div_(grad.size(-1)), fresh)
            col.lerp_(grad.norm(dim=-2, keepdim=True).square_().div_(grad.size(-2)), fresh)
            square = (row @ col).div_(row.mean(dim=-2, keepdim=True).clamp_(min=eps))
        else:
            square = state["variance"].lerp_(grad * grad, fresh).clone()
        update = square.clamp_(min=eps * eps).rsqrt_().mul_(grad)
        excess = max(1.0, update.norm(2).item() / (update.numel() ** 0.5 * group["d"]))
        param.add_(update, alpha=-rate / excess)
