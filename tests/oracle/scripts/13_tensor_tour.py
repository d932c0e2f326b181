# Shapes, views, indexing and assignment.
import torch

x = torch.arange(24).view(2, 3, 4)
print(x[1], x[..., -1], x[:, ::2, 1:3], x[0, [0, 2]], x[x > 20], x[None, 0].shape)
print(
    x.permute(2, 0, 1).shape, x.transpose(0, 2).stride(), x.mT.shape, x.flatten(1).shape, x.unflatten(2, (2, 2)).shape
)
print(x.split(2, dim=1)[1].shape, [c.shape for c in x.chunk(3, dim=2)], len(x.unbind(1)), x.narrow(2, 1, 2).shape)
y = torch.zeros(3, 4)
y[0] = 1
y[:, 1] = torch.tensor([5.0, 6.0, 7.0])
y[y > 5] = -1
y[[1, 2], [0, 3]] = 9
y[2, ::2] += 100
print(y)
base = torch.zeros(6)
view = base.view(2, 3)
view[1].fill_(4)
base.add_(1)
print(view, base._version, view._version, view._base is base)
print(torch.cat([y, y], 1).shape, torch.stack([y, y]).shape, y.repeat(2, 2).shape, y.repeat_interleave(2, 0).shape)
print(y.sort(descending=True), (y + x[0] / 10).topk(2), (y + x[0] / 10).argsort(dim=0))
print(
    y.gather(1, torch.tensor([[0, 1], [1, 2], [3, 3]])),
    torch.zeros(3, 4).scatter(1, torch.tensor([[1], [2], [0]]), 1.0),
)
print(y.tril(), y.triu(1), y.roll(1, 1), y.flip(0, 1), torch.eye(2, 3), torch.diag(torch.tensor([1, 2])))
print(y.max(), y.min(dim=1), y.argmax(), y.any(), y.all(dim=0), y.cumsum(1), y.prod(), y.mean(0), y.std(), y.var(1))
print(torch.where(y > 1, y, torch.zeros(())), y.clamp(-1, 2), y.masked_select(y > 4), y.nonzero().shape)
print(torch.einsum("ij,kj->ik", y, y), y @ y.t(), torch.outer(y[0], y[1]), torch.dot(y[0], y[1]))
print(x.float().norm(), x.to(torch.float64).logsumexp((1, 2)), (x % 5).bool().sum(), x.sum((0, 2)), x // 3, x / 3)
a, b = torch.broadcast_tensors(torch.ones(3, 1), torch.zeros(2))
print(a.shape, b.stride(), torch.ones(2, 1).expand(-1, 3).shape, torch.ones(1, 2, 1).squeeze().shape)
print(
    list(torch.tensor([1, 2])),
    len(y),
    tuple(y.shape),
    y.size(1),
    y.dim(),
    y.numel(),
    y.is_contiguous(),
    y.t().is_contiguous(),
)
for row in y:
    print(row.tolist())
print(
    y.dtype,
    y.long().dtype,
    y.half(),
    (y > 1).int(),
    torch.tensor(True) + 1,
    torch.tensor(3) / 2,
    3 - torch.tensor([1.5]),
)
