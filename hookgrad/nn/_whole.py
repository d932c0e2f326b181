"""Functions made of several ops that are one node of the graph, as they are in PyTorch, which has a kernel for each.

The node saves the function's arguments. Its derivative runs the function once more, recorded, and backward through that.
An argument that the derivative does not depend on is not saved: there its zeros stand in. Where that derivative is a kernel in
PyTorch, it is one node in turn when it is recorded itself (as of ops: Note [One node for a derivative], twice.c).
"""

from functools import wraps

from .. import _C
from .._levels import in_map, innermost, refuse_random, refuse_same, tensors_of
from ..autograd import function as _functions
from ..autograd.grad_mode import enable_grad, no_grad

_DIFFERENTIABLE, _DIRTY = 1, 2  # what _C._function_outputs is told of an output
_BY_ROWS = "GridSampler", "UpsampleBicubic"  # whose gradients are contiguous, whatever arrives
_OPTIONAL = {"weight", "per_sample_weights", "attn_mask"}  # tensors that are saved as such also where there is none
_NUMBERS = {  # settings that PyTorch's kernels know by number
    "reduction": ("none", "mean", "sum"),
    "mode": ("sum", "mean", "max"),
    "interpolation_mode": ("bilinear", "nearest", "bicubic"),
    "padding_mode": ("zeros", "border", "reflection"),
}


class _Whole:
    """The context of such a node: the function, and its arguments; None for a saved tensor, a `_Blank` for one that is not.

    As nodes of the core it saves arguments by name, then results by name."""

    def __init__(self, name, function, args, edges, saved, results, derivative=None, twice=False):
        self._name = name  # which the core's node does not own
        self._words = saved
        self._saved_names = [word.removeprefix("+") for word in saved]
        self._result_names = sorted(n for n in results if n != "-")
        self._results = [results.index(n) for n in self._result_names]
        self._function = function
        self._args = [*args]
        self._is_saved = [False] * len(args)
        self._shapes = {}
        for i, a in enumerate(args):
            if isinstance(a, _C.Tensor):
                self._is_saved[i] = i >= len(saved) or not _is_blank(saved[i])
                self._args[i] = None if self._is_saved[i] else _Blank(a, saved[i] == "=")
                self._shapes[i] = tuple(a.shape)
            elif a is None and i < len(saved) and saved[i] in _OPTIONAL:
                self._is_saved[i] = True
        names = dict(enumerate(self._saved_names))
        self._order = sorted(
            [i for i, kept in enumerate(self._is_saved) if kept],
            key=lambda i: (names.get(i, "").startswith("result"), names.get(i) or "~"),
        )
        self._edges = edges
        self._derivative = derivative
        self._twice = twice
        self._n_results = 1

    def _saved_attribute(self, name):
        """`_saved_x` and `_raw_saved_x` of the node, `self`; NotImplemented where it has no such attribute."""
        raw = name.startswith("_raw_saved_")
        name = name.removeprefix("_raw_saved_" if raw else "_saved_")
        if name in self._result_names:
            which = len(self._order) + self._result_names.index(name)
            return _C._function_saved(self, raw)[which]
        if name not in self._saved_names:
            return NotImplemented
        at = self._saved_names.index(name)
        sizes = name.endswith("_sym_sizes")
        if at < len(self._args) and self._is_saved[at] and not sizes:
            return _C._function_saved(self, raw)[self._order.index(at)]
        if raw:
            return NotImplemented
        if at >= len(self._args):
            return self._shapes[0][-int(name[-1])]
        if sizes:
            return self._shapes[at]
        value = self._args[at]
        if type(value) is int and value < 0:
            return value + 2**64  # as PyTorch shows integers
        return _NUMBERS[name].index(value) if isinstance(value, str) and name in _NUMBERS else value

    def __dir__(self):
        shown = [(n, saved) for n, saved in zip(self._saved_names, self._is_saved) if n not in ("", "-", "=")]
        raw = ["_raw_saved_" + n for n, saved in shown if saved and not n.endswith("_sym_sizes")]
        results = [kind + n for n in self._result_names for kind in ("_saved_", "_raw_saved_")]
        more = [n for n in self._saved_names[len(self._args) :] if n != "-"]
        return ["_saved_" + n for n in [*[n for n, _ in shown], *more]] + raw + results

    def _run_backward(self, *grads):
        """What the engine calls, with the node for `self`: a gradient, or None, for each edge."""
        saved = iter(_C._function_saved(self, False) if self._order or self._results else ())
        edges, args = self._edges, [*self._args]
        for i, tensor in zip(self._order, saved):
            args[i] = tensor
        if all(g is None for g in grads):
            return (None,) * len(edges)
        wants = [i for i, wanted in zip(edges, _C._function_wants(self)) if wanted]
        as_one = self._twice and wants and _C.is_grad_enabled()
        if self._derivative and not as_one:
            args = [a.zeros() if isinstance(a, _Blank) else a for a in args]
            grads += (None,) * (self._n_results - len(grads))
            got = self._derivative(*grads, *args, *saved)
            got = got if isinstance(got, tuple) else (got,)
            got = [g if g is None or g._base is not None else _fresh(g) for g in got]
            return tuple([g if i in wants else None for i, g in zip(edges, got)])
        n = len(grads)

        def through(*given):
            return _through(self._function, wants, given[:n], given[n:], as_one, self._name.startswith(_BY_ROWS))

        if as_one:
            sources = [*range(n), *(n + i for i in edges if isinstance(args[i], _C.Tensor))]
            shown = "" if self._twice is True else " ".join([self._twice, *["-"] * (n - 1), *self._words])
            through = one_node(self._name[:-1] + "Backward0", *sources, saved=shown)(through)
        got = iter(through(*grads, *args))
        return tuple([next(got) if i in wants else None for i in edges])


