"""The graph as an object: nodes, and what happens to the tensors they save.

Source: https://docs.pytorch.org/docs/stable/autograd.html#autograd-graph
"""

from .. import _C

Node = _C.Node


class saved_tensors_hooks:
    """Inside, `pack_hook` gets every tensor saved for backward and `unpack_hook` gets back what it returned.

    >>> import hookgrad as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.item(), torch.tensor):
    ...     y = x.exp()
    >>> y.backward()
    >>> x.grad
    tensor(20.0855)

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.saved_tensors_hooks
    """

    def __init__(self, pack_hook, unpack_hook):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self):
        _C._saved_hooks_push(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc):
        _C._saved_hooks_pop()


class save_on_cpu(saved_tensors_hooks):
    """Saved tensors are kept on the CPU, where they are already."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda t: t, lambda t: t)


class disable_saved_tensors_hooks:
    """Inside, using saved-tensor hooks fails with the message."""

    def __init__(self, error_message, *, prev_message=None):
        self._message = error_message

    def __enter__(self):
        self._was = _C._saved_hooks_disable(self._message)

    def __exit__(self, *exc):
        _C._saved_hooks_disable(self._was)

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def wrapped(*args, **kwargs):
            with disable_saved_tensors_hooks(self._message):
                return function(*args, **kwargs)

        return wrapped
