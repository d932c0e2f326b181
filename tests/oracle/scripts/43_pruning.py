# The pruning tutorial, a pruning method of one's own, and what pruning refuses.
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.utils.prune as prune

torch.manual_seed(0)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, int(x.nelement() / x.shape[0]))
        return self.fc2(F.relu(self.fc1(x)))


model = LeNet()
module = model.conv1
print([n for n, _ in module.named_parameters()], list(module.named_buffers()))
torch.manual_seed(1)
prune.random_unstructured(module, name="weight", amount=0.3)
print(
    [n for n, _ in module.named_parameters()],
    [n for n, _ in module.named_buffers()],
    module.weight_mask.sum(),
    len(module._forward_pre_hooks),
)
prune.l1_unstructured(module, name="bias", amount=3)
print(module.bias, [type(h).__name__ for h in module._forward_pre_hooks.values()])
prune.ln_structured(module, name="weight", amount=0.5, n=2, dim=0)
print(module.weight.abs().sum((1, 2, 3)) == 0)
for hook in module._forward_pre_hooks.values():
    if hook._tensor_name == "weight":
        break
print([type(h).__name__ for h in hook])
print(model.state_dict().keys())
prune.remove(module, "weight")
print([n for n, _ in module.named_parameters()], [n for n, _ in module.named_buffers()])
new = LeNet()
for n, m in new.named_modules():
    if isinstance(m, nn.Conv2d):
        prune.l1_unstructured(m, name="weight", amount=0.2)
    elif isinstance(m, nn.Linear):
        prune.l1_unstructured(m, name="weight", amount=0.4)
print(dict(new.named_buffers()).keys())
model = LeNet()
ps = ((model.conv1, "weight"), (model.conv2, "weight"), (model.fc1, "weight"), (model.fc2, "weight"))
prune.global_unstructured(ps, pruning_method=prune.L1Unstructured, amount=0.2)
for m, n in ps:
    print(f"Sparsity: {100.0 * float(torch.sum(getattr(m, n) == 0)) / float(getattr(m, n).nelement()):.2f}%")


class FooBar(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


def foobar(module, name):
    FooBar.apply(module, name)
    return module


m2 = LeNet()
foobar(m2.fc2, name="bias")
print(m2.fc2.bias_mask, prune.is_pruned(m2), prune.is_pruned(m2.conv1))
opt = torch.optim.SGD(m2.parameters(), lr=0.1)
x = torch.randn(2, 1, 32, 32)
for i in range(2):
    opt.zero_grad()
    l = F.cross_entropy(m2(x), torch.tensor([1, 2]))
    l.backward()
    opt.step()
    print(f"{l.item():.5f}", m2.fc2.bias_orig.grad)
for bad in (
    lambda: prune.random_unstructured(m2.fc1, "weight", 1.5),
    lambda: prune.random_unstructured(m2.fc1, "weight", 10**9),
    lambda: prune.remove(m2.fc1, "weight"),
    lambda: prune.ln_structured(m2.fc1, "weight", 0.5, 2, dim=5),
    lambda: prune.random_unstructured(m2.fc1, "weight", "a"),
    lambda: prune.global_unstructured(ps, prune.LnStructured, amount=1),
):
    try:
        print(bad())
    except Exception as e:
        print(type(e).__name__, e)
prune.identity(m2.conv1, "weight")
prune.custom_from_mask(m2.conv2, "bias", torch.tensor([1, 0] * 8))
print(m2.conv2.bias_mask, m2.conv1.weight_mask.min())
import io

m2(x)
b = io.BytesIO()
torch.save(m2.state_dict(), b)
b.seek(0)
print(list(torch.load(b))[:4])
container = prune.PruningContainer()
container._tensor_name = "weight"
container.add_pruning_method(prune.RandomUnstructured(0.1)) if 0 else None
print(len(container))
print(
    prune.L1Unstructured(2).prune(torch.arange(5.0)),
    prune.RandomStructured(1, dim=0).compute_mask(torch.ones(2, 2), torch.ones(2, 2)).sum(),
)
