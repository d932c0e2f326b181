# Parameters sharded and gathered by hooks, gradients freed after accumulation, callbacks, pipelines, gradient edges.
from functools import partial

import torch
import torch.nn as nn

torch.manual_seed(0)
log = []


class Shard:
    """FSDP-like: flat parameter, unshard in pre-forward, reshard after, pre-backward via multi-grad hooks."""

    def __init__(self, module, name):
        self.module, self.name = module, name
        self.infos = [(n, p.shape, p.numel()) for n, p in module.named_parameters(recurse=False)]
        self.flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in module.parameters(recurse=False)]))
        for n, _, _ in self.infos:
            delattr(module, n)
        module.register_parameter("_flat", self.flat)
        module.register_forward_pre_hook(self.pre_forward)
        module.register_forward_hook(self.post_forward)
        self.flat.register_post_accumulate_grad_hook(self.post_grad)
        self.unsharded = False

    def unshard(self, why):
        if not self.unsharded:
            log.append((self.name, "unshard", why))
            self.unsharded = True
        for (n, s, k), v in zip(self.infos, torch.split(self.flat, [i[2] for i in self.infos])):
            object.__setattr__(self.module, n, v.view(s))

    def reshard(self, why):
        if self.unsharded:
            log.append((self.name, "reshard", why))
            self.unsharded = False

    def pre_forward(self, mod, args):
        self.unshard("pre_forward")

    def post_forward(self, mod, args, out):
        self.reshard("post_forward")
        if out.requires_grad:
            out.register_hook(lambda g: self.unshard("pre_backward"))

    def post_grad(self, p):
        log.append((self.name, "reduce", round(p.grad.norm().item(), 4)))
        self.reshard("post_backward")


net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
x = torch.randn(2, 3)
ref = net(x)
ref.sum().backward()
rg = [torch.cat([net[i].weight.grad.flatten(), net[i].bias.grad]) for i in (0, 2)]
sh = [Shard(net[0], "l0"), Shard(net[2], "l2")]
out = net(x)
print(torch.allclose(out, ref))
out.sum().backward()
print(*log, sep="\n")
print([torch.allclose(s.flat.grad, g) for s, g in zip(sh, rg)])
print([n for n, _ in net.named_parameters()], net[0].weight.shape, "weight" in net[0].__dict__)


# AccumulateGrad hooks registered in pre-forward: FSDP1
class F1(nn.Module):
    def __init__(s):
        super().__init__()
        s.p = nn.Parameter(torch.ones(4))

    def forward(s, x):
        return (x * s.p).sum()


f = F1()
hooks = []


def pre(m, args):
    e = m.p.expand_as(m.p)
    acc = e.grad_fn.next_functions[0][0]
    h = acc.register_hook(lambda *u: hooks.append("acc"))
    m._state = (acc, h)


f.register_forward_pre_hook(pre)
f(torch.ones(4)).backward()
f(torch.ones(4)).backward()
print(hooks, f.p.grad)
# ZeRO-like: partition grads
params = list(nn.Linear(4, 4).parameters()) + list(nn.Linear(4, 1).parameters())
owner = {p: i % 2 for i, p in enumerate(params)}
kept = {}


def free(p, rank=0):
    if owner[p] == rank:
        kept[[i for i, q in enumerate(params) if q is p][0]] = p.grad.clone()
    p.grad = None


for p in params:
    p.register_post_accumulate_grad_hook(free)
y = torch.ones(2, 4) @ params[0].t() + params[1]
(y @ params[2].t() + params[3]).sum().backward()
print({k: tuple(v.shape) for k, v in sorted(kept.items())}, [p.grad for p in params])


# root pre-backward queue callback
def root_cb():
    log.append("root final")


def queue(g):
    torch.autograd.Variable._execution_engine.queue_callback(root_cb)
    torch.autograd.Variable._execution_engine.queue_callback(partial(log.append, "second"))


log.clear()
a = torch.ones(1, requires_grad=True)
b = a * 2
b.register_hook(queue)
a.register_hook(lambda g: log.append("leaf"))
b.sum().backward()
print(log)
try:
    torch.autograd.Variable._execution_engine.queue_callback(root_cb)
except RuntimeError as e:
    print(e)


# register_multi_grad_hook on inputs of a module
class Wrap(nn.Module):
    def __init__(s, m):
        super().__init__()
        s.m = m
        s.register_forward_pre_hook(s._pre, with_kwargs=True)
        s.register_forward_hook(s._post)

    def _pre(s, mod, args, kwargs):
        ts = [t for t in (*args, *kwargs.values()) if torch.is_tensor(t) and t.requires_grad]
        if ts:
            torch.autograd.graph.register_multi_grad_hook(
                ts, lambda gs: log.append(("post_backward", len(gs), [g is not None for g in gs]))
            )
        return args, kwargs

    def _post(s, mod, args, out):
        torch.autograd.graph.register_multi_grad_hook(
            (out,), lambda g: log.append(("pre_backward", tuple(g.shape))), mode="any"
        )

    def forward(s, a, b=None):
        return s.m(a) + b


log.clear()
w = Wrap(nn.Linear(2, 2))
a, b = torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
w(a, b=b).sum().backward()
print(log)
a, b = torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
# gradient edges
from torch.autograd.graph import Node, get_gradient_edge, increment_version

e = get_gradient_edge(b)
print(type(e).__name__, e.node.name(), e.output_nr, isinstance(e.node, Node))
z = (b * 3).sum()
e2 = get_gradient_edge(z)
print(torch.autograd.grad(e2, get_gradient_edge(b)))
v = b._version
increment_version(b.detach())
print(b._version - v)


class Pipe(nn.Module):
    def __init__(s):
        super().__init__()
        s.st = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])


p = Pipe()
acts = []
mbs = torch.randn(4, 2).chunk(2)
for mb in mbs:
    o0 = p.st[0](mb)
    i1 = o0.detach().requires_grad_()
    o1 = p.st[1](i1)
    acts.append((o0, i1, o1))
for o0, i1, o1 in acts:
    o1.sum().backward()
    o0.backward(i1.grad)
g = [q.grad.clone() for q in p.parameters()]
p.zero_grad()
p.st[1](p.st[0](torch.cat(mbs))).sum().backward()
print(all(torch.allclose(a, q.grad, atol=1e-6) for a, q in zip(g, p.parameters())))
