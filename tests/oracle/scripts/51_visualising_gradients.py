# The tutorial on visualising gradients, without its plots; hooks before and after in-place operations.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
x = torch.ones(5)
y = torch.zeros(3)
w = torch.randn(5, 3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
z = torch.matmul(x, w) + b
loss = F.binary_cross_entropy_with_logits(z, y)
print(
    f"Gradient function for z = {type(z.grad_fn).__name__}",
    f"Gradient function for loss = {type(loss.grad_fn).__name__}",
)
loss.backward()
print(w.grad, b.grad)
x = torch.tensor([1.0, 2.0], requires_grad=True)
W = torch.ones(2, 2, requires_grad=True)
b = torch.ones(2, requires_grad=True)
y = W @ x + b
z = (y**2).sum()
y.retain_grad()
z.backward()
print(y.grad, x.grad, W.grad, z.is_leaf, W.is_leaf, y.retains_grad)


def fc_layer(in_size, out_size, norm_layer):
    return (
        nn.Sequential(nn.Linear(in_size, out_size), norm_layer(out_size))
        if norm_layer
        else nn.Sequential(nn.Linear(in_size, out_size))
    )


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.flatten(1))


def hook_forward(module_name, grads, hook_backward):
    def hook(module, args, output):
        output.register_hook(hook_backward(module_name, grads))

    return hook


def hook_backward(module_name, grads):
    def hook(grad):
        grads.append((module_name, grad))

    return hook


def get_all_layers(model, hook_forward, hook_backward):
    layers = {}
    for name, layer in model.named_modules():
        if any(layer.children()) is False:
            layers[name] = layer
    return layers


def build(norm):
    torch.manual_seed(1)
    return Net(*[m for i in range(4) for m in (fc_layer(6, 6, norm), nn.Sigmoid())], nn.Linear(6, 2))


for norm in (nn.BatchNorm1d, None):
    m = build(norm)
    grads = []
    ls = get_all_layers(m, hook_forward, hook_backward)
    hs = [l.register_forward_hook(hook_forward(n, grads, hook_backward)) for n, l in ls.items()]
    torch.manual_seed(2)
    l = F.cross_entropy(m(torch.randn(10, 2, 3)), torch.randint(0, 2, (10,)))
    l.backward()
    print(f"{l.item():.6f}", list(ls))
    [print(f"{n:12s} {g.abs().mean().item():.3e} {tuple(g.shape)}") for n, g in grads]
    [h.remove() for h in hs]
# out-of-place vs in-place & hooks
a = torch.ones(3, requires_grad=True)
b = a * 2
seen = []
b.register_hook(lambda g: seen.append(("before", g.clone())))
b.mul_(3)
b.register_hook(lambda g: seen.append(("after", g.clone())))
b.retain_grad()
b.sum().backward()
print(seen, b.grad, a.grad, b.grad_fn.name(), b._version)
v = torch.zeros(4)
v[1:3] = a[:2] * 5
print(v.grad_fn.name(), v.grad_fn.next_functions[1][0].name())
v.sum().backward()
print(a.grad)
c = torch.zeros(2, 3)
c[0] = a
c[1].copy_(a * 2)
c.retain_grad()
(c**2).sum().backward()
print(c.grad, a.grad, c.grad_fn.name())
d = a.clone()
e = d[:2]
d.mul_(4)
print(e.grad_fn.name(), e._base is d, e._version, d._version)
e.sum().backward()
print(a.grad)
