# A small regression trained with Adam, watched by hooks.
import torch
from torch import nn, optim

torch.manual_seed(9)
x = torch.linspace(-3, 3, 64).unsqueeze(1)
y = torch.sin(x) + 0.1 * torch.randn(64, 1)
net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 1))
dead = {}
net[3].register_forward_hook(lambda m, a, o: dead.update(share=(o.abs() < 0.05).float().mean().item()))
norms = []
for p in net.parameters():
    p.register_hook(lambda g: norms.append(g.norm().item()))
optimizer = optim.Adam(net.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=1e-4)
loss_fn = nn.MSELoss()
for step in range(60):
    norms.clear()
    loss = loss_fn(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 0:
        print(f"{step:3d} loss {loss.item():.4f} grad {sum(n * n for n in norms) ** 0.5:.3f} quiet {dead['share']:.2f}")
state = optimizer.state_dict()
print(sorted(state), sorted(state["state"][0]), state["param_groups"][0]["lr"], state["param_groups"][0]["params"])
print(state["state"][0]["step"])
