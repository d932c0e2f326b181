# An optimizer of one's own with hooks and state dicts; what optimizers refuse; five steps of each one.
import copy
import warnings

import torch
import torch.nn as nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

torch.manual_seed(0)


class MySGD(Optimizer):
    def __init__(self, params, lr=1e-2, wd=0.0):
        if lr < 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        super().__init__(params, dict(lr=lr, wd=wd))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for g in self.param_groups:
            for p in g["params"]:
                if p.grad is None:
                    continue
                st = self.state[p]
                if len(st) == 0:
                    st["step"] = 0
                    st["buf"] = torch.zeros_like(p)
                st["step"] += 1
                st["buf"].mul_(0.9).add_(p.grad + g["wd"] * p)
                p.add_(st["buf"], alpha=-g["lr"])
        return loss


m = nn.Linear(3, 1)
o = MySGD([{"params": [m.weight], "lr": 0.1}, {"params": m.bias}], lr=0.01)
print(o, o.defaults)
log = []
h1 = o.register_step_pre_hook(lambda opt, a, k: log.append(("pre", type(opt).__name__, len(a), k)))
h2 = o.register_step_post_hook(lambda opt, a, k: log.append("post"))
g1 = register_optimizer_step_pre_hook(lambda opt, a, k: log.append("gpre"))
g2 = register_optimizer_step_post_hook(lambda opt, a, k: log.append("gpost"))
x, y = torch.randn(8, 3), torch.randn(8, 1)


def closure():
    o.zero_grad()
    l = ((m(x) - y) ** 2).mean()
    l.backward()
    log.append("closure")
    return l


for _ in range(2):
    print(f"{o.step(closure).item():.6f}")
print(log)
[h.remove() for h in (h1, h2, g1, g2)]
log.clear()
o.step()
print(log, o.state[m.weight]["step"])
sd = o.state_dict()
print(
    sd["param_groups"],
    {k: {a: (b if not torch.is_tensor(b) else tuple(b.shape)) for a, b in v.items()} for k, v in sd["state"].items()},
)
o2 = MySGD([{"params": [m.weight]}, {"params": m.bias}])
o2.register_state_dict_pre_hook(lambda opt: log.append("sdpre"))
o2.register_state_dict_post_hook(lambda opt, s: log.append(("sdpost", list(s))))
o2.register_load_state_dict_pre_hook(lambda opt, s: log.append("lpre"))
o2.register_load_state_dict_post_hook(lambda opt: log.append("lpost"))
o2.load_state_dict(sd)
o2.state_dict()
print(log, o2.param_groups[0]["lr"])
o.add_param_group({"params": [nn.Parameter(torch.ones(1))], "wd": 0.5})
print(len(o.param_groups), o.param_groups[2]["lr"])
for bad in (
    lambda: MySGD([]),
    lambda: MySGD(m.weight),
    lambda: MySGD([torch.ones(1)]) and None,
    lambda: MySGD([m.weight * 2]),
    lambda: MySGD([{"params": [m.weight]}, {"params": [m.weight]}]),
    lambda: MySGD([1]),
    lambda: MySGD([m.weight], lr=-1),
    lambda: o2.load_state_dict({"state": {}, "param_groups": []}),
    lambda: torch.optim.SGD(m.parameters(), lr=-1),
    lambda: torch.optim.SGD(m.parameters(), lr=0.1, nesterov=True),
    lambda: torch.optim.Adam(m.parameters(), betas=(1.5, 0.9)),
    lambda: torch.optim.Adam(m.parameters(), eps=-1),
    lambda: torch.optim.SGD(m.parameters(), 0.1, foreach=True, fused=True),
    lambda: o.add_param_group({"params": {m.weight}}),
    lambda: torch.optim.SGD({m.weight}, 0.1),
    lambda: torch.optim.SGD([{"param": 1}], 0.1),
    lambda: torch.optim.SGD([m.weight, m.weight], 0.1),
):
    try:
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            print("fine", bad() is None, [str(i.message)[:60] for i in w])
    except Exception as e:
        print(type(e).__name__, str(e)[:160])
for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"):
    if not hasattr(torch.optim, name):
        print("no", name)
        continue
    torch.manual_seed(1)
    m = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    kw = {"lr": 0.05}
    op = getattr(torch.optim, name)(m.parameters(), **kw)
    ls = []
    for i in range(5):

        def c():
            op.zero_grad()
            l = ((m(x) - y) ** 2).mean()
            l.backward()
            return l

        ls.append(round(op.step(c).item(), 5))
    print(name, ls, sorted(op.state[m[0].weight]) if name != "LBFGS" else len(op.state), f"{m[0].weight.norm():.5f}")
    d = copy.deepcopy(op.state_dict())
    op.load_state_dict(d)
    print(op)
p = nn.Parameter(torch.ones(2))
a = torch.optim.SGD([p], 0.1, maximize=True, weight_decay=0.1, dampening=0.2, momentum=0.5)
p.grad = torch.ones(2)
a.step()
a.step()
print(p)
p.grad = None
a.step()
print(p)
a = torch.optim.Adam([("w", p)], 0.1, amsgrad=True)
p.grad = torch.ones(2)
a.step()
print(p, sorted(a.state[p]), a.param_groups[0].get("param_names"))
a.zero_grad(set_to_none=False)
print(p.grad)
