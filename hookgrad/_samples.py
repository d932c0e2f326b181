"""The samples of a `vmap`: Note [Samples] in _batched.py."""

from typing import NamedTuple
from weakref import WeakSet

from . import _C
from ._batched import Call, Value
from ._levels import refuse_random, refuse_same, tensors_of
from ._ops import MOVES, row_of
from .autograd.function import Function
from .utils._pytree import tree_flatten, tree_unflatten


def flatten(tree):
    """(the leaves of nested dicts, lists and tuples, a function that puts others in their places)."""
    leaves, spec = tree_flatten(tree)
    return leaves, lambda values: tree_unflatten(values, spec)


def dims_of(dims, tree):
    """A dimension for each leaf of the tree: `dims` is one for all, or has the tree's upper structure; None: no match."""
    if not isinstance(dims, (dict, list, tuple)):
        return [dims] * len(flatten(tree)[0])
    if isinstance(tree, dict) and isinstance(dims, dict) and tree.keys() == dims.keys():
        pairs = [(dims[k], tree[k]) for k in tree]
    elif isinstance(tree, (list, tuple)) and type(tree) is type(dims) and len(tree) == len(dims):
        pairs = list(zip(dims, tree))
    else:
        return None
    spread = [dims_of(d, t) for d, t in pairs]
    return None if any(part is None for part in spread) else [d for part in spread for d in part]


class VmapInfo(NamedTuple):
    """What a Function's `vmap` is told of the map that it is called under."""

    batch_size: int
    randomness: str


class InMap(NamedTuple):
    """What a tensor stands for outside of the map whose sample it is."""

    whole: _C.Tensor
    mapped: bool
    samples: "Samples"
    argument: _C.Tensor | None = None  # that this is the sample of, itself


class _Escaped(_C.Tensor):
    """What is left of a sample once its map has ended: sizes, and no numbers."""

    __slots__ = ()

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in _KNOWN or getattr(function, "__name__", None) == "__get__":
            return super().__torch_function__(function, types, args, kwargs)
        raise RuntimeError(
            "Either your tensor may have escaped from inside a function being vmapped and this is a user error (see "
            "https://pytorch.org/functorch/stable/ux_limitations.html), or there is an internal functorch error in "
            f"`{getattr(function, '__name__', function)}`"
        )


_Escaped.__name__ = _Escaped.__qualname__ = "Tensor"
_KNOWN = [getattr(_C.Tensor, name) for name in "__repr__ __str__ __format__ __hash__ dim size stride numel".split()]


