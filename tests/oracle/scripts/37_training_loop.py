# Datasets, samplers and loaders; a training loop with clipping and a schedule; every schedule's first rates.
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

torch.manual_seed(42)


class Spiral(Dataset):
    def __init__(self, n, transform=None):
        g = torch.Generator().manual_seed(7)
        self.x = torch.randn(n, 2, generator=g)
        self.y = (self.x.norm(dim=1) > 1).long()
        self.t = transform

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        return (self.t(x) if self.t else x), self.y[i]


ds = Spiral(50, lambda x: x * 2)
tr, va = random_split(ds, [40, 10], generator=torch.Generator().manual_seed(1))
print(len(tr), va.indices)
print([len(s) for s in random_split(ds, [0.5, 0.3, 0.2], generator=torch.Generator().manual_seed(1))])
dl = DataLoader(tr, batch_size=16, shuffle=True, drop_last=False)
print(len(dl))
net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
sch = optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
for ep in range(5):
    net.train()
    tot = 0.0
    for xb, yb in dl:
        opt.zero_grad()
        l = F.cross_entropy(net(xb), yb)
        l.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        tot += l.item() * len(yb)
    sch.step()
    net.eval()
    with torch.no_grad():
        xv, yv = next(iter(DataLoader(va, batch_size=10)))
        acc = (net(xv).argmax(1) == yv).float().mean()
    print(f"epoch {ep} loss {tot / len(tr):.5f} acc {acc:.2f} lr {sch.get_last_lr()} {opt.param_groups[0]['lr']:.4f}")


def show(make, steps=8):
    m = nn.Linear(1, 1)
    o = optim.SGD(m.parameters(), lr=1.0)
    s = make(o)
    r = []
    for _ in range(steps):
        o.step()
        r.append(round(o.param_groups[0]["lr"], 6))
        s.step()
    print(type(s).__name__, r)


L = optim.lr_scheduler
for mk in (
    lambda o: L.MultiStepLR(o, [2, 4], 0.1),
    lambda o: L.ExponentialLR(o, 0.9),
    lambda o: L.CosineAnnealingLR(o, 5),
    lambda o: L.LambdaLR(o, lambda e: 1 / (e + 1)),
    lambda o: L.LinearLR(o, 0.1, total_iters=4),
    lambda o: L.ConstantLR(o, 0.5, 3),
    lambda o: L.OneCycleLR(o, max_lr=2.0, total_steps=10),
    lambda o: L.CyclicLR(o, 0.1, 1.0, step_size_up=3, cycle_momentum=False),
    lambda o: L.CosineAnnealingWarmRestarts(o, 3),
    lambda o: L.PolynomialLR(o, 5, 2.0),
    lambda o: L.SequentialLR(o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)], [2]),
    lambda o: L.ChainedScheduler([L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)]),
    lambda o: L.MultiplicativeLR(o, lambda e: 0.95),
):
    try:
        show(mk)
    except Exception as e:
        print(type(e).__name__, e)
m = nn.Linear(1, 1)
o = optim.SGD(m.parameters(), lr=1.0)
s = L.ReduceLROnPlateau(o, patience=1, factor=0.5)
for v in (1, 1, 1, 1, 0.5, 0.6, 0.7, 0.8):
    s.step(v)
    print(o.param_groups[0]["lr"], end=" ")
print(s.state_dict()["num_bad_epochs"])
print(
    list(BatchSampler(SequentialSampler(range(7)), 3, False)), list(BatchSampler(SequentialSampler(range(7)), 3, True))
)
torch.manual_seed(0)
print(
    list(RandomSampler(range(5))), list(WeightedRandomSampler([0.1, 0.9, 0.5], 5)), list(SubsetRandomSampler([3, 4, 9]))
)
td = TensorDataset(torch.arange(6.0), torch.arange(6) ** 2)
print(td[1:3], len(td), [b[0].tolist() for b in DataLoader(td, 4)])
print(len(ConcatDataset([td, td])), Subset(td, [5, 1])[0])


def coll(b):
    return torch.stack([t[0] for t in b]), [int(t[1]) for t in b]


print(next(iter(DataLoader(td, 3, collate_fn=coll))))
print(next(iter(DataLoader([{"a": i, "b": [i, float(i)], "c": "s%d" % i} for i in range(3)], batch_size=3))))
g = torch.Generator()
g.manual_seed(3)
print([b[0].tolist() for b in DataLoader(td, 2, shuffle=True, generator=g)])


class It(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(range(5))


print(list(DataLoader(It(), batch_size=2)))
