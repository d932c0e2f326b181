# WGAN with a gradient penalty, a GAN with detach, gradient reversal, straight-through estimators, Gumbel softmax.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable, grad

torch.manual_seed(0)
G = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 2))
D = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
og = torch.optim.Adam(G.parameters(), lr=1e-2, betas=(0.5, 0.9))
od = torch.optim.Adam(D.parameters(), lr=1e-2, betas=(0.5, 0.9))
stats = []
D[0].register_full_backward_hook(lambda m, gi, go: stats.append((gi[0] is None, round(go[0].norm().item(), 5))))


def gp(real, fake):
    alpha = torch.rand(real.size(0), 1)
    inter = Variable(alpha * real + (1 - alpha) * fake, requires_grad=True)
    d = D(inter)
    g = grad(
        outputs=d,
        inputs=inter,
        grad_outputs=torch.ones(d.size()),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    return ((g.view(g.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


for it in range(4):
    for p in D.parameters():
        p.requires_grad_(True)
    for _ in range(2):
        real = torch.randn(16, 2) * 0.5 + 1
        with torch.no_grad():
            z = torch.randn(16, 2)
        fake = G(z).detach()
        loss = D(fake).mean() - D(real).mean()
        pen = gp(real, fake)
        od.zero_grad()
        (loss + 10 * pen).backward()
        od.step()
    for p in D.parameters():
        p.requires_grad = False
    gl = -D(G(torch.randn(16, 2))).mean()
    og.zero_grad()
    gl.backward()
    og.step()
    print(f"{it} D {loss.item():.5f} GP {pen.item():.5f} G {gl.item():.5f} hooks {len(stats)} {stats[-1]}")
# vanilla GAN with BCE
torch.manual_seed(1)
D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.0), nn.Linear(8, 1), nn.Sigmoid())
G = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
bce = nn.BCELoss()
o1, o2 = torch.optim.RMSprop(D.parameters(), lr=1e-2), torch.optim.Adagrad(G.parameters(), lr=1e-2)
ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
for i in range(3):
    o1.zero_grad()
    r = bce(D(torch.randn(8, 2)), ones)
    f = G(torch.randn(8, 2))
    fl = bce(D(f.detach()), zeros)
    (r + fl).backward()
    o1.step()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in G.parameters()) or i
    o2.zero_grad()
    g = bce(D(f), ones)
    g.backward()
    o2.step()
    print(i, f"{r:.5f} {fl:.5f} {g:.5f}")


# gradient reversal
class GRL(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return g.neg() * ctx.alpha, None


feat, dom = nn.Linear(3, 4), nn.Linear(4, 2)
x = torch.randn(6, 3)
f = feat(x)
f.retain_grad()
F.cross_entropy(dom(GRL.apply(f, 0.3)), torch.tensor([0, 1] * 3)).backward()
a = f.grad.clone()
f2 = feat(x)
f2.retain_grad()
F.cross_entropy(dom(f2), torch.tensor([0, 1] * 3)).backward()
print(torch.allclose(a, -0.3 * f2.grad), a[0])
h = feat.register_full_backward_hook(lambda m, gi, go: tuple(None if g is None else -g for g in gi))
xr = x.clone().requires_grad_()
feat(xr).sum().backward()
print(xr.grad[0])
h.remove()


# STE
class STE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return F.hardtanh(g) * (x.abs() <= 1)


x = torch.tensor([-2.0, -0.5, 0.5, 2.0], requires_grad=True)
y = STE.apply(x)
y.backward(torch.tensor([1.0, 2.0, -3.0, 1.0]))
print(y, x.grad, type(y.grad_fn).__name__)
# Gumbel softmax
torch.manual_seed(5)
lg = torch.randn(3, 4, requires_grad=True)
g = -torch.empty_like(lg).exponential_().log() if False else -torch.log(-torch.log(torch.rand_like(lg)))
s = ((lg + g) / 0.5).softmax(-1)
idx = s.max(-1, keepdim=True)[1]
hard = torch.zeros_like(lg).scatter_(-1, idx, 1.0)
out = hard - s.detach() + s
(out * torch.arange(4.0)).sum().backward()
print(out, lg.grad)
torch.manual_seed(2)
print(F.gumbel_softmax(lg, tau=1, hard=True).shape)
