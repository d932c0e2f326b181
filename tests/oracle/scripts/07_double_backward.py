# Derivatives of derivatives: a gradient penalty, a Hessian, a chain of four.
import torch
from torch import nn

torch.manual_seed(7)
net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 1))
x = torch.randn(4, 3, requires_grad=True)
out = net(x).sum()
(grad,) = torch.autograd.grad(out, x, create_graph=True)
print(grad.grad_fn is not None, grad.shape)
penalty = ((grad.norm(2, dim=1) - 1) ** 2).mean()
penalty.backward()
print(f"{penalty.item():.5f}")
for name, p in net.named_parameters():
    print(name, None if p.grad is None else f"{p.grad.norm().item():.5f}")


def f(v):
    return (v[0] ** 2 * v[1]).exp() + (v[1] * v[2]).sin()


v = torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64, requires_grad=True)
(first,) = torch.autograd.grad(f(v), v, create_graph=True)
hessian = torch.stack([torch.autograd.grad(first[i], v, retain_graph=True)[0] for i in range(3)])
print(hessian)
y = torch.tensor(0.8, requires_grad=True)
d = y.sin() * y**4
for order in range(1, 5):
    (d,) = torch.autograd.grad(d, y, create_graph=True)
    print(order, f"{d.item():.4f}", type(d.grad_fn).__name__)
