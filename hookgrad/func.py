"""Functions made of functions: gradients, products with vectors, Jacobians, maps over a batch; modules as functions.

All of it stands on autograd as it is: a transform calls the function on tensors of its own and differentiates what comes out,
so that transforms nest, and what they give can itself be differentiated with respect to tensors that require a gradient. `vmap`
calls the function once, for all entries of the batch (Note [Samples] in _batched.py).

Source: https://docs.pytorch.org/docs/stable/func.html
"""

import threading
from contextlib import contextmanager
from functools import partial, wraps

from . import _C, _levels
from . import autograd as _autograd
from ._levels import alias, in_map, known_as
from ._samples import Samples
from ._samples import dims_of as _spread
from ._samples import flatten as _flatten
from .autograd import function
from .autograd.grad_mode import enable_grad, inference_mode
from .nn.utils import stateless
from .random import get_rng_state, set_rng_state
from .utils._pytree import tree_flatten, tree_unflatten

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]


# ---- Trees of tensors -------------------------------------------------------------------------------------------------


_AUX = "Expected tensors, got unsupported type"


def _tensors(leaves, what):
    for leaf in leaves:
        if not isinstance(leaf, _C.Tensor):
            raise RuntimeError(f"{what} {type(leaf)}")
    return leaves


def _outputs(result, name):
    leaves, rebuild = _flatten(result)
    if not leaves or len(leaves) == 1 and leaves[0] is None:
        raise RuntimeError(f"{name}: Expected f to be a function that has non-empty output (got output = {leaves})")
    return _tensors(leaves, f"{name}: expected f(*primals) to return only tensors, got unsupported type"), rebuild


def _mine(leaves):
    """Tensors that nobody else differentiates by, connected to those that require a gradient."""
    for leaf in leaves:
        if not isinstance(leaf, _C.Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(leaf)}")
    samples, leaves = _transforms.samples, _saveable(leaves)
    if samples is not None:  # what is the same for all of them has a gradient for each
        leaves = [t if samples.knows(t) else _unmapped_sample(samples, t) for t in leaves]
    return [t.view_as(t) if t.requires_grad else _detached(t)._requires() for t in leaves]


def _unmapped_sample(samples, t):
    """With the tangents that t has within the map."""
    sample = samples.sample(t, False)
    for level in _autograd.forward_ad._levels():
        if level.depth >= samples.depth and (tangent := level.tangents.get(t)) is not None:
            level.tangents[sample] = tangent
    return sample


def _brought(tree):
    """Its tensors as the innermost transform knows them: what is an argument may be written to."""
    leaves, rebuild = _flatten(tree)
    known = [_alias(t) if isinstance(t, _C.Tensor) else t for t in leaves]
    for t in known:
        if isinstance(t, _C.Tensor):
            _C._levels(t, _transforms.level(-1))
    return rebuild(known)


def _alias(t):
    return t.view_as(t) if t.requires_grad else _detached(t)


def _saveable(tensors):
    return [t.clone() if t.is_inference() else t for t in tensors]


def _detached(t):
    """It keeps its tangents, where dual tensors are about, and stays a sample of what it is one of."""
    if _C._has_duals():
        return _autograd.forward_ad._detached(t)
    return t.detach() if (same := alias(t)) is None else same


def _drawn(structure):
    """A tree of that structure, with a star for each leaf."""
    return str(tree_unflatten(["*"] * structure.num_leaves, structure)).replace("'", "")


def _settled(tensors, mine, recording):
    """Detached where they depend on no tensor that requires a gradient but `mine`."""
    own = {id(t) for t in mine}

    def depends(node):
        seen, waiting = set(), [node]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            leaf = getattr(node, "variable", None)
            if isinstance(leaf, _C.Tensor) and id(leaf) not in own and not hasattr(leaf, "_stands_in"):
                return True
            waiting.extend(next_node for next_node, _ in node.next_functions)
        return False

    def kept(t):
        return recording and (id(t) not in own if t.grad_fn is None else depends(t.grad_fn))

    def settled(t):
        if t.requires_grad:
            return t if kept(t) else _detached(t)
        known = in_map(t)  # of a map within the transform
        whole = known and settled(known.whole)
        return (
            t if known is None or whole is known.whole else known.samples.sample(whole, known.mapped, _C._levels(t, 0))
        )

    return list(map(settled, tensors))


