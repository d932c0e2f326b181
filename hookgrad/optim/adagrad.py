"""Adagrad."""

import hookgrad

from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_fused, _check_not_negative, _check_rate, _get_value


class Adagrad(_ByParameter):
    """param -= lr / (1 + steps * lr_decay) * grad / (sqrt(s) + eps), s being the sum of all squared gradients so far.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html
    """

    _added = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

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
        _check_rate(lr)
        _check_not_negative(
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
        _check_fused(fused, foreach, differentiable)
        if fused:
            self._need_device_dtype_check_for_fused = True
            self._step_supports_amp_scaling = True
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param] = self._first_state(param, group)

    def _first_state(self, param, group):
        first = self.defaults["initial_accumulator_value"]
        return {"step": self._count(group), "sum": hookgrad.full_like(param, first)}

    def share_memory(self):
        """Put the sums where other processes can reach them."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, param, grad, state, group):
        grad = _decayed(grad, param, group)
        lr = _get_value(group["lr"]) / (1 + (state["step"].item() - 1) * group["lr_decay"])
        root = state["sum"].addcmul_(grad, grad, value=1).sqrt().add(group["eps"])
        param.addcdiv_(grad, root, value=-lr)
