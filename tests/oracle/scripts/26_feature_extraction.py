# Features by forward hooks: extractor modules, partials, context managers, callable objects, bound and static methods.
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

torch.manual_seed(1)


class FeatureExtractor(nn.Module):
    def __init__(self, model: nn.Module, layers: Iterable[str]):
        super().__init__()
        self.model = model
        self.layers = layers
        self._features = {layer: torch.empty(0) for layer in layers}
        for layer_id in layers:
            layer = dict([*self.model.named_modules()])[layer_id]
            layer.register_forward_hook(self.save_outputs_hook(layer_id))

    def save_outputs_hook(self, layer_id: str) -> Callable:
        def fn(_, __, output):
            self._features[layer_id] = output

        return fn

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        _ = self.model(x)
        return self._features


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = nn.Linear(c, c)
        self.act = nn.GELU()
        self.b = nn.Linear(c, c, bias=False)

    def forward(self, x):
        return x + self.b(self.act(self.a(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 6)
        self.layers = nn.ModuleList([Block(6) for _ in range(3)])
        self.heads = nn.ModuleDict({"cls": nn.Linear(6, 2), "reg": nn.Linear(6, 1)})
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x):
        x = self.embed(x)
        for l in self.layers:
            x = l(x)
        return {k: h(x * self.scale) for k, h in self.heads.items()}


net = Net()
print(net)
fx = FeatureExtractor(net, layers=["layers.0", "layers.1.act", "heads.cls"])
feats = fx(torch.randn(2, 4))
for k, v in feats.items():
    print(k, tuple(v.shape), v.requires_grad, v.grad_fn.name(), (v * 10).round())
print([n for n, _ in fx.named_modules()][:6])

# partial hooks
acts = {}


def save(name, mod, inp, out):
    acts[name] = out.detach()


hs = [m.register_forward_hook(partial(save, n)) for n, m in net.named_modules() if isinstance(m, nn.Linear)]
net(torch.ones(1, 4))
print(sorted(acts), {k: round(v.norm().item(), 4) for k, v in acts.items()})
[h.remove() for h in hs]
acts.clear()
net(torch.ones(1, 4))
print(acts)


@contextmanager
def record(model, *names):
    store = {}
    with ExitStack() as stack:
        for n in names:
            stack.enter_context(
                model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: store.__setitem__(n, o))
            )
        yield store


with record(net, "embed", "layers.2.b") as s:
    net(torch.zeros(1, 4))
print({k: [round(n, 4) for n in v.flatten().tolist()] for k, v in s.items()})
try:
    with record(net, "layers.7"):
        pass
except AttributeError as e:
    print("AttributeError", e)
try:
    net.get_submodule("embed.weight")
except AttributeError as e:
    print("AttributeError", e)
try:
    net.get_parameter("embed.foo")
except AttributeError as e:
    print("AttributeError", e)
print(net.get_parameter("embed.weight").shape, net.get_buffer("scale"))
print(len(net.embed._forward_hooks))


class Tap:
    instances = []

    def __init__(self, module, name):
        self.name = name
        self.ref = weakref.ref(module)
        self.handle = module.register_forward_hook(self)
        self.count = 0
        Tap.instances.append(self)

    def __call__(self, module, args, output):
        assert self.ref() is module
        self.count += 1
        if self.count >= 2:
            self.handle.remove()

    def __repr__(self):
        return f"Tap({self.name}, {self.count})"


for n, m in net.named_children():
    Tap(m, n)
for _ in range(4):
    net(torch.zeros(1, 4))
print(Tap.instances)


class Static:
    @staticmethod
    def hook(m, i, o):
        print("static", type(m).__name__, len(i))

    @classmethod
    def chook(cls, m, i, o):
        print("class", cls.__name__)

    def bound(self, m, i, o):
        print("bound", type(self).__name__)


net.embed.register_forward_hook(Static.hook)
net.embed.register_forward_hook(Static.chook)
net.embed.register_forward_hook(Static().bound)
net(torch.zeros(1, 4))
print(sum(p.numel() for p in net.parameters()), [n for n, p in net.named_parameters()])
import inspect

sig = inspect.signature(net.embed.register_forward_hook)
print(list(sig.parameters))