def _gradients(outputs, inputs, starts):
    """Zeros where an output does not depend on an input."""
    wanted = [(o, s) for o, s in zip(outputs, starts) if o.requires_grad]
    if not wanted:
        return [_C.zeros_like(x) for x in inputs]
    results = _autograd.grad(
        [o for o, _ in wanted], inputs, [s for _, s in wanted], create_graph=True, allow_unused=True
    )
    return [_C.zeros_like(x) if g is None else g for g, x in zip(results, inputs)]


def _chosen(args, argnums, kwargs):
    """(The arguments to differentiate by, a function that gives all, with others in their places, in the innermost transform)."""
    several = isinstance(argnums, tuple)
    numbers = argnums if several else (argnums,)
    for n in numbers:
        if not isinstance(n, int):
            raise RuntimeError(
                f"{'argnum must be int' if several else 'argnums must be int or Tuple[int, ...]'}, got: {type(n)}"
            )
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    if not numbers:
        raise RuntimeError("argnums must be non-empty")
    numbers = [n % len(args) for n in numbers]
    if len(set(numbers)) != len(numbers):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")

    def replaced(values):
        given = dict(zip(numbers, values if several else (values,)))
        return [given[i] if i in given else _brought(a) for i, a in enumerate(args)], _brought(kwargs)

    return (tuple([args[n] for n in numbers]) if several else args[numbers[0]]), replaced


def _applied(func, given):
    args, kwargs = given
    return func(*args, **kwargs)


def _with_aux(result, has_aux, name):
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return result


@contextmanager
def _unpacked(forward, leaves):
    """Saved-tensor hooks are refused where a transform goes backward; one that goes forward saves nothing."""
    if not forward:
        with _autograd.graph.disable_saved_tensors_hooks(
            "torch.func.{grad, vjp, jacrev, hessian} don't yet support saved tensor hooks."
        ):
            yield
        return
    with _autograd.forward_ad._Hidden(not any(t.requires_grad for t in leaves)):
        yield


class _Call:
    """One call of func on tensors of our own in the place of those in `tree`; its outputs flat, and what they form."""

    def __init__(self, call, tree, has_aux, name, forward=False):
        leaves, self.rebuild = _flatten(tree)
        with inference_mode(False), enable_grad():
            self.mine = _mine(leaves)
        for t in self.mine:
            _C._levels(t, _transforms.level())
        with (
            _unpacked(forward, leaves),
            inference_mode(False),
            enable_grad(),
            _transforms.inside(forward=forward, derives=True),
        ):
            result, aux = _with_aux(call(self.rebuild(self.mine)), has_aux, name)
        if name.startswith("grad") and not isinstance(result, _C.Tensor):
            raise RuntimeError(f"{name}: Expected f(*args) to return a Tensor, got {type(result)}")
        self.outputs, self.output = _outputs(result, name)
        for out in self.outputs:
            if not (out.is_floating_point() or _transforms.forwards or forward or name.startswith("grad")):
                raise RuntimeError(
                    f"vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype {out.dtype}"
                )
        flat, build = _flatten(aux)
        self.aux = build(self.settled(_tensors(flat, _AUX))) if has_aux else None

    def settled(self, tensors):
        return _settled(tensors, self.mine, _C.is_grad_enabled())

    def value(self):
        return self.output(self.settled(self.outputs))

    def gradients(self, starts):
        recording = _C.is_grad_enabled()
        with inference_mode(False), enable_grad():
            return _settled(_gradients(self.outputs, self.mine, _saveable(starts)), self.mine, recording)


# ---- Functions applied in them --------------------------------------------------------------------------------------------


class _ByDuals(BaseException):
    """A `jacfwd` has met what backward does not pass as tangents do: `no_grad`, or a Function with a `jvp` of its own."""


_MORE = "For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"


