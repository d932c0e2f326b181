# A transformer with hook points: activation patching, ablation, logit lens, steering, a sparse autoencoder and a probe.
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)


class HookPoint(nn.Module):
    def __init__(self):
        super().__init__()
        self.fwd_hooks = []
        self.bwd_hooks = []
        self.ctx = {}
        self.name = None

    def add_hook(self, hook, dir="fwd"):
        if dir == "fwd":

            def full_hook(module, module_input, module_output):
                return hook(module_output, hook=self)

            handle = self.register_forward_hook(full_hook)
            self.fwd_hooks.append(handle)
        elif dir == "bwd":

            def full_hook(module, module_input, module_output):
                return hook(module_output[0], hook=self)

            handle = self.register_full_backward_hook(full_hook)
            self.bwd_hooks.append(handle)
        else:
            raise ValueError(f"Invalid direction {dir}")

    def remove_hooks(self):
        for h in self.fwd_hooks + self.bwd_hooks:
            h.remove()
        self.fwd_hooks, self.bwd_hooks = [], []

    def clear_context(self):
        self.ctx = {}

    def forward(self, x):
        return x


class Attention(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.dh = h, d // h
        self.W_Q = nn.Parameter(torch.randn(h, d, self.dh) / d**0.5)
        self.W_K = nn.Parameter(torch.randn(h, d, self.dh) / d**0.5)
        self.W_V = nn.Parameter(torch.randn(h, d, self.dh) / d**0.5)
        self.W_O = nn.Parameter(torch.randn(h, self.dh, d) / d**0.5)
        self.hook_q, self.hook_k, self.hook_v, self.hook_z, self.hook_pattern = (HookPoint() for _ in range(5))
        self.register_buffer("mask", torch.tril(torch.ones(16, 16)).bool(), persistent=False)
        self.register_buffer("IGNORE", torch.tensor(float("-inf")), persistent=False)

    def forward(self, x):
        q = self.hook_q(torch.einsum("bpd,hdk->bphk", x, self.W_Q))
        k = self.hook_k(torch.einsum("bpd,hdk->bphk", x, self.W_K))
        v = self.hook_v(torch.einsum("bpd,hdk->bphk", x, self.W_V))
        s = torch.einsum("bqhk,bphk->bhqp", q, k) / math.sqrt(self.dh)
        n = x.shape[1]
        s = torch.where(self.mask[:n, :n], s, self.IGNORE)
        a = self.hook_pattern(s.softmax(-1))
        z = self.hook_z(torch.einsum("bhqp,bphk->bqhk", a, v))
        return torch.einsum("bqhk,hkd->bqd", z, self.W_O)


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = Attention(d, h)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d))
        self.hook_resid_pre, self.hook_resid_post = HookPoint(), HookPoint()

    def forward(self, x):
        x = self.hook_resid_pre(x)
        x = x + self.attn(self.ln1(x))
        return self.hook_resid_post(x + self.mlp(self.ln2(x)))


class HookedTransformer(nn.Module):
    def __init__(self, v=11, d=8, h=2, n=2):
        super().__init__()
        self.embed, self.pos = nn.Embedding(v, d), nn.Embedding(16, d)
        self.blocks = nn.ModuleList([Block(d, h) for _ in range(n)])
        self.ln_f = nn.LayerNorm(d)
        self.unembed = nn.Linear(d, v, bias=False)
        for name, m in self.named_modules():
            if isinstance(m, HookPoint):
                m.name = name
        self.hook_dict = {n: m for n, m in self.named_modules() if isinstance(m, HookPoint)}

    def forward(self, t):
        x = self.embed(t) + self.pos(torch.arange(t.size(1)))
        for b in self.blocks:
            x = b(x)
        return self.unembed(self.ln_f(x))

    def run_with_cache(self, t):
        cache = {}

        def save(x, hook):
            cache[hook.name] = x.detach()

        for hp in self.hook_dict.values():
            hp.add_hook(save)
        out = self(t)
        self.reset()
        return out, cache

    def run_with_hooks(self, t, fwd_hooks=(), bwd_hooks=()):
        for n, f in fwd_hooks:
            self.hook_dict[n].add_hook(f)
        for n, f in bwd_hooks:
            self.hook_dict[n].add_hook(f, "bwd")
        try:
            return self(t)
        finally:
            if not bwd_hooks:
                self.reset()

    def reset(self):
        for hp in self.hook_dict.values():
            hp.remove_hooks()


