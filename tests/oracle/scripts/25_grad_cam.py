# Grad-CAM, guided backpropagation, integrated gradients and SmoothGrad, each by hooks that are taken off again.
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


class GradCAM:
    def __init__(self, model, target_layer):
        self.model = model
        self.activations = None
        self.gradients = None
        self.handles = [
            target_layer.register_forward_hook(self._save_activation),
            target_layer.register_full_backward_hook(self._save_gradient),
        ]

    def _save_activation(self, module, inp, out):
        self.activations = out.detach()

    def _save_gradient(self, module, grad_in, grad_out):
        self.gradients = grad_out[0].detach()

    def __call__(self, x, class_idx=None):
        logits = self.model(x)
        if class_idx is None:
            class_idx = logits.argmax(dim=1)
        self.model.zero_grad()
        score = logits.gather(1, class_idx.view(-1, 1)).sum()
        score.backward(retain_graph=True)
        weights = self.gradients.mean(dim=(2, 3), keepdim=True)
        cam = F.relu((weights * self.activations).sum(dim=1, keepdim=True))
        cam = cam.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        cam -= cam.amin(dim=(2, 3), keepdim=True)
        cam /= cam.amax(dim=(2, 3), keepdim=True) + 1e-8
        return cam, class_idx

    def close(self):
        for h in self.handles:
            h.remove()


net = nn.Sequential(
    OrderedDict(
        [
            ("conv1", nn.Conv2d(3, 8, 3, padding=1)),
            ("bn1", nn.BatchNorm2d(8)),
            ("relu1", nn.ReLU()),
            ("pool1", nn.MaxPool2d(2)),
            ("conv2", nn.Conv2d(8, 16, 3, padding=1)),
            ("relu2", nn.ReLU()),
            ("gap", nn.AdaptiveAvgPool2d(1)),
            ("flat", nn.Flatten()),
            ("fc", nn.Linear(16, 5)),
        ]
    )
)
net.eval()
print(net)
x = torch.randn(2, 3, 8, 8)
cam = GradCAM(net, net.conv2)
m, idx = cam(x)
print(m.shape, idx, m.sum().item() > 0)
print(m[0, 0, :3])
cam.close()
print(len(net.conv2._forward_hooks), len(net.conv2._backward_hooks))


class GuidedBackprop:
    def __init__(self, model):
        self.model = model
        self.handles = []
        self.relu_outputs = []
        for name, mod in model.named_modules():
            if isinstance(mod, nn.ReLU):
                self.handles.append(mod.register_forward_hook(lambda m, i, o: self.relu_outputs.append(o)))
                self.handles.append(mod.register_full_backward_hook(self._bw))

    def _bw(self, module, grad_in, grad_out):
        out = self.relu_outputs.pop()
        mask = (out > 0).type_as(out)
        return (mask * torch.clamp(grad_in[0], min=0.0),)

    def __call__(self, x, cls):
        x = x.clone().requires_grad_(True)
        out = self.model(x)
        one_hot = torch.zeros_like(out)
        one_hot[torch.arange(len(x)), cls] = 1
        out.backward(gradient=one_hot)
        return x.grad


g = GuidedBackprop(net)(x, idx)
print(g.abs().sum(dim=(1, 2, 3)))
print(g[0, 0, 0])
sal, _ = g.abs().max(dim=1)
print(sal.shape, sal[0, 0])


def integrated_gradients(model, x, cls, steps=8):
    base = torch.zeros_like(x)
    total = torch.zeros_like(x)
    for a in torch.linspace(0, 1, steps):
        xi = (base + a * (x - base)).requires_grad_()
        out = model(xi)[torch.arange(x.size(0)), cls].sum()
        total += torch.autograd.grad(out, xi)[0]
    return (x - base) * total / steps


for m_ in net.modules():
    m_._backward_hooks.clear()
    m_._forward_hooks.clear()
ig = integrated_gradients(net, x, idx)
print(ig.sum(dim=(1, 2, 3)), ig.flatten()[:5])


def smoothgrad(model, x, cls, n=4, sigma=0.1):
    acc = 0
    for _ in range(n):
        noisy = (x + sigma * torch.randn_like(x)).requires_grad_(True)
        model(noisy)[range(len(x)), cls].sum().backward()
        acc = acc + noisy.grad.data
    return acc / n


print(smoothgrad(net, x, idx).flatten()[:6].numpy().round(4))
