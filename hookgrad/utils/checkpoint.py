"""Trading time for memory: what a part of the model saves for backward is thrown away, and computed again when wanted.

Two ways, as in ``torch.utils.checkpoint``. The reentrant one runs the part without recording it, inside a Function whose
backward runs it again and calls ``backward()`` on the result. The other records the part as usual, under hooks that keep
a place holder for each saved tensor; the first one unpacked runs the part again and fills them all.

Source: https://docs.pytorch.org/docs/stable/checkpoint.html
"""

import warnings
import weakref
from contextlib import contextmanager, nullcontext

import hookgrad

from .. import _C
from ..autograd.function import Function
from ..autograd.graph import saved_tensors_hooks

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "DefaultDeviceType",
    "GraphExecGroup",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]
_SELECTIVE = "CheckpointPolicy SAC_IGNORED_OPS SelectiveCheckpointContext create_selective_checkpoint_contexts".split()
__all__.extend(_SELECTIVE)

_TIP = """
Tip: To see a more detailed error message, either pass `debug=True` to
`torch.utils.checkpoint.checkpoint(...)` or wrap the code block
with `with torch.utils.checkpoint.set_checkpoint_debug_enabled(True):` to
enable checkpoint‑debug mode globally.
"""

_early_stop = None  # what set_checkpoint_early_stop() says; None: each call decides
_debug = None  # likewise


def __getattr__(name):
    if name in _SELECTIVE:
        from . import _selective_checkpoint

        return getattr(_selective_checkpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did not save what the first one saved."""


# ---- Settings -------------------------------------------------------------------------------------------------------


@contextmanager
def set_checkpoint_early_stop(enable):
    """For the calls of `checkpoint` inside: whether the second run ends as soon as it has made what is needed."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextmanager
def set_checkpoint_debug_enabled(enabled):
    """For the calls of `checkpoint` inside: override their argument `debug` (None leaves it to them)."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


def noop_context_fn():
    """The default of `context_fn`: two contexts that do nothing."""
    return nullcontext(), nullcontext()


class DefaultDeviceType:
    """The kind of device whose random state is kept beside the CPU's. There is only the CPU here."""

    _default_device_type = None

    @staticmethod
    def set_device_type(device="cuda"):
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type():
        return DefaultDeviceType._default_device_type or "cpu"


def get_device_states(*args):
    """The devices, other than the CPU, of the tensors among `args`, and their random states: none."""
    return [], []


def set_device_states(devices, states, *, device_type=None):
    """Put back what `get_device_states` gave: nothing to do."""


# ---- Helpers of both ways -------------------------------------------------------------------------------------------


def detach_variable(inputs):
    """The same tuple with each tensor cut off from its history; what required a gradient still does."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple([t.detach().requires_grad_(t.requires_grad) if isinstance(t, hookgrad.Tensor) else t for t in inputs])


def check_backward_validity(inputs):
    """Warn where no tensor among `inputs` requires a gradient."""
    if not any(isinstance(t, hookgrad.Tensor) and t.requires_grad for t in inputs):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


@contextmanager
def _random_state(state):
    """Draw random numbers as from `state` on, and go on afterwards as if nothing had been drawn. None: do nothing."""
    if state is None:
        yield
        return
    now = hookgrad.get_rng_state()
    hookgrad.set_rng_state(state)
    try:
        yield
    finally:
        hookgrad.set_rng_state(now)


# ---- The reentrant way ----------------------------------------------------------------------------------------------


class CheckpointFunction(Function):
    """Runs a function unrecorded; its backward runs it again, recorded, and backward through that."""

    @staticmethod
    def forward(ctx, run_function, preserve_rng_state, *args):
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.preserve_rng_state = preserve_rng_state
        ctx.rng_state = hookgrad.get_rng_state() if preserve_rng_state else None
        ctx.autocast = hookgrad.amp.kept_autocast()
        is_tensor = [isinstance(a, hookgrad.Tensor) for a in args]
        ctx.inputs = [None if t else a for a, t in zip(args, is_tensor)]
        ctx.tensor_indices = [i for i, t in enumerate(is_tensor) if t]
        ctx.save_for_backward(*[args[i] for i in ctx.tensor_indices])
        with hookgrad.no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx, *args):
        if not hookgrad.autograd._is_checkpoint_valid():
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        inputs = list(ctx.inputs)
        for i, tensor in zip(ctx.tensor_indices, ctx.saved_tensors):
            inputs[i] = tensor
        inputs = detach_variable(tuple(inputs))
        with _random_state(ctx.rng_state), hookgrad.enable_grad(), ctx.autocast():
            outputs = ctx.run_function(*inputs)
        if isinstance(outputs, hookgrad.Tensor):
            outputs = (outputs,)
        wanted = [i for i, out in enumerate(outputs) if isinstance(out, hookgrad.Tensor) and out.requires_grad]
        if not wanted:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        hookgrad.autograd.backward([outputs[i] for i in wanted], [args[i] for i in wanted])
        return (None, None, *[t.grad if isinstance(t, hookgrad.Tensor) else None for t in inputs])


# ---- The other way --------------------------------------------------------------------------------------------------
#
# Note [Checkpoints by saved-tensor hooks]
# A frame is one call of checkpoint(). Whatever the function saves is packed as a holder, an empty object the graph keeps;
# the frame knows its holders by weak reference, in order. The first holder that is unpacked runs the function again under
# hooks that put the n-th tensor saved now where the n-th holder finds it. A tensor is handed out once for each backward
# and forgotten then, also when the graph is retained: the next backward computes it again. So everything is filed under
# the backward it was computed for.
# Checkpoints nest: the innermost keeps what is saved, and its inputs are saved tensors of the one outside, which is
# computed again when they are asked for.


class _Place:
    """Where a recomputed tensor is found, during one backward: the key of a weak dictionary."""


class _Holder:
    """Stands in the graph for a tensor that was not kept."""

    def __init__(self):
        self.places = {}  # for each backward: its place, or None once it was handed out


class _StopRecomputationError(Exception):
    """Everything that is needed has been computed."""


class _SavedInputs(Function):
    """A node that saves tensors as nodes do (so the hooks in force see them) and is in nobody's graph."""

    generate_vmap_rule = True

    @staticmethod
    def forward(anchor, *tensors):
        return anchor.detach()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx, *grads):
        raise AssertionError("a checkpoint's inputs are not part of the graph")

    @staticmethod
    def jvp(ctx, *tangents):
        return tangents[0]


