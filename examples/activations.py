# Train a small convnet to tell shapes apart, then look inside it: what every layer makes of one picture, and which
# gradient flows back to it. Forward hooks and tensor hooks fetch both; the model itself knows nothing of it.
#
#     python -m hookgrad examples/activations.py out/activations.png     (or plain python, with PyTorch installed)
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE = 24
SHAPES = ["disc", "ring", "square", "cross"]


def draw(kinds):
    """A noisy picture (1, SIZE, SIZE) of each kind of shape, its place and size drawn at random."""
    n = len(kinds)
    grid = torch.arange(SIZE).float()
    x0, y0 = (torch.rand(2, n, 1, 1) * 8 + SIZE / 2 - 4).unbind(0)
    size = torch.rand(n, 1, 1) * 3 + 5
    dx, dy = (grid.view(1, 1, -1) - x0).abs(), (grid.view(1, -1, 1) - y0).abs()
    r = (dx**2 + dy**2).sqrt()
    pictures = torch.stack(
        [
            r < size,
            (r - size).abs() < 1.3,
            torch.maximum(dx, dy) < size * 0.9,
            (torch.minimum(dx, dy) < 1.6) & (torch.maximum(dx, dy) < size),
        ]
    )
    chosen = pictures[kinds, torch.arange(n)].float()
    return (chosen + 0.15 * torch.randn(n, SIZE, SIZE)).unsqueeze(1)


torch.manual_seed(0)
net = nn.Sequential(
    nn.Conv2d(1, 8, 5, padding=2),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(8 * 6 * 6, len(SHAPES)),
)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(60):
    kinds = torch.randint(0, len(SHAPES), (32,))
    loss = F.cross_entropy(net(draw(kinds)), kinds)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 15 == 0 or step == 59:
        print(f"step {step:2d}  loss {loss.item():.3f}")

with torch.no_grad():
    kinds = torch.randint(0, len(SHAPES), (200,))
    right = (net(draw(kinds)).argmax(1) == kinds).float().mean()
print(f"{right.item():.0%} of 200 new pictures recognised")

# Now the hooks. A forward hook keeps a layer's output, and asks that output for its gradient by a tensor hook.
activations, gradients = {}, {}


def watch(name):
    def hook(module, args, output):
        activations[name] = output.detach()
        output.register_hook(lambda grad: gradients.update({name: grad}))

    return hook


handles = [layer.register_forward_hook(watch(f"{i} {type(layer).__name__}")) for i, layer in enumerate(net[:6])]
kind = torch.tensor([3])
picture = draw(kind)
scores = net(picture)
F.cross_entropy(scores, kind).backward()
for handle in handles:
    handle.remove()

rows = [name for name in activations if "Conv" not in name]
fig, axes = plt.subplots(2 * len(rows), 9, figsize=(11, 2.5 * len(rows)), layout="constrained")
for ax in axes.flat:
    ax.axis("off")
axes[0, 0].imshow(picture[0, 0].numpy(), cmap="gray")
axes[0, 0].set_title("input", fontsize=9)
guess = SHAPES[scores.argmax().item()]
axes[1, 0].text(0, 0.5, f"a {SHAPES[kind.item()]},\ntaken for\na {guess}", fontsize=9, va="center")
for r, name in enumerate(rows):
    for c in range(8):
        ahead, back = axes[2 * r, c + 1], axes[2 * r + 1, c + 1]
        ahead.imshow(activations[name][0, c].numpy(), cmap="viridis", vmin=0)
        grad = gradients[name][0, c]
        limit = max(gradients[name].abs().max().item(), 1e-12)
        back.imshow(grad.numpy(), cmap="coolwarm", vmin=-limit, vmax=limit)
    axes[2 * r, 1].set_title(f"{name}: activations", fontsize=9, loc="left")
    axes[2 * r + 1, 1].set_title(f"{name}: gradients", fontsize=9, loc="left")

place = sys.argv[1] if len(sys.argv) > 1 else "activations.png"
fig.savefig(place, dpi=110)
