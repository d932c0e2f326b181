# Deep copies, pickles, and what becomes of hooks and sharing.
import copy
import pickle

import torch
from torch import nn

torch.manual_seed(20)


def hook(module, args, output):
    print("hook of", type(module).__name__)


net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
net[0].register_forward_hook(hook)
twin = copy.deepcopy(net)
x = torch.ones(1, 2)
print(torch.equal(net(x), twin(x)), twin[0].weight is net[0].weight, len(twin[0]._forward_hooks))
twin[0].weight.data.zero_()
print(net[0].weight.abs().sum() > 0)
tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
tied[1].weight = tied[0].weight
again = copy.deepcopy(tied)
print(again[0].weight is again[1].weight, len(list(again.parameters())))
t = torch.arange(3.0, requires_grad=True)
t.register_hook(lambda g: g * 100)
u = copy.deepcopy(t)
u.sum().backward()
print(u.grad, u.requires_grad)
data = pickle.dumps({"t": t.detach(), "p": nn.Parameter(torch.ones(2)), "i": torch.tensor([1, 2])})
print(pickle.loads(data))
plain = nn.Linear(2, 1)
loaded = pickle.loads(pickle.dumps(plain))
print(loaded, torch.equal(loaded.weight, plain.weight), loaded.weight.requires_grad)
try:
    copy.deepcopy(t * 2)
except RuntimeError:
    print("only leaves are copied")
shallow = copy.copy(net)
print(shallow[0] is net[0], shallow.__dict__.keys() == net.__dict__.keys())
