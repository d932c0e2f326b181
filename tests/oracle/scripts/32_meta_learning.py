# MAML through create_graph, first order MAML, functional_call, unrolled learning rates, Hessians row by row.
from collections import OrderedDict
from copy import deepcopy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = nn.Linear(1, 10), nn.Linear(10, 1)

    def forward(self, x, params=None):
        if params is None:
            params = OrderedDict(self.named_parameters())
        x = torch.tanh(F.linear(x, params["l1.weight"], params["l1.bias"]))
        return F.linear(x, params["l2.weight"], params["l2.bias"])


net = Net()
meta = torch.optim.Adam(net.parameters(), lr=1e-2)


def task():
    a, p = torch.rand(1) * 4 + 1, torch.rand(1) * 3
    x = torch.rand(10, 1) * 10 - 5
    return x, a * torch.sin(x + p)


seen = []
for n, p in net.named_parameters():
    p.register_hook(lambda g, n=n: seen.append((n, g.requires_grad)))
for it in range(4):
    meta.zero_grad()
    total = 0
    for _ in range(2):
        x, y = task()
        fast = OrderedDict(net.named_parameters())
        for _ in range(2):
            l = F.mse_loss(net(x[:5], fast), y[:5])
            gr = torch.autograd.grad(l, fast.values(), create_graph=True)
            fast = OrderedDict((n, p - 0.01 * g) for (n, p), g in zip(fast.items(), gr))
        total = total + F.mse_loss(net(x[5:], fast), y[5:])
    total.backward()
    meta.step()
    print(it, f"{total.item():.4f}", len(seen), sorted(set(seen)))
    seen.clear()


# first-order, deepcopy
def fomaml():
    learner = deepcopy(net)
    opt = torch.optim.SGD(learner.parameters(), lr=0.01)
    x, y = task()
    for _ in range(3):
        opt.zero_grad()
        F.mse_loss(learner(x), y).backward()
        opt.step()
    l = F.mse_loss(learner(x), y)
    gs = torch.autograd.grad(l, learner.parameters())
    for p, g in zip(net.parameters(), gs):
        p.grad = g
    return l.item()


print(f"{fomaml():.4f}", [f"{p.grad.norm():.4f}" for p in net.parameters()])
# functional_call
from torch.func import functional_call

ps = {n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()}
out = functional_call(net, ps, (torch.ones(2, 1),))
out.sum().backward()
print({n: tuple(p.grad.shape) for n, p in ps.items()}, out.flatten())
# implicit differentiation / unrolled lr
lr = torch.tensor(0.1, requires_grad=True)
w = torch.tensor([1.0, -1.0], requires_grad=True)
p = w
for _ in range(3):
    (g,) = torch.autograd.grad((p**4).sum(), p, create_graph=True)
    p = p - lr * g
(p**2).sum().backward()
print(lr.grad, w.grad)
# Hessian of small net by double loop
params = [net.l2.weight]
x, y = torch.linspace(-1, 1, 5)[:, None], torch.zeros(5, 1)
(g,) = torch.autograd.grad(F.mse_loss(net(x), y), params, create_graph=True)
H = torch.stack([torch.autograd.grad(g.flatten()[i], params, retain_graph=True)[0].flatten() for i in range(10)])
print(torch.allclose(H, H.T, atol=1e-6), H.trace(), H[0])
H2 = torch.autograd.functional.hessian(
    lambda w: F.mse_loss(F.linear(torch.tanh(net.l1(x)), w, net.l2.bias), y), net.l2.weight
)
print(torch.allclose(H2.reshape(10, 10), H, atol=1e-5))
J = torch.autograd.functional.jacobian(lambda a: net(a).squeeze(), x)
print(J.shape, J.diagonal().squeeze() if J.dim() == 2 else J[:, :, 0].diagonal())
print(torch.autograd.functional.hvp(lambda a: net(a).pow(2).sum(), x, torch.ones_like(x))[1].flatten())
