# state_dict there and back, what modules print, how they are walked.
from collections import OrderedDict

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.lin = nn.Linear(n, n)
        self.norm = nn.BatchNorm1d(n)
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("scratch", torch.ones(2), persistent=False)

    def forward(self, x):
        self.steps += 1
        return self.norm(self.lin(x)).relu()

    def extra_repr(self):
        return f"steps={self.steps.item()}"


torch.manual_seed(8)
net = nn.Sequential(OrderedDict(a=Block(3), b=Block(3), head=nn.ModuleList([nn.Linear(3, 1), nn.Identity()])))
print(net)
net.a(torch.randn(4, 3))
state = net.state_dict()
print(type(state).__name__, list(state))
print({k: tuple(v.shape) for k, v in state.items()})
other = nn.Sequential(OrderedDict(a=Block(3), b=Block(3), head=nn.ModuleList([nn.Linear(3, 1), nn.Identity()])))
print(torch.equal(other.a.lin.weight, net.a.lin.weight))
print(other.load_state_dict(state))
print(torch.equal(other.a.lin.weight, net.a.lin.weight), other.a.steps, other.a)
state["extra"] = torch.ones(1)
del state["b.lin.bias"]
result = other.load_state_dict(state, strict=False)
print(result.missing_keys, result.unexpected_keys)
print([n for n, _ in net.named_modules()])
print([n for n, _ in net.named_parameters()])
print([n for n, _ in net.named_buffers()])
print([n for n, _ in net.named_children()], len(list(net.modules())))
print(sum(p.numel() for p in net.parameters()), net.get_submodule("a.norm"), net.get_parameter("b.lin.bias").shape)
net.eval()
print(net.training, net.a.norm.training)
net.double()
print(net.a.lin.weight.dtype, net.a.steps.dtype)
net.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
net.requires_grad_(False)
print(any(p.requires_grad for p in net.parameters()))