class _Frame:
    """One call of checkpoint(): how to run it again, and what it saved."""

    def __init__(self, recompute, args, early_stop, describe, trace):
        self.recompute = recompute
        self.early_stop = early_stop
        self.describe = describe
        self.trace = trace  # for `debug`: the ops of both runs; or None
        self.holders = []  # weak
        self.descriptions = []
        self.completed = False  # forward is through
        self.ignore_mismatch = False
        self.recomputed = {}  # backward -> {place: tensor}, weak in the place
        self.n_saved = {}  # backward -> how many tensors the second run has saved
        self.done = set()  # the backward runs that have had their second run
        # An input is saved as a node saves it: the checkpoint around this one may not keep it either.
        self.args = [None if isinstance(a, hookgrad.Tensor) else a for a in args]
        self.places = [i for i, a in enumerate(args) if isinstance(a, hookgrad.Tensor)]
        anchor = hookgrad.empty(0, requires_grad=True)
        self.node = _SavedInputs.apply(anchor, *[args[i] for i in self.places]).grad_fn

    def inputs(self):
        args = list(self.args)
        for i, tensor in zip(self.places, self.node.saved_tensors):
            args[i] = tensor
        return args

    # The first run.

    def pack(self, tensor):
        holder = _Holder()
        self.holders.append(weakref.ref(holder))
        with hookgrad.no_grad():
            self.descriptions.append(self.describe(tensor))
        return holder

    def unpack(self, holder):
        run = GraphExecGroup._get_current_group()
        if run is None:
            run = _C._current_graph_task_id()
            if run == -1:  # no backward: somebody looks at grad_fn._saved_...
                run = object()
        try:
            return self._unpack(holder, run)
        except CheckpointError as error:
            if self.trace is None:
                raise
            raise CheckpointError(self.trace.report()) from error

    def _unpack(self, holder, run):
        if run not in self.done:
            inputs = self.inputs()
            try:
                with self.second_run(run), hookgrad.enable_grad():
                    self.recompute(*inputs)
            except _StopRecomputationError:
                pass
            self.done.add(run)
            self.compare(run)
        place = holder.places[run]
        if place is None:
            extra = ""
            if GraphExecGroup._get_current_group() is not None:
                extra = (
                    "Performing two backward calls that overlap (i.e. require the same saved activation in order to "
                    "compute gradients) is not allowed while under the torch.utils.checkpoint.GraphExecGroup context. "
                )
            raise CheckpointError(
                "torch.utils.checkpoint: Unpack is being triggered for a tensor that was already unpacked once. "
                f"{extra}If you are calling ctx.saved_tensors in backward, make sure to do so only once. Otherwise "
                "please open an issue with details on your use case."
            )
        tensor = self.recomputed[run][place]
        holder.places[run] = None  # and with its key the tensor leaves the dictionary
        return tensor

    # The second run.

    def second_run(self, run):
        frame = weakref.ref(self)
        self.recomputed[run] = weakref.WeakKeyDictionary()
        self.n_saved[run] = 0

        def pack(tensor):
            return frame()._save_again(run, tensor.detach() if tensor.requires_grad else tensor)

        return saved_tensors_hooks(pack, lambda tensor: tensor)

    def _save_again(self, run, tensor):
        n = self.n_saved[run]
        self.n_saved[run] += 1
        if n >= len(self.holders):
            if not self.completed:  # a backward inside the function, during its first run
                self.ignore_mismatch = True
                return tensor
            raise CheckpointError(
                "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                f"forward pass.\n{_TIP}"
            )
        holder = self.holders[n]()
        if holder is not None:  # else a backward inside the function has used it already
            place = holder.places[run] = _Place()
            self.recomputed[run][place] = tensor
        if self.early_stop and n + 1 == len(self.holders):
            raise _StopRecomputationError
        return tensor

    def compare(self, run):
        """Raise unless the second run saved what the first one did."""
        if self.ignore_mismatch:
            return
        if len(self.holders) != self.n_saved[run]:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self.holders)}\n"
                f"Number of tensors saved during recomputation: {self.n_saved[run]}.\n{_TIP}"
            )
        different = ""
        for i, (holder, before) in enumerate(zip(self.holders, self.descriptions)):
            holder = holder()
            if holder is None:
                continue
            after = self.describe(self.recomputed[run][holder.places[run]])
            if before != after:
                different += f"tensor at position {i}:\nsaved metadata: {before}\nrecomputed metadata: {after}\n"
        if different:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                f"during the forward pass.\n{different}.\n{_TIP}"
            )