class _Transforms(threading.local):
    """The transforms of torch.func that this thread is in: how many, and how many of them are vmap, or go forward; and at which
    depth is the innermost that is to hear of `_ByDuals`."""

    depth = vmaps = forwards = asks = 0
    maps = derives = 0  # Note [Levels] in op.c
    samples = None  # of the innermost vmap

    @contextmanager
    def inside(self, vmap=False, forward=False, samples=None, derives=False, asks=False):
        level = self.level()
        state = {
            "samples": samples or self.samples,
            "maps": self.maps | level * (samples is not None),
            "derives": self.derives | level * derives,
            "depth": self.depth + 1,
            "vmaps": self.vmaps + vmap,
            "forwards": self.forwards + forward,
            "asks": self.depth + 1 if asks else self.asks,
        }
        with self.being(state):
            yield

    @contextmanager
    def being(self, state):
        was = dict(vars(self))
        self.become(state)
        try:
            yield
        finally:
            self.become(was)

    def level(self, more=0):
        """The bit of the transform that begins, or of the innermost (-1)."""
        return 1 << self.depth + more & 63

    def become(self, state):
        vars(self).clear(), vars(self).update(state)
        self.tell()

    def tell(self):
        _C._in_transform(self.depth > 0)
        _C._dispatch_transforms(self.maps, self.derives | 64 * (self.asks > 0), self.asked)

    def below(self, kernel, *args, **kwargs):
        """Call what knows nothing of transforms."""
        leaves, rebuild = _flatten((args, kwargs))
        inner = _levels.innermost(_levels.tensors_of(leaves))
        if inner:
            return inner.each(lambda args, kwargs: self.below(kernel, *args, **kwargs), leaves, rebuild)
        with self.being({}):
            result = kernel(*args, **kwargs)
        levels = self.derives
        for t in _flatten(result)[0]:
            if isinstance(t, _C.Tensor):
                _C._levels(t, levels)
        return result

    def asked(self, what, levels, args=None, kwargs=None, records=False, own=False):
        """Of a number that is wanted of a sample, or of an op that may have no place here."""
        if what == "hook":  # of what jacfwd differentiates, where PyTorch records nothing
            return self.depth == self.asks + 1 and self.by_duals()
        if what == "as":  # `args` is known as `kwargs`
            return kwargs is not None and known_as(args, kwargs)
        if isinstance(what, str):
            return _levels.of_reading(self, what, args)
        if not records and any(t.requires_grad for t in _levels.tensors_of((*args, *kwargs.values()))):
            self.by_duals()
        return _levels.of_call(self, what, levels, args, kwargs, records, own)

    def forward(self, cls):
        """What to call for the class's `forward` there, and whether that is all there is to do."""
        if self.samples is None:
            return partial(self._underived, cls.forward), False
        return partial(self._underived, partial(self.samples.apply, cls)), self.depth == self.samples.depth

    def _underived(self, kernel, *args):
        """Call what is differentiated as a whole, and may do with its tensors what it likes."""
        with self.being({**vars(self), "derives": 0}):
            result = kernel(*args)
        for t in _levels.tensors_of(_flatten(result)[0]):
            _C._levels(t, self.derives)
        return result

    def by_duals(self):
        if self.asks and not _C.is_inference_mode_enabled():
            raise _ByDuals

    def check(self, cls, kwargs):
        """What a Function must have to be applied there."""
        if self.vmaps and _levels.tensors_of(_flatten(kwargs)[0]):
            raise NotImplementedError(
                "Run vmap on autograd.Function with kwarg-only Tensor args. Please do not pass kwarg-only Tensors to "
                f"autograd.Function. Got: {kwargs}"
            )
        if cls.setup_context is function.Function.setup_context:
            raise RuntimeError(
                "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, jacrev, ...), it must override "
                f"the setup_context staticmethod. {_MORE}"
            )
        if self.vmaps:
            self._check_vmap(cls)
        if not self.forwards:
            return
        if cls.jvp is function.Function.jvp:
            cls.jvp(None)
        self.by_duals()

    def _check_vmap(self, cls):
        has_rule = cls.vmap is not function.Function.vmap
        if cls.generate_vmap_rule and has_rule:
            raise RuntimeError(
                f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap "
                "staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid ambiguity. "
                f"{_MORE}"
            )
        if not cls.generate_vmap_rule and not has_rule:
            raise RuntimeError(
                f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please override and implement the "
                f"vmap staticmethod or set generate_vmap_rule=True. {_MORE}"
            )


