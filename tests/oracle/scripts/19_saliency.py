# Saliency, Grad-CAM and activation statistics from hooks.
import torch
from torch import nn

torch.manual_seed(19)
net = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.AvgPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.LogSoftmax(dim=1),
)  # fmt: skip
net.eval()
stats, kept = [], {}


def statistics(name):
    def hook(module, args, output):
        o = output.detach()
        stats.append(f"{name:<20} {tuple(o.shape)!s:<15} {o.mean():+.4f} {o.std():.4f} {(o == 0).float().mean():.2f}")

    return hook


for name, module in net.named_children():
    module.register_forward_hook(statistics(f"{name} {type(module).__name__}"))
net[5].register_forward_hook(lambda m, a, o: kept.update(maps=o))
net[5].register_full_backward_hook(lambda m, gi, go: kept.update(grads=go[0]))
picture = torch.rand(1, 3, 10, 10, requires_grad=True)
score = net(picture)
best = score.argmax(1).item()
score[0, best].backward()
print("\n".join(stats))
weights = kept["grads"].mean((2, 3), keepdim=True)
cam = (weights * kept["maps"]).sum(1).relu().squeeze(0)
print(best, cam)
saliency = picture.grad.abs().amax(1).squeeze(0)
print(saliency.shape, saliency.max(), saliency[4])
