# Deep equilibrium nets by a hook, SAM, a VAE, flows, score matching, attacks, DARTS, hypernetworks, a neural ODE.
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


def sec(n):
    print("--", n)
    torch.manual_seed(len(n))


sec("deep equilibrium: implicit gradient by a hook")


class ResBlock(nn.Module):
    def __init__(s, d, h):
        super().__init__()
        s.l1, s.l2, s.n1 = nn.Linear(d, h), nn.Linear(h, d), nn.LayerNorm(h)

    def forward(s, z, x):
        return torch.tanh(x + s.l2(s.n1(F.relu(s.l1(z)))) * 0.3)


def solver(f, z, it=40):
    for _ in range(it):
        z = f(z)
    return z


class DEQ(nn.Module):
    def __init__(s, f):
        super().__init__()
        s.f = f

    def forward(s, x):
        with torch.no_grad():
            z = solver(lambda z: s.f(z, x), torch.zeros_like(x))
        z = s.f(z, x)
        z0 = z.clone().detach().requires_grad_()
        f0 = s.f(z0, x)

        def bh(grad):
            return solver(lambda y: torch.autograd.grad(f0, z0, y, retain_graph=True)[0] + grad, grad)

        if z.requires_grad:
            z.register_hook(bh)
        return z


f = DEQ(ResBlock(3, 5))
x = torch.randn(2, 3, dtype=torch.float, requires_grad=True)
f(x).pow(2).sum().backward()
print(x.grad, f.f.l1.weight.grad.norm())
f = DEQ(ResBlock(2, 3)).double()
xd = torch.randn(2, 2, dtype=torch.double, requires_grad=True)
print(torch.autograd.gradcheck(f, xd, eps=1e-5, atol=1e-3, check_undefined_grad=False))
sec("SAM")


class SAM(torch.optim.Optimizer):
    def __init__(s, params, base, rho=0.05, **kw):
        super().__init__(params, dict(rho=rho, **kw))
        s.base_optimizer = base(s.param_groups, **kw)
        s.param_groups = s.base_optimizer.param_groups
        s.defaults.update(s.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(s):
        gn = torch.norm(
            torch.stack([p.grad.norm(p=2) for g in s.param_groups for p in g["params"] if p.grad is not None]), p=2
        )
        for g in s.param_groups:
            for p in g["params"]:
                s.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * (g["rho"] / (gn + 1e-12)).to(p))
        s.zero_grad()

    @torch.no_grad()
    def second_step(s):
        for g in s.param_groups:
            for p in g["params"]:
                p.data = s.state[p]["old_p"]
        s.base_optimizer.step()
        s.zero_grad()

    @torch.no_grad()
    def step(s, closure):
        c = torch.enable_grad()(closure)
        s.first_step()
        c()
        s.second_step()


m = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
X, Y = torch.randn(16, 4), torch.randint(0, 2, (16,))
o = SAM(m.parameters(), torch.optim.SGD, lr=0.1, momentum=0.9)
for _ in range(4):
    l = F.cross_entropy(m(X), Y)
    l.backward()

    def cl():
        l2 = F.cross_entropy(m(X), Y)
        l2.backward()
        return l2

    o.step(cl)
    print(f"{l.item():.5f}")
sec("VAE")


class VAE(nn.Module):
    def __init__(s):
        super().__init__()
        s.e, s.mu, s.lv, s.d = (
            nn.Linear(6, 5),
            nn.Linear(5, 2),
            nn.Linear(5, 2),
            nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 6), nn.Sigmoid()),
        )

    def forward(s, x):
        h = F.relu(s.e(x))
        mu, lv = s.mu(h), s.lv(h)
        z = mu + torch.exp(0.5 * lv) * torch.randn_like(lv)
        return s.d(z), mu, lv


