"""Arguments described once and built twice: for PyTorch and for hookgrad, from the same numbers."""

import random
from dataclasses import dataclass

import numpy as np

FLOATS = ["float32", "float64", "float16", "bfloat16"]
INTS = ["int64", "int32", "int16", "int8", "uint8"]
DTYPES = [*FLOATS, *INTS, "bool"]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1e-30, 1e30, 88.0, -88.0, 2.0, 100.0, -100.0]
SPECIAL_SHORT = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0]  # float16 and bfloat16


@dataclass
class T:
    """A tensor to be: its numbers, its dtype, and how it lies in memory."""

    data: np.ndarray
    dtype: str
    layout: str = "plain"
    grad: bool = False

    def build(self, lib, leaves):
        data, undo = self.data, lambda t: t
        if self.layout == "permuted":
            order = list(range(data.ndim))[::-1]
            data, undo = np.ascontiguousarray(data.transpose(order)), lambda t: t.permute(*order)
        elif self.layout == "strided":
            data = np.repeat(data, 2, axis=-1)
            undo = lambda t: t[..., ::2]
        elif self.layout == "offset":
            data = np.concatenate([np.ones(3, data.dtype), data.ravel()])
            undo = lambda t: t[3:].view(self.data.shape)
        elif self.layout == "expanded":
            data, undo = data[:1], lambda t: t.expand(self.data.shape)
        # numpy has no bfloat16, and both libraries cast the same way: that is compared elsewhere.
        leaf = lib.from_numpy(data.copy()).to(getattr(lib, self.dtype))
        if self.grad:
            leaf.requires_grad_()
            leaves.append(leaf)
        return undo(leaf)

    def __repr__(self):
        return f"T({self.data.tolist()}, {self.dtype}, {self.layout})"


@dataclass
class Named:
    """What a library has under a name: a dtype, a memory format."""

    name: str

    def build(self, lib, leaves):
        return getattr(lib, self.name)


class Dtype(Named):
    pass


@dataclass
class Call:
    args: list
    kwargs: dict

    def build(self, lib, leaves):
        return build(self.args, lib, leaves), {k: build(v, lib, leaves) for k, v in self.kwargs.items()}

    def __repr__(self):
        return ", ".join([repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()])


def call(*args, **kwargs):
    return Call(list(args), kwargs)


def build(value, lib, leaves):
    if hasattr(value, "build"):
        return value.build(lib, leaves)
    if isinstance(value, (list, tuple)):
        return type(value)(build(v, lib, leaves) for v in value)
    return value


class Draw:
    """Random arguments of one call. `dtype` is the one under test; `grads` says whether derivatives will be taken."""

    def __init__(self, seed, dtype, grads=False):
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(self.random.getrandbits(32))
        self.dtype = dtype
        self.grads = grads
        self.special = False

    @property
    def is_float(self):
        return self.dtype in FLOATS

    def chance(self, p):
        return self.random.random() < p

    def pick(self, *choices):
        return self.random.choice(choices)

    def size(self, empty=True):
        return self.random.choice([1, 2, 3, 3, 4, 5] + [0] * (empty and not self.grads and self.chance(0.3)))

    def shape(self, low=0, high=4, empty=True):
        return tuple(self.size(empty) for _ in range(self.random.randint(low, high)))

    def broadcast(self, shape):
        """A shape that broadcasts with the given one."""
        cut = shape[self.random.randint(0, len(shape)) :] if self.chance(0.4) else shape
        return tuple(1 if self.chance(0.2) else n for n in cut)

    def tensor(self, shape, low=-3.0, high=3.0, dtype=None, grad=None, distinct=False, layout=None):
        dtype = dtype or self.dtype
        shape = tuple(shape)
        n = int(np.prod(shape))
        if dtype in FLOATS:
            short = dtype in ("float16", "bfloat16")
            if distinct and short:
                data = self.numpy.permutation(n) - n // 2  # exact, as long as there are no more than 256
            elif distinct:
                data = (self.numpy.permutation(n) + 0.5) * (high - low) / max(n, 1) + low
            elif self.special and not self.grads:
                data = self.numpy.choice(SPECIAL_SHORT if short else SPECIAL, n)
            else:
                data = self.numpy.uniform(low, high, n)
        elif dtype == "bool":
            data = self.numpy.integers(0, 2, n).astype(np.int64)
        else:
            low, high = int(np.ceil(max(low, 0) if dtype == "uint8" else low)), int(max(high, 1))
            data = self.numpy.permutation(n) + low if distinct and n < 100 else self.numpy.integers(low, high + 1, n)
        data = np.asarray(data).reshape(shape)
        layout = layout or self.layout(data)
        if distinct and layout == "expanded":
            layout = "plain"
        if layout == "expanded":
            data = np.repeat(data[:1], shape[0], axis=0)
        return T(data, dtype, layout, self.grads and dtype in FLOATS if grad is None else grad and self.grads)

    def layout(self, data):
        options = ["plain", "plain", "offset"]
        if data.ndim >= 1:
            options.append("strided")
        if data.ndim >= 1 and data.shape[0] > 1:
            options.append("expanded")
        if data.ndim >= 2:
            options += ["permuted", "permuted"]
        return self.random.choice(options)

    def index(self, shape, bound, dtype="int64", negative=False):
        low = -bound if negative else 0
        data = self.numpy.integers(low, max(bound, low + 1), tuple(shape))
        return T(np.asarray(data).reshape(tuple(shape)), dtype, self.random.choice(["plain", "offset"]))

    def mask(self, shape):
        return T(self.numpy.integers(0, 2, tuple(shape)), "bool", self.random.choice(["plain", "offset"]))

    def number(self, low=-3.0, high=3.0, dtype=None):
        """A Python number: mostly of the tensor's kind."""
        dtype = dtype or self.dtype
        if dtype in ("float16", "bfloat16"):
            return self.random.randint(int(low * 8), int(high * 8)) / 8  # exact in the tensor's dtype
        if dtype in FLOATS and self.chance(0.7):
            return self.random.uniform(low, high)
        return self.random.randint(int(low) if dtype != "uint8" else max(int(low), 0), int(high))

    def dim(self, n, bad=0.04):
        """A dimension of a tensor with n of them; sometimes one it has not."""
        if self.chance(bad) and not self.grads:
            return self.random.choice([n + 1, -n - 2])
        n = max(n, 1)
        return self.random.randint(-n, n - 1)

    def dims(self, n):
        """Some dimensions, each once, of either sign."""
        some = self.random.sample(range(n), self.random.randint(0 if n == 0 else 1, n))
        return [d - n if self.chance(0.4) else d for d in some]

    def float_dtype(self):
        return Dtype("float64" if self.grads else self.random.choice(FLOATS))

    def any_dtype(self):
        return Dtype(self.random.choice(DTYPES))
