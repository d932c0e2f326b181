# Per-sample gradients from activations and grad_output, clipped; Fisher, K-FAC, Hessian-vector products, influence.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
torch.set_printoptions(precision=4, sci_mode=False)


class GradSample:
    def __init__(self, model):
        self.model, self.handles = model, []
        for m in model.modules():
            if isinstance(m, (nn.Linear, nn.Conv2d)):
                self.handles += [m.register_forward_hook(self.fwd), m.register_full_backward_hook(self.bwd)]

    def fwd(self, m, inp, out):
        if not m.training or not torch.is_grad_enabled():
            return
        m.__dict__.setdefault("_acts", []).append(inp[0].detach())

    def bwd(self, m, gin, gout):
        a, b = m._acts.pop(), gout[0].detach() * gout[0].shape[0]
        if isinstance(m, nn.Linear):
            m.weight.grad_sample = torch.einsum("n...i,n...j->nij", b, a)
            if m.bias is not None:
                m.bias.grad_sample = torch.einsum("n...k->nk", b)
        else:
            n = a.shape[0]
            u = F.unfold(a, m.kernel_size, padding=m.padding, stride=m.stride)
            bb = b.reshape(n, -1, u.shape[-1])
            m.weight.grad_sample = torch.einsum("noq,npq->nop", bb, u).reshape(n, *m.weight.shape)
            m.bias.grad_sample = bb.sum(2)


net = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3))
gs = GradSample(net)
x, y = torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])
F.cross_entropy(net(x), y).backward()
for n, p in net.named_parameters():
    ok = torch.allclose(p.grad_sample.mean(0), p.grad, atol=1e-6)
    print(n, tuple(p.grad_sample.shape), ok, p.grad_sample.flatten(1).norm(dim=1))
# reference by loop
ref = []
for i in range(4):
    net.zero_grad()
    F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
    ref.append([p.grad.clone() for p in net.parameters()])
# clip and noise (DP-SGD)
net.zero_grad()
F.cross_entropy(net(x), y).backward()
norms = torch.stack([p.grad_sample.reshape(4, -1).norm(2, dim=-1) for p in net.parameters()], dim=1).norm(2, dim=1)
print(norms, torch.stack([torch.cat([g.flatten() for g in r]).norm() for r in ref]))
factor = (1.0 / (norms + 1e-6)).clamp(max=1.0)
for p in net.parameters():
    p.grad = torch.einsum("i,i...", factor, p.grad_sample) / 4
print(torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1))
print(net[3].bias.grad)

# Fisher diag
fisher = {n: torch.zeros_like(p) for n, p in net.named_parameters()}
for i in range(4):
    net.zero_grad()
    lp = F.log_softmax(net(x[i : i + 1]), dim=1)
    lab = lp.exp().multinomial(1).item() if False else int(y[i])
    F.nll_loss(lp, torch.tensor([lab])).backward()
    for n, p in net.named_parameters():
        fisher[n] += p.grad.data.pow(2) / 4
print({k: f"{v.sum():.5f}" for k, v in fisher.items()})
for h in gs.handles:
    h.remove()

# K-FAC
A, G = {}, {}


def pre(m, i):
    a = i[0]
    a = torch.cat([a, a.new_ones(a.size(0), 1)], 1)
    A[m] = a.t() @ a / a.size(0)


def bk(m, gi, go):
    G[m] = go[0].t() @ go[0] * go[0].size(0)


mlp = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
for m in mlp:
    if type(m) is nn.Linear:
        m.register_forward_pre_hook(pre)
        m.register_full_backward_hook(bk)
X, Y = torch.randn(16, 6), torch.randint(0, 3, (16,))
F.cross_entropy(mlp(X), Y).backward()
for m in A:
    print(A[m].shape, G[m].shape, A[m].trace(), G[m].trace())
    g = torch.cat([m.weight.grad, m.bias.grad[:, None]], 1)
    nat = torch.linalg.solve(G[m] + 0.1 * torch.eye(G[m].size(0)), g) @ torch.linalg.inv(
        A[m] + 0.1 * torch.eye(A[m].size(0))
    )
    print(nat.norm())
# HVP
params = list(mlp.parameters())
for m in mlp:
    m._backward_hooks.clear()
    m._forward_pre_hooks.clear()


def hvp(v):
    g = torch.autograd.grad(F.cross_entropy(mlp(X), Y), params, create_graph=True)
    return torch.autograd.grad(g, params, grad_outputs=v)


v = [torch.ones_like(p) for p in params]
print([round(h.sum().item(), 4) + 0.0 for h in hvp(v)])  # a sum that is 0 but for rounding has either sign
# power iteration
v = [torch.randn_like(p) for p in params]
for it in range(15):
    nrm = torch.sqrt(sum((t**2).sum() for t in v))
    v = [t / nrm for t in v]
    hv = hvp(v)
    eig = sum((a * b).sum() for a, b in zip(v, hv)).item()
    v = [t.detach() for t in hv]
print(f"{eig:.3f}")
# influence, LiSSA
gtest = torch.autograd.grad(F.cross_entropy(mlp(X[:1]), Y[:1]), params)
ih = [g.clone() for g in gtest]
for _ in range(10):
    hv = hvp(ih)
    with torch.no_grad():
        ih = [g + (1 - 0.01) * h - q / 10.0 for g, h, q in zip(gtest, ih, hv)]
for i in range(3):
    gi = torch.autograd.grad(F.cross_entropy(mlp(X[i : i + 1]), Y[i : i + 1]), params)
    print(i, f"{-sum((a * b).sum() for a, b in zip(gi, ih)).item() / 16:.4f}")