v = VAE()
gs = {}
[
    mod.register_full_backward_hook(lambda m_, gi, go, n=n: gs.__setitem__(n, round(go[0].norm().item(), 5)))
    for n, mod in v.named_children()
]
x = torch.rand(8, 6)
o = torch.optim.Adam(v.parameters(), 1e-2)
for _ in range(3):
    r, mu, lv = v(x)
    l = F.binary_cross_entropy(r, x, reduction="sum") - 0.5 * torch.sum(1 + lv - mu.pow(2) - lv.exp())
    o.zero_grad()
    l.backward()
    o.step()
    print(f"{l.item():.4f}", gs)
sec("VQ")


class VQ(nn.Module):
    def __init__(s, k, d):
        super().__init__()
        s.cb = nn.Embedding(k, d)
        s.cb.weight.data.uniform_(-1, 1)

    def forward(s, z):
        i = (
            torch.cdist(z, s.cb.weight).argmin(1)
            if hasattr(torch, "cdist")
            else ((z[:, None] - s.cb.weight) ** 2).sum(-1).argmin(1)
        )
        q = s.cb(i)
        l = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), l, i


q = VQ(5, 3)
z = torch.randn(4, 3, requires_grad=True)
y, l, i = q(z)
(y.sum() + l).backward()
print(i, z.grad, q.cb.weight.grad.abs().sum(1))
sec("flow")


class Coupling(nn.Module):
    def __init__(s):
        super().__init__()
        s.st = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(s, x):
        a, b = x.chunk(2, 1)
        sc, t = s.st(a).chunk(2, 1)
        sc = torch.tanh(sc)
        return torch.cat([b * sc.exp() + t, a], 1), sc.sum(1)


fl = nn.ModuleList([Coupling() for _ in range(3)])
x = torch.randn(16, 2)
ld = 0
for c in fl:
    x, d = c(x)
    ld = ld + d