_transforms = function._transforms = _Transforms()


# ---- Gradients --------------------------------------------------------------------------------------------------------


def grad_and_value(func, argnums=0, has_aux=False):
    """As `grad`; the function gives (gradient, value), and with `has_aux` (gradient, (value, aux)).

    >>> import hookgrad as torch
    >>> grad_and_value(lambda x: (x**2).sum())(torch.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.grad_and_value.html
    """

    @wraps(func)
    def wrapper(*args, **kwargs):
        tree, replaced = _chosen(args, argnums, kwargs)
        call = _Call(lambda values: _applied(func, replaced(values)), tree, has_aux, "grad_and_value(f)(*args)")
        value = call.value()
        if value.dim() != 0:
            raise RuntimeError(
                "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{value.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        gradients = call.rebuild(call.gradients([_C.ones_like(value)]))
        return gradients, ((value, call.aux) if has_aux else value)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that gives the gradient of func, which has one number as its result, with respect to an argument.

    `argnums` may be a tuple; arguments may be nested dicts, lists and tuples of tensors. With `has_aux` func returns
    (number, anything), and the new function (gradient, anything).

    >>> import hookgrad as torch
    >>> grad(grad(torch.sin))(torch.tensor(0.0))
    tensor(-0.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.grad.html
    """

    @wraps(func)
    def wrapper(*args, **kwargs):
        gradients, value = grad_and_value(func, argnums, has_aux)(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return wrapper


def vjp(func, *primals, has_aux=False):
    """(func(*primals), a function from a vector of its shape to vector times Jacobian); with `has_aux` the aux as a third.

    >>> import hookgrad as torch
    >>> value, product = vjp(torch.exp, torch.zeros(2))
    >>> product(torch.tensor([1.0, 3.0]))
    (tensor([1., 3.]),)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.vjp.html
    """
    call = _Call(lambda values: func(*values), primals, has_aux, "vjp(f, *primals)")

    def product(cotangents, retain_graph=True, create_graph=None):
        starts, given = tree_flatten(cotangents)
        expected = tree_flatten(call.output(call.outputs))[1]
        if given != expected:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. "
                f"cotangents: {_drawn(given)}, primal output: {_drawn(expected)}"
            )
        for start in starts:
            if not isinstance(start, _C.Tensor):
                raise TypeError(f"gradients can be either Tensors or None, but got {type(start).__name__}")
        return call.rebuild(call.gradients(starts))

    return (call.value(), product, call.aux) if has_aux else (call.value(), product)


def _floating(leaves):
    for leaf in leaves:
        if isinstance(leaf, _C.Tensor) and not leaf.is_floating_point():
            raise ValueError(f"Expected primal to be floating point or complex, but got: {leaf.dtype}")


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(func(*primals), its Jacobian times the tangents), by differentiating a vector-Jacobian product; where func applies a
    Function with a `jvp` of its own, by that.

    >>> import hookgrad as torch
    >>> jvp(torch.square, (torch.tensor([1.0, 2.0]),), (torch.ones(2),))
    (tensor([1., 4.]), tensor([2., 4.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.jvp.html
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    name = "jvp(f, primals, tangents)"
    (values, structure), (flat, given) = tree_flatten(primals), tree_flatten(tangents)
    if given != structure:
        raise RuntimeError(
            f"{name}: Expected primals and tangents to have the same python structure. For example, if primals is a tuple of 3 "
            f"tensors, tangents also must be. Got primals with structure {structure} and tangents with structure {given}"
        )
    if not flat:
        raise RuntimeError(f"{name}: Expected primals to contain at least one Tensor.")
    _tensors(values, f"{name}: Expected primals to only contain Tensors, got")
    _tensors(flat, f"{name}: Expected tangents to only contain Tensors, got")
    forward_ad, level = _autograd.forward_ad, _transforms.level()
    with (
        forward_ad._set_fwd_grad_enabled(True),
        forward_ad._jvp_level(),
        _transforms.inside(forward=True, derives=True),
    ):
        duals = [forward_ad.make_dual(x, t) for x, t in zip(values, flat)]
        for dual in duals:
            _C._levels(dual, level)
        result, aux = _with_aux(func(*tree_unflatten(duals, structure)), has_aux, name)
        outputs, build = _outputs(result, name)
        pairs = [forward_ad.unpack_dual(out) for out in outputs]
        if has_aux:
            flat, rebuild = _flatten(aux)
            aux = rebuild([forward_ad.unpack_dual(t).primal for t in _tensors(flat, _AUX)])
    if strict and any(p.tangent is None for p in pairs):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed with "
            "strict=True."
        )
    value = build([p.primal for p in pairs])
    out = build([_C.zeros_like(p.primal) if p.tangent is None else p.tangent for p in pairs])
    return (value, out, aux) if has_aux else (value, out)


def linearize(func, *primals):
    """(func(*primals), the function of tangents that gives the Jacobian times them).

    >>> import hookgrad as torch
    >>> value, times = linearize(torch.square, torch.tensor(3.0))
    >>> value, times(torch.tensor(1.0))
    (tensor(9.), tensor(6.))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.linearize.html
    """
    leaves, structure = tree_flatten(primals)

    def jvp_fn(*tangents):
        flat, given = tree_flatten(tangents)
        if given != structure:
            raise RuntimeError(f"Expected the tangents {given} to have the same argspec as the primals {structure}")
        for i, (t, leaf) in enumerate(zip(flat, leaves)):
            for what in ("shape", "dtype"):
                if getattr(t, what) != getattr(leaf, what):
                    raise RuntimeError(
                        f"tangent:{i} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(leaf, what)} of the corresponding primal."
                    )
        return jvp(func, primals, tangents)[1]

    return func(*primals), jvp_fn


def functionalize(func, *, remove="mutations"):
    """The function itself, under PyTorch's name for one whose in-place operations a tracer is not to see: there is none here.

    >>> import hookgrad as torch
    >>> functionalize(lambda x: x.clone().add_(1))(torch.zeros(2))
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functionalize.html
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            f"functionalize(f, remove='mutations'): received invalid argument for remove={remove}. Valid options are: "
            "remove='mutations' and remove='mutations_and_views'"
        )

    @wraps(func)
    def wrapped(*args, **kwargs):
        return func(*args, **kwargs)

    return wrapped


# ---- Jacobians --------------------------------------------------------------------------------------------------------


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that gives the Jacobian of func with respect to an argument: of shape output.shape + argument.shape.

    >>> import hookgrad as torch
    >>> jacrev(torch.square)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.jacrev.html
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")
    return _by_rows(func, argnums, has_aux, "vjp(f, *primals)", chunk_size=chunk_size)


def _by_rows(func, argnums, has_aux, name, forward=False, chunk_size=None):
    @wraps(func)
    def wrapper(*args, **kwargs):
        tree, replaced = _chosen(args, argnums, kwargs)
        call = _Call(lambda values: _applied(func, replaced(values)), tree, has_aux, name, forward)
        sizes = [o.numel() for o in call.outputs]
        with inference_mode(False):  # derivatives save them
            rows = _C.eye(sum(sizes)).split(sizes, 1)
            starts = [part.to(o.dtype).view(-1, *o.shape) for part, o in zip(rows, call.outputs)]
        columns = vmap(lambda *starts: call.gradients(starts), chunk_size=chunk_size)(*starts)
        columns = [column.split(sizes) for column in columns]
        blocks = [
            call.rebuild(
                [
                    column[k].view(o.shape + x.shape).to((o if forward else x).dtype)
                    for column, x in zip(columns, call.mine)
                ]
            )
            for k, o in enumerate(call.outputs)
        ]
        result = call.output(blocks)
        return (result, call.aux) if has_aux else result

    return wrapper


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """As `jacrev`, with the same numbers, where the function does not tell forward mode from backward.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.jacfwd.html
    """
    rows = _by_rows(func, argnums, has_aux, "jvp(f, primals, tangents)", forward=True)

    @wraps(func)
    def wrapper(*args, **kwargs):
        tree, replaced = _chosen(args, argnums, kwargs)
        leaves, rebuild = _flatten(tree)
        _floating(leaves)
        try:
            with _transforms.inside(vmap=True, forward=True, asks=True), _drawing(randomness):
                return rows(*args, **kwargs)
        except (_ByDuals, RuntimeError) as error:
            if not (isinstance(error, _ByDuals) or str(error).startswith("a leaf Variable that requires grad")):
                raise
        saved, first = [x.clone() for x in leaves], [leaves]

        def column(*tangents):
            xs = first.pop() if first else [x.clone() for x in saved]  # func may write to them, once
            return jvp(lambda *xs: _applied(func, replaced(rebuild(xs))), tuple(xs), tangents, has_aux=has_aux)[1:]

        sizes = [x.numel() for x in leaves]
        parts = _C.eye(sum(sizes)).split(sizes, 1)
        basis = [part.to(x.dtype).view(-1, *x.shape) for part, x in zip(parts, leaves)]
        columns, *aux = vmap(column, randomness=randomness)(*basis)
        outs, build = _flatten(columns)
        blocks = [zip(out.movedim(0, -1).split(sizes, -1), leaves) for out in outs]
        result = build(
            [rebuild([part.reshape(out.shape[1:] + x.shape) for part, x in block]) for out, block in zip(outs, blocks)]
        )
        if not has_aux:
            return result
        flat, build = _flatten(aux[0])
        return result, build([t[0] for t in flat])

    return wrapper


def hessian(func, argnums=0):
    """A function that gives the Hessian of func with respect to an argument: the Jacobian of the Jacobian.

    >>> import hookgrad as torch
    >>> hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.hessian.html
    """
    return jacfwd(jacrev(func, argnums), argnums)


# ---- Maps over a batch ------------------------------------------------------------------------------------------------


@contextmanager
def _drawing(randomness):
    """One of vmap's rules for random numbers; what it gives is to be called before each chunk."""
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    was = get_rng_state()
    yield (lambda: set_rng_state(was)) if randomness == "same" else lambda: None
    if randomness == "error" and not _C.equal(was, get_rng_state()):
        set_rng_state(was)
        _levels.refuse_random()


def _mapped(name, in_dims, out_dims, args):
    """(the tensors and whatever else there is in args, the dimension each is mapped along, what they form, how many entries)."""
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{where}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to "
            "vmap over a function with no inputs. The latter is unsupported."
        )
    dims = _spread(in_dims, args)
    if dims is None:
        raise ValueError(
            f"{where}in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{tree_flatten(in_dims)[1]} but inputs has structure {tree_flatten(args)[1]}."
        )
    if not all(d is None or isinstance(d, int) for d in _flatten(out_dims)[0]):
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python collection of ints "
            "representing where in the outputs the vmapped dimension should appear."
        )
    leaves, rebuild = _flatten(args)
    for t, d in zip(leaves, dims):
        if d is None:
            continue
        if not isinstance(d, int):
            raise ValueError(
                f"{where}Got in_dim={d} for an input but in_dim must be either an integer dimension or None."
            )
        if not isinstance(t, _C.Tensor):
            raise ValueError(
                f"{where}Got in_dim={d} for an input but the input is of type {type(t)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -t.dim() <= d < t.dim():
            raise ValueError(
                f"{where}Got in_dim={d} for some input, but that input is a Tensor of dimensionality {t.dim()} so "
                f"expected in_dim to satisfy -{t.dim()} <= in_dim < {t.dim()}."
            )
    sizes = [t.size(d) for t, d in zip(leaves, dims) if d is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if len(set(sizes)) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    return leaves, dims, rebuild, sizes[0]


def _vmap(func, in_dims=0, out_dims=0, allow_none_pass_through=False):
    """As `vmap`, of a function that may give None."""
    return vmap(func, in_dims, out_dims, _passes_none=allow_none_pass_through)


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None, _passes_none=False):
    """A function that calls func for each entry of a batch and stacks the results: arguments have a dimension more.

    `in_dims` says which one, for all or for each argument, None for an argument that is the same in every call. What draws
    random numbers is an error, unless `randomness` says whether the calls get the "same" ones or "different" ones.

    >>> import hookgrad as torch
    >>> vmap(torch.dot, in_dims=(0, None))(torch.eye(2), torch.tensor([3.0, 4.0]))
    tensor([3., 4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.vmap.html
    """
    name = getattr(func, "__name__", repr(func))
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @wraps(func)
    def wrapper(*args, **kwargs):
        leaves, dims, rebuild, n = _mapped(name, in_dims, out_dims, args)
        results, step = [], chunk_size or max(n, 1)
        with _drawing(randomness) as begin:
            for start in range(0, max(n, 1), step):
                size = min(step, n - start)
                part = [t if d is None or step >= n else t.narrow(d, start, size) for t, d in zip(leaves, dims)]
                begin()
                samples = Samples(_transforms, size, randomness)
                try:
                    with _transforms.inside(vmap=True, samples=samples):
                        result = func(*rebuild(list(map(samples.given, part, dims))), **kwargs)
                    samples.live = False
                    results.append(_unmapped(samples, result, out_dims, name, _passes_none))
                finally:
                    samples.end()
        if len(results) == 1:
            return _flatten(result)[1]([t for t, _ in results[0]])
        return _flatten(result)[1]([_joined(column) for column in zip(*results)])

    return wrapper


def _joined(column):
    parts, dims = zip(*column)
    return parts[0] if dims[0] is None else _C.cat(parts, dims[0])


def _unmapped(samples, result, out_dims, name, passes_none):
    """[(what each tensor of the result is outside of the map, the dimension of its samples)]"""
    if isinstance(result, _C.Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        (out_dims,) = out_dims
    dims = _spread(out_dims, result)
    if dims is None:
        raise ValueError(
            f"vmap({name}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure of `outputs`. "
            f"out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {tree_flatten(result)[1]}."
        )
    outs = []
    for t, d in zip(_flatten(result)[0], dims):
        if not isinstance(t, _C.Tensor):
            if d is not None and not (t is None and passes_none):
                raise ValueError(
                    f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(t)}. Did you mean to set "
                    "out_dims= to None for output?"
                )
            outs.append((t, None))
            continue
        whole, mapped = samples.outside_of(t)
        if mapped and d is None:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        if d is None:
            outs.append((whole, None))
            continue
        whole = whole if mapped else whole.expand(samples.n, *whole.shape)
        given, at = samples.argument(whole)
        outs.append((given if d in (at, at - given.dim()) else whole.movedim(0, d), d))
    return outs


# ---- Modules ----------------------------------------------------------------------------------------------------------


def stack_module_state(models):
    """(parameters, buffers) of several models of one class, by name, each stacked along a new first dimension.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.stack_module_state.html
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(name, tensors, differentiable):
        if len({t.requires_grad for t in tensors}) > 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        stack = _C.stack([t.detach() for t in tensors])
        return stack._requires(tensors[0].requires_grad) if differentiable else stack

    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {name: stacked(name, [p[name] for p in parameters], True) for name in parameters[0]},
        {name: stacked(name, [b[name] for b in buffers], False) for name in buffers[0]},
    )


def replace_all_batch_norm_modules_(root):
    """Make every batch norm in `root`, which may be one, track no statistics; returns it.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.replace_all_batch_norm_modules_.html
    """
    from .nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """Call a module with the tensors of one dict, or several, in the place of its parameters and buffers.

    Tensors it does not name stay the module's own; parameters that are the same tensor are replaced together, unless
    `tie_weights` is False. With `strict` the names must be exactly the module's.

    >>> import hookgrad as torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> functional_call(layer, {"weight": torch.ones(1, 1), "bias": torch.zeros(1)}, torch.tensor([3.0]))
    tensor([3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.func.functional_call.html
    """
    if isinstance(parameter_and_buffer_dicts, dict):
        tensors = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, (list, tuple)):
        if not all(isinstance(d, dict) for d in parameter_and_buffer_dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [name for d in parameter_and_buffer_dicts for name in d]
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        tensors = {name: tensor for d in parameter_and_buffer_dicts for name, tensor in d.items()}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(parameter_and_buffer_dicts)}"
        )
    return stateless._functional_call(module, tensors, args, kwargs, tie_weights=tie_weights, strict=strict)
