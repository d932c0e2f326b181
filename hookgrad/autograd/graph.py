"""The graph as an object: nodes, and what happens to the tensors they save.

Source: https://docs.pytorch.org/docs/stable/autograd.html#autograd-graph
"""

from abc import ABC, abstractmethod
from types import ModuleType

from .. import _C
from . import function
from .function import _Context

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "region_activation_memory_budget",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "set_override_stale_capture_stream",
    "set_warn_on_accumulate_grad_stream_mismatch",
]


RemovableHandle = _C.RemovableHandle


class Node(ABC):
    """What every node of the graph is an instance of, the `grad_fn` of a tensor and the context of a Function among them.

    >>> import hookgrad as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> isinstance((x * 2).grad_fn, torch.autograd.graph.Node)
    True

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.Node
    """

    @abstractmethod
    def name(self):
        """The node's name, "MulBackward0" say."""

    @property
    @abstractmethod
    def next_functions(self):
        """Where its gradients go: a tuple of (node, number of the node's output)."""

    @abstractmethod
    def metadata(self):
        """A dict of the user's."""

    @property
    @abstractmethod
    def _input_metadata(self):
        """Shape, dtype and device of each gradient that the node takes."""

    @abstractmethod
    def _sequence_nr(self):
        """Nodes made later on this thread have larger numbers, and run earlier."""

    @abstractmethod
    def register_hook(self, fn):
        """Call fn(grad_inputs, grad_outputs) each time the node has run; what it returns replaces grad_inputs."""

    @abstractmethod
    def register_prehook(self, fn):
        """Call fn(grad_outputs) each time before the node runs; what it returns replaces grad_outputs."""

    @abstractmethod
    def _register_hook_dict(self, hooks):
        """Call a table's hooks, too, each time the node has run."""

    @classmethod
    def __subclasshook__(cls, other):
        return True if cls is Node and _C._is_node_class(other) else NotImplemented


Node.register(_Context)
Node.register(function.DelayedError)
Node.register(function.UndefinedGrad)


class _NodeClasses(ModuleType):
    """`torch._C._functions`: the classes of nodes by their names."""

    _NOT_OF_OPS = ("AccumulateGrad", "CopyBackwards", "CopySlices", "Error")

    def __getattr__(self, name):
        if name in ("DelayedError", "UndefinedGrad"):  # these make such nodes
            return getattr(function, name)
        if name in self._NOT_OF_OPS or any(row["node_name"] == name for row in _C.op_table()):
            value = _C._node_class(name)
            setattr(self, name, value)
            return value
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


_C._functions = _NodeClasses("torch._C._functions")


# ---- Edges ------------------------------------------------------------------------------------------------------------


class GradientEdge(tuple):
    """Where the gradient of a tensor arrives: at output `output_nr` of `node`. `backward` and `grad` take it for the tensor.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.GradientEdge
    """

    # A named tuple, written out: the module that makes them is a large part of what an import costs.
    __slots__ = ()
    _fields = __match_args__ = ("node", "output_nr", "ownership_token")
    _field_defaults = {"ownership_token": None}

    def __new__(cls, node, output_nr, ownership_token=None):
        return tuple.__new__(cls, (node, output_nr, ownership_token))

    node = property(lambda self: self[0], doc="The node the gradient arrives at.")
    output_nr = property(lambda self: self[1], doc="At which of its outputs.")
    ownership_token = property(lambda self: self[2], doc="What keeps the node alive, where the node itself does not.")

    @classmethod
    def _make(cls, values):
        made = tuple.__new__(cls, values)
        if len(made) != 3:
            raise TypeError(f"Expected 3 arguments, got {len(made)}")
        return made

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _replace(self, **changes):
        if unknown := [name for name in changes if name not in self._fields]:
            raise ValueError(f"Got unexpected field names: {unknown}")
        return self._make((self._asdict() | changes).values())

    def __getnewargs__(self):
        return tuple(self)

    def __repr__(self):
        return f"GradientEdge(node={self[0]!r}, output_nr={self[1]!r}, ownership_token={self[2]!r})"


