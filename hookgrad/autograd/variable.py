"""`Variable`, as older code calls a tensor, and the engine as some of it reaches it."""

from .. import _C

__all__ = ["Variable", "VariableMeta"]


class VariableMeta(type):
    def __instancecheck__(cls, instance):
        return isinstance(instance, _C.Tensor)


class _EngineBase:
    """The engine runs in the thread that calls backward; this gives access to the run under way there."""

    @staticmethod
    def run_backward(tensors, grad_tensors, keep_graph, create_graph, inputs, allow_unreachable, accumulate_grad):
        """What `backward` and `grad` come down to: gradients go to `.grad`, or are returned."""
        from . import _as_inputs, _as_tuple

        tensors, inputs = _as_tuple(tensors), _as_inputs(inputs)
        if accumulate_grad:
            return _C.run_backward(tensors, tuple(grad_tensors), keep_graph, create_graph, inputs or None)
        return _C.grad(tensors, tuple(grad_tensors), inputs, keep_graph, create_graph, allow_unreachable)

    @staticmethod
    def queue_callback(callback):
        """Call this when the backward under way is done."""
        _C._queue_callback(callback)

    @staticmethod
    def is_checkpoint_valid():
        """Whether the backward under way runs everything it reaches, without `inputs`."""
        return _C._is_checkpoint_valid()


class Variable(metaclass=VariableMeta):
    """Every tensor is one; `Variable(data)` is a tensor that shares its memory with data."""

    _execution_engine = _EngineBase()

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if data is None:
            data = _C.empty(0)
        if not isinstance(data, _C.Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if requires_grad and not data.is_floating_point():
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        if volatile is not None:
            import warnings

            warnings.warn(
                "volatile was removed and now has no effect. Use `with torch.no_grad():` instead.", stacklevel=2
            )
        return data.detach()._requires(requires_grad)
