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
        passed, self.input_tensors_index = self._apply_on_tensors(self._set_user_hook, args)
        self.n_inputs = len(args)
        return passed

    def setup_output_hook(self, args):
        outputs = args if isinstance(args, tuple) else (args,)
        passed, self.output_tensors_index = self._apply_on_tensors(self._set_output_hook, outputs)
        self.n_outputs = len(outputs)
        return passed if isinstance(args, tuple) else passed[0]

    def _apply_on_tensors(self, fn, args):
        """The arguments with their tensors behind an identity node, which `fn` is shown, and the places of the tensors."""
        from .. import _C
        from ..nn.modules._functions import BackwardHookFunction

        places = [i for i, a in enumerate(args) if isinstance(a, _C.Tensor)]
        if not _C.is_grad_enabled() or not any(args[i].requires_grad for i in places):
            return args, None
        passed = list(args)
        for i, t in zip(places, BackwardHookFunction.apply(*[args[i] for i in places])):
            passed[i] = t
        fn(next(passed[i].grad_fn for i in places if passed[i].grad_fn is not None))
        return tuple(passed) if type(args) is tuple else type(args)(*passed), places

    def _pack_with_none(self, indices, values, size):
        packed = [None] * size
        for i, value in zip(indices, values, strict=True):
            packed[i] = value
        return tuple(packed)

    def _unpack_none(self, indices, values):
        return tuple([values[i] for i in indices])

    # The node's complaints name the functions that are registered below.

    def _set_output_hook(self, grad_fn):
        def hook(_, grad_output):
            outputs = self._pack_with_none(self.output_tensors_index, grad_output, self.n_outputs)
            for pre_hook in self.user_pre_hooks:
                outputs = self._replaced(pre_hook(self.module, outputs), outputs, "pre ", "output")
            self.grad_outputs = outputs
            if self.input_tensors_index is None:
                self._fire_without_inputs()
            return self._unpack_none(self.output_tensors_index, outputs)

        grad_fn.register_hook(hook)

    def _set_user_hook(self, grad_fn):
        def hook(grad_input, _):
            if self.grad_outputs is None:  # a backward that did not come through the outputs
                return None
            grads = self._pack_with_none(self.input_tensors_index, grad_input, self.n_inputs)
            for user_hook in self.user_hooks:
                grads = self._replaced(user_hook(self.module, grads, self.grad_outputs), grads, "", "input")
            self.grad_outputs = None
            return self._unpack_none(self.input_tensors_index, grads)

        grad_fn.register_hook(hook)

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
            stacklevel=3,
        )
        for hook in self.user_hooks:
            result = hook(self.module, self._pack_with_none([], [], self.n_inputs), self.grad_outputs)
            if result is not None and not (isinstance(result, tuple) and all(g is None for g in result)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )
        self.grad_outputs = None