nll = (0.5 * x.pow(2).sum(1) + math.log(2 * math.pi) - ld).mean()
nll.backward()
print(f"{nll.item():.5f}", [f"{p.grad.norm():.4f}" for p in fl[0].parameters()])
sec("score matching, Langevin, PINN, gradient penalty of a PINN")
net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
x = torch.linspace(0, 1, 5)[:, None].requires_grad_()
u = net(x)
(ux,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
(uxx,) = torch.autograd.grad(ux, x, torch.ones_like(ux), create_graph=True)
res = (uxx + u).pow(2).mean() + u[0].pow(2).sum()
res.backward()
print(f"{res.item():.5f}", net[0].weight.grad.flatten()[:3])
E = lambda y: net(y).sum() + y.pow(2).sum()
y = torch.randn(3, 1)
for _ in range(3):
    y = y.detach().requires_grad_()
    (g,) = torch.autograd.grad(E(y), y)
    y = y - 0.1 * g + 0.01 * torch.randn_like(y)
print(y.flatten())
sec("PGD / FGSM")
mod = m
xa = X.clone().detach()
eps, al = 0.3, 0.1
for _ in range(3):
    xa.requires_grad_(True)
    (g,) = torch.autograd.grad(F.cross_entropy(mod(xa), Y), xa)
    with torch.no_grad():
        xa = torch.min(torch.max(xa + al * g.sign(), X - eps), X + eps)
print(f"{F.cross_entropy(mod(X), Y).item():.2f} {F.cross_entropy(mod(xa), Y).item():.2f}", (xa - X).abs().max())
sec("PCGrad")
gr = []
for k in range(2):
    mod.zero_grad()
    F.cross_entropy(mod(X[k * 8 : (k + 1) * 8]), Y[k * 8 : (k + 1) * 8]).backward()
    gr.append(torch.cat([p.grad.flatten() for p in mod.parameters()]))
a, b = gr
d = torch.dot(a, b)
pa = a - (d / b.norm() ** 2) * b if d < 0 else a
print(d < 0, pa.norm())
sec("EWC, focal, label smoothing, mixup, uncertainty weighting")
fish = {n: p.grad.detach() ** 2 for n, p in mod.named_parameters()}
star = {n: p.detach().clone() for n, p in mod.named_parameters()}
[p.data.add_(0.01) for p in mod.parameters()]
print(f"{sum((fish[n] * (p - star[n]) ** 2).sum() for n, p in mod.named_parameters()).item():.3e}")


def focal(lg, t, g=2.0):
    ce = F.cross_entropy(lg, t, reduction="none")
    pt = torch.exp(-ce)
    return ((1 - pt) ** g * ce).mean()


print(
    focal(mod(X), Y),
    F.cross_entropy(mod(X), Y, label_smoothing=0.1),
    F.cross_entropy(mod(X), Y, weight=torch.tensor([1.0, 3.0])),
    F.cross_entropy(mod(X), F.one_hot(Y, 2).float()),
)
lv = nn.Parameter(torch.zeros(2))
ls = torch.stack([focal(mod(X), Y), F.cross_entropy(mod(X), Y)])
(torch.exp(-lv) * ls + lv).sum().backward()
print(lv.grad)
sec("DARTS one step unrolled")
al = nn.Parameter(1e-3 * torch.randn(2))
w = nn.Parameter(torch.randn(4, 2))
ops = [torch.tanh, torch.relu]


def loss(w, al, X, Y):
    h = X @ w
    a = al.softmax(0)
    return F.cross_entropy(sum(a[i] * op(h) for i, op in enumerate(ops)), Y)


(gw,) = torch.autograd.grad(loss(w, al, X[:8], Y[:8]), w, create_graph=True)
l = loss(w - 0.1 * gw, al, X[8:], Y[8:])
l.backward()
print(al.grad, w.grad.norm())
sec("hypernetwork")
hn = nn.Linear(3, 4 * 2 + 2)
zz = torch.randn(3)
pw = hn(zz)
o = F.linear(X, pw[:8].view(2, 4), pw[8:])
o.sum().backward()
print(hn.weight.grad.norm(), pw.grad_fn.name())
sec("REINFORCE by hand")
pol = nn.Linear(3, 2)
s = torch.randn(5, 3)
lp = F.log_softmax(pol(s), -1)
act = torch.multinomial(lp.exp(), 1)
R = torch.randn(5)
(-(lp.gather(1, act).squeeze() * R).mean()).backward()
print(act.flatten(), pol.weight.grad)
sec("MC dropout & TTA")
d = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.0), nn.Linear(8, 1))
d.train()
print(torch.stack([d(s) for _ in range(3)]).std(0).max())
sec("contrastive")
za, zb = F.normalize(torch.randn(4, 3, requires_grad=True), dim=1), F.normalize(torch.randn(4, 3), dim=1)
lg = za @ zb.t() / 0.1
l = (F.cross_entropy(lg, torch.arange(4)) + F.cross_entropy(lg.t(), torch.arange(4))) / 2
l.backward()
print(l)
sec("neural ODE adjoint")


class Adj(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, z0, T, *ps):
        with torch.no_grad():
            z = z0
            for _ in range(10):
                z = z + T / 10 * f(z)
        ctx.f, ctx.T, ctx.ps = f, T, ps
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx, a):
        (z,) = ctx.saved_tensors
        gp = [torch.zeros_like(p) for p in ctx.ps]
        for _ in range(10):
            with torch.enable_grad():
                zz = z.detach().requires_grad_()
                fz = ctx.f(zz)
                dz, *dp = torch.autograd.grad(fz, (zz, *ctx.ps), a)
            gp = [g + ctx.T / 10 * d for g, d in zip(gp, dp)]
            a = a + ctx.T / 10 * dz
            z = z - ctx.T / 10 * fz.detach()
        return (None, a, None, *gp)


fz = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))
z0 = torch.ones(1, 2, requires_grad=True)
Adj.apply(fz, z0, 1.0, *fz.parameters()).sum().backward()
print(z0.grad, fz[0].weight.grad)
