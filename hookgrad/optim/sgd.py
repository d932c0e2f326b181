"""Stochastic gradient descent."""

from itertools import repeat

import hookgrad

from .._C import _dispatches, sgd_step, states_of
from ._by_parameter import _ByParameter, _decayed
from .optimizer import _check_fused, _check_one, _get_value, _to_scalar

_NO_STATES = repeat({})  # one for as many parameters as there are


class SGD(_ByParameter):
    """param -= lr * grad, where grad includes `weight_decay` * param and what `momentum` leaves of earlier ones.

    With `momentum` a buffer becomes momentum * buffer + (1 - dampening) * grad and takes grad's place; with `nesterov`
    grad + momentum * buffer does. `maximize` climbs instead, `differentiable` makes the step part of the graph.
    `foreach` and `fused` are accepted and change nothing.

    >>> import hookgrad as torch
    >>> p = torch.nn.Parameter(torch.tensor([1.0]))
    >>> p.grad = torch.tensor([2.0])
    >>> torch.optim.SGD([p], lr=0.1).step()
    >>> p.data
    tensor([0.8000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html
    """

    _added = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": False}
    _counts = ()

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
        _check_one(lr)
        for words, value in (("learning rate", lr), ("momentum value", momentum), ("weight_decay value", weight_decay)):
            if value < 0.0:  # which NaN is not: of SGD's settings PyTorch takes it
                raise ValueError(f"Invalid {words}: {value}")
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
        _check_fused(fused, foreach, differentiable)
        if fused:
            self._need_device_dtype_check_for_fused = True
            self._step_supports_amp_scaling = True

    def _states_of(self, params, group):
        if group["momentum"] == 0:
            return _NO_STATES
        return states_of(self.state, params)[0]

    def _update_all(self, params, grads, states, group):
        if group["differentiable"] or _dispatches(params):
            return super()._update_all(params, grads, states, group)
        done = sgd_step(
            params,
            grads,
            states,
            group["lr"],
            group["weight_decay"],
            group["momentum"],
            group["dampening"],
            group["nesterov"],
            group["maximize"],
            group["fused"],
        )
        if done is False:
            super()._update_all(params, grads, states, group)

    def _update(self, param, grad, state, group):
        momentum, lr = group["momentum"], _to_scalar(group["lr"])
        grad = _decayed(grad, param, group)
        if momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = grad.detach().clone()
            else:
                buffer.mul_(momentum).add_(grad, alpha=1 - group["dampening"])
            grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        if isinstance(lr, hookgrad.Tensor) and lr.requires_grad:
            param.addcmul_(grad, lr, value=-1)
        else:
            param.add_(grad, alpha=-_get_value(lr))
