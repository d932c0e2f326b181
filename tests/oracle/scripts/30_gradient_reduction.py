# Gradients reduced in buckets, by hooks of accumulators and after accumulation; steps in backward; multi-grad hooks.
import torch
import torch.nn as nn

torch.manual_seed(0)


# DDP-like bucketing by AccumulateGrad node hooks
class Reducer:
    def __init__(self, module, bucket_cap=20):
        self.module = module
        self.grad_accs = []
        self.buckets, cur, size = [], [], 0
        for p in reversed([p for p in module.parameters() if p.requires_grad]):
            if size + p.numel() > bucket_cap and cur:
                self.buckets.append(cur)
                cur, size = [], 0
            cur.append(p)
            size += p.numel()
        self.buckets.append(cur)
        self.where = {id(p): i for i, b in enumerate(self.buckets) for p in b}
        self.names = {id(p): n for n, p in module.named_parameters()}
        self.pending = [len(b) for b in self.buckets]
        self.log = []
        for p in module.parameters():
            if p.requires_grad:
                p_tmp = p.expand_as(p)
                acc = p_tmp.grad_fn.next_functions[0][0]
                acc.register_hook(self.make_hook(p))
                self.grad_accs.append(acc)

    def make_hook(self, param):
        def hook(*unused):
            self.log.append(("ready", self.names[id(param)], len(unused), unused, param.grad is not None))
            i = self.where[id(param)]
            self.pending[i] -= 1
            if self.pending[i] == 0:
                flat = torch.cat([q.grad.reshape(-1) for q in self.buckets[i]])
                flat.div_(2)
                off = 0
                for q in self.buckets[i]:
                    q.grad.copy_(flat[off : off + q.numel()].view_as(q))
                    off += q.numel()
                self.log.append(("reduced", i, flat.numel()))
                self.pending[i] = len(self.buckets[i])
            if self.where and i == len(self.buckets) - 1:
                torch.autograd.Variable._execution_engine.queue_callback(lambda: self.log.append("final callback"))

        return hook


net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
r = Reducer(net)
x = torch.randn(5, 3)
for it in range(2):
    net.zero_grad()
    net(x).pow(2).mean().backward()
    for l in r.log:
        print(l)
    r.log.clear()
    print([f"{p.grad.norm():.5f}" for p in net.parameters()])
for a in r.grad_accs[:2]:
    print(a.name(), type(a).__name__, a.variable.shape, a.next_functions, a.variable is net[0].weight, a.metadata)

# DDP by post-accumulate hooks
net2 = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
order = []
names = {p: n for n, p in net2.named_parameters()}
for p in net2.parameters():
    p.register_post_accumulate_grad_hook(lambda p: order.append((names[p], p.grad.sum().item() > 0)))
net2(x).sum().backward()
print(order)
# optimizer in backward
opts = {p: torch.optim.SGD([p], lr=0.1, momentum=0.9) for p in net2.parameters()}


def step_hook(p):
    opts[p].step()
    opts[p].zero_grad()


hs = [p.register_post_accumulate_grad_hook(step_hook) for p in net2.parameters()]
for _ in range(3):
    l = net2(x).pow(2).mean()
    l.backward()
    print(f"{l.item():.6f}", [p.grad for p in net2.parameters()])
[h.remove() for h in hs]


# no_sync, unused params, find_unused
class Two(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = nn.Linear(2, 2)
        s.b = nn.Linear(2, 2)

    def forward(s, x, use_b=False):
        return s.b(s.a(x)) if use_b else s.a(x)


t = Two()
seen = set()


def find_used(out):
    todo, used, visited = [out.grad_fn], set(), set()
    while todo:
        f = todo.pop()
        if f is None or f in visited:
            continue
        visited.add(f)
        if hasattr(f, "variable"):
            used.add(f.variable)
        todo += [n for n, _ in f.next_functions]
    return used


for ub in (False, True):
    u = find_used(t(torch.ones(1, 2), ub))
    print(ub, [n for n, p in t.named_parameters() if p in u])
# hook on multi grads
ps = list(t.parameters())
calls = []
h = torch.autograd.graph.register_multi_grad_hook(
    ps, lambda grads: calls.append([None if g is None else tuple(g.shape) for g in grads])
)
t(torch.ones(1, 2), True).sum().backward()
t(torch.ones(1, 2), False).sum().backward()
print(calls)
h.remove()
t(torch.ones(1, 2), False).sum().backward()
print(len(calls))
calls.clear()
h = torch.autograd.graph.register_multi_grad_hook(ps, lambda g: calls.append(g.shape), mode="any")
t(torch.ones(1, 2), True).sum().backward()
print(calls)
try:
    torch.autograd.graph.register_multi_grad_hook(ps, print, mode="foo")
except Exception as e:
    print(type(e).__name__, e)
