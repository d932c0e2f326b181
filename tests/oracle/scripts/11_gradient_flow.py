# Who gets which gradient: grad_fn names, next_functions, leaves, retain_grad, detach.
import torch
from torch import nn

torch.manual_seed(11)


def walk(fn, depth=0):
    print("  " * depth + (fn.name() if fn is not None else "None"))
    for following, _ in fn.next_functions if fn is not None else []:
        if following is not None:
            walk(following, depth + 1)


a = torch.rand(2, 3, requires_grad=True)
b = torch.rand(3, requires_grad=True)
c = (a * b + a.exp().mean(0)).relu().sum(dim=1, keepdim=True)
walk((c.sqrt() / 2).sum().grad_fn)
print(a.is_leaf, c.is_leaf, a.grad_fn, type(c.grad_fn).__name__)
net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
out = net(a)
walk(out.grad_fn)
made = [
    a.t(),
    a.view(-1),
    a[0],
    a[:, 1:],
    a.unsqueeze(0),
    a.permute(1, 0),
    torch.cat([a, a]),
    torch.stack([b, b]),
    a.max(),
    a.max(1).values,
    a.softmax(1),
    a.log_softmax(0),
    a.clone(),
    a @ b,
    a.mean(),
    a.var(),
    a.std(0),
    -a,
    a - b,
    1 / a,
    a**2,
    2**a,
    a.clamp(0, 1),
    a.sigmoid(),
    a.tanh(),
    a.abs(),
    a.expand(4, 2, 3),
    a.chunk(3, 1)[0],
    a.gather(1, torch.zeros(2, 1, dtype=torch.int64)),
    torch.where(a > 0.5, a, b),
    a.masked_fill(a > 0.5, 0.0),
    a.index_select(1, torch.tensor([0, 2])),
    a.repeat(2, 1),
    a.flip(0),
    a.cumsum(1),
    a.norm(),
    a.prod(),
]
for t in made:
    print(tuple(t.shape), type(t.grad_fn).__name__)
print(a.detach().requires_grad, a.data.requires_grad, (a.detach() * 2).grad_fn)
middle = a * 3
middle.retain_grad()
(middle * middle).sum().backward()
print(middle.grad, middle.retains_grad, a.retains_grad, a.grad)
