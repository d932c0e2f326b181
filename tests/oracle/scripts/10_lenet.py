# A LeNet on made-up pictures: convolution, pooling, cross entropy, SGD with momentum.
import torch
import torch.nn.functional as F
from torch import nn, optim


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


torch.manual_seed(10)
net = LeNet()
print(net)
kinds = torch.randint(0, 4, (32,))
pictures = torch.randn(32, 1, 24, 24) * 0.3
for i, k in enumerate(kinds.tolist()):
    r, c = divmod(k, 2)
    pictures[i, 0, r * 12 : r * 12 + 12, c * 12 : c * 12 + 12] += 1
optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)
shapes = {}
for name, m in net.named_children():
    m.register_forward_hook(lambda m, a, o, name=name: shapes.update({name: tuple(o.shape)}))
for epoch in range(5):
    optimizer.zero_grad(set_to_none=True)
    loss = F.cross_entropy(net(pictures), kinds, label_smoothing=0.05)
    loss.backward()
    optimizer.step()
    print(f"epoch {epoch} loss {loss.item():.4f}")
print(shapes)
with torch.no_grad():
    print((net(pictures).argmax(dim=1) == kinds).float().mean())
    print(F.softmax(net(pictures[:2]), dim=1))
