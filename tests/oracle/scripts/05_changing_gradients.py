# Backward hooks that change what flows: scaled grad_output, replaced grad_input, masked parameter gradients.
import torch
from torch import nn

torch.manual_seed(5)
net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
x = torch.randn(2, 3, requires_grad=True)


def grads():
    net.zero_grad()
    x.grad = None
    net(x).pow(2).sum().backward()
    return x.grad.clone(), net[0].weight.grad.clone()


plain = grads()
with net[2].register_full_backward_pre_hook(lambda m, grad_output: (grad_output[0] * 3,)):
    tripled = grads()
print(torch.allclose(tripled[0], plain[0] * 3), torch.allclose(tripled[1], plain[1] * 3))
with net[1].register_full_backward_hook(lambda m, gi, go: (gi[0].clamp(-0.1, 0.1),)):
    clipped = grads()
print(clipped[0])
with net[0].weight.register_hook(lambda g: g * (g > 0)):
    masked = grads()
print(masked[1], torch.equal(masked[1], plain[1].clamp(min=0)))
with net[1].register_full_backward_hook(lambda m, gi, go: print(gi[0].shape, go[0].shape)):
    again = grads()
print(torch.equal(again[0], plain[0]), torch.equal(again[1], plain[1]))
net[1].register_full_backward_hook(lambda m, gi, go: (torch.zeros_like(gi[0]),))
print(grads())