def _description(tensor):
    return {"shape": tensor.shape, "dtype": tensor.dtype, "device": tensor.device}


_DETERMINISM_CHECKS = {"default": _description, "none": lambda tensor: None}


def _checkpoint_by_hooks(function, args, kwargs, preserve_rng_state, context_fn, determinism_check, debug, early_stop):
    trace = None
    if debug if _debug is None else _debug:
        if context_fn is not noop_context_fn:
            raise ValueError("debug=True is incompatible with non-default context_fn")
        from ._checkpoint_trace import Trace

        trace = Trace()
        context_fn = trace.contexts
    if determinism_check not in _DETERMINISM_CHECKS:
        raise ValueError(f"determinism_check should be one of {list(_DETERMINISM_CHECKS)}, but got {determinism_check}")
    first_context, second_context = context_fn()
    state = hookgrad.get_rng_state() if preserve_rng_state else None
    autocast = hookgrad.amp.kept_autocast()

    def recompute(*inputs):
        with _random_state(state), autocast(), second_context:
            function(*inputs, **kwargs)

    if not hookgrad.is_grad_enabled():
        return function(*args, **kwargs)
    if _early_stop is not None:
        early_stop = _early_stop
    frame = _Frame(recompute, args, early_stop, _DETERMINISM_CHECKS[determinism_check], trace)
    with saved_tensors_hooks(frame.pack, frame.unpack), first_context:
        result = function(*args, **kwargs)
        frame.completed = True
    if not frame.completed:
        raise RuntimeError(
            "torch.utils.checkpoint: the forward context provided by context_fn suppressed an exception raised during "
            "the checkpointed forward. This is not supported because checkpoint cannot return a value for a failed "
            "forward."
        )
    return result


