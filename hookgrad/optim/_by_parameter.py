"""Optimizers that change each parameter by its own gradient and its own state."""

import hookgrad

from .._C import _grad_mode, states_of, with_grad
from ..autograd.grad_mode import _unsafe_preserve_version_counter
from .optimizer import Optimizer, _get_scalar_dtype, _run_closure


class _ByParameter(Optimizer):
    """A subclass says what a parameter's first state is (`_first_state`) and how one is changed (`_update`).

    Every update is written in operations that autograd can follow: with the setting `differentiable` a step is part of
    the graph, and no value it has saved is overwritten.
    """

    _added = {}  # settings that older versions did not have, with the values that stand for their absence
    _counts = ("step",)  # entries of a state that older versions kept as plain numbers

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._added.items():
                group.setdefault(name, value)
            for param in group["params"]:
                saved = self.state.get(param)
                for name in self._counts if saved else ():
                    if not isinstance(saved[name], hookgrad.Tensor):
                        saved[name] = self._count(group, float(saved[name]))

    @staticmethod
    def _count(group, value=0.0):
        return hookgrad.tensor(value, dtype=_get_scalar_dtype(group.get("fused")))

    def _first_state(self, param, group):
        raise NotImplementedError

    def _states_of(self, params, group):
        states, full = states_of(self.state, params)
        if not full:
            for param, state in zip(params, states):
                if not state:
                    state.update(self._first_state(param, group))
        return states

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if _ByParameter in cls.__bases__:  # a step of its own, under its own name

            def step(self, closure=None):
                """Change every parameter that has a gradient; returns what `closure`, if given, returns."""
                # _use_grad_for_differentiable() would do the same, and hand on *args for a tenth of SGD's step.
                was = _grad_mode(self.defaults.get("differentiable", False))
                try:
                    loss = None if closure is None else _run_closure(closure)
                    for group in self.param_groups:
                        params, grads = with_grad(group["params"])
                        states = self._states_of(params, group)
                        if params and group.get("capturable"):
                            raise AssertionError(
                                "If capturable=True, params and state_steps must be on supported devices: "
                                "['cuda', 'xpu', 'hpu', 'privateuseone', 'xla']."
                            )
                        if params and group.get("foreach") and group["differentiable"] and "step" in states[0]:
                            raise AssertionError("_foreach ops don't support autograd")
                        if group.get("fused"):  # PyTorch's kernel tells nobody that it has written
                            with _unsafe_preserve_version_counter(tuple(params)):
                                self._update_all(params, grads, states, group)
                        else:
                            self._update_all(params, grads, states, group)
                    return loss
                finally:
                    _grad_mode(was)

            step.__qualname__ = f"{cls.__qualname__}.step"
            cls.step = step

    def _update_all(self, params, grads, states, group):
        for param, grad, state in zip(params, grads, states):
            grad = -grad if group.get("maximize") else grad
            if "step" in state:
                state["step"] += 1
            self._update(param, grad, state, group)

    def _update(self, param, grad, state, group):
        raise NotImplementedError


def _decayed(grad, param, group):
    """The gradient with the weight decay in it."""
    decay = group["weight_decay"]
    if isinstance(decay, hookgrad.Tensor) and decay.requires_grad:
        return grad.addcmul(param.clone(), decay)
    return grad.add(param, alpha=decay) if decay != 0 else grad