class Samples:
    """The samples of one `vmap`, that begins: n of them."""

    live = True

    def __init__(self, transforms, n, randomness):
        self.transforms, self.outside, self.depth = transforms, dict(vars(transforms)), transforms.depth + 1
        self.n, self.randomness, self.level, self.arguments, self.moved = n, randomness, transforms.level(), [], {}
        self.hollow = WeakSet()

    def sample(self, whole, mapped=True, levels=0):
        """What stands for that batch, or for what is the same for all."""
        if mapped:
            size, strides, offset = whole.shape[1:], whole.stride()[1:], whole.storage_offset()
            last = offset + sum([(n - 1) * step for n, step in zip(size, strides) if n])
            t = _C._hollow(_C.Tensor, whole.dtype, size, strides, offset, (last + 1) * whole.dtype.itemsize)
            self.hollow.add(t)
        else:
            with self.transforms.being({}):
                was = _C._grad_mode(False)
                t = whole.detach()
                _C._grad_mode(was)
        _C._levels(t, levels | _C._levels(whole, 0) | self.level | 64)
        t._in_map = InMap(whole, mapped, self)
        return t

    def end(self):
        """Whoever still has one of them has kept what stands for nothing now. Arguments are as the samples of them were moved."""
        self.live = False
        for t, whole in self.moved.values():
            t.as_strided_(whole.shape, whole.stride(), whole.storage_offset())
        self.moved.clear()
        for t in list(self.hollow):
            t.__class__ = _Escaped

    def knows(self, t):
        known = getattr(t, "_in_map", None)
        return known is not None and known.samples is self

    def outside_of(self, t):
        """(what it is outside, whether that is a batch)."""
        return t._in_map[:2] if self.knows(t) else (t, False)

    def given(self, t, dim):
        """The sample of a batch along that dimension; None: of what is the same for all."""
        if dim is None:
            return t
        batch = t if dim % t.dim() == 0 else t.movedim(dim, 0)
        self.arguments.append((batch, t, dim % t.dim()))
        sample = self.sample(batch)
        if batch is t:
            sample._in_map = InMap(batch, True, self, t)
        return sample

    def argument(self, batch):
        """(the argument that this is the batch of, or the batch itself, along which dimension)"""
        return next(((t, dim) for known, t, dim in self.arguments if known is batch), (batch, 0))

    def call(self, number, inplace, args, kwargs, records):
        """The result of an op called on samples."""
        moves = inplace and row_of(number)["flags"] & MOVES
        call = self._called(_out_of_place(number) if moves else number, inplace and not moves, args, kwargs)
        mapped, levels = any(v.mapped for v in call.values.values()), 0
        for t in tensors_of((*args, *kwargs.values())):
            levels |= _C._levels(t, 0)
        with self.transforms.being(self.outside):
            was = _C._grad_mode(records)
            try:
                made = call.made()
            finally:
                _C._grad_mode(was)
        if moves:  # the sample itself, too
            argument = args[0]._in_map.argument
            args[0]._in_map = InMap(made, mapped, self, argument)
            if argument is not None:  # once the map ends: until then others may stand for it as it is
                self.moved[id(argument)] = argument, made
            return None
        if inplace:
            return args[0]
        if isinstance(made, (tuple, list)):
            return [self.sample(t, mapped, levels) for t in made]
        return self.sample(made, mapped, levels)

    def draw(self, number, inplace, args, kwargs):
        """What a random op gives the samples."""
        call = self._called(number, inplace, args, kwargs)
        name, several, own = call.row["name"], self.randomness == "different", tensors_of(args[:1])
        like = inplace or name.endswith("_like") or name == "_dropout_mask" and len(args) == 2
        if self.randomness == "error":
            refuse_random()
        if not several and any(call[t].mapped for t in tensors_of(args)[like:]):
            refuse_same()
        if several and inplace and not call[own[0]].mapped:
            raise RuntimeError(
                "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will appear like same randomness. If "
                "this is necessary for your usage, please file an issue with functorch."
            )

        def batch(v):
            return call.aligned(Value(call.batch(v), True, v.rank))

        levels = self.transforms.derives
        with self.transforms.being(self.outside):
            if several and name == "randperm":
                made = call.each()
            elif several and name == "multinomial" and call.rank == 2:
                made = call.on(lambda v: batch(v).flatten(0, 1)).unflatten(0, (self.n, -1))
            elif several:
                made = call.on(batch, [[self.n, *a] if isinstance(a, list) else a for a in args])
            elif inplace and call[own[0]].mapped:
                whole = call[own[0]].whole
                made = whole.copy_(call.op(whole[0].clone(), *args[1:], **kwargs))
            else:
                made = call.on(lambda v: v.whole[0] if v.mapped else v.whole)
                _C._levels(made, levels)
        return args[0] if inplace else self.sample(made, True, levels) if several else made

    def _called(self, number, inplace, args, kwargs):
        tensors = tensors_of((*args, *kwargs.values()))
        values = {id(t): Value(*self.outside_of(t), t.dim()) for t in tensors}
        return Call(self.n, number, inplace, args, kwargs, values)

    def each(self, call, leaves, rebuild):
        """The results of what knows no batches, called for one entry after another."""
        pairs = [self.outside_of(t) if isinstance(t, _C.Tensor) else (t, False) for t in leaves]
        with self.transforms.being(self.outside):
            every = [
                flatten(call(*rebuild([t.select(0, i) if mapped else t for t, mapped in pairs]))) for i in range(self.n)
            ]
            outs = [_C.stack(column) for column in zip(*[leaves for leaves, _ in every])]
        return every[0][1]([self.sample(t, True, self.transforms.derives) for t in outs])

    def apply(self, cls, *args):
        """The result of a Function called on samples."""
        leaves, rebuild = flatten(args)
        pairs = [self.outside_of(t) if isinstance(t, _C.Tensor) else (t, False) for t in leaves]
        has_own = cls.vmap is not Function.vmap
        given = [(t, None) if not mapped else self.argument(t) if has_own else (t, 0) for t, mapped in pairs]
        outside, in_dims = rebuild([t for t, _ in given]), rebuild([d for _, d in given])
        with self.transforms.being(self.outside):
            if not any(mapped for _, mapped in pairs):
                return cls.apply(*outside)
            if has_own:
                outs, dims, rebuild = _answer(cls, VmapInfo(self.n, self.randomness), in_dims, outside)
                same = {id(t): d for t, d in given if d is not None}  # what came as an argument keeps its dimension
                dims = [same.get(id(t), d) for t, d in zip(outs, dims)]
                outs = [t.movedim(d, 0) if d else t for t, d in zip(outs, dims)]
            else:
                outs, dims, rebuild = mapped_function(self, cls, in_dims).results(outside)
        levels = self.transforms.derives
        return rebuild([t if d is None else self.sample(t, True, levels) for t, d in zip(outs, dims)])


