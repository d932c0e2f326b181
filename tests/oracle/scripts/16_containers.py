# ModuleList, ModuleDict, ParameterList, Sequential: changed after they are made.
import torch
from torch import nn

torch.manual_seed(16)
seq = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
seq.append(nn.Linear(3, 1))
print(len(seq), seq[-1], seq[0:2], [type(m).__name__ for m in seq])
seq[1] = nn.Tanh()
print(seq)
del seq[0]
print(seq, [n for n, _ in seq.named_parameters()])
branches = nn.ModuleDict({"left": nn.Linear(2, 2), "right": nn.Identity()})
branches["middle"] = nn.LeakyReLU(0.2)
print(branches, list(branches.keys()), "left" in branches)
print(branches.pop("right"), list(branches))
layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
layers.extend([nn.Softmax(dim=1)])
layers.insert(0, nn.Flatten())
print(layers, len(layers))


class Mixture(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.full((2,), float(i))) for i in range(3)])
        self.scale = nn.Parameter(torch.ones(1))
        self.none = None
        self.register_parameter("optional", None)

    def forward(self, x):
        return sum(w @ x for w in self.weights) * self.scale


m = Mixture()
print(m)
m(torch.tensor([1.0, 2.0])).backward()
print([(n, p.grad) for n, p in m.named_parameters()])
m.scale = nn.Parameter(torch.zeros(1))
print(m(torch.ones(2)), list(m._parameters), m.optional)
try:
    m.scale = torch.zeros(1)
except TypeError:
    print("TypeError")
m.extra = nn.Linear(1, 1)
del m.scale
print(list(m._modules), hasattr(m, "scale"), sorted(m.state_dict()))