def _warn_if_unspecified(where, use_reentrant, version):
    if use_reentrant is not None:
        return use_reentrant
    warnings.warn(
        f"torch.utils.checkpoint{where}: the use_reentrant parameter should be passed explicitly. {version} "
        "use_reentrant=False is recommended, but if you need to preserve the current default behavior, you can pass "
        "use_reentrant=True. Refer to docs for more details on the differences between the two variants.",
        stacklevel=3,
    )
    return True


def _preserve_rng_state(kwargs, others_allowed):
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs and not others_allowed:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    return preserve


def checkpoint(
    function,
    *args,
    use_reentrant=None,
    context_fn=noop_context_fn,
    determinism_check="default",
    debug=False,
    early_stop=True,
    **kwargs,
):
    """Run `function(*args)` without keeping what its backward needs; that is computed again when backward comes to it.

    `preserve_rng_state` (True) makes the second run draw the same random numbers. Without reentrance keyword arguments
    go to the function, `context_fn` gives a context for each run, `determinism_check` ("default" or "none") says whether
    shapes and dtypes of both runs are compared, `debug` puts the ops of both runs, and where they were called, into the error, and
    `early_stop` ends the second run once everything needed is there.

    >>> import hookgrad as torch
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> checkpoint(lambda x: (x * x).sin() * x, x, use_reentrant=False).backward()
    >>> x.grad
    tensor(-5.9860)

    Source: https://docs.pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.checkpoint
    """
    use_reentrant = _warn_if_unspecified(
        "", use_reentrant, "Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an exception."
    )
    preserve = _preserve_rng_state(kwargs, others_allowed=not use_reentrant)
    if not use_reentrant:
        return _checkpoint_by_hooks(function, args, kwargs, preserve, context_fn, determinism_check, debug, early_stop)
    if context_fn is not noop_context_fn or debug is not False:
        raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
    return CheckpointFunction.apply(function, preserve, *args)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """Run functions one after another, in so many segments, each but the last a checkpoint.

    Source: https://docs.pytorch.org/docs/stable/checkpoint.html#torch.utils.checkpoint.checkpoint_sequential
    """
    use_reentrant = _warn_if_unspecified(
        ".checkpoint_sequential",
        use_reentrant,
        "In version 2.9 we will raise an exception if use_reentrant is not passed.",
    )
    preserve = _preserve_rng_state(kwargs, others_allowed=False)
    if isinstance(functions, hookgrad.nn.Sequential):
        functions = list(functions.children())

    def segment(part):
        def run(input):
            for function in part:
                input = function(input)
            return input

        return run

    size = len(functions) // segments
    done = 0
    for start in range(0, size * (segments - 1), size):
        done = start + size
        part = segment(functions[start:done])
        input = checkpoint(part, input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return segment(functions[done:])(input)


class GraphExecGroup:
    """All backward calls inside this context count as one: a checkpointed part runs a second time once for all."""

    _current = None

    def __enter__(self):
        if GraphExecGroup._current is not None:
            raise RuntimeError(
                f"GraphExecGroup contexts cannot be nested. Already inside group {GraphExecGroup._current}"
            )
        GraphExecGroup._current = self
        return self

    def __exit__(self, *exc):
        GraphExecGroup._current = None

    @classmethod
    def _get_current_group(cls):
        return GraphExecGroup._current