def _get_grad_fn_or_grad_acc(tensor):
    """The node where the gradient of a tensor, or of an edge, arrives: of a leaf, the one that accumulates it."""
    if isinstance(tensor, GradientEdge):
        return tensor.node
    if tensor.requires_grad and tensor.grad_fn is None:
        was = _C._grad_mode(True)
        try:
            node = tensor.view_as(tensor).grad_fn.next_functions[0][0]
        finally:
            _C._grad_mode(was)
    else:
        node = tensor.grad_fn
    if node is None:
        raise AssertionError("Expected gradient function to be set")
    return node


def get_gradient_edge(tensor):
    """The edge of a tensor: with it gradients can be asked for when the tensor itself is gone.

    >>> import hookgrad as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = x * x
    >>> edge = torch.autograd.graph.get_gradient_edge(y)
    >>> torch.autograd.grad(y.exp().log(), edge)
    (tensor(1.),)

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.get_gradient_edge
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    return GradientEdge(_get_grad_fn_or_grad_acc(tensor), tensor.output_nr)


def increment_version(tensor):
    """Tell autograd that a tensor, or each of several, was changed in a way it could not see.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.increment_version
    """
    tensors = (tensor,) if isinstance(tensor, _C.Tensor) else tensor
    if not hasattr(tensors, "__iter__"):
        raise RuntimeError("increment_version expect a Iterable[Tensor] as input")
    for t in tensors:
        if not (isinstance(t, _C.Tensor) and t.is_inference()):  # which has no version
            _C._increment_version(t)


# ---- Saved tensors ----------------------------------------------------------------------------------------------------


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
        _C._autograd._push_saved_tensors_default_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc):
        _C._autograd._pop_saved_tensors_default_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Saved tensors are kept on the CPU, where they are already."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda t: t, lambda t: t)


class disable_saved_tensors_hooks:
    """Inside, using saved-tensor hooks fails with the message."""

    def __init__(self, error_message):
        self._message = error_message

    def __enter__(self):
        self._before = _C._autograd._saved_tensors_hooks_get_disabled_error_message()
        _C._autograd._saved_tensors_hooks_disable(self._message)

    def __exit__(self, *exc):
        if self._before is None:
            _C._autograd._saved_tensors_hooks_enable()
        else:
            _C._autograd._saved_tensors_hooks_disable(self._before)

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def wrapped(*args, **kwargs):
            with disable_saved_tensors_hooks(self._message):
                return function(*args, **kwargs)

        return wrapped


# Note [Mutation of saved tensors]
# What is saved is packed as a handle; the tensor stays in a table beside it. Just before a tensor changes in place, each
# saved tensor in the same memory at the same version is replaced by a clone, so the derivative finds the old values.


class _Saved:
    """Stands in the graph for a saved tensor: the key of a weak dictionary."""


class _AllowMutationOnSavedContext:
    def __init__(self):
        from weakref import WeakKeyDictionary, WeakValueDictionary

        self.original = WeakKeyDictionary()
        self.cloned = WeakKeyDictionary()
        self.tid_to_weakhandle = WeakValueDictionary()  # (id of the tensor, memory, version) -> its handle
        self.sid_to_tid = {}  # (memory, version) -> keys of the one above

    def pack(self, tensor):
        memory = tensor.untyped_storage().data_ptr(), tensor._version
        key = (id(tensor), tensor.data_ptr(), tensor._version)
        self.sid_to_tid.setdefault(memory, set()).add(key)
        handle = self.tid_to_weakhandle.get(key)
        if handle is None:
            handle = self.tid_to_weakhandle[key] = _Saved()
            self.original[handle] = tensor
        return handle

    def unpack(self, handle):
        error = (
            "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context"
            "in which the graph was originally recorded."
        )
        if not _allowing_mutation:
            raise AssertionError(error)
        if handle in self.cloned:
            return self.cloned[handle]
        if handle not in self.original:
            raise AssertionError(error)
        return self.original[handle]

    def before_write(self, tensor):
        for key in self.sid_to_tid.get((tensor.untyped_storage().data_ptr(), tensor._version), ()):
            handle = self.tid_to_weakhandle.get(key)
            if handle is not None and handle not in self.cloned:
                self.cloned[handle] = self.original.pop(handle).detach().clone()

    def clear(self):
        self.cloned.clear()
        self.original.clear()
        self.tid_to_weakhandle.clear()
        self.sid_to_tid.clear()


_allowing_mutation = False


class allow_mutation_on_saved_tensors:
    """Inside, tensors saved for backward may be changed in place: they are cloned just before.

    >>> import hookgrad as torch
    >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
    ...     a = torch.ones(2, requires_grad=True)
    ...     b = a.clone()
    ...     out = (b**2).sum()
    ...     b.mul_(3)
    ...     out.backward()
    tensor([3., 3.], grad_fn=<MulBackward0>)
    >>> a.grad
    tensor([2., 2.])

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.allow_mutation_on_saved_tensors
    """

    def __enter__(self):
        global _allowing_mutation
        if _allowing_mutation:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        self._context = context = _AllowMutationOnSavedContext()
        self._hooks = saved_tensors_hooks(context.pack, context.unpack)
        self._hooks.__enter__()
        _C._watch_writes(context.before_write)
        _allowing_mutation = True
        return context

    def __exit__(self, *exc):
        global _allowing_mutation
        _allowing_mutation = False
        _C._watch_writes(None)
        self._hooks.__exit__()
        self._context.clear()

    def __call__(self, function):
        from functools import wraps

        @wraps(function)
        def wrapped(*args, **kwargs):
            with allow_mutation_on_saved_tensors():
                return function(*args, **kwargs)

        return wrapped


# ---- Logging ----------------------------------------------------------------------------------------------------------


def _described(tensor):
    """f32[2, 3]"""
    if tensor is None:
        return "None"
    family = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "bool": "b"}
    name = str(tensor.dtype).removeprefix("torch.")
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :] or "8"
    return f"{family[letters]}{digits}[{', '.join(map(str, tensor.shape))}]"


def _register_logging_hooks_on_whole_graph(t_outputs):
    """Have every node that leads to these tensors or edges log its gradients, at level DEBUG, before it runs.

    Returns a function that ends this.
    """
    from logging import getLogger

    log = getLogger("torch.autograd.graph")

    def prehook(grad_outputs):
        described = ",".join(map(_described, grad_outputs))
        log.debug(f"Executing: {_C._current_autograd_node()} with grad_outputs: [{described}]")

    found = {}
    waiting = [_get_grad_fn_or_grad_acc(t) for t in t_outputs]
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            waiting.extend(to for to, _ in node.next_functions)
    handles = [node.register_prehook(prehook) for node in found.values()]

    def unregister():
        for handle in handles:
            handle.remove()

    return unregister


# ---- The engine -------------------------------------------------------------------------------------------------------


def _engine_run_backward(t_outputs, *args, **kwargs):
    from .variable import Variable

    return Variable._execution_engine.run_backward(t_outputs, *args, **kwargs)


def set_warn_on_accumulate_grad_stream_mismatch(enabled):
    """For streams of a GPU: without effect here."""


def set_override_stale_capture_stream(enabled):
    """For streams of a GPU: without effect here."""


# ---- Hooks on several tensors -----------------------------------------------------------------------------------------


class _MultiHandle(_C.RemovableHandle):
    """Removes the hook from each of its tensors."""

    def __init__(self, handles):
        self.handles = handles

    def remove(self):
        for handle in self.handles:
            handle.remove()

    def __exit__(self, *exc):
        self.remove()

    def __getstate__(self):
        return self.handles

    def __setstate__(self, state):
        self.handles = state


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call `fn` once a backward for all these tensors: with the list of their gradients when the last has come (mode
    "all"; None for those that get none), or with the first gradient that comes (mode "any").

    >>> import hookgrad as torch
    >>> a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> handle = torch.autograd.graph.register_multi_grad_hook((a, b), print)
    >>> (a * 2 + b * 3).sum().backward()
    [tensor([2.]), tensor([3.])]

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.graph.register_multi_grad_hook
    """
    modes = ("all", "any")
    if mode not in modes:
        raise ValueError(f"Expects mode to be one of {modes} but got {mode}")
    if mode == "any":
        return _MultiHandle(_register_any(tensors, fn))
    return _MultiHandle(_register_all(tensors, fn))


