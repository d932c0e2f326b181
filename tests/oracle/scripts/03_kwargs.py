# Hooks that see and change keyword arguments.
import torch
from torch import nn


class Scale(nn.Module):
    def forward(self, x, factor=1.0, *, shift=None):
        y = x * factor
        return y if shift is None else y + shift


scale = Scale()


def pre(module, args, kwargs):
    print("pre", len(args), sorted(kwargs))
    return args, {**kwargs, "shift": torch.tensor(100.0)}


def post(module, args, kwargs, output):
    print("post", len(args), sorted(kwargs), kwargs["shift"])
    return output / 2


x = torch.tensor([1.0, 2.0])
print(scale(x, factor=3.0))
handles = [scale.register_forward_pre_hook(pre, with_kwargs=True), scale.register_forward_hook(post, with_kwargs=True)]
print(scale(x, factor=3.0))
print(scale(x, 2.0, shift=torch.tensor(1.0)))
print(len(scale._forward_hooks_with_kwargs), len(scale._forward_pre_hooks_with_kwargs))
for handle in handles:
    handle.remove()
print(len(scale._forward_hooks_with_kwargs), len(scale._forward_pre_hooks_with_kwargs))
print(scale(x, shift=1))