def _is_wanted(arg):
    if isinstance(arg, _Blank):
        return arg._settings["requires_grad"]
    return isinstance(arg, _C.Tensor) and arg.requires_grad


def _through(function, wanted, grads, args, materialize, by_rows):
    """The function's gradients by the arguments that are wanted, from the outputs'."""
    from ..autograd import grad

    create_graph = _C.is_grad_enabled()
    args = [a.zeros() if isinstance(a, _Blank) else a for a in args]
    # Stand-ins, so that the inputs' own hooks do not run; in a second derivative they lead on to the inputs. Tangents they keep.
    for i in wanted:
        args[i] = args[i].view_as(args[i])._requires()
    with enable_grad():
        # Hooks of saved tensors are not shown what is gone at once.
        outputs = function(*args) if create_graph else _C._autograd._unseen(function, *args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    used = [(out, g) for out, g in zip(outputs, grads) if g is not None and out.requires_grad]
    if not used or not wanted:
        return (None,) * len(wanted)
    outputs, grads = zip(*used)
    by = [args[i] for i in wanted]
    got = grad(outputs, by, grads, create_graph=create_graph, allow_unused=True, materialize_grads=materialize)
    lying = (lambda g: g.contiguous()) if by_rows else (lambda g: lying_as(grads[0], g))
    return tuple([_fresh(g if g is None or g.dim() not in (4, 5) else lying(g)) for g in got])


def _fresh(g):
    """A gradient as a kernel makes it: no view of what it was made from, and never written to."""
    if g is None or g.requires_grad or _functions._dual_apply:
        return g
    if g._base is not None:
        return g.data
    if g._version:  # it stays the only one there is of its memory, which a leaf may take over
        _C._unsafe_set_version_counter((g,), (0,))
    return g


def _is_blank(word):
    return word in ("-", "=") or word.endswith("_sym_sizes") and word[0] != "+"


class _Blank:
    """What there is to know of a tensor that is not saved."""

    def __init__(self, tensor, by_row):
        self._settings = {"size": tensor.shape, "dtype": tensor.dtype, "requires_grad": tensor.requires_grad}
        self._by_row = by_row

    def zeros(self):
        settings = self._settings
        if not self._by_row:
            return _C.zeros(**settings)
        row = _C.zeros(1, *settings["size"][1:], dtype=settings["dtype"])
        return row.expand(settings["size"])._requires(settings["requires_grad"])


def lying_as(like, tensor):
    """`tensor`, in the channels-last format if `like` is in it, else contiguous: what most kernels make."""
    for form in (_C.channels_last, _C.channels_last_3d):
        if like.is_contiguous(memory_format=form) and not like.is_contiguous():
            return tensor.contiguous(memory_format=form)
    return tensor.contiguous()


def _own(tensor, args):
    """The tensor, or a copy where it is an argument or a view of one; it is no view of what the function made on the way."""
    base = tensor._base
    for a in args:
        if isinstance(a, _C.Tensor) and (tensor is a or base is not None and (base is a or base is a._base)):
            return tensor.clone()
    if base is None and not tensor._version:  # which a kernel leaves alone
        return tensor
    return tensor.clone() if _functions._dual_apply else tensor.data  # which leaves a tangent behind


def _by_position(function, args, kwargs):
    from inspect import signature

    bound = signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def one_node(name, *edges, saved="", results="", derivative=None, twice=False, differentiable=None, reads=""):
    """A decorator: the results of a function of tensors and settings come from one node `name`.

    `edges` are the numbers of the arguments that are differentiated by, tensors or None. The function returns a
    tensor or a tuple of them, and the same values for the same arguments. `saved` has a word for each argument that the node
    shows: `_saved_x` for "x", or the tensor's shape for "x_sym_sizes"; "-" for one that it does not show. A tensor of which it
    shows no more is one that no derivative depends on, and not saved; with a "+" before its word it is. "=" is as "-", for a
    tensor whose rows the function reads: one row of zeros stands in for all. `results` has a word for each of the first
    results, which the node then saves, too. `derivative`, where given, makes the gradients by the edges from those of the
    outputs, the arguments and the results saved; it is written in terms of ops. `twice` says that the derivative is one node,
    too, when it is differentiated: then it runs the function; a word, that this node shows the same and by that word the
    gradient. Words beyond the arguments, "self_sym_argsize_minus_1", are of sizes of the first. Of the results the first
    `differentiable` have a gradient, where they are floating point; all, where it is None. `reads`: "numbers" of its arguments, or
    "random" ones of the generator; of the samples of a map it is called for one after another then.
    """
    saved, results = saved.split(), results.split()

    def decorate(function):
        @wraps(function)
        def call(*args, **kwargs):
            if kwargs or len(args) < function.__code__.co_argcount:
                args = _by_position(function, args, kwargs)
            result = for_each(call, args, reads == "random") if reads and within_map() else None
            if result is None and within_map():
                return _of_samples(function, args, edges, derivative)
            records = _records(args, edges)
            if result is None:
                with no_grad():
                    result = function(*args)
            if not records:
                return result
            # An argument as it came, or a view of one, would be given the history of another tensor.
            outputs = tuple([_own(t, args) for t in (result if isinstance(result, tuple) else (result,))])
            flags = bytes([_DIFFERENTIABLE * t.is_floating_point() for t in outputs[:differentiable]])
            flags += bytes(len(outputs) - len(flags))
            # What has no derivative has an edge for what needs one only.
            to = [i for i in edges if _is_wanted(args[i])] if name == "NotImplemented" else edges
            _record(_Whole(name, function, args, to, saved, results, derivative, twice), args, outputs, flags)
            return outputs if isinstance(result, tuple) else outputs[0]

        call.whole = function, name, edges, saved, results, derivative
        return call

    return decorate


def without_derivative(op, *edges, reads=""):
    """A decorator: as one_node(), for a function through which PyTorch refuses to go backward; `op` is its name there."""

    def refuse(*given):
        raise RuntimeError(f"derivative for aten::{op} is not implemented")

    return one_node("NotImplemented", *edges, saved="- " * 8, derivative=refuse, reads=reads)


def written_without_derivative(op, self, *others):
    """`self` was changed in place by the op, through which PyTorch refuses to go backward: it has such a node."""

    def refuse(*given):
        raise RuntimeError(f"derivative for {op} is not implemented")

    args = (self, *others)
    if _C.is_grad_enabled() and any(t.requires_grad for t in args):
        edges = range(len(args))
        whole = _Whole("NotImplemented", None, args, edges, ["-"] * len(args), [], refuse)
        _record(whole, args, (self,), bytes([_DIFFERENTIABLE | _DIRTY]))


def in_place(one):
    """A function that writes what `one`, made by one_node(), returns into its first argument: it has the same node."""
    function, name, edges, saved, results, derivative = one.whole

    @wraps(function)
    def call(*args, **kwargs):
        if kwargs or len(args) < function.__code__.co_argcount:
            args = _by_position(function, args, kwargs)
        self = args[0]
        if within_map():
            return self.copy_(one(*args))
        if not _records(args, edges):
            return self.copy_(function(*args))
        if self.is_leaf and self.requires_grad:
            self.zero_()  # refused, as any op in place
        whole = _Whole(name, function, args, edges, saved, results, derivative)
        was = (self.clone() if whole._is_saved[0] else self, *args[1:])
        with no_grad():
            self.copy_(function(*args))
        _record(whole, args, (self,), bytes([_DIFFERENTIABLE | _DIRTY]), was)
        return self

    call.__name__ = call.__qualname__ = function.__name__.lstrip("_") + "_"
    return call


def within_map():
    """There the batches may be differentiated, of which one node of samples says nothing."""
    return _functions._transforms is not None and _functions._transforms.samples is not None


def for_each(call, args, draws=False):
    """What `call` gives for the samples among the arguments, one after another; None: there are none, or they share what it draws."""
    samples = _functions._transforms.samples if draws else innermost(tensors_of(args))
    if draws and samples.randomness == "error":
        refuse_random()
    if draws and samples.randomness == "same":
        if any(samples.knows(t) and in_map(t).mapped for t in tensors_of(args)):
            refuse_same()
        return None
    return samples and samples.each(call, list(args), lambda values: values)


def of_each(function):
    """A decorator of what makes no node and reads the numbers of its arguments: see one_node()."""

    @wraps(function)
    def call(*args, **kwargs):
        if within_map() and innermost(tensors_of(args)):
            return for_each(lambda *values: call(*values, **kwargs), args)
        return function(*args, **kwargs)

    return call


def _of_samples(function, args, edges, derivative):
    """What the function gives by its ops, of which a derivative that is written out knows more than they."""
    result = function(*args)
    given, made = [args[i] for i in edges], result if isinstance(result, tuple) else (result,)
    if derivative and _C.is_grad_enabled() and any(map(_has_history, given)) and not any(map(_has_history, made)):
        raise RuntimeError(f"vmap: the derivative of {function.__name__.strip('_')} is not implemented within a map")
    return result


def _has_history(t):
    """Here or, of a sample, outside of its map."""
    while isinstance(t, _C.Tensor) and not t.requires_grad:
        known = getattr(t, "_in_map", None)
        t = known and known.whole
    return t is not None


def _records(args, edges):
    return _C.is_grad_enabled() and any(args[i] is not None and args[i].requires_grad for i in edges)


def _record(whole, args, outputs, flags, was=None):
    """Make the node: its edges lead to `args`; it saves them, or what they `was`."""
    node = _C._function_new(whole._name, whole, tuple([args[i] for i in whole._edges]))
    whole._n_results = len(outputs)
    n = max((i + 1 for i, flag in enumerate(flags) if flag), default=len(flags))  # hooks see no more, as of ops
    _C._function_outputs(node, outputs[:n], flags[:n])
    tensors = [(was or args)[i] for i in whole._order]
    _C._function_save(node, (*tensors, *[outputs[k] for k in whole._results]), False)