class _Run:
    """What a multi-grad hook knows of one backward, which alone keeps it: it goes when that ends, or fails."""

    def __init__(self, n_gradients):
        self.n_calls, self.gradients = 0, [None] * n_gradients
        _C._queue_callback(self)

    def __call__(self):
        pass


def _number_of_run():
    number = _C._current_graph_task_id()
    if number == -1:
        raise AssertionError("expected this hook to be called inside a backward call")
    return number


def _call(fn, site, gradients):
    _C._call_hook("multi-grad hook", site, _C._current_autograd_node(), fn, gradients)


def _weak_node(tensor):
    """What gives the node of a tensor, as `_get_grad_fn_or_grad_acc`, without keeping it: the node, or its leaf, owns the hook that asks."""
    from weakref import ref

    node = _get_grad_fn_or_grad_acc(tensor)
    if isinstance(tensor, GradientEdge) or tensor.grad_fn is not None:
        return ref(node)
    leaf = ref(tensor)

    def of_leaf():
        tensor = leaf()
        if tensor is None:
            return None
        if tensor.requires_grad:
            return _get_grad_fn_or_grad_acc(tensor)
        tensor.requires_grad_()  # as it did when the graph was made that now runs
        node = _get_grad_fn_or_grad_acc(tensor)
        tensor.requires_grad_(False)
        return node

    return of_leaf


