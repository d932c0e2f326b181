# Hooks that add and remove hooks while they run.
import torch
from torch import nn

layer = nn.Identity()
log = []
handles = {}


def adds(module, args, output):
    log.append("adds")
    if "late" not in handles:
        handles["late"] = module.register_forward_hook(lambda m, a, o: log.append("late"))


def removes(module, args, output):
    log.append("removes")
    handles["last"].remove()
    handles["self"].remove()


layer.register_forward_hook(adds)
handles["self"] = layer.register_forward_hook(removes)
handles["last"] = layer.register_forward_hook(lambda m, a, o: log.append("last"))
x = torch.ones(1)
for _ in range(3):
    log.clear()
    layer(x)
    print(log)

t = torch.ones(1, requires_grad=True)
seen = []


def once(grad):
    seen.append("once")
    once.handle.remove()
    return grad * 5


once.handle = t.register_hook(once)
t.register_hook(lambda g: seen.append(g.item()))
for _ in range(2):
    (t * 2).sum().backward()
print(seen, t.grad)

inner = torch.ones(1, requires_grad=True)


def reenter(grad):
    with torch.enable_grad():
        (inner * 3).sum().backward()
    return grad


t.register_hook(reenter)
(t * 2).sum().backward()
print(inner.grad, t.grad)
