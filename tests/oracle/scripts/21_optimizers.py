# SGD, Adam and AdamW side by side, with groups, weight decay, state saved and loaded.
import torch
from torch import nn, optim


def train(make, steps=4):
    torch.manual_seed(21)
    net = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    optimizer = make(net)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    return net, optimizer


for name, make in {
    "sgd": lambda n: optim.SGD(n.parameters(), lr=0.1),
    "momentum": lambda n: optim.SGD(n.parameters(), lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda n: optim.SGD(n.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "maximize": lambda n: optim.SGD(n.parameters(), lr=0.1, maximize=True),
    "adam": lambda n: optim.Adam(n.parameters(), lr=0.02),
    "amsgrad": lambda n: optim.Adam(n.parameters(), lr=0.02, amsgrad=True, weight_decay=0.1),
    "adamw": lambda n: optim.AdamW(n.parameters(), lr=0.02, weight_decay=0.1),
    "groups": lambda n: optim.Adam([{"params": n[0].parameters(), "lr": 0.1}, {"params": n[2].parameters()}], lr=0.01),
}.items():
    net, optimizer = train(make)
    print(name, net[0].weight[0], net[2].bias)
    print([sorted(k for k in g if k != "params") for g in optimizer.param_groups][0][:3], len(optimizer.state))
net, optimizer = train(lambda n: optim.Adam(n.parameters(), lr=0.02))
saved = optimizer.state_dict()
other = optim.Adam(net.parameters(), lr=0.5)
other.load_state_dict(saved)
print(other.param_groups[0]["lr"], other.state[net[0].weight]["exp_avg"])
print(optim.SGD(net.parameters(), lr=0.1))


def closure():
    loss = net(torch.ones(1, 3)).pow(2).sum()
    optimizer.zero_grad()
    loss.backward()
    return loss


print(optimizer.step(closure))
