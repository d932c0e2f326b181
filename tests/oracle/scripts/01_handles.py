# Handles: ids, removal twice, use as a context manager, the tables they leave behind.
import torch
from torch import nn

torch.manual_seed(1)
layer = nn.Linear(3, 2)
calls = []
first = layer.register_forward_hook(lambda m, a, o: calls.append("first"))
second = layer.register_forward_hook(lambda m, a, o: calls.append("second"))
print(second.id - first.id, list(layer._forward_hooks) == [first.id, second.id])
layer(torch.ones(1, 3))
first.remove()
first.remove()
layer(torch.ones(1, 3))
print(calls, len(layer._forward_hooks))
with layer.register_forward_pre_hook(lambda m, a: calls.append("inside")) as handle:
    layer(torch.ones(1, 3))
    print(handle.id in layer._forward_pre_hooks)
layer(torch.ones(1, 3))
print(calls, len(layer._forward_pre_hooks))
layer._forward_hooks.clear()
second.remove()
calls.clear()
print(layer(torch.ones(1, 3)), calls)
x = torch.ones(2, requires_grad=True)
handle = x.register_hook(lambda g: g * 10)
x.sum().backward()
handle.remove()
x.sum().backward()
print(x.grad, x._backward_hooks)
