# torch.save and load: checkpoints, extra state, shared memory, strictness, assign, hooks that rename old keys.
import copy
import io
import os
import pickle
import tempfile

import torch
import torch.nn as nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.bn = nn.BatchNorm1d(3)
        self.register_buffer("tmp", torch.ones(1), persistent=False)
        self.extra = 5

    def forward(self, x):
        return self.bn(self.fc(x))

    def get_extra_state(self):
        return {"extra": self.extra}

    def set_extra_state(self, s):
        self.extra = s["extra"]


n = Net()
opt = torch.optim.Adam(n.parameters(), 0.01)
for _ in range(2):
    opt.zero_grad()
    n(torch.randn(4, 2)).pow(2).sum().backward()
    opt.step()
b = io.BytesIO()
torch.save(
    {
        "epoch": 3,
        "model": n.state_dict(),
        "opt": opt.state_dict(),
        "rng": torch.get_rng_state(),
        "best": 0.5,
        "list": [1, (2, "x")],
    },
    b,
)
b.seek(0)
ck = torch.load(b, weights_only=True)
print(ck.keys(), ck["model"].keys(), ck["opt"]["param_groups"], ck["list"])
n.extra = 0
m = Net()
m.extra = 0
print(m.load_state_dict(ck["model"]), m.extra)
o2 = torch.optim.Adam(m.parameters(), 0.5)
o2.load_state_dict(ck["opt"])
print(
    o2.param_groups[0]["lr"],
    o2.state[m.fc.weight]["step"],
    torch.equal(o2.state[m.fc.weight]["exp_avg"], opt.state[n.fc.weight]["exp_avg"]),
)
torch.set_rng_state(ck["rng"])
a = torch.rand(2)
torch.set_rng_state(ck["rng"])
print(torch.equal(a, torch.rand(2)))
with tempfile.TemporaryDirectory() as d:
    f = os.path.join(d, "m.pt")
    torch.save(n, f)
    k = torch.load(f, weights_only=False)
    print(type(k).__name__, k.fc.weight.equal(n.fc.weight), k)
    try:
        torch.load(f)
    except Exception as e:
        print(type(e).__name__, str(e)[:24])
    with open(f, "wb") as fh:
        torch.save(torch.arange(3), fh)
    print(
        torch.load(f),
        torch.load(f, map_location="cpu"),
        torch.load(f, map_location=torch.device("cpu")),
        torch.load(f, map_location=lambda s, l: s),
    )
    try:
        torch.load(os.path.join(d, "nope"))
    except FileNotFoundError as e:
        print(type(e).__name__, e.errno)
x = torch.arange(6.0)
v = x[2:4]
b = io.BytesIO()
torch.save([x, v], b)
b.seek(0)
x2, v2 = torch.load(b)
v2[0] = 99
print(x2)
p = nn.Parameter(torch.ones(2))
q = pickle.loads(pickle.dumps(p))
print(type(q), q.requires_grad)
t = torch.tensor([1.0], requires_grad=True)
t.foo = "bar"
print(pickle.loads(pickle.dumps(t)).__dict__)
c = copy.deepcopy(n)
c.fc.weight.data.zero_()
print(n.fc.weight.abs().sum() > 0, c.extra)
sd = n.state_dict()
print(type(sd), sd._metadata)
for bad in (
    lambda: n.load_state_dict({}),
    lambda: n.load_state_dict(5),
    lambda: n.load_state_dict({**sd, "zzz": 1}),
    lambda: n.load_state_dict({**sd, "fc.weight": 3}),
):
    try:
        print(bad())
    except Exception as e:
        print(type(e).__name__, e)
print(n.load_state_dict({**sd, "zzz": torch.ones(1)}, strict=False))
r = n.load_state_dict({"fc.weight": torch.ones(3, 2)}, strict=False)
print(r.missing_keys, r.unexpected_keys, n.fc.weight)
m = nn.Linear(2, 3)
w = m.weight
m.load_state_dict({"weight": torch.zeros(3, 2), "bias": torch.ones(3)}, assign=True)
print(m.weight is w, type(m.weight), m.weight.requires_grad)
with torch.device("meta") if 0 else torch.no_grad():
    print(nn.Linear(1, 1).weight.requires_grad)
sd2 = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).state_dict(prefix="net.", keep_vars=True)
print(list(sd2), type(sd2["net.0.weight"]))
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

consume_prefix_in_state_dict_if_present(sd2, "net.")
print(list(sd2))


class Renamer(nn.Module):
    def __init__(s):
        super().__init__()
        s.new = nn.Linear(1, 1)
        s._register_load_state_dict_pre_hook(s._ren)
        s.register_load_state_dict_pre_hook(lambda m, sd, *a: print("public", type(m).__name__, list(sd)))

    def _ren(s, sd, prefix, meta, strict, missing, unexpected, errs):
        for k in list(sd):
            if k.startswith(prefix + "old."):
                sd[k.replace("old.", "new.")] = sd.pop(k)


print(Renamer().load_state_dict({"old.weight": torch.ones(1, 1), "old.bias": torch.ones(1)}))
w = nn.Sequential(Renamer())
print(w.load_state_dict({"0.old.weight": torch.ones(1, 1), "0.old.bias": torch.ones(1)}))


class Ver(nn.Module):
    _version = 2

    def __init__(s):
        super().__init__()
        s.p = nn.Parameter(torch.ones(1))

    def _load_from_state_dict(s, sd, prefix, meta, *a):
        print("version", meta.get("version"), prefix)
        super()._load_from_state_dict(sd, prefix, meta, *a)


v = Ver()
v.load_state_dict(v.state_dict())
v.load_state_dict(dict(v.state_dict()))
