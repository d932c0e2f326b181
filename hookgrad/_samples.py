"""The samples of a `vmap`, side by side once one of them applies a Function whose `vmap` is its own.

Note [Samples side by side]
`vmap` calls its function once for each sample, one after another. A Function's own `vmap` wants all of them at once. So where the
first sample comes to such a Function, each of the others is begun in a thread of its own, and goes as far as to the same call;
the Function's `vmap` is called once, and each sample goes on with its part of what that returned. Only one of these threads runs
at a time, so a program sees them in order.
"""

import threading
from typing import NamedTuple

from . import _C
from .autograd.forward_ad import _here
from .autograd.grad_mode import set_grad_enabled
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


class _Abandoned(BaseException):
    """Another sample has failed: ends this one."""


class _Sample(threading.Thread):
    """One of the samples after the first."""

    def __init__(self, samples, i):
        super().__init__(daemon=True)
        self.samples, self.i = samples, i
        self.may_go, self.has_stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.wanted = self.answer = self.result = self.error = None

    def run(self):
        vars(_here).update(self.samples.duals)
        self.samples.transforms.become(self.samples.state)
        try:
            with set_grad_enabled(self.samples.mode):
                self.result = self.samples.call(self.i)
        except BaseException as error:
            self.error = error
        self.wanted = None
        self.has_stopped.release()

    def ask(self, *wanted):
        """In this thread: what the Function's `vmap` has for this sample, once the others are there too."""
        self.wanted = wanted
        self.has_stopped.release()
        self.may_go.acquire()
        if self.answer is _Abandoned:
            raise _Abandoned
        return self.answer

    def go_on(self):
        """In the first sample's thread: let this one run to the next such Function, or to its end."""
        self.may_go.release() if self.ident else self.start()
        self.has_stopped.acquire()
        if self.error is not None:
            raise self.error


class Samples:
    """The samples of one `vmap`, of arguments with these leaves, mapped over these dimensions."""

    def __init__(self, transforms, n, leaves, dims, randomness):
        self.transforms, self.outside, self.depth = transforms, dict(vars(transforms)), transforms.depth + 1
        self.n, self.leaves, self.dims, self.randomness = n, leaves, dims, randomness
        self.others = None
        self.parts = []  # of each sample that has begun, the leaves
        self.level, self.drawn, self.turns = transforms.level(), {}, {}

    def begin(self, i):
        """The leaves of sample i."""
        self.parts.append([t if d is None else self._mark(t.select(d, i)) for t, d in zip(self.leaves, self.dims)])
        return self.parts[-1]

    def _mark(self, tensor):
        _C._levels(tensor, self.level)
        return tensor

    def results(self, call):
        """What `call(i)` gives for every sample i."""
        self.call, self.state, self.mode = call, dict(vars(self.transforms)), _C.is_grad_enabled()
        self.duals, results = dict(vars(_here)), []
        try:
            for i in range(self.n):
                results.append(call(i))
                if self.others is not None:
                    for other in self.others:
                        other.go_on()
                        self._same(other.wanted is None)
                        results.append(other.result)
                    break
        finally:
            for other in self.others or ():
                if other.wanted is not None:
                    other.answer = _Abandoned
                    other.may_go.release()
                    other.has_stopped.acquire()
        return results

    def turn(self):
        """(The number of the sample that runs, how many random draws it has made): it makes one more."""
        here = threading.current_thread()
        i = here.i if here in (self.others or ()) else self.first if self.others else len(self.parts) - 1
        self.turns[i] = turn = self.turns.get(i, -1) + 1
        return i, turn

    @staticmethod
    def _same(so):
        if not so:
            raise RuntimeError("vmap: the samples do not apply the same Functions with a vmap staticmethod")

    def apply(self, cls, *args):
        """Of a sample's call of a Function, the result by that Function's `vmap`."""
        if not any(map(self._knows, flatten(args)[0])):
            with self.transforms.being(self.outside):
                return cls.apply(*args)
        here = threading.current_thread()
        if any(here is other for other in self.others or ()):
            return here.ask(cls, args)
        if self.others is None:
            self.first = len(self.parts) - 1
            self.others = [_Sample(self, i) for i in range(self.first + 1, self.n)]
        every = [args]
        for other in self.others:
            other.go_on()
            self._same(other.wanted is not None and other.wanted[0] is cls and len(other.wanted[1]) == len(args))
            every.append(other.wanted[1])
        answers = self._answers(cls, every)
        for other, answer in zip(self.others, answers[1:]):
            other.answer = answer
        return answers[0]

    def _answers(self, cls, every):
        leaves, rebuild = flatten(every[0])
        columns = zip(*[flatten(args)[0] for args in every])
        dims, leaves = zip(*map(self._batched, columns)) if leaves else ((), ())
        with self.transforms.being(self.outside):
            result = cls.vmap(VmapInfo(len(every), self.randomness), rebuild(dims), *rebuild(leaves))
        if not (isinstance(result, tuple) and len(result) == 2):
            got = f"{len(result)} returns" if isinstance(result, tuple) else f"a {type(result)}"
            raise RuntimeError(
                "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible "
                f"with the output. Got {got} instead"
            )
        output, out_dims = result
        outs, rebuild = flatten(output)
        given = {id(t): d for d, t in zip(dims, leaves) if isinstance(t, _C.Tensor)}
        dims = dims_of(out_dims, output)
        if dims is None:
            raise RuntimeError(
                f"The autograd.Function's vmap staticmethod returned an incompatible (output, out_dims) tuple. Expected {out_dims=} to "
                f"be compatible with the structure of `output`. out_dims has structure {tree_flatten(out_dims)[1]} but output has "
                f"structure {tree_flatten(output)[1]}. For more details, please see "
                "https://pytorch.org/docs/main/notes/extending.func.html"
            )
        dims = [given.get(id(t), d) for t, d in zip(outs, dims)]  # what came as an argument keeps its dimension
        return [
            rebuild([t if d is None else self._mark(t.select(d, i)) for t, d in zip(outs, dims)])
            for i in range(len(every))
        ]

    def _knows(self, value):
        return isinstance(value, _C.Tensor) and _C._levels(value, 0) & self.level

    def whole(self, column):
        """(its dimension, the batch) where these are an argument of all samples; else None."""
        for k, (leaf, dim) in enumerate(zip(self.leaves, self.dims)):
            if dim is not None and len(column) == self.n and all(t is self.parts[i][k] for i, t in enumerate(column)):
                return dim % leaf.dim(), leaf
        return None

    def _batched(self, column):
        """An argument of all samples: (its dimension, the batch), or (None, what it is for all)."""
        if not self._knows(column[0]):
            return None, column[0]
        return self.whole(column) or (0, _C.stack(list(column)))
