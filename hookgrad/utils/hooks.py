"""What the registration of a hook returns, and what old code calls to put hooks on a module's gradients."""

from .._C import RemovableHandle

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks", "BackwardHook"]


def unserializable_hook(f):
    """Mark a function as a hook that need not survive pickling: it is dropped with a tensor's other hooks anyway."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor):
    """Warn of each hook of the tensor that pickling will leave behind, unless it is marked as one that may be."""
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            import warnings

            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the "
                "function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )


class BackwardHook:
    """Full backward hooks for one call of anything: `setup_input_hook(args)`, the call, `setup_output_hook(result)`.

    Modules do this in the core; this is for code that does it by hand.
    """

    def __init__(self, module, user_hooks, user_pre_hooks):
        self.module = module
        self.user_hooks, self.user_pre_hooks = user_hooks, user_pre_hooks
        self.grad_outputs = None
        self.n_inputs = self.n_outputs = -1
        self.input_tensors_index = self.output_tensors_index = None

    def setup_input_hook(self, args):
        args, self.input_tensors_index, node = self._over(args)
        self.n_inputs = len(args)
        if node is not None:
            node.register_hook(self._named_hook(self._inputs_arrived))
        return args

    def setup_output_hook(self, args):
        single = not isinstance(args, tuple)
        args, self.output_tensors_index, node = self._over((args,) if single else args)
        self.n_outputs = len(args)
        if node is not None:
            node.register_hook(self._named_hook(self._outputs_arrived))
        return args[0] if single else args

    def _over(self, args):
        """The arguments with their tensors behind an identity node, the places of the tensors, and the node."""
        from .. import _C
        from ..nn.modules._functions import BackwardHookFunction

        places = [i for i, a in enumerate(args) if isinstance(a, _C.Tensor)]
        if not _C.is_grad_enabled() or not any(args[i].requires_grad for i in places):
            return args, None, None
        passed = list(args)
        for i, t in zip(places, BackwardHookFunction.apply(*[args[i] for i in places])):
            passed[i] = t
        node = next(passed[i].grad_fn for i in places if passed[i].grad_fn is not None)
        return tuple(passed) if type(args) is tuple else type(args)(*passed), places, node

    @staticmethod
    def _named_hook(arrived):
        """Under the name that the node's complaints about what it returns give it."""

        def hook(grad_input, grad_output):
            return arrived(grad_input, grad_output)

        return hook

    @staticmethod
    def _spread(places, values, n):
        spread = [None] * n
        for i, value in zip(places, values):
            spread[i] = value
        return tuple(spread)

    def _outputs_arrived(self, _, grad_output):
        self.grad_outputs = self._spread(self.output_tensors_index, grad_output, self.n_outputs)
        for hook in self.user_pre_hooks:
            self.grad_outputs = self._replaced(
                hook(self.module, self.grad_outputs), self.grad_outputs, "pre ", "output"
            )
        outputs = self.grad_outputs
        if self.input_tensors_index is None:
            self._fire_without_inputs()
        return tuple([outputs[i] for i in self.output_tensors_index])

    def _inputs_arrived(self, grad_input, _):
        if self.grad_outputs is None:  # a backward that did not come through the outputs
            return None
        grads = self._spread(self.input_tensors_index, grad_input, self.n_inputs)
        for hook in self.user_hooks:
            grads = self._replaced(hook(self.module, grads, self.grad_outputs), grads, "", "input")
        self.grad_outputs = None
        return tuple([grads[i] for i in self.input_tensors_index])

    @staticmethod
    def _replaced(result, grads, kind, what):
        if result is None:
            return grads
        if len(result) != len(grads):
            raise RuntimeError(
                f"Backward {kind}hook returned an invalid number of grad_{what}, got {len(result)}, but expected "
                f"{len(grads)}"
            )
        return result

    def _fire_without_inputs(self):
        import warnings

        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
            "require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
            "#torch.nn.Module.register_full_backward_hook for more details.",
            stacklevel=4,
        )
        for hook in self.user_hooks:
            result = hook(self.module, (None,) * self.n_inputs, self.grad_outputs)
            if result is not None and not (isinstance(result, tuple) and all(g is None for g in result)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )
        self.grad_outputs = None
