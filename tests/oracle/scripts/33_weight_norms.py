# Weight standardisation and weight norm by forward pre-hooks; the library's norms; parametrizations, LoRA.
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


# weight standardisation via forward pre hook
def ws(m, inp):
    w = m.weight_raw
    m.weight = (w - w.mean(dim=[1, 2, 3], keepdim=True)) / (w.std(dim=(1, 2, 3), keepdim=True) + 1e-5)


conv = nn.Conv2d(3, 4, 3)
w = conv.weight
del conv._parameters["weight"]
conv.register_parameter("weight_raw", nn.Parameter(w.data))
conv.register_forward_pre_hook(ws)
y = conv(torch.randn(1, 3, 5, 5))
y.sum().backward()
print(
    conv, [n for n, _ in conv.named_parameters()], conv.weight.grad_fn.name(), conv.weight_raw.grad.abs().sum() < 1e-3
)
print("weight" in conv.__dict__, conv.weight.mean((1, 2, 3)).abs() < 1e-6)


# old weight_norm as hook class
class WeightNorm:
    def __init__(self, name, dim):
        self.name, self.dim = name, dim

    def compute(self, m):
        g, v = getattr(m, self.name + "_g"), getattr(m, self.name + "_v")
        return v * (g / v.norm(2, dim=1, keepdim=True))

    @staticmethod
    def apply(m, name, dim=0):
        for k, h in m._forward_pre_hooks.items():
            if isinstance(h, WeightNorm) and h.name == name:
                raise RuntimeError("Cannot register two weight_norm hooks")
        fn = WeightNorm(name, dim)
        weight = getattr(m, name)
        del m._parameters[name]
        m.register_parameter(name + "_g", nn.Parameter(weight.norm(2, dim=1, keepdim=True).data))
        m.register_parameter(name + "_v", nn.Parameter(weight.data))
        setattr(m, name, fn.compute(m))
        m.register_forward_pre_hook(fn)
        return fn

    def remove(self, m):
        weight = self.compute(m)
        delattr(m, self.name)
        del m._parameters[self.name + "_g"], m._parameters[self.name + "_v"]
        setattr(m, self.name, nn.Parameter(weight.data))

    def __call__(self, m, inputs):
        setattr(m, self.name, self.compute(m))


lin = nn.Linear(3, 2)
x = torch.randn(4, 3)
before = lin(x)
WeightNorm.apply(lin, "weight")
print(torch.allclose(before, lin(x), atol=1e-6), list(lin.state_dict()))
try:
    WeightNorm.apply(lin, "weight")
except RuntimeError as e:
    print(e)
for k, h in list(lin._forward_pre_hooks.items()):
    h.remove(lin)
    del lin._forward_pre_hooks[k]
print(torch.allclose(before, lin(x), atol=1e-6), list(lin.state_dict()), lin._forward_pre_hooks)
# library functions
l2 = nn.utils.weight_norm(nn.Linear(3, 2), name="weight")
print(l2, list(l2.state_dict()))
l2(x).sum().backward()
print(l2.weight_g.grad.shape)
nn.utils.remove_weight_norm(l2)
print(list(l2.state_dict()), len(l2._forward_pre_hooks))
l3 = nn.utils.spectral_norm(nn.Linear(3, 2))
l3(x)
print(list(l3.state_dict()))
try:
    nn.utils.spectral_norm(l3)
except RuntimeError as e:
    print(e)
nn.utils.remove_spectral_norm(l3)
print(list(l3.state_dict()))
try:
    nn.utils.remove_spectral_norm(l3)
except ValueError as e:
    print(str(e)[:40])
from torch.nn.utils import parametrizations as P
from torch.nn.utils import parametrize

l4 = P.weight_norm(nn.Linear(3, 2))
print(l4, list(l4.state_dict()))
l4(x).sum().backward()
print(l4.parametrizations.weight.original0.grad.shape)
l5 = P.spectral_norm(nn.Linear(3, 2), n_power_iterations=3)
print(type(l5).__name__, l5.weight.shape, list(l5.state_dict()))
l6 = P.orthogonal(nn.Linear(3, 3))
print(torch.allclose(l6.weight.T @ l6.weight, torch.eye(3), atol=1e-5))


class Sym(nn.Module):
    def forward(self, X):
        return X.triu() + X.triu(1).transpose(-1, -2)

    def right_inverse(self, A):
        return A.triu()


l7 = nn.Linear(3, 3)
parametrize.register_parametrization(l7, "weight", Sym())
A = l7.weight
print(torch.allclose(A, A.T), A.grad_fn is not None)
print(l7)
l7.weight = torch.arange(9.0).reshape(3, 3)
print(l7.weight, l7.parametrizations.weight.original)
with parametrize.cached():
    print(l7.weight is l7.weight)
print(l7.weight is l7.weight, parametrize.is_parametrized(l7), parametrize.is_parametrized(l7, "bias"))
parametrize.remove_parametrizations(l7, "weight", leave_parametrized=False)
print(l7, l7.weight, type(l7))


# LoRA by parametrize and by hook
class LoRA(nn.Module):
    def __init__(self, i, o, r=2):
        super().__init__()
        self.A = nn.Parameter(torch.randn(r, i) * 0.1)
        self.B = nn.Parameter(torch.zeros(o, r))
        self.on = True

    def forward(self, W):
        return W + self.B @ self.A if self.on else W


net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
for m in net:
    if isinstance(m, nn.Linear):
        parametrize.register_parametrization(m, "weight", LoRA(m.in_features, m.out_features))
for n, p in net.named_parameters():
    p.requires_grad = ".A" in n or ".B" in n
print([n for n, p in net.named_parameters() if p.requires_grad])
opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.05)
xx, yy = torch.randn(16, 4), torch.randint(0, 2, (16,))
for i in range(3):
    l = F.cross_entropy(net(xx), yy)
    opt.zero_grad()
    l.backward()
    opt.step()
    print(f"{l.item():.5f}")
base = nn.Linear(4, 2)
base.requires_grad_(False)
A, B = nn.Linear(4, 1, bias=False), nn.Linear(1, 2, bias=False)
nn.init.ones_(B.weight)
h = base.register_forward_hook(lambda m, a, o: o + B(A(a[0])))
base(xx).sum().backward()
print(base.weight.grad, A.weight.grad)
h.remove()
print(base(xx).requires_grad)