def _answer(cls, info, in_dims, args):
    """(what the Function's own `vmap` gives, the dimensions of the batches, how to put others in their places)"""
    result = cls.vmap(info, in_dims, *args)
    if not (isinstance(result, tuple) and len(result) == 2):
        got = f"{len(result)} returns" if isinstance(result, tuple) else f"a {type(result)}"
        raise RuntimeError(
            "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible "
            f"with the output. Got {got} instead"
        )
    output, out_dims = result
    outs, rebuild = flatten(output)
    dims = dims_of(out_dims, output)
    if dims is None:
        raise RuntimeError(
            f"The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected {out_dims=} to "
            f"be compatible with the structure of `output`. out_dims has structure {tree_flatten(out_dims)[1]} but output has "
            f"structure {tree_flatten(output)[1]}. For more details, please see "
            "https://pytorch.org/docs/main/notes/extending.func.html"
        )
    return outs, dims, rebuild


# ---- Functions without a vmap of their own ---------------------------------------------------------------------------------


class _Context:
    """What a Function finds as its context within a map: what it saves is saved for it outside."""

    to_save = dirty = constant = ()
    materializes = True

    def save_for_backward(self, *tensors):
        self.to_save = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors):
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors):
        self.constant = tensors

    def set_materialize_grads(self, value):
        self.materializes = value


def mapped_function(samples, cls, in_dims):
    """A Function of batches that does for all samples what `cls` does for one."""
    transforms, found = samples.transforms, []  # by forward: its context, which of the outputs are batches

    def within(call, values, mapped):
        """(the results of `call` outside of the map, which of them are batches, what they form)"""
        inner = Samples(transforms, samples.n, samples.randomness)
        with transforms.inside(vmap=True, samples=inner):
            out = call([inner.sample(t) if m and t is not None else t for t, m in zip(values, mapped)])
            leaves, rebuild = flatten(out)
            pairs = [inner.outside_of(t) if isinstance(t, _C.Tensor) else (t, False) for t in leaves]
        inner.end()
        return [t for t, _ in pairs], [m for _, m in pairs], rebuild

    class Mapped(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args):
            inner, (leaves, rebuild) = _Context(), flatten(args)

            def call(values):
                given = rebuild(values)
                output = cls.forward(*given)
                cls.setup_context(inner, given, output)
                return output, inner.to_save, inner.dirty, inner.constant

            outs, mapped, build = within(call, leaves, [d is not None for d in flatten(in_dims)[0]])
            output, inner.saved, inner.dirty, inner.constant = build(outs)
            whole_mapped, inner.mapped, _, _ = build(mapped)
            found[:] = inner, flatten(whole_mapped)[0]
            return output

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.inner, ctx.out_mapped = found
            ctx.save_for_backward(*ctx.inner.saved)
            ctx.save_for_forward(*ctx.inner.saved)
            ctx.mark_dirty(*ctx.inner.dirty)
            ctx.mark_non_differentiable(*ctx.inner.constant)
            ctx.set_materialize_grads(ctx.inner.materializes)

        @classmethod
        def results(mapped_class, args):
            leaves, rebuild = flatten(mapped_class.apply(*args))
            return leaves, [0 if m else None for m in found[1]], rebuild

        @staticmethod
        def differentiated(ctx, rule, given, mapped):
            inner, n = ctx.inner, len(ctx.saved_tensors)
            inner.needs_input_grad = ctx.needs_input_grad

            def call(values):
                inner.saved_tensors = tuple(values[:n])
                out = rule(inner, *values[n:])
                return out if isinstance(out, tuple) else (out,)

            outs, are_mapped, _ = within(call, [*ctx.saved_tensors, *given], [*inner.mapped, *mapped])
            return outs, are_mapped

        @staticmethod
        def backward(ctx, *grads):
            outs, mapped = Mapped.differentiated(ctx, cls.backward, grads, ctx.out_mapped)
            return tuple([t.sum(0) if m and d is None else _spread(t, m, d) for t, m, d in zip(outs, mapped, in_dims)])

    def _spread(t, mapped, dim):
        return t if t is None or mapped or dim is None else t.expand(samples.n, *t.shape)

    def jvp(ctx, *tangents):
        outs, mapped = Mapped.differentiated(ctx, cls.jvp, tangents, [d == 0 for d in in_dims])
        outs = [_spread(t, m, 0 if o else None) for t, m, o in zip(outs, mapped, ctx.out_mapped)]
        return tuple(outs) if len(outs) > 1 else outs[0]

    if cls.jvp is not Function.jvp:
        Mapped.jvp = staticmethod(jvp)
    Mapped.__name__ = Mapped.__qualname__ = f"Vmapped{cls.__name__}"
    return Mapped


def _out_of_place(number):
    row = row_of(number)
    return next(r["id"] for r in _C.op_table() if r["name"] == row["name"][:-1] and r["overload"] == row["overload"])
