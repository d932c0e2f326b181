"""The gradients of a module's parameters for each sample of a batch.

A parameter takes part as an ExpandedWeight, which knows the layers' functions; in the backward of such a function each sample goes
through it alone, one after another.
"""

from functools import wraps

import hookgrad

from ...utils._pytree import arg_tree_leaves, tree_map_only
from ..modules.module import Module

_HANDLED = frozenset("linear conv1d conv2d conv3d layer_norm group_norm instance_norm embedding".split())


class ExpandedWeight(hookgrad.Tensor):
    """A parameter whose gradient goes, sample by sample, into `grad_sample` of the one it was made of."""

    def __new__(cls, orig_weight, batch_size, loss_reduction):
        if not isinstance(orig_weight, hookgrad.Tensor):
            raise RuntimeError(f"Can only make Expanded Weights of Tensors, got {type(orig_weight).__name__}")
        if not orig_weight.requires_grad:
            raise RuntimeError("Can only build ExpandedWeights objects of tensors that requires_grad")
        weight = hookgrad.Tensor._make_subclass(cls, orig_weight, True)
        weight.orig_weight, weight.batch_size, weight.loss_reduction = orig_weight, batch_size, loss_reduction
        return weight

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ == "__get__" or func.__name__ not in _HANDLED:
            if func.__name__ in ("__get__", "__set__", "__repr__", "dim", "size"):
                return super().__torch_function__(func, types, args, kwargs)
            raise RuntimeError(f"Expanded Weights encountered but cannot handle function {func.__name__}")
        input, rest = args[0], (args[1:], kwargs or {})
        weights = [leaf for leaf in arg_tree_leaves(*rest) if isinstance(leaf, cls)]
        with hookgrad._C.DisableTorchFunctionSubclass():
            if isinstance(input, cls) or not isinstance(input, hookgrad.Tensor):
                raise RuntimeError(f"Expanded Weights requires a Tensor as the first input in function {func.__name__}")
            for weight in weights:
                if len(input) != weight.batch_size:
                    raise RuntimeError(
                        "Expected ExpandedWeights to have batch size matching input but got input batch size of "
                        f"{len(input)} with ExpandedWeights of batch size {weight.batch_size}"
                    )

            def call(input, values):
                by_weight = {id(weight): value for weight, value in zip(weights, values)}
                more, named = tree_map_only(cls, lambda weight: by_weight[id(weight)], rest)
                return func(input, *more, **named)

            return _EachSample.apply(call, weights, input, *[weight.orig_weight for weight in weights])


class _EachSample(hookgrad.autograd.Function):
    """`call(input, originals)`; the gradients of the originals go into their `grad_sample`."""

    @staticmethod
    def forward(ctx, call, weights, input, *originals):
        ctx.call, ctx.weights = call, weights
        ctx.save_for_backward(input, *originals)
        return call(input, originals)

    @staticmethod
    def backward(ctx, grad):
        input, *originals = ctx.saved_tensors
        values = [original.detach().requires_grad_() for original in originals]
        grad_input = None
        with hookgrad.enable_grad(), hookgrad._C.DisableTorchFunctionSubclass():
            if ctx.needs_input_grad[2]:
                x = input.detach().requires_grad_()
                (grad_input,) = hookgrad.autograd.grad(ctx.call(x, originals), x, grad)
            samples = [
                hookgrad.autograd.grad(ctx.call(input[i : i + 1].detach(), values), values, grad[i : i + 1])
                for i in range(len(input))
            ]
            for weight, original, grads in zip(ctx.weights, originals, zip(*samples)):
                scale = weight.batch_size if weight.loss_reduction == "mean" else 1
                found, before = hookgrad.stack(grads) * scale, getattr(original, "grad_sample", None)
                original.grad_sample = found if before is None else before + found
        return (None, None, grad_input, *[None] * len(originals))


def _batch_size(args, kwargs, batch_first):
    sizes = {
        leaf.shape[0 if batch_first else 1]
        for leaf in arg_tree_leaves(*args, **kwargs)
        if isinstance(leaf, hookgrad.Tensor)
    }
    if not sizes:
        raise RuntimeError(
            "Unable to find a tensor in the passed args and kwargs. Please specify the batch size explicitly"
        )
    if len(sizes) > 1:
        raise RuntimeError(
            f"When computing batch size, found inputs with batch sizes {sorted(sizes)}. Please specify it explicitly "
            "using the batch size kwarg in call_for_per_sample_grads"
        )
    return sizes.pop()


def call_for_per_sample_grads(module, *, batch_size=None, loss_reduction="sum", batch_first=True):
    """A function that calls the module; the backward of what it gives fills `grad_sample` of each parameter.

    >>> import hookgrad as torch
    >>> net = torch.nn.Linear(4, 3)
    >>> call_for_per_sample_grads(net)(torch.randn(5, 4)).sum().backward()
    >>> net.weight.grad_sample.shape, net.weight.grad
    (torch.Size([5, 3, 4]), None)

    With `loss_reduction="mean"` the gradients are multiplied by the size of the batch. Raises RuntimeError for wrong
    arguments, for parameters that have a `grad_sample`, and in the call for functions other than those of linear layers,
    convolutions, embeddings and the norms of single samples.
    """
    if loss_reduction not in ("sum", "mean"):
        raise RuntimeError(f"Expected loss_reduction argument to be sum or mean, got {loss_reduction}")
    if not isinstance(module, Module):
        raise RuntimeError(f"Module passed must be nn.Module, got {type(module).__name__}")
    if not (batch_size is None or isinstance(batch_size, int)):
        raise RuntimeError(f"Batch size passed must be None or an integer, got {type(batch_size).__name__}")
    if batch_size is not None and batch_size < 1:
        raise RuntimeError(f"Batch size must be positive, got {batch_size}")
    if any(getattr(parameter, "grad_sample", None) is not None for parameter in module.parameters()):
        raise RuntimeError(
            "Current Expanded Weights accumulates the gradients, which will be incorrect for multiple calls without clearing "
            "gradients. Please clear out the grad_sample parameter"
        )

    @wraps(module.forward)
    def call(*args, **kwargs):
        size = _batch_size(args, kwargs, batch_first) if batch_size is None else batch_size
        weights = {
            name: ExpandedWeight(parameter, size, loss_reduction) if parameter.requires_grad else parameter
            for name, parameter in module.named_parameters()
        }
        return hookgrad.func.functional_call(module, weights, args, kwargs)

    return call
