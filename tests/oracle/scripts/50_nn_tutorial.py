# What is torch.nn really; the polynomial fits of the examples page.
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
n, d, k, bs = 128, 20, 4, 32
x_train = torch.randn(n, d)
y_train = (x_train[:, :k] + 0.1 * torch.randn(n, k)).argmax(1)
x_train, y_train = map(torch.tensor, (x_train.numpy(), y_train.numpy()))
print(x_train.dtype, y_train.dtype, x_train.shape, y_train.min(), y_train.max())
weights = torch.randn(d, k) / math.sqrt(d)
weights.requires_grad_()
bias = torch.zeros(k, requires_grad=True)


def log_softmax(x):
    return x - x.exp().sum(-1).log().unsqueeze(-1)


def model(xb):
    return log_softmax(xb @ weights + bias)


xb = x_train[0:bs]
preds = model(xb)
print(preds[0], preds.shape)


def nll(input, target):
    return -input[range(target.shape[0]), target].mean()


loss_func = nll
yb = y_train[0:bs]
print(loss_func(preds, yb))


def accuracy(out, yb):
    return (torch.argmax(out, dim=1) == yb).float().mean()


print(accuracy(preds, yb))
lr = 0.5
for epoch in range(2):
    for i in range((n - 1) // bs + 1):
        s = i * bs
        xb, yb = x_train[s : s + bs], y_train[s : s + bs]
        loss = loss_func(model(xb), yb)
        loss.backward()
        with torch.no_grad():
            weights -= weights.grad * lr
            bias -= bias.grad * lr
            weights.grad.zero_()
            bias.grad.zero_()
print(loss_func(model(xb), yb), accuracy(model(xb), yb))


class Mnist_Logistic(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(d, k) / math.sqrt(d))
        self.bias = nn.Parameter(torch.zeros(k))

    def forward(self, xb):
        return xb @ self.weights + self.bias


model = Mnist_Logistic()
loss_func = F.cross_entropy


def fit():
    for epoch in range(2):
        for i in range((n - 1) // bs + 1):
            s = i * bs
            loss = loss_func(model(x_train[s : s + bs]), y_train[s : s + bs])
            loss.backward()
            with torch.no_grad():
                for p in model.parameters():
                    p -= p.grad * lr
                model.zero_grad()


fit()
print(loss_func(model(xb), yb))


class Lambda(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, x):
        return self.func(x)


def preprocess(x, y):
    return x.view(-1, 1, 4, 5), y


class WrappedDataLoader:
    def __init__(self, dl, func):
        self.dl, self.func = dl, func

    def __len__(self):
        return len(self.dl)

    def __iter__(self):
        for b in self.dl:
            yield self.func(*b)


tr = WrappedDataLoader(DataLoader(TensorDataset(x_train, y_train), batch_size=bs, shuffle=True), preprocess)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, stride=1, padding=1),
    nn.ReLU(),
    nn.Conv2d(8, k, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    Lambda(lambda x: x.view(x.size(0), -1)),
)
opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def loss_batch(model, loss_func, xb, yb, opt=None):
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


for ep in range(3):
    model.train()
    for xb, yb in tr:
        loss_batch(model, loss_func, xb, yb, opt)
    model.eval()
    with torch.no_grad():
        losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in tr])
    print(ep, f"{np.sum(np.multiply(losses, nums)) / np.sum(nums):.6f}")
print(model)
# polynomial tutorial
x = torch.linspace(-math.pi, math.pi, 2000, dtype=torch.float)
y = torch.sin(x)


class Polynomial3(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Parameter(torch.randn(())) for _ in range(4))

    def forward(self, x):
        return self.a + self.b * x + self.c * x**2 + self.d * x**3

    def string(self):
        return f"y = {self.a.item():.4f} + {self.b.item():.4f} x + {self.c.item():.4f} x^2 + {self.d.item():.4f} x^3"


m = Polynomial3()
crit = nn.MSELoss(reduction="sum")
o = optim.SGD(m.parameters(), lr=1e-6)
for t in range(100):
    l = crit(m(x), y)
    if t % 25 == 24:
        print(t, f"{l.item():.3f}")
    o.zero_grad()
    l.backward()
    o.step()
print("Result:", m.string())


class LegendrePolynomial3(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input**3 - 3 * input)

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        return g * 1.5 * (5 * i**2 - 1)


a, b, c, dd = (torch.full((), v, requires_grad=True) for v in (0.1, -1.0, 0.1, 0.3))
for t in range(50):
    yp = a + b * LegendrePolynomial3.apply(c + dd * x)
    loss = (yp - y).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, dd):
            p -= 5e-6 * p.grad
            p.grad = None
print(f"{loss.item():.4f} y = {a.item():.4f} + {b.item():.4f} * P3({c.item():.4f} + {dd.item():.4f} x)")
p = torch.tensor([1, 2, 3])
xx = x.unsqueeze(-1).pow(p)
m = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0, 1))
opt = optim.RMSprop(m.parameters(), lr=1e-3)
for t in range(30):
    l = crit(m(xx), y)
    opt.zero_grad()
    l.backward()
    opt.step()
print(f"{l.item():.2f}", m[0].bias.item() != 0)
