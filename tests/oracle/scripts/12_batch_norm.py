# Normalising layers in training and evaluation, their running statistics, and gradients through them.
import torch
from torch import nn

torch.manual_seed(12)
bn = nn.BatchNorm2d(3, momentum=0.3)
x = torch.randn(4, 3, 2, 2) * 2 + 1
print(bn, bn.running_mean, bn.running_var, bn.num_batches_tracked)
y = bn(x)
print(y.mean((0, 2, 3)).abs().max() < 1e-6, y.var((0, 2, 3), unbiased=False))
print(bn.running_mean, bn.running_var, bn.num_batches_tracked)
bn.eval()
print(bn(x)[0, 0], type(bn(x).grad_fn).__name__)
ln = nn.LayerNorm([2, 2])
z = torch.randn(2, 2, 2, requires_grad=True)
out = ln(z)
print(out, ln)
(out * torch.arange(8.0).view(2, 2, 2)).sum().backward()
print(z.grad, ln.weight.grad, ln.bias.grad)
b1 = nn.BatchNorm1d(2, affine=False, track_running_stats=False)
w = torch.randn(5, 2, requires_grad=True)
b1(w).pow(3).sum().backward()
print(b1, w.grad, b1.running_mean)
drop = nn.Dropout(0.5)
drop.eval()
print(drop, torch.equal(drop(x), x), nn.Dropout(0.0)(x).equal(x))
