# Layer-wise relevance, DeepLIFT's rule in backward hooks, occlusion, deconvnet, CAM, activation maximisation.
import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
x = torch.randn(2, 6)
acts = {}
hs = [m.register_forward_hook(lambda m, i, o: acts.__setitem__(m, (i[0].detach(), o.detach()))) for m in net]
out = net(x)
R = torch.zeros_like(out)
R[range(2), out.argmax(1)] = out.max(1).values.detach()
for m in reversed(net):
    if isinstance(m, nn.Linear):
        a = acts[m][0].clone().requires_grad_(True)
        rho = copy.deepcopy(m)
        rho._forward_hooks.clear()
        rho.weight = nn.Parameter(m.weight + 0.25 * m.weight.clamp(min=0))
        rho.bias = nn.Parameter(m.bias + 0.25 * m.bias.clamp(min=0))
        z = rho(a) + 1e-9
        s = (R / z).detach()
        (z * s).sum().backward()
        R = (a * a.grad).detach()
print(R, R.sum(1))
[h.remove() for h in hs]
# gradient*input via backward hook rule (epsilon-LRP equivalence)
xr = x.clone().requires_grad_()
o = net(xr)
o[range(2), o.argmax(1)].sum().backward()
print(xr * xr.grad)
# DeepLIFT rescale rule with backward hooks
base = torch.zeros_like(x)
ref, cur = {}, {}


def fh(store):
    return lambda m, i, o: store.__setitem__(m, (i[0].detach(), o.detach()))


relus = [m for m in net if isinstance(m, nn.ReLU)]
h1 = [m.register_forward_hook(fh(ref)) for m in relus]
net(base)
[h.remove() for h in h1]
h2 = [m.register_forward_hook(fh(cur)) for m in relus]


def rule(m, gi, go):
    di, do = cur[m][0] - ref[m][0], cur[m][1] - ref[m][1]
    near = di.abs() < 1e-6
    return (torch.where(near, gi[0], go[0] * do / torch.where(near, torch.ones_like(di), di)),)


h3 = [m.register_full_backward_hook(rule) for m in relus]
xr = x.clone().requires_grad_()
o = net(xr)[:, 0]
o.sum().backward()
attr = (x - base) * xr.grad
[h.remove() for h in h2 + h3]
print(attr, attr.sum(1), (net(x) - net(base))[:, 0])
# occlusion
occ = torch.stack([net(x)[:, 0] - net(x.clone().index_fill_(1, torch.tensor([i]), 0))[:, 0] for i in range(6)], 1)
print(occ)
# deconvnet & guided with inplace relu
cnn = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(4, 4, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(4, 2),
)
h = [m.register_full_backward_hook(lambda m, gi, go: (F.relu(go[0]),)) for m in cnn if isinstance(m, nn.ReLU)]
im = torch.randn(1, 1, 8, 8, requires_grad=True)
cnn(im)[0, 1].backward()
print(im.grad[0, 0, :2], (im.grad != 0).float().mean())
[k.remove() for k in h]
# CAM
f = []
h = cnn[4].register_forward_hook(lambda m, i, o: f.append(o))
cnn(im)
w = cnn[7].weight
cam = torch.einsum("c,bchw->bhw", w[1], f[0])
print(cam.shape, cam[0, 0])
h.remove()
# Grad-CAM++ weights
A = {}
h1 = cnn[3].register_forward_hook(lambda m, i, o: (A.update(a=o), o.register_hook(lambda g: A.update(g=g)))[0])
cnn(im)[0, 0].backward()
g, a = A["g"], A["a"]
alpha = g.pow(2) / (2 * g.pow(2) + (a * g.pow(3)).sum((2, 3), keepdim=True) + 1e-9)
wts = (alpha * F.relu(g)).sum((2, 3), keepdim=True)
print(F.relu((wts * a).sum(1))[0, 0].detach())
h1.remove()
# activation maximisation
img = torch.zeros(1, 1, 8, 8, requires_grad=True)
opt = torch.optim.Adam([img], lr=0.1)
store = {}
h = cnn[3].register_forward_hook(lambda m, i, o: store.__setitem__("o", o))
for i in range(5):
    opt.zero_grad()
    cnn(img)
    l = -store["o"][0, 2].mean() + 1e-3 * img.norm() if i else -store["o"][0, 2].mean()
    l.backward()
    opt.step()
    print(f"{l.item():.5f}")


class StopForward(Exception):
    pass


def stop(m, i, o):
    store["stopped"] = o
    raise StopForward


h2 = cnn[2].register_forward_hook(stop)
try:
    cnn(img)
except StopForward:
    print("stopped", store["stopped"].shape)
h.remove()
h2.remove()
print([len(m._forward_hooks) for m in cnn])


# style transfer gram
def gram(t):
    b, c, h, w = t.size()
    f = t.view(b * c, h * w)
    return torch.mm(f, f.t()).div(b * c * h * w)


class StyleLoss(nn.Module):
    def __init__(s, target):
        super().__init__()
        s.target = gram(target).detach()

    def forward(s, x):
        s.loss = F.mse_loss(gram(x), s.target)
        return x


m = nn.Sequential(cnn[0], StyleLoss(cnn[0](torch.randn(1, 1, 8, 8))), cnn[1])
img = torch.randn(1, 1, 8, 8, requires_grad=True)
opt = torch.optim.LBFGS([img], max_iter=4) if hasattr(torch.optim, "LBFGS") else None
if opt:

    def closure():
        opt.zero_grad()
        m(img)
        l = m[1].loss * 1e3
        l.backward()
        return l

    for _ in range(2):
        print(f"{opt.step(closure).item():.4f}")
