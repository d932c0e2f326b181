# A one-head attention made of primitives, its attention map fetched by a hook.
import math

import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.softmax = nn.Softmax(dim=-1)
        self.register_buffer("mask", torch.tril(torch.ones(8, 8, dtype=torch.bool)))

    def forward(self, x):
        n = x.size(1)
        scores = self.q(x) @ self.k(x).transpose(-2, -1) / math.sqrt(x.size(-1))
        scores = scores.masked_fill(~self.mask[:n, :n], float("-inf"))
        return self.softmax(scores) @ self.v(x)


torch.manual_seed(18)
embed = nn.Embedding(10, 4, padding_idx=0)
attend = Attention(4)
norm = nn.LayerNorm(4)
head = nn.Linear(4, 10)
maps = []
attend.softmax.register_forward_hook(lambda m, a, o: maps.append(o.detach()))
tokens = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0]])
x = embed(tokens)
out = head(norm(x + attend(x)))
loss = nn.functional.cross_entropy(out.view(-1, 10), tokens.roll(-1, 1).view(-1), ignore_index=0)
loss.backward()
print(loss, out.shape)
print(maps[0])
print(embed.weight.grad[:6])
print(attend.q.weight.grad.abs().sum(), head.bias.grad)
print(attend)
