# Several hooks of every kind on one module and its child, prepended ones included: who runs when.
import torch
from torch import nn

log = []


def note(text, value=None):
    def hook(*args):
        log.append(text)
        return value

    return hook


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        log.append("outer forward")
        return self.inner(x).tanh()


torch.manual_seed(2)
outer = Outer()
for name, module in [("outer", outer), ("inner", outer.inner)]:
    module.register_forward_pre_hook(note(f"{name} pre 1"))
    module.register_forward_pre_hook(note(f"{name} pre 0"), prepend=True)
    module.register_forward_hook(note(f"{name} post 1"))
    module.register_forward_hook(note(f"{name} post 0"), prepend=True)
    module.register_full_backward_pre_hook(note(f"{name} back pre 1"))
    module.register_full_backward_pre_hook(note(f"{name} back pre 0"), prepend=True)
    module.register_full_backward_hook(note(f"{name} back 1"))
    module.register_full_backward_hook(note(f"{name} back 0"), prepend=True)
outer.inner.weight.register_hook(note("weight"))
x = torch.ones(1, 2, requires_grad=True)
x.register_hook(note("x"))
y = outer(x)
y.register_hook(note("y"))
y.retain_grad()
y.sum().backward()
print("\n".join(log))
print(y.grad, x.grad, outer.inner.weight.grad)
