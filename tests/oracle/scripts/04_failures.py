# What goes wrong in hooks and calls, and which exception says so.
import torch
from torch import nn


def attempt(name, function):
    try:
        print(name, "->", function())
    except Exception as error:
        print(name, "raises", type(error).__name__)


layer = nn.Linear(2, 2)
layer.register_forward_hook(lambda m, a, o: print("always", o), always_call=True)
layer.register_forward_hook(lambda m, a, o: print("never"))
attempt("wrong width", lambda: layer(torch.ones(1, 3)))
x = torch.ones(2, requires_grad=True)
y = x * 2
attempt("non-scalar", lambda: y.backward())
y.sum().backward()
attempt("twice", lambda: (x * x).sum().backward() or "fine")
z = (x * x).sum()
z.backward()
attempt("freed graph", z.backward)
attempt("in-place on a leaf", lambda: x.add_(1))
attempt("no grad", lambda: torch.ones(1).backward())
attempt("integer leaf", lambda: torch.ones(1, dtype=torch.int64).requires_grad_())
w = torch.ones(2, requires_grad=True)
s = w.exp()
s.add_(1)
attempt("modified", lambda: s.sum().backward())
attempt("broadcast", lambda: torch.ones(2, 3) + torch.ones(4))
attempt("matmul", lambda: torch.ones(2, 3) @ torch.ones(2, 3))
attempt("view", lambda: torch.ones(6).view(4, 2))
attempt("index", lambda: torch.ones(3)[5])
attempt("dim", lambda: torch.ones(3).sum(2))
attempt("cat", lambda: torch.cat([torch.ones(2, 2), torch.ones(2, 3)], 1).shape)
attempt("cat dim 0", lambda: torch.cat([torch.ones(2, 2), torch.ones(2, 3)]))
attempt("item", lambda: torch.ones(3).item())
attempt("bool", lambda: bool(torch.ones(3)))
attempt("ragged", lambda: torch.tensor([[1, 2], [3]]))
attempt("attribute", lambda: layer.nothing)
attempt("load", lambda: layer.load_state_dict({"weight": torch.ones(2, 2)}))
attempt("backward hook", lambda: x.register_hook(lambda g: g.view(1, 2)) and (x * 1).sum().backward())
attempt("embedding", lambda: nn.Embedding(3, 2)(torch.tensor([3])))
attempt("conv", lambda: nn.Conv2d(1, 2, 3)(torch.ones(1, 2, 5, 5)))
attempt("numpy", lambda: x.numpy())
