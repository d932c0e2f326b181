# A summary of a residual network by hooks: shapes, parameters, operations; then a few steps of training.
from collections import OrderedDict

import numpy as np
import torch
import torch.nn as nn


def summary(model, input_size, batch_size=-1, dtypes=None):
    # like torchsummary
    if dtypes is None:
        dtypes = [torch.FloatTensor] * len(input_size)
    s = OrderedDict()
    hooks = []

    def register_hook(module):
        def hook(module, input, output):
            class_name = str(module.__class__).split(".")[-1].split("'")[0]
            m_key = "%s-%i" % (class_name, len(s) + 1)
            s[m_key] = OrderedDict()
            s[m_key]["input_shape"] = list(input[0].size())
            s[m_key]["input_shape"][0] = batch_size
            if isinstance(output, (list, tuple)):
                s[m_key]["output_shape"] = [[-1] + list(o.size())[1:] for o in output]
            else:
                s[m_key]["output_shape"] = list(output.size())
                s[m_key]["output_shape"][0] = batch_size
            params = 0
            if hasattr(module, "weight") and hasattr(module.weight, "size"):
                params += torch.prod(torch.LongTensor(list(module.weight.size())))
                s[m_key]["trainable"] = module.weight.requires_grad
            if hasattr(module, "bias") and hasattr(module.bias, "size"):
                params += torch.prod(torch.LongTensor(list(module.bias.size())))
            s[m_key]["nb_params"] = params

        if not isinstance(module, nn.Sequential) and not isinstance(module, nn.ModuleList):
            hooks.append(module.register_forward_hook(hook))

    x = [torch.rand(2, *in_size).type(dtype) for in_size, dtype in zip(input_size, dtypes)]
    model.apply(register_hook)
    model(*x)
    for h in hooks:
        h.remove()
    print("-" * 64)
    print("{:>20}  {:>25} {:>15}".format("Layer (type)", "Output Shape", "Param #"))
    print("=" * 64)
    total = trainable = total_out = 0
    for layer in s:
        print(
            "{:>20}  {:>25} {:>15}".format(layer, str(s[layer]["output_shape"]), "{0:,}".format(s[layer]["nb_params"]))
        )
        total += s[layer]["nb_params"]
        total_out += np.prod(s[layer]["output_shape"])
        if s[layer].get("trainable"):
            trainable += s[layer]["nb_params"]
    total_input_size = abs(np.prod(sum(input_size, ())) * batch_size * 4.0 / (1024**2.0))
    print(
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable: {total - trainable:,}",
    )
    print("%.4f" % total_input_size, "%.4f" % abs(2.0 * total_out * 4.0 / (1024**2.0)))
    return s


class Res(nn.Module):
    def __init__(self, cin, cout, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.down = (
            nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
            if stride != 1 or cin != cout
            else None
        )

    def forward(self, x):
        idn = x if self.down is None else self.down(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += idn
        return self.relu(y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)
        )
        self.l1 = nn.Sequential(Res(8, 8), Res(8, 8))
        self.l2 = nn.Sequential(Res(8, 16, 2), Res(16, 16))
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, 10)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.pool(self.l2(self.l1(self.stem(x))))
        return self.fc(torch.flatten(x, 1))


torch.manual_seed(0)
net = ResNet()
print(net)
summary(net, [(3, 32, 32)])
# FLOPs
flops = {}


def conv_flops(m, i, o):
    b, c, h, w = o.shape
    flops[m] = 2 * h * w * c * m.in_channels // m.groups * m.kernel_size[0] * m.kernel_size[1]


def lin_flops(m, i, o):
    flops[m] = 2 * m.in_features * m.out_features * int(np.prod(o.shape[:-1]))


hs = []
for m in net.modules():
    if isinstance(m, nn.Conv2d):
        hs.append(m.register_forward_hook(conv_flops))
    elif isinstance(m, nn.Linear):
        hs.append(m.register_forward_hook(lin_flops))
net.eval()(torch.randn(1, 3, 32, 32))
names = {m: n for n, m in net.named_modules()}
print({names[m]: v for m, v in flops.items()}, sum(flops.values()))
print(f"{sum(p.numel() * p.element_size() for p in net.parameters()) / 1024:.2f} KiB")
for n, b in net.named_buffers():
    print(n, b.shape, b.dtype, end="; ")
print()
opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True)
print(opt)
net.train()
x, y = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
for i in range(3):
    opt.zero_grad()
    out = net(x)
    l = nn.CrossEntropyLoss()(out, y)
    l.backward()
    opt.step()
    print(i, f"{l.item():.5f}")
print(net.stem[1].running_mean, net.stem[1].num_batches_tracked)