def _will_run(weak_node):
    node = weak_node()
    return node is not None and _C._will_engine_execute_node(node)


def _register_all(tensors, fn):
    from weakref import WeakValueDictionary

    site = _C._site()
    nodes = [_weak_node(t) for t in tensors]
    n_tensors = len(tensors)
    runs = WeakValueDictionary()  # by the number of the backward
    expected = 0  # calls, in the run begun last: as in PyTorch one run within another leaves its number to that

    def hook_of(i):
        def inner_hook(grad):
            nonlocal expected
            number = _number_of_run()
            run = runs.get(number)
            if run is None:
                run = runs[number] = _Run(n_tensors)
                expected = sum(map(_will_run, nodes))
            run.n_calls += 1
            run.gradients[i] = grad
            if run.n_calls == expected:
                del runs[number]  # what comes still is counted anew
                _call(fn, site, run.gradients)

        return inner_hook

    return tuple([t.register_hook(hook_of(i)) for i, t in enumerate(tensors)])


def _register_any(tensors, fn):
    from functools import wraps
    from weakref import WeakValueDictionary

    site = _C._site()
    runs = WeakValueDictionary()

    @wraps(fn)
    def once(grad):
        number = _number_of_run()
        if number not in runs:
            runs[number] = _Run(0)
            _call(fn, site, grad)

    return tuple([t.register_hook(once) for t in tensors if t.requires_grad])


def region_activation_memory_budget(budget):
    """Fails: how much of what a compiled region saves is computed again is for a compiler to decide, and there is none.

    TypeError or ValueError where `budget` is no number from 0 to 1, else RuntimeError, as PyTorch's outside of `torch.compile`.
    """
    name = "torch.autograd.graph.region_activation_memory_budget"
    if isinstance(budget, bool) or not isinstance(budget, (int, float)):
        raise TypeError(f"{name}: expects a float, got {type(budget).__name__}")
    if not 0.0 <= budget <= 1.0:
        raise ValueError(f"{name}: must be in [0, 1], got {budget}")
    raise RuntimeError(f"{name} can only be used inside a torch.compile region; it has no effect in eager mode.")
