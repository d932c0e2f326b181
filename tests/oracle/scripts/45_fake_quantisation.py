# Fake quantisation by hooks, moving averages of parameters, stochastic depth, distillation, mixed dtypes.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class FakeQuant(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zp, qmin, qmax):
        q = torch.round(x / scale + zp)
        mask = (q >= qmin) & (q <= qmax)
        ctx.save_for_backward(mask)
        return (q.clamp(qmin, qmax) - zp) * scale

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0], None, None, None, None


class Observer(nn.Module):
    def __init__(s, momentum=0.1):
        super().__init__()
        s.register_buffer("lo", torch.tensor(float("inf")))
        s.register_buffer("hi", torch.tensor(float("-inf")))
        s.enabled = True

    @torch.no_grad()
    def update(s, x):
        s.lo.copy_(torch.min(s.lo, x.min()))
        s.hi.copy_(torch.max(s.hi, x.max()))

    def qparams(s):
        scale = (s.hi - s.lo).clamp(min=1e-8) / 255
        return scale, (-s.lo / scale).round()

    def forward(s, x):
        s.update(x.detach())
        sc, zp = s.qparams()
        return FakeQuant.apply(x, sc, zp, 0, 255)


net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
obs = nn.ModuleDict()


def attach(model):
    hs = []
    for n, m in model.named_modules():
        if isinstance(m, nn.Linear):
            k = n.replace(".", "_")
            obs[k] = Observer()
            hs.append(m.register_forward_hook(lambda m, i, o, k=k: obs[k](o)))

            def wpre(m, i):
                m._w = m.weight.data.clone()
                s = m._w.abs().max() / 127
                m.weight.data = (m._w / s).round().clamp(-128, 127) * s

            def wpost(m, i, o):
                m.weight.data = m._w

            hs += [m.register_forward_pre_hook(wpre), m.register_forward_hook(wpost)]
    return hs


hs = attach(net)
opt = torch.optim.SGD(net.parameters(), 0.1)
x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
for i in range(4):
    opt.zero_grad()
    l = F.cross_entropy(net(x), y)
    l.backward()
    opt.step()
    print(f"{l.item():.5f}")
print(obs, {k: (round(v.lo.item(), 4), round(v.hi.item(), 4)) for k, v in obs.items()}, list(obs.state_dict()))
for h in hs:
    h.remove()


# EMA
class EMA:
    def __init__(s, model, decay):
        s.decay, s.shadow = decay, {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        s.backup = {}

    @torch.no_grad()
    def update(s, model):
        for n, p in model.named_parameters():
            s.shadow[n].mul_(s.decay).add_(p, alpha=1 - s.decay)

    def apply(s, model):
        s.backup = {n: p.data for n, p in model.named_parameters()}
        [setattr(p, "data", s.shadow[n]) for n, p in model.named_parameters()]

    def restore(s, model):
        [setattr(p, "data", s.backup[n]) for n, p in model.named_parameters()]


ema = EMA(net, 0.9)
opt.register_step_post_hook(lambda o, a, k: ema.update(net))
for i in range(3):
    opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
    opt.step()
a = net(x).sum().item()
ema.apply(net)
b = net(x).sum().item()
ema.restore(net)
print(f"{a:.5f} {b:.5f}", a == net(x).sum().item())
from torch.optim.swa_utils import AveragedModel

sw = AveragedModel(net)
sw.update_parameters(net)
print(sw.n_averaged, list(sw.state_dict())[:2])


# stochastic depth / DropConnect
class DropPath(nn.Module):
    def __init__(s, p):
        super().__init__()
        s.p = p

    def forward(s, x):
        if not s.training or s.p == 0:
            return x
        keep = 1 - s.p
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).uniform_() < keep
        return x / keep * mask

    def extra_repr(s):
        return f"p={s.p}"


torch.manual_seed(1)
d = DropPath(0.5)
print(d, d(torch.ones(6, 2))[:, 0], d.eval()(torch.ones(2, 1)).flatten())
# teacher-student: distillation w/ hooks
T, S = (
    nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)),
    nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)),
)
T.requires_grad_(False).eval()
f = {}
T[1].register_forward_hook(lambda m, i, o: f.__setitem__("t", o))
S[1].register_forward_hook(lambda m, i, o: f.__setitem__("s", o))
proj = nn.Linear(6, 16)
opt = torch.optim.AdamW([{"params": S.parameters()}, {"params": proj.parameters(), "lr": 1e-2}], lr=3e-3)
for i in range(3):
    lt, ls = T(x), S(x)
    loss = F.kl_div(F.log_softmax(ls / 2, -1), F.softmax(lt / 2, -1), reduction="batchmean") * 4 + F.mse_loss(
        proj(f["s"]), f["t"]
    )
    opt.zero_grad()
    loss.backward()
    opt.step()
    print(f"{loss:.5f}")
print(opt)
print(T[0].weight.grad, [g["lr"] for g in opt.param_groups], opt.state_dict()["state"][0]["step"])
# mixed style: model.half, bfloat16 forward hooks cast
m = nn.Linear(3, 3).to(torch.bfloat16)
m.register_forward_pre_hook(lambda m, a: tuple(t.to(m.weight.dtype) for t in a))
m.register_forward_hook(lambda m, a, o: o.float())
o = m(torch.ones(1, 3))
print(o.dtype, m.weight.dtype)
o.sum().backward()
print(m.weight.grad.dtype)
print(
    nn.Linear(2, 2).double().weight.dtype,
    nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)).half().state_dict()["1.num_batches_tracked"].dtype,
)
