# Modes that see every function: what they are told, what they can change, how they stack, and classes that are asked as well.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.overrides import (
    BaseTorchFunctionMode,
    TorchFunctionMode,
    has_torch_function,
    is_tensor_method_or_property,
    resolve_name,
    wrap_torch_function,
)

torch.manual_seed(0)


class Log(TorchFunctionMode):
    def __init__(self):
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = resolve_name(func)
        if not name.endswith("__get__"):  # reading an attribute
            self.seen.append(name.removeprefix("torch."))
        return func(*args, **(kwargs or {}))


x = torch.randn(2, 3, requires_grad=True)
i = torch.tensor([1, 2])
seq = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(-1))
conv, norm = nn.Conv2d(1, 1, 2, padding=1), nn.BatchNorm1d(3)


def in_place():
    y = x.clone()
    y += 1
    y *= 2
    y[0] = 0
    y.sub_(1)


for name, call in {
    "layers": lambda: seq(x),
    "conv": lambda: conv(torch.ones(1, 1, 3, 3)),
    "norm": lambda: norm(x),
    "operators": lambda: (
        x + 1 - x * x / 2,
        1 + x,
        2 * (-x),
        1 - x,
        2**x,
        3 // x,
        3 % x,
        x % 2,
        x // 2,
        x @ x.t(),
        abs(x),
    ),
    "comparisons": lambda: (x > 0, x <= x, x == x, x != 1, (x > 0) & (x < 1), ~(x > 0), i << 1),
    "methods": lambda: x.sum().sin().view(1).reshape(1).detach().requires_grad_(),
    "indexing": lambda: (x[0], i[0].item()),
    "in place": in_place,
    "creation": lambda: (
        torch.zeros(2),
        torch.rand(2),
        torch.arange(3),
        torch.eye(2),
        torch.tensor([1.0]),
        x.new_zeros(2),
    ),
    "backward": lambda: x.sum().backward(),
    "numbers": lambda: (bool(i[0]), int(i[0]), float(i[0]), len(x), range(3)[i[0]], x.numel(), x.size(), x.dim()),
    "text": lambda: (repr(x), f"{i[0]:d}"),
    "functional": lambda: (F.relu(x), F.softmax(x, -1), F.gelu(x), F.dropout(x, 0.5), F.mse_loss(x, x), F.linear(x, x)),
    "torch": lambda: (
        torch.cat([x, x]),
        torch.stack([x, x]),
        torch.where(x > 0, x, x),
        torch.max(x, 1),
        torch.add(x, 1),
    ),
    "casts": lambda: (x.to(torch.float64), x.float(), x.clone(), x.T),
}.items():
    with Log() as log:
        call()
    print(name, log.seen)


class Double(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result * 2 if func is torch.add else result


with Double():
    print(torch.add(torch.ones(2), 1), torch.ones(1) + 1)


class OnesForZeros(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return (torch.ones if func is torch.zeros else func)(*args, **(kwargs or {}))


with OnesForZeros():
    print(torch.zeros(2), torch.zeros((1,), dtype=torch.int64))


class Say(TorchFunctionMode):
    def __init__(self, who):
        self.who = who

    def __torch_function__(self, func, types, args=(), kwargs=None):
        print(self.who, func.__name__, [t.__name__ for t in types])
        return func(*args, **(kwargs or {}))


with Say("outer"), Say("inner"):
    torch.sin(x)


class Sub(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        print("class", func.__name__)
        return super().__torch_function__(func, types, args, kwargs)


with Say("mode"):
    y = torch.add(torch.ones(2).as_subclass(Sub), 1)
print(type(y).__name__)
y == 1, 2**y, y > 0, y & y if False else y, -y, bool(y[0]), len(y)
print(y)

try:
    with Say("left"):
        raise ValueError("an error")
except ValueError as error:
    print(error, torch.sin(torch.zeros(1)))
try:
    with TorchFunctionMode():
        torch.sin(x)
except NotImplementedError:
    print("a mode without __torch_function__")
with BaseTorchFunctionMode():
    print(torch.sin(torch.zeros(1)))


@wrap_torch_function(lambda a: (a,))
def mine(a):
    return 5


class Stranger:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return "stranger", func is mine, [t.__name__ for t in types]


print(mine(1), mine(Stranger()), has_torch_function((Stranger(),)), has_torch_function((1,)))
print(is_tensor_method_or_property(torch.Tensor.add), is_tensor_method_or_property(torch.add))
print(
    resolve_name(torch.Tensor.add),
    resolve_name(torch.add),
    resolve_name(F.relu),
    resolve_name(torch.Tensor.grad.__get__),
)
