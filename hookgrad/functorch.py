"""What `import functorch` gives where hookgrad stands in for torch: torch.func, and modules made into functions.

Source: https://docs.pytorch.org/functorch/stable/
"""

import copy

import hookgrad

from .func import functionalize, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from .version import __version__  # noqa: F401 (a name of this module)

__all__ = [
    "FunctionalModule", "FunctionalModuleWithBuffers", "combine_state_for_ensemble", "functionalize", "grad", "grad_and_value",
    "hessian", "jacfwd", "jacrev", "jvp", "make_functional", "make_functional_with_buffers", "vjp", "vmap",
]  # fmt: skip


class FunctionalModule:
    """A module as a function of its parameters and of what it is called with."""

    def __init__(self, model, names):
        self.stateless_model, self.param_names = model, names

    def __call__(self, params, *args, **kwargs):
        state = dict(zip(self.param_names, params))
        return hookgrad.func.functional_call(self.stateless_model, state, args, kwargs)


class FunctionalModuleWithBuffers(FunctionalModule):
    """A module as a function of its parameters, its buffers, and of what it is called with."""

    def __init__(self, model, names, buffer_names):
        super().__init__(model, names)
        self.buffer_names = buffer_names

    def __call__(self, params, buffers, *args, **kwargs):
        return FunctionalModule.__call__(
            FunctionalModule(self.stateless_model, self.param_names + self.buffer_names),
            (*params, *buffers),
            *args,
            **kwargs,
        )


def make_functional(model, disable_autograd_tracking=False):
    """(A function of the parameters and of what `model` is called with, the parameters).

    >>> import hookgrad as torch
    >>> fn, params = make_functional(torch.nn.Linear(2, 1))
    >>> fn([torch.ones(1, 2), torch.zeros(1)], torch.ones(3, 2)).tolist()
    [[2.0], [2.0], [2.0]]

    Raises RuntimeError for a module with buffers.
    """
    if any(True for _ in model.buffers()):
        raise RuntimeError(
            "make_functional(model): `model` has buffers. Please use make_functional_with_buffers(model) instead."
        )
    fn, params, _ = make_functional_with_buffers(model, disable_autograd_tracking)
    return FunctionalModule(fn.stateless_model, fn.param_names), params


def make_functional_with_buffers(model, disable_autograd_tracking=False):
    """(A function of parameters, buffers and what `model` is called with, the parameters, the buffers)."""
    model = copy.deepcopy(model)
    params, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    fn = FunctionalModuleWithBuffers(copy.deepcopy(model).to("meta"), tuple(params), tuple(buffers))
    if disable_autograd_tracking:
        for param in params.values():
            param.requires_grad_(False)
    return fn, tuple(params.values()), tuple(buffers.values())


def combine_state_for_ensemble(models):
    """(A function, parameters, buffers) of modules of one kind, their states stacked: vmap() runs all of them.

    Raises RuntimeError for no modules, and for some that train while others do not or are of another class.
    """
    models = list(models)
    params, buffers = stack_module_state(models)
    fn, _, _ = make_functional_with_buffers(models[0])
    return fn, tuple(params.values()), tuple(buffers.values())