model = HookedTransformer()
clean = torch.tensor([[1, 2, 3, 4]])
corrupt = torch.tensor([[1, 9, 3, 4]])
lc, cc = model.run_with_cache(clean)
lx, cx = model.run_with_cache(corrupt)
print(list(cc))
print(lc[0, -1])
metric = lambda l: (l[0, -1, 5] - l[0, -1, 6]).item()
print("clean %.5f corrupt %.5f" % (metric(lc), metric(lx)))
res = torch.zeros(2, 4)
for L in range(2):
    for p in range(4):

        def patch(x, hook, p=p):
            x[:, p] = cc[hook.name][:, p]
            return x

        res[L, p] = metric(model.run_with_hooks(corrupt, [(f"blocks.{L}.hook_resid_pre", patch)]))
print(res)


def ablate(z, hook):
    z = z.clone()
    z[:, :, 0] = 0.0
    return z


print(round(metric(model.run_with_hooks(clean, [("blocks.0.attn.hook_z", ablate)])), 4))
print(cc["blocks.1.attn.hook_pattern"][0])
# logit lens
for n in ("blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"):
    with torch.no_grad():
        print(n, model.unembed(model.ln_f(cc[n]))[0, -1].topk(3))
# steering
v = torch.randn(8)
print(round(metric(model.run_with_hooks(clean, [("blocks.0.hook_resid_post", lambda x, hook: x + 3 * v)])), 4))
# attribution patching with grads
g = {}


def gsave(x, hook):
    g[hook.name] = x.detach().clone()


out = model.run_with_hooks(corrupt, bwd_hooks=[(n, gsave) for n in model.hook_dict if "resid" in n or "hook_z" in n])
(out[0, -1, 5] - out[0, -1, 6]).backward()
model.reset()
for n in g:
    print(n, ((cc[n] - cx[n]) * g[n]).flatten(2).sum(-1) if g[n].dim() > 2 else None)
# training a SAE
acts = torch.cat(
    [model.run_with_cache(torch.randint(0, 11, (8, 6)))[1]["blocks.0.hook_resid_post"].reshape(-1, 8) for _ in range(3)]
)
enc, dec = nn.Linear(8, 24), nn.Linear(24, 8)
opt = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=1e-2)
for i in range(20):
    f = F.relu(enc(acts))
    r = dec(f)
    loss = F.mse_loss(r, acts) + 1e-2 * f.abs().sum(-1).mean()
    opt.zero_grad()
    loss.backward()
    dec.weight.grad -= (
        (dec.weight.grad * dec.weight.data).sum(0, keepdim=True)
        * dec.weight.data
        / dec.weight.data.norm(dim=0, keepdim=True) ** 2
    )
    opt.step()
    with torch.no_grad():
        dec.weight.div_(dec.weight.norm(dim=0, keepdim=True))
    if i % 5 == 0:
        print(i, f"{loss.item():.5f}", f"L0 {(f > 0).float().sum(-1).mean():.3f}")
# linear probe
y = torch.randint(0, 2, (acts.size(0),)).float()
probe = nn.Linear(8, 1)
o = torch.optim.SGD(probe.parameters(), lr=0.5, momentum=0.9)
for _ in range(30):
    l = F.binary_cross_entropy_with_logits(probe(acts).squeeze(-1), y)
    o.zero_grad(set_to_none=True)
    l.backward()
    o.step()
print(f"{l:.5f}", ((probe(acts).squeeze() > 0).float() == y).float().mean())
