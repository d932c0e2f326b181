"""Which modules are running.

Source: https://docs.pytorch.org/docs/stable/module_tracker.html
"""

import weakref

from .. import _C
from ..autograd import Variable
from ..autograd.graph import register_multi_grad_hook
from ..nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from ._pytree import tree_leaves

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """A context that knows, in forward and in backward, the names of the modules under way: the set `parents`.

    A name is the path from the module called first, which goes by its class. "Global" is always there.

    >>> from hookgrad import nn
    >>> class Show(nn.Module):
    ...     def forward(self, x):
    ...         print(sorted(tracker.parents))
    ...         return x
    >>> with ModuleTracker() as tracker:
    ...     _ = nn.Sequential(Show())(None)
    ['Global', 'Sequential', 'Sequential.0']
    """

    def __init__(self):
        self.parents = {"Global"}
        self._names = weakref.WeakKeyDictionary()
        self._called_back = False
        self._handles = []

    @property
    def is_bw(self):
        """Is a backward under way?"""
        return _C._current_graph_task_id() != -1

    def _name(self, module):
        """The module's path; with the first module of a tree its children get theirs."""
        if module not in self._names:
            for path, child in module.named_modules():
                self._names.setdefault(
                    child, ".".join([type(module).__name__, path] if path else [type(module).__name__])
                )
        return self._names[module]

    def _enter_backward(self, name):
        if not self._called_back:  # when it is through, no module is under way, whatever was reached
            self._called_back = True
            Variable._execution_engine.queue_callback(self._end_backward)
        self.parents.add(name)

    def _end_backward(self):
        self.parents = {"Global"}
        self._called_back = False

    def _on_grads(self, values, hook):
        tensors = [t for t in tree_leaves(values) if isinstance(t, _C.Tensor) and t.requires_grad]
        if tensors:
            self._handles.append(register_multi_grad_hook(tensors, hook))

    def _before(self, module, args):
        name = self._name(module)
        self.parents.add(name)
        self._on_grads(args, lambda grads: self.parents.discard(name))

    def _after(self, module, args, output):
        name = self._name(module)
        self.parents.discard(name)
        self._on_grads(output, lambda grads: self._enter_backward(name))

    def __enter__(self):
        self._handles = [register_module_forward_pre_hook(self._before), register_module_forward_hook(self._after)]
        return self

    def __exit__(self, *exc):
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
